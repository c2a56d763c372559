/* SPDX-License-Identifier: Apache-2.0
 *
 * Kunpeng 920B and 950: cores with 256-bit SVE. LLVM 19 has no name for them, so generic code with their features.
 */
#include <yunjin/target.h>

const struct yj_target target_kunpeng950 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "kunpeng950",
    .chip = "HiSilicon Kunpeng 920B and 950, SVE of 256 bits",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "aarch64-unknown-linux-gnu",
    .cpu = "generic",
    .features = "+v8.2a,+sve,+dotprod",
    .vector_bits = 256,
    .vector_lengths = {256},
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 64 << 20,
    .cores = 64,
    .gflops_core = 80,
    .gbytes_s = 250,
    .has_f16 = true,
    .tiles = {{YJ_F32, 8, 16, 1}, {YJ_F64, 8, 8, 1}, {YJ_BF16, 8, 16, 2}, {YJ_I8, 8, 16, 4}},
    .emulator = "qemu-aarch64 -cpu max,sve%d=on,sve-default-vector-length=-1",
    .minimum = "asimd sve",
};

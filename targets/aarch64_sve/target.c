/* SPDX-License-Identifier: Apache-2.0
 *
 * Any Armv8.2 core with SVE, compiled once for each of the lengths listed; the runtime takes the one it measures.
 */
#include <yunjin/target.h>

const struct yj_target target_aarch64_sve = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "aarch64-sve",
    .chip = "any Armv8.2-A core with SVE of 128, 256 or 512 bits",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "aarch64-unknown-linux-gnu",
    .cpu = "generic",
    .features = "+v8.2a,+sve",
    .vector_bits = 128,
    .vector_lengths = {128, 256, 512},
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 32 << 20,
    .cores = 32,
    .gflops_core = 40,
    .gbytes_s = 150,
    .has_f16 = true,
    .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}},
    .emulator = "qemu-aarch64 -cpu max,sve%d=on,sve-default-vector-length=-1",
    .minimum = "asimd sve",
};

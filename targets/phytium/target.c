/* SPDX-License-Identifier: Apache-2.0
 *
 * Phytium FTC66x and FTC86x: Armv8 cores that LLVM has no names for; generic NEON code runs on all of them.
 */
#include <yunjin/target.h>

const struct yj_target target_phytium = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "phytium",
    .chip = "Phytium FT-2000+, S2500, S5000C (FTC66x, FTC86x) and any Armv8-A core, NEON",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "aarch64-unknown-linux-gnu",
    .cpu = "generic",
    .features = "+v8a",
    .vector_bits = 128,
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 0,
    .cores = 64,
    .gflops_core = 17,
    .gbytes_s = 100,
    .has_f16 = true,
    .tiles = {{YJ_F32, 8, 12, 1}, {YJ_F64, 8, 6, 1}, {YJ_BF16, 8, 12, 2}, {YJ_I8, 8, 12, 4}},
    .emulator = "qemu-aarch64 -cpu cortex-a72",
    .minimum = "asimd",
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Kunpeng 920: HiSilicon TaiShan v110 cores, 128-bit NEON with dot products. No SVE.
 */
#include <yunjin/target.h>

const struct yj_target target_kunpeng920 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "kunpeng920",
    .chip = "HiSilicon Kunpeng 920 (TaiShan v110), NEON, dot product, half-precision conversion",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "aarch64-unknown-linux-gnu",
    .cpu = "tsv110",
    .features = "+dotprod",
    .vector_bits = 128,
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 32 << 20,
    .cores = 64,
    .gflops_core = 41,
    .gbytes_s = 180,
    .has_f16 = true,
    .tiles = {{YJ_F32, 8, 12, 1}, {YJ_F64, 8, 6, 1}, {YJ_BF16, 8, 12, 2}, {YJ_I8, 8, 12, 4}},
    .emulator = "qemu-aarch64 -cpu neoverse-n1",
    .minimum = "asimd asimddp",
};

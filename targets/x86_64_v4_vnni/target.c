/* SPDX-License-Identifier: Apache-2.0
 *
 * x86-64 of the fourth level with the byte dot products that most of its processors have.
 */
#include <yunjin/target.h>

const struct yj_target target_x86_64_v4_vnni = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "x86-64-v4-vnni",
    .chip = "any x86-64 with AVX-512 and VNNI (Intel Cascade Lake and Ice Lake, AMD Zen 4, and later)",
    .support = YJ_RAN,
    .emitter = "llvm",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "x86-64-v4",
    .features = "+avx512vnni",
    .vector_bits = 512,
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 48 << 10,
    .l2_bytes = 2 << 20,
    .l3_bytes = 32 << 20,
    .cores = 16,
    .gflops_core = 160,
    .gbytes_s = 20,
    .has_f16 = true,
    .tiles = {{YJ_F32, 12, 32, 1}, {YJ_F64, 12, 16, 1}, {YJ_BF16, 12, 32, 2}, {YJ_I8, 12, 32, 4}},
    .emulator = NULL,
    .minimum = "avx2 fma f16c bmi2 avx512f avx512bw avx512cd avx512dq avx512vl avx512vnni",
};

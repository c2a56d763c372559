/* SPDX-License-Identifier: Apache-2.0
 *
 * Hygon C86: a first-generation Zen core. LLVM knows no Hygon; znver1 schedules for the same pipeline. Without SSE4A,
 * which only AMD and Hygon have, the code is compared on any machine with AVX2; it has not run on a Hygon.
 */
#include <yunjin/target.h>

const struct yj_target target_hygon_c86 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "hygon-c86",
    .chip = "Hygon C86 (Dhyana; Zen 1 core), AVX2 and FMA",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "znver1",
    .features = "-sse4a",
    .vector_bits = 256,
    .vector_registers = 16,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 8 << 20,
    .cores = 32,
    .gflops_core = 40,
    .gbytes_s = 100,
    .has_f16 = true,
    .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}},
    .emulator = NULL,
    .minimum = "avx2 fma f16c bmi2",
};

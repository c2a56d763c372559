/* SPDX-License-Identifier: Apache-2.0
 *
 * Any x86-64 of the third level: Haswell, Zen and all later ones. The plain choice for servers.
 */
#include <yunjin/target.h>

const struct yj_target target_x86_64_v3 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "x86-64-v3",
    .chip = "any x86-64 with AVX2 and FMA (Intel Haswell, AMD Zen, Hygon, Zhaoxin KX-7000, and later)",
    .support = YJ_RAN,
    .emitter = "llvm",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "x86-64-v3",
    .features = "",
    .vector_bits = 256,
    .vector_registers = 16,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 16 << 20,
    .cores = 16,
    .gflops_core = 100,
    .gbytes_s = 20,
    .has_f16 = true,
    .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}},
    .emulator = NULL,
    .minimum = "avx2 fma f16c bmi2",
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * C source for any compiler: the second emitter, for chips that LLVM does not know and for checking the first.
 */
#include <yunjin/target.h>

const struct yj_target target_c = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "c",
    .chip = "any machine with a C11 compiler",
    .support = YJ_RAN,
    .emitter = "c",
    .triple = "",
    .cpu = "",
    .features = "",
    .vector_bits = 0,
    .vector_registers = 0,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 0,
    .cores = 1,
    .gflops_core = 4,
    .gbytes_s = 10,
    .has_f16 = false,
    .tiles = {{YJ_F32, 4, 8, 1}, {YJ_BF16, 4, 8, 2}, {YJ_I8, 4, 8, 4}},
    .emulator = NULL,
    .minimum = "",
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * SpacemiT K1: X60 cores with 256-bit vectors and half-precision vector arithmetic.
 */
#include <yunjin/target.h>

const struct yj_target target_spacemit_x60 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "spacemit-x60",
    .chip = "SpacemiT K1 and M1 (X60), RVV 1.0 of 256 bits, Zvfh",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "riscv64-unknown-linux-gnu",
    .cpu = "spacemit-x60",
    .features = "",
    .abi = "lp64d",
    .vector_bits = 256,
    .vector_lengths = {256},
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 0,
    .cores = 8,
    .gflops_core = 25,
    .gbytes_s = 10,
    .has_f16 = true,
    .tiles = {{YJ_F32, 8, 16, 1}, {YJ_F64, 8, 8, 1}, {YJ_BF16, 8, 16, 2}, {YJ_I8, 8, 16, 4}},
    .emulator = "qemu-riscv64 -cpu max,vlen=%d",
    .minimum = "rvv",
};

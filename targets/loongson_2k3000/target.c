/* SPDX-License-Identifier: Apache-2.0
 *
 * Loongson with 128-bit LSX only: 2K3000 and other LA364-class chips; runs on the larger ones too.
 */
#include <yunjin/target.h>

const struct yj_target target_loongson_2k3000 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "loongson-2k3000",
    .chip = "Loongson 2K3000 and 3B6000M, LSX of 128 bits (runs on 3A5000 and 3A6000 too)",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "loongarch64-unknown-linux-gnu",
    .cpu = "la464",
    .features = "+lsx,-lasx",
    .abi = "lp64d",
    .vector_bits = 128,
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 512 << 10,
    .l3_bytes = 2 << 20,
    .cores = 8,
    .gflops_core = 35,
    .gbytes_s = 20,
    .has_f16 = false,
    .tiles = {{YJ_F32, 8, 12, 1}, {YJ_F64, 8, 6, 1}, {YJ_BF16, 8, 12, 2}, {YJ_I8, 8, 12, 4}},
    .emulator = "qemu-loongarch64 -cpu la464,lasx=off",
    .minimum = "lsx",
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Loongson with 256-bit LASX: 3A5000, 3C5000, 3A6000. Compiled for la464, which emulators know and the 3A5000 runs.
 */
#include <yunjin/target.h>

const struct yj_target target_loongson_3a6000 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "loongson-3a6000",
    .chip = "Loongson 3A5000, 3C5000, 3A6000, LASX of 256 bits",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "loongarch64-unknown-linux-gnu",
    .cpu = "la464",
    .features = "+lasx",
    .abi = "lp64d",
    .vector_bits = 256,
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 256 << 10,
    .l3_bytes = 16 << 20,
    .cores = 4,
    .gflops_core = 80,
    .gbytes_s = 40,
    .has_f16 = false,
    .tiles = {{YJ_F32, 8, 24, 1}, {YJ_F64, 8, 12, 1}, {YJ_BF16, 8, 24, 2}, {YJ_I8, 8, 24, 4}},
    .emulator = "qemu-loongarch64 -cpu la464",
    .minimum = "lasx",
};

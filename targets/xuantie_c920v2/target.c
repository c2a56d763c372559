/* SPDX-License-Identifier: Apache-2.0
 *
 * XuanTie C920 v2 (T-Head): RVV 1.0 of 128 bits. The first C920 has the older RVV 0.7.1, which LLVM 19 cannot emit.
 */
#include <yunjin/target.h>

const struct yj_target target_xuantie_c920v2 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "xuantie-c920v2",
    .chip = "T-Head XuanTie C920 v2, RVV 1.0 of 128 bits (not the C920 v1 of the SG2042: that has RVV 0.7.1)",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "riscv64-unknown-linux-gnu",
    .cpu = "generic-rv64",
    .features = "+m,+a,+f,+d,+c,+v,+xtheadba,+xtheadbb,+xtheadbs",
    .abi = "lp64d",
    .vector_bits = 128,
    .vector_lengths = {128},
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 64 << 10,
    .l2_bytes = 1 << 20,
    .l3_bytes = 64 << 20,
    .cores = 64,
    .gflops_core = 32,
    .gbytes_s = 100,
    .has_f16 = false,
    .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}},
    .emulator = "qemu-riscv64 -cpu rv64,v=true,vlen=%d,vext_spec=v1.0,xtheadba=on,xtheadbb=on,xtheadbs=on",
    .minimum = "rvv",
};

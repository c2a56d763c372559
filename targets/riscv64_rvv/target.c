/* SPDX-License-Identifier: Apache-2.0
 *
 * Any 64-bit RISC-V core with the vector extension 1.0, compiled once for each of the register lengths listed.
 */
#include <yunjin/target.h>

const struct yj_target target_riscv64_rvv = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "riscv64-rvv",
    .chip = "any RV64GCV core (vector extension 1.0) with registers of 128 or 256 bits",
    .support = YJ_EMULATED,
    .emitter = "llvm",
    .triple = "riscv64-unknown-linux-gnu",
    .cpu = "generic-rv64",
    .features = "+m,+a,+f,+d,+c,+v",
    .abi = "lp64d",
    .vector_bits = 128,
    .vector_lengths = {128, 256},
    .vector_registers = 32,
    .line_bytes = 64,
    .l1_bytes = 32 << 10,
    .l2_bytes = 1 << 20,
    .l3_bytes = 0,
    .cores = 8,
    .gflops_core = 16,
    .gbytes_s = 20,
    .has_f16 = false,
    .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}},
    .emulator = "qemu-riscv64 -cpu rv64,v=true,vlen=%d,vext_spec=v1.0",
    .minimum = "rvv",
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding a chip: one folder targets/NAME/ (or one shared object on YUNJIN_TARGET_PATH) that defines one
 * `const struct yj_target`. It holds facts; the compiler reads them, and no other file is edited. HOWTO:
 * targets/HOWTO.md. Also here: the kernel ABI, which is what a compiled kernel and a runtime agree on.
 */
#ifndef YUNJIN_TARGET_H
#define YUNJIN_TARGET_H

#include <yunjin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YJ_TARGET_VERSION 1
#define YJ_KERNEL_ABI 1

/* The first fault of a launch. The runtime zeroes it before, kernels set it by compare-and-swap of CODE from 0. */
enum yj_fault_code { YJ_FAULT_NONE = 0, YJ_FAULT_INDEX = 1, YJ_FAULT_DIVIDE = 2, YJ_FAULT_SHAPE = 3 };
struct yj_fault {
    int32_t code;
    int32_t reserved;
    int64_t value;
};

/* Kernel ABI 1. buffer: 64-byte aligned, one for each argument in order; scalar: the dim arguments in order; computes
 * tiles [tile_begin, tile_end); scratch: 64-byte aligned, of the size that the plan states, private to the call. */
typedef void yj_kernel_fn(void *const *buffer, const int64_t *scalar, int64_t tile_begin, int64_t tile_end,
                          void *scratch, struct yj_fault *fault);

enum yj_support { YJ_ASSEMBLED = 1, YJ_EMULATED = 2, YJ_RAN = 3 }; /* how far a claim goes */

/* Register tile of fma_tile for one operand type: rows x columns of the accumulator, k elements a step. */
struct yj_tile_shape {
    enum yj_dtype dtype;
    int rows, columns, k_group;
};

struct yj_target {
    uint32_t size, version; /* sizeof(struct yj_target), YJ_TARGET_VERSION */
    const char *name;       /* "kunpeng920" */
    const char *chip;       /* one line for people: maker, core, instruction set */
    enum yj_support support;
    const char *emitter;                       /* "llvm", "c", "opencl" */
    const char *triple, *cpu, *features, *abi; /* LLVM's names; features "+v,+d" or ""; abi may be NULL */
    int vector_bits;       /* of one register; for scalable vectors one folder row a length, see vector_lengths */
    int vector_lengths[8]; /* scalable targets: the lengths in bits compiled for, 0-terminated; else all 0 */
    int vector_registers;
    int line_bytes, l1_bytes, l2_bytes, l3_bytes, cores;
    double gflops_core, gbytes_s;  /* for cost only: peak f32 of a core, memory bandwidth */
    bool has_f16;                  /* f16 <-> f32 conversion in hardware that LLVM lowers without a library call */
    struct yj_tile_shape tiles[6]; /* ended by rows = 0 */
    const char *emulator; /* command that runs a program for this chip in tests: "qemu-aarch64 -cpu cortex-a72"; %d is
                           * replaced by the vector length in bits; NULL: runs here or nowhere */
    const char
        *minimum; /* what the runtime must find before it loads: "avx2 fma f16c", "asimd", "sve", "rvv", "lasx" */
};

#ifdef __cplusplus
}
#endif
#endif

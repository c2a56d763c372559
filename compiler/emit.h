/* SPDX-License-Identifier: Apache-2.0
 *
 * The way out of the kernel form: kernels become machine code. Emitters see kernels and target facts, never the graph.
 *   emit_llvm_module.c  target machine, passes, object   emit_llvm.c         functions, statements, loops
 *   emit_llvm_lanes.c   vector loops, conditions, masks  emit_llvm_tile.c    fma_tile, dot-product units, copies
 *   emit_llvm_expr.c    dims, addresses, loads, stores   emit_llvm_scalar.c emit_llvm_cast.c  scalar ops, conversions
 *   emit_llvm_debug.c   lines of the kernels' text   lines.c             moves them to their place in the program's
 *   link.c              objects to one shared object     worker.c            compile in processes that may die; the
 * cache target.c            the list of targets              emulate.c           runs foreign code under an emulator
 */
#ifndef COMPILER_EMIT_H
#define COMPILER_EMIT_H

#include "ir/kernel.h"
#include <yunjin/target.h>

struct emit_options {
    const struct yj_target *target;
    int vector_bits; /* of one register: a length that the target lists, or 0 for its first */
    bool scalar; /* vector loops become serial loops: what is left when the vector code of a kernel cannot be made */
    bool own_alignment; /* arguments are aligned to their elements only, not to 64 bytes */
    bool hidden;        /* the functions are for the library that their object is linked into */
    const char *text;   /* name of the file that will hold the kernels' text: line tables point into it; NULL: none */
};

enum emit_form {
    EMIT_OBJECT,   /* a relocatable ELF object */
    EMIT_ASSEMBLY, /* its text */
    EMIT_IR,       /* LLVM IR after the passes, as text */
    EMIT_RAW_IR,   /* LLVM IR as it was emitted */
};

/* One object with one exported function of kernel ABI 1 for each kernel, named as the kernel is. The kernels are
 * verified and are not changed. *DATA is malloc'ed and has a 0 byte behind it. An LLVM that cannot select an
 * instruction aborts the process: compile_kernels (worker.c) is the door that survives that. */
enum yj_status emit_llvm(const struct emit_options *options, const struct kernel *const *kernels, int n,
                         enum emit_form form, char **data, size_t *bytes);

/* "19.1.7": part of the key of the cache. */
void emit_llvm_version(char text[32]);

/* There is an emitter for the target and its length is one that it lists. */
enum yj_status emit_check(const struct emit_options *options);
/* The vector length that OPTIONS means; YJ_ERR_INPUT if the target does not list it. */
enum yj_status emit_vector_bits(const struct emit_options *options, int *bits);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A compilation in progress: what compile.c and inspect.c go through together, up to the machine code.
 */
#ifndef COMPILER_COMPILE_H
#define COMPILER_COMPILE_H

#include "compiler/onnx.h"
#include "compiler/pass.h"
#include "compiler/plan.h"
#include <yunjin/compiler.h>

#define COMPILE_MAX_PROGRAMS 32

/* What one target runs. */
struct compile_program {
    const struct yj_target *target;
    int vector_bits;
    const char *name;
    struct graph *graph;
    struct planned planned;
    struct program_kernels kernels;
    struct fuse_log *fuse_log; /* NULL: nobody asks */
    struct overlap_log *overlap_log;
    char *library;
    size_t library_bytes;
    int cached;
};

struct model_writer;
struct compile {
    const struct yj_compile_options *o;
    struct onnx_file *file;
    struct arena *arena;
    struct onnx_options import;
    struct mesh mesh;
    struct weights weights;
    int n_programs;
    struct compile_program programs[COMPILE_MAX_PROGRAMS];
    struct model_writer *writer;
    double start;
};

/* Borrows OPTIONS until close. */
enum yj_status compile_open(const struct yj_compile_options *options, struct compile **compile);
void compile_close(struct compile *c);
/* Inside arena_guard: the options' texts, the targets, the file. */
enum yj_status compile_read(struct compile *c);
/* Import, passes, plan and plain and tiled kernels of a program; its weights join those of the others. */
enum yj_status compile_plan(struct compile *c, struct compile_program *p);

#endif

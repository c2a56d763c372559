/* SPDX-License-Identifier: Apache-2.0
 *
 * From a graph whose work is all in `fused` ops, collectives, binds and views to a plan and its kernels. plan.c makes the
 * plan; kernels that print the same are one; weights.c lays the constants out for the weights file.
 */
#ifndef COMPILER_PLAN_H
#define COMPILER_PLAN_H

#include "ir/graph.h"
#include "compiler/lower.h"
#include "runtime/plan.h"

/* The constants of a program in the order of the weights file. Equal bytes are kept once. */
struct weight {
    const char *name;
    const struct value *value;     /* the first constant with these bytes */
    const void *bytes;             /* packed, if its layout has a format */
    size_t n_bytes;                /* of all ranks' parts */
    int64_t offset;                /* from the start of the data in the file; 64-byte aligned */
    uint64_t hash[2];
};
struct weights { struct arena *arena; int n, room; struct weight *weight; int64_t bytes; };
/* Adds the constant V (or finds its bytes); *WEIGHT is its number. */
enum yj_status weights_add(struct weights *w, const struct graph *g, const struct value *v, int *weight);

/* The kernels of a program: one entry for each distinct plain kernel. */
struct program_kernel { uint64_t hash; struct kernel *plain; int n_variants; struct kernel *variant[TILE_MAX_VARIANTS]; };
struct program_kernels { struct arena *arena; const struct yj_target *target; int n, room; struct program_kernel *kernel; };

/* PLAN lives in ARENA. The verifier of plans has passed it. */
enum yj_status plan_make(const struct graph *g, struct arena *arena, struct program_kernels *kernels, struct weights *weights,
                         struct plan **plan);

#endif

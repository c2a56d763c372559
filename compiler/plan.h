/* SPDX-License-Identifier: Apache-2.0
 *
 * From a graph whose work is all in `fused` ops, collectives, binds and views to a plan and its kernels. plan.c makes
 * the plan; kernels that print the same are one; weights.c lays the constants out for the weights file.
 */
#ifndef COMPILER_PLAN_H
#define COMPILER_PLAN_H

#include "ir/graph.h"
#include "compiler/lower.h"
#include "runtime/plan.h"
#include "runtime/safetensors.h"

/* The constants of a program in the order of the weights file. Equal bytes are kept once. */
struct weight {
    const char *name;
    const struct value *value; /* the first constant with these bytes */
    const void *bytes;         /* packed, if its layout has a format */
    size_t n_bytes;            /* of all ranks' parts */
    uint64_t hash[2];
};
struct weights {
    struct arena *arena;
    int n, room;
    struct weight *weight;
};
/* Adds the constant V (or finds its bytes); *WEIGHT is its number. */
enum yj_status weights_add(struct weights *w, const struct graph *g, const struct value *v, int *weight);
/* The tensors of the weights file, in order. */
void weights_tensors(const struct weights *w, struct safetensor *tensors);

/* The kernels of a program: one entry for each distinct plain kernel. */
struct program_kernel {
    uint64_t hash;
    struct kernel *plain;
    int n_variants;
    struct kernel *variant[TILE_MAX_VARIANTS];
};
struct program_kernels {
    struct arena *arena;
    const struct yj_target *target;
    int n, room;
    struct program_kernel *kernel;
};

/* A plan whose weights have numbers but no place yet: that is known when all programs are made. */
struct planned {
    struct plan *plan;
    int n;
    struct planned_weight {
        int buffer, weight, parts;
        const char *axis;
    } * weight;
};
/* The plan lives in ARENA; kernels and weights are added to what is there. */
enum yj_status plan_make(const struct graph *g, struct arena *arena, struct program_kernels *kernels,
                         struct weights *weights, struct planned *planned);
/* Says where in the file the weights lie (TENSORS after safetensors_layout) and verifies the plan. */
enum yj_status plan_place_weights(struct planned *planned, const struct safetensor *tensors);

#endif

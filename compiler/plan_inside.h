/* SPDX-License-Identifier: Apache-2.0
 *
 * What the makers of a plan share. plan.c walks the ops; plan_buffers.c keeps the tables; plan_launch.c makes kernels
 * and launches; plan_flow.c makes blocks of regions. Nothing else includes this.
 */
#ifndef COMPILER_PLAN_INSIDE_H
#define COMPILER_PLAN_INSIDE_H

#include "compiler/plan.h"

/* The block and the step of it that run this block, and for how many steps there is room. */
struct maker_block {
    int user, step, room;
};

struct maker {
    const struct graph *g;
    struct arena *arena;
    struct program_kernels *kernels;
    struct weights *weights;
    struct plan *p;
    int *buffer_of; /* by value id: -1 not yet */
    int *place;     /* by value id: the buffer that it is to be made in, -1: a new one */
    int room_buffers, n_requests;
    int *request_of;          /* by value id: of a pending result */
    int *start_of;            /* by request: its step */
    int at;                   /* number of the block that steps are added to */
    struct plan_block *block; /* the same */
    struct maker_block *up;   /* by block */
    const struct graph *body; /* of the loop that is being made, NULL: none */
    int n_values;
    struct planned *placed;
};

/* --- plan_buffers.c --- */
dim maker_dim(struct maker *m, dim d); /* D of the graph in the plan's table */
dim maker_const(struct maker *m, int64_t v);
enum yj_status maker_bytes(struct maker *m, const struct value *v, dim *bytes); /* at bounds */
void maker_dims(struct maker *m);
int maker_dim_kind(const struct maker *m, dim symbol);                             /* -1: none of the plan */
dim maker_new_dim(struct maker *m, const char *prefix, int64_t low, int64_t high); /* a born dim of the plan alone */
struct plan_buffer *maker_buffer(struct maker *m, const char *name, enum yj_dtype dtype, enum plan_kind kind, dim bytes,
                                 int *number);
int maker_buffer_of(struct maker *m, const struct value *v);
struct plan_step *maker_step(struct maker *m, enum plan_step_kind kind, const struct op *op, int *number);
/* A buffer is used by step STEP of the present block: it lives until then, or until the step of its own block that runs
 * that one has ended. Uses of an alias are uses of its root. */
void maker_use(struct maker *m, int buffer, int step);
enum yj_status maker_temp(struct maker *m, const struct value *v, int step, int *buffer);
enum yj_status maker_aside(struct maker *m, const struct value *v, int *buffer); /* another one of V's size */
enum yj_status maker_alias(struct maker *m, const struct value *v, int of);
enum yj_status maker_inputs(struct maker *m);
enum yj_status maker_states(struct maker *m);
enum yj_status maker_weight(struct maker *m, const struct op *constant);
const struct state *maker_state_of_output(const struct graph *g, const struct value *v);

/* --- plan_launch.c --- */
/* What must hold of OP's shapes and is not known: said once, before the first launch that needs it. */
enum yj_status maker_require(struct maker *m, const struct op *op);
void maker_require_dim(struct maker *m, const struct op *op, dim value); /* of the plan: may not be negative */
enum yj_status maker_launch(struct maker *m, const struct op *fused);

/* --- plan_flow.c, plan.c --- */
enum yj_status maker_if(struct maker *m, const struct op *op);
enum yj_status maker_loop(struct maker *m, const struct op *op);
enum yj_status maker_op(struct maker *m, const struct op *op);

#endif

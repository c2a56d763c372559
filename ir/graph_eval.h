/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the interpreter: what its files share. graph_eval.c runs a graph, _data.c elementwise ops and views, _ops.c
 * what indexes, reduces and sorts, _sum.c dot and convolution, _flow.c regions and collectives.
 */
#ifndef IR_GRAPH_EVAL_H
#define IR_GRAPH_EVAL_H

#include "ir/graph_inside.h"

struct binding {
    dim symbol;
    int64_t value;
};

struct eval {
    const struct graph *root;
    int ranks, n_values;
    struct tensor *slots;   /* [id * ranks + rank], shape and bytes of every value that lives */
    bool *owned;            /* the same: its bytes are ours to free */
    const struct op **last; /* [id]: the last op that uses it, NULL: an output */
    int rank;               /* whose rank.AXIS dims are looked up */
    int n_bindings, room_bindings;
    struct binding *bindings;
    graph_see_fn *see;
    void *user;
};

/* One op on one rank (RANK -1: all ranks at once, for regions and collectives). OUT has its shape and zeroed bytes. */
struct run {
    struct eval *e;
    const struct op *op;
    int rank;
    const struct tensor *in[3];
    struct tensor *out[2];
};
typedef enum yj_status eval_fn(struct run *r);

/* RANK's index on a mesh axis. */
int64_t eval_coordinate(const struct eval *e, const char *axis, int rank);
struct tensor *eval_slot(const struct eval *e, const struct value *v, int rank);
enum yj_status eval_bad(const struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum yj_status eval_dim(const struct run *r, dim d, int64_t *value);
enum yj_status eval_bind(struct eval *e, dim symbol, int64_t value);
/* Evaluates attribute NAME into at most GRAPH_MAX_RANK numbers. */
enum yj_status eval_dims(const struct run *r, const char *name, int64_t *values);
enum yj_status eval_shape(const struct run *r, const struct value *v, int64_t *shape);
/* Makes the slot of V on RANK, zeroed. */
enum yj_status eval_new(const struct run *r, const struct value *v, int rank);
void eval_free(struct eval *e, const struct value *v);
enum yj_status eval_body(struct eval *e, const struct graph *g);
void eval_seen(struct eval *e, const struct op *op);

/* --- elements --- */
int64_t tensor_elements(const struct tensor *t);
void tensor_strides(const struct tensor *t, int64_t *strides); /* in elements, row-major */
/* Calls to step through a row-major index: false when it is over. */
bool index_next(int rank, const int64_t *shape, int64_t *index);
bool eval_is_math(enum scalar_op op); /* a transcendental */
/* A scalar op on wide bits; transcendentals by libm in double, rounded. */
uint64_t eval_scalar(enum scalar_op op, enum yj_dtype dtype, const uint64_t *args);
uint64_t eval_neutral(enum scalar_op op, enum yj_dtype dtype);
/* Offsets of every element of a box SHAPE with STRIDES, row-major, in malloc'ed memory; *N of them. */
enum yj_status eval_offsets(int rank, const int64_t *shape, const int64_t *strides, int64_t **offsets, int64_t *n);
/* *OUT = elements of FROM at offset + sum(index * strides), row-major over OUT's shape. */
void eval_copy_box(const struct tensor *from, int64_t offset, const int64_t *strides, struct tensor *out);

/* One function a row of ops.def. */
#define OP(name, n_in, n_out, attributes, flags, shape, vjp, shard, doc) eval_fn eval_op_##name;
#include "ir/ops.def"
#undef OP

#endif

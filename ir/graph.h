/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph form: what is computed. Tensor ops in one SSA list, collectives among them. graph_eval.c says what it
 * means. ops.def scalar.def   the core ops, one row each    graph.c graph_build.c  walk and change; builders
 *   graph_infer*.c       result types from operands     graph_verify.c         what must hold, run after every pass
 *   graph_print.c graph_parse*.c  text                  graph_eval*.c          the slow plain interpreter: the oracle
 *
 * Text, one op a line; names are unique; shapes are dim expressions; @ gives the ONNX nodes it came from:
 *   graph main(N in 1..8, W in 0.., x f32 [N, 48, W], cache f32 [64]) mesh(tp=2) state(cache = new) {
 *     %w = constant f32 [48, 64] data(0)           # number of a weight, or inline: {1, 2, 3}, or splat(1)
 *     %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] : f32 [N, W, 64] @12
 *     %z = max(%y, %zero) : f32 [N, W, 64] @13,14
 *     %c = composite(%z) name=softmax : f32 [N, W, 64] @15 body(x f32 [N, W, 64]) {
 *       ...
 *       return %q
 *     }
 *     return %c, %new
 *   }
 * The type after ':' may be left out when it is read. After a type: layout(2,0,1) format(NAME) shard(tp,-) partial(tp).
 *
 * Regions are closed: they see only their own inputs, which are operands of their op. Names are unique in each graph
 * and, apart from it, in each region. Dim symbols are those of the whole graph: bound by the shapes of inputs, by
 * `bind`, by the length of a `loop`, or by the mesh (rank.tp). Where two dims ought to be equal and nobody can tell,
 * inference accepts it and eval checks it.
 */
#ifndef IR_GRAPH_H
#define IR_GRAPH_H

#include "runtime/base/base.h"
#include "runtime/base/dim.h"
#include "ir/kernel.h" /* scalar ops are shared */

#define GRAPH_MAX_RANK 8

enum op_kind {
#define SCALAR(name, arity, result, types, doc) OP_##name = SCALAR_##name,
#include "ir/scalar.def"
#undef SCALAR
    OP_FIRST_TENSOR = SCALAR_COUNT - 1,
#define OP(name, n_in, n_out, attributes, flags, shape, vjp, shard, doc) OP_##name,
#include "ir/ops.def"
#undef OP
    OP_COUNT
};
struct op_info {
    const char *name;
    int n_in, n_out;
    const char *attributes, *flags, *vjp, *shard, *doc;
};
extern const struct op_info op_info[OP_COUNT]; /* scalar rows too: flags "E" (elementwise) */
bool op_is(enum op_kind kind, char flag);
bool op_find(const char *name, enum op_kind *kind);

struct type {
    enum yj_dtype dtype;
    int rank;
    dim shape[GRAPH_MAX_RANK];
};

/* How the elements of a value lie in memory. Shapes stay logical; graph_eval ignores it. rank 0 order: row-major. */
struct layout {
    int order[GRAPH_MAX_RANK]; /* logical axis at each memory position, outermost first; all 0: row-major */
    const char *format;        /* a row of formats.def: panels of a packed operand; NULL: plain */
};

/* Which mesh axis splits each dimension (NULL: none), and over which it is a pending sum. Types are those of one rank.
 * A rank's index on mesh axis tp is the dim symbol rank.tp; a constant with split=tp holds the parts of all its ranks.
 */
struct shard {
    const char *axis[GRAPH_MAX_RANK];
    const char *partial;
};

/* Bytes of a constant, never copied: owned by the model file's mapping, or by the arena. */
struct data {
    const void *bytes;
    size_t n_bytes;
    const char *name;
    int weight; /* number of a weight, -1: inline */
};

struct value {
    const char *name;
    struct type type;
    struct op *op; /* its producer; NULL: an input of its graph */
    int index;     /* which result, or which input */
    struct layout layout;
    struct shard shard;
    int id; /* dense, for tables of passes: graph_number() */
};

enum attr_kind { ATTR_INT, ATTR_INTS, ATTR_DIM, ATTR_DIMS, ATTR_TEXT, ATTR_FLOAT };
struct attr {
    const char *name;
    enum attr_kind kind;
    int n;
    int64_t *ints;
    dim *dims;
    const char *text;
    double number;
    struct attr *next;
};

struct op {
    enum op_kind kind;
    int n_in, n_out, n_regions;
    struct value **in, **out;
    struct attr *attrs;
    struct graph **regions;
    struct data data; /* constant */
    int n_origin;
    int *origin; /* ONNX node numbers, kept through every pass */
    struct op *prev, *next;
    struct graph *graph;
    void *note; /* for the pass that runs */
};

struct state {
    struct value *in, *out;
}; /* the output updates the input in place */

struct mesh {
    int n;
    const char *name[4];
    int size[4];
}; /* tp=2,dp=4; the first axis varies fastest with the rank */

struct graph {
    const char *name;
    struct arena *arena;
    struct dim_table *dims;
    struct graph *parent; /* of a region */
    int n_in, n_out, n_states;
    struct value **in, **out;
    const char **out_names; /* as callers know them; `return y = %c` where it is not the value's own name */
    struct state *states;
    struct mesh mesh;
    struct op *first, *last;
    int n_nodes;
    const char **node_names; /* ONNX node number -> "name (OpType)", for messages; not printed */
    struct names *names;     /* taken by values of this graph; see value_rename */
};

/* --- build. Builders infer the result type; an impossible operand is an error that names the op. --- */
struct graph *graph_new(struct arena *arena, const char *name);
/* A new region of OP. An op with regions gets its results when they are complete: build(), graph_region(), fill it,
 * then graph_infer(op). */
struct graph *graph_region(struct op *op, const char *name);
struct value *graph_input(struct graph *g, const char *name, enum yj_dtype dtype, int rank, const dim *shape);
void graph_output(struct graph *g, struct value *v, const char *name); /* NAME NULL: the value's own */
void graph_state(struct graph *g, struct value *in, struct value *out);
dim graph_dim(struct graph *g, const char *name, int64_t low, int64_t high);

/* Where new ops go: before AT (NULL: at the end), with this origin. */
struct builder {
    struct graph *graph;
    struct op *at;
    int n_origin;
    const int *origin;
};
struct attr *attr_int(struct graph *g, const char *name, int64_t value, struct attr *next);
struct attr *attr_ints(struct graph *g, const char *name, int n, const int64_t *values, struct attr *next);
struct attr *attr_dims(struct graph *g, const char *name, int n, const dim *values, struct attr *next);
struct attr *attr_dim(struct graph *g, const char *name, dim value, struct attr *next);
struct attr *attr_text(struct graph *g, const char *name, const char *text, struct attr *next);
struct attr *attr_float(struct graph *g, const char *name, double value, struct attr *next);
/* The general builder: copies the arrays, infers, inserts, names the results after their op. NULL among IN: an error
 * that was reported before; *op is NULL. */
void value_rename(struct graph *g, struct value *v, const char *name); /* made unique with a suffix if it is taken */
struct value *graph_value(const struct graph *g, const char *name);    /* of G itself, not of its regions; NULL: none */
enum yj_status build(struct builder *b, enum op_kind kind, int n_in, struct value *const *in, struct attr *attrs,
                     struct op **op);

/* Typed builders, one result each: NULL after an error (report() has the line), and NULL operands pass through, so a
 * chain of builders is checked once at its end. */
struct value *build_constant(struct builder *b, enum yj_dtype dtype, int rank, const dim *shape, const void *bytes,
                             size_t n_bytes);
struct value *build_ints(struct builder *b, int n, const int64_t *values);          /* an i64 vector */
struct value *build_scalar_f(struct builder *b, enum yj_dtype dtype, double value); /* a rank-0 constant */
struct value *build_scalar_i(struct builder *b, enum yj_dtype dtype, int64_t value);
struct value *build_1(struct builder *b, enum op_kind kind, struct value *a); /* elementwise */
struct value *build_2(struct builder *b, enum op_kind kind, struct value *a, struct value *c);
struct value *build_3(struct builder *b, enum op_kind kind, struct value *a, struct value *c, struct value *d);
struct value *build_cast(struct builder *b, struct value *x, enum yj_dtype to);
struct value *build_reshape(struct builder *b, struct value *x, int rank, const dim *shape);
struct value *build_transpose(struct builder *b, struct value *x, const int64_t *permutation);
struct value *build_broadcast(struct builder *b, struct value *x, int rank, const dim *shape, const int64_t *axes);
struct value *build_broadcast_to(struct builder *b, struct value *x, int rank,
                                 const dim *shape); /* numpy: axes from the right */
struct value *build_slice(struct builder *b, struct value *x, const dim *start, const dim *limit,
                          const int64_t *stride);
struct value *build_concat(struct builder *b, int n, struct value *const *x, int axis);
struct value *build_pad(struct builder *b, struct value *x, struct value *fill, const dim *low, const dim *high);
struct value *build_gather(struct builder *b, struct value *x, struct value *indices, int axis);
struct value *build_reduce(struct builder *b, struct value *x, enum scalar_op kind, int n, const int64_t *axes);
struct value *build_dot(struct builder *b, struct value *x, struct value *y, int n_batch, const int64_t *batch_x,
                        const int64_t *batch_y, int n_contract, const int64_t *contract_x, const int64_t *contract_y);

/* --- read and change --- */
struct graph *graph_root(const struct graph *g);
int graph_ranks(const struct graph *g);                            /* product of the mesh, 1 without one */
int mesh_size(const struct graph *g, const char *axis);            /* of the root's mesh; 0: no such axis */
const struct attr *op_attr(const struct op *op, const char *name); /* NULL if absent */
int64_t op_int(const struct op *op, const char *name, int64_t otherwise);
const int64_t *op_ints(const struct op *op, const char *name, int *n);
const dim *op_dims(const struct op *op, const char *name, int *n); /* DIM and DIMS */
double op_float(const struct op *op, const char *name, double otherwise);
const char *op_text(const struct op *op, const char *name); /* NULL if absent */
const char *op_where(const struct op *op);                  /* "dot %y (node 12 Conv_3 (Conv))": for messages */
void op_set_attr(struct op *op, struct attr *attr);         /* replaces the one of that name, or adds it */
dim type_elements(struct dim_table *t, const struct type *type);
bool type_same(const struct type *a, const struct type *b);
bool type_constant(const struct type *type, int64_t *shape); /* all dims constant; SHAPE may be NULL */
void type_print(struct text *out, const struct type *type);  /* f32 [N, 48] */
const char *type_text(struct arena *arena, const struct type *type);
void value_replace(struct graph *g, struct value *from, struct value *to); /* in every use, outputs and regions too */
void op_remove(struct op *op);                                             /* its results must have no use */
void op_move_before(struct op *op, struct op *at);
int graph_number(struct graph *g);                                    /* ids 0..n-1 of values, regions too; returns n */
int value_uses(const struct graph *g, const struct value *v);         /* counts; regions and outputs included */
struct graph *graph_copy(struct arena *arena, const struct graph *g); /* constants' bytes are shared */
struct map;                                                           /* ir/map.h */
/* A copy of FROM in TO before AT (NULL: at the end); operands are looked up in VALUES (value -> value), results are
 * added. */
struct op *op_copy(struct graph *to, struct op *at, const struct op *from, struct map *values);
/* Copies what a region of OP holds before OP, its inputs being OP's operands from FIRST_OPERAND on; RESULTS: its
 * outputs. */
void region_inline(struct op *op, const struct graph *region, int first_operand, struct value **results);
void graph_sweep(struct graph *g); /* removes ops whose results nobody uses, in regions too */
bool value_constant(const struct value *v, const struct data **data); /* v is a constant (through nothing) */

/* --- the services --- */
enum yj_status graph_infer(struct op *op); /* makes OP's results, if it has none, and their types */
/* Pairs of dims that OP needs to be equal and that are not known to be: sizes known only at run time. OR_ONE: A may be
 * 1 instead, it is broadcast then. */
typedef void graph_equal_fn(void *user, dim a, dim b, bool or_one);
enum yj_status graph_equalities(const struct op *op, graph_equal_fn *unsure, void *user);
enum yj_status graph_verify(const struct graph *g);
void graph_print(struct text *out, const struct graph *g);
/* Verified. data(N) leaves the bytes of a constant NULL: who has the weights fills them in. */
enum yj_status graph_parse(struct arena *arena, const char *text, const char *file, struct graph **g);

/* Host tensors: row-major, in malloc'ed memory. */
struct tensor {
    enum yj_dtype dtype;
    int rank;
    int64_t shape[GRAPH_MAX_RANK];
    void *bytes;
    size_t n_bytes;
};
enum yj_status tensor_new(enum yj_dtype dtype, int rank, const int64_t *shape, struct tensor *t); /* zeroed */
void tensor_free(struct tensor *t);

/* Evaluates G on INPUTS (n_in of them, in order): binds its dims from their shapes, checks them, computes in the
 * plainest way (transcendentals by libm in double, then rounded). A mesh is evaluated with all its ranks in one go:
 * INPUTS and OUTPUTS are then n_in * ranks and n_out * ranks tensors, rank-major. OUTPUTS are made by it; free with
 * tensor_free. SEE, if not NULL, is called with every value computed (rank 0 first). */
typedef void graph_see_fn(void *user, const struct value *v, int rank, const struct tensor *t);
enum yj_status graph_eval(const struct graph *g, const struct tensor *inputs, struct tensor *outputs, graph_see_fn *see,
                          void *user);

#endif

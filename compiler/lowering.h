/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of lowering share. The one idea: pull(v, index) gives the expression of one element of a value and
 * puts the statements it needs into the outermost scope (loop body) in which that index is known. A softmax's maximum
 * leaves the loop over its row because its index does not name the row's axis, not because anyone recognised a softmax.
 */
#ifndef COMPILER_LOWERING_H
#define COMPILER_LOWERING_H

#include "compiler/lower.h"
#include "ir/map.h"

struct index {
    struct expr *at[GRAPH_MAX_RANK];
};

/* An element that has been computed in a scope (E), or a row of them (BUFFERS; the index without the axes in MASK). */
struct memo {
    const struct value *v;
    unsigned mask;
    struct index idx;
    struct expr *e;
    struct buffer *buffers[2];
    struct memo *next;
};

/* A body under construction. It is built apart and joined to the outer one when it is complete, so that what is hoisted
 * out of it comes before it. */
struct scope {
    struct scope *outer;
    int level;                                      /* 0: inside the tile loops */
    enum { SCOPE_LOOP, SCOPE_IF, SCOPE_TREE } kind; /* TREE: the value of a REDUCE, which holds no statements */
    bool wanted;                                    /* TREE: a statement was needed, so the expression is of no use */
    struct stmt *list;
    struct cursor at;
    struct memo *memos;
};

struct lowering {
    struct arena *arena;
    struct kernel *k;
    const struct op *fused;
    const struct graph *body;
    const struct lower_place *places;
    struct map same;    /* value -> value: inputs of composites' regions, results of composites */
    struct map args;    /* value of the body -> its buffer */
    struct map uses;    /* value -> number of uses in the group */
    struct map symbols; /* symbol of the graph -> dim argument */
    struct map level;   /* axis, let, register buffer -> level + 1 of the scope that binds it */
    struct map axes;    /* value -> value_axes + 1 */
    struct map size;    /* expr -> number of nodes, saturating */
    struct map flats;   /* dim -> struct flat: what a flat index was made of */
    struct map rows;    /* value -> kept as a row in scratch (any non-NULL) */
    unsigned row_mask;  /* the axes of such rows */
    struct scope *scope;
    int rank; /* the domain */
    dim shape[GRAPH_MAX_RANK];
    dim axis[GRAPH_MAX_RANK]; /* its axes; NULL where the size is 1 */
    unsigned inner;           /* domain axes that are serial loops inside the tile */
    bool probe;               /* only finds INNER: on a kernel that is thrown away */
    enum yj_status status;    /* the first error */
};

/* --- lower_pull.c --- */
struct expr *pull(struct lowering *l, const struct value *v, const struct index *idx);
struct expr *refuse(struct lowering *l, enum yj_dtype dtype, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether statements can be put into the current scope; if not, remembers that they were wanted. */
bool can_state(struct lowering *l);
struct expr *compute(struct lowering *l, const struct value *v,
                     const struct index *idx); /* pull without memo and hoisting */
const struct value *resolve(struct lowering *l, const struct value *v);
struct scope *scope_open(struct lowering *l, struct scope *s, int kind, int level);
void scope_close(struct lowering *l, struct cursor *to); /* joins the list at the outer scope, or at TO */
/* A loop over [0, EXTENT) whose body becomes the current scope; none is made when the extent is 1: the axis is then 0.
 */
struct loop {
    struct scope scope;
    dim axis, extent;
    bool none;
};
dim walk_open(struct lowering *l, struct loop *loop, const char *hint, dim extent);
struct stmt *walk_close(struct lowering *l, struct loop *loop);
struct stmt *if_open(struct lowering *l, struct scope *s, struct expr *condition);
unsigned value_axes(struct lowering *l, const struct value *v); /* along which its elements differ */
int expr_level(struct lowering *l, const struct expr *e);
int expr_size(struct lowering *l, const struct expr *e);
void level_set(struct lowering *l, const void *key, int level);
struct expr *let(struct lowering *l, const char *hint, struct expr *e); /* in the current scope */
struct memo *memo_find(struct lowering *l, const struct value *v, unsigned mask, const struct index *idx);
struct memo *memo_add(struct lowering *l, const struct value *v, unsigned mask, const struct index *idx);
struct expr *widen(struct lowering *l, struct expr *e); /* f16, bf16, fp8 -> f32 */
struct expr *narrow(struct lowering *l, enum yj_dtype to, struct expr *e);
enum yj_dtype wide(enum yj_dtype dtype);
struct expr *op2(struct lowering *l, enum scalar_op op, struct expr *a, struct expr *b);

/* --- lower_view.c: i64 expressions that stay dims as long as they can --- */
dim kdim(struct lowering *l, dim d);        /* a dim of the graph in the kernel's table */
struct expr *ix(struct lowering *l, dim d); /* of the kernel */
struct expr *ix_add(struct lowering *l, struct expr *a, struct expr *b);
struct expr *ix_sub(struct lowering *l, struct expr *a, struct expr *b);
struct expr *ix_mul(struct lowering *l, struct expr *a, dim by);
struct expr *ix_div(struct lowering *l, struct expr *a, dim by); /* a >= 0, by >= 1 */
struct expr *ix_mod(struct lowering *l, struct expr *a, dim by);
struct expr *ix_clamp(struct lowering *l, struct expr *a, dim n);        /* into [0, max(n, 1)) */
struct expr *ix_inside(struct lowering *l, struct expr *a, dim n);       /* 0 <= a < n as a bool; NULL: known to hold */
struct expr *all_of(struct lowering *l, struct expr *a, struct expr *b); /* and; NULL is true */
struct expr *flatten(struct lowering *l, const struct index *idx, const dim *shape, const int *axes, int n);
void unflatten(struct lowering *l, struct expr *flat, const dim *shape, const int *axes, int n, struct index *idx);
/* The operand's index of a view that only moves: reshape, transpose, broadcast, slice, reverse. */
struct index view_index(struct lowering *l, const struct op *op, const struct index *idx);
/* x[idx] where INSIDE holds (NULL: everywhere), else FILL, which is of x's dtype. FILLED: x has elements wherever this
 * is computed, although its shape does not say so. */
struct expr *pull_guarded(struct lowering *l, struct expr *inside, const struct value *x, const struct index *idx,
                          struct expr *fill, bool filled);
struct expr *pull_view(struct lowering *l, const struct op *op, const struct index *idx);

/* --- lower_anchor.c --- */
struct expr *pull_dot(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_convolution(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_reduce(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_reduce_window(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_arg_reduce(struct lowering *l, const struct op *op, const struct index *idx);
enum scalar_op join_op(const struct op *op); /* of its attribute kind */

/* --- lower_rows.c --- */
void rows_plan(struct lowering *l);
struct expr *pull_row(struct lowering *l, const struct value *v, const struct index *idx);
struct expr *pull_cumulative(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_sort(struct lowering *l, const struct value *v, const struct index *idx);

/* --- lower_write.c --- */
struct expr *pull_gather(struct lowering *l, const struct op *op, const struct index *idx);
struct expr *pull_gather_nd(struct lowering *l, const struct op *op, const struct index *idx);
/* scatter, pack and update_slice in place do not walk their result: their domain (false: not one of them), their body.
 */
bool write_domain(struct lowering *l);
void write_body(struct lowering *l);

/* --- lower.c --- */
bool lower_form(const struct graph *body, const char **why); /* lower_can.c: what cannot be lowered at all */
struct expr *load_arg(struct lowering *l, const struct value *v, const struct index *idx);
void layout_order(const struct layout *layout, int rank, int *order); /* logical axis at each place in memory */
struct index reshape_between(struct lowering *l, const struct index *idx, const dim *sy, int ny, const dim *sx, int nx);
struct buffer *arg_of(struct lowering *l, const struct value *v);
int arg_subs(struct lowering *l, const struct value *v, const struct index *idx, struct expr **subs);
dim type_dim(struct lowering *l, const struct value *v, int axis); /* its size, in the kernel's table */
dim size_of_axes(struct lowering *l, const dim *shape, unsigned mask);

#endif

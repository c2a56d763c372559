/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators that read or write elements where indices say, order them, or run along an axis. Results whose length
 * depends on data (Compress, NonZero) are bound to a new dim, at most the length of the operand.
 */
#include "compiler/onnx.h"

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

static struct value *built(struct node *n, enum op_kind kind, int n_in, struct value *const *in, struct attr *a,
                           int result) {
    struct op *op;
    return build(B, kind, n_in, in, a, &op) == YJ_OK ? op->out[result] : NULL;
}

bool onnx_gather(struct node *n) {
    struct value *x = node_in(n, 0), *i = node_in(n, 1);
    int axis;
    if (!x || !i || !node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) return false;
    return node_out(n, 0, build_gather(B, x, node_from_end(n, i, x->type.shape[axis]), axis));
}

/* INDEX along AXIS, the position along the others: [shape of INDEX.., rank] */
static struct value *element_vectors(struct node *n, struct value *x, struct value *index, int axis) {
    struct value *part[MAX];
    const struct type *t = &index->type;
    int64_t last[1] = {t->rank};
    if (t->rank != x->type.rank || t->rank + 1 > MAX) {
        node_refuse(n, "indices of rank %d into rank %d (at most %d)", t->rank, x->type.rank, MAX - 1);
        return NULL;
    }
    for (int d = 0; d < t->rank; d++) {
        struct value *v =
            d == axis ? node_from_end(n, index, x->type.shape[d]) : node_iota(n, YJ_I64, t->rank, t->shape, d);
        part[d] = node_unsqueeze(n, v, 1, last);
    }
    return build_concat(B, t->rank, part, t->rank);
}

bool onnx_gather_elements(struct node *n) {
    struct value *x = node_in(n, 0), *index = node_in(n, 1);
    int axis;
    if (!x || !index || !node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) return false;
    struct value *in[2] = {x, element_vectors(n, x, index, axis)};
    return !n->refused && node_out(n, 0, built(n, OP_gather_nd, 2, in, attr_int(n->g, "batch", 0, NULL), 0));
}

static bool scatter(struct node *n, struct value *x, struct value *vectors, struct value *updates) {
    const char *how = node_text(n, "reduction", "none");
    static const char *const known[] = {"none", "add", "mul", "min", "max"};
    struct value *in[3] = {x, vectors, updates};
    for (size_t i = 0; i < COUNT(known); i++)
        if (!strcmp(how, known[i]))
            return node_out(n, 0, built(n, OP_scatter, 3, in, attr_text(n->g, "combine", how, NULL), 0));
    return node_refuse(n, "reduction %s is not supported", how);
}

bool onnx_scatter_elements(struct node *n) {
    struct value *x = node_in(n, 0), *index = node_in(n, 1), *updates = node_in(n, 2);
    int axis;
    if (!x || !index || !updates || !node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) return false;
    struct value *vectors = element_vectors(n, x, index, axis);
    return !n->refused && scatter(n, x, vectors, updates);
}

/* The last axis of INDEX holds positions in axes BATCH.. of x. */
static struct value *vectors_from_end(struct node *n, struct value *x, struct value *index, int batch) {
    int64_t depth;
    const struct type *t = &index->type;
    if (t->rank < 1 || !dim_is_const(t->shape[t->rank - 1], &depth) || depth < 1 || batch + depth > x->type.rank) {
        node_refuse(n, "the last axis of the indices must be known, and at most the rank of the operand");
        return NULL;
    }
    index = build_cast(B, index, YJ_I64);
    struct value *sizes = build_broadcast_to(B, node_sizes(n, (int)depth, x->type.shape + batch), t->rank, t->shape);
    return build_3(B, OP_select, build_2(B, OP_lt, index, node_like(n, 0, index)), build_2(B, OP_add, index, sizes),
                   index);
}

bool onnx_gather_nd(struct node *n) {
    struct value *x = node_in(n, 0), *index = node_in(n, 1);
    int64_t batch = node_int(n, "batch_dims", 0);
    if (!x || !index) return false;
    if (batch < 0 || batch >= x->type.rank || batch >= index->type.rank)
        return node_refuse(n, "batch_dims %lld", (long long)batch);
    struct value *in[2] = {x, vectors_from_end(n, x, index, (int)batch)};
    return !n->refused && node_out(n, 0, built(n, OP_gather_nd, 2, in, attr_int(n->g, "batch", batch, NULL), 0));
}

bool onnx_scatter_nd(struct node *n) {
    struct value *x = node_in(n, 0), *index = node_in(n, 1), *updates = node_in(n, 2);
    if (!x || !index || !updates) return false;
    struct value *vectors = vectors_from_end(n, x, index, 0);
    return !n->refused && scatter(n, x, vectors, updates);
}

/* The size that operand I says; if it is known only at run time, what the model declares of result 0 along AXIS. */
static bool size_operand(struct node *n, int i, int axis, int64_t high, dim *size) {
    int count, rank;
    const dim *dims;
    dim shape[MAX];
    if (!node_known(n, i, &count, &dims) && node_has(n, i) && node_declared(n, 0, &rank, shape) && axis < rank) {
        *size = shape[axis];
        return node_must_be(n, node_in(n, i), 1, size);
    }
    if (!node_dims(n, i, 0, high, &count, &dims)) return false;
    if (count != 1 || dims[0]->high < 0) return node_refuse(n, "operand %d must be one number, not below 0", i);
    *size = dims[0];
    return true;
}

/* on where the index along the new axis is the operand's, off elsewhere */
bool onnx_one_hot(struct node *n) {
    struct value *index = node_in(n, 0), *values = node_in(n, 2);
    int axis;
    dim depth, shape[MAX], none[1];
    if (!index || !values) return false;
    int rank = index->type.rank + 1;
    if (rank > MAX || !node_axis(n, node_int(n, "axis", -1), rank, &axis))
        return node_refuse(n, "a result of rank %d", rank);
    if (!size_operand(n, 1, axis, INT64_C(1) << 32, &depth)) return false;
    for (int i = 0, from = 0; i < rank; i++)
        shape[i] = i == axis ? depth : index->type.shape[from++];
    int64_t at[1] = {axis};
    index = node_unsqueeze(n, node_from_end(n, index, depth), 1, at);
    struct value *hit = build_2(B, OP_eq, node_iota(n, YJ_I64, rank, shape, axis),
                                index ? build_broadcast_to(B, index, rank, shape) : NULL);
    struct value *off = build_reshape(B, node_cut(n, values, 0, node_c(n, 0), node_c(n, 1)), 0, none);
    struct value *on = build_reshape(B, node_cut(n, values, 0, node_c(n, 1), node_c(n, 2)), 0, none);
    return node_out(
        n, 0,
        build_3(B, OP_select, hit, build_broadcast_to(B, on, rank, shape), build_broadcast_to(B, off, rank, shape)));
}

bool onnx_top_k(struct node *n) {
    struct value *x = node_in(n, 0);
    struct op *op;
    int axis;
    dim k;
    if (!x || !node_axis(n, node_int(n, "axis", -1), x->type.rank, &axis)) return false;
    if (n->version < 10)
        k = node_c(n, max64(node_int(n, "k", 0), 0));
    else if (!size_operand(n, 1, axis, x->type.shape[axis]->high, &k))
        return false;
    if (dim_less(n->dims, x->type.shape[axis], k) == DIM_YES) return node_refuse(n, "k is larger than the axis");
    struct attr *a = attr_int(n->g, "axis", axis, attr_int(n->g, "descending", node_int(n, "largest", 1) != 0, NULL));
    if (build(B, OP_sort, 1, &x, a, &op) != YJ_OK) return node_out(n, 0, NULL);
    return node_out(n, 0, node_cut(n, op->out[0], axis, node_c(n, 0), k)) &&
           node_out(n, 1, node_cut(n, op->out[1], axis, node_c(n, 0), k));
}

/* The positions of what is true in the vector FLAGS, ascending: a stable sort puts them first. *COUNT: a new dim. */
static struct value *positions(struct node *n, struct value *flags, dim *count) {
    struct op *op;
    if (!flags) return NULL;
    int64_t all[1] = {0}, high = flags->type.shape[0]->high;
    struct value *ones = build_cast(B, flags, YJ_I32),
                 *sum = build_cast(B, build_reduce(B, ones, SCALAR_add, 1, all), YJ_I64);
    if (!sum) return NULL;
    *count = graph_dim(n->g, arena_text(import_arena(n->import), "k%d", n->number), 0, high);
    if (build(B, OP_bind, 1, &sum, attr_dims(n->g, "symbols", 1, count, NULL), &op) != YJ_OK) return NULL;
    struct value *order =
        built(n, OP_sort, 1, &ones, attr_int(n->g, "axis", 0, attr_int(n->g, "descending", 1, NULL)), 1);
    return node_cut(n, order, 0, node_c(n, 0), *count);
}

bool onnx_compress(struct node *n) {
    struct value *x = node_in(n, 0), *flags = node_in(n, 1);
    int axis = 0;
    dim count;
    if (!x || !flags) return false;
    if (flags->type.rank != 1) return node_refuse(n, "the condition must be a vector");
    if (!node_attribute(n, "axis")) {
        dim flat[1] = {type_elements(n->dims, &x->type)};
        x = build_reshape(B, x, 1, flat);
    } else if (!node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) {
        return false;
    }
    return node_out(n, 0, build_gather(B, x, positions(n, flags, &count), axis));
}

bool onnx_non_zero(struct node *n) {
    struct value *x = node_in(n, 0), *rows[MAX];
    dim count;
    if (!x) return false;
    struct type t = x->type;
    if (t.rank == 0) return node_refuse(n, "a scalar operand");
    dim flat[1] = {type_elements(n->dims, &t)};
    x = build_reshape(B, x, 1, flat);
    if (t.dtype != YJ_BOOL) x = build_2(B, OP_ne, x, node_like(n, 0, x));
    struct value *at = positions(n, x, &count);
    for (int i = t.rank - 1; i >= 0 && at; i--) {
        struct value *size = build_broadcast_to(B, node_size(n, t.shape[i], YJ_I64), 1, &count);
        int64_t first[1] = {0};
        rows[i] = node_unsqueeze(n, build_2(B, OP_rem, at, size), 1, first);
        at = build_2(B, OP_div, at, size);
    }
    return node_out(n, 0, at ? build_concat(B, t.rank, rows, 0) : NULL);
}

static struct value *running_sum(struct node *n, struct value *x, int axis) {
    struct attr *a = attr_int(n->g, "axis", axis, attr_text(n->g, "kind", "add", NULL));
    a = attr_int(n->g, "exclusive", node_int(n, "exclusive", 0),
                 attr_int(n->g, "reverse", node_int(n, "reverse", 0), a));
    return built(n, OP_cumulative, 1, &x, a, 0);
}

/* An axis that is known only at run time: every axis is summed, one sum is chosen. */
bool onnx_cum_sum(struct node *n) {
    struct value *x = node_in(n, 0), *which, *y;
    int count, axis;
    const dim *known;
    int64_t fixed;
    dim none[1];
    if (!x || !node_has(n, 1)) return node_refuse(n, "axis is missing");
    if (x->type.rank == 0) return node_refuse(n, "a scalar operand");
    if (node_known(n, 1, &count, &known) && count == 1 && dim_is_const(known[0], &fixed))
        return node_axis(n, fixed, x->type.rank, &axis) && node_out(n, 0, running_sum(n, x, axis));
    which = build_reshape(B, node_from_end(n, node_in(n, 1), node_c(n, x->type.rank)), 0, none);
    y = running_sum(n, x, 0);
    for (axis = 1; axis < x->type.rank && y; axis++) {
        struct value *chosen =
            build_broadcast_to(B, build_2(B, OP_eq, which, node_like(n, axis, which)), x->type.rank, x->type.shape);
        y = build_3(B, OP_select, chosen, running_sum(n, x, axis), y);
    }
    return node_out(n, 0, y);
}

/* Element t of a row of length l comes from l - 1 - t if t < l. */
bool onnx_reverse_sequence(struct node *n) {
    struct value *x = node_in(n, 0), *lengths = node_in(n, 1);
    int64_t time = node_int(n, "time_axis", 0), batch = node_int(n, "batch_axis", 1);
    if (!x || !lengths) return false;
    struct type t = x->type;
    if (t.rank < 2 || time + batch != 1 || time < 0 || batch < 0)
        return node_refuse(n, "time_axis and batch_axis must be 0 and 1");
    struct value *i = node_iota(n, YJ_I64, t.rank, t.shape, (int)time);
    struct value *l = node_along(n, build_cast(B, lengths, YJ_I64), x, (int)batch);
    struct value *back = build_2(B, OP_sub, build_2(B, OP_sub, l, node_like(n, 1, l)), i);
    struct value *from = build_3(B, OP_select, build_2(B, OP_lt, i, l), back, i);
    struct value *in[2] = {x, from ? element_vectors(n, x, from, (int)time) : NULL};
    return !n->refused && node_out(n, 0, built(n, OP_gather_nd, 2, in, attr_int(n->g, "batch", 0, NULL), 0));
}

/* 1 at the first largest element along the axis; before opset 13 the axes from AXIS on are one row. */
bool onnx_hardmax(struct node *n) {
    struct value *x = node_in(n, 0);
    int axis;
    if (!x || !node_axis(n, node_int(n, "axis", n->version < 13 ? 1 : -1), x->type.rank, &axis)) return false;
    struct type t = x->type;
    if (n->version < 13) {
        dim flat[2] = {node_c(n, 1), node_c(n, 1)};
        for (int i = 0; i < t.rank; i++)
            flat[i >= axis] = dim_mul(n->dims, flat[i >= axis], t.shape[i]);
        x = build_reshape(B, x, 2, flat);
        axis = 1;
    }
    struct value *best =
        built(n, OP_arg_reduce, 1, &x, attr_int(n->g, "axis", axis, attr_text(n->g, "kind", "max", NULL)), 0);
    if (!best) return node_out(n, 0, NULL);
    int64_t at[1] = {axis};
    best = build_broadcast_to(B, node_unsqueeze(n, best, 1, at), x->type.rank, x->type.shape);
    struct value *hit = build_2(B, OP_eq, node_iota(n, YJ_I64, x->type.rank, x->type.shape, axis), best);
    struct value *y = build_cast(B, hit, t.dtype);
    return node_out(n, 0, y ? build_reshape(B, y, t.rank, t.shape) : NULL);
}

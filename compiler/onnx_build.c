/* SPDX-License-Identifier: Apache-2.0
 *
 * What builders of several operators share: broadcasting, keeping reduced axes, softmax.
 */
#include "compiler/onnx.h"

dim node_c(struct node *n, int64_t value) {
    return dim_const(n->dims, value);
}

bool node_broadcast_shape(struct node *n, const struct type *a, const struct type *b, int *rank, dim *shape) {
    int r = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < r; i++) {
        int ia = i - (r - a->rank), ib = i - (r - b->rank);
        dim da = ia >= 0 ? a->shape[ia] : node_c(n, 1), db = ib >= 0 ? b->shape[ib] : node_c(n, 1);
        if (dim_is(da, 1))
            shape[i] = db;
        else if (dim_is(db, 1) || dim_equal(n->dims, da, db) == DIM_YES)
            shape[i] = da;
        else {
            struct text t = {0};
            dim_print(&t, da);
            text_add(&t, " and ");
            dim_print(&t, db);
            node_refuse(n,
                        "dimensions %s do not match for sure; if they are equal, give both one name in the model or "
                        "fix them with --dim",
                        t.data ? t.data : "?");
            text_free(&t);
            return false;
        }
    }
    *rank = r;
    return true;
}

bool node_broadcast_2(struct node *n, struct value **a, struct value **b) {
    int rank;
    dim shape[GRAPH_MAX_RANK];
    if (!*a || !*b) return false;
    if (!node_broadcast_shape(n, &(*a)->type, &(*b)->type, &rank, shape)) return false;
    *a = build_broadcast_to(&n->b, *a, rank, shape);
    *b = build_broadcast_to(&n->b, *b, rank, shape);
    return *a && *b;
}

struct value *node_like(struct node *n, double value, struct value *x) {
    if (!x) return NULL;
    bool real = dtype_kind(x->type.dtype) == 'f';
    struct value *s =
        real ? build_scalar_f(&n->b, x->type.dtype, value) : build_scalar_i(&n->b, x->type.dtype, (int64_t)value);
    return build_broadcast_to(&n->b, s, x->type.rank, x->type.shape);
}

struct value *node_wide(struct node *n, struct value *x) {
    return x && (x->type.dtype == YJ_F16 || x->type.dtype == YJ_BF16) ? build_cast(&n->b, x, YJ_F32) : x;
}

bool node_out_as(struct node *n, int i, struct value *v, enum yj_dtype dtype) {
    return node_out(n, i, v ? build_cast(&n->b, v, dtype) : NULL);
}

struct value *node_expand(struct node *n, struct value *v, const struct type *like, int axis0) {
    int64_t axes[GRAPH_MAX_RANK];
    if (!v) return NULL;
    for (int i = 0; i < v->type.rank; i++)
        axes[i] = axis0 + i;
    return build_broadcast(&n->b, v, like->rank, like->shape, axes);
}

struct value *node_along(struct node *n, struct value *v, const struct value *like, int axis) {
    int64_t axes[1] = {axis};
    if (!v || !like) return NULL;
    if (v->type.rank != 1) {
        node_refuse(n, "an operand of rank %d should be a vector", v->type.rank);
        return NULL;
    }
    return build_broadcast(&n->b, v, like->type.rank, like->type.shape, axes);
}

struct value *node_reduce_keep(struct node *n, struct value *x, enum scalar_op kind, int count, const int64_t *axes) {
    struct value *r = build_reduce(&n->b, x, kind, count, axes);
    if (!r) return NULL;
    int64_t kept[GRAPH_MAX_RANK];
    int k = 0;
    for (int i = 0; i < x->type.rank; i++) {
        bool reduced = false;
        for (int j = 0; j < count; j++)
            reduced |= axes[j] == i;
        if (!reduced) kept[k++] = i;
    }
    return build_broadcast(&n->b, r, x->type.rank, x->type.shape, kept);
}

struct value *node_squeeze(struct node *n, struct value *x, int count, const int64_t *axes) {
    dim shape[GRAPH_MAX_RANK];
    int rank = 0;
    if (!x) return NULL;
    for (int i = 0; i < x->type.rank; i++) {
        bool gone = false;
        for (int j = 0; j < count; j++)
            gone |= axes[j] == i;
        if (!gone) shape[rank++] = x->type.shape[i];
    }
    return build_reshape(&n->b, x, rank, shape);
}

struct value *node_unsqueeze(struct node *n, struct value *x, int count, const int64_t *axes) {
    dim shape[GRAPH_MAX_RANK];
    if (!x || x->type.rank + count > GRAPH_MAX_RANK) return NULL;
    for (int i = 0, from = 0; i < x->type.rank + count; i++) {
        bool made = false;
        for (int j = 0; j < count; j++)
            made |= axes[j] == i;
        shape[i] = made ? node_c(n, 1) : x->type.shape[from++];
    }
    return build_reshape(&n->b, x, x->type.rank + count, shape);
}

struct value *node_softmax(struct node *n, struct value *x, int axis) {
    int64_t axes[1] = {axis};
    struct builder *b = &n->b;
    enum yj_dtype dtype = x ? x->type.dtype : YJ_F32;
    x = node_wide(n, x);
    struct value *e = build_1(b, OP_exp, build_2(b, OP_sub, x, node_reduce_keep(n, x, SCALAR_max, 1, axes)));
    struct value *sum = node_reduce_keep(n, e, SCALAR_add, 1, axes);
    struct value *y = build_2(b, OP_mul, e, build_2(b, OP_div, node_like(n, 1, sum), sum)); /* one division a row */
    return build_cast(b, y, dtype);
}

struct value *node_log_softmax(struct node *n, struct value *x, int axis) {
    int64_t axes[1] = {axis};
    struct builder *b = &n->b;
    if (!x) return NULL;
    enum yj_dtype dtype = x->type.dtype;
    x = node_wide(n, x);
    struct value *d = build_2(b, OP_sub, x, node_reduce_keep(n, x, SCALAR_max, 1, axes));
    struct value *sum = node_reduce_keep(n, build_1(b, OP_exp, d), SCALAR_add, 1, axes);
    return build_cast(b, build_2(b, OP_sub, d, build_1(b, OP_log, sum)), dtype);
}

struct value *node_iota(struct node *n, enum yj_dtype dtype, int rank, const dim *shape, int axis) {
    struct op *op;
    struct attr *a = attr_int(n->g, "axis", axis, attr_text(n->g, "dtype", yj_dtype_name(dtype), NULL));
    return build(&n->b, OP_iota, 0, NULL, attr_dims(n->g, "shape", rank, shape, a), &op) == YJ_OK ? op->out[0] : NULL;
}

struct value *node_sizes(struct node *n, int count, const dim *dims) {
    struct op *op;
    return build(&n->b, OP_dims, 0, NULL, attr_dims(n->g, "values", count, dims, NULL), &op) == YJ_OK ? op->out[0]
                                                                                                      : NULL;
}

struct value *node_size(struct node *n, dim d, enum yj_dtype dtype) {
    int64_t fixed;
    if (dim_is_const(d, &fixed)) return build_scalar_i(&n->b, dtype, fixed);
    return build_cast(&n->b, build_reshape(&n->b, node_sizes(n, 1, &d), 0, NULL), dtype);
}

struct value *node_from_end(struct node *n, struct value *i, dim size) {
    struct builder *b = &n->b;
    if (!i) return NULL;
    i = build_cast(b, i, YJ_I64);
    struct value *whole = build_broadcast_to(b, node_size(n, size, YJ_I64), i->type.rank, i->type.shape);
    return build_3(b, OP_select, build_2(b, OP_lt, i, node_like(n, 0, i)), build_2(b, OP_add, i, whole), i);
}

struct value *node_cut(struct node *n, struct value *x, int axis, dim from, dim to) {
    dim start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK];
    int64_t stride[GRAPH_MAX_RANK];
    if (!x) return NULL;
    for (int i = 0; i < x->type.rank; i++)
        start[i] = node_c(n, 0), limit[i] = x->type.shape[i], stride[i] = 1;
    start[axis] = from;
    limit[axis] = to;
    return build_slice(&n->b, x, start, limit, stride);
}

bool node_must_be(struct node *n, struct value *v, int count, const dim *dims) {
    struct op *op;
    dim symbols[GRAPH_MAX_RANK + 1];
    if (!v || count > GRAPH_MAX_RANK) return false;
    for (int i = 0; i < count; i++) {
        if (dims[i]->low != dims[i]->high)
            return node_refuse(n, "a size is known only at run time, and a shape says what it must be");
        char *name;
        for (int k = i;; k++)
            if (!dim_find(n->dims, name = arena_text(import_arena(n->import), "c%d_%d", n->number, k))) break;
        symbols[i] = graph_dim(n->g, name, dims[i]->low, dims[i]->low);
    }
    v = build_cast(&n->b, v, YJ_I64);
    return build(&n->b, OP_bind, 1, &v, attr_dims(n->g, "symbols", count, symbols, NULL), &op) == YJ_OK ||
           node_refuse(n, "%s", yj_error_text());
}

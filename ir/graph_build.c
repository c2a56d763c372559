/* SPDX-License-Identifier: Apache-2.0
 *
 * Builders. All go through build(), which infers at once: what cannot be typed never enters a graph. Typed builders
 * pass NULL operands through, so that a chain of them is checked once, at its end.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"

/* --- attributes --- */

static struct attr *attr_new(struct graph *g, const char *name, enum attr_kind kind, int n, struct attr *next) {
    struct attr *a = NEW(g->arena, struct attr);
    a->name = arena_text(g->arena, "%s", name);
    a->kind = kind;
    a->n = n;
    a->next = next;
    return a;
}

struct attr *attr_ints(struct graph *g, const char *name, int n, const int64_t *values, struct attr *next) {
    struct attr *a = attr_new(g, name, ATTR_INTS, n, next);
    a->ints = NEW_ARRAY(g->arena, int64_t, n > 0 ? n : 1);
    if (n > 0) memcpy(a->ints, values, (size_t)n * sizeof *values);
    return a;
}

struct attr *attr_int(struct graph *g, const char *name, int64_t value, struct attr *next) {
    struct attr *a = attr_ints(g, name, 1, &value, next);
    a->kind = ATTR_INT;
    return a;
}

struct attr *attr_dims(struct graph *g, const char *name, int n, const dim *values, struct attr *next) {
    struct attr *a = attr_new(g, name, ATTR_DIMS, n, next);
    a->dims = NEW_ARRAY(g->arena, dim, n > 0 ? n : 1);
    if (n > 0) memcpy(a->dims, values, (size_t)n * sizeof *values);
    return a;
}

struct attr *attr_dim(struct graph *g, const char *name, dim value, struct attr *next) {
    struct attr *a = attr_dims(g, name, 1, &value, next);
    a->kind = ATTR_DIM;
    return a;
}

struct attr *attr_text(struct graph *g, const char *name, const char *text, struct attr *next) {
    struct attr *a = attr_new(g, name, ATTR_TEXT, 1, next);
    a->text = arena_text(g->arena, "%s", text);
    return a;
}

struct attr *attr_float(struct graph *g, const char *name, double value, struct attr *next) {
    struct attr *a = attr_new(g, name, ATTR_FLOAT, 1, next);
    a->number = value;
    return a;
}

/* --- the general builder --- */

struct op *op_new(struct builder *b, enum op_kind kind, int n_in, struct value *const *in, struct attr *attrs) {
    struct arena *arena = b->graph->arena;
    struct op *op = NEW(arena, struct op);
    op->kind = kind;
    op->graph = b->graph;
    op->n_in = n_in;
    op->in = NEW_ARRAY(arena, struct value *, n_in + 1);
    for (int i = 0; i < n_in; i++)
        op->in[i] = in[i];
    op->attrs = attrs;
    op->n_origin = b->n_origin;
    op->origin = NEW_ARRAY(arena, int, b->n_origin + 1);
    for (int i = 0; i < b->n_origin; i++)
        op->origin[i] = b->origin[i];
    return op;
}

enum yj_status build(struct builder *b, enum op_kind kind, int n_in, struct value *const *in, struct attr *attrs,
                     struct op **made) {
    *made = NULL;
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return YJ_ERR_INPUT; /* reported by the builder that gave this NULL */
    struct op *op = op_new(b, kind, n_in, in, attrs);
    if (!op_is(kind, 'G')) TRY(graph_infer(op));
    op_insert(b->graph, op, b->at);
    *made = op;
    return YJ_OK;
}

enum yj_status graph_infer(struct op *op) {
    struct type *types;
    int n;
    TRY(infer_types(op, &types, &n));
    struct graph *g = op->graph;
    if (op->n_out == 0 && n > 0) {
        op->out = NEW_ARRAY(g->arena, struct value *, n);
        for (int i = 0; i < n; i++) {
            struct value *v = op->out[i] = NEW(g->arena, struct value);
            v->op = op;
            v->index = i;
            value_rename(g, v, op_info[op->kind].name);
        }
        op->n_out = n;
    }
    if (op->n_out != n)
        return report(YJ_ERR_INPUT, "%s: it has %d results and should have %d", op_where(op), op->n_out, n);
    for (int i = 0; i < n; i++)
        op->out[i]->type = types[i];
    return YJ_OK;
}

static struct value *one(struct builder *b, enum op_kind kind, int n_in, struct value *const *in, struct attr *attrs) {
    struct op *op;
    return build(b, kind, n_in, in, attrs, &op) == YJ_OK ? op->out[0] : NULL;
}

/* --- constants --- */

struct value *build_constant(struct builder *b, enum yj_dtype dtype, int rank, const dim *shape, const void *bytes,
                             size_t n_bytes) {
    struct graph *g = b->graph;
    struct op *op = op_new(b, OP_constant, 0, NULL, NULL);
    struct value *v = NEW(g->arena, struct value);
    op->data = (struct data){bytes, n_bytes, NULL, -1};
    op->n_out = 1;
    op->out = NEW_ARRAY(g->arena, struct value *, 1);
    op->out[0] = v;
    v->op = op;
    v->type.dtype = dtype;
    v->type.rank = rank;
    for (int i = 0; i < rank && i < GRAPH_MAX_RANK; i++)
        v->type.shape[i] = shape[i];
    struct type *types;
    int n;
    if (infer_types(op, &types, &n) != YJ_OK) return NULL;
    value_rename(g, v, op_info[OP_constant].name);
    op_insert(g, op, b->at);
    return v;
}

static struct value *scalar(struct builder *b, enum yj_dtype dtype, uint64_t wide) {
    size_t n = yj_dtype_bytes(dtype);
    void *bytes = arena_new(b->graph->arena, 8);
    element_store(bytes, dtype, 0, wide);
    return build_constant(b, dtype, 0, NULL, bytes, n);
}

struct value *build_scalar_f(struct builder *b, enum yj_dtype dtype, double value) {
    if (dtype_kind(dtype) != 'f') return build_scalar_i(b, dtype, (int64_t)value);
    return scalar(b, dtype, dtype == YJ_F64 ? f64_bits(value) : f32_bits((float)value));
}

struct value *build_scalar_i(struct builder *b, enum yj_dtype dtype, int64_t value) {
    if (dtype_kind(dtype) == 'f') return build_scalar_f(b, dtype, (double)value);
    return scalar(b, dtype, dtype == YJ_BOOL ? value != 0 : (uint64_t)value);
}

struct value *build_ints(struct builder *b, int n, const int64_t *values) {
    struct graph *g = b->graph;
    size_t bytes = (size_t)n * sizeof *values;
    void *copy = arena_new(g->arena, bytes ? bytes : 1);
    if (n > 0) memcpy(copy, values, bytes);
    dim shape[1] = {dim_const(g->dims, n)};
    return build_constant(b, YJ_I64, 1, shape, copy, bytes);
}

/* --- typed builders --- */

struct value *build_1(struct builder *b, enum op_kind kind, struct value *a) {
    return one(b, kind, 1, (struct value *[]){a}, NULL);
}

struct value *build_2(struct builder *b, enum op_kind kind, struct value *a, struct value *c) {
    return one(b, kind, 2, (struct value *[]){a, c}, NULL);
}

struct value *build_3(struct builder *b, enum op_kind kind, struct value *a, struct value *c, struct value *d) {
    return one(b, kind, 3, (struct value *[]){a, c, d}, NULL);
}

struct value *build_cast(struct builder *b, struct value *x, enum yj_dtype to) {
    if (x && x->type.dtype == to) return x;
    return one(b, OP_cast, 1, &x, attr_text(b->graph, "to", yj_dtype_name(to), NULL));
}

struct value *build_reshape(struct builder *b, struct value *x, int rank, const dim *shape) {
    return one(b, OP_reshape, 1, &x, attr_dims(b->graph, "shape", rank, shape, NULL));
}

struct value *build_transpose(struct builder *b, struct value *x, const int64_t *permutation) {
    if (!x) return NULL;
    return one(b, OP_transpose, 1, &x, attr_ints(b->graph, "permutation", x->type.rank, permutation, NULL));
}

struct value *build_broadcast(struct builder *b, struct value *x, int rank, const dim *shape, const int64_t *axes) {
    if (!x) return NULL;
    struct attr *a = attr_ints(b->graph, "axes", x->type.rank, axes, NULL);
    return one(b, OP_broadcast, 1, &x, attr_dims(b->graph, "shape", rank, shape, a));
}

struct value *build_broadcast_to(struct builder *b, struct value *x, int rank, const dim *shape) {
    if (!x) return NULL;
    int64_t axes[GRAPH_MAX_RANK];
    bool same = x->type.rank == rank;
    for (int i = 0; i < x->type.rank; i++) {
        axes[i] = i + rank - x->type.rank;
        same = same && x->type.shape[i] == shape[i];
    }
    return same ? x : build_broadcast(b, x, rank, shape, axes);
}

struct value *build_slice(struct builder *b, struct value *x, const dim *start, const dim *limit,
                          const int64_t *stride) {
    if (!x) return NULL;
    struct graph *g = b->graph;
    int rank = x->type.rank;
    struct attr *a = attr_dims(g, "limit", rank, limit, attr_ints(g, "stride", rank, stride, NULL));
    return one(b, OP_slice, 1, &x, attr_dims(g, "start", rank, start, a));
}

struct value *build_concat(struct builder *b, int n, struct value *const *x, int axis) {
    return one(b, OP_concat, n, x, attr_int(b->graph, "axis", axis, NULL));
}

struct value *build_pad(struct builder *b, struct value *x, struct value *fill, const dim *low, const dim *high) {
    if (!x) return NULL;
    struct attr *a = attr_dims(b->graph, "high", x->type.rank, high, NULL);
    return one(b, OP_pad, 2, (struct value *[]){x, fill}, attr_dims(b->graph, "low", x->type.rank, low, a));
}

struct value *build_gather(struct builder *b, struct value *x, struct value *indices, int axis) {
    return one(b, OP_gather, 2, (struct value *[]){x, indices}, attr_int(b->graph, "axis", axis, NULL));
}

struct value *build_reduce(struct builder *b, struct value *x, enum scalar_op kind, int n, const int64_t *axes) {
    struct attr *a = attr_text(b->graph, "kind", op_info[kind].name, NULL);
    return one(b, OP_reduce, 1, &x, attr_ints(b->graph, "axes", n, axes, a));
}

struct value *build_dot(struct builder *b, struct value *x, struct value *y, int n_batch, const int64_t *batch_x,
                        const int64_t *batch_y, int n_contract, const int64_t *contract_x, const int64_t *contract_y) {
    struct graph *g = b->graph;
    struct attr *a = attr_ints(g, "contract_b", n_contract, contract_y, NULL);
    a = attr_ints(g, "contract_a", n_contract, contract_x, a);
    a = attr_ints(g, "batch_a", n_batch, batch_x, attr_ints(g, "batch_b", n_batch, batch_y, a));
    return one(b, OP_dot, 2, (struct value *[]){x, y}, a);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Random legal graphs of one op, for tests that loop over every row of scalar.def and ops.def: graph_case_make gives a
 * graph whose only interesting op is of the kind asked for, with inputs. Values are small whole numbers where sums are
 * taken, so that every order of summation is exact; elementwise operands include halves, infinities, NaN and -0.
 */
#ifndef TESTS_GRAPH_CASES_H
#define TESTS_GRAPH_CASES_H

#include "ir/graph.h"
#include "ir/graph_inside.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct graph_case {
    struct arena *arena;
    struct graph *g;
    struct op *op;         /* the op under test */
    struct tensor *inputs; /* g->n_in * ranks, rank-major */
    int ranks;
    enum yj_dtype dtype;
    bool symbolic; /* sizes are symbols */
    uint64_t seed;
    struct builder b;
};

static inline uint64_t case_random(struct graph_case *c) {
    c->seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = c->seed;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline int64_t case_between(struct graph_case *c, int64_t low, int64_t high) {
    return low + (int64_t)(case_random(c) % (uint64_t)(high - low + 1));
}

/* A dim that is SIZE: a symbol NAME with these bounds, or the number. The value of a symbol is found again by its name.
 */
static inline dim case_dim(struct graph_case *c, const char *name, int64_t size) {
    char text[40];
    if (!c->symbolic || !name) return dim_const(c->g->dims, size);
    snprintf(text, sizeof text, "%s.%lld", name, (long long)size);
    return dim_symbol(c->g->dims, text, 0, 1000);
}

static inline bool case_bind(void *user, dim symbol, int64_t *value) {
    const char *dot = strrchr(symbol->name, '.');
    *value = dot ? atoll(dot + 1) : 0;
    return dot != NULL;
}

static inline int64_t case_size(dim d) {
    int64_t v = 0;
    if (dim_eval(d, case_bind, NULL, &v) != YJ_OK) abort();
    return v;
}

/* How random elements are drawn. */
enum case_values { CASE_SMALL, CASE_SPECIAL, CASE_INDEX };

static inline uint64_t case_element(struct graph_case *c, enum yj_dtype dtype, enum case_values how, int64_t below) {
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 0.5, -0.5, 1.5, -2.5, 1e-3, 100, -7.25};
    char kind = dtype_kind(dtype);
    if (how == CASE_INDEX) return (uint64_t)case_between(c, 0, below - 1);
    if (kind == 'b') return case_random(c) & 1;
    if (kind == 'u') return how == CASE_SPECIAL ? case_random(c) : (uint64_t)case_between(c, 0, 4);
    int64_t small = case_between(c, -3, 3);
    if (kind == 'i') return how == CASE_SPECIAL && case_random(c) % 2 ? case_random(c) : (uint64_t)small;
    double v =
        how == CASE_SPECIAL && case_random(c) % 3 == 0 ? special[case_random(c) % COUNT(special)] : (double)small;
    if (how == CASE_SPECIAL && case_random(c) % 3 == 0) v = (double)case_between(c, -4000, 4000) / 512;
    return dtype == YJ_F64 ? f64_bits(v) : f32_bits((float)v);
}

static inline struct value *case_input(struct graph_case *c, enum yj_dtype dtype, int rank, const dim *shape,
                                       enum case_values how, int64_t below) {
    char name[16];
    int n = c->g->n_in;
    int64_t size[GRAPH_MAX_RANK];
    struct tensor *old = c->inputs;
    snprintf(name, sizeof name, "in%d", n);
    for (int i = 0; i < rank; i++)
        size[i] = case_size(shape[i]);
    struct value *v = graph_input(c->g, name, dtype, rank, shape);
    c->inputs = calloc((size_t)((n + 1) * c->ranks), sizeof *c->inputs);
    for (int r = 0; r < c->ranks; r++) {
        struct tensor *t = &c->inputs[r * (n + 1) + n];
        for (int i = 0; i < n; i++)
            c->inputs[r * (n + 1) + i] = old[r * n + i];
        if (tensor_new(dtype, rank, size, t) != YJ_OK) abort();
        for (int64_t i = 0; i < (int64_t)(t->n_bytes / yj_dtype_bytes(dtype)); i++)
            element_store(t->bytes, dtype, i, case_element(c, dtype, how, below));
    }
    free(old);
    return v;
}

/* An input of RANK random sizes in LOW..HIGH. */
static inline struct value *case_any(struct graph_case *c, enum yj_dtype dtype, int rank, int64_t low, int64_t high,
                                     enum case_values how) {
    static const char *const names[] = {"A", "B", "C", "D", "E"};
    dim shape[GRAPH_MAX_RANK];
    for (int i = 0; i < rank; i++)
        shape[i] = case_dim(c, names[i], case_between(c, low, high));
    return case_input(c, dtype, rank, shape, how, 0);
}

static inline struct op *case_build(struct graph_case *c, enum op_kind kind, int n, struct value *const *in,
                                    struct attr *attrs) {
    struct op *op;
    return build(&c->b, kind, n, in, attrs, &op) == YJ_OK ? op : NULL;
}

static inline const char *case_pick(struct graph_case *c, const char *const *list) {
    int n = 0;
    while (list[n])
        n++;
    return list[case_between(c, 0, n - 1)];
}

static inline void case_shuffle(struct graph_case *c, int64_t *list, int n) {
    for (int i = 0; i < n; i++)
        list[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int64_t j = case_between(c, 0, i), x = list[i];
        list[i] = list[j];
        list[j] = x;
    }
}

/* --- one generator a kind: NULL when the dtype is not for it --- */

static inline struct op *case_elementwise(struct graph_case *c, enum op_kind kind) {
    const struct scalar_info *row = &scalar_info[kind];
    if (!strchr(row->types, dtype_kind(c->dtype))) return NULL;
    struct value *in[3];
    int rank = (int)case_between(c, 0, 3);
    in[0] = case_any(c, kind == OP_select ? YJ_BOOL : c->dtype, rank, 1, 4, CASE_SPECIAL);
    for (int i = 1; i < row->arity; i++)
        in[i] = case_input(c, c->dtype, rank, in[0]->type.shape, CASE_SPECIAL, 0);
    if (kind == OP_shift_left || kind == OP_shift_right)
        for (int64_t i = 0; i < (int64_t)(c->inputs[1].n_bytes / yj_dtype_bytes(c->dtype)); i++)
            element_store(c->inputs[1].bytes, c->dtype, i, (uint64_t)case_between(c, 0, 70));
    return case_build(c, kind, row->arity, in, NULL);
}

static inline struct op *case_constant(struct graph_case *c) {
    size_t each = yj_dtype_bytes(c->dtype);
    char *bytes = arena_new(c->arena, 6 * each);
    bool splat = case_random(c) & 1;
    uint64_t one = case_element(c, c->dtype, CASE_SPECIAL, 0);
    for (int i = 0; i < 6; i++)
        element_store(bytes, c->dtype, i, splat ? one : case_element(c, c->dtype, CASE_SPECIAL, 0));
    dim shape[2] = {dim_const(c->g->dims, 2), dim_const(c->g->dims, 3)};
    struct value *v = build_constant(&c->b, c->dtype, 2, shape, bytes, 6 * each);
    return v ? v->op : NULL;
}

static inline struct op *case_iota(struct graph_case *c) {
    if (c->dtype == YJ_BOOL) return NULL;
    struct value *x = case_any(c, YJ_F32, 3, 1, 5, CASE_SMALL);
    struct attr *a =
        attr_int(c->g, "axis", case_between(c, 0, 2), attr_text(c->g, "dtype", yj_dtype_name(c->dtype), NULL));
    return case_build(c, OP_iota, 0, NULL, attr_dims(c->g, "shape", 3, x->type.shape, a));
}

static inline struct op *case_dims(struct graph_case *c) {
    struct value *x = case_any(c, YJ_F32, 2, 1, 5, CASE_SMALL);
    struct dim_table *t = c->g->dims;
    dim values[3] = {x->type.shape[0], dim_mul(t, x->type.shape[0], x->type.shape[1]),
                     dim_sub(t, x->type.shape[1], dim_const(t, 9))};
    return c->dtype == YJ_I64 ? case_build(c, OP_dims, 0, NULL, attr_dims(c->g, "values", 3, values, NULL)) : NULL;
}

static inline struct op *case_cast(struct graph_case *c) {
    enum yj_dtype to = (enum yj_dtype)case_between(c, YJ_F32, YJ_BOOL);
    struct value *x = case_any(c, c->dtype, 2, 1, 6, CASE_SPECIAL);
    return case_build(c, OP_cast, 1, &x, attr_text(c->g, "to", yj_dtype_name(to), NULL));
}

static inline struct op *case_bitcast(struct graph_case *c) {
    enum yj_dtype to = (enum yj_dtype)case_between(c, YJ_F32, YJ_BOOL);
    if (yj_dtype_bytes(to) != yj_dtype_bytes(c->dtype) || (to == YJ_BOOL) != (c->dtype == YJ_BOOL)) to = c->dtype;
    struct value *x = case_any(c, c->dtype, 2, 1, 6, CASE_SPECIAL);
    return case_build(c, OP_bitcast, 1, &x, attr_text(c->g, "to", yj_dtype_name(to), NULL));
}

static inline struct op *case_reshape(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 3, 0, 4, CASE_SPECIAL);
    const dim *s = x->type.shape;
    dim flat[2] = {dim_mul(c->g->dims, s[0], s[1]), s[2]}, more[4] = {s[0], dim_const(c->g->dims, 1), s[1], s[2]};
    bool join = case_random(c) & 1;
    return case_build(c, OP_reshape, 1, &x, attr_dims(c->g, "shape", join ? 2 : 4, join ? flat : more, NULL));
}

static inline struct op *case_transpose(struct graph_case *c) {
    int64_t p[4];
    struct value *x = case_any(c, c->dtype, 4, 1, 4, CASE_SPECIAL);
    case_shuffle(c, p, 4);
    return case_build(c, OP_transpose, 1, &x, attr_ints(c->g, "permutation", 4, p, NULL));
}

static inline struct op *case_broadcast(struct graph_case *c) {
    int64_t axes[3];
    case_shuffle(c, axes, 3);
    dim one = dim_const(c->g->dims, 1), shape[3] = {case_dim(c, "A", 3), case_dim(c, "B", 4), case_dim(c, "C", 2)};
    dim from[2] = {case_random(c) & 1 ? one : shape[axes[0]], case_random(c) & 1 ? one : shape[axes[1]]};
    struct value *x = case_input(c, c->dtype, 2, from, CASE_SPECIAL, 0);
    case_input(c, YJ_F32, 3, shape, CASE_SMALL, 0); /* gives the symbols */
    return case_build(c, OP_broadcast, 1, &x,
                      attr_dims(c->g, "shape", 3, shape, attr_ints(c->g, "axes", 2, axes, NULL)));
}

static inline struct op *case_slice(struct graph_case *c) {
    dim start[2], limit[2];
    int64_t stride[2];
    struct value *x = case_any(c, c->dtype, 2, 3, 7, CASE_SPECIAL);
    for (int i = 0; i < 2; i++) {
        int64_t a = case_between(c, 0, 3), less = case_between(c, 0, 3 - a);
        start[i] = dim_const(c->g->dims, a);
        limit[i] = dim_sub(c->g->dims, x->type.shape[i], dim_const(c->g->dims, less));
        stride[i] = case_between(c, 1, 3);
    }
    struct attr *a = attr_dims(c->g, "limit", 2, limit, attr_ints(c->g, "stride", 2, stride, NULL));
    return case_build(c, OP_slice, 1, &x, attr_dims(c->g, "start", 2, start, a));
}

static inline struct op *case_reverse(struct graph_case *c) {
    int64_t axes[3];
    struct value *x = case_any(c, c->dtype, 3, 0, 4, CASE_SPECIAL);
    case_shuffle(c, axes, 3);
    return case_build(c, OP_reverse, 1, &x, attr_ints(c->g, "axes", (int)case_between(c, 0, 3), axes, NULL));
}

static inline struct op *case_concat(struct graph_case *c) {
    static const char *const names[] = {"P", "Q", "R"};
    int64_t axis = case_between(c, 0, 1);
    struct value *in[3];
    int n = (int)case_between(c, 1, 3);
    for (int i = 0; i < n; i++) {
        dim shape[2] = {case_dim(c, "A", 3), case_dim(c, "A", 3)};
        shape[axis] = case_dim(c, names[i], case_between(c, 0, 4));
        in[i] = case_input(c, c->dtype, 2, shape, CASE_SPECIAL, 0);
    }
    return case_build(c, OP_concat, n, in, attr_int(c->g, "axis", axis, NULL));
}

static inline struct op *case_pad(struct graph_case *c) {
    struct value *in[2] = {case_any(c, c->dtype, 2, 0, 4, CASE_SPECIAL), case_any(c, c->dtype, 0, 0, 0, CASE_SPECIAL)};
    dim low[2], high[2];
    for (int i = 0; i < 2; i++) {
        low[i] = dim_const(c->g->dims, case_between(c, 0, 2));
        high[i] = i ? in[0]->type.shape[0] : dim_const(c->g->dims, case_between(c, 0, 2));
    }
    return case_build(c, OP_pad, 2, in, attr_dims(c->g, "low", 2, low, attr_dims(c->g, "high", 2, high, NULL)));
}

static inline struct op *case_gather(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 3, 1, 4, CASE_SPECIAL);
    int64_t axis = case_between(c, 0, 2);
    dim shape[2] = {case_dim(c, "I", 3), case_dim(c, "J", 2)};
    enum yj_dtype index = case_random(c) & 1 ? YJ_I32 : YJ_I64;
    struct value *in[2] = {x, case_input(c, index, 2, shape, CASE_INDEX, case_size(x->type.shape[axis]))};
    return case_build(c, OP_gather, 2, in, attr_int(c->g, "axis", axis, NULL));
}

static inline struct op *case_gather_nd(struct graph_case *c) {
    int batch = (int)case_between(c, 0, 1), depth = (int)case_between(c, 1, 2);
    dim a = case_dim(c, "A", 3), shape[3] = {a, a, a},
        index[3] = {a, case_dim(c, "I", 4), dim_const(c->g->dims, depth)};
    struct value *in[2] = {case_input(c, c->dtype, 3, shape, CASE_SPECIAL, 0),
                           case_input(c, YJ_I64, 3, index, CASE_INDEX, 3)};
    return case_build(c, OP_gather_nd, 2, in, attr_int(c->g, "batch", batch, NULL));
}

static inline struct op *case_scatter(struct graph_case *c) {
    static const char *const all[] = {"none", "add", "mul", "min", "max", NULL}, *const some[] = {"none", "min", "max",
                                                                                                  NULL};
    const char *combine = case_pick(c, c->dtype == YJ_BOOL ? some : all);
    dim shape[2] = {case_dim(c, "A", 4), case_dim(c, "B", 3)},
        index[2] = {case_dim(c, "I", 3), dim_const(c->g->dims, 1)};
    dim updates[2] = {index[0], shape[1]};
    struct value *in[3] = {case_input(c, c->dtype, 2, shape, CASE_SMALL, 0),
                           case_input(c, YJ_I64, 2, index, CASE_INDEX, 4),
                           case_input(c, c->dtype, 2, updates, CASE_SMALL, 0)};
    return case_build(c, OP_scatter, 3, in, attr_text(c->g, "combine", combine, NULL));
}

static inline struct op *case_update_slice(struct graph_case *c) {
    dim big[2] = {case_dim(c, "A", 6), case_dim(c, "B", 3)}, small[2] = {case_dim(c, "S", 2), big[1]};
    dim start[2] = {dim_sub(c->g->dims, big[0], dim_const(c->g->dims, case_between(c, 2, 6))),
                    dim_const(c->g->dims, 0)};
    struct value *in[2] = {case_input(c, c->dtype, 2, big, CASE_SPECIAL, 0),
                           case_input(c, c->dtype, 2, small, CASE_SPECIAL, 0)};
    return case_build(c, OP_update_slice, 2, in, attr_dims(c->g, "start", 2, start, NULL));
}

static inline const char *case_kind(struct graph_case *c, bool bits) {
    static const char *const number[] = {"add", "mul", "min", "max", NULL}, *const integer[] = {"add", "min", "max",
                                                                                                "and", "or",  NULL};
    static const char *const boolean[] = {"min", "max", "and", "or", NULL}, *const order[] = {"min", "max", NULL};
    char kind = dtype_kind(c->dtype);
    if (kind == 'b') return case_pick(c, bits ? boolean : order);
    return case_pick(c, kind == 'f' || !bits ? number : integer);
}

static inline struct op *case_reduce(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 3, 1, 5, CASE_SMALL);
    int64_t axes[3], n = 0;
    unsigned mask = (unsigned)case_between(c, 0, 7);
    for (int i = 0; i < 3; i++)
        if (mask >> i & 1) axes[n++] = i;
    return case_build(c, OP_reduce, 1, &x,
                      attr_ints(c->g, "axes", (int)n, axes, attr_text(c->g, "kind", case_kind(c, true), NULL)));
}

static inline struct op *case_arg_reduce(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 3, 1, 4, CASE_SPECIAL);
    struct attr *a = case_random(c) & 1 ? attr_int(c->g, "last", case_between(c, 0, 1), NULL) : NULL;
    a = attr_text(c->g, "kind", case_random(c) & 1 ? "max" : "min", a);
    return case_build(c, OP_arg_reduce, 1, &x, attr_int(c->g, "axis", case_between(c, 0, 2), a));
}

static inline struct op *case_cumulative(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 2, 1, 5, CASE_SMALL);
    struct attr *a = case_random(c) & 1 ? attr_int(c->g, "exclusive", 1, NULL) : NULL;
    if (case_random(c) & 1) a = attr_int(c->g, "reverse", 1, a);
    a = attr_int(c->g, "axis", case_between(c, 0, 1), attr_text(c->g, "kind", case_kind(c, false), a));
    return case_build(c, OP_cumulative, 1, &x, a);
}

static inline struct op *case_sort(struct graph_case *c) {
    struct value *x = case_any(c, c->dtype, 2, 1, 9, CASE_SPECIAL);
    struct attr *a = attr_int(c->g, "descending", case_between(c, 0, 1), NULL);
    return case_build(c, OP_sort, 1, &x, attr_int(c->g, "axis", case_between(c, 0, 1), a));
}

static inline struct op *case_dot(struct graph_case *c) {
    if (c->dtype == YJ_BOOL) return NULL;
    struct dim_table *t = c->g->dims;
    int64_t pa[4], pb[4], batch_a[1], batch_b[1], sum_a[2], sum_b[2];
    dim batch = case_dim(c, "H", 2), k = case_dim(c, "K", case_between(c, 1, 5)), k2 = dim_const(t, 2);
    dim logical_a[4] = {batch, case_dim(c, "M", case_between(c, 1, 4)), k, k2},
        logical_b[4] = {batch, case_dim(c, "N", case_between(c, 1, 4)), k, k2};
    dim a[4], b[4];
    case_shuffle(c, pa, 4);
    case_shuffle(c, pb, 4);
    for (int i = 0; i < 4; i++)
        a[pa[i]] = logical_a[i], b[pb[i]] = logical_b[i];
    batch_a[0] = pa[0], batch_b[0] = pb[0];
    sum_a[0] = pa[2], sum_a[1] = pa[3], sum_b[0] = pb[2], sum_b[1] = pb[3];
    struct value *in[2] = {case_input(c, c->dtype, 4, a, CASE_SMALL, 0), case_input(c, c->dtype, 4, b, CASE_SMALL, 0)};
    bool wider = yj_dtype_bytes(c->dtype) < 4 && dtype_kind(c->dtype) == 'f' && case_random(c) & 1;
    struct attr *at = attr_ints(c->g, "contract_b", 2, sum_b, wider ? attr_text(c->g, "dtype", "f32", NULL) : NULL);
    at = attr_ints(c->g, "batch_b", 1, batch_b, attr_ints(c->g, "contract_a", 2, sum_a, at));
    return case_build(c, OP_dot, 2, in, attr_ints(c->g, "batch_a", 1, batch_a, at));
}

static inline struct op *case_convolution(struct graph_case *c) {
    if (c->dtype == YJ_BOOL) return NULL;
    struct dim_table *t = c->g->dims;
    bool last = case_random(c) & 1;
    int64_t groups = case_between(c, 1, 2), strides[2], dilation[2];
    dim low[2], high[2], n = case_dim(c, "N", case_between(c, 1, 2)), s[2], w[2],
                         cg = dim_const(t, case_between(c, 1, 2));
    dim channels = dim_mul(t, cg, dim_const(t, groups)), filters = dim_const(t, groups * case_between(c, 1, 2));
    for (int i = 0; i < 2; i++) {
        s[i] = case_dim(c, i ? "W" : "H", case_between(c, 3, 6));
        w[i] = dim_const(t, case_between(c, 1, 2));
        strides[i] = case_between(c, 1, 2);
        dilation[i] = case_between(c, 1, 2);
        low[i] = dim_const(t, case_between(c, 0, 2));
        high[i] = dim_const(t, case_between(c, 0, 2));
    }
    dim x_first[4] = {n, channels, s[0], s[1]}, x_last[4] = {n, s[0], s[1], channels};
    dim w_first[4] = {filters, cg, w[0], w[1]}, w_last[4] = {w[0], w[1], cg, filters};
    struct value *in[2] = {case_input(c, c->dtype, 4, last ? x_last : x_first, CASE_SMALL, 0),
                           case_input(c, c->dtype, 4, last ? w_last : w_first, CASE_SMALL, 0)};
    struct attr *a = attr_int(c->g, "groups", groups, last ? attr_text(c->g, "layout", "NHWC", NULL) : NULL);
    a = attr_dims(c->g, "high", 2, high, attr_ints(c->g, "dilation", 2, dilation, a));
    return case_build(c, OP_convolution, 2, in,
                      attr_ints(c->g, "strides", 2, strides, attr_dims(c->g, "low", 2, low, a)));
}

static inline struct op *case_reduce_window(struct graph_case *c) {
    struct dim_table *t = c->g->dims;
    struct value *x = case_any(c, c->dtype, 3, 2, 5, CASE_SMALL);
    int64_t window[3], strides[3], dilation[3];
    dim low[3], high[3];
    for (int i = 0; i < 3; i++) {
        window[i] = case_between(c, 1, 2);
        strides[i] = case_between(c, 1, 2);
        dilation[i] = 1;
        low[i] = dim_const(t, case_between(c, 0, 1));
        high[i] = dim_const(t, case_between(c, 0, 1));
    }
    struct attr *a = attr_ints(c->g, "dilation", 3, dilation, attr_text(c->g, "kind", case_kind(c, false), NULL));
    a = attr_ints(c->g, "strides", 3, strides, attr_dims(c->g, "low", 3, low, attr_dims(c->g, "high", 3, high, a)));
    return case_build(c, OP_reduce_window, 1, &x, attr_ints(c->g, "window", 3, window, a));
}

/* --- regions --- */

/* A region with one input for each of OPERANDS. */
static inline struct graph *case_region(struct op *op, const char *name, int n, struct value *const *operands) {
    struct graph *r = graph_region(op, name);
    char text[16];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "a%d", i);
        graph_input(r, text, operands[i]->type.dtype, operands[i]->type.rank, operands[i]->type.shape);
    }
    return r;
}

static inline enum op_kind case_joiner(const struct graph_case *c, int which) {
    bool boolean = c->dtype == YJ_BOOL;
    return which ? (boolean ? OP_or : OP_max) : (boolean ? OP_and : OP_min);
}

static inline struct op *case_composite(struct graph_case *c, enum op_kind kind) {
    struct value *x = case_any(c, c->dtype, 2, 1, 4, CASE_SMALL),
                 *in[2] = {x, case_input(c, c->dtype, 2, x->type.shape, CASE_SMALL, 0)};
    struct attr *a = attr_text(c->g, "name", "case", NULL);
    if (kind == OP_composite)
        a->next = attr_float(c->g, "scale", 0.1, attr_text(c->g, "mode", "no word", attr_int(c->g, "heads", 4, NULL)));
    struct op *op = case_build(c, kind, 2, in, a);
    struct graph *r = case_region(op, "body", 2, in);
    struct builder b = {r, NULL, 0, NULL};
    struct value *v = build_2(&b, case_joiner(c, 0), r->in[0], r->in[1]);
    graph_output(r, build_2(&b, case_joiner(c, 1), v, r->in[0]), NULL);
    graph_output(r, r->in[1], NULL);
    return graph_infer(op) == YJ_OK ? op : NULL;
}

static inline struct op *case_if(struct graph_case *c) {
    struct value *p = case_any(c, YJ_BOOL, 0, 0, 0, CASE_SMALL), *x = case_any(c, c->dtype, 2, 1, 4, CASE_SMALL);
    struct value *in[3] = {p, x, case_input(c, c->dtype, 2, x->type.shape, CASE_SMALL, 0)};
    struct op *op = case_build(c, OP_if, 3, in, NULL);
    for (int i = 0; i < 2; i++) {
        struct graph *r = case_region(op, i ? "else" : "then", 2, in + 1);
        struct builder b = {r, NULL, 0, NULL};
        graph_output(r, build_2(&b, case_joiner(c, i), r->in[0], r->in[1]), NULL);
    }
    return graph_infer(op) == YJ_OK ? op : NULL;
}

/* Carried: x = joiner(x, y), y; stacked: x before, [T]; stops early when the index reaches 2. */
static inline struct op *case_loop(struct graph_case *c) {
    struct value *trips = case_input(c, YJ_I64, 0, NULL, CASE_INDEX, 6),
                 *go = case_any(c, YJ_BOOL, 0, 0, 0, CASE_SMALL);
    struct value *x = case_any(c, c->dtype, 2, 1, 3, CASE_SMALL);
    struct value *in[4] = {trips, go, x, case_input(c, c->dtype, 2, x->type.shape, CASE_SMALL, 0)};
    struct attr *a = attr_dim(c->g, "length", dim_symbol(c->g->dims, "T", 0, 100), NULL);
    if (case_random(c) & 1) a->next = attr_dim(c->g, "index", dim_symbol(c->g->dims, "turn", 0, 99), NULL);
    struct op *op = case_build(c, OP_loop, 4, in, a);
    struct graph *r = graph_region(op, "body");
    struct builder b = {r, NULL, 0, NULL};
    graph_input(r, "i", YJ_I64, 0, NULL);
    for (int i = 0; i < 2; i++)
        graph_input(r, i ? "y" : "x", c->dtype, 2, x->type.shape);
    struct value *turn = r->in[0];
    struct op *dims;
    if (a->next && build(&b, OP_dims, 0, NULL, attr_dims(c->g, "values", 1, a->next->dims, NULL), &dims) == YJ_OK)
        turn = build_reshape(&b, dims->out[0], 0, NULL);
    graph_output(r, build_2(&b, OP_lt, turn, build_scalar_i(&b, YJ_I64, 2)), NULL);
    graph_output(r, build_2(&b, case_joiner(c, 0), r->in[1], r->in[2]), NULL);
    graph_output(r, r->in[2], NULL);
    graph_output(r, r->in[1], NULL);
    return graph_infer(op) == YJ_OK ? op : NULL;
}

static inline struct op *case_bind_op(struct graph_case *c) {
    if (c->dtype != YJ_I64) return NULL;
    dim n = dim_const(c->g->dims, 2),
        s[2] = {dim_symbol(c->g->dims, "born", 0, 6), dim_symbol(c->g->dims, "late", 0, 100)};
    struct value *x = case_input(c, YJ_I64, 1, &n, CASE_INDEX, 6);
    if (!case_build(c, OP_bind, 1, &x, attr_dims(c->g, "symbols", 2, s, NULL))) return NULL;
    struct attr *a = attr_int(c->g, "axis", 1, attr_text(c->g, "dtype", "i64", NULL));
    return case_build(c, OP_iota, 0, NULL, attr_dims(c->g, "shape", 2, s, a));
}

/* --- collectives, on a mesh(p=2, q=3) --- */

static inline struct op *case_collective(struct graph_case *c, enum op_kind kind) {
    struct attr *axis = attr_text(c->g, "axis", case_random(c) & 1 ? "p" : "q", NULL), *a = axis;
    dim shape[2] = {case_dim(c, "A", 2), dim_const(c->g->dims, 6)};
    struct value *x = case_input(c, c->dtype, 2, shape, CASE_SMALL, 0);
    if (kind == OP_all_gather) a = attr_int(c->g, "dim", case_between(c, 0, 1), a);
    if (kind == OP_reduce_scatter) a = attr_int(c->g, "dim", 1, a);
    if (kind == OP_all_to_all) a = attr_int(c->g, "split", 1, attr_int(c->g, "concat", case_between(c, 0, 1), a));
    if (kind == OP_all_reduce || kind == OP_reduce_scatter || kind == OP_wait)
        a = attr_text(c->g, "kind", case_kind(c, true), a);
    struct op *op = case_build(c, kind == OP_wait ? OP_all_reduce : kind, 1, &x, a);
    return op ? case_build(c, OP_wait, 1, op->out, NULL) : NULL;
}

static inline struct op *case_op(struct graph_case *c, enum op_kind kind) {
    if (op_is(kind, 'E')) return case_elementwise(c, kind);
    switch ((int)kind) {
    case OP_constant:
        return case_constant(c);
    case OP_iota:
        return case_iota(c);
    case OP_dims:
        return case_dims(c);
    case OP_cast:
        return case_cast(c);
    case OP_bitcast:
        return case_bitcast(c);
    case OP_reshape:
        return case_reshape(c);
    case OP_transpose:
        return case_transpose(c);
    case OP_broadcast:
        return case_broadcast(c);
    case OP_slice:
        return case_slice(c);
    case OP_reverse:
        return case_reverse(c);
    case OP_concat:
        return case_concat(c);
    case OP_pad:
        return case_pad(c);
    case OP_gather:
        return case_gather(c);
    case OP_gather_nd:
        return case_gather_nd(c);
    case OP_scatter:
        return case_scatter(c);
    case OP_update_slice:
        return case_update_slice(c);
    case OP_reduce:
        return case_reduce(c);
    case OP_arg_reduce:
        return case_arg_reduce(c);
    case OP_cumulative:
        return case_cumulative(c);
    case OP_sort:
        return case_sort(c);
    case OP_dot:
        return case_dot(c);
    case OP_convolution:
        return case_convolution(c);
    case OP_reduce_window:
        return case_reduce_window(c);
    case OP_pack: {
        struct value *x = case_any(c, c->dtype, 2, 1, 4, CASE_SPECIAL);
        return case_build(c, OP_pack, 1, &x, attr_text(c->g, "format", "case", NULL));
    }
    case OP_composite:
    case OP_fused:
        return case_composite(c, kind);
    case OP_if:
        return case_if(c);
    case OP_loop:
        return case_loop(c);
    case OP_bind:
        return case_bind_op(c);
    case OP_all_reduce:
    case OP_all_gather:
    case OP_reduce_scatter:
    case OP_all_to_all:
    case OP_wait:
        return case_collective(c, kind);
    default:
        printf("no case for op '%s': add one\n", op_info[kind].name);
        abort();
    }
}

static inline void graph_case_free(struct graph_case *c) {
    for (int i = 0; i < c->g->n_in * c->ranks; i++)
        tensor_free(&c->inputs[i]);
    free(c->inputs);
    arena_close(c->arena);
}

/* False: the op is not defined on DTYPE. */
static inline bool graph_case_make(struct graph_case *c, enum op_kind kind, enum yj_dtype dtype, uint64_t seed,
                                   bool symbolic) {
    *c = (struct graph_case){.arena = arena_open(), .ranks = 1, .dtype = dtype, .symbolic = symbolic, .seed = seed};
    c->g = graph_new(c->arena, "case");
    c->b.graph = c->g;
    if (op_is(kind, 'C') || kind == OP_wait) {
        c->g->mesh = (struct mesh){2, {"p", "q"}, {2, 3}};
        c->ranks = 6;
    }
    c->op = case_op(c, kind);
    for (int i = 0; c->op && i < c->op->n_out; i++)
        graph_output(c->g, c->op->out[i], NULL);
    if (c->op) return true;
    graph_case_free(c);
    return false;
}

#endif

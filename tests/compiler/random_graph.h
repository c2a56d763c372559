/* SPDX-License-Identifier: Apache-2.0
 *
 * Random graphs of many ops, with the patterns that passes look for among them: views of views, ones and zeros, equal
 * ops, row softmax, products with weights. For tests that compare a graph with what a pass or the compiler made of it.
 */
#ifndef TESTS_RANDOM_GRAPH_H
#define TESTS_RANDOM_GRAPH_H

#include "tests/ir/graph_cases.h"

#define RANDOM_POOL 64

/* EXACT: no transcendentals, which the interpreter takes from libm and kernels do not. */
struct random_graph {
    struct graph_case c;
    int n;
    struct value *pool[RANDOM_POOL];
    bool exact, flow; /* FLOW: with ifs and loops */
    int depth, loops; /* of regions around what is being made; loops made so far */
};

static inline void random_keep(struct random_graph *r, struct value *v) {
    if (!v) return;
    if (r->n < RANDOM_POOL)
        r->pool[r->n++] = v;
    else
        r->pool[case_between(&r->c, 0, RANDOM_POOL - 1)] = v;
}

/* A random value of the pool, newer ones more often; of DTYPE if that is not 0. */
static inline struct value *random_pick(struct random_graph *r, int dtype) {
    for (int tries = 0; tries < 40; tries++) {
        int64_t a = case_between(&r->c, 0, r->n - 1), b = case_between(&r->c, 0, r->n - 1);
        struct value *v = r->pool[max64(a, b)];
        if (!dtype || (int)v->type.dtype == dtype) return v;
    }
    return r->pool[0];
}

static inline struct value *random_uniform(struct random_graph *r, const struct value *like) {
    static const double numbers[] = {0, -0.0, 1, 2, 0.5, -1, 3, 8};
    double x = numbers[case_between(&r->c, 0, 7)];
    struct value *s =
        build_scalar_f(&r->c.b, like->type.dtype, dtype_kind(like->type.dtype) == 'f' ? x : (double)(int)x);
    return build_broadcast(&r->c.b, s, like->type.rank, like->type.shape, NULL);
}

static inline bool random_same(const struct value *a, const struct value *b) {
    return type_same(&a->type, &b->type);
}

static inline struct value *random_unary(struct random_graph *r) {
    static const enum op_kind kinds[] = {OP_neg, OP_abs, OP_sqrt, OP_floor, OP_neg, OP_exp, OP_tanh, OP_sigmoid};
    struct value *x = random_pick(r, YJ_F32);
    return x->type.dtype == YJ_F32 ? build_1(&r->c.b, kinds[case_between(&r->c, 0, r->exact ? 4 : 7)], x) : NULL;
}

static inline struct value *random_binary(struct random_graph *r) {
    static const enum op_kind kinds[] = {OP_add, OP_sub, OP_mul, OP_div, OP_max, OP_min, OP_add, OP_mul, OP_pow};
    struct value *x = random_pick(r, YJ_F32), *y = NULL;
    if (x->type.dtype != YJ_F32) return NULL;
    for (int tries = 0; tries < 6 && !y; tries++) {
        struct value *v = random_pick(r, YJ_F32);
        if (random_same(v, x)) y = v;
    }
    if (!y || case_between(&r->c, 0, 3) == 0) y = random_uniform(r, x);
    return build_2(&r->c.b, kinds[case_between(&r->c, 0, r->exact ? 7 : 8)], case_random(&r->c) & 1 ? x : y, y);
}

static inline struct value *random_view(struct random_graph *r) {
    struct value *x = random_pick(r, 0);
    struct dim_table *t = r->c.g->dims;
    int rank = x->type.rank;
    int64_t p[GRAPH_MAX_RANK], stride[GRAPH_MAX_RANK];
    dim a[GRAPH_MAX_RANK], b[GRAPH_MAX_RANK];
    switch (case_between(&r->c, 0, 6)) {
    case 0:
        case_shuffle(&r->c, p, rank);
        return build_transpose(&r->c.b, x, p);
    case 1: { /* a length 1 more */
        if (rank > 4) return NULL;
        int at = (int)case_between(&r->c, 0, rank);
        for (int i = 0; i <= rank; i++)
            a[i] = i == at ? dim_const(t, 1) : x->type.shape[i - (i > at)];
        return build_reshape(&r->c.b, x, rank + 1, a);
    }
    case 2: /* the first two axes as one */
        if (rank < 2) return NULL;
        a[0] = dim_mul(t, x->type.shape[0], x->type.shape[1]);
        for (int i = 2; i < rank; i++)
            a[i - 1] = x->type.shape[i];
        return build_reshape(&r->c.b, x, rank - 1, a);
    case 3: { /* spread over a new axis */
        if (rank > 3) return NULL;
        int at = (int)case_between(&r->c, 0, rank);
        for (int i = 0; i <= rank; i++)
            a[i] = i == at ? dim_const(t, 2) : x->type.shape[i - (i > at)];
        for (int i = 0; i < rank; i++)
            p[i] = i + (i >= at);
        return build_broadcast(&r->c.b, x, rank + 1, a, p);
    }
    case 4:
        for (int i = 0; i < rank; i++) {
            int64_t size = case_size(x->type.shape[i]);
            a[i] = dim_const(t, size > 2 ? case_between(&r->c, 0, 1) : 0);
            b[i] =
                size > 2 && case_random(&r->c) & 1 ? dim_sub(t, x->type.shape[i], dim_const(t, 1)) : x->type.shape[i];
            stride[i] = size > 2 ? case_between(&r->c, 1, 2) : 1;
        }
        return build_slice(&r->c.b, x, a, b, stride);
    case 5:
        return rank ? build_concat(&r->c.b, 2, (struct value *[]){x, x}, (int)case_between(&r->c, 0, rank - 1)) : NULL;
    default:
        for (int i = 0; i < rank; i++) {
            a[i] = dim_const(t, case_between(&r->c, 0, 1));
            b[i] = dim_const(t, case_between(&r->c, 0, 1));
        }
        return dtype_kind(x->type.dtype) == 'f'
                   ? build_pad(&r->c.b, x, build_scalar_f(&r->c.b, x->type.dtype, 1.5), a, b)
                   : NULL;
    }
}

static inline struct value *random_reduce(struct random_graph *r) {
    struct value *x = random_pick(r, YJ_F32);
    int rank = x->type.rank;
    if (rank < 1 || x->type.dtype != YJ_F32) return NULL;
    int64_t axis = case_random(&r->c) % 3 ? rank - 1 : case_between(&r->c, 0, rank - 1), axes[GRAPH_MAX_RANK];
    enum scalar_op kind = case_random(&r->c) & 1 ? SCALAR_max : SCALAR_add;
    struct value *s = build_reduce(&r->c.b, x, kind, 1, &axis);
    if (case_random(&r->c) & 1) return s;
    for (int i = 0; i < rank - 1; i++)
        axes[i] = i + (i >= axis);
    struct value *back = build_broadcast(&r->c.b, s, rank, x->type.shape, axes);
    return build_2(&r->c.b, OP_sub, x, back);
}

static inline struct value *random_cast(struct random_graph *r) {
    static const enum yj_dtype types[] = {YJ_F32, YJ_F16, YJ_I32, YJ_BF16, YJ_F32};
    return build_cast(&r->c.b, random_pick(r, 0), types[case_between(&r->c, 0, 4)]);
}

static inline struct value *random_select(struct random_graph *r) {
    struct value *x = random_pick(r, YJ_F32);
    if (x->type.dtype != YJ_F32) return NULL;
    struct value *p = build_2(&r->c.b, OP_lt, x, random_uniform(r, x));
    return build_3(&r->c.b, OP_select, p, x, random_uniform(r, x));
}

static inline struct value *random_dot(struct random_graph *r) {
    struct value *x = random_pick(r, YJ_F32);
    int64_t k, n = case_between(&r->c, 1, 5), last = x->type.rank - 1, zero = 0;
    if (x->type.rank < 1 || x->type.rank > 4 || x->type.dtype != YJ_F32 || !dim_is_const(x->type.shape[last], &k) ||
        k > 64)
        return NULL;
    float *bytes = arena_new(r->c.arena, (size_t)(k * n + 1) * sizeof *bytes);
    for (int64_t i = 0; i < k * n; i++)
        bytes[i] = (float)case_between(&r->c, -8, 8) / 7;
    dim shape[2] = {dim_const(r->c.g->dims, k), dim_const(r->c.g->dims, n)};
    struct value *w = build_constant(&r->c.b, YJ_F32, 2, shape, bytes, (size_t)(k * n) * sizeof *bytes);
    return build_dot(&r->c.b, x, w, 0, NULL, NULL, 1, &last, &zero);
}

static inline struct value *random_gather(struct random_graph *r) {
    struct value *x = random_pick(r, 0);
    if (x->type.rank < 1 || x->type.rank > 4) return NULL;
    int axis = (int)case_between(&r->c, 0, x->type.rank - 1);
    int64_t size = case_size(x->type.shape[axis]), list[2];
    if (size < 1) return NULL;
    for (int i = 0; i < 2; i++)
        list[i] = case_between(&r->c, 0, size - 1);
    return build_gather(&r->c.b, x, build_ints(&r->c.b, 2, list), axis);
}

/* An op that was made before, again. */
static inline struct value *random_again(struct random_graph *r) {
    struct value *v = random_pick(r, 0);
    struct op *op;
    if (!v->op || v->op->n_regions || v->op->kind == OP_constant) return NULL;
    return build(&r->c.b, v->op->kind, v->op->n_in, v->op->in, v->op->attrs, &op) == YJ_OK ? op->out[0] : NULL;
}

static inline struct value *random_composite(struct random_graph *r) {
    struct value *x = random_pick(r, YJ_F32);
    struct op *op;
    if (x->type.dtype != YJ_F32) return NULL;
    if (build(&r->c.b, OP_composite, 1, &x, attr_text(r->c.g, "name", "swish", NULL), &op) != YJ_OK) return NULL;
    struct graph *body = case_region(op, "body", 1, &x);
    struct builder b = {body, NULL, 0, NULL};
    graph_output(body, build_2(&b, OP_mul, body->in[0], build_1(&b, r->exact ? OP_sign : OP_sigmoid, body->in[0])),
                 NULL);
    return graph_infer(op) == YJ_OK ? op->out[0] : NULL;
}

static inline int64_t random_elements(const struct value *v) {
    int64_t n = 1;
    for (int i = 0; i < v->type.rank; i++)
        n *= case_size(v->type.shape[i]);
    return n;
}

#include "tests/compiler/random_flow.h"

static inline struct value *random_step(struct random_graph *r) {
    if (r->flow && r->depth < 3 && case_between(&r->c, 0, 4) == 0)
        return case_random(&r->c) & 1 ? random_if(r) : random_loop(r);
    switch (case_between(&r->c, 0, 13)) {
    case 0:
        return random_unary(r);
    case 1:
    case 2:
    case 3:
        return random_binary(r);
    case 4:
    case 5:
    case 6:
        return random_view(r);
    case 7:
        return random_reduce(r);
    case 8:
        return random_cast(r);
    case 9:
        return random_select(r);
    case 10:
        return random_dot(r);
    case 11:
        return random_gather(r);
    case 12:
        return random_composite(r);
    default:
        return random_again(r);
    }
}

/* STEPS ops on two inputs; the last few values and some others are outputs. Free with graph_case_free(&r->c). */
static inline void random_graph_fill(struct random_graph *r, uint64_t seed, int steps, bool symbolic, bool exact,
                                     bool flow) {
    *r = (struct random_graph){
        .exact = exact,
        .flow = flow,
        .c = {.arena = arena_open(), .ranks = 1, .dtype = YJ_F32, .symbolic = symbolic, .seed = seed}};
    r->c.g = graph_new(r->c.arena, "random");
    r->c.b.graph = r->c.g;
    dim shape[3] = {case_dim(&r->c, "N", 2), case_dim(&r->c, "W", 3), dim_const(r->c.g->dims, 4)};
    random_keep(r, case_input(&r->c, YJ_F32, 3, shape, CASE_SPECIAL, 0));
    random_keep(r, case_input(&r->c, YJ_F32, 2, shape + 1, CASE_SMALL, 0));
    for (int i = 0; i < steps; i++) {
        int origin = i;
        r->c.b.n_origin = 1;
        r->c.b.origin = &origin;
        struct value *v = random_step(r);
        if (v && random_elements(v) <= 4096) random_keep(r, v);
    }
    for (int i = r->n - 1, outs = 0; i >= 2 && outs < 7; i--)
        if (r->pool[i]->op && (i > r->n - 3 || case_random(&r->c) % 4 == 0)) {
            bool twice = false;
            for (int k = 0; k < r->c.g->n_out; k++)
                twice = twice || r->c.g->out[k] == r->pool[i];
            if (!twice) graph_output(r->c.g, r->pool[i], NULL), outs++;
        }
}

static inline void random_graph_make(struct random_graph *r, uint64_t seed, int steps, bool symbolic, bool exact) {
    random_graph_fill(r, seed, steps, symbolic, exact, false);
}

#endif

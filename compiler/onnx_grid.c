/* SPDX-License-Identifier: Apache-2.0
 *
 * GridSample: a picture read where a grid of points says. The one idea: along each axis a point has one, two or four
 * neighbours, each with a position, a weight and, where the picture is surrounded by zeros, whether it is inside; a
 * pair of neighbours is one gather.
 */
#include "compiler/onnx.h"

#define B (&n->b)

struct grid {
    bool linear, cubic;     /* else nearest */
    bool zeros, reflection; /* else the border */
    bool corners;           /* -1 and 1 are the middles of the outermost pixels, not their outer edges */
};

/* One of the neighbours along an axis: values over [N, rows, columns]. */
struct neighbour {
    struct value *at, *weight, *inside; /* i64; NULL: 1; NULL: it is */
};

static struct value *add(struct node *n, struct value *a, double b) {
    return a ? build_2(B, OP_add, a, node_like(n, b, a)) : NULL;
}

static struct value *times(struct node *n, struct value *a, double b) {
    return a ? build_2(B, OP_mul, a, node_like(n, b, a)) : NULL;
}

/* SIZE + MORE as a number for each point. */
static struct value *size_like(struct node *n, dim size, double more, const struct value *like) {
    if (!like) return NULL;
    struct value *s = node_size(n, size, like->type.dtype);
    return add(n, s ? build_broadcast_to(B, s, like->type.rank, like->type.shape) : NULL, more);
}

/* -1 .. 1 to pixels. */
static struct value *pixels(struct node *n, const struct grid *g, struct value *v, dim size) {
    struct value *from_0 = add(n, v, 1);
    if (g->corners) return times(n, build_2(B, OP_mul, from_0, size_like(n, size, -1, v)), 0.5);
    return times(n, add(n, build_2(B, OP_mul, from_0, size_like(n, size, 0, v)), -1), 0.5);
}

/* Back and forth between the edges; of a picture of one pixel anything, which is cut off later. */
static struct value *reflect(struct node *n, const struct grid *g, struct value *v, dim size) {
    double edge = g->corners ? 0 : -0.5;
    struct value *one = v ? node_like(n, 1, v) : NULL;
    struct value *range = build_2(B, OP_max, size_like(n, size, g->corners ? -1 : 0, v), one);
    struct value *twice = times(n, range, 2), *t = build_1(B, OP_abs, add(n, v, -edge));
    struct value *turns = build_1(B, OP_floor, build_2(B, OP_div, t, twice));
    struct value *rest = build_2(B, OP_sub, t, build_2(B, OP_mul, turns, twice));
    struct value *back = build_2(B, OP_sub, twice, rest);
    return add(n, build_3(B, OP_select, build_2(B, OP_gt, rest, range), back, rest), edge);
}

static struct neighbour neighbour(struct node *n, const struct grid *g, struct value *at, struct value *weight,
                                  dim size) {
    struct neighbour to = {.weight = weight};
    if (g->reflection && g->cubic) at = reflect(n, g, at, size);
    struct value *zero = at ? node_like(n, 0, at) : NULL, *last = size_like(n, size, -1, at);
    if (g->zeros) to.inside = build_2(B, OP_and, build_2(B, OP_ge, at, zero), build_2(B, OP_le, at, last));
    to.at = build_cast(B, build_2(B, OP_max, build_2(B, OP_min, at, last), zero), YJ_I64);
    return to;
}

/* The cubic kernel with a = -0.75 at distance T in 0..1, and at 1 + T. */
static struct value *cubic_near(struct node *n, struct value *t) {
    struct value *p = add(n, times(n, t, 1.25), -2.25);
    return add(n, build_2(B, OP_mul, build_2(B, OP_mul, p, t), t), 1);
}

static struct value *cubic_far(struct node *n, struct value *t) {
    struct value *d = add(n, t, 1), *p = add(n, times(n, d, -0.75), 3.75);
    p = add(n, build_2(B, OP_mul, p, d), -6);
    return add(n, build_2(B, OP_mul, p, d), 3);
}

/* The neighbours along one axis of the points V; how many. */
static int neighbours(struct node *n, const struct grid *g, struct value *v, dim size, struct neighbour *to) {
    v = pixels(n, g, v, size);
    if (g->reflection && !g->cubic) v = reflect(n, g, v, size);
    if (!g->linear && !g->cubic) {
        to[0] = neighbour(n, g, build_1(B, OP_round_nearest_even, v), NULL, size);
        return 1;
    }
    struct value *low = build_1(B, OP_floor, v), *t = build_2(B, OP_sub, v, low);
    struct value *rest = add(n, times(n, t, -1), 1);
    if (g->linear) {
        to[0] = neighbour(n, g, low, rest, size);
        to[1] = neighbour(n, g, add(n, low, 1), t, size);
        return 2;
    }
    to[0] = neighbour(n, g, add(n, low, -1), cubic_far(n, t), size);
    to[1] = neighbour(n, g, low, cubic_near(n, t), size);
    to[2] = neighbour(n, g, add(n, low, 1), cubic_near(n, rest), size);
    to[3] = neighbour(n, g, add(n, low, 2), cubic_far(n, rest), size);
    return 4;
}

/* V over the points, for every channel of LIKE [N, rows, columns, C]. */
static struct value *spread(struct node *n, struct value *v, const struct value *like) {
    static const int64_t points[3] = {0, 1, 2};
    return v && like ? build_broadcast(B, v, 4, like->type.shape, points) : NULL;
}

/* X [N, H, W, C] at one pair of neighbours. */
static struct value *gathered(struct node *n, struct value *x, const struct neighbour *y, const struct neighbour *c) {
    static const int64_t last[1] = {3};
    struct op *op;
    struct value *part[2] = {node_unsqueeze(n, y->at, 1, last), node_unsqueeze(n, c->at, 1, last)};
    struct value *in[2] = {x, build_concat(B, 2, part, 3)};
    if (!in[1] || build(B, OP_gather_nd, 2, in, attr_int(n->g, "batch", 1, NULL), &op) != YJ_OK) return NULL;
    struct value *v = op->out[0];
    if (!y->inside) return v;
    struct value *inside = spread(n, build_2(B, OP_and, y->inside, c->inside), v);
    return build_3(B, OP_select, inside, v, node_like(n, 0, v));
}

static struct value *weighted(struct node *n, struct value *v, struct value *weight) {
    return weight && v ? build_2(B, OP_mul, v, build_cast(B, spread(n, weight, v), v->type.dtype)) : v;
}

static struct value *sample(struct node *n, struct value *x, const struct neighbour *y, int n_y,
                            const struct neighbour *c, int n_c) {
    struct value *sum = NULL;
    for (int i = 0; i < n_y; i++) {
        struct value *row = NULL;
        for (int j = 0; j < n_c; j++) {
            struct value *v = weighted(n, gathered(n, x, &y[i], &c[j]), c[j].weight);
            row = j ? build_2(B, OP_add, row, v) : v;
        }
        row = weighted(n, row, y[i].weight);
        sum = i ? build_2(B, OP_add, sum, row) : row;
    }
    return sum;
}

static bool read_grid(struct node *n, struct grid *g) {
    const char *mode = node_text(n, "mode", "bilinear"), *padding = node_text(n, "padding_mode", "zeros");
    g->linear = !strcmp(mode, "bilinear") || !strcmp(mode, "linear");
    g->cubic = !strcmp(mode, "bicubic") || !strcmp(mode, "cubic");
    g->zeros = !strcmp(padding, "zeros");
    g->reflection = !strcmp(padding, "reflection");
    g->corners = node_int(n, "align_corners", 0) != 0;
    if (!g->linear && !g->cubic && strcmp(mode, "nearest") != 0) return node_refuse(n, "mode %s", mode);
    return g->zeros || g->reflection || !strcmp(padding, "border") || node_refuse(n, "padding_mode %s", padding);
}

bool onnx_grid_sample(struct node *n) {
    static const int64_t channels_last[4] = {0, 2, 3, 1}, channels_first[4] = {0, 3, 1, 2};
    struct value *x = node_in(n, 0), *points = node_in(n, 1);
    struct neighbour y[4], c[4];
    struct grid g;
    int64_t two;
    if (!x || !points || !read_grid(n, &g)) return false;
    struct type t = x->type, at = points->type;
    if (t.rank != 4 || at.rank != 4) return node_refuse(n, "only pictures (rank 4) are supported");
    if (!dim_is_const(at.shape[3], &two) || two != 2) return node_refuse(n, "the last axis of the grid must be 2");
    bool blends = g.linear || g.cubic;
    if (blends && dtype_kind(t.dtype) != 'f') return node_refuse(n, "only nearest works on %s", yj_dtype_name(t.dtype));
    if (at.dtype != YJ_F64) points = build_cast(B, points, YJ_F32);
    if (blends && t.dtype != YJ_F64) x = build_cast(B, x, YJ_F32);
    x = build_transpose(B, x, channels_last);
    struct value *place[2];
    for (int i = 0; i < 2; i++)
        place[i] = build_reshape(B, node_cut(n, points, 3, node_c(n, i), node_c(n, i + 1)), 3, at.shape);
    int n_c = neighbours(n, &g, place[0], t.shape[3], c), n_y = neighbours(n, &g, place[1], t.shape[2], y);
    struct value *v = sample(n, x, y, n_y, c, n_c);
    return node_out(n, 0, v ? build_cast(B, build_transpose(B, v, channels_first), t.dtype) : NULL);
}

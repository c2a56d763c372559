/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules that make a graph smaller and change no bit: each looks at one op and gives the value that may stand for its
 * result, or NULL. Views of views become one view, ops that change nothing vanish, equal ops are one. A new op keeps
 * the origins of all it stands for.
 */
#include "compiler/pass.h"
#include "ir/graph_inside.h"
#include <math.h>

struct rewrite {
    struct graph *g;
    struct builder b;
};

static struct value *operand(const struct op *op, int i) {
    return op->in[i];
}

/* The op that made operand 0 of OP, if it is of KIND. */
static const struct op *over(const struct op *op, enum op_kind kind) {
    const struct op *under = op->in[0]->op;
    return under && under->kind == kind ? under : NULL;
}

/* New ops stand for A and B both. */
static void both_origins(struct rewrite *r, const struct op *a, const struct op *b) {
    int *all = NEW_ARRAY(r->g->arena, int, a->n_origin + b->n_origin + 1), n = 0;
    for (int i = 0; i < a->n_origin + b->n_origin; i++) {
        int node = i < a->n_origin ? a->origin[i] : b->origin[i - a->n_origin], at = n;
        bool there = false;
        for (int k = 0; k < n; k++)
            there = there || all[k] == node;
        if (there) continue;
        for (; at > 0 && all[at - 1] > node; at--)
            all[at] = all[at - 1];
        all[at] = node;
        n++;
    }
    r->b.n_origin = n;
    r->b.origin = all;
}

/* --- what is known of values --- */

bool value_uniform(const struct value *v, uint64_t *wide) {
    const struct op *op = v->op;
    while (op &&
           (op->kind == OP_broadcast || op->kind == OP_reshape || op->kind == OP_transpose || op->kind == OP_reverse)) {
        v = op->in[0];
        op = v->op;
    }
    if (!op || op->kind != OP_constant || !op->data.bytes || op->data.n_bytes == 0) return false;
    size_t each = yj_dtype_bytes(v->type.dtype);
    if (op->data.n_bytes > each) {
        bool small = op->data.n_bytes <= 4096;
        if (!small || memcmp(op->data.bytes, (const char *)op->data.bytes + each, op->data.n_bytes - each) != 0)
            return false;
    }
    *wide = element_load(op->data.bytes, v->type.dtype, 0);
    return true;
}

/* V is everywhere the number X, a float with this sign of zero or an integer. */
static bool is_number(const struct value *v, double x) {
    uint64_t w;
    enum yj_dtype dtype = dtype_wide(v->type.dtype);
    if (!value_uniform(v, &w)) return false;
    if (dtype_kind(dtype) != 'f') return (int64_t)w == (int64_t)x;
    double d = dtype == YJ_F64 ? bits_f64(w) : bits_f32(w);
    return d == x && signbit(d) == signbit(x);
}

static bool is_float(const struct value *v) {
    return dtype_kind(v->type.dtype) == 'f';
}

static bool is_iota_list(const int64_t *list, int n) {
    for (int i = 0; i < n; i++)
        if (list[i] != i) return false;
    return true;
}

/* --- views --- */

static struct value *reshape_same(struct rewrite *r, struct op *op) {
    return type_same(&op->in[0]->type, &op->out[0]->type) ? operand(op, 0) : NULL;
}

static struct value *reshape_reshape(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_reshape);
    if (!under) return NULL;
    both_origins(r, under, op);
    return build_reshape(&r->b, under->in[0], op->out[0]->type.rank, op->out[0]->type.shape);
}

static struct value *transpose_same(struct rewrite *r, struct op *op) {
    int n;
    const int64_t *p = op_ints(op, "permutation", &n);
    return is_iota_list(p, n) ? operand(op, 0) : NULL;
}

static struct value *transpose_transpose(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_transpose);
    int n;
    int64_t both[GRAPH_MAX_RANK];
    if (!under) return NULL;
    const int64_t *p = op_ints(op, "permutation", &n), *q = op_ints(under, "permutation", &n);
    for (int i = 0; i < n; i++)
        both[i] = q[p[i]];
    both_origins(r, under, op);
    return build_transpose(&r->b, under->in[0], both);
}

/* Moving axes of length 1 past others moves no element. */
static struct value *transpose_of_ones(struct rewrite *r, struct op *op) {
    int n;
    const int64_t *p = op_ints(op, "permutation", &n);
    int64_t last = -1;
    for (int i = 0; i < n; i++) {
        if (dim_is(op->in[0]->type.shape[p[i]], 1)) continue;
        if (p[i] < last) return NULL;
        last = p[i];
    }
    return build_reshape(&r->b, operand(op, 0), n, op->out[0]->type.shape);
}

static struct value *broadcast_same(struct rewrite *r, struct op *op) {
    int n;
    const int64_t *axes = op_ints(op, "axes", &n);
    bool same = n == op->out[0]->type.rank && is_iota_list(axes, n);
    return same && type_same(&op->in[0]->type, &op->out[0]->type) ? operand(op, 0) : NULL;
}

static struct value *broadcast_broadcast(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_broadcast);
    int n, m;
    int64_t both[GRAPH_MAX_RANK];
    if (!under) return NULL;
    const int64_t *outer = op_ints(op, "axes", &n), *inner = op_ints(under, "axes", &m);
    for (int i = 0; i < m; i++)
        both[i] = outer[inner[i]];
    both_origins(r, under, op);
    return build_broadcast(&r->b, under->in[0], op->out[0]->type.rank, op->out[0]->type.shape, both);
}

/* A reshape that only adds axes of length 1, under a broadcast, is part of the broadcast. */
static struct value *broadcast_reshape(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_reshape);
    int n;
    int64_t axes[GRAPH_MAX_RANK];
    if (!under) return NULL;
    const struct type *x = &under->in[0]->type, *y = &op->in[0]->type;
    const int64_t *outer = op_ints(op, "axes", &n);
    int at = 0;
    for (int i = 0; i < y->rank; i++) {
        if (at < x->rank && x->shape[at] == y->shape[i])
            axes[at++] = outer[i];
        else if (!dim_is(y->shape[i], 1))
            return NULL;
    }
    if (at != x->rank) return NULL;
    both_origins(r, under, op);
    return build_broadcast(&r->b, under->in[0], op->out[0]->type.rank, op->out[0]->type.shape, axes);
}

static struct value *slice_whole(struct rewrite *r, struct op *op) {
    int n;
    const dim *start = op_dims(op, "start", &n), *limit = op_dims(op, "limit", &n);
    const int64_t *stride = op_ints(op, "stride", &n);
    for (int i = 0; i < n; i++)
        if (!dim_is(start[i], 0) || limit[i] != op->in[0]->type.shape[i] || stride[i] != 1) return NULL;
    return operand(op, 0);
}

/* Element i of the outer is element start + i * stride of the inner, which is another such sum. */
static struct value *slice_slice(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_slice);
    struct dim_table *t = r->g->dims;
    dim start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK];
    int64_t stride[GRAPH_MAX_RANK];
    int n;
    if (!under) return NULL;
    for (int i = 0; i < op->in[0]->type.rank; i++) {
        int64_t s = op_ints(under, "stride", &n)[i];
        dim a = op_dims(under, "start", &n)[i], d = dim_const(t, s);
        start[i] = dim_add(t, a, dim_mul(t, op_dims(op, "start", &n)[i], d));
        if (__builtin_mul_overflow(s, op_ints(op, "stride", &n)[i], &stride[i])) return NULL;
        /* one past the last element taken: with strides the limit would pass the inner's own */
        dim count = op->out[0]->type.shape[i],
            last = dim_mul(t, dim_sub(t, count, dim_const(t, 1)), dim_const(t, stride[i]));
        bool plain = s == 1;
        if (!plain && !(count->low > 0)) return NULL;
        limit[i] = plain ? dim_add(t, a, op_dims(op, "limit", &n)[i])
                         : dim_add(t, dim_add(t, start[i], last), dim_const(t, 1));
    }
    both_origins(r, under, op);
    struct value *v = build_slice(&r->b, under->in[0], start, limit, stride);
    return v && type_same(&v->type, &op->out[0]->type) ? v : NULL;
}

static struct value *concat_one(struct rewrite *r, struct op *op) {
    return op->n_in == 1 ? operand(op, 0) : NULL;
}

static struct value *pad_nothing(struct rewrite *r, struct op *op) {
    int n;
    const dim *low = op_dims(op, "low", &n), *high = op_dims(op, "high", &n);
    for (int i = 0; i < n; i++)
        if (!dim_is(low[i], 0) || !dim_is(high[i], 0)) return NULL;
    return operand(op, 0);
}

/* --- reshapes that only add and drop axes of length 1: they go up over views and down under elementwise ops, until
 * they meet memory, where they cost nothing, or each other --- */

/* TO[i] is the axis of FROM that result axis i is, -1: a new 1; true if every axis of FROM that is not 1 is there, in
 * order. */
static bool only_ones(const struct type *from, const struct type *to, int64_t *axis) {
    int at = 0;
    for (int i = 0; i < to->rank; i++) {
        axis[i] = -1;
        if (dim_is(to->shape[i], 1)) continue;
        while (at < from->rank && dim_is(from->shape[at], 1))
            at++;
        if (at == from->rank || from->shape[at] != to->shape[i]) return false;
        axis[i] = at++;
    }
    while (at < from->rank && dim_is(from->shape[at], 1))
        at++;
    return at == from->rank;
}

bool reshape_of_ones(const struct op *op) {
    int64_t axis[GRAPH_MAX_RANK];
    return op->kind == OP_reshape && only_ones(&op->in[0]->type, &op->out[0]->type, axis);
}

/* X with the axes that AXIS names, 1 where it names none; NULL if an axis that it drops is not 1 in X. */
static struct value *keep_axes(struct rewrite *r, struct value *x, int rank, const int64_t *axis) {
    dim shape[GRAPH_MAX_RANK];
    unsigned kept = 0;
    for (int i = 0; i < rank; i++) {
        shape[i] = axis[i] < 0 ? dim_const(r->g->dims, 1) : x->type.shape[axis[i]];
        if (axis[i] >= 0) kept |= 1u << axis[i];
    }
    for (int i = 0; i < x->type.rank; i++)
        if (!(kept >> i & 1) && !dim_is(x->type.shape[i], 1)) return NULL;
    return build_reshape(&r->b, x, rank, shape);
}

static struct value *reshape_slice(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_slice);
    int64_t axis[GRAPH_MAX_RANK], stride[GRAPH_MAX_RANK];
    dim start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK];
    int n, rank = op->out[0]->type.rank;
    if (!under || !only_ones(&op->in[0]->type, &op->out[0]->type, axis)) return NULL;
    both_origins(r, under, op);
    struct value *x = keep_axes(r, under->in[0], rank, axis);
    for (int i = 0; i < rank; i++) {
        bool new = axis[i] < 0;
        start[i] = new ? dim_const(r->g->dims, 0) : op_dims(under, "start", &n)[axis[i]];
        limit[i] = new ? dim_const(r->g->dims, 1) : op_dims(under, "limit", &n)[axis[i]];
        stride[i] = new ? 1 : op_ints(under, "stride", &n)[axis[i]];
    }
    return build_slice(&r->b, x, start, limit, stride);
}

static struct value *reshape_transpose(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_transpose);
    int64_t axis[GRAPH_MAX_RANK], source[GRAPH_MAX_RANK], p[GRAPH_MAX_RANK];
    int n, rank = op->out[0]->type.rank, at = 0;
    if (!under || !only_ones(&op->in[0]->type, &op->out[0]->type, axis)) return NULL;
    const int64_t *q = op_ints(under, "permutation", &n);
    /* the axes that stay, in the order in which they lie under the transpose, then the new ones */
    for (int k = 0; k < n; k++)
        for (int i = 0; i < rank; i++)
            if (axis[i] >= 0 && q[axis[i]] == k) source[at] = k, p[i] = at++;
    for (int i = 0; i < rank; i++)
        if (axis[i] < 0) source[at] = -1, p[i] = at++;
    both_origins(r, under, op);
    return build_transpose(&r->b, keep_axes(r, under->in[0], rank, source), p);
}

/* f(reshape(x), reshape(y), 1) is reshape(f(x, y, 1)). */
static struct value *elementwise_reshape(struct rewrite *r, struct op *op) {
    struct value *in[3];
    const struct type *common = NULL;
    int64_t axis[GRAPH_MAX_RANK];
    struct op *made;
    uint64_t number;
    for (int i = 0; i < op->n_in; i++) {
        const struct op *from = op->in[i]->op;
        bool reshaped = from && from->kind == OP_reshape && only_ones(&from->in[0]->type, &op->in[i]->type, axis);
        in[i] = reshaped ? from->in[0] : NULL;
        if (!reshaped && !value_uniform(op->in[i], &number)) return NULL;
        if (!reshaped || (common && common->rank != in[i]->type.rank)) {
            if (reshaped) return NULL;
            continue;
        }
        for (int a = 0; common && a < common->rank; a++)
            if (common->shape[a] != in[i]->type.shape[a]) return NULL;
        common = &in[i]->type;
    }
    if (!common) return NULL;
    for (int i = 0; i < op->n_in; i++) {
        if (in[i]) continue;
        struct value *one = op->in[i];
        while (one->op->kind != OP_constant)
            one = one->op->in[0];
        if (one->type.rank != 0) return NULL;
        in[i] = build_broadcast(&r->b, one, common->rank, common->shape, NULL);
    }
    if (build(&r->b, op->kind, op->n_in, in, NULL, &made) != YJ_OK) return NULL;
    return build_reshape(&r->b, made->out[0], op->out[0]->type.rank, op->out[0]->type.shape);
}

/* --- types --- */

static struct value *cast_same(struct rewrite *r, struct op *op) {
    return op->in[0]->type.dtype == op->out[0]->type.dtype ? operand(op, 0) : NULL;
}

/* Every value of FROM is one of TO. */
static bool holds_all(enum yj_dtype from, enum yj_dtype to) {
    char a = dtype_kind(from), b = dtype_kind(to);
    size_t n = yj_dtype_bytes(from), m = yj_dtype_bytes(to);
    if (from == to) return true;
    if (a == 'b') return b != 'b';
    if (b == 'b') return false;
    if (a == 'f') return b == 'f' && (to == YJ_F64 || (to == YJ_F32 && n < 4) || (to == YJ_F16 && from == YJ_E5M2));
    if (b == 'f') return to == YJ_F64 ? n <= 4 : to == YJ_F32 && n <= 2;
    return a == b ? m > n : a == 'u' && m > n;
}

static struct value *cast_cast(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, OP_cast);
    if (!under || !holds_all(under->in[0]->type.dtype, under->out[0]->type.dtype)) return NULL;
    both_origins(r, under, op);
    return build_cast(&r->b, under->in[0], op->out[0]->type.dtype);
}

/* --- arithmetic --- */

static struct value *times_one(struct rewrite *r, struct op *op) {
    if (is_number(op->in[1], 1)) return operand(op, 0);
    return op->kind == OP_mul && is_number(op->in[0], 1) ? operand(op, 1) : NULL;
}

/* -0 is the float that adds nothing to any float: 0 would turn -0 into 0. */
static struct value *plus_nothing(struct rewrite *r, struct op *op) {
    double nothing = is_float(op->in[0]) && op->kind == OP_add ? -0.0 : 0.0;
    if (is_number(op->in[1], nothing)) return operand(op, 0);
    return op->kind == OP_add && is_number(op->in[0], nothing) ? operand(op, 1) : NULL;
}

/* x / 2^k is x * 2^-k, to the bit, where both are normal numbers. */
static struct value *divide_power(struct rewrite *r, struct op *op) {
    uint64_t w;
    enum yj_dtype dtype = op->in[0]->type.dtype;
    int e;
    if ((dtype != YJ_F32 && dtype != YJ_F64) || !value_uniform(op->in[1], &w)) return NULL;
    double c = dtype == YJ_F64 ? bits_f64(w) : bits_f32(w);
    if (!isfinite(c) || c == 0 || fabs(frexp(c, &e)) != 0.5 || e < -100 || e > 100) return NULL;
    struct value *inverse = build_scalar_f(&r->b, dtype, 1 / c);
    inverse = build_broadcast(&r->b, inverse, op->out[0]->type.rank, op->out[0]->type.shape, NULL);
    return build_2(&r->b, OP_mul, operand(op, 0), inverse);
}

static struct value *power_small(struct rewrite *r, struct op *op) {
    if (is_number(op->in[1], 1)) return operand(op, 0);
    return is_number(op->in[1], 2) ? build_2(&r->b, OP_mul, operand(op, 0), operand(op, 0)) : NULL;
}

static struct value *twice_undone(struct rewrite *r, struct op *op) {
    const struct op *under = over(op, op->kind);
    return under ? under->in[0] : NULL;
}

static struct value *select_known(struct rewrite *r, struct op *op) {
    uint64_t yes;
    if (op->in[1] == op->in[2]) return operand(op, 1);
    return value_uniform(op->in[0], &yes) ? operand(op, yes ? 1 : 2) : NULL;
}

/* --- the table --- */

/* Each shrinks the graph or moves a reshape one way only, so applying them ends. */
typedef struct value *rule_fn(struct rewrite *r, struct op *op);
static const struct {
    enum op_kind kind;
    rule_fn *rule;
} rules[] = {
    {OP_reshape, reshape_same},
    {OP_reshape, reshape_reshape},
    {OP_reshape, reshape_slice},
    {OP_reshape, reshape_transpose},
    {OP_transpose, transpose_same},
    {OP_transpose, transpose_transpose},
    {OP_transpose, transpose_of_ones},
    {OP_broadcast, broadcast_same},
    {OP_broadcast, broadcast_broadcast},
    {OP_broadcast, broadcast_reshape},
    {OP_slice, slice_whole},
    {OP_slice, slice_slice},
    {OP_concat, concat_one},
    {OP_pad, pad_nothing},
    {OP_cast, cast_same},
    {OP_cast, cast_cast},
    {OP_mul, times_one},
    {OP_div, times_one},
    {OP_div, divide_power},
    {OP_add, plus_nothing},
    {OP_sub, plus_nothing},
    {OP_pow, power_small},
    {OP_COUNT, elementwise_reshape}, /* any elementwise op */
    {OP_neg, twice_undone},
    {OP_not, twice_undone},
    {OP_select, select_known},
};

/* The new value must be of the very type, or shapes would have to be inferred again behind it. */
static bool fits(const struct value *v, const struct op *op) {
    return v && v != op->out[0] && type_same(&v->type, &op->out[0]->type);
}

static bool has_placement(const struct value *v) {
    for (int i = 0; i < v->type.rank; i++)
        if (v->shard.axis[i] || v->layout.order[i]) return true;
    return v->shard.partial || v->layout.format;
}

static void keep_placement(struct value *v, const struct value *old) {
    if (has_placement(v) || !has_placement(old)) return;
    v->shard = old->shard;
    v->layout = old->layout;
}

static bool apply_rules(struct graph *g, struct op *op) {
    for (size_t i = 0; i < COUNT(rules); i++) {
        if (rules[i].kind != op->kind && !(rules[i].kind == OP_COUNT && op_is(op->kind, 'E'))) continue;
        struct rewrite r = {g, {g, op, op->n_origin, op->origin}};
        struct value *v = rules[i].rule(&r, op);
        if (!fits(v, op)) continue;
        if (v->op && v->op->next == op) keep_placement(v, op->out[0]);
        value_replace(g, op->out[0], v);
        op_remove(op);
        return true;
    }
    return false;
}

/* --- equal ops --- */

static bool same_attrs(const struct op *a, const struct op *b) {
    int n = 0, m = 0;
    for (const struct attr *x = a->attrs; x; x = x->next, n++) {
        const struct attr *y = op_attr(b, x->name);
        if (!y || x->kind != y->kind || x->n != y->n) return false;
        for (int i = 0; i < x->n; i++) {
            if (x->ints && x->ints[i] != y->ints[i]) return false;
            if (x->dims && x->dims[i] != y->dims[i]) return false;
        }
        if (x->kind == ATTR_TEXT && strcmp(x->text, y->text) != 0) return false;
        if (x->kind == ATTR_FLOAT && memcmp(&x->number, &y->number, sizeof x->number) != 0) return false;
    }
    for (const struct attr *y = b->attrs; y; y = y->next)
        m++;
    return n == m;
}

static bool same_data(const struct data *a, const struct data *b) {
    if (a->n_bytes != b->n_bytes || a->weight != b->weight) return false;
    if (a->bytes == b->bytes) return true;
    return a->bytes && b->bytes && a->n_bytes <= 4096 && memcmp(a->bytes, b->bytes, a->n_bytes) == 0;
}

static bool same_op(const struct op *a, const struct op *b) {
    if (a->kind != b->kind || a->n_in != b->n_in || a->n_out != b->n_out) return false;
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i]) return false;
    for (int i = 0; i < a->n_out; i++)
        if (!type_same(&a->out[i]->type, &b->out[i]->type) ||
            memcmp(&a->out[i]->shard, &b->out[i]->shard, sizeof(struct shard)) != 0)
            return false;
    return same_attrs(a, b) && (a->kind != OP_constant || same_data(&a->data, &b->data));
}

static bool mergeable(const struct op *op) {
    return !op_is(op->kind, 'C') && !op_is(op->kind, 'S') && !op_is(op->kind, 'G') && op->kind != OP_wait &&
           op->n_out > 0;
}

static uint64_t op_hash(const struct op *op) {
    uint64_t h = hash_bytes(&op->kind, sizeof op->kind, (uint64_t)op->n_in);
    for (int i = 0; i < op->n_in; i++)
        h = hash_bytes(&op->in[i], sizeof op->in[i], h);
    if (op->kind == OP_constant && op->data.bytes)
        h = hash_bytes(op->data.bytes, (size_t)min64((int64_t)op->data.n_bytes, 64), h);
    return h;
}

/* A number that many nodes share belongs to none of them: else each of their kernels would name all. */
static void add_origins(struct graph *g, struct op *to, const struct op *from) {
    struct rewrite r = {g, {0}};
    uint64_t number;
    if (to->n_out == 1 && value_uniform(to->out[0], &number)) {
        to->n_origin = 0;
        return;
    }
    both_origins(&r, to, from);
    to->n_origin = r.b.n_origin;
    to->origin = (int *)r.b.origin;
}

/* Ops stand in a hash table by what they compute; a later equal one is replaced by the first. */
static void merge_equal(struct graph *g) {
    size_t n = 0, room = 64;
    for (struct op *op = g->first; op; op = op->next)
        n++;
    while (room < 2 * n)
        room *= 2;
    struct op **slot = NEW_ARRAY(g->arena, struct op *, room);
    for (struct op *op = g->first, *next; op; op = next) {
        next = op->next;
        if (!mergeable(op)) continue;
        size_t i = op_hash(op) & (room - 1);
        while (slot[i] && !same_op(slot[i], op))
            i = (i + 1) & (room - 1);
        if (!slot[i]) {
            slot[i] = op;
            continue;
        }
        for (int k = 0; k < op->n_out; k++)
            value_replace(g, op->out[k], slot[i]->out[k]);
        add_origins(g, slot[i], op);
        op_remove(op);
    }
}

static void simplify_graph(struct graph *g) {
    for (struct op *op = g->first, *next; op; op = next) {
        struct op *before = op->prev;
        next = op->next;
        for (int i = 0; i < op->n_regions; i++)
            simplify_graph(op->regions[i]);
        if (apply_rules(g, op)) next = before ? before->next : g->first; /* what the rule made is looked at too */
    }
    merge_equal(g);
}

enum yj_status pass_simplify(struct graph *g, const struct pass_options *o) {
    simplify_graph(g);
    graph_sweep(g);
    return YJ_OK;
}

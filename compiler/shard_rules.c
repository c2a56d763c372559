/* SPDX-License-Identifier: Apache-2.0
 *
 * How each op may be computed on several ranks. One function a rule, named by the op's row in ops.def; a rule lists the
 * strategies besides the replicated one. Nothing here knows names or models: only shapes and what an op does to them.
 */
#include "compiler/shard.h"

struct rule_context {
    struct dim_table *dims;
    const struct op *op;
    int ranks;
    struct strategies *out;
};

static bool divides(const struct rule_context *c, const struct value *v, int d) {
    dim size = v->type.shape[d];
    return size->low > 0 && size->divisor % c->ranks == 0;
}

/* Adds a strategy with every operand replicated; the caller sets what differs. NULL when the list is full. */
static struct strategy *add_strategy(struct rule_context *c, int out) {
    if (c->out->n == SHARD_MAX_STRATEGIES) return NULL;
    struct strategy *s = &c->out->row[c->out->n++];
    memset(s->in, SHARD_REPLICATED, sizeof s->in);
    memset(s->out, out, sizeof s->out);
    return s;
}

static void add_1(struct rule_context *c, int in, int out) {
    struct strategy *s = add_strategy(c, out);
    if (s) s->in[0] = (signed char)in;
}

static void add_2(struct rule_context *c, int in0, int in1, int out) {
    struct strategy *s = add_strategy(c, out);
    if (!s) return;
    s->in[0] = (signed char)in0;
    s->in[1] = (signed char)in1;
}

static void add_all(struct rule_context *c, int state) {
    struct strategy *s = add_strategy(c, state);
    if (s) memset(s->in, state, sizeof s->in);
}

static int position(const int64_t *list, int n, int64_t x) {
    for (int i = 0; i < n; i++)
        if (list[i] == x) return i;
    return -1;
}

/* Elementwise ops, casts, pack: every dimension may be split; a sum of pending sums is a pending sum. */
static void rule_same(struct rule_context *c) {
    const struct value *v = c->op->out[0];
    for (int d = 0; d < v->type.rank; d++)
        if (divides(c, v, d)) add_all(c, d);
    if (c->op->kind == OP_add || c->op->kind == OP_sub || c->op->kind == OP_neg) add_all(c, SHARD_PARTIAL);
}

/* A constant may be cut along any dimension: each rank then loads only its part. */
static void rule_constant(struct rule_context *c) {
    const struct value *v = c->op->out[0];
    for (int d = 0; d < v->type.rank; d++)
        if (divides(c, v, d)) add_strategy(c, d);
}

/* Splitting dimension d survives a reshape when the elements before it are as many as before some result dimension. */
static void rule_reshape(struct rule_context *c) {
    const struct type *x = &c->op->in[0]->type, *y = &c->op->out[0]->type;
    dim before = dim_const(c->dims, 1);
    for (int d = 0; d < x->rank; before = dim_mul(c->dims, before, x->shape[d]), d++) {
        if (!divides(c, c->op->in[0], d)) continue;
        dim other = dim_const(c->dims, 1);
        for (int e = 0; e < y->rank; other = dim_mul(c->dims, other, y->shape[e]), e++)
            if (dim_equal(c->dims, before, other) == DIM_YES && divides(c, c->op->out[0], e)) {
                add_1(c, d, e);
                break;
            }
    }
    add_1(c, SHARD_PARTIAL, SHARD_PARTIAL);
}

static void rule_transpose(struct rule_context *c) {
    int n;
    const int64_t *permutation = op_ints(c->op, "permutation", &n);
    for (int d = 0; d < n; d++)
        if (divides(c, c->op->out[0], d)) add_1(c, (int)permutation[d], d);
    add_1(c, SHARD_PARTIAL, SHARD_PARTIAL);
}

/* A result dimension that the operand has in full is split with it; one that is repeated splits for nothing. */
static void rule_broadcast(struct rule_context *c) {
    int n;
    const int64_t *axes = op_ints(c->op, "axes", &n);
    const struct value *x = c->op->in[0], *y = c->op->out[0];
    for (int d = 0; d < y->type.rank; d++) {
        if (!divides(c, y, d)) continue;
        int i = position(axes, n, d);
        if (i >= 0 && dim_equal(c->dims, x->type.shape[i], y->type.shape[d]) == DIM_YES)
            add_1(c, i, d);
        else if (i < 0 || dim_is(x->type.shape[i], 1))
            add_1(c, SHARD_REPLICATED, d);
    }
}

/* Dimensions that are kept whole. */
static void rule_slice(struct rule_context *c) {
    int n;
    const dim *start = op_dims(c->op, "start", &n), *limit = op_dims(c->op, "limit", &n);
    const int64_t *stride = op_ints(c->op, "stride", &n);
    const struct value *x = c->op->in[0];
    for (int d = 0; d < n; d++)
        if (dim_is(start[d], 0) && stride[d] == 1 && limit[d] == x->type.shape[d] && divides(c, x, d)) add_1(c, d, d);
}

static void rule_reverse(struct rule_context *c) {
    int n;
    const int64_t *axes = op_ints(c->op, "axes", &n);
    for (int d = 0; d < c->op->out[0]->type.rank; d++)
        if (position(axes, n, d) < 0 && divides(c, c->op->out[0], d)) add_1(c, d, d);
}

static void rule_concat(struct rule_context *c) {
    int64_t axis = op_int(c->op, "axis", 0);
    for (int d = 0; d < c->op->out[0]->type.rank; d++)
        if (d != axis && divides(c, c->op->out[0], d)) add_all(c, d);
}

static void rule_pad(struct rule_context *c) {
    int n;
    const dim *low = op_dims(c->op, "low", &n), *high = op_dims(c->op, "high", &n);
    for (int d = 0; d < n; d++)
        if (dim_is(low[d], 0) && dim_is(high[d], 0) && divides(c, c->op->out[0], d)) add_2(c, d, SHARD_REPLICATED, d);
}

/* The table along what is not looked up, or the indices. */
static void rule_gather(struct rule_context *c) {
    const struct value *x = c->op->in[0], *indices = c->op->in[1];
    int axis = (int)op_int(c->op, "axis", 0), k = indices->type.rank;
    for (int d = 0; d < x->type.rank; d++)
        if (d != axis && divides(c, x, d)) add_2(c, d, SHARD_REPLICATED, d < axis ? d : d + k - 1);
    for (int d = 0; d < k; d++)
        if (divides(c, indices, d)) add_2(c, SHARD_REPLICATED, d, axis + d);
}

/* Dimensions that the piece covers in full (the heads of a cache). */
static void rule_update(struct rule_context *c) {
    int n;
    const dim *start = op_dims(c->op, "start", &n);
    const struct value *x = c->op->in[0], *piece = c->op->in[1];
    for (int d = 0; d < n; d++)
        if (dim_is(start[d], 0) && piece->type.shape[d] == x->type.shape[d] && divides(c, x, d)) add_2(c, d, d, d);
}

/* Kept dimensions stay split; a split reduced dimension leaves a pending sum. */
static void rule_reduce(struct rule_context *c) {
    int n, out = 0;
    const int64_t *axes = op_ints(c->op, "axes", &n);
    const char *kind = op_text(c->op, "kind");
    const struct value *x = c->op->in[0];
    for (int d = 0; d < x->type.rank; d++) {
        bool reduced = position(axes, n, d) >= 0;
        if (!reduced && divides(c, x, d)) add_1(c, d, out);
        if (reduced && !strcmp(kind, "add") && divides(c, x, d)) add_1(c, d, SHARD_PARTIAL);
        out += !reduced;
    }
}

/* Batch dimensions, rows, columns; a split of what is summed over leaves a pending sum. */
static void rule_dot(struct rule_context *c) {
    int nb, nc, n;
    const int64_t *ba = op_ints(c->op, "batch_a", &nb), *bb = op_ints(c->op, "batch_b", &n);
    const int64_t *ca = op_ints(c->op, "contract_a", &nc), *cb = op_ints(c->op, "contract_b", &n);
    const struct value *a = c->op->in[0], *b = c->op->in[1];
    for (int i = 0; i < nb; i++)
        if (divides(c, a, (int)ba[i])) add_2(c, (int)ba[i], (int)bb[i], i);
    int out = nb;
    for (int d = 0; d < a->type.rank; d++) {
        if (position(ba, nb, d) >= 0 || position(ca, nc, d) >= 0) continue;
        if (divides(c, a, d)) add_2(c, d, SHARD_REPLICATED, out);
        out++;
    }
    for (int d = 0; d < b->type.rank; d++) {
        if (position(bb, nb, d) >= 0 || position(cb, nc, d) >= 0) continue;
        if (divides(c, b, d)) add_2(c, SHARD_REPLICATED, d, out);
        out++;
    }
    for (int i = 0; i < nc; i++)
        if (divides(c, a, (int)ca[i])) add_2(c, (int)ca[i], (int)cb[i], SHARD_PARTIAL);
}

/* Images, output channels, input channels (a pending sum); NCHW only: sharding comes before layout. */
static void rule_convolution(struct rule_context *c) {
    const struct value *x = c->op->in[0], *w = c->op->in[1];
    if (op_text(c->op, "layout")) return;
    if (divides(c, x, 0)) add_2(c, 0, SHARD_REPLICATED, 0);
    if (op_int(c->op, "groups", 1) != 1) return;
    if (divides(c, w, 0)) add_2(c, SHARD_REPLICATED, 0, 1);
    if (divides(c, x, 1)) add_2(c, 1, 1, SHARD_PARTIAL);
}

static const struct {
    const char *name;
    void (*rule)(struct rule_context *);
} rules[] = {
    {"constant", rule_constant},
    {"same", rule_same},
    {"elementwise", rule_same},
    {"reshape", rule_reshape},
    {"transpose", rule_transpose},
    {"broadcast", rule_broadcast},
    {"slice", rule_slice},
    {"reverse", rule_reverse},
    {"concat", rule_concat},
    {"pad", rule_pad},
    {"gather", rule_gather},
    {"update", rule_update},
    {"reduce", rule_reduce},
    {"dot", rule_dot},
    {"convolution", rule_convolution},
};

void shard_strategies(struct dim_table *dims, const struct op *op, int ranks, struct strategies *out) {
    struct rule_context c = {dims, op, ranks, out};
    out->n = 0;
    add_strategy(&c, SHARD_REPLICATED);
    if (op->n_out == 0 || op->n_out > 4) return;
    const char *name = op_is(op->kind, 'E') ? "elementwise" : op_info[op->kind].shard;
    for (size_t i = 0; i < COUNT(rules); i++)
        if (!strcmp(rules[i].name, name)) rules[i].rule(&c);
}

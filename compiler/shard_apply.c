/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewrites a graph to what one rank computes, as the search has chosen. Ops stay where they are and get operands in the
 * states they want; where a value is in another state, a collective (or a slice at this rank's part) is put before the
 * first use. A value's results become local: a split dimension is divided by the number of ranks.
 */
#include "compiler/shard.h"
#include <stdio.h>

#define STATES (2 + GRAPH_MAX_RANK) /* index: state + 2 */

struct apply {
    struct graph *g;
    const struct shard_plan *plan;
    struct value *(*made)[STATES]; /* by value id, then state: the value in that state, NULL if not made yet */
    signed char *state;            /* by value id: the state it is produced in */
    int n_values;
};

static dim part_of(struct graph *g, dim size, int ranks) {
    return dim_div(g->dims, size, dim_const(g->dims, ranks));
}

static void annotate(struct apply *a, struct value *v, int state) {
    if (state >= 0) v->shard.axis[state] = a->plan->axis;
    if (state == SHARD_PARTIAL) v->shard.partial = a->plan->axis;
}

static struct value *build_collective(struct builder *b, enum op_kind kind, struct value *x, struct attr *attrs) {
    struct op *start, *wait;
    if (!x || build(b, kind, 1, &x, attrs, &start) != YJ_OK) return NULL;
    if (build(b, OP_wait, 1, &start->out[0], NULL, &wait) != YJ_OK) return NULL;
    return wait->out[0];
}

/* Collectives move blocks that lie in one piece, so the dimension that ranks share is brought to the front: a dimension
 * of RANKS is cut out of dimension AT (of size RANKS * part), or put back in there. */
static struct value *ranks_to_front(struct apply *a, struct builder *b, struct value *x, int at) {
    struct graph *g = a->g;
    dim shape[GRAPH_MAX_RANK + 1];
    int64_t order[GRAPH_MAX_RANK + 1];
    int rank = x->type.rank;
    if (rank == GRAPH_MAX_RANK) return NULL;
    for (int i = 0; i <= rank; i++) {
        shape[i] = i < at ? x->type.shape[i] : i == at ? dim_const(g->dims, a->plan->ranks) : x->type.shape[i - 1];
        order[i] = i == 0 ? at : i <= at ? i - 1 : i;
    }
    shape[at + 1] = part_of(g, x->type.shape[at], a->plan->ranks);
    return build_transpose(b, build_reshape(b, x, rank + 1, shape), order);
}

static struct value *ranks_from_front(struct apply *a, struct builder *b, struct value *x, int at) {
    dim shape[GRAPH_MAX_RANK];
    int64_t order[GRAPH_MAX_RANK + 1];
    if (!x) return NULL;
    int rank = x->type.rank - 1;
    for (int i = 0; i <= rank; i++)
        order[i] = i < at ? i + 1 : i == at ? 0 : i;
    for (int i = 0; i < rank; i++)
        shape[i] = x->type.shape[i + 1];
    shape[at] = dim_mul(a->g->dims, shape[at], x->type.shape[0]);
    return build_reshape(b, build_transpose(b, x, order), rank, shape);
}

static struct value *with_front(struct apply *a, struct builder *b, struct value *x) { /* [..] seen as [1, ..] */
    dim shape[GRAPH_MAX_RANK];
    if (x->type.rank == GRAPH_MAX_RANK) return NULL;
    shape[0] = dim_const(a->g->dims, 1);
    for (int i = 0; i < x->type.rank; i++)
        shape[i + 1] = x->type.shape[i];
    return build_reshape(b, x, x->type.rank + 1, shape);
}

static struct value *without_front(struct builder *b, struct value *x) {
    return x ? build_reshape(b, x, x->type.rank - 1, x->type.shape + 1) : NULL;
}

/* This rank's part of a replicated value. */
static struct value *slice_part(struct apply *a, struct builder *b, struct value *x, int d) {
    struct graph *g = a->g;
    dim start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK];
    int64_t stride[GRAPH_MAX_RANK];
    char name[80];
    snprintf(name, sizeof name, "rank.%s", a->plan->axis);
    dim rank = graph_dim(g, name, 0, a->plan->ranks - 1);
    for (int i = 0; i < x->type.rank; i++) {
        start[i] = dim_const(g->dims, 0);
        limit[i] = x->type.shape[i];
        stride[i] = 1;
    }
    dim part = part_of(g, x->type.shape[d], a->plan->ranks);
    start[d] = dim_mul(g->dims, rank, part);
    limit[d] = dim_add(g->dims, start[d], part);
    return build_slice(b, x, start, limit, stride);
}

static struct value *convert(struct apply *a, struct builder *b, struct value *x, int from, int to) {
    struct graph *g = a->g;
    struct attr *axis = attr_text(g, "axis", a->plan->axis, NULL);
    if (from == SHARD_REPLICATED) return slice_part(a, b, x, to);
    if (from == SHARD_PARTIAL && to == SHARD_REPLICATED)
        return build_collective(b, OP_all_reduce, x, attr_text(g, "kind", "add", axis));
    if (from == SHARD_PARTIAL) {
        struct attr *attrs = attr_int(g, "dim", 0, attr_text(g, "kind", "add", axis));
        return without_front(b, build_collective(b, OP_reduce_scatter, ranks_to_front(a, b, x, to), attrs));
    }
    if (to == SHARD_REPLICATED)
        return ranks_from_front(
            a, b, build_collective(b, OP_all_gather, with_front(a, b, x), attr_int(g, "dim", 0, axis)), from);
    struct attr *attrs = attr_int(g, "split", 0, attr_int(g, "concat", 0, axis));
    return ranks_from_front(a, b, build_collective(b, OP_all_to_all, ranks_to_front(a, b, x, to), attrs), from);
}

/* V in state TO, made before AT if it is not there yet. */
static enum yj_status value_in_state(struct apply *a, struct op *at, struct value *v, int to, struct value **out) {
    struct value **made = a->made[v->id];
    if (!made[to + 2]) {
        if (to == SHARD_PARTIAL) return report(YJ_ERR_INTERNAL, "shard: %%%s cannot become a pending sum", v->name);
        int from = to >= 0 && made[SHARD_REPLICATED + 2] ? SHARD_REPLICATED : a->state[v->id];
        struct op *producer = v->op;
        struct builder b = {a->g, at, producer ? producer->n_origin : 0, producer ? producer->origin : NULL};
        struct value *x = convert(a, &b, made[from + 2], from, to);
        if (!x) return YJ_ERR_INTERNAL; /* the builder has reported */
        annotate(a, x, to);
        made[to + 2] = x;
    }
    *out = made[to + 2];
    return YJ_OK;
}

/* The parts of all ranks one after the other: a copy, but for the outermost dimension. */
static enum yj_status split_constant(struct apply *a, struct op *op, int d) {
    struct type *t = &op->out[0]->type;
    int64_t before = 1, size = 0, after = (int64_t)yj_dtype_bytes(t->dtype), n;
    for (int i = 0; i < t->rank; i++) {
        if (!dim_is_const(t->shape[i], &n)) return report(YJ_ERR_INTERNAL, "shard: constant of unknown shape");
        if (i < d) before *= n;
        if (i == d) size = n;
        if (i > d) after *= n;
    }
    if (op_attr(op, "split")) return report(YJ_ERR_UNSUPPORTED, "shard: %s is split over two mesh axes", op_where(op));
    int64_t ranks = a->plan->ranks, chunk = size / ranks * after;
    if (before > 1) {
        char *bytes = arena_new(a->g->arena, op->data.n_bytes);
        for (int64_t r = 0; r < ranks; r++)
            for (int64_t i = 0; i < before; i++)
                memcpy(bytes + (r * before + i) * chunk, (const char *)op->data.bytes + (i * ranks + r) * chunk,
                       (size_t)chunk);
        op->data.bytes = bytes;
    }
    op->attrs = attr_text(a->g, "split", a->plan->axis, op->attrs);
    t->shape[d] = part_of(a->g, t->shape[d], a->plan->ranks);
    return YJ_OK;
}

/* Attributes that repeat the shape of the result. */
static void localise_attribute(struct apply *a, struct op *op, const char *name, int d) {
    for (struct attr *at = op->attrs; at; at = at->next)
        if (!strcmp(at->name, name)) {
            dim *copy = NEW_ARRAY(a->g->arena, dim, at->n);
            memcpy(copy, at->dims, sizeof(dim) * (size_t)at->n);
            copy[d] = part_of(a->g, copy[d], a->plan->ranks);
            at->dims = copy;
        }
}

static enum yj_status apply_op(struct apply *a, struct op *op, const struct strategy *s) {
    for (int i = 0; i < op->n_in; i++)
        TRY(value_in_state(a, op, op->in[i], shard_in(op, s, i), &op->in[i]));
    for (int i = 0; i < op->n_out; i++) {
        int state = i < 4 ? s->out[i] : SHARD_REPLICATED;
        struct value *v = op->out[i];
        a->state[v->id] = (signed char)state;
        a->made[v->id][state + 2] = v;
        if (state >= 0 && op->kind == OP_constant)
            TRY(split_constant(a, op, state));
        else if (state >= 0 && op->kind == OP_slice)
            localise_attribute(a, op, "limit", state);
        else if (state >= 0)
            localise_attribute(a, op, "shape", state);
        annotate(a, v, state);
    }
    return op->kind == OP_constant ? YJ_OK : graph_infer(op);
}

static enum yj_status apply_all(struct apply *a) {
    struct graph *g = a->g;
    for (int i = 0; i < g->n_in; i++) {
        int state = a->plan->input[i];
        struct value *v = g->in[i];
        a->state[v->id] = (signed char)state;
        a->made[v->id][state + 2] = v;
        if (state >= 0) v->type.shape[state] = part_of(g, v->type.shape[state], a->plan->ranks);
        annotate(a, v, state);
    }
    int n = 0;
    for (struct op *op = g->first, *next; op; op = next, n++) {
        next = op->next;
        TRY(apply_op(a, op, &a->plan->strategy[n]));
    }
    for (int i = 0; i < g->n_out; i++) {
        struct value *old = g->out[i];
        TRY(value_in_state(a, NULL, old, a->plan->output[i], &g->out[i]));
        for (int k = 0; k < g->n_states; k++)
            if (g->states[k].out == old) g->states[k].out = g->out[i];
    }
    return YJ_OK;
}

enum yj_status shard_apply(struct graph *g, const struct shard_plan *plan) {
    struct apply a = {.g = g, .plan = plan, .n_values = graph_number(g)};
    a.made = arena_new(g->arena, sizeof *a.made * (size_t)(a.n_values + 1));
    a.state = NEW_ARRAY(g->arena, signed char, a.n_values + 1);
    return apply_all(&a);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions made simple, for passes that look at one list of ops. What is known outside is said inside: constants and
 * what is made of them alone move into the regions that read them. A loop counts by a dim, so that a row taken at the
 * number of the turn is a slice. What a loop carries unchanged is its operand; what nobody reads is neither passed in
 * nor given out.
 */
#include "compiler/pass.h"
#include "ir/graph_inside.h"

/* --- operands and results of an op with regions --- */

static void drop_value(struct value **list, int *n, int at, bool indexed) {
    for (int i = at + 1; i < *n; i++) {
        list[i - 1] = list[i];
        if (indexed) list[i - 1]->index = i - 1;
    }
    --*n;
}

static void drop_output(struct graph *region, int at) {
    for (int i = at + 1; i < region->n_out; i++)
        region->out_names[i - 1] = region->out_names[i];
    drop_value(region->out, &region->n_out, at, false);
}

/* --- what is known outside --- */

#define MAX_DEPTH 8

static bool movable(const struct op *op, int depth) {
    if (!op || depth > MAX_DEPTH) return false;
    switch (op->kind) {
    case OP_constant:
    case OP_iota:
    case OP_dims:
        return true;
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_cast:
        return movable(op->in[0]->op, depth + 1);
    default:
        return false;
    }
}

/* A copy of V in REGION before AT. */
static struct value *bring(struct graph *region, struct op *at, const struct value *v, struct map *values) {
    for (int i = 0; i < v->op->n_in; i++)
        if (!map_get(values, v->op->in[i])) bring(region, at, v->op->in[i], values);
    if (!map_get(values, v)) op_copy(region, at, v->op, values);
    return map_get(values, v);
}

static void move_in(struct graph *region, int input, const struct value *v) {
    struct map values = {.arena = region->arena};
    if (value_uses(region, region->in[input]) > 0)
        value_replace(region, region->in[input], bring(region, region->first, v, &values));
}

/* --- if --- */

static bool tidy_if(struct op *op) {
    bool changed = false;
    for (int i = op->n_in - 1; i >= 1; i--) {
        for (int r = 0; r < 2 && movable(op->in[i]->op, 0); r++)
            move_in(op->regions[r], i - 1, op->in[i]);
        if (value_uses(op->regions[0], op->regions[0]->in[i - 1]) ||
            value_uses(op->regions[1], op->regions[1]->in[i - 1]))
            continue;
        for (int r = 0; r < 2; r++)
            drop_value(op->regions[r]->in, &op->regions[r]->n_in, i - 1, true);
        drop_value(op->in, &op->n_in, i, false);
        changed = true;
    }
    for (int i = op->n_out - 1; i >= 0; i--) {
        if (value_uses(op->graph, op->out[i])) continue;
        for (int r = 0; r < 2; r++)
            drop_output(op->regions[r], i);
        drop_value(op->out, &op->n_out, i, true);
        changed = true;
    }
    return changed;
}

/* --- loop --- */

/* It counts up to what limits the turns, as far as that is known. */
static dim index_symbol(struct op *op) {
    struct graph *g = op->graph;
    int n, number = 0;
    uint64_t trips;
    const dim *length = op_dims(op, "length", &n);
    int64_t high = length ? length[0]->high : INT64_MAX;
    if (value_uniform(op->in[0], &trips)) high = min64(high, (int64_t)trips);
    const char *name;
    do
        name = arena_text(g->arena, "turn%d", number++);
    while (dim_find(g->dims, name));
    return dim_symbol(g->dims, name, 0, max64(high - 1, 0));
}

/* x[index], a row of an axis, without loading the index. */
static void slice_rows(struct graph *body, const struct value *index, dim symbol) {
    for (struct op *op = body->first, *next; op; op = next) {
        next = op->next;
        if (op->kind != OP_gather || op->in[1] != index) continue;
        struct builder b = {body, op, op->n_origin, op->origin};
        dim start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK];
        int64_t stride[GRAPH_MAX_RANK];
        int axis = (int)op_int(op, "axis", 0);
        for (int i = 0; i < op->in[0]->type.rank; i++) {
            start[i] = i == axis ? symbol : dim_const(body->dims, 0);
            limit[i] = i == axis ? dim_add(body->dims, symbol, dim_const(body->dims, 1)) : op->in[0]->type.shape[i];
            stride[i] = 1;
        }
        struct value *row = build_slice(&b, op->in[0], start, limit, stride);
        row = build_reshape(&b, row, op->out[0]->type.rank, op->out[0]->type.shape);
        if (!row) continue; /* longer than its axis for certain: the fault belongs to the run */
        value_replace(body, op->out[0], row);
        op_remove(op);
    }
}

/* The number of the turn is a dim; where it is read as data it is made of the dim. */
static bool count_by_dim(struct op *op) {
    struct graph *body = op->regions[0];
    int n;
    const dim *given = op_dims(op, "index", &n);
    bool read = value_uses(body, body->in[0]) > 0;
    dim symbol = given ? given[0] : index_symbol(op);
    if (!given) op_set_attr(op, attr_dim(op->graph, "index", symbol, NULL));
    if (!read) return !given;
    slice_rows(body, body->in[0], symbol);
    struct builder b = {body, body->first, op->n_origin, op->origin};
    struct op *dims;
    if (build(&b, OP_dims, 0, NULL, attr_dims(body, "values", 1, &symbol, NULL), &dims) != YJ_OK) return true;
    struct value *index = build_reshape(&b, dims->out[0], 0, NULL);
    if (index) value_replace(body, body->in[0], index);
    return true;
}

/* Carried value I is given back as it came. */
static bool unchanged(const struct graph *body, int i) {
    return body->out[1 + i] == body->in[1 + i];
}

static bool tidy_loop(struct op *op) {
    struct graph *body = op->regions[0];
    bool changed = count_by_dim(op);
    for (int i = op->n_in - 3; i >= 0; i--) {
        struct value *in = op->in[2 + i], *inner = body->in[1 + i];
        if (!unchanged(body, i)) continue;
        if (value_uses(op->graph, op->out[i])) value_replace(op->graph, op->out[i], in);
        if (movable(in->op, 0) && value_uses(body, inner) > 1) {
            move_in(body, 1 + i, in);
            body->out[1 + i] = inner;
        }
        if (value_uses(body, inner) > 1) continue; /* read in a turn, not only given back */
        drop_value(body->in, &body->n_in, 1 + i, true);
        drop_output(body, 1 + i);
        drop_value(op->in, &op->n_in, 2 + i, false);
        drop_value(op->out, &op->n_out, i, true);
        changed = true;
    }
    return changed;
}

bool flow_tidy(struct op *op) {
    if (op->kind == OP_if) return tidy_if(op);
    return op->kind == OP_loop && tidy_loop(op);
}

/* A loop without a turn gives what it was given. */
bool flow_skip(struct op *op) {
    uint64_t trips = 1, go = 1;
    if (op->kind != OP_loop) return false;
    bool never = (value_uniform(op->in[0], &trips) && (int64_t)trips <= 0) || (value_uniform(op->in[1], &go) && !go);
    if (!never || op->n_out > op->n_in - 2) return false;
    for (int i = 0; i < op->n_out; i++)
        value_replace(op->graph, op->out[i], op->in[2 + i]);
    return true;
}

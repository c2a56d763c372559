/* SPDX-License-Identifier: Apache-2.0
 *
 * The meaning of a graph: a slow, plain interpreter, one function for each op, all ranks of the mesh in one go. It
 * shares nothing with the way that kernels are made, so that the two can be compared. This file walks: dims, values,
 * their lives.
 */
#include "ir/graph_eval.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- errors and dims --- */

enum yj_status eval_bad(const struct run *r, const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (r->rank > 0) return report(YJ_ERR_INPUT, "%s: %s (rank %d)", op_where(r->op), line, r->rank);
    return report(YJ_ERR_INPUT, "%s: %s", op_where(r->op), line);
}

static enum yj_status within(const struct run *r, enum yj_status status) {
    return status == YJ_OK || !r->op ? status : report_in(status, "%s", op_where(r->op));
}

int64_t eval_coordinate(const struct eval *e, const char *axis, int rank) {
    const struct mesh *m = &e->root->mesh;
    for (int i = 0; i < m->n; rank /= m->size[i++])
        if (strcmp(m->name[i], axis) == 0) return rank % m->size[i];
    return -1;
}

static bool look_up(void *user, dim symbol, int64_t *value) {
    const struct eval *e = user;
    if (strncmp(symbol->name, "rank.", 5) == 0) {
        *value = eval_coordinate(e, symbol->name + 5, e->rank);
        if (*value >= 0) return true;
    }
    for (int i = 0; i < e->n_bindings; i++)
        if (e->bindings[i].symbol == symbol) {
            *value = e->bindings[i].value;
            return true;
        }
    return false;
}

enum yj_status eval_bind(struct eval *e, dim symbol, int64_t value) {
    if (value < symbol->low || value > symbol->high)
        return report(YJ_ERR_INPUT, "the dim %s is %lld, not in %lld..%lld", symbol->name, (long long)value,
                      (long long)symbol->low, (long long)symbol->high);
    for (int i = 0; i < e->n_bindings; i++)
        if (e->bindings[i].symbol == symbol) {
            e->bindings[i].value = value;
            return YJ_OK;
        }
    if (e->n_bindings == e->room_bindings) {
        int room = e->room_bindings ? e->room_bindings * 2 : 16;
        struct binding *more = realloc(e->bindings, (size_t)room * sizeof *more);
        if (!more) return report(YJ_ERR_MEMORY, "out of memory");
        e->bindings = more;
        e->room_bindings = room;
    }
    e->bindings[e->n_bindings++] = (struct binding){symbol, value};
    return YJ_OK;
}

enum yj_status eval_dim(const struct run *r, dim d, int64_t *value) {
    r->e->rank = r->rank < 0 ? 0 : r->rank;
    return within(r, dim_eval(d, look_up, r->e, value));
}

enum yj_status eval_dims(const struct run *r, const char *name, int64_t *values) {
    int n;
    const dim *dims = op_dims(r->op, name, &n);
    for (int i = 0; i < n && i < GRAPH_MAX_RANK; i++)
        TRY(eval_dim(r, dims[i], &values[i]));
    return YJ_OK;
}

enum yj_status eval_shape(const struct run *r, const struct value *v, int64_t *shape) {
    for (int i = 0; i < v->type.rank; i++) {
        TRY(eval_dim(r, v->type.shape[i], &shape[i]));
        if (shape[i] < 0) return eval_bad(r, "axis %d of %%%s would be %lld long", i, v->name, (long long)shape[i]);
    }
    return YJ_OK;
}

/* --- values --- */

struct tensor *eval_slot(const struct eval *e, const struct value *v, int rank) {
    return &e->slots[(size_t)v->id * (size_t)e->ranks + (size_t)(rank < 0 ? 0 : rank)];
}

static void slot_free(struct eval *e, size_t slot) {
    if (e->owned[slot]) free(e->slots[slot].bytes);
    e->owned[slot] = false;
    e->slots[slot] = (struct tensor){0};
}

void eval_free(struct eval *e, const struct value *v) {
    for (int rank = 0; rank < e->ranks; rank++)
        slot_free(e, (size_t)v->id * (size_t)e->ranks + (size_t)rank);
}

enum yj_status eval_new(const struct run *r, const struct value *v, int rank) {
    int64_t shape[GRAPH_MAX_RANK];
    size_t slot = (size_t)v->id * (size_t)r->e->ranks + (size_t)rank;
    TRY(eval_shape(r, v, shape));
    slot_free(r->e, slot);
    TRY(within(r, tensor_new(v->type.dtype, v->type.rank, shape, &r->e->slots[slot])));
    r->e->owned[slot] = true;
    return YJ_OK;
}

/* --- ops --- */

static eval_fn *const table[OP_COUNT] = {
#define OP(name, n_in, n_out, attributes, flags, shape, vjp, shard, doc) [OP_##name] = eval_op_##name,
#include "ir/ops.def"
#undef OP
};
eval_fn eval_op_elementwise;

static enum yj_status run_op(struct eval *e, const struct op *op) {
    struct run r = {.e = e, .op = op, .rank = -1};
    if (op_is(op->kind, 'G') || op_is(op->kind, 'C')) return table[op->kind](&r);
    for (int rank = 0; rank < e->ranks; rank++) {
        r.rank = rank;
        for (int i = 0; i < op->n_in && i < (int)COUNT(r.in); i++)
            r.in[i] = eval_slot(e, op->in[i], rank);
        for (int i = 0; i < op->n_out; i++) {
            if (op->kind != OP_constant) TRY(eval_new(&r, op->out[i], rank));
            r.out[i] = eval_slot(e, op->out[i], rank);
        }
        TRY((op_is(op->kind, 'E') ? eval_op_elementwise : table[op->kind])(&r));
    }
    return YJ_OK;
}

void eval_seen(struct eval *e, const struct op *op) {
    for (int i = 0; e->see && op->kind != OP_constant && i < op->n_out; i++)
        for (int rank = 0; rank < e->ranks; rank++)
            e->see(e->user, op->out[i], rank, eval_slot(e, op->out[i], rank));
}

enum yj_status eval_body(struct eval *e, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        TRY(run_op(e, op));
        eval_seen(e, op);
        for (int i = 0; i < op->n_in; i++)
            if (e->last[op->in[i]->id] == op) eval_free(e, op->in[i]);
        for (int i = 0; i < op->n_out; i++)
            if (e->last[op->out[i]->id] == op) eval_free(e, op->out[i]); /* nobody uses it */
    }
    return YJ_OK;
}

static void find_last(struct eval *e, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++)
            e->last[op->in[i]->id] = op;
        for (int i = 0; i < op->n_out; i++)
            e->last[op->out[i]->id] = op;
        for (int i = 0; i < op->n_regions; i++)
            find_last(e, op->regions[i]);
    }
    for (int i = 0; i < g->n_out; i++)
        e->last[g->out[i]->id] = NULL;
}

/* --- inputs: their shapes give the dims --- */

/* If exactly one symbol of D is not known and D is linear in it: binds it so that D = VALUE. */
struct unbound {
    struct eval *e;
    dim symbol;
    int n;
};

static void unbound_see(void *user, dim symbol) {
    struct unbound *u = user;
    int64_t value;
    if (!look_up(u->e, symbol, &value)) u->symbol = symbol, u->n++;
}

static enum yj_status solve(struct run *r, const struct value *v, int axis, int64_t value, bool *again) {
    struct unbound u = {r->e, NULL, 0};
    dim d = v->type.shape[axis];
    dim coefficient, rest;
    int64_t c, k;
    if (d->op != DIM_CONST) dim_symbols(d, unbound_see, &u);
    if (u.n != 1) return YJ_OK;
    if (u.symbol == d)
        k = value, c = 1;
    else if (!dim_linear(r->e->root->dims, d, u.symbol, &coefficient, &rest))
        return YJ_OK;
    else {
        TRY(eval_dim(r, coefficient, &c));
        TRY(eval_dim(r, rest, &k));
        if (c == 0 || __builtin_sub_overflow(value, k, &k) || k % c != 0) return YJ_OK; /* the check below says it */
    }
    *again = true;
    enum yj_status status = eval_bind(r->e, u.symbol, k / c);
    return status == YJ_OK ? status : report_in(status, "input %s", v->name);
}

static enum yj_status check_input(struct run *r, int i, const struct tensor *t) {
    const struct value *v = r->e->root->in[i];
    for (int a = 0; a < t->rank; a++) {
        int64_t want;
        TRY(eval_dim(r, v->type.shape[a], &want));
        if (want != t->shape[a])
            return report(YJ_ERR_INPUT, "input %s: axis %d is %lld long and should be %lld", v->name, a,
                          (long long)t->shape[a], (long long)want);
    }
    size_t each = yj_dtype_bytes(t->dtype), bytes = each;
    for (int a = 0; a < t->rank; a++)
        if (__builtin_mul_overflow(bytes, (size_t)t->shape[a], &bytes)) bytes = SIZE_MAX, a = t->rank;
    if (bytes != t->n_bytes)
        return report(YJ_ERR_INPUT, "input %s: it has %zu bytes for its shape", v->name, t->n_bytes);
    return YJ_OK;
}

static enum yj_status take_inputs(struct eval *e, const struct tensor *inputs) {
    const struct graph *g = e->root;
    struct run r = {.e = e};
    int all = g->n_in * e->ranks;
    for (int i = 0; i < all; i++) {
        const struct value *v = g->in[i % g->n_in];
        if (inputs[i].dtype != v->type.dtype || inputs[i].rank != v->type.rank)
            return report(YJ_ERR_INPUT, "input %s: it is %s of rank %d and should be %s", v->name,
                          yj_dtype_name(inputs[i].dtype), inputs[i].rank, type_text(g->arena, &v->type));
        for (int a = 0; a < v->type.rank; a++)
            if (inputs[i].shape[a] < 0) return report(YJ_ERR_INPUT, "input %s: axis %d is negative", v->name, a);
    }
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < all; i++)
            for (int a = 0; a < inputs[i].rank; a++)
                TRY(solve(&r, g->in[i % g->n_in], a, inputs[i].shape[a], &again));
    }
    for (int i = 0; i < all; i++) {
        TRY(check_input(&r, i % g->n_in, &inputs[i]));
        *eval_slot(e, g->in[i % g->n_in], i / g->n_in) = inputs[i];
    }
    return YJ_OK;
}

/* --- the whole --- */

static enum yj_status tensor_copy(const struct tensor *from, struct tensor *to) {
    TRY(tensor_new(from->dtype, from->rank, from->shape, to));
    if (from->n_bytes) memcpy(to->bytes, from->bytes, from->n_bytes);
    return YJ_OK;
}

static enum yj_status give_outputs(struct eval *e, struct tensor *outputs) {
    const struct graph *g = e->root;
    int made = 0;
    for (; made < g->n_out * e->ranks; made++) {
        enum yj_status status = tensor_copy(eval_slot(e, g->out[made % g->n_out], made / g->n_out), &outputs[made]);
        if (status == YJ_OK) continue;
        while (made > 0)
            tensor_free(&outputs[--made]);
        return status;
    }
    return YJ_OK;
}

static void eval_close(struct eval *e) {
    for (size_t i = 0; e->slots && e->owned && i < (size_t)e->n_values * (size_t)e->ranks; i++)
        slot_free(e, i);
    free(e->slots);
    free(e->owned);
    free(e->last);
    free(e->bindings);
}

enum yj_status graph_eval(const struct graph *g, const struct tensor *inputs, struct tensor *outputs, graph_see_fn *see,
                          void *user) {
    int n = graph_number((struct graph *)g), ranks = graph_ranks(g);
    size_t slots = (size_t)n * (size_t)ranks + 1;
    struct eval e = {.root = g, .ranks = ranks, .n_values = n, .see = see, .user = user};
    e.slots = calloc(slots, sizeof *e.slots);
    e.owned = calloc(slots, sizeof *e.owned);
    e.last = calloc((size_t)n + 1, sizeof *e.last);
    enum yj_status status = YJ_OK;
    if (!e.slots || !e.owned || !e.last)
        status = report(YJ_ERR_MEMORY, "no memory for %d values on %d ranks", n, ranks);
    if (status == YJ_OK) {
        find_last(&e, g);
        status = take_inputs(&e, inputs);
    }
    if (status == YJ_OK) status = eval_body(&e, g);
    if (status == YJ_OK) status = give_outputs(&e, outputs);
    eval_close(&e);
    return status;
}

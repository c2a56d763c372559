/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the plan that is being made: dims, buffers and how long they live, weights, inputs and states. Sizes
 * are at the bounds of what is known only during a run.
 */
#include "compiler/plan_inside.h"
#include <stdio.h>

dim maker_dim(struct maker *m, dim d) {
    return dim_copy(m->p->dims, d);
}
dim maker_const(struct maker *m, int64_t v) {
    return dim_const(m->p->dims, v);
}

/* A size given at run time that may be as large as this has no bound to plan for. */
#define NO_BOUND (INT64_C(1) << 31)

/* D with what is known only during a run (born dims, lengths of states) at its bound: what storage is sized for. */
static dim bounded(struct maker *m, dim d) {
    for (int i = 0; i < m->p->n_dims; i++) {
        const struct plan_dim *p = &m->p->dim[i];
        dim slope, rest;
        if ((p->kind != PLAN_DIM_BORN && p->kind != PLAN_DIM_STATE) || !dim_contains(d, p->symbol)) continue;
        bool linear = dim_linear(m->p->dims, d, p->symbol, &slope, &rest);
        int64_t at = linear && slope->low >= 0 ? p->high : linear && slope->high <= 0 ? p->low : DIM_UNBOUNDED;
        if (at < NO_BOUND)
            d = dim_substitute(m->p->dims, d, p->symbol, maker_const(m, at));
        else if (d->high < NO_BOUND)
            return maker_const(m, d->high);
        else
            return NULL;
    }
    return d;
}

/* A size that nothing limits. What may: the input dims that have no bound yet. */
static enum yj_status no_bound(struct maker *m, const struct value *v, int axis) {
    struct text names = {0};
    for (int i = 0; i < m->p->n_dims; i++) {
        const struct plan_dim *d = &m->p->dim[i];
        if (d->kind == PLAN_DIM_INPUT && d->high >= NO_BOUND)
            text_add(&names, "%s --dim %s=LOW..HIGH", names.n ? " or" : "", d->symbol->name);
    }
    const char *hint = names.n ? names.data : "";
    report(YJ_ERR_UNSUPPORTED, "%s: dimension %d is known only during a run and has no bound: %s%s",
           v->op ? op_where(v->op) : v->name, axis, names.n ? "give one with" : "nothing in the model gives one", hint);
    text_free(&names);
    return YJ_ERR_UNSUPPORTED;
}

enum yj_status maker_bytes(struct maker *m, const struct value *v, dim *bytes) {
    dim n = maker_const(m, (int64_t)yj_dtype_bytes(v->type.dtype));
    for (int i = 0; i < v->type.rank; i++) {
        dim size = bounded(m, maker_dim(m, v->type.shape[i]));
        if (!size) return no_bound(m, v, i);
        n = dim_mul(m->p->dims, n, size);
    }
    if (n->low > INT64_C(1) << 62)
        return report(YJ_ERR_INPUT, "%s: it takes more than 2^62 bytes", v->op ? op_where(v->op) : v->name);
    *bytes = n;
    return YJ_OK;
}

/* ---- dims */

struct dim_find_use {
    struct maker *m;
    enum plan_dim_kind kind;
};

static void add_dim(void *user, dim symbol) {
    struct dim_find_use *use = user;
    struct plan *p = use->m->p;
    for (int i = 0; i < p->n_dims; i++)
        if (!strcmp(p->dim[i].symbol->name, symbol->name)) return;
    struct plan_dim *more = NEW_ARRAY(use->m->arena, struct plan_dim, p->n_dims + 1);
    if (p->n_dims) memcpy(more, p->dim, sizeof *more * (size_t)p->n_dims);
    more[p->n_dims++] = (struct plan_dim){maker_dim(use->m, symbol), use->kind, symbol->low, symbol->high};
    p->dim = more;
}

int maker_dim_kind(const struct maker *m, dim symbol) {
    for (int i = 0; i < m->p->n_dims; i++)
        if (m->p->dim[i].symbol == symbol) return (int)m->p->dim[i].kind;
    return -1;
}

dim maker_new_dim(struct maker *m, const char *prefix, int64_t low, int64_t high) {
    const char *name;
    for (int n = m->p->n_dims;; n++) {
        name = arena_text(m->arena, "%s.%d", prefix, n);
        if (!dim_find(m->p->dims, name) && !dim_find(m->g->dims, name)) break;
    }
    dim symbol = dim_symbol(m->p->dims, name, low, high);
    add_dim(&(struct dim_find_use){m, PLAN_DIM_BORN}, symbol);
    return symbol;
}

static void add_dims_of(struct maker *m, const struct type *t, enum plan_dim_kind kind) {
    for (int i = 0; i < t->rank; i++)
        dim_symbols(t->shape[i], add_dim, &(struct dim_find_use){m, kind});
}

static const struct state *state_of_input(const struct graph *g, const struct value *v) {
    for (int i = 0; i < g->n_states; i++)
        if (g->states[i].in == v) return &g->states[i];
    return NULL;
}

const struct state *maker_state_of_output(const struct graph *g, const struct value *v) {
    for (int i = 0; i < g->n_states; i++)
        if (g->states[i].out == v) return &g->states[i];
    return NULL;
}

static void add_symbols(struct maker *m, const dim *symbols, int n) {
    for (int i = 0; symbols && i < n; i++) {
        int before = m->p->n_dims;
        add_dim(&(struct dim_find_use){m, PLAN_DIM_BORN}, symbols[i]);
        if (m->p->n_dims > before) m->p->dim[before].high = min64(m->p->dim[before].high, INT64_MAX - 1);
    }
}

/* Symbols that binds and loops set. The length of a loop may be known before. */
static void add_born_dims(struct maker *m, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        int n;
        const dim *symbols = op->kind == OP_bind ? op_dims(op, "symbols", &n) : NULL;
        for (int i = 0; symbols && i < n; i++)
            add_dim(&(struct dim_find_use){m, PLAN_DIM_BORN}, symbols[i]);
        if (op->kind == OP_loop && (symbols = op_dims(op, "index", &n))) add_symbols(m, symbols, n);
        if (op->kind == OP_loop && (symbols = op_dims(op, "length", &n)) && symbols[0]->op == DIM_SYMBOL)
            add_symbols(m, symbols, n);
        for (int r = 0; r < op->n_regions && op->kind != OP_fused; r++)
            add_born_dims(m, op->regions[r]);
    }
}

void maker_dims(struct maker *m) {
    const struct graph *g = m->g;
    for (int i = 0; i < g->n_in; i++)
        if (!state_of_input(g, g->in[i])) add_dims_of(m, &g->in[i]->type, PLAN_DIM_INPUT);
    for (int i = 0; i < g->n_states; i++)
        add_dims_of(m, &g->states[i].in->type, PLAN_DIM_STATE);
    for (int axis = 0; axis < g->mesh.n; axis++) {
        char name[80];
        snprintf(name, sizeof name, "rank.%s", g->mesh.name[axis]);
        dim rank = dim_symbol(m->p->dims, name, 0, g->mesh.size[axis] - 1);
        add_dim(&(struct dim_find_use){m, PLAN_DIM_RANK}, rank);
    }
    add_born_dims(m, g); /* the others first: a length that is one of them is not born */
}

/* ---- buffers and steps */

struct plan_buffer *maker_buffer(struct maker *m, const char *name, enum yj_dtype dtype, enum plan_kind kind, dim bytes,
                                 int *number) {
    struct plan *p = m->p;
    if (p->n_buffers == m->room_buffers) {
        m->room_buffers = m->room_buffers ? 2 * m->room_buffers : 128;
        struct plan_buffer *more = NEW_ARRAY(m->arena, struct plan_buffer, m->room_buffers);
        if (p->n_buffers) memcpy(more, p->buffers, sizeof *more * (size_t)p->n_buffers);
        p->buffers = more;
    }
    *number = p->n_buffers;
    struct plan_buffer *b = &p->buffers[p->n_buffers++];
    *b = (struct plan_buffer){.name = arena_text(m->arena, "%s", name),
                              .dtype = dtype,
                              .kind = kind,
                              .bytes = bytes,
                              .at = maker_const(m, 0)};
    return b;
}

int maker_buffer_of(struct maker *m, const struct value *v) {
    return m->buffer_of[v->id];
}

struct plan_step *maker_step(struct maker *m, enum plan_step_kind kind, const struct op *op, int *number) {
    int *room = &m->up[m->at].room;
    if (m->block->n_steps == *room) {
        *room = *room ? 2 * *room : 16;
        struct plan_step *more = NEW_ARRAY(m->arena, struct plan_step, *room);
        if (m->block->n_steps) memcpy(more, m->block->steps, sizeof *more * (size_t)m->block->n_steps);
        m->block->steps = more;
    }
    *number = m->block->n_steps;
    struct plan_step *s = &m->block->steps[m->block->n_steps++];
    *s = (struct plan_step){.kind = kind, .block = -1, .otherwise = -1, .request = -1};
    if (op) {
        s->n_origin = op->n_origin;
        s->origin = op->origin;
    }
    return s;
}

/* A buffer is used by step STEP: it lives until then. Uses of an alias are uses of its root. */
void maker_use(struct maker *m, int buffer, int step) {
    int block = m->at;
    struct plan_buffer *b = &m->p->buffers[plan_root(m->p, buffer)];
    if (b->kind != PLAN_TEMP) return;
    for (; block > b->block; block = m->up[block].user)
        step = m->up[block].step;
    b->last = step > b->last ? step : b->last;
}

static enum yj_status temp_in_block(struct maker *m, const struct value *v, int step, int *buffer) {
    dim bytes;
    TRY(maker_bytes(m, v, &bytes));
    struct plan_buffer *b = maker_buffer(m, v->name, v->type.dtype, PLAN_TEMP, bytes, buffer);
    b->block = m->at;
    b->first = b->last = step;
    return YJ_OK;
}

enum yj_status maker_temp(struct maker *m, const struct value *v, int step, int *buffer) {
    if (m->place[v->id] >= 0)
        *buffer = m->place[v->id];
    else
        TRY(temp_in_block(m, v, step, buffer));
    m->buffer_of[v->id] = *buffer;
    return YJ_OK;
}

enum yj_status maker_aside(struct maker *m, const struct value *v, int *buffer) {
    return temp_in_block(m, v, m->block->n_steps, buffer);
}

enum yj_status maker_inputs(struct maker *m) {
    const struct graph *g = m->g;
    m->p->inputs = NEW_ARRAY(m->arena, struct plan_port, g->n_in + 1);
    for (int i = 0; i < g->n_in; i++) {
        struct value *v = g->in[i];
        int number;
        dim bytes;
        if (state_of_input(g, v)) continue;
        TRY(maker_bytes(m, v, &bytes));
        maker_buffer(m, v->name, v->type.dtype, PLAN_INPUT, bytes, &number);
        m->buffer_of[v->id] = number;
        struct plan_port *port = &m->p->inputs[m->p->n_inputs++];
        *port = (struct plan_port){.name = arena_text(m->arena, "%s", v->name),
                                   .buffer = number,
                                   .dtype = v->type.dtype,
                                   .rank = v->type.rank};
        for (int d = 0; d < v->type.rank; d++)
            port->shape[d] = maker_dim(m, v->type.shape[d]);
    }
    return YJ_OK;
}

static dim at_most(struct maker *m, dim d) {
    return maker_const(m, d->high);
}

enum yj_status maker_states(struct maker *m) {
    const struct graph *g = m->g;
    m->p->states = NEW_ARRAY(m->arena, struct plan_state, g->n_states + 1);
    for (int i = 0; i < g->n_states; i++) {
        struct value *in = g->states[i].in, *out = g->states[i].out;
        struct plan_state *s = &m->p->states[m->p->n_states++];
        const char *out_name = out->name;
        for (int o = 0; o < g->n_out; o++)
            if (g->out[o] == out) out_name = g->out_names[o];
        *s = (struct plan_state){arena_text(m->arena, "%s", in->name), arena_text(m->arena, "%s", out_name), 0,
                                 in->type.dtype, in->type.rank};
        dim bytes = maker_const(m, (int64_t)yj_dtype_bytes(in->type.dtype));
        for (int d = 0; d < in->type.rank; d++) {
            s->in[d] = maker_dim(m, in->type.shape[d]);
            s->out[d] = maker_dim(m, out->type.shape[d]);
            int64_t fixed;
            bool same = in->type.shape[d] == out->type.shape[d] && dim_is_const(in->type.shape[d], &fixed);
            dim high = same                                                 ? s->in[d]
                       : in->type.shape[d]->high > out->type.shape[d]->high ? at_most(m, in->type.shape[d])
                                                                            : at_most(m, out->type.shape[d]);
            if (high->high == DIM_UNBOUNDED)
                return report(YJ_ERR_INPUT, "state '%s': dimension %d has no bound; give one with --dim", in->name, d);
            s->storage[d] = high;
            bytes = dim_mul(m->p->dims, bytes, high);
        }
        maker_buffer(m, in->name, in->type.dtype, PLAN_STATE, bytes, &s->buffer);
        m->buffer_of[in->id] = s->buffer;
    }
    return YJ_OK;
}

enum yj_status maker_weight(struct maker *m, const struct op *op) {
    const struct value *v = op->out[0];
    int weight, number;
    TRY(weights_add(m->weights, m->g, v, &weight));
    const struct weight *w = &m->weights->weight[weight];
    const char *split = op_text(op, "split");
    int parts = split ? mesh_size(m->g, split) : 1;
    int64_t each = (int64_t)w->n_bytes / parts;
    if (split && each % PLAN_ALIGN)
        return report(YJ_ERR_UNSUPPORTED, "%s: a part of %lld bytes is not a multiple of %d", op_where(op),
                      (long long)each, PLAN_ALIGN);
    maker_buffer(m, w->name, v->type.dtype, PLAN_WEIGHT, maker_const(m, each), &number);
    m->placed->weight[m->placed->n++] = (struct planned_weight){number, weight, parts, split};
    m->buffer_of[v->id] = number;
    return YJ_OK;
}

enum yj_status plan_place_weights(struct planned *planned, const struct safetensor *tensors) {
    struct plan *p = planned->plan;
    for (int i = 0; i < planned->n; i++) {
        const struct planned_weight *w = &planned->weight[i];
        struct plan_buffer *b = &p->buffers[w->buffer];
        b->at = dim_const(p->dims, tensors[w->weight].at);
        if (!w->axis) continue;
        dim rank = dim_find(p->dims, arena_text(p->arena, "rank.%s", w->axis));
        b->at = dim_add(p->dims, b->at, dim_mul(p->dims, rank, b->bytes));
    }
    return plan_verify(p);
}

enum yj_status maker_alias(struct maker *m, const struct value *v, int of) {
    int number;
    struct plan_buffer *b = maker_buffer(m, v->name, v->type.dtype, PLAN_ALIAS, m->p->buffers[of].bytes, &number);
    b->of = of;
    b->space = m->p->buffers[of].space;
    m->buffer_of[v->id] = number;
    return YJ_OK;
}

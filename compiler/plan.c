/* SPDX-License-Identifier: Apache-2.0
 *
 * Graph to plan: a buffer for each value, a step for each op, lifetimes from the order of the list. Ops stand in the
 * order in which they run: the overlap pass has moved collectives, and memory is planned by the runtime when sizes are
 * known.
 */
#include "compiler/plan.h"
#include <stdio.h>

struct maker {
    const struct graph *g;
    struct arena *arena;
    struct program_kernels *kernels;
    struct weights *weights;
    struct plan *p;
    int *buffer_of;  /* by value id: -1 not yet */
    int *maker_step; /* by buffer: its step */
    int room_buffers, room_steps, n_requests;
    int *request_of; /* by value id: of a pending result */
    int *start_of;   /* by request: its step */
    struct plan_block *block;
    struct planned *placed;
};

static dim plan_dim_of(struct maker *m, dim d) {
    return dim_copy(m->p->dims, d);
}
static dim plan_c(struct maker *m, int64_t v) {
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
            d = dim_substitute(m->p->dims, d, p->symbol, plan_c(m, at));
        else if (d->high < NO_BOUND)
            return plan_c(m, d->high);
        else
            return NULL;
    }
    return d;
}

static enum yj_status bytes_of(struct maker *m, const struct value *v, dim *bytes) {
    dim n = plan_c(m, (int64_t)yj_dtype_bytes(v->type.dtype));
    for (int i = 0; i < v->type.rank; i++) {
        dim size = bounded(m, plan_dim_of(m, v->type.shape[i]));
        if (!size)
            return report(YJ_ERR_UNSUPPORTED,
                          "%s: dimension %d is known only during a run and has no bound: give one with --dim",
                          v->op ? op_where(v->op) : v->name, i);
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
    more[p->n_dims++] = (struct plan_dim){plan_dim_of(use->m, symbol), use->kind, symbol->low, symbol->high};
    p->dim = more;
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

static const struct state *state_of_output(const struct graph *g, const struct value *v) {
    for (int i = 0; i < g->n_states; i++)
        if (g->states[i].out == v) return &g->states[i];
    return NULL;
}

static void make_dims(struct maker *m) {
    const struct graph *g = m->g;
    for (int i = 0; i < g->n_in; i++)
        if (!state_of_input(g, g->in[i])) add_dims_of(m, &g->in[i]->type, PLAN_DIM_INPUT);
    for (int i = 0; i < g->n_states; i++)
        add_dims_of(m, &g->states[i].in->type, PLAN_DIM_STATE);
    for (const struct op *op = g->first; op; op = op->next) {
        int n;
        const dim *symbols = op->kind == OP_bind ? op_dims(op, "symbols", &n) : NULL;
        for (int i = 0; symbols && i < n; i++)
            add_dim(&(struct dim_find_use){m, PLAN_DIM_BORN}, symbols[i]);
    }
    for (int axis = 0; axis < g->mesh.n; axis++) {
        char name[80];
        snprintf(name, sizeof name, "rank.%s", g->mesh.name[axis]);
        dim rank = dim_symbol(m->p->dims, name, 0, g->mesh.size[axis] - 1);
        add_dim(&(struct dim_find_use){m, PLAN_DIM_RANK}, rank);
    }
}

/* ---- buffers and steps */

static struct plan_buffer *add_buffer(struct maker *m, const char *name, enum yj_dtype dtype, enum plan_kind kind,
                                      dim bytes, int *number) {
    struct plan *p = m->p;
    if (p->n_buffers == m->room_buffers) {
        m->room_buffers = m->room_buffers ? 2 * m->room_buffers : 128;
        struct plan_buffer *more = NEW_ARRAY(m->arena, struct plan_buffer, m->room_buffers);
        if (p->n_buffers) memcpy(more, p->buffers, sizeof *more * (size_t)p->n_buffers);
        p->buffers = more;
    }
    *number = p->n_buffers;
    struct plan_buffer *b = &p->buffers[p->n_buffers++];
    *b = (struct plan_buffer){
        .name = arena_text(m->arena, "%s", name), .dtype = dtype, .kind = kind, .bytes = bytes, .at = plan_c(m, 0)};
    return b;
}

static int buffer_of(struct maker *m, const struct value *v) {
    return m->buffer_of[v->id];
}

static struct plan_step *add_step(struct maker *m, enum plan_step_kind kind, const struct op *op, int *number) {
    if (m->block->n_steps == m->room_steps) {
        m->room_steps = m->room_steps ? 2 * m->room_steps : 128;
        struct plan_step *more = NEW_ARRAY(m->arena, struct plan_step, m->room_steps);
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
static void use_buffer(struct maker *m, int buffer, int step) {
    int root = plan_root(m->p, buffer);
    struct plan_buffer *b = &m->p->buffers[root];
    if (b->kind == PLAN_TEMP) b->last = step > b->last ? step : b->last;
}

static enum yj_status temp_for(struct maker *m, const struct value *v, int step, int *buffer) {
    dim bytes;
    TRY(bytes_of(m, v, &bytes));
    struct plan_buffer *b = add_buffer(m, v->name, v->type.dtype, PLAN_TEMP, bytes, buffer);
    b->block = 0;
    b->first = b->last = step;
    m->buffer_of[v->id] = *buffer;
    return YJ_OK;
}

static enum yj_status make_inputs(struct maker *m) {
    const struct graph *g = m->g;
    m->p->inputs = NEW_ARRAY(m->arena, struct plan_port, g->n_in + 1);
    for (int i = 0; i < g->n_in; i++) {
        struct value *v = g->in[i];
        int number;
        dim bytes;
        if (state_of_input(g, v)) continue;
        TRY(bytes_of(m, v, &bytes));
        add_buffer(m, v->name, v->type.dtype, PLAN_INPUT, bytes, &number);
        m->buffer_of[v->id] = number;
        struct plan_port *port = &m->p->inputs[m->p->n_inputs++];
        *port = (struct plan_port){.name = arena_text(m->arena, "%s", v->name),
                                   .buffer = number,
                                   .dtype = v->type.dtype,
                                   .rank = v->type.rank};
        for (int d = 0; d < v->type.rank; d++)
            port->shape[d] = plan_dim_of(m, v->type.shape[d]);
    }
    return YJ_OK;
}

static dim at_most(struct maker *m, dim d) {
    return plan_c(m, d->high);
}

static enum yj_status make_states(struct maker *m) {
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
        dim bytes = plan_c(m, (int64_t)yj_dtype_bytes(in->type.dtype));
        for (int d = 0; d < in->type.rank; d++) {
            s->in[d] = plan_dim_of(m, in->type.shape[d]);
            s->out[d] = plan_dim_of(m, out->type.shape[d]);
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
        add_buffer(m, in->name, in->type.dtype, PLAN_STATE, bytes, &s->buffer);
        m->buffer_of[in->id] = s->buffer;
    }
    return YJ_OK;
}

static enum yj_status make_constant(struct maker *m, const struct op *op) {
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
    add_buffer(m, w->name, v->type.dtype, PLAN_WEIGHT, plan_c(m, each), &number);
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

static enum yj_status make_alias(struct maker *m, const struct value *v, int of) {
    int number;
    struct plan_buffer *b = add_buffer(m, v->name, v->type.dtype, PLAN_ALIAS, m->p->buffers[of].bytes, &number);
    b->of = of;
    b->space = m->p->buffers[of].space;
    m->buffer_of[v->id] = number;
    return YJ_OK;
}

/* ---- kernels */

static bool same_name(dim a, dim b) {
    return !strcmp(a->name, b->name);
}

static enum yj_status add_kernel(struct maker *m, struct kernel *plain, uint64_t hash, const char *name, int *number) {
    struct program_kernels *ks = m->kernels;
    if (ks->n == ks->room) {
        ks->room = ks->room ? 2 * ks->room : 64;
        struct program_kernel *more = NEW_ARRAY(ks->arena, struct program_kernel, ks->room);
        if (ks->n) memcpy(more, ks->kernel, sizeof *more * (size_t)ks->n);
        ks->kernel = more;
    }
    struct program_kernel *k = &ks->kernel[ks->n];
    *k = (struct program_kernel){hash, plain, 0, {NULL}};
    TRY(tile_kernel(ks->arena, plain, ks->target, &k->n_variants, k->variant));
    for (int i = 0; i < k->n_variants; i++)
        k->variant[i]->name = k->n_variants == 1 ? arena_text(ks->arena, "%s_%d", name, ks->n)
                                                 : arena_text(ks->arena, "%s_%d_v%d", name, ks->n, i);
    *number = ks->n++;

    struct plan *p = m->p;
    struct plan_kernel *more = NEW_ARRAY(m->arena, struct plan_kernel, ks->n);
    if (p->n_kernels) memcpy(more, p->kernels, sizeof *more * (size_t)p->n_kernels);
    p->kernels = more;
    struct plan_kernel *pk = &p->kernels[p->n_kernels++];
    *pk = (struct plan_kernel){
        .name = arena_text(m->arena, "%s_%d", name, *number), .n_dims = plain->n_dims, .n_args = plain->n_args};
    pk->dims = dim_table_open(m->arena);
    pk->dim_names = NEW_ARRAY(m->arena, const char *, plain->n_dims + 1);
    for (int i = 0; i < plain->n_dims; i++) {
        pk->dim_names[i] = arena_text(m->arena, "%s", plain->dim_args[i]->name);
        dim_copy(pk->dims, plain->dim_args[i]);
    }
    pk->args = NEW_ARRAY(m->arena, enum plan_role, plain->n_args + 1);
    int i = 0;
    for (const struct buffer *b = plain->args; b; b = b->next)
        pk->args[i++] = b->role == ROLE_IN ? PLAN_IN : b->role == ROLE_OUT ? PLAN_OUT : PLAN_INOUT;
    pk->n_variants = k->n_variants;
    for (i = 0; i < k->n_variants; i++) {
        struct kernel *v = k->variant[i];
        struct plan_variant *pv = &pk->variants[i];
        pv->symbol = arena_text(m->arena, "%s", v->name);
        pv->tiles = dim_copy(pk->dims, kernel_tile_count(v));
        pv->scratch = dim_copy(pk->dims, kernel_scratch_bytes(v));
        pv->ns = dim_copy(pk->dims, tile_cost(v, ks->target));
        pv->n_guards = v->n_guards;
        pv->guards = NEW_ARRAY(m->arena, struct plan_guard, v->n_guards + 1);
        for (int g = 0; g < v->n_guards; g++)
            pv->guards[g] =
                (struct plan_guard){dim_copy(pk->dims, v->guards[g].low), dim_copy(pk->dims, v->guards[g].value),
                                    dim_copy(pk->dims, v->guards[g].high)};
    }
    return YJ_OK;
}

/* A name for people: the op kinds of the group that matter. */
static const char *kernel_name(struct maker *m, const struct op *fused) {
    char name[64] = "";
    size_t n = 0;
    for (const struct op *op = fused->regions[0]->first; op && n < 40; op = op->next)
        if (op->kind != OP_constant && !op_is(op->kind, 'V') && !strstr(name, op_info[op->kind].name))
            n += (size_t)snprintf(name + n, sizeof name - n, "%s%s", n ? "_" : "", op_info[op->kind].name);
    return arena_text(m->arena, "%s", n ? name : "copy");
}

/* The layers of a model are the same kernels: what tells them apart in the text, names of values and nodes, goes. */
static void forget_names(struct kernel *k) {
    int n = 0;
    for (struct buffer *b = k->args; b; b = b->next)
        b->name = arena_text(k->arena, "%s.%d", b->role == ROLE_IN ? "in" : "out", n++);
    k->origin = NULL;
}

static enum yj_status kernel_of(struct maker *m, const struct op *fused, const struct lower_place *places,
                                struct kernel **plain, int *number) {
    enum yj_status status = lower_op(m->kernels->arena, fused, "k", places, plain);
    if (status != YJ_OK) return report_in(status, "%s", op_where(fused));
    forget_names(*plain);
    struct text text = {0};
    kernel_print(&text, *plain);
    if (text.failed) return report(YJ_ERR_MEMORY, "out of memory");
    uint64_t hash = hash_bytes(text.data, text.n, 0);
    for (int i = 0; i < m->kernels->n; i++) {
        if (m->kernels->kernel[i].hash != hash) continue;
        struct text other = {0};
        kernel_print(&other, m->kernels->kernel[i].plain);
        bool same = !other.failed && other.n == text.n && !memcmp(other.data, text.data, text.n);
        text_free(&other);
        if (!same) continue;
        text_free(&text);
        *number = i;
        return YJ_OK;
    }
    text_free(&text);
    return add_kernel(m, *plain, hash, kernel_name(m, fused), number);
}

/* A result that is a state's new value goes where the old one lies, if it is a write into it that nobody reads later.
 */
static int in_place_operand(struct maker *m, const struct op *op, int result) {
    const struct state *s = state_of_output(m->g, op->out[result]);
    const struct graph *body = op->regions[0];
    if (!s || !body->out[result]->op || body->out[result]->op->kind != OP_update_slice) return -1;
    for (const struct op *later = op->next; later; later = later->next)
        for (int i = 0; i < later->n_in; i++)
            if (later->in[i] == s->in) return -1;
    const struct value *target = body->out[result]->op->in[0];
    for (int i = 0; i < op->n_in; i++)
        if (op->in[i] == s->in && body->in[i] == target) return i;
    return -1;
}

/* ---- what must hold of shapes, where it is not known at compile time: said once, before the first launch that needs
 * it */

static void require(struct maker *m, const struct op *op, dim value) {
    struct dim_table *t = m->g->dims;
    if (value->low >= 0 || dim_less(t, value, dim_const(t, 0)) == DIM_NO) return;
    value = plan_dim_of(m, value);
    for (int i = 0; i < m->block->n_steps; i++)
        if (m->block->steps[i].kind == PLAN_CHECK && m->block->steps[i].condition == value) return;
    int number;
    add_step(m, PLAN_CHECK, op, &number)->condition = value;
}

static void require_of_op(struct maker *m, const struct op *op) {
    struct dim_table *t = m->g->dims;
    int n;
    if (op->kind == OP_slice) {
        const dim *start = op_dims(op, "start", &n), *limit = op_dims(op, "limit", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, start[i]);
            require(m, op, dim_sub(t, limit[i], start[i]));
            require(m, op, dim_sub(t, op->in[0]->type.shape[i], limit[i]));
        }
    } else if (op->kind == OP_update_slice) {
        const dim *start = op_dims(op, "start", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, start[i]);
            require(m, op, dim_sub(t, op->in[0]->type.shape[i], dim_add(t, start[i], op->in[1]->type.shape[i])));
        }
    } else if (op->kind == OP_pad) {
        const dim *low = op_dims(op, "low", &n), *high = op_dims(op, "high", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, low[i]);
            require(m, op, high[i]);
        }
    } else if (op->kind == OP_reshape) {
        require(m, op, dim_sub(t, type_elements(t, &op->in[0]->type), type_elements(t, &op->out[0]->type)));
        require(m, op, dim_sub(t, type_elements(t, &op->out[0]->type), type_elements(t, &op->in[0]->type)));
    }
    for (int i = 0; i < op->n_out; i++)
        for (int d = 0; d < op->out[i]->type.rank; d++)
            require(m, op, op->out[i]->type.shape[d]);
    for (int r = 0; r < op->n_regions; r++)
        for (const struct op *inner = op->regions[r]->first; inner; inner = inner->next)
            require_of_op(m, inner);
}

static enum yj_status make_launch(struct maker *m, const struct op *op) {
    require_of_op(m, op);
    int n = op->n_in + op->n_out, kernel = -1, step = m->block->n_steps;
    struct lower_place *places = NEW_ARRAY(m->arena, struct lower_place, n + 1);
    bool placed = false;
    for (int i = 0; i < n; i++)
        places[i].in_place = -1;
    for (int i = 0; i < op->n_out; i++) {
        places[op->n_in + i].in_place = in_place_operand(m, op, i);
        placed |= places[op->n_in + i].in_place >= 0;
    }
    struct kernel *plain;
    TRY(kernel_of(m, op, placed ? places : NULL, &plain, &kernel));
    int *buffers = NEW_ARRAY(m->arena, int, n + 1);
    for (int i = 0; i < op->n_in; i++) {
        buffers[i] = buffer_of(m, op->in[i]);
        if (buffers[i] < 0)
            return report(YJ_ERR_INTERNAL, "%s: operand %%%s has no memory", op_where(op), op->in[i]->name);
    }
    for (int i = 0; i < op->n_out; i++) {
        int operand = places[op->n_in + i].in_place;
        if (operand >= 0)
            TRY(make_alias(m, op->out[i], buffers[operand]));
        else
            TRY(temp_for(m, op->out[i], step, &buffers[op->n_in + i]));
        buffers[op->n_in + i] = m->buffer_of[op->out[i]->id];
    }
    int number;
    struct plan_step *s = add_step(m, PLAN_LAUNCH, op, &number);
    s->kernel = kernel;
    s->n_buffers = n;
    s->buffers = buffers;
    s->n_dims = plain->n_dims;
    s->dims = NEW_ARRAY(m->arena, dim, plain->n_dims + 1);
    for (int i = 0; i < plain->n_dims; i++) {
        dim mine = NULL;
        for (int k = 0; k < m->p->n_dims; k++)
            if (same_name(m->p->dim[k].symbol, plain->dim_args[i])) mine = m->p->dim[k].symbol;
        if (!mine)
            return report(YJ_ERR_INTERNAL, "%s: the size '%s' is not known", op_where(op), plain->dim_args[i]->name);
        s->dims[i] = mine;
    }
    for (int i = 0; i < n; i++)
        use_buffer(m, buffers[i], number);
    return YJ_OK;
}

/* ---- collectives, binds, copies */

static enum plan_reduce reduce_of(const struct op *op) {
    const char *kind = op_text(op, "kind");
    return !kind || !strcmp(kind, "add") ? PLAN_ADD
           : !strcmp(kind, "mul")        ? PLAN_MUL
           : !strcmp(kind, "min")        ? PLAN_MIN
                                         : PLAN_MAX;
}

static enum yj_status make_collective(struct maker *m, const struct op *op) {
    int from = buffer_of(m, op->in[0]), to, number, split = (int)op_int(op, "dim", 0);
    const char *axis = op_text(op, "axis");
    if (op->kind == OP_all_to_all && (op_int(op, "split", 0) || op_int(op, "concat", 0)))
        return report(YJ_ERR_INTERNAL, "%s: it is not along the outermost dimension; the shard pass moves it there",
                      op_where(op));
    static const struct {
        enum op_kind kind;
        enum plan_collective collective;
    } names[] = {{OP_all_reduce, PLAN_ALL_REDUCE},
                 {OP_all_gather, PLAN_ALL_GATHER},
                 {OP_reduce_scatter, PLAN_REDUCE_SCATTER},
                 {OP_all_to_all, PLAN_ALL_TO_ALL}};
    if (op->kind != OP_all_reduce)
        for (int i = 0; i < split; i++)
            if (!dim_is(op->out[0]->type.shape[i], 1))
                return report(YJ_ERR_INTERNAL, "%s: dimension %d is not the outermost; the shard pass moves it there",
                              op_where(op), split);
    TRY(temp_for(m, op->out[0], m->block->n_steps, &to));
    m->p->buffers[to].space = PLAN_COMM;
    struct plan_step *s = add_step(m, PLAN_START, op, &number);
    s->queue = 1;
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].kind == op->kind) s->collective = names[i].collective;
    s->reduce = reduce_of(op);
    s->dtype = op->in[0]->type.dtype;
    s->axis = plan_axis(m->p, axis);
    s->request = m->n_requests++;
    s->n_buffers = 2;
    s->buffers = NEW_ARRAY(m->arena, int, 2);
    s->buffers[0] = to;
    s->buffers[1] = from;
    const struct type *counted = op->kind == OP_reduce_scatter ? &op->out[0]->type : &op->in[0]->type;
    s->count = plan_c(m, 1);
    for (int i = 0; i < counted->rank; i++)
        s->count = dim_mul(m->p->dims, s->count, plan_dim_of(m, counted->shape[i]));
    if (op->kind == OP_all_to_all)
        s->count = dim_div(m->p->dims, s->count, plan_c(m, mesh_size(m->g, axis))); /* of one part */
    m->request_of[op->out[0]->id] = s->request;
    m->start_of[s->request] = number;
    if (number > 0) { /* the queue of collectives follows the work that was put before it */
        s->n_after = 1;
        s->after = NEW(m->arena, int);
        s->after[0] = number - 1;
        if (m->block->steps[number - 1].queue == 1) s->n_after = 0;
    }
    use_buffer(m, from, number);
    use_buffer(m, to, number);
    return YJ_OK;
}

static enum yj_status make_wait(struct maker *m, const struct op *op) {
    int from = buffer_of(m, op->in[0]), number, request = m->request_of[op->in[0]->id];
    struct plan_step *s = add_step(m, PLAN_WAIT, op, &number);
    s->request = request;
    s->n_after = 1;
    s->after = NEW(m->arena, int);
    s->after[0] = m->start_of[request];
    use_buffer(m, from, number);
    const struct plan_step *start = &m->block->steps[m->start_of[request]];
    use_buffer(m, start->buffers[1], number);
    return make_alias(m, op->out[0], from);
}

static enum yj_status make_bind(struct maker *m, const struct op *op) {
    int number, n;
    const dim *symbols = op_dims(op, "symbols", &n);
    struct plan_step *s = add_step(m, PLAN_BIND, op, &number);
    s->dtype = op->in[0]->type.dtype;
    s->n_buffers = 1;
    s->buffers = NEW(m->arena, int);
    s->buffers[0] = buffer_of(m, op->in[0]);
    s->n_dims = n;
    s->dims = NEW_ARRAY(m->arena, dim, n + 1);
    for (int i = 0; i < n; i++)
        s->dims[i] = plan_dim_of(m, symbols[i]);
    use_buffer(m, s->buffers[0], number);
    return YJ_OK;
}

static enum yj_status make_op(struct maker *m, const struct op *op) {
    if (op_is(op->kind, 'C') && op->kind != OP_wait) return make_collective(m, op);
    switch (op->kind) {
    case OP_constant:
        return make_constant(m, op);
    case OP_reshape:
        require_of_op(m, op);
        return make_alias(m, op->out[0], buffer_of(m, op->in[0]));
    case OP_fused:
        return make_launch(m, op);
    case OP_wait:
        return make_wait(m, op);
    case OP_bind:
        return make_bind(m, op);
    case OP_if:
    case OP_loop:
        return report(YJ_ERR_UNSUPPORTED, "%s: control flow at run time is not compiled yet", op_where(op));
    default:
        return report(YJ_ERR_INTERNAL, "%s is in no group", op_where(op));
    }
}

/* New values of states that were not written in place. */
static enum yj_status make_state_copies(struct maker *m) {
    for (int i = 0; i < m->g->n_states; i++) {
        int to = m->p->states[i].buffer, from = buffer_of(m, m->g->states[i].out), number;
        if (plan_root(m->p, from) == to) continue;
        for (int d = 0; d < m->p->states[i].rank; d++)
            if (m->p->states[i].storage[d] != m->p->states[i].out[d])
                return report(YJ_ERR_UNSUPPORTED,
                              "state '%s' grows along dimension %d and is not written in place: not supported",
                              m->g->states[i].in->name, d);
        struct plan_step *s = add_step(m, PLAN_COPY, m->g->states[i].out->op, &number);
        s->n_buffers = 2;
        s->buffers = NEW_ARRAY(m->arena, int, 2);
        s->buffers[0] = to;
        s->buffers[1] = from;
        s->at = s->from = plan_c(m, 0);
        TRY(bytes_of(m, m->g->states[i].out, &s->count));
        use_buffer(m, from, number);
    }
    return YJ_OK;
}

static enum yj_status make_outputs(struct maker *m) {
    const struct graph *g = m->g;
    m->p->outputs = NEW_ARRAY(m->arena, struct plan_port, g->n_out + 1);
    for (int i = 0; i < g->n_out; i++) {
        const struct value *v = g->out[i];
        if (state_of_output(g, v)) continue;
        struct plan_port *port = &m->p->outputs[m->p->n_outputs++];
        *port = (struct plan_port){.name = arena_text(m->arena, "%s", g->out_names[i]),
                                   .buffer = buffer_of(m, v),
                                   .dtype = v->type.dtype,
                                   .rank = v->type.rank};
        for (int d = 0; d < v->type.rank; d++)
            port->shape[d] = plan_dim_of(m, v->type.shape[d]);
        use_buffer(m, port->buffer, m->block->n_steps > 0 ? m->block->n_steps - 1 : 0);
    }
    return YJ_OK;
}

static void make_nodes(struct maker *m) {
    const struct graph *g = m->g;
    bool *used = NEW_ARRAY(m->arena, bool, g->n_nodes + 1);
    for (int i = 0; i < m->block->n_steps; i++)
        for (int k = 0; k < m->block->steps[i].n_origin; k++)
            if (m->block->steps[i].origin[k] < g->n_nodes) used[m->block->steps[i].origin[k]] = true;
    m->p->node = NEW_ARRAY(m->arena, int, g->n_nodes + 1);
    m->p->node_names = NEW_ARRAY(m->arena, const char *, g->n_nodes + 1);
    for (int i = 0; i < g->n_nodes; i++)
        if (used[i]) {
            m->p->node[m->p->n_nodes] = i;
            m->p->node_names[m->p->n_nodes++] = g->node_names[i];
        }
}

enum yj_status plan_make(const struct graph *g, struct arena *arena, struct program_kernels *kernels,
                         struct weights *weights, struct planned *planned) {
    struct maker m = {
        .g = g, .arena = arena, .kernels = kernels, .weights = weights, .p = plan_new(arena), .placed = planned};
    if (!m.p) return report(YJ_ERR_MEMORY, "out of memory");
    int n = graph_number((struct graph *)g);
    *planned = (struct planned){.weight = NEW_ARRAY(arena, struct planned_weight, n + 1)};
    m.buffer_of = NEW_ARRAY(arena, int, n + 1);
    m.request_of = NEW_ARRAY(arena, int, n + 1);
    m.start_of = NEW_ARRAY(arena, int, n + 1);
    for (int i = 0; i < n; i++)
        m.buffer_of[i] = -1;
    m.p->mesh.n = g->mesh.n;
    for (int i = 0; i < g->mesh.n; i++) {
        m.p->mesh.name[i] = g->mesh.name[i];
        m.p->mesh.size[i] = g->mesh.size[i];
    }
    m.p->n_blocks = 1;
    m.p->blocks = NEW(arena, struct plan_block);
    m.block = m.p->blocks;
    m.block->name = "main";
    make_dims(&m);
    TRY(make_inputs(&m));
    TRY(make_states(&m));
    for (const struct op *op = g->first; op; op = op->next)
        TRY(make_op(&m, op));
    TRY(make_state_copies(&m));
    TRY(make_outputs(&m));
    make_nodes(&m);
    m.p->n_requests = m.n_requests;
    planned->plan = m.p;
    return YJ_OK;
}

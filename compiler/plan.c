/* SPDX-License-Identifier: Apache-2.0
 *
 * Graph to plan: a buffer for each value, a step for each op, lifetimes from the order of the list. Ops stand in the
 * order in which they run: the overlap pass has moved collectives, and memory is planned by the runtime when sizes are
 * known.
 */
#include "compiler/plan_inside.h"

/* ---- collectives, binds, copies */

static enum plan_reduce reduce_of(const struct op *op) {
    const char *kind = op_text(op, "kind");
    return !kind || !strcmp(kind, "add") ? PLAN_ADD
           : !strcmp(kind, "mul")        ? PLAN_MUL
           : !strcmp(kind, "min")        ? PLAN_MIN
                                         : PLAN_MAX;
}

static enum yj_status make_collective(struct maker *m, const struct op *op) {
    int from = maker_buffer_of(m, op->in[0]), to, number, split = (int)op_int(op, "dim", 0);
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
    TRY(maker_temp(m, op->out[0], m->block->n_steps, &to));
    m->p->buffers[to].space = PLAN_COMM;
    struct plan_step *s = maker_step(m, PLAN_START, op, &number);
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
    s->count = maker_const(m, 1);
    for (int i = 0; i < counted->rank; i++)
        s->count = dim_mul(m->p->dims, s->count, maker_dim(m, counted->shape[i]));
    if (op->kind == OP_all_to_all)
        s->count = dim_div(m->p->dims, s->count, maker_const(m, mesh_size(m->g, axis))); /* of one part */
    m->request_of[op->out[0]->id] = s->request;
    m->start_of[s->request] = number;
    if (number > 0) { /* the queue of collectives follows the work that was put before it */
        s->n_after = 1;
        s->after = NEW(m->arena, int);
        s->after[0] = number - 1;
        if (m->block->steps[number - 1].queue == 1) s->n_after = 0;
    }
    maker_use(m, from, number);
    maker_use(m, to, number);
    return YJ_OK;
}

static enum yj_status make_wait(struct maker *m, const struct op *op) {
    int from = maker_buffer_of(m, op->in[0]), number, request = m->request_of[op->in[0]->id];
    struct plan_step *s = maker_step(m, PLAN_WAIT, op, &number);
    s->request = request;
    s->n_after = 1;
    s->after = NEW(m->arena, int);
    s->after[0] = m->start_of[request];
    maker_use(m, from, number);
    const struct plan_step *start = &m->block->steps[m->start_of[request]];
    maker_use(m, start->buffers[1], number);
    return maker_alias(m, op->out[0], from);
}

static enum yj_status make_bind(struct maker *m, const struct op *op) {
    int number, n;
    const dim *symbols = op_dims(op, "symbols", &n);
    struct plan_step *s = maker_step(m, PLAN_BIND, op, &number);
    s->dtype = op->in[0]->type.dtype;
    s->n_buffers = 1;
    s->buffers = NEW(m->arena, int);
    s->buffers[0] = maker_buffer_of(m, op->in[0]);
    s->n_dims = n;
    s->dims = NEW_ARRAY(m->arena, dim, n + 1);
    for (int i = 0; i < n; i++)
        s->dims[i] = maker_dim(m, symbols[i]);
    maker_use(m, s->buffers[0], number);
    return YJ_OK;
}

enum yj_status maker_op(struct maker *m, const struct op *op) {
    if (op_is(op->kind, 'C') && op->kind != OP_wait) return make_collective(m, op);
    switch (op->kind) {
    case OP_constant:
        return maker_weight(m, op);
    case OP_reshape:
        TRY(maker_require(m, op));
        return maker_alias(m, op->out[0], maker_buffer_of(m, op->in[0]));
    case OP_fused:
        return maker_launch(m, op);
    case OP_wait:
        return make_wait(m, op);
    case OP_bind:
        return make_bind(m, op);
    case OP_if:
        return maker_if(m, op);
    case OP_loop:
        return maker_loop(m, op);
    default:
        return report(YJ_ERR_INTERNAL, "%s is in no group", op_where(op));
    }
}

/* New values of states that were not written in place. */
static enum yj_status make_state_copies(struct maker *m) {
    for (int i = 0; i < m->g->n_states; i++) {
        int to = m->p->states[i].buffer, from = maker_buffer_of(m, m->g->states[i].out), number;
        if (plan_root(m->p, from) == to) continue;
        for (int d = 0; d < m->p->states[i].rank; d++)
            if (m->p->states[i].storage[d] != m->p->states[i].out[d])
                return report(YJ_ERR_UNSUPPORTED,
                              "state '%s' grows along dimension %d and is not written in place: not supported",
                              m->g->states[i].in->name, d);
        struct plan_step *s = maker_step(m, PLAN_COPY, m->g->states[i].out->op, &number);
        s->n_buffers = 2;
        s->buffers = NEW_ARRAY(m->arena, int, 2);
        s->buffers[0] = to;
        s->buffers[1] = from;
        s->at = s->from = maker_const(m, 0);
        TRY(maker_bytes(m, m->g->states[i].out, &s->count));
        maker_use(m, from, number);
    }
    return YJ_OK;
}

static enum yj_status make_outputs(struct maker *m) {
    const struct graph *g = m->g;
    m->p->outputs = NEW_ARRAY(m->arena, struct plan_port, g->n_out + 1);
    for (int i = 0; i < g->n_out; i++) {
        const struct value *v = g->out[i];
        if (maker_state_of_output(g, v)) continue;
        struct plan_port *port = &m->p->outputs[m->p->n_outputs++];
        *port = (struct plan_port){.name = arena_text(m->arena, "%s", g->out_names[i]),
                                   .buffer = maker_buffer_of(m, v),
                                   .dtype = v->type.dtype,
                                   .rank = v->type.rank};
        for (int d = 0; d < v->type.rank; d++)
            port->shape[d] = maker_dim(m, v->type.shape[d]);
        maker_use(m, port->buffer, m->block->n_steps > 0 ? m->block->n_steps - 1 : 0);
    }
    return YJ_OK;
}

static void make_nodes(struct maker *m) {
    const struct graph *g = m->g;
    bool *used = NEW_ARRAY(m->arena, bool, g->n_nodes + 1);
    for (int b = 0; b < m->p->n_blocks; b++)
        for (int i = 0; i < m->p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &m->p->blocks[b].steps[i];
            for (int k = 0; k < s->n_origin; k++)
                if (s->origin[k] < g->n_nodes) used[s->origin[k]] = true;
        }
    m->p->node = NEW_ARRAY(m->arena, int, g->n_nodes + 1);
    m->p->node_names = NEW_ARRAY(m->arena, const char *, g->n_nodes + 1);
    for (int i = 0; i < g->n_nodes; i++)
        if (used[i]) {
            m->p->node[m->p->n_nodes] = i;
            m->p->node_names[m->p->n_nodes++] = g->node_names[i];
        }
}

/* Regions that become blocks. */
static int count_regions(const struct graph *g) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next)
        for (int r = 0; r < op->n_regions && op->kind != OP_fused; r++)
            n += 1 + count_regions(op->regions[r]);
    return n;
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
    m.n_values = n;
    m.place = NEW_ARRAY(arena, int, n + 1);
    for (int i = 0; i < n; i++)
        m.buffer_of[i] = m.place[i] = -1;
    m.p->mesh.n = g->mesh.n;
    for (int i = 0; i < g->mesh.n; i++) {
        m.p->mesh.name[i] = g->mesh.name[i];
        m.p->mesh.size[i] = g->mesh.size[i];
    }
    m.p->n_blocks = 1;
    int n_blocks = 1 + count_regions(g);
    m.p->blocks = NEW_ARRAY(arena, struct plan_block, n_blocks);
    m.up = NEW_ARRAY(arena, struct maker_block, n_blocks);
    m.block = m.p->blocks;
    m.block->name = "main";
    maker_dims(&m);
    TRY(maker_inputs(&m));
    TRY(maker_states(&m));
    for (const struct op *op = g->first; op; op = op->next)
        TRY(maker_op(&m, op));
    TRY(make_state_copies(&m));
    TRY(make_outputs(&m));
    make_nodes(&m);
    m.p->n_requests = m.n_requests;
    planned->plan = m.p;
    return YJ_OK;
}
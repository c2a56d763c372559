/* SPDX-License-Identifier: Apache-2.0
 *
 * Control flow: a region becomes a block. Predicates and trip counts are bound from small buffers. What a region gives
 * lies in a buffer of the block around it: the sides of an `if` write or copy there; a loop's carried value has one
 * buffer, filled before the first turn and at the end of each, so a loop that never turns gives what it was given.
 * Values that a loop carries unchanged are names for its operands; rows of stacked results are copied to their place.
 */
#include "compiler/plan_inside.h"
#include "ir/graph_inside.h"

#define MOST_TURNS (INT64_C(1) << 62) /* of a loop whose trip count is no limit */

/* --- blocks --- */

/* Steps are now added to a new block, which the next step of the present one runs. Returns its number. */
static int enter(struct maker *m, const struct op *op, const struct graph *region) {
    int number = m->p->n_blocks++;
    const char *name = op->n_out ? op->out[0]->name : op_info[op->kind].name;
    m->p->blocks[number].name = arena_text(m->arena, "%s.%s", name, region->name);
    m->up[number] = (struct maker_block){m->at, m->block->n_steps, 0};
    m->at = number;
    m->block = &m->p->blocks[number];
    return number;
}

static void leave(struct maker *m) {
    m->at = m->up[m->at].user;
    m->block = &m->p->blocks[m->at];
}

static enum yj_status make_ops(struct maker *m, const struct graph *region) {
    for (const struct op *op = region->first; op; op = op->next)
        TRY(maker_op(m, op));
    return YJ_OK;
}

/* --- scalars that steer --- */

/* V is a constant scalar, perhaps under another shape. */
static bool known_scalar(const struct value *v, int64_t *x) {
    while (v->op && v->op->kind == OP_reshape)
        v = v->op->in[0];
    if (!v->op || v->op->kind != OP_constant || !v->op->data.bytes || op_attr(v->op, "split")) return false;
    *x = (int64_t)element_load(v->op->data.bytes, v->type.dtype, 0);
    return true;
}

static enum yj_status bind_scalar(struct maker *m, const struct op *op, const struct value *v, dim symbol) {
    int number, from = maker_buffer_of(m, v);
    if (from < 0) return report(YJ_ERR_INTERNAL, "%s: operand %%%s has no memory", op_where(op), v->name);
    struct plan_step *s = maker_step(m, PLAN_BIND, op, &number);
    s->dtype = v->type.dtype;
    s->n_buffers = s->n_dims = 1;
    s->buffers = NEW(m->arena, int);
    s->buffers[0] = from;
    s->dims = NEW(m->arena, dim);
    s->dims[0] = symbol;
    maker_use(m, from, number);
    return YJ_OK;
}

/* --- results --- */

/* Bytes of V as large as it is now. */
static dim bytes_now(struct maker *m, const struct value *v) {
    dim n = maker_const(m, (int64_t)yj_dtype_bytes(v->type.dtype));
    for (int i = 0; i < v->type.rank; i++)
        n = dim_mul(m->p->dims, n, maker_dim(m, v->type.shape[i]));
    return n;
}

static void add_copy(struct maker *m, const struct op *op, int to, dim at, int from, dim bytes) {
    int number;
    struct plan_step *s = maker_step(m, PLAN_COPY, op, &number);
    s->n_buffers = 2;
    s->buffers = NEW_ARRAY(m->arena, int, 2);
    s->buffers[0] = to;
    s->buffers[1] = from;
    s->at = at;
    s->from = maker_const(m, 0);
    s->count = bytes;
    maker_use(m, to, number);
    maker_use(m, from, number);
}

static enum yj_status result_buffer(struct maker *m, const struct op *op, const struct value *v, int *buffer) {
    *buffer = maker_buffer_of(m, v);
    return *buffer >= 0
               ? YJ_OK
               : report(YJ_ERR_INTERNAL, "%s: %%%s, which a region gives, has no memory", op_where(op), v->name);
}

static bool given_twice(const struct graph *region, const struct value *v) {
    int n = 0;
    for (int i = 0; i < region->n_out; i++) {
        const struct value *out = region->out[i];
        while (out->op && out->op->kind == OP_reshape)
            out = out->op->in[0];
        n += out == v;
    }
    return n > 1;
}

/* Result I of REGION is made where it belongs, in TO, if an op of the region makes it and of nothing else. */
static enum yj_status place_result(struct maker *m, const struct graph *region, int i, int to) {
    const struct value *v = region->out[i];
    dim bytes;
    while (v->op && v->op->kind == OP_reshape)
        v = v->op->in[0];
    if (!v->op || v->op->kind == OP_constant || given_twice(region, v)) return YJ_OK;
    TRY(maker_bytes(m, v, &bytes));
    if (bytes == m->p->buffers[to].bytes) m->place[v->id] = to;
    return YJ_OK;
}

/* --- if --- */

static enum yj_status make_side(struct maker *m, const struct op *op, const struct graph *region, int *block) {
    for (int i = 0; i < region->n_in; i++)
        m->buffer_of[region->in[i]->id] = maker_buffer_of(m, op->in[1 + i]);
    *block = enter(m, op, region);
    for (int i = 0; i < region->n_out; i++)
        TRY(place_result(m, region, i, maker_buffer_of(m, op->out[i])));
    TRY(make_ops(m, region));
    for (int i = 0; i < region->n_out; i++) {
        int from, to = maker_buffer_of(m, op->out[i]);
        TRY(result_buffer(m, op, region->out[i], &from));
        if (plan_root(m->p, from) != plan_root(m->p, to))
            add_copy(m, op, to, maker_const(m, 0), from, bytes_now(m, region->out[i]));
    }
    leave(m);
    return YJ_OK;
}

enum yj_status maker_if(struct maker *m, const struct op *op) {
    int sides[2], number, buffer;
    dim condition = maker_new_dim(m, "if", 0, 1);
    TRY(bind_scalar(m, op, op->in[0], condition));
    for (int i = 0; i < op->n_out; i++)
        TRY(maker_temp(m, op->out[i], m->block->n_steps, &buffer));
    for (int i = 0; i < 2; i++)
        TRY(make_side(m, op, op->regions[i], &sides[i]));
    struct plan_step *s = maker_step(m, PLAN_BRANCH, op, &number);
    s->condition = condition;
    s->block = sides[0];
    s->otherwise = sides[1];
    for (int i = 0; i < op->n_out; i++)
        maker_use(m, maker_buffer_of(m, op->out[i]), number);
    return YJ_OK;
}

/* --- loop --- */

struct looping {
    const struct op *op;
    const struct graph *body;
    int carried;
    dim index, turns, trips, condition; /* of the plan; NULL: none */
};

static bool is_unchanged(const struct looping *l, int i) {
    return l->body->out[1 + i] == l->body->in[1 + i];
}

static enum yj_status find_trips(struct maker *m, struct looping *l) {
    int64_t most, go;
    int n;
    const struct op *op = l->op;
    const dim *index = op_dims(op, "index", &n), *length = op_dims(op, "length", &n);
    l->index = index ? maker_dim(m, index[0]) : NULL;
    if (!index && (value_uses(l->body, l->body->in[0]) || length))
        return report(YJ_ERR_INTERNAL, "%s: no dim counts its turns; the pass fold makes one", op_where(op));
    if (known_scalar(op->in[0], &most)) {
        l->trips = maker_const(m, min64(most, MOST_TURNS));
    } else {
        l->trips = maker_new_dim(m, "trips", -MOST_TURNS, MOST_TURNS);
        TRY(bind_scalar(m, op, op->in[0], l->trips));
    }
    bool always = known_scalar(l->body->out[0], &go) && go && known_scalar(op->in[1], &go) && go;
    if (always) return YJ_OK;
    l->condition = maker_new_dim(m, "while", 0, 1);
    return bind_scalar(m, op, op->in[1], l->condition);
}

/* Buffers of the results; carried values enter. */
static enum yj_status begin(struct maker *m, const struct looping *l) {
    int buffer;
    for (int i = 0; i < l->op->n_out; i++) {
        const struct value *from = i < l->carried ? l->op->in[2 + i] : NULL;
        if (from && is_unchanged(l, i)) {
            TRY(result_buffer(m, l->op, from, &buffer));
            TRY(maker_alias(m, l->op->out[i], buffer));
        } else {
            TRY(maker_temp(m, l->op->out[i], m->block->n_steps, &buffer));
        }
        if (from) m->buffer_of[l->body->in[1 + i]->id] = maker_buffer_of(m, l->op->out[i]);
        if (!from || is_unchanged(l, i)) continue;
        int given;
        TRY(result_buffer(m, l->op, from, &given));
        add_copy(m, l->op, buffer, maker_const(m, 0), given, bytes_now(m, from));
    }
    return YJ_OK;
}

/* A row of each stacked result goes to its place. */
static enum yj_status stack_rows(struct maker *m, const struct looping *l) {
    for (int i = l->carried; i < l->op->n_out; i++) {
        const struct value *row = l->body->out[1 + i];
        int from;
        dim bytes = bytes_now(m, row);
        TRY(result_buffer(m, l->op, row, &from));
        add_copy(m, l->op, maker_buffer_of(m, l->op->out[i]), dim_mul(m->p->dims, l->index, bytes), from, bytes);
    }
    return YJ_OK;
}

/* The new carried values take the places of the old ones: those that are old ones themselves are put aside first. */
static enum yj_status carry(struct maker *m, const struct looping *l) {
    int *from = NEW_ARRAY(m->arena, int, l->carried + 1);
    for (int i = 0; i < l->carried; i++) {
        const struct value *v = l->body->out[1 + i];
        int to = plan_root(m->p, maker_buffer_of(m, l->op->out[i]));
        TRY(result_buffer(m, l->op, v, &from[i]));
        bool old = false;
        for (int j = 0; j < l->carried; j++)
            old |=
                !is_unchanged(l, j) && plan_root(m->p, from[i]) == plan_root(m->p, maker_buffer_of(m, l->op->out[j]));
        if (is_unchanged(l, i) || plan_root(m->p, from[i]) == to) {
            from[i] = -1;
        } else if (old) {
            int aside;
            TRY(maker_aside(m, v, &aside));
            add_copy(m, l->op, aside, maker_const(m, 0), from[i], bytes_now(m, v));
            from[i] = aside;
        }
    }
    for (int i = 0; i < l->carried; i++)
        if (from[i] >= 0)
            add_copy(m, l->op, maker_buffer_of(m, l->op->out[i]), maker_const(m, 0), from[i],
                     bytes_now(m, l->body->out[1 + i]));
    return YJ_OK;
}

static enum yj_status make_turn(struct maker *m, const struct looping *l, int *block) {
    int64_t fixed;
    const struct graph *around = m->body;
    *block = enter(m, l->op, l->body);
    m->body = l->body;
    TRY(make_ops(m, l->body));
    m->body = around;
    if (l->condition && !(known_scalar(l->body->out[0], &fixed) && fixed))
        TRY(bind_scalar(m, l->op, l->body->out[0], l->condition));
    TRY(stack_rows(m, l));
    TRY(carry(m, l));
    leave(m);
    return YJ_OK;
}

/* A bind, or another loop, gives SYMBOL. */
static bool given_elsewhere(const struct graph *g, const struct op *loop, dim symbol) {
    for (const struct op *op = g->first; op; op = op->next) {
        int n;
        const dim *symbols = op->kind == OP_bind                 ? op_dims(op, "symbols", &n)
                             : op->kind == OP_loop && op != loop ? op_dims(op, "length", &n)
                                                                 : NULL;
        for (int i = 0; symbols && i < n; i++)
            if (symbols[i] == symbol) return true;
        for (int r = 0; r < op->n_regions && op->kind != OP_fused; r++)
            if (given_elsewhere(op->regions[r], loop, symbol)) return true;
    }
    return false;
}

/* Stacked results have one row a turn. True: their length is known before, to be compared with the number of turns. */
static bool find_length(struct maker *m, struct looping *l, dim *said) {
    int n;
    const dim *length = op_dims(l->op, "length", &n);
    if (!length) return false;
    *said = maker_dim(m, length[0]);
    bool born = maker_dim_kind(m, *said) == PLAN_DIM_BORN && !given_elsewhere(m->g, l->op, length[0]);
    if (!born && !l->condition && *said == l->trips) return false;
    l->turns = born ? *said : maker_new_dim(m, "turns", 0, min64((*said)->high, INT64_MAX - 1));
    return !born;
}

enum yj_status maker_loop(struct maker *m, const struct op *op) {
    struct looping l = {.op = op, .body = op->regions[0], .carried = op->n_in - 2};
    int block, number;
    dim length;
    TRY(find_trips(m, &l));
    bool compare = find_length(m, &l, &length);
    TRY(begin(m, &l));
    TRY(make_turn(m, &l, &block));
    struct plan_step *s = maker_step(m, PLAN_CALL, op, &number);
    s->block = block;
    s->index = l.index;
    s->turns = l.turns;
    s->trips = l.trips;
    s->condition = l.condition;
    for (int i = 0; i < op->n_out; i++)
        maker_use(m, maker_buffer_of(m, op->out[i]), number);
    for (int i = 2; i < op->n_in; i++)
        if (is_unchanged(&l, i - 2)) maker_use(m, maker_buffer_of(m, op->in[i]), number);
    if (compare) maker_require_dim(m, op, dim_sub(m->p->dims, l.turns, length));
    if (compare) maker_require_dim(m, op, dim_sub(m->p->dims, length, l.turns));
    return YJ_OK;
}

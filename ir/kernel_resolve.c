/* SPDX-License-Identifier: Apache-2.0
 *
 * Prepares a kernel for kernel_eval: every let and axis gets a slot, every buffer its memory and shadow memory, every
 * expression a function that gives its value, so that running it looks nothing up.
 */
#include "ir/kernel_eval.h"

/* --- resolving: names to slots, buffers to memory --- */

static struct node *new_node(struct run *r, uint64_t (*value)(struct run *, const struct node *), int n) {
    struct node *node = arena_new(r->arena, sizeof *node + (size_t)n * sizeof node->arg[0]);
    node->value = value;
    node->n = n;
    return node;
}

static int resolve_slot(struct run *r, const void *what) {
    intptr_t slot = (intptr_t)map_get(&r->slots, what);
    if (!slot) map_set(&r->slots, what, (void *)(slot = ++r->n_slots));
    return (int)slot - 1;
}

static struct node *resolve_dim(struct run *r, dim d) {
    struct node *n = new_node(r, d->op == DIM_CONST ? node_const : d->op == DIM_SYMBOL ? node_slot : node_dim, 2);
    if (d->op == DIM_CONST)
        n->constant = (uint64_t)d->value;
    else if (d->op == DIM_SYMBOL)
        n->slot = resolve_slot(r, d);
    else {
        n->op = (enum scalar_op)d->op;
        n->arg[0] = resolve_dim(r, d->a);
        n->arg[1] = resolve_dim(r, d->b);
    }
    return n;
}

static uint64_t const_bits(const struct expr *e) {
    if (dtype_kind(e->dtype) != 'f') return scalar_cast(e->dtype, YJ_I64, (uint64_t)e->constant.i);
    uint64_t bits;
    memcpy(&bits, &e->constant.f, sizeof bits);
    return scalar_cast(e->dtype, YJ_F64, bits);
}

static struct node *resolve_expr(struct run *r, const struct expr *e);

static struct node **resolve_exprs(struct run *r, int n, struct expr *const *e) {
    struct node **nodes = NEW_ARRAY(r->arena, struct node *, n ? n : 1);
    for (int i = 0; i < n; i++)
        nodes[i] = resolve_expr(r, e[i]);
    return nodes;
}

static struct node *resolve_expr(struct run *r, const struct expr *e) {
    if (!e) return NULL;
    if (e->kind == EXPR_DIM) return resolve_dim(r, e->dim);
    struct node *n = new_node(r, node_op, e->n);
    n->op = e->op;
    n->dtype = e->dtype;
    if (e->n) n->from = e->arg[e->kind == EXPR_OP && e->op == SCALAR_select]->dtype;
    for (int i = 0; i < e->n; i++)
        n->arg[i] = resolve_expr(r, e->arg[i]);
    if (e->kind == EXPR_CONST) n->value = node_const, n->constant = const_bits(e);
    if (e->kind == EXPR_LET) n->value = node_slot, n->slot = resolve_slot(r, e->let);
    if (e->kind == EXPR_LOAD) n->value = node_load, n->memory = map_get(&r->memories, e->buffer);
    if (e->kind == EXPR_CAST) n->value = node_cast;
    if (e->kind == EXPR_BITCAST) n->value = node_same;
    if (e->kind == EXPR_OP && e->dtype == YJ_F32 && e->op == SCALAR_add) n->value = node_add_f32;
    if (e->kind == EXPR_OP && e->dtype == YJ_F32 && e->op == SCALAR_mul) n->value = node_mul_f32;
    return n;
}

static struct memory *resolve_buffer(struct run *r, const struct buffer *b) {
    struct memory *m = NEW(r->arena, struct memory);
    m->b = b;
    m->n = 1;
    m->each = yj_dtype_bytes(b->dtype);
    for (int i = 0; i < b->rank; i++) {
        struct node *extent = resolve_dim(r, b->shape[i]);
        m->extent[i] = (int64_t)extent->value(r, extent);
        if (m->extent[i] < 0 || __builtin_mul_overflow(m->n, m->extent[i], &m->n) || m->n > INT64_C(1) << 40)
            run_stop(r, YJ_ERR_INPUT, "%s has no usable shape", b->name);
    }
    int64_t copies = b->space == SPACE_REG ? max64(1, r->n_lanes) : 1, n = m->n * copies;
    if (b->space == SPACE_GLOBAL) {
        m->data = r->buffer[b->index];
        if (b->role != ROLE_IN && r->random) m->tile = NEW_ARRAY(r->arena, uint32_t, n + 1);
    } else {
        m->data = arena_new(r->arena, (size_t)n * m->each + 1);
        m->state = arena_new(r->arena, (size_t)n + 1);
        if (b->space == SPACE_SHARED && r->n_lanes) m->touch = NEW_ARRAY(r->arena, struct touch, n + 1);
    }
    map_set(&r->memories, b, m);
    return m;
}

static struct code *resolve_body(struct run *r, const struct stmt *body);

static void resolve_copy(struct run *r, struct code *c) {
    const struct stmt *s = c->s;
    c->source_memory = map_get(&r->memories, s->value->buffer);
    c->source = resolve_exprs(r, s->value->n, s->value->arg);
    c->extents = NEW_ARRAY(r->arena, struct node *, s->n_subs + 1);
    for (int i = 0; i < s->n_subs; i++)
        c->extents[i] = resolve_dim(r, s->extents[i]);
}

static struct code *resolve_stmt(struct run *r, const struct stmt *s) {
    struct code *c = NEW(r->arena, struct code);
    c->s = s;
    if (s->kind == STMT_BUFFER) resolve_buffer(r, s->buffer);
    if (s->buffer) c->memory = map_get(&r->memories, s->buffer);
    if (s->kind == STMT_LOOP || s->kind == STMT_REDUCE) {
        c->from = resolve_dim(r, s->from);
        c->to = resolve_dim(r, s->to);
        c->slot = resolve_slot(r, s->axis);
    }
    if (s->kind == STMT_COPY)
        resolve_copy(r, c);
    else if (s->kind != STMT_PREFETCH)
        c->value = resolve_expr(r, s->value);
    c->fault_value = resolve_expr(r, s->fault_value);
    c->subs = resolve_exprs(r, s->n_subs, s->subs);
    if (s->kind == STMT_LET) c->slot = resolve_slot(r, s);
    if (s->kind == STMT_REDUCE) {
        c->tile_slot[0] = resolve_slot(r, s);
        c->neutral = resolve_expr(r, expr_neutral(r->own, s->op, s->value->dtype))->constant;
    }
    struct expr *loads[3] = {s->c, s->a, s->b};
    for (int i = 0; i < 3 && s->kind == STMT_FMA_TILE; i++) {
        c->load[i] = resolve_expr(r, loads[i]);
        c->tile_slot[i] = resolve_slot(r, s->tile_axis[i]);
    }
    c->body = resolve_body(r, s->body);
    c->has_barrier = s->kind == STMT_BARRIER;
    for (struct code *b = c->body; b; b = b->next)
        c->has_barrier |= b->has_barrier;
    return c;
}

static struct code *resolve_body(struct run *r, const struct stmt *body) {
    struct code *first = NULL, **end = &first;
    for (const struct stmt *s = body; s; s = s->next) {
        *end = resolve_stmt(r, s);
        end = &(*end)->next;
    }
    return first;
}

static void count_lanes(void *user, struct stmt *s) {
    struct run *r = user;
    int64_t n = 1;
    if (s->kind == STMT_LOOP && s->axis_kind == AXIS_LANE && dim_is_const(dim_sub(r->k->dims, s->to, s->from), &n))
        r->n_lanes = (int)(max64(1, r->n_lanes) * n);
}

struct code *run_resolve(struct run *r) {
    const struct kernel *k = r->k;
    r->own = kernel_new(r->arena, "");
    kernel_walk(k->body, count_lanes, r);
    for (int i = 0; i < k->n_dims; i++) {
        struct node *n = resolve_dim(r, k->dim_args[i]);
        r->slot[n->slot] = (uint64_t)r->scalar[i];
    }
    for (const struct buffer *b = k->args; b; b = b->next)
        resolve_buffer(r, b);
    return resolve_body(r, k->body);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies kernels and parts of them. One copier serves three callers: into another kernel (names stay, dims move to its
 * table), beside the original (declarations get fresh names), and substitution of one symbol in one expression.
 */
#include "ir/kernel.h"
#include "ir/map.h"

struct copier {
    struct kernel *k; /* receives the copy */
    bool other;       /* the original belongs to another kernel: dims are copied, names are kept */
    struct map moved; /* buffer -> buffer, let -> let */
    int n, room;      /* symbols replaced, in this order */
    struct change {
        dim symbol, by;
    } * change;
};

static void change_add(struct copier *c, dim symbol, dim by) {
    if (c->n == c->room) {
        int room = c->room ? c->room * 2 : 8;
        struct change *bigger = NEW_ARRAY(c->k->arena, struct change, room);
        if (c->n) memcpy(bigger, c->change, (size_t)c->n * sizeof *bigger);
        c->change = bigger;
        c->room = room;
    }
    c->change[c->n++] = (struct change){symbol, by};
}

static dim copy_dim(struct copier *c, dim d) {
    if (!d) return NULL;
    if (c->other) return dim_copy(c->k->dims, d);
    for (int i = 0; i < c->n; i++)
        if (dim_contains(d, c->change[i].symbol))
            d = dim_substitute(c->k->dims, d, c->change[i].symbol, c->change[i].by);
    return d;
}

/* A shared part stays shared inside one kernel when nothing in it changes. */
static struct expr *copy_expr(struct copier *c, struct expr *e) {
    if (!e) return NULL;
    struct expr *copy = arena_new(c->k->arena, sizeof *copy + (size_t)e->n * sizeof copy->arg[0]);
    *copy = *e;
    bool changed = c->other;
    for (int i = 0; i < e->n; i++) {
        copy->arg[i] = copy_expr(c, e->arg[i]);
        changed |= copy->arg[i] != e->arg[i];
    }
    if (e->dim) changed |= (copy->dim = copy_dim(c, e->dim)) != e->dim;
    void *buffer = e->buffer ? map_get(&c->moved, e->buffer) : NULL, *let = e->let ? map_get(&c->moved, e->let) : NULL;
    if (buffer) copy->buffer = buffer;
    if (let) copy->let = let;
    return changed || buffer || let ? copy : e;
}

static struct buffer *copy_buffer(struct copier *c, struct cursor *at, const struct buffer *b) {
    dim shape[KERNEL_MAX_RANK];
    for (int i = 0; i < b->rank; i++)
        shape[i] = copy_dim(c, b->shape[i]);
    struct buffer *copy = at ? stmt_buffer(c->k, at, b->space, b->name, b->dtype, b->rank, shape)
                             : kernel_arg(c->k, b->role, b->name, b->dtype, b->rank, shape);
    map_set(&c->moved, b, copy);
    return copy;
}

/* Inside one kernel an axis gets a fresh symbol; in another kernel it is the symbol of the same name. */
static dim copy_axis(struct copier *c, dim axis, dim from, dim to) {
    if (c->other) {
        dim copy = dim_copy(c->k->dims, axis);
        kernel_claim_name(c->k, copy->name);
        return copy;
    }
    dim fresh = kernel_axis(c->k, axis->name, from, to);
    change_add(c, axis, fresh);
    return fresh;
}

static struct buffer *moved_buffer(struct copier *c, struct buffer *b) {
    struct buffer *to = map_get(&c->moved, b);
    return to ? to : b;
}

static struct expr **copy_subs(struct copier *c, const struct stmt *s) {
    struct expr **subs = NEW_ARRAY(c->k->arena, struct expr *, s->n_subs ? s->n_subs : 1);
    for (int i = 0; i < s->n_subs; i++)
        subs[i] = copy_expr(c, s->subs[i]);
    return subs;
}

static void copy_body(struct copier *c, struct cursor *at, const struct stmt *body);

static void copy_loop(struct copier *c, struct cursor *at, const struct stmt *s) {
    dim from = copy_dim(c, s->from), to = copy_dim(c, s->to);
    struct stmt *loop = stmt_loop(c->k, at, s->axis_kind, copy_axis(c, s->axis, from, to), from, to, s->step);
    struct cursor inner = kernel_at(&loop->body);
    copy_body(c, &inner, s->body);
}

static void copy_reduce(struct copier *c, struct cursor *at, const struct stmt *s) {
    dim from = copy_dim(c, s->from), to = copy_dim(c, s->to), axis = copy_axis(c, s->axis, from, to);
    struct expr *value = copy_expr(c, s->value);
    map_set(&c->moved, s, stmt_reduce(c->k, at, s->name, s->op, s->lanes, axis, from, to, value)->let);
}

static void copy_fma_tile(struct copier *c, struct cursor *at, const struct stmt *s) {
    dim axis[3];
    for (int i = 0; i < 3; i++) {
        dim zero = dim_const(c->k->dims, 0), extent = dim_const(c->k->dims, s->tile_extent[i]);
        axis[i] = copy_axis(c, s->tile_axis[i], zero, extent);
    }
    struct expr *sum = copy_expr(c, s->c), *a = copy_expr(c, s->a), *b = copy_expr(c, s->b);
    stmt_fma_tile(c->k, at, axis, s->tile_extent, sum, a, b);
}

static void copy_async(struct copier *c, struct cursor *at, const struct stmt *s) {
    dim subs[KERNEL_MAX_RANK], extents[KERNEL_MAX_RANK];
    for (int i = 0; i < s->n_subs; i++) {
        subs[i] = copy_dim(c, s->subs[i]->dim);
        extents[i] = copy_dim(c, s->extents[i]);
    }
    stmt_copy(c->k, at, s->tag, moved_buffer(c, s->buffer), subs, copy_expr(c, s->value), extents);
}

static void copy_stmt(struct copier *c, struct cursor *at, const struct stmt *s) {
    switch (s->kind) {
    case STMT_LOOP:
        copy_loop(c, at, s);
        return;
    case STMT_IF: {
        struct stmt *copy = stmt_if(c->k, at, copy_expr(c, s->value));
        struct cursor inner = kernel_at(&copy->body);
        copy_body(c, &inner, s->body);
        return;
    }
    case STMT_BUFFER:
        copy_buffer(c, at, s->buffer);
        return;
    case STMT_LET:
        map_set(&c->moved, s, stmt_let(c->k, at, s->name, copy_expr(c, s->value))->let);
        return;
    case STMT_STORE:
        stmt_store(c->k, at, moved_buffer(c, s->buffer), s->n_subs, copy_subs(c, s), copy_expr(c, s->value));
        return;
    case STMT_REDUCE:
        copy_reduce(c, at, s);
        return;
    case STMT_FMA_TILE:
        copy_fma_tile(c, at, s);
        return;
    case STMT_BARRIER:
        stmt_barrier(c->k, at);
        return;
    case STMT_COPY:
        copy_async(c, at, s);
        return;
    case STMT_WAIT:
        stmt_wait(c->k, at, s->tag);
        return;
    case STMT_PREFETCH:
        stmt_prefetch(c->k, at, copy_expr(c, s->value));
        return;
    case STMT_CHECK:
        stmt_check(c->k, at, copy_expr(c, s->value), s->fault_code, copy_expr(c, s->fault_value));
        return;
    }
}

static void copy_body(struct copier *c, struct cursor *at, const struct stmt *body) {
    for (const struct stmt *s = body; s; s = s->next)
        copy_stmt(c, at, s);
}

struct expr *expr_substitute(struct kernel *k, struct expr *e, dim symbol, dim by) {
    struct change change = {symbol, by};
    struct copier c = {.k = k, .n = 1, .room = 1, .change = &change};
    return copy_expr(&c, e);
}

struct stmt *stmt_clone(struct kernel *k, const struct stmt *body, dim symbol, dim by) {
    struct copier c = {.k = k, .moved = {.arena = k->arena}};
    if (symbol) change_add(&c, symbol, by);
    struct stmt *copy = NULL;
    struct cursor at = kernel_at(&copy);
    copy_body(&c, &at, body);
    return copy;
}

struct kernel *kernel_copy(struct arena *arena, const struct kernel *k) {
    struct kernel *to = kernel_new(arena, k->name);
    struct copier c = {.k = to, .other = true, .moved = {.arena = arena}};
    for (int i = 0; i < k->n_dims; i++)
        kernel_dim(to, k->dim_args[i]->name, k->dim_args[i]->low, k->dim_args[i]->high);
    for (const struct buffer *b = k->args; b; b = b->next)
        copy_buffer(&c, NULL, b);
    to->n_guards = k->n_guards;
    to->guards = NEW_ARRAY(arena, struct guard, k->n_guards ? k->n_guards : 1);
    for (int i = 0; i < k->n_guards; i++) {
        const struct guard *g = &k->guards[i];
        to->guards[i] = (struct guard){copy_dim(&c, g->low), copy_dim(&c, g->value), copy_dim(&c, g->high)};
    }
    if (k->origin) to->origin = arena_text(arena, "%s", k->origin);
    struct cursor at = kernel_at(&to->body);
    copy_body(&c, &at, k->body);
    return to;
}

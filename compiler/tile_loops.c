/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops: perfect nests, merging axes that memory does not tell apart, and moving a parallel axis inwards
 * (distribution), which is how vectors and register tiles arise from scalar bodies.
 */
#include "compiler/tiling.h"

/* --- nests --- */

struct nest nest_read(struct stmt *body, enum axis_kind kind) {
    struct nest nest = {.body = body};
    while (nest.n < TILE_MAX_AXES && nest.body && nest.body->kind == STMT_LOOP && nest.body->axis_kind == kind &&
           (nest.n == 0 || !nest.body->next) && dim_is(nest.body->from, 0) && nest.body->step == 1) {
        nest.axis[nest.n] = nest.body->axis;
        nest.extent[nest.n++] = nest.body->to;
        nest.body = nest.body->body;
    }
    return nest;
}

struct stmt *nest_write(struct tiler *t, const struct nest *nest, enum axis_kind kind) {
    struct stmt *body = nest->body;
    for (int i = nest->n - 1; i >= 0; i--) {
        struct stmt *loop = NULL;
        struct cursor at = kernel_at(&loop);
        stmt_loop(t->k, &at, kind, nest->axis[i], num(t, 0), nest->extent[i], 1)->body = body;
        body = loop;
    }
    return body;
}

struct stmt *loop_over(struct tiler *t, struct cursor *at, enum axis_kind kind, const char *hint, dim from, dim to,
                       int64_t step, struct cursor *in) {
    struct stmt *loop = stmt_loop(t->k, at, kind, kernel_axis(t->k, hint, from, to), from, to, step);
    *in = kernel_at(&loop->body);
    return loop;
}

/* --- merging: two axes whose strides say that memory is walked as by one. Subscripts are changed in place, in the
 * whole kernel: the nest is part of it. --- */

struct access {
    struct buffer *b;
    struct expr **subs;
    bool store;
};
struct accesses {
    struct arena *arena;
    int n, room;
    struct access *list;
    dim a, b;
    bool other;
};

static void access_add(struct accesses *all, struct buffer *b, struct expr **subs, bool store) {
    for (int i = 0; i < all->n; i++)
        if (all->list[i].subs == subs && b->rank) return;
    if (all->n == all->room) {
        int room = all->room ? all->room * 2 : 32;
        struct access *bigger = NEW_ARRAY(all->arena, struct access, room);
        if (all->n) memcpy(bigger, all->list, (size_t)all->n * sizeof *bigger);
        all->list = bigger;
        all->room = room;
    }
    all->list[all->n++] = (struct access){b, subs, store};
}

static bool has_either(dim d, dim a, dim b) {
    return dim_contains(d, a) || dim_contains(d, b);
}

/* A dim outside a subscript that names the axes keeps them apart. */
static void find_accesses(struct accesses *all, struct expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) {
        access_add(all, e->buffer, e->arg, false);
        for (int i = 0; i < e->n; i++)
            if (e->arg[i]->kind != EXPR_DIM) find_accesses(all, e->arg[i]);
        return;
    }
    if (e->kind == EXPR_DIM && has_either(e->dim, all->a, all->b)) all->other = true;
    for (int i = 0; i < e->n; i++)
        find_accesses(all, e->arg[i]);
}

static void stmt_accesses(void *user, struct stmt *s) {
    struct accesses *all = user;
    if (s->kind == STMT_STORE) {
        access_add(all, s->buffer, s->subs, true);
        for (int i = 0; i < s->n_subs; i++)
            if (s->subs[i]->kind != EXPR_DIM) find_accesses(all, s->subs[i]);
    } else if (s->kind == STMT_COPY || s->kind == STMT_FMA_TILE || s->kind == STMT_BARRIER) {
        all->other = true;
    }
    if (s->kind == STMT_LOOP || s->kind == STMT_REDUCE)
        all->other |= has_either(s->from, all->a, all->b) || has_either(s->to, all->a, all->b);
    find_accesses(all, s->value);
    find_accesses(all, s->fault_value);
}

/* The first axis of the longest tail of B's axes in which every subscript is a dim. */
static int dim_tail(const struct accesses *all, const struct buffer *b) {
    int first = 0;
    for (int i = 0; i < all->n; i++)
        for (int d = 0; all->list[i].b == b && d < b->rank; d++)
            if (all->list[i].subs[d]->kind != EXPR_DIM && d + 1 > first) first = d + 1;
    return first;
}

static dim tail_offset(struct tiler *t, const struct buffer *b, struct expr *const *subs, int first) {
    dim flat = num(t, 0);
    for (int d = first; d < b->rank; d++)
        flat = d_add(t, dim_mul(t->k->dims, flat, b->shape[d]), subs[d]->dim);
    return flat;
}

static bool access_merges(struct tiler *t, const struct accesses *all, const struct access *x, dim extent) {
    int first = dim_tail(all, x->b);
    for (int d = 0; d < first; d++)
        if (expr_has(x->subs[d], all->a) || expr_has(x->subs[d], all->b)) return false;
    dim offset = tail_offset(t, x->b, x->subs, first);
    if (!has_either(offset, all->a, all->b)) return true;
    dim by_a = stride_of(t, offset, all->a), by_b = stride_of(t, offset, all->b);
    return by_a && by_b && by_a == dim_mul(t->k->dims, by_b, extent);
}

/* Makes the tail of B one axis and its subscripts offsets. Load nodes may be shared, so each list is changed once. */
static void flatten_tail(struct tiler *t, struct accesses *all, struct buffer *b) {
    int first = dim_tail(all, b);
    if (b->rank - first < 2) return;
    dim size = num(t, 1);
    for (int i = 0; i < all->n; i++) {
        if (all->list[i].b != b) continue;
        struct expr **subs = all->list[i].subs;
        subs[first] = expr_dim(t->k, tail_offset(t, b, subs, first));
    }
    for (int d = first; d < b->rank; d++)
        size = dim_mul(t->k->dims, size, b->shape[d]);
    b->shape[first] = size;
    b->rank = first + 1;
}

static void fix_expr_rank(void *user, struct expr *e) {
    (void)user;
    if (e->kind == EXPR_LOAD) e->n = e->buffer->rank;
}

static void fix_rank(void *user, struct stmt *s) {
    if (s->kind == STMT_STORE) s->n_subs = s->buffer->rank;
    stmt_exprs(s, fix_expr_rank, user);
}

static void replace_axes(struct tiler *t, const struct accesses *all, dim merged) {
    for (int i = 0; i < all->n; i++)
        for (int d = 0; d < all->list[i].b->rank; d++) {
            struct expr *e = all->list[i].subs[d];
            if (e->kind != EXPR_DIM || !has_either(e->dim, all->a, all->b)) continue;
            dim by = stride_of(t, e->dim, all->b), rest = dim_substitute(t->k->dims, e->dim, all->a, num(t, 0));
            rest = dim_substitute(t->k->dims, rest, all->b, num(t, 0));
            all->list[i].subs[d] = expr_dim(t->k, d_add(t, dim_mul(t->k->dims, by, merged), rest));
        }
}

static bool merge_pair(struct tiler *t, struct nest *nest, int p) {
    struct accesses all = {.arena = t->arena, .a = nest->axis[p], .b = nest->axis[p + 1]};
    kernel_walk(t->k->body, stmt_accesses, &all);
    if (all.other) return false;
    for (int i = 0; i < all.n; i++)
        if (!access_merges(t, &all, &all.list[i], nest->extent[p + 1])) return false;
    for (int i = 0; i < all.n; i++) {
        struct buffer *b = all.list[i].b;
        int first = dim_tail(&all, b);
        bool named = false;
        for (int d = first; d < b->rank; d++)
            named |= has_either(all.list[i].subs[d]->dim, all.a, all.b);
        if (!named) continue;
        flatten_tail(t, &all, b);
        kernel_walk(t->k->body, fix_rank, NULL);
    }
    dim extent = dim_mul(t->k->dims, nest->extent[p], nest->extent[p + 1]);
    dim merged = kernel_axis(t->k, nest->axis[p]->name, num(t, 0), extent);
    replace_axes(t, &all, merged);
    nest->axis[p] = merged;
    nest->extent[p] = extent;
    for (int i = p + 1; i + 1 < nest->n; i++) {
        nest->axis[i] = nest->axis[i + 1];
        nest->extent[i] = nest->extent[i + 1];
    }
    nest->n--;
    return true;
}

void nest_merge(struct tiler *t, struct nest *nest) {
    for (int p = nest->n - 2; p >= 0; p--)
        if (p + 1 < nest->n) merge_pair(t, nest, p);
}

/* --- split axes: a sum over several axes is one REDUCE, whose subscripts split its axis again. Where these axes lie
 * next to each other in a buffer they become one there. --- */

/* [x / n, x % n]: x. NULL: something else. An access in bounds has n >= 1, so a `max(n, 1)` is n. */
static dim unsplit(struct tiler *t, const struct expr *upper, const struct expr *lower, dim n) {
    if (upper->kind != EXPR_DIM || lower->kind != EXPR_DIM || lower->dim->op != DIM_MOD) return NULL;
    dim x = lower->dim->a, by = lower->dim->b;
    bool whole = by == n || by == dim_max(t->k->dims, n, num(t, 1));
    return whole && upper->dim == dim_div(t->k->dims, x, by) ? x : NULL;
}

static void join_dims(struct tiler *t, const struct accesses *all, struct buffer *b, int d) {
    for (int i = 0; i < all->n; i++) {
        if (all->list[i].b != b) continue;
        struct expr **subs = all->list[i].subs;
        subs[d] = expr_dim(t->k, unsplit(t, subs[d], subs[d + 1], b->shape[d + 1]));
        for (int k = d + 1; k + 1 < b->rank; k++)
            subs[k] = subs[k + 1];
    }
    b->shape[d] = dim_mul(t->k->dims, b->shape[d], b->shape[d + 1]);
    for (int k = d + 1; k + 1 < b->rank; k++)
        b->shape[k] = b->shape[k + 1];
    b->rank--;
}

void join_split_axes(struct tiler *t) {
    struct accesses all = {.arena = t->arena, .a = num(t, 0), .b = num(t, 0)};
    kernel_walk(t->k->body, stmt_accesses, &all);
    for (struct buffer *b = t->k->args; b; b = b->next)
        for (int d = b->rank - 2; d >= 0; d--) {
            int named = 0, split = 0;
            for (int i = 0; i < all.n; i++) {
                if (all.list[i].b != b) continue;
                struct expr **subs = all.list[i].subs;
                named++;
                split += d + 1 < b->rank && unsplit(t, subs[d], subs[d + 1], b->shape[d + 1]) != NULL;
            }
            if (named && split == named) join_dims(t, &all, b, d);
        }
    kernel_walk(t->k->body, fix_rank, NULL);
}

/* --- parallel loops --- */

static bool declared_in(const struct stmt *body, const struct buffer *b) {
    for (const struct stmt *s = body; s; s = s->next)
        if ((s->kind == STMT_BUFFER && s->buffer == b) || (s->body && declared_in(s->body, b))) return true;
    return false;
}

static void inner_axes(void *user, struct stmt *s) {
    struct nest *inner = user;
    if ((s->kind == STMT_LOOP || s->kind == STMT_REDUCE) && inner->n < TILE_MAX_AXES) inner->axis[inner->n++] = s->axis;
}

/* Some subscript tells iterations apart: linear in the axis, free of the axes of inner loops and of data. */
static bool separates(struct tiler *t, const struct stmt *loop, const struct access *x) {
    struct nest inner = {0};
    kernel_walk(loop->body, inner_axes, &inner);
    for (int i = 0; i < x->b->rank; i++) {
        if (x->subs[i]->kind != EXPR_DIM) continue;
        dim by = stride_of(t, x->subs[i]->dim, loop->axis);
        int64_t c;
        bool apart = by && dim_is_const(by, &c) && c != 0;
        for (int a = 0; a < inner.n; a++)
            apart &= !dim_contains(x->subs[i]->dim, inner.axis[a]);
        if (apart) return true;
    }
    return false;
}

static bool same_subs(const struct access *x, const struct access *y) {
    for (int i = 0; i < x->b->rank; i++)
        if (!same_expr(x->subs[i], y->subs[i])) return false;
    return true;
}

bool is_parallel(struct tiler *t, const struct stmt *loop) {
    struct accesses all = {.arena = t->arena, .a = loop->axis, .b = loop->axis};
    kernel_walk(loop->body, stmt_accesses, &all);
    for (int i = 0; i < all.n; i++) {
        const struct access *x = &all.list[i];
        if (!x->store || declared_in(loop->body, x->b)) continue;
        if (!separates(t, loop, x)) return false;
        for (int j = 0; j < all.n; j++)
            if (all.list[j].b == x->b && !same_subs(x, &all.list[j])) return false;
    }
    return true;
}

/* --- distribution --- */

struct spread {
    struct tiler *t;
    dim lane;
    enum axis_kind kind;
    int extent;
    struct expr *guard;
    struct map buffers; /* private buffer -> the one with a dimension for the lane */
    struct map varying; /* let -> any */
    struct map region;  /* let -> number of its region + 1 */
    struct map cells;   /* let used beyond its region -> buffer */
    int regions;        /* counted in the order of emission */
};

static bool spread_varies(struct spread *s, const struct expr *e) {
    if (!e) return false;
    if (e->dim && dim_contains(e->dim, s->lane)) return true;
    if (e->kind == EXPR_LET && map_get(&s->varying, e->let)) return true;
    if (e->kind == EXPR_LOAD && (map_get(&s->buffers, e->buffer) || e->buffer->role != ROLE_IN)) return true;
    for (int i = 0; i < e->n; i++)
        if (spread_varies(s, e->arg[i])) return true;
    return false;
}

static bool is_straight(const struct stmt *body) {
    for (const struct stmt *x = body; x; x = x->next) {
        if (x->kind == STMT_IF) {
            if (!is_straight(x->body)) return false;
        } else if (x->kind != STMT_LET && x->kind != STMT_STORE && x->kind != STMT_CHECK) {
            return false;
        }
    }
    return true;
}

/* Declares what is private, finds what varies; false if the body cannot be spread. */
static bool spread_see(struct spread *s, struct stmt *body) {
    for (struct stmt *x = body; x; x = x->next) {
        switch (x->kind) {
        case STMT_BUFFER: {
            int rank = x->buffer->rank;
            if (x->buffer->space == SPACE_SHARED || rank + 1 > KERNEL_MAX_RANK) return false;
            map_set(&s->buffers, x->buffer, x->buffer);
            break;
        }
        case STMT_LET:
            if (spread_varies(s, x->value)) map_set(&s->varying, x, x);
            break;
        case STMT_STORE:
        case STMT_CHECK:
            break;
        case STMT_IF:
            if (!is_straight(x->body) && spread_varies(s, x->value)) return false;
            if (!spread_see(s, x->body)) return false;
            break;
        case STMT_LOOP:
            if (x->axis_kind != AXIS_SERIAL && x->axis_kind != AXIS_UNROLL) return false;
            if (dim_contains(x->from, s->lane) || dim_contains(x->to, s->lane)) return false;
            if (!spread_see(s, x->body)) return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* Lets that are used in another region than their own live in cells. */
struct use {
    struct spread *s;
    int region;
};

static void see_let_use(void *user, struct expr *e) {
    struct use *u = user;
    intptr_t own = e->kind == EXPR_LET ? (intptr_t)map_get(&u->s->region, e->let) : 0;
    if (own && own != u->region + 1) map_set(&u->s->cells, e->let, (void *)e->let);
}

static void number_straight(struct spread *s, struct stmt *x);

static void number_one(struct spread *s, struct stmt *x) {
    struct use u = {s, s->regions};
    stmt_exprs(x, see_let_use, &u);
    if (x->kind == STMT_LET && map_get(&s->varying, x)) map_set(&s->region, x, (void *)(intptr_t)(s->regions + 1));
    if (x->kind == STMT_IF) number_straight(s, x->body);
}

static void number_straight(struct spread *s, struct stmt *x) {
    for (; x; x = x->next)
        number_one(s, x);
}

static bool opens_region(struct spread *s, const struct stmt *x) {
    return x->kind == STMT_LOOP || (x->kind == STMT_IF && !is_straight(x->body));
}

static void number_regions(struct spread *s, struct stmt *body) {
    for (struct stmt *x = body; x; x = x->next) {
        if (!opens_region(s, x)) {
            number_one(s, x);
            continue;
        }
        s->regions++;
        if (x->kind == STMT_IF) number_one(s, (struct stmt[]){{.kind = STMT_CHECK, .value = x->value}});
        number_regions(s, x->body);
        s->regions++;
    }
}

static struct buffer *wider_buffer(struct spread *s, struct cursor *at, const struct buffer *b, const char *name,
                                   enum yj_dtype dtype) {
    dim shape[KERNEL_MAX_RANK];
    int rank = b ? b->rank : 0;
    bool last = s->kind == AXIS_VECTOR;
    for (int i = 0; i < rank; i++)
        shape[last ? i : i + 1] = b->shape[i];
    shape[last ? rank : 0] = num(s->t, s->extent);
    return stmt_buffer(s->t->k, at, b ? b->space : SPACE_REG, name, dtype, rank + 1, shape);
}

static struct expr **wider_subs(struct spread *s, struct expr *const *subs, int n) {
    struct expr **wider = NEW_ARRAY(s->t->arena, struct expr *, n + 1), *lane = expr_dim(s->t->k, s->lane);
    bool last = s->kind == AXIS_VECTOR;
    for (int i = 0; i < n; i++)
        wider[last ? i : i + 1] = subs[i];
    wider[last ? n : 0] = lane;
    return wider;
}

static struct expr *spread_expr(void *user, struct expr *e) {
    struct spread *s = user;
    struct buffer *b = e->kind == EXPR_LOAD ? map_get(&s->buffers, e->buffer) : NULL;
    if (b && b != e->buffer) return expr_load(s->t->k, b, e->n + 1, wider_subs(s, e->arg, e->n));
    struct buffer *cell = e->kind == EXPR_LET ? map_get(&s->cells, e->let) : NULL;
    if (cell) return expr_load(s->t->k, cell, 1, wider_subs(s, NULL, 0));
    return e;
}

/* One statement of a region, in terms of the lane. */
static void spread_stmt(struct spread *s, struct cursor *at, struct stmt *x) {
    struct tiler *t = s->t;
    for (int i = 0; i < x->n_subs; i++)
        x->subs[i] = expr_rewrite(t, x->subs[i], spread_expr, s);
    x->value = expr_rewrite(t, x->value, spread_expr, s);
    x->fault_value = expr_rewrite(t, x->fault_value, spread_expr, s);
    struct buffer *b = x->kind == STMT_STORE ? map_get(&s->buffers, x->buffer) : NULL;
    if (b && b != x->buffer) {
        x->subs = wider_subs(s, x->subs, x->n_subs++);
        x->buffer = b;
    }
    struct stmt *inner = x->body, *next;
    x->body = NULL;
    x->next = NULL;
    *at->end = x;
    at->end = &x->next;
    if (x->kind == STMT_IF) {
        struct cursor in = kernel_at(&x->body);
        for (; inner; inner = next) {
            next = inner->next;
            spread_stmt(s, &in, inner);
        }
    }
    struct buffer *cell = x->kind == STMT_LET ? map_get(&s->cells, x) : NULL;
    if (cell) {
        stmt_store(t->k, at, cell, 1, wider_subs(s, NULL, 0), expr_let(t->k, x));
    }
}

/* The statements gathered so far as one loop over lanes with an axis of its own. */
static void spread_flush(struct spread *s, struct cursor *at, struct stmt **region) {
    struct tiler *t = s->t;
    if (!*region) return;
    dim lane = kernel_axis(t->k, s->kind == AXIS_VECTOR ? "l" : "r", num(t, 0), num(t, s->extent));
    struct stmt *loop = stmt_loop(t->k, at, s->kind, lane, num(t, 0), num(t, s->extent), 1);
    struct cursor in = kernel_at(&loop->body);
    struct stmt *copy = stmt_clone(t->k, *region, s->lane, lane);
    if (s->guard)
        stmt_if(t->k, &in, expr_substitute(t->k, s->guard, s->lane, lane))->body = copy;
    else
        loop->body = copy;
    *region = NULL;
}

static void spread_body(struct spread *s, struct cursor *at, struct stmt *body) {
    struct tiler *t = s->t;
    struct stmt *region = NULL, *next;
    struct cursor in_region = kernel_at(&region);
    for (struct stmt *x = body; x; x = next) {
        next = x->next;
        if (x->kind == STMT_BUFFER) {
            map_set(&s->buffers, x->buffer, wider_buffer(s, at, x->buffer, x->buffer->name, x->buffer->dtype));
        } else if (opens_region(s, x)) {
            spread_flush(s, at, &region);
            in_region = kernel_at(&region);
            struct stmt *inner = x->body;
            if (x->kind == STMT_IF) x->value = expr_rewrite(t, x->value, spread_expr, s);
            x->body = NULL;
            x->next = NULL;
            *at->end = x;
            at->end = &x->next;
            struct cursor in = kernel_at(&x->body);
            spread_body(s, &in, inner);
        } else if ((x->kind == STMT_LET && !map_get(&s->varying, x)) ||
                   (x->kind == STMT_CHECK && !spread_varies(s, x->value) && !spread_varies(s, x->fault_value))) {
            x->next = NULL;
            *at->end = x;
            at->end = &x->next;
        } else {
            if (x->kind == STMT_LET && map_get(&s->cells, x))
                map_set(&s->cells, x, wider_buffer(s, at, NULL, x->name, x->value->dtype));
            spread_stmt(s, &in_region, x);
        }
    }
    spread_flush(s, at, &region);
}

bool distribute(struct tiler *t, struct stmt **body, dim lane, enum axis_kind kind, int extent, struct expr *guard) {
    struct spread s = {.t = t, .lane = lane, .kind = kind, .extent = extent, .guard = guard};
    struct map *maps[] = {&s.buffers, &s.varying, &s.region, &s.cells};
    for (size_t i = 0; i < COUNT(maps); i++)
        maps[i]->arena = t->arena;
    if (!spread_see(&s, *body)) return false;
    number_regions(&s, *body);
    struct stmt *out = NULL;
    struct cursor at = kernel_at(&out);
    spread_body(&s, &at, *body);
    *body = out;
    return true;
}

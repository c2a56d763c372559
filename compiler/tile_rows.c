/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that walk rows inside a tile: reductions over the last axes and what follows them (softmax, LayerNorm),
 * sorts. The tile axes count rows: some rows make a tile. The passes over a row become vectors where their iterations
 * are independent; a REDUCE stays as it is: its 32 partial results are vectors already (kernel_expand_reduce).
 */
#include "compiler/tiling.h"

#define TILE_WORK 131072

static void vector_passes(struct tiler *t, struct stmt **body);

/* One pass: its perfect nest, merged; vectors along the innermost axis. */
static struct stmt *vector_pass(struct tiler *t, struct stmt *loop) {
    struct stmt *out, *next = loop->next;
    struct nest nest = nest_read(loop, AXIS_SERIAL);
    if (nest.n == 0 || !is_parallel(t, loop)) {
        vector_passes(t, &loop->body);
        return loop;
    }
    nest_merge(t, &nest);
    struct stmt *inner = NULL;
    struct cursor in = kernel_at(&inner);
    nest.n--;
    stmt_loop(t->k, &in, AXIS_SERIAL, nest.axis[nest.n], num(t, 0), nest.extent[nest.n], 1)->body = nest.body;
    bool parallel = is_parallel(t, inner);
    if (parallel) {
        inner = NULL;
        in = kernel_at(&inner);
        emit_span(t, &in, nest.body, nest.axis[nest.n], num(t, 0), nest.extent[nest.n],
                  span_lanes(t, nest.body, nest.extent[nest.n]));
    } else {
        vector_passes(t, &inner->body);
    }
    nest.body = inner;
    out = nest_write(t, &nest, AXIS_SERIAL);
    *kernel_at(&out).end = next;
    return out;
}

static void vector_passes(struct tiler *t, struct stmt **body) {
    for (struct stmt **link = body; *link; link = &(*link)->next) {
        if ((*link)->kind == STMT_IF) {
            vector_passes(t, &(*link)->body);
        } else if ((*link)->kind == STMT_LOOP && (*link)->axis_kind == AXIS_SERIAL) {
            struct stmt *after = (*link)->next;
            *link = vector_pass(t, *link);
            while ((*link)->next != after)
                link = &(*link)->next;
        }
    }
}

static void find_reduce(void *user, struct stmt *s) {
    *(bool *)user |= s->kind == STMT_REDUCE;
}

static void find_row_store(void *user, struct stmt *s) {
    dim *axis = user;
    if (s->kind != STMT_STORE || s->buffer->space != SPACE_GLOBAL || !*axis) return;
    bool named = false;
    for (int i = 0; i < s->n_subs; i++)
        named |= expr_has(s->subs[i], *axis) && i + 1 == s->n_subs;
    if (named) *axis = NULL;
}

/* A REDUCE whose rows do not lie in one piece, while the last tile axis does: its lanes are better taken from that
 * axis. */
struct across {
    struct tiler *t;
    dim axis;
    bool found;
};

static int64_t constant_stride(struct tiler *t, const struct expr *load, dim axis) {
    int64_t c = 0;
    dim by = stride_of(t, flat_subs(t, load->buffer, load->arg), axis);
    return by && dim_is_const(by, &c) ? c : by ? 2 : 0; /* a stride that is not constant is not 1 */
}

static void see_across(struct across *a, const struct stmt *s, const struct expr *e) {
    if (e->kind == EXPR_LOAD && constant_stride(a->t, e, a->axis) == 1 && constant_stride(a->t, e, s->axis) > 1)
        a->found = true;
    for (int i = 0; e->kind != EXPR_LOAD && i < e->n; i++)
        see_across(a, s, e->arg[i]);
}

static bool is_across(struct tiler *t, const struct nest *nest) {
    if (nest->n == 0) return false;
    struct across a = {t, nest->axis[nest->n - 1], false};
    for (const struct stmt *s = nest->body; s; s = s->next) {
        if (s->kind == STMT_REDUCE)
            see_across(&a, s, s->value);
        else if (s->kind != STMT_LET && s->kind != STMT_STORE && s->kind != STMT_CHECK)
            return false;
    }
    return a.found;
}

/* --- a row of scratch that becomes a row of the result, element by element, lies in the result's memory from the
 * start: the last pass then changes what the cache holds, instead of waiting for lines that it overwrites --- */

struct row {
    struct tiler *t;
    struct buffer *scratch, *out;
    dim axis;           /* of the last pass */
    struct expr **subs; /* of the result there */
    int uses;           /* accesses to OUT */
    bool fits;
};

static void see_row_expr(void *user, struct expr *e) {
    struct row *r = user;
    if (e->kind != EXPR_LOAD) return;
    r->uses += e->buffer == r->out;
    r->fits &= e->buffer != r->scratch || e->arg[0]->kind == EXPR_DIM;
}

static void see_row_stmt(void *user, struct stmt *s) {
    struct row *r = user;
    bool stored = s->kind == STMT_STORE || s->kind == STMT_COPY;
    r->uses += stored && s->buffer == r->out;
    r->fits &= !stored || s->buffer != r->scratch || (s->kind == STMT_STORE && s->subs[0]->kind == EXPR_DIM);
    stmt_exprs(s, see_row_expr, r);
}

/* In the last pass an element is read where its place is written. */
static void see_last_expr(void *user, struct expr *e) {
    struct row *r = user;
    if (e->kind == EXPR_LOAD && e->buffer == r->scratch) r->fits &= e->arg[0]->dim == r->axis;
}

static bool find_row(struct row *r, struct stmt *body) {
    struct stmt *last = body;
    while (last && last->next)
        last = last->next;
    if (!last || last->kind != STMT_LOOP || last->step != 1 || !dim_is(last->from, 0)) return false;
    struct stmt *store = last->body;
    while (store && store->kind == STMT_LET)
        store = store->next;
    if (!store || store->kind != STMT_STORE || store->next || store->buffer->role != ROLE_OUT) return false;
    r->out = store->buffer, r->axis = last->axis, r->subs = store->subs;
    for (int i = 0; i < store->n_subs; i++)
        if (r->subs[i]->kind != EXPR_DIM) return false;
    for (struct stmt *s = body; s != last; s = s->next) {
        struct buffer *b = s->kind == STMT_BUFFER ? s->buffer : NULL;
        if (!b || b->space != SPACE_SCRATCH || b->rank != 1 || b->shape[0] != last->to || b->dtype != r->out->dtype)
            continue;
        r->scratch = b, r->uses = 0, r->fits = true;
        kernel_walk(r->t->k->body, see_row_stmt, r);
        for (s = last->body; r->fits && s; s = s->next)
            stmt_exprs(s, see_last_expr, r);
        return r->fits && r->uses == 1;
    }
    return false;
}

static struct expr **row_place(struct row *r, dim at) {
    struct expr **subs = NEW_ARRAY(r->t->arena, struct expr *, r->out->rank + 1);
    for (int i = 0; i < r->out->rank; i++)
        subs[i] = expr_dim(r->t->k, dim_substitute(r->t->k->dims, r->subs[i]->dim, r->axis, at));
    return subs;
}

static struct expr *move_load(void *user, struct expr *e) {
    struct row *r = user;
    if (e->kind != EXPR_LOAD || e->buffer != r->scratch) return e;
    return expr_load(r->t->k, r->out, r->out->rank, row_place(r, e->arg[0]->dim));
}

static void move_store(void *user, struct stmt *s) {
    struct row *r = user;
    if (s->kind != STMT_STORE || s->buffer != r->scratch) return;
    s->subs = row_place(r, s->subs[0]->dim);
    s->n_subs = r->out->rank;
    s->buffer = r->out;
}

static void row_in_result(struct tiler *t, struct stmt **body) {
    struct row r = {.t = t};
    if (!find_row(&r, *body)) return;
    body_rewrite(t, *body, move_load, &r);
    kernel_walk(*body, move_store, &r);
    for (struct stmt **link = body; *link; link = &(*link)->next)
        if ((*link)->kind == STMT_BUFFER && (*link)->buffer == r.scratch) {
            *link = (*link)->next;
            return;
        }
}

/* Rows are walked where a REDUCE stands, or where the last tile axis is not the one along which results lie. */
bool tile_rows(struct tiler *t) {
    struct nest nest = nest_read(t->k->body, AXIS_TILE);
    bool rows = nest.n == 0;
    kernel_walk(nest.body, find_reduce, &rows);
    if (is_across(t, &nest)) return false;
    if (!rows) {
        dim axis = nest.axis[nest.n - 1];
        kernel_walk(nest.body, find_row_store, &axis);
        rows = axis != NULL;
    }
    if (!rows) return false;
    nest_merge(t, &nest);
    int64_t worth = max64(TILE_WORK / body_weight(nest.body), 1);
    row_in_result(t, &nest.body);
    t->k->body = nest_write(t, &nest, AXIS_TILE);
    struct stmt **inside = &t->k->body;
    for (int i = 0; i < nest.n; i++)
        inside = &(*inside)->body;
    vector_passes(t, inside);
    if (nest.n > 0) t->k->body = nest_group(t, &nest, worth, *inside);
    return true;
}

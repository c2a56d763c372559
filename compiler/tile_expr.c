/* SPDX-License-Identifier: Apache-2.0
 *
 * Trees and bodies: rewriting, questions about axes and strides. Trees may share nodes, so a rewrite makes new nodes
 * where something changes and never touches the old ones.
 */
#include "compiler/tiling.h"

/* --- dims --- */

dim num(struct tiler *t, int64_t n) {
    return dim_const(t->k->dims, n);
}

dim d_add(struct tiler *t, dim a, dim b) {
    return dim_add(t->k->dims, a, b);
}

dim d_sub(struct tiler *t, dim a, dim b) {
    return dim_sub(t->k->dims, a, b);
}

dim d_mul(struct tiler *t, dim a, int64_t b) {
    return dim_mul(t->k->dims, a, num(t, b));
}

dim d_min(struct tiler *t, dim a, dim b) {
    return dim_min(t->k->dims, a, b);
}

dim d_ceil_div(struct tiler *t, dim a, int64_t b) {
    return dim_ceil_div(t->k->dims, a, num(t, b));
}

int64_t dim_guess(dim d, int64_t unknown) {
    int64_t value;
    if (dim_is_const(d, &value)) return value;
    int64_t high = d->high == DIM_UNBOUNDED ? unknown : d->high;
    return max64(d->low, min64(unknown, high));
}

/* --- rewriting --- */

struct expr *with_args(struct tiler *t, const struct expr *e, struct expr *const *args) {
    struct expr *copy = arena_new(t->arena, sizeof *copy + (size_t)(e->n ? e->n : 1) * sizeof copy->arg[0]);
    *copy = *e;
    for (int i = 0; i < e->n; i++)
        copy->arg[i] = args[i];
    return copy;
}

struct expr *expr_rewrite(struct tiler *t, struct expr *e, rewrite_fn *fn, void *user) {
    if (!e) return NULL;
    struct expr *args[KERNEL_MAX_RANK + 4];
    bool changed = false;
    for (int i = 0; i < e->n; i++) {
        args[i] = expr_rewrite(t, e->arg[i], fn, user);
        changed |= args[i] != e->arg[i];
    }
    return fn(user, changed ? with_args(t, e, args) : e);
}

struct rewriting {
    struct tiler *t;
    rewrite_fn *fn;
    void *user;
};

static void rewrite_stmt(void *user, struct stmt *s) {
    struct rewriting *r = user;
    for (int i = 0; i < s->n_subs; i++)
        s->subs[i] = expr_rewrite(r->t, s->subs[i], r->fn, r->user);
    struct expr **trees[] = {&s->value, &s->fault_value, &s->a, &s->b, &s->c};
    for (size_t i = 0; i < COUNT(trees); i++)
        *trees[i] = expr_rewrite(r->t, *trees[i], r->fn, r->user);
}

void body_rewrite(struct tiler *t, struct stmt *body, rewrite_fn *fn, void *user) {
    struct rewriting r = {t, fn, user};
    kernel_walk(body, rewrite_stmt, &r);
}

struct expr *substitute(struct tiler *t, struct expr *e, int n, const dim *from, const dim *to) {
    for (int i = 0; i < n; i++)
        if (from[i] && from[i] != to[i]) e = expr_substitute(t->k, e, from[i], to[i]);
    return e;
}

struct stmt *clone_with(struct tiler *t, const struct stmt *body, int n, const dim *from, const dim *to) {
    struct stmt *copy = NULL;
    for (int i = 0; i < n; i++)
        if (from[i] && from[i] != to[i]) body = copy = stmt_clone(t->k, body, from[i], to[i]);
    return copy ? copy : stmt_clone(t->k, body, NULL, NULL);
}

/* --- questions --- */

bool expr_has(const struct expr *e, dim axis) {
    if (!e) return false;
    if (e->dim && dim_contains(e->dim, axis)) return true;
    if (e->let && expr_has(e->let->value, axis)) return true;
    for (int i = 0; i < e->n; i++)
        if (expr_has(e->arg[i], axis)) return true;
    return false;
}

struct has {
    dim axis;
    bool found;
};

static void see_axis(void *user, struct stmt *s) {
    struct has *h = user;
    if (h->found) return;
    const struct expr *trees[] = {s->value, s->fault_value, s->a, s->b, s->c};
    for (size_t i = 0; i < COUNT(trees); i++)
        h->found |= expr_has(trees[i], h->axis);
    for (int i = 0; i < s->n_subs; i++)
        h->found |= expr_has(s->subs[i], h->axis);
    if (s->kind == STMT_LOOP || s->kind == STMT_REDUCE)
        h->found |= dim_contains(s->from, h->axis) || dim_contains(s->to, h->axis);
}

bool body_has(struct stmt *body, dim axis) {
    struct has h = {axis, false};
    kernel_walk(body, see_axis, &h);
    return h.found;
}

dim flat_subs(struct tiler *t, const struct buffer *b, struct expr *const *subs) {
    dim flat = num(t, 0);
    for (int i = 0; i < b->rank; i++) {
        if (subs[i]->kind != EXPR_DIM) return NULL;
        flat = d_add(t, dim_mul(t->k->dims, flat, b->shape[i]), subs[i]->dim);
    }
    return flat;
}

dim stride_of(struct tiler *t, dim offset, dim axis) {
    dim coefficient, rest;
    if (!offset || !dim_linear(t->k->dims, offset, axis, &coefficient, &rest)) return NULL;
    return coefficient;
}

bool same_expr(const struct expr *a, const struct expr *b) {
    if (a == b) return true;
    if (!a || !b || a->kind != b->kind || a->dtype != b->dtype || a->n != b->n || a->dim != b->dim ||
        a->buffer != b->buffer || a->let != b->let)
        return false;
    if (a->kind == EXPR_OP && a->op != b->op) return false;
    if (a->kind == EXPR_CONST && memcmp(&a->constant, &b->constant, sizeof a->constant) != 0) return false;
    for (int i = 0; i < a->n; i++)
        if (!same_expr(a->arg[i], b->arg[i])) return false;
    return true;
}

int expr_nodes(const struct expr *e) {
    int n = 1;
    if (e->kind == EXPR_LOAD) return 1;
    for (int i = 0; i < e->n; i++)
        n += expr_nodes(e->arg[i]);
    return n;
}

bool expr_is_heavy(const struct expr *e) {
    if (e->kind == EXPR_OP && strchr(scalar_info[e->op].types, 'm')) return true;
    for (int i = 0; i < e->n; i++)
        if (expr_is_heavy(e->arg[i])) return true;
    return false;
}

static int tree_weight(const struct expr *e) {
    int w = 0;
    if (!e) return 0;
    if (e->kind == EXPR_LOAD) return 1;
    if (e->kind == EXPR_OP)
        w = strchr(scalar_info[e->op].types, 'm') ? 20 : e->op == SCALAR_div || e->op == SCALAR_sqrt ? 5 : 1;
    for (int i = 0; i < e->n; i++)
        w += tree_weight(e->arg[i]);
    return w;
}

int body_weight(struct stmt *body) {
    int64_t w = 0;
    for (struct stmt *s = body; s; s = s->next) {
        int64_t own = tree_weight(s->value) + (s->kind == STMT_STORE ? 1 : 0);
        if (s->kind == STMT_REDUCE) own *= max64(1, dim_guess(s->to, 256));
        if (s->body) own += body_weight(s->body) * (s->kind == STMT_LOOP ? max64(1, dim_guess(s->to, 256)) : 1);
        w = min64(w + own, 1 << 28);
    }
    return (int)max64(w, 1);
}

/* --- lets --- */

static struct expr *inline_let(void *user, struct expr *e) {
    struct map *values = user;
    struct expr *value = e->kind == EXPR_LET ? map_get(values, e->let) : NULL;
    return value ? value : e;
}

void inline_lets(struct tiler *t, struct stmt **body) {
    struct map values = {.arena = t->arena};
    for (struct stmt **at = body; *at;) {
        struct stmt *s = *at;
        struct rewriting r = {t, inline_let, &values};
        rewrite_stmt(&r, s);
        if (s->kind == STMT_LET) {
            map_set(&values, s, s->value);
            *at = s->next;
        } else {
            at = &s->next;
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewrites shared by emitters: afterwards a kernel has no transcendental, and no REDUCE. Both put statements before
 * the one that they rewrite; the one idea is that a REDUCE becomes its own LET, so that what refers to it stays as it
 * is.
 */
#include "ir/math.h"

/* --- transcendentals --- */

static bool is_math(const struct expr *e) {
    return e->kind == EXPR_OP && (e->dtype == YJ_F32 || e->dtype == YJ_F64) && math_has(e->op);
}

static struct expr *expand_expr(struct kernel *k, struct cursor *at, struct expr *e) {
    if (!e || e->n == 0) return e;
    bool changed = is_math(e);
    struct expr *copy = arena_new(k->arena, sizeof *copy + (size_t)e->n * sizeof copy->arg[0]);
    *copy = *e;
    for (int i = 0; i < e->n; i++) {
        copy->arg[i] = expand_expr(k, at, e->arg[i]);
        changed |= copy->arg[i] != e->arg[i];
    }
    if (is_math(e)) return math_build(k, at, e->op, copy->arg[0], e->n > 1 ? copy->arg[1] : NULL);
    return changed ? copy : e;
}

static void find_math(void *user, struct expr *e) {
    *(bool *)user |= is_math(e);
}

static bool has_math(struct stmt *s) {
    bool found = false;
    stmt_exprs(s, find_math, &found);
    return found;
}

static void expand_stmt(struct kernel *k, struct cursor *at, struct stmt *s) {
    for (int i = 0; i < s->n_subs; i++)
        s->subs[i] = expand_expr(k, at, s->subs[i]);
    s->value = expand_expr(k, at, s->value);
    s->fault_value = expand_expr(k, at, s->fault_value);
}

/* --- REDUCE --- */

struct reduction {
    struct kernel *k;
    struct stmt *s;
    struct buffer *part;
    struct expr *value;
    enum axis_kind kind; /* of the loops over partial results */
};

static void add_to_part(struct reduction *r, struct cursor *at, dim part, dim index) {
    struct expr *old = expr_load_dims(r->k, r->part, 1, &part);
    struct expr *value = expr_substitute(r->k, r->value, r->s->axis, index);
    stmt_store_dims(r->k, at, r->part, 1, &part, expr_op(r->k, r->s->op, old, value, NULL));
}

static struct cursor part_loop(struct reduction *r, struct cursor *at, enum axis_kind kind, int64_t n, dim *axis) {
    dim zero = dim_const(r->k->dims, 0), end = dim_const(r->k->dims, n);
    *axis = kernel_axis(r->k, "part", zero, end);
    return kernel_at(&stmt_loop(r->k, at, kind, *axis, zero, end, 1)->body);
}

static void set_neutral(struct reduction *r, struct cursor *at) {
    dim part;
    struct cursor in = part_loop(r, at, r->kind, r->s->lanes, &part);
    stmt_store_dims(r->k, &in, r->part, 1, &part, expr_neutral(r->k, r->s->op, r->part->dtype));
}

/* Whole blocks of LANES values, then what is left under a condition. */
static void add_blocks(struct reduction *r, struct cursor *at) {
    struct dim_table *t = r->k->dims;
    dim zero = dim_const(t, 0), lanes = dim_const(t, r->s->lanes), part;
    dim span = dim_max(t, zero, dim_sub(t, r->s->to, r->s->from)), blocks = dim_div(t, span, lanes);
    dim block = kernel_axis(r->k, "block", zero, blocks), done = dim_mul(t, blocks, lanes);
    struct cursor in = kernel_at(&stmt_loop(r->k, at, AXIS_SERIAL, block, zero, blocks, 1)->body);
    struct cursor each = part_loop(r, &in, r->kind, r->s->lanes, &part);
    add_to_part(r, &each, part, dim_add(t, r->s->from, dim_add(t, dim_mul(t, block, lanes), part)));
    if (done == span) return;
    struct cursor rest = part_loop(r, at, r->kind, r->s->lanes, &part);
    dim index = dim_add(t, done, part);
    struct expr *inside = expr_op(r->k, SCALAR_lt, expr_dim(r->k, index), expr_dim(r->k, span), NULL);
    struct cursor masked = kernel_at(&stmt_if(r->k, &rest, inside)->body);
    add_to_part(r, &masked, part, dim_add(t, r->s->from, index));
}

static void join_tree(struct reduction *r, struct cursor *at) {
    for (int64_t half = r->s->lanes / 2; half; half /= 2) {
        dim part;
        struct cursor in = part_loop(r, at, half == 1 ? AXIS_UNROLL : r->kind, half, &part);
        dim other = dim_add(r->k->dims, part, dim_const(r->k->dims, half));
        struct expr *a = expr_load_dims(r->k, r->part, 1, &part), *b = expr_load_dims(r->k, r->part, 1, &other);
        stmt_store_dims(r->k, &in, r->part, 1, &part, expr_op(r->k, r->s->op, a, b, NULL));
    }
}

static void expand_reduce(struct kernel *k, struct cursor *at, struct stmt *s, bool in_vector) {
    dim lanes = dim_const(k->dims, s->lanes), zero = dim_const(k->dims, 0);
    struct reduction r = {k, s, NULL, s->value, in_vector || s->lanes == 1 ? AXIS_UNROLL : AXIS_VECTOR};
    r.part = stmt_buffer(k, at, SPACE_REG, s->name, s->value->dtype, 1, &lanes);
    set_neutral(&r, at);
    if (s->lanes == 1) {
        dim axis = kernel_axis(k, s->axis->name, s->from, s->to);
        struct cursor in = kernel_at(&stmt_loop(k, at, AXIS_SERIAL, axis, s->from, s->to, 1)->body);
        add_to_part(&r, &in, zero, axis);
    } else {
        add_blocks(&r, at);
        join_tree(&r, at);
    }
    s->kind = STMT_LET;
    s->value = expr_load_dims(k, r.part, 1, &zero);
}

/* --- the walk: what is put before a statement is itself walked --- */

/* What a statement is rewritten to stands on its line. */
static void set_line(struct stmt *body, int line) {
    for (struct stmt *s = body; s; s = s->next) {
        s->line = line;
        set_line(s->body, line);
    }
}

enum what { MATHS = 1, REDUCES = 2 };

static void expand_body(struct kernel *k, struct stmt **body, int what, bool in_vector) {
    for (struct stmt **link = body; *link;) {
        struct stmt *s = *link, *before = NULL;
        struct cursor at = kernel_at(&before);
        if (s->kind == STMT_REDUCE && ((what & REDUCES) || has_math(s)))
            expand_reduce(k, &at, s, in_vector);
        else if ((what & MATHS) && has_math(s))
            expand_stmt(k, &at, s);
        if (before) {
            set_line(before, s->line);
            *at.end = s;
            *link = before;
            continue;
        }
        if (s->body) expand_body(k, &s->body, what, in_vector || (s->kind == STMT_LOOP && s->axis_kind == AXIS_VECTOR));
        link = &s->next;
    }
}

void kernel_expand_math(struct kernel *k) {
    expand_body(k, &k->body, MATHS, false);
}

void kernel_expand_reduce(struct kernel *k) {
    expand_body(k, &k->body, REDUCES, false);
}

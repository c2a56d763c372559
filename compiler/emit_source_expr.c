/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions, dims and elements of buffers as source text. Every operand stands in parentheses or is an argument, so
 * no precedence matters.
 */
#include "compiler/emit_source_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

const char *source_name(struct source *s, const void *what, const char *name) {
    const char *known = map_get(&s->names, what);
    if (known) return known;
    struct text plain = {0};
    for (const char *c = name; *c; c++)
        text_add(&plain, *c == '.' ? "_dot_" : "%c", *c);
    char *clean = arena_text(s->arena, "%s", plain.data ? plain.data : "");
    text_free(&plain);
    if (strcmp(clean, name) != 0) {
        while (kernel_has_name(s->k, clean))
            clean = arena_text(s->arena, "%s0", clean);
        kernel_claim_name(s->k, clean);
    }
    char *id = arena_text(s->arena, "%s_", clean);
    map_set(&s->names, what, id);
    return id;
}

static void add_i64(struct text *out, int64_t value) {
    if (value == INT64_MIN)
        text_add(out, "(-9223372036854775807L - 1)");
    else
        text_add(out, value < 0 ? "(%" PRId64 "L)" : "%" PRId64 "L", value);
}

void source_dim(struct source *s, struct text *out, dim d) {
    static const char *const marks[] = {[DIM_ADD] = " + ", [DIM_MUL] = " * ", [DIM_DIV] = " / ", [DIM_MOD] = " % "};
    if (d->op == DIM_CONST) {
        add_i64(out, d->value);
        return;
    }
    if (d->op == DIM_SYMBOL) {
        text_add(out, "%s", source_name(s, d, d->name));
        return;
    }
    bool plain = d->op == DIM_ADD || d->op == DIM_MUL ||
                 ((d->op == DIM_DIV || d->op == DIM_MOD) && d->a->low >= 0 && d->b->low >= 0);
    text_add(out, "%s(", plain ? "" : source_dim_op(s, d->op));
    source_dim(s, out, d->a);
    text_add(out, "%s", plain ? marks[d->op] : ", ");
    source_dim(s, out, d->b);
    text_add(out, ")");
}

static void add_float(struct source *s, struct text *out, const struct expr *e) {
    bool f32 = e->dtype == YJ_F32, opencl = s->dialect == SOURCE_OPENCL;
    double f = f32 ? (double)(float)e->constant.f : e->constant.f;
    if (isnan(f))
        text_add(out, opencl ? "(%s)NAN" : "(%s)__builtin_nanf(\"\")", source_type(s, e->dtype));
    else if (isinf(f)) {
        text_add(out, opencl ? "(%s(%s)INFINITY)" : "(%s(%s)__builtin_inff())", f < 0 ? "-" : "",
                 source_type(s, e->dtype));
    } else
        text_add(out, f < 0 || signbit(f) ? "(%a%s)" : "%a%s", f, f32 ? "f" : "");
}

static void add_const(struct source *s, struct text *out, const struct expr *e) {
    const char *type = source_type(s, e->dtype);
    uint64_t bits;
    if (e->dtype == YJ_F32 || e->dtype == YJ_F64) {
        add_float(s, out, e);
    } else if (dtype_kind(e->dtype) == 'f') {
        memcpy(&bits, &e->constant.f, sizeof bits);
        text_add(out, "(%s)%#" PRIx64, type, scalar_cast(e->dtype, YJ_F64, bits));
    } else if (dtype_kind(e->dtype) == 'u') {
        text_add(out, "(%s)%" PRIu64 "UL", type, (uint64_t)e->constant.i);
    } else if (e->dtype == YJ_BOOL) {
        text_add(out, "(b8)%d", e->constant.i != 0);
    } else {
        text_add(out, "(%s)", type);
        add_i64(out, e->constant.i);
    }
}

static void add_subscript(struct source *s, struct text *out, const struct buffer *b, struct expr *const *subs,
                          int last) {
    if (last == 0) {
        source_expr(s, out, subs[0]);
        return;
    }
    text_add(out, "(");
    add_subscript(s, out, b, subs, last - 1);
    text_add(out, " * ");
    source_dim(s, out, b->shape[last]);
    text_add(out, " + ");
    source_expr(s, out, subs[last]);
    text_add(out, ")");
}

void source_element(struct source *s, struct text *out, const struct buffer *b, int n, struct expr *const *subs) {
    text_add(out, "%s[", source_name(s, b, b->name));
    if (n == 0)
        text_add(out, "0");
    else
        add_subscript(s, out, b, subs, n - 1);
    text_add(out, "]");
}

static void add_list(struct source *s, struct text *out, const struct expr *e) {
    text_add(out, "(");
    for (int i = 0; i < e->n; i++) {
        if (i) text_add(out, ", ");
        source_expr(s, out, e->arg[i]);
    }
    text_add(out, ")");
}

static void add_select(struct source *s, struct text *out, const struct expr *e) {
    text_add(out, "(");
    source_expr(s, out, e->arg[0]);
    text_add(out, " ? ");
    source_expr(s, out, e->arg[1]);
    text_add(out, " : ");
    source_expr(s, out, e->arg[2]);
    text_add(out, ")");
}

void source_expr(struct source *s, struct text *out, const struct expr *e) {
    switch (e->kind) {
    case EXPR_CONST:
        add_const(s, out, e);
        return;
    case EXPR_DIM:
        source_dim(s, out, e->dim);
        return;
    case EXPR_LET:
        text_add(out, "%s", source_name(s, e->let, e->let->name));
        return;
    case EXPR_LOAD:
        if (e->dtype == YJ_BOOL) text_add(out, "(b8)(");
        source_element(s, out, e->buffer, e->n, e->arg);
        if (e->dtype == YJ_BOOL) text_add(out, " != 0)");
        return;
    case EXPR_OP:
        if (e->op == SCALAR_select) {
            add_select(s, out, e);
            return;
        }
        text_add(out, "%s", source_op(s, e->op, e->arg[0]->dtype));
        break;
    case EXPR_CAST:
        text_add(out, "%s", source_cast(s, e->dtype, e->arg[0]->dtype));
        break;
    case EXPR_BITCAST:
        text_add(out, "%s", source_bitcast(s, e->dtype, e->arg[0]->dtype));
        break;
    }
    add_list(s, out, e);
}

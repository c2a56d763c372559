/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels to text, one statement a line. kernel_parse.c reads it back: printing what was parsed gives the same text, so
 * every constant prints with all its digits and, but for the usual types, with its type.
 */
#include "ir/kernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *const axis_words[] = {"tile", "lane", "serial", "unroll", "vector"};
static const char *const space_words[] = {"global", "shared", "scratch", "reg"};
static const char *const role_words[] = {"local", "in", "out", "inout"};

/* --- print --- */

static void print_float(struct text *out, enum yj_dtype dtype, double f) {
    char digits[40];
    if (isnan(f))
        snprintf(digits, sizeof digits, "nan");
    else if (isinf(f))
        snprintf(digits, sizeof digits, f < 0 ? "-inf" : "inf");
    else {
        snprintf(digits, sizeof digits, dtype == YJ_F64 ? "%.17g" : "%.9g", f);
        if (!strpbrk(digits, ".e")) strcat(digits, ".0");
    }
    text_add(out, "%s", digits);
    if (dtype != YJ_F32) text_add(out, ":%s", yj_dtype_name(dtype));
}

static void print_const(struct text *out, const struct expr *e) {
    char kind = dtype_kind(e->dtype);
    if (kind == 'f')
        print_float(out, e->dtype, e->constant.f);
    else if (kind == 'b')
        text_add(out, e->constant.i ? "true" : "false");
    else if (kind == 'u')
        text_add(out, "%" PRIu64 ":%s", (uint64_t)e->constant.i, yj_dtype_name(e->dtype));
    else
        text_add(out, "%" PRId64 ":%s", e->constant.i, yj_dtype_name(e->dtype));
}

static void print_expr(struct text *out, const struct expr *e);

static void print_list(struct text *out, int n, struct expr *const *e) {
    for (int i = 0; i < n; i++) {
        if (i) text_add(out, ", ");
        print_expr(out, e[i]);
    }
}

static void print_dims(struct text *out, int n, const dim *d) {
    text_add(out, "[");
    for (int i = 0; i < n; i++) {
        if (i) text_add(out, ", ");
        dim_print(out, d[i]);
    }
    text_add(out, "]");
}

static void print_expr(struct text *out, const struct expr *e) {
    switch (e->kind) {
    case EXPR_CONST:
        print_const(out, e);
        return;
    case EXPR_DIM:
        dim_print(out, e->dim);
        return;
    case EXPR_LET:
        text_add(out, "%s", e->let->name);
        return;
    case EXPR_LOAD:
        text_add(out, "%s[", e->buffer->name);
        print_list(out, e->n, e->arg);
        text_add(out, "]");
        return;
    case EXPR_OP:
        text_add(out, "%s(", scalar_info[e->op].name);
        break;
    case EXPR_CAST:
        text_add(out, "cast.%s(", yj_dtype_name(e->dtype));
        break;
    case EXPR_BITCAST:
        text_add(out, "bitcast.%s(", yj_dtype_name(e->dtype));
        break;
    }
    print_list(out, e->n, e->arg);
    text_add(out, ")");
}

static void print_target(struct text *out, const struct stmt *s) {
    text_add(out, "%s[", s->buffer->name);
    print_list(out, s->n_subs, s->subs);
    text_add(out, "] = ");
}

static void print_range(struct text *out, const struct stmt *s) {
    text_add(out, "%s = ", s->axis->name);
    dim_print(out, s->from);
    text_add(out, " .. ");
    dim_print(out, s->to);
}

static void print_fma_tile(struct text *out, const struct stmt *s) {
    text_add(out, "fma_tile");
    for (int i = 0; i < 3; i++)
        text_add(out, " %s:%d", s->tile_axis[i]->name, s->tile_extent[i]);
    text_add(out, " ");
    print_expr(out, s->c);
    text_add(out, " += ");
    print_expr(out, s->a);
    text_add(out, " * ");
    print_expr(out, s->b);
}

void stmt_print(struct text *out, const struct stmt *s) {
    switch (s->kind) {
    case STMT_LOOP:
        text_add(out, "%s ", axis_words[s->axis_kind]);
        print_range(out, s);
        if (s->step != 1) text_add(out, " step %" PRId64, s->step);
        return;
    case STMT_IF:
        text_add(out, "if ");
        print_expr(out, s->value);
        return;
    case STMT_BUFFER:
        text_add(out, "%s %s %s ", space_words[s->buffer->space], s->buffer->name, yj_dtype_name(s->buffer->dtype));
        print_dims(out, s->buffer->rank, s->buffer->shape);
        return;
    case STMT_LET:
        text_add(out, "let %s = ", s->name);
        print_expr(out, s->value);
        return;
    case STMT_STORE:
        print_target(out, s);
        print_expr(out, s->value);
        return;
    case STMT_REDUCE:
        text_add(out, "reduce %s = %s(", s->name, scalar_info[s->op].name);
        print_range(out, s);
        if (s->lanes != 1) text_add(out, " lanes %d", s->lanes);
        text_add(out, ") ");
        print_expr(out, s->value);
        return;
    case STMT_FMA_TILE:
        print_fma_tile(out, s);
        return;
    case STMT_BARRIER:
        text_add(out, "barrier");
        return;
    case STMT_COPY:
        text_add(out, "copy %d ", s->tag);
        print_target(out, s);
        print_expr(out, s->value);
        text_add(out, " ");
        print_dims(out, s->n_subs, s->extents);
        return;
    case STMT_WAIT:
        text_add(out, "wait %d", s->tag);
        return;
    case STMT_PREFETCH:
        text_add(out, "prefetch ");
        print_expr(out, s->value);
        return;
    case STMT_CHECK:
        text_add(out, "check ");
        print_expr(out, s->value);
        text_add(out, " fault %d ", s->fault_code);
        print_expr(out, s->fault_value);
        return;
    }
}

static void print_body(struct text *out, const struct stmt *body, int indent) {
    for (const struct stmt *s = body; s; s = s->next) {
        text_add(out, "%*s", indent, "");
        stmt_print(out, s);
        bool block = s->kind == STMT_LOOP || s->kind == STMT_IF;
        text_add(out, block ? " {\n" : "\n");
        if (!block) continue;
        print_body(out, s->body, indent + 2);
        text_add(out, "%*s}\n", indent, "");
    }
}

void kernel_print(struct text *out, const struct kernel *k) {
    text_add(out, "kernel %s(", k->name);
    for (int i = 0; i < k->n_dims; i++) {
        dim d = k->dim_args[i];
        text_add(out, "%s%s", i ? ", " : "", d->name);
        if (d->low == INT64_MIN && d->high == DIM_UNBOUNDED) continue;
        text_add(out, " in ");
        if (d->low != INT64_MIN) text_add(out, "%" PRId64, d->low);
        text_add(out, "..");
        if (d->high != DIM_UNBOUNDED) text_add(out, "%" PRId64, d->high);
    }
    text_add(out, ")%s%s\n", k->origin ? " " : "", k->origin ? k->origin : "");
    for (const struct buffer *b = k->args; b; b = b->next) {
        text_add(out, "  %s %s %s ", role_words[b->role], b->name, yj_dtype_name(b->dtype));
        print_dims(out, b->rank, b->shape);
        text_add(out, "\n");
    }
    for (int i = 0; i < k->n_guards; i++) {
        text_add(out, "  guard ");
        dim_print(out, k->guards[i].low);
        text_add(out, " <= ");
        dim_print(out, k->guards[i].value);
        text_add(out, " <= ");
        dim_print(out, k->guards[i].high);
        text_add(out, "\n");
    }
    text_add(out, "{\n");
    print_body(out, k->body, 2);
    text_add(out, "}\n");
}

static int number_body(struct stmt *body, int line) {
    for (struct stmt *s = body; s; s = s->next) {
        s->line = line++;
        if (s->kind == STMT_LOOP || s->kind == STMT_IF) line = number_body(s->body, line) + 1;
    }
    return line;
}

int kernel_number_lines(struct kernel *k) {
    return number_body(k->body, 1 + k->n_args + k->n_guards + 2);
}

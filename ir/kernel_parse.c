/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to kernel: recursive descent over the forms that kernel_text.c prints. The one idea: names are looked up in a
 * list of what is in scope, newest first, and every error says file:line:column, what was expected and what was found.
 */
#include "ir/kernel_parse.h"

#include <ctype.h>

/* --- statements --- */

static enum yj_status parse_body(struct parser *p, struct stmt **body);

/* NAME = FROM .. TO; gives the axis, which an earlier loop with the same range may have bound already. */
static enum yj_status use_axis(struct parser *p, const char *where, const char *name, dim from, dim to, dim *axis) {
    for (struct bound_axis *b = p->axes; b; b = b->next) {
        if (strcmp(b->axis->name, name) != 0) continue;
        if (b->from != from || b->to != to)
            return kp_error(p, where, "this axis has another range above: choose another name");
        *axis = b->axis;
        return YJ_OK;
    }
    if (kernel_has_name(p->k, name))
        return kp_error(p, where, "the name %s is taken (a name means one thing in the whole kernel)", name);
    struct bound_axis *b = NEW(p->k->arena, struct bound_axis);
    *b = (struct bound_axis){kernel_axis(p->k, name, from, to), from, to, p->axes};
    p->axes = b;
    *axis = b->axis;
    return YJ_OK;
}

static enum yj_status parse_range(struct parser *p, dim *axis, dim *from, dim *to) {
    char name[MAX_WORD];
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_word(p, "the name of an axis", name));
    TRY(kp_need(p, "="));
    TRY(kp_dim(p, from));
    TRY(kp_need(p, ".."));
    TRY(kp_dim(p, to));
    return use_axis(p, where, name, *from, *to, axis);
}

static enum yj_status parse_loop(struct parser *p, struct cursor *at, enum axis_kind kind) {
    dim axis, from, to;
    int64_t step = 1;
    TRY(parse_range(p, &axis, &from, &to));
    if (kp_accept(p, "step")) TRY(kp_integer(p, "a step of 1 or more", 1, INT32_MAX, &step));
    struct entity *outer = p->scope;
    kp_declare(p, (struct entity){.name = axis->name, .symbol = axis});
    enum yj_status status = parse_body(p, &stmt_loop(p->k, at, kind, axis, from, to, step)->body);
    p->scope = outer;
    return status;
}

static enum yj_status parse_if(struct parser *p, struct cursor *at) {
    struct expr *condition;
    TRY(kp_expr(p, &condition));
    struct entity *outer = p->scope;
    enum yj_status status = parse_body(p, &stmt_if(p->k, at, condition)->body);
    p->scope = outer;
    return status;
}

/* NAME TYPE [SHAPE] */
static enum yj_status parse_declaration(struct parser *p, char name[MAX_WORD], enum yj_dtype *dtype, int *rank,
                                        dim *shape) {
    TRY(kp_new_name(p, "the name of a buffer", name));
    TRY(kp_dtype(p, dtype));
    TRY(kp_need(p, "["));
    *rank = 0;
    if (kp_accept(p, "]")) return YJ_OK;
    do {
        if (*rank == KERNEL_MAX_RANK) return kp_expected(p, "at most 10 dimensions");
        TRY(kp_dim(p, &shape[(*rank)++]));
    } while (kp_accept(p, ","));
    return kp_need(p, "]");
}

static enum yj_status parse_buffer(struct parser *p, struct cursor *at, enum space space) {
    char name[MAX_WORD];
    enum yj_dtype dtype;
    int rank;
    dim shape[KERNEL_MAX_RANK];
    TRY(parse_declaration(p, name, &dtype, &rank, shape));
    struct buffer *b = stmt_buffer(p->k, at, space, name, dtype, rank, shape);
    kp_declare(p, (struct entity){.name = b->name, .buffer = b});
    return YJ_OK;
}

static enum yj_status parse_let(struct parser *p, struct cursor *at) {
    char name[MAX_WORD];
    struct expr *value;
    TRY(kp_new_name(p, "the name of a let", name));
    TRY(kp_need(p, "="));
    TRY(kp_expr(p, &value));
    struct stmt *let = stmt_let(p->k, at, name, value)->let;
    kp_declare(p, (struct entity){.name = let->name, .let = let});
    return YJ_OK;
}

static enum yj_status parse_reduce(struct parser *p, struct cursor *at) {
    char name[MAX_WORD], op_name[MAX_WORD];
    enum scalar_op op;
    dim axis, from, to;
    int64_t lanes = 1;
    struct expr *value;
    TRY(kp_new_name(p, "the name of a reduction", name));
    TRY(kp_need(p, "="));
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_word(p, "add, mul, min, max, and, or", op_name));
    if (!scalar_find(op_name, &op)) return kp_error(p, where, "expected add, mul, min, max, and, or");
    TRY(kp_need(p, "("));
    TRY(parse_range(p, &axis, &from, &to));
    if (kp_accept(p, "lanes")) TRY(kp_integer(p, "a number of partial results", 1, 64, &lanes));
    TRY(kp_need(p, ")"));
    struct entity *outer = p->scope;
    kp_declare(p, (struct entity){.name = axis->name, .symbol = axis});
    TRY(kp_expr(p, &value));
    p->scope = outer;
    struct stmt *reduce = stmt_reduce(p->k, at, name, op, (int)lanes, axis, from, to, value)->let;
    kp_declare(p, (struct entity){.name = reduce->name, .let = reduce});
    return YJ_OK;
}

static enum yj_status parse_load(struct parser *p, struct expr **out) {
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_primary(p, out));
    return (*out)->kind == EXPR_LOAD ? YJ_OK : kp_error(p, where, "expected an element of a buffer");
}

static enum yj_status parse_fma_tile(struct parser *p, struct cursor *at) {
    dim axis[3];
    int extent[3];
    struct entity *outer = p->scope;
    for (int i = 0; i < 3; i++) {
        char name[MAX_WORD];
        int64_t n;
        kp_skip_space(p);
        const char *where = p->at;
        TRY(kp_word(p, "the name of an axis", name));
        TRY(kp_need(p, ":"));
        TRY(kp_integer(p, "an extent of 1 to 256", 1, 256, &n));
        extent[i] = (int)n;
        TRY(use_axis(p, where, name, dim_const(p->k->dims, 0), dim_const(p->k->dims, n), &axis[i]));
        kp_declare(p, (struct entity){.name = axis[i]->name, .symbol = axis[i]});
    }
    struct expr *c, *a, *b;
    TRY(parse_load(p, &c));
    TRY(kp_need(p, "+="));
    TRY(parse_load(p, &a));
    TRY(kp_need(p, "*"));
    TRY(parse_load(p, &b));
    p->scope = outer;
    stmt_fma_tile(p->k, at, axis, extent, c, a, b);
    return YJ_OK;
}

static enum yj_status parse_copy(struct parser *p, struct cursor *at) {
    int64_t tag;
    struct expr *to, *from, *sizes[KERNEL_MAX_RANK];
    TRY(kp_integer(p, "a tag of 0 to 255", 0, 255, &tag));
    kp_skip_space(p);
    const char *where = p->at;
    TRY(parse_load(p, &to));
    TRY(kp_need(p, "="));
    TRY(parse_load(p, &from));
    const char *box = p->at;
    TRY(kp_subscripts(p, to->buffer, sizes));
    dim subs[KERNEL_MAX_RANK], extents[KERNEL_MAX_RANK], unused;
    for (int i = 0; i < to->n; i++) {
        TRY(kp_as_dim(p, where, to->arg[i], &subs[i]));
        TRY(kp_as_dim(p, box, sizes[i], &extents[i]));
    }
    for (int i = 0; i < from->n; i++)
        TRY(kp_as_dim(p, where, from->arg[i], &unused));
    stmt_copy(p->k, at, (int)tag, to->buffer, subs, from, extents);
    return YJ_OK;
}

static enum yj_status parse_wait(struct parser *p, struct cursor *at) {
    int64_t tag;
    TRY(kp_integer(p, "a tag of 0 to 255", 0, 255, &tag));
    stmt_wait(p->k, at, (int)tag);
    return YJ_OK;
}

static enum yj_status parse_prefetch(struct parser *p, struct cursor *at) {
    struct expr *load;
    TRY(parse_load(p, &load));
    stmt_prefetch(p->k, at, load);
    return YJ_OK;
}

static enum yj_status parse_check(struct parser *p, struct cursor *at) {
    struct expr *condition, *value;
    int64_t code;
    TRY(kp_expr(p, &condition));
    TRY(kp_need(p, "fault"));
    TRY(kp_integer(p, "a fault code of 1 or more", 1, INT32_MAX, &code));
    TRY(kp_expr(p, &value));
    stmt_check(p->k, at, condition, (int)code, value);
    return YJ_OK;
}

static enum yj_status parse_store(struct parser *p, struct cursor *at) {
    struct expr *to, *value;
    TRY(parse_load(p, &to));
    TRY(kp_need(p, "="));
    TRY(kp_expr(p, &value));
    stmt_store(p->k, at, to->buffer, to->n, to->arg, value);
    return YJ_OK;
}

static enum yj_status parse_stmt(struct parser *p, struct cursor *at) {
    if (kp_accept(p, "tile")) return parse_loop(p, at, AXIS_TILE);
    if (kp_accept(p, "lane")) return parse_loop(p, at, AXIS_LANE);
    if (kp_accept(p, "serial")) return parse_loop(p, at, AXIS_SERIAL);
    if (kp_accept(p, "unroll")) return parse_loop(p, at, AXIS_UNROLL);
    if (kp_accept(p, "vector")) return parse_loop(p, at, AXIS_VECTOR);
    if (kp_accept(p, "if")) return parse_if(p, at);
    if (kp_accept(p, "reg")) return parse_buffer(p, at, SPACE_REG);
    if (kp_accept(p, "scratch")) return parse_buffer(p, at, SPACE_SCRATCH);
    if (kp_accept(p, "shared")) return parse_buffer(p, at, SPACE_SHARED);
    if (kp_accept(p, "let")) return parse_let(p, at);
    if (kp_accept(p, "reduce")) return parse_reduce(p, at);
    if (kp_accept(p, "fma_tile")) return parse_fma_tile(p, at);
    if (kp_accept(p, "copy")) return parse_copy(p, at);
    if (kp_accept(p, "wait")) return parse_wait(p, at);
    if (kp_accept(p, "prefetch")) return parse_prefetch(p, at);
    if (kp_accept(p, "check")) return parse_check(p, at);
    if (kp_accept(p, "barrier")) {
        stmt_barrier(p->k, at);
        return YJ_OK;
    }
    kp_skip_space(p);
    return kp_starts_word(*p->at) ? parse_store(p, at) : kp_expected(p, "a statement or '}'");
}

static enum yj_status parse_body(struct parser *p, struct stmt **body) {
    TRY(kp_need(p, "{"));
    TRY(kp_enter(p));
    struct entity *outer = p->scope;
    struct cursor at = kernel_at(body);
    while (!kp_accept(p, "}"))
        TRY(parse_stmt(p, &at));
    p->scope = outer;
    p->nest--;
    return YJ_OK;
}

/* --- the head --- */

static enum yj_status parse_dim_arg(struct parser *p) {
    char name[MAX_WORD];
    int64_t low = INT64_MIN, high = DIM_UNBOUNDED;
    TRY(kp_new_name(p, "the name of a dim", name));
    if (kp_accept(p, "in")) {
        if (!kp_accept(p, "..")) {
            TRY(kp_integer(p, "a lower bound", INT64_MIN, INT64_MAX, &low));
            TRY(kp_need(p, ".."));
        }
        kp_skip_space(p);
        if (*p->at == '-' || isdigit((unsigned char)*p->at))
            TRY(kp_integer(p, "an upper bound", low, INT64_MAX, &high));
    }
    dim d = kernel_dim(p->k, name, low, high);
    kp_declare(p, (struct entity){.name = d->name, .symbol = d});
    return YJ_OK;
}

static enum yj_status parse_arg(struct parser *p, enum role role) {
    char name[MAX_WORD];
    enum yj_dtype dtype;
    int rank;
    dim shape[KERNEL_MAX_RANK];
    TRY(parse_declaration(p, name, &dtype, &rank, shape));
    struct buffer *b = kernel_arg(p->k, role, name, dtype, rank, shape);
    kp_declare(p, (struct entity){.name = b->name, .buffer = b});
    return YJ_OK;
}

static enum yj_status parse_guard(struct parser *p) {
    struct kernel *k = p->k;
    struct guard g, *more = NEW_ARRAY(k->arena, struct guard, k->n_guards + 1);
    TRY(kp_dim(p, &g.low));
    TRY(kp_need(p, "<="));
    TRY(kp_dim(p, &g.value));
    TRY(kp_need(p, "<="));
    TRY(kp_dim(p, &g.high));
    for (int i = 0; i < k->n_guards; i++)
        more[i] = k->guards[i];
    more[k->n_guards++] = g;
    k->guards = more;
    return YJ_OK;
}

static enum yj_status parse_kernel(struct parser *p, struct arena *arena) {
    char name[MAX_WORD];
    TRY(kp_need(p, "kernel"));
    TRY(kp_word(p, "the name of the kernel", name));
    p->k = kernel_new(arena, name);
    TRY(kp_need(p, "("));
    if (!kp_accept(p, ")")) {
        do
            TRY(parse_dim_arg(p));
        while (kp_accept(p, ","));
        TRY(kp_need(p, ")"));
    }
    kp_skip_space(p);
    if (*p->at == '@') {
        const char *start = p->at;
        while (*p->at == '@' || *p->at == ',' || isdigit((unsigned char)*p->at))
            p->at++;
        p->k->origin = arena_text(arena, "%.*s", (int)(p->at - start), start);
    }
    for (;;) {
        if (kp_accept(p, "in"))
            TRY(parse_arg(p, ROLE_IN));
        else if (kp_accept(p, "out"))
            TRY(parse_arg(p, ROLE_OUT));
        else if (kp_accept(p, "inout"))
            TRY(parse_arg(p, ROLE_INOUT));
        else if (kp_accept(p, "guard"))
            TRY(parse_guard(p));
        else
            break;
    }
    kp_skip_space(p);
    if (*p->at != '{') return kp_expected(p, "in, out, inout, guard or '{'");
    TRY(parse_body(p, &p->k->body));
    kp_skip_space(p);
    return *p->at ? kp_expected(p, "the end of the text") : YJ_OK;
}

struct parse_call {
    struct parser parser;
    struct arena *arena;
};

static enum yj_status parse_all(void *argument) {
    struct parse_call *call = argument;
    return parse_kernel(&call->parser, call->arena);
}

enum yj_status kernel_parse(struct arena *arena, const char *text, const char *file, struct kernel **k) {
    struct parse_call call = {{.file = file, .text = text, .at = text}, arena};
    TRY(arena_guard(parse_all, &call));
    enum yj_status status = kernel_verify(call.parser.k);
    if (status != YJ_OK) return report_in(status, "%s", file);
    *k = call.parser.k;
    return YJ_OK;
}

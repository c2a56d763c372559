/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to kernel: recursive descent over the forms that kernel_text.c prints. The one idea: names are looked up in a
 * list of what is in scope, newest first, and every error says file:line:column, what was expected and what was found.
 */
#include "ir/kernel.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NEST = 100, MAX_WORD = KERNEL_MAX_NAME + 1 };

/* What a name in scope stands for: exactly one of the pointers is set. */
struct entity {
    const char *name;
    struct buffer *buffer;
    struct stmt *let;
    dim symbol;
    struct entity *outer;
};
struct bound_axis {
    dim axis, from, to;
    struct bound_axis *next;
};

struct parser {
    struct kernel *k;
    const char *file, *text, *at;
    int nest;
    struct entity *scope;
    struct bound_axis *axes; /* all axes so far: loops that stand side by side may share one */
};

/* --- words and errors --- */

__attribute__((format(printf, 3, 4))) static enum yj_status error_at(struct parser *p, const char *where,
                                                                     const char *format, ...) {
    char message[KERNEL_MAX_NAME + 200];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    int line = 1, column = 1;
    for (const char *c = p->text; c < where; c++) {
        if (*c == '\n')
            line++, column = 1;
        else if (((unsigned char)*c & 0xC0) != 0x80)
            column++;
    }
    return report(YJ_ERR_INPUT, "%s:%d:%d: %s", p->file, line, column, message);
}

static void skip_space(struct parser *p) {
    for (;; p->at++) {
        if (*p->at == '#')
            while (*p->at && *p->at != '\n')
                p->at++;
        if (!*p->at || !isspace((unsigned char)*p->at)) return;
    }
}

static bool starts_word(char c) {
    return isalpha((unsigned char)c) || c == '_';
}

static bool in_word(const char *c) { /* a dot belongs to a word only before another character of it: `0..M` */
    return isalnum((unsigned char)*c) || *c == '_' || (*c == '.' && (isalnum((unsigned char)c[1]) || c[1] == '_'));
}

static enum yj_status expected(struct parser *p, const char *what) {
    skip_space(p);
    int n = 0;
    while (n < 24 && p->at[n] && (unsigned char)p->at[n] >= ' ' && (n == 0 || in_word(p->at + n)))
        n++;
    if (*p->at == 0) return error_at(p, p->at, "expected %s, found the end of the text", what);
    return error_at(p, p->at, "expected %s, found '%.*s'", what, n ? n : 1, n ? p->at : "?");
}

static bool accept(struct parser *p, const char *mark) {
    skip_space(p);
    size_t n = strlen(mark);
    if (strncmp(p->at, mark, n) != 0) return false;
    if (starts_word(mark[0]) && in_word(p->at + n)) return false;
    p->at += n;
    return true;
}

static enum yj_status need(struct parser *p, const char *mark) {
    if (accept(p, mark)) return YJ_OK;
    char what[MAX_WORD];
    snprintf(what, sizeof what, "'%s'", mark);
    return expected(p, what);
}

static enum yj_status word(struct parser *p, const char *what, char out[MAX_WORD]) {
    skip_space(p);
    size_t n = 0;
    if (starts_word(*p->at))
        while (in_word(p->at + n))
            n++;
    if (n == 0) return expected(p, what);
    if (n >= MAX_WORD) return error_at(p, p->at, "a name longer than %d characters", KERNEL_MAX_NAME);
    memcpy(out, p->at, n);
    out[n] = 0;
    p->at += n;
    return YJ_OK;
}

/* A name that is declared here. */
static enum yj_status new_name(struct parser *p, const char *what, char out[MAX_WORD]) {
    skip_space(p);
    const char *where = p->at;
    TRY(word(p, what, out));
    if (!kernel_has_name(p->k, out)) return YJ_OK;
    return error_at(p, where, "the name %s is taken (a name means one thing in the whole kernel)", out);
}

static enum yj_status integer(struct parser *p, const char *what, int64_t low, int64_t high, int64_t *value) {
    skip_space(p);
    const char *where = p->at;
    bool negative = accept(p, "-");
    if (!isdigit((unsigned char)*p->at)) return expected(p, what);
    char *end;
    errno = 0;
    unsigned long long magnitude = strtoull(p->at, &end, 10);
    uint64_t most = negative ? UINT64_C(1) << 63 : INT64_MAX;
    int64_t v = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (errno || magnitude > most || v < low || v > high) return error_at(p, where, "the number is out of range here");
    p->at = end;
    *value = v;
    return YJ_OK;
}

static enum yj_status enter(struct parser *p) {
    if (++p->nest > MAX_NEST) return error_at(p, p->at, "nested too deeply (more than 100 levels)");
    return YJ_OK;
}

static struct entity *find(struct parser *p, const char *name) {
    struct entity *e = p->scope;
    while (e && strcmp(e->name, name) != 0)
        e = e->outer;
    return e;
}

static void declare(struct parser *p, struct entity what) {
    struct entity *e = NEW(p->k->arena, struct entity);
    *e = what;
    e->outer = p->scope;
    p->scope = e;
}

/* --- expressions --- */

static enum yj_status parse_expr(struct parser *p, struct expr **out);

static enum yj_status parse_dtype(struct parser *p, enum yj_dtype *dtype) {
    char name[MAX_WORD];
    skip_space(p);
    const char *where = p->at;
    TRY(word(p, "an element type", name));
    if (dtype_parse(name, dtype)) return YJ_OK;
    p->at = where;
    return expected(p, "an element type");
}

static enum yj_status int_const(struct parser *p, const char *where, enum yj_dtype dtype, bool negative,
                                uint64_t magnitude, struct expr **out) {
    int bits = (int)yj_dtype_bytes(dtype) * 8;
    bool is_signed = dtype_kind(dtype) == 'i';
    uint64_t most = is_signed    ? (UINT64_C(1) << (bits - 1)) - !negative
                    : negative   ? 0
                    : bits == 64 ? UINT64_MAX
                                 : (UINT64_C(1) << bits) - 1;
    if (dtype_kind(dtype) == 'b') return error_at(p, where, "a bool constant is true or false");
    if (magnitude > most) return error_at(p, where, "the constant is out of the range of its type");
    *out = expr_const_i(p->k, dtype, (int64_t)(negative ? 0 - magnitude : magnitude));
    return YJ_OK;
}

/* A number or inf or nan, with an optional type behind it. */
static enum yj_status parse_number(struct parser *p, bool negative, struct expr **out) {
    const char *where = p->at;
    bool special = starts_word(*p->at), fraction = special;
    double f = special ? (accept(p, "nan") ? NAN : INFINITY) : 0;
    if (special && !isnan(f) && !accept(p, "inf")) return expected(p, "inf or nan");
    char digits[64], *end;
    size_t n = 0;
    while (!special && n < sizeof digits - 1 &&
           (isdigit((unsigned char)p->at[n]) || (p->at[n] == '.' && isdigit((unsigned char)p->at[n + 1])) ||
            (n && p->at[n] == 'e') || (n && p->at[n - 1] == 'e' && (p->at[n] == '+' || p->at[n] == '-')))) {
        fraction |= p->at[n] == '.' || p->at[n] == 'e';
        digits[n] = p->at[n];
        n++;
    }
    digits[n] = 0;
    p->at += n;
    enum yj_dtype dtype = fraction ? YJ_F32 : YJ_I64;
    if (*p->at == ':') {
        p->at++;
        TRY(parse_dtype(p, &dtype));
    }
    errno = 0;
    if (!fraction && dtype_kind(dtype) != 'f') {
        uint64_t magnitude = strtoull(digits, &end, 10);
        if (*end || errno) return error_at(p, where, "the constant is not an integer of 64 bits");
        return int_const(p, where, dtype, negative, magnitude, out);
    }
    if (dtype_kind(dtype) != 'f') return error_at(p, where, "a constant with a fraction needs a float type");
    if (!special) {
        f = dtype == YJ_F64 ? strtod(digits, &end) : (double)strtof(digits, &end);
        if (*end) return error_at(p, where, "not a number");
    }
    *out = expr_const_f(p->k, dtype, negative ? -f : f);
    return YJ_OK;
}

static enum yj_status parse_list(struct parser *p, const char *close, int most, struct expr **list, int *n) {
    *n = 0;
    if (accept(p, close)) return YJ_OK;
    do {
        if (*n == most) return expected(p, "fewer operands");
        TRY(parse_expr(p, &list[(*n)++]));
    } while (accept(p, ","));
    return need(p, close);
}

static enum yj_status parse_subscripts(struct parser *p, struct buffer *b, struct expr **subs) {
    int n;
    TRY(need(p, "["));
    const char *where = p->at;
    TRY(parse_list(p, "]", KERNEL_MAX_RANK, subs, &n));
    return n == b->rank ? YJ_OK : error_at(p, where, "%s has %d dimensions, not %d", b->name, b->rank, n);
}

static enum yj_status parse_call(struct parser *p, const char *where, const char *name, struct expr **out) {
    struct expr *args[KERNEL_MAX_RANK] = {NULL};
    bool cast = strncmp(name, "cast.", 5) == 0, bitcast = strncmp(name, "bitcast.", 8) == 0;
    enum scalar_op op = SCALAR_add;
    enum yj_dtype to = YJ_F32;
    if (cast || bitcast ? !dtype_parse(strchr(name, '.') + 1, &to) : !scalar_find(name, &op)) {
        p->at = where;
        return expected(p, "a scalar op, cast.TYPE or bitcast.TYPE");
    }
    int n, arity = cast || bitcast ? 1 : scalar_info[op].arity;
    TRY(need(p, "("));
    TRY(parse_list(p, ")", KERNEL_MAX_RANK, args, &n));
    if (n != arity) return error_at(p, where, "%s takes %d operands, not %d", name, arity, n);
    *out = cast      ? expr_cast(p->k, to, args[0])
           : bitcast ? expr_bitcast(p->k, to, args[0])
                     : expr_op(p->k, op, args[0], args[1], args[2]);
    return YJ_OK;
}

static enum yj_status parse_name(struct parser *p, struct expr **out) {
    char name[MAX_WORD];
    const char *where = p->at;
    TRY(word(p, "an expression", name));
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        *out = expr_const_i(p->k, YJ_BOOL, name[0] == 't');
        return YJ_OK;
    }
    skip_space(p);
    if (*p->at == '(') return parse_call(p, where, name, out);
    struct entity *e = find(p, name);
    if (!e) return error_at(p, where, "%s is not declared here", name);
    if (e->buffer) {
        struct expr *subs[KERNEL_MAX_RANK];
        TRY(parse_subscripts(p, e->buffer, subs));
        *out = expr_load(p->k, e->buffer, e->buffer->rank, subs);
    } else {
        *out = e->let ? expr_let(p->k, e->let) : expr_dim(p->k, e->symbol);
    }
    return YJ_OK;
}

static enum yj_status parse_primary(struct parser *p, struct expr **out) {
    skip_space(p);
    if (accept(p, "(")) {
        TRY(parse_expr(p, out));
        return need(p, ")");
    }
    if (isdigit((unsigned char)*p->at)) return parse_number(p, false, out);
    const char *before = p->at;
    if (accept(p, "inf") || accept(p, "nan")) {
        p->at = before;
        return parse_number(p, false, out);
    }
    return parse_name(p, out);
}

static enum yj_status as_dim(struct parser *p, const char *where, struct expr *e, dim *d) {
    if (e->kind != EXPR_DIM)
        return error_at(p, where, "expected integers made of axes and dims (data takes add(x, y), not x + y)");
    *d = e->dim;
    return YJ_OK;
}

static enum yj_status parse_factor(struct parser *p, struct expr **out) {
    skip_space(p);
    const char *where = p->at;
    if (!accept(p, "-")) return parse_primary(p, out);
    skip_space(p);
    const char *digits = p->at;
    if (isdigit((unsigned char)*p->at) || accept(p, "inf") || accept(p, "nan")) {
        p->at = digits;
        return parse_number(p, true, out);
    }
    dim d = NULL;
    TRY(enter(p));
    TRY(parse_factor(p, out));
    p->nest--;
    TRY(as_dim(p, where, *out, &d));
    *out = expr_dim(p->k, dim_sub(p->k->dims, dim_const(p->k->dims, 0), d));
    return YJ_OK;
}

static enum yj_status parse_term(struct parser *p, struct expr **out) {
    skip_space(p);
    const char *where = p->at;
    TRY(parse_factor(p, out));
    for (;;) {
        skip_space(p);
        char op = *p->at;
        if (op != '*' && op != '/' && op != '%') return YJ_OK;
        dim a = NULL, b = NULL;
        TRY(as_dim(p, where, *out, &a));
        p->at++;
        skip_space(p);
        const char *right = p->at;
        TRY(parse_factor(p, out));
        TRY(as_dim(p, right, *out, &b));
        bool zero = b->low < 0 ? b->high >= 0 : b->high == 0; /* 0.. counts as 1.. */
        if (op != '*' && zero) return error_at(p, right, "the divisor may be 0");
        struct dim_table *t = p->k->dims;
        *out = expr_dim(p->k, op == '*' ? dim_mul(t, a, b) : op == '/' ? dim_div(t, a, b) : dim_mod(t, a, b));
    }
}

static enum yj_status parse_expr(struct parser *p, struct expr **out) {
    TRY(enter(p));
    skip_space(p);
    const char *where = p->at;
    TRY(parse_term(p, out));
    for (;;) {
        skip_space(p);
        char op = *p->at;
        if (op != '+' && op != '-') break;
        dim a = NULL, b = NULL;
        TRY(as_dim(p, where, *out, &a));
        p->at++;
        skip_space(p);
        const char *right = p->at;
        TRY(parse_term(p, out));
        TRY(as_dim(p, right, *out, &b));
        *out = expr_dim(p->k, op == '+' ? dim_add(p->k->dims, a, b) : dim_sub(p->k->dims, a, b));
    }
    p->nest--;
    return YJ_OK;
}

static enum yj_status parse_dim(struct parser *p, dim *d) {
    struct expr *e;
    skip_space(p);
    const char *where = p->at;
    TRY(parse_expr(p, &e));
    return as_dim(p, where, e, d);
}

/* --- statements --- */

static enum yj_status parse_body(struct parser *p, struct stmt **body);

/* NAME = FROM .. TO; gives the axis, which an earlier loop with the same range may have bound already. */
static enum yj_status use_axis(struct parser *p, const char *where, const char *name, dim from, dim to, dim *axis) {
    for (struct bound_axis *b = p->axes; b; b = b->next) {
        if (strcmp(b->axis->name, name) != 0) continue;
        if (b->from != from || b->to != to)
            return error_at(p, where, "this axis has another range above: choose another name");
        *axis = b->axis;
        return YJ_OK;
    }
    if (kernel_has_name(p->k, name))
        return error_at(p, where, "the name %s is taken (a name means one thing in the whole kernel)", name);
    struct bound_axis *b = NEW(p->k->arena, struct bound_axis);
    *b = (struct bound_axis){kernel_axis(p->k, name, from, to), from, to, p->axes};
    p->axes = b;
    *axis = b->axis;
    return YJ_OK;
}

static enum yj_status parse_range(struct parser *p, dim *axis, dim *from, dim *to) {
    char name[MAX_WORD];
    skip_space(p);
    const char *where = p->at;
    TRY(word(p, "the name of an axis", name));
    TRY(need(p, "="));
    TRY(parse_dim(p, from));
    TRY(need(p, ".."));
    TRY(parse_dim(p, to));
    return use_axis(p, where, name, *from, *to, axis);
}

static enum yj_status parse_loop(struct parser *p, struct cursor *at, enum axis_kind kind) {
    dim axis, from, to;
    int64_t step = 1;
    TRY(parse_range(p, &axis, &from, &to));
    if (accept(p, "step")) TRY(integer(p, "a step of 1 or more", 1, INT32_MAX, &step));
    struct entity *outer = p->scope;
    declare(p, (struct entity){.name = axis->name, .symbol = axis});
    enum yj_status status = parse_body(p, &stmt_loop(p->k, at, kind, axis, from, to, step)->body);
    p->scope = outer;
    return status;
}

static enum yj_status parse_if(struct parser *p, struct cursor *at) {
    struct expr *condition;
    TRY(parse_expr(p, &condition));
    struct entity *outer = p->scope;
    enum yj_status status = parse_body(p, &stmt_if(p->k, at, condition)->body);
    p->scope = outer;
    return status;
}

/* NAME TYPE [SHAPE] */
static enum yj_status parse_declaration(struct parser *p, char name[MAX_WORD], enum yj_dtype *dtype, int *rank,
                                        dim *shape) {
    TRY(new_name(p, "the name of a buffer", name));
    TRY(parse_dtype(p, dtype));
    TRY(need(p, "["));
    *rank = 0;
    if (accept(p, "]")) return YJ_OK;
    do {
        if (*rank == KERNEL_MAX_RANK) return expected(p, "at most 10 dimensions");
        TRY(parse_dim(p, &shape[(*rank)++]));
    } while (accept(p, ","));
    return need(p, "]");
}

static enum yj_status parse_buffer(struct parser *p, struct cursor *at, enum space space) {
    char name[MAX_WORD];
    enum yj_dtype dtype;
    int rank;
    dim shape[KERNEL_MAX_RANK];
    TRY(parse_declaration(p, name, &dtype, &rank, shape));
    struct buffer *b = stmt_buffer(p->k, at, space, name, dtype, rank, shape);
    declare(p, (struct entity){.name = b->name, .buffer = b});
    return YJ_OK;
}

static enum yj_status parse_let(struct parser *p, struct cursor *at) {
    char name[MAX_WORD];
    struct expr *value;
    TRY(new_name(p, "the name of a let", name));
    TRY(need(p, "="));
    TRY(parse_expr(p, &value));
    struct stmt *let = stmt_let(p->k, at, name, value)->let;
    declare(p, (struct entity){.name = let->name, .let = let});
    return YJ_OK;
}

static enum yj_status parse_reduce(struct parser *p, struct cursor *at) {
    char name[MAX_WORD], op_name[MAX_WORD];
    enum scalar_op op;
    dim axis, from, to;
    int64_t lanes = 1;
    struct expr *value;
    TRY(new_name(p, "the name of a reduction", name));
    TRY(need(p, "="));
    skip_space(p);
    const char *where = p->at;
    TRY(word(p, "add, mul, min, max, and, or", op_name));
    if (!scalar_find(op_name, &op)) return error_at(p, where, "expected add, mul, min, max, and, or");
    TRY(need(p, "("));
    TRY(parse_range(p, &axis, &from, &to));
    if (accept(p, "lanes")) TRY(integer(p, "a number of partial results", 1, 64, &lanes));
    TRY(need(p, ")"));
    struct entity *outer = p->scope;
    declare(p, (struct entity){.name = axis->name, .symbol = axis});
    TRY(parse_expr(p, &value));
    p->scope = outer;
    struct stmt *reduce = stmt_reduce(p->k, at, name, op, (int)lanes, axis, from, to, value)->let;
    declare(p, (struct entity){.name = reduce->name, .let = reduce});
    return YJ_OK;
}

static enum yj_status parse_load(struct parser *p, struct expr **out) {
    skip_space(p);
    const char *where = p->at;
    TRY(parse_primary(p, out));
    return (*out)->kind == EXPR_LOAD ? YJ_OK : error_at(p, where, "expected an element of a buffer");
}

static enum yj_status parse_fma_tile(struct parser *p, struct cursor *at) {
    dim axis[3];
    int extent[3];
    struct entity *outer = p->scope;
    for (int i = 0; i < 3; i++) {
        char name[MAX_WORD];
        int64_t n;
        skip_space(p);
        const char *where = p->at;
        TRY(word(p, "the name of an axis", name));
        TRY(need(p, ":"));
        TRY(integer(p, "an extent of 1 to 256", 1, 256, &n));
        extent[i] = (int)n;
        TRY(use_axis(p, where, name, dim_const(p->k->dims, 0), dim_const(p->k->dims, n), &axis[i]));
        declare(p, (struct entity){.name = axis[i]->name, .symbol = axis[i]});
    }
    struct expr *c, *a, *b;
    TRY(parse_load(p, &c));
    TRY(need(p, "+="));
    TRY(parse_load(p, &a));
    TRY(need(p, "*"));
    TRY(parse_load(p, &b));
    p->scope = outer;
    stmt_fma_tile(p->k, at, axis, extent, c, a, b);
    return YJ_OK;
}

static enum yj_status parse_copy(struct parser *p, struct cursor *at) {
    int64_t tag;
    struct expr *to, *from, *sizes[KERNEL_MAX_RANK];
    TRY(integer(p, "a tag of 0 to 255", 0, 255, &tag));
    skip_space(p);
    const char *where = p->at;
    TRY(parse_load(p, &to));
    TRY(need(p, "="));
    TRY(parse_load(p, &from));
    const char *box = p->at;
    TRY(parse_subscripts(p, to->buffer, sizes));
    dim subs[KERNEL_MAX_RANK], extents[KERNEL_MAX_RANK], unused;
    for (int i = 0; i < to->n; i++) {
        TRY(as_dim(p, where, to->arg[i], &subs[i]));
        TRY(as_dim(p, box, sizes[i], &extents[i]));
    }
    for (int i = 0; i < from->n; i++)
        TRY(as_dim(p, where, from->arg[i], &unused));
    stmt_copy(p->k, at, (int)tag, to->buffer, subs, from, extents);
    return YJ_OK;
}

static enum yj_status parse_wait(struct parser *p, struct cursor *at) {
    int64_t tag;
    TRY(integer(p, "a tag of 0 to 255", 0, 255, &tag));
    stmt_wait(p->k, at, (int)tag);
    return YJ_OK;
}

static enum yj_status parse_check(struct parser *p, struct cursor *at) {
    struct expr *condition, *value;
    int64_t code;
    TRY(parse_expr(p, &condition));
    TRY(need(p, "fault"));
    TRY(integer(p, "a fault code of 1 or more", 1, INT32_MAX, &code));
    TRY(parse_expr(p, &value));
    stmt_check(p->k, at, condition, (int)code, value);
    return YJ_OK;
}

static enum yj_status parse_store(struct parser *p, struct cursor *at) {
    struct expr *to, *value;
    TRY(parse_load(p, &to));
    TRY(need(p, "="));
    TRY(parse_expr(p, &value));
    stmt_store(p->k, at, to->buffer, to->n, to->arg, value);
    return YJ_OK;
}

static enum yj_status parse_stmt(struct parser *p, struct cursor *at) {
    if (accept(p, "tile")) return parse_loop(p, at, AXIS_TILE);
    if (accept(p, "lane")) return parse_loop(p, at, AXIS_LANE);
    if (accept(p, "serial")) return parse_loop(p, at, AXIS_SERIAL);
    if (accept(p, "unroll")) return parse_loop(p, at, AXIS_UNROLL);
    if (accept(p, "vector")) return parse_loop(p, at, AXIS_VECTOR);
    if (accept(p, "if")) return parse_if(p, at);
    if (accept(p, "reg")) return parse_buffer(p, at, SPACE_REG);
    if (accept(p, "scratch")) return parse_buffer(p, at, SPACE_SCRATCH);
    if (accept(p, "shared")) return parse_buffer(p, at, SPACE_SHARED);
    if (accept(p, "let")) return parse_let(p, at);
    if (accept(p, "reduce")) return parse_reduce(p, at);
    if (accept(p, "fma_tile")) return parse_fma_tile(p, at);
    if (accept(p, "copy")) return parse_copy(p, at);
    if (accept(p, "wait")) return parse_wait(p, at);
    if (accept(p, "check")) return parse_check(p, at);
    if (accept(p, "barrier")) {
        stmt_barrier(p->k, at);
        return YJ_OK;
    }
    skip_space(p);
    return starts_word(*p->at) ? parse_store(p, at) : expected(p, "a statement or '}'");
}

static enum yj_status parse_body(struct parser *p, struct stmt **body) {
    TRY(need(p, "{"));
    TRY(enter(p));
    struct entity *outer = p->scope;
    struct cursor at = kernel_at(body);
    while (!accept(p, "}"))
        TRY(parse_stmt(p, &at));
    p->scope = outer;
    p->nest--;
    return YJ_OK;
}

/* --- the head --- */

static enum yj_status parse_dim_arg(struct parser *p) {
    char name[MAX_WORD];
    int64_t low = INT64_MIN, high = DIM_UNBOUNDED;
    TRY(new_name(p, "the name of a dim", name));
    if (accept(p, "in")) {
        if (!accept(p, "..")) {
            TRY(integer(p, "a lower bound", INT64_MIN, INT64_MAX, &low));
            TRY(need(p, ".."));
        }
        skip_space(p);
        if (*p->at == '-' || isdigit((unsigned char)*p->at)) TRY(integer(p, "an upper bound", low, INT64_MAX, &high));
    }
    dim d = kernel_dim(p->k, name, low, high);
    declare(p, (struct entity){.name = d->name, .symbol = d});
    return YJ_OK;
}

static enum yj_status parse_arg(struct parser *p, enum role role) {
    char name[MAX_WORD];
    enum yj_dtype dtype;
    int rank;
    dim shape[KERNEL_MAX_RANK];
    TRY(parse_declaration(p, name, &dtype, &rank, shape));
    struct buffer *b = kernel_arg(p->k, role, name, dtype, rank, shape);
    declare(p, (struct entity){.name = b->name, .buffer = b});
    return YJ_OK;
}

static enum yj_status parse_guard(struct parser *p) {
    struct kernel *k = p->k;
    struct guard g, *more = NEW_ARRAY(k->arena, struct guard, k->n_guards + 1);
    TRY(parse_dim(p, &g.low));
    TRY(need(p, "<="));
    TRY(parse_dim(p, &g.value));
    TRY(need(p, "<="));
    TRY(parse_dim(p, &g.high));
    for (int i = 0; i < k->n_guards; i++)
        more[i] = k->guards[i];
    more[k->n_guards++] = g;
    k->guards = more;
    return YJ_OK;
}

static enum yj_status parse_kernel(struct parser *p, struct arena *arena) {
    char name[MAX_WORD];
    TRY(need(p, "kernel"));
    TRY(word(p, "the name of the kernel", name));
    p->k = kernel_new(arena, name);
    TRY(need(p, "("));
    if (!accept(p, ")")) {
        do
            TRY(parse_dim_arg(p));
        while (accept(p, ","));
        TRY(need(p, ")"));
    }
    skip_space(p);
    if (*p->at == '@') {
        const char *start = p->at;
        while (*p->at == '@' || *p->at == ',' || isdigit((unsigned char)*p->at))
            p->at++;
        p->k->origin = arena_text(arena, "%.*s", (int)(p->at - start), start);
    }
    for (;;) {
        if (accept(p, "in"))
            TRY(parse_arg(p, ROLE_IN));
        else if (accept(p, "out"))
            TRY(parse_arg(p, ROLE_OUT));
        else if (accept(p, "inout"))
            TRY(parse_arg(p, ROLE_INOUT));
        else if (accept(p, "guard"))
            TRY(parse_guard(p));
        else
            break;
    }
    skip_space(p);
    if (*p->at != '{') return expected(p, "in, out, inout, guard or '{'");
    TRY(parse_body(p, &p->k->body));
    skip_space(p);
    return *p->at ? expected(p, "the end of the text") : YJ_OK;
}

struct parse_call { struct parser parser; struct arena *arena; };

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

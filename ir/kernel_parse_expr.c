/* SPDX-License-Identifier: Apache-2.0
 *
 * The lower half of the kernel parser: words, numbers, errors with their place, and expressions. Infix operators are
 * for dims only, so there are two levels of precedence and nothing else.
 */
#include "ir/kernel_parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- words and errors --- */

enum yj_status kp_error(struct parser *p, const char *where, const char *format, ...) {
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

void kp_skip_space(struct parser *p) {
    for (;; p->at++) {
        if (*p->at == '#')
            while (*p->at && *p->at != '\n')
                p->at++;
        if (!*p->at || !isspace((unsigned char)*p->at)) return;
    }
}

bool kp_starts_word(char c) {
    return isalpha((unsigned char)c) || c == '_';
}

static bool in_word(const char *c) { /* a dot belongs to a word only before another character of it: `0..M` */
    return isalnum((unsigned char)*c) || *c == '_' || (*c == '.' && (isalnum((unsigned char)c[1]) || c[1] == '_'));
}

enum yj_status kp_expected(struct parser *p, const char *what) {
    kp_skip_space(p);
    int n = 0;
    while (n < 24 && p->at[n] && (unsigned char)p->at[n] >= ' ' && (n == 0 || in_word(p->at + n)))
        n++;
    if (*p->at == 0) return kp_error(p, p->at, "expected %s, found the end of the text", what);
    return kp_error(p, p->at, "expected %s, found '%.*s'", what, n ? n : 1, n ? p->at : "?");
}

bool kp_accept(struct parser *p, const char *mark) {
    kp_skip_space(p);
    size_t n = strlen(mark);
    if (strncmp(p->at, mark, n) != 0) return false;
    if (kp_starts_word(mark[0]) && in_word(p->at + n)) return false;
    p->at += n;
    return true;
}

enum yj_status kp_need(struct parser *p, const char *mark) {
    if (kp_accept(p, mark)) return YJ_OK;
    char what[MAX_WORD];
    snprintf(what, sizeof what, "'%s'", mark);
    return kp_expected(p, what);
}

enum yj_status kp_word(struct parser *p, const char *what, char out[MAX_WORD]) {
    kp_skip_space(p);
    size_t n = 0;
    if (kp_starts_word(*p->at))
        while (in_word(p->at + n))
            n++;
    if (n == 0) return kp_expected(p, what);
    if (n >= MAX_WORD) return kp_error(p, p->at, "a name longer than %d characters", KERNEL_MAX_NAME);
    memcpy(out, p->at, n);
    out[n] = 0;
    p->at += n;
    return YJ_OK;
}

/* A name that is declared here. */
enum yj_status kp_new_name(struct parser *p, const char *what, char out[MAX_WORD]) {
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_word(p, what, out));
    if (!kernel_has_name(p->k, out)) return YJ_OK;
    return kp_error(p, where, "the name %s is taken (a name means one thing in the whole kernel)", out);
}

enum yj_status kp_integer(struct parser *p, const char *what, int64_t low, int64_t high, int64_t *value) {
    kp_skip_space(p);
    const char *where = p->at;
    bool negative = kp_accept(p, "-");
    if (!isdigit((unsigned char)*p->at)) return kp_expected(p, what);
    char *end;
    errno = 0;
    unsigned long long magnitude = strtoull(p->at, &end, 10);
    uint64_t most = negative ? UINT64_C(1) << 63 : INT64_MAX;
    int64_t v = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (errno || magnitude > most || v < low || v > high) return kp_error(p, where, "the number is out of range here");
    p->at = end;
    *value = v;
    return YJ_OK;
}

enum yj_status kp_enter(struct parser *p) {
    if (++p->nest > MAX_NEST) return kp_error(p, p->at, "nested too deeply (more than 100 levels)");
    return YJ_OK;
}

static struct entity *find(struct parser *p, const char *name) {
    struct entity *e = p->scope;
    while (e && strcmp(e->name, name) != 0)
        e = e->outer;
    return e;
}

void kp_declare(struct parser *p, struct entity what) {
    struct entity *e = NEW(p->k->arena, struct entity);
    *e = what;
    e->outer = p->scope;
    p->scope = e;
}

/* --- expressions --- */

enum yj_status kp_dtype(struct parser *p, enum yj_dtype *dtype) {
    char name[MAX_WORD];
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_word(p, "an element type", name));
    if (dtype_parse(name, dtype)) return YJ_OK;
    p->at = where;
    return kp_expected(p, "an element type");
}

static enum yj_status int_const(struct parser *p, const char *where, enum yj_dtype dtype, bool negative,
                                uint64_t magnitude, struct expr **out) {
    int bits = (int)yj_dtype_bytes(dtype) * 8;
    bool is_signed = dtype_kind(dtype) == 'i';
    uint64_t most = is_signed    ? (UINT64_C(1) << (bits - 1)) - !negative
                    : negative   ? 0
                    : bits == 64 ? UINT64_MAX
                                 : (UINT64_C(1) << bits) - 1;
    if (dtype_kind(dtype) == 'b') return kp_error(p, where, "a bool constant is true or false");
    if (magnitude > most) return kp_error(p, where, "the constant is out of the range of its type");
    *out = expr_const_i(p->k, dtype, (int64_t)(negative ? 0 - magnitude : magnitude));
    return YJ_OK;
}

/* A number or inf or nan, with an optional type behind it. */
static enum yj_status parse_number(struct parser *p, bool negative, struct expr **out) {
    const char *where = p->at;
    bool special = kp_starts_word(*p->at), fraction = special;
    double f = special ? (kp_accept(p, "nan") ? NAN : INFINITY) : 0;
    if (special && !isnan(f) && !kp_accept(p, "inf")) return kp_expected(p, "inf or nan");
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
        TRY(kp_dtype(p, &dtype));
    }
    errno = 0;
    if (!fraction && dtype_kind(dtype) != 'f') {
        uint64_t magnitude = strtoull(digits, &end, 10);
        if (*end || errno) return kp_error(p, where, "the constant is not an integer of 64 bits");
        return int_const(p, where, dtype, negative, magnitude, out);
    }
    if (dtype_kind(dtype) != 'f') return kp_error(p, where, "a constant with a fraction needs a float type");
    if (!special) {
        f = dtype == YJ_F64 ? strtod(digits, &end) : (double)strtof(digits, &end);
        if (*end) return kp_error(p, where, "not a number");
    }
    *out = expr_const_f(p->k, dtype, negative ? -f : f);
    return YJ_OK;
}

static enum yj_status parse_list(struct parser *p, const char *close, int most, struct expr **list, int *n) {
    *n = 0;
    if (kp_accept(p, close)) return YJ_OK;
    do {
        if (*n == most) return kp_expected(p, "fewer operands");
        TRY(kp_expr(p, &list[(*n)++]));
    } while (kp_accept(p, ","));
    return kp_need(p, close);
}

enum yj_status kp_subscripts(struct parser *p, struct buffer *b, struct expr **subs) {
    int n;
    TRY(kp_need(p, "["));
    const char *where = p->at;
    TRY(parse_list(p, "]", KERNEL_MAX_RANK, subs, &n));
    return n == b->rank ? YJ_OK : kp_error(p, where, "%s has %d dimensions, not %d", b->name, b->rank, n);
}

static enum yj_status parse_call(struct parser *p, const char *where, const char *name, struct expr **out) {
    struct expr *args[KERNEL_MAX_RANK] = {NULL};
    bool cast = strncmp(name, "cast.", 5) == 0, bitcast = strncmp(name, "bitcast.", 8) == 0;
    enum scalar_op op = SCALAR_add;
    enum yj_dtype to = YJ_F32;
    if (cast || bitcast ? !dtype_parse(strchr(name, '.') + 1, &to) : !scalar_find(name, &op)) {
        p->at = where;
        return kp_expected(p, "a scalar op, cast.TYPE or bitcast.TYPE");
    }
    int n, arity = cast || bitcast ? 1 : scalar_info[op].arity;
    TRY(kp_need(p, "("));
    TRY(parse_list(p, ")", KERNEL_MAX_RANK, args, &n));
    if (n != arity) return kp_error(p, where, "%s takes %d operands, not %d", name, arity, n);
    *out = cast      ? expr_cast(p->k, to, args[0])
           : bitcast ? expr_bitcast(p->k, to, args[0])
                     : expr_op(p->k, op, args[0], args[1], args[2]);
    return YJ_OK;
}

static enum yj_status parse_name(struct parser *p, struct expr **out) {
    char name[MAX_WORD];
    const char *where = p->at;
    TRY(kp_word(p, "an expression", name));
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        *out = expr_const_i(p->k, YJ_BOOL, name[0] == 't');
        return YJ_OK;
    }
    kp_skip_space(p);
    if (*p->at == '(') return parse_call(p, where, name, out);
    struct entity *e = find(p, name);
    if (!e) return kp_error(p, where, "%s is not declared here", name);
    if (e->buffer) {
        struct expr *subs[KERNEL_MAX_RANK];
        TRY(kp_subscripts(p, e->buffer, subs));
        *out = expr_load(p->k, e->buffer, e->buffer->rank, subs);
    } else {
        *out = e->let ? expr_let(p->k, e->let) : expr_dim(p->k, e->symbol);
    }
    return YJ_OK;
}

enum yj_status kp_primary(struct parser *p, struct expr **out) {
    kp_skip_space(p);
    if (kp_accept(p, "(")) {
        TRY(kp_expr(p, out));
        return kp_need(p, ")");
    }
    if (isdigit((unsigned char)*p->at)) return parse_number(p, false, out);
    const char *before = p->at;
    if (kp_accept(p, "inf") || kp_accept(p, "nan")) {
        p->at = before;
        return parse_number(p, false, out);
    }
    return parse_name(p, out);
}

enum yj_status kp_as_dim(struct parser *p, const char *where, struct expr *e, dim *d) {
    if (e->kind != EXPR_DIM)
        return kp_error(p, where, "expected integers made of axes and dims (data takes add(x, y), not x + y)");
    *d = e->dim;
    return YJ_OK;
}

static enum yj_status parse_factor(struct parser *p, struct expr **out) {
    kp_skip_space(p);
    const char *where = p->at;
    if (!kp_accept(p, "-")) return kp_primary(p, out);
    kp_skip_space(p);
    const char *digits = p->at;
    if (isdigit((unsigned char)*p->at) || kp_accept(p, "inf") || kp_accept(p, "nan")) {
        p->at = digits;
        return parse_number(p, true, out);
    }
    dim d = NULL;
    TRY(kp_enter(p));
    TRY(parse_factor(p, out));
    p->nest--;
    TRY(kp_as_dim(p, where, *out, &d));
    *out = expr_dim(p->k, dim_sub(p->k->dims, dim_const(p->k->dims, 0), d));
    return YJ_OK;
}

static enum yj_status parse_term(struct parser *p, struct expr **out) {
    kp_skip_space(p);
    const char *where = p->at;
    TRY(parse_factor(p, out));
    for (;;) {
        kp_skip_space(p);
        char op = *p->at;
        if (op != '*' && op != '/' && op != '%') return YJ_OK;
        dim a = NULL, b = NULL;
        TRY(kp_as_dim(p, where, *out, &a));
        p->at++;
        kp_skip_space(p);
        const char *right = p->at;
        TRY(parse_factor(p, out));
        TRY(kp_as_dim(p, right, *out, &b));
        bool zero = b->low < 0 ? b->high >= 0 : b->high == 0; /* 0.. counts as 1.. */
        if (op != '*' && zero) return kp_error(p, right, "the divisor may be 0");
        struct dim_table *t = p->k->dims;
        *out = expr_dim(p->k, op == '*' ? dim_mul(t, a, b) : op == '/' ? dim_div(t, a, b) : dim_mod(t, a, b));
    }
}

enum yj_status kp_expr(struct parser *p, struct expr **out) {
    TRY(kp_enter(p));
    kp_skip_space(p);
    const char *where = p->at;
    TRY(parse_term(p, out));
    for (;;) {
        kp_skip_space(p);
        char op = *p->at;
        if (op != '+' && op != '-') break;
        dim a = NULL, b = NULL;
        TRY(kp_as_dim(p, where, *out, &a));
        p->at++;
        kp_skip_space(p);
        const char *right = p->at;
        TRY(parse_term(p, out));
        TRY(kp_as_dim(p, right, *out, &b));
        *out = expr_dim(p->k, op == '+' ? dim_add(p->k->dims, a, b) : dim_sub(p->k->dims, a, b));
    }
    p->nest--;
    return YJ_OK;
}

enum yj_status kp_dim(struct parser *p, dim *d) {
    struct expr *e;
    kp_skip_space(p);
    const char *where = p->at;
    TRY(kp_expr(p, &e));
    return kp_as_dim(p, where, e, d);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Random dim expressions beside a shadow that never simplifies: wherever the shadow has a value, the expression has the
 * same one, inside its range, a multiple of its divisor; its text comes back as the same node; comparisons are true for
 * all values that were tried. DIM_SEED and DIM_CASES (environment) repeat or extend a run.
 */
#include "runtime/base/dim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena *arena;
static struct dim_table *t;
static uint64_t seed = 1;

static uint64_t random_bits(void) {
    seed += 0x9E3779B97F4A7C15u;
    return hash_bytes(&seed, sizeof seed, 7);
}

static int64_t below(int64_t n) {
    return (int64_t)(random_bits() % (uint64_t)n);
}

static long setting(const char *name, long usual) {
    const char *text = getenv(name);
    return text ? atol(text) : usual;
}

static int open_arena(void **state) {
    (void)state;
    arena = arena_open();
    t = dim_table_open(arena);
    return 0;
}

static int close_arena(void **state) {
    (void)state;
    arena_close(arena);
    return 0;
}

/* --- symbols with values --- */

enum { N, M, K, I, J, L, F, S, E, ONE, N_SYMBOLS };
static dim symbols[N_SYMBOLS];
static int64_t values[N_SYMBOLS];
static bool exists[N_SYMBOLS];

static void make_symbols(void) {
    dim zero = dim_const(t, 0);
    symbols[N] = dim_symbol(t, "N", 0, DIM_UNBOUNDED);
    symbols[M] = dim_symbol(t, "M", 1, 9);
    symbols[K] = dim_symbol(t, "K", 2, DIM_UNBOUNDED);
    symbols[I] = dim_symbol_below(t, "i", zero, symbols[N]);
    symbols[J] = dim_symbol_below(t, "j", zero, symbols[M]);
    symbols[L] = dim_symbol_below(t, "l", symbols[J], dim_add(t, symbols[K], symbols[M])); /* a triangle */
    symbols[F] = dim_symbol_below(t, "f", zero, dim_mul(t, symbols[N], symbols[K]));       /* a flat index */
    symbols[S] = dim_symbol(t, "s", -20, 20);
    symbols[E] = dim_symbol_multiple(t, "e", 0, DIM_UNBOUNDED, 8);
    symbols[ONE] = dim_symbol(t, "one", 1, 1);
}

static void set_axis(int axis, int64_t low, int64_t end) {
    exists[axis] = low < end && exists[N];
    values[axis] = !exists[axis] ? 0 : below(3) == 0 ? end - 1 : below(4) == 0 ? low : low + below(end - low);
}

static void choose_values(void) {
    for (int i = 0; i < N_SYMBOLS; i++)
        exists[i] = true;
    values[N] = below(7);
    values[M] = 1 + below(9);
    values[K] = 2 + below(6);
    set_axis(I, 0, values[N]);
    set_axis(J, 0, values[M]);
    set_axis(L, values[J], values[K] + values[M]);
    set_axis(F, 0, values[N] * values[K]);
    values[S] = below(41) - 20;
    values[E] = 8 * below(5);
    values[ONE] = 1;
}

static bool bind(void *user, dim symbol, int64_t *value) {
    (void)user;
    for (int i = 0; i < N_SYMBOLS; i++) {
        if (strcmp(symbols[i]->name, symbol->name) != 0) continue;
        *value = values[i];
        return true;
    }
    return false;
}

/* --- the shadow --- */

struct shadow {
    enum dim_op op;
    int64_t value; /* of a constant, or the number of a symbol */
    const struct shadow *a, *b;
};

static const struct shadow *shadow_new(enum dim_op op, int64_t value, const struct shadow *a, const struct shadow *b) {
    struct shadow *s = NEW(arena, struct shadow);
    *s = (struct shadow){op, value, a, b};
    return s;
}

/* False where there is no value: an axis without iterations, a division by zero, or beyond 2^100. */
static bool shadow_eval(const struct shadow *s, __int128 *value) {
    const __int128 most = (__int128)1 << 100;
    if (s->op == DIM_CONST) return *value = s->value, true;
    if (s->op == DIM_SYMBOL) return *value = values[s->value], exists[s->value];
    __int128 a, b, v = 0;
    if (!shadow_eval(s->a, &a) || !shadow_eval(s->b, &b)) return false;
    if (s->op == DIM_ADD) v = a + b;
    if (s->op == DIM_MUL && __builtin_mul_overflow(a, b, &v)) return false;
    if (s->op == DIM_MIN) v = a < b ? a : b;
    if (s->op == DIM_MAX) v = a > b ? a : b;
    if (s->op == DIM_DIV || s->op == DIM_MOD) {
        if (b == 0) return false;
        __int128 q = a / b;
        if (a % b != 0 && (a < 0) != (b < 0)) q--;
        v = s->op == DIM_DIV ? q : a - q * b;
    }
    *value = v;
    return v < most && v > -most;
}

/* --- random expressions --- */

struct pair {
    dim d;
    const struct shadow *s;
};

static struct pair leaf(bool huge) {
    static const int64_t constants[] = {0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 64, -1, -2, -8};
    static const int64_t large[] = {INT64_MAX,        INT64_MIN,           INT64_MAX - 1,
                                    INT64_C(1) << 62, -(INT64_C(1) << 61), INT64_C(3) << 40};
    if (below(5) < 2) {
        int64_t v = huge && below(2) ? large[below(COUNT(large))] : constants[below(COUNT(constants))];
        return (struct pair){dim_const(t, v), shadow_new(DIM_CONST, v, NULL, NULL)};
    }
    int i = (int)below(N_SYMBOLS);
    return (struct pair){symbols[i], shadow_new(DIM_SYMBOL, i, NULL, NULL)};
}

static struct pair join(enum dim_op op, struct pair a, struct pair b) {
    static dim (*const make[])(struct dim_table *, dim,
                               dim) = {[DIM_ADD] = dim_add, [DIM_MUL] = dim_mul, [DIM_DIV] = dim_div,
                                       [DIM_MOD] = dim_mod, [DIM_MIN] = dim_min, [DIM_MAX] = dim_max};
    return (struct pair){make[op](t, a.d, b.d), shadow_new(op, 0, a.s, b.s)};
}

static struct pair expression(int depth, bool huge) {
    static const enum dim_op ops[] = {DIM_ADD, DIM_ADD, DIM_ADD, DIM_MUL, DIM_MUL, DIM_MUL,
                                      DIM_DIV, DIM_DIV, DIM_MOD, DIM_MOD, DIM_MIN, DIM_MAX};
    if (depth == 0 || below(8) == 0) return leaf(huge);
    struct pair a = expression(depth - 1, huge), b = expression(depth - 1 - (int)below(depth), huge);
    if (below(6) == 0) { /* the two halves of one division, to be joined again */
        struct pair q = join(DIM_DIV, a, b), r = join(DIM_MOD, a, b);
        return join(DIM_ADD, join(DIM_MUL, q, b), r);
    }
    return join(ops[below(COUNT(ops))], a, b);
}

static const char *print(dim d) {
    static char buffers[4][6000];
    static int next;
    struct text text = {0};
    dim_print(&text, d);
    char *out = buffers[next++ % 4];
    snprintf(out, sizeof buffers[0], "%s", text.data ? text.data : "");
    text_free(&text);
    return out;
}

static void print_shadow(struct text *out, const struct shadow *s) {
    static const char *const signs[] = {[DIM_ADD] = "+", [DIM_MUL] = "*", [DIM_DIV] = "/", [DIM_MOD] = "%"};
    if (s->op == DIM_CONST)
        text_add(out, "(%lld)", (long long)s->value);
    else if (s->op == DIM_SYMBOL)
        text_add(out, "%s", symbols[s->value]->name);
    else {
        bool call = s->op == DIM_MIN || s->op == DIM_MAX;
        text_add(out, "%s(", s->op == DIM_MIN ? "min" : s->op == DIM_MAX ? "max" : "");
        print_shadow(out, s->a);
        text_add(out, "%s", call ? "," : signs[s->op]);
        print_shadow(out, s->b);
        text_add(out, ")");
    }
}

static void complain(const char *what, struct pair p) {
    struct text at = {0}, shadow = {0};
    for (int i = 0; i < N_SYMBOLS; i++)
        text_add(&at, " %s=%lld", symbols[i]->name, (long long)values[i]);
    print_shadow(&shadow, p.s);
    fail_msg("%s: %s is wrong for %s at%s", what, print(p.d), shadow.data, at.data);
}

static void check_value(struct pair p, bool huge) {
    __int128 wanted;
    int64_t got;
    if (!shadow_eval(p.s, &wanted)) return;
    if (p.d->low != INT64_MIN && wanted < p.d->low) complain("low", p);
    if (p.d->high != INT64_MAX && wanted > p.d->high) complain("high", p);
    if (p.d->divisor == 0 ? wanted != 0 : wanted % p.d->divisor != 0) complain("divisor", p);
    if (dim_eval(p.d, bind, NULL, &got) == YJ_OK) {
        if (got != wanted) complain("value", p);
    } else if (!huge) {
        complain(yj_error_text(), p);
    }
}

static void check_text(struct pair p) {
    struct text text = {0};
    dim_print(&text, p.d);
    const char *at = text.data;
    dim back = NULL;
    if (dim_parse(t, &at, &back) != YJ_OK || *at) complain(yj_error_text(), p);
    if (back != p.d) complain(print(back), p);
    text_free(&text);
}

static void check_other_table(struct pair p) {
    struct dim_table *other = dim_table_open(arena);
    for (int i = 0; i < N_SYMBOLS; i++)
        dim_copy(other, symbols[(i * 7 + 3) % N_SYMBOLS]); /* other ids */
    struct text text = {0};
    dim_print(&text, p.d);
    const char *at = text.data;
    dim back = NULL;
    if (dim_parse(other, &at, &back) != YJ_OK || *at) complain(yj_error_text(), p);
    if (strcmp(print(back), text.data) != 0) complain(print(back), p);
    if (back != dim_copy(other, p.d)) complain("copy", p);
    text_free(&text);
}

static int64_t value_of(dim d) {
    int64_t v = 0;
    if (dim_eval(d, bind, NULL, &v) != YJ_OK) fail_msg("%s: %s", print(d), yj_error_text());
    return v;
}

static void check_linear(struct pair p) {
    int k = (int)below(N_SYMBOLS);
    dim c, r, by = symbols[below(3)];
    __int128 v;
    if (!shadow_eval(p.s, &v)) return;
    if (dim_linear(t, p.d, symbols[k], &c, &r)) {
        if (dim_contains(c, symbols[k]) || dim_contains(r, symbols[k])) complain("linear contains", p);
        if (value_of(c) * values[k] + value_of(r) != v) complain("linear", p);
    }
    if (k != E) return; /* no bound mentions e, and 8*BY is as good a value of it as any */
    dim put = dim_substitute(t, p.d, symbols[k], dim_mul(t, by, dim_const(t, 8)));
    int64_t saved = values[k];
    values[k] = 8 * value_of(by);
    int64_t got;
    if (shadow_eval(p.s, &v) && (dim_eval(put, bind, NULL, &got) != YJ_OK || got != v)) complain("substitute", p);
    values[k] = saved;
}

static void small_values(void **state) {
    (void)state;
    make_symbols();
    for (long i = 0, n = setting("DIM_CASES", 10000); i < n; i++) {
        struct pair p = expression(1 + (int)below(4), false);
        for (int k = 0; k < 12; k++) {
            choose_values();
            check_value(p, false);
            check_linear(p);
        }
        check_text(p);
        if (i % 4 == 0) check_other_table(p);
        if (i % 500 == 499) {
            arena_close(arena);
            open_arena(NULL);
            make_symbols();
        }
    }
}

static void huge_values(void **state) {
    (void)state;
    make_symbols();
    for (long i = 0, n = setting("DIM_CASES", 10000) / 2; i < n; i++) {
        struct pair p = expression(1 + (int)below(4), true);
        for (int k = 0; k < 6; k++) {
            choose_values();
            check_value(p, true);
        }
        check_text(p);
        if (i % 500 == 499) {
            arena_close(arena);
            open_arena(NULL);
            make_symbols();
        }
    }
}

static void comparisons(void **state) {
    (void)state;
    make_symbols();
    long decided = 0, n = setting("DIM_CASES", 10000) / 2;
    for (long i = 0; i < n; i++) {
        struct pair a = expression(1 + (int)below(3), false), b = expression(1 + (int)below(3), false);
        enum dim_known less = dim_less(t, a.d, b.d), equal = dim_equal(t, a.d, b.d);
        decided += less != DIM_UNKNOWN;
        for (int k = 0; k < 12; k++) {
            choose_values();
            __int128 va, vb;
            if (!shadow_eval(a.s, &va) || !shadow_eval(b.s, &vb)) continue;
            if ((less == DIM_YES && !(va < vb)) || (less == DIM_NO && va < vb)) complain(print(b.d), a);
            if ((equal == DIM_YES && va != vb) || (equal == DIM_NO && va == vb)) complain(print(b.d), a);
        }
    }
    assert_in_range(decided, n / 4, n);
}

static void order_of_terms(void **state) {
    (void)state;
    make_symbols();
    for (int i = 0; i < 500; i++) {
        struct pair terms[8];
        for (size_t k = 0; k < COUNT(terms); k++)
            terms[k] = expression(1 + (int)below(2), false);
        dim first = NULL;
        for (int round = 0; round < 6; round++) {
            for (size_t k = COUNT(terms) - 1; k > 0; k--) {
                size_t other = (size_t)below((int64_t)k + 1);
                struct pair swap = terms[k];
                terms[k] = terms[other];
                terms[other] = swap;
            }
            dim left = dim_const(t, 0), right = dim_const(t, 0); /* ((a + b) + c) + d, and halves */
            for (size_t k = 0; k < COUNT(terms) / 2; k++)
                left = dim_add(t, left, terms[k].d);
            for (size_t k = COUNT(terms) / 2; k < COUNT(terms); k++)
                right = dim_add(t, terms[k].d, right);
            dim sum = dim_add(t, left, right);
            if (!first) first = sum;
            if (sum != first) fail_msg("%s and %s", print(first), print(sum));
        }
    }
}

/* Bytes that look like expressions, and any bytes: an error or a dim, never a crash, and what is parsed prints. */
static void parser_fuzz(void **state) {
    (void)state;
    make_symbols();
    static const char *const pieces[] = {"(",
                                         ")",
                                         "+",
                                         "-",
                                         "*",
                                         "/",
                                         "%",
                                         "min(",
                                         "max(",
                                         ",",
                                         " ",
                                         "a",
                                         "b.c",
                                         "..",
                                         "0",
                                         "1",
                                         "7",
                                         "16",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "_",
                                         "@",
                                         "\t",
                                         "x*"};
    for (long i = 0, n = setting("DIM_CASES", 10000); i < n; i++) {
        char text[400];
        size_t length = 0, wanted = (size_t)below(i % 50 == 0 ? 300 : 40);
        while (length < wanted) {
            if (i % 3 == 0) {
                text[length++] = (char)(1 + below(255));
            } else {
                const char *piece = pieces[below(COUNT(pieces))];
                memcpy(text + length, piece, strlen(piece));
                length += strlen(piece);
            }
        }
        text[length] = 0;
        char *exact = malloc(length + 1); /* so that reading beyond is seen */
        memcpy(exact, text, length + 1);
        const char *at = exact;
        dim d = NULL;
        enum yj_status status = dim_parse(t, &at, &d);
        assert_true(at >= exact && at <= exact + length);
        if (status == YJ_OK)
            check_text((struct pair){d, shadow_new(DIM_CONST, 0, NULL, NULL)});
        else
            assert_true(status == YJ_ERR_INPUT && !d);
        free(exact);
        if (i % 1000 == 999) {
            arena_close(arena);
            open_arena(NULL);
            make_symbols();
        }
    }
}

static int start(void **state) {
    seed = (uint64_t)setting("DIM_SEED", 1);
    return open_arena(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, close_arena)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(small_values), TEST(huge_values), TEST(comparisons), TEST(order_of_terms),
                                       TEST(parser_fuzz)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

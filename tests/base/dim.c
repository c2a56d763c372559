/* SPDX-License-Identifier: Apache-2.0
 *
 * Dim expressions case by case: what must meet, what must be decided, what a reshape must undo.
 */
#include "runtime/base/dim_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena *arena;
static struct dim_table *t;

static int open_table(void **state) {
    (void)state;
    arena = arena_open();
    t = dim_table_open(arena);
    return 0;
}

static int close_table(void **state) {
    (void)state;
    arena_close(arena);
    return 0;
}

static dim parse(const char *text) {
    const char *at = text;
    dim d = NULL;
    if (dim_parse(t, &at, &d) != YJ_OK) fail_msg("%s: %s", text, yj_error_text());
    if (*at) fail_msg("%s: stopped at \"%s\"", text, at);
    return d;
}

static const char *print(dim d) {
    static char buffers[4][4000];
    static int next;
    struct text text = {0};
    dim_print(&text, d);
    char *out = buffers[next++ % 4];
    snprintf(out, sizeof buffers[0], "%s", text.data ? text.data : "");
    text_free(&text);
    return out;
}

static void is(dim got, dim wanted) {
    if (got != wanted) fail_msg("got %s, wanted %s", print(got), print(wanted));
}

static void gives(const char *text, const char *wanted) {
    if (strcmp(print(parse(text)), wanted) != 0) fail_msg("%s: got %s, wanted %s", text, print(parse(text)), wanted);
}

static dim axis(const char *name, dim end) {
    return dim_symbol_below(t, name, dim_const(t, 0), end);
}

static void sums(void **state) {
    (void)state;
    gives("M*16+min(a,4)", "M*16 + min(a, 4)");
    gives("b + a*2 + 3 - b + a", "a*3 + 3");
    gives("(a + b)*(a - b)", "a*a - b*b");
    gives("4 - 2*2", "0");
    gives("-a - 3", "-a - 3");
    gives("a*(b+c) - c*a - b*a", "0");
    gives("-(a / 3)*5 + 1", "-(a / 3)*5 + 1");
    gives("(x / 16)*16 + x % 16", "x");
    gives("x % 16 + (x / 16)*16 + x*3 + 5", "x*4 + 5");
    gives("3*(x % N) + N*(x / N)*3", "x*3");
    gives("((x / 4) % 8)*4 + x % 4", "x % 32");
    gives("(x / 32)*32 + ((x / 4) % 8)*4 + x % 4", "x");
    is(parse("a*b*c + d"), parse("d + c*b*a"));
    is(parse("min(a, min(b, c))"), parse("min(min(c, a), b)"));
    is(parse("-9223372036854775808"), dim_const(t, INT64_MIN));
}

static void division_by_constants(void **state) {
    (void)state;
    dim_symbol(t, "b5", 0, 5);
    dim_symbol(t, "s", -100, 100);
    dim_symbol_multiple(t, "m", 0, DIM_UNBOUNDED, 16);
    gives("(a*6 + b5) / 6", "a");
    gives("(a*6 + b5) % 6", "b5");
    gives("(a*6 + s) % 6", "s % 6");
    gives("b5 / 6", "0");
    gives("b5 % 6", "b5");
    gives("(x / 4) / 3", "x / 12");
    gives("(x / 4 + 2) / 3", "(x + 8) / 12");
    gives("(x + 15) / 16", "(x + 15) / 16");
    gives("(x - 1) / 16", "(x + 15) / 16 - 1");
    gives("(x*4 + 2) / 8", "x / 2");
    gives("(x*4 + 2) % 8", "(x % 2)*4 + 2");
    gives("(x*6 + b5) / 12", "x / 2");
    gives("(x*6 + b5) % 12", "(x % 2)*6 + b5");
    gives("(x % 12) % 4", "x % 4");
    gives("(x % 12) / 4", "(x / 4) % 3");
    gives("x / -3", "(-x) / 3");
    gives("x % -3", "-((-x) % 3)");
    gives("7 / -2", "-4");
    gives("-7 % 4", "1");
    gives("7 % -4", "-1");
    gives("m % 16", "0");
    gives("(m / 2) / 4", "m / 8");
    gives("m % 8 + (m / 16)*16", "m");
    gives("(m / 2) / 4", "m / 8");
    gives("m % 8 + (m / 8)*8", "m");
    gives("(m*3 + x + 35) % 16", "(x + 3) % 16");
    gives("(m*3) / 32*32 + m*3 % 32", "m*3");
    gives("x / 1 + x % 1", "x");
    gives("x / 0", "x / 0");
    gives("(0 - 9223372036854775807 - 1) / -1", "(-9223372036854775808)*(-1)");
}

static void ranges(void **state) {
    (void)state;
    dim_symbol(t, "r", 1, 8);
    dim_symbol(t, "s", -3, 4);
    dim d = parse("r*s + 2");
    assert_true(d->low == -22 && d->high == 34);
    d = parse("s / 2");
    assert_true(d->low == -2 && d->high == 2);
    d = parse("x % r");
    assert_true(d->low == 0 && d->high == 7);
    d = parse("x*9223372036854775807 + y");
    assert_true(d->low == 0 && d->high == INT64_MAX);
    d = parse("x*-1");
    assert_true(d->low == INT64_MIN && d->high == 0);
    assert_int_equal(parse("x*12 + y*18 + 6")->divisor, 6);
    gives("min(r, 9)", "r");
    gives("max(0, r)", "r");
    gives("max(x + 1, x)", "x + 1");
    gives("max(min(x, y), x)", "x");
    gives("min(max(x, y), x)", "x");
    gives("max(0, (x + 15) / 16)", "(x + 15) / 16");
    assert_true(dim_is(dim_symbol(t, "five", 5, 5), 5) && !dim_is(parse("x"), 0));
}

static void comparisons(void **state) {
    (void)state;
    dim n = dim_symbol(t, "N", 0, DIM_UNBOUNDED), m = dim_symbol(t, "M", 0, DIM_UNBOUNDED);
    dim i = axis("i", m), j = axis("j", n), flat = dim_add(t, dim_mul(t, i, n), j);
    assert_int_equal(dim_less(t, j, n), DIM_YES);
    assert_int_equal(dim_less(t, n, j), DIM_NO);
    assert_int_equal(dim_less(t, i, n), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, flat, dim_mul(t, m, n)), DIM_YES);
    assert_int_equal(dim_less(t, flat, parse("M*N - 1")), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("i + 1"), m), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("i"), parse("M + 1")), DIM_YES);
    assert_int_equal(dim_less(t, parse("0"), parse("i*N + N")), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("0"), parse("j*0 + N + j")), DIM_YES); /* j exists: N >= 1 */
    dim tile = axis("tile", parse("(N + 15) / 16"));
    assert_int_equal(dim_less(t, dim_mul(t, tile, dim_const(t, 16)), n), DIM_YES);
    assert_int_equal(dim_less(t, parse("tile*16 + 15"), n), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("tile*16 + 15"), parse("(N + 15) / 16*16")), DIM_YES);
    assert_int_equal(dim_less(t, parse("(N + 15) / 16*16"), n), DIM_NO);
    assert_int_equal(dim_less(t, parse("min(j + 7, N - 1)"), n), DIM_YES);
    assert_int_equal(dim_less(t, parse("(x + 1)*(x + 1)"), parse("x*x")), DIM_NO);
    assert_int_equal(dim_less(t, parse("x*x + x*2"), parse("(x + 1)*(x + 1)")), DIM_YES);
    assert_int_equal(dim_equal(t, parse("x + y"), parse("y + x")), DIM_YES);
    assert_int_equal(dim_equal(t, parse("x"), parse("x + 1")), DIM_NO);
    assert_int_equal(dim_equal(t, parse("x*2"), parse("y*4 + 1")), DIM_NO);
    assert_int_equal(dim_equal(t, j, n), DIM_NO);
    assert_int_equal(dim_equal(t, parse("x"), parse("y")), DIM_UNKNOWN);
    assert_int_equal(dim_equal(t, parse("x*6"), parse("y*6 + 2")), DIM_NO);
    dim_symbol(t, "K", 2, DIM_UNBOUNDED);
    assert_int_equal(dim_less(t, parse("K*2 - 1"), parse("K*K")), DIM_YES);
    assert_int_equal(dim_less(t, parse("-1"), parse("K*K - K*6 + 8")), DIM_UNKNOWN); /* -1 at 3 */
    dim inner = axis("inner", parse("x - 1"));                                       /* exists only with x >= 2 */
    assert_int_equal(dim_less(t, parse("1 + inner*0"), parse("x + inner")), DIM_YES);
    assert_int_equal(dim_less(t, parse("2"), parse("x + inner")), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, inner, parse("x - 1")), DIM_YES);
    dim k = dim_symbol_below(t, "k", j, n); /* a triangle: j <= k < N */
    assert_int_equal(dim_less(t, k, j), DIM_NO);
    assert_int_equal(dim_less(t, dim_sub(t, k, j), n), DIM_YES);
}

/* Flattens AT over SHAPE, or takes the subscripts over SHAPE of the flat index. */
static dim flatten(int rank, const dim *shape, const dim *at) {
    dim flat = dim_const(t, 0);
    for (int i = 0; i < rank; i++)
        flat = dim_add(t, dim_mul(t, flat, shape[i]), at[i]);
    return flat;
}

static void unflatten(int rank, const dim *shape, dim flat, dim *at) {
    for (int i = rank - 1; i >= 0; i--) {
        at[i] = i ? dim_mod(t, flat, shape[i]) : flat;
        flat = dim_div(t, flat, shape[i]);
    }
}

/* The other way to do it: by strides, from the outermost. */
static void unflatten_by_strides(int rank, const dim *shape, dim flat, dim *at) {
    for (int i = 0; i < rank; i++) {
        dim stride = dim_const(t, 1);
        for (int k = i + 1; k < rank; k++)
            stride = dim_mul(t, stride, shape[k]);
        at[i] = dim_div(t, flat, stride);
        flat = dim_mod(t, flat, stride);
    }
}

static void reshape_back(int rank, const dim *shape, int other_rank, const dim *other) {
    dim at[8], there[8], back[8];
    for (int i = 0; i < rank; i++) {
        char name[60];
        snprintf(name, sizeof name, "%c%d_%d_%d", 'i' + i, shape[i]->id, rank, other_rank);
        at[i] = axis(name, shape[i]);
    }
    unflatten(other_rank, other, flatten(rank, shape, at), there);
    unflatten(rank, shape, flatten(other_rank, other, there), back);
    for (int i = 0; i < rank; i++)
        is(back[i], at[i]);
    dim there2[8];
    unflatten_by_strides(other_rank, other, flatten(rank, shape, at), there2);
    for (int i = 0; i < other_rank; i++)
        is(there2[i], there[i]);
    unflatten_by_strides(rank, shape, flatten(other_rank, other, there2), back);
    for (int i = 0; i < rank; i++)
        is(back[i], at[i]);
    for (int i = 0; i < other_rank; i++)
        if (dim_less(t, there[i], other[i]) != DIM_YES) fail_msg("%s < %s", print(there[i]), print(other[i]));
}

static void reshapes_with_symbols(void **state) {
    (void)state;
    dim a = parse("A"), b = parse("B"), c = parse("C");
    dim abc[] = {a, b, c}, ab_c[] = {parse("A*B"), c}, a_bc[] = {a, parse("B*C")}, flat[] = {parse("A*B*C")};
    reshape_back(3, abc, 3, abc);
    reshape_back(3, abc, 2, ab_c);
    reshape_back(3, abc, 2, a_bc);
    reshape_back(3, abc, 1, flat);
    reshape_back(2, ab_c, 3, abc);
    reshape_back(2, ab_c, 2, a_bc);
    reshape_back(2, a_bc, 2, ab_c);
    reshape_back(2, a_bc, 3, abc);
    reshape_back(1, flat, 3, abc);
    reshape_back(1, flat, 2, ab_c);
    dim heads[] = {parse("batch"), parse("seq"), parse("16"), parse("64")};
    dim hidden[] = {parse("batch"), parse("seq"), parse("1024")}, rows[] = {parse("batch*seq"), parse("1024")};
    reshape_back(4, heads, 3, hidden);
    reshape_back(3, hidden, 4, heads);
    reshape_back(3, hidden, 2, rows);
    reshape_back(2, rows, 4, heads);
    dim sum[] = {parse("past + seq"), b, parse("4")}, sum_flat[] = {parse("past + seq"), parse("B*4")};
    reshape_back(3, sum, 2, sum_flat);
    reshape_back(2, sum_flat, 3, sum);
    dim inner_sum[] = {b, parse("past + seq"), parse("8")}, inner_flat[] = {parse("B*past + B*seq"), parse("8")};
    reshape_back(3, inner_sum, 2, inner_flat);
    reshape_back(2, inner_flat, 3, inner_sum);
    dim even[] = {parse("H*2"), parse("W*2")}, blocks[] = {parse("H"), parse("2"), parse("W"), parse("2")};
    reshape_back(2, even, 4, blocks);
    reshape_back(4, blocks, 2, even);
}

static void reshapes_with_numbers(void **state) {
    (void)state;
    const int shapes[][4] = {{24, 1, 1, 1}, {2, 12, 1, 1}, {6, 4, 1, 1}, {2, 3, 4, 1}, {4, 3, 2, 1},
                             {3, 8, 1, 1},  {1, 2, 2, 6},  {8, 3, 1, 1}, {12, 2, 1, 1}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        for (size_t k = 0; k < COUNT(shapes); k++) {
            dim from[4], to[4];
            for (int n = 0; n < 4; n++)
                from[n] = dim_const(t, shapes[i][n]), to[n] = dim_const(t, shapes[k][n]);
            dim at[4], there[4], back[4];
            for (int n = 0; n < 4; n++) {
                char name[20];
                snprintf(name, sizeof name, "c%d_%zu", n, i);
                at[n] = shapes[i][n] > 1 ? axis(name, from[n]) : dim_const(t, 0);
            }
            unflatten(4, to, flatten(4, from, at), there);
            unflatten(4, from, flatten(4, to, there), back);
            for (int n = 0; n < 4; n++)
                is(back[n], at[n]);
        }
    }
}

static void symbolic_divisors(void **state) {
    (void)state;
    dim_symbol(t, "N", 1, DIM_UNBOUNDED);
    axis("j", parse("N"));
    gives("(a*N + j) / N", "a");
    gives("(a*N + j) % N", "j");
    gives("N*5 / N", "5");
    gives("N / N", "1");
    gives("0 / N", "0");
    gives("(x / N)*N + x % N", "x");
    gives("(x / N) / 4", "x / (N*4)");
    gives("(N*N - 1) / (N + 1)", "N - 1");
    gives("((N + 3)*i + j) / (N + 3)", "i");
    gives("((N + 3)*i + j) % (N + 3)", "j");
    gives("(N*8 + 4) / 8", "N");
    dim_symbol(t, "sign", -5, 5);
    gives("(sign*3) / sign", "(sign*3) / sign"); /* may be 0 */
}

static void linear(void **state) {
    (void)state;
    dim c, r, i = parse("i");
    assert_true(dim_linear(t, parse("i*N*4 + j + i - 3"), i, &c, &r));
    is(c, parse("N*4 + 1"));
    is(r, parse("j - 3"));
    assert_true(dim_linear(t, parse("j / 2"), i, &c, &r));
    is(c, dim_const(t, 0));
    is(r, parse("j / 2"));
    assert_false(dim_linear(t, parse("i*i"), i, &c, &r));
    assert_false(dim_linear(t, parse("i / 2 + i"), i, &c, &r));
    assert_false(dim_linear(t, parse("i*(i % 2)"), i, &c, &r));
    assert_true(dim_contains(parse("min(x, j % (i + 1))"), i));
    assert_false(dim_contains(parse("min(x, j % 7)"), i));
    is(dim_substitute(t, parse("min(i, 4) + i*j"), i, parse("j + 4")), parse("4 + j*j + 4*j"));
}

static void count_symbols(void *user, dim symbol) {
    (void)symbol;
    ++*(int *)user;
}

static void tables(void **state) {
    (void)state;
    struct dim_table *other = dim_table_open(arena);
    dim_symbol(other, "zz", 0, 1);
    dim j = axis("j", parse("N + 1"));
    dim d = parse("(b*a + j) / 8 + a*7 % (b + c) - min(c, j)");
    dim copy = dim_copy(other, d);
    assert_string_equal(print(copy), print(d));
    assert_true(copy != d && dim_copy(t, copy) == d);
    assert_int_equal(dim_less(other, dim_find(other, "j"), dim_copy(other, parse("N + 1"))), DIM_YES);
    assert_true(dim_find(other, "j") != j && !dim_find(other, "nothing"));
    int n = 0;
    dim_symbols(d, count_symbols, &n);
    assert_int_equal(n, 4);
}

static bool bind_seven(void *user, dim symbol, int64_t *value) {
    (void)user;
    *value = 7;
    return symbol->name[0] != '_';
}

static void evaluation(void **state) {
    (void)state;
    int64_t v = 0;
    assert_int_equal(dim_eval(parse("(x*y - 50) / 4 + x % 4"), bind_seven, NULL, &v), YJ_OK);
    assert_int_equal(v, 2);
    assert_int_equal(dim_eval(parse("x*9223372036854775807"), bind_seven, NULL, &v), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "x*9223372036854775807 does not fit 64 bits"));
    assert_int_equal(dim_eval(parse("x / (y - z)"), bind_seven, NULL, &v), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "x / (y - z) divides by zero"));
    assert_int_equal(dim_eval(parse("x % 0"), bind_seven, NULL, &v), YJ_ERR_INPUT);
    assert_int_equal(dim_eval(parse("x + _y"), bind_seven, NULL, &v), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "_y has no value"));
    assert_int_equal(v, 2);
    assert_int_equal(dim_eval(parse("x*9223372036854775807 - y*9223372036854775807 + 3"), bind_seven, NULL, &v), YJ_OK);
    assert_int_equal(v, 3);
}

static void refuses(const char *text, const char *words, size_t offset) {
    const char *at = text;
    dim d = NULL;
    if (dim_parse(t, &at, &d) == YJ_OK) fail_msg("%s was parsed", text);
    if (!strstr(yj_error_text(), words)) fail_msg("%s: %s", text, yj_error_text());
    if ((size_t)(at - text) != offset) fail_msg("%s: stopped at %zu", text, (size_t)(at - text));
    assert_null(d);
}

static void bad_text(void **state) {
    (void)state;
    refuses("", "expected at the end", 0);
    refuses("a +", "expected at the end", 3);
    refuses("a + )", "a bracket expected at \")\"", 4);
    refuses("(a", "closing bracket", 2);
    refuses("min(a)", "comma", 5);
    refuses("9223372036854775808", "does not fit", 0);
    refuses("-9223372036854775809", "does not fit", 1);
    const char *at = "N..M";
    dim d;
    assert_int_equal(dim_parse(t, &at, &d), YJ_OK);
    assert_string_equal(at, "..M");
    is(d, parse("N"));
    char deep[1000];
    memset(deep, '(', 199);
    sprintf(deep + 199, "x");
    memset(deep + 200, ')', 199);
    deep[399] = 0;
    is(parse(deep), parse("x"));
    memset(deep, '(', 999);
    deep[999] = 0;
    refuses(deep, "nested deeper than 200", 200);
    memset(deep, '-', 999);
    refuses(deep, "nested deeper than 200", 200);
}

/* Each level is a little text and would be twice as large when expanded. */
static void growth_is_bounded(void **state) {
    (void)state;
    struct text text = {0}, next = {0};
    text_add(&text, "x");
    for (int i = 0; i < 95; i++) {
        text_add(&next, "((%s)/3 + 1)*(y%d/5 + 1)", text.data, i);
        text_free(&text);
        text = next;
        next = (struct text){0};
    }
    const char *at = text.data;
    dim d;
    enum yj_status status = dim_parse(t, &at, &d);
    if (status == YJ_OK) {
        int64_t v;
        dim_eval(d, bind_seven, NULL, &v);
        assert_in_range(strlen(print(d)), 1000, 3999);
    } else {
        assert_int_equal(status, YJ_ERR_UNSUPPORTED);
    }
    text_free(&text);
    for (int i = 0; i < 3000; i++)
        text_add(&text, "%sq%d", i ? "+" : "", i);
    at = text.data;
    assert_int_equal(dim_parse(t, &at, &d), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "too large"));
    text_free(&text);
    gives("x + x", "x*2"); /* the table is still usable */
}

/* The bounds of a padded convolution with stride 2, and of a pooling window, in the input's coordinates. */
static void convolution_bounds(void **state) {
    (void)state;
    dim_symbol(t, "H", 1, DIM_UNBOUNDED);
    axis("oh", parse("(H + 2 - 3) / 2 + 1"));
    axis("kh", dim_const(t, 3));
    assert_int_equal(dim_less(t, parse("oh*2 + kh"), parse("H + 2")), DIM_YES);
    assert_int_equal(dim_less(t, parse("oh*2 + kh"), parse("H + 1")), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("oh*2 + kh - 1"), parse("H")), DIM_UNKNOWN);
    assert_int_equal(dim_less(t, parse("oh*2 + kh - 1"), parse("-1")), DIM_NO);
    gives("max(oh*2 + kh - 1, -1)", "oh*2 + kh - 1");
}

struct parse_call {
    const char *text;
    dim d;
};

static enum yj_status parse_call(struct parse_call *call) {
    const char *at = call->text;
    return dim_parse(t, &at, &call->d);
}

/* The n-th block of the arena is refused: an error, and a table that still works. */
static void memory_runs_out(void **state) {
    (void)state;
    struct text text = {0};
    for (int i = 0; i < 60; i++)
        text_add(&text, "%s(s%d*n + max(r%d, 7)) / (n + %d)*n", i ? " + " : "", i, i, i % 5);
    struct parse_call call = {.text = text.data};
    int n = 1;
    for (;; n++) {
        close_table(NULL);
        open_table(NULL);
        arena_fail_at(n);
        enum yj_status status = parse_call(&call);
        arena_fail_at(0);
        if (status == YJ_OK) break;
        assert_int_equal(status, YJ_ERR_MEMORY);
        assert_int_equal(parse_call(&call), YJ_OK);
        gives("(x / 16)*16 + x % 16", "x");
        assert_int_equal(t->n_assumed | t->proving | t->dividing | t->joining, 0);
    }
    assert_in_range(n, 4, 30);
    text_free(&text);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, open_table, close_table)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(sums),
        TEST(division_by_constants),
        TEST(ranges),
        TEST(comparisons),
        TEST(symbolic_divisors),
        TEST(reshapes_with_symbols),
        TEST(reshapes_with_numbers),
        TEST(linear),
        TEST(tables),
        TEST(evaluation),
        TEST(bad_text),
        TEST(growth_is_bounded),
        TEST(convolution_bounds),
        TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

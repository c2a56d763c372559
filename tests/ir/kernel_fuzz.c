/* SPDX-License-Identifier: Apache-2.0
 *
 * Seeded mutations of the kernels in tests/ir/kernels: the parser and the verifier must answer, not crash or hang, and
 * what they accept must print to a text that parses to the same text, copy, and expand to a kernel that verifies.
 * YUNJIN_FUZZ=N runs N mutations of every kernel instead of 3000.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/ir/kernel_cases.h"

#include <ctype.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state_of_random;

static size_t below(size_t n) {
    return n ? (size_t)(case_random(&state_of_random) % n) : 0;
}

/* Words that change a text in interesting ways. */
static const char *const words[] = {"tile ",
                                    "vector ",
                                    "lane ",
                                    "serial ",
                                    "0",
                                    "1",
                                    "-",
                                    "9223372036854775807",
                                    "-9223372036854775808",
                                    "1e999",
                                    "(",
                                    ")",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    "barrier\n",
                                    "wait 0\n",
                                    "copy 1 ",
                                    "f16",
                                    "bool",
                                    "i64",
                                    ":u8",
                                    "nan",
                                    "N",
                                    "K",
                                    "min(",
                                    "/ 0",
                                    "% 0",
                                    "* 4611686018427387904",
                                    ".. ",
                                    "let x = 0.5\n",
                                    "reduce r = add(i = 0 .. N) 1.0\n",
                                    "\x80",
                                    "#",
                                    "step 0",
                                    "lanes 64",
                                    "select(true, 0.5, 1.5)",
                                    "cast.e4m3(",
                                    "bitcast.i32(",
                                    "@1,2",
                                    "guard N <= 5 <= M\n"};

/* One change to TEXT of N bytes, with room for 64 more. */
static size_t change(char *text, size_t n) {
    size_t at = below(n), end = at + below(n - at < 40 ? n - at : 40), size = end - at;
    switch (below(6)) {
    case 0: /* delete */
        memmove(text + at, text + end, n - end);
        return n - size;
    case 1: /* double */
        memmove(text + end, text + at, n - at);
        return n + size;
    case 2: { /* a word in */
        const char *word = words[below(COUNT(words))];
        memmove(text + at + strlen(word), text + at, n - at);
        memcpy(text + at, word, strlen(word));
        return n + strlen(word);
    }
    case 3: /* one character */
        if (n) text[at] = (char)(32 + below(96));
        return n;
    case 4: /* a digit */
        for (size_t i = at; i < n; i++)
            if (isdigit((unsigned char)text[i])) {
                text[i] = (char)('0' + below(10));
                break;
            }
        return n;
    default: /* a piece from elsewhere over it */
        memmove(text + at, text + below(n - size), size);
        return n;
    }
}

static char *printed(const struct kernel *k) {
    struct text text = {0};
    kernel_print(&text, k);
    assert_false(text.failed);
    return text.data;
}

static enum yj_status use(void *argument) {
    struct kernel *k = argument, *again = NULL;
    char *once = printed(k);
    if (kernel_parse(k->arena, once, "printed", &again) != YJ_OK) fail_msg("%s\n%s", yj_error_text(), once);
    char *twice = printed(again);
    assert_string_equal(once, twice);
    again = kernel_copy(k->arena, k);
    if (kernel_verify(again) != YJ_OK) fail_msg("copy: %s\n%s", yj_error_text(), once);
    kernel_expand_math(again);
    kernel_expand_reduce(again);
    if (kernel_verify(again) != YJ_OK) fail_msg("expanded: %s\n%s", yj_error_text(), once);
    free(once);
    free(twice);
    return YJ_OK;
}

/* All dims are 3, or as near as they may be. Too large for a test: false. */
static bool fill_launch(struct launch *l, struct kernel *k) {
    *l = (struct launch){.k = k};
    if (k->n_args > 16 || k->n_dims > 8) return false;
    for (int i = 0; i < k->n_dims; i++)
        l->scalar[i] = max64(k->dim_args[i]->low, min64(k->dim_args[i]->high, 3));
    if (dim_eval(kernel_tile_count(k), case_bind, l, &l->tiles) != YJ_OK) return false;
    for (const struct buffer *b = k->args; b; b = b->next) {
        int64_t n = 1, extent;
        for (int i = 0; i < b->rank; i++)
            if (dim_eval(b->shape[i], case_bind, l, &extent) != YJ_OK || __builtin_mul_overflow(n, extent, &n))
                return false;
        if (n < 0 || n > 100000) return false;
        l->n[b->index] = n;
        l->buffer[b->index] = calloc((size_t)n + 1, yj_dtype_bytes(b->dtype));
    }
    return true;
}

static void interpret(struct kernel *k) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct launch l;
        alarm(1);
        if (fill_launch(&l, k)) kernel_eval(k, l.buffer, l.scalar, 0, min64(l.tiles, 20), 1, &l.fault);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return;
    fail_msg("status %d\n%s", status, printed(k));
}

static void test_mutations(void **state) {
    long n = getenv("YUNJIN_FUZZ") ? atol(getenv("YUNJIN_FUZZ")) : 3000, accepted = 0, made = 0;
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        char *base = case_text(kernel_cases[i].name), *text = malloc(strlen(base) + 1024);
        assert_non_null(text);
        for (long m = 0; m < n; m++, made++) {
            state_of_random = (uint64_t)m * COUNT(kernel_cases) + i;
            size_t size = strlen(base), changes = 1 + below(3);
            memcpy(text, base, size);
            for (size_t c = 0; c < changes; c++)
                size = change(text, size);
            text[size] = 0;
            struct arena *arena = arena_open();
            struct kernel *k = NULL;
            enum yj_status status = kernel_parse(arena, text, "mutant", &k);
            if (status == YJ_OK) {
                accepted++;
                status = arena_guard(use, k);
                if (accepted % 16 == 0) interpret(k);
                if (status != YJ_OK && status != YJ_ERR_UNSUPPORTED) fail_msg("%s", yj_error_text());
            } else if (status != YJ_ERR_INPUT && status != YJ_ERR_UNSUPPORTED) {
                fail_msg("%s\n%s", yj_error_text(), text);
            }
            arena_close(arena);
        }
        free(base);
        free(text);
    }
    print_message("%ld of %ld mutations were accepted\n", accepted, made);
    assert_true(accepted > made / 100 && accepted < made);
}

/* Deep nests and long chains end in an error, not in the end of the stack. */
static void test_deep(void **state) {
    static const char *const pieces[][2] = {{"(", ")"}, {"-", ""}, {"neg(", ")"}, {"not(", ")"}, {"1 + ", ""}};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct text text = {0};
        struct arena *arena = arena_open();
        struct kernel *k = NULL;
        text_add(&text, "kernel deep(N in 1..)\n inout y f32 [N]\n{\n y[");
        for (int n = 0; n < 100000; n++)
            text_add(&text, "%s", pieces[i][0]);
        text_add(&text, "N");
        for (int n = 0; n < 100000; n++)
            text_add(&text, "%s", pieces[i][1]);
        text_add(&text, "] = 0.0\n}\n");
        enum yj_status status = kernel_parse(arena, text.data, "deep", &k);
        assert_true(status == YJ_ERR_INPUT || (i == 4 && status == YJ_OK));
        arena_close(arena);
        text_free(&text);
    }
    struct text text = {0};
    struct arena *arena = arena_open();
    struct kernel *k = NULL;
    text_add(&text, "kernel deep(N in 1..)\n{\n");
    for (int n = 0; n < 100000; n++)
        text_add(&text, "serial i%d = 0 .. N {", n);
    assert_int_equal(kernel_parse(arena, text.data, "deep", &k), YJ_ERR_INPUT);
    arena_close(arena);
    text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations), cmocka_unit_test(test_deep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

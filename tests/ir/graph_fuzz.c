/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser on damaged text: seeded mutations of the texts of random graphs. It refuses with an error line or gives a
 * graph that verifies and prints to itself; it never crashes (run under ASan) and never hangs. And memory: every single
 * allocation of parsing, copying and printing fails once, and the guard at the door returns YJ_ERR_MEMORY.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/ir/graph_cases.h"

static uint64_t state_of_random = 1;

static uint64_t draw(uint64_t below) {
    struct graph_case c = {.seed = state_of_random};
    uint64_t r = case_random(&c);
    state_of_random = c.seed;
    return r % below;
}

static const char *const words[] = {"%",
                                    "(",
                                    ")",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    "=",
                                    ":",
                                    "@",
                                    "in",
                                    "..",
                                    "return",
                                    "graph",
                                    "\"",
                                    "f32",
                                    "i64",
                                    "9223372036854775807",
                                    "-1",
                                    "1099511627776",
                                    "0",
                                    "mesh(",
                                    "state(",
                                    "/0",
                                    "*",
                                    "%x",
                                    "nan",
                                    "splat(",
                                    "data(",
                                    "#",
                                    "\n",
                                    "constant",
                                    "fused",
                                    "loop",
                                    "((((((((",
                                    "\\x"};

/* One to three edits: drop, double, swap, replace by a word, insert a word. */
static char *mutate(const char *text) {
    struct text t = {0};
    text_add(&t, "%s", text);
    for (uint64_t edits = 1 + draw(3); edits > 0; edits--) {
        struct text next = {0};
        size_t at = draw(t.n + 1), n = min64((int64_t)draw(12), (int64_t)(t.n - at));
        const char *word = words[draw(COUNT(words))];
        text_add(&next, "%.*s", (int)at, t.data);
        switch (draw(5)) {
        case 0:
            break;
        case 1:
            text_add(&next, "%.*s%.*s", (int)n, t.data + at, (int)n, t.data + at);
            break;
        case 2:
            text_add(&next, "%s", word);
            break;
        case 3:
            text_add(&next, "%s%.*s", word, (int)n, t.data + at);
            break;
        default:
            text_add(&next, "%c", (int)(1 + draw(255)));
            break;
        }
        text_add(&next, "%s", t.data + at + n);
        text_free(&t);
        t = next;
    }
    return t.data;
}

struct job {
    const char *text;
    bool parsed;
};

static enum yj_status parse_job(void *argument) {
    struct job *j = argument;
    struct arena *arena = arena_open();
    struct graph *g, *again;
    enum yj_status status = graph_parse(arena, j->text, "fuzz", &g);
    if (status == YJ_OK) {
        struct text a = {0}, b = {0};
        graph_print(&a, g);
        if (graph_parse(arena, a.data, "again", &again) != YJ_OK)
            fail_msg("%s\nfrom\n%s\nprinted as\n%s", yj_error_text(), j->text, a.data);
        graph_print(&b, again);
        assert_string_equal(a.data, b.data);
        text_free(&a);
        text_free(&b);
        j->parsed = true;
    } else {
        assert_true(strlen(yj_error_text()) > 0);
    }
    arena_close(arena);
    return YJ_OK;
}

static char *case_text(uint64_t seed) {
    struct graph_case c;
    struct text t = {0};
    enum op_kind kind = (enum op_kind)(seed % 3 ? OP_FIRST_TENSOR + 1 + (int)(draw(OP_COUNT - OP_FIRST_TENSOR - 1))
                                                : (int)draw(OP_COUNT));
    if (!graph_case_make(&c, kind, (enum yj_dtype)(1 + draw(15)), seed, seed & 1)) return NULL;
    graph_print(&t, c.g);
    graph_case_free(&c);
    return t.data;
}

static void test_parse_damaged(void **state) {
    int parsed = 0, refused = 0;
    for (uint64_t seed = 0; seed < 4000; seed++) {
        state_of_random = seed * 77 + 1;
        char *text = case_text(seed);
        if (!text) continue;
        char *damaged = mutate(text);
        struct job j = {damaged, false};
        assert_int_equal(parse_job(&j), YJ_OK);
        *(j.parsed ? &parsed : &refused) += 1;
        free(damaged);
        free(text);
    }
    print_message("%d damaged texts parse, %d are refused\n", parsed, refused);
    assert_true(parsed > 40 && refused > 1000);
}

static void test_parse_truncated(void **state) {
    state_of_random = 5;
    for (uint64_t seed = 0; seed < 60; seed++) {
        char *text = case_text(seed);
        for (size_t n = text ? strlen(text) : 0; n-- > 0;) {
            text[n] = 0;
            struct job j = {text, false};
            parse_job(&j);
        }
        free(text);
    }
}

static void test_parse_deep(void **state) {
    struct text t = {0};
    struct arena *arena = arena_open();
    struct graph *g;
    text_add(&t, "graph g(x f32 []) { ");
    for (int i = 0; i < 5000; i++)
        text_add(&t, "%%a = composite(%%x) name=c b(x f32 []) { ");
    assert_int_equal(graph_parse(arena, t.data, "deep", &g), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "nested deeper"));
    text_free(&t);
    text_add(&t, "graph g(x f32 [");
    for (int i = 0; i < 200000; i++)
        text_add(&t, "(");
    assert_int_not_equal(graph_parse(arena, t.data, "deep", &g), YJ_OK);
    text_free(&t);
    arena_close(arena);
}

/* --- out of memory --- */

static const char big[] = "graph main(N in 1..8, x f32 [N, 4]) {\n"
                          "  %w = constant f32 [4, 3] splat(2)\n"
                          "  %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] @4\n"
                          "  %q = composite(%y) name=thing body(a f32 [N, 3]) { %m = mul(%a, %a) return %m }\n"
                          "  return %q\n"
                          "}\n";

static struct arena *memory_arena;

static enum yj_status memory_job(void *argument) {
    struct graph *g;
    TRY(graph_parse(memory_arena, big, "big", &g));
    for (int i = 0; i < 200; i++)
        g = graph_copy(memory_arena, g); /* enough to fill several blocks */
    return graph_verify(g);
}

static void test_memory(void **state) {
    long failures = 0;
    enum yj_status status = YJ_ERR_MEMORY;
    for (long n = 1; status != YJ_OK && n < 10000; n++) {
        memory_arena = arena_open();
        arena_fail_at(n);
        status = arena_guard(memory_job, NULL);
        arena_fail_at(0);
        arena_close(memory_arena);
        assert_true(status == YJ_OK || status == YJ_ERR_MEMORY);
        failures += status == YJ_ERR_MEMORY;
    }
    assert_int_equal(status, YJ_OK);
    assert_true(failures > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse_damaged), cmocka_unit_test(test_parse_truncated),
                                       cmocka_unit_test(test_parse_deep), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

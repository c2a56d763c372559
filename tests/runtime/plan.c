/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan form: text round trip of a plan that uses everything, one mutant for each rule of the verifier, random
 * damage to the text, lifetimes, and offsets that never overlap in time and bytes.
 */
#include "runtime/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Everything the form has. Lines are numbered from 0 in the mutants below by their text. */
static const char full[] = "plan 1 mesh(tp=2,dp=3)\n"
                           "node 3 \"MatMul_3 (MatMul)\"\n"
                           "node 12 \"a \\\"quoted\\\" \\\\ name\\x0a\"\n"
                           "dim N 1..64 input\n"
                           "dim past 0..4096 state\n"
                           "dim k 0..1000 born\n"
                           "dim c 0..1 born\n"
                           "dim i 0..1000 born\n"
                           "dim rank.tp 0..1 rank\n"
                           "kernel matmul(M 1..64, K 0..inf) in in out {\n"
                           "  matmul_1 tiles 1 scratch 0 ns K*20 when 1 <= M <= 1, 0 <= K <= 64\n"
                           "  \"matmul-n\" tiles (M + 5) / 6 scratch 256 ns K*M*20\n"
                           "}\n"
                           "kernel add_in_place(n 0..inf) inout {\n"
                           "  add tiles n scratch 0 ns 0\n"
                           "}\n"
                           "%0 \"x\" f32 host input bytes N*256\n"
                           "%1 \"w\" f32 host weight bytes 16384 file 0 at rank.tp*16384 + 4096\n"
                           "%2 \"h\" f32 comm temp bytes N*256 live #0 0..9\n"
                           "%3 \"h'\" f32 comm alias %2 at 0 bytes N*128\n"
                           "%4 \"kv\" f32 host state bytes 1048576\n"
                           "%5 \"n\" i64 host temp bytes 16 live #0 0..9\n"
                           "%6 \"inner\" f32 host temp bytes N*256 live #1 0..1\n"
                           "%7 \"back\" f32 comm alias %2 at N*128 bytes N*128\n"
                           "%8 \"m\" f32 host temp bytes N*256 live #0 0..2\n"
                           "input \"x\" %0 f32 [N, 64]\n"
                           "output \"y\" %2 f32 [N, 64]\n"
                           "output \"count\" %5 i64 [2]\n"
                           "state \"past.0\" \"present.0\" %4 f32 [1, past, 64] -> [1, N + past, 64] in [1, 4096, 64]\n"
                           "block #0 \"main\" {\n"
                           "  0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12\n"
                           "  1 q1 after 0 start !0 all_reduce add f32 %2 -> %2 count N*64 axis tp @12\n"
                           "  2 q0 launch matmul(%0, %1, %8)[N, 64]\n"
                           "  3 q0 after 1 wait !0\n"
                           "  4 q0 copy %4 at past*256 = %2 at 0 bytes N*256 @3\n"
                           "  5 q0 copy %5 at 0 = %0 at 0 bytes 16\n"
                           "  6 q0 bind %5 i64 k, c\n"
                           "  7 q0 branch c #1 none\n"
                           "  8 q0 call #2 index i trips k while c @3\n"
                           "  9 q0 launch add_in_place(%3)[N*128]\n"
                           "}\n"
                           "block #1 \"then\" {\n"
                           "  0 q0 launch matmul(%0, %1, %6)[N, 64]\n"
                           "  1 q0 copy %2 at 0 = %6 at 0 bytes N*256\n"
                           "}\n"
                           "block #2 \"body\" {\n"
                           "  0 q0 check -i + k - 1 @12\n"
                           "  1 q0 copy %4 at i*64 = %2 at 0 bytes 64\n"
                           "}\n";

static enum yj_status parse(const char *text, struct text *again) {
    struct arena *arena = arena_open();
    struct plan *p;
    enum yj_status status = plan_parse(arena, text, "test.plan", &p);
    if (status == YJ_OK && again) plan_print(again, p);
    arena_close(arena);
    return status;
}

static void test_round_trip(void **state) {
    struct text once = {0}, twice = {0};
    enum yj_status status = parse(full, &once);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    assert_int_equal(status, YJ_OK);
    assert_string_equal(once.data, full);
    assert_int_equal(parse(once.data, &twice), YJ_OK);
    assert_string_equal(once.data, twice.data);
    text_free(&once);
    text_free(&twice);
}

static void test_comments_and_blanks(void **state) {
    struct text again = {0};
    assert_int_equal(parse("plan 1 # a comment\n\n  # another\nblock #0\n \"main\" { }  # end", &again), YJ_OK);
    assert_string_equal(again.data, "plan 1\nblock #0 \"main\" {\n}\n");
    text_free(&again);
}

/* Replaces FROM, which occurs once, by TO. */
static char *mutant(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    assert_non_null(at);
    assert_null(strstr(at + 1, from));
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static const struct {
    const char *from, *to, *says;
} mutants[] = {
    /* tables */
    {"plan 1 mesh", "plan 9 mesh", "version"},
    {"mesh(tp=2,dp=3)", "mesh(tp=2,tp=3)", "two mesh axes"},
    {"mesh(tp=2,dp=3)", "mesh(tp=2,dp=0)", "has 0 ranks"},
    {"mesh(tp=2,dp=3)", "mesh(tp=3,dp=3)", "bounds of a rank dim"},
    {"node 12", "node 2", "ascending"},
    {"dim N 1..64 input", "dim N 64..1 input", "no value"},
    {"dim N 1..64 input", "dim N 1..99999999999999999999 input", "63 bits"},
    {"dim past 0..4096 state", "dim past 0..inf state", "finite"},
    {"dim c 0..1 born", "dim N 0..1 born", "twice"},
    {"dim i 0..1000 born", "dim i 0..1000 input", "no input has it"},
    {"dim i 0..1000 born", "dim i 0..1000 state", "no state has it"},
    {"dim rank.tp 0..1 rank", "dim rank.x 0..1 rank", "rank.AXIS"},
    {"kernel add_in_place", "kernel matmul", "two kernels"},
    {"scratch 256 ns K*M*20",
     "scratch 256 ns K*M*20\n a tiles 1 scratch 0 ns 0\n b tiles 1 scratch 0 ns 0\n"
     " c tiles 1 scratch 0 ns 0",
     "variants"},
    {"tiles n scratch 0", "tiles N scratch 0", "none of its dims"},
    {"%0 \"x\" f32", "%1 \"x\" f32", "in order"},
    {"%0 \"x\" f32 host input bytes N*256", "%0 \"x\" f32 host input bytes past*256", "may not be used"},
    {"%6 \"inner\" f32 host temp bytes N*256", "%6 \"inner\" f32 host temp bytes k*256", "may not be used"},
    {"%6 \"inner\" f32 host temp bytes N*256", "%6 \"inner\" f32 host temp bytes Q*256", "not a dim of this plan"},
    {"%6 \"inner\" f32", "%6 \"inner\" f31", "element type"},
    {"alias %2 at 0", "alias %4 at 0", "not before it"},
    {"alias %2 at 0", "alias %1 at 0", "another space"},
    {"live #1 0..1", "live #1 0..2", "not there"},
    {"live #1 0..1", "live #7 0..1", "not there"},
    {"input \"x\" %0", "input \"x\" %99", "no buffer"},
    {"input \"x\" %0", "input \"x\" %8", "no input buffer"},
    {"input \"x\" %0 f32", "input \"x\" %0 f16", "f16"},
    {"output \"count\" %5", "output \"y\" %5", "two outputs"},
    {"output \"y\" %2", "output \"y\" %8", "does not live to the end"},
    {"state \"past.0\"", "state \"x\"", "two inputs"},
    {"in [1, 4096, 64]", "in [4096, 64]", "differ in rank"},
    {"in [1, 4096, 64]", "in [1, past, 64]", "may not be used"},
    /* steps */
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%0, %1)[N, 64] @3,12", "takes 3 buffers"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%0, %1, %2)[N] @3,12", "2 dims"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch nothing(%0, %1, %2)[N, 64] @3,12", "no kernel"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%8, %1, %2)[N, 64] @3,12",
     "before it is written"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%0, %1, %0)[N, 64] @3,12", "it is an input"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%0, %0, %1)[N, 64] @3,12", "it is a weight"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q0 launch matmul(%0, %1, %2)[k, 64] @3,12",
     "before it is bound"},
    {"0 q0 launch matmul(%0, %1, %2)[N, 64] @3,12", "0 q99 launch matmul(%0, %1, %2)[N, 64] @3,12", "queue"},
    {"2 q0 launch matmul(%0, %1, %8)[N, 64]", "2 q0 launch matmul(%0, %1, %2)[N, 64]", "neither follows"},
    {"2 q0 launch matmul(%0, %1, %8)[N, 64]", "2 q0 after 1 launch matmul(%0, %1, %2)[N, 64]", "in flight"},
    {"2 q0 launch matmul(%0, %1, %8)[N, 64]", "2 q0 launch matmul(%0, %1, %6)[N, 64]", "outside of its life"},
    {"1 q1 after 0 start", "1 q1 start", "neither follows"},
    {"1 q1 after 0 start", "1 q1 after 2 start", "not before it"},
    {"3 q0 after 1 wait !0", "3 q0 wait !0", "does not follow its start"},
    {"3 q0 after 1 wait !0", "3 q0 after 1 wait !1", "not started"},
    {"3 q0 after 1 wait !0", "3 q0 after 1 copy %5 at 0 = %0 at 0 bytes 16", "never waited for"},
    {"axis tp", "axis ep", "no axis"},
    {"%2 \"h\" f32 comm temp bytes N*256 live #0 0..9", "%2 \"h\" f32 comm temp bytes N*256 live #0 1..9",
     "outside of its life"},
    {"%8 \"m\" f32 host temp bytes N*256 live #0 0..2", "%8 \"m\" f32 host temp bytes N*256 live #0 0..1",
     "outside of its life"},
    {"bind %5 i64 k, c", "bind %5 i64 N, c", "born dims only"},
    {"bind %5 i64 k, c", "bind %5 f32 k, c", "i64, i32 or bool"},
    {"branch c #1 none", "branch c #0 none", "higher number"},
    {"branch c #1 none", "branch c #1 #2", "used by two steps"},
    {"branch c #1 none", "branch c none none", "never used"},
    {"branch c #1 none", "branch i #1 none", "before it is bound"},
    {"call #2 index i trips k", "call #2 index N trips k", "born dim"},
    {"call #2 index i trips k", "call #2 index i turns past trips k", "born dim"},
    {"call #2 index i trips k", "call #2 index i", "needs trips"},
    {"call #2 index i trips k", "call #9 index i trips k", "higher number"},
    {"  9 q0 launch", "  8 q0 launch", "in order"},
    {"0 q0 check -i + k - 1", "0 q0 check -q + k - 1", "not a dim of this plan"},
    {"1 q0 copy %2 at 0 = %6 at 0", "1 q0 copy %2 at i = %6 at 0", "before it is bound"},
};

static void test_mutants(void **state) {
    for (size_t i = 0; i < COUNT(mutants); i++) {
        char *text = mutant(full, mutants[i].from, mutants[i].to);
        enum yj_status status = parse(text, NULL);
        if (status == YJ_OK || !strstr(yj_error_text(), mutants[i].says)) {
            print_error("mutant '%s' -> '%s': %s\n", mutants[i].from, mutants[i].to,
                        status ? yj_error_text() : "accepted");
            fail();
        }
        free(text);
    }
}

/* Aliases that lie apart may be worked on while the other is in flight. */
static void test_parts_in_flight(void **state) {
    char *apart = mutant(full, "start !0 all_reduce add f32 %2 -> %2 count N*64",
                         "start !0 all_reduce add f32 %7 -> %7 count N*32");
    char *both = mutant(apart, "2 q0 launch matmul(%0, %1, %8)[N, 64]", "2 q0 launch matmul(%0, %1, %3)[N, 64]");
    enum yj_status status = parse(both, NULL);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    assert_int_equal(status, YJ_OK);
    free(apart);
    free(both);
}

/* A value that only one side of a branch writes is not there after it. */
static void test_branch_writes(void **state) {
    char *text = mutant(full, "1 q0 copy %2 at 0 = %6 at 0 bytes N*256", "1 q0 copy %8 at 0 = %6 at 0 bytes N*256");
    char *late = mutant(text, "2 q0 launch matmul(%0, %1, %8)[N, 64]", "2 q0 copy %4 at 0 = %0 at 0 bytes 0");
    char *live = mutant(late, "live #0 0..2", "live #0 0..9");
    char *use = mutant(live, "9 q0 launch add_in_place(%3)", "9 q0 launch add_in_place(%8)");
    assert_int_equal(parse(live, NULL), YJ_OK);
    assert_int_equal(parse(use, NULL), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "before it is written"));
    free(text), free(late), free(live), free(use);
}

/* Rows that a loop adds, one a turn, are there after it, as many as it turned; anything else that only it writes is
 * not.
 */
static const char stacking[] = "plan 1\n"
                               "dim i 0..7 born\n"
                               "dim n 0..8 born\n"
                               "dim k 0..8 born\n"
                               "%0 \"x\" f32 host input bytes 8\n"
                               "%1 \"times\" i64 host input bytes 8\n"
                               "%2 \"rows\" f32 host temp bytes 64 live #0 0..1\n"
                               "input \"x\" %0 f32 [2]\n"
                               "input \"times\" %1 i64 []\n"
                               "output \"rows\" %2 f32 [n, 2]\n"
                               "block #0 \"main\" {\n"
                               "  0 q0 bind %1 i64 k\n"
                               "  1 q0 call #1 index i turns n trips k\n"
                               "}\n"
                               "block #1 \"body\" {\n"
                               "  0 q0 copy %2 at i*8 = %0 at 0 bytes 8\n"
                               "}\n";

static void test_rows(void **state) {
    struct text again = {0};
    char *fixed = mutant(stacking, "at i*8", "at 8"), *uncounted = mutant(stacking, " turns n", "");
    assert_int_equal(parse(stacking, &again), YJ_OK);
    assert_string_equal(again.data, stacking);
    assert_int_equal(parse(fixed, NULL), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "never written"));
    assert_int_equal(parse(uncounted, NULL), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "the dim n is used before it is bound"));
    text_free(&again);
    free(fixed), free(uncounted);
}

static uint64_t seed;
static uint32_t next(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

/* A thousand damaged texts: no crash, no hang; what is accepted still prints and parses to itself. */
static void test_fuzz(void **state) {
    static const char alphabet[] = "0123456789%#!@\"\\ \n{}()[]=.,-+*/<>abckNqMx";
    size_t n = sizeof full - 1;
    char *text = malloc(2 * n + 64);
    for (seed = 1; seed <= 1000;) {
        uint64_t this = seed;
        memcpy(text, full, n + 1);
        size_t length = n;
        for (uint32_t edits = 1 + next() % 4; edits; edits--) {
            size_t at = next() % length;
            switch (next() % 4) {
            case 0:
                text[at] = alphabet[next() % (sizeof alphabet - 1)];
                break;
            case 1:
                memmove(text + at, text + at + 1, length - at), length--;
                break;
            case 2: { /* repeats a piece */
                size_t piece = 1 + next() % 40;
                if (at + piece > length || length + piece > 2 * n) break;
                memmove(text + at + piece, text + at, length - at + 1);
                length += piece;
                break;
            }
            case 3:
                if (next() % 8 == 0) text[length = at] = 0;
                break;
            }
            if (!length) break;
        }
        struct text once = {0}, twice = {0};
        if (parse(text, &once) == YJ_OK) {
            assert_int_equal(parse(once.data, &twice), YJ_OK);
            assert_string_equal(once.data, twice.data);
        } else {
            assert_true(*yj_error_text());
        }
        text_free(&once);
        text_free(&twice);
        seed = this + 1;
    }
    free(text);
}

static void test_deep_nesting(void **state) {
    struct text t = {0};
    text_add(&t, "plan 1\ndim c 0..1 input\n%%0 \"x\" f32 host input bytes 4*c\ninput \"x\" %%0 f32 [c]\n");
    for (int i = 0; i < 100000; i++)
        text_add(&t, "block #%d \"b\" {\n0 q0 call #%d\n}\n", i, i + 1);
    text_add(&t, "block #100000 \"b\" { }\n");
    assert_int_equal(parse(t.data, NULL), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "nest deeper"));
    text_free(&t);
}

static void test_out_of_memory(void **state) {
    int failures = 0;
    for (long n = 1; n < 200; n++) {
        struct arena *arena = arena_open();
        struct plan *p;
        arena_fail_at(n);
        enum yj_status status = plan_parse(arena, full, "test.plan", &p);
        arena_fail_at(0);
        arena_close(arena);
        if (status == YJ_OK) break;
        assert_int_equal(status, YJ_ERR_MEMORY);
        failures++;
    }
    assert_true(failures > 0);
}

static void test_times(void **state) {
    struct arena *arena = arena_open();
    struct plan *p;
    assert_int_equal(plan_parse(arena, full, "test.plan", &p), YJ_OK);
    int first[9], last[9];
    assert_int_equal(memory_times(p, first, last), YJ_OK);
    assert_int_equal(first[0], -1);
    assert_int_equal(first[2], 0);
    assert_int_equal(last[2], 13); /* 10 steps, and 4 inside the called blocks */
    assert_int_equal(first[6], 8); /* inside block 1, which step 7 runs */
    assert_int_equal(last[6], 9);
    assert_int_equal(first[8], 0);
    assert_int_equal(last[8], 2);
    arena_close(arena);
}

static void test_offsets(void **state) {
    enum { N = 2000 };
    struct memory_item *items = calloc(N, sizeof *items);
    uint64_t *work = calloc(2 * N, sizeof *work);
    double best = 1e9, naive = 0, peak = 0;
    for (int round = 0; round < 5; round++) {
        seed = (uint64_t)round + 7;
        double alive[N + 64] = {0};
        naive = 0;
        for (int i = 0; i < N; i++) {
            items[i] = (struct memory_item){.bytes = next() % 100000, .first = i, .last = i + (int)(next() % 40)};
            naive += (double)items[i].bytes;
            for (int t = items[i].first; t <= items[i].last && t < N + 64; t++)
                alive[t] += (double)((items[i].bytes + 63) / 64 * 64);
        }
        peak = 0;
        for (int t = 0; t < N + 64; t++)
            peak = alive[t] > peak ? alive[t] : peak;
        int64_t total;
        double begin = time_now();
        assert_int_equal(memory_assign(items, N, work, &total), YJ_OK);
        double took = time_now() - begin;
        best = took < best ? took : best;
        for (int i = 0; i < N; i++) {
            assert_int_equal(items[i].offset % 64, 0);
            assert_true(items[i].offset + items[i].bytes <= total);
            for (int j = i + 1; j < N && items[j].first <= items[i].last; j++) {
                bool apart = items[i].offset + items[i].bytes <= items[j].offset ||
                             items[j].offset + items[j].bytes <= items[i].offset;
                assert_true(apart || !items[i].bytes || !items[j].bytes);
            }
        }
        assert_true((double)total < 1.35 * peak);
        print_message("2000 buffers: %.2f ms, %.3f of the sum, %.3f of the peak\n", 1e3 * took, (double)total / naive,
                      (double)total / peak);
    }
    int64_t total;
    items[0] = (struct memory_item){.bytes = INT64_MAX - 100};
    items[1] = (struct memory_item){.bytes = INT64_MAX - 100};
    assert_int_equal(memory_assign(items, 2, work, &total), YJ_ERR_INPUT);
    items[0].bytes = -1;
    assert_int_equal(memory_assign(items, 1, work, &total), YJ_ERR_INPUT);
    free(items);
    free(work);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_comments_and_blanks),
        cmocka_unit_test(test_mutants),       cmocka_unit_test(test_parts_in_flight),
        cmocka_unit_test(test_branch_writes), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_fuzz),          cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_times),
        cmocka_unit_test(test_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

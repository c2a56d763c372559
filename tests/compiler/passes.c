/* SPDX-License-Identifier: Apache-2.0
 *
 * Passes keep the meaning of a graph, to the bit: random graphs evaluated before and after each pass and after all of
 * them, with constant and symbolic shapes. And they do something: over the whole run each shrinks graphs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/lower.h"
#include "compiler/pass.h"
#include "tests/compiler/random_graph.h"

static int count_ops(const struct graph *g) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next)
        n++;
    return n;
}

static bool same_bits(const struct tensor *a, const struct tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank || a->n_bytes != b->n_bytes) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    for (int64_t i = 0; i < (int64_t)(a->n_bytes / yj_dtype_bytes(a->dtype)); i++) {
        uint64_t x = element_load(a->bytes, a->dtype, i), y = element_load(b->bytes, b->dtype, i);
        bool nan =
            dtype_kind(a->dtype) == 'f' && dtype_wide(a->dtype) == YJ_F32 && isnan(bits_f32(x)) && isnan(bits_f32(y));
        if (x != y && !nan) return false; /* a NaN equals a NaN whatever its payload */
    }
    return true;
}

struct job {
    struct random_graph r;
    struct graph *changed;
    const char *passes;
};

static enum yj_status make_and_run(void *argument) {
    struct job *j = argument;
    j->changed = graph_copy(j->r.c.arena, j->r.c.g);
    return pipeline_run(j->changed, &(struct pass_options){.only = j->passes});
}

static void print_both(const struct job *j) {
    struct text t = {0};
    graph_print(&t, j->r.c.g);
    text_add(&t, "\nbecame\n\n");
    graph_print(&t, j->changed);
    print_error("%s\n", t.data);
    text_free(&t);
}

static void check(const char *pass, uint64_t seed, int steps, bool flow, int *before, int *after) {
    struct job j = {.passes = pass};
    struct tensor a[16], b[16];
    random_graph_fill(&j.r, seed, steps, seed & 1, false, flow);
    struct graph *g = j.r.c.g;
    if (graph_verify(g) != YJ_OK) fail_msg("seed %d: %s", (int)seed, yj_error_text());
    if (arena_guard(make_and_run, &j) != YJ_OK) {
        print_both(&j);
        fail_msg("seed %d, %s: %s", (int)seed, pass ? pass : "all", yj_error_text());
    }
    if (graph_eval(g, j.r.c.inputs, a, NULL, NULL) != YJ_OK) fail_msg("seed %d before: %s", (int)seed, yj_error_text());
    if (graph_eval(j.changed, j.r.c.inputs, b, NULL, NULL) != YJ_OK) {
        print_both(&j);
        fail_msg("seed %d, %s: %s", (int)seed, pass ? pass : "all", yj_error_text());
    }
    for (int i = 0; i < g->n_out; i++) {
        assert_string_equal(g->out_names[i], j.changed->out_names[i]);
        if (!same_bits(&a[i], &b[i])) {
            print_both(&j);
            fail_msg("seed %d, %s: output %s differs", (int)seed, pass ? pass : "all", g->out_names[i]);
        }
        tensor_free(&a[i]);
        tensor_free(&b[i]);
    }
    *before += count_ops(g);
    *after += count_ops(j.changed);
    graph_case_free(&j.r.c);
}

static void many(const char *pass) {
    int before = 0, after = 0;
    for (uint64_t seed = 1; seed <= 250; seed++)
        check(pass, seed * 7919, 5 + (int)(seed % 40), false, &before, &after);
    for (uint64_t seed = 1; seed <= 150; seed++)
        check(pass, seed * 6101, 5 + (int)(seed % 20), true, &before, &after);
    print_message("%s: %d ops became %d\n", pass ? pass : "all", before, after);
    assert_true(after < before);
}

/* Every edge between two kernels has its reason. */
static void test_refusals(void **state) {
    struct arena *arena = arena_open();
    struct fuse_log log = {0};
    struct graph *g;
    const char *text =
        "graph g(x f32 [4, 8], w f32 [8, 6]) { %d = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]"
        " %e = exp(%d) %r = reduce(%e) axes=[1] kind=add @7 return %r }";
    if (graph_parse(arena, text, "refusals", &g) != YJ_OK) fail_msg("%s", yj_error_text());
    assert_int_equal(pipeline_run(g, &(struct pass_options){.only = "fuse", .fuse_log = &log}), YJ_OK);
    assert_int_equal(log.n_groups, 2);
    assert_non_null(log.first);
    assert_null(log.first->next);
    assert_string_equal(log.first->value, "e");
    assert_string_equal(log.first->producer, "exp");
    assert_string_equal(log.first->consumer, "reduce %r (node 7)");
    assert_string_equal(log.first->why, "a reduce beside another anchor");
    arena_close(arena);
}

static void test_fold(void **state) {
    many("fold");
}
static void test_simplify(void **state) {
    many("simplify");
}
static void test_fuse(void **state) {
    many("fuse");
}
static void test_all(void **state) {
    many(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fold), cmocka_unit_test(test_simplify),
                                       cmocka_unit_test(test_fuse), cmocka_unit_test(test_all),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Lowering: every group of groups.def as a plain kernel gives what graph_eval gives, with the tiles in random order;
 * what one kernel cannot hold is refused in words; arguments in place and in larger storage.
 */
#include "tests/compiler/groups.h"

static struct kernel *lowered(struct trial *t, const struct lower_place *places) {
    struct kernel *k = NULL;
    if (lower_op(t->arena, t->fused, t->group->name, places, &k) != YJ_OK)
        fail_msg("%s: %s", t->group->name, yj_error_text());
    return k;
}

static void evaluate(struct launch *l, uint64_t seed, const char *name) {
    if (kernel_eval(l->k, l->buffer, l->scalar, 0, l->tiles, seed, &l->fault) == YJ_OK) return;
    struct text text = {0};
    kernel_print(&text, l->k);
    fail_msg("%s: %s\n%s", name, yj_error_text(), text.data);
}

static void test_groups(void **state) {
    const char *only = getenv("GROUP");
    for (size_t i = 0; i < COUNT(groups); i++) {
        if (only && strcmp(only, groups[i].name) != 0) continue;
        for (int d = 0; group_has(&groups[i], d); d++) {
            struct trial t;
            trial_open(&t, &groups[i], d, 7 + (uint64_t)d);
            const char *why = NULL;
            if (!lower_can(t.g, &why)) fail_msg("%s: lower_can says no: %s", groups[i].name, why);
            struct kernel *k = lowered(&t, NULL);
            if (only && d == 0) {
                struct text text = {0};
                kernel_print(&text, k);
                puts(text.data);
                text_free(&text);
            }
            struct launch l;
            launch_open(&l, &t, k);
            evaluate(&l, 3 + (uint64_t)d, groups[i].name);
            assert_int_equal(l.fault.code, strcmp(groups[i].name, "integers") ? YJ_FAULT_NONE : l.fault.code);
            check_results(&t, &l, "plain");
            launch_close(&l);
            trial_close(&t);
        }
    }
}

/* --- what is refused --- */

static const struct {
    const char *text, *why;
} refusals[] = {
    {"graph g(x f32 [3]) { %c = constant f32 [3] {1, 2, 3} %y = add(%x, %c) return %y }",
     "a constant of several values must be an operand of the group"},
    {"graph g(x f32 [3, 4], w f32 [4, 5]) { %e = exp(%x) %y = dot(%e, %w) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] return %y }",
     "an operand of a contraction that is costly to compute would be computed again and again"},
    {"graph g(x f32 [3, 4], w f32 [4, 5], v f32 [5, 2]) { %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] %z = dot(%y, %v) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] return %z }",
     "two anchors"},
    {"graph g(x f32 [3, 4]) { %s = reduce(%x) axes=[1] kind=add %t = reduce(%x) axes=[0] kind=add return %s, %t }",
     "reductions over different axes"},
    {"graph g(x f32 [3, 4], y f32 [4]) { %a = neg(%x) %b = neg(%y) return %a, %b }", "outputs of different shapes"},
    {"graph g(x f32 [3000, 400]) { %s = reduce(%x) axes=[0, 1] kind=max %b = broadcast(%s) shape=[3000, 400] axes=[] "
     "%y = div(%x, %b) return %y }",
     "a reduce of everything that is used again by everything would run on one core"},
    {"graph g(x f32 [3, 4], w f32 [4, 5], v f32 [3, 5]) { %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] %z = concat(%y, %v) axis=0 return %z }",
     "a concat of an anchor's result"},
};

static void test_refusals(void **state) {
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct arena *arena = arena_open();
        struct graph *g;
        const char *why = "";
        if (graph_parse(arena, refusals[i].text, "refusal", &g) != YJ_OK) fail_msg("%s", yj_error_text());
        assert_false(lower_can(g, &why));
        assert_string_equal(why, refusals[i].why);
        arena_close(arena);
    }
}

/* --- places --- */

/* A cache of storage [2, 8, 3] whose first PAST rows are in use gets rows in place; nothing else is touched. */
static void test_in_place(void **state) {
    static const struct group group = {"append",
                                       "graph g(N in 1.., P in 0..8, x f32 [2, P + N, 3], u f32 [2, N, 3], s f32 [P]) "
                                       "{ %y = update_slice(%x, %u) start=[0, P, 0] return %y }",
                                       {{2, 3, -1}},
                                       0,
                                       0};
    struct trial t;
    trial_open(&t, &group, 0, 5);
    dim storage[3] = {dim_const(t.g->dims, 2), dim_const(t.g->dims, 8), dim_const(t.g->dims, 3)};
    struct lower_place places[4] = {{storage, -1}, {NULL, -1}, {NULL, -1}, {storage, 0}};
    struct kernel *k = lowered(&t, places);
    float cache[48], before[48];
    for (int i = 0; i < 48; i++)
        before[i] = cache[i] = (float)i;
    void *buffer[4] = {cache, t.in[1].bytes, t.in[2].bytes, cache};
    struct yj_fault fault = {0};
    int64_t scalar[4], tiles = trial_number(&t, kernel_tile_count(k));
    for (int i = 0; i < k->n_dims; i++)
        scalar[i] = trial_number(&t, k->dim_args[i]);
    if (kernel_eval(k, buffer, scalar, 0, tiles, 1, &fault) != YJ_OK) fail_msg("%s", yj_error_text());
    assert_int_equal(fault.code, YJ_FAULT_NONE);
    for (int b = 0; b < 2; b++)
        for (int r = 0; r < 8; r++)
            for (int c = 0; c < 3; c++) {
                int at = (b * 8 + r) * 3 + c;
                bool part = r >= 3 && r < 5;
                float want = part ? ((float *)t.in[1].bytes)[(b * 2 + r - 3) * 3 + c] : before[at];
                assert_true(cache[at] == want);
            }
    trial_close(&t);
}

/* --- faults --- */

static void test_bad_index(void **state) {
    static const struct group group = {
        "bad", "graph g(x f32 [4, 3], i i64 [2]) { %y = gather(%x, %i) axis=0 return %y }", {{-1}}, 4, 0};
    struct trial t;
    trial_open(&t, &group, 0, 5);
    ((int64_t *)t.in[1].bytes)[1] = -7;
    struct kernel *k = lowered(&t, NULL);
    struct launch l;
    launch_open(&l, &t, k);
    evaluate(&l, 1, "bad");
    assert_int_equal(l.fault.code, YJ_FAULT_INDEX);
    assert_int_equal(l.fault.value, -7);
    launch_close(&l);
    trial_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_in_place), cmocka_unit_test(test_bad_index)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

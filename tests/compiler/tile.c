/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiling: every group of groups.def, tiled for targets of several vector widths and register tiles, gives the bits of its
 * plain kernel (both interpreted, tiles in random order); then random shapes of the contractions.
 */
#include "tests/compiler/groups.h"

static const struct yj_target targets[] = {
    {.name = "none", .vector_bits = 0, .l1_bytes = 16 << 10, .l2_bytes = 64 << 10, .cores = 1},
    {.name = "small", .vector_bits = 128, .vector_registers = 32, .l1_bytes = 2 << 10, .l2_bytes = 8 << 10, .cores = 2, .gflops_core = 10,
     .tiles = {{YJ_F32, 4, 8, 1}, {YJ_F64, 4, 4, 1}}},
    {.name = "avx2", .vector_bits = 256, .vector_registers = 16, .l1_bytes = 32 << 10, .l2_bytes = 512 << 10, .cores = 4, .gflops_core = 100,
     .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}}},
    {.name = "avx512", .vector_bits = 512, .vector_registers = 32, .l1_bytes = 48 << 10, .l2_bytes = 2 << 20, .cores = 64, .gflops_core = 160,
     .tiles = {{YJ_F32, 12, 32, 1}, {YJ_F64, 12, 16, 1}}},
};

static void evaluate(struct launch *l, uint64_t seed, const char *name, const char *target) {
    if (kernel_eval(l->k, l->buffer, l->scalar, 0, l->tiles, seed, &l->fault) == YJ_OK) return;
    struct text text = {0};
    kernel_print(&text, l->k);
    fail_msg("%s for %s: %s\n%s", name, target, yj_error_text(), text.data);
}

/* A kernel that tiling gave up is a warning: none is expected. */
static void no_warning(void *user, enum yj_log_level level, const char *line) {
    fail_msg("%s", line);
}

static bool guarded_in(const struct trial *t, const struct kernel *k) {
    for (int i = 0; i < k->n_guards; i++) {
        int64_t v = trial_number(t, k->guards[i].value);
        if (v < trial_number(t, k->guards[i].low) || v > trial_number(t, k->guards[i].high)) return false;
    }
    return true;
}

static void same_results(const struct trial *t, const struct launch *plain, const struct launch *tiled, const char *target) {
    for (int i = t->fused->n_in; i < plain->k->n_args; i++) {
        enum yj_dtype dtype = t->fused->out[i - t->fused->n_in]->type.dtype;
        int64_t at = first_difference(dtype, plain->buffer[i], tiled->buffer[i], plain->bytes[i] / yj_dtype_bytes(dtype), 0);
        if (at < 0) continue;
        struct text text = {0};
        kernel_print(&text, tiled->k);
        fail_msg("%s for %s: argument %d differs from the plain kernel's at %lld\n%s", t->group->name, target, i, (long long)at, text.data);
    }
}

static void try_group(const struct group *group, int binding, const struct yj_target *target, uint64_t seed, bool show) {
    struct trial t;
    struct kernel *plain = NULL, *variants[TILE_MAX_VARIANTS];
    int n = 0, chosen = 0;
    trial_open(&t, group, binding, seed);
    if (lower_op(t.arena, t.fused, group->name, NULL, &plain) != YJ_OK) fail_msg("%s: %s", group->name, yj_error_text());
    assert_int_equal(tile_kernel(t.arena, plain, target, &n, variants), YJ_OK);
    assert_in_range(n, 1, TILE_MAX_VARIANTS);
    assert_int_equal(variants[n - 1]->n_guards, 0);
    while (!guarded_in(&t, variants[chosen])) chosen++;
    struct launch a, b;
    launch_open(&a, &t, plain);
    launch_open(&b, &t, variants[chosen]);
    if (show) {
        struct text text = {0};
        kernel_print(&text, variants[chosen]);
        printf("# %s, cost %lld ns\n%s\n", target->name, (long long)trial_number(&t, tile_cost(variants[chosen], target)), text.data);
        text_free(&text);
    }
    evaluate(&a, 0, group->name, "plain");
    evaluate(&b, seed, group->name, target->name);
    assert_int_equal(a.fault.code != 0, b.fault.code != 0);
    same_results(&t, &a, &b, target->name);
    launch_close(&a);
    launch_close(&b);
    trial_close(&t);
}

static void test_groups(void **state) {
    const char *only = getenv("GROUP"), *show = getenv("TARGET");
    for (size_t i = 0; i < COUNT(groups); i++)
        for (size_t j = 0; j < COUNT(targets); j++)
            for (int d = 0; group_has(&groups[i], d); d++) {
                if (only && strcmp(only, groups[i].name) != 0) continue;
                try_group(&groups[i], d, &targets[j], 11 + (uint64_t)d, d == 0 && show && strcmp(show, targets[j].name) == 0);
            }
}

int main(void) {
    yj_log_set(no_warning, NULL, YJ_LOG_WARN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX's own node cases through the importer and the interpreter: no wrong number, no crash, and never fewer passes
 * than were reached. YUNJIN_ONNX_LIST=all prints every case, =bad those that did not pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/test_onnx.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA "/usr/share/libonnx-testdata/data"
#define PASSES_AT_LEAST 808

static void print_cases(const struct onnx_report *r, const char *which) {
    for (int i = 0; i < r->n; i++) {
        const struct onnx_case *c = &r->cases[i];
        if (strcmp(which, "all") && c->outcome == ONNX_PASS) continue;
        const char *name = strrchr(c->path, '/');
        printf("%s\t%s\t%s\t", onnx_outcome_name(c->outcome), name ? name + 1 : c->path, c->op);
        for (const char *p = c->reason; *p; p++)
            putchar(*p == '\n' ? ' ' : *p);
        putchar('\n');
    }
}

static void check(const char *const *dirs, int n, int at_least) {
    struct onnx_report r;
    if (onnx_conform(n, dirs, onnx_evaluate_graph, NULL, 60, &r) != YJ_OK) fail_msg("%s", yj_error_text());
    if (getenv("YUNJIN_ONNX_LIST")) print_cases(&r, getenv("YUNJIN_ONNX_LIST"));
    print_message("%d pass, %d fail, %d unsupported, %d crash of %d\n", r.count[ONNX_PASS], r.count[ONNX_FAIL],
                  r.count[ONNX_UNSUPPORTED], r.count[ONNX_CRASH], r.n);
    for (int i = 0; i < r.n; i++)
        if (r.cases[i].outcome == ONNX_FAIL || r.cases[i].outcome == ONNX_CRASH)
            print_error("%s: %s: %s\n", r.cases[i].path, onnx_outcome_name(r.cases[i].outcome), r.cases[i].reason);
    int sum = 0;
    for (int i = 0; i < 4; i++)
        sum += r.count[i];
    assert_int_equal(sum, r.n);
    assert_int_equal(r.count[ONNX_FAIL], 0);
    assert_int_equal(r.count[ONNX_CRASH], 0);
    assert_true(r.count[ONNX_PASS] >= at_least);
    onnx_report_free(&r);
}

static void node_cases(void **state) {
    const char *const dirs[] = {DATA "/node"};
    check(dirs, 1, PASSES_AT_LEAST);
}

/* The runner itself: a death and a wrong number are seen for what they are. */
static enum yj_status dies(void *user, const char *path, int n_in, const struct yj_tensor *in, int n_out,
                           struct yj_tensor *out) {
    if (strstr(path, "test_abs/")) abort();
    if (strstr(path, "test_acos/")) return report(YJ_ERR_UNSUPPORTED, "by the test");
    if (n_in < 1 || n_out != 1) return report(YJ_ERR_INPUT, "%d inputs, %d outputs", n_in, n_out);
    out[0] = in[0];
    out[0].data = NULL;
    return yj_tensor_new(&out[0]); /* zeros */
}

static void outcomes(void **state) {
    const char *const dirs[] = {DATA "/node/test_abs", DATA "/node/test_acos", DATA "/node/test_neg"};
    struct onnx_report r;
    assert_int_equal(onnx_conform(3, dirs, dies, NULL, 60, &r), YJ_OK);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.cases[0].outcome, ONNX_CRASH);
    assert_int_equal(r.cases[1].outcome, ONNX_UNSUPPORTED);
    assert_string_equal(r.cases[1].reason, "by the test");
    assert_int_equal(r.cases[2].outcome, ONNX_FAIL);
    assert_string_equal(r.cases[2].op, "Neg");
    onnx_report_free(&r);
    const char *const none[] = {"/nonexistent"};
    assert_int_equal(onnx_conform(1, none, dies, NULL, 60, &r), YJ_ERR_INPUT);
}

int main(void) {
    if (access(DATA "/node", R_OK)) {
        puts("skipped: ONNX's test data (package libonnx-testdata) are not installed");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(node_cases), cmocka_unit_test(outcomes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

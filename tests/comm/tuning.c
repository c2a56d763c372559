/* SPDX-License-Identifier: Apache-2.0
 *
 * Tuning files: what is understood, what is refused and where, and that the choice follows them as far as rows serve.
 */
#include "comm/cost.h"
#include "runtime/base/base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static const char rules[] = "# collective bytes ranks algorithm\n"
                            "\n"
                            "all_reduce 0..64K 2..16 ring   # small\r\n"
                            "all_reduce 1M.. * direct\n"
                            "all_reduce\t1M..\t*\ttwo_tree\n"
                            "broadcast * 8 knomial4";

static void understood(void **state) {
    struct tuning t;
    assert_int_equal(tuning_parse("file", rules, &t), YJ_OK);
    assert_int_equal(t.n, 4);
    assert_int_equal(t.rule[0].line, 3);
    assert_true(t.rule[0].low == 0 && t.rule[0].high == 65536 && t.rule[0].fewest == 2 && t.rule[0].most == 16);
    assert_true(tuning_matches(&t.rule[0], YJ_ALL_REDUCE, 65536, 16));
    assert_false(tuning_matches(&t.rule[0], YJ_ALL_REDUCE, 65537, 16));
    assert_false(tuning_matches(&t.rule[0], YJ_ALL_REDUCE, 65536, 17));
    assert_false(tuning_matches(&t.rule[0], YJ_BROADCAST, 65536, 16));
    assert_true(tuning_matches(&t.rule[1], YJ_ALL_REDUCE, UINT64_MAX, 1 << 20));
    assert_true(tuning_matches(&t.rule[3], YJ_BROADCAST, 0, 8) && !tuning_matches(&t.rule[3], YJ_BROADCAST, 0, 9));
    assert_int_equal(tuning_parse("file", "", &t), YJ_OK);
    assert_int_equal(t.n, 0);
}

static void refuse(const char *source, const char *why) {
    struct tuning t;
    assert_int_equal(tuning_parse("file", source, &t), YJ_ERR_INPUT);
    if (!strstr(yj_error_text(), why)) print_error("%s\n", yj_error_text());
    assert_non_null(strstr(yj_error_text(), why));
}

static void refused(void **state) {
    refuse("\nall_reduse * * ring\n", "file:2: no collective is called 'all_reduse'");
    refuse("all_reduce * * rong", "file:1: all_reduce has no algorithm called 'rong'");
    refuse("all_reduce * * binomial", "file:1: all_reduce has no algorithm called 'binomial'");
    refuse("all_reduce * ring", "file:1: a rule is four words");
    refuse("all_reduce * * ring ring", "file:1: a rule is four words");
    refuse("all_reduce 9..8 * ring", "file:1: '9..8' is no range of bytes");
    refuse("all_reduce 8Q * ring", "'8Q' is no range of bytes");
    refuse("all_reduce -8 * ring", "'-8' is no range of bytes");
    refuse("all_reduce 99999999999999999999 * ring", "is no range of bytes");
    refuse("all_reduce 99999999999G * ring", "is no range of bytes");
    refuse("all_reduce * 2..4K ring", "'2..4K' is no range of ranks");
    refuse("all_reduce * 2.. 4 ring", "file:1: a rule is four words");
    char many[TUNING_RULES * 24 + 24] = "", longest[300];
    for (int i = 0; i <= TUNING_RULES; i++)
        strcat(many, "all_reduce * * ring\n");
    refuse(many, "file:65: more than 64 rules");
    memset(longest, ' ', sizeof longest - 1), longest[sizeof longest - 1] = 0;
    refuse(longest, "file:1: longer than 255");
    struct tuning t;
    assert_int_equal(tuning_read("there/is/no/such/file", &t), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "there/is/no/such/file"));
}

static void overrules(void **state) {
    struct tuning t;
    struct choice c;
    assert_int_equal(tuning_parse("file", rules, &t), YJ_OK);
    struct choice_query q = {.model = &cost_model_default, .collective = YJ_ALL_REDUCE, .size = 8, .bytes = 8};
    assert_int_equal(cost_choose(&q, &c), YJ_OK);
    assert_string_not_equal(c.candidate[c.best].row->name, "ring");
    assert_int_equal(c.line, 0);
    q.tuning = &t;
    assert_int_equal(cost_choose(&q, &c), YJ_OK);
    assert_string_equal(c.candidate[c.best].row->name, "ring");
    assert_int_equal(c.line, 3);
    q.ordered = true; /* a ring does not keep the order of ranks: the rule does not apply */
    assert_int_equal(cost_choose(&q, &c), YJ_OK);
    assert_string_not_equal(c.candidate[c.best].row->name, "ring");
    assert_int_equal(c.line, 0);
    q.ordered = false, q.bytes = 1 << 20, q.size = 4096; /* direct serves 2048 ranks: the next rule */
    assert_int_equal(cost_choose(&q, &c), YJ_OK);
    assert_string_equal(c.candidate[c.best].row->name, "two_tree");
    assert_int_equal(c.line, 5);
}

/* As a user would: the file is named in the settings, and explain says what a call would do. */
static void a_communicator_follows(void **state) {
    char path[] = P_tmpdir "/yunjin-tuning-XXXXXX", settings[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, rules, sizeof rules - 1) == sizeof rules - 1 && close(fd) == 0);
    snprintf(settings, sizeof settings, "tuning=%s", path);
    struct yj_comm_options options = {.size = sizeof options, .settings = settings};
    struct yj_comm *comm[4];
    const char *text;
    float x[2] = {0};
    struct yj_call call = {.size = sizeof call, .collective = YJ_ALL_REDUCE, .send = x, .recv = x, .count = 2};
    call.dtype = YJ_F32, call.op = YJ_SUM;
    assert_int_equal(yj_comm_open_threads(4, &options, comm), YJ_OK);
    assert_int_equal(yj_comm_explain(comm[0], &call, &text), YJ_OK);
    if (!strstr(text, "ring")) print_error("%s\n", text);
    assert_non_null(strstr(text, "ring"));
    for (int r = 0; r < 4; r++)
        yj_comm_close(comm[r]);
    assert_int_equal(truncate(path, 5), 0); /* "# col" */
    int more = open(path, O_WRONLY | O_APPEND);
    assert_true(more >= 0 && write(more, "\nring\n", 6) == 6 && close(more) == 0);
    assert_int_equal(yj_comm_open_threads(4, &options, comm), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), ":2: a rule is four words"));
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understood),
        cmocka_unit_test(refused),
        cmocka_unit_test(overrules),
        cmocka_unit_test(a_communicator_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

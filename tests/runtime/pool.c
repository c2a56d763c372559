/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: every tile runs once, whatever the number of threads, tiles and chunks; jobs follow each other with and
 * without pauses that let helpers sleep; progress is called by the caller's thread; pools come and go.
 */
#include "runtime/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { TILES = 5000 };
static _Atomic int runs[TILES], calls;
static pthread_t caller;
static _Atomic int strangers;

static void count(void *const *buffer, const int64_t *scalar, int64_t begin, int64_t end, void *scratch,
                  struct yj_fault *fault) {
    int64_t *mine = scratch; /* private to the call */
    mine[0] = begin;
    for (int64_t i = begin; i < end; i++)
        runs[i]++;
    ((int64_t *)buffer[0])[begin] += scalar[0]; /* memory that only this tile touches */
    if (mine[0] != begin) fault->code = 99;
}

static void progress(void *user) {
    calls++;
    if (!pthread_equal(pthread_self(), caller)) strangers++;
}

static void test_every_tile_once(void **state) {
    static int64_t values[TILES];
    static const int64_t tiles[] = {1, 2, 3, 7, 64, 1000, TILES}, chunks[] = {1, 2, 13, TILES};
    caller = pthread_self();
    for (int threads = 1; threads <= 6; threads++) {
        struct pool *pool;
        assert_int_equal(pool_open(threads, &pool), YJ_OK);
        assert_int_equal(pool_threads(pool), threads);
        int64_t sum = 0;
        for (int round = 0; round < 40; round++) {
            int64_t n = tiles[round % COUNT(tiles)], chunk = chunks[round % COUNT(chunks)], one = 1;
            struct yj_fault fault = {0};
            struct job job = {.fn = count,
                              .buffers = (void *[]){values},
                              .scalars = &one,
                              .tiles = n,
                              .chunk = chunk,
                              .fault = &fault,
                              .progress = round % 3 ? progress : NULL};
            for (int i = 0; i < TILES; i++)
                runs[i] = 0;
            calls = 0;
            if (round == 20) assert_int_equal(pool_reserve(pool, 1 << 20), YJ_OK);
            pool_run(pool, &job, threads);
            for (int i = 0; i < TILES; i++)
                assert_int_equal(runs[i], i < n);
            assert_int_equal(fault.code, 0);
            if (threads == 1 && job.progress) assert_int_equal(calls, (n + chunk - 1) / chunk);
            if (!job.progress) assert_int_equal(calls, 0);
            sum++;
            if (round % 10 == 9) usleep(2000); /* helpers fall asleep */
        }
        assert_int_equal(strangers, 0);
        assert_true(values[0] >= sum);
        pool_close(pool);
    }
}

static void test_many_small_jobs(void **state) {
    static int64_t values[64];
    struct pool *pool;
    int64_t one = 1;
    assert_int_equal(pool_open(4, &pool), YJ_OK);
    for (int i = 0; i < TILES; i++)
        runs[i] = 0;
    double begin = time_now();
    for (int round = 0; round < 5000; round++) {
        struct yj_fault fault = {0};
        struct job job = {
            .fn = count, .buffers = (void *[]){values}, .scalars = &one, .tiles = 8, .chunk = 1, .fault = &fault};
        pool_run(pool, &job, 4);
    }
    print_message("5000 jobs of 8 tiles: %.2f us each\n", 1e6 * (time_now() - begin) / 5000);
    for (int i = 0; i < 8; i++)
        assert_int_equal(runs[i], 5000);
    for (int i = 0; i < 8; i++)
        assert_int_equal(values[i], 5000);
    pool_close(pool);
}

static int64_t waits;

static void wait_for_the_others(void *const *buffer, const int64_t *scalar, int64_t begin, int64_t end, void *scratch,
                                struct yj_fault *fault) {
    for (int64_t i = begin; i < end; i++) {
        while (i == waits && calls < 63)
            usleep(100);
        calls++;
    }
}

/* Whoever is held up by one tile, wherever it lies, the other thread does all the rest. */
static void test_steals_all_of_a_part(void **state) {
    static const int64_t held[] = {0, 31, 32, 63};
    struct pool *pool;
    assert_int_equal(pool_open(2, &pool), YJ_OK);
    for (size_t i = 0; i < COUNT(held); i++) {
        struct yj_fault fault = {0};
        struct job job = {.fn = wait_for_the_others, .tiles = 64, .chunk = 1, .fault = &fault};
        waits = held[i];
        calls = 0;
        pool_run(pool, &job, 2);
        assert_int_equal(calls, 64);
    }
    pool_close(pool);
}

static void test_threads_of_the_environment(void **state) {
    setenv("YUNJIN_THREADS", "3", 1);
    assert_int_equal(pool_default_threads(), 3);
    setenv("YUNJIN_THREADS", "none", 1);
    yj_log_set(NULL, NULL, YJ_LOG_ERROR);
    assert_true(pool_default_threads() >= 1);
    unsetenv("YUNJIN_THREADS");
    struct pool *pool;
    assert_int_equal(pool_open(-1, &pool), YJ_ERR_INPUT);
    assert_int_equal(pool_open(2000, &pool), YJ_ERR_INPUT);
    assert_int_equal(pool_open(0, &pool), YJ_OK);
    assert_int_equal(pool_reserve(pool, INT64_MAX), YJ_ERR_MEMORY);
    pool_close(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tile_once),
        cmocka_unit_test(test_many_small_jobs),
        cmocka_unit_test(test_steals_all_of_a_part),
        cmocka_unit_test(test_threads_of_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

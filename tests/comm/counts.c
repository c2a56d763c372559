/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls with counts: every v-collective over every transport, blocks of nothing, of a few elements and larger than a
 * cell, side by side and apart, in place and not; what is refused; and callers that know only the first version's
 * struct.
 */
#include "tests/comm/trial.h"

static const char *const transports[] = {"mem", "shm", "tcp"};
static const int with_counts[] = {YJ_REDUCE_SCATTER, YJ_ALL_GATHER, YJ_GATHER, YJ_SCATTER, YJ_ALL_TO_ALL};

static int one(struct yj_comm *comm, struct trial t) {
    if (!trial_make(&t, comm)) return 1;
    CHECK_OK(yj_comm_call(comm, &t.call));
    int bad = trial_check(&t, comm);
    trial_free(&t);
    return bad;
}

static int counts_body(struct yj_comm *comm, void *argument) {
    static const uint64_t counts[] = {0, 1, 7, 300, 5003, 40000, 170001};
    uint64_t seed = 1;
    size_t last = argument ? 5 : COUNT(counts);
    for (size_t k = 0; k < COUNT(with_counts); k++)
        for (size_t i = 0; i < last; i++)
            for (int how = 0; how < 8; how++) {
                struct trial t = {
                    .c = collective_find(with_counts[k]),
                    .count = counts[i],
                    .seed = seed++,
                    .dtype = i % 2 ? YJ_I32 : YJ_I16,
                    .op = YJ_SUM,
                    .root = how % yj_comm_size(comm),
                    .in_place = how & 1,
                    .gaps = how & 2,
                    .blocks_differ = true,
                    .flags = how & 4 && !(t.in_place && with_counts[k] == YJ_ALL_TO_ALL) ? YJ_CALL_CANONICAL : 0};
                if (one(comm, t)) return 1;
            }
    return 0;
}

static void test_counts(void **state) {
    static const int sizes[] = {1, 2, 3, 5};
    for (size_t t = 0; t < COUNT(transports); t++)
        for (size_t n = 0; n < COUNT(sizes); n++)
            run_all(sizes[n], transports[t], NULL, counts_body, sizes[n] == 5 ? "few" : NULL);
    run_all(3, "mem", "cell=4096", counts_body, "few");
}

/* Every row that may serve counts. */
static void test_rows(void **state) {
    for (int i = 0; i < algorithm_count(); i++) {
        char settings[64];
        snprintf(settings, sizeof settings, "algorithm=%s,cell=8192", algorithm_at(i)->name);
        for (size_t k = 0; k < COUNT(with_counts); k++)
            if (algorithm_at(i)->collective == (enum yj_collective)with_counts[k])
                run_all(5, "mem", settings, counts_body, settings);
    }
}

/* The typed wrappers, and a prepared call that is started again. */
static int wrappers_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    int32_t all[8], mine = rank + 10, got[8] = {0};
    uint64_t counts[8], displs[8];
    for (int r = 0; r < size; r++)
        counts[r] = 1, displs[r] = (uint64_t)(size - 1 - r);
    CHECK_OK(yj_all_gather_v(comm, &mine, all, counts, displs, YJ_I32));
    for (int r = 0; r < size; r++)
        CHECK(all[size - 1 - r] == r + 10);
    CHECK_OK(yj_gather_v(comm, &mine, got, counts, NULL, YJ_I32, 0));
    for (int r = 0; r < size && rank == 0; r++)
        CHECK(got[r] == r + 10);
    int32_t part = 0;
    CHECK_OK(yj_scatter_v(comm, got, &part, counts, NULL, YJ_I32, 0));
    CHECK(part == rank + 10);
    CHECK_OK(yj_reduce_scatter_v(comm, all, &part, counts, displs, YJ_I32, YJ_SUM));
    CHECK(part == size * (rank + 10));
    CHECK_OK(yj_all_to_all_v(comm, all, got, counts, displs, counts, NULL, YJ_I32));
    for (int r = 0; r < size; r++)
        CHECK(got[r] == rank + 10);
    struct trial t = {
        .c = collective_find(YJ_GATHER), .count = 50000, .seed = 5, .dtype = YJ_I32, .blocks_differ = true};
    struct yj_prepared *prepared;
    struct yj_request *request;
    CHECK(trial_make(&t, comm));
    CHECK_OK(yj_comm_prepare(comm, &t.call, &prepared));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(yj_prepared_start(prepared, t.call.send, t.call.recv, &request));
        CHECK_OK(yj_comm_wait(request));
    }
    if (trial_check(&t, comm)) return 1;
    yj_prepared_close(prepared);
    trial_free(&t);
    return 0;
}

static void test_wrappers(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, wrappers_body, NULL);
}

/* --- two ranks that do not mean the same counts --- */

static int disagree_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm), kind = *(int *)argument;
    static char x[4000000], y[4000000];
    char *send = x + rank * 1000000, *recv = y + rank * 1000000; /* of threads: each its own */
    uint64_t counts[3] = {1000, 1000, 1000}, large[3] = {300000, 300000, 300000};
    enum yj_status status = YJ_OK;
    if (kind == 0) counts[1] = rank == 1 ? 999 : 1000; /* only the pair knows it */
    if (kind == 1) memcpy(counts, large, sizeof counts), counts[1] = rank == 1 ? 65536 : 131072;
    if (kind == 2) counts[1] = rank == 1 ? 999 : 1000; /* all ranks know it */
    status = kind == 2 ? yj_all_gather_v(comm, send, recv, counts, NULL, YJ_U8)
                       : yj_gather_v(comm, send, recv, counts, NULL, YJ_U8, 0);
    for (int i = 0; i < 100 && status == YJ_OK; i++)
        status = yj_barrier(comm);
    CHECK(status == YJ_ERR_MISMATCH);
    CHECK(strstr(yj_error_text(), "rank 1") && strstr(yj_error_text(), kind == 2 ? "all_gather_v" : "gather_v"));
    if (kind == 0) CHECK(strstr(yj_error_text(), "999") && strstr(yj_error_text(), "1000"));
    if (kind == 1) CHECK(strstr(yj_error_text(), "65536") && strstr(yj_error_text(), "131072"));
    return 0;
}

static void test_disagree(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        for (int kind = 0; kind < 3; kind++)
            run_all(3, transports[t], "silence=100", disagree_body, &kind);
}

/* --- refused --- */

static void refuses(struct yj_comm *comm, struct yj_call call, const char *what) {
    assert_int_equal(yj_comm_call(comm, &call), YJ_ERR_INPUT);
    if (!strstr(yj_error_text(), what)) fail_msg("'%s' does not say '%s'", yj_error_text(), what);
}

static void test_refused(void **state) {
    struct yj_comm *comm;
    char x[64] = {0}, y[64];
    uint64_t counts[1] = {4}, displs[1] = {UINT64_MAX - 1}, huge[1] = {UINT64_MAX / 2};
    struct yj_call good = {.size = sizeof good,
                           .collective = YJ_ALL_GATHER,
                           .send = x,
                           .recv = y,
                           .counts = counts,
                           .dtype = YJ_F64},
                   c;
    assert_int_equal(yj_comm_open(NULL, &comm), YJ_OK);
    assert_int_equal(yj_comm_call(comm, &good), YJ_OK);
    refuses(comm, (c = good, c.displs = displs, c), "more than memory");
    refuses(comm, (c = good, c.counts = huge, c), "more than memory");
    refuses(comm, (c = good, c.counts = NULL, c.displs = displs, c), "DISPLS");
    refuses(comm, (c = good, c.recv_counts = counts, c), "RECV_COUNTS");
    refuses(comm, (c = good, c.collective = YJ_ALL_TO_ALL, c), "RECV_COUNTS");
    refuses(comm, (c = good, c.collective = YJ_ALL_REDUCE, c.op = YJ_SUM, c), "not COUNTS");
    refuses(comm, (c = good, c.collective = YJ_BROADCAST, c), "not COUNTS");
    refuses(comm, (c = good, c.recv = x + 8, c), "overlap");
    uint64_t other[1] = {3};
    refuses(comm, (c = good, c.collective = YJ_ALL_TO_ALL, c.recv_counts = other, c), "gives itself 4");
    /* the struct of the first version ended before displs; what lies there is not read */
    c = good, c.size = offsetof(struct yj_call, displs), c.displs = displs;
    memset(x, 7, sizeof x);
    assert_int_equal(yj_comm_call(comm, &c), YJ_OK);
    assert_memory_equal(x, y, 32);
    yj_comm_close(comm);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),   cmocka_unit_test(test_rows),    cmocka_unit_test(test_wrappers),
        cmocka_unit_test(test_disagree), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

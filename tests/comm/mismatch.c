/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks that call different things: every pair of collectives, another count, type, operator or root, and a rank that
 * skips a call. On every rank the error names both calls and the rank that is wrong. Each case has its own
 * communicator, so that one job does them all: what fails is the communicator, not the job.
 */
#include "comm/control.h"
#include "tests/comm/trial.h"

static const char *const transports[] = {"mem", "shm", "tcp"};

enum { MOST = 200000 };
struct wrong {
    struct yj_call right, other; /* NULL buffers: filled in below */
    bool skips; /* the wrong rank leaves RIGHT out and goes on with OTHER, as the others do after RIGHT */
};

static struct yj_call call_of(int number, uint64_t count) {
    bool sum = collective_find(number)->worth == WORTH_SUM;
    return (struct yj_call){.size = sizeof(struct yj_call),
                            .collective = (uint32_t)number,
                            .count = number == YJ_BARRIER ? 0 : count,
                            .dtype = YJ_F32,
                            .op = sum ? YJ_SUM : 0};
}

static bool names(const struct yj_call *call) {
    return strstr(yj_error_text(), collective_find((int)call->collective)->name) != NULL;
}

static int one(struct yj_comm *all, const struct wrong *w, float *x, float *y) {
    int rank = yj_comm_rank(all), size = yj_comm_size(all);
    bool culprit = rank == size - 1;
    struct yj_comm *comm = all;
    char name[32];
    struct yj_call right = w->right, other = w->other;
    CHECK(yj_comm_split(all, 0, 0, &comm) == YJ_OK);
    right.send = other.send = x, right.recv = other.recv = y;
    enum yj_status status = YJ_OK;
    double start = time_now();
    if (!culprit || w->skips) status = yj_comm_call(comm, w->skips && culprit ? &other : &right);
    if (status == YJ_OK && (culprit || w->skips)) status = yj_comm_call(comm, &other);
    struct yj_call large = call_of(YJ_ALL_REDUCE, MOST);
    large.send = x, large.recv = y;
    for (int i = 0; i < 20 && status == YJ_OK; i++) /* who only sends is through at once: later calls tell */
        status = i % 10 ? yj_barrier(comm) : yj_comm_call(comm, &large);
    snprintf(name, sizeof name, "rank %d ", size - 1);
    if (status != YJ_ERR_MISMATCH || !strstr(yj_error_text(), name) || !names(&right) || !names(&other) ||
        time_now() - start > 10) {
        fprintf(stderr, "rank %d of %d: %s (count %llu) for %s (count %llu)%s: status %d: %s\n", rank, size,
                collective_find((int)other.collective)->name, (unsigned long long)other.count,
                collective_find((int)right.collective)->name, (unsigned long long)right.count,
                w->skips ? ", skipped" : "", status, yj_error_text());
        return 1;
    }
    yj_comm_close(comm);
    return 0;
}

static int mismatch_body(struct yj_comm *comm, void *argument) {
    float *x = calloc(4 * MOST, sizeof *x), *y = calloc(4 * MOST, sizeof *y);
    int bad = 0, size = yj_comm_size(comm);
    for (int a = YJ_ALL_REDUCE; a <= YJ_BARRIER; a++)
        for (int b = YJ_ALL_REDUCE; b <= YJ_BARRIER && !bad; b++) {
            uint64_t count = (uint64_t)(a + b) % 3 ? 10 : 20000;
            if (a == b) continue;
            bad = one(comm, &(struct wrong){call_of(a, count), call_of(b, count), (a * b) % 4 == 0}, x, y);
        }
    for (int c = YJ_ALL_REDUCE; c < YJ_BARRIER && !bad; c++)
        for (int kind = 0; kind < 5 && !bad; kind++) {
            struct wrong w = {call_of(c, 12), call_of(c, 12), false};
            const struct collective *row = collective_find(c);
            if ((kind == 3 && row->worth != WORTH_SUM) || (kind == 4 && !row->rooted)) continue;
            if (kind == 0) w.other.count = 13;
            if (kind == 1) w.other.count = 100000;
            if (kind == 2) w.other.dtype = YJ_I32;
            if (kind == 3) w.other.op = YJ_MAX;
            if (kind == 4) w.other.root = size - 1;
            bad = one(comm, &w, x, y);
        }
    if (!bad) CHECK_OK(yj_barrier(comm)); /* the job goes on */
    free(x), free(y);
    return bad;
}

static void test_mismatch(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        for (int n = 2; n <= 3; n++)
            run_all(n, transports[t], "silence=50", mismatch_body, NULL);
}

/* A call that all ranks agree on and that waits while they disagree on the next one: its error says which is which. */
static int given_up_body(struct yj_comm *all, void *argument) {
    struct yj_comm *comm = all;
    struct yj_request *request;
    float x = 0, y;
    CHECK(yj_comm_split(all, 0, 0, &comm) == YJ_OK);
    struct yj_call call = call_of(YJ_ALL_REDUCE, 1);
    call.send = &x, call.recv = &y, call.flags = YJ_CALL_READY; /* and nothing is ever ready */
    CHECK(yj_comm_start(comm, &call, &request) == YJ_OK);
    struct said said = {.kind = SAID_ABORT, .status = YJ_ERR_MISMATCH, .comm = comm->id, .sequence = 2};
    strcpy(said.text, "ranks called different collectives as call 2");
    control_hear(comm->world, &said);
    CHECK(yj_comm_wait(request) == YJ_ERR_MISMATCH);
    CHECK(strstr(yj_error_text(), "call 1, all_reduce(f32, sum, 1 elements), was given up: ranks called different"));
    CHECK(yj_barrier(comm) == YJ_ERR_MISMATCH && !strstr(yj_error_text(), "given up"));
    yj_comm_close(comm);
    return 0;
}

static void test_given_up(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, given_up_body, NULL);
}

/* A transfer: both halves are named on both ranks, and the sender, who waits until it is taken, learns it too. */
static int pair_body(struct yj_comm *all, void *argument) {
    int rank = yj_comm_rank(all);
    for (int kind = 0; kind < 3; kind++) {
        struct yj_comm *comm = all;
        static const uint64_t counts[][2] = {{100, 50}, {100, 60000}, {64, 64}};
        char *x = calloc(4, 60000);
        CHECK(yj_comm_split(all, 0, 0, &comm) == YJ_OK && x);
        enum yj_dtype dtype = kind == 2 && rank ? YJ_F32 : YJ_I32;
        enum yj_status status =
            rank ? yj_recv(comm, x, counts[kind][1], dtype, 0) : yj_send(comm, x, counts[kind][0], dtype, 1);
        CHECK(status == YJ_ERR_MISMATCH);
        CHECK(strstr(yj_error_text(), "rank 0 send(i32") && strstr(yj_error_text(), "rank 1 recv("));
        yj_comm_close(comm);
        free(x);
    }
    return 0;
}

static void test_pair(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, pair_body, NULL);
}

static void quiet(void *user, enum yj_log_level level, const char *line) {}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    yj_log_set(quiet, NULL, YJ_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mismatch), cmocka_unit_test(test_given_up),
                                       cmocka_unit_test(test_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

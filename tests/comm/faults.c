/* SPDX-License-Identifier: Apache-2.0
 *
 * What must never hang: a rank that dies in mid call, leaves, calls something else, comes late, aborts, or is a
 * stranger. Every survivor returns within two seconds, with the right status and the guilty rank's name.
 */
#include "comm/schedule.h"
#include "comm/wire.h"
#include "tests/comm/ranks.h"

#include <malloc.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sodium.h>

static const char *const transports[] = {"mem", "shm", "tcp"};

static bool says(const char *what) {
    return strstr(yj_error_text(), what) != NULL;
}

/* --- death --- */

struct death {
    int victim;
    uint64_t count;
    int calls_before;
};

static int death_body(struct yj_comm *comm, void *argument) {
    const struct death *d = argument;
    int rank = yj_comm_rank(comm);
    float *x = calloc(d->count, 4), *y = calloc(d->count, 4);
    char name[32];
    snprintf(name, sizeof name, "rank %d ", d->victim);
    enum yj_status status = YJ_OK;
    double last = time_now();
    if (rank == d->victim && d->calls_before < 0) raise(SIGKILL); /* before any connection was made */
    if (d->calls_before < 0 && rank % 2) usleep(300000);
    for (int i = 0; status == YJ_OK; i++) {
        if (rank == d->victim && i == d->calls_before) {
            struct yj_call call = {.size = sizeof call,
                                   .collective = YJ_ALL_REDUCE,
                                   .send = x,
                                   .recv = y,
                                   .count = d->count,
                                   .dtype = YJ_F32,
                                   .op = YJ_SUM};
            struct yj_request *request;
            CHECK_OK(yj_comm_start(comm, &call, &request)); /* in mid call: started, some of it sent */
            raise(SIGKILL);
        }
        last = time_now();
        status = yj_all_reduce(comm, x, y, d->count, YJ_F32, YJ_SUM);
    }
    CHECK(status == YJ_ERR_PEER);
    CHECK(says(name) && says("dead"));
    CHECK(time_now() - last < 2);
    CHECK(yj_all_reduce(comm, x, y, d->count, YJ_F32, YJ_SUM) == YJ_ERR_PEER); /* and stays so */
    CHECK(yj_comm_health(comm) == YJ_ERR_PEER);
    free(x), free(y);
    return 0;
}

static void kill_one(const char *transport, int n, struct death d) {
    struct ranks r = {.n = n, .transport = transport, .body = death_body, .argument = &d, .seconds = 10};
    run_ranks(&r);
    for (int i = 0; i < n; i++)
        if (r.result[i] != (i == d.victim ? -SIGKILL : 0))
            fail_msg("%s: rank %d returned %d", transport, i, r.result[i]);
}

static void test_kill(void **state) {
    for (size_t t = 1; t < COUNT(transports); t++)
        for (int victim = 0; victim < 3; victim++) {
            kill_one(transports[t], 3, (struct death){victim, 1, -1});
            kill_one(transports[t], 3, (struct death){victim, 1, 200});
            kill_one(transports[t], 3, (struct death){victim, 1000000, 3});
        }
    kill_one("shm", 2, (struct death){1, 4000000, 2});
}

static int killed_thread_body(struct yj_comm *comm, void *argument) {
    const struct death *d = argument;
    int rank = yj_comm_rank(comm);
    float *x = calloc(d->count, 4), *y = calloc(d->count, 4);
    enum yj_status status = YJ_OK;
    for (int i = 0; i < 1000 && status == YJ_OK; i++)
        status = yj_all_reduce(comm, x, y, d->count, YJ_F32, YJ_SUM);
    CHECK(status == (rank == d->victim ? YJ_ERR_ABORTED : YJ_ERR_PEER));
    CHECK(rank == d->victim || says("rank 1 "));
    free(x), free(y);
    return 0;
}

/* A thread that dies at any message of its first calls. */
static void test_kill_at_each_message(void **state) {
    struct death d = {1, 60000, 0};
    for (uint64_t at = 1; at < 60; at += 1 + at / 8) {
        struct ranks r = {.n = 4,
                          .transport = "mem",
                          .body = killed_thread_body,
                          .argument = &d,
                          .faults = {.dies = 1, .dies_after = at}};
        run_ranks(&r);
        for (int i = 0; i < r.n; i++)
            assert_int_equal(r.result[i], 0);
    }
}

/* A rank that closes while the others wait for it. */
static int leave_body(struct yj_comm *comm, void *argument) {
    if (yj_comm_rank(comm) == 1) return 0;
    double start = time_now();
    int x = 1, y;
    CHECK(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM) == YJ_ERR_PEER);
    CHECK(says("rank 1 ") && says("closed"));
    CHECK(time_now() - start < 2);
    return 0;
}

static void test_leave(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, leave_body, NULL);
}

/* --- calls that do not meet --- */

static int mismatch_body(struct yj_comm *comm, void *argument) {
    int kind = *(int *)argument, rank = yj_comm_rank(comm);
    float *x = calloc(100000, 4), *y = calloc(400000, 4);
    double start = time_now();
    enum yj_status status = yj_barrier(comm); /* the others may be further, and have found out */
    if (status != YJ_OK)
        CHECK(status == YJ_ERR_MISMATCH);
    else if (kind == 0)
        status = yj_all_reduce(comm, x, y, rank ? 1 : 2, YJ_F32, YJ_SUM); /* another count: seen in the message */
    else if (kind == 1)
        status = yj_all_reduce(comm, x, y, rank ? 8 : 100000, YJ_F32, YJ_SUM); /* other lanes: silence */
    else if (rank == 0)
        status = yj_barrier(comm);
    else
        status = kind == 2 ? yj_all_gather(comm, x, y, 10, YJ_F32) : yj_broadcast(comm, x, y, 100, YJ_F32, 0);
    /* the root of a broadcast may be through before it is known; the next call then tells */
    while (status == YJ_OK && time_now() < start + 5)
        status = yj_barrier(comm);
    CHECK(status == YJ_ERR_MISMATCH);
    CHECK(says("rank 0 ") && (says("rank 1 ") || says("rank 2 ")));
    if (kind < 2) CHECK(says("all_reduce"));
    if (kind == 2) CHECK(says("barrier") && says("all_gather"));
    CHECK(time_now() - start < 4);
    free(x), free(y);
    return 0;
}

static void test_mismatch(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        for (int kind = 0; kind < 3; kind++)
            run_all(3, transports[t], NULL, mismatch_body, &kind);
}

/* The same for a rank that only tests. */
static int polled_mismatch_body(struct yj_comm *comm, void *argument) {
    float x[8] = {0}, y[8];
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_ALL_REDUCE,
                           .send = x,
                           .recv = y,
                           .count = 1,
                           .dtype = YJ_F32,
                           .op = YJ_SUM};
    if (yj_comm_rank(comm)) call.collective = YJ_BROADCAST, call.root = 1;
    struct yj_request *request;
    bool done = false;
    enum yj_status status = yj_comm_start(comm, &call, &request);
    while (status == YJ_OK && !done)
        status = yj_comm_test(request, &done);
    if (status == YJ_OK) status = yj_barrier(comm); /* the root of a broadcast is through at once */
    CHECK(status == YJ_ERR_MISMATCH && says("broadcast") && says("all_reduce"));
    return 0;
}

static void test_polled_mismatch(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, polled_mismatch_body, NULL);
}

static int pair_mismatch_body(struct yj_comm *comm, void *argument) {
    int x[100] = {0};
    enum yj_status status = yj_comm_rank(comm) ? yj_recv(comm, x, 50, YJ_I32, 0) : yj_send(comm, x, 100, YJ_I32, 1);
    if (yj_comm_rank(comm)) CHECK(status == YJ_ERR_MISMATCH && says("rank 0"));
    return 0;
}

static void test_pair_mismatch(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, pair_mismatch_body, NULL);
}

/* --- lateness --- */

static int deadline_body(struct yj_comm *comm, void *argument) {
    int x = 1, y;
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_ALL_REDUCE,
                           .send = &x,
                           .recv = &y,
                           .count = 1,
                           .dtype = YJ_I32,
                           .op = YJ_SUM,
                           .deadline = 0.4};
    CHECK_OK(yj_barrier(comm));
    if (yj_comm_rank(comm) == 1) {
        usleep(1200000);
        CHECK(yj_comm_call(comm, &call) == YJ_ERR_TIMEOUT); /* told by the others */
        return 0;
    }
    double start = time_now();
    CHECK(yj_comm_call(comm, &call) == YJ_ERR_TIMEOUT);
    CHECK(says("rank 1") || yj_comm_rank(comm) != 0);
    CHECK(time_now() - start > 0.3 && time_now() - start < 1.1);
    return 0;
}

static void test_deadline(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, deadline_body, NULL);
}

/* A rank that is only late is waited for. */
static int late_body(struct yj_comm *comm, void *argument) {
    int x = 1, y;
    CHECK_OK(yj_barrier(comm));
    if (yj_comm_rank(comm) == 1) usleep(2500000);
    CHECK_OK(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM));
    CHECK(y == yj_comm_size(comm));
    return 0;
}

static void no_log(void *user, enum yj_log_level level, const char *line) {
    if (strstr(line, "has not started call")) ++*(int *)user;
}

static void test_late(void **state) {
    static int told;
    yj_log_set(no_log, &told, YJ_LOG_WARN);
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, late_body, NULL);
    yj_log_set(NULL, NULL, YJ_LOG_WARN);
    assert_true(told > 0); /* of the threads; processes count for themselves */
}

static int drop_body(struct yj_comm *comm, void *argument) {
    float *x = calloc(50000, 4), *y = calloc(50000, 4);
    enum yj_status status = YJ_OK;
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_ALL_REDUCE,
                           .send = x,
                           .recv = y,
                           .count = 50000,
                           .dtype = YJ_F32,
                           .op = YJ_SUM,
                           .deadline = 0.5};
    for (int i = 0; i < 100 && status == YJ_OK; i++)
        status = yj_comm_call(comm, &call);
    CHECK(status == YJ_ERR_TIMEOUT);
    free(x), free(y);
    return 0;
}

static void test_drop(void **state) {
    for (uint64_t at = 1; at < 30; at += 9) {
        struct ranks r = {.n = 3, .transport = "mem", .body = drop_body, .faults = {.drops = 2, .drops_after = at}};
        run_ranks(&r);
        for (int i = 0; i < r.n; i++)
            assert_int_equal(r.result[i], 0);
    }
}

/* --- abort --- */

static int abort_body(struct yj_comm *comm, void *argument) {
    int x = 1, y;
    double start = time_now();
    if (yj_comm_rank(comm) == 2) {
        usleep(100000);
        yj_comm_abort(comm, "the loss is not a number");
    }
    CHECK(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM) == YJ_ERR_ABORTED);
    CHECK(says("the loss is not a number") && says("rank 2"));
    CHECK(time_now() - start < 1.5);
    return 0;
}

static void test_abort(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, abort_body, NULL);
}

/* --- open --- */

static void test_missing_rank(void **state) {
    struct yj_comm_local local;
    struct yj_comm *comm;
    assert_int_equal(yj_comm_local(2, &local), YJ_OK);
    local.options.deadline = 0.3;
    for (int rank = 0; rank < 2; rank++) {
        local.options.rank = rank;
        double start = time_now();
        assert_int_equal(yj_comm_open(&local.options, &comm) != YJ_OK, true);
        assert_true(time_now() - start < 2);
        assert_non_null(strstr(yj_error_text(), rank ? "rank 0" : "missing: rank 1"));
    }
}

static int other_key_body(void) {
    struct yj_comm_local local;
    struct yj_comm *comm;
    if (yj_comm_local(2, &local) != YJ_OK) return 1;
    pid_t pid = fork();
    local.options.deadline = 0.5;
    local.options.rank = pid ? 0 : 1;
    if (!pid) local.options.key = "another";
    enum yj_status status = yj_comm_open(&local.options, &comm);
    if (!pid) _exit(status == YJ_OK ? 1 : strstr(yj_error_text(), "key") ? 0 : 2);
    int code;
    waitpid(pid, &code, 0);
    return status == YJ_OK || code;
}

static void test_other_key(void **state) {
    assert_int_equal(other_key_body(), 0);
}

/* Rubbish, silence and greetings without a key at rank 0's door do not disturb the ranks. */
static void test_strangers(void **state) {
    struct yj_comm_local local;
    assert_int_equal(yj_comm_local(2, &local), YJ_OK);
    pid_t stranger = fork();
    if (!stranger) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        size_t n = strlen(local.address + 5);
        memcpy(un.sun_path + 1, local.address + 5, n);
        uint64_t seed = 7;
        for (int i = 0; i < 400; i++) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0) {
                unsigned char junk[300];
                for (size_t k = 0; k < sizeof junk; k++)
                    junk[k] = (unsigned char)next_random(&seed);
                if (i % 3 == 1) memset(junk, 0, 4);
                if (i % 3 == 2) junk[0] = 56, junk[1] = junk[2] = junk[3] = 0;
                ssize_t sent = send(fd, junk, 1 + next_random(&seed) % sizeof junk, MSG_NOSIGNAL);
                (void)sent;
            }
            usleep(500);
            if (i % 4) close(fd);
        }
        _exit(0);
    }
    pid_t pid[2];
    for (int r = 0; r < 2; r++)
        if (!(pid[r] = fork())) {
            struct yj_comm *comm;
            int x = 1, y = 0;
            local.options.rank = r;
            usleep(r * 50000 + 10000);
            if (yj_comm_open(&local.options, &comm) != YJ_OK) _exit(1);
            for (int i = 0; i < 50; i++) {
                if (yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM) != YJ_OK || y != 2) _exit(2);
                usleep(2000);
            }
            yj_comm_close(comm);
            _exit(0);
        }
    for (int r = 0; r < 2; r++) {
        int code = -1;
        waitpid(pid[r], &code, 0);
        assert_int_equal(code, 0);
    }
    kill(stranger, SIGKILL);
    waitpid(stranger, NULL, 0);
}

/* A frame that was tampered with, replayed or reflected is refused. */
static void test_wire(void **state) {
    uint8_t key[32] = {1}, other[32] = {2};
    assert_true(sodium_init() >= 0);
    for (int fault = 0; fault < 5; fault++) {
        int fd[2];
        struct wire a, b;
        const void *payload;
        uint32_t bytes;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
        assert_int_equal(wire_open(fd[0], true, key, &a), YJ_OK);
        assert_int_equal(wire_open(fd[1], false, fault == 1 ? other : key, &b), YJ_OK);
        wire_flush(&a);
        enum yj_status status = wire_get(&b, &payload, &bytes);
        assert_int_equal(status, fault == 1 ? YJ_ERR_IO : YJ_OK);
        if (fault != 1) {
            wire_flush(&b);
            assert_int_equal(wire_get(&a, &payload, &bytes), YJ_OK);
            assert_true(a.open && b.open);
            assert_int_equal(wire_put(&a, "hello", 5), YJ_OK);
            assert_int_equal(wire_put(&a, "again", 5), YJ_OK);
            if (fault == 2) a.out[a.out_at + 36] ^= 1;                           /* payload */
            if (fault == 3) memcpy(a.out + a.out_at + 41, a.out + a.out_at, 41); /* replayed */
            if (fault == 4) a.out[a.out_at + 3] = 0x7f;                          /* length */
            wire_flush(&a);
            status = wire_get(&b, &payload, &bytes);
            assert_int_equal(status, fault == 2 || fault == 4 ? YJ_ERR_IO : YJ_OK);
            if (status == YJ_OK) {
                assert_memory_equal(payload, "hello", 5);
                assert_int_equal(wire_get(&b, &payload, &bytes), fault == 3 ? YJ_ERR_IO : YJ_OK);
            }
        }
        wire_close(&a);
        wire_close(&b);
    }
}

/* --- what is refused at once --- */

static void refuses(struct yj_comm *comm, struct yj_call call, const char *what, enum yj_status status) {
    assert_int_equal(yj_comm_call(comm, &call), status);
    if (!says(what)) fail_msg("'%s' does not say '%s'", yj_error_text(), what);
}

static void test_input(void **state) {
    struct yj_comm *comm;
    float x[8] = {0}, y[8];
    struct yj_call good = {.size = sizeof good,
                           .collective = YJ_ALL_REDUCE,
                           .send = x,
                           .recv = y,
                           .count = 4,
                           .dtype = YJ_F32,
                           .op = YJ_SUM},
                   c;
    assert_int_equal(yj_comm_open(NULL, &comm), YJ_OK);
    assert_int_equal(yj_comm_call(comm, &good), YJ_OK);
    refuses(comm, (c = good, c.size = 8, c), "size", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.collective = 99, c), "99", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.dtype = 77, c), "77", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.op = 0, c), "operator", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.op = YJ_BAND, c), "not defined on f32", YJ_ERR_UNSUPPORTED);
    refuses(comm, (c = good, c.send = NULL, c), "NULL", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.recv = x + 1, c), "overlap", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.count = UINT64_MAX / 2, c), "too many", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.wire_dtype = YJ_F16, c), "wire", YJ_ERR_UNSUPPORTED);
    refuses(comm, (c = good, c.flags = 128, c), "flags", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.deadline = -1, c), "deadline", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.collective = YJ_BROADCAST, c.root = 3, c), "rank 3", YJ_ERR_INPUT);
    refuses(comm, (c = good, c.collective = YJ_SEND, c), "this rank", YJ_ERR_INPUT);
    yj_comm_close(comm);
    struct yj_comm_options o = {.size = sizeof o, .settings = "colour=blue"};
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
    assert_true(says("colour") && says("transport"));
    o.settings = "cell=12";
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
    o.settings = "deadline=-3";
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
    o.settings = "transport=pigeon";
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
    o = (struct yj_comm_options){.size = sizeof o, .rank = 5, .ranks = 2, .address = "unix:x", .key = "k"};
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
    o = (struct yj_comm_options){.size = sizeof o, .rank = 1, .ranks = 2, .address = "nonsense", .key = "k"};
    assert_int_equal(yj_comm_open(&o, &comm), YJ_ERR_INPUT);
}

static int forked_body(struct yj_comm *comm, void *argument) {
    int x = 1, y, code;
    CHECK_OK(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM));
    pid_t pid = fork();
    if (!pid) _exit(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM) == YJ_ERR_UNSUPPORTED && says("forked") ? 0 : 1);
    waitpid(pid, &code, 0);
    CHECK(code == 0);
    CHECK_OK(yj_all_reduce(comm, &x, &y, 1, YJ_I32, YJ_SUM));
    return 0;
}

static void test_fork_after_open(void **state) {
    run_all(2, "shm", NULL, forked_body, NULL);
}

/* --- nothing is allocated between start and wait --- */

static _Thread_local long allocations; /* the control thread's are its own */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { COUNTS = 1 };
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) {
    allocations++;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t m) {
    allocations++;
    return __libc_calloc(n, m);
}
void *realloc(void *p, size_t n) {
    allocations++;
    return __libc_realloc(p, n);
}
extern void *__libc_memalign(size_t, size_t);
void *aligned_alloc(size_t to, size_t n) {
    allocations++;
    return __libc_memalign(to, n);
}
#else
enum { COUNTS = 0 };
#endif

/* Every collective, of three sizes, with counts too; none was called before its prepare. */
static int allocation_body(struct yj_comm *comm, void *argument) {
    static const uint64_t sizes[] = {1, 3000, 200000};
    enum { MOST = 200000, CALLS = 3 * (YJ_BARRIER + 1) };
    int size = yj_comm_size(comm), n = 0;
    float *x = calloc((size_t)MOST * (size_t)size, 4), *y = calloc((size_t)MOST * (size_t)size, 4);
    uint64_t counts[MOST_RANKS];
    struct yj_prepared *prepared[CALLS];
    struct yj_request *request;
    for (int k = 0; k < CALLS; k++) {
        int number = k / 3 ? k / 3 : YJ_ALL_TO_ALL;
        for (int r = 0; r < size; r++)
            counts[r] = sizes[k % 3];
        struct yj_call call = {.size = sizeof call,
                               .collective = (uint32_t)number,
                               .send = x,
                               .recv = y,
                               .count = sizes[k % 3],
                               .dtype = YJ_F32,
                               .op = collective_find(number)->worth == WORTH_SUM ? YJ_SUM : 0};
        if (k < 3) call.counts = call.recv_counts = counts;
        CHECK_OK(yj_comm_prepare(comm, &call, &prepared[n++]));
    }
    CHECK_OK(yj_barrier(comm));
    long before = allocations;
    for (int i = 0; i < 3 * n; i++) {
        CHECK_OK(yj_prepared_start(prepared[i % n], x, y, &request));
        CHECK_OK(yj_comm_wait(request));
    }
    CHECK(allocations == before);
    CHECK_OK(yj_barrier(comm));
    for (int k = 0; k < 2; k++) { /* a plain call that was made before allocates nothing either */
        before = allocations;
        for (int i = 0; i < 20; i++)
            CHECK_OK(yj_all_reduce(comm, x, y, sizes[i % 3], YJ_F32, YJ_SUM));
        CHECK(k == 0 || allocations == before);
        CHECK_OK(yj_barrier(comm));
    }
    for (int k = 0; k < n; k++)
        yj_prepared_close(prepared[k]);
    free(x), free(y);
    return 0;
}

static void test_allocations(void **state) {
    if (!COUNTS) {
        print_message("skipped: a sanitizer has its own malloc\n");
        skip();
    }
    long before = allocations;
    void *volatile p = malloc(1);
    free(p);
    assert_true(allocations > before); /* it counts */
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, allocation_body, NULL);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),          cmocka_unit_test(test_kill_at_each_message),
        cmocka_unit_test(test_leave),         cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_pair_mismatch), cmocka_unit_test(test_polled_mismatch),
        cmocka_unit_test(test_deadline),      cmocka_unit_test(test_late),
        cmocka_unit_test(test_drop),          cmocka_unit_test(test_abort),
        cmocka_unit_test(test_missing_rank),  cmocka_unit_test(test_other_key),
        cmocka_unit_test(test_strangers),     cmocka_unit_test(test_wire),
        cmocka_unit_test(test_input),         cmocka_unit_test(test_fork_after_open),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

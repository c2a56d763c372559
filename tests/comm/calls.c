/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call promises beside its result: when a send has ended, what is read only once it is ready, what the flight
 * recorder, the trace and the counters say, and vectors of more than 2^31 elements.
 */
#include "comm/schedule.h"
#include "tests/comm/trial.h"

#include <jansson.h>
#include <sys/mman.h>

static const char *const transports[] = {"mem", "shm", "tcp"};

/* --- a send has ended when the receiver has it --- */

static int send_body(struct yj_comm *comm, void *argument) {
    static const uint64_t counts[] = {0, 1, 5000, 300000};
    int rank = yj_comm_rank(comm);
    for (size_t k = 0; k < COUNT(counts); k++) {
        int32_t *x = calloc(counts[k] + 1, 4), *y = calloc(counts[k] + 1, 4);
        struct yj_call call = {.size = sizeof call, .send = x, .recv = y, .count = counts[k], .dtype = YJ_I32};
        call.collective = rank ? YJ_RECV : YJ_SEND, call.root = !rank;
        struct yj_request *first, *second;
        bool done = false;
        CHECK_OK(yj_barrier(comm));
        if (rank == 0) {
            x[0] = 7;
            CHECK_OK(yj_comm_start(comm, &call, &first));
            CHECK_OK(yj_comm_start(comm, &call, &second));
            for (int i = 0; i < 200; i++) {
                CHECK_OK(yj_comm_test(first, &done));
                CHECK(!done);
            }
            CHECK_OK(yj_barrier(comm)); /* now the first is received, and only the first */
            CHECK_OK(yj_comm_wait(first));
            CHECK_OK(yj_comm_test(second, &done));
            CHECK(!done);
            CHECK_OK(yj_barrier(comm));
            CHECK_OK(yj_comm_wait(second));
        } else {
            CHECK_OK(yj_barrier(comm));
            CHECK_OK(yj_comm_call(comm, &call));
            CHECK(counts[k] == 0 || y[0] == 7);
            CHECK_OK(yj_barrier(comm));
            CHECK_OK(yj_comm_call(comm, &call));
        }
        free(x), free(y);
    }
    return 0;
}

static void test_send(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], NULL, send_body, NULL);
}

/* --- ready --- */

/* Every collective, released in parts; on one rank too, and in place where that can be. */
static int ready_body(struct yj_comm *comm, void *argument) {
    int size = yj_comm_size(comm), rank = yj_comm_rank(comm);
    for (int n = YJ_ALL_REDUCE; n <= YJ_ALL_TO_ALL; n++)
        for (int how = 0; how < 4; how++) {
            struct trial t = {.c = collective_find(n),
                              .count = how & 1 ? 3 : 30011,
                              .seed = (uint64_t)(n * 10 + how),
                              .dtype = YJ_I32,
                              .op = YJ_SUM,
                              .root = size - 1,
                              .in_place = how & 2 && n != YJ_ALL_TO_ALL,
                              .flags = YJ_CALL_READY};
            struct yj_request *request;
            CHECK(trial_make(&t, comm));
            char *send = (char *)t.call.send, *kept;
            bool gives = has(t.c->in, rank, t.root);
            uint64_t elements = t.c->in == HOLD_OWN ? t.count : t.end[0];
            CHECK((kept = malloc(elements * 4)));
            if (gives) memcpy(kept, send, elements * 4), memset(send, 0x77, elements * 4);
            CHECK_OK(yj_comm_start(comm, &t.call, &request));
            for (uint64_t at = 0, part = elements / 5 + 1; at < elements && gives; at += part) {
                bool done;
                CHECK_OK(yj_comm_test(request, &done));
                CHECK(!done);
                uint64_t more = at + part < elements ? part : elements - at;
                memcpy(send + at * 4, kept + at * 4, more * 4);
                CHECK_OK(yj_comm_ready(request, at + more));
            }
            CHECK_OK(yj_comm_wait(request));
            if (trial_check(&t, comm)) return 1;
            trial_free(&t);
            free(kept);
        }
    return 0;
}

static void test_ready(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        for (int n = 1; n <= 3; n++)
            run_all(n, transports[t], NULL, ready_body, NULL);
}

/* --- the recorder --- */

static bool is_row_of(int collective, const char *name) {
    for (int i = 0; i < algorithm_count(); i++)
        if ((int)algorithm_at(i)->collective == collective && !strcmp(algorithm_at(i)->name, name)) return true;
    return false;
}

static int record_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    int64_t x = rank, y = 0;
    struct yj_comm_record r = {.size = sizeof r};
    CHECK(yj_comm_record(comm, 0, &r) == YJ_ERR_INPUT); /* nothing has been called */
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "step %d", i);
        struct yj_call call = {.size = sizeof call,
                               .collective = YJ_ALL_REDUCE,
                               .send = &x,
                               .recv = &y,
                               .count = 1,
                               .dtype = YJ_I64,
                               .op = YJ_MAX,
                               .name = name};
        CHECK_OK(yj_comm_call(comm, &call));
    }
    double before = time_now();
    CHECK_OK(yj_broadcast(comm, &x, &x, 1, YJ_I64, 1));
    double after = time_now();
    CHECK_OK(yj_comm_record(comm, 0, &r));
    CHECK(r.collective == YJ_BROADCAST && r.root == 1 && r.sequence == 301 && r.bytes == 8 && !r.name[0]);
    CHECK(is_row_of(YJ_BROADCAST, r.algorithm));
    CHECK(r.started > before - 1e-3 && r.ended >= r.started && r.ended < after + 1e-3);
    double next = r.started;
    for (int back = 1; back < 128; back++) {
        char name[16];
        snprintf(name, sizeof name, "step %d", 300 - back);
        CHECK_OK(yj_comm_record(comm, back, &r));
        CHECK(r.collective == YJ_ALL_REDUCE && r.op == YJ_MAX && r.dtype == YJ_I64 && !strcmp(r.name, name));
        CHECK(r.ended >= r.started && r.ended <= next + 1e-6);
        next = r.started;
    }
    CHECK(yj_comm_record(comm, 128, &r) == YJ_ERR_INPUT);
    CHECK(yj_comm_record(comm, -1, &r) == YJ_ERR_INPUT);
    char text[8192], shorter[20];
    size_t n = yj_comm_counters(comm, YJ_COUNTERS_JSON, text, sizeof text);
    CHECK(n < sizeof text && n == strlen(text));
    CHECK(yj_comm_counters(comm, YJ_COUNTERS_JSON, shorter, sizeof shorter) >= n - 40 && strlen(shorter) == 19);
    json_t *json = json_loads(text, 0, NULL);
    CHECK(json);
    json_t *c = json_object_get(json_object_get(json, "collectives"), "all_reduce");
    CHECK(json_integer_value(json_object_get(c, "calls")) == 300);
    CHECK(json_integer_value(json_object_get(c, "bytes")) == 2400);
    CHECK(json_real_value(json_object_get(c, "seconds")) > 0);
    CHECK(json_integer_value(json_object_get(json, "ranks")) == size);
    json_decref(json);
    yj_comm_counters(comm, YJ_COUNTERS_PROMETHEUS, text, sizeof text);
    snprintf(shorter, sizeof shorter, "rank=\"%d\"", rank);
    CHECK(strstr(text, "# TYPE yunjin_comm_calls_total counter\n") && strstr(text, shorter));
    CHECK(strstr(text, "collective=\"all_reduce\"} 300\n"));
    return 0;
}

static void test_record(void **state) {
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, record_body, NULL);
}

/* The trace of all ranks: JSON, a row a rank, every event with the time after the first rank. */
static int trace_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm), rows = 0, events = 0, late = 0;
    const char *path = argument;
    float x = 1, y;
    for (int i = 0; i < 5; i++) {
        struct yj_call call = {.size = sizeof call,
                               .collective = YJ_ALL_REDUCE,
                               .send = &x,
                               .recv = &y,
                               .count = 1,
                               .dtype = YJ_F32,
                               .op = YJ_SUM,
                               .name = "a \"b\""};
        if (rank == 1 && i == 3) usleep(60000);
        CHECK_OK(yj_comm_call(comm, &call));
    }
    CHECK(yj_comm_trace(comm, "/nowhere/at/all") == YJ_ERR_IO); /* on all ranks */
    CHECK_OK(yj_comm_trace(comm, path));
    if (rank) return 0;
    json_t *json = json_load_file(path, 0, NULL), *event;
    size_t i;
    CHECK(json);
    json_array_foreach(json_object_get(json, "traceEvents"), i, event) {
        const char *name = json_string_value(json_object_get(event, "name"));
        json_t *arguments = json_object_get(event, "args");
        rows += !strcmp(name, "process_name");
        if (strcmp(name, "a \"b\"")) continue;
        events++;
        CHECK(json_real_value(json_object_get(event, "dur")) >= 0);
        if (json_real_value(json_object_get(arguments, "late_us")) > 40000) {
            CHECK(json_integer_value(json_object_get(event, "pid")) == 1);
            CHECK(json_integer_value(json_object_get(arguments, "call")) == 4);
            late++;
        }
    }
    CHECK(rows == size && events == 5 * size && late == 1);
    json_decref(json);
    return 0;
}

static void test_trace(void **state) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/yunjin-trace-%d.json", getpid());
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(3, transports[t], NULL, trace_body, path);
    unlink(path);
}

/* What is written when a communicator fails. */
static int failure_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm);
    char path[96];
    float x[4] = {1}, y[4];
    CHECK_OK(yj_all_reduce(comm, x, y, 4, YJ_F32, YJ_SUM));
    enum yj_status status = rank ? yj_barrier(comm) : yj_all_reduce(comm, x, y, 4, YJ_F32, YJ_SUM);
    CHECK(status == YJ_ERR_MISMATCH);
    snprintf(path, sizeof path, "%s.%d.json", (const char *)argument, rank);
    json_t *json = json_load_file(path, 0, NULL), *event;
    CHECK(json);
    json_t *events = json_object_get(json, "traceEvents");
    CHECK(json_array_size(events) == 4); /* the row's name, two calls, the failure */
    event = json_array_get(events, 2);
    CHECK(!strcmp(json_string_value(json_object_get(event, "name")), rank ? "barrier" : "all_reduce"));
    CHECK(json_is_false(json_object_get(json_object_get(event, "args"), "ended")));
    event = json_array_get(events, 3);
    CHECK(strstr(json_string_value(json_object_get(event, "name")), "different collectives"));
    json_decref(json);
    unlink(path);
    return 0;
}

static void test_failure(void **state) {
    char prefix[64], settings[128];
    snprintf(prefix, sizeof prefix, "/tmp/yunjin-record-%d", getpid());
    snprintf(settings, sizeof settings, "silence=100,record=%s", prefix);
    for (size_t t = 0; t < COUNT(transports); t++)
        run_all(2, transports[t], settings, failure_body, prefix);
}

/* --- more than 2^31 elements --- */

/* BYTES of address space over and over on one piece of memory, so that a vector of gigabytes needs none. */
enum { PIECE = 16 << 20 };
static char *repeated(uint64_t bytes, int fill) {
    int fd = memfd_create("test", 0);
    uint64_t whole = (bytes + PIECE - 1) / PIECE * PIECE;
    char *at = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fd < 0 || ftruncate(fd, PIECE) || at == MAP_FAILED) return NULL;
    for (uint64_t i = 0; i < whole; i += PIECE)
        if (mmap(at + i, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) return NULL;
    close(fd);
    for (int i = 0; i < PIECE; i++)
        at[i] = (char)(fill ? i % 251 * fill : 0);
    return at;
}

static bool holds_multiples(const char *at, int of) {
    for (int i = 0; i < PIECE; i++)
        if (at[i] != (char)(i % 251 * of)) return false;
    return true;
}

static int large_body(struct yj_comm *comm, void *argument) {
    const uint64_t n = ((uint64_t)1 << 31) + PIECE; /* a multiple of PIECE: every block repeats the same pattern */
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    char *x = repeated(n, rank + 1), *y = repeated(n, 0), *z = repeated(n * (uint64_t)size, 0);
    CHECK(x && y && z);
    CHECK_OK(yj_all_reduce(comm, x, y, n, YJ_U8, YJ_SUM));
    CHECK(holds_multiples(y, size * (size + 1) / 2));
    uint64_t counts[2] = {PIECE, n}, displs[2] = {n, 0};
    CHECK_OK(
        yj_gather_v(comm, x, z, counts, displs, YJ_U8, 0)); /* rank 1's block, of 2^31 and more, ends last or first */
    CHECK(rank || holds_multiples(z, 1) || holds_multiples(z, 2));
    CHECK_OK(rank ? yj_recv(comm, y, n, YJ_U8, 0) : yj_send(comm, x, n, YJ_U8, 1));
    CHECK(!rank || holds_multiples(y, 1));
    return 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static void test_large(void **state) {
    if (SANITIZED) {
        print_message("skipped: too slow under a sanitizer\n");
        skip();
    }
    run_all(2, "shm", NULL, large_body, NULL);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send),  cmocka_unit_test(test_ready),   cmocka_unit_test(test_record),
        cmocka_unit_test(test_trace), cmocka_unit_test(test_failure), cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

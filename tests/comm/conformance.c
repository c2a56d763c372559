/* SPDX-License-Identifier: Apache-2.0
 *
 * One suite for every transport: each collective of the table, sizes from nothing to many slices, element types,
 * operators, in place and not; several calls in flight, waits in another order, groups, pairs. What comes out is
 * compared with a reference made here, and the bits of all ranks with each other.
 */
#include "tests/comm/trial.h"

static const char *const transports[] = {"mem", "shm", "tcp"};

/* --- the reference --- */

/* Element I of the whole vector after the collective. */
static double joined(int size, uint64_t i, uint32_t op, enum yj_dtype dtype) {
    int v = as_bool(value(0, i, op), dtype);
    for (int r = 1; r < size; r++)
        v = join(v, as_bool(value(r, i, op), dtype), op);
    return op != YJ_AVG ? v : dtype_kind(dtype) == 'f' ? (double)v / size : v / size;
}

struct shape {
    const struct collective *c;
    uint64_t count, total, in, out, in_at,
        out_at; /* elements; IN_AT, OUT_AT: where this rank's part lies in the vector */
};

static struct shape shape_of(const struct collective *c, uint64_t count, int rank, int size, int root) {
    bool each = c->in == HOLD_OWN || c->out == HOLD_OWN || c->worth == WORTH_TURN;
    struct shape s = {.c = c, .count = count, .total = each ? count * (uint64_t)size : count};
    s.in = c->in == HOLD_OWN ? count : c->in == HOLD_NONE || (c->in == HOLD_ROOT && rank != root) ? 0 : s.total;
    s.out = c->out == HOLD_OWN ? count : c->out == HOLD_NONE || (c->out == HOLD_ROOT && rank != root) ? 0 : s.total;
    s.in_at = c->in == HOLD_OWN ? (uint64_t)rank * count : 0;
    s.out_at = c->out == HOLD_OWN ? (uint64_t)rank * count : 0;
    return s;
}

static double expected(const struct shape *s, uint64_t i, int rank, int size, int root, uint32_t op,
                       enum yj_dtype dtype) {
    uint64_t at = s->out_at + i;
    if (s->c->worth == WORTH_SUM) return joined(size, at, op, dtype);
    if (s->c->worth == WORTH_TURN)
        return as_bool(value((int)(i / s->count), (uint64_t)rank * s->count + i % s->count, op), dtype);
    return as_bool(value(s->c->in == HOLD_OWN ? (int)(at / s->count) : root, at, op), dtype);
}

/* --- one call --- */

static int one(struct yj_comm *comm, const struct collective *c, uint64_t count, enum yj_dtype dtype, uint32_t op,
               bool in_place, int root) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    struct shape s = shape_of(c, count, rank, size, root);
    size_t bytes = yj_dtype_bytes(dtype), guard = 64;
    size_t room = (s.total + 1) * bytes + 2 * guard;
    char *a = malloc(room), *b = malloc(room), *want = malloc(room);
    CHECK(a && b && want);
    memset(a, 0x5a, room), memset(b, 0x5a, room);
    char *send = a + guard, *recv = in_place ? a + guard : b + guard;
    if (in_place && s.in && s.out) send += s.in_at * bytes, recv += s.out_at * bytes;
    for (uint64_t i = 0; i < s.in; i++)
        put(send, i, dtype, value(rank, s.in_at + i, op));
    struct yj_call call = {.size = sizeof call,
                           .collective = c->number,
                           .send = send,
                           .recv = recv,
                           .count = count,
                           .dtype = dtype,
                           .op = c->worth == WORTH_SUM ? op : 0,
                           .root = root};
    CHECK_OK(yj_comm_call(comm, &call));
    for (uint64_t i = 0; i < s.out; i++)
        put(want, i, dtype, expected(&s, i, rank, size, root, op, dtype));
    bool same = c->worth == WORTH_SUM && !exact(op, dtype, size) ? true : !memcmp(recv, want, s.out * bytes);
    if (!same) {
        uint64_t i = 0;
        while (!memcmp(recv + i * bytes, want + i * bytes, bytes))
            i++;
        fprintf(stderr, "rank %d of %d: %s %s op %u count %llu%s root %d: element %llu is wrong\n", rank, size, c->name,
                yj_dtype_name(dtype), op, (unsigned long long)count, in_place ? " in place" : "", root,
                (unsigned long long)i);
        return 1;
    }
    for (size_t i = 0; i < guard; i++)
        CHECK(a[i] == 0x5a && b[i] == 0x5a && a[room - 1 - i] == 0x5a && b[room - 1 - i] == 0x5a);
    if (!in_place)
        for (uint64_t i = 0; i < s.in; i++) { /* IN is untouched */
            put(want, 0, dtype, value(rank, s.in_at + i, op));
            CHECK(!memcmp(send + i * bytes, want, bytes));
        }
    free(a), free(b), free(want);
    return 0;
}

static int all_of(struct yj_comm *comm, const struct collective *c, uint64_t count, enum yj_dtype dtype, uint32_t op) {
    for (int root = 0; root < (c->rooted ? yj_comm_size(comm) : 1); root++)
        for (int in_place = 0; in_place <= 1; in_place++)
            if (one(comm, c, count, dtype, op, in_place, root)) return 1;
    return 0;
}

static bool pair(const struct collective *c) {
    return c->number == YJ_SEND || c->number == YJ_RECV;
}

/* Every collective of the table but send and recv. */
static int collectives_body(struct yj_comm *comm, void *argument) {
    static const uint64_t many[] = {0, 1, 2, 3, 9, 10, 11, 63, 257, 2048, 2053, 16385, 70003},
                          some[] = {1, 10, 257, 5003};
    const uint64_t *counts = argument ? some : many;
    size_t ncounts = argument ? COUNT(some) : COUNT(many);
    for (int n = 1; n <= 64; n++) {
        const struct collective *c = collective_find(n);
        if (!c || pair(c)) continue;
        for (size_t i = 0; i < ncounts; i++)
            if (all_of(comm, c, counts[i], YJ_F32, YJ_SUM)) return 1;
    }
    return 0;
}

static int types_body(struct yj_comm *comm, void *argument) {
    static const uint64_t counts[] = {1, 7, 1025};
    const struct collective *all_reduce = collective_find(YJ_ALL_REDUCE), *scatter = collective_find(YJ_REDUCE_SCATTER);
    for (int dtype = YJ_F32; dtype <= YJ_BOOL; dtype++)
        for (uint32_t op = YJ_SUM; op <= YJ_LXOR; op++) {
            struct yj_call call = {
                .size = sizeof call, .collective = YJ_ALL_REDUCE, .dtype = (uint32_t)dtype, .op = op};
            if (yj_comm_call(comm, &call) == YJ_ERR_UNSUPPORTED) continue; /* count 0: is it defined? */
            for (size_t i = 0; i < COUNT(counts); i++) {
                if (all_of(comm, all_reduce, counts[i], (enum yj_dtype)dtype, op)) return 1;
                if (all_of(comm, scatter, counts[i], (enum yj_dtype)dtype, op)) return 1;
            }
        }
    for (int dtype = YJ_F32; dtype <= YJ_BOOL; dtype++)
        if (all_of(comm, collective_find(YJ_BROADCAST), 1001, (enum yj_dtype)dtype, 0) ||
            all_of(comm, collective_find(YJ_ALL_GATHER), 333, (enum yj_dtype)dtype, 0))
            return 1;
    return 0;
}

/* --- the same bits on all ranks, from values that no order of additions leaves exact --- */

static int bits_body(struct yj_comm *comm, void *argument) {
    static const uint64_t counts[] = {1, 5, 1000, 30011, 300007};
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    for (size_t k = 0; k < COUNT(counts); k++)
        for (int dtype = YJ_F32; dtype <= YJ_E5M2; dtype++) {
            uint64_t n = counts[k], seed = (uint64_t)rank * 77 + 1;
            size_t bytes = yj_dtype_bytes((enum yj_dtype)dtype);
            char *x = malloc(n * bytes), *y = malloc(n * bytes), *z = malloc(n * bytes);
            CHECK(x && y && z);
            for (uint64_t i = 0; i < n; i++) {
                float f = ((float)next_random(&seed) / 1073741824.0f - 1.0f) * (i % 3 ? 1.0f : 1e-3f);
                double d = f;
                uint16_t h = dtype == YJ_F16 ? f32_to_f16(f) : f32_to_bf16(f);
                uint8_t b = dtype == YJ_E4M3 ? f32_to_e4m3(f) : f32_to_e5m2(f);
                memcpy(x + i * bytes,
                       bytes == 8   ? (void *)&d
                       : bytes == 4 ? (void *)&f
                       : bytes == 2 ? (void *)&h
                                    : (void *)&b,
                       bytes);
            }
            CHECK_OK(yj_all_reduce(comm, x, y, n, (enum yj_dtype)dtype, YJ_SUM));
            CHECK_OK(yj_all_reduce(comm, x, z, n, (enum yj_dtype)dtype, YJ_SUM));
            CHECK(!memcmp(y, z, n * bytes)); /* from run to run */
            uint64_t mine = hash_bytes(y, n * bytes, 5), all[MOST_RANKS];
            CHECK_OK(yj_all_gather(comm, &mine, all, 1, YJ_U64));
            for (int r = 0; r < size; r++)
                CHECK(all[r] == mine);
            free(x), free(y), free(z);
        }
    return 0;
}

/* With YJ_CALL_CANONICAL the bits are those of one sum in rank order, and a vector may be cut into calls anywhere. */
static int canonical_body(struct yj_comm *comm, void *argument) {
    enum { N = 70000 };
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    float *x = malloc(N * 4), *y = malloc(N * 4), *z = malloc(N * 4), *all = malloc((size_t)N * 4 * (size_t)size);
    uint64_t seed = (uint64_t)rank + 3;
    CHECK(x && y && z && all);
    for (int i = 0; i < N; i++)
        x[i] = (float)next_random(&seed) * (i % 2 ? 1e-9f : 1.0f);
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_ALL_REDUCE,
                           .send = x,
                           .recv = y,
                           .count = N,
                           .dtype = YJ_F32,
                           .op = YJ_SUM,
                           .flags = YJ_CALL_CANONICAL};
    CHECK_OK(yj_comm_call(comm, &call));
    static const int cuts[] = {0, 1, 17, 4096, 40000, N};
    for (size_t k = 1; k < COUNT(cuts); k++) {
        call.send = x + cuts[k - 1], call.recv = z + cuts[k - 1], call.count = (uint64_t)(cuts[k] - cuts[k - 1]);
        CHECK_OK(yj_comm_call(comm, &call));
    }
    CHECK(!memcmp(y, z, N * 4));
    CHECK_OK(yj_all_gather(comm, x, all, N, YJ_F32));
    for (int i = 0; i < N; i++) {
        float sum = all[i];
        for (int r = 1; r < size; r++)
            sum += all[(size_t)r * N + (size_t)i];
        CHECK(!memcmp(&sum, &y[i], 4));
    }
    free(x), free(y), free(z), free(all);
    return 0;
}

/* --- order and concurrency --- */

static int flight_body(struct yj_comm *comm, void *argument) {
    enum { CALLS = 40 };
    struct yj_request *request[CALLS];
    static const uint64_t counts[] = {1, 700, 3, 40000, 2, 9000, 130000, 64};
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    float *x[CALLS], *y[CALLS];
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < CALLS; k++) {
            uint64_t n = counts[k % (int)COUNT(counts)];
            x[k] = malloc(n * 4), y[k] = malloc(n * 4);
            for (uint64_t i = 0; i < n; i++)
                x[k][i] = (float)value(rank + k, i, 0);
            struct yj_call call = {.size = sizeof call,
                                   .collective = YJ_ALL_REDUCE,
                                   .send = x[k],
                                   .recv = y[k],
                                   .count = n,
                                   .dtype = YJ_F32,
                                   .op = YJ_SUM};
            CHECK_OK(yj_comm_start(comm, &call, &request[k]));
        }
        for (int k = 0; k < CALLS; k++) { /* every rank waits in another order */
            int j = (k * (2 * rank + 1) * 3 + round * 7) % CALLS;
            while (!request[j])
                j = (j + 1) % CALLS;
            if (k % 3 == 0) {
                bool done = false;
                while (!done)
                    CHECK_OK(yj_comm_test(request[j], &done));
            } else {
                CHECK_OK(yj_comm_wait(request[j]));
            }
            request[j] = NULL;
            for (uint64_t i = 0; i < counts[j % (int)COUNT(counts)]; i++) {
                float sum = 0;
                for (int r = 0; r < size; r++)
                    sum += (float)value(r + j, i, 0);
                CHECK(y[j][i] == sum);
            }
            free(x[j]), free(y[j]);
        }
    }
    return 0;
}

static int pairs_body(struct yj_comm *comm, void *argument) {
    enum { MESSAGES = 12 };
    static const uint64_t counts[] = {1, 100, 20000, 0, 300000, 7};
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm), to = (rank + 1) % size, from = (rank + size - 1) % size;
    struct yj_request *out[MESSAGES], *in[MESSAGES];
    int32_t *x[MESSAGES], *y[MESSAGES];
    for (int k = 0; k < MESSAGES; k++) {
        uint64_t n = counts[k % (int)COUNT(counts)];
        x[k] = malloc(n * 4 + 4), y[k] = malloc(n * 4 + 4);
        for (uint64_t i = 0; i < n; i++)
            x[k][i] = rank * 1000003 + k * 101 + (int32_t)i;
        struct yj_call s = {
            .size = sizeof s, .collective = YJ_SEND, .send = x[k], .count = n, .dtype = YJ_I32, .root = to};
        struct yj_call r = {
            .size = sizeof r, .collective = YJ_RECV, .recv = y[k], .count = n, .dtype = YJ_I32, .root = from};
        CHECK_OK(yj_comm_start(comm, &s, &out[k]));
        CHECK_OK(yj_comm_start(comm, &r, &in[k]));
        if (k == 5) CHECK_OK(yj_barrier(comm)); /* pairs and collectives do not disturb each other */
    }
    for (int k = MESSAGES; k-- > 0;) {
        CHECK_OK(yj_comm_wait(in[k]));
        CHECK_OK(yj_comm_wait(out[k]));
        for (uint64_t i = 0; i < counts[k % (int)COUNT(counts)]; i++)
            CHECK(y[k][i] == from * 1000003 + k * 101 + (int32_t)i);
        free(x[k]), free(y[k]);
    }
    if (rank == 0) CHECK_OK(yj_send(comm, &rank, 1, YJ_I32, size - 1));
    if (rank == size - 1) {
        int32_t got = -1;
        CHECK_OK(yj_recv(comm, &got, 1, YJ_I32, 0));
        CHECK(got == 0);
    }
    return 0;
}

static int split_body(struct yj_comm *comm, void *argument) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    struct yj_comm *half, *turned, *none, *deeper;
    CHECK_OK(yj_comm_split(comm, rank % 2, rank, &half));
    CHECK_OK(yj_comm_split(comm, 0, -rank, &turned));
    CHECK_OK(yj_comm_split(comm, rank == 0 ? -1 : 3, 0, &none));
    CHECK((none == NULL) == (rank == 0));
    CHECK(yj_comm_size(half) == (size + 1 - rank % 2) / 2 && yj_comm_rank(half) == rank / 2);
    CHECK(yj_comm_size(turned) == size && yj_comm_rank(turned) == size - 1 - rank);
    CHECK_OK(yj_comm_split(half, 0, 0, &deeper));
    for (int k = 0; k < 30; k++) { /* calls of several groups at once, in different orders */
        int64_t a = rank, b = rank, sum_a = 0, sum_b = 0, expect = 0;
        struct yj_call x = {.size = sizeof x,
                            .collective = YJ_ALL_REDUCE,
                            .send = &a,
                            .recv = &sum_a,
                            .count = 1,
                            .dtype = YJ_I64,
                            .op = YJ_SUM},
                       y = x;
        y.send = &b, y.recv = &sum_b;
        struct yj_request *p, *q;
        CHECK_OK(yj_comm_start(rank % 2 ? turned : deeper, &x, &p));
        CHECK_OK(yj_comm_start(rank % 2 ? deeper : turned, &y, &q));
        CHECK_OK(yj_comm_wait(rank % 3 ? p : q));
        CHECK_OK(yj_comm_wait(rank % 3 ? q : p));
        for (int r = rank % 2; r < size; r += 2)
            expect += r;
        CHECK((rank % 2 ? sum_b : sum_a) == expect);
        CHECK((rank % 2 ? sum_a : sum_b) == (int64_t)size * (size - 1) / 2);
    }
    if (all_of(turned, collective_find(YJ_ALL_GATHER), 5000, YJ_I32, 0)) return 1;
    yj_comm_close(deeper), yj_comm_close(turned), yj_comm_close(half), yj_comm_close(none);
    for (int k = 0; k < 5; k++) { /* made and closed again and again */
        CHECK_OK(yj_comm_split(comm, rank / 2, rank, &half));
        if (all_of(half, collective_find(YJ_ALL_REDUCE), 3000, YJ_F32, YJ_SUM)) return 1;
        yj_comm_close(half);
    }
    return 0;
}

static int ready_body(struct yj_comm *comm, void *argument) {
    enum { N = 200000, PART = 25000 };
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    uint64_t total = (uint64_t)N * (uint64_t)size;
    int32_t *x = malloc(total * 4), *y = malloc(N * 4);
    memset(x, 0x77, total * 4);
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_REDUCE_SCATTER,
                           .send = x,
                           .recv = y,
                           .count = N,
                           .dtype = YJ_I32,
                           .op = YJ_SUM,
                           .flags = YJ_CALL_READY};
    struct yj_request *request;
    CHECK_OK(yj_comm_start(comm, &call, &request));
    for (uint64_t i = 0; i < total; i += PART) {
        bool done = false;
        CHECK_OK(yj_comm_test(request, &done));
        CHECK(!done);
        for (uint64_t k = i; k < i + PART; k++)
            x[k] = value(rank, k, 0);
        CHECK_OK(yj_comm_ready(request, i + PART));
    }
    CHECK_OK(yj_comm_wait(request));
    for (uint64_t i = 0; i < N; i++)
        CHECK(y[i] == joined(size, (uint64_t)rank * N + i, YJ_SUM, YJ_I32));
    free(x), free(y);
    return 0;
}

/* Buffers that peers read without a copy: every collective, apart and in place, and blocks that come and go. */
static int alloc_body(struct yj_comm *comm, void *argument) {
    enum { N = 60000 };
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    size_t bytes = (size_t)N * (size_t)size * 4;
    for (int k = 0; k < 40; k++) {
        const struct collective *c = collective_find(1 + k % 8);
        bool in_place = k / 8 % 2;
        int root = k % size;
        char *x, *y;
        CHECK_OK(yj_comm_alloc(comm, bytes, (void **)&x));
        CHECK_OK(yj_comm_alloc(comm, bytes, (void **)&y));
        struct shape s = shape_of(c, N, rank, size, root);
        for (size_t i = 0; i < bytes; i += 997)
            CHECK(x[i] == 0 && y[i] == 0);
        char *send = x, *recv = in_place ? x : y;
        if (in_place && s.in && s.out) send += s.in_at * 4, recv += s.out_at * 4;
        struct yj_call call = {.size = sizeof call,
                               .collective = c->number,
                               .send = send,
                               .recv = recv,
                               .count = N,
                               .dtype = YJ_I32,
                               .op = c->worth == WORTH_SUM ? YJ_SUM : 0,
                               .root = root};
        for (int again = 0; again < 3; again++) {
            for (uint64_t i = 0; i < s.in; i++)
                put(send, i, YJ_I32, value(rank, s.in_at + i, 0));
            CHECK_OK(yj_comm_call(comm, &call));
            for (uint64_t i = 0; i < s.out; i++)
                CHECK(((int32_t *)recv)[i] == (int32_t)expected(&s, i, rank, size, root, YJ_SUM, YJ_I32));
        }
        yj_comm_free(comm, x);
        yj_comm_free(comm, y);
    }
    return 0;
}

/* --- the table of tests --- */

static void over_all(rank_fn *body, const int *sizes, const char *settings) {
    for (size_t t = 0; t < COUNT(transports); t++)
        for (const int *n = sizes; *n; n++)
            run_all(*n, transports[t], settings, body, NULL);
}

static const int few[] = {1, 2, 3, 4, 0}, two_three[] = {2, 3, 0};

static void test_collectives(void **state) {
    over_all(collectives_body, few, NULL);
}
static void test_small_cells(void **state) {
    over_all(collectives_body, two_three, "cell=4096,stream=1");
}
static void test_types(void **state) {
    over_all(types_body, two_three, NULL);
}
static void test_bits(void **state) {
    over_all(bits_body, (const int[]){2, 3, 5, 0}, NULL);
}
static void test_canonical(void **state) {
    over_all(canonical_body, (const int[]){2, 3, 5, 0}, NULL);
}
static void test_flight(void **state) {
    over_all(flight_body, two_three, NULL);
}
static void test_pairs(void **state) {
    over_all(pairs_body, two_three, NULL);
}
static void test_split(void **state) {
    over_all(split_body, (const int[]){3, 5, 0}, NULL);
}
static void test_ready(void **state) {
    over_all(ready_body, two_three, NULL);
}
static void test_alloc(void **state) {
    over_all(alloc_body, two_three, NULL);
    over_all(alloc_body, two_three, "stream=100000000");
}

/* Every row of the table of algorithms, by name. */
static void test_rows(void **state) {
    for (int i = 0; i < algorithm_count(); i++) {
        char settings[64];
        const struct algorithm *row = algorithm_at(i);
        if (row->collective == YJ_SEND || row->collective == YJ_RECV) continue;
        snprintf(settings, sizeof settings, "algorithm=%s,cell=8192", row->name);
        for (int n = 2; n <= 7; n += n < 4 ? 1 : 3)
            if (algorithm_serves(row, n, false)) run_all(n, "mem", settings, collectives_body, settings);
    }
}

static void test_delays(void **state) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct ranks r = {.n = 4, .transport = "mem", .body = flight_body, .faults = {.seed = seed, .delay = 2e-4}};
        run_ranks(&r);
        for (int i = 0; i < r.n; i++)
            assert_int_equal(r.result[i], 0);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collectives), cmocka_unit_test(test_small_cells), cmocka_unit_test(test_types),
        cmocka_unit_test(test_bits),        cmocka_unit_test(test_flight),      cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_split),       cmocka_unit_test(test_ready),       cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_canonical),   cmocka_unit_test(test_rows),        cmocka_unit_test(test_delays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

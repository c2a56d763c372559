/* SPDX-License-Identifier: Apache-2.0
 *
 * Random calls. All ranks draw one plan from one seed: which group calls what, with what sizes, types, counts and
 * places; each rank draws from its own how late it starts, in what order it waits and how: so whatever a program may
 * do. Results, and every byte around them, are checked, and buffers are spoiled as soon as their call has ended. Then
 * jobs in which one rank skips or swaps calls: every rank must be told, with both calls.
 *     test-comm-random [--seconds S] [--seed N]       (a few seconds on each transport by default)
 */
#include "tests/comm/trial.h"

static const char *const transports[] = {"mem", "shm", "tcp"};
static double seconds = 6;
static uint64_t first_seed;

static uint32_t below(uint64_t *state, uint32_t n) {
    return next_random(state) % n;
}

/* --- the plan --- */

enum { GROUPS = 4, FLIGHT = 12, STEPS = 60 };

struct group {
    struct yj_comm *comm; /* NULL: this rank is not in it */
    uint64_t plan;        /* equal on all its ranks */
};

struct flight {
    struct trial trial;
    struct yj_comm *comm;
    struct yj_request *request; /* NULL: free */
    struct yj_prepared *prepared;
};

static uint64_t random_count(uint64_t *plan) {
    switch (below(plan, 8)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return 2 + below(plan, 15);
    case 3:
        return 1001 + 2 * below(plan, 2000);
    case 4:
        return 30000 + below(plan, 60000);
    default:
        return below(plan, 600);
    }
}

static struct trial random_trial(uint64_t *plan, int size) {
    static const enum yj_dtype types[] = {YJ_F32, YJ_F64, YJ_I32, YJ_BF16, YJ_F16, YJ_I8, YJ_U64, YJ_BOOL, YJ_I16};
    static const uint32_t ops[] = {YJ_SUM, YJ_MAX, YJ_MIN, YJ_AVG, YJ_LOR, YJ_LAND};
    struct trial t = {.c = collective_find(1 + (int)below(plan, 9)),
                      .count = random_count(plan),
                      .seed = next_random(plan),
                      .dtype = types[below(plan, COUNT(types))],
                      .op = ops[below(plan, COUNT(ops))],
                      .root = (int)below(plan, (uint32_t)size)};
    uint32_t how = next_random(plan);
    if (t.dtype == YJ_BOOL && (t.op == YJ_SUM || t.op == YJ_AVG)) t.op = YJ_LOR;
    t.in_place = how & 1 && t.c->worth != WORTH_HEARD;
    t.blocks_differ = how & 2 && !one_block(t.c) && t.c->worth != WORTH_HEARD;
    t.gaps = t.blocks_differ && how & 4;
    bool canonical = (how & 0x38) == 0x38;
    if (canonical) t.flags |= YJ_CALL_CANONICAL;
    return t;
}

/* --- one step --- */

static int land(struct flight *f, uint64_t *mine) {
    struct yj_comm *comm = f->comm;
    bool done = false;
    int tests = (int)below(mine, 4) * 20;
    while (tests-- > 0 && !done)
        CHECK_OK(yj_comm_test(f->request, &done));
    if (!done) {
        enum yj_status status = yj_comm_wait(f->request);
        if (status != YJ_OK) trial_say(&f->trial, comm, yj_error_text());
        CHECK(status == YJ_OK);
    }
    f->request = NULL;
    if (f->trial.c->worth != WORTH_HEARD && trial_check(&f->trial, comm)) return 1;
    yj_prepared_close(f->prepared);
    trial_free(&f->trial);
    return 0;
}

static int land_some(struct flight *flight, int most_left, uint64_t *mine) {
    int n = 0;
    for (int i = 0; i < FLIGHT; i++)
        n += flight[i].request != NULL;
    for (; n > most_left; n--) {
        uint32_t i = below(mine, FLIGHT);
        while (!flight[i].request)
            i = (i + 1) % FLIGHT;
        if (land(&flight[i], mine)) return 1;
    }
    return 0;
}

static int start(struct flight *f, struct yj_comm *comm, const struct trial *t, bool prepared, uint64_t *mine) {
    bool ready = below(mine, 4) == 0 && t->c->worth != WORTH_TURN && t->c->worth != WORTH_HEARD; /* flags may differ */
    *f = (struct flight){.trial = *t, .comm = comm};
    if (ready) f->trial.flags |= YJ_CALL_READY;
    CHECK(trial_make(&f->trial, comm));
    struct yj_call *call = &f->trial.call;
    if (prepared) {
        CHECK_OK(yj_comm_prepare(comm, call, &f->prepared));
        CHECK_OK(yj_prepared_start(f->prepared, call->send, call->recv, &f->request));
    } else {
        CHECK_OK(yj_comm_start(comm, call, &f->request));
    }
    if (ready) CHECK_OK(yj_comm_ready(f->request, UINT64_MAX));
    return 0;
}

static struct flight *free_place(struct flight *flight) {
    while (flight->request)
        flight++;
    return flight;
}

/* A transfer from one rank of the group to another; the rest looks on. */
static int transfer(struct flight *flight, struct group *g, uint64_t *mine) {
    int size = yj_comm_size(g->comm), rank = yj_comm_rank(g->comm);
    int from = (int)below(&g->plan, (uint32_t)size), to = (int)below(&g->plan, (uint32_t)size);
    struct trial t = {.count = random_count(&g->plan), .seed = next_random(&g->plan), .dtype = YJ_I32};
    if (from == to || (rank != from && rank != to)) return 0;
    t.c = collective_find(rank == from ? YJ_SEND : YJ_RECV);
    t.root = rank == from ? to : from;
    return start(free_place(flight), g->comm, &t, false, mine);
}

static int step(struct flight *flight, struct group *g, uint64_t *mine) {
    int size = yj_comm_size(g->comm);
    if (land_some(flight, FLIGHT - 1, mine)) return 1;
    if (below(mine, 40) == 0) usleep(below(mine, 3000)); /* comes late */
    if (below(&g->plan, 6) == 0) return transfer(flight, g, mine);
    struct trial t = random_trial(&g->plan, size);
    if (start(free_place(flight), g->comm, &t, below(mine, 5) == 0, mine)) return 1;
    return below(mine, 4) ? 0 : land_some(flight, (int)below(mine, FLIGHT), mine);
}

/* --- one job --- */

struct job {
    uint64_t seed;
    double until;
};

static int open_groups(struct group *group, uint64_t *plan) {
    struct yj_comm *comm = group[0].comm;
    int rank = yj_comm_rank(comm);
    for (int i = 1; i < GROUPS; i++) {
        uint32_t colors = 1 + below(plan, 3), salt = next_random(plan), turned = below(plan, 2);
        int color = (int)(mix(salt, (uint64_t)rank, 1) % (colors + 1)) - 1; /* -1: in none */
        CHECK_OK(yj_comm_split(comm, color, turned ? -rank : rank, &group[i].comm));
        group[i].plan = mix(salt, (uint64_t)(color + 1), 2);
    }
    return 0;
}

static int random_body(struct yj_comm *comm, void *argument) {
    const struct job *job = argument;
    int rank = yj_comm_rank(comm);
    uint64_t plan = job->seed, mine = mix(job->seed, (uint64_t)rank, 3);
    for (int32_t more = 1; more;) {
        struct group group[GROUPS] = {{comm, next_random(&plan)}};
        static _Thread_local struct flight flight[FLIGHT + 1];
        if (open_groups(group, &plan)) return 1;
        for (int i = 0; i < STEPS; i++) {
            struct group *g = &group[below(&plan, GROUPS)];
            if (g->comm && step(flight, g, &mine)) return 1;
        }
        if (land_some(flight, 0, &mine)) return 1;
        for (int i = 1; i < GROUPS; i++)
            yj_comm_close(group[i].comm);
        int32_t go = time_now() < job->until;
        CHECK_OK(yj_all_reduce(comm, &go, &more, 1, YJ_I32, YJ_MIN));
    }
    return 0;
}

/* --- jobs in which a rank is wrong --- */

static bool alike(const struct trial *a, const struct trial *b) {
    return a->c == b->c;
}

/* One rank leaves call AT out, or makes it after the next one. */
static int wrong_body(struct yj_comm *all, void *argument) {
    const struct job *job = argument;
    uint64_t plan = job->seed;
    int size = yj_comm_size(all);
    for (int32_t more = 1; more;) {
        struct yj_comm *comm = all;
        struct trial call[12];
        int n = 0, culprit = (int)below(&plan, (uint32_t)size), at = (int)below(&plan, 8), swaps = (int)below(&plan, 2);
        char name[32];
        while (n < 12) {
            call[n] = random_trial(&plan, size);
            call[n].count++; /* of nothing, nobody can tell whether it was called */
            if (n == 0 || !alike(&call[n], &call[n - 1])) n++;
        }
        CHECK_OK(yj_comm_split(all, 0, 0, &comm));
        enum yj_status status = YJ_OK;
        for (int i = 0; i < n + 20 && status == YJ_OK; i++) {
            int k = i;
            if (yj_comm_rank(comm) == culprit && i >= at) k = !swaps ? i + 1 : i == at ? at + 1 : i == at + 1 ? at : i;
            struct trial t = k < n ? call[k]
                                   : (struct trial){.c = collective_find(i % 2 ? YJ_BARRIER : YJ_ALL_REDUCE),
                                                    .count = 200000,
                                                    .dtype = YJ_F32,
                                                    .op = YJ_SUM};
            CHECK(trial_make(&t, comm));
            status = yj_comm_call(comm, &t.call);
            trial_free(&t);
        }
        snprintf(name, sizeof name, "rank %d ", culprit);
        if (status != YJ_ERR_MISMATCH || !strstr(yj_error_text(), name))
            fprintf(stderr, "rank %d %s call %d of seed %llu: status %d, %s\n", culprit, swaps ? "swaps" : "skips", at,
                    (unsigned long long)job->seed, status, yj_error_text());
        CHECK(status == YJ_ERR_MISMATCH && strstr(yj_error_text(), name));
        const char *first = strstr(yj_error_text(), ": rank "), *second = first ? strstr(first + 1, "rank ") : NULL;
        CHECK(second && strchr(first, '(') && strchr(second + 5, '('));
        yj_comm_close(comm);
        int32_t go = time_now() < job->until;
        comm = all;
        CHECK_OK(yj_all_reduce(all, &go, &more, 1, YJ_I32, YJ_MIN));
    }
    return 0;
}

static void run_jobs(rank_fn *body, double share, const char *settings) {
    uint64_t state = first_seed;
    for (size_t t = 0; t < COUNT(transports); t++) {
        double until = time_now() + seconds * share / COUNT(transports);
        do {
            struct job job = {.seed = next_random(&state), .until = time_now() + 1 + seconds / 30};
            if (job.until > until) job.until = until;
            int n = 2 + (int)below(&state, 5);
            print_message("%s, %d ranks, seed %llu\n", transports[t], n, (unsigned long long)job.seed);
            struct ranks r = {.n = n,
                              .transport = transports[t],
                              .settings = settings,
                              .body = body,
                              .argument = &job,
                              .seconds = 100 + seconds};
            run_ranks(&r);
            for (int i = 0; i < n; i++)
                if (r.result[i]) fail_msg("rank %d returned %d", i, r.result[i]);
        } while (time_now() < until);
    }
}

static void test_random(void **state) {
    run_jobs(random_body, 0.8, NULL);
}
static void test_wrong(void **state) {
    run_jobs(wrong_body, 0.2, "silence=100");
}

static void quiet(void *user, enum yj_log_level level, const char *line) {}

int main(int argc, char **argv) {
    first_seed = (uint64_t)getpid() * 1000003 + (uint64_t)(time_now() * 1e6);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seconds")) seconds = atof(argv[i + 1]);
        if (!strcmp(argv[i], "--seed")) first_seed = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--test")) cmocka_set_test_filter(argv[i + 1]);
    }
    printf("random calls for %g s: --seed %llu\n", seconds, (unsigned long long)first_seed);
    yj_log_set(quiet, NULL, YJ_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

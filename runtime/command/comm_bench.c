/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin comm bench`: time of collectives between the ranks of a launcher, or between --ranks processes that it starts
 * itself. Figures are defined as in nccl-tests: bytes of the whole vector, algbw = bytes / time, busbw = algbw times
 * what each rank must at least move. A time is the median over blocks of calls of the slowest rank's mean.
 */
#include "runtime/command/comm.h"

#include "runtime/base/base.h"
#include <yunjin/comm.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "usage: yunjin comm bench [COLLECTIVE]... [--ranks N] [--bytes LIST|LOW..HIGH] [--dtype NAME] [--op NAME]\n"
    "                         [--blocks N] [--transport shm|tcp] [--json]\n"
    "Measures collectives (default all_reduce). Starts N local ranks, or joins those of mpirun, PMIx or torchrun.\n"
    "  --bytes    of the whole vector: 8,64K,1M or 8..64M (each the double of the one before; default 8..64M)\n"
    "  --dtype    f32, f64, f16, bf16, i32, ... (default f32)       --op   sum prod min max avg (default sum)\n"
    "  --blocks   measurements of which the median is taken (default 7)\n"
    "Columns are those of nccl-tests: size, count (elements a rank gives or gets), type, redop, root; then, with two\n"
    "buffers and in place, time, algbw and busbw (GB/s), #wrong: results that were not right (N/A: not looked at).\n"
    "Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

enum { MOST_SIZES = 64, MOST_BLOCKS = 101 };

struct row {
    uint32_t number;
    const char *name, *in, *out;
    bool sums, turns, heard;
};
static const struct row rows[] = {
#define COLLECTIVE(number, NAME, name, in, out, worth, rooted, doc)                                                    \
    {number, #name, #in, #out, sizeof #worth == 4 && #worth[1] == 'U', #worth[0] == 'T', #worth[0] == 'H'},
#include <yunjin/collectives.def>
#undef COLLECTIVE
};
static const char *const ops[] = {"", "sum", "prod", "min", "max", "avg"};

struct plan {
    const struct row *row[16];
    int nrows, ranks, blocks, nsizes;
    uint64_t bytes[MOST_SIZES];
    enum yj_dtype dtype;
    uint32_t op;
    const char *transport;
    bool json;
};

/* --- the command line --- */

static const struct row *row_named(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name) && strcmp(name, "send") && strcmp(name, "recv")) return &rows[i];
    return NULL;
}

static bool parse_sizes(const char *text, struct plan *plan) {
    char copy[512];
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    plan->nsizes = 0;
    char *dots = strstr(copy, ".."), *save;
    if (dots) {
        uint64_t low, high;
        *dots = 0;
        if (!comm_parse_bytes(copy, &low) || !comm_parse_bytes(dots + 2, &high) || !low || high < low) return false;
        for (uint64_t n = low; n <= high && plan->nsizes < MOST_SIZES; n *= 2)
            plan->bytes[plan->nsizes++] = n;
        return true;
    }
    for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save))
        if (plan->nsizes == MOST_SIZES || !comm_parse_bytes(s, &plan->bytes[plan->nsizes++])) return false;
    return plan->nsizes > 0;
}

static bool parse_dtype(const char *name, enum yj_dtype *dtype) {
    for (int d = 1; d < 64; d++)
        if (!strcmp(yj_dtype_name((enum yj_dtype)d), name)) {
            *dtype = (enum yj_dtype)d;
            return true;
        }
    return false;
}

static bool parse_op(const char *name, uint32_t *op) {
    for (uint32_t i = 1; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(ops[i], name)) {
            *op = i;
            return true;
        }
    return false;
}

/* OPTION may be "--name=VALUE"; VALUE NULL: it is missing. */
static int bad_value(const char *option, const char *value) {
    static const char *const wants[][2] = {
        {"--ranks", "a number from 1 to 4096"},
        {"--blocks", "a number from 1 to 101"},
        {"--bytes", "sizes such as 8,64K,1M, or LOW..HIGH with LOW from 1 to HIGH, such as 8..64M"},
        {"--op", "one of sum prod min max avg"},
        {"--transport", "shm or tcp"}};
    int n = (int)strcspn(option, "=");
    char want[256] = "one of";
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        if (!strncmp(option, wants[i][0], (size_t)n)) snprintf(want, sizeof want, "%s", wants[i][1]);
    for (int d = 1; d < 64 && !strncmp(option, "--dtype", (size_t)n); d++) {
        const char *name = yj_dtype_name((enum yj_dtype)d);
        size_t used = strlen(want);
        if (strcmp(name, "?")) snprintf(want + used, sizeof want - used, " %s", name);
    }
    if (!value) return comm_usage_error("bench", "%.*s: a value is missing: %s", n, option, want);
    return comm_usage_error("bench", "%.*s %s: it must be %s", n, option, value, want);
}

static int parse(int argc, char **argv, struct plan *plan) {
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        bool bad = false;
        const char *option = argv[i];
        if (!strcmp(option, "--json"))
            plan->json = true;
        else if (comm_option(argc, argv, &i, "--ranks", &value, &bad))
            bad = bad || !comm_parse_int(value, 1, 4096, &plan->ranks);
        else if (comm_option(argc, argv, &i, "--blocks", &value, &bad))
            bad = bad || !comm_parse_int(value, 1, MOST_BLOCKS, &plan->blocks);
        else if (comm_option(argc, argv, &i, "--bytes", &value, &bad))
            bad = bad || !parse_sizes(value, plan);
        else if (comm_option(argc, argv, &i, "--dtype", &value, &bad))
            bad = bad || !parse_dtype(value, &plan->dtype);
        else if (comm_option(argc, argv, &i, "--op", &value, &bad))
            bad = bad || !parse_op(value, &plan->op);
        else if (comm_option(argc, argv, &i, "--transport", &value, &bad))
            bad = bad || (strcmp(value, "shm") && strcmp(value, "tcp")), plan->transport = value;
        else if (*option == '-')
            return comm_usage_error("bench", "%s is unknown", option);
        else if (plan->nrows == 16 || !(plan->row[plan->nrows++] = row_named(option)))
            return comm_usage_error("bench", "no collective is called %s", option);
        if (bad) return bad_value(option, value);
    }
    if (!plan->nrows) plan->row[plan->nrows++] = row_named("all_reduce");
    return EXIT_DONE;
}

/* --- measuring --- */

struct result {
    const struct row *row;
    uint64_t bytes, count;
    double time[2], best[2]; /* [in place] */
    int calls, wrong[2];     /* -1: not looked at */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool each(const struct row *row) {
    return !strcmp(row->in, "OWN") || !strcmp(row->out, "OWN") || row->turns;
}

static double bus_factor(const struct row *row, int n) {
    if (row->number == YJ_ALL_REDUCE) return 2.0 * (n - 1) / n;
    return each(row) ? (double)(n - 1) / n : 1;
}

/* V, rounded once if it has to be, as an element. */
static void encode(enum yj_dtype dtype, double v, char element[static 8]) {
    float f = (float)v;
    uint64_t bits = v < 0x1p63 ? (uint64_t)(int64_t)v : 0;
    if (dtype == YJ_F32)
        memcpy(element, &f, sizeof f);
    else if (dtype == YJ_F64)
        memcpy(element, &v, sizeof v);
    if (dtype == YJ_F32 || dtype == YJ_F64) return;
    if (dtype == YJ_F16) bits = f32_to_f16(f);
    if (dtype == YJ_BF16) bits = f32_to_bf16(f);
    if (dtype == YJ_E4M3) bits = f32_to_e4m3(f);
    if (dtype == YJ_E5M2) bits = f32_to_e5m2(f);
    memcpy(element, &bits, sizeof bits);
}

/* Every whole number up to it is an element, so that no order of a sum or product below it rounds. */
static double exact_up_to(enum yj_dtype dtype) {
    switch (dtype) {
    case YJ_F32:
        return 0x1p24;
    case YJ_F16:
        return 0x1p11;
    case YJ_BF16:
        return 0x1p8;
    case YJ_E4M3:
        return 0x1p4;
    case YJ_E5M2:
        return 0x1p3;
    default:
        return dtype_kind(dtype) == 'f' ? 0x1p53 : dtype_kind(dtype) == 'b' ? 1 : 0x1p62;
    }
}

/* What rank R gives everywhere. */
static double given(int r) {
    return r % 3 + 1;
}

/* What SIZE ranks' numbers come to. False: on the way there is a number that the type cannot hold. */
static bool reduced(const struct plan *plan, int size, double *value) {
    double sum = 0, prod = 1;
    for (int r = 0; r < size; r++)
        sum += given(r), prod *= given(r);
    *value = plan->op == YJ_PROD  ? prod
             : plan->op == YJ_MIN ? 1
             : plan->op == YJ_MAX ? given(size < 3 ? size - 1 : 2)
                                  : sum;
    bool exact = *value <= exact_up_to(plan->dtype);
    if (plan->op == YJ_AVG) {
        exact &= dtype_kind(plan->dtype) == 'f' || *value <= 127; /* a sum that wraps has no mean */
        *value /= size;
    }
    return exact;
}

static void fill(void *buffer, uint64_t n, enum yj_dtype dtype, double v) {
    size_t bytes = yj_dtype_bytes(dtype);
    char element[8];
    encode(dtype, v, element);
    for (uint64_t k = 0; k < n; k++)
        memcpy((char *)buffer + k * bytes, element, bytes);
}

static bool all_are(const char *buffer, uint64_t n, enum yj_dtype dtype, double v) {
    size_t bytes = yj_dtype_bytes(dtype);
    char want[8];
    encode(dtype, v, want);
    for (uint64_t k = 0; k < n; k++)
        if (memcmp(buffer + k * bytes, want, bytes)) return false;
    return true;
}

static bool right(const struct row *row, const struct yj_comm *comm, const struct plan *plan, const char *recv,
                  uint64_t count, uint64_t total, double value) {
    int size = yj_comm_size(comm);
    size_t bytes = yj_dtype_bytes(plan->dtype);
    if (!strcmp(row->out, "NONE") || (!strcmp(row->out, "ROOT") && yj_comm_rank(comm) != 0)) return true;
    if (row->sums) return all_are(recv, !strcmp(row->out, "OWN") ? count : total, plan->dtype, value);
    if (!strcmp(row->in, "ROOT")) return all_are(recv, !strcmp(row->out, "OWN") ? count : total, plan->dtype, 1);
    for (int r = 0; r < size; r++)
        if (!all_are(recv + (uint64_t)r * count * bytes, count, plan->dtype, given(r))) return false;
    return true;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum yj_status block(struct yj_comm *comm, const struct yj_call *call, int calls, double *slowest) {
    enum yj_status status = yj_barrier(comm);
    double start = now();
    for (int i = 0; i < calls && status == YJ_OK; i++)
        status = yj_comm_call(comm, call);
    double mine = (now() - start) / calls;
    return status == YJ_OK ? yj_all_reduce(comm, &mine, slowest, 1, YJ_F64, YJ_MAX) : status;
}

/* SEND and RECV as the two ends of one memory. */
static void place(const struct row *row, struct yj_call *call, char *memory, int rank, size_t element) {
    size_t own = (size_t)rank * call->count * element;
    call->send = memory + (!strcmp(row->in, "OWN") ? own : 0);
    call->recv = memory + (!strcmp(row->out, "OWN") ? own : 0);
}

static enum yj_status measure_one(struct yj_comm *comm, const struct plan *plan, struct result *result,
                                  const struct yj_call *call, int in_place) {
    double slowest = 0, time[MOST_BLOCKS];
    enum yj_status status = block(comm, call, 2, &slowest);
    if (status == YJ_OK) status = block(comm, call, 5, &slowest);
    double target = result->bytes <= 65536 ? 0.02 : result->bytes <= 1 << 20 ? 0.04 : 0.12;
    double n = target / (slowest + 1e-9);
    result->calls = n < 3 ? 3 : n > 20000 ? 20000 : (int)n;
    for (int b = 0; b < plan->blocks && status == YJ_OK; b++)
        status = block(comm, call, result->calls, &time[b]);
    if (status != YJ_OK) return status;
    qsort(time, (size_t)plan->blocks, sizeof *time, by_value);
    result->time[in_place] = time[plan->blocks / 2];
    result->best[in_place] = time[0];
    return YJ_OK;
}

/* One call whose result is looked at, then the times. */
static enum yj_status measure_placed(struct yj_comm *comm, const struct plan *plan, struct result *result,
                                     struct yj_call *call, char *memory[2], uint64_t total, int in_place) {
    const struct row *row = result->row;
    int rank = yj_comm_rank(comm);
    double value = 0;
    bool can = row->heard || !row->sums || reduced(plan, yj_comm_size(comm), &value);
    fill(memory[0], total, plan->dtype, given(rank));
    fill(memory[1], total, plan->dtype, 0);
    call->send = memory[0], call->recv = memory[1];
    if (in_place) place(row, call, memory[0], rank, yj_dtype_bytes(plan->dtype));
    enum yj_status status = yj_comm_call(comm, call);
    int64_t wrong =
        !row->heard && status == YJ_OK && can && !right(row, comm, plan, call->recv, call->count, total, value);
    int64_t any = 0;
    if (status == YJ_OK) status = yj_all_reduce(comm, &wrong, &any, 1, YJ_I64, YJ_SUM);
    result->wrong[in_place] = can ? (int)any : -1;
    fill(memory[0], total, plan->dtype, 0); /* sums in place stay small */
    return status == YJ_OK ? measure_one(comm, plan, result, call, in_place) : status;
}

static enum yj_status measure(struct yj_comm *comm, const struct plan *plan, struct result *result) {
    const struct row *row = result->row;
    int size = yj_comm_size(comm);
    size_t element = yj_dtype_bytes(plan->dtype);
    uint64_t total = result->bytes / element, count = each(row) ? total / (uint64_t)size : total;
    if (count == 0 && !row->heard) count = 1;
    total = each(row) ? count * (uint64_t)size : count;
    result->count = row->heard ? 0 : count;
    result->bytes = row->heard ? 0 : total * element;
    char *memory[2];
    for (int i = 0; i < 2; i++)
        memory[i] = aligned_alloc(4096, (total * element + 4096) / 4096 * 4096);
    struct yj_call call = {.size = sizeof call,
                           .collective = row->number,
                           .count = count,
                           .dtype = plan->dtype,
                           .op = row->sums ? plan->op : 0};
    enum yj_status status = memory[0] && memory[1] ? YJ_OK : YJ_ERR_MEMORY;
    for (int in_place = 0; in_place < 2 && status == YJ_OK; in_place++)
        status = measure_placed(comm, plan, result, &call, memory, total, in_place);
    free(memory[0]), free(memory[1]);
    return status;
}

/* --- printing, rank 0 --- */

static json_t *as_json(const struct plan *plan, const struct result *r, int size, int in_place) {
    double alg = (double)r->bytes / r->time[in_place] / 1e9;
    return json_pack("{s:s, s:I, s:I, s:s, s:b, s:f, s:f, s:f, s:f, s:i, s:i}", "collective", r->row->name, "bytes",
                     (json_int_t)r->bytes, "count", (json_int_t)r->count, "dtype", yj_dtype_name(plan->dtype),
                     "in_place", in_place, "time_us", r->time[in_place] * 1e6, "best_us", r->best[in_place] * 1e6,
                     "algbw_GBs", alg, "busbw_GBs", alg * bus_factor(r->row, size), "calls", r->calls, "wrong",
                     r->wrong[in_place]);
}

static void print(const struct plan *plan, const struct result *r, int size, json_t *cases) {
    bool rooted = !strcmp(r->row->in, "ROOT") || !strcmp(r->row->out, "ROOT");
    if (!plan->json)
        printf("%12llu %12llu %8s %7s %6d", (unsigned long long)r->bytes, (unsigned long long)r->count,
               yj_dtype_name(plan->dtype), r->row->sums ? ops[plan->op] : "none", rooted ? 0 : -1);
    for (int in_place = 0; in_place < 2; in_place++) {
        double alg = (double)r->bytes / r->time[in_place] / 1e9;
        char wrong[16] = "N/A";
        if (r->wrong[in_place] >= 0) snprintf(wrong, sizeof wrong, "%d", r->wrong[in_place]);
        if (plan->json)
            json_array_append_new(cases, as_json(plan, r, size, in_place));
        else
            printf(" %9.2f %7.3f %7.3f %6s", r->time[in_place] * 1e6, alg, alg * bus_factor(r->row, size), wrong);
    }
    if (!plan->json) printf("\n");
    fflush(stdout);
}

static void head(const struct plan *plan, const struct row *row, struct yj_comm *comm) {
    if (plan->json) return;
    printf("# %s, %d ranks\n#%11s %12s %8s %7s %6s %32s %32s\n", row->name, yj_comm_size(comm), "", "", "", "", "",
           "out-of-place         ", "in-place           ");
    printf("#%11s %12s %8s %7s %6s", "size", "count", "type", "redop", "root");
    for (int i = 0; i < 2; i++)
        printf(" %9s %7s %7s %6s", "time", "algbw", "busbw", "#wrong");
    printf("\n#%11s %12s %8s %7s %6s", "(B)", "(elements)", "", "", "");
    for (int i = 0; i < 2; i++)
        printf(" %9s %7s %7s %6s", "(us)", "(GB/s)", "(GB/s)", "");
    printf("\n");
}

static enum yj_status run(struct yj_comm *comm, const struct plan *plan, json_t *cases, int *wrong) {
    bool first = yj_comm_rank(comm) == 0;
    int size = yj_comm_size(comm), n = 0, looked = 0;
    double bus = 0;
    for (int i = 0; i < plan->nrows; i++) {
        const struct row *row = plan->row[i];
        if (first) head(plan, row, comm);
        for (int s = 0; s < (row->heard ? 1 : plan->nsizes); s++) {
            struct result result = {.row = row, .bytes = plan->bytes[s], .wrong = {-1, -1}};
            enum yj_status status = measure(comm, plan, &result);
            if (status != YJ_OK) return status;
            if (first) print(plan, &result, size, cases);
            for (int k = 0; k < 2; k++, n++) {
                *wrong += result.wrong[k] > 0;
                looked += result.wrong[k] >= 0;
                bus += (double)result.bytes / result.time[k] / 1e9 * bus_factor(row, size);
            }
        }
    }
    if (!first || plan->json) return YJ_OK;
    printf("# Out of bounds values : ");
    if (looked)
        printf("%d %s", *wrong, *wrong ? "FAILED" : "OK");
    else
        printf("N/A");
    if (looked < n)
        printf(" (%d of %d results not looked at: the %s of %d ranks may round in %s)", n - looked, n, ops[plan->op],
               size, yj_dtype_name(plan->dtype));
    printf("\n# Avg bus bandwidth    : %g\n", n ? bus / n : 0);
    return YJ_OK;
}

/* --- ranks --- */

/* Starts ranks 1.. as children; this process is rank 0. */
static enum yj_status fork_ranks(struct yj_comm_local *local, int ranks, pid_t *child, int *rank) {
    enum yj_status status = yj_comm_local(ranks, local);
    *rank = 0;
    for (int r = 1; r < ranks && status == YJ_OK; r++) {
        child[r] = fork();
        if (child[r] < 0) status = YJ_ERR_IO;
        if (child[r] == 0) {
            *rank = r;
            break;
        }
    }
    local->options.rank = *rank;
    return status;
}

static int finish(const struct plan *plan, int size, enum yj_status status, json_t *cases, int wrong) {
    if (status != YJ_OK) {
        json_decref(cases);
        return comm_failed("bench", status);
    }
    if (plan->json) {
        json_t *summary =
            json_pack("{s:i, s:i, s:i}", "ranks", size, "cases", (int)json_array_size(cases), "wrong", wrong);
        int code = comm_write_json("comm bench", summary, cases);
        return code ? code : wrong ? EXIT_MACHINE : EXIT_DONE;
    }
    json_decref(cases);
    return wrong ? EXIT_MACHINE : EXIT_DONE;
}

int command_comm_bench(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return fputs(help, stdout) < 0 ? EXIT_MACHINE : EXIT_DONE;
    struct plan plan = {.blocks = 7, .dtype = YJ_F32, .op = YJ_SUM};
    parse_sizes("8..64M", &plan);
    int code = parse(argc, argv, &plan);
    if (code) return code;
    struct yj_comm_local local;
    struct yj_comm_options options = {.size = sizeof options};
    char settings[64] = "";
    pid_t child[4096] = {0};
    int rank = 0, wrong = 0, size = 1;
    enum yj_status status = YJ_OK;
    fflush(NULL);
    if (plan.ranks > 0) status = fork_ranks(&local, plan.ranks, child, &rank);
    if (plan.ranks > 0) options = local.options;
    if (plan.transport)
        snprintf(settings, sizeof settings, "transport=%s", plan.transport), options.settings = settings;
    json_t *cases = json_array();
    struct yj_comm *comm = NULL;
    if (status == YJ_OK) status = yj_comm_open(&options, &comm);
    if (status == YJ_OK) {
        rank = yj_comm_rank(comm), size = yj_comm_size(comm);
        status = run(comm, &plan, cases, &wrong);
    }
    if (rank) { /* rank 0 says what went wrong */
        yj_comm_close(comm);
        json_decref(cases);
        if (plan.ranks > 0) _exit(status == YJ_OK ? 0 : comm_exit_code(status));
        return status == YJ_OK ? EXIT_DONE : comm_exit_code(status);
    }
    code = finish(&plan, size, status, cases, wrong);
    yj_comm_close(comm);
    for (int r = 1; r < plan.ranks; r++)
        if (child[r] > 0) waitpid(child[r], NULL, 0);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin run`: words, compiling a .onnx first, and ranks: one process, N processes of this machine, or those of a
 * launcher.
 */
#include "runtime/command/run.h"

#include "runtime/program.h" /* profile_merge, pool_default_threads */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yunjin/comm.h>

static const char help[] =
    "usage: yunjin run MODEL.onnx|OUT.yj [OPTION]...\n"
    "  --input NAME=FILE      .npy or TensorProto .pb, for an input or a state; many times. FILE alone: the one "
    "input.\n"
    "                         A folder: its input_0.pb, input_1.pb, ...\n"
    "  --random SEED          random numbers for the other inputs; --dim NAME=N chooses sizes\n"
    "  --output DIR           write every output there as NAME.npy (bf16 and fp8: NAME.pb)\n"
    "  --compare DIR          compare every output with NAME.npy, NAME.pb or output_I.pb there\n"
    "  --repeat N             run N times from the same start; the median is said\n"
    "  --ranks N|numa         start N ranks here, or one for each NUMA node, bound to it\n"
    "  --emulate              run the kernels of a program for another chip (--target NAME) under its emulator\n"
    "  --threads N            per rank (default: YUNJIN_THREADS, else the cores, shared by the ranks)\n"
    "  --profile FILE         a Chrome trace of all ranks\n"
    "  --json                 times, memory and comparisons as JSON\n"
    "For a .onnx also the options of compile: --target, --shard, --dim NAME=LO..HI, --state, --passes, --no-cache.\n"
    "Under mpirun, PMIx or torchrun each process is one rank.\n"
    "Exit: 0 done, 1 input (or outputs differ), 2 command line, 3 machine.\n";

struct run_words {
    struct run_job job;
    struct compile_words compile;
    const char *ranks;
    int n_ranks;
    bool numa;
};

static bool read_words(int argc, char **argv, struct run_words *r, int *code) {
    struct words w = words_of(argc, argv);
    const char *plain;
    while (words_left(&w)) {
        if (word_flag(&w, "--help") || word_flag(&w, "-h")) {
            *code = fputs(help, stdout) < 0 ? MACHINE : DONE;
            return false;
        }
        if (word_list(&w, "--input", &r->job.inputs) || compile_word(&w, &r->compile) ||
            word_option(&w, "--output", &r->job.output) || word_option(&w, "--compare", &r->job.compare) ||
            word_number(&w, "--repeat", 1, 1000000, &r->job.repeat) || word_option(&w, "--ranks", &r->ranks) ||
            word_number(&w, "--threads", 1, 1024, &r->job.threads) || word_option(&w, "--profile", &r->job.profile))
            continue;
        if (word_number(&w, "--random", INT64_MIN, INT64_MAX, &r->job.seed))
            r->job.random = true;
        else if (word_flag(&w, "--json"))
            r->job.json = true;
        else if (word_flag(&w, "--emulate"))
            r->job.emulate = true;
        else if (!r->job.model && (plain = word_plain(&w)))
            r->job.model = plain;
        else
            word_unknown(&w);
    }
    if (!r->job.model) words_missing(&w, "MODEL");
    if (!w.bad && r->ranks) {
        char *end;
        long n = strtol(r->ranks, &end, 10);
        r->numa = strcmp(r->ranks, "numa") == 0;
        if (!r->numa && (*end || n < 1 || n > 4096)) {
            fprintf(stderr, "yunjin run: --ranks %s: a number from 1 to 4096, or numa\n", r->ranks);
            w.bad = true;
        }
        r->n_ranks = r->numa ? 0 : (int)n;
    }
    r->job.dims = r->compile.dims;
    *code = COMMAND_LINE;
    return !w.bad;
}

/* --- NUMA nodes, from what the kernel says of itself --- */

/* The processors of "0-3,8-11". */
static bool read_cpus(const char *path, cpu_set_t *set) {
    char text[4096];
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(text, sizeof text, f);
    if (f) fclose(f);
    CPU_ZERO(set);
    for (char *at = text; ok && *at && *at != '\n';) {
        long low = strtol(at, &at, 10), high = *at == '-' ? strtol(at + 1, &at, 10) : low;
        for (long c = low; c >= 0 && c <= high && c < CPU_SETSIZE; c++)
            CPU_SET((size_t)c, set);
        if (*at == ',')
            at++;
        else
            break;
    }
    return ok && CPU_COUNT(set) > 0;
}

/* The processors of node number INDEX of those that have any this process may use; false: there are not so many. */
static bool numa_node(int index, cpu_set_t *set) {
    cpu_set_t allowed, node;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0) return false;
    for (int i = 0; i < 1024; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", i);
        if (!read_cpus(path, &node)) continue;
        CPU_AND(set, &node, &allowed);
        if (CPU_COUNT(set) > 0 && index-- == 0) return true;
    }
    return false;
}

/* --- ranks --- */

static void part_name(const char *path, int rank, char *part, size_t room) {
    snprintf(part, room, "%s.rank%d", path, rank);
}

static int merge_profiles(const char *path, int n) {
    char **parts = calloc((size_t)n, sizeof *parts);
    enum yj_status status = parts ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; i < n && status == YJ_OK; i++) {
        if (!(parts[i] = malloc(strlen(path) + 32)))
            status = report(YJ_ERR_MEMORY, "out of memory");
        else
            part_name(path, i, parts[i], strlen(path) + 32);
    }
    if (status == YJ_OK) status = profile_merge(path, n, parts);
    for (int i = 0; parts && i < n && parts[i]; i++) {
        if (status == YJ_OK) unlink(parts[i]);
        free(parts[i]);
    }
    free(parts);
    return status == YJ_OK ? DONE : command_failed("run", status);
}

/* In the process of one rank; OPTIONS NULL: from the launcher. */
static int run_rank(struct run_job job, const struct yj_comm_options *options) {
    char name[64], part[4096];
    struct yj_comm *comm = NULL;
    enum yj_status status = yj_comm_open(options, &comm);
    if (status != YJ_OK) return command_failed("run", status);
    int rank = yj_comm_rank(comm), ranks = yj_comm_size(comm);
    snprintf(name, sizeof name, "run: rank %d", rank);
    job.command = name;
    job.quiet = rank > 0;
    job.comm = comm;
    const char *whole = job.profile;
    if (whole && ranks > 1) {
        part_name(whole, rank, part, sizeof part);
        job.profile = part;
    }
    int code = run_model(&job);
    struct yj_call meet = {.size = sizeof meet, .collective = YJ_BARRIER, .name = "profile"};
    if (code == DONE && job.profile && ranks > 1) { /* all parts are there: the first rank joins them */
        status = yj_comm_call(comm, &meet);
        if (status != YJ_OK)
            code = command_failed(name, status);
        else if (rank == 0)
            code = merge_profiles(whole, ranks);
    }
    yj_comm_close(comm);
    return code;
}

/* Waits for all; when one has failed the others get ten seconds to notice. The exit code is the first failure's. */
static int reap(pid_t *child, int n) {
    int code = DONE, left = n;
    double until = 0;
    while (left > 0) {
        int how, rank = 0;
        pid_t pid = waitpid(-1, &how, until > 0 ? WNOHANG : 0);
        if (pid < 0 && errno != EINTR) break;
        if (pid <= 0) {
            if (until > 0 && time_now() > until) {
                for (int i = 0; i < n; i++) {
                    if (child[i] > 0) kill(child[i], SIGKILL);
                }
                until = time_now() + 3600;
            }
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
            continue;
        }
        while (rank < n && child[rank] != pid)
            rank++;
        if (rank == n) continue;
        child[rank] = 0;
        left--;
        int this = WIFEXITED(how) ? WEXITSTATUS(how) : MACHINE;
        if (WIFSIGNALED(how) && until == 0)
            fprintf(stderr, "yunjin run: rank %d was killed by signal %d (%s)\n", rank, WTERMSIG(how),
                    strsignal(WTERMSIG(how)));
        if (this && !code) {
            code = this;
            until = time_now() + 10;
        }
    }
    return code;
}

static int run_ranks(struct run_words *r) {
    cpu_set_t node;
    int n = r->n_ranks;
    if (r->numa) {
        while (n < 1024 && numa_node(n, &node))
            n++;
        if (n == 0) n = 1;
    }
    struct yj_comm_local local;
    enum yj_status status = yj_comm_local(n, &local);
    if (status != YJ_OK) return command_failed("run", status);
    pid_t *child = calloc((size_t)n, sizeof *child), parent = getpid();
    if (!child) return command_failed("run", report(YJ_ERR_MEMORY, "out of memory"));
    if (!r->job.threads && !getenv("YUNJIN_THREADS"))
        r->job.threads = r->numa ? 0 : max64(1, pool_default_threads() / n);
    fflush(NULL);
    int started = 0;
    for (; started < n; started++) {
        child[started] = fork();
        if (child[started] < 0) break;
        if (child[started] > 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no rank outlives the command */
        if (getppid() != parent) _exit(MACHINE);
        if (r->numa && numa_node(started, &node)) sched_setaffinity(0, sizeof node, &node);
        local.options.rank = started;
        int code = run_rank(r->job, &local.options);
        fflush(NULL);
        _exit(code);
    }
    if (started < n) {
        fprintf(stderr, "yunjin run: rank %d cannot be started: %s\n", started, strerror(errno));
        for (int i = 0; i < started; i++)
            kill(child[i], SIGKILL);
    }
    int code = reap(child, started);
    free(child);
    return started < n ? MACHINE : code;
}

static bool has_launcher(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "WORLD_SIZE"};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (getenv(names[i])) return true;
    }
    return false;
}

static enum yj_status compile_first(struct run_words *r, char *folder, size_t room, char *temporary,
                                    size_t temporary_room) {
    TRY(make_temporary(temporary, temporary_room));
    snprintf(folder, room, "%s/model.yj", temporary);
    struct yj_compile_options *o = &r->compile.o;
    o->size = sizeof *o;
    o->model = r->job.model;
    o->output = folder;
    o->n_dims = r->compile.dims.n, o->dims = r->compile.dims.word;
    o->n_states = r->compile.states.n, o->states = r->compile.states.word;
    return compile_apart(o, NULL);
}

int command_run(int argc, char **argv) {
    static struct run_words r = {.job = {.command = "run", .repeat = 1}};
    char temporary[3072] = "", folder[4096];
    int code;
    if (!read_words(argc, argv, &r, &code)) return code;
    enum yj_status status = check_there(r.job.model);
    if (status == YJ_OK && is_folder(r.job.model)) {
        r.job.folder = r.job.model;
        r.job.target = r.compile.o.targets;
    } else if (status == YJ_OK) {
        status = compile_first(&r, folder, sizeof folder, temporary, sizeof temporary);
        r.job.folder = folder;
    }
    if (status != YJ_OK)
        code = command_failed("run", status);
    else if (r.ranks)
        code = run_ranks(&r);
    else
        code = has_launcher() ? run_rank(r.job, NULL) : run_model(&r.job);
    if (*temporary) remove_temporary(temporary);
    return code;
}

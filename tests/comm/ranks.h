/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a function as N ranks of one job over a transport: threads (mem), or forked processes (shm, tcp) whose exit code
 * is what the function returned. A child that a signal ended counts as -signal. Nothing waits longer than its deadline.
 */
#ifndef TESTS_COMM_RANKS_H
#define TESTS_COMM_RANKS_H

#include "comm/mem.h"
#include "runtime/base/base.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yunjin/comm.h>

#include <cmocka.h>

/* Returns 0 when all is well; prints and returns non-zero otherwise. */
typedef int rank_fn(struct yj_comm *comm, void *argument);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: rank %d of %d: %s (error text: %s)\n", __FILE__, __LINE__, yj_comm_rank(comm),     \
                    yj_comm_size(comm), #condition, yj_error_text());                                                  \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)
#define CHECK_OK(call) CHECK((call) == YJ_OK)

enum { MOST_RANKS = 16 };
struct ranks {
    int n;
    const char *transport; /* "mem", "shm", "tcp" */
    const char *settings;
    rank_fn *body;
    void *argument;
    struct mem_faults faults;
    double seconds;         /* 0: 60 */
    int result[MOST_RANKS]; /* of the function; -signal; 1000: it did not end in time; 1001: open failed */
};

struct rank_thread {
    struct ranks *ranks;
    struct yj_comm *comm;
    int rank;
};

static void *rank_thread(void *argument) {
    struct rank_thread *t = argument;
    t->ranks->result[t->rank] = t->ranks->body(t->comm, t->ranks->argument);
    yj_comm_close(t->comm);
    return NULL;
}

static void run_threads(struct ranks *r) {
    struct yj_comm *comm[MOST_RANKS];
    struct rank_thread t[MOST_RANKS];
    pthread_t thread[MOST_RANKS];
    struct yj_comm_options options = {.size = sizeof options, .settings = r->settings};
    if (yj_comm_open_threads(r->n, &options, comm) != YJ_OK) fail_msg("open: %s", yj_error_text());
    mem_faults_set(comm[0], &r->faults);
    for (int i = 0; i < r->n; i++) {
        t[i] = (struct rank_thread){r, comm[i], i};
        pthread_create(&thread[i], NULL, rank_thread, &t[i]);
    }
    for (int i = 0; i < r->n; i++)
        pthread_join(thread[i], NULL);
}

static void run_processes(struct ranks *r) {
    struct yj_comm_local local;
    pid_t pid[MOST_RANKS];
    char settings[256];
    if (yj_comm_local(r->n, &local) != YJ_OK) fail_msg("local: %s", yj_error_text());
    snprintf(settings, sizeof settings, "transport=%s%s%s", r->transport, r->settings ? "," : "",
             r->settings ? r->settings : "");
    fflush(NULL);
    for (int i = 0; i < r->n; i++) {
        pid[i] = fork();
        if (pid[i]) continue;
        struct yj_comm *comm;
        alarm((unsigned)r->seconds + 5);
        signal(SIGSEGV, SIG_DFL), signal(SIGBUS, SIG_DFL); /* of CMocka, whose handler would go on with other tests */
        local.options.rank = i;
        local.options.settings = settings;
        local.options.deadline = 10;
        if (yj_comm_open(&local.options, &comm) != YJ_OK) {
            fprintf(stderr, "open: %s\n", yj_error_text());
            _exit(233);
        }
        int result = r->body(comm, r->argument);
        yj_comm_close(comm);
        fflush(NULL);
        exit(result);
    }
    double until = time_now() + r->seconds;
    for (int left = r->n, done[MOST_RANKS] = {0}; left;) {
        for (int i = 0; i < r->n; i++) {
            int status;
            if (done[i]) continue;
            bool late = time_now() > until;
            if (late) kill(pid[i], SIGKILL);
            if (waitpid(pid[i], &status, late ? 0 : WNOHANG) != pid[i]) continue;
            done[i] = 1;
            left--;
            r->result[i] = late ? 1000 : WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
            if (r->result[i] == 233) r->result[i] = 1001;
        }
        usleep(1000);
    }
}

static void run_ranks(struct ranks *r) {
    if (r->seconds == 0) r->seconds = 60;
    if (!strcmp(r->transport, "mem"))
        run_threads(r);
    else
        run_processes(r);
}

/* All ranks must return 0. */
static inline void run_all(int n, const char *transport, const char *settings, rank_fn *body, void *argument) {
    struct ranks r = {.n = n, .transport = transport, .settings = settings, .body = body, .argument = argument};
    run_ranks(&r);
    for (int i = 0; i < n; i++)
        if (r.result[i]) fail_msg("rank %d of %d over %s returned %d", i, n, transport, r.result[i]);
}

static inline uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif

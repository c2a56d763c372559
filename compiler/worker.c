/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiles kernels in worker processes, because LLVM ends its process when it cannot select an instruction. The one
 * idea: a worker is a fork that takes the next kernel's number from shared memory, says "begin" before it starts and
 * sends the object after; so when it dies, the parent knows which kernel did it, goes on with the others in a new
 * worker, and gives the guilty one a second try as scalar code.
 */
#include "compiler/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_A_KERNEL 120
#define MAX_WORKERS 64

enum message_kind { MESSAGE_BEGIN, MESSAGE_OBJECT, MESSAGE_REFUSED };
struct message {
    int32_t kind, index, status, reserved;
    uint64_t bytes;
}; /* then the object, or the error line */

/* One pass over kernels that have no object yet. */
struct pass {
    struct emit_options emit;
    const struct kernel *const *kernels;
    int n;
    const int *todo; /* their numbers */
    int n_todo;
    _Atomic int *next; /* shared with the workers: index into todo */
    struct compiled *out;
    enum yj_status *status; /* of each kernel */
    char **why;             /* malloc'ed line for each that failed */
};

struct worker {
    pid_t child;
    int pipe, errors, kernel;
    char *part;
    size_t got;
    struct message head;
};

/* --- in the worker --- */

static bool put(int file, const void *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(file, (const char *)data + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* For tests: YUNJIN_KILL_WORKER=NAME kills the worker of the kernel NAME, NAME! also when it compiles scalar code. */
static void fault_injection(const struct pass *p, const struct kernel *k) {
    const char *name = getenv("YUNJIN_KILL_WORKER");
    size_t n = strlen(k->name);
    if (!name || strncmp(name, k->name, n) != 0) return;
    if ((name[n] == 0 && !p->emit.scalar) || strcmp(name + n, "!") == 0) raise(SIGKILL);
}

static void work(const struct pass *p, int file) {
    for (;;) {
        int at = atomic_fetch_add(p->next, 1);
        if (at >= p->n_todo) return;
        struct message m = {MESSAGE_BEGIN, p->todo[at], 0, 0, 0};
        char *object = NULL;
        size_t bytes = 0;
        if (!put(file, &m, sizeof m)) return;
        fault_injection(p, p->kernels[m.index]);
        alarm(SECONDS_A_KERNEL);
        m.status = (int32_t)emit_llvm(&p->emit, &p->kernels[m.index], 1, EMIT_OBJECT, &object, &bytes);
        alarm(0);
        const char *data = m.status == YJ_OK ? object : yj_error_text();
        m.kind = m.status == YJ_OK ? MESSAGE_OBJECT : MESSAGE_REFUSED;
        m.bytes = m.status == YJ_OK ? bytes : strlen(data);
        if (!put(file, &m, sizeof m) || !put(file, data, m.bytes)) return;
        free(object);
    }
}

/* --- in the parent --- */

static enum yj_status start_worker(struct pass *p, struct worker *all, int n, struct worker *w) {
    int ends[2];
    if (pipe(ends)) return report(YJ_ERR_IO, "pipe: %s", strerror(errno));
    *w = (struct worker){.pipe = ends[0], .errors = memfd_create("worker", 0), .kernel = -1};
    w->child = w->errors < 0 ? -1 : fork();
    if (w->child == 0) {
        for (int i = 0; i < n; i++)
            if (all[i].child > 0 && &all[i] != w) close(all[i].pipe);
        close(ends[0]);
        dup2(w->errors, 2);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGABRT, SIG_DFL);
        work(p, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (w->child > 0) return YJ_OK;
    int error = errno;
    close(w->pipe);
    if (w->errors >= 0) close(w->errors);
    return report(YJ_ERR_IO, "cannot start a compile worker: %s", strerror(error));
}

static void keep_reason(struct pass *p, int kernel, enum yj_status status, const char *text) {
    p->status[kernel] = status;
    free(p->why[kernel]);
    p->why[kernel] = strdup(text ? text : "out of memory");
}

/* What the worker wrote to stderr: LLVM's last line is why it died. */
static void last_words(int file, char *line, size_t room) {
    char text[4096];
    off_t end = lseek(file, 0, SEEK_END);
    ssize_t n = pread(file, text, sizeof text - 1, end > (off_t)sizeof text ? end - (off_t)sizeof text + 1 : 0);
    text[n > 0 ? n : 0] = 0;
    char *error = strstr(text, "LLVM ERROR:"), *stop;
    if (!error) error = text;
    if ((stop = strchr(error, '\n'))) *stop = 0;
    snprintf(line, room, "%.400s", error);
}

/* LLVM takes an unknown processor or feature as none and only prints a line about it. */
static enum yj_status check_names(const struct pass *p, int file) {
    char text[4096];
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    char *bad = strstr(text, "is not a recognized");
    if (!bad) return YJ_OK;
    while (bad > text && bad[-1] != '\n')
        bad--;
    bad[strcspn(bad, "\n")] = 0;
    return report(YJ_ERR_INPUT, "target %s: LLVM says: %s", p->emit.target->name, bad);
}

/* The worker's pipe has ended. */
static enum yj_status end_worker(struct pass *p, struct worker *w) {
    int status = 0;
    while (waitpid(w->child, &status, 0) < 0 && errno == EINTR)
        continue;
    enum yj_status names = check_names(p, w->errors);
    if (w->kernel >= 0) {
        char words[512];
        struct text line = {0};
        last_words(w->errors, words, sizeof words);
        text_add(&line, "kernel %s for %s: ", p->kernels[w->kernel]->name, p->emit.target->name);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            text_add(&line, "it took more than %d s", SECONDS_A_KERNEL);
        else if (WIFSIGNALED(status))
            text_add(&line, "the compile worker died of signal %d%s%s", WTERMSIG(status), *words ? ": " : "", words);
        else
            text_add(&line, "the compile worker ended with code %d%s%s", WEXITSTATUS(status), *words ? ": " : "",
                     words);
        keep_reason(p, w->kernel, YJ_ERR_INTERNAL, line.data);
        text_free(&line);
    }
    close(w->pipe);
    close(w->errors);
    free(w->part);
    w->child = 0;
    return names;
}

static enum yj_status take_message(struct pass *p, struct worker *w) {
    const struct message *m = &w->head;
    if (m->index < 0 || m->index >= p->n) return report(YJ_ERR_INTERNAL, "a compile worker sent nonsense");
    w->kernel = m->kind == MESSAGE_BEGIN ? m->index : -1;
    if (m->kind == MESSAGE_OBJECT) {
        p->out[m->index] = (struct compiled){w->part, m->bytes, p->emit.scalar, false};
        p->status[m->index] = YJ_OK;
        w->part = NULL;
    } else if (m->kind == MESSAGE_REFUSED) {
        keep_reason(p, m->index, (enum yj_status)m->status, w->part);
    }
    free(w->part);
    w->part = NULL;
    w->got = 0;
    return YJ_OK;
}

/* Reads what is there; *ENDED when the pipe has ended. */
static enum yj_status read_worker(struct pass *p, struct worker *w, bool *ended) {
    bool head = w->got < sizeof w->head;
    char *to = head ? (char *)&w->head + w->got : w->part + (w->got - sizeof w->head);
    size_t want = head ? sizeof w->head - w->got : w->head.bytes - (w->got - sizeof w->head);
    ssize_t n = read(w->pipe, to, want);
    if (n < 0 && errno == EINTR) return YJ_OK;
    if (n <= 0) {
        *ended = true;
        return YJ_OK;
    }
    w->got += (size_t)n;
    if (w->got == sizeof w->head) {
        w->part = w->head.bytes < (UINT64_C(1) << 31) ? calloc(1, w->head.bytes + 1) : NULL;
        if (!w->part)
            return report(YJ_ERR_MEMORY, "out of memory for an object of %llu bytes",
                          (unsigned long long)w->head.bytes);
    }
    return w->got >= sizeof w->head && w->got - sizeof w->head == w->head.bytes ? take_message(p, w) : YJ_OK;
}

static bool work_left(const struct pass *p) {
    return atomic_load(p->next) < p->n_todo;
}

static enum yj_status serve_workers(struct pass *p, struct worker *all, int n) {
    enum yj_status status = YJ_OK;
    for (;;) {
        struct pollfd polls[MAX_WORKERS];
        int alive = 0;
        for (int i = 0; i < n; i++) {
            polls[i] = (struct pollfd){all[i].child > 0 ? all[i].pipe : -1, POLLIN, 0};
            alive += all[i].child > 0;
        }
        if (!alive) return status;
        if (poll(polls, (nfds_t)n, -1) < 0 && errno != EINTR) return report(YJ_ERR_IO, "poll: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            bool ended = false;
            if (all[i].child <= 0 || !(polls[i].revents & (POLLIN | POLLHUP | POLLERR))) continue;
            TRY(read_worker(p, &all[i], &ended));
            if (!ended) continue;
            enum yj_status names = end_worker(p, &all[i]);
            if (names != YJ_OK) status = names;
            if (status == YJ_OK && work_left(p)) TRY(start_worker(p, all, n, &all[i]));
        }
    }
}

static enum yj_status run_pass(struct pass *p, int workers) {
    struct worker all[MAX_WORKERS] = {0};
    if (p->n_todo == 0) return YJ_OK;
    if (workers <= 0) workers = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (workers > p->n_todo) workers = p->n_todo;
    if (workers > MAX_WORKERS) workers = MAX_WORKERS;
    p->next = mmap(NULL, sizeof *p->next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->next == MAP_FAILED) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = YJ_OK;
    for (int i = 0; i < workers && status == YJ_OK; i++)
        status = start_worker(p, all, workers, &all[i]);
    if (status == YJ_OK) status = serve_workers(p, all, workers);
    for (int i = 0; i < workers; i++) {
        if (all[i].child <= 0) continue;
        kill(all[i].child, SIGKILL);
        all[i].kernel = -1;
        end_worker(p, &all[i]);
    }
    munmap((void *)p->next, sizeof *p->next);
    return status;
}

/* --- the door --- */

/* The numbers of the kernels without an object. */
static int list_missing(const struct compiled *out, int n, int *todo) {
    int missing = 0;
    for (int i = 0; i < n; i++)
        if (!out[i].object) todo[missing++] = i;
    return missing;
}

static enum yj_status from_cache(struct pass *p) {
    for (int i = 0; i < p->n; i++) {
        struct cache_key key;
        TRY(cache_key_of(&p->emit, p->kernels[i], &key));
        p->out[i].cached = cache_get(&key, &p->out[i].object, &p->out[i].bytes);
    }
    return YJ_OK;
}

static enum yj_status to_cache(const struct pass *p) {
    for (int i = 0; i < p->n; i++) {
        struct cache_key key;
        if (p->out[i].cached || p->out[i].scalar || !p->out[i].object) continue;
        TRY(cache_key_of(&p->emit, p->kernels[i], &key));
        cache_put(&key, p->out[i].object, p->out[i].bytes);
    }
    return YJ_OK;
}

static const char *why(const struct pass *p, int kernel) {
    return p->why[kernel] ? p->why[kernel] : "a kernel came back without code";
}

static enum yj_status compile_all(struct pass *p, const struct compile_options *options, int *todo) {
    p->emit =
        (struct emit_options){.target = options->target, .vector_bits = options->vector_bits, .text = options->text};
    p->todo = todo;
    TRY(emit_check(&p->emit));
    if (!options->no_cache) TRY(from_cache(p));
    p->n_todo = list_missing(p->out, p->n, todo);
    TRY(run_pass(p, options->workers));
    if (!options->no_cache) TRY(to_cache(p));
    p->n_todo = list_missing(p->out, p->n, todo);
    for (int i = 0; i < p->n_todo; i++) {
        int k = todo[i];
        if (p->status[k] == YJ_ERR_MEMORY) return report(YJ_ERR_MEMORY, "%s", p->why[k]);
        log_line(YJ_LOG_WARN, "%s; it is compiled as scalar code", why(p, k));
    }
    p->emit.scalar = true;
    TRY(run_pass(p, options->workers));
    if (list_missing(p->out, p->n, todo) == 0) return YJ_OK;
    int k = todo[0];
    return report(p->status[k] == YJ_OK ? YJ_ERR_INTERNAL : p->status[k], "%s", why(p, k));
}

enum yj_status compile_kernels(const struct compile_options *options, const struct kernel *const *kernels, int n,
                               struct compiled *out) {
    if (n <= 0) return YJ_OK;
    memset(out, 0, (size_t)n * sizeof *out);
    struct pass p = {.kernels = kernels, .n = n, .out = out};
    int *todo = calloc((size_t)n, sizeof *todo);
    p.status = calloc((size_t)n, sizeof *p.status);
    p.why = calloc((size_t)n, sizeof *p.why);
    enum yj_status status =
        todo && p.status && p.why ? compile_all(&p, options, todo) : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; i < n && p.why; i++)
        free(p.why[i]);
    free(p.why);
    free(p.status);
    free(todo);
    if (status != YJ_OK) compiled_free(out, n);
    return status;
}

void compiled_free(struct compiled *all, int n) {
    for (int i = 0; i < n; i++) {
        free(all[i].object);
        all[i] = (struct compiled){0};
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance runner. A child takes cases from a list and writes each outcome to memory that it shares with its
 * parent; when it dies, the parent books the case it was at and forks the next child behind it.
 */
#include "compiler/test_onnx.h"
#include "compiler/onnx.h"
#include "runtime/onnx_cases.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TENSORS 64
#define CASES_A_CHILD 200

const char *onnx_outcome_name(enum onnx_outcome outcome) {
    static const char *const names[] = {"pass", "fail", "unsupported", "crash"};
    return names[outcome];
}

/* ---- the cases of a folder */

struct list {
    char **paths;
    int n, room;
    bool failed;
};

static void list_add(struct list *l, const char *path) {
    if (l->n == l->room) {
        int room = l->room ? 2 * l->room : 256;
        char **more = realloc(l->paths, (size_t)room * sizeof *more);
        if (!more) {
            l->failed = true;
            return;
        }
        l->paths = more;
        l->room = room;
    }
    l->paths[l->n] = strdup(path);
    if (l->paths[l->n])
        l->n++;
    else
        l->failed = true;
}

static bool is_file(const char *folder, const char *name) {
    char path[PATH_MAX];
    struct stat st;
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < (int)sizeof path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static void list_folder(struct list *l, const char *folder, int depth) {
    if (is_file(folder, "model.onnx")) {
        list_add(l, folder);
        return;
    }
    DIR *d = depth > 4 ? NULL : opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
            continue;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) list_folder(l, path, depth + 1);
    }
    if (d) closedir(d);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* ---- one case */

struct set {
    int n;
    struct yj_tensor t[MAX_TENSORS];
};

static void set_free(struct set *s) {
    for (int i = 0; i < s->n; i++)
        yj_tensor_free(&s->t[i]);
    s->n = 0;
}

static enum yj_status set_read(const char *folder, int number, const char *what, struct set *s) {
    for (s->n = 0; s->n < MAX_TENSORS; s->n++) {
        char name[64], path[PATH_MAX];
        snprintf(name, sizeof name, "test_data_set_%d/%s_%d.pb", number, what, s->n);
        if (!is_file(folder, name)) return YJ_OK;
        if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
            return report(YJ_ERR_INPUT, "a path is too long");
        s->t[s->n] = (struct yj_tensor){.size = sizeof(struct yj_tensor)};
        enum yj_status status = yj_tensor_read(path, &s->t[s->n], NULL, 0);
        if (status == YJ_ERR_INPUT)
            return report(YJ_ERR_UNSUPPORTED, "%s %d is not a tensor (%s)", what, s->n, yj_error_text());
        TRY(status);
    }
    return YJ_OK;
}

static enum yj_status compare(const char *folder, const struct set *got, const struct set *want) {
    for (int i = 0; i < want->n; i++) {
        double error;
        enum yj_status status = yj_tensor_compare(&got->t[i], &want->t[i], &error);
        if (status != YJ_OK) return report_in(status, "output %d", i);
        if (!(error <= onnx_case_allows(folder)))
            return report(YJ_ERR_INPUT, "output %d is wrong: %g times the allowed error", i, error);
    }
    return YJ_OK;
}

/* ONNX 1.12 stores bf16 data as flat u16: the model's declaration says what they are. Data of a shape that the model
 * does not declare make a case that nobody can pass. */
static enum yj_status retype(const struct onnx_file *file, bool output, struct set *s) {
    struct onnx_declared d;
    for (int i = 0; i < s->n; i++) {
        struct yj_tensor *t = &s->t[i];
        int64_t n = 1;
        if (!onnx_declares(file, output, i, &d)) continue;
        if (t->dtype == YJ_U16 && d.type == dtype_onnx(YJ_BF16)) t->dtype = YJ_BF16;
        for (int k = 0; k < d.rank; k++)
            n = d.shape[k] < 0 || d.shape[k] > INT32_MAX / max64(n, 1) ? -1 : n * d.shape[k];
        if (t->rank == 1 && d.rank != 1 && n == t->shape[0]) {
            t->rank = d.rank;
            memcpy(t->shape, d.shape, sizeof d.shape);
        }
        bool fits = t->rank == d.rank;
        for (int k = 0; k < d.rank && fits; k++)
            fits = d.shape[k] < 0 || d.shape[k] == t->shape[k];
        if (!fits && !output)
            return report(YJ_ERR_UNSUPPORTED,
                          "the case contradicts itself: the model declares another shape of input %d", i);
    }
    return YJ_OK;
}

static enum yj_status retype_both(const char *path, struct set *in, struct set *want) {
    struct onnx_file *file;
    TRY(onnx_open(path, &file));
    enum yj_status status = retype(file, false, in);
    if (status == YJ_OK) status = retype(file, true, want);
    onnx_close(file);
    return status;
}

struct runner {
    onnx_evaluate_fn *evaluate;
    void *user;
    int seconds;
};

static enum yj_status run_set(const struct runner *r, const char *folder, int number) {
    static struct set in, want, got;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/model.onnx", folder) >= (int)sizeof path)
        return report(YJ_ERR_INPUT, "a path is too long");
    in.n = want.n = got.n = 0;
    enum yj_status status = set_read(folder, number, "input", &in);
    if (status == YJ_OK) status = set_read(folder, number, "output", &want);
    if (status == YJ_OK) status = retype_both(path, &in, &want);
    if (status == YJ_OK) status = r->evaluate(r->user, path, in.n, in.t, want.n, got.t);
    if (status == YJ_OK) {
        got.n = want.n;
        status = compare(folder, &got, &want);
    }
    set_free(&in);
    set_free(&want);
    set_free(&got);
    return status;
}

/* No data set: the model is only asked for, with no input. */
static enum yj_status run_case(const struct runner *r, const char *folder) {
    int sets = 0;
    for (char name[64];; sets++) {
        snprintf(name, sizeof name, "test_data_set_%d/output_0.pb", sets);
        if (!is_file(folder, name)) break;
        TRY(run_set(r, folder, sets));
    }
    return sets ? YJ_OK : report(YJ_ERR_UNSUPPORTED, "the case has no data");
}

static void last_op(const char *folder, char *op, size_t room) {
    char path[PATH_MAX];
    struct onnx_file *file;
    snprintf(op, room, "?");
    if (snprintf(path, sizeof path, "%s/model.onnx", folder) >= (int)sizeof path || onnx_open(path, &file) != YJ_OK)
        return;
    snprintf(op, room, "%s", onnx_last_op(file));
    onnx_close(file);
}

/* ---- children */

struct slot {
    int outcome;
    char op[64], reason[900];
}; /* outcome -1: not done */
struct shared {
    volatile int at;
    struct slot slot[];
};

static void child(const struct runner *r, char *const *paths, int from, int to, struct shared *s) {
    for (int i = from; i < to; i++) {
        s->at = i;
        alarm((unsigned)r->seconds);
        last_op(paths[i], s->slot[i].op, sizeof s->slot[i].op);
        enum yj_status status = run_case(r, paths[i]);
        int outcome = status == YJ_OK ? ONNX_PASS : status == YJ_ERR_UNSUPPORTED ? ONNX_UNSUPPORTED : ONNX_FAIL;
        if (outcome != ONNX_PASS) snprintf(s->slot[i].reason, sizeof s->slot[i].reason, "%s", yj_error_text());
        s->slot[i].outcome = outcome;
    }
    s->at = to;
}

static enum yj_status run_all(const struct runner *r, char *const *paths, int n, struct shared *s) {
    for (int i = 0; i < n;) {
        int to = (int)min64(n, i + CASES_A_CHILD), status;
        s->at = i;
        fflush(NULL);
        pid_t pid = fork();
        if (pid < 0) return report(YJ_ERR_IO, "cannot fork: %s", strerror(errno));
        if (pid == 0) {
            child(r, paths, i, to, s);
            fflush(NULL);
            _exit(0);
        }
        while (waitpid(pid, &status, 0) < 0)
            if (errno != EINTR) return report(YJ_ERR_IO, "cannot wait for a child: %s", strerror(errno));
        i = s->at;
        if (i >= to) continue;
        s->slot[i].outcome = ONNX_CRASH;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            snprintf(s->slot[i].reason, sizeof s->slot[i].reason, "it took more than %d s", r->seconds);
        else if (WIFSIGNALED(status))
            snprintf(s->slot[i].reason, sizeof s->slot[i].reason, "signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        else
            snprintf(s->slot[i].reason, sizeof s->slot[i].reason, "it ended with exit code %d", WEXITSTATUS(status));
        i++;
    }
    return YJ_OK;
}

static enum yj_status collect(const struct list *l, const struct shared *s, struct onnx_report *result) {
    struct onnx_report r = {.n = l->n, .cases = calloc((size_t)l->n + 1, sizeof(struct onnx_case))};
    if (!r.cases) return report(YJ_ERR_MEMORY, "no memory for %d results", l->n);
    for (int i = 0; i < l->n; i++) {
        const struct slot *slot = &s->slot[i];
        r.cases[i] = (struct onnx_case){strdup(l->paths[i]), strdup(slot->op), strdup(slot->reason),
                                        (enum onnx_outcome)slot->outcome};
        r.count[slot->outcome]++;
        if (r.cases[i].path && r.cases[i].op && r.cases[i].reason) continue;
        onnx_report_free(&r);
        return report(YJ_ERR_MEMORY, "no memory for %d results", l->n);
    }
    *result = r;
    return YJ_OK;
}

void onnx_report_free(struct onnx_report *r) {
    for (int i = 0; i < r->n && r->cases; i++) {
        free(r->cases[i].path);
        free(r->cases[i].op);
        free(r->cases[i].reason);
    }
    free(r->cases);
    *r = (struct onnx_report){0};
}

enum yj_status onnx_conform(int n_dirs, const char *const *dirs, onnx_evaluate_fn *evaluate, void *user, int seconds,
                            struct onnx_report *result) {
    struct list l = {0};
    struct runner r = {evaluate, user, seconds};
    for (int i = 0; i < n_dirs; i++)
        list_folder(&l, dirs[i], 0);
    if (l.n) qsort(l.paths, (size_t)l.n, sizeof *l.paths, by_text);
    size_t bytes = sizeof(struct shared) + (size_t)l.n * sizeof(struct slot);
    struct shared *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    enum yj_status status = YJ_OK;
    if (l.failed || s == MAP_FAILED)
        status = report(YJ_ERR_MEMORY, "no memory for %d cases", l.n);
    else if (l.n == 0)
        status =
            report(YJ_ERR_INPUT, "no case (a folder with model.onnx) at or below %s", n_dirs ? dirs[0] : "nothing");
    if (status == YJ_OK) status = run_all(&r, l.paths, l.n, s);
    if (status == YJ_OK) status = collect(&l, s, result);
    if (s != MAP_FAILED) munmap(s, bytes);
    for (int i = 0; i < l.n; i++)
        free(l.paths[i]);
    free(l.paths);
    return status;
}

/* ---- the interpreter as evaluator */

struct job {
    const char *path;
    struct arena *arena;
    struct onnx_file *file;
    struct graph *g;
};

static enum yj_status import_job(void *argument) {
    struct job *j = argument;
    struct onnx_options none = {0};
    TRY(onnx_import(j->file, j->arena, &none, &j->g));
    return graph_verify(j->g);
}

static enum yj_status evaluate(const struct graph *g, int n_in, const struct yj_tensor *in, int n_out,
                               struct yj_tensor *out) {
    struct tensor *t = calloc((size_t)(n_in + g->n_out) + 1, sizeof *t);
    enum yj_status status = YJ_OK;
    if (!t) return report(YJ_ERR_MEMORY, "no memory for tensors");
    if (g->n_in != n_in || g->n_out < n_out)
        status = report(YJ_ERR_INPUT, "the model has %d inputs and %d outputs, the case %d and %d", g->n_in, g->n_out,
                        n_in, n_out);
    for (int i = 0; i < n_in && status == YJ_OK; i++) {
        t[i] = (struct tensor){.dtype = in[i].dtype, .rank = in[i].rank, .bytes = in[i].data};
        memcpy(t[i].shape, in[i].shape, sizeof t[i].shape);
        status = yj_tensor_bytes(&in[i], &t[i].n_bytes);
    }
    if (status == YJ_OK) status = graph_eval(g, t, t + n_in, NULL, NULL);
    for (int i = 0; i < n_out && status == YJ_OK; i++) {
        struct tensor *from = &t[n_in + i];
        out[i] = (struct yj_tensor){.size = sizeof out[i], .dtype = from->dtype, .rank = from->rank};
        memcpy(out[i].shape, from->shape, sizeof from->shape);
        status = yj_tensor_new(&out[i]);
        if (status == YJ_OK && from->n_bytes) memcpy(out[i].data, from->bytes, from->n_bytes);
    }
    for (int i = 0; i < g->n_out; i++)
        tensor_free(&t[n_in + i]);
    free(t);
    return status;
}

enum yj_status onnx_evaluate_graph(void *user, const char *model_path, int n_in, const struct yj_tensor *in, int n_out,
                                   struct yj_tensor *out) {
    struct job j = {.path = model_path};
    TRY(onnx_open(model_path, &j.file));
    enum yj_status status =
        (j.arena = arena_open()) ? arena_guard(import_job, &j) : report(YJ_ERR_MEMORY, "no memory for an arena");
    if (status == YJ_OK) status = evaluate(j.g, n_in, in, n_out, out);
    if (j.arena) arena_close(j.arena);
    onnx_close(j.file);
    return status;
}

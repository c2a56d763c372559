/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin test onnx`: every case is a process that starts two more, one that compiles model.onnx and sees nothing else,
 * and one that opens the result, reads inputs, runs and compares. Whatever dies or hangs is counted as a crash of that
 * case, and the counts add up. Results come back through memory that all share.
 */
#include "runtime/command/run.h"
#include "runtime/command/test.h"
#include "runtime/onnx_cases.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CASES = 20000 };
enum outcome { PENDING, PASS, FAIL, UNSUPPORTED, CRASH, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"pending", "pass", "fail", "unsupported", "crash"};

struct result {
    enum outcome outcome;
    double error, seconds;
    char why[512];
};

struct testing {
    int n;
    char **folder;
    struct result *results; /* shared by all processes */
    int64_t jobs, timeout;
    const char *match, *target, *temporary;
    bool verbose, json;
};

/* --- which cases --- */

static bool has_model(const char *folder) {
    char path[4200];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    return access(path, R_OK) == 0;
}

static void add_case(struct testing *t, const char *folder) {
    if (t->n == MOST_CASES || (t->match && !strstr(folder, t->match))) return;
    char **more = realloc(t->folder, (size_t)(t->n + 1) * sizeof *more), *copy = strdup(folder);
    if (more) t->folder = more;
    if (more && copy)
        t->folder[t->n++] = copy;
    else
        free(copy);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum yj_status find_cases(struct testing *t, const char *folder) {
    int before = t->n;
    if (has_model(folder)) {
        add_case(t, folder);
        return YJ_OK;
    }
    DIR *d = opendir(folder);
    if (!d) return report(YJ_ERR_INPUT, "cannot read %s: %s", folder, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.' && has_model(path)) add_case(t, path);
    }
    closedir(d);
    if (t->n == before && !t->match)
        return report(YJ_ERR_INPUT, "%s holds no model.onnx, and no folder that does", folder);
    qsort(t->folder + before, (size_t)(t->n - before), sizeof *t->folder, by_name);
    return YJ_OK;
}

/* --- one case --- */

static void say(struct result *r, enum outcome outcome, const char *what) {
    snprintf(r->why, sizeof r->why, "%s%s%s", what, *what ? ": " : "", yj_error_text());
    r->outcome = outcome;
}

/* The archive has cases whose data are not of the shape that their own model declares: no program can take them. */
static enum outcome outcome_of_binding(enum yj_status status) {
    bool misfit = status == YJ_ERR_INPUT && strstr(yj_error_text(), "the model takes rank");
    return misfit || status == YJ_ERR_UNSUPPORTED ? UNSUPPORTED : FAIL;
}

static enum outcome outcome_of(enum yj_status status) {
    return status == YJ_ERR_UNSUPPORTED ? UNSUPPORTED : FAIL;
}

static enum yj_status run_set(struct yj_model *m, const char *set, struct result *r) {
    static struct held held;
    struct run_job job = {.command = "test onnx", .held = &held, .inputs = {1, {set}}};
    double worst = 0;
    enum yj_status status = yj_model_state_reset(m);
    if (status == YJ_OK) status = run_bind_inputs(m, &job);
    if (status == YJ_OK) status = yj_model_run(m);
    if (status == YJ_OK) status = run_compare(m, set, &worst, NULL);
    held_free(&held);
    if (worst > r->error || isnan(worst)) r->error = worst;
    return status;
}

/* In a process of its own: the only one that sees inputs. */
static void run_case(const char *folder, const char *model, struct result *r) {
    struct yj_model *m = NULL;
    struct yj_model_options o = {.size = sizeof o, .threads = 2};
    enum yj_status status = yj_model_open(model, &o, &m);
    int sets = 0;
    for (; status == YJ_OK; sets++) {
        char set[4096];
        snprintf(set, sizeof set, "%s/test_data_set_%d", folder, sets);
        if (!is_folder(set)) break;
        status = run_set(m, set, r);
        if (status != YJ_OK) status = report_in(status, "test_data_set_%d", sets);
    }
    if (status == YJ_OK && sets == 0) status = report(YJ_ERR_INPUT, "%s has no test_data_set_0", folder);
    if (status != YJ_OK) {
        say(r, outcome_of_binding(status), "run");
    } else if (r->error > onnx_case_allows(folder)) {
        report(YJ_OK, "the largest error is %.3g of what is allowed", r->error);
        say(r, FAIL, "");
    } else {
        r->why[0] = 0;
        r->outcome = PASS;
    }
    yj_model_close(m);
}

static void wait_for_run(pid_t child, struct result *r) {
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFSIGNALED(how) && r->outcome != PENDING) return;
    report(YJ_OK, "died by %s %d", WIFSIGNALED(how) ? "signal" : "exit code",
           WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
    say(r, CRASH, "run");
}

static void test_case(const struct testing *t, int number) {
    struct result *r = &t->results[number];
    char source[4096], model[4096];
    double begin = time_now();
    snprintf(source, sizeof source, "%s/model.onnx", t->folder[number]);
    snprintf(model, sizeof model, "%s/%d.yj", t->temporary, number);
    struct yj_compile_options o = {.size = sizeof o, .model = source, .output = model, .targets = t->target};
    enum yj_status status = compile_apart(&o, NULL);
    if (status != YJ_OK) {
        bool died = status == YJ_ERR_INTERNAL && strstr(yj_error_text(), "the compiler died");
        say(r, died ? CRASH : outcome_of(status), "compile");
    } else {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            run_case(t->folder[number], model, r);
            fflush(NULL);
            _exit(0);
        }
        if (child > 0)
            wait_for_run(child, r);
        else
            report(YJ_ERR_IO, "no process: %s", strerror(errno)), say(r, CRASH, "run");
    }
    remove_temporary(model);
    r->seconds = time_now() - begin;
}

/* --- all cases --- */

struct slot {
    pid_t pid;
    int number;
    double begin;
};

static void finish(struct testing *t, struct slot *s, int how, bool late) {
    struct result *r = &t->results[s->number];
    if (late) {
        report(YJ_OK, "nothing after %lld s", (long long)t->timeout);
        say(r, CRASH, "timeout");
    } else if (WIFSIGNALED(how) || r->outcome == PENDING) {
        report(YJ_OK, "signal %d", WIFSIGNALED(how) ? WTERMSIG(how) : 0);
        say(r, CRASH, "died");
    }
    const char *name = strrchr(t->folder[s->number], '/');
    if (!t->json && (t->verbose || r->outcome == FAIL || r->outcome == CRASH)) {
        printf("%-11s %s%s%s\n", outcome_names[r->outcome], name ? name + 1 : t->folder[s->number], *r->why ? ": " : "",
               r->why);
        fflush(stdout);
    }
    s->pid = 0;
}

static void start(struct testing *t, struct slot *s, int number) {
    fflush(NULL);
    *s = (struct slot){fork(), number, time_now()};
    if (s->pid == 0) {
        setpgid(0, 0); /* so that a late case goes with all it has started */
        test_case(t, number);
        fflush(NULL);
        _exit(0);
    }
    if (s->pid > 0)
        setpgid(s->pid, s->pid);
    else
        finish(t, s, 0, false);
}

static void run_all(struct testing *t) {
    struct slot *slots = calloc((size_t)t->jobs, sizeof *slots);
    int next = 0, running = 0;
    while (slots && (next < t->n || running)) {
        running = 0;
        for (int64_t i = 0; i < t->jobs; i++) {
            struct slot *s = &slots[i];
            int how = 0;
            if (s->pid > 0 && waitpid(s->pid, &how, WNOHANG) == s->pid) {
                finish(t, s, how, false);
            } else if (s->pid > 0 && time_now() - s->begin > (double)t->timeout) {
                kill(-s->pid, SIGKILL);
                waitpid(s->pid, &how, 0);
                finish(t, s, how, true);
            }
            if (s->pid <= 0 && next < t->n) start(t, s, next++);
            running += s->pid > 0;
        }
        if (running) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    free(slots);
}

static int say_all(const struct testing *t) {
    int count[OUTCOMES] = {0};
    json_t *cases = json_array();
    for (int i = 0; i < t->n; i++) {
        const struct result *r = &t->results[i];
        const char *name = strrchr(t->folder[i], '/');
        count[r->outcome]++;
        if (!t->json) continue;
        json_t *row = json_pack("{s:s,s:s,s:f,s:s}", "case", name ? name + 1 : t->folder[i], "outcome",
                                outcome_names[r->outcome], "seconds", r->seconds, "why", r->why);
        if (isfinite(r->error)) json_object_set_new(row, "error", json_real(r->error));
        json_array_append_new(cases, row);
    }
    int code = count[FAIL] || count[CRASH] || count[PENDING] ? INPUT : DONE;
    if (t->json) {
        json_t *summary = json_pack("{s:i,s:i,s:i,s:i,s:i}", "pass", count[PASS], "fail", count[FAIL], "unsupported",
                                    count[UNSUPPORTED], "crash", count[CRASH], "total", t->n);
        int written = command_json("test", summary, cases);
        return written ? written : code;
    }
    json_decref(cases);
    printf("%d pass, %d fail, %d unsupported, %d crash of %d\n", count[PASS], count[FAIL], count[UNSUPPORTED],
           count[CRASH], t->n);
    return code;
}

static int test_all(struct testing *t) {
    char temporary[3072];
    size_t bytes = (size_t)(t->n ? t->n : 1) * sizeof *t->results;
    t->results = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t->results == MAP_FAILED) return command_failed("test onnx", report(YJ_ERR_MEMORY, "out of memory"));
    enum yj_status status = make_temporary(temporary, sizeof temporary);
    if (status != YJ_OK) return command_failed("test onnx", status);
    t->temporary = temporary;
    run_all(t);
    remove_temporary(temporary);
    int code = say_all(t);
    munmap(t->results, bytes);
    for (int i = 0; i < t->n; i++)
        free(t->folder[i]);
    free(t->folder);
    return code;
}

int command_test_onnx(int argc, char **argv, const char *help) {
    struct testing t = {.jobs = 2, .timeout = 120};
    struct list folders = {0};
    const char *plain;
    struct words w = words_of(argc, argv);
    w.command = "test onnx";
    while (words_left(&w)) {
        if (word_flag(&w, "--help") || word_flag(&w, "-h"))
            return fputs(help, stdout) < 0 ? MACHINE : DONE;
        else if (word_flag(&w, "--json"))
            t.json = true;
        else if (word_flag(&w, "--verbose"))
            t.verbose = true;
        else if (word_number(&w, "--jobs", 1, 256, &t.jobs) || word_number(&w, "--timeout", 1, 86400, &t.timeout) ||
                 word_option(&w, "--match", &t.match) || word_option(&w, "--target", &t.target))
            continue;
        else if (folders.n < (int)COUNT(folders.word) && (plain = word_plain(&w)))
            folders.word[folders.n++] = plain;
        else
            word_unknown(&w);
    }
    if (!folders.n) words_missing(&w, "DIR");
    if (w.bad) return COMMAND_LINE;
    for (int i = 0; i < folders.n; i++) {
        enum yj_status status = find_cases(&t, folders.word[i]);
        if (status != YJ_OK) return command_failed("test onnx", status);
    }
    return test_all(&t);
}

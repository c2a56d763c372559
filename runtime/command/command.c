/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands on models share.
 */
#include "runtime/command/command.h"

#include "runtime/base/cpu.h"
#include "runtime/command/compiler_library.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int command_exit_code(enum yj_status status) {
    switch (status) {
    case YJ_OK:
        return DONE;
    case YJ_ERR_INPUT:
    case YJ_ERR_UNSUPPORTED:
    case YJ_ERR_MISMATCH:
        return INPUT;
    default:
        return MACHINE;
    }
}

static bool words_wrong; /* what failed would fail with any model */

int command_failed(const char *command, enum yj_status status) {
    fprintf(stderr, "yunjin %s: %s: %s\n", command, yj_status_name(status), yj_error_text());
    return words_wrong ? COMMAND_LINE : command_exit_code(status);
}

/* --- words --- */

struct words words_of(int argc, char **argv) {
    return (struct words){.argc = argc, .argv = argv, .at = 1, .command = argv[0]};
}

bool words_left(struct words *w) {
    return !w->bad && w->at < w->argc;
}

static void complain(struct words *w, const char *what, const char *word) {
    fprintf(stderr, "yunjin %s: %s%s; yunjin %s --help says more\n", w->command, what, word, w->command);
    w->bad = true;
}

bool word_option(struct words *w, const char *name, const char **value) {
    const char *word = w->argv[w->at];
    size_t n = strlen(name);
    if (strncmp(word, name, n) != 0 || (word[n] && word[n] != '=')) return false;
    w->at++;
    if (word[n] == '=')
        *value = word + n + 1;
    else if (w->at < w->argc)
        *value = w->argv[w->at++];
    else
        complain(w, "a value is missing behind ", name);
    return true;
}

bool word_number(struct words *w, const char *name, int64_t low, int64_t high, int64_t *value) {
    const char *text = NULL;
    if (!word_option(w, name, &text)) return false;
    if (w->bad) return true;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < low || v > high) {
        fprintf(stderr, "yunjin %s: %s %s is not a number from %" PRId64 " to %" PRId64 "\n", w->command, name, text,
                low, high);
        w->bad = true;
    }
    *value = v;
    return true;
}

bool word_flag(struct words *w, const char *name) {
    if (strcmp(w->argv[w->at], name) != 0) return false;
    w->at++;
    return true;
}

const char *word_plain(struct words *w) {
    const char *word = w->argv[w->at];
    if (word[0] == '-' && word[1]) return NULL;
    w->at++;
    return word;
}

void word_unknown(struct words *w) {
    complain(w, "unexpected ", w->argv[w->at]);
}

void words_missing(struct words *w, const char *what) {
    if (!w->bad) complain(w, what, " is missing");
}

bool word_list(struct words *w, const char *name, struct list *list) {
    const char *value = NULL;
    if (!word_option(w, name, &value)) return false;
    if (w->bad) return true;
    if (list->n == (int)COUNT(list->word))
        complain(w, "too many times ", name);
    else
        list->word[list->n++] = value;
    return true;
}

int command_json(const char *command, json_t *summary, json_t *cases) {
    json_t *frame =
        json_pack("{s:s,s:s,s:o,s:o}", "yunjin", YJ_VERSION, "command", command, "summary", summary, "cases", cases);
    bool failed = !frame || json_dumpf(frame, stdout, JSON_INDENT(1)) || putchar('\n') == EOF || fflush(stdout);
    json_decref(frame);
    if (failed) fprintf(stderr, "yunjin %s: the JSON cannot be written\n", command);
    return failed ? MACHINE : DONE;
}

/* --- compiling --- */

/* NAME=N or NAME=LOW..HIGH; what no model could take is a mistake of the command line. */
static void check_dim(struct words *w, const char *word) {
    static const int64_t most = INT64_C(1) << 40;
    const char *equal = strchr(word, '='), *low = equal ? equal + 1 : "", *high = low;
    char *end;
    int64_t bound[2];
    bool ok = equal && equal != word && *low >= '0' && *low <= '9';
    bound[0] = bound[1] = strtoll(low, &end, 10);
    if (strncmp(end, "..", 2) == 0) {
        high = end + 2;
        ok = ok && *high >= '0' && *high <= '9';
        bound[1] = strtoll(high, &end, 10);
    }
    if (!ok || *end || bound[0] > most || bound[1] > most)
        fprintf(stderr, "yunjin %s: --dim %s: write NAME=LOW..HIGH or NAME=N\n", w->command, word);
    else if (bound[1] < bound[0])
        fprintf(stderr, "yunjin %s: --dim %s: the bounds are reversed; write %.*s%" PRId64 "..%" PRId64 "\n",
                w->command, word, (int)(low - word), word, bound[1], bound[0]);
    else
        return;
    w->bad = true;
}

bool compile_word(struct words *w, struct compile_words *c) {
    int dims = c->dims.n;
    if (word_option(w, "--target", &c->o.targets) || word_option(w, "--shard", &c->o.shard) ||
        word_list(w, "--dim", &c->dims) || word_list(w, "--state", &c->states) ||
        word_option(w, "--passes", &c->o.passes)) {
        if (c->dims.n > dims) check_dim(w, c->dims.word[dims]);
        return true;
    }
    if (word_flag(w, "--no-cache"))
        c->o.flags |= YJ_COMPILE_NO_CACHE;
    else
        return false;
    return true;
}

struct wanted {
    const char *name;
    bool found;
};

static void compare_target(void *user, const struct yj_target *t, const char *from) {
    struct wanted *w = user;
    w->found |= cpu_name_same(t->name, w->name);
}

bool targets_unknown(const struct yj_compile_options *o) {
    enum yj_status (*each)(yj_target_fn *, void *);
    const char *at = o->targets ? o->targets : "";
    if (!*at || compiler_function("yj_targets_each", &each) != YJ_OK) return false;
    for (size_t n; *at; at += n + (at[n] == ',')) {
        char name[128];
        n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, at);
        struct wanted w = {name, strcmp(name, "host") == 0};
        if (each(compare_target, &w) != YJ_OK) return false;
        if (!w.found) return true;
    }
    return false;
}

struct answer {
    enum yj_status status;
    bool words_wrong;
    struct yj_compile_result result;
    char error[ERROR_ROOM];
};

static void compile_here(const struct yj_compile_options *o, struct answer *a) {
    enum yj_status (*compile)(const struct yj_compile_options *, struct yj_compile_result *);
    a->status = compiler_function("yj_compile", &compile);
    a->result.size = sizeof a->result;
    if (a->status == YJ_OK) a->status = compile(o, &a->result);
    if (a->status != YJ_OK) snprintf(a->error, sizeof a->error, "%s", yj_error_text());
    a->words_wrong = a->status == YJ_ERR_INPUT && targets_unknown(o);
}

enum yj_status compile_apart(const struct yj_compile_options *o, struct yj_compile_result *result) {
    int ends[2];
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) < 0) return report(YJ_ERR_IO, "no pipe: %m");
    pid_t child = fork();
    if (child == 0) {
        struct answer a = {0};
        compile_here(o, &a);
        fflush(NULL);
        ssize_t put = write(ends[1], &a, sizeof a);
        _exit(put == sizeof a ? 0 : 1);
    }
    close(ends[1]);
    struct answer a;
    size_t n = 0;
    for (ssize_t got; child > 0 && n < sizeof a; n += (size_t)got) {
        got = read(ends[0], (char *)&a + n, sizeof a - n);
        if (got < 0 && errno == EINTR)
            got = 0;
        else if (got <= 0)
            break;
    }
    close(ends[0]);
    int how = 0;
    while (child > 0 && waitpid(child, &how, 0) < 0 && errno == EINTR)
        continue;
    if (child < 0) return report(YJ_ERR_IO, "cannot start a process: %m");
    if (n != sizeof a) {
        return report(YJ_ERR_INTERNAL, "the compiler died (%s %d) on %s", WIFSIGNALED(how) ? "signal" : "exit code",
                      WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how), o->model);
    }
    words_wrong = a.words_wrong;
    if (a.status != YJ_OK) return report(a.status, "%s", a.error);
    if (result) *result = a.result;
    return YJ_OK;
}

/* --- files --- */

bool is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

enum yj_status check_there(const char *path) {
    struct stat s;
    if (stat(path, &s) == 0) return YJ_OK;
    return report(errno == ENOENT || errno == ENOTDIR ? YJ_ERR_INPUT : YJ_ERR_IO, "cannot read %s: %s", path,
                  strerror(errno));
}

enum yj_status make_temporary(char *path, size_t room) {
    const char *base = getenv("TMPDIR");
    if (snprintf(path, room, "%s/yunjin-XXXXXX", base && *base ? base : "/tmp") >= (int)room) {
        return report(YJ_ERR_INPUT, "TMPDIR is too long");
    }
    return mkdtemp(path)
               ? YJ_OK
               : report(YJ_ERR_IO, "cannot make a temporary folder %s: %s (set TMPDIR)", path, strerror(errno));
}

static void remove_at(int parent, const char *name, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) < 0 && depth > 0) remove_at(dirfd(d), e->d_name, depth - 1);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    unlinkat(parent, name, AT_REMOVEDIR);
}

void remove_temporary(const char *path) {
    remove_at(AT_FDCWD, path, 2);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs kernels of another chip: starts the harness (tests/emulate/harness.c, a program without any library for that
 * chip) under the emulator that the target names, hands it the shared object as an open descriptor, and sends it
 * requests over a pair of pipes. The harness measures the vector length and watches the memory around every buffer.
 */
#include "compiler/link.h"
#include "runtime/base/cpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define MAGIC UINT64_C(0x314b4a59)
#define MAX_ARGS 32

struct emulator {
    const struct yj_target *target;
    pid_t child;
    int pipe, library;
};

/* --- where the harness and the emulator are --- */

static bool try_path(char *path, size_t room, const char *folder, const char *rest, const char *name) {
    if (!folder || !*folder) return false;
    return snprintf(path, room, "%s%s%s", folder, rest, name) < (int)room && access(path, X_OK) == 0;
}

static bool find_emulator(const char *name, char *path, size_t room) {
    const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME"), *all = getenv("PATH");
    if (try_path(path, room, getenv("YUNJIN_QEMU"), "/", name)) return true;
    if (try_path(path, room, cache, "/yunjin/qemu/usr/bin/", name)) return true;
    if (try_path(path, room, home, "/.cache/yunjin/qemu/usr/bin/", name)) return true;
    while (all && *all) {
        char folder[2048];
        size_t n = strcspn(all, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)n, all);
        if (try_path(path, room, folder, "/", name)) return true;
        all += n + (all[n] == ':');
    }
    return false;
}

/* Beside the library or program that this code is part of: build/, build/tests/, or an installed lib folder. */
static bool find_harness(const char *arch, char *path, size_t room) {
    char name[64], folder[4096];
    Dl_info info;
    snprintf(name, sizeof name, "harness-%s", arch);
    if (try_path(path, room, getenv("YUNJIN_EMULATE"), "/", name)) return true;
    if (!dladdr((void *)emulate_open, &info) || !info.dli_fname) return false;
    ssize_t n = 0;
    if (strchr(info.dli_fname, '/'))
        snprintf(folder, sizeof folder, "%s", info.dli_fname);
    else if ((n = readlink("/proc/self/exe", folder, sizeof folder - 1)) > 0)
        folder[n] = 0;
    else
        return false;
    char *slash = strrchr(folder, '/');
    if (!slash) return false;
    *slash = 0;
    return try_path(path, room, folder, "/emulate/", name) || try_path(path, room, folder, "/../emulate/", name) ||
           try_path(path, room, folder, "/yunjin/emulate/", name);
}

static const char *arch_of(const struct yj_target *t) {
    static const char *const known[] = {"aarch64", "riscv64", "loongarch64", "x86_64"};
    for (size_t i = 0; i < COUNT(known); i++)
        if (strncmp(t->triple, known[i], strlen(known[i])) == 0) return known[i];
    return NULL;
}

/* Without an emulator this very processor must do: it is asked before a kernel would die of an illegal instruction. */
static enum yj_status needs_met(const struct yj_target *t, const char *arch, int vector_bits) {
    char why[256];
    if (strcmp(arch, cpu_arch()) != 0)
        return report(YJ_ERR_UNSUPPORTED, "target %s names no emulator, and this machine is %s", t->name, cpu_arch());
    if (cpu_require(t->minimum, t->vector_lengths[0] ? vector_bits : 0) == YJ_OK) return YJ_OK;
    snprintf(why, sizeof why, "%s", yj_error_text());
    return report(YJ_ERR_UNSUPPORTED, "target %s names no emulator, and %s", t->name, why);
}

/* --- the command line: the target's emulator with %d replaced, the harness, the descriptor, the kind of vectors --- */

struct command {
    char words[2048], emulator[4096], harness[4096], file[16], kind[4];
    char *argv[MAX_ARGS];
};

static enum yj_status emulator_words(const struct yj_target *t, int vector_bits, struct command *c, int *n) {
    const char *hole = strstr(t->emulator, "%d");
    char *rest = NULL;
    if (hole)
        snprintf(c->words, sizeof c->words, "%.*s%d%s", (int)(hole - t->emulator), t->emulator, vector_bits, hole + 2);
    else
        snprintf(c->words, sizeof c->words, "%s", t->emulator);
    for (char *w = strtok_r(c->words, " ", &rest); w && *n < MAX_ARGS - 5; w = strtok_r(NULL, " ", &rest))
        c->argv[(*n)++] = w;
    if (*n == 0 || !find_emulator(c->argv[0], c->emulator, sizeof c->emulator))
        return report(
            YJ_ERR_UNSUPPORTED,
            "target %s: the emulator %s is not installed (tests/get_qemu.sh fetches it; YUNJIN_QEMU names its "
            "folder)",
            t->name, *n ? c->argv[0] : "?");
    c->argv[0] = c->emulator;
    return YJ_OK;
}

static enum yj_status command_line(const struct yj_target *t, int vector_bits, int library, struct command *c) {
    const char *arch = arch_of(t);
    int n = 0;
    if (!arch)
        return report(YJ_ERR_UNSUPPORTED, "target %s: nothing runs %s here", t->name,
                      *t->triple ? t->triple : "source text");
    if (t->emulator)
        TRY(emulator_words(t, vector_bits, c, &n));
    else
        TRY(needs_met(t, arch, vector_bits));
    if (!find_harness(arch, c->harness, sizeof c->harness))
        return report(YJ_ERR_UNSUPPORTED,
                      "target %s: harness-%s is not there (it is built with clang-19 and lld-19; YUNJIN_EMULATE names "
                      "its folder)",
                      t->name, arch);
    bool scalable = t->vector_lengths[0] != 0;
    snprintf(c->file, sizeof c->file, "%d", library);
    snprintf(c->kind, sizeof c->kind, "%d",
             !scalable                      ? 0
             : strcmp(arch, "aarch64") == 0 ? 1
             : strcmp(arch, "riscv64") == 0 ? 2
                                            : 0);
    c->argv[n++] = c->harness;
    c->argv[n++] = c->file;
    c->argv[n++] = c->kind;
    c->argv[n] = NULL;
    return YJ_OK;
}

/* --- talking --- */

/* How the child ended, as an error line. */
static enum yj_status child_ended(struct emulator *e, const char *doing) {
    int status = 0;
    pid_t child = e->child;
    e->child = -1;
    close(e->pipe);
    e->pipe = -1;
    pid_t ended = 0;
    for (int tries = 0; child > 0 && ended == 0 && tries < 200; tries++) { /* it ends by itself, or is stuck */
        ended = waitpid(child, &status, WNOHANG);
        if (ended == 0) usleep(10000);
    }
    if (child > 0 && ended == 0) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGILL)
        return report(YJ_ERR_INTERNAL, "target %s, %s: illegal instruction", e->target->name, doing);
    if (WIFSIGNALED(status))
        return report(YJ_ERR_INTERNAL, "target %s, %s: signal %d", e->target->name, doing, WTERMSIG(status));
    return report(YJ_ERR_INTERNAL, "target %s, %s: the harness ended with code %d", e->target->name, doing,
                  WEXITSTATUS(status));
}

static bool put(struct emulator *e, const void *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = send(e->pipe, (const char *)data + done, bytes - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static bool get(struct emulator *e, void *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = recv(e->pipe, (char *)data + done, bytes - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static enum yj_status start(struct emulator *e, int vector_bits, const void *library, size_t bytes) {
    struct command c;
    int pair[2];
    e->library = memfd_create("kernels.so", 0);
    if (e->library < 0 || write(e->library, library, bytes) != (ssize_t)bytes)
        return report(YJ_ERR_IO, "memory file for the kernels: %s", strerror(errno));
    TRY(command_line(e->target, vector_bits, e->library, &c));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return report(YJ_ERR_IO, "socketpair: %s", strerror(errno));
    e->pipe = pair[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    int failed = posix_spawn(&e->child, c.argv[0], &actions, NULL, c.argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    if (failed) {
        e->child = -1;
        return report(YJ_ERR_UNSUPPORTED, "cannot run %s: %s", c.argv[0], strerror(failed));
    }
    uint64_t hello[3];
    if (!get(e, hello, sizeof hello)) return child_ended(e, "starting");
    if (hello[0] != MAGIC)
        return report(YJ_ERR_INTERNAL, "target %s: the harness speaks another protocol", e->target->name);
    if (hello[1] && (int)hello[1] != vector_bits)
        return report(YJ_ERR_UNSUPPORTED, "target %s: kernels for vectors of %d bits, on a machine with %d",
                      e->target->name, vector_bits, (int)hello[1]);
    return YJ_OK;
}

enum yj_status emulate_open(const struct yj_target *target, int vector_bits, const void *library, size_t bytes,
                            struct emulator **e) {
    struct emulator *made = calloc(1, sizeof *made);
    if (!made) return report(YJ_ERR_MEMORY, "out of memory");
    *made = (struct emulator){target, -1, -1, -1};
    enum yj_status status = start(made, vector_bits, library, bytes);
    if (status != YJ_OK)
        emulate_close(made);
    else
        *e = made;
    return status;
}

enum yj_status emulate_run(struct emulator *e, const char *kernel, int n, const struct emulate_buffer *buffers,
                           int n_scalars, const int64_t *scalars, int64_t begin, int64_t end, size_t scratch_bytes,
                           struct yj_fault *fault) {
    if (n > 255 || n_scalars > 256)
        return report(YJ_ERR_UNSUPPORTED, "kernel %s: more than 255 buffers under an emulator", kernel);
    if (e->child < 0) return report(YJ_ERR_INTERNAL, "target %s: the emulated program has ended", e->target->name);
    uint64_t head[7] = {MAGIC,           strlen(kernel), (uint64_t)n,  (uint64_t)n_scalars,
                        (uint64_t)begin, (uint64_t)end,  scratch_bytes},
             reply[4];
    bool good = put(e, head, sizeof head) && put(e, kernel, strlen(kernel)) && put(e, scalars, (size_t)n_scalars * 8);
    for (int i = 0; i < n && good; i++) {
        uint64_t size[2] = {buffers[i].bytes, (buffers[i].in ? 1 : 0) | (buffers[i].out ? 2 : 0)};
        good = put(e, size, sizeof size);
    }
    for (int i = 0; i < n && good; i++)
        if (buffers[i].in) good = put(e, buffers[i].data, buffers[i].bytes);
    if (!good || !get(e, reply, sizeof reply) || reply[0] != MAGIC) return child_ended(e, kernel);
    for (int i = 0; i < n && good; i++)
        if (buffers[i].out) good = get(e, buffers[i].data, buffers[i].bytes);
    if (!good) return child_ended(e, kernel);
    if (reply[3] == 1) return report(YJ_ERR_INPUT, "the library has no kernel %s", kernel);
    if (reply[3] >= 2)
        return report(YJ_ERR_INTERNAL, "target %s, %s: writes beside buffer %d", e->target->name, kernel,
                      (int)reply[3] - 2);
    *fault = (struct yj_fault){(int32_t)reply[1], 0, (int64_t)reply[2]};
    return YJ_OK;
}

void emulate_close(struct emulator *e) {
    if (!e) return;
    if (e->pipe >= 0) close(e->pipe);
    if (e->child > 0) {
        kill(e->child, SIGKILL);
        while (waitpid(e->child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (e->library >= 0) close(e->library);
    free(e);
}

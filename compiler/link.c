/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of kernels become one shared object, by ld.lld in a process of its own. The one idea: the objects go over as
 * one archive in memory (a descriptor that the linker inherits), so that any number of kernels is one input file, and
 * nothing is left behind when either process dies. The library may need nothing: an undefined symbol is an error.
 */
#include "compiler/link.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#ifndef LLVM_BINDIR
#define LLVM_BINDIR ""
#endif

/* --- the archive: "!<arch>", and for each object a 60-byte header and its bytes, at even offsets --- */

static enum yj_status write_all(int file, const void *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(file, (const char *)data + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return report(YJ_ERR_IO, "writing %zu bytes for the linker: %s", bytes, strerror(errno));
        done += (size_t)n;
    }
    return YJ_OK;
}

static enum yj_status write_archive(int file, int n, const struct link_object *objects) {
    TRY(write_all(file, "!<arch>\n", 8));
    for (int i = 0; i < n; i++) {
        char head[61], name[17];
        snprintf(name, sizeof name, "k%d.o/", i);
        snprintf(head, sizeof head, "%-16s%-12d%-6d%-6d%-8o%-10zu`\n", name, 0, 0, 0, 0644, objects[i].bytes);
        TRY(write_all(file, head, 60));
        TRY(write_all(file, objects[i].data, objects[i].bytes));
        if (objects[i].bytes % 2) TRY(write_all(file, "\n", 1));
    }
    return YJ_OK;
}

/* --- the linker --- */

static const char *find_linker(char *path, size_t room) {
    const char *own = getenv("YUNJIN_LLVM_BINDIR");
    const char *places[] = {own && *own ? own : LLVM_BINDIR, LLVM_BINDIR};
    for (size_t i = 0; i < COUNT(places); i++) {
        snprintf(path, room, "%s/ld.lld", places[i]);
        if (*places[i] && access(path, X_OK) == 0) return path;
    }
    return "ld.lld-19"; /* looked for in PATH */
}

static enum yj_status run_linker(const char *archive, const char *output, int errors) {
    char path[4096];
    const char *linker = find_linker(path, sizeof path);
    const char *argv[] = {linker,
                          "-shared",
                          "--no-undefined",
                          "--whole-archive",
                          "--hash-style=gnu",
                          "--build-id=none",
                          "-z",
                          "noexecstack",
                          "-o",
                          output,
                          archive,
                          NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, errors, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    pid_t child;
    int failed = posix_spawnp(&child, linker, &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        return report(YJ_ERR_UNSUPPORTED,
                      "cannot run the linker %s: %s; install lld-19 (apt install lld-19) or set YUNJIN_LLVM_BINDIR",
                      linker, strerror(failed));
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return report(YJ_ERR_IO, "waiting for the linker: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return YJ_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return report(YJ_ERR_UNSUPPORTED, "cannot run the linker %s; install lld-19 or set YUNJIN_LLVM_BINDIR", linker);
    char text[512];
    ssize_t n = pread(errors, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return report(YJ_ERR_INTERNAL, "the linker %s failed: %.400s", linker, text);
}

static enum yj_status link_in(const char *folder, int n, const struct link_object *objects, char **library,
                              size_t *bytes) {
    char output[4096], archive[64];
    int input = memfd_create("kernels.a", 0), errors = memfd_create("linker", MFD_CLOEXEC);
    enum yj_status status = YJ_OK;
    if (input < 0 || errors < 0) status = report(YJ_ERR_IO, "memory file for the linker: %s", strerror(errno));
    snprintf(output, sizeof output, "%s/kernels.so", folder);
    snprintf(archive, sizeof archive, "/proc/self/fd/%d", input);
    if (status == YJ_OK) status = write_archive(input, n, objects);
    if (status == YJ_OK) status = run_linker(archive, output, errors);
    if (status == YJ_OK) status = file_read(output, library, bytes);
    unlink(output);
    if (input >= 0) close(input);
    if (errors >= 0) close(errors);
    return status;
}

enum yj_status link_objects(int n, const struct link_object *objects, char **library, size_t *bytes) {
    const char *base = getenv("TMPDIR");
    char folder[4000];
    if (n == 0) { /* a model that only moves data has no kernels: an empty file, which nobody opens */
        if (!(*library = calloc(1, 1))) return report(YJ_ERR_MEMORY, "out of memory");
        *bytes = 0;
        return YJ_OK;
    }
    snprintf(folder, sizeof folder, "%s/yunjin-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) return report(YJ_ERR_IO, "%s: %s", folder, strerror(errno));
    enum yj_status status = link_in(folder, n, objects, library, bytes);
    rmdir(folder);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors, log, arena, text, files: also what happens when memory, the disk or the permission is missing.
 */
#include "runtime/base/base.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/yunjin-base-XXXXXX";

static enum yj_status passes_on(void) {
    TRY(report(YJ_ERR_IO, "line %d", 7));
    return YJ_OK;
}

static void *other_thread(void *text) {
    snprintf(text, 64, "[%s]", yj_error_text());
    report(YJ_ERR_PEER, "theirs");
    return NULL;
}

static void errors(void **state) {
    (void)state;
    assert_string_equal(yj_error_text(), "");
    assert_int_equal(passes_on(), YJ_ERR_IO);
    assert_string_equal(yj_error_text(), "line 7");
    assert_int_equal(report_in(YJ_ERR_INPUT, "file %s", "x"), YJ_ERR_INPUT);
    assert_string_equal(yj_error_text(), "file x: line 7");
    report(YJ_ERR_IO, "<%s>", yj_error_text());
    assert_string_equal(yj_error_text(), "<file x: line 7>");

    char theirs[64];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, theirs), 0);
    pthread_join(thread, NULL);
    assert_string_equal(theirs, "[]");
    assert_string_equal(yj_error_text(), "<file x: line 7>");

    size_t long_bytes = 3 * ERROR_ROOM;
    char *big = malloc(long_bytes + 1);
    memset(big, 0, long_bytes + 1);
    for (int i = 0; i < ERROR_ROOM; i++)
        memcpy(big + 3 * i, "\xe4\xba\x91", 3); /* a long line is cut between characters */
    for (int shift = 0; shift < 3; shift++) {
        report(YJ_ERR_IO, "%.*s%s", shift, "ab", big);
        size_t n = strlen(yj_error_text());
        assert_in_range(n, ERROR_ROOM - 8, ERROR_ROOM - 1);
        assert_int_equal((n - (size_t)min64(shift, 2)) % 3, 0);
        report_in(YJ_ERR_IO, "again");
        assert_in_range(strlen(yj_error_text()), ERROR_ROOM - 8, ERROR_ROOM - 1);
    }
    free(big);
    for (int i = 0; i <= 10; i++)
        assert_string_not_equal(yj_status_name((enum yj_status)i), "unknown status");
    assert_string_equal(yj_status_name((enum yj_status)11), "unknown status");
}

/* Runs FN in a child with YUNJIN_LOG=VALUE and gives what it wrote to standard error. */
static void log_of(const char *value, void (*fn)(void), char *out, size_t room) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        if (value)
            setenv("YUNJIN_LOG", value, 1);
        else
            unsetenv("YUNJIN_LOG");
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], out + n, room - n - 1)) > 0;)
        n += (size_t)got;
    out[n] = 0;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void all_levels(void) {
    for (int level = YJ_LOG_ERROR; level <= YJ_LOG_TRACE; level++)
        log_line((enum yj_log_level)level, "n%d", level);
}

static void taken(void *user, enum yj_log_level level, const char *line) {
    fprintf(stderr, "(%s %d %s)", (const char *)user, level, line);
}

static void own_callback(void) {
    yj_log_set(taken, "u", YJ_LOG_INFO);
    all_levels();
    yj_log_set(NULL, NULL, YJ_LOG_ERROR);
    all_levels();
}

static void logs(void **state) {
    (void)state;
    static const char error[] = "yunjin: error: n0\n", warn[] = "yunjin: error: n0\nyunjin: warn: n1\n";
    char out[1000];
    log_of(NULL, all_levels, out, sizeof out);
    assert_string_equal(out, warn);
    log_of("", all_levels, out, sizeof out);
    assert_string_equal(out, warn);
    log_of("error", all_levels, out, sizeof out);
    assert_string_equal(out, error);
    log_of("warn", all_levels, out, sizeof out);
    assert_string_equal(out, warn);
    log_of("info", all_levels, out, sizeof out);
    assert_non_null(strstr(out, "yunjin: info: n2\n"));
    assert_null(strstr(out, "n3"));
    log_of("trace", all_levels, out, sizeof out);
    assert_non_null(strstr(out, "yunjin: trace: n3\n"));
    log_of("loud", all_levels, out, sizeof out);
    assert_non_null(strstr(out, "YUNJIN_LOG=loud is not one of error, warn, info, trace"));
    assert_non_null(strstr(out, warn));
    log_of("trace", own_callback, out, sizeof out);
    assert_string_equal(out, "(u 0 n0)(u 1 n1)(u 2 n2)yunjin: error: n0\n");
}

static void arenas(void **state) {
    (void)state;
    struct arena *arena = arena_open();
    assert_non_null(arena);
    struct {
        unsigned char *p;
        size_t n;
    } got[3000];
    uint64_t seed = 3;
    for (size_t i = 0; i < COUNT(got); i++) {
        seed = hash_bytes(&i, sizeof i, seed);
        got[i].n = i % 100 == 7 ? seed % 100000 : seed % 90;
        got[i].p = arena_new(arena, got[i].n);
        assert_int_equal((uintptr_t)got[i].p % 16, 0);
        for (size_t k = 0; k < got[i].n; k++)
            assert_int_equal(got[i].p[k], 0);
        memset(got[i].p, (int)(i % 255 + 1), got[i].n);
    }
    size_t sum = 0;
    for (size_t i = 0; i < COUNT(got); i++) {
        sum += got[i].n;
        for (size_t k = 0; k < got[i].n; k++)
            assert_int_equal(got[i].p[k], i % 255 + 1);
    }
    assert_in_range(arena_bytes(arena), sum, 3 * sum);
    assert_string_equal(arena_text(arena, "%s-%d", "abc", 12), "abc-12");
    assert_string_equal(arena_text(arena, "%s", ""), "");
    assert_null(arena_new(arena, SIZE_MAX)); /* no guard: NULL */
    assert_null(NEW_ARRAY(arena, uint64_t, SIZE_MAX / 4));
    assert_null(NEW_ARRAY(arena, uint64_t, -1));
    arena_close(arena);
    arena_close(NULL);
}

struct work {
    struct arena *arena;
    int steps;
};

static enum yj_status allocate_much(void *argument) {
    struct work *work = argument;
    for (work->steps = 0; work->steps < 1000; work->steps++)
        memset(arena_new(work->arena, 300), 1, 300);
    return report(YJ_ERR_UNSUPPORTED, "reached the end");
}

static enum yj_status inner_guard_first(void *argument) {
    struct work *work = argument;
    assert_int_equal(arena_guard(allocate_much, argument), YJ_ERR_MEMORY);
    assert_in_range(work->steps, 0, 999);
    NEW_ARRAY(work->arena, uint64_t, SIZE_MAX / 2); /* and now the outer one */
    return YJ_OK;
}

static void memory_runs_out(void **state) {
    (void)state;
    int last = -1, n = 1;
    for (;; n++) {
        arena_fail_at(0);
        struct work work = {.arena = arena_open()};
        arena_fail_at(n);
        enum yj_status status = arena_guard(allocate_much, &work);
        arena_fail_at(0);
        if (status == YJ_ERR_UNSUPPORTED) {
            arena_close(work.arena);
            break;
        }
        assert_int_equal(status, YJ_ERR_MEMORY);
        assert_non_null(strstr(yj_error_text(), "out of memory"));
        assert_true(work.steps > last && work.steps < 1000); /* a later allocation fails at a later step */
        last = work.steps;
        assert_non_null(arena_new(work.arena, 100)); /* the arena is whole after a failure */
        arena_close(work.arena);
    }
    assert_in_range(n, 5, 20);
    arena_fail_at(1);
    assert_null(arena_open());
    struct work work = {.arena = arena_open()}; /* only the n-th fails */
    assert_non_null(work.arena);
    arena_fail_at(2);
    assert_int_equal(arena_guard(inner_guard_first, &work), YJ_ERR_MEMORY);
    arena_fail_at(0);
    assert_null(arena_new(work.arena, SIZE_MAX)); /* no guard is left behind */
    arena_close(work.arena);
}

static void texts(void **state) {
    (void)state;
    struct text text = {0};
    text_add(&text, "%s", "");
    assert_string_equal(text.data, "");
    char wanted[5000] = "";
    for (int i = 0; i < 900; i++) {
        text_add(&text, "%d,", i);
        sprintf(wanted + strlen(wanted), "%d,", i);
        assert_int_equal(strlen(text.data), text.n);
    }
    assert_string_equal(text.data, wanted);
    assert_false(text.failed);
    text_free(&text);
    assert_null(text.data);
}

static void hashes(void **state) {
    (void)state;
    static const unsigned char data[] = "the same number on every machine";
    assert_true(hash_bytes(data, 32, 0) == 0xb56838b563f27f29u);
    assert_true(hash_bytes("", 0, 0) != hash_bytes("", 0, 1) && hash_bytes("\0", 1, 0) != hash_bytes("", 0, 0));
    unsigned char buffer[40];
    for (size_t n = 0; n < 33; n++) { /* alignment does not matter; every byte does */
        uint64_t h = hash_bytes(data, n, 5);
        for (size_t at = 0; at < 8; at++) {
            memcpy(buffer + at, data, n);
            assert_true(hash_bytes(buffer + at, n, 5) == h);
        }
        for (size_t i = 0; i < n; i++) {
            memcpy(buffer, data, n);
            buffer[i] ^= 1;
            assert_true(hash_bytes(buffer, n, 5) != h);
        }
    }
    double before = time_now();
    assert_true(time_now() >= before);
}

/* --- files --- */

static const char *in(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void expect_file(const char *path, const char *wanted) {
    char *data;
    size_t n;
    assert_int_equal(file_read(path, &data, &n), YJ_OK);
    assert_int_equal(n, strlen(wanted));
    assert_string_equal(data, wanted);
    free(data);
}

static void expect_error(const char *words) {
    if (!strstr(yj_error_text(), words)) fail_msg("\"%s\" is not in: %s", words, yj_error_text());
}

static int count_entries(const char *path) {
    char command[400];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *f = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static void files(void **state) {
    (void)state;
    assert_int_equal(file_write_atomic(in("a"), "one", 3), YJ_OK);
    expect_file(in("a"), "one");
    assert_int_equal(file_write_atomic(in("a"), "", 0), YJ_OK);
    expect_file(in("a"), "");
    size_t n = 3000001, got;
    char *big = malloc(n), *data;
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 7 >> 3);
    assert_int_equal(file_write_atomic(in("a"), big, n), YJ_OK);
    assert_int_equal(file_read(in("a"), &data, &got), YJ_OK);
    assert_true(got == n && memcmp(data, big, n) == 0 && data[n] == 0);
    free(data);
    free(big);
    struct stat st;
    assert_int_equal(stat(in("a"), &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    assert_int_equal(count_entries(folder), 1);

    data = (char *)1;
    assert_int_equal(file_read(in("missing"), &data, &got), YJ_ERR_IO);
    expect_error("missing: no such file or folder");
    assert_int_equal(file_read(folder, &data, &got), YJ_ERR_IO);
    expect_error("it is a folder");
    assert_ptr_equal(data, (char *)1);
    assert_int_equal(file_read("/proc/self/status", &data, &got), YJ_OK); /* its size is said to be 0 */
    assert_int_equal(strlen(data), got);
    assert_true(got > 100);
    free(data);
    assert_int_equal(file_write_atomic(folder, "x", 1), YJ_ERR_IO); /* a folder stands there */
    assert_int_equal(file_write_atomic(in("none/b"), "x", 1), YJ_ERR_IO);
    expect_error("no such file or folder");
    assert_int_equal(file_write_atomic(in("a/b"), "x", 1), YJ_ERR_IO);
    expect_error("is a file, not a folder");
    assert_int_equal(count_entries(folder), 1);
}

/* Runs FN in a child, which may change user and mounts; 77 is "cannot be tried here". */
static void in_child(int (*fn)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(fn());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: this machine does not allow it (no mount, or no second user)\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int write_unwritable(void) {
    const char *path = in("locked");
    if (mkdir(path, 0555) < 0) return 1;
    if (geteuid() == 0 && setuid(65534) < 0) return 77;
    if (file_write_atomic(in("locked/x"), "x", 1) != YJ_ERR_IO) return 2;
    return strstr(yj_error_text(), "permission denied") && strstr(yj_error_text(), "locked/x") ? 0 : 3;
}

static void unwritable_folder(void **state) {
    (void)state;
    assert_int_equal(chmod(folder, 0755), 0);
    in_child(write_unwritable);
    rmdir(in("locked"));
}

static int write_full(void) {
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return 77;
    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mkdir(in("small"), 0755) < 0) return 1;
    if (mount("tmpfs", in("small"), "tmpfs", 0, "size=64k") < 0) return 77;
    static char data[200000];
    if (file_write_atomic(in("small/x"), "old", 3) != YJ_OK) return 2;
    if (file_write_atomic(in("small/x"), data, sizeof data) != YJ_ERR_IO) return 3;
    if (!strstr(yj_error_text(), "the disk is full")) return 4;
    char *back;
    size_t n;
    if (file_read(in("small/x"), &back, &n) != YJ_OK || n != 3 || strcmp(back, "old") != 0) return 5;
    free(back);
    return count_entries(in("small")) == 1 ? 0 : 6; /* nothing half-written is left */
}

static void full_disk(void **state) {
    (void)state;
    in_child(write_full);
}

static int open_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int close_folder(void **state) {
    (void)state;
    unlink(in("a"));
    rmdir(in("small"));
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),    cmocka_unit_test(logs),
        cmocka_unit_test(arenas),    cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(texts),     cmocka_unit_test(hashes),
        cmocka_unit_test(files),     cmocka_unit_test(unwritable_folder),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The door to machine code when things go wrong: damaged and missing caches, workers that die, processors LLVM does not
 * know, code that would call a library, machines with another vector length, kernels that crash.
 */
#include "compiler/link.h"
#include "compiler/worker.h"
#include "runtime/base/cpu.h"
#include <yunjin/compiler.h>

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const char add_text[] =
    "kernel %s(N in 1..)\n in x f32 [N]\n out y f32 [N]\n{\n tile t = 0 .. (N + 31) / 32 {\n"
    "  vector j = 0 .. 32 { if lt(t * 32 + j, N) { y[t * 32 + j] = mul(x[t * 32 + j], 2.0) } } }\n}\n";

struct fixture {
    struct arena *arena;
    const struct kernel *kernels[3];
    char folder[64];
    const struct yj_target *target;
};

static struct kernel *make(struct arena *arena, const char *name) {
    struct kernel *k;
    char text[600];
    snprintf(text, sizeof text, add_text, name);
    if (kernel_parse(arena, text, name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
    return k;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->arena = arena_open();
    f->kernels[0] = make(f->arena, "first");
    f->kernels[1] = make(f->arena, "second");
    f->kernels[2] = make(f->arena, "third");
    strcpy(f->folder, "/tmp/yunjin-test-XXXXXX");
    if (!mkdtemp(f->folder) || yj_target_find("x86-64-v3", &f->target) != YJ_OK) return -1;
    setenv("YUNJIN_CACHE", f->folder, 1);
    unsetenv("YUNJIN_KILL_WORKER");
    *state = f;
    return 0;
}

static void each_entry(const char *folder, void (*fn)(const char *path)) {
    char path[600];
    snprintf(path, sizeof path, "%s/kernels", folder);
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/kernels/%s", folder, entry->d_name);
        fn(path);
    }
    if (d) closedir(d);
}

static void remove_file(const char *path) {
    unlink(path);
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char path[600];
    each_entry(f->folder, remove_file);
    snprintf(path, sizeof path, "%s/kernels", f->folder);
    rmdir(path);
    rmdir(f->folder);
    arena_close(f->arena);
    free(f);
    return 0;
}

static enum yj_status compile(const struct fixture *f, const struct yj_target *target, struct compiled out[3]) {
    struct compile_options options = {.target = target, .workers = 2};
    return compile_kernels(&options, f->kernels, 3, out);
}

static void expect_same(const struct compiled *a, const struct compiled *b) {
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a[i].bytes, b[i].bytes);
        assert_memory_equal(a[i].object, b[i].object, a[i].bytes);
    }
}

static void damage(const char *path) {
    FILE *file = fopen(path, "r+b");
    fseek(file, -5, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -5, SEEK_END);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void cut(const char *path) {
    if (truncate(path, 100)) fail();
}

static void the_cache_gives_back_what_was_compiled(void **state) {
    struct fixture *f = *state;
    struct compiled first[3], again[3];
    void (*const harms[])(const char *) = {damage, cut, remove_file};
    assert_int_equal(compile(f, f->target, first), YJ_OK);
    for (int i = 0; i < 3; i++)
        assert_false(first[i].cached);
    assert_int_equal(compile(f, f->target, again), YJ_OK);
    for (int i = 0; i < 3; i++)
        assert_true(again[i].cached);
    expect_same(first, again);
    compiled_free(again, 3);
    for (size_t h = 0; h < COUNT(harms); h++) {
        each_entry(f->folder, harms[h]);
        assert_int_equal(compile(f, f->target, again), YJ_OK);
        for (int i = 0; i < 3; i++)
            assert_false(again[i].cached);
        expect_same(first, again);
        compiled_free(again, 3);
    }
    compiled_free(first, 3);
}

static void the_key_covers_kernel_target_and_length(void **state) {
    struct fixture *f = *state;
    const struct yj_target *sve, *v4;
    struct yj_target other = *f->target;
    struct cache_key keys[7];
    other.features = "-bmi2";
    assert_int_equal(yj_target_find("aarch64-sve", &sve), YJ_OK);
    assert_int_equal(yj_target_find("x86-64-v4", &v4), YJ_OK);
    struct emit_options options[] = {{f->target, 0, false}, {f->target, 0, true}, {&other, 0, false},
                                     {v4, 0, false},        {sve, 128, false},    {sve, 256, false}};
    for (size_t i = 0; i < COUNT(options); i++)
        assert_int_equal(cache_key_of(&options[i], f->kernels[0], &keys[i]), YJ_OK);
    assert_int_equal(cache_key_of(&options[0], f->kernels[1], &keys[6]), YJ_OK);
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&keys[i], &keys[j], sizeof keys[i]);
}

static void without_a_cache_folder_it_compiles(void **state) {
    struct fixture *f = *state;
    struct compiled out[3];
    static const char *const places[] = {"/proc/no/such", "", "/dev/null"};
    for (size_t i = 0; i < COUNT(places); i++) {
        setenv("YUNJIN_CACHE", places[i], 1);
        assert_int_equal(compile(f, f->target, out), YJ_OK);
        for (int k = 0; k < 3; k++)
            assert_false(out[k].cached);
        compiled_free(out, 3);
    }
}

static int warnings;
static char last_warning[500];

static void count_warnings(void *user, enum yj_log_level level, const char *line) {
    if (level != YJ_LOG_WARN) return;
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", line);
}

static void a_killed_worker_costs_only_its_kernel(void **state) {
    struct fixture *f = *state;
    struct compiled out[3];
    setenv("YUNJIN_KILL_WORKER", "second", 1);
    warnings = 0;
    yj_log_set(count_warnings, NULL, YJ_LOG_WARN);
    assert_int_equal(compile(f, f->target, out), YJ_OK);
    yj_log_set(NULL, NULL, YJ_LOG_WARN);
    for (int i = 0; i < 3; i++)
        assert_int_equal(out[i].scalar, i == 1);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "second"));
    assert_non_null(strstr(last_warning, "signal 9"));
    compiled_free(out, 3);
    setenv("YUNJIN_KILL_WORKER", "second!", 1);
    assert_int_equal(compile(f, f->target, out), YJ_ERR_INTERNAL);
    assert_non_null(strstr(yj_error_text(), "second"));
}

static void an_unknown_processor_is_an_error(void **state) {
    struct fixture *f = *state;
    struct compiled out[3];
    struct yj_target wrong = *f->target;
    wrong.cpu = "no-such-cpu";
    assert_int_equal(compile(f, &wrong, out), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "no-such-cpu"));
    wrong = *f->target;
    wrong.features = "+no-such-feature";
    assert_int_equal(compile(f, &wrong, out), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "no-such-feature"));
    wrong = *f->target;
    wrong.triple = "vax-dec-ultrix";
    assert_int_equal(compile(f, &wrong, out), YJ_ERR_UNSUPPORTED);
}

static void code_that_calls_a_library_does_not_link(void **state) {
    struct fixture *f = *state;
    const struct yj_target *rvv;
    struct compiled out[3];
    char *library;
    size_t bytes;
    assert_int_equal(yj_target_find("riscv64-rvv", &rvv), YJ_OK);
    struct yj_target soft = *rvv; /* without floating point: multiplications become calls */
    soft.features = "+m";
    soft.abi = "lp64";
    soft.vector_bits = 0;
    memset(soft.vector_lengths, 0, sizeof soft.vector_lengths);
    assert_int_equal(compile(f, &soft, out), YJ_OK);
    struct link_object object = {out[0].object, out[0].bytes};
    assert_int_equal(link_objects(1, &object, &library, &bytes), YJ_ERR_INTERNAL);
    assert_non_null(strstr(yj_error_text(), "sf3"));
    compiled_free(out, 3);
}

static char *library_for(const struct yj_target *target, int bits, const struct kernel *k, size_t *bytes) {
    struct compile_options options = {.target = target, .vector_bits = bits, .no_cache = true};
    struct compiled out;
    char *library;
    if (compile_kernels(&options, &k, 1, &out) != YJ_OK) fail_msg("%s", yj_error_text());
    struct link_object object = {out.object, out.bytes};
    if (link_objects(1, &object, &library, bytes) != YJ_OK) fail_msg("%s", yj_error_text());
    compiled_free(&out, 1);
    return library;
}

static void another_vector_length_is_refused(void **state) {
    struct fixture *f = *state;
    const struct yj_target *sve;
    struct emulator *e;
    size_t bytes;
    assert_int_equal(yj_target_find("aarch64-sve", &sve), YJ_OK);
    struct yj_target narrow = *sve;
    narrow.emulator = "qemu-aarch64 -cpu max,sve128=on,sve-default-vector-length=-1";
    char *library = library_for(sve, 256, f->kernels[0], &bytes);
    enum yj_status status = emulate_open(sve, 256, library, bytes, &e);
    if (status == YJ_ERR_UNSUPPORTED) {
        print_message("left out: %s\n", yj_error_text());
        free(library);
        skip();
    }
    assert_int_equal(status, YJ_OK);
    emulate_close(e);
    assert_int_equal(emulate_open(&narrow, 256, library, bytes, &e), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "256"));
    assert_non_null(strstr(yj_error_text(), "128"));
    free(library);
}

static void a_crash_is_an_error_line(void **state) {
    struct fixture *f = *state;
    struct emulator *e;
    struct yj_fault fault;
    float x[32] = {0}, y[32];
    int64_t n = 32, far = INT64_C(1) << 40;
    size_t bytes;
    struct emulate_buffer buffers[2] = {{x, sizeof x, true, false}, {y, sizeof y, false, true}};
    char *library = library_for(f->target, 0, f->kernels[0], &bytes);
    if (emulate_open(f->target, 256, library, bytes, &e) != YJ_OK) {
        print_message("left out: %s\n", yj_error_text());
        free(library);
        skip();
    }
    assert_int_equal(emulate_run(e, "first", 2, buffers, 1, &n, 0, 1, 0, &fault), YJ_OK);
    assert_int_equal(emulate_run(e, "nobody", 2, buffers, 1, &n, 0, 1, 0, &fault), YJ_ERR_INPUT);
    buffers[0].bytes = sizeof x;
    buffers[1].bytes = 64; /* the kernel writes 128 */
    assert_int_equal(emulate_run(e, "first", 2, buffers, 1, &n, 0, 1, 0, &fault), YJ_ERR_INTERNAL);
    emulate_close(e);
    assert_int_equal(emulate_open(f->target, 256, library, bytes, &e), YJ_OK);
    assert_int_equal(emulate_run(e, "first", 2, buffers, 1, &far, INT64_C(1) << 30, (INT64_C(1) << 30) + 1, 0, &fault),
                     YJ_ERR_INTERNAL);
    assert_non_null(strstr(yj_error_text(), "signal"));
    assert_int_equal(emulate_run(e, "first", 2, buffers, 1, &n, 0, 1, 0, &fault), YJ_ERR_INTERNAL);
    emulate_close(e);
    free(library);
}

static void a_missing_linker_is_named(void **state) {
    struct fixture *f = *state;
    size_t bytes;
    free(library_for(f->target, 0, f->kernels[0], &bytes)); /* works before */
    struct link_object nonsense = {"not an object", 13};
    char *library;
    assert_int_equal(link_objects(1, &nonsense, &library, &bytes), YJ_ERR_INTERNAL);
    assert_non_null(strstr(yj_error_text(), "lld"));
}

static void machines_are_asked_for_what_they_have(void **state) {
    assert_true(cpu_has(NULL));
    assert_true(cpu_has(""));
    assert_false(cpu_has("teleport"));
    assert_int_equal(cpu_require("", 0), YJ_OK);
    assert_int_equal(cpu_require("teleport", 0), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "teleport"));
    assert_int_equal(cpu_require("", cpu_vector_bits() + 64), YJ_ERR_UNSUPPORTED);
    const struct yj_target *host, *missing;
    if (yj_target_find("host", &host) == YJ_OK) assert_int_equal(cpu_require(host->minimum, 0), YJ_OK);
    assert_int_equal(yj_target_find("no-such-chip", &missing), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "kunpeng920"));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_cache_gives_back_what_was_compiled),
        TEST(the_key_covers_kernel_target_and_length),
        TEST(without_a_cache_folder_it_compiles),
        TEST(a_killed_worker_costs_only_its_kernel),
        TEST(an_unknown_processor_is_an_error),
        TEST(code_that_calls_a_library_does_not_link),
        TEST(another_vector_length_is_refused),
        TEST(a_crash_is_an_error_line),
        TEST(a_missing_linker_is_named),
        TEST(machines_are_asked_for_what_they_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

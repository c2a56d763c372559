/* SPDX-License-Identifier: Apache-2.0
 *
 * Launches that go to a launcher: a model for a chip that this machine is not runs there, on copies of its buffers as
 * in another address space, with the results and states of a model that runs here; errors, faults and what is refused.
 */
#include <yunjin/runtime.h>

#include "tests/runtime/sample.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <yunjin/target.h>
#include <cmocka.h>

static char folder[] = "/tmp/yunjin-launcher-XXXXXX", so[64], here[64], foreign[64], general[64];

static int set_up(void **state) {
    if (!mkdtemp(folder) || !sample_compile(folder, sample_kernels, so, sizeof so)) {
        print_message("skipped: no C compiler (cc) for the kernels of this test\n");
        exit(77);
    }
    snprintf(here, sizeof here, "%s/here.yj", folder);
    snprintf(foreign, sizeof foreign, "%s/foreign.yj", folder);
    snprintf(general, sizeof general, "%s/general.yj", folder);
    bool made = sample_write(here, sample_decoder, so) == YJ_OK;
    sample_arch = "pdp11";
    made =
        made && sample_write(foreign, sample_decoder, so) == YJ_OK && sample_write(general, sample_plan, so) == YJ_OK;
    if (!made) print_error("%s\n", yj_error_text());
    return made ? 0 : -1;
}

static int tear_down(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        enum yj_status ok_status = (x);                                                                                \
        if (ok_status != YJ_OK) print_error("%s: %s\n", #x, yj_error_text());                                          \
        assert_int_equal(ok_status, YJ_OK);                                                                            \
    } while (0)
#define REFUSED(x, status, part)                                                                                       \
    do {                                                                                                               \
        assert_int_equal((x), (status));                                                                               \
        if (!strstr(yj_error_text(), (part))) print_error("'%s' lacks '%s'\n", yj_error_text(), (part));               \
        assert_non_null(strstr(yj_error_text(), (part)));                                                              \
    } while (0)

/* --- a launcher that has its own memory --- */

static int opened, launched, closed, fail_at;

static enum yj_status open_kernels(const char *target, int32_t vector_bits, const void *library, uint64_t bytes,
                                   void **kernels) {
    char path[64];
    int file = memfd_create("kernels", 0);
    assert_string_equal(target, "host");
    assert_int_equal(vector_bits, 0);
    assert_int_equal(write(file, library, bytes), bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    *kernels = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    close(file);
    if (!*kernels) return report(YJ_ERR_IO, "%s", dlerror());
    opened++;
    return YJ_OK;
}

static enum yj_status launch(void *kernels, const struct yj_launch *l, struct yj_fault *fault) {
    void *copies[8], *scratch = calloc(1, (size_t)l->scratch_bytes + 1), *found = dlsym(kernels, l->kernel);
    yj_kernel_fn *fn;
    assert_true(l->size == sizeof *l && l->n_buffers <= 8 && found && scratch);
    memcpy(&fn, &found, sizeof fn);
    if (launched++ == fail_at) {
        free(scratch);
        return report(YJ_ERR_INTERNAL, "the other machine is on fire");
    }
    for (int i = 0; i < l->n_buffers; i++) {
        copies[i] = malloc(l->buffers[i].bytes + 1);
        memcpy(copies[i], l->buffers[i].data, l->buffers[i].bytes);
    }
    fn(copies, l->scalars, l->tile_begin, l->tile_end, scratch, fault);
    for (int i = 0; i < l->n_buffers; i++) {
        if (l->buffers[i].out) memcpy(l->buffers[i].data, copies[i], l->buffers[i].bytes);
        free(copies[i]);
    }
    free(scratch);
    return YJ_OK;
}

static void close_kernels(void *kernels) {
    closed++;
    dlclose(kernels);
}

static const struct yj_launcher launcher = {sizeof launcher, open_kernels, launch, close_kernels};

static struct yj_model *open_there(const char *path) {
    struct yj_model_options o = {.size = sizeof o, .launcher = &launcher};
    struct yj_model *m = NULL;
    opened = launched = closed = 0;
    fail_at = -1;
    OK(yj_model_open(path, &o, &m));
    assert_int_equal(opened, 1);
    return m;
}

/* --- tests --- */

static void step(struct yj_model *m, float *x, int64_t rows, float *sum) {
    struct yj_tensor in = {sizeof in, YJ_F32, 2, {rows, 4}, x}, out = {.size = sizeof out};
    OK(yj_model_bind(m, 0, &in));
    OK(yj_model_run(m));
    OK(yj_model_output(m, 0, &out));
    memcpy(sum, out.data, 16);
}

static void test_same_results_and_states(void **state) {
    struct yj_model *a, *b = open_there(foreign);
    OK(yj_model_open(here, NULL, &a));
    for (int turn = 0; turn < 5; turn++) {
        float x[12], at_home[4], there[4];
        for (int i = 0; i < 12; i++)
            x[i] = (float)(turn * 31 + i * 7 % 13) / 3;
        step(a, x, 1 + turn % 3, at_home);
        step(b, x, 1 + turn % 3, there);
        assert_memory_equal(at_home, there, sizeof there);
    }
    assert_int_equal(launched, 10);
    float kv_a[256] = {0}, kv_b[256] = {0};
    struct yj_tensor ta = {.size = sizeof ta, .data = kv_a}, tb = {.size = sizeof tb, .data = kv_b};
    OK(yj_model_state_get(a, 0, &ta, sizeof kv_a));
    OK(yj_model_state_get(b, 0, &tb, sizeof kv_b));
    assert_true(ta.shape[0] == 9 && tb.shape[0] == 9);
    assert_memory_equal(kv_a, kv_b, sizeof kv_a);
    yj_model_close(a);
    yj_model_close(b);
    assert_int_equal(closed, 1);
}

static void test_failures(void **state) {
    float x[4] = {1, 2, 3, 4}, sum[4];
    struct yj_model *m = open_there(foreign);
    struct yj_tensor in = {sizeof in, YJ_F32, 2, {1, 4}, x};
    fail_at = 1;
    OK(yj_model_bind(m, 0, &in));
    REFUSED(yj_model_run(m), YJ_ERR_INTERNAL, "on fire");
    assert_non_null(strstr(yj_error_text(), "Attention_9"));
    yj_model_state_reset(m);
    step(m, x, 1, sum); /* it may be run again */
    assert_memory_equal(sum, x, sizeof sum);
    yj_model_close(m);
}

static void test_faults(void **state) {
    struct yj_model *m = open_there(general);
    static _Alignas(64) float x[6] = {1, 2, 3, 4, 5, 6};
    static _Alignas(64) int64_t index[3] = {0, 99, 1}, times[2] = {0, 0};
    struct yj_tensor in[3] = {
        {sizeof *in, YJ_F32, 2, {3, 2}, x}, {sizeof *in, YJ_I64, 1, {3}, index}, {sizeof *in, YJ_I64, 1, {2}, times}};
    for (int i = 0; i < 3; i++)
        OK(yj_model_bind(m, i, &in[i]));
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "index 99 is out of range");
    assert_non_null(strstr(yj_error_text(), "Gather_2"));
    index[1] = 2;
    OK(yj_model_run(m));
    struct yj_tensor picked = {.size = sizeof picked};
    OK(yj_model_output(m, 1, &picked));
    assert_true(((float *)picked.data)[0] == (1 + 3 + 5) * 0.5f && ((float *)picked.data)[1] == (2 + 4 + 6) * 1.5f);
    yj_model_close(m);
}

static void test_refused(void **state) {
    struct yj_model *m = NULL;
    REFUSED(yj_model_open(foreign, NULL, &m), YJ_ERR_UNSUPPORTED, "it is for pdp11");
    struct yj_launcher small = launcher;
    small.size = 4;
    struct yj_model_options o = {.size = sizeof o, .launcher = &small};
    REFUSED(yj_model_open(foreign, &o, &m), YJ_ERR_INPUT, "yj_launcher.size");
    o = (struct yj_model_options){.size = sizeof o, .launcher = &launcher, .target = "nowhere"};
    REFUSED(yj_model_open(foreign, &o, &m), YJ_ERR_INPUT, "it has no program for the target nowhere; it has: ");
    o = (struct yj_model_options){.size = offsetof(struct yj_model_options, launcher),
                                  .launcher = &launcher}; /* a caller of before */
    REFUSED(yj_model_open(foreign, &o, &m), YJ_ERR_UNSUPPORTED, "it is for pdp11");
    assert_null(m);
}

static void test_names(void **state) {
    assert_true(cpu_name_same("loongson_3a6000", "loongson-3a6000") && cpu_name_same("", "") &&
                cpu_name_same("a-b_c", "a_b-c"));
    assert_false(cpu_name_same("loongson", "loongson-3a6000") || cpu_name_same("x_", "x") ||
                 cpu_name_same("x-", "xy") || cpu_name_same("", "_"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_results_and_states), cmocka_unit_test(test_failures),
                                       cmocka_unit_test(test_faults), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

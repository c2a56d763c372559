/* SPDX-License-Identifier: Apache-2.0
 *
 * A model made by hand, run through the public header: several shapes and thread counts, start and wait, states in
 * place without an allocation, branch and loop, faults, what a caller may do wrong, and the profile.
 */
#include <yunjin/runtime.h>

#include "tests/runtime/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <cmocka.h>

/* --- counting what is asked of the system between start and wait --- */

static _Atomic int counting, asked;
#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__
#define COUNTS 1
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) {
    if (counting) asked++;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t m) {
    if (counting) asked++;
    return __libc_calloc(n, m);
}
void *realloc(void *p, size_t n) {
    if (counting) asked++;
    return __libc_realloc(p, n);
}
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from) {
    if (counting) asked++;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, from);
}
#endif
#endif

static char folder[] = "/tmp/yunjin-model-XXXXXX", so[64], general[64], decoder[64];

static int set_up(void **state) {
    if (!mkdtemp(folder) || !sample_compile(folder, sample_kernels, so, sizeof so)) {
        print_message("skipped: no C compiler (cc) for the kernels of this test\n");
        exit(77);
    }
    snprintf(general, sizeof general, "%s/general.yj", folder);
    snprintf(decoder, sizeof decoder, "%s/decoder.yj", folder);
    if (sample_write(general, sample_plan, so) != YJ_OK || sample_write(decoder, sample_decoder, so) != YJ_OK) {
        print_error("%s\n", yj_error_text());
        return -1;
    }
    return 0;
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

static struct yj_model *open_model(const char *path, int threads) {
    struct yj_model_options o = {.size = sizeof o, .threads = threads};
    struct yj_model *m = NULL;
    OK(yj_model_open(path, &o, &m));
    return m;
}

struct inputs {
    struct yj_tensor x, index, times;
};

static void inputs_new(struct inputs *in, int64_t n, int64_t d) {
    in->x = (struct yj_tensor){.size = sizeof in->x, .dtype = YJ_F32, .rank = 2, .shape = {n, d}};
    in->index = (struct yj_tensor){.size = sizeof in->index, .dtype = YJ_I64, .rank = 1, .shape = {n}};
    in->times = (struct yj_tensor){.size = sizeof in->times, .dtype = YJ_I64, .rank = 1, .shape = {2}};
    OK(yj_tensor_new(&in->x));
    OK(yj_tensor_new(&in->index));
    OK(yj_tensor_new(&in->times));
    for (int64_t i = 0; i < n * d; i++)
        ((float *)in->x.data)[i] = (float)(i % 97) - 40;
    for (int64_t i = 0; i < n; i++)
        ((int64_t *)in->index.data)[i] = (i * 7) % n;
}

static void inputs_bind(struct yj_model *m, struct inputs *in) {
    OK(yj_model_bind(m, yj_model_find(m, YJ_PORT_INPUT, "x"), &in->x));
    OK(yj_model_bind(m, yj_model_find(m, YJ_PORT_INPUT, "index"), &in->index));
    OK(yj_model_bind(m, yj_model_find(m, YJ_PORT_INPUT, "times"), &in->times));
}

static void inputs_free(struct inputs *in) {
    yj_tensor_free(&in->x), yj_tensor_free(&in->index), yj_tensor_free(&in->times);
}

static void check_outputs(struct yj_model *m, const struct inputs *in, float added) {
    int64_t n = in->x.shape[0], d = in->x.shape[1];
    const float *x = in->x.data;
    struct yj_tensor y = {.size = sizeof y}, picked = {.size = sizeof picked}, w = {.size = sizeof w};
    OK(yj_model_output(m, 0, &y));
    OK(yj_model_output(m, 1, &picked));
    OK(yj_model_output(m, 2, &w));
    assert_int_equal(y.rank, 2);
    assert_int_equal(y.shape[0], n);
    assert_int_equal(y.shape[1], d);
    assert_int_equal(picked.shape[0], d);
    assert_int_equal(w.shape[0], 64);
    float want[64] = {0};
    for (int64_t i = 0; i < n * d; i++) {
        float v = x[i] * ((float)(i % d) + 0.5f) + (n == 1 ? 1000 : 0);
        if (((float *)y.data)[i] != v) fail_msg("y[%lld] is %g, not %g", (long long)i, ((float *)y.data)[i], v);
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < d; j++)
            want[j] += ((float *)y.data)[((int64_t *)in->index.data)[i] * d + j];
    }
    for (int64_t j = 0; j < d; j++) {
        float v = want[j];
        for (int t = 0; t < (int)added; t++)
            v += 1;
        assert_true(((float *)picked.data)[j] == v);
    }
    for (int j = 0; j < 64; j++)
        assert_true(((float *)w.data)[j] == (float)j + 0.5f);
}

static void test_shapes_and_threads(void **state) {
    static const int64_t shapes[][2] = {{3, 5}, {1, 5}, {64, 64}, {3, 5}, {1000, 7}, {2, 1}, {20000, 16}, {3, 5}};
    for (int threads = 1; threads <= 8; threads *= 2) {
        struct yj_model *m = open_model(general, threads);
        for (size_t round = 0; round < 2; round++) {
            for (size_t i = 0; i < COUNT(shapes); i++) {
                struct inputs in;
                inputs_new(&in, shapes[i][0], shapes[i][1]);
                inputs_bind(m, &in);
                if (round) {
                    OK(yj_model_start(m));
                    OK(yj_model_wait(m));
                } else {
                    OK(yj_model_run(m));
                }
                check_outputs(m, &in, 0);
                inputs_free(&in);
            }
        }
        yj_model_close(m);
    }
}

static void test_unaligned_input(void **state) {
    struct yj_model *m = open_model(general, 2);
    struct inputs in;
    inputs_new(&in, 9, 3);
    inputs_bind(m, &in);
    char *moved = malloc(9 * 3 * 4 + 64);
    memcpy(moved + 4, in.x.data, 9 * 3 * 4);
    struct yj_tensor x = in.x;
    x.data = moved + 4;
    OK(yj_model_bind(m, 0, &x));
    memset(moved, 0xff, 9 * 3 * 4 + 64); /* it was copied */
    free(moved);
    OK(yj_model_run(m));
    check_outputs(m, &in, 0);
    inputs_free(&in);
    yj_model_close(m);
}

static void test_branch_and_loop(void **state) {
    struct yj_model *m = open_model(general, 2);
    struct inputs in;
    inputs_new(&in, 4, 6);
    inputs_bind(m, &in);
    static const int64_t cases[][3] = {{5, 1, 5}, {5, 0, 0}, {0, 1, 0}, {50, 1, 40}, {12, 1, 12}}; /* k, on, turns */
    for (size_t i = 0; i < COUNT(cases); i++) {
        memcpy(in.times.data, cases[i], 16);
        OK(yj_model_run(m));
        check_outputs(m, &in, (float)cases[i][2]);
        struct yj_tensor k = {.size = sizeof k};
        enum yj_status status = yj_model_output(m, 3, &k); /* [k + 1] of the two that there are */
        assert_int_equal(status, cases[i][0] + 1 <= 2 ? YJ_OK : YJ_ERR_INTERNAL);
        if (status == YJ_OK) assert_int_equal(k.shape[0], cases[i][0] + 1);
    }
    ((int64_t *)in.times.data)[0] = 51;
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "node 5 'Loop_5 (Loop)': k is 51; the model was compiled for 0..50");
    ((int64_t *)in.times.data)[0] = -1;
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "k is -1");
    struct yj_tensor y = {.size = sizeof y};
    REFUSED(yj_model_output(m, 0, &y), YJ_ERR_INPUT, "run the model first");
    inputs_free(&in);
    yj_model_close(m);
}

static void test_faults(void **state) {
    struct yj_model *m = open_model(general, 4);
    struct inputs in;
    inputs_new(&in, 300, 64);
    inputs_bind(m, &in);
    int64_t *index = in.index.data;
    index[77] = 300;
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "node 2 'Gather_2 (Gather)': index 300 is out of range");
    index[77] = -5;
    OK(yj_model_start(m));
    REFUSED(yj_model_wait(m), YJ_ERR_INPUT, "index -5 is out of range");
    index[77] = 0;
    OK(yj_model_run(m));
    check_outputs(m, &in, 0);
    inputs_free(&in);
    yj_model_close(m);
}

static void test_wrong_calls(void **state) {
    struct yj_model *m = open_model(general, 1);
    struct inputs in;
    inputs_new(&in, 3, 5);
    struct yj_tensor t = in.x;
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "input 'x' is not bound");
    t.size = 0;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "sizeof(struct yj_tensor)");
    t = in.x, t.dtype = YJ_F16;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "input 'x' is f16; the model takes f32");
    t = in.x, t.rank = 3;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "rank 3; the model takes rank 2 [N, D]");
    t = in.x, t.rank = -1;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "rank -1");
    t = in.x, t.shape[1] = 65;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "dimension 1 (D) is 65; the model takes 1..64");
    t = in.x, t.shape[0] = INT64_C(1) << 40;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "the model takes 1..100000");
    t = in.x, t.shape[0] = -1;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "is -1");
    t = in.x, t.data = NULL;
    REFUSED(yj_model_bind(m, 0, &t), YJ_ERR_INPUT, "no data");
    REFUSED(yj_model_bind(m, 3, &in.x), YJ_ERR_INPUT, "there is no input 3");
    REFUSED(yj_model_bind(m, -1, &in.x), YJ_ERR_INPUT, "there is no input -1");
    assert_int_equal(yj_model_find(m, YJ_PORT_INPUT, "nothing"), -1);
    OK(yj_model_bind(m, 0, &in.x));
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "input 'index' is not bound");
    OK(yj_model_bind(m, 2, &in.times));
    t = in.index, t.shape[0] = 2;
    OK(yj_model_bind(m, 1, &t));
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "input 'index': dimension 0 (N) is 2, but input 'x' says 3");
    t = in.times, t.shape[0] = 3;
    REFUSED(yj_model_bind(m, 2, &t), YJ_ERR_INPUT, "has the shape [3]; the model takes [2]");
    REFUSED(yj_model_wait(m), YJ_ERR_INPUT, "no run of this model was started");
    inputs_bind(m, &in);
    OK(yj_model_start(m));
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "call yj_model_wait first");
    REFUSED(yj_model_bind(m, 0, &in.x), YJ_ERR_INPUT, "call yj_model_wait first");
    OK(yj_model_wait(m));
    check_outputs(m, &in, 0);
    OK(yj_model_start(m));
    yj_model_close(m); /* waits */
    inputs_free(&in);
}

static void test_info(void **state) {
    struct yj_model *m = open_model(decoder, 1);
    assert_int_equal(yj_model_count(m, YJ_PORT_INPUT), 1);
    assert_int_equal(yj_model_count(m, YJ_PORT_OUTPUT), 1);
    assert_int_equal(yj_model_count(m, YJ_PORT_STATE), 1);
    struct yj_port_info info = {.size = sizeof info};
    OK(yj_model_info(m, YJ_PORT_STATE, 0, &info));
    assert_string_equal(info.name, "past.0");
    assert_string_equal(info.output_name, "present.0");
    assert_string_equal(info.dim[0], "past");
    assert_int_equal(info.high[0], 64);
    OK(yj_model_info(m, YJ_PORT_INPUT, 0, &info));
    assert_string_equal(info.dim[1], "4");
    assert_int_equal(info.low[1], 4);
    assert_int_equal(info.dtype, YJ_F32);
    assert_int_equal(yj_model_info(m, YJ_PORT_INPUT, 1, &info), YJ_ERR_INPUT);
    yj_model_close(m);
}

static void decode(struct yj_model *m, struct yj_tensor *x, float value, float want) {
    for (int64_t i = 0; i < x->shape[0] * 4; i++)
        ((float *)x->data)[i] = value;
    OK(yj_model_bind(m, 0, x));
    OK(yj_model_start(m));
    OK(yj_model_wait(m));
    struct yj_tensor sum = {.size = sizeof sum};
    OK(yj_model_output(m, 0, &sum));
    for (int i = 0; i < 4; i++) {
        if (((float *)sum.data)[i] != want) fail_msg("sum[%d] is %g, not %g", i, ((float *)sum.data)[i], want);
    }
}

static void test_state_in_place(void **state) {
    struct yj_model *m = open_model(decoder, 2);
    struct yj_tensor x = {.size = sizeof x, .dtype = YJ_F32, .rank = 2, .shape = {16, 4}}, kv = {.size = sizeof kv};
    OK(yj_tensor_new(&x));
    decode(m, &x, 1, 16); /* a prompt of 16 */
    x.shape[0] = 1;
    decode(m, &x, 2, 18);
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 4; j++)
            ((float *)x.data)[j] = 3;
        OK(yj_model_bind(m, 0, &x));
        asked = 0;
        counting = 1;
        enum yj_status started = yj_model_start(m), ended = yj_model_wait(m);
        counting = 0;
        OK(started);
        OK(ended);
#ifdef COUNTS
        assert_int_equal(asked, 0);
#endif
    }
    OK(yj_model_state_get(m, 0, &kv, 0));
    assert_int_equal(kv.shape[0], 57);
    float got[64 * 4];
    kv.data = got;
    assert_int_equal(yj_model_state_get(m, 0, &kv, 100), YJ_ERR_INPUT);
    OK(yj_model_state_get(m, 0, &kv, sizeof got));
    assert_true(got[0] == 1 && got[16 * 4] == 2 && got[56 * 4 + 3] == 3);
    x.shape[0] = 8;
    OK(yj_model_bind(m, 0, &x));
    REFUSED(yj_model_run(m), YJ_ERR_INPUT, "state 'past.0': dimension 0 would be 65; there is room for 64: reset it");
    x.shape[0] = 7;
    decode(m, &x, 0, 16 + 2 + 120);
    x.shape[0] = 1;
    OK(yj_model_bind(m, 0, &x));
    assert_int_equal(yj_model_run(m), YJ_ERR_INPUT);
    OK(yj_model_state_reset(m));
    decode(m, &x, 5, 5);
    struct yj_tensor set = {.size = sizeof set, .dtype = YJ_F32, .rank = 2, .shape = {10, 4}, .data = got};
    OK(yj_model_state_set(m, 0, &set));
    decode(m, &x, 7, 17);
    OK(yj_model_state_get(m, 0, &kv, sizeof got));
    assert_int_equal(kv.shape[0], 11);
    set.shape[0] = 65;
    REFUSED(yj_model_state_set(m, 0, &set), YJ_ERR_INPUT, "state 'past.0'");
    set.shape[0] = 10, set.shape[1] = 3;
    REFUSED(yj_model_state_set(m, 0, &set), YJ_ERR_INPUT, "state 'past.0'");
    decode(m, &x, 7, 24); /* what was refused changed nothing */
    yj_tensor_free(&x);
    yj_model_close(m);
}

/* The first calls: before any input is bound, a state of a fixed storage can be read and set. */
static void test_state_first(void **state) {
    struct yj_model *m = open_model(decoder, 1);
    struct yj_tensor kv = {.size = sizeof kv}, x = {.size = sizeof x, .dtype = YJ_F32, .rank = 2, .shape = {1, 4}};
    OK(yj_model_state_get(m, 0, &kv, 0));
    assert_int_equal(kv.shape[0], 0);
    assert_int_equal(kv.shape[1], 4);
    float rows[2 * 4] = {1, 1, 1, 1, 1, 1, 1, 1};
    kv.data = rows, kv.shape[0] = 2;
    OK(yj_model_state_set(m, 0, &kv));
    OK(yj_tensor_new(&x));
    decode(m, &x, 1, 3);
    yj_tensor_free(&x);
    yj_model_close(m);
}

static void test_profile_and_stats(void **state) {
    struct yj_model *m = open_model(general, 2);
    struct inputs in;
    char path[128];
    inputs_new(&in, 50, 8);
    inputs_bind(m, &in);
    ((int64_t *)in.times.data)[0] = 3, ((int64_t *)in.times.data)[1] = 1;
    OK(yj_model_profile(m, true));
    OK(yj_model_run(m));
    OK(yj_model_run(m));
    snprintf(path, sizeof path, "%s/trace.json", folder);
    OK(yj_model_profile_write(m, path));
    json_t *root = json_load_file(path, 0, NULL), *events = json_object_get(root, "traceEvents"), *e;
    assert_true(json_is_array(events));
    int scale = 0, loop = 0;
    double last = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        e = json_array_get(events, i);
        const char *name = json_string_value(json_object_get(e, "name"));
        scale += strcmp(name, "Scale_1 (Mul)") == 0;
        loop += strcmp(name, "add_one") == 0;
        if (strcmp(json_string_value(json_object_get(e, "ph")), "X") != 0) continue;
        double ts = json_number_value(json_object_get(e, "ts"));
        assert_true(ts >= last && json_number_value(json_object_get(e, "dur")) >= 0);
        last = ts;
    }
    assert_int_equal(scale, 2);
    assert_int_equal(loop, 6);
    json_decref(root);
    REFUSED(yj_model_profile_write(m, "/nowhere/trace.json"), YJ_ERR_IO, "/nowhere/trace.json");
    struct yj_model_stats stats = {.size = sizeof stats};
    OK(yj_model_stats(m, &stats));
    assert_int_equal(stats.threads, 2);
    assert_int_equal(stats.ranks, 1);
    assert_true(stats.run_s > 0 && stats.weight_bytes > 256 && stats.planned_bytes >= 50 * 8 * 4);
    assert_string_equal(stats.target, "host");
    inputs_free(&in);
    yj_model_close(m);
}

static void test_options(void **state) {
    struct yj_model *m;
    struct yj_model_options o = {.size = 0};
    REFUSED(yj_model_open(general, &o, &m), YJ_ERR_INPUT, "sizeof(struct yj_model_options)");
    o = (struct yj_model_options){.size = sizeof o, .threads = 100000};
    REFUSED(yj_model_open(general, &o, &m), YJ_ERR_INPUT, "100000 threads");
    o = (struct yj_model_options){.size = sizeof o, .target = "moon"};
    REFUSED(yj_model_open(general, &o, &m), YJ_ERR_INPUT, "it has no program for the target moon; it has: host");
    REFUSED(yj_model_open("/nowhere.yj", NULL, &m), YJ_ERR_INPUT, "/nowhere.yj");
    o = (struct yj_model_options){.size = sizeof o, .flags = YJ_OPEN_VERIFY};
    OK(yj_model_open(general, &o, &m));
    yj_model_close(m);
    yj_model_close(NULL);
}

/* Open, with everything mapped and checked. */
static void test_load_time(void **state) {
    double best = 1;
    for (int i = 0; i < 20; i++) {
        double begin = time_now();
        struct yj_model *m = open_model(general, 1);
        double took = time_now() - begin;
        best = took < best ? took : best;
        yj_model_close(m);
    }
    print_message("load: %.2f ms\n", 1e3 * best);
#ifdef COUNTS
    assert_true(best < 5e-3);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_and_threads), cmocka_unit_test(test_unaligned_input),
        cmocka_unit_test(test_branch_and_loop),    cmocka_unit_test(test_faults),
        cmocka_unit_test(test_wrong_calls),        cmocka_unit_test(test_info),
        cmocka_unit_test(test_state_in_place),     cmocka_unit_test(test_state_first),
        cmocka_unit_test(test_profile_and_stats),  cmocka_unit_test(test_options),
        cmocka_unit_test(test_load_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

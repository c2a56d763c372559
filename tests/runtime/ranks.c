/* SPDX-License-Identifier: Apache-2.0
 *
 * A model on several ranks, one thread each: slices of weights by rank, collectives over the axes of a mesh while
 * kernels run, the same bits on all ranks, the wrong number of ranks, and a fault on one rank that the others hear of.
 */
#include <yunjin/comm.h>
#include <yunjin/runtime.h>

#include "tests/runtime/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <pthread.h>
#include <cmocka.h>

static const char two[] = "plan 1 mesh(tp=2)\n"
                          "node 4 \"MatMul_4 (MatMul)\"\n"
                          "node 6 \"Gather_6 (Gather)\"\n"
                          "dim N 1..100000 input\n"
                          "dim rank.tp 0..1 rank\n"
                          "kernel scale(N 1..inf, D 1..inf) in in out {\n"
                          "  scale_n tiles N scratch D*4 ns 0\n"
                          "}\n"
                          "kernel pick(N 1..inf, D 1..inf) in in out {\n"
                          "  pick tiles D scratch 0 ns 0\n"
                          "}\n"
                          "%0 \"x\" f32 host input bytes N*16\n"
                          "%1 \"index\" i64 host input bytes N*8\n"
                          "%2 \"w\" f32 host weight bytes 16 file 0 at rank.tp*64 + AT_W\n"
                          "%3 \"y\" f32 comm temp bytes N*16 live #0 0..5\n"
                          "%4 \"sum\" f32 comm temp bytes N*16 live #0 1..6\n"
                          "%5 \"all\" f32 comm temp bytes N*32 live #0 2..6\n"
                          "%6 \"picked\" f32 host temp bytes 16 live #0 3..6\n"
                          "input \"x\" %0 f32 [N, 4]\n"
                          "input \"index\" %1 i64 [N]\n"
                          "output \"sum\" %4 f32 [N, 4]\n"
                          "output \"all\" %5 f32 [2, N, 4]\n"
                          "output \"picked\" %6 f32 [4]\n"
                          "block #0 \"main\" {\n"
                          "  0 q0 launch scale(%0, %2, %3)[N, 4] @4\n"
                          "  1 q1 after 0 start !0 all_reduce add f32 %3 -> %4 count N*4 axis tp @4\n"
                          "  2 q1 start !1 all_gather add f32 %3 -> %5 count N*4 axis tp\n"
                          "  3 q0 launch pick(%0, %1, %6)[N, 4] @6\n"
                          "  4 q0 after 1 wait !0\n"
                          "  5 q0 after 2 wait !1\n"
                          "  6 q0 copy %4 at 0 = %0 at 0 bytes 0\n"
                          "}\n";

static const char four[] = "plan 1 mesh(dp=2,tp=2)\n"
                           "dim rank.tp 0..1 rank\n"
                           "dim rank.dp 0..1 rank\n"
                           "%0 \"x\" f32 host input bytes 16\n"
                           "%1 \"tp\" f32 host temp bytes 16 live #0 0..3\n"
                           "%2 \"dp\" f32 host temp bytes 16 live #0 2..3\n"
                           "input \"x\" %0 f32 [4]\n"
                           "output \"tp\" %1 f32 [4]\n"
                           "output \"dp\" %2 f32 [4]\n"
                           "block #0 \"main\" {\n"
                           "  0 q0 start !0 all_reduce add f32 %0 -> %1 count 4 axis tp\n"
                           "  1 q0 wait !0\n"
                           "  2 q0 start !1 all_reduce add f32 %1 -> %2 count 4 axis dp\n"
                           "  3 q0 wait !1\n"
                           "}\n";

static char folder[] = "/tmp/yunjin-ranks-XXXXXX", so[64];

/* sample_write states one rank: written here with the plan's own. */
static enum yj_status write_model(const char *path, const char *plan) {
    struct safetensor w[] = {{.name = "w", .dtype = YJ_F32, .rank = 1, .shape = {64}}};
    const char *weights[] = {"weights.safetensors"};
    struct manifest_program program = {.name = "host",
                                       .target = "host",
                                       .minimum = "",
                                       .plan = "host.plan",
                                       .kernels = "host.so",
                                       .n_weights = 1,
                                       .weights = weights};
    struct manifest m = {.name = "ranks", .n_programs = 1, .programs = &program};
    char triple[64], *kernels, text[8192];
    size_t n;
    struct model_writer *out;
    struct plan *p = NULL;
    struct arena *arena = arena_open();
    snprintf(triple, sizeof triple, "%s-unknown-linux-gnu", cpu_arch());
    program.triple = triple;
    TRY(file_read(so, &kernels, &n));
    TRY(model_create(path, &out));
    enum yj_status status = model_add_weights(out, "weights.safetensors", w, 1, sample_fill, NULL);
    const char *mark = strstr(plan, "AT_W");
    if (mark)
        snprintf(text, sizeof text, "%.*s%lld%s", (int)(mark - plan), plan, (long long)w[0].at, mark + 4);
    else
        snprintf(text, sizeof text, "%s", plan);
    if (status == YJ_OK) status = model_add(out, "host.so", kernels, n);
    if (status == YJ_OK) status = model_add(out, "host.plan", text, strlen(text));
    if (status == YJ_OK) status = plan_parse(arena, text, "ranks", &p);
    if (status == YJ_OK) {
        program.ranks = (int)plan_ranks(p);
        m.plan = p;
        status = model_finish(out, &m);
    } else {
        model_abandon(out);
    }
    free(kernels);
    arena_close(arena);
    return status;
}

struct rank {
    pthread_t thread;
    int number;
    char path[128];
    struct yj_comm *comm;
    int64_t n;
    bool bad; /* this rank's index is out of range */
    enum yj_status opened, ran;
    char error[512];
    float *sum, *all; /* copies */
};

static void *work_two(void *argument) {
    struct rank *r = argument;
    struct yj_model_options o = {.size = sizeof o, .threads = 2, .comm = r->comm};
    struct yj_model *m;
    r->opened = yj_model_open(r->path, &o, &m);
    snprintf(r->error, sizeof r->error, "%s", r->opened ? yj_error_text() : "");
    if (r->opened != YJ_OK) return NULL;
    struct yj_tensor x = {.size = sizeof x, .dtype = YJ_F32, .rank = 2, .shape = {r->n, 4}},
                     index = {.size = sizeof index, .dtype = YJ_I64, .rank = 1, .shape = {r->n}};
    yj_tensor_new(&x), yj_tensor_new(&index);
    for (int64_t i = 0; i < r->n * 4; i++)
        ((float *)x.data)[i] = (float)(i % 31);
    if (r->bad) ((int64_t *)index.data)[0] = 12345678;
    yj_model_bind(m, 0, &x), yj_model_bind(m, 1, &index);
    for (int turn = 0; turn < 20 && r->ran == YJ_OK; turn++)
        r->ran = yj_model_run(m);
    snprintf(r->error, sizeof r->error, "%s", r->ran ? yj_error_text() : "");
    struct yj_tensor sum = {.size = sizeof sum}, all = {.size = sizeof all};
    if (r->ran == YJ_OK && yj_model_output(m, 0, &sum) == YJ_OK && yj_model_output(m, 1, &all) == YJ_OK) {
        r->sum = malloc((size_t)r->n * 16), r->all = malloc((size_t)r->n * 32);
        memcpy(r->sum, sum.data, (size_t)r->n * 16);
        memcpy(r->all, all.data, (size_t)r->n * 32);
    }
    yj_model_close(m);
    yj_tensor_free(&x), yj_tensor_free(&index);
    return NULL;
}

static void *work_four(void *argument) {
    struct rank *r = argument;
    struct yj_model_options o = {.size = sizeof o, .threads = 1, .comm = r->comm};
    struct yj_model *m;
    r->opened = yj_model_open(r->path, &o, &m);
    if (r->opened != YJ_OK) return NULL;
    _Alignas(64) float data[16];
    struct yj_tensor x = {.size = sizeof x, .dtype = YJ_F32, .rank = 1, .shape = {4}, .data = data},
                     tp = {.size = sizeof tp}, dp = tp;
    for (int i = 0; i < 4; i++)
        data[i] = (float)(1 << r->number * 4) + (float)i;
    yj_model_bind(m, 0, &x);
    r->ran = yj_model_run(m);
    r->sum = calloc(8, sizeof(float));
    if (r->ran == YJ_OK && yj_model_output(m, 0, &tp) == YJ_OK && yj_model_output(m, 1, &dp) == YJ_OK) {
        memcpy(r->sum, tp.data, 16);
        memcpy(r->sum + 4, dp.data, 16);
    }
    yj_model_close(m);
    return NULL;
}

static void run_ranks(struct rank *r, int n, void *(*work)(void *)) {
    struct yj_comm *comm[4];
    assert_int_equal(yj_comm_open_threads(n, NULL, comm), YJ_OK);
    for (int i = 0; i < n; i++) {
        r[i].number = i;
        r[i].comm = comm[i];
        assert_int_equal(pthread_create(&r[i].thread, NULL, work, &r[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(r[i].thread, NULL);
    for (int i = n - 1; i >= 0; i--)
        yj_comm_close(comm[i]);
}

static int set_up(void **state) {
    if (!mkdtemp(folder) || !sample_compile(folder, sample_kernels, so, sizeof so)) {
        print_message("skipped: no C compiler (cc) for the kernels of this test\n");
        exit(77);
    }
    char path[128];
    snprintf(path, sizeof path, "%s/two.yj", folder);
    enum yj_status status = write_model(path, two);
    snprintf(path, sizeof path, "%s/four.yj", folder);
    if (status == YJ_OK) status = write_model(path, four);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    return status;
}

static int tear_down(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void test_two_ranks(void **state) {
    static const int64_t sizes[] = {1, 17, 5000};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        struct rank r[2] = {{.n = sizes[s]}, {.n = sizes[s]}};
        for (int i = 0; i < 2; i++)
            snprintf(r[i].path, sizeof r[i].path, "%s/two.yj", folder);
        run_ranks(r, 2, work_two);
        for (int i = 0; i < 2; i++) {
            if (r[i].opened || r[i].ran) print_error("rank %d: %s\n", i, r[i].error);
            assert_int_equal(r[i].opened, YJ_OK);
            assert_int_equal(r[i].ran, YJ_OK);
        }
        int64_t n = sizes[s] * 4;
        for (int64_t i = 0; i < n; i++) {
            float x = (float)(i % 31), w0 = (float)(i % 4) + 0.5f, w1 = w0 + 16;
            assert_true(r[0].sum[i] == x * w0 + x * w1);
            assert_true(r[0].all[i] == x * w0 && r[0].all[n + i] == x * w1);
        }
        assert_memory_equal(r[0].sum, r[1].sum, (size_t)n * 4);
        assert_memory_equal(r[0].all, r[1].all, (size_t)n * 8);
        for (int i = 0; i < 2; i++)
            free(r[i].sum), free(r[i].all);
    }
}

static void test_mesh(void **state) {
    struct rank r[4] = {0};
    for (int i = 0; i < 4; i++)
        snprintf(r[i].path, sizeof r[i].path, "%s/four.yj", folder);
    run_ranks(r, 4, work_four);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(r[i].opened, YJ_OK);
        assert_int_equal(r[i].ran, YJ_OK);
        for (int j = 0; j < 4; j++) { /* rank = dp * 2 + tp */
            float mine = i < 2 ? 1 + 16 : 256 + 4096;
            assert_true(r[i].sum[j] == mine + 2 * (float)j);
            assert_true(r[i].sum[4 + j] == 1 + 16 + 256 + 4096 + 4 * (float)j);
        }
        free(r[i].sum);
    }
}

static void test_wrong_number(void **state) {
    struct rank r[4] = {0};
    for (int i = 0; i < 3; i++)
        snprintf(r[i].path, sizeof r[i].path, "%s/two.yj", folder);
    run_ranks(r, 3, work_two);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r[i].opened, YJ_ERR_INPUT);
        assert_non_null(strstr(r[i].error, "it is for 2 ranks; this job has 3"));
    }
    struct yj_model *m;
    assert_int_equal(yj_model_open(r[0].path, NULL, &m), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "it is for 2 ranks; this job has 1"));
}

static void test_fault_of_one(void **state) {
    struct rank r[2] = {{.n = 50}, {.n = 50, .bad = true}};
    for (int i = 0; i < 2; i++)
        snprintf(r[i].path, sizeof r[i].path, "%s/two.yj", folder);
    run_ranks(r, 2, work_two);
    assert_int_equal(r[1].ran, YJ_ERR_INPUT);
    assert_non_null(strstr(r[1].error, "Gather_6"));
    if (r[0].ran != YJ_ERR_ABORTED) print_error("rank 0: %s\n", r[0].error);
    assert_int_equal(r[0].ran, YJ_ERR_ABORTED);
    assert_non_null(strstr(r[0].error, "12345678")); /* what went wrong on rank 1 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ranks),
        cmocka_unit_test(test_mesh),
        cmocka_unit_test(test_wrong_number),
        cmocka_unit_test(test_fault_of_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Small models beside their golden texts: tests/compiler/onnx/NAME.onnx is imported as NAME.txt says, or refused with
 * that line. make_models.py there writes the models; YUNJIN_UPDATE=1 rewrites the texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/onnx.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct job {
    const char *path;
    struct onnx_file *file;
    struct arena *arena;
    const struct onnx_options *options;
    struct text out;
};

static enum yj_status import(void *argument) {
    struct job *j = argument;
    struct graph *g, *again;
    TRY(onnx_import(j->file, j->arena, j->options, &g));
    TRY(graph_verify(g));
    graph_print(&j->out, g);
    if (graph_parse(j->arena, j->out.data, "again", &again) != YJ_OK)
        text_add(&j->out, "\nIT IS NOT READ BACK: %s\n", yj_error_text());
    return YJ_OK;
}

static char *imported(const char *path, const struct onnx_options *options) {
    struct job j = {.path = path, .options = options};
    enum yj_status status = onnx_open(path, &j.file);
    j.arena = arena_open();
    if (status == YJ_OK) status = arena_guard(import, &j);
    if (status != YJ_OK) {
        text_free(&j.out);
        text_add(&j.out, "error %d: %s\n", (int)status, yj_error_text());
    }
    arena_close(j.arena);
    onnx_close(j.file);
    return j.out.data;
}

static void compare(const char *name, const char *got) {
    char *path, *want;
    size_t bytes;
    assert_true(asprintf(&path, "%s", name) > 0);
    if (getenv("YUNJIN_UPDATE")) assert_int_equal(file_write_atomic(path, got, strlen(got)), YJ_OK);
    if (file_read(path, &want, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
    if (strcmp(got, want)) fail_msg("%s: imported as\n%s\nand not as\n%s", name, got, want);
    free(want);
    free(path);
}

static int is_model(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 5 && !strcmp(e->d_name + n - 5, ".onnx");
}

static void golden(void **state) {
    struct dirent **list;
    struct onnx_options none = {0};
    assert_int_equal(chdir(SOURCE_DIR "/tests/compiler/onnx"), 0);
    int n = scandir(".", &list, is_model, alphasort);
    assert_true(n >= 25);
    for (int i = 0; i < n; i++) {
        char *name, *got = imported(list[i]->d_name, &none);
        assert_true(asprintf(&name, "%.*s.txt", (int)strlen(list[i]->d_name) - 5, list[i]->d_name) > 0);
        compare(name, got);
        free(name);
        free(got);
        free(list[i]);
    }
    free(list);
}

/* --dim fixes what a symbol may be; --state pairs inputs and outputs. */
static void options(void **state) {
    struct onnx_bound bounds[] = {{"batch", 1, 8}}, fixed[] = {{"batch", 4, 4}};
    struct onnx_state states[] = {{"x", "nothing"}};
    struct onnx_options bounded = {1, bounds, 0, NULL}, constant = {1, fixed, 0, NULL}, wrong = {0, NULL, 1, states};
    char *got = imported("constant_weights.onnx", &bounded);
    assert_non_null(strstr(got, "batch in 1..8"));
    free(got);
    got = imported("constant_weights.onnx", &constant);
    assert_non_null(strstr(got, "x f32 [4, 3]"));
    free(got);
    got = imported("constant_weights.onnx", &wrong);
    assert_non_null(strstr(got, "--state x=nothing"));
    free(got);
}

static void no_model(void **state) {
    struct onnx_file *file = NULL;
    assert_int_equal(onnx_open("nowhere.onnx", &file), YJ_ERR_IO);
    assert_int_equal(onnx_open(".", &file), YJ_ERR_INPUT);
    char empty[] = "/tmp/yunjin-empty-XXXXXX";
    int fd = mkstemp(empty);
    assert_true(fd >= 0);
    assert_int_equal(onnx_open(empty, &file), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "0 bytes"));
    assert_int_equal(write(fd, "not a model at all", 18), 18);
    assert_int_equal(onnx_open(empty, &file), YJ_ERR_INPUT);
    close(fd);
    unlink(empty);
    assert_null(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(options), cmocka_unit_test(no_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Golden files of passes: tests/compiler/golden/NAME.txt is `# run: --passes a,b`, a graph, `# gives:`, and the graph
 * that must come out (or `# error: words` when it must be refused). Whole texts are compared. `--update` rewrites what
 * differs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/pass.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static bool update;

struct job {
    const char *text, *file, *passes;
    struct text out;
};

static enum yj_status run(void *argument) {
    struct job *j = argument;
    struct arena *arena = arena_open();
    struct graph *g;
    struct pass_options o = {.only = j->passes};
    enum yj_status status = graph_parse(arena, j->text, j->file, &g);
    if (status == YJ_OK) status = pipeline_run(g, &o);
    if (status == YJ_OK)
        graph_print(&j->out, g);
    else
        text_add(&j->out, "# error: %s\n", yj_error_text());
    arena_close(arena);
    return YJ_OK;
}

/* The text between `# run: ` and the end of its line, without --passes. */
static bool passes_of(const char *text, char *passes, size_t room) {
    const char *p = strstr(text, "# run: --passes ");
    if (p != text) return false;
    p += strlen("# run: --passes ");
    size_t n = strcspn(p, " \n");
    if (n == 0 || n >= room || p[n] != '\n') return false;
    memcpy(passes, p, n);
    passes[n] = 0;
    return true;
}

static bool check_file(const char *path, const char *name) {
    static const char mark[] = "\n# gives:\n";
    char *text, passes[256];
    size_t bytes;
    if (file_read(path, &text, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
    if (!passes_of(text, passes, sizeof passes)) fail_msg("%s: the first line is not `# run: --passes NAMES`", path);
    char *gives = strstr(text, mark);
    size_t head = gives ? (size_t)(gives - text) + 1 : bytes;
    struct text input = {0};
    text_add(&input, "%.*s", (int)head, text);
    struct job j = {input.data, name, passes, {0}};
    assert_int_equal(arena_guard(run, &j), YJ_OK);
    bool same = gives && strcmp(gives + strlen(mark), j.out.data) == 0;
    if (!same && update) {
        struct text whole = {0};
        text_add(&whole, "%s# gives:\n%s", input.data, j.out.data);
        if (file_write_atomic(path, whole.data, whole.n) != YJ_OK) fail_msg("%s", yj_error_text());
        printf("rewritten: %s\n", path);
        text_free(&whole);
        same = true;
    } else if (!same) {
        print_error("%s gives\n%s\n and not\n%s\n", path, j.out.data, gives ? gives + strlen(mark) : "(no `# gives:`)");
    }
    text_free(&input);
    text_free(&j.out);
    free(text);
    return same;
}

static void test_golden(void **state) {
    const char *folder = SOURCE_DIR "/tests/compiler/golden";
    struct dirent **list;
    int n = scandir(folder, &list, NULL, alphasort), files = 0, bad = 0;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        size_t length = strlen(list[i]->d_name);
        if (length > 4 && strcmp(list[i]->d_name + length - 4, ".txt") == 0) {
            char path[1024];
            snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
            files++;
            bad += !check_file(path, list[i]->d_name);
        }
        free(list[i]);
    }
    free(list);
    assert_true(files > 0);
    assert_int_equal(bad, 0);
}

static void test_pipeline_names(void **state) {
    struct arena *arena = arena_open();
    struct graph *g;
    assert_int_equal(graph_parse(arena, "graph g(x f32 [2]) { return y = %x }", "g", &g), YJ_OK);
    assert_int_equal(pipeline_run(g, &(struct pass_options){.only = "simplify,sooth"}), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "there is no pass 'sooth'; the passes are: fold simplify"));
    assert_int_equal(pipeline_run(g, &(struct pass_options){.print_after = "sooth"}), YJ_ERR_INPUT);
    arena_close(arena);
}

static void count_print(void *user, const char *text) {
    assert_true(strncmp(text, "graph g", 7) == 0);
    *(int *)user += 1;
}

static void test_print_after(void **state) {
    struct arena *arena = arena_open();
    struct graph *g;
    int n = 0;
    assert_int_equal(graph_parse(arena, "graph g(x f32 [2]) { return y = %x }", "g", &g), YJ_OK);
    struct pass_options o = {.only = "fold,simplify", .print_after = "simplify", .print = count_print, .user = &n};
    assert_int_equal(pipeline_run(g, &o), YJ_OK);
    assert_int_equal(n, 1);
    o.print_after = "all";
    assert_int_equal(pipeline_run(g, &o), YJ_OK);
    assert_int_equal(n, 3);
    arena_close(arena);
}

int main(int argc, char **argv) {
    update = argc > 1 && strcmp(argv[1], "--update") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_pipeline_names),
                                       cmocka_unit_test(test_print_after)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin test`: hands over to `onnx` (test_onnx.c) and `target` (the compiler library knows how a chip is tried).
 */
#include "runtime/command/test.h"

#include "runtime/command/compiler_library.h"

#include <stdio.h>

static const char help[] =
    "usage: yunjin test onnx DIR... [--jobs N] [--match TEXT] [--timeout S] [--target NAME] [--verbose] [--json]\n"
    "         DIR holds model.onnx and test_data_set_*, or folders that do. The model is compiled from model.onnx "
    "alone, in\n"
    "         another process than the one that reads inputs and outputs. Outcomes: pass fail unsupported crash.\n"
    "       yunjin test target NAME [--json]\n"
    "         kernels for a chip: ran (here or under its emulator, bits compared), assembled only, or failed.\n"
    "       yunjin test device NAME\n"
    "Exit: 0 nothing failed, 1 something did, 2 command line, 3 machine.\n";

struct checks {
    int ran, assembled, failed;
    bool json;
    json_t *cases;
};

static void one_check(void *user, const char *check, enum yj_test_outcome outcome, const char *detail) {
    struct checks *c = user;
    const char *word = outcome == YJ_TEST_RAN ? "ran" : outcome == YJ_TEST_ASSEMBLED ? "assembled" : "failed";
    c->ran += outcome == YJ_TEST_RAN;
    c->assembled += outcome == YJ_TEST_ASSEMBLED;
    c->failed += outcome != YJ_TEST_RAN && outcome != YJ_TEST_ASSEMBLED;
    if (c->json)
        json_array_append_new(
            c->cases, json_pack("{s:s,s:s,s:s}", "case", check, "outcome", word, "detail", detail ? detail : ""));
    else
        printf("%-9s %s%s%s\n", word, check, detail && *detail ? ": " : "", detail ? detail : "");
}

static int test_target(int argc, char **argv) {
    enum yj_status (*try)(const char *, yj_test_fn *, void *);
    struct checks c = {.cases = json_array()};
    const char *name = NULL, *plain;
    struct words w = words_of(argc, argv);
    w.command = "test target";
    while (words_left(&w)) {
        if (word_flag(&w, "--json"))
            c.json = true;
        else if (word_flag(&w, "--help") || word_flag(&w, "-h"))
            return fputs(help, stdout) < 0 ? MACHINE : DONE;
        else if (!name && (plain = word_plain(&w)))
            name = plain;
        else
            word_unknown(&w);
    }
    if (!name) words_missing(&w, "NAME");
    if (w.bad) return COMMAND_LINE;
    enum yj_status status = compiler_function("yj_test_target", &try);
    if (status == YJ_OK) status = try(name, one_check, &c);
    if (status != YJ_OK) {
        json_decref(c.cases);
        return command_failed("test target", status);
    }
    int total = c.ran + c.assembled + c.failed, code = c.failed ? INPUT : DONE;
    if (c.json) {
        json_t *summary = json_pack("{s:s,s:i,s:i,s:i,s:i}", "target", name, "ran", c.ran, "assembled", c.assembled,
                                    "failed", c.failed, "total", total);
        int written = command_json("test", summary, c.cases);
        return written ? written : code;
    }
    json_decref(c.cases);
    printf("%s: %d ran, %d assembled, %d failed of %d\n", name, c.ran, c.assembled, c.failed, total);
    return code;
}

int command_test(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) return fputs(help, stdout) < 0 ? MACHINE : DONE;
    if (strcmp(what, "onnx") == 0) return command_test_onnx(argc - 1, argv + 1, help);
    if (strcmp(what, "target") == 0) return test_target(argc - 1, argv + 1);
    if (strcmp(what, "device") == 0) {
        fprintf(
            stderr,
            "yunjin test device: not supported yet: this build runs on processors only and has no device to test\n");
        return INPUT;
    }
    fprintf(stderr, "yunjin test: %s%s\n%s", *what ? "nothing is called " : "what?", what, help);
    return COMMAND_LINE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin inspect`: of a compiled model what its manifest and plans say; of a .onnx what the compiler would make of it,
 * told by the compiler library. Both are one JSON object for each program (plan_report); inspect_text.c says it for
 * people.
 */
#include "runtime/command/inspect.h"
#include "runtime/command/compiler_library.h"
#include "runtime/manifest.h"
#include "runtime/plan_report.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: yunjin inspect MODEL.onnx|OUT.yj [OPTION]...\n"
    "Inputs and outputs, kernels by time, memory, collectives; of MODEL.onnx also ops, arithmetic, what was not fused "
    "and why,\n"
    "what overlap decided and why, and, if nodes are unsupported, all of them with the reason.\n"
    "  --at NAME=N            a dimension that figures are for (default: its bound, at most 128); many times\n"
    "  --all                  every kernel, every edge that was not fused\n"
    "  --json                 as JSON\n"
    "Of OUT.yj:\n"
    "  --plan                 print the plans\n"
    "  --verify               compare the hash of every file, weights too\n"
    "Of MODEL.onnx, with the options of compile: --target, --shard, --dim, --state, --passes.\n"
    "Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

struct inspection {
    const char *model;
    struct compile_words compile;
    struct list at;
    bool json, plan, all, verify;
    struct arena *arena;
    struct manifest m;
    json_t *cases;
};

/* --- of OUT.yj --- */

static enum yj_status inspect_program(struct inspection *x, const struct manifest_program *g) {
    char path[PATH_MAX], *text;
    size_t n;
    struct plan *p;
    struct plan_at at;
    snprintf(path, sizeof path, "%s/%s", x->model, g->plan);
    TRY(file_read(path, &text, &n));
    enum yj_status status = manifest_check(&x->m, x->model, g->plan, text, n);
    if (status == YJ_OK) status = plan_parse(x->arena, text, g->plan, &p);
    if (status == YJ_OK && x->plan) fputs(text, stdout);
    free(text);
    if (status != YJ_OK || x->plan) return status;
    TRY(plan_at_open(x->arena, p, x->at.n, x->at.word, &at));
    json_t *report_of = plan_report(x->arena, p, &at);
    if (!report_of) return report(YJ_ERR_MEMORY, "out of memory");
    json_object_set_new(report_of, "target", json_string(g->target));
    json_object_set_new(report_of, "minimum", json_string(g->minimum));
    json_object_set_new(report_of, "vector_bits", json_integer(g->vector_bits));
    json_array_append_new(x->cases, report_of);
    return YJ_OK;
}

static enum yj_status inspect_guarded(void *argument) {
    struct inspection *x = argument;
    TRY(manifest_read(x->arena, x->model, &x->m));
    for (int i = 0; i < x->m.n_programs; i++)
        TRY(inspect_program(x, &x->m.programs[i]));
    return x->verify ? manifest_verify(x->model) : YJ_OK;
}

static json_t *files_json(const struct manifest *m) {
    json_t *files = json_array();
    for (int i = 0; i < m->n_files; i++)
        json_array_append_new(files, json_pack("{s:s,s:I,s:s}", "path", m->files[i].path, "bytes",
                                               (json_int_t)m->files[i].bytes, "hash", m->files[i].hash));
    return files;
}

static int inspect_folder(struct inspection *x) {
    x->arena = arena_open();
    x->cases = json_array();
    enum yj_status status = x->arena ? arena_guard(inspect_guarded, x) : report(YJ_ERR_MEMORY, "out of memory");
    int code = DONE;
    if (status != YJ_OK) {
        code = command_failed("inspect", status);
        json_decref(x->cases);
    } else if (x->plan) {
        json_decref(x->cases);
    } else {
        json_t *summary = json_pack("{s:s,s:s,s:i,s:b,s:o}", "model", x->m.name, "written_by", x->m.version, "programs",
                                    x->m.n_programs, "verified", x->verify, "files", files_json(&x->m));
        if (x->json) return arena_close(x->arena), command_json("inspect", summary, x->cases);
        inspect_text(summary, x->cases, x->all);
        json_decref(summary);
        json_decref(x->cases);
    }
    if (x->arena) arena_close(x->arena);
    if (code == DONE && x->verify) printf("every file is as it was written\n");
    return code;
}

/* --- of a .onnx --- */

static void keep(void *user, const char *text) {
    json_t **told = user;
    *told = json_loads(text, 0, NULL);
}

static int inspect_onnx(struct inspection *x) {
    enum yj_status (*inspect)(const struct yj_compile_options *, int32_t, const char *const *,
                              void (*)(void *, const char *), void *);
    struct yj_compile_options *o = &x->compile.o;
    json_t *told = NULL;
    o->size = sizeof *o;
    o->model = x->model;
    o->n_dims = x->compile.dims.n, o->dims = x->compile.dims.word;
    o->n_states = x->compile.states.n, o->states = x->compile.states.word;
    enum yj_status status = compiler_function("yj_inspect", &inspect);
    if (status == YJ_OK) status = inspect(o, x->at.n, x->at.word, keep, &told);
    int code = status == YJ_OK ? DONE : x->json && told ? command_exit_code(status) : command_failed("inspect", status);
    if (!told) return code == DONE ? MACHINE : status == YJ_ERR_INPUT && targets_unknown(o) ? COMMAND_LINE : code;
    json_t *cases = json_object_get(told, "programs"), *refused = json_object_get(told, "unsupported");
    json_t *summary = json_pack("{s:O,s:i,s:i}", "model", json_object_get(told, "model"), "programs",
                                (int)json_array_size(cases), "unsupported", (int)json_array_size(refused));
    if (x->json) {
        int written = command_json("inspect", summary, json_incref(refused ? refused : cases));
        if (code == DONE) code = written;
    } else {
        if (cases) inspect_text(summary, cases, x->all);
        json_decref(summary);
    }
    json_decref(told);
    return code;
}

int command_inspect(int argc, char **argv) {
    static struct inspection x;
    const char *plain;
    struct words w = words_of(argc, argv);
    while (words_left(&w)) {
        if (word_flag(&w, "--help") || word_flag(&w, "-h"))
            return fputs(help, stdout) < 0 ? MACHINE : DONE;
        else if (word_flag(&w, "--json"))
            x.json = true;
        else if (word_flag(&w, "--all"))
            x.all = true;
        else if (word_flag(&w, "--plan"))
            x.plan = true;
        else if (word_flag(&w, "--verify"))
            x.verify = true;
        else if (word_list(&w, "--at", &x.at) || compile_word(&w, &x.compile))
            continue;
        else if (!x.model && (plain = word_plain(&w)))
            x.model = plain;
        else
            word_unknown(&w);
    }
    if (!x.model) words_missing(&w, "MODEL");
    if (w.bad) return COMMAND_LINE;
    enum yj_status status = check_there(x.model);
    if (status != YJ_OK) return command_failed("inspect", status);
    return is_folder(x.model) ? inspect_folder(&x) : inspect_onnx(&x);
}

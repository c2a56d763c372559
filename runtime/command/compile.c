/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin compile MODEL -o OUT.yj`: words to options; the compiler library does the rest, in a process of its own.
 */
#include "runtime/command/command.h"
#include "runtime/manifest.h"
#include "runtime/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char help[] =
    "usage: yunjin compile MODEL.onnx [-o OUT.yj] [OPTION]...\n"
    "  -o OUT.yj              where the model goes (default: MODEL with .yj)\n"
    "  --target NAME,...      chips, one program each (default: host; yunjin targets lists them)\n"
    "  --shard tp=N           share the work among N ranks\n"
    "  --dim NAME=LO..HI      bounds of a symbolic dimension, or NAME=N; many times. NAME=N also fixes an input that "
    "is\n"
    "                         one integer: what depends on it is decided when compiling. A dimension without a name\n"
    "                         is called INPUT.AXIS: x.0 is the first of input x\n"
    "  --state IN=OUT         an input that the output updates in place; a * in both is any same text; many times\n"
    "  --passes a,b           only these passes\n"
    "  --print-after PASS     print the graph after a pass; `kernels`: the kernels\n"
    "  --verify               open the result and compare every hash\n"
    "  --no-cache             compile every kernel anew\n"
    "  --json                 say what was made as JSON\n"
    "Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

static void print_text(void *user, const char *text) {
    fputs(text, stdout);
}

/* x/model.onnx -> x/model.yj */
static void name_output(const char *model, char *out, size_t room) {
    size_t n = strlen(model);
    if (n > 5 && strcmp(model + n - 5, ".onnx") == 0) n -= 5;
    snprintf(out, room, "%.*s.yj", (int)n, model);
}

static enum yj_status check_uncompiled(const char *model) {
    char manifest[4096];
    struct stat s;
    snprintf(manifest, sizeof manifest, "%s/manifest.json", model);
    if (stat(manifest, &s) != 0) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s is compiled already: yunjin run and yunjin inspect take it as it is", model);
}

struct written {
    const char *folder;
    struct arena *arena;
    int ranks;
    bool meets;
};

/* Outputs are whole on every rank: where ranks share any work they meet. */
static enum yj_status read_written(void *argument) {
    struct written *x = argument;
    struct manifest m;
    struct plan *p;
    char path[4096];
    TRY(manifest_read(x->arena, x->folder, &m));
    for (int i = 0; i < m.n_programs; i++) {
        size_t n;
        char *text;
        snprintf(path, sizeof path, "%s/%s", x->folder, m.programs[i].plan);
        TRY(file_read(path, &text, &n));
        enum yj_status status = plan_parse(x->arena, text, m.programs[i].plan, &p);
        free(text);
        TRY(status);
        x->ranks = m.programs[i].ranks;
        for (int b = 0; b < p->n_blocks; b++)
            for (int s = 0; s < p->blocks[b].n_steps; s++)
                x->meets |= p->blocks[b].steps[s].kind == PLAN_START;
    }
    return YJ_OK;
}

/* A model that could not be split at all is what the user should know about. */
static enum yj_status say_unshared(const char *folder) {
    struct written x = {.folder = folder, .arena = arena_open()};
    enum yj_status status = x.arena ? arena_guard(read_written, &x) : report(YJ_ERR_MEMORY, "out of memory");
    if (x.arena) arena_close(x.arena);
    if (status == YJ_OK && x.ranks > 1 && !x.meets)
        fprintf(stderr, "yunjin compile: %s: nothing of it was shared: all %d ranks do the same\n", folder, x.ranks);
    return status;
}

int command_compile(int argc, char **argv) {
    struct compile_words c = {.o = {.size = sizeof c.o, .print = print_text}};
    struct yj_compile_result made;
    const char *model = NULL, *plain, *output = NULL;
    char named[4096];
    bool json = false, check = false;
    struct words w = words_of(argc, argv);
    while (words_left(&w)) {
        if (word_flag(&w, "--help") || word_flag(&w, "-h"))
            return fputs(help, stdout) < 0 ? MACHINE : DONE;
        else if (word_flag(&w, "--json"))
            json = true;
        else if (word_flag(&w, "--verify"))
            check = true;
        else if (compile_word(&w, &c) || word_option(&w, "-o", &output) || word_option(&w, "--output", &output) ||
                 word_option(&w, "--print-after", &c.o.print_after))
            continue;
        else if (!model && (plain = word_plain(&w)))
            model = plain;
        else
            word_unknown(&w);
    }
    if (!model) words_missing(&w, "MODEL.onnx");
    if (w.bad) return COMMAND_LINE;
    if (!output) name_output(model, named, sizeof named);
    c.o.model = model;
    c.o.output = output ? output : named;
    c.o.n_dims = c.dims.n, c.o.dims = c.dims.word;
    c.o.n_states = c.states.n, c.o.states = c.states.word;
    enum yj_status status = check_there(model);
    if (status == YJ_OK) status = check_uncompiled(model);
    if (status == YJ_OK) status = compile_apart(&c.o, &made);
    if (status == YJ_OK && c.o.shard) status = say_unshared(c.o.output);
    if (status == YJ_OK && check) status = manifest_verify(c.o.output);
    if (status != YJ_OK) return command_failed("compile", status);
    if (json) {
        return command_json("compile",
                            json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:f}", "model", model, "output", c.o.output,
                                      "nodes", made.nodes, "ops", made.ops, "kernels", made.kernels, "cached",
                                      made.cached, "weight_bytes", (json_int_t)made.weight_bytes, "seconds",
                                      made.seconds),
                            json_array());
    }
    printf("%s: %d nodes, %d kernels (%d from the cache), %.1f MB of weights, %.2f s\n", c.o.output, made.nodes,
           made.kernels, made.cached, (double)made.weight_bytes / 1e6, made.seconds);
    return DONE;
}

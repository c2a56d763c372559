/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin compile MODEL -o OUT.yj`: words to options; the compiler library does the rest, in a process of its own.
 */
#include "runtime/command/command.h"
#include "runtime/manifest.h"

#include <stdio.h>

static const char help[] =
    "usage: yunjin compile MODEL.onnx [-o OUT.yj] [OPTION]...\n"
    "  -o OUT.yj              where the model goes (default: MODEL with .yj)\n"
    "  --target NAME,...      chips, one program each (default: host; yunjin targets lists them)\n"
    "  --shard tp=N           share the work among N ranks\n"
    "  --dim NAME=LO..HI      bounds of a symbolic dimension, or NAME=N; many times. NAME=N also fixes an input that "
    "is\n"
    "                         one integer: what depends on it is decided when compiling\n"
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
    if (status == YJ_OK) status = compile_apart(&c.o, &made);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands on models share: words of the command line, exit codes, the JSON frame, compiling beside.
 */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H

#include "runtime/base/base.h"
#include <yunjin/compiler.h>

#include <jansson.h>

enum { DONE, INPUT, COMMAND_LINE, MACHINE };

/* Prints "yunjin COMMAND: ..." with this thread's error line; returns the exit code for STATUS. */
int command_failed(const char *command, enum yj_status status);
int command_exit_code(enum yj_status status);

/* --- words: while (words_left(&w)) if (word_option(&w, "--output", &o)) ...; else ...; then words_end --- */
struct words {
    int argc;
    char **argv;
    int at;
    const char *command;
    bool bad;
};
struct words words_of(int argc, char **argv);
bool words_left(struct words *w); /* there is a word to look at, and nothing was bad */
bool word_option(struct words *w, const char *name, const char **value); /* --name VALUE or --name=VALUE */
bool word_number(struct words *w, const char *name, int64_t low, int64_t high, int64_t *value);
bool word_flag(struct words *w, const char *name);
const char *word_plain(struct words *w);               /* a word without dashes; NULL: it is none */
void word_unknown(struct words *w);                    /* says so; w->bad */
void words_missing(struct words *w, const char *what); /* says so; w->bad */

/* A list of words: --dim may be given many times. */
struct list {
    int n;
    const char *word[256];
};
bool word_list(struct words *w, const char *name, struct list *list);

/* {"yunjin":VERSION,"command":COMMAND,"summary":SUMMARY,"cases":CASES} on stdout; frees both. */
int command_json(const char *command, json_t *summary, json_t *cases);

/* --- compiling --- */
struct compile_words {
    struct yj_compile_options o;
    struct list dims, states;
    bool verify;
};
/* Takes the options that compile, run and inspect share: --target --shard --dim --state --passes --no-cache. */
bool compile_word(struct words *w, struct compile_words *c);
/* Compiles in a process of its own, so that this one stays small and without threads. The error line is the compiler's.
 */
enum yj_status compile_apart(const struct yj_compile_options *o, struct yj_compile_result *result);

/* One of the targets is none; false also where that cannot be known. */
bool targets_unknown(const struct yj_compile_options *o);

bool is_folder(const char *path);
/* YJ_ERR_INPUT if PATH cannot be read because it is not there. */
enum yj_status check_there(const char *path);
/* A folder of our own in TMPDIR; removed with remove_temporary. */
enum yj_status make_temporary(char *path, size_t room);
void remove_temporary(const char *path); /* it and two levels of folders inside */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin run`: run.c reads words and starts ranks, run_model.c is what one rank does.
 */
#ifndef COMMAND_RUN_H
#define COMMAND_RUN_H

#include "runtime/command/command.h"
#include <yunjin/runtime.h>

struct yj_comm;

/* What inputs were read into: it must stay until the run is over. */
struct held {
    int n;
    struct yj_tensor tensor[512];
    int n_named, named[512]; /* ports that a word of their own was given for: inputs, then states */
};
void held_free(struct held *held);

struct run_job {
    const char *command; /* for messages: "run", or "run: rank 1" */
    const char *model;   /* as it was given */
    const char *folder;  /* model.yj */
    const char *target;  /* NULL: what fits */
    bool emulate;        /* kernels run under the target's emulator */
    struct list inputs;  /* NAME=FILE, FILE, or a folder with input_0.pb ... */
    struct list dims;    /* NAME=N for random inputs */
    bool random;
    int64_t seed, repeat, threads;
    const char *output, *compare, *profile;
    bool json, quiet; /* quiet: not rank 0 */
    struct yj_comm *comm;
    struct held *held;
};

/* Opens, binds, runs, writes, compares; returns the exit code. */
int run_model(const struct run_job *job);

/* --- also used by `yunjin test onnx` --- */
enum yj_status run_bind_inputs(struct yj_model *m, const struct run_job *job);
/* Compares all outputs with the files of FOLDER; *WORST is the largest error, CASES (may be NULL) gets a row each. */
enum yj_status run_compare(struct yj_model *m, const char *folder, double *worst, json_t *cases);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The compiler library, libyunjin-compiler. The command opens it only when it compiles or lists targets: a program
 * linked to LLVM pays for that before main. Folders: compiler/ (compiler/pipeline.c is read first), ir/, targets/.
 */
#ifndef YUNJIN_COMPILER_H
#define YUNJIN_COMPILER_H

#include <yunjin/base.h>
#include <yunjin/target.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- targets: those of targets/, then those of shared objects in the folders of YUNJIN_TARGET_PATH (colon-separated;
 * each object exports one `const struct yj_target yj_target`). A shared object with the name of a built-in target is
 * refused. --- */

/* Calls FN for each; FROM is NULL or the path of the shared object. An object that cannot be used is an error naming
 * it. */
typedef void yj_target_fn(void *user, const struct yj_target *target, const char *from);
YJ_EXPORT enum yj_status yj_targets_each(yj_target_fn *fn, void *user);
/* The target NAME; "host" is the best one for this machine. YJ_ERR_INPUT lists the known names. It stays valid. */
YJ_EXPORT enum yj_status yj_target_find(const char *name, const struct yj_target **target);
YJ_EXPORT const char *yj_support_name(enum yj_support support); /* "ran on silicon", "emulated", "assembled" */

/* --- compile: an ONNX model becomes a model.yj folder --- */

struct yj_compile_options {
    uint32_t size;              /* sizeof(struct yj_compile_options); fields beyond it are 0 */
    const char *model, *output; /* MODEL.onnx; OUT.yj (NULL: nothing is written) */
    const char *targets;        /* "host", "kunpeng920,loongson_3a6000": one program for each; NULL: host */
    const char *shard;          /* "tp=2"; NULL: one rank */
    int32_t n_dims, n_states;
    const char *const
        *dims; /* "NAME=LO..HI" or "NAME=N": bounds of symbolic dims; NAME=N may be an input of one integer */
    const char *const *states; /* "IN=OUT": an input that the output updates in place; a * in both is any same text */
    const char *passes;        /* "fold,fuse": only these; NULL: all */
    const char *print_after;   /* a pass: its graph goes to PRINT; "kernels": the kernels */
    void (*print)(void *user, const char *text);
    void *user;
    uint32_t flags; /* YJ_COMPILE_... */
};
enum { YJ_COMPILE_NO_CACHE = 1 };
struct yj_compile_result {
    uint32_t size;
    int32_t nodes, ops, kernels, cached;
    double seconds;
    uint64_t weight_bytes;
};
/* Call it before the process has threads: kernels compile in processes of their own. RESULT may be NULL. */
YJ_EXPORT enum yj_status yj_compile(const struct yj_compile_options *options, struct yj_compile_result *result);

/* --- test: one call of FN for each check of target NAME; DETAIL is "" or why --- */
enum yj_test_outcome { YJ_TEST_RAN = 1, YJ_TEST_ASSEMBLED = 2, YJ_TEST_FAILED = 3 };
typedef void yj_test_fn(void *user, const char *check, enum yj_test_outcome outcome, const char *detail);
YJ_EXPORT enum yj_status yj_test_target(const char *name, yj_test_fn *fn, void *user);

/* --- emulators: for yj_model_options.launcher. Opening a model with it is YJ_ERR_UNSUPPORTED, saying what is missing,
 * where the emulator that the target names is not installed. --- */
struct yj_launcher; /* <yunjin/runtime.h> */
YJ_EXPORT const struct yj_launcher *yj_emulator_launcher(void);

/* --- inspect: what a model would become; nothing is written and no machine code is made --- */

/* One JSON object goes to PRINT: {"model", "programs": [{target, ranks, at, inputs, outputs, states, onnx, ops, gflop,
 * kernels, fusion, collectives, memory, inexact, ...}]}. N_AT texts "NAME=N" are the dims that figures are for; others
 * are at their bound, at most 128. A model with unsupported nodes: {"model", "unsupported": ["node 3 ...", ...]} goes
 * to PRINT and the status is YJ_ERR_UNSUPPORTED. OPTIONS' output is not looked at. */
YJ_EXPORT enum yj_status yj_inspect(const struct yj_compile_options *options, int32_t n_at, const char *const *at,
                                    void (*print)(void *user, const char *json), void *user);

#ifdef __cplusplus
}
#endif
#endif

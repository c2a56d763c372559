/* SPDX-License-Identifier: Apache-2.0
 *
 * The compiler library, libyunjin-compiler. The command opens it only when it compiles or lists targets: a program linked to
 * LLVM pays for that before main. Folders: compiler/ (compiler/pipeline.c is read first), ir/, targets/.
 */
#ifndef YUNJIN_COMPILER_H
#define YUNJIN_COMPILER_H

#include <yunjin/base.h>
#include <yunjin/target.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- targets: those of targets/, then those of shared objects in the folders of YUNJIN_TARGET_PATH (colon-separated; each
 * object exports one `const struct yj_target yj_target`). A shared object with the name of a built-in target is refused. --- */

/* Calls FN for each; FROM is NULL or the path of the shared object. An object that cannot be used is an error naming it. */
typedef void yj_target_fn(void *user, const struct yj_target *target, const char *from);
YJ_EXPORT enum yj_status yj_targets_each(yj_target_fn *fn, void *user);
/* The target NAME; "host" is the best one for this machine. YJ_ERR_INPUT lists the known names. It stays valid. */
YJ_EXPORT enum yj_status yj_target_find(const char *name, const struct yj_target **target);
YJ_EXPORT const char *yj_support_name(enum yj_support support); /* "ran on silicon", "emulated", "assembled" */

#ifdef __cplusplus
}
#endif
#endif

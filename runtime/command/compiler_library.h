/* SPDX-License-Identifier: Apache-2.0
 *
 * libyunjin-compiler, opened when it is first needed: a program linked to LLVM pays 16 ms and 49 MB before main.
 */
#ifndef COMMAND_COMPILER_LIBRARY_H
#define COMMAND_COMPILER_LIBRARY_H

#include "runtime/base/base.h"

/* The function NAME of the compiler library, for a pointer of its type; an error says where the library was looked for.
 *   enum yj_status (*find)(const char *, const struct yj_target **);
 *   TRY(compiler_function("yj_target_find", &find)); */
enum yj_status compiler_function(const char *name, void *function);

/* --- the commands that need it; argv[0] is the command's name; they return the exit code --- */
int command_targets(int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The lines of kernels in the text of their program. See emit_llvm_debug.c and lines.c.
 */
#ifndef COMPILER_LINES_H
#define COMPILER_LINES_H

#include "runtime/base/base.h"

/* Line n of a kernel's text is LINES_BASE + n in the object that emit_llvm makes. A change of the line number from any
 * other line to one of these takes four bytes in a line table: room for every line up to LINES_MOST. */
#define LINES_BASE (1 << 21)
#define LINES_MOST ((1 << 27) - 1)

/* Changes the line table of a relocatable ELF object in place: the text's first line becomes line FIRST (from 1). An
 * object without one stays as it is. */
enum yj_status lines_move(char *object, size_t bytes, int64_t first);

#endif

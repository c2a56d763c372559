/* SPDX-License-Identifier: Apache-2.0
 *
 * What compile.c puts together.
 */
#ifndef COMPILER_COMPILE_H
#define COMPILER_COMPILE_H

#include "compiler/onnx.h"
#include "compiler/pass.h"
#include "compiler/plan.h"
#include <yunjin/compiler.h>

#endif

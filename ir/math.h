/* SPDX-License-Identifier: Apache-2.0
 *
 * Transcendentals as numbers: the expansions of math_expand.h computed directly, so that scalar_eval gives the bits
 * that compiled kernels give.
 */
#ifndef IR_MATH_H
#define IR_MATH_H

#include "ir/kernel.h"

float f32_math(enum scalar_op op, float a, float b);
double f64_math(enum scalar_op op, double a, double b);
bool math_has(enum scalar_op op);                        /* has a row in math.def */
double math_ulp(enum scalar_op op, enum yj_dtype dtype); /* the bound of its row, for f32 or f64 */
/* The expansion for f32 or f64 operands; puts lets at the cursor. */
struct expr *math_build(struct kernel *k, struct cursor *at, enum scalar_op op, struct expr *a, struct expr *b);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The reduction kernels of the collective library as texts. See kernels.c.
 */
#ifndef COMPILER_REDUCE_KERNELS_H
#define COMPILER_REDUCE_KERNELS_H

#include "ir/kernel.h"
#include <yunjin/comm.h>

/* What serves (DTYPE, OP): the join of WORDS values of type TYPE an element, by operator OP. */
struct reduce_join {
    enum yj_dtype type;
    enum yj_op op;
    int words;
};
/* False: the operator is not defined on the type. */
bool reduce_join_of(enum yj_dtype dtype, enum yj_op op, struct reduce_join *join);
/* Some pair is served by joins of this type and operator. */
bool reduce_join_exists(enum yj_dtype type, enum yj_op op);
/* avg divides by a kernel; by plain C on integers, which no chip divides in vectors. */
bool reduce_scale_exists(enum yj_dtype type);
const char *reduce_op_text(enum yj_op op);

/* The forms of a join: two sources, one or two destinations; any number of sources, one destination. */
enum reduce_form { REDUCE_TWO_ONE, REDUCE_TWO_TWO, REDUCE_MANY, REDUCE_FORMS };
extern const char *const reduce_form_names[REDUCE_FORMS];

/* Appends the text of one kernel for registers of VECTOR_BITS, named PREFIX_type_op_form or PREFIX_type_scale. */
void reduce_join_text(struct text *out, const char *prefix, int vector_bits, enum yj_dtype type, enum yj_op op,
                      enum reduce_form form);
void reduce_scale_text(struct text *out, const char *prefix, int vector_bits, enum yj_dtype type);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to emit_source*.c: the state of one emission.
 */
#ifndef COMPILER_EMIT_SOURCE_IMPL_H
#define COMPILER_EMIT_SOURCE_IMPL_H

#include "compiler/emit_source.h"
#include "ir/map.h"

struct source {
    enum source_dialect dialect;
    struct arena *arena;
    struct kernel *k;      /* a copy: math and reductions expanded */
    struct map names;      /* symbol, buffer or let -> identifier: the name and an underscore, so never a word of C */
    struct needed *needed; /* functions asked for so far */
    struct text functions; /* their text */
    struct text body;
    int indent;
    bool f64;              /* OpenCL needs an extension for it */
    enum yj_status status; /* the first thing that the dialect cannot say */
};

/* The type's name in the source: f32, bf16, i8, b8. */
const char *source_type(struct source *s, enum yj_dtype dtype);
/* The identifier of a symbol, buffer or let. */
const char *source_name(struct source *s, const void *what, const char *name);

/* Names of functions; their text is added when they are first asked for. */
const char *source_op(struct source *s, enum scalar_op op, enum yj_dtype dtype);
const char *source_cast(struct source *s, enum yj_dtype to, enum yj_dtype from);
const char *source_bitcast(struct source *s, enum yj_dtype to, enum yj_dtype from);
const char *source_dim_op(struct source *s, enum dim_op op);
const char *source_set_fault(struct source *s);

void source_dim(struct source *s, struct text *out, dim d);
void source_expr(struct source *s, struct text *out, const struct expr *e);
/* b_[row-major index]: an lvalue, but for bool, which must be read with source_expr. */
void source_element(struct source *s, struct text *out, const struct buffer *b, int n, struct expr *const *subs);

#endif

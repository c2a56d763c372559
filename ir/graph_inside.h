/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the graph form share among themselves: rows of attributes, elements of tensors, insertion.
 */
#ifndef IR_GRAPH_INSIDE_H
#define IR_GRAPH_INSIDE_H

#include "ir/graph.h"
#include "ir/map.h"

/* One "name:kind" of op_info.attributes. ROW starts at the whole text and moves on. */
struct attr_row {
    const char *name;
    int n_name;
    enum attr_kind kind;
    bool optional;
};
bool attr_row_next(const char **row, struct attr_row *a);
bool attr_row_find(enum op_kind kind, const char *name, size_t n_name, struct attr_row *a);

struct op *op_new(struct builder *b, enum op_kind kind, int n_in, struct value *const *in, struct attr *attrs);
void *graph_grow(struct arena *arena, void *array, int n); /* room for one more pointer after N */
void op_insert(struct graph *g, struct op *op, struct op *at);

/* The types of OP's results without touching it. */
enum yj_status infer_types(const struct op *op, struct type **types, int *n);

/* Dim symbols used anywhere in G, in order of creation. */
struct symbols {
    struct arena *arena;
    int n;
    dim *list;
};
void symbols_add(struct symbols *s, dim d); /* those of D that are not in the list, at its end */
bool symbols_has(const struct symbols *s, dim symbol);
struct symbols graph_symbols(const struct graph *g, struct arena *arena);

/* A name as text has it: bare, or in quotes where it has odd characters. */
void name_print(struct text *out, const char *name);

/* Elements as scalar bits (f32 in the low 32 bits, as scalar_eval has them); narrow floats are widened to f32. */
enum yj_dtype dtype_wide(enum yj_dtype dtype); /* f32 for f16, bf16, fp8, else the type itself */
uint64_t element_load(const void *bytes, enum yj_dtype dtype, int64_t i);
void element_store(void *bytes, enum yj_dtype dtype, int64_t i, uint64_t wide);
static inline float bits_f32(uint64_t b) {
    uint32_t u = (uint32_t)b;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint64_t f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
static inline double bits_f64(uint64_t b) {
    double f;
    memcpy(&f, &b, 8);
    return f;
}
static inline uint64_t f64_bits(double f) {
    uint64_t u;
    memcpy(&u, &f, 8);
    return u;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Dim expressions: hash-consed integers with + - * / mod min max over named symbols. One engine for tensor shapes,
 * buffer sizes, launch grids, memory offsets and the subscripts of kernels (where a loop axis is a symbol like any other).
 * Equal expressions are the same pointer: simplification happens when a node is made, by a canonical form (a sum of
 * products with integer coefficients, terms in symbol order) and by what is known of the symbols (range, divisor).
 */
#ifndef DIM_H
#define DIM_H

#include "runtime/base/base.h"

enum dim_op { DIM_CONST, DIM_SYMBOL, DIM_ADD, DIM_MUL, DIM_DIV, DIM_MOD, DIM_MIN, DIM_MAX };
/* DIV rounds towards minus infinity, MOD has the sign of the divisor (floor division); both need a divisor known != 0. */

struct dim {
    enum dim_op op;
    int id;                /* order of creation in its table */
    int64_t value;         /* CONST */
    const char *name;      /* SYMBOL */
    int64_t low, high;     /* known bounds, inclusive; INT64_MIN / INT64_MAX where unknown. Saturating arithmetic. */
    int64_t divisor;       /* the value is a multiple of this (>= 1; 0 for the constant 0) */
    const struct dim *a, *b; /* ADD, MUL, DIV, MOD, MIN, MAX */
};
typedef const struct dim *dim; /* the one typedef: a dim is used like a number */

#define DIM_UNBOUNDED INT64_MAX

struct dim_table;
struct dim_table *dim_table_open(struct arena *arena); /* lives as long as the arena */

dim dim_const(struct dim_table *t, int64_t value);
/* The symbol NAME; made with these bounds if new. Bounds of an existing symbol are left as they are. */
dim dim_symbol(struct dim_table *t, const char *name, int64_t low, int64_t high);
dim dim_find(struct dim_table *t, const char *name); /* NULL if there is no such symbol */
dim dim_add(struct dim_table *t, dim a, dim b);
dim dim_sub(struct dim_table *t, dim a, dim b);
dim dim_mul(struct dim_table *t, dim a, dim b);
dim dim_div(struct dim_table *t, dim a, dim b);      /* floor */
dim dim_ceil_div(struct dim_table *t, dim a, dim b);
dim dim_mod(struct dim_table *t, dim a, dim b);
dim dim_min(struct dim_table *t, dim a, dim b);
dim dim_max(struct dim_table *t, dim a, dim b);

bool dim_is_const(dim d, int64_t *value);
bool dim_is(dim d, int64_t value);                        /* known to be exactly VALUE */
enum dim_known { DIM_NO, DIM_YES, DIM_UNKNOWN };
enum dim_known dim_equal(struct dim_table *t, dim a, dim b);
enum dim_known dim_less(struct dim_table *t, dim a, dim b); /* a < b */
/* If d = coefficient * symbol + rest, with neither containing SYMBOL: true. Coefficient 0 if d does not contain it. */
bool dim_linear(struct dim_table *t, dim d, dim symbol, dim *coefficient, dim *rest);
bool dim_contains(dim d, dim symbol);
dim dim_substitute(struct dim_table *t, dim d, dim symbol, dim by);
dim dim_copy(struct dim_table *to, dim d);                /* the same expression in another table */
/* Calls FN for each symbol of d once. */
void dim_symbols(dim d, void (*fn)(void *user, dim symbol), void *user);

/* Text: infix, `M*16+min(a,4)`, `/` is floor division, `%` mod; symbols [A-Za-z_.][A-Za-z0-9_.]*. print∘parse = identity. */
void dim_print(struct text *out, dim d);
enum yj_status dim_parse(struct dim_table *t, const char **text, dim *d); /* unknown symbols are made, 0..unbounded */

/* Evaluation: BIND gives a symbol's value. Overflow and division by zero are YJ_ERR_INPUT naming the expression. */
typedef bool dim_bind_fn(void *user, dim symbol, int64_t *value);
enum yj_status dim_eval(dim d, dim_bind_fn *bind, void *user, int64_t *value);

#endif

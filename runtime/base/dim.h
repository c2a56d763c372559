/* SPDX-License-Identifier: Apache-2.0
 *
 * Dim expressions: hash-consed integers with + - * / mod min max over named symbols. One engine for tensor shapes,
 * buffer sizes, launch grids, memory offsets and the subscripts of kernels (a loop axis is a symbol as any other).
 * Equal expressions are the same pointer: simplification happens when a node is made, by a canonical form (a sum of
 * products with integer coefficients) and by what is known of the symbols (range, divisor, a bound that is itself an
 * expression). The order of terms depends on names only, so the same expression has the same text in every table.
 *   dim.c        the table, symbols, facts (range, divisor)    dim_sum.c    sums and products
 *   dim_div.c    division, min, max                            dim_prove.c  what follows from bounds: less, equal
 *   dim_walk.c   substitute, copy, evaluate                    dim_text.c   print, parse
 *
 * Dims are made inside an arena_guard: an expression of more than 100,000 nodes or nested 1,000 deep (terms of a sum
 * count) leaves to it with YJ_ERR_UNSUPPORTED, out of memory with YJ_ERR_MEMORY; the table is not used afterwards.
 * (dim_parse brings its own guard and leaves the table usable.) A table belongs to one thread; dim_eval and dim_print
 * may be called by several.
 */
#ifndef DIM_H
#define DIM_H

#include "runtime/base/base.h"

enum dim_op { DIM_CONST, DIM_SYMBOL, DIM_ADD, DIM_MUL, DIM_DIV, DIM_MOD, DIM_MIN, DIM_MAX };
/* DIV rounds towards minus infinity, MOD has the sign of the divisor (floor division). A divisor is taken to be != 0:
 * one whose range begins at 0 counts as >= 1, and a simplification may remove the division that would have failed. */

struct dim {
    enum dim_op op;
    int id;                  /* order of creation in its table */
    int64_t value;           /* CONST */
    const char *name;        /* SYMBOL */
    int64_t low, high;       /* known bounds, inclusive; INT64_MIN / INT64_MAX where unknown. Saturating arithmetic. */
    int64_t divisor;         /* the value is a multiple of this (>= 1; 0 for the constant 0) */
    const struct dim *a, *b; /* ADD, MUL, DIV, MOD, MIN, MAX */
};
typedef const struct dim *dim; /* the one typedef: a dim is used like a number */

#define DIM_UNBOUNDED INT64_MAX

struct dim_table;
struct dim_table *dim_table_open(struct arena *arena); /* lives as long as the arena */

dim dim_const(struct dim_table *t, int64_t value);
/* The symbol NAME; made with these bounds if new. Bounds of an existing symbol are left as they are. */
dim dim_symbol(struct dim_table *t, const char *name, int64_t low, int64_t high);
/* A symbol in low .. end - 1, both expressions: a loop axis. An axis only has values when low < end, so expressions
 * that contain it are simplified under this assumption. */
dim dim_symbol_below(struct dim_table *t, const char *name, dim low, dim end);
/* A symbol that is a multiple of DIVISOR >= 1. */
dim dim_symbol_multiple(struct dim_table *t, const char *name, int64_t low, int64_t high, int64_t divisor);
dim dim_find(struct dim_table *t, const char *name); /* NULL if there is no such symbol */
dim dim_add(struct dim_table *t, dim a, dim b);
dim dim_sub(struct dim_table *t, dim a, dim b);
dim dim_mul(struct dim_table *t, dim a, dim b);
dim dim_div(struct dim_table *t, dim a, dim b);      /* floor */
dim dim_ceil_div(struct dim_table *t, dim a, dim b); /* towards plus infinity */
dim dim_mod(struct dim_table *t, dim a, dim b);
dim dim_min(struct dim_table *t, dim a, dim b);
dim dim_max(struct dim_table *t, dim a, dim b);

bool dim_is_const(dim d, int64_t *value);
bool dim_is(dim d, int64_t value); /* known to be exactly VALUE */
enum dim_known { DIM_NO, DIM_YES, DIM_UNKNOWN };
enum dim_known dim_equal(struct dim_table *t, dim a, dim b);
enum dim_known dim_less(struct dim_table *t, dim a, dim b); /* a < b */
/* If d = coefficient * symbol + rest, with neither containing SYMBOL: true. Coefficient 0 if d does not contain it. */
bool dim_linear(struct dim_table *t, dim d, dim symbol, dim *coefficient, dim *rest);
bool dim_contains(dim d, dim symbol);
/* BY in place of SYMBOL. Bounds of other symbols that mention SYMBOL stay as they are. */
dim dim_substitute(struct dim_table *t, dim d, dim symbol, dim by);
dim dim_copy(struct dim_table *to, dim d); /* the same expression in another table */
/* Calls FN for each symbol of d once. */
void dim_symbols(dim d, void (*fn)(void *user, dim symbol), void *user);

/* Text: infix, `M*16 + min(a, 4)`, `/` is floor division, `%` mod, `-` also unary; symbols [A-Za-z_.][A-Za-z0-9_.]*,
 * where a dot stands before another character of the name (`N..M` ends after N). parse(print(d)) is d, and prints the
 * same in another table where the symbols have the same bounds. */
void dim_print(struct text *out, dim d);
/* Moves TEXT behind the expression, or to where it is wrong. Nested 200 deep at most. Unknown symbols are made,
 * 0..unbounded. */
enum yj_status dim_parse(struct dim_table *t, const char **text, dim *d);
/* The same without simplifying, for text that dim_print wrote: ten times as quick. The result can be printed,
 * evaluated, walked and copied (dim_copy to another table simplifies); arithmetic on it is undefined. */
enum yj_status dim_parse_plain(struct dim_table *t, const char **text, dim *d);

/* Evaluation: BIND gives a symbol's value. Overflow and division by zero are YJ_ERR_INPUT naming the expression. */
typedef bool dim_bind_fn(void *user, dim symbol, int64_t *value);
enum yj_status dim_eval(dim d, dim_bind_fn *bind, void *user, int64_t *value);

#endif

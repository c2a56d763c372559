/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of dim share. A canonical expression is a sum of terms; a term is a coefficient times a monomial; a
 * monomial is a product of factors; a factor is a symbol, a DIV, MOD, MIN or MAX, or an opaque product or sum (one
 * whose expansion would overflow or grow too large). Sums and products are chains that lean to the left:
 * ((t1 + t2) + t3).
 */
#ifndef DIM_IMPL_H
#define DIM_IMPL_H

#include "runtime/base/dim.h"

enum { DIM_MOST_DEPTH = 1000, DIM_MOST_NODES = 100000, DIM_MOST_ASSUMPTIONS = 16 };

struct node {
    struct dim dim; /* first: a dim points here */
    struct dim_table *table;
    struct node *next; /* in its bucket */
    dim begin, end;    /* of a symbol made by dim_symbol_below, or NULL */
    int depth, weight; /* levels, and nodes counted as a tree */
    bool opaque;       /* a MUL that counts as one factor */
    bool axis;         /* contains a symbol with BEGIN and END */
};

struct dim_table {
    struct arena *arena;
    struct node **buckets;
    int n_buckets, n_nodes; /* n_buckets is a power of two */
    dim zero, one, minus_one;
    /* the prover's state */
    struct {
        dim symbol;
        int64_t low;
    } assumed[DIM_MOST_ASSUMPTIONS];
    int n_assumed, proving, budget, dividing, joining;
};

struct term {
    dim monomial;
    int64_t coefficient;
}; /* monomial NULL: the constant 1 */

static inline const struct node *node_of(dim d) {
    return (const struct node *)d;
}

/* The node OP(a, b) as it stands, with its facts; nothing is simplified. */
dim dim_node(struct dim_table *t, enum dim_op op, dim a, dim b);
dim dim_node_opaque(struct dim_table *t, dim a, dim b);

int dim_compare(dim a, dim b); /* a total order that does not depend on the table */
void dim_sort(dim *dims, int n);
int dim_count_terms(dim d);
void dim_get_terms(dim d, struct term *out);
dim dim_from_terms(struct dim_table *t, struct term *terms, int n); /* simplifies; TERMS is overwritten */
dim dim_term(struct dim_table *t, dim monomial, int64_t coefficient);
int dim_count_factors(dim monomial); /* 0 for NULL */
void dim_get_factors(dim monomial, dim *out);
dim dim_from_factors(struct dim_table *t, dim *factors, int n); /* NULL for none; FACTORS is sorted in place */
/* monomial / by, if every factor of BY is one of MONOMIAL */
bool dim_monomial_divide(struct dim_table *t, dim monomial, dim by, dim *quotient);

void dim_divide(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest);

/* d >= 0 follows from what is known. Assumptions hold between save and restore (n_assumed). */
bool dim_nonnegative(struct dim_table *t, dim d);
void dim_assume_positive(struct dim_table *t, dim d);
void dim_assume_axes(struct dim_table *t, dim d); /* the axes of d have values */

static inline int64_t floor_div(int64_t a, int64_t b) { /* b > 0 */
    int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

/* Of magnitudes; gcd(0, b) = b; 2^63, which does not fit, is given as 2^62. */
static inline int64_t gcd64(int64_t a, int64_t b) {
    uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a, y = b < 0 ? -(uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t z = x % y;
        x = y;
        y = z;
    }
    return x > INT64_MAX ? (int64_t)1 << 62 : (int64_t)x;
}

#endif

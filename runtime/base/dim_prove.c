/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows from the bounds of symbols. To show d >= 0, one factor after the other is replaced by the bound at which
 * d is smallest (its lower bound where its coefficient is >= 0, its upper one where that is <= 0), the youngest first,
 * since a bound only mentions older symbols; for sums of products that are linear in each symbol this loses nothing.
 * For j in [0, N): M*N - 1 - i*N - j  ->  M*N - N - i*N  ->  N*(M - 1 - i)  ->  0 with i at M - 1. Yes is a proof;
 * no only means that none was found.
 */
#include "runtime/base/dim_impl.h"

#include <stdlib.h>

enum { PROOF_STEPS = 200, MOST_FACTORS = 64, MOST_POWER = 2 };

static bool nonnegative(struct dim_table *t, dim d);

/* d >= 0 or -d >= 0, by constants first. */
static bool nonpositive(struct dim_table *t, dim d) {
    return d->high <= 0 || (d->op != DIM_CONST && nonnegative(t, dim_mul(t, d, t->minus_one)));
}

static bool positive_divisor(dim n) { /* see dim.h: a divisor is not 0 */
    return n->low >= 0;
}

/* d = c[0] + c[1]*v + c[2]*v*v with no v in c (v inside of another factor stays there). */
static bool polynomial(struct dim_table *t, dim d, dim v, dim c[MOST_POWER + 1]) {
    int n = dim_count_terms(d), count[MOST_POWER + 1] = {0};
    struct term terms[n], of[MOST_POWER + 1][n];
    dim_get_terms(d, terms);
    for (int i = 0; i < n; i++) {
        int n_factors = dim_count_factors(terms[i].monomial), left = 0, power = 0;
        dim factors[n_factors + 1];
        dim_get_factors(terms[i].monomial, factors);
        for (int k = 0; k < n_factors; k++) {
            if (factors[k] == v)
                power++;
            else
                factors[left++] = factors[k];
        }
        if (power > MOST_POWER) return false;
        of[power][count[power]++] = (struct term){dim_from_factors(t, factors, left), terms[i].coefficient};
    }
    for (int p = 0; p <= MOST_POWER; p++)
        c[p] = dim_from_terms(t, of[p], count[p]);
    return true;
}

/* c[0] + c[1]*v + ... is >= 0 for all v >= low if all coefficients around low are. */
static bool above(struct dim_table *t, const dim c[MOST_POWER + 1], dim low) {
    dim c1 = dim_add(t, c[1], dim_mul(t, dim_const(t, 2), dim_mul(t, c[2], low)));
    dim c0 = dim_add(t, c[0], dim_mul(t, low, dim_add(t, c[1], dim_mul(t, c[2], low))));
    return (c[2] == t->zero || nonnegative(t, c[2])) && nonnegative(t, c1) && nonnegative(t, c0);
}

/* The same for all v <= high. */
static bool below(struct dim_table *t, const dim c[MOST_POWER + 1], dim high) {
    dim mirrored[] = {c[0], dim_mul(t, c[1], t->minus_one), c[2]};
    return above(t, mirrored, dim_mul(t, high, t->minus_one));
}

static int64_t assumed_low(struct dim_table *t, dim symbol) {
    int64_t low = symbol->low;
    for (int i = 0; i < t->n_assumed; i++)
        if (t->assumed[i].symbol == symbol) low = max64(low, t->assumed[i].low);
    return low;
}

static bool between(struct dim_table *t, const dim c[MOST_POWER + 1], dim low, dim high) {
    if (low && above(t, c, low)) return true;
    if (high && below(t, c, high)) return true;
    if (!low || !high || c[2] != t->zero) return false;
    return nonnegative(t, dim_add(t, c[0], dim_mul(t, c[1], low))) && /* the sign of c[1] may be unknown */
           nonnegative(t, dim_add(t, c[0], dim_mul(t, c[1], high)));
}

static bool by_symbol(struct dim_table *t, const dim c[MOST_POWER + 1], dim v) {
    int64_t low = assumed_low(t, v);
    const struct node *n = node_of(v);
    if (n->end && between(t, c, n->begin, dim_sub(t, n->end, t->one))) return true;
    return between(t, c, low == INT64_MIN ? NULL : dim_const(t, low),
                   v->high == INT64_MAX ? NULL : dim_const(t, v->high));
}

/* v = x / n, n >= 1, d = c1*v + c0: v >= k is x >= k*n, v <= k is x <= k*n + n - 1; n*v lies in [x - n + 1, x]. */
static bool by_quotient(struct dim_table *t, dim c1, dim c0, dim v) {
    dim x = v->a, n = v->b, c0_n = dim_mul(t, c0, n);
    if (c1 == t->one) return nonnegative(t, dim_add(t, c0_n, x));
    if (c1 == t->minus_one) return nonnegative(t, dim_sub(t, dim_sub(t, dim_add(t, c0_n, n), t->one), x));
    if (nonnegative(t, c1))
        return nonnegative(t, dim_add(t, c0_n, dim_mul(t, c1, dim_add(t, dim_sub(t, x, n), t->one))));
    return nonpositive(t, c1) && nonnegative(t, dim_add(t, c0_n, dim_mul(t, c1, x)));
}

static bool by_remainder(struct dim_table *t, const dim c[MOST_POWER + 1], dim v) {
    dim x = v->a, n = v->b;
    if (between(t, c, t->zero, dim_sub(t, n, t->one))) return true;
    return nonnegative(t, x) && between(t, c, t->zero, x);
}

/* v is one of a and b; where the coefficient has the right sign, one of the two is enough. */
static bool by_choice(struct dim_table *t, dim c1, dim c0, dim v) {
    bool at_a = nonnegative(t, dim_add(t, c0, dim_mul(t, c1, v->a)));
    bool one = v->op == DIM_MIN ? nonpositive(t, c1) : nonnegative(t, c1);
    if (at_a && one) return true;
    if (!at_a && !one) return false;
    return nonnegative(t, dim_add(t, c0, dim_mul(t, c1, v->b)));
}

static bool by_factor(struct dim_table *t, dim d, dim v) {
    dim c[MOST_POWER + 1];
    if (!polynomial(t, d, v, c)) return false;
    bool linear = c[2] == t->zero;
    if (v->op == DIM_SYMBOL) return by_symbol(t, c, v);
    if (v->op == DIM_DIV && linear && positive_divisor(v->b) && by_quotient(t, c[1], c[0], v)) return true;
    if (v->op == DIM_MOD && positive_divisor(v->b)) return by_remainder(t, c, v);
    if ((v->op == DIM_MIN || v->op == DIM_MAX) && linear && by_choice(t, c[1], c[0], v)) return true;
    return between(t, c, v->low == INT64_MIN ? NULL : dim_const(t, v->low),
                   v->high == INT64_MAX ? NULL : dim_const(t, v->high));
}

static int by_age(const void *a, const void *b) {
    int id_a = (*(const dim *)a)->id, id_b = (*(const dim *)b)->id;
    return (id_a < id_b) - (id_a > id_b);
}

/* The distinct factors of d, youngest first; -1 if there are too many. */
static int factors_of(dim d, dim out[MOST_FACTORS]) {
    int n = dim_count_terms(d), found = 0;
    struct term terms[n];
    dim_get_terms(d, terms);
    for (int i = 0; i < n; i++) {
        int n_factors = dim_count_factors(terms[i].monomial);
        dim factors[n_factors + 1];
        dim_get_factors(terms[i].monomial, factors);
        for (int k = 0; k < n_factors; k++) {
            int at = 0;
            while (at < found && out[at] != factors[k])
                at++;
            if (at < found) continue;
            if (found == MOST_FACTORS) return -1;
            out[found++] = factors[k];
        }
    }
    qsort(out, (size_t)found, sizeof *out, by_age);
    return found;
}

/* Divides d by the factors >= 0 that all its terms share, and by the greatest common divisor of its coefficients
 * (rounding the constant down, which integers allow). */
static dim without_content(struct dim_table *t, dim d) {
    int n = dim_count_terms(d);
    struct term terms[n];
    dim_get_terms(d, terms);
    int64_t g = 0;
    bool constant = false;
    for (int i = 0; i < n; i++) {
        if (terms[i].monomial)
            g = gcd64(g, terms[i].coefficient);
        else
            constant = true;
    }
    bool changed = g > 1;
    for (int i = 0; i < n && g > 1; i++)
        terms[i].coefficient = floor_div(terms[i].coefficient, g);
    if (!constant) {
        int n_factors = dim_count_factors(terms[0].monomial);
        dim factors[n_factors + 1];
        dim_get_factors(terms[0].monomial, factors);
        for (int k = 0; k < n_factors; k++) {
            if (factors[k]->low < 0) continue;
            dim less[n];
            int i = 0;
            while (i < n && dim_monomial_divide(t, terms[i].monomial, factors[k], &less[i]))
                i++;
            if (i < n) continue;
            changed = true;
            for (i = 0; i < n; i++)
                terms[i].monomial = less[i];
        }
    }
    return changed ? dim_from_terms(t, terms, n) : d;
}

static bool nonnegative(struct dim_table *t, dim d) {
    if (d->low >= 0) return true;
    if (d->high < 0 || t->budget-- <= 0) return false;
    d = without_content(t, d);
    if (d->low >= 0) return true;
    if (d->high < 0) return false;
    dim factors[MOST_FACTORS];
    int n = factors_of(d, factors);
    for (int i = 0; i < n; i++)
        if (by_factor(t, d, factors[i])) return true;
    return false;
}

bool dim_nonnegative(struct dim_table *t, dim d) {
    if (d->low >= 0) return true;
    if (d->high < 0) return false;
    if (t->proving++ == 0) t->budget = PROOF_STEPS;
    bool yes = nonnegative(t, d);
    t->proving--;
    return yes;
}

/* --- assumptions --- */

static void assume(struct dim_table *t, dim symbol, int64_t low) {
    if (symbol->op != DIM_SYMBOL || symbol->low >= low || t->n_assumed == DIM_MOST_ASSUMPTIONS) return;
    t->assumed[t->n_assumed].symbol = symbol;
    t->assumed[t->n_assumed++].low = low;
}

/* Of d >= 1 only what is simple is kept: a product of factors >= 0 has factors >= 1; c*s + k bounds s. */
void dim_assume_positive(struct dim_table *t, dim d) {
    int n = dim_count_terms(d);
    if (d->op == DIM_CONST || n > 2) return;
    struct term terms[2];
    dim_get_terms(d, terms); /* last term first */
    int64_t k = n == 2 ? terms[0].coefficient : 0, c = terms[n - 1].coefficient;
    dim monomial = terms[n - 1].monomial;
    if (n == 2 && (terms[0].monomial || dim_count_factors(monomial) > 1)) return;
    if (!monomial || c <= 0) return;
    if (n == 2) {
        if (k > 0 || k < -INT64_MAX / 2) return;
        assume(t, monomial, floor_div(-k, c) + 1);
        return;
    }
    int n_factors = dim_count_factors(monomial);
    dim factors[n_factors];
    dim_get_factors(monomial, factors);
    for (int i = 0; i < n_factors; i++)
        if (factors[i]->low < 0) return;
    for (int i = 0; i < n_factors; i++)
        assume(t, factors[i], 1);
}

void dim_assume_axes(struct dim_table *t, dim d) {
    for (;; d = d->a) {
        const struct node *n = node_of(d);
        if (!n->axis || t->n_assumed == DIM_MOST_ASSUMPTIONS) return;
        if (d->op == DIM_SYMBOL) {
            dim_assume_positive(t, dim_sub(t, n->end, n->begin));
            dim_assume_axes(t, n->begin);
            dim_assume_axes(t, n->end);
            return;
        }
        dim_assume_axes(t, d->b);
    }
}

/* --- comparison --- */

enum dim_known dim_equal(struct dim_table *t, dim a, dim b) {
    if (a == b) return DIM_YES;
    dim d = dim_sub(t, a, b);
    if (d->low > 0 || d->high < 0) return DIM_NO;
    if (d->low == 0 && d->high == 0) return DIM_YES;
    int64_t k = 0;
    dim last = d->op == DIM_ADD ? d->b : d;
    if (last->op == DIM_CONST && d->op == DIM_ADD) { /* a constant that the other terms cannot reach */
        k = last->value;
        if (d->a->divisor > 1 && k % d->a->divisor != 0) return DIM_NO;
    }
    int saved = t->n_assumed;
    dim_assume_axes(t, d);
    bool more = dim_nonnegative(t, dim_sub(t, d, t->one));
    bool less = !more && dim_nonnegative(t, dim_sub(t, dim_mul(t, d, t->minus_one), t->one));
    t->n_assumed = saved;
    return more || less ? DIM_NO : DIM_UNKNOWN;
}

enum dim_known dim_less(struct dim_table *t, dim a, dim b) {
    if (a == b) return DIM_NO;
    if (a->high < b->low) return DIM_YES;
    if (a->low >= b->high && a->low != INT64_MIN && b->high != INT64_MAX) return DIM_NO;
    dim d = dim_sub(t, b, a);
    int saved = t->n_assumed;
    dim_assume_axes(t, a);
    dim_assume_axes(t, b);
    bool yes = dim_nonnegative(t, dim_sub(t, d, t->one));
    bool no = !yes && dim_nonnegative(t, dim_mul(t, d, t->minus_one));
    t->n_assumed = saved;
    return yes ? DIM_YES : no ? DIM_NO : DIM_UNKNOWN;
}

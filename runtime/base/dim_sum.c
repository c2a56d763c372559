/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums and products in canonical form: like terms are collected, products of sums expanded, and the terms stand in an
 * order that depends on names alone (degree, size of the coefficient, then the monomial), so that equal sums meet
 * whatever way they were made. In a sum (x / n)*n + x % n becomes x again.
 */
#include "runtime/base/dim_impl.h"

#include <stdlib.h>

enum { MOST_EXPANDED_TERMS = 64, MOST_EXPANDED_NODES = 4096, MOST_JOINING = 6 };

/* --- the order --- */

static int rank(dim d) {
    static const int ranks[] = {[DIM_SYMBOL] = 0, [DIM_DIV] = 1, [DIM_MOD] = 2, [DIM_MIN] = 3,
                                [DIM_MAX] = 4,    [DIM_MUL] = 5, [DIM_ADD] = 6, [DIM_CONST] = 7};
    return ranks[d->op];
}

int dim_compare(dim a, dim b) {
    while (a != b) {
        if (a->op != b->op) return rank(a) - rank(b);
        if (a->op == DIM_SYMBOL) return strcmp(a->name, b->name);
        if (a->op == DIM_CONST) return a->value < b->value ? -1 : 1;
        if (node_of(a)->opaque != node_of(b)->opaque) return node_of(a)->opaque ? 1 : -1;
        int order = dim_compare(a->b, b->b);
        if (order) return order;
        a = a->a;
        b = b->a;
    }
    return 0;
}

static int by_place(const void *pa, const void *pb) {
    const struct term *a = pa, *b = pb;
    int degree_a = dim_count_factors(a->monomial), degree_b = dim_count_factors(b->monomial);
    if (degree_a != degree_b) return degree_b - degree_a;
    uint64_t size_a = a->coefficient < 0 ? -(uint64_t)a->coefficient : (uint64_t)a->coefficient;
    uint64_t size_b = b->coefficient < 0 ? -(uint64_t)b->coefficient : (uint64_t)b->coefficient;
    if (size_a != size_b) return size_a > size_b ? -1 : 1;
    return degree_a ? dim_compare(a->monomial, b->monomial) : 0;
}

static int by_monomial(const void *pa, const void *pb) {
    const struct term *a = pa, *b = pb;
    int id_a = a->monomial ? a->monomial->id : -1, id_b = b->monomial ? b->monomial->id : -1;
    return (id_a > id_b) - (id_a < id_b);
}

static int by_order(const void *a, const void *b) {
    return dim_compare(*(const dim *)a, *(const dim *)b);
}

void dim_sort(dim *dims, int n) {
    qsort(dims, (size_t)n, sizeof *dims, by_order);
}

/* --- products --- */

static bool is_product(dim d) {
    return d->op == DIM_MUL && !node_of(d)->opaque;
}

int dim_count_factors(dim monomial) {
    if (!monomial) return 0;
    int n = 1;
    for (; is_product(monomial); monomial = monomial->a)
        n++;
    return n;
}

void dim_get_factors(dim monomial, dim *out) {
    if (!monomial) return;
    int n = dim_count_factors(monomial);
    for (; is_product(monomial); monomial = monomial->a)
        out[--n] = monomial->b;
    out[0] = monomial;
}

dim dim_from_factors(struct dim_table *t, dim *factors, int n) {
    if (n == 0) return NULL;
    dim_sort(factors, n);
    dim product = factors[0];
    for (int i = 1; i < n; i++)
        product = dim_node(t, DIM_MUL, product, factors[i]);
    return product;
}

bool dim_monomial_divide(struct dim_table *t, dim monomial, dim by, dim *quotient) {
    int n = dim_count_factors(monomial), n_by = dim_count_factors(by), left = 0, k = 0;
    if (n_by > n) return false;
    dim factors[n + 1], divisors[n_by + 1];
    dim_get_factors(monomial, factors);
    dim_get_factors(by, divisors);
    for (int i = 0; i < n; i++) { /* both are sorted in the same order */
        if (k < n_by && factors[i] == divisors[k])
            k++;
        else
            factors[left++] = factors[i];
    }
    if (k < n_by) return false;
    *quotient = dim_from_factors(t, factors, left);
    return true;
}

dim dim_term(struct dim_table *t, dim monomial, int64_t coefficient) {
    if (!monomial || coefficient == 0) return dim_const(t, coefficient);
    return coefficient == 1 ? monomial : dim_node(t, DIM_MUL, monomial, dim_const(t, coefficient));
}

static dim monomial_mul(struct dim_table *t, dim a, dim b) {
    if (!a || !b) return a ? a : b;
    int n_a = dim_count_factors(a), n_b = dim_count_factors(b);
    dim factors[n_a + n_b];
    dim_get_factors(a, factors);
    dim_get_factors(b, factors + n_a);
    return dim_from_factors(t, factors, n_a + n_b);
}

static dim mul_opaque(struct dim_table *t, dim a, dim b) {
    return dim_compare(a, b) <= 0 ? dim_node_opaque(t, a, b) : dim_node_opaque(t, b, a);
}

dim dim_mul(struct dim_table *t, dim a, dim b) {
    if (a == t->zero || b == t->zero) return t->zero;
    if (a == t->one) return b;
    if (b == t->one) return a;
    int n_a = dim_count_terms(a), n_b = dim_count_terms(b);
    int64_t nodes = (int64_t)n_b * node_of(a)->weight + (int64_t)n_a * node_of(b)->weight;
    bool grows = nodes > MOST_EXPANDED_NODES && nodes > node_of(a)->weight + node_of(b)->weight;
    if (grows || (n_a > 1 && n_b > 1 && (int64_t)n_a * n_b > MOST_EXPANDED_TERMS)) return mul_opaque(t, a, b);
    struct term terms_a[n_a], terms_b[n_b], terms[n_a * n_b];
    dim_get_terms(a, terms_a);
    dim_get_terms(b, terms_b);
    int n = 0;
    for (int i = 0; i < n_a; i++)
        for (int k = 0; k < n_b; k++)
            if (__builtin_mul_overflow(terms_a[i].coefficient, terms_b[k].coefficient, &terms[n++].coefficient))
                return mul_opaque(t, a, b);
    n = 0;
    for (int i = 0; i < n_a; i++)
        for (int k = 0; k < n_b; k++)
            terms[n++].monomial = monomial_mul(t, terms_a[i].monomial, terms_b[k].monomial);
    return dim_from_terms(t, terms, n);
}

/* --- sums --- */

int dim_count_terms(dim d) {
    int n = 1;
    for (; d->op == DIM_ADD; d = d->a)
        n++;
    return n;
}

static struct term term_of(dim d) {
    if (d->op == DIM_CONST) return (struct term){NULL, d->value};
    if (is_product(d) && d->b->op == DIM_CONST) return (struct term){d->a, d->b->value};
    return (struct term){d, 1};
}

void dim_get_terms(dim d, struct term *out) {
    for (; d->op == DIM_ADD; d = d->a)
        *out++ = term_of(d->b);
    *out = term_of(d);
}

/* Joins terms of the same monomial. A coefficient beyond 64 bits stays as several terms: no node's value is wrapped. */
static int collect(struct term *terms, int n) {
    qsort(terms, (size_t)n, sizeof *terms, by_monomial);
    int made = 0;
    for (int i = 0; i < n;) {
        dim monomial = terms[i].monomial;
        __int128 sum = 0;
        for (; i < n && terms[i].monomial == monomial; i++)
            sum += terms[i].coefficient;
        while (sum != 0) { /* never more terms than there were */
            int64_t part = sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
            terms[made++] = (struct term){monomial, part};
            sum -= part;
        }
    }
    return made;
}

static dim factor_of(dim monomial, enum dim_op op) {
    if (!monomial) return NULL;
    for (; is_product(monomial); monomial = monomial->a)
        if (monomial->b->op == op) return monomial->b;
    return monomial->op == op ? monomial : NULL;
}

/* Removes each term of D from TERMS if all are there with the same coefficients; the new count, or -1. */
static int remove_terms(struct term *terms, int n, dim d) {
    int n_gone = dim_count_terms(d);
    if (n_gone > n) return -1;
    struct term gone[n_gone], left[n];
    memcpy(left, terms, (size_t)n * sizeof *terms);
    dim_get_terms(d, gone);
    for (int i = 0; i < n_gone; i++) {
        int k = 0;
        while (k < n && (left[k].monomial != gone[i].monomial || left[k].coefficient != gone[i].coefficient))
            k++;
        if (k == n) return -1;
        left[k] = left[--n];
    }
    memcpy(terms, left, (size_t)n * sizeof *terms);
    return n;
}

/* What takes the place of term AT, which has the factor MOD = x % n: with c*n*(x / n) among the other TERMS, c*x; with
 * c*n*((x / n) % m) among them, c*(x % (n*m)). Removes those; NULL if nothing fits. */
static dim join(struct dim_table *t, struct term *terms, int *n, struct term at, dim mod) {
    dim others = NULL, q = dim_div(t, mod->a, mod->b);
    if (!dim_monomial_divide(t, at.monomial, mod, &others)) return NULL;
    dim c = dim_term(t, others, at.coefficient), c_n = dim_mul(t, c, mod->b);
    int left = remove_terms(terms, *n, dim_mul(t, c_n, q));
    if (left >= 0) {
        *n = left;
        return dim_mul(t, c, mod->a);
    }
    for (int i = 0; i < *n; i++) {
        dim outer = factor_of(terms[i].monomial, DIM_MOD);
        if (!outer || outer->a != q) continue;
        left = remove_terms(terms, *n, dim_mul(t, c_n, outer));
        if (left < 0) continue;
        *n = left;
        return dim_mul(t, c, dim_mod(t, mod->a, dim_mul(t, mod->b, outer->b)));
    }
    return NULL;
}

/* Looks for a MOD and its DIV in the sum; the joined sum, or NULL. */
static dim join_any(struct dim_table *t, const struct term *terms, int n) {
    int n_div = 0, n_mod = 0;
    for (int i = 0; i < n; i++) {
        n_div += factor_of(terms[i].monomial, DIM_DIV) != NULL;
        n_mod += factor_of(terms[i].monomial, DIM_MOD) != NULL;
    }
    if (n_mod == 0 || n_div + n_mod < 2 || t->joining >= MOST_JOINING) return NULL;
    dim joined = NULL;
    t->joining++;
    for (int i = 0; i < n && !joined; i++) {
        dim mod = factor_of(terms[i].monomial, DIM_MOD);
        if (!mod) continue;
        struct term rest[n];
        int n_rest = n - 1;
        memcpy(rest, terms, (size_t)n * sizeof *terms);
        rest[i] = rest[n - 1];
        joined = join(t, rest, &n_rest, terms[i], mod);
        if (joined && n_rest > 0) joined = dim_add(t, joined, dim_from_terms(t, rest, n_rest));
    }
    t->joining--;
    return joined;
}

/* (x / n)*c where x is a multiple of n and c of n: x*(c / n). */
static void join_exact(struct dim_table *t, struct term *term) {
    for (dim q; (q = factor_of(term->monomial, DIM_DIV));) {
        dim n = q->b, others;
        if (n->op != DIM_CONST || n->value < 2 || q->a->divisor % n->value || term->coefficient % n->value) return;
        if (dim_count_terms(q->a) > 1 || term_of(q->a).coefficient != 1) return;
        if (!dim_monomial_divide(t, term->monomial, q, &others)) return;
        term->monomial = monomial_mul(t, others, q->a);
        term->coefficient /= n->value;
    }
}

dim dim_from_terms(struct dim_table *t, struct term *terms, int n) {
    for (int i = 0; i < n; i++)
        join_exact(t, &terms[i]);
    n = collect(terms, n);
    if (n == 0) return t->zero;
    dim joined = n > 1 ? join_any(t, terms, n) : NULL;
    if (joined) return joined;
    qsort(terms, (size_t)n, sizeof *terms, by_place);
    dim sum = dim_term(t, terms[0].monomial, terms[0].coefficient);
    for (int i = 1; i < n; i++)
        sum = dim_node(t, DIM_ADD, sum, dim_term(t, terms[i].monomial, terms[i].coefficient));
    return sum;
}

dim dim_add(struct dim_table *t, dim a, dim b) {
    if (a == t->zero) return b;
    if (b == t->zero) return a;
    int n_a = dim_count_terms(a), n_b = dim_count_terms(b);
    struct term terms[n_a + n_b];
    dim_get_terms(a, terms);
    dim_get_terms(b, terms + n_a);
    return dim_from_terms(t, terms, n_a + n_b);
}

dim dim_sub(struct dim_table *t, dim a, dim b) {
    return dim_add(t, a, dim_mul(t, b, t->minus_one));
}

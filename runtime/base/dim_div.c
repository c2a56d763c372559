/* SPDX-License-Identifier: Apache-2.0
 *
 * Floor division, remainder, minimum, maximum. Quotient and rest are found together, so that the two halves of a
 * flattened subscript always fit: x = n*Q + R by division of polynomials, then R is split again at a common divisor g
 * of n and of some of its terms: R = g*R' + r with 0 <= r < g gives R / n = R' / (n / g), R % n = g*(R' % (n / g)) + r.
 */
#include "runtime/base/dim_impl.h"

enum { MOST_DIVISION_STEPS = 64, MOST_CHOICES = 16, MOST_NESTED = 40 };

/* The part of TERM that N = coefficient*monomial divides: its quotient; the rest stays in TERM. A constant leaves a
 * rest in [0, n), another coefficient one of its own sign. */
static bool term_divide(struct dim_table *t, struct term *term, struct term n, struct term *quotient) {
    dim monomial;
    if (n.coefficient == 0 || !dim_monomial_divide(t, term->monomial, n.monomial, &monomial)) return false;
    if (n.coefficient == -1 && term->coefficient == INT64_MIN) return false;
    int64_t q = term->coefficient / n.coefficient, rest = term->coefficient % n.coefficient;
    if (!term->monomial && !n.monomial && rest < 0) { /* only used with n >= 1 */
        q--;
        rest += n.coefficient;
    }
    if (q == 0) return false;
    *quotient = (struct term){monomial, q};
    term->coefficient = rest;
    return true;
}

/* x = n*Q + R for a divisor of one term. */
static void divide_by_term(struct dim_table *t, dim x, struct term n, dim *quotient, dim *rest) {
    int n_terms = dim_count_terms(x), found = 0;
    struct term terms[n_terms], quotients[n_terms];
    dim_get_terms(x, terms);
    for (int i = 0; i < n_terms; i++)
        found += term_divide(t, &terms[i], n, &quotients[found]);
    *quotient = dim_from_terms(t, quotients, found);
    *rest = found ? dim_from_terms(t, terms, n_terms) : x;
}

/* x = n*Q + R for a sum: the leading term of n (the first: highest degree) is divided out again and again. */
static void divide_by_sum(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    int n_lead = dim_count_terms(n);
    struct term divisor[n_lead];
    dim_get_terms(n, divisor);
    *quotient = t->zero;
    *rest = x;
    for (int step = 0; step < MOST_DIVISION_STEPS; step++) {
        int n_terms = dim_count_terms(*rest), i = n_terms - 1;
        struct term terms[n_terms], q;
        dim_get_terms(*rest, terms);
        while (i >= 0 && !term_divide(t, &terms[i], divisor[n_lead - 1], &q))
            i--;
        if (i < 0) return;
        dim part = dim_term(t, q.monomial, q.coefficient);
        *quotient = dim_add(t, *quotient, part);
        *rest = dim_sub(t, *rest, dim_mul(t, part, n));
    }
    *quotient = t->zero; /* does not end: the leading term comes back */
    *rest = x;
}

/* x = n*Q + R as polynomials: the rest may have any sign and size. */
static void divide_by(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    struct term one;
    if (n->op == DIM_ADD) {
        divide_by_sum(t, x, n, quotient, rest);
    } else {
        dim_get_terms(n, &one);
        divide_by_term(t, x, one, quotient, rest);
    }
}

static bool within(struct dim_table *t, dim x, dim n) { /* 0 <= x < n */
    if (x->low >= 0 && x->high < n->low && x->high != INT64_MAX) return true;
    return dim_nonnegative(t, x) && dim_nonnegative(t, dim_sub(t, dim_sub(t, n, x), t->one));
}

/* The greatest common divisor of two terms. */
static struct term common(struct dim_table *t, struct term a, struct term b) {
    int n_a = dim_count_factors(a.monomial), n_b = dim_count_factors(b.monomial), n = 0;
    dim fa[n_a + 1], fb[n_b + 1];
    dim_get_factors(a.monomial, fa);
    dim_get_factors(b.monomial, fb);
    for (int i = 0; i < n_a; i++) {
        for (int k = 0; k < n_b; k++) {
            if (fa[i] != fb[k]) continue;
            fb[k] = NULL;
            fa[n++] = fa[i];
            break;
        }
    }
    return (struct term){dim_from_factors(t, fa, n), gcd64(a.coefficient, b.coefficient)};
}

/* Tries the split of x at g, where n = g * factor. */
static bool split_at(struct dim_table *t, dim x, dim g, dim factor, dim *quotient, dim *rest) {
    dim multiple, r, q2, r2;
    divide_by(t, x, g, &multiple, &r);
    if (multiple == t->zero || g->low < 0 || !within(t, r, g)) return false;
    dim_divide(t, multiple, factor, &q2, &r2);
    *quotient = q2;
    *rest = dim_add(t, dim_mul(t, g, r2), r);
    return true;
}

/* n = content * (*primitive), where no term divides all terms of the primitive part. */
static struct term content_of(struct dim_table *t, dim n, dim *primitive) {
    int n_terms = dim_count_terms(n);
    struct term terms[n_terms];
    dim_get_terms(n, terms);
    struct term content = terms[0];
    for (int i = 1; i < n_terms; i++)
        content = common(t, content, terms[i]);
    dim rest;
    divide_by_term(t, n, content, primitive, &rest);
    return content;
}

/* Tries as g: what a term of x shares with the content of n, then the primitive part of n. */
static bool split(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    int n_terms = dim_count_terms(x), tried = 0;
    dim primitive, factor;
    struct term terms[n_terms], g[MOST_CHOICES], content = content_of(t, n, &primitive);
    if (content.coefficient <= 0) return false;
    dim_get_terms(x, terms);
    for (int i = n_terms - 1; i >= 0 && tried < MOST_CHOICES; i--) {
        if (!terms[i].monomial) continue;
        struct term c = common(t, terms[i], content);
        bool seen = !c.monomial && c.coefficient == 1;
        for (int k = 0; k < tried; k++)
            seen |= g[k].monomial == c.monomial && g[k].coefficient == c.coefficient;
        if (seen) continue;
        g[tried++] = c;
        dim g_dim = dim_term(t, c.monomial, c.coefficient), monomial;
        if (!dim_monomial_divide(t, content.monomial, c.monomial, &monomial)) continue;
        factor = dim_mul(t, dim_term(t, monomial, content.coefficient / c.coefficient), primitive);
        if (split_at(t, x, g_dim, factor, quotient, rest)) return true;
    }
    factor = dim_term(t, content.monomial, content.coefficient);
    return primitive->op == DIM_ADD && factor != t->one && split_at(t, x, primitive, factor, quotient, rest);
}

/* n = by * quotient, all positive. */
static bool divides(struct dim_table *t, dim by, dim n, dim *quotient) {
    dim rest;
    if (by->low < 0 || n->low < 0) return false;
    divide_by(t, n, by, quotient, &rest);
    return rest == t->zero && (*quotient)->low >= 0;
}

/* ((y / a) + c) / n = (y + a*c) / (a*n);  (y % a) / n = (y / n) % (a / n) and (y % a) % n = y % n if n divides a. */
static bool divide_nested(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    dim inner = x->op == DIM_ADD && x->b->op == DIM_CONST ? x->a : x, m;
    if (inner->op == DIM_DIV && inner->b->low >= 0) {
        dim a = inner->b, a_n = dim_mul(t, a, n);
        if (node_of(a_n)->opaque) return false;
        dim y = dim_add(t, inner->a, dim_mul(t, a, dim_sub(t, x, inner)));
        *quotient = dim_div(t, y, a_n);
        *rest = dim_node(t, DIM_MOD, x, n);
        return true;
    }
    if (x->op == DIM_MOD && divides(t, n, x->b, &m)) {
        dim q, r;
        dim_divide(t, x->a, n, &q, &r);
        *quotient = dim_mod(t, q, m);
        *rest = r;
        return true;
    }
    return false;
}

/* x is its own rest as far as polynomial division goes; n >= 1. */
static void divide_rest(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    *quotient = t->zero;
    *rest = x;
    if (x == t->zero || within(t, x, n)) return;
    if (split(t, x, n, quotient, rest)) return;
    if (divide_nested(t, x, n, quotient, rest)) return;
    *quotient = dim_node(t, DIM_DIV, x, n);
    *rest = dim_node(t, DIM_MOD, x, n);
}

/* Moves the terms of REST that are multiples of the constant n by their divisor facts to the quotient:
 * c*m / n = (c / g)*(m / (n / g)) with g = gcd(c, n), exactly. */
static void divide_exact(struct dim_table *t, int64_t n, dim *quotient, dim *rest) {
    int n_terms = dim_count_terms(*rest), left = 0, moved = 0;
    struct term terms[n_terms];
    dim exact = t->zero;
    dim_get_terms(*rest, terms);
    for (int i = 0; i < n_terms; i++) {
        struct term term = terms[i];
        int64_t g = gcd64(term.coefficient, n);
        if (!term.monomial || term.monomial->divisor % (n / g) != 0) {
            terms[left++] = term;
            continue;
        }
        dim by = dim_const(t, n / g), x = term.monomial;
        dim part =
            x->op == DIM_DIV && x->b->low >= 0 ? dim_div(t, x->a, dim_mul(t, x->b, by)) : dim_node(t, DIM_DIV, x, by);
        exact = dim_add(t, exact, dim_mul(t, part, dim_const(t, term.coefficient / g)));
        moved++;
    }
    if (moved == 0) return;
    *quotient = dim_add(t, *quotient, exact);
    *rest = dim_from_terms(t, terms, left);
}

static void divide_positive(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    dim q = t->zero, q_left, x_left = x;
    int saved = t->n_assumed;
    do { /* again, since rests of large coefficients may add up to more than n */
        divide_by(t, x_left, n, &q_left, &x_left);
        q = dim_add(t, q, q_left);
    } while (q_left != t->zero);
    if (n->op == DIM_CONST) divide_exact(t, n->value, &q, &x_left);
    dim_assume_positive(t, n);
    dim_assume_axes(t, x);
    dim_assume_axes(t, n);
    divide_rest(t, x_left, n, &q_left, rest);
    t->n_assumed = saved;
    *quotient = dim_add(t, q, q_left);
}

static void divide_raw(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    *quotient = dim_node(t, DIM_DIV, x, n);
    *rest = dim_node(t, DIM_MOD, x, n);
}

void dim_divide(struct dim_table *t, dim x, dim n, dim *quotient, dim *rest) {
    if (n == t->zero || t->dividing >= MOST_NESTED) {
        divide_raw(t, x, n, quotient, rest);
        return;
    }
    t->dividing++;
    if (n == t->one || x == t->zero || x == n) {
        *quotient = n == t->one ? x : x == n ? t->one : t->zero;
        *rest = t->zero;
    } else if (n->op == DIM_CONST && n->value < 0 && n->value != INT64_MIN) {
        dim q, r; /* x / -n = -x / n, x % -n = -(-x % n) */
        dim_divide(t, dim_mul(t, x, t->minus_one), dim_const(t, -n->value), &q, &r);
        *quotient = q;
        *rest = dim_mul(t, r, t->minus_one);
    } else if (n->low >= 0 || dim_nonnegative(t, dim_sub(t, n, t->one))) {
        divide_positive(t, x, n, quotient, rest);
    } else {
        divide_raw(t, x, n, quotient, rest);
    }
    t->dividing--;
}

dim dim_div(struct dim_table *t, dim a, dim b) {
    dim quotient, rest;
    dim_divide(t, a, b, &quotient, &rest);
    return quotient;
}

dim dim_mod(struct dim_table *t, dim a, dim b) {
    dim quotient, rest;
    dim_divide(t, a, b, &quotient, &rest);
    return rest;
}

dim dim_ceil_div(struct dim_table *t, dim a, dim b) {
    if (b->low >= 0) return dim_div(t, dim_sub(t, dim_add(t, a, b), t->one), b);
    return dim_mul(t, dim_div(t, dim_mul(t, a, t->minus_one), b), t->minus_one);
}

/* --- minimum and maximum --- */

static int count_choices(dim d, enum dim_op op) {
    int n = 1;
    for (; d->op == op; d = d->a)
        n++;
    return n;
}

static void get_choices(dim d, enum dim_op op, dim *out) {
    for (; d->op == op; d = d->a)
        *out++ = d->b;
    *out = d;
}

/* a is never needed beside b. */
static bool dominated(struct dim_table *t, enum dim_op op, dim a, dim b) {
    return op == DIM_MIN ? dim_nonnegative(t, dim_sub(t, a, b)) : dim_nonnegative(t, dim_sub(t, b, a));
}

/* Drops each choice that another makes superfluous, and orders the others. */
static dim choose(struct dim_table *t, enum dim_op op, dim a, dim b) {
    int n_a = count_choices(a, op), n = n_a + count_choices(b, op), kept = 0;
    dim choices[n];
    get_choices(a, op, choices);
    get_choices(b, op, choices + n_a);
    int saved = t->n_assumed;
    dim_assume_axes(t, a);
    dim_assume_axes(t, b);
    for (int i = 0; i < n; i++) {
        bool needed = true;
        for (int k = 0; k < kept && needed; k++)
            needed = choices[k] != choices[i] && (n > MOST_CHOICES || !dominated(t, op, choices[i], choices[k]));
        if (!needed) continue;
        int left = 0;
        for (int k = 0; k < kept; k++)
            if (n > MOST_CHOICES || !dominated(t, op, choices[k], choices[i])) choices[left++] = choices[k];
        choices[left] = choices[i];
        kept = left + 1;
    }
    t->n_assumed = saved;
    dim_sort(choices, kept);
    dim d = choices[0];
    for (int i = 1; i < kept; i++)
        d = dim_node(t, op, d, choices[i]);
    return d;
}

dim dim_min(struct dim_table *t, dim a, dim b) {
    return a == b ? a : choose(t, DIM_MIN, a, b);
}

dim dim_max(struct dim_table *t, dim a, dim b) {
    return a == b ? a : choose(t, DIM_MAX, a, b);
}

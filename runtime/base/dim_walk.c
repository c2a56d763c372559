/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks over expressions: what they contain, linear form, substitution, copies, evaluation. A node is nested at most
 * 1,000 deep and weighs at most 100,000 nodes as a tree, so plain recursion is safe and ends.
 */
#include "runtime/base/dim_impl.h"

#include <stdlib.h>

bool dim_contains(dim d, dim symbol) {
    for (; d != symbol; d = d->a) {
        if (!d->a || d->id < symbol->id) return false; /* a node is younger than its operands */
        if (dim_contains(d->b, symbol)) return true;
    }
    return true;
}

bool dim_linear(struct dim_table *t, dim d, dim symbol, dim *coefficient, dim *rest) {
    int n = dim_count_terms(d), n_with = 0, n_without = 0;
    struct term terms[n], with[n], without[n];
    dim_get_terms(d, terms);
    for (int i = n - 1; i >= 0; i--) {
        dim m = terms[i].monomial, left;
        if (!m || !dim_contains(m, symbol)) {
            without[n_without++] = terms[i];
            continue;
        }
        if (!dim_monomial_divide(t, m, symbol, &left) || (left && dim_contains(left, symbol))) return false;
        with[n_with++] = (struct term){left, terms[i].coefficient};
    }
    *coefficient = dim_from_terms(t, with, n_with);
    *rest = dim_from_terms(t, without, n_without);
    return true;
}

static dim rebuild(struct dim_table *t, dim d, dim a, dim b) {
    switch (d->op) {
    case DIM_ADD:
        return dim_add(t, a, b);
    case DIM_MUL:
        return dim_mul(t, a, b);
    case DIM_DIV:
        return dim_div(t, a, b);
    case DIM_MOD:
        return dim_mod(t, a, b);
    case DIM_MIN:
        return dim_min(t, a, b);
    default:
        return dim_max(t, a, b);
    }
}

dim dim_substitute(struct dim_table *t, dim d, dim symbol, dim by) {
    if (d == symbol) return by;
    if (!d->a || !dim_contains(d, symbol)) return d;
    dim a = dim_substitute(t, d->a, symbol, by);
    return rebuild(t, d, a, dim_substitute(t, d->b, symbol, by));
}

static dim copy_symbol(struct dim_table *to, dim d) {
    const struct node *n = node_of(d);
    if (n->end) return dim_symbol_below(to, d->name, dim_copy(to, n->begin), dim_copy(to, n->end));
    return dim_symbol_multiple(to, d->name, d->low, d->high, d->divisor);
}

dim dim_copy(struct dim_table *to, dim d) {
    if (node_of(d)->table == to) return d;
    if (d->op == DIM_CONST) return dim_const(to, d->value);
    if (d->op == DIM_SYMBOL) {
        dim known = dim_find(to, d->name);
        return known ? known : copy_symbol(to, d);
    }
    dim a = dim_copy(to, d->a);
    return rebuild(to, d, a, dim_copy(to, d->b));
}

struct symbols {
    dim *found;
    size_t n;
};

static void collect_symbols(struct symbols *s, dim d) {
    for (; d->a; d = d->a)
        collect_symbols(s, d->b);
    if (d->op != DIM_SYMBOL) return;
    for (size_t i = 0; i < s->n; i++)
        if (s->found[i] == d) return;
    s->found[s->n++] = d;
}

void dim_symbols(dim d, void (*fn)(void *user, dim symbol), void *user) {
    dim found[node_of(d)->weight / 2 + 1]; /* a tree of w nodes has (w + 1) / 2 leaves */
    struct symbols s = {.found = found};
    collect_symbols(&s, d);
    for (size_t i = 0; i < s.n; i++)
        fn(user, s.found[i]);
}

/* --- evaluation --- */

enum trouble { FINE, OVERFLOW, BY_ZERO, UNBOUND };

struct eval {
    dim_bind_fn *bind;
    void *user;
    enum trouble trouble;
    dim where;
};

static __int128 stop(struct eval *e, enum trouble trouble, dim where) {
    if (e->trouble == FINE) {
        e->trouble = trouble;
        e->where = where;
    }
    return 0;
}

static __int128 wide(struct eval *e, dim d);

/* Sums and products are computed in 128 bits: only a value that something is done with must fit 64. */
static int64_t narrow(struct eval *e, dim d) {
    __int128 v = wide(e, d);
    if (v > INT64_MAX || v < INT64_MIN) return (int64_t)stop(e, OVERFLOW, d);
    return (int64_t)v;
}

static int64_t divided(struct eval *e, dim d) {
    int64_t x = narrow(e, d->a), n = narrow(e, d->b);
    if (e->trouble) return 0;
    if (n == 0) return (int64_t)stop(e, BY_ZERO, d);
    if (n == -1) { /* INT64_MIN / -1 does not fit */
        if (d->op == DIM_MOD) return 0;
        return x == INT64_MIN ? (int64_t)stop(e, OVERFLOW, d) : -x;
    }
    int64_t rest = x % n;
    bool down = rest != 0 && (rest < 0) != (n < 0);
    if (d->op == DIM_MOD) return down ? rest + n : rest;
    return x / n - down;
}

static __int128 wide(struct eval *e, dim d) {
    switch (d->op) {
    case DIM_CONST:
        return d->value;
    case DIM_SYMBOL: {
        int64_t value = 0;
        return e->bind(e->user, d, &value) ? value : stop(e, UNBOUND, d);
    }
    case DIM_ADD: {
        __int128 a = wide(e, d->a), b = wide(e, d->b);
        return __builtin_add_overflow(a, b, &a) ? stop(e, OVERFLOW, d) : a;
    }
    case DIM_MUL: {
        __int128 a = wide(e, d->a), b = wide(e, d->b);
        return __builtin_mul_overflow(a, b, &a) ? stop(e, OVERFLOW, d) : a;
    }
    case DIM_DIV:
    case DIM_MOD:
        return divided(e, d);
    case DIM_MIN:
    case DIM_MAX: {
        int64_t a = narrow(e, d->a), b = narrow(e, d->b);
        return d->op == DIM_MIN ? min64(a, b) : max64(a, b);
    }
    }
    return 0;
}

enum yj_status dim_eval(dim d, dim_bind_fn *bind, void *user, int64_t *value) {
    struct eval e = {bind, user, FINE, NULL};
    int64_t v = narrow(&e, d);
    if (e.trouble == FINE) {
        *value = v;
        return YJ_OK;
    }
    struct text text = {0};
    dim_print(&text, e.where);
    const char *words = text.data ? text.data : "?";
    if (e.trouble == UNBOUND)
        report(YJ_ERR_INPUT, "the dimension %s has no value", words);
    else if (e.trouble == BY_ZERO)
        report(YJ_ERR_INPUT, "%.300s divides by zero", words);
    else
        report(YJ_ERR_INPUT, "%.300s does not fit 64 bits", words);
    text_free(&text);
    return YJ_ERR_INPUT;
}

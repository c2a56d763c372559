/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of dim expressions. Printing puts brackets wherever a reader might doubt the order of operations; parsing
 * builds with the ordinary constructors, so a printed expression comes back as the same node.
 */
#include "runtime/base/dim_impl.h"

#include <ctype.h>
#include <inttypes.h>

enum { MOST_NESTING = 200 };

/* --- print --- */

static bool is_plain(dim d) { /* needs no brackets anywhere */
    return d->op == DIM_SYMBOL || d->op == DIM_MIN || d->op == DIM_MAX || (d->op == DIM_CONST && d->value >= 0);
}

static void print_operand(struct text *out, dim d) {
    if (!is_plain(d)) text_add(out, "(");
    dim_print(out, d);
    if (!is_plain(d)) text_add(out, ")");
}

static void print_binary(struct text *out, dim d, const char *op) {
    print_operand(out, d->a);
    text_add(out, "%s", op);
    print_operand(out, d->b);
}

static void print_factors(struct text *out, dim monomial) {
    int n = dim_count_factors(monomial);
    dim factors[n];
    dim_get_factors(monomial, factors);
    for (int i = 0; i < n; i++) {
        if (i) text_add(out, "*");
        print_operand(out, factors[i]);
    }
}

/* One term of a sum, or a lone one, without its sign. */
static void print_term(struct text *out, struct term term, bool bare) {
    if (!term.monomial) {
        text_add(out, "%" PRId64, term.coefficient);
    } else if (bare && term.coefficient == 1 && dim_count_factors(term.monomial) == 1) {
        dim_print(out, term.monomial);
    } else {
        print_factors(out, term.monomial);
        if (term.coefficient != 1) text_add(out, "*%" PRId64, term.coefficient);
    }
}

static void print_sum(struct text *out, dim d) {
    int n = dim_count_terms(d);
    struct term terms[n];
    dim_get_terms(d, terms); /* last first */
    for (int i = n - 1; i >= 0; i--) {
        struct term term = terms[i];
        bool first = i == n - 1, minus = term.coefficient < 0 && term.coefficient != INT64_MIN;
        text_add(out, "%s", first ? minus ? "-" : "" : minus ? " - " : " + ");
        if (minus) term.coefficient = -term.coefficient;
        print_term(out, term, !(first && minus));
    }
}

void dim_print(struct text *out, dim d) {
    switch (d->op) {
    case DIM_SYMBOL:
        text_add(out, "%s", d->name);
        return;
    case DIM_DIV:
        print_binary(out, d, " / ");
        return;
    case DIM_MOD:
        print_binary(out, d, " % ");
        return;
    case DIM_MIN:
    case DIM_MAX:
        text_add(out, d->op == DIM_MIN ? "min(" : "max(");
        dim_print(out, d->a);
        text_add(out, ", ");
        dim_print(out, d->b);
        text_add(out, ")");
        return;
    default:
        if (node_of(d)->opaque)
            print_binary(out, d, "*");
        else
            print_sum(out, d);
    }
}

/* --- parse --- */

struct parser {
    struct dim_table *t;
    const char *at;
    int depth;
    bool plain; /* nodes as the text has them */
    dim result;
};

static dim make(struct parser *p, enum dim_op op, dim a, dim b) {
    if (p->plain) return dim_node(p->t, op, a, b);
    switch (op) {
    case DIM_ADD:
        return dim_add(p->t, a, b);
    case DIM_MUL:
        return dim_mul(p->t, a, b);
    case DIM_DIV:
        return dim_div(p->t, a, b);
    case DIM_MOD:
        return dim_mod(p->t, a, b);
    case DIM_MIN:
        return dim_min(p->t, a, b);
    default:
        return dim_max(p->t, a, b);
    }
}

/* -d; plainly as dim_print's own form has it: the sign belongs to the coefficient. */
static dim negative(struct parser *p, dim d) {
    int64_t value;
    if (!p->plain) return dim_mul(p->t, d, p->t->minus_one);
    if (dim_is_const(d, &value) && value != INT64_MIN) return dim_const(p->t, -value);
    if (d->op == DIM_MUL && dim_is_const(d->b, &value) && value != INT64_MIN)
        return dim_node(p->t, DIM_MUL, d->a, dim_const(p->t, -value));
    return dim_node(p->t, DIM_MUL, d, p->t->minus_one);
}

static enum yj_status parse_sum(struct parser *p, dim *d);

static char peek(struct parser *p) {
    while (*p->at == ' ' || *p->at == '\t')
        p->at++;
    return *p->at;
}

static bool accept(struct parser *p, char c) {
    if (peek(p) != c) return false;
    p->at++;
    return true;
}

static enum yj_status wrong(struct parser *p, const char *wanted) {
    size_t n = strnlen(p->at, 20);
    if (n == 0) return report(YJ_ERR_INPUT, "%s expected at the end of a dim expression", wanted);
    return report(YJ_ERR_INPUT, "%s expected at \"%.*s\" in a dim expression", wanted, (int)n, p->at);
}

static bool in_name(const char *c) {
    return isalnum((unsigned char)*c) || *c == '_' || (*c == '.' && (isalnum((unsigned char)c[1]) || c[1] == '_'));
}

static enum yj_status parse_number(struct parser *p, bool negative, dim *d) {
    int64_t value = 0;
    const char *start = p->at;
    for (; isdigit((unsigned char)*p->at); p->at++) {
        int digit = *p->at - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value))) {
            p->at = start;
            return report(YJ_ERR_INPUT, "the number %.20s... does not fit 64 bits", start);
        }
    }
    *d = dim_const(p->t, value);
    return YJ_OK;
}

static enum yj_status parse_choice(struct parser *p, bool min, dim *d) {
    dim a, b;
    TRY(parse_sum(p, &a));
    if (!accept(p, ',')) return wrong(p, "a comma");
    do { /* min(a, b, c) is read as min(min(a, b), c) */
        TRY(parse_sum(p, &b));
        a = make(p, min ? DIM_MIN : DIM_MAX, a, b);
    } while (accept(p, ','));
    if (!accept(p, ')')) return wrong(p, "a closing bracket");
    *d = a;
    return YJ_OK;
}

static enum yj_status parse_name(struct parser *p, dim *d) {
    const char *start = p->at;
    while (in_name(p->at))
        p->at++;
    size_t n = (size_t)(p->at - start);
    if (n == 3 && (memcmp(start, "min", 3) == 0 || memcmp(start, "max", 3) == 0) && accept(p, '('))
        return parse_choice(p, start[1] == 'i', d);
    char *name = arena_text(p->t->arena, "%.*s", (int)n, start);
    *d = dim_symbol(p->t, name, 0, DIM_UNBOUNDED);
    return YJ_OK;
}

static enum yj_status parse_operand(struct parser *p, dim *d) {
    char c = peek(p);
    if (c == '-') {
        p->at++;
        if (isdigit((unsigned char)peek(p))) return parse_number(p, true, d);
        dim a;
        if (p->depth >= MOST_NESTING)
            return report(YJ_ERR_INPUT, "a dim expression is nested deeper than %d", MOST_NESTING);
        p->depth++;
        TRY(parse_operand(p, &a));
        p->depth--;
        *d = negative(p, a);
        return YJ_OK;
    }
    if (isdigit((unsigned char)c)) return parse_number(p, false, d);
    if (in_name(p->at)) return parse_name(p, d);
    if (c != '(') return wrong(p, "a number, a name or a bracket");
    p->at++;
    TRY(parse_sum(p, d));
    return accept(p, ')') ? YJ_OK : wrong(p, "a closing bracket");
}

static enum yj_status parse_product(struct parser *p, dim *d) {
    dim a, b;
    TRY(parse_operand(p, &a));
    for (char c; (c = peek(p)) == '*' || c == '/' || c == '%';) {
        p->at++;
        TRY(parse_operand(p, &b));
        a = make(p, c == '*' ? DIM_MUL : c == '/' ? DIM_DIV : DIM_MOD, a, b);
    }
    *d = a;
    return YJ_OK;
}

static enum yj_status parse_sum(struct parser *p, dim *d) {
    if (p->depth >= MOST_NESTING)
        return report(YJ_ERR_INPUT, "a dim expression is nested deeper than %d", MOST_NESTING);
    p->depth++;
    dim a, b;
    TRY(parse_product(p, &a));
    for (char c; (c = peek(p)) == '+' || c == '-';) {
        p->at++;
        TRY(parse_product(p, &b));
        a = make(p, DIM_ADD, a, c == '+' ? b : negative(p, b));
    }
    p->depth--;
    *d = a;
    return YJ_OK;
}

static enum yj_status parse_guarded(void *argument) {
    struct parser *p = argument;
    return parse_sum(p, &p->result);
}

static enum yj_status parse(struct dim_table *t, const char **text, bool plain, dim *d) {
    struct parser p = {.t = t, .at = *text, .plain = plain};
    int assumed = t->n_assumed, proving = t->proving, dividing = t->dividing, joining = t->joining;
    enum yj_status status = arena_guard(parse_guarded, &p);
    *text = p.at;
    if (status == YJ_OK) {
        *d = p.result;
        return YJ_OK;
    }
    t->n_assumed = assumed; /* it may have left in the middle of a proof */
    t->proving = proving;
    t->dividing = dividing;
    t->joining = joining;
    return status;
}

enum yj_status dim_parse(struct dim_table *t, const char **text, dim *d) {
    return parse(t, text, false, d);
}

enum yj_status dim_parse_plain(struct dim_table *t, const char **text, dim *d) {
    return parse(t, text, true, d);
}

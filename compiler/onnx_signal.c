/* SPDX-License-Identifier: Apache-2.0
 *
 * Einsum, and the windows of signal processing. An equation of one operand is diagonals, sums and a transposition; each
 * further operand is one dot with what came before.
 */
#include "compiler/onnx.h"
#include <ctype.h>

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

/* Labels of the axes of an operand: letters, and for an ellipsis the digits '0'.. counted from its end. */
struct term {
    char label[MAX + 1];
    int rank;
};

static int find(const struct term *t, char label) {
    for (int i = 0; i < t->rank; i++)
        if (t->label[i] == label) return i;
    return -1;
}

/* One term of the equation at *P for an operand of RANK axes, or for the result (RANK -1; DOTS axes for an ellipsis).
 */
static bool read_term(struct node *n, const char **p, int rank, int dots, struct term *t) {
    int letters = 0;
    for (const char *q = *p; *q && *q != ',' && *q != '-'; q++)
        letters += isalpha((unsigned char)*q) != 0;
    int wide = rank >= 0 ? rank - letters : dots;
    bool ellipsis = false;
    *t = (struct term){0};
    for (; **p && **p != ',' && **p != '-'; ++*p) {
        if (**p == ' ') continue;
        if (!strncmp(*p, "...", 3) && !ellipsis) {
            if (wide < 0 || t->rank + wide > MAX) return node_refuse(n, "the equation does not fit the operands");
            for (int i = 0; i < wide; i++)
                t->label[t->rank++] = (char)('0' + wide - 1 - i);
            *p += 2;
            ellipsis = true;
        } else if (isalpha((unsigned char)**p) && t->rank < MAX) {
            t->label[t->rank++] = **p;
        } else {
            return node_refuse(n, "the equation is not understood at '%.20s'", *p);
        }
    }
    return (rank < 0 || t->rank == rank) || node_refuse(n, "the equation does not fit an operand of rank %d", rank);
}

/* Axes with one label twice become their diagonal: both are compared with each other, and what differs is zero in a
 * sum. */
static struct value *diagonal(struct node *n, struct value *x, struct term *t) {
    for (int i = 0; i < t->rank && x; i++)
        for (int k = i + 1; k < t->rank && x; k++) {
            if (t->label[i] != t->label[k]) continue;
            struct type type = x->type;
            int64_t axes[1] = {k};
            struct value *same = build_2(B, OP_eq, node_iota(n, YJ_I64, type.rank, type.shape, i),
                                         node_iota(n, YJ_I64, type.rank, type.shape, k));
            x = build_reduce(B, build_3(B, OP_select, same, x, node_like(n, 0, x)), SCALAR_add, 1, axes);
            memmove(t->label + k, t->label + k + 1, (size_t)(t->rank - k));
            t->rank--;
            k--;
        }
    return x;
}

/* Sums the axes of x whose label is in none of the terms A and C. */
static struct value *sum_rest(struct node *n, struct value *x, struct term *t, const struct term *a,
                              const struct term *c) {
    int64_t axes[MAX];
    int count = 0, kept = 0;
    for (int i = 0; i < t->rank; i++) {
        if (find(c, t->label[i]) < 0 && (!a || find(a, t->label[i]) < 0))
            axes[count++] = i;
        else
            t->label[kept++] = t->label[i];
    }
    t->rank = kept;
    t->label[kept] = 0;
    return count && x ? build_reduce(B, x, SCALAR_add, count, axes) : x;
}

/* x and y by one dot: labels of both that are wanted later are batch axes, the other labels of both are summed. */
static struct value *join(struct node *n, struct value *x, struct term *tx, struct value *y, struct term *ty,
                          const struct term *later) {
    int64_t bx[MAX], by[MAX], cx[MAX], cy[MAX];
    int batch = 0, sum = 0;
    struct term out = {0};
    for (int i = 0; i < tx->rank; i++) {
        int k = find(ty, tx->label[i]);
        if (k < 0) continue;
        if (find(later, tx->label[i]) >= 0)
            bx[batch] = i, by[batch++] = k, out.label[out.rank++] = tx->label[i];
        else
            cx[sum] = i, cy[sum++] = k;
    }
    for (int side = 0; side < 2; side++) {
        const struct term *t = side ? ty : tx, *other = side ? tx : ty;
        for (int i = 0; i < t->rank; i++) {
            if (find(other, t->label[i]) >= 0) continue;
            if (out.rank == MAX) {
                node_refuse(n, "a product of more than %d axes", MAX);
                return NULL;
            }
            out.label[out.rank++] = t->label[i];
        }
    }
    *tx = out;
    return build_dot(B, x, y, batch, bx, by, sum, cx, cy);
}

static bool read_equation(struct node *n, const char *text, struct term *terms, struct term *out) {
    const char *p = text;
    int dots = 0, seen[128] = {0};
    for (int i = 0; i < n->n_in; i++) {
        struct value *v = node_in(n, i);
        if (!v) return false;
        if (i && *p++ != ',') return node_refuse(n, "the equation has fewer terms than operands");
        if (!read_term(n, &p, v->type.rank, 0, &terms[i])) return false;
        for (int k = 0; k < terms[i].rank; k++) {
            char c = terms[i].label[k];
            if (isdigit((unsigned char)c) && c - '0' >= dots) dots = c - '0' + 1;
            seen[(unsigned char)c & 127]++;
        }
    }
    if (*p == 0) { /* no result is said: the ellipsis, then the labels that occur once, in alphabetical order */
        for (int i = 0; i < dots; i++)
            out->label[out->rank++] = (char)('0' + dots - 1 - i);
        for (int c = 'A'; c <= 'z'; c++)
            if (isalpha(c) && seen[c] == 1 && out->rank < MAX) out->label[out->rank++] = (char)c;
        return true;
    }
    if (p[0] != '-' || p[1] != '>') return node_refuse(n, "the equation is not understood at '%.20s'", p);
    p += 2;
    if (!read_term(n, &p, -1, dots, out) || *p)
        return n->refused ? false : node_refuse(n, "the equation has two results");
    for (int i = 0; i < out->rank; i++)
        if (!seen[(unsigned char)out->label[i] & 127] || find(out, out->label[i]) != i)
            return node_refuse(n, "label %c of the result", out->label[i]);
    return true;
}

bool onnx_einsum(struct node *n) {
    struct term terms[16], out = {0};
    int64_t order[MAX];
    char *text = arena_text(import_arena(n->import), "%s", node_text(n, "equation", ""));
    size_t length = 0;
    for (const char *q = text; *q; q++)
        if (*q != ' ') text[length++] = *q;
    text[length] = 0;
    if (n->n_in < 1 || n->n_in > 16) return node_refuse(n, "%d operands", n->n_in);
    if (!read_equation(n, text, terms, &out)) return false;
    struct value *x = NULL;
    for (int i = 0; i < n->n_in; i++) {
        struct term later = out; /* what the terms behind this one or the result still need */
        for (int k = i + 1; k < n->n_in; k++)
            for (int a = 0; a < terms[k].rank; a++)
                if (find(&later, terms[k].label[a]) < 0 && later.rank < MAX)
                    later.label[later.rank++] = terms[k].label[a];
        struct value *v = diagonal(n, node_in(n, i), &terms[i]);
        v = sum_rest(n, v, &terms[i], i ? &terms[0] : NULL, &later);
        if (i)
            x = join(n, x, &terms[0], v, &terms[i], &later);
        else
            x = v;
        if (!x) return n->refused ? false : node_out(n, 0, NULL);
    }
    x = sum_rest(n, x, &terms[0], NULL, &out);
    if (terms[0].rank != out.rank) return node_refuse(n, "the equation does not fit the operands");
    for (int i = 0; i < out.rank; i++)
        order[i] = find(&terms[0], out.label[i]);
    return node_out(n, 0, x ? build_transpose(B, x, order) : NULL);
}

/* a0 - a1 cos(2 pi i / N) + a2 cos(4 pi i / N), N less by one unless periodic */
bool onnx_window(struct node *n) {
    static const struct {
        const char *type;
        double a[3];
    } kinds[] = {{"HannWindow", {0.5, 0.5, 0}},
                 {"HammingWindow", {25.0 / 46, 21.0 / 46, 0}},
                 {"BlackmanWindow", {0.42, 0.5, 0.08}}};
    int count, rank, to = (int)node_int(n, "output_datatype", 1);
    const dim *known;
    const double *a = NULL;
    dim size, shape[MAX];
    enum yj_dtype dtype;
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (!strcmp(kinds[i].type, n->proto->op_type)) a = kinds[i].a;
    if (!a || !dtype_from_onnx(to, &dtype)) return node_refuse(n, "element type %d", to);
    if (!node_has(n, 0)) return node_refuse(n, "the size is missing");
    if (node_known(n, 0, &count, &known) && count == 1) {
        size = known[0];
    } else if (node_declared(n, 0, &rank, shape) && rank == 1) {
        size = shape[0];
        if (!node_must_be(n, node_in(n, 0), 1, &size)) return false;
    } else {
        if (!node_dims(n, 0, 0, INT64_C(1) << 32, &count, &known) || count != 1)
            return node_refuse(n, "the size must be one number");
        size = known[0];
    }
    if (size->high < 0) return node_refuse(n, "a negative size");
    bool periodic = node_int(n, "periodic", 1);
    dim span = periodic ? size : dim_sub(n->dims, size, node_c(n, 1));
    struct value *i = node_iota(n, YJ_F32, 1, &size, 0);
    struct value *turn = build_2(
        B, OP_div, build_2(B, OP_mul, i, node_like(n, 6.283185307179586, i)),
        i ? build_broadcast_to(B, node_size(n, dim_max(n->dims, span, node_c(n, 1)), YJ_F32), 1, i->type.shape) : NULL);
    struct value *y = build_2(B, OP_sub, node_like(n, a[0], turn),
                              build_2(B, OP_mul, build_1(B, OP_cos, turn), node_like(n, a[1], turn)));
    if (a[2] != 0) {
        struct value *twice = build_1(B, OP_cos, build_2(B, OP_mul, turn, node_like(n, 2, turn)));
        y = build_2(B, OP_add, y, build_2(B, OP_mul, twice, node_like(n, a[2], turn)));
    }
    return node_out(n, 0, build_cast(B, y, dtype));
}

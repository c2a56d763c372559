/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer tensors of rank 0 or 1 whose elements are dim expressions: what exporters compute with Shape, Gather, Concat
 * and arithmetic to say a shape. They are computed here, at import, and never become data unless something asks for it.
 */
#include "compiler/onnx.h"

#define MAX_KNOWN 256

struct known {
    int rank, n;
    const dim *dims;
    enum yj_dtype dtype;
};

static bool operand(struct node *n, int i, struct known *k) {
    if (!node_has(n, i) || !n->in[i]->known) return false;
    *k = (struct known){n->in[i]->known_rank, n->in[i]->n_known, n->in[i]->known, n->in[i]->known_dtype};
    return true;
}

static bool constant_at(const struct known *k, int i, int64_t *value) {
    return i < k->n && dim_is_const(k->dims[i], value);
}

static bool give(struct node *n, int rank, int count, const dim *dims, enum yj_dtype dtype) {
    return node_out_known(n, 0, rank, count, dims, dtype);
}

static bool known_shape(struct node *n) {
    if (!node_has(n, 0)) return false;
    struct item *item = n->in[0];
    if (item->known && !item->value) {
        dim count = node_c(n, item->n_known);
        return give(n, 1, item->known_rank, &count, YJ_I64);
    }
    struct value *v = node_in(n, 0);
    if (!v) return false;
    int64_t rank = v->type.rank, start = node_int(n, "start", 0), end = node_int(n, "end", rank);
    start = max64(0, min64(rank, start < 0 ? start + rank : start));
    end = max64(start, min64(rank, end < 0 ? end + rank : end));
    return give(n, 1, (int)(end - start), v->type.shape + start, YJ_I64);
}

static bool known_size(struct node *n) {
    struct value *v = node_in(n, 0);
    if (!v) return false;
    dim d = type_elements(n->dims, &v->type);
    return give(n, 0, 1, &d, YJ_I64);
}

static bool known_gather(struct node *n) {
    struct known x, i;
    dim out[MAX_KNOWN];
    if (!operand(n, 0, &x) || !operand(n, 1, &i) || x.rank != 1 || i.n > MAX_KNOWN) return false;
    for (int k = 0; k < i.n; k++) {
        int64_t at;
        if (!constant_at(&i, k, &at) || at < -x.n || at >= x.n) return false;
        out[k] = x.dims[at < 0 ? at + x.n : at];
    }
    return give(n, i.rank, i.n, out, x.dtype);
}

static bool known_concat(struct node *n) {
    struct known x;
    dim out[MAX_KNOWN];
    int count = 0;
    for (int i = 0; i < n->n_in; i++) {
        if (!operand(n, i, &x) || x.rank != 1 || count + x.n > MAX_KNOWN) return false;
        memcpy(out + count, x.dims, sizeof(dim) * (size_t)x.n);
        count += x.n;
    }
    return n->n_in > 0 && give(n, 1, count, out, x.dtype);
}

static bool known_slice(struct node *n) {
    struct known x, from, to, axes, steps;
    dim out[MAX_KNOWN];
    int64_t start, end, step = 1, axis = 0;
    if (!operand(n, 0, &x) || x.rank != 1) return false;
    if (n->version < 10) {
        int count;
        const int64_t *starts = node_list(n, "starts", &count), *ends = node_list(n, "ends", &count);
        if (!starts || !ends || count != 1) return false;
        start = starts[0];
        end = ends[0];
    } else {
        if (!operand(n, 1, &from) || !operand(n, 2, &to) || from.n != 1 || to.n != 1) return false;
        if (!constant_at(&from, 0, &start) || !constant_at(&to, 0, &end)) return false;
        if (node_has(n, 3) && (!operand(n, 3, &axes) || !constant_at(&axes, 0, &axis))) return false;
        if (node_has(n, 4) && (!operand(n, 4, &steps) || !constant_at(&steps, 0, &step))) return false;
    }
    if ((axis != 0 && axis != -1) || step == 0) return false;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? x.n : x.n - 1;
    start = max64(step > 0 ? 0 : -1, min64(high, start < 0 ? start + x.n : start));
    end = max64(low, min64(x.n, end < 0 && end >= -x.n ? end + x.n : end));
    int count = 0;
    for (int64_t i = start; (step > 0 ? i < end : i > end) && count < MAX_KNOWN; i += step)
        out[count++] = x.dims[i];
    return give(n, 1, count, out, x.dtype);
}

static bool known_reshaping(struct node *n) { /* Squeeze, Unsqueeze, Reshape between rank 0 and rank 1 */
    struct known x;
    int rank;
    const char *type = n->proto->op_type;
    if (!operand(n, 0, &x)) return false;
    if (!strcmp(type, "Squeeze"))
        rank = x.n == 1 ? 0 : -1;
    else if (!strcmp(type, "Unsqueeze"))
        rank = x.rank == 0 ? 1 : -1;
    else {
        struct known shape;
        int64_t size;
        if (!operand(n, 1, &shape) || shape.n > 1) return false;
        rank = shape.n;
        if (rank == 1 && (!constant_at(&shape, 0, &size) || (size != -1 && size != x.n))) return false;
    }
    return rank >= 0 && give(n, rank, x.n, x.dims, x.dtype);
}

/* Is each element 0, or other than 0? Given as 0 or 1. */
static bool known_truth(struct node *n, const struct known *x, bool not ) {
    dim out[MAX_KNOWN];
    for (int i = 0; i < x->n; i++) {
        int64_t value;
        bool fixed = dim_is_const(x->dims[i], &value), other = x->dims[i]->low > 0 || x->dims[i]->high < 0;
        if ((!fixed && !other) || i == MAX_KNOWN) return false;
        out[i] = node_c(n, (other || value != 0) != not );
    }
    return give(n, x->rank, x->n, out, YJ_BOOL);
}

static bool known_not(struct node *n) {
    struct known x;
    return operand(n, 0, &x) && known_truth(n, &x, true);
}

static bool known_cast(struct node *n) {
    struct known x;
    enum yj_dtype to;
    if (!operand(n, 0, &x)) return false;
    if (!strcmp(n->proto->op_type, "Identity")) return give(n, x.rank, x.n, x.dims, x.dtype);
    if (!dtype_from_onnx((int)node_int(n, "to", 0), &to)) return false;
    if (to == YJ_BOOL) return known_truth(n, &x, false);
    return (to == YJ_I64 || to == YJ_I32) && give(n, x.rank, x.n, x.dims, to);
}

static bool combine(struct node *n, const char *type, dim a, dim b, dim *out) {
    struct dim_table *t = n->dims;
    if (!strcmp(type, "Add"))
        *out = dim_add(t, a, b);
    else if (!strcmp(type, "Sub"))
        *out = dim_sub(t, a, b);
    else if (!strcmp(type, "Mul"))
        *out = dim_mul(t, a, b);
    else if (!strcmp(type, "Min"))
        *out = dim_min(t, a, b);
    else if (!strcmp(type, "Max"))
        *out = dim_max(t, a, b);
    else if (a->low < 0 || b->low <= 0)
        return false; /* truncating and flooring division differ below 0 */
    else if (!strcmp(type, "Div"))
        *out = dim_div(t, a, b);
    else if (!strcmp(type, "Mod"))
        *out = dim_mod(t, a, b);
    else
        return false;
    return true;
}

static bool known_binary(struct node *n) {
    struct known a, b;
    dim out[MAX_KNOWN];
    if (n->n_in != 2 || !operand(n, 0, &a) || !operand(n, 1, &b)) return false;
    if (a.n != b.n && a.n != 1 && b.n != 1) return false;
    int count = a.n > b.n ? a.n : b.n;
    if (a.n == 0 || b.n == 0) count = 0;
    if (count > MAX_KNOWN) return false;
    for (int i = 0; i < count; i++)
        if (!combine(n, n->proto->op_type, a.dims[a.n == 1 ? 0 : i], b.dims[b.n == 1 ? 0 : i], &out[i])) return false;
    return give(n, a.rank > b.rank ? a.rank : b.rank, count, out, a.dtype);
}

static bool known_range(struct node *n) {
    struct known from, to, step;
    dim out[MAX_KNOWN];
    int64_t a, b, s;
    if (!operand(n, 0, &from) || !operand(n, 1, &to) || !operand(n, 2, &step)) return false;
    if (!constant_at(&from, 0, &a) || !constant_at(&to, 0, &b) || !constant_at(&step, 0, &s) || s == 0) return false;
    int count = 0;
    for (int64_t i = a; s > 0 ? i < b : i > b; i += s) {
        if (count == MAX_KNOWN) return false;
        out[count++] = node_c(n, i);
    }
    return give(n, 1, count, out, from.dtype);
}

static bool known_product(struct node *n) {
    struct known x;
    if (!operand(n, 0, &x) || x.n == 0) return false;
    dim p = x.dims[0];
    for (int i = 1; i < x.n; i++)
        p = dim_mul(n->dims, p, x.dims[i]);
    return give(n, node_int(n, "keepdims", 1) ? x.rank : 0, 1, &p, x.dtype);
}

static bool known_filled(struct node *n) { /* ConstantOfShape of a short integer vector */
    struct known shape;
    int64_t count, value = 0;
    dim out[MAX_KNOWN];
    const Onnx__AttributeProto *a = node_attribute(n, "value");
    struct type type = {.dtype = YJ_F32};
    struct data data;
    if (!operand(n, 0, &shape) || shape.n != 1 || !constant_at(&shape, 0, &count) || count > MAX_KNOWN || count < 0)
        return false;
    if (!a || !a->t || onnx_tensor(n->import, a->t, &type, &data) != YJ_OK || type.dtype != YJ_I64 || data.n_bytes != 8)
        return false;
    memcpy(&value, data.bytes, 8);
    for (int64_t i = 0; i < count; i++)
        out[i] = node_c(n, value);
    return give(n, 1, (int)count, out, YJ_I64);
}

/* Where(Equal(a, b), x, y) over shapes, as exporters of Expand write it: Equal is kept as 0 or 1. */
static bool known_equal(struct node *n) {
    struct known a, b;
    dim out[MAX_KNOWN];
    if (!operand(n, 0, &a) || !operand(n, 1, &b) || a.n > MAX_KNOWN || (a.n != b.n && b.n != 1)) return false;
    for (int i = 0; i < a.n; i++) {
        enum dim_known same = dim_equal(n->dims, a.dims[i], b.dims[b.n == 1 ? 0 : i]);
        if (same == DIM_UNKNOWN) return false;
        out[i] = node_c(n, same == DIM_YES);
    }
    return give(n, a.rank, a.n, out, YJ_BOOL);
}

/* Less, Greater, LessOrEqual, GreaterOrEqual, where the bounds tell. */
static bool known_order(struct node *n) {
    struct known a, b;
    dim out[MAX_KNOWN];
    const char *type = n->proto->op_type;
    bool swap = type[0] == 'G', or_equal = strstr(type, "OrEqual") != NULL;
    if (!operand(n, swap ? 1 : 0, &a) || !operand(n, swap ? 0 : 1, &b)) return false;
    if (a.n > MAX_KNOWN || b.n > MAX_KNOWN || (a.n != b.n && a.n != 1 && b.n != 1)) return false;
    int count = a.n > b.n ? a.n : b.n;
    for (int i = 0; i < count; i++) {
        dim x = a.dims[a.n == 1 ? 0 : i], y = b.dims[b.n == 1 ? 0 : i];
        enum dim_known less = or_equal ? dim_less(n->dims, y, x) : dim_less(n->dims, x, y);
        if (less == DIM_UNKNOWN) return false;
        out[i] = node_c(n, (less == DIM_YES) != or_equal);
    }
    return give(n, a.rank > b.rank ? a.rank : b.rank, count, out, YJ_BOOL);
}

static bool known_logic(struct node *n) {
    struct known a, b;
    int64_t x, y;
    if (!operand(n, 0, &a) || !operand(n, 1, &b) || a.n != 1 || b.n != 1) return false;
    if (!constant_at(&a, 0, &x) || !constant_at(&b, 0, &y)) return false;
    dim out = node_c(n, n->proto->op_type[0] == 'A' ? x && y : x || y);
    return give(n, a.rank > b.rank ? a.rank : b.rank, 1, &out, YJ_BOOL);
}

static bool known_where(struct node *n) {
    struct known c, x, y;
    dim out[MAX_KNOWN];
    if (!operand(n, 0, &c) || !operand(n, 1, &x) || !operand(n, 2, &y) || c.n > MAX_KNOWN) return false;
    if ((x.n != c.n && x.n != 1) || (y.n != c.n && y.n != 1)) return false;
    for (int i = 0; i < c.n; i++) {
        int64_t choose;
        if (!constant_at(&c, i, &choose)) return false;
        out[i] = choose ? x.dims[x.n == 1 ? 0 : i] : y.dims[y.n == 1 ? 0 : i];
    }
    return give(n, c.rank, c.n, out, x.dtype);
}

static const struct {
    const char *type;
    bool (*fn)(struct node *n);
} known_rows[] = {
    {"Shape", known_shape},
    {"Size", known_size},
    {"Gather", known_gather},
    {"Concat", known_concat},
    {"Slice", known_slice},
    {"Squeeze", known_reshaping},
    {"Unsqueeze", known_reshaping},
    {"Reshape", known_reshaping},
    {"Cast", known_cast},
    {"Identity", known_cast},
    {"Add", known_binary},
    {"Sub", known_binary},
    {"Mul", known_binary},
    {"Div", known_binary},
    {"Mod", known_binary},
    {"Min", known_binary},
    {"Max", known_binary},
    {"Range", known_range},
    {"ReduceProd", known_product},
    {"ConstantOfShape", known_filled},
    {"Equal", known_equal},
    {"Where", known_where},
    {"Not", known_not},
    {"Less", known_order},
    {"Greater", known_order},
    {"LessOrEqual", known_order},
    {"GreaterOrEqual", known_order},
    {"And", known_logic},
    {"Or", known_logic},
};

bool onnx_known(struct node *n) {
    const char *domain = n->proto->domain;
    if (domain && domain[0] && strcmp(domain, "ai.onnx")) return false;
    for (size_t i = 0; i < COUNT(known_rows); i++)
        if (!strcmp(known_rows[i].type, n->proto->op_type)) return known_rows[i].fn(n);
    return false;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators that make, move or rearrange elements and compute nothing.
 */
#include "compiler/onnx.h"

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

bool onnx_constant_result(struct node *n, int i, const struct type *type, const struct data *data);

bool onnx_only_known(struct node *n) {
    return n->refused ? false : node_refuse(n, "the operand has no shape");
}

bool onnx_constant(struct node *n) {
    const Onnx__AttributeProto *a = n->proto->n_attribute ? n->proto->attribute[0] : NULL;
    struct type type = {.dtype = YJ_F32};
    struct data data = {"", 0, NULL, -1};
    if (!a || !a->name) return node_refuse(n, "it has no value");
    if (!strcmp(a->name, "value") && a->t) {
        if (onnx_tensor(n->import, a->t, &type, &data) != YJ_OK) return false;
    } else if (!strcmp(a->name, "value_float")) {
        data.bytes = &a->f;
        data.n_bytes = 4;
    } else if (!strcmp(a->name, "value_int")) {
        type.dtype = YJ_I64;
        data.bytes = &a->i;
        data.n_bytes = 8;
    } else if (!strcmp(a->name, "value_floats") || !strcmp(a->name, "value_ints")) {
        bool ints = !strcmp(a->name, "value_ints");
        size_t count = ints ? a->n_ints : a->n_floats;
        type = (struct type){ints ? YJ_I64 : YJ_F32, 1, {node_c(n, (int64_t)count)}};
        data.bytes = count == 0 ? "" : ints ? (const void *)a->ints : (const void *)a->floats;
        data.n_bytes = count * (ints ? 8 : 4);
    } else {
        return node_refuse(n, "attribute %s is not supported", a->name);
    }
    return onnx_constant_result(n, 0, &type, &data);
}

/* A shape operand: known, or as the result is declared (WHOLE: it is the shape of the result), or bound at run time. */
static bool shape_operand(struct node *n, int i, bool whole, int *rank, dim *shape) {
    int count;
    const dim *dims;
    if (whole && node_has(n, i) && !node_known(n, i, &count, &dims) && node_declared(n, 0, rank, shape))
        return node_must_be(n, node_in(n, i), *rank, shape);
    if (!node_dims(n, i, 0, INT64_C(1) << 32, &count, &dims)) return false;
    if (count > MAX) return node_refuse(n, "a shape of rank %d is too long", count);
    for (int d = 0; d < count; d++) {
        if (dims[d]->high < 0) return node_refuse(n, "a negative size");
        shape[d] = dims[d];
    }
    *rank = count;
    return true;
}

bool onnx_constant_of_shape(struct node *n) {
    int rank;
    dim shape[MAX], none[1];
    const Onnx__AttributeProto *a = node_attribute(n, "value");
    struct type type = {.dtype = YJ_F32};
    float zero = 0;
    struct data data = {&zero, 4, NULL, -1};
    if (!shape_operand(n, 0, true, &rank, shape)) return false;
    if (a && a->t && onnx_tensor(n->import, a->t, &type, &data) != YJ_OK) return false;
    void *copy = arena_new(import_arena(n->import), 16);
    if (data.n_bytes != yj_dtype_bytes(type.dtype)) return node_refuse(n, "value must have one element");
    memcpy(copy, data.bytes, data.n_bytes);
    struct value *v = build_constant(B, type.dtype, 0, none, copy, data.n_bytes);
    return node_out(n, 0, build_broadcast_to(B, v, rank, shape));
}

/* What a shape operand says at run time, the model may declare already; the number of elements must agree. */
static bool declared_reshape(struct node *n, struct value *x) {
    int count, rank;
    const dim *known;
    dim shape[MAX];
    if (!node_has(n, 1) || node_known(n, 1, &count, &known) || !node_declared(n, 0, &rank, shape)) return false;
    struct type t = {x->type.dtype, rank, {0}};
    memcpy(t.shape, shape, sizeof shape);
    if (dim_equal(n->dims, type_elements(n->dims, &t), type_elements(n->dims, &x->type)) == DIM_NO) return false;
    return node_out(n, 0, build_reshape(B, x, rank, shape));
}

/* Sizes given at run time, where 0 keeps one and -1 is what is left, are computed as data and bound to new dims. */
static bool bound_reshape(struct node *n, struct value *x) {
    struct value *want = build_cast(B, node_in(n, 1), YJ_I64);
    int64_t count, all[1] = {0};
    struct op *op;
    dim kept[MAX], symbols[MAX], total = type_elements(n->dims, &x->type);
    if (!want) return node_out(n, 0, NULL);
    if (want->type.rank != 1 || !dim_is_const(want->type.shape[0], &count) || count < 1 || count > MAX)
        return node_refuse(n, "operand 1, a shape known only at run time, must be a vector of known length");
    for (int i = 0; i < count; i++) {
        kept[i] = i < x->type.rank ? x->type.shape[i] : node_c(n, 0);
        symbols[i] = graph_dim(n->g, arena_text(import_arena(n->import), "b%d_1_%d", n->number, i), 0, total->high);
    }
    if (!node_int(n, "allowzero", 0))
        want = build_3(B, OP_select, build_2(B, OP_eq, want, node_like(n, 0, want)), node_sizes(n, (int)count, kept),
                       want);
    struct value *left = build_2(B, OP_eq, want, node_like(n, -1, want));
    struct value *product =
        build_reduce(B, build_3(B, OP_select, left, node_like(n, 1, want), want), SCALAR_mul, 1, all);
    product = build_2(B, OP_max, product, node_like(n, 1, product));
    struct value *rest = build_2(B, OP_div, node_size(n, total, YJ_I64), product);
    want = build_3(B, OP_select, left, rest ? build_broadcast_to(B, rest, 1, want->type.shape) : NULL, want);
    if (build(B, OP_bind, 1, &want, attr_dims(n->g, "symbols", (int)count, symbols, NULL), &op) != YJ_OK)
        return node_out(n, 0, NULL);
    return node_out(n, 0, build_reshape(B, x, (int)count, symbols));
}

bool onnx_reshape(struct node *n) {
    struct value *x = node_in(n, 0);
    int count, left = -1;
    const dim *want;
    dim shape[MAX], product = node_c(n, 1);
    if (!x) return false;
    if (declared_reshape(n, x)) return true;
    if (!node_has(n, 1)) {
        int k;
        const int64_t *list = node_list(n, "shape", &k);
        dim *given = NEW_ARRAY(import_arena(n->import), dim, k + 1);
        for (int i = 0; i < k; i++)
            given[i] = node_c(n, list[i]);
        want = given;
        count = k;
    } else if (!node_known(n, 1, &count, &want)) {
        return bound_reshape(n, x);
    }
    if (count > MAX) return node_refuse(n, "a shape of rank %d is too long", count);
    bool allow_zero = node_int(n, "allowzero", 0);
    dim total = type_elements(n->dims, &x->type);
    for (int i = 0; i < count; i++) {
        if (dim_is(want[i], -1)) {
            if (left >= 0) return node_refuse(n, "two sizes are -1");
            left = i;
            shape[i] = node_c(n, 1);
        } else if (dim_is(want[i], 0) && !allow_zero) {
            if (i >= x->type.rank) return node_refuse(n, "size %d is 0, and the operand has rank %d", i, x->type.rank);
            shape[i] = x->type.shape[i];
        } else if (want[i]->high < 0) {
            return node_refuse(n, "size %d is negative", i);
        } else {
            shape[i] = want[i];
        }
        product = dim_mul(n->dims, product, shape[i]);
    }
    if (left >= 0 && dim_is(product, 0)) return node_refuse(n, "-1 beside a size of 0");
    if (left >= 0) { /* a division that does not simplify must not fail on an empty tensor */
        shape[left] = dim_div(n->dims, total, product);
        if (shape[left]->op == DIM_DIV) shape[left] = dim_div(n->dims, total, dim_max(n->dims, product, node_c(n, 1)));
    }
    return node_out(n, 0, build_reshape(B, x, count, shape));
}

bool onnx_flatten(struct node *n) {
    struct value *x = node_in(n, 0);
    if (!x) return false;
    int64_t axis = node_int(n, "axis", 1);
    if (axis < 0) axis += x->type.rank;
    if (axis < 0 || axis > x->type.rank)
        return node_refuse(n, "axis %lld is outside rank %d", (long long)axis, x->type.rank);
    dim shape[2] = {node_c(n, 1), node_c(n, 1)};
    for (int i = 0; i < x->type.rank; i++)
        shape[i >= axis] = dim_mul(n->dims, shape[i >= axis], x->type.shape[i]);
    return node_out(n, 0, build_reshape(B, x, 2, shape));
}

bool onnx_squeeze(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t axes[MAX];
    int count;
    if (!x) return false;
    if (declared_reshape(n, x)) return true;
    if (!node_axes(n, 1, x->type.rank, &count, axes)) return false;
    if (count == 0 && !node_has(n, 1) && !node_attribute(n, "axes"))
        for (int i = 0; i < x->type.rank; i++)
            if (dim_is(x->type.shape[i], 1)) axes[count++] = i;
    for (int i = 0; i < count; i++)
        if (x->type.shape[axes[i]]->low > 1 || x->type.shape[axes[i]]->high < 1)
            return node_refuse(n, "axis %lld is not of size 1", (long long)axes[i]);
    return node_out(n, 0, node_squeeze(n, x, count, axes));
}

bool onnx_unsqueeze(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t axes[MAX];
    int count;
    const int64_t *list = node_list(n, "axes", &count);
    if (!x) return false;
    if (!list && declared_reshape(n, x)) return true;
    if (!list && !node_ints(n, 1, &count, &list)) return false;
    if (x->type.rank + count > MAX)
        return node_refuse(n, "the result has rank %d; at most %d", x->type.rank + count, MAX);
    for (int i = 0; i < count; i++) {
        int axis;
        if (!node_axis(n, list[i], x->type.rank + count, &axis)) return false;
        axes[i] = axis;
        for (int j = 0; j < i; j++)
            if (axes[j] == axis) return node_refuse(n, "axis %d twice", axis);
    }
    return node_out(n, 0, node_unsqueeze(n, x, count, axes));
}

bool onnx_transpose(struct node *n) {
    struct value *x = node_in(n, 0);
    int count;
    int64_t reverse[MAX];
    const int64_t *p = node_list(n, "perm", &count);
    if (!x) return false;
    for (int i = 0; i < x->type.rank; i++)
        reverse[i] = x->type.rank - 1 - i;
    if (p && count != x->type.rank) return node_refuse(n, "perm has %d axes, the operand %d", count, x->type.rank);
    return node_out(n, 0, build_transpose(B, x, p ? p : reverse));
}

bool onnx_expand(struct node *n) {
    struct value *x = node_in(n, 0);
    struct type want = {.dtype = YJ_F32};
    int rank;
    dim shape[MAX];
    if (!x || !shape_operand(n, 1, false, &want.rank, want.shape)) return false;
    for (int i = 0; i < want.rank; i++) { /* a size bound at run time counts as given where the operand has 1 */
        int from = i - (want.rank - x->type.rank);
        if (from >= 0 && !dim_is(x->type.shape[from], 1) && want.shape[i]->op == DIM_SYMBOL &&
            want.shape[i]->name[0] == 'b')
            want.shape[i] = x->type.shape[from];
    }
    if (!node_broadcast_shape(n, &x->type, &want, &rank, shape)) return false;
    return node_out(n, 0, build_broadcast_to(B, x, rank, shape));
}

/* [a, b] repeated [p, q] times: [1, a, 1, b] spread to [p, a, q, b], seen as [p*a, q*b] */
bool onnx_tile(struct node *n) {
    struct value *x = node_in(n, 0);
    int rank;
    dim repeat[MAX];
    if (!x || !shape_operand(n, 1, false, &rank, repeat)) return false;
    if (rank != x->type.rank) return node_refuse(n, "repeats has %d elements, the operand rank %d", rank, x->type.rank);
    for (int i = rank - 1; i >= 0; i--) {
        if (dim_is(repeat[i], 1)) continue;
        struct type t = x->type;
        int64_t axes[MAX];
        dim wide[MAX + 1];
        if (rank + 1 > MAX) return node_refuse(n, "rank %d is too large", rank);
        for (int d = 0; d < rank; d++)
            axes[d] = d + (d >= i);
        for (int d = 0; d <= rank; d++)
            wide[d] = d < i ? t.shape[d] : d == i ? repeat[i] : t.shape[d - 1];
        x = build_broadcast(B, x, rank + 1, wide, axes);
        t.shape[i] = dim_mul(n->dims, t.shape[i], repeat[i]);
        x = build_reshape(B, x, rank, t.shape);
        if (!x) return node_out(n, 0, NULL);
    }
    return node_out(n, 0, x);
}

/* Clamps a start or end that may count from the end, and may depend on a shape. */
static dim clamp_index(struct node *n, dim v, dim size, int64_t low, dim high) {
    int64_t value;
    if (dim_is_const(v, &value) && value == INT64_MAX) return high; /* how models write "to the end" */
    struct dim_table *t = n->dims;
    if (v->high < 0) v = dim_add(t, v, size);
    return dim_min(t, dim_max(t, v, node_c(n, low)), high);
}

static bool slice_lists(struct node *n, int rank, int *count, const dim **start, const dim **end, int64_t *axis,
                        int64_t *step) {
    int ns, ne, na = 0, nt = 0;
    const int64_t *axes = NULL, *steps = NULL;
    if (n->version < 10) {
        int k;
        for (int side = 0; side < 2; side++) {
            const int64_t *list = node_list(n, side ? "ends" : "starts", &k);
            dim *out = NEW_ARRAY(import_arena(n->import), dim, k + 1);
            for (int i = 0; i < k; i++)
                out[i] = node_c(n, list[i]);
            *(side ? end : start) = out;
            *(side ? &ne : &ns) = k;
        }
        axes = node_list(n, "axes", &na);
    } else {
        int64_t far = INT64_C(1) << 62;
        if (!node_dims(n, 1, -far, far, &ns, start) || !node_dims(n, 2, -far, far, &ne, end)) return false;
        if (node_has(n, 3) && !node_ints(n, 3, &na, &axes)) return false;
        if (node_has(n, 4) && !node_ints(n, 4, &nt, &steps)) return false;
    }
    if (ns != ne || (axes && na != ns) || (steps && nt != ns) || ns > rank)
        return node_refuse(n, "starts, ends, axes and steps differ in length");
    for (int i = 0; i < ns; i++) {
        int a;
        if (!node_axis(n, axes ? axes[i] : i, rank, &a)) return false;
        axis[i] = a;
        step[i] = steps ? steps[i] : 1;
        if (step[i] == 0 || step[i] < -INT64_MAX) return node_refuse(n, "a step of %lld", (long long)step[i]);
    }
    *count = ns;
    return true;
}

bool onnx_slice(struct node *n) {
    struct value *x = node_in(n, 0);
    const dim *from, *to;
    int64_t axis[MAX], step[MAX], stride[MAX], reversed[MAX];
    dim start[MAX], limit[MAX];
    int count = 0, n_reversed = 0;
    if (!x || !slice_lists(n, x->type.rank, &count, &from, &to, axis, step)) return false;
    struct dim_table *t = n->dims;
    for (int i = 0; i < x->type.rank; i++)
        start[i] = node_c(n, 0), limit[i] = x->type.shape[i], stride[i] = 1;
    for (int i = 0; i < count; i++) {
        int a = (int)axis[i];
        dim size = x->type.shape[a];
        if (from[i]->low < 0 && from[i]->high >= 0 && !dim_is(from[i], 0))
            return node_refuse(n, "a start of unknown sign is not supported");
        if (to[i]->low < 0 && to[i]->high >= 0 && to[i]->op == DIM_SYMBOL)
            return node_refuse(n, "an end of unknown sign is not supported");
        if (step[i] > 0) {
            start[a] = clamp_index(n, from[i], size, 0, size);
            limit[a] = dim_max(t, clamp_index(n, to[i], size, 0, size), start[a]);
            stride[a] = step[i];
        } else { /* backwards: turn the axis around, then count from its other end */
            dim last = dim_sub(t, size, node_c(n, 1));
            dim first = clamp_index(n, from[i], size, -1, last);
            int64_t fixed;
            dim end = dim_is_const(to[i], &fixed) && fixed < -(INT64_C(1) << 31)
                          ? node_c(n, -1)
                          : clamp_index(n, to[i], size, -1, last);
            start[a] = dim_sub(t, last, first);
            limit[a] = dim_max(t, dim_sub(t, last, end), start[a]);
            stride[a] = -step[i];
            reversed[n_reversed++] = a;
        }
    }
    if (n_reversed) {
        struct op *op;
        x = build(B, OP_reverse, 1, &x, attr_ints(n->g, "axes", n_reversed, reversed, NULL), &op) == YJ_OK ? op->out[0]
                                                                                                           : NULL;
    }
    return node_out(n, 0, build_slice(B, x, start, limit, stride));
}

bool onnx_split(struct node *n) {
    struct value *x = node_in(n, 0);
    int axis, count = (int)n->proto->n_output, given = 0;
    const int64_t *list;
    const dim *sizes = NULL;
    if (!x || !node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) return false;
    list = node_list(n, "split", &given);
    if (!list && node_has(n, 1) && !node_dims(n, 1, 0, INT64_C(1) << 32, &given, &sizes)) return false;
    if ((list || sizes) && given != count) return node_refuse(n, "%d sizes for %d results", given, count);
    dim at = node_c(n, 0), total = x->type.shape[axis], each = dim_ceil_div(n->dims, total, node_c(n, count));
    for (int i = 0; i < count; i++) {
        dim size = list ? node_c(n, list[i]) : sizes ? sizes[i] : each;
        dim end = list || sizes ? dim_add(n->dims, at, size) : dim_min(n->dims, dim_add(n->dims, at, size), total);
        if (i == count - 1) end = total;
        if (!node_out(n, i, node_cut(n, x, axis, at, end))) return false;
        at = end;
    }
    return true;
}

bool onnx_concat(struct node *n) {
    struct value **x = NEW_ARRAY(import_arena(n->import), struct value *, n->n_in + 1);
    int axis;
    for (int i = 0; i < n->n_in; i++)
        if (!(x[i] = node_in(n, i))) return false;
    if (n->n_in == 0) return node_refuse(n, "no operand");
    if (!node_axis(n, node_int(n, "axis", 1), x[0]->type.rank, &axis)) return false;
    return node_out(n, 0, build_concat(B, n->n_in, x, axis));
}

/* Padding by copies of elements: the indices along AXIS as a gather. mode: edge, reflect, wrap */
static struct value *pad_by_gather(struct node *n, struct value *x, int axis, dim low, dim high, const char *mode) {
    struct op *op;
    dim size = x->type.shape[axis], total = dim_add(n->dims, dim_add(n->dims, low, high), size);
    struct attr *attrs =
        attr_dims(n->g, "shape", 1, &total, attr_int(n->g, "axis", 0, attr_text(n->g, "dtype", "i64", NULL)));
    if (build(B, OP_iota, 0, NULL, attrs, &op) != YJ_OK) return NULL;
    dim values[3] = {low, size, dim_sub(n->dims, size, node_c(n, 1))};
    struct value *i = op->out[0], *facts[3];
    if (build(B, OP_dims, 0, NULL, attr_dims(n->g, "values", 3, values, NULL), &op) != YJ_OK) return NULL;
    struct value *all = op->out[0];
    for (int k = 0; k < 3; k++) {
        dim from = node_c(n, k), to = node_c(n, k + 1);
        int64_t stride = 1;
        facts[k] = build_broadcast_to(B, build_slice(B, all, &from, &to, &stride), 1, &total);
    }
    struct value *p = build_2(B, OP_sub, i, facts[0]), *last = facts[2];
    if (!strcmp(mode, "edge")) {
        p = build_2(B, OP_max, build_2(B, OP_min, p, last), node_like(n, 0, p));
    } else if (!strcmp(mode, "wrap")) {
        p = build_2(B, OP_rem, build_2(B, OP_add, p, build_2(B, OP_mul, facts[1], node_like(n, 1 << 20, p))), facts[1]);
    } else { /* reflect: |p|, then folded back at the end */
        p = build_1(B, OP_abs, p);
        p = build_2(B, OP_sub, last, build_1(B, OP_abs, build_2(B, OP_sub, last, p)));
    }
    return build_gather(B, x, p, axis);
}

bool onnx_pad(struct node *n) {
    struct value *x = node_in(n, 0), *fill = NULL;
    const char *mode = node_text(n, "mode", "constant");
    int count, n_axes;
    const dim *pads;
    const int64_t *axes = NULL;
    dim low[MAX], high[MAX], none[1];
    if (!x) return false;
    int rank = x->type.rank;
    if (n->version < 11) {
        const int64_t *list = node_list(n, "pads", &count);
        dim *out = NEW_ARRAY(import_arena(n->import), dim, count + 1);
        for (int i = 0; i < count; i++)
            out[i] = node_c(n, list[i]);
        pads = out;
        fill = build_scalar_f(B, x->type.dtype, node_float(n, "value", 0));
    } else {
        if (!node_dims(n, 1, -(INT64_C(1) << 32), INT64_C(1) << 32, &count, &pads)) return false;
        if (node_has(n, 2)) fill = build_reshape(B, node_in(n, 2), 0, none);
        if (node_has(n, 3) && !node_ints(n, 3, &n_axes, &axes)) return false;
    }
    if (!fill)
        fill = dtype_kind(x->type.dtype) == 'f' ? build_scalar_f(B, x->type.dtype, 0)
                                                : build_scalar_i(B, x->type.dtype, 0);
    for (int i = 0; i < rank; i++)
        low[i] = high[i] = node_c(n, 0);
    int half = axes ? n_axes : rank;
    if (count != 2 * half || half > rank) return node_refuse(n, "pads has %d elements, %d are needed", count, 2 * half);
    for (int i = 0; i < half; i++) {
        int a;
        if (!node_axis(n, axes ? axes[i] : i, rank, &a)) return false;
        low[a] = pads[i];
        high[a] = pads[half + i];
    }
    for (int a = 0; a < rank; a++) { /* negative pads cut */
        int64_t l = 0, h = 0;
        bool fixed = dim_is_const(low[a], &l) && dim_is_const(high[a], &h);
        if (!fixed && (low[a]->low < 0 || high[a]->low < 0))
            return node_refuse(n, "pads that are known only at run time may not be negative: not supported");
        if (fixed && (l < 0 || h < 0)) {
            x = node_cut(n, x, a, node_c(n, max64(-l, 0)), dim_sub(n->dims, x->type.shape[a], node_c(n, max64(-h, 0))));
            low[a] = node_c(n, max64(l, 0));
            high[a] = node_c(n, max64(h, 0));
        }
        if (strcmp(mode, "constant") && x && !(dim_is(low[a], 0) && dim_is(high[a], 0)))
            x = pad_by_gather(n, x, a, low[a], high[a], mode);
        if (!x) return node_out(n, 0, NULL);
    }
    return node_out(n, 0, strcmp(mode, "constant") ? x : build_pad(B, x, fill, low, high));
}

/* start + index * step; the length must be a dim: integers known at import, or float constants. */
bool onnx_range(struct node *n) {
    int c0, c1, c2, rank;
    dim shape[MAX];
    const dim *from, *to, *step;
    double f[3];
    struct op *op;
    dim length;
    struct value *first = node_in(n, 0), *delta = node_in(n, 2);
    if (!first || !delta || !node_in(n, 1)) return false;
    int64_t s = 0;
    if (node_scalar(n, 0, &f[0]) && node_scalar(n, 1, &f[1]) && node_scalar(n, 2, &f[2])) {
        double count = f[2] != 0 ? (f[1] - f[0]) / f[2] : 0;
        if (!(count < 1e12)) return node_refuse(n, "a range of %g elements", count);
        int64_t whole = (int64_t)count;
        length = node_c(n, count <= 0 ? 0 : whole + ((double)whole < count));
    } else if (dtype_kind(first->type.dtype) != 'f' && node_known(n, 0, &c0, &from) && node_known(n, 1, &c1, &to) &&
               node_known(n, 2, &c2, &step) && dim_is_const(step[0], &s) && s > 0) {
        length = dim_max(n->dims, dim_ceil_div(n->dims, dim_sub(n->dims, to[0], from[0]), step[0]), node_c(n, 0));
    } else if (node_declared(n, 0, &rank, shape) && rank == 1) {
        length = shape[0];
    } else {
        return node_refuse(n, "the number of elements is known only at run time, without a bound");
    }
    const char *name = yj_dtype_name(first->type.dtype);
    struct attr *attrs =
        attr_dims(n->g, "shape", 1, &length, attr_int(n->g, "axis", 0, attr_text(n->g, "dtype", name, NULL)));
    if (build(B, OP_iota, 0, NULL, attrs, &op) != YJ_OK) return node_out(n, 0, NULL);
    struct value *i = op->out[0];
    i = build_2(B, OP_mul, i, build_broadcast_to(B, delta, 1, &length));
    return node_out(n, 0, build_2(B, OP_add, i, build_broadcast_to(B, first, 1, &length)));
}

bool onnx_depth_to_space(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t s = node_int(n, "blocksize", 0);
    bool crd = !strcmp(node_text(n, "mode", "DCR"), "CRD");
    static const int64_t dcr[6] = {0, 3, 4, 1, 5, 2}, crd_order[6] = {0, 1, 4, 2, 5, 3};
    if (!x || x->type.rank != 4 || s < 1 || s > 1 << 20) return node_refuse(n, "needs a rank of 4 and a blocksize");
    dim *d = x->type.shape, b = node_c(n, s), c = dim_div(n->dims, d[1], node_c(n, s * s));
    dim split[6] = {d[0], crd ? c : b, b, crd ? b : c, d[2], d[3]};
    dim joined[4] = {d[0], c, dim_mul(n->dims, d[2], b), dim_mul(n->dims, d[3], b)};
    x = build_transpose(B, build_reshape(B, x, 6, split), crd ? crd_order : dcr);
    return node_out(n, 0, build_reshape(B, x, 4, joined));
}

bool onnx_space_to_depth(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t s = node_int(n, "blocksize", 0);
    static const int64_t order[6] = {0, 3, 5, 1, 2, 4};
    if (!x || x->type.rank != 4 || s < 1 || s > 1 << 20) return node_refuse(n, "needs a rank of 4 and a blocksize");
    dim *d = x->type.shape, b = node_c(n, s), h = dim_div(n->dims, d[2], b), w = dim_div(n->dims, d[3], b);
    dim split[6] = {d[0], d[1], h, b, w, b}, joined[4] = {d[0], dim_mul(n->dims, d[1], node_c(n, s * s)), h, w};
    x = build_transpose(B, build_reshape(B, x, 6, split), order);
    return node_out(n, 0, build_reshape(B, x, 4, joined));
}

bool onnx_trilu(struct node *n) {
    struct value *x = node_in(n, 0), *k;
    dim none[1];
    if (!x) return false;
    if (x->type.rank < 2) return node_refuse(n, "needs a rank of at least 2");
    k = node_has(n, 1) ? build_reshape(B, node_in(n, 1), 0, none) : build_scalar_i(B, YJ_I64, 0);
    struct value *row = node_iota(n, YJ_I64, x->type.rank, x->type.shape, x->type.rank - 2),
                 *column = node_iota(n, YJ_I64, x->type.rank, x->type.shape, x->type.rank - 1);
    struct value *edge = build_2(B, OP_add, row, build_broadcast_to(B, k, x->type.rank, x->type.shape));
    struct value *keep = build_2(B, node_int(n, "upper", 1) ? OP_ge : OP_le, column, edge);
    return node_out(n, 0, build_3(B, OP_select, keep, x, node_like(n, 0, x)));
}

bool onnx_eye_like(struct node *n) {
    struct value *x = node_in(n, 0);
    if (!x || x->type.rank != 2) return node_refuse(n, "needs a rank of 2");
    enum yj_dtype dtype = x->type.dtype;
    int to = (int)node_int(n, "dtype", 0);
    if (to && !dtype_from_onnx(to, &dtype)) return node_refuse(n, "element type %d", to);
    struct value *row = node_iota(n, YJ_I64, x->type.rank, x->type.shape, 0),
                 *column = node_iota(n, YJ_I64, x->type.rank, x->type.shape, 1);
    struct value *k = node_like(n, (double)node_int(n, "k", 0), row);
    return node_out(n, 0, build_cast(B, build_2(B, OP_eq, column, build_2(B, OP_add, row, k)), dtype));
}

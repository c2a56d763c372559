/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules of the ops that compute, branch and communicate. One function a rule, in the order of ops.def.
 */
#include "ir/graph_infer.h"
#include <stdarg.h>
#include <stdio.h>

enum yj_status infer_bad(const struct op *op, const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    return report(YJ_ERR_INPUT, "%s: %s", op_where(op), line);
}

static const struct type *in_type(struct infer *f, int i) {
    return &f->op->in[i]->type;
}

static bool is_index(const struct type *t) {
    return t->dtype == YJ_I32 || t->dtype == YJ_I64;
}

static enum yj_status check_kind(struct infer *f, const char *attr, const char *const *list) {
    const char *kind = op_text(f->op, attr);
    if (!infer_kind_in(kind, list)) return BAD(f, "%s cannot be '%s'", attr, kind);
    char c = dtype_kind(in_type(f, 0)->dtype);
    bool bits = strcmp(kind, "and") == 0 || strcmp(kind, "or") == 0;
    bool sums = strcmp(kind, "add") == 0 || strcmp(kind, "mul") == 0;
    if ((bits && c == 'f') || (sums && c == 'b'))
        return BAD(f, "%s %s is not defined on %s", attr, kind, yj_dtype_name(in_type(f, 0)->dtype));
    return YJ_OK;
}

static const char *const kinds_all[] = {"add", "mul", "min", "max", "and", "or", NULL};
static const char *const kinds_number[] = {"add", "mul", "min", "max", NULL};
static const char *const kinds_order[] = {"min", "max", NULL};
static const char *const kinds_combine[] = {"none", "add", "mul", "min", "max", NULL};

static enum yj_status check_flag(struct infer *f, const char *name) {
    int64_t v = op_int(f->op, name, 0);
    if (v != 0 && v != 1) return BAD(f, "%s is 0 or 1, not %lld", name, (long long)v);
    return YJ_OK;
}

enum yj_status rule_gather(struct infer *f) {
    const struct type *x = in_type(f, 0), *indices = in_type(f, 1);
    int64_t axis = op_int(f->op, "axis", 0);
    TRY(infer_axis(f, "axis", axis, x->rank));
    if (!is_index(indices)) return BAD(f, "the indices are %s, not i32 or i64", infer_type_of(f, 1));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < axis; i++)
        infer_add(r, x->shape[i]);
    for (int i = 0; i < indices->rank; i++)
        infer_add(r, indices->shape[i]);
    for (int i = (int)axis + 1; i < x->rank; i++)
        infer_add(r, x->shape[i]);
    return YJ_OK;
}

/* The length of an index vector, the last axis of the indices. */
static enum yj_status index_depth(struct infer *f, int from, int *depth) {
    const struct type *x = in_type(f, 0), *indices = in_type(f, 1);
    int64_t k;
    if (!is_index(indices) || indices->rank < 1)
        return BAD(f, "the indices are %s, not vectors of i32 or i64", infer_type_of(f, 1));
    if (!dim_is_const(indices->shape[indices->rank - 1], &k) || k < 0 || from + k > x->rank)
        return BAD(f, "the last axis of the indices %s is not a number in 0..%d", infer_type_of(f, 1), x->rank - from);
    *depth = (int)k;
    return YJ_OK;
}

enum yj_status rule_gather_nd(struct infer *f) {
    const struct type *x = in_type(f, 0), *indices = in_type(f, 1);
    int64_t batch = op_int(f->op, "batch", 0);
    int depth;
    if (batch < 0 || batch > x->rank || batch >= indices->rank)
        return BAD(f, "batch %lld is out of range", (long long)batch);
    TRY(index_depth(f, (int)batch, &depth));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < indices->rank - 1; i++) {
        if (i < batch && infer_differ(f, x->shape[i], indices->shape[i]))
            return BAD(f, "batch axis %d differs: %s and %s", i, infer_type_of(f, 0), infer_type_of(f, 1));
        infer_add(r, indices->shape[i]);
    }
    for (int i = (int)batch + depth; i < x->rank; i++)
        infer_add(r, x->shape[i]);
    return YJ_OK;
}

enum yj_status rule_scatter(struct infer *f) {
    const struct type *x = in_type(f, 0), *indices = in_type(f, 1), *updates = in_type(f, 2);
    int depth;
    TRY(index_depth(f, 0, &depth));
    TRY(check_kind(f, "combine", kinds_combine));
    int lead = indices->rank - 1;
    bool bad = updates->dtype != x->dtype || updates->rank != lead + x->rank - depth;
    for (int i = 0; i < updates->rank && !bad; i++)
        bad = infer_differ(f, updates->shape[i], i < lead ? indices->shape[i] : x->shape[i - lead + depth]);
    if (bad)
        return BAD(f, "the updates %s do not fit %s at %s", infer_type_of(f, 2), infer_type_of(f, 0),
                   infer_type_of(f, 1));
    *infer_result(f, x->dtype) = *x;
    return YJ_OK;
}

enum yj_status rule_update_slice(struct infer *f) {
    const struct type *x = in_type(f, 0), *y = in_type(f, 1);
    int n;
    const dim *start = op_dims(f->op, "start", &n);
    TRY(infer_count(f, "start", n, x->rank));
    bool bad = x->dtype != y->dtype || x->rank != y->rank;
    for (int i = 0; i < n && !bad; i++)
        bad =
            infer_negative(f, start[i]) || dim_less(f->t, x->shape[i], dim_add(f->t, start[i], y->shape[i])) == DIM_YES;
    if (bad) return BAD(f, "%s does not fit into %s there", infer_type_of(f, 1), infer_type_of(f, 0));
    *infer_result(f, x->dtype) = *x;
    return YJ_OK;
}

enum yj_status rule_reduce(struct infer *f) {
    const struct type *x = in_type(f, 0);
    int n;
    const int64_t *axes = op_ints(f->op, "axes", &n);
    TRY(infer_axes(f, "axes", axes, n, x->rank));
    TRY(check_kind(f, "kind", kinds_all));
    unsigned gone = 0;
    for (int i = 0; i < n; i++) {
        if (i && axes[i] < axes[i - 1]) return BAD(f, "axes are not ascending");
        gone |= 1u << axes[i];
    }
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < x->rank; i++)
        if (!(gone >> i & 1)) infer_add(r, x->shape[i]);
    return YJ_OK;
}

enum yj_status rule_arg_reduce(struct infer *f) {
    const struct type *x = in_type(f, 0);
    int64_t axis = op_int(f->op, "axis", 0);
    TRY(infer_axis(f, "axis", axis, x->rank));
    TRY(check_kind(f, "kind", kinds_order));
    TRY(check_flag(f, "last"));
    if (dim_is(x->shape[axis], 0)) return BAD(f, "axis %d of %s is empty", (int)axis, infer_type_of(f, 0));
    struct type *r = infer_result(f, YJ_I64);
    for (int i = 0; i < x->rank; i++)
        if (i != axis) infer_add(r, x->shape[i]);
    return YJ_OK;
}

enum yj_status rule_cumulative(struct infer *f) {
    const struct type *x = in_type(f, 0);
    TRY(infer_axis(f, "axis", op_int(f->op, "axis", 0), x->rank));
    TRY(check_kind(f, "kind", kinds_number));
    TRY(check_flag(f, "exclusive"));
    TRY(check_flag(f, "reverse"));
    *infer_result(f, x->dtype) = *x;
    return YJ_OK;
}

enum yj_status rule_sort(struct infer *f) {
    const struct type *x = in_type(f, 0);
    TRY(infer_axis(f, "axis", op_int(f->op, "axis", 0), x->rank));
    TRY(check_flag(f, "descending"));
    *infer_result(f, x->dtype) = *x;
    *infer_result(f, YJ_I64) = *x;
    f->out[1].dtype = YJ_I64;
    return YJ_OK;
}

/* The result type of a sum of products: attribute dtype, else the operands' type, i32 for 8 and 16 bits. */
static enum yj_status product_dtype(struct infer *f, enum yj_dtype *dtype) {
    enum yj_dtype a = in_type(f, 0)->dtype, b = in_type(f, 1)->dtype;
    char ka = dtype_kind(a), kb = dtype_kind(b);
    bool mixed = ka != 'f' && kb != 'f' && yj_dtype_bytes(a) == yj_dtype_bytes(b); /* u8 with i8 */
    if (ka == 'b' || kb == 'b' || (a != b && !mixed))
        return BAD(f, "there is no product of %s and %s", infer_type_of(f, 0), infer_type_of(f, 1));
    *dtype = ka != 'f' && yj_dtype_bytes(a) < 4 ? YJ_I32 : a;
    if (op_text(f->op, "dtype")) TRY(infer_dtype(f, "dtype", dtype));
    if ((dtype_kind(*dtype) == 'f') != (ka == 'f') || *dtype == YJ_BOOL || ((a == YJ_F64) != (*dtype == YJ_F64)))
        return BAD(f, "products of %s do not sum to %s", yj_dtype_name(a), yj_dtype_name(*dtype));
    return YJ_OK;
}

enum yj_status rule_dot(struct infer *f) {
    const struct type *a = in_type(f, 0), *b = in_type(f, 1);
    int nb[2], nc[2];
    const int64_t *batch[2] = {op_ints(f->op, "batch_a", &nb[0]), op_ints(f->op, "batch_b", &nb[1])};
    const int64_t *sum[2] = {op_ints(f->op, "contract_a", &nc[0]), op_ints(f->op, "contract_b", &nc[1])};
    enum yj_dtype dtype;
    TRY(product_dtype(f, &dtype));
    TRY(infer_count(f, "batch_b", nb[1], nb[0]));
    TRY(infer_count(f, "contract_b", nc[1], nc[0]));
    unsigned used[2] = {0, 0};
    for (int s = 0; s < 2; s++) {
        const struct type *t = s ? b : a;
        TRY(infer_axes(f, "batch", batch[s], nb[s], t->rank));
        TRY(infer_axes(f, "contract", sum[s], nc[s], t->rank));
        for (int i = 0; i < nb[s]; i++)
            used[s] |= 1u << batch[s][i];
        for (int i = 0; i < nc[s]; i++) {
            if (used[s] >> sum[s][i] & 1) return BAD(f, "axis %d is batch and contracted", (int)sum[s][i]);
            used[s] |= 1u << sum[s][i];
        }
    }
    for (int i = 0; i < nc[0]; i++)
        if (infer_differ(f, a->shape[sum[0][i]], b->shape[sum[1][i]]))
            return BAD(f, "contracted axes %d and %d of %s and %s differ", (int)sum[0][i], (int)sum[1][i],
                       infer_type_of(f, 0), infer_type_of(f, 1));
    struct type *r = infer_result(f, dtype);
    for (int i = 0; i < nb[0]; i++) {
        if (infer_differ(f, a->shape[batch[0][i]], b->shape[batch[1][i]]))
            return BAD(f, "batch axes %d and %d of %s and %s differ", (int)batch[0][i], (int)batch[1][i],
                       infer_type_of(f, 0), infer_type_of(f, 1));
        infer_add(r, a->shape[batch[0][i]]);
    }
    for (int i = 0; i < a->rank; i++)
        if (!(used[0] >> i & 1)) infer_add(r, a->shape[i]);
    for (int i = 0; i < b->rank; i++)
        if (!(used[1] >> i & 1)) infer_add(r, b->shape[i]);
    return YJ_OK;
}

/* One spatial axis of a window: floor((x + low + high - (window - 1) * dilation - 1) / stride) + 1. */
static enum yj_status window_axis(struct infer *f, int i, dim x, dim window, dim *out) {
    int n;
    int64_t stride = op_ints(f->op, "strides", &n)[i], dilation = op_ints(f->op, "dilation", &n)[i];
    dim low = op_dims(f->op, "low", &n)[i], high = op_dims(f->op, "high", &n)[i], one = dim_const(f->t, 1);
    if (stride < 1 || dilation < 1) return BAD(f, "stride or dilation of spatial axis %d is below 1", i);
    if (infer_negative(f, low) || infer_negative(f, high)) return BAD(f, "padding of spatial axis %d is negative", i);
    if (infer_negative(f, dim_sub(f->t, window, one))) return BAD(f, "the window is empty on spatial axis %d", i);
    dim reach = dim_mul(f->t, dim_sub(f->t, window, one), dim_const(f->t, dilation));
    dim room = dim_sub(f->t, dim_sub(f->t, dim_add(f->t, dim_add(f->t, x, low), high), reach), one);
    if (infer_negative(f, room))
        return BAD(f, "the window is larger than spatial axis %d of %s", i, infer_type_of(f, 0));
    *out = dim_add(f->t, dim_div(f->t, room, dim_const(f->t, stride)), one);
    return YJ_OK;
}

static enum yj_status window_counts(struct infer *f, int want) {
    static const char *const names[] = {"strides", "dilation", "low", "high"};
    for (int i = 0; i < 4; i++) {
        int n;
        if (i < 2)
            op_ints(f->op, names[i], &n);
        else
            op_dims(f->op, names[i], &n);
        TRY(infer_count(f, names[i], n, want));
    }
    return YJ_OK;
}

enum yj_status rule_convolution(struct infer *f) {
    const struct type *x = in_type(f, 0), *w = in_type(f, 1);
    const char *layout = op_text(f->op, "layout");
    bool last = layout && strcmp(layout, "NHWC") == 0; /* channels last */
    enum yj_dtype dtype;
    if (layout && !last && strcmp(layout, "NCHW") != 0) return BAD(f, "layout is NCHW or NHWC, not '%s'", layout);
    TRY(product_dtype(f, &dtype));
    int spatial = x->rank - 2;
    if (spatial < 0 || w->rank != x->rank)
        return BAD(f, "%s and %s should have one rank, at least 2", infer_type_of(f, 0), infer_type_of(f, 1));
    TRY(window_counts(f, spatial));
    dim groups = dim_const(f->t, op_int(f->op, "groups", 0)), zero = dim_const(f->t, 0);
    if (!(groups->low > 0)) return BAD(f, "groups is below 1");
    dim channels = x->shape[last ? spatial + 1 : 1], filters = w->shape[last ? spatial + 1 : 0];
    if (infer_differ(f, channels, dim_mul(f->t, w->shape[last ? spatial : 1], groups)))
        return BAD(f, "the channels of %s are not those of %s in %lld groups", infer_type_of(f, 0), infer_type_of(f, 1),
                   (long long)op_int(f->op, "groups", 0));
    if (infer_differ(f, dim_mod(f->t, filters, groups), zero)) return BAD(f, "groups does not divide the filters");
    struct type *r = infer_result(f, dtype);
    infer_add(r, x->shape[0]);
    if (!last) infer_add(r, filters);
    for (int i = 0; i < spatial; i++) {
        dim d;
        TRY(window_axis(f, i, x->shape[i + (last ? 1 : 2)], w->shape[i + (last ? 0 : 2)], &d));
        infer_add(r, d);
    }
    if (last) infer_add(r, filters);
    return YJ_OK;
}

enum yj_status rule_reduce_window(struct infer *f) {
    const struct type *x = in_type(f, 0);
    int n;
    const int64_t *window = op_ints(f->op, "window", &n);
    TRY(infer_count(f, "window", n, x->rank));
    TRY(window_counts(f, x->rank));
    TRY(check_kind(f, "kind", kinds_number));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < n; i++) {
        dim d;
        TRY(window_axis(f, i, x->shape[i], dim_const(f->t, window[i]), &d));
        infer_add(r, d);
    }
    return YJ_OK;
}

/* --- regions --- */

static enum yj_status regions(struct infer *f, int want) {
    if (f->op->n_regions != want) return BAD(f, "it has %d regions and should have %d", f->op->n_regions, want);
    for (int i = 0; i < want; i++)
        for (int j = 0; j < f->op->regions[i]->n_out; j++)
            if (!f->op->regions[i]->out[j]) return BAD(f, "result %d of region %d is missing", j, i);
    return YJ_OK;
}

/* Inputs [AT..] of region R are the operands [FROM..]. */
static enum yj_status region_inputs(struct infer *f, const struct graph *r, int at, int from) {
    int n = f->op->n_in - from;
    if (r->n_in != at + n) return BAD(f, "region %s has %d inputs and should have %d", r->name, r->n_in, at + n);
    for (int i = 0; i < n; i++)
        if (!type_same(&r->in[at + i]->type, in_type(f, from + i)))
            return BAD(f, "input %d of region %s is not of the operand's type %s", at + i, r->name,
                       infer_type_of(f, from + i));
    return YJ_OK;
}

enum yj_status rule_composite(struct infer *f) {
    TRY(regions(f, 1));
    const struct graph *r = f->op->regions[0];
    TRY(region_inputs(f, r, 0, 0));
    for (int i = 0; i < r->n_out; i++)
        *infer_result(f, YJ_F32) = r->out[i]->type;
    return YJ_OK;
}

enum yj_status rule_if(struct infer *f) {
    TRY(regions(f, 2));
    if (f->op->n_in < 1 || in_type(f, 0)->dtype != YJ_BOOL || in_type(f, 0)->rank != 0)
        return BAD(f, "operand 0 is not a bool scalar");
    const struct graph *yes = f->op->regions[0], *no = f->op->regions[1];
    TRY(region_inputs(f, yes, 0, 1));
    TRY(region_inputs(f, no, 0, 1));
    if (yes->n_out != no->n_out) return BAD(f, "its regions have %d and %d results", yes->n_out, no->n_out);
    for (int i = 0; i < yes->n_out; i++) {
        const struct type *t = &yes->out[i]->type, *u = &no->out[i]->type;
        if (!type_same(t, u))
            return BAD(f, "result %d is %s in one region and %s in the other", i, type_text(f->op->graph->arena, t),
                       type_text(f->op->graph->arena, u));
        *infer_result(f, t->dtype) = *t;
    }
    return YJ_OK;
}

static bool is_scalar(const struct type *t, enum yj_dtype dtype) {
    return t->rank == 0 && t->dtype == dtype;
}

enum yj_status rule_loop(struct infer *f) {
    const struct op *op = f->op;
    TRY(regions(f, 1));
    const struct graph *r = op->regions[0];
    if (op->n_in < 2 || !is_scalar(in_type(f, 0), YJ_I64) || !is_scalar(in_type(f, 1), YJ_BOOL))
        return BAD(f, "operands 0 and 1 are not an i64 and a bool scalar");
    TRY(region_inputs(f, r, 1, 2));
    int carried = op->n_in - 2, n;
    if (!is_scalar(&r->in[0]->type, YJ_I64)) return BAD(f, "input 0 of its region is not an i64 scalar");
    if (r->n_out < 1 + carried || !is_scalar(&r->out[0]->type, YJ_BOOL))
        return BAD(f, "its region does not give a bool scalar and the %d carried values", carried);
    for (int i = 0; i < carried; i++) {
        if (!type_same(&r->out[1 + i]->type, in_type(f, 2 + i)))
            return BAD(f, "carried value %d enters as %s and comes back as %s", i, infer_type_of(f, 2 + i),
                       type_text(op->graph->arena, &r->out[1 + i]->type));
        *infer_result(f, YJ_F32) = *in_type(f, 2 + i);
    }
    const dim *index = op_dims(op, "index", &n);
    if (index && index[0]->op != DIM_SYMBOL) return BAD(f, "attribute 'index' is no symbol");
    const dim *length = op_dims(op, "length", &n);
    if (r->n_out > 1 + carried && !length) return BAD(f, "attribute 'length' is missing: it has stacked results");
    for (int i = 1 + carried; i < r->n_out; i++) {
        const struct type *t = &r->out[i]->type;
        struct type *s = infer_result(f, t->dtype);
        infer_add(s, length[0]);
        for (int a = 0; a < t->rank; a++)
            infer_add(s, t->shape[a]);
    }
    return YJ_OK;
}

enum yj_status rule_bind(struct infer *f) {
    const struct type *x = in_type(f, 0);
    int n;
    const dim *symbols = op_dims(f->op, "symbols", &n);
    if (n < 1 || x->dtype != YJ_I64 || x->rank > 1 || (x->rank == 0 && n != 1) ||
        (x->rank == 1 && infer_differ(f, x->shape[0], dim_const(f->t, n))))
        return BAD(f, "%s is not a vector of %d i64", infer_type_of(f, 0), n);
    for (int i = 0; i < n; i++) {
        if (symbols[i]->op != DIM_SYMBOL) return BAD(f, "symbol %d is an expression", i);
        for (int j = 0; j < i; j++)
            if (symbols[i] == symbols[j]) return BAD(f, "it binds %s twice", symbols[i]->name);
    }
    return YJ_OK;
}

/* --- collectives --- */

static enum yj_status ranks_of(struct infer *f, dim *ranks) {
    const char *axis = op_text(f->op, "axis");
    int n = mesh_size(f->op->graph, axis);
    if (n < 1) return BAD(f, "the mesh has no axis '%s'", axis);
    *ranks = dim_const(f->t, n);
    return YJ_OK;
}

static enum yj_status dim_attr(struct infer *f, const char *name, struct type *r, dim **d) {
    int64_t axis = op_int(f->op, name, 0);
    TRY(infer_axis(f, name, axis, r->rank));
    *d = &r->shape[axis];
    return YJ_OK;
}

static enum yj_status part(struct infer *f, dim ranks, dim *d) {
    if (infer_differ(f, dim_mod(f->t, *d, ranks), dim_const(f->t, 0)))
        return BAD(f, "%s ranks do not divide %s", infer_dim_text(f, ranks), infer_dim_text(f, *d));
    *d = dim_div(f->t, *d, ranks);
    return YJ_OK;
}

enum yj_status rule_all_reduce(struct infer *f) {
    dim ranks;
    TRY(ranks_of(f, &ranks));
    TRY(check_kind(f, "kind", kinds_all));
    *infer_result(f, YJ_F32) = *in_type(f, 0);
    return YJ_OK;
}

enum yj_status rule_all_gather(struct infer *f) {
    dim ranks, *d;
    TRY(ranks_of(f, &ranks));
    struct type *r = infer_result(f, YJ_F32);
    *r = *in_type(f, 0);
    TRY(dim_attr(f, "dim", r, &d));
    *d = dim_mul(f->t, *d, ranks);
    return YJ_OK;
}

enum yj_status rule_reduce_scatter(struct infer *f) {
    dim ranks, *d;
    TRY(ranks_of(f, &ranks));
    TRY(check_kind(f, "kind", kinds_all));
    struct type *r = infer_result(f, YJ_F32);
    *r = *in_type(f, 0);
    TRY(dim_attr(f, "dim", r, &d));
    return part(f, ranks, d);
}

enum yj_status rule_all_to_all(struct infer *f) {
    dim ranks, *d;
    TRY(ranks_of(f, &ranks));
    struct type *r = infer_result(f, YJ_F32);
    *r = *in_type(f, 0);
    TRY(dim_attr(f, "split", r, &d));
    TRY(part(f, ranks, d));
    TRY(dim_attr(f, "concat", r, &d));
    *d = dim_mul(f->t, *d, ranks);
    return YJ_OK;
}

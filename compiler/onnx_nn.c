/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators of networks: products, convolutions, pools, norms, reductions.
 */
#include "compiler/onnx.h"
#include <math.h>

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

/* Numpy's matmul: vectors become matrices, leading axes are broadcast; an operand without them is shared by the batch.
 */
struct value *node_matmul(struct node *n, struct value *a, struct value *b) {
    if (!a || !b) return NULL;
    if (a->type.rank == 0 || b->type.rank == 0) {
        node_refuse(n, "a scalar operand");
        return NULL;
    }
    bool row = a->type.rank == 1, column = b->type.rank == 1;
    int64_t first[1] = {0}, second[1] = {1};
    if (row) a = node_unsqueeze(n, a, 1, first);
    if (column) b = node_unsqueeze(n, b, 1, second);
    int ra = a->type.rank, rb = b->type.rank;
    struct value *y;
    if (rb == 2) {
        int64_t ca[1] = {ra - 1}, cb[1] = {0};
        y = build_dot(B, a, b, 0, NULL, NULL, 1, ca, cb);
    } else {
        struct type la = a->type, lb = b->type;
        la.rank -= 2;
        lb.rank -= 2;
        int rank;
        dim shape[MAX], sa[MAX], sb[MAX];
        int64_t batch[MAX], ca[1], cb[1];
        if (!node_broadcast_shape(n, &la, &lb, &rank, shape)) return NULL;
        if (rank + 2 > MAX) return NULL;
        memcpy(sa, shape, sizeof sa);
        memcpy(sb, shape, sizeof sb);
        for (int i = 0; i < 2; i++)
            sa[rank + i] = a->type.shape[ra - 2 + i], sb[rank + i] = b->type.shape[rb - 2 + i];
        a = build_broadcast_to(B, a, rank + 2, sa);
        b = build_broadcast_to(B, b, rank + 2, sb);
        for (int i = 0; i < rank; i++)
            batch[i] = i;
        ca[0] = rank + 1;
        cb[0] = rank;
        y = build_dot(B, a, b, rank, batch, batch, 1, ca, cb);
    }
    if (!y) return NULL;
    int64_t gone[2];
    int k = 0;
    if (row) gone[k++] = y->type.rank - 2;
    if (column) gone[k++] = y->type.rank - 1;
    return k ? node_squeeze(n, y, k, gone) : y;
}

static struct value *swap_last(struct node *n, struct value *x) {
    int64_t p[MAX];
    if (!x || x->type.rank < 2) return NULL;
    for (int i = 0; i < x->type.rank; i++)
        p[i] = i;
    p[x->type.rank - 1] = x->type.rank - 2;
    p[x->type.rank - 2] = x->type.rank - 1;
    return build_transpose(B, x, p);
}

/* y times the attribute NAME; integers have no fractions to be multiplied by. */
static struct value *scaled(struct node *n, struct value *y, const char *name) {
    double by = node_float(n, name, 1);
    if (!y || by == 1) return y;
    if (dtype_kind(y->type.dtype) != 'f' && !(by == trunc(by) && fabs(by) < 0x1p53)) {
        node_refuse(n, "%s %g of %s, a fraction of integers", name, by, yj_dtype_name(y->type.dtype));
        return NULL;
    }
    return build_2(B, OP_mul, y, node_like(n, by, y));
}

bool onnx_matmul(struct node *n) {
    struct value *a = node_in(n, 0), *b = node_in(n, 1);
    if (node_int(n, "transBatchA", 0) || node_int(n, "transBatchB", 0))
        return node_refuse(n, "transBatch is not supported");
    if (node_int(n, "transA", 0)) a = swap_last(n, a);
    if (node_int(n, "transB", 0)) b = swap_last(n, b);
    struct value *y = scaled(n, node_matmul(n, a, b), "alpha");
    return !n->refused && node_out(n, 0, y);
}

bool onnx_gemm(struct node *n) {
    struct value *a = node_in(n, 0), *b = node_in(n, 1);
    int64_t ca[1] = {node_int(n, "transA", 0) ? 0 : 1}, cb[1] = {node_int(n, "transB", 0) ? 1 : 0};
    if (!a || !b) return false;
    if (a->type.rank != 2 || b->type.rank != 2) return node_refuse(n, "operands must have rank 2");
    struct value *y = scaled(n, build_dot(B, a, b, 0, NULL, NULL, 1, ca, cb), "alpha");
    if (node_has(n, 2) && y)
        y = build_2(B, OP_add, y, scaled(n, build_broadcast_to(B, node_in(n, 2), 2, y->type.shape), "beta"));
    return !n->refused && node_out(n, 0, y);
}

struct window {
    int n;
    int64_t size[MAX], stride[MAX], dilation[MAX];
    dim low[MAX], high[MAX];
};

static bool spatial_list(struct node *n, const char *name, int count, int64_t otherwise, int64_t *out) {
    int given;
    const int64_t *list = node_list(n, name, &given);
    if (list && given != count) return node_refuse(n, "%s has %d elements, %d are needed", name, given, count);
    for (int i = 0; i < count; i++) {
        out[i] = list ? list[i] : otherwise;
        if (out[i] < 1 || out[i] > 1 << 30) return node_refuse(n, "%s holds %lld", name, (long long)out[i]);
    }
    return true;
}

/* Strides, dilations and pads; auto_pad SAME makes the result ceil(size / stride). W->size is set before. */
static bool window_of(struct node *n, const struct value *x, struct window *w) {
    int given;
    const int64_t *pads = node_list(n, "pads", &given);
    const char *automatic = node_text(n, "auto_pad", "NOTSET");
    if (!spatial_list(n, "strides", w->n, 1, w->stride) || !spatial_list(n, "dilations", w->n, 1, w->dilation))
        return false;
    if (pads && given != 2 * w->n) return node_refuse(n, "pads has %d elements, %d are needed", given, 2 * w->n);
    struct dim_table *t = n->dims;
    for (int i = 0; i < w->n; i++) {
        if (w->size[i] < 1 || w->size[i] > 1 << 30) return node_refuse(n, "a window of %lld", (long long)w->size[i]);
        int64_t extent = (w->size[i] - 1) * w->dilation[i] + 1;
        w->low[i] = node_c(n, pads ? pads[i] : 0);
        w->high[i] = node_c(n, pads ? pads[w->n + i] : 0);
        if (w->low[i]->low < 0 || w->high[i]->low < 0) return node_refuse(n, "negative pads are not supported");
        if (strncmp(automatic, "SAME", 4)) continue;
        dim size = x->type.shape[2 + i], stride = node_c(n, w->stride[i]);
        dim last = dim_mul(t, dim_sub(t, dim_ceil_div(t, size, stride), node_c(n, 1)), stride);
        dim total = dim_max(t, dim_sub(t, dim_add(t, last, node_c(n, extent)), size), node_c(n, 0));
        dim less = dim_div(t, total, node_c(n, 2)), more = dim_sub(t, total, less);
        bool upper = !strcmp(automatic, "SAME_UPPER");
        w->low[i] = upper ? less : more;
        w->high[i] = upper ? more : less;
    }
    return true;
}

struct value *node_channel_bias(struct node *n, struct value *y, struct value *bias) {
    if (!y || !bias) return NULL;
    return build_2(B, OP_add, y, node_along(n, bias, y, 1));
}

static struct value *convolve(struct node *n, struct value *x, struct value *w, const struct window *win,
                              int64_t groups) {
    struct op *op;
    struct value *in[2] = {x, w};
    struct attr *a = attr_int(n->g, "groups", groups, NULL);
    a = attr_ints(n->g, "dilation", win->n, win->dilation, a);
    a = attr_dims(n->g, "high", win->n, win->high, a);
    a = attr_dims(n->g, "low", win->n, win->low, a);
    a = attr_ints(n->g, "strides", win->n, win->stride, a);
    return build(B, OP_convolution, 2, in, a, &op) == YJ_OK ? op->out[0] : NULL;
}

struct value *node_convolve(struct node *n, struct value *x, struct value *w) {
    struct window win = {0};
    if (!x || !w) return NULL;
    win.n = x->type.rank - 2;
    if (win.n < 1 || w->type.rank != x->type.rank) {
        node_refuse(n, "operands of rank %d and %d", x->type.rank, w->type.rank);
        return NULL;
    }
    for (int i = 0; i < win.n; i++)
        if (!dim_is_const(w->type.shape[2 + i], &win.size[i])) {
            node_refuse(n, "the size of the kernel is not known");
            return NULL;
        }
    return window_of(n, x, &win) ? convolve(n, x, w, &win, node_int(n, "group", 1)) : NULL;
}

bool onnx_conv(struct node *n) {
    struct value *y = node_convolve(n, node_in(n, 0), node_in(n, 1));
    if (node_has(n, 2) && y) y = node_channel_bias(n, y, node_in(n, 2));
    return !n->refused && node_out(n, 0, y);
}

static struct value *reduce_window(struct node *n, struct value *x, const struct window *w, const char *kind) {
    struct op *op;
    int64_t size[MAX] = {1, 1}, stride[MAX] = {1, 1}, dilation[MAX] = {1, 1};
    dim low[MAX] = {node_c(n, 0), node_c(n, 0)}, high[MAX] = {node_c(n, 0), node_c(n, 0)};
    for (int i = 0; i < w->n; i++) {
        size[2 + i] = w->size[i];
        stride[2 + i] = w->stride[i];
        dilation[2 + i] = w->dilation[i];
        low[2 + i] = w->low[i];
        high[2 + i] = w->high[i];
    }
    int r = w->n + 2;
    struct attr *a = attr_text(n->g, "kind", kind, NULL);
    a = attr_ints(n->g, "dilation", r, dilation, a);
    a = attr_dims(n->g, "high", r, high, a);
    a = attr_dims(n->g, "low", r, low, a);
    a = attr_ints(n->g, "strides", r, stride, a);
    a = attr_ints(n->g, "window", r, size, a);
    return build(B, OP_reduce_window, 1, &x, a, &op) == YJ_OK ? op->out[0] : NULL;
}

/* ceil_mode: pads at the end so that a window that begins inside is kept. */
static void ceil_pads(struct node *n, const struct value *x, struct window *w) {
    struct dim_table *t = n->dims;
    for (int i = 0; i < w->n; i++) {
        dim size = x->type.shape[2 + i], stride = node_c(n, w->stride[i]);
        int64_t extent = (w->size[i] - 1) * w->dilation[i] + 1;
        dim padded = dim_add(t, dim_add(t, size, w->low[i]), w->high[i]);
        dim steps = dim_ceil_div(t, dim_sub(t, padded, node_c(n, extent)), stride);
        dim inside = dim_div(t, dim_sub(t, dim_add(t, size, w->low[i]), node_c(n, 1)),
                             stride); /* the last start before the end padding */
        dim need = dim_add(t, dim_mul(t, dim_min(t, steps, inside), stride), node_c(n, extent));
        w->high[i] = dim_max(t, dim_sub(t, need, dim_add(t, size, w->low[i])), node_c(n, 0));
    }
}

bool onnx_pool(struct node *n) {
    struct value *x = node_in(n, 0);
    struct window w = {0};
    int given;
    const int64_t *size = node_list(n, "kernel_shape", &given);
    bool max = !strcmp(n->proto->op_type, "MaxPool");
    if (!x) return false;
    w.n = x->type.rank - 2;
    if (!size || given != w.n) return node_refuse(n, "kernel_shape has %d elements, %d are needed", given, w.n);
    if (node_wants(n, 1)) return node_refuse(n, "the indices of MaxPool are not supported");
    memcpy(w.size, size, sizeof(int64_t) * (size_t)w.n);
    if (!window_of(n, x, &w)) return false;
    struct window counted = w;
    if (node_int(n, "ceil_mode", 0)) ceil_pads(n, x, &w);
    if (max) return node_out(n, 0, reduce_window(n, x, &w, "max"));
    enum yj_dtype dtype = x->type.dtype;
    if (!(x = node_wide(n, x))) return node_out(n, 0, NULL);
    struct value *y = reduce_window(n, x, &w, "add");
    /* the number of elements under each window: with padding counted, the ones are padded by ones first */
    bool include = node_int(n, "count_include_pad", 0), padded = false;
    for (int i = 0; i < w.n; i++)
        padded |= !dim_is(w.low[i], 0) || !dim_is(w.high[i], 0);
    double all = 1;
    for (int i = 0; i < w.n; i++)
        all *= (double)w.size[i];
    if (!padded || (include && !node_int(n, "ceil_mode", 0)))
        return node_out_as(n, 0, build_2(B, OP_div, y, node_like(n, all, y)), dtype);
    struct value *ones = node_like(n, 1, x);
    if (include) {
        dim low[MAX] = {node_c(n, 0), node_c(n, 0)}, high[MAX] = {node_c(n, 0), node_c(n, 0)};
        for (int i = 0; i < w.n; i++) {
            low[2 + i] = counted.low[i];
            high[2 + i] = counted.high[i];
            w.low[i] = node_c(n, 0);
            w.high[i] = dim_sub(n->dims, w.high[i], counted.high[i]);
        }
        ones = build_pad(B, ones, build_scalar_f(B, x->type.dtype, 1), low, high);
    }
    return node_out_as(n, 0, build_2(B, OP_div, y, reduce_window(n, ones, &w, "add")), dtype);
}

static struct value *mean_keep(struct node *n, struct value *x, int count, const int64_t *axes);

bool onnx_global_pool(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t axes[MAX];
    dim shape[MAX];
    if (!x || x->type.rank < 3) return node_refuse(n, "needs a rank of at least 3");
    for (int i = 2; i < x->type.rank; i++)
        axes[i - 2] = i;
    bool max = !strcmp(n->proto->op_type, "GlobalMaxPool");
    enum yj_dtype dtype = x->type.dtype;
    if (!max && !(x = node_wide(n, x))) return node_out(n, 0, NULL);
    struct value *y = build_reduce(B, x, max ? SCALAR_max : SCALAR_add, x->type.rank - 2, axes);
    dim count = node_c(n, 1);
    for (int i = 0; i < x->type.rank; i++) {
        shape[i] = i < 2 ? x->type.shape[i] : node_c(n, 1);
        if (i >= 2) count = dim_mul(n->dims, count, x->type.shape[i]);
    }
    if (!max && y) {
        struct op *op;
        if (build(B, OP_dims, 0, NULL, attr_dims(n->g, "values", 1, &count, NULL), &op) != YJ_OK)
            return node_out(n, 0, NULL);
        struct value *c = build_cast(B, build_reshape(B, op->out[0], 0, NULL), x->type.dtype);
        y = build_2(B, OP_div, y, build_broadcast_to(B, c, y->type.rank, y->type.shape));
    }
    return node_out(n, 0, build_reshape(B, build_cast(B, y, dtype), x->type.rank, shape));
}

/* gain and offset of each channel, folded when they are constants */
bool onnx_batch_norm(struct node *n) {
    struct value *x = node_in(n, 0), *p[4];
    if (node_int(n, "training_mode", 0) || node_wants(n, 1)) return node_refuse(n, "training mode is not supported");
    for (int i = 0; i < 4; i++)
        if (!(p[i] = node_in(n, 1 + i))) return false;
    if (!x || x->type.rank < 2) return node_refuse(n, "needs a rank of at least 2");
    enum yj_dtype dtype = x->type.dtype;
    if (!(x = node_wide(n, x))) return node_out(n, 0, NULL);
    for (int i = 0; i < 4; i++)
        p[i] = build_cast(B, p[i], x->type.dtype);
    struct value *root =
        build_1(B, OP_sqrt, build_2(B, OP_add, p[3], node_like(n, node_float(n, "epsilon", 1e-5f), p[3])));
    struct value *gain = build_2(B, OP_div, p[0], root),
                 *offset = build_2(B, OP_sub, p[1], build_2(B, OP_mul, p[2], gain));
    if (!gain || !offset) return node_out(n, 0, NULL);
    struct value *y = build_2(B, OP_mul, x, node_along(n, gain, x, 1));
    y = build_2(B, OP_add, y, node_along(n, offset, x, 1));
    return node_out(n, 0, build_cast(B, y, dtype));
}

/* The mean over AXES, back in x's shape. */
static struct value *mean_keep(struct node *n, struct value *x, int count, const int64_t *axes) {
    struct op *op;
    dim elements = node_c(n, 1);
    if (!x) return NULL;
    for (int i = 0; i < count; i++)
        elements = dim_mul(n->dims, elements, x->type.shape[axes[i]]);
    struct value *sum = build_reduce(B, x, SCALAR_add, count, axes);
    int64_t fixed;
    struct value *c;
    if (!sum) return NULL;
    if (dim_is_const(elements, &fixed)) {
        c = node_like(n, (double)fixed, sum);
    } else {
        if (build(B, OP_dims, 0, NULL, attr_dims(n->g, "values", 1, &elements, NULL), &op) != YJ_OK) return NULL;
        c = build_broadcast_to(B, build_cast(B, build_reshape(B, op->out[0], 0, NULL), x->type.dtype), sum->type.rank,
                               sum->type.shape);
    }
    struct value *mean = build_2(B, OP_div, sum, c);
    int64_t kept[MAX];
    int k = 0;
    for (int i = 0; i < x->type.rank; i++) {
        bool reduced = false;
        for (int j = 0; j < count; j++)
            reduced |= axes[j] == i;
        if (!reduced) kept[k++] = i;
    }
    return mean ? build_broadcast(B, mean, x->type.rank, x->type.shape, kept) : NULL;
}

bool onnx_instance_norm(struct node *n) {
    struct value *x = node_in(n, 0), *scale = node_in(n, 1), *bias = node_in(n, 2);
    int64_t axes[MAX];
    if (!x || !scale || !bias) return false;
    if (x->type.rank < 3) return node_refuse(n, "needs a rank of at least 3");
    for (int i = 2; i < x->type.rank; i++)
        axes[i - 2] = i;
    enum yj_dtype dtype = x->type.dtype;
    if (!(x = node_wide(n, x))) return node_out(n, 0, NULL);
    struct value *d = build_2(B, OP_sub, x, mean_keep(n, x, x->type.rank - 2, axes));
    struct value *variance = mean_keep(n, build_2(B, OP_mul, d, d), x->type.rank - 2, axes);
    struct value *root =
        build_1(B, OP_sqrt, build_2(B, OP_add, variance, node_like(n, node_float(n, "epsilon", 1e-5f), x)));
    struct value *y = build_2(B, OP_mul, build_2(B, OP_mul, d, build_2(B, OP_div, node_like(n, 1, root), root)),
                              node_along(n, build_cast(B, scale, x->type.dtype), x, 1));
    y = build_2(B, OP_add, y, node_along(n, build_cast(B, bias, x->type.dtype), x, 1));
    return node_out_as(n, 0, y, dtype);
}

static int axes_from(struct value *x, int axis, int64_t *axes) {
    int count = 0;
    for (int i = axis; i < x->type.rank; i++)
        axes[count++] = i;
    return count;
}

/* Results 1 and 2 (the mean and one over the deviation) keep the reduced axes with size 1. */
bool onnx_layer_norm(struct node *n) {
    struct value *x = node_in(n, 0), *scale = node_in(n, 1);
    int axis;
    int64_t axes[MAX];
    dim shape[MAX];
    if (!x || !scale || !node_axis(n, node_int(n, "axis", -1), x->type.rank, &axis)) return false;
    enum yj_dtype dtype = x->type.dtype;
    struct value *f = node_wide(n, x);
    int count = axes_from(x, axis, axes);
    struct value *mean = mean_keep(n, f, count, axes), *d = build_2(B, OP_sub, f, mean);
    struct value *variance = mean_keep(n, build_2(B, OP_mul, d, d), count, axes);
    struct value *root =
        build_1(B, OP_sqrt, build_2(B, OP_add, variance, node_like(n, node_float(n, "epsilon", 1e-5f), f)));
    struct value *y = build_cast(B, build_2(B, OP_mul, d, build_2(B, OP_div, node_like(n, 1, root), root)), dtype);
    y = build_2(B, OP_mul, y, build_broadcast_to(B, scale, x->type.rank, x->type.shape));
    if (node_has(n, 2)) y = build_2(B, OP_add, y, build_broadcast_to(B, node_in(n, 2), x->type.rank, x->type.shape));
    for (int i = 0; i < x->type.rank; i++)
        shape[i] = i < axis ? x->type.shape[i] : node_c(n, 1);
    dim start[MAX], limit[MAX];
    int64_t stride[MAX];
    for (int i = 0; i < x->type.rank; i++)
        start[i] = node_c(n, 0), limit[i] = shape[i], stride[i] = 1;
    if (node_wants(n, 1)) node_out(n, 1, build_slice(B, mean, start, limit, stride));
    if (node_wants(n, 2))
        node_out(n, 2, build_slice(B, build_2(B, OP_div, node_like(n, 1, root), root), start, limit, stride));
    return node_out(n, 0, y);
}

struct value *onnx_rms(struct node *n, struct value *x, struct value *scale, int axis, double epsilon) {
    int64_t axes[MAX];
    if (!x || !scale) return NULL;
    enum yj_dtype dtype = x->type.dtype;
    struct value *f = node_wide(n, x);
    int count = axes_from(x, axis, axes);
    struct value *square = mean_keep(n, build_2(B, OP_mul, f, f), count, axes);
    struct value *root = build_1(B, OP_sqrt, build_2(B, OP_add, square, node_like(n, epsilon, f)));
    struct value *y = build_cast(B, build_2(B, OP_mul, f, build_2(B, OP_div, node_like(n, 1, root), root)), dtype);
    return build_2(B, OP_mul, y, build_broadcast_to(B, scale, x->type.rank, x->type.shape));
}

bool onnx_rms_norm(struct node *n) {
    struct value *x = node_in(n, 0);
    int axis;
    if (!x || !node_axis(n, node_int(n, "axis", -1), x->type.rank, &axis)) return false;
    if (node_wants(n, 1)) return node_refuse(n, "the second result is not supported");
    return node_out(n, 0, onnx_rms(n, x, node_in(n, 1), axis, node_float(n, "epsilon", 1e-5f)));
}

/* Before opset 13 the axes from AXIS on are one row. */
bool onnx_softmax(struct node *n) {
    struct value *x = node_in(n, 0), *y;
    int axis;
    bool log = !strcmp(n->proto->op_type, "LogSoftmax");
    if (!x) return false;
    if (!node_axis(n, node_int(n, "axis", n->version < 13 ? 1 : -1), x->type.rank > 0 ? x->type.rank : 1, &axis))
        return false;
    struct type t = x->type;
    bool flattened = n->version < 13 && axis != t.rank - 1;
    if (flattened) {
        dim flat[2] = {node_c(n, 1), node_c(n, 1)};
        for (int i = 0; i < t.rank; i++)
            flat[i >= axis] = dim_mul(n->dims, flat[i >= axis], t.shape[i]);
        x = build_reshape(B, x, 2, flat);
        axis = 1;
    }
    if (!x) return node_out(n, 0, NULL);
    y = log ? node_log_softmax(n, x, axis) : node_softmax(n, x, axis);
    return node_out(n, 0, flattened ? build_reshape(B, y, t.rank, t.shape) : y);
}

/* The reduced axes stay with size 1 unless keepdims is 0. */
static struct value *finish_reduce(struct node *n, struct value *y, const struct type *x, int count,
                                   const int64_t *axes) {
    dim shape[MAX];
    if (!node_int(n, "keepdims", 1) || !y) return y;
    for (int i = 0; i < x->rank; i++) {
        bool reduced = false;
        for (int j = 0; j < count; j++)
            reduced |= axes[j] == i;
        shape[i] = reduced ? node_c(n, 1) : x->shape[i];
    }
    return build_reshape(B, y, x->rank, shape);
}

static struct value *divide_by_count(struct node *n, struct value *y, const struct type *x, int count,
                                     const int64_t *axes) {
    struct op *op;
    dim elements = node_c(n, 1);
    for (int i = 0; i < count; i++)
        elements = dim_mul(n->dims, elements, x->shape[axes[i]]);
    if (!y || build(B, OP_dims, 0, NULL, attr_dims(n->g, "values", 1, &elements, NULL), &op) != YJ_OK) return NULL;
    struct value *c = build_cast(B, build_reshape(B, op->out[0], 0, NULL), y->type.dtype);
    return build_2(B, OP_div, y, build_broadcast_to(B, c, y->type.rank, y->type.shape));
}

static bool no_axes(struct node *n) {
    const struct type *t = n->in[1]->value ? &n->in[1]->value->type : NULL;
    return t && t->rank == 1 && dim_is(t->shape[0], 0);
}

/* Axes known only at run time: those that the declared shape of the result says, if no other set of axes could give it.
 */
static bool declared_axes(struct node *n, struct value *x, int *count, int64_t *axes) {
    dim shape[MAX];
    int rank, ways = 0, sets = 1 << x->type.rank;
    bool keep = node_int(n, "keepdims", 1);
    *count = 0;
    if (!node_declared(n, 0, &rank, shape))
        return node_refuse(n, "axes known only at run time, and no declared shape of the result");
    for (int set = 0; set < sets; set++) {
        int at = 0;
        bool fits = true, idle = false; /* idle: reduces an axis of size 1 */
        for (int i = 0; i < x->type.rank && fits; i++) {
            bool gone = set >> i & 1;
            idle |= gone && keep && dim_is(x->type.shape[i], 1);
            if (gone && !keep) continue;
            fits =
                at < rank && (gone ? dim_is(shape[at], 1) : dim_equal(n->dims, shape[at], x->type.shape[i]) == DIM_YES);
            at++;
        }
        if (!fits || idle || at != rank) continue;
        ways++;
        *count = 0;
        for (int i = 0; i < x->type.rank; i++)
            if (set >> i & 1) axes[(*count)++] = i;
    }
    return ways == 1 || node_refuse(n, "axes known only at run time: %d sets of them give the declared shape", ways);
}

bool onnx_reduce(struct node *n) {
    struct value *x = node_in(n, 0), *y;
    const char *type = n->proto->op_type + strlen("Reduce");
    int64_t axes[MAX];
    int count, since = !strcmp(type, "Sum") ? 13 : 18;
    if (!x) return false;
    int operand = n->version >= since && node_has(n, 1) && !no_axes(n) ? 1 : -1, known;
    const dim *list;
    bool none = node_int(n, "noop_with_empty_axes", 0); /* no axes: no sum, but what is done before and after it */
    if (operand == 1 && !node_known(n, 1, &known, &list)) {
        if (!declared_axes(n, x, &count, axes)) return false;
        none = true;
    } else if (!node_axes(n, operand, x->type.rank, &count, axes)) {
        return false;
    }
    if (count == 0 && !none)
        for (; count < x->type.rank; count++)
            axes[count] = count;
    if (count == 0 && !strcmp(type, "LogSumExp")) return node_out(n, 0, x);
    enum scalar_op kind = !strcmp(type, "Max")    ? SCALAR_max
                          : !strcmp(type, "Min")  ? SCALAR_min
                          : !strcmp(type, "Prod") ? SCALAR_mul
                                                  : SCALAR_add;
    struct type t = x->type;
    struct value *top = NULL;
    if (kind == SCALAR_add && strcmp(type, "Sum") && !(x = node_wide(n, x))) return node_out(n, 0, NULL);
    if (!strcmp(type, "L1")) x = build_1(B, OP_abs, x);
    if (!strcmp(type, "L2") || !strcmp(type, "SumSquare")) x = build_2(B, OP_mul, x, x);
    if (!strcmp(type, "LogSumExp")) { /* from the maximum, so that exp cannot overflow */
        top = build_reduce(B, x, SCALAR_max, count, axes);
        x = build_1(B, OP_exp, build_2(B, OP_sub, x, node_reduce_keep(n, x, SCALAR_max, count, axes)));
    }
    if (t.dtype == YJ_BOOL) x = build_cast(B, x, YJ_I32);
    y = count ? build_reduce(B, x, kind, count, axes) : x;
    if (t.dtype == YJ_BOOL) y = build_cast(B, y, YJ_BOOL);
    if (!strcmp(type, "Mean") && count) y = divide_by_count(n, y, &t, count, axes);
    if (!strcmp(type, "L2")) y = build_1(B, OP_sqrt, y);
    if (!strcmp(type, "LogSum")) y = build_1(B, OP_log, y);
    if (top) y = build_2(B, OP_add, build_1(B, OP_log, y), top);
    y = build_cast(B, y, t.dtype);
    return node_out(n, 0, count ? finish_reduce(n, y, &t, count, axes) : y);
}

bool onnx_arg_reduce(struct node *n) {
    struct value *x = node_in(n, 0);
    int axis;
    struct op *op;
    if (!x || !node_axis(n, node_int(n, "axis", 0), x->type.rank, &axis)) return false;
    const char *kind = !strcmp(n->proto->op_type, "ArgMax") ? "max" : "min";
    struct attr *a =
        attr_int(n->g, "axis", axis,
                 attr_text(n->g, "kind", kind, attr_int(n->g, "last", node_int(n, "select_last_index", 0), NULL)));
    struct value *y = build(B, OP_arg_reduce, 1, &x, a, &op) == YJ_OK ? op->out[0] : NULL;
    int64_t axes[1] = {axis};
    return node_out(n, 0, finish_reduce(n, y, &x->type, 1, axes));
}

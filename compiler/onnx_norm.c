/* SPDX-License-Identifier: Apache-2.0
 *
 * Rarer norms, transposed convolution, Einsum: all by what onnx_nn.c has.
 */
#include "compiler/onnx.h"

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

/* ---- norms */

/* x / (bias + alpha / size * sum of squares over SIZE neighbouring channels)^beta */
bool onnx_lrn(struct node *n) {
    struct value *x = node_in(n, 0);
    struct op *op;
    int64_t size = node_int(n, "size", 0), window[MAX], one[MAX];
    dim low[MAX], high[MAX];
    if (!x) return false;
    int rank = x->type.rank;
    if (rank < 2 || size < 1 || size > 1 << 20) return node_refuse(n, "size %lld, rank %d", (long long)size, rank);
    for (int i = 0; i < rank; i++)
        window[i] = one[i] = 1, low[i] = high[i] = node_c(n, 0);
    window[1] = size;
    low[1] = node_c(n, (size - 1) / 2);
    high[1] = node_c(n, size - 1 - (size - 1) / 2);
    enum yj_dtype dtype = x->type.dtype;
    if (!(x = node_wide(n, x))) return node_out(n, 0, NULL);
    struct value *square = build_2(B, OP_mul, x, x);
    struct attr *a = attr_ints(n->g, "dilation", rank, one, attr_text(n->g, "kind", "add", NULL));
    a = attr_dims(n->g, "high", rank, high, attr_dims(n->g, "low", rank, low, a));
    a = attr_ints(n->g, "window", rank, window, attr_ints(n->g, "strides", rank, one, a));
    struct value *sum = build(B, OP_reduce_window, 1, &square, a, &op) == YJ_OK ? op->out[0] : NULL;
    sum = build_2(B, OP_mul, sum, node_like(n, (float)node_float(n, "alpha", 1e-4f) / (double)size, x));
    sum = build_2(B, OP_add, sum, node_like(n, node_float(n, "bias", 1), x));
    struct value *power = build_2(B, OP_pow, sum, node_like(n, node_float(n, "beta", 0.75), x));
    return node_out_as(n, 0, build_2(B, OP_div, x, power), dtype);
}

static struct value *mean_of(struct node *n, struct value *x, int count, const int64_t *axes) {
    dim elements = node_c(n, 1);
    if (!x) return NULL;
    for (int i = 0; i < count; i++)
        elements = dim_mul(n->dims, elements, x->type.shape[axes[i]]);
    struct value *c = build_broadcast_to(B, node_size(n, elements, x->type.dtype), x->type.rank, x->type.shape);
    return build_2(B, OP_div, node_reduce_keep(n, x, SCALAR_add, count, axes), c);
}

bool onnx_mean_variance(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t axes[MAX] = {0, 2, 3};
    int count;
    if (!x || !node_axes(n, -1, x->type.rank, &count, axes)) return false;
    if (count == 0) count = 3;
    if (axes[count - 1] >= x->type.rank) return node_refuse(n, "needs a rank of 4");
    enum yj_dtype dtype = x->type.dtype;
    x = node_wide(n, x);
    struct value *d = build_2(B, OP_sub, x, mean_of(n, x, count, axes));
    struct value *root = build_1(B, OP_sqrt, mean_of(n, build_2(B, OP_mul, d, d), count, axes));
    return node_out_as(n, 0, build_2(B, OP_div, d, build_2(B, OP_add, root, node_like(n, 1e-9, x))), dtype);
}

/* [N, C, d..] as [N, groups, C / groups, d..]; scale and bias of each channel (opset 21) or group (18). */
bool onnx_group_norm(struct node *n) {
    struct value *x = node_in(n, 0), *scale = node_in(n, 1), *bias = node_in(n, 2);
    int64_t groups = node_int(n, "num_groups", 0), axes[MAX], channel[2] = {1, 2};
    dim wide[MAX];
    if (!x || !scale || !bias) return false;
    struct type t = x->type;
    if (t.rank < 2 || t.rank + 1 > MAX || groups < 1)
        return node_refuse(n, "rank %d, num_groups %lld", t.rank, (long long)groups);
    dim each = dim_div(n->dims, t.shape[1], node_c(n, groups));
    wide[0] = t.shape[0];
    wide[1] = node_c(n, groups);
    wide[2] = each;
    for (int i = 2; i < t.rank; i++)
        wide[i + 1] = t.shape[i];
    for (int i = 2; i <= t.rank; i++)
        axes[i - 2] = i;
    x = build_cast(B, build_reshape(B, x, t.rank + 1, wide), t.dtype == YJ_F64 ? YJ_F64 : YJ_F32);
    struct value *d = build_2(B, OP_sub, x, mean_of(n, x, t.rank - 1, axes));
    struct value *variance = mean_of(n, build_2(B, OP_mul, d, d), t.rank - 1, axes);
    struct value *root =
        build_1(B, OP_sqrt, build_2(B, OP_add, variance, node_like(n, node_float(n, "epsilon", 1e-5f), x)));
    struct value *y = build_cast(B, build_2(B, OP_div, d, root), t.dtype);
    if (!y) return node_out(n, 0, NULL);
    for (int side = 0; side < 2; side++) {
        struct value *p = side ? bias : scale;
        if (p->type.rank != 1) return node_refuse(n, "scale and bias must be vectors");
        bool by_group = n->version < 21 && dim_equal(n->dims, p->type.shape[0], wide[1]) == DIM_YES;
        if (!by_group) p = build_reshape(B, p, 2, wide + 1);
        p = p ? build_broadcast(B, p, y->type.rank, y->type.shape, channel) : NULL;
        y = build_2(B, side ? OP_add : OP_mul, y, p);
    }
    return node_out(n, 0, y ? build_reshape(B, y, t.rank, t.shape) : NULL);
}

bool onnx_lp_norm(struct node *n) {
    struct value *x = node_in(n, 0), *size;
    int64_t p = node_int(n, "p", 2), axes[1];
    int axis;
    if (!x || !node_axis(n, node_int(n, "axis", -1), x->type.rank, &axis)) return false;
    if (p != 1 && p != 2) return node_refuse(n, "p %lld", (long long)p);
    axes[0] = axis;
    enum yj_dtype dtype = x->type.dtype;
    x = node_wide(n, x);
    size = node_reduce_keep(n, p == 1 ? build_1(B, OP_abs, x) : build_2(B, OP_mul, x, x), SCALAR_add, 1, axes);
    if (p == 2) size = build_1(B, OP_sqrt, size);
    struct value *zero = build_2(B, OP_eq, size, node_like(n, 0, x));
    return node_out_as(n, 0, build_2(B, OP_div, x, build_3(B, OP_select, zero, node_like(n, 1, x), size)), dtype);
}

/* ---- transposed convolution: stride - 1 zeros between elements, then a convolution with the turned kernel */

struct transposed {
    int n;
    int64_t size[MAX], stride[MAX], dilation[MAX], low[MAX], high[MAX], extra[MAX];
};

static bool transposed_of(struct node *n, const struct value *x, const struct value *w, struct transposed *t) {
    static const char *const names[] = {"strides", "dilations", "output_padding", "output_shape", "pads"};
    const int64_t *list[5];
    const char *automatic = node_text(n, "auto_pad", "NOTSET");
    t->n = x->type.rank - 2;
    if (t->n < 1 || w->type.rank != x->type.rank)
        return node_refuse(n, "operands of rank %d and %d", x->type.rank, w->type.rank);
    for (int k = 0; k < 5; k++) {
        int given;
        list[k] = node_list(n, names[k], &given);
        if (list[k] && given != (k == 4 ? 2 : 1) * t->n && !(k == 3 && given == t->n + 2))
            return node_refuse(n, "%s has %d elements", names[k], given);
        if (list[k] && k == 3 && given == t->n + 2) list[k] += 2;
        for (int i = 0; list[k] && i < t->n; i++)
            if (list[k][i] < (k < 2 ? 1 : 0) || list[k][i] > 1 << 24)
                return node_refuse(n, "%s holds %lld", names[k], (long long)list[k][i]);
    }
    bool same = !strncmp(automatic, "SAME", 4), upper = !strcmp(automatic, "SAME_UPPER");
    for (int i = 0; i < t->n; i++) {
        int64_t in = 0, total;
        t->stride[i] = list[0] ? list[0][i] : 1;
        t->dilation[i] = list[1] ? list[1][i] : 1;
        t->extra[i] = list[2] ? list[2][i] : 0;
        if (!dim_is_const(w->type.shape[2 + i], &t->size[i]) || t->size[i] < 1 || t->size[i] > 1 << 24)
            return node_refuse(n, "the size of the kernel is not known");
        int64_t extent = (t->size[i] - 1) * t->dilation[i] + 1;
        t->low[i] = list[4] ? list[4][i] : 0;
        t->high[i] = list[4] ? list[4][t->n + i] : 0;
        if (!same && !list[3]) continue;
        if (list[3]) {
            if (!dim_is_const(x->type.shape[2 + i], &in))
                return node_refuse(n, "output_shape with an unknown size of the operand");
            total = t->stride[i] * (in - 1) + t->extra[i] + extent - list[3][i];
        } else {
            total = extent + t->extra[i] - t->stride[i]; /* the result is stride times the operand */
        }
        if (total < 0) t->extra[i] -= total;
        total = max64(total, 0);
        t->low[i] = upper ? total / 2 : total - total / 2;
        t->high[i] = total - t->low[i];
    }
    return true;
}

static struct value *put_zeros(struct node *n, struct value *x, int axis, int64_t stride) {
    dim low[MAX], high[MAX], wide[MAX + 1], joined[MAX], none[1];
    if (stride == 1 || !x) return x;
    int rank = x->type.rank;
    if (rank + 1 > MAX) return NULL;
    for (int i = 0; i <= rank; i++) {
        wide[i] = i <= axis ? x->type.shape[i] : i == axis + 1 ? node_c(n, 1) : x->type.shape[i - 1];
        low[i] = node_c(n, 0);
        high[i] = node_c(n, i == axis + 1 ? stride - 1 : 0);
    }
    memcpy(joined, x->type.shape, sizeof joined);
    joined[axis] = dim_mul(n->dims, joined[axis], node_c(n, stride));
    struct value *zero = build_cast(B, build_scalar_f(B, YJ_F32, 0), x->type.dtype);
    if (zero) zero = build_reshape(B, zero, 0, none);
    struct value *y =
        build_reshape(B, build_pad(B, build_reshape(B, x, rank + 1, wide), zero, low, high), rank, joined);
    return node_cut(n, y, axis, node_c(n, 0), dim_sub(n->dims, joined[axis], node_c(n, stride - 1)));
}

/* [C, M / groups, k..] to [M, C / groups, k..], turned around */
static struct value *turn_kernel(struct node *n, struct value *w, int64_t groups) {
    struct op *op;
    dim split[MAX], joined[MAX];
    int64_t order[MAX], axes[MAX];
    int rank = w->type.rank;
    if (rank + 1 > MAX) return NULL;
    split[0] = node_c(n, groups);
    split[1] = dim_div(n->dims, w->type.shape[0], split[0]);
    for (int i = 1; i < rank; i++)
        split[i + 1] = w->type.shape[i];
    for (int i = 0; i <= rank; i++)
        order[i] = i;
    order[1] = 2;
    order[2] = 1;
    joined[0] = dim_mul(n->dims, split[0], split[2]);
    joined[1] = split[1];
    for (int i = 2; i < rank; i++)
        joined[i] = w->type.shape[i], axes[i - 2] = i;
    w = build_reshape(B, build_transpose(B, build_reshape(B, w, rank + 1, split), order), rank, joined);
    if (!w) return NULL;
    return build(B, OP_reverse, 1, &w, attr_ints(n->g, "axes", rank - 2, axes, NULL), &op) == YJ_OK ? op->out[0] : NULL;
}

bool onnx_conv_transpose(struct node *n) {
    struct value *x = node_in(n, 0), *w = node_in(n, 1);
    struct transposed t = {0};
    struct op *op;
    int64_t groups = node_int(n, "group", 1), ones[MAX];
    dim low[MAX], high[MAX];
    if (!x || !w || !transposed_of(n, x, w, &t)) return false;
    if (groups < 1 || groups > 1 << 24) return node_refuse(n, "group %lld", (long long)groups);
    for (int i = 0; i < t.n; i++) {
        int64_t extent = (t.size[i] - 1) * t.dilation[i];
        ones[i] = 1;
        x = put_zeros(n, x, 2 + i, t.stride[i]);
        low[i] = node_c(n, max64(extent - t.low[i], 0));
        high[i] = node_c(n, max64(extent - t.high[i] + t.extra[i], 0));
        int64_t cut_low = max64(t.low[i] - extent, 0), cut_high = max64(t.high[i] - extent - t.extra[i], 0);
        if (x && (cut_low || cut_high))
            x = node_cut(n, x, 2 + i, node_c(n, cut_low), dim_sub(n->dims, x->type.shape[2 + i], node_c(n, cut_high)));
    }
    struct value *in[2] = {x, turn_kernel(n, w, groups)};
    struct attr *a = attr_ints(n->g, "dilation", t.n, t.dilation, attr_int(n->g, "groups", groups, NULL));
    a = attr_ints(n->g, "strides", t.n, ones, attr_dims(n->g, "low", t.n, low, attr_dims(n->g, "high", t.n, high, a)));
    struct value *y = build(B, OP_convolution, 2, in, a, &op) == YJ_OK ? op->out[0] : NULL;
    if (node_has(n, 2)) y = node_channel_bias(n, y, node_in(n, 2));
    return node_out(n, 0, y);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators on quantized integers: real = (number - zero point) * scale. Products of integers are summed exactly
 * in i32; everything else is f32. Scales may be one number, one for each element of an axis, or one for each block of
 * it.
 */
#include "compiler/onnx.h"

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

/* V, a scalar, a vector along AXIS, or a tensor of blocks, spread to the shape of LIKE. */
static struct value *spread(struct node *n, struct value *v, const struct type *like, int64_t axis) {
    int64_t at[1], block = node_int(n, "block_size", 0);
    int a;
    dim none[1];
    if (!v) return NULL;
    if (v->type.rank == 0 || (v->type.rank == 1 && dim_is(v->type.shape[0], 1)))
        return build_broadcast_to(B, build_reshape(B, v, 0, none), like->rank, like->shape);
    if (!node_axis(n, axis, like->rank, &a)) return NULL;
    if (v->type.rank == 1) {
        at[0] = a;
        return build_broadcast(B, v, like->rank, like->shape, at);
    }
    if (v->type.rank != like->rank || block < 1 || like->rank + 1 > MAX) {
        node_refuse(n, "a scale of rank %d for a tensor of rank %d", v->type.rank, like->rank);
        return NULL;
    }
    dim wide[MAX + 1], joined[MAX];
    int64_t axes[MAX];
    for (int i = 0; i <= like->rank; i++)
        wide[i] = i <= a ? v->type.shape[i] : i == a + 1 ? node_c(n, block) : v->type.shape[i - 1];
    for (int i = 0; i < like->rank; i++)
        axes[i] = i <= a ? i : i + 1;
    memcpy(joined, v->type.shape, sizeof joined);
    joined[a] = dim_mul(n->dims, joined[a], node_c(n, block));
    struct value *y = build_reshape(B, build_broadcast(B, v, like->rank + 1, wide, axes), like->rank, joined);
    return node_cut(n, y, a, node_c(n, 0), like->shape[a]);
}

/* round(x) + zero point, within the range of TO */
static struct value *saturate(struct node *n, struct value *x, struct value *zero, enum yj_dtype to) {
    if (!x) return NULL;
    if (dtype_kind(to) == 'f') return build_cast(B, x, to); /* fp8 saturates by itself, and has no zero point */
    x = build_1(B, OP_round_nearest_even, x);
    if (zero) x = build_2(B, OP_add, x, build_cast(B, zero, YJ_F32));
    int bits = 8 * (int)yj_dtype_bytes(to);
    bool is_signed = dtype_kind(to) == 'i';
    if (bits > 16 || to == YJ_BOOL) {
        node_refuse(n, "quantizing to %s is not supported", yj_dtype_name(to));
        return NULL;
    }
    double low = is_signed ? -(double)(1 << (bits - 1)) : 0,
           high = is_signed ? (double)((1 << (bits - 1)) - 1) : (double)((1 << bits) - 1);
    x = build_2(B, OP_min, build_2(B, OP_max, x, node_like(n, low, x)), node_like(n, high, x));
    return build_cast(B, x, to);
}

bool onnx_quantize(struct node *n) {
    struct value *x = node_in(n, 0), *scale = node_in(n, 1), *zero = node_has(n, 2) ? node_in(n, 2) : NULL;
    int64_t axis = node_int(n, "axis", 1);
    enum yj_dtype to = zero ? zero->type.dtype : YJ_U8;
    int wanted = (int)node_int(n, "output_dtype", 0);
    if (!x || !scale) return false;
    if (wanted && !dtype_from_onnx(wanted, &to)) return node_refuse(n, "element type %d", wanted);
    x = build_cast(B, x, YJ_F32);
    if (!x) return node_out(n, 0, NULL);
    struct value *y = build_2(B, OP_div, x, spread(n, build_cast(B, scale, YJ_F32), &x->type, axis));
    y = saturate(n, y, zero ? spread(n, zero, &x->type, axis) : NULL, to);
    return !n->refused && node_out(n, 0, y);
}

bool onnx_dequantize(struct node *n) {
    struct value *x = node_in(n, 0), *scale = node_in(n, 1), *zero = node_has(n, 2) ? node_in(n, 2) : NULL;
    int64_t axis = node_int(n, "axis", 1);
    if (!x || !scale) return false;
    struct type t = x->type;
    enum yj_dtype middle = dtype_kind(t.dtype) == 'f' ? YJ_F32 : YJ_I32;
    x = build_cast(B, x, middle);
    if (zero) x = build_2(B, OP_sub, x, spread(n, build_cast(B, zero, middle), &t, axis));
    struct value *y = build_2(B, OP_mul, build_cast(B, x, YJ_F32), spread(n, build_cast(B, scale, YJ_F32), &t, axis));
    return !n->refused && node_out(n, 0, build_cast(B, y, scale->type.dtype));
}

/* To u8 by the range of the data, which is made to hold 0. */
bool onnx_dynamic_quantize(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t all[MAX];
    if (!x) return false;
    if (x->type.dtype != YJ_F32) return node_refuse(n, "the operand must be f32");
    for (int i = 0; i < x->type.rank; i++)
        all[i] = i;
    struct value *low = build_reduce(B, x, SCALAR_min, x->type.rank, all),
                 *high = build_reduce(B, x, SCALAR_max, x->type.rank, all);
    low = build_2(B, OP_min, low, node_like(n, 0, low));
    high = build_2(B, OP_max, high, node_like(n, 0, high));
    struct value *scale = build_2(B, OP_div, build_2(B, OP_sub, high, low), node_like(n, 255, low));
    scale = build_3(B, OP_select, build_2(B, OP_eq, scale, node_like(n, 0, scale)), node_like(n, 1, scale), scale);
    struct value *zero = saturate(n, build_2(B, OP_div, build_1(B, OP_neg, low), scale), NULL, YJ_U8);
    if (!zero) return node_out(n, 0, NULL);
    struct value *y = build_2(B, OP_div, x, build_broadcast_to(B, scale, x->type.rank, x->type.shape));
    y = saturate(n, y, build_broadcast_to(B, zero, x->type.rank, x->type.shape), YJ_U8);
    return node_out(n, 0, y) && node_out(n, 1, scale) && node_out(n, 2, zero);
}

/* Operand I less its zero point, operand Z (perhaps absent), along AXIS, as i32. */
static struct value *centred(struct node *n, int i, int z, int64_t axis) {
    struct value *x = node_in(n, i);
    if (!x) return NULL;
    struct type t = x->type;
    x = build_cast(B, x, YJ_I32);
    if (!node_has(n, z)) return x;
    if (t.rank == 1) axis = 0;
    return build_2(B, OP_sub, x, spread(n, build_cast(B, node_in(n, z), YJ_I32), &t, axis));
}

bool onnx_matmul_integer(struct node *n) {
    struct value *y = node_matmul(n, centred(n, 0, 2, -2), centred(n, 1, 3, -1));
    return !n->refused && node_out(n, 0, y);
}

bool onnx_conv_integer(struct node *n) {
    struct value *y = node_convolve(n, centred(n, 0, 2, 1), centred(n, 1, 3, 0));
    return !n->refused && node_out(n, 0, y);
}

/* SUM (i32) * a_scale * b_scale / y_scale to the type of the zero point, operand 7. B's scale goes along AXIS. */
static bool requantize(struct node *n, struct value *sum, int64_t axis) {
    struct value *a = node_in(n, 1), *b = node_in(n, 4), *y = node_in(n, 6), *zero = node_in(n, 7);
    if (!sum || !a || !b || !y || !zero) return n->refused ? false : node_out(n, 0, NULL);
    const struct type *t = &sum->type;
    struct value *s =
        build_2(B, OP_mul, spread(n, build_cast(B, a, YJ_F32), t, -2), spread(n, build_cast(B, b, YJ_F32), t, axis));
    s = build_2(B, OP_div, s, spread(n, build_cast(B, y, YJ_F32), t, axis));
    struct value *r = build_2(B, OP_mul, build_cast(B, sum, YJ_F32), s);
    r = saturate(n, r, spread(n, zero, t, axis), zero->type.dtype);
    return !n->refused && node_out(n, 0, r);
}

bool onnx_qlinear_matmul(struct node *n) {
    struct value *y = node_matmul(n, centred(n, 0, 2, -2), centred(n, 3, 5, -1));
    return !n->refused && requantize(n, y, -1);
}

bool onnx_qlinear_conv(struct node *n) {
    struct value *y = node_convolve(n, centred(n, 0, 2, 1), centred(n, 3, 5, 0));
    if (node_has(n, 8) && y) y = node_channel_bias(n, y, node_in(n, 8));
    return !n->refused && requantize(n, y, 1);
}

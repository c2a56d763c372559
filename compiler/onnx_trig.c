/* SPDX-License-Identifier: Apache-2.0
 *
 * Inverse trigonometric and hyperbolic functions, and Shrink. All arcs are one series: atan(t) for |t| < 0.2, reached
 * by atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))), which halves an angle.
 */
#include "compiler/onnx.h"
#include <math.h>

#define B (&n->b)

static struct value *add(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_add, a, b);
}
static struct value *sub(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_sub, a, b);
}
static struct value *mul(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_mul, a, b);
}
static struct value *divide(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_div, a, b);
}
static struct value *root(struct node *n, struct value *a) {
    return build_1(B, OP_sqrt, a);
}

static struct value *half_angle(struct node *n, struct value *t) {
    struct value *one = node_like(n, 1, t);
    return divide(n, t, add(n, one, root(n, add(n, one, mul(n, t, t)))));
}

/* t + sign t^3 / 3 + t^5 / 5 + sign t^7 / 7 ..: atan with sign -1, atanh with sign 1. Good to the last bits for |t| <
 * 0.2. */
static struct value *series(struct node *n, struct value *t, double sign) {
    if (!t) return NULL;
    int terms = t->type.dtype == YJ_F64 ? 12 : 6;
    struct value *square = mul(n, t, t), *sum = node_like(n, (terms & 1 ? sign : 1) / (2 * terms + 1), t);
    for (int k = terms - 1; k >= 0; k--)
        sum = add(n, mul(n, sum, square), node_like(n, (k & 1 ? sign : 1) / (2 * k + 1), t));
    return mul(n, t, sum);
}

/* |t| <= 1 */
static struct value *atan_small(struct node *n, struct value *t) {
    struct value *y = series(n, half_angle(n, half_angle(n, t)), -1);
    return mul(n, y, node_like(n, 4, t));
}

bool onnx_atan(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!x) return false;
    struct value *size = build_1(B, OP_abs, x), *one = node_like(n, 1, x), *large = build_2(B, OP_gt, size, one);
    struct value *y = atan_small(n, build_3(B, OP_select, large, divide(n, one, size), size));
    y = build_3(B, OP_select, large, sub(n, node_like(n, 1.5707963267948966, x), y), y);
    return node_out_as(n, 0, build_3(B, OP_select, build_2(B, OP_lt, x, node_like(n, 0, x)), build_1(B, OP_neg, y), y),
                       given->type.dtype);
}

/* asin(x) = 2 atan(x / (1 + sqrt(1 - x^2))); acos(x) = 4 atan(sin / (1 + cos)) of half the angle */
bool onnx_asin(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!x) return false;
    struct value *one = node_like(n, 1, x), *half = node_like(n, 0.5, x);
    if (!strcmp(n->proto->op_type, "Asin")) {
        struct value *c = root(n, mul(n, sub(n, one, x), add(n, one, x)));
        return node_out_as(n, 0, mul(n, atan_small(n, divide(n, x, add(n, one, c))), node_like(n, 2, x)),
                           given->type.dtype);
    }
    struct value *s = root(n, mul(n, sub(n, one, x), half)), *c = root(n, mul(n, add(n, one, x), half));
    return node_out_as(n, 0, mul(n, atan_small(n, divide(n, s, add(n, one, c))), node_like(n, 4, x)),
                       given->type.dtype);
}

/* 2 atanh(t) = log((1 + t) / (1 - t)), by the series near 0 */
static struct value *twice_atanh(struct node *n, struct value *t) {
    struct value *one = node_like(n, 1, t), *far = build_1(B, OP_log, divide(n, add(n, one, t), sub(n, one, t)));
    struct value *small = build_2(B, OP_lt, build_1(B, OP_abs, t), node_like(n, 0.1, t));
    return build_3(B, OP_select, small, mul(n, series(n, t, 1), node_like(n, 2, t)), far);
}

bool onnx_atanh(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!x) return false;
    return node_out_as(n, 0, mul(n, twice_atanh(n, x), node_like(n, 0.5, x)), given->type.dtype);
}

/* asinh: log(|x| + sqrt(x^2 + 1)); near 0, 2 atanh(half its tangent); far out the square would overflow. acosh: with
 * t = x - 1, log(1 + t + sqrt(t (x + 1))). */
bool onnx_asinh(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!x) return false;
    bool cosine = !strcmp(n->proto->op_type, "Acosh");
    struct value *a = build_1(B, OP_abs, x), *one = node_like(n, 1, x), *edge = node_like(n, 1e6, x);
    struct value *far = add(n, build_1(B, OP_log, a), node_like(n, 0.6931471805599453, x));
    struct value *near_by = build_2(B, OP_min, a, edge), *y;
    if (cosine) {
        struct value *t = sub(n, near_by, one); /* NaN below 1 */
        y = node_log_plus_1(n, add(n, t, root(n, mul(n, t, add(n, near_by, one)))));
        y = build_3(B, OP_select, build_2(B, OP_lt, a, edge), y, far);
        return node_out_as(n, 0, build_3(B, OP_select, build_2(B, OP_ge, x, one), y, root(n, sub(n, x, one))),
                           given->type.dtype);
    }
    y = twice_atanh(n, divide(n, near_by, add(n, one, root(n, add(n, one, mul(n, near_by, near_by))))));
    struct value *plain = build_1(B, OP_log, add(n, near_by, root(n, add(n, one, mul(n, near_by, near_by)))));
    y = build_3(B, OP_select, build_2(B, OP_lt, a, node_like(n, 0.1, a)), y, plain);
    y = build_3(B, OP_select, build_2(B, OP_lt, a, edge), y, far);
    return node_out_as(n, 0, build_3(B, OP_select, build_2(B, OP_lt, x, node_like(n, 0, x)), build_1(B, OP_neg, y), y),
                       given->type.dtype);
}

/* x + bias below -lambd, x - bias above it, 0 between */
bool onnx_shrink(struct node *n) {
    struct value *x = node_in(n, 0);
    if (!x) return false;
    double edge = node_float(n, "lambd", 0.5), bias = node_float(n, "bias", 0);
    if (dtype_kind(x->type.dtype) != 'f' && (edge < 0 || bias != trunc(bias) || fabs(bias) > 0x1p53))
        return node_refuse(n, "lambd %g and bias %g of %s", edge, bias, yj_dtype_name(x->type.dtype));
    struct value *zero = node_like(n, 0, x);
    struct value *y =
        build_3(B, OP_select, build_2(B, OP_gt, x, node_like(n, edge, x)), sub(n, x, node_like(n, bias, x)), zero);
    return node_out(
        n, 0, build_3(B, OP_select, build_2(B, OP_lt, x, node_like(n, -edge, x)), add(n, x, node_like(n, bias, x)), y));
}

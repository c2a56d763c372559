/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators that work element by element.
 */
#include "compiler/onnx.h"
#include <float.h>
#include <math.h>

#define B (&n->b)

/* Operators that are one core op after broadcasting. */
static const struct {
    const char *type;
    enum op_kind kind;
} direct[] = {
    {"Add", OP_add},
    {"Sub", OP_sub},
    {"Mul", OP_mul},
    {"Div", OP_div},
    {"And", OP_and},
    {"Or", OP_or},
    {"Xor", OP_xor},
    {"BitwiseAnd", OP_and},
    {"BitwiseOr", OP_or},
    {"BitwiseXor", OP_xor},
    {"Equal", OP_eq},
    {"Greater", OP_gt},
    {"GreaterOrEqual", OP_ge},
    {"Less", OP_lt},
    {"LessOrEqual", OP_le},
    {"Max", OP_max},
    {"Min", OP_min},
    {"Sum", OP_add},
    {"Mean", OP_add},
    {"Abs", OP_abs},
    {"Neg", OP_neg},
    {"Sign", OP_sign},
    {"Floor", OP_floor},
    {"Ceil", OP_ceil},
    {"Round", OP_round_nearest_even},
    {"Sqrt", OP_sqrt},
    {"Exp", OP_exp},
    {"Log", OP_log},
    {"Tanh", OP_tanh},
    {"Erf", OP_erf},
    {"Sin", OP_sin},
    {"Cos", OP_cos},
    {"Sigmoid", OP_sigmoid},
    {"Not", OP_not},
    {"BitwiseNot", OP_not},
};

static enum op_kind kind_of(const struct node *n) {
    for (size_t i = 0; i < COUNT(direct); i++)
        if (!strcmp(direct[i].type, n->proto->op_type)) return direct[i].kind;
    return OP_COUNT;
}

static bool is_float(const struct value *v) {
    return v && dtype_kind(v->type.dtype) == 'f';
}

bool onnx_unary(struct node *n) {
    struct value *x = node_in(n, 0);
    if (!x) return false;
    if (kind_of(n) == OP_abs && dtype_kind(x->type.dtype) == 'u') return node_out(n, 0, x);
    if (kind_of(n) == OP_sign && !is_float(x) && dtype_kind(x->type.dtype) == 'u')
        return node_out(n, 0, build_2(B, OP_min, x, node_like(n, 1, x)));
    return node_out(n, 0, build_1(B, kind_of(n), x));
}

bool onnx_binary(struct node *n) {
    struct value *a = node_in(n, 0), *b = node_in(n, 1);
    return node_broadcast_2(n, &a, &b) && node_out(n, 0, build_2(B, kind_of(n), a, b));
}

bool onnx_variadic(struct node *n) {
    struct value *y = node_in(n, 0);
    bool mean = !strcmp(n->proto->op_type, "Mean");
    if (!y) return false;
    enum yj_dtype dtype = y->type.dtype;
    if (mean) y = node_wide(n, y);
    for (int i = 1; i < n->n_in && y; i++) {
        struct value *x = mean ? node_wide(n, node_in(n, i)) : node_in(n, i);
        if (!node_broadcast_2(n, &y, &x)) return false;
        y = build_2(B, kind_of(n), y, x);
    }
    if (mean) y = build_2(B, OP_div, y, node_like(n, n->n_in, y));
    return node_out_as(n, 0, y, dtype);
}

/* x to the power 0.5: what is its own double (zeros and infinities) loses its sign, which sqrt minds. */
static struct value *square_root(struct node *n, struct value *x) {
    struct value *edge = build_2(B, OP_eq, build_2(B, OP_add, x, x), x);
    return build_1(B, OP_sqrt, build_3(B, OP_select, edge, build_1(B, OP_abs, x), x));
}

/* The exponent may have another type; squares, cubes and roots are products. */
bool onnx_pow(struct node *n) {
    struct value *x = node_in(n, 0), *y = node_in(n, 1);
    double exponent;
    if (!x || !y) return false;
    if (node_scalar(n, 1, &exponent) && y->type.rank <= 1 && x->type.rank >= y->type.rank) {
        if (exponent == 1) return node_out(n, 0, x);
        if (exponent == 2) return node_out(n, 0, build_2(B, OP_mul, x, x));
        if (exponent == 3) return node_out(n, 0, build_2(B, OP_mul, build_2(B, OP_mul, x, x), x));
        if (exponent == 0.5 && is_float(x)) return node_out(n, 0, square_root(n, x));
    }
    enum yj_dtype dtype = x->type.dtype;
    if (!is_float(x)) { /* integers through f64: exact below 2^53 */
        x = build_cast(B, x, YJ_F64);
        y = build_cast(B, y, YJ_F64);
    } else {
        y = build_cast(B, y, dtype);
    }
    if (!node_broadcast_2(n, &x, &y)) return false;
    return node_out(n, 0, build_cast(B, build_2(B, OP_pow, x, y), dtype));
}

/* fmod = 0 takes the sign of the divisor. */
bool onnx_mod(struct node *n) {
    struct value *a = node_in(n, 0), *b = node_in(n, 1);
    if (!node_broadcast_2(n, &a, &b)) return false;
    struct value *r = build_2(B, OP_rem, a, b);
    if (node_int(n, "fmod", 0) || (r && dtype_kind(r->type.dtype) == 'u')) return node_out(n, 0, r);
    struct value *zero = node_like(n, 0, a);
    struct value *other = build_2(B, OP_xor, build_2(B, OP_lt, r, zero), build_2(B, OP_lt, b, zero));
    struct value *fix = build_2(B, OP_and, build_2(B, OP_ne, r, zero), other);
    return node_out(n, 0, build_3(B, OP_select, fix, build_2(B, OP_add, r, b), r));
}

bool onnx_bit_shift(struct node *n) {
    struct value *a = node_in(n, 0), *b = node_in(n, 1);
    const char *direction = node_text(n, "direction", "");
    return node_broadcast_2(n, &a, &b) &&
           node_out(n, 0, build_2(B, !strcmp(direction, "LEFT") ? OP_shift_left : OP_shift_right, a, b));
}

bool onnx_identity(struct node *n) {
    return node_out(n, 0, node_in(n, 0));
}

/* Inference: the identity, and a mask of all true. */
bool onnx_dropout(struct node *n) {
    struct value *x = node_in(n, 0);
    const struct data *data;
    const struct type *type;
    node_passes_over(n, 1); /* the ratio is of training */
    if (node_has(n, 2)) {
        if (!node_constant(n, 2, &data, &type)) return node_refuse(n, "training_mode must be a constant");
        if (*(const char *)data->bytes) return node_refuse(n, "training_mode is not supported");
    }
    if (x && node_wants(n, 1)) {
        dim none[1];
        struct value *yes = build_constant(B, YJ_BOOL, 0, none, "\1", 1);
        node_out(n, 1, build_broadcast_to(B, yes, x->type.rank, x->type.shape));
    }
    return node_out(n, 0, x);
}

static struct value *cast_to(struct node *n, struct value *x, enum yj_dtype to) {
    if (to == YJ_BOOL && x && x->type.dtype != YJ_BOOL) return build_2(B, OP_ne, x, node_like(n, 0, x));
    return build_cast(B, x, to);
}

bool onnx_cast(struct node *n) {
    enum yj_dtype to;
    if (!dtype_from_onnx((int)node_int(n, "to", 0), &to))
        return node_refuse(n, "element type %d is not one that Yunjin has", (int)node_int(n, "to", 0));
    return node_out(n, 0, cast_to(n, node_in(n, 0), to));
}

bool onnx_cast_like(struct node *n) {
    struct value *like = node_in(n, 1);
    return like && node_out(n, 0, cast_to(n, node_in(n, 0), like->type.dtype));
}

bool onnx_where(struct node *n) {
    struct value *c = node_in(n, 0), *x = node_in(n, 1), *y = node_in(n, 2);
    return node_broadcast_2(n, &x, &y) && node_broadcast_2(n, &c, &x) && node_broadcast_2(n, &c, &y) &&
           node_out(n, 0, build_3(B, OP_select, c, x, y));
}

/* Limits are attributes before opset 11, operands (perhaps absent) since. */
bool onnx_clip(struct node *n) {
    struct value *x = node_in(n, 0), *low = NULL, *high = NULL;
    if (!x) return false;
    if (n->version < 11) {
        if (node_attribute(n, "min")) low = node_like(n, node_float(n, "min", 0), x);
        if (node_attribute(n, "max")) high = node_like(n, node_float(n, "max", 0), x);
    } else {
        if (node_has(n, 1)) low = build_broadcast_to(B, node_in(n, 1), x->type.rank, x->type.shape);
        if (node_has(n, 2)) high = build_broadcast_to(B, node_in(n, 2), x->type.rank, x->type.shape);
    }
    if (low) x = build_2(B, OP_max, x, low);
    if (high) x = build_2(B, OP_min, x, high);
    return node_out(n, 0, x);
}

bool onnx_reciprocal(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0, build_2(B, OP_div, node_like(n, 1, x), x));
}

bool onnx_relu(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0, build_2(B, OP_max, x, node_like(n, 0, x)));
}

/* x where x >= 0 (NaN: the other branch), else OTHER */
static struct value *above_zero(struct node *n, struct value *x, struct value *other) {
    return build_3(B, OP_select, build_2(B, OP_ge, x, node_like(n, 0, x)), x, other);
}

bool onnx_leaky_relu(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0,
                    above_zero(n, x, build_2(B, OP_mul, x, node_like(n, (float)node_float(n, "alpha", 0.01f), x))));
}

bool onnx_prelu(struct node *n) {
    struct value *x = node_in(n, 0), *slope = node_in(n, 1);
    if (!x || !slope) return false;
    slope = build_broadcast_to(B, slope, x->type.rank, x->type.shape);
    return node_out(n, 0, above_zero(n, x, build_2(B, OP_mul, x, slope)));
}

/* exp(x) - 1 = tanh(x / 2) (exp(x) + 1): nothing cancels near 0 */
static struct value *exp_minus_1(struct node *n, struct value *x) {
    struct value *t = build_1(B, OP_tanh, build_2(B, OP_mul, x, node_like(n, 0.5, x)));
    return build_2(B, OP_mul, t, build_2(B, OP_add, build_1(B, OP_exp, x), node_like(n, 1, x)));
}

/* Elu, Selu and Celu: gamma * (x > 0 ? x : alpha * (exp(x / scale) - 1)) */
bool onnx_elu(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!given) return false;
    bool selu = !strcmp(n->proto->op_type, "Selu"), celu = !strcmp(n->proto->op_type, "Celu");
    double alpha = node_float(n, "alpha", selu ? 1.67326319217681884765625 : 1),
           gamma = selu ? node_float(n, "gamma", 1.05070102214813232421875) : 1;
    struct value *inner = celu ? build_2(B, OP_div, x, node_like(n, alpha, x)) : x;
    struct value *y = build_3(B, OP_select, build_2(B, OP_gt, x, node_like(n, 0, x)), x,
                              build_2(B, OP_mul, exp_minus_1(n, inner), node_like(n, alpha, x)));
    return node_out_as(n, 0, selu ? build_2(B, OP_mul, y, node_like(n, gamma, x)) : y, given->type.dtype);
}

static struct value *hard_sigmoid(struct node *n, struct value *x, double alpha, double beta) {
    struct value *y = build_2(B, OP_add, build_2(B, OP_mul, x, node_like(n, alpha, x)), node_like(n, beta, x));
    return build_2(B, OP_min, build_2(B, OP_max, y, node_like(n, 0, x)), node_like(n, 1, x));
}

bool onnx_hard_sigmoid(struct node *n) {
    return node_out(n, 0, hard_sigmoid(n, node_in(n, 0), node_float(n, "alpha", 0.2f), node_float(n, "beta", 0.5)));
}

bool onnx_hard_swish(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0, build_2(B, OP_mul, x, hard_sigmoid(n, x, 1.0f / 6, 0.5)));
}

struct value *node_log_plus_1(struct node *n, struct value *e) {
    struct value *one = node_like(n, 1, e), *u = build_2(B, OP_add, e, one);
    struct value *lost = build_2(B, OP_sub, e, build_2(B, OP_sub, u, one));
    return build_2(B, OP_add, build_1(B, OP_log, u), build_2(B, OP_div, lost, u));
}

/* log(1 + exp(-|x|)) + max(x, 0): no overflow */
static struct value *softplus(struct node *n, struct value *x) {
    struct value *e = build_1(B, OP_exp, build_1(B, OP_neg, build_1(B, OP_abs, x)));
    return build_2(B, OP_add, node_log_plus_1(n, e), build_2(B, OP_max, x, node_like(n, 0, x)));
}

bool onnx_softplus(struct node *n) {
    struct value *x = node_in(n, 0);
    return x && node_out_as(n, 0, softplus(n, node_wide(n, x)), x->type.dtype);
}

bool onnx_mish(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    return given && node_out_as(n, 0, build_2(B, OP_mul, x, build_1(B, OP_tanh, softplus(n, x))), given->type.dtype);
}

bool onnx_softsign(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0, build_2(B, OP_div, x, build_2(B, OP_add, build_1(B, OP_abs, x), node_like(n, 1, x))));
}

bool onnx_thresholded_relu(struct node *n) {
    struct value *x = node_in(n, 0);
    struct value *above = build_2(B, OP_gt, x, node_like(n, node_float(n, "alpha", 1), x));
    return node_out(n, 0, build_3(B, OP_select, above, x, node_like(n, 0, x)));
}

bool onnx_gelu(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given), *t;
    if (!given) return false;
    if (!strcmp(node_text(n, "approximate", "none"), "tanh")) {
        struct value *cube = build_2(B, OP_mul, build_2(B, OP_mul, x, x), x);
        t = build_2(B, OP_add, x, build_2(B, OP_mul, cube, node_like(n, 0.044715, x)));
        t = build_1(B, OP_tanh, build_2(B, OP_mul, t, node_like(n, 0.7978845608028654, x)));
    } else {
        t = build_1(B, OP_erf, build_2(B, OP_mul, x, node_like(n, 0.7071067811865476, x)));
    }
    struct value *half = build_2(B, OP_mul, x, node_like(n, 0.5, x));
    return node_out_as(n, 0, build_2(B, OP_mul, half, build_2(B, OP_add, t, node_like(n, 1, x))), given->type.dtype);
}

bool onnx_is_nan(struct node *n) {
    struct value *x = node_in(n, 0);
    return node_out(n, 0, build_2(B, OP_ne, x, x));
}

bool onnx_is_inf(struct node *n) {
    struct value *x = node_in(n, 0);
    struct value *plus = build_2(B, OP_eq, x, node_like(n, INFINITY, x)),
                 *minus = build_2(B, OP_eq, x, node_like(n, -INFINITY, x));
    bool up = node_int(n, "detect_positive", 1), down = node_int(n, "detect_negative", 1);
    if (!up && !down) return node_out(n, 0, build_2(B, OP_and, plus, minus));
    return node_out(n, 0, up && down ? build_2(B, OP_or, plus, minus) : up ? plus : minus);
}

/* cosh(x) from e = exp(|x| / 2), whose square overflows only with the result; sinh(x) = tanh(x) cosh(x), which does not
 * cancel near 0. */
bool onnx_hyperbolic(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    if (!given) return false;
    struct value *a = build_1(B, OP_abs, x), *half = node_like(n, 0.5, x);
    struct value *e = build_1(B, OP_exp, build_2(B, OP_mul, a, half));
    struct value *y = build_2(B, OP_add, build_2(B, OP_mul, build_2(B, OP_mul, e, half), e),
                              build_2(B, OP_mul, build_1(B, OP_exp, build_1(B, OP_neg, a)), half));
    if (!strcmp(n->proto->op_type, "Sinh")) y = build_2(B, OP_mul, build_1(B, OP_tanh, x), y);
    return node_out_as(n, 0, y, given->type.dtype);
}

bool onnx_tan(struct node *n) {
    struct value *given = node_in(n, 0), *x = node_wide(n, given);
    return given &&
           node_out_as(n, 0, build_2(B, OP_div, build_1(B, OP_sin, x), build_1(B, OP_cos, x)), given->type.dtype);
}

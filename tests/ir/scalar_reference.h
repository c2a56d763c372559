/* SPDX-License-Identifier: Apache-2.0
 *
 * The scalar ops a second time, as plain as can be: floats in double, integers in 64 bits. What graph_ops.c compares
 * with.
 */
#ifndef TESTS_IR_SCALAR_REFERENCE_H
#define TESTS_IR_SCALAR_REFERENCE_H

#include "tests/ir/graph_cases.h"

static uint64_t of_number(enum yj_dtype wide, double d) {
    return wide == YJ_F64 ? f64_bits(d) : f32_bits((float)d);
}

static double number(enum yj_dtype wide, uint64_t v) {
    return wide == YJ_F64 ? bits_f64(v) : bits_f32(v);
}

static double ref_float(enum op_kind op, double a, double b, double c) {
    switch ((int)op) {
    case OP_add:
        return a + b;
    case OP_sub:
        return a - b;
    case OP_mul:
        return a * b;
    case OP_fma:
        return fma(a, b, c);
    case OP_div:
        return a / b;
    case OP_rem:
        return fmod(a, b);
    case OP_neg:
        return -a;
    case OP_abs:
        return fabs(a);
    case OP_sign:
        return isnan(a) ? a : a > 0 ? 1 : a < 0 ? -1 : a;
    case OP_min:
        return isnan(a) || isnan(b) ? NAN : a < b || (a == b && signbit(a)) ? a : b;
    case OP_max:
        return isnan(a) || isnan(b) ? NAN : a > b || (a == b && !signbit(a)) ? a : b;
    case OP_floor:
        return floor(a);
    case OP_ceil:
        return ceil(a);
    case OP_trunc:
        return trunc(a);
    case OP_round_nearest_even:
        return rint(a);
    case OP_sqrt:
        return sqrt(a);
    case OP_exp:
        return exp(a);
    case OP_log:
        return log(a);
    case OP_tanh:
        return tanh(a);
    case OP_erf:
        return erf(a);
    case OP_sin:
        return sin(a);
    case OP_cos:
        return cos(a);
    case OP_sigmoid:
        return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
    case OP_pow:
        return pow(a, b);
    default:
        fail_msg("no reference for %s on floats", op_info[op].name);
        return 0;
    }
}

static uint64_t cut(enum yj_dtype dtype, uint64_t v) { /* to the width of the type, as element_load gives it */
    uint64_t bytes = 0;
    element_store(&bytes, dtype, 0, v);
    return element_load(&bytes, dtype, 0);
}

static uint64_t ref_int(enum op_kind op, enum yj_dtype dtype, uint64_t a, uint64_t b) {
    bool is_signed = dtype_kind(dtype) == 'i';
    int bits = dtype == YJ_BOOL ? 1 : (int)yj_dtype_bytes(dtype) * 8;
    int64_t s = (int64_t)a, t = (int64_t)b;
    bool less = is_signed ? s < t : a < b;
    switch ((int)op) {
    case OP_add:
        return a + b;
    case OP_sub:
        return a - b;
    case OP_mul:
        return a * b;
    case OP_div:
        return !b ? 0 : is_signed ? (t == -1 ? 0 - a : (uint64_t)(s / t)) : a / b;
    case OP_rem:
        return !b ? 0 : is_signed ? (t == -1 ? 0 : (uint64_t)(s % t)) : a % b;
    case OP_neg:
        return 0 - a;
    case OP_abs:
        return s < 0 ? 0 - a : a;
    case OP_sign:
        return (uint64_t)((s > 0) - (s < 0));
    case OP_min:
        return less ? a : b;
    case OP_max:
        return less ? b : a;
    case OP_and:
        return a & b;
    case OP_or:
        return a | b;
    case OP_xor:
        return a ^ b;
    case OP_not:
        return dtype == YJ_BOOL ? !a : ~a;
    case OP_shift_left:
        return b >= (uint64_t)bits ? 0 : a << b;
    case OP_shift_right:
        return is_signed ? (uint64_t)(s >> (b >= (uint64_t)bits ? 63 : b)) : b >= (uint64_t)bits ? 0 : a >> b;
    default:
        fail_msg("no reference for %s on integers", op_info[op].name);
        return 0;
    }
}

static bool ref_compare(enum op_kind op, enum yj_dtype wide, uint64_t a, uint64_t b, bool *result) {
    char kind = dtype_kind(wide);
    double x = number(wide, a), y = number(wide, b);
    bool lt = kind == 'f' ? x < y : kind == 'i' ? (int64_t)a < (int64_t)b : a < b, eq = kind == 'f' ? x == y : a == b;
    bool gt = kind == 'f' ? x > y : !lt && !eq;
    if (op < OP_eq || op > OP_ge) return false;
    *result = op == OP_eq   ? eq
              : op == OP_ne ? !eq
              : op == OP_lt ? lt
              : op == OP_le ? lt || eq
              : op == OP_gt ? gt
                            : gt || eq;
    return true;
}

static uint64_t ref_scalar(enum op_kind op, enum yj_dtype wide, uint64_t a, uint64_t b, uint64_t c) {
    bool result;
    if (op == OP_select) return a ? b : c;
    if (ref_compare(op, wide, a, b, &result)) return result;
    if (dtype_kind(wide) != 'f') return cut(wide, ref_int(op, wide, a, b));
    return of_number(wide, ref_float(op, number(wide, a), number(wide, b), number(wide, c)));
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What each scalar op and each cast means, on bits in a 64-bit word. The one idea: every op is written once for f32 and
 * once for f64 and for 64-bit integers (signed, unsigned) wrapped to their width; f16, bf16 and fp8 go through f32.
 */
#include "ir/kernel.h"
#include "ir/math.h"

#include <math.h>

const struct scalar_info scalar_info[SCALAR_COUNT] = {
#define SCALAR(name, arity, result, types, doc) {#name, arity, result, types, doc},
#include "ir/scalar.def"
#undef SCALAR
};

bool scalar_find(const char *name, enum scalar_op *op) {
    for (int i = 0; i < SCALAR_COUNT; i++) {
        if (strcmp(scalar_info[i].name, name) != 0) continue;
        *op = (enum scalar_op)i;
        return true;
    }
    return false;
}

static float f32_of(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    float f;
    memcpy(&f, &low, sizeof f);
    return f;
}

static uint64_t of_f32(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double f64_of(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint64_t of_f64(double f) {
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Narrow floats as f32: exact. */
static float narrow_to_f32(enum yj_dtype dtype, uint64_t bits) {
    switch (dtype) {
    case YJ_F16:
        return f16_to_f32((uint16_t)bits);
    case YJ_BF16:
        return bf16_to_f32((uint16_t)bits);
    case YJ_E4M3:
        return e4m3_to_f32((uint8_t)bits);
    case YJ_E5M2:
        return e5m2_to_f32((uint8_t)bits);
    default:
        return f32_of(bits);
    }
}

static uint64_t narrow_from_f32(enum yj_dtype dtype, float f) {
    switch (dtype) {
    case YJ_F16:
        return f32_to_f16(f);
    case YJ_BF16:
        return f32_to_bf16(f);
    case YJ_E4M3:
        return f32_to_e4m3(f);
    case YJ_E5M2:
        return f32_to_e5m2(f);
    default:
        return of_f32(f);
    }
}

static int bits_of(enum yj_dtype dtype) {
    return (int)yj_dtype_bytes(dtype) * 8;
}

/* Integers live sign- or zero-extended to 64 bits while they are computed on, and are cut to their width in a word. */
static int64_t int_of(enum yj_dtype dtype, uint64_t bits) {
    int spare = 64 - bits_of(dtype);
    return dtype_kind(dtype) == 'i' ? (int64_t)(bits << spare) >> spare : (int64_t)(bits << spare >> spare);
}

static uint64_t of_int(enum yj_dtype dtype, uint64_t value) {
    int spare = 64 - bits_of(dtype);
    return value << spare >> spare;
}

/* --- floats: one body for both widths --- */

#define FLOAT_OPS(T, name, LIBM)                                                                                       \
    static T name##_min(T a, T b) {                                                                                    \
        if (isnan(a) || isnan(b)) return (T)NAN;                                                                       \
        return a == b ? (signbit(a) ? a : b) : a < b ? a : b;                                                          \
    }                                                                                                                  \
    static T name##_max(T a, T b) {                                                                                    \
        if (isnan(a) || isnan(b)) return (T)NAN;                                                                       \
        return a == b ? (signbit(a) ? b : a) : a > b ? a : b;                                                          \
    }                                                                                                                  \
    static T name##_sign(T a) {                                                                                        \
        return a > 0 ? (T)1 : a < 0 ? (T)-1 : a;                                                                       \
    }                                                                                                                  \
    static bool name##_compare(enum scalar_op op, T a, T b) {                                                          \
        switch (op) {                                                                                                  \
        case SCALAR_eq:                                                                                                \
            return a == b;                                                                                             \
        case SCALAR_ne:                                                                                                \
            return a != b;                                                                                             \
        case SCALAR_lt:                                                                                                \
            return a < b;                                                                                              \
        case SCALAR_le:                                                                                                \
            return a <= b;                                                                                             \
        case SCALAR_gt:                                                                                                \
            return a > b;                                                                                              \
        default:                                                                                                       \
            return a >= b;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    static T name##_eval(enum scalar_op op, T a, T b, T c) {                                                           \
        switch (op) {                                                                                                  \
        case SCALAR_add:                                                                                               \
            return a + b;                                                                                              \
        case SCALAR_sub:                                                                                               \
            return a - b;                                                                                              \
        case SCALAR_mul:                                                                                               \
            return a * b;                                                                                              \
        case SCALAR_fma:                                                                                               \
            return LIBM(fma)(a, b, c);                                                                                 \
        case SCALAR_div:                                                                                               \
            return a / b;                                                                                              \
        case SCALAR_rem:                                                                                               \
            return LIBM(fmod)(a, b);                                                                                   \
        case SCALAR_neg:                                                                                               \
            return -a;                                                                                                 \
        case SCALAR_abs:                                                                                               \
            return LIBM(fabs)(a);                                                                                      \
        case SCALAR_sign:                                                                                              \
            return name##_sign(a);                                                                                     \
        case SCALAR_min:                                                                                               \
            return name##_min(a, b);                                                                                   \
        case SCALAR_max:                                                                                               \
            return name##_max(a, b);                                                                                   \
        case SCALAR_floor:                                                                                             \
            return LIBM(floor)(a);                                                                                     \
        case SCALAR_ceil:                                                                                              \
            return LIBM(ceil)(a);                                                                                      \
        case SCALAR_trunc:                                                                                             \
            return LIBM(trunc)(a);                                                                                     \
        case SCALAR_round_nearest_even:                                                                                \
            return LIBM(nearbyint)(a);                                                                                 \
        case SCALAR_sqrt:                                                                                              \
            return LIBM(sqrt)(a);                                                                                      \
        default:                                                                                                       \
            return name##_math(op, a, b);                                                                              \
        }                                                                                                              \
    }

#define LIBM_F32(name) name##f
#define LIBM_F64(name) name

FLOAT_OPS(float, f32, LIBM_F32)
FLOAT_OPS(double, f64, LIBM_F64)

/* --- integers --- */

static uint64_t divide(enum scalar_op op, bool is_signed, int64_t a, int64_t b) {
    bool quotient = op == SCALAR_div;
    if (b == 0) return 0;
    if (!is_signed) return quotient ? (uint64_t)a / (uint64_t)b : (uint64_t)a % (uint64_t)b;
    if (b == -1) return quotient ? 0 - (uint64_t)a : 0;
    return (uint64_t)(quotient ? a / b : a % b);
}

static uint64_t shift(enum scalar_op op, bool is_signed, int bits, int64_t a, int64_t b) {
    bool out = b < 0 || b >= bits;
    if (op == SCALAR_shift_left) return out ? 0 : (uint64_t)a << b;
    if (is_signed) return (uint64_t)(a >> (out ? 63 : b));
    return out ? 0 : (uint64_t)a >> b;
}

static bool int_compare(enum scalar_op op, bool is_signed, int64_t a, int64_t b) {
    bool less = is_signed ? a < b : (uint64_t)a < (uint64_t)b;
    switch (op) {
    case SCALAR_eq:
        return a == b;
    case SCALAR_ne:
        return a != b;
    case SCALAR_lt:
        return less;
    case SCALAR_le:
        return less || a == b;
    case SCALAR_gt:
        return !less && a != b;
    default:
        return !less;
    }
}

/* Gives bits beyond the width too: the caller cuts them. */
static uint64_t int_eval(enum scalar_op op, bool is_signed, int bits, int64_t a, int64_t b) {
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    bool less = is_signed ? a < b : x < y;
    switch (op) {
    case SCALAR_add:
        return x + y;
    case SCALAR_sub:
        return x - y;
    case SCALAR_mul:
        return x * y;
    case SCALAR_div:
    case SCALAR_rem:
        return divide(op, is_signed, a, b);
    case SCALAR_neg:
        return 0 - x;
    case SCALAR_abs:
        return a < 0 ? 0 - x : x;
    case SCALAR_sign:
        return (uint64_t)((a > 0) - (a < 0));
    case SCALAR_min:
        return less ? x : y;
    case SCALAR_max:
        return less ? y : x;
    case SCALAR_and:
        return x & y;
    case SCALAR_or:
        return x | y;
    case SCALAR_xor:
        return x ^ y;
    case SCALAR_not:
        return ~x;
    case SCALAR_shift_left:
    case SCALAR_shift_right:
        return shift(op, is_signed, bits, a, b);
    default:
        return 0;
    }
}

static uint64_t bool_eval(enum scalar_op op, bool a, bool b) {
    switch (op) {
    case SCALAR_min:
    case SCALAR_and:
        return a && b;
    case SCALAR_max:
    case SCALAR_or:
        return a || b;
    case SCALAR_xor:
        return a != b;
    case SCALAR_not:
        return !a;
    default:
        return 0;
    }
}

/* --- the two entry points --- */

uint64_t scalar_eval(enum scalar_op op, enum yj_dtype dtype, const uint64_t *args) {
    const struct scalar_info *info = &scalar_info[op];
    if (op == SCALAR_select) return args[0] & 1 ? args[1] : args[2];
    uint64_t zero = 0, a = args[0], b = info->arity > 1 ? args[1] : zero, c = info->arity > 2 ? args[2] : zero;
    char kind = dtype_kind(dtype);
    bool compare = info->result == 'b';
    if (dtype == YJ_F64)
        return compare ? f64_compare(op, f64_of(a), f64_of(b)) : of_f64(f64_eval(op, f64_of(a), f64_of(b), f64_of(c)));
    if (kind == 'f') {
        float x = narrow_to_f32(dtype, a), y = narrow_to_f32(dtype, b), z = narrow_to_f32(dtype, c);
        return compare ? f32_compare(op, x, y) : narrow_from_f32(dtype, f32_eval(op, x, y, z));
    }
    bool is_signed = kind == 'i';
    int64_t x = int_of(dtype, a), y = int_of(dtype, b);
    if (compare) return int_compare(op, is_signed, x, y);
    if (kind == 'b') return bool_eval(op, x & 1, y & 1);
    return of_int(dtype, int_eval(op, is_signed, bits_of(dtype), x, y));
}

/* Towards zero, saturating, NaN to 0. */
static uint64_t int_from_f64(enum yj_dtype to, double f) {
    int bits = bits_of(to);
    bool is_signed = dtype_kind(to) == 'i';
    double most = ldexp(1, bits - is_signed), least = is_signed ? -most : 0;
    uint64_t ones = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    if (isnan(f)) return 0;
    if (f >= most) return is_signed ? ones >> 1 : ones;
    if (f <= least) return is_signed ? (ones >> 1) + 1 : 0;
    return of_int(to, is_signed ? (uint64_t)(int64_t)f : (uint64_t)f);
}

uint64_t scalar_cast(enum yj_dtype to, enum yj_dtype from, uint64_t bits) {
    char source = dtype_kind(from), target = dtype_kind(to);
    if (source == 'f') {
        double f = from == YJ_F64 ? f64_of(bits) : (double)narrow_to_f32(from, bits);
        if (from == to) return bits;
        if (target == 'b') return f != 0;
        if (target == 'f') return to == YJ_F64 ? of_f64(f) : narrow_from_f32(to, (float)f);
        return int_from_f64(to, f);
    }
    int64_t i = source == 'b' ? (int64_t)(bits & 1) : int_of(from, bits);
    if (target == 'b') return i != 0;
    if (target == 'i' || target == 'u') return of_int(to, (uint64_t)i);
    bool is_unsigned = from == YJ_U64;
    if (to == YJ_F64) return of_f64(is_unsigned ? (double)(uint64_t)i : (double)i);
    return narrow_from_f32(to, is_unsigned ? (float)(uint64_t)i : (float)i);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Transcendentals. math_expand.h (f32) and math_expand64.h (f64) are included twice: once their operations are C
 * arithmetic (f32_math, f64_math), once they build kernel expressions (kernel_expand_math), so the interpreters and
 * compiled kernels agree in every bit.
 */
#include "ir/math.h"

#include <math.h>

double math_ulp(enum scalar_op op, enum yj_dtype dtype) {
    switch (op) {
#define MATH(name, arity, ulp, ulp64, doc)                                                                             \
    case SCALAR_##name:                                                                                                \
        return dtype == YJ_F64 ? ulp64 : ulp;
#include "ir/math.def"
#undef MATH
    default:
        return 0;
    }
}

bool math_has(enum scalar_op op) {
    switch (op) {
#define MATH(name, arity, ulp, ulp64, doc) case SCALAR_##name:
#include "ir/math.def"
#undef MATH
        return true;
    default:
        return false;
    }
}

/* --- as numbers. Integers wrap, shifts out of range give 0 or the sign, as scalar.def says. --- */

#define EACH_INT(M)                                                                                                    \
    M(i32, int32_t, uint32_t) M(u32, uint32_t, uint32_t) M(i64, int64_t, uint64_t) M(u64, uint64_t, uint64_t)
#define INT_OPS(name, T, U)                                                                                            \
    static inline T add_##name(T a, T b) {                                                                             \
        return (T)((U)a + (U)b);                                                                                       \
    }                                                                                                                  \
    static inline T sub_##name(T a, T b) {                                                                             \
        return (T)((U)a - (U)b);                                                                                       \
    }                                                                                                                  \
    static inline T mul_##name(T a, T b) {                                                                             \
        return (T)((U)a * (U)b);                                                                                       \
    }                                                                                                                  \
    static inline T shift_left_##name(T a, T b) {                                                                      \
        return (U)b < sizeof(T) * 8 ? (T)((U)a << b) : 0;                                                              \
    }                                                                                                                  \
    static inline T shift_right_##name(T a, T b) {                                                                     \
        return (U)b < sizeof(T) * 8 ? (T)(a >> b) : (T)(a >> (sizeof(T) * 8 - 1) >> 1);                                \
    }
EACH_INT(INT_OPS)
static inline float add_f32(float a, float b) {
    return a + b;
}
static inline float sub_f32(float a, float b) {
    return a - b;
}
static inline float mul_f32(float a, float b) {
    return a * b;
}
static inline float i32_as_f32(int32_t i) {
    float f;
    memcpy(&f, &i, sizeof f);
    return f;
}
static inline int32_t f32_as_i32(float f) {
    int32_t i;
    memcpy(&i, &f, sizeof i);
    return i;
}
static inline int64_t f32_to_i64(float f) { /* never NaN here */
    return f >= 0x1p63f ? INT64_MAX : f <= -0x1p63f ? INT64_MIN : (int64_t)f;
}
static inline double add_f64(double a, double b) {
    return a + b;
}
static inline double sub_f64(double a, double b) {
    return a - b;
}
static inline double mul_f64(double a, double b) {
    return a * b;
}
static inline double i64_as_f64(int64_t i) {
    double f;
    memcpy(&f, &i, sizeof f);
    return f;
}
static inline int64_t f64_as_i64(double f) {
    int64_t i;
    memcpy(&i, &f, sizeof i);
    return i;
}
static inline int64_t f64_to_i64(double f) { /* never NaN here */
    return f >= 0x1p63 ? INT64_MAX : f <= -0x1p63 ? INT64_MIN : (int64_t)f;
}
#define BY_TYPE(op, a)                                                                                                 \
    _Generic((a), float                                                                                                \
             : op##_f32, double                                                                                        \
             : op##_f64, int32_t                                                                                       \
             : op##_i32, uint32_t                                                                                      \
             : op##_u32, int64_t                                                                                       \
             : op##_i64, uint64_t                                                                                      \
             : op##_u64)
#define INT_BY_TYPE(op, a)                                                                                             \
    _Generic((a), int32_t : op##_i32, uint32_t : op##_u32, int64_t : op##_i64, uint64_t : op##_u64)

typedef float number_F32;
typedef double number_F64;
typedef int32_t number_I32;
typedef uint32_t number_U32;
typedef int64_t number_I64;
typedef uint64_t number_U64;
typedef bool number_BOOL;

#define FUNCTION1(name, x) static float number_##name(float x)
#define FUNCTION2(name, x, y) static float number_##name(float x, float y)
#define FUNCTION_CIRCLE(x, turn) static float number_circle(float x, int turn)
#define FUNCTION1_64(name, x) static double number64_##name(double x)
#define FUNCTION2_64(name, x, y) static double number64_##name(double x, double y)
#define FUNCTION_CIRCLE_64(x, turn) static double number64_circle(double x, int turn)
#define CALL2(name, x, y) number_##name(x, y)
#define CALL2_64(name, x, y) number64_##name(x, y)
#define CALL_CIRCLE_64(x, turn) number64_circle(x, turn)
#define CALL_CIRCLE(x, turn) number_circle(x, turn)
#define LET(T, name, value) const number_##T name = (value)
#define F(value) ((float)(value))
#define D(value) ((double)(value))
#define I(value) ((int32_t)(value))
#define U(value) ((uint32_t)(value))
#define L(value) ((int64_t)(value))
#define W(value) ((uint64_t)(value))
#define ADD(a, b) BY_TYPE(add, a)(a, b)
#define SUB(a, b) BY_TYPE(sub, a)(a, b)
#define MUL(a, b) BY_TYPE(mul, a)(a, b)
#define FMA(a, b, c) _Generic((a), float : fmaf, double : fma)(a, b, c)
#define DIV(a, b) ((a) / (b))
#define REM(a, b) ((b) ? (a) % (b) : 0)
#define NEG(a) (-(a))
#define ABS(a) _Generic((a), float : fabsf, double : fabs)(a)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define TRUNC(a) _Generic((a), float : truncf, double : trunc)(a)
#define SELECT(p, a, b) ((p) ? (a) : (b))
#define LT(a, b) ((a) < (b))
#define EQ(a, b) ((a) == (b))
#define NE(a, b) ((a) != (b))
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))
#define XOR(a, b) ((a) ^ (b))
#define NOT(a) (!(a))
#define SHIFT_LEFT(a, b) INT_BY_TYPE(shift_left, a)(a, b)
#define SHIFT_RIGHT(a, b) INT_BY_TYPE(shift_right, a)(a, b)
#define AS_I32(a) f32_as_i32(a)
#define AS_F32(a) i32_as_f32(a)
#define AS_I64(a) f64_as_i64(a)
#define AS_F64(a) i64_as_f64(a)
#define TO_F32(a) ((float)(a))
#define TO_F64(a) ((double)(a))
#define TO_I32(a) ((int32_t)(a))
#define TO_U32(a) ((uint32_t)(a))
#define TO_U64(a) ((uint64_t)(a))
#define TO_I64(a) _Generic((a), float : f32_to_i64(a), double : f64_to_i64(a), default : (int64_t)(a))

#include "ir/math_expand.h"
#include "ir/math_expand64.h"

float f32_math(enum scalar_op op, float a, float b) {
    switch (op) {
#define CALL_ARITY_1(name) number_##name(a)
#define CALL_ARITY_2(name) number_##name(a, b)
#define MATH(name, arity, ulp, ulp64, doc)                                                                             \
    case SCALAR_##name:                                                                                                \
        return CALL_ARITY_##arity(name);
#include "ir/math.def"
#undef MATH
    default:
        return NAN;
    }
}

double f64_math(enum scalar_op op, double a, double b) {
    switch (op) {
#define CALL64_ARITY_1(name) number64_##name(a)
#define CALL64_ARITY_2(name) number64_##name(a, b)
#define MATH(name, arity, ulp, ulp64, doc)                                                                             \
    case SCALAR_##name:                                                                                                \
        return CALL64_ARITY_##arity(name);
#include "ir/math.def"
#undef MATH
    default:
        return NAN;
    }
}

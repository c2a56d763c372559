/* SPDX-License-Identifier: Apache-2.0
 *
 * math_expand.h and math_expand64.h a second time: here their operations build kernel expressions, and every LET is a
 * let statement before the statement that used the transcendental.
 */
#include "ir/math.h"

#include <math.h>

struct math {
    struct kernel *k;
    struct cursor at;
};

#define FUNCTION1(name, x) static struct expr *build_##name(struct math *to, struct expr *x)
#define FUNCTION2(name, x, y) static struct expr *build_##name(struct math *to, struct expr *x, struct expr *y)
#define FUNCTION_CIRCLE(x, turn) static struct expr *build_circle(struct math *to, struct expr *x, int turn)
#define FUNCTION1_64(name, x) static struct expr *build64_##name(struct math *to, struct expr *x)
#define FUNCTION2_64(name, x, y) static struct expr *build64_##name(struct math *to, struct expr *x, struct expr *y)
#define FUNCTION_CIRCLE_64(x, turn) static struct expr *build64_circle(struct math *to, struct expr *x, int turn)
#define CALL2(name, x, y) build_##name(to, x, y)
#define CALL2_64(name, x, y) build64_##name(to, x, y)
#define CALL_CIRCLE_64(x, turn) build64_circle(to, x, turn)
#define CALL_CIRCLE(x, turn) build_circle(to, x, turn)
#define LET(T, name, value) struct expr *name = stmt_let(to->k, &to->at, #name, value)
#define F(value) expr_const_f(to->k, YJ_F32, (double)(value))
#define D(value) expr_const_f(to->k, YJ_F64, (double)(value))
#define I(value) expr_const_i(to->k, YJ_I32, value)
#define U(value) expr_const_i(to->k, YJ_U32, value)
#define L(value) expr_const_i(to->k, YJ_I64, value)
#define W(value) expr_const_i(to->k, YJ_U64, value)
#define OP1(op, a) expr_op(to->k, SCALAR_##op, a, NULL, NULL)
#define OP2(op, a, b) expr_op(to->k, SCALAR_##op, a, b, NULL)
#define OP3(op, a, b, c) expr_op(to->k, SCALAR_##op, a, b, c)
#define ADD(a, b) OP2(add, a, b)
#define SUB(a, b) OP2(sub, a, b)
#define MUL(a, b) OP2(mul, a, b)
#define FMA(a, b, c) OP3(fma, a, b, c)
#define DIV(a, b) OP2(div, a, b)
#define REM(a, b) OP2(rem, a, b)
#define NEG(a) OP1(neg, a)
#define ABS(a) OP1(abs, a)
#define MIN(a, b) OP2(min, a, b)
#define MAX(a, b) OP2(max, a, b)
#define TRUNC(a) OP1(trunc, a)
#define SELECT(p, a, b) OP3(select, p, a, b)
#define LT(a, b) OP2(lt, a, b)
#define EQ(a, b) OP2(eq, a, b)
#define NE(a, b) OP2(ne, a, b)
#define AND(a, b) OP2(and, a, b)
#define OR(a, b) OP2(or, a, b)
#define XOR(a, b) OP2(xor, a, b)
#define NOT(a) OP1(not, a)
#define SHIFT_LEFT(a, b) OP2(shift_left, a, b)
#define SHIFT_RIGHT(a, b) OP2(shift_right, a, b)
#define AS_I32(a) expr_bitcast(to->k, YJ_I32, a)
#define AS_F32(a) expr_bitcast(to->k, YJ_F32, a)
#define AS_I64(a) expr_bitcast(to->k, YJ_I64, a)
#define AS_F64(a) expr_bitcast(to->k, YJ_F64, a)
#define TO_F64(a) expr_cast(to->k, YJ_F64, a)
#define TO_F32(a) expr_cast(to->k, YJ_F32, a)
#define TO_I32(a) expr_cast(to->k, YJ_I32, a)
#define TO_U32(a) expr_cast(to->k, YJ_U32, a)
#define TO_U64(a) expr_cast(to->k, YJ_U64, a)
#define TO_I64(a) expr_cast(to->k, YJ_I64, a)

#include "ir/math_expand.h"
#include "ir/math_expand64.h"

struct expr *math_build(struct kernel *k, struct cursor *at, enum scalar_op op, struct expr *a, struct expr *b) {
    struct math math = {k, *at}, *to = &math;
    bool wide = a->dtype == YJ_F64;
    LET(F32, x, a);
    struct expr *y = b ? stmt_let(k, &math.at, "y", b) : NULL, *result = NULL;
    switch (op) {
#define CALL_ARITY_1(name) (wide ? build64_##name(to, x) : build_##name(to, x))
#define CALL_ARITY_2(name) (wide ? build64_##name(to, x, y) : build_##name(to, x, y))
#define MATH(name, arity, ulp, ulp64, doc)                                                                             \
    case SCALAR_##name:                                                                                                \
        result = CALL_ARITY_##arity(name);                                                                             \
        break;
#include "ir/math.def"
#undef MATH
    default:
        break;
    }
    *at = math.at;
    return result;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar ops as LLVM instructions, for scalars and fixed vectors alike, with exactly the meaning of scalar.def on every
 * chip. The one idea: an instruction of LLVM is used where all backends have it; elsewhere the op is spelled out in
 * comparisons, selects and integer bits, so that no object ever calls a library.
 */
#include "compiler/emit_llvm.h"

#include <math.h>

/* --- types and constants --- */

LLVMTypeRef ll_type_int(struct emit *e, int bits) {
    return LLVMIntTypeInContext(e->context, (unsigned)bits);
}

LLVMTypeRef ll_type_value(struct emit *e, enum yj_dtype dtype) {
    if (dtype == YJ_F32) return LLVMFloatTypeInContext(e->context);
    if (dtype == YJ_F64) return LLVMDoubleTypeInContext(e->context);
    return ll_type_int(e, dtype == YJ_BOOL ? 1 : (int)yj_dtype_bytes(dtype) * 8);
}

LLVMTypeRef ll_type_memory(struct emit *e, enum yj_dtype dtype) {
    return dtype == YJ_BOOL ? ll_type_int(e, 8) : ll_type_value(e, dtype);
}

int ll_value_lanes(LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(type) : 0;
}

LLVMTypeRef ll_type_like(LLVMTypeRef element, LLVMValueRef v) {
    int lanes = ll_value_lanes(v);
    return lanes ? LLVMVectorType(element, (unsigned)lanes) : element;
}

static LLVMTypeRef element_type(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

static LLVMValueRef const_splat(LLVMTypeRef type, LLVMValueRef element) {
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return element;
    LLVMValueRef all[64 * 8];
    unsigned n = LLVMGetVectorSize(type);
    for (unsigned i = 0; i < n && i < COUNT(all); i++)
        all[i] = element;
    return LLVMConstVector(all, n);
}

LLVMValueRef ll_const_int(LLVMTypeRef type, int64_t value) {
    return const_splat(type, LLVMConstInt(element_type(type), (unsigned long long)value, 1));
}

LLVMValueRef ll_const_float(LLVMTypeRef type, double value) {
    return const_splat(type, LLVMConstReal(element_type(type), value));
}

LLVMValueRef ll_const_iota(struct emit *e, int bits, int lanes) {
    LLVMValueRef all[64 * 8];
    for (int i = 0; i < lanes && i < (int)COUNT(all); i++)
        all[i] = LLVMConstInt(ll_type_int(e, bits), (unsigned)i, 0);
    return LLVMConstVector(all, (unsigned)lanes);
}

LLVMValueRef ll_value_splat(struct emit *e, LLVMValueRef v, int lanes) {
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(v), (unsigned)lanes);
    if (LLVMIsConstant(v)) return const_splat(type, v);
    LLVMValueRef one = LLVMBuildInsertElement(e->b, LLVMGetPoison(type), v, ll_const_int(ll_type_int(e, 64), 0), "");
    LLVMTypeRef zeros = LLVMVectorType(ll_type_int(e, 32), (unsigned)lanes);
    return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(type), LLVMConstNull(zeros), "");
}

LLVMValueRef ll_value_widen(struct emit *e, LLVMValueRef v) {
    return ll_value_lanes(v) ? v : ll_value_splat(e, v, e->lanes);
}

void ll_value_match(struct emit *e, int n, LLVMValueRef *v) {
    int lanes = 0;
    for (int i = 0; i < n; i++)
        lanes = ll_value_lanes(v[i]) ? ll_value_lanes(v[i]) : lanes;
    for (int i = 0; i < n && lanes; i++)
        if (!ll_value_lanes(v[i])) v[i] = ll_value_splat(e, v[i], lanes);
}

LLVMValueRef ll_call_intrinsic(struct emit *e, const char *name, int n_types, LLVMTypeRef *types, int n,
                               LLVMValueRef *args) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) {
        emit_refuse(e, YJ_ERR_INTERNAL, "this LLVM has no %s", name);
        return LLVMGetPoison(n ? LLVMTypeOf(args[0]) : ll_type_int(e, 64));
    }
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, (size_t)n_types);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, types, (size_t)n_types);
    return LLVMBuildCall2(e->b, type, f, args, (unsigned)n, "");
}

static LLVMValueRef call_same(struct emit *e, const char *name, int n, LLVMValueRef *args) {
    LLVMTypeRef type = LLVMTypeOf(args[0]);
    return ll_call_intrinsic(e, name, 1, &type, n, args);
}

static int float_bits(LLVMTypeRef element) {
    LLVMTypeKind kind = LLVMGetTypeKind(element);
    return kind == LLVMDoubleTypeKind ? 64 : kind == LLVMHalfTypeKind ? 16 : 32;
}

LLVMValueRef ll_value_bits(struct emit *e, LLVMValueRef v) {
    int bits = float_bits(element_type(LLVMTypeOf(v)));
    return LLVMBuildBitCast(e->b, v, ll_type_like(ll_type_int(e, bits), v), "");
}

LLVMValueRef ll_value_float(struct emit *e, LLVMValueRef v) {
    bool wide = LLVMGetIntTypeWidth(element_type(LLVMTypeOf(v))) == 64;
    return LLVMBuildBitCast(e->b, v, ll_type_like(ll_type_value(e, wide ? YJ_F64 : YJ_F32), v), "");
}

/* --- floats --- */

struct float_form {
    int bits, mantissa;
    int64_t sign, infinity;
};

static struct float_form float_form(enum yj_dtype dtype) {
    if (dtype == YJ_F64) return (struct float_form){64, 52, INT64_MIN, INT64_C(0x7ff) << 52};
    return (struct float_form){32, 23, INT64_C(0x80000000), INT64_C(0x7f800000)};
}

static LLVMValueRef float_abs(struct emit *e, LLVMValueRef v) {
    return call_same(e, "llvm.fabs", 1, &v);
}

static LLVMValueRef copy_sign(struct emit *e, enum yj_dtype dtype, LLVMValueRef magnitude, LLVMValueRef sign) {
    struct float_form form = float_form(dtype);
    LLVMValueRef m = ll_value_bits(e, magnitude), s = ll_value_bits(e, sign);
    LLVMTypeRef type = LLVMTypeOf(m);
    m = LLVMBuildAnd(e->b, m, ll_const_int(type, ~form.sign), "");
    s = LLVMBuildAnd(e->b, s, ll_const_int(type, form.sign), "");
    return ll_value_float(e, LLVMBuildOr(e->b, m, s, ""));
}

/* NaN if either is NaN, -0 below +0: IEEE 754-2019 minimum and maximum. LLVM 19 has no LoongArch code for them. */
static LLVMValueRef float_min_max(struct emit *e, bool max, LLVMValueRef *v) {
    if (e->arch != ARCH_LOONGARCH) return call_same(e, max ? "llvm.maximum" : "llvm.minimum", 2, v);
    LLVMValueRef first = LLVMBuildFCmp(e->b, max ? LLVMRealOGT : LLVMRealOLT, v[0], v[1], "");
    LLVMValueRef equal = LLVMBuildFCmp(e->b, LLVMRealOEQ, v[0], v[1], "");
    LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, v[0], v[1], "");
    LLVMValueRef a = ll_value_bits(e, v[0]), b = ll_value_bits(e, v[1]);
    LLVMValueRef zeros = ll_value_float(e, max ? LLVMBuildAnd(e->b, a, b, "") : LLVMBuildOr(e->b, a, b, ""));
    LLVMValueRef r = LLVMBuildSelect(e->b, first, v[0], v[1], "");
    r = LLVMBuildSelect(e->b, equal, zeros, r, "");
    return LLVMBuildSelect(e->b, nan, ll_const_float(LLVMTypeOf(r), NAN), r, "");
}

/* Rounding spelled out, for chips without the instructions: below 2^mantissa a number is rounded by the integer unit or
 * by adding 2^mantissa; above, and for NaN, it is an integer already. The sign is put back for zeros. */
static LLVMValueRef float_round(struct emit *e, enum scalar_op op, enum yj_dtype dtype, LLVMValueRef v) {
    const char *name = op == SCALAR_floor   ? "llvm.floor"
                       : op == SCALAR_ceil  ? "llvm.ceil"
                       : op == SCALAR_trunc ? "llvm.trunc"
                                            : "llvm.roundeven";
    if (e->arch == ARCH_X86 || e->arch == ARCH_ARM) return call_same(e, name, 1, &v);
    struct float_form form = float_form(dtype);
    LLVMTypeRef type = LLVMTypeOf(v), ints = LLVMTypeOf(ll_value_bits(e, v));
    LLVMValueRef limit = ll_const_float(type, ldexp(1, form.mantissa)), size = float_abs(e, v), r;
    if (op == SCALAR_round_nearest_even) {
        r = LLVMBuildFSub(e->b, LLVMBuildFAdd(e->b, size, limit, ""), limit, "");
        r = copy_sign(e, dtype, r, v);
    } else {
        r = LLVMBuildSIToFP(e->b, LLVMBuildFPToSI(e->b, v, ints, ""), type, "");
        LLVMValueRef one = ll_const_float(type, 1), zero = ll_const_float(type, 0), off;
        if (op == SCALAR_floor) {
            off = LLVMBuildFCmp(e->b, LLVMRealOGT, r, v, "");
            r = LLVMBuildFSub(e->b, r, LLVMBuildSelect(e->b, off, one, zero, ""), "");
        } else if (op == SCALAR_ceil) {
            off = LLVMBuildFCmp(e->b, LLVMRealOLT, r, v, "");
            r = LLVMBuildFAdd(e->b, r, LLVMBuildSelect(e->b, off, one, zero, ""), "");
        }
        r = copy_sign(e, dtype, r, v);
    }
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, size, limit, ""), r, v, "");
}

static LLVMValueRef float_sign(struct emit *e, enum yj_dtype dtype, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef one = copy_sign(e, dtype, ll_const_float(type, 1), v);
    LLVMValueRef counts = LLVMBuildFCmp(e->b, LLVMRealONE, v, ll_const_float(type, 0), "");
    return LLVMBuildSelect(e->b, counts, one, v, "");
}

/* --- integers --- */

/* Division by zero gives 0 (the quotient and the remainder), MIN / -1 gives MIN: the divisor is replaced by 1 before.
 */
static LLVMValueRef int_divide(struct emit *e, bool rem, bool is_signed, LLVMValueRef *v) {
    LLVMTypeRef type = LLVMTypeOf(v[0]);
    LLVMValueRef zero = ll_const_int(type, 0), one = ll_const_int(type, 1);
    LLVMValueRef by_zero = LLVMBuildICmp(e->b, LLVMIntEQ, v[1], zero, ""), unsafe = by_zero;
    if (is_signed) {
        int bits = (int)LLVMGetIntTypeWidth(element_type(type));
        LLVMValueRef least = ll_const_int(type, (int64_t)(UINT64_MAX << (bits - 1)));
        LLVMValueRef overflow = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, v[0], least, ""),
                                             LLVMBuildICmp(e->b, LLVMIntEQ, v[1], ll_const_int(type, -1), ""), "");
        unsafe = LLVMBuildOr(e->b, unsafe, overflow, "");
    }
    LLVMValueRef by = LLVMBuildSelect(e->b, unsafe, one, v[1], "");
    if (rem) return is_signed ? LLVMBuildSRem(e->b, v[0], by, "") : LLVMBuildURem(e->b, v[0], by, "");
    LLVMValueRef q = is_signed ? LLVMBuildSDiv(e->b, v[0], by, "") : LLVMBuildUDiv(e->b, v[0], by, "");
    return LLVMBuildSelect(e->b, by_zero, zero, q, "");
}

static LLVMValueRef int_shift(struct emit *e, enum scalar_op op, bool is_signed, LLVMValueRef *v) {
    LLVMTypeRef type = LLVMTypeOf(v[0]);
    int bits = (int)LLVMGetIntTypeWidth(element_type(type));
    LLVMValueRef inside = LLVMBuildICmp(e->b, LLVMIntULT, v[1], ll_const_int(type, bits), "");
    LLVMValueRef by = LLVMBuildSelect(e->b, inside, v[1], ll_const_int(type, bits - 1), "");
    if (op == SCALAR_shift_right && is_signed) return LLVMBuildAShr(e->b, v[0], by, "");
    LLVMValueRef r = op == SCALAR_shift_left ? LLVMBuildShl(e->b, v[0], by, "") : LLVMBuildLShr(e->b, v[0], by, "");
    return LLVMBuildSelect(e->b, inside, r, ll_const_int(type, 0), "");
}

static LLVMValueRef int_sign(struct emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef zero = ll_const_int(type, 0);
    LLVMValueRef negative =
        LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, v, zero, ""), ll_const_int(type, -1), zero, "");
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, v, zero, ""), ll_const_int(type, 1), negative, "");
}

/* --- the table --- */

static LLVMValueRef compare(struct emit *e, enum scalar_op op, char kind, LLVMValueRef *v) {
    static const LLVMRealPredicate real[] = {LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT,
                                             LLVMRealOLE, LLVMRealOGT, LLVMRealOGE};
    static const LLVMIntPredicate whole[] = {LLVMIntEQ, LLVMIntNE, LLVMIntSLT, LLVMIntSLE, LLVMIntSGT, LLVMIntSGE};
    static const LLVMIntPredicate natural[] = {LLVMIntEQ, LLVMIntNE, LLVMIntULT, LLVMIntULE, LLVMIntUGT, LLVMIntUGE};
    int row = (int)op - (int)SCALAR_eq;
    if (kind == 'f') return LLVMBuildFCmp(e->b, real[row], v[0], v[1], "");
    return LLVMBuildICmp(e->b, kind == 'i' ? whole[row] : natural[row], v[0], v[1], "");
}

static LLVMValueRef float_op(struct emit *e, enum scalar_op op, enum yj_dtype dtype, LLVMValueRef *v) {
    switch (op) {
    case SCALAR_add:
        return LLVMBuildFAdd(e->b, v[0], v[1], "");
    case SCALAR_sub:
        return LLVMBuildFSub(e->b, v[0], v[1], "");
    case SCALAR_mul:
        return LLVMBuildFMul(e->b, v[0], v[1], "");
    case SCALAR_div:
        return LLVMBuildFDiv(e->b, v[0], v[1], "");
    case SCALAR_fma:
        return call_same(e, "llvm.fma", 3, v);
    case SCALAR_neg:
        return LLVMBuildFNeg(e->b, v[0], "");
    case SCALAR_abs:
        return float_abs(e, v[0]);
    case SCALAR_sign:
        return float_sign(e, dtype, v[0]);
    case SCALAR_min:
        return float_min_max(e, false, v);
    case SCALAR_max:
        return float_min_max(e, true, v);
    case SCALAR_sqrt:
        return call_same(e, "llvm.sqrt", 1, v);
    case SCALAR_floor:
    case SCALAR_ceil:
    case SCALAR_trunc:
    case SCALAR_round_nearest_even:
        return float_round(e, op, dtype, v[0]);
    default:
        break;
    }
    emit_refuse(e, YJ_ERR_INTERNAL, "%s on %s reached the emitter", scalar_info[op].name, yj_dtype_name(dtype));
    return v[0];
}

static LLVMValueRef int_op(struct emit *e, enum scalar_op op, enum yj_dtype dtype, char kind, LLVMValueRef *v) {
    bool is_signed = kind == 'i';
    LLVMTypeRef type = LLVMTypeOf(v[0]);
    switch (op) {
    case SCALAR_add:
        return LLVMBuildAdd(e->b, v[0], v[1], "");
    case SCALAR_sub:
        return LLVMBuildSub(e->b, v[0], v[1], "");
    case SCALAR_mul:
        return LLVMBuildMul(e->b, v[0], v[1], "");
    case SCALAR_div:
        return int_divide(e, false, is_signed, v);
    case SCALAR_rem:
        return int_divide(e, true, is_signed, v);
    case SCALAR_neg:
        return LLVMBuildSub(e->b, ll_const_int(type, 0), v[0], "");
    case SCALAR_abs: {
        LLVMValueRef negative = LLVMBuildICmp(e->b, LLVMIntSLT, v[0], ll_const_int(type, 0), "");
        return LLVMBuildSelect(e->b, negative, LLVMBuildSub(e->b, ll_const_int(type, 0), v[0], ""), v[0], "");
    }
    case SCALAR_sign:
        return int_sign(e, v[0]);
    case SCALAR_min:
        return kind == 'b' ? LLVMBuildAnd(e->b, v[0], v[1], "")
                           : call_same(e, is_signed ? "llvm.smin" : "llvm.umin", 2, v);
    case SCALAR_max:
        return kind == 'b' ? LLVMBuildOr(e->b, v[0], v[1], "")
                           : call_same(e, is_signed ? "llvm.smax" : "llvm.umax", 2, v);
    case SCALAR_and:
        return LLVMBuildAnd(e->b, v[0], v[1], "");
    case SCALAR_or:
        return LLVMBuildOr(e->b, v[0], v[1], "");
    case SCALAR_xor:
        return LLVMBuildXor(e->b, v[0], v[1], "");
    case SCALAR_not:
        return LLVMBuildXor(e->b, v[0], ll_const_int(type, -1), "");
    case SCALAR_shift_left:
    case SCALAR_shift_right:
        return int_shift(e, op, is_signed, v);
    default:
        break;
    }
    emit_refuse(e, YJ_ERR_INTERNAL, "%s on %s reached the emitter", scalar_info[op].name, yj_dtype_name(dtype));
    return v[0];
}

/* DTYPE: of operand 0; of operand 1 for a select. */
LLVMValueRef emit_op(struct emit *e, enum scalar_op op, enum yj_dtype dtype, LLVMValueRef *v) {
    char kind = dtype_kind(dtype);
    if (op == SCALAR_select) return LLVMBuildSelect(e->b, v[0], v[1], v[2], "");
    if (op >= SCALAR_eq && op <= SCALAR_ge) return compare(e, op, kind, v);
    return kind == 'f' ? float_op(e, op, dtype, v) : int_op(e, op, dtype, kind, v);
}

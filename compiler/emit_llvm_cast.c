/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions as LLVM instructions. The one idea: bf16, fp8 and (without hardware) f16 are integers in registers; they
 * become f32 and back by shifts, one exact multiplication or one addition whose rounding is the wanted one, in any
 * number of lanes. LLVM's own bfloat type is never used: it aborts or calls libraries on several chips.
 */
#include "compiler/emit_llvm.h"

#include <math.h>

/* A narrow float beside bf16: mantissa bits, the f32 exponent field of its smallest normal, and its special codes. */
struct narrow_form {
    int mantissa, least;
    int64_t first_special, overflow, infinity, nan;
};

static bool is_narrow(enum yj_dtype dtype) {
    return dtype == YJ_F16 || dtype == YJ_BF16 || dtype == YJ_E4M3 || dtype == YJ_E5M2;
}

/* Special codes are asked of the base library, which defines them. */
static struct narrow_form narrow_form(enum yj_dtype dtype) {
    switch (dtype) {
    case YJ_E4M3:
        return (struct narrow_form){3, 121, 0x7f, f32_to_e4m3(1e30f), f32_to_e4m3(INFINITY), f32_to_e4m3(NAN)};
    case YJ_E5M2:
        return (struct narrow_form){2, 113, 0x7c, f32_to_e5m2(1e30f), f32_to_e5m2(INFINITY), f32_to_e5m2(NAN)};
    default:
        return (struct narrow_form){10, 113, 0x7c00, f32_to_f16(1e30f), f32_to_f16(INFINITY), f32_to_f16(NAN)};
    }
}

static LLVMValueRef and_const(struct emit *e, LLVMValueRef v, int64_t bits) {
    return LLVMBuildAnd(e->b, v, ll_const_int(LLVMTypeOf(v), bits), "");
}

static LLVMValueRef shift_right(struct emit *e, LLVMValueRef v, int bits) {
    return bits ? LLVMBuildLShr(e->b, v, ll_const_int(LLVMTypeOf(v), bits), "") : v;
}

static LLVMValueRef shift_left(struct emit *e, LLVMValueRef v, int bits) {
    return bits ? LLVMBuildShl(e->b, v, ll_const_int(LLVMTypeOf(v), bits), "") : v;
}

/* The magnitude, moved to f32's fields and read as an f32, is too small by a power of two, also where it is subnormal.
 */
static LLVMValueRef narrow_to_f32(struct emit *e, enum yj_dtype from, LLVMValueRef v) {
    struct narrow_form form = narrow_form(from);
    int bits = (int)yj_dtype_bytes(from) * 8;
    LLVMTypeRef i32 = ll_type_like(ll_type_int(e, 32), v);
    LLVMValueRef x = LLVMBuildZExt(e->b, v, i32, "");
    LLVMValueRef sign = shift_left(e, and_const(e, x, INT64_C(1) << (bits - 1)), 32 - bits);
    LLVMValueRef size = and_const(e, x, (INT64_C(1) << (bits - 1)) - 1);
    LLVMValueRef moved = shift_left(e, size, 23 - form.mantissa);
    LLVMValueRef f = ll_value_float(e, moved);
    f = LLVMBuildFMul(e->b, f, ll_const_float(LLVMTypeOf(f), ldexp(1, form.least - 1)), "");
    LLVMValueRef special = LLVMBuildICmp(e->b, LLVMIntUGE, size, ll_const_int(i32, form.first_special), "");
    LLVMValueRef other =
        from == YJ_E4M3 ? ll_const_int(i32, 0x7fc00000) : LLVMBuildOr(e->b, moved, ll_const_int(i32, 0x7f800000), "");
    LLVMValueRef r = LLVMBuildSelect(e->b, special, other, ll_value_bits(e, f), "");
    return ll_value_float(e, LLVMBuildOr(e->b, r, sign, ""));
}

/* Normal results: add half of the last place (just under it for even), shift, and subtract the difference of exponents.
 * Subnormal results: add a power of two whose last place is theirs, so that the addition rounds. */
static LLVMValueRef f32_to_narrow(struct emit *e, enum yj_dtype to, LLVMValueRef v) {
    struct narrow_form form = narrow_form(to);
    int bits = (int)yj_dtype_bytes(to) * 8, down = 23 - form.mantissa;
    LLVMValueRef x = ll_value_bits(e, v);
    LLVMTypeRef i32 = LLVMTypeOf(x);
    LLVMValueRef size = and_const(e, x, 0x7fffffff),
                 sign = shift_right(e, and_const(e, x, INT64_C(0x80000000)), 32 - bits);
    LLVMValueRef odd = and_const(e, shift_right(e, size, down), 1);
    LLVMValueRef normal =
        LLVMBuildAdd(e->b, size, LLVMBuildAdd(e->b, odd, ll_const_int(i32, (INT64_C(1) << (down - 1)) - 1), ""), "");
    normal = LLVMBuildSub(e->b, shift_right(e, normal, down),
                          ll_const_int(i32, (int64_t)(form.least - 1) << form.mantissa), "");
    LLVMTypeRef f32 = LLVMTypeOf(v);
    LLVMValueRef magic = ll_const_float(f32, ldexp(1, form.least - 127 - form.mantissa + 23));
    LLVMValueRef sum = LLVMBuildFAdd(e->b, ll_value_float(e, size), magic, "");
    LLVMValueRef subnormal = LLVMBuildSub(e->b, ll_value_bits(e, sum), ll_value_bits(e, magic), "");
    LLVMValueRef small = LLVMBuildICmp(e->b, LLVMIntULT, size, ll_const_int(i32, (int64_t)form.least << 23), "");
    LLVMValueRef r = LLVMBuildSelect(e->b, small, subnormal, normal, "");
    LLVMValueRef most = ll_const_int(i32, form.overflow);
    r = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntUGT, r, most, ""), most, r, "");
    LLVMValueRef infinite = LLVMBuildICmp(e->b, LLVMIntEQ, size, ll_const_int(i32, 0x7f800000), "");
    if (form.infinity != form.overflow) r = LLVMBuildSelect(e->b, infinite, ll_const_int(i32, form.infinity), r, "");
    r = LLVMBuildOr(e->b, r, sign, "");
    LLVMValueRef nan = LLVMBuildICmp(e->b, LLVMIntUGT, size, ll_const_int(i32, 0x7f800000), "");
    r = LLVMBuildSelect(e->b, nan, ll_const_int(i32, form.nan), r, "");
    return LLVMBuildTrunc(e->b, r, ll_type_like(ll_type_int(e, bits), v), "");
}

static LLVMValueRef bf16_to_f32_lanes(struct emit *e, LLVMValueRef v) {
    return ll_value_float(e, shift_left(e, LLVMBuildZExt(e->b, v, ll_type_like(ll_type_int(e, 32), v), ""), 16));
}

static LLVMValueRef f32_to_bf16_lanes(struct emit *e, LLVMValueRef v) {
    LLVMValueRef x = ll_value_bits(e, v);
    LLVMTypeRef i32 = LLVMTypeOf(x);
    LLVMValueRef half = LLVMBuildAdd(e->b, and_const(e, shift_right(e, x, 16), 1), ll_const_int(i32, 0x7fff), "");
    LLVMValueRef r = shift_right(e, LLVMBuildAdd(e->b, x, half, ""), 16);
    LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    r = LLVMBuildSelect(e->b, nan, ll_const_int(i32, 0x7fc0), r, "");
    return LLVMBuildTrunc(e->b, r, ll_type_like(ll_type_int(e, 16), v), "");
}

/* The fence keeps LLVM from doing in half what was asked for in float: minimum of halves loses NaN on x86 (LLVM 19),
 * and compares become a branch an element. */
static LLVMValueRef to_f32(struct emit *e, enum yj_dtype from, LLVMValueRef v) {
    if (from == YJ_BF16) return bf16_to_f32_lanes(e, v);
    if (from != YJ_F16 || !e->target->has_f16) return narrow_to_f32(e, from, v);
    LLVMTypeRef half = ll_type_like(LLVMHalfTypeInContext(e->context), v);
    LLVMTypeRef f32 = ll_type_like(ll_type_value(e, YJ_F32), v);
    v = LLVMBuildFPExt(e->b, LLVMBuildBitCast(e->b, v, half, ""), f32, "");
    return ll_call_intrinsic(e, "llvm.arithmetic.fence", 1, &f32, 1, &v);
}

static LLVMValueRef from_f32(struct emit *e, enum yj_dtype to, LLVMValueRef v) {
    if (to == YJ_BF16) return f32_to_bf16_lanes(e, v);
    if (to != YJ_F16 || !e->target->has_f16) return f32_to_narrow(e, to, v);
    LLVMValueRef half = LLVMBuildFPTrunc(e->b, v, ll_type_like(LLVMHalfTypeInContext(e->context), v), "");
    return LLVMBuildBitCast(e->b, half, ll_type_like(ll_type_int(e, 16), v), "");
}

static LLVMValueRef float_to_int(struct emit *e, enum yj_dtype to, LLVMValueRef v) {
    LLVMTypeRef types[2] = {ll_type_like(ll_type_value(e, to), v), LLVMTypeOf(v)};
    return ll_call_intrinsic(e, dtype_kind(to) == 'i' ? "llvm.fptosi.sat" : "llvm.fptoui.sat", 2, types, 1, &v);
}

static LLVMValueRef int_to_int(struct emit *e, enum yj_dtype to, bool is_signed, LLVMValueRef v) {
    LLVMTypeRef type = ll_type_like(ll_type_value(e, to), v);
    unsigned from_bits = LLVMGetIntTypeWidth(ll_value_lanes(v) ? LLVMGetElementType(LLVMTypeOf(v)) : LLVMTypeOf(v));
    unsigned to_bits = (unsigned)yj_dtype_bytes(to) * 8;
    if (to_bits == from_bits) return v;
    if (to_bits < from_bits) return LLVMBuildTrunc(e->b, v, type, "");
    return is_signed ? LLVMBuildSExt(e->b, v, type, "") : LLVMBuildZExt(e->b, v, type, "");
}

/* Float to integer saturates and NaN gives 0; integers wrap; anything to bool is "not zero"; a narrow float is reached
 * by way of f32. */
LLVMValueRef emit_cast(struct emit *e, enum yj_dtype to, enum yj_dtype from, LLVMValueRef v) {
    if (to == from) return v;
    if (is_narrow(from)) return emit_cast(e, to, YJ_F32, to_f32(e, from, v));
    if (is_narrow(to)) return from_f32(e, to, emit_cast(e, YJ_F32, from, v));
    char out = dtype_kind(to), in = dtype_kind(from);
    LLVMTypeRef type = ll_type_like(ll_type_value(e, to), v);
    if (out == 'b' && in == 'f') return LLVMBuildFCmp(e->b, LLVMRealUNE, v, ll_const_float(LLVMTypeOf(v), 0), "");
    if (out == 'b') return LLVMBuildICmp(e->b, LLVMIntNE, v, ll_const_int(LLVMTypeOf(v), 0), "");
    if (out == 'f' && in == 'f')
        return to == YJ_F64 ? LLVMBuildFPExt(e->b, v, type, "") : LLVMBuildFPTrunc(e->b, v, type, "");
    if (out == 'f') return in == 'i' ? LLVMBuildSIToFP(e->b, v, type, "") : LLVMBuildUIToFP(e->b, v, type, "");
    return in == 'f' ? float_to_int(e, to, v) : int_to_int(e, to, in == 'i', v);
}

LLVMValueRef emit_bitcast(struct emit *e, enum yj_dtype to, enum yj_dtype from, LLVMValueRef v) {
    if (from == YJ_BOOL && to != YJ_BOOL) return LLVMBuildZExt(e->b, v, ll_type_like(ll_type_value(e, to), v), "");
    if (to == YJ_BOOL && from != YJ_BOOL) return LLVMBuildICmp(e->b, LLVMIntNE, v, ll_const_int(LLVMTypeOf(v), 0), "");
    return LLVMBuildBitCast(e->b, v, ll_type_like(ll_type_value(e, to), v), "");
}

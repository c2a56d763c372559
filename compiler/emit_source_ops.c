/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that stand for scalar ops and casts in emitted source. One line of text a meaning, with T the type, U
 * the unsigned type of its size, W an unsigned type that does not promote: what scalar_eval computes, in C that has no
 * undefined behaviour and in OpenCL C.
 */
#include "compiler/emit_source_impl.h"

#include <stdio.h>

struct needed {
    const char *name;
    struct needed *next;
};

/* True the first time NAME is asked for. */
static bool first_need(struct source *s, const char *name) {
    for (struct needed *n = s->needed; n; n = n->next)
        if (strcmp(n->name, name) == 0) return false;
    struct needed *n = NEW(s->arena, struct needed);
    *n = (struct needed){name, s->needed};
    s->needed = n;
    return true;
}

const char *source_type(struct source *s, enum yj_dtype dtype) {
    s->f64 |= dtype == YJ_F64;
    return dtype == YJ_BOOL ? "b8" : yj_dtype_name(dtype);
}

static int bits_of(enum yj_dtype dtype) {
    return (int)yj_dtype_bytes(dtype) * 8;
}

/* TEXT with T, U, W, N (bits) and S (suffix of a builtin) replaced where they stand alone. */
static void add_body(struct source *s, enum yj_dtype dtype, const char *text) {
    int bits = bits_of(dtype);
    for (const char *c = text; *c; c++) {
        bool alone = (c == text || !((c[-1] >= 'a' && c[-1] <= 'z') || c[-1] == '_')) && !(c[1] >= 'a' && c[1] <= 'z');
        if (alone && *c == 'T')
            text_add(&s->functions, "%s", source_type(s, dtype));
        else if (alone && *c == 'U')
            text_add(&s->functions, "u%d", bits);
        else if (alone && *c == 'W')
            text_add(&s->functions, "u%d", bits < 32 ? 32 : bits);
        else if (alone && *c == 'N')
            text_add(&s->functions, "%d", bits);
        else
            text_add(&s->functions, "%c", *c);
    }
}

/* A builtin of the dialect: fma, sqrt, floor, ... */
static const char *builtin(struct source *s, const char *name, enum yj_dtype dtype) {
    if (s->dialect == SOURCE_OPENCL) return name;
    return arena_text(s->arena, "__builtin_%s%s", name, dtype == YJ_F32 ? "f" : "");
}

static const char *float_op(struct source *s, enum scalar_op op, enum yj_dtype dtype) {
    const char *min_max = "a != a ? a : b != b ? b : a %c b ? a : b %c a ? b : %s(%s(a) %c %s(b))";
    const char *from = source_bitcast(s, dtype, dtype == YJ_F32 ? YJ_U32 : YJ_U64);
    const char *to = source_bitcast(s, dtype == YJ_F32 ? YJ_U32 : YJ_U64, dtype);
    switch (op) {
    case SCALAR_neg:
        return "-a";
    case SCALAR_sign:
        return "a > 0 ? (T)1 : a < 0 ? (T)-1 : a";
    case SCALAR_min:
        return arena_text(s->arena, min_max, '<', '<', from, to, '|', to);
    case SCALAR_max:
        return arena_text(s->arena, min_max, '>', '>', from, to, '&', to);
    case SCALAR_fma:
        return arena_text(s->arena, "%s(a, b, c)", builtin(s, "fma", dtype));
    case SCALAR_abs:
        return arena_text(s->arena, "%s(a)", builtin(s, "fabs", dtype));
    case SCALAR_floor:
    case SCALAR_ceil:
    case SCALAR_trunc:
    case SCALAR_sqrt:
        return arena_text(s->arena, "%s(a)", builtin(s, scalar_info[op].name, dtype));
    case SCALAR_round_nearest_even:
        return arena_text(s->arena, "%s(a)", builtin(s, "rint", dtype));
    default:
        return NULL;
    }
}

static const char *int_op(enum scalar_op op, bool is_signed) {
    switch (op) {
    case SCALAR_add:
        return "(T)((W)a + (W)b)";
    case SCALAR_sub:
        return "(T)((W)a - (W)b)";
    case SCALAR_mul:
        return "(T)((W)a * (W)b)";
    case SCALAR_div:
        return is_signed ? "b == 0 ? (T)0 : b == -1 ? (T)(0 - (W)a) : (T)(a / b)" : "b == 0 ? (T)0 : (T)(a / b)";
    case SCALAR_rem:
        return is_signed ? "b == 0 || b == -1 ? (T)0 : (T)(a % b)" : "b == 0 ? (T)0 : (T)(a % b)";
    case SCALAR_neg:
        return "(T)(0 - (W)a)";
    case SCALAR_abs:
        return is_signed ? "a < 0 ? (T)(0 - (W)a) : a" : "a";
    case SCALAR_sign:
        return is_signed ? "(T)((a > 0) - (a < 0))" : "(T)(a > 0)";
    case SCALAR_min:
        return "a < b ? a : b";
    case SCALAR_max:
        return "a < b ? b : a";
    case SCALAR_and:
        return "(T)(a & b)";
    case SCALAR_or:
        return "(T)(a | b)";
    case SCALAR_xor:
        return "(T)(a ^ b)";
    case SCALAR_not:
        return "(T)~a";
    case SCALAR_shift_left:
        return "(W)b < N ? (T)((W)a << b) : (T)0";
    case SCALAR_shift_right:
        return is_signed ? "(T)(a >> ((W)b < N ? b : N - 1))" : "(W)b < N ? (T)(a >> b) : (T)0";
    default:
        return NULL;
    }
}

static const char *bool_op(enum scalar_op op) {
    switch (op) {
    case SCALAR_min:
    case SCALAR_and:
        return "(b8)(a & b)";
    case SCALAR_max:
    case SCALAR_or:
        return "(b8)(a | b)";
    case SCALAR_xor:
        return "(b8)(a ^ b)";
    case SCALAR_not:
        return "(b8)!a";
    default:
        return NULL;
    }
}

static const char *compare_op(enum scalar_op op) {
    switch (op) {
    case SCALAR_eq:
        return "(b8)(a == b)";
    case SCALAR_ne:
        return "(b8)(a != b)";
    case SCALAR_lt:
        return "(b8)(a < b)";
    case SCALAR_le:
        return "(b8)(a <= b)";
    case SCALAR_gt:
        return "(b8)(a > b)";
    default:
        return "(b8)(a >= b)";
    }
}

static const char *op_body(struct source *s, enum scalar_op op, enum yj_dtype dtype) {
    char kind = dtype_kind(dtype);
    if (scalar_info[op].result == 'b') return compare_op(op);
    if (kind == 'b') return bool_op(op);
    if (kind == 'i' || kind == 'u') return int_op(op, kind == 'i');
    if (dtype != YJ_F32 && dtype != YJ_F64) return NULL;
    switch (op) {
    case SCALAR_add:
        return "a + b";
    case SCALAR_sub:
        return "a - b";
    case SCALAR_mul:
        return "a * b";
    case SCALAR_div:
        return "a / b";
    default:
        return float_op(s, op, dtype);
    }
}

const char *source_op(struct source *s, enum scalar_op op, enum yj_dtype dtype) {
    const char *name = arena_text(s->arena, "%s_%s", scalar_info[op].name, source_type(s, dtype));
    if (!first_need(s, name)) return name;
    const char *body = op_body(s, op, dtype), *args[] = {"T a", "T a, T b", "T a, T b, T c"};
    if (!body) {
        s->status = report(YJ_ERR_UNSUPPORTED, "kernel %s: %s in source text", s->k->name, name);
        return name;
    }
    text_add(&s->functions, "static %s %s(", scalar_info[op].result == 'b' ? "b8" : source_type(s, dtype), name);
    add_body(s, dtype, args[scalar_info[op].arity - 1]);
    text_add(&s->functions, ") { return ");
    add_body(s, dtype, body);
    text_add(&s->functions, "; }\n");
    return name;
}

const char *source_bitcast(struct source *s, enum yj_dtype to, enum yj_dtype from) {
    const char *t = source_type(s, to), *f = source_type(s, from), *name = arena_text(s->arena, "%s_bits_of_%s", t, f);
    if (first_need(s, name))
        text_add(&s->functions, "static %s %s(%s a) { union { %s from; %s to; } u; u.from = a; return u.to; }\n", t,
                 name, f, f, t);
    return name;
}

/* --- narrow floats: one routine each way, with the numbers of the type --- */

struct narrow {
    enum yj_dtype dtype;
    int mantissa, least;
    unsigned infinity, most, nan;
};
static const struct narrow narrows[] = {{YJ_F16, 10, 113, 0x7c00, 0x7c00, 0x7e00},
                                        {YJ_E4M3, 3, 121, 0x7e, 0x7e, 0x7f},
                                        {YJ_E5M2, 2, 113, 0x7b, 0x7b, 0x7e}};

static const char narrow_text[] = "static u32 narrow(u32 u, int mantissa, int least) {\n"
                                  "    int exponent = (int)(u >> 23), shift = 23 - mantissa;\n"
                                  "    if (exponent < least) {\n"
                                  "        u = (u & 0x7fffff) | (exponent ? 0x800000 : 0);\n"
                                  "        shift += least - (exponent ? exponent : 1);\n"
                                  "        if (shift > 24) return 0;\n"
                                  "    }\n"
                                  "    u32 rounded = (u + (((u32)1 << (shift - 1)) - 1) + (u >> shift & 1)) >> shift;\n"
                                  "    return exponent < least ? rounded : rounded - ((u32)(least - 1) << mantissa);\n"
                                  "}\n";

static const char widen_text[] =
    "static f32 widen(u32 v, int mantissa, int least) {\n"
    "    u32 exponent = v >> mantissa, fraction = v & (((u32)1 << mantissa) - 1);\n"
    "    if (exponent) return f32_bits_of_u32(((exponent + (u32)least - 1) << 23) | fraction << (23 - mantissa));\n"
    "    return (f32)fraction * f32_bits_of_u32((u32)(least - mantissa) << 23);\n"
    "}\n";

static const struct narrow *narrow_of(enum yj_dtype dtype) {
    for (size_t i = 0; i < COUNT(narrows); i++)
        if (narrows[i].dtype == dtype) return &narrows[i];
    return NULL;
}

static void add_narrow(struct source *s, const char *name, enum yj_dtype to) {
    const char *bits = source_bitcast(s, YJ_U32, YJ_F32), *t = source_type(s, to);
    const struct narrow *n = narrow_of(to);
    if (n && first_need(s, "narrow")) text_add(&s->functions, "%s", narrow_text);
    text_add(&s->functions, "static %s %s(f32 a) {\n    u32 u = %s(a), v;\n", t, name, bits);
    if (!n) {
        text_add(&s->functions, "    v = (u + 0x7fff + (u >> 16 & 1)) >> 16;\n"
                                "    return (u & 0x7fffffff) > 0x7f800000 ? (bf16)0x7fc0 : (bf16)v;\n}\n");
        return;
    }
    text_add(&s->functions, "    u32 sign = u >> %d & %#x;\n    u &= 0x7fffffff;\n", 32 - bits_of(to),
             1u << (bits_of(to) - 1));
    text_add(&s->functions, "    if (u > 0x7f800000) return (%s)%#x;\n", t, n->nan);
    text_add(&s->functions, "    v = u == 0x7f800000 ? %#x : narrow(u, %d, %d);\n", n->infinity, n->mantissa, n->least);
    text_add(&s->functions, "    return (%s)(sign | (v > %#x ? %#x : v));\n}\n", t, n->most, n->most);
}

static void add_widen(struct source *s, const char *name, enum yj_dtype from) {
    const char *of = source_bitcast(s, YJ_F32, YJ_U32), *bits = source_bitcast(s, YJ_U32, YJ_F32),
               *t = source_type(s, from);
    if (from == YJ_BF16) {
        text_add(&s->functions, "static f32 %s(bf16 a) { return %s((u32)a << 16); }\n", name, of);
        return;
    }
    if (first_need(s, "widen")) text_add(&s->functions, "%s", widen_text);
    bool e4m3 = from == YJ_E4M3; /* E5M2 is the upper half of an f16 */
    text_add(&s->functions, "static f32 %s(%s a) {\n", name, t);
    text_add(&s->functions, "    u32 h = (u32)a%s, v = h & %#x;\n", from == YJ_E5M2 ? " << 8" : "",
             e4m3 ? 0x7f : 0x7fff);
    text_add(&s->functions, "    u32 sign = (h & %#x) << %d;\n", e4m3 ? 0x80 : 0x8000, e4m3 ? 24 : 16);
    if (e4m3)
        text_add(&s->functions, "    if (v == 0x7f) return %s(sign | 0x7fc00000);\n", of);
    else
        text_add(&s->functions, "    if (v >= 0x7c00) return %s(sign | 0x7f800000 | (v & 0x3ff) << 13);\n", of);
    text_add(&s->functions, "    return %s(sign | %s(widen(v, %d, %d)));\n}\n", of, bits, e4m3 ? 3 : 10,
             e4m3 ? 121 : 113);
}

/* --- casts --- */

static bool is_narrow(enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' && dtype != YJ_F32 && dtype != YJ_F64;
}

/* Float to integer: towards zero, saturating, NaN to 0. */
static void add_to_int(struct source *s, const char *name, enum yj_dtype to, enum yj_dtype from) {
    bool is_signed = dtype_kind(to) == 'i';
    const char *suffix = from == YJ_F32 ? "f" : "", *t = source_type(s, to);
    text_add(&s->functions, "static %s %s(%s a) {\n    return a != a ? (%s)0 : a >= 0x1p%d%s ? ", t, name,
             source_type(s, from), t, bits_of(to) - is_signed, suffix);
    add_body(s, to, is_signed ? "(T)((U)~(U)0 >> 1)" : "(T)~(T)0");
    if (is_signed)
        text_add(&s->functions, " : a <= -0x1p%d%s ? ", bits_of(to) - 1, suffix);
    else
        text_add(&s->functions, " : a <= 0 ? ");
    add_body(s, to, is_signed ? "(T)((U)1 << (N - 1)) : (T)a;\n}\n" : "(T)0 : (T)a;\n}\n");
}

const char *source_cast(struct source *s, enum yj_dtype to, enum yj_dtype from) {
    char source = dtype_kind(from), target = dtype_kind(to);
    const char *t = source_type(s, to), *f = source_type(s, from);
    if (to == from) return "";
    if (!is_narrow(to) && !is_narrow(from) && target != 'b' && (source != 'f' || target == 'f'))
        return arena_text(s->arena, "(%s)", t);
    const char *name = arena_text(s->arena, "%s_of_%s", t, f);
    if (!first_need(s, name)) return name;
    if (is_narrow(from) && to == YJ_F32)
        add_widen(s, name, from);
    else if (is_narrow(to) && from == YJ_F32)
        add_narrow(s, name, to);
    else if (is_narrow(from) || is_narrow(to)) { /* through f32 */
        const char *first = source_cast(s, YJ_F32, from), *second = source_cast(s, to, YJ_F32);
        text_add(&s->functions, "static %s %s(%s a) { return %s(%s(a)); }\n", t, name, f, second, first);
    } else if (target == 'b')
        text_add(&s->functions, "static b8 %s(%s a) { return (b8)(a != 0); }\n", name, f);
    else
        add_to_int(s, name, to, from);
    return name;
}

/* --- the rest --- */

const char *source_dim_op(struct source *s, enum dim_op op) {
    static const char *const texts[][2] = {
        [DIM_DIV] = {"dim_div",
                     "static i64 dim_div(i64 a, i64 b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }\n"},
        [DIM_MOD] =
            {"dim_mod",
             "static i64 dim_mod(i64 a, i64 b) { i64 r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r; }\n"},
        [DIM_MIN] = {"dim_min", "static i64 dim_min(i64 a, i64 b) { return a < b ? a : b; }\n"},
        [DIM_MAX] = {"dim_max", "static i64 dim_max(i64 a, i64 b) { return a < b ? b : a; }\n"},
    };
    if (first_need(s, texts[op][0])) text_add(&s->functions, "%s", texts[op][1]);
    return texts[op][0];
}

const char *source_set_fault(struct source *s) {
    if (!first_need(s, "set_fault")) return "set_fault";
    if (s->dialect == SOURCE_OPENCL)
        text_add(
            &s->functions,
            "static void set_fault(__global struct yj_fault *fault, i32 code, i64 value) {\n"
            "    if (atomic_cmpxchg((volatile __global i32 *)&fault->code, 0, code) == 0) fault->value = value;\n}\n");
    else
        text_add(&s->functions, "static void set_fault(struct yj_fault *fault, i32 code, i64 value) {\n"
                                "    i32 none = 0;\n"
                                "    if (fault && __atomic_compare_exchange_n(&fault->code, &none, code, 0, "
                                "__ATOMIC_RELAXED, __ATOMIC_RELAXED))\n"
                                "        fault->value = value;\n}\n");
    return "set_fault";
}

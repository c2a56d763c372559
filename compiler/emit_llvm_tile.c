/* SPDX-License-Identifier: Apache-2.0
 *
 * fma_tile and copy. The one idea of fma_tile: lanes run along the axis in which c is contiguous, everything else is
 * unrolled, and each accumulator register is loaded once before and stored once after; promoted register buffers make both
 * disappear. Dot-product units take over where the operands are packed for them; what they compute is exact.
 */
#include "compiler/emit_llvm.h"

#include <stdio.h>

#define MAX_ACCUMULATORS 256
#define MAX_STEPS 2048 /* fused multiply-adds unrolled for one statement; beyond, k is a serial loop */

struct tile {
    const struct stmt *s;
    const struct expr *lane, *other; /* the operand that has the lane axis, and the other one */
    int lane_axis, other_axis;       /* of s->tile_axis */
    int n_lanes, n_other, n_k;
    int piece[MAX_ACCUMULATORS], at[MAX_ACCUMULATORS], n_pieces; /* the lane axis in registers: width and first lane */
    int group;                       /* k elements side by side in 32 bits of the lane operand; 0: not packed */
    enum yj_dtype dtype;             /* of c, in which all is computed */
    LLVMValueRef acc[MAX_ACCUMULATORS];
};

static void bind_tile(struct emit *e, const struct tile *t, LLVMValueRef lane, LLVMValueRef other, LLVMValueRef k) {
    LLVMValueRef zero = ll_const_int(ll_type_int(e, 64), 0);
    ll_scope_bind(e, t->s->tile_axis[t->lane_axis], lane ? lane : zero);
    ll_scope_bind(e, t->s->tile_axis[t->other_axis], other ? other : zero);
    ll_scope_bind(e, t->s->tile_axis[2], k ? k : zero);
}

static void unbind_tile(struct emit *e) {
    e->scope.n_symbols -= 3;
}

static LLVMValueRef index_const(struct emit *e, int64_t i) {
    return ll_const_int(ll_type_int(e, 64), i);
}

/* --- how the tile is laid out --- */

static bool lane_axis_is(struct emit *e, const struct stmt *s, int axis) {
    int64_t c;
    dim flat = ll_place_flat(e, s->c->buffer, s->c->n, s->c->arg);
    return flat && ll_coefficient_is(e, flat, s->tile_axis[axis], &c) && c == 1;
}

static void find_group(struct emit *e, struct tile *t) {
    const struct buffer *b = t->lane->buffer;
    int bytes = (int)yj_dtype_bytes(b->dtype), group = 4 / bytes;
    dim flat = ll_place_flat(e, b, t->lane->n, t->lane->arg);
    int64_t by_lane, by_k;
    if (bytes > 2 || !flat || t->n_k % group != 0) return;
    if (!ll_coefficient_is(e, flat, t->s->tile_axis[t->lane_axis], &by_lane) || by_lane != group) return;
    if (!ll_coefficient_is(e, flat, t->s->tile_axis[2], &by_k) || by_k != 1) return;
    t->group = group;
}

static bool plan_tile(struct emit *e, const struct stmt *s, struct tile *t) {
    *t = (struct tile){.s = s, .lane_axis = 1, .other_axis = 0, .lane = s->b, .other = s->a, .dtype = s->c->dtype};
    if (!lane_axis_is(e, s, 1) && lane_axis_is(e, s, 0)) {
        t->lane_axis = 0;
        t->other_axis = 1;
        t->lane = s->a;
        t->other = s->b;
    }
    t->n_lanes = s->tile_extent[t->lane_axis];
    t->n_other = s->tile_extent[t->other_axis];
    t->n_k = s->tile_extent[2];
    int width = e->scalar || !lane_axis_is(e, s, t->lane_axis) ? 1 : e->vector_bits / 8 / (int)yj_dtype_bytes(t->dtype);
    if (width < 1) width = 1;
    for (int at = 0; at < t->n_lanes; t->n_pieces++) {
        int w = width;
        while (w > t->n_lanes - at) w /= 2;
        if (t->n_pieces * t->n_other >= MAX_ACCUMULATORS) return false;
        t->at[t->n_pieces] = at;
        t->piece[t->n_pieces] = w;
        at += w;
    }
    if (width > 1) find_group(e, t);
    return t->n_pieces * t->n_other <= MAX_ACCUMULATORS;
}

/* --- one piece of an operand --- */

static void enter_lanes(struct emit *e, const struct tile *t, int piece) {
    if (t->piece[piece] == 1) return;
    e->axis = t->s->tile_axis[t->lane_axis];
    e->step = 1;
    e->lanes = t->piece[piece];
}

static void leave_lanes(struct emit *e) {
    e->axis = NULL;
    e->lanes = 0;
}

static LLVMValueRef load_lanes(struct emit *e, const struct tile *t, const struct expr *x, int piece, LLVMValueRef other, LLVMValueRef k) {
    bind_tile(e, t, index_const(e, t->at[piece]), other, k);
    enter_lanes(e, t, piece);
    LLVMValueRef v = emit_cast(e, t->dtype, x->dtype, emit_expr(e, x));
    if (t->piece[piece] > 1) v = ll_value_widen(e, v);
    leave_lanes(e);
    unbind_tile(e);
    return v;
}

/* GROUP elements of each lane as one 32-bit integer. */
static LLVMValueRef load_packed(struct emit *e, const struct tile *t, int piece, int k) {
    const struct buffer *b = t->lane->buffer;
    bind_tile(e, t, index_const(e, t->at[piece]), NULL, index_const(e, k));
    dim flat = ll_place_flat(e, b, t->lane->n, t->lane->arg);
    LLVMTypeRef type = ll_type_int(e, 32);
    if (t->piece[piece] > 1) type = LLVMVectorType(type, (unsigned)t->piece[piece]);
    LLVMValueRef v = LLVMBuildLoad2(e->b, type, ll_place_pointer(e, b, flat), "");
    unsigned align = ll_place_align(b, flat);
    LLVMSetAlignment(v, align < 4 ? align : 4);
    unbind_tile(e);
    return v;
}

static LLVMValueRef unpack(struct emit *e, const struct tile *t, LLVMValueRef packed, int number) {
    enum yj_dtype from = t->lane->dtype;
    int bits = (int)yj_dtype_bytes(from) * 8;
    LLVMTypeRef type = LLVMTypeOf(packed);
    if (from == YJ_BF16 && number == 1) return ll_value_float(e, LLVMBuildAnd(e->b, packed, ll_const_int(type, (int64_t)0xffff0000u), ""));
    if (from == YJ_BF16) return ll_value_float(e, LLVMBuildShl(e->b, packed, ll_const_int(type, 16), ""));
    LLVMValueRef v = LLVMBuildLShr(e->b, packed, ll_const_int(type, (int64_t)number * bits), "");
    return emit_cast(e, t->dtype, from, LLVMBuildTrunc(e->b, v, ll_type_like(ll_type_int(e, bits), v), ""));
}

static LLVMValueRef lane_operand(struct emit *e, const struct tile *t, int piece, int k) {
    if (!t->group) return load_lanes(e, t, t->lane, piece, NULL, index_const(e, k));
    return unpack(e, t, load_packed(e, t, piece, k / t->group * t->group), k % t->group);
}

static LLVMValueRef other_operand(struct emit *e, const struct tile *t, int i, LLVMValueRef k) {
    bind_tile(e, t, NULL, index_const(e, i), k);
    LLVMValueRef v = emit_cast(e, t->dtype, t->other->dtype, emit_expr(e, t->other));
    unbind_tile(e);
    return v;
}

static LLVMValueRef multiply_add(struct emit *e, const struct tile *t, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMValueRef v[3] = {a, b, c};
    ll_value_match(e, 3, v);
    if (dtype_kind(t->dtype) == 'f') return emit_op(e, SCALAR_fma, t->dtype, v);
    return LLVMBuildAdd(e->b, LLVMBuildMul(e->b, v[0], v[1], ""), v[2], "");
}

/* --- dot-product units: c += sum of four products of bytes, exact in i32 --- */

enum dot { DOT_NONE, DOT_PAIRS, DOT_VNNI, DOT_ARM };

static bool has_feature(const struct emit *e, const char *name) {
    const char *f = e->target->features, *at = f ? strstr(f, name) : NULL;
    size_t n = strlen(name);
    for (; at; at = strstr(at + 1, name))
        if (at > f && at[-1] == '+' && (at[n] == 0 || at[n] == ',')) return true;
    return false;
}

static enum dot find_dot(struct emit *e, const struct tile *t) {
    if (t->group != 4 || t->dtype != YJ_I32) return DOT_NONE;
    int64_t by_k;
    dim flat = ll_place_flat(e, t->other->buffer, t->other->n, t->other->arg);
    if (!flat || yj_dtype_bytes(t->other->dtype) != 1) return DOT_NONE;
    if (!ll_coefficient_is(e, flat, t->s->tile_axis[2], &by_k) || by_k != 1) return DOT_NONE;
    for (int p = 0; p < t->n_pieces; p++)
        if (t->piece[p] != e->vector_bits / 32) return DOT_NONE;
    if (e->arch == ARCH_X86 && e->vector_bits >= 128) {
        bool vnni = has_feature(e, "avxvnni") || has_feature(e, "avx512vnni");
        return vnni && t->lane->dtype == YJ_I8 ? DOT_VNNI : DOT_PAIRS;
    }
    bool same = t->lane->dtype == t->other->dtype;
    return e->arch == ARCH_ARM && e->vector_bits == 128 && same && has_feature(e, "dotprod") ? DOT_ARM : DOT_NONE;
}

static LLVMValueRef splat_bytes(struct emit *e, const struct tile *t, int i, int k, int lanes) {
    const struct buffer *b = t->other->buffer;
    bind_tile(e, t, NULL, index_const(e, i), index_const(e, k));
    LLVMValueRef v = LLVMBuildLoad2(e->b, ll_type_int(e, 32), ll_place_pointer(e, b, ll_place_flat(e, b, t->other->n, t->other->arg)), "");
    LLVMSetAlignment(v, 1);
    unbind_tile(e);
    return ll_value_splat(e, v, lanes);
}

/* The even or the odd bytes of V, widened to 16 bits. */
static LLVMValueRef byte_pairs(struct emit *e, LLVMValueRef v, bool odd, bool is_signed) {
    LLVMTypeRef type = LLVMVectorType(ll_type_int(e, 16), (unsigned)ll_value_lanes(v) * 2);
    LLVMValueRef h = LLVMBuildBitCast(e->b, v, type, ""), eight = ll_const_int(type, 8);
    if (!odd) h = LLVMBuildShl(e->b, h, eight, "");
    return is_signed ? LLVMBuildAShr(e->b, h, eight, "") : LLVMBuildLShr(e->b, h, eight, "");
}

static LLVMValueRef dot_pairs(struct emit *e, const struct tile *t, LLVMValueRef c, LLVMValueRef other, LLVMValueRef lane) {
    const char *name = e->vector_bits == 512   ? "llvm.x86.avx512.pmaddw.d.512"
                       : e->vector_bits == 256 ? "llvm.x86.avx2.pmadd.wd"
                                               : "llvm.x86.sse2.pmadd.wd";
    for (int odd = 0; odd < 2; odd++) {
        LLVMValueRef v[2] = {byte_pairs(e, other, odd, t->other->dtype == YJ_I8), byte_pairs(e, lane, odd, t->lane->dtype == YJ_I8)};
        c = LLVMBuildAdd(e->b, c, ll_call_intrinsic(e, name, 0, NULL, 2, v), "");
    }
    return c;
}

/* vpdpbusd multiplies unsigned by signed bytes. A signed operand is used plus 128, and 128 * lane is taken off again. */
static LLVMValueRef dot_vnni(struct emit *e, const struct tile *t, LLVMValueRef c, LLVMValueRef other, LLVMValueRef lane) {
    char name[40];
    snprintf(name, sizeof name, "llvm.x86.avx512.vpdpbusd.%d", e->vector_bits);
    LLVMTypeRef type = LLVMTypeOf(c);
    if (t->other->dtype == YJ_I8) {
        LLVMValueRef offset = ll_const_int(type, (int64_t)0x80808080u);
        LLVMValueRef extra[3] = {ll_const_int(type, 0), offset, lane};
        c = LLVMBuildSub(e->b, c, ll_call_intrinsic(e, name, 0, NULL, 3, extra), "");
        other = LLVMBuildXor(e->b, other, offset, "");
    }
    LLVMValueRef v[3] = {c, other, lane};
    return ll_call_intrinsic(e, name, 0, NULL, 3, v);
}

static LLVMValueRef dot_arm(struct emit *e, const struct tile *t, LLVMValueRef c, LLVMValueRef other, LLVMValueRef lane) {
    LLVMTypeRef bytes = LLVMVectorType(ll_type_int(e, 8), (unsigned)ll_value_lanes(lane) * 4), types[2] = {LLVMTypeOf(c), bytes};
    LLVMValueRef v[3] = {c, LLVMBuildBitCast(e->b, other, bytes, ""), LLVMBuildBitCast(e->b, lane, bytes, "")};
    return ll_call_intrinsic(e, t->lane->dtype == YJ_I8 ? "llvm.aarch64.neon.sdot" : "llvm.aarch64.neon.udot", 2, types, 3, v);
}

static void dot_steps(struct emit *e, struct tile *t, enum dot dot) {
    for (int k = 0; k < t->n_k; k += 4) {
        for (int p = 0; p < t->n_pieces; p++) {
            LLVMValueRef lane = load_packed(e, t, p, k);
            for (int i = 0; i < t->n_other; i++) {
                LLVMValueRef *c = &t->acc[i * t->n_pieces + p], other = splat_bytes(e, t, i, k, t->piece[p]);
                if (dot == DOT_PAIRS) *c = dot_pairs(e, t, *c, other, lane);
                else if (dot == DOT_VNNI) *c = dot_vnni(e, t, *c, other, lane);
                else *c = dot_arm(e, t, *c, other, lane);
            }
        }
    }
}

/* --- the statement --- */

static void load_accumulators(struct emit *e, struct tile *t) {
    for (int i = 0; i < t->n_other; i++)
        for (int p = 0; p < t->n_pieces; p++)
            t->acc[i * t->n_pieces + p] = load_lanes(e, t, t->s->c, p, index_const(e, i), NULL);
}

static void store_accumulators(struct emit *e, struct tile *t) {
    const struct expr *c = t->s->c;
    for (int i = 0; i < t->n_other; i++) {
        for (int p = 0; p < t->n_pieces; p++) {
            bind_tile(e, t, index_const(e, t->at[p]), index_const(e, i), NULL);
            enter_lanes(e, t, p);
            emit_store(e, c->buffer, c->n, c->arg, t->acc[i * t->n_pieces + p]);
            leave_lanes(e);
            unbind_tile(e);
        }
    }
}

static void unrolled_steps(struct emit *e, struct tile *t) {
    LLVMValueRef *lane = NEW_ARRAY(e->arena, LLVMValueRef, t->n_pieces);
    for (int k = 0; k < t->n_k; k++) {
        for (int p = 0; p < t->n_pieces; p++) lane[p] = lane_operand(e, t, p, k);
        for (int i = 0; i < t->n_other; i++) {
            LLVMValueRef other = other_operand(e, t, i, index_const(e, k));
            for (int p = 0; p < t->n_pieces; p++) {
                LLVMValueRef *c = &t->acc[i * t->n_pieces + p];
                *c = multiply_add(e, t, other, lane[p], *c);
            }
        }
    }
}

/* Anything the register form does not fit: three serial loops over single elements, k outermost. */
static void tile_by_loops(struct emit *e, const struct stmt *s) {
    struct ll_loop loops[3];
    static const int order[3] = {2, 0, 1};
    for (int n = 0; n < 3; n++) {
        ll_loop_open(e, index_const(e, 0), index_const(e, s->tile_extent[order[n]]), 1, &loops[n]);
        ll_scope_bind(e, s->tile_axis[order[n]], loops[n].index);
    }
    struct tile t = {.dtype = s->c->dtype};
    LLVMValueRef a = emit_cast(e, t.dtype, s->a->dtype, emit_expr(e, s->a));
    LLVMValueRef b = emit_cast(e, t.dtype, s->b->dtype, emit_expr(e, s->b));
    emit_store(e, s->c->buffer, s->c->n, s->c->arg, multiply_add(e, &t, a, b, emit_expr(e, s->c)));
    for (int n = 2; n >= 0; n--) ll_loop_close(e, &loops[n]);
    e->scope.n_symbols -= 3;
}

void emit_fma_tile(struct emit *e, const struct stmt *s) {
    struct tile *t = NEW(e->arena, struct tile);
    if (!plan_tile(e, s, t) || t->n_pieces * t->n_other * t->n_k > MAX_STEPS) {
        tile_by_loops(e, s);
        return;
    }
    load_accumulators(e, t);
    enum dot dot = find_dot(e, t);
    if (dot != DOT_NONE) dot_steps(e, t, dot);
    else unrolled_steps(e, t);
    store_accumulators(e, t);
}

/* --- copies: made where they stand, as a nest of loops whose innermost runs over lanes --- */

static struct expr *inside_source(struct kernel *k, const struct expr *source, struct expr *const *subs) {
    struct expr *all = NULL;
    for (int i = 0; i < source->n; i++) {
        struct expr *low = expr_op(k, SCALAR_ge, subs[i], expr_const_i(k, YJ_I64, 0), NULL);
        struct expr *high = expr_op(k, SCALAR_lt, subs[i], expr_dim(k, source->buffer->shape[i]), NULL);
        struct expr *in = expr_op(k, SCALAR_and, low, high, NULL);
        all = all ? expr_op(k, SCALAR_and, all, in, NULL) : in;
    }
    return all;
}

static struct expr *zero_of(struct kernel *k, enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' ? expr_const_f(k, dtype, 0) : expr_const_i(k, dtype, 0);
}

void emit_copy(struct emit *e, const struct stmt *s) {
    struct kernel *k = e->k;
    struct dim_table *t = k->dims;
    struct stmt *tree = NULL, *edge;
    struct cursor at = kernel_at(&tree);
    struct expr *to[KERNEL_MAX_RANK], *from[KERNEL_MAX_RANK];
    int n = s->n_subs;
    for (int i = 0; i < n; i++) {
        dim zero = dim_const(t, 0), axis = kernel_axis(k, "at", zero, s->extents[i]), index = axis;
        bool last = i == n - 1;
        struct stmt *loop = stmt_loop(k, &at, AXIS_SERIAL, axis, zero, s->extents[i], last ? 32 : 1);
        at = kernel_at(&loop->body);
        if (last) {
            dim lane = kernel_axis(k, "lane", zero, dim_const(t, 32));
            loop = stmt_loop(k, &at, AXIS_VECTOR, lane, zero, dim_const(t, 32), 1);
            index = dim_add(t, axis, lane);
            at = kernel_at(&loop->body);
            edge = stmt_if(k, &at, expr_op(k, SCALAR_lt, expr_dim(k, index), expr_dim(k, s->extents[i]), NULL));
            at = kernel_at(&edge->body);
        }
        to[i] = expr_dim(k, dim_add(t, s->subs[i]->dim, index));
        from[i] = expr_dim(k, dim_add(t, s->value->arg[i]->dim, index));
    }
    struct expr *load = expr_load(k, s->value->buffer, n, from);
    if (n > 0) {
        stmt_store(k, &at, s->buffer, n, to, zero_of(k, s->buffer->dtype));
        struct stmt *in = stmt_if(k, &at, inside_source(k, s->value, from));
        at = kernel_at(&in->body);
    }
    stmt_store(k, &at, s->buffer, n, to, load);
    emit_body(e, tree);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * fma_tile and copy. The one idea of fma_tile: lanes run along the axis in which c is contiguous, everything else is
 * unrolled, and each accumulator register is loaded once before and stored once after; promoted register buffers make
 * both disappear. Dot-product units take over where the operands are packed for them; what they compute is exact.
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
    int group;           /* k elements side by side in 32 bits of the lane operand; 0: not packed */
    enum yj_dtype dtype; /* of c, in which all is computed */
    LLVMValueRef acc[MAX_ACCUMULATORS];
};

static void bind_tile(struct emit *e, const struct tile *t, LLVMValueRef lane, LLVMValueRef other, LLVMValueRef k) {
    LLVMValueRef zero = ll_const_int(ll_type_int(e, 64), 0);
    ll_scope_bind(e, t->s->tile_axis[t->lane_axis], lane ? lane : zero, NULL);
    ll_scope_bind(e, t->s->tile_axis[t->other_axis], other ? other : zero, NULL);
    ll_scope_bind(e, t->s->tile_axis[2], k ? k : zero, NULL);
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
        while (w > t->n_lanes - at)
            w /= 2;
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
    e->lanes = t->piece[piece];
}

static void leave_lanes(struct emit *e) {
    e->axis = NULL;
    e->lanes = 0;
}

static LLVMValueRef load_lanes(struct emit *e, const struct tile *t, const struct expr *x, int piece,
                               LLVMValueRef other, LLVMValueRef k) {
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
    unsigned align = ll_place_align(e, b, flat);
    LLVMSetAlignment(v, align < 4 ? align : 4);
    unbind_tile(e);
    return v;
}

static LLVMValueRef unpack(struct emit *e, const struct tile *t, enum yj_dtype from, LLVMValueRef packed, int number) {
    int bits = (int)yj_dtype_bytes(from) * 8;
    LLVMTypeRef type = LLVMTypeOf(packed);
    if (from == YJ_BF16 && number == 1)
        return ll_value_float(e, LLVMBuildAnd(e->b, packed, ll_const_int(type, (int64_t)0xffff0000u), ""));
    if (from == YJ_BF16) return ll_value_float(e, LLVMBuildShl(e->b, packed, ll_const_int(type, 16), ""));
    LLVMValueRef v = LLVMBuildLShr(e->b, packed, ll_const_int(type, (int64_t)number * bits), "");
    return emit_cast(e, t->dtype, from, LLVMBuildTrunc(e->b, v, ll_type_like(ll_type_int(e, bits), v), ""));
}

static LLVMValueRef lane_operand(struct emit *e, const struct tile *t, int piece, int k) {
    if (!t->group) return load_lanes(e, t, t->lane, piece, NULL, index_const(e, k));
    return unpack(e, t, t->lane->dtype, load_packed(e, t, piece, k / t->group * t->group), k % t->group);
}

static LLVMValueRef multiply_add(struct emit *e, const struct tile *t, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMValueRef v[3] = {a, b, c};
    ll_value_match(e, 3, v);
    if (dtype_kind(t->dtype) == 'f') return emit_op(e, SCALAR_fma, t->dtype, v);
    return LLVMBuildAdd(e->b, LLVMBuildMul(e->b, v[0], v[1], ""), v[2], "");
}

/* --- dot-product units: c += sum of four products of bytes, exact in i32 --- */

enum dot { DOT_NONE, DOT_PAIRS, DOT_VNNI, DOT_ARM };

/* One operand made ready: PAIRS its even and odd bytes as 16-bit numbers, else its bytes; EXTRA is added to c, or NULL.
 */
struct side {
    LLVMValueRef v[2], extra;
};

static bool has_feature(const struct emit *e, const char *name) {
    const char *f = e->target->features, *at = f ? strstr(f, name) : NULL;
    size_t n = strlen(name);
    for (; at; at = strstr(at + 1, name))
        if (at > f && at[-1] == '+' && (at[n] == 0 || at[n] == ',')) return true;
    return false;
}

static bool is_packed_other(struct emit *e, const struct tile *t, int group) {
    int64_t by_k;
    dim flat = ll_place_flat(e, t->other->buffer, t->other->n, t->other->arg);
    if (!flat || (int)yj_dtype_bytes(t->other->dtype) * group != 4) return false;
    return ll_coefficient_is(e, flat, t->s->tile_axis[2], &by_k) && by_k == 1;
}

static enum dot find_dot(struct emit *e, const struct tile *t) {
    if (t->group != 4 || t->dtype != YJ_I32 || !is_packed_other(e, t, 4)) return DOT_NONE;
    for (int p = 0; p < t->n_pieces; p++)
        if (t->piece[p] != e->vector_bits / 32) return DOT_NONE;
    if (e->arch == ARCH_X86 && e->vector_bits >= 128)
        return has_feature(e, "avxvnni") || has_feature(e, "avx512vnni") ? DOT_VNNI : DOT_PAIRS;
    return e->arch == ARCH_ARM && e->vector_bits == 128 && has_feature(e, "dotprod") ? DOT_ARM : DOT_NONE;
}

/* The 32 bits at row I, from k on, in all lanes. */
static LLVMValueRef splat_packed(struct emit *e, const struct tile *t, int i, int k, int lanes) {
    const struct buffer *b = t->other->buffer;
    bind_tile(e, t, NULL, index_const(e, i), index_const(e, k));
    LLVMValueRef pointer = ll_place_pointer(e, b, ll_place_flat(e, b, t->other->n, t->other->arg));
    LLVMValueRef v = LLVMBuildLoad2(e->b, ll_type_int(e, 32), pointer, "");
    LLVMSetAlignment(v, (unsigned)yj_dtype_bytes(b->dtype));
    unbind_tile(e);
    return lanes > 1 ? ll_value_splat(e, v, lanes) : v;
}

/* The even or the odd bytes of V, widened to 16 bits. */
static LLVMValueRef byte_pairs(struct emit *e, LLVMValueRef v, bool odd, bool is_signed) {
    LLVMTypeRef type = LLVMVectorType(ll_type_int(e, 16), (unsigned)ll_value_lanes(v) * 2);
    LLVMValueRef h = LLVMBuildBitCast(e->b, v, type, ""), eight = ll_const_int(type, 8);
    if (!odd) h = LLVMBuildShl(e->b, h, eight, "");
    return is_signed ? LLVMBuildAShr(e->b, h, eight, "") : LLVMBuildLShr(e->b, h, eight, "");
}

static LLVMValueRef multiply_pairs(struct emit *e, LLVMValueRef a, LLVMValueRef b) {
    const char *name = e->vector_bits == 512   ? "llvm.x86.avx512.pmaddw.d.512"
                       : e->vector_bits == 256 ? "llvm.x86.avx2.pmadd.wd"
                                               : "llvm.x86.sse2.pmadd.wd";
    LLVMValueRef v[2] = {a, b};
    return ll_call_intrinsic(e, name, 0, NULL, 2, v);
}

/* c + unsigned bytes * signed bytes */
static LLVMValueRef dot_vnni(struct emit *e, LLVMValueRef c, LLVMValueRef positive, LLVMValueRef any) {
    char name[40];
    snprintf(name, sizeof name, "llvm.x86.avx512.vpdpbusd.%d", e->vector_bits);
    LLVMValueRef v[3] = {c, positive, any};
    return ll_call_intrinsic(e, name, 0, NULL, 3, v);
}

/* c + bytes * bytes, both signed or both unsigned */
static LLVMValueRef dot_arm(struct emit *e, bool is_signed, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
    LLVMTypeRef bytes = LLVMVectorType(ll_type_int(e, 8), (unsigned)ll_value_lanes(a) * 4),
                types[2] = {LLVMTypeOf(c), bytes};
    LLVMValueRef v[3] = {c, LLVMBuildBitCast(e->b, a, bytes, ""), LLVMBuildBitCast(e->b, b, bytes, "")};
    return ll_call_intrinsic(e, is_signed ? "llvm.aarch64.neon.sdot" : "llvm.aarch64.neon.udot", 2, types, 3, v);
}

static LLVMValueRef bytes_of(LLVMValueRef like, unsigned byte) {
    return ll_const_int(LLVMTypeOf(like), (int64_t)(byte * 0x01010101u));
}

/* x - 128 as a signed byte from an unsigned one, x + 128 the other way round: the same bit. */
static LLVMValueRef shifted(struct emit *e, LLVMValueRef v) {
    return LLVMBuildXor(e->b, v, bytes_of(v, 0x80), "");
}

static LLVMValueRef times_128(struct emit *e, LLVMValueRef sums) {
    return LLVMBuildShl(e->b, sums, ll_const_int(LLVMTypeOf(sums), 7), "");
}

/* The units want certain signs. An operand of the other sign is moved by 128, and 128 times the sum of the opposite
 * operand is put back: once for each lane vector, or once for each row, not for each product. */
static struct side ready_side(struct emit *e, const struct tile *t, enum dot dot, bool lane, LLVMValueRef v) {
    bool own = (lane ? t->lane : t->other)->dtype == YJ_I8, opposite = (lane ? t->other : t->lane)->dtype == YJ_I8;
    LLVMValueRef zero = ll_const_int(LLVMTypeOf(v), 0);
    struct side s = {{v, NULL}, NULL};
    if (dot == DOT_PAIRS) {
        for (int odd = 0; odd < 2; odd++)
            s.v[odd] = byte_pairs(e, v, odd, own);
    } else if (dot == DOT_ARM && own != opposite) {
        if (own)
            s.extra = times_128(e, dot_arm(e, true, zero, v, bytes_of(v, 1)));
        else
            s.v[0] = shifted(e, v);
    } else if (dot == DOT_VNNI && own == opposite) { /* the row operand changes its sign */
        if (!lane)
            s.v[0] = shifted(e, v);
        else if (own)
            s.extra = LLVMBuildNeg(e->b, dot_vnni(e, zero, bytes_of(v, 0x80), v), "");
        else
            s.extra = times_128(e, dot_vnni(e, zero, v, bytes_of(v, 1)));
    }
    return s;
}

static LLVMValueRef dot_step(struct emit *e, const struct tile *t, enum dot dot, LLVMValueRef c,
                             const struct side *other, const struct side *lane) {
    bool lane_signed = t->lane->dtype == YJ_I8, other_signed = t->other->dtype == YJ_I8;
    if (lane->extra) c = LLVMBuildAdd(e->b, c, lane->extra, "");
    if (other->extra) c = LLVMBuildAdd(e->b, c, other->extra, "");
    if (dot == DOT_PAIRS) {
        for (int odd = 0; odd < 2; odd++)
            c = LLVMBuildAdd(e->b, c, multiply_pairs(e, other->v[odd], lane->v[odd]), "");
        return c;
    }
    if (dot == DOT_ARM) return dot_arm(e, lane_signed || other_signed, c, lane->v[0], other->v[0]);
    return lane_signed ? dot_vnni(e, c, other->v[0], lane->v[0]) : dot_vnni(e, c, lane->v[0], other->v[0]);
}

static void dot_steps(struct emit *e, struct tile *t, enum dot dot) {
    struct side *lane = NEW_ARRAY(e->arena, struct side, t->n_pieces);
    for (int k = 0; k < t->n_k; k += 4) {
        for (int p = 0; p < t->n_pieces; p++)
            lane[p] = ready_side(e, t, dot, true, load_packed(e, t, p, k));
        for (int i = 0; i < t->n_other; i++) {
            struct side other = ready_side(e, t, dot, false, splat_packed(e, t, i, k, t->piece[0]));
            for (int p = 0; p < t->n_pieces; p++) {
                LLVMValueRef *c = &t->acc[i * t->n_pieces + p];
                *c = dot_step(e, t, dot, *c, &other, &lane[p]);
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

static bool full_registers(const struct emit *e, const struct tile *t) {
    for (int p = 0; p < t->n_pieces; p++)
        if (t->piece[p] * 32 != e->vector_bits) return false;
    return true;
}

/* LoongArch loads an element into all lanes with one instruction, which LLVM 19 does not find. */
static LLVMValueRef load_replicated(struct emit *e, const struct tile *t) {
    const struct buffer *b = t->other->buffer;
    dim flat = ll_place_flat(e, b, t->other->n, t->other->arg);
    LLVMValueRef args[2] = {ll_place_pointer(e, b, flat), ll_const_int(ll_type_int(e, 32), 0)};
    const char *name = e->vector_bits == 256 ? "llvm.loongarch.lasx.xvldrepl.w" : "llvm.loongarch.lsx.vldrepl.w";
    return ll_value_float(e, ll_call_intrinsic(e, name, 0, NULL, 2, args));
}

/* The element at row I and K, in all lanes. Packed pairs are broadcast as they lie and taken apart in vectors. */
static LLVMValueRef other_operand(struct emit *e, const struct tile *t, int i, int k) {
    enum yj_dtype from = t->other->dtype;
    if (from == YJ_BF16 && t->group == 2 && is_packed_other(e, t, 2) && full_registers(e, t))
        return unpack(e, t, from, splat_packed(e, t, i, k / 2 * 2, t->piece[0]), k % 2);
    bind_tile(e, t, NULL, index_const(e, i), index_const(e, k));
    LLVMValueRef v;
    if (e->arch == ARCH_LOONGARCH && from == YJ_F32 && t->dtype == YJ_F32 && full_registers(e, t) &&
        ll_place_flat(e, t->other->buffer, t->other->n, t->other->arg))
        v = load_replicated(e, t);
    else
        v = emit_cast(e, t->dtype, from, emit_expr(e, t->other));
    unbind_tile(e);
    return v;
}

static void unrolled_steps(struct emit *e, struct tile *t) {
    LLVMValueRef *lane = NEW_ARRAY(e->arena, LLVMValueRef, t->n_pieces);
    for (int k = 0; k < t->n_k; k++) {
        for (int p = 0; p < t->n_pieces; p++)
            lane[p] = lane_operand(e, t, p, k);
        for (int i = 0; i < t->n_other; i++) {
            LLVMValueRef other = other_operand(e, t, i, k);
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
        ll_scope_bind(e, s->tile_axis[order[n]], loops[n].index, loops[n].anchor);
    }
    struct tile t = {.dtype = s->c->dtype};
    LLVMValueRef a = emit_cast(e, t.dtype, s->a->dtype, emit_expr(e, s->a));
    LLVMValueRef b = emit_cast(e, t.dtype, s->b->dtype, emit_expr(e, s->b));
    emit_store(e, s->c->buffer, s->c->n, s->c->arg, multiply_add(e, &t, a, b, emit_expr(e, s->c)));
    for (int n = 2; n >= 0; n--)
        ll_loop_close(e, &loops[n]);
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
    if (dot != DOT_NONE)
        dot_steps(e, t, dot);
    else
        unrolled_steps(e, t);
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

/* Into the second cache: what is used at once fills the first one. */
void emit_prefetch(struct emit *e, const struct stmt *s) {
    const struct expr *load = s->value;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0), i32 = ll_type_int(e, 32);
    LLVMValueRef args[4] = {ll_place_pointer(e, load->buffer, ll_place_flat(e, load->buffer, load->n, load->arg)),
                            ll_const_int(i32, 0), ll_const_int(i32, 2), ll_const_int(i32, 1)};
    ll_call_intrinsic(e, "llvm.prefetch", 1, &pointer, 4, args);
}

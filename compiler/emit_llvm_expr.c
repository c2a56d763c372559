/* SPDX-License-Identifier: Apache-2.0
 *
 * Dims, addresses, loads, stores and expression trees. The one idea: the flat subscript of an access is one dim, and
 * asking that dim for the coefficient of the vector axis decides everything: 0 is a scalar, 1 is a vector load or
 * store, another constant a stride, and no constant a gather. Sums are emitted outermost symbol first, so that loops
 * share their prefixes.
 */
#include "compiler/emit_llvm.h"

/* --- scope --- */

void ll_scope_bind(struct emit *e, dim symbol, LLVMValueRef value, LLVMValueRef anchor) {
    struct ll_scope *s = &e->scope;
    if (s->n_symbols == s->symbol_room) {
        int room = s->symbol_room ? s->symbol_room * 2 : 32;
        struct bound_symbol *bigger = NEW_ARRAY(e->arena, struct bound_symbol, room);
        if (s->n_symbols) memcpy(bigger, s->symbol, (size_t)s->n_symbols * sizeof *bigger);
        s->symbol = bigger;
        s->symbol_room = room;
    }
    s->symbol[s->n_symbols++] = (struct bound_symbol){symbol, value, anchor, ++e->serials};
}

LLVMValueRef ll_anchor_new(struct emit *e, LLVMValueRef value) {
    return LLVMBuildFreeze(e->b, value, "");
}

static int find_symbol(const struct emit *e, dim symbol) {
    for (int i = e->scope.n_symbols - 1; i >= 0; i--)
        if (e->scope.symbol[i].symbol == symbol) return i;
    return -1;
}

/* How deep the innermost loop stands whose index takes part; -1 for what is constant here. */
static int depth(const struct emit *e, dim d) {
    if (d->op == DIM_CONST) return -1;
    if (d->op == DIM_SYMBOL) {
        int i = find_symbol(e, d);
        return i >= 0 && !LLVMIsConstant(e->scope.symbol[i].value) ? i : -1;
    }
    int a = depth(e, d->a), b = depth(e, d->b);
    return a > b ? a : b;
}

/* --- dims --- */

#define MAX_TERMS 64
struct term {
    dim d;
    int depth;
};

/* The terms of a sum, by depth, constants first. */
static int sum_terms(const struct emit *e, dim d, struct term *terms, int n) {
    if (d->op == DIM_ADD && n + 1 < MAX_TERMS) {
        n = sum_terms(e, d->a, terms, n);
        return n < MAX_TERMS ? sum_terms(e, d->b, terms, n) : n;
    }
    int at = n, own = depth(e, d);
    for (; at > 0 && terms[at - 1].depth > own; at--)
        terms[at] = terms[at - 1];
    terms[at] = (struct term){d, own};
    return n + 1;
}

static bool sum_fits(dim d, int *left) {
    if (d->op == DIM_ADD) return sum_fits(d->a, left) && sum_fits(d->b, left);
    return --*left >= 0;
}

static LLVMValueRef add_nsw(struct emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWAdd(e->b, a, b, "");
}

/* Floor division and its remainder, by a divisor that is not zero. */
static LLVMValueRef floor_divide(struct emit *e, dim d, LLVMValueRef a, LLVMValueRef b) {
    bool rem = d->op == DIM_MOD;
    int64_t by;
    LLVMTypeRef type = LLVMTypeOf(a);
    if (dim_is_const(d->b, &by) && by > 0 && (by & (by - 1)) == 0) {
        if (rem) return LLVMBuildAnd(e->b, a, ll_const_int(type, by - 1), "");
        return LLVMBuildAShr(e->b, a, ll_const_int(type, __builtin_ctzll((uint64_t)by)), "");
    }
    if (d->a->low >= 0 && d->b->low > 0) return rem ? LLVMBuildURem(e->b, a, b, "") : LLVMBuildUDiv(e->b, a, b, "");
    LLVMValueRef zero = ll_const_int(type, 0), r = LLVMBuildSRem(e->b, a, b, "");
    LLVMValueRef inexact = LLVMBuildICmp(e->b, LLVMIntNE, r, zero, "");
    LLVMValueRef differ = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, r, b, ""), zero, "");
    LLVMValueRef off = LLVMBuildAnd(e->b, inexact, differ, "");
    if (rem) return add_nsw(e, r, LLVMBuildSelect(e->b, off, b, zero, ""));
    LLVMValueRef q = LLVMBuildSDiv(e->b, a, b, "");
    return add_nsw(e, q, LLVMBuildSelect(e->b, off, ll_const_int(type, -1), zero, ""));
}

static LLVMValueRef dim_op(struct emit *e, dim d, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef v[2] = {a, b};
    ll_value_match(e, 2, v);
    LLVMTypeRef type = LLVMTypeOf(v[0]);
    switch (d->op) {
    case DIM_MUL:
        return LLVMBuildNSWMul(e->b, v[0], v[1], "");
    case DIM_DIV:
    case DIM_MOD:
        return floor_divide(e, d, v[0], v[1]);
    case DIM_MIN:
        return ll_call_intrinsic(e, "llvm.smin", 1, &type, 2, v);
    case DIM_MAX:
        return ll_call_intrinsic(e, "llvm.smax", 1, &type, 2, v);
    default:
        return add_nsw(e, v[0], v[1]);
    }
}

static LLVMValueRef symbol_value(struct emit *e, dim d) {
    int at = find_symbol(e, d);
    if (at >= 0) return e->scope.symbol[at].value;
    emit_refuse(e, YJ_ERR_INTERNAL, "%s is not bound", d->name);
    return ll_const_int(ll_type_int(e, 64), 0);
}

/* The place of the innermost binding that d depends on, if all of them have anchors; else -1. */
static int innermost_anchor(const struct emit *e, dim d) {
    if (d->op == DIM_CONST) return 0;
    if (d->op == DIM_SYMBOL) {
        int at = find_symbol(e, d);
        return at >= 0 && e->scope.symbol[at].anchor ? at : -1;
    }
    if ((d->op == DIM_DIV || d->op == DIM_MOD) && d->b->low <= 0 && d->b->high >= 0) return -1; /* may be guarded */
    int a = innermost_anchor(e, d->a), b = a < 0 ? -1 : innermost_anchor(e, d->b);
    return a < 0 || b < 0 ? -1 : a > b ? a : b;
}

static struct memo *memo_of(struct emit *e, dim d) {
    if (d->id >= e->memo_room) {
        int room = d->id * 2 + 256;
        struct memo *bigger = NEW_ARRAY(e->arena, struct memo, room);
        if (e->memo_room) memcpy(bigger, e->memo, (size_t)e->memo_room * sizeof *bigger);
        e->memo = bigger;
        e->memo_room = room;
    }
    return &e->memo[d->id];
}

static LLVMValueRef dim_here(struct emit *e, dim d) {
    int left = MAX_TERMS;
    if (d->op != DIM_ADD || !sum_fits(d, &left)) return dim_op(e, d, emit_dim(e, d->a), emit_dim(e, d->b));
    struct term terms[MAX_TERMS];
    int n = sum_terms(e, d, terms, 0);
    LLVMValueRef sum = emit_dim(e, terms[0].d);
    for (int i = 1; i < n; i++)
        sum = add_nsw(e, sum, emit_dim(e, terms[i].d));
    return sum;
}

/* What depends only on loops outside is computed once, where the innermost of them begins: divisions too, which LLVM
 * does not dare to move. */
LLVMValueRef emit_dim(struct emit *e, dim d) {
    if (d->op == DIM_CONST) return ll_const_int(ll_type_int(e, 64), d->value);
    if (d->op == DIM_SYMBOL) return symbol_value(e, d);
    int at = innermost_anchor(e, d);
    if (at < 0) return dim_here(e, d);
    const struct bound_symbol *inner = &e->scope.symbol[at];
    LLVMValueRef anchor = inner->anchor, before = e->before;
    int serial = inner->serial;
    struct memo *memo = memo_of(e, d);
    if (memo->value && memo->serial == serial) return memo->value;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMMetadataRef location = ll_debug_line(e, 0);
    e->before = anchor;
    LLVMPositionBuilderBefore(e->b, anchor);
    LLVMValueRef value = dim_here(e, d);
    e->before = before;
    if (before)
        LLVMPositionBuilderBefore(e->b, before);
    else
        LLVMPositionBuilderAtEnd(e->b, here);
    ll_debug_restore(e, location);
    *memo_of(e, d) = (struct memo){value, serial};
    return value;
}

/* FIRST, FIRST + STEP, ... over the lanes. */
static LLVMValueRef axis_lanes(struct emit *e, LLVMValueRef first, int64_t step) {
    LLVMValueRef iota = ll_const_iota(e, 64, e->lanes);
    LLVMValueRef offsets = LLVMBuildNSWMul(e->b, iota, ll_const_int(LLVMTypeOf(iota), step), "");
    return add_nsw(e, ll_value_splat(e, first, e->lanes), offsets);
}

bool ll_coefficient_is(struct emit *e, dim flat, dim axis, int64_t *coefficient) {
    dim c, rest;
    return dim_linear(e->k->dims, flat, axis, &c, &rest) && dim_is_const(c, coefficient);
}

LLVMValueRef emit_dim_lanes(struct emit *e, dim d) {
    if (!e->axis || !dim_contains(d, e->axis)) return emit_dim(e, d);
    int64_t c;
    if (ll_coefficient_is(e, d, e->axis, &c)) return axis_lanes(e, emit_dim(e, d), c);
    return dim_op(e, d, emit_dim_lanes(e, d->a), emit_dim_lanes(e, d->b));
}

/* --- places --- */

static const struct bound_buffer *find_buffer(struct emit *e, const struct buffer *b) {
    for (int i = e->scope.n_buffers - 1; i >= 0; i--)
        if (e->scope.buffer[i].buffer == b) return &e->scope.buffer[i];
    static const struct bound_buffer none;
    emit_refuse(e, YJ_ERR_INTERNAL, "buffer %s is not declared here", b->name);
    return &none;
}

dim ll_place_flat(struct emit *e, const struct buffer *b, int n, struct expr *const *subs) {
    struct dim_table *t = e->k->dims;
    dim flat = dim_const(t, 0);
    for (int i = 0; i < n; i++) {
        if (subs[i]->kind != EXPR_DIM) return NULL;
        flat = dim_add(t, dim_mul(t, flat, b->shape[i]), subs[i]->dim);
    }
    return flat;
}

static LLVMValueRef advance(struct emit *e, const struct buffer *b, LLVMValueRef pointer, LLVMValueRef elements) {
    if (LLVMIsConstant(elements) && LLVMIsNull(elements)) return pointer;
    return LLVMBuildGEP2(e->b, ll_type_memory(e, b->dtype), pointer, &elements, 1, "");
}

/* One step for each loop depth, the constant last: invariant prefixes are hoisted and shared, and the constant becomes
 * the displacement of the instruction. */
static LLVMValueRef pointer_from(struct emit *e, const struct buffer *b, LLVMValueRef pointer, dim flat) {
    struct term terms[MAX_TERMS];
    int left = MAX_TERMS;
    if (!sum_fits(flat, &left)) return advance(e, b, pointer, emit_dim(e, flat));
    int n = sum_terms(e, flat, terms, 0), constants = 0;
    while (constants < n && terms[constants].depth < 0)
        constants++;
    for (int i = constants; i < n;) {
        LLVMValueRef sum = emit_dim(e, terms[i].d);
        int own = terms[i].depth;
        for (i++; i < n && terms[i].depth == own; i++)
            sum = add_nsw(e, sum, emit_dim(e, terms[i].d));
        pointer = advance(e, b, pointer, sum);
    }
    LLVMValueRef rest = ll_const_int(ll_type_int(e, 64), 0);
    for (int i = 0; i < constants; i++)
        rest = add_nsw(e, rest, emit_dim(e, terms[i].d));
    pointer = advance(e, b, pointer, rest);
    return pointer;
}

LLVMValueRef ll_place_pointer(struct emit *e, const struct buffer *b, dim flat) {
    LLVMValueRef base = find_buffer(e, b)->base;
    return base ? pointer_from(e, b, base, flat) : LLVMGetPoison(LLVMPointerTypeInContext(e->context, 0));
}

unsigned ll_place_align(const struct emit *e, const struct buffer *b, dim flat) {
    unsigned size = (unsigned)yj_dtype_bytes(b->dtype);
    if (e->own_alignment && b->space == SPACE_GLOBAL) return size;
    uint64_t known = flat ? (uint64_t)flat->divisor * size : size;
    if (flat && flat->divisor == 0) return 64;
    known &= -known;
    return known > 64 ? 64 : (unsigned)known;
}

enum pattern { UNIFORM, CONTIGUOUS, SCATTERED };

struct place {
    enum pattern pattern;
    LLVMValueRef pointer; /* of lane 0; SCATTERED: <lanes x ptr> */
    unsigned align;
    bool safe; /* inside its buffer whatever the mask says */
};

/* The dims of a subscript add(data, dims), to which data adds *MORE; 0 where there are none. */
static dim split_sub(struct emit *e, const struct expr *x, LLVMValueRef *more) {
    *more = NULL;
    if (x->kind == EXPR_DIM) return x->dim;
    bool sum = x->kind == EXPR_OP && x->op == SCALAR_add;
    int d = sum && x->arg[0]->kind == EXPR_DIM ? 0 : 1;
    if (sum && x->arg[d]->kind == EXPR_DIM) {
        *more = emit_expr(e, x->arg[1 - d]);
        return x->arg[d]->dim;
    }
    *more = emit_expr(e, x);
    return dim_const(e->k->dims, 0);
}

/* The flat subscript as a dim, to which data adds *MORE elements (NULL: nothing; scalar or a vector). */
static dim split_subs(struct emit *e, const struct buffer *b, int n, struct expr *const *subs, LLVMValueRef *more) {
    struct dim_table *t = e->k->dims;
    dim flat = dim_const(t, 0), stride = dim_const(t, 1);
    *more = NULL;
    for (int i = n - 1; i >= 0; i--) {
        LLVMValueRef data;
        flat = dim_add(t, flat, dim_mul(t, split_sub(e, subs[i], &data), stride));
        if (data) {
            LLVMValueRef v[2] = {data, emit_dim(e, stride)}, sum[2] = {*more, NULL};
            ll_value_match(e, 2, v);
            sum[1] = LLVMBuildNSWMul(e->b, v[0], v[1], "");
            if (*more) ll_value_match(e, 2, sum);
            *more = *more ? add_nsw(e, sum[0], sum[1]) : sum[1];
        }
        stride = dim_mul(t, stride, b->shape[i]);
    }
    return flat;
}

static bool within(const struct buffer *b, int lanes, int64_t first) {
    int64_t size = 1, extent;
    for (int i = 0; i < b->rank; i++) {
        if (!dim_is_const(b->shape[i], &extent)) return false;
        size *= extent;
    }
    return first >= 0 && first + lanes <= size;
}

/* A register buffer declared inside the vector loop has one copy a lane, the lanes side by side; the subscript is the
 * same for all lanes. */
static struct place private_place(struct emit *e, const struct bound_buffer *bound, const struct buffer *b, dim flat,
                                  LLVMValueRef more) {
    int size = (int)yj_dtype_bytes(b->dtype) * bound->lanes;
    LLVMValueRef index = emit_dim(e, flat);
    if (more) index = add_nsw(e, index, more);
    LLVMValueRef scaled = LLVMBuildNSWMul(e->b, index, ll_const_int(ll_type_int(e, 64), bound->lanes), "");
    LLVMValueRef pointer = advance(e, b, bound->base, scaled);
    return (struct place){e->axis ? CONTIGUOUS : UNIFORM, pointer, size > 64 ? 64 : (unsigned)size, true};
}

/* Lanes that are neither one element nor a run of them. */
static struct place scattered(struct emit *e, const struct buffer *b, LLVMValueRef base, LLVMValueRef offsets) {
    return (struct place){SCATTERED, advance(e, b, base, offsets), (unsigned)yj_dtype_bytes(b->dtype), false};
}

static struct place place_find(struct emit *e, const struct buffer *b, int n, struct expr *const *subs) {
    const struct bound_buffer *bound = find_buffer(e, b);
    LLVMValueRef more, base = bound->base;
    dim flat = split_subs(e, b, n, subs, &more), c, rest;
    if (!base) return (struct place){UNIFORM, LLVMGetPoison(LLVMPointerTypeInContext(e->context, 0)), 1, false};
    if (bound->lanes) return private_place(e, bound, b, flat, more);
    if (more && ll_value_lanes(more)) {
        LLVMValueRef v[2] = {more, emit_dim_lanes(e, flat)};
        ll_value_match(e, 2, v);
        return scattered(e, b, base, add_nsw(e, v[0], v[1]));
    }
    unsigned align = more ? (unsigned)yj_dtype_bytes(b->dtype) : ll_place_align(e, b, flat);
    if (more) base = advance(e, b, base, more);
    if (!e->axis || !dim_contains(flat, e->axis))
        return (struct place){UNIFORM, pointer_from(e, b, base, flat), align, false};
    if (!dim_linear(e->k->dims, flat, e->axis, &c, &rest)) return scattered(e, b, base, emit_dim_lanes(e, flat));
    LLVMValueRef pointer = pointer_from(e, b, base, flat);
    if (dim_is(c, 1)) {
        LLVMValueRef first = e->mask.vector && !more ? emit_dim(e, flat) : NULL;
        bool safe = first && LLVMIsConstant(first) && within(b, e->lanes, LLVMConstIntGetSExtValue(first));
        return (struct place){CONTIGUOUS, pointer, align, safe};
    }
    LLVMValueRef stride = ll_value_splat(e, emit_dim(e, c), e->lanes);
    return scattered(e, b, pointer, LLVMBuildNSWMul(e->b, stride, ll_const_iota(e, 64, e->lanes), ""));
}

/* --- loads and stores --- */

static LLVMTypeRef memory_lanes(struct emit *e, const struct buffer *b) {
    return LLVMVectorType(ll_type_memory(e, b->dtype), (unsigned)e->lanes);
}

static LLVMValueRef mask_vector(struct emit *e) {
    return e->mask.vector ? e->mask.vector : ll_const_int(LLVMVectorType(ll_type_int(e, 1), (unsigned)e->lanes), -1);
}

static bool native_masks(const struct emit *e, const struct buffer *b) {
    return e->wide_masks || (e->word_masks && yj_dtype_bytes(b->dtype) >= 4);
}

/* One vector on the stack for the whole function: what passes through it is read back at once. */
static LLVMValueRef lane_slot(struct emit *e) {
    if (!e->slot) e->slot = ll_stack_new(e, ll_type_int(e, 8), 64 * 8, 64 * 8);
    return e->slot;
}

/* Copies the elements of the lanes low <= lane < high one by one, between memory and a vector on the stack. */
static void copy_range(struct emit *e, const struct buffer *b, LLVMValueRef from, LLVMValueRef to) {
    LLVMTypeRef i64 = ll_type_int(e, 64), type = ll_type_memory(e, b->dtype);
    LLVMValueRef most = ll_const_int(i64, e->lanes), zero = ll_const_int(i64, 0);
    LLVMValueRef low[2] = {e->mask.low ? e->mask.low : zero, zero},
                 high[2] = {e->mask.high ? e->mask.high : most, most};
    struct ll_loop loop;
    ll_loop_open(e, ll_call_intrinsic(e, "llvm.smax", 1, &i64, 2, low),
                 ll_call_intrinsic(e, "llvm.smin", 1, &i64, 2, high), 1, &loop);
    LLVMValueRef v = LLVMBuildLoad2(e->b, type, advance(e, b, from, loop.index), "");
    LLVMBuildStore(e->b, v, advance(e, b, to, loop.index));
    ll_loop_close(e, &loop);
}

static LLVMValueRef load_contiguous(struct emit *e, const struct buffer *b, const struct place *p) {
    LLVMTypeRef type = memory_lanes(e, b), i32 = ll_type_int(e, 32);
    if (!e->mask.vector || p->safe) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, type, p->pointer, "");
        LLVMSetAlignment(v, p->align);
        return v;
    }
    if (native_masks(e, b) || e->mask.bits) {
        LLVMTypeRef types[2] = {type, LLVMTypeOf(p->pointer)};
        LLVMValueRef args[4] = {p->pointer, ll_const_int(i32, p->align), mask_vector(e), LLVMConstNull(type)};
        return ll_call_intrinsic(e, "llvm.masked.load", 2, types, 4, args);
    }
    LLVMValueRef slot = lane_slot(e);
    LLVMBuildStore(e->b, LLVMConstNull(type), slot);
    copy_range(e, b, p->pointer, slot);
    return LLVMBuildLoad2(e->b, type, slot, "");
}

static LLVMValueRef load_memory(struct emit *e, const struct buffer *b, const struct place *p) {
    if (p->pattern == CONTIGUOUS) return load_contiguous(e, b, p);
    if (p->pattern == UNIFORM) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, ll_type_memory(e, b->dtype), p->pointer, "");
        LLVMSetAlignment(v, p->align);
        return v;
    }
    LLVMTypeRef type = memory_lanes(e, b), types[2] = {type, LLVMTypeOf(p->pointer)};
    LLVMValueRef args[4] = {p->pointer, ll_const_int(ll_type_int(e, 32), p->align), mask_vector(e),
                            LLVMConstNull(type)};
    return ll_call_intrinsic(e, "llvm.masked.gather", 2, types, 4, args);
}

static LLVMValueRef emit_load(struct emit *e, const struct buffer *b, int n, struct expr *const *subs) {
    struct place p = place_find(e, b, n, subs);
    LLVMValueRef v = load_memory(e, b, &p);
    if (b->dtype != YJ_BOOL) return v;
    return LLVMBuildICmp(e->b, LLVMIntNE, v, ll_const_int(LLVMTypeOf(v), 0), "");
}

static void store_contiguous(struct emit *e, const struct buffer *b, const struct place *p, LLVMValueRef v) {
    LLVMTypeRef type = memory_lanes(e, b), i32 = ll_type_int(e, 32);
    if (e->mask.vector && !p->safe && !native_masks(e, b) && !e->mask.bits) {
        LLVMValueRef slot = lane_slot(e);
        LLVMBuildStore(e->b, v, slot);
        copy_range(e, b, slot, p->pointer);
        return;
    }
    if (e->mask.vector && !p->safe) {
        LLVMTypeRef types[2] = {type, LLVMTypeOf(p->pointer)};
        LLVMValueRef args[4] = {v, p->pointer, ll_const_int(i32, p->align), mask_vector(e)};
        ll_call_intrinsic(e, "llvm.masked.store", 2, types, 4, args);
        return;
    }
    if (e->mask.vector) {
        LLVMValueRef old = LLVMBuildLoad2(e->b, type, p->pointer, "");
        LLVMSetAlignment(old, p->align);
        v = LLVMBuildSelect(e->b, e->mask.vector, v, old, "");
    }
    LLVMSetAlignment(LLVMBuildStore(e->b, v, p->pointer), p->align);
}

void emit_store(struct emit *e, const struct buffer *b, int n, struct expr *const *subs, LLVMValueRef v) {
    struct place p = place_find(e, b, n, subs);
    if (b->dtype == YJ_BOOL) v = LLVMBuildZExt(e->b, v, ll_type_like(ll_type_int(e, 8), v), "");
    if (p.pattern == UNIFORM) {
        if (ll_value_lanes(v) || e->axis)
            emit_refuse(e, YJ_ERR_UNSUPPORTED, "lanes of %s store to one element of %s", e->axis->name, b->name);
        else
            LLVMSetAlignment(LLVMBuildStore(e->b, v, p.pointer), p.align);
        return;
    }
    v = ll_value_widen(e, v);
    if (p.pattern == CONTIGUOUS) {
        store_contiguous(e, b, &p, v);
        return;
    }
    LLVMTypeRef types[2] = {LLVMTypeOf(v), LLVMTypeOf(p.pointer)};
    LLVMValueRef args[4] = {v, p.pointer, ll_const_int(ll_type_int(e, 32), p.align), mask_vector(e)};
    ll_call_intrinsic(e, "llvm.masked.scatter", 2, types, 4, args);
}

/* --- expressions --- */

/* x < y over lanes is difference > 0, and the difference is linear in the lane: lanes up to a bound, or from one on. */
bool emit_lane_range(struct emit *e, const struct expr *x, struct ll_mask *range) {
    if (!e->axis || x->kind != EXPR_OP || x->op < SCALAR_lt || x->op > SCALAR_ge) return false;
    if (x->arg[0]->kind != EXPR_DIM || x->arg[1]->kind != EXPR_DIM) return false;
    struct dim_table *t = e->k->dims;
    bool swap = x->op == SCALAR_gt || x->op == SCALAR_ge, strict = x->op == SCALAR_lt || x->op == SCALAR_gt;
    dim small = x->arg[swap]->dim, large = x->arg[!swap]->dim;
    dim spare = dim_sub(t, dim_sub(t, large, small), dim_const(t, strict)); /* holds where spare >= 0 */
    int64_t c;
    if (!ll_coefficient_is(e, spare, e->axis, &c) || c == 0) return false;
    *range = (struct ll_mask){NULL, NULL, NULL, NULL};
    if (spare->low >= 0) return true;
    LLVMValueRef first = emit_dim(e, spare), by = ll_const_int(ll_type_int(e, 64), c < 0 ? -c : c);
    if (c != 1 && c != -1) {
        LLVMTypeRef i64 = ll_type_int(e, 64);
        LLVMValueRef r = LLVMBuildSRem(e->b, first, by, ""), q = LLVMBuildSDiv(e->b, first, by, "");
        LLVMValueRef off = LLVMBuildICmp(e->b, LLVMIntSLT, r, ll_const_int(i64, 0), "");
        first = add_nsw(e, q, LLVMBuildSExt(e->b, off, i64, ""));
    }
    if (c < 0)
        range->high = add_nsw(e, first, ll_const_int(ll_type_int(e, 64), 1));
    else
        range->low = LLVMBuildNSWNeg(e->b, first, "");
    return true;
}

/* A bound on lanes, brought into 0 .. lanes so that it fits in 32 bits. */
static LLVMValueRef bound_lanes(struct emit *e, LLVMValueRef bound) {
    LLVMTypeRef i64 = ll_type_int(e, 64), i32 = ll_type_int(e, 32);
    LLVMValueRef low[2] = {bound, ll_const_int(i64, 0)};
    LLVMValueRef high[2] = {ll_call_intrinsic(e, "llvm.smax", 1, &i64, 2, low), ll_const_int(i64, e->lanes)};
    return ll_value_splat(e, LLVMBuildTrunc(e->b, ll_call_intrinsic(e, "llvm.smin", 1, &i64, 2, high), i32, ""),
                          e->lanes);
}

LLVMValueRef emit_range_vector(struct emit *e, const struct ll_mask *range) {
    LLVMValueRef iota = ll_const_iota(e, 32, e->lanes), all = NULL;
    if (range->low) all = LLVMBuildICmp(e->b, LLVMIntSGE, iota, bound_lanes(e, range->low), "");
    if (!range->high) return all;
    LLVMValueRef below = LLVMBuildICmp(e->b, LLVMIntSLT, iota, bound_lanes(e, range->high), "");
    return all ? LLVMBuildAnd(e->b, all, below, "") : below;
}

static LLVMValueRef emit_const(struct emit *e, const struct expr *x) {
    LLVMTypeRef type = ll_type_value(e, x->dtype);
    double f = x->constant.f;
    switch (x->dtype) {
    case YJ_F32:
        return LLVMConstReal(type, (float)f);
    case YJ_F64:
        return LLVMConstReal(type, f);
    case YJ_F16:
        return LLVMConstInt(type, f32_to_f16((float)f), 0);
    case YJ_BF16:
        return LLVMConstInt(type, f32_to_bf16((float)f), 0);
    case YJ_E4M3:
        return LLVMConstInt(type, f32_to_e4m3((float)f), 0);
    case YJ_E5M2:
        return LLVMConstInt(type, f32_to_e5m2((float)f), 0);
    default:
        return LLVMConstInt(type, (unsigned long long)x->constant.i, 1);
    }
}

static LLVMValueRef let_value(struct emit *e, const struct stmt *let) {
    for (int i = e->scope.n_lets - 1; i >= 0; i--)
        if (e->scope.let[i].let == let) return e->scope.let[i].value;
    emit_refuse(e, YJ_ERR_INTERNAL, "let %s is not bound here", let->name);
    return LLVMGetPoison(ll_type_value(e, let->value->dtype));
}

static LLVMValueRef emit_operation(struct emit *e, const struct expr *x) {
    struct ll_mask range;
    if (emit_lane_range(e, x, &range)) {
        LLVMValueRef lanes = emit_range_vector(e, &range);
        return lanes ? lanes : ll_const_int(ll_type_int(e, 1), 1);
    }
    LLVMValueRef v[3];
    for (int i = 0; i < x->n; i++)
        v[i] = emit_expr(e, x->arg[i]);
    ll_value_match(e, x->n, v);
    return emit_op(e, x->op, x->arg[x->op == SCALAR_select]->dtype, v);
}

LLVMValueRef emit_expr(struct emit *e, const struct expr *x) {
    switch (x->kind) {
    case EXPR_CONST:
        return emit_const(e, x);
    case EXPR_DIM:
        return emit_dim_lanes(e, x->dim);
    case EXPR_LOAD:
        return emit_load(e, x->buffer, x->n, x->arg);
    case EXPR_LET:
        return let_value(e, x->let);
    case EXPR_OP:
        return emit_operation(e, x);
    case EXPR_CAST:
        return emit_cast(e, x->dtype, x->arg[0]->dtype, emit_expr(e, x->arg[0]));
    case EXPR_BITCAST:
        return emit_bitcast(e, x->dtype, x->arg[0]->dtype, emit_expr(e, x->arg[0]));
    }
    return NULL;
}

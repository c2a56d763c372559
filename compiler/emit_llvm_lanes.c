/* SPDX-License-Identifier: Apache-2.0
 *
 * Vector loops and conditions as LLVM IR. The one idea: a vector loop is cut into chunks of a few registers and each
 * chunk's body is emitted once for all its lanes; a condition on the lane splits into a scalar range of lanes, so that
 * a full tile is tested with one scalar compare and runs without masks, and only an edge tile takes the masked copy of
 * the code.
 */
#include "compiler/emit_llvm.h"

#define HEAVY 150     /* nodes of a body whose masked copy alone will do where masks cost little */
#define MAX_CHUNKS 16 /* of one vector loop; beyond, a serial loop over chunks */

/* --- which vector loops can be emitted as vectors --- */

struct inspect {
    dim axis;
    const struct stmt *loop;
    bool possible;
    int registers; /* bytes of the widest element of a register buffer of outside that it touches; 0: none */
    int weight;    /* expression nodes */
};

static void touch(struct inspect *in, const struct buffer *b) {
    int bytes = (int)yj_dtype_bytes(b->dtype);
    if (b->space == SPACE_REG && bytes > in->registers) in->registers = bytes;
}

static bool declared_inside(const struct stmt *body, const struct buffer *b) {
    for (const struct stmt *s = body; s; s = s->next)
        if ((s->kind == STMT_BUFFER && s->buffer == b) || (s->body && declared_inside(s->body, b))) return true;
    return false;
}

static bool varies(const struct inspect *in, const struct expr *x) {
    if (x->kind == EXPR_DIM) return dim_contains(x->dim, in->axis);
    if (x->kind == EXPR_LET) return varies(in, x->let->value);
    if (x->kind == EXPR_LOAD && declared_inside(in->loop->body, x->buffer)) return true;
    for (int i = 0; i < x->n; i++)
        if (varies(in, x->arg[i])) return true;
    return false;
}

static void inspect_expr(void *user, struct expr *x) {
    struct inspect *in = user;
    in->weight++;
    if (x->kind == EXPR_OP && x->op == SCALAR_div) in->weight += 2;
    if (x->kind == EXPR_LOAD) touch(in, x->buffer);
}

static void inspect_stmt(void *user, struct stmt *s) {
    struct inspect *in = user;
    stmt_exprs(s, inspect_expr, in);
    switch (s->kind) {
    case STMT_LOOP:
        if (s->axis_kind != AXIS_SERIAL && s->axis_kind != AXIS_UNROLL) in->possible = false;
        if (dim_contains(s->from, in->axis) || dim_contains(s->to, in->axis)) in->possible = false;
        return;
    case STMT_STORE: {
        bool moves = declared_inside(in->loop->body, s->buffer);
        for (int i = 0; i < s->n_subs && !moves; i++)
            moves = varies(in, s->subs[i]);
        if (!moves) in->possible = false;
        touch(in, s->buffer);
        return;
    }
    case STMT_BUFFER:
        if (s->buffer->space != SPACE_REG) in->possible = false;
        return;
    case STMT_IF:
    case STMT_LET:
    case STMT_CHECK:
        return;
    default:
        in->possible = false;
    }
}

static int register_lanes(const struct emit *e) {
    return e->vector_bits / 32;
}

/* Lanes of a chunk: one register of elements, of 32 bits or fewer, where register buffers take part, so that each stays
 * one register; one of 32-bit elements where much is computed for each lane; more where little is, for fewer branches
 * and addresses. */
static int chunk_lanes(const struct emit *e, const struct inspect *in) {
    int lanes = register_lanes(e);
    if (in->registers == 1 || in->registers == 2)
        return lanes * 4 / in->registers > 64 ? 64 : lanes * 4 / in->registers;
    if (in->registers || in->weight > 40) return lanes;
    lanes *= in->weight > 12 ? 2 : 4;
    return lanes > 64 ? 64 : lanes;
}

/* --- masks --- */

static LLVMValueRef wider_bound(struct emit *e, const char *intrinsic, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef v[2] = {a, b};
    LLVMTypeRef i64 = ll_type_int(e, 64);
    return a && b ? ll_call_intrinsic(e, intrinsic, 1, &i64, 2, v) : a ? a : b;
}

static void range_join(struct emit *e, struct ll_mask *a, const struct ll_mask *b) {
    a->low = wider_bound(e, "llvm.smax", a->low, b->low);
    a->high = wider_bound(e, "llvm.smin", a->high, b->high);
}

static LLVMValueRef both(struct emit *e, LLVMValueRef a, LLVMValueRef b) {
    return a && b ? LLVMBuildAnd(e->b, a, b, "") : a ? a : b;
}

/* A condition as a conjunction: of scalars, of lane ranges, and of what differs from lane to lane otherwise. */
struct condition {
    LLVMValueRef scalar;
    struct ll_mask mask;
};

static void split_condition(struct emit *e, const struct expr *x, struct condition *c) {
    struct ll_mask range;
    if (x->kind == EXPR_OP && x->op == SCALAR_and) {
        split_condition(e, x->arg[0], c);
        split_condition(e, x->arg[1], c);
    } else if (emit_lane_range(e, x, &range)) {
        range_join(e, &c->mask, &range);
    } else {
        LLVMValueRef v = emit_expr(e, x);
        if (ll_value_lanes(v))
            c->mask.bits = both(e, c->mask.bits, v);
        else
            c->scalar = both(e, c->scalar, v);
    }
}

/* Every lane of 0 .. lanes is in the range; NULL: known to be. */
static LLVMValueRef range_full(struct emit *e, const struct ll_mask *range, int64_t lanes) {
    LLVMTypeRef i64 = ll_type_int(e, 64);
    LLVMValueRef low = range->low ? LLVMBuildICmp(e->b, LLVMIntSLE, range->low, ll_const_int(i64, 0), "") : NULL;
    LLVMValueRef high = range->high ? LLVMBuildICmp(e->b, LLVMIntSGE, range->high, ll_const_int(i64, lanes), "") : NULL;
    return both(e, low, high);
}

LLVMValueRef ll_any_bit(struct emit *e, LLVMValueRef lanes) {
    LLVMTypeRef type = LLVMTypeOf(lanes);
    return ll_call_intrinsic(e, "llvm.vector.reduce.or", 1, &type, 1, &lanes);
}

static LLVMValueRef any_lane(struct emit *e, const struct ll_mask *m) {
    LLVMTypeRef i64 = ll_type_int(e, 64);
    if (m->bits) return ll_any_bit(e, m->vector);
    LLVMValueRef low = m->low ? LLVMBuildICmp(e->b, LLVMIntSLT, m->low, ll_const_int(i64, e->lanes), "") : NULL;
    LLVMValueRef high = m->high ? LLVMBuildICmp(e->b, LLVMIntSGT, m->high, ll_const_int(i64, 0), "") : NULL;
    LLVMValueRef order = low && high ? LLVMBuildICmp(e->b, LLVMIntSLT, m->low, m->high, "") : NULL;
    return both(e, both(e, low, high), order);
}

/* Emits BODY under the present mask narrowed by MASK, skipped when no lane is left (so that scalar loads in it are
 * safe). */
static void masked_body(struct emit *e, const struct ll_mask *mask, const struct stmt *body) {
    struct ll_mask before = e->mask, inner = e->mask;
    range_join(e, &inner, mask);
    inner.bits = both(e, inner.bits, mask->bits);
    inner.vector = both(e, emit_range_vector(e, &inner), inner.bits);
    LLVMBasicBlockRef some = ll_block_new(e, "lanes"), end = ll_block_new(e, "after");
    LLVMBuildCondBr(e->b, any_lane(e, &inner), some, end);
    LLVMPositionBuilderAtEnd(e->b, some);
    e->mask = inner;
    ll_scoped_body(e, body);
    e->mask = before;
    ll_block_enter(e, end);
}

/* Branches around what follows unless CONDITION (NULL: true); returns the block to go on in, NULL if there is none. */
LLVMBasicBlockRef ll_skip_unless(struct emit *e, LLVMValueRef condition) {
    if (!condition) return NULL;
    LLVMBasicBlockRef then = ll_block_new(e, "then"), end = ll_block_new(e, "after");
    LLVMBuildCondBr(e->b, condition, then, end);
    LLVMPositionBuilderAtEnd(e->b, then);
    return end;
}

void emit_if(struct emit *e, const struct stmt *s) {
    struct condition c = {0};
    split_condition(e, s->value, &c);
    LLVMBasicBlockRef end = ll_skip_unless(e, c.scalar);
    bool some = c.mask.low || c.mask.high || c.mask.bits;
    LLVMBasicBlockRef edge = NULL, done = NULL;
    if (some && !c.mask.bits && !e->mask.vector &&
        e->unrolled <= 64) { /* full lanes: a copy of the body without masks */
        LLVMBasicBlockRef full = ll_block_new(e, "full");
        edge = ll_block_new(e, "edge");
        done = ll_block_new(e, "after");
        LLVMBuildCondBr(e->b, range_full(e, &c.mask, e->lanes), full, edge);
        LLVMPositionBuilderAtEnd(e->b, full);
        ll_scoped_body(e, s->body);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, edge);
    }
    if (some)
        masked_body(e, &c.mask, s->body);
    else
        ll_scoped_body(e, s->body);
    if (done) ll_block_enter(e, done);
    if (end) ll_block_enter(e, end);
}

/* --- vector loops --- */

/* One chunk: lanes AT .. AT + LANES of the loop, counted from FIRST (the axis at lane AT); RANGE as in the whole loop.
 */
static void chunk(struct emit *e, const struct stmt *s, LLVMValueRef first, LLVMValueRef at, int lanes,
                  const struct ll_mask *range, const struct stmt *body) {
    struct ll_mask own = {NULL, NULL, NULL, NULL};
    if (range && range->low) own.low = LLVMBuildNSWSub(e->b, range->low, at, "");
    if (range && range->high) own.high = LLVMBuildNSWSub(e->b, range->high, at, "");
    bool some = own.low || own.high;
    ll_scope_bind(e, s->axis, first, NULL);
    if (lanes == 1) {
        LLVMTypeRef i64 = ll_type_int(e, 64);
        LLVMValueRef low = own.low ? LLVMBuildICmp(e->b, LLVMIntSLE, own.low, ll_const_int(i64, 0), "") : NULL;
        LLVMValueRef high = own.high ? LLVMBuildICmp(e->b, LLVMIntSGT, own.high, ll_const_int(i64, 0), "") : NULL;
        LLVMBasicBlockRef end = ll_skip_unless(e, both(e, low, high));
        ll_scoped_body(e, body);
        if (end) ll_block_enter(e, end);
    } else {
        e->axis = s->axis;
        e->lanes = lanes;
        if (some)
            masked_body(e, &own, body);
        else
            ll_scoped_body(e, body);
        e->axis = NULL;
        e->lanes = 0;
    }
    e->scope.n_symbols--;
}

static int largest_power(int64_t n) {
    int p = 1;
    while (p * 2 <= n)
        p *= 2;
    return p;
}

/* The whole loop in chunks of at most LANES: unrolled, or when there are many, a serial loop over them and the rest. */
static void chunks(struct emit *e, const struct stmt *s, int64_t extent, int lanes, const struct ll_mask *range,
                   const struct stmt *body) {
    LLVMTypeRef i64 = ll_type_int(e, 64);
    int64_t at = 0;
    if (extent / lanes > MAX_CHUNKS) {
        struct ll_loop loop;
        at = extent / lanes * lanes;
        ll_loop_open(e, ll_const_int(i64, 0), ll_const_int(i64, at), lanes, &loop);
        LLVMValueRef first = LLVMBuildNSWAdd(e->b, emit_dim(e, s->from), loop.index, "");
        chunk(e, s, first, loop.index, lanes, range, body);
        ll_loop_close(e, &loop);
    }
    while (at < extent) {
        int n = extent - at >= lanes ? lanes : largest_power(extent - at);
        chunk(e, s, ll_axis_value(e, s, at), ll_const_int(i64, at), n, range, body);
        at += n;
    }
}

/* A conjunction of lane ranges and of what is the same for all lanes, with at least one range. */
static bool only_ranges(struct emit *e, const struct inspect *in, const struct expr *x, bool *some) {
    if (x->kind == EXPR_OP && x->op == SCALAR_and)
        return only_ranges(e, in, x->arg[0], some) && only_ranges(e, in, x->arg[1], some);
    if (!varies(in, x)) return true;
    int64_t c;
    *some = true;
    return x->kind == EXPR_OP && x->op >= SCALAR_lt && x->op <= SCALAR_ge && x->arg[0]->kind == EXPR_DIM &&
           x->arg[1]->kind == EXPR_DIM &&
           ll_coefficient_is(e, dim_sub(e->k->dims, x->arg[0]->dim, x->arg[1]->dim), in->axis, &c) && c != 0;
}

/* A loop whose whole body is one such condition: tested once for the whole loop, not for each chunk. */
static bool guarded_loop(struct emit *e, const struct inspect *in, int64_t extent, int lanes) {
    const struct stmt *s = in->loop, *guard = s->body;
    bool some = false;
    if (!guard || guard->next || guard->kind != STMT_IF || !only_ranges(e, in, guard->value, &some) || !some)
        return false;
    struct condition c = {0};
    ll_scope_bind(e, s->axis, emit_dim(e, s->from), NULL);
    e->axis = s->axis;
    split_condition(e, guard->value, &c);
    e->axis = NULL;
    e->scope.n_symbols--;
    LLVMBasicBlockRef end = ll_skip_unless(e, c.scalar);
    LLVMValueRef all = range_full(e, &c.mask, extent);
    if (!all) {
        chunks(e, s, extent, lanes, NULL, guard->body);
    } else if (e->wide_masks && in->weight > HEAVY) {
        chunks(e, s, extent, lanes, &c.mask, guard->body);
    } else {
        LLVMBasicBlockRef full = ll_block_new(e, "full"), edge = ll_block_new(e, "edge"),
                          done = ll_block_new(e, "after");
        LLVMBuildCondBr(e->b, all, full, edge);
        LLVMPositionBuilderAtEnd(e->b, full);
        chunks(e, s, extent, lanes, NULL, guard->body);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, edge);
        chunks(e, s, extent, lanes, &c.mask, guard->body);
        ll_block_enter(e, done);
    }
    if (end) ll_block_enter(e, end);
    return true;
}

void emit_vector_loop(struct emit *e, const struct stmt *s) {
    int64_t extent = ll_constant_trips(e, s);
    struct inspect in = {s->axis, s, true, 0, 0};
    kernel_walk(s->body, inspect_stmt, &in);
    int lanes = chunk_lanes(e, &in);
    if (lanes > extent) lanes = largest_power(extent > 0 ? extent : 1);
    if (e->scalar || e->axis || !in.possible || lanes < 2) {
        if (extent <= 8 && in.registers)
            ll_unroll_loop(e, s);
        else
            ll_serial_loop(e, s);
        return;
    }
    if (guarded_loop(e, &in, extent, lanes)) return;
    chunks(e, s, extent, lanes, NULL, s->body);
}

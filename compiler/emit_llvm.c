/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements and functions as LLVM IR. The one idea: each kernel is two functions. The exported one has the kernel ABI
 * and takes its arguments apart; the inner one has a parameter for each buffer, which LLVM may take as not overlapping,
 * and walks its tiles. Loops are emitted in the shape that the form asks for and marked so that LLVM leaves them alone.
 */
#include "compiler/emit_llvm.h"

#include <llvm-c/DebugInfo.h>
#include <stdarg.h>
#include <stdio.h>

#define MAX_UNROLLED 2048     /* copies of a statement; beyond, an unroll loop becomes a serial loop */
#define MAX_STACK (128 << 10) /* bytes of register buffers and spills of one kernel */

void emit_refuse(struct emit *e, enum yj_status status, const char *format, ...) {
    if (e->status != YJ_OK) return;
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    e->status = report(status, "kernel %s for %s: %s", e->k->name, e->target->name, line);
}

/* --- blocks, loops, the stack --- */

LLVMBasicBlockRef ll_block_new(struct emit *e, const char *name) {
    return LLVMAppendBasicBlockInContext(e->context, e->function, name);
}

/* Goes on in BLOCK, from here. */
void ll_block_enter(struct emit *e, LLVMBasicBlockRef block) {
    LLVMBuildBr(e->b, block);
    LLVMPositionBuilderAtEnd(e->b, block);
}

LLVMValueRef ll_stack_new(struct emit *e, LLVMTypeRef type, int64_t n, int64_t bytes) {
    e->stack_bytes += bytes;
    if (bytes > MAX_STACK || e->stack_bytes > MAX_STACK) {
        emit_refuse(e, YJ_ERR_UNSUPPORTED, "register buffers of more than %d bytes", MAX_STACK);
        return LLVMGetPoison(LLVMPointerTypeInContext(e->context, 0));
    }
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMMetadataRef location = ll_debug_line(e, 0);
    LLVMPositionBuilder(e->b, e->entry, LLVMGetBasicBlockTerminator(e->entry));
    LLVMValueRef slot = LLVMBuildAlloca(e->b, LLVMArrayType2(type, (uint64_t)n), "");
    LLVMSetAlignment(slot, 64);
    LLVMPositionBuilderAtEnd(e->b, here);
    ll_debug_restore(e, location);
    return slot;
}

/* Loops are in the shape the form asked for: LLVM neither unrolls nor vectorises them again. */
static void keep_loop(struct emit *e, LLVMValueRef branch) {
    static const char *const no[] = {"llvm.loop.unroll.disable", "llvm.loop.vectorize.enable"};
    LLVMMetadataRef self = LLVMTemporaryMDNode(e->context, NULL, 0), nodes[3] = {self, NULL, NULL};
    for (int i = 0; i < 2; i++) {
        LLVMMetadataRef parts[2] = {LLVMMDStringInContext2(e->context, no[i], strlen(no[i])),
                                    LLVMValueAsMetadata(ll_const_int(ll_type_int(e, 1), 0))};
        nodes[i + 1] = LLVMMDNodeInContext2(e->context, parts, i == 0 ? 1 : 2);
    }
    LLVMMetadataRef node = LLVMMDNodeInContext2(e->context, nodes, 3);
    LLVMMetadataReplaceAllUsesWith(self, node);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(e->context, "llvm.loop", 9),
                    LLVMMetadataAsValue(e->context, node));
}

void ll_loop_open(struct emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step, struct ll_loop *loop) {
    *loop = (struct ll_loop){ll_block_new(e, "loop"), ll_block_new(e, "after"), NULL, NULL, to, step};
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, from, to, ""), loop->body, loop->end);
    LLVMPositionBuilderAtEnd(e->b, loop->body);
    loop->index = LLVMBuildPhi(e->b, ll_type_int(e, 64), "");
    LLVMAddIncoming(loop->index, &from, &before, 1);
    loop->anchor = ll_anchor_new(e, loop->index);
}

void ll_loop_close(struct emit *e, struct ll_loop *loop) {
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, loop->index, ll_const_int(ll_type_int(e, 64), loop->step), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntSLT, next, loop->to, "");
    keep_loop(e, LLVMBuildCondBr(e->b, more, loop->body, loop->end));
    LLVMPositionBuilderAtEnd(e->b, loop->end);
}

/* Everything bound by BODY is forgotten at its end. */
void ll_scoped_body(struct emit *e, const struct stmt *body) {
    struct ll_scope at = e->scope;
    emit_body(e, body);
    e->scope.n_symbols = at.n_symbols;
    e->scope.n_lets = at.n_lets;
    e->scope.n_buffers = at.n_buffers;
}

static void body_with(struct emit *e, dim axis, LLVMValueRef value, LLVMValueRef anchor, const struct stmt *body) {
    ll_scope_bind(e, axis, value, anchor);
    ll_scoped_body(e, body);
    e->scope.n_symbols--;
}

void ll_serial_loop(struct emit *e, const struct stmt *s) {
    struct ll_loop loop;
    ll_loop_open(e, emit_dim(e, s->from), emit_dim(e, s->to), s->step, &loop);
    body_with(e, s->axis, loop.index, loop.anchor, s->body);
    ll_loop_close(e, &loop);
}

int64_t ll_constant_trips(struct emit *e, const struct stmt *s) {
    int64_t trips;
    if (dim_is_const(stmt_trips(e->k, s), &trips)) return trips;
    emit_refuse(e, YJ_ERR_INTERNAL, "the extent of %s is not constant", s->axis->name);
    return 0;
}

/* FROM + number * step: constant if FROM is. */
LLVMValueRef ll_axis_value(struct emit *e, const struct stmt *s, int64_t number) {
    return LLVMBuildNSWAdd(e->b, emit_dim(e, s->from), ll_const_int(ll_type_int(e, 64), number * s->step), "");
}

void ll_unroll_loop(struct emit *e, const struct stmt *s) {
    int64_t trips = ll_constant_trips(e, s);
    if (trips > 64 || trips * e->unrolled > MAX_UNROLLED) {
        ll_serial_loop(e, s);
        return;
    }
    int before = e->unrolled;
    if (trips > 1) e->unrolled *= (int)trips;
    for (int64_t i = 0; i < trips; i++)
        body_with(e, s->axis, ll_axis_value(e, s, i), NULL, s->body);
    e->unrolled = before;
}

/* --- statements --- */

static void declare(struct emit *e, const struct buffer *b) {
    struct ll_scope *scope = &e->scope;
    LLVMValueRef base = NULL;
    int lanes = 0;
    if (b->space == SPACE_REG) {
        int64_t n = 1, extent = 0;
        for (int i = 0; i < b->rank; i++) {
            if (!dim_is_const(b->shape[i], &extent) || extent < 0 || n * extent > MAX_STACK) {
                emit_refuse(e, YJ_ERR_UNSUPPORTED, "register buffer %s is too large", b->name);
                extent = 0;
            }
            n *= extent;
        }
        lanes = e->axis ? e->lanes : 0;
        int64_t copies = n * (lanes ? lanes : 1);
        base = ll_stack_new(e, ll_type_memory(e, b->dtype), copies, copies * (int64_t)yj_dtype_bytes(b->dtype));
    } else {
        LLVMValueRef offset = emit_dim(e, kernel_scratch_offset(e->k, b));
        base = LLVMBuildGEP2(e->b, ll_type_int(e, 8), e->scratch, &offset, 1, "");
    }
    if (scope->n_buffers == scope->buffer_room) {
        int room = scope->buffer_room ? scope->buffer_room * 2 : 16;
        struct bound_buffer *bigger = NEW_ARRAY(e->arena, struct bound_buffer, room);
        if (scope->n_buffers) memcpy(bigger, scope->buffer, (size_t)scope->n_buffers * sizeof *bigger);
        scope->buffer = bigger;
        scope->buffer_room = room;
    }
    scope->buffer[scope->n_buffers++] = (struct bound_buffer){b, base, lanes};
}

static void bind_let(struct emit *e, const struct stmt *s) {
    struct ll_scope *scope = &e->scope;
    LLVMValueRef value = emit_expr(e, s->value);
    if (scope->n_lets == scope->let_room) {
        int room = scope->let_room ? scope->let_room * 2 : 32;
        struct bound_let *bigger = NEW_ARRAY(e->arena, struct bound_let, room);
        if (scope->n_lets) memcpy(bigger, scope->let, (size_t)scope->n_lets * sizeof *bigger);
        scope->let = bigger;
        scope->let_room = room;
    }
    scope->let[scope->n_lets++] = (struct bound_let){s, value};
}

/* The fault is the first one: whoever changes its code from 0 writes the value. */
static void record_fault(struct emit *e, int code, LLVMValueRef value) {
    LLVMTypeRef i32 = ll_type_int(e, 32), i64 = ll_type_int(e, 64);
    LLVMValueRef swap = LLVMBuildAtomicCmpXchg(e->b, e->fault, ll_const_int(i32, 0), ll_const_int(i32, code),
                                               LLVMAtomicOrderingMonotonic, LLVMAtomicOrderingMonotonic, 0);
    LLVMBasicBlockRef end = ll_skip_unless(e, LLVMBuildExtractValue(e->b, swap, 1, ""));
    LLVMValueRef eight = ll_const_int(i64, 8);
    LLVMSetAlignment(LLVMBuildStore(e->b, value, LLVMBuildGEP2(e->b, ll_type_int(e, 8), e->fault, &eight, 1, "")), 8);
    ll_block_enter(e, end);
}

static void check_value(struct emit *e, const struct stmt *s) {
    LLVMValueRef good = emit_expr(e, s->value), value = emit_expr(e, s->fault_value);
    LLVMValueRef bad = LLVMBuildXor(e->b, good, ll_const_int(LLVMTypeOf(good), -1), "");
    if (e->mask.vector && (ll_value_lanes(bad) || ll_value_lanes(value)))
        bad = LLVMBuildAnd(e->b, ll_value_widen(e, bad), e->mask.vector, "");
    else if (ll_value_lanes(value))
        bad = ll_value_widen(e, bad);
    if (!ll_value_lanes(bad)) {
        LLVMBasicBlockRef end = ll_skip_unless(e, bad);
        record_fault(e, s->fault_code, value);
        ll_block_enter(e, end);
        return;
    }
    LLVMBasicBlockRef end = ll_skip_unless(e, ll_any_bit(e, bad));
    LLVMTypeRef bits = ll_type_int(e, e->lanes);
    LLVMValueRef args[2] = {LLVMBuildBitCast(e->b, bad, bits, ""), ll_const_int(ll_type_int(e, 1), 1)};
    LLVMValueRef first = ll_call_intrinsic(e, "llvm.cttz", 1, &bits, 2, args);
    first = LLVMBuildIntCast2(e->b, first, ll_type_int(e, 64), 0, "");
    record_fault(e, s->fault_code, LLVMBuildExtractElement(e->b, ll_value_widen(e, value), first, ""));
    ll_block_enter(e, end);
}

static void emit_stmt(struct emit *e, const struct stmt *s) {
    switch (s->kind) {
    case STMT_LOOP:
        if (s->axis_kind == AXIS_VECTOR)
            emit_vector_loop(e, s);
        else if (s->axis_kind == AXIS_UNROLL)
            ll_unroll_loop(e, s);
        else
            ll_serial_loop(e, s); /* lanes too: no barrier is inside */
        return;
    case STMT_IF:
        emit_if(e, s);
        return;
    case STMT_BUFFER:
        declare(e, s->buffer);
        return;
    case STMT_LET:
        bind_let(e, s);
        return;
    case STMT_STORE:
        emit_store(e, s->buffer, s->n_subs, s->subs, emit_expr(e, s->value));
        return;
    case STMT_CHECK:
        check_value(e, s);
        return;
    case STMT_FMA_TILE:
        emit_fma_tile(e, s);
        return;
    case STMT_COPY:
        emit_copy(e, s);
        return;
    case STMT_PREFETCH:
        emit_prefetch(e, s);
        return;
    case STMT_WAIT:
        return; /* the copy was made where it stands */
    case STMT_BARRIER:
        emit_refuse(e, YJ_ERR_UNSUPPORTED, "a barrier between lanes needs a GPU");
        return;
    case STMT_REDUCE:
        emit_refuse(e, YJ_ERR_INTERNAL, "a reduce reached the emitter");
        return;
    }
}

void emit_body(struct emit *e, const struct stmt *body) {
    for (const struct stmt *s = body; s && e->status == YJ_OK; s = s->next) {
        LLVMMetadataRef outside = ll_debug_line(e, s->line);
        emit_stmt(e, s);
        ll_debug_restore(e, outside);
    }
}

/* --- the function --- */

static void add_attribute(struct emit *e, LLVMValueRef f, unsigned index, const char *name, uint64_t value) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(f, index, LLVMCreateEnumAttribute(e->context, kind, value));
}

static void add_text_attribute(struct emit *e, LLVMValueRef f, const char *name, const char *value) {
    LLVMAttributeRef attribute =
        LLVMCreateStringAttribute(e->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex, attribute);
}

static void function_attributes(struct emit *e, LLVMValueRef f) {
    unsigned at = (unsigned)LLVMAttributeFunctionIndex;
    add_attribute(e, f, at, "nounwind", 0);
    add_attribute(e, f, at, "uwtable", 1); /* for backtraces; always, since LLVM schedules prologues around them */
    add_text_attribute(e, f, "no-builtins", ""); /* else LLVM turns loops into calls of memcpy and memset */
    add_text_attribute(e, f, "prefer-vector-width", "512");
    if (e->target->vector_lengths[0] && (e->arch == ARCH_ARM || e->arch == ARCH_RISCV)) {
        uint64_t granules = (uint64_t)e->vector_bits / (e->arch == ARCH_ARM ? 128 : 64);
        add_attribute(e, f, at, "vscale_range", granules << 32 | granules);
    }
}

/* A result made in place is INOUT, and the operand whose memory it takes over is an argument all the same. */
static bool may_alias(const struct kernel *k, const struct buffer *b) {
    for (const struct buffer *other = k->args; other; other = other->next)
        if (other->role == ROLE_INOUT && (other == b || other->dtype == b->dtype)) return true;
    return false;
}

/* The inner function: one pointer for each buffer, noalias, then the dims, the tile range, scratch and fault. */
static LLVMValueRef inner_function(struct emit *e) {
    struct kernel *k = e->k;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0), i64 = ll_type_int(e, 64);
    int n = k->n_args + k->n_dims + 4, at = 0;
    LLVMTypeRef *types = NEW_ARRAY(e->arena, LLVMTypeRef, n);
    for (int i = 0; i < k->n_args; i++)
        types[at++] = pointer;
    for (int i = 0; i < k->n_dims + 2; i++)
        types[at++] = i64;
    types[at++] = pointer;
    types[at++] = pointer;
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), types, (unsigned)n, 0);
    LLVMValueRef f = LLVMAddFunction(e->module, arena_text(e->arena, "%s.tiles", k->name), type);
    LLVMSetLinkage(f, LLVMInternalLinkage);
    function_attributes(e, f);
    add_attribute(e, f, (unsigned)LLVMAttributeFunctionIndex, "noinline", 0);
    for (const struct buffer *b = k->args; b; b = b->next) {
        unsigned index = (unsigned)b->index + 1;
        if (!may_alias(k, b)) add_attribute(e, f, index, "noalias", 0);
        if (b->role == ROLE_IN) add_attribute(e, f, index, "readonly", 0);
        add_attribute(e, f, index, "align", e->own_alignment ? yj_dtype_bytes(b->dtype) : 64);
    }
    add_attribute(e, f, (unsigned)n - 1, "noalias", 0);
    add_attribute(e, f, (unsigned)n - 1, "align", 64);
    add_attribute(e, f, (unsigned)n, "align", 8);
    return f;
}

/* The exported function takes the arguments of ABI 1 apart and calls the inner one, whose parameters can be noalias. */
static void outer_function(struct emit *e, LLVMValueRef inner) {
    struct kernel *k = e->k;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0), i64 = ll_type_int(e, 64);
    LLVMTypeRef types[6] = {pointer, pointer, i64, i64, pointer, pointer};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), types, 6, 0);
    LLVMValueRef f = LLVMAddFunction(e->module, k->name, type);
    if (e->hidden) LLVMSetVisibility(f, LLVMHiddenVisibility);
    function_attributes(e, f);
    e->function = f;
    LLVMPositionBuilderAtEnd(e->b, ll_block_new(e, "entry"));
    ll_debug_function(e, f);
    int n = k->n_args + k->n_dims + 4, at = 0;
    LLVMValueRef *args = NEW_ARRAY(e->arena, LLVMValueRef, n);
    for (int i = 0; i < k->n_args; i++) {
        LLVMValueRef index = ll_const_int(i64, i);
        args[at++] = LLVMBuildLoad2(e->b, pointer, LLVMBuildGEP2(e->b, pointer, LLVMGetParam(f, 0), &index, 1, ""), "");
    }
    for (int i = 0; i < k->n_dims; i++) {
        LLVMValueRef index = ll_const_int(i64, i);
        args[at++] = LLVMBuildLoad2(e->b, i64, LLVMBuildGEP2(e->b, i64, LLVMGetParam(f, 1), &index, 1, ""), "");
    }
    for (unsigned i = 2; i < 6; i++)
        args[at++] = LLVMGetParam(f, i);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(inner), inner, args, (unsigned)n, "");
    LLVMBuildRetVoid(e->b);
}

static bool is_tile(const struct stmt *s) {
    return s && s->kind == STMT_LOOP && s->axis_kind == AXIS_TILE;
}

/* Tile number TILE in row-major order of the nest S: gives back what is left for the loops around it. */
static LLVMValueRef tile_axes(struct emit *e, const struct stmt *s, LLVMValueRef tile, bool outermost) {
    LLVMValueRef left = is_tile(s->body) ? tile_axes(e, s->body, tile, false) : tile, number = left;
    dim trips = stmt_trips(e->k, s);
    if (!outermost && !dim_is(trips, 1)) {
        LLVMValueRef n = emit_dim(e, trips);
        number = LLVMBuildURem(e->b, left, n, "");
        left = LLVMBuildUDiv(e->b, left, n, "");
    } else if (!outermost) {
        number = ll_const_int(ll_type_int(e, 64), 0);
    }
    ll_debug_line(e, s->line);
    LLVMValueRef offset = LLVMBuildNSWMul(e->b, number, ll_const_int(ll_type_int(e, 64), s->step), "");
    ll_scope_bind(e, s->axis, LLVMBuildNSWAdd(e->b, emit_dim(e, s->from), offset, ""), NULL);
    return left;
}

static void tiles(struct emit *e, LLVMValueRef begin, LLVMValueRef end) {
    const struct stmt *s = e->k->body, *body = s;
    struct ll_loop loop;
    if (!is_tile(s)) { /* one tile, number 0 */
        LLVMTypeRef i64 = ll_type_int(e, 64);
        LLVMValueRef first = LLVMBuildICmp(e->b, LLVMIntSLE, begin, ll_const_int(i64, 0), "");
        LLVMBasicBlockRef done = ll_skip_unless(
            e, LLVMBuildAnd(e->b, first, LLVMBuildICmp(e->b, LLVMIntSGT, end, ll_const_int(i64, 0), ""), ""));
        ll_scoped_body(e, body);
        ll_block_enter(e, done);
        return;
    }
    if (s->next) emit_refuse(e, YJ_ERR_UNSUPPORTED, "something stands beside the tile loops");
    LLVMMetadataRef outside = ll_debug_line(e, s->line);
    ll_loop_open(e, begin, end, 1, &loop);
    int before = e->scope.n_symbols;
    tile_axes(e, s, loop.index, true);
    LLVMValueRef anchor = ll_anchor_new(e, loop.index);
    for (int i = before; i < e->scope.n_symbols; i++)
        e->scope.symbol[i].anchor = anchor;
    while (is_tile(body))
        body = body->body;
    ll_scoped_body(e, body);
    e->scope.n_symbols = before;
    ll_loop_close(e, &loop);
    ll_debug_restore(e, outside);
}

static bool has_barrier(const struct stmt *body) {
    for (const struct stmt *s = body; s; s = s->next)
        if (s->kind == STMT_BARRIER || (s->body && has_barrier(s->body))) return true;
    return false;
}

void emit_function(struct emit *e) {
    struct kernel *k = e->k;
    if (has_barrier(k->body)) {
        emit_refuse(e, YJ_ERR_UNSUPPORTED, "a barrier between lanes needs a GPU");
        return;
    }
    LLVMValueRef inner = inner_function(e);
    outer_function(e, inner);
    e->function = inner;
    e->unrolled = 1;
    e->entry = ll_block_new(e, "entry");
    LLVMBasicBlockRef start = ll_block_new(e, "start");
    LLVMPositionBuilderAtEnd(e->b, e->entry);
    ll_debug_function(e, inner);
    LLVMBuildBr(e->b, start);
    LLVMPositionBuilderAtEnd(e->b, start);
    unsigned at = 0;
    struct ll_scope *scope = &e->scope;
    scope->buffer_room = k->n_args + 16;
    scope->buffer = NEW_ARRAY(e->arena, struct bound_buffer, scope->buffer_room);
    for (const struct buffer *b = k->args; b; b = b->next)
        scope->buffer[scope->n_buffers++] = (struct bound_buffer){b, LLVMGetParam(inner, at++), 0};
    for (int i = 0; i < k->n_dims; i++)
        ll_scope_bind(e, k->dim_args[i], LLVMGetParam(inner, at++), LLVMGetBasicBlockTerminator(e->entry));
    LLVMValueRef begin = LLVMGetParam(inner, at), end = LLVMGetParam(inner, at + 1);
    e->scratch = LLVMGetParam(inner, at + 2);
    e->fault = LLVMGetParam(inner, at + 3);
    tiles(e, begin, end);
    LLVMBuildRetVoid(e->b);
}

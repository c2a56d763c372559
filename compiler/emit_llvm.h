/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the LLVM emitter share. The one idea: a value varies over the lanes of the vector loop being
 * emitted exactly when its LLVM type is a vector of emit->lanes elements; everything else is scalar, and is splat where
 * it meets a vector. Vectors have a fixed length, also on targets with scalable registers: the functions say which
 * length those have.
 */
#ifndef COMPILER_EMIT_LLVM_H
#define COMPILER_EMIT_LLVM_H

#include "compiler/emit.h"
#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/TargetMachine.h>

enum arch { ARCH_X86, ARCH_ARM, ARCH_RISCV, ARCH_LOONGARCH };

/* Which lanes of a chunk run: low <= lane < high (i64, NULL: no bound) and bits (<lanes x i1>, NULL: all). */
struct ll_mask {
    LLVMValueRef low, high, bits;
    LLVMValueRef vector; /* the whole of it as <lanes x i1>; NULL when every lane runs */
};

struct ll_scope {
    struct bound_symbol {
        dim symbol;
        LLVMValueRef value;
        LLVMValueRef anchor; /* what depends on no deeper symbol may be computed before this instruction; or NULL */
        int serial;          /* of this binding */
    } * symbol;              /* innermost last; vector axis: its value at lane 0 */
    int n_symbols, symbol_room;
    struct bound_let {
        const struct stmt *let;
        LLVMValueRef value;
    } * let;
    int n_lets, let_room;
    struct bound_buffer {
        const struct buffer *buffer;
        LLVMValueRef base;
        int lanes;
    } * buffer; /* lanes: private copies */
    int n_buffers, buffer_room;
};

struct emit {
    const struct yj_target *target;
    int vector_bits;
    bool scalar, own_alignment, hidden; /* of the options */
    enum arch arch;
    bool wide_masks;     /* masked loads and stores of every element size */
    bool word_masks;     /* of 32 and 64 bits */
    struct arena *arena; /* of the kernel's copy */
    struct kernel *k;
    enum yj_status status; /* the first refusal; emission goes on with undefined values */
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMDIBuilderRef debug; /* NULL: no lines */
    LLVMMetadataRef file, debug_scope;
    int first_line; /* the line before the kernel's first */
    LLVMValueRef function;
    LLVMBasicBlockRef entry; /* allocas stand here */
    LLVMValueRef scratch, fault;
    LLVMValueRef slot; /* see lane_slot */
    int64_t stack_bytes;
    struct ll_scope scope;
    struct memo {
        LLVMValueRef value;
        int serial;
    } * memo; /* by the id of a dim: its value, as long as the binding SERIAL lasts */
    int memo_room, serials;
    LLVMValueRef before; /* the builder stands before this instruction; NULL: at the end of a block */
    int unrolled;        /* copies that unrolling has made of the code being emitted */
    /* the vector loop being emitted; axis NULL outside */
    dim axis;
    int lanes;
    struct ll_mask mask;
};

/* --- refusals: the first one is kept, named after the kernel --- */
void emit_refuse(struct emit *e, enum yj_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- types and constants (emit_llvm_scalar.c) --- */
LLVMTypeRef ll_type_int(struct emit *e, int bits);
LLVMTypeRef ll_type_value(struct emit *e,
                          enum yj_dtype dtype); /* of a value in a register: bool is i1, narrow floats are iN */
LLVMTypeRef ll_type_memory(struct emit *e, enum yj_dtype dtype); /* in memory: bool is i8 */
LLVMTypeRef ll_type_like(LLVMTypeRef element, LLVMValueRef v);   /* ELEMENT, or a vector of as many as v has */
int ll_value_lanes(LLVMValueRef v);                              /* 0: scalar */
LLVMValueRef ll_const_int(LLVMTypeRef type, int64_t value);      /* splat if the type is a vector */
LLVMValueRef ll_const_float(LLVMTypeRef type, double value);
LLVMValueRef ll_const_iota(struct emit *e, int bits, int lanes); /* 0, 1, 2, ... */
LLVMValueRef ll_value_splat(struct emit *e, LLVMValueRef v, int lanes);
LLVMValueRef ll_value_widen(struct emit *e, LLVMValueRef v); /* splat to e->lanes unless it is a vector */
void ll_value_match(struct emit *e, int n, LLVMValueRef *v); /* all scalar or all vectors */
LLVMValueRef ll_call_intrinsic(struct emit *e, const char *name, int n_types, LLVMTypeRef *types, int n,
                               LLVMValueRef *args);
LLVMValueRef ll_value_bits(struct emit *e, LLVMValueRef v);  /* a float as an integer of its size */
LLVMValueRef ll_value_float(struct emit *e, LLVMValueRef v); /* and back */

/* --- scalar ops and conversions: ARGS are all scalar or all vectors --- */
LLVMValueRef emit_op(struct emit *e, enum scalar_op op, enum yj_dtype dtype, LLVMValueRef *args);
LLVMValueRef emit_cast(struct emit *e, enum yj_dtype to, enum yj_dtype from, LLVMValueRef v);
LLVMValueRef emit_bitcast(struct emit *e, enum yj_dtype to, enum yj_dtype from, LLVMValueRef v);

/* --- dims and expressions (emit_llvm_expr.c) --- */
void ll_scope_bind(struct emit *e, dim symbol, LLVMValueRef value, LLVMValueRef anchor);
LLVMValueRef ll_anchor_new(struct emit *e, LLVMValueRef value); /* here: an instruction without effect */
LLVMValueRef emit_dim(struct emit *e, dim d);                   /* i64; a vector axis has its value at lane 0 */
LLVMValueRef emit_dim_lanes(struct emit *e, dim d);             /* <lanes x i64> if d has the vector axis */
LLVMValueRef emit_expr(struct emit *e, const struct expr *x);
void emit_store(struct emit *e, const struct buffer *b, int n, struct expr *const *subs, LLVMValueRef value);
/* X compares dims: the lanes for which it holds, as a range. False if it is something else. Bounds that always hold
 * stay NULL. */
bool emit_lane_range(struct emit *e, const struct expr *x, struct ll_mask *range);

/* low <= lane < high as <lanes x i1>; NULL if neither bound is there. */
LLVMValueRef emit_range_vector(struct emit *e, const struct ll_mask *range);

/* Where an element lies: its flat subscript as one dim (NULL if data takes part), and the address. */
dim ll_place_flat(struct emit *e, const struct buffer *b, int n, struct expr *const *subs);
LLVMValueRef ll_place_pointer(struct emit *e, const struct buffer *b, dim flat); /* at lane 0 */
unsigned ll_place_align(const struct emit *e, const struct buffer *b, dim flat);
bool ll_coefficient_is(struct emit *e, dim flat, dim axis,
                       int64_t *coefficient); /* flat is linear in axis, by a constant */

/* --- statements (emit_llvm.c) --- */
void emit_body(struct emit *e, const struct stmt *body);
LLVMBasicBlockRef ll_block_new(struct emit *e, const char *name);
void ll_block_enter(struct emit *e, LLVMBasicBlockRef block);
LLVMValueRef ll_stack_new(struct emit *e, LLVMTypeRef type, int64_t n,
                          int64_t bytes); /* alloca in the entry, 64-byte aligned */
/* for (i = from; i < to; i += step) around what is emitted between open and close; leaves the axis unbound. */
struct ll_loop {
    LLVMBasicBlockRef body, end;
    LLVMValueRef index, anchor, to;
    int64_t step;
};
void ll_loop_open(struct emit *e, LLVMValueRef from, LLVMValueRef to, int64_t step, struct ll_loop *loop);
void ll_loop_close(struct emit *e, struct ll_loop *loop);
void ll_scoped_body(struct emit *e, const struct stmt *body); /* what it binds is forgotten at its end */
void ll_serial_loop(struct emit *e, const struct stmt *s);
void ll_unroll_loop(struct emit *e, const struct stmt *s);
int64_t ll_constant_trips(struct emit *e, const struct stmt *s);
LLVMValueRef ll_axis_value(struct emit *e, const struct stmt *s, int64_t number); /* from + number * step */
/* Branches around what follows unless CONDITION (NULL: true); returns the block to go on in, NULL if there is none. */
LLVMBasicBlockRef ll_skip_unless(struct emit *e, LLVMValueRef condition);
LLVMValueRef ll_any_bit(struct emit *e, LLVMValueRef lanes);

/* --- vectors and masks (emit_llvm_lanes.c), tiles and copies (emit_llvm_tile.c) --- */
void emit_vector_loop(struct emit *e, const struct stmt *s);
void emit_if(struct emit *e, const struct stmt *s);
void emit_fma_tile(struct emit *e, const struct stmt *s);
void emit_copy(struct emit *e, const struct stmt *s);
void emit_prefetch(struct emit *e, const struct stmt *s);

/* --- lines (emit_llvm_debug.c); without ll_debug_open all do nothing --- */
void ll_debug_open(struct emit *e, const char *file);
void ll_debug_close(struct emit *e); /* before the module is verified */
void ll_debug_function(struct emit *e, LLVMValueRef f);
/* What is built from here on comes from LINE of the kernel's text (0: from where it came before). Gives back the
 * location before, for ll_debug_restore. */
LLVMMetadataRef ll_debug_line(struct emit *e, int line);
void ll_debug_restore(struct emit *e, LLVMMetadataRef location);

/* The function of one kernel in e->module (emit_llvm.c); e->k is a private copy with only basic scalar ops and no
 * REDUCE. */
void emit_function(struct emit *e);

#endif

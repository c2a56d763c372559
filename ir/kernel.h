/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel form: how one group of ops is computed, as a tree of loops over named axes. It is the only thing that
 * emitters and targets see. kernel_eval.c says what it means.
 *   kernel.h  kernel.c        build, facts, walk     kernel_clone.c     copy, substitute
 *   kernel_text.c             print                  kernel_parse*.c    parse (print∘parse = identity)
 *   kernel_verify.c           what must hold         kernel_eval.c      the plain interpreter, tiles in random order
 *   scalar.def scalar.c       scalar ops: one row and one evaluation rule each; graph ops and kernels share them
 *   math.def  math.c          transcendentals as expansions into basic scalar ops
 *   kernel_expand.c           rewrites shared by emitters
 *   map.h                     pointer -> pointer, for tables of passes
 *
 * Text (a matrix product of 6 x 16 register tiles; B packed in panels of 16 columns):
 *
 *   kernel matmul(M in 1.., K in 1.., N in 1..)
 *     in  a f32 [M, K]
 *     in  b f32 [(N + 15) / 16, K, 16]
 *     out c f32 [M, N]
 *   {
 *     tile m = 0 .. M step 6 {
 *       tile n = 0 .. (N + 15) / 16 {
 *         reg acc f32 [6, 16]
 *         unroll i = 0 .. 6 { vector j = 0 .. 16 { acc[i, j] = 0.0 } }
 *         serial k = 0 .. K {
 *           fma_tile i:6 j:16 k0:1 acc[i, j] += a[min(m + i, M - 1), k + k0] * b[n, k + k0, j]
 *         }
 *         unroll i = 0 .. 6 {
 *           vector j = 0 .. 16 {
 *             if and(lt(m + i, M), lt(n*16 + j, N)) { c[m + i, n*16 + j] = max(acc[i, j], 0.0) }
 *           }
 *         }
 *       }
 *     }
 *   }
 *
 * Integer arithmetic on axes and dims is a dim expression and prints infix; arithmetic on data is a scalar op and
 * prints as a call: add(x, y), fma(a, b, c), exp(x), cast.f32(h), bitcast.i32(x), select(p, x, y). All operands are
 * evaluated, also both of a select. Constants: 0.5 is f32, 3 is i64 (a dim), true and false are bool; others name
 * their type: 3:u8, 0.5:f64, -inf, nan:f64. `#` starts a comment. docs/kernel.md is a page about it.
 */
#ifndef IR_KERNEL_H
#define IR_KERNEL_H

#include "runtime/base/base.h"
#include "runtime/base/dim.h"

#define KERNEL_MAX_RANK 10
#define KERNEL_MAX_NAME 400 /* characters */

/* An axis is a dim symbol that a loop binds. Iterations of a TILE, LANE or VECTOR loop are independent of each other:
 * none reads what another writes (the verifier checks what it can, kernel_eval runs them in random order).
 * TILE: independent work, outermost and perfectly nested; bounds are made of dim arguments only; tiles are numbered in
 * row-major order of the tile loops.
 * LANE: a GPU thread; only barriers and shared buffers connect lanes. At most one perfect nest of lane loops with
 * constant extents, in which everything of the tile stands but the declarations of shared and scratch buffers and lets.
 * VECTOR and UNROLL have a constant extent, at most 4096; a vector loop holds no vector loop. */
enum axis_kind { AXIS_TILE, AXIS_LANE, AXIS_SERIAL, AXIS_UNROLL, AXIS_VECTOR };

/* GLOBAL: an argument. SHARED: one copy a tile, seen by all its lanes (GPU) or the scratchpad (NPU); a constant shape.
 * SCRATCH: memory of one tile; its shape is made of dim arguments. REG: registers of one lane, or of one iteration of
 * the vector loop it is declared in; a constant shape. Row-major and dense. */
enum space { SPACE_GLOBAL, SPACE_SHARED, SPACE_SCRATCH, SPACE_REG };
enum role { ROLE_LOCAL, ROLE_IN, ROLE_OUT, ROLE_INOUT }; /* OUT: a tile reads only what it wrote itself */

struct buffer {
    const char *name;
    enum yj_dtype dtype;
    enum space space;
    enum role role;
    int rank;
    dim shape[KERNEL_MAX_RANK];
    int index;           /* GLOBAL: position in the argument list */
    struct buffer *next; /* GLOBAL: next argument */
};

/* Scalar ops: one row each in scalar.def (elementwise graph ops are the same rows). */
enum scalar_op {
#define SCALAR(name, arity, result, types, doc) SCALAR_##name,
#include "ir/scalar.def"
#undef SCALAR
    SCALAR_COUNT
};
struct scalar_info {
    const char *name;
    int arity;
    char result;
    const char *types;
    const char *doc;
};
extern const struct scalar_info scalar_info[SCALAR_COUNT];

enum expr_kind { EXPR_CONST, EXPR_DIM, EXPR_LOAD, EXPR_LET, EXPR_OP, EXPR_CAST, EXPR_BITCAST };

/* A tree; what is used twice is named by a LET statement. Types: f32 f64 i8..i64 u8..u64 bool; f16, bf16 and fp8 values
 * are only loaded, stored, selected, cast and bit-cast: arithmetic on them is refused by the verifier. An i64
 * constant is a DIM. Trees are never changed in place by one who does not own them: expr_substitute and stmt_clone
 * make new ones. */
struct expr {
    enum expr_kind kind;
    enum yj_dtype dtype;
    enum scalar_op op; /* OP */
    union {
        double f;
        int64_t i;
    } constant;            /* CONST: .f for float types, .i else (never an i64) */
    dim dim;               /* DIM: an i64 */
    struct buffer *buffer; /* LOAD */
    struct stmt *let;      /* LET */
    int n;                 /* OP: operands; CAST, BITCAST: 1; LOAD: subscripts, of type i64 */
    struct expr *arg[];
};

enum stmt_kind {
    STMT_LOOP,     /* kind axis = from .. to [step s] { body } */
    STMT_IF,       /* if expr { body }; under a vector axis this masks lanes */
    STMT_BUFFER,   /* reg|scratch|shared name dtype [shape]: lives to the end of its body; undefined at first */
    STMT_LET,      /* let x = expr */
    STMT_STORE,    /* b[subscripts] = expr */
    STMT_REDUCE,   /* reduce x = op(axis = from .. to lanes n) expr: see below */
    STMT_FMA_TILE, /* fma_tile i:m j:n k:g  c[..] += a[..] * b[..] */
    STMT_BARRIER,  /* all lanes of a tile meet */
    STMT_COPY,     /* copy tag dst[subscripts] = src[subscripts] [extents]: asynchronous, ends at its wait; see below */
    STMT_WAIT,     /* wait tag: ends every copy begun with this tag */
    STMT_PREFETCH, /* prefetch b[subscripts]: this place will be read soon; a hint, it may lie outside of the buffer */
    STMT_CHECK,    /* check expr fault code value: if false, records {code, value} in the fault, the first one stays */
};

/* REDUCE names a value of the enclosing body: the expression for every axis index, joined by op (add, mul, min, max,
 * and, or) in a fixed order: with lanes = 32, partial result number (index - from) mod 32 takes it in ascending
 * order, and the 32 partial results, which start from the neutral element, join in the tree
 * p[i] = op(p[i], p[i + s]), s = 16, 8, 4, 2, 1. With lanes = 1 it is one partial result, in ascending order, starting
 * from the neutral element (of add: +0).
 *
 * FMA_TILE: for k ascending, for each (i, j): c = c + a*b as one fma for floats (exact integer arithmetic for i32 c
 * with i8/u8 a, b). The three axes are bound by the statement and have constant extents; a has i and k, b has k and
 * j, c has i and j. bf16 and f16 operands are widened to f32 first. It is what a matrix unit may take over.
 *
 * COPY moves a box between two buffers of one type and rank, outside lane and vector loops. Where the source box
 * leaves its buffer, zeros are written (DMA engines do it, for edges and padding); the target box must lie inside.
 * Until the wait, the target may not be touched nor the source changed. A tile ends with no copy under way. */
struct stmt {
    enum stmt_kind kind;
    struct stmt *next;
    struct stmt *body; /* LOOP, IF */
    int line;          /* in the printed kernel, after kernel_number_lines; 0: not known */
    /* LOOP, REDUCE */
    enum axis_kind axis_kind;
    dim axis, from, to;
    int64_t step;
    /* LET, REDUCE */
    const char *name;
    /* BUFFER, STORE (target), COPY (target) */
    struct buffer *buffer;
    int n_subs;
    struct expr **subs;
    /* LET, STORE, REDUCE, IF, CHECK: the expression. COPY: the source as a LOAD. PREFETCH: a LOAD */
    struct expr *value;
    enum scalar_op op; /* REDUCE */
    int lanes;         /* REDUCE */
    /* FMA_TILE */
    dim tile_axis[3]; /* i, j, k */
    int tile_extent[3];
    struct expr *c, *a, *b; /* LOADs */
    /* COPY */
    int tag;      /* COPY, WAIT */
    dim *extents; /* n_subs of them */
    /* CHECK */
    int fault_code;
    struct expr *fault_value; /* i64 */
};

/* A condition on dims under which this kernel may be used instead of the general one (up to 4 variants of a kernel). */
struct guard {
    dim low, value, high;
}; /* low <= value <= high */

struct kernel {
    const char *name;
    struct arena *arena;
    struct dim_table *dims;
    int n_dims;
    dim *dim_args;       /* the symbols passed as scalars, in this order */
    struct buffer *args; /* GLOBAL buffers in argument order */
    int n_args;
    struct stmt *body;
    int n_guards;
    struct guard *guards;
    const char *origin;     /* "@12,13": the ONNX nodes it came from; may be NULL */
    struct name_set *names; /* every name in use: a name means one thing in the whole kernel */
};

/* --- build (kernel.c); everything lives in the kernel's arena; a name that is taken gets a suffix: x, x_2, x_3.
 * Builders check nothing but what would crash them: kernel_verify does. --- */
struct kernel *kernel_new(struct arena *arena, const char *name);
bool kernel_has_name(const struct kernel *k, const char *name);
void kernel_claim_name(struct kernel *k, const char *name);                    /* no later builder gives it */
dim kernel_dim(struct kernel *k, const char *name, int64_t low, int64_t high); /* adds a dim argument, or finds it */
struct buffer *kernel_arg(struct kernel *k, enum role role, const char *name, enum yj_dtype dtype, int rank,
                          const dim *shape);
dim kernel_axis(struct kernel *k, const char *hint, dim from, dim to); /* a fresh axis symbol with its range */

struct expr *expr_const_f(struct kernel *k, enum yj_dtype dtype, double value);
struct expr *expr_const_i(struct kernel *k, enum yj_dtype dtype, int64_t value);
struct expr *expr_dim(struct kernel *k, dim d);
struct expr *expr_load(struct kernel *k, struct buffer *b, int n, struct expr *const *subs);
struct expr *expr_load_dims(struct kernel *k, struct buffer *b, int n, const dim *subs);
struct expr *expr_op(struct kernel *k, enum scalar_op op, struct expr *a, struct expr *b, struct expr *c); /* or NULL */
struct expr *expr_cast(struct kernel *k, enum yj_dtype to, struct expr *a);    /* see scalar_cast */
struct expr *expr_bitcast(struct kernel *k, enum yj_dtype to, struct expr *a); /* same size */
struct expr *expr_let(struct kernel *k, struct stmt *let);

/* A cursor appends statements at the end of a body: struct cursor at = kernel_at(&loop->body). */
struct cursor {
    struct stmt **end;
};
struct cursor kernel_at(struct stmt **body);
struct stmt *stmt_loop(struct kernel *k, struct cursor *at, enum axis_kind kind, dim axis, dim from, dim to,
                       int64_t step);
struct stmt *stmt_if(struct kernel *k, struct cursor *at, struct expr *condition);
struct buffer *stmt_buffer(struct kernel *k, struct cursor *at, enum space space, const char *name, enum yj_dtype dtype,
                           int rank, const dim *shape);
struct expr *stmt_let(struct kernel *k, struct cursor *at, const char *hint, struct expr *value); /* the LET */
void stmt_store(struct kernel *k, struct cursor *at, struct buffer *b, int n, struct expr *const *subs,
                struct expr *value);
void stmt_store_dims(struct kernel *k, struct cursor *at, struct buffer *b, int n, const dim *subs, struct expr *value);
struct expr *stmt_reduce(struct kernel *k, struct cursor *at, const char *hint, enum scalar_op op, int lanes, dim axis,
                         dim from, dim to, struct expr *value);
void stmt_fma_tile(struct kernel *k, struct cursor *at, const dim axis[3], const int extent[3], struct expr *c,
                   struct expr *a, struct expr *b);
void stmt_barrier(struct kernel *k, struct cursor *at);
void stmt_copy(struct kernel *k, struct cursor *at, int tag, struct buffer *to, const dim *to_subs,
               struct expr *from_load, const dim *extents);
void stmt_wait(struct kernel *k, struct cursor *at, int tag);
void stmt_prefetch(struct kernel *k, struct cursor *at, struct expr *load);
void stmt_check(struct kernel *k, struct cursor *at, struct expr *condition, int fault_code, struct expr *fault_value);

/* --- facts that lowering, tiling and emitters ask for (kernel.c) --- */
dim kernel_tile_count(struct kernel *k);                   /* product of the tile loops' trip counts; 1 without any */
dim kernel_scratch_bytes(struct kernel *k);                /* SCRATCH and SHARED buffers, each rounded up to 64 bytes */
dim stmt_trips(struct kernel *k, const struct stmt *loop); /* max(0, ceil((to - from) / step)) */
struct expr *expr_neutral(struct kernel *k, enum scalar_op op, enum yj_dtype dtype); /* of a REDUCE */
/* Calls fn on every statement, outer before inner. */
void kernel_walk(struct stmt *body, void (*fn)(void *user, struct stmt *s), void *user);
/* Calls fn on every expression of one statement (not of its body), with its subexpressions, outer before inner. */
void stmt_exprs(struct stmt *s, void (*fn)(void *user, struct expr *e), void *user);
struct expr *expr_substitute(struct kernel *k, struct expr *e, dim symbol, dim by);
/* The body and all statements after it, copied within the kernel: buffers, lets and axes that it declares get fresh
 * names (so that a copy may stand beside the original), and SYMBOL (may be NULL) becomes BY everywhere. */
struct stmt *stmt_clone(struct kernel *k, const struct stmt *body, dim symbol, dim by);
dim kernel_scratch_offset(struct kernel *k, const struct buffer *b); /* of a SCRATCH or SHARED buffer, in bytes */

/* --- the four services of a text --- */
enum yj_status kernel_verify(struct kernel *k); /* the error names the statement */
void kernel_print(struct text *out, const struct kernel *k);
void stmt_print(struct text *out, const struct stmt *s); /* its one line, without a body */
int kernel_number_lines(struct kernel *k); /* sets the line of every statement; the lines that are printed */
enum yj_status kernel_parse(struct arena *arena, const char *text, const char *file, struct kernel **k); /* verified */
struct kernel *kernel_copy(struct arena *arena, const struct kernel *k);

/* What the interpreter and compiled kernels share: buffers and dims as the kernel ABI has them (see
 * <yunjin/target.h>). */
struct yj_fault;
/* Runs tiles [begin, end) in an order drawn from SEED (0: ascending); asynchronous copies happen as late as they may.
 * Out-of-range subscripts, reads of undefined local memory and races are YJ_ERR_INTERNAL naming the statement. */
enum yj_status kernel_eval(const struct kernel *k, void *const *buffer, const int64_t *scalar, int64_t begin,
                           int64_t end, uint64_t seed, struct yj_fault *fault);

/* --- rewriting shared by emitters --- */
/* Replaces transcendentals (rows of math.def) by their expansions: afterwards only basic scalar ops are left. */
void kernel_expand_math(struct kernel *k);
/* Replaces every REDUCE by loops over a register buffer of partial results and a LET: afterwards there is none left. */
void kernel_expand_reduce(struct kernel *k);

/* The scalar semantics, as bits in a 64-bit word (f32 in the low 32 bits, integers cut to their width, bool 0 or 1):
 * used by both interpreters. DTYPE is that of the operands (select: of the second). f16, bf16 and fp8 widen to f32,
 * and round once. Casts: float to integer truncates, saturates, NaN gives 0; integer to integer wraps; to bool is
 * != 0; to f32 and f64 rounds to nearest even; to f16, bf16 and fp8 goes through f32 (so it rounds twice from f64, i32
 * and i64). */
uint64_t scalar_eval(enum scalar_op op, enum yj_dtype dtype, const uint64_t *args);
uint64_t scalar_cast(enum yj_dtype to, enum yj_dtype from, uint64_t bits);
bool scalar_find(const char *name, enum scalar_op *op);

#endif

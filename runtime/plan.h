/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan form: when things happen. Blocks of steps over numbered buffers; everything that depends on a shape is a dim
 * expression, so one plan serves all shapes. compiler/plan.c makes it, run.c walks it.
 *   plan.h  plan.c  facts               plan_print.c plan_parse.c   text (print∘parse = identity)
 *   plan_verify.c plan_walk.c   what must hold      memory.c   offsets of buffers, once the dims are bound
 *
 * Text, one thing a line. %3 is buffer 3, #1 block 1, !0 request 0; @12,13 are ONNX nodes; `#` and a blank: a comment.
 *
 *   plan 1 mesh(tp=2)
 *   node 12 "MatMul_3 (MatMul)"
 *   dim N 1..64 input
 *   dim past 0..4096 state                                 # the length of a state: sizes of buffers may not mention it
 *   dim k 0..1000 born                                     # set by a bind or call step: the same holds
 *   dim rank.tp 0..1 rank                                  # this rank's coordinate on mesh axis tp
 *   kernel matmul(M 1..64, K 0..inf) in in out {           # the dims are the kernel's own names
 *     matmul_1 tiles 1 scratch 0 ns K*20 when 1 <= M <= 1
 *     matmul_n tiles (M + 5) / 6 scratch 256 ns M*K*20
 *   }
 *   %0 "x" f32 host input bytes N*256
 *   %1 "w" f32 host weight bytes 16384 file 0 at rank.tp*16384 + 4096
 *   %2 "h" f32 comm temp bytes N*256 live #0 0..3
 *   %3 "h'" f32 host alias %2 at 0 bytes N*256
 *   %4 "kv" f32 host state bytes 1048576
 *   input "x" %0 f32 [N, 64]
 *   output "y" %2 f32 [N, 64]
 *   state "past.0" "present.0" %4 f32 [1, past, 64] -> [1, past + N, 64] in [1, 4096, 64]
 *   block #0 "main" {
 *     0 q0 launch matmul(%0, %1, %2)[N, 64] @12
 *     1 q1 after 0 start !0 all_reduce add f32 %2 -> %2 count N*64 axis tp @13
 *     2 q0 after 1 wait !0
 *     3 q0 copy %4 at past*256 = %2 at 0 bytes N*256 @14
 *     4 q0 bind %5 i64 k, c                              # element i of the buffer becomes dim i; a bool is 0 or 1
 *     5 q0 branch c #1 none                              # not 0: block 1, else none
 *     6 q0 check past - N @11                            # below 0: an error, before anything is computed with it
 *     7 q0 call #3 index i turns n trips k while c       # i: a born dim that counts; n becomes the number of turns;
 *                                                        # c is read before every turn
 *   }
 */
#ifndef RUNTIME_PLAN_H
#define RUNTIME_PLAN_H

#include "runtime/base/base.h"
#include "runtime/names.h"
#include "runtime/base/dim.h"

#pragma GCC visibility push(default) /* the compiler library makes, prints and verifies plans */

#define PLAN_VERSION 1
#define PLAN_MAX_RANK 8
#define PLAN_MAX_VARIANTS 4
#define PLAN_ALIGN 64

struct plan_mesh {
    int n;
    const char *name[4];
    int size[4];
}; /* rank = row-major number of its coordinates */

/* INPUT: from the shape of an input; sizes of buffers may use it. STATE: from the current shape of a state. BORN: set
 * by bind and call steps. RANK: a mesh coordinate, named rank.AXIS. Sizes use bounds for STATE and BORN. */
enum plan_dim_kind { PLAN_DIM_INPUT, PLAN_DIM_STATE, PLAN_DIM_BORN, PLAN_DIM_RANK };
struct plan_dim {
    dim symbol;
    enum plan_dim_kind kind;
    int64_t low, high;
};

enum plan_role { PLAN_IN, PLAN_OUT, PLAN_INOUT };

struct plan_guard {
    dim low, value, high;
}; /* low <= value <= high */

/* One function of the kernel ABI in the program's shared object, and when it may be used. The first whose guards hold
 * is taken. TILES, SCRATCH (bytes of one call) and NS (one core's time in all, for the choice of threads; 0: unknown)
 * are over the kernel's own dims. */
struct plan_variant {
    const char *symbol;
    dim tiles, scratch, ns;
    int n_guards;
    struct plan_guard *guards;
};

struct plan_kernel {
    const char *name;
    int n_dims;
    const char **dim_names; /* parameters, in the order of the scalars */
    struct dim_table *dims; /* its own names: "M" here is not "M" of the plan. May be another's (the compiler's kernel);
                             * it knows their bounds */
    int n_args;
    enum plan_role *args;
    int n_variants;
    struct plan_variant variants[PLAN_MAX_VARIANTS];
};

/* COMM: memory that the transport may have registered; on one node it is host memory. */
enum plan_space { PLAN_HOST, PLAN_COMM, PLAN_DEVICE };
enum plan_kind { PLAN_INPUT, PLAN_WEIGHT, PLAN_TEMP, PLAN_ALIAS, PLAN_STATE };

struct plan_buffer {
    const char *name; /* for people */
    enum yj_dtype dtype;
    enum plan_space space;
    int device; /* DEVICE */
    enum plan_kind kind;
    dim bytes; /* over INPUT and RANK dims; WEIGHT: bytes in the file */
    int file;
    dim at; /* WEIGHT: which weights file and where (a multiple of 64, over RANK dims). ALIAS: where in OF */
    int of; /* ALIAS: a buffer of a lower number; in place and views are this */
    int block, first,
        last; /* TEMP: lives from before step FIRST until after step LAST of BLOCK, called blocks included */
};

struct plan_port {
    const char *name;
    int buffer;
    enum yj_dtype dtype;
    int rank;
    dim shape[PLAN_MAX_RANK];
};

/* Memory kept from run to run: before a run its logical shape is IN, after it OUT. The logical tensor is the corner at
 * 0 of the row-major STORAGE shape, which is constant or over INPUT dims. At reset the STATE dims are at their low
 * bound and the memory is zero. */
struct plan_state {
    const char *name_in, *name_out;
    int buffer;
    enum yj_dtype dtype;
    int rank;
    dim in[PLAN_MAX_RANK], out[PLAN_MAX_RANK], storage[PLAN_MAX_RANK];
};

enum plan_step_kind { PLAN_LAUNCH, PLAN_COPY, PLAN_START, PLAN_WAIT, PLAN_BIND, PLAN_BRANCH, PLAN_CALL, PLAN_CHECK };
enum plan_collective { PLAN_ALL_REDUCE, PLAN_REDUCE_SCATTER, PLAN_ALL_GATHER, PLAN_ALL_TO_ALL, PLAN_BROADCAST };
enum plan_reduce { PLAN_ADD, PLAN_MUL, PLAN_MIN, PLAN_MAX };

struct plan_step {
    enum plan_step_kind kind;
    int queue;
    int n_after;
    int *after; /* steps of this block, of other queues, earlier in the list. Its own queue it follows anyway */
    int n_origin;
    int *origin; /* ONNX node numbers */
    int kernel;  /* LAUNCH */
    int n_buffers;
    int *buffers; /* LAUNCH: arguments. COPY, START: destination, source. BIND: what is read */
    int n_dims;
    dim *dims;           /* LAUNCH: the scalars. BIND: symbols that are set */
    dim at, from, count; /* COPY: byte offsets of destination and source, bytes. START: count as comm.h has it */
    int request;         /* START, WAIT: each request is started once and waited for once, in the same block */
    enum plan_collective collective;
    enum plan_reduce reduce;
    enum yj_dtype dtype;
    int axis;             /* START. BIND: dtype i32 i64 bool */
    dim condition;        /* BRANCH; CALL: while it is not 0 (NULL: always). CHECK: must be >= 0 */
    int block, otherwise; /* BRANCH: -1 is none. CALL: BLOCK. Only blocks of a higher number: so no recursion */
    /* CALL: INDEX, a BORN symbol (NULL: none), is 0 .. TRIPS - 1 (NULL: until the condition fails); TURNS, another, is
     * afterwards how many turns there were. Their upper bounds limit the turns. */
    dim index, turns, trips;
};

struct plan_block {
    const char *name;
    int n_steps;
    struct plan_step *steps;
};

struct plan {
    struct arena *arena; /* everything lives here */
    struct dim_table *dims;
    struct plan_mesh mesh; /* n = 0: one rank */
    int n_nodes;
    int *node;
    const char **node_names; /* ascending numbers: only the nodes that steps mention */
    int n_dims;
    struct plan_dim *dim;
    int n_kernels;
    struct plan_kernel *kernels;
    int n_buffers;
    struct plan_buffer *buffers;
    int n_inputs, n_outputs, n_states;
    struct plan_port *inputs, *outputs;
    struct plan_state *states;
    int n_blocks;
    struct plan_block *blocks; /* 0 is where a run starts */
    int n_requests;
};

struct plan *
plan_new(struct arena *arena); /* empty; arrays are filled by the maker, in the same arena. NULL: no memory */
void plan_print(struct text *out, const struct plan *p);
/* Parses and verifies. FILE is for messages. Any text is safe. */
enum yj_status plan_parse(struct arena *arena, const char *text, const char *file, struct plan **p);
/* The same for text that plan_print wrote, quicker: expressions are not simplified, so nothing may be built on them. */
enum yj_status plan_load(struct arena *arena, const char *text, const char *file, struct plan **p);
/* Indices in range, dims known where they are used, every buffer written before it is read and alive when it is used
 * (from start to wait for a collective), steps of different queues that touch one buffer ordered by `after`. */
enum yj_status plan_verify(const struct plan *p);

/* --- facts --- */
int plan_root(const struct plan *p, int buffer);            /* through aliases */
const char *plan_node_name(const struct plan *p, int node); /* "?" if it has none */
/* "node 12 'MatMul_3 (MatMul)'" of a step, "" if it has no origin; in ROOM bytes of OUT. Returns OUT. */
char *plan_where(const struct plan *p, const struct plan_step *s, char *out, size_t room);
int plan_axis(const struct plan *p, const char *name); /* -1 if there is no such mesh axis */
int64_t plan_ranks(const struct plan *p);
/* How a step uses its I-th buffer. */
enum plan_role plan_step_role(const struct plan *p, const struct plan_step *s, int i);
#define PLAN_STEPS 8
#define PLAN_COLLECTIVES 5
#define PLAN_REDUCES 4
extern const char *const plan_collective_names[],
    *const plan_reduce_names[], *const plan_space_names[], *const plan_dim_kind_names[],
                                                               *const plan_role_names[], *const plan_kind_names[],
                                                                                             *const plan_step_names[];

/* --- memory.c: where each TEMP buffer lies. Times are numbers of steps in the order of a walk from block 0. --- */
struct memory_item {
    int64_t bytes;
    int first, last;
    int64_t offset;
}; /* in: bytes, first, last (inclusive). out: offset */
/* Gives offsets (multiples of 64) so that items alive at one time do not overlap; *TOTAL is the bytes of the arena.
 * Sorts by size and puts each at the lowest gap; WORK is 2 * n words. 2,000 items take 1 to 2 milliseconds. Overflow is
 * an error. */
enum yj_status memory_assign(struct memory_item *items, int n, uint64_t *work, int64_t *total);
/* The lifetime of each buffer as times of that walk; others than TEMP get first = last = -1. first, last: n_buffers. */
enum yj_status memory_times(const struct plan *p, int *first, int *last);

#pragma GCC visibility pop

#endif

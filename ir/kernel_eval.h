/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to kernel_eval.c and kernel_resolve.c: a kernel with its names resolved to slots and its buffers to memory.
 */
#ifndef IR_KERNEL_EVAL_H
#define IR_KERNEL_EVAL_H

#include "ir/kernel.h"
#include "ir/map.h"
#include <yunjin/target.h>

#include <setjmp.h>

/* What is known of an element. Local memory: one of these. Shared memory under lanes: also who touched it since the
 * last barrier. Arguments that are written: the tile (plus one) that wrote it, 0 if none. */
enum { UNDEFINED = 0, DEFINED = 1, PENDING = 2 };
struct touch {
    uint32_t write_epoch, read_epoch;
    int32_t writer, reader;
};

struct memory {
    const struct buffer *b;
    uint8_t *data;
    int64_t extent[KERNEL_MAX_RANK], n; /* elements, of one lane */
    size_t each;
    uint8_t *state;      /* local */
    uint32_t *tile;      /* OUT and INOUT when the order is random */
    struct touch *touch; /* SHARED in a kernel with lanes */
};

struct run;
struct node {
    uint64_t (*value)(struct run *r, const struct node *n);
    enum scalar_op op;
    enum yj_dtype dtype, from;
    uint64_t constant;
    int slot;
    struct memory *memory;
    int n;
    struct node *arg[];
};

struct code {
    const struct stmt *s;
    struct code *next, *body;
    struct node *from, *to, *value, *fault_value, **subs, **source, **extents;
    struct memory *memory, *source_memory;
    struct node *load[3];   /* fma_tile: c, a, b */
    int slot, tile_slot[3]; /* REDUCE: slot of the axis, tile_slot[0] of the result */
    uint64_t neutral;
    bool has_barrier;
};

/* A copy under way: its box, and what the source held when it began. */
struct pending {
    int tag;
    const struct code *c;
    int64_t to[KERNEL_MAX_RANK], from[KERNEL_MAX_RANK], size[KERNEL_MAX_RANK], n, room;
    uint64_t *box;
    struct pending *next;
};

struct run {
    const struct kernel *k;
    struct arena *arena;
    struct kernel *own; /* to build constants in */
    const int64_t *scalar;
    void *const *buffer;
    int64_t begin, end;
    struct yj_fault *fault;
    struct map slots, memories; /* symbol or let -> 1 + slot; buffer -> memory */
    int n_slots, room;          /* room: no more slots than this will be needed */
    uint64_t *slot;             /* of the lane that runs */
    int n_lanes;                /* of a tile: the product of the lane loops */
    int lanes, lane;            /* lanes: n_lanes inside lane loops, 0 outside */
    uint32_t epoch;             /* counts barriers */
    uint64_t **lane_slots;
    int64_t tile;
    uint64_t random; /* 0: ascending order */
    struct pending *pending, *spare;
    const struct stmt *at;
    struct code *body;
    jmp_buf out; /* where stop() leaves to */
    enum yj_status status;
};

__attribute__((noreturn, format(printf, 3, 4))) void run_stop(struct run *r, enum yj_status status, const char *format,
                                                              ...);
struct code *run_resolve(struct run *r); /* kernel_resolve.c */

/* How each kind of node gives its value: kernel_eval.c. */
uint64_t node_const(struct run *r, const struct node *n);
uint64_t node_slot(struct run *r, const struct node *n);
uint64_t node_load(struct run *r, const struct node *n);
uint64_t node_op(struct run *r, const struct node *n);
uint64_t node_cast(struct run *r, const struct node *n);
uint64_t node_same(struct run *r, const struct node *n);
uint64_t node_dim(struct run *r, const struct node *n);
uint64_t node_add_f32(struct run *r, const struct node *n);
uint64_t node_mul_f32(struct run *r, const struct node *n);

#endif

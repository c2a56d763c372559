/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of cells. One idea: sender and receiver each count for themselves; the only words that both see are the
 * stamp in each cell and one acknowledgement a lane, and the latter is read only when the lane looks full.
 */
#include "comm/cells.h"

static size_t up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

void cells_shape_make(size_t cell_bytes, struct cells_shape *shape) {
    size_t at = 0;
    for (int lane = 0; lane < LANES; lane++) { /* small lanes share a line: one look refreshes all of them */
        shape->acknowledged[lane] = at;
        at += lane < SMALL_LANES ? sizeof(uint64_t) : 128;
        if (lane == SMALL_LANES - 1) at = up(at, 128);
    }
    for (int lane = 0; lane < LANES; lane++) {
        shape->cell[lane] = lane_cell_bytes(cell_bytes, lane);
        shape->depth[lane] = lane == PAIR_LANE ? 2 * CELL_DEPTH : CELL_DEPTH;
        shape->stride[lane] = up(sizeof(struct cell) + shape->cell[lane], 128);
        shape->first[lane] = at;
        at += shape->stride[lane] * shape->depth[lane];
    }
    shape->bytes = up(at, 65536); /* a multiple of every page size in use */
}

static _Atomic uint64_t *acknowledged(const struct cells_shape *shape, char *area, int lane) {
    return (_Atomic uint64_t *)(area + shape->acknowledged[lane]);
}

void *cells_reserve(struct channel *channel, int lane, size_t bytes) {
    struct cells *c = (struct cells *)channel;
    if (c->sent[lane] - c->known[lane] >= c->shape->depth[lane]) {
        c->known[lane] = (uint32_t)atomic_load_explicit(acknowledged(c->shape, c->out, lane), memory_order_acquire);
        if (c->sent[lane] - c->known[lane] >= c->shape->depth[lane]) return NULL;
    }
    struct cell *cell = cells_at(c->shape, c->out, lane, c->sent[lane]);
    return bytes <= INLINE_BYTES ? cell->in_line : cell->data;
}

uint32_t cells_posted(struct channel *channel, int lane) {
    return ((const struct cells *)channel)->sent[lane];
}

bool cells_taken(struct channel *channel, int lane, uint32_t number) {
    struct cells *c = (struct cells *)channel;
    if ((int32_t)(c->known[lane] - number) >= 0) return true;
    c->known[lane] = (uint32_t)atomic_load_explicit(acknowledged(c->shape, c->out, lane), memory_order_acquire);
    return (int32_t)(c->known[lane] - number) >= 0;
}

bool cells_settled(struct channel *channel, int lane) {
    return cells_taken(channel, lane, cells_posted(channel, lane));
}

void cells_post(struct channel *channel, int lane, const struct envelope *envelope) {
    struct cells *c = (struct cells *)channel;
    struct cell *cell = cells_at(c->shape, c->out, lane, c->sent[lane]);
    cell->envelope = *envelope;
    c->sent[lane]++;
    atomic_store_explicit(&cell->stamp, c->epoch | c->sent[lane], memory_order_release);
}

const void *cells_arrived(struct channel *channel, int lane, struct envelope *envelope) {
    struct cells *c = (struct cells *)channel;
    struct cell *cell = cells_at(c->shape, c->in, lane, c->taken[lane]);
    uint64_t want = c->epoch | (uint32_t)(c->taken[lane] + 1);
    if (atomic_load_explicit(&cell->stamp, memory_order_acquire) != want) return NULL;
    *envelope = cell->envelope;
    return envelope->bytes <= INLINE_BYTES || envelope->bytes & CELL_LENT ? cell->in_line : cell->data;
}

void cells_release(struct channel *channel, int lane) {
    struct cells *c = (struct cells *)channel;
    c->taken[lane]++;
    atomic_store_explicit(acknowledged(c->shape, c->in, lane), c->taken[lane], memory_order_release);
}

void cells_warm(struct channel *channel, int lane) {
    struct cells *c = (struct cells *)channel;
    struct cell *cell = cells_at(c->shape, c->out, lane, c->sent[lane]);
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*cell));
#else
    __builtin_prefetch(cell, 1);
#endif
}

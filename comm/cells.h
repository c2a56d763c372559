/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes in memory that two ranks see (mem and shm). One direction of a channel is one area: the sender writes cells,
 * the receiver writes only the acknowledgements. A cell opens with one cache line (stamp, envelope, short payload), so
 * that a short message costs one line; the stamp is stored last and is the number of the message in its lane.
 */
#ifndef COMM_CELLS_H
#define COMM_CELLS_H

#include "comm/transport.h"

#include <stdatomic.h>

struct cell {
    _Atomic uint64_t stamp; /* epoch << 32 | number */
    struct envelope envelope;
    char in_line[INLINE_BYTES];
    char data[];
};
_Static_assert(offsetof(struct cell, data) == 64, "a cell opens with one cache line");

enum { CELL_LENT = 1 << 30 }; /* in envelope.bytes: the line holds where the message is, not the message */

/* Where things lie in an area; the same for all areas of a job. */
struct cells_shape {
    size_t acknowledged[LANES], first[LANES], stride[LANES];
    uint32_t depth[LANES];
    size_t cell[LANES]; /* payload bytes */
    size_t bytes;       /* of an area, a multiple of the page */
};
void cells_shape_make(size_t cell_bytes, struct cells_shape *shape);

/* One end of a channel over two areas. */
struct cells {
    struct channel channel;
    const struct cells_shape *shape;
    char *out, *in;
    uint64_t epoch;                                   /* already shifted */
    uint32_t sent[LANES], known[LANES], taken[LANES]; /* KNOWN: how many of SENT the peer had taken when we looked */
};

static inline struct cell *cells_at(const struct cells_shape *shape, char *area, int lane, uint32_t number) {
    return (struct cell *)(area + shape->first[lane] + shape->stride[lane] * (number & (shape->depth[lane] - 1)));
}

void *cells_reserve(struct channel *channel, int lane, size_t bytes);
void cells_post(struct channel *channel, int lane, const struct envelope *envelope);
const void *cells_arrived(struct channel *channel, int lane, struct envelope *envelope);
void cells_release(struct channel *channel, int lane);
uint32_t cells_posted(struct channel *channel, int lane);
bool cells_taken(struct channel *channel, int lane, uint32_t number);
bool cells_settled(struct channel *channel, int lane);
void cells_warm(struct channel *channel, int lane);

#endif

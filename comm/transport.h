/* SPDX-License-Identifier: Apache-2.0
 *
 * How bytes move between two ranks: lanes of cells. A channel joins two ranks of one communicator; in each direction it
 * has LANES lanes, each a queue of a few cells that keeps its order and shares nothing with the other lanes. So a lane
 * that waits holds up nobody else, and the engine gives a lane to one slice of one call at a time. cells.h  cells.c
 * lanes in memory that both ranks see     mem.c  threads of one process, with faults for tests shm.c processes of one
 * machine                tcp.c  sockets; works everywhere
 */
#ifndef COMM_TRANSPORT_H
#define COMM_TRANSPORT_H

#include "runtime/base/base.h"

struct yj_comm;
struct world;

/* Calls with small messages take the small lanes in turn, so that several are under way at once; the slices of large
 * calls share the large lanes; send and recv have the pair lane. */
enum {
    SMALL_LANES = 8,
    LARGE_LANES = 4,
    FIRST_LARGE = SMALL_LANES,
    PAIR_LANE = FIRST_LARGE + LARGE_LANES,
    LANES = PAIR_LANE + 1,
    SMALL_CELL = 8192, /* bytes; the cells of the other lanes are settings.cell bytes */
    INLINE_BYTES = 40, /* a message up to this size lies in one cache line with its envelope */
    CELL_DEPTH = 2,    /* cells of a lane; the pair lane has twice as many */
};

/* Payload of a cell, given settings.cell. */
static inline size_t lane_cell_bytes(size_t cell_setting, int lane) {
    return lane < SMALL_LANES ? SMALL_CELL : cell_setting;
}

/* What a message says of itself. It is matched by its place in its lane; the rest proves that both ranks mean the same.
 */
struct envelope {
    uint32_t bytes;
    uint32_t call;     /* hash of the call's card */
    uint32_t sequence; /* of the call, low bits */
    uint16_t round, slice;
};

struct channel {
    const struct transport *transport;
    struct yj_comm *comm;
    int peer; /* rank in comm */
};

struct transport {
    const char *name;
    /* Makes the channel to PEER, when a call first needs it. Does not wait for the peer. */
    enum yj_status (*connect)(struct yj_comm *comm, int peer, struct channel **channel);
    void (*disconnect)(struct channel *channel);
    /* Where the next message of LANE is to be written, or NULL while no cell is free. Stays the same until post. */
    void *(*reserve)(struct channel *channel, int lane, size_t bytes);
    void (*post)(struct channel *channel, int lane, const struct envelope *envelope);
    /* The oldest message of LANE that was not released, or NULL. Aligned to 8 bytes (to 64 if longer than
     * INLINE_BYTES). */
    const void *(*arrived)(struct channel *channel, int lane, struct envelope *envelope);
    void (*release)(struct channel *channel, int lane);
    /* Instead of reserve and post: the BYTES at MEMORY go without a copy, or are worked on by the peer where they lie
     * (pull); MEMORY must stay as it is until settled. False: no cell is free. NULL: the transport cannot. */
    bool (*lend)(struct channel *channel, int lane, const struct envelope *envelope, const void *memory);
    bool lends_all;                                     /* memory of any kind; else only that of shm_alloc */
    bool (*settled)(struct channel *channel, int lane); /* nothing that was lent in LANE is still needed */
    /* Messages of LANE that were posted so far (modulo 2^32); has the peer released the first NUMBER of them? */
    uint32_t (*posted)(struct channel *channel, int lane);
    bool (*taken)(struct channel *channel, int lane, uint32_t number);
    /* The next message of LANE will be written soon. May be NULL. */
    void (*warm)(struct channel *channel, int lane);
    /* Moves bytes that the operating system holds; true if any moved. NULL: bytes move by themselves. */
    bool (*progress)(struct channel *channel);
    /* Sleeps until a message may have come, at most SECONDS. NULL: nothing to sleep on. */
    void (*sleep)(struct channel *const *channels, int n, double seconds);
};

extern const struct transport transport_mem, transport_shm, transport_tcp;

#endif

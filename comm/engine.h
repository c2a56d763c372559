/* SPDX-License-Identifier: Apache-2.0
 *
 * A prepared call: a schedule bound to sizes, as lists that the engine walks without a decision left to make.
 *   round     its outgoing and incoming messages, local copies and joins
 *   message   all pieces that go between two ranks in one round and direction; cut into fragments of whole pieces if it
 * is larger than a cell piece     one block (of one slice, when the engine asks where it lies) runner    takes slices
 * first, first + stride, ... through all rounds, in one lane
 */
#ifndef COMM_ENGINE_H
#define COMM_ENGINE_H

#include "comm/check.h"
#include "comm/reduce.h"
#include "comm/schedule.h"
#include "comm/world.h"

struct piece {
    uint8_t space;
    int32_t block;
    size_t offset, bytes; /* when there is one slice: from the base of the space */
};

/* What is done with a piece that comes: copied TO, or joined with OWN. FUSE: the first of a list of targets: pieces of
 * the next round's messages that are this very block, written in the same pass. -1 ends it. */
struct incoming {
    struct piece to, own;
    bool reduce, own_first;
    int32_t fuse;
};
struct target {
    int32_t message, piece, next;
};
struct message {
    struct channel *channel;
    int32_t peer, first, n; /* pieces: of OUT for what goes out, of INCOMING for what comes */
    bool reduces;
};
/* A sum of more than one arrival. Operands by ascending rank; message -1 is this rank's own. */
struct join {
    struct piece to, own;
    int32_t first, n;
    int32_t fuse;
};
struct operand {
    int32_t message, piece;
};
struct round {
    int32_t out, nouts, in, nins, copy, ncopies, join, njoins;
    bool hazard; /* a reduction writes what a message of the round reads: send first, and lend nothing */
};

struct runner {
    int lane, slice, stride, round;
    uint64_t *turn, ticket; /* it may run when *turn == ticket; adds one when it is through */
    bool entered, through;
    uint32_t posted; /* a send's: messages of its lane when it was through */
    int sends_left, takes_left;
    int32_t *sent, *taken; /* pieces of each message of the round that are done; -1: message done; -2: lent */
    size_t *sent_bytes, *taken_bytes; /* of a piece that is larger than a cell; 0 between pieces */
    const char **data;                /* arrivals that wait for the others of their join */
    const void **operand;             /* of the join that is being made */
    char **cell[2];                   /* [round & 1]: cells of the round's messages that were begun early, or NULL */
    uint32_t *at[2];                  /* [round & 1]: offset of each outgoing piece in its begun message */
    bool *written[2];                 /* [round & 1]: the piece is in its cell */
};

struct yj_request {
    struct yj_prepared *call;
};

struct yj_prepared {
    struct yj_request request;
    struct yj_comm *comm;
    const struct collective *collective;
    const struct algorithm *row;
    int64_t row_index; /* -1: none */
    struct card card;
    uint32_t hash;
    unsigned flags;
    double deadline;
    bool in_place, stream, kept; /* KEPT: made by yj_comm_prepare, else of the cache */
    struct layout layout;
    size_t element_bytes, bytes;       /* of the whole vector */
    size_t part_bytes[2], at_bytes[2]; /* of struct checked */
    uint64_t *table;                   /* of a call with counts; NULL */
    void *tmp;
    bool staged; /* in place by a row that cannot: IN is copied to STAGE at the start */
    void *stage;
    reduce_fn *join_fn;
    scale_fn *scale_fn;

    int nrounds;
    struct round *round;
    struct message *message;
    struct piece *out;
    struct incoming *incoming, *copy; /* copy: from OWN to TO */
    struct target *target;
    struct join *joins;
    struct operand *operand;
    int nrunners;
    struct runner runner[LARGE_LANES];
    bool small; /* takes a small lane */
    bool line;  /* two ranks, one round, one cache line each way */
    size_t line_count;

    /* While it runs. */
    bool active, posted, in_flight;
    _Atomic bool done;
    char *base[SPACES];
    bool lends[SPACES]; /* the memory was made for peers to read */
    uint64_t sequence;
    double until;             /* 0: no deadline */
    double odd_since;         /* when a message first did not fit, or 0 */
    uint64_t record, started; /* of record.c */
    _Atomic uint64_t ready;   /* bytes of IN that are there */
    struct yj_prepared *next; /* cache */
};

/* One a communicator. */
struct engine {
    uint64_t given[LANES], turn[LANES];     /* tickets of the collectives' lanes, and the one whose turn it is */
    uint64_t *pair_given[2], *pair_turn[2]; /* [send, recv][rank]: the same for the pair lanes */
    uint64_t small_calls;
    _Atomic bool busy;           /* one thread moves the data of a communicator */
    struct yj_prepared **flight; /* by start */
    int nflight, flight_room, nprepared;
    struct yj_prepared *cache, *last; /* newest first; LAST: the one that the last plain call used */
    int ncache;
    struct yj_call last_call; /* by which LAST was found; size 0: it must be looked at anew */
    const struct reduce_table *reduce;
    uint64_t *table;            /* of check.c */
    struct channel **connected; /* channels that the system must move */
    int nconnected;
    double left_since; /* when the rank that is waited for was first seen to have left; 0: not */
    int left_looks;
    int blocked_on; /* the rank that the oldest call was last found to wait for, or -1 */
};

enum yj_status engine_open(struct yj_comm *comm);
void engine_close(struct yj_comm *comm);

/* prepare.c */
enum yj_status prepare_call(struct yj_comm *comm, const struct checked *checked, struct yj_prepared **prepared);
void prepare_free(struct yj_prepared *p);

/* engine.c: one thread at a time, under engine_lock, moves the data of a communicator. */
bool engine_look(struct yj_comm *comm);     /* moves what can move; under the lock */
void engine_sweep(struct yj_comm *comm);    /* forgets calls that are done; under the lock */
bool engine_progress(struct yj_comm *comm); /* the same as look, unless another thread is at it */
void world_progress(struct world *world, const struct yj_comm *but);
bool engine_line_post(struct yj_prepared *p); /* the call of one cache line */
bool engine_line_run(struct yj_prepared *p);
static inline void call_done(struct yj_prepared *p) {
    record_end(p);
    atomic_store_explicit(&p->done, true, memory_order_release);
}
static inline void comm_moved(struct yj_comm *comm) {
    atomic_store_explicit(&comm->moves, atomic_load_explicit(&comm->moves, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* call.c */
void engine_lock(struct engine *e);
void engine_unlock(struct engine *e);
enum yj_status engine_start(struct yj_prepared *p, const void *send, void *recv);
void engine_alone(struct yj_prepared *p); /* does a call that has nobody to talk to */
enum yj_status engine_call(struct yj_prepared *p, const void *send, void *recv); /* start and wait */
enum yj_status engine_wait(struct yj_prepared *p);
/* After a look that moved nothing: the communicator fails if P's deadline has passed, or if the rank that is waited for
 * has left. What it sent before is still taken: it counts as missing only after several looks in some time. */
void engine_check(struct yj_prepared *p, double now);

#endif

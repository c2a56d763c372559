/* SPDX-License-Identifier: Apache-2.0
 *
 * A call that has been looked at: what it means for this rank, in elements. One idea: counts, displacements and in
 * place end here, as sizes and places of blocks; the schedule never hears of them.
 */
#ifndef COMM_CHECK_H
#define COMM_CHECK_H

#include "comm/schedule.h"
#include "comm/world.h"

enum { SIDE_IN, SIDE_OUT };

/* Rows of a table of a call with counts, SIZE words each. TIGHT: elements before each block if all lay side by side. */
enum { TABLE_COUNTS, TABLE_DISPLS = 2, TABLE_TIGHT = 4, TABLE_ROWS };

struct checked {
    const struct yj_call *call;
    const struct collective *collective;
    struct yj_call wide; /* where CALL is kept when the caller's struct is an older, shorter one */
    size_t element_bytes;
    uint64_t total;        /* of the whole vector; with counts, what this rank knows of it */
    uint64_t part[2];      /* [side]: from the start of this rank's buffer to the end of its last block */
    uint64_t at[2];        /* [side]: where that buffer begins in the vector: 0, or the place of this rank's block */
    const uint64_t *table; /* NULL: all blocks are alike. COUNTS + side, DISPLS + side, TIGHT */
    bool in_place;
};

/* CHECKED is valid until the next check of COMM. */
enum yj_status check_call(struct yj_comm *comm, const struct yj_call *call, struct checked *checked);
/* Is the block of SEND and the block of RECV that have one number one memory? AT in bytes. */
bool check_in_place(const struct yj_comm *comm, const struct collective *c, int root, const size_t at[2],
                    const void *send, const void *recv);

/* The two halves of a transfer. */
static inline bool is_pair(uint32_t collective) {
    return collective == YJ_SEND || collective == YJ_RECV;
}
/* Counts that only the two ranks of a message know; of the others all ranks know all. */
static inline bool counts_are_private(const struct collective *c) {
    return c->worth == WORTH_TURN || (c->rooted && (c->in == HOLD_OWN || c->out == HOLD_OWN));
}
static inline bool holds(enum holding h, int rank, int root) {
    return h == HOLD_ALL || h == HOLD_OWN || (h == HOLD_ROOT && rank == root);
}

#endif

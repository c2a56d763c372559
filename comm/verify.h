/* SPDX-License-Identifier: Apache-2.0
 *
 * Proves that a schedule does what the row of its collective says, for one number of ranks: runs all ranks in one
 * process on symbols instead of numbers. The error text names round, rank and step.
 */
#ifndef COMM_VERIFY_H
#define COMM_VERIFY_H

#include "comm/schedule.h"

/* How the bytes of a message may move. A schedule must be right in all three. */
enum meaning {
    MEANING_EAGER,      /* a send is read when its round is posted; what arrives is written when the round ends */
    MEANING_RENDEZVOUS, /* a send is read, and the receive written, when the receiver takes it */
    MEANING_PUT,        /* the memory of a receive is rubbish from its posting until the write has landed */
    MEANINGS
};
const char *meaning_name(enum meaning meaning);

struct verify_stats {
    int rounds;
    uint64_t messages, blocks; /* of all ranks */
    int max_messages;          /* of one rank, sent */
    uint64_t max_blocks;
};

/* One size, root, meaning; IN and OUT apart or in place. Send and recv rows are proven as a pair of two ranks. */
enum yj_status verify_one(const struct algorithm *row, int size, int root, enum meaning meaning, bool in_place,
                          struct verify_stats *stats);
/* The same where NODE consecutive ranks share a node; 0: all do. */
enum yj_status verify_nodes(const struct algorithm *row, int size, int node, int root, enum meaning meaning,
                            bool in_place, struct verify_stats *stats);
/* The same for SIZE schedules that were built before (of one row and root). */
enum yj_status verify_built(const struct schedule *ranks, enum meaning meaning, bool in_place,
                            struct verify_stats *stats);
/* All meanings, apart and in place, and roots (all up to 16 ranks; above: first, middle and last); rows that look at
 * nodes, nodes of every size that divides SIZE. */
enum yj_status verify_row(const struct algorithm *row, int size, struct verify_stats *stats);
/* Before a row's first use at SIZE. Sizes that the tests prove return at once; others are proven here if that takes
 * less than about a second (*PROVEN tells). An error means: do not use the row. */
enum yj_status verify_before_use(const struct algorithm *row, int size, int node, bool *proven);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A schedule says who sends which blocks to whom in which round; a layout says where the blocks lie; a transport says
 * how they move. Generators (one a row of algorithms.def) emit a schedule one round at a time, from (rank, size, round)
 * alone.
 *   schedule.h  schedule.c  layout.c     these types, the two tables, layouts
 *   generate.h                           the words generators are written in
 *   all_reduce.c reduce_scatter.c all_gather.c broadcast.c rooted.c all_to_all.c barrier.c two_tree.c
 *   rails.c  compose.c                   the generators; those made of others, and how they are made
 *   verify.h  verify.c  expression.c     proves a row for a size, all ranks in one process
 *   cost.h  cost.c                       time of a schedule: chooses rows, and is the simulator
 *   text.h  text.c                       schedules as text
 */
#ifndef COMM_SCHEDULE_H
#define COMM_SCHEDULE_H

#include <yunjin/comm.h>

/* Where blocks lie: IN is the caller's send buffer, never written; OUT the receive buffer; TMP the library's.
 * In place, IN and OUT blocks of one number are one memory; every row must be right in both cases. */
enum space { SPACE_IN, SPACE_OUT, SPACE_TMP, SPACES };

/* Blocks first, first + stride, ... (count of them), modulo the number of blocks of the space. A block keeps its
 * number: data of block b of IN or OUT may lie only in blocks of TMP equal to b modulo schedule.blocks, so that sizes
 * agree (all_to_all excepted: there block b of rank r and block r of rank b are one size, and TMP is not used). */
struct range {
    uint8_t space;
    int32_t first, count, stride;
};

/* A round's steps are posted together. All steps of one rank with one peer and one direction in a round are one
 * message: their blocks in order of steps, at both ends; it may have no blocks at all. A message is matched by
 * (round, sender).
 *   SEND    FROM goes to PEER
 *   RECV    TO comes from PEER
 *   REDUCE  TO becomes FROM (this rank's operand) joined with what PEER sends. When all sends and receives of the round
 *           are done, reductions are made: all that name one block of TO are one k-operand sum, this rank's operand
 *           (they all name the same) and the arrivals in ascending order of rank.
 *   COPY    FROM is copied to TO, on this rank; nothing if they are one memory
 * No order between steps of a round may matter: what a RECV or COPY writes no other step of the round touches; what a
 * REDUCE writes may besides be read by SENDs (they read the old value) and as its own FROM. */
enum step_kind { STEP_SEND, STEP_RECV, STEP_REDUCE, STEP_COPY };
struct step {
    uint8_t kind;
    int32_t peer;          /* -1 for COPY */
    struct range from, to; /* count 0 where the kind has none; from.count == to.count where it has both */
};

struct algorithm;
struct schedule {
    const struct algorithm *algorithm;
    int rank, size, root;   /* root: 0 where the collective has none, the peer for send and recv */
    int node;               /* the shape of the job: so many consecutive ranks share a node; divides size */
    int blocks, tmp_blocks; /* of IN and OUT; of TMP */
    int nrounds;            /* after schedule_build */
    int *first;             /* round r's steps are step[first[r]] .. step[first[r+1]-1] */
    struct step *step;
    int nsteps; /* of the round that schedule_round made, or of all rounds */
    int room, first_room;
    bool failed; /* out of memory, or more than INT_MAX steps */
};

/* Emits the steps of ROUND for RANK. False: there is no such round; all ranks of a size have the same number of rounds,
 * idle ranks emit an empty one. It never waits, allocates or looks at data; size is at least 2. */
typedef bool generator(struct schedule *s, int rank, int size, int round);

enum algorithm_flags {
    ROW_ORDERED = 1,   /* operands are joined in rank order: serves operators that do not commute */
    ROW_CANONICAL = 2, /* each sum is one join of all ranks in order: bits depend on neither the row nor the slicing */
    ROW_SYMMETRIC = 4, /* rank r does what rank 0 does, ranks and blocks shifted by r (NODES: by whole nodes) */
    ROW_POWER2 = 8,    /* serves sizes that are powers of two only */
    ROW_APART = 16,    /* IN and OUT must not share memory */
    ROW_NODES = 32,    /* looks at schedule.node: proven for every divisor of size */
    ROW_EQUAL = 64,    /* all blocks must be of one size: serves no v-collective */
    ROW_STRAIGHT =
        128, /* what is sent is IN, what is received is OUT: sizes may be known to sender and receiver only */
};
struct algorithm {
    enum yj_collective collective;
    const char *name;
    generator *emit;
    int (*blocks)(int size);   /* the vector is cut into that many blocks; a v-collective's counts are one a block */
    int (*tmp)(int size);      /* blocks of TMP */
    int (*critical)(int size); /* the (root-relative) rank that ends last when all links are alike */
    int max_size;              /* refused above it (a quadratic number of messages) */
    unsigned flags;
    const char *doc;
};

enum holding { HOLD_ALL, HOLD_OWN, HOLD_ROOT, HOLD_NONE };
enum worth { WORTH_SUM, WORTH_SAME, WORTH_TURN, WORTH_HEARD };
struct collective {
    enum yj_collective number;
    const char *name;
    enum holding in, out;
    enum worth worth;
    bool rooted;
    const char *doc;
};

/* The tables. Algorithm rows have indices 0 .. algorithm_count()-1, equal on all ranks whose hash is equal. */
const struct collective *collective_find(int number); /* NULL if unknown */
const struct collective *collective_named(const char *name);
int algorithm_count(void);
const struct algorithm *algorithm_at(int index);
int algorithm_index(const struct algorithm *algorithm);
const struct algorithm *algorithm_named(enum yj_collective collective, const char *name);
/* Does ROW serve SIZE ranks (and, if ORDERED, an operator that does not commute)? */
bool algorithm_serves(const struct algorithm *row, int size, bool ordered);
/* Over the rows and the schedules they give for small sizes: two builds that would disagree have different hashes. */
uint64_t algorithm_table_hash(void);

/* A schedule of ROW for one rank. open refuses sizes the row does not serve, and ranks and roots out of range.
 * NODE consecutive ranks share a node; 0, and plain open: all of them do. Where it does not divide SIZE no two do. */
enum yj_status schedule_open(const struct algorithm *row, int rank, int size, int root, struct schedule *s);
enum yj_status schedule_open_nodes(const struct algorithm *row, int rank, int size, int node, int root,
                                   struct schedule *s);
/* Replaces the steps by those of ROUND; false: no such round (or s->failed). Allocates only when a round is larger than
 * any before. */
bool schedule_round(struct schedule *s, int round);
/* All rounds at once, into step[] and first[]. */
enum yj_status schedule_build(struct schedule *s);
void schedule_close(struct schedule *s);

/* Number of blocks of SPACE, and the i-th block of a range. */
static inline int schedule_blocks(const struct schedule *s, int space) {
    return space == SPACE_TMP ? s->tmp_blocks : s->blocks;
}
static inline int range_block(const struct schedule *s, const struct range *range, int i) {
    return (int)(((int64_t)range->first + (int64_t)i * range->stride) % schedule_blocks(s, range->space));
}

/* --- layout: block -> address and bytes. Counts and displacements, in place (IN and OUT at one base) and slices are
 * layouts, never algorithms. A slice is the same fraction of every block. --- */

struct layout_part {
    char *base;             /* of block 0; of block ONLY if that is all there is. NULL: this rank has no such part */
    int only;               /* -1, or the one block that lies here (OUT of reduce_scatter, IN of all_gather) */
    uint64_t count;         /* elements of all blocks; without COUNTS the first count % blocks have one more */
    const uint64_t *counts; /* or NULL: elements of each block */
    const uint64_t *displs; /* with COUNTS: elements before each block; else NULL */
};
struct layout {
    int blocks; /* schedule.blocks */
    int slices;
    size_t element_bytes;
    struct layout_part part[SPACES]; /* block t of TMP is as large as block t % blocks of the whole vector */
};

/* Elements of a block, of its slice, and where the slice lies. Slices are cut at multiples of 64 bytes of the block. */
uint64_t layout_count(const struct layout *layout, int space, int block);
size_t layout_slice_bytes(const struct layout *layout, int space, int block, int slice);
char *layout_slice(const struct layout *layout, int space, int block, int slice, size_t *bytes);
/* Bytes that TMP of S needs under LAYOUT, all slices. Overflow: YJ_ERR_INPUT. */
enum yj_status layout_tmp_bytes(const struct layout *layout, const struct schedule *s, size_t *bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The words generators are written in. Ranks may be given beyond 0..size-1 and blocks beyond 0..blocks-1: they are
 * taken modulo. A step on no blocks is not emitted, unless the collective has no blocks at all (barrier).
 */
#ifndef COMM_GENERATE_H
#define COMM_GENERATE_H

#include "comm/schedule.h"
#include "runtime/base/base.h"

static inline struct range blocks_of(enum space space, int first, int count) {
    return (struct range){(uint8_t)space, first, count, 1};
}
static inline struct range in(int first, int count) {
    return blocks_of(SPACE_IN, first, count);
}
static inline struct range out(int first, int count) {
    return blocks_of(SPACE_OUT, first, count);
}
static inline struct range tmp(int first, int count) {
    return blocks_of(SPACE_TMP, first, count);
}

void send_to(struct schedule *s, int peer, struct range from);
void recv_from(struct schedule *s, int peer, struct range to);
void reduce_from(struct schedule *s, int peer, struct range from, struct range to);
void copy_to(struct schedule *s, struct range from, struct range to);

/* a mod n, never negative */
static inline int mod(int64_t a, int n) {
    if (a >= n && a < 2 * (int64_t)n) a -= n; /* a division costs more than the rest of a generator */
    if (a < 0 && a >= -(int64_t)n) a += n;
    return a >= 0 && a < n ? (int)a : (int)((a % n + n) % n);
}
/* The rank counted from the root, and back. */
static inline int from_root(const struct schedule *s, int rank) {
    return mod((int64_t)rank - s->root, s->size);
}
static inline int ceil_log2(int n) {
    int k = 0;
    while (((int64_t)1 << k) < n)
        k++;
    return k;
}
/* k to the power of E; 0 <= E, and the result below 2^40 */
static inline int64_t power(int k, int e) {
    int64_t p = 1;
    while (e-- > 0 && p < (int64_t)1 << 32)
        p *= k;
    return p;
}
static inline int floor_power2(int n) {
    int k = 1;
    while (k <= n / 2)
        k *= 2;
    return k;
}

/* A step as it stands; the four words above are all that generators need. */
void schedule_put(struct schedule *s, enum step_kind kind, int peer, struct range from, struct range to);

/* --- composition: a phase run by some of the ranks on some of the blocks ---
 * Between enter and leave S is the schedule of a group: its SIZE members, as many blocks, its root. Member i is rank
 * FIRST + i * STEP; block b of the group is the WIDTH blocks from BLOCK + b * SKIP on, STRIDE apart. SPACE says where
 * the group's IN, OUT and TMP are: what one phase left in OUT is IN to the next. */
struct group {
    int size, first, step, root;
    int block, skip, width, stride;
    uint8_t space[SPACES];
    struct {
        int size, root, node, blocks, tmp_blocks, nsteps;
    } whole; /* filled by enter */
};
void group_enter(struct schedule *s, struct group *group);
void group_leave(struct schedule *s, const struct group *group);

/* Phases that several collectives share; a phase counts its rounds from 0 and returns false beyond its last.
 * reduce_scatter leaves the sum of block RANK in OUT and keeps partial sums in WORK (OUT or TMP);
 * all_gather starts from block RANK in OWN (IN or OUT). */
bool circulant_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work);
bool circulant_all_gather(struct schedule *s, int rank, int size, int round, enum space own);
bool ring_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work);
bool ring_all_gather(struct schedule *s, int rank, int size, int round, enum space own);
bool direct_reduce_scatter(struct schedule *s, int rank, int size, int round);
bool direct_all_gather(struct schedule *s, int rank, int size, int round, enum space own);
bool pat_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work);
bool pat_all_gather(struct schedule *s, int rank, int size, int round, enum space own);
bool broadcast_scatter_all_gather(struct schedule *s, int rank, int size, int round);
bool gather_binomial(struct schedule *s, int rank, int size, int round);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of all_gather, and the all-gather phases of all_reduce and broadcast: every rank starts with its own block
 * and passes on what it has.
 */
#include "comm/generate.h"

static void copy_own(struct schedule *s, int rank, enum space own) {
    if (own == SPACE_IN) copy_to(s, in(rank, 1), out(rank, 1));
}

/* The circulant reduce-scatter run backwards: before a round a rank holds the a blocks from its own on, after it b. */
bool circulant_all_gather(struct schedule *s, int rank, int size, int round, enum space own) {
    int left = ceil_log2(size) - round, a = size, b = size;
    if (left <= 0) return false;
    while (left-- > 0)
        b = a, a = (a + 1) / 2;
    if (round == 0) copy_own(s, rank, own);
    send_to(s, rank - a, blocks_of(round ? SPACE_OUT : own, rank, b - a));
    recv_from(s, rank + a, out(rank + a, b - a));
    return true;
}

bool ring_all_gather(struct schedule *s, int rank, int size, int round, enum space own) {
    if (round >= size - 1) return false;
    if (round == 0) copy_own(s, rank, own);
    send_to(s, rank + 1, blocks_of(round ? SPACE_OUT : own, rank - round, 1));
    recv_from(s, rank - 1, out(rank - round - 1, 1));
    return true;
}

bool direct_all_gather(struct schedule *s, int rank, int size, int round, enum space own) {
    if (round > 0) return false;
    copy_own(s, rank, own);
    for (int d = 1; d < size; d++) {
        send_to(s, rank + d, blocks_of(own, rank, 1));
        recv_from(s, rank - d, out(rank - d, 1));
    }
    return true;
}

/* The PAT reduce-scatter run backwards: far ranks first, while there is little to send. */
bool pat_all_gather(struct schedule *s, int rank, int size, int round, enum space own) {
    if (round >= ceil_log2(size)) return false;
    int64_t d = (int64_t)1 << (ceil_log2(size) - 1 - round);
    int count = (int)((size - d + 2 * d - 1) / (2 * d)), step = -2 * (int)d;
    if (round == 0) copy_own(s, rank, own);
    send_to(s, rank + (int)d, (struct range){round ? SPACE_OUT : own, rank, count, step});
    recv_from(s, rank - (int)d, (struct range){SPACE_OUT, rank - (int)d, count, step});
    return true;
}

/* J. Bruck and others, 1997: what a rank has doubles with each round. */
bool all_gather_bruck(struct schedule *s, int rank, int size, int round) {
    if (round >= ceil_log2(size)) return false;
    int64_t d = (int64_t)1 << round;
    int n = (int)min64(d, size - d);
    if (round == 0) copy_own(s, rank, SPACE_IN);
    send_to(s, rank - (int)d, round ? out(rank, n) : in(rank, n));
    recv_from(s, rank + (int)d, out(rank + (int)d, n));
    return true;
}

bool all_gather_pat(struct schedule *s, int rank, int size, int round) {
    return pat_all_gather(s, rank, size, round, SPACE_IN);
}

bool all_gather_circulant(struct schedule *s, int rank, int size, int round) {
    return circulant_all_gather(s, rank, size, round, SPACE_IN);
}

bool all_gather_ring(struct schedule *s, int rank, int size, int round) {
    return ring_all_gather(s, rank, size, round, SPACE_IN);
}

bool all_gather_direct(struct schedule *s, int rank, int size, int round) {
    return direct_all_gather(s, rank, size, round, SPACE_IN);
}

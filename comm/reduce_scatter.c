/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of reduce_scatter, and the reduce-scatter phases of all_reduce. The idea of all three: block b travels
 * towards rank b and gathers operands on its way; rank b alone makes the last addition.
 */
#include "comm/generate.h"

/* Distances of the circulant graph: size, then halves rounded up, down to 1. */
static int skip(int size, int round) {
    while (round-- > 0)
        size = (size + 1) / 2;
    return size;
}

/* J. L. Traeff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms", 2024. Before round i a rank is
 * responsible for the b = skip(i) blocks from its own on; it gives away those from a = skip(i+1) on and takes operands
 * for as many. Round 0 writes partial sums for the first size/2 blocks; later rounds find the others still in IN. */
bool circulant_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work) {
    if (round >= ceil_log2(size)) return false;
    int b = skip(size, round), a = skip(size, round + 1), untouched = a;
    if (round > 0 && a < size / 2) untouched = b < size / 2 ? b : size / 2;
    send_to(s, rank + a, blocks_of(work, rank + a, untouched - a));
    send_to(s, rank + a, in(rank + untouched, b - untouched));
    reduce_from(s, rank - a, blocks_of(round ? work : SPACE_IN, rank, b - a),
                blocks_of(a == 1 ? SPACE_OUT : work, rank, b - a));
    return true;
}

bool ring_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work) {
    if (round >= size - 1) return false;
    send_to(s, rank + 1, blocks_of(round ? work : SPACE_IN, rank - round - 1, 1));
    reduce_from(s, rank - 1, in(rank - round - 2, 1),
                blocks_of(round == size - 2 ? SPACE_OUT : work, rank - round - 2, 1));
    return true;
}

bool direct_reduce_scatter(struct schedule *s, int rank, int size, int round) {
    for (int d = 1; d < size && round == 0; d++) {
        send_to(s, rank + d, in(rank + d, 1));
        reduce_from(s, rank - d, in(rank, 1), out(rank, 1));
    }
    return round < 1;
}

/* S. Jeaugey, "PAT: a new algorithm for all-gather and reduce-scatter operations at scale", 2025: binomial trees, one a
 * block, near ranks first, so that most data goes to neighbours. Before the round of distance d a rank has partial sums
 * for the blocks d, 2d, .. before its own; it gives the odd ones to the rank d before it. Only the block size-1 before
 * its own never gets an operand: it is sent out of IN. */
bool pat_reduce_scatter(struct schedule *s, int rank, int size, int round, enum space work) {
    if (round >= ceil_log2(size)) return false;
    int64_t d = (int64_t)1 << round;
    int count = (int)((size - d + 2 * d - 1) / (2 * d)), step = -2 * (int)d;
    bool last = round > 0 && d + 2 * d * (count - 1) == size - 1;
    send_to(s, rank - (int)d, (struct range){round ? work : SPACE_IN, rank - (int)d, count - last, step});
    if (last) send_to(s, rank - (int)d, in(rank + 1, 1));
    enum space from = round ? work : SPACE_IN, to = 2 * d >= size ? SPACE_OUT : work;
    reduce_from(s, rank + (int)d, (struct range){from, rank, count, step}, (struct range){to, rank, count, step});
    return true;
}

/* A block at a time, each from the rank that gave it. */
bool reduce_scatter_pairwise(struct schedule *s, int rank, int size, int round) {
    if (round >= size - 1) return false;
    send_to(s, rank + round + 1, in(rank + round + 1, 1));
    reduce_from(s, rank - round - 1, blocks_of(round ? SPACE_OUT : SPACE_IN, rank, 1), out(rank, 1));
    return true;
}

bool reduce_scatter_pat(struct schedule *s, int rank, int size, int round) {
    return pat_reduce_scatter(s, rank, size, round, SPACE_TMP);
}

bool reduce_scatter_circulant(struct schedule *s, int rank, int size, int round) {
    return circulant_reduce_scatter(s, rank, size, round, SPACE_TMP);
}

bool reduce_scatter_ring(struct schedule *s, int rank, int size, int round) {
    return ring_reduce_scatter(s, rank, size, round, SPACE_TMP);
}

bool reduce_scatter_direct(struct schedule *s, int rank, int size, int round) {
    return direct_reduce_scatter(s, rank, size, round);
}

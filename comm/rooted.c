/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of reduce, gather, scatter, send and recv. Ranks are counted from the root; in the binomial trees rank v
 * looks after the blocks v .. v+d-1 when it meets the rank at distance d.
 */
#include "comm/generate.h"

bool reduce_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) send_to(s, s->root, in(0, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        reduce_from(s, rank + d, in(0, 1), out(0, 1));
    return true;
}

bool reduce_binomial(struct schedule *s, int rank, int size, int round) {
    int v = from_root(s, rank);
    int64_t d = (int64_t)1 << round;
    if (d >= size) return false;
    enum space work = v ? SPACE_TMP : SPACE_OUT;
    struct range mine = blocks_of(round && v + 1 < size ? work : SPACE_IN, 0, 1);
    if (v % (2 * d) == d) send_to(s, rank - (int)d, mine);
    if (v % (2 * d) == 0 && v + d < size) reduce_from(s, rank + (int)d, mine, blocks_of(work, 0, 1));
    return true;
}

bool gather_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) send_to(s, s->root, in(rank, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        recv_from(s, rank + d, out(rank + d, 1));
    if (rank == s->root) copy_to(s, in(rank, 1), out(rank, 1));
    return true;
}

bool gather_binomial(struct schedule *s, int rank, int size, int round) {
    int v = from_root(s, rank);
    int64_t d = (int64_t)1 << round;
    if (d >= size) return false;
    if (round == 0 && v == 0) copy_to(s, in(rank, 1), out(rank, 1));
    if (v % (2 * d) == d) {
        send_to(s, rank - (int)d, in(rank, 1));
        send_to(s, rank - (int)d, tmp(rank + 1, (int)min64(d, size - v) - 1));
    }
    if (v % (2 * d) == 0 && v + d < size)
        recv_from(s, rank + (int)d, blocks_of(v ? SPACE_TMP : SPACE_OUT, rank + (int)d, (int)min64(d, size - v - d)));
    return true;
}

bool scatter_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) recv_from(s, s->root, out(rank, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        send_to(s, rank + d, in(rank + d, 1));
    if (rank == s->root) copy_to(s, in(rank, 1), out(rank, 1));
    return true;
}

bool scatter_binomial(struct schedule *s, int rank, int size, int round) {
    int v = from_root(s, rank), rounds = ceil_log2(size);
    if (round >= rounds) return false;
    int64_t d = (int64_t)1 << (rounds - 1 - round);
    if (round == 0 && v == 0) copy_to(s, in(rank, 1), out(rank, 1));
    if (v % (2 * d) == d) {
        recv_from(s, rank - (int)d, out(rank, 1));
        recv_from(s, rank - (int)d, tmp(rank + 1, (int)min64(d, size - v) - 1));
    }
    if (v % (2 * d) == 0 && v + d < size)
        send_to(s, rank + (int)d, blocks_of(v ? SPACE_TMP : SPACE_IN, rank + (int)d, (int)min64(d, size - v - d)));
    return true;
}

bool point_send(struct schedule *s, int rank, int size, int round) {
    if (round == 0) send_to(s, s->root, in(0, 1));
    return round == 0;
}

bool point_recv(struct schedule *s, int rank, int size, int round) {
    if (round == 0) recv_from(s, s->root, out(0, 1));
    return round == 0;
}

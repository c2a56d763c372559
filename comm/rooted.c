/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of reduce, gather, scatter, send and recv. Ranks are counted from the root; in the k-nomial trees rank v
 * looks after the blocks v .. v+d-1 when it meets the ranks at distances d, 2d .. (k-1)d, in one round.
 */
#include "comm/generate.h"

bool reduce_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) send_to(s, s->root, in(0, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        reduce_from(s, rank + d, in(0, 1), out(0, 1));
    return true;
}

static bool reduce_knomial(struct schedule *s, int rank, int size, int round, int k) {
    int v = from_root(s, rank);
    int64_t d = power(k, round);
    if (d >= size) return false;
    enum space work = v ? SPACE_TMP : SPACE_OUT;
    struct range mine = blocks_of(round && v + 1 < size ? work : SPACE_IN, 0, 1);
    int digit = (int)(v / d % k);
    if (v % d) return true;
    if (digit) send_to(s, rank - (int)(digit * d), mine);
    for (int64_t peer = d; peer < k * d && v + peer < size && !digit; peer += d)
        reduce_from(s, rank + (int)peer, mine, blocks_of(work, 0, 1));
    return true;
}

bool reduce_binomial(struct schedule *s, int rank, int size, int round) {
    return reduce_knomial(s, rank, size, round, 2);
}

bool reduce_knomial4(struct schedule *s, int rank, int size, int round) {
    return reduce_knomial(s, rank, size, round, 4);
}

bool gather_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) send_to(s, s->root, in(rank, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        recv_from(s, rank + d, out(rank + d, 1));
    if (rank == s->root) copy_to(s, in(rank, 1), out(rank, 1));
    return true;
}

static bool gather_knomial(struct schedule *s, int rank, int size, int round, int k) {
    int v = from_root(s, rank);
    int64_t d = power(k, round);
    if (d >= size) return false;
    if (round == 0 && v == 0) copy_to(s, in(rank, 1), out(rank, 1));
    int digit = (int)(v / d % k);
    if (v % d) return true;
    if (digit) {
        send_to(s, rank - (int)(digit * d), in(rank, 1));
        send_to(s, rank - (int)(digit * d), tmp(rank + 1, (int)min64(d, size - v) - 1));
    }
    for (int64_t peer = d; peer < k * d && v + peer < size && !digit; peer += d)
        recv_from(s, rank + (int)peer,
                  blocks_of(v ? SPACE_TMP : SPACE_OUT, rank + (int)peer, (int)min64(d, size - v - peer)));
    return true;
}

bool gather_binomial(struct schedule *s, int rank, int size, int round) {
    return gather_knomial(s, rank, size, round, 2);
}

bool gather_knomial4(struct schedule *s, int rank, int size, int round) {
    return gather_knomial(s, rank, size, round, 4);
}

bool scatter_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    if (rank != s->root) recv_from(s, s->root, out(rank, 1));
    for (int d = 1; d < size && rank == s->root; d++)
        send_to(s, rank + d, in(rank + d, 1));
    if (rank == s->root) copy_to(s, in(rank, 1), out(rank, 1));
    return true;
}

static bool scatter_knomial(struct schedule *s, int rank, int size, int round, int k) {
    int v = from_root(s, rank), rounds = 0;
    while (power(k, rounds) < size)
        rounds++;
    if (round >= rounds) return false;
    int64_t d = power(k, rounds - 1 - round);
    if (round == 0 && v == 0) copy_to(s, in(rank, 1), out(rank, 1));
    int digit = (int)(v / d % k);
    if (v % d) return true;
    if (digit) {
        recv_from(s, rank - (int)(digit * d), out(rank, 1));
        recv_from(s, rank - (int)(digit * d), tmp(rank + 1, (int)min64(d, size - v) - 1));
    }
    for (int64_t peer = d; peer < k * d && v + peer < size && !digit; peer += d)
        send_to(s, rank + (int)peer,
                blocks_of(v ? SPACE_TMP : SPACE_IN, rank + (int)peer, (int)min64(d, size - v - peer)));
    return true;
}

bool scatter_binomial(struct schedule *s, int rank, int size, int round) {
    return scatter_knomial(s, rank, size, round, 2);
}

bool scatter_knomial4(struct schedule *s, int rank, int size, int round) {
    return scatter_knomial(s, rank, size, round, 4);
}

bool point_send(struct schedule *s, int rank, int size, int round) {
    if (round == 0) send_to(s, s->root, in(0, 1));
    return round == 0;
}

bool point_recv(struct schedule *s, int rank, int size, int round) {
    if (round == 0) recv_from(s, s->root, out(0, 1));
    return round == 0;
}

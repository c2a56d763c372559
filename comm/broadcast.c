/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of broadcast. Ranks are counted from the root; the trees are k-nomial: when the first d ranks have the
 * vector, each serves the k-1 ranks at distances d, 2d .. (k-1)d in one round.
 */
#include "comm/generate.h"

static bool is_root(const struct schedule *s, int rank) {
    return rank == s->root;
}

static bool broadcast_knomial(struct schedule *s, int rank, int size, int round, int k) {
    int v = from_root(s, rank);
    int64_t d = power(k, round);
    if (d >= size) return false;
    if (round == 0 && v == 0) copy_to(s, in(0, 1), out(0, 1));
    for (int64_t peer = d; peer < k * d && v < d && v + peer < size; peer += d)
        send_to(s, rank + (int)peer, is_root(s, rank) ? in(0, 1) : out(0, 1));
    if (v >= d && v < k * d) recv_from(s, rank - (int)(v - v % d), out(0, 1));
    return true;
}

bool broadcast_binomial(struct schedule *s, int rank, int size, int round) {
    return broadcast_knomial(s, rank, size, round, 2);
}

bool broadcast_knomial4(struct schedule *s, int rank, int size, int round) {
    return broadcast_knomial(s, rank, size, round, 4);
}

/* The first half: the far half of the blocks a rank holds goes to the rank they begin with. */
static bool scatter(struct schedule *s, int rank, int size, int round) {
    int v = from_root(s, rank), rounds = ceil_log2(size);
    if (round >= rounds) return false;
    int64_t d = (int64_t)1 << (rounds - 1 - round);
    int64_t end = v - v % (2 * d) + 2 * d;
    if (end > size) end = size;
    if (round == 0 && v == 0) copy_to(s, in(rank, 1), out(rank, 1));
    if (v % (2 * d) == 0 && v + d < size)
        send_to(s, rank + (int)d, blocks_of(v ? SPACE_OUT : SPACE_IN, rank + (int)d, (int)(end - v - d)));
    if (v % (2 * d) == d) recv_from(s, rank - (int)d, out(rank, (int)(end - v)));
    return true;
}

bool broadcast_scatter_all_gather(struct schedule *s, int rank, int size, int round) {
    return scatter(s, rank, size, round) || circulant_all_gather(s, rank, size, round - ceil_log2(size), SPACE_OUT);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of broadcast. Ranks are counted from the root; the tree is binomial: at distance d a rank that is a
 * multiple of 2d serves the one d further on.
 */
#include "comm/generate.h"

static bool is_root(const struct schedule *s, int rank) {
    return rank == s->root;
}

bool broadcast_binomial(struct schedule *s, int rank, int size, int round) {
    int v = from_root(s, rank);
    int64_t d = (int64_t)1 << round;
    if (d >= size) return false;
    if (round == 0 && v == 0) copy_to(s, in(0, 1), out(0, 1));
    if (v < d && v + d < size) send_to(s, rank + (int)d, is_root(s, rank) ? in(0, 1) : out(0, 1));
    if (v >= d && v < 2 * d) recv_from(s, rank - (int)d, out(0, 1));
    return true;
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

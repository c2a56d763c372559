/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of all_reduce. Either all ranks make all additions, in the same order (direct, doubling), or each block is
 * added by one owner and then handed round (the others): both ways all ranks end with the same bits.
 */
#include "comm/generate.h"

bool all_reduce_direct(struct schedule *s, int rank, int size, int round) {
    for (int d = 1; d < size && round == 0; d++) {
        send_to(s, rank + d, in(0, 1));
        reduce_from(s, rank - d, in(0, 1), out(0, 1));
    }
    return round < 1;
}

static void exchange(struct schedule *s, int peer, bool first) {
    struct range mine = first ? in(0, 1) : out(0, 1);
    send_to(s, peer, mine);
    reduce_from(s, peer, mine, out(0, 1));
}

/* With size = power + extra, the even ones of the first 2 * extra ranks give their vector to the next rank and wait;
 * the others, numbered in order, double. Pairs stay neighbours, so operands stay in rank order. */
bool all_reduce_doubling(struct schedule *s, int rank, int size, int round) {
    int power = floor_power2(size), extra = size - power, rounds = ceil_log2(power);
    bool folded = rank < 2 * extra, idle = folded && rank % 2 == 0;
    if (round == 0 && extra) {
        if (idle)
            send_to(s, rank + 1, in(0, 1));
        else if (folded)
            reduce_from(s, rank - 1, in(0, 1), out(0, 1));
        return true;
    }
    int i = round - (extra > 0);
    if (i < rounds) {
        int number = folded ? rank / 2 : rank - extra, other = number ^ (1 << i);
        if (!idle) exchange(s, other < extra ? 2 * other + 1 : other + extra, i == 0 && !folded);
        return true;
    }
    if (i > rounds || !extra) return false;
    if (idle)
        recv_from(s, rank + 1, out(0, 1));
    else if (folded)
        send_to(s, rank - 1, out(0, 1));
    return true;
}

bool all_reduce_two_shot(struct schedule *s, int rank, int size, int round) {
    return direct_reduce_scatter(s, rank, size, round) || direct_all_gather(s, rank, size, round - 1, SPACE_OUT);
}

bool all_reduce_circulant(struct schedule *s, int rank, int size, int round) {
    return circulant_reduce_scatter(s, rank, size, round, SPACE_OUT) ||
           circulant_all_gather(s, rank, size, round - ceil_log2(size), SPACE_OUT);
}

bool all_reduce_ring(struct schedule *s, int rank, int size, int round) {
    return ring_reduce_scatter(s, rank, size, round, SPACE_OUT) ||
           ring_all_gather(s, rank, size, round - (size - 1), SPACE_OUT);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of all_to_all: block b of rank r becomes block r of rank b. No block is forwarded, so the counts of every
 * pair may differ.
 */
#include "comm/generate.h"

static void exchange(struct schedule *s, int rank, int distance) {
    send_to(s, rank + distance, in(rank + distance, 1));
    recv_from(s, rank - distance, out(rank - distance, 1));
}

bool all_to_all_pairwise(struct schedule *s, int rank, int size, int round) {
    if (round >= size - 1) return false;
    if (round == 0) copy_to(s, in(rank, 1), out(rank, 1));
    exchange(s, rank, round + 1);
    return true;
}

bool all_to_all_direct(struct schedule *s, int rank, int size, int round) {
    if (round > 0) return false;
    copy_to(s, in(rank, 1), out(rank, 1));
    for (int d = 1; d < size; d++)
        exchange(s, rank, d);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of all_to_all: block b of rank r becomes block r of rank b. Where no block is forwarded (pairwise, direct)
 * the counts of every pair may differ; the others are EQUAL.
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

/* J. Bruck and others, 1997. The block for the rank i further on travels by the ones of i: in round k all blocks with
 * bit k in their i go 2^k ranks on. Those that must go further wait in round k's part of TMP, packed: bit k taken out
 * of i. */
static int packed(int i, int k) {
    return (i >> (k + 1) << k) | (i & ((1 << k) - 1));
}

/* Round K takes N blocks, STRIDE apart, from the I-th on; they came in round CAME (-1: they are still in IN). */
static void move(struct schedule *s, int rank, int k, int came, int i, int n, int stride) {
    int room = s->size / 2, d = 1 << k, apart = stride == 1 ? 1 : d;
    int last = i >= 2 * d ? 0 : stride == 1 ? n : 1; /* so many are where they belong after this round */
    if (came < 0)
        send_to(s, rank + d, (struct range){SPACE_IN, rank + i, n, stride});
    else
        send_to(s, rank + d, (struct range){SPACE_TMP, came * room + packed(i, came), n, apart});
    recv_from(s, rank - d, (struct range){SPACE_OUT, rank - i, last, -1});
    recv_from(s, rank - d, (struct range){SPACE_TMP, k * room + packed(i + last * stride, k), n - last, apart});
}

bool all_to_all_bruck(struct schedule *s, int rank, int size, int round) {
    if (round >= ceil_log2(size)) return false;
    int k = round, d = 1 << k, high = (size - 1 - d) / (2 * d) + 1; /* different values of the bits above k */
    if (k == 0) copy_to(s, in(rank, 1), out(rank, 1));
    move(s, rank, k, -1, d, high, 2 * d);
    for (int came = 0; came < k; came++) {
        int low = 1 << came; /* the bits below k: LOW .. 2 * LOW - 1; walk whatever there is less of */
        for (int i = d + low; low <= high && i < d + 2 * low && i < size; i++)
            move(s, rank, k, came, i, (size - 1 - i) / (2 * d) + 1, 2 * d);
        for (int i = d + low; low > high && i < size; i += 2 * d)
            move(s, rank, k, came, i, (int)min64(low, size - i), 1);
    }
    return true;
}

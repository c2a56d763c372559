/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of barrier: messages without blocks. After round i a rank has heard, directly or not, from the k^(i+1) - 1
 * ranks before it (Hensgen, Finkel and Manber, 1988, for k = 2).
 */
#include "comm/generate.h"

static bool disseminate(struct schedule *s, int rank, int size, int round, int k) {
    int64_t d = power(k, round);
    if (d >= size) return false;
    for (int64_t distance = d; distance < k * d && distance < size; distance += d) {
        send_to(s, mod(rank + distance, size), in(0, 0));
        recv_from(s, mod(rank - distance, size), out(0, 0));
    }
    return true;
}

bool barrier_dissemination(struct schedule *s, int rank, int size, int round) {
    return disseminate(s, rank, size, round, 2);
}

bool barrier_knomial4(struct schedule *s, int rank, int size, int round) {
    return disseminate(s, rank, size, round, 4);
}

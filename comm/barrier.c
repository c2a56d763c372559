/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators of barrier: messages without blocks. After round i a rank has heard, directly or not, from the 2^(i+1) - 1
 * ranks before it (Hensgen, Finkel and Manber, 1988).
 */
#include "comm/generate.h"

bool barrier_dissemination(struct schedule *s, int rank, int size, int round) {
    int64_t d = (int64_t)1 << round;
    if (d >= size) return false;
    send_to(s, mod(rank + d, size), in(0, 0));
    recv_from(s, mod(rank - d, size), out(0, 0));
    return true;
}

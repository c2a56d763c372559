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

/* SIZE made to look like BASE: the even ones of the first 2 * (size - base) ranks give their vector to the next rank
 * and wait; the others are numbered in order. Pairs stay neighbours, so operands stay in rank order. */
struct folded {
    int extra, number;
    bool pair, idle;
};

static struct folded fold(int rank, int size, int base) {
    int extra = size - base;
    bool pair = rank < 2 * extra;
    return (struct folded){extra, pair ? rank / 2 : rank - extra, pair, pair && rank % 2 == 0};
}

static int unfold(const struct folded *f, int number) {
    return number < f->extra ? 2 * number + 1 : number + f->extra;
}

static void before(struct schedule *s, int rank, const struct folded *f) {
    if (f->idle)
        send_to(s, rank + 1, in(0, 1));
    else if (f->pair)
        reduce_from(s, rank - 1, in(0, 1), out(0, 1));
}

static void after(struct schedule *s, int rank, const struct folded *f) {
    if (f->idle)
        recv_from(s, rank + 1, out(0, 1));
    else if (f->pair)
        send_to(s, rank - 1, out(0, 1));
}

/* The radix of a stage among N numbers: the largest factor up to 8; 1 if there is none. */
static int radix(int n) {
    int k = 8;
    while (n % k)
        k--;
    return k;
}

/* Stages of radix up to MOST over BASE numbers: the ranks whose numbers differ in one digit give each other their
 * vector and all add in rank order, so all have the same bits. */
static bool multiply(struct schedule *s, int rank, int size, int round, int base, int most) {
    struct folded f = fold(rank, size, base);
    int stage = round - (f.extra > 0), d = 1, left = base;
    if (stage < 0) return before(s, rank, &f), true;
    for (int i = 0; i < stage && left > 1; i++) {
        int k = most == 2 ? 2 : radix(left);
        d *= k, left /= k;
        if (left == 1 && i == stage - 1) return f.extra > 0 ? after(s, rank, &f), true : false;
        if (left == 1) return false;
    }
    int k = most == 2 ? 2 : radix(left), digit = f.number / d % k;
    struct range mine = stage == 0 && !f.pair ? in(0, 1) : out(0, 1);
    for (int j = 1; j < k && !f.idle; j++) {
        send_to(s, unfold(&f, f.number + ((digit + j) % k - digit) * d), mine);
        reduce_from(s, unfold(&f, f.number + ((digit - j + k) % k - digit) * d), mine, out(0, 1));
    }
    return true;
}

bool all_reduce_doubling(struct schedule *s, int rank, int size, int round) {
    return multiply(s, rank, size, round, floor_power2(size), 2);
}

/* SIZE itself if it has no prime factor above 7, else its three leading bits. */
static int multiplying_base(int size) {
    int n = size, unit = floor_power2(size) / 4;
    for (int k = radix(n); n > 1 && k > 1; k = radix(n))
        n /= k;
    return n == 1 || unit < 1 ? size : size / unit * unit;
}

bool all_reduce_multiplying(struct schedule *s, int rank, int size, int round) {
    return multiply(s, rank, size, round, multiplying_base(size), 8);
}

bool all_reduce_two_shot(struct schedule *s, int rank, int size, int round) {
    return direct_reduce_scatter(s, rank, size, round) || direct_all_gather(s, rank, size, round - 1, SPACE_OUT);
}

bool all_reduce_circulant(struct schedule *s, int rank, int size, int round) {
    return circulant_reduce_scatter(s, rank, size, round, SPACE_OUT) ||
           circulant_all_gather(s, rank, size, round - ceil_log2(size), SPACE_OUT);
}

bool all_reduce_pat(struct schedule *s, int rank, int size, int round) {
    return pat_reduce_scatter(s, rank, size, round, SPACE_OUT) ||
           pat_all_gather(s, rank, size, round - ceil_log2(size), SPACE_OUT);
}

bool all_reduce_ring(struct schedule *s, int rank, int size, int round) {
    return ring_reduce_scatter(s, rank, size, round, SPACE_OUT) ||
           ring_all_gather(s, rank, size, round - (size - 1), SPACE_OUT);
}

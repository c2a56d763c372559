/* SPDX-License-Identifier: Apache-2.0
 *
 * Two trees, each carrying half the vector (P. Sanders, J. Speck, J. L. Traeff, "Two-tree algorithms for full bandwidth
 * broadcast, reduction and scan", 2009). Both are in-order binary trees, the second shifted by one, so that who is
 * inside one tree is a leaf of the other: nobody sends or receives more than the vector each way. A round is a level
 * of the trees, so slices follow each other like pearls; in-order, so sums are in rank order.
 */
#include "comm/generate.h"

/* A rank's place in tree T, ranks counted from the root: up, children (-1: none), links from the root. Inside, position
 * 0 is the root and above the others; the second tree has its ranks one position on and nobody at position 1. The
 * deeper of two subtrees is down[1]. */
struct place {
    int up, down[2], depth;
};

static int above(int x, int n) {
    int bit = x & -x, up = (x ^ bit) | (bit << 1);
    return up < n ? up : x ^ bit;
}

static struct place place_of(int v, int size, int t) {
    struct place p = {-1, {-1, -1}, 0};
    int x = v ? v + t : 0, n = size + t, bit = x & -x, half = bit / 2;
    if (x) p.up = above(x, n) ? above(x, n) - t : 0;
    for (int y = x; y; y = above(y, n))
        p.depth++;
    if (x == 0) p.down[1] = floor_power2(n - 1) - t;
    if (half && x - half > t) p.down[1] = x - half - t;
    while (half && x + half >= n)
        half /= 2;
    if (half) p.down[0] = x + half - t;
    return p;
}

static int levels(int size) {
    return ceil_log2(size + 1);
}

/* Sums of block T climb tree T into WORK. */
static bool climb(struct schedule *s, int rank, int size, int round, enum space work) {
    if (round >= levels(size)) return false;
    for (int t = 0; t < 2; t++) {
        int v = from_root(s, rank), base = rank - v;
        struct place p = place_of(v, size, t);
        bool leaf = p.down[0] < 0 && p.down[1] < 0;
        if (v && round == levels(size) - p.depth) send_to(s, base + p.up, blocks_of(leaf ? SPACE_IN : work, t, 1));
        for (int k = 0; k < 2 && round == levels(size) - p.depth - 1; k++)
            if (p.down[k] >= 0) reduce_from(s, base + p.down[k], in(t, 1), blocks_of(work, t, 1));
    }
    return true;
}

/* Block T descends tree T from the root's TOP. */
static bool descend(struct schedule *s, int rank, int size, int round, enum space top) {
    if (round >= levels(size)) return false;
    for (int t = 0; t < 2; t++) {
        int v = from_root(s, rank), base = rank - v;
        struct place p = place_of(v, size, t);
        if (v && round == p.depth - 1) recv_from(s, base + p.up, out(t, 1));
        for (int k = 0; k < 2 && round == p.depth; k++)
            if (p.down[k] >= 0) send_to(s, base + p.down[k], blocks_of(v ? SPACE_OUT : top, t, 1));
    }
    return true;
}

bool broadcast_two_tree(struct schedule *s, int rank, int size, int round) {
    if (round == 0 && rank == s->root) copy_to(s, in(0, 2), out(0, 2));
    return descend(s, rank, size, round, SPACE_IN);
}

bool reduce_two_tree(struct schedule *s, int rank, int size, int round) {
    return climb(s, rank, size, round, rank == s->root ? SPACE_OUT : SPACE_TMP);
}

bool all_reduce_two_tree(struct schedule *s, int rank, int size, int round) {
    return climb(s, rank, size, round, SPACE_OUT) || descend(s, rank, size, round - levels(size), SPACE_OUT);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Hierarchical algorithms by composition. Every rank of a node drives a rail of its own: rail l is made of the ranks
 * with local number l of all nodes, and looks after the blocks b with b mod node == l. Data cross the network once, on
 * all rails at a time, between two phases inside the nodes; with one node, or nodes of one rank, a phase falls away.
 */
#include "comm/generate.h"

/* The ranks of a node; the group's block l is all of rail l. */
static struct group node_group(const struct schedule *s, int rank, enum space in, enum space out) {
    int nodes = s->size / s->node;
    return (struct group){.size = s->node,
                          .first = rank - rank % s->node,
                          .step = 1,
                          .root = s->root % s->node,
                          .skip = 1,
                          .width = nodes,
                          .stride = s->node,
                          .space = {(uint8_t)in, (uint8_t)out, SPACE_TMP}};
}

/* The ranks of a rail; the group's block j is block j of the rail. */
static struct group rail_group(const struct schedule *s, int rank, enum space in, enum space out) {
    return (struct group){.size = s->size / s->node,
                          .first = rank % s->node,
                          .step = s->node,
                          .root = s->root / s->node,
                          .block = rank % s->node,
                          .skip = s->node,
                          .width = 1,
                          .stride = 1,
                          .space = {(uint8_t)in, (uint8_t)out, SPACE_TMP}};
}

static int rounds_across(const struct schedule *s) {
    return ceil_log2(s->size / s->node);
}

/* One round: every rank adds the blocks of its rail, of all ranks of its node, from IN into TO. */
static void reduce_in_node(struct schedule *s, int rank, enum space to) {
    struct group node = node_group(s, rank, SPACE_IN, to);
    group_enter(s, &node);
    direct_reduce_scatter(s, rank % node.size, node.size, 0);
    group_leave(s, &node);
}

/* One round: every rank gives its rail's blocks, which are in OWN, to all ranks of its node. */
static bool gather_in_node(struct schedule *s, int rank, enum space own) {
    struct group node = node_group(s, rank, SPACE_IN, SPACE_OUT);
    group_enter(s, &node);
    direct_all_gather(s, rank % node.size, node.size, 0, own);
    group_leave(s, &node);
    return true;
}

bool all_reduce_rails(struct schedule *s, int rank, int size, int round) {
    int inside = s->node > 1, across = rounds_across(s);
    if (round < inside) {
        reduce_in_node(s, rank, SPACE_OUT);
    } else if (round < inside + 2 * across) {
        struct group rail = rail_group(s, rank, inside ? SPACE_OUT : SPACE_IN, SPACE_OUT);
        group_enter(s, &rail);
        if (!circulant_reduce_scatter(s, rank / rail.step, rail.size, round - inside, SPACE_OUT))
            circulant_all_gather(s, rank / rail.step, rail.size, round - inside - across, SPACE_OUT);
        group_leave(s, &rail);
    } else if (round < 2 * inside + 2 * across) {
        gather_in_node(s, rank, SPACE_OUT);
    }
    return round < 2 * inside + 2 * across;
}

/* As above, without what the other blocks' owners need. OUT: where the sum goes. */
static bool reduce_scatter_on_rails(struct schedule *s, int rank, int round, enum space out) {
    int inside = s->node > 1, across = rounds_across(s);
    if (round >= inside + across) return false;
    if (round < inside) {
        reduce_in_node(s, rank, across ? SPACE_TMP : out);
    } else {
        struct group rail = rail_group(s, rank, inside ? SPACE_TMP : SPACE_IN, out);
        group_enter(s, &rail);
        circulant_reduce_scatter(s, rank / rail.step, rail.size, round - inside, SPACE_TMP);
        group_leave(s, &rail);
    }
    return true;
}

bool reduce_scatter_rails(struct schedule *s, int rank, int size, int round) {
    return reduce_scatter_on_rails(s, rank, round, SPACE_OUT);
}

bool all_gather_rails(struct schedule *s, int rank, int size, int round) {
    int across = rounds_across(s);
    if (round >= across)
        return round == across && s->node > 1 && gather_in_node(s, rank, across ? SPACE_OUT : SPACE_IN);
    struct group rail = rail_group(s, rank, SPACE_IN, SPACE_OUT);
    group_enter(s, &rail);
    circulant_all_gather(s, rank / rail.step, rail.size, round, SPACE_IN);
    group_leave(s, &rail);
    return true;
}

/* The root deals its vector out to the ranks of its node, a rail to each. */
static void deal(struct schedule *s, int rank) {
    int nodes = s->size / s->node, home = s->root - s->root % s->node;
    if (rank / s->node != s->root / s->node) return;
    struct range mine = {SPACE_OUT, rank % s->node, nodes, s->node};
    if (rank != s->root) recv_from(s, s->root, mine);
    for (int l = 0; l < s->node && rank == s->root; l++) {
        struct range rail = {SPACE_IN, l, nodes, s->node};
        if (home + l == rank)
            copy_to(s, rail, mine);
        else
            send_to(s, home + l, rail);
    }
}

bool broadcast_rails(struct schedule *s, int rank, int size, int round) {
    int inside = s->node > 1, across = 2 * rounds_across(s);
    if (round < inside) {
        deal(s, rank);
    } else if (round < inside + across) {
        struct group rail = rail_group(s, rank, inside ? SPACE_OUT : SPACE_IN, SPACE_OUT);
        group_enter(s, &rail);
        broadcast_scatter_all_gather(s, rank / rail.step, rail.size, round - inside);
        group_leave(s, &rail);
    } else if (round < 2 * inside + across) {
        gather_in_node(s, rank, SPACE_OUT);
    }
    return round < 2 * inside + across;
}

/* The ranks of the root's node give it their rails, which are in TMP. */
static void collect(struct schedule *s, int rank) {
    int nodes = s->size / s->node, home = s->root - s->root % s->node;
    if (rank / s->node != s->root / s->node) return;
    if (rank != s->root) send_to(s, s->root, (struct range){SPACE_TMP, rank % s->node, nodes, s->node});
    for (int l = 0; l < s->node && rank == s->root; l++) {
        struct range rail = {SPACE_OUT, l, nodes, s->node}, there = {SPACE_TMP, l, nodes, s->node};
        if (home + l == rank)
            copy_to(s, there, rail);
        else
            recv_from(s, home + l, rail);
    }
}

/* The rails' sums are gathered, rail by rail, in the root's node. */
bool reduce_rails(struct schedule *s, int rank, int size, int round) {
    int across = rounds_across(s), reduced = (s->node > 1) + across;
    if (reduce_scatter_on_rails(s, rank, round, SPACE_TMP)) return true;
    if (round < reduced + across) {
        struct group rail = rail_group(s, rank, SPACE_TMP, SPACE_TMP);
        group_enter(s, &rail);
        gather_binomial(s, rank / rail.step, rail.size, round - reduced);
        group_leave(s, &rail);
    } else if (round == reduced + across) {
        collect(s, rank);
    }
    return round <= reduced + across;
}

/* First to the rank of this node on whose rail the block's owner is (into TMP, by sender), then along the rail. */
bool all_to_all_rails(struct schedule *s, int rank, int size, int round) {
    int node = s->node, nodes = size / node, home = rank - rank % node, local = rank % node;
    int to = rank / node + round - 1, from = rank / node - round + 1;
    if (round > nodes) return false;
    for (int d = 0; d < node && round == 0; d++) {
        int next = (local + d) % node, last = (local - d + node) % node;
        struct range rail = {SPACE_IN, next, nodes, node}, waits = tmp(last * nodes, nodes);
        if (d == 0)
            copy_to(s, rail, waits);
        else
            send_to(s, home + next, rail), recv_from(s, home + last, waits);
    }
    if (round == 0) return true;
    struct range there = {SPACE_TMP, mod(to, nodes), node, nodes}, here = out(mod(from, nodes) * node, node);
    if (round == 1) {
        copy_to(s, there, here);
    } else {
        send_to(s, mod(to, nodes) * node + local, there);
        recv_from(s, mod(from, nodes) * node + local, here);
    }
    return true;
}

/* Who has heard from its whole node tells its rail. */
bool barrier_rails(struct schedule *s, int rank, int size, int round) {
    int inside = ceil_log2(s->node), node = s->node;
    if (round >= inside + rounds_across(s)) return false;
    int d = 1 << (round < inside ? round : round - inside);
    int home = rank - rank % node, to = home + (rank - home + d) % node, from = home + mod(rank - home - d, node);
    if (round >= inside)
        to = mod((int64_t)rank + (int64_t)d * node, size), from = mod((int64_t)rank - (int64_t)d * node, size);
    send_to(s, to, in(0, 0));
    recv_from(s, from, out(0, 0));
    return true;
}

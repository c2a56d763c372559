/* SPDX-License-Identifier: Apache-2.0
 *
 * Cut-through with first come, first served: a message takes each link on its way as soon as its head is there and the
 * link is free, and keeps it for its bytes at that link's speed; its tail is through when the slowest is. Way: fabric
 * of the node; or NIC, [leaf, spine, leaf,] NIC. A rank whose NIC has failed goes through its node to the next one.
 */
#include "comm/network.h"

#include <stdlib.h>

enum { LONGEST_WAY = 8 };
struct way {
    int n, link[LONGEST_WAY];
    int64_t keeps[LONGEST_WAY], latency;
};

int64_t port_ps(int64_t mb_per_s, uint64_t bytes) {
    return (int64_t)(((unsigned __int128)bytes * 1000000 + (uint64_t)mb_per_s - 1) / (uint64_t)mb_per_s);
}

static enum yj_status check_port(const struct yj_port *port, const char *name) {
    if (port->overhead_ps < 0 || port->latency_ps < 0 || port->mb_per_s < 1)
        return report(YJ_ERR_INPUT, "platform: %s: times must not be negative, and MB/s at least 1", name);
    return YJ_OK;
}

static enum yj_status check(const struct yj_platform *p, int ranks) {
    if (p->size < sizeof *p) return report(YJ_ERR_INPUT, "yj_platform.size is %u: set it to sizeof", p->size);
    if (p->nodes < 1 || p->ranks_per_node < 1 || p->nics_per_node < 1 || p->nodes_per_leaf < 1 || p->uplinks < 0)
        return report(YJ_ERR_INPUT, "platform: nodes, ranks_per_node, nics_per_node and nodes_per_leaf are at least 1");
    if (p->nics_per_node > 64 || p->uplinks > 4096 || p->ranks_per_node > 4096)
        return report(YJ_ERR_INPUT, "platform: more than 64 NICs or 4096 ranks a node, or 4096 uplinks a leaf");
    if ((int64_t)p->nodes * p->ranks_per_node > 1 << 24 || ranks > p->nodes * p->ranks_per_node)
        return report(YJ_ERR_INPUT, "platform: %d nodes of %d ranks do not hold %d ranks", p->nodes, p->ranks_per_node,
                      ranks);
    if (p->routing < YJ_ROUTE_HASH || p->routing > YJ_ROUTE_SPRAY)
        return report(YJ_ERR_INPUT, "platform: routing %d is unknown", p->routing);
    if (p->reduce_mb_per_s < 1 || p->copy_mb_per_s < 1 || p->round_ps < 0)
        return report(YJ_ERR_INPUT, "platform: reduce and copy are at least 1 MB/s, round not negative");
    TRY(check_port(&p->fabric, "fabric"));
    TRY(check_port(&p->nic, "nic"));
    return check_port(&p->uplink, "uplink");
}

/* The links: out and in of rank, NIC (node * nics + number), uplink (leaf * uplinks + number). */
static int link_at(const struct network *net, enum link_kind kind, int number, int in) {
    return net->first[kind] + 2 * number + in;
}

static enum yj_status mark_trouble(struct network *net, const struct yj_trouble *t) {
    const struct yj_platform *p = net->p;
    if (t->kind == YJ_TROUBLE_LATE) {
        if (t->a < 0 || t->a >= net->ranks || t->late_ps < 0)
            return report(YJ_ERR_INPUT, "late: rank %d is not one of %d", t->a, net->ranks);
        return YJ_OK;
    }
    bool nic = t->kind == YJ_TROUBLE_NIC;
    int most = nic ? net->nodes : net->leaves, each = nic ? p->nics_per_node : p->uplinks;
    if (t->a < 0 || t->a >= most || t->b < 0 || t->b >= each)
        return report(YJ_ERR_INPUT, "fail: there is no %s %d of %s %d", nic ? "NIC" : "uplink", t->b,
                      nic ? "node" : "leaf", t->a);
    for (int in = 0; in < 2; in++)
        net->failed[link_at(net, nic ? LINK_NIC : LINK_UPLINK, t->a * each + t->b, in)] = true;
    return YJ_OK;
}

enum yj_status network_open(const struct yj_platform *p, int ranks, const struct yj_trouble *trouble, int n,
                            struct network *net) {
    TRY(check(p, ranks));
    *net = (struct network){.p = p, .ranks = ranks, .nodes = (ranks + p->ranks_per_node - 1) / p->ranks_per_node};
    int groups = (net->nodes + p->nodes_per_leaf - 1) / p->nodes_per_leaf;
    net->leaves = groups * (p->rails ? p->nics_per_node : 1);
    int64_t counts[LINK_KINDS] = {ranks, (int64_t)net->nodes * p->nics_per_node, (int64_t)net->leaves * p->uplinks};
    if (net->leaves > 1 && p->uplinks == 0)
        return report(YJ_ERR_INPUT, "platform: %d nodes need %d leaves, but those have no uplinks", net->nodes,
                      net->leaves);
    int64_t links = 2 * (counts[0] + counts[1] + counts[2]);
    if (links > 1 << 28) return report(YJ_ERR_INPUT, "platform: %lld links are too many", (long long)links);
    for (int kind = 0; kind < LINK_KINDS; kind++)
        net->first[kind + 1] = net->first[kind] + (int)(2 * counts[kind]);
    net->taken = calloc((size_t)links, sizeof *net->taken);
    net->busy = calloc((size_t)links, sizeof *net->busy);
    net->failed = calloc((size_t)links, sizeof *net->failed);
    enum yj_status status = net->taken && net->busy && net->failed
                                ? YJ_OK
                                : report(YJ_ERR_MEMORY, "out of memory for %lld links", (long long)links);
    for (int i = 0; status == YJ_OK && i < n; i++)
        status = mark_trouble(net, &trouble[i]);
    if (status != YJ_OK) network_close(net);
    return status;
}

void network_close(struct network *net) {
    free(net->taken), free(net->busy), free(net->failed);
    *net = (struct network){0};
}

static void step_to(struct way *way, int link, const struct yj_port *port, uint64_t bytes) {
    way->link[way->n] = link;
    way->keeps[way->n++] = port->overhead_ps + port_ps(port->mb_per_s, bytes);
}

/* The working NIC of a rank's node that is nearest after its own; -1: all have failed. */
static int nic_of(const struct network *net, int rank, bool *own) {
    const struct yj_platform *p = net->p;
    int node = rank / p->ranks_per_node, mine = rank % p->ranks_per_node % p->nics_per_node;
    for (int i = 0; i < p->nics_per_node; i++) {
        int nic = node * p->nics_per_node + (mine + i) % p->nics_per_node;
        *own = i == 0;
        if (!net->failed[link_at(net, LINK_NIC, nic, 0)]) return nic;
    }
    return -1;
}

static int leaf_of(const struct network *net, int nic) {
    const struct yj_platform *p = net->p;
    int group = nic / p->nics_per_node / p->nodes_per_leaf;
    return p->rails ? group * p->nics_per_node + nic % p->nics_per_node : group;
}

static uint32_t mix(uint32_t x) {
    x ^= x >> 16, x *= 0x7feb352d, x ^= x >> 15, x *= 0x846ca68b;
    return x ^ x >> 16;
}

/* The uplink of leaf A by which a message from one NIC to another, on leaf B, goes; -1: there is none. */
static int uplink_of(const struct network *net, int a, int b, int from, int to) {
    const struct yj_platform *p = net->p;
    uint32_t pick = p->routing == YJ_ROUTE_HASH ? mix(mix((uint32_t)from) ^ (uint32_t)to)
                    : p->rails                  ? (uint32_t)(to / p->nics_per_node)
                                                : (uint32_t)to;
    for (int i = 0; i < p->uplinks; i++) {
        int u = (int)((pick + (uint32_t)i) % (uint32_t)p->uplinks);
        if (!net->failed[link_at(net, LINK_UPLINK, a * p->uplinks + u, 0)] &&
            !net->failed[link_at(net, LINK_UPLINK, b * p->uplinks + u, 1)])
            return u;
    }
    return -1;
}

/* Up from leaf A, down to leaf B. Sprayed: a part over each pair of links that works. */
static enum yj_status over_spine(const struct network *net, int a, int b, int from, int to, uint64_t bytes,
                                 struct way *way) {
    const struct yj_platform *p = net->p;
    struct yj_port port = p->uplink;
    int u = uplink_of(net, a, b, from, to), working = 0;
    if (u < 0) return report(YJ_ERR_INPUT, "no way is left from leaf %d to leaf %d", a, b);
    if (p->routing == YJ_ROUTE_SPRAY) { /* uplink 0 of a leaf stands for all that work */
        for (int i = 0; i < p->uplinks; i++)
            working += !net->failed[link_at(net, LINK_UPLINK, a * p->uplinks + i, 0)] &&
                       !net->failed[link_at(net, LINK_UPLINK, b * p->uplinks + i, 1)];
        u = 0, port.mb_per_s *= working;
    }
    step_to(way, link_at(net, LINK_UPLINK, a * p->uplinks + u, 0), &port, bytes);
    step_to(way, link_at(net, LINK_UPLINK, b * p->uplinks + u, 1), &port, bytes);
    way->latency += p->uplink.latency_ps;
    return YJ_OK;
}

static enum yj_status find_way(const struct network *net, int from, int to, uint64_t bytes, struct way *way) {
    const struct yj_platform *p = net->p;
    bool own_from, own_to;
    if (from / p->ranks_per_node == to / p->ranks_per_node) {
        step_to(way, link_at(net, LINK_FABRIC, from, 0), &p->fabric, bytes);
        step_to(way, link_at(net, LINK_FABRIC, to, 1), &p->fabric, bytes);
        way->latency = p->fabric.latency_ps;
        return YJ_OK;
    }
    int out = nic_of(net, from, &own_from), in = nic_of(net, to, &own_to);
    if (out < 0 || in < 0)
        return report(YJ_ERR_INPUT, "node %d has no NIC left", (out < 0 ? from : to) / p->ranks_per_node);
    way->latency = p->nic.latency_ps + (!own_from + !own_to) * p->fabric.latency_ps;
    if (!own_from) step_to(way, link_at(net, LINK_FABRIC, from, 0), &p->fabric, bytes);
    step_to(way, link_at(net, LINK_NIC, out, 0), &p->nic, bytes);
    int a = leaf_of(net, out), b = leaf_of(net, in);
    if (a != b) TRY(over_spine(net, a, b, out, in, bytes, way));
    step_to(way, link_at(net, LINK_NIC, in, 1), &p->nic, bytes);
    if (!own_to) step_to(way, link_at(net, LINK_FABRIC, to, 1), &p->fabric, bytes);
    return YJ_OK;
}

enum yj_status network_send(struct network *net, int from, int to, uint64_t bytes, int64_t now, int64_t *start,
                            int64_t *end) {
    struct way way = {0};
    int64_t head = now, tail = now;
    TRY(find_way(net, from, to, bytes, &way));
    for (int i = 0; i < way.n; i++) {
        int64_t *taken = &net->taken[way.link[i]];
        if (*taken > head) head = *taken;
        if (i == 0) *start = head;
        *taken = head + way.keeps[i];
        net->busy[way.link[i]] += way.keeps[i];
        if (*taken > tail) tail = *taken;
    }
    *end = tail + way.latency;
    return YJ_OK;
}

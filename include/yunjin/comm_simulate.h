/* SPDX-License-Identifier: Apache-2.0
 *
 * A collective on a described cluster, message by message: an event queue in whole picoseconds, with the occupancy of
 * every port and link. Nothing here sends a byte. docs/simulation.md describes the model and its file format.
 */
#ifndef YUNJIN_COMM_SIMULATE_H
#define YUNJIN_COMM_SIMULATE_H

#include <yunjin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yj_port {
    int64_t overhead_ps; /* for each message; keeps the port */
    int64_t latency_ps;  /* from the last byte sent to its being seen */
    int64_t mb_per_s;    /* 10^6 bytes a second, each way */
};
enum yj_routing {
    YJ_ROUTE_HASH,        /* ECMP: a hash of the two NICs takes the uplink */
    YJ_ROUTE_DESTINATION, /* the NIC sent to takes it, in turn: shifts do not collide */
    YJ_ROUTE_SPRAY,       /* every message is spread over all uplinks of the leaf */
};
struct yj_platform {
    uint32_t size; /* sizeof(struct yj_platform) */
    int32_t nodes, ranks_per_node;
    int32_t nics_per_node; /* rank l of a node has NIC l % nics_per_node */
    int32_t nodes_per_leaf;
    int32_t rails;         /* 1: a group of nodes has a leaf for each NIC number; 0: one leaf for all */
    int32_t uplinks;       /* of a leaf, each to another spine; 0: one leaf is all there is */
    int32_t routing;       /* enum yj_routing */
    struct yj_port fabric; /* a rank's port to the others of its node */
    struct yj_port nic;    /* its latency is that of the way through one leaf */
    struct yj_port uplink; /* its latency is what the way over a spine adds */
    int64_t reduce_mb_per_s, copy_mb_per_s, round_ps;
};

/* Something that is not as it should be. */
enum yj_trouble_kind { YJ_TROUBLE_LATE, YJ_TROUBLE_NIC, YJ_TROUBLE_UPLINK };
struct yj_trouble {
    int32_t kind;
    int32_t a, b;    /* LATE: rank A starts late; NIC: number B of node A has failed; UPLINK: number B of leaf A has */
    int64_t late_ps; /* LATE */
};

/* One message, as it went. */
struct yj_message {
    int32_t from, to, round, slice;
    uint64_t bytes;
    int64_t send_ps, receive_ps; /* when the sender and the receiver came to this round */
    int64_t start_ps, end_ps;    /* on the wire; seen at the other end */
};
typedef void yj_message_fn(void *user, const struct yj_message *message);

struct yj_simulation {
    uint32_t size; /* sizeof(struct yj_simulation) */
    int32_t ranks, root, slices;
    const char *collective, *algorithm; /* ALGORITHM NULL, SLICES 0: what the cost would choose */
    uint64_t bytes;                     /* of the whole vector */
    const struct yj_platform *platform;
    const struct yj_trouble *trouble;
    int32_t troubles;
    yj_message_fn *fn; /* NULL, or called for each message when it has arrived */
    void *user;
};
struct yj_simulated {
    const char *algorithm;
    int32_t slices, rounds;
    int64_t time_ps; /* when the last rank is done, by events; -1: too many for that, only the cost is known */
    double cost_s;   /* by the max-plus cost, without contention */
    uint64_t messages, events;
    int32_t last_rank;                         /* that is done last */
    double fabric_busy, nic_busy, uplink_busy; /* of the busiest port of each kind, as a part of the time */
};
/* Runs of more than 2^24 rounds of all ranks and slices together are not run by events: a ring of 10,000 ranks has
 * 2 * 10^8 messages. */
YJ_EXPORT enum yj_status yj_simulate(const struct yj_simulation *simulation, struct yj_simulated *result);

#ifdef __cplusplus
}
#endif
#endif

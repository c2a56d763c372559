/* SPDX-License-Identifier: Apache-2.0
 *
 * The ports and links of a platform for the simulator: which of them a message needs, and until when they are taken.
 */
#ifndef COMM_NETWORK_H
#define COMM_NETWORK_H

#include "runtime/base/base.h"

#include <yunjin/comm_simulate.h>

enum link_kind { LINK_FABRIC, LINK_NIC, LINK_UPLINK, LINK_KINDS };
struct network {
    const struct yj_platform *p;
    int ranks, nodes, leaves;
    int64_t *taken, *busy; /* [links]: until when; for how long in all; out and in of each, one after the other */
    bool *failed;          /* [links] */
    int first[LINK_KINDS + 1];
};

enum yj_status network_open(const struct yj_platform *platform, int ranks, const struct yj_trouble *trouble, int n,
                            struct network *net);
void network_close(struct network *net);
/* A message leaves at NOW: when its first byte moves, and when its last is seen. */
enum yj_status network_send(struct network *net, int from, int to, uint64_t bytes, int64_t now, int64_t *start,
                            int64_t *end);
int64_t port_ps(int64_t mb_per_s, uint64_t bytes); /* rounded up */

#endif

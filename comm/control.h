/* SPDX-License-Identifier: Apache-2.0
 *
 * The control plane: authenticated connections between rank 0 and every other rank that live as long as the job, and
 * one thread a process that sleeps in poll. It carries no data of collectives, only what must be known when they cannot
 * go on: goodbye, death, abort, and what call a rank is in. It also takes data connections for tcp.
 */
#ifndef COMM_CONTROL_H
#define COMM_CONTROL_H

#include "comm/world.h"

enum saying {
    SAID_HEARTBEAT = 1,
    SAID_GOODBYE,
    SAID_DEAD,
    SAID_ABORT,
    SAID_QUERY,
    SAID_REPORT,
    SAID_ALL_GONE,
    SAID_QUERY_PAIR
};

/* One message; FROM and TO are world ranks, TO -1 is everybody else. */
struct said {
    uint32_t kind, status;
    int32_t from, to, about; /* ABOUT: the rank that is dead */
    uint32_t known;          /* report: 1 when the rank has started call SEQUENCE */
    uint64_t comm, sequence, started;
    struct card card;
    char text[480];
};

/* Rank 0 listens at the address (or has the LISTENER already, else -1), the others connect; everybody learns
 * everybody's MEMBER record and rank 0's settings. SHARE(world) is called between: it maps the host's memory and says
 * whether that worked. Then starts the thread. */
enum yj_status control_open(struct world *world, const char *address, int listener, const uint8_t *key,
                            bool (*share)(struct world *world), double until);
/* Says goodbye and waits until all have, or UNTIL; ends the thread. */
void control_close(struct world *world, double until);
/* Sends to TO, or to all others. From any thread. */
void control_say(struct world *world, struct said *said);
/* The thread looks at stalled communicators now. */
void control_wake(struct world *world);
/* What both control and the threads of mem do with a message, and every 100 ms. */
void control_hear(struct world *world, const struct said *said);
void control_tick(struct world *world);

/* tcp: a data connection to MEMBER for communicator ID. The lower rank makes it; the other side gets it from its
 * listener: control_take returns it, or -1 while it has not come. */
enum yj_status control_connect(struct world *world, int member, uint64_t id, int *fd);
int control_take(struct world *world, int member, uint64_t id);
/* Reads FD until the peer closes it, then closes it: so that nothing it has still to read is lost. */
void control_drain(struct world *world, int fd);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the control plane, shared by control.c (the thread) and join.c (how connections come to be).
 */
#ifndef COMM_LINKS_H
#define COMM_LINKS_H

#include "comm/control.h"
#include "comm/wire.h"

enum { MOST_PENDING = 64 }; /* connections that have not proven themselves yet */

/* A connection. MEMBER -1: it has not said yet who it is. */
struct link {
    struct wire wire;
    int member;
    double since, heard;
};

struct arrival { /* a data connection that tcp has not taken yet */
    int fd, member;
    uint64_t comm;
};

struct control {
    struct world *world;
    uint8_t key[WIRE_KEY_BYTES];
    pthread_mutex_t lock; /* of links, arrivals and drains; may be taken under world->lock, not the other way */
    pthread_t thread;
    bool running;
    _Atomic bool stop, all_gone, hurry;
    int wake;          /* eventfd */
    int rendezvous;    /* rank 0's listener, or -1 */
    int listener;      /* for data connections */
    struct link *link; /* rank 0: [size], by rank, fd -1 at 0; others: one, to rank 0 */
    int nlinks;
    struct link pending[MOST_PENDING];
    int npending;
    int *pidfd; /* [size]; -1 */
    struct arrival *arrival;
    int narrivals, arrival_room;
    int *drain, ndrains, drain_room;
};

/* The first frame of a connection. */
enum purpose { PURPOSE_CONTROL = 1, PURPOSE_DATA };
struct hello {
    uint32_t purpose;
    int32_t rank, size, to;
    uint64_t comm;   /* data */
    uint64_t tables; /* hash of the algorithm tables */
    struct member member;
};

/* "unix:NAME", "HOST:PORT" or "HOST:PORT/N" (the first of N ports that is free). */
enum yj_status socket_listen(const char *address, int *fd);
enum yj_status socket_listen_any(int *fd, int *port); /* all interfaces, any port */
/* One attempt at one of the addresses that ADDRESS stands for: "A;B;..." are tried in turn. */
enum yj_status socket_connect(const char *address, int attempt, double until, int *fd);
/* Drops pending links that have proven nothing for 5 s and accepts what LISTENER has, while there is room. */
void links_accept(struct control *control, int listener);
void links_drop(struct control *control, int i);
/* A pending link's next frame: a data connection becomes an arrival. Returns false when the link is over. */
bool links_hello(struct control *control, struct link *link, struct hello *hello, bool *known);

/* What open does before the thread starts. */
enum yj_status links_join(struct control *control, const char *address, bool (*share)(struct world *world),
                          double until);

#endif

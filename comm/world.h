/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process knows of its job (world: made by open, shared by all communicators that are split from the first) and
 * of one group of ranks (yj_comm). Nothing here is global: one process can hold many ranks.
 */
#ifndef COMM_WORLD_H
#define COMM_WORLD_H

#include "comm/record.h"
#include "comm/settings.h"
#include "comm/transport.h"
#include "comm/tuning.h"

#include <pthread.h>
#include <stdatomic.h>
#include <yunjin/comm.h>

enum member_state { MEMBER_ALIVE, MEMBER_LEFT, MEMBER_DEAD };

/* One rank of the job. Exchanged at open as it stands; STATE changes later (control thread). */
struct member {
    uint64_t host; /* equal on ranks that may share memory and see each other's processes */
    int32_t pid;
    int32_t memory;    /* descriptor, in process pid, of the memory it offers its host */
    uint64_t cpu[16];  /* that it may run on */
    uint32_t shares;   /* 1: it maps the memory of its host's first rank */
    char name[64];     /* of the host */
    char address[64];  /* "IP:PORT" of its listener for data connections; the IP may be empty: as its control connection
                        */
    _Atomic int state; /* enum member_state */
};

struct control;
struct shm;
struct threads;

struct world {
    int rank, size;
    struct member *member; /* [size] */
    struct settings settings;
    struct tuning tuning;    /* rank 0's; no rules: none */
    int local_ranks;         /* that share memory on this host, this one included */
    bool crowded;            /* more ranks than cores on this host: waiting gives up the core at once */
    pthread_mutex_t lock;    /* of comms and of what control says; never held where data move */
    struct yj_comm *comms;   /* all communicators, the first one last */
    struct control *control; /* NULL: one rank, or threads */
    struct shm *shm;         /* NULL: none */
    struct threads *threads; /* NULL: processes */
    int (*pmix_finalize)(const void *, size_t); /* NULL: PMIx was not used */
    uint64_t first_ticks;                       /* the counter, when the clock was FIRST_TIME */
    double first_time;
    const char *same_process; /* 1, and 0 in a process forked later (a page that forks wipe) */
};

struct yj_comm {
    struct world *world;
    struct yj_comm *next; /* in world->comms */
    int rank, size;
    int *member; /* world rank of each rank */
    uint64_t id; /* equal on all ranks of the group, different from those of other groups */
    uint32_t splits;
    struct channel **channel; /* [size], NULL until a call needs it */
    struct engine *engine;
    uint64_t region_at; /* of shm.c */

    _Atomic int failed; /* enum yj_status, set once, after failure_text */
    char failure_text[640];
    _Atomic uint64_t failed_call; /* a mismatch: the collective that ranks disagree on; 0: none, or a transfer */

    /* What control reads while calls run. */
    _Atomic uint64_t started, ended; /* collectives: number of the last started; all up to ENDED have ended */
    _Atomic uint64_t moves;          /* counts whatever moves forward */
    struct recorder recorder;
    _Atomic int waiting_for;    /* a rank that the oldest call waits for, or -1 */
    _Atomic bool odd, odd_pair; /* a message did not fit: compare calls (or transfers) ODD_SEQUENCE ... */
    _Atomic int odd_peer;       /* ... with this rank */
    _Atomic uint64_t odd_sequence;
    struct { /* control thread's own */
        uint64_t moves;
        double since;
        bool asked, warned;
    } stall;
    char late_text[320]; /* under world->lock: what the late rank is in */
};

/* Makes COMM fail, once: the first cause stays. From any thread; does not lock. */
void comm_fail(struct yj_comm *comm, enum yj_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Tells the other ranks of COMM that it has failed. */
void comm_tell(struct yj_comm *comm, enum yj_status status, const char *text);
/* Reports COMM's failure in this thread. */
enum yj_status comm_failure(struct yj_comm *comm);
/* The same for a call of number SEQUENCE, WHAT it is, that has not ended: said where another call is the cause. */
enum yj_status comm_given_up(struct yj_comm *comm, uint64_t sequence, const struct card *what);
/* A member has died or left: all communicators that it belongs to learn it. */
void world_member_gone(struct world *world, int member, enum member_state state, const char *how);
struct yj_comm *world_comm(struct world *world, uint64_t id); /* under lock */
/* The channel to PEER, made if it is not there. */
enum yj_status comm_connect(struct yj_comm *comm, int peer);
int comm_rank_of(const struct yj_comm *comm, int member); /* -1: not in the group */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks as threads of one process, and the faults that tests give them.
 */
#ifndef COMM_MEM_H
#define COMM_MEM_H

#include "comm/control.h"

struct mem_faults {
    uint64_t seed;
    double delay;         /* seconds: a message is seen up to that much later */
    int dies;             /* this rank dies ... */
    uint64_t dies_after;  /* ... instead of posting this message, counted from 1; 0: nobody dies */
    int drops;            /* messages of this rank are lost ... */
    uint64_t drops_after; /* ... from this one on; 0: none */
};
/* For all ranks of COMM's job; before they start calls. */
void mem_faults_set(struct yj_comm *comm, const struct mem_faults *faults);

/* N worlds of one job, and the thread that looks at stalled communicators. */
enum yj_status threads_open(int n, struct world **worlds, struct threads **threads);
/* Rank WORLD leaves; true for the last one, which then closes the job and frees all worlds. */
bool threads_leave(struct world *world);
void threads_close(struct threads *threads, void (*world_free)(struct world *world));
void threads_say(struct world *world, const struct said *said);

#endif

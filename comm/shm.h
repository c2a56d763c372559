/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that the ranks of one host share: one file without a name (memfd), made by the host's lowest rank, that the
 * others open through /proc. It grows: each communicator has a region of it, each direction of a channel an area of the
 * region.
 */
#ifndef COMM_SHM_H
#define COMM_SHM_H

#include "comm/world.h"

/* Makes the file that this rank offers, and fills host, pid and memory of MEMBER. */
enum yj_status shm_prepare(struct world *world, const uint8_t *key, struct member *member);
/* Maps the head of the file of the host's lowest rank. False: this rank does without shared memory. */
bool shm_share(struct world *world);
void shm_close(struct world *world);
/* Sets a mark that outlives this process, so that its end is not taken for a death. */
void shm_leave(struct world *world);
bool shm_has_left(const struct world *world, int member);
bool shm_between(const struct world *world, int a, int b);
/* A region for a communicator whose ranks on this host are LOCAL many; the lowest of them asks, all use the same. */
uint64_t shm_region(struct world *world, int local);
uint64_t shm_region_first(const struct world *world); /* the first communicator's, known to all */
void shm_region_leave(struct yj_comm *comm);
/* Memory of this rank, in the file. */
enum yj_status shm_alloc(struct world *world, size_t bytes, void **memory);
bool shm_free(struct world *world, void *memory);
/* [MEMORY, MEMORY + BYTES) lies in memory of shm_alloc. */
bool shm_holds(struct world *world, const void *memory, size_t bytes);

#endif

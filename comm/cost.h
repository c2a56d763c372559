/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of a schedule on a machine described by a few figures. One walker: over all ranks it is the simulator, over one
 * rank that stands for all it is what algorithms are chosen by. All input must be equal on all ranks.
 */
#ifndef COMM_COST_H
#define COMM_COST_H

#include "comm/schedule.h"
#include "comm/tuning.h"

enum { LINK_NODE, LINK_NET, LINKS }; /* between two ranks of one node; of two nodes */
struct cost_link {
    double overhead_s; /* for each message, added to its bytes */
    double latency_s;  /* from the last byte sent to the receiver's seeing it */
    double byte_s;     /* for each byte; a rank's messages of one class follow each other in each direction */
    bool by_cpu;       /* the receiver's processor moves the bytes (shared memory, TCP) */
};
struct cost_model {
    struct cost_link link[LINKS];
    double reduce_byte_s; /* for each byte of each operand that arrives */
    double copy_byte_s;
    double round_s;     /* before each round of each slice */
    int ranks_per_node; /* consecutive ranks; 0: all ranks on one node */
};
/* Plain figures for a node of the day and a 100 Gbit/s network, for use before anything has been measured. */
extern const struct cost_model cost_model_default;
enum yj_status cost_model_check(const struct cost_model *model); /* refuses negative and non-finite figures */

struct cost {
    double time_s;
    bool at_least; /* the walk was given up: TIME_S was above LIMIT_S */
    int rounds;
};

/* All ranks. BYTES: of the whole vector (all blocks). */
enum yj_status cost_simulate(const struct cost_model *model, const struct algorithm *row, int size, int root,
                             uint64_t bytes, int slices, struct cost *cost);
/* The same for schedules that were built before. */
enum yj_status cost_simulate_built(const struct cost_model *model, const struct schedule *ranks, uint64_t bytes,
                                   int slices, struct cost *cost);
/* One rank of each class for all: of symmetric rows a node's ranks, and exact where nodes are equal; of others the
 * ranks that the critical one waits for, one after the other. Given up above LIMIT_S (0: never), a quarter of that
 * after 128 rounds. */
enum yj_status cost_estimate(const struct cost_model *model, const struct algorithm *row, int size, uint64_t bytes,
                             int slices, double limit_s, struct cost *cost);

struct choice_query {
    const struct cost_model *model;
    int collective, size;
    uint64_t bytes; /* of the whole vector; for v-collectives a figure that all ranks know */
    bool ordered;   /* the operator does not commute */
    bool canonical; /* bits must not depend on the algorithm */
    bool in_place;
    bool unequal;                /* blocks differ in size (a v-collective) */
    int max_slices;              /* 0 or 1: no slicing */
    const struct tuning *tuning; /* or NULL */
};
struct candidate {
    const struct algorithm *row;
    struct cost cost;
    int slices;
    const char *refused; /* or NULL: why the row cannot be taken */
};
enum { CANDIDATES = 32 };
struct choice {
    int n, best; /* best: index in candidate[] */
    int line;    /* of the tuning file, if that has decided; else 0 */
    struct candidate candidate[CANDIDATES];
};
/* The cheapest row that serves. The same query gives the same choice on every rank. YJ_ERR_UNSUPPORTED if none serves.
 */
enum yj_status cost_choose(const struct choice_query *query, struct choice *choice);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What things cost, in seconds, for the passes that choose: arithmetic and memory from the target's facts, collectives
 * from the walker of the comm room (the same that chooses and simulates algorithms). Only ratios matter.
 */
#ifndef COMPILER_COST_H
#define COMPILER_COST_H

#include <yunjin/target.h>

enum cost_collective { COST_ALL_REDUCE, COST_ALL_GATHER, COST_REDUCE_SCATTER, COST_ALL_TO_ALL };

/* The facts that the following three use from then on, for this thread; NULL: middling ones. */
void cost_target(const struct yj_target *target);
double cost_flops_seconds(double flops);
double cost_memory_seconds(double bytes);
/* BYTES: of the whole vector, as all_reduce counts it. */
double cost_collective_seconds(enum cost_collective kind, int ranks, double bytes);

#endif

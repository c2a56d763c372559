/* SPDX-License-Identifier: Apache-2.0
 *
 * Collectives beside computation: when each starts, when it is waited for, and what runs meanwhile.
 */
#ifndef COMPILER_OVERLAP_H
#define COMPILER_OVERLAP_H

#include "ir/graph.h"

/* For `inspect`: what was decided on one collective. Texts live in the graph's arena. */
struct overlap_note {
    const char *kind, *value; /* of the op; the name of its operand */
    double seconds, hidden;   /* of the collective; of it, behind kernels between start and wait */
    int moved;                /* kernels that were moved there from behind the wait */
    const char *why;
    struct overlap_note *next;
};
struct overlap_log {
    struct overlap_note *first, **last;
};

/* Moves every start right behind its operand and every wait right before its first use, and as much independent work
 * between them as the collective lasts. After fuse. LOG may be NULL. */
enum yj_status overlap_graph(struct graph *g, struct overlap_log *log);

/* A collective concatenates and splits memory, that is the outermost dimension; others get transposes around them.
 * Before fuse, which joins the transposes with their neighbours. */
enum yj_status collectives_outermost(struct graph *g);

#endif

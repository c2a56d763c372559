/* SPDX-License-Identifier: Apache-2.0
 *
 * Fusion: which ops become one kernel, and why the others did not.
 */
#ifndef COMPILER_FUSE_H
#define COMPILER_FUSE_H

#include "ir/graph.h"

/* For `inspect`: an edge that was not fused. Texts live in the graph's arena. */
struct fuse_refusal {
    const char *value, *producer, *consumer, *why;
    struct fuse_refusal *next;
};
struct fuse_log {
    struct fuse_refusal *first, **last;
    int n_groups;
};

/* All work of G and of its regions is in `fused` ops afterwards; left beside them: constants, collectives, wait, bind,
 * control flow, and reshapes of what lies in memory (they cost nothing). LOG may be NULL. */
enum yj_status fuse_graph(struct graph *g, struct fuse_log *log);

#endif

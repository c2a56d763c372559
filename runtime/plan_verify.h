/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the plan verifier share: plan_verify.c checks tables, plan_walk.c what happens when a plan
 * runs.
 */
#ifndef RUNTIME_PLAN_VERIFY_H
#define RUNTIME_PLAN_VERIFY_H

#include "runtime/plan.h"

enum { VERIFY_MOST_DEPTH = 64, VERIFY_MOST_QUEUES = 16 };

struct verify {
    const struct plan *p;
    unsigned char *written; /* of each root buffer */
    unsigned char *known;   /* of each plan dim */
    int *kind;              /* of each dim id: kind + 1, 0 if it is not declared */
    int *number;            /* of each dim id: index in p->dim */
    int n_ids;
    int *user_block, *user_step; /* of each block: who uses it */
    struct access *accesses;     /* of the walk, newest last; head: per buffer root */
    int *head;
    unsigned char *started, *waited; /* of each request */
    struct arena *arena;             /* for SCRATCH, which is made when it is needed */
    struct dim_table *scratch;
};

struct access {
    int buffer, block, step, queue, next;
    bool write;
};

int verify_symbol_kind(const struct verify *v, dim symbol); /* of a dim of this plan: its kind; else -1 */
enum yj_status verify_known(struct verify *v, dim d);       /* all its dims are known by now */
enum yj_status verify_step_shape(struct verify *v, const struct plan_step *s); /* what one step says, by itself */
enum yj_status verify_walk(struct verify *v);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a plan says about itself, as JSON, for `yunjin inspect`: ports, kernels, memory, collectives. The compiler adds
 * to it what only the graph knows. Figures that depend on dims are given as expressions and at one set of values.
 */
#ifndef RUNTIME_PLAN_REPORT_H
#define RUNTIME_PLAN_REPORT_H

#include "runtime/plan.h"
#include <jansson.h>

#pragma GCC visibility push(default)

/* Values for the dims of a plan, by their numbers. */
struct plan_at {
    const struct plan *plan;
    int64_t *value;
};
#define PLAN_NOMINAL 128 /* what a dim with a larger bound, or none, counts as when nobody says */

/* WISHES are "NAME=N"; a name that no dim has, or a value out of its bounds, is an error. In ARENA. */
enum yj_status plan_at_open(struct arena *arena, const struct plan *p, int n_wishes, const char *const *wishes,
                            struct plan_at *at);
bool plan_at_bind(void *at, dim symbol, int64_t *value); /* for dim_eval: symbols by name */

/* A new object; NULL: no memory. Keys: at, inputs, outputs, states, kernels, collectives, memory, steps, nodes. */
json_t *plan_report(struct arena *arena, const struct plan *p, const struct plan_at *at);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What everybody asks of a plan: names, the root of an alias, how a step uses a buffer, where a step came from.
 */
#include "runtime/plan.h"

#include <stdio.h>

const char *const plan_collective_names[PLAN_COLLECTIVES] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all",
                                                             "broadcast"};
const char *const plan_reduce_names[PLAN_REDUCES] = {"add", "mul", "min", "max"};
const char *const plan_space_names[3] = {"host", "comm", "device"};
const char *const plan_dim_kind_names[4] = {"input", "state", "born", "rank"};
const char *const plan_role_names[3] = {"in", "out", "inout"};
const char *const plan_kind_names[5] = {"input", "weight", "temp", "alias", "state"};
const char *const plan_step_names[PLAN_STEPS] = {"launch", "copy", "start", "wait", "bind", "branch", "call", "check"};

struct plan *plan_new(struct arena *arena) {
    struct plan *p = NEW(arena, struct plan);
    if (!p) return NULL;
    p->arena = arena;
    p->dims = dim_table_open(arena);
    return p->dims ? p : NULL;
}

int plan_root(const struct plan *p, int buffer) {
    while (p->buffers[buffer].kind == PLAN_ALIAS)
        buffer = p->buffers[buffer].of;
    return buffer;
}

const char *plan_node_name(const struct plan *p, int node) {
    for (int low = 0, high = p->n_nodes; low < high;) {
        int middle = low + (high - low) / 2;
        if (p->node[middle] == node) return p->node_names[middle];
        if (p->node[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return "?";
}

char *plan_where(const struct plan *p, const struct plan_step *s, char *out, size_t room) {
    size_t n = 0;
    if (room) out[0] = 0;
    for (int i = 0; i < s->n_origin && n < room; i++) {
        int more =
            snprintf(out + n, room - n, "%snode %d '%s'", i ? ", " : "", s->origin[i], plan_node_name(p, s->origin[i]));
        if (more < 0) break;
        n += (size_t)more;
    }
    return out;
}

int plan_axis(const struct plan *p, const char *name) {
    for (int i = 0; i < p->mesh.n; i++) {
        if (strcmp(p->mesh.name[i], name) == 0) return i;
    }
    return -1;
}

int64_t plan_ranks(const struct plan *p) {
    int64_t ranks = 1;
    for (int i = 0; i < p->mesh.n; i++)
        ranks *= p->mesh.size[i];
    return ranks;
}

enum plan_role plan_step_role(const struct plan *p, const struct plan_step *s, int i) {
    switch (s->kind) {
    case PLAN_LAUNCH:
        return p->kernels[s->kernel].args[i];
    case PLAN_COPY:
        return i == 0 ? PLAN_OUT : PLAN_IN;
    case PLAN_START:
        return i > 0 ? PLAN_IN : s->collective == PLAN_BROADCAST ? PLAN_INOUT : PLAN_OUT;
    default:
        return PLAN_IN;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Algorithms made of others. One idea: a phase is generated as if its group were all there is, and its steps are then
 * renamed, so that no generator knows whether it runs on a node, on a rail or on everything.
 */
#include "comm/generate.h"

void group_enter(struct schedule *s, struct group *group) {
    group->whole.size = s->size, group->whole.root = s->root, group->whole.node = s->node;
    group->whole.blocks = s->blocks, group->whole.tmp_blocks = s->tmp_blocks, group->whole.nsteps = s->nsteps;
    s->size = s->node = group->size, s->root = group->root;
    if (s->blocks) s->blocks = s->tmp_blocks = group->size; /* a barrier has none */
}

/* The blocks that RANGE names from its I-th on, at most MOST of them, as far as they are one range of the whole; how
 * many of the group's blocks that are. */
static int piece(const struct group *g, const struct range *range, int i, int most, struct range *whole) {
    int block = (int)((range->first + (int64_t)i * range->stride) % g->size), n = most;
    *whole = (struct range){g->space[range->space], g->block + block * g->skip, g->width, g->stride};
    if (range->stride != 1) n = 1;
    if (n > g->size - block) n = g->size - block;
    if (g->width == 1)
        whole->count = n, whole->stride = g->skip;
    else if (g->skip == g->width && g->stride == 1)
        whole->count = n * g->width;
    else
        n = 1;
    return n;
}

static void rename_step(struct schedule *s, const struct group *g, struct step t) {
    int peer = t.peer < 0 ? -1 : g->first + t.peer * g->step, count = t.from.count ? t.from.count : t.to.count;
    if (!count) schedule_put(s, (enum step_kind)t.kind, peer, t.from, t.to);
    for (int i = 0, n; i < count; i += n) {
        struct range from = {0}, to = {0};
        n = count - i;
        if (t.from.count) n = piece(g, &t.from, i, n, &from);
        if (t.to.count) n = piece(g, &t.to, i, n, &to);
        if (t.from.count) piece(g, &t.from, i, n, &from);
        if (t.kind == STEP_COPY && from.space == to.space && from.first == to.first) continue; /* it is there */
        schedule_put(s, (enum step_kind)t.kind, peer, from, to);
    }
}

void group_leave(struct schedule *s, const struct group *g) {
    int first = g->whole.nsteps, n = s->nsteps - first;
    s->size = g->whole.size, s->root = g->whole.root, s->node = g->whole.node;
    s->blocks = g->whole.blocks, s->tmp_blocks = g->whole.tmp_blocks;
    for (int i = 0; i < n && !s->failed; i++)
        rename_step(s, g, s->step[first + i]);
    s->nsteps -= n;
    if (n) memmove(s->step + first, s->step + first + n, (size_t)(s->nsteps - first) * sizeof *s->step);
}

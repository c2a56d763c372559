/* SPDX-License-Identifier: Apache-2.0
 *
 * Where temporaries lie. Blocks form a tree, so one walk gives every step a time; a buffer is a rectangle of time and
 * bytes. Largest first, each at the lowest gap among those already placed that are alive at the same time.
 */
#include "runtime/plan.h"

#include <inttypes.h>
#include <stdlib.h>

struct clock {
    const struct plan *p;
    int now;
};

/* The time of step i begins at now and ends after the blocks that it runs. */
static enum yj_status walk_times(struct clock *c, int block, int *end, int **offsets) {
    const struct plan_block *b = &c->p->blocks[block];
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        if (c->now >= INT32_MAX - 2) return report(YJ_ERR_INPUT, "a plan of too many steps");
        offsets[block][i] = c->now++;
        int inner[2] = {-1, -1};
        if (s->kind == PLAN_CALL) inner[0] = s->block;
        if (s->kind == PLAN_BRANCH) inner[0] = s->block, inner[1] = s->otherwise;
        for (int j = 0; j < 2; j++) {
            if (inner[j] >= 0) TRY(walk_times(c, inner[j], end, offsets));
        }
    }
    end[block] = c->now;
    return YJ_OK;
}

enum yj_status memory_times(const struct plan *p, int *first, int *last) {
    size_t n_steps = 0;
    for (int b = 0; b < p->n_blocks; b++)
        n_steps += (size_t)p->blocks[b].n_steps;
    int **offsets = calloc((size_t)max64(1, p->n_blocks), sizeof *offsets);
    int *times = calloc(n_steps + (size_t)p->n_blocks + 1, sizeof *times);
    if (!offsets || !times) {
        free(offsets), free(times);
        return report(YJ_ERR_MEMORY, "out of memory");
    }
    int *at = times + p->n_blocks;
    for (int b = 0; b < p->n_blocks; at += p->blocks[b++].n_steps)
        offsets[b] = at;
    struct clock c = {.p = p};
    enum yj_status status = walk_times(&c, 0, times, offsets);
    for (int i = 0; i < p->n_buffers && status == YJ_OK; i++) {
        const struct plan_buffer *b = &p->buffers[i];
        first[i] = last[i] = -1;
        if (b->kind != PLAN_TEMP) continue;
        first[i] = offsets[b->block][b->first];
        last[i] = b->last + 1 < p->blocks[b->block].n_steps ? offsets[b->block][b->last + 1] - 1 : times[b->block] - 1;
    }
    free(offsets), free(times);
    return status;
}

static int compare_items(const void *a, const void *b, void *items) {
    const struct memory_item *x = &((const struct memory_item *)items)[*(const int *)a];
    const struct memory_item *y = &((const struct memory_item *)items)[*(const int *)b];
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return *(const int *)a < *(const int *)b ? -1 : 1;
}

/* The times of an item as bits of 64 equal spans: two items without a common bit are never alive together. */
static uint64_t span_bits(const struct memory_item *m, int64_t end) {
    int low = (int)((int64_t)m->first * 64 / end), high = (int)((int64_t)m->last * 64 / end);
    return (~UINT64_C(0) << low) & (~UINT64_C(0) >> (63 - high));
}

/* The lowest offset at which ITEM fits among the PLACED ones, which are in order of offset. */
static int64_t lowest_gap(const struct memory_item *items, const uint64_t *spans, const int *placed, int n,
                          const struct memory_item *item, uint64_t span) {
    int64_t low = 0;
    for (int i = 0; i < n; i++) {
        if (!(spans[i] & span)) continue;
        const struct memory_item *o = &items[placed[i]];
        if (o->last < item->first || o->first > item->last) continue;
        if (o->offset - low >= item->bytes) return low;
        low = max64(low, o->offset + o->bytes);
    }
    return low;
}

enum yj_status memory_assign(struct memory_item *items, int n, uint64_t *work, int64_t *total) {
    uint64_t *spans = work;
    int *order = (int *)(work + n), *placed = order + n, n_placed = 0;
    int64_t end = 0, sum = 0, times = 1;
    for (int i = 0; i < n; i++) {
        struct memory_item *m = &items[i];
        if (m->bytes < 0) return report(YJ_ERR_INPUT, "a buffer of %" PRId64 " bytes", m->bytes);
        if (m->bytes > INT64_MAX - PLAN_ALIGN) return report(YJ_ERR_INPUT, "buffers of more than 63 bits");
        m->bytes = (m->bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
        if (__builtin_add_overflow(sum, m->bytes, &sum)) return report(YJ_ERR_INPUT, "buffers of more than 63 bits");
        times = max64(times, (int64_t)m->last + 1);
        order[i] = i;
    }
    qsort_r(order, (size_t)n, sizeof *order, compare_items, items);
    for (int i = 0; i < n; i++) {
        struct memory_item *m = &items[order[i]];
        uint64_t span = span_bits(m, times);
        m->offset = lowest_gap(items, spans, placed, n_placed, m, span);
        end = max64(end, m->offset + m->bytes);
        int low = 0, high = n_placed;
        while (low < high) {
            int middle = low + (high - low) / 2;
            if (items[placed[middle]].offset <= m->offset)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(placed + low + 1, placed + low, (size_t)(n_placed - low) * sizeof *placed);
        memmove(spans + low + 1, spans + low, (size_t)(n_placed - low) * sizeof *spans);
        placed[low] = order[i];
        spans[low] = span;
        n_placed++;
    }
    *total = end;
    return YJ_OK;
}

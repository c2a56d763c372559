/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointer -> pointer, for tables that a pass keeps beside a kernel or a graph: open addressing in an arena, never
 * deletes (a value is set to NULL instead).
 */
#ifndef IR_MAP_H
#define IR_MAP_H

#include "runtime/base/base.h"

struct map {
    struct arena *arena;
    size_t n, room;
    struct map_slot {
        const void *key;
        void *value;
    } * slots;
};

static inline struct map_slot *map_probe(const struct map *m, const void *key) {
    size_t i = (size_t)(((uintptr_t)key >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (m->room - 1);
    while (m->slots[i].key && m->slots[i].key != key)
        i = (i + 1) & (m->room - 1);
    return &m->slots[i];
}

static inline void *map_get(const struct map *m, const void *key) {
    return m->room ? map_probe(m, key)->value : NULL;
}

static inline void map_set(struct map *m, const void *key, void *value) {
    if (m->n * 2 >= m->room) {
        struct map bigger = {m->arena, m->n, m->room ? m->room * 2 : 16, NULL};
        bigger.slots = NEW_ARRAY(m->arena, struct map_slot, bigger.room);
        for (size_t i = 0; i < m->room; i++)
            if (m->slots[i].key) *map_probe(&bigger, m->slots[i].key) = m->slots[i];
        *m = bigger;
    }
    struct map_slot *slot = map_probe(m, key);
    if (!slot->key) m->n++;
    slot->key = key;
    slot->value = value;
}

#endif

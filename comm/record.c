/* SPDX-License-Identifier: Apache-2.0
 *
 * The flight recorder. One writer a communicator (under the engine's lock), any number of readers: an entry is written
 * between two stamps, and a reader that finds another stamp afterwards throws away what it has read.
 */
#include "comm/record.h"
#include "comm/engine.h"

void record_start(struct yj_prepared *p) {
    struct recorder *r = &p->comm->recorder;
    uint64_t number = atomic_load_explicit(&r->n, memory_order_relaxed) + 1, card[CARD_WORDS];
    _Atomic uint64_t *stamp = &r->record[number % RECORDS].stamp, *word = r->record[number % RECORDS].word;
    p->record = number;
    p->started = ticks_now();
    memcpy(card, &p->card, sizeof card);
    atomic_store_explicit(stamp, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < CARD_WORDS; i++)
        atomic_store_explicit(&word[i], card[i], memory_order_relaxed);
    atomic_store_explicit(&word[WORD(sequence)], p->sequence, memory_order_relaxed);
    atomic_store_explicit(&word[WORD(bytes)], p->bytes, memory_order_relaxed);
    atomic_store_explicit(&word[WORD(started)], p->started, memory_order_relaxed);
    atomic_store_explicit(&word[WORD(ended)], 0, memory_order_relaxed);
    atomic_store_explicit(&word[WORD(row)], (uint64_t)p->row_index, memory_order_relaxed);
    atomic_store_explicit(stamp, number, memory_order_release);
    atomic_store_explicit(&r->n, number, memory_order_release);
}

static inline void add(_Atomic uint64_t *sum, uint64_t n) {
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n, memory_order_relaxed);
}

void record_end(struct yj_prepared *p) {
    struct recorder *r = &p->comm->recorder;
    uint64_t now = ticks_now(), number = p->record;
    if (atomic_load_explicit(&r->record[number % RECORDS].stamp, memory_order_relaxed) == number)
        atomic_store_explicit(&r->record[number % RECORDS].word[WORD(ended)], now, memory_order_release);
    uint32_t c = p->card.collective % COLLECTIVES;
    add(&r->counter[c].calls, 1);
    add(&r->counter[c].bytes, p->bytes);
    add(&r->counter[c].ticks, now - p->started);
}

bool record_read(const struct recorder *r, uint64_t number, struct entry *entry) {
    uint64_t word[ENTRY_WORDS], slot = number % RECORDS;
    if (!number || atomic_load_explicit(&r->record[slot].stamp, memory_order_acquire) != number) return false;
    for (int i = 0; i < ENTRY_WORDS; i++)
        word[i] = atomic_load_explicit(&r->record[slot].word[i], memory_order_acquire);
    memcpy(entry, word, sizeof word);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&r->record[slot].stamp, memory_order_relaxed) == number;
}

static bool find(const struct recorder *r, uint32_t pair, int peer, uint64_t sequence, struct card *card) {
    uint64_t last = atomic_load_explicit(&r->n, memory_order_acquire);
    struct entry e;
    for (uint64_t number = last; number && number + RECORDS > last; number--) {
        if (!record_read(r, number, &e) || e.sequence != sequence) continue;
        if (pair ? e.card.collective != pair || e.card.root != peer : is_pair(e.card.collective)) continue;
        *card = e.card;
        return true;
    }
    return false;
}

bool record_find(const struct recorder *r, uint64_t sequence, struct card *card) {
    return find(r, 0, 0, sequence, card);
}

bool record_find_pair(const struct recorder *r, uint32_t collective, int peer, uint64_t sequence, struct card *card) {
    return find(r, collective, peer, sequence, card);
}

/* --- for users --- */

void ticks_and_time(uint64_t *ticks, double *seconds) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = ticks_now();
        double time = time_now();
        uint64_t took = ticks_now() - before;
        if (took < least) least = took, *ticks = before + took / 2, *seconds = time;
    }
}

double ticks_seconds(const struct world *w, uint64_t *now_ticks, double *now) {
    do
        ticks_and_time(now_ticks, now);
    while (*now - w->first_time < 1e-5); /* too short to measure */
    return (*now - w->first_time) / (double)(*now_ticks - w->first_ticks);
}

/* Counted back from now, so that what is recent is exact. */
static double seconds(const struct world *w, uint64_t ticks) {
    uint64_t now_ticks;
    double now, tick = ticks_seconds(w, &now_ticks, &now);
    return now - tick * (double)(int64_t)(now_ticks - ticks);
}

enum yj_status yj_comm_record(struct yj_comm *comm, int back, struct yj_comm_record *record) {
    struct recorder *r = &comm->recorder;
    struct entry e;
    uint64_t last = atomic_load_explicit(&r->n, memory_order_acquire);
    if (record->size < sizeof *record)
        return report(YJ_ERR_INPUT, "yj_comm_record.size is %u: set it to sizeof(struct yj_comm_record)", record->size);
    if (back < 0 || (uint64_t)back >= last || !record_read(r, last - (uint64_t)back, &e))
        return report(YJ_ERR_INPUT, "record: the call %d before the last is not remembered", back);
    const struct algorithm *row = algorithm_at((int)e.row);
    *record = (struct yj_comm_record){.size = record->size,
                                      .collective = e.card.collective,
                                      .dtype = e.card.dtype,
                                      .op = e.card.op,
                                      .root = e.card.root,
                                      .has_counts = e.card.counts != 0,
                                      .sequence = e.sequence,
                                      .count = e.card.count,
                                      .bytes = e.bytes,
                                      .algorithm = row ? row->name : "none",
                                      .started = seconds(comm->world, e.started),
                                      .ended = e.ended ? seconds(comm->world, e.ended) : 0};
    memcpy(record->name, e.card.name, sizeof record->name);
    return YJ_OK;
}

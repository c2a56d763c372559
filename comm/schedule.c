/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of collectives and algorithms, and how a generator's words become steps. One idea: everything that could
 * be wrong in a generator (ranks and blocks beyond the end) is taken modulo here, so that generators read like the
 * paper.
 */
#include "comm/generate.h"
#include "runtime/base/base.h"

#include <limits.h>
#include <stdlib.h>

static const struct collective collectives[] = {
#define COLLECTIVE(number, NAME, name, in, out, worth, rooted, doc)                                                    \
    {YJ_##NAME, #name, HOLD_##in, HOLD_##out, WORTH_##worth, rooted, doc},
#include <yunjin/collectives.def>
#undef COLLECTIVE
};

/* The expressions of a row (blocks, tmp, critical) become functions of size. */
#define ALGORITHM(NAME, name, emit, blocks, tmp, critical, max_size, flags, doc)                                       \
    bool emit(struct schedule *, int, int, int);                                                                       \
    static int emit##_blocks(int size) {                                                                               \
        return (void)size, blocks;                                                                                     \
    }                                                                                                                  \
    static int emit##_tmp(int size) {                                                                                  \
        return (void)size, tmp;                                                                                        \
    }                                                                                                                  \
    static int emit##_critical(int size) {                                                                             \
        return (void)size, critical;                                                                                   \
    }
#include "comm/algorithms.def"
#undef ALGORITHM

enum {
    ORDERED = ROW_ORDERED,
    CANONICAL = ROW_CANONICAL,
    SYMMETRIC = ROW_SYMMETRIC,
    POWER2 = ROW_POWER2,
    APART = ROW_APART,
    NODES = ROW_NODES,
    EQUAL = ROW_EQUAL,
    STRAIGHT = ROW_STRAIGHT
};
static const struct algorithm algorithms[] = {
#define ALGORITHM(NAME, name, emit, blocks, tmp, critical, max_size, flags, doc)                                       \
    {YJ_##NAME, #name, emit, emit##_blocks, emit##_tmp, emit##_critical, max_size, flags, doc},
#include "comm/algorithms.def"
#undef ALGORITHM
};

/* --- tables --- */

const struct collective *collective_find(int number) {
    for (size_t i = 0; i < COUNT(collectives); i++)
        if ((int)collectives[i].number == number) return &collectives[i];
    return NULL;
}

const struct collective *collective_named(const char *name) {
    for (size_t i = 0; i < COUNT(collectives); i++)
        if (!strcmp(collectives[i].name, name)) return &collectives[i];
    return NULL;
}

int algorithm_count(void) {
    return (int)COUNT(algorithms);
}

const struct algorithm *algorithm_at(int index) {
    return index >= 0 && index < algorithm_count() ? &algorithms[index] : NULL;
}

int algorithm_index(const struct algorithm *algorithm) {
    return (int)(algorithm - algorithms);
}

const struct algorithm *algorithm_named(enum yj_collective collective, const char *name) {
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (algorithms[i].collective == collective && !strcmp(algorithms[i].name, name)) return &algorithms[i];
    return NULL;
}

bool algorithm_serves(const struct algorithm *row, int size, bool ordered) {
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
    return size >= (pair ? 2 : 1) && size <= row->max_size && (!(row->flags & ROW_POWER2) || !(size & (size - 1))) &&
           (!ordered || row->flags & ROW_ORDERED);
}

static uint64_t hash_row(const struct algorithm *row, uint64_t hash) {
    for (int size = 2; size <= 9; size++) {
        for (int rank = 0; algorithm_serves(row, size, false) && rank < size; rank++) {
            struct schedule s;
            if (schedule_open_nodes(row, rank, size, 2, rank ? 0 : 1, &s) != YJ_OK) continue;
            for (int round = 0; schedule_round(&s, round); round++)
                for (int i = 0; i < s.nsteps; i++) {
                    const struct step *t = &s.step[i];
                    int32_t word[] = {round,         t->kind,       t->peer,        t->from.space,
                                      t->from.first, t->from.count, t->from.stride, t->to.space,
                                      t->to.first,   t->to.count,   t->to.stride};
                    hash = hash_bytes(word, sizeof word, hash);
                }
            schedule_close(&s);
        }
    }
    return hash;
}

uint64_t algorithm_table_hash(void) {
    uint64_t hash = 1;
    for (size_t i = 0; i < COUNT(algorithms); i++) {
        const struct algorithm *row = &algorithms[i];
        int32_t word[] = {row->collective, row->max_size, (int32_t)row->flags};
        hash = hash_bytes(word, sizeof word, hash);
        hash = hash_bytes(row->name, strlen(row->name), hash);
        hash = hash_row(row, hash);
    }
    return hash;
}

/* --- steps --- */

static struct range normal(const struct schedule *s, struct range range) {
    int n = schedule_blocks(s, range.space);
    if (range.count > 0 && n > 0) range.first = mod(range.first, n), range.stride = mod(range.stride, n);
    return range;
}

void schedule_put(struct schedule *s, enum step_kind kind, int peer, struct range from, struct range to) {
    if (from.count == 0 && to.count == 0 && s->blocks > 0) return;
    if (s->nsteps == s->room) {
        int room = s->room ? s->room <= INT_MAX / 2 ? 2 * s->room : 0 : 8;
        struct step *step = room ? realloc(s->step, (size_t)room * sizeof *step) : NULL;
        if (!step) {
            s->failed = true;
            return;
        }
        s->step = step, s->room = room;
    }
    s->step[s->nsteps++] = (struct step){(uint8_t)kind, peer, normal(s, from), normal(s, to)};
}

static const struct range none = {SPACE_IN, 0, 0, 0};

void send_to(struct schedule *s, int peer, struct range from) {
    schedule_put(s, STEP_SEND, mod(peer, s->size), from, none);
}

void recv_from(struct schedule *s, int peer, struct range to) {
    schedule_put(s, STEP_RECV, mod(peer, s->size), none, to);
}

void reduce_from(struct schedule *s, int peer, struct range from, struct range to) {
    schedule_put(s, STEP_REDUCE, mod(peer, s->size), from, to);
}

void copy_to(struct schedule *s, struct range from, struct range to) {
    schedule_put(s, STEP_COPY, -1, from, to);
}

/* --- schedules --- */

enum yj_status schedule_open(const struct algorithm *row, int rank, int size, int root, struct schedule *s) {
    return schedule_open_nodes(row, rank, size, 0, root, s);
}

enum yj_status schedule_open_nodes(const struct algorithm *row, int rank, int size, int node, int root,
                                   struct schedule *s) {
    const struct collective *c = collective_find(row->collective);
    if (!algorithm_serves(row, size, false))
        return report(YJ_ERR_UNSUPPORTED, "%s %s does not serve %d ranks", c->name, row->name, size);
    if (rank < 0 || rank >= size || (c->rooted && (root < 0 || root >= size)))
        return report(YJ_ERR_INPUT, "%s: rank %d or root %d is outside 0..%d", c->name, rank, root, size - 1);
    if ((row->collective == YJ_SEND || row->collective == YJ_RECV) && rank == root)
        return report(YJ_ERR_INPUT, "%s: rank %d cannot be its own peer", c->name, rank);
    *s = (struct schedule){.algorithm = row,
                           .rank = rank,
                           .size = size,
                           .root = c->rooted ? root : 0,
                           .node = node <= 0     ? size
                                   : size % node ? 1
                                                 : node,
                           .blocks = row->blocks(size),
                           .tmp_blocks = row->tmp(size)};
    return YJ_OK;
}

/* One rank alone: what it gave is what it gets. */
static bool alone(struct schedule *s, int round) {
    const struct collective *c = collective_find(s->algorithm->collective);
    if (round > 0 || c->out == HOLD_NONE) return false;
    copy_to(s, in(0, s->blocks), out(0, s->blocks));
    return true;
}

static bool emit(struct schedule *s, int round) {
    return s->size == 1 ? alone(s, round) : s->algorithm->emit(s, s->rank, s->size, round);
}

bool schedule_round(struct schedule *s, int round) {
    s->nsteps = 0;
    return emit(s, round) && !s->failed;
}

static bool mark_round(struct schedule *s) {
    if (s->nrounds + 1 >= s->first_room) {
        int room = s->first_room ? 2 * s->first_room : 16;
        int *first = realloc(s->first, (size_t)room * sizeof *first);
        if (!first) return false;
        s->first = first, s->first_room = room;
    }
    s->first[s->nrounds] = s->nsteps;
    return true;
}

enum yj_status schedule_build(struct schedule *s) {
    s->nsteps = s->nrounds = 0;
    while (!s->failed) {
        if (!mark_round(s))
            s->failed = true;
        else if (!emit(s, s->nrounds))
            return YJ_OK;
        else
            s->nrounds++;
    }
    return report(YJ_ERR_MEMORY, "out of memory for the schedule %s of %d ranks", s->algorithm->name, s->size);
}

void schedule_close(struct schedule *s) {
    free(s->step);
    free(s->first);
    *s = (struct schedule){0};
}

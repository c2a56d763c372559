/* SPDX-License-Identifier: Apache-2.0
 *
 * The flight recorder: the last calls of a rank on one communicator, always on. One idea: whoever starts a call writes
 * an entry that anybody may read at any time without a lock; its stamp says whether it is whole. Times are ticks of the
 * processor's counter, which costs a tenth of asking for the time, and become seconds when they are read.
 */
#ifndef COMM_RECORD_H
#define COMM_RECORD_H

#include <stdatomic.h>
#include <stdint.h>
#include <yunjin/comm.h>

struct yj_prepared;
struct world;

/* A call in one line, for matching, for messages and for the record. */
struct card {
    uint32_t collective, dtype, op;
    int32_t root;
    uint64_t count;
    uint64_t counts; /* 0: one COUNT for all; else a hash of the counts, where all ranks know them */
    char name[24];
};
enum { CARD_COUNTS_PRIVATE = 1 }; /* each pair of ranks knows its own; COUNT is then this rank's matter */
uint32_t card_hash(const struct card *card);
void card_print(const struct card *card, char *text, size_t room); /* "all_reduce(f32, sum, 1024 elements)" */

struct entry {
    struct card card;
    uint64_t sequence;       /* of collectives; of transfers, for each peer and direction */
    uint64_t bytes;          /* of the whole vector */
    uint64_t started, ended; /* ticks; ended 0: not yet */
    int64_t row;             /* of the table of algorithms; -1: nothing to send */
};

enum {
    RECORDS = 128,
    ENTRY_WORDS = sizeof(struct entry) / 8,
    CARD_WORDS = sizeof(struct card) / 8,
    COLLECTIVES = 16, /* room for their numbers */
};
_Static_assert(sizeof(struct entry) % 8 == 0 && sizeof(struct card) % 8 == 0, "an entry is whole words");
#define WORD(field) (offsetof(struct entry, field) / 8)

struct recorder {
    _Atomic uint64_t n; /* calls that were started */
    struct {
        _Atomic uint64_t stamp; /* number of the call; 0 while it is written */
        _Atomic uint64_t word[ENTRY_WORDS];
    } record[RECORDS];
    struct {
        _Atomic uint64_t calls, bytes, ticks;
    } counter[COLLECTIVES]; /* of calls that have ended */
    _Atomic bool written;
};

static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
#endif
}

/* Both at one moment: of some readings the one that took least, since a thread may be stopped between two looks. */
void ticks_and_time(uint64_t *ticks, double *seconds);
/* Seconds a tick, since WORLD was made. */
double ticks_seconds(const struct world *world, uint64_t *now_ticks, double *now);

/* Under the engine's lock. */
void record_start(struct yj_prepared *p);
void record_end(struct yj_prepared *p);
/* From any thread. NUMBER counts from 1; false: not started yet, or forgotten. */
bool record_read(const struct recorder *recorder, uint64_t number, struct entry *entry);
/* Collective SEQUENCE, or transfer SEQUENCE to (SEND) or from (RECV) rank PEER. */
bool record_find(const struct recorder *recorder, uint64_t sequence, struct card *card);
bool record_find_pair(const struct recorder *recorder, uint32_t collective, int peer, uint64_t sequence,
                      struct card *card);
/* When a communicator has failed: the last calls go to the log and, with the setting record=PREFIX, to a file. Once. */
void record_failure(struct yj_comm *comm);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A trial: a random call with its buffers, and what must be in them afterwards. One idea: every element is known by who
 * gave it, its block and its place in the block, so that counts, displacements and in place need no second reference.
 */
#ifndef TESTS_COMM_TRIAL_H
#define TESTS_COMM_TRIAL_H

#include "comm/schedule.h"
#include "tests/comm/integers.h"
#include "tests/comm/ranks.h"

/* --- data --- */

/* Small whole numbers, so that every order of additions is exact in every type. */
static inline int value(int rank, uint64_t i, uint32_t op) {
    uint64_t h = (uint64_t)rank * 2654435761u + i * 40503u + (i >> 7);
    if (op == YJ_PROD) return (int)(h % 2) + 1;
    return (int)(h % 5);
}

static inline void put(void *buffer, uint64_t i, enum yj_dtype dtype, double v) {
    char *at = (char *)buffer + i * yj_dtype_bytes(dtype);
    float f = (float)v;
    double d = v;
    uint16_t h;
    uint8_t b;
    int64_t n = (int64_t)v;
    switch (dtype) {
    case YJ_F32:
        memcpy(at, &f, 4);
        break;
    case YJ_F64:
        memcpy(at, &d, 8);
        break;
    case YJ_F16:
        h = f32_to_f16(f), memcpy(at, &h, 2);
        break;
    case YJ_BF16:
        h = f32_to_bf16(f), memcpy(at, &h, 2);
        break;
    case YJ_E4M3:
        b = f32_to_e4m3(f), memcpy(at, &b, 1);
        break;
    case YJ_E5M2:
        b = f32_to_e5m2(f), memcpy(at, &b, 1);
        break;
    case YJ_BOOL:
        *at = v != 0;
        break;
    default:
        memcpy(at, &n, yj_dtype_bytes(dtype)); /* little-endian */
    }
}

static inline int join(int a, int b, uint32_t op) {
    return (int)join_integer((uint64_t)a, (uint64_t)b, op, true);
}

static inline int as_bool(int v, enum yj_dtype dtype) {
    return dtype == YJ_BOOL ? v != 0 : v;
}

/* avg is exact only where the division is. */
static inline bool exact(uint32_t op, enum yj_dtype dtype, int size) {
    if (op == YJ_AVG) return dtype_kind(dtype) != 'f' || (size & (size - 1)) == 0;
    if (op == YJ_SUM || op == YJ_PROD) return dtype != YJ_E4M3 && dtype != YJ_E5M2;
    return true;
}

/* --- trials --- */

struct trial {
    const struct collective *c;
    uint64_t count, seed; /* COUNT: elements of a block; with BLOCKS_DIFFER from nothing to twice as many */
    enum yj_dtype dtype;
    uint32_t op, flags;
    int root;
    bool in_place, blocks_differ, gaps; /* GAPS: blocks lie apart and in the opposite order */
    /* made */
    struct yj_call call;
    uint64_t counts[2][MOST_RANKS], displs[2][MOST_RANKS], end[2]; /* of the blocks of [IN, OUT] */
    char *memory[2];
    size_t room[2];
};

enum { TRIAL_GUARD = 64, TRIAL_GAP = 3 };

static inline uint64_t mix(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t word[3] = {a, b, c};
    return hash_bytes(word, sizeof word, 17);
}

static inline bool one_block(const struct collective *c) {
    return c->in != HOLD_OWN && c->out != HOLD_OWN && c->worth != WORTH_TURN;
}
static inline bool has(enum holding h, int rank, int root) {
    return h == HOLD_ALL || h == HOLD_OWN || (h == HOLD_ROOT && rank == root);
}
static inline enum holding side_of(const struct trial *t, int side) {
    return side ? t->c->out : t->c->in;
}

/* Elements of block B as rank RANK sees it on SIDE. */
static inline uint64_t trial_count(const struct trial *t, int rank, int side, int b) {
    if (!t->blocks_differ) return t->c->worth == WORTH_HEARD ? 0 : t->count;
    uint64_t from = 0, to = (uint64_t)b;
    if (t->c->worth == WORTH_TURN) from = (uint64_t)(side ? b : rank), to = (uint64_t)(side ? rank : b);
    if (t->in_place && from > to && t->c->worth == WORTH_TURN) from ^= to, to ^= from, from ^= to;
    uint64_t h = mix(t->seed, from, to);
    return h % 5 == 0 ? 0 : h / 5 % (2 * t->count + 1);
}

static inline int trial_blocks(const struct trial *t, int size) {
    return one_block(t->c) ? 1 : size;
}

static inline void trial_lay_out(struct trial *t, int rank, int size) {
    for (int side = 0; side < 2; side++) {
        int n = trial_blocks(t, size);
        uint64_t at = 0;
        for (int k = 0; k < n; k++) {
            int b = t->gaps ? n - 1 - k : k;
            t->counts[side][b] = trial_count(t, rank, side, b);
            t->displs[side][b] = at;
            at += t->counts[side][b] + (t->gaps ? TRIAL_GAP : 0);
        }
        t->end[side] = at;
    }
}

static inline uint64_t trial_key(const struct trial *t, int block, uint64_t i) {
    return (t->seed & 0xffff) + (uint64_t)block * 1000003 + i;
}

/* Where block B of SIDE lies, NULL if this rank does not have it. */
static inline char *trial_block(const struct trial *t, int rank, int side, int b) {
    enum holding h = side_of(t, side);
    if (t->c->worth == WORTH_HEARD || !has(h, rank, t->root) || (h == HOLD_OWN && b != rank)) return NULL;
    char *base = t->memory[t->in_place ? 0 : side] + TRIAL_GUARD;
    if (h == HOLD_OWN && !t->in_place) return base;
    return base + t->displs[side][b] * yj_dtype_bytes(t->dtype);
}

static inline void trial_fill(struct trial *t, int rank, int size) {
    for (int b = 0; b < trial_blocks(t, size); b++) {
        char *at = trial_block(t, rank, 0, b);
        for (uint64_t i = 0; at && i < t->counts[0][b]; i++)
            put(at, i, t->dtype, value(rank, trial_key(t, b, i), t->op));
    }
}

/* Makes buffers and call. False: out of memory. */
static inline bool trial_make(struct trial *t, struct yj_comm *comm) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    size_t bytes = yj_dtype_bytes(t->dtype);
    trial_lay_out(t, rank, size);
    for (int side = 0; side < 2; side++) {
        uint64_t most = t->end[0] > t->end[1] ? t->end[0] : t->end[1];
        t->room[side] = (most + 1) * bytes + 2 * TRIAL_GUARD;
        if (!(t->memory[side] = malloc(t->room[side]))) return false;
        memset(t->memory[side], 0x5a, t->room[side]);
    }
    trial_fill(t, rank, size);
    int own = one_block(t->c) ? 0 : rank;
    char *start[2];
    for (int side = 0; side < 2; side++) {
        start[side] = t->memory[t->in_place ? 0 : side] + TRIAL_GUARD;
        if (t->in_place && side_of(t, side) == HOLD_OWN) start[side] += t->displs[side][own] * bytes;
    }
    t->call = (struct yj_call){.size = sizeof t->call,
                               .collective = t->c->number,
                               .send = start[0],
                               .recv = start[1],
                               .count = t->count,
                               .dtype = t->dtype,
                               .op = t->c->worth == WORTH_SUM ? t->op : 0,
                               .root = t->root,
                               .flags = t->flags};
    if (!t->blocks_differ) return true;
    int side = t->c->in == HOLD_OWN ? 1 : 0; /* the side with all blocks */
    t->call.counts = t->counts[side], t->call.displs = t->gaps ? t->displs[side] : NULL;
    if (t->c->worth == WORTH_TURN)
        t->call.recv_counts = t->counts[1], t->call.recv_displs = t->gaps ? t->displs[1] : NULL;
    return true;
}

static inline double trial_expected(const struct trial *t, int rank, int size, int b, uint64_t i) {
    uint64_t key = trial_key(t, t->c->worth == WORTH_TURN ? rank : b, i);
    if (t->c->worth != WORTH_SUM)
        return as_bool(value(t->c->in == HOLD_ROOT || t->c->number == YJ_RECV ? t->root : b, key, t->op), t->dtype);
    int v = as_bool(value(0, key, t->op), t->dtype);
    for (int r = 1; r < size; r++)
        v = join(v, as_bool(value(r, key, t->op), t->dtype), t->op);
    return t->op != YJ_AVG ? v : dtype_kind(t->dtype) == 'f' ? (double)v / size : v / size;
}

static inline void trial_say(const struct trial *t, struct yj_comm *comm, const char *what) {
    fprintf(stderr, "rank %d of %d: %s%s %s op %u count %llu%s%s root %d seed %llu: %s\n", yj_comm_rank(comm),
            yj_comm_size(comm), t->c->name, t->blocks_differ ? "_v" : "", yj_dtype_name(t->dtype), t->op,
            (unsigned long long)t->count, t->in_place ? " in place" : "", t->gaps ? " with gaps" : "", t->root,
            (unsigned long long)t->seed, what);
}

/* Results, IN, and every byte around the blocks. */
static inline int trial_check(struct trial *t, struct yj_comm *comm) {
    int rank = yj_comm_rank(comm), size = yj_comm_size(comm);
    size_t bytes = yj_dtype_bytes(t->dtype);
    char want[8], *blank[2] = {malloc(t->room[0]), malloc(t->room[1])};
    CHECK(blank[0] && blank[1]);
    for (int side = 0; side < 2; side++) { /* what must be there, byte by byte */
        memset(blank[side], 0x5a, t->room[side]);
        if (side && t->in_place) break;
    }
    for (int side = 0; side < 2; side++)
        for (int b = 0; b < trial_blocks(t, size); b++) {
            char *at = trial_block(t, rank, side, b), *copy = blank[t->in_place ? 0 : side];
            bool inexact = side && t->c->worth == WORTH_SUM && !exact(t->op, t->dtype, size);
            for (uint64_t i = 0; at && i < t->counts[side][b]; i++) {
                put(want, 0, t->dtype,
                    side ? trial_expected(t, rank, size, b, i) : value(rank, trial_key(t, b, i), t->op));
                char *element = at + i * bytes;
                memcpy(copy + (element - t->memory[t->in_place ? 0 : side]), inexact ? element : want, bytes);
            }
        }
    for (int side = 0; side < 2; side++) {
        if (memcmp(blank[side], t->memory[side], t->room[side]) == 0) continue;
        size_t i = 0;
        while (blank[side][i] == t->memory[side][i])
            i++;
        char what[80];
        snprintf(what, sizeof what, "byte %zu of the %s buffer is wrong", i - TRIAL_GUARD, side ? "receive" : "send");
        trial_say(t, comm, what);
        return 1;
    }
    free(blank[0]), free(blank[1]);
    return 0;
}

static inline void trial_free(struct trial *t) {
    for (int side = 0; side < 2; side++) { /* whoever still writes there is found out by a sanitizer */
        memset(t->memory[side], 0xee, t->room[side]);
        free(t->memory[side]);
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Collective communication between the ranks of one job. Contract: docs/comm-contract.md. The folder comm/, to be read
 * in this order:
 * - schedule.h algorithms.def      who sends which blocks in which round; verify.c proves it, cost.c chooses
 * - check.c prepare.c layout.c     what a call means here; binds a schedule to sizes, slices and peers
 * - engine.c call.c request.c      moves every byte of every collective; starts and waits; the public calls
 * - transport.h                    how bytes move: lanes of cells; cells.c mem.c shm.c tcp.c
 * - reduce.h                       k sources into n destinations, by element type and operator
 * - record.c trace.c               the last calls, as records, traces and counters
 * - bootstrap.c pmix.c join.c      who is where; settings.c: YUNJIN_COMM
 * - control.c watch.c wire.c       heartbeat, goodbye, abort, death, calls that do not meet; authenticated frames
 * - comm.c                         open, split, close, memory
 *
 * Threads: one thread at a time uses a communicator, different communicators concurrently; abort from anywhere. Forking
 * after open is unsupported. Numbers in the enums are ABI and wire: never renumbered.
 */
#ifndef YUNJIN_COMM_H
#define YUNJIN_COMM_H

#include <yunjin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yj_comm;     /* a group of ranks with its own order of calls */
struct yj_request;  /* a started call; gone when wait, or a test that says done, returns */
struct yj_prepared; /* a call with everything decided and allocated, started again and again */

enum yj_collective {
#define COLLECTIVE(number, NAME, ...) YJ_##NAME = number,
#include <yunjin/collectives.def>
#undef COLLECTIVE
};

enum yj_op {
    YJ_SUM = 1, /* f16, bf16 and fp8 are added in f32 and rounded once a hop; integers wrap */
    YJ_PROD = 2,
    YJ_MIN = 3, /* -0 lies below +0; a NaN in any contribution gives NaN */
    YJ_MAX = 4,
    YJ_AVG = 5,  /* the sum, then divided by the number of ranks; integers towards zero */
    YJ_BAND = 6, /* integers and bool */
    YJ_BOR = 7,
    YJ_BXOR = 8,
    YJ_LAND = 9, /* any type: 0 or 1 */
    YJ_LOR = 10,
    YJ_LXOR = 11,
};

/* --- open and close --- */

struct yj_comm_options {
    uint32_t size;        /* sizeof(struct yj_comm_options) */
    int32_t rank;         /* used when RANKS > 0, else both come from the launcher: mpirun, PMIx, torchrun */
    int32_t ranks;        /* 0: ask the environment; without a launcher the job has one rank */
    const char *address;  /* "HOST:PORT" or "unix:NAME", where rank 0 listens; NULL: the launcher's or YUNJIN_COMM's */
    const char *key;      /* the secret of the job; NULL: the launcher's */
    const char *settings; /* "key=value,...", as YUNJIN_COMM, which it overrides; NULL: none */
    double deadline;      /* seconds for open, split and close; 0: 60 */
};

/* Collective over all ranks of the job. OPTIONS may be NULL. Starts one control thread. On failure nothing is left. */
YJ_EXPORT enum yj_status yj_comm_open(const struct yj_comm_options *options, struct yj_comm **comm);
/* Fills address and key of OPTIONS (static in the struct's storage TEXT) for RANKS processes on this machine: call it
 * once, fork, set .rank in each child, open. */
struct yj_comm_local {
    struct yj_comm_options options;
    char address[64], key[72];
};
YJ_EXPORT enum yj_status yj_comm_local(int ranks, struct yj_comm_local *local);
/* RANKS communicators of one job for the threads of this process; comm[r] is rank r's. */
YJ_EXPORT enum yj_status yj_comm_open_threads(int ranks, const struct yj_comm_options *options, struct yj_comm **comm);
/* Says goodbye. Collective; calls still in flight are given up. Waits for nobody but the job's first rank for all. */
YJ_EXPORT void yj_comm_close(struct yj_comm *comm);
YJ_EXPORT int yj_comm_rank(const struct yj_comm *comm);
YJ_EXPORT int yj_comm_size(const struct yj_comm *comm);
/* Collective: ranks with the same COLOR form a group, ordered by (KEY, rank). COLOR < 0: this rank joins none and gets
 * NULL. The child is closed before the parent. */
YJ_EXPORT enum yj_status yj_comm_split(struct yj_comm *comm, int color, int key, struct yj_comm **child);
/* Marks COMM as failed on all its ranks, with TEXT; every wait returns YJ_ERR_ABORTED. From any thread. */
YJ_EXPORT void yj_comm_abort(struct yj_comm *comm, const char *text);
/* YJ_OK, or what has failed COMM for good; the error text says why. From any thread. */
YJ_EXPORT enum yj_status yj_comm_health(struct yj_comm *comm);

/* --- memory --- */

/* Collective (same BYTES): memory that peers on this node read without a copy. 64-byte aligned, zeroed. */
YJ_EXPORT enum yj_status yj_comm_alloc(struct yj_comm *comm, size_t bytes, void **memory);
YJ_EXPORT void yj_comm_free(struct yj_comm *comm, void *memory);
/* Local and optional: tells transports that pin or export memory that [MEMORY, MEMORY+BYTES) will be used often. */
YJ_EXPORT enum yj_status yj_comm_register(struct yj_comm *comm, void *memory, size_t bytes);
YJ_EXPORT enum yj_status yj_comm_unregister(struct yj_comm *comm, void *memory);

/* --- calls --- */

/* What is called. COUNT: all_reduce, reduce, broadcast, send, recv: elements of the buffer; all_gather, gather:
 * elements that each rank gives; reduce_scatter, scatter: that each rank gets; all_to_all: that each rank gives to
 * each. In place: SEND == RECV; all_gather, gather SEND == RECV + rank * COUNT; reduce_scatter, scatter RECV == SEND +
 * rank * COUNT. Other overlaps are refused. With COUNTS (on all ranks) the blocks differ and COUNT is not read:
 * COUNTS[r] is rank r's block, DISPLS[r] where it lies in the buffer that holds all (recv of all_gather and gather,
 * send of the others), both in elements. For gather and scatter only the root reads more than its own count; in
 * all_to_all COUNTS and DISPLS are of SEND, RECV_COUNTS and RECV_DISPLS of RECV; elsewhere all ranks give the same
 * COUNTS. */
struct yj_call {
    uint32_t size;       /* sizeof(struct yj_call) */
    uint32_t collective; /* enum yj_collective */
    const void *send;
    void *recv;
    uint64_t count;
    const uint64_t *counts;                    /* NULL, or one a rank */
    uint32_t dtype;                            /* enum yj_dtype */
    uint32_t wire_dtype;                       /* 0: DTYPE */
    uint32_t op;                               /* enum yj_op, for reductions */
    int32_t root;                              /* broadcast; the peer of send and recv */
    const char *name;                          /* for messages and traces, or NULL */
    double deadline;                           /* seconds from start; 0: none */
    uint32_t flags;                            /* YJ_CALL_... */
    void *queue;                               /* NULL: host order */
    const uint64_t *displs;                    /* with COUNTS: elements before each block; NULL: one after the other */
    const uint64_t *recv_counts, *recv_displs; /* all_to_all with COUNTS */
};
enum {
    YJ_CALL_READY = 1,     /* SEND is filled as yj_comm_ready says, not at start */
    YJ_CALL_CANONICAL = 2, /* bits do not depend on algorithm, slicing or how a vector is cut into calls; slower */
};

/* The call is under way when this returns; buffers belong to COMM until wait returns. All ranks start the same calls in
 * the same order; sends and receives keep their order for each pair of ranks. */
YJ_EXPORT enum yj_status yj_comm_start(struct yj_comm *comm, const struct yj_call *call, struct yj_request **request);
/* Moves data; DONE tells whether the request has ended. When it has, it is gone, and the status is the call's. */
YJ_EXPORT enum yj_status yj_comm_test(struct yj_request *request, bool *done);
/* Returns when the call has ended: YJ_OK, YJ_ERR_PEER (a rank is dead or has left, named), YJ_ERR_TIMEOUT (the late
 * rank is named), YJ_ERR_MISMATCH (both calls are named) or YJ_ERR_ABORTED. After an error OUT is undefined and COMM
 * has failed for good. */
YJ_EXPORT enum yj_status yj_comm_wait(struct yj_request *request);
/* Start and wait. */
YJ_EXPORT enum yj_status yj_comm_call(struct yj_comm *comm, const struct yj_call *call);
/* Moves the data of all communicators of COMM's job that no other thread is using. */
YJ_EXPORT enum yj_status yj_comm_progress(struct yj_comm *comm);

/* Decides and allocates all that CALL needs; collective in the sense that its start is. Buffers may change at start. */
YJ_EXPORT enum yj_status yj_comm_prepare(struct yj_comm *comm, const struct yj_call *call,
                                         struct yj_prepared **prepared);
/* Starts PREPARED on SEND and RECV without allocating. Its last request must have ended. */
YJ_EXPORT enum yj_status yj_prepared_start(struct yj_prepared *prepared, const void *send, void *recv,
                                           struct yj_request **request);
YJ_EXPORT void yj_prepared_close(struct yj_prepared *prepared);
/* For a call with YJ_CALL_READY: the first COUNT elements of SEND are there. Never goes back. */
YJ_EXPORT enum yj_status yj_comm_ready(struct yj_request *request, uint64_t count);

/* What a call would do: algorithm, transport, slices. Valid until the next call of this thread. */
YJ_EXPORT enum yj_status yj_comm_explain(struct yj_comm *comm, const struct yj_call *call, const char **text);

/* --- what has happened --- */

/* A call of this rank. */
struct yj_comm_record {
    uint32_t size; /* sizeof(struct yj_comm_record) */
    uint32_t collective, dtype, op;
    int32_t root;
    uint32_t has_counts;   /* 1: a call with COUNTS */
    uint64_t sequence;     /* of the communicator's collectives; of transfers, for each peer and direction */
    uint64_t count, bytes; /* bytes: of the whole vector, as far as this rank knows it */
    const char *algorithm;
    double started, ended; /* seconds of CLOCK_MONOTONIC; ended 0: it has not */
    char name[24];
};
/* The call BACK before the last (0: the last one) of the 128 that are remembered; YJ_ERR_INPUT if there is none. From
 * any thread. With the setting record=PREFIX, PREFIX.RANK.json has them all when COMM has failed. */
YJ_EXPORT enum yj_status yj_comm_record(struct yj_comm *comm, int back, struct yj_comm_record *record);
/* Collective: rank 0 writes the remembered calls of all ranks to PATH, a Chrome trace with one row a rank, all on rank
 * 0's clock; each call says how much later than the first this rank came to it. */
YJ_EXPORT enum yj_status yj_comm_trace(struct yj_comm *comm, const char *path);
/* Calls, bytes and seconds for each collective since open. Writes at most ROOM bytes with the ending 0 and returns the
 * length of the whole text, as snprintf does. From any thread. */
enum yj_counters { YJ_COUNTERS_JSON, YJ_COUNTERS_PROMETHEUS };
YJ_EXPORT size_t yj_comm_counters(struct yj_comm *comm, enum yj_counters format, char *text, size_t room);

/* Typed wrappers, one a row of collectives.def, each a start and a wait:
 *   yj_all_reduce(comm, send, recv, count, dtype, op)      yj_reduce(..., op, root)      yj_barrier(comm)
 *   yj_all_gather(comm, send, recv, count, dtype)          yj_broadcast(..., dtype, root)
 *   yj_send(comm, send, count, dtype, rank)                yj_recv(comm, recv, count, dtype, rank)
 * and with counts (displs may be NULL):
 *   yj_all_gather_v(comm, send, recv, counts, displs, dtype)        yj_reduce_scatter_v(..., dtype, op)
 *   yj_gather_v, yj_scatter_v(..., dtype, root)
 *   yj_all_to_all_v(comm, send, recv, counts, displs, recv_counts, recv_displs, dtype) */
#define YJ_WRAP(name, NAME, parameters, ...)                                                                           \
    static inline enum yj_status yj_##name parameters {                                                                \
        struct yj_call call = {.size = sizeof call, .collective = YJ_##NAME, __VA_ARGS__};                             \
        return yj_comm_call(comm, &call);                                                                              \
    }
#define YJ_BUFFERS .send = send, .recv = recv, .count = count, .dtype = dtype
#define YJ_DATA struct yj_comm *comm, const void *send, void *recv, uint64_t count, enum yj_dtype dtype
#define YJ_BLOCKS .send = send, .recv = recv, .counts = counts, .displs = displs, .dtype = dtype
#define YJ_DATA_V struct yj_comm *comm, const void *send, void *recv, const uint64_t *counts, const uint64_t *displs
#define YJ_WRAP_SUM_0(name, NAME, in_out)                                                                              \
    YJ_WRAP(name, NAME, (YJ_DATA, enum yj_op op), YJ_BUFFERS, .op = op) YJ_WRAP_SUM_##in_out(name, NAME)
#define YJ_WRAP_SUM_ALL_ALL(name, NAME)
#define YJ_WRAP_SUM_ALL_OWN(name, NAME)                                                                                \
    YJ_WRAP(name##_v, NAME, (YJ_DATA_V, enum yj_dtype dtype, enum yj_op op), YJ_BLOCKS, .op = op)
#define YJ_WRAP_SUM_1(name, NAME, in_out)                                                                              \
    YJ_WRAP(name, NAME, (YJ_DATA, enum yj_op op, int root), YJ_BUFFERS, .op = op, .root = root)
#define YJ_WRAP_SAME_0(name, NAME, in_out)                                                                             \
    YJ_WRAP(name, NAME, (YJ_DATA), YJ_BUFFERS) YJ_WRAP(name##_v, NAME, (YJ_DATA_V, enum yj_dtype dtype), YJ_BLOCKS)
#define YJ_WRAP_TURN_0(name, NAME, in_out)                                                                             \
    YJ_WRAP(name, NAME, (YJ_DATA), YJ_BUFFERS)                                                                         \
    YJ_WRAP(name##_v, NAME,                                                                                            \
            (YJ_DATA_V, const uint64_t *recv_counts, const uint64_t *recv_displs, enum yj_dtype dtype), YJ_BLOCKS,     \
            .recv_counts = recv_counts, .recv_displs = recv_displs)
#define YJ_WRAP_HEARD_0(name, NAME, in_out) YJ_WRAP(name, NAME, (struct yj_comm * comm), .count = 0)
#define YJ_WRAP_SAME_1(name, NAME, in_out) YJ_WRAP_##in_out(name, NAME)
#define YJ_WRAP_ROOT_ALL(name, NAME) YJ_WRAP(name, NAME, (YJ_DATA, int root), YJ_BUFFERS, .root = root)
#define YJ_WRAP_OWN_ROOT(name, NAME)                                                                                   \
    YJ_WRAP_ROOT_ALL(name, NAME)                                                                                       \
    YJ_WRAP(name##_v, NAME, (YJ_DATA_V, enum yj_dtype dtype, int root), YJ_BLOCKS, .root = root)
#define YJ_WRAP_ROOT_OWN YJ_WRAP_OWN_ROOT
#define YJ_WRAP_ALL_NONE(name, NAME)                                                                                   \
    YJ_WRAP(name, NAME, (struct yj_comm * comm, const void *send, uint64_t count, enum yj_dtype dtype, int rank),      \
            .send = send, .count = count, .dtype = dtype, .root = rank)
#define YJ_WRAP_NONE_ALL(name, NAME)                                                                                   \
    YJ_WRAP(name, NAME, (struct yj_comm * comm, void *recv, uint64_t count, enum yj_dtype dtype, int rank),            \
            .recv = recv, .count = count, .dtype = dtype, .root = rank)
#define COLLECTIVE(number, NAME, name, in, out, worth, rooted, doc) YJ_WRAP_##worth##_##rooted(name, NAME, in##_##out)
#include <yunjin/collectives.def>
#undef COLLECTIVE

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Collective communication between the ranks of one job. Contract: docs/comm-contract.md. The folder comm/, read in
 * this order: schedule.h algorithms.def   who sends which blocks in which round     verify.c  proves it, all ranks in
 * one process prepare.c                   binds a schedule to sizes, slices, peers  cost.c    chooses it engine.c
 * call.c            moves every byte of every collective; starts and waits transport.h                 how bytes move:
 * lanes of cells            cells.c mem.c shm.c tcp.c reduce.h                    k sources into n destinations, by
 * element type and operator bootstrap.c pmix.c join.c   who is where                              settings.c
 * YUNJIN_COMM control.c watch.c wire.c    heartbeat, goodbye, abort, death, calls that do not meet; authenticated
 * frames comm.c                      this header
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

/* What is called. COUNT: all_reduce, broadcast, send, recv: elements of the buffer; all_gather: elements each rank
 * gives; reduce_scatter: elements each rank gets. In place: all_reduce, broadcast SEND == RECV; all_gather SEND == RECV
 * + rank * COUNT; reduce_scatter RECV == SEND + rank * COUNT. Other overlaps are refused. */
struct yj_call {
    uint32_t size;       /* sizeof(struct yj_call) */
    uint32_t collective; /* enum yj_collective */
    const void *send;
    void *recv;
    uint64_t count;
    const uint64_t *counts; /* one a rank, for the v-collectives; else NULL */
    uint32_t dtype;         /* enum yj_dtype */
    uint32_t wire_dtype;    /* 0: DTYPE */
    uint32_t op;            /* enum yj_op, for reductions */
    int32_t root;           /* broadcast; the peer of send and recv */
    const char *name;       /* for messages and traces, or NULL */
    double deadline;        /* seconds from start; 0: none */
    uint32_t flags;         /* YJ_CALL_... */
    void *queue;            /* NULL: host order */
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

/* Typed wrappers, one a row of collectives.def, each a start and a wait:
 *   yj_all_reduce(comm, send, recv, count, dtype, op)      yj_reduce(..., op, root)      yj_barrier(comm)
 *   yj_all_gather(comm, send, recv, count, dtype)          yj_broadcast(..., dtype, root)
 *   yj_send(comm, send, count, dtype, rank)                yj_recv(comm, recv, count, dtype, rank) */
#define YJ_WRAP(name, NAME, parameters, ...)                                                                           \
    static inline enum yj_status yj_##name parameters {                                                                \
        struct yj_call call = {.size = sizeof call, .collective = YJ_##NAME, __VA_ARGS__};                             \
        return yj_comm_call(comm, &call);                                                                              \
    }
#define YJ_BUFFERS .send = send, .recv = recv, .count = count, .dtype = dtype
#define YJ_DATA struct yj_comm *comm, const void *send, void *recv, uint64_t count, enum yj_dtype dtype
#define YJ_WRAP_SUM_0(name, NAME, in_out) YJ_WRAP(name, NAME, (YJ_DATA, enum yj_op op), YJ_BUFFERS, .op = op)
#define YJ_WRAP_SUM_1(name, NAME, in_out)                                                                              \
    YJ_WRAP(name, NAME, (YJ_DATA, enum yj_op op, int root), YJ_BUFFERS, .op = op, .root = root)
#define YJ_WRAP_SAME_0(name, NAME, in_out) YJ_WRAP(name, NAME, (YJ_DATA), YJ_BUFFERS)
#define YJ_WRAP_TURN_0(name, NAME, in_out) YJ_WRAP(name, NAME, (YJ_DATA), YJ_BUFFERS)
#define YJ_WRAP_HEARD_0(name, NAME, in_out) YJ_WRAP(name, NAME, (struct yj_comm * comm), .count = 0)
#define YJ_WRAP_SAME_1(name, NAME, in_out) YJ_WRAP_##in_out(name, NAME)
#define YJ_WRAP_ROOT_ALL(name, NAME) YJ_WRAP(name, NAME, (YJ_DATA, int root), YJ_BUFFERS, .root = root)
#define YJ_WRAP_OWN_ROOT YJ_WRAP_ROOT_ALL
#define YJ_WRAP_ROOT_OWN YJ_WRAP_ROOT_ALL
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

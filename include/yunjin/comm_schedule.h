/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules without a communicator: what the algorithms of libyunjin-comm do, proof that they are right, and what they
 * would cost on a machine. Nothing here sends a byte. Collectives and algorithms are named as in
 * <yunjin/collectives.def> and comm/algorithms.def ("all_reduce", "ring"). The text form of schedules is described in
 * comm/text.h.
 */
#ifndef YUNJIN_COMM_SCHEDULE_H
#define YUNJIN_COMM_SCHEDULE_H

#include <yunjin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The rows, by INDEX from 0 on; false: there are no more. */
struct yj_schedule_name {
    const char *collective, *algorithm, *doc;
};
YJ_EXPORT bool yj_schedule_row(int index, struct yj_schedule_name *row);

/* --- proof --- */

/* One algorithm on one number of ranks. STATUS: YJ_OK proven, YJ_ERR_UNSUPPORTED the row does not serve that number,
 * YJ_ERR_INPUT wrong (TEXT names round, rank and step), else the machine failed. */
struct yj_schedule_case {
    uint32_t size; /* sizeof(struct yj_schedule_case) */
    int32_t ranks;
    const char *collective, *algorithm;
    enum yj_status status;
    const char *text;
    int32_t rounds;
    uint64_t messages, blocks; /* sent by all ranks together */
    double seconds;            /* the proof took */
};
typedef void yj_schedule_case_fn(void *user, const struct yj_schedule_case *c);

/* Proves the rows of COLLECTIVE and ALGORITHM (NULL: all) for RANKS ranks: eager, rendezvous and put, apart and in
 * place, several roots, nodes of every size. Calls FN for each row. YJ_ERR_INPUT: no such row; a failed proof is not an
 * error of this call. */
YJ_EXPORT enum yj_status yj_schedule_verify(const char *collective, const char *algorithm, int ranks,
                                            yj_schedule_case_fn *fn, void *user);
/* The same for one schedule in text; NAME is for messages. YJ_ERR_INPUT: it cannot be parsed. */
YJ_EXPORT enum yj_status yj_schedule_verify_text(const char *name, const char *source, yj_schedule_case_fn *fn,
                                                 void *user);
/* What all ranks do, round by round, RANKS_PER_NODE (0: all) on a node. *TEXT is freed with free(). */
YJ_EXPORT enum yj_status yj_schedule_print(const char *collective, const char *algorithm, int ranks, int ranks_per_node,
                                           int root, char **text);

/* --- cost --- */

struct yj_link {
    double overhead_s, latency_s, byte_s; /* for each message; until it is seen at the other end; for each byte */
    int32_t by_cpu;                       /* the receiver's processor moves the bytes */
};
struct yj_machine {
    uint32_t size;            /* sizeof(struct yj_machine) */
    int32_t ranks_per_node;   /* consecutive ranks; 0: all on one node */
    struct yj_link node, net; /* between ranks of one node; of two */
    double reduce_byte_s, copy_byte_s, round_s;
};
/* Plain figures of the day, not measured on this machine. */
YJ_EXPORT void yj_machine_default(struct yj_machine *machine);

enum {
    YJ_SCHEDULE_ORDERED = 1,   /* the operator does not commute */
    YJ_SCHEDULE_CANONICAL = 2, /* the bits must not depend on algorithm or size of the message */
    YJ_SCHEDULE_IN_PLACE = 4,
};
struct yj_schedule_query {
    uint32_t size; /* sizeof(struct yj_schedule_query) */
    int32_t ranks;
    const char *collective;
    uint64_t bytes; /* of the whole vector: all blocks together */
    uint32_t flags; /* YJ_SCHEDULE_... */
    int32_t max_slices;
    const struct yj_machine *machine; /* NULL: the default */
    const char *tuning;               /* NULL, or a tuning file (docs/comm.md) that may overrule the cost */
};
struct yj_schedule_option {
    const char *algorithm, *doc;
    const char *refused; /* NULL, or why it cannot be taken; then the rest is 0 */
    double time_s;
    int32_t at_least; /* given up: TIME_S is a lower bound */
    int32_t slices, rounds;
    int32_t line; /* of the tuning file, if that is why it is taken; else 0 */
};
/* All rows of a collective with their cost; *BEST is the index of the one that would be taken. ROOM: of OPTION (32 are
 * enough). */
YJ_EXPORT enum yj_status yj_schedule_explain(const struct yj_schedule_query *query, struct yj_schedule_option *option,
                                             int room, int *n, int *best);
/* Time over all ranks, not only the critical one. ALGORITHM NULL: the best. *OPTION tells which, time, slices, rounds.
 */
YJ_EXPORT enum yj_status yj_schedule_simulate(const struct yj_schedule_query *query, const char *algorithm,
                                              struct yj_schedule_option *option);
/* The same for a schedule in text; QUERY's collective and ranks are not looked at. */
YJ_EXPORT enum yj_status yj_schedule_simulate_text(const struct yj_schedule_query *query, const char *name,
                                                   const char *source, double *time_s);

#ifdef __cplusplus
}
#endif
#endif

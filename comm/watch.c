/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a call does not go on: deaths, departures, aborts, and ranks that are in different calls. One idea: nothing is
 * checked while data move; only when a communicator has stood still for a second does its rank ask the one it waits for
 * what call it is in, and whoever sees two different calls of one number names both.
 */
#include "comm/check.h"
#include "comm/control.h"
#include "comm/reduce.h"
#include "comm/schedule.h"

#include <stdarg.h>
#include <stdio.h>

uint32_t card_hash(const struct card *card) {
    struct {
        uint32_t collective, dtype, op;
        int32_t root;
        uint64_t count, counts;
    } what = {card->collective, card->dtype, card->op, card->root, card->count, card->counts};
    if (card->counts == CARD_COUNTS_PRIVATE) what.count = 0;
    return (uint32_t)hash_bytes(&what, sizeof what, 1);
}

void card_print(const struct card *card, char *text, size_t room) {
    const struct collective *collective = collective_find((int)card->collective);
    const char *name = collective ? collective->name : "unknown collective";
    size_t n = (size_t)snprintf(text, room, "%s%s(", name, card->counts ? "_v" : "");
    const char *comma = "";
    if (card->dtype && n < room)
        n += (size_t)snprintf(text + n, room - n, "%s", yj_dtype_name((enum yj_dtype)card->dtype)), comma = ", ";
    if (card->op && n < room)
        n += (size_t)snprintf(text + n, room - n, "%s%s", comma, reduce_op_name(card->op)), comma = ", ";
    if (collective && collective->rooted && n < room)
        n += (size_t)snprintf(text + n, room - n, "%s%s %d", comma,
                              card->collective == YJ_SEND || card->collective == YJ_RECV ? "rank" : "root", card->root),
            comma = ", ";
    if (card->dtype && n < room)
        n += (size_t)snprintf(text + n, room - n, "%s%llu elements%s", comma, (unsigned long long)card->count,
                              card->counts == CARD_COUNTS_PRIVATE ? " here" : "");
    if (card->counts > CARD_COUNTS_PRIVATE && n < room)
        n += (size_t)snprintf(text + n, room - n, ", counts %08x", (unsigned)(card->counts >> 32));
    if (n < room) snprintf(text + n, room - n, card->name[0] ? ") '%s'" : ")%s", card->name);
}

/* --- failure --- */

void comm_fail(struct yj_comm *comm, enum yj_status status, const char *format, ...) {
    int none = YJ_OK, writing = -1;
    if (!atomic_compare_exchange_strong(&comm->failed, &none, writing)) return;
    va_list args;
    va_start(args, format);
    vsnprintf(comm->failure_text, sizeof comm->failure_text, format, args);
    va_end(args);
    atomic_store_explicit(&comm->failed, status, memory_order_release);
}

enum yj_status comm_failure(struct yj_comm *comm) {
    int status = atomic_load_explicit(&comm->failed, memory_order_acquire);
    if (status <= 0) return YJ_OK;
    record_failure(comm);
    return report((enum yj_status)status, "%s", comm->failure_text);
}

enum yj_status comm_given_up(struct yj_comm *comm, uint64_t sequence, const struct card *what) {
    char call[160];
    uint64_t cause = atomic_load(&comm->failed_call);
    enum yj_status status = comm_failure(comm);
    if (status != YJ_ERR_MISMATCH || !cause || cause == sequence || is_pair(what->collective)) return status;
    card_print(what, call, sizeof call);
    return report_in(status, "call %llu, %s, was given up", (unsigned long long)sequence, call);
}

void comm_tell(struct yj_comm *comm, enum yj_status status, const char *text) {
    struct said said = {.kind = SAID_ABORT, .status = status, .to = -1, .comm = comm->id};
    snprintf(said.text, sizeof said.text, "rank %d reports: %s", comm->world->rank, text);
    control_say(comm->world, &said);
}

int comm_rank_of(const struct yj_comm *comm, int member) {
    for (int r = 0; r < comm->size; r++)
        if (comm->member[r] == member) return r;
    return -1;
}

struct yj_comm *world_comm(struct world *world, uint64_t id) {
    struct yj_comm *comm = world->comms;
    while (comm && comm->id != id)
        comm = comm->next;
    return comm;
}

void world_member_gone(struct world *world, int member, enum member_state state, const char *how) {
    struct member *m = &world->member[member];
    pthread_mutex_lock(&world->lock);
    m->state = state;
    for (struct yj_comm *comm = world->comms; comm && state == MEMBER_DEAD; comm = comm->next)
        if (comm_rank_of(comm, member) >= 0)
            comm_fail(comm, YJ_ERR_PEER, "rank %d (pid %d, host %s) is dead: %s", member, m->pid, m->name, how);
    pthread_mutex_unlock(&world->lock);
}

/* --- what other ranks say --- */

/* Under world->lock. */
static void fail_call(struct yj_comm *comm, uint64_t sequence, const char *text) {
    if (!atomic_load(&comm->failed)) atomic_store(&comm->failed_call, sequence);
    comm_fail(comm, YJ_ERR_MISMATCH, "%s", text);
}

/* WHAT they disagree on, and both calls: that of the rank that asked, and MINE. */
static void mismatch(struct world *world, struct yj_comm *comm, const char *what, const struct said *query,
                     const struct card *mine) {
    char a[160], b[160];
    bool first = query->from < world->rank;
    card_print(first ? &query->card : mine, a, sizeof a);
    card_print(first ? mine : &query->card, b, sizeof b);
    struct said said = {.kind = SAID_ABORT, .status = YJ_ERR_MISMATCH, .to = -1, .comm = comm->id};
    snprintf(said.text, sizeof said.text,
             "ranks called different %s %llu of their communicator: rank %d %s, rank %d %s", what,
             (unsigned long long)query->sequence, first ? query->from : world->rank, a,
             first ? world->rank : query->from, b);
    said.sequence = query->kind == SAID_QUERY ? query->sequence : 0;
    fail_call(comm, said.sequence, said.text);
    control_say(world, &said);
}

/* A transfer that did not fit its receiver; the send has not ended, so it is remembered here. */
static void answer_pair(struct world *world, struct yj_comm *comm, const struct said *query) {
    struct card mine;
    if (comm && record_find_pair(&comm->recorder, YJ_SEND, comm_rank_of(comm, query->from), query->sequence, &mine))
        mismatch(world, comm, "halves as transfer", query, &mine);
}

static void answer(struct world *world, struct yj_comm *comm, const struct said *query) {
    struct said said = {.kind = SAID_REPORT, .to = query->from, .comm = query->comm, .sequence = query->sequence};
    struct card mine;
    if (comm) {
        said.started = atomic_load(&comm->started);
        said.known = said.started >= query->sequence;
        if (said.known && record_find(&comm->recorder, query->sequence, &mine) &&
            card_hash(&mine) != card_hash(&query->card)) {
            mismatch(world, comm, "collectives as call", query, &mine);
            return;
        }
        if (said.started && record_find(&comm->recorder, said.started, &mine)) said.card = mine;
    } else {
        said.status = 1;
    }
    control_say(world, &said);
}

static void note_late(struct yj_comm *comm, const struct said *said) {
    char call[160] = "nothing";
    if (said->known) {
        comm->late_text[0] = 0;
        return;
    }
    if (said->status) {
        snprintf(comm->late_text, sizeof comm->late_text, "rank %d has no such communicator (closed, or not split yet)",
                 said->from);
        return;
    }
    if (said->started) card_print(&said->card, call, sizeof call);
    snprintf(comm->late_text, sizeof comm->late_text, "rank %d has not started call %llu; its last is call %llu, %s",
             said->from, (unsigned long long)said->sequence, (unsigned long long)said->started, call);
}

void control_hear(struct world *world, const struct said *said) {
    pthread_mutex_lock(&world->lock);
    struct yj_comm *comm = world_comm(world, said->comm);
    switch (said->kind) {
    case SAID_QUERY:
        answer(world, comm, said);
        break;
    case SAID_QUERY_PAIR:
        answer_pair(world, comm, said);
        break;
    case SAID_ABORT:
        if (comm && said->status == YJ_ERR_MISMATCH)
            fail_call(comm, said->sequence, said->text);
        else if (comm)
            comm_fail(comm, (enum yj_status)said->status, "%s", said->text);
        break;
    case SAID_REPORT:
        if (comm) note_late(comm, said);
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&world->lock);
}

/* --- standing still --- */

static void ask(struct world *world, struct yj_comm *comm, uint64_t sequence, int only) {
    struct said said = {.kind = SAID_QUERY, .comm = comm->id, .sequence = sequence};
    if (!record_find(&comm->recorder, sequence, &said.card)) return;
    for (int r = 0; r < comm->size; r++) {
        if (r == comm->rank || (only >= 0 && r != only)) continue;
        said.to = comm->member[r];
        control_say(world, &said);
    }
}

static void ask_odd(struct world *world, struct yj_comm *comm) {
    int peer = atomic_load(&comm->odd_peer);
    uint64_t sequence = atomic_load(&comm->odd_sequence);
    struct said said = {.kind = SAID_QUERY_PAIR, .to = comm->member[peer], .comm = comm->id, .sequence = sequence};
    if (!atomic_load(&comm->odd_pair))
        ask(world, comm, sequence, peer);
    else if (record_find_pair(&comm->recorder, YJ_RECV, peer, sequence, &said.card))
        control_say(world, &said);
}

/* Only while somebody waits: a rank that computes between start and wait stands still with good reason. */
static void look(struct world *world, struct yj_comm *comm, double now) {
    int waits = atomic_load_explicit(&comm->waiting_for, memory_order_relaxed);
    uint64_t moves = atomic_load_explicit(&comm->moves, memory_order_relaxed);
    if (atomic_load(&comm->failed)) return;
    if (atomic_exchange(&comm->odd, false)) ask_odd(world, comm);
    if (waits < 0 || moves != comm->stall.moves || comm->stall.since == 0) {
        comm->stall.moves = moves, comm->stall.since = now;
        comm->stall.asked = comm->stall.warned = false;
        comm->late_text[0] = 0;
        return;
    }
    double still = now - comm->stall.since;
    uint64_t sequence = atomic_load(&comm->ended) + 1;
    double silence = (double)world->settings.silence / 1000;
    if (!comm->stall.asked && still >= silence) {
        comm->stall.asked = true;
        ask(world, comm, sequence, waits);
    } else if (comm->stall.asked && !comm->stall.warned && still >= 2 * silence) {
        comm->stall.warned = true;
        if (comm->late_text[0]) log_line(YJ_LOG_WARN, "comm: %.1f s without progress: %s", still, comm->late_text);
    }
}

void control_tick(struct world *world) {
    double now = time_now();
    pthread_mutex_lock(&world->lock);
    for (struct yj_comm *comm = world->comms; comm; comm = comm->next)
        look(world, comm, now);
    pthread_mutex_unlock(&world->lock);
}

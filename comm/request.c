/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls: start, test, wait, prepare. One idea: a plain call is a look-up in a small cache of prepared ones,
 * so that both ways run the same code.
 */
#include "comm/engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_CACHED = 64 };

static bool same_table(const struct yj_prepared *p, const struct checked *k) {
    if (!p->table || !k->table) return !p->table && !k->table;
    return !memcmp(p->table, k->table, (size_t)p->comm->size * TABLE_ROWS * sizeof *k->table);
}

static bool fits(const struct yj_prepared *p, const struct checked *k) {
    const struct yj_call *call = k->call;
    bool data = p->collective->worth != WORTH_HEARD;
    return p->card.collective == call->collective &&
           (!data || (p->card.dtype == call->dtype && (k->table || p->card.count == call->count))) &&
           (p->card.op == call->op || !p->card.op) && (p->card.root == call->root || !p->collective->rooted) &&
           p->flags == call->flags && p->in_place == k->in_place && same_table(p, k);
}

/* Removes the oldest idle call when the cache is full. */
static void make_room(struct engine *e) {
    struct yj_prepared **oldest = NULL;
    for (struct yj_prepared **at = &e->cache; *at; at = &(*at)->next)
        if (!(*at)->active) oldest = at;
    if (e->ncache < MOST_CACHED || !oldest) return;
    struct yj_prepared *p = *oldest;
    *oldest = p->next;
    if (e->last == p) e->last = NULL;
    e->ncache--, e->nprepared--;
    prepare_free(p);
}

/* FLIGHT has room for all prepared calls, so that start need not allocate. */
static enum yj_status flight_room(struct engine *e) {
    if (e->nprepared < e->flight_room) return YJ_OK;
    int room = 2 * e->flight_room + 16;
    engine_lock(e);
    struct yj_prepared **more = realloc(e->flight, (size_t)room * sizeof *more);
    if (more) e->flight = more, e->flight_room = room;
    engine_unlock(e);
    return more ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory for a call");
}

static enum yj_status prepare(struct yj_comm *comm, const struct checked *k, struct yj_prepared **prepared) {
    TRY(flight_room(comm->engine));
    TRY(prepare_call(comm, k, prepared));
    comm->engine->nprepared++;
    return YJ_OK;
}

static enum yj_status cached(struct yj_comm *comm, const struct checked *k, struct yj_prepared **prepared) {
    struct engine *e = comm->engine;
    struct yj_prepared *p = e->last;
    const char *name = k->call->name;
    if (!p || p->active || !fits(p, k)) {
        p = e->cache;
        while (p && (p->active || !fits(p, k)))
            p = p->next;
    }
    if (!p) {
        make_room(e);
        TRY(prepare(comm, k, &p));
        p->next = e->cache;
        e->cache = p;
        e->ncache++;
    }
    p->deadline = k->call->deadline;
    if (name || p->card.name[0]) strncpy(p->card.name, name ? name : "", sizeof p->card.name - 1);
    e->last = p;
    e->last_call.size = 0;
    if (!name && !k->table && k->call != &k->wide) e->last_call = *k->call; /* nothing that it points to is looked at */
    *prepared = p;
    return YJ_OK;
}

/* The prepared call for CALL; the same call as the last one needs no second look. */
static enum yj_status find(struct yj_comm *comm, const struct yj_call *call, struct yj_prepared **prepared) {
    struct engine *e = comm->engine;
    struct checked k;
    if (e->last && !e->last->active && call->size == sizeof *call && !memcmp(call, &e->last_call, sizeof *call)) {
        *prepared = e->last;
        return YJ_OK;
    }
    TRY(check_call(comm, call, &k));
    if (atomic_load_explicit(&comm->failed, memory_order_relaxed)) return comm_failure(comm);
    return cached(comm, &k, prepared);
}

enum yj_status yj_comm_start(struct yj_comm *comm, const struct yj_call *call, struct yj_request **request) {
    struct yj_prepared *p;
    TRY(find(comm, call, &p));
    TRY(engine_start(p, call->send, call->recv));
    *request = &p->request;
    return YJ_OK;
}

enum yj_status yj_comm_wait(struct yj_request *request) {
    return engine_wait(request->call);
}

enum yj_status yj_comm_test(struct yj_request *request, bool *done) {
    struct yj_prepared *p = request->call;
    struct yj_comm *comm = p->comm;
    if (!atomic_load_explicit(&p->done, memory_order_acquire)) engine_progress(comm);
    *done = atomic_load_explicit(&p->done, memory_order_acquire);
    if (*done) {
        p->active = false;
        atomic_store_explicit(&comm->waiting_for, -1, memory_order_relaxed);
        return YJ_OK;
    }
    engine_check(p, time_now());
    atomic_store_explicit(&comm->waiting_for, comm->engine->blocked_on, memory_order_relaxed);
    *done = atomic_load_explicit(&comm->failed, memory_order_relaxed) > 0;
    return *done ? comm_given_up(comm, p->sequence, &p->card) : YJ_OK;
}

enum yj_status yj_comm_call(struct yj_comm *comm, const struct yj_call *call) {
    struct yj_prepared *p;
    TRY(find(comm, call, &p));
    return engine_call(p, call->send, call->recv);
}

enum yj_status yj_comm_progress(struct yj_comm *comm) {
    engine_progress(comm);
    world_progress(comm->world, comm);
    return comm_failure(comm);
}

enum yj_status yj_comm_prepare(struct yj_comm *comm, const struct yj_call *call, struct yj_prepared **prepared) {
    struct checked k;
    TRY(check_call(comm, call, &k));
    TRY(prepare(comm, &k, prepared));
    (*prepared)->kept = true;
    return YJ_OK;
}

enum yj_status yj_prepared_start(struct yj_prepared *p, const void *send, void *recv, struct yj_request **request) {
    if (p->bytes && p->in_place != check_in_place(p->comm, p->collective, p->card.root, p->at_bytes, send, recv))
        return report(YJ_ERR_INPUT, "%s: it was prepared %s", p->collective->name,
                      p->in_place ? "in place" : "for separate buffers");
    TRY(engine_start(p, send, recv));
    *request = &p->request;
    return YJ_OK;
}

void yj_prepared_close(struct yj_prepared *p) {
    if (!p) return;
    struct engine *e = p->comm->engine;
    engine_lock(e);
    int n = 0;
    for (int i = 0; i < e->nflight; i++)
        if (e->flight[i] != p) e->flight[n++] = e->flight[i];
    e->nflight = n;
    e->nprepared--;
    engine_unlock(e);
    prepare_free(p);
}

enum yj_status yj_comm_ready(struct yj_request *request, uint64_t count) {
    struct yj_prepared *p = request->call;
    if (!(p->flags & YJ_CALL_READY)) return report(YJ_ERR_INPUT, "ready: the call was started without YJ_CALL_READY");
    uint64_t bytes;
    if (__builtin_mul_overflow(count, p->element_bytes, &bytes)) bytes = UINT64_MAX;
    if (bytes > atomic_load(&p->ready)) atomic_store_explicit(&p->ready, bytes, memory_order_release);
    if (p->nrunners) return YJ_OK;
    engine_lock(p->comm->engine);
    if (bytes >= p->part_bytes[SIDE_IN] && !atomic_load(&p->done)) engine_alone(p);
    engine_unlock(p->comm->engine);
    return YJ_OK;
}

enum yj_status yj_comm_explain(struct yj_comm *comm, const struct yj_call *call, const char **text) {
    static _Thread_local char line[512];
    struct yj_prepared *p;
    char what[160];
    struct checked k;
    TRY(check_call(comm, call, &k));
    TRY(cached(comm, &k, &p));
    card_print(&p->card, what, sizeof what);
    const struct transport *t =
        p->nrounds && p->round[0].nouts + p->round[0].nins ? p->message[p->round[0].out].channel->transport : NULL;
    snprintf(line, sizeof line,
             "%s: %s, %d rounds, %d slices of %zu bytes, %s lanes%s, %s%s, transport %s, kernels '%s'", what,
             p->row ? p->row->name : "nothing to send", p->nrounds, p->layout.slices,
             p->bytes / (size_t)(p->layout.slices ? p->layout.slices : 1), p->small ? "small" : "large",
             p->line ? " (one cache line)" : "",
             p->staged     ? "in place, by a copy"
             : p->in_place ? "in place"
                           : "out of place",
             p->stream ? ", written past the cache" : "", t ? t->name : "none", comm->engine->reduce->name);
    *text = line;
    return YJ_OK;
}

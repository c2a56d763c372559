/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a prepared call and waiting for it. One idea: waiting looks at what is slow (the clock, other communicators,
 * deadlines) only when nothing has moved for a while, and gives the core away the sooner the more ranks share it.
 */
#include "comm/control.h"
#include "comm/engine.h"
#include "comm/shm.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

void engine_lock(struct engine *e) {
    while (atomic_exchange_explicit(&e->busy, true, memory_order_acquire))
        sched_yield();
}

void engine_unlock(struct engine *e) {
    atomic_store_explicit(&e->busy, false, memory_order_release);
}

/* Tickets for the lanes of P, in the order of starts, which is the same on all ranks. */
static void take_tickets(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    struct engine *e = comm->engine;
    bool pair = is_pair(p->card.collective);
    int side = p->card.collective == YJ_RECV,
        first = p->small && !pair ? (int)(e->small_calls++ % SMALL_LANES) : FIRST_LARGE;
    for (int i = 0; i < p->nrunners; i++) {
        struct runner *r = &p->runner[i];
        r->lane = pair ? PAIR_LANE : first + i;
        r->turn = pair ? &e->pair_turn[side][p->card.root] : &e->turn[r->lane];
        r->ticket = pair ? e->pair_given[side][p->card.root]++ : e->given[r->lane]++;
        r->slice = i, r->stride = p->nrunners, r->round = 0;
        r->entered = r->through = false;
    }
    if (pair)
        p->sequence = p->runner[0].ticket + 1;
    else
        p->sequence = atomic_load_explicit(&comm->started, memory_order_relaxed) + 1;
}

static bool lent(const struct yj_prepared *p, const void *memory, int side) {
    return !p->small && memory && shm_holds(p->comm->world, memory, p->part_bytes[side]);
}

static void bind(struct yj_prepared *p, const void *send, void *recv) {
    const struct collective *c = p->collective;
    int rank = p->comm->rank, root = p->card.root;
    p->base[SPACE_IN] = holds(c->in, rank, root) ? (char *)send : NULL;
    p->base[SPACE_OUT] = holds(c->out, rank, root) ? recv : NULL;
    p->base[SPACE_TMP] = p->tmp;
    if (p->stage) p->base[SPACE_IN] = memcpy(p->stage, send, p->part_bytes[SIDE_IN]);
    for (int space = 0; space < SPACES; space++)
        p->layout.part[space].base = p->base[space];
    p->lends[SPACE_IN] = !p->staged && lent(p, p->base[SPACE_IN], SIDE_IN);
    p->lends[SPACE_OUT] = lent(p, p->base[SPACE_OUT], SIDE_OUT);
}

/* One rank, or nothing to move. With counts, the one block may lie away from the start of a buffer. */
void engine_alone(struct yj_prepared *p) {
    char *from = p->base[SPACE_IN], *to = p->base[SPACE_OUT];
    if (p->table && from && p->collective->in != HOLD_OWN) from += p->table[TABLE_DISPLS + SIDE_IN] * p->element_bytes;
    if (p->table && to && p->collective->out != HOLD_OWN) to += p->table[TABLE_DISPLS + SIDE_OUT] * p->element_bytes;
    if (p->bytes && from && to && from != to) memmove(to, from, p->bytes);
    call_done(p);
}

/* What is recorded after the message of a short call has gone costs nothing while that is under way. */
static void note(struct yj_prepared *p) {
    record_start(p);
    if (!is_pair(p->card.collective)) atomic_store_explicit(&p->comm->started, p->sequence, memory_order_release);
}

static void begin(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    struct engine *e = comm->engine;
    take_tickets(p);
    if (p->nrunners == 0) {
        note(p);
        if (!(p->flags & YJ_CALL_READY) || p->part_bytes[SIDE_IN] == 0) engine_alone(p);
        if (!e->nflight) atomic_store_explicit(&comm->ended, p->sequence, memory_order_relaxed);
        return;
    }
    e->flight[e->nflight++] = p;
    p->in_flight = true;
    if (p->line) {
        engine_line_post(p);
        note(p);
    } else {
        note(p);
        engine_look(comm);
    }
}

static enum yj_status may_start(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    if (p->active) return report(YJ_ERR_INPUT, "%s: its last request has not ended", p->collective->name);
    if (!*comm->world->same_process)
        return report(YJ_ERR_UNSUPPORTED, "%s: this process was forked after yj_comm_open", p->collective->name);
    return atomic_load_explicit(&comm->failed, memory_order_relaxed) ? comm_failure(comm) : YJ_OK;
}

static void start(struct yj_prepared *p, const void *send, void *recv) {
    bind(p, send, recv);
    p->active = true;
    p->posted = false;
    p->odd_since = 0;
    atomic_store_explicit(&p->done, false, memory_order_relaxed);
    atomic_store_explicit(&p->ready, 0, memory_order_relaxed);
    p->until = p->deadline > 0 ? time_now() + p->deadline : 0;
    engine_lock(p->comm->engine);
    begin(p);
}

enum yj_status engine_start(struct yj_prepared *p, const void *send, void *recv) {
    TRY(may_start(p));
    start(p, send, recv);
    engine_unlock(p->comm->engine);
    return YJ_OK;
}

/* --- waiting --- */

struct waiting {
    uint32_t looks;
    double since;
};

static inline void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void give_up_core(struct yj_comm *comm, double waited) {
    struct engine *e = comm->engine;
    if (waited < 0.002 * (comm->world->crowded ? 1 : 25)) {
        sched_yield();
    } else if (e->nconnected) {
        e->connected[0]->transport->sleep(e->connected, e->nconnected, 0.001);
    } else {
        struct timespec nap = {0, waited < 1 ? 50000 : 200000};
        nanosleep(&nap, NULL);
    }
}

static void deadline_passed(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    int late = comm->engine->blocked_on;
    char call[160];
    card_print(&p->card, call, sizeof call);
    pthread_mutex_lock(&comm->world->lock);
    comm_fail(comm, YJ_ERR_TIMEOUT, "%s did not end within %g s: it waits for rank %d%s%s", call, p->deadline,
              late >= 0 ? comm->member[late] : -1, comm->late_text[0] ? "; " : "", comm->late_text);
    pthread_mutex_unlock(&comm->world->lock);
    comm_tell(comm, YJ_ERR_TIMEOUT, comm->failure_text);
}

void engine_check(struct yj_prepared *p, double now) {
    static const double grace = 0.25;
    struct yj_comm *comm = p->comm;
    struct engine *e = comm->engine;
    int peer = e->blocked_on;
    if (p->until > 0 && now > p->until) deadline_passed(p);
    const struct member *m = peer >= 0 ? &comm->world->member[comm->member[peer]] : NULL;
    if (!m || m->state != MEMBER_LEFT) {
        e->left_since = 0;
    } else if (e->left_since == 0) {
        e->left_since = now;
        e->left_looks = 0;
    } else if (++e->left_looks > 8 && now - e->left_since > grace) {
        char call[160];
        card_print(&p->card, call, sizeof call);
        comm_fail(comm, YJ_ERR_PEER, "rank %d (pid %d, host %s) has closed its communicator, but %s waits for it",
                  comm->member[peer], m->pid, m->name, call);
    }
}

/* Nothing has moved. Spins, then yields, then sleeps; now and then looks at what is slow to look at. */
static void relax(struct yj_prepared *p, struct waiting *w) {
    struct yj_comm *comm = p->comm;
    struct world *world = comm->world;
    w->looks++;
    if (!world->crowded && w->looks < 128) return;
    pause_core();
    bool slow = w->looks % 64 == 0 || world->crowded;
    if (!slow) return;
    double now = time_now();
    if (w->since == 0) w->since = now;
    double waited = now - w->since;
    atomic_store_explicit(&comm->waiting_for, comm->engine->blocked_on, memory_order_relaxed);
    if (w->looks % 1024 == 0 || waited > 0.001) world_progress(world, comm);
    engine_check(p, now);
    if (world->crowded || waited * 1e6 > (double)world->settings.spin) give_up_core(comm, waited);
}

/* The call of one cache line, alone in flight: look at nothing else for a while. Under the lock. */
static void line_wait(struct yj_prepared *p) {
    struct engine *e = p->comm->engine;
    if (!p->line || p->comm->world->crowded || e->nconnected || e->nflight != 1 || e->flight[0] != p) return;
    for (int i = 0; i < 2000; i++)
        if (engine_line_run(p)) {
            comm_moved(p->comm);
            call_done(p);
            engine_sweep(p->comm);
            return;
        }
}

static enum yj_status wait_for(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    struct waiting w = {0};
    while (!atomic_load_explicit(&p->done, memory_order_acquire)) {
        if (atomic_load_explicit(&comm->failed, memory_order_relaxed) > 0) break;
        if (engine_progress(comm))
            w.looks = 0, w.since = 0;
        else
            relax(p, &w);
    }
    if (w.since != 0) atomic_store_explicit(&comm->waiting_for, -1, memory_order_relaxed);
    if (!atomic_load_explicit(&p->done, memory_order_acquire)) return comm_given_up(comm, p->sequence, &p->card);
    p->active = false;
    return YJ_OK;
}

enum yj_status engine_wait(struct yj_prepared *p) {
    if (p->line) {
        engine_lock(p->comm->engine);
        line_wait(p);
        engine_unlock(p->comm->engine);
    }
    return wait_for(p);
}

enum yj_status engine_call(struct yj_prepared *p, const void *send, void *recv) {
    TRY(may_start(p));
    start(p, send, recv);
    line_wait(p);
    engine_unlock(p->comm->engine);
    return wait_for(p);
}

/* --- open and close --- */

enum yj_status engine_open(struct yj_comm *comm) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e) return report(YJ_ERR_MEMORY, "out of memory for a communicator");
    comm->engine = e;
    e->reduce = reduce_table_best();
    e->blocked_on = -1;
    bool failed = false;
    for (int side = 0; side < 2; side++) {
        e->pair_given[side] = calloc((size_t)comm->size, sizeof **e->pair_given);
        e->pair_turn[side] = calloc((size_t)comm->size, sizeof **e->pair_turn);
        failed |= !e->pair_given[side] || !e->pair_turn[side];
    }
    e->connected = calloc((size_t)comm->size, sizeof *e->connected);
    return failed || !e->connected ? report(YJ_ERR_MEMORY, "out of memory for a communicator") : YJ_OK;
}

void engine_close(struct yj_comm *comm) {
    struct engine *e = comm->engine;
    if (!e) return;
    while (e->cache) {
        struct yj_prepared *p = e->cache;
        e->cache = p->next;
        prepare_free(p);
    }
    for (int side = 0; side < 2; side++)
        free(e->pair_given[side]), free(e->pair_turn[side]);
    free(e->connected), free(e->flight), free(e->table);
    free(e);
    comm->engine = NULL;
}

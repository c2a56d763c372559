/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: no byte of a collective moves except here. Runners take slices through the rounds of a prepared call: a
 * round posts its messages as cells are free, takes what has come, and ends when both are done; then the next round
 * starts. A lane belongs to one runner until it is through, in the order of starts, so the oldest call's lowest
 * unfinished slice always runs. What a round makes and the next one sends is written to its cell in the same pass.
 */
#include "comm/engine.h"
#include "comm/control.h"

static inline char *address(const struct yj_prepared *p, const struct piece *piece, int slice, size_t *bytes) {
    if (p->layout.slices > 1) return layout_slice(&p->layout, piece->space, piece->block, slice, bytes);
    *bytes = piece->bytes;
    return p->base[piece->space] + piece->offset;
}

enum { LEAST_LENT = 4096 }; /* bytes: below, a copy costs less than waiting for the peer */

static inline size_t length(const struct yj_prepared *p, const struct piece *piece, int slice) {
    return p->layout.slices > 1 ? layout_slice_bytes(&p->layout, piece->space, piece->block, slice) : piece->bytes;
}

/* A producer may still be at work on IN. */
static inline bool there(const struct yj_prepared *p, const struct piece *piece, int slice) {
    if (!(p->flags & YJ_CALL_READY) || piece->space != SPACE_IN) return true;
    size_t bytes;
    const char *at = address(p, piece, slice, &bytes);
    return (size_t)(at - p->base[SPACE_IN]) + bytes <= atomic_load_explicit(&p->ready, memory_order_acquire);
}

static struct envelope envelope_of(const struct yj_prepared *p, const struct runner *r, size_t bytes) {
    return (struct envelope){(uint32_t)bytes, p->hash, (uint32_t)p->sequence, (uint16_t)r->round, (uint16_t)r->slice};
}

/* Remembers what the oldest call waits for. */
static inline void blocked(const struct yj_prepared *p, const struct message *m) {
    struct engine *e = p->comm->engine;
    if (e->blocked_on < 0) e->blocked_on = m->peer;
}

/* --- messages that go --- */

static inline size_t cell_bytes(const struct yj_prepared *p, const struct runner *r) {
    return lane_cell_bytes((size_t)p->comm->world->settings.cell, r->lane);
}

/* The next fragment of a message: pieces FIRST..*END, as many as fit in a cell, at least one. */
static size_t fragment_out(const struct yj_prepared *p, const struct runner *r, const struct message *m, int first,
                           int *end) {
    size_t bytes = 0, room = cell_bytes(p, r);
    int i = first;
    for (; i < m->n; i++) {
        size_t n = length(p, &p->out[m->first + i], r->slice);
        if (i > first && bytes + n > room) break;
        bytes += n;
    }
    *end = i;
    return bytes;
}

static size_t fragment_in(const struct yj_prepared *p, const struct runner *r, const struct message *m, int first,
                          int *end) {
    size_t bytes = 0, room = cell_bytes(p, r);
    int i = first;
    for (; i < m->n; i++) {
        size_t n = length(p, &p->incoming[m->first + i].to, r->slice);
        if (i > first && bytes + n > room) break;
        bytes += n;
    }
    *end = i;
    return bytes;
}

static bool pieces_there(const struct yj_prepared *p, const struct runner *r, const struct message *m, int first,
                         int end) {
    for (int i = first; i < end; i++)
        if (!there(p, &p->out[m->first + i], r->slice)) return false;
    return true;
}

/* Is the next fragment of a message one run of memory that the peer can read where it is? What is streamed is better
 * taken from a cell, where it is still in the cache. */
static bool may_lend(const struct yj_prepared *p, int round, const struct message *m, size_t bytes) {
    const struct piece *piece = &p->out[m->first];
    const struct transport *t = m->channel->transport;
    if (m->n != 1 || !t->lend || bytes < LEAST_LENT || p->round[round].hazard) return false;
    return t->lends_all || (p->lends[piece->space] && !(p->stream && piece->space == SPACE_OUT));
}

static bool lend_fragment(struct yj_prepared *p, struct runner *r, const struct message *m, size_t bytes) {
    struct envelope e = envelope_of(p, r, bytes);
    size_t n;
    const char *from = address(p, &p->out[m->first], r->slice, &n);
    return m->channel->transport->lend(m->channel, r->lane, &e, from);
}

static bool post_fragment(struct yj_prepared *p, struct runner *r, int index, const struct message *m) {
    int end, turn = r->round & 1, base = p->message[p->round[r->round].out].first;
    size_t bytes = fragment_out(p, r, m, r->sent[index], &end), n;
    char *cell = r->cell[turn][index];
    bool begun = cell != NULL;
    const struct transport *t = m->channel->transport;
    if (p->flags & YJ_CALL_READY && !pieces_there(p, r, m, r->sent[index], end)) return false;
    if (!begun && may_lend(p, r->round, m, bytes) && lend_fragment(p, r, m, bytes)) {
        r->sent[index] = -2;
        return true;
    }
    if (!begun && !(cell = t->reserve(m->channel, r->lane, bytes))) {
        blocked(p, m);
        return false;
    }
    for (int i = m->first + r->sent[index]; i < m->first + end; i++, cell += n) {
        const char *from = address(p, &p->out[i], r->slice, &n);
        if (!begun || !r->written[turn][i - base]) memcpy(cell, from, n);
    }
    struct envelope e = envelope_of(p, r, bytes);
    t->post(m->channel, r->lane, &e);
    r->sent[index] = end;
    if (end < m->n) return true;
    r->sent[index] = -1;
    r->cell[turn][index] = NULL;
    r->sends_left--;
    return true;
}

static bool send_some(struct yj_prepared *p, struct runner *r, const struct round *round) {
    bool any = false;
    for (int i = 0; i < round->nouts; i++) {
        const struct message *m = &p->message[round->out + i];
        while (r->sent[i] >= 0 && post_fragment(p, r, i, m))
            any = true;
        if (r->sent[i] != -2) continue;
        if (m->channel->transport->settled(m->channel, r->lane)) {
            r->sent[i] = -1;
            r->sends_left--;
            any = true;
        } else {
            blocked(p, m);
        }
    }
    return any;
}

/* --- a block that goes on in the next round --- */

/* The cell of message INDEX of the next round, begun now if a cell is free and the message fits in it. */
static char *next_cell(struct yj_prepared *p, struct runner *r, int index) {
    int turn = (r->round + 1) & 1, end;
    const struct round *next = &p->round[r->round + 1];
    char **cell = &r->cell[turn][index];
    if (*cell) return *cell;
    const struct message *m = &p->message[next->out + index];
    size_t bytes = fragment_out(p, r, m, 0, &end);
    if (may_lend(p, r->round + 1, m, bytes)) return NULL; /* the peer will read it where it is made */
    if (end < m->n || !(*cell = m->channel->transport->reserve(m->channel, r->lane, bytes))) return NULL;
    int base = p->message[next->out].first;
    uint32_t at = 0;
    for (int i = m->first; i < m->first + m->n; i++) {
        r->at[turn][i - base] = at;
        r->written[turn][i - base] = false;
        at += (uint32_t)length(p, &p->out[i], r->slice);
    }
    return *cell;
}

enum { MOST_PLACES = 8 };

/* Where a block is to be written: its own place and the cells of the next round that carry it. */
static int places(struct yj_prepared *p, struct runner *r, char *to, int fuse, void **dst) {
    int n = 0, turn = (r->round + 1) & 1;
    dst[n++] = to;
    for (; fuse >= 0 && r->sends_left == 0 && n < MOST_PLACES; fuse = p->target[fuse].next) {
        const struct target *t = &p->target[fuse];
        const struct round *next = &p->round[r->round + 1];
        char *cell = next_cell(p, r, t->message - next->out);
        if (!cell) continue;
        int i = t->piece - p->message[next->out].first;
        dst[n++] = cell + r->at[turn][i];
        r->written[turn][i] = true;
    }
    return n;
}

static inline bool streams(const struct yj_prepared *p, const struct piece *to) {
    return p->stream && to->space == SPACE_OUT;
}

/* --- messages that come --- */

static void unexpected(struct yj_prepared *p, const struct runner *r, const struct message *m, const struct envelope *e,
                       size_t bytes) {
    struct yj_comm *comm = p->comm;
    int peer = comm->member[m->peer];
    char mine[160];
    card_print(&p->card, mine, sizeof mine);
    if (r->lane == PAIR_LANE) {
        comm_fail(comm, YJ_ERR_MISMATCH,
                  "rank %d: %s meets a message of %u bytes of another type or count from rank %d "
                  "(expected %zu)",
                  comm->world->rank, mine, e->bytes, peer, bytes);
        yj_comm_abort(comm, comm->failure_text);
    } else if (e->call != p->hash) { /* the control plane finds out what the other rank has called */
        if (!atomic_exchange(&comm->suspicious, true)) control_wake(comm->world);
    } else {
        comm_fail(comm, YJ_ERR_INTERNAL,
                  "%s: rank %d sent (call %u, round %u, slice %u, %u bytes) where (%u, %d, %d, %zu) "
                  "was due",
                  mine, peer, e->sequence, e->round, e->slice, e->bytes, (uint32_t)p->sequence, r->round, r->slice,
                  bytes);
        yj_comm_abort(comm, comm->failure_text);
    }
}

/* The next fragment of a message, if it has come and is what it should be. */
static const char *take(struct yj_prepared *p, struct runner *r, const struct message *m, int first, int *end) {
    struct envelope e;
    const char *data = m->channel->transport->arrived(m->channel, r->lane, &e);
    if (!data) {
        blocked(p, m);
        return NULL;
    }
    size_t bytes = fragment_in(p, r, m, first, end);
    if (e.call == p->hash && e.bytes == bytes && e.sequence == (uint32_t)p->sequence && e.round == (uint16_t)r->round &&
        e.slice == (uint16_t)r->slice)
        return data;
    unexpected(p, r, m, &e, bytes);
    return NULL;
}

static void take_piece(struct yj_prepared *p, struct runner *r, const struct incoming *in, const char *data, size_t n) {
    size_t bytes;
    void *dst[MOST_PLACES];
    char *to = address(p, &in->to, r->slice, &bytes);
    int ndst = places(p, r, to, in->fuse, dst);
    if (!in->reduce) {
        move_copy(streams(p, &in->to), ndst, dst, data, n);
        return;
    }
    const char *own = address(p, &in->own, r->slice, &bytes);
    const void *src[2] = {in->own_first ? own : data, in->own_first ? data : own};
    move_join(streams(p, &in->to), p->join_fn, p->element_bytes, ndst, dst, 2, src, n);
}

static bool take_fragment(struct yj_prepared *p, struct runner *r, int index, const struct message *m) {
    int end, first = r->taken[index];
    for (int i = first; p->flags & YJ_CALL_READY && i < m->n; i++)
        if (p->incoming[m->first + i].reduce && !there(p, &p->incoming[m->first + i].own, r->slice)) return false;
    const char *data = take(p, r, m, first, &end);
    if (!data) return false;
    for (int i = m->first + first; i < m->first + end; i++) {
        size_t n = length(p, &p->incoming[i].to, r->slice);
        take_piece(p, r, &p->incoming[i], data, n);
        data += n;
    }
    m->channel->transport->release(m->channel, r->lane);
    r->taken[index] = end < m->n ? end : -1;
    r->takes_left -= end >= m->n;
    return true;
}

/* --- sums of several arrivals --- */

static void join_one(struct yj_prepared *p, struct runner *r, const struct round *round, const struct join *join) {
    size_t bytes, n;
    void *dst[MOST_PLACES];
    char *to = address(p, &join->to, r->slice, &bytes);
    int ndst = places(p, r, to, join->fuse, dst);
    const void **src = r->operand;
    for (int i = 0; i < join->n; i++) {
        const struct operand *o = &p->operand[join->first + i];
        if (o->message < 0) {
            src[i] = address(p, &join->own, r->slice, &n);
            continue;
        }
        const char *at = r->data[o->message];
        for (int k = p->message[round->in + o->message].first; k < o->piece; k++)
            at += length(p, &p->incoming[k].to, r->slice);
        src[i] = at;
    }
    move_join(streams(p, &join->to), p->join_fn, p->element_bytes, ndst, dst, join->n, src, bytes);
}

/* Messages with operands wait in their cells until all of the round have come. */
static bool collect(struct yj_prepared *p, struct runner *r, const struct round *round) {
    int missing = 0;
    for (int i = 0; i < round->nins; i++) {
        const struct message *m = &p->message[round->in + i];
        int end;
        if (!m->reduces || r->taken[i] < 0 || r->data[i]) continue;
        r->data[i] = take(p, r, m, 0, &end);
        if (r->data[i] && end < m->n) {
            comm_fail(p->comm, YJ_ERR_INTERNAL, "%s: a sum of several arrivals does not fit a cell", p->row->name);
            return false;
        }
        missing += !r->data[i];
    }
    if (missing || (round->hazard && r->sends_left)) return false;
    for (int j = round->join; j < round->join + round->njoins; j++) {
        if (!there(p, &p->joins[j].own, r->slice)) return false; /* the first that is not there; none was made before */
    }
    for (int j = round->join; j < round->join + round->njoins; j++)
        join_one(p, r, round, &p->joins[j]);
    for (int i = 0; i < round->nins; i++) {
        const struct message *m = &p->message[round->in + i];
        if (!r->data[i]) continue;
        size_t n;
        const char *data = r->data[i];
        for (int k = m->first; k < m->first + m->n; k++, data += n) { /* what is only received beside operands */
            n = length(p, &p->incoming[k].to, r->slice);
            if (!p->incoming[k].reduce) take_piece(p, r, &p->incoming[k], data, n);
        }
        m->channel->transport->release(m->channel, r->lane);
        r->data[i] = NULL;
        r->taken[i] = -1;
        r->takes_left--;
    }
    return true;
}

static bool take_some(struct yj_prepared *p, struct runner *r, const struct round *round) {
    bool any = false;
    for (int i = 0; i < round->nins; i++) {
        const struct message *m = &p->message[round->in + i];
        if (m->reduces && (round->njoins || (round->hazard && r->sends_left))) continue;
        while (r->taken[i] >= 0 && take_fragment(p, r, i, m))
            any = true;
    }
    return (round->njoins && collect(p, r, round)) || any;
}

/* --- runners --- */

static bool enter(struct yj_prepared *p, struct runner *r, const struct round *round) {
    size_t n;
    for (int i = round->copy; i < round->copy + round->ncopies; i++)
        if (!there(p, &p->copy[i].own, r->slice)) return false;
    for (int i = round->copy; i < round->copy + round->ncopies; i++) {
        const char *from = address(p, &p->copy[i].own, r->slice, &n);
        void *to = address(p, &p->copy[i].to, r->slice, &n);
        move_copy(streams(p, &p->copy[i].to), 1, &to, from, n);
    }
    memset(r->sent, 0, (size_t)round->nouts * sizeof *r->sent);
    memset(r->taken, 0, (size_t)round->nins * sizeof *r->taken);
    r->sends_left = round->nouts;
    r->takes_left = round->nins;
    r->entered = true;
    return true;
}

/* avg: the sum becomes the mean. */
static void finish_slice(struct yj_prepared *p, struct runner *r) {
    const struct layout_part *part = &p->layout.part[SPACE_OUT];
    if (p->stream) move_fence();
    if (!p->scale_fn || !p->base[SPACE_OUT]) return;
    for (int b = 0; b < p->layout.blocks; b++) {
        if (part->only >= 0 && part->only != b) continue;
        size_t bytes;
        char *at = layout_slice(&p->layout, SPACE_OUT, b, r->slice, &bytes);
        p->scale_fn(at, bytes / p->element_bytes, p->comm->size);
    }
}

static bool run(struct yj_prepared *p, struct runner *r) {
    bool any = false;
    while (r->slice < p->layout.slices) {
        while (r->round < p->nrounds) {
            const struct round *round = &p->round[r->round];
            if (!r->entered && !enter(p, r, round)) return any;
            if (r->sends_left) any |= send_some(p, r, round);
            if (r->takes_left) any |= take_some(p, r, round);
            if (r->sends_left && r->takes_left == 0) any |= send_some(p, r, round);
            if (r->sends_left || r->takes_left) return any;
            r->round++;
            r->entered = false;
            any = true;
        }
        finish_slice(p, r);
        r->slice += r->stride;
        r->round = 0;
    }
    r->through = true;
    ++*r->turn;
    return true;
}

/* --- two ranks, one round, one cache line: the same schedule without a loop --- */

bool engine_line_post(struct yj_prepared *p) {
    struct runner *r = &p->runner[0];
    const struct message *m = &p->message[p->round->out];
    const struct transport *t = m->channel->transport;
    size_t bytes = m->n ? p->out[m->first].bytes : 0;
    if (*r->turn != r->ticket) return false;
    char *cell = t->reserve(m->channel, r->lane, bytes);
    if (!cell) return false;
    if (bytes) memcpy(cell, p->base[p->out[m->first].space] + p->out[m->first].offset, bytes);
    struct envelope e = envelope_of(p, r, bytes);
    t->post(m->channel, r->lane, &e);
    if (t->warm) t->warm(m->channel, (r->lane + 1) % SMALL_LANES);
    p->posted = true;
    return true;
}

bool engine_line_run(struct yj_prepared *p) {
    struct runner *r = &p->runner[0];
    const struct message *m = &p->message[p->round->in];
    int end;
    if (!p->posted && !engine_line_post(p)) return false;
    const char *data = take(p, r, m, 0, &end);
    if (!data) return false;
    if (m->n) {
        const struct incoming *in = &p->incoming[m->first];
        char *to = p->base[in->to.space] + in->to.offset;
        if (in->reduce) {
            const char *own = p->base[in->own.space] + in->own.offset;
            const void *src[2] = {in->own_first ? own : data, in->own_first ? data : own};
            p->join_fn(1, (void *const *)&to, 2, src, (size_t)p->card.count);
        } else {
            memcpy(to, data, in->to.bytes);
        }
    }
    m->channel->transport->release(m->channel, r->lane);
    if (p->scale_fn) finish_slice(p, r);
    r->through = true;
    ++*r->turn;
    return true;
}

/* --- calls --- */

static bool call_run(struct yj_prepared *p) {
    if (p->line) {
        if (!engine_line_run(p)) return false;
        atomic_store_explicit(&p->done, true, memory_order_release);
        return true;
    }
    bool any = false, all = true;
    for (int i = 0; i < p->nrunners; i++) {
        struct runner *r = &p->runner[i];
        if (!r->through && *r->turn == r->ticket) any |= run(p, r);
        all &= r->through;
    }
    if (all) atomic_store_explicit(&p->done, true, memory_order_release);
    return any;
}

/* Forgets calls that are done; ENDED says up to where all collectives are. */
void engine_sweep(struct yj_comm *comm) {
    struct engine *e = comm->engine;
    int n = 0;
    uint64_t ended = atomic_load_explicit(&comm->started, memory_order_relaxed);
    for (int i = 0; i < e->nflight; i++) {
        struct yj_prepared *p = e->flight[i];
        if (atomic_load_explicit(&p->done, memory_order_relaxed)) {
            p->in_flight = false;
            continue;
        }
        if (p->runner[0].lane != PAIR_LANE && p->sequence - 1 < ended) ended = p->sequence - 1;
        e->flight[n++] = p;
    }
    e->nflight = n;
    atomic_store_explicit(&comm->ended, ended, memory_order_relaxed);
}

/* Under engine->busy. */
bool engine_look(struct yj_comm *comm) {
    struct engine *e = comm->engine;
    bool any = false, done = false;
    for (int i = 0; i < e->nconnected; i++)
        any |= e->connected[i]->transport->progress(e->connected[i]);
    e->blocked_on = -1;
    for (int i = 0; i < e->nflight; i++) {
        any |= call_run(e->flight[i]);
        done |= atomic_load_explicit(&e->flight[i]->done, memory_order_relaxed);
    }
    if (any) comm_moved(comm);
    if (done) engine_sweep(comm);
    return any;
}

bool engine_progress(struct yj_comm *comm) {
    struct engine *e = comm->engine;
    if (atomic_exchange_explicit(&e->busy, true, memory_order_acquire)) return false;
    bool any = atomic_load_explicit(&comm->failed, memory_order_relaxed) == YJ_OK && engine_look(comm);
    atomic_store_explicit(&e->busy, false, memory_order_release);
    return any;
}

void world_progress(struct world *world, const struct yj_comm *but) {
    if (pthread_mutex_trylock(&world->lock)) return;
    for (struct yj_comm *comm = world->comms; comm; comm = comm->next)
        if (comm != but && comm->engine && !comm->failed) engine_progress(comm);
    pthread_mutex_unlock(&world->lock);
}

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

static struct envelope envelope_of(const struct yj_prepared *p, const struct runner *r, uint32_t call, size_t bytes) {
    return (struct envelope){(uint32_t)bytes, call, (uint32_t)p->sequence, (uint16_t)r->round, (uint16_t)r->slice};
}

/* What proves that both ranks mean one call: its hash and, where only the two of them know the size of the message
 * (straight rows, one slice), how many elements it has. */
static inline uint32_t proof_out(const struct yj_prepared *p, const struct message *m) {
    uint32_t proof = p->hash;
    for (int i = 0; p->card.counts == CARD_COUNTS_PRIVATE && i < m->n; i++)
        proof += (uint32_t)(p->out[m->first + i].bytes / p->element_bytes);
    return proof;
}

static inline uint32_t proof_in(const struct yj_prepared *p, const struct message *m) {
    uint32_t proof = p->hash;
    for (int i = 0; p->card.counts == CARD_COUNTS_PRIVATE && i < m->n; i++)
        proof += (uint32_t)(p->incoming[m->first + i].to.bytes / p->element_bytes);
    return proof;
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

/* A fragment is what goes into one cell: whole pieces FIRST..END, as many as fit, or, of a piece that is larger than a
 * cell, as much from AT on as fits (then END is FIRST, and AT moves on, or it was the last of it). fragment_out and
 * fragment_in are alike but for where the pieces are. */
struct cut {
    int end;
    size_t bytes;
    bool part; /* of one piece */
};

static inline struct cut cut_piece(size_t piece, size_t at, size_t room, int first) {
    size_t left = piece - at;
    return left > room ? (struct cut){first, room, true} : (struct cut){first + 1, left, true};
}

static struct cut fragment_out(const struct yj_prepared *p, const struct runner *r, const struct message *m, int first,
                               size_t at) {
    struct cut cut = {first, 0, false};
    size_t room = cell_bytes(p, r);
    for (; cut.end < m->n; cut.end++) {
        size_t n = length(p, &p->out[m->first + cut.end], r->slice);
        if (n > room && cut.end == first) return cut_piece(n, at, room, first);
        if (cut.bytes + n > room) break;
        cut.bytes += n;
    }
    return cut;
}

static struct cut fragment_in(const struct yj_prepared *p, const struct runner *r, const struct message *m, int first,
                              size_t at) {
    struct cut cut = {first, 0, false};
    size_t room = cell_bytes(p, r);
    for (; cut.end < m->n; cut.end++) {
        size_t n = length(p, &p->incoming[m->first + cut.end].to, r->slice);
        if (n > room && cut.end == first) return cut_piece(n, at, room, first);
        if (cut.bytes + n > room) break;
        cut.bytes += n;
    }
    return cut;
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
    struct envelope e = envelope_of(p, r, proof_out(p, m), bytes);
    size_t n;
    const char *from = address(p, &p->out[m->first], r->slice, &n);
    return m->channel->transport->lend(m->channel, r->lane, &e, from);
}

/* The pieces of a fragment, into its cell, but for what is WRITTEN there already. */
static void gather_fragment(const struct yj_prepared *p, const struct runner *r, int first, int end,
                            const bool *written, char *cell) {
    size_t n;
    for (int i = first; i < end; i++, cell += n) {
        const char *from = address(p, &p->out[i], r->slice, &n);
        if (n && (!written || !written[i - first])) memcpy(cell, from, n);
    }
}

static bool post_fragment(struct yj_prepared *p, struct runner *r, int index, const struct message *m) {
    int turn = r->round & 1, base = p->message[p->round[r->round].out].first, first = r->sent[index];
    size_t at = r->sent_bytes[index], n;
    struct cut cut = fragment_out(p, r, m, first, at);
    char *cell = r->cell[turn][index];
    bool begun = cell != NULL;
    const struct transport *t = m->channel->transport;
    if (p->flags & YJ_CALL_READY && !pieces_there(p, r, m, first, cut.part ? first + 1 : cut.end)) return false;
    if (!begun && !cut.part && may_lend(p, r->round, m, cut.bytes) && lend_fragment(p, r, m, cut.bytes)) {
        r->sent[index] = -2;
        return true;
    }
    if (!begun && !(cell = t->reserve(m->channel, r->lane, cut.bytes))) {
        blocked(p, m);
        return false;
    }
    if (cut.part)
        memcpy(cell, address(p, &p->out[m->first + first], r->slice, &n) + at, cut.bytes);
    else
        gather_fragment(p, r, m->first + first, m->first + cut.end,
                        begun ? r->written[turn] + (m->first + first - base) : NULL, cell);
    struct envelope e = envelope_of(p, r, proof_out(p, m), cut.bytes);
    t->post(m->channel, r->lane, &e);
    r->sent[index] = cut.end;
    r->sent_bytes[index] = cut.end == first ? at + cut.bytes : 0;
    if (cut.end < m->n) return true;
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
    int turn = (r->round + 1) & 1;
    const struct round *next = &p->round[r->round + 1];
    char **cell = &r->cell[turn][index];
    if (*cell) return *cell;
    const struct message *m = &p->message[next->out + index];
    struct cut cut = fragment_out(p, r, m, 0, 0);
    if (cut.part || may_lend(p, r->round + 1, m, cut.bytes)) return NULL; /* the peer will read it where it is made */
    if (cut.end < m->n || !(*cell = m->channel->transport->reserve(m->channel, r->lane, cut.bytes))) return NULL;
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

/* Counts of a v-collective that only its two ranks know. */
static void unexpected_count(struct yj_prepared *p, const struct message *m, const struct envelope *e) {
    struct yj_comm *comm = p->comm;
    char mine[160];
    card_print(&p->card, mine, sizeof mine);
    comm_fail(comm, YJ_ERR_MISMATCH, "call %llu: rank %d %s takes %u elements from rank %d, whose %s gives it %u",
              (unsigned long long)p->sequence, comm->world->rank, mine, proof_in(p, m) - p->hash, comm->member[m->peer],
              p->collective->name, e->call - p->hash);
    comm_tell(comm, YJ_ERR_MISMATCH, comm->failure_text);
}

static void unexpected_message(struct yj_prepared *p, const struct runner *r, const struct message *m,
                               const struct envelope *e, size_t bytes) {
    struct yj_comm *comm = p->comm;
    char mine[160];
    card_print(&p->card, mine, sizeof mine);
    comm_fail(comm, YJ_ERR_INTERNAL,
              "%s: rank %d sent (call %u, round %u, slice %u, %u bytes) where (%u, %d, %d, %zu) was due", mine,
              comm->member[m->peer], e->sequence, e->round, e->slice, e->bytes, (uint32_t)p->sequence, r->round,
              r->slice, bytes);
    comm_tell(comm, YJ_ERR_INTERNAL, comm->failure_text);
}

/* A message that is not what is due: the control plane compares this rank's call of the message's number (or this one,
 * if that is yet to come) with that of its sender, who still remembers it. Only if the calls are one, the message
 * itself is at fault. */
static void unexpected(struct yj_prepared *p, const struct runner *r, const struct message *m, const struct envelope *e,
                       size_t bytes) {
    static const double patience = 2; /* seconds for the control plane, also on a machine that is busy elsewhere */
    struct yj_comm *comm = p->comm;
    double now = time_now();
    if (p->odd_since == 0) {
        p->odd_since = now;
        int32_t behind =
            (int32_t)((uint32_t)p->sequence - e->sequence); /* the sender may also be further than we are */
        atomic_store(&comm->odd_sequence, p->sequence - (uint64_t)max64(behind, 0));
        atomic_store(&comm->odd_peer, m->peer);
        atomic_store(&comm->odd_pair, r->lane == PAIR_LANE);
        atomic_store(&comm->odd, true);
        control_wake(comm->world);
    } else if (now - p->odd_since > patience) {
        if (p->card.counts == CARD_COUNTS_PRIVATE && e->sequence == (uint32_t)p->sequence && e->call != proof_in(p, m))
            unexpected_count(p, m, e);
        else
            unexpected_message(p, r, m, e, bytes);
    }
}

/* The next fragment of a message, if it has come and is what it should be. */
static const char *take(struct yj_prepared *p, struct runner *r, const struct message *m, int first, size_t at,
                        struct cut *cut) {
    struct envelope e;
    const char *data = m->channel->transport->arrived(m->channel, r->lane, &e);
    if (!data) {
        blocked(p, m);
        return NULL;
    }
    *cut = fragment_in(p, r, m, first, at);
    if (e.call == proof_in(p, m) && e.bytes == cut->bytes && e.sequence == (uint32_t)p->sequence &&
        e.round == (uint16_t)r->round && e.slice == (uint16_t)r->slice)
        return data;
    unexpected(p, r, m, &e, cut->bytes);
    return NULL;
}

/* N bytes of a piece from AT on; PART: not all of it. */
static void take_piece(struct yj_prepared *p, struct runner *r, const struct incoming *in, const char *data, size_t at,
                       size_t n, bool part) {
    size_t bytes;
    void *dst[MOST_PLACES];
    char *to = address(p, &in->to, r->slice, &bytes) + at;
    int ndst = places(p, r, to, part ? -1 : in->fuse, dst);
    if (!in->reduce) {
        move_copy(streams(p, &in->to), ndst, dst, data, n);
        return;
    }
    const char *own = address(p, &in->own, r->slice, &bytes) + at;
    const void *src[2] = {in->own_first ? own : data, in->own_first ? data : own};
    move_join(streams(p, &in->to), p->join_fn, p->element_bytes, ndst, dst, 2, src, n);
}

static bool take_fragment(struct yj_prepared *p, struct runner *r, int index, const struct message *m) {
    int first = r->taken[index];
    size_t at = r->taken_bytes[index];
    struct cut cut;
    for (int i = first; p->flags & YJ_CALL_READY && i < m->n; i++)
        if (p->incoming[m->first + i].reduce && !there(p, &p->incoming[m->first + i].own, r->slice)) return false;
    const char *data = take(p, r, m, first, at, &cut);
    if (!data) return false;
    if (cut.part) take_piece(p, r, &p->incoming[m->first + first], data, at, cut.bytes, true);
    for (int i = m->first + first; !cut.part && i < m->first + cut.end; i++) {
        size_t n = length(p, &p->incoming[i].to, r->slice);
        take_piece(p, r, &p->incoming[i], data, 0, n, false);
        data += n;
    }
    m->channel->transport->release(m->channel, r->lane);
    r->taken[index] = cut.end < m->n ? cut.end : -1;
    r->taken_bytes[index] = cut.end == first ? at + cut.bytes : 0;
    r->takes_left -= cut.end >= m->n;
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
        struct cut cut;
        if (!m->reduces || r->taken[i] < 0 || r->data[i]) continue;
        r->data[i] = take(p, r, m, 0, 0, &cut);
        if (r->data[i] && cut.end < m->n) {
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
            if (!p->incoming[k].reduce) take_piece(p, r, &p->incoming[k], data, 0, n, false);
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
    if (p->card.collective == YJ_SEND) r->posted = p->message->channel->transport->posted(p->message->channel, r->lane);
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
    struct envelope e = envelope_of(p, r, p->hash, bytes);
    t->post(m->channel, r->lane, &e);
    if (t->warm) t->warm(m->channel, (r->lane + 1) % SMALL_LANES);
    p->posted = true;
    return true;
}

bool engine_line_run(struct yj_prepared *p) {
    struct runner *r = &p->runner[0];
    const struct message *m = &p->message[p->round->in];
    struct cut cut;
    if (!p->posted && !engine_line_post(p)) return false;
    const char *data = take(p, r, m, 0, 0, &cut);
    if (!data) return false;
    if (m->n) {
        const struct incoming *in = &p->incoming[m->first];
        char *to = p->base[in->to.space] + in->to.offset;
        if (in->reduce) {
            const char *own = p->base[in->own.space] + in->own.offset;
            const void *src[2] = {in->own_first ? own : data, in->own_first ? data : own};
            p->join_fn(1, (void *const *)&to, 2, src, p->line_count);
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

/* A send has ended when the receiver has it. */
static bool was_taken(const struct yj_prepared *p) {
    const struct runner *r = &p->runner[0];
    struct channel *channel = p->message->channel;
    if (channel->transport->taken(channel, r->lane, r->posted)) return true;
    blocked(p, p->message);
    return false;
}

static bool call_run(struct yj_prepared *p) {
    if (p->line) {
        if (!engine_line_run(p)) return false;
        call_done(p);
        return true;
    }
    bool any = false, all = true;
    for (int i = 0; i < p->nrunners; i++) {
        struct runner *r = &p->runner[i];
        if (!r->through && *r->turn == r->ticket) any |= run(p, r);
        all &= r->through;
    }
    if (all && p->card.collective == YJ_SEND) all = was_taken(p);
    if (all) call_done(p);
    return any || all;
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

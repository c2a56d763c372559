/* SPDX-License-Identifier: Apache-2.0
 *
 * The event queue. A rank comes to a round of a slice when the round before is done there; a message sets out when both
 * its ends have come to its round, takes links as network.c says, and is over for both when it arrives; a round is done
 * when all its messages are over and its sums are made. Nothing is stored of a schedule: a rank's steps are generated
 * when it comes to a round, so 10,000 ranks cost what their messages under way cost. Equal instants are served oldest
 * slice first, then first messages before second ones, so runs are repeatable.
 */
#include "comm/cost.h"
#include "comm/network.h"

#include <limits.h>
#include <stdlib.h>

enum { MOST = 1 << 24 }; /* ranks * rounds * slices */
enum kind { COME, SET_OUT, ARRIVE };

struct event {
    int64_t time;
    uint64_t order; /* among equal instants: kind, slice, number of the message in its round; then by age */
    int32_t kind, slice, from, to;
    uint64_t bytes;
    int64_t start; /* ARRIVE */
};

/* A rank in a slice. */
struct state {
    int64_t came, work;  /* to the round in hand; picoseconds of sums and copies at its end */
    int32_t round, left; /* messages of the round that are not over; -1: not there yet */
};

/* What a rank's steps of a round say about one peer, in one direction. */
struct share {
    int32_t peer;
    bool sends;
    int64_t blocks;
};

struct simulator {
    const struct yj_simulation *what;
    struct schedule schedule; /* of whichever rank comes to a round */
    struct network net;
    struct state *state; /* [rank * slices + slice] */
    int64_t *processor;  /* [rank]: until when it makes sums */
    struct share *share;
    int nshares, share_room;
    int32_t *known[2]; /* [rank]: share of this peer, by direction; -1 */
    struct event *heap;
    size_t n, room;
    uint64_t age;
    int slices;
    uint64_t total;
    struct yj_simulated *result;
};

/* --- the heap --- */

static bool before(const struct event *a, const struct event *b) {
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static enum yj_status push(struct simulator *s, struct event event, uint32_t number) {
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 1024;
        struct event *heap = realloc(s->heap, room * sizeof *heap);
        if (!heap) return report(YJ_ERR_MEMORY, "simulate: out of memory for %zu events", room);
        s->heap = heap, s->room = room;
    }
    event.order = (uint64_t)(event.kind == SET_OUT) << 63 | (uint64_t)(event.slice & 0xfff) << 51 |
                  (uint64_t)(number & 0xffff) << 35 | (s->age++ & 0x7ffffffff);
    size_t i = s->n++;
    for (; i > 0 && before(&event, &s->heap[(i - 1) / 4]); i = (i - 1) / 4)
        s->heap[i] = s->heap[(i - 1) / 4];
    s->heap[i] = event;
    return YJ_OK;
}

static struct event pop(struct simulator *s) {
    struct event top = s->heap[0], last = s->heap[--s->n];
    size_t i = 0;
    for (;;) {
        size_t first = 4 * i + 1, least = first;
        if (first >= s->n) break;
        for (size_t k = first + 1; k < first + 4 && k < s->n; k++)
            if (before(&s->heap[k], &s->heap[least])) least = k;
        if (!before(&s->heap[least], &last)) break;
        s->heap[i] = s->heap[least];
        i = least;
    }
    if (s->n) s->heap[i] = last;
    return top;
}

/* --- rounds --- */

static struct state *state_of(struct simulator *s, int rank, int slice) {
    return &s->state[(size_t)rank * (size_t)s->slices + (size_t)slice];
}

static uint64_t bytes_of(const struct simulator *s, int64_t blocks) {
    if (!s->schedule.blocks) return 0;
    unsigned __int128 parts = (unsigned __int128)s->schedule.blocks * (unsigned)s->slices;
    return (uint64_t)(((unsigned __int128)s->total * (uint64_t)blocks + parts - 1) / parts);
}

static enum yj_status add_share(struct simulator *s, int peer, bool sends, int64_t blocks) {
    int32_t *known = &s->known[sends][peer];
    if (*known < 0) {
        if (s->nshares == s->share_room) {
            int room = s->share_room ? 2 * s->share_room : 64;
            struct share *share = realloc(s->share, (size_t)room * sizeof *share);
            if (!share) return report(YJ_ERR_MEMORY, "simulate: out of memory");
            s->share = share, s->share_room = room;
        }
        *known = s->nshares;
        s->share[s->nshares++] = (struct share){.peer = peer, .sends = sends};
    }
    s->share[*known].blocks += blocks;
    return YJ_OK;
}

/* The messages and the work of RANK in a round; false in *THERE: it has ended. */
static enum yj_status look_at(struct simulator *s, int rank, int round, int64_t *work, bool *there) {
    const struct yj_platform *p = s->what->platform;
    int64_t sums = 0, copies = 0;
    enum yj_status status = YJ_OK;
    s->schedule.rank = rank;
    s->nshares = 0;
    *there = schedule_round(&s->schedule, round);
    if (s->schedule.failed) return report(YJ_ERR_MEMORY, "simulate: out of memory");
    for (int i = 0; *there && status == YJ_OK && i < s->schedule.nsteps; i++) {
        const struct step *t = &s->schedule.step[i];
        if (t->kind == STEP_REDUCE) sums += t->to.count;
        if (t->kind == STEP_COPY) copies += t->to.count;
        if (t->kind != STEP_COPY)
            status = add_share(s, t->peer, t->kind == STEP_SEND, t->kind == STEP_SEND ? t->from.count : t->to.count);
    }
    for (int i = 0; i < s->nshares; i++)
        s->known[s->share[i].sends][s->share[i].peer] = -1;
    *work = port_ps(p->reduce_mb_per_s, bytes_of(s, sums)) + port_ps(p->copy_mb_per_s, bytes_of(s, copies));
    return status;
}

/* All messages of the round are over: the sums, then the next round. */
static enum yj_status finish(struct simulator *s, int rank, int slice, int64_t now) {
    struct state *mine = state_of(s, rank, slice);
    if (mine->work) {
        if (s->processor[rank] > now) now = s->processor[rank];
        s->processor[rank] = now += mine->work;
    }
    mine->left = -1, mine->round++;
    return push(s, (struct event){.time = now, .kind = COME, .slice = slice, .from = rank}, 0);
}

static enum yj_status come(struct simulator *s, int rank, int slice, int64_t now) {
    struct state *mine = state_of(s, rank, slice);
    bool there;
    for (;; mine->round++) { /* rounds in which it has nothing to do take no time */
        TRY(look_at(s, rank, mine->round, &mine->work, &there));
        if (!there || s->schedule.nsteps) break;
    }
    if (!there) {
        if (now >= s->result->time_ps) s->result->time_ps = now, s->result->last_rank = rank;
        return YJ_OK;
    }
    mine->came = now + s->what->platform->round_ps;
    mine->left = s->nshares;
    for (int i = 0; i < s->nshares; i++) {
        const struct share *share = &s->share[i];
        const struct state *other = state_of(s, share->peer, slice);
        if (other->round != mine->round || other->left < 0) continue;
        int64_t time = other->came > mine->came ? other->came : mine->came;
        struct event event = {.time = time, .kind = SET_OUT, .slice = slice, .bytes = bytes_of(s, share->blocks)};
        event.from = share->sends ? rank : share->peer, event.to = share->sends ? share->peer : rank;
        TRY(push(s, event, (uint32_t)i));
    }
    return s->nshares ? YJ_OK : finish(s, rank, slice, mine->came);
}

static enum yj_status arrive(struct simulator *s, const struct event *e) {
    const struct state *from = state_of(s, e->from, e->slice), *to = state_of(s, e->to, e->slice);
    s->result->messages++;
    if (s->what->fn) {
        struct yj_message message = {e->from,    e->to,    from->round, e->slice, e->bytes,
                                     from->came, to->came, e->start,    e->time};
        s->what->fn(s->what->user, &message);
    }
    for (int end = 0; end < 2; end++) {
        int rank = end ? e->to : e->from;
        if (--state_of(s, rank, e->slice)->left == 0) TRY(finish(s, rank, e->slice, e->time));
    }
    return YJ_OK;
}

static enum yj_status run(struct simulator *s) {
    while (s->n) {
        struct event e = pop(s);
        s->result->events++;
        if (e.kind == COME) TRY(come(s, e.from, e.slice, e.time));
        if (e.kind == ARRIVE) TRY(arrive(s, &e));
        if (e.kind != SET_OUT) continue;
        int64_t start, end;
        TRY(network_send(&s->net, e.from, e.to, e.bytes, e.time, &start, &end));
        e.kind = ARRIVE, e.start = start, e.time = end;
        TRY(push(s, e, 0));
    }
    for (int rank = 0; rank < s->what->ranks; rank++)
        for (int slice = 0; slice < s->slices; slice++)
            if (state_of(s, rank, slice)->left >= 0)
                return report(YJ_ERR_INPUT, "simulate: rank %d waits for ever in round %d", rank,
                              state_of(s, rank, slice)->round);
    return YJ_OK;
}

/* --- the whole --- */

static double busiest(const struct simulator *s, enum link_kind kind) {
    int64_t most = 0;
    for (int i = s->net.first[kind]; i < s->net.first[kind + 1]; i++)
        if (s->net.busy[i] > most) most = s->net.busy[i];
    return s->result->time_ps > 0 ? (double)most / (double)s->result->time_ps : 0;
}

static enum yj_status start(struct simulator *s) {
    size_t ranks = (size_t)s->what->ranks;
    s->state = calloc(ranks * (size_t)s->slices, sizeof *s->state);
    s->processor = calloc(ranks, sizeof *s->processor);
    for (int i = 0; i < 2; i++)
        if ((s->known[i] = malloc(ranks * sizeof **s->known))) memset(s->known[i], -1, ranks * sizeof **s->known);
    if (!s->state || !s->processor || !s->known[0] || !s->known[1])
        return report(YJ_ERR_MEMORY, "simulate: out of memory for %zu ranks", ranks);
    for (int i = 0; i < s->what->troubles; i++)
        if (s->what->trouble[i].kind == YJ_TROUBLE_LATE)
            s->processor[s->what->trouble[i].a] = s->what->trouble[i].late_ps;
    for (int rank = 0; rank < s->what->ranks; rank++)
        for (int slice = 0; slice < s->slices; slice++) {
            state_of(s, rank, slice)->left = -1;
            struct event event = {.time = s->processor[rank], .kind = COME, .slice = slice, .from = rank};
            TRY(push(s, event, 0));
        }
    return YJ_OK;
}

static enum yj_status by_events(const struct yj_simulation *what, const struct algorithm *row, int slices,
                                struct yj_simulated *result) {
    struct simulator s = {.what = what, .slices = slices, .total = what->bytes, .result = result};
    int node = what->platform->ranks_per_node;
    TRY(network_open(what->platform, what->ranks, what->trouble, what->troubles, &s.net));
    result->time_ps = 0;
    enum yj_status status = schedule_open_nodes(row, 0, what->ranks, node, what->root, &s.schedule);
    if (status == YJ_OK) status = start(&s);
    if (status == YJ_OK) status = run(&s);
    if (status == YJ_OK) {
        result->fabric_busy = busiest(&s, LINK_FABRIC);
        result->nic_busy = busiest(&s, LINK_NIC);
        result->uplink_busy = busiest(&s, LINK_UPLINK);
    }
    schedule_close(&s.schedule);
    network_close(&s.net);
    free(s.state), free(s.processor), free(s.share), free(s.known[0]), free(s.known[1]), free(s.heap);
    return status;
}

static struct cost_link cost_link_of(const struct yj_port *port, int64_t more_ps) {
    return (struct cost_link){.overhead_s = (double)port->overhead_ps * 1e-12,
                              .latency_s = (double)(port->latency_ps + more_ps) * 1e-12,
                              .byte_s = 1e-6 / (double)port->mb_per_s};
}

/* The same platform without what is shared: every rank has a NIC's whole speed. */
static struct cost_model cost_model_of(const struct yj_platform *p) {
    return (struct cost_model){.link = {cost_link_of(&p->fabric, 0),
                                        cost_link_of(&p->nic, p->nodes > p->nodes_per_leaf ? p->uplink.latency_ps : 0)},
                               .reduce_byte_s = 1e-6 / (double)p->reduce_mb_per_s,
                               .copy_byte_s = 1e-6 / (double)p->copy_mb_per_s,
                               .round_s = (double)p->round_ps * 1e-12,
                               .ranks_per_node = p->ranks_per_node};
}

static enum yj_status choose(const struct yj_simulation *what, const struct cost_model *model,
                             const struct algorithm **row, int *slices) {
    const struct collective *c = what->collective ? collective_named(what->collective) : NULL;
    const char *collective = what->collective ? what->collective : "(null)";
    struct choice choice;
    if (!c) return report(YJ_ERR_INPUT, "no collective is called %s", collective);
    if (c->number == YJ_SEND || c->number == YJ_RECV)
        return report(YJ_ERR_UNSUPPORTED, "a send alone is half a transfer: simulate a broadcast on 2 ranks");
    struct choice_query query = {.model = model,
                                 .collective = (int)c->number,
                                 .size = what->ranks,
                                 .bytes = what->bytes,
                                 .max_slices = what->slices ? what->slices : 16};
    TRY(cost_choose(&query, &choice));
    const struct candidate *best = &choice.candidate[choice.best];
    *row = best->row, *slices = what->slices ? what->slices : best->slices;
    if (!what->algorithm) return YJ_OK;
    *row = algorithm_named(c->number, what->algorithm);
    if (!*row) return report(YJ_ERR_INPUT, "%s has no algorithm called %s", collective, what->algorithm);
    for (int i = 0; i < choice.n && !what->slices; i++)
        if (choice.candidate[i].row == *row) *slices = choice.candidate[i].slices;
    return YJ_OK;
}

enum yj_status yj_simulate(const struct yj_simulation *what, struct yj_simulated *result) {
    struct network net;
    const struct algorithm *row = NULL;
    struct cost cost;
    int slices = 1;
    if (what->size < sizeof *what)
        return report(YJ_ERR_INPUT, "yj_simulation.size is %u: set it to sizeof", what->size);
    if (!what->platform) return report(YJ_ERR_INPUT, "simulate: a platform is needed");
    if (what->ranks < 1 || what->slices < 0 || what->slices > 4096)
        return report(YJ_ERR_INPUT, "simulate: %d ranks, %d slices", what->ranks, what->slices);
    TRY(network_open(what->platform, what->ranks, what->trouble, what->troubles, &net));
    network_close(&net);
    struct cost_model model = cost_model_of(what->platform);
    TRY(choose(what, &model, &row, &slices));
    TRY(cost_simulate(&model, row, what->ranks, what->root, what->bytes, slices, &cost));
    *result = (struct yj_simulated){
        .algorithm = row->name, .slices = slices, .rounds = cost.rounds, .time_ps = -1, .cost_s = cost.time_s};
    if ((int64_t)cost.rounds * what->ranks * slices > MOST) return YJ_OK;
    return by_events(what, row, slices, result);
}

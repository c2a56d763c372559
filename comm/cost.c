/* SPDX-License-Identifier: Apache-2.0
 *
 * The max-plus walker. A rank posts round r of a slice when round r-1 of that slice is done. A message starts when both
 * ends have posted and both ports are free, keeps the ports for overhead_s + bytes * byte_s, and arrives latency_s
 * later; ports and processors serve rounds in order, and slices in order within a round. A round is done on a rank when
 * all its messages have arrived and its sums are made. Every instant is a maximum of instants plus a constant, hence
 * the name.
 */
#include "comm/cost.h"
#include "runtime/base/base.h"

#include <math.h>
#include <stdlib.h>

const struct cost_model cost_model_default = {
    .link = {{5e-8, 1.5e-7, 1.25e-10, true}, {3e-7, 1.5e-6, 8.5e-11, false}},
    .reduce_byte_s = 1e-10,
    .copy_byte_s = 1e-10,
    .round_s = 3e-8,
};

enum yj_status cost_model_check(const struct cost_model *model) {
    const double figures[] = {model->link[0].overhead_s, model->link[0].latency_s, model->link[0].byte_s,
                              model->link[1].overhead_s, model->link[1].latency_s, model->link[1].byte_s,
                              model->reduce_byte_s,      model->copy_byte_s,       model->round_s};
    for (size_t i = 0; i < COUNT(figures); i++)
        if (!(figures[i] >= 0) || !isfinite(figures[i]))
            return report(YJ_ERR_INPUT, "a cost figure is %g: it must be a number of seconds, not negative",
                          figures[i]);
    if (model->ranks_per_node < 0) return report(YJ_ERR_INPUT, "%d ranks per node", model->ranks_per_node);
    return YJ_OK;
}

static int class_of(const struct cost_model *model, int a, int b) {
    int n = model->ranks_per_node;
    return n > 0 && a / n != b / n ? LINK_NET : LINK_NODE;
}

static double later(double a, double b) {
    return a > b ? a : b;
}

/* What one rank's processor and ports are busy with, and how far its slices are. */
struct clock {
    double cpu, out[LINKS], in[LINKS];
    double posted, done; /* of the round in hand */
    double *slice;       /* slices: when the last round of each was done */
    int cursor;          /* next step of the round in hand */
};

/* Bytes of the blocks of a slice of a message: its steps from I on with the same peer and direction; I moves on. */
static double message_bytes(const struct schedule *s, int *i, double block_bytes) {
    const struct step *first = &s->step[*i];
    double blocks = 0;
    for (; *i < s->nsteps && s->step[*i].kind == first->kind && s->step[*i].peer == first->peer; ++*i)
        blocks += first->kind == STEP_SEND ? s->step[*i].from.count : s->step[*i].to.count;
    return blocks * block_bytes;
}

static void post(const struct cost_model *model, const struct schedule *s, int slice, struct clock *c) {
    c->cursor = 0;
    c->posted = c->done = c->slice[slice] + (s->nsteps ? model->round_s : 0);
}

/* Copies and sums, when all has arrived. */
static void finish(const struct cost_model *model, const struct schedule *s, int slice, double block_bytes,
                   struct clock *c) {
    double work = 0;
    for (int i = 0; i < s->nsteps; i++) {
        if (s->step[i].kind == STEP_REDUCE) work += s->step[i].to.count * block_bytes * model->reduce_byte_s;
        if (s->step[i].kind == STEP_COPY) work += s->step[i].to.count * block_bytes * model->copy_byte_s;
    }
    if (work > 0) c->done = c->cpu = later(c->cpu, c->done) + work;
    c->slice[slice] = c->done;
}

static void transfer(const struct cost_link *link, int class, double bytes, struct clock *from, struct clock *to) {
    double begin = later(later(from->posted, to->posted), later(from->out[class], to->in[class]));
    if (link->by_cpu) begin = later(begin, to->cpu);
    double end = begin + link->overhead_s + bytes * link->byte_s;
    from->out[class] = to->in[class] = end;
    if (link->by_cpu) to->cpu = end;
    from->done = later(from->done, end + link->latency_s);
    to->done = later(to->done, end + link->latency_s);
}

/* The next send of a round that has not been made, as (peer, bytes). */
static bool next_send(const struct schedule *s, struct clock *c, double block_bytes, int *peer, double *bytes) {
    while (c->cursor < s->nsteps && s->step[c->cursor].kind != STEP_SEND)
        c->cursor++;
    if (c->cursor == s->nsteps) return false;
    *peer = s->step[c->cursor].peer;
    *bytes = message_bytes(s, &c->cursor, block_bytes);
    return true;
}

/* --- all ranks --- */

struct fleet {
    const struct cost_model *model;
    const struct schedule *built; /* or NULL */
    struct schedule *rank;
    struct clock *clock;
    int size, slices;
    double block_bytes;
};

static bool round_at(struct fleet *f, int r, int round) {
    struct schedule *s = &f->rank[r];
    if (!f->built) return schedule_round(s, round);
    const struct schedule *b = &f->built[r];
    *s = *b;
    s->nsteps = 0;
    if (round < b->nrounds) s->step = b->step + b->first[round], s->nsteps = b->first[round + 1] - b->first[round];
    return round < b->nrounds;
}

/* The round in hand of one slice on all ranks: everybody's first message, then everybody's second. */
static void fleet_slice(struct fleet *f, int slice) {
    for (int r = 0; r < f->size; r++)
        post(f->model, &f->rank[r], slice, &f->clock[r]);
    for (bool sending = true; sending;) {
        sending = false;
        for (int r = 0; r < f->size; r++) {
            int peer;
            double bytes;
            if (!next_send(&f->rank[r], &f->clock[r], f->block_bytes, &peer, &bytes)) continue;
            int class = class_of(f->model, r, peer);
            transfer(&f->model->link[class], class, bytes, &f->clock[r], &f->clock[peer]);
            sending = true;
        }
    }
    for (int r = 0; r < f->size; r++)
        finish(f->model, &f->rank[r], slice, f->block_bytes, &f->clock[r]);
}

static enum yj_status fleet_run(struct fleet *f, struct cost *cost) {
    *cost = (struct cost){0};
    for (;; cost->rounds++) {
        bool more = false;
        for (int r = 0; r < f->size; r++)
            more |= round_at(f, r, cost->rounds);
        if (!more) break;
        for (int slice = 0; slice < f->slices; slice++)
            fleet_slice(f, slice);
    }
    for (int r = 0; r < f->size; r++) {
        if (!f->built && f->rank[r].failed) return report(YJ_ERR_MEMORY, "out of memory in the simulator");
        for (int slice = 0; slice < f->slices; slice++)
            cost->time_s = later(cost->time_s, f->clock[r].slice[slice]);
    }
    return YJ_OK;
}

static enum yj_status simulate(struct fleet *f, const struct algorithm *row, int root, uint64_t bytes,
                               struct cost *cost) {
    int blocks = f->built ? f->built->blocks : row->blocks(f->size), opened = 0;
    f->block_bytes = blocks ? (double)bytes / blocks / f->slices : 0;
    f->rank = calloc((size_t)f->size, sizeof *f->rank);
    f->clock = calloc((size_t)f->size, sizeof *f->clock);
    double *slice = calloc((size_t)f->size * (size_t)f->slices, sizeof *slice);
    enum yj_status status =
        f->rank && f->clock && slice ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory in the simulator");
    for (int r = 0; status == YJ_OK && r < f->size; r++) {
        f->clock[r].slice = slice + (size_t)r * (size_t)f->slices;
        if (f->built) continue;
        status = schedule_open(row, r, f->size, root, &f->rank[r]);
        opened += status == YJ_OK;
    }
    if (status == YJ_OK) status = fleet_run(f, cost);
    for (int r = 0; r < opened; r++)
        schedule_close(&f->rank[r]);
    free(f->rank);
    free(f->clock);
    free(slice);
    return status;
}

enum yj_status cost_simulate(const struct cost_model *model, const struct algorithm *row, int size, int root,
                             uint64_t bytes, int slices, struct cost *cost) {
    struct fleet f = {.model = model, .size = size, .slices = slices > 0 ? slices : 1};
    TRY(cost_model_check(model));
    if (row->collective == YJ_SEND || row->collective == YJ_RECV)
        return report(YJ_ERR_UNSUPPORTED, "a send alone is half a transfer: simulate a broadcast on 2 ranks");
    if (size < 1) return report(YJ_ERR_INPUT, "%d ranks", size);
    return simulate(&f, row, root, bytes, cost);
}

enum yj_status cost_simulate_built(const struct cost_model *model, const struct schedule *ranks, uint64_t bytes,
                                   int slices, struct cost *cost) {
    struct fleet f = {.model = model, .built = ranks, .size = ranks->size, .slices = slices > 0 ? slices : 1};
    TRY(cost_model_check(model));
    return simulate(&f, ranks->algorithm, ranks->root, bytes, cost);
}

/* --- one rank for all --- */

/* Its peers are taken to be where it is itself: they post when it posts. Where all ranks do the same (MIRROR), what it
 * sends over links of a class is what it receives over them, and one transfer to itself is both; only the surplus is
 * extra. */
static void lone_round(const struct cost_model *model, const struct schedule *s, int slice, double block_bytes,
                       struct clock *c) {
    bool mirror = s->algorithm->flags & ROW_SYMMETRIC;
    double sent[LINKS] = {0};
    post(model, s, slice, c);
    for (int receiving = 0; receiving < 2; receiving++)
        for (int i = 0; i < s->nsteps;) {
            const struct step *t = &s->step[i];
            double bytes = message_bytes(s, &i, block_bytes);
            if (t->kind == STEP_COPY || (t->kind != STEP_SEND) != receiving) continue;
            int class = class_of(model, s->rank, t->peer);
            struct clock other = {.posted = c->posted};
            if (!receiving) {
                sent[class] += later(bytes, 1e-9); /* an empty message has its twin too */
                transfer(&model->link[class], class, bytes, c, mirror ? c : &other);
            } else if (!mirror || sent[class] <= 0) {
                transfer(&model->link[class], class, bytes, &other, c);
            } else {
                sent[class] -= later(bytes, 1e-9);
            }
        }
    finish(model, s, slice, block_bytes, c);
}

enum { MAX_SLICES = 64 };

static enum yj_status walk(const struct cost_model *model, const struct algorithm *row, int rank, int size,
                           uint64_t bytes, int slices, double limit_s, struct cost *cost) {
    struct schedule s;
    double slice_done[MAX_SLICES] = {0};
    struct clock c = {.slice = slice_done};
    TRY(schedule_open(row, rank, size, row->collective == YJ_SEND || row->collective == YJ_RECV ? (rank + 1) % size : 0,
                      &s));
    double block_bytes = s.blocks ? (double)bytes / s.blocks / slices : 0;
    *cost = (struct cost){0};
    for (; !cost->at_least && schedule_round(&s, cost->rounds); cost->rounds++) {
        for (int slice = 0; slice < slices; slice++)
            lone_round(model, &s, slice, block_bytes, &c);
        cost->at_least = limit_s > 0 && slice_done[0] > limit_s;
    }
    bool failed = s.failed;
    schedule_close(&s);
    if (failed) return report(YJ_ERR_MEMORY, "out of memory for the cost of %s", row->name);
    for (int slice = 0; slice < slices; slice++)
        cost->time_s = later(cost->time_s, slice_done[slice]);
    return YJ_OK;
}

enum yj_status cost_estimate(const struct cost_model *model, const struct algorithm *row, int size, uint64_t bytes,
                             int slices, double limit_s, struct cost *cost) {
    int n = model->ranks_per_node, rank = size > 1 ? row->critical(size) : 0;
    int more[] = {n > 1 ? rank - rank % n + n - 1 : 0,
                  size - 1}; /* the other end of its node; a node may be incomplete */
    if (slices < 1) slices = 1;
    if (slices > MAX_SLICES) slices = MAX_SLICES;
    TRY(walk(model, row, rank, size, bytes, slices, limit_s, cost));
    for (size_t i = 0; n > 0 && n < size && i < COUNT(more); i++) {
        struct cost other;
        if (cost->at_least || more[i] <= rank || more[i] >= size) continue;
        TRY(walk(model, row, more[i], size, bytes, slices, limit_s, &other));
        if (other.time_s > cost->time_s) *cost = other;
    }
    return YJ_OK;
}

/* --- choosing --- */

static const char *refusal(const struct choice_query *q, const struct algorithm *row) {
    if (q->size > row->max_size) return "too many ranks";
    if (!algorithm_serves(row, q->size, false)) return "not for this number of ranks";
    if (q->ordered && !(row->flags & ROW_ORDERED)) return "operands not in rank order";
    if (q->canonical && !(row->flags & ROW_CANONICAL)) return "not the canonical expression";
    if (q->in_place && row->flags & ROW_APART) return "not in place";
    return NULL;
}

/* More slices while they pay, walking few rounds: what a slice gains is the same in each. */
static enum yj_status slice(const struct choice_query *q, struct candidate *c) {
    double unsliced = c->cost.time_s, best = unsliced;
    if (c->cost.rounds > 512) return YJ_OK;
    for (int slices = 2; slices <= q->max_slices && slices <= MAX_SLICES; slices *= 2) {
        struct cost cost;
        TRY(cost_estimate(q->model, c->row, q->size, q->bytes, slices, unsliced, &cost));
        if (cost.at_least || cost.time_s > 0.98 * best) break;
        best = cost.time_s, c->cost = cost, c->slices = slices;
    }
    return YJ_OK;
}

enum yj_status cost_choose(const struct choice_query *q, struct choice *choice) {
    const struct collective *collective = collective_find(q->collective);
    if (!collective) return report(YJ_ERR_INPUT, "no collective has the number %d", q->collective);
    if (q->size < 1) return report(YJ_ERR_INPUT, "%s on %d ranks", collective->name, q->size);
    TRY(cost_model_check(q->model));
    *choice = (struct choice){.best = -1};
    for (int i = 0; i < algorithm_count() && choice->n < CANDIDATES; i++) {
        const struct algorithm *row = algorithm_at(i);
        struct candidate *c = &choice->candidate[choice->n];
        if ((int)row->collective != q->collective) continue;
        *c = (struct candidate){.row = row, .slices = 1, .refused = refusal(q, row)};
        choice->n++;
        if (c->refused) continue;
        double limit = choice->best < 0 ? 0 : choice->candidate[choice->best].cost.time_s;
        TRY(cost_estimate(q->model, row, q->size, q->bytes, 1, q->max_slices > 1 ? 4 * limit : limit, &c->cost));
        if (!c->cost.at_least) TRY(slice(q, c));
        if (choice->best < 0 || c->cost.time_s < limit) choice->best = choice->n - 1;
    }
    if (choice->best >= 0) return YJ_OK;
    return report(YJ_ERR_UNSUPPORTED, "no algorithm for %s serves %d ranks%s%s%s", collective->name, q->size,
                  q->ordered ? ", an operator that does not commute" : "",
                  q->canonical ? ", the canonical expression" : "", q->in_place ? ", in place" : "");
}

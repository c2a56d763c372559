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

#include <limits.h>
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
    int cursor, taken;   /* next steps of the round in hand, to send and to receive */
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
    c->cursor = c->taken = 0;
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

/* --- a fleet: the ranks that are walked, and who stands for the others --- */

/* So few ranks are all walked. Fewer bytes are not sliced. Rows of more rounds are not sliced; slicing is taken to gain
 * this factor at most. */
enum { FEW = 32, CAST = 64, MAX_SLICES = 64, SLICED_ROUNDS = 128, SLICE_GAIN = 8, SLICED_BYTES = 16384 };

struct fleet {
    const struct cost_model *model;
    const struct algorithm *row;
    const struct schedule *built; /* or NULL */
    struct schedule *rank;
    struct clock *clock;
    int *sending; /* those that have messages left in the round in hand */
    int size, n;  /* ranks; of them are walked */
    int period;   /* rank r is played by rank r % period; 0: only the ranks of CAST are there */
    int cast[CAST];
    int8_t at[256]; /* of cast, by rank % 256: index + 1, 0 nobody, -1 several */
    int root, slices;
    bool keep; /* all rounds are generated once: few ranks, several slices */
    double block_bytes, limit_s;
    double front; /* when the last of the walked ranks posted the round in hand */
};

/* Which of the walked ranks plays RANK; -1: none, it is taken to be where its peer is. */
static int player(const struct fleet *f, int rank) {
    if (f->period) return f->period == f->size ? rank : rank % f->period;
    int i = f->at[rank % 256];
    if (i >= 0) return i && f->cast[i - 1] == rank ? i - 1 : -1;
    for (i = f->n - 1; i >= 0 && f->cast[i] != rank;)
        i--;
    return i;
}

static bool round_at(struct fleet *f, int i, int round) {
    struct schedule *s = &f->rank[i];
    if (!f->built) return schedule_round(s, round);
    const struct schedule *b = &f->built[i];
    if (!s->algorithm) *s = *b;
    s->nsteps = 0;
    if (round < b->nrounds) s->step = b->step + b->first[round], s->nsteps = b->first[round + 1] - b->first[round];
    return round < b->nrounds;
}

/* The next message of a walked rank. */
static bool fleet_send(struct fleet *f, int i) {
    int peer;
    double bytes;
    struct clock *from = &f->clock[i], other = {.posted = from->posted};
    if (!next_send(&f->rank[i], from, f->block_bytes, &peer, &bytes)) return false;
    int class = class_of(f->model, f->rank[i].rank, peer), to = player(f, peer);
    transfer(&f->model->link[class], class, bytes, from, to < 0 ? &other : &f->clock[to]);
    return true;
}

/* The next that comes from a rank that is not walked: it is as far as the last of those that are. */
static bool fleet_receive(struct fleet *f, int i) {
    const struct schedule *s = &f->rank[i];
    struct clock *to = &f->clock[i], other = {.posted = f->front};
    while (to->taken < s->nsteps) {
        const struct step *t = &s->step[to->taken];
        double bytes = message_bytes(s, &to->taken, f->block_bytes);
        if (t->kind == STEP_SEND || t->kind == STEP_COPY || player(f, t->peer) >= 0) continue;
        int class = class_of(f->model, s->rank, t->peer);
        transfer(&f->model->link[class], class, bytes, &other, to);
        return true;
    }
    return false;
}

/* The round in hand of one slice: everybody's first message, then everybody's second, and so on. */
static void fleet_slice(struct fleet *f, int slice) {
    int left = 0;
    f->front = 0;
    for (int i = 0; i < f->n; i++) {
        post(f->model, &f->rank[i], slice, &f->clock[i]);
        if (!f->rank[i].nsteps) continue;
        f->sending[left++] = i;
        f->front = later(f->front, f->clock[i].posted);
    }
    while (left > 0) {
        int still = 0;
        for (int k = 0; k < left; k++) {
            int i = f->sending[k];
            bool sent = fleet_send(f, i), heard = !f->period && fleet_receive(f, i);
            if (sent || heard) f->sending[still++] = i;
        }
        left = still;
    }
    for (int i = 0; i < f->n; i++)
        finish(f->model, &f->rank[i], slice, f->block_bytes, &f->clock[i]);
}

static bool fleet_has(struct fleet *f, int round) {
    bool has = false;
    for (int i = 0; i < f->n; i++)
        has |= round_at(f, i, round);
    return has;
}

/* A long row (a ring) is the same round again and again: of each of its 16 parts the first 32 rounds are walked, and
 * the rest is taken to go on as the last 16 of them. FROM: when those began. Returns how many rounds were skipped. */
enum { LONG_ROUNDS = 2048, PARTS = 16, WALKED = 32, STEADY = 16 };
static int fleet_skip(struct fleet *f, int round, int rounds, double from) {
    int part = rounds / PARTS, rest = part - WALKED;
    double more = (f->clock[0].slice[0] - from) / STEADY * rest;
    if (round % part != WALKED - 1 || round + rest >= rounds) return 0;
    for (int i = 0; i < f->n; i++) {
        struct clock *c = &f->clock[i];
        c->cpu += more;
        for (int class = 0; class < LINKS; class ++)
            c->out[class] += more, c->in[class] += more;
        for (int slice = 0; slice < f->slices; slice++)
            c->slice[slice] += more;
    }
    return rest;
}

/* How many rounds a long row has; 0: it is not long. */
static int fleet_long(struct fleet *f) {
    if (!f->limit_s || !f->period || !fleet_has(f, LONG_ROUNDS)) return 0;
    int low = LONG_ROUNDS, high = 2 * LONG_ROUNDS; /* round LOW is there, HIGH is not */
    while (fleet_has(f, high) && high < INT_MAX / 2)
        low = high, high *= 2;
    while (high - low > 1)
        *(fleet_has(f, low + (high - low) / 2) ? &low : &high) = low + (high - low) / 2;
    return high;
}

/* Round by round, all slices of one before any of the next. */
static void fleet_rounds(struct fleet *f, struct cost *cost) {
    int rounds = fleet_long(f);
    double from = 0;
    for (; !cost->at_least && fleet_has(f, cost->rounds); cost->rounds++) {
        if (rounds && cost->rounds % (rounds / PARTS) == WALKED - STEADY) from = f->clock[0].slice[0];
        for (int slice = 0; slice < f->slices; slice++)
            fleet_slice(f, slice);
        if (rounds) cost->rounds += fleet_skip(f, cost->rounds, rounds, from);
        double limit = cost->rounds < SLICED_ROUNDS ? f->limit_s : f->limit_s / SLICE_GAIN;
        cost->at_least = limit > 0 && f->clock[0].slice[0] > limit;
    }
}

/* In waves, as slices follow each other through a tree: with round r of a slice, round r-1 of the next. */
static void fleet_waves(struct fleet *f, struct cost *cost) {
    for (int wave = 0; wave < cost->rounds + f->slices - 1; wave++)
        for (int slice = wave < f->slices ? wave : f->slices - 1; slice >= 0; slice--)
            if (fleet_has(f, wave - slice)) fleet_slice(f, slice);
}

static enum yj_status fleet_end(struct fleet *f, double *time) {
    *time = 0;
    for (int i = 0; i < f->n; i++) {
        if (!f->built && f->rank[i].failed) return report(YJ_ERR_MEMORY, "out of memory in the simulator");
        for (int slice = 0; slice < f->slices; slice++)
            *time = later(*time, f->clock[i].slice[slice]);
    }
    return YJ_OK;
}

/* Ports serve messages in a fixed order, which no transport does; of two orders the better is nearer to the truth. */
static enum yj_status fleet_run(struct fleet *f, struct cost *cost) {
    double other;
    *cost = (struct cost){0};
    fleet_rounds(f, cost);
    TRY(fleet_end(f, &cost->time_s));
    if (f->slices == 1 || cost->at_least || cost->rounds > SLICED_ROUNDS) return YJ_OK;
    for (int i = 0; i < f->n; i++) {
        double *slice = f->clock[i].slice;
        memset(slice, 0, (size_t)f->slices * sizeof *slice);
        f->clock[i] = (struct clock){.slice = slice};
    }
    fleet_waves(f, cost);
    TRY(fleet_end(f, &other));
    if (other < cost->time_s) cost->time_s = other;
    return YJ_OK;
}

static enum yj_status fleet_open(struct fleet *f, int i, struct schedule *s) {
    int rank = f->period ? i : f->cast[i];
    bool pair = f->row->collective == YJ_SEND || f->row->collective == YJ_RECV;
    TRY(schedule_open_nodes(f->row, rank, f->size, f->model->ranks_per_node, pair ? (rank + 1) % f->size : f->root, s));
    if (!f->keep) return YJ_OK;
    enum yj_status status = schedule_build(s);
    if (status != YJ_OK) schedule_close(s);
    return status;
}

static enum yj_status fleet_walk(struct fleet *f, uint64_t bytes, struct cost *cost) {
    int blocks = f->built ? f->built->blocks : f->row->blocks(f->size), opened = 0;
    size_t n = (size_t)f->n;
    f->block_bytes = blocks ? (double)bytes / blocks / f->slices : 0;
    f->rank = calloc(n, sizeof *f->rank);
    f->clock = calloc(n, sizeof *f->clock);
    f->sending = malloc(n * sizeof *f->sending);
    struct schedule *own = f->built ? NULL : calloc(n, sizeof *own), *opening = f->keep ? own : f->rank;
    double *slice = calloc(n * (size_t)f->slices, sizeof *slice);
    enum yj_status status = f->rank && f->clock && f->sending && slice && (own || f->built)
                                ? YJ_OK
                                : report(YJ_ERR_MEMORY, "out of memory for the cost of %s", f->row->name);
    for (int i = 0; status == YJ_OK && i < f->n; i++) {
        f->clock[i].slice = slice + (size_t)i * (size_t)f->slices;
        if (f->built) continue;
        status = fleet_open(f, i, &opening[i]);
        opened += status == YJ_OK;
    }
    if (f->keep) f->built = own;
    if (status == YJ_OK) status = fleet_run(f, cost);
    for (int i = 0; i < opened; i++)
        schedule_close(&opening[i]);
    free(own), free(f->rank), free(f->clock), free(f->sending), free(slice);
    return status;
}

/* How many ranks play all of a symmetric row: a node's, since shifting by whole nodes changes nothing. 0: too many. */
static int classes(const struct cost_model *model, const struct algorithm *row, int size) {
    int n = model->ranks_per_node;
    if (!(row->flags & ROW_SYMMETRIC)) return 0;
    return n == 0 || n >= size || n == 1 ? 1 : n <= CAST ? n : 0;
}

/* --- all ranks --- */

enum { ALL_WALKED = 256 }; /* from here on, one of each class where that is exact */

enum yj_status cost_simulate(const struct cost_model *model, const struct algorithm *row, int size, int root,
                             uint64_t bytes, int slices, struct cost *cost) {
    struct fleet f = {.model = model, .row = row, .size = size, .n = size, .period = size, .root = root};
    TRY(cost_model_check(model));
    if (row->collective == YJ_SEND || row->collective == YJ_RECV)
        return report(YJ_ERR_UNSUPPORTED, "a send alone is half a transfer: simulate a broadcast on 2 ranks");
    if (size < 1) return report(YJ_ERR_INPUT, "%d ranks", size);
    int few = classes(model, row, size);
    if (few && size > ALL_WALKED && (model->ranks_per_node == 0 || size % model->ranks_per_node == 0))
        f.n = f.period = few;
    f.slices = slices > 0 ? slices : 1;
    return fleet_walk(&f, bytes, cost);
}

enum yj_status cost_simulate_built(const struct cost_model *model, const struct schedule *ranks, uint64_t bytes,
                                   int slices, struct cost *cost) {
    struct fleet f = {.model = model, .row = ranks->algorithm, .built = ranks, .slices = slices > 0 ? slices : 1};
    f.size = f.n = f.period = ranks->size, f.root = ranks->root;
    TRY(cost_model_check(model));
    return fleet_walk(&f, bytes, cost);
}

/* --- some ranks for all --- */

static void join_cast(struct fleet *f, int rank) {
    if (f->n == CAST || player(f, rank) >= 0) return;
    f->cast[f->n++] = rank;
    f->at[rank % 256] = (int8_t)(f->at[rank % 256] ? -1 : f->n);
}

/* RANK and those it waited for, from its last round back: in each the last that it hears from, over the network if any.
 */
static enum yj_status trace(struct fleet *f, int rank) {
    struct schedule s;
    int round = 0;
    join_cast(f, rank);
    TRY(schedule_open_nodes(f->row, rank, f->size, f->model->ranks_per_node, 0, &s));
    while (round < 1024 && schedule_round(&s, round))
        round++;
    while (round-- > 0 && f->n < CAST) {
        int to = -1;
        if (!schedule_round(&s, round)) break;
        for (int i = 0; i < s.nsteps; i++) {
            const struct step *t = &s.step[i];
            if (t->kind == STEP_SEND || t->kind == STEP_COPY) continue;
            if (to < 0 || class_of(f->model, s.rank, t->peer) >= class_of(f->model, s.rank, to)) to = t->peer;
        }
        if (to >= 0) join_cast(f, s.rank = to);
    }
    schedule_close(&s);
    return YJ_OK;
}

/* Rounds of the row, looked at up to SLICED_ROUNDS + 1. */
static int row_rounds(const struct fleet *f, bool several) {
    struct schedule s;
    int rounds = 0;
    if (schedule_open_nodes(f->row, 0, f->size, f->model->ranks_per_node, several, &s) != YJ_OK) return 0;
    while (rounds <= SLICED_ROUNDS && schedule_round(&s, rounds))
        rounds++;
    schedule_close(&s);
    return rounds;
}

enum yj_status cost_estimate(const struct cost_model *model, const struct algorithm *row, int size, uint64_t bytes,
                             int slices, double limit_s, struct cost *cost) {
    int n = model->ranks_per_node, rank = size > 1 ? row->critical(size) : 0;
    int more[] = {n > 1 ? rank - rank % n + n - 1 : 0, size - 1}; /* the other end of its node; of the last node */
    struct fleet f = {.model = model, .row = row, .size = size, .limit_s = limit_s};
    f.slices = slices < 1 ? 1 : slices > MAX_SLICES ? MAX_SLICES : slices;
    f.n = f.period = classes(model, row, size);
    if (!f.period && size <= FEW) f.n = f.period = size;
    f.keep = f.slices > 1 && row_rounds(&f, size > 1) <= SLICED_ROUNDS;
    if (f.period) return fleet_walk(&f, bytes, cost);
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
    if (pair)
        join_cast(&f, rank);
    else
        TRY(trace(&f, rank));
    for (size_t i = 0; !pair && n > 0 && n < size && i < COUNT(more); i++)
        if (more[i] > rank && more[i] < size) join_cast(&f, more[i]);
    return fleet_walk(&f, bytes, cost);
}

/* --- choosing --- */

/* What the tuning file says, if that row serves. */
static void tuned(const struct choice_query *q, struct choice *choice) {
    for (int i = 0; q->tuning && i < q->tuning->n; i++) {
        const struct tuning_rule *rule = &q->tuning->rule[i];
        if (!tuning_matches(rule, q->collective, q->bytes, q->size)) continue;
        for (int k = 0; k < choice->n; k++)
            if (algorithm_index(choice->candidate[k].row) == rule->row && !choice->candidate[k].refused) {
                choice->best = k, choice->line = rule->line;
                return;
            }
    }
}

static const char *refusal(const struct choice_query *q, const struct algorithm *row) {
    if (q->size > row->max_size) return "too many ranks";
    if (!algorithm_serves(row, q->size, false)) return "not for this number of ranks";
    if (q->ordered && !(row->flags & ROW_ORDERED)) return "operands not in rank order";
    if (q->canonical && !(row->flags & ROW_CANONICAL)) return "not the canonical expression";
    if (q->in_place && row->flags & ROW_APART) return "not in place";
    if (q->unequal && row->flags & ROW_EQUAL) return "blocks must be of one size";
    int node = q->model->ranks_per_node;
    if (row->flags & ROW_NODES && (node < 2 || node >= q->size || q->size % node))
        return "not several nodes of equal size";
    return NULL;
}

/* More slices while they pay, of rows that could still become the best. */
static enum yj_status slice(const struct choice_query *q, struct candidate *c, double best) {
    double before = c->cost.time_s;
    if (c->cost.rounds > SLICED_ROUNDS || c->cost.at_least || before > SLICE_GAIN / 2 * best) return YJ_OK;
    if (q->bytes < SLICED_BYTES) return YJ_OK;
    for (int slices = 4; slices <= q->max_slices && slices <= MAX_SLICES; slices *= 4) {
        struct cost cost;
        TRY(cost_estimate(q->model, c->row, q->size, q->bytes, slices, 0, &cost));
        double gain = 1 - cost.time_s / before; /* four times the slices bring a third of it again, at most */
        if (gain < 0.02) break;
        before = cost.time_s, c->cost = cost, c->slices = slices;
        if (gain < 0.08 || before > 2 * best) break;
    }
    return YJ_OK;
}

/* All that serve, unsliced: *BEST is the cheapest of them. */
static enum yj_status candidates(const struct choice_query *q, struct choice *choice, double *best) {
    *best = 0;
    for (int i = 0; i < algorithm_count() && choice->n < CANDIDATES; i++) {
        const struct algorithm *row = algorithm_at(i);
        struct candidate *c = &choice->candidate[choice->n];
        if ((int)row->collective != q->collective) continue;
        *c = (struct candidate){.row = row, .slices = 1, .refused = refusal(q, row)};
        choice->n++;
        if (c->refused) continue;
        TRY(cost_estimate(q->model, row, q->size, q->bytes, 1, SLICE_GAIN * *best, &c->cost));
        if (!c->cost.at_least && (*best == 0 || c->cost.time_s < *best)) *best = c->cost.time_s;
    }
    return YJ_OK;
}

enum yj_status cost_choose(const struct choice_query *q, struct choice *choice) {
    const struct collective *collective = collective_find(q->collective);
    double best;
    if (!collective) return report(YJ_ERR_INPUT, "no collective has the number %d", q->collective);
    if (q->size < 1) return report(YJ_ERR_INPUT, "%s on %d ranks", collective->name, q->size);
    TRY(cost_model_check(q->model));
    *choice = (struct choice){.best = -1};
    TRY(candidates(q, choice, &best));
    for (int i = 0; i < choice->n; i++) {
        struct candidate *c = &choice->candidate[i];
        if (c->refused) continue;
        TRY(slice(q, c, best));
        if (c->cost.time_s < best) best = c->cost.time_s;
        if (choice->best < 0 || c->cost.time_s < choice->candidate[choice->best].cost.time_s) choice->best = i;
    }
    tuned(q, choice);
    if (choice->best >= 0) return YJ_OK;
    return report(YJ_ERR_UNSUPPORTED, "no algorithm for %s serves %d ranks%s%s%s", collective->name, q->size,
                  q->ordered ? ", an operator that does not commute" : "",
                  q->canonical ? ", the canonical expression" : "", q->in_place ? ", in place" : "");
}

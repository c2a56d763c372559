/* SPDX-License-Identifier: Apache-2.0
 *
 * The verifier: the plain interpreter that says what a schedule means. Blocks hold ids of reduction expressions,
 * operands in order; equal ids mean equal bits whatever the operator rounds to. Messages carry their round, so no rank
 * can meet another's message of a wrong round and no order of arrival can deadlock: only a message that is never sent
 * can. Hence all ranks may run in lock-step, and the three meanings differ in when memory is read and written within a
 * round.
 */
#include "comm/verify.h"
#include "comm/expression.h"
#include "runtime/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CELLS = 1 << 28 }; /* a gigabyte of ids */

/* What the steps of a round do to one block of memory of one rank. */
enum access { ACCESS_WRITE = 1, ACCESS_SEND = 2, ACCESS_COPY = 4, ACCESS_OPERAND = 8, ACCESS_SUM = 16 };
struct mark {
    uint64_t turn; /* the (rank, round) that FLAGS belong to */
    int flags, step;
    int64_t partner; /* OPERAND: the cell it is added into; SUM: the cell of this rank's operand */
};
struct send {
    int32_t source, step, next;
};
struct write {
    int64_t cell;
    int32_t rank, peer, step;
    uint32_t id;
};

struct world {
    const struct algorithm *row;
    const struct collective *collective;
    const struct schedule *built; /* or NULL: rounds come from the generator */
    enum meaning meaning;
    bool in_place, failed; /* failed: out of memory */
    int size, node, root, blocks, tmp_blocks, round;
    int64_t cells; /* of one rank */
    struct schedule *rank;
    uint32_t *value;   /* size * cells expression ids; 0: nothing */
    struct mark *mark; /* cells */
    uint64_t turn;
    struct expressions *ids;
    int32_t *inbox, *last; /* a rank's list in SEND, by ascending source */
    struct send *send;
    int nsends, send_room;
    struct write *sum, *late; /* arrivals of REDUCEs; in the eager meaning, all writes */
    int nsums, sum_room, nlate, late_room;
    int32_t *order; /* receive steps of one rank by peer */
    int order_room;
    uint32_t *operand;       /* size */
    uint64_t *heard, *hears; /* barrier: size * words, before and after the round */
    int words;
    struct verify_stats stats;
};

static const char *const meanings[] = {"eager", "rendezvous", "put"};

const char *meaning_name(enum meaning meaning) {
    return meanings[meaning];
}

static bool grow(void **array, int *room, int n, size_t bytes) {
    if (n < *room) return true;
    int more = *room ? 2 * *room : 256;
    void *p = more > *room ? realloc(*array, (size_t)more * bytes) : NULL;
    if (!p) return false;
    *array = p, *room = more;
    return true;
}
#define GROW(array, room, n) grow((void **)&(array), &(room), (n), sizeof *(array))

/* --- cells: blocks of IN, OUT and TMP of one rank in one row; in place IN and OUT are the same cells --- */

static int64_t cell_of(const struct world *w, int space, int block) {
    if (space == SPACE_TMP) return 2 * (int64_t)w->blocks + block;
    return space == SPACE_OUT && !w->in_place ? (int64_t)w->blocks + block : block;
}

static int64_t cell_at(const struct world *w, const struct schedule *s, const struct range *range, int i) {
    return cell_of(w, range->space, range_block(s, range, i));
}

static uint32_t *value_at(struct world *w, int rank, int64_t cell) {
    return &w->value[(int64_t)rank * w->cells + cell];
}

static const char *cell_name(const struct world *w, int64_t cell, char text[static 40]) {
    int64_t b = w->blocks;
    snprintf(text, 40, "%s block %lld",
             cell >= 2 * b ? "TMP"
             : cell >= b   ? "OUT"
             : w->in_place ? "IN/OUT"
                           : "IN",
             (long long)(cell >= 2 * b ? cell - 2 * b
                         : b           ? cell % b
                                       : 0));
    return text;
}

static enum yj_status wrong(const struct world *w, int rank, int step, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static enum yj_status wrong(const struct world *w, int rank, int step, const char *format, ...) {
    char what[400], where[64] = "", at[32] = "", nodes[32] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (step >= 0) snprintf(at, sizeof at, ", step %d", step);
    if (w->round >= 0) snprintf(where, sizeof where, "round %d, ", w->round);
    if (w->row->flags & ROW_NODES) snprintf(nodes, sizeof nodes, ", %d a node", w->node ? w->node : w->size);
    return report(YJ_ERR_INPUT, "%s %s, %d ranks%s, root %d, %s, %s: %srank %d%s: %s", w->collective->name,
                  w->row->name, w->size, nodes, w->root, meanings[w->meaning], w->in_place ? "in place" : "apart",
                  where, rank, at, what);
}

static bool holds(const struct world *w, enum holding holding, int rank, int block) {
    return holding == HOLD_ALL || (holding == HOLD_OWN && block == rank) || (holding == HOLD_ROOT && rank == w->root);
}

/* A transfer has a sender and a receiver: rank 0 and rank 1 of two. */
static bool pair(const struct algorithm *row) {
    return row->collective == YJ_SEND || row->collective == YJ_RECV;
}
static enum holding in_holding(const struct world *w, int rank) {
    return pair(w->row) ? rank == 0 ? HOLD_ALL : HOLD_NONE : w->collective->in;
}
static enum holding out_holding(const struct world *w, int rank) {
    return pair(w->row) ? rank == 1 ? HOLD_ALL : HOLD_NONE : w->collective->out;
}

/* --- one round of one rank: is each step possible, do they race? --- */

static enum yj_status touch(struct world *w, int rank, int step, int64_t cell, enum access access, int64_t partner) {
    struct mark *m = &w->mark[cell];
    char name[40];
    if (m->turn != w->turn) *m = (struct mark){.turn = w->turn, .step = step};
    bool race = ((m->flags | access) & ACCESS_WRITE && m->flags) || (access == ACCESS_COPY && m->flags & ACCESS_SUM) ||
                (access == ACCESS_SUM && m->flags & ACCESS_COPY);
    if (access == ACCESS_SUM && m->flags & ACCESS_OPERAND && m->partner != cell) race = true;
    if (access == ACCESS_SUM && m->flags & ACCESS_SUM && m->partner != partner) race = true;
    if (access == ACCESS_OPERAND && m->flags & ACCESS_SUM && partner != cell) race = true;
    if (race)
        return wrong(w, rank, step, "races with step %d for %s: one round has no order", m->step,
                     cell_name(w, cell, name));
    if (access == ACCESS_SUM) m->partner = partner;
    if (access == ACCESS_OPERAND && !(m->flags & ACCESS_SUM))
        m->partner = m->flags & ACCESS_OPERAND && m->partner != partner ? -1 : partner;
    m->flags |= access;
    return YJ_OK;
}

static enum yj_status check_write(struct world *w, int rank, int step, int space, int block) {
    if (space == SPACE_IN) return wrong(w, rank, step, "writes IN block %d: IN belongs to the caller", block);
    if (space == SPACE_OUT && !holds(w, out_holding(w, rank), rank, block))
        return wrong(w, rank, step, "writes OUT block %d, which this rank does not have", block);
    return YJ_OK;
}

static enum yj_status check_range(struct world *w, int rank, int step, const struct range *range) {
    int n = schedule_blocks(&w->rank[rank], range->space);
    if (range->space >= SPACES || range->count < 0 || range->first < 0 || range->stride < 0 ||
        (range->count > 0 && (range->count > n || range->first >= n)))
        return wrong(w, rank, step, "names %d blocks from %d on of a space of %d", range->count, range->first, n);
    return YJ_OK;
}

static enum yj_status check_step(struct world *w, int rank, int i) {
    const struct schedule *s = &w->rank[rank];
    const struct step *t = &s->step[i];
    bool reads = t->kind != STEP_RECV, writes = t->kind != STEP_SEND;
    TRY(check_range(w, rank, i, &t->from));
    TRY(check_range(w, rank, i, &t->to));
    if (t->kind > STEP_COPY || (t->kind != STEP_COPY && (t->peer < 0 || t->peer >= w->size || t->peer == rank)))
        return wrong(w, rank, i, "has the peer %d", t->peer);
    if (reads && writes && t->from.count != t->to.count)
        return wrong(w, rank, i, "reads %d blocks and writes %d", t->from.count, t->to.count);
    if (w->row->flags & ROW_STRAIGHT &&
        (t->kind == STEP_REDUCE || (t->kind == STEP_SEND && t->from.space != SPACE_IN) ||
         (t->kind == STEP_RECV && t->to.space != SPACE_OUT)))
        return wrong(w, rank, i, "forwards or adds, which the row promises not to do");
    for (int k = 0; k < (reads ? t->from.count : t->to.count); k++) {
        int64_t from = reads ? cell_at(w, s, &t->from, k) : -1, to = writes ? cell_at(w, s, &t->to, k) : -1;
        if (writes) TRY(check_write(w, rank, i, t->to.space, range_block(s, &t->to, k)));
        if (t->kind == STEP_COPY && from == to) continue;
        if (t->kind == STEP_SEND) TRY(touch(w, rank, i, from, ACCESS_SEND, -1));
        if (t->kind == STEP_COPY) TRY(touch(w, rank, i, from, ACCESS_COPY, -1));
        if (t->kind == STEP_REDUCE) TRY(touch(w, rank, i, from, ACCESS_OPERAND, to));
        if (writes) TRY(touch(w, rank, i, to, t->kind == STEP_REDUCE ? ACCESS_SUM : ACCESS_WRITE, from));
    }
    return YJ_OK;
}

static enum yj_status add_send(struct world *w, int source, int step) {
    int peer = w->rank[source].step[step].peer;
    if (!GROW(w->send, w->send_room, w->nsends)) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
    w->send[w->nsends] = (struct send){source, step, -1};
    if (w->inbox[peer] < 0)
        w->inbox[peer] = w->nsends;
    else
        w->send[w->last[peer]].next = w->nsends;
    w->last[peer] = w->nsends++;
    return YJ_OK;
}

/* Fetches the round of RANK; MORE false: it has ended. */
static enum yj_status post(struct world *w, int rank, bool *more) {
    struct schedule *s = &w->rank[rank];
    if (w->built) {
        const struct schedule *b = &w->built[rank];
        *more = w->round < b->nrounds;
        if (*more) s->step = b->step + b->first[w->round], s->nsteps = b->first[w->round + 1] - b->first[w->round];
    } else {
        *more = schedule_round(s, w->round);
        if (s->failed) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
    }
    if (!*more) return YJ_OK;
    w->turn++;
    uint64_t messages = 0, blocks = 0;
    for (int i = 0; i < s->nsteps; i++) {
        TRY(check_step(w, rank, i));
        if (s->step[i].kind != STEP_SEND) continue;
        TRY(add_send(w, rank, i));
        messages += i == 0 || s->step[i - 1].kind != STEP_SEND || s->step[i - 1].peer != s->step[i].peer;
        blocks += (uint64_t)s->step[i].from.count;
    }
    w->stats.messages += messages, w->stats.blocks += blocks;
    return YJ_OK;
}

/* --- data --- */

static enum yj_status read_cell(struct world *w, int rank, int step, int64_t cell, uint32_t *id) {
    char name[40];
    *id = *value_at(w, rank, cell);
    if (*id == 0) return wrong(w, rank, step, "reads %s, which holds nothing", cell_name(w, cell, name));
    return YJ_OK;
}

/* Data of block b may lie in blocks of that number only (all_to_all moves block b of r to block r of b). */
static enum yj_status check_number(struct world *w, int rank, int step, int64_t cell, uint32_t id) {
    char name[40];
    int64_t number = w->blocks ? cell % w->blocks : 0;
    if (w->collective->worth == WORTH_TURN || expression_block(w->ids, id) == number) return YJ_OK;
    return wrong(w, rank, step, "puts data of block %d into %s", expression_block(w->ids, id),
                 cell_name(w, cell, name));
}

static enum yj_status write_cell(struct world *w, int rank, int step, int64_t cell, uint32_t id) {
    TRY(check_number(w, rank, step, cell, id));
    if (w->meaning != MEANING_EAGER) {
        *value_at(w, rank, cell) = id;
        return YJ_OK;
    }
    if (!GROW(w->late, w->late_room, w->nlate)) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
    w->late[w->nlate++] = (struct write){cell, rank, -1, step, id};
    return YJ_OK;
}

static enum yj_status copies(struct world *w, int rank) {
    const struct schedule *s = &w->rank[rank];
    for (int i = 0; i < s->nsteps; i++) {
        const struct step *t = &s->step[i];
        for (int k = 0; t->kind == STEP_COPY && k < t->from.count; k++) {
            uint32_t id;
            TRY(read_cell(w, rank, i, cell_at(w, s, &t->from, k), &id));
            TRY(write_cell(w, rank, i, cell_at(w, s, &t->to, k), id));
        }
    }
    return YJ_OK;
}

static enum yj_status arrive(struct world *w, int rank, int step, int k, int source, uint32_t id) {
    const struct schedule *s = &w->rank[rank];
    const struct step *t = &s->step[step];
    int64_t cell = cell_at(w, s, &t->to, k);
    if (t->kind == STEP_RECV) return write_cell(w, rank, step, cell, id);
    TRY(check_number(w, rank, step, cell, id));
    if (!GROW(w->sum, w->sum_room, w->nsums)) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
    w->sum[w->nsums++] = (struct write){cell, rank, source, step, id};
    return YJ_OK;
}

static _Thread_local const struct step *sorted_steps; /* qsort has no argument for its comparison */
static int by_peer(const void *a, const void *b) {
    int x = *(const int32_t *)a, y = *(const int32_t *)b, p = sorted_steps[x].peer, q = sorted_steps[y].peer;
    return p != q ? (p > q) - (p < q) : (x > y) - (x < y);
}

static enum yj_status sort_receives(struct world *w, int rank, int *n) {
    const struct schedule *s = &w->rank[rank];
    bool sorted = true;
    *n = 0;
    for (int i = 0; i < s->nsteps; i++) {
        if (s->step[i].kind != STEP_RECV && s->step[i].kind != STEP_REDUCE) continue;
        if (!GROW(w->order, w->order_room, *n)) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
        if (*n && s->step[w->order[*n - 1]].peer > s->step[i].peer) sorted = false;
        w->order[(*n)++] = i;
    }
    sorted_steps = s->step;
    if (!sorted) qsort(w->order, (size_t)*n, sizeof *w->order, by_peer);
    return YJ_OK;
}

/* The message from SOURCE: its send steps from list entry E on, this rank's receive steps from order[i] on. */
static enum yj_status take_message(struct world *w, int rank, int n, int *i, int *e) {
    const struct schedule *s = &w->rank[rank], *from = NULL;
    int source = w->send[*e].source, first = w->order[*i], sent = 0, taken = 0, k = 0;
    for (from = &w->rank[source]; *e >= 0 && w->send[*e].source == source; *e = w->send[*e].next) {
        const struct step *t = &from->step[w->send[*e].step];
        for (int j = 0; j < t->from.count; j++, sent++) {
            while (*i < n && s->step[w->order[*i]].peer == source && k == s->step[w->order[*i]].to.count)
                ++*i, k = 0;
            if (*i == n || s->step[w->order[*i]].peer != source) continue; /* counted below */
            uint32_t id;
            TRY(read_cell(w, source, w->send[*e].step, cell_at(w, from, &t->from, j), &id));
            TRY(arrive(w, rank, w->order[*i], k++, source, id));
            taken++;
        }
    }
    for (; *i < n && s->step[w->order[*i]].peer == source; ++*i, k = 0)
        taken += s->step[w->order[*i]].to.count - k;
    if (sent != taken)
        return wrong(w, rank, first, "expects %d blocks from rank %d, which sends %d", taken, source, sent);
    for (int word = 0; w->heard && word < w->words; word++)
        w->hears[(int64_t)rank * w->words + word] |= w->heard[(int64_t)source * w->words + word];
    return YJ_OK;
}

static enum yj_status receives(struct world *w, int rank) {
    const struct schedule *s = &w->rank[rank];
    int n, i = 0, e = w->inbox[rank];
    TRY(sort_receives(w, rank, &n));
    while (i < n || e >= 0) {
        int expected = i < n ? s->step[w->order[i]].peer : w->size, source = e >= 0 ? w->send[e].source : w->size;
        if (expected < source)
            return wrong(w, rank, w->order[i], "waits for rank %d, which sends it nothing in this round: deadlock",
                         expected);
        if (source < expected)
            return wrong(w, source, w->send[e].step, "sends to rank %d, which expects nothing from it in this round",
                         rank);
        TRY(take_message(w, rank, n, &i, &e));
    }
    return YJ_OK;
}

static int by_cell(const void *a, const void *b) {
    const struct write *x = a, *y = b;
    if (x->cell != y->cell) return x->cell < y->cell ? -1 : 1;
    return (x->peer > y->peer) - (x->peer < y->peer);
}

/* One join: the arrivals sum[0..n-1] for one block, by ascending rank, and this rank's own operand in its place. */
static enum yj_status join(struct world *w, int rank, const struct write *sum, int n, uint32_t *id) {
    int count = 0;
    bool placed = false;
    uint32_t own;
    TRY(read_cell(w, rank, sum->step, w->mark[sum->cell].partner, &own));
    TRY(check_number(w, rank, sum->step, sum->cell, own));
    for (int i = 0; i < n; i++) {
        if (i && sum[i].peer == sum[i - 1].peer)
            return wrong(w, rank, sum[i].step, "adds two blocks of rank %d into one", sum[i].peer);
        if (!placed && sum[i].peer > rank) w->operand[count++] = own, placed = true;
        w->operand[count++] = sum[i].id;
    }
    if (!placed) w->operand[count++] = own;
    *id = expression_join(w->ids, w->operand, count);
    return *id ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory in the verifier");
}

/* The reductions of one rank at the end of its round. The marks of the round say which operand goes with which block.
 */
static enum yj_status reductions(struct world *w, int rank, struct write *sum, int n) {
    const struct schedule *s = &w->rank[rank];
    if (n > 1) qsort(sum, (size_t)n, sizeof *sum, by_cell);
    w->turn++;
    for (int i = 0; i < s->nsteps; i++)
        for (int k = 0; s->step[i].kind == STEP_REDUCE && k < s->step[i].to.count; k++)
            w->mark[cell_at(w, s, &s->step[i].to, k)] =
                (struct mark){.turn = w->turn, .partner = cell_at(w, s, &s->step[i].from, k)};
    for (int i = 0, j; i < n; i = j) {
        uint32_t id;
        for (j = i + 1; j < n && sum[j].cell == sum[i].cell;)
            j++;
        TRY(join(w, rank, sum + i, j - i, &id));
        sum[i].id = id, sum[i].peer = -1; /* written below: an operand may be another join's */
    }
    for (int i = 0; i < n; i++)
        if (sum[i].peer < 0) *value_at(w, rank, sum[i].cell) = sum[i].id;
    return YJ_OK;
}

static void spoil_receives(struct world *w, int rank) {
    const struct schedule *s = &w->rank[rank];
    for (int i = 0; i < s->nsteps; i++)
        for (int k = 0; s->step[i].kind == STEP_RECV && k < s->step[i].to.count; k++)
            *value_at(w, rank, cell_at(w, s, &s->step[i].to, k)) = 0;
}

static enum yj_status run_round(struct world *w, bool *more) {
    w->nsends = w->nsums = w->nlate = 0;
    for (int r = 0; r < w->size; r++)
        w->inbox[r] = -1;
    for (int r = 0; r < w->size; r++) {
        bool has;
        TRY(post(w, r, &has));
        if (r && has != *more)
            return wrong(w, r, -1, has ? "has this round; rank 0 has ended" : "has ended; rank 0 has this round");
        *more = has;
    }
    if (!*more) return YJ_OK;
    if (w->heard) memcpy(w->hears, w->heard, (size_t)w->size * (size_t)w->words * sizeof *w->heard);
    for (int r = 0; w->meaning == MEANING_PUT && r < w->size; r++)
        spoil_receives(w, r);
    for (int k = 0; k < w->size; k++) {
        int r = w->meaning == MEANING_PUT ? w->size - 1 - k : k;
        TRY(copies(w, r));
        TRY(receives(w, r));
    }
    for (int i = 0; i < w->nlate; i++)
        *value_at(w, w->late[i].rank, w->late[i].cell) = w->late[i].id;
    for (int i = 0, j; i < w->nsums; i = j) {
        for (j = i + 1; j < w->nsums && w->sum[j].rank == w->sum[i].rank;)
            j++;
        TRY(reductions(w, w->sum[i].rank, w->sum + i, j - i));
    }
    if (w->heard) memcpy(w->heard, w->hears, (size_t)w->size * (size_t)w->words * sizeof *w->heard);
    return YJ_OK;
}

/* --- before and after --- */

static bool prepare(struct world *w, const struct algorithm *row, int root) {
    size_t n = (size_t)w->size;
    w->rank = calloc(n, sizeof *w->rank);
    w->inbox = malloc(n * sizeof *w->inbox);
    w->last = malloc(n * sizeof *w->last);
    w->operand = malloc(n * sizeof *w->operand);
    if (!w->rank || !w->inbox || !w->last || !w->operand) return false;
    for (int r = 0; r < w->size; r++) {
        const struct algorithm *mine = row;
        if (pair(w->row) && (r == 0) != (row->collective == YJ_SEND))
            mine = row->collective == YJ_SEND ? algorithm_named(YJ_RECV, "recv") : algorithm_named(YJ_SEND, "send");
        if (w->built)
            w->rank[r] =
                (struct schedule){.size = w->size, .rank = r, .blocks = w->blocks, .tmp_blocks = w->tmp_blocks};
        else if (schedule_open_nodes(mine, r, w->size, w->node, pair(w->row) ? !r : root, &w->rank[r]) != YJ_OK)
            return false;
    }
    w->cells = 2 * (int64_t)w->blocks + w->tmp_blocks;
    if (w->cells > 0) w->value = calloc(n * (size_t)w->cells, sizeof *w->value);
    if (w->cells > 0) w->mark = calloc((size_t)w->cells, sizeof *w->mark);
    w->ids = expressions_open(w->size, w->blocks);
    if (w->collective->worth == WORTH_HEARD) {
        w->words = (w->size + 63) / 64;
        w->heard = calloc(n * (size_t)w->words, sizeof *w->heard);
        w->hears = calloc(n * (size_t)w->words, sizeof *w->hears);
        if (!w->heard || !w->hears) return false;
        for (int r = 0; r < w->size; r++)
            w->heard[(int64_t)r * w->words + r / 64] |= (uint64_t)1 << r % 64;
    }
    if (!w->ids || (w->cells > 0 && (!w->value || !w->mark))) return false;
    for (int r = 0; r < w->size; r++)
        for (int b = 0; b < w->blocks; b++)
            if (holds(w, in_holding(w, r), r, b))
                *value_at(w, r, cell_of(w, SPACE_IN, b)) = expression_leaf(w->ids, r, b);
    return true;
}

static void clear(struct world *w) {
    for (int r = 0; w->rank && !w->built && r < w->size; r++)
        schedule_close(&w->rank[r]);
    expressions_close(w->ids);
    void *all[] = {w->rank,  w->inbox, w->last, w->operand, w->value, w->mark,
                   w->heard, w->hears, w->send, w->sum,     w->late,  w->order};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* Names one rank whose contribution is not there exactly once. */
static enum yj_status wrong_sum(struct world *w, int rank, int block, uint32_t id) {
    uint64_t *count = calloc((size_t)w->size, sizeof *count);
    if (!count) return report(YJ_ERR_MEMORY, "out of memory in the verifier");
    expression_count(w->ids, id, count);
    int culprit = 0;
    while (culprit < w->size - 1 && count[culprit] == 1)
        culprit++;
    uint64_t times = count[culprit];
    free(count);
    return wrong(w, rank, -1, "OUT block %d holds the contribution of rank %d %llu times", block, culprit,
                 (unsigned long long)times);
}

static enum yj_status check_sum(struct world *w, int rank, int block, uint32_t id, uint32_t *agreed, int *agreed_by) {
    char mine[200], theirs[200];
    if (id == *agreed) return YJ_OK;
    if (!expression_is_sum(w->ids, id, block)) return wrong_sum(w, rank, block, id);
    if (!*agreed) *agreed = id, *agreed_by = rank;
    if (*agreed != id) {
        expression_text(w->ids, id, mine, sizeof mine);
        expression_text(w->ids, *agreed, theirs, sizeof theirs);
        return wrong(w, rank, -1, "OUT block %d is %s, on rank %d %s: not the same bits", block, mine, *agreed_by,
                     theirs);
    }
    if (w->row->flags & ROW_ORDERED && !expression_ordered(w->ids, id)) {
        expression_text(w->ids, id, mine, sizeof mine);
        return wrong(w, rank, -1, "OUT block %d is %s: not in rank order, as the row promises", block, mine);
    }
    if (w->row->flags & ROW_CANONICAL && !expression_canonical(w->ids, id)) {
        expression_text(w->ids, id, mine, sizeof mine);
        return wrong(w, rank, -1, "OUT block %d is %s: not one join of all ranks, as the row promises", block, mine);
    }
    return YJ_OK;
}

static enum yj_status check_block(struct world *w, int rank, int block, uint32_t *agreed, int *agreed_by) {
    uint32_t id = *value_at(w, rank, cell_of(w, SPACE_OUT, block));
    enum holding in = in_holding(w, rank);
    char text[200];
    if (id == 0) return wrong(w, rank, -1, "OUT block %d was not written", block);
    if (w->collective->worth == WORTH_SUM) return check_sum(w, rank, block, id, agreed, agreed_by);
    int source = pair(w->row) ? 0 : in == HOLD_ROOT ? w->root : block, number = block;
    if (w->collective->worth == WORTH_TURN) number = rank;
    if (id == expression_leaf(w->ids, source, number)) return YJ_OK;
    expression_text(w->ids, id, text, sizeof text);
    return wrong(w, rank, -1, "OUT block %d is %s, not block %d of rank %d", block, text, number, source);
}

static enum yj_status check_end(struct world *w) {
    w->round = -1;
    for (int b = 0; b < w->blocks; b++) {
        uint32_t agreed = 0;
        int agreed_by = 0;
        for (int r = 0; r < w->size; r++)
            if (holds(w, out_holding(w, r), r, b)) TRY(check_block(w, r, b, &agreed, &agreed_by));
    }
    for (int r = 0; w->heard && r < w->size; r++)
        for (int q = 0; q < w->size; q++)
            if (!(w->heard[(int64_t)r * w->words + q / 64] >> q % 64 & 1))
                return wrong(w, r, -1, "leaves without having heard from rank %d", q);
    return YJ_OK;
}

static enum yj_status run(struct world *w, struct verify_stats *stats) {
    bool more = true;
    for (w->round = 0; more; w->round += more)
        TRY(run_round(w, &more));
    w->stats.rounds = w->round;
    TRY(check_end(w));
    if (stats) *stats = w->stats;
    return YJ_OK;
}

static enum yj_status verify(const struct algorithm *row, const struct schedule *built, int size, int node, int root,
                             enum meaning meaning, bool in_place, struct verify_stats *stats) {
    struct world w = {.row = row,
                      .collective = collective_find(row->collective),
                      .built = built,
                      .meaning = meaning,
                      .in_place = in_place,
                      .size = size,
                      .node = node,
                      .root = w.collective->rooted ? root : 0};
    w.blocks = built ? built->blocks : row->blocks(size);
    w.tmp_blocks = built ? built->tmp_blocks : row->tmp(size);
    if (size * (2 * (int64_t)w.blocks + w.tmp_blocks) > MAX_CELLS)
        return report(YJ_ERR_UNSUPPORTED, "%s %s: %d ranks are too many for the verifier", w.collective->name,
                      row->name, size);
    enum yj_status status =
        prepare(&w, row, root) ? run(&w, stats) : report(YJ_ERR_MEMORY, "out of memory in the verifier");
    clear(&w);
    return status;
}

enum yj_status verify_one(const struct algorithm *row, int size, int root, enum meaning meaning, bool in_place,
                          struct verify_stats *stats) {
    return verify_nodes(row, size, 0, root, meaning, in_place, stats);
}

enum yj_status verify_nodes(const struct algorithm *row, int size, int node, int root, enum meaning meaning,
                            bool in_place, struct verify_stats *stats) {
    const struct collective *c = collective_find(row->collective);
    if (!algorithm_serves(row, size, false) || (pair(row) && size != 2))
        return report(YJ_ERR_UNSUPPORTED, "%s %s does not serve %d ranks", c->name, row->name, size);
    if (root < 0 || root >= size) return report(YJ_ERR_INPUT, "%s: root %d is outside 0..%d", c->name, root, size - 1);
    return verify(row, NULL, size, node, root, meaning, in_place, stats);
}

enum yj_status verify_built(const struct schedule *ranks, enum meaning meaning, bool in_place,
                            struct verify_stats *stats) {
    return verify(ranks->algorithm, ranks, ranks->size, ranks->node, ranks->root, meaning, in_place, stats);
}

static enum yj_status verify_shape(const struct algorithm *row, int size, int node, struct verify_stats *stats) {
    bool rooted = collective_find(row->collective)->rooted && !pair(row);
    int step = size <= 16 ? 1 : size / 2, placements = row->flags & ROW_APART ? 1 : 2;
    for (int root = 0; root < size && (root == 0 || rooted); root += step)
        for (int meaning = 0; meaning < MEANINGS; meaning++)
            for (int in_place = 0; in_place < placements; in_place++)
                TRY(verify_nodes(row, size, node, root, (enum meaning)meaning, in_place, stats));
    if (rooted && size > 16) TRY(verify_nodes(row, size, node, size - 1, MEANING_PUT, true, stats));
    return YJ_OK;
}

enum yj_status verify_row(const struct algorithm *row, int size, struct verify_stats *stats) {
    for (int node = row->flags & ROW_NODES ? 1 : size; node <= size; node++)
        if (size % node == 0) TRY(verify_shape(row, size, node, stats));
    return YJ_OK;
}

enum yj_status verify_before_use(const struct algorithm *row, int size, int node, bool *proven) {
    int64_t steps = (int64_t)size * size * (row->blocks(size) > 1 ? 2 : 1); /* an upper bound of sends, about */
    *proven = size <= 64;
    if (*proven || steps > 2 * 1024 * 1024) return YJ_OK;
    TRY(verify_nodes(row, size, node, 0, MEANING_PUT, !(row->flags & ROW_APART), NULL));
    *proven = true;
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From a call to a prepared call: choose a row, build its schedule, group steps into messages, find the sums of several
 * arrivals and the blocks that go on in the next round, and allocate all that the engine will need. One idea:
 * everything that two ranks must agree on (row, slices, lanes, fragments) follows from what the call requires to be
 * equal on all.
 */
#include "comm/check.h"
#include "comm/cost.h"
#include "comm/engine.h"
#include "comm/shm.h"
#include "comm/verify.h"

#include <stdlib.h>

/* --- the row --- */

/* Figures measured on two x86-64 machines (shared memory) and over loopback (tcp). They need not be true, only equal on
 * all ranks: the row must not depend on what one rank sees. */
static struct cost_model model_of(const struct yj_comm *comm) {
    struct cost_model model = {.link = {{5e-8, 1.5e-7, 1.25e-10, true}, {2e-6, 5e-6, 4e-10, true}},
                               .reduce_byte_s = 4e-12,
                               .copy_byte_s = 1e-11,
                               .round_s = 3e-8};
    const struct world *w = comm->world;
    int together = 1;
    if (w->threads) return model;
    while (together < comm->size && shm_between(w, comm->member[0], comm->member[together]))
        together++;
    model.ranks_per_node = together < comm->size ? together : 0;
    for (int i = 0; i < comm->size && model.ranks_per_node > 1; i++) /* all nodes as large, their ranks consecutive? */
        if (comm->size % together || !shm_between(w, comm->member[i - i % together], comm->member[i]))
            model.ranks_per_node = 1;
    return model;
}

/* Counts that only pairs of ranks know leave rows in which no block is forwarded; the cheapest of them for blocks of a
 * size that is the same everywhere: none of this job's counts. */
static const struct algorithm *straight_row(const struct yj_comm *comm, const struct collective *c,
                                            const struct cost_model *model) {
    static const uint64_t block_bytes = 4096;
    const struct algorithm *best = NULL;
    double least = 0;
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *a = algorithm_at(i);
        struct cost cost;
        if (a->collective != c->number || !(a->flags & ROW_STRAIGHT) || !algorithm_serves(a, comm->size, false))
            continue;
        if (!strcmp(a->name, comm->world->settings.algorithm)) return a;
        if (cost_estimate(model, a, comm->size, block_bytes * (uint64_t)comm->size, 1, 0, &cost) != YJ_OK) continue;
        if (!best || cost.time_s < least) best = a, least = cost.time_s;
    }
    return best;
}

static enum yj_status choose_row(struct yj_comm *comm, const struct checked *k, const struct algorithm **row) {
    const char *forced = comm->world->settings.algorithm;
    const struct collective *c = k->collective;
    bool canonical = k->call->flags & YJ_CALL_CANONICAL;
    struct cost_model model = model_of(comm);
    if (k->table && counts_are_private(c)) {
        *row = straight_row(comm, c, &model);
        return *row ? YJ_OK : report(YJ_ERR_UNSUPPORTED, "%s: counts on %d ranks", c->name, comm->size);
    }
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *a = algorithm_at(i);
        if (a->collective != c->number || !algorithm_serves(a, comm->size, false)) continue;
        if (!is_pair(c->number) && strcmp(a->name, forced)) continue;
        if (canonical && !(a->flags & ROW_CANONICAL)) continue;
        if (k->table && a->flags & ROW_EQUAL) continue;
        *row = a;
        return YJ_OK;
    }
    struct choice_query query = {.model = &model,
                                 .collective = (int)c->number,
                                 .size = comm->size,
                                 .bytes = k->total * k->element_bytes,
                                 .max_slices = 1,
                                 .unequal = k->table,
                                 .tuning = &comm->world->tuning,
                                 .canonical = canonical};
    struct choice choice;
    TRY(cost_choose(&query, &choice));
    *row = choice.candidate[choice.best].row;
    return YJ_OK;
}

/* --- sizes --- */

static int blocks_of_message(const struct schedule *s, int round) {
    int most = 0;
    for (int i = s->first[round]; i < s->first[round + 1]; i++) {
        int n = 0;
        if (s->step[i].kind != STEP_SEND) continue;
        for (int k = s->first[round]; k < s->first[round + 1]; k++)
            if (s->step[k].kind == STEP_SEND && s->step[k].peer == s->step[i].peer) n += s->step[k].from.count;
        if (n > most) most = n;
        if (s->first[round + 1] - s->first[round] > 64) return n; /* direct rows: all messages are alike */
    }
    return most;
}

/* The most blocks that any rank puts into one message. */
static enum yj_status longest_message(const struct schedule *mine, int *blocks) {
    const struct algorithm *row = mine->algorithm;
    bool alike = row->flags & ROW_SYMMETRIC || is_pair(row->collective);
    *blocks = 0;
    for (int round = 0; round < mine->nrounds; round++) {
        int n = blocks_of_message(mine, round);
        if (n > *blocks) *blocks = n;
    }
    if (is_pair(row->collective)) *blocks = 1;
    if (alike) return YJ_OK;
    if (mine->size > 512) { /* too many to look at: no message has more than all blocks */
        *blocks = mine->blocks;
        return YJ_OK;
    }
    for (int rank = 0; rank < mine->size; rank++) {
        struct schedule s;
        TRY(schedule_open_nodes(row, rank, mine->size, mine->node, mine->root, &s));
        enum yj_status status = schedule_build(&s);
        for (int round = 0; status == YJ_OK && round < s.nrounds; round++) {
            int n = blocks_of_message(&s, round);
            if (n > *blocks) *blocks = n;
        }
        schedule_close(&s);
        TRY(status);
    }
    return YJ_OK;
}

/* A message of a slice should fill a cell and not more; slices of its BLOCKS are cut at multiples of 64 bytes. Four
 * slices already overlap well; less than 8 KiB each does not pay. */
static int64_t slices_for(size_t longest, size_t blocks, size_t cell) {
    if (longest <= 16384 && longest <= cell) return 1;
    size_t piece = longest / 4;
    if (piece < 8192) piece = 8192;
    if (piece > cell) piece = cell;
    if (blocks > 1) piece -= 64 * (blocks < piece / 128 ? blocks : piece / 128);
    return (int64_t)((longest + piece - 1) / piece);
}

/* Elements of the largest block. */
static uint64_t largest_block(const struct checked *k, const struct schedule *s) {
    uint64_t blocks = (uint64_t)s->blocks, most = 0;
    if (!k->table) return k->total / blocks + (k->total % blocks > 0);
    for (int b = 0; b < s->size; b++)
        if (k->table[b] > most) most = k->table[b];
    return most;
}

static void place_blocks(struct yj_prepared *p, const struct checked *k, const struct schedule *s) {
    size_t size = (size_t)p->comm->size;
    p->layout = (struct layout){.blocks = s->blocks, .slices = 1, .element_bytes = p->element_bytes};
    for (int space = 0; space < SPACES; space++) {
        struct layout_part *part = &p->layout.part[space];
        int side = space == SPACE_OUT ? SIDE_OUT : SIDE_IN;
        *part = (struct layout_part){.only = -1, .count = k->total};
        if (!p->table) continue;
        part->counts = p->table + (size_t)(TABLE_COUNTS + side) * size;
        part->displs = p->table + (size_t)(space == SPACE_TMP ? TABLE_TIGHT : TABLE_DISPLS + side) * size;
    }
    if (k->collective->in == HOLD_OWN) p->layout.part[SPACE_IN].only = p->comm->rank;
    if (k->collective->out == HOLD_OWN) p->layout.part[SPACE_OUT].only = p->comm->rank;
}

static enum yj_status work_space(struct yj_prepared *p, const struct schedule *s) {
    size_t tmp = 0, stage = p->staged ? p->part_bytes[SIDE_IN] : 0;
    TRY(layout_tmp_bytes(&p->layout, s, &tmp));
    if (tmp && !(p->tmp = aligned_alloc(64, (tmp + 63) / 64 * 64)))
        return report(YJ_ERR_MEMORY, "%s: out of memory for %zu bytes of work space", p->collective->name, tmp);
    if (stage && !(p->stage = aligned_alloc(64, (stage + 63) / 64 * 64)))
        return report(YJ_ERR_MEMORY, "%s: out of memory for %zu bytes to work in place", p->collective->name, stage);
    return YJ_OK;
}

static enum yj_status lay_out(struct yj_prepared *p, const struct checked *k, const struct schedule *s) {
    int longest;
    place_blocks(p, k, s);
    TRY(work_space(p, s));
    p->small = !is_pair(p->card.collective);
    if (p->table && counts_are_private(p->collective)) { /* one slice; messages are cut where a cell ends */
        p->small = false;
        return YJ_OK;
    }
    if (!s->blocks || !p->bytes) return YJ_OK;
    TRY(longest_message(s, &longest));
    size_t bytes, cell = (size_t)p->comm->world->settings.cell;
    if (__builtin_mul_overflow(largest_block(k, s) * p->element_bytes, (size_t)longest, &bytes)) bytes = SIZE_MAX / 4;
    p->small = !is_pair(p->card.collective) && bytes <= SMALL_CELL;
    int64_t slices = p->small ? 1 : slices_for(bytes, (size_t)longest, cell);
    if (slices > INT32_MAX)
        return report(YJ_ERR_UNSUPPORTED, "%s: %zu bytes are too many", p->collective->name, p->bytes);
    p->layout.slices = (int)max64(1, slices);
    return YJ_OK;
}

/* --- messages --- */

struct builder {
    struct yj_prepared *p;
    const struct schedule *s;
    int32_t
        *made[SPACES]; /* [block]: what the last round made there: incoming i as i + 1, join j as -(j + 1); 0 nothing */
    int32_t *arrivals[SPACES], *sends[SPACES]; /* [block]: in this round */
    int32_t *order;
    int nmessages, nout, nincoming, ncopies, ntargets, njoins, noperands;
    int last_round_out; /* first message of the last round */
};

static struct piece piece_at(struct yj_prepared *p, const struct schedule *s, const struct range *range, int i) {
    struct piece piece = {.space = range->space, .block = range_block(s, range, i)};
    char *origin = (char *)4096; /* of an address space that nobody looks into: only the distance counts */
    p->layout.part[piece.space].base = origin;
    piece.offset = (size_t)(layout_slice(&p->layout, piece.space, piece.block, 0, &piece.bytes) - origin);
    return piece;
}

static int kind_class(const struct step *t) {
    return t->kind == STEP_SEND ? 0 : t->kind == STEP_COPY ? 2 : 1;
}

static int by_message(const void *a, const void *b, void *argument) {
    const struct schedule *s = argument;
    int x = *(const int32_t *)a, y = *(const int32_t *)b;
    const struct step *p = &s->step[x], *q = &s->step[y];
    if (kind_class(p) != kind_class(q)) return kind_class(p) - kind_class(q);
    if (p->peer != q->peer) return p->peer < q->peer ? -1 : 1;
    return x - y;
}

static uint8_t memory_of(const struct yj_prepared *p, uint8_t space) {
    return p->in_place && space == SPACE_IN ? SPACE_OUT : space;
}

static void add_out(struct builder *b, struct message *m, const struct step *t) {
    for (int i = 0; i < t->from.count; i++) {
        struct piece piece = piece_at(b->p, b->s, &t->from, i);
        int made = b->made[piece.space][piece.block];
        if (made) { /* the round before made it: write it there as well */
            int32_t *fuse = made > 0 ? &b->p->incoming[made - 1].fuse : &b->p->joins[-made - 1].fuse;
            b->p->target[b->ntargets] = (struct target){(int32_t)(m - b->p->message), b->nout, *fuse};
            *fuse = b->ntargets++;
        }
        b->sends[memory_of(b->p, piece.space)][piece.block]++;
        b->p->out[b->nout++] = piece;
        m->n++;
    }
}

static void add_in(struct builder *b, struct message *m, const struct step *t) {
    for (int i = 0; i < t->to.count; i++) {
        struct incoming *in = &b->p->incoming[b->nincoming++];
        *in = (struct incoming){.to = piece_at(b->p, b->s, &t->to, i), .fuse = -1};
        if (t->kind == STEP_REDUCE) {
            in->own = piece_at(b->p, b->s, &t->from, i);
            in->reduce = m->reduces = true;
            in->own_first = b->p->comm->rank < t->peer;
            b->arrivals[in->to.space][in->to.block]++;
        }
        m->n++;
    }
}

static void add_join(struct builder *b, struct round *round, int message, int piece) {
    struct incoming *in = &b->p->incoming[piece];
    int32_t *known = &b->arrivals[in->to.space][in->to.block]; /* now: -(join + 1) once it has one */
    if (*known < 0) return;
    struct join *join = &b->p->joins[b->njoins++];
    *join = (struct join){.to = in->to, .own = in->own, .first = b->noperands, .fuse = -1};
    *known = -b->njoins;
    bool placed = false;
    for (int m = message; m < round->in + round->nins; m++) {
        const struct message *from = &b->p->message[m];
        for (int i = from->first; i < from->first + from->n; i++) {
            const struct incoming *other = &b->p->incoming[i];
            if (!other->reduce || other->to.space != in->to.space || other->to.block != in->to.block) continue;
            if (!placed && from->peer > b->p->comm->rank)
                b->p->operand[b->noperands++] = (struct operand){-1, -1}, placed = true;
            b->p->operand[b->noperands++] = (struct operand){m - round->in, i};
        }
    }
    if (!placed) b->p->operand[b->noperands++] = (struct operand){-1, -1};
    join->n = b->noperands - join->first;
    round->njoins++;
}

static void clear(struct builder *b, int32_t **table) {
    for (int space = 0; space < SPACES; space++)
        memset(table[space], 0, sizeof **table * (size_t)max64(1, schedule_blocks(b->s, space)));
}

static void build_round(struct builder *b, int r) {
    struct yj_prepared *p = b->p;
    const struct schedule *s = b->s;
    struct round *round = &p->round[r];
    int n = s->first[r + 1] - s->first[r];
    for (int i = 0; i < n; i++)
        b->order[i] = s->first[r] + i;
    qsort_r(b->order, (size_t)n, sizeof *b->order, by_message, (void *)s);
    clear(b, b->arrivals), clear(b, b->sends);
    *round = (struct round){.out = b->nmessages, .copy = b->ncopies, .join = b->njoins};
    int peer = -1, kind = 0;
    round->in = b->nmessages;
    for (int i = 0; i < n; i++) {
        const struct step *t = &s->step[b->order[i]];
        if (t->kind == STEP_COPY) {
            for (int k = 0; k < t->to.count; k++)
                p->copy[b->ncopies++] =
                    (struct incoming){.to = piece_at(p, s, &t->to, k), .own = piece_at(p, s, &t->from, k), .fuse = -1};
            continue;
        }
        if (t->peer != peer || kind_class(t) != kind) {
            peer = t->peer, kind = kind_class(t);
            p->message[b->nmessages++] = (struct message){.peer = peer, .first = kind ? b->nincoming : b->nout};
            if (kind)
                round->nins++;
            else
                round->nouts++, round->in = b->nmessages;
        }
        struct message *m = &p->message[b->nmessages - 1];
        if (kind)
            add_in(b, m, t);
        else
            add_out(b, m, t);
    }
    round->ncopies = b->ncopies - round->copy;
    bool several = false;
    clear(b, b->made);
    for (int m = round->in; m < round->in + round->nins; m++)
        for (int i = p->message[m].first; i < p->message[m].first + p->message[m].n; i++) {
            struct incoming *in = &p->incoming[i];
            if (in->reduce && b->sends[memory_of(p, in->to.space)][in->to.block]) round->hazard = true;
            if (in->reduce && b->arrivals[in->to.space][in->to.block] > 1) several = true;
            b->made[in->to.space][in->to.block] = i + 1;
        }
    for (int m = round->in; several && m < round->in + round->nins; m++)
        for (int i = p->message[m].first; i < p->message[m].first + p->message[m].n; i++)
            if (p->incoming[i].reduce) {
                add_join(b, round, m, i);
                b->made[p->incoming[i].to.space][p->incoming[i].to.block] =
                    b->arrivals[p->incoming[i].to.space][p->incoming[i].to.block];
            }
}

static void *table(size_t n, size_t bytes) {
    return calloc(n ? n : 1, bytes);
}

static enum yj_status build(struct yj_prepared *p, const struct schedule *s) {
    struct builder b = {.p = p, .s = s};
    size_t out = 0, in = 0, copies = 0, joins = 0;
    for (int i = 0; i < s->nsteps; i++) {
        const struct step *t = &s->step[i];
        if (t->kind == STEP_SEND)
            out += (size_t)t->from.count;
        else if (t->kind == STEP_COPY)
            copies += (size_t)t->to.count;
        else
            in += (size_t)t->to.count;
        if (t->kind == STEP_REDUCE) joins += (size_t)t->to.count;
    }
    p->nrounds = s->nrounds;
    p->round = table((size_t)s->nrounds, sizeof *p->round);
    p->message = table((size_t)s->nsteps, sizeof *p->message);
    p->out = table(out, sizeof *p->out);
    p->incoming = table(in, sizeof *p->incoming);
    p->copy = table(copies, sizeof *p->copy);
    p->target = table(out, sizeof *p->target);
    p->joins = table(joins, sizeof *p->joins);
    p->operand = table(2 * joins, sizeof *p->operand);
    b.order = table((size_t)s->nsteps, sizeof *b.order);
    bool failed = !p->round || !p->message || !p->out || !p->incoming || !p->copy || !p->target || !p->joins ||
                  !p->operand || !b.order;
    for (int space = 0; space < SPACES; space++) {
        size_t n = (size_t)schedule_blocks(s, space);
        b.made[space] = table(n, sizeof **b.made);
        b.arrivals[space] = table(n, sizeof **b.arrivals);
        b.sends[space] = table(n, sizeof **b.sends);
        failed |= !b.made[space] || !b.arrivals[space] || !b.sends[space];
    }
    for (int r = 0; !failed && r < s->nrounds; r++)
        build_round(&b, r);
    for (int space = 0; space < SPACES; space++)
        free(b.made[space]), free(b.arrivals[space]), free(b.sends[space]);
    free(b.order);
    return failed ? report(YJ_ERR_MEMORY, "%s: out of memory for its schedule", p->collective->name) : YJ_OK;
}

/* --- runners --- */

static enum yj_status make_runners(struct yj_prepared *p) {
    size_t outs = 1, ins = 1, pieces = 1;
    for (int r = 0; r < p->nrounds; r++) {
        size_t n = 0;
        if ((size_t)p->round[r].nouts > outs) outs = (size_t)p->round[r].nouts;
        if ((size_t)p->round[r].nins > ins) ins = (size_t)p->round[r].nins;
        for (int m = 0; m < p->round[r].nouts; m++)
            n += (size_t)p->message[p->round[r].out + m].n;
        if (n > pieces) pieces = n;
    }
    bool pair = is_pair(p->card.collective);
    p->nrunners = p->small || pair ? 1 : p->layout.slices < LARGE_LANES ? p->layout.slices : LARGE_LANES;
    for (int i = 0; i < p->nrunners; i++) {
        struct runner *r = &p->runner[i];
        r->sent = table(outs, sizeof *r->sent);
        r->taken = table(ins, sizeof *r->taken);
        r->sent_bytes = table(outs, sizeof *r->sent_bytes);
        r->taken_bytes = table(ins, sizeof *r->taken_bytes);
        r->data = table(ins, sizeof *r->data);
        r->operand = table(ins + 1, sizeof *r->operand);
        bool failed = !r->sent || !r->taken || !r->sent_bytes || !r->taken_bytes || !r->data || !r->operand;
        for (int k = 0; k < 2; k++) {
            r->cell[k] = table(outs, sizeof **r->cell);
            r->at[k] = table(pieces, sizeof **r->at);
            r->written[k] = table(pieces, sizeof **r->written);
            failed |= !r->cell[k] || !r->at[k] || !r->written[k];
        }
        if (failed) return report(YJ_ERR_MEMORY, "%s: out of memory", p->collective->name);
    }
    const struct round *only = p->round;
    p->line = p->comm->size == 2 && p->small && p->nrounds == 1 && only->nouts == 1 && only->nins == 1 &&
              !only->ncopies && !(p->flags & YJ_CALL_READY) && p->message[only->out].n <= 1 &&
              p->message[only->in].n <= 1 && p->bytes <= INLINE_BYTES;
    if (p->line && p->message[only->in].n)
        p->line_count = p->incoming[p->message[only->in].first].to.bytes / p->element_bytes;
    return YJ_OK;
}

static enum yj_status connect_peers(struct yj_prepared *p) {
    struct yj_comm *comm = p->comm;
    for (int r = 0; r < p->nrounds; r++)
        for (int i = 0; i < p->round[r].nouts + p->round[r].nins; i++) {
            struct message *m = &p->message[p->round[r].out + i];
            TRY(comm_connect(comm, m->peer));
            m->channel = comm->channel[m->peer];
        }
    return YJ_OK;
}

static enum yj_status schedule_for(const struct algorithm *row, struct yj_comm *comm, int root, struct schedule *s) {
    bool proven;
    int node = model_of(comm).ranks_per_node;
    TRY(verify_before_use(row, comm->size, node, &proven));
    if (!proven)
        log_line(YJ_LOG_INFO, "comm: %s is used on %d ranks without a proof for this size", row->name, comm->size);
    TRY(schedule_open_nodes(row, comm->rank, comm->size, node, root, s));
    enum yj_status status = schedule_build(s);
    if (status != YJ_OK) schedule_close(s);
    return status;
}

static enum yj_status fill(struct yj_prepared *p, const struct checked *k) {
    struct yj_comm *comm = p->comm;
    p->bytes = k->total * p->element_bytes;
    if (comm->size == 1 || (!k->total && !p->table && k->collective->worth != WORTH_HEARD &&
                            !is_pair(p->card.collective))) { /* nothing to say to anybody */
        p->small = true;
        return YJ_OK;
    }
    TRY(choose_row(comm, k, &p->row));
    p->row_index = algorithm_index(p->row);
    p->staged = p->in_place && p->row->flags & ROW_APART;
    struct schedule s;
    TRY(schedule_for(p->row, comm, p->collective->rooted ? k->call->root : 0, &s));
    enum yj_status status = lay_out(p, k, &s);
    if (status == YJ_OK) status = build(p, &s);
    schedule_close(&s);
    TRY(status);
    p->stream = p->bytes >= (uint64_t)comm->world->settings.stream;
    TRY(make_runners(p));
    return connect_peers(p);
}

/* What all ranks must say alike; the counts of a v-collective are in it only where all ranks know them. */
static void fill_card(struct yj_prepared *p, const struct checked *k) {
    const struct yj_call *call = k->call;
    p->card = (struct card){.collective = call->collective, .root = p->collective->rooted ? call->root : 0};
    if (p->collective->worth != WORTH_HEARD) p->card.dtype = call->dtype, p->card.count = call->count;
    if (p->collective->worth == WORTH_SUM) p->card.op = call->op;
    if (call->name) strncpy(p->card.name, call->name, sizeof p->card.name - 1);
    if (k->table) {
        p->card.count = k->total;
        p->card.counts = CARD_COUNTS_PRIVATE;
        if (!counts_are_private(p->collective))
            p->card.counts = hash_bytes(k->table, (size_t)p->comm->size * sizeof *k->table, 3) | 2;
    }
    struct card said = p->card; /* of a pair, both halves say the same */
    if (is_pair(said.collective)) said.collective = YJ_SEND, said.root = 0;
    p->hash = card_hash(&said);
}

static enum yj_status keep_table(struct yj_prepared *p, const struct checked *k) {
    size_t bytes = (size_t)p->comm->size * TABLE_ROWS * sizeof *k->table;
    if (!k->table) return YJ_OK;
    if (!(p->table = malloc(bytes))) return report(YJ_ERR_MEMORY, "out of memory for a call");
    memcpy(p->table, k->table, bytes);
    return YJ_OK;
}

enum yj_status prepare_call(struct yj_comm *comm, const struct checked *k, struct yj_prepared **prepared) {
    struct yj_prepared *p = calloc(1, sizeof *p);
    if (!p) return report(YJ_ERR_MEMORY, "out of memory for a call");
    p->comm = comm;
    p->request.call = p;
    p->collective = k->collective;
    p->row_index = -1;
    p->element_bytes = k->element_bytes;
    p->flags = k->call->flags;
    p->deadline = k->call->deadline;
    p->in_place = k->in_place;
    for (int side = 0; side < 2; side++)
        p->part_bytes[side] = k->part[side] * k->element_bytes, p->at_bytes[side] = k->at[side] * k->element_bytes;
    fill_card(p, k);
    if (p->card.op) {
        p->join_fn = comm->engine->reduce->join[p->card.dtype][p->card.op];
        if (p->card.op == YJ_AVG) p->scale_fn = comm->engine->reduce->scale[p->card.dtype];
    }
    enum yj_status status = keep_table(p, k);
    if (status == YJ_OK) status = fill(p, k);
    if (status != YJ_OK) {
        prepare_free(p);
        return status;
    }
    *prepared = p;
    return YJ_OK;
}

void prepare_free(struct yj_prepared *p) {
    for (int i = 0; i < LARGE_LANES; i++) {
        struct runner *r = &p->runner[i];
        free(r->sent), free(r->taken), free(r->sent_bytes), free(r->taken_bytes), free(r->data), free(r->operand);
        for (int k = 0; k < 2; k++)
            free(r->cell[k]), free(r->at[k]), free(r->written[k]);
    }
    free(p->round), free(p->message), free(p->out), free(p->incoming), free(p->copy), free(p->target);
    free(p->joins), free(p->operand), free(p->tmp), free(p->stage), free(p->table);
    free(p);
}

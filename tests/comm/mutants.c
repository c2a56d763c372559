/* SPDX-License-Identifier: Apache-2.0
 *
 * The verifier is worth what it refuses. Every row of algorithms.def is broken at every step in every way of enum
 * fault. A mutant that the verifier lets through must give the right numbers, the same bits on all ranks, in a plain
 * execution that shares no code with the verifier; and faults that always change something must never get through.
 */
#include "comm/generate.h"
#include "comm/verify.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum fault {
    DROP,
    DROP_MESSAGE,
    DOUBLE,
    PEER,
    FIRST,
    COUNT_LESS,
    COUNT_MORE,
    KIND,
    SPACE,
    SWAP_ROUNDS,
    SWAP_ROUNDS_ONE,
    FAULTS
};
static const char *const fault_names[] = {"drop a step",
                                          "drop a message",
                                          "double a step",
                                          "next peer",
                                          "next block",
                                          "count - 1",
                                          "count + 1",
                                          "other kind",
                                          "other space",
                                          "swap rounds",
                                          "swap rounds of one rank"};
static struct {
    const struct algorithm *row;
    enum fault fault;
    int node, rank, round, step;
    int peer, kind; /* of the step chosen: for DROP_MESSAGE */
    bool changed;
} mutant;

static void drop(struct schedule *s, int i) {
    memmove(s->step + i, s->step + i + 1, (size_t)(s->nsteps - i - 1) * sizeof *s->step);
    s->nsteps--;
    mutant.changed = true;
}

static void change_range(const struct schedule *s, struct range *range) {
    int n = schedule_blocks(s, range->space);
    struct range old = *range;
    if (range->count == 0) return;
    if (mutant.fault == FIRST) range->first = (range->first + 1) % n;
    if (mutant.fault == COUNT_LESS) range->count--;
    if (mutant.fault == COUNT_MORE) range->count++;
    if (mutant.fault == SPACE) range->space = range->space == SPACE_IN ? SPACE_OUT : SPACE_IN;
    if (old.first != range->first || old.count != range->count || old.space != range->space) mutant.changed = true;
}

static void change_step(struct schedule *s, int i) {
    struct step copy = s->step[i], *t = &s->step[i];
    if (mutant.fault == DROP) drop(s, i);
    if (mutant.fault == DOUBLE) {
        send_to(s, 0, (struct range){SPACE_IN, 0, s->blocks > 0, 1}); /* makes room */
        s->step[s->nsteps - 1] = copy;
        mutant.changed = true;
    }
    if (mutant.fault == PEER && t->kind != STEP_COPY) t->peer = (t->peer + 1) % s->size, mutant.changed = true;
    if (mutant.fault == KIND && s->blocks && (t->kind == STEP_RECV || t->kind == STEP_REDUCE)) {
        if (t->kind == STEP_RECV)
            t->from = t->to;
        else
            t->from.count = 0;
        t->kind = t->kind == STEP_RECV ? STEP_REDUCE : STEP_RECV, mutant.changed = true;
    }
    if (mutant.fault == FIRST || mutant.fault == COUNT_LESS || mutant.fault == COUNT_MORE || mutant.fault == SPACE) {
        change_range(s, t->kind == STEP_RECV ? &t->to : &t->from);
        if (mutant.fault != SPACE && t->kind != STEP_RECV && t->to.count) change_range(s, &t->to);
    }
}

/* Both ends of the message that the chosen step (a send) belongs to. */
static void drop_message(struct schedule *s, int rank) {
    for (int i = s->nsteps; i-- > 0;) {
        const struct step *t = &s->step[i];
        bool mine = rank == mutant.rank && t->kind == STEP_SEND && t->peer == mutant.peer;
        bool theirs = rank == mutant.peer && (t->kind == STEP_RECV || t->kind == STEP_REDUCE) && t->peer == mutant.rank;
        if (mine || theirs) drop(s, i);
    }
}

static bool emit_mutant(struct schedule *s, int rank, int size, int round) {
    bool swap = mutant.fault == SWAP_ROUNDS || (mutant.fault == SWAP_ROUNDS_ONE && rank == mutant.rank);
    int other = swap && round == mutant.round ? round + 1 : swap && round == mutant.round + 1 ? round - 1 : round;
    if (swap && other != round) {
        struct schedule probe;
        bool exists = schedule_open_nodes(mutant.row, rank, size, mutant.node, s->root, &probe) == YJ_OK &&
                      schedule_round(&probe, round > other ? round : other);
        schedule_close(&probe);
        if (exists)
            mutant.changed = true;
        else
            other = round;
    }
    if (!mutant.row->emit(s, rank, size, other)) return false;
    if (round != mutant.round || swap) return true;
    if (mutant.fault == DROP_MESSAGE)
        drop_message(s, rank);
    else if (rank == mutant.rank && mutant.step < s->nsteps)
        change_step(s, mutant.step);
    return true;
}

/* --- the plain execution: lock-step on floats; every round reads the memory as it was when the round began --- */

enum { MOST = 16, CELLS = 24 };
struct machine {
    bool in_place;
    float cell[MOST][SPACES][CELLS];
    uint32_t heard[MOST];
};

static float *place(struct machine *m, int rank, int space, int block) {
    return &m->cell[rank][m->in_place && space == SPACE_OUT ? SPACE_IN : space][block];
}

static float *block_at(struct machine *m, const struct schedule *s, const struct range *range, int k) {
    return place(m, s->rank, range->space, range_block(s, range, k));
}

/* What PEER sends RANK as its K-th block of the round. */
static float sent(struct machine *old, const struct schedule *all, int peer, int rank, int k) {
    for (int i = 0; i < all[peer].nsteps; i++) {
        const struct step *t = &all[peer].step[i];
        if (t->kind != STEP_SEND || t->peer != rank) continue;
        if (k < t->from.count) return *block_at(old, &all[peer], &t->from, k);
        k -= t->from.count;
    }
    return -1e30f;
}

/* A sum in the making for every block of memory: one operand a rank. */
struct sums {
    uint32_t from[SPACES][CELLS];
    float operand[SPACES][CELLS][MOST];
};

static void gather_operand(struct sums *sums, int space, int block, int rank, float value) {
    bool again = sums->from[space][block] >> rank & 1;
    sums->operand[space][block][rank] = again ? sums->operand[space][block][rank] + value : value;
    sums->from[space][block] |= 1u << rank;
}

static void run_rank(struct machine *old, struct machine *now, const struct schedule *all, int rank) {
    const struct schedule *s = &all[rank];
    struct sums sums = {0};
    int taken[MOST] = {0};
    for (int i = 0; i < s->nsteps; i++) {
        const struct step *t = &s->step[i];
        if (t->kind == STEP_RECV || t->kind == STEP_REDUCE) now->heard[rank] |= old->heard[t->peer];
        for (int k = 0; t->kind != STEP_SEND && k < t->to.count; k++) {
            int block = range_block(s, &t->to, k);
            if (t->kind == STEP_COPY) *block_at(now, s, &t->to, k) = *block_at(old, s, &t->from, k);
            if (t->kind == STEP_COPY) continue;
            float value = sent(old, all, t->peer, rank, taken[t->peer]++);
            if (t->kind == STEP_RECV)
                *block_at(now, s, &t->to, k) = value;
            else
                gather_operand(&sums, t->to.space, block, t->peer, value);
            if (t->kind == STEP_REDUCE && !(sums.from[t->to.space][block] >> rank & 1))
                gather_operand(&sums, t->to.space, block, rank, *block_at(old, s, &t->from, k));
        }
    }
    for (int space = 0; space < SPACES; space++)
        for (int block = 0; block < CELLS; block++) {
            float sum = 0;
            uint32_t from = sums.from[space][block], first = from & -from;
            for (int r = 0; r < s->size; r++)
                if (from >> r & 1)
                    sum = first >> r & 1 ? sums.operand[space][block][r] : sum + sums.operand[space][block][r];
            if (from) *place(now, rank, space, block) = sum;
        }
}

static float given(int rank, int block) {
    return (float)(sin(1 + rank * 37.0 + block) * exp2(rank % 5));
}

static bool right(const struct collective *c, struct machine *m, int size, int root, int blocks) {
    float agreed[MOST];
    bool set[MOST] = {0};
    for (int r = 0; r < size; r++) {
        if (c->worth == WORTH_HEARD && m->heard[r] != (1u << size) - 1) return false;
        for (int b = 0; b < blocks; b++) {
            if (c->out == HOLD_NONE || (c->out == HOLD_OWN && b != r) || (c->out == HOLD_ROOT && r != root)) continue;
            float value = *place(m, r, SPACE_OUT, b);
            double sum = 0;
            for (int q = 0; q < size; q++)
                sum += given(q, b);
            if (c->worth == WORTH_SAME && value != given(c->in == HOLD_ROOT ? root : b, b)) return false;
            if (c->worth == WORTH_TURN && value != given(b, r)) return false;
            if (c->worth == WORTH_SUM && !(fabs(value - sum) < 1e-4)) return false;
            if (c->worth == WORTH_SUM && set[b] && agreed[b] != value) return false;
            agreed[b] = value, set[b] = true;
        }
    }
    return true;
}

static bool runs_right(const struct algorithm *row, int size, int root, bool in_place) {
    const struct collective *c = collective_find(row->collective);
    struct machine now = {.in_place = in_place}, old;
    struct schedule all[MOST];
    int blocks = row->blocks(size);
    for (int r = 0; r < size; r++) {
        now.heard[r] = 1u << r;
        for (int space = 0; space < SPACES; space++)
            for (int b = 0; b < CELLS; b++)
                now.cell[r][space][b] = -1e30f;
        for (int b = 0; b < blocks; b++)
            if (c->in == HOLD_ALL || (c->in == HOLD_OWN && b == r) || (c->in == HOLD_ROOT && r == root))
                *place(&now, r, SPACE_IN, b) = given(r, b);
        assert_int_equal(schedule_open_nodes(row, r, size, mutant.node, root, &all[r]), YJ_OK);
    }
    bool more = true;
    for (int round = 0; more; round++) {
        more = false;
        for (int r = 0; r < size; r++)
            more |= schedule_round(&all[r], round);
        old = now;
        for (int r = 0; more && r < size; r++)
            run_rank(&old, &now, all, r);
    }
    for (int r = 0; r < size; r++)
        schedule_close(&all[r]);
    return right(c, &now, size, root, blocks);
}

/* --- the hunt --- */

static struct { int made, caught, harmless; } score[64][FAULTS];

static bool caught(const struct algorithm *row, int size, int root) {
    for (int meaning = 0; meaning < MEANINGS; meaning++)
        for (int in_place = 0; in_place < (row->flags & ROW_APART ? 1 : 2); in_place++)
            if (verify_nodes(row, size, mutant.node, root, (enum meaning)meaning, in_place, NULL) != YJ_OK) return true;
    return false;
}

static void hunt(int index, int size, int root) {
    const struct algorithm *row = mutant.row;
    struct algorithm broken = *row;
    broken.emit = emit_mutant;
    mutant.changed = false;
    bool found = caught(&broken, size, root);
    if (!mutant.changed) return;
    score[index][mutant.fault].made++;
    if (found) {
        score[index][mutant.fault].caught++;
        return;
    }
    score[index][mutant.fault].harmless++;
    bool ok =
        runs_right(&broken, size, root, false) && (row->flags & ROW_APART || runs_right(&broken, size, root, true));
    bool changes = mutant.fault < SPACE && mutant.fault != DROP_MESSAGE && mutant.kind != STEP_COPY;
    if (ok && !changes) return;
    print_error("%s %s, %d ranks, %d a node, root %d: not caught: %s, rank %d, round %d, step %d\n",
                collective_find(row->collective)->name, row->name, size, mutant.node, root, fault_names[mutant.fault],
                mutant.rank, mutant.round, mutant.step);
    fail();
}

static void hunt_row(int index, int size, int root) {
    const struct algorithm *row = algorithm_at(index);
    mutant.row = row;
    for (int rank = 0; rank < size; rank++) {
        struct schedule s;
        bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
        if (pair && rank == (row->collective == YJ_SEND)) continue; /* the other half's */
        assert_int_equal(schedule_open_nodes(row, rank, size, mutant.node, pair ? !rank : root, &s), YJ_OK);
        for (int round = 0; schedule_round(&s, round); round++)
            for (int step = 0; step < s.nsteps; step++)
                for (int fault = 0; fault < FAULTS; fault++) {
                    const struct step *t = &s.step[step];
                    mutant.fault = (enum fault)fault, mutant.rank = rank, mutant.round = round, mutant.step = step;
                    mutant.peer = t->peer, mutant.kind = t->kind;
                    if ((fault == DROP_MESSAGE && (t->kind != STEP_SEND || pair)) || (fault >= SWAP_ROUNDS && step))
                        continue;
                    if (fault == SWAP_ROUNDS && rank) continue;
                    if (fault == DOUBLE && t->from.count + t->to.count == 0) continue; /* nothing twice */
                    hunt(index, size, root);
                }
        schedule_close(&s);
    }
}

static void every_mutant_is_caught(void **state) {
    static const int sizes[] = {2, 3, 4, 5, 6, 7, 8};
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *row = algorithm_at(i);
        bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
        for (size_t k = 0; k < (pair ? 1 : COUNT(sizes)); k++)
            for (int node = row->flags & ROW_NODES ? 1 : sizes[k]; node <= sizes[k]; node++) {
                if (sizes[k] % node) continue;
                mutant.node = node;
                hunt_row(i, sizes[k], 0);
                if (collective_find(row->collective)->rooted && !pair) hunt_row(i, sizes[k], sizes[k] - 1);
            }
        int made = 0, found = 0;
        for (int fault = 0; fault < FAULTS; fault++)
            made += score[i][fault].made, found += score[i][fault].caught;
        print_message("%-15s %-20s %6d mutants, %6d caught, %d harmless\n", collective_find(row->collective)->name,
                      row->name, made, found, made - found);
        assert_true(found > 0 && score[i][DROP].caught > 0 && score[i][DOUBLE].caught == score[i][DOUBLE].made);
    }
}

/* Without a mutation the plain execution finds every row right: it is a judge. */
static void plain_execution_agrees(void **state) {
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *row = algorithm_at(i);
        if (row->collective == YJ_SEND || row->collective == YJ_RECV) continue;
        for (int size = 1; size <= MOST; size++)
            for (mutant.node = 1; mutant.node <= size; mutant.node++)
                for (int in_place = 0; in_place < (row->flags & ROW_APART ? 1 : 2); in_place++)
                    assert_true(runs_right(row, size, size / 2 % size, in_place));
    }
}

/* --- faults of thought: algorithms that look right --- */

/* Mixed radix, one peer a round: every contribution once on every rank, in different orders, so with different bits. */
static bool radix(struct schedule *s, int rank, int size, int round) {
    for (int d = 1, m = size, stage = 0; m > 1; stage++) {
        int k = m % 2 == 0 ? 2 : m % 3 == 0 ? 3 : 5;
        if (round < k) {
            int digit = rank / d % k, to = rank + ((digit + round) % k - digit) * d;
            int from = rank + ((digit - round + k) % k - digit) * d;
            if (round == 0) copy_to(s, stage ? out(0, 1) : in(0, 1), tmp(stage, 1));
            if (round) send_to(s, to, tmp(stage, 1));
            if (round) reduce_from(s, from, round == 1 ? tmp(stage, 1) : out(0, 1), out(0, 1));
            return true;
        }
        round -= k, d *= k, m /= k;
    }
    return false;
}

/* A ring of whole vectors: each rank starts the sum at itself. */
static bool chain(struct schedule *s, int rank, int size, int round) {
    if (round >= size - 1) return false;
    send_to(s, rank + round + 1, in(0, 1));
    reduce_from(s, rank - round - 1, round ? out(0, 1) : in(0, 1), out(0, 1));
    return true;
}

/* Exchange by receiving into the block that is sent. */
static bool racing(struct schedule *s, int rank, int size, int round) {
    if (round == 0) copy_to(s, in(0, 1), out(0, 1));
    if (round == 1) send_to(s, rank ^ 1, out(0, 1)), recv_from(s, rank ^ 1, out(0, 1));
    return round < 2 && size == 2;
}

static bool waiting(struct schedule *s, int rank, int size, int round) {
    if (round == 0) recv_from(s, rank + 1, out(0, 1));
    if (round == 1) send_to(s, rank - 1, in(0, 1));
    return round < 2;
}

static bool uneven(struct schedule *s, int rank, int size, int round) {
    return round < (rank ? 1 : 2);
}

static bool writes_in(struct schedule *s, int rank, int size, int round) {
    if (round == 0) send_to(s, rank + 1, in(0, 1)), recv_from(s, rank - 1, (struct range){SPACE_IN, 1, 1, 1});
    return round == 0;
}

static int one(int size) {
    return 1;
}
static int twice(int size) {
    return 2 * size;
}

static void refuse(generator *emit, int size, int (*blocks)(int), const char *why) {
    struct algorithm row = *algorithm_named(YJ_ALL_REDUCE, "circulant");
    row.name = "wrong", row.emit = emit, row.blocks = blocks, row.tmp = twice;
    enum yj_status status = verify_row(&row, size, NULL);
    if (status != YJ_ERR_INPUT || !strstr(yj_error_text(), why)) print_error("%d: %s\n", status, yj_error_text());
    assert_int_equal(status, YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), why));
}

static void plausible_but_wrong(void **state) {
    refuse(chain, 3, one, "not the same bits");
    for (int size = 3; size <= 30; size += size == 3 ? 2 : size == 6 ? 4 : size == 5 ? 1 : 20)
        refuse(radix, size, one, "not the same bits");
    refuse(racing, 2, one, "races with step");
    refuse(waiting, 4, one, "deadlock");
    refuse(uneven, 4, one, "has ended");
    refuse(writes_in, 4, twice, "IN belongs to the caller");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_execution_agrees),
        cmocka_unit_test(plausible_but_wrong),
        cmocka_unit_test(every_mutant_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints and parses schedules. The parser reads one line at a time and trusts nothing: what it lets through is within
 * the ranges that the verifier and the simulator index with; whether it is right is the verifier's business.
 */
#include "comm/text.h"
#include "comm/generate.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_RANKS = 4096, MAX_BLOCKS = 1 << 20, MAX_STEPS = 1 << 24, MAX_WORK = 1 << 27 };
static const char *const spaces[] = {"in", "out", "tmp"};

static void print_range(const struct range *range, struct text *text) {
    if (range->count == 0)
        text_add(text, "nothing");
    else if (range->count == 1)
        text_add(text, "%s[%d]", spaces[range->space], range->first);
    else if (range->stride == 1)
        text_add(text, "%s[%d:%d]", spaces[range->space], range->first, range->count);
    else
        text_add(text, "%s[%d:%d:%d]", spaces[range->space], range->first, range->count, range->stride);
}

static void print_step(const struct step *t, struct text *text) {
    static const char *const verbs[] = {"send", "recv", "reduce", "copy"};
    text_add(text, "    %s ", verbs[t->kind]);
    print_range(t->kind == STEP_SEND ? &t->from : &t->to, text);
    if (t->kind == STEP_SEND) text_add(text, " to %d", t->peer);
    if (t->kind == STEP_RECV) text_add(text, " from %d", t->peer);
    if (t->kind == STEP_COPY || t->kind == STEP_REDUCE) text_add(text, " = "), print_range(&t->from, text);
    if (t->kind == STEP_REDUCE) text_add(text, " + from %d", t->peer);
    text_add(text, "\n");
}

void schedule_print(const struct schedule *ranks, struct text *text) {
    const struct schedule *s = ranks;
    text_add(text, "schedule %s %s ranks %d root %d blocks %d tmp %d\n",
             collective_find(s->algorithm->collective)->name, s->algorithm->name, s->size, s->root, s->blocks,
             s->tmp_blocks);
    for (int round = 0; round < s->nrounds; round++) {
        text_add(text, "round %d\n", round);
        for (int r = 0; r < s->size; r++) {
            if (round >= ranks[r].nrounds || ranks[r].first[round] == ranks[r].first[round + 1]) continue;
            text_add(text, "  rank %d\n", r);
            for (int i = ranks[r].first[round]; i < ranks[r].first[round + 1]; i++)
                print_step(&ranks[r].step[i], text);
        }
    }
}

enum yj_status schedule_print_row(const struct algorithm *row, int size, int node, int root, struct text *text) {
    struct schedule *ranks = size > 0 ? calloc((size_t)size, sizeof *ranks) : NULL;
    enum yj_status status = ranks ? YJ_OK : report(size > 0 ? YJ_ERR_MEMORY : YJ_ERR_INPUT, "%d ranks", size);
    bool pair = row->collective == YJ_SEND || row->collective == YJ_RECV;
    if (status == YJ_OK && pair) status = report(YJ_ERR_UNSUPPORTED, "a %s is one step: nothing to print", row->name);
    int built = 0;
    for (; status == YJ_OK && built < size; built++) {
        status = schedule_open_nodes(row, built, size, node, root, &ranks[built]);
        if (status == YJ_OK) status = schedule_build(&ranks[built]);
    }
    if (status == YJ_OK) schedule_print(ranks, text);
    if (status == YJ_OK && text->failed) status = report(YJ_ERR_MEMORY, "out of memory for the text of a schedule");
    for (int r = 0; r < built; r++)
        schedule_close(&ranks[r]);
    free(ranks);
    return status;
}

/* --- parsing --- */

struct reader {
    const char *file, *at; /* the rest of the line */
    int line, rank, round;
    int64_t steps, work; /* steps; steps and the blocks they name */
    struct schedule_text *out;
};

static enum yj_status bad(const struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum yj_status bad(const struct reader *r, const char *format, ...) {
    char what[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return report(YJ_ERR_INPUT, "%s:%d: %s", r->file, r->line, what);
}

static bool word(struct reader *r, const char *expected) {
    size_t n = strlen(expected);
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
    if (strncmp(r->at, expected, n) || (isalnum((unsigned char)expected[n - 1]) && isalnum((unsigned char)r->at[n])))
        return false;
    r->at += n;
    return true;
}

static enum yj_status number(struct reader *r, int low, int high, const char *what, int *value) {
    char *end;
    while (*r->at == ' ')
        r->at++;
    long n = strtol(r->at, &end, 10);
    if (end == r->at || n < low || n > high) return bad(r, "%s must be a number from %d to %d", what, low, high);
    r->at = end, *value = (int)n;
    return YJ_OK;
}

static enum yj_status name(struct reader *r, char text[static 48]) {
    size_t n = 0;
    while (*r->at == ' ')
        r->at++;
    for (; isalnum((unsigned char)*r->at) || *r->at == '_'; r->at++)
        if (n < 47) text[n++] = *r->at;
    text[n] = 0;
    return n ? YJ_OK : bad(r, "a name is missing");
}

static enum yj_status expect(struct reader *r, const char *what) {
    return word(r, what) ? YJ_OK : bad(r, "expected `%s` before `%.20s`", what, r->at);
}

static int no_blocks(int size) {
    return 0;
}
static bool no_round(struct schedule *s, int rank, int size, int round) {
    return false;
}

static enum yj_status header(struct reader *r) {
    char collective[48];
    struct schedule_text *out = r->out;
    int root, blocks, tmp;
    if (out->rank) return bad(r, "a second schedule");
    TRY(name(r, collective));
    TRY(name(r, out->name));
    const struct collective *c = collective_named(collective);
    if (!c || c->number == YJ_SEND || c->number == YJ_RECV) return bad(r, "%s is not a collective", collective);
    TRY(expect(r, "ranks"));
    TRY(number(r, 1, MAX_RANKS, "ranks", &out->size));
    TRY(expect(r, "root"));
    TRY(number(r, 0, out->size - 1, "root", &root));
    TRY(expect(r, "blocks"));
    TRY(number(r, c->worth == WORTH_HEARD ? 0 : 1, MAX_BLOCKS, "blocks", &blocks));
    TRY(expect(r, "tmp"));
    TRY(number(r, 0, MAX_BLOCKS, "tmp", &tmp));
    if (c->in == HOLD_OWN || c->out == HOLD_OWN || c->worth == WORTH_TURN)
        if (blocks != out->size) return bad(r, "%s has one block a rank: blocks %d", c->name, out->size);
    const struct algorithm *row = algorithm_named(c->number, out->name);
    out->row = (struct algorithm){.collective = c->number,
                                  .name = out->name,
                                  .emit = no_round,
                                  .blocks = no_blocks,
                                  .tmp = no_blocks,
                                  .critical = no_blocks,
                                  .max_size = INT_MAX,
                                  .flags = row ? row->flags : 0,
                                  .doc = "read from text"};
    out->rank = calloc((size_t)out->size, sizeof *out->rank);
    if (!out->rank) return report(YJ_ERR_MEMORY, "out of memory for %d ranks", out->size);
    for (int i = 0; i < out->size; i++)
        out->rank[i] = (struct schedule){
            .algorithm = &out->row, .rank = i, .size = out->size, .root = root, .blocks = blocks, .tmp_blocks = tmp};
    return YJ_OK;
}

static enum yj_status range(struct reader *r, struct range *range) {
    *range = (struct range){SPACE_IN, 0, 0, 1};
    if (word(r, "nothing")) return r->out->rank->blocks ? bad(r, "a step on nothing") : YJ_OK;
    while (range->space < SPACES && !word(r, spaces[range->space]))
        range->space++;
    if (range->space == SPACES) return bad(r, "expected in[..], out[..] or tmp[..] before `%.20s`", r->at);
    int n = schedule_blocks(r->out->rank, range->space);
    if (n == 0) return bad(r, "there are no blocks of %s", spaces[range->space]);
    range->count = 1;
    TRY(expect(r, "["));
    TRY(number(r, 0, n - 1, "the first block", &range->first));
    if (word(r, ":")) TRY(number(r, 1, n, "the number of blocks", &range->count));
    if (word(r, ":")) TRY(number(r, 0, n - 1, "the stride", &range->stride));
    if ((r->work += range->count) > MAX_WORK) return bad(r, "the steps name more than %d blocks", MAX_WORK);
    return expect(r, "]");
}

static enum yj_status peer(struct reader *r, int *peer) {
    return number(r, 0, r->out->size - 1, "a rank", peer);
}

/* Rounds before the one in hand that this rank has not spoken of are empty. */
static bool reach_round(struct schedule *s, int round) {
    if (round + 2 > s->first_room) {
        int room = round + 2 > 2 * s->first_room ? round + 2 : 2 * s->first_room;
        int *first = realloc(s->first, (size_t)room * sizeof *first);
        if (!first) return false;
        s->first = first, s->first_room = room;
    }
    while (s->nrounds <= round)
        s->first[s->nrounds++] = s->nsteps;
    s->first[s->nrounds] = s->nsteps;
    return true;
}

static enum yj_status step(struct reader *r) {
    struct range from, to;
    int other;
    if (r->rank < 0) return bad(r, "a step needs a round and a rank before it");
    if (++r->steps > MAX_STEPS) return bad(r, "more than %d steps", MAX_STEPS);
    struct schedule *s = &r->out->rank[r->rank];
    if (word(r, "send")) {
        TRY(range(r, &from));
        TRY(expect(r, "to"));
        TRY(peer(r, &other));
        send_to(s, other, from);
    } else if (word(r, "recv")) {
        TRY(range(r, &to));
        TRY(expect(r, "from"));
        TRY(peer(r, &other));
        recv_from(s, other, to);
    } else {
        bool reduces = word(r, "reduce");
        if (!reduces && !word(r, "copy"))
            return bad(r, "expected round, rank, send, recv, reduce or copy before `%.20s`", r->at);
        TRY(range(r, &to));
        TRY(expect(r, "="));
        TRY(range(r, &from));
        if (reduces) TRY(expect(r, "+"));
        if (reduces) TRY(expect(r, "from"));
        if (reduces) TRY(peer(r, &other));
        if (reduces)
            reduce_from(s, other, from, to);
        else
            copy_to(s, from, to);
    }
    s->first[s->nrounds] = s->nsteps;
    return s->failed ? report(YJ_ERR_MEMORY, "out of memory for a schedule") : YJ_OK;
}

static enum yj_status line(struct reader *r) {
    int n;
    if (word(r, "schedule")) return header(r);
    if (!*r->at) return YJ_OK;
    if (!r->out->rank) return bad(r, "expected `schedule` first");
    if (word(r, "round")) {
        TRY(number(r, 0, MAX_STEPS, "a round", &n));
        if (n != r->round + 1) return bad(r, "round %d is expected, not %d", r->round + 1, n);
        r->round = n, r->rank = -1;
        if ((int64_t)n * r->out->size > MAX_STEPS) return bad(r, "too many rounds for %d ranks", r->out->size);
        for (int i = 0; i < r->out->size; i++)
            if (!reach_round(&r->out->rank[i], n)) return report(YJ_ERR_MEMORY, "out of memory for a schedule");
        return YJ_OK;
    }
    if (word(r, "rank")) {
        if (r->round < 0) return bad(r, "expected `round` before the first rank");
        return peer(r, &r->rank);
    }
    return step(r);
}

enum yj_status schedule_parse(const char *file, const char *source, struct schedule_text *schedule) {
    struct reader r = {.file = file, .rank = -1, .round = -1, .out = schedule};
    enum yj_status status = YJ_OK;
    char buffer[256];
    *schedule = (struct schedule_text){0};
    while (status == YJ_OK && *source) {
        size_t n = strcspn(source, "\n"), used = strcspn(source, "#\n");
        r.line++;
        while (used && isspace((unsigned char)source[used - 1]))
            used--;
        if (used >= sizeof buffer) status = bad(&r, "the line is too long");
        if (status != YJ_OK) break;
        memcpy(buffer, source, used);
        buffer[used] = 0, r.at = buffer;
        while (isspace((unsigned char)*r.at))
            r.at++;
        status = line(&r);
        if (status == YJ_OK && *r.at) status = bad(&r, "`%.20s` is too much", r.at);
        source += n + (source[n] == '\n');
    }
    if (status == YJ_OK && !schedule->rank) status = report(YJ_ERR_INPUT, "%s: no schedule", file);
    for (int i = 0; status == YJ_OK && i < schedule->size; i++) {
        schedule->rank[i].algorithm = &schedule->row;
        if (!reach_round(&schedule->rank[i], r.round)) status = report(YJ_ERR_MEMORY, "out of memory for a schedule");
    }
    if (status != YJ_OK) schedule_text_close(schedule);
    return status;
}

void schedule_text_close(struct schedule_text *schedule) {
    for (int i = 0; schedule->rank && i < schedule->size; i++)
        schedule_close(&schedule->rank[i]);
    free(schedule->rank);
    *schedule = (struct schedule_text){0};
}

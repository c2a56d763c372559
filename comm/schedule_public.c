/* SPDX-License-Identifier: Apache-2.0
 *
 * <yunjin/comm_schedule.h>: names and figures from outside are checked here and handed to the tables, the verifier and
 * the walker.
 */
#include <yunjin/comm_schedule.h>

#include "comm/cost.h"
#include "comm/text.h"
#include "comm/verify.h"

#include <stdlib.h>

static bool is_pair(const struct algorithm *row) {
    return row->collective == YJ_SEND || row->collective == YJ_RECV;
}

static enum yj_status find(const char *collective, const char *algorithm, const struct algorithm **row) {
    const struct collective *c = collective ? collective_named(collective) : NULL;
    if (!c) return report(YJ_ERR_INPUT, "no collective is called %s", collective ? collective : "(null)");
    *row = algorithm ? algorithm_named(c->number, algorithm) : NULL;
    return *row ? YJ_OK
                : report(YJ_ERR_INPUT, "%s has no algorithm called %s", collective, algorithm ? algorithm : "(null)");
}

bool yj_schedule_row(int index, struct yj_schedule_name *row) {
    const struct algorithm *a = algorithm_at(index);
    if (!a) return false;
    *row = (struct yj_schedule_name){collective_find(a->collective)->name, a->name, a->doc};
    return true;
}

static void tell(yj_schedule_case_fn *fn, void *user, const struct algorithm *row, int ranks, enum yj_status status,
                 const struct verify_stats *stats, double seconds) {
    struct yj_schedule_case c = {.size = sizeof c,
                                 .ranks = ranks,
                                 .collective = collective_find(row->collective)->name,
                                 .algorithm = row->name,
                                 .status = status,
                                 .text = status == YJ_OK ? "" : yj_error_text(),
                                 .rounds = stats->rounds,
                                 .messages = stats->messages,
                                 .blocks = stats->blocks,
                                 .seconds = seconds};
    fn(user, &c);
}

enum yj_status yj_schedule_verify(const char *collective, const char *algorithm, int ranks, yj_schedule_case_fn *fn,
                                  void *user) {
    const struct collective *c = collective ? collective_named(collective) : NULL;
    int found = 0;
    if (collective && !c) return report(YJ_ERR_INPUT, "no collective is called %s", collective);
    if (ranks < 1) return report(YJ_ERR_INPUT, "%d ranks: at least 1 is needed", ranks);
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *row = algorithm_at(i);
        if ((c && row->collective != c->number) || (algorithm && strcmp(algorithm, row->name))) continue;
        found++;
        if (is_pair(row) && ranks != 2) continue; /* a transfer has two ranks however many the group has */
        struct verify_stats stats = {0};
        double start = time_now();
        enum yj_status status = algorithm_serves(row, ranks, false)
                                    ? verify_row(row, ranks, &stats)
                                    : report(YJ_ERR_UNSUPPORTED, "%s does not serve %d ranks", row->name, ranks);
        tell(fn, user, row, ranks, status, &stats, time_now() - start);
    }
    if (found) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s has no algorithm called %s", collective ? collective : "no collective", algorithm);
}

enum yj_status yj_schedule_verify_text(const char *name, const char *source, yj_schedule_case_fn *fn, void *user) {
    struct schedule_text text;
    struct verify_stats stats = {0};
    enum yj_status status = YJ_OK;
    double start = time_now();
    TRY(schedule_parse(name, source, &text));
    for (int meaning = 0; status == YJ_OK && meaning < MEANINGS; meaning++)
        for (int in_place = 0; status == YJ_OK && in_place < (text.row.flags & ROW_APART ? 1 : 2); in_place++)
            status = verify_built(text.rank, (enum meaning)meaning, in_place, &stats);
    tell(fn, user, &text.row, text.size, status, &stats, time_now() - start);
    schedule_text_close(&text);
    return YJ_OK;
}

enum yj_status yj_schedule_print(const char *collective, const char *algorithm, int ranks, int ranks_per_node, int root,
                                 char **text) {
    const struct algorithm *row;
    struct text printed = {0};
    TRY(find(collective, algorithm, &row));
    enum yj_status status = schedule_print_row(row, ranks, ranks_per_node, root, &printed);
    if (status == YJ_OK)
        *text = printed.data;
    else
        text_free(&printed);
    return status;
}

/* --- cost --- */

static struct cost_link link_from(const struct yj_link *l) {
    return (struct cost_link){l->overhead_s, l->latency_s, l->byte_s, l->by_cpu != 0};
}

static struct yj_link link_to(const struct cost_link *l) {
    return (struct yj_link){l->overhead_s, l->latency_s, l->byte_s, l->by_cpu};
}

void yj_machine_default(struct yj_machine *machine) {
    const struct cost_model *m = &cost_model_default;
    *machine = (struct yj_machine){.size = sizeof *machine,
                                   .ranks_per_node = m->ranks_per_node,
                                   .node = link_to(&m->link[LINK_NODE]),
                                   .net = link_to(&m->link[LINK_NET]),
                                   .reduce_byte_s = m->reduce_byte_s,
                                   .copy_byte_s = m->copy_byte_s,
                                   .round_s = m->round_s};
}

static enum yj_status check(const struct yj_schedule_query *query, struct cost_model *model, struct choice_query *q) {
    const struct yj_machine *m = query->machine;
    if (query->size < sizeof *query)
        return report(YJ_ERR_INPUT, "yj_schedule_query.size is %u: set it to sizeof", query->size);
    if (m && m->size < sizeof *m) return report(YJ_ERR_INPUT, "yj_machine.size is %u: set it to sizeof", m->size);
    *model = cost_model_default;
    if (m)
        *model = (struct cost_model){.link = {link_from(&m->node), link_from(&m->net)},
                                     .reduce_byte_s = m->reduce_byte_s,
                                     .copy_byte_s = m->copy_byte_s,
                                     .round_s = m->round_s,
                                     .ranks_per_node = m->ranks_per_node};
    const struct collective *c = query->collective ? collective_named(query->collective) : NULL;
    *q = (struct choice_query){.model = model,
                               .collective = c ? (int)c->number : 0,
                               .size = query->ranks,
                               .bytes = query->bytes,
                               .ordered = query->flags & YJ_SCHEDULE_ORDERED,
                               .canonical = query->flags & YJ_SCHEDULE_CANONICAL,
                               .in_place = query->flags & YJ_SCHEDULE_IN_PLACE,
                               .max_slices = query->max_slices};
    return cost_model_check(model);
}

static enum yj_status choose(const struct yj_schedule_query *query, struct cost_model *model, struct choice *choice) {
    struct choice_query q;
    struct tuning tuning;
    TRY(check(query, model, &q));
    if (query->tuning) TRY(tuning_read(query->tuning, &tuning));
    if (query->tuning) q.tuning = &tuning;
    if (!q.collective)
        return report(YJ_ERR_INPUT, "no collective is called %s", query->collective ? query->collective : "(null)");
    return cost_choose(&q, choice);
}

static struct yj_schedule_option option_of(const struct candidate *c) {
    return (struct yj_schedule_option){.algorithm = c->row->name,
                                       .doc = c->row->doc,
                                       .refused = c->refused,
                                       .time_s = c->cost.time_s,
                                       .at_least = c->cost.at_least,
                                       .slices = c->slices,
                                       .rounds = c->cost.rounds};
}

enum yj_status yj_schedule_explain(const struct yj_schedule_query *query, struct yj_schedule_option *option, int room,
                                   int *n, int *best) {
    struct choice choice;
    struct cost_model model;
    TRY(choose(query, &model, &choice));
    if (choice.n > room) return report(YJ_ERR_INPUT, "room for %d options, %d are needed", room, choice.n);
    for (int i = 0; i < choice.n; i++)
        option[i] = option_of(&choice.candidate[i]);
    option[choice.best].line = choice.line;
    *n = choice.n, *best = choice.best;
    return YJ_OK;
}

enum yj_status yj_schedule_simulate(const struct yj_schedule_query *query, const char *algorithm,
                                    struct yj_schedule_option *option) {
    struct cost_model model;
    struct choice_query q;
    struct candidate c = {.slices = query->max_slices > 1 ? query->max_slices : 1};
    TRY(check(query, &model, &q));
    if (algorithm) {
        TRY(find(query->collective, algorithm, &c.row));
    } else {
        struct choice choice;
        TRY(choose(query, &model, &choice));
        c = choice.candidate[choice.best];
    }
    TRY(cost_simulate(&model, c.row, query->ranks, 0, query->bytes, c.slices, &c.cost));
    *option = option_of(&c);
    return YJ_OK;
}

enum yj_status yj_schedule_simulate_text(const struct yj_schedule_query *query, const char *name, const char *source,
                                         double *time_s) {
    struct cost_model model;
    struct choice_query q;
    struct schedule_text text;
    struct cost cost;
    TRY(check(query, &model, &q));
    TRY(schedule_parse(name, source, &text));
    enum yj_status status = cost_simulate_built(&model, text.rank, query->bytes, query->max_slices, &cost);
    if (status == YJ_OK) *time_s = cost.time_s;
    schedule_text_close(&text);
    return status;
}

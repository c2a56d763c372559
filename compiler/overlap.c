/* SPDX-License-Identifier: Apache-2.0
 *
 * Overlap: a collective runs while kernels run that neither make its operand nor use its result. Starts go up to their
 * operand and waits down to their first use; then, while the collective lasts longer than what lies between,
 * independent kernels from behind the wait are moved in front of it, in their order. The gain is what is hidden; there
 * is no price but lifetimes, so nothing is moved that would hide less than the smallest time worth it.
 */
#include "compiler/overlap.h"
#include "compiler/cost.h"
#include "compiler/work.h"

#define LEAST_SECONDS 1e-6 /* a kernel that hides less is left where it is */

struct overlap {
    struct graph *g;
    struct arena *arena;
    struct overlap_log *log;
    bool *late; /* by value id: not there yet where the wait stands */
};

static bool is_start(const struct op *op) {
    return op_is(op->kind, 'C') && op->kind != OP_wait;
}

/* Ops that take no time and no memory of their own. */
static bool is_free(const struct op *op) {
    return op->kind == OP_constant || op->kind == OP_reshape;
}

static double op_seconds(const struct op *op) {
    if (is_free(op) || op->kind == OP_wait || op->kind == OP_bind || is_start(op)) return 0;
    struct work w = op_work(op, work_nominal, NULL);
    double arithmetic = cost_flops_seconds(w.flops), memory = cost_memory_seconds(w.bytes);
    return arithmetic > memory ? arithmetic : memory;
}

static double collective_seconds(const struct graph *g, const struct op *op) {
    enum cost_collective kind = op->kind == OP_all_reduce       ? COST_ALL_REDUCE
                                : op->kind == OP_all_gather     ? COST_ALL_GATHER
                                : op->kind == OP_reduce_scatter ? COST_REDUCE_SCATTER
                                                                : COST_ALL_TO_ALL;
    const struct value *whole = op->kind == OP_all_gather ? op->out[0] : op->in[0];
    return cost_collective_seconds(kind, mesh_size(g, op_text(op, "axis")),
                                   type_bytes_at(&whole->type, work_nominal, NULL));
}

static bool uses(const struct op *op, const struct value *v) {
    for (int i = 0; i < op->n_in; i++)
        if (op->in[i] == v) return true;
    return false;
}

static struct op *wait_of(const struct op *start) {
    for (struct op *op = start->next; op; op = op->next)
        if (op->kind == OP_wait && uses(op, start->out[0])) return op;
    return NULL;
}

/* The start goes behind the op that makes its operand, or to the front. */
static void start_early(struct op *start) {
    struct op *maker = start->in[0]->op;
    struct op *at = maker ? maker->next : start->graph->first;
    while (at != start && is_start(at))
        at = at->next; /* of one operand: in their order */
    if (at && at != start) op_move_before(start, at);
}

/* Does OP give the new value of a state that START reads? It may be written over the old one. */
static bool overwrites(const struct op *op, const struct op *start) {
    const struct value *read = start->in[0];
    while (read->op && read->op->kind == OP_reshape)
        read = read->op->in[0];
    for (int k = 0; k < op->graph->n_states; k++)
        for (int i = 0; i < op->n_out; i++)
            if (op->graph->states[k].in == read && op->graph->states[k].out == op->out[i]) return true;
    return false;
}

static void wait_late(const struct op *start, struct op *wait) {
    struct op *at = wait->next;
    while (at && !uses(at, wait->out[0]) && !overwrites(at, start))
        at = at->next;
    if (at && at != wait->next)
        op_move_before(wait, at);
    else if (!at)
        while (wait->next)
            op_move_before(wait->next, wait); /* only the caller uses it */
}

/* May OP run before WAIT, when the late ops that it passes stay behind? */
static bool can_pass(const struct overlap *o, const struct op *op, const struct op *wait, const struct op *start) {
    if ((op->kind != OP_fused && !is_free(op)) || overwrites(op, start)) return false;
    for (int i = 0; i < op->n_in; i++)
        if (o->late[op->in[i]->id]) return false;
    for (int k = 0; k < o->g->n_states;
         k++) { /* a state's new value may be written over the old one: after its readers */
        const struct state *s = &o->g->states[k];
        bool writes = false;
        for (int i = 0; i < op->n_out; i++)
            writes |= op->out[i] == s->out;
        for (const struct op *between = wait; writes && between != op; between = between->next)
            if (uses(between, s->in)) return false;
    }
    return true;
}

struct window {
    int kernels;
    double seconds;
};

static struct window between(const struct op *start, const struct op *wait) {
    struct window w = {0, 0};
    for (const struct op *op = start->next; op != wait; op = op->next) {
        w.kernels += op->kind == OP_fused;
        w.seconds += op_seconds(op);
    }
    return w;
}

/* Returns the number of kernels that were moved. Free ops go along: something behind them may need them. */
static int fill_window(struct overlap *o, const struct op *start, struct op *wait, double want, struct window *w) {
    int moved = 0;
    memset(o->late, 0, sizeof *o->late * (size_t)(graph_number(o->g) + 1));
    o->late[wait->out[0]->id] = true;
    for (struct op *op = wait->next, *next; op && w->seconds < want; op = next) {
        next = op->next;
        double seconds = op_seconds(op);
        bool pass = can_pass(o, op, wait, start) && (is_free(op) || seconds >= LEAST_SECONDS);
        for (int i = 0; i < op->n_out && !pass; i++)
            o->late[op->out[i]->id] = true;
        if (!pass) continue;
        op_move_before(op, wait);
        moved += op->kind == OP_fused;
        w->kernels += op->kind == OP_fused;
        w->seconds += seconds;
    }
    return moved;
}

/* Does OP read a state that an op up to LAST gives a new value? */
static bool reads_before_write(const struct op *op, const struct op *last) {
    const struct graph *g = op->graph;
    for (int k = 0; k < g->n_states; k++)
        for (const struct op *between = op->next; uses(op, g->states[k].in) && between; between = between->next) {
            for (int i = 0; i < between->n_out; i++)
                if (between->out[i] == g->states[k].out) return true;
            if (between == last) break;
        }
    return false;
}

/* May OP run behind START: does nothing up to it need OP? */
static bool can_delay(const struct op *op, const struct op *start) {
    if (op->kind != OP_fused || overwrites(op, start) || reads_before_write(op, start)) return false;
    for (const struct op *between = op->next; between; between = between->next) {
        for (int i = 0; i < op->n_out; i++)
            if (uses(between, op->out[i])) return false;
        if (between == start) break;
    }
    return true;
}

/* Kernels from before START that it does not need go behind it, back to the last collective. Returns their number. */
static int delay_work(struct op *start, double want, struct window *w) {
    int moved = 0;
    for (struct op *op = start->prev, *prev; op && w->seconds < want; op = prev) {
        prev = op->prev;
        if (is_start(op) || op->kind == OP_wait) break;
        double seconds = op_seconds(op);
        if (seconds < LEAST_SECONDS || !can_delay(op, start)) continue;
        op_move_before(op, start->next);
        moved++;
        w->kernels++;
        w->seconds += seconds;
    }
    return moved;
}

static void note(struct overlap *o, const struct op *start, double seconds, const struct window *w, int moved) {
    if (!o->log) return;
    struct arena *arena = o->g->arena;
    struct overlap_note *n = NEW(arena, struct overlap_note);
    double hidden = w->seconds < seconds ? w->seconds : seconds;
    *n = (struct overlap_note){op_info[start->kind].name, start->in[0]->name, seconds, hidden, moved, NULL, NULL};
    if (w->kernels == 0)
        n->why = arena_text(arena, "nothing independent of it runs between start and wait: 0 us hidden");
    else
        n->why = arena_text(
            arena,
            "%d kernel%s of %.1f us run%s between start and wait, %d of them moved there: %.1f of %.1f us hidden",
            w->kernels, w->kernels == 1 ? "" : "s", w->seconds * 1e6, w->kernels == 1 ? "s" : "", moved, hidden * 1e6,
            seconds * 1e6);
    *o->log->last = n;
    o->log->last = &n->next;
}

static enum yj_status overlap_here(struct overlap *o) {
    struct graph *g = o->g;
    int n = 0, n_values = graph_number(g);
    o->late = NEW_ARRAY(o->arena, bool, n_values + 1);
    for (struct op *op = g->first; op; op = op->next)
        n += is_start(op);
    struct op **starts = NEW_ARRAY(o->arena, struct op *, n + 1);
    n = 0;
    for (struct op *op = g->first; op; op = op->next)
        if (is_start(op)) starts[n++] = op;
    for (int i = 0; i < n; i++) {
        struct op *wait = wait_of(starts[i]);
        if (!wait) return report(YJ_ERR_INTERNAL, "overlap: nobody waits for %s", op_where(starts[i]));
        start_early(starts[i]);
        wait_late(starts[i], wait);
    }
    for (int i = 0; i < n; i++) { /* in order: what one hides behind is not taken from it by the next */
        struct op *wait = wait_of(starts[i]);
        double seconds = collective_seconds(g, starts[i]);
        struct window w = between(starts[i], wait);
        int moved = w.seconds < seconds ? fill_window(o, starts[i], wait, seconds, &w) : 0;
        if (w.seconds < seconds) moved += delay_work(starts[i], seconds, &w);
        note(o, starts[i], seconds, &w, moved);
    }
    return YJ_OK;
}

enum yj_status overlap_graph(struct graph *g, struct overlap_log *log) {
    if (log && !log->last) log->last = &log->first;
    for (struct op *op = g->first; op; op = op->next)
        for (int r = 0; r < op->n_regions && op->kind != OP_fused && op->kind != OP_composite; r++)
            TRY(overlap_graph(op->regions[r], log));
    struct overlap o = {.g = g, .arena = arena_open(), .log = log};
    if (!o.arena) return report(YJ_ERR_MEMORY, "overlap: out of memory");
    enum yj_status status = overlap_here(&o);
    arena_close(o.arena);
    return status;
}

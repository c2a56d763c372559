/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk of the plan verifier: the blocks in an order in which they may run, with what is written, known, alive and
 * in flight at each step, and whether steps of different queues that touch one buffer are ordered.
 */
#include "runtime/plan_verify.h"

#include <stdlib.h>

enum { MOST_LOOK_BACK = 16384 };

/* The step of OUTER during which a step of INNER runs; -1 if INNER is not inside OUTER. */
static int step_seen_from(const struct verify *v, int outer, int inner, int step) {
    while (inner > outer) {
        step = v->user_step[inner];
        inner = v->user_block[inner];
    }
    return inner == outer ? step : -1;
}

/* Where a buffer lies in its root: expressions are copied to a table of our own, where they are simplified. */
static dim offset_in_root(struct verify *v, int buffer) {
    const struct plan *p = v->p;
    dim at = dim_const(v->scratch, 0);
    for (; p->buffers[buffer].kind == PLAN_ALIAS; buffer = p->buffers[buffer].of) {
        at = dim_add(v->scratch, at, dim_copy(v->scratch, p->buffers[buffer].at));
    }
    return at;
}

/* May the two buffers of one root share a byte? Aliases that are known to lie apart do not. */
static bool may_overlap(struct verify *v, int a, int b) {
    if (a == b) return true;
    if (!v->scratch) v->scratch = dim_table_open(v->arena);
    dim at_a = offset_in_root(v, a), at_b = offset_in_root(v, b);
    dim end_a = dim_add(v->scratch, at_a, dim_copy(v->scratch, v->p->buffers[a].bytes));
    dim end_b = dim_add(v->scratch, at_b, dim_copy(v->scratch, v->p->buffers[b].bytes));
    return dim_less(v->scratch, at_b, end_a) != DIM_NO && dim_less(v->scratch, at_a, end_b) != DIM_NO;
}

/* What the walk knows of queues inside one block: clock[step * VERIFY_MOST_QUEUES + q] is the number of the last step
 * of queue q that has ended before the step starts, + 1. */
struct order {
    int *clock;
    int queues;
};

static bool joins_all(const struct plan_step *s) {
    return s->kind == PLAN_BIND || s->kind == PLAN_BRANCH || s->kind == PLAN_CALL;
}

static enum yj_status order_block(const struct plan_block *b, struct order *order) {
    int last[VERIFY_MOST_QUEUES] = {0}, barrier = 0; /* last: number + 1 */
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        int *clock = &order->clock[(size_t)i * VERIFY_MOST_QUEUES];
        for (int q = 0; q < VERIFY_MOST_QUEUES; q++)
            clock[q] = joins_all(s) ? last[q] : barrier < last[q] ? barrier : last[q];
        for (int a = -1; a < s->n_after; a++) {
            int before = a < 0 ? last[s->queue] - 1 : s->after[a];
            if (before < 0 && a < 0) continue;
            if (before < 0 || before >= i)
                return report(YJ_ERR_INPUT, "step %d: follows step %d, which is not before it", i, before);
            const int *theirs = &order->clock[(size_t)before * VERIFY_MOST_QUEUES];
            for (int q = 0; q < VERIFY_MOST_QUEUES; q++) {
                if (theirs[q] > clock[q]) clock[q] = theirs[q];
            }
            if (before + 1 > clock[b->steps[before].queue]) clock[b->steps[before].queue] = before + 1;
        }
        last[s->queue] = i + 1;
        if (joins_all(s)) barrier = i + 1;
    }
    order->queues = 0;
    for (int q = 0; q < VERIFY_MOST_QUEUES; q++)
        order->queues += last[q] > 0;
    return YJ_OK;
}

/* A use of BUFFER at STEP of BLOCK, for this block and for those around it. */
static enum yj_status touch(struct verify *v, const struct order *order, int block, int step, int buffer, bool write) {
    const struct plan *p = v->p;
    int root = plan_root(p, buffer);
    const struct plan_buffer *r = &p->buffers[root];
    if (!write && !v->written[root]) return report(YJ_ERR_INPUT, "%%%d is read before it is written", buffer);
    if (write && (r->kind == PLAN_INPUT || r->kind == PLAN_WEIGHT)) {
        return report(YJ_ERR_INPUT, "%%%d is written, but it is %s", buffer,
                      r->kind == PLAN_INPUT ? "an input" : "a weight");
    }
    if (write) v->written[root] = 1;
    if (r->kind == PLAN_TEMP) {
        int seen = step_seen_from(v, r->block, block, step);
        if (seen < r->first || seen > r->last) {
            return report(YJ_ERR_INPUT, "%%%d is used outside of its life in #%d %d..%d", buffer, r->block, r->first,
                          r->last);
        }
    }
    if (r->kind == PLAN_INPUT || r->kind == PLAN_WEIGHT || order->queues == 1) return YJ_OK;
    const int *clock = &order->clock[(size_t)step * VERIFY_MOST_QUEUES];
    int look = 0;
    for (int a = v->head[root]; a >= 0; a = v->accesses[a].next) {
        const struct access *x = &v->accesses[a];
        if (x->block != block) break; /* before this block began: joined by the step that called it */
        if (++look <= MOST_LOOK_BACK && (x->step == step || (!x->write && !write) || clock[x->queue] > x->step))
            continue;
        if (look > MOST_LOOK_BACK || may_overlap(v, x->buffer, buffer)) {
            return report(YJ_ERR_INPUT, "%%%d is used by step %d of queue %d too, and neither follows the other",
                          buffer, x->step, x->queue);
        }
    }
    return YJ_OK;
}

static enum yj_status walk(struct verify *v, int block, int *n_accesses, int depth);

struct snapshot {
    unsigned char *written, *known;
};

static enum yj_status snapshot_take(const struct verify *v, struct snapshot *s) {
    size_t nb = (size_t)v->p->n_buffers, nd = (size_t)v->p->n_dims;
    unsigned char *both = malloc(nb + nd + 1);
    if (!both) return report(YJ_ERR_MEMORY, "out of memory");
    memcpy(both, v->written, nb);
    memcpy(both + nb, v->known, nd);
    *s = (struct snapshot){both, both + nb};
    return YJ_OK;
}

static void snapshot_restore(struct verify *v, const struct snapshot *s) {
    memcpy(v->written, s->written, (size_t)v->p->n_buffers);
    memcpy(v->known, s->known, (size_t)v->p->n_dims);
}

/* After a branch only what both sides have written is written. */
static enum yj_status walk_branch(struct verify *v, const struct plan_step *s, int *n_accesses, int depth) {
    struct snapshot before, first = {0};
    TRY(snapshot_take(v, &before));
    enum yj_status status = s->block >= 0 ? walk(v, s->block, n_accesses, depth + 1) : YJ_OK;
    if (status == YJ_OK) status = snapshot_take(v, &first);
    if (status == YJ_OK) {
        snapshot_restore(v, &before);
        if (s->otherwise >= 0) status = walk(v, s->otherwise, n_accesses, depth + 1);
        for (int i = 0; i < v->p->n_buffers; i++)
            v->written[i] &= first.written[i];
        for (int i = 0; i < v->p->n_dims; i++)
            v->known[i] &= first.known[i];
    }
    free(before.written);
    free(first.written);
    return status;
}

static void see_index(void *user, dim symbol) {
    dim *index = user;
    if (symbol == *index) *index = NULL;
}

/* What is copied to a place that the index gives, one row a turn, is whole after the call: without a turn it has no
 * rows. */
static void rows_written(struct verify *v, int block, dim index) {
    const struct plan_block *b = &v->p->blocks[block];
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        dim found = index;
        if (s->kind == PLAN_COPY) dim_symbols(s->at, see_index, &found);
        if (!found) v->written[plan_root(v->p, s->buffers[0])] = 1;
    }
}

static enum yj_status born(struct verify *v, dim symbol, const char *what) {
    if (verify_symbol_kind(v, symbol) != PLAN_DIM_BORN)
        return report(YJ_ERR_INPUT, "the %s of a call is a born dim", what);
    v->known[v->number[symbol->id]] = 1;
    return YJ_OK;
}

static enum yj_status walk_call(struct verify *v, const struct plan_step *s, int *n_accesses, int depth) {
    if (s->trips) TRY(verify_known(v, s->trips));
    if (s->index && !s->trips) return report(YJ_ERR_INPUT, "a call with an index needs trips");
    struct snapshot before;
    TRY(snapshot_take(v, &before));
    enum yj_status status = YJ_OK;
    if (s->index) status = born(v, s->index, "index");
    if (status == YJ_OK && s->condition)
        status = verify_known(v, s->condition); /* read before every turn, after the index */
    if (status == YJ_OK) status = walk(v, s->block, n_accesses, depth + 1);
    if (s->trips || s->condition) snapshot_restore(v, &before); /* it may not run at all */
    if (status == YJ_OK && s->index) rows_written(v, s->block, s->index);
    if (status == YJ_OK && s->turns) status = born(v, s->turns, "turns");
    free(before.written);
    return status;
}

static enum yj_status walk_dims(struct verify *v, const struct plan_step *s) {
    if (s->kind == PLAN_LAUNCH) {
        for (int j = 0; j < s->n_dims; j++)
            TRY(verify_known(v, s->dims[j]));
    } else if (s->kind == PLAN_COPY) {
        TRY(verify_known(v, s->at));
        TRY(verify_known(v, s->from));
        TRY(verify_known(v, s->count));
    } else if (s->kind == PLAN_START) {
        TRY(verify_known(v, s->count));
    } else if (s->kind == PLAN_BRANCH || s->kind == PLAN_CHECK) {
        if (!s->condition) return report(YJ_ERR_INPUT, "a %s of nothing", plan_step_names[s->kind]);
        TRY(verify_known(v, s->condition));
    } else if (s->kind == PLAN_BIND) {
        for (int j = 0; j < s->n_dims; j++) {
            dim d = s->dims[j];
            if (!d || verify_symbol_kind(v, d) != PLAN_DIM_BORN)
                return report(YJ_ERR_INPUT, "a bind sets born dims only");
            v->known[v->number[d->id]] = 1;
        }
    }
    return YJ_OK;
}

/* A wait uses the buffers of its start once more: so they live until it, and nothing else touches them on the way
 * unless it follows the wait or only reads what the start only reads. */
static enum yj_status verify_flight(struct verify *v, const struct order *order, int block, int *start_of, int i) {
    const struct plan *p = v->p;
    const struct plan_block *b = &p->blocks[block];
    const struct plan_step *s = &b->steps[i];
    if (s->request < 0 || s->request >= p->n_requests)
        return report(YJ_ERR_INPUT, "there is no request !%d", s->request);
    if (s->kind == PLAN_START) {
        if (v->started[s->request]++) return report(YJ_ERR_INPUT, "request !%d is started twice", s->request);
        start_of[s->request] = i;
        return YJ_OK;
    }
    int from = start_of[s->request];
    if (v->waited[s->request]++) return report(YJ_ERR_INPUT, "request !%d is waited for twice", s->request);
    if (from < 0 || from >= i || b->steps[from].kind != PLAN_START || b->steps[from].request != s->request) {
        return report(YJ_ERR_INPUT, "request !%d is not started in this block before its wait", s->request);
    }
    const struct plan_step *start = &b->steps[from];
    if (order->clock[(size_t)i * VERIFY_MOST_QUEUES + (size_t)start->queue] <= from) {
        return report(YJ_ERR_INPUT, "the wait does not follow its start, step %d", from);
    }
    for (int j = 0; j < 2; j++) {
        int mine = start->buffers[j], root = plan_root(p, mine);
        TRY(touch(v, order, block, i, mine, false));
        for (int a = v->head[root]; a >= 0 && v->accesses[a].block == block && v->accesses[a].step > from;
             a = v->accesses[a].next) {
            const struct access *x = &v->accesses[a];
            if ((x->write || j == 0) && may_overlap(v, x->buffer, mine)) {
                return report(YJ_ERR_INPUT, "step %d uses %%%d while !%d is in flight", x->step, x->buffer, s->request);
            }
        }
    }
    return YJ_OK;
}

/* Notes the accesses of a step; those made inside a called block count for the calling step too. */
static void note(struct verify *v, int block, int step, int buffer, bool write, int *n) {
    int root = plan_root(v->p, buffer);
    v->accesses[*n] = (struct access){buffer, block, step, v->p->blocks[block].steps[step].queue, v->head[root], write};
    v->head[root] = (*n)++;
}

static enum yj_status walk_step(struct verify *v, struct order *order, int block, int i, int *start_of, int *n,
                                int depth) {
    const struct plan *p = v->p;
    const struct plan_step *s = &p->blocks[block].steps[i];
    TRY(verify_step_shape(v, s));
    TRY(walk_dims(v, s));
    for (int pass = 0; pass < 2; pass++) { /* reads, then writes: an argument may be both */
        for (int j = 0; j < s->n_buffers; j++) {
            enum plan_role role = plan_step_role(p, s, j);
            if (pass == 0 ? role != PLAN_OUT : role != PLAN_IN)
                TRY(touch(v, order, block, i, s->buffers[j], pass == 1));
        }
    }
    if (s->kind == PLAN_START || s->kind == PLAN_WAIT) TRY(verify_flight(v, order, block, start_of, i));
    int before = *n;
    if (s->kind == PLAN_BRANCH) TRY(walk_branch(v, s, n, depth));
    if (s->kind == PLAN_CALL) TRY(walk_call(v, s, n, depth));
    /* what happened inside belongs to this step: re-link it under this block */
    for (int a = before; a < *n; a++) {
        v->accesses[a].block = block;
        v->accesses[a].step = i;
        v->accesses[a].queue = s->queue;
    }
    const struct plan_step *uses = s->kind == PLAN_WAIT ? &p->blocks[block].steps[start_of[s->request]] : s;
    for (int j = 0; j < uses->n_buffers; j++)
        note(v, block, i, uses->buffers[j], plan_step_role(p, uses, j) != PLAN_IN, n);
    return YJ_OK;
}

static enum yj_status walk(struct verify *v, int block, int *n_accesses, int depth) {
    const struct plan *p = v->p;
    const struct plan_block *b = &p->blocks[block];
    size_t n_clock = (size_t)b->n_steps * VERIFY_MOST_QUEUES, n_req = (size_t)p->n_requests;
    int *room = calloc(n_clock + n_req + 1, sizeof *room);
    if (!room) return report(YJ_ERR_MEMORY, "out of memory");
    struct order order = {.clock = room};
    int *start_of = room + n_clock;
    for (size_t i = 0; i < n_req; i++)
        start_of[i] = -1;
    enum yj_status status = YJ_OK;
    for (int i = 0; i < b->n_steps && status == YJ_OK; i++) {
        const struct plan_step *s = &b->steps[i];
        if (s->queue < 0 || s->queue >= VERIFY_MOST_QUEUES)
            status = report(YJ_ERR_INPUT, "step %d: queue %d", i, s->queue);
    }
    if (status == YJ_OK) status = order_block(b, &order);
    if (status != YJ_OK) status = report_in(status, "#%d", block);
    for (int i = 0; i < b->n_steps && status == YJ_OK; i++) {
        status = walk_step(v, &order, block, i, start_of, n_accesses, depth);
        bool inner = b->steps[i].kind == PLAN_BRANCH || b->steps[i].kind == PLAN_CALL;
        if (status != YJ_OK && !inner) status = report_in(status, "#%d step %d", block, i);
    }
    for (size_t i = 0; i < n_req && status == YJ_OK; i++) {
        if (start_of[i] >= 0 && !v->waited[i])
            status = report(YJ_ERR_INPUT, "#%d: request !%zu is never waited for", block, i);
    }
    free(room);
    return status;
}

enum yj_status verify_walk(struct verify *v) {
    const struct plan *p = v->p;
    for (int i = 0; i < p->n_buffers; i++) {
        enum plan_kind kind = p->buffers[i].kind;
        v->written[i] = kind == PLAN_INPUT || kind == PLAN_WEIGHT || kind == PLAN_STATE;
        v->head[i] = -1;
    }
    int n = 0;
    TRY(walk(v, 0, &n, 0));
    for (int i = 0; i < p->n_outputs; i++) {
        if (!v->written[plan_root(p, p->outputs[i].buffer)]) {
            return report(YJ_ERR_INPUT, "output '%s' is never written", p->outputs[i].name);
        }
        for (int j = 0; j < p->outputs[i].rank; j++)
            TRY(verify_known(v, p->outputs[i].shape[j]));
    }
    for (int i = 0; i < p->n_states; i++) {
        for (int j = 0; j < p->states[i].rank; j++)
            TRY(verify_known(v, p->states[i].out[j]));
    }
    return YJ_OK;
}

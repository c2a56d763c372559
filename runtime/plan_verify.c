/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of a plan. Every block but the first is used by exactly one step, so blocks form a tree and one walk of
 * it sees all steps in an order in which they may run; tables first, then that walk: what is written, what is known, what
 * is alive, what is in flight, and whether steps of different queues that touch one buffer are ordered.
 */
#include "runtime/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_DEPTH = 64, MOST_QUEUES = 16, MOST_LOOK_BACK = 16384, MOST_RANKS = 1 << 20 };

struct verify {
    const struct plan *p;
    unsigned char *written;  /* of each root buffer */
    unsigned char *known;    /* of each plan dim */
    int *kind;               /* of each dim id: kind + 1, 0 if it is not declared */
    int *number;             /* of each dim id: index in p->dim */
    int n_ids;
    int *user_block, *user_step; /* of each block: who uses it */
    struct access *accesses; /* of the walk, newest last; head: per buffer root */
    int *head;
    unsigned char *started, *waited; /* of each request */
    struct arena *arena;     /* for SCRATCH, which is made when it is needed */
    struct dim_table *scratch;
};

struct access { int buffer, block, step, queue, next; bool write; };

/* --- dims --- */

enum { ALLOW_INPUT = 1, ALLOW_STATE = 2, ALLOW_BORN = 4, ALLOW_RANK = 8, ALLOW_SIZE = ALLOW_INPUT | ALLOW_RANK,
       ALLOW_ALL = 15 };

struct dim_check { struct verify *v; int allowed; bool must_be_known; enum yj_status status; };

/* The kind of a dim of this plan, -1 if it is none. */
static int symbol_kind(const struct verify *v, dim symbol) {
    if (symbol->op != DIM_SYMBOL || symbol->id >= v->n_ids || !v->kind[symbol->id]) return -1;
    return v->p->dim[v->number[symbol->id]].symbol == symbol ? v->kind[symbol->id] - 1 : -1;
}

static void check_symbol(void *user, dim symbol) {
    struct dim_check *c = user;
    struct verify *v = c->v;
    if (c->status != YJ_OK) return;
    int kind = symbol_kind(v, symbol);
    if (kind < 0) {
        c->status = report(YJ_ERR_INPUT, "%s is not a dim of this plan", symbol->name);
    } else if (!(c->allowed >> kind & 1)) {
        c->status = report(YJ_ERR_INPUT, "the %s dim %s may not be used there", plan_dim_kind_names[kind], symbol->name);
    } else if (c->must_be_known && !v->known[v->number[symbol->id]]) {
        c->status = report(YJ_ERR_INPUT, "the dim %s is used before it is bound", symbol->name);
    }
}

static enum yj_status check_dim(struct verify *v, dim d, int allowed, const char *what, int number) {
    if (!d) return report(YJ_ERR_INPUT, "%s %d: an expression is missing", what, number);
    struct dim_check c = {v, allowed, .status = YJ_OK};
    dim_symbols(d, check_symbol, &c);
    return c.status == YJ_OK ? YJ_OK : report_in(c.status, "%s %d", what, number);
}

static enum yj_status check_known(struct verify *v, dim d) {
    if (!d) return report(YJ_ERR_INPUT, "an expression is missing");
    struct dim_check c = {v, ALLOW_ALL, .must_be_known = true, .status = YJ_OK};
    dim_symbols(d, check_symbol, &c);
    return c.status;
}

static enum yj_status verify_mesh(const struct plan *p) {
    const struct plan_mesh *m = &p->mesh;
    if (m->n < 0 || m->n > 4) return report(YJ_ERR_INPUT, "a mesh of %d axes", m->n);
    int64_t ranks = 1;
    for (int i = 0; i < m->n; i++) {
        if (plan_axis(p, m->name[i]) != i) return report(YJ_ERR_INPUT, "two mesh axes are called %s", m->name[i]);
        if (m->size[i] < 1) return report(YJ_ERR_INPUT, "mesh axis %s has %d ranks", m->name[i], m->size[i]);
        ranks *= m->size[i];
        if (ranks > MOST_RANKS) return report(YJ_ERR_INPUT, "a mesh of more than %d ranks", MOST_RANKS);
    }
    return YJ_OK;
}

static enum yj_status verify_dim(struct verify *v, int i) {
    const struct plan *p = v->p;
    const struct plan_dim *d = &p->dim[i];
    const char *name = d->symbol->name;
    if (d->low > d->high) return report(YJ_ERR_INPUT, "dim %s: no value is in its bounds", name);
    if ((d->kind == PLAN_DIM_STATE || d->kind == PLAN_DIM_BORN) && d->high == DIM_UNBOUNDED) {
        return report(YJ_ERR_INPUT, "dim %s: a %s dim needs a finite bound", name, plan_dim_kind_names[d->kind]);
    }
    if (d->kind == PLAN_DIM_RANK) {
        int axis = strncmp(name, "rank.", 5) == 0 ? plan_axis(p, name + 5) : -1;
        if (axis < 0) return report(YJ_ERR_INPUT, "dim %s: a rank dim is called rank.AXIS", name);
        if (d->low != 0 || d->high != p->mesh.size[axis] - 1) {
            return report(YJ_ERR_INPUT, "dim %s: the bounds of a rank dim are 0..%d", name, p->mesh.size[axis] - 1);
        }
    }
    if (v->kind[d->symbol->id]) return report(YJ_ERR_INPUT, "dim %s is declared twice", name);
    v->kind[d->symbol->id] = (int)d->kind + 1;
    v->number[d->symbol->id] = i;
    v->known[i] = d->kind != PLAN_DIM_BORN;
    return YJ_OK;
}

/* A symbol of a shape as such binds it: the others are computed and compared. */
static bool binds(const struct plan *p, dim symbol, bool state) {
    for (int i = 0; i < (state ? p->n_states : p->n_inputs); i++) {
        const dim *shape = state ? p->states[i].in : p->inputs[i].shape;
        int rank = state ? p->states[i].rank : p->inputs[i].rank;
        for (int j = 0; j < rank; j++) {
            if (shape[j] == symbol) return true;
        }
    }
    return false;
}

static enum yj_status verify_dims(struct verify *v) {
    const struct plan *p = v->p;
    for (int i = 0; i < p->n_dims; i++) {
        if (!p->dim[i].symbol || p->dim[i].symbol->op != DIM_SYMBOL) return report(YJ_ERR_INPUT, "dim %d is no symbol", i);
        TRY(verify_dim(v, i));
    }
    for (int i = 0; i < p->n_dims; i++) {
        const struct plan_dim *d = &p->dim[i];
        if (d->kind == PLAN_DIM_INPUT && !binds(p, d->symbol, false)) {
            return report(YJ_ERR_INPUT, "dim %s: no input has it as a dimension", d->symbol->name);
        }
        if (d->kind == PLAN_DIM_STATE && !binds(p, d->symbol, true)) {
            return report(YJ_ERR_INPUT, "dim %s: no state has it as a dimension", d->symbol->name);
        }
    }
    return YJ_OK;
}

/* --- tables --- */

struct kernel_check { const struct plan_kernel *k; enum yj_status status; };

static void check_kernel_symbol(void *user, dim symbol) {
    struct kernel_check *c = user;
    if (c->status != YJ_OK) return;
    for (int i = 0; i < c->k->n_dims; i++) {
        if (strcmp(c->k->dim_names[i], symbol->name) == 0) return;
    }
    c->status = report(YJ_ERR_INPUT, "kernel %s: %s is none of its dims", c->k->name, symbol->name);
}

static enum yj_status check_kernel_dim(const struct plan_kernel *k, dim d) {
    if (!d) return report(YJ_ERR_INPUT, "kernel %s: an expression is missing", k->name);
    struct kernel_check c = {k, YJ_OK};
    dim_symbols(d, check_kernel_symbol, &c);
    return c.status;
}

static enum yj_status verify_kernel(const struct plan_kernel *k) {
    if (k->n_args < 1) return report(YJ_ERR_INPUT, "kernel %s has no arguments", k->name);
    if (k->n_variants < 1 || k->n_variants > PLAN_MAX_VARIANTS) {
        return report(YJ_ERR_INPUT, "kernel %s has %d variants, not 1..%d", k->name, k->n_variants, PLAN_MAX_VARIANTS);
    }
    for (int i = 0; i < k->n_variants; i++) {
        const struct plan_variant *v = &k->variants[i];
        if (!v->symbol || !*v->symbol) return report(YJ_ERR_INPUT, "kernel %s: a variant without a symbol", k->name);
        TRY(check_kernel_dim(k, v->tiles));
        TRY(check_kernel_dim(k, v->scratch));
        TRY(check_kernel_dim(k, v->ns));
        for (int g = 0; g < v->n_guards; g++) {
            TRY(check_kernel_dim(k, v->guards[g].low));
            TRY(check_kernel_dim(k, v->guards[g].value));
            TRY(check_kernel_dim(k, v->guards[g].high));
        }
    }
    return YJ_OK;
}

static enum yj_status verify_buffer(struct verify *v, int i) {
    const struct plan *p = v->p;
    const struct plan_buffer *b = &p->buffers[i];
    if (!yj_dtype_bytes(b->dtype)) return report(YJ_ERR_INPUT, "%%%d: no element type has number %d", i, (int)b->dtype);
    TRY(check_dim(v, b->bytes, ALLOW_SIZE, "buffer", i));
    switch (b->kind) {
    case PLAN_ALIAS:
        if (b->of < 0 || b->of >= i) return report(YJ_ERR_INPUT, "%%%d: an alias of %%%d, which is not before it", i, b->of);
        if (b->space != p->buffers[b->of].space || b->device != p->buffers[b->of].device) {
            return report(YJ_ERR_INPUT, "%%%d: an alias in another space than %%%d", i, b->of);
        }
        return check_dim(v, b->at, ALLOW_SIZE, "buffer", i);
    case PLAN_WEIGHT:
        if (b->file < 0) return report(YJ_ERR_INPUT, "%%%d: weights file %d", i, b->file);
        TRY(check_dim(v, b->bytes, ALLOW_RANK, "buffer", i));
        return check_dim(v, b->at, ALLOW_RANK, "buffer", i);
    case PLAN_TEMP:
        if (b->block < 0 || b->block >= p->n_blocks || b->first < 0 || b->first > b->last ||
            b->last >= p->blocks[b->block].n_steps) {
            return report(YJ_ERR_INPUT, "%%%d: lives in #%d %d..%d, which is not there", i, b->block, b->first, b->last);
        }
        return YJ_OK;
    default: return YJ_OK;
    }
}

static enum yj_status verify_shape(struct verify *v, int rank, const dim *shape, int allowed, const char *what, int i) {
    if (rank < 0 || rank > PLAN_MAX_RANK) return report(YJ_ERR_INPUT, "%s %d: rank %d", what, i, rank);
    for (int j = 0; j < rank; j++) TRY(check_dim(v, shape[j], allowed, what, i));
    return YJ_OK;
}

static enum yj_status verify_port_buffer(const struct plan *p, int buffer, enum yj_dtype dtype, const char *what, int i) {
    if (buffer < 0 || buffer >= p->n_buffers) return report(YJ_ERR_INPUT, "%s %d: there is no buffer %%%d", what, i, buffer);
    if (p->buffers[buffer].dtype == dtype) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s %d: %s, but %%%d is %s", what, i, yj_dtype_name(dtype), buffer,
                  yj_dtype_name(p->buffers[buffer].dtype));
}

static enum yj_status verify_ports(struct verify *v) {
    const struct plan *p = v->p;
    unsigned char *named = v->written; /* borrowed: by whom a buffer is named; cleared before the walk */
    for (int i = 0; i < p->n_inputs; i++) {
        const struct plan_port *in = &p->inputs[i];
        TRY(verify_port_buffer(p, in->buffer, in->dtype, "input", i));
        TRY(verify_shape(v, in->rank, in->shape, ALLOW_SIZE, "input", i));
        if (p->buffers[in->buffer].kind != PLAN_INPUT || named[in->buffer]++) {
            return report(YJ_ERR_INPUT, "input %d: %%%d is no input buffer of its own", i, in->buffer);
        }
    }
    for (int i = 0; i < p->n_states; i++) {
        const struct plan_state *s = &p->states[i];
        TRY(verify_port_buffer(p, s->buffer, s->dtype, "state", i));
        TRY(verify_shape(v, s->rank, s->in, ALLOW_SIZE | ALLOW_STATE, "state", i));
        TRY(verify_shape(v, s->rank, s->out, ALLOW_ALL, "state", i));
        TRY(verify_shape(v, s->rank, s->storage, ALLOW_SIZE, "state", i));
        if (p->buffers[s->buffer].kind != PLAN_STATE || named[s->buffer]++) {
            return report(YJ_ERR_INPUT, "state %d: %%%d is no state buffer of its own", i, s->buffer);
        }
    }
    for (int i = 0; i < p->n_outputs; i++) {
        const struct plan_port *out = &p->outputs[i];
        TRY(verify_port_buffer(p, out->buffer, out->dtype, "output", i));
        TRY(verify_shape(v, out->rank, out->shape, ALLOW_ALL, "output", i));
        const struct plan_buffer *root = &p->buffers[plan_root(p, out->buffer)];
        if (root->kind == PLAN_TEMP && (root->block != 0 || root->last != p->blocks[0].n_steps - 1)) {
            return report(YJ_ERR_INPUT, "output %d: %%%d does not live to the end", i, out->buffer);
        }
    }
    for (int i = 0; i < p->n_buffers; i++) {
        enum plan_kind kind = p->buffers[i].kind;
        if ((kind == PLAN_INPUT || kind == PLAN_STATE) && !named[i]) {
            return report(YJ_ERR_INPUT, "%%%d: no %s names it", i, plan_kind_names[kind]);
        }
        named[i] = 0;
    }
    return YJ_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names that a caller gives: distinct among inputs and state inputs, and among outputs and state outputs. */
static enum yj_status verify_names(const struct plan *p) {
    size_t most = (size_t)max64(p->n_inputs, p->n_outputs) + (size_t)p->n_states;
    const char **names = malloc((most + 1) * sizeof *names);
    if (!names) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = YJ_OK;
    for (int side = 0; side < 2; side++) {
        int n = 0, ports = side ? p->n_outputs : p->n_inputs;
        for (int i = 0; i < ports; i++) names[n++] = (side ? p->outputs : p->inputs)[i].name;
        for (int i = 0; i < p->n_states; i++) names[n++] = side ? p->states[i].name_out : p->states[i].name_in;
        qsort(names, (size_t)n, sizeof *names, compare_names);
        for (int i = 1; i < n; i++) {
            if (strcmp(names[i - 1], names[i]) == 0) {
                status = report(YJ_ERR_INPUT, "two %s are called '%s'", side ? "outputs" : "inputs", names[i]);
            }
        }
    }
    free(names);
    return status;
}

/* --- blocks: a tree --- */

static enum yj_status use_block(struct verify *v, int by, int step, int block) {
    const struct plan *p = v->p;
    if (block <= by || block >= p->n_blocks) {
        return report(YJ_ERR_INPUT, "#%d step %d: goes to #%d; only blocks of a higher number are there", by, step, block);
    }
    if (v->user_block[block] >= 0) return report(YJ_ERR_INPUT, "#%d is used by two steps", block);
    v->user_block[block] = by;
    v->user_step[block] = step;
    return YJ_OK;
}

static enum yj_status verify_tree(struct verify *v) {
    const struct plan *p = v->p;
    if (p->n_blocks < 1) return report(YJ_ERR_INPUT, "a plan without blocks");
    for (int b = 0; b < p->n_blocks; b++) v->user_block[b] = v->user_step[b] = -1;
    for (int b = 0; b < p->n_blocks; b++) {
        int depth = 0;
        for (int up = b; up > 0 && v->user_block[up] >= 0; up = v->user_block[up]) depth++;
        if (depth > MOST_DEPTH) return report(YJ_ERR_INPUT, "blocks nest deeper than %d", MOST_DEPTH);
        if (b > 0 && !depth) return report(YJ_ERR_INPUT, "#%d is never used", b);
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            if (s->kind == PLAN_CALL) TRY(use_block(v, b, i, s->block));
            if (s->kind != PLAN_BRANCH) continue;
            if (s->block >= 0) TRY(use_block(v, b, i, s->block));
            if (s->otherwise >= 0) TRY(use_block(v, b, i, s->otherwise));
        }
    }
    return YJ_OK;
}

/* The step of OUTER during which a step of INNER runs; -1 if INNER is not inside OUTER. */
static int step_seen_from(const struct verify *v, int outer, int inner, int step) {
    while (inner > outer) {
        step = v->user_step[inner];
        inner = v->user_block[inner];
    }
    return inner == outer ? step : -1;
}

/* --- the shape of one step --- */

static enum yj_status verify_step_shape(struct verify *v, const struct plan_step *s) {
    const struct plan *p = v->p;
    static const int n_buffers[PLAN_STEPS] = {-1, 2, 2, 0, 1, 0, 0, 0};
    if ((int)s->kind < 0 || s->kind >= PLAN_STEPS) return report(YJ_ERR_INPUT, "kind %d", (int)s->kind);
    if (s->queue < 0 || s->queue >= MOST_QUEUES) return report(YJ_ERR_INPUT, "queue %d", s->queue);
    for (int i = 0; i < s->n_buffers; i++) {
        if (s->buffers[i] < 0 || s->buffers[i] >= p->n_buffers) {
            return report(YJ_ERR_INPUT, "there is no buffer %%%d", s->buffers[i]);
        }
    }
    if (n_buffers[s->kind] >= 0 && s->n_buffers != n_buffers[s->kind]) return report(YJ_ERR_INPUT, "%d buffers", s->n_buffers);
    if (s->kind == PLAN_LAUNCH) {
        if (s->kernel < 0 || s->kernel >= p->n_kernels) return report(YJ_ERR_INPUT, "there is no kernel %d", s->kernel);
        const struct plan_kernel *k = &p->kernels[s->kernel];
        if (k->n_args != s->n_buffers || k->n_dims != s->n_dims) {
            return report(YJ_ERR_INPUT, "kernel %s takes %d buffers and %d dims; it is given %d and %d", k->name, k->n_args,
                          k->n_dims, s->n_buffers, s->n_dims);
        }
    } else if (s->kind == PLAN_START) {
        if (s->axis < 0 || s->axis >= p->mesh.n) return report(YJ_ERR_INPUT, "there is no mesh axis %d", s->axis);
        if ((int)s->collective < 0 || s->collective >= PLAN_COLLECTIVES || (int)s->reduce < 0 || s->reduce >= PLAN_REDUCES) {
            return report(YJ_ERR_INPUT, "an unknown collective");
        }
        if (!yj_dtype_bytes(s->dtype)) return report(YJ_ERR_INPUT, "an unknown element type");
    } else if (s->kind == PLAN_BIND) {
        if (s->n_dims < 1) return report(YJ_ERR_INPUT, "a bind of nothing");
        if (s->dtype != YJ_I64 && s->dtype != YJ_I32 && s->dtype != YJ_BOOL) {
            return report(YJ_ERR_INPUT, "a bind reads i64, i32 or bool, not %s", yj_dtype_name(s->dtype));
        }
        if (p->buffers[s->buffers[0]].space == PLAN_DEVICE) return report(YJ_ERR_INPUT, "a bind reads host memory");
    }
    return YJ_OK;
}

/* --- the walk --- */

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

/* What the walk knows of queues inside one block: clock[step * MOST_QUEUES + q] is the number of the last step of queue q
 * that has ended before the step starts, + 1. */
struct order { int *clock; int queues; };

static bool joins_all(const struct plan_step *s) {
    return s->kind == PLAN_BIND || s->kind == PLAN_BRANCH || s->kind == PLAN_CALL;
}

static enum yj_status order_block(const struct plan_block *b, struct order *order) {
    int last[MOST_QUEUES] = {0}, barrier = 0; /* last: number + 1 */
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        int *clock = &order->clock[(size_t)i * MOST_QUEUES];
        for (int q = 0; q < MOST_QUEUES; q++) clock[q] = joins_all(s) ? last[q] : barrier < last[q] ? barrier : last[q];
        for (int a = -1; a < s->n_after; a++) {
            int before = a < 0 ? last[s->queue] - 1 : s->after[a];
            if (before < 0 && a < 0) continue;
            if (before < 0 || before >= i) return report(YJ_ERR_INPUT, "step %d: follows step %d, which is not before it", i, before);
            const int *theirs = &order->clock[(size_t)before * MOST_QUEUES];
            for (int q = 0; q < MOST_QUEUES; q++) {
                if (theirs[q] > clock[q]) clock[q] = theirs[q];
            }
            if (before + 1 > clock[b->steps[before].queue]) clock[b->steps[before].queue] = before + 1;
        }
        last[s->queue] = i + 1;
        if (joins_all(s)) barrier = i + 1;
    }
    order->queues = 0;
    for (int q = 0; q < MOST_QUEUES; q++) order->queues += last[q] > 0;
    return YJ_OK;
}

/* A use of BUFFER at STEP of BLOCK, for this block and for those around it. */
static enum yj_status touch(struct verify *v, const struct order *order, int block, int step, int buffer, bool write) {
    const struct plan *p = v->p;
    int root = plan_root(p, buffer);
    const struct plan_buffer *r = &p->buffers[root];
    if (!write && !v->written[root]) return report(YJ_ERR_INPUT, "%%%d is read before it is written", buffer);
    if (write && (r->kind == PLAN_INPUT || r->kind == PLAN_WEIGHT)) {
        return report(YJ_ERR_INPUT, "%%%d is written, but it is %s", buffer, r->kind == PLAN_INPUT ? "an input" : "a weight");
    }
    if (write) v->written[root] = 1;
    if (r->kind == PLAN_TEMP) {
        int seen = step_seen_from(v, r->block, block, step);
        if (seen < r->first || seen > r->last) {
            return report(YJ_ERR_INPUT, "%%%d is used outside of its life in #%d %d..%d", buffer, r->block, r->first, r->last);
        }
    }
    if (r->kind == PLAN_INPUT || r->kind == PLAN_WEIGHT || order->queues == 1) return YJ_OK;
    const int *clock = &order->clock[(size_t)step * MOST_QUEUES];
    int look = 0;
    for (int a = v->head[root]; a >= 0; a = v->accesses[a].next) {
        const struct access *x = &v->accesses[a];
        if (x->block != block) break; /* before this block began: joined by the step that called it */
        if (++look <= MOST_LOOK_BACK && (x->step == step || (!x->write && !write) || clock[x->queue] > x->step)) continue;
        if (look > MOST_LOOK_BACK || may_overlap(v, x->buffer, buffer)) {
            return report(YJ_ERR_INPUT, "%%%d is used by step %d of queue %d too, and neither follows the other", buffer,
                          x->step, x->queue);
        }
    }
    return YJ_OK;
}

static enum yj_status walk(struct verify *v, int block, int *n_accesses, int depth);

struct snapshot { unsigned char *written, *known; };

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
        for (int i = 0; i < v->p->n_buffers; i++) v->written[i] &= first.written[i];
        for (int i = 0; i < v->p->n_dims; i++) v->known[i] &= first.known[i];
    }
    free(before.written);
    free(first.written);
    return status;
}

static enum yj_status walk_call(struct verify *v, const struct plan_step *s, int *n_accesses, int depth) {
    if (s->trips) TRY(check_known(v, s->trips));
    if (s->index && !s->trips) return report(YJ_ERR_INPUT, "a call with an index needs trips");
    struct snapshot before;
    TRY(snapshot_take(v, &before));
    enum yj_status status = YJ_OK;
    if (s->index) {
        if (symbol_kind(v, s->index) == PLAN_DIM_BORN) v->known[v->number[s->index->id]] = 1;
        else status = report(YJ_ERR_INPUT, "the index of a call is a born dim");
    }
    if (status == YJ_OK && s->condition) status = check_known(v, s->condition); /* read before every turn, after the index */
    if (status == YJ_OK) status = walk(v, s->block, n_accesses, depth + 1);
    if (s->trips || s->condition) snapshot_restore(v, &before); /* it may not run at all */
    free(before.written);
    return status;
}

static enum yj_status walk_dims(struct verify *v, const struct plan_step *s) {
    if (s->kind == PLAN_LAUNCH) {
        for (int j = 0; j < s->n_dims; j++) TRY(check_known(v, s->dims[j]));
    } else if (s->kind == PLAN_COPY) {
        TRY(check_known(v, s->at));
        TRY(check_known(v, s->from));
        TRY(check_known(v, s->count));
    } else if (s->kind == PLAN_START) {
        TRY(check_known(v, s->count));
    } else if (s->kind == PLAN_BRANCH || s->kind == PLAN_CHECK) {
        if (!s->condition) return report(YJ_ERR_INPUT, "a %s of nothing", plan_step_names[s->kind]);
        TRY(check_known(v, s->condition));
    } else if (s->kind == PLAN_BIND) {
        for (int j = 0; j < s->n_dims; j++) {
            dim d = s->dims[j];
            if (!d || symbol_kind(v, d) != PLAN_DIM_BORN) return report(YJ_ERR_INPUT, "a bind sets born dims only");
            v->known[v->number[d->id]] = 1;
        }
    }
    return YJ_OK;
}

/* A wait uses the buffers of its start once more: so they live until it, and nothing else touches them on the way unless
 * it follows the wait or only reads what the start only reads. */
static enum yj_status verify_flight(struct verify *v, const struct order *order, int block, int *start_of, int i) {
    const struct plan *p = v->p;
    const struct plan_block *b = &p->blocks[block];
    const struct plan_step *s = &b->steps[i];
    if (s->request < 0 || s->request >= p->n_requests) return report(YJ_ERR_INPUT, "there is no request !%d", s->request);
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
    if (order->clock[(size_t)i * MOST_QUEUES + (size_t)start->queue] <= from) {
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

static enum yj_status walk_step(struct verify *v, struct order *order, int block, int i, int *start_of, int *n, int depth) {
    const struct plan *p = v->p;
    const struct plan_step *s = &p->blocks[block].steps[i];
    TRY(verify_step_shape(v, s));
    TRY(walk_dims(v, s));
    for (int pass = 0; pass < 2; pass++) { /* reads, then writes: an argument may be both */
        for (int j = 0; j < s->n_buffers; j++) {
            enum plan_role role = plan_step_role(p, s, j);
            if (pass == 0 ? role != PLAN_OUT : role != PLAN_IN) TRY(touch(v, order, block, i, s->buffers[j], pass == 1));
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
    for (int j = 0; j < uses->n_buffers; j++) note(v, block, i, uses->buffers[j], plan_step_role(p, uses, j) != PLAN_IN, n);
    return YJ_OK;
}

static enum yj_status walk(struct verify *v, int block, int *n_accesses, int depth) {
    const struct plan *p = v->p;
    const struct plan_block *b = &p->blocks[block];
    size_t n_clock = (size_t)b->n_steps * MOST_QUEUES, n_req = (size_t)p->n_requests;
    int *room = calloc(n_clock + n_req + 1, sizeof *room);
    if (!room) return report(YJ_ERR_MEMORY, "out of memory");
    struct order order = {.clock = room};
    int *start_of = room + n_clock;
    for (size_t i = 0; i < n_req; i++) start_of[i] = -1;
    enum yj_status status = YJ_OK;
    for (int i = 0; i < b->n_steps && status == YJ_OK; i++) {
        const struct plan_step *s = &b->steps[i];
        if (s->queue < 0 || s->queue >= MOST_QUEUES) status = report(YJ_ERR_INPUT, "step %d: queue %d", i, s->queue);
    }
    if (status == YJ_OK) status = order_block(b, &order);
    if (status != YJ_OK) status = report_in(status, "#%d", block);
    for (int i = 0; i < b->n_steps && status == YJ_OK; i++) {
        status = walk_step(v, &order, block, i, start_of, n_accesses, depth);
        bool inner = b->steps[i].kind == PLAN_BRANCH || b->steps[i].kind == PLAN_CALL;
        if (status != YJ_OK && !inner) status = report_in(status, "#%d step %d", block, i);
    }
    for (size_t i = 0; i < n_req && status == YJ_OK; i++) {
        if (start_of[i] >= 0 && !v->waited[i]) status = report(YJ_ERR_INPUT, "#%d: request !%zu is never waited for", block, i);
    }
    free(room);
    return status;
}

static enum yj_status verify_walk(struct verify *v) {
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
        for (int j = 0; j < p->outputs[i].rank; j++) TRY(check_known(v, p->outputs[i].shape[j]));
    }
    for (int i = 0; i < p->n_states; i++) {
        for (int j = 0; j < p->states[i].rank; j++) TRY(check_known(v, p->states[i].out[j]));
    }
    return YJ_OK;
}

static enum yj_status verify_all(void *argument) {
    struct verify *v = argument;
    const struct plan *p = v->p;
    TRY(verify_mesh(p));
    TRY(verify_dims(v));
    for (int i = 0; i < p->n_kernels; i++) TRY(verify_kernel(&p->kernels[i]));
    for (int i = 0; i < p->n_buffers; i++) TRY(verify_buffer(v, i));
    TRY(verify_tree(v));
    TRY(verify_ports(v));
    TRY(verify_names(p));
    return verify_walk(v);
}

enum yj_status plan_verify(const struct plan *p) {
    size_t n_ids = 1, n_accesses = 1;
    for (int i = 0; i < p->n_dims; i++) {
        if (p->dim[i].symbol) n_ids = (size_t)max64((int64_t)n_ids, p->dim[i].symbol->id + 1);
    }
    for (int b = 0; b < p->n_blocks; b++) {
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            n_accesses += 2 + (size_t)max64(0, p->blocks[b].steps[i].n_buffers);
        }
    }
    struct verify v = {
        .p = p,
        .n_ids = (int)n_ids,
        .written = calloc((size_t)p->n_buffers + 1, 1),
        .known = calloc((size_t)p->n_dims + 1, 1),
        .kind = calloc(n_ids, sizeof(int)),
        .number = calloc(n_ids, sizeof(int)),
        .user_block = calloc((size_t)p->n_blocks + 1, sizeof(int)),
        .user_step = calloc((size_t)p->n_blocks + 1, sizeof(int)),
        .accesses = calloc(n_accesses, sizeof(struct access)),
        .head = calloc((size_t)p->n_buffers + 1, sizeof(int)),
        .started = calloc((size_t)max64(0, p->n_requests) + 1, 1),
        .waited = calloc((size_t)max64(0, p->n_requests) + 1, 1),
    };
    bool room = v.written && v.known && v.kind && v.number && v.user_block && v.user_step && v.accesses && v.head &&
                v.started && v.waited;
    v.arena = arena_open();
    enum yj_status status = room && v.arena ? arena_guard(verify_all, &v) : report(YJ_ERR_MEMORY, "out of memory");
    arena_close(v.arena);
    free(v.written), free(v.known), free(v.kind), free(v.number);
    free(v.user_block), free(v.user_step), free(v.accesses), free(v.head), free(v.started), free(v.waited);
    return status;
}

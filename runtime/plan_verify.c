/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of a plan. Every block but the first is used by exactly one step, so blocks form a tree, and one walk
 * of it (plan_walk.c) sees all steps in an order in which they may run. Here are the tables and the tree.
 */
#include "runtime/plan_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_RANKS = 1 << 20 };

/* --- dims --- */

enum {
    ALLOW_INPUT = 1,
    ALLOW_STATE = 2,
    ALLOW_BORN = 4,
    ALLOW_RANK = 8,
    ALLOW_SIZE = ALLOW_INPUT | ALLOW_RANK,
    ALLOW_ALL = 15
};

struct dim_check {
    struct verify *v;
    int allowed;
    bool must_be_known;
    enum yj_status status;
};

/* The kind of a dim of this plan, -1 if it is none. */
int verify_symbol_kind(const struct verify *v, dim symbol) {
    if (symbol->op != DIM_SYMBOL || symbol->id >= v->n_ids || !v->kind[symbol->id]) return -1;
    return v->p->dim[v->number[symbol->id]].symbol == symbol ? v->kind[symbol->id] - 1 : -1;
}

static void check_symbol(void *user, dim symbol) {
    struct dim_check *c = user;
    struct verify *v = c->v;
    if (c->status != YJ_OK) return;
    int kind = verify_symbol_kind(v, symbol);
    if (kind < 0) {
        c->status = report(YJ_ERR_INPUT, "%s is not a dim of this plan", symbol->name);
    } else if (!(c->allowed >> kind & 1)) {
        c->status =
            report(YJ_ERR_INPUT, "the %s dim %s may not be used there", plan_dim_kind_names[kind], symbol->name);
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

enum yj_status verify_known(struct verify *v, dim d) {
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
        if (!p->dim[i].symbol || p->dim[i].symbol->op != DIM_SYMBOL)
            return report(YJ_ERR_INPUT, "dim %d is no symbol", i);
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

struct kernel_check {
    const struct plan_kernel *k;
    enum yj_status status;
};

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
        if (b->of < 0 || b->of >= i)
            return report(YJ_ERR_INPUT, "%%%d: an alias of %%%d, which is not before it", i, b->of);
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
            return report(YJ_ERR_INPUT, "%%%d: lives in #%d %d..%d, which is not there", i, b->block, b->first,
                          b->last);
        }
        return YJ_OK;
    default:
        return YJ_OK;
    }
}

static enum yj_status verify_shape(struct verify *v, int rank, const dim *shape, int allowed, const char *what, int i) {
    if (rank < 0 || rank > PLAN_MAX_RANK) return report(YJ_ERR_INPUT, "%s %d: rank %d", what, i, rank);
    for (int j = 0; j < rank; j++)
        TRY(check_dim(v, shape[j], allowed, what, i));
    return YJ_OK;
}

static enum yj_status verify_port_buffer(const struct plan *p, int buffer, enum yj_dtype dtype, const char *what,
                                         int i) {
    if (buffer < 0 || buffer >= p->n_buffers)
        return report(YJ_ERR_INPUT, "%s %d: there is no buffer %%%d", what, i, buffer);
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
        for (int i = 0; i < ports; i++)
            names[n++] = (side ? p->outputs : p->inputs)[i].name;
        for (int i = 0; i < p->n_states; i++)
            names[n++] = side ? p->states[i].name_out : p->states[i].name_in;
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
        return report(YJ_ERR_INPUT, "#%d step %d: goes to #%d; only blocks of a higher number are there", by, step,
                      block);
    }
    if (v->user_block[block] >= 0) return report(YJ_ERR_INPUT, "#%d is used by two steps", block);
    v->user_block[block] = by;
    v->user_step[block] = step;
    return YJ_OK;
}

static enum yj_status verify_tree(struct verify *v) {
    const struct plan *p = v->p;
    if (p->n_blocks < 1) return report(YJ_ERR_INPUT, "a plan without blocks");
    for (int b = 0; b < p->n_blocks; b++)
        v->user_block[b] = v->user_step[b] = -1;
    for (int b = 0; b < p->n_blocks; b++) {
        int depth = 0;
        for (int up = b; up > 0 && v->user_block[up] >= 0; up = v->user_block[up])
            depth++;
        if (depth > VERIFY_MOST_DEPTH) return report(YJ_ERR_INPUT, "blocks nest deeper than %d", VERIFY_MOST_DEPTH);
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

/* --- the shape of one step --- */

enum yj_status verify_step_shape(struct verify *v, const struct plan_step *s) {
    const struct plan *p = v->p;
    static const int n_buffers[PLAN_STEPS] = {-1, 2, 2, 0, 1, 0, 0, 0};
    if ((int)s->kind < 0 || s->kind >= PLAN_STEPS) return report(YJ_ERR_INPUT, "kind %d", (int)s->kind);
    if (s->queue < 0 || s->queue >= VERIFY_MOST_QUEUES) return report(YJ_ERR_INPUT, "queue %d", s->queue);
    for (int i = 0; i < s->n_buffers; i++) {
        if (s->buffers[i] < 0 || s->buffers[i] >= p->n_buffers) {
            return report(YJ_ERR_INPUT, "there is no buffer %%%d", s->buffers[i]);
        }
    }
    if (n_buffers[s->kind] >= 0 && s->n_buffers != n_buffers[s->kind])
        return report(YJ_ERR_INPUT, "%d buffers", s->n_buffers);
    if (s->kind == PLAN_LAUNCH) {
        if (s->kernel < 0 || s->kernel >= p->n_kernels) return report(YJ_ERR_INPUT, "there is no kernel %d", s->kernel);
        const struct plan_kernel *k = &p->kernels[s->kernel];
        if (k->n_args != s->n_buffers || k->n_dims != s->n_dims) {
            return report(YJ_ERR_INPUT, "kernel %s takes %d buffers and %d dims; it is given %d and %d", k->name,
                          k->n_args, k->n_dims, s->n_buffers, s->n_dims);
        }
    } else if (s->kind == PLAN_START) {
        if (s->axis < 0 || s->axis >= p->mesh.n) return report(YJ_ERR_INPUT, "there is no mesh axis %d", s->axis);
        if ((int)s->collective < 0 || s->collective >= PLAN_COLLECTIVES || (int)s->reduce < 0 ||
            s->reduce >= PLAN_REDUCES) {
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

static enum yj_status verify_all(void *argument) {
    struct verify *v = argument;
    const struct plan *p = v->p;
    TRY(verify_mesh(p));
    TRY(verify_dims(v));
    for (int i = 0; i < p->n_kernels; i++)
        TRY(verify_kernel(&p->kernels[i]));
    for (int i = 0; i < p->n_buffers; i++)
        TRY(verify_buffer(v, i));
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: regions, bind, and collectives across the ranks of the mesh, which are all here. A region runs with
 * its inputs standing for the operands; collectives join ranks in ascending order.
 */
#include "ir/graph_eval.h"
#include <stdlib.h>

/* --- slots of all ranks --- */

static bool owned_get(const struct eval *e, const struct value *v, int rank) {
    return e->owned[(size_t)v->id * (size_t)e->ranks + (size_t)rank];
}

static void owned_set(struct eval *e, const struct value *v, int rank, bool owned) {
    e->owned[(size_t)v->id * (size_t)e->ranks + (size_t)rank] = owned;
}

/* TO stands for FROM: the bytes are not copied and stay FROM's. */
static void lend(struct eval *e, const struct value *from, const struct value *to) {
    eval_free(e, to);
    for (int rank = 0; rank < e->ranks; rank++)
        *eval_slot(e, to, rank) = *eval_slot(e, from, rank);
}

/* TO gets the bytes of FROM, or a copy where FROM does not own them or is still needed. */
static enum yj_status hand_over(struct eval *e, const struct value *from, const struct value *to, bool needed) {
    eval_free(e, to);
    for (int rank = 0; rank < e->ranks; rank++) {
        struct tensor *a = eval_slot(e, from, rank), *b = eval_slot(e, to, rank);
        if (owned_get(e, from, rank) && !needed) {
            *b = *a;
            owned_set(e, from, rank, false);
        } else {
            TRY(tensor_new(a->dtype, a->rank, a->shape, b));
            if (a->n_bytes) memcpy(b->bytes, a->bytes, a->n_bytes);
        }
        owned_set(e, to, rank, true);
    }
    return YJ_OK;
}

/* Is output I of G given again as a later output? */
static bool again_later(const struct graph *g, int i) {
    for (int j = i + 1; j < g->n_out; j++)
        if (g->out[j] == g->out[i]) return true;
    return false;
}

static enum yj_status take_results(struct run *r, const struct graph *g) {
    struct eval *e = r->e;
    for (int i = 0; i < g->n_out; i++)
        TRY(hand_over(e, g->out[i], r->op->out[i], again_later(g, i)));
    for (int i = 0; i < g->n_out; i++)
        eval_free(e, g->out[i]);
    return YJ_OK;
}

static enum yj_status run_region(struct run *r, const struct graph *g, int first_operand) {
    for (int i = 0; i < g->n_in; i++)
        lend(r->e, r->op->in[first_operand + i], g->in[i]);
    TRY(eval_body(r->e, g));
    return take_results(r, g);
}

enum yj_status eval_op_composite(struct run *r) {
    return run_region(r, r->op->regions[0], 0);
}
enum yj_status eval_op_fused(struct run *r) {
    return run_region(r, r->op->regions[0], 0);
}

/* A scalar on which all ranks agree: they must go the same way. */
static enum yj_status agreed(struct run *r, const struct value *v, int64_t *value) {
    for (int rank = r->e->ranks - 1; rank >= 0; rank--) {
        const struct tensor *t = eval_slot(r->e, v, rank);
        int64_t x = (int64_t)element_load(t->bytes, t->dtype, 0);
        if (rank < r->e->ranks - 1 && x != *value)
            return report(YJ_ERR_UNSUPPORTED, "%s: ranks do not agree on %%%s", op_where(r->op), v->name);
        *value = x;
    }
    return YJ_OK;
}

enum yj_status eval_op_if(struct run *r) {
    int64_t yes;
    TRY(agreed(r, r->op->in[0], &yes));
    return run_region(r, r->op->regions[yes ? 0 : 1], 1);
}

/* --- loop --- */

/* Stacked results grow by one slice an iteration. */
struct stack {
    char *bytes;
    size_t n_bytes, room;
    struct tensor slice;
};

static enum yj_status stack_add(struct stack *s, const struct tensor *t) {
    if (s->n_bytes + t->n_bytes > s->room) {
        size_t room = max64((int64_t)s->room * 2, (int64_t)(s->n_bytes + t->n_bytes));
        char *more = realloc(s->bytes, room);
        if (!more) return report(YJ_ERR_MEMORY, "no memory for %zu bytes of stacked results", room);
        s->bytes = more;
        s->room = room;
    }
    if (t->n_bytes) memcpy(s->bytes + s->n_bytes, t->bytes, t->n_bytes);
    s->n_bytes += t->n_bytes;
    return YJ_OK;
}

static enum yj_status set_index(struct run *r, const struct value *v, int64_t index) {
    for (int rank = 0; rank < r->e->ranks; rank++) {
        TRY(eval_new(r, v, rank));
        element_store(eval_slot(r->e, v, rank)->bytes, YJ_I64, 0, (uint64_t)index);
    }
    return YJ_OK;
}

/* One iteration: carried values live in the results of the op. */
static enum yj_status iterate(struct run *r, int64_t index, struct stack *stacks, int64_t *go_on) {
    struct eval *e = r->e;
    const struct op *op = r->op;
    const struct graph *g = op->regions[0];
    int carried = op->n_in - 2, n;
    const dim *symbol = op_dims(op, "index", &n);
    if (symbol) TRY(eval_bind(e, symbol[0], index));
    TRY(set_index(r, g->in[0], index));
    for (int i = 0; i < carried; i++)
        lend(e, op->out[i], g->in[1 + i]);
    TRY(eval_body(e, g));
    TRY(agreed(r, g->out[0], go_on));
    for (int i = 1 + carried; i < g->n_out; i++)
        for (int rank = 0; rank < e->ranks; rank++)
            TRY(stack_add(&stacks[(i - 1 - carried) * e->ranks + rank], eval_slot(e, g->out[i], rank)));
    /* All new carried values first, because one may be another's old value. */
    struct tensor *fresh = calloc((size_t)(carried * e->ranks) + 1, sizeof *fresh);
    enum yj_status status = fresh ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; status == YJ_OK && i < carried * e->ranks; i++) {
        const struct tensor *t = eval_slot(e, g->out[1 + i / e->ranks], i % e->ranks);
        status = tensor_new(t->dtype, t->rank, t->shape, &fresh[i]);
        if (status == YJ_OK && t->n_bytes) memcpy(fresh[i].bytes, t->bytes, t->n_bytes);
    }
    for (int i = 0; i < g->n_out; i++)
        eval_free(e, g->out[i]);
    for (int i = 0; i < g->n_in; i++)
        eval_free(e, g->in[i]);
    for (int i = 0; status == YJ_OK && i < carried * e->ranks; i++) {
        if (i % e->ranks == 0) eval_free(e, op->out[i / e->ranks]);
        *eval_slot(e, op->out[i / e->ranks], i % e->ranks) = fresh[i];
        owned_set(e, op->out[i / e->ranks], i % e->ranks, true);
    }
    for (int i = 0; status != YJ_OK && fresh && i < carried * e->ranks; i++)
        free(fresh[i].bytes);
    free(fresh);
    return status;
}

static enum yj_status give_stacks(struct run *r, struct stack *stacks, int64_t trips) {
    struct eval *e = r->e;
    int carried = r->op->n_in - 2, n;
    const dim *length = op_dims(r->op, "length", &n);
    if (n == 1 && length[0]->op == DIM_SYMBOL) {
        enum yj_status status = eval_bind(e, length[0], trips);
        if (status != YJ_OK) return report_in(status, "%s", op_where(r->op));
    }
    int64_t want = trips;
    if (n == 1) TRY(eval_dim(r, length[0], &want));
    if (want != trips)
        return eval_bad(r, "it ran %lld times and its length says %lld", (long long)trips, (long long)want);
    for (int i = carried; i < r->op->n_out; i++)
        for (int rank = 0; rank < e->ranks; rank++) {
            const struct stack *s = &stacks[(i - carried) * e->ranks + rank];
            TRY(eval_new(r, r->op->out[i], rank));
            struct tensor *t = eval_slot(e, r->op->out[i], rank);
            if (t->n_bytes != s->n_bytes) return eval_bad(r, "stacked result %d has slices of different shapes", i);
            if (s->n_bytes) memcpy(t->bytes, s->bytes, s->n_bytes);
        }
    return YJ_OK;
}

enum yj_status eval_op_loop(struct run *r) {
    struct eval *e = r->e;
    const struct op *op = r->op;
    int carried = op->n_in - 2, n_stacks = (op->n_out - carried) * e->ranks;
    int64_t trips, go_on, done = 0;
    TRY(agreed(r, op->in[0], &trips));
    TRY(agreed(r, op->in[1], &go_on));
    struct stack *stacks = calloc((size_t)n_stacks + 1, sizeof *stacks);
    enum yj_status status = stacks ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; status == YJ_OK && i < carried; i++)
        status = hand_over(e, op->in[2 + i], op->out[i], true);
    for (; status == YJ_OK && done < trips && go_on; done++)
        status = iterate(r, done, stacks, &go_on);
    if (status == YJ_OK) status = give_stacks(r, stacks, done);
    for (int i = 0; stacks && i < n_stacks; i++)
        free(stacks[i].bytes);
    free(stacks);
    return status;
}

enum yj_status eval_op_bind(struct run *r) {
    int n;
    const dim *symbols = op_dims(r->op, "symbols", &n);
    if (tensor_elements(r->in[0]) != n) return eval_bad(r, "it should have %d elements", n);
    for (int i = 0; i < n; i++) {
        int64_t value = (int64_t)element_load(r->in[0]->bytes, YJ_I64, i), before;
        if (r->rank > 0) {
            TRY(eval_dim(r, symbols[i], &before));
            if (before != value)
                return report(YJ_ERR_UNSUPPORTED, "%s: ranks do not agree on %s", op_where(r->op), symbols[i]->name);
        }
        enum yj_status status = eval_bind(r->e, symbols[i], value);
        if (status != YJ_OK) return report_in(status, "%s", op_where(r->op));
    }
    return YJ_OK;
}

/* --- collectives --- */

/* The ranks of RANK's group on the op's mesh axis are first, first + step, ..; N of them. */
static void group_of(const struct run *r, int rank, int *first, int *step, int *n) {
    const struct mesh *m = &r->e->root->mesh;
    const char *axis = op_text(r->op, "axis");
    *step = 1;
    for (int i = 0; i < m->n; *step *= m->size[i++])
        if (strcmp(m->name[i], axis) == 0) {
            *n = m->size[i];
            break;
        }
    *first = rank - rank / *step % *n * *step;
}

/* Joins elements [at, at + n) of all of RANK's group into OUT[to..], ranks ascending, narrow floats in f32. */
static void join_ranks(const struct run *r, int rank, const int64_t *at, int64_t n, struct tensor *out) {
    int first, step, size;
    enum scalar_op op = SCALAR_add;
    scalar_find(op_text(r->op, "kind"), &op);
    group_of(r, rank, &first, &step, &size);
    for (int64_t i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (int k = 0; k < size; k++) {
            const struct tensor *t = eval_slot(r->e, r->op->in[0], first + k * step);
            uint64_t v = element_load(t->bytes, t->dtype, at ? at[i] : i);
            sum = k ? scalar_eval(op, dtype_wide(t->dtype), (uint64_t[]){sum, v}) : v;
        }
        element_store(out->bytes, out->dtype, i, sum);
    }
}

static enum yj_status each_rank(struct run *r, enum yj_status (*fn)(struct run *r, int rank, struct tensor *out)) {
    for (int rank = 0; rank < r->e->ranks; rank++) {
        TRY(eval_new(r, r->op->out[0], rank));
        TRY(fn(r, rank, eval_slot(r->e, r->op->out[0], rank)));
    }
    return YJ_OK;
}

static enum yj_status all_reduce(struct run *r, int rank, struct tensor *out) {
    join_ranks(r, rank, NULL, tensor_elements(out), out);
    return YJ_OK;
}

/* Offsets, in a tensor like IN, of part INDEX of axis AXIS that has OUT's shape. */
static enum yj_status part_offsets(const struct run *r, const struct tensor *in, const int64_t *shape, int axis,
                                   int64_t index, int64_t **offsets, int64_t *n) {
    int64_t strides[GRAPH_MAX_RANK];
    tensor_strides(in, strides);
    if ((index + 1) * shape[axis] > in->shape[axis]) return eval_bad(r, "axis %d cannot be split", axis);
    TRY(eval_offsets(in->rank, shape, strides, offsets, n));
    for (int64_t i = 0; i < *n; i++)
        (*offsets)[i] += index * shape[axis] * strides[axis];
    return YJ_OK;
}

static enum yj_status reduce_scatter(struct run *r, int rank, struct tensor *out) {
    int first, step, size, axis = (int)op_int(r->op, "dim", 0);
    int64_t *at, n;
    const struct tensor *in = eval_slot(r->e, r->op->in[0], rank);
    group_of(r, rank, &first, &step, &size);
    if (in->shape[axis] != out->shape[axis] * size)
        return eval_bad(r, "%d ranks do not divide %lld", size, (long long)in->shape[axis]);
    TRY(part_offsets(r, in, out->shape, axis, (rank - first) / step, &at, &n));
    join_ranks(r, rank, at, n, out);
    free(at);
    return YJ_OK;
}

/* Copies part FROM of axis SPLIT of each rank of the group (all of it if WHOLE) behind one another along axis TO. */
static enum yj_status exchange(struct run *r, int rank, struct tensor *out, bool whole, int split, int to) {
    int first, step, size;
    group_of(r, rank, &first, &step, &size);
    for (int k = 0; k < size; k++) {
        const struct tensor *in = eval_slot(r->e, r->op->in[0], first + k * step);
        int64_t shape[GRAPH_MAX_RANK], *from, *into, n, m;
        memcpy(shape, in->shape, sizeof shape);
        if (!whole && shape[split] % size != 0)
            return eval_bad(r, "%d ranks do not divide %lld", size, (long long)shape[split]);
        if (!whole) shape[split] /= size;
        TRY(part_offsets(r, in, shape, whole ? to : split, whole ? 0 : (rank - first) / step, &from, &n));
        enum yj_status status = part_offsets(r, out, shape, to, k, &into, &m);
        size_t each = yj_dtype_bytes(in->dtype);
        for (int64_t i = 0; status == YJ_OK && i < n; i++)
            memcpy((char *)out->bytes + (size_t)into[i] * each, (const char *)in->bytes + (size_t)from[i] * each, each);
        free(from);
        if (status != YJ_OK) return status;
        free(into);
    }
    return YJ_OK;
}

static enum yj_status all_gather(struct run *r, int rank, struct tensor *out) {
    int axis = (int)op_int(r->op, "dim", 0);
    return exchange(r, rank, out, true, axis, axis);
}

static enum yj_status all_to_all(struct run *r, int rank, struct tensor *out) {
    return exchange(r, rank, out, false, (int)op_int(r->op, "split", 0), (int)op_int(r->op, "concat", 0));
}

enum yj_status eval_op_all_reduce(struct run *r) {
    return each_rank(r, all_reduce);
}
enum yj_status eval_op_all_gather(struct run *r) {
    return each_rank(r, all_gather);
}
enum yj_status eval_op_reduce_scatter(struct run *r) {
    return each_rank(r, reduce_scatter);
}
enum yj_status eval_op_all_to_all(struct run *r) {
    return each_rank(r, all_to_all);
}

enum yj_status eval_op_wait(struct run *r) {
    if (r->in[0]->n_bytes) memcpy(r->out[0]->bytes, r->in[0]->bytes, r->out[0]->n_bytes);
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that are made a row at a time and kept in scratch: what sort and cumulative give, and what is expensive and
 * used by several passes over a row (the exponentials of a softmax: once for the sum, once for the result). The row is
 * made in the scope that knows the other axes; after that an element of it is a load.
 */
#include "compiler/lowering.h"

/* --- where a row is made --- */

/* Goes to the scope that knows IDX without the axes of MASK; gives the row already made there or above. */
static struct memo *row_find(struct lowering *l, const struct value *v, unsigned mask, const struct index *idx,
                             struct scope **from) {
    int level = 0;
    *from = l->scope;
    for (int i = 0; i < v->type.rank; i++) {
        int n = mask >> i & 1 ? 0 : expr_level(l, idx->at[i]);
        if (n > level) level = n;
    }
    while (l->scope->level > level && l->scope->kind != SCOPE_IF)
        l->scope = l->scope->outer;
    return memo_find(l, v, mask, idx);
}

static struct buffer *scratch_row(struct lowering *l, const char *name, enum yj_dtype dtype, dim size) {
    struct buffer *b = stmt_buffer(l->k, &l->scope->at, SPACE_SCRATCH, name, dtype, 1, &size);
    level_set(l, b, l->scope->level);
    return b;
}

static struct expr *row_load(struct lowering *l, struct buffer *row, struct expr *at) {
    return expr_load(l->k, row, 1, &at);
}

dim size_of_axes(struct lowering *l, const dim *shape, unsigned mask) {
    dim size = dim_const(l->k->dims, 1);
    for (int i = 0; i < GRAPH_MAX_RANK; i++)
        if (mask >> i & 1) size = dim_mul(l->k->dims, size, shape[i]);
    return size;
}

/* --- kept values --- */

static struct memo *make_row(struct lowering *l, const struct value *v, const struct index *idx, const dim *shape,
                             const int *axes, int n) {
    struct memo *m = memo_add(l, v, l->row_mask, idx);
    m->buffers[0] = scratch_row(l, v->name ? v->name : "row", v->type.dtype, size_of_axes(l, shape, l->row_mask));
    struct loop loop[GRAPH_MAX_RANK];
    struct index at = *idx;
    for (int i = 0; i < n; i++)
        at.at[axes[i]] = ix(l, walk_open(l, &loop[i], "r", shape[axes[i]]));
    struct expr *sub = flatten(l, &at, shape, axes, n);
    stmt_store(l->k, &l->scope->at, m->buffers[0], 1, &sub, compute(l, v, &at));
    for (int i = n - 1; i >= 0; i--)
        walk_close(l, &loop[i]);
    return m;
}

struct expr *pull_row(struct lowering *l, const struct value *v, const struct index *idx) {
    int axes[GRAPH_MAX_RANK], n = 0;
    dim shape[GRAPH_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++) {
        shape[i] = type_dim(l, v, i);
        if (l->row_mask >> i & 1) axes[n++] = i;
    }
    struct scope *from;
    struct memo *m = row_find(l, v, l->row_mask, idx, &from);
    if (!m && can_state(l)) m = make_row(l, v, idx, shape, axes, n);
    l->scope = from;
    if (!m) {
        can_state(l);
        return compute(l, v, idx);
    }
    return row_load(l, m->buffers[0], flatten(l, idx, shape, axes, n));
}

/* Rough cost of one element in flops, for what is computed between loads. */
static int op_weight(const struct op *op) {
    if (!op_is(op->kind, 'E')) return 0;
    if (strchr(scalar_info[op->kind].types, 'm')) return 12;
    return op->kind == OP_div || op->kind == OP_sqrt || op->kind == OP_rem ? 6 : 1;
}

struct passes {
    unsigned mask;
    int cost;
};

static bool is_row_value(struct lowering *l, const struct value *v, const struct type *row) {
    if (!v->op || v->type.rank != row->rank || !(value_axes(l, v) & l->row_mask)) return false;
    for (int i = 0; i < row->rank; i++)
        if (v->type.shape[i] != row->shape[i]) return false;
    return op_is(v->op->kind, 'E') || v->op->kind == OP_cast;
}

/* Costs forward, passes backward. A value of two passes or more that costs more than a load and a store is kept; for
 * what it is made of, making it is one pass. */
static void choose_rows(struct lowering *l, struct op **ops, int n, const struct type *row) {
    struct map seen = {.arena = l->arena};
    for (int i = 0; i < n; i++) {
        struct passes *p = NEW(l->arena, struct passes);
        const struct value *v = ops[i]->out[0];
        if (is_row_value(l, v, row)) {
            p->cost = op_weight(ops[i]);
            for (int j = 0; j < ops[i]->n_in; j++) {
                struct passes *of = map_get(&seen, resolve(l, ops[i]->in[j]));
                if (of) p->cost += of->cost;
            }
        }
        map_set(&seen, v, p);
    }
    for (int i = 0; i < l->body->n_out; i++) {
        struct passes *p = map_get(&seen, resolve(l, l->body->out[i]));
        if (p) p->mask |= 1;
    }
    for (int i = n - 1, bit = 1; i >= 0; i--) {
        struct passes *p = map_get(&seen, ops[i]->out[0]);
        unsigned mask = p->mask;
        bool several = (mask & (mask - 1)) != 0, own = ops[i]->kind == OP_reduce;
        if (several && p->cost >= 8 && is_row_value(l, ops[i]->out[0], row)) {
            map_set(&l->rows, ops[i]->out[0], l);
            own = true;
        }
        if (own) {
            mask = 1u << bit;
            if (bit < 30) bit++;
        }
        for (int j = 0; j < ops[i]->n_in; j++) {
            struct passes *of = map_get(&seen, resolve(l, ops[i]->in[j]));
            if (of) of->mask |= mask;
        }
    }
}

static int list_ops(struct lowering *l, const struct graph *g, struct op **ops, int n) {
    for (struct op *op = g->first; op; op = op->next) {
        if (op->kind == OP_composite) {
            n = list_ops(l, op->regions[0], ops, n);
        } else {
            if (ops) ops[n] = op;
            n++;
        }
    }
    return n;
}

void rows_plan(struct lowering *l) {
    int n = list_ops(l, l->body, NULL, 0);
    struct op **ops = NEW_ARRAY(l->arena, struct op *, n ? n : 1);
    list_ops(l, l->body, ops, 0);
    const struct op *first = NULL;
    for (int i = 0; i < n; i++) {
        if (ops[i]->kind != OP_reduce) continue;
        int na, nb;
        const int64_t *a = op_ints(ops[i], "axes", &na), *b = first ? op_ints(first, "axes", &nb) : NULL;
        if (!first)
            first = ops[i];
        else if (na != nb || memcmp(a, b, (size_t)na * sizeof *a) != 0)
            return;
    }
    if (!first || !l->inner) return;
    int na;
    const int64_t *a = op_ints(first, "axes", &na);
    for (int i = 0; i < na; i++)
        l->row_mask |= 1u << a[i];
    choose_rows(l, ops, n, &resolve(l, first->in[0])->type);
}

/* --- cumulative --- */

static struct memo *make_cumulative(struct lowering *l, const struct op *op, const struct index *idx, int axis) {
    const struct value *x = resolve(l, op->in[0]), *v = op->out[0];
    enum yj_dtype dtype = wide(x->type.dtype);
    enum scalar_op join = join_op(op);
    dim size = type_dim(l, x, axis), one = dim_const(l->k->dims, 1), zero = dim_const(l->k->dims, 0);
    struct memo *m = memo_add(l, v, 1u << axis, idx);
    m->buffers[0] = scratch_row(l, v->name ? v->name : "running", x->type.dtype, size);
    struct buffer *acc = stmt_buffer(l->k, &l->scope->at, SPACE_REG, "acc", dtype, 1, &one);
    level_set(l, acc, l->scope->level);
    stmt_store_dims(l->k, &l->scope->at, acc, 1, &zero, expr_neutral(l->k, join, dtype));
    struct loop loop;
    dim i = walk_open(l, &loop, "i", size);
    if (op_int(op, "reverse", 0)) i = dim_sub(l->k->dims, dim_sub(l->k->dims, size, one), i);
    struct index at = *idx;
    at.at[axis] = ix(l, i);
    struct expr *before = expr_load_dims(l->k, acc, 1, &zero);
    struct expr *after = op2(l, join, before, widen(l, pull(l, x, &at)));
    bool exclusive = op_int(op, "exclusive", 0) != 0;
    if (exclusive) stmt_store_dims(l->k, &l->scope->at, m->buffers[0], 1, &i, narrow(l, x->type.dtype, before));
    stmt_store_dims(l->k, &l->scope->at, acc, 1, &zero, after);
    if (!exclusive) stmt_store_dims(l->k, &l->scope->at, m->buffers[0], 1, &i, narrow(l, x->type.dtype, before));
    walk_close(l, &loop);
    return m;
}

struct expr *pull_cumulative(struct lowering *l, const struct op *op, const struct index *idx) {
    int axis = (int)op_int(op, "axis", 0);
    const struct value *v = op->out[0];
    struct scope *from;
    struct memo *m = row_find(l, v, 1u << axis, idx, &from);
    if (!m && can_state(l)) m = make_cumulative(l, op, idx, axis);
    l->scope = from;
    if (m) return row_load(l, m->buffers[0], idx->at[axis]);
    can_state(l);
    return expr_neutral(l->k, join_op(op), v->type.dtype);
}

/* --- sort: Batcher's merge exchange, whose comparisons need no data to be known; the index breaks ties, so it is
 * stable. --- */

struct sorter {
    struct buffer *keys, *at;
    dim n;
    bool descending;
};

/* Number order with NaN above all; DESCENDING turns it round. */
static struct expr *goes_before(struct lowering *l, const struct sorter *s, struct expr *a, struct expr *ia,
                                struct expr *b, struct expr *ib) {
    struct expr *less = op2(l, s->descending ? SCALAR_gt : SCALAR_lt, a, b), *equal = op2(l, SCALAR_eq, a, b);
    if (dtype_kind(a->dtype) == 'f') {
        struct expr *nan_a = op2(l, SCALAR_ne, a, a), *nan_b = op2(l, SCALAR_ne, b, b);
        struct expr *high = s->descending ? nan_a : nan_b, *low = s->descending ? nan_b : nan_a;
        less = op2(l, SCALAR_or, less, op2(l, SCALAR_and, high, expr_op(l->k, SCALAR_not, low, NULL, NULL)));
        equal = op2(l, SCALAR_or, equal, op2(l, SCALAR_and, nan_a, nan_b));
    }
    return op2(l, SCALAR_or, less, op2(l, SCALAR_and, equal, op2(l, SCALAR_lt, ia, ib)));
}

static void exchange(struct lowering *l, const struct sorter *s, struct expr *x, struct expr *step) {
    struct kernel *k = l->k;
    struct expr *y = let(l, "y", op2(l, SCALAR_add, x, step));
    struct expr *a = let(l, "a", row_load(l, s->keys, x)), *b = let(l, "b", row_load(l, s->keys, y));
    struct expr *ia = let(l, "ia", row_load(l, s->at, x)), *ib = let(l, "ib", row_load(l, s->at, y));
    struct scope scope;
    if_open(l, &scope, goes_before(l, s, widen(l, b), ib, widen(l, a), ia));
    stmt_store(k, &l->scope->at, s->keys, 1, &x, b);
    stmt_store(k, &l->scope->at, s->keys, 1, &y, a);
    stmt_store(k, &l->scope->at, s->at, 1, &x, ib);
    stmt_store(k, &l->scope->at, s->at, 1, &y, ia);
    l->scope = scope.outer;
}

/* For p = 1, 2, 4, .. < n, for step = p, p/2, .. 1: x and x + step are compared if x counts in a lower half of its
 * block of 2*step (blocks begin at step mod p) and both lie in one block of 2p. */
static void sort_network(struct lowering *l, const struct sorter *s) {
    struct kernel *k = l->k;
    int rounds = 1;
    while (rounds < 62 && (s->n->high == DIM_UNBOUNDED || (INT64_C(1) << rounds) < s->n->high))
        rounds++;
    struct expr *one = expr_const_i(k, YJ_I64, 1), *two = expr_const_i(k, YJ_I64, 2), *n = ix(l, s->n);
    struct loop outer, middle, inner;
    struct scope in_range, in_step, compares;
    walk_open(l, &outer, "round", dim_const(k->dims, rounds + 1));
    struct expr *p = let(l, "p", op2(l, SCALAR_shift_left, one, ix(l, outer.axis)));
    if_open(l, &in_range, op2(l, SCALAR_lt, p, n));
    walk_open(l, &middle, "half", dim_const(k->dims, rounds + 1));
    struct expr *step = let(l, "step", op2(l, SCALAR_shift_right, p, ix(l, middle.axis)));
    if_open(l, &in_step, op2(l, SCALAR_ge, step, one));
    struct expr *first = let(l, "first", op2(l, SCALAR_rem, step, p));
    walk_open(l, &inner, "x", s->n);
    struct expr *x = ix(l, inner.axis), *above = op2(l, SCALAR_add, x, step), *block = op2(l, SCALAR_mul, p, two);
    struct expr *in_lower =
        op2(l, SCALAR_lt, op2(l, SCALAR_rem, op2(l, SCALAR_sub, x, first), op2(l, SCALAR_mul, step, two)), step);
    struct expr *together = op2(l, SCALAR_eq, op2(l, SCALAR_div, x, block), op2(l, SCALAR_div, above, block));
    struct expr *legal = op2(l, SCALAR_and, op2(l, SCALAR_lt, above, n), op2(l, SCALAR_ge, x, first));
    if_open(l, &compares, op2(l, SCALAR_and, legal, op2(l, SCALAR_and, in_lower, together)));
    exchange(l, s, x, step);
    l->scope = compares.outer;
    walk_close(l, &inner);
    l->scope = in_step.outer;
    walk_close(l, &middle);
    l->scope = in_range.outer;
    walk_close(l, &outer);
}

static struct memo *make_sorted(struct lowering *l, const struct op *op, const struct index *idx, int axis) {
    const struct value *x = resolve(l, op->in[0]);
    struct memo *m = memo_add(l, op->out[0], 1u << axis, idx);
    struct sorter s = {.n = type_dim(l, x, axis), .descending = op_int(op, "descending", 0) != 0};
    s.keys = m->buffers[0] = scratch_row(l, "keys", x->type.dtype, s.n);
    s.at = m->buffers[1] = scratch_row(l, "order", YJ_I64, s.n);
    struct loop loop;
    dim i = walk_open(l, &loop, "i", s.n);
    struct index at = *idx;
    at.at[axis] = ix(l, i);
    stmt_store_dims(l->k, &l->scope->at, s.keys, 1, &i, pull(l, x, &at));
    stmt_store_dims(l->k, &l->scope->at, s.at, 1, &i, ix(l, i));
    walk_close(l, &loop);
    if (!dim_is(s.n, 1)) sort_network(l, &s);
    return m;
}

struct expr *pull_sort(struct lowering *l, const struct value *v, const struct index *idx) {
    const struct op *op = v->op;
    int axis = (int)op_int(op, "axis", 0);
    struct scope *from;
    struct memo *m = row_find(l, op->out[0], 1u << axis, idx, &from);
    if (!m && can_state(l)) m = make_sorted(l, op, idx, axis);
    l->scope = from;
    if (m) return narrow(l, v->type.dtype, row_load(l, m->buffers[v->index], idx->at[axis]));
    can_state(l);
    return expr_neutral(l->k, SCALAR_add, v->type.dtype);
}

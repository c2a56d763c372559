/* SPDX-License-Identifier: Apache-2.0
 *
 * Contractions and reductions of one element. A contraction is a register accumulator, loops over what is contracted,
 * and one store acc = fma(a, b, acc): the form that tile_matrix.c looks for. Order is part of the meaning: dot goes
 * through k ascending; convolution through the window row-major and within it through channels, whatever the layout;
 * elements of the padding are zeros that take part.
 */
#include "compiler/lowering.h"

enum scalar_op join_op(const struct op *op) {
    const char *kind = op_text(op, "kind");
    enum scalar_op join = SCALAR_add;
    if (kind) scalar_find(kind, &join);
    return join;
}

static struct expr *zero_of(struct lowering *l, enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' ? expr_const_f(l->k, dtype, 0) : expr_const_i(l->k, dtype, 0);
}

/* --- the accumulator --- */

static struct buffer *acc_open(struct lowering *l, enum yj_dtype dtype, struct expr *first) {
    dim one = dim_const(l->k->dims, 1), zero = dim_const(l->k->dims, 0);
    struct buffer *acc = stmt_buffer(l->k, &l->scope->at, SPACE_REG, "acc", dtype, 1, &one);
    level_set(l, acc, l->scope->level);
    stmt_store_dims(l->k, &l->scope->at, acc, 1, &zero, first);
    return acc;
}

static struct expr *acc_load(struct lowering *l, struct buffer *acc) {
    dim zero = dim_const(l->k->dims, 0);
    return expr_load_dims(l->k, acc, 1, &zero);
}

static void acc_store(struct lowering *l, struct buffer *acc, struct expr *value) {
    dim zero = dim_const(l->k->dims, 0);
    stmt_store_dims(l->k, &l->scope->at, acc, 1, &zero, value);
}

static void acc_multiply(struct lowering *l, struct buffer *acc, struct expr *a, struct expr *b) {
    a = widen(l, a);
    b = widen(l, b);
    if (dtype_kind(acc->dtype) == 'f') {
        a = narrow(l, acc->dtype, a);
        b = narrow(l, acc->dtype, b);
        acc_store(l, acc, expr_op(l->k, SCALAR_fma, a, b, acc_load(l, acc)));
    } else {
        struct expr *product = op2(l, SCALAR_mul, narrow(l, acc->dtype, a), narrow(l, acc->dtype, b));
        acc_store(l, acc, op2(l, SCALAR_add, acc_load(l, acc), product));
    }
}

/* Floats are summed in the operands' wide type, integers in the result's: they wrap, so that is the same. */
static enum yj_dtype sum_type(const struct value *x, enum yj_dtype result) {
    return dtype_kind(result) == 'f' ? wide(x->type.dtype) : result;
}

/* --- dot --- */

static bool is_among(int64_t axis, const int64_t *axes, int n) {
    for (int i = 0; i < n; i++)
        if (axes[i] == axis) return true;
    return false;
}

/* Fills the batch and free axes of one operand from the result's index; free axes start at FIRST. Returns their number.
 */
static int place_free(struct index *to, const struct value *v, const struct index *idx, const int64_t *batch,
                      int n_batch, const int64_t *contract, int n_contract, int first) {
    int n = 0;
    for (int i = 0; i < n_batch; i++)
        to->at[batch[i]] = idx->at[i];
    for (int i = 0; i < v->type.rank; i++)
        if (!is_among(i, batch, n_batch) && !is_among(i, contract, n_contract)) to->at[i] = idx->at[first + n++];
    return n;
}

struct expr *pull_dot(struct lowering *l, const struct op *op, const struct index *idx) {
    enum yj_dtype dtype = op->out[0]->type.dtype;
    if (!can_state(l)) return zero_of(l, dtype);
    const struct value *x = resolve(l, op->in[0]), *y = resolve(l, op->in[1]);
    int nb, nk;
    const int64_t *batch_a = op_ints(op, "batch_a", &nb), *batch_b = op_ints(op, "batch_b", &nb);
    const int64_t *contract_a = op_ints(op, "contract_a", &nk), *contract_b = op_ints(op, "contract_b", &nk);
    struct index ia = {{NULL}}, ib = {{NULL}};
    int free_a = place_free(&ia, x, idx, batch_a, nb, contract_a, nk, nb);
    place_free(&ib, y, idx, batch_b, nb, contract_b, nk, nb + free_a);
    enum yj_dtype sum = sum_type(x, dtype);
    struct buffer *acc = acc_open(l, sum, zero_of(l, sum));
    struct loop loop[GRAPH_MAX_RANK];
    for (int i = 0; i < nk; i++) {
        struct expr *k = ix(l, walk_open(l, &loop[i], "k", type_dim(l, x, (int)contract_a[i])));
        ia.at[contract_a[i]] = ib.at[contract_b[i]] = k;
    }
    struct expr *a = pull(l, x, &ia), *b = pull(l, y, &ib);
    acc_multiply(l, acc, a, b);
    for (int i = nk - 1; i >= 0; i--)
        walk_close(l, &loop[i]);
    return narrow(l, dtype, acc_load(l, acc));
}

/* --- convolution --- */

/* Where the axes of x (and of the result) and of w stand. */
struct conv_axes {
    int n_spatial, x_channel, x_spatial, w_out, w_channel, w_spatial;
};

static struct conv_axes conv_axes_of(const struct op *op, int rank) {
    const char *layout = op_text(op, "layout");
    int n = rank - 2;
    if (layout && strcmp(layout, "NHWC") == 0) return (struct conv_axes){n, rank - 1, 1, n + 1, n, 0};
    return (struct conv_axes){n, 1, 2, 0, 1, 2};
}

/* No window lies in the padding alone: where there is a result there is an input. */
static bool reaches_input(struct lowering *l, const struct value *x, int axis, dim low, dim high, dim window,
                          int64_t dilation) {
    int64_t a, b, k;
    if (x->type.shape[axis]->low >= 1) return true;
    return dim_is_const(low, &a) && dim_is_const(high, &b) && dim_is_const(window, &k) && a + b <= dilation * (k - 1);
}

struct expr *pull_convolution(struct lowering *l, const struct op *op, const struct index *idx) {
    enum yj_dtype dtype = op->out[0]->type.dtype;
    if (!can_state(l)) return zero_of(l, dtype);
    const struct value *x = resolve(l, op->in[0]), *w = resolve(l, op->in[1]);
    struct conv_axes at = conv_axes_of(op, x->type.rank);
    int n;
    const int64_t *strides = op_ints(op, "strides", &n), *dilation = op_ints(op, "dilation", &n);
    const dim *low = op_dims(op, "low", &n), *high = op_dims(op, "high", &n);
    struct dim_table *t = l->k->dims;
    dim groups = dim_const(t, op_int(op, "groups", 1)), outs = type_dim(l, w, at.w_out),
        width = type_dim(l, w, at.w_channel);
    struct index ix_x = {{NULL}}, ix_w = {{NULL}};
    enum yj_dtype sum = sum_type(x, dtype);
    struct buffer *acc = acc_open(l, sum, zero_of(l, sum));
    struct loop loop[GRAPH_MAX_RANK];
    struct expr *inside = NULL;
    bool filled = true;
    for (int s = 0; s < at.n_spatial; s++) {
        struct expr *k =
            ix(l, walk_open(l, &loop[s], s == at.n_spatial - 1 ? "kw" : "kh", type_dim(l, w, at.w_spatial + s)));
        struct expr *p = ix_add(l, ix_mul(l, idx->at[at.x_spatial + s], dim_const(t, strides[s])),
                                ix_mul(l, k, dim_const(t, dilation[s])));
        p = ix_sub(l, p, ix(l, kdim(l, low[s])));
        bool padded = !dim_is(low[s], 0) || !dim_is(high[s], 0);
        if (padded) inside = all_of(l, inside, ix_inside(l, p, type_dim(l, x, at.x_spatial + s)));
        filled &= reaches_input(l, x, at.x_spatial + s, low[s], high[s], w->type.shape[at.w_spatial + s], dilation[s]);
        ix_x.at[at.x_spatial + s] = p;
        ix_w.at[at.w_spatial + s] = k;
    }
    struct expr *c = ix(l, walk_open(l, &loop[at.n_spatial], "c", width)), *o = idx->at[at.x_channel];
    ix_x.at[0] = idx->at[0];
    struct expr *group = dim_is(groups, 1) ? ix(l, dim_const(t, 0)) : ix_div(l, o, dim_div(t, outs, groups));
    ix_x.at[at.x_channel] = ix_add(l, ix_mul(l, group, width), c);
    ix_w.at[at.w_out] = o;
    ix_w.at[at.w_channel] = c;
    struct expr *a = pull_guarded(l, inside, x, &ix_x, zero_of(l, x->type.dtype), filled), *b = pull(l, w, &ix_w);
    acc_multiply(l, acc, a, b);
    for (int i = at.n_spatial; i >= 0; i--)
        walk_close(l, &loop[i]);
    return narrow(l, dtype, acc_load(l, acc));
}

/* --- reduce --- */

/* Sequential: partial results in ascending row-major order of the reduced axes. */
static struct expr *reduce_in_order(struct lowering *l, const struct op *op, struct index at, const int *axes, int n) {
    const struct value *x = resolve(l, op->in[0]);
    enum yj_dtype dtype = wide(x->type.dtype);
    enum scalar_op join = join_op(op);
    struct buffer *acc = acc_open(l, dtype, expr_neutral(l->k, join, dtype));
    struct loop loop[GRAPH_MAX_RANK];
    for (int i = 0; i < n; i++)
        at.at[axes[i]] = ix(l, walk_open(l, &loop[i], "r", type_dim(l, x, axes[i])));
    acc_store(l, acc, op2(l, join, acc_load(l, acc), widen(l, pull(l, x, &at))));
    for (int i = n - 1; i >= 0; i--)
        walk_close(l, &loop[i]);
    return acc_load(l, acc);
}

/* The value at position r of a row, as a tree; NULL if that cannot be. */
static struct expr *row_tree(struct lowering *l, const struct value *x, struct index at, const dim *shape,
                             const int *axes, int n, dim r) {
    struct scope scope;
    scope_open(l, &scope, SCOPE_TREE, l->scope->level + 1);
    level_set(l, r, scope.level);
    unflatten(l, ix(l, r), shape, axes, n, &at);
    struct expr *e = widen(l, pull(l, x, &at));
    l->scope = scope.outer;
    return scope.wanted || expr_size(l, e) > 48 ? NULL : e;
}

static struct buffer *row_in_scratch(struct lowering *l, const struct value *x, struct index at, const dim *shape,
                                     const int *axes, int n, dim size) {
    struct buffer *row = stmt_buffer(l->k, &l->scope->at, SPACE_SCRATCH, "row", x->type.dtype, 1, &size);
    level_set(l, row, l->scope->level);
    struct loop loop;
    dim r = walk_open(l, &loop, "r", size);
    unflatten(l, ix(l, r), shape, axes, n, &at);
    stmt_store_dims(l->k, &l->scope->at, row, 1, &r, pull(l, x, &at));
    walk_close(l, &loop);
    return row;
}

struct expr *pull_reduce(struct lowering *l, const struct op *op, const struct index *idx) {
    enum yj_dtype dtype = op->out[0]->type.dtype;
    if (!can_state(l)) return zero_of(l, dtype);
    const struct value *x = resolve(l, op->in[0]);
    int n_listed, n = 0, kept = 0, axes[GRAPH_MAX_RANK];
    const int64_t *listed = op_ints(op, "axes", &n_listed);
    dim shape[GRAPH_MAX_RANK], size = dim_const(l->k->dims, 1);
    struct index at = {{NULL}};
    bool trailing = true;
    for (int i = 0; i < x->type.rank; i++) {
        shape[i] = type_dim(l, x, i);
        if (is_among(i, listed, n_listed)) {
            axes[n++] = i;
            size = dim_mul(l->k->dims, size, shape[i]);
        } else {
            at.at[i] = idx->at[kept++];
        }
    }
    for (int i = 0; i < n_listed; i++)
        trailing &= listed[i] == x->type.rank - n_listed + i;
    if (!trailing) return narrow(l, dtype, reduce_in_order(l, op, at, axes, n));
    dim zero = dim_const(l->k->dims, 0), r = kernel_axis(l->k, "r", zero, size);
    struct expr *e = row_tree(l, x, at, shape, axes, n, r);
    if (!e) e = widen(l, expr_load_dims(l->k, row_in_scratch(l, x, at, shape, axes, n, size), 1, &r));
    enum scalar_op join = join_op(op);
    struct expr *sum =
        stmt_reduce(l->k, &l->scope->at, op->out[0]->name ? op->out[0]->name : "sum", join, 32, r, zero, size, e);
    level_set(l, sum->let, l->scope->level);
    return narrow(l, dtype, sum);
}

/* --- windows --- */

struct expr *pull_reduce_window(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]);
    if (!can_state(l)) return zero_of(l, x->type.dtype);
    int n;
    const int64_t *window = op_ints(op, "window", &n), *strides = op_ints(op, "strides", &n),
                  *dilation = op_ints(op, "dilation", &n);
    const dim *low = op_dims(op, "low", &n), *high = op_dims(op, "high", &n);
    struct dim_table *t = l->k->dims;
    enum scalar_op join = join_op(op);
    enum yj_dtype dtype = wide(x->type.dtype);
    struct buffer *acc = acc_open(l, dtype, expr_neutral(l->k, join, dtype));
    struct index at = {{NULL}};
    struct loop loop[GRAPH_MAX_RANK];
    struct expr *inside = NULL;
    bool filled = true;
    for (int i = 0; i < x->type.rank; i++) {
        struct expr *k = ix(l, walk_open(l, &loop[i], "w", dim_const(t, window[i])));
        struct expr *p =
            ix_add(l, ix_mul(l, idx->at[i], dim_const(t, strides[i])), ix_mul(l, k, dim_const(t, dilation[i])));
        at.at[i] = ix_sub(l, p, ix(l, kdim(l, low[i])));
        if (!dim_is(low[i], 0) || !dim_is(high[i], 0))
            inside = all_of(l, inside, ix_inside(l, at.at[i], type_dim(l, x, i)));
        filled &= reaches_input(l, x, i, low[i], high[i], dim_const(t, window[i]), dilation[i]);
    }
    struct expr *e = widen(l, pull_guarded(l, inside, x, &at, expr_neutral(l->k, join, x->type.dtype), filled));
    acc_store(l, acc, op2(l, join, acc_load(l, acc), e));
    for (int i = x->type.rank - 1; i >= 0; i--)
        walk_close(l, &loop[i]);
    return narrow(l, x->type.dtype, acc_load(l, acc));
}

/* The first (or last) of equals; the first NaN is the extreme. */
struct expr *pull_arg_reduce(struct lowering *l, const struct op *op, const struct index *idx) {
    enum yj_dtype dtype = op->out[0]->type.dtype;
    if (!can_state(l)) return zero_of(l, dtype);
    const struct value *x = resolve(l, op->in[0]);
    int axis = (int)op_int(op, "axis", 0);
    bool last = op_int(op, "last", 0) != 0;
    enum scalar_op join = join_op(op);
    struct index at = {{NULL}};
    for (int i = 0, kept = 0; i < x->type.rank; i++)
        if (i != axis) at.at[i] = idx->at[kept++];
    struct buffer *best = acc_open(l, wide(x->type.dtype), expr_neutral(l->k, join, wide(x->type.dtype)));
    struct buffer *where = acc_open(l, YJ_I64, expr_const_i(l->k, YJ_I64, 0));
    struct loop loop;
    struct expr *r = ix(l, walk_open(l, &loop, "r", type_dim(l, x, axis)));
    at.at[axis] = r;
    struct expr *e = let(l, "e", widen(l, pull(l, x, &at))), *old = acc_load(l, best);
    enum scalar_op beats = join == SCALAR_max ? (last ? SCALAR_ge : SCALAR_gt) : (last ? SCALAR_le : SCALAR_lt);
    struct expr *better = op2(l, beats, e, old);
    if (dtype_kind(e->dtype) == 'f') {
        struct expr *old_nan = op2(l, SCALAR_ne, old, old), *nan = op2(l, SCALAR_ne, e, e);
        better = op2(l, SCALAR_or, better, op2(l, SCALAR_and, nan, expr_op(l->k, SCALAR_not, old_nan, NULL, NULL)));
    }
    better = let(l, "better", better);
    acc_store(l, where, expr_op(l->k, SCALAR_select, better, r, acc_load(l, where)));
    acc_store(l, best, expr_op(l->k, SCALAR_select, better, e, acc_load(l, best)));
    walk_close(l, &loop);
    return narrow(l, dtype, acc_load(l, where));
}

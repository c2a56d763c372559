/* SPDX-License-Identifier: Apache-2.0
 *
 * Views as index transformations. Indices are i64 expressions that stay dim expressions as long as no data is in them,
 * so that a reshape's division by a size disappears where the dim engine can see that it does.
 */
#include "compiler/lowering.h"

/* --- dims of the graph in the kernel --- */

struct renaming {
    struct lowering *l;
    dim from[64], to[64];
    int n;
};

static void move_symbol(void *user, dim symbol) {
    struct renaming *r = user;
    dim own = map_get(&r->l->symbols, symbol);
    if (!own) {
        own = kernel_dim(r->l->k, symbol->name, symbol->low, symbol->high);
        map_set(&r->l->symbols, symbol, (void *)own);
    }
    if (strcmp(own->name, symbol->name) != 0 && r->n < 64) {
        r->from[r->n] = symbol;
        r->to[r->n++] = own;
    }
}

dim kdim(struct lowering *l, dim d) {
    struct renaming r = {.l = l};
    dim_symbols(d, move_symbol, &r);
    dim copy = dim_copy(l->k->dims, d);
    for (int i = 0; i < r.n; i++) {
        dim clash = dim_find(l->k->dims, r.from[i]->name);
        if (clash) copy = dim_substitute(l->k->dims, copy, clash, r.to[i]);
    }
    return copy;
}

dim type_dim(struct lowering *l, const struct value *v, int axis) {
    return kdim(l, v->type.shape[axis]);
}

/* --- arithmetic on indices --- */

struct expr *ix(struct lowering *l, dim d) {
    return expr_dim(l->k, d);
}

struct expr *ix_add(struct lowering *l, struct expr *a, struct expr *b) {
    if (a->kind == EXPR_DIM && b->kind == EXPR_DIM) return ix(l, dim_add(l->k->dims, a->dim, b->dim));
    if (a->kind == EXPR_DIM && dim_is(a->dim, 0)) return b;
    return b->kind == EXPR_DIM && dim_is(b->dim, 0) ? a : op2(l, SCALAR_add, a, b);
}

struct expr *ix_sub(struct lowering *l, struct expr *a, struct expr *b) {
    if (a->kind == EXPR_DIM && b->kind == EXPR_DIM) return ix(l, dim_sub(l->k->dims, a->dim, b->dim));
    return b->kind == EXPR_DIM && dim_is(b->dim, 0) ? a : op2(l, SCALAR_sub, a, b);
}

struct expr *ix_mul(struct lowering *l, struct expr *a, dim by) {
    if (a->kind == EXPR_DIM) return ix(l, dim_mul(l->k->dims, a->dim, by));
    return dim_is(by, 1) ? a : op2(l, SCALAR_mul, a, ix(l, by));
}

/* Sizes that may be 0 divide as 1: there is no element then. */
static dim divisor_of(struct lowering *l, dim by) {
    return by->low >= 1 ? by : dim_max(l->k->dims, by, dim_const(l->k->dims, 1));
}

struct expr *ix_div(struct lowering *l, struct expr *a, dim by) {
    by = divisor_of(l, by);
    if (a->kind == EXPR_DIM) return ix(l, dim_div(l->k->dims, a->dim, by));
    return dim_is(by, 1) ? a : op2(l, SCALAR_div, a, ix(l, by));
}

struct expr *ix_mod(struct lowering *l, struct expr *a, dim by) {
    by = divisor_of(l, by);
    if (a->kind == EXPR_DIM) return ix(l, dim_mod(l->k->dims, a->dim, by));
    return dim_is(by, 1) ? ix(l, dim_const(l->k->dims, 0)) : op2(l, SCALAR_rem, a, ix(l, by));
}

struct expr *ix_clamp(struct lowering *l, struct expr *a, dim n) {
    struct dim_table *t = l->k->dims;
    dim zero = dim_const(t, 0), last = dim_sub(t, n, dim_const(t, 1));
    if (a->kind == EXPR_DIM) {
        dim d = a->dim;
        if (dim_less(t, last, d) != DIM_NO) d = dim_min(t, d, last);
        return ix(l, dim_less(t, d, zero) == DIM_NO ? d : dim_max(t, d, zero));
    }
    return op2(l, SCALAR_max, op2(l, SCALAR_min, a, ix(l, last)), ix(l, zero));
}

struct expr *all_of(struct lowering *l, struct expr *a, struct expr *b) {
    return !a ? b : !b ? a : op2(l, SCALAR_and, a, b);
}

struct expr *ix_inside(struct lowering *l, struct expr *a, dim n) {
    struct dim_table *t = l->k->dims;
    dim zero = dim_const(t, 0);
    bool is_dim = a->kind == EXPR_DIM;
    struct expr *low = is_dim && dim_less(t, a->dim, zero) == DIM_NO ? NULL : op2(l, SCALAR_ge, a, ix(l, zero));
    struct expr *high = is_dim && dim_less(t, a->dim, n) == DIM_YES ? NULL : op2(l, SCALAR_lt, a, ix(l, n));
    return all_of(l, low, high);
}

/* What a flat index was made of, so that taking it apart gives the parts back where the dim engine, which knows ranges
 * as numbers only, cannot see that i < W in (i*W + j) / W. */
struct flat {
    dim flat;
    int n;
    dim size[GRAPH_MAX_RANK];
    struct expr *at[GRAPH_MAX_RANK];
    struct flat *next;
};

static struct expr *remember_flat(struct lowering *l, struct expr *e, const struct index *idx, const dim *shape,
                                  const int *axes, int n) {
    if (e->kind != EXPR_DIM || n < 2) return e;
    struct flat *f = NEW(l->arena, struct flat);
    *f = (struct flat){.flat = e->dim, .n = n, .next = map_get(&l->flats, e->dim)};
    for (int i = 0; i < n; i++) {
        f->size[i] = shape[axes[i]];
        f->at[i] = idx->at[axes[i]];
    }
    map_set(&l->flats, e->dim, f);
    return e;
}

struct expr *flatten(struct lowering *l, const struct index *idx, const dim *shape, const int *axes, int n) {
    struct expr *flat = ix(l, dim_const(l->k->dims, 0));
    /* (x / W, x % W) came from one x. */
    if (n == 2 && idx->at[axes[0]]->kind == EXPR_DIM && idx->at[axes[1]]->kind == EXPR_DIM) {
        dim q = idx->at[axes[0]]->dim, r = idx->at[axes[1]]->dim;
        if (q->op == DIM_DIV && r->op == DIM_MOD && q->a == r->a && q->b == r->b && q->b == shape[axes[1]])
            return ix(l, q->a);
    }
    for (int i = 0; i < n; i++)
        flat = ix_add(l, ix_mul(l, flat, shape[axes[i]]), idx->at[axes[i]]);
    return remember_flat(l, flat, idx, shape, axes, n);
}

/* The coordinates that FLAT was made of, if runs of them make up the sizes asked for. */
static bool recall_flat(struct lowering *l, const struct flat *f, const dim *shape, const int *axes, int n,
                        struct index *idx) {
    int part = f->n, from[GRAPH_MAX_RANK + 1];
    from[n] = part;
    for (int i = n - 1; i >= 0; i--) {
        dim size = dim_const(l->k->dims, 1);
        while (part > 0 && (size != shape[axes[i]] || (i == 0 && part > 0)))
            size = dim_mul(l->k->dims, size, f->size[--part]);
        if (size != shape[axes[i]]) return false;
        from[i] = part;
    }
    if (part > 0) return false;
    for (int i = 0; i < n; i++) {
        struct index parts = {{NULL}};
        dim sizes[GRAPH_MAX_RANK];
        int each[GRAPH_MAX_RANK], m = from[i + 1] - from[i];
        for (int j = 0; j < m; j++) {
            each[j] = j;
            parts.at[j] = f->at[from[i] + j];
            sizes[j] = f->size[from[i] + j];
        }
        idx->at[axes[i]] = flatten(l, &parts, sizes, each, m);
    }
    return true;
}

/* Row-major coordinates of FLAT, which lies inside. */
void unflatten(struct lowering *l, struct expr *flat, const dim *shape, const int *axes, int n, struct index *idx) {
    if (flat->kind == EXPR_DIM && n > 1)
        for (struct flat *f = map_get(&l->flats, flat->dim); f; f = f->next)
            if (recall_flat(l, f, shape, axes, n, idx)) return;
    for (int i = n - 1; i > 0; i--) {
        dim size = shape[axes[i]];
        if (dim_is(size, 1)) {
            idx->at[axes[i]] = ix(l, dim_const(l->k->dims, 0));
            continue;
        }
        bool rest_is_one = true;
        for (int j = 0; j < i; j++)
            rest_is_one &= dim_is(shape[axes[j]], 1);
        idx->at[axes[i]] = rest_is_one ? flat : ix_mod(l, flat, size);
        flat = rest_is_one ? ix(l, dim_const(l->k->dims, 0)) : ix_div(l, flat, size);
    }
    if (n > 0) idx->at[axes[0]] = flat;
}

/* --- views --- */

/* The index in shape SX of the element at IDX in shape SY. Splits both shapes into the shortest runs with equal
 * products and maps run by run, so that a size that is kept stays free of divisions. */
struct index reshape_between(struct lowering *l, const struct index *idx, const dim *sy, int ny, const dim *sx,
                             int nx) {
    struct dim_table *t = l->k->dims;
    int axes_x[GRAPH_MAX_RANK], axes_y[GRAPH_MAX_RANK];
    struct index to = {{NULL}};
    for (int i = 0, j = 0; i < nx || j < ny;) {
        int n = 0, m = 0;
        dim px = dim_const(t, 1), py = dim_const(t, 1);
        if (i < nx && !(j < ny && dim_is(sx[i], 1) && !dim_is(sy[j], 1))) px = sx[axes_x[n++] = i++];
        if (j < ny && !(n && dim_is(px, 1) && !dim_is(sy[j], 1))) py = sy[axes_y[m++] = j++];
        if (n == 0 && m == 0) px = sx[axes_x[n++] = i++];
        while (px != py && (i < nx || j < ny)) {
            bool more_x =
                i < nx && (j >= ny || dim_less(t, px, py) == DIM_YES || (dim_less(t, py, px) != DIM_YES && n <= m));
            if (more_x)
                px = dim_mul(t, px, sx[axes_x[n++] = i++]);
            else
                py = dim_mul(t, py, sy[axes_y[m++] = j++]);
        }
        if (n) unflatten(l, flatten(l, idx, sy, axes_y, m), sx, axes_x, n, &to);
    }
    return to;
}

static struct index reshape_index(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]), *y = op->out[0];
    dim sx[GRAPH_MAX_RANK], sy[GRAPH_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        sx[i] = type_dim(l, x, i);
    for (int i = 0; i < y->type.rank; i++)
        sy[i] = type_dim(l, y, i);
    return reshape_between(l, idx, sy, y->type.rank, sx, x->type.rank);
}

static struct index broadcast_index(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]), *y = op->out[0];
    int n;
    const int64_t *axes = op_ints(op, "axes", &n);
    struct index to = {{NULL}};
    for (int i = 0; i < x->type.rank; i++) {
        dim size = type_dim(l, x, i);
        struct expr *at = idx->at[axes[i]];
        if (dim_is(size, 1))
            at = ix(l, dim_const(l->k->dims, 0));
        else if (size != type_dim(l, y, (int)axes[i]))
            at = ix_clamp(l, at, size); /* 1 at run time, or equal */
        to.at[i] = at;
    }
    return to;
}

static struct index slice_index(struct lowering *l, const struct op *op, const struct index *idx) {
    int n;
    const dim *start = op_dims(op, "start", &n);
    const int64_t *stride = op_ints(op, "stride", &n);
    struct index to = {{NULL}};
    for (int i = 0; i < op->out[0]->type.rank; i++)
        to.at[i] = ix_add(l, ix(l, kdim(l, start[i])), ix_mul(l, idx->at[i], dim_const(l->k->dims, stride[i])));
    return to;
}

static struct index reverse_index(struct lowering *l, const struct op *op, const struct index *idx) {
    int n;
    const int64_t *axes = op_ints(op, "axes", &n);
    struct index to = *idx;
    for (int i = 0; i < n; i++) {
        dim last = dim_sub(l->k->dims, type_dim(l, op->out[0], (int)axes[i]), dim_const(l->k->dims, 1));
        to.at[axes[i]] = ix_sub(l, ix(l, last), idx->at[axes[i]]);
    }
    return to;
}

struct index view_index(struct lowering *l, const struct op *op, const struct index *idx) {
    struct index to = {{NULL}};
    int n;
    switch (op->kind) {
    case OP_reshape:
        return reshape_index(l, op, idx);
    case OP_broadcast:
        return broadcast_index(l, op, idx);
    case OP_slice:
        return slice_index(l, op, idx);
    case OP_reverse:
        return reverse_index(l, op, idx);
    default: {
        const int64_t *permutation = op_ints(op, "permutation", &n);
        for (int i = 0; i < op->out[0]->type.rank; i++)
            to.at[permutation[i]] = idx->at[i];
        return to;
    }
    }
}

/* --- one of several sources, by where the index lies --- */

/* A source that stands where CONDITION holds (NULL: always). In a body of statements each is computed under an `if`, so
 * a source may be empty and no index is clamped; in a tree they are joined by select, with indices clamped, which needs
 * sources that are not empty. */
struct source {
    const struct value *v;
    struct index idx;
    struct expr *condition;
};

static bool never_empty(struct lowering *l, const struct value *v) {
    for (int i = 0; i < v->type.rank; i++)
        if (v->type.shape[i]->low < 1) return false;
    return true;
}

static struct expr *join_in_tree(struct lowering *l, struct source *s, int n) {
    struct expr *e = NULL;
    for (int i = n - 1; i >= 0; i--) {
        const struct value *v = resolve(l, s[i].v);
        if (!never_empty(l, v)) {
            can_state(l);
            return refuse(l, v->type.dtype, "an operand of %s may be empty", v->name ? v->name : "a concat");
        }
        struct index idx = s[i].idx;
        for (int a = 0; a < v->type.rank; a++)
            idx.at[a] = ix_clamp(l, idx.at[a], type_dim(l, v, a));
        struct expr *here = pull(l, v, &idx);
        e = e ? expr_op(l->k, SCALAR_select, s[i].condition, here, e) : here;
    }
    return e;
}

static struct expr *join_by_if(struct lowering *l, struct source *s, int n) {
    enum yj_dtype dtype = resolve(l, s[0].v)->type.dtype;
    dim one = dim_const(l->k->dims, 1), zero = dim_const(l->k->dims, 0);
    struct buffer *part = stmt_buffer(l->k, &l->scope->at, SPACE_REG, "part", dtype, 1, &one);
    level_set(l, part, l->scope->level);
    for (int i = 0; i < n; i++) {
        struct scope scope;
        if_open(l, &scope, s[i].condition);
        stmt_store_dims(l->k, &l->scope->at, part, 1, &zero, pull(l, s[i].v, &s[i].idx));
        l->scope = scope.outer;
    }
    return let(l, "part", expr_load_dims(l->k, part, 1, &zero));
}

struct expr *pull_guarded(struct lowering *l, struct expr *inside, const struct value *x, const struct index *idx,
                          struct expr *fill, bool filled) {
    x = resolve(l, x);
    if (!inside) return pull(l, x, idx);
    if (filled || never_empty(l, x)) {
        struct index at = *idx;
        for (int a = 0; a < x->type.rank; a++)
            at.at[a] = ix_clamp(l, at.at[a], type_dim(l, x, a));
        return expr_op(l->k, SCALAR_select, inside, pull(l, x, &at), fill);
    }
    if (!can_state(l)) return fill;
    dim one = dim_const(l->k->dims, 1), zero = dim_const(l->k->dims, 0);
    struct buffer *part = stmt_buffer(l->k, &l->scope->at, SPACE_REG, "part", x->type.dtype, 1, &one);
    level_set(l, part, l->scope->level);
    stmt_store_dims(l->k, &l->scope->at, part, 1, &zero, fill);
    struct scope scope;
    if_open(l, &scope, inside);
    stmt_store_dims(l->k, &l->scope->at, part, 1, &zero, pull(l, x, idx));
    l->scope = scope.outer;
    return let(l, "part", expr_load_dims(l->k, part, 1, &zero));
}

static struct expr *join_sources(struct lowering *l, struct source *s, int n) {
    if (n == 1) return pull(l, s[0].v, &s[0].idx);
    if (l->scope->kind != SCOPE_TREE) return join_by_if(l, s, n);
    for (int i = 0; i < n; i++)
        if (!never_empty(l, resolve(l, s[i].v))) {
            can_state(l);
            enum yj_dtype dtype = resolve(l, s[0].v)->type.dtype;
            return dtype_kind(dtype) == 'f' ? expr_const_f(l->k, dtype, 0) : expr_const_i(l->k, dtype, 0);
        }
    return join_in_tree(l, s, n);
}

static struct expr *not_of(struct lowering *l, struct expr *e) {
    return expr_op(l->k, SCALAR_not, e, NULL, NULL);
}

static struct expr *pull_concat(struct lowering *l, const struct op *op, const struct index *idx) {
    int axis = (int)op_int(op, "axis", 0), n = 0;
    struct source *s = NEW_ARRAY(l->arena, struct source, op->n_in ? op->n_in : 1);
    struct expr *begin = ix(l, dim_const(l->k->dims, 0));
    for (int i = 0; i < op->n_in; i++) {
        dim size = type_dim(l, resolve(l, op->in[i]), axis);
        if (dim_is(size, 0)) continue;
        struct expr *end = ix_add(l, begin, ix(l, size));
        s[n] = (struct source){.v = op->in[i], .idx = *idx};
        s[n].idx.at[axis] = ix_sub(l, idx->at[axis], begin);
        struct expr *from = dim_is(begin->dim, 0) ? NULL : op2(l, SCALAR_ge, idx->at[axis], begin);
        s[n].condition = all_of(l, from, i + 1 < op->n_in ? op2(l, SCALAR_lt, idx->at[axis], end) : NULL);
        n++;
        begin = end;
    }
    if (n == 0) return refuse(l, op->out[0]->type.dtype, "%s: concat of nothing", op_where(op));
    return join_sources(l, s, n);
}

static struct expr *inside_all(struct lowering *l, const struct index *idx, const struct value *v) {
    struct expr *inside = NULL;
    for (int i = 0; i < v->type.rank; i++)
        inside = all_of(l, inside, ix_inside(l, idx->at[i], type_dim(l, v, i)));
    return inside;
}

static struct expr *pull_pad(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]);
    int n;
    const dim *low = op_dims(op, "low", &n);
    struct index at = *idx;
    for (int i = 0; i < x->type.rank; i++)
        at.at[i] = ix_sub(l, idx->at[i], ix(l, kdim(l, low[i])));
    struct expr *inside = inside_all(l, &at, x);
    if (!inside) return pull(l, x, &at);
    struct source s[2] = {{x, at, inside}, {op->in[1], {{NULL}}, not_of(l, inside)}};
    return join_sources(l, s, 2);
}

static struct expr *pull_update_slice(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *part = resolve(l, op->in[1]);
    int n;
    const dim *start = op_dims(op, "start", &n);
    struct index at = *idx;
    for (int i = 0; i < part->type.rank; i++)
        at.at[i] = ix_sub(l, idx->at[i], ix(l, kdim(l, start[i])));
    struct expr *inside = inside_all(l, &at, part);
    if (!inside) return pull(l, part, &at);
    struct source s[2] = {{part, at, inside}, {op->in[0], *idx, not_of(l, inside)}};
    return join_sources(l, s, 2);
}

struct expr *pull_view(struct lowering *l, const struct op *op, const struct index *idx) {
    if (op->kind == OP_concat) return pull_concat(l, op, idx);
    if (op->kind == OP_pad) return pull_pad(l, op, idx);
    if (op->kind == OP_update_slice) return pull_update_slice(l, op, idx);
    struct index at = view_index(l, op, idx);
    return pull(l, op->in[0], &at);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing at indices that are data: gather, gather_nd, scatter; and the kernels whose domain is not their
 * result's: scatter (slices), update_slice in place (the part), pack (panels). Every index from data is checked: a bad
 * one is a fault of the launch, and what is read instead lies inside.
 */
#include "compiler/lowering.h"

static struct expr *zero_of(struct lowering *l, enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' ? expr_const_f(l->k, dtype, 0) : expr_const_i(l->k, dtype, 0);
}

/* An index read from data, as i64, with a check that it is in [0, n). */
static struct expr *checked(struct lowering *l, struct expr *at, dim n) {
    at = let(l, "at", narrow(l, YJ_I64, at));
    struct expr *inside = ix_inside(l, at, n);
    if (inside) stmt_check(l->k, &l->scope->at, inside, YJ_FAULT_INDEX, at);
    return at;
}

/* x at an index of which the axes in MASK are checked data. */
static struct expr *pull_checked(struct lowering *l, const struct value *x, struct index *at, unsigned mask) {
    struct expr *inside = NULL;
    bool empty = false;
    for (int i = 0; i < x->type.rank; i++) {
        if (!(mask >> i & 1)) continue;
        dim n = type_dim(l, x, i);
        inside = all_of(l, inside, ix_inside(l, at->at[i], n));
        empty |= n->low < 1;
        if (n->low >= 1) at->at[i] = let(l, "safe", ix_clamp(l, at->at[i], n));
    }
    return empty ? pull_guarded(l, inside, x, at, zero_of(l, x->type.dtype), false) : pull(l, x, at);
}

struct expr *pull_gather(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]), *indices = resolve(l, op->in[1]);
    if (!can_state(l)) return zero_of(l, x->type.dtype);
    int axis = (int)op_int(op, "axis", 0), n = indices->type.rank;
    struct index where = {{NULL}}, at = {{NULL}};
    for (int i = 0; i < n; i++)
        where.at[i] = idx->at[axis + i];
    for (int i = 0; i < x->type.rank; i++)
        if (i != axis) at.at[i] = idx->at[i < axis ? i : i + n - 1];
    at.at[axis] = checked(l, pull(l, indices, &where), type_dim(l, x, axis));
    return pull_checked(l, x, &at, 1u << axis);
}

struct expr *pull_gather_nd(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *x = resolve(l, op->in[0]), *indices = resolve(l, op->in[1]);
    if (!can_state(l)) return zero_of(l, x->type.dtype);
    int batch = (int)op_int(op, "batch", 0), q = indices->type.rank;
    int64_t depth = 0;
    if (!dim_is_const(indices->type.shape[q - 1], &depth))
        return refuse(l, x->type.dtype, "%s: the last size of the indices must be constant", op_where(op));
    struct index where = {{NULL}}, at = {{NULL}};
    for (int i = 0; i < q - 1; i++)
        where.at[i] = idx->at[i];
    unsigned mask = 0;
    for (int i = 0; i < x->type.rank; i++) {
        if (i < batch) {
            at.at[i] = idx->at[i];
        } else if (i < batch + depth) {
            where.at[q - 1] = ix(l, dim_const(l->k->dims, i - batch));
            at.at[i] = checked(l, pull(l, indices, &where), type_dim(l, x, i));
            mask |= 1u << i;
        } else {
            at.at[i] = idx->at[q - 1 + i - batch - depth];
        }
    }
    return pull_checked(l, x, &at, mask);
}

/* --- scatter --- */

static enum scalar_op combine_of(const struct op *op, bool *combines) {
    const char *name = op_text(op, "combine");
    enum scalar_op join = SCALAR_add;
    *combines = name && strcmp(name, "none") != 0 && scalar_find(name, &join);
    return join;
}

static void copy_operand(struct lowering *l, const struct op *op, struct index at, int depth) {
    const struct value *x = resolve(l, op->in[0]);
    struct loop loop[GRAPH_MAX_RANK];
    struct expr *subs[GRAPH_MAX_RANK + 2];
    for (int i = 0; i < depth; i++)
        at.at[i] = ix(l, walk_open(l, &loop[i], "c", type_dim(l, x, i)));
    struct expr *e = pull(l, x, &at);
    int n = arg_subs(l, l->fused->out[0], &at, subs);
    stmt_store(l->k, &l->scope->at, arg_of(l, l->fused->out[0]), n, subs, e);
    for (int i = depth - 1; i >= 0; i--)
        walk_close(l, &loop[i]);
}

/* One tile is one place in the slices; it copies its column of the operand and then applies the updates in order. */
static void write_scatter(struct lowering *l, const struct op *op, bool in_place) {
    const struct value *x = resolve(l, op->in[0]), *indices = resolve(l, op->in[1]), *updates = resolve(l, op->in[2]);
    int q = indices->type.rank, depth = x->type.rank - l->rank;
    struct buffer *out = arg_of(l, l->fused->out[0]);
    struct index at = {{NULL}}, where = {{NULL}}, from = {{NULL}};
    for (int i = 0; i < l->rank; i++)
        at.at[depth + i] = from.at[q - 1 + i] = ix(l, l->axis[i] ? l->axis[i] : dim_const(l->k->dims, 0));
    if (!in_place) copy_operand(l, op, at, depth);
    struct loop loop[GRAPH_MAX_RANK];
    struct expr *inside = NULL, *subs[GRAPH_MAX_RANK + 2];
    for (int i = 0; i < q - 1; i++)
        where.at[i] = from.at[i] = ix(l, walk_open(l, &loop[i], "u", type_dim(l, indices, i)));
    for (int i = 0; i < depth; i++) {
        where.at[q - 1] = ix(l, dim_const(l->k->dims, i));
        at.at[i] = checked(l, pull(l, indices, &where), type_dim(l, x, i));
        inside = all_of(l, inside, ix_inside(l, at.at[i], type_dim(l, x, i)));
    }
    struct scope scope;
    if (inside) if_open(l, &scope, inside);
    bool combines;
    enum scalar_op join = combine_of(op, &combines);
    struct expr *e = pull(l, updates, &from);
    int n = arg_subs(l, l->fused->out[0], &at, subs);
    if (combines) e = narrow(l, out->dtype, op2(l, join, widen(l, expr_load(l->k, out, n, subs)), widen(l, e)));
    stmt_store(l->k, &l->scope->at, out, n, subs, e);
    if (inside) l->scope = scope.outer;
    for (int i = q - 2; i >= 0; i--)
        walk_close(l, &loop[i]);
}

/* --- update_slice in place --- */

static void write_update(struct lowering *l, const struct op *op) {
    const struct value *part = resolve(l, op->in[1]), *out = l->fused->out[0];
    int n;
    const dim *start = op_dims(op, "start", &n);
    struct index from = {{NULL}}, at = {{NULL}};
    struct expr *inside = NULL, *subs[GRAPH_MAX_RANK + 2];
    for (int i = 0; i < part->type.rank; i++) {
        from.at[i] = ix(l, l->axis[i] ? l->axis[i] : dim_const(l->k->dims, 0));
        at.at[i] = ix_add(l, from.at[i], ix(l, kdim(l, start[i])));
        inside = all_of(l, inside, ix_inside(l, at.at[i], type_dim(l, out, i)));
    }
    struct scope scope;
    if (inside) if_open(l, &scope, inside);
    n = arg_subs(l, out, &at, subs);
    stmt_store(l->k, &l->scope->at, arg_of(l, out), n, subs, pull(l, part, &from));
    if (inside) l->scope = scope.outer;
}

/* --- pack --- */

static void write_pack(struct lowering *l, const struct op *op) {
    const struct value *x = resolve(l, op->in[0]), *out = l->fused->out[0];
    struct format_info format;
    format_find(out->layout.format, &format);
    int rank = x->type.rank, order[GRAPH_MAX_RANK], g = format.k_group;
    layout_order(&out->layout, rank, order);
    dim columns = dim_const(l->k->dims, format_columns(&format, x->type.dtype));
    struct expr *subs[GRAPH_MAX_RANK + 2];
    for (int i = 0; i < l->rank; i++)
        subs[i] = ix(l, l->axis[i] ? l->axis[i] : dim_const(l->k->dims, 0));
    struct index at = {{NULL}};
    for (int i = 0; i < rank - 2; i++)
        at.at[order[i]] = subs[i];
    struct expr *k = subs[rank - 1], *n = ix_add(l, ix_mul(l, subs[rank - 2], columns), subs[rank]);
    if (g > 1) k = ix_add(l, ix_mul(l, k, dim_const(l->k->dims, g)), subs[rank + 1]);
    at.at[order[rank - 2]] = k;
    at.at[order[rank - 1]] = n;
    struct expr *inside = ix_inside(l, n, type_dim(l, x, order[rank - 1]));
    if (g > 1) inside = all_of(l, ix_inside(l, k, type_dim(l, x, order[rank - 2])), inside);
    struct expr *e = pull_guarded(l, inside, x, &at, zero_of(l, x->type.dtype), false);
    stmt_store(l->k, &l->scope->at, arg_of(l, out), l->rank, subs, e);
}

/* --- which --- */

static const struct op *write_op(struct lowering *l, bool *in_place) {
    const struct value *out = resolve(l, l->body->out[0]);
    if (!out->op || l->body->n_out != 1) return NULL;
    int operand = l->places ? l->places[l->fused->n_in].in_place : -1;
    *in_place = operand >= 0 && operand < l->body->n_in && out->op->n_in > 0 &&
                resolve(l, out->op->in[0]) == l->body->in[operand];
    if (out->op->kind == OP_pack || out->op->kind == OP_scatter) return out->op;
    return out->op->kind == OP_update_slice && *in_place ? out->op : NULL;
}

bool write_domain(struct lowering *l) {
    bool in_place;
    const struct op *op = write_op(l, &in_place);
    if (!op) return false;
    const struct value *x = resolve(l, op->in[0]);
    if (op->kind == OP_pack) {
        struct buffer *b = arg_of(l, l->fused->out[0]);
        if (!l->fused->out[0]->layout.format) return false;
        l->rank = b->rank;
        for (int i = 0; i < b->rank; i++)
            l->shape[i] = b->shape[i];
        return true;
    }
    int64_t depth = 0;
    if (op->kind == OP_scatter) {
        const struct value *indices = resolve(l, op->in[1]);
        if (!dim_is_const(indices->type.shape[indices->type.rank - 1], &depth)) {
            refuse(l, YJ_F32, "%s: the last size of the indices must be constant", op_where(op));
            return false;
        }
    } else {
        x = resolve(l, op->in[1]);
    }
    l->rank = x->type.rank - (int)depth;
    for (int i = 0; i < l->rank; i++)
        l->shape[i] = type_dim(l, x, (int)depth + i);
    return true;
}

void write_body(struct lowering *l) {
    bool in_place;
    const struct op *op = write_op(l, &in_place);
    if (op->kind == OP_scatter)
        write_scatter(l, op, in_place);
    else if (op->kind == OP_pack)
        write_pack(l, op);
    else
        write_update(l, op);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The element of a value as an expression: scopes, hoisting, what is named by a let, and the elementwise ops. Values
 * keep the dtype they have in the graph between ops: f16, bf16 and fp8 are widened for each op and rounded after it, so
 * the bits do not depend on what was fused.
 */
#include "compiler/lowering.h"

#include <stdarg.h>
#include <stdio.h>

/* Trees of more nodes than this get a name, or, where no statement can stand, are computed into a row first. */
#define TREE_LIMIT 48

struct expr *refuse(struct lowering *l, enum yj_dtype dtype, const char *format, ...) {
    if (l->status == YJ_OK) {
        char line[400];
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
        l->status = report(YJ_ERR_UNSUPPORTED, "%s", line);
    }
    return dtype_kind(dtype) == 'f' ? expr_const_f(l->k, dtype, 0) : expr_const_i(l->k, dtype, 0);
}

const struct value *resolve(struct lowering *l, const struct value *v) {
    for (const struct value *next; (next = map_get(&l->same, v)); v = next)
        continue;
    return v;
}

/* --- scopes --- */

struct scope *scope_open(struct lowering *l, struct scope *s, int kind, int level) {
    *s = (struct scope){.outer = l->scope, .kind = kind, .level = level};
    s->at = kernel_at(&s->list);
    return l->scope = s;
}

void scope_close(struct lowering *l, struct cursor *to) {
    struct scope *s = l->scope;
    l->scope = s->outer;
    if (!to) to = &s->outer->at;
    *to->end = s->list;
    if (s->list) *to = kernel_at(to->end);
}

dim walk_open(struct lowering *l, struct loop *loop, const char *hint, dim extent) {
    *loop = (struct loop){.extent = extent, .none = dim_is(extent, 1)};
    if (loop->none) return loop->axis = dim_const(l->k->dims, 0);
    loop->axis = kernel_axis(l->k, hint, dim_const(l->k->dims, 0), extent);
    scope_open(l, &loop->scope, SCOPE_LOOP, l->scope ? l->scope->level + 1 : 0);
    level_set(l, loop->axis, loop->scope.level);
    return loop->axis;
}

struct stmt *walk_close(struct lowering *l, struct loop *loop) {
    if (loop->none) return NULL;
    struct scope *outer = loop->scope.outer;
    l->scope = outer;
    struct stmt *s = stmt_loop(l->k, &outer->at, AXIS_SERIAL, loop->axis, dim_const(l->k->dims, 0), loop->extent, 1);
    s->body = loop->scope.list;
    return s;
}

struct stmt *if_open(struct lowering *l, struct scope *s, struct expr *condition) {
    struct stmt *branch = stmt_if(l->k, &l->scope->at, condition);
    scope_open(l, s, SCOPE_IF, l->scope->level);
    s->at = kernel_at(&branch->body);
    return branch;
}

bool can_state(struct lowering *l) {
    if (l->scope->kind != SCOPE_TREE) return true;
    l->scope->wanted = true;
    return false;
}

void level_set(struct lowering *l, const void *key, int level) {
    map_set(&l->level, key, (void *)(intptr_t)(level + 1));
}

static int level_get(struct lowering *l, const void *key) {
    intptr_t level = (intptr_t)map_get(&l->level, key);
    return level ? (int)level - 1 : 0;
}

struct level_of {
    struct lowering *l;
    int level;
};

static void symbol_level(void *user, dim symbol) {
    struct level_of *of = user;
    int level = level_get(of->l, symbol);
    if (level > of->level) of->level = level;
}

int expr_level(struct lowering *l, const struct expr *e) {
    struct level_of of = {l, 0};
    if (e->dim) dim_symbols(e->dim, symbol_level, &of);
    if (e->let) symbol_level(&of, (dim)e->let);
    if (e->buffer) symbol_level(&of, (dim)e->buffer);
    for (int i = 0; i < e->n; i++) {
        int level = expr_level(l, e->arg[i]);
        if (level > of.level) of.level = level;
    }
    return of.level;
}

int expr_size(struct lowering *l, const struct expr *e) {
    if (e->n == 0 || e->kind == EXPR_LOAD) return 1;
    intptr_t known = (intptr_t)map_get(&l->size, e);
    if (known) return (int)known;
    int size = 1;
    for (int i = 0; i < e->n; i++)
        size += expr_size(l, e->arg[i]);
    if (size > 1000000) size = 1000000;
    map_set(&l->size, e, (void *)(intptr_t)size);
    return size;
}

struct expr *let(struct lowering *l, const char *hint, struct expr *e) {
    if (e->kind == EXPR_CONST || e->kind == EXPR_DIM || e->kind == EXPR_LET || !can_state(l)) return e;
    struct expr *named = stmt_let(l->k, &l->scope->at, hint, e);
    level_set(l, named->let, l->scope->level);
    return named;
}

/* The innermost scope that need not be left to compute something of LEVEL. Nothing leaves an if: its condition may be
 * what makes an index legal. */
static struct scope *scope_at(struct lowering *l, int level) {
    struct scope *s = l->scope;
    while (s->level > level && s->kind != SCOPE_IF)
        s = s->outer;
    return s;
}

/* --- memo --- */

static bool same_at(const struct expr *a, const struct expr *b) {
    return a == b || (a && b && a->kind == EXPR_DIM && b->kind == EXPR_DIM && a->dim == b->dim) ||
           (a && b && a->kind == EXPR_LET && b->kind == EXPR_LET && a->let == b->let);
}

struct memo *memo_find(struct lowering *l, const struct value *v, unsigned mask, const struct index *idx) {
    for (struct scope *s = l->scope; s; s = s->outer)
        for (struct memo *m = s->memos; m; m = m->next) {
            if (m->v != v || m->mask != mask) continue;
            bool same = true;
            for (int i = 0; i < v->type.rank && same; i++)
                same = (mask >> i & 1) || same_at(m->idx.at[i], idx->at[i]);
            if (same) return m;
        }
    return NULL;
}

struct memo *memo_add(struct lowering *l, const struct value *v, unsigned mask, const struct index *idx) {
    struct memo *m = NEW(l->arena, struct memo);
    *m = (struct memo){.v = v, .mask = mask, .idx = *idx, .next = l->scope->memos};
    return l->scope->memos = m;
}

/* --- elementwise --- */

enum yj_dtype wide(enum yj_dtype dtype) {
    return dtype == YJ_F16 || dtype == YJ_BF16 || dtype == YJ_E4M3 || dtype == YJ_E5M2 ? YJ_F32 : dtype;
}

struct expr *widen(struct lowering *l, struct expr *e) {
    enum yj_dtype to = wide(e->dtype);
    if (to == e->dtype) return e;
    return e->kind == EXPR_CONST ? expr_const_f(l->k, to, e->constant.f) : expr_cast(l->k, to, e);
}

struct expr *narrow(struct lowering *l, enum yj_dtype to, struct expr *e) {
    return e->dtype == to ? e : expr_cast(l->k, to, e);
}

struct expr *op2(struct lowering *l, enum scalar_op op, struct expr *a, struct expr *b) {
    return expr_op(l->k, op, a, b, NULL);
}

static bool is_zero_free(const struct expr *e) {
    return (e->kind == EXPR_CONST && e->constant.i != 0) ||
           (e->kind == EXPR_DIM && (e->dim->low > 0 || e->dim->high < 0));
}

/* The number of the element is what a fault about it says. */
static struct expr *element_number(struct lowering *l, const struct value *v, const struct index *idx) {
    dim shape[GRAPH_MAX_RANK];
    int axes[GRAPH_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++) {
        shape[i] = type_dim(l, v, i);
        axes[i] = i;
    }
    return flatten(l, idx, shape, axes, v->type.rank);
}

static struct expr *pull_elementwise(struct lowering *l, const struct op *op, const struct index *idx) {
    const struct value *v = op->out[0];
    enum scalar_op kind = (enum scalar_op)op->kind;
    struct expr *arg[3] = {NULL, NULL, NULL};
    for (int i = 0; i < op->n_in && i < 3; i++) {
        arg[i] = pull(l, op->in[i], idx);
        if (kind != SCALAR_select) arg[i] = widen(l, arg[i]);
    }
    if (l->status != YJ_OK) return refuse(l, v->type.dtype, "failed before");
    bool divides = kind == SCALAR_div || kind == SCALAR_rem;
    if (divides && dtype_kind(v->type.dtype) != 'f' && !is_zero_free(arg[1]) && can_state(l)) {
        arg[1] = let(l, "divisor", arg[1]);
        struct expr *zero = expr_const_i(l->k, arg[1]->dtype, 0);
        stmt_check(l->k, &l->scope->at, op2(l, SCALAR_ne, arg[1], zero), YJ_FAULT_DIVIDE, element_number(l, v, idx));
    }
    return narrow(l, v->type.dtype, expr_op(l->k, kind, arg[0], arg[1], arg[2]));
}

/* --- values without operands --- */

static struct expr *constant_element(struct lowering *l, enum yj_dtype dtype, const void *bytes) {
    uint64_t raw = 0;
    size_t n = yj_dtype_bytes(dtype);
    memcpy(&raw, bytes, n);
    if (dtype_kind(dtype) == 'f') {
        uint64_t as_double = scalar_cast(YJ_F64, dtype, raw);
        double value;
        memcpy(&value, &as_double, sizeof value);
        return expr_const_f(l->k, dtype, value);
    }
    int64_t i = (int64_t)raw;
    if (dtype_kind(dtype) == 'i' && n < 8) i = (int64_t)(raw << (64 - 8 * n)) >> (64 - 8 * n);
    return expr_const_i(l->k, dtype, i);
}

static struct expr *pull_constant(struct lowering *l, const struct op *op) {
    const struct value *v = op->out[0];
    size_t n = yj_dtype_bytes(v->type.dtype);
    if (op->data.n_bytes < n) return refuse(l, v->type.dtype, "%s: constant without data", op_where(op));
    return constant_element(l, v->type.dtype, op->data.bytes);
}

static struct expr *pull_dims(struct lowering *l, const struct op *op, const struct index *idx) {
    int n;
    const dim *values = op_dims(op, "values", &n);
    struct expr *e = expr_dim(l->k, n ? kdim(l, values[n - 1]) : dim_const(l->k->dims, 0));
    int64_t at;
    if (idx->at[0]->kind == EXPR_DIM && dim_is_const(idx->at[0]->dim, &at))
        return expr_dim(l->k, at >= 0 && at < n ? kdim(l, values[at]) : dim_const(l->k->dims, 0));
    for (int i = n - 2; i >= 0; i--) {
        struct expr *here = op2(l, SCALAR_eq, idx->at[0], expr_const_i(l->k, YJ_I64, i));
        e = expr_op(l->k, SCALAR_select, here, expr_dim(l->k, kdim(l, values[i])), e);
    }
    return e;
}

struct expr *compute(struct lowering *l, const struct value *v, const struct index *idx) {
    const struct op *op = v->op;
    if (!op) return load_arg(l, v, idx);
    if (op_is(op->kind, 'E')) return pull_elementwise(l, op, idx);
    switch (op->kind) {
    case OP_constant:
        return pull_constant(l, op);
    case OP_iota:
        return narrow(l, v->type.dtype, idx->at[op_int(op, "axis", 0)]);
    case OP_dims:
        return pull_dims(l, op, idx);
    case OP_cast:
        return narrow(l, v->type.dtype, pull(l, op->in[0], idx));
    case OP_bitcast: {
        struct expr *e = pull(l, op->in[0], idx);
        return e->dtype == v->type.dtype ? e : expr_bitcast(l->k, v->type.dtype, e);
    }
    case OP_reshape:
    case OP_transpose:
    case OP_broadcast:
    case OP_slice:
    case OP_reverse:
    case OP_concat:
    case OP_pad:
    case OP_update_slice:
        return pull_view(l, op, idx);
    case OP_pack:
        return pull(l, op->in[0], idx);
    case OP_gather:
        return pull_gather(l, op, idx);
    case OP_gather_nd:
        return pull_gather_nd(l, op, idx);
    case OP_reduce:
        return pull_reduce(l, op, idx);
    case OP_arg_reduce:
        return pull_arg_reduce(l, op, idx);
    case OP_cumulative:
        return pull_cumulative(l, op, idx);
    case OP_sort:
        return pull_sort(l, v, idx);
    case OP_dot:
        return pull_dot(l, op, idx);
    case OP_convolution:
        return pull_convolution(l, op, idx);
    case OP_reduce_window:
        return pull_reduce_window(l, op, idx);
    default:
        return refuse(l, v->type.dtype, "%s: %s cannot stand inside a kernel", op_where(op), op_info[op->kind].name);
    }
}

/* --- which axes a value really varies along: the others do not keep it inside their loops --- */

static unsigned all_axes(const struct value *v) {
    return (1u << v->type.rank) - 1;
}

static unsigned axes_of(struct lowering *l, const struct value *v);

static unsigned axes_through(struct lowering *l, const struct op *op, const struct value *v) {
    const struct value *x = op->n_in ? resolve(l, op->in[0]) : NULL;
    unsigned mask = 0, from = x ? axes_of(l, x) : 0;
    int n;
    if (op_is(op->kind, 'E')) {
        for (int i = 0; i < op->n_in; i++)
            mask |= axes_of(l, resolve(l, op->in[i]));
        return mask;
    }
    switch (op->kind) {
    case OP_constant:
        return 0;
    case OP_iota:
        return 1u << op_int(op, "axis", 0);
    case OP_cast:
    case OP_bitcast:
    case OP_reverse:
    case OP_slice:
        return from;
    case OP_reshape:
        return from ? all_axes(v) : 0;
    case OP_broadcast: {
        const int64_t *axes = op_ints(op, "axes", &n);
        for (int i = 0; i < n; i++)
            if (from >> i & 1) mask |= 1u << axes[i];
        return mask;
    }
    case OP_transpose: {
        const int64_t *permutation = op_ints(op, "permutation", &n);
        for (int i = 0; i < n; i++)
            if (from >> permutation[i] & 1) mask |= 1u << i;
        return mask;
    }
    default:
        return all_axes(v);
    }
}

static unsigned axes_of(struct lowering *l, const struct value *v) {
    intptr_t known = (intptr_t)map_get(&l->axes, v);
    if (known) return (unsigned)known - 1;
    unsigned mask = v->op ? axes_through(l, v->op, v) : all_axes(v);
    for (int i = 0; i < v->type.rank; i++)
        if (dim_is(v->type.shape[i], 1)) mask &= ~(1u << i);
    map_set(&l->axes, v, (void *)(intptr_t)(mask + 1));
    return mask;
}

unsigned value_axes(struct lowering *l, const struct value *v) {
    return axes_of(l, resolve(l, v));
}

static bool is_long(struct lowering *l, const struct value *v, const struct expr *e, bool hoisted) {
    if (hoisted) return true;
    if (e->kind == EXPR_LOAD) return false;
    return (intptr_t)map_get(&l->uses, v) > 1 || expr_size(l, e) > TREE_LIMIT;
}

/* Which domain axes an anchor's element depends on: for the probe that finds the axes to be walked inside a tile. */
static void probe_anchor(struct lowering *l, const struct value *v, const struct index *idx) {
    unsigned without = 0;
    if (v->op->kind == OP_sort || v->op->kind == OP_cumulative) without = 1u << op_int(v->op, "axis", 0);
    for (int d = 0; d < l->rank; d++) {
        bool found = l->axis[d] == NULL;
        for (int i = 0; i < v->type.rank && !found; i++)
            if (!(without >> i & 1) && idx->at[i]->kind == EXPR_DIM) found = dim_contains(idx->at[i]->dim, l->axis[d]);
        if (!found) l->inner |= 1u << d;
    }
}

struct expr *pull(struct lowering *l, const struct value *v, const struct index *idx) {
    v = resolve(l, v);
    if (l->status != YJ_OK) return refuse(l, v->type.dtype, "failed before");
    struct index own = *idx;
    unsigned axes = axes_of(l, v);
    for (int i = 0; i < v->type.rank; i++)
        if (!(axes >> i & 1)) own.at[i] = ix(l, dim_const(l->k->dims, 0));
    idx = &own;
    struct memo *known = memo_find(l, v, 0, idx);
    if (known) return known->e;
    int level = 0;
    for (int i = 0; i < v->type.rank; i++) {
        int n = expr_level(l, idx->at[i]);
        if (n > level) level = n;
    }
    struct scope *from = l->scope;
    l->scope = scope_at(l, level);
    if (l->probe && v->op && op_is(v->op->kind, 'A')) probe_anchor(l, v, idx);
    bool row = !l->probe && map_get(&l->rows, v);
    struct expr *e = row ? pull_row(l, v, idx) : compute(l, v, idx);
    if (l->scope->kind != SCOPE_TREE && is_long(l, v, e, l->scope != from)) e = let(l, v->name ? v->name : "t", e);
    if (v->op) memo_add(l, v, 0, idx)->e = e;
    l->scope = from;
    return e;
}

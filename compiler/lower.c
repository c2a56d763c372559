/* SPDX-License-Identifier: Apache-2.0
 *
 * One group of ops to one plain kernel. The domain (the outputs' shape) becomes loops: tile loops for what is
 * independent, serial ones inside for the axes that some anchor does not depend on (a row). Which those are is found by
 * lowering once on a kernel that is thrown away and looking at what each anchor's index names. Then each output is
 * pulled and stored.
 */
#include "compiler/lowering.h"

#include <stdio.h>

/* --- arguments --- */

void layout_order(const struct layout *layout, int rank, int *order) {
    bool plain = true;
    for (int i = 0; i < rank; i++)
        plain &= layout->order[i] == 0;
    for (int i = 0; i < rank; i++)
        order[i] = plain ? i : layout->order[i];
}

/* The number of an argument, in the order of the kernel's list: operands, then results. -1: not an argument. */
static int arg_number(const struct lowering *l, const struct value *v) {
    for (int i = 0; i < l->body->n_in; i++)
        if (l->body->in[i] == v) return i;
    for (int i = 0; i < l->fused->n_out; i++)
        if (l->fused->out[i] == v) return l->fused->n_in + i;
    return -1;
}

static const struct value *outer_value(const struct lowering *l, int number) {
    return number < l->fused->n_in ? l->fused->in[number] : l->fused->out[number - l->fused->n_in];
}

struct buffer *arg_of(struct lowering *l, const struct value *v) {
    return map_get(&l->args, v);
}

static enum yj_status arg_make(struct lowering *l, int number) {
    const struct value *v = outer_value(l, number), *key = number < l->fused->n_in ? l->body->in[number] : v;
    const struct lower_place *place = l->places ? &l->places[number] : NULL;
    bool out = number >= l->fused->n_in, in_place = out && place && place->in_place >= 0;
    int rank = v->type.rank, order[GRAPH_MAX_RANK];
    dim shape[GRAPH_MAX_RANK + 2];
    layout_order(&v->layout, rank, order);
    for (int i = 0; i < rank; i++)
        shape[i] = kdim(l, place && place->storage ? place->storage[order[i]] : v->type.shape[order[i]]);
    if (v->layout.format) {
        struct format_info format;
        if (!format_find(v->layout.format, &format) || rank < 2)
            return report(YJ_ERR_UNSUPPORTED, "%s: value '%s' of rank %d cannot have the format '%s'",
                          op_where(l->fused), v->name, rank, v->layout.format);
        struct dim_table *t = l->k->dims;
        dim k = shape[rank - 2], n = shape[rank - 1], columns = dim_const(t, format_columns(&format, v->type.dtype));
        shape[rank - 2] = dim_ceil_div(t, n, columns);
        shape[rank - 1] = dim_ceil_div(t, k, dim_const(t, format.k_group));
        shape[rank++] = columns;
        if (format.k_group > 1) shape[rank++] = dim_const(t, format.k_group);
    }
    enum role role = !out ? ROLE_IN : in_place ? ROLE_INOUT : ROLE_OUT;
    map_set(&l->args, key, kernel_arg(l->k, role, v->name ? v->name : "a", v->type.dtype, rank, shape));
    return YJ_OK;
}

/* The subscripts of an argument for an element of its value. */
int arg_subs(struct lowering *l, const struct value *v, const struct index *idx, struct expr **subs) {
    const struct value *outer = outer_value(l, arg_number(l, v));
    int rank = outer->type.rank, order[GRAPH_MAX_RANK];
    layout_order(&outer->layout, rank, order);
    for (int i = 0; i < rank; i++)
        subs[i] = idx->at[order[i]];
    if (!outer->layout.format) return rank;
    struct format_info format;
    format_find(outer->layout.format, &format);
    dim columns = dim_const(l->k->dims, format_columns(&format, outer->type.dtype)),
        group = dim_const(l->k->dims, format.k_group);
    struct expr *k = subs[rank - 2], *n = subs[rank - 1];
    subs[rank - 2] = ix_div(l, n, columns);
    subs[rank - 1] = ix_div(l, k, group);
    subs[rank++] = ix_mod(l, n, columns);
    if (format.k_group > 1) subs[rank++] = ix_mod(l, k, group);
    return rank;
}

struct expr *load_arg(struct lowering *l, const struct value *v, const struct index *idx) {
    struct buffer *b = arg_of(l, v);
    if (!b)
        return refuse(l, v->type.dtype, "%s: value '%s' comes from outside the region", op_where(l->fused),
                      v->name ? v->name : "?");
    struct expr *subs[GRAPH_MAX_RANK + 2];
    int n = arg_subs(l, v, idx, subs);
    return expr_load(l->k, b, n, subs);
}

/* --- the group --- */

static void count_use(struct lowering *l, const struct value *v) {
    v = resolve(l, v);
    map_set(&l->uses, v, (void *)((intptr_t)map_get(&l->uses, v) + 1));
}

static void enter_composites(struct lowering *l, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        if (op->kind != OP_composite || op->n_regions < 1) continue;
        const struct graph *body = op->regions[0];
        for (int i = 0; i < body->n_in && i < op->n_in; i++)
            map_set(&l->same, body->in[i], op->in[i]);
        for (int i = 0; i < body->n_out && i < op->n_out; i++)
            map_set(&l->same, op->out[i], body->out[i]);
        enter_composites(l, body);
    }
}

/* Dims first, so that they keep their names. */
static void enter_dims(struct lowering *l, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++)
            for (int j = 0; j < op->out[i]->type.rank; j++)
                type_dim(l, op->out[i], j);
        for (const struct attr *a = op->attrs; a; a = a->next)
            for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++)
                kdim(l, a->dims[i]);
        if (op->kind == OP_composite && op->n_regions) enter_dims(l, op->regions[0]);
    }
}

static void enter_uses(struct lowering *l, const struct graph *g) {
    for (const struct op *op = g->first; op; op = op->next) {
        if (op->kind == OP_composite)
            enter_uses(l, op->regions[0]);
        else
            for (int i = 0; i < op->n_in; i++)
                count_use(l, op->in[i]);
    }
    for (int i = 0; i < g->n_out && g == l->body; i++)
        count_use(l, g->out[i]);
}

static enum yj_status lowering_open(struct lowering *l, struct arena *arena, const struct op *fused, const char *name,
                                    const struct lower_place *places) {
    *l = (struct lowering){
        .arena = arena, .k = kernel_new(arena, name), .fused = fused, .body = fused->regions[0], .places = places};
    struct map *maps[] = {&l->same, &l->args, &l->uses,  &l->symbols, &l->level,
                          &l->axes, &l->size, &l->flats, &l->rows};
    for (size_t i = 0; i < COUNT(maps); i++)
        maps[i]->arena = arena;
    for (int i = 0; i < fused->n_in; i++)
        for (int j = 0; j < fused->in[i]->type.rank; j++)
            type_dim(l, fused->in[i], j);
    enter_composites(l, l->body);
    enter_dims(l, l->body);
    enter_uses(l, l->body);
    for (int i = 0; i < fused->n_in + fused->n_out; i++)
        TRY(arg_make(l, i));
    return YJ_OK;
}

/* --- the domain --- */

static int walked_axes(const struct value *v) {
    int n = 0;
    for (int i = 0; i < v->type.rank; i++)
        n += !dim_is(v->type.shape[i], 1);
    return n;
}

static const struct value *domain_value(const struct lowering *l) {
    const struct value *best = l->fused->out[0];
    for (int i = 1; i < l->fused->n_out; i++)
        if (walked_axes(l->fused->out[i]) > walked_axes(best)) best = l->fused->out[i];
    return best;
}

static const char *const axis_names[GRAPH_MAX_RANK + 2] = {"i", "j", "m", "n", "p", "q", "u", "v", "y", "z"};

static void make_axes(struct lowering *l) {
    for (int i = 0; i < l->rank; i++) {
        bool one = dim_is(l->shape[i], 1);
        l->axis[i] = one ? NULL : kernel_axis(l->k, axis_names[i], dim_const(l->k->dims, 0), l->shape[i]);
    }
}

static struct expr *domain_at(struct lowering *l, int axis) {
    return ix(l, l->axis[axis] ? l->axis[axis] : dim_const(l->k->dims, 0));
}

/* The index of an output at the current point of the domain; MISSING gets the domain axes that the output does not
 * have. */
static bool output_index(struct lowering *l, const struct value *out, struct index *idx, unsigned *missing) {
    int rank = out->type.rank, i = 0;
    dim shape[GRAPH_MAX_RANK], zero = dim_const(l->k->dims, 0), all = dim_const(l->k->dims, 1), own = all;
    struct index here = {{NULL}};
    *missing = 0;
    for (int d = 0; d < l->rank; d++) {
        here.at[d] = domain_at(l, d);
        all = dim_mul(l->k->dims, all, l->shape[d]);
    }
    for (int j = 0; j < rank; j++)
        own = dim_mul(l->k->dims, own, shape[j] = type_dim(l, out, j));
    if (own == all) {
        *idx = reshape_between(l, &here, l->shape, l->rank, shape, rank);
        return true;
    }
    for (int d = 0; d < l->rank; d++) {
        if (i < rank && shape[i] == l->shape[d]) {
            idx->at[i++] = here.at[d];
        } else {
            if (i < rank && dim_is(shape[i], 1)) idx->at[i++] = ix(l, zero);
            if (l->axis[d]) *missing |= 1u << d;
        }
    }
    return i == rank;
}

static void store_output(struct lowering *l, int number) {
    const struct value *out = l->fused->out[number];
    struct index idx = {{NULL}};
    unsigned missing;
    if (!output_index(l, out, &idx, &missing) || (missing & ~l->inner && !l->probe)) {
        refuse(l, out->type.dtype, "%s: result '%s' has neither the shape of the others nor one value a row",
               op_where(l->fused), out->name);
        return;
    }
    int level = 0;
    for (int i = 0; i < out->type.rank; i++)
        level = (int)max64(level, expr_level(l, idx.at[i]));
    struct scope *from = l->scope;
    while (l->scope->level > level)
        l->scope = l->scope->outer;
    struct expr *e = pull(l, l->body->out[number], &idx), *subs[GRAPH_MAX_RANK + 2];
    int n = arg_subs(l, out, &idx, subs);
    stmt_store(l->k, &l->scope->at, arg_of(l, out), n, subs, e);
    l->scope = from;
}

/* Domain axes in the order of the first result's memory: the last is the one to walk along. */
static void domain_order(struct lowering *l, bool written, int *order) {
    const struct value *v = domain_value(l);
    for (int i = 0; i < l->rank; i++)
        order[i] = i;
    if (!written) layout_order(&v->layout, l->rank, order);
}

static void make_body(struct lowering *l, bool written) {
    struct scope top, inner[GRAPH_MAX_RANK + 2];
    int order[GRAPH_MAX_RANK + 2], level = 0;
    unsigned walked = l->inner; /* a probe adds to it while it goes */
    domain_order(l, written, order);
    scope_open(l, &top, SCOPE_LOOP, 0);
    for (int i = 0; i < l->rank; i++) {
        int d = order[i];
        if (!l->axis[d] || !(walked >> d & 1)) continue;
        scope_open(l, &inner[d], SCOPE_LOOP, ++level);
        level_set(l, l->axis[d], level);
    }
    if (written)
        write_body(l);
    else
        for (int i = 0; i < l->fused->n_out && l->status == YJ_OK; i++)
            store_output(l, i);
    dim zero = dim_const(l->k->dims, 0);
    for (int i = l->rank - 1; i >= 0; i--) {
        int d = order[i];
        if (!l->axis[d] || !(walked >> d & 1)) continue;
        l->scope = inner[d].outer;
        if (inner[d].list)
            stmt_loop(l->k, &l->scope->at, AXIS_SERIAL, l->axis[d], zero, l->shape[d], 1)->body = inner[d].list;
    }
    struct stmt *body = top.list;
    for (int i = l->rank - 1; i >= 0; i--) {
        int d = order[i];
        if (!l->axis[d] || walked >> d & 1) continue;
        struct stmt *loop = NULL;
        struct cursor at = kernel_at(&loop);
        stmt_loop(l->k, &at, AXIS_TILE, l->axis[d], zero, l->shape[d], 1)->body = body;
        body = loop;
    }
    l->k->body = body;
    l->scope = NULL;
}

/* --- tidying: adjacent axes of an argument that are always subscripted x / W, x % W become one --- */

struct pair_use {
    const struct buffer *b;
    int axis;
    bool split, other;
};

static bool is_pair(const struct expr *q, const struct expr *r, dim size) {
    if (q->kind != EXPR_DIM || r->kind != EXPR_DIM) return false;
    return q->dim->op == DIM_DIV && r->dim->op == DIM_MOD && q->dim->a == r->dim->a && q->dim->b == r->dim->b &&
           q->dim->b == size;
}

static void see_subs(struct pair_use *u, struct expr *const *subs) {
    const struct expr *q = subs[u->axis], *r = subs[u->axis + 1];
    if (q->kind != EXPR_DIM || r->kind != EXPR_DIM)
        u->other = true;
    else
        u->split |= is_pair(q, r, u->b->shape[u->axis + 1]);
}

static void see_expr(void *user, struct expr *e) {
    struct pair_use *u = user;
    if (e->kind == EXPR_LOAD && e->buffer == u->b) see_subs(u, e->arg);
}

static void see_stmt(void *user, struct stmt *s) {
    struct pair_use *u = user;
    if (s->kind == STMT_STORE && s->buffer == u->b) see_subs(u, s->subs);
    stmt_exprs(s, see_expr, u);
}

struct joiner {
    struct kernel *k;
    const struct buffer *b;
    int axis;
    dim size;
    struct map done;
};

static struct expr *join_pair(struct joiner *j, struct expr *q, struct expr *r) {
    if (is_pair(q, r, j->size)) return expr_dim(j->k, q->dim->a);
    return expr_dim(j->k, dim_add(j->k->dims, dim_mul(j->k->dims, q->dim, j->size), r->dim));
}

static void join_subs(struct joiner *j, struct expr **subs, int n) {
    subs[j->axis] = join_pair(j, subs[j->axis], subs[j->axis + 1]);
    for (int i = j->axis + 1; i + 1 < n; i++)
        subs[i] = subs[i + 1];
}

static void join_expr(void *user, struct expr *e) {
    struct joiner *j = user;
    if (e->kind != EXPR_LOAD || e->buffer != j->b || map_get(&j->done, e)) return;
    join_subs(j, e->arg, e->n--);
    map_set(&j->done, e, e);
}

static void join_stmt(void *user, struct stmt *s) {
    struct joiner *j = user;
    if (s->kind == STMT_STORE && s->buffer == j->b) join_subs(j, s->subs, s->n_subs--);
    stmt_exprs(s, join_expr, j);
}

/* The kernel is still ours alone, so its trees are changed in place. */
static void tidy(struct lowering *l) {
    struct kernel *k = l->k;
    for (struct buffer *b = k->args; b; b = b->next)
        for (int axis = b->rank - 2; axis >= 0; axis--) {
            struct pair_use u = {.b = b, .axis = axis};
            kernel_walk(k->body, see_stmt, &u);
            if (!u.split || u.other) continue;
            struct joiner j = {k, b, axis, b->shape[axis + 1], {.arena = l->arena}};
            kernel_walk(k->body, join_stmt, &j);
            b->shape[axis] = dim_mul(k->dims, b->shape[axis], b->shape[axis + 1]);
            for (int i = axis + 1; i + 1 < b->rank; i++)
                b->shape[i] = b->shape[i + 1];
            b->rank--;
        }
}

/* --- the whole --- */

static enum yj_status lower_once(struct lowering *l, unsigned inner, bool probe) {
    bool written = write_domain(l);
    if (!written) {
        const struct value *v = domain_value(l);
        l->rank = v->type.rank;
        for (int i = 0; i < l->rank; i++)
            l->shape[i] = type_dim(l, v, i);
    }
    l->inner = inner;
    l->probe = probe;
    make_axes(l);
    if (!probe && !written) rows_plan(l);
    if (probe && written) return l->status;
    if (l->status == YJ_OK) make_body(l, written);
    return l->status;
}

static const char *origin_text(struct arena *arena, const struct op *op) {
    struct text t = {0};
    for (int i = 0; i < op->n_origin; i++)
        text_add(&t, "%s%d", i ? "," : "@", op->origin[i]);
    const char *text = op->n_origin && !t.failed ? arena_text(arena, "%s", t.data) : NULL;
    text_free(&t);
    return text;
}

enum yj_status lower_op(struct arena *arena, const struct op *fused, const char *name, const struct lower_place *places,
                        struct kernel **k) {
    if (fused->n_regions != 1 || fused->n_out < 1)
        return report(YJ_ERR_INTERNAL, "%s: not a fused op", op_where(fused));
    const char *why = NULL;
    if (!lower_form(fused->regions[0], &why)) return report(YJ_ERR_UNSUPPORTED, "%s: %s", op_where(fused), why);
    struct lowering probe, l;
    TRY(lowering_open(&probe, arena, fused, name, places));
    TRY(lower_once(&probe, 0, true));
    TRY(lowering_open(&l, arena, fused, name, places));
    TRY(lower_once(&l, probe.inner, false));
    tidy(&l);
    l.k->origin = origin_text(arena, fused);
    TRY(kernel_verify(l.k));
    *k = l.k;
    return YJ_OK;
}

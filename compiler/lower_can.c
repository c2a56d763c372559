/* SPDX-License-Identifier: Apache-2.0
 *
 * Which groups one kernel holds: the rules of lower.h, asked by fuse before it joins two groups. FORM is what lowering
 * cannot do at all; the rest is what it could do and should not, because work would be repeated or run on one core.
 */
#include "compiler/lowering.h"

/* Facts about the values of a group, op by op in list order. */
struct fact {
    bool anchored; /* depends on an anchor (gathers aside) */
    bool reduced;  /* depends on a reduce */
    bool joined;   /* passed through a concat */
    bool costly;   /* its element costs more than a few flops */
    bool gathered;
};

struct group {
    const struct graph *body;
    struct map fact; /* value -> struct fact */
    struct map same;
    struct arena *arena;
    const struct op *anchor; /* the one that is not reduce, gather, gather_nd */
    const struct op *reduce; /* the first */
    const char *why;
};

static bool no(struct group *g, const char *why) {
    if (!g->why) g->why = why;
    return false;
}

static const struct value *same_value(const struct group *g, const struct value *v) {
    for (const struct value *next; (next = map_get(&g->same, v)); v = next)
        continue;
    return v;
}

static struct fact *fact_of(struct group *g, const struct value *v) {
    v = same_value(g, v);
    struct fact *f = map_get(&g->fact, v);
    if (!f) map_set(&g->fact, v, f = NEW(g->arena, struct fact));
    return f;
}

/* --- form --- */

static bool is_uniform(const struct op *op) {
    size_t n = yj_dtype_bytes(op->out[0]->type.dtype);
    const char *bytes = op->data.bytes;
    if (!n || op->data.n_bytes < n) return false;
    for (size_t i = n; i + n <= op->data.n_bytes; i += n)
        if (memcmp(bytes, bytes + i, n) != 0) return false;
    return true;
}

static const char *form_of_op(const struct op *op) {
    if (op_is(op->kind, 'C') || op->kind == OP_wait) return "a collective is not part of a kernel";
    switch (op->kind) {
    case OP_if:
    case OP_loop:
        return "control flow is not part of a kernel";
    case OP_bind:
        return "bind is a step of the plan";
    case OP_fused:
        return "a fused op cannot stand in a fused op";
    case OP_constant:
        return is_uniform(op) ? NULL : "a constant of several values must be an operand of the group";
    case OP_convolution:
        return op->in[0]->type.rank < 3 ? "a convolution needs at least one spatial axis" : NULL;
    default:
        return NULL;
    }
}

static bool form_of(const struct graph *g, const char **why) {
    for (const struct op *op = g->first; op; op = op->next) {
        const char *reason = form_of_op(op);
        if (!reason && op->kind == OP_composite && (op->n_regions != 1 || !form_of(op->regions[0], &reason)) && !reason)
            reason = "a composite without a body";
        if (!reason && (op->kind == OP_pack || op->kind == OP_scatter)) {
            bool alone = g->n_out == 1 && g->out[0] == op->out[0];
            if (op->kind == OP_pack) alone &= g->first == op && g->last == op;
            if (!alone)
                reason = op->kind == OP_pack ? "pack stands alone"
                                             : "a scatter's result must be the only output of its group";
        }
        if (reason) {
            *why = reason;
            return false;
        }
    }
    return true;
}

bool lower_form(const struct graph *body, const char **why) {
    if (body->n_out < 1) {
        *why = "a group without a result";
        return false;
    }
    return form_of(body, why);
}

/* --- cost --- */

static bool is_costly(const struct op *op) {
    return op_is(op->kind, 'E') && (strchr(scalar_info[op->kind].types, 'm') || op->kind == OP_div ||
                                    op->kind == OP_sqrt || op->kind == OP_rem);
}

static bool is_main_anchor(const struct op *op) {
    switch (op->kind) {
    case OP_dot:
    case OP_convolution:
    case OP_reduce_window:
    case OP_scatter:
    case OP_update_slice:
    case OP_sort:
    case OP_cumulative:
    case OP_arg_reduce:
    case OP_pack:
        return true;
    default:
        return false;
    }
}

static bool same_rows(struct group *g, const struct op *a, const struct op *b) {
    int na, nb;
    const int64_t *axes_a = op_ints(a, "axes", &na), *axes_b = op_ints(b, "axes", &nb);
    const struct type *ta = &same_value(g, a->in[0])->type, *tb = &same_value(g, b->in[0])->type;
    if (na != nb || ta->rank != tb->rank || memcmp(axes_a, axes_b, (size_t)na * sizeof *axes_a) != 0) return false;
    for (int i = 0; i < ta->rank; i++)
        if (ta->shape[i] != tb->shape[i]) return false;
    return true;
}

static bool see_anchor(struct group *g, const struct op *op, const struct fact *in) {
    if (op->kind == OP_reduce) {
        if (g->anchor) return no(g, "a reduce beside another anchor");
        if (g->reduce && !same_rows(g, g->reduce, op)) return no(g, "reductions over different axes");
        g->reduce = op;
        return true;
    }
    if (!is_main_anchor(op)) return true;
    if (g->anchor) return no(g, "two anchors");
    if (g->reduce || in->reduced) return no(g, "an anchor beside a reduce");
    g->anchor = op;
    bool contracts = op->kind == OP_dot || op->kind == OP_convolution;
    if (contracts && in->costly)
        return no(g, "an operand of a contraction that is costly to compute would be computed again and again");
    if (contracts && in->joined) return no(g, "a concat into a contraction");
    if (contracts && in->gathered) return no(g, "a gather into a contraction");
    return true;
}

static bool see_view(struct group *g, const struct op *op, const struct fact *in) {
    if (op->kind == OP_concat && op->n_in > 512) return no(g, "a concat of more than 512 values");
    if (!in->anchored) return true;
    if (op->kind == OP_broadcast && !in->reduced)
        return no(g, "a broadcast of an anchor's result would compute it again");
    if (op->kind == OP_concat) return no(g, "a concat of an anchor's result");
    if (op->kind == OP_pad) return no(g, "a pad of an anchor's result");
    return true;
}

static bool see_ops(struct group *g, const struct graph *body);

static bool see_op(struct group *g, const struct op *op) {
    if (op->kind == OP_composite) {
        for (int i = 0; i < op->regions[0]->n_in && i < op->n_in; i++)
            map_set(&g->same, op->regions[0]->in[i], op->in[i]);
        for (int i = 0; i < op->n_out && i < op->regions[0]->n_out; i++)
            map_set(&g->same, op->out[i], op->regions[0]->out[i]);
        return see_ops(g, op->regions[0]);
    }
    struct fact in = {0};
    for (int i = 0; i < op->n_in; i++) {
        const struct fact *f = fact_of(g, op->in[i]);
        in.anchored |= f->anchored;
        in.reduced |= f->reduced;
        in.joined |= f->joined;
        in.costly |= f->costly;
        in.gathered |= f->gathered;
    }
    if (op_is(op->kind, 'V') && !see_view(g, op, &in)) return false;
    if ((op->kind == OP_gather || op->kind == OP_gather_nd) && in.anchored)
        return no(g, "a gather of an anchor's result");
    if (!see_anchor(g, op, &in)) return false;
    if (op->kind == OP_concat && op->n_in > 8) {
        bool is_output = false;
        for (int i = 0; i < g->body->n_out; i++)
            is_output |= same_value(g, g->body->out[i]) == op->out[0];
        if (!is_output) return no(g, "a concat of more than 8 values before other ops");
    }
    in.anchored |= is_main_anchor(op) || op->kind == OP_reduce;
    in.reduced |= op->kind == OP_reduce;
    in.joined |= op->kind == OP_concat;
    in.costly |= is_costly(op);
    in.gathered |= op->kind == OP_gather || op->kind == OP_gather_nd;
    if (is_main_anchor(op)) in.costly = false;
    for (int i = 0; i < op->n_out; i++)
        *fact_of(g, op->out[i]) = in;
    return true;
}

static bool see_ops(struct group *g, const struct graph *body) {
    for (const struct op *op = body->first; op; op = op->next)
        if (!see_op(g, op)) return false;
    return true;
}

/* --- domain --- */

static dim elements(struct dim_table *t, const struct type *type) {
    dim n = dim_const(t, 1);
    for (int i = 0; i < type->rank; i++)
        n = dim_mul(t, n, type->shape[i]);
    return n;
}

/* OUT has the domain's shape with axes 1 or trailing ones missing. LACKS: the domain axes that it does not have. */
static bool fits(const struct type *out, const struct type *domain, unsigned *lacks) {
    *lacks = 0;
    int i = 0;
    for (int d = 0; d < domain->rank; d++) {
        if (i < out->rank && out->shape[i] == domain->shape[d]) {
            i++;
        } else {
            if (i < out->rank && dim_is(out->shape[i], 1)) i++;
            if (!dim_is(domain->shape[d], 1)) *lacks |= 1u << d;
        }
    }
    return i == out->rank;
}

static bool see_outputs(struct group *g) {
    const struct graph *b = g->body;
    const struct type *domain = &b->out[0]->type;
    for (int i = 1; i < b->n_out; i++) {
        int more = 0;
        for (int d = 0; d < b->out[i]->type.rank; d++)
            more += !dim_is(b->out[i]->type.shape[d], 1);
        for (int d = 0; d < domain->rank; d++)
            more -= !dim_is(domain->shape[d], 1);
        if (more > 0) domain = &b->out[i]->type;
    }
    bool back = false;
    for (int i = 0; i < b->n_out; i++) {
        unsigned lacks;
        const struct type *t = &b->out[i]->type;
        if (elements(b->dims, t) == elements(b->dims, domain)) {
            back |= fact_of(g, b->out[i])->reduced && g->reduce && domain->rank &&
                    elements(b->dims, domain) != elements(b->dims, &g->reduce->out[0]->type);
            continue;
        }
        if (!fits(t, domain, &lacks)) return no(g, "outputs of different shapes");
        if (!g->reduce || !fact_of(g, b->out[i])->reduced) return no(g, "outputs of different shapes");
    }
    if (!back) return true;
    int64_t n;
    bool small = dim_is_const(elements(b->dims, domain), &n) && n <= 65536;
    if (!small && dim_is(elements(b->dims, &g->reduce->out[0]->type), 1))
        return no(g, "a reduce of everything that is used again by everything would run on one core");
    return true;
}

bool lower_can(const struct graph *body, const char **why) {
    if (!lower_form(body, why)) return false;
    struct arena *arena = arena_open();
    if (!arena) {
        *why = "out of memory";
        return false;
    }
    struct group g = {.body = body, .arena = arena, .fact = {.arena = arena}, .same = {.arena = arena}};
    bool can = see_ops(&g, body) && see_outputs(&g);
    if (!can) *why = g.why;
    arena_close(arena);
    return can;
}

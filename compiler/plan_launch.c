/* SPDX-License-Identifier: Apache-2.0
 *
 * Launches: a `fused` op becomes a kernel (those that print the same are one) and a step, behind the checks of its
 * shapes that could not be made at compile time.
 */
#include "compiler/plan_inside.h"
#include <ctype.h>
#include <stdio.h>

static bool same_name(dim a, dim b) {
    return !strcmp(a->name, b->name);
}

static enum yj_status add_kernel(struct maker *m, struct kernel *plain, uint64_t hash, const char *name, int *number) {
    struct program_kernels *ks = m->kernels;
    if (ks->n == ks->room) {
        ks->room = ks->room ? 2 * ks->room : 64;
        struct program_kernel *more = NEW_ARRAY(ks->arena, struct program_kernel, ks->room);
        if (ks->n) memcpy(more, ks->kernel, sizeof *more * (size_t)ks->n);
        ks->kernel = more;
    }
    struct program_kernel *k = &ks->kernel[ks->n];
    *k = (struct program_kernel){hash, plain, 0, {NULL}};
    TRY(tile_kernel(ks->arena, plain, ks->target, &k->n_variants, k->variant));
    for (int i = 0; i < k->n_variants; i++)
        k->variant[i]->name = k->n_variants == 1 ? name : arena_text(ks->arena, "%s_v%d", name, i);
    *number = ks->n++;

    struct plan *p = m->p;
    struct plan_kernel *more = NEW_ARRAY(m->arena, struct plan_kernel, ks->n);
    if (p->n_kernels) memcpy(more, p->kernels, sizeof *more * (size_t)p->n_kernels);
    p->kernels = more;
    struct plan_kernel *pk = &p->kernels[p->n_kernels++];
    *pk = (struct plan_kernel){
        .name = arena_text(m->arena, "%s", name), .n_dims = plain->n_dims, .n_args = plain->n_args};
    pk->dims = dim_table_open(m->arena);
    pk->dim_names = NEW_ARRAY(m->arena, const char *, plain->n_dims + 1);
    for (int i = 0; i < plain->n_dims; i++) {
        pk->dim_names[i] = arena_text(m->arena, "%s", plain->dim_args[i]->name);
        dim_copy(pk->dims, plain->dim_args[i]);
    }
    pk->args = NEW_ARRAY(m->arena, enum plan_role, plain->n_args + 1);
    int i = 0;
    for (const struct buffer *b = plain->args; b; b = b->next)
        pk->args[i++] = b->role == ROLE_IN ? PLAN_IN : b->role == ROLE_OUT ? PLAN_OUT : PLAN_INOUT;
    pk->n_variants = k->n_variants;
    for (i = 0; i < k->n_variants; i++) {
        struct kernel *v = k->variant[i];
        struct plan_variant *pv = &pk->variants[i];
        pv->symbol = arena_text(m->arena, "%s", v->name);
        pv->tiles = dim_copy(pk->dims, kernel_tile_count(v));
        pv->scratch = dim_copy(pk->dims, kernel_scratch_bytes(v));
        pv->ns = dim_copy(pk->dims, tile_cost(v, ks->target));
        pv->n_guards = v->n_guards;
        pv->guards = NEW_ARRAY(m->arena, struct plan_guard, v->n_guards + 1);
        for (int g = 0; g < v->n_guards; g++)
            pv->guards[g] =
                (struct plan_guard){dim_copy(pk->dims, v->guards[g].low), dim_copy(pk->dims, v->guards[g].value),
                                    dim_copy(pk->dims, v->guards[g].high)};
    }
    return YJ_OK;
}

/* The name of the first ONNX node of the group that has one, as part of a C identifier: "/layers.0/MatMul" is
 * "_layers_0_MatMul"; of a long name its end. "" without one. */
static const char *node_part(const struct maker *m, const struct op *fused) {
    const struct graph *root = graph_root(fused->graph);
    for (int i = 0; i < fused->n_origin; i++) {
        int node = fused->origin[i];
        const char *name = node >= 0 && node < root->n_nodes ? root->node_names[node] : NULL, *end;
        if (!name || !(end = strrchr(name, '(')) || end - name < 2) continue; /* "NAME (OpType)" */
        char part[64] = "_";
        size_t n = 1;
        for (const char *c = end - name > 60 ? end - 60 : name; c < end - 1; c++)
            if (isalnum((unsigned char)*c) || part[n - 1] != '_') part[n++] = isalnum((unsigned char)*c) ? *c : '_';
        while (n && part[n - 1] == '_')
            n--;
        if (n) return arena_text(m->arena, "%.*s", (int)n, part);
    }
    return "";
}

/* A symbol for people: the op kinds of the group that matter, the kernel's number, the node that asked for it first. */
static const char *kernel_name(struct maker *m, const struct op *fused) {
    char name[64] = "";
    size_t n = 0;
    for (const struct op *op = fused->regions[0]->first; op && n < 40; op = op->next)
        if (op->kind != OP_constant && !op_is(op->kind, 'V') && !strstr(name, op_info[op->kind].name))
            n += (size_t)snprintf(name + n, sizeof name - n, "%s%s", n ? "_" : "", op_info[op->kind].name);
    return arena_text(m->arena, "%s_%d%s", n ? name : "copy", m->kernels->n, node_part(m, fused));
}

/* The layers of a model are the same kernels: what tells them apart in the text, names of values and nodes, goes. */
static void forget_names(struct kernel *k) {
    int n = 0;
    for (struct buffer *b = k->args; b; b = b->next)
        b->name = arena_text(k->arena, "%s.%d", b->role == ROLE_IN ? "in" : "out", n++);
    k->origin = NULL;
}

static enum yj_status kernel_of(struct maker *m, const struct op *fused, const struct lower_place *places,
                                struct kernel **plain, int *number) {
    enum yj_status status = lower_op(m->kernels->arena, fused, "k", places, plain);
    if (status != YJ_OK) return report_in(status, "%s", op_where(fused));
    forget_names(*plain);
    struct text text = {0};
    kernel_print(&text, *plain);
    if (text.failed) return report(YJ_ERR_MEMORY, "out of memory");
    uint64_t hash = hash_bytes(text.data, text.n, 0);
    for (int i = 0; i < m->kernels->n; i++) {
        if (m->kernels->kernel[i].hash != hash) continue;
        struct text other = {0};
        kernel_print(&other, m->kernels->kernel[i].plain);
        bool same = !other.failed && other.n == text.n && !memcmp(other.data, text.data, text.n);
        text_free(&other);
        if (!same) continue;
        text_free(&text);
        *number = i;
        return YJ_OK;
    }
    text_free(&text);
    return add_kernel(m, *plain, hash, kernel_name(m, fused), number);
}

/* ---- in place */

/* What result V of OP's graph takes the place of: the old value of a state, or a value that a loop carries. */
static struct value *old_value(struct maker *m, const struct op *op, const struct value *v) {
    const struct state *s = maker_state_of_output(m->g, v);
    const struct graph *body = m->body;
    if (s) return s->in;
    for (int i = 0; body && body == op->graph && i + 1 < body->n_in; i++)
        if (body->out[1 + i] == v) return body->in[1 + i];
    return NULL;
}

/* Does something behind OP read V, under its own name or another (a reshape, what a loop carries unchanged, ..), or
 * does the graph give it? An op that is no kernel may give another name. */
static bool read_later(struct maker *m, const struct value *v, const struct op *op) {
    const struct graph *g = op->graph;
    bool *names = NEW_ARRAY(m->arena, bool, m->n_values + 1), behind = false;
    names[v->id] = true;
    for (const struct op *o = g->first; o; o = o->next) {
        bool reads = false;
        for (int i = 0; i < o->n_in; i++)
            reads |= names[o->in[i]->id];
        if (behind && reads && o->kind != OP_reshape) return true;
        for (int i = 0; i < o->n_out && reads && o->kind != OP_fused; i++)
            names[o->out[i]->id] = true;
        behind |= o == op;
    }
    for (int i = 0; i < g->n_out; i++)
        if (names[g->out[i]->id]) return true;
    return false;
}

/* A result goes where an old value lies, if it is a write into it that nobody reads later. */
static int in_place_operand(struct maker *m, const struct op *op, int result) {
    const struct value *old = old_value(m, op, op->out[result]);
    const struct graph *body = op->regions[0];
    if (!old || !body->out[result]->op || body->out[result]->op->kind != OP_update_slice) return -1;
    if (read_later(m, old, op)) return -1;
    const struct value *target = body->out[result]->op->in[0];
    for (int i = 0; i < op->n_in; i++)
        if (op->in[i] == old && body->in[i] == target) return i;
    return -1;
}

/* ---- what must hold of shapes, where it is not known at compile time: said once, before the first launch that needs
 * it */

static void require(struct maker *m, const struct op *op, dim value) {
    struct dim_table *t = m->g->dims;
    if (value->low >= 0 || dim_less(t, value, dim_const(t, 0)) == DIM_NO) return;
    maker_require_dim(m, op, maker_dim(m, value));
}

void maker_require_dim(struct maker *m, const struct op *op, dim value) {
    if (value->low >= 0) return;
    for (int i = 0; i < m->block->n_steps; i++)
        if (m->block->steps[i].kind == PLAN_CHECK && m->block->steps[i].condition == value) return;
    int number;
    maker_step(m, PLAN_CHECK, op, &number)->condition = value;
}

struct requirer {
    struct maker *m;
    const struct op *op;
};

static dim distance(struct dim_table *t, dim a, dim b) {
    return dim_max(t, dim_sub(t, a, b), dim_sub(t, b, a));
}

static void require_equal(void *user, dim a, dim b, bool or_one) {
    struct requirer *r = user;
    struct dim_table *t = r->m->g->dims;
    dim zero = dim_const(t, 0);
    if (or_one) {
        dim off = dim_min(t, distance(t, a, dim_const(t, 1)), distance(t, a, b));
        require(r->m, r->op, dim_sub(t, zero, off));
        return;
    }
    require(r->m, r->op, dim_sub(t, a, b));
    require(r->m, r->op, dim_sub(t, b, a));
}

enum yj_status maker_require(struct maker *m, const struct op *op) {
    struct dim_table *t = m->g->dims;
    int n;
    struct requirer r = {m, op};
    TRY(graph_equalities(op, require_equal, &r));
    if (op->kind == OP_slice) {
        const dim *start = op_dims(op, "start", &n), *limit = op_dims(op, "limit", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, start[i]);
            require(m, op, dim_sub(t, limit[i], start[i]));
            require(m, op, dim_sub(t, op->in[0]->type.shape[i], limit[i]));
        }
    } else if (op->kind == OP_update_slice) {
        const dim *start = op_dims(op, "start", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, start[i]);
            require(m, op, dim_sub(t, op->in[0]->type.shape[i], dim_add(t, start[i], op->in[1]->type.shape[i])));
        }
    } else if (op->kind == OP_pad) {
        const dim *low = op_dims(op, "low", &n), *high = op_dims(op, "high", &n);
        for (int i = 0; i < n; i++) {
            require(m, op, low[i]);
            require(m, op, high[i]);
        }
    } else if (op->kind == OP_reshape) {
        require(m, op, dim_sub(t, type_elements(t, &op->in[0]->type), type_elements(t, &op->out[0]->type)));
        require(m, op, dim_sub(t, type_elements(t, &op->out[0]->type), type_elements(t, &op->in[0]->type)));
    }
    for (int i = 0; i < op->n_out; i++)
        for (int d = 0; d < op->out[i]->type.rank; d++)
            require(m, op, op->out[i]->type.shape[d]);
    for (int r = 0; r < op->n_regions; r++)
        for (const struct op *inner = op->regions[r]->first; inner; inner = inner->next)
            TRY(maker_require(m, inner));
    return YJ_OK;
}

enum yj_status maker_launch(struct maker *m, const struct op *op) {
    TRY(maker_require(m, op));
    int n = op->n_in + op->n_out, kernel = -1, step = m->block->n_steps;
    struct lower_place *places = NEW_ARRAY(m->arena, struct lower_place, n + 1);
    bool placed = false;
    for (int i = 0; i < n; i++)
        places[i].in_place = -1;
    for (int i = 0; i < op->n_out; i++) {
        places[op->n_in + i].in_place = in_place_operand(m, op, i);
        placed |= places[op->n_in + i].in_place >= 0;
    }
    struct kernel *plain;
    TRY(kernel_of(m, op, placed ? places : NULL, &plain, &kernel));
    int *buffers = NEW_ARRAY(m->arena, int, n + 1);
    for (int i = 0; i < op->n_in; i++) {
        buffers[i] = maker_buffer_of(m, op->in[i]);
        if (buffers[i] < 0)
            return report(YJ_ERR_INTERNAL, "%s: operand %%%s has no memory", op_where(op), op->in[i]->name);
    }
    for (int i = 0; i < op->n_out; i++) {
        int operand = places[op->n_in + i].in_place;
        if (operand >= 0)
            TRY(maker_alias(m, op->out[i], buffers[operand]));
        else
            TRY(maker_temp(m, op->out[i], step, &buffers[op->n_in + i]));
        buffers[op->n_in + i] = m->buffer_of[op->out[i]->id];
    }
    int number;
    struct plan_step *s = maker_step(m, PLAN_LAUNCH, op, &number);
    s->kernel = kernel;
    s->n_buffers = n;
    s->buffers = buffers;
    s->n_dims = plain->n_dims;
    s->dims = NEW_ARRAY(m->arena, dim, plain->n_dims + 1);
    for (int i = 0; i < plain->n_dims; i++) {
        dim mine = NULL;
        for (int k = 0; k < m->p->n_dims; k++)
            if (same_name(m->p->dim[k].symbol, plain->dim_args[i])) mine = m->p->dim[k].symbol;
        if (!mine)
            return report(YJ_ERR_INTERNAL, "%s: the size '%s' is not known", op_where(op), plain->dim_args[i]->name);
        s->dims[i] = mine;
    }
    for (int i = 0; i < n; i++)
        maker_use(m, buffers[i], number);
    return YJ_OK;
}

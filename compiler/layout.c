/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout: how values that only kernels see lie in memory. Shapes and ops stay what they are; kernels read and write
 * through the layouts, so no transpose is ever inserted or cancelled. Weights of dot and convolution get the panels of
 * the target's register tile; images (what convolutions read and write, and what is elementwise around them) get
 * channels last. What the outside sees (inputs, outputs, states, operands of collectives and of names for memory) stays
 * row-major.
 */
#include "compiler/lower.h"
#include "compiler/pass.h"
#include "ir/graph_inside.h"

struct layouts {
    struct graph *g;
    const struct yj_target *target;
    struct arena *arena;
    bool *inside;   /* by value id: made by a fused op, used by fused ops alone */
    bool *image;    /* by value id: its axes are batch, channels, space... */
    bool *constant; /* by value id: a constant used by fused ops alone */
};

/* --- images: sets of values of one region whose axes correspond --- */

struct sets {
    struct map number;
    int n;
    int *parent;
    bool *image;
};

static int set_find(const struct sets *s, const struct value *v) {
    intptr_t n = (intptr_t)map_get(&s->number, v);
    if (!n) return -1;
    int i = (int)n - 1;
    while (s->parent[i] != i)
        i = s->parent[i];
    return i;
}

static void set_join(struct sets *s, const struct value *a, const struct value *b) {
    int x = set_find(s, a), y = set_find(s, b);
    if (x < 0 || y < 0 || x == y || a->type.rank != b->type.rank) return;
    s->parent[y] = x;
    s->image[x] |= s->image[y];
}

static bool keeps_axes(const struct op *op) {
    int n;
    if (op_is(op->kind, 'E')) return true;
    switch (op->kind) {
    case OP_cast:
    case OP_pad:
    case OP_slice:
    case OP_reverse:
    case OP_concat:
    case OP_reduce_window:
    case OP_update_slice:
        return true;
    case OP_broadcast: {
        const int64_t *axes = op_ints(op, "axes", &n);
        for (int i = 0; i < n; i++)
            if (axes[i] != i) return false;
        return op->in[0]->type.rank == op->out[0]->type.rank;
    }
    default:
        return false;
    }
}

static bool is_channel_first(const struct op *op) {
    const char *layout = op_text(op, "layout");
    return op->kind == OP_convolution && (!layout || strcmp(layout, "NHWC") != 0);
}

static void number_values(struct sets *s, const struct graph *g, bool count_only) {
    for (int i = 0; i < g->n_in; i++, s->n++)
        if (!count_only) map_set(&s->number, g->in[i], (void *)(intptr_t)(s->n + 1));
    for (const struct op *op = g->first; op; op = op->next)
        for (int i = 0; i < op->n_out; i++, s->n++)
            if (!count_only) map_set(&s->number, op->out[i], (void *)(intptr_t)(s->n + 1));
}

static struct sets sets_of(struct arena *arena, const struct graph *body) {
    struct sets s = {.number = {.arena = arena}};
    number_values(&s, body, true);
    s.parent = NEW_ARRAY(arena, int, s.n + 1);
    s.image = NEW_ARRAY(arena, bool, s.n + 1);
    for (int i = 0; i < s.n; i++)
        s.parent[i] = i;
    s.n = 0;
    number_values(&s, body, false);
    for (const struct op *op = body->first; op; op = op->next) {
        if (is_channel_first(op)) {
            s.image[set_find(&s, op->in[0])] = s.image[set_find(&s, op->out[0])] = true;
            set_join(&s, op->in[0], op->out[0]);
        } else if (keeps_axes(op)) {
            for (int i = 0; i < op->n_in; i++)
                set_join(&s, op->out[0], op->in[i]);
        }
    }
    return s;
}

/* Images of the graph mark sets of the region, those mark images of the graph. True if something was new. */
static bool spread_images(struct layouts *l, const struct op *fused) {
    const struct graph *body = fused->regions[0];
    struct sets s = sets_of(l->arena, body);
    bool changed = false;
    for (int i = 0; i < fused->n_in; i++)
        if (l->image[fused->in[i]->id] && set_find(&s, body->in[i]) >= 0) s.image[set_find(&s, body->in[i])] = true;
    for (int i = 0; i < fused->n_out; i++)
        if (l->image[fused->out[i]->id] && set_find(&s, body->out[i]) >= 0) s.image[set_find(&s, body->out[i])] = true;
    for (int i = 0; i < fused->n_in + fused->n_out; i++) {
        const struct value *outer = i < fused->n_in ? fused->in[i] : fused->out[i - fused->n_in];
        const struct value *own = i < fused->n_in ? body->in[i] : body->out[i - fused->n_in];
        int set = set_find(&s, own);
        if (set < 0 || !s.image[set] || l->image[outer->id] || outer->type.rank < 3) continue;
        l->image[outer->id] = true;
        changed = true;
    }
    return changed;
}

static void channels_last(struct layout *layout, int rank) {
    layout->order[0] = 0;
    for (int i = 2; i < rank; i++)
        layout->order[i - 1] = i;
    layout->order[rank - 1] = 1;
}

/* --- weights --- */

/* The region's input that V is, through transposes; AXIS[i] becomes the input's axis that is axis i of V. */
static int input_behind(const struct graph *body, const struct value *v, int *axis) {
    for (int i = 0; i < v->type.rank; i++)
        axis[i] = i;
    while (v->op && v->op->kind == OP_transpose) {
        int n;
        const int64_t *permutation = op_ints(v->op, "permutation", &n);
        for (int i = 0; i < n; i++)
            axis[i] = (int)permutation[axis[i]];
        v = v->op->in[0];
    }
    for (int i = 0; i < body->n_in; i++)
        if (body->in[i] == v) return i;
    return -1;
}

static bool is_plain(const struct layout *layout, int rank) {
    bool plain = !layout->format;
    for (int i = 0; i < rank; i++)
        plain &= layout->order[i] == 0;
    return plain;
}

/* The first use decides; another that would like another layout reads through this one. */
static void want_layout(struct layouts *l, struct op *fused, int operand, struct layout layout) {
    struct value *v = fused->in[operand];
    int rank = v->type.rank;
    int64_t columns;
    struct format_info format;
    if (!l->constant[v->id] || !is_plain(&v->layout, rank)) return;
    if (layout.format && format_find(layout.format, &format) &&
        dim_is_const(v->type.shape[layout.order[rank - 1]], &columns) &&
        2 * columns < format_columns(&format, v->type.dtype))
        layout.format = NULL; /* mostly zeros */
    bool in_order = true;
    for (int i = 0; i < rank; i++)
        in_order &= layout.order[i] == i;
    for (int i = 0; in_order && i < rank; i++)
        layout.order[i] = 0;
    v->layout = layout;
}

static void weights_of_dot(struct layouts *l, struct op *fused, const struct op *dot) {
    const struct graph *body = fused->regions[0];
    int axis[GRAPH_MAX_RANK], nb, nk, rank = dot->in[1]->type.rank, operand = input_behind(body, dot->in[1], axis),
                                      at = 0;
    const int64_t *batch = op_ints(dot, "batch_b", &nb), *contract = op_ints(dot, "contract_b", &nk);
    const char *format = format_of_target(l->target, dot->in[1]->type.dtype);
    if (operand < 0 || nk != 1 || rank != nb + 2 || !format) return;
    struct layout layout = {{0}, format};
    unsigned used = 1u << contract[0];
    for (int i = 0; i < nb; i++) {
        layout.order[at++] = axis[batch[i]];
        used |= 1u << batch[i];
    }
    layout.order[at++] = axis[contract[0]];
    for (int i = 0; i < rank; i++)
        if (!(used >> i & 1)) layout.order[at] = axis[i];
    want_layout(l, fused, operand, layout);
}

static void weights_of_convolution(struct layouts *l, struct op *fused, const struct op *conv) {
    const struct graph *body = fused->regions[0];
    int axis[GRAPH_MAX_RANK], operand = input_behind(body, conv->in[1], axis), rank = conv->in[1]->type.rank;
    if (operand < 0 || conv->in[1]->op || !is_channel_first(conv)) return;
    struct layout layout = {{0}, NULL};
    for (int i = 2; i < rank; i++)
        layout.order[i - 2] = i;
    layout.order[rank - 2] = 1;
    layout.order[rank - 1] = 0;
    if (op_int(conv, "groups", 1) == 1) layout.format = format_of_target(l->target, conv->in[1]->type.dtype);
    want_layout(l, fused, operand, layout);
}

static void weights_of(struct layouts *l, struct op *fused) {
    for (const struct op *op = fused->regions[0]->first; op; op = op->next) {
        if (op->kind == OP_dot) weights_of_dot(l, fused, op);
        if (op->kind == OP_convolution) weights_of_convolution(l, fused, op);
    }
}

/* --- who sees what --- */

static void seen_outside(struct layouts *l, const struct value *v) {
    l->inside[v->id] = l->constant[v->id] = false;
}

static void find_inside(struct layouts *l) {
    struct graph *g = l->g;
    for (struct op *op = g->first; op; op = op->next)
        for (int i = 0; i < op->n_out; i++) {
            l->inside[op->out[i]->id] = op->kind == OP_fused;
            l->constant[op->out[i]->id] = op->kind == OP_constant;
        }
    for (struct op *op = g->first; op; op = op->next)
        for (int i = 0; op->kind != OP_fused && i < op->n_in; i++)
            seen_outside(l, op->in[i]);
    for (int i = 0; i < g->n_out; i++)
        seen_outside(l, g->out[i]);
    for (int i = 0; i < g->n_states; i++) {
        seen_outside(l, g->states[i].in);
        seen_outside(l, g->states[i].out);
    }
}

static void layout_body(struct graph *g, const struct yj_target *target) {
    int n = graph_number(g);
    struct arena *arena = g->arena;
    struct layouts l = {.g = g,
                        .target = target,
                        .arena = arena,
                        .inside = NEW_ARRAY(arena, bool, n + 1),
                        .image = NEW_ARRAY(arena, bool, n + 1),
                        .constant = NEW_ARRAY(arena, bool, n + 1)};
    find_inside(&l);
    for (bool changed = true; changed;) {
        changed = false;
        for (struct op *op = g->first; op; op = op->next)
            if (op->kind == OP_fused) changed |= spread_images(&l, op);
    }
    for (struct op *op = g->first; op; op = op->next) {
        if (op->kind == OP_fused) weights_of(&l, op);
        for (int i = 0; op->kind == OP_fused && i < op->n_out; i++) {
            struct value *v = op->out[i];
            if (l.inside[v->id] && l.image[v->id]) channels_last(&v->layout, v->type.rank);
        }
        for (int r = 0; op->kind != OP_fused && r < op->n_regions; r++)
            layout_body(op->regions[r], target);
    }
}

enum yj_status pass_layout(struct graph *g, const struct pass_options *o) {
    if (o->target) layout_body(g, o->target);
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The copy of a graph in another arena, with its own dim table. Symbols are made first, in their old order, because
 * canonical forms of dim expressions depend on it.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"

/* --- the symbols of a graph --- */

bool symbols_has(const struct symbols *s, dim symbol) {
    for (int i = 0; i < s->n; i++)
        if (s->list[i] == symbol) return true;
    return false;
}

static void symbol_see(void *user, dim symbol) {
    struct symbols *s = user;
    if (symbols_has(s, symbol)) return;
    s->list = graph_grow(s->arena, s->list, s->n);
    s->list[s->n++] = symbol;
}

void symbols_add(struct symbols *s, dim d) {
    if (d && d->op != DIM_CONST) dim_symbols(d, symbol_see, s);
}

static void collect_type(struct symbols *s, const struct type *t) {
    for (int i = 0; i < t->rank; i++) symbols_add(s, t->shape[i]);
}

static void collect(struct symbols *s, const struct graph *g) {
    for (int i = 0; i < g->n_in; i++) collect_type(s, &g->in[i]->type);
    for (const struct op *op = g->first; op; op = op->next) {
        for (const struct attr *a = op->attrs; a; a = a->next)
            for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++) symbols_add(s, a->dims[i]);
        for (int i = 0; i < op->n_out; i++) collect_type(s, &op->out[i]->type);
        for (int i = 0; i < op->n_regions; i++) collect(s, op->regions[i]);
    }
}

struct symbols graph_symbols(const struct graph *g, struct arena *arena) {
    struct symbols s = {arena, 0, NULL};
    collect(&s, g);
    for (int i = 1; i < s.n; i++) { /* insertion sort: they are few and nearly sorted */
        dim d = s.list[i];
        int j = i;
        for (; j > 0 && s.list[j - 1]->id > d->id; j--) s.list[j] = s.list[j - 1];
        s.list[j] = d;
    }
    return s;
}

/* --- the copy --- */

struct copy { struct arena *arena; struct dim_table *dims; struct value **values; };

static const char *text_copy(struct copy *c, const char *text) {
    return text ? arena_text(c->arena, "%s", text) : NULL;
}

static void value_copy(struct copy *c, struct graph *to, const struct value *v, struct value *n) {
    n->type = v->type;
    for (int i = 0; i < v->type.rank; i++) n->type.shape[i] = dim_copy(c->dims, v->type.shape[i]);
    n->index = v->index;
    n->layout = v->layout;
    n->layout.format = text_copy(c, v->layout.format);
    n->shard.partial = text_copy(c, v->shard.partial);
    for (int i = 0; i < GRAPH_MAX_RANK; i++) n->shard.axis[i] = text_copy(c, v->shard.axis[i]);
    n->id = v->id;
    value_rename(to, n, v->name);
    c->values[v->id] = n;
}

static struct attr *attrs_copy(struct copy *c, const struct attr *from) {
    struct attr *first = NULL, **end = &first;
    for (; from; from = from->next) {
        struct attr *a = NEW(c->arena, struct attr);
        *a = *from;
        a->name = text_copy(c, from->name);
        a->text = text_copy(c, from->text);
        a->next = NULL;
        if (from->ints) {
            a->ints = NEW_ARRAY(c->arena, int64_t, from->n + 1);
            memcpy(a->ints, from->ints, (size_t)from->n * sizeof *a->ints);
        }
        if (from->dims) {
            a->dims = NEW_ARRAY(c->arena, dim, from->n + 1);
            for (int i = 0; i < from->n; i++) a->dims[i] = dim_copy(c->dims, from->dims[i]);
        }
        *end = a;
        end = &a->next;
    }
    return first;
}

static void graph_fill(struct copy *c, struct graph *to, const struct graph *from);

static void op_copy(struct copy *c, struct graph *to, const struct op *from) {
    struct op *op = NEW(c->arena, struct op);
    *op = (struct op){.kind = from->kind, .n_in = from->n_in, .data = from->data, .n_origin = from->n_origin};
    op->attrs = attrs_copy(c, from->attrs);
    op->data.name = text_copy(c, from->data.name);
    op->origin = NEW_ARRAY(c->arena, int, from->n_origin + 1);
    for (int i = 0; i < from->n_origin; i++) op->origin[i] = from->origin[i];
    op->in = NEW_ARRAY(c->arena, struct value *, from->n_in + 1);
    for (int i = 0; i < from->n_in; i++) op->in[i] = c->values[from->in[i]->id];
    op->n_out = from->n_out;
    op->out = NEW_ARRAY(c->arena, struct value *, from->n_out + 1);
    op_insert(to, op, NULL);
    for (int i = 0; i < from->n_out; i++) {
        op->out[i] = NEW(c->arena, struct value);
        op->out[i]->op = op;
        value_copy(c, to, from->out[i], op->out[i]);
    }
    for (int i = 0; i < from->n_regions; i++)
        graph_fill(c, graph_region(op, from->regions[i]->name), from->regions[i]);
}

static void graph_fill(struct copy *c, struct graph *to, const struct graph *from) {
    to->n_in = from->n_in;
    to->in = NEW_ARRAY(c->arena, struct value *, from->n_in + 1);
    for (int i = 0; i < from->n_in; i++) {
        to->in[i] = NEW(c->arena, struct value);
        value_copy(c, to, from->in[i], to->in[i]);
    }
    for (const struct op *op = from->first; op; op = op->next) op_copy(c, to, op);
    for (int i = 0; i < from->n_out; i++) graph_output(to, c->values[from->out[i]->id], from->out_names[i]);
    for (int i = 0; i < from->n_states; i++)
        graph_state(to, c->values[from->states[i].in->id], c->values[from->states[i].out->id]);
}

struct graph *graph_copy(struct arena *arena, const struct graph *g) {
    struct graph *to = graph_new(arena, g->name);
    struct copy c = {arena, to->dims, NEW_ARRAY(arena, struct value *, graph_number((struct graph *)g) + 1)};
    struct symbols symbols = graph_symbols(g, arena);
    for (int i = 0; i < symbols.n; i++)
        dim_symbol(to->dims, symbols.list[i]->name, symbols.list[i]->low, symbols.list[i]->high);
    to->mesh = g->mesh;
    for (int i = 0; i < g->mesh.n; i++) to->mesh.name[i] = text_copy(&c, g->mesh.name[i]);
    to->n_nodes = g->n_nodes;
    to->node_names = NEW_ARRAY(arena, const char *, g->n_nodes + 1);
    for (int i = 0; i < g->n_nodes; i++) to->node_names[i] = text_copy(&c, g->node_names[i]);
    graph_fill(&c, to, g);
    return to;
}

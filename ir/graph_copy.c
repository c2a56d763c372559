/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies: of a graph in another arena with its own dim table, of an op in another graph, of a region in place of its
 * op. A graph's symbols are made first, in their old order, because canonical forms of dim expressions depend on it.
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
    for (int i = 0; i < t->rank; i++)
        symbols_add(s, t->shape[i]);
}

static void collect(struct symbols *s, const struct graph *g) {
    for (int i = 0; i < g->n_in; i++)
        collect_type(s, &g->in[i]->type);
    for (const struct op *op = g->first; op; op = op->next) {
        for (const struct attr *a = op->attrs; a; a = a->next)
            for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++)
                symbols_add(s, a->dims[i]);
        for (int i = 0; i < op->n_out; i++)
            collect_type(s, &op->out[i]->type);
        for (int i = 0; i < op->n_regions; i++)
            collect(s, op->regions[i]);
    }
}

struct symbols graph_symbols(const struct graph *g, struct arena *arena) {
    struct symbols s = {arena, 0, NULL};
    collect(&s, g);
    for (int i = 1; i < s.n; i++) { /* insertion sort: they are few and nearly sorted */
        dim d = s.list[i];
        int j = i;
        for (; j > 0 && s.list[j - 1]->id > d->id; j--)
            s.list[j] = s.list[j - 1];
        s.list[j] = d;
    }
    return s;
}

/* --- ops into another graph --- */

static const char *text_copy(struct graph *to, const char *text) {
    return text ? arena_text(to->arena, "%s", text) : NULL;
}

static dim dim_into(struct graph *to, const struct graph *from, dim d) {
    return to->dims == from->dims ? d : dim_copy(to->dims, d);
}

static void value_copy(struct graph *to, const struct graph *from, const struct value *v, struct value *n,
                       struct map *values) {
    n->type = v->type;
    for (int i = 0; i < v->type.rank; i++)
        n->type.shape[i] = dim_into(to, from, v->type.shape[i]);
    n->index = v->index;
    n->layout = v->layout;
    n->layout.format = text_copy(to, v->layout.format);
    n->shard.partial = text_copy(to, v->shard.partial);
    for (int i = 0; i < GRAPH_MAX_RANK; i++)
        n->shard.axis[i] = text_copy(to, v->shard.axis[i]);
    n->id = v->id;
    value_rename(to, n, v->name);
    map_set(values, v, n);
}

static struct attr *attrs_copy(struct graph *to, const struct graph *from, const struct attr *attrs) {
    struct attr *first = NULL, **end = &first;
    for (; attrs; attrs = attrs->next) {
        struct attr *a = NEW(to->arena, struct attr);
        *a = *attrs;
        a->name = text_copy(to, attrs->name);
        a->text = text_copy(to, attrs->text);
        a->next = NULL;
        if (attrs->ints) {
            a->ints = NEW_ARRAY(to->arena, int64_t, attrs->n + 1);
            memcpy(a->ints, attrs->ints, (size_t)attrs->n * sizeof *a->ints);
        }
        if (attrs->dims) {
            a->dims = NEW_ARRAY(to->arena, dim, attrs->n + 1);
            for (int i = 0; i < attrs->n; i++)
                a->dims[i] = dim_into(to, from, attrs->dims[i]);
        }
        *end = a;
        end = &a->next;
    }
    return first;
}

static void graph_fill(struct graph *to, const struct graph *from, struct map *values) {
    to->n_in = from->n_in;
    to->in = NEW_ARRAY(to->arena, struct value *, from->n_in + 1);
    for (int i = 0; i < from->n_in; i++) {
        to->in[i] = NEW(to->arena, struct value);
        value_copy(to, from, from->in[i], to->in[i], values);
    }
    for (const struct op *op = from->first; op; op = op->next)
        op_copy(to, NULL, op, values);
    for (int i = 0; i < from->n_out; i++)
        graph_output(to, map_get(values, from->out[i]), from->out_names[i]);
    for (int i = 0; i < from->n_states; i++)
        graph_state(to, map_get(values, from->states[i].in), map_get(values, from->states[i].out));
}

struct op *op_copy(struct graph *to, struct op *at, const struct op *from, struct map *values) {
    struct op *op = NEW(to->arena, struct op);
    *op = (struct op){
        .kind = from->kind, .n_in = from->n_in, .n_out = from->n_out, .data = from->data, .n_origin = from->n_origin};
    op->attrs = attrs_copy(to, from->graph, from->attrs);
    op->data.name = text_copy(to, from->data.name);
    op->origin = NEW_ARRAY(to->arena, int, from->n_origin + 1);
    for (int i = 0; i < from->n_origin; i++)
        op->origin[i] = from->origin[i];
    op->in = NEW_ARRAY(to->arena, struct value *, from->n_in + 1);
    for (int i = 0; i < from->n_in; i++)
        op->in[i] = map_get(values, from->in[i]);
    op->out = NEW_ARRAY(to->arena, struct value *, from->n_out + 1);
    op_insert(to, op, at);
    for (int i = 0; i < from->n_out; i++) {
        op->out[i] = NEW(to->arena, struct value);
        op->out[i]->op = op;
        value_copy(to, from->graph, from->out[i], op->out[i], values);
    }
    for (int i = 0; i < from->n_regions; i++)
        graph_fill(graph_region(op, from->regions[i]->name), from->regions[i], values);
    return op;
}

void region_inline(struct op *op, const struct graph *region, int first_operand, struct value **results) {
    struct map values = {.arena = op->graph->arena};
    for (int i = 0; i < region->n_in; i++)
        map_set(&values, region->in[i], op->in[first_operand + i]);
    for (const struct op *inner = region->first; inner; inner = inner->next)
        op_copy(op->graph, op, inner, &values);
    for (int i = 0; i < region->n_out; i++)
        results[i] = map_get(&values, region->out[i]);
}

struct graph *graph_copy(struct arena *arena, const struct graph *g) {
    struct graph *to = graph_new(arena, g->name);
    struct map values = {.arena = arena};
    struct symbols symbols = graph_symbols(g, arena);
    for (int i = 0; i < symbols.n; i++)
        dim_symbol(to->dims, symbols.list[i]->name, symbols.list[i]->low, symbols.list[i]->high);
    to->mesh = g->mesh;
    for (int i = 0; i < g->mesh.n; i++)
        to->mesh.name[i] = text_copy(to, g->mesh.name[i]);
    to->n_nodes = g->n_nodes;
    to->node_names = NEW_ARRAY(arena, const char *, g->n_nodes + 1);
    for (int i = 0; i < g->n_nodes; i++)
        to->node_names[i] = text_copy(to, g->node_names[i]);
    graph_fill(to, g, &values);
    return to;
}

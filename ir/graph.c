/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs as data: the table of ops, walking and changing. A graph is a doubly linked list of ops in SSA order and
 * everything lives in one arena, so changing is relinking and nothing is freed one by one.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"

const struct op_info op_info[OP_COUNT] = {
#define SCALAR(name, arity, result, types, doc) {#name, arity, 1, "", "E", "elementwise", "elementwise", doc},
#include "ir/scalar.def"
#undef SCALAR
#define OP(name, n_in, n_out, attributes, flags, shape, vjp, shard, doc)                                               \
    {#name, n_in, n_out, attributes, flags, vjp, shard, doc},
#include "ir/ops.def"
#undef OP
};

bool op_is(enum op_kind kind, char flag) {
    return (unsigned)kind < OP_COUNT && strchr(op_info[kind].flags, flag) != NULL;
}

bool op_find(const char *name, enum op_kind *kind) {
    for (int i = 0; i < OP_COUNT; i++) {
        if (strcmp(op_info[i].name, name) != 0) continue;
        *kind = (enum op_kind)i;
        return true;
    }
    return false;
}

bool attr_row_next(const char **row, struct attr_row *a) {
    const char *p = *row;
    while (*p == ' ')
        p++;
    if (!*p || *p == '*') return false;
    size_t n = strcspn(p, "?:");
    a->name = p;
    a->n_name = (int)n;
    a->optional = p[n] == '?';
    p += n + (a->optional ? 2 : 1);
    n = strcspn(p, " ");
    static const char *const kinds[] = {"int", "ints", "dim", "dims", "text", "float"};
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strlen(kinds[i]) == n && memcmp(kinds[i], p, n) == 0) a->kind = (enum attr_kind)i;
    *row = p + n;
    return true;
}

bool attr_row_find(enum op_kind kind, const char *name, size_t n_name, struct attr_row *a) {
    const char *row = op_info[kind].attributes;
    while (attr_row_next(&row, a))
        if ((size_t)a->n_name == n_name && memcmp(a->name, name, n_name) == 0) return true;
    return false;
}

/* --- names --- */

struct name {
    const char *text;
    struct value *value;
};
struct names {
    size_t n, room;
    long counter;
    struct name *slot;
};

static struct name *names_probe(const struct names *t, const char *name) {
    size_t i = hash_bytes(name, strlen(name), 0) & (t->room - 1);
    while (t->slot[i].text && strcmp(t->slot[i].text, name) != 0)
        i = (i + 1) & (t->room - 1);
    return &t->slot[i];
}

static bool names_take(struct graph *g, const char *name, struct value *v) {
    struct names *t = g->names;
    if (t->n * 2 >= t->room) {
        struct names bigger = {t->n, t->room ? t->room * 2 : 64, t->counter, NULL};
        bigger.slot = NEW_ARRAY(g->arena, struct name, bigger.room);
        for (size_t i = 0; i < t->room; i++)
            if (t->slot[i].text) *names_probe(&bigger, t->slot[i].text) = t->slot[i];
        *t = bigger;
    }
    struct name *slot = names_probe(t, name);
    if (slot->text) return false;
    *slot = (struct name){name, v};
    t->n++;
    return true;
}

struct value *graph_value(const struct graph *g, const char *name) {
    if (g->names->room == 0) return NULL;
    struct value *v = names_probe(g->names, name)->value;
    return v && strcmp(v->name, name) == 0 ? v : NULL;
}

void value_rename(struct graph *g, struct value *v, const char *name) {
    if (v->name && strcmp(v->name, name) == 0) return;
    const char *mine = arena_text(g->arena, "%s", *name ? name : "v");
    const char *stem = mine;
    while (!names_take(g, mine, v))
        mine = arena_text(g->arena, "%s.%ld", stem, ++g->names->counter);
    v->name = mine;
}

/* --- graphs, inputs, outputs --- */

struct graph *graph_new(struct arena *arena, const char *name) {
    struct graph *g = NEW(arena, struct graph);
    g->name = arena_text(arena, "%s", name);
    g->arena = arena;
    g->dims = dim_table_open(arena);
    g->names = NEW(arena, struct names);
    return g;
}

struct graph *graph_region(struct op *op, const char *name) {
    struct graph *parent = op->graph, *g = NEW(parent->arena, struct graph);
    g->name = arena_text(parent->arena, "%s", name);
    g->arena = parent->arena;
    g->dims = parent->dims;
    g->parent = parent;
    g->names = NEW(parent->arena, struct names);
    struct graph **regions = NEW_ARRAY(parent->arena, struct graph *, op->n_regions + 1);
    for (int i = 0; i < op->n_regions; i++)
        regions[i] = op->regions[i];
    regions[op->n_regions++] = g;
    op->regions = regions;
    return g;
}

void *graph_grow(struct arena *arena, void *array, int n) {
    void **bigger = NEW_ARRAY(arena, void *, n + 1);
    if (n > 0) memcpy(bigger, array, (size_t)n * sizeof *bigger);
    return bigger;
}

struct value *graph_input(struct graph *g, const char *name, enum yj_dtype dtype, int rank, const dim *shape) {
    struct value *v = NEW(g->arena, struct value);
    v->type.dtype = dtype;
    v->type.rank = rank;
    for (int i = 0; i < rank && i < GRAPH_MAX_RANK; i++)
        v->type.shape[i] = shape[i];
    value_rename(g, v, name);
    v->index = g->n_in;
    g->in = graph_grow(g->arena, g->in, g->n_in);
    g->in[g->n_in++] = v;
    return v;
}

void graph_output(struct graph *g, struct value *v, const char *name) {
    g->out = graph_grow(g->arena, g->out, g->n_out);
    g->out_names = graph_grow(g->arena, g->out_names, g->n_out);
    g->out_names[g->n_out] = name ? arena_text(g->arena, "%s", name) : v->name;
    g->out[g->n_out++] = v;
}

void graph_state(struct graph *g, struct value *in, struct value *out) {
    struct state *states = NEW_ARRAY(g->arena, struct state, g->n_states + 1);
    for (int i = 0; i < g->n_states; i++)
        states[i] = g->states[i];
    states[g->n_states++] = (struct state){in, out};
    g->states = states;
}

dim graph_dim(struct graph *g, const char *name, int64_t low, int64_t high) {
    return dim_symbol(g->dims, name, low, high);
}

struct graph *graph_root(const struct graph *g) {
    while (g->parent)
        g = g->parent;
    return (struct graph *)g;
}

int graph_ranks(const struct graph *g) {
    const struct mesh *m = &graph_root(g)->mesh;
    int n = 1;
    for (int i = 0; i < m->n; i++)
        n *= m->size[i];
    return n;
}

int mesh_size(const struct graph *g, const char *axis) {
    const struct mesh *m = &graph_root(g)->mesh;
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->name[i], axis) == 0) return m->size[i];
    return 0;
}

/* --- attributes --- */

const struct attr *op_attr(const struct op *op, const char *name) {
    for (const struct attr *a = op->attrs; a; a = a->next)
        if (strcmp(a->name, name) == 0) return a;
    return NULL;
}

int64_t op_int(const struct op *op, const char *name, int64_t otherwise) {
    const struct attr *a = op_attr(op, name);
    return a && a->kind == ATTR_INT ? a->ints[0] : otherwise;
}

const int64_t *op_ints(const struct op *op, const char *name, int *n) {
    const struct attr *a = op_attr(op, name);
    bool is = a && a->kind == ATTR_INTS;
    *n = is ? a->n : 0;
    return is ? a->ints : NULL;
}

const dim *op_dims(const struct op *op, const char *name, int *n) {
    const struct attr *a = op_attr(op, name);
    bool is = a && (a->kind == ATTR_DIMS || a->kind == ATTR_DIM);
    *n = is ? a->n : 0;
    return is ? a->dims : NULL;
}

double op_float(const struct op *op, const char *name, double otherwise) {
    const struct attr *a = op_attr(op, name);
    return a && a->kind == ATTR_FLOAT ? a->number : otherwise;
}

const char *op_text(const struct op *op, const char *name) {
    const struct attr *a = op_attr(op, name);
    return a && a->kind == ATTR_TEXT ? a->text : NULL;
}

void op_set_attr(struct op *op, struct attr *attr) {
    struct attr **p = &op->attrs;
    while (*p && strcmp((*p)->name, attr->name) != 0)
        p = &(*p)->next;
    attr->next = *p ? (*p)->next : NULL;
    *p = attr;
}

const char *op_where(const struct op *op) {
    struct text t = {0};
    text_add(&t, "%s", (unsigned)op->kind < OP_COUNT ? op_info[op->kind].name : "?");
    if (op->n_out > 0 && op->out[0] && op->out[0]->name) text_add(&t, " %%%s", op->out[0]->name);
    const struct graph *root = graph_root(op->graph);
    for (int i = 0; i < op->n_origin && i < 4; i++) {
        int n = op->origin[i];
        text_add(&t, "%s%d", i ? ", " : " (node ", n);
        if (n >= 0 && n < root->n_nodes && root->node_names[n]) text_add(&t, " %s", root->node_names[n]);
    }
    if (op->n_origin > 0) text_add(&t, op->n_origin > 4 ? ", ..)" : ")");
    const char *text = arena_text(op->graph->arena, "%s", t.failed || !t.data ? "an op" : t.data);
    text_free(&t);
    return text;
}

/* --- types --- */

dim type_elements(struct dim_table *t, const struct type *type) {
    dim n = dim_const(t, 1);
    for (int i = 0; i < type->rank; i++)
        n = dim_mul(t, n, type->shape[i]);
    return n;
}

bool type_same(const struct type *a, const struct type *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

bool type_constant(const struct type *type, int64_t *shape) {
    for (int i = 0; i < type->rank; i++) {
        int64_t n;
        if (!dim_is_const(type->shape[i], &n)) return false;
        if (shape) shape[i] = n;
    }
    return true;
}

void type_print(struct text *out, const struct type *type) {
    text_add(out, "%s [", yj_dtype_name(type->dtype));
    for (int i = 0; i < type->rank; i++) {
        if (i) text_add(out, ", ");
        dim_print(out, type->shape[i]);
    }
    text_add(out, "]");
}

const char *type_text(struct arena *arena, const struct type *type) {
    struct text t = {0};
    type_print(&t, type);
    const char *text = arena_text(arena, "%s", t.failed || !t.data ? "a type" : t.data);
    text_free(&t);
    return text;
}

/* --- change --- */

void op_insert(struct graph *g, struct op *op, struct op *at) {
    op->graph = g;
    op->next = at;
    op->prev = at ? at->prev : g->last;
    *(op->prev ? &op->prev->next : &g->first) = op;
    *(at ? &at->prev : &g->last) = op;
}

static void op_unlink(struct op *op) {
    struct graph *g = op->graph;
    *(op->prev ? &op->prev->next : &g->first) = op->next;
    *(op->next ? &op->next->prev : &g->last) = op->prev;
    op->prev = op->next = NULL;
}

void op_remove(struct op *op) {
    op_unlink(op);
}

void op_move_before(struct op *op, struct op *at) {
    if (op == at) return;
    struct graph *g = op->graph;
    op_unlink(op);
    op_insert(g, op, at);
}

void value_replace(struct graph *g, struct value *from, struct value *to) {
    for (struct op *op = g->first; op; op = op->next)
        for (int i = 0; i < op->n_in; i++)
            if (op->in[i] == from) op->in[i] = to;
    for (int i = 0; i < g->n_out; i++)
        if (g->out[i] == from) g->out[i] = to;
    for (int i = 0; i < g->n_states; i++)
        if (g->states[i].out == from) g->states[i].out = to;
}

int value_uses(const struct graph *g, const struct value *v) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next)
        for (int i = 0; i < op->n_in; i++)
            n += op->in[i] == v;
    for (int i = 0; i < g->n_out; i++)
        n += g->out[i] == v;
    return n;
}

/* Binds make dims, which are used without an edge. */
static bool binds(const struct op *op) {
    if (op_is(op->kind, 'S') || op_attr(op, "length")) return true;
    for (int i = 0; i < op->n_regions; i++)
        for (const struct op *inner = op->regions[i]->first; inner; inner = inner->next)
            if (binds(inner)) return true;
    return false;
}

void graph_sweep(struct graph *g) {
    int n = graph_number(graph_root(g));
    bool *used = NEW_ARRAY(g->arena, bool, n + 1);
    for (int i = 0; i < g->n_out; i++)
        used[g->out[i]->id] = true;
    for (struct op *op = g->last, *prev; op; op = prev) {
        prev = op->prev;
        bool keep = binds(op);
        for (int i = 0; i < op->n_out; i++)
            keep = keep || used[op->out[i]->id];
        if (!keep) {
            op_remove(op);
            continue;
        }
        for (int i = 0; i < op->n_in; i++)
            used[op->in[i]->id] = true;
    }
    for (struct op *op = g->first; op; op = op->next)
        for (int i = 0; i < op->n_regions; i++)
            graph_sweep(op->regions[i]);
}

static int number(struct graph *g, int n) {
    for (int i = 0; i < g->n_in; i++)
        g->in[i]->id = n++;
    for (struct op *op = g->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++)
            op->out[i]->id = n++;
        for (int i = 0; i < op->n_regions; i++)
            n = number(op->regions[i], n);
    }
    return n;
}

int graph_number(struct graph *g) {
    return number(g, 0);
}

bool value_constant(const struct value *v, const struct data **data) {
    if (!v->op || v->op->kind != OP_constant) return false;
    *data = &v->op->data;
    return true;
}

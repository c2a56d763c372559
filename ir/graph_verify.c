/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of a graph, checked after every pass. First the links, so that nothing after can run astray; then, in
 * order, that every operand is defined before, every type is what inference gives, and every name, dim, mesh axis,
 * state and pending result is used as the form allows.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"

struct check {
    const struct graph *root;
    struct value **table;
    int *waits;
    int n, next;
    struct symbols known;
};

/* --- links --- */

static enum yj_status links(struct check *c, const struct graph *g, int depth);

static enum yj_status op_links(struct check *c, const struct graph *g, const struct op *op, int depth) {
    if ((unsigned)op->kind >= OP_COUNT)
        return report(YJ_ERR_INTERNAL, "graph %s holds an op of number %d", g->name, (int)op->kind);
    if (op->graph != g)
        return report(YJ_ERR_INTERNAL, "%s: it stands in graph %s and says another", op_info[op->kind].name, g->name);
    if (op->n_in < 0 || op->n_out < 0 || op->n_regions < 0 || op->n_origin < 0)
        return report(YJ_ERR_INTERNAL, "%s: a count is negative", op_info[op->kind].name);
    for (int i = 0; i < op->n_out; i++) {
        struct value *v = op->out[i];
        if (!v || !v->name || v->op != op || v->index != i)
            return report(YJ_ERR_INTERNAL, "%s: its result %d does not point back", op_info[op->kind].name, i);
        v->id = c->n++;
    }
    if (op->n_regions && !op_is(op->kind, 'G'))
        return report(YJ_ERR_INTERNAL, "%s: it cannot have a region", op_where(op));
    for (int i = 0; i < op->n_regions; i++) {
        const struct graph *r = op->regions[i];
        if (!r || r->parent != g || r->arena != g->arena || r->dims != g->dims || r->n_states || r->mesh.n)
            return report(YJ_ERR_INTERNAL, "%s: region %d does not belong to it", op_where(op), i);
        TRY(links(c, r, depth + 1));
    }
    return YJ_OK;
}

static enum yj_status links(struct check *c, const struct graph *g, int depth) {
    if (depth > 64) return report(YJ_ERR_INTERNAL, "graph %s: regions are nested too deep, or in a cycle", g->name);
    for (int i = 0; i < g->n_in; i++) {
        struct value *v = g->in[i];
        if (!v || !v->name || v->op || v->index != i)
            return report(YJ_ERR_INTERNAL, "graph %s: input %d is not one", g->name, i);
        v->id = c->n++;
    }
    const struct op *before = NULL;
    for (const struct op *op = g->first; op; before = op, op = op->next) {
        if (op->prev != before) return report(YJ_ERR_INTERNAL, "graph %s: the list of ops is broken", g->name);
        TRY(op_links(c, g, op, depth));
    }
    if (g->last != before) return report(YJ_ERR_INTERNAL, "graph %s: its last op is not the last", g->name);
    return YJ_OK;
}

/* --- values --- */

static enum yj_status bad_value(const struct value *v, const char *what) {
    if (v->op) return report(YJ_ERR_INTERNAL, "%s: %%%s: %s", op_where(v->op), v->name, what);
    return report(YJ_ERR_INTERNAL, "input %%%s: %s", v->name, what);
}

static enum yj_status check_placement(struct check *c, const struct value *v) {
    int rank = v->type.rank;
    unsigned seen = 0;
    bool order = false;
    for (int i = 0; i < rank; i++)
        order = order || v->layout.order[i] != 0;
    for (int i = 0; order && i < rank; i++) {
        int axis = v->layout.order[i];
        if (axis < 0 || axis >= rank || seen >> axis & 1)
            return bad_value(v, "its layout is not a permutation of its axes");
        seen |= 1u << axis;
    }
    for (int i = 0; i < rank; i++) {
        const char *axis = v->shard.axis[i];
        if (!axis) continue;
        if (!mesh_size(c->root, axis)) return bad_value(v, "it is sharded over an axis that the mesh has not");
        for (int j = 0; j < i; j++)
            if (v->shard.axis[j] && strcmp(v->shard.axis[j], axis) == 0)
                return bad_value(v, "two of its axes are sharded over one mesh axis");
    }
    if (v->shard.partial && !mesh_size(c->root, v->shard.partial))
        return bad_value(v, "it is partial over no mesh axis");
    return YJ_OK;
}

struct unknown {
    const struct symbols *known;
    dim first;
};

static void unknown_see(void *user, dim symbol) {
    struct unknown *u = user;
    if (!u->first && !symbols_has(u->known, symbol)) u->first = symbol;
}

static enum yj_status check_dim(struct check *c, dim d, const struct op *op) {
    struct unknown u = {&c->known, NULL};
    if (!d) return report(YJ_ERR_INTERNAL, "%s: a dim is missing", op_where(op));
    if (d->op != DIM_CONST) dim_symbols(d, unknown_see, &u);
    if (!u.first) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s: no input, bind or loop before it gives the dim %s", op_where(op), u.first->name);
}

static enum yj_status define(struct check *c, struct value *v, const struct graph *g) {
    const struct type *t = &v->type;
    if (v->id != c->next) return bad_value(v, "it stands in two places");
    c->table[c->next++] = v;
    if (!yj_dtype_bytes(t->dtype) || t->rank < 0 || t->rank > GRAPH_MAX_RANK) return bad_value(v, "it has no type");
    for (int i = 0; i < t->rank; i++) {
        if (!t->shape[i]) return bad_value(v, "it has no shape");
        if (t->shape[i]->high < 0) return bad_value(v, "a dimension is negative");
    }
    if (graph_value(g, v->name) != v)
        return bad_value(v, "another value has its name, or it was not given by value_rename");
    return check_placement(c, v);
}

/* V is defined by now, in G itself. */
static bool defined(const struct check *c, const struct graph *g, const struct value *v) {
    if (v->id < 0 || v->id >= c->next || c->table[v->id] != v) return false;
    if (v->op) return v->op->graph == g;
    return v->index >= 0 && v->index < g->n_in && g->in[v->index] == v;
}

/* --- ops --- */

static enum yj_status check_operands(struct check *c, const struct graph *g, const struct op *op) {
    for (int i = 0; i < op->n_in; i++) {
        struct value *v = op->in[i];
        if (!v) return report(YJ_ERR_INTERNAL, "%s: operand %d is missing", op_where(op), i);
        if (!defined(c, g, v))
            return report(YJ_ERR_INTERNAL, "%s: operand %d is not defined before it", op_where(op), i);
        bool pending = v->op && op_is(v->op->kind, 'C');
        if (pending && op->kind != OP_wait)
            return report(YJ_ERR_INTERNAL, "%s: operand %d is pending: only wait may use it", op_where(op), i);
        if (!pending && op->kind == OP_wait)
            return report(YJ_ERR_INTERNAL, "%s: it waits for a value that is no collective's", op_where(op));
        if (pending && c->waits[v->id]++)
            return report(YJ_ERR_INTERNAL, "%s: its operand was waited for before", op_where(op));
    }
    return YJ_OK;
}

static enum yj_status check_types(const struct op *op) {
    struct type *types;
    int n;
    TRY(infer_types(op, &types, &n));
    if (n != op->n_out)
        return report(YJ_ERR_INTERNAL, "%s: it has %d results and should have %d", op_where(op), op->n_out, n);
    for (int i = 0; i < n; i++)
        if (!type_same(&types[i], &op->out[i]->type))
            return report(YJ_ERR_INTERNAL, "%s: result %d is %s and should be %s", op_where(op), i,
                          type_text(op->graph->arena, &op->out[i]->type), type_text(op->graph->arena, &types[i]));
    return YJ_OK;
}

static enum yj_status body(struct check *c, const struct graph *g);

/* The index of a loop is known inside of it only. It stands at AT. */
static enum yj_status forget(struct check *c, dim index, int at) {
    if (at >= c->known.n || c->known.list[at] != index) return report(YJ_ERR_INTERNAL, "a symbol is not where it was");
    for (int i = at + 1; i < c->known.n; i++)
        c->known.list[i - 1] = c->known.list[i];
    c->known.n--;
    return YJ_OK;
}

static enum yj_status check_op(struct check *c, const struct graph *g, const struct op *op) {
    int n, n_index, before;
    const dim *symbols = op_dims(op, op->kind == OP_bind ? "symbols" : "length", &n);
    const dim *index = op->kind == OP_loop ? op_dims(op, "index", &n_index) : NULL;
    if (op->kind == OP_bind)
        for (int i = 0; i < n; i++) {
            if (symbols_has(&c->known, symbols[i]))
                return report(YJ_ERR_INPUT, "%s: the dim %s is known before", op_where(op), symbols[i]->name);
            symbols_add(&c->known, symbols[i]);
        }
    before = c->known.n;
    if (index && symbols_has(&c->known, index[0]))
        return report(YJ_ERR_INPUT, "%s: the dim %s is known before", op_where(op), index[0]->name);
    if (index) symbols_add(&c->known, index[0]);
    for (int i = 0; i < op->n_regions; i++)
        TRY(body(c, op->regions[i]));
    if (op->kind == OP_loop && n == 1 && symbols[0]->op == DIM_SYMBOL) symbols_add(&c->known, symbols[0]);
    TRY(check_types(op));
    for (const struct attr *a = op->attrs; a; a = a->next)
        for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++)
            TRY(check_dim(c, a->dims[i], op));
    for (int i = 0; i < op->n_out; i++) {
        for (int a = 0; a < op->out[i]->type.rank; a++)
            TRY(check_dim(c, op->out[i]->type.shape[a], op));
    }
    return index ? forget(c, index[0], before) : YJ_OK;
}

/* Ids were given in the order: inputs, then each op's results, then its regions. */
static enum yj_status body(struct check *c, const struct graph *g) {
    for (int i = 0; i < g->n_in; i++)
        TRY(define(c, g->in[i], g));
    for (const struct op *op = g->first; op; op = op->next) {
        TRY(check_operands(c, g, op));
        for (int i = 0; i < op->n_out; i++)
            TRY(define(c, op->out[i], g));
        TRY(check_op(c, g, op));
    }
    for (int i = 0; i < g->n_out; i++) {
        const struct value *v = g->out[i];
        if (!v || !g->out_names || !g->out_names[i])
            return report(YJ_ERR_INTERNAL, "graph %s: output %d is missing", g->name, i);
        if (!defined(c, g, v)) return report(YJ_ERR_INTERNAL, "graph %s: output %d is not defined in it", g->name, i);
        if (v->op && op_is(v->op->kind, 'C'))
            return report(YJ_ERR_INTERNAL, "graph %s: output %d is pending", g->name, i);
    }
    for (const struct op *op = g->first; op; op = op->next)
        if (op_is(op->kind, 'C') && !c->waits[op->out[0]->id])
            return report(YJ_ERR_INTERNAL, "%s: nobody waits for its result", op_where(op));
    return YJ_OK;
}

/* --- the head --- */

static enum yj_status check_mesh(const struct graph *g) {
    int64_t ranks = 1;
    if (g->mesh.n < 0 || g->mesh.n > (int)COUNT(g->mesh.name))
        return report(YJ_ERR_INTERNAL, "the mesh has %d axes", g->mesh.n);
    for (int i = 0; i < g->mesh.n; i++) {
        if (!g->mesh.name[i] || g->mesh.size[i] < 1) return report(YJ_ERR_INPUT, "axis %d of the mesh is empty", i);
        for (int j = 0; j < i; j++)
            if (strcmp(g->mesh.name[i], g->mesh.name[j]) == 0)
                return report(YJ_ERR_INPUT, "the mesh has two axes '%s'", g->mesh.name[i]);
        ranks *= g->mesh.size[i];
        if (ranks > 1 << 20) return report(YJ_ERR_INPUT, "the mesh has more than %d ranks", 1 << 20);
    }
    return YJ_OK;
}

static enum yj_status check_states(const struct graph *g) {
    for (int i = 0; i < g->n_states; i++) {
        const struct value *in = g->states[i].in, *out = g->states[i].out;
        bool is_in = false, is_out = false;
        for (int j = 0; j < g->n_in; j++)
            is_in = is_in || g->in[j] == in;
        for (int j = 0; j < g->n_out; j++)
            is_out = is_out || g->out[j] == out;
        if (!is_in || !is_out) return report(YJ_ERR_INTERNAL, "state %d does not pair an input with an output", i);
        if (!type_same(&in->type, &out->type))
            return report(YJ_ERR_INPUT, "state %s is %s and becomes %s", in->name, type_text(g->arena, &in->type),
                          type_text(g->arena, &out->type));
        for (int j = 0; j < i; j++)
            if (g->states[j].in == in) return report(YJ_ERR_INTERNAL, "state %s is paired twice", in->name);
    }
    for (int i = 0; i < g->n_out; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(g->out_names[i], g->out_names[j]) == 0)
                return report(YJ_ERR_INPUT, "two outputs are called '%s'", g->out_names[i]);
    return YJ_OK;
}

enum yj_status graph_verify(const struct graph *g) {
    struct check c = {.root = g, .known = {g->arena, 0, NULL}};
    if (g->parent) return report(YJ_ERR_INTERNAL, "graph %s is a region", g->name);
    TRY(check_mesh(g));
    TRY(links(&c, g, 0));
    c.table = NEW_ARRAY(g->arena, struct value *, c.n + 1);
    c.waits = NEW_ARRAY(g->arena, int, c.n + 1);
    for (int i = 0; i < g->n_in; i++)
        for (int a = 0; a < g->in[i]->type.rank && a < GRAPH_MAX_RANK; a++)
            symbols_add(&c.known, g->in[i]->type.shape[a]);
    for (int i = 0; i < g->mesh.n; i++) {
        dim rank = dim_find(g->dims, arena_text(g->arena, "rank.%s", g->mesh.name[i]));
        if (rank) symbols_add(&c.known, rank);
    }
    TRY(body(&c, g));
    return check_states(g);
}

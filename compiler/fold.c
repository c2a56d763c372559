/* SPDX-License-Identifier: Apache-2.0
 *
 * Constant folding by the interpreter. An op is known when all that it needs is known; it becomes a constant when that
 * is small, or not larger than the constants it came from. Broadcasts and iotas are known but never written out by
 * themselves: they stay views until something that shrinks them is folded. What comes out uniform is kept as one
 * broadcast element.
 */
#include "compiler/pass.h"
#include "ir/graph_inside.h"

#define SMALL_BYTES (64 << 10)           /* a result up to this is always worth it */
#define LEAF_BYTES (INT64_C(512) << 20)  /* constants read to fold one op */
#define MIDDLE_BYTES (INT64_C(16) << 20) /* views written out on the way */
#define MAX_DEPTH 16
#define MAX_SMALL 2048 /* of what the importer asks for */

static bool known_data(const struct op *op) {
    return op->kind == OP_constant && (op->data.bytes || op->data.n_bytes == 0) && !op_attr(op, "split");
}

/* Known, but a view that grows: written out only on the way to something else. */
static bool is_deferred(const struct op *op) {
    return op->kind == OP_broadcast || op->kind == OP_iota;
}

static bool attrs_known(const struct op *op) {
    int64_t value;
    for (const struct attr *a = op->attrs; a; a = a->next)
        for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++)
            if (!dim_is_const(a->dims[i], &value)) return false;
    return true;
}

/* Bytes of a value; -1: not constant, or far too large. */
static int64_t bytes_of(const struct value *v) {
    int64_t shape[GRAPH_MAX_RANK], n = (int64_t)yj_dtype_bytes(v->type.dtype);
    if (!type_constant(&v->type, shape)) return -1;
    for (int i = 0; i < v->type.rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n) || n > INT64_C(1) << 40) return -1;
    return n;
}

/* Can OP be evaluated: its operands are constants, or deferred ops of which that is true. Counts what is read and
 * written. */
static bool evaluable(const struct op *op, int depth, int64_t *leaves, int64_t *middle) {
    bool stays = op_is(op->kind, 'C') || op_is(op->kind, 'S') || op->kind == OP_wait || op->kind == OP_if ||
                 op->kind == OP_loop || op->kind == OP_fused || op->kind == OP_pack || op->kind == OP_constant;
    if (stays || depth > MAX_DEPTH || !attrs_known(op)) return false;
    for (int i = 0; i < op->n_out; i++)
        if (bytes_of(op->out[i]) < 0) return false;
    for (int i = 0; i < op->n_in; i++) {
        const struct op *from = op->in[i]->op;
        int64_t bytes = bytes_of(op->in[i]);
        if (!from || bytes < 0) return false;
        if (known_data(from))
            *leaves += bytes;
        else if (is_deferred(from) && evaluable(from, depth + 1, leaves, middle))
            *middle += bytes;
        else
            return false;
    }
    return *leaves <= LEAF_BYTES && *middle <= MIDDLE_BYTES;
}

/* --- evaluation of one op in a graph of its own --- */

struct job {
    const struct op *op;
    struct graph *to;
    struct map values;
};

static void bring(struct job *j, const struct op *op) {
    for (int i = 0; i < op->n_in; i++)
        if (!map_get(&j->values, op->in[i])) bring(j, op->in[i]->op);
    op_copy(j->to, NULL, op, &j->values);
}

static enum yj_status evaluate(const struct op *op, struct tensor *results) {
    struct arena *arena = arena_open();
    if (!arena) return report(YJ_ERR_MEMORY, "no memory to fold");
    struct job j = {op, graph_new(arena, "fold"), {.arena = arena}};
    bring(&j, op);
    for (int i = 0; i < op->n_out; i++)
        graph_output(j.to, map_get(&j.values, op->out[i]), NULL);
    enum yj_status status = graph_eval(j.to, NULL, results, NULL, NULL);
    arena_close(arena);
    return status;
}

/* OP needs nothing but small constants; LEFT ops may still be looked at. */
static bool closed(const struct op *op, int *left) {
    bool pure = op && !op_is(op->kind, 'C') && !op_is(op->kind, 'S') && !op_is(op->kind, 'G') && op->kind != OP_wait;
    if (!pure || --*left < 0 || !attrs_known(op) || (op->kind == OP_constant && !known_data(op))) return false;
    for (int i = 0; i < op->n_out; i++)
        if (bytes_of(op->out[i]) < 0 || bytes_of(op->out[i]) > MAX_SMALL) return false;
    for (int i = 0; i < op->n_in; i++)
        if (!closed(op->in[i]->op, left)) return false;
    return true;
}

bool fold_small(const struct value *v, struct tensor *t) {
    struct tensor results[8];
    int left = 200;
    if (!closed(v->op, &left) || v->op->n_out > (int)COUNT(results) || evaluate(v->op, results) != YJ_OK) return false;
    for (int i = 0; i < v->op->n_out; i++)
        if (i != v->index) tensor_free(&results[i]);
    *t = results[v->index];
    return true;
}

static bool is_uniform(const struct tensor *t) {
    size_t each = yj_dtype_bytes(t->dtype);
    return t->n_bytes > each && memcmp(t->bytes, (const char *)t->bytes + each, t->n_bytes - each) == 0;
}

/* The value of T as a constant, or as a broadcast one. */
static struct value *as_constant(struct builder *b, const struct value *old, const struct tensor *t) {
    bool uniform = is_uniform(t);
    size_t bytes = uniform ? yj_dtype_bytes(t->dtype) : t->n_bytes;
    void *data = arena_new(b->graph->arena, bytes ? bytes : 1);
    if (bytes) memcpy(data, t->bytes, bytes);
    struct value *v = build_constant(b, t->dtype, uniform ? 0 : t->rank, old->type.shape, data, bytes);
    return uniform ? build_broadcast(b, v, t->rank, old->type.shape, NULL) : v;
}

static enum yj_status fold_op(struct graph *g, struct op *op, bool *changed) {
    int64_t leaves = 0, middle = 0, bytes = 0;
    if (op->n_out < 1 || is_deferred(op) || !evaluable(op, 0, &leaves, &middle)) return YJ_OK;
    for (int i = 0; i < op->n_out; i++)
        bytes += bytes_of(op->out[i]);
    if (bytes > SMALL_BYTES && bytes > leaves) return YJ_OK;
    struct tensor *results = NEW_ARRAY(g->arena, struct tensor, op->n_out);
    enum yj_status status = evaluate(op, results);
    if (status == YJ_ERR_MEMORY) return status;
    if (status != YJ_OK) return YJ_OK; /* a fault: it belongs to the run, if it ever gets there */
    struct builder b = {g, op, op->n_origin, op->origin};
    for (int i = 0; i < op->n_out; i++) {
        struct value *v = as_constant(&b, op->out[i], &results[i]);
        if (!v)
            status = YJ_ERR_INTERNAL;
        else
            value_replace(g, op->out[i], v);
        tensor_free(&results[i]);
    }
    *changed = true;
    return status;
}

/* An `if` whose predicate is known is its region. */
static bool take_branch(struct graph *g, struct op *op) {
    uint64_t yes;
    if (op->kind != OP_if || !value_uniform(op->in[0], &yes)) return false;
    struct value **results = NEW_ARRAY(g->arena, struct value *, op->n_out + 1);
    region_inline(op, op->regions[yes ? 0 : 1], 1, results);
    for (int i = 0; i < op->n_out; i++)
        value_replace(g, op->out[i], results[i]);
    return true;
}

static enum yj_status fold_graph(struct graph *g, bool *changed) {
    for (struct op *op = g->first, *next; op; op = next) {
        struct op *before = op->prev;
        next = op->next;
        if (flow_tidy(op)) *changed = true;
        if (take_branch(g, op) || flow_skip(op)) {
            *changed = true;
            op_remove(op);
            next = before ? before->next : g->first; /* what was inlined is walked too */
            continue;
        }
        for (int i = 0; i < op->n_regions; i++)
            TRY(fold_graph(op->regions[i], changed));
        TRY(fold_op(g, op, changed));
    }
    return YJ_OK;
}

enum yj_status pass_fold(struct graph *g, const struct pass_options *o) {
    bool changed = false;
    TRY(fold_graph(g, &changed));
    graph_sweep(g);
    return YJ_OK;
}

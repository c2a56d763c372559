/* SPDX-License-Identifier: Apache-2.0
 *
 * Collectives along inner dimensions, said with transposes and the outermost one:
 *   all_gather d      = transpose back . all_gather 0 . bring d to the front
 *   reduce_scatter d  = transpose back . reduce_scatter 0 . bring d to the front
 *   all_to_all s -> c = merge R into c . all_to_all 0 . bring R to the front . cut s into R parts
 */
#include "compiler/overlap.h"

static bool outermost(const struct value *v, int64_t d) {
    for (int64_t i = 0; i < d; i++)
        if (!dim_is(v->type.shape[i], 1)) return false;
    return true;
}

/* X with axis FROM moved to position TO, the others in their order. */
static struct value *move_axis(struct builder *b, struct value *x, int from, int to) {
    int64_t permutation[GRAPH_MAX_RANK];
    if (!x || from == to) return x;
    int n = 0;
    for (int i = 0; i < x->type.rank; i++) {
        if (n == to) permutation[n++] = from;
        if (i != from) permutation[n++] = i;
    }
    if (n == to) permutation[n] = from;
    return build_transpose(b, x, permutation);
}

static struct attr *collective_attrs(struct graph *g, const struct op *op) {
    const char *kind = op_text(op, "kind");
    struct attr *a = attr_text(g, "axis", op_text(op, "axis"), NULL);
    return kind ? attr_text(g, "kind", kind, a) : a;
}

static struct value *start_and_wait(struct builder *b, enum op_kind kind, struct value *x, struct attr *attrs) {
    struct op *start, *wait;
    if (!x || build(b, kind, 1, &x, attrs, &start) != YJ_OK ||
        build(b, OP_wait, 1, &start->out[0], NULL, &wait) != YJ_OK)
        return NULL;
    return wait->out[0];
}

static struct value *along_dim(struct builder *b, struct op *op) {
    struct graph *g = b->graph;
    int d = (int)op_int(op, "dim", 0);
    struct value *x = move_axis(b, op->in[0], d, 0);
    x = start_and_wait(b, op->kind, x, attr_int(g, "dim", 0, collective_attrs(g, op)));
    return move_axis(b, x, 0, d);
}

/* [.., S, ..] is [.., R, S/R, ..]; part r goes to rank r, and what comes from rank r stands at r of the concatenated
 * axis. */
static struct value *exchange(struct builder *b, struct op *op, int ranks) {
    struct graph *g = b->graph;
    struct value *x = op->in[0];
    int split = (int)op_int(op, "split", 0), concat = (int)op_int(op, "concat", 0), rank = x->type.rank;
    if (rank == GRAPH_MAX_RANK) {
        report(YJ_ERR_UNSUPPORTED, "%s: an exchange of %d dimensions", op_where(op), rank);
        return NULL;
    }
    dim shape[GRAPH_MAX_RANK];
    for (int i = 0, n = 0; i < rank; i++) {
        if (i == split) shape[n++] = dim_const(g->dims, ranks);
        shape[n++] = i == split ? dim_div(g->dims, x->type.shape[i], dim_const(g->dims, ranks)) : x->type.shape[i];
    }
    x = move_axis(b, build_reshape(b, x, rank + 1, shape), split, 0);
    struct attr *attrs = attr_int(g, "split", 0, attr_int(g, "concat", 0, collective_attrs(g, op)));
    x = move_axis(b, start_and_wait(b, OP_all_to_all, x, attrs), 0, concat);
    return build_reshape(b, x, rank, op->out[0]->type.shape);
}

static enum yj_status rewrite(struct graph *g, struct op *op) {
    struct op *wait = NULL;
    for (struct op *user = op->next; user && !wait; user = user->next)
        if (user->kind == OP_wait && user->in[0] == op->out[0]) wait = user;
    if (!wait) return report(YJ_ERR_INTERNAL, "%s: nobody waits for it", op_where(op));
    struct builder b = {g, wait, op->n_origin, op->origin};
    const char *axis = op_text(op, "axis");
    struct value *v = op->kind == OP_all_to_all ? exchange(&b, op, mesh_size(g, axis)) : along_dim(&b, op);
    if (!v) return YJ_ERR_INTERNAL; /* the builder has reported */
    v->shard = wait->out[0]->shard;
    value_replace(g, wait->out[0], v);
    op_remove(wait);
    op_remove(op);
    return YJ_OK;
}

enum yj_status collectives_outermost(struct graph *g) {
    for (struct op *op = g->first, *next; op; op = next) {
        next = op->next;
        for (int r = 0; r < op->n_regions; r++)
            TRY(collectives_outermost(op->regions[r]));
        bool along = op->kind == OP_all_gather || op->kind == OP_reduce_scatter;
        bool inner = along && !outermost(op->in[0], op_int(op, "dim", 0));
        if (op->kind == OP_all_to_all) inner = op_int(op, "split", 0) || op_int(op, "concat", 0);
        if (!inner) continue;
        while (next && next->kind == OP_wait && next->in[0] == op->out[0])
            next = next->next; /* it is removed with its start */
        TRY(rewrite(g, op));
    }
    return YJ_OK;
}

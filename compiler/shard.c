/* SPDX-License-Identifier: Apache-2.0
 *
 * The shard pass: chooses for every op of an unannotated graph how the ranks of a mesh axis share it, by propagation and
 * cost. A first walk gives each op the strategy that is cheapest given its operands; then every op is tried with each of
 * its other strategies, all else equal, until nothing improves. The cost of a choice is the time of the ops' shares (the
 * larger of arithmetic and memory) plus the time of the collectives that its changes of state need; so a weight is split
 * where that saves more reading than the collective costs, and what cannot be shared is replicated.
 */
#include "compiler/shard.h"
#include "compiler/cost.h"
#include <stdlib.h>

#define NOMINAL_DIM 128 /* what an unbounded dim counts as when costs are compared */

struct use { int op; int operand; }; /* op -1: an output of the graph, number OPERAND */

struct node {
    struct op *op;
    struct strategies all;
    int chosen;
};

struct search {
    struct graph *g;
    int ranks, n_nodes, n_values;
    struct node *nodes;
    int *producer;               /* by value id: number of the op, or -1 - input number */
    struct use **uses; int *n_uses; /* by value id */
    double *bytes;               /* by value id, nominal */
    signed char *input, *output; /* states at the border */
    int *state_of_input, *state_of_output; /* the other end of a state pair, or -1 */
};

static bool nominal_bind(void *user, dim symbol, int64_t *value) {
    *value = symbol->high <= NOMINAL_DIM ? symbol->high : max64(symbol->low, NOMINAL_DIM);
    return true;
}

static double nominal_elements(struct dim_table *t, const struct type *type) {
    double n = 1;
    for (int d = 0; d < type->rank; d++) {
        int64_t value = 1;
        if (dim_eval(type->shape[d], nominal_bind, NULL, &value) == YJ_OK) n *= (double)max64(value, 1);
    }
    return n;
}

static double value_bytes(struct search *s, const struct value *v) {
    return nominal_elements(s->g->dims, &v->type) * (double)yj_dtype_bytes(v->type.dtype);
}

/* Seconds to turn a value of BYTES from one state into another. */
static double conversion(const struct search *s, int from, int to, double bytes) {
    if (from == to) return 0;
    if (to == SHARD_PARTIAL) return 1e9;
    if (from == SHARD_REPLICATED) return cost_memory_seconds(2 * bytes / s->ranks) + 1e-7;
    enum cost_collective kind = to == SHARD_REPLICATED ? (from == SHARD_PARTIAL ? COST_ALL_REDUCE : COST_ALL_GATHER)
                                : from == SHARD_PARTIAL ? COST_REDUCE_SCATTER
                                                        : COST_ALL_TO_ALL;
    return cost_collective_seconds(kind, s->ranks, bytes);
}

/* Multiply-adds for each element of the result. */
static double depth_of(const struct search *s, const struct op *op) {
    struct type summed = {.dtype = YJ_F32};
    int n;
    if (op->kind == OP_dot) {
        const int64_t *contract = op_ints(op, "contract_a", &n);
        for (int i = 0; i < n; i++) summed.shape[summed.rank++] = op->in[0]->type.shape[contract[i]];
    } else if (op->kind == OP_convolution) {
        for (int d = 1; d < op->in[1]->type.rank; d++) summed.shape[summed.rank++] = op->in[1]->type.shape[d];
    }
    return nominal_elements(s->g->dims, &summed);
}

/* The time of one rank's share of OP: the larger of arithmetic and memory traffic. Views are free. */
static double own_seconds(const struct search *s, const struct node *n, const struct strategy *choice) {
    const struct op *op = n->op;
    if (op_is(op->kind, 'V') || op->kind == OP_constant || op->n_out == 0) return 0;
    double share = 1, bytes = 0;
    for (int i = 0; i < op->n_out && i < 4; i++)
        if (choice->out[i] != SHARD_REPLICATED) share = 1.0 / s->ranks;
    for (int i = 0; i < op->n_in; i++) {
        double all = op->kind == OP_gather && i == 0 ? s->bytes[op->out[0]->id] : s->bytes[op->in[i]->id];
        bytes += shard_in(op, choice, i) == SHARD_REPLICATED ? all : all / s->ranks;
    }
    for (int i = 0; i < op->n_out; i++)
        bytes += s->bytes[op->out[i]->id] / (i < 4 && choice->out[i] >= 0 ? s->ranks : 1);
    double flops = 2 * depth_of(s, op) * nominal_elements(s->g->dims, &op->out[0]->type);
    double arithmetic = cost_flops_seconds(flops * share), memory = cost_memory_seconds(bytes);
    return arithmetic > memory ? arithmetic : memory;
}

static int produced_state(const struct search *s, int value) {
    int p = s->producer[value];
    if (p < 0) return s->input[-1 - p];
    const struct node *n = &s->nodes[p];
    for (int i = 0; i < n->op->n_out && i < 4; i++)
        if (n->op->out[i]->id == value) return n->all.row[n->chosen].out[i];
    return SHARD_REPLICATED;
}

static int wanted_state(const struct search *s, struct use u) {
    if (u.op < 0) return s->output[u.operand];
    const struct node *n = &s->nodes[u.op];
    return shard_in(n->op, &n->all.row[n->chosen], u.operand);
}

/* The conversions of one value: each state wanted of it is made once. */
static double value_seconds(const struct search *s, int value) {
    int from = produced_state(s, value);
    uint32_t seen = 0;
    double total = 0;
    for (int i = 0; i < s->n_uses[value]; i++) {
        int to = wanted_state(s, s->uses[value][i]);
        if (seen >> (to + 2) & 1) continue;
        seen |= 1u << (to + 2);
        total += conversion(s, from, to, s->bytes[value]);
    }
    return total;
}

/* What changes with the choice of node I: its own time and the conversions of its operands and results. */
static double around(const struct search *s, int i) {
    const struct node *n = &s->nodes[i];
    double total = own_seconds(s, n, &n->all.row[n->chosen]);
    for (int k = 0; k < n->op->n_in; k++) {
        bool twice = false;
        for (int j = 0; j < k; j++) twice |= n->op->in[j] == n->op->in[k];
        if (!twice) total += value_seconds(s, n->op->in[k]->id);
    }
    for (int k = 0; k < n->op->n_out; k++) total += value_seconds(s, n->op->out[k]->id);
    return total;
}

/* First walk: the operands' states are known, the uses are not yet. A pending sum will be joined: half of that is counted. */
static void first_walk(struct search *s) {
    for (int i = 0; i < s->n_nodes; i++) {
        struct node *n = &s->nodes[i];
        double best = 0;
        for (int c = 0; c < n->all.n; c++) {
            const struct strategy *row = &n->all.row[c];
            double cost = own_seconds(s, n, row);
            for (int k = 0; k < n->op->n_in; k++)
                cost += conversion(s, produced_state(s, n->op->in[k]->id), shard_in(n->op, row, k), s->bytes[n->op->in[k]->id]);
            for (int k = 0; k < n->op->n_out && k < 4; k++)
                if (row->out[k] == SHARD_PARTIAL)
                    cost += 0.5 * conversion(s, SHARD_PARTIAL, SHARD_REPLICATED, s->bytes[n->op->out[k]->id]);
            if (c == 0 || cost < best - 1e-12) best = cost, n->chosen = c;
        }
    }
}

static bool improve_node(struct search *s, int i) {
    struct node *n = &s->nodes[i];
    int old = n->chosen, best = old;
    double cost = around(s, i);
    for (int c = 0; c < n->all.n; c++) {
        n->chosen = c;
        double other = around(s, i);
        if (other < cost - 1e-10) cost = other, best = c;
    }
    n->chosen = best;
    return best != old;
}

/* A state input and its output change together. */
static bool improve_state(struct search *s, int input) {
    int output = s->state_of_input[input], old = s->input[input], best = old;
    if (output < 0) return false;
    int vi = s->g->in[input]->id, vo = s->g->out[output]->id;
    const struct type *type = &s->g->in[input]->type;
    double cost = value_seconds(s, vi) + value_seconds(s, vo);
    for (int d = SHARD_REPLICATED; d < type->rank; d++) {
        if (d >= 0 && (type->shape[d]->low <= 0 || type->shape[d]->divisor % s->ranks)) continue;
        s->input[input] = s->output[output] = (signed char)d;
        double other = value_seconds(s, vi) + value_seconds(s, vo);
        if (other < cost - 1e-10) cost = other, best = d;
    }
    s->input[input] = s->output[output] = (signed char)best;
    return best != old;
}

static double whole_cost(const struct search *s) {
    double total = 0;
    for (int i = 0; i < s->n_nodes; i++) total += own_seconds(s, &s->nodes[i], &s->nodes[i].all.row[s->nodes[i].chosen]);
    for (int v = 0; v < s->n_values; v++) total += value_seconds(s, v);
    return total;
}

static void search_open(struct search *s, struct graph *g, int ranks, struct arena *arena) {
    s->g = g;
    s->ranks = ranks;
    s->n_values = graph_number(g);
    for (struct op *op = g->first; op; op = op->next) s->n_nodes++;
    s->nodes = NEW_ARRAY(arena, struct node, s->n_nodes);
    s->producer = NEW_ARRAY(arena, int, s->n_values);
    s->n_uses = NEW_ARRAY(arena, int, s->n_values);
    s->uses = NEW_ARRAY(arena, struct use *, s->n_values);
    s->bytes = NEW_ARRAY(arena, double, s->n_values);
    s->input = NEW_ARRAY(arena, signed char, g->n_in + 1);
    s->output = NEW_ARRAY(arena, signed char, g->n_out + 1);
    s->state_of_input = NEW_ARRAY(arena, int, g->n_in + 1);
    s->state_of_output = NEW_ARRAY(arena, int, g->n_out + 1);
    memset(s->input, SHARD_REPLICATED, (size_t)g->n_in + 1);
    memset(s->output, SHARD_REPLICATED, (size_t)g->n_out + 1);
    for (int i = 0; i < g->n_in; i++) {
        s->producer[g->in[i]->id] = -1 - i;
        s->bytes[g->in[i]->id] = value_bytes(s, g->in[i]);
        s->state_of_input[i] = -1;
        for (int k = 0; k < g->n_states; k++)
            for (int o = 0; o < g->n_out; o++)
                if (g->states[k].in == g->in[i] && g->states[k].out == g->out[o]) s->state_of_input[i] = o;
    }
    int i = 0;
    for (struct op *op = g->first; op; op = op->next, i++) {
        s->nodes[i].op = op;
        shard_strategies(g->dims, op, ranks, &s->nodes[i].all);
        for (int k = 0; k < op->n_out; k++) {
            s->producer[op->out[k]->id] = i;
            s->bytes[op->out[k]->id] = value_bytes(s, op->out[k]);
        }
    }
    i = 0;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        i = 0;
        for (struct op *op = g->first; op; op = op->next, i++)
            for (int k = 0; k < op->n_in; k++) {
                int v = op->in[k]->id;
                if (pass) s->uses[v][s->n_uses[v]] = (struct use){i, k};
                s->n_uses[v]++;
            }
        for (int o = 0; o < g->n_out; o++) {
            int v = g->out[o]->id;
            if (pass) s->uses[v][s->n_uses[v]] = (struct use){-1, o};
            s->n_uses[v]++;
        }
        for (int v = 0; pass == 0 && v < s->n_values; v++) {
            s->uses[v] = NEW_ARRAY(arena, struct use, s->n_uses[v] + 1);
            s->n_uses[v] = 0;
        }
    }
}

static void search_run(struct search *s) {
    first_walk(s);
    bool better = true;
    for (int round = 0; better && round < 50; round++) {
        better = false;
        for (int i = 0; i < s->g->n_in; i++) better |= improve_state(s, i);
        for (int i = s->n_nodes - 1; i >= 0; i--) better |= improve_node(s, i);
        for (int i = 0; i < s->n_nodes; i++) better |= improve_node(s, i);
    }
}

/* If not sharing at all is cheaper, nothing is shared. */
static void keep_if_worth(struct search *s) {
    double shared = whole_cost(s);
    int *old = malloc(sizeof(int) * (size_t)(s->n_nodes + 1));
    if (!old) return;
    signed char in[256], out[256];
    size_t n_in = (size_t)min64(s->g->n_in, 256), n_out = (size_t)min64(s->g->n_out, 256);
    memcpy(in, s->input, n_in);
    memcpy(out, s->output, n_out);
    for (int i = 0; i < s->n_nodes; i++) old[i] = s->nodes[i].chosen, s->nodes[i].chosen = 0;
    memset(s->input, SHARD_REPLICATED, (size_t)s->g->n_in);
    memset(s->output, SHARD_REPLICATED, (size_t)s->g->n_out);
    if (whole_cost(s) > shared && s->g->n_in <= 256 && s->g->n_out <= 256) {
        for (int i = 0; i < s->n_nodes; i++) s->nodes[i].chosen = old[i];
        memcpy(s->input, in, n_in);
        memcpy(s->output, out, n_out);
    }
    free(old);
}

static enum yj_status shard_axis(struct graph *g, int axis) {
    struct arena *arena = arena_open();
    if (!arena) return report(YJ_ERR_MEMORY, "shard: out of memory");
    struct search s = {0};
    search_open(&s, g, g->mesh.size[axis], arena);
    search_run(&s);
    keep_if_worth(&s);
    struct shard_plan plan = {g->mesh.name[axis], axis, s.ranks, s.input, s.output, NEW_ARRAY(arena, struct strategy, s.n_nodes + 1)};
    for (int i = 0; i < s.n_nodes; i++) plan.strategy[i] = s.nodes[i].all.row[s.nodes[i].chosen];
    enum yj_status status = shard_apply(g, &plan);
    arena_close(arena);
    return status;
}

enum yj_status shard_graph(struct graph *g) {
    for (int axis = 0; axis < g->mesh.n; axis++)
        if (g->mesh.size[axis] > 1) TRY(shard_axis(g, axis));
    return YJ_OK;
}

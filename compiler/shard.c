/* SPDX-License-Identifier: Apache-2.0
 *
 * The shard pass: chooses for every op of an unannotated graph how the ranks of a mesh axis share it, by propagation
 * and cost. At first nothing is shared. Then every product, convolution and lookup is tried with each of its other
 * strategies: the choice spreads to its users and to cheap producers as long as no change of state is needed (through
 * the heads of an attention, into the cache, up to the next product), and stays if the whole graph becomes cheaper. The
 * cost is the time of all ops' shares (the larger of arithmetic and memory) plus the collectives where states change;
 * so a weight is split where that saves more than the collective costs, and what cannot be shared is replicated.
 */
#include "compiler/shard.h"
#include "compiler/cost.h"

#define NOMINAL_DIM 16 /* what an unbounded dim counts as when costs are compared: between one token and a prompt */

#define SYNC_SECONDS 1e-5 /* a collective also waits for the slowest rank */
#define FUSED_SHARE 0.1   /* of the memory traffic of ops that fusion will join to others */

struct use {
    int op;
    int operand;
}; /* op -1: an output of the graph, number OPERAND */

struct node {
    struct op *op;
    struct strategies all;
    double seconds[SHARD_MAX_STRATEGIES]; /* of one rank's share of the op itself */
    int chosen;
};

struct search {
    struct graph *g;
    int ranks, n_nodes, n_values;
    struct node *nodes;
    int *producer; /* by value id: number of the op, or -1 - input number */
    struct use **uses;
    int *n_uses;                           /* by value id */
    double *bytes;                         /* by value id, nominal */
    signed char *input, *output;           /* states at the border */
    int *state_of_input, *state_of_output; /* the other end of a state pair, or -1 */
    int move, depth;                       /* number of the move that is tried */
    int *moved, *moved_input;              /* by op and by input: the last move that changed it */
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
    enum cost_collective kind = to == SHARD_REPLICATED  ? (from == SHARD_PARTIAL ? COST_ALL_REDUCE : COST_ALL_GATHER)
                                : from == SHARD_PARTIAL ? COST_REDUCE_SCATTER
                                                        : COST_ALL_TO_ALL;
    return SYNC_SECONDS + cost_collective_seconds(kind, s->ranks, bytes);
}

/* Multiply-adds for each element of the result. */
static double depth_of(const struct search *s, const struct op *op) {
    struct type summed = {.dtype = YJ_F32};
    int n;
    if (op->kind == OP_dot) {
        const int64_t *contract = op_ints(op, "contract_a", &n);
        for (int i = 0; i < n; i++)
            summed.shape[summed.rank++] = op->in[0]->type.shape[contract[i]];
    } else if (op->kind == OP_convolution) {
        for (int d = 1; d < op->in[1]->type.rank; d++)
            summed.shape[summed.rank++] = op->in[1]->type.shape[d];
    }
    return nominal_elements(s->g->dims, &summed);
}

static bool takes_time(const struct op *op) {
    return op->kind == OP_dot || op->kind == OP_convolution;
}

/* The time of one rank's share of OP: the larger of arithmetic and memory traffic. Views are free. */
static double own_seconds(const struct search *s, const struct op *op, const struct strategy *choice) {
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
    if (!takes_time(op)) bytes *= FUSED_SHARE;
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

/* ---- moves: an op takes another strategy, and what can follow without a change of state follows */

/* The way to compute N that takes STATE as its operand AT and has the fewest other changes of state; -1: there is none.
 */
static int strategy_taking(const struct search *s, const struct node *n, int at, int state) {
    int best = -1;
    double least = 0;
    for (int c = 0; c < n->all.n; c++) {
        const struct strategy *row = &n->all.row[c];
        if (shard_in(n->op, row, at) != state) continue;
        double cost = 0;
        for (int k = 0; k < n->op->n_in; k++)
            if (k != at)
                cost += conversion(s, produced_state(s, n->op->in[k]->id), shard_in(n->op, row, k),
                                   s->bytes[n->op->in[k]->id]);
        if (row->out[0] == SHARD_PARTIAL)
            cost += conversion(s, SHARD_PARTIAL, SHARD_REPLICATED, s->bytes[n->op->out[0]->id]);
        if (best < 0 || cost < least) best = c, least = cost;
    }
    return best;
}

static int strategy_giving(const struct node *n, int value, int state) {
    for (int c = 0; c < n->all.n; c++)
        for (int i = 0; i < n->op->n_out && i < 4; i++)
            if (n->op->out[i]->id == value && n->all.row[c].out[i] == state) return c;
    return -1;
}

static void follow_value(struct search *s, int value);

static void choose(struct search *s, int i, int strategy, bool follow);

/* Producers that cost nothing give what is wanted of them. */
static void lead_operands(struct search *s, int i) {
    const struct node *n = &s->nodes[i];
    for (int k = 0; k < n->op->n_in; k++) {
        int value = n->op->in[k]->id, want = shard_in(n->op, &n->all.row[n->chosen], k), p = s->producer[value];
        if (produced_state(s, value) == want || want == SHARD_PARTIAL) continue;
        if (p < 0) {
            int input = -1 - p, output = s->state_of_input[input];
            if (output < 0 || want < 0 || s->moved_input[input] == s->move) continue;
            s->moved_input[input] = s->move;
            s->input[input] = s->output[output] = (signed char)want;
            follow_value(s, value);
        } else if (!takes_time(s->nodes[p].op) && s->moved[p] != s->move) {
            int c = strategy_giving(&s->nodes[p], value, want);
            if (c >= 0) choose(s, p, c, false);
        }
    }
}

/* The users of a split value take it as it is, where they can. A pending sum ends here: it is joined where it is made.
 */
static void follow_value(struct search *s, int value) {
    int state = produced_state(s, value);
    if (state == SHARD_PARTIAL) return;
    for (int u = 0; u < s->n_uses[value]; u++) {
        struct use use = s->uses[value][u];
        if (use.op < 0) {
            int input = s->state_of_output[use.operand];
            if (input < 0 || s->moved_input[input] == s->move) continue;
            s->moved_input[input] = s->move;
            s->input[input] = s->output[use.operand] = (signed char)state;
            follow_value(s, s->g->in[input]->id);
        } else if (s->moved[use.op] != s->move && wanted_state(s, use) != state) {
            int c = strategy_taking(s, &s->nodes[use.op], use.operand, state);
            if (c >= 0) choose(s, use.op, c, true);
        }
    }
}

static void choose(struct search *s, int i, int strategy, bool follow) {
    if (s->depth > 2000) return;
    s->depth++;
    s->moved[i] = s->move;
    s->nodes[i].chosen = strategy;
    lead_operands(s, i);
    for (int k = 0; k < s->nodes[i].op->n_out && follow; k++)
        follow_value(s, s->nodes[i].op->out[k]->id);
    s->depth--;
}

static double whole_cost(const struct search *s) {
    double total = 0;
    for (int i = 0; i < s->n_nodes; i++)
        total += s->nodes[i].seconds[s->nodes[i].chosen];
    for (int v = 0; v < s->n_values; v++)
        total += value_seconds(s, v);
    return total;
}

static void search_open(struct search *s, struct graph *g, int ranks, struct arena *arena) {
    s->g = g;
    s->ranks = ranks;
    s->n_values = graph_number(g);
    for (struct op *op = g->first; op; op = op->next)
        s->n_nodes++;
    s->nodes = NEW_ARRAY(arena, struct node, s->n_nodes);
    s->producer = NEW_ARRAY(arena, int, s->n_values);
    s->n_uses = NEW_ARRAY(arena, int, s->n_values);
    s->uses = NEW_ARRAY(arena, struct use *, s->n_values);
    s->bytes = NEW_ARRAY(arena, double, s->n_values);
    s->input = NEW_ARRAY(arena, signed char, g->n_in + 1);
    s->output = NEW_ARRAY(arena, signed char, g->n_out + 1);
    s->state_of_input = NEW_ARRAY(arena, int, g->n_in + 1);
    s->state_of_output = NEW_ARRAY(arena, int, g->n_out + 1);
    s->moved = NEW_ARRAY(arena, int, s->n_nodes + 1);
    s->moved_input = NEW_ARRAY(arena, int, g->n_in + 1);
    memset(s->input, SHARD_REPLICATED, (size_t)g->n_in + 1);
    memset(s->output, SHARD_REPLICATED, (size_t)g->n_out + 1);
    for (int o = 0; o < g->n_out; o++)
        s->state_of_output[o] = -1;
    for (int i = 0; i < g->n_in; i++) {
        s->producer[g->in[i]->id] = -1 - i;
        s->bytes[g->in[i]->id] = value_bytes(s, g->in[i]);
        s->state_of_input[i] = -1;
        for (int k = 0; k < g->n_states; k++)
            for (int o = 0; o < g->n_out; o++)
                if (g->states[k].in == g->in[i] && g->states[k].out == g->out[o])
                    s->state_of_input[i] = o, s->state_of_output[o] = i;
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

/* What a move may change, to take it back. */
struct snapshot {
    int *chosen;
    signed char *input, *output;
};

static struct snapshot snapshot_new(const struct search *s, struct arena *arena) {
    return (struct snapshot){NEW_ARRAY(arena, int, s->n_nodes + 1), NEW_ARRAY(arena, signed char, s->g->n_in + 1),
                             NEW_ARRAY(arena, signed char, s->g->n_out + 1)};
}

static void snapshot_take(const struct search *s, struct snapshot *to) {
    for (int i = 0; i < s->n_nodes; i++)
        to->chosen[i] = s->nodes[i].chosen;
    memcpy(to->input, s->input, (size_t)s->g->n_in);
    memcpy(to->output, s->output, (size_t)s->g->n_out);
}

static void snapshot_restore(struct search *s, const struct snapshot *from) {
    for (int i = 0; i < s->n_nodes; i++)
        s->nodes[i].chosen = from->chosen[i];
    memcpy(s->input, from->input, (size_t)s->g->n_in);
    memcpy(s->output, from->output, (size_t)s->g->n_out);
}

static bool leaves_sum(const struct node *n) {
    return n->op->n_out > 0 && n->all.row[n->chosen].out[0] == SHARD_PARTIAL;
}

/* From nothing shared: every op that takes time is moved to each of its strategies in turn; a move that pays stays. */
static void search_run(struct search *s, struct arena *arena) {
    struct snapshot start = snapshot_new(s, arena), best = snapshot_new(s, arena);
    double cost = whole_cost(s);
    bool better = true;
    for (int round = 0; better && round < 8; round++) {
        better = false;
        for (int i = 0; i < s->n_nodes; i++) {
            bool product = takes_time(s->nodes[i].op), found = false;
            if (!product && !leaves_sum(&s->nodes[i])) continue;
            snapshot_take(s, &start);
            for (int c = 0; c < (product ? s->nodes[i].all.n : 1); c++) { /* others go back to being replicated */
                if (c == start.chosen[i]) continue;
                s->move++;
                choose(s, i, c, true);
                double other = whole_cost(s);
                if (other < cost * (1 - 1e-9)) {
                    cost = other;
                    found = true;
                    snapshot_take(s, &best);
                }
                snapshot_restore(s, &start);
            }
            if (found) snapshot_restore(s, &best);
            better |= found;
        }
    }
}

static enum yj_status shard_axis(struct graph *g, int axis) {
    struct arena *arena = arena_open();
    if (!arena) return report(YJ_ERR_MEMORY, "shard: out of memory");
    struct search s = {0};
    search_open(&s, g, g->mesh.size[axis], arena);
    for (int i = 0; i < s.n_nodes; i++)
        for (int c = 0; c < s.nodes[i].all.n; c++)
            s.nodes[i].seconds[c] = own_seconds(&s, s.nodes[i].op, &s.nodes[i].all.row[c]);
    search_run(&s, arena);
    struct shard_plan plan = {
        g->mesh.name[axis], axis, s.ranks, s.input, s.output, NEW_ARRAY(arena, struct strategy, s.n_nodes + 1)};
    for (int i = 0; i < s.n_nodes; i++)
        plan.strategy[i] = s.nodes[i].all.row[s.nodes[i].chosen];
    enum yj_status status = shard_apply(g, &plan);
    arena_close(arena);
    return status;
}

enum yj_status shard_graph(struct graph *g) {
    for (int axis = 0; axis < g->mesh.n; axis++)
        if (g->mesh.size[axis] > 1) TRY(shard_axis(g, axis));
    return YJ_OK;
}

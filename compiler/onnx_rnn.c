/* SPDX-License-Identifier: Apache-2.0
 *
 * RNN, GRU and LSTM: few steps, if their number is known, are written out one by one; else they are the turns of a
 * loop. The products with the input of all steps are one dot before the first step.
 */
#include "compiler/onnx.h"

#define B (&n->b)
#define MOST_STEPS 512

enum cell { RNN, GRU, LSTM };
static const int gates_of[] = {1, 3, 4}, activations_of[] = {1, 2, 3};

struct rnn {
    enum cell cell;
    int gates;
    int64_t hidden, steps; /* STEPS 0: a loop of LENGTH turns */
    dim batch, length;
    enum yj_dtype dtype;
    struct value *lengths; /* [N] i64, NULL: all steps */
    /* of one direction */
    const char *activation[3];
    struct value *x;  /* [T, N, gates * H]: products with the input, with what bias may be added before */
    struct value *r;  /* [gates * H, H] */
    struct value *rb; /* GRU: the bias of the last gate that is added before the reset, [H] or NULL */
    struct value *p;  /* LSTM: peepholes [3 * H] or NULL */
};

static struct value *activate(struct node *n, const char *name, struct value *x) {
    if (!strcmp(name, "Sigmoid")) return build_1(B, OP_sigmoid, x);
    if (!strcmp(name, "Tanh")) return build_1(B, OP_tanh, x);
    if (!strcmp(name, "Relu")) return build_2(B, OP_max, x, node_like(n, 0, x));
    node_refuse(n, "activation %s is not supported", name);
    return NULL;
}

/* Direction D of operand I, without that axis; NULL if the operand is absent. */
static struct value *direction_of(struct node *n, int i, int d) {
    struct value *v = node_has(n, i) ? node_in(n, i) : NULL;
    int64_t first[1] = {0};
    return v ? node_squeeze(n, node_cut(n, v, 0, node_c(n, d), node_c(n, d + 1)), 1, first) : NULL;
}

static struct value *gate(struct node *n, const struct rnn *r, struct value *v, int axis, int g) {
    return node_cut(n, v, axis, node_c(n, g * r->hidden), node_c(n, (g + 1) * r->hidden));
}

static struct value *add(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_add, a, b);
}
static struct value *mul(struct node *n, struct value *a, struct value *b) {
    return build_2(B, OP_mul, a, b);
}

static struct value *times_rows(struct node *n, struct value *h, struct value *rows) { /* h [N, H] by [G, H] */
    int64_t one[1] = {1};
    return build_dot(B, h, rows, 0, NULL, NULL, 1, one, one);
}

static struct value *spread(struct node *n, struct value *v, const struct value *like) {
    return v && like ? build_broadcast_to(B, v, like->type.rank, like->type.shape) : NULL;
}

static struct value *gru_step(struct node *n, const struct rnn *r, struct value *x, struct value *h) {
    struct value *all =
        r->rb ? times_rows(n, h, r->r) : times_rows(n, h, node_cut(n, r->r, 0, node_c(n, 0), node_c(n, 2 * r->hidden)));
    struct value *z = activate(n, r->activation[0], add(n, gate(n, r, x, 1, 0), gate(n, r, all, 1, 0)));
    struct value *reset = activate(n, r->activation[0], add(n, gate(n, r, x, 1, 1), gate(n, r, all, 1, 1)));
    struct value *inner;
    if (r->rb) { /* linear_before_reset */
        inner = gate(n, r, all, 1, 2);
        inner = mul(n, reset, add(n, inner, spread(n, r->rb, inner)));
    } else {
        inner = times_rows(n, mul(n, reset, h), gate(n, r, r->r, 0, 2));
    }
    struct value *c = activate(n, r->activation[1], add(n, gate(n, r, x, 1, 2), inner));
    return add(n, mul(n, build_2(B, OP_sub, node_like(n, 1, z), z), c), mul(n, z, h));
}

/* Gates in ONNX's order: input, output, forget, cell. */
static struct value *lstm_step(struct node *n, const struct rnn *r, struct value *x, struct value *h,
                               struct value **c) {
    struct value *all = add(n, x, times_rows(n, h, r->r)), *g[4];
    for (int i = 0; i < 4; i++)
        g[i] = gate(n, r, all, 1, i);
    if (r->p) {
        g[0] = add(n, g[0], mul(n, spread(n, gate(n, r, r->p, 0, 0), *c), *c));
        g[2] = add(n, g[2], mul(n, spread(n, gate(n, r, r->p, 0, 2), *c), *c));
    }
    struct value *in = activate(n, r->activation[0], g[0]), *forget = activate(n, r->activation[0], g[2]);
    *c = add(n, mul(n, forget, *c), mul(n, in, activate(n, r->activation[1], g[3])));
    if (r->p) g[1] = add(n, g[1], mul(n, spread(n, gate(n, r, r->p, 0, 1), *c), *c));
    return mul(n, activate(n, r->activation[0], g[1]), activate(n, r->activation[2], *c));
}

static struct value *initial(struct node *n, const struct rnn *r, int operand, int d) {
    dim shape[2] = {r->batch, node_c(n, r->hidden)};
    struct value *v = direction_of(n, operand, d);
    return v ? v : build_broadcast_to(B, build_scalar_f(B, r->dtype, 0), 2, shape);
}

/* Step T: H and C go on, *Y is what it gives. */
static bool step(struct node *n, const struct rnn *r, dim t, struct value **y, struct value **h, struct value **c) {
    int64_t first[1] = {0};
    dim next_t = dim_add(n->dims, t, node_c(n, 1));
    struct value *x = node_squeeze(n, node_cut(n, r->x, 0, t, next_t), 1, first), *cell = *c, *next;
    if (r->cell == RNN)
        next = activate(n, r->activation[0], add(n, x, times_rows(n, *h, r->r)));
    else
        next = r->cell == GRU ? gru_step(n, r, x, *h) : lstm_step(n, r, x, *h, &cell);
    *y = next;
    if (!next) return n->refused ? false : node_out(n, 0, NULL);
    if (r->lengths) { /* past its end a row keeps its state and gives zeros */
        struct value *inside = build_2(B, OP_gt, r->lengths, spread(n, node_size(n, t, YJ_I64), r->lengths));
        inside = node_along(n, inside, next, 0);
        *y = build_3(B, OP_select, inside, next, node_like(n, 0, next));
        next = build_3(B, OP_select, inside, next, *h);
        if (cell) cell = build_3(B, OP_select, inside, cell, *c);
    }
    *h = next;
    *c = cell;
    return true;
}

/* Steps of one direction, written out. ALL: [T, N, H], NULL if nobody wants it; H and C: the last ones. */
static bool run(struct node *n, const struct rnn *r, bool backwards, struct value **all, struct value **h,
                struct value **c) {
    struct value *y[MOST_STEPS];
    int64_t first[1] = {0};
    for (int64_t s = 0; s < r->steps; s++) {
        int64_t t = backwards ? r->steps - 1 - s : s;
        if (!step(n, r, node_c(n, t), &y[t], h, c)) return false;
    }
    for (int64_t t = 0; t < r->steps && node_wants(n, 0); t++)
        y[t] = node_unsqueeze(n, y[t], 1, first);
    *all = node_wants(n, 0) ? build_concat(B, (int)r->steps, y, 0) : NULL;
    return true;
}

#define MOST_CARRIED 7

/* V becomes a carried value of the loop; where it lies in R or outside is at the same place of PLACES. */
struct carried {
    int n;
    struct value *in[2 + MOST_CARRIED], **places[MOST_CARRIED];
};

static void carry(struct carried *l, struct value **place) {
    if (!*place) return;
    l->places[l->n] = place;
    l->in[2 + l->n++] = *place;
}

/* The turns of OP: H and C go on, the others stay. */
static bool fill_loop(struct node *n, struct rnn *r, struct op *op, const struct carried *l, dim index, bool backwards,
                      struct value **h, struct value **c) {
    struct graph *body = graph_region(op, "step");
    struct node inner = *n;
    struct value *y;
    inner.g = inner.b.graph = body;
    graph_input(body, "index", YJ_I64, 0, NULL);
    for (int i = 0; i < l->n; i++) {
        const struct type *t = &l->in[2 + i]->type;
        *l->places[i] = graph_input(body, l->in[2 + i]->name, t->dtype, t->rank, t->shape);
    }
    dim last = dim_sub(n->dims, r->length, node_c(n, 1));
    if (!step(&inner, r, backwards ? dim_sub(n->dims, last, index) : index, &y, h, c)) return !(n->refused = true);
    graph_output(body, build_constant(&inner.b, YJ_BOOL, 0, NULL, "\1", 1), NULL);
    for (int i = 0; i < l->n; i++)
        graph_output(body, l->places[i] == h ? *h : l->places[i] == c ? *c : body->in[1 + i], NULL);
    if (node_wants(n, 0)) graph_output(body, y, NULL);
    for (int i = 0; i < body->n_out; i++)
        if (!body->out[i]) return node_out(n, 0, NULL);
    return graph_infer(op) == YJ_OK || node_refuse(n, "%s", yj_error_text());
}

/* The same as a loop. */
static bool run_loop(struct node *n, const struct rnn *r, int d, bool backwards, struct value **all, struct value **h,
                     struct value **c) {
    struct rnn own = *r;
    struct carried l = {0};
    struct op *op;
    int64_t first[1] = {0};
    int64_t high = r->length->high == DIM_UNBOUNDED ? INT64_MAX - 1 : max64(r->length->high - 1, 0);
    dim index = graph_dim(n->g, arena_text(import_arena(n->import), "i%d_%d", n->number, d), 0, high);
    struct value **places[] = {h, c, &own.x, &own.r, &own.rb, &own.p, &own.lengths};
    l.in[0] = node_size(n, r->length, YJ_I64);
    l.in[1] = build_constant(B, YJ_BOOL, 0, NULL, "\1", 1);
    for (size_t i = 0; i < COUNT(places); i++)
        carry(&l, places[i]);
    struct attr *a = attr_dim(n->g, "index", index, attr_dim(n->g, "length", r->length, NULL));
    if (build(B, OP_loop, 2 + l.n, l.in, a, &op) != YJ_OK) return node_out(n, 0, NULL);
    bool cell = *c != NULL;
    if (!fill_loop(n, &own, op, &l, index, backwards, h, c)) return false;
    *h = op->out[0];
    *c = cell ? op->out[1] : NULL;
    *all = node_wants(n, 0) ? op->out[l.n] : NULL;
    if (*all && backwards && build(B, OP_reverse, 1, all, attr_ints(n->g, "axes", 1, first, NULL), &op) == YJ_OK)
        *all = op->out[0];
    return true;
}

/* The products with the input, and the biases: all of them are added before, but the one that GRU adds inside the
 * reset. */
static bool prepare(struct node *n, struct rnn *r, struct value *x, int d, int directions) {
    struct value *w = direction_of(n, 1, d), *bias = direction_of(n, 3, d);
    const Onnx__AttributeProto *given = node_attribute(n, "activations");
    static const char *const usual[3][3] = {{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
    int64_t two[1] = {2}, one[1] = {1}, all = r->gates * r->hidden;
    int each = activations_of[r->cell];
    if (given && given->n_strings && given->n_strings != (size_t)(each * directions))
        return node_refuse(n, "%zu activations", given->n_strings);
    for (int i = 0; i < each; i++) {
        const ProtobufCBinaryData *s = given && given->n_strings ? &given->strings[d * each + i] : NULL;
        r->activation[i] =
            s ? arena_text(import_arena(n->import), "%.*s", (int)min64((int64_t)s->len, 40), (char *)s->data)
              : usual[r->cell][i];
    }
    r->r = direction_of(n, 2, d);
    r->p = r->cell == LSTM ? direction_of(n, 7, d) : NULL;
    r->rb = NULL;
    r->x = w ? build_dot(B, x, w, 0, NULL, NULL, 1, two, one) : NULL;
    bool before = r->cell == GRU && node_int(n, "linear_before_reset", 0);
    if (before) {
        dim h = node_c(n, r->hidden);
        r->rb = build_broadcast_to(B, build_scalar_f(B, r->dtype, 0), 1, &h);
    }
    if (bias) {
        struct value *wb = node_cut(n, bias, 0, node_c(n, 0), node_c(n, all)),
                     *rb = node_cut(n, bias, 0, node_c(n, all), node_c(n, 2 * all));
        r->x = add(n, r->x, spread(n, wb, r->x));
        if (before) {
            dim low[1] = {node_c(n, 0)}, high[1] = {node_c(n, r->hidden)};
            r->rb = gate(n, r, rb, 0, 2);
            rb = build_pad(B, node_cut(n, rb, 0, node_c(n, 0), node_c(n, 2 * r->hidden)),
                           build_scalar_f(B, r->dtype, 0), low, high);
        }
        r->x = add(n, r->x, spread(n, rb, r->x));
    }
    return (r->x && r->r) || (n->refused ? false : node_out(n, 0, NULL));
}

static bool begin(struct node *n, struct rnn *r, struct value **x, bool by_batch) {
    static const int64_t swap[3] = {1, 0, 2};
    int64_t width;
    const char *op = n->proto->op_type;
    struct value *w = node_in(n, 1), *recurrent = node_in(n, 2);
    if (!*x || !w || !recurrent) return false;
    if ((*x)->type.rank != 3 || w->type.rank != 3 || recurrent->type.rank != 3)
        return node_refuse(n, "X, W and R must have rank 3");
    if (by_batch) *x = build_transpose(B, *x, swap);
    if (!*x) return node_out(n, 0, NULL);
    r->cell = !strcmp(op, "RNN") ? RNN : !strcmp(op, "GRU") ? GRU : LSTM;
    r->gates = gates_of[r->cell];
    r->dtype = (*x)->type.dtype;
    r->batch = (*x)->type.shape[1];
    r->length = (*x)->type.shape[0];
    if (!dim_is_const(r->length, &r->steps) || r->steps > MOST_STEPS) r->steps = 0;
    if (!dim_is_const(recurrent->type.shape[2], &r->hidden) || !dim_is_const(w->type.shape[1], &width) ||
        r->hidden < 1 || width != r->gates * r->hidden)
        return node_refuse(n, "the sizes of W and R do not fit");
    if (node_attribute(n, "clip")) return node_refuse(n, "clip is not supported");
    if (node_int(n, "input_forget", 0)) return node_refuse(n, "input_forget is not supported");
    if (by_batch && (node_has(n, 5) || node_has(n, 6)))
        return node_refuse(n, "initial states with layout 1 are not supported");
    r->lengths = node_has(n, 4) ? build_cast(B, node_in(n, 4), YJ_I64) : NULL;
    return true;
}

bool onnx_rnn(struct node *n) {
    static const int64_t states_last[3] = {1, 0, 2}, steps_last[4] = {2, 0, 1, 3};
    struct rnn r = {0};
    struct value *x = node_in(n, 0), *all[2] = {0}, *h[2], *c[2];
    const char *way = node_text(n, "direction", "forward");
    bool by_batch = node_int(n, "layout", 0);
    int directions = !strcmp(way, "bidirectional") ? 2 : 1;
    int64_t first[1] = {0}, second[1] = {1};
    if (strcmp(way, "forward") && strcmp(way, "reverse") && directions == 1) return node_refuse(n, "direction %s", way);
    if (!begin(n, &r, &x, by_batch)) return false;
    for (int d = 0; d < directions; d++) {
        bool backwards = d == 1 || !strcmp(way, "reverse");
        if (!prepare(n, &r, x, d, directions)) return false;
        h[d] = initial(n, &r, 5, d);
        c[d] = r.cell == LSTM ? initial(n, &r, 6, d) : NULL;
        if (!h[d] || (r.cell == LSTM && !c[d])) return n->refused ? false : node_out(n, 0, NULL);
        bool ok = r.steps ? run(n, &r, backwards, &all[d], &h[d], &c[d])
                          : run_loop(n, &r, d, backwards, &all[d], &h[d], &c[d]);
        if (!ok) return false;
        if (all[d]) all[d] = node_unsqueeze(n, all[d], 1, second); /* [T, 1, N, H] */
        h[d] = node_unsqueeze(n, h[d], 1, first);
        c[d] = c[d] ? node_unsqueeze(n, c[d], 1, first) : NULL;
    }
    struct value *out[3] = {all[0], h[0], c[0]};
    if (directions == 2) {
        out[0] = all[0] ? build_concat(B, 2, all, 1) : NULL;
        out[1] = build_concat(B, 2, h, 0);
        out[2] = c[0] ? build_concat(B, 2, c, 0) : NULL;
    }
    for (int i = 0; i < 3; i++) {
        if (!node_wants(n, i)) continue;
        if (by_batch) out[i] = build_transpose(B, out[i], i ? states_last : steps_last);
        if (!node_out(n, i, out[i])) return false;
    }
    return true;
}

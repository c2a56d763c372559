/* SPDX-License-Identifier: Apache-2.0
 *
 * Random control flow for random_graph.h: ifs and loops in each other, with captured and carried values (some
 * unchanged, some that change places), stacked rows, predicates and trip counts that are constants or data, loops that
 * never turn.
 */
#ifndef TESTS_RANDOM_FLOW_H
#define TESTS_RANDOM_FLOW_H

static inline struct value *random_step(struct random_graph *r);

/* A bool scalar: data, or now and then a constant. */
static inline struct value *random_predicate(struct random_graph *r) {
    struct value *x = random_pick(r, YJ_F32);
    int64_t axes[GRAPH_MAX_RANK];
    if (case_between(&r->c, 0, 5) == 0 || x->type.dtype != YJ_F32)
        return build_constant(&r->c.b, YJ_BOOL, 0, NULL, case_random(&r->c) & 1 ? "\1" : "\0", 1);
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = i;
    if (x->type.rank) x = build_reduce(&r->c.b, x, SCALAR_max, x->type.rank, axes);
    return build_2(&r->c.b, case_random(&r->c) & 1 ? OP_lt : OP_le, x,
                   build_scalar_f(&r->c.b, YJ_F32, (double)case_between(&r->c, -2, 9)));
}

/* An i64 scalar: a constant from -1 to 4, or 0 or 3 by a predicate. */
static inline struct value *random_trips(struct random_graph *r, int64_t *fixed) {
    *fixed = case_between(&r->c, -1, 4);
    if (case_random(&r->c) & 1) return build_scalar_i(&r->c.b, YJ_I64, *fixed);
    *fixed = -1;
    struct value *yes = build_cast(&r->c.b, random_predicate(r), YJ_I64);
    return build_2(&r->c.b, OP_mul, yes, build_scalar_i(&r->c.b, YJ_I64, 3));
}

/* What a region is made in: the pool of the graph around it is put aside. */
struct random_around {
    struct builder b;
    int n;
    struct value *pool[RANDOM_POOL];
};

static inline void random_enter(struct random_graph *r, struct graph *region, struct random_around *around) {
    around->b = r->c.b;
    around->n = r->n;
    memcpy(around->pool, r->pool, sizeof r->pool);
    r->c.b.graph = region;
    r->n = 0;
    r->depth++;
}

static inline void random_leave(struct random_graph *r, const struct random_around *around) {
    r->c.b = around->b;
    r->n = around->n;
    memcpy(r->pool, around->pool, sizeof r->pool);
    r->depth--;
}

static inline void random_steps(struct random_graph *r, int steps) {
    for (int i = 0; i < steps; i++) {
        struct value *v = random_step(r);
        if (v && random_elements(v) <= 4096) random_keep(r, v);
    }
}

/* A value of the pool of the type of LIKE, which is in it. */
static inline struct value *random_of_type(struct random_graph *r, struct value *like) {
    for (int tries = 0; tries < 20; tries++) {
        struct value *v = random_pick(r, (int)like->type.dtype);
        if (random_same(v, like)) return v;
    }
    return like;
}

/* Different values of the pool, at most MOST. */
static inline int random_operands(struct random_graph *r, struct value **in, int most) {
    int n = 0;
    for (int i = 0, want = (int)case_between(&r->c, 1, most); i < want; i++) {
        struct value *v = random_pick(r, 0);
        bool twice = false;
        for (int k = 0; k < n; k++)
            twice |= in[k] == v;
        if (!twice) in[n++] = v;
    }
    return n;
}

static inline struct value *random_keep_results(struct random_graph *r, struct op *op, int n) {
    if (graph_infer(op) != YJ_OK) return NULL;
    for (int i = 0; i < n; i++)
        random_keep(r, op->out[i]);
    return n ? op->out[0] : NULL;
}

static inline struct value *random_if(struct random_graph *r) {
    struct value *in[5] = {random_predicate(r)};
    struct random_around around;
    struct op *op;
    int n = random_operands(r, in + 1, 4), results = (int)case_between(&r->c, 1, n);
    if (build(&r->c.b, OP_if, 1 + n, in, NULL, &op) != YJ_OK) return NULL;
    for (int side = 0; side < 2; side++) {
        struct graph *region = case_region(op, side ? "else" : "then", n, in + 1);
        random_enter(r, region, &around);
        for (int i = 0; i < n; i++)
            random_keep(r, region->in[i]);
        random_steps(r, (int)case_between(&r->c, 0, 6));
        for (int i = 0; i < results; i++)
            graph_output(region, random_of_type(r, region->in[i]), NULL);
        random_leave(r, &around);
    }
    return random_keep_results(r, op, results);
}

/* x + number of the turn */
static inline struct value *random_count(struct random_graph *r, struct value *index) {
    struct value *x = random_pick(r, YJ_F32);
    if (x->type.dtype != YJ_F32) return NULL;
    struct value *i = build_broadcast(&r->c.b, build_cast(&r->c.b, index, YJ_F32), x->type.rank, x->type.shape, NULL);
    return build_2(&r->c.b, OP_add, x, i);
}

/* Row number INDEX mod 2 of something that has two. */
static inline struct value *random_row(struct random_graph *r, struct value *index) {
    struct value *x = random_pick(r, 0), *two = build_scalar_i(&r->c.b, YJ_I64, 2);
    if (x->type.rank < 1 || !dim_is(x->type.shape[0], 2)) return NULL;
    return build_gather(&r->c.b, x, build_2(&r->c.b, OP_rem, index, two), 0);
}

static inline void random_turn(struct random_graph *r, struct graph *body, int carried, int stacked) {
    struct builder *b = &r->c.b;
    for (int i = 0; i < carried; i++)
        random_keep(r, body->in[1 + i]);
    if (case_random(&r->c) & 1) random_keep(r, random_count(r, body->in[0]));
    if (case_random(&r->c) & 1) random_keep(r, random_row(r, body->in[0]));
    random_steps(r, (int)case_between(&r->c, 0, 6));
    switch (case_between(&r->c, 0, 2)) {
    case 0:
        graph_output(body, build_constant(b, YJ_BOOL, 0, NULL, "\1", 1), NULL);
        break;
    case 1:
        graph_output(body, build_2(b, OP_lt, body->in[0], build_scalar_i(b, YJ_I64, 1)), NULL);
        break;
    default:
        graph_output(body, random_predicate(r), NULL);
    }
    for (int i = 0; i < carried; i++)
        graph_output(body, random_of_type(r, body->in[1 + i]), NULL);
    for (int i = 0; i < stacked; i++)
        graph_output(body, random_pick(r, YJ_F32), NULL);
}

/* The sum of the rows: of a length that only a run knows, which nothing else here could take. */
static inline struct value *random_stack_sum(struct random_graph *r, struct value *rows) {
    int64_t zero = 0;
    return rows->type.dtype == YJ_F32 ? build_reduce(&r->c.b, rows, SCALAR_add, 1, &zero) : NULL;
}

static inline struct value *random_loop(struct random_graph *r) {
    int64_t fixed;
    struct value *in[6] = {random_trips(r, &fixed), random_predicate(r)};
    struct random_around around;
    struct op *op;
    int n = random_operands(r, in + 2, 4), stacked = (int)case_between(&r->c, 0, 2);
    dim length = dim_symbol(r->c.g->dims, arena_text(r->c.arena, "turns%d", r->loops++), 0, 4);
    struct attr *a = stacked ? attr_dim(r->c.g, "length", length, NULL) : NULL;
    if (build(&r->c.b, OP_loop, 2 + n, in, a, &op) != YJ_OK) return NULL;
    struct graph *body = graph_region(op, "body");
    graph_input(body, "index", YJ_I64, 0, NULL);
    for (int i = 0; i < n; i++)
        graph_input(body, "carried", in[2 + i]->type.dtype, in[2 + i]->type.rank, in[2 + i]->type.shape);
    random_enter(r, body, &around);
    random_turn(r, body, n, stacked);
    random_leave(r, &around);
    struct value *v = random_keep_results(r, op, n);
    for (int i = 0; v && i < stacked; i++)
        random_keep(r, random_stack_sum(r, op->out[n + i]));
    if (v && stacked && !r->depth && r->c.g->n_out < 2) graph_output(r->c.g, op->out[n], NULL);
    return v;
}

#endif

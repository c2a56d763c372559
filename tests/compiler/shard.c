/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharding keeps what a graph means: a sharded graph, evaluated with all its ranks, gives on every rank its part of
 * what the unsharded one gives. And it does something: weights of a decoder are split, two all_reduce a layer, whatever
 * the names and the order of nodes. Collectives along inner dimensions are said with the outermost one, and overlap
 * keeps the bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/cost.h"
#include "compiler/onnx.h"
#include "compiler/pass.h"
#include "compiler/plan.h"
#include "compiler/shard.h"
#include "ir/graph_eval.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 32 /* inputs or outputs, ranks included */

/* So slow that sharing pays at the sizes of tests. */
static const struct yj_target slow = {.gflops_core = 2, .gbytes_s = 0.2};

/* ---- graphs and tensors */

static struct graph *parse(struct arena *arena, const char *text) {
    struct graph *g;
    if (graph_parse(arena, text, "test", &g) != YJ_OK) fail_msg("%s", yj_error_text());
    return g;
}

static uint64_t next(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

static float unit(uint64_t *seed) {
    return (float)(next(seed) % 2000) / 1000 - 1;
}

/* Constants that stand as data(N) in the text get numbers. */
static void fill_constants(struct arena *arena, struct graph *g, uint64_t seed) {
    for (struct op *op = g->first; op; op = op->next) {
        if (op->kind != OP_constant || op->data.bytes) continue;
        int64_t shape[GRAPH_MAX_RANK], n = 1;
        assert_true(type_constant(&op->out[0]->type, shape));
        const char *split = op_text(op, "split");
        for (int i = 0; i < op->out[0]->type.rank; i++)
            n *= shape[i];
        n *= split ? mesh_size(g, split) : 1;
        float *bytes = NEW_ARRAY(arena, float, n + 1);
        for (int64_t i = 0; i < n; i++)
            bytes[i] = unit(&seed) / 4;
        op->data.bytes = bytes;
        op->data.n_bytes = (size_t)n * sizeof *bytes;
    }
}

static int count(const struct graph *g, enum op_kind kind) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next)
        n += op->kind == kind;
    return n;
}

static int count_collectives(const struct graph *g) {
    return count(g, OP_all_reduce) + count(g, OP_all_gather) + count(g, OP_reduce_scatter) + count(g, OP_all_to_all);
}

static struct tensor random_tensor(const struct type *t, const int64_t *shape, uint64_t seed, int64_t below) {
    struct tensor out;
    assert_int_equal(tensor_new(t->dtype, t->rank, shape, &out), YJ_OK);
    int64_t n = tensor_elements(&out);
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == YJ_F32)
            ((float *)out.bytes)[i] = unit(&seed);
        else
            element_store(out.bytes, t->dtype, i, next(&seed) % (uint64_t)below);
    }
    return out;
}

/* RANK's part of T along dimension D (-1: all of it). */
static struct tensor part(const struct tensor *t, int d, int rank, int ranks) {
    struct tensor out;
    int64_t shape[GRAPH_MAX_RANK], before = 1, after = (int64_t)yj_dtype_bytes(t->dtype);
    memcpy(shape, t->shape, sizeof shape);
    if (d >= 0) shape[d] /= ranks;
    assert_int_equal(tensor_new(t->dtype, t->rank, shape, &out), YJ_OK);
    if (d < 0) {
        if (t->n_bytes) memcpy(out.bytes, t->bytes, t->n_bytes);
        return out;
    }
    for (int i = 0; i < d; i++)
        before *= shape[i];
    for (int i = d; i < t->rank; i++)
        after *= shape[i];
    for (int64_t i = 0; i < before; i++)
        memcpy((char *)out.bytes + i * after, (const char *)t->bytes + (i * ranks + rank) * after, (size_t)after);
    return out;
}

static int split_of(const struct value *v) {
    for (int d = 0; d < v->type.rank; d++)
        if (v->shard.axis[d]) return d;
    return -1;
}

static bool close_to(const struct tensor *a, const struct tensor *b) {
    double most = 0;
    if (a->dtype != b->dtype || a->n_bytes != b->n_bytes ||
        memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->rank))
        return false;
    if (a->dtype != YJ_F32) return !a->n_bytes || !memcmp(a->bytes, b->bytes, a->n_bytes);
    const float *x = a->bytes, *y = b->bytes;
    int64_t n = tensor_elements(a);
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(y[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)x[i] - y[i]) <= 1e-4 * fabs(y[i]) + 1e-5 * most)) return false;
    return true;
}

static void free_all(struct tensor *t, int n) {
    for (int i = 0; i < n; i++)
        tensor_free(&t[i]);
}

/* WHOLE on INPUTS; SHARDED on their parts: every rank's results are its part of WHOLE's, and replicated ones the same
 * bits. */
static void compare(const struct graph *whole, const struct graph *sharded, struct tensor *inputs) {
    struct tensor want[MOST], parts[MOST], got[MOST];
    int ranks = graph_ranks(sharded);
    assert_true(whole->n_in * ranks <= MOST && whole->n_out * ranks <= MOST);
    if (graph_eval(whole, inputs, want, NULL, NULL) != YJ_OK) fail_msg("unsharded: %s", yj_error_text());
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < whole->n_in; i++)
            parts[r * whole->n_in + i] = part(&inputs[i], split_of(sharded->in[i]), r, ranks);
    if (graph_eval(sharded, parts, got, NULL, NULL) != YJ_OK) fail_msg("sharded: %s", yj_error_text());
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < whole->n_out; i++) {
            int d = split_of(sharded->out[i]);
            struct tensor mine = part(&want[i], d, r, ranks), *its = &got[r * whole->n_out + i];
            if (!close_to(its, &mine)) fail_msg("output %s differs on rank %d", whole->out_names[i], r);
            if (d < 0 && its->n_bytes) assert_memory_equal(its->bytes, got[i].bytes, its->n_bytes);
            tensor_free(&mine);
        }
    free_all(want, whole->n_out);
    free_all(parts, whole->n_in * ranks);
    free_all(got, whole->n_out * ranks);
}

struct pass_job {
    struct graph *g;
    const char *passes;
    struct overlap_log *log;
};
static enum yj_status run_passes(void *argument) {
    struct pass_job *j = argument;
    return pipeline_run(j->g, &(struct pass_options){.target = &slow, .only = j->passes, .overlap_log = j->log});
}

static void passes(struct graph *g, const char *names, struct overlap_log *log) {
    cost_target(&slow);
    struct pass_job j = {g, names, log};
    if (arena_guard(run_passes, &j) != YJ_OK) fail_msg("%s: %s", names, yj_error_text());
}

/* ---- a perceptron: columns of the first weight, rows of the second, one all_reduce */

static const char perceptron[] = "graph main(N in 1.., x f32 [N, %d]) mesh(tp=%d) {\n"
                                 "  %%a = constant f32 [%d, %d] data(0)\n"
                                 "  %%b = constant f32 [%d, %d] data(1)\n"
                                 "  %%h = dot(%%x, %%a) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                                 "  %%s = sigmoid(%%h)\n"
                                 "  %%y = dot(%%s, %%b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                                 "  return %%y\n"
                                 "}\n";

static void run_perceptron(int in, int hidden, int ranks, bool shared) {
    struct arena *arena = arena_open();
    char text[1024];
    snprintf(text, sizeof text, perceptron, in, ranks, in, hidden, hidden, in);
    struct graph *g = parse(arena, text), *whole;
    fill_constants(arena, g, 7);
    whole = graph_copy(arena, g);
    whole->mesh.n = 0;
    passes(g, "shard", NULL);
    assert_int_equal(count(g, OP_all_reduce), shared);
    assert_int_equal(count_collectives(g), shared);
    int split = 0;
    for (const struct op *op = g->first; op; op = op->next) {
        if (op->kind != OP_constant) continue;
        split += op_attr(op, "split") != NULL;
        assert_int_equal(op->data.n_bytes, (size_t)in * (size_t)hidden * 4); /* all ranks' parts */
    }
    assert_int_equal(split, shared ? 2 : 0);
    struct tensor x = random_tensor(&g->in[0]->type, (int64_t[]){5, in}, 3, 0);
    compare(whole, g, &x);
    passes(g, "fuse,overlap", NULL);
    compare(whole, g, &x);
    tensor_free(&x);
    arena_close(arena);
}

static void test_perceptron(void **state) {
    run_perceptron(24, 64, 2, true);
    run_perceptron(24, 64, 4, true);
    run_perceptron(24, 60, 3, true);
}

/* ---- control flow: what it reads is whole on every rank, what stands around it is shared */

static const char turning[] =
    "graph main(N in 1.., x f32 [N, 24], n i64 []) mesh(tp=2) {\n"
    "  %a = constant f32 [24, 64] data(0) %b = constant f32 [64, 24] data(1) %go = constant bool [] {true}\n"
    "  %h = dot(%x, %a) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] %s = sigmoid(%h)\n"
    "  %y = dot(%s, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] %z = neg(%y)\n"
    "  %c, %d, %e, %f, %g = loop(%n, %go, %y, %z, %s, %x, %h) body(i i64 [], p f32 [N, 24], q f32 [N, 24],"
    " r f32 [N, 64], u f32 [N, 24], v f32 [N, 64]) {\n"
    "    %t = constant bool [] {true} %w = add(%p, %u) %k = max(%r, %v) return %t, %q, %w, %k, %p, %r }\n"
    "  %k = dot(%e, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] %l = add(%k, %c) %o = add(%l, %d)\n"
    "  %j = dot(%g, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] %m = add(%o, %j)\n"
    "  return %m, %f }\n";

static void test_control_flow(void **state) {
    struct arena *arena = arena_open();
    struct graph *g = parse(arena, turning), *whole;
    fill_constants(arena, g, 7);
    whole = graph_copy(arena, g);
    whole->mesh.n = 0;
    passes(g, "fold,shard", NULL);
    assert_true(count_collectives(g) > 0);
    struct tensor in[2] = {random_tensor(&g->in[0]->type, (int64_t[]){5, 24}, 3, 0),
                           random_tensor(&g->in[1]->type, NULL, 3, 1)};
    element_store(in[1].bytes, YJ_I64, 0, 3);
    compare(whole, g, in);
    passes(g, "fuse,layout,overlap", NULL);
    compare(whole, g, in);
    free_all(in, 2);
    arena_close(arena);
}

/* A collective in a region is started and waited for in its block. */
static void test_collective_in_region(void **state) {
    static const char text[] =
        "graph main(N in 1.., x f32 [N, 6], n i64 []) mesh(tp=2) { %go = constant bool [] {true}\n"
        "  %y = loop(%n, %go, %x) body(i i64 [], p f32 [N, 6]) { %t = constant bool [] {true} %q = neg(%p)\n"
        "    %s = all_reduce(%q) kind=add axis=tp %w = wait(%s) return %t, %w }\n  return %y }\n";
    struct arena *arena = arena_open();
    struct graph *g = parse(arena, text);
    passes(g, "fold,fuse,overlap", NULL);
    struct program_kernels kernels = {.arena = arena, .target = &slow};
    struct weights weights = {.arena = arena};
    struct planned planned;
    struct safetensor none[4] = {0};
    if (plan_make(g, arena, &kernels, &weights, &planned) != YJ_OK) fail_msg("%s", yj_error_text());
    assert_true(weights.n <= 4);
    if (plan_place_weights(&planned, none) != YJ_OK) fail_msg("%s", yj_error_text());
    const struct plan_block *body = &planned.plan->blocks[1];
    assert_int_equal(planned.plan->n_blocks, 2);
    assert_int_equal(body->steps[1].kind, PLAN_START);
    assert_int_equal(body->steps[2].kind, PLAN_WAIT);
    arena_close(arena);
}

/* What does not divide stays whole: the same graph but for the mesh. */
static void test_odd_sizes(void **state) {
    run_perceptron(23, 61, 2, false);
    run_perceptron(25, 31, 4, false);
}

/* Split constants are printed, read, verified and evaluated as what they are. */
static void test_split_text(void **state) {
    struct arena *arena = arena_open();
    struct graph *g = parse(arena, "graph main(x f32 [2, 4]) mesh(tp=2) {\n"
                                   "  %w = constant f32 [4, 1] split=tp {1, 2, 3, 4, 5, 6, 7, 8}\n"
                                   "  %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                                   "  return %y\n"
                                   "}\n");
    struct text text = {0}, again = {0};
    graph_print(&text, g);
    graph_print(&again, parse(arena, text.data));
    assert_string_equal(text.data, again.data);
    text_free(&text), text_free(&again);
    float ones[8] = {1, 1, 1, 1, 1, 0, 0, 0};
    struct tensor x[2] = {{YJ_F32, 2, {2, 4}, ones, sizeof ones}, {YJ_F32, 2, {2, 4}, ones, sizeof ones}}, y[2];
    assert_int_equal(graph_eval(g, x, y, NULL, NULL), YJ_OK);
    assert_memory_equal(y[0].bytes, ((float[]){10, 1}), 8);
    assert_memory_equal(y[1].bytes, ((float[]){26, 5}), 8);
    free_all(y, 2);
    struct graph *bad;
    assert_int_equal(
        graph_parse(arena, "graph main() mesh(tp=2) {\n  %w = constant f32 [4] split=tp {1, 2, 3, 4}\n  return %w\n}\n",
                    "t", &bad),
        YJ_ERR_INPUT);
    arena_close(arena);
}

/* ---- collectives along inner dimensions */

static void run_outermost(const char *line, int rank, const int64_t *shape, int inner) {
    struct arena *arena = arena_open();
    char text[512], type[64] = "";
    for (int i = 0; i < rank; i++)
        snprintf(type + strlen(type), sizeof type - strlen(type), "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(text, sizeof text,
             "graph main(x f32 [%s]) mesh(tp=2) {\n  %%p = %s\n  %%w = wait(%%p)\n  %%y = add(%%w, %%w)\n  return %%y, "
             "%%w\n}\n",
             type, line);
    struct graph *g = parse(arena, text), *before = graph_copy(arena, g);
    passes(g, "shard", NULL);
    assert_int_equal(count_collectives(g), 1);
    assert_int_equal(count(g, OP_transpose) > 0, inner);
    for (const struct op *op = g->first; op; op = op->next)
        for (int64_t d = 0; op_is(op->kind, 'C') && d < op_int(op, "dim", 0); d++)
            assert_true(dim_is(op->in[0]->type.shape[d], 1));
    struct tensor x[2], want[4], got[4];
    for (int r = 0; r < 2; r++)
        x[r] = random_tensor(&g->in[0]->type, shape, 11 + (uint64_t)r, 0);
    for (int turn = 0; turn < 2; turn++) {
        if (graph_eval(before, x, want, NULL, NULL) != YJ_OK) fail_msg("%s: %s", line, yj_error_text());
        if (graph_eval(g, x, got, NULL, NULL) != YJ_OK) fail_msg("%s, outermost: %s", line, yj_error_text());
        for (int i = 0; i < 4; i++) {
            assert_int_equal(want[i].n_bytes, got[i].n_bytes);
            assert_memory_equal(want[i].shape, got[i].shape, sizeof *want[i].shape * (size_t)want[i].rank);
            if (memcmp(want[i].bytes, got[i].bytes, want[i].n_bytes)) fail_msg("%s: result %d", line, i);
        }
        free_all(want, 4), free_all(got, 4);
        passes(g, "fuse,overlap", NULL);
    }
    free_all(x, 2);
    arena_close(arena);
}

static void test_outermost(void **state) {
    const int64_t s[] = {3, 4, 5, 6}, one[] = {1, 4, 6};
    run_outermost("all_gather(%x) dim=0 axis=tp", 4, s, 0);
    run_outermost("all_gather(%x) dim=1 axis=tp", 4, s, 1);
    run_outermost("all_gather(%x) dim=3 axis=tp", 4, s, 1);
    run_outermost("all_gather(%x) dim=1 axis=tp", 3, one, 0);
    run_outermost("reduce_scatter(%x) dim=1 kind=add axis=tp", 4, s, 1);
    run_outermost("reduce_scatter(%x) dim=3 kind=max axis=tp", 4, s, 1);
    run_outermost("reduce_scatter(%x) dim=1 kind=add axis=tp", 3, one, 0);
    run_outermost("all_to_all(%x) split=1 concat=0 axis=tp", 4, s, 1);
    run_outermost("all_to_all(%x) split=1 concat=3 axis=tp", 4, s, 1);
    run_outermost("all_to_all(%x) split=3 concat=1 axis=tp", 4, s, 1);
    run_outermost("all_to_all(%x) split=3 concat=3 axis=tp", 4, s, 1);
    run_outermost("all_reduce(%x) kind=add axis=tp", 4, s, 0);
}

/* The plan says how many elements a call takes: of an exchange one part, of all_gather one rank's, of reduce_scatter
 * one block. */
static void plan_counts(const char *line, const char *want) {
    struct arena *arena = arena_open();
    char text[512];
    snprintf(text, sizeof text,
             "graph main(N in 1.., x f32 [4, N, 6]) mesh(tp=2) {\n  %%p = %s\n  %%w = wait(%%p)\n  return %%w\n}\n",
             line);
    struct graph *g = parse(arena, text);
    passes(g, "shard,fuse,overlap", NULL);
    struct program_kernels kernels = {.arena = arena, .target = &slow};
    struct weights weights = {.arena = arena};
    struct planned planned;
    if (plan_make(g, arena, &kernels, &weights, &planned) != YJ_OK) fail_msg("%s: %s", line, yj_error_text());
    if (plan_place_weights(&planned, NULL) != YJ_OK) fail_msg("%s: %s", line, yj_error_text());
    struct text plan = {0};
    plan_print(&plan, planned.plan);
    if (!strstr(plan.data, want)) fail_msg("%s: no '%s' in\n%s", line, want, plan.data);
    text_free(&plan);
    arena_close(arena);
}

static void test_plan_counts(void **state) {
    plan_counts("all_to_all(%x) split=0 concat=0 axis=tp", "count N*12 axis tp");
    plan_counts("all_to_all(%x) split=2 concat=1 axis=tp", "count N*12 axis tp");
    plan_counts("all_gather(%x) dim=2 axis=tp", "count N*24 axis tp");
    plan_counts("reduce_scatter(%x) dim=2 kind=add axis=tp", "count N*12 axis tp");
    plan_counts("all_reduce(%x) kind=max axis=tp", "count N*24 axis tp");
}

/* ---- overlap */

static int place(const struct graph *g, enum op_kind kind, const char *body) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next, n++) {
        if (op->kind != kind) continue;
        if (!body) return n;
        for (const struct op *inner = op->regions[0]->first; inner; inner = inner->next)
            if (!strcmp(op_info[inner->kind].name, body)) return n;
    }
    fail_msg("no %s %s", op_info[kind].name, body ? body : "");
    return -1;
}

/* %z and %e are independent of the sum; %c needs it. Written last, they move before the wait. */
static const char independent[] = "graph main(x f32 [64, 64], y f32 [64, 64]) mesh(tp=2) {\n"
                                  "  %t = tanh(%x)\n"
                                  "  %p = all_reduce(%t) kind=add axis=tp\n"
                                  "  %w = wait(%p)\n"
                                  "  %c = sqrt(%w)\n"
                                  "  %z = dot(%y, %y) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                                  "  %e = exp(%z)\n"
                                  "  return %c, %e\n"
                                  "}\n";
/* %e is made before the operand of the sum, which does not need it: it waits for the start. */
static const char earlier[] = "graph main(x f32 [64, 64], y f32 [64, 64]) mesh(tp=2) {\n"
                              "  %z = dot(%y, %y) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                              "  %t = tanh(%x)\n"
                              "  %p = all_reduce(%t) kind=add axis=tp\n"
                              "  %w = wait(%p)\n"
                              "  %c = sqrt(%w)\n"
                              "  return %c, %z\n"
                              "}\n";
static const char chained[] = "graph main(x f32 [64, 64], y f32 [64, 64]) mesh(tp=2) {\n"
                              "  %t = tanh(%x)\n"
                              "  %p = all_reduce(%t) kind=add axis=tp\n"
                              "  %w = wait(%p)\n"
                              "  %z = dot(%w, %y) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                              "  return %z\n"
                              "}\n";

static void run_overlap(const char *text) {
    struct arena *arena = arena_open();
    struct graph *g = parse(arena, text), *before = graph_copy(arena, g);
    struct overlap_log log = {0};
    passes(g, "fuse,overlap", &log);
    assert_true(place(g, OP_all_reduce, NULL) < place(g, OP_fused, "dot"));
    assert_true(place(g, OP_fused, "dot") < place(g, OP_wait, NULL));
    assert_true(place(g, OP_wait, NULL) < place(g, OP_fused, "sqrt"));
    assert_non_null(log.first);
    assert_null(log.first->next);
    assert_true(log.first->hidden > 0 && log.first->hidden <= log.first->seconds && log.first->moved > 0);
    struct tensor x[4], want[4], got[4];
    for (int i = 0; i < 4; i++)
        x[i] = random_tensor(&g->in[0]->type, (int64_t[]){64, 64}, 5 + (uint64_t)i, 0);
    assert_int_equal(graph_eval(before, x, want, NULL, NULL), YJ_OK);
    assert_int_equal(graph_eval(g, x, got, NULL, NULL), YJ_OK);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(want[i].bytes, got[i].bytes, want[i].n_bytes);
    free_all(x, 4), free_all(want, 4), free_all(got, 4);

    arena_close(arena);
}

static void test_overlap(void **state) {
    run_overlap(independent);
    run_overlap(earlier);
    struct arena *arena = arena_open();
    struct overlap_log none = {0};
    passes(parse(arena, chained), "fuse,overlap", &none);
    assert_non_null(none.first);
    assert_true(none.first->hidden == 0 && none.first->moved == 0);
    assert_non_null(strstr(none.first->why, "nothing independent"));
    arena_close(arena);
}

/* A state's new value, written in place, stays behind the kernels that read the old one. */
static void test_overlap_state(void **state) {
    struct arena *arena = arena_open();
    struct graph *g =
        parse(arena, "graph main(x f32 [64, 64], n f32 [1, 64], cache f32 [64, 64]) mesh(tp=2) state(cache = new) {\n"
                     "  %t = tanh(%x)\n"
                     "  %p = all_reduce(%t) kind=add axis=tp\n"
                     "  %w = wait(%p)\n"
                     "  %r = dot(%w, %cache) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]\n"
                     "  %new = update_slice(%cache, %n) start=[3, 0]\n"
                     "  return %r, %new\n"
                     "}\n");
    passes(g, "fuse,overlap", NULL);
    assert_true(place(g, OP_fused, "dot") < place(g, OP_fused, "update_slice"));
    arena_close(arena);
}

/* ---- a decoder from ONNX */

static char folder[] = "/tmp/yunjin-shard-XXXXXX";
#define LAYERS 2
#define VOCAB 128

static bool command(const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return system(text) == 0;
}

struct model {
    struct onnx_file *file;
    struct arena *arena;
    struct graph *g;
    const char *path, *in, *out;
    int ranks;
};

static enum yj_status import(void *argument) {
    struct model *m = argument;
    struct onnx_state state = {m->in, m->out};
    struct onnx_options o = {.n_states = 1, .states = &state};
    TRY(onnx_open(m->path, &m->file));
    TRY(onnx_import(m->file, m->arena, &o, &m->g));
    if (m->ranks > 1) m->g->mesh = (struct mesh){1, {"tp"}, {m->ranks}};
    return YJ_OK;
}

static struct model open_model(const char *path, const char *in, const char *out, int ranks) {
    struct model m = {.arena = arena_open(), .path = path, .in = in, .out = out, .ranks = ranks};
    if (arena_guard(import, &m) != YJ_OK) fail_msg("%s: %s", path, yj_error_text());
    return m;
}

static void close_model(struct model *m) {
    onnx_close(m->file);
    arena_close(m->arena);
}

/* Tokens, lengths and a cache that is partly full. */
static void decoder_inputs(const struct graph *g, struct tensor *x) {
    for (int i = 0; i < g->n_in; i++) {
        const struct type *t = &g->in[i]->type;
        int64_t shape[GRAPH_MAX_RANK];
        for (int d = 0; d < t->rank; d++)
            if (!dim_is_const(t->shape[d], &shape[d])) shape[d] = 3;
        x[i] = random_tensor(t, shape, 40 + (uint64_t)i, VOCAB);
        if (t->dtype == YJ_I32) *(int32_t *)x[i].bytes = t->rank ? 9 : 10; /* seqlens_k, total_sequence_length */
    }
}

static int split_weights(const struct graph *g) {
    int n = 0;
    for (const struct op *op = g->first; op; op = op->next)
        n += op->kind == OP_constant && op_attr(op, "split") && op->data.n_bytes > 4096;
    return n;
}

static void test_decoder(void **state) {
    char path[128], other[128];
    snprintf(path, sizeof path, "%s/d.onnx", folder);
    snprintf(other, sizeof other, "%s/e.onnx", folder);
    if (!command("/usr/bin/python3 -c 'import onnx' 2>/dev/null")) {
        print_message("skipped: no python3-onnx to write the decoder with\n");
        skip();
    }
    assert_true(command(
        "/usr/bin/python3 %s/examples/decoder/make_decoder.py %s --layers %d --hidden 64 --heads 4 --kv 2 --head 16 "
        "--ffn 96 --vocab %d --capacity 32",
        SOURCE_DIR, path, LAYERS, VOCAB));
    struct model whole = open_model(path, "past_*", "present_*", 1),
                 sharded = open_model(path, "past_*", "present_*", 2);
    struct tensor x[MOST];
    decoder_inputs(whole.g, x);
    passes(sharded.g, "fold,simplify,shard", NULL);
    assert_int_equal(count(sharded.g, OP_all_reduce), 2 * LAYERS);
    assert_true(split_weights(sharded.g) >= 7 * LAYERS); /* q k v o gate up down */
    for (int i = 0; i < sharded.g->n_states; i++) {      /* the heads of the cache */
        assert_int_equal(split_of(sharded.g->states[i].in), 1);
        assert_int_equal(split_of(sharded.g->states[i].out), 1);
    }
    compare(whole.g, sharded.g, x);
    passes(sharded.g, "fuse,layout,overlap", NULL);
    compare(whole.g, sharded.g, x);
    for (int seed = 1; seed <= 3; seed++) {
        assert_true(command("/usr/bin/python3 %s/tests/compiler/shuffle_onnx.py %s %s %d --state 'past_*=present_*'",
                            SOURCE_DIR, path, other, seed));
        struct model again = open_model(other, "keep_*_old", "keep_*_new", 2);
        passes(again.g, "fold,simplify,shard", NULL);
        assert_int_equal(count(again.g, OP_all_reduce), count(sharded.g, OP_all_reduce));
        assert_int_equal(count_collectives(again.g), count_collectives(sharded.g));
        assert_int_equal(split_weights(again.g), split_weights(sharded.g));
        compare(whole.g, again.g, x);
        close_model(&again);
    }
    free_all(x, whole.g->n_in);
    close_model(&whole);
    close_model(&sharded);
}

/* Three heads on two ranks, 63 channels, 125 words: attention, table and head stay whole; the rest is shared all the
 * same. */
static void test_decoder_odd(void **state) {
    char path[128];
    snprintf(path, sizeof path, "%s/odd.onnx", folder);
    if (!command("/usr/bin/python3 %s/examples/decoder/make_decoder.py %s --layers 1 --hidden 63 --heads 3 --kv 3 "
                 "--head 16 --ffn 96 --vocab 125 "
                 "--capacity 33 2>/dev/null",
                 SOURCE_DIR, path)) {
        print_message("skipped: this decoder cannot be written\n");
        skip();
    }
    struct model whole = open_model(path, "past_*", "present_*", 1),
                 sharded = open_model(path, "past_*", "present_*", 2);
    struct tensor x[MOST];
    decoder_inputs(whole.g, x);
    passes(sharded.g, "fold,simplify,shard", NULL);
    for (const struct op *op = sharded.g->first; op; op = op->next) {
        const char *name = op->kind == OP_constant && op->data.name ? op->data.name : "";
        if (!strcmp(name, "embedding") || !strcmp(name, "lm_head")) assert_null(op_attr(op, "split"));
        if (!strcmp(name, "layer0.down")) assert_non_null(op_attr(op, "split"));
    }
    for (int i = 0; i < sharded.g->n_states; i++)
        assert_int_equal(split_of(sharded.g->states[i].in), -1);
    compare(whole.g, sharded.g, x);
    free_all(x, whole.g->n_in);
    close_model(&whole);
    close_model(&sharded);
}

static int set_up(void **state) {
    return mkdtemp(folder) ? 0 : -1;
}
static int tear_down(void **state) {
    return command("rm -rf %s", folder) ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perceptron),           cmocka_unit_test(test_control_flow),
        cmocka_unit_test(test_collective_in_region), cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_split_text),           cmocka_unit_test(test_outermost),
        cmocka_unit_test(test_plan_counts),          cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_overlap_state),        cmocka_unit_test(test_decoder),
        cmocka_unit_test(test_decoder_odd),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

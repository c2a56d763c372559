/* SPDX-License-Identifier: Apache-2.0
 *
 * Control flow from graph to run: random graphs with ifs and loops in each other through all passes and the plan, which
 * the runtime walks with the kernels interpreted. Every output must have the bits that graph_eval gave before, and the
 * text of the plan must parse to the same plan.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <yunjin/compiler.h>
#include "compiler/pass.h"
#include "compiler/plan.h"
#include "runtime/program.h"
#include "tests/compiler/random_graph.h"

#include <stdlib.h>

struct whole {
    struct graph *g;
    const struct yj_target *target;
    struct arena *arena;
    struct program_kernels kernels;
    struct weights weights;
    struct planned planned;
    char *file; /* what the weights file holds */
    int64_t file_bytes;
};

/* --- kernels are interpreted --- */

static enum yj_status launch(void *user, const struct yj_launch *l, struct yj_fault *fault) {
    struct program_kernels *ks = user;
    void *buffers[128];
    assert_true(l->n_buffers <= 128);
    for (int i = 0; i < l->n_buffers; i++)
        buffers[i] = l->buffers[i].data;
    for (int i = 0; i < ks->n; i++)
        for (int v = 0; v < ks->kernel[i].n_variants; v++) {
            struct kernel *k = ks->kernel[i].variant[v];
            if (!strcmp(k->name, l->kernel))
                return kernel_eval(k, buffers, l->scalars, l->tile_begin, l->tile_end, 0, fault);
        }
    return report(YJ_ERR_INTERNAL, "no kernel is called %s", l->kernel);
}

/* --- from graph to plan --- */

static void place_weights(struct whole *j) {
    struct safetensor *tensors = NEW_ARRAY(j->arena, struct safetensor, j->weights.n + 1);
    char *header = NULL;
    size_t header_bytes;
    weights_tensors(&j->weights, tensors);
    if (safetensors_layout(tensors, j->weights.n, &header, &header_bytes, &j->file_bytes) != YJ_OK)
        fail_msg("%s", yj_error_text());
    free(header);
    j->file = aligned_alloc(64, ((size_t)j->file_bytes + 127) & ~(size_t)63);
    for (int i = 0; i < j->weights.n; i++)
        memcpy(j->file + tensors[i].at, j->weights.weight[i].bytes, j->weights.weight[i].n_bytes);
    if (plan_place_weights(&j->planned, tensors) != YJ_OK) fail_msg("%s", yj_error_text());
}

static void check_text(struct whole *j) {
    struct text first = {0}, second = {0};
    struct plan *again;
    plan_print(&first, j->planned.plan);
    if (plan_parse(j->arena, first.data, "plan", &again) != YJ_OK) fail_msg("%s\n%s", yj_error_text(), first.data);
    plan_print(&second, again);
    assert_string_equal(first.data, second.data);
    text_free(&first);
    text_free(&second);
}

static enum yj_status compile(void *argument) {
    struct whole *j = argument;
    j->kernels = (struct program_kernels){.arena = j->arena, .target = j->target};
    j->weights = (struct weights){.arena = j->arena};
    TRY(pipeline_run(j->g, &(struct pass_options){.target = j->target}));
    TRY(plan_make(j->g, j->arena, &j->kernels, &j->weights, &j->planned));
    place_weights(j);
    check_text(j);
    return YJ_OK;
}

/* --- running --- */

static struct yj_tensor tensor_of(const struct tensor *t) {
    struct yj_tensor y = {.size = sizeof y, .dtype = t->dtype, .rank = t->rank, .data = t->bytes};
    memcpy(y.shape, t->shape, sizeof *t->shape * (size_t)t->rank);
    return y;
}

static enum yj_status run_plan(struct whole *j, const struct tensor *inputs, struct pool *pool, struct program **r) {
    const struct yj_launcher launcher = {.size = sizeof launcher, .launch = launch};
    struct kernel_source source = {.launcher = &launcher, .user = &j->kernels};
    struct weight_file *file = NEW(j->arena, struct weight_file);
    *file = (struct weight_file){j->file, j->file_bytes};
    TRY(program_open(j->arena, j->planned.plan, &source, 1, file, pool, NULL, r));
    for (int i = 0; i < j->g->n_in; i++) {
        struct yj_tensor t = tensor_of(&inputs[i]);
        TRY(program_bind_input(*r, i, &t));
    }
    for (int again = 0; again < 2; again++) { /* a second run begins with what the first left in memory */
        TRY(program_prepare(*r));
        TRY(program_run(*r));
    }
    return YJ_OK;
}

static bool same_elements(enum yj_dtype dtype, const void *a, const void *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = element_load(a, dtype, i), y = element_load(b, dtype, i);
        bool nan = dtype_kind(dtype) == 'f' && isnan(bits_f32(x)) && isnan(bits_f32(y));
        if (x != y && !nan) return false;
    }
    return true;
}

static void print_job(const struct whole *j, const char *before) {
    struct text t = {0};
    graph_print(&t, j->g);
    if (j->planned.plan) plan_print(&t, j->planned.plan);
    print_error("%s\nbecame\n%s\n", before, t.data);
    text_free(&t);
}

static void check_outputs(struct whole *j, struct program *r, const struct tensor *want, const char *before,
                          const char *name) {
    for (int i = 0; i < j->g->n_out; i++) {
        struct yj_tensor got = {.size = sizeof got};
        if (program_output(r, i, &got) != YJ_OK) fail_msg("%s: %s", name, yj_error_text());
        bool same = got.dtype == want[i].dtype && got.rank == want[i].rank;
        for (int a = 0; same && a < got.rank; a++)
            same = got.shape[a] == want[i].shape[a];
        same = same && same_elements(got.dtype, got.data, want[i].bytes,
                                     (int64_t)(want[i].n_bytes / yj_dtype_bytes(want[i].dtype)));
        if (same) continue;
        print_job(j, before);
        fail_msg("%s: output %s differs", name, j->g->out_names[i]);
    }
}

/* G is evaluated, compiled, run and compared. */
static struct whole check(struct graph *g, const struct tensor *inputs, const char *name) {
    struct whole j = {.g = g, .arena = g->arena};
    struct tensor want[16];
    struct text before = {0};
    struct program *r = NULL;
    struct pool *pool;
    graph_print(&before, g);
    assert_true(g->n_out <= 16);
    assert_int_equal(yj_target_find("x86-64-v3", &j.target), YJ_OK);
    assert_int_equal(pool_open(1, &pool), YJ_OK);
    if (graph_verify(g) != YJ_OK || graph_eval(g, inputs, want, NULL, NULL) != YJ_OK)
        fail_msg("%s: %s\n%s", name, yj_error_text(), before.data);
    enum yj_status status = arena_guard(compile, &j);
    if (status == YJ_OK) status = run_plan(&j, inputs, pool, &r);
    if (status != YJ_OK) {
        print_job(&j, before.data);
        fail_msg("%s: %s", name, yj_error_text());
    }
    check_outputs(&j, r, want, before.data, name);
    for (int i = 0; i < g->n_out; i++)
        tensor_free(&want[i]);
    program_close(r);
    pool_close(pool);
    free(j.file);
    text_free(&before);
    return j;
}

static void test_random(void **state) {
    int blocks = 0, deep = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random_graph r;
        char name[40];
        snprintf(name, sizeof name, "seed %d", (int)seed);
        random_graph_fill(&r, seed * 104729, 4 + (int)(seed % 20), seed & 1, true, true);
        struct whole j = check(r.c.g, r.c.inputs, name);
        blocks += j.planned.plan->n_blocks - 1;
        deep += j.planned.plan->n_blocks > 4;
        graph_case_free(&r.c);
    }
    print_message("%d blocks, %d plans of more than 4\n", blocks, deep);
    assert_true(blocks > 300 && deep > 20);
}

/* --- small graphs, one thing each --- */

#define LOOP_HEAD "graph g(T in 0..6, i in 0..7, n i64 [], x f32 [4]) { %go = constant bool [] {true} "

static const struct {
    const char *name, *text;
    const char *says[3], *says_not[2]; /* of the plan */
} graphs[] = {
    {"carried values change places, one is unchanged",
     LOOP_HEAD "%y = neg(%x) %w = abs(%x) %a, %b, %c = loop(%n, %go, %x, %y, %w) "
               "body(i i64 [], p f32 [4], q f32 [4], r f32 [4]) { %t = constant bool [] {true} return %t, %q, %p, %r } "
               "return %a, %b, %c }",
     {"call #1"},
     {"turns"}},
    {"stacked rows and the number of the turn",
     LOOP_HEAD "%a, %rows = loop(%n, %go, %x) length=T body(j i64 [], p f32 [4]) { %t = constant bool [] {true} "
               "%v = cast(%j) to=f32 %k = broadcast(%v) shape=[4] axes=[] %s = add(%p, %k) return %t, %s, %p } "
               "return %a, %rows }",
     {"index turn0 turns T", "at turn0*16"}},
    {"a row at the number of the turn is a slice of memory",
     LOOP_HEAD "%m = constant f32 [3, 4] splat(2) %three = constant i64 [] {3} %a, %b = loop(%three, %go, %x, %m) "
               "body(i i64 [], p f32 [4], q f32 [3, 4]) { %t = constant bool [] {true} %row = gather(%q, %i) axis=0 "
               "%s = mul(%p, %row) return %t, %s, %q } return %a }",
     {"trips 3", "[turn0]"},
     {"gather"}},
    {"a carried value is written in place",
     LOOP_HEAD
     "%m = constant f32 [8, 4] splat(0) %four = constant i64 [] {4} %a, %b = loop(%four, %go, %m, %x) index=i "
     "body(j i64 [], p f32 [8, 4], q f32 [4]) { %t = constant bool [] {true} %r = reshape(%q) shape=[1, 4] "
     "%s = update_slice(%p, %r) start=[i, 0] %u = add(%q, %q) return %t, %s, %u } return %a, %b }",
     {"\"fused\" f32 host alias %5 at 0 bytes 128"}},
    {"the old value is read after the write, so it is not in place",
     LOOP_HEAD
     "%m = constant f32 [8, 4] splat(1) %four = constant i64 [] {4} %a, %b = loop(%four, %go, %m, %x) index=i "
     "body(j i64 [], p f32 [8, 4], q f32 [4]) { %t = constant bool [] {true} %r = reshape(%q) shape=[1, 4] "
     "%f = reshape(%p) shape=[32] %s = update_slice(%p, %r) start=[i, 0] "
     "%z = slice(%f) start=[0] limit=[4] stride=[1] %u = add(%q, %z) return %t, %s, %u } return %a, %b }",
     {"\"fused\" f32 host temp bytes 128"},
     {"\"fused\" f32 host alias"}},
    {"a predicate ends the loop",
     LOOP_HEAD "%a = loop(%n, %go, %x) body(i i64 [], p f32 [4]) { %d = add(%p, %p) %m = reduce(%d) axes=[0] kind=max "
               "%l = constant f32 [] {40} %t = lt(%m, %l) return %t, %d } return %a }",
     {"while while."}},
    {"a side gives what it was given, and an alias of it",
     "graph g(n i64 [], x f32 [4]) { %z = constant i64 [] {2} %c = lt(%n, %z) %a, %b = if(%c, %x) then(p f32 [4]) { "
     "%r = reshape(%p) shape=[2, 2] return %p, %r } else(p f32 [4]) { %q = neg(%p) %r = reshape(%q) shape=[2, 2] "
     "return %q, %r } return %a, %b }",
     {"branch if.", "#1 #2"}},
    {"loops in loops, a side in the inner one",
     LOOP_HEAD
     "%a = loop(%n, %go, %x) body(i i64 [], p f32 [4]) { %t = constant bool [] {true} %k = constant i64 [] {2} "
     "%b = loop(%k, %t, %p) body(j i64 [], q f32 [4]) { %t = constant bool [] {true} %m = reduce(%q) axes=[0] "
     "kind=max %l = constant f32 [] {9} %c = lt(%m, %l) %d = if(%c, %q) then(u f32 [4]) { %v = add(%u, %u) "
     "return %v } else(u f32 [4]) { return %u } return %t, %d } return %t, %b } return %a }",
     {"#3", "#4"}},
};

static void check_graph(size_t i, int64_t n) {
    struct arena *arena = arena_open();
    struct graph *g;
    float x[4] = {1, -2, 3.5f, 0.25f};
    struct tensor inputs[2] = {{.dtype = YJ_I64, .bytes = &n, .n_bytes = 8},
                               {.dtype = YJ_F32, .rank = 1, .shape = {4}, .bytes = x, .n_bytes = sizeof x}};
    if (graph_parse(arena, graphs[i].text, graphs[i].name, &g) != YJ_OK)
        fail_msg("%s: %s", graphs[i].name, yj_error_text());
    struct whole j = check(g, inputs, graphs[i].name);
    struct text plan = {0};
    plan_print(&plan, j.planned.plan);
    for (size_t k = 0; k < 3 && graphs[i].says[k]; k++)
        if (!strstr(plan.data, graphs[i].says[k]))
            fail_msg("%s: no '%s' in\n%s", graphs[i].name, graphs[i].says[k], plan.data);
    for (size_t k = 0; k < 2 && graphs[i].says_not[k]; k++)
        if (strstr(plan.data, graphs[i].says_not[k]))
            fail_msg("%s: '%s' in\n%s", graphs[i].name, graphs[i].says_not[k], plan.data);
    text_free(&plan);
    arena_close(arena);
}

static void test_graphs(void **state) {
    for (size_t i = 0; i < COUNT(graphs); i++)
        for (int64_t n = -1; n <= 5; n += 2)
            check_graph(i, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

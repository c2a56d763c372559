/* SPDX-License-Identifier: Apache-2.0
 *
 * From random graphs to kernels: all passes, then every fused op is lowered, tiled for this kind of machine, and both
 * kernels are interpreted on the operands that graph_eval saw. Every bit must be the one that graph_eval gave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <yunjin/compiler.h>
#include "compiler/lower.h"
#include "compiler/pass.h"
#include "ir/map.h"
#include "tests/compiler/random_graph.h"

struct job {
    struct random_graph r;
    struct map seen;
    struct yj_target target;
    int kernels;
};

/* Keeps a copy of every value of the graph itself. */
static void keep(void *user, const struct value *v, int rank, const struct tensor *t) {
    struct job *j = user;
    if (v->op->graph != j->r.c.g) return;
    struct tensor *copy = NEW(j->r.c.arena, struct tensor);
    *copy = *t;
    copy->bytes = arena_new(j->r.c.arena, t->n_bytes + 64);
    if (t->n_bytes) memcpy(copy->bytes, t->bytes, t->n_bytes);
    map_set(&j->seen, v, copy);
}

static const void *bytes_of(struct job *j, const struct value *v) {
    const struct data *d;
    const struct tensor *t = map_get(&j->seen, v);
    if (t) return t->bytes;
    if (value_constant(v, &d)) return d->bytes;
    return j->r.c.inputs[v->index].bytes;
}

static size_t n_bytes_of(const struct value *v) {
    return (size_t)random_elements(v) * yj_dtype_bytes(v->type.dtype);
}

static bool equal(enum yj_dtype dtype, const void *a, const void *b, size_t n_bytes) {
    for (int64_t i = 0; i < (int64_t)(n_bytes / yj_dtype_bytes(dtype)); i++) {
        uint64_t x = element_load(a, dtype, i), y = element_load(b, dtype, i);
        bool nan = dtype_kind(dtype) == 'f' && isnan(bits_f32(x)) && isnan(bits_f32(y));
        if (x != y && !nan) return false;
    }
    return true;
}

static void blame(const struct op *op, const struct kernel *k, const char *what) {
    struct text t = {0};
    graph_print(&t, op->regions[0]);
    text_add(&t, "\n");
    kernel_print(&t, k);
    print_error("%s\n", t.data);
    text_free(&t);
    fail_msg("%s: %s", op_where(op), what);
}

static void run_kernel(struct job *j, const struct op *op, struct kernel *k, uint64_t seed) {
    void *buffer[128], *scratch[128];
    int64_t scalar[32];
    struct yj_fault fault = {0};
    assert_true(k->n_args == op->n_in + op->n_out && k->n_args <= 128 && k->n_dims <= 32);
    for (int i = 0; i < k->n_dims; i++)
        scalar[i] = case_size(k->dim_args[i]);
    for (int i = 0; i < k->n_args; i++) {
        const struct value *v = i < op->n_in ? op->in[i] : op->out[i - op->n_in];
        size_t n = n_bytes_of(v);
        buffer[i] = scratch[i] = aligned_alloc(64, (n + 127) & ~(size_t)63);
        memset(buffer[i], 0x5A, n + 1);
        if (i < op->n_in && n) memcpy(buffer[i], bytes_of(j, v), n);
    }
    if (kernel_eval(k, buffer, scalar, 0, case_size(kernel_tile_count(k)), seed, &fault) != YJ_OK)
        blame(op, k, yj_error_text());
    assert_int_equal(fault.code, YJ_FAULT_NONE);
    for (int i = op->n_in; i < k->n_args; i++) {
        const struct value *v = op->out[i - op->n_in];
        if (!equal(v->type.dtype, bytes_of(j, v), buffer[i], n_bytes_of(v))) blame(op, k, "a result differs");
    }
    for (int i = 0; i < k->n_args; i++)
        free(scratch[i]);
    j->kernels++;
}

/* Guards of a variant hold for these dims. */
static bool guarded(const struct kernel *k) {
    for (int i = 0; i < k->n_guards; i++) {
        int64_t v = case_size(k->guards[i].value);
        if (v < case_size(k->guards[i].low) || v > case_size(k->guards[i].high)) return false;
    }
    return true;
}

static enum yj_status compile_and_run(void *argument) {
    struct job *j = argument;
    struct graph *g = j->r.c.g;
    struct tensor out[8];
    TRY(pipeline_run(g, &(struct pass_options){.target = &j->target}));
    TRY(graph_eval(g, j->r.c.inputs, out, keep, j));
    for (int i = 0; i < g->n_out; i++)
        tensor_free(&out[i]);
    for (const struct op *op = g->first; op; op = op->next) {
        struct kernel *plain, *variants[TILE_MAX_VARIANTS];
        int n;
        if (op->kind != OP_fused) continue;
        TRY(lower_op(j->r.c.arena, op, "kernel", NULL, &plain));
        TRY(kernel_verify(plain));
        run_kernel(j, op, plain, 0);
        TRY(tile_kernel(j->r.c.arena, plain, &j->target, &n, variants));
        for (int i = 0; i < n; i++)
            if (guarded(variants[i])) run_kernel(j, op, variants[i], 1 + (uint64_t)i);
    }
    return YJ_OK;
}

static void test_kernels(void **state) {
    const struct yj_target *target;
    int kernels = 0;
    if (yj_target_find("x86-64-v3", &target) != YJ_OK) fail_msg("%s", yj_error_text());
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct job j = {.target = *target};
        random_graph_make(&j.r, seed * 104729, 5 + (int)(seed % 90), seed & 1, true);
        j.seen.arena = j.r.c.arena;
        if (arena_guard(compile_and_run, &j) != YJ_OK) {
            struct text t = {0};
            graph_print(&t, j.r.c.g);
            fail_msg("seed %d: %s\n%s", (int)seed, yj_error_text(), t.data);
        }
        kernels += j.kernels;
        graph_case_free(&j.r.c);
    }
    print_message("%d kernels gave the bits of graph_eval\n", kernels);
    assert_true(kernels > 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

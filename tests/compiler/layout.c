/* SPDX-License-Identifier: Apache-2.0
 *
 * From a graph to kernels: passes (fuse and layout among them), then every fused op lowered, tiled and interpreted on
 * memory that lies as its layouts say. The outputs have the bits of graph_eval on the graph as it was written.
 */
#include "compiler/pass.h"
#include "ir/map.h"
#include "tests/compiler/groups.h"

static const struct yj_target target = {.name = "avx2",
                                        .vector_bits = 256,
                                        .vector_registers = 16,
                                        .l1_bytes = 32 << 10,
                                        .l2_bytes = 512 << 10,
                                        .cores = 2,
                                        .gflops_core = 100,
                                        .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}}};

static const struct group nets[] = {
    {"conv_net",
     "graph g(N in 1.., W in 8.., x f32 [N, 3, 9, W]) {\n"
     " %w0 = constant f32 [20, 3, 3, 3] data(0) %b0 = constant f32 [20] data(1) %w1 = constant f32 [20, 1, 3, 3] "
     "data(2) %w2 = constant f32 [24, 20, 1, 1] data(3)\n"
     " %c0 = convolution(%x, %w0) strides=[2, 2] low=[1, 1] high=[1, 1] dilation=[1, 1] groups=1\n"
     " %bb = broadcast(%b0) shape=[N, 20, 5, (W - 1)/2 + 1] axes=[1] %a0 = add(%c0, %bb) %z = constant f32 [] {0} %zb "
     "= broadcast(%z) shape=[N, 20, 5, (W - 1)/2 + 1] axes=[] %r0 = max(%a0, %zb)\n"
     " %c1 = convolution(%r0, %w1) strides=[1, 1] low=[1, 1] high=[1, 1] dilation=[1, 1] groups=20 %r1 = max(%c1, %zb) "
     "%s1 = add(%r1, %r0)\n"
     " %c2 = convolution(%s1, %w2) strides=[1, 1] low=[0, 0] high=[0, 0] dilation=[1, 1] groups=1\n"
     " %p = reduce_window(%c2) window=[1, 1, 2, 2] strides=[1, 1, 2, 2] low=[0, 0, 0, 0] high=[0, 0, 0, 0] "
     "dilation=[1, 1, 1, 1] kind=max\n"
     " %m = reduce(%p) axes=[2, 3] kind=add %w3 = constant f32 [24, 10] data(4) %y = dot(%m, %w3) batch_a=[] "
     "batch_b=[] contract_a=[1] contract_b=[0] return %y, %c2 }",
     {{1, 8, -1}, {2, 21, -1}},
     0,
     0},
    {"attention",
     "graph g(S in 1.., x f32 [S, 32]) {\n"
     " %wq = constant f32 [32, 32] data(0) %wk = constant f32 [16, 32] data(1) %q = dot(%x, %wq) batch_a=[] batch_b=[] "
     "contract_a=[1] contract_b=[0] %k = dot(%x, %wk) batch_a=[] batch_b=[] contract_a=[1] contract_b=[1]\n"
     " %qr = reshape(%q) shape=[S, 2, 16] %qt = transpose(%qr) permutation=[1, 0, 2] %kr = reshape(%k) shape=[1, S, "
     "16] %kb = broadcast(%kr) shape=[2, S, 16] axes=[0, 1, 2]\n"
     " %s = dot(%qt, %kb) batch_a=[0] batch_b=[0] contract_a=[2] contract_b=[2] %o = dot(%s, %kb) batch_a=[0] "
     "batch_b=[0] contract_a=[2] contract_b=[1]\n"
     " %t = transpose(%o) permutation=[1, 0, 2] %r = reshape(%t) shape=[S, 32] %y = add(%r, %x) return %y }",
     {{1, -1}, {19, -1}},
     0,
     0},
    {"tied",
     "graph g(S in 1.., i i64 [S]) { %e = constant f32 [40, 24] data(0) %x = gather(%e, %i) axis=0 %et = transpose(%e) "
     "permutation=[1, 0] %y = dot(%x, %et) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] return %y }",
     {{1, -1}, {7, -1}},
     40,
     0},
};

/* Weights, which the text only numbers, get random bytes; those of one number in two copies of a graph are the same. */
static void fill_constants(struct arena *arena, struct graph *g) {
    for (struct op *op = g->first; op; op = op->next) {
        if (op->kind != OP_constant || op->data.bytes) continue;
        int64_t n = 1, size;
        for (int i = 0; i < op->out[0]->type.rank; i++) {
            assert_true(dim_is_const(op->out[0]->type.shape[i], &size));
            n *= size;
        }
        float *f = NEW_ARRAY(arena, float, n);
        uint64_t seed = (uint64_t)op->data.weight + 100;
        for (int64_t i = 0; i < n; i++)
            f[i] = (float)((double)(uint32_t)trial_random(&seed) / 4294967296.0 - 0.5);
        op->data.bytes = f;
        op->data.n_bytes = (size_t)n * sizeof *f;
    }
}

struct machine {
    struct trial *t;
    struct map memory;
};

static void *memory_of(struct machine *m, const struct value *v) {
    void *bytes = map_get(&m->memory, v);
    if (bytes) return bytes;
    struct type type = fixed_type(m->t, v, m->t->g->dims);
    size_t n;
    assert_int_equal(layout_bytes(&type, &v->layout, &n), YJ_OK);
    bytes = NEW_ARRAY(m->t->arena, char, n + 64);
    map_set(&m->memory, v, bytes);
    return bytes;
}

static void load_value(struct machine *m, const struct value *v, const void *plain) {
    struct type type = fixed_type(m->t, v, m->t->g->dims);
    assert_int_equal(layout_pack(&type, &v->layout, plain, memory_of(m, v)), YJ_OK);
}

static struct kernel *kernel_for(struct trial *t, struct op *op, bool tiled) {
    struct kernel *k = NULL, *variants[TILE_MAX_VARIANTS];
    int n = 0, chosen = 0;
    if (lower_op(t->arena, op, "k", NULL, &k) != YJ_OK) fail_msg("%s: %s", t->group->name, yj_error_text());
    if (!tiled) return k;
    assert_int_equal(tile_kernel(t->arena, k, &target, &n, variants), YJ_OK);
    for (; chosen < n - 1; chosen++) {
        bool holds = true;
        for (int i = 0; i < variants[chosen]->n_guards; i++) {
            const struct guard *g = &variants[chosen]->guards[i];
            int64_t v = trial_number(t, g->value);
            holds &= v >= trial_number(t, g->low) && v <= trial_number(t, g->high);
        }
        if (holds) break;
    }
    return variants[chosen];
}

static void run_op(struct machine *m, struct op *op, bool tiled) {
    struct trial *t = m->t;
    if (op->kind == OP_constant) {
        load_value(m, op->out[0], op->data.bytes);
    } else if (op->kind == OP_reshape) {
        map_set(&m->memory, op->out[0], memory_of(m, op->in[0]));
    } else {
        assert_int_equal(op->kind, OP_fused);
        struct kernel *k = kernel_for(t, op, tiled);
        void *buffers[16];
        int64_t scalar[8];
        struct yj_fault fault = {0};
        for (int i = 0; i < op->n_in; i++)
            buffers[i] = memory_of(m, op->in[i]);
        for (int i = 0; i < op->n_out; i++)
            buffers[op->n_in + i] = memory_of(m, op->out[i]);
        for (int i = 0; i < k->n_dims; i++)
            scalar[i] = trial_number(t, k->dim_args[i]);
        if (kernel_eval(k, buffers, scalar, 0, trial_number(t, kernel_tile_count(k)), 5, &fault) != YJ_OK) {
            struct text text = {0};
            kernel_print(&text, k);
            fail_msg("%s: %s\n%s", t->group->name, yj_error_text(), text.data);
        }
        assert_int_equal(fault.code, YJ_FAULT_NONE);
    }
}

static void run_net(const struct group *group, int binding, bool tiled, bool *packed, bool *last) {
    struct trial t = {.group = group, .arena = arena_open()};
    uint64_t seed = 3;
    struct graph *before;
    if (graph_parse(t.arena, group->text, group->name, &before) != YJ_OK)
        fail_msg("%s: %s", group->name, yj_error_text());
    assert_int_equal(graph_parse(t.arena, group->text, group->name, &t.g), YJ_OK);
    fill_constants(t.arena, before);
    fill_constants(t.arena, t.g);
    for (int i = 0; i < 6 && group->dims[binding][i] >= 0; i++)
        t.value[i] = group->dims[binding][i];
    for (int i = 0; i < before->n_in; i++) {
        int64_t shape[GRAPH_MAX_RANK];
        const struct type *type = &before->in[i]->type;
        for (int d = 0; d < type->rank; d++)
            shape[d] = trial_number(&t, type->shape[d]);
        assert_int_equal(tensor_new(type->dtype, type->rank, shape, &t.in[i]), YJ_OK);
        trial_fill(group, &t.in[i], &seed);
    }
    if (graph_eval(before, t.in, t.out, NULL, NULL) != YJ_OK) fail_msg("%s", yj_error_text());
    struct pass_options options = {.target = &target, .only = "simplify,fuse,layout"};
    if (pipeline_run(t.g, &options) != YJ_OK) fail_msg("%s", yj_error_text());
    struct machine m = {&t, {.arena = t.arena}};
    for (int i = 0; i < t.g->n_in; i++)
        load_value(&m, t.g->in[i], t.in[i].bytes);
    for (struct op *op = t.g->first; op; op = op->next) {
        run_op(&m, op, tiled);
        for (int i = 0; i < op->n_out; i++) {
            *packed |= op->out[i]->layout.format != NULL;
            *last |= op->out[i]->type.rank == 4 && op->out[i]->layout.order[1] == 2 && op->out[i]->layout.order[3] == 1;
        }
    }
    for (int i = 0; i < t.g->n_out; i++) {
        enum yj_dtype dtype = t.out[i].dtype;
        int64_t at = first_difference(dtype, t.out[i].bytes, memory_of(&m, t.g->out[i]),
                                      t.out[i].n_bytes / yj_dtype_bytes(dtype), 0);
        if (at >= 0) fail_msg("%s: output %d differs at %lld", group->name, i, (long long)at);
        tensor_free(&t.out[i]);
    }
    for (int i = 0; i < t.g->n_in; i++)
        tensor_free(&t.in[i]);
    arena_close(t.arena);
}

static void test_nets(void **state) {
    for (size_t i = 0; i < COUNT(nets); i++)
        for (int d = 0; group_has(&nets[i], d); d++)
            for (int tiled = 0; tiled < 2; tiled++) {
                bool packed = false, last = false;
                run_net(&nets[i], d, tiled, &packed, &last);
                assert_true(packed);
                assert_int_equal(last, strcmp(nets[i].name, "conv_net") == 0);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

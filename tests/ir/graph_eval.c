/* SPDX-License-Identifier: Apache-2.0
 *
 * What the interpreter promises beyond values: the order of sums to the bit, faults that name the op, dims bound from
 * the shapes of inputs, meshes, and refusal of what cannot fit this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/graph.h"
#include "ir/graph_inside.h"
#include <math.h>
#include <stdlib.h>

static struct arena *arena;

static int setup(void **state) {
    arena = arena_open();
    return arena ? 0 : -1;
}

static int teardown(void **state) {
    arena_close(arena);
    return 0;
}

static struct graph *parse(const char *text) {
    struct graph *g;
    if (graph_parse(arena, text, "eval", &g) != YJ_OK) fail_msg("%s", yj_error_text());
    return g;
}

static struct tensor make(enum yj_dtype dtype, int rank, int64_t a, int64_t b, int64_t c) {
    struct tensor t;
    if (tensor_new(dtype, rank, (int64_t[]){a, b, c}, &t) != YJ_OK) fail_msg("%s", yj_error_text());
    return t;
}

static struct tensor random_floats(int rank, int64_t a, int64_t b, int64_t c) {
    struct tensor t = make(YJ_F32, rank, a, b, c);
    for (size_t i = 0; i < t.n_bytes / 4; i++)
        ((float *)t.bytes)[i] = (float)drand48() * 2 - 1;
    return t;
}

static void run(const struct graph *g, const struct tensor *in, struct tensor *out) {
    if (graph_eval(g, in, out, NULL, NULL) != YJ_OK) fail_msg("%s", yj_error_text());
}

static void refused(const struct graph *g, const struct tensor *in, enum yj_status status, const char *words) {
    struct tensor out[4];
    assert_int_equal(graph_eval(g, in, out, NULL, NULL), status);
    if (!strstr(yj_error_text(), words)) fail_msg("'%s' does not say '%s'", yj_error_text(), words);
}

/* --- sums to the bit --- */

static float reduce_lanes(const float *x, int n) {
    float p[32] = {0};
    for (int i = 0; i < n; i++)
        p[i % 32] += x[i];
    for (int s = 16; s; s /= 2)
        for (int i = 0; i < s; i++)
            p[i] += p[i + s];
    return p[0];
}

static void test_reduce_order(void **state) {
    struct graph *g =
        parse("graph g(x f32 [3, 7, 29]) { %a = reduce(%x) axes=[1, 2] kind=add %b = reduce(%x) axes=[0, 2] kind=add "
              "return %a, %b }");
    struct tensor in = random_floats(3, 3, 7, 29), out[2];
    const float *x = in.bytes;
    int differ = 0;
    run(g, &in, out);
    for (int i = 0; i < 3; i++) {
        float plain = 0;
        for (int k = 0; k < 203; k++)
            plain += x[i * 203 + k];
        assert_true(((float *)out[0].bytes)[i] == reduce_lanes(x + i * 203, 203));
        differ += plain != reduce_lanes(x + i * 203, 203);
    }
    assert_true(differ > 0); /* the order can be seen */
    for (int j = 0; j < 7; j++) {
        float sum = 0;
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 29; k++)
                sum += x[(i * 7 + j) * 29 + k];
        assert_true(((float *)out[1].bytes)[j] == sum);
    }
    for (int i = 0; i < 2; i++)
        tensor_free(&out[i]);
    tensor_free(&in);
}

static void test_dot_order(void **state) {
    struct graph *g = parse(
        "graph g(M in 0.., a f32 [M, 131], b f32 [70, 131]) { %c = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] "
        "contract_b=[1] return %c }");
    struct tensor in[2] = {random_floats(2, 5, 131, 0), random_floats(2, 70, 131, 0)}, out;
    const float *a = in[0].bytes, *b = in[1].bytes;
    run(g, in, &out);
    assert_int_equal(out.shape[0], 5);
    for (int m = 0; m < 5; m++)
        for (int n = 0; n < 70; n++) {
            float c = 0;
            for (int k = 0; k < 131; k++)
                c = fmaf(a[m * 131 + k], b[n * 131 + k], c);
            assert_true(((float *)out.bytes)[m * 70 + n] == c);
        }
    tensor_free(&out);
    tensor_free(&in[0]);
    tensor_free(&in[1]);
}

/* NCHW and NHWC add in one order: window positions, then channels. */
static void test_convolution_order(void **state) {
    struct graph *g =
        parse("graph g(x f32 [1, 9, 30], w f32 [4, 9, 3]) {"
              "  %y = convolution(%x, %w) strides=[1] low=[1] high=[1] dilation=[1] groups=1"
              "  %xt = transpose(%x) permutation=[0, 2, 1]"
              "  %wt = transpose(%w) permutation=[2, 1, 0]"
              "  %z = convolution(%xt, %wt) strides=[1] low=[1] high=[1] dilation=[1] groups=1 layout=NHWC"
              "  %zt = transpose(%z) permutation=[0, 2, 1]"
              "  return %y, %zt }");
    struct tensor in[2] = {random_floats(3, 1, 9, 30), random_floats(3, 4, 9, 3)}, out[2];
    const float *x = in[0].bytes, *w = in[1].bytes;
    run(g, in, out);
    for (int f = 0; f < 4; f++)
        for (int p = 0; p < 30; p++) {
            float sum = 0;
            for (int k = 0; k < 3; k++)
                for (int c = 0; c < 9; c++)
                    sum =
                        fmaf(p + k - 1 >= 0 && p + k - 1 < 30 ? x[c * 30 + p + k - 1] : 0, w[(f * 9 + c) * 3 + k], sum);
            assert_true(((float *)out[0].bytes)[f * 30 + p] == sum);
        }
    assert_memory_equal(out[0].bytes, out[1].bytes, out[0].n_bytes);
    for (int i = 0; i < 2; i++)
        tensor_free(&in[i]), tensor_free(&out[i]);
}

/* Narrow floats: each op rounds, a sum rounds once. */
static void test_narrow(void **state) {
    struct graph *g = parse(
        "graph g(x bf16 [3]) { %s = reduce(%x) axes=[0] kind=add %y = add(%x, %x) %z = mul(%y, %x) return %s, %z }");
    struct tensor in = make(YJ_BF16, 1, 3, 0, 0), out[2];
    const float v[3] = {256, 1, 1};
    for (int i = 0; i < 3; i++)
        ((uint16_t *)in.bytes)[i] = f32_to_bf16(v[i]);
    run(g, &in, out);
    assert_true(bf16_to_f32(*(uint16_t *)out[0].bytes) == 258); /* 256 + 1 is 256 when each addition rounds */
    assert_true(bf16_to_f32(*(uint16_t *)out[1].bytes) == 131072);
    tensor_free(&in);
    for (int i = 0; i < 2; i++)
        tensor_free(&out[i]);
}

/* --- faults --- */

static void test_indices(void **state) {
    struct graph *g = parse("graph g(x f32 [4, 2], i i64 [2]) { %y = gather(%x, %i) axis=0 @7 return %y }");
    struct tensor in[2] = {random_floats(2, 4, 2, 0), make(YJ_I64, 1, 2, 0, 0)};
    static const char *names[8] = {[7] = "embed (Gather)"};
    g->n_nodes = 8;
    g->node_names = names;
    ((int64_t *)in[1].bytes)[1] = 4;
    refused(g, in, YJ_ERR_INPUT, "gather %y (node 7 embed (Gather)): index 4 is not in 0..3");
    ((int64_t *)in[1].bytes)[1] = -1;
    refused(g, in, YJ_ERR_INPUT, "index -1 is not in 0..3");
    g = parse("graph g(x f32 [4, 2], i i64 [2]) { %v = reshape(%i) shape=[1, 2] %u = constant f32 [1] {1} %y = "
              "scatter(%x, %v, %u) "
              "combine=none %z = gather_nd(%y, %v) batch=0 return %z }");
    refused(g, in, YJ_ERR_INPUT, "scatter %y: index -1 is not in 0..1");
    tensor_free(&in[0]);
    tensor_free(&in[1]);
}

/* What inference could not tell is found at run time. */
static void test_unequal_dims(void **state) {
    struct tensor in[2] = {random_floats(1, 3, 0, 0), random_floats(1, 4, 0, 0)};
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = add(%a, %b) return %c }"), in, YJ_ERR_INPUT,
            "add %c: operand 1 has another shape");
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = reshape(%a) shape=[B] return %c }"), in, YJ_ERR_INPUT,
            "reshape %c: 3 elements do not become 4");
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = broadcast(%a) shape=[B] axes=[0] return %c }"), in,
            YJ_ERR_INPUT, "does not spread");
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[0] "
                  "contract_b=[0] return %c }"),
            in, YJ_ERR_INPUT, "contracted axes differ");
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = slice(%a) start=[0] limit=[B] stride=[1] return %c }"), in,
            YJ_ERR_INPUT, "0..4 is not in axis 0");
    refused(parse("graph g(a f32 [A], b f32 [B]) { %c = iota() shape=[A-B] axis=0 dtype=i32 return %c }"), in,
            YJ_ERR_INPUT, "would be -1 long");
    tensor_free(&in[0]);
    tensor_free(&in[1]);
}

static void test_inputs(void **state) {
    struct graph *g = parse("graph g(N in 2..5, x f32 [N*2, N+1]) { %y = neg(%x) return %y }");
    struct tensor in = random_floats(2, 8, 5, 0), out;
    run(g, &in, &out);
    tensor_free(&out);
    in.shape[0] = 5, in.shape[1] = 8;
    refused(g, &in, YJ_ERR_INPUT, "input x");
    in.shape[0] = 20, in.shape[1] = 2;
    refused(g, &in, YJ_ERR_INPUT, "the dim N is");
    in.shape[0] = INT64_C(1) << 62, in.shape[1] = 4;
    refused(g, &in, YJ_ERR_INPUT, "");
    in.shape[0] = 8, in.shape[1] = 5, in.rank = 1;
    refused(g, &in, YJ_ERR_INPUT, "should be f32 [");
    in.rank = 2, in.dtype = YJ_I32;
    refused(g, &in, YJ_ERR_INPUT, "it is i32 of rank 2");
    in.dtype = YJ_F32, in.n_bytes = 8;
    refused(g, &in, YJ_ERR_INPUT, "8 bytes");
    tensor_free(&in);
}

static void test_huge(void **state) {
    struct tensor none;
    refused(parse("graph g() { %y = iota() shape=[1099511627776] axis=0 dtype=i32 return %y }"), &none, YJ_ERR_MEMORY,
            "iota %y: a tensor of 4398046511104 bytes");
    refused(
        parse(
            "graph g() { %y = iota() shape=[1099511627776, 1099511627776, 1099511627776] axis=0 dtype=i32 return %y }"),
        &none, YJ_ERR_MEMORY, "more than");
    struct tensor t;
    assert_int_equal(tensor_new(YJ_F32, 2, (int64_t[]){INT64_MAX, 0}, &t), YJ_OK);
    assert_int_equal(t.n_bytes, 0);
    tensor_free(&t);
    assert_int_equal(tensor_new(YJ_F32, 1, (int64_t[]){-1}, &t), YJ_ERR_INPUT);
    refused(parse("graph g() { %w = constant f32 [2] data(3) %y = neg(%w) return %y }"), &none, YJ_ERR_INPUT,
            "weight 3 was not given");
}

/* --- meshes --- */

/* A product with its weight split over tp by rows gives partial sums; all_reduce joins them to the whole. */
static void test_mesh(void **state) {
    struct graph *g =
        parse("graph g(rank.tp in 0..1, x f32 [1, 3]) mesh(dp=2, tp=2) {"
              "  %w = constant f32 [3, 2] shard(tp,-) split=tp {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}"
              "  %i = iota() shape=[4] axis=0 dtype=i64 %r = slice(%i) start=[rank.tp*2] limit=[rank.tp*2+2] stride=[1]"
              "  %p = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0]"
              "  %a = all_reduce(%p) kind=add axis=tp %y = wait(%a)"
              "  return %y, %r }");
    struct tensor in[4], out[8];
    for (int r = 0; r < 4; r++) {
        in[r] = make(YJ_F32, 2, 1, 3, 0);
        for (int i = 0; i < 3; i++)
            ((float *)in[r].bytes)[i] = (float)(1 + (r & 1) * 10); /* dp varies fastest */
    }
    run(g, in, out);
    for (int r = 0; r < 4; r++) {
        float scale = (float)(1 + (r & 1) * 10), *y = out[r * 2].bytes;
        assert_true(y[0] == scale * 36 && y[1] == scale * 42);
        assert_int_equal(*(int64_t *)out[r * 2 + 1].bytes, r / 2 * 2);
        tensor_free(&in[r]);
    }
    for (int i = 0; i < 8; i++)
        tensor_free(&out[i]);
}

static void test_disagreement(void **state) {
    struct graph *g = parse("graph g(p bool []) mesh(tp=2) { %y = if(%p) a() { %c = constant i64 [] {1} return %c } "
                            "b() { %c = constant i64 [] {2} return %c } return %y }");
    struct tensor in[2] = {make(YJ_BOOL, 0, 0, 0, 0), make(YJ_BOOL, 0, 0, 0, 0)}, out[2];
    run(g, in, out);
    assert_int_equal(*(int64_t *)out[0].bytes, 2);
    tensor_free(&out[0]);
    tensor_free(&out[1]);
    *(bool *)in[1].bytes = true;
    refused(g, in, YJ_ERR_UNSUPPORTED, "ranks do not agree on %p");
    tensor_free(&in[0]);
    tensor_free(&in[1]);
}

/* --- regions and bind --- */

/* Newton's method for the square root of 2 until the step is small; every estimate is kept. */
static void test_loop(void **state) {
    struct graph *g =
        parse("graph g(x f64 []) { %t = constant i64 [] {50} %go = constant bool [] {true}"
              "  %y, %all = loop(%t, %go, %x) length=T body(i i64 [], x f64 []) {"
              "    %two = constant f64 [] {2} %h = div(%two, %x) %s = add(%x, %h) %n = div(%s, %two)"
              "    %d = sub(%n, %x) %e = abs(%d) %eps = constant f64 [] {1e-9} %c = gt(%e, %eps) return %c, %n, %n }"
              "  %k = reduce(%all) axes=[0] kind=min return %y, %all, %k }");
    struct tensor in = make(YJ_F64, 0, 0, 0, 0), out[3];
    *(double *)in.bytes = 1;
    run(g, &in, out);
    assert_true(fabs(*(double *)out[0].bytes - sqrt(2)) < 1e-12);
    assert_int_equal(out[1].shape[0], 5);
    assert_true(((double *)out[1].bytes)[0] == 1.5);
    for (int i = 0; i < 3; i++)
        tensor_free(&out[i]);
    tensor_free(&in);
}

static void test_bind(void **state) {
    struct graph *g =
        parse("graph g(n i64 [1]) { bind(%n) symbols=[K] %y = iota() shape=[K] axis=0 dtype=f32 return %y }");
    struct graph *bounded = parse(
        "graph g(K in 0..3, n i64 [1]) { bind(%n) symbols=[K] %y = iota() shape=[K] axis=0 dtype=f32 return %y }");
    struct tensor in = make(YJ_I64, 1, 1, 0, 0), out;
    *(int64_t *)in.bytes = 4;
    run(g, &in, &out);
    assert_int_equal(out.shape[0], 4);
    assert_true(((float *)out.bytes)[3] == 3);
    tensor_free(&out);
    refused(bounded, &in, YJ_ERR_INPUT, "bind: the dim K is 4, not in 0..3");
    *(int64_t *)in.bytes = -4;
    refused(g, &in, YJ_ERR_INPUT, "the dim K is -4");
    tensor_free(&in);
}

struct seen {
    int n;
    char names[64];
};

static void note(void *user, const struct value *v, int rank, const struct tensor *t) {
    struct seen *s = user;
    assert_int_equal(rank, 0);
    assert_non_null(t->bytes);
    s->n++;
    strncat(s->names, v->name, 8);
}

static void test_see(void **state) {
    struct graph *g = parse(
        "graph g(x f32 [2]) { %a = neg(%x) %c = constant f32 [2] {1, 2} %b = fused(%a, %c) f(a f32 [2], b f32 [2]) "
        "{ %i = add(%a, %b) return %i } return %b }");
    struct tensor in = random_floats(1, 2, 0, 0), out;
    struct seen s = {0};
    assert_int_equal(graph_eval(g, &in, &out, note, &s), YJ_OK);
    assert_string_equal(s.names, "aib");
    tensor_free(&in);
    tensor_free(&out);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_reduce_order), T(test_dot_order), T(test_convolution_order),
        T(test_narrow),       T(test_indices),   T(test_unequal_dims),
        T(test_inputs),       T(test_huge),      T(test_mesh),
        T(test_disagreement), T(test_loop),      T(test_bind),
        T(test_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

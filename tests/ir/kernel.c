/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel form: every kernel of tests/ir/kernels is parsed, verified, printed, copied, expanded and interpreted
 * under several seeds, and compared with plain loops in C; mutants are refused by the parser, the verifier or the
 * interpreter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/ir/kernel_cases.h"

#include <math.h>

static struct kernel *parse_text(struct arena *arena, const char *text, const char *name) {
    struct kernel *k = NULL;
    if (kernel_parse(arena, text, name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
    return k;
}

static struct kernel *parse_case(struct arena *arena, const char *name) {
    char *text = case_text(name);
    struct kernel *k = parse_text(arena, text, name);
    free(text);
    return k;
}

static char *printed(const struct kernel *k) {
    struct text text = {0};
    kernel_print(&text, k);
    assert_false(text.failed);
    return text.data;
}

/* With UPDATE_GOLDEN set the text below the comments is rewritten. */
static void update_golden(const char *name, const char *file, const char *golden, const char *text) {
    char path[600];
    struct text all = {0};
    if (!getenv("UPDATE_GOLDEN")) assert_string_equal(text, golden);
    text_add(&all, "%.*s%s", (int)(golden - file), file, text);
    snprintf(path, sizeof path, "%s/tests/ir/kernels/%s.k", SOURCE_DIR, name);
    assert_int_equal(file_write_atomic(path, all.data, all.n), YJ_OK);
    text_free(&all);
}

/* The file without its comment lines is what kernel_print gives. */
static void test_print(void **state) {
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        struct arena *arena = arena_open(), *other = arena_open();
        char *file = case_text(kernel_cases[i].name), *golden = strstr(file, "kernel ");
        while (golden != file && golden[-1] != '\n')
            golden = strstr(golden + 1, "kernel ");
        struct kernel *k = parse_text(arena, file, kernel_cases[i].name), *copy = kernel_copy(other, k);
        char *once = printed(k), *copied = printed(copy);
        if (strcmp(once, golden) != 0) update_golden(kernel_cases[i].name, file, golden, once);
        assert_string_equal(copied, once);
        arena_close(arena);
        if (kernel_verify(copy) != YJ_OK) fail_msg("%s", yj_error_text());
        arena_close(other);
        free(once);
        free(copied);
        free(file);
    }
}

/* The kernels shown in docs/kernel.md are those of the tests, and the one in kernel.h parses. */
static void test_docs(void **state) {
    struct arena *arena = arena_open();
    char *page, *header, *end, *example;
    size_t bytes;
    int shown = 0;
    assert_int_equal(file_read(SOURCE_DIR "/docs/kernel.md", &page, &bytes), YJ_OK);
    for (char *at = page; (at = strstr(at, "```\nkernel ")); at = end + 3) {
        at += 4;
        end = strstr(at, "```");
        *end = 0;
        struct kernel *k = parse_text(arena, at, "docs/kernel.md");
        char *text = printed(k), *golden = printed(parse_case(arena, k->name));
        assert_string_equal(text, golden);
        free(text);
        free(golden);
        shown++;
    }
    assert_int_equal(shown, 2);
    assert_int_equal(file_read(SOURCE_DIR "/ir/kernel.h", &header, &bytes), YJ_OK);
    example = strstr(header, "kernel matmul(");
    *strstr(example, "*\n * Integer arithmetic") = 0;
    for (char *c = example; *c; c++)
        if (c[0] == '\n' && c[1] == ' ' && c[2] == '*') c[2] = ' ';
    parse_text(arena, example, "ir/kernel.h");
    free(page);
    free(header);
    arena_close(arena);
}

static void evaluate(struct launch *l, uint64_t seed) {
    enum yj_status status = kernel_eval(l->k, l->buffer, l->scalar, 0, l->tiles, seed, &l->fault);
    if (status != YJ_OK) fail_msg("%s", yj_error_text());
}

static void same(const struct launch *a, const struct launch *b, const char *what) {
    char where[200];
    if (launch_differs(a, b, where, sizeof where)) fail_msg("%s, %s: %s", a->k->name, what, where);
}

static void test_seeds(void **state) {
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        struct arena *arena = arena_open();
        struct kernel *k = parse_case(arena, kernel_cases[i].name);
        for (int d = 0; d < 4; d++) {
            struct launch first, other;
            launch_open(&first, &kernel_cases[i], k, d, 99);
            evaluate(&first, 0);
            for (uint64_t seed = 1; seed < 4; seed++) {
                launch_open(&other, &kernel_cases[i], k, d, 99);
                evaluate(&other, seed);
                same(&first, &other, "another seed");
                launch_close(&other);
            }
            launch_close(&first);
        }
        arena_close(arena);
    }
}

/* Tiles in two calls, the second half first: what a thread pool does. */
static void test_ranges(void **state) {
    struct arena *arena = arena_open();
    struct kernel *k = parse_case(arena, "depthwise");
    struct launch whole, halves;
    launch_open(&whole, &kernel_cases[8], k, 0, 5);
    launch_open(&halves, &kernel_cases[8], k, 0, 5);
    evaluate(&whole, 0);
    assert_int_equal(kernel_eval(k, halves.buffer, halves.scalar, 7, halves.tiles, 1, NULL), YJ_OK);
    assert_int_equal(kernel_eval(k, halves.buffer, halves.scalar, 0, 7, 1, NULL), YJ_OK);
    same(&whole, &halves, "two ranges of tiles");
    assert_int_equal(kernel_eval(k, halves.buffer, halves.scalar, 0, halves.tiles + 1, 1, NULL), YJ_ERR_INPUT);
    launch_close(&whole);
    launch_close(&halves);
    arena_close(arena);
}

static void test_expand(void **state) {
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        struct arena *arena = arena_open();
        struct kernel *k = parse_case(arena, kernel_cases[i].name), *expanded = kernel_copy(arena, k);
        kernel_expand_math(expanded);
        if (kernel_verify(expanded) != YJ_OK) fail_msg("%s", yj_error_text());
        kernel_expand_reduce(expanded);
        if (kernel_verify(expanded) != YJ_OK) fail_msg("%s", yj_error_text());
        char *text = printed(expanded);
        char *again = printed(parse_text(arena, text, "expanded"));
        assert_string_equal(text, again);
        assert_null(strstr(text, "exp("));
        assert_null(strstr(text, "pow("));
        assert_null(strstr(text, "reduce"));
        for (int d = 0; d < 4; d++) {
            struct launch a, b;
            launch_open(&a, &kernel_cases[i], k, d, 3);
            launch_open(&b, &kernel_cases[i], expanded, d, 3);
            evaluate(&a, 0);
            evaluate(&b, 1);
            same(&a, &b, "expanded");
            launch_close(&a);
            launch_close(&b);
        }
        free(text);
        free(again);
        arena_close(arena);
    }
}

/* --- against plain loops --- */

static float element(const struct launch *l, int argument, int64_t at) {
    const struct buffer *b = l->k->args;
    while (b->index != argument)
        b = b->next;
    uint64_t bits = 0;
    size_t each = yj_dtype_bytes(b->dtype);
    memcpy(&bits, (char *)l->buffer[argument] + (size_t)at * each, each);
    uint32_t word = (uint32_t)scalar_cast(YJ_F32, b->dtype, bits);
    float f;
    memcpy(&f, &word, sizeof f);
    return f;
}

enum layout { PLAIN, PANELS };

/* B[k, n], from plain rows or from panels of 16 columns with GROUP values of k side by side. */
static float b_element(const struct launch *l, enum layout layout, int64_t group, int64_t k_count, int64_t n_count,
                       int64_t k, int64_t n) {
    if (layout == PLAIN) return element(l, 1, k * n_count + n);
    return element(l, 1, ((n / 16 * (k_count / group) + k / group) * 16 + n % 16) * group + k % group);
}

static void check_gemm(const char *name, size_t which, enum layout layout, int64_t group) {
    struct arena *arena = arena_open();
    struct kernel *k = parse_case(arena, name);
    for (int d = 0; d < 4; d++) {
        struct launch l, before;
        launch_open(&l, &kernel_cases[which], k, d, 17);
        launch_open(&before, &kernel_cases[which], k, d, 17);
        int64_t rows = l.scalar[0], depth = l.scalar[1] * group, columns = l.scalar[2];
        bool bias = strcmp(name, "gemm_f32") == 0, adds = strcmp(name, "gemm_bf16") == 0,
             scaled = strcmp(name, "gemm_int8") == 0;
        evaluate(&l, 1);
        for (int64_t m = 0; m < rows; m++)
            for (int64_t n = 0; n < columns; n++) {
                float sum = bias ? element(&l, 2, n) : adds ? element(&before, 2, m * columns + n) : 0;
                for (int64_t i = 0; i < depth; i++)
                    sum = fmaf(element(&l, 0, m * depth + i), b_element(&l, layout, group, depth, columns, i, n), sum);
                if (bias) sum = sum > 0 ? sum : 0;
                if (scaled) sum = bf16_to_f32(f32_to_bf16(sum * element(&l, 2, n)));
                assert_true(sum == element(&l, k->n_args - 1, m * columns + n));
            }
        launch_close(&l);
        launch_close(&before);
    }
    arena_close(arena);
}

static void test_gemm(void **state) {
    check_gemm("gemm_f32", 0, PANELS, 1);
    check_gemm("gemm_bf16", 1, PANELS, 2);
    check_gemm("gemm_int8", 2, PANELS, 4);
    check_gemm("gemm_lanes", 3, PLAIN, 1);
    check_gemm("npu_matmul", 4, PLAIN, 1);
}

static void test_softmax(void **state) {
    struct arena *arena = arena_open();
    struct kernel *plain = parse_case(arena, "softmax"), *tiled = parse_case(arena, "softmax_tiled");
    for (int d = 0; d < 4; d++) {
        struct launch a, b;
        launch_open(&a, &kernel_cases[5], plain, d, 11);
        launch_open(&b, &kernel_cases[6], tiled, d, 11);
        evaluate(&a, 1);
        evaluate(&b, 2);
        same(&a, &b, "tiled");
        for (int64_t r = 0; r < a.scalar[0]; r++) {
            double peak = -INFINITY, sum = 0;
            int64_t n = a.scalar[1];
            for (int64_t i = 0; i < n; i++)
                peak = fmax(peak, element(&a, 0, r * n + i));
            for (int64_t i = 0; i < n; i++)
                sum += exp(element(&a, 0, r * n + i) - peak);
            for (int64_t i = 0; i < n; i++) {
                double want = exp(element(&a, 0, r * n + i) - peak) / sum;
                assert_true(fabs(element(&a, 1, r * n + i) - want) <= 1e-6 * want);
            }
        }
        launch_close(&a);
        launch_close(&b);
    }
    arena_close(arena);
}

static void test_fault(void **state) {
    struct arena *arena = arena_open();
    struct kernel *k = parse_case(arena, "gather");
    struct launch l;
    launch_open(&l, &kernel_cases[9], k, 0, 1);
    ((int64_t *)l.buffer[0])[4] = 7;
    ((int64_t *)l.buffer[0])[6] = -3;
    evaluate(&l, 0);
    assert_int_equal(l.fault.code, YJ_FAULT_INDEX);
    assert_int_equal(l.fault.value, 7);
    launch_close(&l);
    arena_close(arena);
}

/* --- what must be refused --- */

#define BODY(text) "kernel t(N in 1..)\n in x f32 [N]\n in h f16 [N]\n in q i64 [N]\n inout y f32 [N]\n{\n" text "\n}\n"
struct refusal {
    const char *text, *message;
};

static const struct refusal parse_refusals[] = {
    {"", ":1:1: expected 'kernel'"},
    {"kernel k(N in 1..)\n{\n  serial i = 0 .. N {\n    foo[i] = 0.0\n  }\n}\n", ":4:5: foo is not declared here"},
    {"kernel k(N in 1..)\n  in x f33 [N]\n{ }", ":2:8: expected an element type, found 'f33'"},
    {"kernel k(N in 1.., N in 1..)\n{ }", ":1:20: the name N is taken"},
    {BODY("serial i = 0 .. N { y[i] = x[i] + x[i] }"), ":7:28: expected integers made of axes and dims"},
    {BODY("serial i = 0 .. N { y[i] = add(x[i]) }"), ":7:28: add takes 2 operands, not 1"},
    {BODY("serial i = 0 .. N { y[i, i] = 0.0 }"), "y has 1 dimensions, not 2"},
    {BODY("serial i = 0 .. N { y[i] = 300:u8 }"), "the constant is out of the range of its type"},
    {BODY("serial i = 0 .. N { y[i / (N - N)] = 0.0 }"), "the divisor may be 0"},
    {BODY("serial i = 0 .. N { y[i] = 0.0 }\nserial i = 0 .. N + 1 { y[i] = 0.0 }"),
     "this axis has another range above"},
    {BODY("serial i = 0 .. N { let i = 0.0 }"), "the name i is taken"},
    {BODY("serial i = 0 .. N { y[i] = 0.0 "), "expected a statement or '}', found the end of the text"},
    {BODY("serial i = 0 .. N step 0 { y[i] = 0.0 }"), "out of range"},
    {BODY("") "x", "expected the end of the text, found 'x'"},
    {BODY("y[0] = 99999999999999999999999"), "not an integer of 64 bits"},
};

static const struct refusal verify_refusals[] = {
    {BODY("serial i = 0 .. N { y[i] = cast.f32(add(h[i], h[i])) }"), "add does not work on f16"},
    {BODY("serial i = 0 .. N { y[i] = h[i] }"), "stores f16 into f32"},
    {BODY("serial i = 0 .. N { x[i] = 0.0 }"), "x is an input"},
    {BODY("serial i = 0 .. N { y[i] = add(x[i], 1) }"), "operands of one type, not f32 and i64"},
    {BODY("serial i = 0 .. N { y[x[i]] = 0.0 }"), "a subscript of y is f32, not i64"},
    {BODY("serial i = 0 .. N { if x[i] { y[i] = 0.0 } }"), "the condition is f32, not bool"},
    {BODY("serial i = 0 .. N { y[i] = bitcast.f32(q[i]) }"), "the sizes differ"},
    {BODY("serial i = 0 .. N { y[i] = cast.f32(exp(cast.i64(x[i]))) }"), "exp does not work on i64"},
    {BODY("tile i = 0 .. N { y[0] = x[i] }"), "all iterations of i write the same element of y"},
    {BODY("tile i = 0 .. N { let k = q[0]\n y[k] = x[i] }"), "all iterations of i write the same element of y"},
    {BODY("vector i = 0 .. 8 { y[0] = x[i] }"), "all iterations of i write the same element of y"},
    {BODY("tile i = 0 .. N { y[i] = 0.0 }\ny[0] = 0.0"), "tile loops are outermost and perfectly nested"},
    {BODY("serial i = 0 .. N { tile j = 0 .. N { y[j] = 0.0 } }"), "tile loops are outermost"},
    {BODY("tile i = 0 .. N { tile j = i .. N { y[i + j * N] = 0.0 } }"),
     "may hold dims of the kernel only, not the axis i"},
    {BODY("vector i = 0 .. N { y[i] = 0.0 }"), "need a constant extent"},
    {BODY("vector i = 0 .. 4 { vector j = 0 .. 4 { y[i * 4 + j] = 0.0 } }"), "a vector loop inside a vector loop"},
    {BODY("vector i = 0 .. 4 { serial j = 0 .. i { y[i] = 0.0 } }"), "depend on the vector axis"},
    {BODY("reg r f32 [N]\nserial i = 0 .. N { r[i] = 0.0 }"), "r needs a constant shape"},
    {BODY("serial i = 0 .. N { scratch s f32 [i]\ns[0] = 0.0 }"), "not the axis i"},
    {BODY("vector i = 0 .. 4 { reg r f32 [4]\nr[i] = 0.0 }"), "depends on the vector axis that it is declared under"},
    {BODY("reduce s = sub(i = 0 .. N) x[i]\ny[0] = s"), "sub does not reduce"},
    {BODY("reduce s = add(i = 0 .. N lanes 3) x[i]\ny[0] = s"), "lanes must be a power of two"},
    {BODY("barrier"), "a barrier outside lane loops"},
    {BODY("lane i = 0 .. 4 { if lt(i, 2) { barrier } }"), "not every lane may reach this barrier"},
    {BODY("lane i = 0 .. 4 { serial j = 0 .. i { barrier } }"), "not every lane may reach this barrier"},
    {BODY("lane i = 0 .. 4 { y[i] = 0.0 }\ny[9] = 0.0"), "beside the lane loop only"},
    {BODY("shared s f32 [4]\nlane i = 0 .. 4 { s[0] = x[i] }"), "all iterations of i write the same element of s"},
    {BODY("reg r f32 [4, 4]\nfma_tile a:4 b:4 c:1 r[a, c] += x[a] * x[c]"), "c must be subscripted by i and j"},
    {BODY("reg r f32 [4, 4]\nfma_tile a:4 b:4 c:1 r[a, b] += x[b] * x[c]"), "a must not be subscripted by j"},
    {BODY("reg r f32 [4, 4]\nfma_tile a:4 b:4 c:1 r[a, b] += h[a] * x[c + b]"),
     "fma_tile has no form f32 += f16 * f32"},
    {BODY("shared s f32 [4]\nlane i = 0 .. 4 { copy 0 s[0] = x[0] [4] }"), "copy inside a lane or vector loop"},
    {BODY("vector i = 0 .. 4 { prefetch x[i] }"), "prefetch inside a lane or vector loop"},
    {BODY("reg r f32 [4]\nprefetch r[0]"), "prefetch of registers"},
    {BODY("prefetch x[q[0]]"), "subscripts in prefetch are axes and dims"},
    {BODY("shared s f16 [4]\ncopy 0 s[0] = x[0] [4]\nwait 0"), "copy between different ranks or types"},
};

static void check_refusals(const struct refusal *r, size_t n, const char *place) {
    for (size_t i = 0; i < n; i++) {
        struct arena *arena = arena_open();
        struct kernel *k = NULL;
        enum yj_status status = kernel_parse(arena, r[i].text, "file", &k);
        if (status != YJ_ERR_INPUT && status != YJ_ERR_UNSUPPORTED) fail_msg("accepted: %s", r[i].text);
        if (!strstr(yj_error_text(), r[i].message))
            fail_msg("%s\n  should say: %s\n  says: %s", r[i].text, r[i].message, yj_error_text());
        if (!strstr(yj_error_text(), place)) fail_msg("%s: says no place", yj_error_text());
        assert_null(k);
        arena_close(arena);
    }
}

static void test_refusals(void **state) {
    check_refusals(parse_refusals, COUNT(parse_refusals), "file:");
    check_refusals(verify_refusals, COUNT(verify_refusals), "file: kernel t: ");
}

/* What only running can find: N is 8. */
static const struct refusal eval_refusals[] = {
    {BODY("serial i = 0 .. N { y[i] = x[i + 1] }"), "subscript 0 of x is 8, the extent is 8"},
    {BODY("serial i = 0 .. N { y[i] = x[i - 1] }"), "subscript 0 of x is -1"},
    {BODY("reg r f32 [2]\nr[0] = 1.0\ny[0] = r[1]"), "reads undefined memory of r"},
    {BODY("serial i = 0 .. N { reg r f32 [1]\nif eq(i, 0) { r[0] = 1.0 }\ny[i] = r[0] }"),
     "reads undefined memory of r"},
    {BODY("tile i = 0 .. N { y[i / 2] = x[i] }"), "writes an element of y that another tile wrote"},
    {BODY("tile i = 0 .. N { y[i] = x[i]\n y[N - 1 - i] = x[i] }"), "writes an element of y that another tile wrote"},
    {BODY("shared s f32 [4]\ncopy 0 s[0] = x[0] [4]\ny[0] = s[1]\nwait 0"),
     "reads s before the copy into it was waited for"},
    {BODY("shared s f32 [4]\ncopy 0 s[0] = x[0] [4]\ns[1] = 0.0\nwait 0"),
     "writes s before the copy into it was waited for"},
    {BODY("shared s f32 [4]\ncopy 0 s[0] = x[0] [4]"), "ends with copy 0 under way"},
    {BODY("shared s f32 [4]\ncopy 0 s[0] = x[0] [4]\nwait 1\ny[0] = s[0]\nwait 0"),
     "before the copy into it was waited for"},
    {BODY("shared s f32 [4]\ncopy 0 s[0] = y[0] [4]\ny[1] = 5.0\nwait 0"), "the source y changed before the wait"},
    {BODY("shared s f32 [4]\ncopy 0 s[1] = x[0] [4]\nwait 0"), "the box leaves s"},
    {BODY("shared s f32 [4]\nlane i = 0 .. 4 { s[i] = 0.0\nbarrier\ns[i] = x[i]\ny[i] = s[3 - i] }"),
     "with no barrier between"},
    {BODY("shared s f32 [4]\nlane i = 0 .. 4 { s[i] = x[i]\nbarrier\ny[i] = s[3 - i]\ns[i] = 0.0 }"),
     "with no barrier between"},
    {BODY("lane i = 0 .. 4 { reg r f32 [1]\nif eq(i, 1) { r[0] = 0.0 }\nbarrier\ny[i] = r[0] }"),
     "reads undefined memory of r"},
    {BODY("y[0] = x[N * 4611686018427387904 * 4]"), "overflows"},
};

static void test_eval_refusals(void **state) {
    for (size_t i = 0; i < COUNT(eval_refusals); i++) {
        struct arena *arena = arena_open();
        struct kernel *k = parse_text(arena, eval_refusals[i].text, "mutant");
        const struct kernel_case c = {"mutant", -1, {{8}}};
        struct launch l;
        launch_open(&l, &c, k, 0, 1);
        if (kernel_eval(k, l.buffer, l.scalar, 0, l.tiles, 3, NULL) == YJ_OK)
            fail_msg("ran: %s", eval_refusals[i].text);
        if (!strstr(yj_error_text(), eval_refusals[i].message))
            fail_msg("%s\n  says: %s", eval_refusals[i].text, yj_error_text());
        launch_close(&l);
        arena_close(arena);
    }
}

/* A lane kernel with its first barrier taken out, and the NPU kernel without its wait. */
static void test_removed(void **state) {
    static const struct {
        const char *name, *line, *message;
        size_t which;
    } removed[] = {
        {"gemm_lanes", "            barrier\n", " of sa", 3},
        {"npu_matmul", "        wait 0\n", "before the copy into it was waited for", 4},
        {"npu_matmul", "      wait 1\n", "under way", 4},
    };
    for (size_t i = 0; i < COUNT(removed); i++) {
        struct arena *arena = arena_open();
        char *text = case_text(removed[i].name);
        const char *at = strstr(text, removed[i].line);
        assert_non_null(at);
        size_t cut = (size_t)(at - text), n = strlen(removed[i].line);
        memmove(text + cut, text + cut + n, strlen(text + cut + n) + 1);
        struct launch l;
        launch_open(&l, &kernel_cases[removed[i].which], parse_text(arena, text, "mutant"), 0, 1);
        assert_int_equal(kernel_eval(l.k, l.buffer, l.scalar, 0, l.tiles, 1, NULL), YJ_ERR_INTERNAL);
        if (!strstr(yj_error_text(), removed[i].message)) fail_msg("%s", yj_error_text());
        launch_close(&l);
        arena_close(arena);
        free(text);
    }
}

/* --- builders --- */

static void test_clone(void **state) {
    struct arena *arena = arena_open();
    struct kernel *k = parse_text(
        arena, BODY("serial i = 0 .. N { let v = x[i]\nreg r f32 [1]\nr[0] = add(v, v)\ny[i] = r[0] }"), "clone");
    struct stmt *loop = k->body;
    struct cursor at = kernel_at(&k->body);
    *at.end = stmt_clone(k, loop->body, loop->axis, dim_const(k->dims, 3));
    if (kernel_verify(k) != YJ_OK) fail_msg("%s", yj_error_text());
    char *text = printed(k);
    assert_non_null(strstr(text, "  let v_2 = x[3]\n  reg r_2 f32 [1]\n  r_2[0] = add(v_2, v_2)\n  y[3] = r_2[0]\n"));
    free(text);
    arena_close(arena);
}

static void test_names(void **state) {
    struct arena *arena = arena_open();
    struct kernel *k = kernel_new(arena, "9 odd/name");
    assert_string_equal(k->name, "v9_odd_name");
    dim n = kernel_dim(k, "seq.len", 1, 100);
    assert_ptr_equal(kernel_dim(k, "seq.len", 1, 100), n);
    struct buffer *a = kernel_arg(k, ROLE_IN, "if", YJ_F32, 1, &n), *b = kernel_arg(k, ROLE_OUT, "/b:0", YJ_F32, 1, &n);
    assert_string_equal(a->name, "if_2");
    struct cursor at = kernel_at(&k->body);
    dim i = kernel_axis(k, "i", dim_const(k->dims, 0), n);
    struct cursor in = kernel_at(&stmt_loop(k, &at, AXIS_SERIAL, i, dim_const(k->dims, 0), n, 1)->body);
    struct expr *x = stmt_let(k, &in, "x", expr_load_dims(k, a, 1, &i));
    struct expr *y = stmt_let(k, &in, "x", expr_op(k, SCALAR_mul, x, expr_const_f(k, YJ_F32, 0.1f), NULL));
    stmt_store_dims(k, &in, b, 1, &i, expr_op(k, SCALAR_max, y, expr_const_f(k, YJ_F32, -INFINITY), NULL));
    if (kernel_verify(k) != YJ_OK) fail_msg("%s", yj_error_text());
    char *text = printed(k), *again = printed(parse_text(arena, text, "built"));
    assert_string_equal(text, again);
    free(text);
    free(again);
    arena_close(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),   cmocka_unit_test(test_seeds),    cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_expand),  cmocka_unit_test(test_gemm),     cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_fault),   cmocka_unit_test(test_refusals), cmocka_unit_test(test_eval_refusals),
        cmocka_unit_test(test_removed), cmocka_unit_test(test_clone),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_docs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

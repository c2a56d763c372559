/* SPDX-License-Identifier: Apache-2.0
 *
 * The C emitter: every kernel of tests/ir/kernels, all in one source, through gcc and through clang, loaded and run
 * with every set of dims; the bits must be those of kernel_eval. What the objects leave undefined is listed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/emit_source.h"
#include "tests/ir/kernel_cases.h"

#include <dlfcn.h>
#include <unistd.h>

static struct kernel *parse_case(struct arena *arena, const char *name) {
    struct kernel *k = NULL;
    char *text = case_text(name);
    if (kernel_parse(arena, text, name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
    free(text);
    return k;
}

static bool has_barrier(const struct kernel_case *c) {
    return strcmp(c->name, "gemm_lanes") == 0;
}

static void run(const char *format, ...) {
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

/* Only what rounds once, what compilers make of loops, and what the linker itself asks for. */
static void check_undefined(const char *object) {
    static const char *const allowed[] = {"fma",    "fmaf",   "sqrt",  "sqrtf",  "floor",  "floorf",
                                          "ceil",   "ceilf",  "trunc", "truncf", "rint",   "rintf",
                                          "memcpy", "memset", "_ITM",  "__cxa",  "__gmon", "__stack_chk"};
    char command[700], line[300];
    snprintf(command, sizeof command, "nm -D --undefined-only %s", object);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    while (fgets(line, sizeof line, out)) {
        char name[200], kind;
        bool known = false;
        if (sscanf(line, " %c %199s", &kind, name) != 2) continue;
        name[strcspn(name, "@")] = 0;
        for (size_t i = 0; i < COUNT(allowed); i++)
            known |= allowed[i][0] == '_' ? strncmp(name, allowed[i], strlen(allowed[i])) == 0
                                          : strcmp(name, allowed[i]) == 0;
        if (!known) fail_msg("undefined symbol %s", name);
    }
    assert_int_equal(pclose(out), 0);
}

static void compare(struct kernel *k, const struct kernel_case *c, yj_kernel_fn *compiled) {
    for (int d = 0; d < 4; d++) {
        struct launch a, b;
        char where[200];
        launch_open(&a, c, k, d, 41);
        launch_open(&b, c, k, d, 41);
        if (kernel_eval(k, a.buffer, a.scalar, 0, a.tiles, 0, &a.fault) != YJ_OK) fail_msg("%s", yj_error_text());
        compiled(b.buffer, b.scalar, b.tiles / 3, b.tiles, b.scratch, &b.fault);
        compiled(b.buffer, b.scalar, 0, b.tiles / 3, b.scratch, &b.fault);
        if (launch_differs(&a, &b, where, sizeof where)) fail_msg("%s, dims %d: %s", c->name, d, where);
        launch_close(&a);
        launch_close(&b);
    }
}

static void with_compiler(const char *compiler) {
    const struct kernel *kernels[COUNT(kernel_cases)];
    char folder[] = "/tmp/yunjin-emit-XXXXXX", path[100];
    struct arena *arena = arena_open();
    struct text source = {0};
    int n = 0;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < COUNT(kernel_cases); i++)
        if (!has_barrier(&kernel_cases[i])) kernels[n++] = parse_case(arena, kernel_cases[i].name);
    if (emit_source(kernels, n, SOURCE_C, &source) != YJ_OK) fail_msg("%s", yj_error_text());
    snprintf(path, sizeof path, "%s/k.c", folder);
    assert_int_equal(file_write_atomic(path, source.data, source.n), YJ_OK);
    text_free(&source);
    run("%s %s -O2 -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter -shared -fPIC -o %s/k.so %s -lm", compiler,
        emit_source_options(SOURCE_C), folder, path);
    snprintf(path, sizeof path, "%s/k.so", folder);
    check_undefined(path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    for (size_t i = 0, at = 0; i < COUNT(kernel_cases); i++) {
        if (has_barrier(&kernel_cases[i])) continue;
        yj_kernel_fn *compiled = (yj_kernel_fn *)dlsym(library, kernel_cases[i].name);
        assert_non_null(compiled);
        compare((struct kernel *)kernels[at++], &kernel_cases[i], compiled);
    }
    dlclose(library);
    run("rm -r %s", folder);
    arena_close(arena);
}

static void test_gcc(void **state) {
    with_compiler("gcc");
}

static void test_gcc_native(void **state) {
    with_compiler("gcc -O3 -march=native");
}

static void test_clang(void **state) {
    with_compiler("clang-19");
}

/* Every cast and every op on every type, on random and special bits, against scalar_cast and scalar_eval. */
static void add_case(struct text *text, char *names, const char *types, const char *expression) {
    text_add(text, "kernel %s(N in 1..)\n%s{\n  serial i = 0 .. N {\n    y[i] = %s\n  }\n}\n", names, types,
             expression);
}

struct generated {
    char name[64], text[600];
};

static size_t generate(struct generated *g, size_t room) {
    size_t n = 0;
    char types[200], expression[200];
    for (int from = YJ_F32; from <= YJ_BOOL; from++)
        for (int to = YJ_F32; to <= YJ_BOOL; to++) {
            struct text text = {0};
            snprintf(g[n].name, sizeof g[n].name, "cast_%d_%d", from, to);
            snprintf(types, sizeof types, "  in a %s [N]\n  out y %s [N]\n", yj_dtype_name((enum yj_dtype)from),
                     yj_dtype_name((enum yj_dtype)to));
            snprintf(expression, sizeof expression, "cast.%s(a[i])", yj_dtype_name((enum yj_dtype)to));
            add_case(&text, g[n].name, types, expression);
            snprintf(g[n].text, sizeof g[n].text, "%s", text.data);
            text_free(&text);
            assert_true(++n < room);
        }
    for (int op = 0; op < SCALAR_COUNT; op++)
        for (int t = YJ_F32; t <= YJ_BOOL; t++) {
            const struct scalar_info *info = &scalar_info[op];
            const char *name = yj_dtype_name((enum yj_dtype)t);
            bool narrow = t == YJ_F16 || t == YJ_BF16 || t == YJ_E4M3 || t == YJ_E5M2;
            if (info->result == '1' || !strchr(info->types, dtype_kind((enum yj_dtype)t)) || narrow) continue;
            if (t == YJ_F64 && (strchr(info->types, 'm') || op == SCALAR_rem)) continue;
            struct text text = {0};
            snprintf(g[n].name, sizeof g[n].name, "op_%s_%s", info->name, name);
            snprintf(types, sizeof types, "  in a %s [N]\n  in b %s [N]\n  in c %s [N]\n  out y %s [N]\n", name, name,
                     name, info->result == 'b' ? "bool" : name);
            snprintf(expression, sizeof expression, "%s(a[i]%s%s)", info->name, info->arity > 1 ? ", b[i]" : "",
                     info->arity > 2 ? ", c[i]" : "");
            add_case(&text, g[n].name, types, expression);
            snprintf(g[n].text, sizeof g[n].text, "%s", text.data);
            text_free(&text);
            assert_true(++n < room);
        }
    return n;
}

/* Bits of all kinds: small numbers, edges, anything. */
static void fill_bits(struct launch *l, uint64_t seed) {
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     3,
                                     7,
                                     31,
                                     32,
                                     33,
                                     63,
                                     64,
                                     UINT64_MAX,
                                     UINT64_C(1) << 63,
                                     INT64_MAX,
                                     0x80000000,
                                     0x7fffffff,
                                     0x8000,
                                     0x7fff,
                                     0x80,
                                     0x7f,
                                     0x7f800000,
                                     0xff800000,
                                     0x7fc00000,
                                     0x3f800000,
                                     0xbf000000,
                                     0x4f000000,
                                     0xcf000000,
                                     0x5f000000,
                                     0xdf000000,
                                     0x4effffff,
                                     UINT64_C(0x43e0000000000000),
                                     UINT64_C(0xc3e0000000000000),
                                     UINT64_C(0x7ff0000000000000),
                                     UINT64_C(0x7ff8000000000000),
                                     0x477fe000,
                                     0x477ff000,
                                     0x33000000,
                                     0x33000001,
                                     0x43e00000};
    for (const struct buffer *b = l->k->args; b; b = b->next) {
        size_t each = yj_dtype_bytes(b->dtype);
        if (b->role == ROLE_OUT) continue;
        for (int64_t i = 0; i < l->n[b->index]; i++) {
            uint64_t r = case_random(&seed), bits = r >> (case_random(&seed) % 64);
            if (r % 3 == 0) bits = edges[r / 3 % COUNT(edges)];
            if (r % 3 == 1 && dtype_kind(b->dtype) == 'f')
                bits = scalar_cast(b->dtype, YJ_I64, (uint64_t)((int64_t)(r >> 3) >> (r % 61)));
            if (b->dtype == YJ_BOOL) bits &= 1;
            memcpy((char *)l->buffer[b->index] + (size_t)i * each, &bits, each);
        }
    }
}

static void test_scalars(void **state) {
    static struct generated g[700];
    static const struct kernel *kernels[COUNT(g)];
    size_t n = generate(g, COUNT(g));
    char folder[] = "/tmp/yunjin-emit-XXXXXX", path[100], where[200];
    struct arena *arena = arena_open();
    struct text source = {0};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < n; i++)
        if (kernel_parse(arena, g[i].text, g[i].name, (struct kernel **)&kernels[i]) != YJ_OK)
            fail_msg("%s", yj_error_text());
    if (emit_source(kernels, (int)n, SOURCE_C, &source) != YJ_OK) fail_msg("%s", yj_error_text());
    snprintf(path, sizeof path, "%s/k.c", folder);
    assert_int_equal(file_write_atomic(path, source.data, source.n), YJ_OK);
    text_free(&source);
    run("gcc %s -O1 -fsanitize=undefined -fno-sanitize-recover=all -fno-sanitize=float-cast-overflow,alignment -shared "
        "-fPIC -o %s/k.so %s -lm",
        emit_source_options(SOURCE_C), folder, path);
    snprintf(path, sizeof path, "%s/k.so", folder);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    const struct kernel_case c = {"scalars", -1, {{3000}}};
    for (size_t i = 0; i < n; i++) {
        struct launch a, b;
        launch_open(&a, &c, (struct kernel *)kernels[i], 0, 1);
        launch_open(&b, &c, (struct kernel *)kernels[i], 0, 1);
        fill_bits(&a, i);
        fill_bits(&b, i);
        if (kernel_eval(a.k, a.buffer, a.scalar, 0, 1, 0, NULL) != YJ_OK) fail_msg("%s", yj_error_text());
        yj_kernel_fn *compiled = (yj_kernel_fn *)dlsym(library, g[i].name);
        compiled(b.buffer, b.scalar, 0, 1, b.scratch, NULL);
        if (launch_differs(&a, &b, where, sizeof where)) fail_msg("%s: %s", g[i].name, where);
        launch_close(&a);
        launch_close(&b);
    }
    dlclose(library);
    run("rm -r %s", folder);
    arena_close(arena);
}

static void test_refused(void **state) {
    struct arena *arena = arena_open();
    const struct kernel *k = parse_case(arena, "gemm_lanes");
    struct text source = {0};
    assert_int_equal(emit_source(&k, 1, SOURCE_C, &source), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "kernel gemm_lanes: barriers"));
    assert_null(source.data);
    arena_close(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcc),     cmocka_unit_test(test_gcc_native), cmocka_unit_test(test_clang),
        cmocka_unit_test(test_scalars), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

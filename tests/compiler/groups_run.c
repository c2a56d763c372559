/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups as machine code: every group of groups.def, lowered, tiled for a target that runs here, emitted by LLVM,
 * linked and run, gives the bits that its plain kernel has in the interpreter.
 */
#include "compiler/emit.h"
#include "compiler/link.h"
#include "runtime/base/cpu.h"
#include "tests/compiler/groups.h"
#include <yunjin/compiler.h>

#include <dlfcn.h>
#include <unistd.h>

struct made {
    struct kernel *plain, *variants[TILE_MAX_VARIANTS];
    int n;
};

static void *library_of(const struct kernel *const *kernels, int n, const struct yj_target *target) {
    char *object, *library, path[] = "/tmp/yunjin-groups-XXXXXX";
    size_t bytes;
    struct emit_options options = {.target = target};
    if (emit_llvm(&options, kernels, n, EMIT_OBJECT, &object, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
    struct link_object one = {object, bytes};
    if (link_objects(1, &one, &library, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
    int file = mkstemp(path);
    assert_true(file >= 0 && write(file, library, bytes) == (ssize_t)bytes);
    close(file);
    void *open = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    if (!open) fail_msg("%s", dlerror());
    free(object);
    free(library);
    return open;
}

static struct kernel *chosen(const struct trial *t, const struct made *m) {
    for (int i = 0; i < m->n - 1; i++) {
        bool holds = true;
        for (int g = 0; g < m->variants[i]->n_guards; g++) {
            const struct guard *q = &m->variants[i]->guards[g];
            int64_t v = trial_number(t, q->value);
            holds &= v >= trial_number(t, q->low) && v <= trial_number(t, q->high);
        }
        if (holds) return m->variants[i];
    }
    return m->variants[m->n - 1];
}

static struct made make(struct trial *t, const struct yj_target *target) {
    struct made m = {0};
    if (lower_op(t->arena, t->fused, t->group->name, NULL, &m.plain) != YJ_OK) fail_msg("%s", yj_error_text());
    assert_int_equal(tile_kernel(t->arena, m.plain, target, &m.n, m.variants), YJ_OK);
    return m;
}

static void compare(struct trial *t, const struct made *m, void *library, const char *target) {
    struct kernel *k = chosen(t, m);
    struct launch a, b;
    launch_open(&a, t, m->plain);
    launch_open(&b, t, k);
    if (kernel_eval(a.k, a.buffer, a.scalar, 0, a.tiles, 0, &a.fault) != YJ_OK) fail_msg("%s", yj_error_text());
    yj_kernel_fn *fn = (yj_kernel_fn *)dlsym(library, k->name);
    assert_non_null(fn);
    for (int64_t i = b.tiles; i-- > 0;)
        fn(b.buffer, b.scalar, i, i + 1, b.scratch, &b.fault);
    assert_int_equal(a.fault.code != 0, b.fault.code != 0);
    for (int i = t->fused->n_in; i < k->n_args; i++) {
        enum yj_dtype dtype = t->fused->out[i - t->fused->n_in]->type.dtype;
        int64_t at = first_difference(dtype, a.buffer[i], b.buffer[i], a.bytes[i] / yj_dtype_bytes(dtype), 0);
        if (at >= 0) fail_msg("%s on %s: argument %d differs at %lld", t->group->name, target, i, (long long)at);
    }
    launch_close(&a);
    launch_close(&b);
}

static void run_on(const char *name) {
    const struct yj_target *target;
    const char *only = getenv("GROUP");
    if (yj_target_find(name, &target) != YJ_OK) fail_msg("%s", yj_error_text());
    for (size_t i = 0; i < COUNT(groups); i++) {
        if (only && strcmp(only, groups[i].name) != 0) continue;
        struct trial first;
        trial_open(&first, &groups[i], 0, 17);
        struct made m = make(&first, target);
        void *library = library_of((const struct kernel *const *)m.variants, m.n, target);
        compare(&first, &m, library, name);
        for (int d = 1; group_has(&groups[i], d); d++) {
            struct trial t;
            trial_open(&t, &groups[i], d, 17 + (uint64_t)d);
            struct made again = make(&t, target);
            compare(&t, &again, library, name);
            trial_close(&t);
        }
        dlclose(library);
        trial_close(&first);
    }
}

static void test_host(void **state) {
    run_on("host");
}

/* Other vectors, other tiles, the same bits. */
static void test_v3(void **state) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        run_on("x86-64-v3");
    else
        skip();
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_v3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

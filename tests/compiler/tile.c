/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiling: every group of groups.def, tiled for targets of several vector widths and register tiles, gives the bits of
 * its plain kernel (both interpreted, tiles in random order); then random shapes of the contractions.
 */
#include "tests/compiler/groups.h"

static const struct yj_target targets[] = {
    {.name = "none", .vector_bits = 0, .l1_bytes = 16 << 10, .l2_bytes = 64 << 10, .cores = 1},
    {.name = "small",
     .vector_bits = 128,
     .vector_registers = 32,
     .line_bytes = 64,
     .l1_bytes = 2 << 10,
     .l2_bytes = 8 << 10,
     .cores = 2,
     .gflops_core = 10,
     .tiles = {{YJ_F32, 4, 8, 1}, {YJ_F64, 4, 4, 1}}},
    {.name = "avx2",
     .vector_bits = 256,
     .vector_registers = 16,
     .line_bytes = 64,
     .l1_bytes = 32 << 10,
     .l2_bytes = 512 << 10,
     .cores = 4,
     .gflops_core = 100,
     .tiles = {{YJ_F32, 6, 16, 1}, {YJ_F64, 6, 8, 1}, {YJ_BF16, 6, 16, 2}, {YJ_I8, 6, 16, 4}}},
    {.name = "avx512",
     .vector_bits = 512,
     .vector_registers = 32,
     .line_bytes = 64,
     .l1_bytes = 48 << 10,
     .l2_bytes = 2 << 20,
     .cores = 64,
     .gflops_core = 160,
     .tiles = {{YJ_F32, 12, 32, 1}, {YJ_F64, 12, 16, 1}}},
};

static void evaluate(struct launch *l, uint64_t seed, const char *name, const char *target) {
    if (kernel_eval(l->k, l->buffer, l->scalar, 0, l->tiles, seed, &l->fault) == YJ_OK) return;
    struct text text = {0};
    kernel_print(&text, l->k);
    fail_msg("%s for %s: %s\n%s", name, target, yj_error_text(), text.data);
}

/* A kernel that tiling gave up is a warning: none is expected. */
static void no_warning(void *user, enum yj_log_level level, const char *line) {
    fail_msg("%s", line);
}

static bool guarded_in(const struct trial *t, const struct kernel *k) {
    for (int i = 0; i < k->n_guards; i++) {
        int64_t v = trial_number(t, k->guards[i].value);
        if (v < trial_number(t, k->guards[i].low) || v > trial_number(t, k->guards[i].high)) return false;
    }
    return true;
}

static void same_results(const struct trial *t, const struct launch *plain, const struct launch *tiled,
                         const char *target) {
    for (int i = t->fused->n_in; i < plain->k->n_args; i++) {
        enum yj_dtype dtype = t->fused->out[i - t->fused->n_in]->type.dtype;
        int64_t at =
            first_difference(dtype, plain->buffer[i], tiled->buffer[i], plain->bytes[i] / yj_dtype_bytes(dtype), 0);
        if (at < 0) continue;
        struct text text = {0};
        kernel_print(&text, tiled->k);
        fail_msg("%s for %s: argument %d differs from the plain kernel's at %lld\n%s", t->group->name, target, i,
                 (long long)at, text.data);
    }
}

static void try_group(const struct group *group, int binding, const struct yj_target *target, uint64_t seed,
                      bool show) {
    struct trial t;
    struct kernel *plain = NULL, *variants[TILE_MAX_VARIANTS];
    int n = 0, chosen = 0;
    trial_open(&t, group, binding, seed);
    if (lower_op(t.arena, t.fused, "k", NULL, &plain) != YJ_OK) fail_msg("%s: %s", group->name, yj_error_text());
    assert_int_equal(tile_kernel(t.arena, plain, target, &n, variants), YJ_OK);
    assert_in_range(n, 1, TILE_MAX_VARIANTS);
    assert_int_equal(variants[n - 1]->n_guards, 0);
    while (!guarded_in(&t, variants[chosen]))
        chosen++;
    struct launch a, b;
    launch_open(&a, &t, plain);
    launch_open(&b, &t, variants[chosen]);
    if (show) {
        struct text text = {0};
        kernel_print(&text, variants[chosen]);
        printf("# %s, cost %lld ns\n%s\n", target->name,
               (long long)trial_number(&t, tile_cost(variants[chosen], target)), text.data);
        text_free(&text);
    }
    evaluate(&a, 0, group->name, "plain");
    evaluate(&b, seed, group->name, target->name);
    assert_int_equal(a.fault.code != 0, b.fault.code != 0);
    same_results(&t, &a, &b, target->name);
    launch_close(&a);
    launch_close(&b);
    trial_close(&t);
}

static void test_groups(void **state) {
    const char *only = getenv("GROUP"), *show = getenv("TARGET");
    for (size_t i = 0; i < COUNT(groups); i++)
        for (size_t j = 0; j < COUNT(targets); j++)
            for (int d = 0; group_has(&groups[i], d); d++) {
                if (only && strcmp(only, groups[i].name) != 0) continue;
                try_group(&groups[i], d, &targets[j], 11 + (uint64_t)d,
                          d == 0 && show && strcmp(show, targets[j].name) == 0);
            }
}

/* --- random contractions --- */

struct draw {
    uint64_t seed;
    char text[2048];
    struct group group;
    int n_dims;
};

static int64_t pick(struct draw *d, int n, const int64_t *from) {
    return from[trial_random(&d->seed) % (uint64_t)n];
}

static bool coin(struct draw *d) {
    return trial_random(&d->seed) & 1;
}

/* A size as text: a number, or a symbol bound to it. */
static const char *size_text(struct draw *d, const char *name, int64_t value, char *head, size_t room, char text[16]) {
    bool symbol = coin(d) && d->n_dims < 5;
    snprintf(text, 16, "%lld", (long long)value);
    if (!symbol) return text;
    snprintf(head + strlen(head), room - strlen(head), "%s in %d.., ", name, coin(d) ? 1 : 0);
    snprintf(text, 16, "%s", name);
    d->group.dims[0][d->n_dims++] = value;
    return text;
}

static void draw_end(struct draw *d, const char *name) {
    d->group.name = name;
    d->group.text = d->text;
    d->group.dims[0][d->n_dims] = -1;
}

static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 24, 31, 32, 33, 40};

static void draw_dot(struct draw *d) {
    char head[200] = "", m[16], k[16], n[16], b[16];
    bool batched = coin(d), turned = coin(d), bias = coin(d);
    size_text(d, "B", batched ? pick(d, 4, sizes) : 1, head, sizeof head, b);
    size_text(d, "M", pick(d, 16, sizes), head, sizeof head, m);
    size_text(d, "K", pick(d, 16, sizes), head, sizeof head, k);
    size_text(d, "N", pick(d, 16, sizes), head, sizeof head, n);
    const char *format = coin(d) ? (coin(d) ? " format(panel64)" : " format(panel32)") : "",
               *order = turned && *format ? " layout(0,2,1)" : "";
    static const char *const dtypes[] = {"f32", "f32", "f16", "bf16", "f64"};
    const char *dtype = dtypes[trial_random(&d->seed) % COUNT(dtypes)];
    snprintf(d->text, sizeof d->text,
             "graph g(%sx %s [%s, %s, %s], w %s [%s, %s, %s]%s%s, v %s [%s]) { %%y = dot(%%x, %%w) batch_a=[0] "
             "batch_b=[0] contract_a=[2] contract_b=[%d]\n"
             " %%vb = broadcast(%%v) shape=[%s, %s, %s] axes=[2] %%z = %s(%%y, %%vb) return %%z }",
             head, dtype, b, m, k, dtype, b, turned ? n : k, turned ? k : n, order, format, dtype, n, turned ? 2 : 1, b,
             m, n, bias ? "add" : "max");
    draw_end(d, "random dot");
}

static void draw_convolution(struct draw *d) {
    static const int64_t channels[] = {1, 2, 3, 8, 17}, spatial[] = {1, 2, 3, 5, 7, 9, 14, 19, 26};
    char head[200] = "", batch[16], high[16], wide[16];
    int64_t c = pick(d, 5, channels), o = pick(d, 5, channels), kh = pick(d, 4, sizes), kw = pick(d, 4, sizes),
            ph = pick(d, 2, sizes) - 1;
    int64_t sh = pick(d, 2, sizes), sw = pick(d, 3, sizes), dh = pick(d, 2, sizes), dw = pick(d, 2, sizes),
            pw = pick(d, 3, sizes) - 1, g = 1;
    int64_t h = pick(d, 9, spatial) + dh * (kh - 1), w = pick(d, 9, spatial) + dw * (kw - 1);
    if (coin(d) && c > 1) g = o = c;
    size_text(d, "N", pick(d, 2, sizes), head, sizeof head, batch);
    size_text(d, "H", h, head, sizeof head, high);
    size_text(d, "W", w, head, sizeof head, wide);
    bool last = coin(d);
    char order_w[64] = "";
    if (last) snprintf(order_w, sizeof order_w, " layout(2,3,1,0)%s", g == 1 && coin(d) ? " format(panel64)" : "");
    long long room_h = 2 * ph - dh * (kh - 1) - 1, room_w = 2 * pw - dw * (kw - 1) - 1;
    snprintf(d->text, sizeof d->text,
             "graph g(%sx f32 [%s, %lld, %s, %s]%s, w f32 [%lld, %lld, %lld, %lld]%s) { %%y = convolution(%%x, %%w) "
             "strides=[%lld, %lld] low=[%lld, %lld] high=[%lld, %lld] dilation=[%lld, %lld] groups=%lld"
             " : f32 [%s, %lld, (%s + %lld)/%lld + 1, (%s + %lld)/%lld + 1]%s %%z = neg(%%y) : f32 [%s, %lld, (%s + "
             "%lld)/%lld + 1, (%s + %lld)/%lld + 1]%s return %%z }",
             head, batch, (long long)c, high, wide, last ? " layout(0,2,3,1)" : "", (long long)o, (long long)(c / g),
             (long long)kh, (long long)kw, order_w, (long long)sh, (long long)sw, (long long)ph, (long long)pw,
             (long long)ph, (long long)pw, (long long)dh, (long long)dw, (long long)g, batch, (long long)o, high,
             room_h, (long long)sh, wide, room_w, (long long)sw, last ? " layout(0,2,3,1)" : "", batch, (long long)o,
             high, room_h, (long long)sh, wide, room_w, (long long)sw, last ? " layout(0,2,3,1)" : "");
    draw_end(d, "random convolution");
}

static void test_random(void **state) {
    const char *from = getenv("SEED");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, n = from ? 1 : getenv("MANY") ? 6000 : 400;
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct draw *d = calloc(1, sizeof *d);
        assert_non_null(d);
        d->seed = seed * 1000003;
        if (seed % 2)
            draw_dot(d);
        else
            draw_convolution(d);
        char name[64];
        snprintf(name, sizeof name, "%s, SEED=%llu", d->group.name, (unsigned long long)seed);
        d->group.name = name;
        if (from) puts(d->text);
        try_group(&d->group, 0, &targets[trial_random(&d->seed) % COUNT(targets)], seed, from != NULL);
        free(d);
    }
}

int main(void) {
    yj_log_set(no_warning, NULL, YJ_LOG_WARN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of scalar ops and all pairs of conversions, as vector code and as scalar code, on every chip: the bits of
 * kernel_eval, on random numbers, special ones and bit patterns of every size.
 */
#include "tests/compiler/chips.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define N 205 /* elements: whole vectors and a rest */

static const enum yj_dtype dtypes[] = {YJ_F32, YJ_F64, YJ_I8,  YJ_I16, YJ_I32, YJ_I64,
                                       YJ_U8,  YJ_U16, YJ_U32, YJ_U64, YJ_BOOL};
static const enum yj_dtype all_dtypes[] = {YJ_F32, YJ_F64, YJ_F16, YJ_BF16, YJ_E4M3, YJ_E5M2, YJ_I8,  YJ_I16,
                                           YJ_I32, YJ_I64, YJ_U8,  YJ_U16,  YJ_U32,  YJ_U64,  YJ_BOOL};

static bool allowed(enum scalar_op op, enum yj_dtype dtype) {
    const char *types = scalar_info[op].types;
    if (op == SCALAR_rem && dtype == YJ_F64) return false; /* has no expansion: the verifier refuses it */
    return strchr(types, dtype_kind(dtype)) && !strchr(types, 'm');
}

struct place {
    struct kernel *k;
    struct cursor at;
    dim index;
};

/* kernel NAME(N) { tile t { AXIS j = 0 .. 32 { if lt(t*32 + j, N) { ... } } } } */
static struct place open_loop(struct kernel *k, enum axis_kind kind) {
    struct dim_table *t = k->dims;
    dim n = kernel_dim(k, "N", 1, DIM_UNBOUNDED), zero = dim_const(t, 0), block = dim_const(t, 32);
    struct cursor at = kernel_at(&k->body);
    dim blocks = dim_ceil_div(t, n, block), tile = kernel_axis(k, "t", zero, blocks),
        j = kernel_axis(k, "j", zero, block);
    struct stmt *s = stmt_loop(k, &at, AXIS_TILE, tile, zero, blocks, 1);
    at = kernel_at(&s->body);
    s = stmt_loop(k, &at, kind, j, zero, block, 1);
    at = kernel_at(&s->body);
    dim index = dim_add(t, dim_mul(t, tile, block), j);
    s = stmt_if(k, &at, expr_op(k, SCALAR_lt, expr_dim(k, index), expr_dim(k, n), NULL));
    return (struct place){k, kernel_at(&s->body), index};
}

static struct expr *input(struct place *p, const char *name, enum yj_dtype dtype) {
    dim n = kernel_dim(p->k, "N", 1, DIM_UNBOUNDED);
    struct buffer *b = kernel_arg(p->k, ROLE_IN, name, dtype, 1, &n);
    return stmt_let(p->k, &p->at, name, expr_load_dims(p->k, b, 1, &p->index));
}

/* One row of the result for each op. */
static void output_rows(struct place *p, const char *name, enum yj_dtype dtype, int rows, struct buffer **out) {
    dim n = kernel_dim(p->k, "N", 1, DIM_UNBOUNDED), shape[2] = {dim_const(p->k->dims, rows), n};
    *out = kernel_arg(p->k, ROLE_OUT, name, dtype, 2, shape);
}

static void store_row(struct place *p, struct buffer *out, int row, struct expr *value) {
    dim subs[2] = {dim_const(p->k->dims, row), p->index};
    stmt_store_dims(p->k, &p->at, out, 2, subs, value);
}

static struct kernel *ops_kernel(struct arena *arena, enum yj_dtype dtype, enum axis_kind kind) {
    char name[64];
    snprintf(name, sizeof name, "ops_%s_%s", yj_dtype_name(dtype), kind == AXIS_VECTOR ? "vector" : "serial");
    struct place p = open_loop(kernel_new(arena, name), kind);
    struct expr *a = input(&p, "a", dtype), *b = input(&p, "b", dtype), *c = input(&p, "c", dtype),
                *cond = input(&p, "p", YJ_BOOL);
    struct buffer *same, *truth;
    int n_same = 0, n_truth = 0;
    for (int op = 0; op < SCALAR_COUNT; op++) {
        if (!allowed((enum scalar_op)op, dtype)) continue;
        if (scalar_info[op].result == 'b')
            n_truth++;
        else
            n_same++;
    }
    output_rows(&p, "same", dtype, n_same, &same);
    output_rows(&p, "truth", YJ_BOOL, n_truth, &truth);
    n_same = n_truth = 0;
    for (int i = 0; i < SCALAR_COUNT; i++) {
        enum scalar_op op = (enum scalar_op)i;
        if (!allowed(op, dtype)) continue;
        int arity = scalar_info[op].arity;
        struct expr *e = op == SCALAR_select ? expr_op(p.k, op, cond, a, b)
                                             : expr_op(p.k, op, a, arity > 1 ? b : NULL, arity > 2 ? c : NULL);
        if (scalar_info[op].result == 'b')
            store_row(&p, truth, n_truth++, e);
        else
            store_row(&p, same, n_same++, e);
    }
    return p.k;
}

/* From one type to all others, and its bits. */
static struct kernel *casts_kernel(struct arena *arena, enum yj_dtype from, enum axis_kind kind) {
    char name[64];
    snprintf(name, sizeof name, "casts_%s_%s", yj_dtype_name(from), kind == AXIS_VECTOR ? "vector" : "serial");
    struct place p = open_loop(kernel_new(arena, name), kind);
    struct expr *a = input(&p, "a", from);
    for (size_t i = 0; i < COUNT(all_dtypes); i++) {
        struct buffer *out;
        if (all_dtypes[i] == from) continue;
        output_rows(&p, yj_dtype_name(all_dtypes[i]), all_dtypes[i], 1, &out);
        store_row(&p, out, 0, expr_cast(p.k, all_dtypes[i], a));
    }
    return p.k;
}

/* Bit patterns of all sizes, and the numbers where something changes. */
static uint64_t wild(enum yj_dtype dtype, int64_t i, uint64_t *random) {
    static const double special[] = {0.0,
                                     -0.0,
                                     1,
                                     -1,
                                     0.5,
                                     -0.5,
                                     1.5,
                                     2.5,
                                     -2.5,
                                     127.5,
                                     -128.5,
                                     255.5,
                                     256,
                                     32767.5,
                                     65535.5,
                                     65504,
                                     65520,
                                     448,
                                     464,
                                     57344,
                                     61440,
                                     2147483647.0,
                                     2147483648.0,
                                     -2147483648.0,
                                     4294967295.0,
                                     4294967296.0,
                                     9223372036854775808.0,
                                     -9223372036854775808.0,
                                     18446744073709551616.0,
                                     8388607.5,
                                     8388608.5,
                                     4503599627370495.5,
                                     1e30,
                                     -1e30,
                                     1e-40,
                                     6e-8,
                                     3e-8,
                                     1e-300,
                                     0x1p-149};
    uint64_t r = case_random(random);
    int bits = (int)yj_dtype_bytes(dtype) * 8;
    if (dtype == YJ_BOOL) return r & 1;
    if (dtype_kind(dtype) == 'f') {
        double d =
            i < (int64_t)COUNT(special) ? special[i] : (double)(int64_t)r / 0x1p63 * ldexp(1, (int)(r % 70) - 20);
        uint64_t word;
        if (i % 7 == 6)
            return bits == 64 ? r : r & ((UINT64_C(1) << bits) - 1); /* any pattern, NaN and infinities too */
        if (i % 31 == 30) d = i % 2 ? INFINITY : NAN;
        memcpy(&word, &d, sizeof word);
        return scalar_cast(dtype, YJ_F64, word);
    }
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1, least = UINT64_C(1) << (bits - 1);
    if (i % 5 == 0)
        r = (uint64_t[]){0, 1, UINT64_MAX, least, least - 1, 2, (uint64_t)bits, (uint64_t)bits - 1}[i / 5 % 8];
    else if (i % 5 == 1)
        r >>= r % 64;
    return r & mask;
}

static void fill(struct launch *l, uint64_t seed) {
    for (const struct buffer *b = l->k->args; b; b = b->next) {
        if (b->role == ROLE_OUT) continue;
        size_t each = yj_dtype_bytes(b->dtype);
        for (int64_t i = 0; i < l->n[b->index]; i++) {
            uint64_t bits = wild(b->dtype, b->index ? (i * 7 + b->index * 13) % N : i, &seed);
            memcpy((char *)l->buffer[b->index] + (size_t)i * each, &bits, each);
        }
    }
}

static bool agrees(const struct chip *chip, struct emulator *e, struct kernel *k) {
    static const struct kernel_case sizes = {"ops", -1, {{N}}};
    struct launch want, have;
    struct emulate_buffer buffers[16];
    char where[200] = "";
    launch_open(&want, &sizes, k, 0, 1);
    launch_open(&have, &sizes, k, 0, 1);
    fill(&want, 99);
    fill(&have, 99);
    for (const struct buffer *b = k->args; b; b = b->next)
        buffers[b->index] = (struct emulate_buffer){have.buffer[b->index],
                                                    (size_t)have.n[b->index] * yj_dtype_bytes(b->dtype), true, true};
    bool good = kernel_eval(k, want.buffer, want.scalar, 0, want.tiles, 1, &want.fault) == YJ_OK &&
                emulate_run(e, k->name, k->n_args, buffers, 1, have.scalar, 0, have.tiles, 0, &have.fault) == YJ_OK;
    if (!good)
        snprintf(where, sizeof where, "%s", yj_error_text());
    else
        good = !launch_differs(&want, &have, where, sizeof where);
    if (!good) fprintf(stderr, "%s %d, %s: %s\n", chip->target->name, chip->bits, k->name, where);
    launch_close(&want);
    launch_close(&have);
    return good;
}

/* Each instruction set and vector length once: the other targets differ in scheduling. */
static bool wanted(const struct chip *chip) {
    static const char *const some[] = {"x86-64-v3",   "x86-64-v4",       "kunpeng920",     "aarch64-sve",
                                       "riscv64-rvv", "loongson-2k3000", "loongson-3a6000"};
    for (size_t i = 0; i < COUNT(some); i++)
        if (strcmp(chip->target->name, some[i]) == 0) return strcmp(some[i], "aarch64-sve") != 0 || chip->bits == 256;
    return false;
}

static void ops_and_casts(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[2 * (COUNT(dtypes) + COUNT(all_dtypes))];
    struct chips chips;
    int n = 0, bad = 0, ran = 0;
    for (size_t i = 0; i < COUNT(dtypes); i++)
        kernels[n++] = ops_kernel(arena, dtypes[i], AXIS_VECTOR);
    for (size_t i = 0; i < COUNT(all_dtypes); i++)
        kernels[n++] = casts_kernel(arena, all_dtypes[i], AXIS_VECTOR);
    for (size_t i = 0; i < COUNT(dtypes); i += 3)
        kernels[n++] = ops_kernel(arena, dtypes[i], AXIS_SERIAL);
    for (size_t i = 0; i < COUNT(all_dtypes); i += 4)
        kernels[n++] = casts_kernel(arena, all_dtypes[i], AXIS_SERIAL);
    for (int i = 0; i < n; i++)
        if (kernel_verify(kernels[i]) != YJ_OK) fail_msg("%s", yj_error_text());
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct emulator *e = NULL;
        struct chip *chip = &chips.chip[c];
        if (chip->absent || !wanted(chip)) continue;
        if (chip_open(chip, (const struct kernel *const *)kernels, n, &e) != YJ_OK && !chip->absent)
            fail_msg("%s", yj_error_text());
        for (int i = 0; i < n && !chip->absent; i++)
            bad += !agrees(chip, e, kernels[i]);
        ran += !chip->absent;
        emulate_close(e);
    }
    printf("%d kernels on %d chips\n", n, ran);
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ops_and_casts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

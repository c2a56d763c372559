/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that try a chip, built from the tables: a new row of scalar.def, dtype.def or of a target's tiles is tried
 * without another line here.
 */
#include "compiler/check.h"

#include <math.h>
#include <stdio.h>

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

const enum yj_dtype check_op_dtypes[CHECK_OPS] = {YJ_F32, YJ_F64, YJ_I8,  YJ_I16, YJ_I32, YJ_I64,
                                                  YJ_U8,  YJ_U16, YJ_U32, YJ_U64, YJ_BOOL};
const enum yj_dtype check_cast_dtypes[CHECK_CASTS] = {YJ_F32, YJ_F64, YJ_F16, YJ_BF16, YJ_E4M3, YJ_E5M2, YJ_I8,  YJ_I16,
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

struct kernel *check_ops(struct arena *arena, enum yj_dtype dtype, enum axis_kind kind) {
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
struct kernel *check_casts(struct arena *arena, enum yj_dtype from, enum axis_kind kind) {
    char name[64];
    snprintf(name, sizeof name, "casts_%s_%s", yj_dtype_name(from), kind == AXIS_VECTOR ? "vector" : "serial");
    struct place p = open_loop(kernel_new(arena, name), kind);
    struct expr *a = input(&p, "a", from);
    for (size_t i = 0; i < COUNT(check_cast_dtypes); i++) {
        struct buffer *out;
        if (check_cast_dtypes[i] == from) continue;
        output_rows(&p, yj_dtype_name(check_cast_dtypes[i]), check_cast_dtypes[i], 1, &out);
        store_row(&p, out, 0, expr_cast(p.k, check_cast_dtypes[i], a));
    }
    return p.k;
}

/* Bit patterns of all sizes, and the numbers where something changes. */
uint64_t check_wild(enum yj_dtype dtype, int64_t i, uint64_t *random) {
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
    uint64_t r = next_random(random);
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

struct kernel *check_math(struct arena *arena, enum yj_dtype dtype) {
    struct place p = open_loop(kernel_new(arena, arena_text(arena, "math_%s", yj_dtype_name(dtype))), AXIS_VECTOR);
    struct expr *a = input(&p, "a", dtype), *b = input(&p, "b", dtype);
    struct buffer *out;
    int rows = 0;
    for (int op = 0; op < SCALAR_COUNT; op++)
        rows += strchr(scalar_info[op].types, 'm') != NULL;
    output_rows(&p, "y", dtype, rows, &out);
    rows = 0;
    for (int op = 0; op < SCALAR_COUNT; op++)
        if (strchr(scalar_info[op].types, 'm'))
            store_row(&p, out, rows++, expr_op(p.k, (enum scalar_op)op, a, scalar_info[op].arity > 1 ? b : NULL, NULL));
    return p.k;
}

enum yj_status check_gemm(struct arena *arena, const struct yj_tile_shape *tile, struct kernel **k) {
    const char *from = yj_dtype_name(tile->dtype), *to = dtype_kind(tile->dtype) != 'f' ? "i32"
                                                         : tile->dtype == YJ_F64        ? "f64"
                                                                                        : "f32";
    int r = tile->rows, c = tile->columns, g = tile->k_group;
    char *text = arena_text(
        arena,
        "kernel gemm_%s(M in 1.., K in 0.., N in 1..)\n in a %s [M, K * %d]\n in b %s [(N + %d) / %d, K, %d, %d]\n"
        " inout c %s [M, N]\n{\n tile m = 0 .. M step %d { tile n = 0 .. (N + %d) / %d {\n"
        "  reg acc %s [%d, %d]\n  unroll i = 0 .. %d { vector j = 0 .. %d { acc[i, j] = 0.0:%s } }\n"
        "  serial k = 0 .. K { fma_tile i:%d j:%d k0:%d acc[i, j] += a[min(m + i, M - 1), k * %d + k0] * b[n, k, j, "
        "k0] }\n"
        "  unroll i = 0 .. %d { vector j = 0 .. %d { if and(lt(m + i, M), lt(n * %d + j, N)) {\n"
        "   c[m + i, n * %d + j] = add(c[m + i, n * %d + j], acc[i, j]) } } } } }\n}\n",
        from, from, g, from, c - 1, c, c, g, to, r, c - 1, c, to, r, c, r, c, to, r, c, g, g, r, c, c, c, c);
    if (strcmp(to, "i32") == 0) memcpy(strstr(text, "0.0:i32"), "  0:i32", 7);
    if (strcmp(to, "f32") == 0) memcpy(strstr(text, "0.0:f32"), "0.0    ", 7);
    return kernel_parse(arena, text, "gemm", k);
}

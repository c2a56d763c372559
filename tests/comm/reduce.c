/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction kernels against a reference that joins one element at a time with the conversions of runtime/base: every
 * type and operator, numbers of sources and destinations, odd lengths and places, a destination that is a source; NaN,
 * infinities, zeros of both signs, denormals. All tables that this processor can run have the same bits.
 */
#include "comm/reduce.h"
#include "tests/comm/integers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 1100, SOURCES = 5 };

static uint64_t seed = 1;
static uint32_t random32(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

static float widen(enum yj_dtype t, const void *at) {
    uint16_t h;
    memcpy(&h, at, t == YJ_E4M3 || t == YJ_E5M2 ? 1 : 2);
    return t == YJ_F16    ? f16_to_f32(h)
           : t == YJ_BF16 ? bf16_to_f32(h)
           : t == YJ_E4M3 ? e4m3_to_f32((uint8_t)h)
                          : e5m2_to_f32((uint8_t)h);
}

static void narrow(enum yj_dtype t, float f, void *at) {
    uint16_t h = t == YJ_F16 ? f32_to_f16(f) : f32_to_bf16(f);
    uint8_t b = t == YJ_E4M3 ? f32_to_e4m3(f) : f32_to_e5m2(f);
    if (t == YJ_F16 || t == YJ_BF16)
        memcpy(at, &h, 2);
    else
        memcpy(at, &b, 1);
}

static double join_float(double a, double b, uint32_t op, bool single) {
    switch (op) {
    case YJ_SUM:
    case YJ_AVG:
        return single ? (float)a + (float)b : a + b;
    case YJ_PROD:
        return single ? (float)a * (float)b : a * b;
    case YJ_MIN:
        if (isnan(a) || isnan(b)) return NAN;
        return a == b ? (signbit(a) ? a : b) : a < b ? a : b;
    case YJ_MAX:
        if (isnan(a) || isnan(b)) return NAN;
        return a == b ? (signbit(a) ? b : a) : a > b ? a : b;
    case YJ_LAND:
        return a != 0 && b != 0;
    case YJ_LOR:
        return a != 0 || b != 0;
    default:
        return (a != 0) != (b != 0);
    }
}

static uint64_t load_integer(enum yj_dtype t, const void *at) {
    size_t n = yj_dtype_bytes(t);
    uint64_t v = 0;
    memcpy(&v, at, n);
    if (dtype_kind(t) == 'i' && n < 8 && v >> (8 * n - 1)) v |= ~(uint64_t)0 << 8 * n;
    return v;
}

static uint64_t bool_op(uint32_t op) {
    return op == YJ_MIN || op == YJ_BAND  ? YJ_LAND
           : op == YJ_MAX || op == YJ_BOR ? YJ_LOR
           : op == YJ_BXOR                ? YJ_LXOR
                                          : op;
}

static void reference(enum yj_dtype t, uint32_t op, int nsrc, char *const *src, size_t i, char *out) {
    size_t n = yj_dtype_bytes(t);
    if (t == YJ_F64) {
        double v, w;
        memcpy(&v, src[0] + i * n, 8);
        for (int s = 1; s < nsrc; s++)
            memcpy(&w, src[s] + i * n, 8), v = join_float(v, w, op, false);
        if (isnan(v)) v = (double)NAN;
        memcpy(out, &v, 8);
    } else if (t == YJ_F32) {
        float v, w;
        memcpy(&v, src[0] + i * n, 4);
        for (int s = 1; s < nsrc; s++)
            memcpy(&w, src[s] + i * n, 4), v = (float)join_float(v, w, op, true);
        if (isnan(v)) v = NAN;
        memcpy(out, &v, 4);
    } else if (dtype_kind(t) == 'f') {
        float v = widen(t, src[0] + i * n);
        for (int s = 1; s < nsrc; s++)
            v = (float)join_float(v, widen(t, src[s] + i * n), op, true);
        narrow(t, v, out);
    } else {
        uint64_t v = load_integer(t, src[0] + i * n);
        for (int s = 1; s < nsrc; s++)
            v = join_integer(v, load_integer(t, src[s] + i * n), t == YJ_BOOL ? (uint32_t)bool_op(op) : op,
                             dtype_kind(t) == 'i');
        memcpy(out, &v, n);
    }
}

static void fill(enum yj_dtype t, char *at, size_t count) {
    size_t n = yj_dtype_bytes(t);
    static const float odd[] = {0.0f, -0.0f, 1.0f, -1.0f, 1e-40f, -1e-40f, 3e38f, -3e38f, 65504.0f, 6e-8f, 448.0f};
    for (size_t i = 0; i < count; i++) {
        uint32_t r = random32();
        uint64_t bits = (uint64_t)random32() << 32 | random32();
        float f = r % 16 < COUNT(odd) ? odd[r % 16]
                  : r % 16 == 11      ? INFINITY
                  : r % 16 == 12      ? NAN
                                      : (float)(int32_t)r * 1e-6f;
        double d = r % 16 == 13 ? -INFINITY : r % 16 == 14 ? 1e-310 : f;
        if (r % 16 == 15)
            memcpy(at + i * n, &bits, n); /* any bits at all */
        else if (t == YJ_F32)
            memcpy(at + i * n, &f, 4);
        else if (t == YJ_F64)
            memcpy(at + i * n, &d, 8);
        else if (dtype_kind(t) == 'f')
            narrow(t, f, at + i * n);
        else
            memcpy(at + i * n, &bits, n);
        if (t == YJ_BOOL) at[i] &= 1;
    }
}

/* Sources of N elements and what joining them gives; each run copies the first COUNT of them to other places. */
struct sample {
    enum yj_dtype dtype;
    uint32_t op;
    int nsrc;
    char *src[SOURCES], *want;
};

enum { GUARD = 64, ROOM = (N + 64) * 8 + 2 * GUARD };
static char guard[GUARD];        /* 0x33 */
static char *place[SOURCES + 3]; /* ROOM bytes each: sources, destinations */

/* Where buffer B begins: at an element of its own, different in each call. */
static char *at(int b, size_t bytes, size_t turn) {
    return place[b] + GUARD + (turn * 7 + (size_t)b * 13) % (64 / bytes) * bytes;
}

static void run(const struct reduce_table *table, const struct sample *s, int ndst, size_t count, size_t turn,
                bool alias) {
    size_t n = yj_dtype_bytes(s->dtype), bytes = count * n;
    char *src[SOURCES], *dst[3];
    for (int i = 0; i < s->nsrc; i++)
        memcpy(src[i] = at(i, n, turn), s->src[i], bytes);
    for (int d = 0; d < ndst; d++)
        memset((dst[d] = at(SOURCES + d, n, turn)) - GUARD, 0x33, bytes + 2 * GUARD);
    if (alias) dst[0] = src[turn % (size_t)s->nsrc];
    table->join[s->dtype][s->op](ndst, (void *const *)dst, s->nsrc, (const void *const *)src, count);
    for (int d = 0; d < ndst; d++) {
        for (size_t i = 0; memcmp(dst[d], s->want, bytes) && i < count; i++)
            if (memcmp(dst[d] + i * n, s->want + i * n, n))
                fail_msg("%s: %s op %u, %d sources, %d destinations%s: element %zu of %zu", table->name,
                         yj_dtype_name(s->dtype), s->op, s->nsrc, ndst, alias ? " (one is a source)" : "", i, count);
        bool beside = memcmp(dst[d] - GUARD, guard, GUARD) || memcmp(dst[d] + bytes, guard, GUARD);
        assert_false(beside && !(alias && d == 0));
    }
    for (int i = 0; i < s->nsrc; i++)
        if (src[i] != dst[0]) assert_memory_equal(src[i], s->src[i], bytes);
}

/* Lengths around the loops of four registers, one register and one element of every type and level. */
static void run_lengths(const struct reduce_table *table, const struct sample *s) {
    static const size_t longer[] = {127, 129, 255, 258, 385, 511, 515, N};
    size_t turn = 0;
    for (int ndst = 1; ndst <= 3; ndst++) {
        for (size_t count = 0; count < 70; count++, turn++)
            run(table, s, ndst, count, turn, turn % 3 == 0);
        for (size_t i = 0; i < COUNT(longer); i++, turn++)
            run(table, s, ndst, longer[i], turn, turn % 3 == 0);
    }
}

static void sample_join(struct sample *s) {
    size_t n = yj_dtype_bytes(s->dtype);
    for (int i = 0; i < s->nsrc; i++)
        fill(s->dtype, s->src[i], N);
    for (size_t i = 0; i < N; i++)
        reference(s->dtype, s->op, s->nsrc, s->src, i, s->want + i * n);
}

static void test_joins(void **state) {
    struct sample s = {.want = malloc(N * 8)};
    const struct reduce_table *table;
    int done = 0;
    memset(guard, 0x33, sizeof guard);
    for (int i = 0; i < SOURCES; i++)
        s.src[i] = malloc(N * 8);
    for (size_t i = 0; i < COUNT(place); i++)
        place[i] = aligned_alloc(64, (ROOM + 63) / 64 * 64);
    for (int t = YJ_F32; t <= YJ_BOOL; t++)
        for (s.op = YJ_SUM; s.op <= YJ_LXOR; s.op++) {
            s.dtype = (enum yj_dtype)t;
            for (int k = 0; (table = reduce_table_number(k)); k++) /* all know the same pairs */
                assert_true(!table->join[t][s.op] == (reduce_check((uint32_t)t, s.op) != YJ_OK));
            if (!reduce_table_plain()->join[t][s.op]) continue;
            for (s.nsrc = 2; s.nsrc <= SOURCES; s.nsrc++) {
                sample_join(&s);
                for (int k = 0; (table = reduce_table_number(k)); k++)
                    run_lengths(table, &s);
            }
            done++;
        }
    assert_int_equal(done, 6 * 8 + 8 * 11 + 8);
    for (int i = 0; i < SOURCES; i++)
        free(s.src[i]);
    for (size_t i = 0; i < COUNT(place); i++)
        free(place[i]);
    free(s.want);
}

/* More sources than a kernel takes at once, and one source. */
static void test_many_sources(void **state) {
    enum { MOST = 130, LENGTH = 77 };
    static float src[MOST][LENGTH], dst[3][LENGTH];
    const void *from[MOST];
    const struct reduce_table *table;
    for (int s = 0; s < MOST; s++)
        fill(YJ_F32, (char *)(from[s] = src[s]), LENGTH);
    for (int k = 0; (table = reduce_table_number(k)); k++)
        for (int nsrc = 1; nsrc <= MOST; nsrc += nsrc < 60 ? 9 : 1) {
            void *to[3] = {dst[0], dst[1], dst[2]};
            table->join[YJ_F32][YJ_SUM](3, to, nsrc, from, LENGTH);
            for (int i = 0; i < LENGTH; i++) {
                float v = src[0][i];
                for (int s = 1; s < nsrc; s++)
                    v += src[s][i];
                if (isnan(v)) v = NAN;
                for (int d = 0; d < 3; d++)
                    assert_memory_equal(&dst[d][i], &v, 4);
            }
        }
}

/* avg: the sum divided by the number of ranks in the accumulator's type; integers towards zero. */
static void scaled(enum yj_dtype t, const char *src, size_t i, int ranks, char *out) {
    size_t n = yj_dtype_bytes(t);
    double d;
    float f;
    if (t == YJ_F64) {
        memcpy(&d, src + i * n, 8), d /= ranks;
        if (isnan(d)) d = (double)NAN;
        memcpy(out, &d, 8);
    } else if (t == YJ_F32) {
        memcpy(&f, src + i * n, 4), f /= (float)ranks;
        if (isnan(f)) f = NAN;
        memcpy(out, &f, 4);
    } else if (dtype_kind(t) == 'f') {
        narrow(t, widen(t, src + i * n) / (float)ranks, out);
    } else {
        uint64_t v = load_integer(t, src + i * n);
        v = dtype_kind(t) == 'i' ? (uint64_t)((int64_t)v / ranks) : v / (uint64_t)ranks;
        memcpy(out, &v, n);
    }
}

static void test_scale(void **state) {
    static const int ranks[] = {1, 2, 3, 7, 127, 128, 200, 256, 65536, 100000};
    char *src = malloc(N * 8), *got = aligned_alloc(64, (N * 8 + 127) / 64 * 64), want[8];
    const struct reduce_table *table;
    for (int k = 0; (table = reduce_table_number(k)); k++)
        for (int t = YJ_F32; t < YJ_BOOL; t++)
            for (size_t r = 0; r < COUNT(ranks); r++) {
                size_t n = yj_dtype_bytes((enum yj_dtype)t), count = N - 37 * r;
                char *own = got + r % 3 * n;
                fill((enum yj_dtype)t, src, count);
                memcpy(own, src, count * n);
                table->scale[t](own, count, ranks[r]);
                for (size_t i = 0; i < count; i++) {
                    scaled((enum yj_dtype)t, src, i, ranks[r], want);
                    if (memcmp(own + i * n, want, n))
                        fail_msg("%s: %s / %d, element %zu", table->name, yj_dtype_name((enum yj_dtype)t), ranks[r], i);
                }
            }
    free(src), free(got);
}

/* A build that has the compiler uses its kernels; elsewhere plain C is all there is. */
static void test_levels(void **state) {
    const struct reduce_table *table;
    bool avx512 = false, compiled = false;
    for (int k = 0; (table = reduce_table_number(k)); k++) {
        print_message("runs here: %s\n", table->name);
        assert_int_equal(table->size, sizeof *table);
        assert_int_equal(table->version, REDUCE_VERSION);
        compiled |= strncmp(table->name, "yunjin ", 7) == 0;
        avx512 |= strstr(table->name, "x86_64_v4") != NULL;
        assert_true(reduce_table_number(k + 1) || table == reduce_table_plain());
    }
    assert_true(reduce_table_best() == reduce_table_number(0));
#if defined(REDUCE_COMPILED)
    assert_true(compiled && strncmp(reduce_table_best()->name, "yunjin ", 7) == 0);
    if (!avx512) print_message("not run: kernels for AVX-512, which this machine does not have\n");
#else
    assert_false(compiled);
#endif
}

/* f16 and bf16: every value, the midpoints between neighbours and what lies beside them, through a sum with zero. */
static void test_rounding(void **state) {
    for (int t = YJ_F16; t <= YJ_BF16; t++)
        for (uint32_t h = 0; h < 65536; h++) {
            uint16_t a = (uint16_t)h, b = (uint16_t)(random32() & 0xffff), zero = 0x8000, out, want;
            const void *src[2] = {&a, h % 2 ? &b : &zero};
            void *dst[1] = {&out};
            reduce_table_best()->join[t][YJ_SUM](1, dst, 2, src, 1);
            narrow((enum yj_dtype)t, widen((enum yj_dtype)t, &a) + widen((enum yj_dtype)t, src[1]), &want);
            assert_int_equal(out, want);
        }
    /* sums of two f16 or bf16 hit midpoints exactly when their exponents differ enough: products cover the rest */
    for (int i = 0; i < 300000; i++) {
        uint16_t a = (uint16_t)random32(), b = (uint16_t)random32(), out, want;
        const void *src[2] = {&a, &b};
        void *dst[1] = {&out};
        for (int t = YJ_F16; t <= YJ_BF16; t++) {
            reduce_table_best()->join[t][YJ_PROD](1, dst, 2, src, 1);
            narrow((enum yj_dtype)t, widen((enum yj_dtype)t, &a) * widen((enum yj_dtype)t, &b), &want);
            assert_int_equal(out, want);
        }
    }
}

static void test_moves(void **state) {
    enum { ROOM = 20000 };
    char *src = malloc(ROOM), *a = malloc(ROOM), *b = malloc(ROOM), *c = malloc(ROOM);
    for (int i = 0; i < ROOM; i++)
        src[i] = (char)random32();
    for (size_t n = 0; n < 9000; n = n * 3 / 2 + 1)
        for (size_t shift = 0; shift < 70; shift += 23) {
            void *dst[3] = {a + shift, b + 1, c};
            memset(a, 0x11, ROOM);
            move_copy(true, 3, dst, src + 5, n);
            move_fence();
            for (int d = 0; d < 3; d++)
                assert_memory_equal(dst[d], src + 5, n);
            assert_true(a[shift + n] == 0x11);
            size_t m = n / 4 * 4;
            const void *two[2] = {src + 4, src + 64};
            void *join[2] = {a + shift / 4 * 4, b};
            int32_t x, y, z;
            move_join(true, reduce_table_best()->join[YJ_I32][YJ_SUM], 4, 2, join, 2, two, m);
            move_fence();
            for (size_t i = 0; i < m; i += 4) {
                memcpy(&x, src + 4 + i, 4), memcpy(&y, src + 64 + i, 4), memcpy(&z, (char *)join[0] + i, 4);
                assert_int_equal((uint32_t)z, (uint32_t)x + (uint32_t)y);
            }
            assert_memory_equal(join[0], join[1], m);
        }
    free(src), free(a), free(b), free(c);
}

/* What is not defined is refused in words. */
static void test_refusals(void **state) {
    assert_int_equal(reduce_check(YJ_BF16, YJ_BXOR), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "operator bxor is not defined on bf16"));
    assert_int_equal(reduce_check(YJ_BOOL, YJ_AVG), YJ_ERR_UNSUPPORTED);
    assert_non_null(strstr(yj_error_text(), "operator avg is not defined on bool"));
    assert_int_equal(reduce_check(0, YJ_SUM), YJ_ERR_INPUT);
    assert_int_equal(reduce_check(16, YJ_SUM), YJ_ERR_INPUT);
    assert_int_equal(reduce_check(YJ_F32, 0), YJ_ERR_INPUT);
    assert_int_equal(reduce_check(YJ_F32, 12), YJ_ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_joins),  cmocka_unit_test(test_many_sources),
                                       cmocka_unit_test(test_scale),  cmocka_unit_test(test_rounding),
                                       cmocka_unit_test(test_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

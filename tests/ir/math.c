/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of math.def against libm in a wider type: the error in units in the last place. f32: on a sample of all
 * operands (every 4093rd); f64: on drawn operands of all sizes and of those where something happens; both around every
 * edge of the expansions, and on special operands; pow and rem on drawn pairs. Infinities, NaN, signs of zero and
 * overflow must be exact. YUNJIN_MATH_ALL=NAME (or `all`) goes through all 2^32 f32 operands of that row, and draws 64
 * times as many f64. That the expansions as kernels give the same bits is shown by tests/ir/kernel.c and
 * tests/compiler/emit_source.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/math.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* libm in long double: 11 bits more than f64 on x86-64, 60 elsewhere. */
static long double long_reference(enum scalar_op op, double x, double y) {
    long double a = x, b = y;
    switch (op) {
    case SCALAR_exp:
        return expl(a);
    case SCALAR_log:
        return x == 0 ? -INFINITY : logl(a);
    case SCALAR_tanh:
        return tanhl(a);
    case SCALAR_erf:
        return erfl(a);
    case SCALAR_sin:
        return sinl(a);
    case SCALAR_cos:
        return cosl(a);
    case SCALAR_sigmoid:
        return a < 0 ? expl(a) / (1 + expl(a)) : 1 / (1 + expl(-a));
    case SCALAR_pow:
        return powl(a, b);
    case SCALAR_rem:
        return fmod(x, y);
    default:
        return NAN;
    }
}

static double reference(enum scalar_op op, double a, double b) {
    switch (op) {
    case SCALAR_pow:
        return pow(a, b);
    case SCALAR_rem:
        return fmod(a, b);
    default:
        return (double)long_reference(op, a, b);
    }
}

/* In units in the last place of WANT as an f32, where it is denormal of 2^-149; INFINITY where no rounding explains it.
 */
static double error_of(float got, double want) {
    int exponent;
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    if (isinf(got) || isinf(want)) return (float)want == got ? 0 : INFINITY;
    if (got == 0 && !signbit(got) != !signbit(want)) return INFINITY;
    frexp(want, &exponent);
    return fabs((double)got - want) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

struct worst {
    double error;
    float a, b;
};

static void measure(struct worst *worst, enum scalar_op op, float a, float b) {
    double error = error_of(f32_math(op, a, b), reference(op, a, b));
    if (error > worst->error) *worst = (struct worst){error, a, b};
}

static void check(const struct worst *worst, enum scalar_op op) {
    print_message("%-8s %.4f at %a %a, allowed %.2f\n", scalar_info[op].name, worst->error, worst->a, worst->b,
                  math_ulp(op, YJ_F32));
    assert_true(worst->error <= math_ulp(op, YJ_F32));
}

/* Where an expansion changes its way, overflows, or loses all digits: 4096 operands around each, of both signs. */
static const uint32_t edges[] = {0,
                                 0x00800000,
                                 0x7f800000,
                                 0x7f7fffff,
                                 0x3f800000,
                                 0x3f000000,
                                 0x42b17218 /* e^x overflows */,
                                 0x42cff1b5 /* e^-x is 0 */,
                                 0x42aeac50 /* e^-x is denormal */,
                                 0x3f200000 /* tanh */,
                                 0x41102cb4,
                                 0x40800000 /* erf */,
                                 0x3f490fdb /* pi/4 */,
                                 0x3fc90fdb,
                                 0x40490fdb,
                                 0x4096cbe4,
                                 0x40c90fdb,
                                 0x3f3504f3 /* log */,
                                 0x42b00000,
                                 0x42d00000};

static void test_rows(void **state) {
    const char *all = getenv("YUNJIN_MATH_ALL");
    for (int i = 0; i < SCALAR_COUNT; i++) {
        enum scalar_op op = (enum scalar_op)i;
        if (!math_has(op) || scalar_info[op].arity != 1) continue;
        bool every = all && (strcmp(all, "all") == 0 || strcmp(all, scalar_info[op].name) == 0);
        struct worst worst = {0};
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += every ? 1 : 4093)
            measure(&worst, op, float_of((uint32_t)bits), 0);
        for (size_t e = 0; e < COUNT(edges); e++)
            for (uint32_t near = 0; near < 4096; near++) {
                measure(&worst, op, float_of(edges[e] - 2048 + near), 0);
                measure(&worst, op, float_of((edges[e] - 2048 + near) ^ 0x80000000), 0);
            }
        check(&worst, op);
    }
}

static uint64_t random_state = 7;
static uint32_t random_bits(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

static const uint32_t special[] = {0,          1,          0x007fffff, 0x00800000, 0x3effffff, 0x3f000000, 0x3f7fffff,
                                   0x3f800000, 0x3f800001, 0x40000000, 0x40200000, 0x40400000, 0x4a800001, 0x4b000001,
                                   0x4b7fffff, 0x4b800001, 0x7f7fffff, 0x7f800000, 0x7fc00000};

static void measure_special(struct worst *worst, enum scalar_op op) {
    for (size_t i = 0; i < 4 * COUNT(special) * COUNT(special); i++) {
        uint32_t a = special[i / 4 % COUNT(special)] | (uint32_t)(i & 1) << 31,
                 b = special[i / 4 / COUNT(special)] | (uint32_t)(i & 2) << 30;
        measure(worst, op, float_of(a), float_of(b));
    }
}

/* Bases of all sizes and near 1, exponents that keep the result in range, and beyond. */
static void test_pow(void **state) {
    struct worst worst = {0};
    measure_special(&worst, SCALAR_pow);
    int64_t n = getenv("YUNJIN_MATH_ALL") ? INT64_C(1) << 31 : 1 << 20;
    for (int64_t i = 0; i < n; i++) {
        float a = float_of(random_bits()), b = float_of(random_bits());
        if (i % 4 == 1) a = float_of(0x3f800000 + random_bits() % 2000001 - 1000000);
        if (i % 4 == 2) a = fabsf(a);
        if (i % 4 == 3) a = float_of(0x3f800000 + random_bits() % 20001 - 10000);
        double power = log2(fabs((double)a));
        if (i % 4 >= 2 && power != 0) b = (float)((random_bits() / 4294967296.0 * 310 - 158) / power);
        measure(&worst, SCALAR_pow, a, b);
    }
    check(&worst, SCALAR_pow);
}

static void test_rem(void **state) {
    struct worst worst = {0};
    measure_special(&worst, SCALAR_rem);
    for (int i = 0; i < 1 << 20; i++) {
        uint32_t a = random_bits(), b = random_bits();
        if (i & 1)
            a = (a & 0x807fffff) | (100 + random_bits() % 60) << 23, b = (b & 0x807fffff) | (100 + random_bits() % 40)
                                                                                                << 23;
        measure(&worst, SCALAR_rem, float_of(a), float_of(b));
    }
    check(&worst, SCALAR_rem);
}

/* ---- f64 */

static double double_of(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint64_t random_64(void) {
    uint64_t high = random_bits();
    return high << 32 | random_bits();
}

/* In [low, high). */
static double random_in(double low, double high) {
    return low + (high - low) * ((double)(random_64() >> 11) * 0x1p-53);
}

static double error_of_64(double got, long double want) {
    int exponent;
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    if (isinf(got) || isinf((double)want)) return (double)want == got ? 0 : INFINITY;
    if (got == 0 && !signbit(got) != !signbit(want)) return INFINITY;
    frexpl(want, &exponent);
    return (double)(fabsl((long double)got - want) / ldexpl(1, exponent - 53 < -1074 ? -1074 : exponent - 53));
}

struct worst_64 {
    double error, a, b;
};

static void measure_64(struct worst_64 *worst, enum scalar_op op, double a, double b) {
    double error = error_of_64(f64_math(op, a, b), long_reference(op, a, b));
    if (error > worst->error) *worst = (struct worst_64){error, a, b};
}

static void check_64(const struct worst_64 *worst, enum scalar_op op) {
    print_message("f64 %-8s %.4f at %a %a, allowed %.2f\n", scalar_info[op].name, worst->error, worst->a, worst->b,
                  math_ulp(op, YJ_F64));
    assert_true(worst->error <= math_ulp(op, YJ_F64));
}

/* As `edges`, for f64; among them the f64 that is nearest to a multiple of pi/2, and where 2/pi is read at its ends. */
static const double edges_64[] = {0,
                                  0x1p-1022,
                                  INFINITY,
                                  0x1p1023,
                                  1,
                                  0.5,
                                  709.782712893384,
                                  745.133219,
                                  708.396,
                                  0.625,
                                  0.3465736,
                                  19.0615,
                                  6,
                                  5.9215871957945083,
                                  M_PI_4,
                                  M_PI_2,
                                  M_PI,
                                  3 * M_PI_4,
                                  M_SQRT1_2,
                                  M_SQRT2,
                                  36.7368005696771,
                                  6381956970095103.0 * 0x1p797,
                                  0x1.8p64,
                                  0x1p512,
                                  0x1p960};

static void draw_64(struct worst_64 *worst, enum scalar_op op) {
    static const double sizes[] = {1e-300, 1e-8, 0.3, 0.8, 2, 6.5, 40, 750, 1e6, 1e300};
    int64_t n = getenv("YUNJIN_MATH_ALL") ? 1 << 24 : 1 << 18;
    for (int64_t i = 0; i < n; i++) {
        measure_64(worst, op, double_of(random_64()), 0);
        double size = sizes[i % (int)COUNT(sizes)];
        measure_64(worst, op, random_in(-size, size), 0);
        measure_64(worst, op, random_in(0.5, 2), 0);
        if (op == SCALAR_sin || op == SCALAR_cos) /* near multiples of pi/2 */
            measure_64(worst, op, (double)(M_PI_2 * (long double)(random_64() >> (11 + i % 53))), 0);
    }
}

static void test_rows_64(void **state) {
    for (int i = 0; i < SCALAR_COUNT; i++) {
        enum scalar_op op = (enum scalar_op)i;
        if (!math_has(op) || scalar_info[op].arity != 1) continue;
        struct worst_64 worst = {0};
        draw_64(&worst, op);
        for (size_t e = 0; e < COUNT(edges_64); e++)
            for (int64_t near = -1024; near < 1024; near++) {
                uint64_t bits;
                memcpy(&bits, &edges_64[e], sizeof bits);
                measure_64(&worst, op, double_of(bits + (uint64_t)near), 0);
                measure_64(&worst, op, -double_of(bits + (uint64_t)near), 0);
            }
        measure_64(&worst, op, NAN, 0);
        check_64(&worst, op);
    }
}

static const double special_64[] = {0,
                                    0x1p-1074,
                                    0x1p-1022,
                                    0x1.fffffffffffffp-1023,
                                    0x1.fffffffffffffp-2,
                                    0.5,
                                    1,
                                    0x1.fffffffffffffp-1,
                                    0x1.0000000000001p0,
                                    2,
                                    2.5,
                                    3,
                                    0x1.0000000000001p52,
                                    0x1.8p52,
                                    0x1.fffffffffffffp52,
                                    0x1.0000000000001p53,
                                    0x1.fffffffffffffp1023,
                                    INFINITY,
                                    NAN};

static void measure_special_64(struct worst_64 *worst, enum scalar_op op) {
    for (size_t i = 0; i < 4 * COUNT(special_64) * COUNT(special_64); i++) {
        double a = special_64[i / 4 % COUNT(special_64)], b = special_64[i / 4 / COUNT(special_64)];
        measure_64(worst, op, i & 1 ? -a : a, i & 2 ? -b : b);
    }
}

static void test_pow_64(void **state) {
    struct worst_64 worst = {0};
    measure_special_64(&worst, SCALAR_pow);
    int64_t n = getenv("YUNJIN_MATH_ALL") ? 1 << 26 : 1 << 20;
    for (int64_t i = 0; i < n; i++) {
        double a = double_of(random_64()), b = double_of(random_64());
        if (i % 4 == 1) a = random_in(0.9, 1.1);
        if (i % 4 == 2) a = fabs(a);
        if (i % 4 == 3) a = random_in(1 - 1e-6, 1 + 1e-6);
        double power = log2(fabs(a));
        if (i % 4 >= 2 && power != 0) b = random_in(-1080, 1026) / power;
        measure_64(&worst, SCALAR_pow, a, b);
    }
    check_64(&worst, SCALAR_pow);
}

static void test_rem_64(void **state) {
    struct worst_64 worst = {0};
    measure_special_64(&worst, SCALAR_rem);
    for (int i = 0; i < 1 << 20; i++) {
        double a = double_of(random_64()), b = double_of(random_64());
        if (i & 1) b = a * random_in(0.001, 1);
        if (i & 2) a = random_in(-1e6, 1e6), b = random_in(0.001, 1e4);
        measure_64(&worst, SCALAR_rem, a, b);
    }
    check_64(&worst, SCALAR_rem);
}

/* Every row that scalar.def marks as a transcendental has an expansion. */
static void test_complete(void **state) {
    for (int i = 0; i < SCALAR_COUNT; i++)
        if (strchr(scalar_info[i].types, 'm')) assert_true(math_has((enum scalar_op)i));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),    cmocka_unit_test(test_pow),
                                       cmocka_unit_test(test_rem),     cmocka_unit_test(test_complete),
                                       cmocka_unit_test(test_rows_64), cmocka_unit_test(test_pow_64),
                                       cmocka_unit_test(test_rem_64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

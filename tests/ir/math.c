/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of math.def against libm in double: the error in units in the last place, on a sample of all operands
 * (every 4093rd), around every edge of the expansions, and on special operands; pow and rem on drawn pairs. Infinities,
 * NaN, signs of zero and overflow must be exact. YUNJIN_MATH_ALL=NAME (or `all`) goes through all 2^32 operands of that
 * row. That the expansions as kernels give the same bits is shown by tests/ir/kernel.c and
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

static double reference(enum scalar_op op, double a, double b) {
    switch (op) {
    case SCALAR_pow:
        return pow(a, b);
    case SCALAR_rem:
        return fmod(a, b);
    default:
        return f64_math(op, a, b);
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
                  math_ulp(op));
    assert_true(worst->error <= math_ulp(op));
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

/* Every row that scalar.def marks as a transcendental has an expansion. */
static void test_complete(void **state) {
    for (int i = 0; i < SCALAR_COUNT; i++)
        if (strchr(scalar_info[i].types, 'm')) assert_true(math_has((enum scalar_op)i));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_pow),
                                       cmocka_unit_test(test_rem), cmocka_unit_test(test_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Narrow floats against a reference that knows nothing of bits: it lists all values of a format as doubles, and rounds
 * by looking for the nearest one, the even neighbour on a tie.
 */
#include "runtime/base/base.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

struct format {
    int exponent_bits, mantissa_bits, bias;
    uint32_t last; /* the largest finite code */
    bool saturates;
};
static const struct format f16 = {5, 10, 15, 0x7bff, false}, bf16 = {8, 7, 127, 0x7f7f, false};
static const struct format e4m3 = {4, 3, 7, 0x7e, true}, e5m2 = {5, 2, 15, 0x7b, true};

/* By the definition of the format: (-1)^s * 1.m * 2^(e - bias). */
static double value_of(const struct format *f, uint32_t code) {
    uint32_t e = code >> f->mantissa_bits, m = code & ((1u << f->mantissa_bits) - 1);
    double fraction = (double)m / (double)(1u << f->mantissa_bits);
    return e ? ldexp(1 + fraction, (int)e - f->bias) : ldexp(fraction, 1 - f->bias);
}

/* The code (without sign) nearest to the magnitude X, a finite double; last + 1 stands for what lies beyond. */
static uint32_t nearest(const struct format *f, double x) {
    uint32_t low = 0, high = f->last + 1;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (middle <= f->last && value_of(f, middle) <= x)
            low = middle;
        else
            high = middle;
    }
    /* beyond the largest value stands the one that the next step would give, as if the exponent went on */
    double above = low == f->last ? 2 * value_of(f, low) - value_of(f, low - 1) : value_of(f, high);
    double down = x - value_of(f, low), up = above - x;
    if (down < up) return low;
    if (up < down) return high;
    return low & 1 ? high : low;
}

static uint32_t reference(const struct format *f, float x) {
    uint32_t sign = signbit(x) ? 1u << (f->exponent_bits + f->mantissa_bits) : 0;
    uint32_t v = isinf(x) ? f->last + 1 : nearest(f, fabs((double)x));
    if (v > f->last && f->saturates) v = f->last;
    return sign | v;
}

static float any_float(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t u = (uint32_t)(*seed >> 32);
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static void same(uint32_t got, uint32_t wanted, float x) {
    if (got != wanted) fail_msg("%a: got 0x%x, wanted 0x%x", (double)x, got, wanted);
}

static void check_all(float x) {
    if (isnan(x)) {
        same(f32_to_f16(x), 0x7e00, x);
        same(f32_to_bf16(x), 0x7fc0, x);
        same(f32_to_e4m3(x), 0x7f, x);
        same(f32_to_e5m2(x), 0x7e, x);
        return;
    }
    same(f32_to_f16(x), reference(&f16, x), x);
    same(f32_to_bf16(x), reference(&bf16, x), x);
    same(f32_to_e4m3(x), reference(&e4m3, x), x);
    same(f32_to_e5m2(x), reference(&e5m2, x), x);
}

static void narrowing_is_nearest_even(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 300000; i++) {
        float x = any_float(&seed);
        check_all(x);
        uint32_t u; /* the same mantissa at an exponent where the narrow formats live */
        memcpy(&u, &x, 4);
        u = (u & 0x807fffff) | (uint32_t)(95 + i % 55) << 23;
        if (i % 3 == 0) u &= 0xfffff000;
        memcpy(&x, &u, 4);
        check_all(x);
    }
}

/* All ties, and the floats just below and above them. */
static void ties_and_neighbours(const struct format *f) {
    for (uint32_t code = 0; code <= f->last; code++) {
        double next = code < f->last ? value_of(f, code + 1) : 2 * value_of(f, code) - value_of(f, code - 1);
        float tie = (float)((value_of(f, code) + next) / 2);
        check_all(tie);
        check_all(-tie);
        check_all(nextafterf(tie, 0));
        check_all(nextafterf(tie, INFINITY));
    }
}

static void ties(void **state) {
    (void)state;
    ties_and_neighbours(&f16);
    ties_and_neighbours(&bf16);
    ties_and_neighbours(&e4m3);
    ties_and_neighbours(&e5m2);
    check_all(INFINITY);
    check_all(-INFINITY);
    check_all(0.0f);
    check_all(-0.0f);
    check_all(NAN);
}

static void widening_is_exact(const struct format *f, uint32_t code, float x) {
    uint32_t top = 1u << (f->exponent_bits + f->mantissa_bits), v = code & (top - 1);
    if (v <= f->last) {
        assert_true((double)x == (code & top ? -1 : 1) * value_of(f, v));
        assert_int_equal(!!signbit(x), !!(code & top));
    } else if (!f->saturates || f == &e5m2) {
        if (v == f->last + 1)
            assert_true(isinf(x) && !!signbit(x) == !!(code & top));
        else
            assert_true(isnan(x));
    } else {
        assert_true(isnan(x));
    }
}

static void all_codes(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float x = f16_to_f32((uint16_t)i);
        widening_is_exact(&f16, i, x);
        same(f32_to_f16(x), isnan(x) ? 0x7e00 : i, x);
        x = bf16_to_f32((uint16_t)i);
        widening_is_exact(&bf16, i, x);
        same(f32_to_bf16(x), isnan(x) ? 0x7fc0 : i, x);
    }
    for (uint32_t i = 0; i < 256; i++) {
        float x = e4m3_to_f32((uint8_t)i);
        widening_is_exact(&e4m3, i, x);
        same(f32_to_e4m3(x), isnan(x) ? 0x7f : i, x);
        x = e5m2_to_f32((uint8_t)i);
        widening_is_exact(&e5m2, i, x);
        same(f32_to_e5m2(x), isnan(x) ? 0x7e : isinf(x) ? (i & 0x80) | 0x7b : i, x);
    }
    assert_true(e4m3_to_f32(0x7e) == 448 && e5m2_to_f32(0x7b) == 57344 && f16_to_f32(0x7bff) == 65504);
    assert_true(f16_to_f32(0x3c00) == 1 && bf16_to_f32(0x3f80) == 1 && f16_to_f32(1) == 0x1p-24f);
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520), 0x7c00);
    assert_int_equal(f32_to_e4m3(-1e30f), 0xfe);
}

static void names(void **state) {
    (void)state;
    int n = 0;
    for (int i = 0; i < 300; i++) {
        enum yj_dtype d = (enum yj_dtype)i, back = YJ_F32;
        if (yj_dtype_bytes(d) == 0) {
            assert_string_equal(yj_dtype_name(d), "?");
            continue;
        }
        n++;
        assert_true(dtype_parse(yj_dtype_name(d), &back) && back == d);
        assert_true(dtype_from_onnx(dtype_onnx(d), &back) && back == d);
        assert_non_null(strchr("fiub", dtype_kind(d)));
    }
    assert_int_equal(n, 15);
    enum yj_dtype d = YJ_I8;
    assert_false(dtype_parse("f", &d) || dtype_parse("", &d) || dtype_from_onnx(8, &d) || dtype_from_onnx(-1, &d));
    assert_int_equal(d, YJ_I8);
    assert_int_equal(yj_dtype_bytes(YJ_BF16), 2);
    assert_int_equal(dtype_kind(YJ_BOOL), 'b');
    assert_int_equal(yj_dtype_bytes((enum yj_dtype) - 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrowing_is_nearest_even),
        cmocka_unit_test(ties),
        cmocka_unit_test(all_codes),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

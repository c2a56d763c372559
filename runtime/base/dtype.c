/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types. Every narrow float is the same thing with other numbers (mantissa bits, lowest exponent), so one
 * rounding function serves f16, bf16, e4m3 and e5m2, in integer arithmetic: the same bits on every machine.
 */
#include "runtime/base/base.h"

struct row {
    const char *name;
    uint8_t bytes;
    char kind;
    int onnx;
};

static const struct row rows[] = {
#define DTYPE(number, NAME, name, bytes, kind, onnx) [number] = {#name, bytes, kind, onnx},
#include <yunjin/dtype.def>
#undef DTYPE
};

static const struct row *row(enum yj_dtype dtype) {
    return (size_t)dtype < COUNT(rows) && rows[dtype].name ? &rows[dtype] : NULL;
}

size_t yj_dtype_bytes(enum yj_dtype dtype) {
    return row(dtype) ? row(dtype)->bytes : 0;
}

const char *yj_dtype_name(enum yj_dtype dtype) {
    return row(dtype) ? row(dtype)->name : "?";
}

char dtype_kind(enum yj_dtype dtype) {
    return row(dtype) ? row(dtype)->kind : '?';
}

int dtype_onnx(enum yj_dtype dtype) {
    return row(dtype) ? row(dtype)->onnx : 0;
}

bool dtype_parse(const char *name, enum yj_dtype *dtype) {
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].name && strcmp(rows[i].name, name) == 0) {
            *dtype = (enum yj_dtype)i;
            return true;
        }
    }
    return false;
}

bool dtype_from_onnx(int onnx, enum yj_dtype *dtype) {
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].name && rows[i].onnx == onnx) {
            *dtype = (enum yj_dtype)i;
            return true;
        }
    }
    return false;
}

/* --- narrow floats --- */

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Rounds the finite magnitude U (f32 bits, no sign) to MANTISSA bits with LEAST the f32 exponent field of the smallest
 * normal; to nearest, ties to even. The exponent is unbounded above: the caller compares with its largest value. */
static uint32_t narrow(uint32_t u, int mantissa, int least) {
    int exponent = (int)(u >> 23), shift = 23 - mantissa;
    if (exponent < least) {
        if (exponent == 0)
            u &= 0x7fffff, exponent = 1;
        else
            u = (u & 0x7fffff) | 0x800000;
        shift += least - exponent;
        if (shift > 24) return 0; /* below half of the smallest subnormal, or a tie with zero */
    }
    uint32_t rounded = shift == 0 ? u : (u + ((1u << (shift - 1)) - 1) + (u >> shift & 1)) >> shift;
    return exponent < least ? rounded : rounded - ((uint32_t)(least - 1) << mantissa);
}

/* The inverse for finite values: V without sign. */
static float widen(uint32_t v, int mantissa, int least) {
    uint32_t exponent = v >> mantissa, fraction = v & ((1u << mantissa) - 1);
    if (exponent) return float_of(((exponent + (uint32_t)least - 1) << 23) | fraction << (23 - mantissa));
    /* a subnormal is fraction * 2^(least - 127 - mantissa), exact in f32 */
    return (float)fraction * float_of((uint32_t)(least - mantissa) << 23);
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, v = h & 0x7fff;
    if (v >= 0x7c00) return float_of(sign | 0x7f800000 | (v & 0x3ff) << 13);
    return float_of(sign | bits_of(widen(v, 10, 113)));
}

uint16_t f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return 0x7e00;
    uint32_t v = u == 0x7f800000 ? 0x7c00 : narrow(u, 10, 113);
    return (uint16_t)(sign | (v > 0x7c00 ? 0x7c00 : v));
}

float bf16_to_f32(uint16_t h) {
    return float_of((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float e4m3_to_f32(uint8_t v) {
    uint32_t sign = (uint32_t)(v & 0x80) << 24;
    if ((v & 0x7f) == 0x7f) return float_of(sign | 0x7fc00000);
    return float_of(sign | bits_of(widen(v & 0x7f, 3, 121)));
}

uint8_t f32_to_e4m3(float f) {
    uint32_t u = bits_of(f), sign = u >> 24 & 0x80;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return 0x7f;
    uint32_t v = u == 0x7f800000 ? 0x7e : narrow(u, 3, 121);
    return (uint8_t)(sign | (v > 0x7e ? 0x7e : v));
}

float e5m2_to_f32(uint8_t v) {
    return f16_to_f32((uint16_t)((uint32_t)v << 8)); /* E5M2 is the upper half of an f16 */
}

uint8_t f32_to_e5m2(float f) {
    uint32_t u = bits_of(f), sign = u >> 24 & 0x80;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return 0x7e;
    uint32_t v = u == 0x7f800000 ? 0x7b : narrow(u, 2, 113);
    return (uint8_t)(sign | (v > 0x7b ? 0x7b : v));
}

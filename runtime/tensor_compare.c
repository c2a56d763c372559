/* SPDX-License-Identifier: Apache-2.0
 *
 * How far two tensors are apart, by the one measure that Yunjin's tests and commands use. For looking at results:
 * nothing that runs a model calls it.
 */
#include <yunjin/runtime.h>

#include "runtime/base/base.h"

#include <inttypes.h>
#include <math.h>

static double element(enum yj_dtype dtype, const char *p) {
    uint64_t bits = 0;
    float f;
    double d;
    memcpy(&bits, p, yj_dtype_bytes(dtype)); /* little-endian */
    switch (dtype) {
    case YJ_F32:
        memcpy(&f, p, sizeof f);
        return f;
    case YJ_F64:
        memcpy(&d, p, sizeof d);
        return d;
    case YJ_F16:
        return f16_to_f32((uint16_t)bits);
    case YJ_BF16:
        return bf16_to_f32((uint16_t)bits);
    case YJ_E4M3:
        return e4m3_to_f32((uint8_t)bits);
    case YJ_E5M2:
        return e5m2_to_f32((uint8_t)bits);
    default:
        return 0;
    }
}

static enum yj_status check_same(const struct yj_tensor *a, const struct yj_tensor *b) {
    if (a->dtype != b->dtype) {
        return report(YJ_ERR_INPUT, "%s is compared with %s", yj_dtype_name(a->dtype), yj_dtype_name(b->dtype));
    }
    if (a->rank != b->rank) return report(YJ_ERR_INPUT, "rank %d is compared with rank %d", a->rank, b->rank);
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] == b->shape[i]) continue;
        return report(YJ_ERR_INPUT, "dimension %d: %" PRId64 " is compared with %" PRId64, i, a->shape[i], b->shape[i]);
    }
    return YJ_OK;
}

/* Two correct results of a narrow type may lie one step apart (both were rounded, from sums that differ a little), and
 * a step, 2^-10 of an f16 and 2^-7 of a bf16, is more than the measure allows. */
static double allowed(enum yj_dtype dtype) {
    switch (dtype) {
    case YJ_F16:
        return 0x1p-10;
    case YJ_BF16:
        return 0x1p-7;
    case YJ_E4M3:
        return 0x1p-3;
    case YJ_E5M2:
        return 0x1p-2;
    default:
        return 1e-4;
    }
}

enum yj_status yj_tensor_compare(const struct yj_tensor *got, const struct yj_tensor *want, double *error) {
    size_t bytes, each = yj_dtype_bytes(want->dtype);
    TRY(check_same(got, want));
    TRY(yj_tensor_bytes(want, &bytes));
    const char *a = got->data, *b = want->data;
    double worst = 0, largest = 0;
    if (dtype_kind(want->dtype) != 'f') {
        *error = bytes && memcmp(a, b, bytes) ? INFINITY : 0;
        return YJ_OK;
    }
    for (size_t i = 0; i < bytes; i += each) {
        double w = fabs(element(want->dtype, b + i));
        if (isfinite(w)) largest = fmax(largest, w);
    }
    for (size_t i = 0; i < bytes; i += each) {
        double g = element(got->dtype, a + i), w = element(want->dtype, b + i), e;
        if (g == w || (isnan(g) && isnan(w))) continue;
        if (!isfinite(g) || !isfinite(w))
            e = INFINITY;
        else
            e = fabs(g - w) / (allowed(want->dtype) * fabs(w) +
                               1e-5 * largest); /* 0 / 0 only if all are 0, and then g differs: infinite */
        worst = fmax(worst, e);
    }
    *error = worst;
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators mean on whole numbers, for tests to compare with.
 */
#ifndef TESTS_COMM_INTEGERS_H
#define TESTS_COMM_INTEGERS_H

#include <stdbool.h>
#include <stdint.h>
#include <yunjin/comm.h>

/* All integers fit in 64 bits; sums and products wrap there as in the narrower type. */
static inline uint64_t join_integer(uint64_t a, uint64_t b, uint32_t op, bool is_signed) {
    bool less = is_signed ? (int64_t)a < (int64_t)b : a < b;
    switch (op) {
    case YJ_SUM:
    case YJ_AVG:
        return a + b;
    case YJ_PROD:
        return a * b;
    case YJ_MIN:
        return less ? a : b;
    case YJ_MAX:
        return less ? b : a;
    case YJ_BAND:
        return a & b;
    case YJ_BOR:
        return a | b;
    case YJ_BXOR:
        return a ^ b;
    case YJ_LAND:
        return a && b;
    case YJ_LOR:
        return a || b;
    default:
        return !a != !b;
    }
}

#endif

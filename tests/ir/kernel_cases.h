/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of tests/ir/kernels with the dims they are tried with, and launches of them on random data: shared by the
 * tests of the interpreter and of the emitters, so that all of them run the same cases.
 */
#ifndef KERNEL_CASES_H
#define KERNEL_CASES_H

#include "ir/kernel.h"
#include <yunjin/target.h>

#include <stdio.h>
#include <stdlib.h>

struct kernel_case {
    const char *name;
    int index_dim;
    int64_t dims[4][4]; /* index_dim: i64 inputs are below this dim; -1: none */
};

static const struct kernel_case kernel_cases[] = {
    {"gemm_f32", -1, {{64, 64, 64}, {1, 1, 1}, {7, 5, 17}, {13, 0, 31}}},
    {"gemm_bf16", -1, {{32, 24, 48}, {1, 1, 1}, {5, 7, 17}, {6, 3, 33}}},
    {"gemm_int8", -1, {{32, 16, 48}, {1, 1, 1}, {5, 7, 17}, {6, 3, 33}}},
    {"gemm_lanes", -1, {{32, 48, 16}, {1, 1, 1}, {17, 5, 18}, {31, 33, 15}}},
    {"npu_matmul", -1, {{64, 64, 64}, {1, 1, 1}, {17, 5, 18}, {31, 33, 15}}},
    {"softmax", -1, {{5, 100}, {1, 1}, {3, 32}, {2, 1000}}},
    {"softmax_tiled", -1, {{5, 100}, {1, 1}, {3, 32}, {2, 1000}}},
    {"rms_norm", -1, {{5, 100}, {1, 1}, {3, 64}, {2, 1000}}},
    {"depthwise", -1, {{2, 5, 6, 16}, {1, 1, 1, 1}, {1, 2, 3, 9}, {1, 7, 1, 8}}},
    {"gather", 1, {{10, 7, 5}, {1, 1, 1}, {3, 100, 33}, {4, 2, 64}}},
    {"math", -1, {{1000}, {1}, {8}, {77}}},
    {"math_f64", -1, {{1000}, {1}, {8}, {77}}},
};

struct launch {
    struct kernel *k;
    int64_t scalar[8], tiles;
    void *buffer[16], *scratch;
    int64_t n[16];
    struct yj_fault fault;
};

static inline uint64_t case_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static bool case_bind(void *user, dim symbol, int64_t *value) {
    const struct launch *l = user;
    for (int i = 0; i < l->k->n_dims; i++) {
        if (l->k->dim_args[i] != symbol) continue;
        *value = l->scalar[i];
        return true;
    }
    return false;
}

static inline int64_t case_number(struct launch *l, dim d) {
    int64_t value = 0;
    if (dim_eval(d, case_bind, l, &value) == YJ_OK) return value;
    fprintf(stderr, "%s\n", yj_error_text());
    abort();
}

/* Mostly numbers around 1, some of any size; the special ones come first. */
static inline float case_float(int64_t i, uint64_t r) {
    static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1,
                                       0x807fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x42b17218,
                                       0xc2cff1b5, 0x3f000000, 0x4b000001, 0x40490fdb};
    uint32_t bits = (uint32_t)r;
    float f = (float)((double)bits / 4294967296.0 * 4 - 2);
    if (i >= 0 && (size_t)i < COUNT(special))
        bits = special[(size_t)i];
    else if (i < 0 || r >> 60)
        return f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline void case_fill(struct launch *l, const struct buffer *b, int64_t below, bool wild, uint64_t *random) {
    size_t each = yj_dtype_bytes(b->dtype);
    for (int64_t i = 0; i < l->n[b->index]; i++) {
        uint64_t r = case_random(random), bits = r;
        float f = case_float(wild ? i : -1, r);
        uint32_t word;
        memcpy(&word, &f, sizeof word);
        if (dtype_kind(b->dtype) == 'f') bits = scalar_cast(b->dtype, YJ_F32, word);
        if (b->dtype == YJ_F64 && wild && i >= 32) bits = i % 4 ? bits ^ r >> 36 : r; /* all digits; any size */
        if (b->dtype == YJ_I64)
            bits = below > 0 ? r % (uint64_t)below : r;
        else if (b->dtype == YJ_BOOL)
            bits = r & 1;
        memcpy((char *)l->buffer[b->index] + (size_t)i * each, &bits, each);
    }
}

/* Inputs get random data, outputs a pattern; 64 bytes behind every buffer hold the pattern too. */
static inline void launch_open(struct launch *l, const struct kernel_case *c, struct kernel *k, int which,
                               uint64_t seed) {
    *l = (struct launch){.k = k};
    memcpy(l->scalar, c->dims[which], sizeof c->dims[which]);
    int64_t scratch = case_number(l, kernel_scratch_bytes(k));
    l->tiles = case_number(l, kernel_tile_count(k));
    l->scratch = aligned_alloc(64, (size_t)scratch + 64);
    for (const struct buffer *b = k->args; b; b = b->next) {
        int64_t n = 1;
        for (int i = 0; i < b->rank; i++)
            n *= case_number(l, b->shape[i]);
        size_t bytes = (((size_t)n * yj_dtype_bytes(b->dtype) + 63) & ~(size_t)63) + 64;
        l->n[b->index] = n;
        l->buffer[b->index] = aligned_alloc(64, bytes);
        memset(l->buffer[b->index], 0xA5, bytes);
        if (b->role != ROLE_OUT)
            case_fill(l, b, c->index_dim >= 0 ? l->scalar[c->index_dim] : 0, strncmp(c->name, "math", 4) == 0, &seed);
    }
}

static inline void launch_close(struct launch *l) {
    for (int i = 0; i < l->k->n_args; i++)
        free(l->buffer[i]);
    free(l->scratch);
}

static inline bool case_is_nan(enum yj_dtype dtype, uint64_t bits) {
    uint64_t args[2] = {bits, bits};
    return dtype_kind(dtype) == 'f' && scalar_eval(SCALAR_ne, dtype, args);
}

/* The first argument and element in which two launches differ (a NaN equals a NaN); false if they are the same. */
static inline bool launch_differs(const struct launch *a, const struct launch *b, char *where, size_t room) {
    for (const struct buffer *p = a->k->args; p; p = p->next) {
        size_t each = yj_dtype_bytes(p->dtype), bytes = (size_t)a->n[p->index] * each;
        const char *x = a->buffer[p->index], *y = b->buffer[p->index];
        for (size_t i = 0; i < bytes + 64; i += i < bytes ? each : 1) {
            uint64_t u = 0, v = 0;
            memcpy(&u, x + i, i < bytes ? each : 1);
            memcpy(&v, y + i, i < bytes ? each : 1);
            if (u == v || (i < bytes && case_is_nan(p->dtype, u) && case_is_nan(p->dtype, v))) continue;
            snprintf(where, room, "%s[%zu]: %llx and %llx", p->name, i / each, (unsigned long long)u,
                     (unsigned long long)v);
            return true;
        }
    }
    return false;
}

__attribute__((noinline, unused)) static char *case_text(const char *name) {
    char path[600], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/tests/ir/kernels/%s.k", SOURCE_DIR, name);
    if (file_read(path, &text, &bytes) == YJ_OK) return text;
    fprintf(stderr, "%s\n", yj_error_text());
    abort();
}

#endif

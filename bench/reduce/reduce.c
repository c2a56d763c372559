/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast reductions are: GB/s (bytes read and written) of every table that this processor can run and of a loop over
 * scalars, by element type and operator, beside the machine's own copy past the cache. The tables take turns, so that
 * what else the machine does meets all of them; printed is the best of the rounds, and the median ratio of the first
 * table to the plain C one for this processor.
 * bench-reduce [BYTES [SOURCES [DESTINATIONS]]]: of one buffer; from 256 KiB on the destination is written past
 * the cache, as all_reduce does with a receive buffer that it does not read again.
 */
#include "comm/reduce.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_TABLES = 6, ROUNDS = 15, MOST_BUFFERS = 16, STREAM_FROM = 256 << 10 };

struct run {
    size_t bytes;
    int nsrc, ndst;
    char *src[MOST_BUFFERS], *dst[MOST_BUFFERS];
    enum yj_dtype dtype;
    uint32_t op;
    int calls;
};

/* One element at a time, by way of double or 64-bit integers: what a program without vectors does. */
static float widen(enum yj_dtype t, const char *at, size_t i) {
    uint16_t h;
    if (t == YJ_E4M3) return e4m3_to_f32((uint8_t)at[i]);
    if (t == YJ_E5M2) return e5m2_to_f32((uint8_t)at[i]);
    memcpy(&h, at + 2 * i, 2);
    return t == YJ_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

static void narrow(enum yj_dtype t, float f, char *at, size_t i) {
    uint16_t h = t == YJ_F16 ? f32_to_f16(f) : f32_to_bf16(f);
    if (t == YJ_E4M3 || t == YJ_E5M2)
        at[i] = (char)(t == YJ_E4M3 ? f32_to_e4m3(f) : f32_to_e5m2(f));
    else
        memcpy(at + 2 * i, &h, 2);
}

#define SCALAR_LOOP(T)                                                                                                 \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        T v = ((T *)r->src[0])[i];                                                                                     \
        for (int s = 1; s < r->nsrc; s++) {                                                                            \
            T x = ((T *)r->src[s])[i];                                                                                 \
            v = sum ? (T)(v + x) : x > v ? x : v;                                                                      \
        }                                                                                                              \
        for (int d = 0; d < r->ndst; d++)                                                                              \
            ((T *)r->dst[d])[i] = v;                                                                                   \
        __asm__ volatile("" ::: "memory");                                                                             \
    }                                                                                                                  \
    return

static void scalar(const struct run *r) {
    size_t n = r->bytes / yj_dtype_bytes(r->dtype);
    bool sum = r->op == YJ_SUM;
    switch (r->dtype) {
    case YJ_F32:
        SCALAR_LOOP(float);
    case YJ_F64:
        SCALAR_LOOP(double);
    case YJ_I8:
        SCALAR_LOOP(int8_t);
    case YJ_I16:
        SCALAR_LOOP(int16_t);
    case YJ_I32:
        SCALAR_LOOP(int32_t);
    case YJ_I64:
        SCALAR_LOOP(int64_t);
    case YJ_U8:
        SCALAR_LOOP(uint8_t);
    case YJ_U16:
        SCALAR_LOOP(uint16_t);
    case YJ_U32:
        SCALAR_LOOP(uint32_t);
    case YJ_U64:
        SCALAR_LOOP(uint64_t);
    default:
        break;
    }
    for (size_t i = 0; i < n; i++) {
        float v = widen(r->dtype, r->src[0], i);
        for (int s = 1; s < r->nsrc; s++) {
            float x = widen(r->dtype, r->src[s], i);
            v = sum ? v + x : x > v ? x : v;
        }
        for (int d = 0; d < r->ndst; d++)
            narrow(r->dtype, v, r->dst[d], i);
    }
}

static double once(const struct run *r, const struct reduce_table *table) {
    double start = time_now();
    for (int i = 0; i < r->calls; i++) {
        if (table)
            move_join(r->bytes >= STREAM_FROM, table->join[r->dtype][r->op], yj_dtype_bytes(r->dtype), r->ndst,
                      (void *const *)r->dst, r->nsrc, (const void *const *)r->src, r->bytes);
        else
            scalar(r);
    }
    move_fence();
    return (time_now() - start) / r->calls;
}

static double copy(struct run *r) {
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double start = time_now();
        for (int k = 0; k < r->calls; k++)
            move_copy(r->bytes >= STREAM_FROM, 1, (void *const *)r->dst, r->src[0], r->bytes);
        move_fence();
        double took = (time_now() - start) / r->calls;
        if (took < best) best = took;
    }
    return 2e-9 * (double)r->bytes / best;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(struct run *r, int n, const struct reduce_table *const *table, int rival) {
    double best[MOST_TABLES + 1], ratio[ROUNDS], took[MOST_TABLES + 1];
    double moved = 1e-9 * (double)r->bytes * (r->nsrc + r->ndst);
    for (int k = 0; k <= n; k++)
        best[k] = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k <= n; k++) { /* number N: the scalar loop, not in every round: it is slow */
            if (k == n && i % 5) continue;
            took[k] = once(r, k < n ? table[k] : NULL);
            if (took[k] < best[k]) best[k] = took[k];
        }
        ratio[i] = took[rival] / took[0];
    }
    qsort(ratio, ROUNDS, sizeof *ratio, by_value);
    printf("%-5s %-4s", yj_dtype_name(r->dtype), r->op == YJ_SUM ? "sum" : r->op == YJ_MAX ? "max" : "op");
    for (int k = 0; k <= n; k++)
        printf(" %16.2f", moved / best[k]);
    printf(" %8.2f\n", ratio[ROUNDS / 2]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct run r = {.bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 16384, .nsrc = 2, .ndst = 1};
    const struct reduce_table *table[MOST_TABLES];
    int n = 0, rival = 0;
    if (argc > 2) r.nsrc = atoi(argv[2]);
    if (argc > 3) r.ndst = atoi(argv[3]);
    r.bytes &= ~(size_t)7;
    if (!r.bytes || r.nsrc < 2 || r.nsrc > MOST_BUFFERS || r.ndst < 1 || r.ndst > MOST_BUFFERS) {
        fprintf(stderr, "bench-reduce [BYTES [SOURCES 2..16 [DESTINATIONS 1..16]]]\n");
        return 2;
    }
    for (int i = 0; i < r.nsrc + r.ndst; i++) {
        char *at = aligned_alloc(4096, (r.bytes + 4095) & ~(size_t)4095);
        if (!at) return 3;
        memset(at, 0x11 * (i % 3 + 1), r.bytes);
        if (i < r.nsrc)
            r.src[i] = at;
        else
            r.dst[i - r.nsrc] = at;
    }
    for (; n < MOST_TABLES && (table[n] = reduce_table_number(n)); n++)
        if (!rival && table[n]->name[0] == 'c') rival = n;
    r.calls = (int)(((size_t)4 << 20) / r.bytes / (size_t)(r.nsrc - 1)) + 1;
    printf("# %zu bytes, %d sources, %d destinations; copy%s %.2f GB/s; last column: %s over %s\n", r.bytes, r.nsrc,
           r.ndst, r.bytes >= STREAM_FROM ? " past the cache" : "", copy(&r), table[0]->name, table[rival]->name);
    printf("%-5s %-4s", "type", "op");
    for (int k = 0; k < n; k++)
        printf(" %16s", table[k]->name);
    printf(" %16s %8s\n", "scalar", "ratio");
    for (int t = YJ_F32; t < YJ_BOOL; t++)
        for (r.op = YJ_SUM; r.op <= YJ_MAX; r.op += YJ_MAX - YJ_SUM) {
            r.dtype = (enum yj_dtype)t;
            measure(&r, n, table, rival);
        }
    return 0;
}

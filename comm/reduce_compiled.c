/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of compiled reduction kernels. The one idea: sources are wherever they are, but a kernel's arguments are few,
 * so many sources are one array that begins at the first of them, and a list of where each begins in it.
 */
#include "comm/reduce_compiled.h"

enum { MOST = 64, CHUNK = 4096 };

/* Kernels of kernel ABI 1 with one tile, no scratch and no checks. */
static void launch(yj_kernel_fn *kernel, const void *const *buffer, const int64_t *scalar) {
    struct yj_fault fault = {0, 0, 0};
    kernel((void *const *)buffer, scalar, 0, 1, NULL, &fault);
}

static void run_many(const struct reduce_kernels *k, void *dst, int nsrc, const void *const *src, size_t first,
                     size_t count) {
    int64_t at[MOST], last = 0;
    for (int i = 0; i < nsrc; i++) {
        at[i] = ((intptr_t)src[i] - (intptr_t)src[0]) / (intptr_t)k->bytes + (int64_t)first;
        if (at[i] > last) last = at[i];
    }
    const void *buffer[] = {at, src[0], (char *)dst + first * k->bytes};
    int64_t scalar[] = {nsrc, (int64_t)count, last + (int64_t)count};
    launch(k->many, buffer, scalar);
}

/* All sources lie at elements of one array? Buffers of odd addresses do not. */
static bool is_array(const struct reduce_kernels *k, int nsrc, const void *const *src) {
    uintptr_t bits = 0;
    for (int i = 1; i < nsrc; i++)
        bits |= (uintptr_t)src[i] - (uintptr_t)src[0];
    return nsrc <= MOST && (bits & (k->bytes - 1)) == 0;
}

void reduce_run(const struct reduce_kernels *k, int ndst, void *const *dst, int nsrc, const void *const *src,
                size_t count) {
    if (nsrc == 2 && ndst <= 2) {
        const void *buffer[] = {src[0], src[1], dst[0], dst[ndst - 1]};
        int64_t n = (int64_t)count;
        launch(ndst == 1 ? k->two_one : k->two_two, buffer, &n);
        return;
    }
    if (nsrc < 2 || !is_array(k, nsrc, src)) {
        reduce_table_plain()->join[k->type][k->op](ndst, dst, nsrc, src, count);
        return;
    }
    size_t step = ndst > 1 ? CHUNK / k->bytes : count; /* the other destinations take it from the cache */
    for (size_t first = 0; first < count; first += step) {
        size_t n = count - first < step ? count - first : step;
        run_many(k, dst[0], nsrc, src, first, n);
        for (int i = 1; i < ndst; i++)
            memcpy((char *)dst[i] + first * k->bytes, (char *)dst[0] + first * k->bytes, n * k->bytes);
    }
}

void reduce_run_scale(yj_kernel_fn *kernel, void *dst, size_t count, int ranks) {
    const void *buffer[] = {dst};
    int64_t scalar[] = {(int64_t)count, ranks};
    launch(kernel, buffer, scalar);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Host tensors of the interpreter: row-major, in malloc'ed memory. What cannot fit this machine is refused before it is
 * asked for, because an overcommitting system would grant it and kill the process later.
 */
#include "ir/graph_eval.h"
#include <stdlib.h>
#include <unistd.h>

static size_t physical_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)1 << 32;
}

enum yj_status tensor_new(enum yj_dtype dtype, int rank, const int64_t *shape, struct tensor *t) {
    size_t bytes = yj_dtype_bytes(dtype);
    if (!bytes || rank < 0 || rank > GRAPH_MAX_RANK)
        return report(YJ_ERR_INPUT, "a tensor of rank %d and type %d", rank, (int)dtype);
    bool empty = false, huge = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) return report(YJ_ERR_INPUT, "axis %d of a tensor is %lld long", i, (long long)shape[i]);
        if (shape[i] == 0)
            empty = true;
        else
            huge = huge || __builtin_mul_overflow(bytes, (size_t)shape[i], &bytes);
    }
    if (empty) bytes = 0, huge = false;
    if (huge || bytes > physical_bytes() / 2)
        return report(YJ_ERR_MEMORY, "a tensor of %s%zu bytes does not fit this machine", huge ? "more than " : "",
                      huge ? SIZE_MAX : bytes);
    struct tensor made = {.dtype = dtype, .rank = rank, .bytes = calloc(1, bytes ? bytes : 1), .n_bytes = bytes};
    if (!made.bytes) return report(YJ_ERR_MEMORY, "no memory for a tensor of %zu bytes", bytes);
    for (int i = 0; i < rank; i++)
        made.shape[i] = shape[i];
    *t = made;
    return YJ_OK;
}

void tensor_free(struct tensor *t) {
    free(t->bytes);
    *t = (struct tensor){0};
}

int64_t tensor_elements(const struct tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

void tensor_strides(const struct tensor *t, int64_t *strides) {
    int64_t n = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        strides[i] = n;
        n *= t->shape[i];
    }
}

bool index_next(int rank, const int64_t *shape, int64_t *index) {
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < shape[i]) return true;
        index[i] = 0;
    }
    return false;
}

enum yj_status eval_offsets(int rank, const int64_t *shape, const int64_t *strides, int64_t **offsets, int64_t *n) {
    int64_t count = 1, index[GRAPH_MAX_RANK * 2] = {0};
    for (int i = 0; i < rank; i++)
        count *= shape[i];
    int64_t *list = malloc((size_t)(count > 0 ? count : 1) * sizeof *list);
    if (!list) return report(YJ_ERR_MEMORY, "no memory for %lld offsets", (long long)count);
    for (int64_t k = 0; k < count; k++) {
        int64_t at = 0;
        for (int i = 0; i < rank; i++)
            at += index[i] * strides[i];
        list[k] = at;
        index_next(rank, shape, index);
    }
    *offsets = list;
    *n = count;
    return YJ_OK;
}

void eval_copy_box(const struct tensor *from, int64_t offset, const int64_t *strides, struct tensor *out) {
    size_t each = yj_dtype_bytes(from->dtype);
    int64_t n = tensor_elements(out), index[GRAPH_MAX_RANK] = {0};
    if (n == 0) return;
    int inner = out->rank - 1;
    int64_t row = inner >= 0 ? out->shape[inner] : 1, step = inner >= 0 ? strides[inner] : 0;
    char *to = out->bytes;
    do {
        int64_t at = offset;
        for (int i = 0; i < inner; i++)
            at += index[i] * strides[i];
        const char *p = (const char *)from->bytes + at * (int64_t)each;
        if (step == 1)
            memcpy(to, p, (size_t)row * each);
        else if (each == 4)
            for (int64_t k = 0; k < row; k++)
                memcpy(to + k * 4, p + k * step * 4, 4);
        else
            for (int64_t k = 0; k < row; k++)
                memcpy(to + k * (int64_t)each, p + k * step * (int64_t)each, each);
        to += row * (int64_t)each;
    } while (index_next(inner > 0 ? inner : 0, out->shape, index));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: what indexes, reduces and orders. Orders of floating-point sums are those of ops.def: they are part
 * of an op's meaning.
 */
#include "ir/graph_eval.h"
#include <math.h>
#include <stdlib.h>

static enum scalar_op kind_of(const struct run *r, const char *attr) {
    enum scalar_op op = SCALAR_add;
    scalar_find(op_text(r->op, attr), &op);
    return op;
}

uint64_t eval_neutral(enum scalar_op op, enum yj_dtype dtype) {
    char kind = dtype_kind(dtype);
    int bits = (int)yj_dtype_bytes(dtype) * 8;
    uint64_t ones = kind == 'b' ? 1 : UINT64_MAX >> (64 - bits), top = UINT64_C(1) << (bits - 1);
    switch (op) {
    case SCALAR_mul:
        return kind != 'f' ? 1 : dtype == YJ_F64 ? f64_bits(1) : f32_bits(1);
    case SCALAR_min:
        if (kind == 'f') return dtype == YJ_F64 ? f64_bits(INFINITY) : f32_bits(INFINITY);
        return kind == 'i' ? top - 1 : ones;
    case SCALAR_max:
        if (kind == 'f') return dtype == YJ_F64 ? f64_bits(-INFINITY) : f32_bits(-INFINITY);
        return kind == 'i' ? (uint64_t)((int64_t)(top << (64 - bits)) >> (64 - bits)) : 0;
    case SCALAR_and:
        return ones;
    default:
        return 0;
    }
}

static uint64_t join(enum scalar_op op, enum yj_dtype wide, uint64_t a, uint64_t b) {
    if (op == SCALAR_add && wide == YJ_F32) return f32_bits(bits_f32(a) + bits_f32(b));
    return eval_scalar(op, wide, (uint64_t[]){a, b});
}

/* --- indices --- */

static enum yj_status index_of(const struct run *r, const struct tensor *t, int64_t at, int64_t size, int64_t *index) {
    *index = (int64_t)element_load(t->bytes, t->dtype, at);
    if (*index >= 0 && *index < size) return YJ_OK;
    return eval_bad(r, "index %lld is not in 0..%lld", (long long)*index, (long long)size - 1);
}

enum yj_status eval_op_gather(struct run *r) {
    const struct tensor *x = r->in[0], *indices = r->in[1];
    int axis = (int)op_int(r->op, "axis", 0);
    int64_t outer = 1, inner = 1, n = tensor_elements(indices), size = x->shape[axis];
    for (int i = 0; i < axis; i++)
        outer *= x->shape[i];
    for (int i = axis + 1; i < x->rank; i++)
        inner *= x->shape[i];
    size_t row = (size_t)inner * yj_dtype_bytes(x->dtype);
    for (int64_t k = 0; k < n; k++) {
        int64_t index;
        TRY(index_of(r, indices, k, size, &index));
        for (int64_t o = 0; row && o < outer; o++)
            memcpy((char *)r->out[0]->bytes + (size_t)(o * n + k) * row,
                   (const char *)x->bytes + (size_t)(o * size + index) * row, row);
    }
    return YJ_OK;
}

/* Where index vector K of INDICES (DEPTH long) points in X after BATCH axes, in elements. */
static enum yj_status index_vector(const struct run *r, int64_t k, int depth, int batch, int64_t *at) {
    const struct tensor *x = r->in[0], *indices = r->in[1];
    int64_t strides[GRAPH_MAX_RANK], index;
    tensor_strides(x, strides);
    *at = 0;
    for (int i = 0; i < depth; i++) {
        TRY(index_of(r, indices, k * depth + i, x->shape[batch + i], &index));
        *at += index * strides[batch + i];
    }
    return YJ_OK;
}

enum yj_status eval_op_gather_nd(struct run *r) {
    const struct tensor *x = r->in[0], *indices = r->in[1];
    int batch = (int)op_int(r->op, "batch", 0), depth = (int)indices->shape[indices->rank - 1];
    int64_t inner = 1, per_batch = 1, whole = 1, vectors = 1;
    for (int i = batch + depth; i < x->rank; i++)
        inner *= x->shape[i];
    for (int i = batch; i < x->rank; i++)
        whole *= x->shape[i];
    for (int i = 0; i < indices->rank - 1; i++)
        vectors *= indices->shape[i];
    for (int i = batch; i < indices->rank - 1; i++)
        per_batch *= indices->shape[i];
    for (int i = 0; i < batch; i++)
        if (x->shape[i] != indices->shape[i]) return eval_bad(r, "batch axis %d differs", i);
    size_t row = (size_t)inner * yj_dtype_bytes(x->dtype);
    for (int64_t k = 0; row && k < vectors; k++) {
        int64_t at;
        TRY(index_vector(r, k, depth, batch, &at));
        at += k / per_batch * whole;
        memcpy((char *)r->out[0]->bytes + (size_t)k * row,
               (const char *)x->bytes + (size_t)at * yj_dtype_bytes(x->dtype), row);
    }
    return YJ_OK;
}

enum yj_status eval_op_scatter(struct run *r) {
    const struct tensor *x = r->in[0], *indices = r->in[1], *updates = r->in[2];
    const char *combine = op_text(r->op, "combine");
    bool none = strcmp(combine, "none") == 0;
    enum scalar_op op = none ? SCALAR_add : kind_of(r, "combine");
    int depth = (int)indices->shape[indices->rank - 1];
    int64_t inner = 1, vectors = 1;
    for (int i = depth; i < x->rank; i++)
        inner *= x->shape[i];
    for (int i = 0; i < indices->rank - 1; i++)
        vectors *= indices->shape[i];
    if (tensor_elements(updates) != vectors * inner) return eval_bad(r, "the updates do not fit the indices");
    if (x->n_bytes) memcpy(r->out[0]->bytes, x->bytes, x->n_bytes);
    for (int64_t k = 0; inner && k < vectors; k++) {
        int64_t at;
        TRY(index_vector(r, k, depth, 0, &at));
        for (int64_t i = 0; i < inner; i++) {
            uint64_t v = element_load(updates->bytes, x->dtype, k * inner + i);
            if (!none) v = join(op, dtype_wide(x->dtype), element_load(r->out[0]->bytes, x->dtype, at + i), v);
            element_store(r->out[0]->bytes, x->dtype, at + i, v);
        }
    }
    return YJ_OK;
}

/* --- reductions --- */

/* The operand as two boxes: what stays and what is reduced. */
struct boxes {
    int64_t *outer, *inner, n_outer, n_inner;
};

static void boxes_free(struct boxes *b) {
    free(b->outer);
    free(b->inner);
}

static enum yj_status boxes_make(const struct tensor *x, unsigned reduced, struct boxes *b) {
    int64_t strides[GRAPH_MAX_RANK], shape[2][GRAPH_MAX_RANK], step[2][GRAPH_MAX_RANK];
    int rank[2] = {0, 0};
    tensor_strides(x, strides);
    for (int i = 0; i < x->rank; i++) {
        int side = reduced >> i & 1;
        shape[side][rank[side]] = x->shape[i];
        step[side][rank[side]++] = strides[i];
    }
    *b = (struct boxes){0};
    TRY(eval_offsets(rank[0], shape[0], step[0], &b->outer, &b->n_outer));
    enum yj_status status = eval_offsets(rank[1], shape[1], step[1], &b->inner, &b->n_inner);
    if (status != YJ_OK) boxes_free(b);
    return status;
}

#define LANES 32
static uint64_t reduce_row(const struct tensor *x, int64_t at, const struct boxes *b, enum scalar_op op, int lanes) {
    enum yj_dtype wide = dtype_wide(x->dtype);
    uint64_t part[LANES], start = eval_neutral(op, wide);
    for (int i = 0; i < lanes; i++)
        part[i] = start;
    for (int64_t k = 0; k < b->n_inner; k++)
        part[k % lanes] = join(op, wide, part[k % lanes], element_load(x->bytes, x->dtype, at + b->inner[k]));
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            part[i] = join(op, wide, part[i], part[i + half]);
    return part[0];
}

enum yj_status eval_op_reduce(struct run *r) {
    const struct tensor *x = r->in[0];
    int n;
    const int64_t *axes = op_ints(r->op, "axes", &n);
    enum scalar_op op = kind_of(r, "kind");
    struct boxes b;
    unsigned reduced = 0;
    bool last = true; /* the reduced axes are the last ones */
    for (int i = 0; i < n; i++) {
        reduced |= 1u << axes[i];
        last = last && axes[i] == x->rank - n + i;
    }
    TRY(boxes_make(x, reduced, &b));
    for (int64_t i = 0; i < b.n_outer; i++)
        element_store(r->out[0]->bytes, x->dtype, i, reduce_row(x, b.outer[i], &b, op, last ? LANES : 1));
    boxes_free(&b);
    return YJ_OK;
}

enum yj_status eval_op_reduce_window(struct run *r) {
    const struct tensor *x = r->in[0];
    struct tensor *out = r->out[0];
    int n;
    const int64_t *window = op_ints(r->op, "window", &n), *stride = op_ints(r->op, "strides", &n);
    const int64_t *dilation = op_ints(r->op, "dilation", &n);
    int64_t low[GRAPH_MAX_RANK], strides[GRAPH_MAX_RANK], o[GRAPH_MAX_RANK] = {0}, k = 0;
    enum scalar_op op = kind_of(r, "kind");
    enum yj_dtype wide = dtype_wide(x->dtype);
    TRY(eval_dims(r, "low", low));
    tensor_strides(x, strides);
    if (tensor_elements(out) == 0) return YJ_OK;
    do {
        int64_t w[GRAPH_MAX_RANK] = {0};
        uint64_t sum = eval_neutral(op, wide);
        do {
            int64_t at = 0;
            bool inside = true;
            for (int i = 0; i < n && inside; i++) {
                int64_t p = o[i] * stride[i] + w[i] * dilation[i] - low[i];
                inside = p >= 0 && p < x->shape[i];
                at += p * strides[i];
            }
            if (inside) sum = join(op, wide, sum, element_load(x->bytes, x->dtype, at));
        } while (index_next(n, window, w));
        element_store(out->bytes, x->dtype, k++, sum);
    } while (index_next(n, out->shape, o));
    return YJ_OK;
}

enum yj_status eval_op_cumulative(struct run *r) {
    const struct tensor *x = r->in[0];
    int axis = (int)op_int(r->op, "axis", 0);
    bool exclusive = op_int(r->op, "exclusive", 0), reverse = op_int(r->op, "reverse", 0);
    enum scalar_op op = kind_of(r, "kind");
    enum yj_dtype wide = dtype_wide(x->dtype);
    struct boxes b;
    TRY(boxes_make(x, 1u << axis, &b));
    for (int64_t i = 0; i < b.n_outer; i++) {
        uint64_t sum = eval_neutral(op, wide);
        for (int64_t k = 0; k < b.n_inner; k++) {
            int64_t at = b.outer[i] + b.inner[reverse ? b.n_inner - 1 - k : k];
            if (exclusive) element_store(r->out[0]->bytes, x->dtype, at, sum);
            sum = join(op, wide, sum, element_load(x->bytes, x->dtype, at));
            if (!exclusive) element_store(r->out[0]->bytes, x->dtype, at, sum);
        }
    }
    boxes_free(&b);
    return YJ_OK;
}

/* --- orders --- */

/* An order on wide bits: -1, 0, 1; -0 equals +0, NaN is above all and equals NaN. */
static int compare(enum yj_dtype wide, uint64_t a, uint64_t b) {
    switch (dtype_kind(wide)) {
    case 'f': {
        double x = wide == YJ_F64 ? bits_f64(a) : bits_f32(a), y = wide == YJ_F64 ? bits_f64(b) : bits_f32(b);
        if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
        return (x > y) - (x < y);
    }
    case 'i':
        return ((int64_t)a > (int64_t)b) - ((int64_t)a < (int64_t)b);
    default:
        return (a > b) - (a < b);
    }
}

static bool is_nan(enum yj_dtype wide, uint64_t a) {
    return dtype_kind(wide) == 'f' && (wide == YJ_F64 ? isnan(bits_f64(a)) : isnan(bits_f32(a)));
}

enum yj_status eval_op_arg_reduce(struct run *r) {
    const struct tensor *x = r->in[0];
    int axis = (int)op_int(r->op, "axis", 0);
    bool last = op_int(r->op, "last", 0), max = strcmp(op_text(r->op, "kind"), "max") == 0;
    enum yj_dtype wide = dtype_wide(x->dtype);
    struct boxes b;
    TRY(boxes_make(x, 1u << axis, &b));
    if (b.n_inner == 0 && b.n_outer > 0) {
        boxes_free(&b);
        return eval_bad(r, "axis %d is empty", axis);
    }
    for (int64_t i = 0; i < b.n_outer; i++) {
        int64_t best = 0;
        uint64_t top = element_load(x->bytes, x->dtype, b.outer[i] + b.inner[0]);
        for (int64_t k = 1; k < b.n_inner && !is_nan(wide, top); k++) {
            uint64_t v = element_load(x->bytes, x->dtype, b.outer[i] + b.inner[k]);
            int c = is_nan(wide, v) ? 1 : max ? compare(wide, v, top) : compare(wide, top, v);
            if (c > 0 || (c == 0 && last)) best = k, top = v;
        }
        element_store(r->out[0]->bytes, YJ_I64, i, (uint64_t)best);
    }
    boxes_free(&b);
    return YJ_OK;
}

struct item {
    uint64_t value;
    int64_t index;
};

/* Stable merge sort of ITEMS, with ROOM as large. */
static void merge_sort(struct item *items, struct item *room, int64_t n, enum yj_dtype wide, int sign) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t at = 0; at < n; at += 2 * width) {
            int64_t i = at, mid = min64(at + width, n), j = mid, end = min64(at + 2 * width, n), k = at;
            while (i < mid || j < end) {
                bool left = j >= end || (i < mid && sign * compare(wide, items[i].value, items[j].value) <= 0);
                room[k++] = left ? items[i++] : items[j++];
            }
        }
        memcpy(items, room, (size_t)n * sizeof *items);
    }
}

enum yj_status eval_op_sort(struct run *r) {
    const struct tensor *x = r->in[0];
    int axis = (int)op_int(r->op, "axis", 0), sign = op_int(r->op, "descending", 0) ? -1 : 1;
    enum yj_dtype wide = dtype_wide(x->dtype);
    struct boxes b;
    TRY(boxes_make(x, 1u << axis, &b));
    struct item *items = malloc((size_t)(2 * b.n_inner + 1) * sizeof *items);
    for (int64_t i = 0; items && i < b.n_outer; i++) {
        for (int64_t k = 0; k < b.n_inner; k++)
            items[k] = (struct item){element_load(x->bytes, x->dtype, b.outer[i] + b.inner[k]), k};
        merge_sort(items, items + b.n_inner, b.n_inner, wide, sign);
        for (int64_t k = 0; k < b.n_inner; k++) {
            element_store(r->out[0]->bytes, x->dtype, b.outer[i] + b.inner[k], items[k].value);
            element_store(r->out[1]->bytes, YJ_I64, b.outer[i] + b.inner[k], (uint64_t)items[k].index);
        }
    }
    bool failed = !items;
    free(items);
    boxes_free(&b);
    return failed ? report(YJ_ERR_MEMORY, "no memory to sort") : YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: elementwise ops, data and views. A view is one copy of a box of its operand, given by an offset and
 * strides; transcendentals are libm's in double, rounded once to the type.
 */
#include "ir/graph_eval.h"
#include <math.h>

/* --- scalars --- */

bool eval_is_math(enum scalar_op op) {
    return strchr(scalar_info[op].types, 'm') != NULL;
}

static double math(enum scalar_op op, double a, double b) {
    switch (op) {
    case SCALAR_exp:
        return exp(a);
    case SCALAR_log:
        return log(a);
    case SCALAR_tanh:
        return tanh(a);
    case SCALAR_erf:
        return erf(a);
    case SCALAR_sin:
        return sin(a);
    case SCALAR_cos:
        return cos(a);
    case SCALAR_sigmoid:
        return 1 / (1 + exp(-a));
    case SCALAR_pow:
        return pow(a, b);
    default:
        return NAN;
    }
}

uint64_t eval_scalar(enum scalar_op op, enum yj_dtype dtype, const uint64_t *args) {
    if (!eval_is_math(op)) return scalar_eval(op, dtype, args);
    bool two = scalar_info[op].arity == 2;
    if (dtype == YJ_F64) return f64_bits(math(op, bits_f64(args[0]), two ? bits_f64(args[1]) : 0));
    return f32_bits((float)math(op, bits_f32(args[0]), two ? bits_f32(args[1]) : 0));
}

/* f32 arithmetic without the detour over bits; false: not one of these. */
static bool quick_f32(enum scalar_op op, int64_t n, const float *a, const float *b, float *out) {
    switch (op) {
    case SCALAR_add:
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] + b[i];
        return true;
    case SCALAR_sub:
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] - b[i];
        return true;
    case SCALAR_mul:
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] * b[i];
        return true;
    case SCALAR_div:
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] / b[i];
        return true;
    default:
        return false;
    }
}

static bool same_shape(const struct tensor *a, const struct tensor *b) {
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return a->rank == b->rank;
}

eval_fn eval_op_elementwise;
enum yj_status eval_op_elementwise(struct run *r) {
    enum scalar_op op = (enum scalar_op)r->op->kind;
    int n_in = r->op->n_in;
    struct tensor *out = r->out[0];
    for (int i = 0; i < n_in; i++)
        if (!same_shape(r->in[i], out)) return eval_bad(r, "operand %d has another shape at run time", i);
    int64_t n = tensor_elements(out);
    enum yj_dtype operand = r->in[n_in - 1]->dtype;
    if (operand == YJ_F32 && n_in == 2 && quick_f32(op, n, r->in[0]->bytes, r->in[1]->bytes, out->bytes)) return YJ_OK;
    for (int64_t i = 0; i < n; i++) {
        uint64_t args[3];
        for (int k = 0; k < n_in; k++)
            args[k] = element_load(r->in[k]->bytes, r->in[k]->dtype, i);
        element_store(out->bytes, out->dtype, i, eval_scalar(op, dtype_wide(operand), args));
    }
    return YJ_OK;
}

/* --- data --- */

enum yj_status eval_op_constant(struct run *r) {
    const struct value *v = r->op->out[0];
    const struct data *d = &r->op->data;
    const char *split = op_text(r->op, "split");
    int64_t shape[GRAPH_MAX_RANK], part = split ? eval_coordinate(r->e, split, r->rank) : 0;
    if (!d->bytes && d->n_bytes) return eval_bad(r, "weight %d was not given", d->weight);
    TRY(eval_shape(r, v, shape));
    size_t n_bytes = d->n_bytes / (size_t)(split ? mesh_size(r->op->graph, split) : 1);
    struct tensor *t = r->out[0];
    *t = (struct tensor){.dtype = v->type.dtype, .rank = v->type.rank, .n_bytes = n_bytes};
    t->bytes = (char *)d->bytes + (size_t)part * n_bytes;
    memcpy(t->shape, shape, (size_t)v->type.rank * sizeof *shape);
    return YJ_OK;
}

enum yj_status eval_op_iota(struct run *r) {
    struct tensor *out = r->out[0];
    int axis = (int)op_int(r->op, "axis", 0);
    int64_t strides[GRAPH_MAX_RANK], n = tensor_elements(out);
    tensor_strides(out, strides);
    for (int64_t i = 0; i < n; i++) {
        uint64_t index = (uint64_t)(i / strides[axis] % out->shape[axis]);
        element_store(out->bytes, out->dtype, i, scalar_cast(dtype_wide(out->dtype), YJ_I64, index));
    }
    return YJ_OK;
}

enum yj_status eval_op_dims(struct run *r) {
    int n;
    const dim *values = op_dims(r->op, "values", &n);
    for (int i = 0; i < n; i++) {
        int64_t value;
        TRY(eval_dim(r, values[i], &value));
        element_store(r->out[0]->bytes, YJ_I64, i, (uint64_t)value);
    }
    return YJ_OK;
}

enum yj_status eval_op_cast(struct run *r) {
    enum yj_dtype from = r->in[0]->dtype, to = r->out[0]->dtype;
    int64_t n = tensor_elements(r->out[0]);
    size_t a = yj_dtype_bytes(from), b = yj_dtype_bytes(to);
    for (int64_t i = 0; i < n; i++) { /* straight from one type to the other: rounded once */
        uint64_t bits = 0;
        memcpy(&bits, (const char *)r->in[0]->bytes + (size_t)i * a, a);
        bits = scalar_cast(to, from, bits);
        memcpy((char *)r->out[0]->bytes + (size_t)i * b, &bits, b);
    }
    return YJ_OK;
}

static enum yj_status copy(struct run *r) {
    if (r->in[0]->n_bytes != r->out[0]->n_bytes)
        return eval_bad(r, "%lld elements do not become %lld", (long long)tensor_elements(r->in[0]),
                        (long long)tensor_elements(r->out[0]));
    if (r->in[0]->n_bytes) memcpy(r->out[0]->bytes, r->in[0]->bytes, r->in[0]->n_bytes);
    return YJ_OK;
}

enum yj_status eval_op_bitcast(struct run *r) {
    return copy(r);
}
enum yj_status eval_op_reshape(struct run *r) {
    return copy(r);
}
enum yj_status eval_op_pack(struct run *r) {
    return copy(r);
}

/* --- views --- */

enum yj_status eval_op_transpose(struct run *r) {
    int n;
    const int64_t *p = op_ints(r->op, "permutation", &n);
    int64_t from[GRAPH_MAX_RANK], strides[GRAPH_MAX_RANK];
    tensor_strides(r->in[0], from);
    for (int i = 0; i < n; i++)
        strides[i] = from[p[i]];
    eval_copy_box(r->in[0], 0, strides, r->out[0]);
    return YJ_OK;
}

enum yj_status eval_op_broadcast(struct run *r) {
    int n;
    const int64_t *axes = op_ints(r->op, "axes", &n);
    int64_t from[GRAPH_MAX_RANK], strides[GRAPH_MAX_RANK] = {0};
    tensor_strides(r->in[0], from);
    for (int i = 0; i < n; i++) {
        int64_t size = r->in[0]->shape[i], want = r->out[0]->shape[axes[i]];
        if (size != 1 && size != want)
            return eval_bad(r, "axis %d is %lld long and does not spread over %lld", i, (long long)size,
                            (long long)want);
        strides[axes[i]] = size == 1 ? 0 : from[i];
    }
    eval_copy_box(r->in[0], 0, strides, r->out[0]);
    return YJ_OK;
}

enum yj_status eval_op_slice(struct run *r) {
    int n;
    const int64_t *stride = op_ints(r->op, "stride", &n);
    int64_t start[GRAPH_MAX_RANK], limit[GRAPH_MAX_RANK], strides[GRAPH_MAX_RANK], offset = 0;
    TRY(eval_dims(r, "start", start));
    TRY(eval_dims(r, "limit", limit));
    tensor_strides(r->in[0], strides);
    for (int i = 0; i < n; i++) {
        if (start[i] < 0 || limit[i] < start[i] || limit[i] > r->in[0]->shape[i])
            return eval_bad(r, "%lld..%lld is not in axis %d of length %lld", (long long)start[i], (long long)limit[i],
                            i, (long long)r->in[0]->shape[i]);
        offset += start[i] * strides[i];
        strides[i] *= stride[i];
    }
    eval_copy_box(r->in[0], offset, strides, r->out[0]);
    return YJ_OK;
}

enum yj_status eval_op_reverse(struct run *r) {
    int n;
    const int64_t *axes = op_ints(r->op, "axes", &n);
    int64_t strides[GRAPH_MAX_RANK], offset = 0;
    tensor_strides(r->in[0], strides);
    for (int i = 0; i < n; i++) {
        offset += (r->in[0]->shape[axes[i]] - 1) * strides[axes[i]];
        strides[axes[i]] = -strides[axes[i]];
    }
    eval_copy_box(r->in[0], offset, strides, r->out[0]);
    return YJ_OK;
}

/* Writes all of FROM into OUT at START. */
static void paste(const struct tensor *from, struct tensor *out, const int64_t *start) {
    size_t each = yj_dtype_bytes(from->dtype);
    int64_t strides[GRAPH_MAX_RANK], n = tensor_elements(from), index[GRAPH_MAX_RANK] = {0};
    if (n == 0) return;
    int inner = from->rank - 1;
    int64_t row = inner >= 0 ? from->shape[inner] : 1;
    const char *p = from->bytes;
    tensor_strides(out, strides);
    do {
        int64_t at = inner >= 0 ? start[inner] : 0;
        for (int i = 0; i < inner; i++)
            at += (index[i] + start[i]) * strides[i];
        memcpy((char *)out->bytes + at * (int64_t)each, p, (size_t)row * each);
        p += row * (int64_t)each;
    } while (index_next(inner > 0 ? inner : 0, from->shape, index));
}

enum yj_status eval_op_concat(struct run *r) {
    int axis = (int)op_int(r->op, "axis", 0);
    int64_t start[GRAPH_MAX_RANK] = {0};
    struct tensor *out = r->out[0];
    for (int i = 0; i < r->op->n_in; i++) {
        const struct tensor *t = eval_slot(r->e, r->op->in[i], r->rank);
        for (int a = 0; a < out->rank; a++)
            if (a != axis && t->shape[a] != out->shape[a]) return eval_bad(r, "operand %d has another axis %d", i, a);
        if (start[axis] + t->shape[axis] > out->shape[axis]) return eval_bad(r, "operand %d does not fit", i);
        paste(t, out, start);
        start[axis] += t->shape[axis];
    }
    return YJ_OK;
}

enum yj_status eval_op_pad(struct run *r) {
    int64_t low[GRAPH_MAX_RANK], high[GRAPH_MAX_RANK], none[GRAPH_MAX_RANK] = {0};
    TRY(eval_dims(r, "low", low));
    TRY(eval_dims(r, "high", high));
    for (int i = 0; i < r->in[0]->rank; i++)
        if (low[i] < 0 || high[i] < 0) return eval_bad(r, "padding of axis %d is negative", i);
    eval_copy_box(r->in[1], 0, none, r->out[0]);
    paste(r->in[0], r->out[0], low);
    return YJ_OK;
}

enum yj_status eval_op_update_slice(struct run *r) {
    int64_t start[GRAPH_MAX_RANK];
    TRY(eval_dims(r, "start", start));
    for (int i = 0; i < r->in[0]->rank; i++)
        if (start[i] < 0 || start[i] > r->in[0]->shape[i] - r->in[1]->shape[i])
            return eval_bad(r, "%lld elements at %lld do not fit axis %d of length %lld", (long long)r->in[1]->shape[i],
                            (long long)start[i], i, (long long)r->in[0]->shape[i]);
    TRY(copy(r));
    paste(r->in[1], r->out[0], start);
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * DFT and STFT as products with a constant matrix. The one idea: a complex number is the last axis, so one dot over
 * the transformed axis and that one gives real and imaginary parts together, for real and for complex operands.
 */
#include "compiler/onnx.h"
#include "ir/math.h"

#include <math.h>

#define B (&n->b)
#define MAX GRAPH_MAX_RANK
#define MOST 4096 /* elements of a transform: beyond, the matrix is larger than most models */

struct transform {
    int axis;
    int64_t length, rows, parts, bins; /* rows: of the operand that take part; parts: 1 real, 2 complex */
    bool inverse;
};

/* e^(-2 pi i row bin / length), or its conjugate over length: our own cos, so that all machines write the same bytes.
 */
static void element(const struct transform *t, int64_t row, int64_t bin, double re[2]) {
    double angle = 2 * M_PI * (double)(row * bin % t->length) / (double)t->length;
    double scale = t->inverse ? 1.0 / (double)t->length : 1;
    re[0] = scale * f64_math(SCALAR_cos, angle, 0);
    re[1] = (t->inverse ? scale : -scale) * f64_math(SCALAR_sin, angle, 0);
}

/* [rows, parts, bins * 2] */
static struct value *matrix(struct node *n, const struct transform *t, enum yj_dtype dtype) {
    size_t each = yj_dtype_bytes(dtype), count = (size_t)(t->rows * t->parts * t->bins * 2);
    char *bytes = arena_new(import_arena(n->import), count * each + 1);
    for (size_t i = 0; i < count; i++) {
        bool imaginary = i % 2, by_i = i / (size_t)(2 * t->bins) % (size_t)t->parts;
        double e[2];
        element(t, (int64_t)(i / (size_t)(2 * t->bins * t->parts)), (int64_t)(i / 2 % (size_t)t->bins), e);
        double v = imaginary == by_i ? e[0] : by_i ? -e[1] : e[1]; /* i (a + i b) = -b + i a */
        float narrow = (float)v;
        memcpy(bytes + i * each, dtype == YJ_F64 ? (const void *)&v : &narrow, each);
    }
    dim shape[3] = {node_c(n, t->rows), node_c(n, t->parts), node_c(n, 2 * t->bins)};
    return build_constant(B, dtype, 3, shape, bytes, count * each);
}

/* X [.., rows, .., parts] to [.., bins, .., 2]; F32 or F64. */
static struct value *apply(struct node *n, struct value *x, const struct transform *t) {
    static const int64_t rows_parts[2] = {0, 1};
    if (!x) return NULL;
    int rank = x->type.rank;
    int64_t contract[2] = {t->axis, rank - 1}, order[MAX];
    dim shape[MAX];
    for (int i = 0, to = 0; i < rank - 1; i++)
        if (i != t->axis) shape[to++] = x->type.shape[i];
    shape[rank - 2] = node_c(n, t->bins);
    shape[rank - 1] = node_c(n, 2);
    for (int i = 0; i < rank; i++)
        order[i] = i == t->axis ? rank - 2 : i > t->axis && i < rank - 1 ? i - 1 : i;
    struct value *y = build_dot(B, x, matrix(n, t, x->type.dtype), 0, NULL, NULL, 2, contract, rows_parts);
    return build_transpose(B, build_reshape(B, y, rank, shape), order);
}

/* What is known of the operand and of LENGTH (0: as long as the axis). */
static bool read_transform(struct node *n, const struct type *x, int64_t length, bool one_sided, struct transform *t) {
    int64_t there;
    if (dtype_kind(x->dtype) != 'f') return node_refuse(n, "an operand of %s", yj_dtype_name(x->dtype));
    if (!dim_is_const(x->shape[x->rank - 1], &t->parts) || t->parts < 1 || t->parts > 2)
        return node_refuse(n, "the last axis must be 1 (real) or 2 (complex)");
    if (!dim_is_const(x->shape[t->axis], &there)) return node_refuse(n, "the length of the axis must be known");
    t->length = length ? length : there;
    if (t->length < 1 || t->length > MOST)
        return node_refuse(n, "%lld elements in one transform: 1 to %d are supported", (long long)t->length, MOST);
    t->rows = min64(there, t->length);
    t->bins = one_sided ? t->length / 2 + 1 : t->length;
    return true;
}

static struct value *wide(struct node *n, struct value *x) {
    return x && x->type.dtype != YJ_F64 ? build_cast(B, x, YJ_F32) : x;
}

static bool one_number(struct node *n, int i, int64_t *value) {
    int count;
    const int64_t *ints;
    if (!node_has(n, i)) return true;
    if (!node_ints(n, i, &count, &ints)) return false;
    *value = count ? ints[0] : 0;
    return count == 1 || node_refuse(n, "operand %d must be one number", i);
}

bool onnx_dft(struct node *n) {
    struct value *x = node_in(n, 0);
    int64_t length = 0, axis = n->version < 20 ? node_int(n, "axis", 1) : -2;
    bool one_sided = node_int(n, "onesided", 0) != 0;
    struct transform t = {.inverse = node_int(n, "inverse", 0) != 0};
    if (!x || !one_number(n, 1, &length) || (n->version >= 20 && !one_number(n, 2, &axis))) return false;
    struct type type = x->type;
    if (type.rank < 2 || !node_axis(n, axis, type.rank, &t.axis) || t.axis == type.rank - 1)
        return node_refuse(n, "axis %lld of an operand of rank %d", (long long)axis, type.rank);
    if (one_sided && t.inverse) return node_refuse(n, "an inverse transform of one side is not supported");
    if (!read_transform(n, &type, length, one_sided, &t)) return false;
    struct value *y = apply(n, node_cut(n, wide(n, x), t.axis, node_c(n, 0), node_c(n, t.rows)), &t);
    return node_out(n, 0, y ? build_cast(B, y, type.dtype) : NULL);
}

/* [frames, length]: element j of frame i is number i * step + j. */
static struct value *frame_positions(struct node *n, dim frames, int64_t length, int64_t step) {
    dim shape[2] = {frames, node_c(n, length)};
    struct value *frame = node_iota(n, YJ_I64, 2, shape, 0), *within = node_iota(n, YJ_I64, 2, shape, 1);
    if (!frame) return NULL;
    return build_2(B, OP_add, build_2(B, OP_mul, frame, node_like(n, (double)step, frame)), within);
}

bool onnx_stft(struct node *n) {
    static const int64_t frame_axis[1] = {2};
    struct value *x = node_in(n, 0), *window = node_has(n, 2) ? node_in(n, 2) : NULL;
    int64_t step = 0, length = 0, of_window;
    if (!x || !one_number(n, 1, &step) || !one_number(n, 3, &length)) return false;
    struct type type = x->type;
    if (type.rank != 3) return node_refuse(n, "the signal must be [batch, length, 1 or 2]");
    if (window && (window->type.rank != 1 || !dim_is_const(window->type.shape[0], &of_window)))
        return node_refuse(n, "the window must be a vector of known length");
    if (!length) length = window ? of_window : 0;
    if (step < 1 || length < 1) return node_refuse(n, "frame_step and frame_length must be known and above 0");
    if (window && of_window != length) return node_refuse(n, "a window that is not as long as a frame");
    dim over = dim_sub(n->dims, type.shape[1], node_c(n, length));
    if (over->low < 0) return node_refuse(n, "the signal may be shorter than a frame: bound it with --dim");
    dim frames = dim_add(n->dims, dim_div(n->dims, over, node_c(n, step)), node_c(n, 1));
    x = build_gather(B, wide(n, x), frame_positions(n, frames, length, step), 1);
    if (!x) return node_out(n, 0, NULL);
    if (window) {
        struct value *w = build_broadcast(B, build_cast(B, window, x->type.dtype), 4, x->type.shape, frame_axis);
        x = build_2(B, OP_mul, x, w);
    }
    struct transform t = {.axis = 2};
    if (!x) return node_out(n, 0, NULL);
    if (!read_transform(n, &x->type, length, node_int(n, "onesided", 1) != 0, &t)) return false;
    struct value *y = apply(n, x, &t);
    return node_out(n, 0, y ? build_cast(B, y, type.dtype) : NULL);
}

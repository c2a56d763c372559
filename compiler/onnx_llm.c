/* SPDX-License-Identifier: Apache-2.0
 *
 * The com.microsoft operators that exports of language models use: attention over grouped heads with a cache, rotary
 * embedding, norms with a residual, products with 4-bit weights.
 */
#include "compiler/onnx.h"
#include <math.h>

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

struct value *onnx_rms(struct node *n, struct value *x, struct value *scale, int axis, double epsilon);

/* y = norm(x + skip + bias) * gain; result 3 is the sum. */
bool onnx_skip_rms_norm(struct node *n) {
    struct value *x = node_in(n, 0), *skip = node_in(n, 1);
    if (!node_broadcast_2(n, &x, &skip)) return false;
    if (node_wants(n, 1) || node_wants(n, 2)) return node_refuse(n, "results 1 and 2 are not supported");
    struct value *sum = build_2(B, OP_add, x, skip);
    if (node_has(n, 3) && sum)
        sum = build_2(B, OP_add, sum, build_broadcast_to(B, node_in(n, 3), sum->type.rank, sum->type.shape));
    if (!sum) return node_out(n, 0, NULL);
    if (node_wants(n, 3)) node_out(n, 3, sum);
    return node_out(n, 0, onnx_rms(n, sum, node_in(n, 2), sum->type.rank - 1, node_float(n, "epsilon", 1e-5f)));
}

static struct value *cut_last(struct node *n, struct value *x, int64_t from, int64_t to, int64_t step) {
    dim start[MAX], limit[MAX];
    int64_t stride[MAX];
    if (!x) return NULL;
    int last = x->type.rank - 1;
    for (int i = 0; i <= last; i++)
        start[i] = node_c(n, 0), limit[i] = x->type.shape[i], stride[i] = 1;
    start[last] = node_c(n, from);
    limit[last] = node_c(n, to);
    stride[last] = step;
    return build_slice(B, x, start, limit, stride);
}

/* x [B, S, heads, D]; cos, sin [B or 1, S, R / 2] with R <= D rotated elements: halves (or neighbours) are pairs. */
static struct value *rotate(struct node *n, struct value *x, struct value *cos, struct value *sin, bool neighbours) {
    int64_t width, half;
    if (!x || !cos || !sin) return NULL;
    if (!dim_is_const(x->type.shape[3], &width) || !dim_is_const(cos->type.shape[2], &half) || 2 * half > width) {
        node_refuse(n, "the width of a head must be known, and at least twice that of the cos and sin tables");
        return NULL;
    }
    struct value *a = neighbours ? cut_last(n, x, 0, 2 * half, 2) : cut_last(n, x, 0, half, 1);
    struct value *b = neighbours ? cut_last(n, x, 1, 2 * half, 2) : cut_last(n, x, half, 2 * half, 1);
    int64_t head[1] = {2};
    cos = node_unsqueeze(n, cos, 1, head);
    sin = node_unsqueeze(n, sin, 1, head);
    if (!a || !b || !cos || !sin) return NULL;
    cos = build_broadcast_to(B, cos, 4, a->type.shape);
    sin = build_broadcast_to(B, sin, 4, a->type.shape);
    struct value *real = build_2(B, OP_sub, build_2(B, OP_mul, a, cos), build_2(B, OP_mul, b, sin));
    struct value *imaginary = build_2(B, OP_add, build_2(B, OP_mul, a, sin), build_2(B, OP_mul, b, cos));
    struct value *parts[3] = {real, imaginary, NULL};
    struct value *y;
    if (neighbours) {
        int64_t last[1] = {4};
        parts[0] = node_unsqueeze(n, real, 1, last);
        parts[1] = node_unsqueeze(n, imaginary, 1, last);
        y = build_concat(B, 2, parts, 4);
        dim shape[4] = {x->type.shape[0], x->type.shape[1], x->type.shape[2], node_c(n, 2 * half)};
        y = build_reshape(B, y, 4, shape);
    } else {
        y = build_concat(B, 2, parts, 3);
    }
    if (2 * half == width) return y;
    parts[0] = y;
    parts[1] = cut_last(n, x, 2 * half, width, 1);
    return build_concat(B, 2, parts, 3);
}

static struct value *rows_of(struct node *n, struct value *table, dim from, dim count) {
    dim start[2] = {from, node_c(n, 0)}, limit[2], shape[3] = {node_c(n, 1), count, NULL};
    int64_t stride[2] = {1, 1};
    if (!table) return NULL;
    limit[0] = dim_add(n->dims, from, count);
    limit[1] = shape[2] = table->type.shape[1];
    return build_reshape(B, build_slice(B, table, start, limit, stride), 3, shape);
}

bool onnx_rotary(struct node *n) {
    struct value *x = node_in(n, 0), *ids = node_in(n, 1), *cos = node_in(n, 2), *sin = node_in(n, 3);
    int64_t heads = node_int(n, "num_heads", 0), half, width = 0;
    static const int64_t swap[4] = {0, 2, 1, 3};
    if (!x || !ids || !cos || !sin) return false;
    struct type t = x->type;
    if (t.rank == 4) {
        x = build_transpose(B, x, swap);
    } else if (t.rank == 3 && dim_is_const(t.shape[2], &width) && dim_is_const(cos->type.shape[1], &half)) {
        int64_t rotated = node_int(n, "rotary_embedding_dim", 0), head = rotated && heads ? width / heads : 2 * half;
        if (head < 1 || width % head)
            return node_refuse(n, "%lld elements are not a number of heads of %lld", (long long)width, (long long)head);
        dim shape[4] = {t.shape[0], t.shape[1], node_c(n, width / head), node_c(n, head)};
        x = build_reshape(B, x, 4, shape);
    } else {
        return node_refuse(n, "the operand must have rank 4, or rank 3 and a known width");
    }
    if (!x) return node_out(n, 0, NULL);
    if (ids->type.rank == 1) { /* one offset: positions offset, offset + 1, ... */
        struct op *op;
        dim shape[2] = {x->type.shape[0], x->type.shape[1]};
        struct attr *a =
            attr_dims(n->g, "shape", 2, shape, attr_int(n->g, "axis", 1, attr_text(n->g, "dtype", "i64", NULL)));
        if (build(B, OP_iota, 0, NULL, a, &op) != YJ_OK) return node_out(n, 0, NULL);
        ids = build_2(B, OP_add, op->out[0], build_broadcast_to(B, build_cast(B, ids, YJ_I64), 2, shape));
    }
    ids = build_cast(B, ids, YJ_I64);
    struct value *y =
        rotate(n, x, build_gather(B, cos, ids, 0), build_gather(B, sin, ids, 0), node_int(n, "interleaved", 0));
    y = t.rank == 4 ? build_transpose(B, y, swap) : y ? build_reshape(B, y, 3, t.shape) : NULL;
    return !n->refused && node_out(n, 0, y);
}

static struct value *dot_f32(struct node *n, struct value *a, struct value *b, int64_t contract_b) {
    struct op *op;
    int64_t batch[1] = {0}, ca[1] = {2}, cb[1] = {contract_b};
    struct value *in[2] = {a, b};
    if (!a || !b) return NULL;
    struct attr *attrs =
        attr_ints(n->g, "contract_b", 1, cb, a->type.dtype == YJ_F32 ? NULL : attr_text(n->g, "dtype", "f32", NULL));
    attrs = attr_ints(n->g, "batch_a", 1, batch,
                      attr_ints(n->g, "batch_b", 1, batch, attr_ints(n->g, "contract_a", 1, ca, attrs)));
    return build(B, OP_dot, 2, in, attrs, &op) == YJ_OK ? op->out[0] : NULL;
}

struct attention {
    int64_t heads, kv, head, group;
    dim s, t, past;
};

/* scores [KV, G, S, T] masked so that row i sees columns up to past + i (and a window of them), in f32 */
static struct value *mask_causal(struct node *n, const struct attention *a, struct value *scores) {
    struct op *op;
    dim square[2] = {a->s, a->t};
    struct value *index[2];
    if (!scores) return NULL;
    for (int axis = 0; axis < 2; axis++) {
        struct attr *at =
            attr_dims(n->g, "shape", 2, square, attr_int(n->g, "axis", axis, attr_text(n->g, "dtype", "i64", NULL)));
        if (build(B, OP_iota, 0, NULL, at, &op) != YJ_OK) return NULL;
        index[axis] = op->out[0];
    }
    if (build(B, OP_dims, 0, NULL, attr_dims(n->g, "values", 1, &a->past, NULL), &op) != YJ_OK) return NULL;
    struct value *past = build_broadcast_to(B, build_reshape(B, op->out[0], 0, NULL), 2, square);
    struct value *row = build_2(B, OP_add, index[0], past), *seen = build_2(B, OP_le, index[1], row);
    int64_t window = node_int(n, "local_window_size", -1);
    if (window >= 0)
        seen = build_2(B, OP_and, seen,
                       build_2(B, OP_gt, index[1], build_2(B, OP_sub, row, node_like(n, (double)window, row))));
    seen = build_broadcast_to(B, seen, 4, scores->type.shape);
    return build_3(B, OP_select, seen, scores, node_like(n, -INFINITY, scores));
}

/* q [1, S, heads, D]; keys, values [1, KV, T, D] -> [1, S, heads * D] */
static struct value *attend(struct node *n, const struct attention *a, struct value *q, struct value *keys,
                            struct value *values) {
    static const int64_t by_head[4] = {1, 2, 0, 3}, back[4] = {2, 0, 1, 3};
    dim grouped[4] = {a->s, node_c(n, a->kv), node_c(n, a->group), node_c(n, a->head)};
    dim rows = dim_mul(n->dims, a->s, node_c(n, a->group));
    dim flat[3] = {grouped[1], rows, grouped[3]}, kv[3] = {grouped[1], a->t, grouped[3]};
    dim wide[4] = {grouped[1], grouped[2], a->s, a->t}, out[4] = {grouped[1], grouped[2], a->s, grouped[3]};
    enum yj_dtype dtype = q ? q->type.dtype : YJ_F32;
    q = build_reshape(B, build_transpose(B, build_reshape(B, q, 4, grouped), by_head), 3, flat);
    struct value *s = dot_f32(n, q, build_reshape(B, keys, 3, kv), 2);
    double scale = node_float(n, "scale", 0), cap = node_float(n, "softcap", 0);
    if (scale == 0) scale = 1 / sqrt((double)a->head);
    s = build_2(B, OP_mul, s, node_like(n, scale, s));
    if (cap > 0)
        s = build_2(B, OP_mul, build_1(B, OP_tanh, build_2(B, OP_div, s, node_like(n, cap, s))), node_like(n, cap, s));
    s = node_softmax(n, mask_causal(n, a, build_reshape(B, s, 4, wide)), 3);
    dim probabilities[3] = {grouped[1], rows, a->t}, merged[3] = {node_c(n, 1), a->s, node_c(n, a->heads * a->head)};
    s = build_cast(B, build_reshape(B, s, 3, probabilities), dtype);
    struct value *y = build_cast(B, dot_f32(n, s, build_reshape(B, values, 3, kv), 1), dtype);
    return build_reshape(B, build_transpose(B, build_reshape(B, y, 4, out), back), 3, merged);
}

/* The cache with the new rows: in place where it has room for them, else longer. */
static struct value *extend(struct node *n, const struct attention *a, struct value *past, struct value *rows,
                            struct value **seen) {
    static const int64_t by_head[4] = {0, 2, 1, 3};
    struct op *op;
    rows = build_transpose(B, rows, by_head); /* [1, KV, S, D] */
    if (!past || !rows) return NULL;
    dim zero = node_c(n, 0), start[4] = {zero, zero, a->past, zero}, none[4] = {zero, zero, zero, zero}, limit[4];
    int64_t stride[4] = {1, 1, 1, 1};
    struct value *in[2] = {past, rows};
    struct value *all =
        build(B, OP_update_slice, 2, in, attr_dims(n->g, "start", 4, start, NULL), &op) == YJ_OK ? op->out[0] : NULL;
    if (!all) return NULL;
    memcpy(limit, all->type.shape, sizeof limit);
    limit[2] = a->t;
    *seen = build_slice(B, all, none, limit, stride);
    return all;
}

static struct value *heads_of(struct node *n, struct value *x, dim s, int64_t heads, int64_t head) {
    dim shape[4] = {node_c(n, 1), s, node_c(n, heads), node_c(n, head)};
    return build_reshape(B, x, 4, shape);
}

bool onnx_group_query_attention(struct node *n) {
    struct attention a = {.heads = node_int(n, "num_heads", 0), .kv = node_int(n, "kv_num_heads", 0)};
    struct value *q = node_in(n, 0), *k = NULL, *v = NULL, *past_k = node_in(n, 3), *past_v = node_in(n, 4);
    int64_t width, capacity;
    int count;
    const dim *lengths;
    if (!q || !past_k || !past_v) return false;
    if (a.heads < 1 || a.kv < 1 || a.heads % a.kv)
        return node_refuse(n, "num_heads %lld, kv_num_heads %lld", (long long)a.heads, (long long)a.kv);
    if (q->type.rank != 3 || !dim_is(q->type.shape[0], 1))
        return node_refuse(n, "query must be [1, S, width]: a batch of more than one is not supported");
    if (!dim_is_const(q->type.shape[2], &width)) return node_refuse(n, "the width of query is not known");
    bool packed = !node_has(n, 1);
    a.head = width / (packed ? a.heads + 2 * a.kv : a.heads);
    a.group = a.heads / a.kv;
    a.s = q->type.shape[1];
    if (packed) {
        struct value *all = q;
        q = cut_last(n, all, 0, a.heads * a.head, 1);
        k = cut_last(n, all, a.heads * a.head, (a.heads + a.kv) * a.head, 1);
        v = cut_last(n, all, (a.heads + a.kv) * a.head, width, 1);
    } else {
        k = node_in(n, 1);
        v = node_in(n, 2);
    }
    if (past_k->type.rank != 4 || !dim_is_const(past_k->type.shape[2], &capacity))
        return node_refuse(n, "past_key must be [1, kv_num_heads, CAPACITY, head] with a fixed capacity (use --dim), "
                              "shared with present_key");
    if (node_text(n, "smooth_softmax", NULL) || node_int(n, "smooth_softmax", 0) || node_has(n, 10))
        return node_refuse(n, "smooth_softmax and attention_bias are not supported");
    if (!node_dims(n, 5, 0, capacity - 1, &count, &lengths) || count != 1)
        return node_refuse(n, "seqlens_k must have one element");
    a.t = dim_add(n->dims, lengths[0], node_c(n, 1));
    a.past = dim_sub(n->dims, a.t, a.s);
    q = heads_of(n, q, a.s, a.heads, a.head);
    k = heads_of(n, k, a.s, a.kv, a.head);
    v = heads_of(n, v, a.s, a.kv, a.head);
    if (node_int(n, "do_rotary", 0)) {
        bool neighbours = node_int(n, "rotary_interleaved", 0);
        struct value *cos = rows_of(n, node_in(n, 7), a.past, a.s), *sin = rows_of(n, node_in(n, 8), a.past, a.s);
        q = rotate(n, q, cos, sin, neighbours);
        k = rotate(n, k, cos, sin, neighbours);
    }
    struct value *seen_k = NULL, *seen_v = NULL;
    struct value *all_k = extend(n, &a, past_k, k, &seen_k), *all_v = extend(n, &a, past_v, v, &seen_v);
    if (n->refused || !all_k || !all_v) return node_out(n, 1, NULL);
    node_out(n, 1, all_k);
    node_out(n, 2, all_v);
    return node_out(n, 0, attend(n, &a, q, seen_k, seen_v));
}

/* 4-bit numbers, two in a byte, low half first: u8 [rows, bytes] -> u8 [rows, 2 * bytes] */
static struct value *unpack_nibbles(struct node *n, struct value *x) {
    int64_t last[1] = {2};
    if (!x) return NULL;
    dim shape[2] = {x->type.shape[0], dim_mul(n->dims, x->type.shape[1], node_c(n, 2))};
    struct value *halves[2] = {node_unsqueeze(n, build_2(B, OP_and, x, node_like(n, 15, x)), 1, last),
                               node_unsqueeze(n, build_2(B, OP_shift_right, x, node_like(n, 4, x)), 1, last)};
    return build_reshape(B, build_concat(B, 2, halves, 2), 2, shape);
}

/* Per block of the inner dimension: (number - zero point) * scale. */
bool onnx_matmul_nbits(struct node *n) {
    int64_t K = node_int(n, "K", 0), N = node_int(n, "N", 0), block = node_int(n, "block_size", 32),
            bits = node_int(n, "bits", 4);
    struct value *x = node_in(n, 0), *w = node_in(n, 1), *scale = node_in(n, 2), *zero;
    if (!x || !w || !scale) return false;
    if (bits != 4 && bits != 8) return node_refuse(n, "%lld bits are not supported", (long long)bits);
    if (node_has(n, 4)) return node_refuse(n, "g_idx is not supported");
    if (K < 1 || N < 1 || block < 2)
        return node_refuse(n, "K %lld, N %lld, block_size %lld", (long long)K, (long long)N, (long long)block);
    int64_t blocks = (K + block - 1) / block;
    dim flat[2] = {node_c(n, N), node_c(n, blocks * block * bits / 8)}, grid[2] = {node_c(n, N), node_c(n, blocks)};
    dim cube[3] = {node_c(n, N), node_c(n, blocks), node_c(n, block)},
        whole[2] = {node_c(n, N), node_c(n, blocks * block)};
    enum yj_dtype dtype = scale->type.dtype;
    w = build_reshape(B, w, 2, flat);
    if (bits == 4) w = unpack_nibbles(n, w);
    w = build_cast(B, build_reshape(B, w, 3, cube), dtype);
    if (!node_has(n, 3)) {
        zero = node_like(n, bits == 4 ? 8 : 128, w);
    } else {
        zero = node_in(n, 3);
        if (zero && zero->type.dtype == YJ_U8 && bits == 4) {
            dim bytes[2] = {node_c(n, N), node_c(n, (blocks + 1) / 2)};
            zero = cut_last(n, unpack_nibbles(n, build_reshape(B, zero, 2, bytes)), 0, blocks, 1);
        }
        zero = node_expand(n, build_reshape(B, build_cast(B, zero, dtype), 2, grid), &w->type, 0);
    }
    scale = w ? node_expand(n, build_reshape(B, scale, 2, grid), &w->type, 0) : NULL;
    w = build_2(B, OP_mul, build_2(B, OP_sub, w, zero), scale);
    w = cut_last(n, build_reshape(B, w, 2, whole), 0, K, 1);
    int64_t ca[1] = {x->type.rank - 1}, cb[1] = {1};
    struct value *y = build_dot(B, x, build_cast(B, w, x->type.dtype), 0, NULL, NULL, 1, ca, cb);
    if (node_has(n, 5) && y)
        y = build_2(B, OP_add, y, build_broadcast_to(B, node_in(n, 5), y->type.rank, y->type.shape));
    return node_out(n, 0, y);
}

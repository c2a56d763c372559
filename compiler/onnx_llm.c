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

/* x [B, S, heads, D]; cos, sin [B or 1, S, R / 2] with R <= D rotated elements: halves (or neighbours) are pairs.
 * Computed in f32 and rounded once. */
static struct value *rotate(struct node *n, struct value *x, struct value *cos, struct value *sin, bool neighbours) {
    int64_t width, half;
    if (!x || !cos || !sin) return NULL;
    if (!dim_is_const(x->type.shape[3], &width) || !dim_is_const(cos->type.shape[2], &half) || 2 * half > width) {
        node_refuse(n, "the width of a head must be known, and at least twice that of the cos and sin tables");
        return NULL;
    }
    enum yj_dtype dtype = x->type.dtype, wide = dtype == YJ_F64 ? YJ_F64 : YJ_F32;
    struct value *a = neighbours ? cut_last(n, x, 0, 2 * half, 2) : cut_last(n, x, 0, half, 1);
    struct value *b = neighbours ? cut_last(n, x, 1, 2 * half, 2) : cut_last(n, x, half, 2 * half, 1);
    int64_t head[1] = {2};
    a = build_cast(B, a, wide);
    b = build_cast(B, b, wide);
    cos = node_unsqueeze(n, build_cast(B, cos, wide), 1, head);
    sin = node_unsqueeze(n, build_cast(B, sin, wide), 1, head);
    if (!a || !b || !cos || !sin) return NULL;
    cos = build_broadcast_to(B, cos, 4, a->type.shape);
    sin = build_broadcast_to(B, sin, 4, a->type.shape);
    struct value *real = build_2(B, OP_sub, build_2(B, OP_mul, a, cos), build_2(B, OP_mul, b, sin));
    struct value *imaginary = build_2(B, OP_add, build_2(B, OP_mul, a, sin), build_2(B, OP_mul, b, cos));
    struct value *parts[2] = {build_cast(B, real, dtype), build_cast(B, imaginary, dtype)}, *y;
    if (neighbours) {
        int64_t last[1] = {4};
        parts[0] = node_unsqueeze(n, parts[0], 1, last);
        parts[1] = node_unsqueeze(n, parts[1], 1, last);
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
    if (!table || table->type.rank != 2) return NULL;
    limit[0] = dim_add(n->dims, from, count);
    limit[1] = shape[2] = table->type.shape[1];
    return build_reshape(B, build_slice(B, table, start, limit, stride), 3, shape);
}

bool onnx_rotary(struct node *n) {
    struct value *x = node_in(n, 0), *ids = node_in(n, 1), *cos = node_in(n, 2), *sin = node_in(n, 3);
    int64_t heads = node_int(n, "num_heads", 0), part = node_int(n, "rotary_embedding_dim", 0), half, width = 0;
    static const int64_t swap[4] = {0, 2, 1, 3};
    if (!x || !ids || !cos || !sin) return false;
    if (node_float(n, "scale", 1) != 1 || node_int(n, "is_packed_batching", 0))
        return node_refuse(n, "scale and is_packed_batching are not supported");
    if (cos->type.rank != 2 || sin->type.rank != 2) return node_refuse(n, "cos and sin must be tables [rows, R / 2]");
    struct type t = x->type;
    if (t.rank == 4) {
        x = build_transpose(B, x, swap);
    } else if (t.rank == 3 && dim_is_const(t.shape[2], &width) && dim_is_const(cos->type.shape[1], &half)) {
        int64_t head = part && heads > 0 ? width / heads : 2 * half;
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

/* No past; one that each run makes longer; one of fixed capacity, updated in place. */
enum cache { CACHE_NONE, CACHE_GROWS, CACHE_FIXED };
struct attention {
    int64_t heads, kv, head, group;
    enum cache cache;
    dim s, t, past, said; /* said: T as seqlens_k gives it */
};
static const char batch_hint[] = ": batches of more than one are not supported (--dim NAME=1 fixes a free batch)";

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

/* The cache with the new rows: in place where it has a capacity, else longer by them. */
static struct value *extend(struct node *n, const struct attention *a, struct value *past, struct value *rows,
                            struct value **seen) {
    static const int64_t by_head[4] = {0, 2, 1, 3};
    struct op *op;
    rows = build_transpose(B, rows, by_head); /* [1, KV, S, D] */
    if (!rows || (a->cache != CACHE_NONE && !past)) return NULL;
    if (a->cache != CACHE_FIXED) {
        struct value *parts[2] = {past, rows};
        return *seen = a->cache == CACHE_GROWS ? build_concat(B, 2, parts, 2) : rows;
    }
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

/* Options of later versions: those that change numbers are refused unless they ask for nothing. */
static bool attention_options(struct node *n) {
    static const char *const off[] = {"smooth_softmax", "qk_output", "kv_cache_bit_width"};
    static const char *const none[] = {"k_quant_type", "v_quant_type"};
    for (size_t i = 0; i < COUNT(off); i++)
        if (node_int(n, off[i], 0) > 0) return node_refuse(n, "%s is not supported", off[i]);
    for (size_t i = 0; i < COUNT(none); i++)
        if (strcmp(node_text(n, none[i], "NONE"), "NONE") != 0) return node_refuse(n, "%s is not supported", none[i]);
    node_passes_over(n, 6); /* total_sequence_length: the same as seqlens_k + 1 in a batch of one */
    return true;
}

/* Where the past lies, and how many rows are seen: T, of which S are new. In a cache of fixed capacity seqlens_k says
 * T; one that grows has its rows and no others. */
static bool attention_lengths(struct node *n, struct attention *a) {
    struct value *k = node_has(n, 3) ? node_in(n, 3) : NULL, *v = node_has(n, 4) ? node_in(n, 4) : NULL;
    int64_t capacity = INT64_C(1) << 31;
    int count;
    const dim *lengths;
    if (!k != !v || n->refused) return node_refuse(n, "past_key and past_value must both be given, or neither");
    for (int i = 0; k && i < 2; i++) {
        const struct type *t = i ? &v->type : &k->type;
        if (t->rank != 4 || !dim_is(t->shape[0], 1) || !dim_is(t->shape[1], a->kv) || !dim_is(t->shape[3], a->head) ||
            t->shape[2] != k->type.shape[2])
            return node_refuse(n, "past_key and past_value must be [1, kv_num_heads, rows, head]%s", batch_hint);
    }
    a->cache = !k ? CACHE_NONE : dim_is_const(k->type.shape[2], &capacity) ? CACHE_FIXED : CACHE_GROWS;
    if (!node_dims(n, 5, 0, capacity - 1, &count, &lengths)) return false;
    if (count != 1) return node_refuse(n, "seqlens_k must have one element%s", batch_hint);
    a->said = dim_add(n->dims, lengths[0], node_c(n, 1));
    a->t = a->cache == CACHE_FIXED ? a->said : k ? dim_add(n->dims, k->type.shape[2], a->s) : a->s;
    a->past = dim_sub(n->dims, a->t, a->s);
    return true;
}

/* X [1, S, heads, D] itself. Where the rows are counted, a run in which seqlens_k says another number is refused: the
 * slice would begin before X, or end behind it. */
static struct value *as_said(struct node *n, const struct attention *a, struct value *x) {
    dim start[4], limit[4];
    int64_t stride[4] = {1, 1, 1, 1};
    if (!x || a->said == a->t) return x;
    for (int i = 0; i < 4; i++)
        start[i] = node_c(n, 0), limit[i] = x->type.shape[i];
    start[1] = dim_sub(n->dims, a->said, a->t);
    limit[1] = dim_add(n->dims, start[1], a->s);
    return build_slice(B, x, start, limit, stride);
}

/* q, k, v [1, S, heads, D] */
static bool attention_heads(struct node *n, struct attention *a, struct value *in[3]) {
    struct value *all = in[0] = node_in(n, 0);
    int64_t width;
    if (!all) return false;
    if (a->heads < 1 || a->kv < 1 || a->heads > 1 << 20 || a->kv > 1 << 20 || a->heads % a->kv)
        return node_refuse(n, "num_heads %lld, kv_num_heads %lld", (long long)a->heads, (long long)a->kv);
    if (all->type.rank != 3 || !dim_is(all->type.shape[0], 1))
        return node_refuse(n, "query must be [1, S, width]%s", batch_hint);
    if (!dim_is_const(all->type.shape[2], &width)) return node_refuse(n, "the width of query is not known");
    bool packed = !node_has(n, 1);
    int64_t parts = packed ? a->heads + 2 * a->kv : a->heads;
    if (width % parts || width < parts)
        return node_refuse(n, "query is %lld wide: not a number of %lld heads", (long long)width, (long long)parts);
    a->head = width / parts;
    a->group = a->heads / a->kv;
    a->s = all->type.shape[1];
    if (packed) {
        int64_t q = a->heads * a->head, kv = a->kv * a->head;
        if (node_has(n, 2)) return node_refuse(n, "a value without a key");
        in[0] = cut_last(n, all, 0, q, 1);
        in[1] = cut_last(n, all, q, q + kv, 1);
        in[2] = cut_last(n, all, q + kv, width, 1);
    } else {
        in[1] = node_in(n, 1);
        in[2] = node_in(n, 2);
    }
    for (int i = 0; i < 3; i++)
        in[i] = heads_of(n, in[i], a->s, i ? a->kv : a->heads, a->head);
    return !n->refused;
}

bool onnx_group_query_attention(struct node *n) {
    struct attention a = {.heads = node_int(n, "num_heads", 0), .kv = node_int(n, "kv_num_heads", 0)};
    struct value *x[3], *seen_k = NULL, *seen_v = NULL;
    bool neighbours = node_int(n, "rotary_interleaved", 0), rotary = node_int(n, "do_rotary", 0);
    if (!attention_options(n) || !attention_heads(n, &a, x) || !attention_lengths(n, &a)) return false;
    if (rotary) {
        struct value *cos = rows_of(n, node_in(n, 7), a.past, a.s), *sin = rows_of(n, node_in(n, 8), a.past, a.s);
        for (int i = 0; i < 2; i++)
            x[i] = rotate(n, x[i], cos, sin, neighbours);
    } else {
        node_passes_over(n, 7); /* tables without do_rotary are not read */
        node_passes_over(n, 8);
    }
    x[1] = as_said(n, &a, x[1]);
    struct value *past_k = a.cache == CACHE_NONE ? NULL : node_in(n, 3),
                 *past_v = a.cache == CACHE_NONE ? NULL : node_in(n, 4);
    struct value *all_k = extend(n, &a, past_k, x[1], &seen_k), *all_v = extend(n, &a, past_v, x[2], &seen_v);
    if (n->refused || !all_k || !all_v) return node_out(n, 1, NULL);
    node_out(n, 1, all_k);
    node_out(n, 2, all_v);
    return node_out(n, 0, attend(n, &a, x[0], seen_k, seen_v));
}

/* Numbers of BITS bits in bytes, the lowest first, along axis 0: u8 [bytes, N] -> u8 [bytes * 8 / BITS, N]. Elementwise
 * ops and views alone, so that a product that reads them can take them apart where it needs them. */
static struct value *unpack(struct node *n, struct value *x, int64_t bits) {
    int64_t middle[1] = {1}, each = 8 / bits, shifts[8], axes[1] = {1};
    if (!x || bits == 8) return x;
    dim cube[3] = {x->type.shape[0], node_c(n, each), x->type.shape[1]};
    dim flat[2] = {dim_mul(n->dims, cube[0], cube[1]), cube[2]};
    for (int64_t i = 0; i < each; i++)
        shifts[i] = i * bits;
    struct value *by = build_cast(B, build_ints(B, (int)each, shifts), YJ_U8);
    x = build_broadcast_to(B, node_unsqueeze(n, x, 1, middle), 3, cube);
    x = build_2(B, OP_shift_right, x, build_broadcast(B, by, 3, cube, axes));
    return build_reshape(B, build_2(B, OP_and, x, node_like(n, (1 << bits) - 1, x)), 2, flat);
}

/* [N, count] however it is written -> [count, N]; constants are turned when they are folded. */
static struct value *columns(struct node *n, struct value *x, int64_t N, int64_t count) {
    static const int64_t turn[2] = {1, 0};
    dim shape[2] = {node_c(n, N), node_c(n, count)};
    return build_transpose(B, build_reshape(B, x, 2, shape), turn);
}

/* One row for each block of the inner dimension -> one for each of its elements. */
static struct value *spread(struct node *n, struct value *x, int64_t blocks, int64_t block, int64_t N) {
    dim cube[3] = {node_c(n, blocks), node_c(n, block), node_c(n, N)}, flat[2] = {node_c(n, blocks * block), cube[2]};
    int64_t axes[2] = {0, 2};
    return x ? build_reshape(B, build_broadcast(B, x, 3, cube, axes), 2, flat) : NULL;
}

/* y = x . w with w [K, N] in f32: per block of K, (number - zero point) * scale. */
bool onnx_matmul_nbits(struct node *n) {
    int64_t K = node_int(n, "K", 0), N = node_int(n, "N", 0), block = node_int(n, "block_size", 32),
            bits = node_int(n, "bits", 4);
    struct value *x = node_in(n, 0), *w = node_in(n, 1), *scale = node_in(n, 2), *zero;
    node_int(n, "accuracy_level", 0); /* the least that is asked for: all is f32 here */
    if (!x || !w || !scale) return false;
    if (bits != 2 && bits != 4 && bits != 8) return node_refuse(n, "%lld bits are not supported", (long long)bits);
    if (node_has(n, 4)) return node_refuse(n, "g_idx is not supported");
    if (node_int(n, "weight_prepacked", 0)) return node_refuse(n, "weights packed for another library");
    if (K < 1 || N < 1 || K > INT64_C(1) << 31 || N > INT64_C(1) << 31 || block < 16 || block > 1 << 20 || block % 16)
        return node_refuse(n, "K %lld, N %lld, block_size %lld", (long long)K, (long long)N, (long long)block);
    if (x->type.rank < 1 || w->type.dtype != YJ_U8) return node_refuse(n, "operands 0 and 1");
    int64_t blocks = (K + block - 1) / block, zero_bytes = (blocks * bits + 7) / 8;
    w = build_cast(B, unpack(n, columns(n, w, N, blocks * block * bits / 8), bits), YJ_F32);
    if (!node_has(n, 3)) {
        zero = node_like(n, (double)(1 << (bits - 1)), w);
    } else {
        zero = node_in(n, 3);
        dim start[2] = {node_c(n, 0), node_c(n, 0)}, limit[2] = {node_c(n, blocks), node_c(n, N)};
        int64_t step[2] = {1, 1};
        if (zero && zero->type.dtype == YJ_U8)
            zero = build_slice(B, unpack(n, columns(n, zero, N, zero_bytes), bits), start, limit, step);
        else
            zero = columns(n, zero, N, blocks);
        zero = spread(n, build_cast(B, zero, YJ_F32), blocks, block, N);
    }
    scale = spread(n, build_cast(B, columns(n, scale, N, blocks), YJ_F32), blocks, block, N);
    w = build_2(B, OP_mul, build_2(B, OP_sub, w, zero), scale);
    dim none[2] = {node_c(n, 0), node_c(n, 0)}, whole[2] = {node_c(n, K), node_c(n, N)};
    int64_t step[2] = {1, 1}, ca[1] = {x->type.rank - 1}, cb[1] = {0};
    if (K != blocks * block) w = build_slice(B, w, none, whole, step);
    struct value *y = build_dot(B, build_cast(B, x, YJ_F32), w, 0, NULL, NULL, 1, ca, cb);
    if (node_has(n, 5) && y)
        y = build_2(B, OP_add, y,
                    build_broadcast_to(B, build_cast(B, node_in(n, 5), YJ_F32), y->type.rank, y->type.shape));
    return node_out(n, 0, build_cast(B, y, x->type.dtype));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: dot and convolution. Both are c[m, n] = sum over k of a[m, k] * b[k, n] where each operand's place
 * is a sum of two offsets; the sum goes over ascending k by fma, from +0. Columns are taken 64 at a time into a panel
 * so that the inner loop runs over plain arrays; that changes no sum.
 */
#include "ir/graph_eval.h"
#include <math.h>
#include <stdlib.h>

#define COLUMNS 64

/* One product: M x N x K; offsets in elements of the wide arrays a, b, c. */
struct product {
    int64_t m, n, k;
    const void *a, *b;
    void *c;
    const int64_t *am, *ak, *bk, *bn, *cm, *cn;
};

#if defined(__x86_64__)
#define WITH_FMA __attribute__((target("avx2,fma")))
#define HAS_FMA (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define WITH_FMA
#define HAS_FMA false
#endif

/* T: element; FMA: how it accumulates. The same body is compiled twice, with and without fma in hardware. */
#define PRODUCT(T, name, FMA)                                                                                          \
    static inline __attribute__((always_inline)) void name##_body(const struct product *p, T *panel) {                 \
        const T *a = p->a, *b = p->b;                                                                                  \
        T *c = p->c;                                                                                                   \
        for (int64_t j = 0; j < p->n; j += COLUMNS) {                                                                  \
            int64_t wide = min64(COLUMNS, p->n - j);                                                                   \
            for (int64_t k = 0; k < p->k; k++)                                                                         \
                for (int64_t i = 0; i < COLUMNS; i++)                                                                  \
                    panel[k * COLUMNS + i] = i < wide ? b[p->bk[k] + p->bn[j + i]] : (T)0;                             \
            for (int64_t m = 0; m < p->m; m++) {                                                                       \
                T sum[COLUMNS] = {0};                                                                                  \
                for (int64_t k = 0; k < p->k; k++) {                                                                   \
                    T x = a[p->am[m] + p->ak[k]];                                                                      \
                    for (int i = 0; i < COLUMNS; i++)                                                                  \
                        sum[i] = FMA(x, panel[k * COLUMNS + i], sum[i]);                                               \
                }                                                                                                      \
                for (int64_t i = 0; i < wide; i++)                                                                     \
                    c[p->cm[m] + p->cn[j + i]] = sum[i];                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void name##_plain(const struct product *p, T *panel) {                                                      \
        name##_body(p, panel);                                                                                         \
    }                                                                                                                  \
    WITH_FMA static void name##_fma(const struct product *p, T *panel) {                                               \
        name##_body(p, panel);                                                                                         \
    }

#define INTEGER_FMA(a, b, c) ((a) * (b) + (c))
PRODUCT(float, f32, __builtin_fmaf)
PRODUCT(double, f64, __builtin_fma)
PRODUCT(uint64_t, int, INTEGER_FMA)

static enum yj_status multiply(const struct product *p, enum yj_dtype wide) {
    size_t each = wide == YJ_F32 ? 4 : 8, bytes;
    if (__builtin_mul_overflow((size_t)p->k + 1, COLUMNS * each, &bytes)) bytes = 0;
    void *panel = bytes ? malloc(bytes) : NULL;
    if (!panel)
        return report(YJ_ERR_MEMORY, "no memory to multiply %lld x %lld x %lld", (long long)p->m, (long long)p->n,
                      (long long)p->k);
    if (wide == YJ_F32)
        (HAS_FMA ? f32_fma : f32_plain)(p, panel);
    else if (wide == YJ_F64)
        (HAS_FMA ? f64_fma : f64_plain)(p, panel);
    else
        (HAS_FMA ? int_fma : int_plain)(p, panel);
    free(panel);
    return YJ_OK;
}

/* --- operands as plain arrays of the type summed in --- */

static enum yj_dtype sum_type(enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' ? dtype_wide(dtype) : YJ_I64;
}

struct wide {
    void *data;
    bool owned;
};

static enum yj_status widen(const struct tensor *t, struct wide *w) {
    enum yj_dtype to = sum_type(t->dtype);
    int64_t n = tensor_elements(t);
    *w = (struct wide){t->bytes, false};
    if (t->dtype == to) return YJ_OK;
    size_t each = yj_dtype_bytes(to);
    void *data = malloc((size_t)(n + 1) * each);
    if (!data) return report(YJ_ERR_MEMORY, "no memory for %lld elements", (long long)n);
    for (int64_t i = 0; i < n; i++)
        element_store(data, to, i, element_load(t->bytes, t->dtype, i));
    *w = (struct wide){data, true};
    return YJ_OK;
}

static enum yj_status wide_out(const struct tensor *t, enum yj_dtype wide, struct wide *w) {
    *w = (struct wide){t->bytes, false};
    if (t->dtype == wide) return YJ_OK;
    void *data = calloc((size_t)tensor_elements(t) + 1, yj_dtype_bytes(wide));
    if (!data) return report(YJ_ERR_MEMORY, "no memory for the sums");
    *w = (struct wide){data, true};
    return YJ_OK;
}

static void narrow(const struct wide *w, struct tensor *out) {
    int64_t n = tensor_elements(out);
    if (!w->owned) return;
    bool f32 = dtype_wide(out->dtype) == YJ_F32;
    for (int64_t i = 0; i < n; i++)
        element_store(out->bytes, out->dtype, i, f32 ? f32_bits(((float *)w->data)[i]) : ((uint64_t *)w->data)[i]);
}

static void wide_free(struct wide *w) {
    if (w->owned) free(w->data);
    *w = (struct wide){0};
}

/* --- dot --- */

struct box {
    int rank;
    int64_t shape[2 * GRAPH_MAX_RANK], stride[2 * GRAPH_MAX_RANK];
};

static void box_add(struct box *b, int64_t size, int64_t stride) {
    b->shape[b->rank] = size;
    b->stride[b->rank++] = stride;
}

static enum yj_status box_offsets(const struct box *b, int64_t **offsets, int64_t *n) {
    return eval_offsets(b->rank, b->shape, b->stride, offsets, n);
}

/* The axes of one operand as batch, free and contracted boxes; boxes of one operand after the other. */
static void dot_side(const struct run *r, int side, struct box box[3]) {
    const struct tensor *t = r->in[side];
    int nb, nc;
    const int64_t *batch = op_ints(r->op, side ? "batch_b" : "batch_a", &nb);
    const int64_t *sum = op_ints(r->op, side ? "contract_b" : "contract_a", &nc);
    int64_t strides[GRAPH_MAX_RANK];
    unsigned used = 0;
    tensor_strides(t, strides);
    memset(box, 0, 3 * sizeof *box);
    for (int i = 0; i < nb; i++)
        used |= 1u << batch[i], box_add(&box[0], t->shape[batch[i]], strides[batch[i]]);
    for (int i = 0; i < nc; i++)
        used |= 1u << sum[i], box_add(&box[2], t->shape[sum[i]], strides[sum[i]]);
    for (int i = 0; i < t->rank; i++)
        if (!(used >> i & 1)) box_add(&box[1], t->shape[i], strides[i]);
}

enum { BATCH_A, M_A, K_A, BATCH_B, N_B, K_B, M_C, N_C, N_LISTS };

static enum yj_status dot_lists(const struct run *r, int64_t *list[N_LISTS], int64_t n[N_LISTS]) {
    struct box box[6];
    dot_side(r, 0, box);
    dot_side(r, 1, box + 3);
    for (int i = 0; i < 6; i++)
        TRY(box_offsets(&box[i], &list[i], &n[i]));
    if (n[BATCH_A] != n[BATCH_B] || n[K_A] != n[K_B]) return eval_bad(r, "batch or contracted axes differ at run time");
    struct box m = {1, {n[M_A]}, {n[N_B]}}, c = {1, {n[N_B]}, {1}};
    TRY(box_offsets(&m, &list[M_C], &n[M_C]));
    return box_offsets(&c, &list[N_C], &n[N_C]);
}

enum yj_status eval_op_dot(struct run *r) {
    int64_t *list[N_LISTS] = {0}, n[N_LISTS];
    struct wide a = {0}, b = {0}, c = {0};
    enum yj_dtype wide = sum_type(r->in[0]->dtype);
    enum yj_status status = dot_lists(r, list, n);
    if (status == YJ_OK && n[BATCH_A] * n[M_A] * n[N_B] != tensor_elements(r->out[0]))
        status = eval_bad(r, "shapes differ at run time");
    if (status == YJ_OK) status = widen(r->in[0], &a);
    if (status == YJ_OK) status = widen(r->in[1], &b);
    if (status == YJ_OK) status = wide_out(r->out[0], wide, &c);
    size_t each = wide == YJ_F32 ? 4 : 8;
    for (int64_t i = 0; status == YJ_OK && i < n[BATCH_A]; i++) {
        struct product p = {n[M_A],
                            n[N_B],
                            n[K_A],
                            (char *)a.data + (size_t)list[BATCH_A][i] * each,
                            (char *)b.data + (size_t)list[BATCH_B][i] * each,
                            (char *)c.data + (size_t)(i * n[M_A] * n[N_B]) * each,
                            list[M_A],
                            list[K_A],
                            list[K_B],
                            list[N_B],
                            list[M_C],
                            list[N_C]};
        status = multiply(&p, wide);
    }
    if (status == YJ_OK) narrow(&c, r->out[0]);
    for (int i = 0; i < N_LISTS; i++)
        free(list[i]);
    wide_free(&a);
    wide_free(&b);
    wide_free(&c);
    return status;
}

/* --- convolution --- */

struct conv {
    int spatial;
    bool last; /* channels are the last axis */
    const int64_t *stride, *dilation;
    int64_t low[GRAPH_MAX_RANK], high[GRAPH_MAX_RANK], groups, batch, channels, filters;
    struct tensor padded;
};

static int x_axis(const struct conv *c, int i) {
    return i + (c->last ? 1 : 2);
}
static int w_axis(const struct conv *c, int i) {
    return i + (c->last ? 0 : 2);
}

/* X with its padding around it. */
static enum yj_status conv_pad(const struct run *r, struct conv *c) {
    const struct tensor *x = r->in[0];
    int64_t shape[GRAPH_MAX_RANK], start[GRAPH_MAX_RANK] = {0}, index[GRAPH_MAX_RANK] = {0}, strides[GRAPH_MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 0; i < c->spatial; i++) {
        if (c->low[i] < 0 || c->high[i] < 0) return eval_bad(r, "padding is negative");
        start[x_axis(c, i)] = c->low[i];
        shape[x_axis(c, i)] += c->low[i] + c->high[i];
    }
    TRY(tensor_new(x->dtype, x->rank, shape, &c->padded));
    tensor_strides(&c->padded, strides);
    int64_t n = tensor_elements(x);
    size_t each = yj_dtype_bytes(x->dtype);
    for (int64_t k = 0; k < n; k++) {
        int64_t at = 0;
        for (int i = 0; i < x->rank; i++)
            at += (index[i] + start[i]) * strides[i];
        memcpy((char *)c->padded.bytes + (size_t)at * each, (const char *)x->bytes + (size_t)k * each, each);
        index_next(x->rank, x->shape, index);
    }
    return YJ_OK;
}

static enum yj_status conv_facts(const struct run *r, struct conv *c) {
    const struct tensor *x = r->in[0], *w = r->in[1], *out = r->out[0];
    const char *layout = op_text(r->op, "layout");
    int n;
    *c = (struct conv){.spatial = x->rank - 2, .last = layout && strcmp(layout, "NHWC") == 0};
    c->stride = op_ints(r->op, "strides", &n);
    c->dilation = op_ints(r->op, "dilation", &n);
    c->groups = op_int(r->op, "groups", 1);
    c->batch = x->shape[0];
    c->channels = x->shape[c->last ? x->rank - 1 : 1];
    c->filters = w->shape[c->last ? w->rank - 1 : 0];
    TRY(eval_dims(r, "low", c->low));
    TRY(eval_dims(r, "high", c->high));
    if (w->shape[c->last ? w->rank - 2 : 1] * c->groups != c->channels || c->filters % c->groups != 0)
        return eval_bad(r, "channels, filters and groups do not fit at run time");
    for (int i = 0; i < c->spatial; i++) {
        int64_t room =
            x->shape[x_axis(c, i)] + c->low[i] + c->high[i] - (w->shape[w_axis(c, i)] - 1) * c->dilation[i] - 1;
        if (room < 0 || w->shape[w_axis(c, i)] < 1 || out->shape[x_axis(c, i)] != room / c->stride[i] + 1)
            return eval_bad(r, "the window does not fit spatial axis %d", i);
    }
    return conv_pad(r, c);
}

enum { X_K, X_N, W_M, W_K, C_M, C_N, N_CONV };

static enum yj_status conv_lists(const struct run *r, const struct conv *c, int64_t *list[N_CONV], int64_t n[N_CONV]) {
    const struct tensor *w = r->in[1], *out = r->out[0];
    int64_t xs[GRAPH_MAX_RANK], ws[GRAPH_MAX_RANK], cs[GRAPH_MAX_RANK];
    struct box box[N_CONV] = {0};
    tensor_strides(&c->padded, xs);
    tensor_strides(w, ws);
    tensor_strides(out, cs);
    int last = w->rank - 1;
    for (int i = 0; i < c->spatial; i++) { /* k: positions of the window first, then the channel */
        box_add(&box[X_K], w->shape[w_axis(c, i)], xs[x_axis(c, i)] * c->dilation[i]);
        box_add(&box[W_K], w->shape[w_axis(c, i)], ws[w_axis(c, i)]);
        box_add(&box[X_N], out->shape[x_axis(c, i)], xs[x_axis(c, i)] * c->stride[i]);
        box_add(&box[C_N], out->shape[x_axis(c, i)], cs[x_axis(c, i)]);
    }
    box_add(&box[X_K], c->channels / c->groups, c->last ? xs[last] : xs[1]);
    box_add(&box[W_K], c->channels / c->groups, c->last ? ws[last - 1] : ws[1]);
    box_add(&box[W_M], c->filters / c->groups, c->last ? ws[last] : ws[0]);
    box_add(&box[C_M], c->filters / c->groups, c->last ? cs[last] : cs[1]);
    for (int i = 0; i < N_CONV; i++)
        TRY(box_offsets(&box[i], &list[i], &n[i]));
    return YJ_OK;
}

static enum yj_status conv_groups(const struct run *r, const struct conv *c, int64_t *const *list, const int64_t *n,
                                  const struct wide *x, const struct wide *w, const struct wide *out) {
    enum yj_dtype wide = sum_type(r->in[0]->dtype);
    size_t each = wide == YJ_F32 ? 4 : 8;
    int64_t xs[GRAPH_MAX_RANK], ws[GRAPH_MAX_RANK], cs[GRAPH_MAX_RANK];
    int last = r->in[1]->rank - 1;
    tensor_strides(&c->padded, xs);
    tensor_strides(r->in[1], ws);
    tensor_strides(r->out[0], cs);
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t g = 0; g < c->groups; g++) {
            int64_t in_channel = g * (c->channels / c->groups), filter = g * (c->filters / c->groups);
            int64_t xo = b * xs[0] + in_channel * (c->last ? xs[last] : xs[1]);
            int64_t wo = filter * (c->last ? ws[last] : ws[0]), co = b * cs[0] + filter * (c->last ? cs[last] : cs[1]);
            struct product p = {n[W_M],
                                n[X_N],
                                n[X_K],
                                (char *)w->data + (size_t)wo * each,
                                (char *)x->data + (size_t)xo * each,
                                (char *)out->data + (size_t)co * each,
                                list[W_M],
                                list[W_K],
                                list[X_K],
                                list[X_N],
                                list[C_M],
                                list[C_N]};
            TRY(multiply(&p, wide));
        }
    return YJ_OK;
}

enum yj_status eval_op_convolution(struct run *r) {
    int64_t *list[N_CONV] = {0}, n[N_CONV];
    struct wide x = {0}, w = {0}, out = {0};
    struct conv c;
    enum yj_status status = conv_facts(r, &c);
    if (status == YJ_OK) status = conv_lists(r, &c, list, n);
    if (status == YJ_OK) status = widen(&c.padded, &x);
    if (status == YJ_OK) status = widen(r->in[1], &w);
    if (status == YJ_OK) status = wide_out(r->out[0], sum_type(r->in[0]->dtype), &out);
    if (status == YJ_OK) status = conv_groups(r, &c, list, n, &x, &w, &out);
    if (status == YJ_OK) narrow(&out, r->out[0]);
    for (int i = 0; i < N_CONV; i++)
        free(list[i]);
    wide_free(&x);
    wide_free(&w);
    wide_free(&out);
    free(c.padded.bytes);
    return status;
}

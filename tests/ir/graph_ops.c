/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of scalar.def and ops.def, every element type it is defined on, constant and symbolic shapes: the graph
 * verifies, prints and parses to itself, copies to itself, and evaluates to what a second, even plainer definition
 * says, written here one element at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/ir/graph_cases.h"
#include "tests/ir/scalar_reference.h"

/* --- one element of each op --- */

struct see {
    const struct graph_case *c;
    const struct op *op;
    int rank;
};
typedef uint64_t ref_fn(const struct see *s, int result, const int64_t *i);

static const struct tensor *operand_on(const struct see *s, const struct op *op, int k, int rank) {
    return &s->c->inputs[rank * s->c->g->n_in + op->in[k]->index];
}

static const struct tensor *operand(const struct see *s, int k) {
    return operand_on(s, s->op, k, s->rank);
}

static uint64_t at(const struct tensor *t, const int64_t *i) {
    int64_t flat = 0;
    for (int a = 0; a < t->rank; a++) {
        assert_true(i[a] >= 0 && i[a] < t->shape[a]);
        flat = flat * t->shape[a] + i[a];
    }
    return element_load(t->bytes, t->dtype, flat);
}

static enum yj_dtype wide_of(const struct see *s) {
    return dtype_wide(s->c->dtype);
}

static const int64_t *ints(const struct see *s, const char *name) {
    int n;
    return op_ints(s->op, name, &n);
}

static int64_t dim_at(const struct see *s, const char *name, int i) {
    int n;
    return case_size(op_dims(s->op, name, &n)[i]);
}

static enum op_kind kind_at(const struct see *s, const char *name) {
    enum op_kind kind;
    assert_true(op_find(op_text(s->op, name), &kind));
    return kind;
}

static int axis_of(const struct see *s) {
    return (int)op_int(s->op, "axis", 0);
}

static uint64_t ref_elementwise(const struct see *s, int result, const int64_t *i) {
    uint64_t a[3] = {0};
    for (int k = 0; k < s->op->n_in; k++)
        a[k] = at(operand(s, k), i);
    return ref_scalar(s->op->kind, wide_of(s), a[0], a[1], a[2]);
}

static uint64_t ref_constant(const struct see *s, int result, const int64_t *i) {
    return element_load(s->op->data.bytes, s->c->dtype, i[0] * 3 + i[1]);
}

static uint64_t ref_iota(const struct see *s, int result, const int64_t *i) {
    int64_t v = i[axis_of(s)];
    enum yj_dtype dtype = s->op->out[0]->type.dtype;
    return dtype_kind(dtype) == 'f' ? of_number(dtype_wide(dtype), (double)v) : (uint64_t)v;
}

static uint64_t ref_dims(const struct see *s, int result, const int64_t *i) {
    return (uint64_t)dim_at(s, "values", (int)i[0]);
}

static uint64_t ref_cast(const struct see *s, int result, const int64_t *i) {
    enum yj_dtype from = dtype_wide(s->c->dtype), to = s->op->out[0]->type.dtype;
    uint64_t v = at(operand(s, 0), i);
    char a = dtype_kind(from), b = dtype_kind(to);
    double d = a == 'f' ? number(from, v) : a == 'i' ? (double)(int64_t)v : (double)v;
    if (b == 'b') return a == 'f' ? d != 0 : v != 0;
    if (b == 'f' && dtype_wide(to) == YJ_F64) return f64_bits(d);
    if (b == 'f' && a != 'f' && yj_dtype_bytes(s->c->dtype) == 8)
        return scalar_cast(YJ_F32, s->c->dtype, v); /* twice rounded */
    if (b == 'f') return f32_bits((float)d);
    if (a != 'f') return v;
    if (isnan(d) || fabs(d) > 100) return scalar_cast(to, from, v); /* out of range: tests of scalar.c */
    return d < 0 && b == 'u' ? scalar_cast(to, from, v) : (uint64_t)(int64_t)d;
}

static uint64_t ref_bitcast(const struct see *s, int result, const int64_t *i) {
    struct tensor t = *operand(s, 0);
    t.dtype = s->op->out[0]->type.dtype;
    return at(&t, i);
}

static uint64_t ref_reshape(const struct see *s, int result, const int64_t *i) {
    const struct type *t = &s->op->out[0]->type;
    int64_t flat = 0;
    for (int a = 0; a < t->rank; a++)
        flat = flat * case_size(t->shape[a]) + i[a];
    return element_load(operand(s, 0)->bytes, s->c->dtype, flat);
}

static uint64_t ref_transpose(const struct see *s, int result, const int64_t *i) {
    int64_t from[8];
    for (int a = 0; a < 4; a++)
        from[ints(s, "permutation")[a]] = i[a];
    return at(operand(s, 0), from);
}

static uint64_t ref_broadcast(const struct see *s, int result, const int64_t *i) {
    int64_t from[8];
    for (int a = 0; a < 2; a++)
        from[a] = operand(s, 0)->shape[a] == 1 ? 0 : i[ints(s, "axes")[a]];
    return at(operand(s, 0), from);
}

static uint64_t ref_slice(const struct see *s, int result, const int64_t *i) {
    int64_t from[2];
    for (int a = 0; a < 2; a++)
        from[a] = dim_at(s, "start", a) + i[a] * ints(s, "stride")[a];
    return at(operand(s, 0), from);
}

static uint64_t ref_reverse(const struct see *s, int result, const int64_t *i) {
    int64_t from[3] = {i[0], i[1], i[2]};
    int n;
    const int64_t *axes = op_ints(s->op, "axes", &n);
    for (int k = 0; k < n; k++)
        from[axes[k]] = operand(s, 0)->shape[axes[k]] - 1 - i[axes[k]];
    return at(operand(s, 0), from);
}

static uint64_t ref_concat(const struct see *s, int result, const int64_t *i) {
    int64_t from[2] = {i[0], i[1]};
    for (int k = 0; k < s->op->n_in; k++) {
        int64_t size = operand(s, k)->shape[axis_of(s)];
        if (from[axis_of(s)] < size) return at(operand(s, k), from);
        from[axis_of(s)] -= size;
    }
    fail_msg("beyond the operands");
    return 0;
}

static uint64_t ref_pad(const struct see *s, int result, const int64_t *i) {
    int64_t from[2];
    for (int a = 0; a < 2; a++) {
        from[a] = i[a] - dim_at(s, "low", a);
        if (from[a] < 0 || from[a] >= operand(s, 0)->shape[a]) return at(operand(s, 1), NULL);
    }
    return at(operand(s, 0), from);
}

static uint64_t ref_gather(const struct see *s, int result, const int64_t *i) {
    int64_t from[3];
    int axis = axis_of(s);
    for (int a = 0; a < 3; a++)
        from[a] = a < axis ? i[a] : a == axis ? (int64_t)at(operand(s, 1), i + axis) : i[a + 1];
    return at(operand(s, 0), from);
}

static uint64_t ref_gather_nd(const struct see *s, int result, const int64_t *i) {
    int64_t from[3] = {i[0]}, index[3] = {i[0], i[1], 0};
    int batch = (int)op_int(s->op, "batch", 0), depth = (int)operand(s, 1)->shape[2], at_axis = batch;
    for (int d = 0; d < depth; d++, index[2] = d)
        from[at_axis++] = (int64_t)at(operand(s, 1), index);
    for (int a = 2; at_axis < 3; a++)
        from[at_axis++] = i[a];
    return at(operand(s, 0), from);
}

static uint64_t ref_scatter(const struct see *s, int result, const int64_t *i) {
    uint64_t v = at(operand(s, 0), i);
    bool none = strcmp(op_text(s->op, "combine"), "none") == 0;
    for (int64_t k = 0; k < operand(s, 1)->shape[0]; k++) {
        int64_t index[2] = {k, 0}, from[2] = {k, i[1]};
        if ((int64_t)at(operand(s, 1), index) != i[0]) continue;
        uint64_t u = at(operand(s, 2), from);
        v = none ? u : cut(s->c->dtype, ref_scalar(kind_at(s, "combine"), wide_of(s), v, u, 0));
    }
    return v;
}

static uint64_t ref_update_slice(const struct see *s, int result, const int64_t *i) {
    int64_t from[2] = {i[0] - dim_at(s, "start", 0), i[1] - dim_at(s, "start", 1)};
    bool inside =
        from[0] >= 0 && from[0] < operand(s, 1)->shape[0] && from[1] >= 0 && from[1] < operand(s, 1)->shape[1];
    return inside ? at(operand(s, 1), from) : at(operand(s, 0), i);
}

/* Joins V into SUM; the first value is taken as it is. */
static void take(const struct see *s, enum op_kind kind, bool *first, uint64_t *sum, uint64_t v) {
    *sum = *first ? v : ref_scalar(kind, wide_of(s), *sum, v, 0);
    *first = false;
}

static uint64_t nothing(const struct see *s, enum op_kind kind) { /* the neutral element */
    enum yj_dtype w = wide_of(s);
    char k = dtype_kind(w);
    int64_t top = k == 'i' ? INT64_MAX >> (64 - yj_dtype_bytes(w) * 8) : -1;
    if (kind == OP_mul) return k == 'f' ? of_number(w, 1) : 1;
    if (kind == OP_min) return k == 'f' ? of_number(w, INFINITY) : cut(w, (uint64_t)top);
    if (kind == OP_max) return k == 'f' ? of_number(w, -INFINITY) : cut(w, (uint64_t)(k == 'i' ? -top - 1 : 0));
    return 0;
}

static uint64_t ref_reduce(const struct see *s, int result, const int64_t *i) {
    const struct tensor *x = operand(s, 0);
    int n;
    const int64_t *axes = op_ints(s->op, "axes", &n);
    int64_t from[3];
    bool first = true;
    uint64_t sum = 0;
    for (from[0] = 0; from[0] < x->shape[0]; from[0]++)
        for (from[1] = 0; from[1] < x->shape[1]; from[1]++)
            for (from[2] = 0; from[2] < x->shape[2]; from[2]++) {
                bool mine = true;
                for (int a = 0, k = 0, o = 0; a < 3; a++) {
                    if (k < n && axes[k] == a)
                        k++;
                    else
                        mine = mine && from[a] == i[o++];
                }
                if (mine) take(s, kind_at(s, "kind"), &first, &sum, at(x, from));
            }
    return sum;
}

/* Does A stand before B in ascending order? */
static bool before(enum yj_dtype w, uint64_t a, uint64_t b) {
    if (dtype_kind(w) != 'f') return dtype_kind(w) == 'i' ? (int64_t)a < (int64_t)b : a < b;
    double x = number(w, a), y = number(w, b);
    return isnan(y) ? !isnan(x) : x < y;
}

static uint64_t ref_arg_reduce(const struct see *s, int result, const int64_t *i) {
    const struct tensor *x = operand(s, 0);
    int axis = axis_of(s);
    bool max = strcmp(op_text(s->op, "kind"), "max") == 0, last = op_int(s->op, "last", 0);
    int64_t from[3], best = 0;
    for (int a = 0, o = 0; a < 3; a++)
        from[a] = a == axis ? 0 : i[o++];
    uint64_t top = at(x, from);
    for (int64_t k = 0; k < x->shape[axis]; k++) {
        from[axis] = k;
        uint64_t v = at(x, from);
        if (dtype_kind(wide_of(s)) == 'f' && isnan(number(wide_of(s), v))) return (uint64_t)k;
        bool better = max ? before(wide_of(s), top, v) : before(wide_of(s), v, top);
        bool equal = !before(wide_of(s), top, v) && !before(wide_of(s), v, top);
        if (better || (equal && last)) best = k, top = v;
    }
    return (uint64_t)best;
}

static uint64_t ref_cumulative(const struct see *s, int result, const int64_t *i) {
    int axis = axis_of(s);
    bool exclusive = op_int(s->op, "exclusive", 0), reverse = op_int(s->op, "reverse", 0), first = true;
    uint64_t sum = nothing(s, kind_at(s, "kind"));
    int64_t from[2] = {i[0], i[1]}, n = operand(s, 0)->shape[axis];
    for (int64_t k = 0; k < n; k++) {
        from[axis] = reverse ? n - 1 - k : k;
        if (exclusive && from[axis] == i[axis]) return sum;
        take(s, kind_at(s, "kind"), &first, &sum, at(operand(s, 0), from));
        if (from[axis] == i[axis]) return sum;
    }
    return sum;
}

static uint64_t ref_sort(const struct see *s, int result, const int64_t *i) {
    const struct tensor *x = operand(s, 0);
    int axis = axis_of(s);
    bool down = op_int(s->op, "descending", 0);
    int64_t a[2] = {i[0], i[1]}, b[2] = {i[0], i[1]}, n = x->shape[axis];
    for (int64_t k = 0; k < n; k++) { /* the element that has exactly i[axis] others before it */
        int64_t rank = 0;
        a[axis] = k;
        for (int64_t j = 0; j < n; j++) {
            b[axis] = j;
            uint64_t v = at(x, a), u = at(x, b);
            bool u_first = down ? before(wide_of(s), v, u) : before(wide_of(s), u, v);
            bool v_first = down ? before(wide_of(s), u, v) : before(wide_of(s), v, u);
            rank += u_first || (!v_first && j < k);
        }
        if (rank == i[axis]) return result ? (uint64_t)k : at(x, a);
    }
    fail_msg("no element of that rank");
    return 0;
}

static enum yj_dtype product_wide(const struct see *s) {
    return dtype_kind(s->c->dtype) == 'f' ? wide_of(s) : YJ_I64;
}

static uint64_t multiply_add(const struct see *s, uint64_t a, uint64_t b, uint64_t sum) {
    enum yj_dtype w = product_wide(s);
    return w == YJ_I64 ? a * b + sum : ref_scalar(OP_fma, w, a, b, sum);
}

static uint64_t ref_dot(const struct see *s, int result, const int64_t *i) {
    const struct tensor *a = operand(s, 0), *b = operand(s, 1);
    int64_t ba = ints(s, "batch_a")[0], bb = ints(s, "batch_b")[0], fa = 6 - ba, fb = 6 - bb, ia[4], ib[4];
    const int64_t *ca = ints(s, "contract_a"), *cb = ints(s, "contract_b");
    fa -= ca[0] + ca[1], fb -= cb[0] + cb[1];
    ia[ba] = ib[bb] = i[0], ia[fa] = i[1], ib[fb] = i[2];
    uint64_t sum = 0;
    for (int64_t k = 0; k < a->shape[ca[0]]; k++)
        for (int64_t l = 0; l < a->shape[ca[1]]; l++) {
            ia[ca[0]] = ib[cb[0]] = k, ia[ca[1]] = ib[cb[1]] = l;
            sum = multiply_add(s, at(a, ia), at(b, ib), sum);
        }
    return sum;
}

static uint64_t ref_convolution(const struct see *s, int result, const int64_t *i) {
    const struct tensor *x = operand(s, 0), *w = operand(s, 1);
    bool last = op_text(s->op, "layout") != NULL;
    int64_t groups = op_int(s->op, "groups", 0), filters = w->shape[last ? 3 : 0], cg = w->shape[last ? 2 : 1];
    int64_t f = i[last ? 3 : 1], group = f / (filters / groups), k[2];
    const int64_t *kernel = w->shape + (last ? 0 : 2), *size = x->shape + (last ? 1 : 2), *o = i + (last ? 1 : 2);
    uint64_t sum = 0;
    for (k[0] = 0; k[0] < kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < kernel[1]; k[1]++)
            for (int64_t c = 0; c < cg; c++) {
                int64_t p[2], wi[4] = {f, c, k[0], k[1]}, wl[4] = {k[0], k[1], c, f};
                bool inside = true;
                for (int a = 0; a < 2; a++) {
                    p[a] = o[a] * ints(s, "strides")[a] + k[a] * ints(s, "dilation")[a] - dim_at(s, "low", a);
                    inside = inside && p[a] >= 0 && p[a] < size[a];
                }
                int64_t xi[4] = {i[0], group * cg + c, p[0], p[1]}, xl[4] = {i[0], p[0], p[1], group * cg + c};
                sum = multiply_add(s, inside ? at(x, last ? xl : xi) : 0, at(w, last ? wl : wi), sum);
            }
    return sum;
}

static uint64_t ref_reduce_window(const struct see *s, int result, const int64_t *i) {
    const struct tensor *x = operand(s, 0);
    int64_t w[3], p[3];
    bool first = true;
    uint64_t sum = nothing(s, kind_at(s, "kind"));
    for (w[0] = 0; w[0] < ints(s, "window")[0]; w[0]++)
        for (w[1] = 0; w[1] < ints(s, "window")[1]; w[1]++)
            for (w[2] = 0; w[2] < ints(s, "window")[2]; w[2]++) {
                bool inside = true;
                for (int a = 0; a < 3; a++) {
                    p[a] = i[a] * ints(s, "strides")[a] + w[a] - dim_at(s, "low", a);
                    inside = inside && p[a] >= 0 && p[a] < x->shape[a];
                }
                if (inside) take(s, kind_at(s, "kind"), &first, &sum, at(x, p));
            }
    return sum;
}

static uint64_t ref_pack(const struct see *s, int result, const int64_t *i) {
    return at(operand(s, 0), i);
}

static uint64_t joiner(const struct see *s, int which, uint64_t a, uint64_t b) {
    return ref_scalar(case_joiner(s->c, which), wide_of(s), a, b, 0);
}

static uint64_t ref_composite(const struct see *s, int result, const int64_t *i) {
    uint64_t a = at(operand(s, 0), i), b = at(operand(s, 1), i);
    return result ? b : joiner(s, 1, joiner(s, 0, a, b), a);
}

static uint64_t ref_if(const struct see *s, int result, const int64_t *i) {
    return joiner(s, at(operand(s, 0), NULL) ? 0 : 1, at(operand(s, 1), i), at(operand(s, 2), i));
}

static int64_t loop_trips(const struct see *s) {
    return at(operand(s, 1), NULL) ? min64((int64_t)at(operand(s, 0), NULL), 3) : 0;
}

static uint64_t ref_loop(const struct see *s, int result, const int64_t *i) {
    uint64_t x = at(operand(s, 2), i + (result == 2)), y = at(operand(s, 3), i + (result == 2));
    int64_t n = result == 2 ? i[0] : loop_trips(s);
    for (int64_t k = 0; k < n; k++)
        x = joiner(s, 0, x, y);
    return result == 1 ? y : x;
}

static uint64_t ref_collective(const struct see *s, int result, const int64_t *i) {
    const struct op *op = s->op->in[0]->op;
    bool p = strcmp(op_text(op, "axis"), "p") == 0;
    int n = p ? 2 : 3, step = p ? 1 : 2, mine = s->rank / step % n, first = s->rank - mine * step;
    int64_t from[2] = {i[0], i[1]};
    const struct tensor *t = operand_on(s, op, 0, s->rank);
    int rank = s->rank;
    if (op->kind == OP_all_gather) {
        int64_t d = op_int(op, "dim", 0);
        rank = first + (int)(from[d] / t->shape[d]) * step;
        from[d] %= t->shape[d];
    } else if (op->kind == OP_all_to_all) {
        int64_t d = op_int(op, "concat", 0), part = t->shape[1] / n, each = d == 1 ? part : t->shape[d];
        rank = first + (int)(from[d] / each) * step;
        from[d] %= each;
        from[1] += mine * part;
    } else {
        if (op->kind == OP_reduce_scatter) from[1] += mine * (t->shape[1] / n);
        bool start = true;
        uint64_t sum = 0;
        enum op_kind kind;
        assert_true(op_find(op_text(op, "kind"), &kind));
        for (int k = 0; k < n; k++)
            take(s, kind, &start, &sum, at(operand_on(s, op, 0, first + k * step), from));
        return sum;
    }
    return at(operand_on(s, op, 0, rank), from);
}

static ref_fn *reference(enum op_kind kind) {
    if (op_is(kind, 'E')) return ref_elementwise;
    switch ((int)kind) {
#define ROW(name)                                                                                                      \
    case OP_##name:                                                                                                    \
        return ref_##name
        ROW(constant);
        ROW(iota);
        ROW(dims);
        ROW(cast);
        ROW(bitcast);
        ROW(reshape);
        ROW(transpose);
        ROW(broadcast);
        ROW(slice);
        ROW(reverse);
        ROW(concat);
        ROW(pad);
        ROW(gather);
        ROW(gather_nd);
        ROW(scatter);
        ROW(update_slice);
        ROW(reduce);
        ROW(arg_reduce);
        ROW(cumulative);
        ROW(sort);
        ROW(dot);
        ROW(convolution);
        ROW(reduce_window);
        ROW(pack);
        ROW(composite);
        ROW(if);
        ROW(loop);
#undef ROW
    case OP_fused:
        return ref_composite;
    case OP_bind:
        return ref_iota;
    default:
        return ref_collective;
    }
}

/* --- the loop --- */

static void check_text(struct graph_case *c) {
    struct text a = {0}, b = {0}, d = {0};
    struct graph *again;
    graph_print(&a, c->g);
    if (graph_parse(c->arena, a.data, "case", &again) != YJ_OK) fail_msg("%s\n%s", yj_error_text(), a.data);
    graph_print(&b, again);
    assert_string_equal(a.data, b.data);
    struct graph *copy = graph_copy(c->arena, c->g);
    graph_print(&d, copy);
    assert_string_equal(a.data, d.data);
    if (graph_verify(copy) != YJ_OK) fail_msg("copy: %s", yj_error_text());
    text_free(&a);
    text_free(&b);
    text_free(&d);
}

static bool close_enough(enum op_kind kind, enum yj_dtype dtype, uint64_t a, uint64_t b) {
    if (dtype_kind(dtype) != 'f') return a == b;
    double x = number(dtype_wide(dtype), a), y = number(dtype_wide(dtype), b);
    if (isnan(x) || isnan(y)) return isnan(x) && isnan(y);
    if (x == y) return signbit(x) == signbit(y) || kind >= OP_FIRST_TENSOR + 1;
    return strchr(op_info[kind].flags, 'E') && strchr(scalar_info[kind].types, 'm') && fabs(x - y) <= 1e-6 * fabs(y);
}

static void check_result(const struct graph_case *c, int r, int rank, const struct tensor *t) {
    struct see s = {c, c->op, rank};
    int64_t i[GRAPH_MAX_RANK] = {0}, n = (int64_t)(t->n_bytes / yj_dtype_bytes(t->dtype));
    enum op_kind kind = c->op->kind;
    for (int64_t k = 0; k < n; k++) {
        uint64_t want = cut(t->dtype, reference(kind)(&s, r, i)), have = element_load(t->bytes, t->dtype, k);
        if (!close_enough(kind, t->dtype, have, want)) {
            struct text text = {0};
            graph_print(&text, c->g);
            fail_msg("%s on %s, result %d rank %d element %lld: %llx, not %llx\n%s", op_info[kind].name,
                     yj_dtype_name(c->dtype), r, rank, (long long)k, (unsigned long long)have, (unsigned long long)want,
                     text.data);
        }
        for (int a = t->rank - 1; a >= 0 && ++i[a] == t->shape[a]; a--)
            i[a] = 0;
    }
}

/* Shapes are those that inference promised; a dim that the graph itself binds is read from the operand. */
static void check_shape(const struct graph_case *c, int r, const struct tensor *t) {
    const struct type *type = &c->op->out[r]->type;
    struct see s = {c, c->op, 0};
    assert_int_equal(t->rank, type->rank);
    assert_int_equal(t->dtype, type->dtype);
    for (int a = 0; a < t->rank; a++) {
        const char *name = type->shape[a]->name;
        bool own = name && (strcmp(name, "T") == 0 || strcmp(name, "born") == 0 || strcmp(name, "late") == 0);
        int64_t want = !own ? case_size(type->shape[a])
                       : c->op->kind == OP_loop
                           ? loop_trips(&s)
                           : (int64_t)element_load(c->inputs[0].bytes, YJ_I64, strcmp(name, "late") == 0);
        assert_int_equal(t->shape[a], want);
    }
}

static int run_case(enum op_kind kind, enum yj_dtype dtype, uint64_t seed, bool symbolic) {
    struct graph_case c;
    struct tensor out[6 * 3];
    if (!graph_case_make(&c, kind, dtype, seed, symbolic)) return 0;
    if (graph_verify(c.g) != YJ_OK) fail_msg("%s: %s", op_info[kind].name, yj_error_text());
    check_text(&c);
    if (graph_eval(c.g, c.inputs, out, NULL, NULL) != YJ_OK) fail_msg("%s", yj_error_text());
    for (int i = 0; i < c.g->n_out * c.ranks; i++) {
        check_shape(&c, i % c.g->n_out, &out[i]);
        check_result(&c, i % c.g->n_out, i / c.g->n_out, &out[i]);
        tensor_free(&out[i]);
    }
    graph_case_free(&c);
    return 1;
}

static void test_every_row(void **state) {
    for (int kind = 0; kind < OP_COUNT; kind++) {
        int cases = 0;
        for (int dtype = YJ_F32; dtype <= YJ_BOOL; dtype++)
            for (int n = 0; n < 8; n++)
                cases +=
                    run_case((enum op_kind)kind, (enum yj_dtype)dtype, (uint64_t)(kind * 1000 + dtype * 20 + n), n & 1);
        if (!cases) fail_msg("%s was never made", op_info[kind].name);
    }
}

static void test_names(void **state) {
    for (int i = 0; i < OP_COUNT; i++) {
        enum op_kind kind;
        assert_true(op_find(op_info[i].name, &kind));
        if ((int)kind != i) fail_msg("two rows are called %s", op_info[i].name);
        assert_true(*op_info[i].doc && *op_info[i].vjp && *op_info[i].shard);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

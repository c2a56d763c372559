/* SPDX-License-Identifier: Apache-2.0
 *
 * Result types from operands: arity and attributes as the row of ops.def says, then one function for each shape rule
 * (this file: elementwise, data and views; graph_infer_ops.c: the rest). Shapes are dim expressions: what is known to
 * be wrong is refused, what nobody can tell is left to evaluation.
 */
#include "ir/graph_infer.h"

/* --- helpers shared by the rules --- */

struct type *infer_result(struct infer *f, enum yj_dtype dtype) {
    struct type *t = &f->out[f->n++];
    *t = (struct type){.dtype = dtype};
    return t;
}

void infer_add(struct type *t, dim d) {
    if (t->rank < GRAPH_MAX_RANK) t->shape[t->rank] = d;
    t->rank++; /* too many are found by infer_types */
}

bool infer_differ(struct infer *f, dim a, dim b) {
    enum dim_known equal = a == b ? DIM_YES : dim_equal(f->t, a, b);
    if (equal == DIM_UNKNOWN && f->unsure) f->unsure(f->user, a, b, f->or_one);
    return equal == DIM_NO;
}

bool infer_negative(struct infer *f, dim d) {
    return d->high < 0 || dim_less(f->t, d, dim_const(f->t, 0)) == DIM_YES;
}

const char *infer_type_of(struct infer *f, int operand) {
    return type_text(f->op->graph->arena, &f->op->in[operand]->type);
}

const char *infer_dim_text(struct infer *f, dim d) {
    struct text t = {0};
    dim_print(&t, d);
    const char *s = arena_text(f->op->graph->arena, "%s", t.failed || !t.data ? "?" : t.data);
    text_free(&t);
    return s;
}

enum yj_status infer_axis(struct infer *f, const char *what, int64_t axis, int rank) {
    if (axis < 0 || axis >= rank) return BAD(f, "%s %lld is not an axis of rank %d", what, (long long)axis, rank);
    return YJ_OK;
}

/* AXES of an operand of rank RANK: each once. */
enum yj_status infer_axes(struct infer *f, const char *what, const int64_t *axes, int n, int rank) {
    unsigned seen = 0;
    for (int i = 0; i < n; i++) {
        TRY(infer_axis(f, what, axes[i], rank));
        if (seen >> axes[i] & 1) return BAD(f, "%s names axis %lld twice", what, (long long)axes[i]);
        seen |= 1u << axes[i];
    }
    return YJ_OK;
}

enum yj_status infer_count(struct infer *f, const char *name, int n, int want) {
    if (n != want) return BAD(f, "%s has %d entries and should have %d", name, n, want);
    return YJ_OK;
}

enum yj_status infer_dtype(struct infer *f, const char *attr, enum yj_dtype *dtype) {
    const char *name = op_text(f->op, attr);
    if (!name || !dtype_parse(name, dtype)) return BAD(f, "%s: no element type is called '%s'", attr, name ? name : "");
    return YJ_OK;
}

bool infer_kind_in(const char *kind, const char *const *list) {
    for (; *list; list++)
        if (strcmp(kind, *list) == 0) return true;
    return false;
}

/* --- elementwise and data --- */

static enum yj_status elementwise(struct infer *f) {
    const struct op *op = f->op;
    const struct scalar_info *row = &scalar_info[op->kind];
    bool select = op->kind == OP_select;
    const struct type *first = &op->in[select ? 1 : 0]->type;
    if (select && op->in[0]->type.dtype != YJ_BOOL) return BAD(f, "operand 0 is %s, not bool", infer_type_of(f, 0));
    if (!strchr(row->types, dtype_kind(first->dtype)))
        return BAD(f, "it is not defined on %s", yj_dtype_name(first->dtype));
    struct type *r = infer_result(f, row->result == 'b' ? YJ_BOOL : first->dtype);
    for (int i = 0; i < op->n_in; i++) {
        const struct type *t = &op->in[i]->type;
        if (i > (select ? 1 : 0) && t->dtype != first->dtype)
            return BAD(f, "operands are of different types: %s and %s", infer_type_of(f, select ? 1 : 0),
                       infer_type_of(f, i));
        if (t->rank != op->in[0]->type.rank)
            return BAD(f, "operands have different shapes: %s and %s", infer_type_of(f, 0), infer_type_of(f, i));
    }
    for (int a = 0; a < op->in[0]->type.rank; a++) {
        dim d = op->in[0]->type.shape[a];
        for (int i = 1; i < op->n_in; i++) {
            dim e = op->in[i]->type.shape[a];
            if (infer_differ(f, d, e))
                return BAD(f, "operands have different shapes: %s and %s", infer_type_of(f, 0), infer_type_of(f, i));
            int64_t value;
            if (dim_is_const(e, &value)) d = e; /* the more is known the better */
        }
        infer_add(r, d);
    }
    return YJ_OK;
}

static enum yj_status rule_constant(struct infer *f) {
    const struct op *op = f->op;
    if (op->n_out != 1 || !op->out[0]) return BAD(f, "a constant has one result");
    const struct type *t = &op->out[0]->type;
    size_t each = yj_dtype_bytes(t->dtype);
    if (!each) return BAD(f, "no element type has number %d", (int)t->dtype);
    if (t->rank < 0 || t->rank > GRAPH_MAX_RANK) return BAD(f, "rank %d is not in 0..%d", t->rank, GRAPH_MAX_RANK);
    size_t bytes = each;
    for (int i = 0; i < t->rank; i++) {
        int64_t n;
        if (!t->shape[i] || !dim_is_const(t->shape[i], &n) || n < 0)
            return BAD(f, "axis %d of a constant is not a number", i);
        if (__builtin_mul_overflow(bytes, (size_t)n, &bytes)) return BAD(f, "the constant is too large");
    }
    const char *split = op_text(op, "split");
    int parts = split ? mesh_size(op->graph, split) : 1;
    if (parts < 1) return BAD(f, "the mesh has no axis '%s'", split);
    if (__builtin_mul_overflow(bytes, (size_t)parts, &bytes)) return BAD(f, "the constant is too large");
    if (bytes != op->data.n_bytes)
        return BAD(f, "it has %zu bytes of data and its type needs %zu", op->data.n_bytes, bytes);
    if (!op->data.bytes && op->data.weight < 0 && bytes) return BAD(f, "it has no data");
    *infer_result(f, t->dtype) = *t;
    return YJ_OK;
}

/* A shape given by an attribute. */
static enum yj_status shape_attr(struct infer *f, const char *name, struct type *r) {
    int n;
    const dim *shape = op_dims(f->op, name, &n);
    for (int i = 0; i < n; i++) {
        if (infer_negative(f, shape[i])) return BAD(f, "axis %d of %s is negative", i, name);
        infer_add(r, shape[i]);
    }
    return YJ_OK;
}

static enum yj_status rule_iota(struct infer *f) {
    enum yj_dtype dtype;
    TRY(infer_dtype(f, "dtype", &dtype));
    if (dtype == YJ_BOOL) return BAD(f, "there is no iota of bool");
    struct type *r = infer_result(f, dtype);
    TRY(shape_attr(f, "shape", r));
    return infer_axis(f, "axis", op_int(f->op, "axis", 0), r->rank);
}

static enum yj_status rule_dims(struct infer *f) {
    int n;
    op_dims(f->op, "values", &n);
    infer_add(infer_result(f, YJ_I64), dim_const(f->t, n));
    return YJ_OK;
}

static enum yj_status rule_cast(struct infer *f) {
    enum yj_dtype to;
    TRY(infer_dtype(f, "to", &to));
    struct type *r = infer_result(f, to);
    *r = f->op->in[0]->type;
    r->dtype = to;
    return YJ_OK;
}

static enum yj_status rule_bitcast(struct infer *f) {
    TRY(rule_cast(f));
    enum yj_dtype from = f->op->in[0]->type.dtype, to = f->out[0].dtype;
    if (yj_dtype_bytes(from) != yj_dtype_bytes(to) || (from == YJ_BOOL) != (to == YJ_BOOL))
        return BAD(f, "%s and %s do not have the same bits", yj_dtype_name(from), yj_dtype_name(to));
    return YJ_OK;
}

/* --- views --- */

static enum yj_status rule_reshape(struct infer *f) {
    const struct type *x = &f->op->in[0]->type;
    struct type *r = infer_result(f, x->dtype);
    TRY(shape_attr(f, "shape", r));
    if (r->rank > GRAPH_MAX_RANK) return YJ_OK;
    if (infer_differ(f, type_elements(f->t, x), type_elements(f->t, r)))
        return BAD(f, "%s and %s have different numbers of elements", infer_type_of(f, 0),
                   type_text(f->op->graph->arena, r));
    return YJ_OK;
}

static enum yj_status rule_transpose(struct infer *f) {
    const struct type *x = &f->op->in[0]->type;
    int n;
    const int64_t *p = op_ints(f->op, "permutation", &n);
    TRY(infer_count(f, "permutation", n, x->rank));
    TRY(infer_axes(f, "permutation", p, n, x->rank));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < n; i++)
        infer_add(r, x->shape[p[i]]);
    return YJ_OK;
}

static enum yj_status rule_broadcast(struct infer *f) {
    const struct type *x = &f->op->in[0]->type;
    int n;
    const int64_t *axes = op_ints(f->op, "axes", &n);
    struct type *r = infer_result(f, x->dtype);
    TRY(shape_attr(f, "shape", r));
    TRY(infer_count(f, "axes", n, x->rank));
    if (r->rank > GRAPH_MAX_RANK) return YJ_OK;
    TRY(infer_axes(f, "axes", axes, n, r->rank));
    f->or_one = true;
    for (int i = 0; i < n; i++)
        if (!dim_is(x->shape[i], 1) && infer_differ(f, x->shape[i], r->shape[axes[i]]))
            return BAD(f, "axis %d of %s does not spread over %s", i, infer_type_of(f, 0),
                       infer_dim_text(f, r->shape[axes[i]]));
    return YJ_OK;
}

static enum yj_status rule_slice(struct infer *f) {
    const struct type *x = &f->op->in[0]->type;
    int n, m, s;
    const dim *start = op_dims(f->op, "start", &n), *limit = op_dims(f->op, "limit", &m);
    const int64_t *stride = op_ints(f->op, "stride", &s);
    TRY(infer_count(f, "start", n, x->rank));
    TRY(infer_count(f, "limit", m, x->rank));
    TRY(infer_count(f, "stride", s, x->rank));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < n; i++) {
        if (stride[i] < 1) return BAD(f, "stride %lld on axis %d is below 1", (long long)stride[i], i);
        if (infer_negative(f, start[i])) return BAD(f, "axis %d starts before 0", i);
        dim length = dim_sub(f->t, limit[i], start[i]);
        if (infer_negative(f, length)) return BAD(f, "axis %d ends before it starts", i);
        if (dim_less(f->t, x->shape[i], limit[i]) == DIM_YES)
            return BAD(f, "the limit %s on axis %d is beyond %s", infer_dim_text(f, limit[i]), i, infer_type_of(f, 0));
        infer_add(r, dim_ceil_div(f->t, length, dim_const(f->t, stride[i])));
    }
    return YJ_OK;
}

static enum yj_status rule_same(struct infer *f) {
    *infer_result(f, f->op->in[0]->type.dtype) = f->op->in[0]->type;
    return YJ_OK;
}

static enum yj_status rule_reverse(struct infer *f) {
    int n;
    const int64_t *axes = op_ints(f->op, "axes", &n);
    TRY(infer_axes(f, "axes", axes, n, f->op->in[0]->type.rank));
    return rule_same(f);
}

static enum yj_status rule_pack(struct infer *f) {
    if (!*op_text(f->op, "format")) return BAD(f, "format is empty");
    return rule_same(f);
}

static enum yj_status rule_concat(struct infer *f) {
    const struct op *op = f->op;
    if (op->n_in < 1) return BAD(f, "it has no operand");
    const struct type *x = &op->in[0]->type;
    int64_t axis = op_int(op, "axis", 0);
    TRY(infer_axis(f, "axis", axis, x->rank));
    struct type *r = infer_result(f, x->dtype);
    *r = *x;
    for (int i = 1; i < op->n_in; i++) {
        const struct type *y = &op->in[i]->type;
        bool bad = y->dtype != x->dtype || y->rank != x->rank;
        for (int a = 0; a < x->rank && !bad; a++)
            bad = a != axis && infer_differ(f, x->shape[a], y->shape[a]);
        if (bad)
            return BAD(f, "%s does not fit behind %s on axis %d", infer_type_of(f, i), infer_type_of(f, 0), (int)axis);
        r->shape[axis] = dim_add(f->t, r->shape[axis], y->shape[axis]);
    }
    return YJ_OK;
}

static enum yj_status rule_pad(struct infer *f) {
    const struct type *x = &f->op->in[0]->type, *fill = &f->op->in[1]->type;
    int n, m;
    const dim *low = op_dims(f->op, "low", &n), *high = op_dims(f->op, "high", &m);
    TRY(infer_count(f, "low", n, x->rank));
    TRY(infer_count(f, "high", m, x->rank));
    if (fill->rank != 0 || fill->dtype != x->dtype)
        return BAD(f, "the fill is %s and should be a scalar of %s", infer_type_of(f, 1), yj_dtype_name(x->dtype));
    struct type *r = infer_result(f, x->dtype);
    for (int i = 0; i < n; i++) {
        if (infer_negative(f, low[i]) || infer_negative(f, high[i])) return BAD(f, "padding of axis %d is negative", i);
        infer_add(r, dim_add(f->t, dim_add(f->t, low[i], x->shape[i]), high[i]));
    }
    return YJ_OK;
}

/* --- what holds for every op --- */

static enum yj_status check_attrs(struct infer *f) {
    const struct op *op = f->op;
    const char *row = op_info[op->kind].attributes;
    bool open = strchr(row, '*') != NULL;
    struct attr_row r;
    for (const struct attr *a = op->attrs; a; a = a->next) {
        for (const struct attr *b = a->next; b; b = b->next)
            if (strcmp(a->name, b->name) == 0) return BAD(f, "attribute '%s' stands twice", a->name);
        bool known = attr_row_find(op->kind, a->name, strlen(a->name), &r);
        if (!known && !open) return BAD(f, "it has no attribute '%s'", a->name);
        if (known ? a->kind != r.kind : a->kind == ATTR_DIM || a->kind == ATTR_DIMS)
            return BAD(f, "attribute '%s' is of the wrong kind", a->name);
        for (int i = 0; (a->kind == ATTR_DIM || a->kind == ATTR_DIMS) && i < a->n; i++)
            if (!a->dims[i]) return BAD(f, "a dim of attribute '%s' is missing", a->name);
    }
    while (attr_row_next(&row, &r)) {
        const struct attr *a = op->attrs;
        while (a && (strlen(a->name) != (size_t)r.n_name || memcmp(a->name, r.name, (size_t)r.n_name)))
            a = a->next;
        if (!a && !r.optional) return BAD(f, "attribute '%.*s' is missing", r.n_name, r.name);
    }
    return YJ_OK;
}

static enum yj_status check_operands(struct infer *f) {
    const struct op *op = f->op;
    int want = op_info[op->kind].n_in;
    if (want >= 0 && op->n_in != want) return BAD(f, "it has %d operands and should have %d", op->n_in, want);
    for (int i = 0; i < op->n_in; i++) {
        if (!op->in[i]) return BAD(f, "operand %d is missing", i);
        const struct type *t = &op->in[i]->type;
        if (!yj_dtype_bytes(t->dtype) || t->rank < 0 || t->rank > GRAPH_MAX_RANK)
            return BAD(f, "operand %d has no type", i);
        for (int a = 0; a < t->rank; a++)
            if (!t->shape[a]) return BAD(f, "operand %d has no type", i);
    }
    return YJ_OK;
}

typedef enum yj_status rule_fn(struct infer *f);
static rule_fn *const rules[OP_COUNT] = {
#define OP(name, n_in, n_out, attributes, flags, shape, vjp, shard, doc) [OP_##name] = rule_##shape,
#include "ir/ops.def"
#undef OP
};

static enum yj_status infer(const struct op *op, graph_equal_fn *unsure, void *user, struct infer *f) {
    if ((unsigned)op->kind >= OP_COUNT) return report(YJ_ERR_INPUT, "there is no op number %d", (int)op->kind);
    struct arena *arena = op->graph->arena;
    int room = op_info[op->kind].n_out;
    if (room < 0) {
        if (op->n_regions < 1) return report(YJ_ERR_INPUT, "%s: it has no region", op_where(op));
        room = op->regions[0]->n_out;
    }
    *f = (struct infer){op, op->graph->dims, NEW_ARRAY(arena, struct type, room + 2), 0, unsure, user};
    TRY(check_operands(f));
    TRY(check_attrs(f));
    TRY(op_is(op->kind, 'E') ? elementwise(f) : rules[op->kind](f));
    for (int i = 0; i < f->n; i++)
        if (f->out[i].rank > GRAPH_MAX_RANK)
            return BAD(f, "the result would have rank %d, more than %d", f->out[i].rank, GRAPH_MAX_RANK);
    return YJ_OK;
}

enum yj_status infer_types(const struct op *op, struct type **types, int *n) {
    struct infer f;
    TRY(infer(op, NULL, NULL, &f));
    *types = f.out;
    *n = f.n;
    return YJ_OK;
}

enum yj_status graph_equalities(const struct op *op, graph_equal_fn *unsure, void *user) {
    struct infer f;
    return infer(op, unsure, user, &f);
}

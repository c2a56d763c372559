/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to graph, by recursive descent. Every op is typed as soon as it is read, so an error carries the place where it
 * stands; the whole is verified at the end.
 */
#include "ir/graph_parse.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define MAX_DEPTH 64
#define MAX_INLINE_BYTES (1 << 26)

/* --- types --- */

static enum yj_status parse_mesh_axis(struct graph_parser *s, const char **axis) {
    if (graph_parse_take(s, "-")) return YJ_OK;
    TRY(graph_parse_name(s, axis));
    return YJ_OK;
}

static enum yj_status parse_placement(struct graph_parser *s, struct value *v) {
    if (graph_parse_take(s, "layout(")) {
        for (int i = 0; i < v->type.rank; i++) {
            if (i) TRY(graph_parse_need(s, ","));
            TRY(graph_parse_small(s, 0, v->type.rank - 1, &v->layout.order[i]));
        }
        TRY(graph_parse_need(s, ")"));
    }
    if (graph_parse_take(s, "format(")) {
        TRY(graph_parse_name(s, &v->layout.format));
        TRY(graph_parse_need(s, ")"));
    }
    if (graph_parse_take(s, "shard(")) {
        for (int i = 0; i < v->type.rank; i++) {
            if (i) TRY(graph_parse_need(s, ","));
            TRY(parse_mesh_axis(s, &v->shard.axis[i]));
        }
        TRY(graph_parse_need(s, ")"));
    }
    if (graph_parse_take(s, "partial(")) {
        TRY(graph_parse_name(s, &v->shard.partial));
        TRY(graph_parse_need(s, ")"));
    }
    return YJ_OK;
}

/* Type and placement, into V. */
static enum yj_status parse_type(struct graph_parser *s, struct value *v) {
    const char *name;
    dim *shape;
    int rank;
    TRY(graph_parse_name(s, &name));
    if (!dtype_parse(name, &v->type.dtype)) return graph_parse_bad(s, "no element type is called '%s'", name);
    TRY(graph_parse_need(s, "["));
    TRY(graph_parse_list(s, NULL, &shape, &rank));
    if (rank > GRAPH_MAX_RANK) return graph_parse_bad(s, "rank %d is more than %d", rank, GRAPH_MAX_RANK);
    v->type.rank = rank;
    for (int i = 0; i < rank; i++)
        v->type.shape[i] = shape[i];
    return parse_placement(s, v);
}

/* --- attributes --- */

/* The kind of an attribute that no row knows, by how it is written. */
static enum attr_kind guess_kind(struct graph_parser *s) {
    graph_parse_skip(s);
    if (*s->p == '[') return ATTR_INTS;
    size_t n = strspn(s->p, "+-0123456789.eEinfa");
    const char *q = s->p + n;
    bool number =
        isdigit((unsigned char)*s->p) || *s->p == '-' || strncmp(s->p, "inf", 3) == 0 || strncmp(s->p, "nan", 3) == 0;
    if (!number || isalnum((unsigned char)*q) || *q == '_') return ATTR_TEXT;
    return memchr(s->p, '.', n) || memchr(s->p, 'e', n) || memchr(s->p, 'n', n) ? ATTR_FLOAT : ATTR_INT;
}

static enum yj_status parse_attr_value(struct graph_parser *s, const char *name, enum attr_kind kind, struct attr **a) {
    struct graph *g = s->root;
    int64_t i, *ints;
    dim d, *dims;
    double number;
    const char *text;
    int n;
    switch (kind) {
    case ATTR_INT:
        TRY(graph_parse_int(s, &i));
        *a = attr_int(g, name, i, NULL);
        break;
    case ATTR_FLOAT:
        TRY(graph_parse_float(s, &number));
        *a = attr_float(g, name, number, NULL);
        break;
    case ATTR_DIM:
        TRY(graph_parse_dim(s, &d));
        *a = attr_dim(g, name, d, NULL);
        break;
    case ATTR_TEXT:
        TRY(graph_parse_name(s, &text));
        *a = attr_text(g, name, text, NULL);
        break;
    case ATTR_INTS:
        TRY(graph_parse_need(s, "["));
        TRY(graph_parse_list(s, &ints, NULL, &n));
        *a = attr_ints(g, name, n, ints, NULL);
        break;
    case ATTR_DIMS:
        TRY(graph_parse_need(s, "["));
        TRY(graph_parse_list(s, NULL, &dims, &n));
        *a = attr_dims(g, name, n, dims, NULL);
        break;
    }
    return YJ_OK;
}

static enum yj_status parse_attrs(struct graph_parser *s, enum op_kind kind, struct attr **attrs) {
    for (struct attr **end = attrs;; end = &(*end)->next) {
        const char *name;
        struct attr_row row;
        graph_parse_skip(s);
        const char *q = s->p;
        while (isalnum((unsigned char)*q) || *q == '_')
            q++;
        if (q == s->p || *q != '=') return YJ_OK;
        TRY(graph_parse_name(s, &name));
        bool known = attr_row_find(kind, name, strlen(name), &row);
        if (!known && !strchr(op_info[kind].attributes, '*'))
            return graph_parse_bad(s, "%s has no attribute '%s'", op_info[kind].name, name);
        TRY(graph_parse_need(s, "="));
        TRY(parse_attr_value(s, name, known ? row.kind : guess_kind(s), end));
    }
}

/* --- constants --- */

static enum yj_status parse_element(struct graph_parser *s, enum yj_dtype dtype, void *bytes, int64_t i) {
    char *end;
    uint64_t wide;
    graph_parse_skip(s);
    errno = 0;
    char kind = dtype_kind(dtype);
    if (kind == 'b') {
        wide = graph_parse_take(s, "true");
        if (!wide && !graph_parse_take(s, "false"))
            return graph_parse_bad(s, "true or false is missing before '%.12s'", s->p);
        element_store(bytes, dtype, i, wide);
        return YJ_OK;
    }
    if (kind == 'f' && s->p[0] == '0' && s->p[1] == 'x') {
        wide = strtoull(s->p, &end, 16);
        memcpy((char *)bytes + (size_t)i * yj_dtype_bytes(dtype), &wide, yj_dtype_bytes(dtype)); /* little endian */
        s->p = end;
        return YJ_OK;
    }
    if (kind == 'f')
        wide = dtype == YJ_F64 ? f64_bits(strtod(s->p, &end)) : f32_bits(strtof(s->p, &end));
    else
        wide = kind == 'u' && *s->p != '-' ? strtoull(s->p, &end, 10) : (uint64_t)strtoll(s->p, &end, 10);
    if (end == s->p) return graph_parse_bad(s, "a number is missing before '%.12s'", s->p);
    if (kind != 'f' && errno) return graph_parse_bad(s, "'%.20s' is out of range", s->p);
    size_t n = yj_dtype_bytes(dtype);
    element_store(bytes, dtype, i, wide);
    if (kind != 'f' && n < 8 && element_load(bytes, dtype, i) != wide)
        return graph_parse_bad(s, "'%.12s' does not fit %s", s->p, yj_dtype_name(dtype));
    s->p = end;
    return YJ_OK;
}

static enum yj_status constant_bytes(struct graph_parser *s, const struct op *op, size_t *bytes) {
    const struct type *t = &op->out[0]->type;
    const char *split = op_text(op, "split");
    int64_t shape[GRAPH_MAX_RANK];
    if (!type_constant(t, shape)) return graph_parse_bad(s, "the shape of a constant is not made of numbers");
    if (split && !mesh_size(op->graph, split)) return graph_parse_bad(s, "the mesh has no axis '%s'", split);
    size_t n = yj_dtype_bytes(t->dtype) * (size_t)(split ? mesh_size(op->graph, split) : 1);
    for (int i = 0; i < t->rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, (size_t)shape[i], &n))
            return graph_parse_bad(s, "the constant is too large");
    *bytes = n;
    return YJ_OK;
}

static enum yj_status parse_data(struct graph_parser *s, const struct op *op, struct data *data) {
    const struct value *v = op->out[0];
    *data = (struct data){.weight = -1};
    TRY(constant_bytes(s, op, &data->n_bytes));
    if (graph_parse_take(s, "data(")) {
        TRY(graph_parse_small(s, 0, INT32_MAX, &data->weight));
        if (graph_parse_take(s, ",")) TRY(graph_parse_name(s, &data->name));
        return graph_parse_need(s, ")");
    }
    enum yj_dtype dtype = v->type.dtype;
    size_t each = yj_dtype_bytes(dtype);
    int64_t n = (int64_t)(data->n_bytes / each);
    bool splat = graph_parse_take(s, "splat(");
    if (!splat) TRY(graph_parse_need(s, "{"));
    if (data->n_bytes > MAX_INLINE_BYTES)
        return graph_parse_bad(s, "an inline constant of %zu bytes is too large", data->n_bytes);
    if (!splat && n > (int64_t)strnlen(s->p, (size_t)n))
        return graph_parse_bad(s, "the constant has fewer than %lld elements", (long long)n);
    char *bytes = arena_new(s->arena, data->n_bytes ? data->n_bytes : 1);
    for (int64_t i = 0; i < (splat ? min64(n, 1) : n); i++) {
        if (i) TRY(graph_parse_need(s, ","));
        TRY(parse_element(s, dtype, bytes, i));
    }
    for (int64_t i = 1; splat && i < n; i++)
        memcpy(bytes + (size_t)i * each, bytes, each);
    data->bytes = bytes;
    return graph_parse_need(s, splat ? ")" : "}");
}

/* --- ops --- */

struct results {
    int n;
    const char **name;
};

static enum yj_status parse_results(struct graph_parser *s, struct results *r) {
    *r = (struct results){0};
    graph_parse_skip(s);
    if (*s->p != '%') return YJ_OK;
    do {
        TRY(graph_parse_need(s, "%"));
        r->name = graph_grow(s->arena, r->name, r->n);
        TRY(graph_parse_name(s, &r->name[r->n++]));
    } while (graph_parse_take(s, ","));
    return graph_parse_need(s, "=");
}

static enum yj_status parse_use(struct graph_parser *s, struct graph *g, struct value **v) {
    const char *name;
    TRY(graph_parse_need(s, "%"));
    TRY(graph_parse_name(s, &name));
    *v = graph_value(g, name);
    return *v ? YJ_OK : graph_parse_bad(s, "there is no value %%%s before", name);
}

static enum yj_status parse_operands(struct graph_parser *s, struct graph *g, struct value ***in, int *n) {
    *in = NULL;
    *n = 0;
    TRY(graph_parse_need(s, "("));
    while (!graph_parse_take(s, ")")) {
        if (*n > 0) TRY(graph_parse_need(s, ","));
        *in = graph_grow(s->arena, *in, *n);
        TRY(parse_use(s, g, &(*in)[*n]));
        *n += 1;
    }
    return YJ_OK;
}

static enum yj_status make_results(struct graph_parser *s, struct graph *g, const struct results *r, struct op *op) {
    op->n_out = r->n;
    op->out = NEW_ARRAY(s->arena, struct value *, r->n + 1);
    for (int i = 0; i < r->n; i++) {
        if (graph_value(g, r->name[i])) return graph_parse_bad(s, "%%%s is named twice", r->name[i]);
        struct value *v = op->out[i] = NEW(s->arena, struct value);
        v->op = op;
        v->index = i;
        value_rename(g, v, r->name[i]);
    }
    return YJ_OK;
}

static enum yj_status parse_origin(struct graph_parser *s, struct op *op) {
    if (!graph_parse_take(s, "@")) return YJ_OK;
    int64_t *list = NULL;
    int n = 0;
    do {
        list = graph_grow(s->arena, list, n);
        int node = 0;
        TRY(graph_parse_small(s, 0, INT32_MAX, &node));
        list[n++] = node;
    } while (graph_parse_take(s, ","));
    op->origin = NEW_ARRAY(s->arena, int, n);
    for (int i = 0; i < n; i++)
        op->origin[i] = (int)list[i];
    op->n_origin = n;
    return YJ_OK;
}

static enum yj_status parse_body(struct graph_parser *s, struct graph *g);
static enum yj_status parse_inputs(struct graph_parser *s, struct graph *g);

static enum yj_status parse_regions(struct graph_parser *s, struct op *op) {
    for (;;) {
        const char *name;
        graph_parse_skip(s);
        const char *q = s->p; /* a region is NAME( and an op that stands here would be NAME( too: only a '{' tells */
        if (!op_is(op->kind, 'G') || op->n_regions >= (op->kind == OP_if ? 2 : 1) || *q == '%') return YJ_OK;
        TRY(graph_parse_name(s, &name));
        struct graph *r = graph_region(op, name);
        if (++s->depth > MAX_DEPTH) return graph_parse_bad(s, "regions are nested deeper than %d", MAX_DEPTH);
        TRY(graph_parse_need(s, "("));
        TRY(parse_inputs(s, r));
        TRY(graph_parse_need(s, "{"));
        TRY(parse_body(s, r));
        s->depth--;
    }
}

/* Types that were written must be those that inference gives. */
static enum yj_status check_types(struct graph_parser *s, const struct op *op, const struct type *written, int n) {
    for (int i = 0; i < n; i++)
        if (!type_same(&written[i], &op->out[i]->type))
            return graph_parse_bad(s, "%%%s is %s, not %s", op->out[i]->name, type_text(s->arena, &op->out[i]->type),
                                   type_text(s->arena, &written[i]));
    return YJ_OK;
}

static enum yj_status parse_op(struct graph_parser *s, struct graph *g, const struct results *r, const char *name) {
    enum op_kind kind;
    struct value **in = NULL;
    struct attr *attrs = NULL;
    struct builder b = {g, NULL, 0, NULL};
    int n_in = 0, typed = 0;
    if (!op_find(name, &kind)) return graph_parse_bad(s, "there is no op '%s'", name);
    bool constant = kind == OP_constant;
    if (!constant) {
        TRY(parse_operands(s, g, &in, &n_in));
        TRY(parse_attrs(s, kind, &attrs));
    }
    struct op *op = op_new(&b, kind, n_in, in, attrs);
    TRY(make_results(s, g, r, op));
    struct type *written = NEW_ARRAY(s->arena, struct type, r->n + 1);
    if (constant && r->n != 1) return graph_parse_bad(s, "a constant has one result");
    if (constant || graph_parse_take(s, ":")) {
        for (; typed < r->n; typed++) {
            if (typed) TRY(graph_parse_need(s, ","));
            TRY(parse_type(s, op->out[typed]));
            written[typed] = op->out[typed]->type;
        }
    }
    if (constant) {
        TRY(parse_attrs(s, kind, &op->attrs));
        TRY(parse_data(s, op, &op->data));
    }
    TRY(parse_origin(s, op));
    op_insert(g, op, NULL);
    TRY(parse_regions(s, op));
    TRY(graph_parse_located(s, graph_infer(op)));
    if (op->n_out != r->n) return graph_parse_bad(s, "%s has %d results", name, op->n_out);
    return check_types(s, op, written, typed);
}

static enum yj_status parse_return(struct graph_parser *s, struct graph *g) {
    for (bool first = true;; first = false) {
        const char *name = NULL;
        struct value *v;
        graph_parse_skip(s);
        if (first ? *s->p == '}' : !graph_parse_take(s, ",")) break;
        graph_parse_skip(s);
        if (*s->p != '%') {
            TRY(graph_parse_name(s, &name));
            TRY(graph_parse_need(s, "="));
        }
        TRY(parse_use(s, g, &v));
        graph_output(g, v, name);
    }
    return graph_parse_need(s, "}");
}

static enum yj_status parse_body(struct graph_parser *s, struct graph *g) {
    for (;;) {
        struct results r;
        const char *name;
        TRY(parse_results(s, &r));
        if (r.n == 0 && graph_parse_take(s, "return")) return parse_return(s, g);
        if (!*s->p) return graph_parse_bad(s, "'return' is missing: the text ends");
        TRY(graph_parse_name(s, &name));
        TRY(parse_op(s, g, &r, name));
    }
}

/* --- the head --- */

static enum yj_status parse_symbol(struct graph_parser *s, const char *name) {
    int64_t low, high = DIM_UNBOUNDED;
    const char *q = name;
    dim d;
    if (isalpha((unsigned char)*q) || *q == '_' || *q == '.')
        while (isalnum((unsigned char)*q) || *q == '_' || *q == '.')
            q++;
    if (*q || !*name) return graph_parse_bad(s, "'%s' cannot name a dim", name);
    TRY(graph_parse_int(s, &low));
    TRY(graph_parse_need(s, ".."));
    graph_parse_skip(s);
    if (isdigit((unsigned char)*s->p) || *s->p == '-') TRY(graph_parse_int(s, &high));
    if (high < low) return graph_parse_bad(s, "the bounds of %s are empty", name);
    d = dim_find(s->root->dims, name);
    if (d) return graph_parse_bad(s, "the dim %s is used before its bounds, or named twice", name);
    dim_symbol(s->root->dims, name, low, high);
    return YJ_OK;
}

static enum yj_status parse_inputs(struct graph_parser *s, struct graph *g) {
    while (!graph_parse_take(s, ")")) {
        const char *name;
        TRY(graph_parse_name(s, &name));
        if (!g->parent && graph_parse_take(s, "in")) {
            TRY(parse_symbol(s, name));
        } else {
            if (graph_value(g, name)) return graph_parse_bad(s, "%%%s is named twice", name);
            struct value *v = graph_input(g, name, YJ_F32, 0, NULL);
            TRY(parse_type(s, v));
        }
        graph_parse_skip(s);
        if (*s->p != ')') TRY(graph_parse_need(s, ","));
    }
    return YJ_OK;
}

static enum yj_status parse_mesh(struct graph_parser *s, struct mesh *m) {
    do {
        if (m->n == (int)COUNT(m->name)) return graph_parse_bad(s, "a mesh has at most %d axes", m->n);
        TRY(graph_parse_name(s, &m->name[m->n]));
        TRY(graph_parse_need(s, "="));
        TRY(graph_parse_small(s, 1, 1 << 20, &m->size[m->n]));
        m->n++;
    } while (graph_parse_take(s, ","));
    return graph_parse_need(s, ")");
}

struct pairs {
    int n;
    const char **in, **out;
};

static enum yj_status parse_states(struct graph_parser *s, struct pairs *p) {
    do {
        p->in = graph_grow(s->arena, p->in, p->n);
        p->out = graph_grow(s->arena, p->out, p->n);
        TRY(graph_parse_name(s, &p->in[p->n]));
        TRY(graph_parse_need(s, "="));
        TRY(graph_parse_name(s, &p->out[p->n]));
        p->n++;
    } while (graph_parse_take(s, ","));
    return graph_parse_need(s, ")");
}

enum yj_status graph_parse(struct arena *arena, const char *text, const char *file, struct graph **made) {
    struct graph_parser s = {text, text, file, graph_new(arena, "main"), arena, 0};
    struct graph *g = s.root;
    struct pairs states = {0};
    TRY(graph_parse_need(&s, "graph"));
    TRY(graph_parse_name(&s, &g->name));
    TRY(graph_parse_need(&s, "("));
    TRY(parse_inputs(&s, g));
    if (graph_parse_take(&s, "mesh(")) TRY(parse_mesh(&s, &g->mesh));
    if (graph_parse_take(&s, "state(")) TRY(parse_states(&s, &states));
    TRY(graph_parse_need(&s, "{"));
    TRY(parse_body(&s, g));
    for (int i = 0; i < states.n; i++) {
        struct value *in = graph_value(g, states.in[i]), *out = graph_value(g, states.out[i]);
        if (!in || !out) return graph_parse_bad(&s, "state %s = %s names no value", states.in[i], states.out[i]);
        graph_state(g, in, out);
    }
    graph_parse_skip(&s);
    if (*s.p) return graph_parse_bad(&s, "'%.12s' stands after the graph", s.p);
    enum yj_status status = graph_verify(g);
    if (status != YJ_OK) return report_in(status, "%s", file);
    *made = g;
    return YJ_OK;
}

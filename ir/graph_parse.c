/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to graph, by recursive descent. Every op is typed as soon as it is read, so an error carries the place where it
 * stands; the whole is verified at the end.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DEPTH 64
#define MAX_INLINE_BYTES (1 << 26)

struct parser { const char *start, *p, *file; struct graph *root; struct arena *arena; int depth; };

static void place(const struct parser *s, int *line, int *column) {
    *line = *column = 1;
    for (const char *q = s->start; q < s->p; q++) {
        if (*q == '\n') *line += 1, *column = 1;
        else *column += 1;
    }
}

__attribute__((format(printf, 2, 3))) static enum yj_status bad(struct parser *s, const char *format, ...) {
    char text[256];
    int line, column;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    place(s, &line, &column);
    return report(YJ_ERR_INPUT, "%s:%d:%d: %s", s->file, line, column, text);
}

/* Puts the place before an error that somebody else reported. */
static enum yj_status located(struct parser *s, enum yj_status status) {
    int line, column;
    if (status == YJ_OK) return YJ_OK;
    place(s, &line, &column);
    return report_in(status, "%s:%d:%d", s->file, line, column);
}

/* --- tokens --- */

static void skip(struct parser *s) {
    for (;;) {
        while (isspace((unsigned char)*s->p)) s->p++;
        if (*s->p != '#') return;
        while (*s->p && *s->p != '\n') s->p++;
    }
}

static bool take(struct parser *s, const char *token) {
    skip(s);
    size_t n = strlen(token);
    if (strncmp(s->p, token, n) != 0) return false;
    if (isalpha((unsigned char)token[n - 1]) && (isalnum((unsigned char)s->p[n]) || s->p[n] == '_')) return false;
    s->p += n;
    return true;
}

static enum yj_status need(struct parser *s, const char *token) {
    if (take(s, token)) return YJ_OK;
    if (!*s->p) return bad(s, "'%s' is missing: the text ends", token);
    return bad(s, "'%s' is missing before '%.12s'", token, s->p);
}

static enum yj_status parse_quoted(struct parser *s, const char **text) {
    struct text t = {0};
    enum yj_status status = YJ_OK;
    text_add(&t, "%s", "");
    for (s->p++; *s->p && *s->p != '"'; s->p++) {
        if (*s->p != '\\') {
            text_add(&t, "%c", *s->p);
        } else if (s->p[1] == 'x' && isxdigit((unsigned char)s->p[2]) && isxdigit((unsigned char)s->p[3])) {
            char hex[3] = {s->p[2], s->p[3], 0};
            text_add(&t, "%c", (int)strtol(hex, NULL, 16));
            s->p += 3;
        } else if (s->p[1]) {
            text_add(&t, "%c", *++s->p);
        }
    }
    if (t.failed) status = report(YJ_ERR_MEMORY, "out of memory");
    else if (*s->p != '"') status = bad(s, "a text does not end");
    else *text = arena_text(s->arena, "%s", t.data);
    text_free(&t);
    if (status == YJ_OK) s->p++;
    return status;
}

/* A name, bare or quoted. */
static enum yj_status parse_name(struct parser *s, const char **name) {
    skip(s);
    if (*s->p == '"') return parse_quoted(s, name);
    const char *p = s->p;
    while (isalnum((unsigned char)*p) || (*p && strchr("_./$-", *p))) p++;
    if (p == s->p) return bad(s, "a name is missing before '%.12s'", s->p);
    *name = arena_text(s->arena, "%.*s", (int)min64(p - s->p, 4096), s->p);
    s->p = p;
    return YJ_OK;
}

static enum yj_status parse_int(struct parser *s, int64_t *value) {
    skip(s);
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*s->p) && *s->p != '-') return bad(s, "a number is missing before '%.12s'", s->p);
    long long v = strtoll(s->p, &end, 10);
    if (end == s->p || errno) return bad(s, "'%.12s' is not a 64-bit number", s->p);
    s->p = end;
    *value = v;
    return YJ_OK;
}

static enum yj_status parse_small(struct parser *s, int64_t low, int64_t high, int *value) {
    int64_t v;
    TRY(parse_int(s, &v));
    if (v < low || v > high) return bad(s, "%lld is not in %lld..%lld", (long long)v, (long long)low, (long long)high);
    *value = (int)v;
    return YJ_OK;
}

static enum yj_status parse_dim(struct parser *s, dim *d) {
    skip(s);
    return located(s, dim_parse(s->root->dims, &s->p, d));
}

/* `[a, b]` of dims or ints, whose '[' was taken. Exactly one of INTS and DIMS is wanted. */
static enum yj_status parse_list(struct parser *s, int64_t **ints, dim **dims, int *n) {
    void *all = NULL;
    *n = 0;
    while (!take(s, "]")) {
        if (*n > 0) TRY(need(s, ","));
        if (ints) {
            int64_t *list = graph_grow(s->arena, all, *n); /* pointers and int64_t are of one size */
            TRY(parse_int(s, &list[*n]));
            all = list;
        } else {
            dim *list = graph_grow(s->arena, all, *n);
            TRY(parse_dim(s, &list[*n]));
            all = list;
        }
        *n += 1;
    }
    if (ints) *ints = all;
    else *dims = all;
    return YJ_OK;
}

/* --- types --- */

static enum yj_status parse_mesh_axis(struct parser *s, const char **axis) {
    if (take(s, "-")) return YJ_OK;
    TRY(parse_name(s, axis));
    return YJ_OK;
}

static enum yj_status parse_placement(struct parser *s, struct value *v) {
    if (take(s, "layout(")) {
        for (int i = 0; i < v->type.rank; i++) {
            if (i) TRY(need(s, ","));
            TRY(parse_small(s, 0, v->type.rank - 1, &v->layout.order[i]));
        }
        TRY(need(s, ")"));
    }
    if (take(s, "format(")) {
        TRY(parse_name(s, &v->layout.format));
        TRY(need(s, ")"));
    }
    if (take(s, "shard(")) {
        for (int i = 0; i < v->type.rank; i++) {
            if (i) TRY(need(s, ","));
            TRY(parse_mesh_axis(s, &v->shard.axis[i]));
        }
        TRY(need(s, ")"));
    }
    if (take(s, "partial(")) {
        TRY(parse_name(s, &v->shard.partial));
        TRY(need(s, ")"));
    }
    return YJ_OK;
}

/* Type and placement, into V. */
static enum yj_status parse_type(struct parser *s, struct value *v) {
    const char *name;
    dim *shape;
    int rank;
    TRY(parse_name(s, &name));
    if (!dtype_parse(name, &v->type.dtype)) return bad(s, "no element type is called '%s'", name);
    TRY(need(s, "["));
    TRY(parse_list(s, NULL, &shape, &rank));
    if (rank > GRAPH_MAX_RANK) return bad(s, "rank %d is more than %d", rank, GRAPH_MAX_RANK);
    v->type.rank = rank;
    for (int i = 0; i < rank; i++) v->type.shape[i] = shape[i];
    return parse_placement(s, v);
}

/* --- attributes --- */

static enum yj_status parse_float(struct parser *s, double *value) {
    char *end;
    skip(s);
    *value = strtod(s->p, &end);
    if (end == s->p) return bad(s, "a number is missing before '%.12s'", s->p);
    s->p = end;
    return YJ_OK;
}

/* The kind of an attribute that no row knows, by how it is written. */
static enum attr_kind guess_kind(struct parser *s) {
    skip(s);
    if (*s->p == '[') return ATTR_INTS;
    size_t n = strspn(s->p, "+-0123456789.eEinfa");
    const char *q = s->p + n;
    bool number = isdigit((unsigned char)*s->p) || *s->p == '-' || strncmp(s->p, "inf", 3) == 0 || strncmp(s->p, "nan", 3) == 0;
    if (!number || isalnum((unsigned char)*q) || *q == '_') return ATTR_TEXT;
    return memchr(s->p, '.', n) || memchr(s->p, 'e', n) || memchr(s->p, 'n', n) ? ATTR_FLOAT : ATTR_INT;
}

static enum yj_status parse_attr_value(struct parser *s, const char *name, enum attr_kind kind, struct attr **a) {
    struct graph *g = s->root;
    int64_t i, *ints;
    dim d, *dims;
    double number;
    const char *text;
    int n;
    switch (kind) {
    case ATTR_INT: TRY(parse_int(s, &i)); *a = attr_int(g, name, i, NULL); break;
    case ATTR_FLOAT: TRY(parse_float(s, &number)); *a = attr_float(g, name, number, NULL); break;
    case ATTR_DIM: TRY(parse_dim(s, &d)); *a = attr_dim(g, name, d, NULL); break;
    case ATTR_TEXT: TRY(parse_name(s, &text)); *a = attr_text(g, name, text, NULL); break;
    case ATTR_INTS:
        TRY(need(s, "["));
        TRY(parse_list(s, &ints, NULL, &n));
        *a = attr_ints(g, name, n, ints, NULL);
        break;
    case ATTR_DIMS:
        TRY(need(s, "["));
        TRY(parse_list(s, NULL, &dims, &n));
        *a = attr_dims(g, name, n, dims, NULL);
        break;
    }
    return YJ_OK;
}

static enum yj_status parse_attrs(struct parser *s, enum op_kind kind, struct attr **attrs) {
    for (struct attr **end = attrs;; end = &(*end)->next) {
        const char *name;
        struct attr_row row;
        skip(s);
        const char *q = s->p;
        while (isalnum((unsigned char)*q) || *q == '_') q++;
        if (q == s->p || *q != '=') return YJ_OK;
        TRY(parse_name(s, &name));
        bool known = attr_row_find(kind, name, strlen(name), &row);
        if (!known && !strchr(op_info[kind].attributes, '*')) return bad(s, "%s has no attribute '%s'", op_info[kind].name, name);
        TRY(need(s, "="));
        TRY(parse_attr_value(s, name, known ? row.kind : guess_kind(s), end));
    }
}

/* --- constants --- */

static enum yj_status parse_element(struct parser *s, enum yj_dtype dtype, void *bytes, int64_t i) {
    char *end;
    uint64_t wide;
    skip(s);
    errno = 0;
    char kind = dtype_kind(dtype);
    if (kind == 'b') {
        wide = take(s, "true");
        if (!wide && !take(s, "false")) return bad(s, "true or false is missing before '%.12s'", s->p);
        element_store(bytes, dtype, i, wide);
        return YJ_OK;
    }
    if (kind == 'f' && s->p[0] == '0' && s->p[1] == 'x') {
        wide = strtoull(s->p, &end, 16);
        memcpy((char *)bytes + (size_t)i * yj_dtype_bytes(dtype), &wide, yj_dtype_bytes(dtype)); /* little endian */
        s->p = end;
        return YJ_OK;
    }
    if (kind == 'f') wide = dtype == YJ_F64 ? f64_bits(strtod(s->p, &end)) : f32_bits(strtof(s->p, &end));
    else wide = kind == 'u' && *s->p != '-' ? strtoull(s->p, &end, 10) : (uint64_t)strtoll(s->p, &end, 10);
    if (end == s->p) return bad(s, "a number is missing before '%.12s'", s->p);
    if (kind != 'f' && errno) return bad(s, "'%.20s' is out of range", s->p);
    size_t n = yj_dtype_bytes(dtype);
    element_store(bytes, dtype, i, wide);
    if (kind != 'f' && n < 8 && element_load(bytes, dtype, i) != wide) return bad(s, "'%.12s' does not fit %s", s->p, yj_dtype_name(dtype));
    s->p = end;
    return YJ_OK;
}

static enum yj_status constant_bytes(struct parser *s, const struct op *op, size_t *bytes) {
    const struct type *t = &op->out[0]->type;
    const char *split = op_text(op, "split");
    int64_t shape[GRAPH_MAX_RANK];
    if (!type_constant(t, shape)) return bad(s, "the shape of a constant is not made of numbers");
    if (split && !mesh_size(op->graph, split)) return bad(s, "the mesh has no axis '%s'", split);
    size_t n = yj_dtype_bytes(t->dtype) * (size_t)(split ? mesh_size(op->graph, split) : 1);
    for (int i = 0; i < t->rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, (size_t)shape[i], &n)) return bad(s, "the constant is too large");
    *bytes = n;
    return YJ_OK;
}

static enum yj_status parse_data(struct parser *s, const struct op *op, struct data *data) {
    const struct value *v = op->out[0];
    *data = (struct data){.weight = -1};
    TRY(constant_bytes(s, op, &data->n_bytes));
    if (take(s, "data(")) {
        TRY(parse_small(s, 0, INT32_MAX, &data->weight));
        if (take(s, ",")) TRY(parse_name(s, &data->name));
        return need(s, ")");
    }
    enum yj_dtype dtype = v->type.dtype;
    size_t each = yj_dtype_bytes(dtype);
    int64_t n = (int64_t)(data->n_bytes / each);
    bool splat = take(s, "splat(");
    if (!splat) TRY(need(s, "{"));
    if (data->n_bytes > MAX_INLINE_BYTES) return bad(s, "an inline constant of %zu bytes is too large", data->n_bytes);
    if (!splat && n > (int64_t)strnlen(s->p, (size_t)n)) return bad(s, "the constant has fewer than %lld elements", (long long)n);
    char *bytes = arena_new(s->arena, data->n_bytes ? data->n_bytes : 1);
    for (int64_t i = 0; i < (splat ? min64(n, 1) : n); i++) {
        if (i) TRY(need(s, ","));
        TRY(parse_element(s, dtype, bytes, i));
    }
    for (int64_t i = 1; splat && i < n; i++) memcpy(bytes + (size_t)i * each, bytes, each);
    data->bytes = bytes;
    return need(s, splat ? ")" : "}");
}

/* --- ops --- */

struct results { int n; const char **name; };

static enum yj_status parse_results(struct parser *s, struct results *r) {
    *r = (struct results){0};
    skip(s);
    if (*s->p != '%') return YJ_OK;
    do {
        TRY(need(s, "%"));
        r->name = graph_grow(s->arena, r->name, r->n);
        TRY(parse_name(s, &r->name[r->n++]));
    } while (take(s, ","));
    return need(s, "=");
}

static enum yj_status parse_use(struct parser *s, struct graph *g, struct value **v) {
    const char *name;
    TRY(need(s, "%"));
    TRY(parse_name(s, &name));
    *v = graph_value(g, name);
    return *v ? YJ_OK : bad(s, "there is no value %%%s before", name);
}

static enum yj_status parse_operands(struct parser *s, struct graph *g, struct value ***in, int *n) {
    *in = NULL;
    *n = 0;
    TRY(need(s, "("));
    while (!take(s, ")")) {
        if (*n > 0) TRY(need(s, ","));
        *in = graph_grow(s->arena, *in, *n);
        TRY(parse_use(s, g, &(*in)[*n]));
        *n += 1;
    }
    return YJ_OK;
}

static enum yj_status make_results(struct parser *s, struct graph *g, const struct results *r, struct op *op) {
    op->n_out = r->n;
    op->out = NEW_ARRAY(s->arena, struct value *, r->n + 1);
    for (int i = 0; i < r->n; i++) {
        if (graph_value(g, r->name[i])) return bad(s, "%%%s is named twice", r->name[i]);
        struct value *v = op->out[i] = NEW(s->arena, struct value);
        v->op = op;
        v->index = i;
        value_rename(g, v, r->name[i]);
    }
    return YJ_OK;
}

static enum yj_status parse_origin(struct parser *s, struct op *op) {
    if (!take(s, "@")) return YJ_OK;
    int64_t *list = NULL;
    int n = 0;
    do {
        list = graph_grow(s->arena, list, n);
        int node = 0;
        TRY(parse_small(s, 0, INT32_MAX, &node));
        list[n++] = node;
    } while (take(s, ","));
    op->origin = NEW_ARRAY(s->arena, int, n);
    for (int i = 0; i < n; i++) op->origin[i] = (int)list[i];
    op->n_origin = n;
    return YJ_OK;
}

static enum yj_status parse_body(struct parser *s, struct graph *g);
static enum yj_status parse_inputs(struct parser *s, struct graph *g);

static enum yj_status parse_regions(struct parser *s, struct op *op) {
    for (;;) {
        const char *name;
        skip(s);
        const char *q = s->p; /* a region is NAME( and an op that stands here would be NAME( too: only a '{' tells */
        if (!op_is(op->kind, 'G') || op->n_regions >= (op->kind == OP_if ? 2 : 1) || *q == '%') return YJ_OK;
        TRY(parse_name(s, &name));
        struct graph *r = graph_region(op, name);
        if (++s->depth > MAX_DEPTH) return bad(s, "regions are nested deeper than %d", MAX_DEPTH);
        TRY(need(s, "("));
        TRY(parse_inputs(s, r));
        TRY(need(s, "{"));
        TRY(parse_body(s, r));
        s->depth--;
    }
}

/* Types that were written must be those that inference gives. */
static enum yj_status check_types(struct parser *s, const struct op *op, const struct type *written, int n) {
    for (int i = 0; i < n; i++)
        if (!type_same(&written[i], &op->out[i]->type))
            return bad(s, "%%%s is %s, not %s", op->out[i]->name, type_text(s->arena, &op->out[i]->type),
                       type_text(s->arena, &written[i]));
    return YJ_OK;
}

static enum yj_status parse_op(struct parser *s, struct graph *g, const struct results *r, const char *name) {
    enum op_kind kind;
    struct value **in = NULL;
    struct attr *attrs = NULL;
    struct builder b = {g, NULL, 0, NULL};
    int n_in = 0, typed = 0;
    if (!op_find(name, &kind)) return bad(s, "there is no op '%s'", name);
    bool constant = kind == OP_constant;
    if (!constant) {
        TRY(parse_operands(s, g, &in, &n_in));
        TRY(parse_attrs(s, kind, &attrs));
    }
    struct op *op = op_new(&b, kind, n_in, in, attrs);
    TRY(make_results(s, g, r, op));
    struct type *written = NEW_ARRAY(s->arena, struct type, r->n + 1);
    if (constant && r->n != 1) return bad(s, "a constant has one result");
    if (constant || take(s, ":")) {
        for (; typed < r->n; typed++) {
            if (typed) TRY(need(s, ","));
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
    TRY(located(s, graph_infer(op)));
    if (op->n_out != r->n) return bad(s, "%s has %d results", name, op->n_out);
    return check_types(s, op, written, typed);
}

static enum yj_status parse_return(struct parser *s, struct graph *g) {
    for (bool first = true;; first = false) {
        const char *name = NULL;
        struct value *v;
        skip(s);
        if (first ? *s->p == '}' : !take(s, ",")) break;
        skip(s);
        if (*s->p != '%') {
            TRY(parse_name(s, &name));
            TRY(need(s, "="));
        }
        TRY(parse_use(s, g, &v));
        graph_output(g, v, name);
    }
    return need(s, "}");
}

static enum yj_status parse_body(struct parser *s, struct graph *g) {
    for (;;) {
        struct results r;
        const char *name;
        TRY(parse_results(s, &r));
        if (r.n == 0 && take(s, "return")) return parse_return(s, g);
        if (!*s->p) return bad(s, "'return' is missing: the text ends");
        TRY(parse_name(s, &name));
        TRY(parse_op(s, g, &r, name));
    }
}

/* --- the head --- */

static enum yj_status parse_symbol(struct parser *s, const char *name) {
    int64_t low, high = DIM_UNBOUNDED;
    const char *q = name;
    dim d;
    if (isalpha((unsigned char)*q) || *q == '_' || *q == '.')
        while (isalnum((unsigned char)*q) || *q == '_' || *q == '.') q++;
    if (*q || !*name) return bad(s, "'%s' cannot name a dim", name);
    TRY(parse_int(s, &low));
    TRY(need(s, ".."));
    skip(s);
    if (isdigit((unsigned char)*s->p) || *s->p == '-') TRY(parse_int(s, &high));
    if (high < low) return bad(s, "the bounds of %s are empty", name);
    d = dim_find(s->root->dims, name);
    if (d) return bad(s, "the dim %s is used before its bounds, or named twice", name);
    dim_symbol(s->root->dims, name, low, high);
    return YJ_OK;
}

static enum yj_status parse_inputs(struct parser *s, struct graph *g) {
    while (!take(s, ")")) {
        const char *name;
        TRY(parse_name(s, &name));
        if (!g->parent && take(s, "in")) {
            TRY(parse_symbol(s, name));
        } else {
            if (graph_value(g, name)) return bad(s, "%%%s is named twice", name);
            struct value *v = graph_input(g, name, YJ_F32, 0, NULL);
            TRY(parse_type(s, v));
        }
        skip(s);
        if (*s->p != ')') TRY(need(s, ","));
    }
    return YJ_OK;
}

static enum yj_status parse_mesh(struct parser *s, struct mesh *m) {
    do {
        if (m->n == (int)COUNT(m->name)) return bad(s, "a mesh has at most %d axes", m->n);
        TRY(parse_name(s, &m->name[m->n]));
        TRY(need(s, "="));
        TRY(parse_small(s, 1, 1 << 20, &m->size[m->n]));
        m->n++;
    } while (take(s, ","));
    return need(s, ")");
}

struct pairs { int n; const char **in, **out; };

static enum yj_status parse_states(struct parser *s, struct pairs *p) {
    do {
        p->in = graph_grow(s->arena, p->in, p->n);
        p->out = graph_grow(s->arena, p->out, p->n);
        TRY(parse_name(s, &p->in[p->n]));
        TRY(need(s, "="));
        TRY(parse_name(s, &p->out[p->n]));
        p->n++;
    } while (take(s, ","));
    return need(s, ")");
}

enum yj_status graph_parse(struct arena *arena, const char *text, const char *file, struct graph **made) {
    struct parser s = {text, text, file, graph_new(arena, "main"), arena, 0};
    struct graph *g = s.root;
    struct pairs states = {0};
    TRY(need(&s, "graph"));
    TRY(parse_name(&s, &g->name));
    TRY(need(&s, "("));
    TRY(parse_inputs(&s, g));
    if (take(&s, "mesh(")) TRY(parse_mesh(&s, &g->mesh));
    if (take(&s, "state(")) TRY(parse_states(&s, &states));
    TRY(need(&s, "{"));
    TRY(parse_body(&s, g));
    for (int i = 0; i < states.n; i++) {
        struct value *in = graph_value(g, states.in[i]), *out = graph_value(g, states.out[i]);
        if (!in || !out) return bad(&s, "state %s = %s names no value", states.in[i], states.out[i]);
        graph_state(g, in, out);
    }
    skip(&s);
    if (*s.p) return bad(&s, "'%.12s' stands after the graph", s.p);
    enum yj_status status = graph_verify(g);
    if (status != YJ_OK) return report_in(status, "%s", file);
    *made = g;
    return YJ_OK;
}

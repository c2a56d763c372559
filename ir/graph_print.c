/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph as text: what graph_parse reads back to the same graph. Everything that a pass may look at is printed, in one
 * canonical form, so that two graphs are the same when their texts are.
 */
#include "ir/graph.h"
#include "ir/graph_inside.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool bare(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./$-";
    return *name && strspn(name, letters) == strlen(name);
}

static void quoted_print(struct text *out, const char *s) {
    text_add(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_add(out, "\\%c", *s);
        else if ((unsigned char)*s < 32 || *s == 127)
            text_add(out, "\\x%02x", (unsigned char)*s);
        else
            text_add(out, "%c", *s);
    }
    text_add(out, "\"");
}

void name_print(struct text *out, const char *name) {
    if (bare(name))
        text_add(out, "%s", name);
    else
        quoted_print(out, name);
}

/* The shortest decimal that reads back as VALUE (as a float if SINGLE). */
static void number_print(struct text *out, double value, bool single) {
    char s[40];
    if (isnan(value) || isinf(value)) {
        text_add(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, value);
        if (single ? strtof(s, NULL) == (float)value : strtod(s, NULL) == value) break;
    }
    text_add(out, "%s", s);
}

static void float_attr_print(struct text *out, double value) {
    struct text t = {0};
    number_print(&t, value, false);
    text_add(out, "%s%s", t.data ? t.data : "0", t.data && strpbrk(t.data, ".enai") ? "" : ".0");
    text_free(&t);
}

/* A bare word of an attribute must not look like a number. */
static bool word(const char *s) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789.";
    if (!*s || (*s >= '0' && *s <= '9') || *s == '.') return false;
    return strspn(s, letters) == strlen(s) && strcmp(s, "inf") != 0 && strcmp(s, "nan") != 0;
}

static void attr_print(struct text *out, const struct attr *a) {
    text_add(out, " %s=", a->name);
    switch (a->kind) {
    case ATTR_INT:
        text_add(out, "%lld", (long long)a->ints[0]);
        break;
    case ATTR_FLOAT:
        float_attr_print(out, a->number);
        break;
    case ATTR_DIM:
        dim_print(out, a->dims[0]);
        break;
    case ATTR_TEXT:
        if (word(a->text))
            text_add(out, "%s", a->text);
        else
            quoted_print(out, a->text);
        break;
    default:
        text_add(out, "[");
        for (int i = 0; i < a->n; i++) {
            if (i) text_add(out, ", ");
            if (a->kind == ATTR_INTS)
                text_add(out, "%lld", (long long)a->ints[i]);
            else
                dim_print(out, a->dims[i]);
        }
        text_add(out, "]");
    }
}

/* Attributes in the order of the row, then the others. */
static void attrs_print(struct text *out, const struct op *op) {
    const char *row = op_info[op->kind].attributes;
    struct attr_row r;
    while (attr_row_next(&row, &r))
        for (const struct attr *a = op->attrs; a; a = a->next)
            if (strlen(a->name) == (size_t)r.n_name && memcmp(a->name, r.name, (size_t)r.n_name) == 0)
                attr_print(out, a);
    for (const struct attr *a = op->attrs; a; a = a->next)
        if (!attr_row_find(op->kind, a->name, strlen(a->name), &r)) attr_print(out, a);
}

static void value_type_print(struct text *out, const struct value *v) {
    int rank = v->type.rank;
    bool order = false, split = false;
    type_print(out, &v->type);
    for (int i = 0; i < rank; i++) {
        order = order || v->layout.order[i];
        split = split || v->shard.axis[i];
    }
    for (int i = 0; order && i < rank; i++)
        text_add(out, "%s%d%s", i ? "," : " layout(", v->layout.order[i], i + 1 == rank ? ")" : "");
    if (v->layout.format) {
        text_add(out, " format(");
        name_print(out, v->layout.format);
        text_add(out, ")");
    }
    for (int i = 0; split && i < rank; i++)
        text_add(out, "%s%s%s", i ? "," : " shard(", v->shard.axis[i] ? v->shard.axis[i] : "-",
                 i + 1 == rank ? ")" : "");
    if (v->shard.partial) text_add(out, " partial(%s)", v->shard.partial);
}

static void element_print(struct text *out, enum yj_dtype dtype, const void *bytes, int64_t i) {
    uint64_t w = element_load(bytes, dtype, i), back = 0;
    size_t n = yj_dtype_bytes(dtype);
    switch (dtype_kind(dtype)) {
    case 'f': {
        double d = dtype == YJ_F64 ? bits_f64(w) : bits_f32(w);
        uint64_t raw = 0;
        memcpy(&raw, (const char *)bytes + (size_t)i * n, n);
        element_store(&back, dtype, 0, dtype == YJ_F64 ? f64_bits(NAN) : f32_bits(NAN));
        if (isnan(d) && raw != back)
            text_add(out, "0x%llx", (unsigned long long)raw); /* the payload of a NaN */
        else
            number_print(out, d, dtype != YJ_F64);
        break;
    }
    case 'b':
        text_add(out, w ? "true" : "false");
        break;
    case 'u':
        text_add(out, "%llu", (unsigned long long)w);
        break;
    default:
        text_add(out, "%lld", (long long)w);
        break;
    }
}

static void data_print(struct text *out, const struct op *op) {
    const struct data *d = &op->data;
    if (d->weight >= 0) {
        text_add(out, " data(%d", d->weight);
        if (d->name) {
            text_add(out, ", ");
            quoted_print(out, d->name);
        }
        text_add(out, ")");
        return;
    }
    enum yj_dtype dtype = op->out[0]->type.dtype;
    size_t each = yj_dtype_bytes(dtype), n = each ? d->n_bytes / each : 0;
    bool splat = n > 1 && memcmp(d->bytes, (const char *)d->bytes + each, (n - 1) * each) == 0;
    text_add(out, splat ? " splat(" : " {");
    for (size_t i = 0; i < (splat ? 1 : n); i++) {
        if (i) text_add(out, ", ");
        element_print(out, dtype, d->bytes, (int64_t)i);
    }
    text_add(out, splat ? ")" : "}");
}

static void body_print(struct text *out, const struct graph *g, int indent);

static void inputs_print(struct text *out, const struct graph *g, bool comma) {
    for (int i = 0; i < g->n_in; i++) {
        if (i || comma) text_add(out, ", ");
        name_print(out, g->in[i]->name);
        text_add(out, " ");
        value_type_print(out, g->in[i]);
    }
}

static void op_print(struct text *out, const struct op *op, int indent) {
    bool constant = op->kind == OP_constant;
    text_add(out, "%*s", indent, "");
    for (int i = 0; i < op->n_out; i++) {
        text_add(out, i ? ", %%" : "%%");
        name_print(out, op->out[i]->name);
    }
    text_add(out, "%s%s%s", op->n_out ? " = " : "", op_info[op->kind].name, constant ? " " : "(");
    for (int i = 0; i < op->n_in; i++) {
        text_add(out, i ? ", %%" : "%%");
        name_print(out, op->in[i]->name);
    }
    if (!constant) {
        text_add(out, ")");
        attrs_print(out, op);
    }
    for (int i = 0; i < op->n_out; i++) {
        if (!constant) text_add(out, i ? ", " : " : ");
        value_type_print(out, op->out[i]);
    }
    if (constant) {
        attrs_print(out, op);
        data_print(out, op);
    }
    for (int i = 0; i < op->n_origin; i++)
        text_add(out, i ? ",%d" : " @%d", op->origin[i]);
    for (int i = 0; i < op->n_regions; i++) {
        text_add(out, " ");
        name_print(out, op->regions[i]->name);
        text_add(out, "(");
        inputs_print(out, op->regions[i], false);
        text_add(out, ") {\n");
        body_print(out, op->regions[i], indent + 2);
        text_add(out, "%*s}", indent, "");
    }
    text_add(out, "\n");
}

static void body_print(struct text *out, const struct graph *g, int indent) {
    for (const struct op *op = g->first; op; op = op->next)
        op_print(out, op, indent);
    text_add(out, "%*sreturn", indent, "");
    for (int i = 0; i < g->n_out; i++) {
        text_add(out, i ? ", " : " ");
        if (strcmp(g->out_names[i], g->out[i]->name) != 0) {
            name_print(out, g->out_names[i]);
            text_add(out, " = ");
        }
        text_add(out, "%%");
        name_print(out, g->out[i]->name);
    }
    text_add(out, "\n");
}

void graph_print(struct text *out, const struct graph *g) {
    text_add(out, "graph ");
    name_print(out, g->name);
    text_add(out, "(");
    struct symbols s = graph_symbols(g, g->arena);
    for (int i = 0; i < s.n; i++) {
        text_add(out, "%s%s in %lld..", i ? ", " : "", s.list[i]->name, (long long)s.list[i]->low);
        if (s.list[i]->high != DIM_UNBOUNDED) text_add(out, "%lld", (long long)s.list[i]->high);
    }
    inputs_print(out, g, s.n > 0);
    text_add(out, ")");
    for (int i = 0; i < g->mesh.n; i++)
        text_add(out, "%s%s=%d", i ? ", " : " mesh(", g->mesh.name[i], g->mesh.size[i]);
    text_add(out, g->mesh.n ? ")" : "");
    for (int i = 0; i < g->n_states; i++) {
        text_add(out, i ? ", " : " state(");
        name_print(out, g->states[i].in->name);
        text_add(out, " = ");
        name_print(out, g->states[i].out->name);
    }
    text_add(out, "%s {\n", g->n_states ? ")" : "");
    body_print(out, g, 2);
    text_add(out, "}\n");
}

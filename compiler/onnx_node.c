/* SPDX-License-Identifier: Apache-2.0
 *
 * A node as its builder sees it: operands as data or as dims, attributes, results, and the refusal with all that is
 * known of the node.
 */
#include "compiler/onnx_inside.h"
#include "compiler/pass.h"
#include "ir/graph_inside.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool node_refuse(struct node *n, const char *format, ...) {
    struct import *im = n->import;
    if (n->refused) return false; /* one reason a node */
    n->refused = true;
    char why[800], types[200] = "";
    va_list list;
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    size_t used = 0;
    for (int i = 0; i < n->n_in && used + 24 < sizeof types; i++) {
        struct text shape = {0};
        const struct value *v = n->in[i] ? n->in[i]->value : NULL;
        if (v) {
            text_add(&shape, "%s[", yj_dtype_name(v->type.dtype));
            for (int d = 0; d < v->type.rank; d++) {
                if (d) text_add(&shape, ",");
                dim_print(&shape, v->type.shape[d]);
            }
            text_add(&shape, "]");
        }
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s", i ? " " : "",
                                 v && shape.data ? shape.data : "-");
        if (used >= sizeof types) used = sizeof types - 1;
        text_free(&shape);
    }
    im->n_refusals++;
    if (im->n_refusals <= 200)
        text_add(&im->file->refusals, "\n  node %d '%s': %s%s%s opset %d (%s): %s", n->number, node_label(n->proto),
                 n->proto->domain && n->proto->domain[0] ? n->proto->domain : "",
                 n->proto->domain && n->proto->domain[0] ? "." : "", n->proto->op_type ? n->proto->op_type : "?",
                 n->version, types, why);
    return false;
}

bool node_has(const struct node *n, int i) {
    if (n->looked && i < 64) n->looked[0] |= UINT64_C(1) << i;
    return i < n->n_in && n->in[i] != NULL;
}

/* Makes the data of a known integer tensor. */
struct value *item_value(struct node *n, struct item *item) {
    if (item->value || !item->known) return item->value;
    int64_t fixed[64], value;
    bool all_fixed = item->n_known <= 64;
    for (int i = 0; i < item->n_known && all_fixed; i++) {
        all_fixed = dim_is_const(item->known[i], &value);
        fixed[i] = value;
    }
    dim shape = node_c(n, item->n_known);
    struct value *v;
    if (all_fixed) {
        int64_t *copy = NEW_ARRAY(n->import->arena, int64_t, item->n_known + 1);
        memcpy(copy, fixed, sizeof(int64_t) * (size_t)item->n_known);
        v = build_constant(&n->b, YJ_I64, 1, &shape, copy, sizeof(int64_t) * (size_t)item->n_known);
    } else {
        struct op *op;
        v = build(&n->b, OP_dims, 0, NULL, attr_dims(n->g, "values", item->n_known, item->known, NULL), &op) == YJ_OK
                ? op->out[0]
                : NULL;
    }
    if (item->known_dtype != YJ_I64) v = build_cast(&n->b, v, item->known_dtype);
    if (item->known_rank == 0) v = build_reshape(&n->b, v, 0, NULL);
    item->value = v;
    return v;
}

void node_passes_over(struct node *n, int i) {
    if (n->looked && i < 64) n->looked[0] |= UINT64_C(1) << i;
}

struct value *node_in(struct node *n, int i) {
    if (!node_has(n, i)) {
        if (!n->refused) node_refuse(n, "operand %d is missing", i);
        return NULL;
    }
    if (n->in[i]->sequence) {
        if (!n->refused) node_refuse(n, "operand %d is a sequence", i);
        return NULL;
    }
    return item_value(n, n->in[i]);
}

/* An integer tensor that is computed from constants alone becomes known. */
static void find_known(struct node *n, struct item *item) {
    struct value *v = item->value;
    struct tensor t;
    if (item->known || !v || v->type.rank > 1 || dtype_kind(v->type.dtype) == 'f' || !fold_small(v, &t)) return;
    int64_t count = (int64_t)(t.n_bytes / yj_dtype_bytes(t.dtype));
    dim *known = NEW_ARRAY(n->import->arena, dim, count + 1);
    for (int64_t k = 0; k < count; k++)
        known[k] = node_c(n, (int64_t)element_load(t.bytes, t.dtype, k));
    item->known = known;
    item->n_known = (int)count;
    item->known_rank = t.rank;
    item->known_dtype = t.dtype;
    tensor_free(&t);
}

bool node_known(struct node *n, int i, int *count, const dim **dims) {
    if (!node_has(n, i)) return false;
    find_known(n, n->in[i]);
    if (!n->in[i]->known) return false;
    *count = n->in[i]->n_known;
    *dims = n->in[i]->known;
    return true;
}

bool node_dims(struct node *n, int i, int64_t low, int64_t high, int *count, const dim **dims) {
    if (node_known(n, i, count, dims)) return true;
    struct value *v = node_in(n, i);
    int64_t length = 1;
    if (!v) return false;
    if (v->type.rank > 1 || (v->type.rank == 1 && !dim_is_const(v->type.shape[0], &length)) || length > 64)
        return node_refuse(n, "operand %d must be a vector of known length to be bound at run time", i);
    if (v->type.dtype != YJ_I64) v = build_cast(&n->b, v, YJ_I64);
    dim *symbols = NEW_ARRAY(n->import->arena, dim, length + 1);
    for (int64_t k = 0; k < length; k++)
        symbols[k] = graph_dim(n->g, arena_text(n->import->arena, "b%d_%d_%d", n->number, i, (int)k), low, high);
    struct op *op;
    if (build(&n->b, OP_bind, 1, &v, attr_dims(n->g, "symbols", (int)length, symbols, NULL), &op) != YJ_OK)
        return node_refuse(n, "%s", yj_error_text());
    *count = (int)length;
    *dims = symbols;
    n->in[i]->known = symbols;
    n->in[i]->n_known = (int)length;
    n->in[i]->known_rank = n->in[i]->value->type.rank;
    n->in[i]->known_dtype = n->in[i]->value->type.dtype;
    return true;
}

bool node_ints(struct node *n, int i, int *count, const int64_t **ints) {
    const dim *dims;
    if (!node_has(n, i)) return node_refuse(n, "operand %d is missing", i);
    if (!node_known(n, i, count, &dims)) return node_refuse(n, "operand %d must be a constant", i);
    int64_t *out = NEW_ARRAY(n->import->arena, int64_t, *count + 1);
    for (int k = 0; k < *count; k++)
        if (!dim_is_const(dims[k], &out[k]))
            return node_refuse(n, "operand %d must be a constant, element %d depends on a shape", i, k);
    *ints = out;
    return true;
}

bool node_constant(struct node *n, int i, const struct data **data, const struct type **type) {
    if (!node_has(n, i)) return false;
    struct value *v = item_value(n, n->in[i]);
    if (!v || !value_constant(v, data)) return false;
    *type = &v->type;
    return true;
}

bool node_scalar(struct node *n, int i, double *value) {
    const struct data *data;
    const struct type *type;
    if (!node_constant(n, i, &data, &type) || data->n_bytes != yj_dtype_bytes(type->dtype)) return false;
    const void *p = data->bytes;
    uint64_t bits = 0;
    memcpy(&bits, p, data->n_bytes);
    bits = scalar_cast(YJ_F64, type->dtype, bits);
    memcpy(value, &bits, sizeof *value);
    return true;
}

const Onnx__AttributeProto *node_attribute(const struct node *n, const char *attribute) {
    for (size_t i = 0; i < n->proto->n_attribute; i++)
        if (n->proto->attribute[i]->name && !strcmp(n->proto->attribute[i]->name, attribute)) {
            if (n->looked && i < 64) n->looked[1] |= UINT64_C(1) << i;
            return n->proto->attribute[i];
        }
    return NULL;
}

/* What a builder never asked for may change the numbers: it is refused, not passed over in silence. Attributes of
 * ai.onnx are the builders' own care: its operators are fixed by their version, those of other domains grow. */
bool node_understood(struct node *n) {
    const Onnx__NodeProto *p = n->proto;
    for (int i = 0; i < n->n_in && i < 64; i++)
        if (n->in[i] && !(n->looked[0] >> i & 1)) return node_refuse(n, "operand %d is not supported", i);
    for (size_t i = 0; i < p->n_attribute && i < 64 && p->domain && p->domain[0]; i++)
        if (!(n->looked[1] >> i & 1))
            return node_refuse(n, "attribute %s is not supported", p->attribute[i]->name ? p->attribute[i]->name : "");
    return true;
}

int64_t node_int(const struct node *n, const char *attribute, int64_t otherwise) {
    const Onnx__AttributeProto *a = node_attribute(n, attribute);
    return a ? a->i : otherwise;
}

double node_float(const struct node *n, const char *attribute, double otherwise) {
    const Onnx__AttributeProto *a = node_attribute(n, attribute);
    return a ? (double)a->f : otherwise;
}

const char *node_text(struct node *n, const char *attribute, const char *otherwise) {
    const Onnx__AttributeProto *a = node_attribute(n, attribute);
    return a && a->has_s ? arena_text(n->import->arena, "%.*s", (int)min64((int64_t)a->s.len, 200), (char *)a->s.data)
                         : otherwise;
}

const int64_t *node_list(const struct node *n, const char *attribute, int *count) {
    const Onnx__AttributeProto *a = node_attribute(n, attribute);
    *count = a ? (int)min64((int64_t)a->n_ints, 64) : 0;
    return a && a->n_ints ? a->ints : NULL;
}

bool node_declared(struct node *n, int i, int *rank, dim *shape) {
    const Onnx__GraphProto *g = n->import->file->model->graph;
    struct onnx_declared d;
    if (!node_wants(n, i) || n->import->depth > 0) return false;
    for (size_t k = 0; k < g->n_output + g->n_value_info; k++) {
        const Onnx__ValueInfoProto *v = k < g->n_output ? g->output[k] : g->value_info[k - g->n_output];
        if (!v->name || strcmp(v->name, n->proto->output[i]) || !import_declared(v, &d)) continue;
        for (int a = 0; a < d.rank; a++) {
            if (d.shape[a] < 0 || d.shape[a] > INT64_C(1) << 40) return false;
            shape[a] = node_c(n, d.shape[a]);
        }
        *rank = d.rank;
        return true;
    }
    return false;
}

bool node_wants(const struct node *n, int i) {
    return i < (int)n->proto->n_output && n->proto->output[i][0];
}

struct item *node_result(struct node *n, int i) {
    if (!node_wants(n, i)) return NULL;
    struct item *item = scope_here(n->import->scope, n->proto->output[i]);
    return item ? item : scope_add(n->import, n->proto->output[i]);
}

bool node_out(struct node *n, int i, struct value *v) {
    if (!v) return n->refused ? false : node_refuse(n, "%s", yj_error_text());
    struct item *item = node_result(n, i);
    if (item) *item = (struct item){.value = v};
    return true;
}

bool node_out_known(struct node *n, int i, int rank, int count, const dim *dims, enum yj_dtype dtype) {
    struct item *item = node_result(n, i);
    dim *copy = NEW_ARRAY(n->import->arena, dim, count + 1);
    memcpy(copy, dims, sizeof(dim) * (size_t)count);
    if (item) *item = (struct item){.known = copy, .n_known = count, .known_rank = rank, .known_dtype = dtype};
    return true;
}

bool node_axis(struct node *n, int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank)
        return node_refuse(n, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

static int ascending(const void *a, const void *b) {
    return *(const int64_t *)a < *(const int64_t *)b ? -1 : 1;
}

bool node_axes(struct node *n, int operand, int rank, int *count, int64_t *axes) {
    const int64_t *list = node_list(n, "axes", count);
    if (!list && operand >= 0 && node_has(n, operand) && !node_ints(n, operand, count, &list)) return false;
    if (*count > GRAPH_MAX_RANK) return node_refuse(n, "%d axes are too many", *count);
    for (int i = 0; i < *count; i++) {
        int axis = 0;
        if (!node_axis(n, list[i], rank, &axis)) return false;
        axes[i] = axis;
    }
    qsort(axes, (size_t)*count, sizeof *axes, ascending);
    for (int i = 1; i < *count; i++)
        if (axes[i] == axes[i - 1]) return node_refuse(n, "axis %lld twice", (long long)axes[i]);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens an ONNX file and walks its nodes: names to items, rows of onnx_ops.def to builders, refusals to one list. A node is
 * imported when its operands are; a file whose nodes are out of order is sorted by that, and a cycle is an error.
 */
#include "compiler/onnx.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct onnx_file {
    char *folder;
    Onnx__ModelProto *model;
};

enum yj_status onnx_open(const char *path, struct onnx_file **file) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0) close(fd);
        return report(YJ_ERR_IO, "cannot open the model %s: %s", path, fd < 0 ? strerror(errno) : "not a file");
    }
    size_t bytes = (size_t)st.st_size;
    void *map = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (map == MAP_FAILED) return report(YJ_ERR_IO, "cannot map the model %s: %s", path, strerror(errno));
    struct onnx_file *f = calloc(1, sizeof *f);
    Onnx__ModelProto *model = f && bytes ? onnx__model_proto__unpack(NULL, bytes, map) : NULL;
    if (map) munmap(map, bytes);
    if (!model || !model->graph) {
        if (model) onnx__model_proto__free_unpacked(model, NULL);
        free(f);
        return report(YJ_ERR_INPUT, "%s (%zu bytes) is not an ONNX model, or it is cut off", path, bytes);
    }
    const char *slash = strrchr(path, '/');
    f->folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    f->model = model;
    *file = f;
    return YJ_OK;
}

void onnx_close(struct onnx_file *f) {
    if (!f) return;
    onnx__model_proto__free_unpacked(f->model, NULL);
    free(f->folder);
    free(f);
}

const char *onnx_last_op(const struct onnx_file *f) {
    const Onnx__GraphProto *g = f->model->graph;
    const char *type = g->n_node ? g->node[g->n_node - 1]->op_type : NULL;
    return type ? type : "?";
}

static bool declared(const Onnx__ValueInfoProto *v, struct onnx_declared *d) {
    const Onnx__TypeProto__Tensor *t = v->type ? v->type->tensor_type : NULL;
    if (!t || !t->shape || t->shape->n_dim > GRAPH_MAX_RANK) return false;
    *d = (struct onnx_declared){t->elem_type, (int)t->shape->n_dim, {0}};
    for (int i = 0; i < d->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *e = t->shape->dim[i];
        bool symbolic = !e->has_dim_value || (e->dim_param && e->dim_param[0]) || e->dim_value < 0;
        d->shape[i] = symbolic ? -1 : e->dim_value;
    }
    return true;
}

bool onnx_declares(const struct onnx_file *f, bool output, int i, struct onnx_declared *d) {
    const Onnx__GraphProto *g = f->model->graph;
    for (size_t k = 0; k < (output ? g->n_output : g->n_input); k++) {
        const Onnx__ValueInfoProto *v = output ? g->output[k] : g->input[k];
        bool initialized = false;
        for (size_t j = 0; j < g->n_initializer && !output && v->name; j++)
            initialized |= g->initializer[j]->name && !strcmp(g->initializer[j]->name, v->name);
        if (!initialized && i-- == 0) return declared(v, d);
    }
    return false;
}

/* ---- scopes: name -> item; an inner scope (a subgraph) sees the outer ones */

struct entry { const char *name; struct item *item; struct entry *next; };
struct scope { struct scope *outer; size_t n_buckets; struct entry **buckets; };

struct import {
    struct onnx_file *file;
    struct arena *arena;
    struct graph *g;
    const struct onnx_options *options;
    struct scope *scope;
    struct text refusals;
    int n_refusals, n_nodes, n_weights, depth;
    const char **node_names;
    int room_nodes;
};

struct arena *import_arena(struct import *im) { return im->arena; }
struct dim_table *import_dims(struct import *im) { return im->g->dims; }
const char *import_folder(struct import *im) { return im->file->folder; }

static struct scope *scope_new(struct import *im, struct scope *outer, size_t names) {
    struct scope *s = NEW(im->arena, struct scope);
    s->outer = outer;
    s->n_buckets = 2 * names + 1;
    s->buckets = NEW_ARRAY(im->arena, struct entry *, s->n_buckets);
    return s;
}

static struct item *scope_find(struct scope *s, const char *name) {
    for (; s; s = s->outer)
        for (struct entry *e = s->buckets[hash_bytes(name, strlen(name), 0) % s->n_buckets]; e; e = e->next)
            if (!strcmp(e->name, name)) return e->item;
    return NULL;
}

static struct item *scope_add(struct import *im, const char *name) {
    struct scope *s = im->scope;
    struct entry *e = NEW(im->arena, struct entry), **bucket = &s->buckets[hash_bytes(name, strlen(name), 0) % s->n_buckets];
    *e = (struct entry){name, NEW(im->arena, struct item), *bucket};
    *bucket = e;
    return e->item;
}

/* ---- operands, attributes, results of a node */

bool node_refuse(struct node *n, const char *format, ...) {
    struct import *im = n->import;
    n->refused = true;
    char why[400], types[200] = "";
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
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s", i ? " " : "", v && shape.data ? shape.data : "-");
        if (used >= sizeof types) used = sizeof types - 1;
        text_free(&shape);
    }
    im->n_refusals++;
    if (im->n_refusals <= 200)
        text_add(&im->refusals, "\n  node %d '%s': %s%s%s opset %d (%s): %s", n->number, n->proto->name ? n->proto->name : "",
                 n->proto->domain && n->proto->domain[0] ? n->proto->domain : "", n->proto->domain && n->proto->domain[0] ? "." : "",
                 n->proto->op_type ? n->proto->op_type : "?", n->version, types, why);
    return false;
}

bool node_has(const struct node *n, int i) { return i < n->n_in && n->in[i] != NULL; }

/* Makes the data of a known integer tensor. */
static struct value *item_value(struct node *n, struct item *item) {
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
        v = build(&n->b, OP_dims, 0, NULL, attr_dims(n->g, "values", item->n_known, item->known, NULL), &op) == YJ_OK ? op->out[0] : NULL;
    }
    if (item->known_dtype != YJ_I64) v = build_cast(&n->b, v, item->known_dtype);
    if (item->known_rank == 0) v = build_reshape(&n->b, v, 0, NULL);
    item->value = v;
    return v;
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

bool node_known(struct node *n, int i, int *count, const dim **dims) {
    if (!node_has(n, i) || !n->in[i]->known) return false;
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
        if (!dim_is_const(dims[k], &out[k])) return node_refuse(n, "operand %d must be a constant, element %d depends on a shape", i, k);
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
        if (n->proto->attribute[i]->name && !strcmp(n->proto->attribute[i]->name, attribute)) return n->proto->attribute[i];
    return NULL;
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
    return a && a->has_s ? arena_text(n->import->arena, "%.*s", (int)min64((int64_t)a->s.len, 200), (char *)a->s.data) : otherwise;
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
        if (!v->name || strcmp(v->name, n->proto->output[i]) || !declared(v, &d)) continue;
        for (int a = 0; a < d.rank; a++) {
            if (d.shape[a] < 0 || d.shape[a] > INT64_C(1) << 40) return false;
            shape[a] = node_c(n, d.shape[a]);
        }
        *rank = d.rank;
        return true;
    }
    return false;
}

bool node_wants(const struct node *n, int i) { return i < (int)n->proto->n_output && n->proto->output[i][0]; }

static struct item *result(struct node *n, int i) {
    if (!node_wants(n, i)) return NULL;
    struct item *item = scope_find(n->import->scope, n->proto->output[i]);
    return item ? item : scope_add(n->import, n->proto->output[i]);
}

bool node_out(struct node *n, int i, struct value *v) {
    if (!v) return n->refused ? false : node_refuse(n, "%s", yj_error_text());
    struct item *item = result(n, i);
    if (item) *item = (struct item){.value = v};
    return true;
}

bool node_out_known(struct node *n, int i, int rank, int count, const dim *dims, enum yj_dtype dtype) {
    struct item *item = result(n, i);
    dim *copy = NEW_ARRAY(n->import->arena, dim, count + 1);
    memcpy(copy, dims, sizeof(dim) * (size_t)count);
    if (item) *item = (struct item){.known = copy, .n_known = count, .known_rank = rank, .known_dtype = dtype};
    return true;
}

bool node_axis(struct node *n, int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank) return node_refuse(n, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

static int ascending(const void *a, const void *b) { return *(const int64_t *)a < *(const int64_t *)b ? -1 : 1; }

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

/* ---- the table of operators */

struct row { const char *domain, *type; int since; node_fn *fn; };
#define ONNX(domain, type, since, fn) bool fn(struct node *n);
#include "compiler/onnx_ops.def"
#undef ONNX
static const struct row rows[] = {
#define ONNX(domain, type, since, fn) {domain, #type, since, fn},
#include "compiler/onnx_ops.def"
#undef ONNX
};

static int opset_of(const struct import *im, const char *domain) {
    const Onnx__ModelProto *m = im->file->model;
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *d = m->opset_import[i]->domain;
        if (!d || !strcmp(d, "ai.onnx")) d = "";
        if (!strcmp(d, domain)) return (int)m->opset_import[i]->version;
    }
    return 1;
}

static const struct row *row_find(const char *domain, const char *type, int version) {
    const struct row *best = NULL;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (!strcmp(rows[i].domain, domain) && !strcmp(rows[i].type, type) && rows[i].since <= version &&
            (!best || rows[i].since > best->since))
            best = &rows[i];
    return best;
}

/* ---- walking */

static void remember_name(struct import *im, const Onnx__NodeProto *p) {
    if (im->n_nodes == im->room_nodes) {
        im->room_nodes = im->room_nodes ? 2 * im->room_nodes : 256;
        const char **more = NEW_ARRAY(im->arena, const char *, im->room_nodes);
        if (im->n_nodes) memcpy(more, im->node_names, sizeof *more * (size_t)im->n_nodes);
        im->node_names = more;
    }
    im->node_names[im->n_nodes++] = arena_text(im->arena, "%s (%s)", p->name ? p->name : "", p->op_type ? p->op_type : "?");
}

static void refuse_results(struct node *n) {
    for (int i = 0; i < (int)n->proto->n_output; i++) {
        struct item *item = result(n, i);
        if (item) *item = (struct item){.refused = true};
    }
}

static void import_node(struct import *im, struct graph *g, const Onnx__NodeProto *p, struct item **in) {
    const char *domain = p->domain && strcmp(p->domain, "ai.onnx") ? p->domain : "";
    const char *type = p->op_type ? p->op_type : "";
    struct node n = {.import = im, .proto = p, .number = im->n_nodes, .version = opset_of(im, domain), .n_in = (int)p->n_input,
                     .in = in, .g = g, .dims = g->dims};
    int *origin = NEW(im->arena, int);
    *origin = n.number;
    n.b = (struct builder){g, NULL, 1, origin};
    remember_name(im, p);
    for (int i = 0; i < n.n_in; i++)
        if (in[i] && in[i]->refused) {
            refuse_results(&n);
            return;
        }
    const struct row *row = row_find(domain, type, n.version);
    bool ok = row ? onnx_known(&n) || (!n.refused && row->fn(&n)) : node_refuse(&n, "there is no such operator in Yunjin");
    if (ok && !n.refused) return;
    if (!n.refused) node_refuse(&n, "%s", yj_error_text());
    refuse_results(&n);
}

static bool operands_ready(struct import *im, const Onnx__NodeProto *p, struct item **in) {
    for (size_t i = 0; i < p->n_input; i++) {
        in[i] = p->input[i][0] ? scope_find(im->scope, p->input[i]) : NULL;
        if (p->input[i][0] && !in[i]) return false;
    }
    return true;
}

/* Names that a node's subgraphs take from outside must exist too. */
static bool subgraphs_ready(struct import *im, const Onnx__GraphProto *g, int depth) {
    if (depth > 20) return true;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++) {
            const char *name = g->node[i]->input[k];
            bool inner = !name[0] || scope_find(im->scope, name) != NULL;
            for (size_t j = 0; j < g->n_node && !inner; j++)
                for (size_t o = 0; o < g->node[j]->n_output && !inner; o++) inner = !strcmp(g->node[j]->output[o], name);
            for (size_t j = 0; j < g->n_input && !inner; j++) inner = g->input[j]->name && !strcmp(g->input[j]->name, name);
            for (size_t j = 0; j < g->n_initializer && !inner; j++) inner = g->initializer[j]->name && !strcmp(g->initializer[j]->name, name);
            if (!inner) return false;
        }
    return true;
}

static bool node_ready(struct import *im, const Onnx__NodeProto *p, struct item **in) {
    if (!operands_ready(im, p, in)) return false;
    for (size_t a = 0; a < p->n_attribute; a++)
        if (p->attribute[a]->g && !subgraphs_ready(im, p->attribute[a]->g, 0)) return false;
    return true;
}

static enum yj_status import_nodes(struct import *im, struct graph *g, const Onnx__GraphProto *p) {
    bool *done = NEW_ARRAY(im->arena, bool, p->n_node + 1);
    size_t left = p->n_node;
    while (left) {
        size_t before = left;
        for (size_t i = 0; i < p->n_node; i++) {
            struct item **in = done[i] ? NULL : NEW_ARRAY(im->arena, struct item *, p->node[i]->n_input + 1);
            if (done[i] || !node_ready(im, p->node[i], in)) continue;
            import_node(im, g, p->node[i], in);
            done[i] = true;
            left--;
        }
        if (left != before) continue;
        for (size_t i = 0; i < p->n_node; i++)
            for (size_t k = 0; k < p->node[i]->n_input && !done[i]; k++)
                if (p->node[i]->input[k][0] && !scope_find(im->scope, p->node[i]->input[k]))
                    return report(YJ_ERR_INPUT, "node %zu '%s' (%s) needs '%s', which nothing makes, or a cycle of nodes", i,
                                  p->node[i]->name ? p->node[i]->name : "", p->node[i]->op_type ? p->node[i]->op_type : "?",
                                  p->node[i]->input[k]);
        return report(YJ_ERR_INPUT, "the nodes of graph '%s' depend on each other in a cycle", p->name ? p->name : "");
    }
    return YJ_OK;
}

/* Integer constants of few elements are known as dims. */
static void know_constant(struct import *im, struct item *item) {
    const struct data *data;
    const struct type *t = &item->value->type;
    int64_t n = 1;
    if (!value_constant(item->value, &data) || t->rank > 1 || (t->dtype != YJ_I64 && t->dtype != YJ_I32)) return;
    if (t->rank == 1 && (!dim_is_const(t->shape[0], &n) || n > 256)) return;
    dim *known = NEW_ARRAY(im->arena, dim, n + 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = 0;
        if (t->dtype == YJ_I64) memcpy(&v, (const char *)data->bytes + 8 * i, 8);
        else {
            int32_t w;
            memcpy(&w, (const char *)data->bytes + 4 * i, 4);
            v = w;
        }
        known[i] = dim_const(im->g->dims, v);
    }
    item->known = known;
    item->n_known = (int)n;
    item->known_rank = t->rank;
    item->known_dtype = t->dtype;
}

/* Constants of more than a few bytes print as data(N). */
static void number_weight(struct import *im, struct value *v) {
    if (v->op->data.n_bytes > 128) v->op->data.weight = im->n_weights++;
}

bool onnx_constant_result(struct node *n, int i, const struct type *type, const struct data *data) {
    struct value *v = build_constant(&n->b, type->dtype, type->rank, type->shape, data->bytes, data->n_bytes);
    if (!node_out(n, i, v)) return false;
    struct item *item = result(n, i);
    number_weight(n->import, v);
    if (item) know_constant(n->import, item);
    return true;
}

static enum yj_status import_initializers(struct import *im, struct graph *g, const Onnx__GraphProto *p) {
    for (size_t i = 0; i < p->n_initializer; i++) {
        const Onnx__TensorProto *t = p->initializer[i];
        struct type type;
        struct data data;
        TRY(onnx_tensor(im, t, &type, &data));
        struct builder b = {g, NULL, 0, NULL};
        struct value *v = build_constant(&b, type.dtype, type.rank, type.shape, data.bytes, data.n_bytes);
        if (!v) return YJ_ERR_INPUT;
        v->op->data.name = t->name;
        number_weight(im, v);
        struct item *item = scope_add(im, t->name ? t->name : "");
        item->value = v;
        know_constant(im, item);
    }
    return YJ_OK;
}

/* A dim_param as a symbol: text that is a dim expression stays one, other characters become '_'. */
static dim input_dim(struct import *im, const char *input, size_t axis, const Onnx__TensorShapeProto__Dimension *d) {
    struct graph *g = im->g;
    if (d->has_dim_value && !(d->dim_param && d->dim_param[0])) return dim_const(g->dims, d->dim_value);
    const char *text = d->dim_param && d->dim_param[0] && strcmp(d->dim_param, "?") ? d->dim_param : NULL;
    char *name = text ? arena_text(im->arena, "%s", text) : arena_text(im->arena, "%s.%zu", input, axis);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.') *c = '_';
    if (isdigit((unsigned char)name[0])) name = arena_text(im->arena, "d%s", name);
    int64_t low = 0, high = DIM_UNBOUNDED;
    for (int i = 0; i < im->options->n_bounds; i++)
        if (!strcmp(im->options->bounds[i].name, name) || (text && !strcmp(im->options->bounds[i].name, text))) {
            low = im->options->bounds[i].low;
            high = im->options->bounds[i].high;
        }
    return low == high ? dim_const(g->dims, low) : graph_dim(g, name, low, high);
}

static enum yj_status import_input(struct import *im, struct graph *g, const Onnx__ValueInfoProto *v) {
    const char *name = v->name ? v->name : "";
    if (scope_find(im->scope, name)) return YJ_OK; /* an initializer is listed as input too: IR version 3 */
    const Onnx__TypeProto *type = v->type;
    if (!type || !type->tensor_type)
        return report(YJ_ERR_UNSUPPORTED, "input '%s' is not a tensor (sequences, maps and optionals are not supported)", name);
    enum yj_dtype dtype;
    if (!dtype_from_onnx(type->tensor_type->elem_type, &dtype))
        return report(YJ_ERR_UNSUPPORTED, "input '%s' has element type %d, which Yunjin does not have", name, type->tensor_type->elem_type);
    const Onnx__TensorShapeProto *s = type->tensor_type->shape;
    if (!s) return report(YJ_ERR_UNSUPPORTED, "input '%s' has no shape: its rank must be known", name);
    if (s->n_dim > GRAPH_MAX_RANK) return report(YJ_ERR_UNSUPPORTED, "input '%s' has rank %zu; at most %d", name, s->n_dim, GRAPH_MAX_RANK);
    dim shape[GRAPH_MAX_RANK];
    for (size_t d = 0; d < s->n_dim; d++) {
        if (s->dim[d]->has_dim_value && (s->dim[d]->dim_value < 0 || s->dim[d]->dim_value > INT64_C(1) << 40))
            return report(YJ_ERR_INPUT, "input '%s': dimension %zu is %lld", name, d, (long long)s->dim[d]->dim_value);
        shape[d] = input_dim(im, name, d, s->dim[d]);
    }
    struct item *item = scope_add(im, name);
    item->value = graph_input(g, name, dtype, (int)s->n_dim, shape);
    return YJ_OK;
}

static size_t names_of(const Onnx__GraphProto *p) {
    size_t n = p->n_input + p->n_initializer;
    for (size_t i = 0; i < p->n_node; i++) n += p->node[i]->n_output;
    return n;
}

static struct item *output_item(struct import *im, const Onnx__ValueInfoProto *v) {
    return v->name ? scope_find(im->scope, v->name) : NULL;
}

bool node_region(struct node *n, const char *attribute, struct graph *region, int n_in, struct item *in) {
    struct import *im = n->import;
    const Onnx__AttributeProto *a = node_attribute(n, attribute);
    if (!a || !a->g) return node_refuse(n, "attribute %s, a graph, is missing", attribute);
    if (im->depth > 16) return node_refuse(n, "subgraphs nest more than 16 deep");
    if ((int)a->g->n_input != n_in) return node_refuse(n, "subgraph %s takes %zu inputs, %d were given", attribute, a->g->n_input, n_in);
    struct scope *outer = im->scope;
    im->scope = scope_new(im, outer, names_of(a->g));
    im->depth++;
    for (int i = 0; i < n_in; i++) *scope_add(im, a->g->input[i]->name ? a->g->input[i]->name : "") = in[i];
    int before = im->n_refusals;
    enum yj_status status = import_initializers(im, region, a->g);
    if (status == YJ_OK) status = import_nodes(im, region, a->g);
    bool ok = status == YJ_OK && im->n_refusals == before;
    struct node inner = *n;
    inner.g = region;
    inner.b.graph = region;
    for (size_t i = 0; i < a->g->n_output && ok; i++) {
        struct item *item = output_item(im, a->g->output[i]);
        struct value *v = item ? item_value(&inner, item) : NULL;
        if (v) graph_output(region, v, NULL);
        else ok = node_refuse(n, "subgraph %s: output %zu is not made", attribute, i);
    }
    im->depth--;
    im->scope = outer;
    if (status != YJ_OK) return node_refuse(n, "%s", yj_error_text());
    if (!ok && !n->refused) n->refused = true; /* the inner nodes have been listed */
    return ok;
}

static bool pattern_match(const char *pattern, const char *name, const char **middle, size_t *length) {
    const char *star = strchr(pattern, '*');
    *middle = "";
    *length = 0;
    if (!star) return !strcmp(pattern, name);
    size_t head = (size_t)(star - pattern), tail = strlen(star + 1), all = strlen(name);
    if (all < head + tail || strncmp(name, pattern, head) || strcmp(name + all - tail, star + 1)) return false;
    *middle = name + head;
    *length = all - head - tail;
    return true;
}

static enum yj_status import_states(struct import *im, struct graph *g, const Onnx__GraphProto *p) {
    for (int s = 0; s < im->options->n_states; s++) {
        int before = g->n_states;
        for (int i = 0; i < g->n_in; i++) {
            const char *middle, *star = strchr(im->options->states[s].out, '*');
            size_t length;
            if (!pattern_match(im->options->states[s].in, g->in[i]->name, &middle, &length)) continue;
            const char *pattern = im->options->states[s].out;
            char *want = star ? arena_text(im->arena, "%.*s%.*s%s", (int)(star - pattern), pattern, (int)length, middle, star + 1)
                              : arena_text(im->arena, "%s", pattern);
            for (size_t o = 0; o < p->n_output; o++)
                if (p->output[o]->name && !strcmp(p->output[o]->name, want) && (int)o < g->n_out)
                    graph_state(g, g->in[i], g->out[o]);
        }
        if (g->n_states == before)
            return report(YJ_ERR_INPUT, "--state %s=%s: no input and output have such names", im->options->states[s].in, im->options->states[s].out);
    }
    return YJ_OK;
}

static enum yj_status import_main(struct import *im, const Onnx__GraphProto *p) {
    struct graph *g = im->g;
    TRY(import_initializers(im, g, p));
    for (size_t i = 0; i < p->n_input; i++) TRY(import_input(im, g, p->input[i]));
    TRY(import_nodes(im, g, p));
    if (im->n_refusals) {
        const char *more = im->n_refusals > 200 ? "\n  ... and more" : "";
        return report(YJ_ERR_UNSUPPORTED, "%d node%s of the model %s not supported:%s%s", im->n_refusals, im->n_refusals > 1 ? "s" : "",
                      im->n_refusals > 1 ? "are" : "is", im->refusals.data ? im->refusals.data : "", more);
    }
    if (p->n_output == 0) return report(YJ_ERR_INPUT, "the model has no output");
    struct node last = {.import = im, .g = g, .dims = g->dims, .b = {g, NULL, 0, NULL}};
    for (size_t i = 0; i < p->n_output; i++) {
        struct item *item = output_item(im, p->output[i]);
        if (!item || item->sequence) return report(YJ_ERR_INPUT, "output '%s' is not made by any node, or is a sequence", p->output[i]->name ? p->output[i]->name : "");
        struct value *v = item_value(&last, item);
        if (!v) return YJ_ERR_INTERNAL;
        graph_output(g, v, p->output[i]->name);
    }
    return import_states(im, g, p);
}

enum yj_status onnx_import(struct onnx_file *file, struct arena *arena, const struct onnx_options *options, struct graph **g) {
    const Onnx__GraphProto *p = file->model->graph;
    struct import im = {.file = file, .arena = arena, .options = options};
    if (opset_of(&im, "") > 28) log_line(YJ_LOG_WARN, "opset %d is newer than the newest that was tested (23)", opset_of(&im, ""));
    im.g = graph_new(arena, p->name && p->name[0] ? p->name : "main");
    im.scope = scope_new(&im, NULL, names_of(p));
    enum yj_status status = import_main(&im, p);
    text_free(&im.refusals);
    im.g->n_nodes = im.n_nodes;
    im.g->node_names = im.node_names;
    if (status == YJ_OK) *g = im.g;
    return status;
}

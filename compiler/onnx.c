/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks the nodes of an ONNX graph: names to items, rows of onnx_ops.def to builders, refusals to one list. A node is
 * imported when its operands are; a file whose nodes are out of order is sorted by that, and a cycle is an error.
 */
#include "compiler/onnx_inside.h"
#include "ir/graph_inside.h"
#include <ctype.h>

/* ---- scopes: name -> item; an inner scope (a subgraph) sees the outer ones */

struct arena *import_arena(struct import *im) {
    return im->arena;
}
struct dim_table *import_dims(struct import *im) {
    return im->g->dims;
}
const char *import_folder(struct import *im) {
    return im->file->folder;
}

struct scope *scope_new(struct import *im, struct scope *outer, size_t names) {
    struct scope *s = NEW(im->arena, struct scope);
    s->outer = outer;
    s->n_buckets = 2 * names + 1;
    s->buckets = NEW_ARRAY(im->arena, struct entry *, s->n_buckets);
    return s;
}

struct item *scope_find(struct scope *s, const char *name) {
    for (; s; s = s->outer)
        for (struct entry *e = s->buckets[hash_bytes(name, strlen(name), 0) % s->n_buckets]; e; e = e->next)
            if (!strcmp(e->name, name)) return e->item;
    return NULL;
}

struct item *scope_here(const struct scope *s, const char *name) {
    for (struct entry *e = s->buckets[hash_bytes(name, strlen(name), 0) % s->n_buckets]; e; e = e->next)
        if (!strcmp(e->name, name)) return e->item;
    return NULL;
}

struct item *scope_add(struct import *im, const char *name) {
    struct scope *s = im->scope;
    struct entry *e = NEW(im->arena, struct entry),
                 **bucket = &s->buckets[hash_bytes(name, strlen(name), 0) % s->n_buckets];
    *e = (struct entry){name, NEW(im->arena, struct item), *bucket};
    *bucket = e;
    return e->item;
}

/* ---- the table of operators */

struct row {
    const char *domain, *type;
    int since;
    node_fn *fn;
};
#define ONNX(domain, type, since, fn) bool fn(struct node *n);
#include "compiler/onnx_ops.def"
#undef ONNX
static const struct row rows[] = {
#define ONNX(domain, type, since, fn) {domain, #type, since, fn},
#include "compiler/onnx_ops.def"
#undef ONNX
};

static bool opset_in(size_t n, Onnx__OperatorSetIdProto *const *sets, const char *domain, int *version) {
    for (size_t i = 0; i < n; i++) {
        const char *d = sets[i]->domain;
        if (!d || !strcmp(d, "ai.onnx")) d = "";
        if (strcmp(d, domain)) continue;
        *version = (int)max64(min64(sets[i]->version, 1000), 0);
        return true;
    }
    return false;
}

int import_opset(const struct import *im, const char *domain) {
    const Onnx__ModelProto *m = im->file->model;
    int version = 1;
    if (im->function && opset_in(im->function->n_opset_import, im->function->opset_import, domain, &version))
        return version;
    opset_in(m->n_opset_import, m->opset_import, domain, &version);
    return version;
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

const char *node_label(const Onnx__NodeProto *p) {
    if (p->name && *p->name) return p->name;
    for (size_t i = 0; i < p->n_output; i++)
        if (*p->output[i]) return p->output[i];
    return "";
}

static void remember_name(struct import *im, const Onnx__NodeProto *p) {
    if (im->n_nodes == im->room_nodes) {
        im->room_nodes = im->room_nodes ? 2 * im->room_nodes : 256;
        const char **more = NEW_ARRAY(im->arena, const char *, im->room_nodes);
        if (im->n_nodes) memcpy(more, im->node_names, sizeof *more * (size_t)im->n_nodes);
        im->node_names = more;
    }
    im->node_names[im->n_nodes++] = arena_text(im->arena, "%s (%s)", node_label(p), p->op_type ? p->op_type : "?");
}

static void refuse_results(struct node *n) {
    for (int i = 0; i < (int)n->proto->n_output; i++) {
        struct item *item = node_result(n, i);
        if (item) *item = (struct item){.refused = true};
    }
}

static const Onnx__FunctionProto *function_find(const struct import *im, const char *domain, const char *type) {
    const Onnx__ModelProto *m = im->file->model;
    for (size_t i = 0; i < m->n_functions; i++) {
        const Onnx__FunctionProto *f = m->functions[i];
        if (f->name && !strcmp(f->name, type) && !strcmp(f->domain ? f->domain : "", domain ? domain : "")) return f;
    }
    return NULL;
}

static const char *missing(const char *type) {
    bool lists = strstr(type, "Sequence") || !strncmp(type, "Optional", 8);
    return lists ? "values that are no tensors (sequences, maps and optionals) are not supported"
                 : "there is no such operator in Yunjin";
}

static bool build_node(struct node *n, node_fn *fn) {
    uint64_t looked[2] = {0, 0};
    n->looked = looked;
    bool ok = fn(n) && node_understood(n);
    n->looked = NULL;
    return ok;
}

static void import_node(struct import *im, struct graph *g, const Onnx__NodeProto *p, struct item **in) {
    const char *domain = p->domain && strcmp(p->domain, "ai.onnx") ? p->domain : "";
    const char *type = p->op_type ? p->op_type : "";
    struct node n = {.import = im,
                     .proto = p,
                     .number = im->n_nodes,
                     .version = import_opset(im, domain),
                     .n_in = (int)p->n_input,
                     .in = in,
                     .g = g,
                     .dims = g->dims};
    int *origin = NEW(im->arena, int);
    *origin = n.number;
    n.b = (struct builder){g, NULL, 1, origin};
    remember_name(im, p);
    for (int i = 0; i < n.n_in; i++)
        if (in[i] && in[i]->refused) {
            refuse_results(&n);
            return;
        }
    for (size_t i = 0; i < p->n_attribute; i++)
        if (p->attribute[i]->ref_attr_name && p->attribute[i]->ref_attr_name[0])
            node_refuse(&n, "attribute %s refers to one of a function, from within a subgraph",
                        p->attribute[i]->name ? p->attribute[i]->name : "");
    const struct row *row = row_find(domain, type, n.version);
    const Onnx__FunctionProto *f = row ? NULL : function_find(im, p->domain, type);
    bool ok = n.refused ? false
              : row     ? onnx_known(&n) || (!n.refused && build_node(&n, row->fn))
              : f       ? import_function(&n, f)
                        : node_refuse(&n, "%s", missing(type));
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
                for (size_t o = 0; o < g->node[j]->n_output && !inner; o++)
                    inner = !strcmp(g->node[j]->output[o], name);
            for (size_t j = 0; j < g->n_input && !inner; j++)
                inner = g->input[j]->name && !strcmp(g->input[j]->name, name);
            for (size_t j = 0; j < g->n_initializer && !inner; j++)
                inner = g->initializer[j]->name && !strcmp(g->initializer[j]->name, name);
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

static enum yj_status results_are_new(const struct import *im, const Onnx__NodeProto *p) {
    for (size_t i = 0; i < p->n_output; i++) {
        bool again = p->output[i][0] && scope_here(im->scope, p->output[i]) != NULL;
        for (size_t k = 0; k < i && k < 64 && !again; k++)
            again = p->output[i][0] && !strcmp(p->output[i], p->output[k]);
        if (again)
            return report(YJ_ERR_INPUT, "node %d '%s' (%s) makes '%s', which exists already", im->n_nodes,
                          node_label(p), p->op_type ? p->op_type : "?", p->output[i]);
    }
    return YJ_OK;
}

#define MOST_NODES 1000000

/* Nodes that wait for others are tried again, from the other end each time: a list in reverse takes two rounds. */
enum yj_status import_nodes(struct import *im, struct graph *g, size_t n, Onnx__NodeProto *const *nodes,
                            const char *where) {
    struct item ***in = NEW_ARRAY(im->arena, struct item **, n + 1);
    bool *done = NEW_ARRAY(im->arena, bool, n + 1);
    size_t left = n;
    for (size_t i = 0; i < n; i++)
        in[i] = NEW_ARRAY(im->arena, struct item *, nodes[i]->n_input + 1);
    for (bool backwards = false; left; backwards = !backwards) {
        size_t before = left;
        for (size_t k = 0; k < n; k++) {
            size_t i = backwards ? n - 1 - k : k;
            if (done[i] || !node_ready(im, nodes[i], in[i])) continue;
            if (im->n_nodes == MOST_NODES)
                return report(YJ_ERR_UNSUPPORTED, "more than %d nodes, functions written out", MOST_NODES);
            TRY(results_are_new(im, nodes[i]));
            import_node(im, g, nodes[i], in[i]);
            done[i] = true;
            left--;
        }
        if (left != before) continue;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < nodes[i]->n_input && !done[i]; k++)
                if (nodes[i]->input[k][0] && !scope_find(im->scope, nodes[i]->input[k]))
                    return report(
                        YJ_ERR_INPUT, "node %zu '%s' (%s) needs '%s', which nothing makes, or a cycle of nodes", i,
                        node_label(nodes[i]), nodes[i]->op_type ? nodes[i]->op_type : "?", nodes[i]->input[k]);
        return report(YJ_ERR_INPUT, "the nodes of graph '%s' depend on each other in a cycle", where ? where : "");
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
        if (t->dtype == YJ_I64)
            memcpy(&v, (const char *)data->bytes + 8 * i, 8);
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
    struct item *item = node_result(n, i);
    number_weight(n->import, v);
    if (item) know_constant(n->import, item);
    return true;
}

enum yj_status import_initializers(struct import *im, struct graph *g, const Onnx__GraphProto *p) {
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
        if (scope_here(im->scope, t->name ? t->name : ""))
            return report(YJ_ERR_INPUT, "two initializers are named '%s'", t->name ? t->name : "");
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
            im->bound_used[i] = true;
        }
    return low == high ? dim_const(g->dims, low) : graph_dim(g, name, low, high);
}

/* An input that is one integer and is bound to one value is a constant: FIXED is it, else NULL. */
static enum yj_status fixed_input(struct import *im, struct graph *g, const char *name, enum yj_dtype dtype,
                                  const Onnx__TensorShapeProto *s, struct value **fixed) {
    struct builder b = {g, NULL, 0, NULL};
    dim shape[GRAPH_MAX_RANK];
    int64_t *value = NEW(im->arena, int64_t);
    *fixed = NULL;
    for (size_t d = 0; d < s->n_dim; d++) {
        if (s->dim[d]->dim_value != 1) return YJ_OK;
        shape[d] = dim_const(g->dims, 1);
    }
    if (dtype != YJ_I64 && dtype != YJ_I32) return YJ_OK;
    for (int i = 0; i < im->options->n_bounds; i++) {
        const struct onnx_bound *bound = &im->options->bounds[i];
        if (strcmp(bound->name, name) != 0) continue;
        if (bound->low != bound->high)
            return report(YJ_ERR_INPUT, "--dim %s: it is an input of one integer: write %s=N", name, name);
        im->bound_used[i] = true;
        element_store(value, dtype, 0, (uint64_t)bound->low);
        *fixed = build_constant(&b, dtype, (int)s->n_dim, shape, value, yj_dtype_bytes(dtype));
        return *fixed ? YJ_OK : YJ_ERR_INTERNAL;
    }
    return YJ_OK;
}

static enum yj_status import_input(struct import *im, struct graph *g, const Onnx__ValueInfoProto *v) {
    const char *name = v->name ? v->name : "";
    const struct item *made = scope_find(im->scope, name);
    if (made && made->value->op) return YJ_OK; /* an initializer is listed as input too: IR version 3 */
    if (made) return report(YJ_ERR_INPUT, "two inputs are named '%s'", name);
    const Onnx__TypeProto *type = v->type;
    if (!type || !type->tensor_type)
        return report(YJ_ERR_UNSUPPORTED,
                      "input '%s' is not a tensor (sequences, maps and optionals are not supported)", name);
    enum yj_dtype dtype;
    if (!dtype_from_onnx(type->tensor_type->elem_type, &dtype))
        return report(YJ_ERR_UNSUPPORTED, "input '%s' has element type %d, which Yunjin does not have", name,
                      type->tensor_type->elem_type);
    const Onnx__TensorShapeProto *s = type->tensor_type->shape;
    if (!s) return report(YJ_ERR_UNSUPPORTED, "input '%s' has no shape: its rank must be known", name);
    if (s->n_dim > GRAPH_MAX_RANK)
        return report(YJ_ERR_UNSUPPORTED, "input '%s' has rank %zu; at most %d", name, s->n_dim, GRAPH_MAX_RANK);
    dim shape[GRAPH_MAX_RANK];
    struct value *fixed;
    TRY(fixed_input(im, g, name, dtype, s, &fixed));
    if (fixed) {
        struct item *item = scope_add(im, name);
        item->value = fixed;
        know_constant(im, item);
        return YJ_OK;
    }
    for (size_t d = 0; d < s->n_dim; d++) {
        if (s->dim[d]->has_dim_value && (s->dim[d]->dim_value < 0 || s->dim[d]->dim_value > INT64_C(1) << 40))
            return report(YJ_ERR_INPUT, "input '%s': dimension %zu is %lld", name, d, (long long)s->dim[d]->dim_value);
        shape[d] = input_dim(im, name, d, s->dim[d]);
    }
    struct item *item = scope_add(im, name);
    item->value = graph_input(g, name, dtype, (int)s->n_dim, shape);
    return YJ_OK;
}

size_t import_names(const Onnx__GraphProto *p) {
    size_t n = p->n_input + p->n_initializer;
    for (size_t i = 0; i < p->n_node; i++)
        n += p->node[i]->n_output;
    return n;
}

static struct item *output_item(struct import *im, const Onnx__ValueInfoProto *v) {
    return v->name ? scope_find(im->scope, v->name) : NULL;
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
            char *want = star ? arena_text(im->arena, "%.*s%.*s%s", (int)(star - pattern), pattern, (int)length, middle,
                                           star + 1)
                              : arena_text(im->arena, "%s", pattern);
            for (size_t o = 0; o < p->n_output; o++)
                if (p->output[o]->name && !strcmp(p->output[o]->name, want) && (int)o < g->n_out)
                    graph_state(g, g->in[i], g->out[o]);
        }
        if (g->n_states == before)
            return report(YJ_ERR_INPUT, "--state %s=%s: no input and output have such names", im->options->states[s].in,
                          im->options->states[s].out);
    }
    return YJ_OK;
}

static void name_dim(void *user, dim symbol) {
    text_add(user, " %s", symbol->name);
}

/* A bound for a dimension that no input has is a mistake. */
static enum yj_status check_bounds(const struct import *im) {
    for (int i = 0; i < im->options->n_bounds; i++) {
        if (im->bound_used[i]) continue;
        struct text names = {0};
        for (int k = 0; k < im->g->n_in; k++)
            for (int d = 0; d < im->g->in[k]->type.rank; d++)
                dim_symbols(im->g->in[k]->type.shape[d], name_dim, &names);
        report(YJ_ERR_INPUT, "no input has a dimension '%s'; those without a bound:%s", im->options->bounds[i].name,
               names.data ? names.data : " none");
        text_free(&names);
        return YJ_ERR_INPUT;
    }
    return YJ_OK;
}

static enum yj_status import_main(struct import *im, const Onnx__GraphProto *p) {
    struct graph *g = im->g;
    TRY(import_initializers(im, g, p));
    im->bound_used = NEW_ARRAY(im->arena, bool, im->options->n_bounds + 1);
    for (size_t i = 0; i < p->n_input; i++)
        TRY(import_input(im, g, p->input[i]));
    TRY(check_bounds(im));
    TRY(import_nodes(im, g, p->n_node, p->node, p->name));
    if (im->n_refusals) {
        const char *more = im->n_refusals > 200 ? "\n  ... and more" : "";
        return report(YJ_ERR_UNSUPPORTED, "%d node%s of the model %s not supported:%s%s", im->n_refusals,
                      im->n_refusals > 1 ? "s" : "", im->n_refusals > 1 ? "are" : "is",
                      im->file->refusals.data ? im->file->refusals.data : "", more);
    }
    if (p->n_output == 0) return report(YJ_ERR_INPUT, "the model has no output");
    struct node last = {.import = im, .g = g, .dims = g->dims, .b = {g, NULL, 0, NULL}};
    for (size_t i = 0; i < p->n_output; i++) {
        struct item *item = output_item(im, p->output[i]);
        if (!item || item->sequence)
            return report(YJ_ERR_INPUT, "output '%s' is not made by any node, or is a sequence",
                          p->output[i]->name ? p->output[i]->name : "");
        struct value *v = item_value(&last, item);
        if (!v) return YJ_ERR_INTERNAL;
        graph_output(g, v, p->output[i]->name);
    }
    return import_states(im, g, p);
}

enum yj_status onnx_import(struct onnx_file *file, struct arena *arena, const struct onnx_options *options,
                           struct graph **g) {
    const Onnx__GraphProto *p = file->model->graph;
    text_free(&file->refusals);
    struct import im = {.file = file, .arena = arena, .options = options};
    if (import_opset(&im, "") > 28)
        log_line(YJ_LOG_WARN, "opset %d is newer than the newest that was tested (23)", import_opset(&im, ""));
    im.g = graph_new(arena, p->name && p->name[0] ? p->name : "main");
    im.scope = scope_new(&im, NULL, import_names(p));
    enum yj_status status = import_main(&im, p);
    im.g->n_nodes = im.n_nodes;
    im.g->node_names = im.node_names;
    if (status == YJ_OK) *g = im.g;
    return status;
}

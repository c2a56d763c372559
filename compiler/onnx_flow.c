/* SPDX-License-Identifier: Apache-2.0
 *
 * Subgraphs and model-local functions. A function, and a branch on a constant, are imported in place. Other subgraphs
 * become regions, which see only their own inputs: every outer name that a subgraph mentions is passed in.
 */
#include "compiler/onnx_inside.h"

#define B (&n->b)
#define MAX_CAPTURES 1024

/* ---- in place */

static bool too_deep(struct node *n) {
    return n->import->depth > 16 && !node_refuse(n, "subgraphs and functions nest more than 16 deep");
}

static bool give_item(struct node *n, int i, const struct item *item) {
    if (!node_wants(n, i)) return true;
    if (!item) return node_refuse(n, "result %d is not made inside", i);
    *node_result(n, i) = *item;
    return true;
}

static bool import_in_place(struct node *n, const Onnx__GraphProto *p) {
    struct import *im = n->import;
    struct scope *outer = im->scope;
    struct item *made[64] = {0};
    if (too_deep(n)) return false;
    if (p->n_output > 64) return node_refuse(n, "a subgraph of more than 64 results");
    int before = im->n_refusals;
    im->scope = scope_new(im, outer, import_names(p));
    im->depth++;
    enum yj_status status = import_initializers(im, n->g, p);
    if (status == YJ_OK) status = import_nodes(im, n->g, p->n_node, p->node, p->name);
    for (size_t i = 0; i < p->n_output && status == YJ_OK; i++)
        made[i] = p->output[i]->name ? scope_find(im->scope, p->output[i]->name) : NULL;
    im->depth--;
    im->scope = outer;
    if (status != YJ_OK) return node_refuse(n, "%s", yj_error_text());
    if (im->n_refusals != before) return !(n->refused = true); /* the inner nodes have been listed */
    for (int i = 0; i < (int)n->proto->n_output; i++)
        if (!give_item(n, i, i < (int)p->n_output ? made[i] : NULL)) return false;
    return true;
}

/* A copy of P whose references to attributes of the function are replaced by those of the call. */
static Onnx__NodeProto *with_attributes(struct node *n, const Onnx__NodeProto *p) {
    Onnx__NodeProto *copy = NEW(import_arena(n->import), Onnx__NodeProto);
    *copy = *p;
    copy->attribute = NEW_ARRAY(import_arena(n->import), Onnx__AttributeProto *, p->n_attribute + 1);
    copy->n_attribute = 0;
    for (size_t i = 0; i < p->n_attribute; i++) {
        Onnx__AttributeProto *a = p->attribute[i];
        if (a->ref_attr_name && a->ref_attr_name[0]) {
            const Onnx__AttributeProto *given = node_attribute(n, a->ref_attr_name);
            if (!given) continue; /* absent in the call: absent inside */
            Onnx__AttributeProto *renamed = NEW(import_arena(n->import), Onnx__AttributeProto);
            *renamed = *given;
            renamed->name = a->name;
            a = renamed;
        }
        copy->attribute[copy->n_attribute++] = a;
    }
    return copy;
}

bool import_function(struct node *n, const Onnx__FunctionProto *f) {
    struct import *im = n->import;
    struct scope *outer = im->scope;
    if (too_deep(n)) return false;
    if (n->n_in > (int)f->n_input)
        return node_refuse(n, "the function %s takes %zu operands, %d were given", f->name, f->n_input, n->n_in);
    Onnx__NodeProto **nodes = NEW_ARRAY(im->arena, Onnx__NodeProto *, f->n_node + 1);
    size_t names = f->n_input;
    for (size_t i = 0; i < f->n_node; i++) {
        nodes[i] = with_attributes(n, f->node[i]);
        names += nodes[i]->n_output;
    }
    int before = im->n_refusals;
    struct scope *inner = scope_new(im, NULL, names); /* a function sees nothing of its caller */
    const Onnx__FunctionProto *caller = im->function;
    im->scope = inner;
    im->function = f;
    im->depth++;
    for (size_t i = 0; i < f->n_input; i++)
        if ((int)i < n->n_in && n->in[i]) *scope_add(im, f->input[i]) = *n->in[i];
    for (size_t i = 0; i < f->n_node; i++) /* an optional operand that was not given is absent for the nodes inside */
        for (size_t k = 0; k < nodes[i]->n_input; k++)
            for (size_t j = 0; j < f->n_input; j++)
                if (((int)j >= n->n_in || !n->in[j]) && !strcmp(nodes[i]->input[k], f->input[j])) {
                    char **renamed = NEW_ARRAY(im->arena, char *, nodes[i]->n_input);
                    memcpy(renamed, nodes[i]->input, sizeof *renamed * nodes[i]->n_input);
                    renamed[k] = "";
                    nodes[i]->input = renamed;
                }
    enum yj_status status = import_nodes(im, n->g, f->n_node, nodes, f->name);
    im->function = caller;
    im->depth--;
    im->scope = outer;
    if (status != YJ_OK) return node_refuse(n, "%s", yj_error_text());
    if (im->n_refusals != before) return !(n->refused = true);
    for (int i = 0; i < (int)n->proto->n_output; i++)
        if (!give_item(n, i, i < (int)f->n_output ? scope_find(inner, f->output[i]) : NULL)) return false;
    return true;
}

/* ---- regions */

struct capture {
    const char *name;
    struct item *item;
};
struct captures {
    int n;
    struct capture c[MAX_CAPTURES];
};

static bool capture(struct node *n, struct captures *all, const Onnx__GraphProto *p, int depth) {
    if (depth > 16) return node_refuse(n, "subgraphs nest more than 16 deep");
    for (size_t i = 0; i < p->n_node + p->n_output; i++) {
        const Onnx__NodeProto *q = i < p->n_node ? p->node[i] : NULL;
        for (size_t k = 0; k < (q ? q->n_input : 1); k++) {
            const char *name = q ? q->input[k] : p->output[i - p->n_node]->name;
            struct item *item = name && name[0] ? scope_find(n->import->scope, name) : NULL;
            bool known = !item;
            for (int j = 0; j < all->n && !known; j++)
                known = all->c[j].item == item;
            if (known) continue;
            if (item->refused) return !(n->refused = true);
            if (item->sequence || all->n == MAX_CAPTURES)
                return node_refuse(n, "a subgraph uses a sequence, or more than %d outer names", MAX_CAPTURES);
            all->c[all->n++] = (struct capture){name, item};
        }
        for (size_t a = 0; q && a < q->n_attribute; a++)
            if (q->attribute[a]->g && !capture(n, all, q->attribute[a]->g, depth + 1)) return false;
    }
    return true;
}

/* Captured values as operands, behind those in IN. */
static int captured_values(const struct captures *all, struct value **in, int at) {
    for (int i = 0; i < all->n; i++)
        if (all->c[i].item->value) in[at++] = all->c[i].item->value;
    return at;
}

/* Imports P into REGION. Its inputs are GIVEN; captured values become further inputs of the region. MADE: its results.
 */
static bool fill_region(struct node *n, const Onnx__GraphProto *p, struct graph *region, const struct captures *all,
                        int n_given, const struct item *given, struct value **made) {
    struct import *im = n->import;
    struct scope *outer = im->scope;
    struct node inner = *n;
    inner.g = region;
    inner.b.graph = region;
    if (too_deep(n)) return false;
    if ((int)p->n_input != n_given)
        return node_refuse(n, "a subgraph takes %zu inputs, %d are given", p->n_input, n_given);
    int before = im->n_refusals;
    im->scope = scope_new(im, outer, import_names(p) + (size_t)all->n);
    im->depth++;
    for (int i = 0; i < all->n; i++) {
        struct item copy = *all->c[i].item;
        if (copy.value)
            copy.value = graph_input(region, all->c[i].name, copy.value->type.dtype, copy.value->type.rank,
                                     copy.value->type.shape);
        *scope_add(im, all->c[i].name) = copy;
    }
    for (int i = 0; i < n_given; i++)
        *scope_add(im, p->input[i]->name ? p->input[i]->name : "") = given[i];
    enum yj_status status = import_initializers(im, region, p);
    if (status == YJ_OK) status = import_nodes(im, region, p->n_node, p->node, p->name);
    bool ok = status == YJ_OK && im->n_refusals == before;
    for (size_t i = 0; i < p->n_output && ok; i++) {
        struct item *item = p->output[i]->name ? scope_find(im->scope, p->output[i]->name) : NULL;
        if (item && item->sequence)
            ok = node_refuse(n, "a subgraph gives a sequence");
        else if (!(made[i] = item ? item_value(&inner, item) : NULL))
            ok = node_refuse(n, "result %zu of a subgraph is not made", i);
    }
    im->depth--;
    im->scope = outer;
    if (status != YJ_OK) return node_refuse(n, "%s", yj_error_text());
    if (!ok) n->refused = true;
    return ok;
}

static const Onnx__GraphProto *subgraph(struct node *n, const char *name) {
    const Onnx__AttributeProto *a = node_attribute(n, name);
    if (a && a->g && a->g->n_output <= 64 && a->g->n_input <= 64) return a->g;
    node_refuse(n, "attribute %s must be a graph of at most 64 inputs and results", name);
    return NULL;
}

static struct value *scalar_of(struct node *n, struct value *v, enum yj_dtype dtype) {
    return v ? build_cast(B, build_reshape(B, v, 0, NULL), dtype) : NULL;
}

/* Which side, if that is known now. */
static bool known_side(struct node *n, int *side) {
    const dim *known;
    int count;
    int64_t yes;
    double taken;
    if (node_known(n, 0, &count, &known) && count == 1 && dim_is_const(known[0], &yes)) {
        *side = yes == 0;
        return true;
    }
    if (!node_scalar(n, 0, &taken)) return false;
    *side = taken == 0;
    return true;
}

static bool in_type(const struct type *t, dim symbol) {
    for (int i = 0; i < t->rank; i++)
        if (dim_contains(t->shape[i], symbol)) return true;
    return false;
}

/* A size that the results of one side have and those of the other have not. */
static bool differs(const struct op *op, dim symbol) {
    const struct graph *yes = op->regions[0], *no = op->regions[1];
    for (int i = 0; i < yes->n_out && i < no->n_out; i++)
        if (in_type(&yes->out[i]->type, symbol) != in_type(&no->out[i]->type, symbol)) return true;
    return false;
}

static bool one_integer(const struct value *v) {
    int64_t size;
    if (v->type.dtype != YJ_I64 && v->type.dtype != YJ_I32) return false;
    for (int i = 0; i < v->type.rank; i++)
        if (!dim_is_const(v->type.shape[i], &size) || size != 1) return false;
    return true;
}

/* Sides that do not fit together: with fixed sizes and flags only one of them may be left. */
static bool refuse_sides(struct node *n, const struct op *op) {
    const struct graph *g = n->import->g;
    struct text fix = {0};
    for (int i = 0; i < g->n_in; i++)
        if (one_integer(g->in[i])) text_add(&fix, " --dim %s=N", g->in[i]->name);
    for (int i = 0; i < g->n_in; i++)
        for (int d = 0; d < g->in[i]->type.rank; d++) {
            dim size = g->in[i]->type.shape[d];
            if (size->op != DIM_SYMBOL || !differs(op, size)) continue;
            struct text word = {0};
            text_add(&word, " --dim %s=N", size->name);
            if (word.data && !(fix.data && strstr(fix.data, word.data))) text_add(&fix, "%s", word.data);
            text_free(&word);
        }
    node_refuse(n, "%s%s%s", yj_error_text(), fix.data ? "; to have one side chosen when compiling, try" : "",
                fix.data ? fix.data : "");
    text_free(&fix);
    return false;
}

bool onnx_if(struct node *n) {
    int side;
    const Onnx__GraphProto *p[2] = {subgraph(n, "then_branch"), subgraph(n, "else_branch")};
    struct captures *all = NEW(import_arena(n->import), struct captures);
    struct value *in[MAX_CAPTURES + 1], *made[64];
    struct op *op;
    if (!p[0] || !p[1]) return false;
    if (known_side(n, &side)) return import_in_place(n, p[side]);
    if (!(in[0] = scalar_of(n, node_in(n, 0), YJ_BOOL))) return node_out(n, 0, NULL);
    for (int i = 0; i < 2; i++)
        if (!capture(n, all, p[i], 0)) return false;
    if (build(B, OP_if, captured_values(all, in, 1), in, NULL, &op) != YJ_OK) return node_out(n, 0, NULL);
    for (int i = 0; i < 2; i++) {
        struct graph *region = graph_region(op, i ? "else" : "then");
        if (!fill_region(n, p[i], region, all, 0, NULL, made)) return false;
        for (size_t k = 0; k < p[i]->n_output; k++)
            graph_output(region, made[k], NULL);
    }
    if (graph_infer(op) != YJ_OK) return refuse_sides(n, op);
    for (int i = 0; i < op->n_out; i++)
        if (!node_out(n, i, op->out[i])) return false;
    return true;
}

/* What Loop and Scan share: trip count, start condition, carried values, captured values, and the body. */
struct looping {
    const Onnx__GraphProto *p;
    struct captures *all;
    int n_carried, n_scans;
    struct value *in[MAX_CAPTURES + 128];
    dim trips;  /* how often at most, NULL: not known at import */
    dim length; /* of stacked results */
    dim index;
};

/* V is the constant true. */
static bool is_true(const struct value *v) {
    const struct data *d;
    while (v->op && v->op->kind == OP_reshape)
        v = v->op->in[0];
    return value_constant(v, &d) && d->bytes && d->n_bytes == 1 && *(const char *)d->bytes == 1;
}

static struct value *constant_true(struct node *n, struct graph *g) {
    struct builder b = n->b;
    b.graph = g;
    return build_constant(&b, YJ_BOOL, 0, NULL, "\1", 1);
}

/* [L..] of a scan input at the index */
static struct value *scan_slice(struct node *n, struct graph *region, struct value *x, struct value *index) {
    struct node inner = *n;
    inner.g = region;
    inner.b.graph = region;
    return build_gather(&inner.b, x, index, 0);
}

static bool loop_results(struct node *n, struct op *op, int carried, int captured, int stacked) {
    for (int i = 0; i < carried + stacked; i++)
        if (!node_out(n, i, op->out[i < carried ? i : i + captured])) return false;
    return true;
}

static bool import_loop(struct node *n, struct looping *l, bool scan) {
    struct op *op;
    struct item given[64] = {0};
    struct value *made[64];
    int first = 2 + l->n_carried, n_in = first + l->n_scans, counted = scan ? 0 : 1,
        stacked = (int)l->p->n_output - counted - l->n_carried;
    if (!capture(n, l->all, l->p, 0)) return false;
    int total = captured_values(l->all, l->in, n_in), extra = total - 2 - l->n_carried; /* carried along unchanged */
    if (stacked < 0) return node_refuse(n, "the body gives %zu results", l->p->n_output);
    for (int i = 0; i < total; i++)
        if (!l->in[i]) return n->refused ? false : node_out(n, 0, NULL);
    struct attr *a = attr_dim(n->g, "index", l->index, NULL);
    if (build(B, OP_loop, total, l->in, a, &op) != YJ_OK) return node_out(n, 0, NULL);
    struct graph *region = graph_region(op, "body");
    struct value *index = graph_input(region, "index", YJ_I64, 0, NULL), *kept[64];
    int at = 0;
    if (!scan) { /* Loop: the number of the iteration, and that it runs */
        struct onnx_declared d = {0};
        bool vector = l->p->n_input > 0 && import_declared(l->p->input[0], &d) && d.rank == 1;
        given[at++] =
            (struct item){.known = &l->index, .n_known = 1, .known_rank = vector ? 1 : 0, .known_dtype = YJ_I64};
        given[at++] = (struct item){.value = constant_true(n, region)};
    }
    for (int i = 0; i < l->n_carried; i++) {
        const struct type *t = &l->in[2 + i]->type;
        given[at++] = (struct item){.value = graph_input(region, "carried", t->dtype, t->rank, t->shape)};
    }
    for (int i = 0; i < l->n_scans; i++) {
        const struct type *t = &l->in[first + i]->type;
        kept[i] = graph_input(region, "scanned", t->dtype, t->rank, t->shape);
        given[at++] = (struct item){.value = scan_slice(n, region, kept[i], index)};
    }
    for (int i = 0; i < at; i++)
        if (!given[i].value && !given[i].known) return node_refuse(n, "%s", yj_error_text());
    if (!fill_region(n, l->p, region, l->all, at, given, made)) return false;
    graph_output(region, scan ? constant_true(n, region) : made[0], NULL);
    for (int i = 0; i < l->n_carried; i++)
        graph_output(region, made[counted + i], NULL);
    for (int i = 0; i < extra; i++)
        graph_output(region, region->in[1 + l->n_carried + i], NULL);
    for (int i = 0; i < stacked; i++)
        graph_output(region, made[counted + l->n_carried + i], NULL);
    if (l->trips && is_true(l->in[1]) && is_true(region->out[0])) l->length = l->trips;
    if (stacked) op_set_attr(op, attr_dim(n->g, "length", l->length, NULL));
    if (graph_infer(op) != YJ_OK) return node_refuse(n, "%s", yj_error_text());
    return loop_results(n, op, l->n_carried, extra, stacked);
}

/* The number of a turn, of MOST. */
static dim loop_index(struct node *n, dim most) {
    const char *name = arena_text(import_arena(n->import), "i%d", n->number);
    int64_t high = most->high == DIM_UNBOUNDED ? INT64_MAX - 1 : max64(most->high - 1, 0);
    return graph_dim(n->g, name, 0, high);
}

bool onnx_loop(struct node *n) {
    struct looping *l = NEW(import_arena(n->import), struct looping);
    int count, rank;
    const dim *known = NULL;
    dim shape[GRAPH_MAX_RANK];
    if (!(l->p = subgraph(n, "body"))) return false;
    l->all = NEW(import_arena(n->import), struct captures);
    l->n_carried = (int)max64(n->n_in - 2, 0);
    if (l->n_carried > 60) return node_refuse(n, "more than 60 carried values");
    bool counted = node_has(n, 0) && node_known(n, 0, &count, &known) && count == 1;
    l->in[0] = node_has(n, 0) ? scalar_of(n, node_in(n, 0), YJ_I64) : build_scalar_i(B, YJ_I64, INT64_MAX);
    l->in[1] = node_has(n, 1) ? scalar_of(n, node_in(n, 1), YJ_BOOL) : constant_true(n, n->g);
    for (int i = 0; i < l->n_carried; i++)
        l->in[2 + i] = node_in(n, 2 + i);
    int64_t high = counted ? known[0]->high : DIM_UNBOUNDED;
    for (int i = l->n_carried; i < (int)n->proto->n_output; i++)
        if (node_declared(n, i, &rank, shape) && rank > 0) high = min64(high, shape[0]->high);
    l->length = graph_dim(n->g, arena_text(import_arena(n->import), "l%d", n->number), 0, max64(high, 0));
    l->trips = counted && known[0]->low >= 0 ? known[0] : NULL;
    l->index = loop_index(n, l->trips ? l->trips : l->length);
    return import_loop(n, l, false);
}

bool onnx_scan(struct node *n) {
    static const char *const plain[] = {"scan_input_directions", "scan_output_directions", "scan_input_axes",
                                        "scan_output_axes"};
    struct looping *l = NEW(import_arena(n->import), struct looping);
    int count;
    int64_t scans = node_int(n, "num_scan_inputs", 0);
    if (n->version < 9) return node_refuse(n, "the batched Scan of opset 8 is not supported");
    if (!(l->p = subgraph(n, "body"))) return false;
    if (scans < 1 || scans > n->n_in || n->n_in > 60)
        return node_refuse(n, "num_scan_inputs %lld of %d operands", (long long)scans, n->n_in);
    for (size_t k = 0; k < COUNT(plain); k++) {
        const int64_t *list = node_list(n, plain[k], &count);
        for (int i = 0; i < count; i++)
            if (list[i]) return node_refuse(n, "%s other than 0 is not supported", plain[k]);
    }
    l->all = NEW(import_arena(n->import), struct captures);
    l->n_scans = (int)scans;
    l->n_carried = n->n_in - l->n_scans;
    for (int i = 0; i < n->n_in; i++)
        l->in[2 + i] = node_in(n, i);
    struct value *x = l->in[2 + l->n_carried];
    if (!x || x->type.rank < 1) return node_refuse(n, "a scanned operand must have an axis");
    l->length = x->type.shape[0];
    l->in[0] = node_size(n, l->length, YJ_I64);
    l->in[1] = constant_true(n, n->g);
    l->trips = l->length;
    l->index = loop_index(n, l->length);
    return import_loop(n, l, true);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect: the way of a compilation up to the machine code, and what each step of it knew, as one JSON object. What the
 * plan says of itself comes from plan_report; added here is what only the graph knows: ONNX nodes, ops, arithmetic, why
 * edges were not fused, what overlap decided.
 */
#include "compiler/compile.h"
#include "compiler/cost.h"
#include "compiler/work.h"
#include "runtime/plan_report.h"
#include <stdio.h>
#include <stdlib.h>

struct inspect {
    struct compile *c;
    int n_at;
    const char *const *at;
    json_t *report;
};

/* ---- counts by kind */

static void count(json_t *counts, const char *name, size_t n) {
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(n < sizeof key ? n : sizeof key - 1), name);
    json_object_set_new(counts, key, json_integer(json_integer_value(json_object_get(counts, key)) + 1));
}

/* Node names end with "(OpType)". */
static json_t *onnx_json(const struct graph *g) {
    json_t *counts = json_object();
    for (int i = 0; i < g->n_nodes; i++) {
        const char *name = g->node_names[i] ? g->node_names[i] : "", *open = strrchr(name, '(');
        if (open) count(counts, open + 1, strcspn(open + 1, ")"));
    }
    return json_pack("{s:i,s:o}", "nodes", g->n_nodes, "ops", counts);
}

/* Ops inside of kernels and beside them; a composite counts as one, by its name. */
static void count_ops(const struct graph *g, json_t *counts) {
    for (const struct op *op = g->first; op; op = op->next) {
        const char *name = op->kind == OP_composite ? op_text(op, "name") : op_info[op->kind].name;
        if (op->kind != OP_constant && op->kind != OP_fused) count(counts, name, strlen(name));
        for (int r = 0; r < op->n_regions && op->kind != OP_composite; r++)
            count_ops(op->regions[r], counts);
    }
}

static double flops_of(const struct graph *g, struct plan_at *at) {
    double flops = 0;
    for (const struct op *op = g->first; op; op = op->next)
        flops += op_work(op, plan_at_bind, at).flops;
    return flops;
}

/* ---- fusion */

static json_t *find_reason(json_t *reasons, const char *why) {
    size_t i;
    json_t *reason;
    json_array_foreach(reasons, i,
                       reason) if (!strcmp(json_string_value(json_object_get(reason, "why")), why)) return reason;
    reason = json_pack("{s:s,s:i,s:[]}", "why", why, "count", 0, "edges");
    json_array_append_new(reasons, reason);
    return reason;
}

static json_t *fusion_json(const struct fuse_log *log) {
    json_t *reasons = json_array();
    int refused = 0;
    for (const struct fuse_refusal *r = log->first; r; r = r->next, refused++) {
        json_t *reason = find_reason(reasons, r->why);
        json_object_set_new(reason, "count", json_integer(json_integer_value(json_object_get(reason, "count")) + 1));
        json_array_append_new(
            json_object_get(reason, "edges"),
            json_pack("{s:s,s:s,s:s}", "value", r->value, "producer", r->producer, "consumer", r->consumer));
    }
    return json_pack("{s:i,s:i,s:o}", "groups", log->n_groups, "not_fused", refused, "reasons", reasons);
}

/* ---- collectives: the notes of overlap belong to the starts with the same operand */

static void add_notes(json_t *collectives, const struct overlap_log *log) {
    size_t i;
    json_t *c;
    json_array_foreach(collectives, i, c) for (const struct overlap_note *n = log->first; n; n = n->next) {
        if (strcmp(n->value, json_string_value(json_object_get(c, "value"))) != 0 ||
            strcmp(n->kind, json_string_value(json_object_get(c, "kind"))) != 0)
            continue;
        json_object_set_new(c, "overlap", json_string(n->why));
        json_object_set_new(c, "kernels_moved", json_integer(n->moved));
        json_object_set_new(c, "decided_at_us", json_real(n->seconds * 1e6));
    }
}

/* ---- sharding: which constants each rank holds a part of, and which it holds whole */

static json_t *sharding_json(const struct graph *g) {
    json_t *split = json_array(), *whole = json_array();
    for (const struct op *op = g->first; op; op = op->next) {
        if (op->kind != OP_constant) continue;
        const char *name = op->data.name ? op->data.name : op->out[0]->name;
        json_array_append_new(op_attr(op, "split") ? split : whole,
                              json_pack("{s:s,s:I}", "name", name, "bytes", (json_int_t)op->data.n_bytes));
    }
    return json_pack("{s:o,s:o}", "split", split, "replicated", whole);
}

/* ---- a program */

static enum yj_status program_json(struct inspect *x, struct compile_program *p, json_t **out) {
    struct arena *arena = x->c->arena;
    struct plan_at at;
    TRY(plan_at_open(arena, p->planned.plan, x->n_at, x->at, &at));
    json_t *j = plan_report(arena, p->planned.plan, &at), *ops = json_object();
    if (!j) return report(YJ_ERR_MEMORY, "out of memory");
    count_ops(p->graph, ops);
    add_notes(json_object_get(j, "collectives"), p->overlap_log);
    json_object_set_new(j, "program", json_string(p->name));
    json_object_set_new(j, "target", json_string(p->target->name));
    json_object_set_new(j, "onnx", onnx_json(p->graph));
    json_object_set_new(j, "ops", ops);
    json_object_set_new(j, "gflop", json_real(flops_of(p->graph, &at) / 1e9));
    json_object_set_new(j, "fusion", fusion_json(p->fuse_log));
    if (graph_ranks(p->graph) > 1) json_object_set_new(j, "sharding", sharding_json(p->graph));
    json_object_set_new(j, "inexact", json_array()); /* nothing inexact can be asked for yet */
    *out = j;
    return YJ_OK;
}

static enum yj_status inspect_all(void *user) {
    struct inspect *x = user;
    struct compile *c = x->c;
    json_t *programs = json_array();
    json_object_set_new(x->report, "programs", programs);
    TRY(compile_read(c));
    for (int i = 0; i < c->n_programs; i++) {
        c->programs[i].fuse_log = NEW(c->arena, struct fuse_log);
        c->programs[i].overlap_log = NEW(c->arena, struct overlap_log);
        TRY(compile_plan(c, &c->programs[i]));
    }
    struct safetensor *tensors = NEW_ARRAY(c->arena, struct safetensor, c->weights.n + 1);
    weights_tensors(&c->weights, tensors);
    if (c->weights.n) {
        char *header;
        size_t header_bytes;
        int64_t total;
        TRY(safetensors_layout(tensors, c->weights.n, &header, &header_bytes, &total));
        free(header);
    }
    for (int i = 0; i < c->n_programs; i++) {
        json_t *j = NULL;
        TRY(plan_place_weights(&c->programs[i].planned, tensors));
        TRY(program_json(x, &c->programs[i], &j));
        json_array_append_new(programs, j);
    }
    return YJ_OK;
}

/* The refusals of import stand one a line behind the first. */
static json_t *lines_json(const char *text) {
    json_t *list = json_array();
    for (const char *line = strchr(text, '\n'); line; line = strchr(line + 1, '\n')) {
        const char *start = line + 1 + strspn(line + 1, " ");
        json_array_append_new(list, json_stringn(start, strcspn(start, "\n")));
    }
    return list;
}

enum yj_status yj_inspect(const struct yj_compile_options *options, int32_t n_at, const char *const *at,
                          void (*print)(void *user, const char *json), void *user) {
    struct inspect x = {NULL, n_at, at, json_object()};
    enum yj_status status = compile_open(options, &x.c);
    if (status == YJ_OK) {
        json_object_set_new(x.report, "model", json_string(options->model));
        status = arena_guard(inspect_all, &x);
        compile_close(x.c);
    }
    if (status == YJ_ERR_UNSUPPORTED && strchr(yj_error_text(), '\n')) {
        json_object_del(x.report, "programs");
        json_object_set_new(x.report, "unsupported", lines_json(yj_error_text()));
    } else if (status != YJ_OK) {
        json_decref(x.report);
        return status;
    }
    char *text = json_dumps(x.report, JSON_COMPACT);
    json_decref(x.report);
    if (!text) return report(YJ_ERR_MEMORY, "out of memory");
    print(user, text);
    free(text);
    return status;
}

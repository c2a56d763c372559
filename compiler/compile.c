/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole way from a model to model.yj: import, passes, plan and kernels for each target, one shared object a
 * program, one weights file for all. Each target starts from its own import, since passes read the target's facts.
 */
#include "compiler/compile.h"
#include "compiler/cost.h"
#include "compiler/lines.h"
#include "compiler/link.h"
#include "compiler/worker.h"
#include "ir/graph.h"
#include "runtime/manifest.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- options as text */

#define MOST (INT64_C(1) << 40) /* of a dimension */

static bool number(const char **text, int64_t *value) {
    char *end;
    *value = strtoll(*text, &end, 10);
    bool ok = end != *text && *value <= MOST && *value >= -MOST;
    *text = end;
    return ok;
}

static enum yj_status read_dims(struct compile *c) {
    struct onnx_bound *bounds = NEW_ARRAY(c->arena, struct onnx_bound, c->o->n_dims + 1);
    for (int i = 0; i < c->o->n_dims; i++) {
        const char *text = c->o->dims[i], *equal = strchr(text, '='), *at = equal ? equal + 1 : "";
        struct onnx_bound *b = &bounds[i];
        bool ok = equal && equal != text && number(&at, &b->low);
        b->high = b->low;
        if (ok && !strncmp(at, "..", 2)) {
            at += 2;
            ok = number(&at, &b->high);
        }
        if (!ok || *at || b->low < 0 || b->high < b->low)
            return report(YJ_ERR_INPUT, "--dim %s: write NAME=LOW..HIGH or NAME=N", text);
        b->name = arena_text(c->arena, "%.*s", (int)(equal - text), text);
    }
    c->import.n_bounds = c->o->n_dims;
    c->import.bounds = bounds;
    return YJ_OK;
}

static enum yj_status read_states(struct compile *c) {
    struct onnx_state *states = NEW_ARRAY(c->arena, struct onnx_state, c->o->n_states + 1);
    for (int i = 0; i < c->o->n_states; i++) {
        const char *text = c->o->states[i], *equal = strchr(text, '=');
        if (!equal || equal == text || !equal[1])
            return report(YJ_ERR_INPUT, "--state %s: write INPUT=OUTPUT, as past_*=present_*", text);
        states[i] = (struct onnx_state){arena_text(c->arena, "%.*s", (int)(equal - text), text),
                                        arena_text(c->arena, "%s", equal + 1)};
    }
    c->import.n_states = c->o->n_states;
    c->import.states = states;
    return YJ_OK;
}

static enum yj_status read_mesh(struct compile *c) {
    const char *at = c->o->shard ? c->o->shard : "";
    while (*at) {
        size_t n = strcspn(at, "=,");
        int64_t size = 0;
        const char *value = at[n] == '=' ? at + n + 1 : at;
        if (n == 0 || at[n] != '=' || !number(&value, &size) || size < 1 || size > 4096 || (*value && *value != ',') ||
            c->mesh.n == 4)
            return report(YJ_ERR_INPUT, "--shard %s: write AXIS=RANKS, as tp=2", c->o->shard);
        if (strncmp(at, "tp", n) != 0 || n != 2)
            return report(YJ_ERR_UNSUPPORTED, "--shard %s: only the axis tp can be sharded over so far", c->o->shard);
        c->mesh.name[c->mesh.n] = arena_text(c->arena, "%.*s", (int)n, at);
        c->mesh.size[c->mesh.n++] = (int)size;
        at = *value == ',' ? value + 1 : value;
    }
    return YJ_OK;
}

/* One program, or where registers have no fixed length one for each length that the target lists. */
static enum yj_status add_target(struct compile *c, const struct yj_target *t) {
    for (int i = 0; i < c->n_programs; i++)
        if (c->programs[i].target == t) return report(YJ_ERR_INPUT, "target %s twice", t->name);
    for (size_t i = 0; i < COUNT(t->vector_lengths) && (i == 0 || t->vector_lengths[i]); i++) {
        if (c->n_programs == COMPILE_MAX_PROGRAMS)
            return report(YJ_ERR_INPUT, "more than %d programs", COMPILE_MAX_PROGRAMS);
        bool several = t->vector_lengths[0] && t->vector_lengths[1];
        struct compile_program *p = &c->programs[c->n_programs++];
        p->target = t;
        p->vector_bits = t->vector_lengths[i];
        p->name = several ? arena_text(c->arena, "%s.%d", t->name, t->vector_lengths[i]) : t->name;
    }
    return YJ_OK;
}

static enum yj_status read_targets(struct compile *c) {
    const char *at = c->o->targets && c->o->targets[0] ? c->o->targets : "host";
    while (*at) {
        size_t n = strcspn(at, ",");
        const struct yj_target *target;
        TRY(yj_target_find(arena_text(c->arena, "%.*s", (int)n, at), &target));
        TRY(add_target(c, target));
        at += n + (at[n] == ',');
    }
    return YJ_OK;
}

/* ---- one program */

static enum yj_status make_graph(struct compile *c, struct compile_program *p) {
    TRY(onnx_import(c->file, c->arena, &c->import, &p->graph));
    p->graph->mesh = c->mesh;
    cost_target(p->target);
    struct pass_options o = {.target = p->target,
                             .only = c->o->passes,
                             .print_after = c->o->print_after,
                             .print = c->o->print,
                             .user = c->o->user,
                             .fuse_log = p->fuse_log,
                             .overlap_log = p->overlap_log};
    return pipeline_run(p->graph, &o);
}

/* The kernels' text, one after the other: their lines in it are what debuggers show. */
static const char *text_name(struct compile *c, const struct compile_program *p) {
    return arena_text(c->arena, "%s.kernels", p->name);
}

static enum yj_status make_library(struct compile *c, struct compile_program *p) {
    int n = 0;
    for (int i = 0; i < p->kernels.n; i++)
        n += p->kernels.kernel[i].n_variants;
    const struct kernel **all = NEW_ARRAY(c->arena, const struct kernel *, n + 1);
    struct compiled *made = NEW_ARRAY(c->arena, struct compiled, n + 1);
    struct link_object *objects = NEW_ARRAY(c->arena, struct link_object, n + 1);
    int64_t *first_line = NEW_ARRAY(c->arena, int64_t, n + 1), line = 1;
    n = 0;
    for (int i = 0; i < p->kernels.n; i++)
        for (int v = 0; v < p->kernels.kernel[i].n_variants; v++) {
            first_line[n] = line;
            line += kernel_number_lines(p->kernels.kernel[i].variant[v]);
            all[n++] = p->kernels.kernel[i].variant[v];
        }
    struct compile_options o = {.target = p->target,
                                .vector_bits = p->vector_bits,
                                .no_cache = c->o->flags & YJ_COMPILE_NO_CACHE,
                                .text = text_name(c, p)};
    TRY(compile_kernels(&o, all, n, made));
    enum yj_status status = YJ_OK;
    for (int i = 0; i < n && status == YJ_OK; i++) {
        objects[i] = (struct link_object){made[i].object, made[i].bytes};
        p->cached += made[i].cached;
        status = lines_move(made[i].object, made[i].bytes, first_line[i]);
    }
    if (status == YJ_OK) status = link_objects(n, objects, &p->library, &p->library_bytes);
    compiled_free(made, n);
    return status;
}

enum yj_status compile_plan(struct compile *c, struct compile_program *p) {
    TRY(make_graph(c, p));
    p->kernels = (struct program_kernels){.arena = c->arena, .target = p->target};
    TRY(plan_make(p->graph, c->arena, &p->kernels, &c->weights, &p->planned));
    if (c->o->print && c->o->print_after && !strcmp(c->o->print_after, "kernels"))
        for (int i = 0; i < p->kernels.n; i++)
            for (int v = -1; v < p->kernels.kernel[i].n_variants; v++) {
                struct text text = {0};
                kernel_print(&text, v < 0 ? p->kernels.kernel[i].plain : p->kernels.kernel[i].variant[v]);
                if (!text.failed && text.data) c->o->print(c->o->user, text.data);
                text_free(&text);
            }
    return YJ_OK;
}

/* ---- the folder */

static enum yj_status fill_weight(void *user, int index, int64_t from, int64_t bytes, void *out) {
    const struct compile *c = user;
    memcpy(out, (const char *)c->weights.weight[index].bytes + from, (size_t)bytes);
    return YJ_OK;
}

static enum yj_status add_text(struct model_writer *w, const char *name, struct text *text) {
    enum yj_status status = text->failed ? report(YJ_ERR_MEMORY, "out of memory")
                                         : model_add(w, name, text->data ? text->data : "", text->n);
    text_free(text);
    return status;
}

static enum yj_status write_program(struct compile *c, struct compile_program *p, struct manifest_program *m) {
    struct text plan = {0}, kernels = {0};
    int64_t ranks = 1;
    for (int i = 0; i < c->mesh.n; i++)
        ranks *= c->mesh.size[i];
    *m = (struct manifest_program){.name = p->name,
                                   .target = p->target->name,
                                   .triple = p->target->triple,
                                   .minimum = p->target->minimum,
                                   .vector_bits = p->vector_bits,
                                   .ranks = (int)ranks,
                                   .plan = arena_text(c->arena, "%s.plan", p->name),
                                   .kernels = arena_text(c->arena, "%s.so", p->name),
                                   .text = text_name(c, p)};
    plan_print(&plan, p->planned.plan);
    for (int i = 0; i < p->kernels.n; i++)
        for (int v = 0; v < p->kernels.kernel[i].n_variants; v++)
            kernel_print(&kernels, p->kernels.kernel[i].variant[v]);
    TRY(add_text(c->writer, m->plan, &plan));
    TRY(add_text(c->writer, m->text, &kernels));
    TRY(model_add(c->writer, m->kernels, p->library, p->library_bytes));
    if (c->weights.n) {
        static const char *weights[1] = {"weights.safetensors"};
        m->n_weights = 1;
        m->weights = weights;
    }
    return YJ_OK;
}

static enum yj_status write_model(struct compile *c, const char *name) {
    struct manifest m = {MANIFEST_FORMAT,
                         YJ_KERNEL_ABI,
                         YJ_VERSION,
                         name,
                         c->n_programs,
                         NEW_ARRAY(c->arena, struct manifest_program, c->n_programs),
                         0,
                         NULL,
                         c->programs[0].planned.plan};
    struct safetensor *tensors = NEW_ARRAY(c->arena, struct safetensor, c->weights.n + 1);
    weights_tensors(&c->weights, tensors);
    if (c->weights.n) TRY(model_add_weights(c->writer, "weights.safetensors", tensors, c->weights.n, fill_weight, c));
    for (int i = 0; i < c->n_programs; i++) {
        TRY(plan_place_weights(&c->programs[i].planned, tensors));
        TRY(write_program(c, &c->programs[i], &m.programs[i]));
    }
    struct model_writer *w = c->writer;
    c->writer = NULL;
    return model_finish(w, &m);
}

enum yj_status compile_read(struct compile *c) {
    c->weights.arena = c->arena;
    TRY(read_dims(c));
    TRY(read_states(c));
    TRY(read_mesh(c));
    TRY(read_targets(c));
    return onnx_open(c->o->model, &c->file);
}

static enum yj_status compile_all(void *user) {
    struct compile *c = user;
    TRY(compile_read(c));
    if (c->o->output) TRY(model_create(c->o->output, &c->writer));
    for (int i = 0; i < c->n_programs; i++) {
        TRY(compile_plan(c, &c->programs[i]));
        TRY(make_library(c, &c->programs[i]));
    }
    const char *slash = strrchr(c->o->model, '/');
    return c->o->output ? write_model(c, slash ? slash + 1 : c->o->model) : YJ_OK;
}

enum yj_status compile_open(const struct yj_compile_options *options, struct compile **compile) {
    if (!options || options->size != sizeof *options || !options->model)
        return report(YJ_ERR_INPUT, "compile options of another version, or no model");
    struct compile *c = calloc(1, sizeof *c);
    if (!c || !(c->arena = arena_open())) {
        free(c);
        return report(YJ_ERR_MEMORY, "out of memory");
    }
    c->o = options;
    c->start = time_now();
    *compile = c;
    return YJ_OK;
}

void compile_close(struct compile *c) {
    if (c->writer) model_abandon(c->writer);
    for (int i = 0; i < c->n_programs; i++)
        free(c->programs[i].library);
    onnx_close(c->file);
    arena_close(c->arena);
    free(c);
}

enum yj_status yj_compile(const struct yj_compile_options *options, struct yj_compile_result *result) {
    struct compile *c;
    TRY(compile_open(options, &c));
    enum yj_status status = arena_guard(compile_all, c);
    if (status == YJ_OK && result) {
        const struct compile_program *p = &c->programs[0];
        *result = (struct yj_compile_result){
            .size = sizeof *result, .nodes = p->graph->n_nodes, .seconds = time_now() - c->start};
        for (const struct op *op = p->graph->first; op; op = op->next)
            result->ops++;
        for (int i = 0; i < c->n_programs; i++) {
            for (int k = 0; k < c->programs[i].kernels.n; k++)
                result->kernels += c->programs[i].kernels.kernel[k].n_variants;
            result->cached += c->programs[i].cached;
        }
        for (int i = 0; i < c->weights.n; i++)
            result->weight_bytes += c->weights.weight[i].n_bytes;
    }
    compile_close(c);
    return status;
}

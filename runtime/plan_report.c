/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan as JSON. Every step of kind launch is priced with the variant that would be taken; what a collective hides
 * behind is the launches between its start and its wait.
 */
#include "runtime/plan_report.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yunjin/comm_schedule.h>

#pragma weak yj_schedule_explain /* a host of one rank has no comm library */

/* ---- values of dims */

static int64_t nominal(const struct plan_dim *d) {
    if (d->kind == PLAN_DIM_RANK) return 0;
    return d->high <= PLAN_NOMINAL ? d->high : max64(d->low, PLAN_NOMINAL);
}

static enum yj_status take_wish(const struct plan *p, const char *wish, int64_t *value) {
    const char *equal = strchr(wish, '=');
    char *end = NULL;
    errno = 0;
    int64_t v = equal ? strtoll(equal + 1, &end, 10) : 0;
    if (!equal || end == equal + 1 || *end || errno) return report(YJ_ERR_INPUT, "--at %s: write NAME=N", wish);
    for (int i = 0; i < p->n_dims; i++) {
        const char *name = p->dim[i].symbol->name;
        if (strlen(name) != (size_t)(equal - wish) || strncmp(name, wish, strlen(name)) != 0) continue;
        if (v < p->dim[i].low || v > p->dim[i].high)
            return report(YJ_ERR_INPUT, "--at %s: the dimension is %lld to %lld", wish, (long long)p->dim[i].low,
                          (long long)p->dim[i].high);
        value[i] = v;
        return YJ_OK;
    }
    struct text names = {0};
    for (int i = 0; i < p->n_dims; i++)
        text_add(&names, " %s", p->dim[i].symbol->name);
    report(YJ_ERR_INPUT, "--at %s: there is no such dimension; there are:%s", wish, names.data ? names.data : " none");
    text_free(&names);
    return YJ_ERR_INPUT;
}

enum yj_status plan_at_open(struct arena *arena, const struct plan *p, int n_wishes, const char *const *wishes,
                            struct plan_at *at) {
    struct plan_at a = {p, NEW_ARRAY(arena, int64_t, p->n_dims + 1)};
    for (int i = 0; i < p->n_dims; i++)
        a.value[i] = nominal(&p->dim[i]);
    for (int i = 0; i < n_wishes; i++)
        TRY(take_wish(p, wishes[i], a.value));
    *at = a;
    return YJ_OK;
}

bool plan_at_bind(void *user, dim symbol, int64_t *value) {
    const struct plan_at *at = user;
    for (int i = 0; i < at->plan->n_dims; i++)
        if (!strcmp(at->plan->dim[i].symbol->name, symbol->name)) {
            *value = at->value[i];
            return true;
        }
    return false;
}

/* What does not fit in 63 bits is at their end. */
static int64_t value_of(const struct plan_at *at, dim d) {
    int64_t value = 0;
    return !d || dim_eval(d, plan_at_bind, (void *)at, &value) == YJ_OK ? value : INT64_MAX;
}

/* Sums and products of what a file says: beyond 63 bits they stay at the end. */
static int64_t plus(int64_t a, int64_t b) {
    return __builtin_add_overflow(a, b, &a) ? INT64_MAX : a;
}
static int64_t times(int64_t a, int64_t b) {
    return __builtin_mul_overflow(a, b, &a) ? INT64_MAX : a;
}

/* ---- one launch */

struct kernel_at {
    const struct plan_kernel *kernel;
    const int64_t *value;
};

static bool kernel_bind(void *user, dim symbol, int64_t *value) {
    const struct kernel_at *k = user;
    for (int i = 0; i < k->kernel->n_dims; i++)
        if (!strcmp(k->kernel->dim_names[i], symbol->name)) {
            *value = k->value[i];
            return true;
        }
    return false;
}

static int64_t in_kernel(const struct kernel_at *k, dim d) {
    int64_t value = 0;
    return !d || dim_eval(d, kernel_bind, (void *)k, &value) == YJ_OK ? value : INT64_MAX;
}

struct launch {
    int variant;
    int64_t tiles, scratch, ns;
};

static struct launch launch_of(struct arena *arena, const struct plan_at *at, const struct plan_step *s) {
    const struct plan_kernel *kernel = &at->plan->kernels[s->kernel];
    int64_t *values = NEW_ARRAY(arena, int64_t, s->n_dims + 1);
    for (int i = 0; i < s->n_dims; i++)
        values[i] = value_of(at, s->dims[i]);
    struct kernel_at k = {kernel, values};
    for (int v = 0; v < kernel->n_variants; v++) {
        const struct plan_variant *variant = &kernel->variants[v];
        bool holds = true;
        for (int g = 0; g < variant->n_guards; g++) {
            int64_t x = in_kernel(&k, variant->guards[g].value);
            holds &= in_kernel(&k, variant->guards[g].low) <= x && x <= in_kernel(&k, variant->guards[g].high);
        }
        if (holds)
            return (struct launch){v, in_kernel(&k, variant->tiles), in_kernel(&k, variant->scratch),
                                   in_kernel(&k, variant->ns)};
    }
    return (struct launch){.variant = -1};
}

/* ---- texts */

static json_t *dim_json(dim d) {
    struct text text = {0};
    if (d) dim_print(&text, d);
    json_t *j = text.failed ? NULL : json_string(text.data ? text.data : "");
    text_free(&text);
    return j;
}

static json_t *dims_json(const dim *dims, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, dim_json(dims[i]));
    return list;
}

static json_t *nodes_json(const struct plan *p, const struct plan_step *s) {
    json_t *list = json_array();
    for (int i = 0; i < s->n_origin; i++) {
        char text[512];
        snprintf(text, sizeof text, "%d %s", s->origin[i], plan_node_name(p, s->origin[i]));
        json_array_append_new(list, json_string(text));
    }
    return list;
}

/* ---- ports */

static json_t *bound_json(int64_t v) {
    return v == DIM_UNBOUNDED ? json_null() : json_integer(v);
}

static json_t *ports_json(const struct plan_at *at, const struct plan_port *ports, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *low = json_array(), *high = json_array(), *shape = json_array();
        for (int d = 0; d < ports[i].rank; d++) {
            json_array_append_new(low, json_integer(ports[i].shape[d]->low));
            json_array_append_new(high, bound_json(ports[i].shape[d]->high));
            json_array_append_new(shape, json_integer(value_of(at, ports[i].shape[d])));
        }
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "name", ports[i].name, "dtype",
                                        yj_dtype_name(ports[i].dtype), "dims", dims_json(ports[i].shape, ports[i].rank),
                                        "low", low, "high", high, "shape", shape));
    }
    return list;
}

static json_t *states_json(const struct plan_at *at) {
    json_t *list = json_array();
    for (int i = 0; i < at->plan->n_states; i++) {
        const struct plan_state *s = &at->plan->states[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:I}", "name", s->name_in, "output", s->name_out,
                                        "dtype", yj_dtype_name(s->dtype), "before", dims_json(s->in, s->rank), "after",
                                        dims_json(s->out, s->rank), "storage", dims_json(s->storage, s->rank), "bytes",
                                        (json_int_t)value_of(at, at->plan->buffers[s->buffer].bytes)));
    }
    return list;
}

/* ---- kernels */

struct kernel_sum {
    int launches, variant;
    double ns;
    int64_t scratch, tiles;
    json_t *nodes;
};

static void add_launch(struct kernel_sum *sum, const struct plan *p, const struct plan_step *s,
                       const struct launch *l) {
    if (!sum->nodes) sum->nodes = json_array();
    sum->launches++;
    sum->ns += (double)l->ns;
    if (l->scratch > sum->scratch) sum->scratch = l->scratch;
    if (l->tiles > sum->tiles) sum->tiles = l->tiles;
    sum->variant = l->variant;
    json_t *nodes = nodes_json(p, s);
    json_array_extend(sum->nodes, nodes);
    json_decref(nodes);
}

static json_t *variant_json(const struct plan_variant *v) {
    struct text when = {0};
    for (int g = 0; g < v->n_guards; g++) {
        text_add(&when, "%s", g ? ", " : "");
        dim_print(&when, v->guards[g].low);
        text_add(&when, " <= ");
        dim_print(&when, v->guards[g].value);
        text_add(&when, " <= ");
        dim_print(&when, v->guards[g].high);
    }
    json_t *j = json_pack("{s:s,s:o,s:o,s:o,s:s}", "symbol", v->symbol, "tiles", dim_json(v->tiles), "scratch_bytes",
                          dim_json(v->scratch), "ns", dim_json(v->ns), "when", when.data ? when.data : "");
    text_free(&when);
    return j;
}

static json_t *kernels_json(const struct plan *p, const struct kernel_sum *sums) {
    json_t *list = json_array();
    for (int i = 0; i < p->n_kernels; i++) {
        const struct plan_kernel *k = &p->kernels[i];
        json_t *variants = json_array();
        for (int v = 0; v < k->n_variants; v++)
            json_array_append_new(variants, variant_json(&k->variants[v]));
        json_array_append_new(list,
                              json_pack("{s:s,s:i,s:o,s:i,s:I,s:I,s:f,s:o}", "name", k->name, "launches",
                                        sums[i].launches, "variants", variants, "variant", sums[i].variant, "tiles",
                                        (json_int_t)sums[i].tiles, "scratch_bytes", (json_int_t)sums[i].scratch, "us",
                                        sums[i].ns / 1e3, "nodes", sums[i].nodes ? sums[i].nodes : json_array()));
    }
    return list;
}

/* ---- collectives */

/* Of the whole vector, all ranks' parts together. */
static int64_t collective_bytes(const struct plan_at *at, const struct plan_step *s) {
    int64_t n = times(value_of(at, s->count), (int64_t)yj_dtype_bytes(s->dtype));
    return s->collective == PLAN_ALL_REDUCE || s->collective == PLAN_BROADCAST ? n
                                                                               : times(n, at->plan->mesh.size[s->axis]);
}

static double collective_us(const struct plan *p, const struct plan_step *s, int64_t bytes) {
    struct yj_schedule_option options[32];
    struct yj_schedule_query query = {.size = sizeof query,
                                      .ranks = p->mesh.size[s->axis],
                                      .collective = plan_collective_names[s->collective],
                                      .bytes = bytes > 0 ? (uint64_t)bytes : 1};
    int n = 0, best = -1;
    if (!yj_schedule_explain || yj_schedule_explain(&query, options, 32, &n, &best) != YJ_OK || best < 0 || best >= n)
        return -1;
    return options[best].time_s * 1e6;
}

static json_t *collective_json(struct arena *arena, const struct plan_at *at, const struct plan_block *b, int step) {
    const struct plan *p = at->plan;
    const struct plan_step *s = &b->steps[step];
    int64_t bytes = collective_bytes(at, s);
    double ns = 0;
    int between = 0;
    for (int i = step + 1; i < b->n_steps && !(b->steps[i].kind == PLAN_WAIT && b->steps[i].request == s->request); i++)
        if (b->steps[i].kind == PLAN_LAUNCH) {
            between++;
            ns += (double)launch_of(arena, at, &b->steps[i]).ns;
        }
    double us = collective_us(p, s, bytes), hidden = ns / 1e3;
    if (us >= 0 && hidden > us) hidden = us;
    json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:s,s:I,s:o,s:i,s:f,s:o}", "kind", plan_collective_names[s->collective],
                          "dtype", yj_dtype_name(s->dtype), "axis", p->mesh.name[s->axis], "step", step, "value",
                          p->buffers[s->buffers[1]].name, "bytes", (json_int_t)bytes, "us",
                          us < 0 ? json_null() : json_real(us), "kernels_between", between, "hidden_us", hidden,
                          "nodes", nodes_json(p, s));
    if (s->collective == PLAN_ALL_REDUCE || s->collective == PLAN_REDUCE_SCATTER)
        json_object_set_new(j, "op", json_string(plan_reduce_names[s->reduce]));
    return j;
}

/* ---- blocks */

static void add_dim_text(struct text *text, const char *what, dim d) {
    if (!d) return;
    text_add(text, "%s", what);
    dim_print(text, d);
}

/* "branch if.0", or "call trips 5 while while.1": what runs BLOCK. */
static json_t *runs_json(const struct plan *p, int block) {
    for (int b = 0; b < block; b++)
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            bool side = s->kind == PLAN_BRANCH && (s->block == block || s->otherwise == block);
            if (!side && !(s->kind == PLAN_CALL && s->block == block)) continue;
            struct text text = {0};
            text_add(&text, "%s", plan_step_names[s->kind]);
            add_dim_text(&text, side ? (s->block == block ? " " : " not ") : " while ", s->condition);
            add_dim_text(&text, " index ", s->index);
            add_dim_text(&text, " trips ", s->trips);
            json_t *j = json_pack("{s:i,s:i,s:s,s:o}", "block", b, "step", i, "how", text.data ? text.data : "",
                                  "nodes", nodes_json(p, s));
            text_free(&text);
            return j;
        }
    return json_null();
}

/* Each with the time of its own launches, once. */
static json_t *blocks_json(struct arena *arena, const struct plan_at *at) {
    const struct plan *p = at->plan;
    json_t *list = json_array();
    for (int b = 0; b < p->n_blocks; b++) {
        int launches = 0;
        double ns = 0;
        for (int i = 0; i < p->blocks[b].n_steps; i++)
            if (p->blocks[b].steps[i].kind == PLAN_LAUNCH) {
                launches++;
                ns += (double)launch_of(arena, at, &p->blocks[b].steps[i]).ns;
            }
        json_array_append_new(list, json_pack("{s:s,s:i,s:i,s:f,s:o}", "name", p->blocks[b].name, "steps",
                                              p->blocks[b].n_steps, "launches", launches, "us", ns / 1e3, "run_by",
                                              runs_json(p, b)));
    }
    return list;
}

/* ---- all of it */

/* The arenas of temporaries, as the runtime lays them out. */
static enum yj_status temporary_bytes(struct arena *arena, const struct plan_at *at, int64_t *bytes) {
    const struct plan *p = at->plan;
    int *first = NEW_ARRAY(arena, int, p->n_buffers + 1), *last = NEW_ARRAY(arena, int, p->n_buffers + 1);
    struct memory_item *items = NEW_ARRAY(arena, struct memory_item, p->n_buffers + 1);
    uint64_t *work = NEW_ARRAY(arena, uint64_t, 2 * (size_t)p->n_buffers + 2);
    int64_t sum = 0;
    TRY(memory_times(p, first, last));
    for (int space = 0; space < 2; space++) {
        int64_t total = 0;
        int n = 0;
        for (int i = 0; i < p->n_buffers; i++)
            if (p->buffers[i].kind == PLAN_TEMP && (p->buffers[i].space == PLAN_COMM) == space)
                items[n++] = (struct memory_item){value_of(at, p->buffers[i].bytes), first[i], last[i], 0};
        if (n) TRY(memory_assign(items, n, work, &total));
        sum = plus(sum, total);
    }
    *bytes = sum;
    return YJ_OK;
}

static json_t *memory_json(struct arena *arena, const struct plan_at *at, int64_t scratch) {
    const struct plan *p = at->plan;
    int64_t weights = 0, states = 0, temporaries = -1;
    for (int i = 0; i < p->n_buffers; i++) {
        const struct plan_buffer *b = &p->buffers[i];
        bool again = false;
        for (int k = 0; k < i && b->kind == PLAN_WEIGHT && !again; k++)
            again = p->buffers[k].kind == PLAN_WEIGHT && p->buffers[k].file == b->file && p->buffers[k].at == b->at;
        if (b->kind == PLAN_WEIGHT && !again) weights = plus(weights, value_of(at, b->bytes));
        if (b->kind == PLAN_STATE) states = plus(states, value_of(at, b->bytes));
    }
    if (temporary_bytes(arena, at, &temporaries) != YJ_OK) temporaries = -1;
    return json_pack("{s:I,s:I,s:I,s:I}", "weight_bytes", (json_int_t)weights, "state_bytes", (json_int_t)states,
                     "temporary_bytes", (json_int_t)temporaries, "scratch_bytes_thread", (json_int_t)scratch);
}

json_t *plan_report(struct arena *arena, const struct plan *p, const struct plan_at *at) {
    struct kernel_sum *sums = NEW_ARRAY(arena, struct kernel_sum, p->n_kernels + 1);
    json_t *collectives = json_array(), *values = json_object(), *steps = json_object();
    int counts[PLAN_STEPS] = {0};
    int64_t scratch = 0;
    double us = 0, ns = 0;
    for (int i = 0; i < p->n_dims; i++)
        if (p->dim[i].kind != PLAN_DIM_RANK)
            json_object_set_new(values, p->dim[i].symbol->name, json_integer(at->value[i]));
    for (int b = 0; b < p->n_blocks; b++)
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            counts[s->kind]++;
            if (s->kind == PLAN_START) json_array_append_new(collectives, collective_json(arena, at, &p->blocks[b], i));
            if (s->kind != PLAN_LAUNCH) continue;
            struct launch l = launch_of(arena, at, s);
            add_launch(&sums[s->kernel], p, s, &l);
            ns += (double)l.ns;
            scratch = max64(scratch, l.scratch);
        }
    for (int i = 0; i < PLAN_STEPS; i++)
        json_object_set_new(steps, plan_step_names[i], json_integer(counts[i]));
    for (size_t i = 0; i < json_array_size(collectives); i++) {
        const json_t *c = json_array_get(collectives, i);
        us += json_number_value(json_object_get(c, "us")) - json_number_value(json_object_get(c, "hidden_us"));
    }
    return json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:f,s:f}", "ranks", (json_int_t)plan_ranks(p), "at",
                     values, "inputs", ports_json(at, p->inputs, p->n_inputs), "outputs",
                     ports_json(at, p->outputs, p->n_outputs), "states", states_json(at), "kernels",
                     kernels_json(p, sums), "collectives", collectives, "memory", memory_json(arena, at, scratch),
                     "steps", steps, "blocks", blocks_json(arena, at), "kernel_us", ns / 1e3,
                     "collective_us_not_hidden", us);
}

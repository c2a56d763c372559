/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin inspect`: of a compiled model what its manifest and plans say (programs, shapes, memory, time by kernel,
 * collectives); of a .onnx what the compiler would do with it, told by the compiler library.
 */
#include "runtime/command/command.h"
#include "runtime/command/compiler_library.h"
#include "runtime/manifest.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: yunjin inspect MODEL.onnx|OUT.yj [OPTION]...\n"
    "Of OUT.yj: programs, inputs, outputs, states, memory, kernels by time, collectives.\n"
    "  --dim NAME=N           sizes for memory and time (default: the lower bounds, at least 1)\n"
    "  --plan                 print the plans\n"
    "  --verify               compare the hash of every file, weights too\n"
    "Of MODEL.onnx: ops, shapes, memory, cost, fusion and what stood against it, collectives, and what is unsupported;\n"
    "  with the options of compile: --target, --shard, --dim, --state, --passes.\n"
    "  --json                 as JSON\n"
    "Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

struct inspection { const char *folder; struct list dims; bool json, plan; struct arena *arena; struct manifest m; json_t *cases; };

/* --- sizes at the dims asked for --- */

struct sizes { const struct list *dims; const struct plan *plan; };

static bool size_of(void *user, dim symbol, int64_t *value) {
    const struct sizes *s = user;
    size_t n = strlen(symbol->name);
    for (int i = 0; i < s->dims->n; i++) {
        const char *word = s->dims->word[i];
        if (strncmp(word, symbol->name, n) != 0 || word[n] != '=') continue;
        *value = strtoll(word + n + 1, NULL, 10);
        return true;
    }
    for (int i = 0; i < s->plan->n_dims; i++) {
        const struct plan_dim *d = &s->plan->dim[i];
        if (strcmp(d->symbol->name, symbol->name) != 0) continue;
        *value = d->kind == PLAN_DIM_INPUT ? max64(1, d->low) : d->low; /* a rank, a length, what is born: from below */
        return true;
    }
    return false;
}

struct facts { int launches, copies, starts; int64_t temporaries, states, weights, ns; };

static enum yj_status measure_memory(const struct plan *p, struct sizes *s, struct facts *f) {
    struct memory_item *items = calloc((size_t)p->n_buffers + 1, sizeof *items);
    int *first = calloc((size_t)p->n_buffers + 1, sizeof *first), *last = calloc((size_t)p->n_buffers + 1, sizeof *last), n = 0;
    uint64_t *work = calloc(2 * (size_t)p->n_buffers + 1, sizeof *work);
    enum yj_status status = items && first && last && work ? memory_times(p, first, last) : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; status == YJ_OK && i < p->n_buffers; i++) {
        int64_t bytes;
        enum plan_kind kind = p->buffers[i].kind;
        if (kind == PLAN_ALIAS || kind == PLAN_INPUT) continue;
        status = dim_eval(p->buffers[i].bytes, size_of, s, &bytes);
        if (status != YJ_OK) break;
        if (kind == PLAN_WEIGHT) f->weights += bytes;
        else if (kind == PLAN_STATE) f->states += bytes;
        else items[n++] = (struct memory_item){.bytes = bytes, .first = first[i], .last = last[i]};
    }
    if (status == YJ_OK) status = memory_assign(items, n, work, &f->temporaries);
    free(items), free(first), free(last), free(work);
    return status;
}

/* The values that a launch gives to the dims of its kernel. */
struct arguments { const struct plan_kernel *k; const struct plan_step *s; struct sizes *sizes; };

static bool argument_of(void *user, dim symbol, int64_t *value) {
    const struct arguments *a = user;
    for (int i = 0; i < a->k->n_dims; i++) {
        if (strcmp(a->k->dim_names[i], symbol->name) == 0) return dim_eval(a->s->dims[i], size_of, a->sizes, value) == YJ_OK;
    }
    return false;
}

struct cost { int kernel, launches; int64_t ns; };

static int by_ns(const void *a, const void *b) {
    const struct cost *x = a, *y = b;
    return x->ns != y->ns ? (x->ns < y->ns ? 1 : -1) : x->kernel - y->kernel;
}

static void measure_steps(const struct plan *p, struct sizes *sizes, struct facts *f, struct cost *costs) {
    for (int i = 0; i < p->n_kernels; i++) costs[i].kernel = i;
    for (int b = 0; b < p->n_blocks; b++) {
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            f->copies += s->kind == PLAN_COPY;
            f->starts += s->kind == PLAN_START;
            if (s->kind != PLAN_LAUNCH) continue;
            struct arguments a = {&p->kernels[s->kernel], s, sizes};
            int64_t ns = 0;
            f->launches++;
            costs[s->kernel].launches++;
            if (dim_eval(a.k->variants[a.k->n_variants - 1].ns, argument_of, &a, &ns) == YJ_OK) costs[s->kernel].ns += ns, f->ns += ns;
        }
    }
    qsort(costs, (size_t)p->n_kernels, sizeof *costs, by_ns);
}

/* --- text --- */

static char *shape_of(int rank, const dim *shape, struct text *t) {
    t->n = 0;
    text_add(t, "[");
    for (int i = 0; i < rank; i++) {
        if (i) text_add(t, ", ");
        dim_print(t, shape[i]);
    }
    text_add(t, "]");
    return t->data ? t->data : "?";
}

static void print_ports(const struct plan *p) {
    struct text t = {0}, u = {0}, v = {0};
    for (int i = 0; i < p->n_inputs; i++) {
        printf("  input   %s %s %s\n", p->inputs[i].name, yj_dtype_name(p->inputs[i].dtype), shape_of(p->inputs[i].rank, p->inputs[i].shape, &t));
    }
    for (int i = 0; i < p->n_outputs; i++) {
        printf("  output  %s %s %s\n", p->outputs[i].name, yj_dtype_name(p->outputs[i].dtype), shape_of(p->outputs[i].rank, p->outputs[i].shape, &t));
    }
    for (int i = 0; i < p->n_states; i++) {
        const struct plan_state *s = &p->states[i];
        printf("  state   %s %s -> %s %s, in place in %s %s\n", s->name_in, shape_of(s->rank, s->in, &t), s->name_out,
               shape_of(s->rank, s->out, &u), yj_dtype_name(s->dtype), shape_of(s->rank, s->storage, &v));
    }
    for (int i = 0; i < p->n_dims; i++) {
        const struct plan_dim *d = &p->dim[i];
        printf("  dim     %s %" PRId64 "..", d->symbol->name, d->low);
        if (d->high == DIM_UNBOUNDED) printf("any");
        else printf("%" PRId64, d->high);
        printf(" (%s)\n", plan_dim_kind_names[d->kind]);
    }
    text_free(&t), text_free(&u), text_free(&v);
}

static void print_collectives(const struct plan *p) {
    for (int b = 0; b < p->n_blocks; b++) {
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            struct text count = {0};
            char where[256];
            int wait = i;
            if (s->kind != PLAN_START) continue;
            while (wait < p->blocks[b].n_steps && (p->blocks[b].steps[wait].kind != PLAN_WAIT || p->blocks[b].steps[wait].request != s->request)) wait++;
            dim_print(&count, s->count);
            printf("  collective #%d %d %s over %s: %s elements of %s; %d steps run before its wait; %s\n", b, i,
                   plan_collective_names[s->collective], p->mesh.name[s->axis], count.data ? count.data : "?", yj_dtype_name(s->dtype),
                   wait - i - 1, plan_where(p, s, where, sizeof where));
            text_free(&count);
        }
    }
}

static void print_program(const struct manifest_program *g, const struct plan *p, const struct facts *f, const struct cost *costs) {
    printf("program %s: target %s (%s), needs %s%s, %d rank%s\n", g->name, g->target, g->triple, *g->minimum ? g->minimum : "nothing special",
           g->vector_bits ? " at one vector length" : "", g->ranks, g->ranks > 1 ? "s" : "");
    print_ports(p);
    printf("  steps   %d launches, %d copies, %d collectives in %d blocks; %d kernels\n", f->launches, f->copies, f->starts, p->n_blocks, p->n_kernels);
    printf("  memory  weights %.1f MB, states %.1f MB, temporaries %.1f MB at these sizes\n", (double)f->weights / 1e6, (double)f->states / 1e6,
           (double)f->temporaries / 1e6);
    for (int i = 0; i < p->n_kernels && i < 12 && f->ns > 0; i++) {
        if (costs[i].ns == 0) break;
        printf("  cost    %5.1f %%  %8.1f us  %4d x %s\n", 100.0 * (double)costs[i].ns / (double)f->ns, (double)costs[i].ns / 1e3, costs[i].launches,
               p->kernels[costs[i].kernel].name);
    }
    print_collectives(p);
}

static json_t *program_json(const struct manifest_program *g, const struct plan *p, const struct facts *f, const struct cost *costs) {
    json_t *kernels = json_array();
    for (int i = 0; i < p->n_kernels; i++) {
        json_array_append_new(kernels, json_pack("{s:s,s:i,s:I}", "kernel", p->kernels[costs[i].kernel].name, "launches", costs[i].launches, "ns",
                                                 (json_int_t)costs[i].ns));
    }
    return json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:o}", "program", g->name, "target", g->target, "ranks", g->ranks, "launches",
                     f->launches, "copies", f->copies, "collectives", f->starts, "weight_bytes", (json_int_t)f->weights, "state_bytes",
                     (json_int_t)f->states, "temporary_bytes", (json_int_t)f->temporaries, "ns", (json_int_t)f->ns, "kernels", kernels);
}

static enum yj_status inspect_program(struct inspection *x, const struct manifest_program *g) {
    char path[PATH_MAX], *text;
    size_t n;
    struct plan *p;
    struct facts f = {0};
    snprintf(path, sizeof path, "%s/%s", x->folder, g->plan);
    TRY(file_read(path, &text, &n));
    enum yj_status status = manifest_check(&x->m, x->folder, g->plan, text, n);
    if (status == YJ_OK) status = plan_parse(x->arena, text, g->plan, &p);
    if (status == YJ_OK && x->plan) fputs(text, stdout);
    free(text);
    if (status != YJ_OK || x->plan) return status;
    struct sizes sizes = {&x->dims, p};
    struct cost *costs = calloc((size_t)p->n_kernels + 1, sizeof *costs);
    if (!costs) return report(YJ_ERR_MEMORY, "out of memory");
    status = measure_memory(p, &sizes, &f);
    if (status == YJ_OK) measure_steps(p, &sizes, &f, costs);
    if (status == YJ_OK && x->json) json_array_append_new(x->cases, program_json(g, p, &f, costs));
    else if (status == YJ_OK) print_program(g, p, &f, costs);
    free(costs);
    return status;
}

static enum yj_status inspect_guarded(void *argument) {
    struct inspection *x = argument;
    TRY(manifest_read(x->arena, x->folder, &x->m));
    if (!x->json && !x->plan) printf("%s: model %s, written by Yunjin %s\n", x->folder, x->m.name, x->m.version);
    for (int i = 0; i < x->m.n_programs; i++) TRY(inspect_program(x, &x->m.programs[i]));
    if (x->json || x->plan) return YJ_OK;
    for (int i = 0; i < x->m.n_files; i++) printf("file %-28s %12" PRId64 " bytes  %.16s...\n", x->m.files[i].path, x->m.files[i].bytes, x->m.files[i].hash);
    return YJ_OK;
}

static int inspect_folder(struct inspection *x, bool verify) {
    x->arena = arena_open();
    x->cases = json_array();
    enum yj_status status = x->arena ? arena_guard(inspect_guarded, x) : report(YJ_ERR_MEMORY, "out of memory");
    if (status == YJ_OK && verify) status = manifest_verify(x->folder);
    int code = DONE;
    if (status != YJ_OK) {
        code = command_failed("inspect", status);
    } else if (x->json) {
        json_t *summary = json_pack("{s:s,s:s,s:i,s:b}", "model", x->m.name, "yunjin", x->m.version, "programs", x->m.n_programs, "verified", verify);
        code = command_json("inspect", summary, json_incref(x->cases));
    } else if (verify) {
        printf("every file is as it was written\n");
    }
    json_decref(x->cases);
    arena_close(x->arena);
    return code;
}

/* --- of a .onnx --- */

static void print_text(void *user, const char *text) {
    struct text *all = user;
    if (all) text_add(all, "%s", text);
    else fputs(text, stdout);
}

static int inspect_onnx(struct compile_words *c, const char *model, bool json) {
    enum yj_status (*inspect)(const struct yj_compile_options *, bool);
    struct text all = {0};
    c->o.size = sizeof c->o;
    c->o.model = model;
    c->o.n_dims = c->dims.n, c->o.dims = c->dims.word;
    c->o.n_states = c->states.n, c->o.states = c->states.word;
    c->o.print = print_text;
    c->o.user = json ? &all : NULL;
    enum yj_status status = compiler_function("yj_inspect", &inspect);
    if (status == YJ_OK) status = inspect(&c->o, json);
    int code = status == YJ_OK ? DONE : command_failed("inspect", status);
    if (json && status == YJ_OK) {
        json_t *told = all.data ? json_loads(all.data, 0, NULL) : NULL;
        code = command_json("inspect", json_incref(json_object_get(told, "summary")), json_incref(json_object_get(told, "cases")));
        json_decref(told);
    }
    text_free(&all);
    return code;
}

int command_inspect(int argc, char **argv) {
    static struct compile_words c;
    struct inspection x = {0};
    const char *model = NULL, *plain;
    bool verify = false;
    struct words w = words_of(argc, argv);
    while (words_left(&w)) {
        if (word_flag(&w, "--help") || word_flag(&w, "-h")) return fputs(help, stdout) < 0 ? MACHINE : DONE;
        else if (word_flag(&w, "--json")) x.json = true;
        else if (word_flag(&w, "--plan")) x.plan = true;
        else if (word_flag(&w, "--verify")) verify = true;
        else if (compile_word(&w, &c)) continue;
        else if (!model && (plain = word_plain(&w))) model = plain;
        else word_unknown(&w);
    }
    if (!model) words_missing(&w, "MODEL");
    if (w.bad) return COMMAND_LINE;
    enum yj_status status = check_there(model);
    if (status != YJ_OK) return command_failed("inspect", status);
    if (!is_folder(model)) return inspect_onnx(&c, model, x.json);
    x.folder = model;
    x.dims = c.dims;
    return inspect_folder(&x, verify);
}

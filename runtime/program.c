/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a program: kernels are found, expressions become slots, ranks are joined along the axes of the mesh, and all
 * memory that a run needs besides its buffers is made here.
 */
#include "runtime/program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "runtime/comm_weak.h"

struct opening {
    struct program *r;
    struct expr_builder *b;
    struct kernel_source kernels;
    struct yj_comm *comm;
    yj_kernel_fn **functions; /* [kernel * PLAN_MAX_VARIANTS + variant] */
    struct arena *arena, *work;
    struct plan *plan;
    int n_weights;
    const struct weight_file *weights;
    struct pool *pool;
};

static enum yj_status find_kernels(struct opening *o) {
    const struct plan *p = o->plan;
    o->functions = NEW_ARRAY(o->work, yj_kernel_fn *, p->n_kernels * PLAN_MAX_VARIANTS);
    for (int k = 0; k < p->n_kernels && !o->kernels.launcher; k++) {
        for (int v = 0; v < p->kernels[k].n_variants; v++) {
            yj_kernel_fn *fn = o->kernels.find(o->kernels.user, p->kernels[k].variants[v].symbol);
            if (!fn) {
                return report(YJ_ERR_INPUT, "the kernels lack %s: plan and kernels do not belong together",
                              p->kernels[k].variants[v].symbol);
            }
            o->functions[k * PLAN_MAX_VARIANTS + v] = fn;
        }
    }
    return YJ_OK;
}

/* --- ranks --- */

static enum yj_status join_ranks(struct opening *o, int *coordinates) {
    struct program *r = o->r;
    const struct plan_mesh *m = &o->plan->mesh;
    int64_t ranks = plan_ranks(o->plan);
    int size = o->comm ? yj_comm_size(o->comm) : 1;
    if (size != ranks) {
        return report(YJ_ERR_INPUT,
                      "the model was compiled for %" PRId64 " ranks; this job has %d: start it with %" PRId64
                      " (mpirun -n, or --ranks)",
                      ranks, size, ranks);
    }
    r->rank = o->comm ? yj_comm_rank(o->comm) : 0;
    int rest = r->rank;
    for (int i = m->n - 1; i >= 0; i--) {
        coordinates[i] = rest % m->size[i];
        rest /= m->size[i];
    }
    int wide = 0;
    for (int i = 0; i < m->n; i++)
        wide += m->size[i] > 1;
    for (int i = 0; i < m->n; i++) {
        if (m->size[i] == 1) continue;
        if (wide == 1) {
            r->axis_comm[i] = o->comm;
            continue;
        }
        int color = 0;
        for (int j = 0; j < m->n; j++)
            color = color * m->size[j] + (j == i ? 0 : coordinates[j]);
        TRY(yj_comm_split(o->comm, color, coordinates[i], &r->axis_comm[i]));
        r->split = true;
    }
    r->job_comm = o->comm;
    return YJ_OK;
}

static void set_rank_dims(struct program *r, const int *coordinates) {
    for (int i = 0; i < r->plan->n_dims; i++) {
        if (r->plan->dim[i].kind != PLAN_DIM_RANK) continue;
        exprs_set(&r->exprs, i, coordinates[plan_axis(r->plan, r->plan->dim[i].symbol->name + 5)]);
    }
}

/* --- slots --- */

static enum yj_status slot_or_none(struct opening *o, dim d, int *slot) {
    *slot = -1;
    return d ? exprs_add(o->b, d, slot) : YJ_OK;
}

static int dim_number(const struct plan *p, dim symbol) {
    for (int i = 0; i < p->n_dims; i++) {
        if (p->dim[i].symbol == symbol) return i;
    }
    return -1;
}

static enum yj_status slots_of_launch(struct opening *o, const struct plan_step *s, struct run_step *x) {
    const struct plan_kernel *k = &o->plan->kernels[s->kernel];
    x->n_variants = k->n_variants;
    for (int v = 0; v < k->n_variants; v++) {
        const struct plan_variant *from = &k->variants[v];
        struct run_variant *to = &x->variants[v];
        to->fn = o->functions[s->kernel * PLAN_MAX_VARIANTS + v];
        to->symbol = from->symbol;
        TRY(exprs_add_kernel(o->b, k, x->dims, from->tiles, &to->tiles));
        TRY(exprs_add_kernel(o->b, k, x->dims, from->scratch, &to->scratch));
        TRY(exprs_add_kernel(o->b, k, x->dims, from->ns, &to->ns));
        to->n_guards = from->n_guards;
        to->guards = arena_new(o->arena, (size_t)from->n_guards * sizeof *to->guards);
        for (int g = 0; g < from->n_guards; g++) {
            TRY(exprs_add_kernel(o->b, k, x->dims, from->guards[g].low, &to->guards[g][0]));
            TRY(exprs_add_kernel(o->b, k, x->dims, from->guards[g].value, &to->guards[g][1]));
            TRY(exprs_add_kernel(o->b, k, x->dims, from->guards[g].high, &to->guards[g][2]));
        }
    }
    return YJ_OK;
}

static enum yj_status slots_of_step(struct opening *o, const struct plan_step *s, struct run_step *x) {
    TRY(slot_or_none(o, s->at, &x->at));
    TRY(slot_or_none(o, s->from, &x->from));
    TRY(slot_or_none(o, s->count, &x->count));
    TRY(slot_or_none(o, s->condition, &x->condition));
    TRY(slot_or_none(o, s->trips, &x->trips));
    x->index = s->index ? dim_number(o->plan, s->index) : -1;
    x->turns = s->turns ? dim_number(o->plan, s->turns) : -1;
    if (s->kind == PLAN_BIND) {
        x->born = NEW_ARRAY(o->arena, int, s->n_dims);
        for (int i = 0; i < s->n_dims; i++)
            x->born[i] = dim_number(o->plan, s->dims[i]);
    }
    if (s->kind != PLAN_LAUNCH) return YJ_OK;
    x->dims = NEW_ARRAY(o->arena, int, s->n_dims + 1);
    for (int i = 0; i < s->n_dims; i++)
        TRY(exprs_add(o->b, s->dims[i], &x->dims[i]));
    return slots_of_launch(o, s, x);
}

static enum yj_status slots_of_shape(struct opening *o, int rank, const dim *shape, int *slots) {
    for (int i = 0; i < rank; i++)
        TRY(exprs_add(o->b, shape[i], &slots[i]));
    return YJ_OK;
}

static enum yj_status make_slots(struct opening *o) {
    struct program *r = o->r;
    const struct plan *p = o->plan;
    o->b = exprs_open(o->arena, o->work, p);
    for (int i = 0; i < p->n_buffers; i++) {
        TRY(exprs_add(o->b, p->buffers[i].bytes, &r->buffer_bytes[i]));
        TRY(slot_or_none(o, p->buffers[i].at, &r->buffer_at[i]));
    }
    for (int i = 0; i < p->n_inputs; i++)
        TRY(slots_of_shape(o, p->inputs[i].rank, p->inputs[i].shape, r->inputs[i].slots));
    for (int i = 0; i < p->n_outputs; i++) {
        TRY(slots_of_shape(o, p->outputs[i].rank, p->outputs[i].shape, r->outputs[i].slots));
    }
    for (int i = 0; i < p->n_states; i++) {
        TRY(slots_of_shape(o, p->states[i].rank, p->states[i].in, r->state[i].in));
        TRY(slots_of_shape(o, p->states[i].rank, p->states[i].out, r->state[i].out));
        TRY(slots_of_shape(o, p->states[i].rank, p->states[i].storage, r->state[i].store));
    }
    for (int b = 0; b < p->n_blocks; b++) {
        r->n_steps += p->blocks[b].n_steps;
        r->steps[b] = NEW_ARRAY(o->arena, struct run_step, p->blocks[b].n_steps);
        for (int i = 0; i < p->blocks[b].n_steps; i++)
            TRY(slots_of_step(o, &p->blocks[b].steps[i], &r->steps[b][i]));
    }
    exprs_close(o->b, &r->exprs);
    return YJ_OK;
}

/* --- memory --- */

static void make_arrays(struct program *r) {
    struct arena *a = r->arena;
    const struct plan *p = r->plan;
    r->buffer_bytes = NEW_ARRAY(a, int, p->n_buffers);
    r->buffer_at = NEW_ARRAY(a, int, p->n_buffers);
    r->address = NEW_ARRAY(a, void *, p->n_buffers);
    r->bytes = NEW_ARRAY(a, int64_t, p->n_buffers);
    r->inputs = NEW_ARRAY(a, struct run_port, p->n_inputs);
    r->outputs = NEW_ARRAY(a, struct run_port, p->n_outputs);
    r->input = NEW_ARRAY(a, struct run_input, p->n_inputs);
    r->state = NEW_ARRAY(a, struct run_state, p->n_states);
    r->steps = NEW_ARRAY(a, struct run_step *, p->n_blocks);
    r->requests = NEW_ARRAY(a, void *, p->n_requests);
    int most_args = 1, most_dims = 1;
    for (int i = 0; i < p->n_kernels; i++) {
        most_args = (int)max64(most_args, p->kernels[i].n_args);
        most_dims = (int)max64(most_dims, p->kernels[i].n_dims);
    }
    r->args = NEW_ARRAY(a, void *, most_args);
    r->parcels = NEW_ARRAY(a, struct yj_launch_buffer, most_args);
    r->scalars = NEW_ARRAY(a, int64_t, most_dims);
    for (int i = 0; i < p->n_states; i++)
        r->state[i].fresh = true;
}

/* What a collective reads or writes lies in memory that its peers may read in place, whatever the plan says. */
static void mark_shared(const struct plan *p, bool *shared) {
    for (int i = 0; i < p->n_buffers; i++)
        shared[i] = p->buffers[i].space == PLAN_COMM;
    for (int b = 0; b < p->n_blocks; b++) {
        for (int i = 0; i < p->blocks[b].n_steps; i++) {
            const struct plan_step *s = &p->blocks[b].steps[i];
            for (int j = 0; s->kind == PLAN_START && j < 2; j++)
                shared[plan_root(p, s->buffers[j])] = true;
        }
    }
}

/* Temporaries, those of the host space first, and the INPUT dims, whose values choose their offsets. */
static enum yj_status make_temps(struct opening *o) {
    struct program *r = o->r;
    const struct plan *p = o->plan;
    int *first = NEW_ARRAY(o->work, int, p->n_buffers), *last = NEW_ARRAY(o->work, int, p->n_buffers);
    TRY(memory_times(p, first, last));
    r->temp = NEW_ARRAY(o->arena, int, p->n_buffers);
    r->items = NEW_ARRAY(o->arena, struct memory_item, p->n_buffers);
    r->work = NEW_ARRAY(o->arena, uint64_t, 2 * (size_t)p->n_buffers);
    bool *shared = NEW_ARRAY(o->work, bool, p->n_buffers);
    mark_shared(p, shared);
    for (int space = 0; space < 2; space++) {
        for (int i = 0; i < p->n_buffers; i++) {
            if (p->buffers[i].kind != PLAN_TEMP || shared[i] != (space == 1)) continue;
            r->items[r->n_temps] = (struct memory_item){.first = first[i], .last = last[i]};
            r->temp[r->n_temps++] = i;
        }
        if (space == 0) r->n_host_temps = r->n_temps;
    }
    r->key_dims = NEW_ARRAY(o->arena, int, p->n_dims);
    for (int i = 0; i < p->n_dims; i++) {
        r->n_born += p->dim[i].kind == PLAN_DIM_BORN;
        if (p->dim[i].kind == PLAN_DIM_INPUT) r->key_dims[r->n_key++] = i;
    }
    r->key = NEW_ARRAY(o->arena, int64_t, r->n_key);
    for (int i = 0; i < r->n_key; i++)
        r->key[i] = -1;
    r->seen = NEW_ARRAY(o->arena, int, r->n_key);
    r->state_of = NEW_ARRAY(o->arena, int, p->n_dims);
    r->state_values = NEW_ARRAY(o->arena, int64_t, p->n_dims);
    r->input_keys = NEW_ARRAY(o->arena, int, PLAN_MAX_RANK *(size_t)p->n_inputs);
    r->state_dims = NEW_ARRAY(o->arena, int, PLAN_MAX_RANK *(size_t)p->n_states);
    for (int i = 0; i < p->n_inputs; i++) {
        for (int j = 0; j < p->inputs[i].rank; j++) {
            int number = dim_number(p, p->inputs[i].shape[j]), key = r->n_key - 1;
            while (key >= 0 && r->key_dims[key] != number)
                key--;
            r->input_keys[i * PLAN_MAX_RANK + j] = key;
        }
    }
    for (int i = 0; i < p->n_states; i++) {
        for (int j = 0; j < p->states[i].rank; j++) {
            int number = dim_number(p, p->states[i].in[j]);
            bool state = number >= 0 && p->dim[number].kind == PLAN_DIM_STATE;
            r->state_dims[i * PLAN_MAX_RANK + j] = state ? number : -1;
        }
    }
    for (int i = 0; i < PROGRAM_BINDINGS; i++) {
        r->bindings[i].key = NEW_ARRAY(o->arena, int64_t, r->n_key);
        r->bindings[i].offsets = NEW_ARRAY(o->arena, int64_t, r->n_temps);
    }
    return YJ_OK;
}

static enum yj_status place_weights(struct program *r) {
    const struct plan *p = r->plan;
    for (int i = 0; i < p->n_buffers; i++) {
        const struct plan_buffer *b = &p->buffers[i];
        if (b->kind != PLAN_WEIGHT) continue;
        int64_t at, bytes;
        TRY(exprs_get(&r->exprs, r->buffer_at[i], &at));
        TRY(exprs_get(&r->exprs, r->buffer_bytes[i], &bytes));
        if (b->file >= r->n_weights) {
            return report(YJ_ERR_INPUT, "weight '%s' lies in weights file %d; there are %d", b->name, b->file,
                          r->n_weights);
        }
        int64_t room = r->weights[b->file].bytes;
        if (at < 0 || bytes < 0 || at > room || bytes > room - at || at % PLAN_ALIGN) {
            return report(YJ_ERR_INPUT,
                          "weight '%s' (bytes %" PRId64 " to %" PRId64 ") does not lie in its file of %" PRId64
                          " bytes: the weights do not belong to the plan",
                          b->name, at, at + bytes, room);
        }
        r->address[i] = (char *)r->weights[b->file].base + at;
        r->bytes[i] = bytes;
    }
    return YJ_OK;
}

static enum yj_status open_guarded(void *argument) {
    struct opening *o = argument;
    const struct plan *p = o->plan;
    for (int i = 0; i < p->n_buffers; i++) {
        if (p->buffers[i].space == PLAN_DEVICE) {
            return report(YJ_ERR_UNSUPPORTED, "buffer '%s' lies on device %d: this runtime has no devices yet",
                          p->buffers[i].name, p->buffers[i].device);
        }
    }
    struct program *r = o->r = NEW(o->arena, struct program);
    *r = (struct program){.arena = o->arena,
                          .plan = o->plan,
                          .pool = o->pool,
                          .n_weights = o->n_weights,
                          .weights = o->weights,
                          .kernels = o->kernels};
    make_arrays(r);
    TRY(find_kernels(o));
    TRY(make_slots(o));
    TRY(make_temps(o));
    int coordinates[4] = {0};
    TRY(join_ranks(o, coordinates));
    set_rank_dims(r, coordinates);
    exprs_eval(&r->exprs);
    return place_weights(r);
}

enum yj_status program_open(struct arena *arena, struct plan *plan, const struct kernel_source *kernels, int n_weights,
                            const struct weight_file *weights, struct pool *pool, struct yj_comm *comm,
                            struct program **out) {
    struct opening o = {.kernels = *kernels,
                        .comm = comm,
                        .arena = arena,
                        .work = arena_open(),
                        .plan = plan,
                        .n_weights = n_weights,
                        .weights = weights,
                        .pool = pool};
    if (!o.work) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = arena_guard(open_guarded, &o);
    arena_close(o.work);
    if (status == YJ_OK)
        *out = o.r;
    else
        program_close(o.r);
    return status;
}

void program_close(struct program *r) {
    if (!r) return;
    for (int i = 0; i < 2; i++)
        program_drop_memory(r, i);
    for (int i = 0; i < 4; i++) {
        if (r->split && r->axis_comm[i]) yj_comm_close(r->axis_comm[i]);
    }
    for (int i = 0; r->input && i < r->plan->n_inputs; i++)
        free(r->input[i].staging);
    for (int i = 0; r->state && i < r->plan->n_states; i++) {
        if (r->state[i].memory) munmap(r->state[i].memory, (size_t)r->state[i].mapped);
    }
    free(r->profile.events);
}

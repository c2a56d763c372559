/* SPDX-License-Identifier: Apache-2.0
 *
 * From shapes to addresses. The shapes of inputs and the present lengths of states give the dims; one pass evaluates
 * all expressions; the INPUT dims alone decide the offsets, which are kept per binding. After program_prepare a run
 * needs nothing more: no memory, no look-up.
 */
#include "runtime/comm_weak.h"
#include "runtime/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Alignas(64) char nowhere[64]; /* what a tensor without elements points to */

static int64_t machine_bytes(void) {
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), bytes;
    return pages > 0 && page > 0 && !__builtin_mul_overflow(pages, page, &bytes) ? bytes : INT64_MAX;
}

static enum yj_status too_much(const char *what, int64_t bytes) {
    return report(YJ_ERR_MEMORY, "%s would need %.1f GB; this machine has %.1f GB: use smaller shapes", what,
                  (double)bytes / 1e9, (double)machine_bytes() / 1e9);
}

static enum yj_status map(const char *what, int64_t bytes, void **memory) {
    if (bytes > machine_bytes()) return too_much(what, bytes);
    void *m = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) return report(YJ_ERR_MEMORY, "%s: no memory for %" PRId64 " bytes", what, bytes);
    *memory = m;
    return YJ_OK;
}

static char *shape_text(int rank, const int64_t *shape, char *out, size_t room) {
    size_t n = 0;
    n += (size_t)snprintf(out, room, "[");
    for (int i = 0; i < rank && n < room; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (n < room) snprintf(out + n, room - n, "]");
    return out;
}

static char *dims_text(int rank, const dim *shape, char *out, size_t room) {
    struct text t = {0};
    text_add(&t, "[");
    for (int i = 0; i < rank; i++) {
        if (i) text_add(&t, ", ");
        dim_print(&t, shape[i]);
    }
    text_add(&t, "]");
    snprintf(out, room, "%s", t.data ? t.data : "?");
    text_free(&t);
    return out;
}

/* --- inputs --- */

static int plan_dim_of(const struct plan *p, dim d) {
    if (d->op != DIM_SYMBOL) return -1;
    for (int i = 0; i < p->n_dims; i++) {
        if (p->dim[i].symbol == d) return i;
    }
    return -1;
}

static enum yj_status check_bound(const struct plan *p, const char *what, const char *name, int axis, int number,
                                  int64_t value) {
    const struct plan_dim *d = &p->dim[number];
    if (value >= d->low && value <= d->high) return YJ_OK;
    char high[32];
    snprintf(high, sizeof high, d->high == DIM_UNBOUNDED ? "any" : "%" PRId64, d->high);
    return report(YJ_ERR_INPUT, "%s '%s': dimension %d (%s) is %" PRId64 "; the model takes %" PRId64 "..%s", what,
                  name, axis, d->symbol->name, value, d->low, high);
}

static enum yj_status check_input(const struct plan *p, const struct plan_port *in, const struct yj_tensor *t) {
    char shape[256], want[512];
    if (t->dtype != in->dtype) {
        return report(YJ_ERR_INPUT, "input '%s' is %s; the model takes %s", in->name, yj_dtype_name(t->dtype),
                      yj_dtype_name(in->dtype));
    }
    if (t->rank != in->rank) {
        return report(YJ_ERR_INPUT, "input '%s' has rank %d; the model takes rank %d %s", in->name, t->rank, in->rank,
                      dims_text(in->rank, in->shape, want, sizeof want));
    }
    for (int i = 0; i < t->rank; i++) {
        int64_t fixed;
        int number = plan_dim_of(p, in->shape[i]);
        if (number >= 0) TRY(check_bound(p, "input", in->name, i, number, t->shape[i]));
        if (dim_is_const(in->shape[i], &fixed) && t->shape[i] != fixed) {
            return report(YJ_ERR_INPUT, "input '%s' has the shape %s; the model takes %s", in->name,
                          shape_text(t->rank, t->shape, shape, sizeof shape),
                          dims_text(in->rank, in->shape, want, sizeof want));
        }
    }
    return YJ_OK;
}

enum yj_status program_bind_input(struct program *r, int index, const struct yj_tensor *tensor) {
    const struct plan *p = r->plan;
    if (index < 0 || index >= p->n_inputs)
        return report(YJ_ERR_INPUT, "there is no input %d: the model has %d", index, p->n_inputs);
    const char *name = p->inputs[index].name;
    struct run_input *in = &r->input[index];
    size_t bytes;
    TRY(check_input(p, &p->inputs[index], tensor));
    enum yj_status status = yj_tensor_bytes(tensor, &bytes);
    if (status != YJ_OK) return report_in(status, "input '%s'", name);
    if (bytes && !tensor->data) return report(YJ_ERR_INPUT, "input '%s' has no data", name);
    void *data = bytes ? tensor->data : nowhere;
    if ((uintptr_t)data % PLAN_ALIGN) {
        if ((int64_t)bytes > machine_bytes()) return too_much(name, (int64_t)bytes);
        if (bytes > in->staging_bytes) {
            void *staging = aligned_alloc(PLAN_ALIGN, (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN);
            if (!staging) return report(YJ_ERR_MEMORY, "input '%s': no memory for %zu bytes", name, bytes);
            free(in->staging);
            in->staging = staging;
            in->staging_bytes = bytes;
        }
        memcpy(in->staging, data, bytes);
        data = in->staging;
    }
    in->tensor = *tensor;
    in->tensor.data = data;
    in->bound = true;
    r->ready = false;
    return YJ_OK;
}

/* Gives every INPUT dim its value, and complains of the first that has two. */
static enum yj_status set_input_dims(struct program *r, bool *changed) {
    const struct plan *p = r->plan;
    for (int d = 0; d < r->n_key; d++)
        r->seen[d] = -1;
    for (int i = 0; i < p->n_inputs; i++) {
        const struct plan_port *in = &p->inputs[i];
        if (!r->input[i].bound)
            return report(YJ_ERR_INPUT, "input '%s' is not bound (yunjin run: --input %s=FILE, or --random SEED)",
                          in->name, in->name);
        for (int j = 0; j < in->rank; j++) {
            int key = r->input_keys[i * PLAN_MAX_RANK + j];
            if (key < 0) continue;
            int64_t value = r->input[i].tensor.shape[j];
            if (r->seen[key] >= 0 && r->key[key] != value) {
                return report(YJ_ERR_INPUT,
                              "input '%s': dimension %d (%s) is %" PRId64 ", but input '%s' says %" PRId64, in->name, j,
                              in->shape[j]->name, value, p->inputs[r->seen[key]].name, r->key[key]);
            }
            if (r->key[key] != value) *changed = true;
            r->key[key] = value;
            r->seen[key] = i;
            exprs_set(&r->exprs, r->key_dims[key], value);
        }
    }
    return YJ_OK;
}

/* --- states --- */

static enum yj_status set_state_dims(struct program *r, bool *changed) {
    const struct plan *p = r->plan;
    for (int d = 0; d < p->n_dims; d++)
        r->state_of[d] = -1;
    for (int i = 0; i < p->n_states; i++) {
        const struct plan_state *s = &p->states[i];
        const struct run_state *x = &r->state[i];
        for (int j = 0; j < s->rank; j++) {
            int number = r->state_dims[i * PLAN_MAX_RANK + j];
            if (number < 0) continue;
            int64_t value = x->fresh ? p->dim[number].low : x->shape[j];
            int other = r->state_of[number];
            if (other >= 0 && r->state_values[number] != value) {
                return report(YJ_ERR_INPUT,
                              "state '%s': dimension %d (%s) is %" PRId64 ", but state '%s' says %" PRId64, s->name_in,
                              j, s->in[j]->name, value, p->states[other].name_in, r->state_values[number]);
            }
            TRY(check_bound(p, "state", s->name_in, j, number, value));
            if (r->state_values[number] != value) *changed = true;
            r->state_values[number] = value;
            r->state_of[number] = i;
            exprs_set(&r->exprs, number, value);
        }
    }
    return YJ_OK;
}

static enum yj_status shape_of(const struct program *r, int rank, const int *slots, int64_t *shape) {
    for (int i = 0; i < rank; i++) {
        TRY(exprs_get(&r->exprs, slots[i], &shape[i]));
        if (shape[i] < 0) return report(YJ_ERR_INPUT, "a dimension of %" PRId64, shape[i]);
    }
    return YJ_OK;
}

/* Memory for the storage shape that the inputs lead to; a state that is in use keeps the one it has. */
static enum yj_status place_state(struct program *r, int i) {
    const struct plan_state *s = &r->plan->states[i];
    struct run_state *x = &r->state[i];
    struct yj_tensor t = {.size = sizeof t, .dtype = s->dtype, .rank = s->rank};
    size_t bytes;
    int64_t planned;
    TRY(shape_of(r, s->rank, x->store, t.shape));
    TRY(yj_tensor_bytes(&t, &bytes));
    TRY(exprs_get(&r->exprs, r->buffer_bytes[s->buffer], &planned));
    bool same = x->memory && memcmp(t.shape, x->storage, (size_t)s->rank * sizeof *t.shape) == 0;
    if (same) return YJ_OK;
    if (!x->fresh) {
        char now[256], then[256];
        return report(YJ_ERR_INPUT, "it was made for %s and these inputs need %s: reset it first",
                      shape_text(s->rank, x->storage, then, sizeof then),
                      shape_text(s->rank, t.shape, now, sizeof now));
    }
    void *memory;
    int64_t mapped = (max64((int64_t)bytes, planned) + 4095) / 4096 * 4096 + 4096;
    TRY(map("it", mapped, &memory));
    if (x->memory) munmap(x->memory, (size_t)x->mapped);
    x->memory = memory;
    x->mapped = mapped;
    x->bytes = (int64_t)bytes;
    memcpy(x->storage, t.shape, sizeof t.shape);
    return YJ_OK;
}

static enum yj_status check_room(const struct plan_state *s, const struct run_state *x, const int64_t *shape) {
    for (int j = 0; j < s->rank; j++) {
        if (shape[j] <= x->storage[j]) continue;
        return report(YJ_ERR_INPUT,
                      "dimension %d would be %" PRId64 "; there is room for %" PRId64
                      ": reset it, or compile with a larger bound (--dim)",
                      j, shape[j], x->storage[j]);
    }
    return YJ_OK;
}

/* Before a run: the lengths that the run starts from, and, where they can be told already, those it ends with. */
static enum yj_status check_state(struct program *r, int i) {
    const struct plan_state *s = &r->plan->states[i];
    struct run_state *x = &r->state[i];
    int64_t in[PLAN_MAX_RANK], out[PLAN_MAX_RANK];
    TRY(place_state(r, i));
    TRY(shape_of(r, s->rank, x->in, in));
    TRY(check_room(s, x, in));
    for (int j = 0; j < s->rank && !x->fresh; j++) {
        if (in[j] == x->shape[j]) continue;
        return report(YJ_ERR_INPUT,
                      "its dimension %d is %" PRId64 ", and these inputs need %" PRId64 ": reset it first", j,
                      x->shape[j], in[j]);
    }
    memcpy(x->shape, in, sizeof in);
    for (int j = 0; j < s->rank; j++) {
        const struct slot *slot = &r->exprs.slots[x->out[j]];
        out[j] = slot->bad ? 0 : slot->value;
    }
    return check_room(s, x, out);
}

void program_state_reset(struct program *r) {
    for (int i = 0; i < r->plan->n_states; i++) {
        struct run_state *x = &r->state[i];
        x->fresh = true;
        if (x->memory) madvise(x->memory, (size_t)x->mapped, MADV_DONTNEED); /* private and anonymous: zeros again */
    }
}

/* Moves the logical corner between storage and packed memory. */
static void copy_corner(const struct plan_state *s, const struct run_state *x, char *packed, bool out) {
    size_t each = yj_dtype_bytes(s->dtype);
    int64_t rows = 1, row = s->rank ? x->shape[s->rank - 1] : 1;
    for (int j = 0; j + 1 < s->rank; j++)
        rows *= x->shape[j];
    size_t bytes = (size_t)row * each;
    for (int64_t i = 0; i < rows && bytes; i++) {
        int64_t rest = i, at = 0, stride = s->rank ? x->storage[s->rank - 1] : 1;
        for (int j = s->rank - 2; j >= 0; j--) {
            at += rest % x->shape[j] * stride;
            rest /= x->shape[j];
            stride *= x->storage[j];
        }
        char *there = (char *)x->memory + (size_t)at * each, *here = packed + (size_t)i * bytes;
        memcpy(out ? here : there, out ? there : here, bytes);
    }
}

/* Makes the storage of a state without running; inputs must be bound if its size depends on them. */
static enum yj_status settle_state(struct program *r, int index) {
    bool changed = false, known = true;
    TRY(set_state_dims(r, &changed));
    exprs_eval(&r->exprs);
    r->evaluated = false;
    for (int j = 0; j < r->plan->states[index].rank; j++)
        known = known && !r->exprs.slots[r->state[index].store[j]].bad;
    if (!known) {
        TRY(set_input_dims(r, &changed));
        exprs_eval(&r->exprs);
    }
    TRY(place_state(r, index));
    if (r->state[index].fresh) TRY(shape_of(r, r->plan->states[index].rank, r->state[index].in, r->state[index].shape));
    return YJ_OK;
}

static enum yj_status state_index(const struct program *r, int index) {
    if (index >= 0 && index < r->plan->n_states) return YJ_OK;
    return report(YJ_ERR_INPUT, "there is no state %d: the model has %d", index, r->plan->n_states);
}

enum yj_status program_state_get(struct program *r, int index, struct yj_tensor *tensor, size_t room) {
    TRY(state_index(r, index));
    const struct plan_state *s = &r->plan->states[index];
    const struct run_state *x = &r->state[index];
    enum yj_status status = x->memory && !x->fresh ? YJ_OK : settle_state(r, index);
    if (status != YJ_OK) return report_in(status, "state '%s' has no size yet", s->name_in);
    struct yj_tensor t = {.size = tensor->size, .dtype = s->dtype, .rank = s->rank, .data = tensor->data};
    memcpy(t.shape, x->shape, sizeof t.shape);
    size_t bytes;
    TRY(yj_tensor_bytes(&t, &bytes));
    if (t.data && bytes > room) {
        return report(YJ_ERR_INPUT, "state '%s' has %zu bytes; there is room for %zu", s->name_in, bytes, room);
    }
    if (t.data) copy_corner(s, x, t.data, true);
    *tensor = t;
    return YJ_OK;
}

enum yj_status program_state_set(struct program *r, int index, const struct yj_tensor *tensor) {
    TRY(state_index(r, index));
    const struct plan *p = r->plan;
    const struct plan_state *s = &p->states[index];
    struct run_state *x = &r->state[index];
    if (tensor->dtype != s->dtype || tensor->rank != s->rank) {
        return report(YJ_ERR_INPUT, "state '%s' is %s of rank %d; it is given %s of rank %d", s->name_in,
                      yj_dtype_name(s->dtype), s->rank, yj_dtype_name(tensor->dtype), tensor->rank);
    }
    size_t bytes;
    TRY(yj_tensor_bytes(tensor, &bytes));
    if (bytes && !tensor->data) return report(YJ_ERR_INPUT, "state '%s' is given no data", s->name_in);
    struct run_state before = *x;
    x->fresh = true; /* its old length says nothing any more */
    enum yj_status status = settle_state(r, index);
    x->fresh = before.fresh;
    if (x->memory == before.memory) memcpy(x->shape, before.shape, sizeof x->shape);
    if (status == YJ_OK) status = check_room(s, x, tensor->shape);
    for (int j = 0; j < s->rank && status == YJ_OK; j++) {
        int number = r->state_dims[index * PLAN_MAX_RANK + j];
        int64_t fixed;
        if (number >= 0) status = check_bound(p, "state", s->name_in, j, number, tensor->shape[j]);
        if (dim_is_const(s->in[j], &fixed) && tensor->shape[j] != fixed) {
            status = report(YJ_ERR_INPUT, "dimension %d is %" PRId64 "; the model takes %" PRId64, j, tensor->shape[j],
                            fixed);
        }
    }
    if (status != YJ_OK) return report_in(status, "state '%s'", s->name_in);
    memset(x->memory, 0, (size_t)x->mapped);
    memcpy(x->shape, tensor->shape, sizeof x->shape);
    x->fresh = false;
    if (bytes) copy_corner(s, x, tensor->data, false);
    r->ready = false;
    return YJ_OK;
}

/* --- memory --- */

/* The offsets for the present INPUT dims: from the kept bindings, or anew in the oldest. */
static enum yj_status find_binding(struct program *r) {
    struct binding *oldest = &r->bindings[0];
    for (int i = 0; i < PROGRAM_BINDINGS; i++) {
        struct binding *b = &r->bindings[i];
        if (b->used && memcmp(b->key, r->key, (size_t)r->n_key * sizeof *r->key) == 0) {
            b->age = ++r->age;
            r->binding = b;
            return YJ_OK;
        }
        if (!b->used || (oldest->used && b->age < oldest->age)) oldest = b;
        if (!oldest->used) break;
    }
    oldest->used = false;
    for (int i = 0; i < r->n_temps; i++) {
        enum yj_status status = exprs_get(&r->exprs, r->buffer_bytes[r->temp[i]], &r->items[i].bytes);
        if (status != YJ_OK) return report_in(status, "buffer '%s'", r->plan->buffers[r->temp[i]].name);
    }
    for (int space = 0, at = 0; space < 2; space++) {
        int n = space ? r->n_temps - r->n_host_temps : r->n_host_temps;
        TRY(memory_assign(r->items + at, n, r->work, &oldest->total[space]));
        at += n;
    }
    for (int i = 0; i < r->n_temps; i++)
        oldest->offsets[i] = r->items[i].offset;
    memcpy(oldest->key, r->key, (size_t)r->n_key * sizeof *r->key);
    oldest->used = true;
    oldest->age = ++r->age;
    r->binding = oldest;
    return YJ_OK;
}

void program_drop_memory(struct program *r, int space) {
    struct space_memory *m = &r->memory[space];
    if (m->base && m->shared)
        yj_comm_free(r->job_comm, m->base);
    else if (m->base)
        munmap(m->base, (size_t)m->bytes);
    *m = (struct space_memory){0};
}

/* Memory of the second space comes from comm if there are peers. */
static enum yj_status take_memory(struct program *r, int space, int64_t bytes) {
    void *memory;
    bool shared = space == 1 && r->job_comm;
    program_drop_memory(r, space);
    if (shared)
        TRY(yj_comm_alloc(r->job_comm, (size_t)bytes, &memory));
    else
        TRY(map("temporaries", bytes, &memory));
    r->memory[space] = (struct space_memory){memory, bytes, shared};
    return YJ_OK;
}

static enum yj_status reserve(struct program *r) {
    int64_t sum;
    if (__builtin_add_overflow(r->binding->total[0], r->binding->total[1], &sum)) sum = INT64_MAX;
    if (sum > machine_bytes()) return too_much("the temporaries of these shapes", sum);
    for (int space = 0; space < 2; space++) {
        int64_t need = r->binding->total[space];
        if (need > r->memory[space].bytes) TRY(take_memory(r, space, (need + 4095) / 4096 * 4096));
    }
    return YJ_OK;
}

static enum yj_status resolve_alias(struct program *r, int i) {
    const struct plan_buffer *b = &r->plan->buffers[i];
    int64_t at, room = r->bytes[b->of];
    TRY(exprs_get(&r->exprs, r->buffer_at[i], &at));
    if (at < 0 || at > room || r->bytes[i] > room - at) {
        return report(YJ_ERR_INTERNAL,
                      "plan: %%%d '%s' lies at %" PRId64 " with %" PRId64 " bytes, outside of the %" PRId64
                      " bytes of %%%d",
                      i, b->name, at, r->bytes[i], room, b->of);
    }
    r->address[i] = (char *)r->address[b->of] + at;
    return YJ_OK;
}

static enum yj_status resolve(struct program *r) {
    const struct plan *p = r->plan;
    for (int i = 0; i < p->n_buffers; i++) {
        TRY(exprs_get(&r->exprs, r->buffer_bytes[i], &r->bytes[i]));
        if (r->bytes[i] < 0)
            return report(YJ_ERR_INPUT, "buffer '%s' would have %" PRId64 " bytes", p->buffers[i].name, r->bytes[i]);
    }
    for (int i = 0; i < p->n_inputs; i++) {
        size_t bytes;
        TRY(yj_tensor_bytes(&r->input[i].tensor, &bytes));
        if (r->bytes[p->inputs[i].buffer] > (int64_t)bytes) {
            return report(YJ_ERR_INTERNAL, "plan: input '%s' has %zu bytes, its buffer %" PRId64, p->inputs[i].name,
                          bytes, r->bytes[p->inputs[i].buffer]);
        }
        r->address[p->inputs[i].buffer] = r->input[i].tensor.data;
    }
    for (int i = 0; i < p->n_states; i++)
        r->address[p->states[i].buffer] = r->state[i].memory;
    for (int i = 0; i < r->n_temps; i++) {
        char *base = r->memory[i >= r->n_host_temps].base;
        r->address[r->temp[i]] = base ? base + r->binding->offsets[i] : nowhere;
    }
    for (int i = 0; i < p->n_buffers; i++) {
        if (p->buffers[i].kind == PLAN_ALIAS) TRY(resolve_alias(r, i));
    }
    return YJ_OK;
}

static bool holds(const struct program *r, const struct run_variant *v) {
    const struct slot *slots = r->exprs.slots;
    for (int g = 0; g < v->n_guards; g++) {
        const struct slot *low = &slots[v->guards[g][0]], *x = &slots[v->guards[g][1]], *high = &slots[v->guards[g][2]];
        if (low->bad || x->bad || high->bad || x->value < low->value || x->value > high->value) return false;
    }
    return true;
}

const struct run_variant *program_variant(const struct program *r, const struct run_step *x) {
    for (int v = 0; v < x->n_variants; v++) {
        if (holds(r, &x->variants[v])) return &x->variants[v];
    }
    return NULL;
}

/* Scratch for every launch whose dims are known; a launch over a BORN dim may ask for more when it runs. */
static enum yj_status reserve_scratch(struct program *r) {
    int64_t most = 0;
    for (int b = 0; b < r->plan->n_blocks; b++) {
        for (int i = 0; i < r->plan->blocks[b].n_steps; i++) {
            const struct run_variant *v = program_variant(r, &r->steps[b][i]);
            if (v && !r->exprs.slots[v->scratch].bad) most = max64(most, r->exprs.slots[v->scratch].value);
        }
    }
    if (most > machine_bytes()) return too_much("the scratch memory of these shapes", most);
    return pool_reserve(r->pool, most);
}

/* Shapes that are not single dims are compared with what the dims say. */
static enum yj_status check_shapes(const struct program *r) {
    const struct plan *p = r->plan;
    for (int i = 0; i < p->n_inputs; i++) {
        const struct yj_tensor *t = &r->input[i].tensor;
        int64_t want[PLAN_MAX_RANK];
        enum yj_status status = shape_of(r, t->rank, r->inputs[i].slots, want);
        if (status != YJ_OK) return report_in(status, "input '%s'", p->inputs[i].name);
        if (memcmp(want, t->shape, (size_t)t->rank * sizeof *want) == 0) continue;
        char a[256], b[256];
        return report(YJ_ERR_INPUT, "input '%s' has the shape %s; with the other inputs it must be %s",
                      p->inputs[i].name, shape_text(t->rank, t->shape, a, sizeof a),
                      shape_text(t->rank, want, b, sizeof b));
    }
    return YJ_OK;
}

enum yj_status program_prepare(struct program *r) {
    bool changed = !r->evaluated || r->n_born;
    r->evaluated = r->ready = false;
    for (int i = 0; i < r->plan->n_dims && r->n_born; i++) {
        if (r->plan->dim[i].kind == PLAN_DIM_BORN) r->exprs.slots[r->exprs.dim_slot[i]].bad = 1;
    }
    TRY(set_input_dims(r, &changed));
    TRY(set_state_dims(r, &changed));
    if (changed) exprs_eval(&r->exprs);
    TRY(check_shapes(r));
    for (int i = 0; i < r->plan->n_states; i++) {
        enum yj_status status = check_state(r, i);
        if (status != YJ_OK) return report_in(status, "state '%s'", r->plan->states[i].name_in);
    }
    TRY(find_binding(r));
    TRY(reserve(r));
    TRY(resolve(r));
    if (changed) TRY(reserve_scratch(r));
    if (r->profile.on) TRY(profile_reserve(&r->profile, (size_t)r->n_steps));
    r->evaluated = true;
    return YJ_OK;
}

/* --- after a run --- */

enum yj_status program_finish(struct program *r) {
    const struct plan *p = r->plan;
    for (int i = 0; i < p->n_states; i++) {
        struct run_state *x = &r->state[i];
        int64_t out[PLAN_MAX_RANK];
        enum yj_status status = shape_of(r, p->states[i].rank, x->out, out);
        if (status == YJ_OK) status = check_room(&p->states[i], x, out);
        if (status != YJ_OK) return report_in(status, "state '%s'", p->states[i].name_in);
        memcpy(x->shape, out, sizeof(int64_t) * (size_t)p->states[i].rank);
        x->fresh = false;
    }
    r->ready = true;
    return YJ_OK;
}

enum yj_status program_output(struct program *r, int index, struct yj_tensor *tensor) {
    const struct plan *p = r->plan;
    if (index < 0 || index >= p->n_outputs) {
        return report(YJ_ERR_INPUT, "there is no output %d: the model has %d", index, p->n_outputs);
    }
    const struct plan_port *out = &p->outputs[index];
    if (!r->ready) return report(YJ_ERR_INPUT, "output '%s' is not there: run the model first", out->name);
    struct yj_tensor t = {
        .size = tensor->size, .dtype = out->dtype, .rank = out->rank, .data = r->address[out->buffer]};
    size_t bytes;
    enum yj_status status = shape_of(r, out->rank, r->outputs[index].slots, t.shape);
    if (status == YJ_OK) status = yj_tensor_bytes(&t, &bytes);
    if (status == YJ_OK && (int64_t)bytes > r->bytes[out->buffer]) {
        status = report(YJ_ERR_INTERNAL, "it has %zu bytes, its buffer %" PRId64, bytes, r->bytes[out->buffer]);
    }
    if (status != YJ_OK) return report_in(status, "output '%s'", out->name);
    *tensor = t;
    return YJ_OK;
}

int64_t program_planned_bytes(const struct program *r) {
    int64_t sum = pool_scratch(r->pool) * pool_threads(r->pool);
    for (int i = 0; i < 2; i++)
        sum += r->memory[i].bytes;
    for (int i = 0; i < r->plan->n_states; i++)
        sum += r->state[i].bytes;
    for (int i = 0; i < r->plan->n_inputs; i++)
        sum += (int64_t)r->input[i].staging_bytes;
    return sum;
}

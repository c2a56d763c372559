/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter of the plan: eight kinds of steps. Steps run in the order of the list, which respects every queue and
 * every `after`; only collectives are under way while other steps run. Nothing here computes on tensors: kernels do.
 */
#include "runtime/program.h"

#include <fenv.h>
#include <inttypes.h>
#include "runtime/comm_weak.h"

enum { SMALL_NS = 10000, PROGRESS_NS = 20000 };

static enum yj_status run_block(struct program *r, int block);

/* --- launch --- */

static void progress(void *user) {
    yj_comm_progress(((struct program *)user)->job_comm); /* what fails is told by the wait */
}

static enum yj_status fault_error(const struct program *r, const struct plan_step *s, const struct yj_fault *fault) {
    char where[512];
    plan_where(r->plan, s, where, sizeof where);
    const char *kernel = r->plan->kernels[s->kernel].name;
    switch (fault->code) {
    case YJ_FAULT_INDEX:
        return report(YJ_ERR_INPUT, "%s: index %" PRId64 " is out of range (kernel %s)", where, fault->value, kernel);
    case YJ_FAULT_DIVIDE:
        return report(YJ_ERR_INPUT, "%s: integer division of %" PRId64 " by zero (kernel %s)", where, fault->value,
                      kernel);
    case YJ_FAULT_SHAPE:
        return report(YJ_ERR_INPUT, "%s: a shape computed from data does not fit: %" PRId64 " (kernel %s)", where,
                      fault->value, kernel);
    default:
        return report(YJ_ERR_INTERNAL, "%s: kernel %s set the unknown fault %d", where, kernel, (int)fault->code);
    }
}

/* How many threads, and how many tiles at once: small launches stay here; no chunk keeps a collective waiting. */
static int share(const struct program *r, int64_t ns, struct job *job) {
    int threads = pool_threads(r->pool);
    if (ns > 0) threads = ns < SMALL_NS ? 1 : (int)min64(threads, 1 + ns / (SMALL_NS / 2));
    threads = (int)max64(1, min64(threads, job->tiles));
    job->chunk = max64(1, job->tiles / ((int64_t)threads * 32));
    if (!r->in_flight) {
        if (threads == 1) job->chunk = job->tiles;
        return threads;
    }
    job->progress = progress;
    if (ns > 0) job->chunk = max64(1, min64(job->chunk, PROGRESS_NS / max64(1, ns / job->tiles)));
    return threads;
}

/* A buffer that is only written is handed over too: what a kernel leaves alone keeps what was there, as it does here.
 */
static enum yj_status launch_elsewhere(struct program *r, const struct plan_step *s, const char *symbol, int64_t tiles,
                                       int64_t scratch, struct yj_fault *fault) {
    for (int i = 0; i < s->n_buffers; i++) {
        bool out = plan_step_role(r->plan, s, i) != PLAN_IN;
        r->parcels[i] = (struct yj_launch_buffer){r->address[s->buffers[i]], (uint64_t)r->bytes[s->buffers[i]], 1, out};
    }
    struct yj_launch l = {.size = sizeof l,
                          .kernel = symbol,
                          .n_buffers = s->n_buffers,
                          .n_scalars = s->n_dims,
                          .buffers = r->parcels,
                          .scalars = r->scalars,
                          .tile_end = tiles,
                          .scratch_bytes = scratch};
    enum yj_status status = r->kernels.launcher->launch(r->kernels.user, &l, fault);
    if (status == YJ_OK) return YJ_OK;
    char where[512];
    plan_where(r->plan, s, where, sizeof where);
    return report_in(status, "%s", *where ? where : r->plan->kernels[s->kernel].name);
}

static enum yj_status launch(struct program *r, const struct plan_step *s, const struct run_step *x) {
    const struct run_variant *v = program_variant(r, x);
    if (!v) {
        return report(YJ_ERR_UNSUPPORTED, "kernel %s was compiled for other shapes", r->plan->kernels[s->kernel].name);
    }
    int64_t scratch, ns;
    struct yj_fault fault = {0};
    struct job job = {.fn = v->fn, .buffers = r->args, .scalars = r->scalars, .fault = &fault, .user = r};
    for (int i = 0; i < s->n_buffers; i++)
        r->args[i] = r->address[s->buffers[i]];
    for (int i = 0; i < s->n_dims; i++)
        TRY(exprs_get(&r->exprs, x->dims[i], &r->scalars[i]));
    TRY(exprs_get(&r->exprs, v->tiles, &job.tiles));
    TRY(exprs_get(&r->exprs, v->scratch, &scratch));
    TRY(exprs_get(&r->exprs, v->ns, &ns));
    if (job.tiles <= 0) return YJ_OK;
    if (r->kernels.launcher) {
        TRY(launch_elsewhere(r, s, v->symbol, job.tiles, scratch, &fault));
        return fault.code ? fault_error(r, s, &fault) : YJ_OK;
    }
    if (scratch > pool_scratch(r->pool)) TRY(pool_reserve(r->pool, scratch));
    int threads = share(r, ns, &job);
    r->event.threads = threads, r->event.tiles = job.tiles, r->event.ns = ns;
    pool_run(r->pool, &job, threads);
    return fault.code ? fault_error(r, s, &fault) : YJ_OK;
}

/* --- copy --- */

static enum yj_status in_buffer(const struct program *r, int buffer, int64_t at, int64_t bytes) {
    if (at >= 0 && bytes >= 0 && at <= r->bytes[buffer] && bytes <= r->bytes[buffer] - at) return YJ_OK;
    return report(YJ_ERR_INTERNAL, "plan: bytes %" PRId64 " to %" PRId64 " of %%%d '%s', which has %" PRId64, at,
                  at + bytes, buffer, r->plan->buffers[buffer].name, r->bytes[buffer]);
}

static enum yj_status copy(struct program *r, const struct plan_step *s, const struct run_step *x) {
    int64_t at, from, bytes;
    TRY(exprs_get(&r->exprs, x->at, &at));
    TRY(exprs_get(&r->exprs, x->from, &from));
    TRY(exprs_get(&r->exprs, x->count, &bytes));
    TRY(in_buffer(r, s->buffers[0], at, bytes));
    TRY(in_buffer(r, s->buffers[1], from, bytes));
    memmove((char *)r->address[s->buffers[0]] + at, (char *)r->address[s->buffers[1]] + from, (size_t)bytes);
    return YJ_OK;
}

/* --- collectives --- */

static enum yj_status start(struct program *r, const struct plan_step *s, const struct run_step *x) {
    static const uint32_t collectives[PLAN_COLLECTIVES] = {YJ_ALL_REDUCE, YJ_REDUCE_SCATTER, YJ_ALL_GATHER,
                                                           YJ_ALL_TO_ALL, YJ_BROADCAST};
    static const uint32_t ops[PLAN_REDUCES] = {YJ_SUM, YJ_PROD, YJ_MIN, YJ_MAX};
    int64_t count, n = r->plan->mesh.size[s->axis], each = (int64_t)yj_dtype_bytes(s->dtype), send, recv;
    TRY(exprs_get(&r->exprs, x->count, &count));
    bool send_all = s->collective == PLAN_REDUCE_SCATTER || s->collective == PLAN_ALL_TO_ALL;
    bool recv_all = s->collective == PLAN_ALL_GATHER || s->collective == PLAN_ALL_TO_ALL;
    if (count < 0 || __builtin_mul_overflow(count, each * (send_all ? n : 1), &send) ||
        __builtin_mul_overflow(count, each * (recv_all ? n : 1), &recv)) {
        return report(YJ_ERR_INTERNAL, "plan: a collective of %" PRId64 " elements", count);
    }
    TRY(in_buffer(r, s->buffers[1], 0, send));
    TRY(in_buffer(r, s->buffers[0], 0, recv));
    void *to = r->address[s->buffers[0]], *from = r->address[s->buffers[1]];
    if (!r->axis_comm[s->axis]) { /* an axis of one rank */
        memmove(to, from, (size_t)recv);
        return YJ_OK;
    }
    struct yj_call call = {.size = sizeof call,
                           .collective = collectives[s->collective],
                           .send = from,
                           .recv = to,
                           .count = (uint64_t)count,
                           .dtype = s->dtype,
                           .op = ops[s->reduce],
                           .name = r->plan->buffers[s->buffers[0]].name};
    struct yj_request *request;
    TRY(yj_comm_start(r->axis_comm[s->axis], &call, &request));
    r->requests[s->request] = request;
    r->in_flight++;
    return YJ_OK;
}

static enum yj_status wait_for(struct program *r, int request) {
    if (!r->requests[request]) return YJ_OK;
    struct yj_request *q = r->requests[request];
    r->requests[request] = NULL;
    r->in_flight--;
    return yj_comm_wait(q);
}

/* --- control --- */

static void set_born(struct program *r, int number, int64_t value) {
    exprs_set(&r->exprs, number, value);
    exprs_update(&r->exprs, number);
}

static enum yj_status bind(struct program *r, const struct plan_step *s, const struct run_step *x) {
    int64_t each = (int64_t)yj_dtype_bytes(s->dtype);
    TRY(in_buffer(r, s->buffers[0], 0, s->n_dims * each));
    const char *from = r->address[s->buffers[0]];
    for (int i = 0; i < s->n_dims; i++) {
        const struct plan_dim *d = &r->plan->dim[x->born[i]];
        int64_t value = 0;
        int32_t narrow;
        if (s->dtype == YJ_BOOL)
            value = from[i] != 0;
        else if (s->dtype == YJ_I32)
            memcpy(&narrow, from + i * each, sizeof narrow), value = narrow;
        else
            memcpy(&value, from + i * each, sizeof value);
        if (value < d->low || value > d->high) {
            return report(YJ_ERR_INPUT, "%s is %" PRId64 "; the model was compiled for %" PRId64 "..%" PRId64,
                          d->symbol->name, value, d->low, d->high);
        }
        set_born(r, x->born[i], value);
    }
    return YJ_OK;
}

static enum yj_status check(struct program *r, const struct plan_step *s, const struct run_step *x) {
    int64_t value;
    TRY(exprs_get(&r->exprs, x->condition, &value));
    if (value >= 0) return YJ_OK;
    struct text text = {0};
    dim_print(&text, s->condition);
    enum yj_status status =
        report(YJ_ERR_INPUT, "the shapes given do not fit: %s is %" PRId64 " and may not be negative",
               text.data ? text.data : "?", value);
    text_free(&text);
    return status;
}

/* An error of a call itself, not of a step that it runs. */
static enum yj_status at_call(const struct program *r, const struct plan_step *s, enum yj_status status) {
    char where[512];
    return status != YJ_OK && *plan_where(r->plan, s, where, sizeof where) ? report_in(status, "%s", where) : status;
}

static enum yj_status branch(struct program *r, const struct plan_step *s, const struct run_step *x) {
    int64_t condition;
    TRY(exprs_get(&r->exprs, x->condition, &condition));
    int block = condition ? s->block : s->otherwise;
    return block < 0 ? YJ_OK : run_block(r, block);
}

/* One turn more than I: is it within what memory was planned for? */
static enum yj_status may_turn(const struct program *r, const struct run_step *x, int64_t i) {
    const struct plan_dim *index = x->index >= 0 ? &r->plan->dim[x->index] : NULL,
                          *turns = x->turns >= 0 ? &r->plan->dim[x->turns] : NULL;
    if ((!index || i <= index->high) && (!turns || i < turns->high)) return YJ_OK;
    return report(YJ_ERR_INPUT, "the loop turns more often than the %" PRId64 " times that the model was compiled for",
                  i);
}

static enum yj_status call(struct program *r, const struct plan_step *s, const struct run_step *x) {
    int64_t trips = s->condition ? INT64_MAX : 1, condition = 1, i = 0;
    if (x->trips >= 0) TRY(exprs_get(&r->exprs, x->trips, &trips));
    for (; i < trips; i++) {
        if (x->index >= 0) set_born(r, x->index, i);
        if (x->condition >= 0) TRY(exprs_get(&r->exprs, x->condition, &condition));
        if (!condition) break;
        TRY(at_call(r, s, may_turn(r, x, i)));
        TRY(run_block(r, s->block));
    }
    if (x->turns >= 0) set_born(r, x->turns, i);
    return YJ_OK;
}

static enum yj_status run_step(struct program *r, const struct plan_step *s, const struct run_step *x) {
    switch (s->kind) {
    case PLAN_LAUNCH:
        return launch(r, s, x);
    case PLAN_COPY:
        return copy(r, s, x);
    case PLAN_START:
        return start(r, s, x);
    case PLAN_WAIT:
        return wait_for(r, s->request);
    case PLAN_BIND:
        return bind(r, s, x);
    case PLAN_BRANCH:
        return branch(r, s, x);
    case PLAN_CHECK:
        return check(r, s, x);
    case PLAN_CALL:
        return call(r, s, x);
    }
    return report(YJ_ERR_INTERNAL, "a step of kind %d", (int)s->kind);
}

static enum yj_status run_block(struct program *r, int block) {
    const struct plan_block *b = &r->plan->blocks[block];
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        bool comm = s->kind == PLAN_START || s->kind == PLAN_WAIT,
             inner = s->kind == PLAN_BRANCH || s->kind == PLAN_CALL;
        double begin = comm || r->profile.on ? time_now() : 0;
        r->event = (struct event){.block = block, .step = i};
        enum yj_status status = run_step(r, s, &r->steps[block][i]);
        if (status != YJ_OK) {
            char where[512];
            bool said = inner || s->kind == PLAN_LAUNCH;
            if (!said && *plan_where(r->plan, s, where, sizeof where)) status = report_in(status, "%s", where);
            return status;
        }
        if (!comm && !r->profile.on) continue;
        double end = time_now();
        if (comm) r->collective_s += end - begin;
        if (r->profile.on && !inner) {
            r->event.start = begin, r->event.end = end;
            profile_add(&r->profile, &r->event);
        }
    }
    return YJ_OK;
}

/* After an error the others must not wait for this rank, and buffers in flight must come home. */
static void give_up(struct program *r) {
    if (r->job_comm) yj_comm_abort(r->job_comm, yj_error_text());
    char first[1024];
    strncpy(first, yj_error_text(), sizeof first - 1);
    first[sizeof first - 1] = 0;
    for (int i = 0; i < r->plan->n_requests; i++)
        wait_for(r, i);
    report(YJ_OK, "%s", first);
}

enum yj_status program_run(struct program *r) {
    double begin = time_now();
    fenv_t callers;
    fegetenv(&callers);
    fesetenv(FE_DFL_ENV); /* denormals are kept and rounding is to nearest, whatever the caller has set */
    r->collective_s = 0;
    enum yj_status status = run_block(r, 0);
    if (status != YJ_OK) give_up(r);
    fesetenv(&callers);
    r->run_s = time_now() - begin;
    return status == YJ_OK ? program_finish(r) : status;
}

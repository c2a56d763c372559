/* SPDX-License-Identifier: Apache-2.0
 *
 * Chrome traces: one event a step that took time. Events are kept in memory that is reserved between runs; times are
 * the machine's monotonic clock moved to the calendar, so that ranks of one machine agree exactly and others as well as
 * their calendars do. One event a line, so that traces of several ranks join by their lines.
 */
#include "runtime/program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static const char head[] = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", tail[] = "\n]}\n";

enum yj_status profile_reserve(struct profile *p, size_t more) {
    if (p->room - p->n >= more) return YJ_OK;
    size_t room = 2 * p->room > p->n + 16 * more ? 2 * p->room : p->n + 16 * more;
    struct event *events = realloc(p->events, room * sizeof *events);
    if (!events) return report(YJ_ERR_MEMORY, "no memory for %zu events of the profile", room);
    p->events = events;
    p->room = room;
    if (p->offset == 0) {
        struct timespec calendar, steady;
        clock_gettime(CLOCK_REALTIME, &calendar);
        clock_gettime(CLOCK_MONOTONIC, &steady);
        p->offset = (double)(calendar.tv_sec - steady.tv_sec) + 1e-9 * (double)(calendar.tv_nsec - steady.tv_nsec);
    }
    return YJ_OK;
}

void profile_add(struct profile *p, const struct event *event) {
    if (p->n == p->room)
        p->dropped++; /* a loop of more turns than were foreseen */
    else
        p->events[p->n++] = *event;
}

/* "MatMul_3 (MatMul), Add_4 (Add)", or what the step does if it comes from no node. */
static void event_name(struct text *out, const struct plan *p, const struct plan_step *s) {
    struct text name = {0};
    if (s->kind == PLAN_START) text_add(&name, "%s ", plan_collective_names[s->collective]);
    if (s->kind == PLAN_WAIT) text_add(&name, "wait ");
    for (int i = 0; i < s->n_origin; i++)
        text_add(&name, "%s%s", i ? ", " : "", plan_node_name(p, s->origin[i]));
    if (!s->n_origin)
        text_add(&name, "%s", s->kind == PLAN_LAUNCH ? p->kernels[s->kernel].name : plan_step_names[s->kind]);
    text_add_json(out, name.data ? name.data : "?");
    text_free(&name);
}

static void print_event(struct text *out, const struct program *r, const struct event *e) {
    const struct plan *p = r->plan;
    const struct plan_step *s = &p->blocks[e->block].steps[e->step];
    text_add(out, "{\"name\":");
    event_name(out, p, s);
    text_add(
        out,
        ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"step\":\"#%d %d\"",
        plan_step_names[s->kind], r->rank, s->queue, 1e6 * (e->start + r->profile.offset), 1e6 * (e->end - e->start),
        e->block, e->step);
    if (s->kind == PLAN_LAUNCH) {
        text_add(out, ",\"kernel\":");
        text_add_json(out, p->kernels[s->kernel].name);
        text_add(out, ",\"tiles\":%" PRId64 ",\"threads\":%d,\"estimate_us\":%.3f", e->tiles, e->threads,
                 1e-3 * (double)e->ns);
    }
    text_add(out, "}}");
}

enum yj_status profile_write(const struct program *r, const char *path) {
    struct text out = {0};
    text_add(&out, "%s{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"rank %d\"}}", head,
             r->rank, r->rank);
    for (size_t i = 0; i < r->profile.n; i++) {
        text_add(&out, ",\n");
        print_event(&out, r, &r->profile.events[i]);
    }
    if (r->profile.dropped) {
        text_add(&out,
                 ",\n{\"name\":\"%zu events were dropped\",\"ph\":\"i\",\"s\":\"g\",\"pid\":%d,\"tid\":0,\"ts\":%.3f}",
                 r->profile.dropped, r->rank,
                 r->profile.n ? 1e6 * (r->profile.events[r->profile.n - 1].end + r->profile.offset) : 0);
    }
    text_add(&out, "%s", tail);
    enum yj_status status =
        out.failed ? report(YJ_ERR_MEMORY, "out of memory") : file_write_atomic(path, out.data, out.n);
    text_free(&out);
    return status;
}

enum yj_status profile_merge(const char *path, int n, char *const *parts) {
    struct text out = {0};
    text_add(&out, "%s", head);
    enum yj_status status = YJ_OK;
    for (int i = 0; i < n && status == YJ_OK; i++) {
        char *data;
        size_t bytes, head_bytes = sizeof head - 1, tail_bytes = sizeof tail - 1;
        status = file_read(parts[i], &data, &bytes);
        if (status != YJ_OK) break;
        bool ours = bytes > head_bytes + tail_bytes && memcmp(data, head, head_bytes) == 0 &&
                    memcmp(data + bytes - tail_bytes, tail, tail_bytes) == 0;
        if (ours)
            text_add(&out, "%s%.*s", i ? ",\n" : "", (int)(bytes - head_bytes - tail_bytes), data + head_bytes);
        else
            status = report(YJ_ERR_INPUT, "%s is not a trace of one rank", parts[i]);
        free(data);
    }
    text_add(&out, "%s", tail);
    if (status == YJ_OK && out.failed) status = report(YJ_ERR_MEMORY, "out of memory");
    if (status == YJ_OK) status = file_write_atomic(path, out.data, out.n);
    text_free(&out);
    return status;
}

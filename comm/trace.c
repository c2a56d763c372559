/* SPDX-License-Identifier: Apache-2.0
 *
 * What the recorder knows, as text: Chrome traces and counters. One idea: a trace of all ranks is one gather of
 * records, whose times were first moved to rank 0's clock.
 */
#include "comm/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- traces --- */

/* All remembered calls, oldest first; the memory is the caller's. */
static struct yj_comm_record *remembered(struct yj_comm *comm, int *n) {
    struct yj_comm_record *record = calloc(RECORDS, sizeof *record);
    *n = 0;
    for (int back = RECORDS; record && back-- > 0;) {
        record[*n].size = sizeof *record;
        if (yj_comm_record(comm, back, &record[*n]) == YJ_OK) ++*n;
    }
    return record;
}

/* Seconds from this machine's monotonic clock to the calendar. */
static double calendar(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec - time_now();
}

/* LATE: seconds after the first rank that started it; below 0: not known. */
static void add_event(struct text *out, int rank, const struct yj_comm_record *r, double shift, double now,
                      double late) {
    const struct collective *c = collective_find((int)r->collective);
    double end = r->ended > 0 ? r->ended : now;
    text_add(out, ",\n{\"name\":");
    text_add_json(out, r->name[0] ? r->name : c ? c->name : "?");
    text_add(out,
             ",\"cat\":\"%s%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"call\":%llu",
             c ? c->name : "?", r->has_counts ? "_v" : "", rank, 1e6 * (r->started + shift), 1e6 * (end - r->started),
             (unsigned long long)r->sequence);
    if (r->dtype) text_add(out, ",\"dtype\":\"%s\"", yj_dtype_name((enum yj_dtype)r->dtype));
    if (r->op) text_add(out, ",\"op\":\"%s\"", reduce_op_name(r->op));
    if (c && c->rooted) text_add(out, ",\"%s\":%d", is_pair(r->collective) ? "rank" : "root", r->root);
    text_add(out, ",\"count\":%llu,\"bytes\":%llu,\"algorithm\":\"%s\"", (unsigned long long)r->count,
             (unsigned long long)r->bytes, r->algorithm);
    if (late >= 0) text_add(out, ",\"late_us\":%.3f", 1e6 * late);
    text_add(out, "%s}}", r->ended > 0 ? "" : ",\"ended\":false");
}

static void add_rank(struct text *out, int rank, bool first) {
    text_add(out, "%s{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"rank %d\"}}",
             first ? "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n" : ",\n", rank, rank);
}

static enum yj_status write_text(struct text *out, const char *path) {
    enum yj_status status = out->failed ? report(YJ_ERR_MEMORY, "%s: out of memory for a trace", path)
                                        : file_write_atomic(path, out->data, out->n);
    text_free(out);
    return status;
}

void record_failure(struct yj_comm *comm) {
    enum { LOGGED = 4 };
    if (atomic_exchange(&comm->recorder.written, true)) return;
    int n, rank = comm->world->rank;
    const char *prefix = comm->world->settings.record;
    struct yj_comm_record *record = remembered(comm, &n);
    double now = time_now();
    for (int i = record ? n > LOGGED ? n - LOGGED : 0 : n; i < n; i++)
        log_line(YJ_LOG_INFO,
                 "comm: rank %d, communicator %llx, call %llu: %s '%s', %llu bytes, %s, started %.6f s ago%s", rank,
                 (unsigned long long)comm->id, (unsigned long long)record[i].sequence,
                 collective_find((int)record[i].collective)->name, record[i].name, (unsigned long long)record[i].bytes,
                 record[i].algorithm, now - record[i].started, record[i].ended > 0 ? "" : ", has not ended");
    if (record && *prefix) {
        char path[192];
        struct text out = {0};
        snprintf(path, sizeof path, comm->id == 1 ? "%s.%d.json" : "%s.%d.%llx.json", prefix, rank,
                 (unsigned long long)comm->id);
        add_rank(&out, rank, true);
        for (int i = 0; i < n; i++)
            add_event(&out, rank, &record[i], calendar(), now, -1);
        text_add(&out, ",\n{\"name\":");
        text_add_json(&out, comm->failure_text);
        text_add(&out, ",\"ph\":\"i\",\"s\":\"p\",\"pid\":%d,\"tid\":0,\"ts\":%.3f}\n]}\n", rank,
                 1e6 * (now + calendar()));
        if (write_text(&out, path) != YJ_OK) log_line(YJ_LOG_WARN, "comm: %s", yj_error_text());
    }
    free(record);
}

/* What is to be added to this rank's clock to get rank 0's: half of the shortest of some round trips, as NTP does. On
 * one host they are one clock. */
static enum yj_status clock_shift(struct yj_comm *comm, double *shift) {
    enum { TRIPS = 7 };
    double best = 1e9;
    *shift = 0;
    for (int r = 1; r < comm->size; r++) {
        bool asks = comm->rank == r,
             same = comm->world->member[comm->member[0]].host != 0 &&
                    comm->world->member[comm->member[0]].host == comm->world->member[comm->member[r]].host;
        for (int i = 0; i < TRIPS && !same && !comm->world->threads && (asks || comm->rank == 0); i++) {
            double there, start = time_now();
            if (!asks) {
                TRY(yj_recv(comm, &there, 1, YJ_F64, r));
                there = time_now();
                TRY(yj_send(comm, &there, 1, YJ_F64, r));
                continue;
            }
            TRY(yj_send(comm, &start, 1, YJ_F64, 0));
            TRY(yj_recv(comm, &there, 1, YJ_F64, 0));
            double end = time_now();
            if (end - start < best) best = end - start, *shift = there - (start + end) / 2;
        }
    }
    return YJ_OK;
}

/* How much later than the first rank, or -1 for transfers. */
static double lateness(const struct yj_comm_record *all, const uint64_t *count, int size,
                       const struct yj_comm_record *one) {
    double first = one->started;
    for (int r = 0; r < size; all += count[r] / sizeof *all, r++)
        for (uint64_t i = 0; i < count[r] / sizeof *all; i++)
            if (all[i].sequence == one->sequence && !is_pair(all[i].collective) && all[i].started < first)
                first = all[i].started;
    return is_pair(one->collective) ? -1 : one->started - first;
}

static enum yj_status write_trace(const struct yj_comm *comm, const char *path, struct yj_comm_record *all,
                                  const uint64_t *count, double now) {
    struct text out = {0};
    const struct yj_comm_record *r = all;
    double shift = calendar();
    for (int rank = 0; rank < comm->size; rank++) {
        add_rank(&out, comm->member[rank], rank == 0);
        for (uint64_t i = 0; i < count[rank] / sizeof *r; i++, r++)
            add_event(&out, comm->member[rank], r, shift, now, lateness(all, count, comm->size, r));
    }
    text_add(&out, "\n]}\n");
    return write_text(&out, path);
}

enum yj_status yj_comm_trace(struct yj_comm *comm, const char *path) {
    int n;
    double shift;
    struct yj_comm_record *mine = remembered(comm, &n), *all = NULL;
    uint64_t *count = calloc((size_t)comm->size, sizeof *count), bytes = (uint64_t)n * sizeof *mine, total = 0;
    int64_t rows[RECORDS];
    enum yj_status status = mine && count ? YJ_OK : report(YJ_ERR_MEMORY, "trace: out of memory");
    if (status == YJ_OK) status = clock_shift(comm, &shift);
    if (status == YJ_OK) status = yj_all_gather(comm, &bytes, count, 1, YJ_U64);
    for (int i = 0; status == YJ_OK && i < n; i++) { /* an algorithm's name is at another place in another process */
        mine[i].started += shift, mine[i].ended += mine[i].ended > 0 ? shift : 0;
        rows[i] = -1;
        for (int k = 0; k < algorithm_count(); k++)
            if (algorithm_at(k)->name == mine[i].algorithm) rows[i] = k;
        memcpy(&mine[i].algorithm, &rows[i], sizeof rows[i]);
    }
    for (int r = 0; count && r < comm->size; r++)
        total += count[r];
    if (status == YJ_OK && comm->rank == 0 && !(all = malloc(total + 1)))
        status = report(YJ_ERR_MEMORY, "trace: out of memory for %llu bytes", (unsigned long long)total);
    if (status == YJ_OK) status = yj_gather_v(comm, mine, all, count, NULL, YJ_U8, 0);
    for (uint64_t i = 0; status == YJ_OK && all && i < total / sizeof *all; i++) {
        int64_t row;
        memcpy(&row, &all[i].algorithm, sizeof row);
        all[i].algorithm = algorithm_at((int)row) ? algorithm_at((int)row)->name : "none";
    }
    int32_t written = YJ_OK;
    if (status == YJ_OK && comm->rank == 0) written = (int32_t)write_trace(comm, path, all, count, time_now());
    if (status == YJ_OK) status = yj_broadcast(comm, &written, &written, 1, YJ_I32, 0);
    if (status == YJ_OK && written != YJ_OK)
        status =
            comm->rank == 0 ? (enum yj_status)written : report((enum yj_status)written, "rank 0 cannot write %s", path);
    free(mine), free(count), free(all);
    return status;
}

/* --- counters --- */

struct out {
    char *text;
    size_t n, room;
};

static void print(struct out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(struct out *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    bool room = out->n < out->room;
    int n = vsnprintf(room ? out->text + out->n : NULL, room ? out->room - out->n : 0, format, arguments);
    va_end(arguments);
    if (n > 0) out->n += (size_t)n;
}

enum quantity { CALLS, BYTES, SECONDS };

static void print_quantity(struct out *out, const struct yj_comm *comm, int c, enum quantity q) {
    const struct recorder *r = &comm->recorder;
    const struct world *w = comm->world;
    if (q == SECONDS) {
        uint64_t ticks;
        double now;
        print(out, "%.9f", ticks_seconds(w, &ticks, &now) * (double)atomic_load(&r->counter[c].ticks));
    } else {
        print(out, "%llu",
              (unsigned long long)(q == CALLS ? atomic_load(&r->counter[c].calls) : atomic_load(&r->counter[c].bytes)));
    }
}

static const char *const quantity[] = {"calls", "bytes", "seconds"};
static const char *const meaning[] = {"calls that have ended", "bytes of their whole vectors",
                                      "time from start to end, summed"};

static void print_prometheus(struct out *out, const struct yj_comm *comm) {
    for (int q = CALLS; q <= SECONDS; q++) {
        print(out, "# HELP yunjin_comm_%s_total %s\n# TYPE yunjin_comm_%s_total counter\n", quantity[q], meaning[q],
              quantity[q]);
        for (int c = 0; c < COLLECTIVES; c++) {
            if (!collective_find(c)) continue;
            print(out, "yunjin_comm_%s_total{rank=\"%d\",communicator=\"%llx\",collective=\"%s\"} ", quantity[q],
                  comm->world->rank, (unsigned long long)comm->id, collective_find(c)->name);
            print_quantity(out, comm, c, (enum quantity)q);
            print(out, "\n");
        }
    }
}

static void print_json(struct out *out, const struct yj_comm *comm) {
    const char *comma = "";
    print(out, "{\"rank\":%d,\"communicator\":\"%llx\",\"ranks\":%d,\"collectives\":{", comm->world->rank,
          (unsigned long long)comm->id, comm->size);
    for (int c = 0; c < COLLECTIVES; c++) {
        if (!collective_find(c)) continue;
        print(out, "%s\"%s\":{", comma, collective_find(c)->name);
        for (int q = CALLS; q <= SECONDS; q++) {
            print(out, "%s\"%s\":", q ? "," : "", quantity[q]);
            print_quantity(out, comm, c, (enum quantity)q);
        }
        print(out, "}");
        comma = ",";
    }
    print(out, "}}\n");
}

size_t yj_comm_counters(struct yj_comm *comm, enum yj_counters format, char *text, size_t room) {
    struct out out = {text, 0, room};
    if (format == YJ_COUNTERS_PROMETHEUS)
        print_prometheus(&out, comm);
    else
        print_json(&out, comm);
    return out.n;
}

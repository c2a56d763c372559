/* SPDX-License-Identifier: Apache-2.0
 *
 * The public interface: open, split, close and memory; request.c has the calls. One idea: what is split from a
 * communicator shares its world (processes, memory of the host, control plane) and has its own order of calls.
 */
#include "comm/bootstrap.h"
#include "comm/control.h"
#include "comm/engine.h"
#include "comm/mem.h"
#include "comm/shm.h"

#include <sched.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the world --- */

static void world_free(struct world *world) {
    if (!world) return;
    shm_close(world);
    if (world->pmix_finalize) world->pmix_finalize(NULL, 0);
    if (world->same_process) munmap((void *)world->same_process, 4096);
    pthread_mutex_destroy(&world->lock);
    free(world->member);
    free(world);
}

static enum yj_status world_new(int rank, int size, const struct settings *settings, struct world **world) {
    struct world *w = calloc(1, sizeof *w);
    if (!w) return report(YJ_ERR_MEMORY, "open: out of memory");
    pthread_mutex_init(&w->lock, NULL);
    w->rank = rank, w->size = size, w->local_ranks = 1;
    w->settings = *settings;
    ticks_and_time(&w->first_ticks, &w->first_time);
    w->member = calloc((size_t)size, sizeof *w->member);
    char *mark = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark != MAP_FAILED) {
        *mark = 1;
        w->same_process = mark;
    }
    if (!w->member || mark == MAP_FAILED) {
        world_free(w);
        return report(YJ_ERR_MEMORY, "open: out of memory for %d ranks", size);
    }
    madvise(mark, 4096, MADV_WIPEONFORK);
    *world = w;
    return YJ_OK;
}

static void describe_self(struct member *member) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask)) CPU_SET(0, &mask);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &mask)) member->cpu[cpu / 64] |= (uint64_t)1 << cpu % 64;
    member->pid = getpid();
    gethostname(member->name, sizeof member->name - 1);
}

/* How many ranks share this host, and whether they have a core each. */
static void count_locals(struct world *w) {
    uint64_t cpu[COUNT(w->member->cpu)] = {0};
    int cores = 0, ranks = 0;
    w->local_ranks = 0;
    for (int r = 0; r < w->size; r++) {
        const struct member *m = &w->member[r];
        w->local_ranks += shm_between(w, w->rank, r);
        if (m->host != w->member[w->rank].host) continue;
        ranks++;
        for (size_t i = 0; i < COUNT(cpu); i++)
            cpu[i] |= m->cpu[i];
    }
    for (size_t i = 0; i < COUNT(cpu); i++)
        cores += __builtin_popcountll(cpu[i]);
    w->crowded = ranks > cores;
}

/* --- communicators --- */

static void comm_free(struct yj_comm *comm) {
    struct world *w = comm->world;
    pthread_mutex_lock(&w->lock);
    struct yj_comm **at = &w->comms;
    while (*at && *at != comm)
        at = &(*at)->next;
    if (*at) *at = comm->next;
    pthread_mutex_unlock(&w->lock);
    for (int r = 0; comm->channel && r < comm->size; r++)
        if (comm->channel[r]) comm->channel[r]->transport->disconnect(comm->channel[r]);
    if (w->shm) shm_region_leave(comm);
    engine_close(comm);
    free(comm->channel), free(comm->member);
    free(comm);
}

/* MEMBER is taken. */
static enum yj_status comm_new(struct world *world, uint64_t id, int rank, int size, int *member,
                               struct yj_comm **made) {
    struct yj_comm *comm = calloc(1, sizeof *comm);
    if (!comm || !member) {
        free(comm), free(member);
        return report(YJ_ERR_MEMORY, "out of memory for a communicator of %d ranks", size);
    }
    comm->world = world, comm->id = id, comm->rank = rank, comm->size = size, comm->member = member;
    comm->waiting_for = -1;
    comm->channel = calloc((size_t)size, sizeof *comm->channel);
    enum yj_status status =
        comm->channel ? engine_open(comm) : report(YJ_ERR_MEMORY, "out of memory for a communicator");
    if (status != YJ_OK) {
        comm_free(comm);
        return status;
    }
    pthread_mutex_lock(&world->lock);
    comm->next = world->comms;
    world->comms = comm;
    for (int r = 0; r < size; r++) /* it may be born after a death */
        if (world->member[member[r]].state == MEMBER_DEAD)
            comm_fail(comm, YJ_ERR_PEER, "rank %d (pid %d, host %s) is dead", member[r], world->member[member[r]].pid,
                      world->member[member[r]].name);
    pthread_mutex_unlock(&world->lock);
    *made = comm;
    return YJ_OK;
}

static int *everybody(int size) {
    int *member = malloc((size_t)size * sizeof *member);
    for (int r = 0; member && r < size; r++)
        member[r] = r;
    return member;
}

enum yj_status comm_connect(struct yj_comm *comm, int peer) {
    if (comm->channel[peer]) return YJ_OK;
    const struct transport *t = &transport_tcp;
    if (comm->world->threads)
        t = &transport_mem;
    else if (shm_between(comm->world, comm->member[comm->rank], comm->member[peer]))
        t = &transport_shm;
    if (!strcmp(comm->world->settings.transport, "shm") && t == &transport_tcp)
        return report(YJ_ERR_UNSUPPORTED, "transport=shm, but rank %d (host %s) and rank %d (host %s) share no memory",
                      comm->member[comm->rank], comm->world->member[comm->member[comm->rank]].name, comm->member[peer],
                      comm->world->member[comm->member[peer]].name);
    struct channel *channel;
    enum yj_status status = t->connect(comm, peer, &channel);
    for (double until = time_now() + 0.3; status != YJ_OK && time_now() < until; usleep(1000))
        if (atomic_load(&comm->failed) > 0) return comm_failure(comm); /* the peer is dead: that is the cause */
    TRY(status);
    engine_lock(comm->engine);
    comm->channel[peer] = channel;
    if (t->progress) comm->engine->connected[comm->engine->nconnected++] = channel;
    engine_unlock(comm->engine);
    return YJ_OK;
}

/* --- open and close --- */

static enum yj_status read_settings(const struct yj_comm_options *options, struct settings *settings) {
    settings_default(settings);
    if (options && options->size < sizeof *options)
        return report(YJ_ERR_INPUT, "yj_comm_options.size is %u: set it to sizeof(struct yj_comm_options)",
                      options->size);
    TRY(settings_parse(getenv("YUNJIN_COMM"), "YUNJIN_COMM", settings));
    if (options) TRY(settings_parse(options->settings, "settings", settings));
    if (options && options->deadline > 0) settings->deadline = options->deadline;
    return YJ_OK;
}

static enum yj_status meet(struct world *w, const struct rendezvous *r) {
    struct member *self = &w->member[w->rank];
    describe_self(self);
    w->pmix_finalize = r->pmix_finalize;
    TRY(shm_prepare(w, r->key, self));
    TRY(control_open(w, r->address, r->listener, r->key, shm_share, time_now() + w->settings.deadline));
    count_locals(w);
    return YJ_OK;
}

static void echo(const struct world *w, const struct rendezvous *r) {
    struct text text = {0};
    settings_print(&w->settings, &text);
    log_line(YJ_LOG_INFO, "comm: rank %d of %d (%s), %d on this host share memory%s; settings: %s", w->rank, w->size,
             r->launcher, w->local_ranks, w->crowded ? ", more ranks than cores" : "",
             text.data && !text.failed ? text.data : "default");
    text_free(&text);
}

enum yj_status yj_comm_open(const struct yj_comm_options *options, struct yj_comm **comm) {
    struct settings settings;
    struct rendezvous r;
    struct world *w;
    TRY(read_settings(options, &settings));
    if (sodium_init() < 0) return report(YJ_ERR_IO, "libsodium finds no random numbers");
    TRY(bootstrap_find(options, &settings, &r));
    TRY(world_new(r.rank, r.size, &settings, &w));
    enum yj_status status = *settings.tuning && r.rank == 0 ? tuning_read(settings.tuning, &w->tuning) : YJ_OK;
    if (status == YJ_OK && r.size > 1)
        status = meet(w, &r);
    else
        describe_self(w->member);
    sodium_memzero(r.key, sizeof r.key);
    struct yj_comm *made = NULL;
    if (status == YJ_OK) status = comm_new(w, 1, r.rank, r.size, everybody(r.size), &made);
    if (status != YJ_OK) {
        if (w->control) control_close(w, 0);
        world_free(w);
        return status;
    }
    if (w->shm) made->region_at = shm_region_first(w);
    echo(w, &r);
    *comm = made;
    return YJ_OK;
}

enum yj_status yj_comm_open_threads(int ranks, const struct yj_comm_options *options, struct yj_comm **comm) {
    struct settings settings;
    struct threads *threads = NULL;
    if (ranks < 1) return report(YJ_ERR_INPUT, "open: %d ranks", ranks);
    TRY(read_settings(options, &settings));
    struct world **world = calloc((size_t)ranks, sizeof *world);
    if (!world) return report(YJ_ERR_MEMORY, "open: out of memory for %d ranks", ranks);
    enum yj_status status = YJ_OK;
    for (int r = 0; r < ranks && status == YJ_OK; r++) {
        status = world_new(r, ranks, &settings, &world[r]);
        if (status == YJ_OK && *settings.tuning) status = tuning_read(settings.tuning, &world[r]->tuning);
        for (int m = 0; m < ranks && status == YJ_OK; m++)
            describe_self(&world[r]->member[m]);
        if (status == YJ_OK) count_locals(world[r]);
    }
    for (int r = 0; r < ranks && status == YJ_OK; r++)
        status = comm_new(world[r], 1, r, ranks, everybody(ranks), &comm[r]);
    if (status == YJ_OK) status = threads_open(ranks, world, &threads);
    if (status == YJ_OK) return YJ_OK;
    for (int r = 0; r < ranks; r++) {
        if (world[r] && world[r]->comms) comm_free(world[r]->comms);
        world_free(world[r]);
        comm[r] = NULL;
    }
    free(world);
    return status;
}

void yj_comm_close(struct yj_comm *comm) {
    if (!comm) return;
    struct world *w = comm->world;
    bool last = comm->id == 1, failed = atomic_load(&comm->failed) != YJ_OK;
    if (*w->same_process == 0) return; /* a child that was forked after open: nothing here is its own */
    if (!last || (w->size == 1 && !w->threads)) {
        comm_free(comm);
        if (last) world_free(w);
        return;
    }
    if (w->threads) {
        comm_free(comm);
        struct threads *threads = w->threads;
        if (threads_leave(w)) threads_close(threads, world_free);
        return;
    }
    shm_leave(w);
    comm_free(comm);
    control_close(w, time_now() + (failed ? 0.05 : w->settings.deadline));
    world_free(w);
}

int yj_comm_rank(const struct yj_comm *comm) {
    return comm->rank;
}
int yj_comm_size(const struct yj_comm *comm) {
    return comm->size;
}
enum yj_status yj_comm_health(struct yj_comm *comm) {
    return comm_failure(comm);
}

void yj_comm_abort(struct yj_comm *comm, const char *text) {
    comm_fail(comm, YJ_ERR_ABORTED, "aborted by rank %d: %s", comm->world->rank, text ? text : "");
    comm_tell(comm, YJ_ERR_ABORTED, text ? text : "");
}

/* --- split --- */

struct choice {
    int32_t color, key;
};

static enum yj_status gather_all(struct yj_comm *comm, const void *mine, void *all, size_t bytes) {
    struct yj_call call = {.size = sizeof call,
                           .collective = YJ_ALL_GATHER,
                           .send = mine,
                           .recv = all,
                           .count = bytes,
                           .dtype = YJ_U8,
                           .name = "split",
                           .deadline = comm->world->settings.deadline};
    return yj_comm_call(comm, &call);
}

static int by_key(const void *a, const void *b, void *argument) {
    const struct choice *all = argument;
    int x = *(const int *)a, y = *(const int *)b;
    if (all[x].key != all[y].key) return all[x].key < all[y].key ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* This rank's group: ranks of COMM in the order of the child. */
static int group_of(const struct yj_comm *comm, struct choice *all, int color, int *group) {
    int n = 0;
    for (int r = 0; r < comm->size; r++)
        if (all[r].color == color) group[n++] = r;
    qsort_r(group, (size_t)n, sizeof *group, by_key, all);
    return n;
}

/* The region of the child's channels in shared memory: its lowest rank on each host takes one and tells. */
static enum yj_status agree_on_region(struct yj_comm *comm, struct yj_comm *child) {
    struct world *w = comm->world;
    uint64_t mine = 0, *all = calloc((size_t)comm->size, sizeof *all);
    int first = -1, local = 0;
    for (int r = 0; child && r < child->size; r++)
        if (shm_between(w, w->rank, child->member[r])) {
            local++;
            if (first < 0) first = child->member[r];
        }
    if (child && first == w->rank && w->shm) mine = shm_region(w, local);
    if (!all) return report(YJ_ERR_MEMORY, "split: out of memory");
    enum yj_status status = gather_all(comm, &mine, all, sizeof mine);
    if (status == YJ_OK && child && first >= 0) child->region_at = all[comm_rank_of(comm, first)];
    free(all);
    return status;
}

enum yj_status yj_comm_split(struct yj_comm *comm, int color, int key, struct yj_comm **child) {
    struct choice mine = {color, key}, *all = calloc((size_t)comm->size, sizeof *all);
    int *group = calloc((size_t)comm->size, sizeof *group), n = 0, rank = -1;
    struct yj_comm *made = NULL;
    enum yj_status status = all && group ? YJ_OK : report(YJ_ERR_MEMORY, "split: out of memory");
    if (status == YJ_OK) status = gather_all(comm, &mine, all, sizeof mine);
    uint64_t what[3] = {comm->id, ++comm->splits, (uint64_t)(uint32_t)color};
    if (status == YJ_OK && color >= 0) {
        n = group_of(comm, all, color, group);
        for (int i = 0; i < n; i++) {
            if (group[i] == comm->rank) rank = i;
            group[i] = comm->member[group[i]];
        }
        uint64_t id = hash_bytes(what, sizeof what, 11) | 2;
        if (world_comm(comm->world, id)) status = report(YJ_ERR_INTERNAL, "split: two communicators have one number");
        if (status == YJ_OK) status = comm_new(comm->world, id, rank, n, group, &made);
        group = NULL;
    }
    if (status == YJ_OK && comm->world->shm) status = agree_on_region(comm, made);
    free(all), free(group);
    if (status != YJ_OK) {
        if (made) comm_free(made);
        return status;
    }
    *child = made;
    return YJ_OK;
}

/* --- memory --- */

enum yj_status yj_comm_alloc(struct yj_comm *comm, size_t bytes, void **memory) {
    if (bytes > SIZE_MAX / 4) return report(YJ_ERR_INPUT, "alloc: %zu bytes", bytes);
    if (comm->world->shm && comm->world->local_ranks > 0) return shm_alloc(comm->world, bytes, memory);
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!p) return report(YJ_ERR_MEMORY, "alloc: out of memory for %zu bytes", bytes);
    memset(p, 0, bytes);
    *memory = p;
    return YJ_OK;
}

void yj_comm_free(struct yj_comm *comm, void *memory) {
    if (!memory || (comm->world->shm && shm_free(comm->world, memory))) return;
    free(memory);
}

enum yj_status yj_comm_register(struct yj_comm *comm, void *memory, size_t bytes) {
    return comm && (memory || !bytes) ? YJ_OK : report(YJ_ERR_INPUT, "register: no memory");
}

enum yj_status yj_comm_unregister(struct yj_comm *comm, void *memory) {
    return comm && memory ? YJ_OK : report(YJ_ERR_INPUT, "unregister: no memory");
}

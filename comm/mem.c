/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport between threads of one process: cells in the heap, and, for tests, messages that come late or never and
 * ranks that die between two messages. Their control plane is a function call and one thread for the job.
 */
#include "comm/mem.h"
#include "comm/cells.h"

#include <stdlib.h>
#include <unistd.h>

struct area {
    struct area *next;
    uint64_t comm;
    int from, to, users, ends; /* ENDS: how many ends were ever made, of two */
    char *data;
};

struct letter {
    struct letter *next;
    struct said said;
};

struct threads {
    int n, present;
    struct world **world;
    pthread_t ticker;
    _Atomic bool stop;
    pthread_mutex_t lock; /* of present, areas and letters; nothing is called under it */
    struct area *areas;
    struct letter *first, **last; /* delivered by the ticker, since a message may cause another */
    struct cells_shape shape;
    struct mem_faults faults;
    _Atomic uint64_t posts[2]; /* of the rank that dies, of the one whose messages are dropped */
};

struct mem_channel {
    struct cells cells;
    uint64_t random;
    uint32_t seen[LANES];
    double visible[LANES];
    struct area *out, *in;
};

/* --- the job --- */

static void deliver(struct threads *t, const struct said *said) {
    for (int r = 0; r < t->n; r++) {
        struct world *to = t->world[r];
        if (r == said->from || (said->to >= 0 && said->to != r)) continue;
        if (said->kind == SAID_GOODBYE)
            world_member_gone(to, said->from, MEMBER_LEFT, "it has closed its communicator");
        else if (said->kind == SAID_DEAD)
            world_member_gone(to, said->from, MEMBER_DEAD, said->text);
        else
            control_hear(to, said);
    }
}

static bool deliver_one(struct threads *t) {
    pthread_mutex_lock(&t->lock);
    struct letter *letter = t->first;
    if (letter && !(t->first = letter->next)) t->last = &t->first;
    pthread_mutex_unlock(&t->lock);
    if (letter) deliver(t, &letter->said);
    free(letter);
    return letter != NULL;
}

static void *tick_thread(void *argument) {
    struct threads *t = argument;
    for (int n = 0; !t->stop; n++) {
        usleep(1000);
        while (deliver_one(t)) {
        }
        for (int r = 0; n % 20 == 0 && r < t->n; r++)
            control_tick(t->world[r]);
    }
    return NULL;
}

enum yj_status threads_open(int n, struct world **worlds, struct threads **threads) {
    struct threads *t = calloc(1, sizeof *t);
    if (!t) return report(YJ_ERR_MEMORY, "open: out of memory");
    t->n = t->present = n;
    t->world = worlds;
    t->last = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    cells_shape_make((size_t)worlds[0]->settings.cell, &t->shape);
    for (int r = 0; r < n; r++)
        worlds[r]->threads = t;
    if (pthread_create(&t->ticker, NULL, tick_thread, t)) {
        free(t);
        return report(YJ_ERR_IO, "open: no thread can be made");
    }
    *threads = t;
    return YJ_OK;
}

bool threads_leave(struct world *world) {
    struct threads *t = world->threads;
    threads_say(world, &(struct said){.kind = SAID_GOODBYE, .from = world->rank, .to = -1});
    pthread_mutex_lock(&t->lock);
    bool last = --t->present == 0;
    pthread_mutex_unlock(&t->lock);
    return last;
}

void threads_close(struct threads *t, void (*world_free)(struct world *)) {
    t->stop = true;
    pthread_join(t->ticker, NULL);
    while (t->first) {
        struct letter *letter = t->first;
        t->first = letter->next;
        free(letter);
    }
    while (t->areas) {
        struct area *a = t->areas;
        t->areas = a->next;
        free(a->data);
        free(a);
    }
    for (int r = 0; r < t->n; r++)
        world_free(t->world[r]);
    pthread_mutex_destroy(&t->lock);
    free(t->world);
    free(t);
}

void threads_say(struct world *world, const struct said *said) {
    struct threads *t = world->threads;
    struct letter *letter = malloc(sizeof *letter);
    if (!letter) return; /* it is told late or never; deadlines remain */
    *letter = (struct letter){.said = *said};
    letter->said.from = world->rank;
    pthread_mutex_lock(&t->lock);
    *t->last = letter;
    t->last = &letter->next;
    pthread_mutex_unlock(&t->lock);
}

void mem_faults_set(struct yj_comm *comm, const struct mem_faults *faults) {
    struct threads *t = comm->world->threads;
    t->faults = *faults;
    t->posts[0] = t->posts[1] = 0;
}

/* --- channels --- */

static struct area *area_get(struct threads *t, uint64_t comm, int from, int to) {
    pthread_mutex_lock(&t->lock);
    struct area *a = t->areas;
    while (a && !(a->comm == comm && a->from == from && a->to == to))
        a = a->next;
    if (!a && (a = calloc(1, sizeof *a))) {
        a->comm = comm, a->from = from, a->to = to;
        a->data = aligned_alloc(4096, t->shape.bytes);
        if (a->data) {
            memset(a->data, 0, t->shape.bytes);
            a->next = t->areas;
            t->areas = a;
        } else {
            free(a);
            a = NULL;
        }
    }
    if (a) a->users++, a->ends++;
    pthread_mutex_unlock(&t->lock);
    return a;
}

/* Both ends were there and have let go of it: nothing in it is still to be read. */
static void area_put(struct threads *t, struct area *a) {
    if (!a) return;
    pthread_mutex_lock(&t->lock);
    struct area **at = &t->areas;
    while (*at != a)
        at = &(*at)->next;
    if (--a->users == 0 && a->ends == 2) {
        *at = a->next;
        free(a->data);
        free(a);
    }
    pthread_mutex_unlock(&t->lock);
}

static void disconnect(struct channel *channel) {
    struct mem_channel *m = (struct mem_channel *)channel;
    struct threads *t = channel->comm->world->threads;
    area_put(t, m->out);
    area_put(t, m->in);
    free(m);
}

static enum yj_status connect(struct yj_comm *comm, int peer, struct channel **channel) {
    struct threads *t = comm->world->threads;
    struct mem_channel *m = calloc(1, sizeof *m);
    if (!m) return report(YJ_ERR_MEMORY, "out of memory for a channel");
    m->cells.channel = (struct channel){&transport_mem, comm, peer};
    m->cells.shape = &t->shape;
    m->random = t->faults.seed * 1000003 + (uint64_t)comm->rank * 1009 + (uint64_t)peer + 1;
    m->out = area_get(t, comm->id, comm->rank, peer);
    m->in = area_get(t, comm->id, peer, comm->rank);
    if (!m->out || !m->in) {
        disconnect(&m->cells.channel);
        return report(YJ_ERR_MEMORY, "out of memory for a channel");
    }
    m->cells.out = m->out->data;
    m->cells.in = m->in->data;
    *channel = &m->cells.channel;
    return YJ_OK;
}

/* --- faults --- */

static void die(struct world *world) {
    struct said said = {.kind = SAID_DEAD, .to = -1, .about = world->rank, .text = "a test has killed it"};
    pthread_mutex_lock(&world->lock);
    for (struct yj_comm *comm = world->comms; comm; comm = comm->next)
        comm_fail(comm, YJ_ERR_ABORTED, "rank %d was killed by a test", world->rank);
    pthread_mutex_unlock(&world->lock);
    threads_say(world, &said);
}

static void post(struct channel *channel, int lane, const struct envelope *envelope) {
    struct world *world = channel->comm->world;
    struct threads *t = world->threads;
    const struct mem_faults *f = &t->faults;
    if (f->dies_after && world->rank == f->dies) {
        uint64_t n = ++t->posts[0];
        if (n == f->dies_after) die(world);
        if (n >= f->dies_after) return;
    }
    if (f->drops_after && world->rank == f->drops && ++t->posts[1] >= f->drops_after) return;
    cells_post(channel, lane, envelope);
}

static const void *arrived(struct channel *channel, int lane, struct envelope *envelope) {
    struct mem_channel *m = (struct mem_channel *)channel;
    const void *data = cells_arrived(channel, lane, envelope);
    double delay = channel->comm->world->threads->faults.delay;
    if (!data || delay == 0) return data;
    uint32_t number = m->cells.taken[lane] + 1;
    if (m->seen[lane] != number) {
        m->random = m->random * 6364136223846793005u + 1442695040888963407u;
        m->seen[lane] = number;
        m->visible[lane] = time_now() + delay * (double)(m->random >> 40) / (1 << 24);
    }
    return time_now() >= m->visible[lane] ? data : NULL;
}

const struct transport transport_mem = {
    .name = "mem",
    .connect = connect,
    .disconnect = disconnect,
    .reserve = cells_reserve,
    .post = post,
    .arrived = arrived,
    .release = cells_release,
    .posted = cells_posted,
    .taken = cells_taken,
    .warm = cells_warm,
};

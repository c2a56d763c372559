/* SPDX-License-Identifier: Apache-2.0
 *
 * The control thread: sleeps in poll over the control connections, the processes of this host (pidfd), the listeners
 * and a wake-up; passes messages on (rank 0 is the hub); turns a lost connection or an ended process into a death
 * unless the rank had said goodbye. One idea: whatever data movement cannot know is known here, and told to it in one
 * atomic word.
 */
#include "comm/links.h"
#include "comm/mem.h"
#include "comm/shm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const double heartbeat = 1.0, tick = 0.1;

/* --- messages out --- */

static void put(struct link *link, const struct said *said) {
    if (link->wire.fd < 0 || link->wire.closed) return;
    if (wire_put(&link->wire, said, sizeof *said) == YJ_OK) wire_flush(&link->wire); /* a loss is seen by the thread */
}

/* Under control->lock. */
static void send_said(struct control *c, const struct said *said) {
    if (c->world->rank) {
        put(&c->link[0], said);
        return;
    }
    for (int r = 1; r < c->nlinks; r++)
        if (r != said->from && (said->to < 0 || said->to == r)) put(&c->link[r], said);
}

void control_say(struct world *world, struct said *said) {
    struct control *c = world->control;
    said->from = world->rank;
    if (world->threads) {
        threads_say(world, said);
        return;
    }
    if (!c) return; /* one rank */
    pthread_mutex_lock(&c->lock);
    send_said(c, said);
    bool more = false;
    for (int i = 0; i < c->nlinks; i++)
        more |= c->link[i].wire.fd >= 0 && wire_has_output(&c->link[i].wire);
    pthread_mutex_unlock(&c->lock);
    if (more) control_wake(world);
}

void control_wake(struct world *world) {
    if (!world->control) return;
    uint64_t one = 1;
    world->control->hurry = true;
    if (write(world->control->wake, &one, sizeof one) < 0) return; /* full: it is awake */
}

/* --- deaths --- */

/* Rank 0 tells the others of a death that it alone can see, and when nobody is left. */
static void tell_gone(struct control *c, int member, const char *how) {
    struct world *w = c->world;
    if (w->rank) return;
    struct said said = {.kind = SAID_DEAD, .from = 0, .to = -1, .about = member};
    if (how) {
        snprintf(said.text, sizeof said.text, "%s", how);
        pthread_mutex_lock(&c->lock);
        send_said(c, &said);
        pthread_mutex_unlock(&c->lock);
    }
    for (int r = 0; r < w->size; r++)
        if (w->member[r].state == MEMBER_ALIVE) return;
    said = (struct said){.kind = SAID_ALL_GONE, .from = 0, .to = -1};
    pthread_mutex_lock(&c->lock);
    send_said(c, &said);
    pthread_mutex_unlock(&c->lock);
    c->all_gone = true;
}

static void member_dead(struct control *c, int member, const char *how) {
    if (c->world->member[member].state != MEMBER_ALIVE) return;
    world_member_gone(c->world, member, MEMBER_DEAD, how);
    tell_gone(c, member, how);
}

static void pidfds_look(struct control *c) {
    struct world *w = c->world;
    for (int r = 0; r < w->size; r++) {
        if (c->pidfd[r] < 0) continue;
        struct pollfd p = {c->pidfd[r], POLLIN, 0};
        if (poll(&p, 1, 0) <= 0) continue;
        close(c->pidfd[r]);
        c->pidfd[r] = -1;
        if (!shm_has_left(w, r)) member_dead(c, r, "its process has ended without closing its communicator");
    }
}

/* --- messages in --- */

static void heard(struct control *c, const struct said *said) {
    struct world *w = c->world;
    if (said->from < 0 || said->from >= w->size || said->about < 0 || said->about >= w->size) return;
    if (!w->rank && said->to != 0) { /* the hub passes on */
        pthread_mutex_lock(&c->lock);
        send_said(c, said);
        pthread_mutex_unlock(&c->lock);
    }
    if (said->to >= 0 && said->to != w->rank) return;
    switch (said->kind) {
    case SAID_HEARTBEAT:
        break;
    case SAID_ALL_GONE:
        c->all_gone = true;
        break;
    case SAID_DEAD:
        if (said->about == w->rank) break;
        if (w->member[said->about].state == MEMBER_ALIVE) world_member_gone(w, said->about, MEMBER_DEAD, said->text);
        break;
    case SAID_GOODBYE:
        pidfds_look(c); /* whoever died before this goodbye is the cause, and is named */
        world_member_gone(w, said->from, MEMBER_LEFT, "it has closed its communicator");
        tell_gone(c, said->from, NULL);
        break;
    default:
        control_hear(w, said);
    }
}

/* Reads all that LINK has. False: it is over. */
static bool link_read(struct control *c, struct link *link) {
    for (;;) {
        struct said said;
        const void *payload;
        uint32_t bytes;
        pthread_mutex_lock(&c->lock);
        enum yj_status status = wire_flush(&link->wire);
        if (status == YJ_OK) status = wire_get(&link->wire, &payload, &bytes);
        if (status == YJ_OK && payload && bytes == sizeof said) memcpy(&said, payload, sizeof said);
        pthread_mutex_unlock(&c->lock);
        if (status != YJ_OK) return false;
        if (!payload) return true;
        if (bytes != sizeof said) continue; /* of a later version */
        said.text[sizeof said.text - 1] = said.card.name[sizeof said.card.name - 1] = 0;
        if (c->world->rank == 0) said.from = link->member; /* nobody speaks for another */
        link->heard = time_now();
        heard(c, &said);
    }
}

static void link_lost(struct control *c, struct link *link) {
    pthread_mutex_lock(&c->lock);
    int member = link->member;
    wire_close(&link->wire);
    pthread_mutex_unlock(&c->lock);
    pidfds_look(c);
    member_dead(c, member, "its control connection was lost without a goodbye");
    if (c->world->rank) c->all_gone = true; /* no hub: nothing more will be heard */
}

/* --- the thread --- */

static void take_pending(struct control *c) {
    pthread_mutex_lock(&c->lock);
    for (int i = c->npending; i-- > 0;) {
        struct hello hello;
        bool known;
        if (!links_hello(c, &c->pending[i], &hello, &known) || known) links_drop(c, i); /* no rank may join twice */
    }
    pthread_mutex_unlock(&c->lock);
}

static void take_drains(struct control *c) {
    pthread_mutex_lock(&c->lock);
    for (int i = c->ndrains; i-- > 0;) {
        char sink[4096];
        ssize_t n;
        while ((n = recv(c->drain[i], sink, sizeof sink, MSG_DONTWAIT)) > 0) {
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        close(c->drain[i]);
        c->drain[i] = c->drain[--c->ndrains];
    }
    pthread_mutex_unlock(&c->lock);
}

static int poll_list(struct control *c, struct pollfd *p) {
    int n = 0;
    p[n++] = (struct pollfd){c->wake, POLLIN, 0};
    pthread_mutex_lock(&c->lock);
    bool room = c->npending < MOST_PENDING;
    if (c->listener >= 0 && room) p[n++] = (struct pollfd){c->listener, POLLIN, 0};
    if (c->rendezvous >= 0 && room) p[n++] = (struct pollfd){c->rendezvous, POLLIN, 0};
    for (int i = 0; i < c->nlinks; i++)
        if (c->link[i].wire.fd >= 0)
            p[n++] = (struct pollfd){c->link[i].wire.fd,
                                     (short)(POLLIN | (wire_has_output(&c->link[i].wire) ? POLLOUT : 0)), 0};
    for (int i = 0; i < c->npending; i++)
        p[n++] = (struct pollfd){c->pending[i].wire.fd, POLLIN, 0};
    for (int i = 0; i < c->ndrains && i < 64; i++)
        p[n++] = (struct pollfd){c->drain[i], POLLIN, 0};
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->world->size; i++)
        if (c->pidfd[i] >= 0) p[n++] = (struct pollfd){c->pidfd[i], POLLIN, 0};
    return n;
}

static void *thread(void *argument) {
    struct control *c = argument;
    struct world *w = c->world;
    struct pollfd *p = malloc(sizeof *p * (size_t)(3 + MOST_PENDING + 64 + 2 * w->size));
    double next_beat = 0, next_tick = 0;
    while (p && !c->stop) {
        int n = poll_list(c, p);
        poll(p, (nfds_t)n, (int)(tick * 1000));
        uint64_t count;
        bool hurry = atomic_exchange(&c->hurry, false);
        if (read(c->wake, &count, sizeof count) < 0) count = 0;
        pidfds_look(c);
        for (int i = 0; i < c->nlinks; i++)
            if (c->link[i].wire.fd >= 0 && !link_read(c, &c->link[i])) link_lost(c, &c->link[i]);
        pthread_mutex_lock(&c->lock);
        if (c->listener >= 0) links_accept(c, c->listener);
        if (c->rendezvous >= 0) links_accept(c, c->rendezvous);
        pthread_mutex_unlock(&c->lock);
        take_pending(c);
        take_drains(c);
        double now = time_now();
        if (now >= next_tick || hurry) control_tick(w), next_tick = now + tick;
        if (now >= next_beat) {
            control_say(w, &(struct said){.kind = SAID_HEARTBEAT, .to = w->rank ? 0 : -1});
            next_beat = now + heartbeat;
        }
    }
    free(p);
    return NULL;
}

/* --- open and close --- */

static void control_free(struct control *c) {
    for (int i = 0; c->link && i < c->nlinks; i++)
        wire_close(&c->link[i].wire);
    while (c->npending)
        links_drop(c, 0);
    for (int i = 0; i < c->narrivals; i++)
        close(c->arrival[i].fd);
    for (int i = 0; i < c->ndrains; i++)
        close(c->drain[i]);
    for (int i = 0; c->pidfd && i < c->world->size; i++)
        if (c->pidfd[i] >= 0) close(c->pidfd[i]);
    if (c->listener >= 0) close(c->listener);
    if (c->rendezvous >= 0) close(c->rendezvous);
    if (c->wake >= 0) close(c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->link), free(c->arrival), free(c->drain), free(c->pidfd);
    c->world->control = NULL;
    free(c);
}

static enum yj_status start(struct control *c, const char *address, bool (*share)(struct world *), double until) {
    struct world *w = c->world;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake < 0) return report(YJ_ERR_IO, "open: eventfd: %s", strerror(errno));
    TRY(links_join(c, address, share, until));
    for (int r = 0; r < w->size; r++) /* a process of another name space is not ours to watch: its connection tells */
        if (r != w->rank && w->member[r].shares && w->member[w->rank].shares &&
            w->member[r].host == w->member[w->rank].host)
            c->pidfd[r] = (int)syscall(SYS_pidfd_open, w->member[r].pid, 0);
    if (pthread_create(&c->thread, NULL, thread, c)) return report(YJ_ERR_IO, "open: no thread can be made");
    c->running = true;
    return YJ_OK;
}

enum yj_status control_open(struct world *world, const char *address, int listener, const uint8_t *key,
                            bool (*share)(struct world *), double until) {
    struct control *c = calloc(1, sizeof *c);
    if (!c) return report(YJ_ERR_MEMORY, "open: out of memory");
    c->world = world;
    c->wake = c->listener = -1;
    c->rendezvous = listener;
    memcpy(c->key, key, sizeof c->key);
    pthread_mutex_init(&c->lock, NULL);
    world->control = c;
    c->nlinks = world->rank ? 1 : world->size;
    c->link = calloc((size_t)c->nlinks, sizeof *c->link);
    c->pidfd = malloc((size_t)world->size * sizeof *c->pidfd);
    enum yj_status status = YJ_OK;
    if (!c->link || !c->pidfd) status = report(YJ_ERR_MEMORY, "open: out of memory for %d ranks", world->size);
    for (int i = 0; c->link && i < c->nlinks; i++)
        c->link[i].wire.fd = -1;
    for (int i = 0; c->pidfd && i < world->size; i++)
        c->pidfd[i] = -1;
    if (status == YJ_OK) status = start(c, address, share, until);
    if (status != YJ_OK) control_free(c);
    return status;
}

void control_close(struct world *world, double until) {
    struct control *c = world->control;
    control_say(world, &(struct said){.kind = SAID_GOODBYE, .to = -1});
    world->member[world->rank].state = MEMBER_LEFT;
    tell_gone(c, world->rank, NULL);
    for (;;) {
        bool output = false;
        pthread_mutex_lock(&c->lock);
        for (int i = 0; i < c->nlinks; i++)
            output |= c->link[i].wire.fd >= 0 && wire_has_output(&c->link[i].wire);
        pthread_mutex_unlock(&c->lock);
        double now = time_now();
        if (!output && (c->all_gone || now > until)) break;
        if (now > until + 1) break;
        usleep(500);
    }
    c->stop = true;
    control_wake(world);
    if (c->running) pthread_join(c->thread, NULL);
    control_free(c);
}

/* --- data connections, taken and let go --- */

int control_take(struct world *world, int member, uint64_t id) {
    struct control *c = world->control;
    int fd = -1;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->narrivals && fd < 0; i++)
        if (c->arrival[i].member == member && c->arrival[i].comm == id) {
            fd = c->arrival[i].fd;
            c->arrival[i] = c->arrival[--c->narrivals];
        }
    pthread_mutex_unlock(&c->lock);
    return fd;
}

void control_drain(struct world *world, int fd) {
    struct control *c = world->control;
    pthread_mutex_lock(&c->lock);
    if (c->ndrains == c->drain_room) {
        int room = 2 * c->drain_room + 16;
        int *more = realloc(c->drain, (size_t)room * sizeof *more);
        if (more) c->drain = more, c->drain_room = room;
    }
    if (c->ndrains < c->drain_room) {
        shutdown(fd, SHUT_WR);
        c->drain[c->ndrains++] = fd;
    } else {
        close(fd);
    }
    pthread_mutex_unlock(&c->lock);
}

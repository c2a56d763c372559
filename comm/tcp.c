/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport that always works: one connection for each pair of ranks and communicator, frames of [lane, credit,
 * envelope][bytes]. A lane has cells on both sides; the sender never has more messages under way than the receiver has
 * cells, so that a lane which is not read never stops the others. One idea: the socket is only a way from cell to cell.
 */
#include "comm/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DEPTH = 8, LARGE_DEPTH = 4, BUFFER = 32768, FRAME_DATA = 1, FRAME_CREDIT = 2 };

struct frame {
    uint8_t kind, lane;
    uint16_t zero;
    uint32_t taken; /* messages of this lane that the sender of the frame has taken */
    struct envelope envelope;
};

struct tcp_cell {
    struct envelope envelope;
    char *data;
};

struct lane {
    struct tcp_cell cell[DEPTH];
    uint32_t posted, written;          /* out: posted, and those that the system has taken */
    uint32_t taken_there;              /* out: what the peer has said that it took */
    uint32_t arrived, taken, credited; /* in: whole messages, those released, those that the peer was told of */
};

struct queued { /* a frame on its way out; credits have no bytes */
    uint8_t kind, lane;
    uint32_t number;
    bool lent; /* by the caller: not in a cell */
    const char *data;
};

struct tcp {
    struct channel channel;
    int fd;
    bool broken, closing;
    double broken_since;
    struct lane lane_out[LANES], lane_in[LANES];
    struct queued queue[LANES * DEPTH * 2];
    unsigned head, tail;
    struct frame out; /* the frame at the head, once begun */
    size_t out_done;
    bool out_begun;
    bool credit_queued[LANES];
    char *memory, *buffer; /* MEMORY: of the cells */
    size_t memory_bytes;
    size_t buffer_at, buffer_n;
    struct frame in;
    size_t in_done;
};

static uint32_t depth(int lane) {
    return lane >= FIRST_LARGE && lane < PAIR_LANE ? LARGE_DEPTH : DEPTH;
}

/* All cells of both directions, in memory that costs nothing until it is used: nothing is allocated after connect. */
static bool make_cells(struct tcp *t) {
    size_t setting = (size_t)t->channel.comm->world->settings.cell, bytes = 0;
    for (int lane = 0; lane < LANES; lane++)
        bytes += 2 * depth(lane) * lane_cell_bytes(setting, lane);
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return false;
    t->memory = at, t->memory_bytes = bytes;
    for (int lane = 0; lane < LANES; lane++)
        for (uint32_t i = 0; i < depth(lane); i++) {
            t->lane_out[lane].cell[i].data = at;
            t->lane_in[lane].cell[i].data = at + lane_cell_bytes(setting, lane);
            at += 2 * lane_cell_bytes(setting, lane);
        }
    return true;
}

static struct tcp_cell *cell_of(struct lane *l, int lane, uint32_t number) {
    return &l->cell[number % depth(lane)];
}

static void lost(struct tcp *t) {
    if (t->broken) return;
    t->broken = true;
    t->broken_since = time_now();
}

/* --- out --- */

static void enqueue(struct tcp *t, struct queued frame) {
    t->queue[t->tail++ % COUNT(t->queue)] = frame;
}

/* Makes the frame at the head of the queue. */
static void begin(struct tcp *t) {
    const struct queued *q = &t->queue[t->head % COUNT(t->queue)];
    struct lane *in = &t->lane_in[q->lane], *out = &t->lane_out[q->lane];
    t->out = (struct frame){.kind = q->kind, .lane = q->lane, .taken = in->taken};
    in->credited = in->taken;
    if (q->kind == FRAME_DATA)
        t->out.envelope = cell_of(out, q->lane, q->number)->envelope;
    else
        t->credit_queued[q->lane] = false;
    t->out_begun = true;
    t->out_done = 0;
}

static bool flush(struct tcp *t) {
    bool any = false;
    while (t->head != t->tail && t->fd >= 0 && !t->broken) {
        if (!t->out_begun) begin(t);
        const struct queued *q = &t->queue[t->head % COUNT(t->queue)];
        if (t->closing && q->lent) break;
        size_t bytes = q->kind == FRAME_DATA ? t->out.envelope.bytes : 0, done = t->out_done;
        struct iovec v[2];
        struct msghdr message = {.msg_iov = v};
        if (done < sizeof t->out)
            v[message.msg_iovlen++] = (struct iovec){(char *)&t->out + done, sizeof t->out - done};
        size_t at = done < sizeof t->out ? 0 : done - sizeof t->out;
        if (at < bytes) v[message.msg_iovlen++] = (struct iovec){(char *)q->data + at, bytes - at};
        ssize_t n = sendmsg(t->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) lost(t);
            break;
        }
        any = true;
        t->out_done += (size_t)n;
        if (t->out_done == sizeof t->out + bytes) {
            if (q->kind == FRAME_DATA) t->lane_out[q->lane].written++;
            t->head++, t->out_begun = false;
        }
    }
    return any;
}

static void *reserve(struct channel *channel, int lane, size_t bytes) {
    struct tcp *t = (struct tcp *)channel;
    struct lane *l = &t->lane_out[lane];
    (void)bytes;
    if (l->posted - l->taken_there >= depth(lane)) return NULL;
    return cell_of(l, lane, l->posted)->data;
}

static void post_from(struct tcp *t, int lane, const struct envelope *envelope, bool lent, const char *data) {
    struct lane *l = &t->lane_out[lane];
    cell_of(l, lane, l->posted)->envelope = *envelope;
    enqueue(t, (struct queued){FRAME_DATA, (uint8_t)lane, l->posted++, lent, data});
    flush(t);
}

static void post(struct channel *channel, int lane, const struct envelope *envelope) {
    struct tcp *t = (struct tcp *)channel;
    struct lane *l = &t->lane_out[lane];
    post_from(t, lane, envelope, false, cell_of(l, lane, l->posted)->data);
}

/* What is lent is the system's business once it is written. */
static bool lend(struct channel *channel, int lane, const struct envelope *envelope, const void *memory) {
    struct tcp *t = (struct tcp *)channel;
    struct lane *l = &t->lane_out[lane];
    if (l->posted - l->taken_there >= depth(lane)) return false;
    post_from(t, lane, envelope, true, memory);
    return true;
}

static bool settled(struct channel *channel, int lane) {
    const struct tcp *t = (const struct tcp *)channel;
    return t->lane_out[lane].written == t->lane_out[lane].posted;
}

static uint32_t posted(struct channel *channel, int lane) {
    return ((const struct tcp *)channel)->lane_out[lane].posted;
}

static bool taken(struct channel *channel, int lane, uint32_t number) {
    return (int32_t)(((const struct tcp *)channel)->lane_out[lane].taken_there - number) >= 0;
}

/* --- in --- */

/* A whole frame head has come: is it one that may be? */
static bool head_ok(struct tcp *t) {
    const struct frame *f = &t->in;
    if (f->lane >= LANES || (f->kind != FRAME_DATA && f->kind != FRAME_CREDIT)) return false;
    struct lane *out = &t->lane_out[f->lane], *in = &t->lane_in[f->lane];
    if (f->taken - out->taken_there > out->posted - out->taken_there) return false;
    out->taken_there = f->taken;
    if (f->kind == FRAME_CREDIT) return true;
    return in->arrived - in->taken < depth(f->lane) &&
           f->envelope.bytes <= lane_cell_bytes((size_t)t->channel.comm->world->settings.cell, f->lane);
}

/* Reads into TO, from what is buffered first. 0: nothing there. */
static size_t get(struct tcp *t, char *to, size_t want) {
    size_t n = t->buffer_n - t->buffer_at;
    if (n) {
        if (n > want) n = want;
        memcpy(to, t->buffer + t->buffer_at, n);
        t->buffer_at += n;
        return n;
    }
    struct iovec v[2] = {{to, want}, {t->buffer, BUFFER}};
    struct msghdr message = {.msg_iov = v, .msg_iovlen = 2};
    ssize_t got = recvmsg(t->fd, &message, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) lost(t);
        return 0;
    }
    t->buffer_at = 0;
    t->buffer_n = (size_t)got > want ? (size_t)got - want : 0;
    return (size_t)got > want ? want : (size_t)got;
}

static bool fill(struct tcp *t) {
    bool any = false;
    while (t->fd >= 0 && !t->broken) {
        char *to;
        size_t want, n;
        bool head = t->in_done < sizeof t->in;
        struct lane *l = &t->lane_in[t->in.lane % LANES];
        struct tcp_cell *cell = cell_of(l, t->in.lane % LANES, l->arrived);
        if (head)
            to = (char *)&t->in + t->in_done, want = sizeof t->in - t->in_done;
        else
            to = cell->data + (t->in_done - sizeof t->in), want = sizeof t->in + t->in.envelope.bytes - t->in_done;
        if (!(n = get(t, to, want))) break;
        any = true;
        t->in_done += n;
        if (head && t->in_done == sizeof t->in) {
            if (!head_ok(t)) {
                comm_fail(t->channel.comm, YJ_ERR_PEER, "rank %d sends what is not Yunjin's on its data connection",
                          t->channel.comm->member[t->channel.peer]);
                lost(t);
                break;
            }
            l = &t->lane_in[t->in.lane];
            cell = cell_of(l, t->in.lane, l->arrived);
            if (t->in.kind == FRAME_DATA) cell->envelope = t->in.envelope;
        }
        size_t bytes = t->in_done >= sizeof t->in && t->in.kind == FRAME_DATA ? t->in.envelope.bytes : 0;
        if (t->in_done == sizeof t->in + bytes) {
            if (t->in.kind == FRAME_DATA) l->arrived++;
            t->in_done = 0;
        }
    }
    return any;
}

static const void *arrived(struct channel *channel, int lane, struct envelope *envelope) {
    struct tcp *t = (struct tcp *)channel;
    struct lane *l = &t->lane_in[lane];
    if (l->arrived == l->taken) return NULL;
    *envelope = cell_of(l, lane, l->taken)->envelope;
    return cell_of(l, lane, l->taken)->data;
}

static void release(struct channel *channel, int lane) {
    struct tcp *t = (struct tcp *)channel;
    struct lane *l = &t->lane_in[lane];
    l->taken++;
    bool waited_for = lane == PAIR_LANE; /* a send ends when this is known */
    if (t->credit_queued[lane] || (!waited_for && l->taken - l->credited < depth(lane) / 2)) return;
    t->credit_queued[lane] = true; /* nothing went out that could tell it */
    enqueue(t, (struct queued){.kind = FRAME_CREDIT, .lane = (uint8_t)lane});
    if (waited_for) flush(t);
}

static bool progress(struct channel *channel) {
    struct tcp *t = (struct tcp *)channel;
    struct yj_comm *comm = channel->comm;
    if (t->fd < 0) t->fd = control_take(comm->world, comm->member[channel->peer], comm->id);
    if (t->fd < 0) return false;
    if (t->broken) { /* the control plane knows the cause better: it has a moment to tell */
        if (time_now() - t->broken_since > 0.3 &&
            comm->world->member[comm->member[channel->peer]].state != MEMBER_LEFT &&
            atomic_load(&comm->waiting_for) == channel->peer)
            comm_fail(comm, YJ_ERR_PEER, "the data connection to rank %d (host %s) was lost",
                      comm->member[channel->peer], comm->world->member[comm->member[channel->peer]].name);
        return false;
    }
    bool any = flush(t);
    return fill(t) || any;
}

static void sleep_on(struct channel *const *channels, int n, double seconds) {
    struct pollfd p[64];
    int k = 0;
    for (int i = 0; i < n && k < 64; i++) {
        const struct tcp *t = (const struct tcp *)channels[i];
        if (t->fd >= 0 && !t->broken)
            p[k++] = (struct pollfd){t->fd, (short)(POLLIN | (t->head != t->tail ? POLLOUT : 0)), 0};
    }
    poll(p, (nfds_t)k, (int)(seconds * 1000));
}

/* --- open and close --- */

static void tcp_free(struct tcp *t) {
    if (!t) return;
    if (t->memory) munmap(t->memory, t->memory_bytes);
    free(t->buffer);
    free(t);
}

/* Frames that wait are sent for a second at most, but nothing from memory that is the caller's again. */
static void disconnect(struct channel *channel) {
    struct tcp *t = (struct tcp *)channel;
    double until = time_now() + 1;
    t->closing = true;
    while (t->head != t->tail && t->fd >= 0 && !t->broken && !t->queue[t->head % COUNT(t->queue)].lent &&
           time_now() < until)
        if (!flush(t)) usleep(100);
    if (t->fd >= 0) control_drain(channel->comm->world, t->fd);
    tcp_free(t);
}

static enum yj_status connect_to(struct yj_comm *comm, int peer, struct channel **channel) {
    struct tcp *t = calloc(1, sizeof *t);
    if (t) t->channel = (struct channel){&transport_tcp, comm, peer};
    if (!t || !(t->buffer = malloc(BUFFER)) || !make_cells(t)) {
        tcp_free(t);
        return report(YJ_ERR_MEMORY, "out of memory for a channel");
    }
    t->fd = -1;
    if (comm->member[comm->rank] < comm->member[peer]) {
        enum yj_status status = control_connect(comm->world, comm->member[peer], comm->id, &t->fd);
        if (status != YJ_OK) {
            tcp_free(t);
            return status;
        }
    }
    *channel = &t->channel;
    return YJ_OK;
}

const struct transport transport_tcp = {
    .name = "tcp",
    .connect = connect_to,
    .disconnect = disconnect,
    .reserve = reserve,
    .post = post,
    .arrived = arrived,
    .release = release,
    .lend = lend,
    .lends_all = true,
    .settled = settled,
    .posted = posted,
    .taken = taken,
    .progress = progress,
    .sleep = sleep_on,
};

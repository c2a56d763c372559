/* SPDX-License-Identifier: Apache-2.0
 *
 * How the ranks of a job find each other: all connect to rank 0, which hands out the table of members, collects from
 * each whether it could map its host's memory, and hands out that. Two exchanges, after which all ranks know the same.
 * One idea: every decision made from the table is made alike everywhere.
 */
#include "comm/links.h"
#include "comm/schedule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- sockets --- */

struct target {
    bool local;
    char host[128];
    int port, ports;
    struct sockaddr_un un;
    socklen_t un_bytes;
};

static enum yj_status target_parse(const char *address, struct target *t) {
    memset(t, 0, sizeof *t);
    if (!strncmp(address, "unix:", 5)) { /* in the abstract name space: nothing is left behind */
        size_t n = strlen(address + 5);
        if (n == 0 || n > sizeof t->un.sun_path - 1) return report(YJ_ERR_INPUT, "address '%s': bad name", address);
        t->local = true;
        t->un.sun_family = AF_UNIX;
        memcpy(t->un.sun_path + 1, address + 5, n);
        t->un_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
        return YJ_OK;
    }
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    if (colon) t->port = (int)strtol(colon + 1, &end, 10);
    t->ports = 1;
    if (colon && *end == '/') t->ports = (int)strtol(end + 1, &end, 10);
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (!colon || end == colon + 1 || *end || t->port < 1 || t->ports < 1 || t->port + t->ports > 65536 || n == 0 ||
        n >= sizeof t->host)
        return report(YJ_ERR_INPUT, "address '%s': give HOST:PORT or unix:NAME", address);
    bool brackets = address[0] == '[' && colon[-1] == ']';
    memcpy(t->host, address + brackets, n - 2 * brackets);
    return YJ_OK;
}

static enum yj_status resolve(const char *host, int port, bool passive, struct addrinfo **found) {
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    int e = getaddrinfo(host, service, &hints, found);
    if (e) return report(YJ_ERR_IO, "host '%s' is not found: %s", host ? host : "*", gai_strerror(e));
    return YJ_OK;
}

static int listening(int family, const struct sockaddr *address, socklen_t bytes) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0) return -1;
    if (family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address, bytes) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

enum yj_status socket_listen(const char *address, int *fd) {
    struct target t;
    TRY(target_parse(address, &t));
    if (t.local) {
        *fd = listening(AF_UNIX, (struct sockaddr *)&t.un, t.un_bytes);
        return *fd >= 0 ? YJ_OK : report(YJ_ERR_IO, "cannot listen at '%s': %s", address, strerror(errno));
    }
    int e = 0;
    for (int any = 0; any < 2; any++) /* HOST's own address; where it is not this machine's (a mapped port), any */
        for (int port = t.port; port < t.port + t.ports; port++) {
            struct addrinfo *found;
            TRY(resolve(any ? NULL : t.host, port, any, &found));
            int got = -1;
            for (struct addrinfo *a = found; a && got < 0; a = a->ai_next)
                got = listening(a->ai_family, a->ai_addr, a->ai_addrlen);
            e = errno;
            freeaddrinfo(found);
            if (got >= 0) {
                *fd = got;
                return YJ_OK;
            }
            if (e == EADDRNOTAVAIL) break;
        }
    return report(YJ_ERR_IO, "rank 0 cannot listen at '%s': %s", address, strerror(e));
}

static void tune(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on a unix socket, which has no such delay */
}

static int connecting(int family, const struct sockaddr *address, socklen_t bytes, double until) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int e = connect(fd, address, bytes) ? errno : 0;
    if (e == EINPROGRESS) {
        double left = until - time_now();
        struct pollfd p = {fd, POLLOUT, 0};
        int n = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
        socklen_t size = sizeof e;
        if (n <= 0)
            e = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size);
    }
    if (!e) {
        tune(fd);
        return fd;
    }
    close(fd);
    errno = e;
    return -1;
}

enum yj_status socket_connect(const char *address, int attempt, double until, int *fd) {
    struct target t;
    char one[160];
    int n = 1, got = -1, e = 0;
    const char *at = address;
    for (const char *c = address; *c; c++)
        n += *c == ';';
    for (int skip = attempt % n; skip; skip--)
        at = strchr(at, ';') + 1;
    snprintf(one, sizeof one, "%.*s", (int)strcspn(at, ";"), at);
    TRY(target_parse(one, &t));
    if (n > 1 && until > time_now() + 2) until = time_now() + 2; /* the next one may be reached */
    if (t.local) {
        got = connecting(AF_UNIX, (struct sockaddr *)&t.un, t.un_bytes, until);
        e = errno;
    } else {
        struct addrinfo *found;
        TRY(resolve(t.host, t.port + attempt / n % t.ports, false, &found));
        for (struct addrinfo *a = found; a && got < 0; a = a->ai_next) {
            got = connecting(a->ai_family, a->ai_addr, a->ai_addrlen, until);
            e = errno;
        }
        freeaddrinfo(found);
    }
    if (got < 0) return report(YJ_ERR_IO, "cannot connect to '%s': %s", address, strerror(e));
    *fd = got;
    return YJ_OK;
}

static void address_text(const struct sockaddr_storage *a, bool with_port, char *text, size_t room) {
    char ip[64] = "";
    int port = 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        port = ntohs(in->sin_port);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)a;
        char raw[48];
        inet_ntop(AF_INET6, &in->sin6_addr, raw, sizeof raw);
        snprintf(ip, sizeof ip, "[%s]", raw);
        port = ntohs(in->sin6_port);
    } else {
        snprintf(ip, sizeof ip, "127.0.0.1");
    }
    if (with_port)
        snprintf(text, room, "%s:%d", ip, port);
    else
        snprintf(text, room, "%s", ip);
}

/* The listener for data connections: any port; on all interfaces unless the job is local. */
static enum yj_status data_listen(bool local, int *fd, int *port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY)};
    *fd = local ? -1 : listening(AF_INET6, (struct sockaddr *)&six, sizeof six);
    if (*fd < 0) *fd = listening(AF_INET, (struct sockaddr *)&four, sizeof four);
    if (*fd < 0) return report(YJ_ERR_IO, "cannot listen for data connections: %s", strerror(errno));
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    getsockname(*fd, (struct sockaddr *)&a, &n);
    *port =
        ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
    return YJ_OK;
}

enum yj_status socket_listen_any(int *fd, int *port) {
    return data_listen(false, fd, port);
}

/* --- connections that come in --- */

void links_drop(struct control *c, int i) {
    wire_close(&c->pending[i].wire);
    c->pending[i] = c->pending[--c->npending];
}

void links_accept(struct control *c, int listener) {
    for (int i = c->npending; i-- > 0;)
        if (time_now() - c->pending[i].since > 5) links_drop(c, i);
    while (c->npending < MOST_PENDING) { /* the others wait in the kernel's queue */
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        tune(fd);
        struct link *link = &c->pending[c->npending];
        *link = (struct link){.member = -1, .since = time_now()};
        if (wire_open(fd, false, c->key, &link->wire) == YJ_OK)
            c->npending++;
        else
            close(fd);
    }
}

static bool arrival_add(struct control *c, struct arrival arrival) {
    if (c->narrivals == c->arrival_room) {
        int room = 2 * c->arrival_room + 16;
        struct arrival *more = realloc(c->arrival, (size_t)room * sizeof *more);
        if (!more) return false;
        c->arrival = more;
        c->arrival_room = room;
    }
    c->arrival[c->narrivals++] = arrival;
    return true;
}

bool links_hello(struct control *c, struct link *link, struct hello *hello, bool *known) {
    const void *payload;
    uint32_t bytes;
    *known = false;
    if (wire_get(&link->wire, &payload, &bytes) != YJ_OK || wire_flush(&link->wire) != YJ_OK) return false;
    if (!payload) return time_now() - link->since < 5;
    if (bytes != sizeof *hello) return false;
    memcpy(hello, payload, sizeof *hello);
    hello->member.name[sizeof hello->member.name - 1] = 0;
    hello->member.address[sizeof hello->member.address - 1] = 0;
    if (hello->rank < 0 || hello->rank >= c->world->size || hello->size != c->world->size) return false;
    if (hello->purpose == PURPOSE_DATA) {
        if (hello->to == c->world->rank && arrival_add(c, (struct arrival){link->wire.fd, hello->rank, hello->comm}))
            link->wire.fd = -1;
        return false;
    }
    *known = hello->purpose == PURPOSE_CONTROL;
    return *known;
}

/* --- the two exchanges --- */

struct table { /* followed by the members */
    int64_t cell, stream;
    char transport[16], algorithm[32];
    struct tuning tuning;
};

static void table_settings(struct world *world, struct table *t, bool take) {
    struct settings *s = &world->settings;
    if (take) {
        s->cell = t->cell, s->stream = t->stream;
        memcpy(s->transport, t->transport, sizeof s->transport);
        memcpy(s->algorithm, t->algorithm, sizeof s->algorithm);
        world->tuning = t->tuning;
        return;
    }
    t->cell = s->cell, t->stream = s->stream;
    memcpy(t->transport, s->transport, sizeof t->transport);
    memcpy(t->algorithm, s->algorithm, sizeof t->algorithm);
    t->tuning = world->tuning;
}

static enum yj_status missing(const struct control *c, int have) {
    struct text who = {0};
    int named = 0;
    for (int r = 1; r < c->nlinks; r++)
        if (c->link[r].wire.fd < 0 && named++ < 8) text_add(&who, " %d", r);
    enum yj_status status =
        report(YJ_ERR_TIMEOUT, "open: %d of %d ranks have come before the deadline; missing: rank%s%s%s", have + 1,
               c->nlinks, named > 1 ? "s" : "", who.failed ? " ?" : who.data, named > 8 ? " ..." : "");
    text_free(&who);
    return status;
}

/* Rank 0 takes a pending link that has said its name. */
static enum yj_status seat(struct control *c, int i, const struct hello *hello, int *have) {
    struct link *to = &c->link[hello->rank];
    if (hello->rank == 0 || to->wire.fd >= 0)
        return report(YJ_ERR_INPUT, "open: two processes (pids %d and %d) say that they are rank %d",
                      c->world->member[hello->rank].pid, hello->member.pid, hello->rank);
    if (hello->tables != algorithm_table_hash())
        return report(YJ_ERR_INPUT,
                      "open: rank %d (host %s) has another table of algorithms: use the same Yunjin on all "
                      "ranks",
                      hello->rank, hello->member.name);
    *to = c->pending[i];
    to->member = hello->rank;
    c->pending[i] = c->pending[--c->npending];
    c->world->member[hello->rank] = hello->member;
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getpeername(to->wire.fd, (struct sockaddr *)&a, &n) == 0) {
        char ip[64], port[16];
        address_text(&a, false, ip, sizeof ip);
        snprintf(port, sizeof port, "%.15s", hello->member.address);
        snprintf(c->world->member[hello->rank].address, sizeof hello->member.address, "%.47s%.15s", ip, port);
    }
    ++*have;
    return YJ_OK;
}

static enum yj_status gather(struct control *c, double until) {
    int have = 0;
    while (have < c->nlinks - 1) {
        double left = until - time_now();
        if (left <= 0) return missing(c, have);
        struct pollfd p[MOST_PENDING + 1];
        int n = 0;
        p[n++] = (struct pollfd){c->rendezvous, POLLIN, 0};
        for (int i = 0; i < c->npending; i++)
            p[n++] = (struct pollfd){c->pending[i].wire.fd, POLLIN, 0};
        poll(p, (nfds_t)n, left > 0.2 ? 200 : (int)(left * 1000) + 1);
        links_accept(c, c->rendezvous);
        for (int i = c->npending; i-- > 0;) {
            struct hello hello;
            bool known;
            if (!links_hello(c, &c->pending[i], &hello, &known))
                links_drop(c, i);
            else if (known)
                TRY(seat(c, i, &hello, &have));
        }
    }
    return YJ_OK;
}

static enum yj_status send_all(struct control *c, const void *data, size_t bytes, double until) {
    for (int r = 1; r < c->nlinks; r++)
        TRY(wire_put(&c->link[r].wire, data, (uint32_t)bytes));
    for (int r = 1; r < c->nlinks; r++)
        while (wire_has_output(&c->link[r].wire)) {
            TRY(wire_flush(&c->link[r].wire));
            struct pollfd p = {c->link[r].wire.fd, POLLOUT, 0};
            if (wire_has_output(&c->link[r].wire)) poll(&p, 1, 100);
            if (time_now() > until) return report(YJ_ERR_TIMEOUT, "open: rank %d does not take the table", r);
        }
    return YJ_OK;
}

static enum yj_status first_rank(struct control *c, bool (*share)(struct world *), double until) {
    struct world *w = c->world;
    TRY(gather(c, until));
    size_t bytes = sizeof(struct table) + (size_t)w->size * sizeof *w->member;
    struct table *t = malloc(bytes);
    if (!t) return report(YJ_ERR_MEMORY, "open: out of memory for the table of %d ranks", w->size);
    table_settings(w, t, false);
    memcpy(t + 1, w->member, (size_t)w->size * sizeof *w->member);
    enum yj_status status = send_all(c, t, bytes, until);
    free(t);
    TRY(status);
    w->member[0].shares = share(w);
    uint8_t *shares = malloc((size_t)w->size);
    if (!shares) return report(YJ_ERR_MEMORY, "open: out of memory");
    for (int r = 1; r < w->size && status == YJ_OK; r++) {
        const void *said;
        uint32_t n;
        status = wire_get_wait(&c->link[r].wire, until, &said, &n);
        if (status == YJ_OK && n != 1) status = report(YJ_ERR_IO, "open: rank %d answers nonsense", r);
        if (status == YJ_OK)
            w->member[r].shares = *(const uint8_t *)said;
        else
            report_in(status, "open: rank %d (host %s)", r, w->member[r].name);
    }
    for (int r = 0; r < w->size; r++)
        shares[r] = (uint8_t)w->member[r].shares;
    if (status == YJ_OK) status = send_all(c, shares, (size_t)w->size, until);
    free(shares);
    return status;
}

/* Connects to rank 0, again and again until it listens and proves that it has the key. */
static enum yj_status reach(struct control *c, const char *address, double until) {
    struct world *w = c->world;
    struct hello hello = {.purpose = PURPOSE_CONTROL,
                          .rank = w->rank,
                          .size = w->size,
                          .tables = algorithm_table_hash(),
                          .member = w->member[w->rank]};
    enum yj_status status = report(YJ_ERR_TIMEOUT, "open: the deadline leaves no time");
    for (int attempt = 0; time_now() < until; attempt++) {
        int fd;
        status = socket_connect(address, attempt, until, &fd);
        if (status == YJ_ERR_INPUT) return status;
        if (status == YJ_OK) {
            struct wire *wire = &c->link[0].wire;
            const void *payload;
            uint32_t bytes;
            TRY(wire_open(fd, true, c->key, wire));
            while ((status = wire_get(wire, &payload, &bytes)) == YJ_OK && !wire->open && time_now() < until) {
                if ((status = wire_flush(wire)) != YJ_OK) break;
                struct pollfd p = {fd, POLLIN, 0};
                poll(&p, 1, 100);
            }
            if (status == YJ_OK && wire->open) return wire_put(wire, &hello, sizeof hello);
            bool turned_away = wire->closed;
            wire_close(wire);
            if (status == YJ_ERR_UNSUPPORTED) return status;
            if (turned_away) status = report(YJ_ERR_IO, "who listens there closes the connection: it has another key");
        }
        usleep(attempt < 50 ? 2000 : 50000);
    }
    return report_in(status, "open: rank 0 is not reached at '%s' before the deadline", address);
}

static enum yj_status other_rank(struct control *c, const char *address, bool (*share)(struct world *), double until) {
    struct world *w = c->world;
    TRY(reach(c, address, until));
    struct wire *wire = &c->link[0].wire;
    const void *said;
    uint32_t n;
    TRY(wire_get_wait(wire, until, &said, &n));
    size_t members = (size_t)w->size * sizeof *w->member;
    if (n != sizeof(struct table) + members) return report(YJ_ERR_IO, "open: the table of members has a wrong size");
    struct table t;
    memcpy(&t, said, sizeof t);
    memcpy(w->member, (const char *)said + sizeof t, members);
    table_settings(w, &t, true);
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    if (getpeername(wire->fd, (struct sockaddr *)&a, &size) == 0) {
        char ip[64], port[16];
        address_text(&a, false, ip, sizeof ip);
        snprintf(port, sizeof port, "%.15s", w->member[0].address);
        snprintf(w->member[0].address, sizeof w->member[0].address, "%.47s%.15s", ip, port);
    }
    uint8_t mine = share(w);
    TRY(wire_put(wire, &mine, 1));
    TRY(wire_get_wait(wire, until, &said, &n));
    if (n != (uint32_t)w->size) return report(YJ_ERR_IO, "open: rank 0 answers nonsense");
    for (int r = 0; r < w->size; r++)
        w->member[r].shares = ((const uint8_t *)said)[r];
    return YJ_OK;
}

enum yj_status links_join(struct control *c, const char *address, bool (*share)(struct world *), double until) {
    struct world *w = c->world;
    int port = 0;
    TRY(data_listen(!strncmp(address, "unix:", 5), &c->listener, &port));
    snprintf(w->member[w->rank].address, sizeof w->member[w->rank].address, ":%d", port);
    if (w->rank) return other_rank(c, address, share, until);
    if (c->rendezvous < 0) TRY(socket_listen(address, &c->rendezvous));
    return first_rank(c, share, until);
}

/* --- data connections, made --- */

enum yj_status control_connect(struct world *world, int member, uint64_t id, int *fd) {
    struct control *c = world->control;
    double until = time_now() + world->settings.deadline;
    struct hello hello = {.purpose = PURPOSE_DATA, .rank = world->rank, .size = world->size, .to = member, .comm = id};
    const char *address = world->member[member].address;
    int got;
    enum yj_status status = socket_connect(address, 0, until, &got);
    struct wire wire = {.fd = -1};
    if (status == YJ_OK) status = wire_open(got, true, c->key, &wire);
    const void *payload;
    uint32_t bytes;
    while (status == YJ_OK && !wire.open) {
        status = wire_get(&wire, &payload, &bytes);
        if (status == YJ_OK) status = wire_flush(&wire);
        struct pollfd p = {wire.fd, POLLIN, 0};
        if (status == YJ_OK && !wire.open) poll(&p, 1, 100);
        if (status == YJ_OK && time_now() > until) status = report(YJ_ERR_TIMEOUT, "no answer before the deadline");
        if (status == YJ_OK && world->member[member].state == MEMBER_DEAD) status = report(YJ_ERR_PEER, "it is dead");
    }
    if (status == YJ_OK) status = wire_put(&wire, &hello, sizeof hello);
    while (status == YJ_OK && wire_has_output(&wire))
        status = wire_flush(&wire);
    if (status == YJ_OK) {
        *fd = wire.fd;
        wire.fd = -1;
    }
    wire_close(&wire);
    return status == YJ_OK ? YJ_OK
                           : report_in(status, "data connection to rank %d (%s, host %s)", member, address,
                                       world->member[member].name);
}

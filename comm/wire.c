/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames with a keyed BLAKE2b MAC (libsodium). One idea: a frame is accepted only in its own place, because its number
 * and direction are under the MAC.
 */
#include "comm/wire.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAC_BYTES = 32, BEFORE_OPEN = 256, AFTER_OPEN = 64 << 20 };

struct greeting {
    char magic[8];
    uint32_t version_least, version_most;
    uint64_t features;
    uint8_t nonce[32];
};
static const char magic[8] = "YUNJIN\r\n";

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian; convert here");

static void mac_of(const struct wire *wire, bool from_client, uint64_t number, const void *payload, uint32_t bytes,
                   uint8_t *mac) {
    struct {
        uint64_t number;
        uint32_t bytes, direction;
    } head = {number, bytes, from_client};
    crypto_generichash_state state;
    crypto_generichash_init(&state, wire->key, WIRE_KEY_BYTES, MAC_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)&head, sizeof head);
    crypto_generichash_update(&state, payload, bytes);
    crypto_generichash_final(&state, mac, MAC_BYTES);
}

static enum yj_status room_for(uint8_t **data, size_t *room, size_t need) {
    if (need <= *room) return YJ_OK;
    size_t more = need * 2;
    uint8_t *p = realloc(*data, more);
    if (!p) return report(YJ_ERR_MEMORY, "out of memory for a control message of %zu bytes", need);
    *data = p;
    *room = more;
    return YJ_OK;
}

static enum yj_status queue(struct wire *wire, const void *payload, uint32_t bytes) {
    if (wire->out_at == wire->out_n) wire->out_at = wire->out_n = 0;
    TRY(room_for(&wire->out, &wire->out_room, wire->out_n + 4 + MAC_BYTES + bytes));
    uint8_t *at = wire->out + wire->out_n;
    memcpy(at, &bytes, 4);
    mac_of(wire, wire->client, wire->sent++, payload, bytes, at + 4);
    memcpy(at + 4 + MAC_BYTES, payload, bytes);
    wire->out_n += 4 + MAC_BYTES + (size_t)bytes;
    return YJ_OK;
}

static enum yj_status greet(struct wire *wire) {
    struct greeting mine = {.version_least = WIRE_VERSION_LEAST, .version_most = WIRE_VERSION_MOST};
    memcpy(mine.magic, magic, sizeof magic);
    memcpy(mine.nonce, wire->nonce, sizeof mine.nonce);
    wire->greeted = true;
    return queue(wire, &mine, sizeof mine);
}

enum yj_status wire_open(int fd, bool client, const uint8_t *job_key, struct wire *wire) {
    memset(wire, 0, sizeof *wire);
    wire->fd = fd;
    wire->client = client;
    memcpy(wire->key, job_key, WIRE_KEY_BYTES);
    randombytes_buf(wire->nonce, sizeof wire->nonce);
    return client ? greet(wire) : YJ_OK;
}

void wire_close(struct wire *wire) {
    if (wire->fd >= 0) close(wire->fd);
    free(wire->body);
    free(wire->out);
    sodium_memzero(wire->key, sizeof wire->key);
    wire->fd = -1;
    wire->body = wire->out = NULL;
    wire->out_n = wire->out_at = wire->out_room = wire->body_room = 0;
}

enum yj_status wire_put(struct wire *wire, const void *payload, uint32_t bytes) {
    if (!wire->open) return report(YJ_ERR_INTERNAL, "a control message before the handshake");
    return queue(wire, payload, bytes);
}

enum yj_status wire_flush(struct wire *wire) {
    while (wire->fd >= 0 && wire_has_output(wire)) {
        ssize_t n = send(wire->fd, wire->out + wire->out_at, wire->out_n - wire->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return YJ_OK;
        if (n < 0) {
            wire->closed = true;
            return report(YJ_ERR_IO, "a control connection was lost: %s", strerror(errno));
        }
        wire->out_at += (size_t)n;
    }
    return YJ_OK;
}

/* Reads up to WANT - *HAVE bytes; sets *HAVE. YJ_OK also when nothing is there. */
static enum yj_status fill(struct wire *wire, uint8_t *to, size_t want, size_t *have) {
    while (*have < want) {
        ssize_t n = recv(wire->fd, to + *have, want - *have, MSG_DONTWAIT);
        if (n > 0) {
            *have += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return YJ_OK;
        wire->closed = true;
        return report(YJ_ERR_IO, "a control connection was lost: %s", n ? strerror(errno) : "closed by the other side");
    }
    return YJ_OK;
}

static enum yj_status greeting_take(struct wire *wire) {
    struct greeting theirs;
    if (wire->body_bytes < sizeof theirs) return report(YJ_ERR_IO, "a greeting is too short");
    memcpy(&theirs, wire->body, sizeof theirs); /* longer ones come from later versions */
    if (memcmp(theirs.magic, magic, sizeof magic)) return report(YJ_ERR_IO, "a greeting is not Yunjin's");
    uint32_t most = theirs.version_most < WIRE_VERSION_MOST ? theirs.version_most : WIRE_VERSION_MOST;
    uint32_t least = theirs.version_least > WIRE_VERSION_LEAST ? theirs.version_least : WIRE_VERSION_LEAST;
    if (!wire->greeted) TRY(greet(wire));
    if (most < least)
        return report(YJ_ERR_UNSUPPORTED,
                      "the peer speaks wire versions %u to %u, this library %u to %u: "
                      "use the same Yunjin on all ranks",
                      theirs.version_least, theirs.version_most, WIRE_VERSION_LEAST, WIRE_VERSION_MOST);
    wire->version = most;
    crypto_generichash_state state;
    crypto_generichash_init(&state, wire->key, WIRE_KEY_BYTES, WIRE_KEY_BYTES);
    crypto_generichash_update(&state, wire->client ? wire->nonce : theirs.nonce, 32);
    crypto_generichash_update(&state, wire->client ? theirs.nonce : wire->nonce, 32);
    crypto_generichash_final(&state, wire->key, WIRE_KEY_BYTES);
    wire->open = true;
    return YJ_OK;
}

enum yj_status wire_get(struct wire *wire, const void **payload, uint32_t *bytes) {
    *payload = NULL;
    for (;;) {
        TRY(fill(wire, wire->head, sizeof wire->head, &wire->head_n));
        if (wire->head_n < sizeof wire->head) return YJ_OK;
        memcpy(&wire->body_bytes, wire->head, 4);
        if (wire->body_bytes > (wire->open ? AFTER_OPEN : BEFORE_OPEN))
            return report(YJ_ERR_IO, "a control message claims %u bytes", wire->body_bytes);
        TRY(room_for(&wire->body, &wire->body_room, wire->body_bytes + 1u));
        TRY(fill(wire, wire->body, wire->body_bytes, &wire->body_n));
        if (wire->body_n < wire->body_bytes) return YJ_OK;
        uint8_t mac[MAC_BYTES];
        mac_of(wire, !wire->client, wire->received++, wire->body, wire->body_bytes, mac);
        if (sodium_memcmp(mac, wire->head + 4, MAC_BYTES))
            return report(YJ_ERR_IO, "a control message has a wrong MAC: the other side has not this job's key");
        wire->head_n = wire->body_n = 0;
        if (wire->open) {
            *payload = wire->body;
            *bytes = wire->body_bytes;
            return YJ_OK;
        }
        TRY(greeting_take(wire));
    }
}

enum yj_status wire_get_wait(struct wire *wire, double until, const void **payload, uint32_t *bytes) {
    for (;;) {
        TRY(wire_get(wire, payload, bytes));
        TRY(wire_flush(wire));
        if (*payload) return YJ_OK;
        double left = until - time_now();
        if (left <= 0) return report(YJ_ERR_TIMEOUT, "no answer on a control connection before the deadline");
        struct pollfd p = {wire->fd, (short)(POLLIN | (wire_has_output(wire) ? POLLOUT : 0)), 0};
        poll(&p, 1, left > 1 ? 1000 : (int)(left * 1000) + 1);
    }
}

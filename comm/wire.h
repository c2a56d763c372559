/* SPDX-License-Identifier: Apache-2.0
 *
 * One authenticated connection: frames of [length u32][MAC 32][payload]. The MAC covers direction, number and payload,
 * so nothing is replayed or reflected, and it is checked before a byte of the payload is parsed. Both sides open with a
 * greeting under the job's key; its nonces make the session's key. Reads never go past the frame that is being read, so
 * that after the handshake a data connection goes on with raw bytes.
 */
#ifndef COMM_WIRE_H
#define COMM_WIRE_H

#include "runtime/base/base.h"

enum { WIRE_KEY_BYTES = 32, WIRE_VERSION_LEAST = 2, WIRE_VERSION_MOST = 2 };

struct wire {
    int fd; /* non-blocking, owned; -1: none */
    bool client, greeted, closed;
    bool open;        /* greetings were exchanged: frames follow */
    uint32_t version; /* agreed on, once open */
    uint8_t key[WIRE_KEY_BYTES], nonce[32];
    uint64_t sent, received; /* frames */
    uint8_t head[36];
    size_t head_n, body_n, body_room;
    uint32_t body_bytes;
    uint8_t *body;
    uint8_t *out;
    size_t out_n, out_at, out_room;
};

/* Takes FD. The client sends its greeting with the first flush. */
enum yj_status wire_open(int fd, bool client, const uint8_t *job_key, struct wire *wire);
void wire_close(struct wire *wire);
/* Queues a frame. */
enum yj_status wire_put(struct wire *wire, const void *payload, uint32_t bytes);
/* Writes what the socket takes now. */
enum yj_status wire_flush(struct wire *wire);
/* Reads what is there; PAYLOAD is the next whole frame, valid until the next call, or NULL when there is none yet.
 * An error: the other side has closed (wire.closed), has not the job's key, or does not speak our version. */
enum yj_status wire_get(struct wire *wire, const void **payload, uint32_t *bytes);
/* Flushes and reads until a frame is there or the time is UNTIL (time_now); for the handshakes of open. */
enum yj_status wire_get_wait(struct wire *wire, double until, const void **payload, uint32_t *bytes);
static inline bool wire_has_output(const struct wire *wire) {
    return wire->out_at < wire->out_n;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a call right, and what does it mean for this rank? Everything that one rank can know to be wrong is refused here,
 * before anything is sent.
 */
#include "comm/check.h"
#include "comm/engine.h"
#include "comm/reduce.h"

#include <stdlib.h>

/* A caller of the first version knows no fields after QUEUE. */
enum { LEAST_CALL_BYTES = offsetof(struct yj_call, displs) };

static enum yj_status widen(const struct yj_call *call, struct checked *k) {
    k->call = call;
    if (call->size >= sizeof *call) return YJ_OK;
    if (call->size < LEAST_CALL_BYTES)
        return report(YJ_ERR_INPUT, "yj_call.size is %u: set it to sizeof(struct yj_call)", call->size);
    memset(&k->wide, 0, sizeof k->wide);
    memcpy(&k->wide, call, call->size);
    k->call = &k->wide;
    return YJ_OK;
}

static enum yj_status check_fields(const struct yj_comm *comm, const struct yj_call *call, const struct collective *c) {
    if (c->rooted && (call->root < 0 || call->root >= comm->size))
        return report(YJ_ERR_INPUT, "%s: rank %d is not one of %d", c->name, call->root, comm->size);
    if (is_pair(call->collective) && call->root == comm->rank)
        return report(YJ_ERR_INPUT, "%s: rank %d is this rank", c->name, call->root);
    if (call->wire_dtype && call->wire_dtype != call->dtype)
        return report(YJ_ERR_UNSUPPORTED, "%s: a wire type other than the element type", c->name);
    if (call->queue) return report(YJ_ERR_UNSUPPORTED, "%s: a queue other than the host's", c->name);
    if (call->flags & ~(uint32_t)(YJ_CALL_READY | YJ_CALL_CANONICAL))
        return report(YJ_ERR_INPUT, "%s: flags %#x are unknown", c->name, call->flags);
    if (!(call->deadline >= 0)) return report(YJ_ERR_INPUT, "%s: the deadline is negative", c->name);
    bool own = c->in == HOLD_OWN || c->out == HOLD_OWN;
    if (call->counts && !own && c->worth != WORTH_TURN)
        return report(YJ_ERR_INPUT, "%s takes COUNT, not COUNTS", c->name);
    if (call->displs && !call->counts) return report(YJ_ERR_INPUT, "%s: DISPLS without COUNTS", c->name);
    bool turn = c->worth == WORTH_TURN && call->counts;
    if (turn != (call->recv_counts != NULL) || (call->recv_displs && !turn))
        return report(YJ_ERR_INPUT, "%s: RECV_COUNTS and RECV_DISPLS go with the COUNTS of all_to_all", c->name);
    return YJ_OK;
}

static enum yj_status too_many(const struct collective *c) {
    return report(YJ_ERR_INPUT, "%s: so many elements are more than memory can hold", c->name);
}

static bool fits_memory(uint64_t elements, size_t element_bytes) {
    size_t bytes;
    return !__builtin_mul_overflow(elements, element_bytes, &bytes) && bytes <= SIZE_MAX / 4;
}

/* --- blocks that are alike --- */

static enum yj_status even(const struct yj_comm *comm, struct checked *k) {
    const struct collective *c = k->collective;
    const struct yj_call *call = k->call;
    bool each = c->in == HOLD_OWN || c->out == HOLD_OWN || c->worth == WORTH_TURN;
    if (__builtin_mul_overflow(call->count, each ? (uint64_t)comm->size : 1, &k->total) ||
        !fits_memory(k->total, k->element_bytes))
        return report(YJ_ERR_INPUT, "%s: %llu elements are too many", c->name, (unsigned long long)call->count);
    for (int side = 0; side < 2; side++) {
        enum holding h = side == SIDE_IN ? c->in : c->out;
        k->part[side] = !holds(h, comm->rank, call->root) ? 0 : h == HOLD_OWN ? call->count : k->total;
        k->at[side] = h == HOLD_OWN ? (uint64_t)comm->rank * call->count : 0;
    }
    return YJ_OK;
}

/* --- blocks with counts --- */

/* One side's rows of the table, from COUNTS and DISPLS of the call (ALL: else only this rank's entry is there). */
static enum yj_status fill_side(const struct yj_comm *comm, struct checked *k, int side, bool all, uint64_t *table,
                                const uint64_t *counts, const uint64_t *displs) {
    size_t size = (size_t)comm->size;
    uint64_t *count = table + (size_t)(TABLE_COUNTS + side) * size,
             *displ = table + (size_t)(TABLE_DISPLS + side) * size;
    uint64_t before = 0, end, last = 0;
    for (size_t b = 0; b < size; b++) {
        count[b] = all || (int)b == comm->rank ? counts[b] : 0;
        displ[b] = displs && all ? displs[b] : before;
        if (__builtin_add_overflow(before, count[b], &before) || __builtin_add_overflow(displ[b], count[b], &end) ||
            !fits_memory(end, k->element_bytes))
            return too_many(k->collective);
        if (count[b] && end > last) last = end;
    }
    if (!fits_memory(before, k->element_bytes)) return too_many(k->collective);
    enum holding h = side == SIDE_IN ? k->collective->in : k->collective->out;
    k->part[side] = !holds(h, comm->rank, k->call->root) ? 0 : h == HOLD_OWN ? count[comm->rank] : last;
    k->at[side] = h == HOLD_OWN ? displ[comm->rank] : 0;
    k->total = before;
    return YJ_OK;
}

static enum yj_status uneven(struct yj_comm *comm, struct checked *k) {
    const struct yj_call *call = k->call;
    struct engine *e = comm->engine;
    size_t size = (size_t)comm->size;
    if (!e->table && !(e->table = calloc(TABLE_ROWS * size, sizeof *e->table)))
        return report(YJ_ERR_MEMORY, "%s: out of memory", k->collective->name);
    uint64_t *t = e->table;
    bool all = !k->collective->rooted || call->root == comm->rank, turn = k->collective->worth == WORTH_TURN;
    TRY(fill_side(comm, k, SIDE_OUT, all, t, turn ? call->recv_counts : call->counts,
                  turn ? call->recv_displs : call->displs));
    TRY(fill_side(comm, k, SIDE_IN, all, t, call->counts, call->displs));
    uint64_t *tight = t + TABLE_TIGHT * size;
    tight[0] = 0;
    for (size_t b = 1; b < size; b++)
        tight[b] = tight[b - 1] + t[b - 1];
    k->table = t;
    if (turn && t[comm->rank] != t[size + (size_t)comm->rank])
        return report(YJ_ERR_INPUT, "%s: rank %d gives itself %llu elements and takes %llu", k->collective->name,
                      comm->rank, (unsigned long long)t[comm->rank], (unsigned long long)t[size + (size_t)comm->rank]);
    return YJ_OK;
}

/* --- buffers --- */

bool check_in_place(const struct yj_comm *comm, const struct collective *c, int root, const size_t at[2],
                    const void *send, const void *recv) {
    if (!holds(c->in, comm->rank, root) || !holds(c->out, comm->rank, root) || c->worth == WORTH_HEARD) return false;
    return (uintptr_t)send - at[SIDE_IN] == (uintptr_t)recv - at[SIDE_OUT];
}

/* Blocks of one number lie at one place on both sides. */
static bool sides_agree(const struct yj_comm *comm, const struct checked *k) {
    size_t size = (size_t)comm->size, bytes = size * sizeof *k->table;
    return !k->table || (!memcmp(k->table, k->table + size, bytes) &&
                         !memcmp(k->table + TABLE_DISPLS * size, k->table + (TABLE_DISPLS + 1) * size, bytes));
}

static bool overlap(const void *a, size_t na, const void *b, size_t nb) {
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return na && nb && x < y + nb && y < x + na;
}

static enum yj_status check_buffers(const struct yj_comm *comm, struct checked *k) {
    const struct yj_call *call = k->call;
    const char *name = k->collective->name;
    size_t bytes[2], at[2];
    for (int side = 0; side < 2; side++)
        bytes[side] = k->part[side] * k->element_bytes, at[side] = k->at[side] * k->element_bytes;
    if (bytes[SIDE_IN] && !call->send) return report(YJ_ERR_INPUT, "%s: the send buffer is NULL", name);
    if (bytes[SIDE_OUT] && !call->recv) return report(YJ_ERR_INPUT, "%s: the receive buffer is NULL", name);
    k->in_place = check_in_place(comm, k->collective, call->root, at, call->send, call->recv) && sides_agree(comm, k);
    if (!k->in_place && overlap(call->send, bytes[SIDE_IN], call->recv, bytes[SIDE_OUT]))
        return report(YJ_ERR_INPUT, "%s: the buffers overlap and are not in place", name);
    if (k->in_place && k->collective->worth == WORTH_TURN && call->flags & YJ_CALL_READY)
        return report(YJ_ERR_UNSUPPORTED, "%s: in place, and not ready at the start", name);
    return YJ_OK;
}

enum yj_status check_call(struct yj_comm *comm, const struct yj_call *call, struct checked *k) {
    TRY(widen(call, k));
    call = k->call;
    const struct collective *c = k->collective = collective_find((int)call->collective);
    if (!c) return report(YJ_ERR_INPUT, "collective %u is unknown", call->collective);
    TRY(check_fields(comm, call, c));
    k->table = NULL;
    k->element_bytes = 1, k->total = 0;
    k->part[0] = k->part[1] = k->at[0] = k->at[1] = 0;
    k->in_place = false;
    if (c->worth == WORTH_HEARD) return YJ_OK;
    if (c->worth == WORTH_SUM) TRY(reduce_check(call->dtype, call->op));
    k->element_bytes = yj_dtype_bytes((enum yj_dtype)call->dtype);
    if (!k->element_bytes) return report(YJ_ERR_INPUT, "%s: element type %u is unknown", c->name, call->dtype);
    TRY(call->counts ? uneven(comm, k) : even(comm, k));
    return check_buffers(comm, k);
}

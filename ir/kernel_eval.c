/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain interpreter: what a kernel means. The one idea: it is as unkind as the form allows. Tiles and the
 * iterations of vector and lane loops come in random order, asynchronous copies arrive at their wait, local memory
 * starts undefined, and shadow memory knows who wrote what: so a kernel that passes under several seeds does not depend
 * on luck. kernel_resolve.c resolves names to slots and shapes to numbers before the first tile runs.
 */
#include "ir/kernel_eval.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void run_stop(struct run *r, enum yj_status status, const char *format, ...) {
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct text line = {0};
    if (r->at) stmt_print(&line, r->at);
    r->status = report(status, "kernel %s, tile %" PRId64 ": %.300s%s%s", r->k->name, r->tile,
                       line.data ? line.data : "", r->at ? ": " : "", message);
    text_free(&line);
    longjmp(r->out, 1);
}

/* --- random order --- */

static uint64_t next_random(struct run *r) {
    uint64_t z = r->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Position i of N goes to (i * stride + first) mod N, with a stride that N does not share a divisor with. */
struct order {
    int64_t n, stride, first;
};

static struct order draw_order(struct run *r, int64_t n) {
    struct order o = {n, 1, 0};
    if (!r->random || n < 2 || n > UINT32_MAX) return o;
    o.first = (int64_t)(next_random(r) % (uint64_t)n);
    for (;;) {
        o.stride = 1 + (int64_t)(next_random(r) % (uint64_t)n);
        int64_t a = o.stride, b = n;
        while (b) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return o;
    }
}

static int64_t order_at(const struct order *o, int64_t i) {
    return o->stride == 1 ? (i + o->first) % o->n
                          : (int64_t)(((uint64_t)i * (uint64_t)o->stride + (uint64_t)o->first) % (uint64_t)o->n);
}

/* --- memory --- */

static uint64_t read_bits(const void *p, size_t each) {
    uint64_t bits = 0;
    memcpy(&bits, p, each); /* little-endian, as every machine Yunjin runs on */
    return bits;
}

static uint64_t *slot_of(struct run *r, const struct node *n) {
    return &r->slot[n->slot];
}

/* Which element of its buffer the subscripts name. */
static int64_t locate(struct run *r, const struct memory *m, struct node *const *subs) {
    int64_t at = 0;
    for (int i = 0; i < m->b->rank; i++) {
        int64_t s = (int64_t)subs[i]->value(r, subs[i]);
        if (s < 0 || s >= m->extent[i])
            run_stop(r, YJ_ERR_INTERNAL, "subscript %d of %s is %" PRId64 ", the extent is %" PRId64, i, m->b->name, s,
                     m->extent[i]);
        at = at * m->extent[i] + s;
    }
    return at;
}

static int64_t lane_base(const struct run *r, const struct memory *m) {
    return m->b->space == SPACE_REG ? r->lane * m->n : 0;
}

static void note_read(struct run *r, struct memory *m, int64_t at) {
    if (m->state && m->state[at] != DEFINED)
        run_stop(r, YJ_ERR_INTERNAL,
                 m->state[at] == PENDING ? "reads %s before the copy into it was waited for"
                                         : "reads undefined memory of %s",
                 m->b->name);
    if (m->tile && m->tile[at] != (uint32_t)(r->tile + 1) && (m->tile[at] || m->b->role == ROLE_OUT))
        run_stop(r, YJ_ERR_INTERNAL,
                 m->tile[at] ? "reads an element of %s that another tile wrote"
                             : "reads an element of output %s that was not written",
                 m->b->name);
    if (!m->touch || !r->lanes) return;
    struct touch *t = &m->touch[at];
    if (t->write_epoch == r->epoch && t->writer != r->lane)
        run_stop(r, YJ_ERR_INTERNAL, "reads an element of %s that another lane wrote, with no barrier between",
                 m->b->name);
    t->reader = t->read_epoch == r->epoch && t->reader != r->lane ? -1 : r->lane;
    t->read_epoch = r->epoch;
}

static void note_write(struct run *r, struct memory *m, int64_t at) {
    if (m->state && m->state[at] == PENDING)
        run_stop(r, YJ_ERR_INTERNAL, "writes %s before the copy into it was waited for", m->b->name);
    if (m->tile) {
        if (m->tile[at] && m->tile[at] != (uint32_t)(r->tile + 1))
            run_stop(r, YJ_ERR_INTERNAL, "writes an element of %s that another tile wrote", m->b->name);
        m->tile[at] = (uint32_t)(r->tile + 1);
    }
    if (m->state) m->state[at] = DEFINED;
    if (!m->touch || !r->lanes) return;
    struct touch *t = &m->touch[at];
    bool written = t->write_epoch == r->epoch && t->writer != r->lane,
         read = t->read_epoch == r->epoch && t->reader != r->lane;
    if (written || read)
        run_stop(r, YJ_ERR_INTERNAL, "writes an element of %s that another lane %s, with no barrier between",
                 m->b->name, written ? "wrote" : "reads");
    t->write_epoch = r->epoch;
    t->writer = r->lane;
}

static uint64_t load(struct run *r, struct memory *m, int64_t at) {
    note_read(r, m, at);
    uint64_t bits = read_bits(m->data + (size_t)at * m->each, m->each);
    return m->b->dtype == YJ_BOOL ? bits != 0 : bits;
}

static void store(struct run *r, struct memory *m, int64_t at, uint64_t bits) {
    note_write(r, m, at);
    memcpy(m->data + (size_t)at * m->each, &bits, m->each);
}

/* --- expressions --- */

uint64_t node_const(struct run *r, const struct node *n) {
    return n->constant;
}

uint64_t node_slot(struct run *r, const struct node *n) {
    return *slot_of(r, n);
}

uint64_t node_load(struct run *r, const struct node *n) {
    int64_t at = locate(r, n->memory, n->arg);
    return load(r, n->memory, lane_base(r, n->memory) + at);
}

uint64_t node_op(struct run *r, const struct node *n) {
    uint64_t args[3];
    for (int i = 0; i < n->n; i++)
        args[i] = n->arg[i]->value(r, n->arg[i]);
    return scalar_eval(n->op, n->from, args);
}

uint64_t node_cast(struct run *r, const struct node *n) {
    return scalar_cast(n->dtype, n->from, n->arg[0]->value(r, n->arg[0]));
}

uint64_t node_same(struct run *r, const struct node *n) {
    return n->arg[0]->value(r, n->arg[0]);
}

static float f32_of(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    float f;
    memcpy(&f, &low, sizeof f);
    return f;
}

static uint64_t of_f32(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

uint64_t node_add_f32(struct run *r, const struct node *n) {
    return of_f32(f32_of(n->arg[0]->value(r, n->arg[0])) + f32_of(n->arg[1]->value(r, n->arg[1])));
}

uint64_t node_mul_f32(struct run *r, const struct node *n) {
    return of_f32(f32_of(n->arg[0]->value(r, n->arg[0])) * f32_of(n->arg[1]->value(r, n->arg[1])));
}

uint64_t node_dim(struct run *r, const struct node *n) {
    int64_t a = (int64_t)n->arg[0]->value(r, n->arg[0]), b = (int64_t)n->arg[1]->value(r, n->arg[1]), c = 0;
    bool bad = false;
    switch ((enum dim_op)n->op) {
    case DIM_ADD:
        bad = __builtin_add_overflow(a, b, &c);
        break;
    case DIM_MUL:
        bad = __builtin_mul_overflow(a, b, &c);
        break;
    case DIM_DIV:
    case DIM_MOD:
        bad = b == 0 || (a == INT64_MIN && b == -1);
        if (bad) break;
        c = a % b != 0 && (a % b < 0) != (b < 0);
        c = (enum dim_op)n->op == DIM_DIV ? a / b - c : a % b + (c ? b : 0);
        break;
    case DIM_MIN:
        c = min64(a, b);
        break;
    case DIM_MAX:
        c = max64(a, b);
        break;
    default:
        break;
    }
    if (bad) run_stop(r, YJ_ERR_INPUT, "a dim expression overflows or divides by zero");
    return (uint64_t)c;
}

/* --- statements --- */

static void run_body(struct run *r, const struct code *body);

static void set_slot(struct run *r, int slot, uint64_t value) {
    r->slot[slot] = value;
}

static int64_t number(struct run *r, const struct node *n) {
    return (int64_t)n->value(r, n);
}

static int64_t trips(struct run *r, const struct code *c, int64_t *from) {
    int64_t to = number(r, c->to), span;
    *from = number(r, c->from);
    if (to <= *from) return 0;
    if (__builtin_sub_overflow(to, *from, &span))
        run_stop(r, YJ_ERR_INPUT, "the range of %s overflows", c->s->axis->name);
    return (span - 1) / c->s->step + 1;
}

static void run_loop(struct run *r, const struct code *c) {
    int64_t from, n = trips(r, c, &from);
    if (n == 0) return;
    struct order order = {n, 1, 0};
    if (c->s->axis_kind == AXIS_VECTOR) order = draw_order(r, n);
    for (int64_t i = 0; i < n; i++) {
        set_slot(r, c->slot, (uint64_t)(from + order_at(&order, i) * c->s->step));
        run_body(r, c->body);
    }
}

static void run_buffer(struct run *r, struct memory *m) {
    int64_t base = lane_base(r, m);
    for (int64_t i = 0; i < m->n; i++)
        if (m->state[base + i] == PENDING)
            run_stop(r, YJ_ERR_INTERNAL, "%s ends before the copy into it was waited for", m->b->name);
    memset(m->state + base, UNDEFINED, (size_t)m->n);
    if (m->touch) memset(m->touch, 0, (size_t)m->n * sizeof *m->touch);
}

static void run_reduce(struct run *r, const struct code *c) {
    uint64_t part[64];
    int lanes = c->s->lanes;
    enum yj_dtype dtype = c->s->value->dtype;
    for (int i = 0; i < lanes; i++)
        part[i] = c->neutral;
    int64_t from, n = trips(r, c, &from);
    for (int64_t i = 0; i < n; i++) {
        set_slot(r, c->slot, (uint64_t)(from + i));
        uint64_t value = c->value->value(r, c->value);
        part[i % lanes] = scalar_eval(c->s->op, dtype, (uint64_t[]){part[i % lanes], value});
    }
    for (int half = lanes / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            part[i] = scalar_eval(c->s->op, dtype, (uint64_t[]){part[i], part[i + half]});
    set_slot(r, c->tile_slot[0], part[0]);
}

static uint64_t multiply_add(enum yj_dtype dtype, const struct node *const load[3], uint64_t c, uint64_t a,
                             uint64_t b) {
    enum yj_dtype from_a = load[1]->memory->b->dtype, from_b = load[2]->memory->b->dtype;
    uint64_t args[3] = {scalar_cast(dtype, from_a, a), scalar_cast(dtype, from_b, b), c};
    if (dtype == YJ_F32) return of_f32(fmaf(f32_of(args[0]), f32_of(args[1]), f32_of(c)));
    if (dtype == YJ_F64) return scalar_eval(SCALAR_fma, dtype, args);
    uint64_t product = scalar_eval(SCALAR_mul, dtype, args);
    return scalar_eval(SCALAR_add, dtype, (uint64_t[]){product, c});
}

static void run_fma_tile(struct run *r, const struct code *c) {
    const int *extent = c->s->tile_extent;
    const struct node *const load_of[3] = {c->load[0], c->load[1], c->load[2]};
    struct memory *m = c->load[0]->memory;
    struct order rows = draw_order(r, extent[0]), columns = draw_order(r, extent[1]);
    for (int k = 0; k < extent[2]; k++) {
        set_slot(r, c->tile_slot[2], (uint64_t)k);
        for (int i = 0; i < extent[0]; i++) {
            set_slot(r, c->tile_slot[0], (uint64_t)order_at(&rows, i));
            for (int j = 0; j < extent[1]; j++) {
                set_slot(r, c->tile_slot[1], (uint64_t)order_at(&columns, j));
                int64_t at = lane_base(r, m) + locate(r, m, load_of[0]->arg);
                uint64_t a = node_load(r, load_of[1]), b = node_load(r, load_of[2]);
                store(r, m, at, multiply_add(m->b->dtype, load_of, load(r, m, at), a, b));
            }
        }
    }
}

/* --- asynchronous copies --- */

/* Calls fn for each element of the box: its place in the target and in the source (-1: outside, reads as zero). */
static void each_element(struct run *r, struct pending *p,
                         void (*fn)(struct run *, struct pending *, int64_t n, int64_t to, int64_t from)) {
    const struct memory *to = p->c->memory, *from = p->c->source_memory;
    int64_t at[KERNEL_MAX_RANK] = {0};
    for (int64_t n = 0; n < p->n; n++) {
        int64_t target = 0, source = 0;
        bool outside = false;
        for (int i = 0; i < to->b->rank; i++) {
            int64_t s = p->from[i] + at[i];
            outside |= s < 0 || s >= from->extent[i];
            target = target * to->extent[i] + p->to[i] + at[i];
            source = source * from->extent[i] + (outside ? 0 : s);
        }
        fn(r, p, n, target, outside ? -1 : source);
        for (int i = to->b->rank; i-- > 0 && ++at[i] == p->size[i];)
            at[i] = 0;
    }
}

static void begin_element(struct run *r, struct pending *p, int64_t n, int64_t to, int64_t from) {
    struct memory *target = p->c->memory;
    p->box[n] = from < 0 ? 0 : load(r, p->c->source_memory, from);
    note_write(r, target, to);
    if (target->state) target->state[to] = PENDING;
}

static void end_element(struct run *r, struct pending *p, int64_t n, int64_t to, int64_t from) {
    struct memory *target = p->c->memory, *source = p->c->source_memory;
    if (from >= 0 && load(r, source, from) != p->box[n])
        run_stop(r, YJ_ERR_INTERNAL, "the source %s changed before the wait", source->b->name);
    memcpy(target->data + (size_t)to * target->each, &p->box[n], target->each);
    if (target->state) target->state[to] = DEFINED;
}

static void run_copy(struct run *r, const struct code *c) {
    struct pending *p = r->spare ? r->spare : NEW(r->arena, struct pending);
    const struct memory *to = c->memory;
    if (r->spare) r->spare = p->next;
    p->tag = c->s->tag;
    p->c = c;
    p->n = 1;
    for (int i = 0; i < to->b->rank; i++) {
        p->to[i] = number(r, c->subs[i]);
        p->from[i] = number(r, c->source[i]);
        p->size[i] = max64(0, number(r, c->extents[i]));
        if (p->size[i] > to->extent[i] || p->to[i] < 0 || p->to[i] > to->extent[i] - p->size[i])
            run_stop(r, YJ_ERR_INTERNAL, "the box leaves %s in dimension %d", to->b->name, i);
        p->n *= p->size[i];
    }
    if (p->room < p->n) p->box = NEW_ARRAY(r->arena, uint64_t, p->room = p->n);
    each_element(r, p, begin_element);
    p->next = r->pending;
    r->pending = p;
}

static void run_wait(struct run *r, int tag) {
    for (struct pending **at = &r->pending; *at;) {
        struct pending *p = *at;
        if (p->tag != tag) {
            at = &p->next;
            continue;
        }
        each_element(r, p, end_element);
        *at = p->next;
        p->next = r->spare;
        r->spare = p;
    }
}

/* --- lanes: between barriers each lane runs alone, in random order --- */

static void enter_lane(struct run *r, int lane) {
    r->lane = lane;
    r->slot = r->lane_slots[lane];
}

static void run_stmt(struct run *r, const struct code *c);

/* Statements up to the next one that holds a barrier, in every lane. */
static const struct code *run_between(struct run *r, const struct code *first) {
    const struct code *end = first;
    while (end && !end->has_barrier)
        end = end->next;
    struct order order = draw_order(r, r->lanes);
    for (int i = 0; i < r->lanes; i++) {
        enter_lane(r, (int)order_at(&order, i));
        for (const struct code *c = first; c != end; c = c->next)
            run_stmt(r, c);
    }
    enter_lane(r, 0);
    return end;
}

/* Loops and ifs that hold a barrier are the same for all lanes: the verifier saw to it. */
static void run_lanes(struct run *r, const struct code *body) {
    for (const struct code *c = body; c;) {
        if (!c->has_barrier) {
            c = run_between(r, c);
            continue;
        }
        r->at = c->s;
        int64_t from, n = c->s->kind == STMT_LOOP ? trips(r, c, &from) : 0;
        for (int64_t i = 0; i < n; i++) {
            for (int lane = 0; lane < r->lanes; lane++)
                r->lane_slots[lane][c->slot] = (uint64_t)(from + i * c->s->step);
            run_lanes(r, c->body);
        }
        if (c->s->kind == STMT_IF && c->value->value(r, c->value)) run_lanes(r, c->body);
        if (c->s->kind == STMT_BARRIER) r->epoch++;
        c = c->next;
    }
}

/* The nest of lane loops: numbers the lanes in row-major order and gives each a copy of the slots. */
static void run_lane_nest(struct run *r, const struct code *nest) {
    uint64_t *outside = r->slot;
    for (int lane = 0; lane < r->n_lanes; lane++)
        memcpy(r->lane_slots[lane], outside, (size_t)r->n_slots * sizeof *outside);
    int64_t inner = r->n_lanes, from;
    const struct code *c = nest;
    for (; c && c->s->kind == STMT_LOOP && c->s->axis_kind == AXIS_LANE; c = c->body) {
        int64_t n = trips(r, c, &from);
        if (n == 0) return;
        inner /= n;
        for (int lane = 0; lane < r->n_lanes; lane++)
            r->lane_slots[lane][c->slot] = (uint64_t)(from + lane / inner % n);
    }
    r->lanes = r->n_lanes;
    r->epoch++;
    enter_lane(r, 0);
    run_lanes(r, c);
    r->lanes = r->lane = 0;
    r->slot = outside;
}

/* --- all of it --- */

static void run_check(struct run *r, const struct code *c) {
    if (c->value->value(r, c->value) || !r->fault || r->fault->code) return;
    r->fault->code = c->s->fault_code;
    r->fault->value = number(r, c->fault_value);
}

static void run_stmt(struct run *r, const struct code *c) {
    const struct stmt *s = c->s;
    r->at = s;
    switch (s->kind) {
    case STMT_LOOP:
        if (s->axis_kind == AXIS_LANE)
            run_lane_nest(r, c);
        else
            run_loop(r, c);
        return;
    case STMT_IF:
        if (c->value->value(r, c->value)) run_body(r, c->body);
        return;
    case STMT_BUFFER:
        run_buffer(r, c->memory);
        return;
    case STMT_LET:
        set_slot(r, c->slot, c->value->value(r, c->value));
        return;
    case STMT_STORE: {
        uint64_t value = c->value->value(r, c->value);
        int64_t at = lane_base(r, c->memory) + locate(r, c->memory, c->subs);
        store(r, c->memory, at, value);
        return;
    }
    case STMT_REDUCE:
        run_reduce(r, c);
        return;
    case STMT_FMA_TILE:
        run_fma_tile(r, c);
        return;
    case STMT_BARRIER:
        return; /* run_lanes counts it */
    case STMT_PREFETCH:
        return;
    case STMT_COPY:
        run_copy(r, c);
        return;
    case STMT_WAIT:
        run_wait(r, s->tag);
        return;
    case STMT_CHECK:
        run_check(r, c);
        return;
    }
}

static void run_body(struct run *r, const struct code *body) {
    for (const struct code *c = body; c; c = c->next)
        run_stmt(r, c);
}

/* Tile number TILE, which counts row-major through the tile loops. */
static void run_tile(struct run *r) {
    const struct code *c = r->body, *loop[64];
    int n = 0;
    int64_t rest = r->tile, from;
    for (; n < 64 && c && c->s->kind == STMT_LOOP && c->s->axis_kind == AXIS_TILE; c = c->body)
        loop[n++] = c;
    while (n-- > 0) {
        int64_t count = trips(r, loop[n], &from);
        set_slot(r, loop[n]->slot, (uint64_t)(from + rest % count * loop[n]->s->step));
        rest /= count;
    }
    run_body(r, c);
    r->at = NULL;
    if (r->pending) run_stop(r, YJ_ERR_INTERNAL, "ends with copy %d under way", r->pending->tag);
}

static int64_t count_tiles(struct run *r) {
    int64_t n = 1, from;
    for (const struct code *c = r->body; c && c->s->kind == STMT_LOOP && c->s->axis_kind == AXIS_TILE; c = c->body)
        if (__builtin_mul_overflow(n, trips(r, c, &from), &n)) run_stop(r, YJ_ERR_INPUT, "too many tiles");
    return n;
}

static enum yj_status run_tiles(struct run *r) {
    if (setjmp(r->out)) return r->status;
    r->slot = NEW_ARRAY(r->arena, uint64_t, r->room + 1);
    r->body = run_resolve(r);
    r->lane_slots = NEW_ARRAY(r->arena, uint64_t *, r->n_lanes + 1);
    for (int i = 0; i < r->n_lanes; i++)
        r->lane_slots[i] = NEW_ARRAY(r->arena, uint64_t, r->n_slots + 1);
    int64_t n = r->end - r->begin;
    if (r->begin < 0 || n < 0 || r->end > count_tiles(r)) run_stop(r, YJ_ERR_INPUT, "there is no such range of tiles");
    struct order order = draw_order(r, max64(n, 1));
    for (int64_t i = 0; i < n; i++) {
        r->tile = r->begin + order_at(&order, i);
        run_tile(r);
    }
    return YJ_OK;
}

static enum yj_status guarded(void *argument) {
    return run_tiles(argument);
}

static void count_slots(void *user, struct stmt *s) {
    *(int *)user += s->kind == STMT_FMA_TILE ? 3 : s->kind == STMT_REDUCE ? 2 : 1;
}

enum yj_status kernel_eval(const struct kernel *k, void *const *buffer, const int64_t *scalar, int64_t begin,
                           int64_t end, uint64_t seed, struct yj_fault *fault) {
    struct arena *arena = arena_open();
    if (!arena) return report(YJ_ERR_MEMORY, "out of memory in kernel_eval");
    struct run r = {.k = k,
                    .arena = arena,
                    .scalar = scalar,
                    .buffer = buffer,
                    .begin = begin,
                    .end = end,
                    .fault = fault,
                    .random = seed};
    r.slots.arena = r.memories.arena = arena;
    int most = k->n_dims;
    kernel_walk(k->body, count_slots, &most);
    r.room = most;
    enum yj_status status = arena_guard(guarded, &r);
    arena_close(arena);
    return status;
}

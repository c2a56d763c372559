/* SPDX-License-Identifier: Apache-2.0
 *
 * The dim expressions of a plan as one list of slots in which operands come first: binding shapes is one pass over it.
 * Equal expressions share a slot, through kernels too, so a decoder's layers cost what one layer costs. An overflow or
 * a division by zero marks the slot and what depends on it; it is an error only if somebody asks for it.
 */
#include "runtime/program.h"

struct memo {
    const struct dim *d;
    int env, slot;
};

struct expr_builder {
    struct arena *arena, *work; /* WORK is gone after exprs_close */
    const struct plan *plan;
    struct exprs e;
    int room;
    struct memo *memo; /* (expression, environment) -> slot; room is a power of two */
    size_t n_memo, memo_room;
    int *same; /* hash of a slot's contents -> slot + 1 */
    size_t same_room;
    int env, n_envs; /* number of the environment at hand: 0 is the plan, then one a launch */
    const struct plan_kernel *kernel;
    const int *scalars;
};

enum { SLOT_SET = 100 }; /* a slot whose value is set from outside */

static size_t slot_hash(const struct slot *s) {
    int64_t key[4] = {s->op, s->a, s->b, s->op == SLOT_SET || s->op == DIM_CONST ? s->value : 0};
    return (size_t)hash_bytes(key, sizeof key, 1);
}

static void same_grow(struct expr_builder *b) {
    size_t room = b->same_room ? 2 * b->same_room : 1024;
    int *same = NEW_ARRAY(b->work, int, room);
    for (int i = 0; i < b->e.n; i++) {
        size_t at = slot_hash(&b->e.slots[i]) & (room - 1);
        while (same[at])
            at = (at + 1) & (room - 1);
        same[at] = i + 1;
    }
    b->same = same;
    b->same_room = room;
}

/* The slot with these contents, old or new. */
static int slot_of(struct expr_builder *b, struct slot s, dim text) {
    if (2 * ((size_t)b->e.n + 1) > b->same_room) same_grow(b);
    size_t at = slot_hash(&s) & (b->same_room - 1);
    for (; b->same[at]; at = (at + 1) & (b->same_room - 1)) {
        const struct slot *o = &b->e.slots[b->same[at] - 1];
        bool value = s.op == SLOT_SET || s.op == DIM_CONST;
        if (o->op == s.op && o->a == s.a && o->b == s.b && (!value || o->value == s.value)) {
            return b->same[at] - 1;
        }
    }
    if (b->e.n == b->room) {
        b->room = b->room ? 2 * b->room : 256;
        struct slot *slots = NEW_ARRAY(b->work, struct slot, b->room);
        dim *text = NEW_ARRAY(b->work, dim, b->room);
        if (b->e.n) memcpy(slots, b->e.slots, (size_t)b->e.n * sizeof *slots);
        if (b->e.n) memcpy(text, b->e.text, (size_t)b->e.n * sizeof *text);
        b->e.slots = slots;
        b->e.text = text;
    }
    b->e.slots[b->e.n] = s;
    b->e.text[b->e.n] = text;
    b->same[at] = ++b->e.n;
    return b->e.n - 1;
}

static size_t memo_at(const struct expr_builder *b, const struct dim *d) {
    size_t at = (size_t)hash_bytes(&d, sizeof d, (uint64_t)b->env) & (b->memo_room - 1);
    while (b->memo[at].d && (b->memo[at].d != d || b->memo[at].env != b->env))
        at = (at + 1) & (b->memo_room - 1);
    return at;
}

static void memo_add(struct expr_builder *b, const struct dim *d, int slot) {
    if (2 * (b->n_memo + 1) > b->memo_room) {
        struct memo *old = b->memo;
        size_t n = b->memo_room;
        b->memo_room = n ? 2 * n : 1024;
        b->memo = NEW_ARRAY(b->work, struct memo, b->memo_room);
        int env = b->env;
        for (size_t i = 0; i < n; i++) {
            if (!old[i].d) continue;
            b->env = old[i].env;
            b->memo[memo_at(b, old[i].d)] = old[i];
        }
        b->env = env;
    }
    b->memo[memo_at(b, d)] = (struct memo){d, b->env, slot};
    b->n_memo++;
}

static enum yj_status symbol_slot(struct expr_builder *b, dim d, int *slot) {
    if (b->kernel) {
        for (int i = 0; i < b->kernel->n_dims; i++) {
            if (strcmp(b->kernel->dim_names[i], d->name) == 0) {
                *slot = b->scalars[i];
                return YJ_OK;
            }
        }
        return report(YJ_ERR_INPUT, "kernel %s: %s is none of its dims", b->kernel->name, d->name);
    }
    for (int i = 0; i < b->plan->n_dims; i++) {
        if (b->plan->dim[i].symbol == d) {
            *slot = b->e.dim_slot[i];
            return YJ_OK;
        }
    }
    return report(YJ_ERR_INPUT, "%s is not a dim of the plan", d->name);
}

static enum yj_status add(struct expr_builder *b, dim d, int *slot) {
    if (b->memo_room) {
        const struct memo *m = &b->memo[memo_at(b, d)];
        if (m->d) {
            *slot = m->slot;
            return YJ_OK;
        }
    }
    struct slot s = {.op = (unsigned char)d->op};
    if (d->op == DIM_SYMBOL) {
        TRY(symbol_slot(b, d, slot));
        memo_add(b, d, *slot);
        return YJ_OK;
    }
    if (d->op == DIM_CONST) {
        s.value = d->value;
    } else {
        TRY(add(b, d->a, &s.a));
        TRY(add(b, d->b, &s.b));
    }
    *slot = slot_of(b, s, d);
    memo_add(b, d, *slot);
    return YJ_OK;
}

struct expr_builder *exprs_open(struct arena *arena, struct arena *work, const struct plan *plan) {
    struct expr_builder *b = NEW(work, struct expr_builder);
    *b = (struct expr_builder){.arena = arena, .work = work, .plan = plan};
    b->e.dim_slot = NEW_ARRAY(arena, int, plan->n_dims);
    for (int i = 0; i < plan->n_dims; i++) {
        b->e.dim_slot[i] = slot_of(b, (struct slot){.op = SLOT_SET, .value = i}, plan->dim[i].symbol);
    }
    return b;
}

enum yj_status exprs_add(struct expr_builder *b, dim d, int *slot) {
    b->kernel = NULL;
    b->env = 0;
    return add(b, d, slot);
}

enum yj_status exprs_add_kernel(struct expr_builder *b, const struct plan_kernel *k, const int *scalars, dim d,
                                int *slot) {
    if (b->kernel != k || b->scalars != scalars || !b->env) b->env = ++b->n_envs;
    b->kernel = k;
    b->scalars = scalars;
    return add(b, d, slot);
}

/* For each BORN dim the slots that depend on it, in order. */
static void collect_users(struct expr_builder *b) {
    struct exprs *e = &b->e;
    e->n_users = NEW_ARRAY(b->arena, int, b->plan->n_dims);
    e->users = NEW_ARRAY(b->arena, int *, b->plan->n_dims);
    bool *depends = NEW_ARRAY(b->work, bool, e->n);
    int *list = NEW_ARRAY(b->work, int, e->n);
    for (int i = 0; i < b->plan->n_dims; i++) {
        if (b->plan->dim[i].kind != PLAN_DIM_BORN) continue;
        int n = 0;
        for (int s = 0; s < e->n; s++) {
            const struct slot *slot = &e->slots[s];
            bool leaf = slot->op == SLOT_SET || slot->op == DIM_CONST;
            depends[s] = leaf ? s == e->dim_slot[i] : depends[slot->a] || depends[slot->b];
            if (depends[s] && !leaf) list[n++] = s;
        }
        e->n_users[i] = n;
        e->users[i] = NEW_ARRAY(b->arena, int, n);
        memcpy(e->users[i], list, (size_t)n * sizeof *list);
    }
}

void exprs_close(struct expr_builder *b, struct exprs *out) {
    struct exprs *e = &b->e;
    collect_users(b);
    struct slot *slots = NEW_ARRAY(b->arena, struct slot, e->n);
    dim *text = NEW_ARRAY(b->arena, dim, e->n);
    memcpy(slots, e->slots, (size_t)e->n * sizeof *slots);
    memcpy(text, e->text, (size_t)e->n * sizeof *text);
    for (int i = 0; i < e->n; i++)
        slots[i].bad = slots[i].op == SLOT_SET;
    *out = *e;
    out->slots = slots;
    out->text = text;
}

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static void eval(struct slot *slots, struct slot *s) {
    if (s->op == SLOT_SET || s->op == DIM_CONST) return;
    const struct slot *x = &slots[s->a], *y = &slots[s->b];
    int64_t a = x->value, b = y->value;
    bool bad = x->bad || y->bad;
    if (bad) {
        s->bad = 1;
        return;
    }
    switch (s->op) {
    case DIM_ADD:
        bad = __builtin_add_overflow(a, b, &s->value);
        break;
    case DIM_MUL:
        bad = __builtin_mul_overflow(a, b, &s->value);
        break;
    case DIM_DIV:
    case DIM_MOD:
        bad = b == 0 || (b == -1 && a == INT64_MIN);
        if (!bad) s->value = s->op == DIM_DIV ? floor_div(a, b) : a - floor_div(a, b) * b;
        break;
    case DIM_MIN:
        s->value = min64(a, b);
        break;
    default:
        s->value = max64(a, b);
        break;
    }
    s->bad = bad;
}

void exprs_set(struct exprs *e, int dim_number, int64_t value) {
    struct slot *s = &e->slots[e->dim_slot[dim_number]];
    s->value = value;
    s->bad = 0;
}

void exprs_eval(struct exprs *e) {
    for (int i = 0; i < e->n; i++)
        eval(e->slots, &e->slots[i]);
}

void exprs_update(struct exprs *e, int dim_number) {
    for (int i = 0; i < e->n_users[dim_number]; i++)
        eval(e->slots, &e->slots[e->users[dim_number][i]]);
}

enum yj_status exprs_get(const struct exprs *e, int slot, int64_t *value) {
    const struct slot *s = &e->slots[slot];
    if (!s->bad) {
        *value = s->value;
        return YJ_OK;
    }
    struct text text = {0};
    dim_print(&text, e->text[slot]);
    enum yj_status status = report(YJ_ERR_INPUT, "%s is larger than 63 bits, or divides by zero, at these shapes",
                                   text.data ? text.data : "an expression");
    text_free(&text);
    return status;
}

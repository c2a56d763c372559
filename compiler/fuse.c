/* SPDX-License-Identifier: Apache-2.0
 *
 * Fusion is greedy along the list: each op tries to join the group that made its operands, the latest first, and then
 * takes in the other groups that only it uses. What one kernel can hold lower_can says; here are only the graph's side
 * of it (no cycle between groups) and what would not pay: an operand of dot or convolution is computed once and read,
 * not computed again for each use; but weights of few bits are decoded by the product, which copies them in panels
 * anyway. Cheap sources (iota, dims, broadcasts) and views of memory are copied to each user first; at the end an op
 * that only one other group uses moves there, if that does not make more values be written.
 */
#include "compiler/fuse.h"
#include "compiler/lower.h"
#include "compiler/pass.h"
#include "ir/map.h"
#include <stdlib.h>

#define MAX_GROUP 96 /* ops in one kernel: text and compile time grow with it */

struct group {
    int n, room;
    struct op **ops;
    int last;
    bool dead;
};

struct fuser {
    struct graph *g;
    struct arena *arena, *scratch;
    struct fuse_log *log;
    int n_ops, n_values;
    struct op **ops;
    int *number;   /* by value id: number of the producing op, -1 */
    int *group_of; /* by op number: -1 none */
    struct group *groups;
    int n_groups;
    struct value **local; /* by value id: the clone in the region being made */
    struct value **made;  /* by value id: the result of a fused op that takes its place */
    int *mark;
    int stamp;
};

static bool is_uniform_constant(const struct value *v) {
    const struct data *d;
    if (!value_constant(v, &d)) return false;
    size_t each = yj_dtype_bytes(v->type.dtype);
    return d->n_bytes == each && !op_attr(v->op, "split");
}

/* Ops that stay outside of kernels. */
static bool stays(const struct op *op) {
    return op->kind == OP_constant || op->kind == OP_bind || op->kind == OP_if || op->kind == OP_loop ||
           op->kind == OP_fused || op_is(op->kind, 'C') || op->kind == OP_wait;
}

static bool is_source(const struct op *op) {
    for (; op && (op->kind == OP_reshape || op->kind == OP_cast || op->kind == OP_broadcast); op = op->in[0]->op)
        if (is_uniform_constant(op->in[0])) return true;
    return op && (op->kind == OP_iota || op->kind == OP_dims);
}

static bool is_picking(const struct op *op) {
    return op->kind == OP_slice || op->kind == OP_transpose || op->kind == OP_reverse;
}

/* Weights kept in fewer bytes than they stand for, and what makes numbers of them: all comes from constants, and fold
 * left it because it would grow. It is computed where it is needed and never written out. */
static bool is_decoded(const struct op *op, int depth) {
    bool kind = op_is(op->kind, 'E') || op->kind == OP_cast || op->kind == OP_broadcast || op->kind == OP_reshape ||
                op->kind == OP_slice;
    if (!kind || depth > 16 || op->n_out != 1) return false;
    for (int i = 0; i < op->n_in; i++) {
        const struct op *from = op->in[i]->op;
        if (!from || (from->kind != OP_constant && !is_decoded(from, depth + 1))) return false;
    }
    return true;
}

/* A reshape of something that lies in memory is a name for it. One that only drops the ones of a slice is part of the
 * view. */
static bool is_alias(const struct op *op) {
    if (op->kind != OP_reshape || is_source(op)) return false;
    if (op->in[0]->op && is_decoded(op->in[0]->op, 0)) return false;
    return !op->in[0]->op || !is_picking(op->in[0]->op) || !reshape_of_ones(op);
}

/* ---- cheap sources and views of memory are copied for each user, last first, so that chains are copied whole */

static bool is_view_of_memory(const struct op *op) {
    for (; is_picking(op) || (op->kind == OP_reshape && !is_alias(op)); op = op->in[0]->op)
        if (!op->in[0]->op || stays(op->in[0]->op) || is_alias(op->in[0]->op)) return true;
    return false;
}

static bool is_cheap(const struct op *op) {
    return op->kind == OP_broadcast || is_source(op) || is_view_of_memory(op);
}

static enum yj_status copy_for_users(struct graph *g, struct op *op) {
    struct value *v = op->out[0];
    int uses = 0;
    for (struct op *user = op->next; user; user = user->next)
        for (int i = 0; i < user->n_in; i++) {
            if (user->in[i] != v || stays(user) || uses++ == 0) continue;
            struct builder b = {g, user, op->n_origin, op->origin};
            struct op *copy;
            TRY(build(&b, op->kind, op->n_in, op->in, op->attrs, &copy));
            user->in[i] = copy->out[0];
        }
    return YJ_OK;
}

static enum yj_status copy_sources(struct graph *g) {
    for (struct op *op = g->last, *prev; op; op = prev) {
        prev = op->prev;
        if (op->n_out == 1 && is_cheap(op) && !is_alias(op)) TRY(copy_for_users(g, op));
    }
    return YJ_OK;
}

/* ---- the region of a set of ops: a candidate for lower_can, and in the end the body of `fused` */

struct border {
    int n_in, n_out;
    struct value **in, **out;
};

static int by_number(const void *a, const void *b) {
    const struct op *const *x = a, *const *y = b;
    return (int)((intptr_t)(*x)->note - (intptr_t)(*y)->note);
}

static bool used_outside(struct fuser *f, const struct value *v) {
    for (int i = 0; i < f->g->n_out; i++)
        if (f->g->out[i] == v) return true;
    for (int i = 0; i < f->g->n_states; i++)
        if (f->g->states[i].out == v) return true;
    for (int k = f->number[v->id] + 1; k < f->n_ops; k++) {
        if (f->mark[k] == f->stamp) continue;
        for (int i = 0; i < f->ops[k]->n_in; i++)
            if (f->ops[k]->in[i] == v) return true;
        for (int r = 0; r < f->ops[k]->n_regions; r++)
            if (value_uses(f->ops[k]->regions[r], v)) return true;
    }
    return false;
}

static enum yj_status clone_into(struct fuser *f, struct graph *region, struct op *op, struct border *b) {
    struct map values = {.arena = f->scratch};
    struct builder at = {region, NULL, op->n_origin, op->origin};
    for (int i = 0; i < op->n_in; i++) {
        struct value *v = op->in[i];
        if (!f->local[v->id]) {
            const struct data *d;
            if (is_uniform_constant(v) && value_constant(v, &d)) {
                f->local[v->id] = build_constant(&at, v->type.dtype, v->type.rank, v->type.shape, d->bytes, d->n_bytes);
            } else {
                f->local[v->id] = graph_input(region, v->name, v->type.dtype, v->type.rank, v->type.shape);
                f->local[v->id]->layout = v->layout;
                b->in[b->n_in++] = v;
            }
            if (!f->local[v->id]) return YJ_ERR_INTERNAL;
        }
        map_set(&values, v, f->local[v->id]);
    }
    struct op *copy = op_copy(region, NULL, op, &values);
    for (int i = 0; i < op->n_out; i++)
        f->local[op->out[i]->id] = copy->out[i];
    return YJ_OK;
}

static enum yj_status fill_region(struct fuser *f, struct graph *region, struct op **ops, int n, struct border *b) {
    f->stamp++;
    int most = 0;
    for (int i = 0; i < n; i++) {
        f->mark[(intptr_t)ops[i]->note] = f->stamp;
        most += ops[i]->n_in + ops[i]->n_out;
    }
    *b = (struct border){0, 0, NEW_ARRAY(f->scratch, struct value *, most + 1),
                         NEW_ARRAY(f->scratch, struct value *, most + 1)};
    qsort(ops, (size_t)n, sizeof *ops, by_number);
    enum yj_status status = YJ_OK;
    for (int i = 0; i < n && status == YJ_OK; i++)
        status = clone_into(f, region, ops[i], b);
    for (int i = 0; i < n && status == YJ_OK; i++)
        for (int k = 0; k < ops[i]->n_out; k++)
            if (used_outside(f, ops[i]->out[k])) {
                graph_output(region, f->local[ops[i]->out[k]->id], NULL);
                b->out[b->n_out++] = ops[i]->out[k];
            }
    for (int i = 0; i < n; i++) { /* clean for the next one */
        for (int k = 0; k < ops[i]->n_in; k++)
            f->local[ops[i]->in[k]->id] = NULL;
        for (int k = 0; k < ops[i]->n_out; k++)
            f->local[ops[i]->out[k]->id] = NULL;
    }
    return status;
}

static bool can_be_one(struct fuser *f, struct op **ops, int n, const char **why) {
    struct arena *keep = f->scratch;
    *why = "the group would be too large";
    if (n > MAX_GROUP) return false;
    f->scratch = arena_open();
    if (!f->scratch) {
        f->scratch = keep;
        return false;
    }
    struct graph *region = graph_new(f->scratch, "candidate");
    struct border b;
    region->dims = f->g->dims; /* shapes are the graph's */
    region->parent = f->g;
    *why = "it cannot be said as one region";
    bool ok = fill_region(f, region, ops, n, &b) == YJ_OK && b.n_out > 0 && lower_can(region, why);
    *why = arena_text(f->arena, "%s", *why ? *why : "");
    arena_close(f->scratch);
    f->scratch = keep;
    return ok;
}

/* ---- groups */

/* Does a path lead from FROM's ops to TO's through something else? Ops between are looked at in order of the list. */
static bool reaches(struct fuser *f, int from_group, int to_group) {
    struct group *from = &f->groups[from_group], *to = &f->groups[to_group];
    int first = f->n_ops, last = to->last;
    f->stamp++;
    for (int i = 0; i < from->n; i++) {
        int k = (int)(intptr_t)from->ops[i]->note;
        f->mark[k] = f->stamp;
        if (k < first) first = k;
    }
    int *tainted = NEW_ARRAY(f->scratch, int, f->n_groups + 1);
    for (bool more = true; more;) { /* a group is tainted as a whole */
        more = false;
        for (int k = first + 1; k <= last; k++) {
            struct op *op = f->ops[k];
            int g = f->group_of[k];
            if (g == from_group || f->mark[k] == f->stamp) continue;
            bool hit = g >= 0 && tainted[g];
            for (int i = 0; i < op->n_in && !hit; i++) {
                int p = op->in[i]->op ? f->number[op->in[i]->id] : -1;
                if (p < 0 || f->mark[p] != f->stamp) continue;
                if (g == to_group && f->group_of[p] == from_group) continue; /* the edge that is being fused */
                hit = true;
            }
            if (!hit) continue;
            if (g == to_group) return true;
            f->mark[k] = f->stamp;
            if (g >= 0 && !tainted[g]) {
                tainted[g] = 1;
                more = true;
            }
        }
    }
    return false;
}

static void note_refusal(struct fuser *f, const struct value *v, const struct op *consumer, const char *why) {
    if (!f->log || !v->op) return;
    struct fuse_refusal *r = NEW(f->g->arena, struct fuse_refusal);
    *r = (struct fuse_refusal){v->name, op_info[v->op->kind].name, arena_text(f->g->arena, "%s", op_where(consumer)),
                               arena_text(f->g->arena, "%s", why), NULL};
    *f->log->last = r;
    f->log->last = &r->next;
}

/* Groups A and B become A, if one kernel can hold them. */
static bool join(struct fuser *f, int a, int b, const char **why) {
    struct group *x = &f->groups[a], *y = &f->groups[b];
    struct op **all = NEW_ARRAY(f->arena, struct op *, x->n + y->n);
    memcpy(all, x->ops, sizeof *all * (size_t)x->n);
    memcpy(all + x->n, y->ops, sizeof *all * (size_t)y->n);
    *why = "something else lies between them";
    if (x->last < y->last ? reaches(f, a, b) : reaches(f, b, a)) return false;
    if (!can_be_one(f, all, x->n + y->n, why)) return false;
    x->ops = all;
    for (int i = 0; i < y->n; i++)
        f->group_of[(intptr_t)y->ops[i]->note] = a;
    x->n += y->n;
    x->last = x->last > y->last ? x->last : y->last;
    y->dead = true;
    return true;
}

static bool only_views(const struct group *g) {
    for (int i = 0; i < g->n; i++)
        if (!op_is(g->ops[i]->kind, 'V') && g->ops[i]->kind != OP_cast) return false;
    return true;
}

static bool only_decoded(const struct group *g) {
    for (int i = 0; i < g->n; i++)
        if (!is_decoded(g->ops[i], 0)) return false;
    return true;
}

static bool pays(const struct fuser *f, const struct op *op, int producer, const char **why) {
    if (op->kind != OP_dot && op->kind != OP_convolution) return true;
    *why = "it would be computed again for each use by the product";
    return only_views(&f->groups[producer]) || (op->kind == OP_dot && only_decoded(&f->groups[producer]));
}

/* Nothing that computes is taken into a product. */
static bool pays_in(const struct group *g, const struct op *op) {
    for (int i = 0; i < g->n; i++)
        if ((g->ops[i]->kind == OP_dot || g->ops[i]->kind == OP_convolution) && !op_is(op->kind, 'V') &&
            op->kind != OP_cast)
            return false;
    return true;
}

/* The groups of OP's operands, the latest first, each once. */
static int producer_groups(struct fuser *f, const struct op *op, int *groups, const struct value **values, int most) {
    int n = 0;
    for (int i = 0; i < op->n_in; i++) {
        int p = op->in[i]->op ? f->number[op->in[i]->id] : -1, g = p >= 0 ? f->group_of[p] : -1;
        bool seen = g < 0;
        for (int k = 0; k < n; k++)
            seen |= groups[k] == g;
        if (seen || n == most) continue;
        int at = n++;
        for (; at > 0 && f->groups[groups[at - 1]].last < f->groups[g].last; at--) {
            groups[at] = groups[at - 1];
            values[at] = values[at - 1];
        }
        groups[at] = g;
        values[at] = op->in[i];
    }
    return n;
}

static void place_op(struct fuser *f, int k) {
    struct op *op = f->ops[k];
    const struct value *values[16];
    int groups[16], mine = f->n_groups++;
    f->groups[mine] = (struct group){.n = 1, .ops = NEW(f->arena, struct op *), .last = k};
    f->groups[mine].ops[0] = op;
    f->group_of[k] = mine;
    int n = producer_groups(f, op, groups, values, 16);
    for (int i = 0; i < n; i++) {
        const char *why = "";
        int own = f->group_of[k];
        if (groups[i] == own || f->groups[groups[i]].dead) continue;
        if (!pays(f, op, groups[i], &why) || !join(f, groups[i], own, &why)) note_refusal(f, values[i], op, why);
    }
}

/* ---- an op that only one other group uses is better there, if that does not make its own group write more */

static int only_user_group(const struct fuser *f, const struct op *op) {
    int group = -1;
    for (int i = 0; i < op->n_out; i++) {
        for (int o = 0; o < f->g->n_out; o++)
            if (f->g->out[o] == op->out[i]) return -1;
        for (int k = (int)(intptr_t)op->note + 1; k < f->n_ops; k++)
            for (int j = 0; j < f->ops[k]->n_in; j++) {
                if (f->ops[k]->in[j] != op->out[i]) continue;
                if (f->group_of[k] < 0 || (group >= 0 && group != f->group_of[k])) return -1;
                group = f->group_of[k];
            }
    }
    return group;
}

/* V leaves its group or comes from another one in any case, the ops of MARK aside. */
static bool is_written(struct fuser *f, const struct value *v, int group) {
    int k = v->op ? f->number[v->id] : -1;
    if (k < 0 || f->group_of[k] != group) return true;
    f->stamp++;
    for (int i = 0; i < f->groups[group].n; i++)
        f->mark[(intptr_t)f->groups[group].ops[i]->note] = f->stamp;
    return used_outside(f, v);
}

static bool sink_op(struct fuser *f, struct op *op) {
    int k = (int)(intptr_t)op->note, from = f->group_of[k], to = only_user_group(f, op), n = 0;
    bool movable = op_is(op->kind, 'E') || op_is(op->kind, 'V') || op->kind == OP_cast;
    const char *why;
    if (!movable || from < 0 || to < 0 || to == from || f->groups[from].n < 2) return false;
    for (int i = 0; i < op->n_in; i++)
        if (!is_written(f, op->in[i], from)) return false;
    struct group *a = &f->groups[from], *b = &f->groups[to];
    struct op **rest = NEW_ARRAY(f->arena, struct op *, a->n), **more = NEW_ARRAY(f->arena, struct op *, b->n + 1);
    for (int i = 0; i < a->n; i++)
        if (a->ops[i] != op) rest[n++] = a->ops[i];
    memcpy(more, b->ops, sizeof *more * (size_t)b->n);
    more[b->n] = op;
    if (!pays_in(b, op) || !can_be_one(f, rest, n, &why) || !can_be_one(f, more, b->n + 1, &why)) return false;
    a->ops = rest;
    a->n = n;
    b->ops = more;
    b->n++;
    f->group_of[k] = to;
    return true;
}

static void sink_ops(struct fuser *f) {
    for (int k = f->n_ops - 1; k >= 0; k--)
        if (f->group_of[k] >= 0) sink_op(f, f->ops[k]);
    for (int i = 0; i < f->n_groups; i++) { /* where a group stands is where its last op stood */
        f->groups[i].last = 0;
        for (int j = 0; j < f->groups[i].n && !f->groups[i].dead; j++)
            f->groups[i].last = (int)max64(f->groups[i].last, (intptr_t)f->groups[i].ops[j]->note);
    }
}

/* ---- rewriting */

static enum yj_status make_fused(struct fuser *f, struct group *gr) {
    struct graph *g = f->g;
    struct op *at = f->ops[gr->last], *fused;
    struct builder b = {g, at, 0, NULL};
    struct border border;
    int *origin = NEW_ARRAY(f->arena, int, 1024), n_origin = 0;
    for (int i = 0; i < gr->n; i++)
        for (int k = 0; k < gr->ops[i]->n_origin && n_origin < 1024; k++) {
            bool seen = false;
            for (int j = 0; j < n_origin; j++)
                seen |= origin[j] == gr->ops[i]->origin[k];
            if (!seen) origin[n_origin++] = gr->ops[i]->origin[k];
        }
    b.n_origin = n_origin;
    b.origin = origin;
    /* the operands are known when the region is: a first region tells them */
    struct graph *trial = graph_new(f->scratch, "trial");
    trial->dims = g->dims;
    trial->parent = g;
    TRY(fill_region(f, trial, gr->ops, gr->n, &border));
    TRY(build(&b, OP_fused, border.n_in, border.in, NULL, &fused));
    struct graph *region = graph_region(fused, "body");
    TRY(fill_region(f, region, gr->ops, gr->n, &border));
    TRY(graph_infer(fused));
    for (int i = 0; i < border.n_out; i++) {
        fused->out[i]->layout = border.out[i]->layout;
        fused->out[i]->shard = border.out[i]->shard;
        f->made[border.out[i]->id] = fused->out[i];
    }
    return YJ_OK;
}

/* Puts the ops in an order in which operands come first, as near to the old one as that allows. */
static enum yj_status sort_ops(struct fuser *f) {
    int n_values = graph_number(f->g);
    bool *ready = NEW_ARRAY(f->arena, bool, n_values + 1);
    for (int i = 0; i < f->g->n_in; i++)
        ready[f->g->in[i]->id] = true;
    struct op *done = NULL; /* the last of the sorted ones */
    for (;;) {
        struct op *next = done ? done->next : f->g->first;
        for (; next; next = next->next) {
            bool ok = true;
            for (int i = 0; i < next->n_in; i++)
                ok &= ready[next->in[i]->id] || (next->in[i]->op && next->in[i]->op->graph != f->g);
            if (ok) break;
        }
        if (!next) break;
        struct op *at = done ? done->next : f->g->first;
        if (next != at) op_move_before(next, at);
        for (int i = 0; i < next->n_out; i++)
            ready[next->out[i]->id] = true;
        done = next;
    }
    return done ? (done->next ? report(YJ_ERR_INTERNAL, "fuse: %s depends on itself", op_where(done->next)) : YJ_OK)
                : YJ_OK;
}

static enum yj_status fuse_here(struct fuser *f) {
    struct graph *g = f->g;
    f->n_values = graph_number(g);
    for (struct op *op = g->first; op; op = op->next)
        f->n_ops++;
    f->ops = NEW_ARRAY(f->arena, struct op *, f->n_ops + 1);
    f->number = NEW_ARRAY(f->arena, int, f->n_values + 1);
    f->group_of = NEW_ARRAY(f->arena, int, f->n_ops + 1);
    f->groups = NEW_ARRAY(f->arena, struct group, f->n_ops + 1);
    f->local = NEW_ARRAY(f->arena, struct value *, f->n_values + 1);
    f->made = NEW_ARRAY(f->arena, struct value *, f->n_values + 1);
    f->mark = NEW_ARRAY(f->arena, int, f->n_ops + 1);
    memset(f->number, -1, sizeof(int) * (size_t)(f->n_values + 1));
    memset(f->group_of, -1, sizeof(int) * (size_t)(f->n_ops + 1));
    int n = 0;
    for (struct op *op = g->first; op; op = op->next, n++) {
        f->ops[n] = op;
        op->note = (void *)(intptr_t)n;
        for (int i = 0; i < op->n_out; i++)
            f->number[op->out[i]->id] = n;
    }
    for (int k = 0; k < n; k++)
        if (!stays(f->ops[k]) && !is_alias(f->ops[k])) place_op(f, k);
    sink_ops(f);
    for (int i = 0; i < f->n_groups; i++) {
        struct group *alone = &f->groups[i]; /* a reshape that found no company is an alias after all */
        if (alone->dead || alone->n != 1 || alone->ops[0]->kind != OP_reshape || is_source(alone->ops[0])) continue;
        alone->dead = true;
        f->group_of[(intptr_t)alone->ops[0]->note] = -1;
    }
    for (int i = 0; i < f->n_groups; i++)
        if (!f->groups[i].dead) {
            if (f->log) f->log->n_groups++;
            TRY(make_fused(f, &f->groups[i]));
        }
    for (int k = 0; k < n; k++)
        for (int i = 0; i < f->ops[k]->n_out; i++) {
            struct value *v = f->ops[k]->out[i];
            if (f->made[v->id]) value_replace(g, v, f->made[v->id]);
        }
    for (int k = n - 1; k >= 0; k--)
        if (f->group_of[k] >= 0) op_remove(f->ops[k]);
    return sort_ops(f);
}

enum yj_status fuse_graph(struct graph *g, struct fuse_log *log) {
    if (log && !log->last) log->last = &log->first;
    for (struct op *op = g->first; op; op = op->next)
        if (op->kind != OP_composite && op->kind != OP_fused)
            for (int r = 0; r < op->n_regions; r++)
                TRY(fuse_graph(op->regions[r], log));
    TRY(copy_sources(g));
    struct fuser f = {.g = g, .arena = arena_open(), .scratch = arena_open(), .log = log};
    enum yj_status status = f.arena && f.scratch ? fuse_here(&f) : report(YJ_ERR_MEMORY, "fuse: out of memory");
    if (f.arena) arena_close(f.arena);
    if (f.scratch) arena_close(f.scratch);
    return status;
}

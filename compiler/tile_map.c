/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels whose elements are independent of each other (elementwise, views, windows, sums over outer axes): vectors
 * along the innermost axis, several accumulators of a sum side by side, tiles of some ten microseconds.
 */
#include "compiler/tiling.h"

#define TILE_WORK 65536 /* weight of a tile: flops, roughly */

/* --- vectors along one axis --- */

static bool has_loop(const struct stmt *body) {
    for (const struct stmt *s = body; s; s = s->next)
        if (s->kind == STMT_LOOP || s->kind == STMT_REDUCE || (s->body && has_loop(s->body))) return true;
    return false;
}

/* A REDUCE in a vector loop has its partial results in every lane. */
static bool has_only_reduce(const struct stmt *body) {
    for (const struct stmt *s = body; s; s = s->next)
        if (s->kind != STMT_REDUCE && s->kind != STMT_LET && s->kind != STMT_STORE) return false;
    return true;
}

int span_lanes(struct tiler *t, struct stmt *body, dim extent) {
    int64_t n;
    bool one = body && (has_loop(body) ? has_only_reduce(body) : body_weight(body) > 40);
    int v = one ? t->lanes : 4 * t->lanes;
    if (dim_is_const(extent, &n) && n < v) v = (int)max64(n, 1);
    return v;
}

static struct stmt *one_vector(struct tiler *t, struct stmt *body, dim lane, int v, struct expr *guard) {
    struct stmt *loop = NULL;
    struct cursor at = kernel_at(&loop), in;
    dim axis = loop_over(t, &at, AXIS_VECTOR, "l", num(t, 0), num(t, v), 1, &in)->axis;
    if (guard) in = kernel_at(&stmt_if(t->k, &in, expr_substitute(t->k, guard, lane, axis))->body);
    *in.end = stmt_clone(t->k, body, lane, axis);
    return loop;
}

/* Lanes BASE .. BASE + V of AXIS; those from HI on (NULL: none) are left out. NULL: cannot be. */
static struct stmt *vector_block(struct tiler *t, struct stmt *body, dim axis, dim base, int v, dim hi) {
    dim lane = kernel_axis(t->k, "lane", num(t, 0), num(t, v)), at = d_add(t, base, lane);
    struct stmt *copy = stmt_clone(t->k, body, axis, at);
    struct expr *guard = hi ? expr_op(t->k, SCALAR_lt, expr_dim(t->k, at), expr_dim(t->k, hi), NULL) : NULL;
    if (distribute(t, &copy, lane, AXIS_VECTOR, v, guard)) return copy;
    return has_only_reduce(copy) ? one_vector(t, copy, lane, v, guard) : NULL;
}

static void append_body(struct cursor *at, struct stmt *body) {
    *at->end = body;
    if (body) *at = kernel_at(at->end);
}

static void scalar_span(struct tiler *t, struct cursor *at, struct stmt *body, dim axis, dim lo, dim hi) {
    struct cursor in;
    struct stmt *loop = loop_over(t, at, AXIS_SERIAL, axis->name, lo, hi, 1, &in);
    append_body(&in, stmt_clone(t->k, body, axis, loop->axis));
}

void emit_span(struct tiler *t, struct cursor *at, struct stmt *body, dim axis, dim lo, dim hi, int v) {
    dim length = d_sub(t, hi, lo), whole = d_mul(t, dim_div(t->k->dims, length, num(t, v)), v);
    int64_t n, m;
    if (v < 2 || t->lanes < 2) {
        scalar_span(t, at, body, axis, lo, hi);
        return;
    }
    bool fixed = dim_is_const(length, &n);
    if (!fixed || n >= v) {
        bool once = fixed && n < 2 * v;
        struct stmt *loop = NULL;
        struct cursor in = *at, detached = kernel_at(&loop);
        dim base = lo;
        if (!once) base = loop_over(t, &detached, AXIS_SERIAL, axis->name, lo, d_add(t, lo, whole), v, &in)->axis;
        struct stmt *block = vector_block(t, body, axis, base, v, NULL);
        if (!block) {
            scalar_span(t, at, body, axis, lo, hi);
            return;
        }
        if (once) {
            append_body(at, block);
        } else {
            append_body(&in, block);
            append_body(at, loop);
        }
    }
    if (fixed) {
        m = n % v;
        if (m == 1) scalar_span(t, at, body, axis, d_add(t, lo, whole), hi);
        if (m < 2) return;
        struct stmt *block = vector_block(t, body, axis, d_add(t, lo, whole), (int)m, NULL);
        if (block)
            append_body(at, block);
        else
            scalar_span(t, at, body, axis, d_add(t, lo, whole), hi);
    } else if (whole != length) {
        struct stmt *loop = NULL;
        struct cursor in, detached = kernel_at(&loop);
        dim base = loop_over(t, &detached, AXIS_SERIAL, axis->name, d_add(t, lo, whole), hi, v, &in)->axis;
        append_body(&in, vector_block(t, body, axis, base, v, hi));
        append_body(at, loop);
    }
}

/* --- tiles --- */

/* The nest's axes as tile loops, the innermost of them walked inside a tile as far as WORTH goes. */
struct stmt *nest_group(struct tiler *t, const struct nest *nest, int64_t worth, struct stmt *body) {
    struct stmt *tiles = NULL, *inside = body;
    int first = nest->n; /* axes from here on are walked whole */
    int64_t n, group = 1;
    while (first > 0 && dim_is_const(nest->extent[first - 1], &n) && n <= worth) {
        if (first == 1 && n > 1) break; /* leave the pool something to share */
        worth /= max64(n, 1);
        first--;
    }
    if (first > 0) group = min64(worth, dim_guess(nest->extent[first - 1], 1 << 20));
    for (int i = nest->n - 1; i >= first; i--) {
        struct stmt *loop = NULL;
        struct cursor at = kernel_at(&loop);
        stmt_loop(t->k, &at, AXIS_SERIAL, nest->axis[i], num(t, 0), nest->extent[i], 1)->body = inside;
        inside = loop;
    }
    for (int i = first - 1; i >= 0; i--) {
        struct stmt *loop = NULL;
        struct cursor at = kernel_at(&loop);
        dim axis = nest->axis[i];
        if (i == first - 1 && group > 1) {
            dim block = kernel_axis(t->k, axis->name, num(t, 0), nest->extent[i]),
                end = d_min(t, num(t, group), d_sub(t, nest->extent[i], block));
            struct stmt *walk = NULL;
            struct cursor in = kernel_at(&walk);
            struct stmt *rows = loop_over(t, &in, AXIS_SERIAL, axis->name, num(t, 0), end, 1, &in);
            rows->body = stmt_clone(t->k, inside, axis, d_add(t, block, rows->axis));
            stmt_loop(t->k, &at, AXIS_TILE, block, num(t, 0), nest->extent[i], group)->body = walk;
        } else {
            stmt_loop(t->k, &at, AXIS_TILE, axis, num(t, 0), nest->extent[i], 1)->body = inside;
        }
        inside = loop;
    }
    tiles = inside;
    return tiles;
}

/* Lets and checks that do not name AXIS come before the loop over it. */
static struct stmt *split_invariant(struct stmt **body, dim axis) {
    struct stmt *before = NULL;
    struct cursor out = kernel_at(&before);
    struct stmt **link = body;
    while (*link) {
        struct stmt *s = *link;
        bool stays = s->kind == STMT_BUFFER || ((s->kind == STMT_LET || s->kind == STMT_CHECK) &&
                                                (expr_has(s->value, axis) || expr_has(s->fault_value, axis)));
        if (stays) {
            link = &s->next;
        } else if (s->kind == STMT_LET || s->kind == STMT_CHECK) {
            *link = s->next;
            s->next = NULL;
            *out.end = s;
            out.end = &s->next;
        } else {
            break; /* what is behind may read what this writes */
        }
    }
    return before;
}

/* The axis along which something lies that AXIS jumps through: a transpose. -1: none. */
struct jump {
    struct tiler *t;
    const struct nest *nest;
    int found;
};

static int64_t stride_along(struct tiler *t, const struct expr *load, dim axis) {
    int64_t c = -1;
    dim by = stride_of(t, flat_subs(t, load->buffer, load->arg), axis);
    return by && dim_is_const(by, &c) ? c : by && !dim_is(by, 0) ? INT64_MAX : by ? 0 : -1;
}

static void see_jump(void *user, struct expr *e) {
    struct jump *j = user;
    int last = j->nest->n - 1;
    if (e->kind != EXPR_LOAD || e->buffer->space != SPACE_GLOBAL || stride_along(j->t, e, j->nest->axis[last]) < 16)
        return;
    for (int i = 0; i < last; i++)
        if (stride_along(j->t, e, j->nest->axis[i]) == 1) j->found = i;
}

static void stmt_jump(void *user, struct stmt *s) {
    stmt_exprs(s, see_jump, user);
}

/* Lines of the strided operand that stay in the first cache while the other axis goes through them. */
#define BLOCK 64

/* Blocks of BLOCK x 16: all of a line that is fetched is used before it is gone. */
static bool tile_transpose(struct tiler *t, struct nest *nest) {
    struct jump j = {t, nest, -1};
    int last = nest->n - 1;
    if (t->lanes < 2 || last < 1) return false;
    kernel_walk(nest->body, stmt_jump, &j);
    if (j.found < 0 || has_loop(nest->body)) return false;
    dim across = nest->axis[j.found], rows = nest->extent[j.found], axis = nest->axis[last],
        columns = nest->extent[last];
    for (int i = j.found; i + 1 < last; i++) {
        nest->axis[i] = nest->axis[i + 1];
        nest->extent[i] = nest->extent[i + 1];
    }
    struct stmt *body = NULL;
    struct cursor at = kernel_at(&body), in_block, in_row;
    dim row_block = kernel_axis(t->k, across->name, num(t, 0), rows),
        chunk = kernel_axis(t->k, axis->name, num(t, 0), columns);
    dim block = loop_over(t, &at, AXIS_SERIAL, "b", num(t, 0), d_min(t, num(t, 16 * BLOCK), d_sub(t, columns, chunk)),
                          BLOCK, &in_block)
                    ->axis;
    dim row = loop_over(t, &in_block, AXIS_SERIAL, across->name, num(t, 0),
                        d_min(t, num(t, 16), d_sub(t, rows, row_block)), 1, &in_row)
                  ->axis;
    struct stmt *one = stmt_clone(t->k, nest->body, across, d_add(t, row_block, row));
    dim column = kernel_axis(t->k, axis->name, num(t, 0), num(t, BLOCK));
    one = stmt_clone(t->k, one, axis, d_add(t, d_add(t, chunk, block), column));
    emit_span(t, &in_row, one, column, num(t, 0), d_min(t, num(t, BLOCK), d_sub(t, columns, d_add(t, chunk, block))),
              4 * t->lanes < BLOCK ? 4 * t->lanes : BLOCK);
    struct stmt *loop = NULL, *outer = NULL;
    struct cursor tile = kernel_at(&loop);
    stmt_loop(t->k, &tile, AXIS_TILE, chunk, num(t, 0), columns, 16 * BLOCK)->body = body;
    tile = kernel_at(&outer);
    stmt_loop(t->k, &tile, AXIS_TILE, row_block, num(t, 0), rows, 16)->body = loop;
    nest->n = last - 1;
    nest->body = outer;
    t->k->body = nest_write(t, nest, AXIS_TILE);
    return true;
}

void tile_map(struct tiler *t) {
    struct nest nest = nest_read(t->k->body, AXIS_TILE);
    nest_merge(t, &nest);
    if (nest.n == 0 || tile_transpose(t, &nest)) return;
    dim axis = nest.axis[nest.n - 1], extent = nest.extent[nest.n - 1];
    int v = span_lanes(t, nest.body, extent);
    int64_t worth = max64(TILE_WORK / body_weight(nest.body), 64), n;
    int64_t chunk = (worth + v - 1) / v * v;
    bool whole = dim_is_const(extent, &n) && n <= worth;
    dim from = num(t, 0), to = extent, block = NULL;
    struct stmt *inside = NULL, *body = nest.body;
    struct stmt *before = split_invariant(&body, axis);
    if (!whole) { /* the verifier wants to see the tile's axis in what it writes: the walk counts from the block */
        block = kernel_axis(t->k, axis->name, from, extent);
        to = d_min(t, num(t, chunk), d_sub(t, extent, block));
        dim walk = kernel_axis(t->k, axis->name, from, to);
        body = stmt_clone(t->k, body, axis, d_add(t, block, walk));
        axis = walk;
    }
    struct cursor at = kernel_at(&inside);
    append_body(&at, before);
    emit_span(t, &at, body, axis, from, to, v);
    struct nest outer = nest;
    outer.n--;
    if (whole && outer.n > 0) {
        t->k->body = nest_group(t, &outer, worth / max64(n, 1), inside);
        return;
    }
    struct stmt *loop = inside;
    if (!whole) {
        loop = NULL;
        struct cursor tile = kernel_at(&loop);
        stmt_loop(t->k, &tile, AXIS_TILE, block, num(t, 0), extent, chunk)->body = inside;
    }
    outer.body = loop;
    t->k->body = nest_write(t, &outer, AXIS_TILE);
}

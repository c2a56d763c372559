/* SPDX-License-Identifier: Apache-2.0
 *
 * The register tile of a contraction: loops over panels and rows of a task, the sum by fma_tile, and the plain kernel's
 * tail on each element of the tile. A full tile has no conditions; what is left over at the edges goes in smaller tiles
 * whose surplus rows are computed from the last one and not stored.
 */
#include "compiler/tile_matrix.h"

#define ALONG_BYTES 4096 /* on their way while a panel goes by */

/* One register tile: so many PANELS side by side, ROWS high, from row ROW and panel PANEL of the block. */
struct micro {
    struct matrix *m;
    struct point p; /* of the block: extras and batch set */
    dim row, panel; /* NULL row: no row axis */
    dim last_row;   /* rows beyond it repeat it; NULL: there are none */
    int rows, panels, columns;
    bool masked; /* the last panel: columns are tested */
    struct buffer *acc;
};

static dim column_base(const struct micro *u, dim panel) {
    return d_mul(u->m->t, d_add(u->m->t, u->panel, panel),
                 u->m->columns); /* of a whole panel, also for a narrower last one */
}

/* The point of element (i, j) of panel number PANEL of the tile. */
static struct point micro_point(const struct micro *u, dim panel, dim i, dim j, bool clamp) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct point p = u->p;
    dim column = d_add(t, column_base(u, panel), j);
    p.local[m->col] = column;
    p.whole[m->col] = d_add(t, m->base[m->col], column);
    if (m->row >= 0) {
        dim row = d_add(t, u->row, i);
        if (clamp && u->last_row) row = d_min(t, row, u->last_row);
        if (m->flat >= 0) {
            dim length = m->tiles.extent[m->row];
            p.local[m->flat] = dim_div(t->k->dims, row, length);
            p.whole[m->flat] = d_add(t, m->base[m->flat], p.local[m->flat]);
            row = dim_mod(t->k->dims, row, length);
        }
        p.local[m->row] = row;
        p.whole[m->row] = d_add(t, m->base[m->row], row);
    }
    return p;
}

/* --- the sum --- */

static struct expr *acc_at(const struct micro *u, dim panel, dim i, dim j) {
    return expr_load_dims(u->m->t->k, u->acc, 3, (dim[]){panel, i, j});
}

static void clear(const struct micro *u, struct cursor *at) {
    struct tiler *t = u->m->t;
    struct cursor a, b, c;
    dim panel = loop_over(t, at, AXIS_UNROLL, "p", num(t, 0), num(t, u->panels), 1, &a)->axis;
    dim i = loop_over(t, &a, AXIS_UNROLL, "i", num(t, 0), num(t, u->rows), 1, &b)->axis;
    dim j = loop_over(t, &b, AXIS_VECTOR, "j", num(t, 0), num(t, u->columns), 1, &c)->axis;
    stmt_store_dims(t->k, &c, u->acc, 3, (dim[]){panel, i, j}, u->m->first);
}

static void set_sums(const struct matrix *m, struct point *p, const dim *sum) {
    for (int s = 0; s < m->sums.n; s++) {
        p->sum_local[s] = sum[s];
        p->sum[s] = m->k_block ? d_add(m->t, m->k_base, sum[s]) : sum[s];
    }
}

/* STEPS of k from K on. */
static void fma_steps(const struct micro *u, struct cursor *at, dim *sum, int steps) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor in = *at;
    dim zero = num(t, 0), panel = zero;
    if (u->panels > 1) panel = loop_over(t, at, AXIS_UNROLL, "p", zero, num(t, u->panels), 1, &in)->axis;
    int extent[3] = {u->rows, u->columns, steps};
    dim axis[3];
    static const char *const names[3] = {"i", "j", "k0"};
    for (int d = 0; d < 3; d++)
        axis[d] = kernel_axis(t->k, names[d], zero, num(t, extent[d]));
    struct point p = micro_point(u, panel, axis[0], axis[1], true);
    dim at_k[TILE_MAX_AXES];
    for (int s = 0; s < m->sums.n; s++)
        at_k[s] = s == m->sums.n - 1 ? d_add(t, sum[s], axis[2]) : sum[s];
    set_sums(m, &p, at_k);
    stmt_fma_tile(t->k, &in, axis, extent, acc_at(u, panel, axis[0], axis[1]), operand_at(m, &m->a, &p),
                  operand_at(m, &m->b, &p));
    if (u->panels == 1) *at = in;
}

/* The address of B so many ELEMENTs of its panel behind K. */
static struct expr *panel_element(const struct micro *u, dim panel, dim k, dim element) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    int64_t group = max64(m->group, 1);
    dim side = num(t, m->columns * group), sum[TILE_MAX_AXES];
    dim lane = dim_div(t->k->dims, dim_mod(t->k->dims, element, side), num(t, group));
    struct point p = micro_point(u, panel, num(t, 0), lane, false);
    for (int s = 0; s < m->sums.n; s++)
        sum[s] = num(t, 0);
    sum[m->sums.n - 1] = d_add(t, k, d_mul(t, dim_div(t->k->dims, element, side), group));
    set_sums(m, &p, sum);
    return operand_at(m, &m->b, &p);
}

/* B goes by once, faster than a cache foresees: what STEPS of k read is asked for some time before. */
static void prefetch_along(const struct micro *u, struct cursor *at, dim k, int64_t steps) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor in;
    int64_t line = t->target->line_bytes, bytes = (int64_t)yj_dtype_bytes(m->b.e->dtype), side = m->columns * bytes;
    if (!m->once || u->masked || line < 1) return;
    dim lines = num(t, (steps * side + line - 1) / line);
    dim l = loop_over(t, at, AXIS_UNROLL, "l", num(t, 0), lines, 1, &in)->axis;
    dim later = d_add(t, k, num(t, ALONG_BYTES / side / 8 * 8));
    stmt_prefetch(t->k, &in, panel_element(u, num(t, 0), later, d_mul(t, l, line / bytes)));
}

/* The last panel of an operand that is read where it lies: columns beyond the last must not be touched. */
static void masked_steps(const struct micro *u, struct cursor *at, dim *sum) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor a, b, c;
    dim zero = num(t, 0);
    dim i = loop_over(t, at, AXIS_UNROLL, "i", zero, num(t, u->rows), 1, &a)->axis;
    dim j = loop_over(t, &a, AXIS_VECTOR, "j", zero, num(t, u->columns), 1, &b)->axis;
    struct point p = micro_point(u, zero, i, j, true);
    set_sums(m, &p, sum);
    struct expr *inside =
        expr_op(t->k, SCALAR_lt, expr_dim(t->k, p.whole[m->col]), expr_dim(t->k, m->tiles.extent[m->col]), NULL);
    c = kernel_at(&stmt_if(t->k, &b, inside)->body);
    struct expr *x = operand_at(m, &m->a, &p), *y = operand_at(m, &m->b, &p), *old = acc_at(u, zero, i, j);
    if (x->dtype != m->dtype) x = expr_cast(t->k, m->dtype, x);
    if (y->dtype != m->dtype) y = expr_cast(t->k, m->dtype, y);
    struct expr *sum_of = dtype_kind(m->dtype) == 'f'
                              ? expr_op(t->k, SCALAR_fma, x, y, old)
                              : expr_op(t->k, SCALAR_add, old, expr_op(t->k, SCALAR_mul, x, y, NULL), NULL);
    stmt_store_dims(t->k, &c, u->acc, 3, (dim[]){zero, i, j}, sum_of);
}

/* B is in panels whose surplus columns are zeros. */
static bool has_zero_columns(const struct matrix *m) {
    return m->group > 0 || (m->b.stage && m->b.axis[0].kind == STAGE_PANEL);
}

static void sum_loops(const struct micro *u, struct cursor *at, int depth, dim *sum) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor in;
    dim extent = m->sums.extent[depth], zero = num(t, 0);
    if (m->k_block) extent = k_left(m);
    if (depth + 1 < m->sums.n) {
        sum[depth] = loop_over(t, at, AXIS_SERIAL, "k", zero, extent, 1, &in)->axis;
        sum_loops(u, &in, depth + 1, sum);
        return;
    }
    if (u->masked && !has_zero_columns(m)) {
        sum[depth] = loop_over(t, at, AXIS_SERIAL, "k", zero, extent, 1, &in)->axis;
        masked_steps(u, &in, sum);
        return;
    }
    int64_t n, steps = m->group > 1 ? max64(m->group, 4) : 4;
    bool fixed = dim_is_const(extent, &n);
    if (fixed && n < steps) steps = n;
    dim whole = d_mul(t, dim_div(t->k->dims, extent, num(t, max64(steps, 1))), steps);
    if (!fixed || n >= steps) {
        sum[depth] = loop_over(t, at, AXIS_SERIAL, "k", zero, whole, max64(steps, 1), &in)->axis;
        prefetch_along(u, &in, sum[depth], steps);
        fma_steps(u, &in, sum, (int)max64(steps, 1));
    }
    if (fixed && steps > 0 && n % steps) {
        sum[depth] = whole;
        fma_steps(u, at, sum, (int)(n % steps));
    } else if (!fixed) {
        sum[depth] = loop_over(t, at, AXIS_SERIAL, "k", whole, extent, 1, &in)->axis;
        fma_steps(u, &in, sum, 1);
    }
}

/* --- the tail --- */

struct swap {
    struct matrix *m;
    struct buffer *from;
    struct expr *by;
};

static struct expr *swap_acc(void *user, struct expr *e) {
    struct swap *s = user;
    return e->kind == EXPR_LOAD && e->buffer == s->from ? s->by : e;
}

static struct stmt *tail_at(const struct micro *u, const struct point *p, struct expr *value) {
    struct matrix *m = u->m;
    struct stmt *tail = clone_with(m->t, m->tail, m->tiles.n, m->tiles.axis, p->whole);
    struct swap s = {m, m->acc, value};
    body_rewrite(m->t, tail, swap_acc, &s);
    return tail;
}

static struct expr *within(struct tiler *t, struct expr *all, dim at, dim n) {
    struct expr *here = expr_op(t->k, SCALAR_lt, expr_dim(t->k, at), expr_dim(t->k, n), NULL);
    return all ? expr_op(t->k, SCALAR_and, all, here, NULL) : here;
}

/* Under the conditions that the edges need. */
static void put_tail(const struct micro *u, struct cursor *at, const struct point *p, dim i, struct expr *value,
                     bool rows_known) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct expr *inside = NULL;
    if (m->row >= 0 && u->last_row && !rows_known)
        inside = within(t, inside, d_add(t, u->row, i), d_add(t, u->last_row, num(t, 1)));
    if (u->masked) inside = within(t, inside, p->whole[m->col], m->tiles.extent[m->col]);
    struct stmt *tail = tail_at(u, p, value);
    if (inside)
        stmt_if(t->k, at, inside)->body = tail;
    else
        *at->end = tail;
}

static void unrolled_tail(const struct micro *u, struct cursor *at) {
    struct tiler *t = u->m->t;
    struct cursor a, b, c;
    dim panel = loop_over(t, at, AXIS_UNROLL, "p", num(t, 0), num(t, u->panels), 1, &a)->axis;
    dim i = loop_over(t, &a, AXIS_UNROLL, "i", num(t, 0), num(t, u->rows), 1, &b)->axis;
    dim j = loop_over(t, &b, AXIS_VECTOR, "j", num(t, 0), num(t, u->columns), 1, &c)->axis;
    struct point p = micro_point(u, panel, i, j, false);
    put_tail(u, &c, &p, i, acc_at(u, panel, i, j), false);
}

/* A tail that is long to compute: the tile goes through scratch, so that its code stands once. */
static void looped_tail(const struct micro *u, struct cursor *at) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor a, b, c;
    dim zero = num(t, 0), shape[3] = {num(t, u->panels), num(t, u->rows), num(t, u->columns)};
    struct buffer *sums = stmt_buffer(t->k, at, SPACE_SCRATCH, "sums", m->dtype, 3, shape);
    dim panel = loop_over(t, at, AXIS_UNROLL, "p", zero, shape[0], 1, &a)->axis;
    dim i = loop_over(t, &a, AXIS_UNROLL, "i", zero, shape[1], 1, &b)->axis;
    dim j = loop_over(t, &b, AXIS_VECTOR, "j", zero, shape[2], 1, &c)->axis;
    stmt_store_dims(t->k, &c, sums, 3, (dim[]){panel, i, j}, acc_at(u, panel, i, j));
    dim rows = shape[1];
    if (m->row >= 0 && u->last_row) rows = d_min(t, rows, d_sub(t, d_add(t, u->last_row, num(t, 1)), u->row));
    panel = loop_over(t, at, AXIS_SERIAL, "p", zero, shape[0], 1, &a)->axis;
    i = loop_over(t, &a, AXIS_SERIAL, "i", zero, rows, 1, &b)->axis;
    j = loop_over(t, &b, AXIS_VECTOR, "j", zero, shape[2], 1, &c)->axis;
    struct point p = micro_point(u, panel, i, j, false);
    put_tail(u, &c, &p, i, expr_load_dims(t->k, sums, 3, (dim[]){panel, i, j}), true);
}

static bool is_short(struct matrix *m) {
    for (struct stmt *s = m->tail; s; s = s->next)
        if (s->kind != STMT_STORE && s->kind != STMT_LET) return false;
    return body_weight(m->tail) <= 10;
}

static void put_sums(const struct micro *u, struct cursor *at) {
    if (is_short(u->m))
        unrolled_tail(u, at);
    else
        looped_tail(u, at);
}

/* The tile to or from the place where it waits for the next block of k. */
static void move_waiting(const struct micro *u, struct cursor *at, bool back) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor a, b, c;
    dim zero = num(t, 0);
    dim panel = loop_over(t, at, AXIS_UNROLL, "p", zero, num(t, u->panels), 1, &a)->axis;
    dim i = loop_over(t, &a, AXIS_UNROLL, "i", zero, num(t, u->rows), 1, &b)->axis;
    dim j = loop_over(t, &b, AXIS_VECTOR, "j", zero, num(t, u->columns), 1, &c)->axis;
    dim row = u->row ? d_add(t, u->row, i) : i;
    if (m->row_inner) row = d_add(t, m->row_inner, row);
    dim place[3] = {d_add(t, u->panel, panel), row, j}, own[3] = {panel, i, j};
    if (back)
        stmt_store_dims(t->k, &c, u->acc, 3, own, expr_load_dims(t->k, m->waiting, 3, place));
    else
        stmt_store_dims(t->k, &c, m->waiting, 3, place, expr_load_dims(t->k, u->acc, 3, own));
}

static struct cursor only_if(struct tiler *t, struct cursor *at, enum scalar_op op, dim a, dim b) {
    return kernel_at(&stmt_if(t->k, at, expr_op(t->k, op, expr_dim(t->k, a), expr_dim(t->k, b), NULL))->body);
}

/* The tile's share of the next panel, on its way while this one is summed: the first tile of a panel waits for none. */
static void prefetch_ahead(const struct micro *u, struct cursor *at) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    if (!m->ahead || u->rows != m->rows) return;
    struct cursor in;
    int64_t line = m->t->target->line_bytes / (int64_t)yj_dtype_bytes(m->b.e->dtype);
    dim l = loop_over(t, at, AXIS_UNROLL, "l", num(t, 0), num(t, m->ahead), 1, &in)->axis;
    dim tile = dim_div(t->k->dims, u->row, num(t, m->rows));
    dim element = d_mul(t, d_add(t, d_mul(t, tile, m->ahead), l), line);
    stmt_prefetch(t->k, &in, panel_element(u, num(t, 1), num(t, 0), element));
}

static void one_tile(struct micro *u, struct cursor *at) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    dim sum[TILE_MAX_AXES], shape[3] = {num(t, u->panels), num(t, u->rows), num(t, u->columns)};
    prefetch_ahead(u, at);
    u->acc = stmt_buffer(t->k, at, SPACE_REG, "acc", m->dtype, 3, shape);
    if (!m->k_block) {
        clear(u, at);
        sum_loops(u, at, 0, sum);
        put_sums(u, at);
        return;
    }
    dim zero = num(t, 0), end = d_add(t, m->k_base, num(t, m->k_block)), all = m->sums.extent[0];
    clear(u, at);
    struct cursor in = only_if(t, at, SCALAR_gt, m->k_base, zero);
    move_waiting(u, &in, true);
    sum_loops(u, at, 0, sum);
    in = only_if(t, at, SCALAR_lt, end, all);
    move_waiting(u, &in, false);
    in = only_if(t, at, SCALAR_ge, end, all);
    put_sums(u, &in);
}

/* --- the loops of a task --- */

/* How many rows every block that does not end with a full tile leaves over, if that is one number; else 0. */
static int left_over(const struct matrix *m) {
    int64_t n, high, each = m->rows;
    if (!dim_is_const(m->tiles.extent[m->row], &n)) return 0;
    if (m->flat < 0) return m->row_block % each == 0 ? (int)(n % each) : 0;
    if (!dim_is_const(m->tiles.extent[m->flat], &high)) return 0;
    int64_t block = min64(m->block[m->flat], high), inner = block * n % each, last = high % block * n % each;
    if (high % block == 0) return (int)inner;
    return inner == 0 || inner == last ? (int)last : 0;
}

/* Rows of the block: full tiles, then those at the edge. */
static void row_loops(struct micro *u, struct cursor *at) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor in;
    if (m->row < 0) {
        u->rows = 1;
        one_tile(u, at);
        return;
    }
    dim zero = num(t, 0), one = num(t, 1), extent = m->tiles.extent[m->row];
    dim size = m->few ? extent : d_min(t, num(t, m->row_block), d_sub(t, extent, m->base[m->row]));
    if (m->flat >= 0) size = extent = dim_mul(t->k->dims, block_size(m, m->flat), extent);
    if (m->few) {
        u->rows = m->rows;
        u->row = zero;
        u->last_row = m->few > 1 ? d_sub(t, size, one) : NULL;
        one_tile(u, at);
        return;
    }
    int64_t n;
    bool even = dim_is_const(extent, &n) && n % m->rows == 0 && (m->flat >= 0 || m->row_block % m->rows == 0);
    even |= dim_is_const(size, &n) && n % m->rows == 0;
    dim whole = even ? size : d_mul(t, dim_div(t->k->dims, size, num(t, m->rows)), m->rows);
    u->rows = m->rows;
    u->last_row = NULL;
    u->row = loop_over(t, at, AXIS_SERIAL, "r", zero, whole, m->rows, &in)->axis;
    one_tile(u, &in);
    if (even) return;
    int rest = left_over(m);
    u->rows = rest ? rest : m->edge_rows;
    u->last_row = rest ? NULL : d_sub(t, size, one);
    u->row = loop_over(t, at, AXIS_SERIAL, "r", whole, size, u->rows, &in)->axis;
    one_tile(u, &in);
}

static void panel_loop(struct micro *u, struct cursor *at, dim from, dim to, int panels, bool masked) {
    struct cursor in;
    u->panels = panels;
    u->masked = masked;
    u->panel = loop_over(u->m->t, at, AXIS_SERIAL, "n", from, to, panels, &in)->axis;
    row_loops(u, &in);
}

static void panel_loops(struct micro *u, struct cursor *at) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    dim left = d_sub(t, m->tiles.extent[m->col], m->base[m->col]), block = num(t, m->panel_block), zero = num(t, 0);
    dim all = d_min(t, block, d_ceil_div(t, left, m->columns));
    dim full = m->whole_panels ? all : d_min(t, block, dim_div(t->k->dims, left, num(t, m->columns)));
    dim done = zero;
    u->columns = m->columns;
    if (m->panels > 1) {
        done = d_mul(t, dim_div(t->k->dims, full, num(t, m->panels)), m->panels);
        panel_loop(u, at, zero, done, m->panels, false);
    }
    if (done != full) panel_loop(u, at, done, full, 1, false);
    if (m->whole_panels) return;
    int64_t n;
    bool narrow = dim_is_const(m->tiles.extent[m->col], &n) && !has_zero_columns(m);
    if (narrow) u->columns = (int)(n % m->columns);
    panel_loop(u, at, full, all, 1, !narrow);
}

static void extra_loops(struct micro *u, struct cursor *at, int tile) {
    struct matrix *m = u->m;
    struct tiler *t = m->t;
    struct cursor in;
    for (; tile < m->tiles.n; tile++) {
        if (m->part[tile] == PART_BATCH) u->p.whole[tile] = m->tiles.axis[tile];
        if (m->part[tile] == PART_EXTRA && tile != m->flat) break;
    }
    if (tile == m->tiles.n) {
        panel_loops(u, at);
        return;
    }
    dim size = d_min(t, num(t, m->block[tile]), d_sub(t, m->tiles.extent[tile], m->base[tile]));
    dim local = loop_over(t, at, AXIS_SERIAL, "e", num(t, 0), size, 1, &in)->axis;
    u->p.local[tile] = local;
    u->p.whole[tile] = d_add(t, m->base[tile], local);
    extra_loops(u, &in, tile + 1);
}

void micro_emit(struct matrix *m, struct cursor *at) {
    struct micro u = {.m = m};
    extra_loops(&u, at, 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Operands of a contraction copied into scratch once a task: panels that the register tile reads in order, rows without
 * the strides that collide in a cache, a convolution's input with its padding filled in, so that the inner loops have
 * no conditions. Any expression can be staged: casts and cheap producers are computed here, once.
 */
#include "compiler/tile_matrix.h"

#define AHEAD_BYTES 2048 /* on their way while rows are copied */
#define MOST_LINES 32    /* of a row that is asked for at once */

/* E with U for the tile axis (and the sum axis at 0), or for the sum axis (and the tile axis at AT). U goes first: a
 * limit that its range reaches must not be lost because the old axis did not reach it. */
static struct expr *with_tile(struct matrix *m, struct expr *e, int tile, int sum, dim u) {
    e = expr_substitute(m->t->k, e, m->tiles.axis[tile], u);
    return expr_substitute(m->t->k, e, m->sums.axis[sum], num(m->t, 0));
}

static struct expr *with_sum(struct matrix *m, struct expr *e, int tile, int sum, dim at, dim u) {
    e = expr_substitute(m->t->k, e, m->sums.axis[sum], u);
    return expr_substitute(m->t->k, e, m->tiles.axis[tile], at);
}

dim k_left(struct matrix *m) {
    int64_t n;
    dim block = num(m->t, m->k_block);
    if (dim_is_const(m->sums.extent[0], &n) && n % m->k_block == 0) return block;
    return d_min(m->t, block, d_sub(m->t, m->sums.extent[0], m->k_base));
}

static struct stage_axis *axis_add(struct operand *o, int kind, int tile, int sum, dim room, dim walk) {
    struct stage_axis *a = &o->axis[o->n++];
    *a = (struct stage_axis){.kind = kind, .tile = tile, .sum = sum, .room = room, .walk = walk};
    return a;
}

static void add_sums(struct matrix *m, struct operand *o, unsigned sums) {
    struct tiler *t = m->t;
    for (int k = 0; k < m->sums.n; k++) {
        if (!(sums >> k & 1)) continue;
        dim extent = m->sums.extent[k];
        if (m->k_block)
            axis_add(o, STAGE_SUM, -1, k, num(t, m->k_block), k_left(m));
        else
            axis_add(o, STAGE_SUM, -1, k, extent, extent);
    }
}

/* E names tile axis T and sum axis K only as stride * T + dilation * K: found by trying small strides and dilations on
 * a fresh symbol and substituting back. */
static bool is_window(struct matrix *m, struct expr *e, int tile, int sum, int64_t stride, int64_t dilation) {
    struct tiler *t = m->t;
    if (stride != 1 && dilation != 1) return false;
    dim u = dim_symbol(t->k->dims, ".u", INT64_MIN, DIM_UNBOUNDED);
    struct expr *of_u = stride == 1 ? with_tile(m, e, tile, sum, u) : with_sum(m, e, tile, sum, num(t, 0), u);
    dim sum_of = d_add(t, d_mul(t, m->tiles.axis[tile], stride), d_mul(t, m->sums.axis[sum], dilation));
    return same_expr(expr_substitute(t->k, of_u, u, sum_of), e);
}

static bool window_shape(struct matrix *m, const struct operand *o, int tile, int sum, int64_t *stride,
                         int64_t *dilation) {
    for (*stride = 1; *stride <= 4; ++*stride)
        for (*dilation = 1; *dilation <= 8; ++*dilation)
            if (is_window(m, o->e, tile, sum, *stride, *dilation)) return true;
    return false;
}

int window_of(struct matrix *m, const struct operand *o, int tile) {
    int64_t stride, dilation;
    if (!(o->tiles >> tile & 1)) return -1;
    for (int k = 0; k < m->sums.n; k++)
        if ((o->sums >> k & 1) && window_shape(m, o, tile, k, &stride, &dilation)) return k;
    return -1;
}

static int64_t block_of(const struct matrix *m, int tile) {
    if (tile == m->col) return m->panel_block * m->columns;
    return tile == m->row ? m->row_block : m->block[tile];
}

dim block_size(struct matrix *m, int tile) {
    if (tile == m->row && m->flat >= 0) return m->tiles.extent[tile];
    dim left = d_sub(m->t, m->tiles.extent[tile], m->base[tile]);
    return d_min(m->t, num(m->t, block_of(m, tile)), left);
}

static bool is_blocked(const struct matrix *m, int tile) {
    return m->part[tile] != PART_BATCH;
}

static void plan_windows(struct matrix *m, struct operand *o, unsigned *sums) {
    struct tiler *t = m->t;
    for (int i = 0; i < m->tiles.n; i++) {
        if (!is_blocked(m, i) || !(o->tiles >> i & 1)) continue;
        int k = window_of(m, o, i);
        dim walk = block_size(m, i), one = num(t, 1),
            room = i == m->row && m->flat >= 0 ? walk : num(t, block_of(m, i));
        if (k < 0) {
            axis_add(o, STAGE_LOCAL, i, -1, room, walk);
            continue;
        }
        int64_t stride, dilation;
        window_shape(m, o, i, k, &stride, &dilation);
        dim reach = d_add(t, d_mul(t, d_sub(t, m->sums.extent[k], one), dilation), one);
        struct stage_axis *a = axis_add(o, STAGE_WINDOW, i, k, d_add(t, d_mul(t, d_sub(t, room, one), stride), reach),
                                        d_add(t, d_mul(t, d_sub(t, walk, one), stride), reach));
        a->stride = stride;
        a->dilation = dilation;
        *sums &= ~(1u << k);
    }
}

/* The offset of the operand's load by an axis, when it is a constant; 0: not, or no load. */
static int64_t load_stride(struct matrix *m, const struct operand *o, dim axis) {
    int64_t c = 0;
    if (o->e->kind != EXPR_LOAD) return 0;
    dim by = stride_of(m->t, flat_subs(m->t, o->e->buffer, o->e->arg), axis);
    return by && dim_is_const(by, &c) ? c : 0;
}

bool stage_plan(struct matrix *m, struct operand *o, bool panels) {
    struct tiler *t = m->t;
    unsigned sums = o->sums;
    dim shape[TILE_MAX_AXES];
    o->n = 0;
    if (panels) {
        dim left = d_ceil_div(t, d_sub(t, m->tiles.extent[m->col], m->base[m->col]), m->columns);
        axis_add(o, STAGE_PANEL, m->col, -1, num(t, m->panel_block), d_min(t, num(t, m->panel_block), left));
        add_sums(m, o, o->sums);
        axis_add(o, STAGE_LANE, m->col, -1, num(t, m->columns), num(t, m->columns));
    } else {
        plan_windows(m, o, &sums);
        int windows = o->n;
        add_sums(m, o, sums);
        /* The axis along which the operand lies goes last: columns always, rows of a transposed one. */
        int last = o->tiles >> m->col & 1 ? m->col : -1;
        if (last < 0 && m->row >= 0 && load_stride(m, o, m->tiles.axis[m->row]) == 1) last = m->row;
        for (int i = 0; last >= 0 && i < windows; i++) {
            if (o->axis[i].tile != last) continue;
            struct stage_axis a = o->axis[i];
            memmove(&o->axis[i], &o->axis[i + 1], (size_t)(o->n - i - 1) * sizeof a);
            o->axis[o->n - 1] = a;
            break;
        }
    }
    if (o->n < 1 || o->n > KERNEL_MAX_RANK) return false;
    for (int i = 0; i < o->n; i++)
        shape[i] = o->axis[i].room;
    struct stmt *nowhere = NULL;
    struct cursor at = kernel_at(&nowhere);
    o->stage = stmt_buffer(t->k, &at, SPACE_SCRATCH, "stage", o->e->dtype, o->n, shape);
    return true;
}

/* The operand's expression at the index I of each stage axis. */
static struct expr *stage_source(struct matrix *m, const struct operand *o, const dim *i) {
    struct tiler *t = m->t;
    struct expr *e = o->e;
    dim panel = NULL;
    for (int a = 0; a < o->n; a++) {
        const struct stage_axis *s = &o->axis[a];
        dim base = s->tile >= 0 ? m->base[s->tile] : NULL;
        switch (s->kind) {
        case STAGE_LOCAL:
            e = expr_substitute(t->k, e, m->tiles.axis[s->tile], d_add(t, base, i[a]));
            break;
        case STAGE_SUM:
            e = expr_substitute(t->k, e, m->sums.axis[s->sum], m->k_block ? d_add(t, m->k_base, i[a]) : i[a]);
            break;
        case STAGE_WINDOW:
            if (s->stride == 1)
                e = with_tile(m, e, s->tile, s->sum, d_add(t, base, i[a]));
            else
                e = with_sum(m, e, s->tile, s->sum, base, i[a]);
            break;
        case STAGE_PANEL:
            panel = i[a];
            break;
        case STAGE_LANE: {
            dim column = d_add(t, d_add(t, base, d_mul(t, panel, m->columns)), i[a]);
            e = expr_substitute(t->k, e, m->tiles.axis[s->tile], column);
        }
        }
    }
    return e;
}

static struct expr *zero_like(struct tiler *t, enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' ? expr_const_f(t->k, dtype, 0) : expr_const_i(t->k, dtype, 0);
}

/* Panels: lanes beyond the last column are zeros. */
static void stage_panel_row(struct matrix *m, struct operand *o, struct cursor *at, dim *i) {
    struct tiler *t = m->t;
    int last = o->n - 1;
    struct cursor in, guarded;
    dim panel = i[0], base = d_add(t, m->base[m->col], d_mul(t, panel, m->columns)), n = m->tiles.extent[m->col];
    for (int beyond = 0; beyond < (m->whole_panels ? 1 : 2); beyond++) {
        i[last] = loop_over(t, at, AXIS_VECTOR, "l", num(t, 0), num(t, m->columns), 1, &in)->axis;
        guarded = in;
        if (!m->whole_panels) {
            enum scalar_op op = beyond ? SCALAR_ge : SCALAR_lt;
            struct expr *inside = expr_op(t->k, op, expr_dim(t->k, d_add(t, base, i[last])), expr_dim(t->k, n), NULL);
            guarded = kernel_at(&stmt_if(t->k, &in, inside)->body);
        }
        struct expr *e = beyond ? zero_like(t, o->e->dtype) : stage_source(m, o, i);
        stmt_store_dims(t->k, &guarded, o->stage, o->n, i, e);
    }
}

/* Short rows far from each other are more than a cache foresees: what is copied in a moment is asked for. I: where the
 * copy stands; OUTER: the axis that steps from row to row; the rows lie along the last axis, BYTES of them. */
static void prefetch_rows(struct matrix *m, struct operand *o, struct cursor *at, const dim *i, int outer,
                          int64_t bytes, int64_t row_bytes) {
    struct tiler *t = m->t;
    const struct expr *e = o->e;
    int64_t line = t->target->line_bytes, each = line / (int64_t)yj_dtype_bytes(e->dtype);
    if (e->kind != EXPR_LOAD || e->buffer->space != SPACE_GLOBAL || line < 1 || bytes > MOST_LINES * line) return;
    for (int a = 0; a < e->n; a++)
        if (e->arg[a]->kind != EXPR_DIM) return;
    struct cursor in;
    dim ahead[TILE_MAX_AXES];
    memcpy(ahead, i, sizeof ahead);
    ahead[outer] = d_add(t, i[outer], num(t, max64(1, AHEAD_BYTES / row_bytes)));
    dim l = loop_over(t, at, AXIS_UNROLL, "l", num(t, 0), num(t, (bytes + line - 1) / line), 1, &in)->axis;
    ahead[o->n - 1] = d_mul(t, l, each);
    stmt_prefetch(t->k, &in, stage_source(m, o, ahead));
}

static bool lies_along(struct matrix *m, const struct operand *o, const struct stage_axis *a) {
    if (a->kind != STAGE_SUM && a->kind != STAGE_LOCAL) return false;
    return load_stride(m, o, a->kind == STAGE_SUM ? m->sums.axis[a->sum] : m->tiles.axis[a->tile]) == 1;
}

void stage_emit(struct matrix *m, struct operand *o, struct cursor *at) {
    struct tiler *t = m->t;
    if (!o->stage) return;
    dim i[TILE_MAX_AXES] = {NULL};
    struct cursor in = *at, outer = in;
    stmt_buffer(t->k, &in, SPACE_SCRATCH, "stage", o->stage->dtype, o->stage->rank, o->stage->shape);
    struct stmt *declared = *at->end;
    o->stage = declared->buffer;
    outer = in;
    bool panels = o->axis[0].kind == STAGE_PANEL;
    bool rows = panels && load_stride(m, o, m->tiles.axis[m->col]) == 1; /* whole rows of B, as they lie */
    for (int n = 0; n < o->n - 1; n++) {
        int a = rows ? (n + 1) % (o->n - 1) : n;
        struct cursor body;
        i[a] = loop_over(t, &in, AXIS_SERIAL, o->axis[a].kind == STAGE_SUM ? "k" : "s", num(t, 0), o->axis[a].walk, 1,
                         &body)
                   ->axis;
        if (n == 0) outer = in;
        in = body;
    }
    int64_t n = 0, bytes = (int64_t)yj_dtype_bytes(o->e->dtype);
    if (rows) prefetch_rows(m, o, &in, i, o->n - 2, m->columns * bytes, m->panel_block * m->columns * bytes);
    if (!panels && o->n > 1 && lies_along(m, o, &o->axis[o->n - 1]) && dim_is_const(o->axis[o->n - 1].room, &n) &&
        n > 0)
        prefetch_rows(m, o, &in, i, o->n - 2, n * bytes, n * bytes);
    if (panels) {
        stage_panel_row(m, o, &in, i);
    } else {
        struct stmt *one = NULL;
        struct cursor store = kernel_at(&one);
        dim walk = kernel_axis(t->k, "s", num(t, 0), o->axis[o->n - 1].walk);
        i[o->n - 1] = walk;
        stmt_store_dims(t->k, &store, o->stage, o->n, i, stage_source(m, o, i));
        emit_span(t, &in, one, walk, num(t, 0), o->axis[o->n - 1].walk, span_lanes(t, one, o->axis[o->n - 1].walk));
    }
    *at = o->n > 1 ? outer : in;
}

struct expr *operand_at(struct matrix *m, const struct operand *o, const struct point *p) {
    struct tiler *t = m->t;
    if (!o->stage) {
        struct expr *e = substitute(t, o->e, m->tiles.n, m->tiles.axis, p->whole);
        return substitute(t, e, m->sums.n, m->sums.axis, p->sum);
    }
    dim i[TILE_MAX_AXES];
    for (int a = 0; a < o->n; a++) {
        const struct stage_axis *s = &o->axis[a];
        switch (s->kind) {
        case STAGE_LOCAL:
            i[a] = p->local[s->tile];
            break;
        case STAGE_SUM:
            i[a] = p->sum_local[s->sum];
            break;
        case STAGE_WINDOW:
            i[a] = d_add(t, d_mul(t, p->local[s->tile], s->stride), d_mul(t, p->sum_local[s->sum], s->dilation));
            break;
        case STAGE_PANEL:
            i[a] = dim_div(t->k->dims, p->local[s->tile], num(t, m->columns));
            break;
        case STAGE_LANE:
            i[a] = dim_mod(t->k->dims, p->local[s->tile], num(t, m->columns));
            break;
        }
    }
    return expr_load_dims(t->k, o->stage, o->n, i);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Contractions: what they are (a register accumulator, loops with one store acc = fma(a, b, acc), a tail), which part
 * each axis plays, and how large tiles, panels and blocks are for the target's registers and caches. Sums keep their
 * order: k is never cut in a way that starts a second sum.
 */
#include "compiler/tile_matrix.h"

#include <math.h>

#define LEAST_FLOPS 2e6 /* of a task: handing it out costs nothing then */
#define MOST_FLOPS 3e9
#define LIKELY_ROWS 64 /* where the number is open: enough tasks for these; more rows are more tasks */
#define MOST_BLOCKS 8  /* of rows in a task */
#define MOST_AHEAD 32  /* lines that a tile prefetches: more would wait for each other */

/* --- recognition --- */

static bool is_acc_load(const struct expr *e, const struct buffer *acc) {
    return e->kind == EXPR_LOAD && e->buffer == acc;
}

static bool tile_operand(enum yj_dtype sum, enum yj_dtype dtype) {
    switch (sum) {
    case YJ_F64:
        return dtype == YJ_F64;
    case YJ_F32:
        return dtype == YJ_F32 || dtype == YJ_F16 || dtype == YJ_BF16;
    case YJ_I32:
        return dtype == YJ_I8 || dtype == YJ_U8;
    default:
        return false;
    }
}

/* The operand as fma_tile takes it: it widens by itself. */
static struct expr *bare(enum yj_dtype sum, struct expr *e) {
    return e->kind == EXPR_CAST && tile_operand(sum, e->arg[0]->dtype) ? e->arg[0] : e;
}

static bool match_product(struct matrix *m, const struct stmt *s) {
    if (!s || s->next || s->kind != STMT_STORE || s->buffer != m->acc || s->value->kind != EXPR_OP) return false;
    const struct expr *v = s->value;
    if (v->op == SCALAR_fma && is_acc_load(v->arg[2], m->acc)) {
        m->a.e = v->arg[0];
        m->b.e = v->arg[1];
    } else if (v->op == SCALAR_add && is_acc_load(v->arg[0], m->acc) && v->arg[1]->kind == EXPR_OP &&
               v->arg[1]->op == SCALAR_mul) {
        m->a.e = v->arg[1]->arg[0];
        m->b.e = v->arg[1]->arg[1];
    } else {
        return false;
    }
    m->dtype = m->acc->dtype;
    struct expr *a = bare(m->dtype, m->a.e), *b = bare(m->dtype, m->b.e);
    bool alike = m->dtype == YJ_I32 || a->dtype == b->dtype;
    if (alike || !tile_operand(m->dtype, m->a.e->dtype)) m->a.e = a;
    if (alike || !tile_operand(m->dtype, m->b.e->dtype)) m->b.e = b;
    return tile_operand(m->dtype, m->a.e->dtype) && tile_operand(m->dtype, m->b.e->dtype) &&
           (m->dtype == YJ_I32 || m->a.e->dtype == m->b.e->dtype);
}

static struct expr *replace_let(void *user, struct expr *e) {
    struct stmt *let = user;
    return e->kind == EXPR_LET && e->let == let ? let->value : e;
}

static void mark_axes(struct matrix *m, struct operand *o) {
    for (int i = 0; i < m->tiles.n; i++)
        if (expr_has(o->e, m->tiles.axis[i])) o->tiles |= 1u << i;
    for (int i = 0; i < m->sums.n; i++)
        if (expr_has(o->e, m->sums.axis[i])) o->sums |= 1u << i;
}

static bool names_acc_only_loaded(struct matrix *m) {
    for (struct stmt *s = m->tail; s; s = s->next)
        if (s->kind == STMT_LOOP || s->kind == STMT_REDUCE || (s->kind == STMT_STORE && s->buffer == m->acc))
            return false;
    return m->tail != NULL;
}

static bool match_body(struct matrix *m) {
    struct stmt *product = stmt_clone(m->t->k, m->sums.body, NULL, NULL);
    inline_lets(m->t, &product);
    return match_product(m, product);
}

static bool match(struct tiler *t, struct matrix *m) {
    *m = (struct matrix){.t = t, .row = -1, .flat = -1};
    m->tiles = nest_read(t->k->body, AXIS_TILE);
    if (m->tiles.n == 0) return false;
    nest_merge(t, &m->tiles);
    t->k->body = nest_write(t, &m->tiles, AXIS_TILE);
    struct stmt *s = m->tiles.body;
    for (; s && s->kind == STMT_LET; s = s->next)
        body_rewrite(t, s->next, replace_let, s);
    if (!s || s->kind != STMT_BUFFER || s->buffer->space != SPACE_REG || s->buffer->rank != 1) return false;
    m->acc = s->buffer;
    s = s->next;
    if (!s || s->kind != STMT_STORE || s->buffer != m->acc || s->value->kind != EXPR_CONST) return false;
    m->first = s->value;
    s = s->next;
    if (!s || s->kind != STMT_LOOP) return false;
    m->tail = s->next;
    m->sums = nest_read(s, AXIS_SERIAL);
    if (!match_body(m) || !names_acc_only_loaded(m)) return false;
    nest_merge(t, &m->sums);
    struct stmt *merged = nest_write(t, &m->sums, AXIS_SERIAL);
    s->axis = merged->axis;
    s->to = merged->to;
    s->body = merged->body;
    if (!match_body(m)) return false;
    mark_axes(m, &m->a);
    mark_axes(m, &m->b);
    return true;
}

/* --- parts --- */

static bool named(const struct operand *o, int tile) {
    return o->tiles >> tile & 1;
}

static bool choose_parts(struct matrix *m) {
    m->col = m->tiles.n - 1;
    if (named(&m->a, m->col) == named(&m->b, m->col)) return false;
    if (named(&m->a, m->col)) {
        struct operand a = m->a;
        m->a = m->b;
        m->b = a;
    }
    m->part[m->col] = PART_COL;
    for (int i = m->col - 1; i >= 0; i--) {
        if (named(&m->a, i) == named(&m->b, i)) continue;
        if (named(&m->a, i) && m->row < 0) {
            m->row = i;
            m->part[i] = PART_ROW;
        } else if (window_of(m, named(&m->a, i) ? &m->a : &m->b, i) >= 0) {
            m->part[i] = PART_EXTRA;
        }
    }
    return true;
}

/* --- how operands lie --- */

struct find_mod {
    dim axis;
    int64_t by;
};

static void find_mod(dim d, struct find_mod *f) {
    int64_t c;
    if (d->op == DIM_MOD && dim_contains(d->a, f->axis) && dim_is_const(d->b, &c)) f->by = c;
    if (d->a) find_mod(d->a, f);
    if (d->b) find_mod(d->b, f);
}

static int64_t cut_of(const struct expr *load, dim axis) {
    struct find_mod f = {axis, 0};
    for (int i = 0; i < load->n; i++)
        if (load->arg[i]->kind == EXPR_DIM) find_mod(load->arg[i]->dim, &f);
    return f.by;
}

static bool all_dims(const struct expr *load) {
    for (int i = 0; i < load->n; i++)
        if (load->arg[i]->kind != EXPR_DIM) return false;
    return true;
}

static int64_t stride_along(struct matrix *m, const struct expr *load, dim axis) {
    int64_t c = -1;
    dim by = stride_of(m->t, flat_subs(m->t, load->buffer, load->arg), axis);
    return by && dim_is_const(by, &c) ? c : -1;
}

/* B in panels of P columns: seen by cutting the column axis and looking whether lanes then lie side by side. */
static bool is_packed(struct matrix *m, int64_t *columns) {
    struct tiler *t = m->t;
    struct expr *e = m->b.e;
    if (e->kind != EXPR_LOAD || !all_dims(e)) return false;
    *columns = cut_of(e, m->tiles.axis[m->col]);
    if (*columns < 2 || *columns > 256) return false;
    dim panel = kernel_axis(t->k, "panel", num(t, 0), num(t, DIM_UNBOUNDED)),
        lane = kernel_axis(t->k, "lane", num(t, 0), num(t, *columns));
    struct expr *cut = expr_substitute(t->k, e, m->tiles.axis[m->col], d_add(t, d_mul(t, panel, *columns), lane));
    int64_t group = cut_of(e, m->sums.axis[m->sums.n - 1]);
    m->group = group > 1 ? (int)group : 1;
    int64_t by = stride_along(m, cut, lane);
    if (by == m->group) return true;
    m->group = 0;
    return false;
}

static dim total(struct matrix *m, const struct operand *o) {
    dim n = num(m->t, 1);
    for (int i = 0; i < m->sums.n; i++)
        if (o->sums >> i & 1) n = dim_mul(m->t->k->dims, n, m->sums.extent[i]);
    return n;
}

/* --- sizes --- */

static void register_tile(struct matrix *m, int64_t packed) {
    const struct yj_target *g = m->t->target;
    int64_t n, lanes = max64(m->t->lanes * 4 / (int64_t)yj_dtype_bytes(m->dtype), 1);
    m->rows = 4;
    m->columns = (int)min64(2 * lanes, 8);
    for (size_t i = 0; i < COUNT(g->tiles) && g->tiles[i].rows; i++)
        if (g->tiles[i].dtype == (m->dtype == YJ_I32 ? YJ_I8 : m->dtype)) {
            m->rows = g->tiles[i].rows;
            m->columns = g->tiles[i].columns;
        }
    int64_t accumulators = (int64_t)m->rows * m->columns;
    if (packed)
        m->columns = (int)packed;
    else if (dim_is_const(m->tiles.extent[m->col], &n) && n < m->columns)
        m->columns = (int)max64(n, 1);
    m->rows = (int)max64(min64(accumulators / m->columns, 2 * m->rows), 1);
    if (m->row < 0) m->rows = 1;
    m->edge_rows = (int)min64(4, m->rows);
    m->panels = 1;
}

/* Short rows of a convolution leave much of a register tile unused: then the rows of a block follow each other. */
static void flat_rows(struct matrix *m) {
    int64_t n = 0;
    if (m->row < 0 || m->few) return;
    bool fixed = dim_is_const(m->tiles.extent[m->row], &n);
    if (fixed && 10 * n >= 9 * ((n + m->rows - 1) / m->rows * m->rows)) return;
    for (int i = 0; i < m->tiles.n; i++)
        if (m->part[i] == PART_EXTRA && named(&m->a, i)) m->flat = i;
}

/* Rows in tiles of one height, as even as they come. */
static void even_rows(struct matrix *m) {
    int64_t n, high = 1;
    if (m->row < 0 || m->few || !dim_is_const(m->tiles.extent[m->row], &n) || n < 1) return;
    if (m->flat >= 0) high = min64(m->block[m->flat], dim_guess(m->tiles.extent[m->flat], 8));
    n *= high;
    int64_t tiles = (n + m->rows - 1) / m->rows;
    m->rows = (int)((n + tiles - 1) / tiles);
    m->edge_rows = (int)min64(4, m->rows);
}

static void few_rows(struct matrix *m) {
    m->rows = m->row < 0 ? 1 : (int)m->few;
    m->row_block = m->few;
}

static bool reads_in_place(struct matrix *m, const struct operand *o, dim axis) {
    const struct expr *e = o->e;
    return e->kind == EXPR_LOAD && all_dims(e) && stride_of(m->t, flat_subs(m->t, e->buffer, e->arg), axis);
}

static int64_t guess_extent(struct matrix *m, int tile) {
    return tile < 0 ? 1 : max64(1, dim_guess(m->tiles.extent[tile], 512));
}

/* For the number of tasks an open extent is a small one: one picture, one sentence, some rows of it. */
static int64_t likely_extent(struct matrix *m, int tile) {
    if (tile < 0) return 1;
    int64_t unknown = tile == m->row ? LIKELY_ROWS : m->part[tile] == PART_BATCH ? 1 : 8;
    return max64(1, dim_guess(m->tiles.extent[tile], unknown));
}

/* One row: memory is what counts, so several panels are read side by side and tasks are small. */
static void size_one_row(struct matrix *m, int64_t k, int64_t n_panels) {
    int64_t each = m->columns * k * (int64_t)yj_dtype_bytes(m->b.e->dtype);
    m->panels = (int)max64(1, min64(4, 8 * m->t->lanes / m->columns));
    if (m->stage_b) m->panels = 1;
    m->panel_block = max64(1, min64(n_panels, (m->stage_b ? 128 << 10 : 512 << 10) / max64(each, 1)));
    while (m->panel_block > 1 && n_panels / m->panel_block < 4 * max64(m->t->target->cores, 1))
        m->panel_block /= 2;
    m->panel_block = max64(m->panel_block / m->panels, 1) * m->panels;
}

/* One tile holds all rows. */
static bool is_low(struct matrix *m) {
    int64_t n;
    return m->row >= 0 && m->flat < 0 && dim_is_const(m->tiles.extent[m->row], &n) && n <= m->rows;
}

/* A block of k such that a panel of it stays in the first cache while the rows of a block go by. */
static void size_k(struct matrix *m) {
    int64_t k = dim_guess(m->sums.extent[0], 1024), bytes = (int64_t)yj_dtype_bytes(m->b.e->dtype);
    int64_t fit = max64(m->t->target->l1_bytes, 16 << 10) * 2 / 3 / (m->columns * bytes);
    fit = max64(128, min64(fit, 512)) / 32 * 32;
    if (m->sums.n != 1 || m->few || m->row < 0 || is_low(m) || k <= fit * 3 / 2) return;
    int64_t blocks = (k + fit - 1) / fit;
    m->k_block = dim_is_const(m->sums.extent[0], &k) ? ((k + blocks - 1) / blocks + 3) / 4 * 4 : fit;
}

static double task_flops(const struct matrix *m, double unit) {
    double flops = unit * (double)min64(m->row_task, m->likely_rows) * (double)m->panel_block;
    for (int i = 0; i < m->tiles.n; i++)
        flops *= (double)m->block[i];
    return flops;
}

/* A copy of B serves several blocks of rows. */
static void size_row_task(struct matrix *m, int64_t rows) {
    m->row_task = m->row_block;
    if (!m->stage_b || m->window_b || m->few || m->row < 0 || m->flat >= 0) return;
    for (int i = 0; i < m->tiles.n; i++)
        if (m->part[i] == PART_EXTRA) return;
    m->row_task *= min64(MOST_BLOCKS, (rows + m->row_block - 1) / m->row_block);
}

static bool halve(int64_t *n, int64_t unit, int64_t least) {
    if (*n <= least * unit) return false;
    *n = max64((*n / 2 + unit - 1) / unit, least) * unit;
    return true;
}

static bool halve_rows(struct matrix *m, int64_t least) {
    if (halve(&m->row_task, m->row_block, 1)) return true;
    bool halved = halve(&m->row_block, m->rows, least);
    m->row_task = m->row_block;
    return halved;
}

/* How many sums share one element of a sliding operand. */
static double overlap(struct matrix *m, const struct operand *o) {
    double n = 1;
    for (int i = 0; i < m->tiles.n; i++) {
        int k = m->part[i] == PART_BATCH ? -1 : window_of(m, o, i);
        if (k >= 0) n *= (double)max64(1, dim_guess(m->sums.extent[k], 3));
    }
    return n;
}

/* The number of rows is known only at run time. */
static bool is_open(struct matrix *m) {
    int64_t n;
    if (m->row < 0 || m->few || m->flat >= 0 || dim_is_const(m->tiles.extent[m->row], &n)) return false;
    for (int i = 0; i < m->tiles.n; i++)
        if (m->part[i] == PART_EXTRA) return false;
    return true;
}

/* Few rows may come: columns go first, as a panel is read for a block of rows and no more. */
static void cut_open_task(struct matrix *m, double unit, double wanted) {
    int64_t least = m->stage_b || !reads_in_place(m, &m->a, m->tiles.axis[m->row]) ? 2 : 4;
    while (task_flops(m, unit) > wanted)
        if (!halve(&m->panel_block, 1, least) && !halve_rows(m, 10)) return;
}

/* Cuts a task until the pool has enough of them, along the side whose cut makes less be read again. Rows count twice:
 * they may be copied before they are used, columns are not; where columns are, it is they that count twice. */
static void cut_task(struct matrix *m, double unit, double wanted) {
    double thin = (m->row_task > m->row_block ? 0.5 : 2) / overlap(m, &m->a);
    for (bool cut = true; cut && task_flops(m, unit) > wanted;) {
        bool rows = !m->few && m->flat < 0;
        double high = (double)min64(m->row_task, m->likely_rows), wide = (double)(m->panel_block * m->columns);
        for (int i = 0; i < m->tiles.n; i++)
            high *= (double)m->block[i];
        bool by_rows = thin * high >= wide;
        cut = !by_rows && halve(&m->panel_block, 1, 4);
        cut = cut || (rows && halve_rows(m, 4));
        for (int i = 0; i < m->tiles.n && !cut; i++)
            cut = by_rows && halve(&m->block[i], 1, 2);
        cut = cut || halve(&m->panel_block, 1, by_rows ? 4 : 1) || (rows && halve_rows(m, 1)) ||
              halve(&m->panel_block, 1, 1);
        for (int i = 0; i < m->tiles.n && !cut; i++)
            cut = halve(&m->block[i], 1, 1);
    }
}

static bool slides(struct matrix *m, const struct operand *o) {
    for (int i = 0; i < m->tiles.n; i++)
        if (m->part[i] != PART_BATCH && window_of(m, o, i) >= 0) return true;
    return false;
}

/* Whether B is copied: because of how it lies, or because it is read so often that a copy pays. */
static void choose_copy(struct matrix *m, bool packed) {
    dim column = m->tiles.axis[m->col];
    m->window_b = slides(m, &m->b);
    if (packed) return;
    m->stage_b = m->b.e->kind != EXPR_LOAD || !all_dims(m->b.e) || stride_along(m, m->b.e, column) != 1;
    if (!m->window_b && !m->few && m->row >= 0 && guess_extent(m, m->row) >= 24) m->stage_b = true;
}

/* Blocks as even as they come. */
static void even_blocks(struct matrix *m, int64_t tall, int64_t n_panels) {
    int64_t fixed, per = m->row_block / m->rows, task = m->row_task / m->row_block;
    if (!m->few && m->flat < 0 && dim_is_const(m->tiles.extent[m->row], &fixed)) {
        int64_t blocks = (tall + per - 1) / per;
        m->row_block = (tall + blocks - 1) / blocks * m->rows;
        m->row_task = task * m->row_block;
    }
    if (dim_is_const(m->tiles.extent[m->col], &fixed)) {
        int64_t blocks = (n_panels + m->panel_block - 1) / m->panel_block, cores = m->t->target->cores;
        if (is_open(m) && blocks > cores && cores > 1) blocks = (blocks + cores - 1) / cores * cores;
        m->panel_block = (n_panels + blocks - 1) / blocks;
    }
}

static void size_blocks(struct matrix *m) {
    const struct yj_target *g = m->t->target;
    int64_t k = max64(1, dim_guess(total(m, &m->b), 1024)), n = guess_extent(m, m->col), rows = guess_extent(m, m->row);
    int64_t bytes = (int64_t)yj_dtype_bytes(m->a.e->dtype), l2 = max64(g->l2_bytes, 128 << 10);
    int64_t n_panels = (n + m->columns - 1) / m->columns;
    m->likely_rows = m->few ? m->few : likely_extent(m, m->row);
    double unit = 2.0 * m->columns * (double)k, whole = unit * (double)m->likely_rows * (double)n_panels;
    for (int i = 0; i < m->tiles.n; i++) {
        m->block[i] = 1;
        if (m->part[i] == PART_BATCH || m->part[i] == PART_EXTRA) whole *= (double)likely_extent(m, i);
    }
    if (m->few <= 1 && (m->row < 0 || m->few == 1)) {
        size_one_row(m, k, n_panels);
        if (m->row < 0) m->row_block = 1;
        m->row_task = m->row_block;
        return;
    }
    if (m->few) { /* a task's part of B stays in the second cache; a copy is read at once */
        int64_t panel = m->columns * k * (int64_t)yj_dtype_bytes(m->b.e->dtype);
        n_panels = min64(n_panels, max64(1, (m->stage_b ? l2 / 4 : l2) / panel));
    }
    size_k(m);
    int64_t deep = m->k_block ? m->k_block : k, tall = (rows + m->rows - 1) / m->rows;
    if (!m->few) m->row_block = max64(1, min64(min64(l2 / 2 / (deep * bytes) / m->rows, 22), tall)) * m->rows;
    if (m->flat >= 0) m->row_block = rows; /* whole rows */
    m->panel_block = n_panels;
    if (m->k_block)
        m->panel_block =
            max64(1, min64(n_panels, l2 * 9 / 16 / (m->row_block * m->columns * (int64_t)yj_dtype_bytes(m->dtype))));
    for (int i = 0; i < m->tiles.n; i++)
        if (m->part[i] == PART_EXTRA) m->block[i] = max64(1, min64(guess_extent(m, i), 8));
    size_row_task(m, rows);
    double tasks = (m->row_task > m->row_block ? 2 : 4) * (double)max64(g->cores, 1); /* each copies its part of B */
    (is_open(m) ? cut_open_task : cut_task)(m, unit, fmin(fmax(1.1 * whole / tasks, LEAST_FLOPS), MOST_FLOPS));
    even_blocks(m, tall, n_panels);
}

/* --- the kernel --- */

/* Rows whose distance is a multiple of half a page fall on the same few lines of the first cache. */
static bool rows_collide(struct matrix *m) {
    if (m->row < 0 || m->few || is_low(m)) return false;
    int64_t stride = stride_along(m, m->a.e, m->tiles.axis[m->row]) * (int64_t)yj_dtype_bytes(m->a.e->dtype);
    int64_t k = dim_guess(total(m, &m->a), 1024), n = guess_extent(m, m->col);
    return stride > 0 && stride % 2048 == 0 && k >= 64 && n >= 2 * m->columns;
}

/* The next panel of B, in equal shares of the tiles of a column of tiles. */
static void size_ahead(struct matrix *m, bool packed) {
    const struct yj_target *g = m->t->target;
    bool panels = packed || (m->b.stage && m->b.axis[0].kind == STAGE_PANEL);
    int64_t k = m->k_block ? m->k_block : dim_guess(total(m, &m->b), 1024), rows = m->row_block;
    int64_t panel = k * m->columns * (int64_t)yj_dtype_bytes(m->b.e->dtype);
    int64_t tiles = (m->flat >= 0 ? rows * m->block[m->flat] : rows) / m->rows;
    if (m->few || m->row < 0 || !panels || g->line_bytes < 1 || tiles < 2) return;
    if (panel * ((guess_extent(m, m->col) + m->columns - 1) / m->columns) < g->l2_bytes / 2) return;
    m->ahead = (int)min64(MOST_AHEAD, (panel / g->line_bytes + tiles - 1) / tiles);
}

static bool plan_operands(struct matrix *m) {
    dim row = m->row >= 0 ? m->tiles.axis[m->row] : m->sums.axis[0];
    bool stage_a = !reads_in_place(m, &m->a, row) || rows_collide(m);
    if (stage_a && !stage_plan(m, &m->a, false)) return false;
    return !m->stage_b || stage_plan(m, &m->b, !m->window_b);
}

static struct stmt *task_loop(struct matrix *m, int tile, struct stmt *body) {
    struct stmt *loop = NULL;
    struct cursor at = kernel_at(&loop);
    dim axis = m->base[tile], extent = m->tiles.extent[tile];
    int64_t step = tile == m->row ? m->row_task : m->block[tile];
    if (tile == m->row) axis = m->row_axis;
    if (tile == m->col) { /* counted in panels, so that a column's panel and lane are seen */
        axis = m->panel_axis;
        extent = d_ceil_div(m->t, extent, m->columns);
        step = m->panel_block;
    }
    stmt_loop(m->t->k, &at, AXIS_TILE, axis, num(m->t, 0), extent, m->part[tile] == PART_BATCH ? 1 : step)->body = body;
    return loop;
}

/* One block holds the whole axis: no loop over blocks. */
static bool is_whole(const struct matrix *m, int tile) {
    int64_t n;
    if (m->part[tile] == PART_BATCH || !dim_is_const(m->tiles.extent[tile], &n)) return false;
    int64_t block = tile == m->col ? m->panel_block * m->columns : tile == m->row ? m->row_task : m->block[tile];
    return n <= block;
}

static void make_bases(struct matrix *m) {
    struct tiler *t = m->t;
    for (int i = 0; i < m->tiles.n; i++) {
        m->base[i] = m->tiles.axis[i];
        if ((i == m->row && (m->few || m->flat >= 0)) || is_whole(m, i))
            m->base[i] = num(t, 0);
        else if (m->part[i] != PART_BATCH && i != m->col)
            m->base[i] = kernel_axis(t->k, m->tiles.axis[i]->name, num(t, 0), m->tiles.extent[i]);
    }
    m->row_axis = m->row >= 0 ? m->base[m->row] : NULL;
    if (m->row_task > m->row_block) {
        m->row_inner = kernel_axis(t->k, "rows", num(t, 0), num(t, m->row_task));
        m->base[m->row] = d_add(t, m->row_axis, m->row_inner);
    }
    if (m->k_block) m->k_base = kernel_axis(t->k, "block", num(t, 0), m->sums.extent[0]);
    if (is_whole(m, m->col)) return;
    m->panel_axis = kernel_axis(t->k, "panel", num(t, 0), d_ceil_div(t, m->tiles.extent[m->col], m->columns));
    m->base[m->col] = d_mul(t, m->panel_axis, m->columns);
}

static void emit_task(struct matrix *m) {
    struct tiler *t = m->t;
    struct stmt *body = NULL, **inside = &body;
    struct cursor at = kernel_at(&body);
    if (m->k_block) {
        dim shape[3] = {num(t, m->panel_block), num(t, m->row_task + m->edge_rows), num(t, m->columns)};
        m->waiting = stmt_buffer(t->k, &at, SPACE_SCRATCH, "waiting", m->dtype, 3, shape);
        struct stmt *loop = stmt_loop(t->k, &at, AXIS_SERIAL, m->k_base, num(t, 0), m->sums.extent[0], m->k_block);
        inside = &loop->body;
    }
    at = kernel_at(inside);
    stage_emit(m, &m->b, &at);
    at = kernel_at(inside);
    if (m->row_inner) {
        dim end = d_min(t, num(t, m->row_task), d_sub(t, m->tiles.extent[m->row], m->row_axis));
        inside = &stmt_loop(t->k, &at, AXIS_SERIAL, m->row_inner, num(t, 0), end, m->row_block)->body;
    }
    at = kernel_at(inside);
    stage_emit(m, &m->a, &at);
    at = kernel_at(inside);
    micro_emit(m, &at);
    for (int i = m->tiles.n - 1; i >= 0; i--) {
        if (dim_is(i == m->row ? m->row_axis : m->base[i], 0)) continue;
        body = task_loop(m, i, body);
    }
    t->k->body = body;
}

bool tile_matrix(struct tiler *t, int64_t most_rows) {
    struct matrix m;
    int64_t packed = 0, n;
    if (!match(t, &m) || !choose_parts(&m)) return false;
    bool is_panels = is_packed(&m, &packed);
    m.few = m.row >= 0 ? most_rows : 0;
    register_tile(&m, is_panels ? packed : 0);
    if (m.few)
        few_rows(&m);
    else
        flat_rows(&m);
    if (!m.few && m.flat < 0) even_rows(&m);
    choose_copy(&m, is_panels);
    size_blocks(&m);
    if (m.flat >= 0) even_rows(&m);
    make_bases(&m);
    m.whole_panels = dim_is_const(m.tiles.extent[m.col], &n) && n % m.columns == 0;
    if (!plan_operands(&m)) return false;
    if (m.b.stage && m.panels > 1) m.panels = 1;
    m.once = is_panels && !m.b.stage && m.sums.n == 1 && (m.few > 1 || is_low(&m));
    size_ahead(&m, is_panels);
    emit_task(&m);
    return true;
}

dim matrix_rows(struct tiler *t) {
    struct matrix m;
    if (!match(t, &m) || !choose_parts(&m) || m.row < 0 || slides(&m, &m.a)) return NULL;
    return m.tiles.extent[m.row];
}

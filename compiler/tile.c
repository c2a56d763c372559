/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiling: which way a plain kernel goes, its variants, and what it costs. A contraction goes to tile_matrix.c, rows to
 * tile_rows.c, all else to tile_map.c. What comes out is verified; a kernel that fails that is left plain, with a
 * warning.
 */
#include "compiler/tiling.h"

/* --- one variant --- */

static void rewrite(struct tiler *t, int64_t most_rows) {
    if (tile_matrix(t, most_rows)) return;
    join_split_axes(t);
    if (tile_rows(t)) return;
    tile_map(t);
}

static struct kernel *variant(struct arena *arena, const struct kernel *plain, const struct yj_target *target,
                              const char *suffix, int64_t most_rows) {
    struct tiler t = {.arena = arena,
                      .k = kernel_copy(arena, plain),
                      .target = target,
                      .lanes = (int)max64(target->vector_bits / 32, 1)};
    if (suffix) t.k->name = arena_text(arena, "%s_%s", plain->name, suffix);
    if (most_rows) {
        dim rows = matrix_rows(&t);
        t.k->guards = NEW_ARRAY(arena, struct guard, 1);
        t.k->guards[t.k->n_guards++] = (struct guard){num(&t, 1), rows, num(&t, most_rows)};
    }
    rewrite(&t, most_rows);
    if (kernel_verify(t.k) == YJ_OK) return t.k;
    log_line(YJ_LOG_WARN, "kernel %s stays untiled for %s: %s", plain->name, target->name, yj_error_text());
    return NULL;
}

static struct kernel *untiled(struct arena *arena, const struct kernel *plain, const char *suffix) {
    struct kernel *k = kernel_copy(arena, plain);
    if (suffix) k->name = arena_text(arena, "%s_%s", plain->name, suffix);
    return k;
}

enum yj_status tile_kernel(struct arena *arena, const struct kernel *plain, const struct yj_target *target, int *n,
                           struct kernel *variants[TILE_MAX_VARIANTS]) {
    struct tiler see = {.arena = arena, .k = kernel_copy(arena, plain), .target = target, .lanes = 1};
    dim rows = matrix_rows(&see);
    int64_t fixed;
    int count = 0;
    bool open = rows && !dim_is_const(rows, &fixed);
    static const struct {
        int64_t most;
        const char *suffix;
    } few[] = {{1, "1"}, {4, "4"}};
    for (size_t i = 0; open && i < COUNT(few); i++) {
        if (rows->low > few[i].most) continue;
        struct kernel *k = variant(arena, plain, target, few[i].suffix, few[i].most);
        if (k) variants[count++] = k;
    }
    struct kernel *k = variant(arena, plain, target, open ? "n" : NULL, 0);
    variants[count++] = k ? k : untiled(arena, plain, open ? "n" : NULL);
    *n = count;
    return YJ_OK;
}

/* --- cost --- */

struct price {
    double ps;      /* of one scalar operation: half of the peak */
    double byte_ps; /* of memory, per byte: twice its bandwidth, as caches answer too */
};

static dim scaled(struct kernel *k, dim n, double by) {
    int64_t value = by < 1 ? 1 : by > 1e9 ? 1000000000 : (int64_t)by;
    return dim_mul(k->dims, n, dim_const(k->dims, value));
}

static bool is_launch_dim(struct kernel *k, dim d) {
    for (int i = 0; i < k->n_dims; i++)
        d = dim_substitute(k->dims, d, k->dim_args[i], dim_const(k->dims, 1));
    return d->op == DIM_CONST;
}

static void count_load(void *bytes, struct expr *e) {
    if (e->kind == EXPR_LOAD && e->buffer->space == SPACE_GLOBAL) *(double *)bytes += (double)yj_dtype_bytes(e->dtype);
}

static double plain_cost(struct stmt *s, const struct price *price) {
    double bytes = 0;
    stmt_exprs(s, count_load, &bytes);
    if (s->kind == STMT_STORE && s->buffer->space == SPACE_GLOBAL) bytes += (double)yj_dtype_bytes(s->buffer->dtype);
    return body_weight(s) * price->ps + bytes * price->byte_ps;
}

struct axis_search {
    const struct kernel *k;
    dim axis;
};

static void find_axis(void *user, dim symbol) {
    struct axis_search *search = user;
    for (int i = 0; i < search->k->n_dims; i++)
        if (search->k->dim_args[i] == symbol) return;
    search->axis = symbol;
}

/* D over the dims of the kernel alone: axes, which the trips of inner loops may mention, count as at their lowest. */
static dim at_axis_starts(struct kernel *k, dim d) {
    for (int i = 0; i < 16; i++) {
        struct axis_search search = {k, NULL};
        dim_symbols(d, find_axis, &search);
        if (!search.axis) return d;
        d = dim_substitute(k->dims, d, search.axis,
                           dim_const(k->dims, search.axis->low == INT64_MIN ? 0 : search.axis->low));
    }
    return dim_const(k->dims, 0);
}

/* Of a loop whose bounds name other axes: as at their lowest, where a block is whole; unless nothing is left then. */
static dim inner_trips(struct kernel *k, dim trips) {
    int64_t n;
    dim first = at_axis_starts(k, trips);
    return dim_is_const(first, &n) ? dim_const(k->dims, max64(max64(n, 1), dim_guess(trips, 64))) : first;
}

/* Weight of a body in picoseconds, over dims: loops multiply. */
static dim body_cost(struct kernel *k, struct stmt *body, const struct price *price) {
    dim sum = dim_const(k->dims, 0);
    for (struct stmt *s = body; s; s = s->next) {
        dim own;
        if (s->kind == STMT_FMA_TILE) {
            own = scaled(k, dim_const(k->dims, 1),
                         2.0 * s->tile_extent[0] * s->tile_extent[1] * s->tile_extent[2] * price->ps);
        } else if (s->kind == STMT_LOOP) {
            dim trips = stmt_trips(k, s);
            if (!is_launch_dim(k, trips)) trips = inner_trips(k, trips);
            own = dim_mul(k->dims, trips, body_cost(k, s->body, price));
        } else if (s->kind == STMT_IF) {
            own = body_cost(k, s->body, price);
        } else {
            struct stmt alone = *s;
            alone.next = NULL;
            dim trips = s->kind == STMT_REDUCE && is_launch_dim(k, s->to) ? s->to : dim_const(k->dims, 1);
            alone.kind = s->kind == STMT_REDUCE ? STMT_LET : s->kind;
            own = s->kind == STMT_BUFFER || s->kind == STMT_PREFETCH ? dim_const(k->dims, 0)
                                                                     : scaled(k, trips, plain_cost(&alone, price));
        }
        sum = dim_add(k->dims, sum, own);
    }
    return sum;
}

dim tile_cost(struct kernel *k, const struct yj_target *target) {
    double gflops = target->gflops_core > 0 ? target->gflops_core : 4;
    double bandwidth = target->gbytes_s > 0 ? target->gbytes_s : 4;
    struct price price = {.ps = 1000 / gflops * 2, .byte_ps = 1000 / bandwidth / 2};
    dim ps = body_cost(k, k->body, &price);
    return at_axis_starts(k, dim_div(k->dims, ps, dim_const(k->dims, 1000)));
}

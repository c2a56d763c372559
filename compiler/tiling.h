/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of tiling share. The one idea: the plain kernel's tile loops say what is independent; tiling chooses
 * which of those axes become vectors, register tiles and cache blocks, and regroups the rest into tiles of a useful
 * size. No value is computed in another order than the plain kernel does, so the bits are the same by construction.
 *   tile.c        variants, which way to go, cost     tile_loops.c   nests: reading, merging, splitting, grouping
 *   tile_expr.c   rewriting of trees and bodies       tile_map.c     elementwise and windows: vectors along one axis
 *   tile_rows.c   rows: partial sums, row passes      tile_matrix.c  contractions: register tiles, panels, blocks
 */
#ifndef COMPILER_TILING_H
#define COMPILER_TILING_H

#include "compiler/lower.h"
#include "ir/map.h"

#define TILE_MAX_AXES 24

struct tiler {
    struct arena *arena;
    struct kernel *k; /* being rewritten; ours alone */
    const struct yj_target *target;
    int lanes; /* 32-bit lanes of a register; 1: no vectors */
};

/* A perfect nest of loops from zero by one. */
struct nest {
    int n;
    dim axis[TILE_MAX_AXES], extent[TILE_MAX_AXES];
    struct stmt *body;
};

/* --- tile_expr.c --- */
dim num(struct tiler *t, int64_t n);
dim d_add(struct tiler *t, dim a, dim b);
dim d_sub(struct tiler *t, dim a, dim b);
dim d_mul(struct tiler *t, dim a, int64_t b);
dim d_min(struct tiler *t, dim a, dim b);
dim d_ceil_div(struct tiler *t, dim a, int64_t b);
int64_t dim_guess(dim d, int64_t unknown); /* its value, or UNKNOWN brought into its range */
/* A tree with every node that FN does not keep replaced: FN gets a node whose operands are rewritten already. */
typedef struct expr *rewrite_fn(void *user, struct expr *e);
struct expr *expr_rewrite(struct tiler *t, struct expr *e, rewrite_fn *fn, void *user);
void body_rewrite(struct tiler *t, struct stmt *body, rewrite_fn *fn, void *user); /* all trees of a body we own */
struct expr *with_args(struct tiler *t, const struct expr *e, struct expr *const *args);
bool expr_has(const struct expr *e, dim axis); /* names AXIS, lets included */
bool body_has(struct stmt *body, dim axis);
struct stmt *clone_with(struct tiler *t, const struct stmt *body, int n, const dim *from, const dim *to);
struct expr *substitute(struct tiler *t, struct expr *e, int n, const dim *from, const dim *to);
dim flat_subs(struct tiler *t, const struct buffer *b,
              struct expr *const *subs);              /* row-major offset; NULL: data in it */
dim stride_of(struct tiler *t, dim offset, dim axis); /* coefficient, NULL: not linear */
bool same_expr(const struct expr *a, const struct expr *b);
int expr_nodes(const struct expr *e);
bool expr_is_heavy(const struct expr *e);              /* has a transcendental */
int body_weight(struct stmt *body);                    /* flops of one pass, loops of unknown length as 256 */
void inline_lets(struct tiler *t, struct stmt **body); /* of a body without loops: lets become trees again */

/* --- tile_loops.c --- */
struct nest nest_read(struct stmt *body, enum axis_kind kind);
struct stmt *nest_write(struct tiler *t, const struct nest *nest, enum axis_kind kind);
void nest_merge(struct tiler *t, struct nest *nest); /* axes that are walked as one become one */
void join_split_axes(struct tiler *t);               /* of buffers, where every access splits one index over two */
struct stmt *loop_over(struct tiler *t, struct cursor *at, enum axis_kind kind, const char *hint, dim from, dim to,
                       int64_t step, struct cursor *in);
/* Moves loop AXIS inwards: around the straight statements of BODY, outside its loops; private buffers get a dimension.
 * False (nothing changed): cannot be. */
bool distribute(struct tiler *t, struct stmt **body, dim axis, enum axis_kind kind, int extent, struct expr *guard);
bool is_parallel(struct tiler *t, const struct stmt *loop); /* no iteration of this serial loop needs another */

/* BODY for AXIS from LO to HI: vectors of V, then what is left. Without vectors, or where the body cannot be spread
 * over lanes, a serial loop. */
void emit_span(struct tiler *t, struct cursor *at, struct stmt *body, dim axis, dim lo, dim hi, int v);
int span_lanes(struct tiler *t, struct stmt *body, dim extent); /* a good V */
/* Tile loops over a nest's axes around a body that walks the rest: as many of the innermost iterations a tile as make
 * WORTH of them. */
struct stmt *nest_group(struct tiler *t, const struct nest *nest, int64_t worth, struct stmt *body);

/* --- the ways --- */
bool tile_matrix(struct tiler *t,
                 int64_t most_rows); /* MOST_ROWS: of the row axis under this variant's guard; 0: any */
dim matrix_rows(struct tiler *t);    /* extent of the row axis, NULL: no contraction */
bool tile_rows(struct tiler *t);
void tile_map(struct tiler *t);

#endif

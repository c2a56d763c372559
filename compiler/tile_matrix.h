/* SPDX-License-Identifier: Apache-2.0
 *
 * A contraction being tiled, shared by tile_matrix.c (what it is, sizes, the task), tile_stage.c (operands copied into
 * scratch) and tile_micro.c (the register tile and what follows it).
 *
 * Every tile axis of the plain kernel plays one part: COL is the last one and only in B; ROW is in A only; EXTRA_A and
 * EXTRA_B are in one operand and slide over it with a window axis (the other spatial axis of a convolution); BATCH is
 * the rest. ROW and extras are cut in blocks; columns in panels of the register tile's width.
 */
#ifndef COMPILER_TILE_MATRIX_H
#define COMPILER_TILE_MATRIX_H

#include "compiler/tiling.h"

enum part { PART_BATCH, PART_COL, PART_ROW, PART_EXTRA };

/* One axis of a staged operand in scratch. WINDOW: where a tile axis slides with a sum axis, index = stride * local +
 * dilation
 * * sum. PANEL and LANE: the columns, cut. */
struct stage_axis {
    enum { STAGE_LOCAL, STAGE_SUM, STAGE_WINDOW, STAGE_PANEL, STAGE_LANE } kind;
    int tile, sum;
    int64_t stride, dilation;
    dim room, walk; /* size in scratch (dim arguments only); how many are filled */
};

struct operand {
    struct expr *e;       /* in terms of the plain kernel's axes */
    unsigned tiles, sums; /* which it names */
    struct buffer *stage; /* NULL: read where it lies */
    int n;
    struct stage_axis axis[TILE_MAX_AXES];
};

/* Where the tile stands: for each tile axis its index in the whole and in its block; for each sum axis likewise. */
struct point {
    dim whole[TILE_MAX_AXES], local[TILE_MAX_AXES], sum[TILE_MAX_AXES], sum_local[TILE_MAX_AXES];
};

struct matrix {
    struct tiler *t;
    struct nest tiles, sums;
    struct buffer *acc;
    struct expr *first;  /* what the sum starts from */
    struct stmt *tail;   /* what is done with the sum */
    enum yj_dtype dtype; /* of the sum */
    struct operand a, b;
    enum part part[TILE_MAX_AXES];
    int row, col;                         /* tile axes; row may be -1 */
    int flat;                             /* an extra axis whose block of whole rows is walked as one row; -1: none */
    int64_t few;                          /* at most so many rows, under a guard; 0: any number */
    int group;                            /* k elements side by side in packed B */
    int rows, columns, edge_rows, panels; /* of the register tile; rows of the tile at the edge; panels side by side */
    int64_t row_block, panel_block;       /* rows of A and panels of B that are in the caches together */
    int64_t row_task;                     /* rows of a task, some blocks: one copy of B serves them all */
    int64_t likely_rows;                  /* of the whole, for the number of tasks */
    bool stage_b, window_b;               /* B is copied; as it lies because a window slides over it */
    int64_t block[TILE_MAX_AXES];         /* of extras */
    bool whole_panels;                    /* no column is left over */
    bool once;                            /* one tile of rows: packed B is read where it lies, and only once */
    int ahead;                            /* lines of the next panel that each tile prefetches */
    dim base[TILE_MAX_AXES];              /* of each block, in the whole */
    dim panel_axis, row_axis;             /* the first panel and row of a task */
    dim row_inner;                        /* the block within the task; NULL: a task is one block */
    int64_t k_block; /* the only sum axis goes in blocks of this, the sums between them wait in scratch; 0: at once */
    dim k_base;
    struct buffer *waiting; /* [panel, row, column] of the block */
};

/* --- tile_stage.c --- */
/* The pair of sum axis for a tile axis that slides over OPERAND, -1: none. */
int window_of(struct matrix *m, const struct operand *o, int tile);
bool stage_plan(struct matrix *m, struct operand *o, bool panels); /* false: cannot be staged */
void stage_emit(struct matrix *m, struct operand *o, struct cursor *at);
dim k_left(struct matrix *m); /* the length of the present block of k */
struct expr *operand_at(struct matrix *m, const struct operand *o, const struct point *p);

dim block_size(struct matrix *m, int tile); /* how much of a block lies inside the whole */

/* --- tile_micro.c --- */
void micro_emit(struct matrix *m, struct cursor *at);

#endif

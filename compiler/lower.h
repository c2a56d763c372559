/* SPDX-License-Identifier: Apache-2.0
 *
 * Lowering: one group of ops (the region of a `fused` op) becomes one plain kernel, and tiling makes of a plain kernel
 * the kernels that a target runs. The plain kernel says every element of every result as simply as possible; it is the
 * definition that tiled kernels are compared with, bit by bit.
 *   lower.c         lower_can, lower_op: domain, arguments, stores      lower_pull.c    "value v at index idx" as an
 * expression lower_view.c    views: index transformations                        lower_anchor.c  dot, convolution,
 * reduce, windows lower_rows.c    rows kept in scratch: sort, cumulative, shared exp  lower_write.c   gather, scatter,
 * update_slice, pack lower_can.c     the rules below                       layout_pack.c   packed formats, bytes of
 * weights tile.c tile_*.c kernel -> kernel from target facts
 */
#ifndef COMPILER_LOWER_H
#define COMPILER_LOWER_H

#include "ir/graph.h"
#include <yunjin/target.h>

/* WHAT ONE KERNEL CAN HOLD. A body is a region: its inputs are the operands of `fused`, its outputs the results.
 * Anything that is computed can stand in it: a value is pulled at an index, through elementwise ops, casts, views,
 * gathers and anchors, and what an index does not depend on is computed outside the loop over it. So the limits are of
 * cost and form:
 *  1. No constant of more than one distinct element (make it an input: weights are never text), no control flow, no
 *     collective, no bind. `composite` is lowered as its body.
 *  2. All outputs have one shape (the domain), or the domain's shape with some axes 1 or the trailing ones missing (a
 *     row's mean, say): then each such output's element must not depend on the axes that it lacks.
 *  3. At most one anchor of these: dot, convolution, reduce_window, scatter, update_slice, sort, cumulative,
 * arg_reduce, pack; or any number of `reduce` that all reduce the same axes of one shape (softmax, LayerNorm); and any
 * number of gather and gather_nd with any of them that is not dot or convolution. A dot or convolution stands with no
 * reduce.
 *  4. From an anchor to the outputs: elementwise ops, cast, reshape, transpose, reverse, slice. broadcast only for what
 * a reduce gives (back over the axes it reduced; the group then walks rows and needs an axis that no reduce takes, or
 *     a domain known to have at most 65,536 elements). No pad, concat or gather of an anchor's result.
 *  5. Into dot and convolution: views (but concat), cast and elementwise ops that are cheap (no transcendental, no
 *     division: they are computed again for each use), each value used once. Into scatter, update_slice, sort,
 * cumulative: anything of rule 3's gathers and elementwise ops. scatter's result is the only output and nothing follows
 * it; update_slice in place likewise (otherwise it is a view).
 *  6. concat anywhere before an anchor, of at most 8 operands when other ops follow it and at most 512 when it is the
 * output.
 *  7. pack stands alone.
 * WHY, when the answer is no, is one sentence for `inspect`. */
bool lower_can(const struct graph *body, const char **why);

/* How an argument lies in memory where that is not the dense row-major form of its layout. */
struct lower_place {
    const dim *storage; /* sizes of the dense array whose corner at 0 is the value (a state's storage), in the value's
                         * axis order, as many as its rank; dims of the graph. NULL: the shape itself */
    int in_place;       /* results: number of the operand whose memory this result takes over, -1: none. An update_slice
                         * or scatter then writes only what changes; the operand is an argument all the same */
};

/* The plain kernel of FUSED. Arguments: a buffer for each operand in order (role in), then for each result (role out,
 * or inout when in place), each of the shape `storage`, permuted by layout.order when that is set; with layout.format
 * the buffer is the format's panels (formats.def). A rank-0 value is a buffer of shape []. Dims: every graph symbol
 * that is used becomes a dim argument of the same name, in order of first use. NAME is the kernel's name. PLACES: n_in
 * + n_out of them, or NULL. A group that lower_can refuses is refused here with the same words (YJ_ERR_UNSUPPORTED), or
 * lowered all the same where that is only a matter of cost (rules 4 and 5). */
enum yj_status lower_op(struct arena *arena, const struct op *fused, const char *name, const struct lower_place *places,
                        struct kernel **k);

#define TILE_MAX_VARIANTS 4
/* The kernels for TARGET that together do what PLAIN does: the first whose guards hold is used; the last has no guards.
 * Same arguments, dims and bits as PLAIN. Never fails for a verified kernel of lower_op: what it does not know how to
 * speed up it leaves as it is. */
enum yj_status tile_kernel(struct arena *arena, const struct kernel *plain, const struct yj_target *target, int *n,
                           struct kernel *variants[TILE_MAX_VARIANTS]);
/* One core's time for the whole kernel in ns, over its dims: for the plan's choice of threads. */
dim tile_cost(struct kernel *k, const struct yj_target *target);

/* A packed format of a value whose last two axes (in memory order) are K and N, the ones before them B: panels of P
 * columns, [B..., ceil(N / P), K, P], columns beyond N are zeros. formats.def has one row for each. */
struct format_info {
    const char *name;
    int bits, panel_bytes, k_group;
    const char *doc;
};
bool format_find(const char *name, struct format_info *info);
int format_columns(const struct format_info *info, enum yj_dtype dtype); /* P */
/* The form of a right operand (weights of dot and convolution) that TARGET's matrix tile reads; NULL: plain. */
const char *format_of_target(const struct yj_target *target, enum yj_dtype dtype);
/* Bytes and contents of a constant of type T under layout L; shapes must be constant. For writing weights. */
enum yj_status layout_bytes(const struct type *t, const struct layout *l, size_t *bytes);
enum yj_status layout_pack(const struct type *t, const struct layout *l, const void *plain, void *packed);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss. The class is chosen by comparing its number with the index
 * along axis 1, so that an ignored label, which may be any number, is never used as an index.
 */
#include "compiler/onnx.h"

#define B (&n->b)

/* x [N, C, d..] of log-probabilities, labels [N, d..], weights [C] or NULL */
static struct value *loss(struct node *n, struct value *x, struct value *labels, struct value *weights) {
    const char *how = node_text(n, "reduction", "mean");
    const Onnx__AttributeProto *ignore = node_attribute(n, "ignore_index");
    int64_t one[1] = {1}, all[GRAPH_MAX_RANK];
    if (!x || !labels) return NULL;
    struct type t = x->type;
    if (t.rank < 2 || labels->type.rank != t.rank - 1) {
        node_refuse(n, "scores of rank %d, labels of rank %d", t.rank, labels->type.rank);
        return NULL;
    }
    labels = build_cast(B, labels, YJ_I64);
    struct value *spread = node_unsqueeze(n, labels, 1, one);
    struct value *hit = build_2(B, OP_eq, node_iota(n, YJ_I64, t.rank, t.shape, 1),
                                spread ? build_broadcast_to(B, spread, t.rank, t.shape) : NULL);
    struct value *w = weights ? node_along(n, node_wide(n, weights), x, 1) : node_like(n, 1, x);
    struct value *zero = node_like(n, 0, x);
    struct value *weight = build_reduce(B, build_3(B, OP_select, hit, w, zero), SCALAR_add, 1, one);
    struct value *y = build_reduce(B, build_3(B, OP_select, hit, build_2(B, OP_mul, x, w), zero), SCALAR_add, 1, one);
    if (ignore && y && labels) {
        struct value *skip =
            build_2(B, OP_eq, labels,
                    build_broadcast_to(B, build_scalar_i(B, YJ_I64, ignore->i), t.rank - 1, labels->type.shape));
        y = build_3(B, OP_select, skip, node_like(n, 0, y), y);
        weight = build_3(B, OP_select, skip, node_like(n, 0, y), weight);
    }
    y = build_1(B, OP_neg, y);
    if (!strcmp(how, "none") || !y) return y;
    for (int i = 0; i < t.rank - 1; i++)
        all[i] = i;
    y = build_reduce(B, y, SCALAR_add, t.rank - 1, all);
    if (!strcmp(how, "mean")) return build_2(B, OP_div, y, build_reduce(B, weight, SCALAR_add, t.rank - 1, all));
    if (strcmp(how, "sum")) node_refuse(n, "reduction %s is not supported", how);
    return y;
}

static bool is_float(const struct value *v) {
    return v && dtype_kind(v->type.dtype) == 'f';
}

bool onnx_nll_loss(struct node *n) {
    struct value *x = node_in(n, 0);
    struct value *y = loss(n, node_wide(n, x), node_in(n, 1), node_has(n, 2) ? node_in(n, 2) : NULL);
    return x && !n->refused && node_out_as(n, 0, y, x->type.dtype);
}

bool onnx_cross_entropy_loss(struct node *n) {
    struct value *x = node_in(n, 0);
    if (!x) return false;
    if (!is_float(x) || x->type.rank < 2) return node_refuse(n, "scores must be floats of rank 2 or more");
    struct value *logs = node_log_softmax(n, node_wide(n, x), 1);
    struct value *y = loss(n, logs, node_in(n, 1), node_has(n, 2) ? node_in(n, 2) : NULL);
    if (n->refused || !node_out_as(n, 0, y, x->type.dtype)) return false;
    return !node_wants(n, 1) || node_out_as(n, 1, logs, x->type.dtype);
}

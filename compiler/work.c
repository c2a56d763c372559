/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic of ops: a product counts its sums, a reduction its operand, everything elementwise one a result element.
 */
#include "compiler/work.h"

bool work_nominal(void *unused, dim symbol, int64_t *value) {
    *value = symbol->high <= 128 ? symbol->high : max64(symbol->low, 128);
    return true;
}

static double size_at(dim d, dim_bind_fn *bind, void *user) {
    int64_t value = 1;
    return dim_eval(d, bind, user, &value) == YJ_OK ? (double)max64(value, 0) : 1;
}

static double elements_at(const struct type *t, dim_bind_fn *bind, void *user) {
    double n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= size_at(t->shape[i], bind, user);
    return n;
}

double type_bytes_at(const struct type *t, dim_bind_fn *bind, void *user) {
    return elements_at(t, bind, user) * (double)yj_dtype_bytes(t->dtype);
}

/* Multiply-adds for one element of the result. */
static double depth_at(const struct op *op, dim_bind_fn *bind, void *user) {
    double depth = 1;
    if (op->kind == OP_dot) {
        int n;
        const int64_t *contract = op_ints(op, "contract_a", &n);
        for (int i = 0; i < n; i++)
            depth *= size_at(op->in[0]->type.shape[contract[i]], bind, user);
    } else if (op->kind == OP_convolution) {
        const char *layout = op_text(op, "layout"); /* NHWC: the output channels are last */
        const struct type *w = &op->in[1]->type;
        for (int d = 0; d < w->rank; d++)
            if (d != (layout && !strcmp(layout, "NHWC") ? w->rank - 1 : 0)) depth *= size_at(w->shape[d], bind, user);
    } else if (op->kind == OP_reduce_window) {
        int n;
        const int64_t *window = op_ints(op, "window", &n);
        for (int i = 0; i < n; i++)
            depth *= (double)window[i];
    }
    return depth;
}

static double flops_of(const struct op *op, dim_bind_fn *bind, void *user) {
    double flops = 0;
    for (int r = 0; r < op->n_regions; r++)
        for (const struct op *inner = op->regions[r]->first; inner; inner = inner->next)
            flops += flops_of(inner, bind, user);
    if (op->n_regions || op->n_out == 0) return flops;
    double out = elements_at(&op->out[0]->type, bind, user);
    switch (op->kind) {
    case OP_dot:
    case OP_convolution:
        return 2 * out * depth_at(op, bind, user);
    case OP_reduce_window:
        return out * depth_at(op, bind, user);
    case OP_reduce:
    case OP_arg_reduce:
    case OP_cumulative:
        return elements_at(&op->in[0]->type, bind, user);
    default:
        return op_is(op->kind, 'E') ? out : 0;
    }
}

struct work op_work(const struct op *op, dim_bind_fn *bind, void *user) {
    struct work w = {flops_of(op, bind, user), 0};
    for (int i = 0; i < op->n_in; i++) {
        bool again = false;
        for (int k = 0; k < i; k++)
            again |= op->in[k] == op->in[i];
        if (!again) w.bytes += type_bytes_at(&op->in[i]->type, bind, user);
    }
    for (int i = 0; i < op->n_out; i++)
        w.bytes += type_bytes_at(&op->out[i]->type, bind, user);
    return w;
}

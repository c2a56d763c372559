/* SPDX-License-Identifier: Apache-2.0
 *
 * The constants of a program, packed as their layouts say and laid out for the weights file. What has the same bytes is
 * kept once, whoever uses it.
 */
#include "compiler/plan.h"

static struct weight *weights_grow(struct weights *w) {
    if (w->n == w->room) {
        w->room = w->room ? 2 * w->room : 64;
        struct weight *more = NEW_ARRAY(w->arena, struct weight, w->room);
        if (w->n) memcpy(more, w->weight, sizeof *more * (size_t)w->n);
        w->weight = more;
    }
    return &w->weight[w->n];
}

/* The bytes as the kernels read them: plain, or packed for each rank's part. */
static enum yj_status packed_bytes(struct weights *w, const struct graph *g, const struct value *v, const void **bytes,
                                   size_t *n_bytes) {
    const struct data *data = &v->op->data;
    bool plain = !v->layout.format;
    for (int i = 0; i < v->type.rank; i++)
        plain &= v->layout.order[i] == 0 || v->layout.order[i] == i;
    if (plain) {
        *bytes = data->bytes;
        *n_bytes = data->n_bytes;
        return YJ_OK;
    }
    const char *split = op_text(v->op, "split");
    size_t parts = split ? (size_t)mesh_size(g, split) : 1, each;
    TRY(layout_bytes(&v->type, &v->layout, &each));
    char *out = arena_new(w->arena, each * parts);
    for (size_t i = 0; i < parts; i++)
        TRY(layout_pack(&v->type, &v->layout, (const char *)data->bytes + i * (data->n_bytes / parts), out + i * each));
    *bytes = out;
    *n_bytes = each * parts;
    return YJ_OK;
}

enum yj_status weights_add(struct weights *w, const struct graph *g, const struct value *v, int *weight) {
    const void *bytes;
    size_t n_bytes;
    TRY(packed_bytes(w, g, v, &bytes, &n_bytes));
    uint64_t hash[2] = {hash_bytes(bytes, n_bytes, 1), hash_bytes(bytes, n_bytes, 2)};
    for (int i = 0; i < w->n; i++)
        if (w->weight[i].n_bytes == n_bytes && !memcmp(w->weight[i].hash, hash, sizeof hash) &&
            !memcmp(w->weight[i].bytes, bytes, n_bytes)) {
            *weight = i;
            return YJ_OK;
        }
    struct weight *added = weights_grow(w);
    const char *name = v->op->data.name && v->op->data.name[0] ? v->op->data.name : v->name;
    for (int i = 0; i < w->n; i++)
        if (!strcmp(w->weight[i].name, name)) name = arena_text(w->arena, "%s.%d", name, w->n);
    *added = (struct weight){name, v, bytes, n_bytes, {hash[0], hash[1]}};
    *weight = w->n++;
    return YJ_OK;
}

/* A plain constant keeps its shape; what is packed, or holds the parts of several ranks, is a row of elements. */
void weights_tensors(const struct weights *w, struct safetensor *tensors) {
    for (int i = 0; i < w->n; i++) {
        const struct weight *x = &w->weight[i];
        const struct type *t = &x->value->type;
        struct safetensor *out = &tensors[i];
        *out = (struct safetensor){
            .name = x->name, .dtype = t->dtype, .rank = 1, .shape = {(int64_t)(x->n_bytes / yj_dtype_bytes(t->dtype))}};
        int64_t shape[GRAPH_MAX_RANK], n = 1;
        if (!type_constant(t, shape)) continue;
        for (int d = 0; d < t->rank; d++)
            n *= shape[d];
        if (n != out->shape[0] || x->value->layout.format) continue;
        out->rank = t->rank;
        memcpy(out->shape, shape, sizeof *shape * (size_t)t->rank);
    }
}

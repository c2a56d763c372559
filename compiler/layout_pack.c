/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed formats (formats.def) and the bytes of constants under a layout: what the kernel of a `pack` op would write,
 * done once when weights are written. Permute by layout.order, then cut the last axis in panels.
 */
#include "compiler/lowering.h"

static const struct format_info formats[] = {
#define FORMAT(name, bits, panel_bytes, k_group, doc) {#name, bits, panel_bytes, k_group, doc},
#include "ir/formats.def"
#undef FORMAT
};

bool format_find(const char *name, struct format_info *info) {
    for (size_t i = 0; i < COUNT(formats); i++)
        if (name && strcmp(formats[i].name, name) == 0) {
            *info = formats[i];
            return true;
        }
    return false;
}

int format_columns(const struct format_info *info, enum yj_dtype dtype) {
    int columns = info->panel_bytes / ((int)yj_dtype_bytes(dtype) * info->k_group);
    return columns > 0 ? columns : 1;
}

const char *format_of_target(const struct yj_target *target, enum yj_dtype dtype) {
    for (size_t i = 0; i < COUNT(target->tiles) && target->tiles[i].rows; i++) {
        const struct yj_tile_shape *t = &target->tiles[i];
        if (t->dtype != dtype) continue;
        for (size_t j = 0; j < COUNT(formats); j++)
            if (formats[j].k_group == t->k_group && format_columns(&formats[j], dtype) == t->columns)
                return formats[j].name;
    }
    return NULL;
}

/* Sizes in memory order, and where each axis of memory lies in the plain array (in elements). */
struct packing {
    int rank, columns, group;
    int64_t size[GRAPH_MAX_RANK], stride[GRAPH_MAX_RANK], batch, k, n, panels, groups;
};

static enum yj_status packing_of(const struct type *t, const struct layout *l, struct packing *p) {
    int order[GRAPH_MAX_RANK];
    int64_t plain[GRAPH_MAX_RANK], size[GRAPH_MAX_RANK], total = 1;
    layout_order(l, t->rank, order);
    for (int i = t->rank - 1; i >= 0; i--) {
        if (!dim_is_const(t->shape[i], &size[i]) || size[i] < 0)
            return report(YJ_ERR_UNSUPPORTED, "a constant needs constant sizes");
        plain[i] = total;
        if (__builtin_mul_overflow(total, size[i], &total))
            return report(YJ_ERR_INPUT, "a constant of more than 2^63 elements");
    }
    *p = (struct packing){.rank = t->rank, .columns = 1, .group = 1, .batch = 1, .k = 1, .n = 1};
    for (int i = 0; i < t->rank; i++) {
        p->size[i] = size[order[i]];
        p->stride[i] = plain[order[i]];
    }
    if (l->format) {
        struct format_info info;
        if (!format_find(l->format, &info) || t->rank < 2)
            return report(YJ_ERR_UNSUPPORTED, "a value of rank %d cannot have the format '%s'", t->rank, l->format);
        p->columns = format_columns(&info, t->dtype);
        p->group = info.k_group;
    }
    for (int i = 0; i < t->rank - 2; i++)
        p->batch *= p->size[i];
    if (t->rank >= 2) p->k = p->size[t->rank - 2];
    if (t->rank >= 1) p->n = p->size[t->rank - 1];
    if (!l->format) p->columns = p->n > 0 && p->n < INT32_MAX ? (int)p->n : 1;
    p->panels = (p->n + p->columns - 1) / p->columns;
    p->groups = (p->k + p->group - 1) / p->group;
    return YJ_OK;
}

enum yj_status layout_bytes(const struct type *t, const struct layout *l, size_t *bytes) {
    struct packing p;
    TRY(packing_of(t, l, &p));
    size_t n = yj_dtype_bytes(t->dtype);
    int64_t factors[] = {p.batch, p.panels, p.groups, p.columns, p.group};
    for (size_t i = 0; i < COUNT(factors); i++)
        if (__builtin_mul_overflow(n, (size_t)factors[i], &n))
            return report(YJ_ERR_INPUT, "a packed constant of more than 2^64 bytes");
    *bytes = n;
    return YJ_OK;
}

/* Where batch number B begins in the plain array. */
static int64_t batch_offset(const struct packing *p, int64_t b) {
    int64_t offset = 0;
    for (int i = p->rank - 3; i >= 0; i--) {
        offset += b % p->size[i] * p->stride[i];
        b /= p->size[i];
    }
    return offset;
}

enum yj_status layout_pack(const struct type *t, const struct layout *l, const void *plain, void *packed) {
    struct packing p;
    TRY(packing_of(t, l, &p));
    size_t each = yj_dtype_bytes(t->dtype);
    const char *from = plain;
    char *to = packed;
    int64_t row = p.rank >= 2 ? p.stride[p.rank - 2] : 0, column = p.rank >= 1 ? p.stride[p.rank - 1] : 0;
    for (int64_t b = 0; b < p.batch; b++) {
        const char *matrix = from + (size_t)batch_offset(&p, b) * each;
        for (int64_t panel = 0; panel < p.panels; panel++)
            for (int64_t kb = 0; kb < p.groups; kb++)
                for (int c = 0; c < p.columns; c++)
                    for (int g = 0; g < p.group; g++, to += each) {
                        int64_t k = kb * p.group + g, n = panel * p.columns + c;
                        if (k < p.k && n < p.n)
                            memcpy(to, matrix + (size_t)(k * row + n * column) * each, each);
                        else
                            memset(to, 0, each);
                    }
    }
    return YJ_OK;
}

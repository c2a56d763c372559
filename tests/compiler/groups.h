/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups of ops as text, with the dims they are tried with, and what is needed to run them: as a graph (the oracle), as
 * a plain kernel and as tiled kernels. Shared by the tests of lowering and of tiling.
 */
#ifndef TESTS_COMPILER_GROUPS_H
#define TESTS_COMPILER_GROUPS_H

#include "compiler/lower.h"
#include "ir/graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* DIMS: several bindings of the symbols, in the order in which the text declares them, each ended by -1. LIMIT: integer
 * inputs are below it. SLACK: 0 when every bit must be that of graph_eval, else a bound of the relative error. */
struct group {
    const char *name, *text;
    int64_t dims[6][6];
    int64_t limit;
    double slack;
};

#include "tests/compiler/groups.def"

static inline bool group_has(const struct group *g, int binding) {
    for (int i = 0; binding < 6 && i < 6; i++)
        if (g->dims[binding][i] < 0) return true;
    return false;
}

struct trial {
    const struct group *group;
    struct arena *arena;
    struct graph *g;
    struct op *fused;
    int64_t value[8];              /* of the symbols */
    struct tensor in[16], out[16]; /* out: by graph_eval */
};

static inline uint64_t trial_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* The symbols in the order of the text. */
static inline int symbol_number(const struct group *group, const char *name) {
    int n = 0;
    const char *p = strchr(group->text, '(');
    for (const char *in; p && (in = strstr(p, " in ")) && in < strchr(group->text, '{'); p = in + 1, n++) {
        const char *start = in;
        while (start > group->text && start[-1] != '(' && start[-1] != ' ' && start[-1] != ',')
            start--;
        if ((size_t)(in - start) == strlen(name) && memcmp(start, name, strlen(name)) == 0) return n;
    }
    return -1;
}

static inline bool trial_bind(void *user, dim symbol, int64_t *value) {
    const struct trial *t = user;
    int n = symbol_number(t->group, symbol->name);
    if (n < 0) return false;
    *value = t->value[n];
    return true;
}

static inline int64_t trial_number(const struct trial *t, dim d) {
    int64_t value = 0;
    if (dim_eval(d, trial_bind, (void *)t, &value) != YJ_OK) fail_msg("%s: %s", t->group->name, yj_error_text());
    return value;
}

static inline void trial_fill(const struct group *g, struct tensor *x, uint64_t *random) {
    size_t each = yj_dtype_bytes(x->dtype);
    for (size_t i = 0; i < x->n_bytes / each; i++) {
        uint64_t r = trial_random(random), bits = r;
        float f = (float)((double)(uint32_t)r / 4294967296.0 * 4 - 2);
        if (r >> 58 == 0) f = r & 1 ? -0.0f : 0.0f;
        uint32_t word;
        memcpy(&word, &f, sizeof word);
        char kind = dtype_kind(x->dtype);
        if (kind == 'f')
            bits = scalar_cast(x->dtype, YJ_F32, word);
        else if (kind == 'b')
            bits = r & 1;
        else
            bits = g->limit ? r % (uint64_t)g->limit : r;
        memcpy((char *)x->bytes + i * each, &bits, each);
    }
}

/* The whole graph as the region of one fused op whose operands are its inputs. */
static inline struct op *fused_of(struct arena *arena, struct graph *g) {
    struct op *op = NEW(arena, struct op);
    op->kind = OP_fused;
    op->graph = g;
    op->n_in = g->n_in;
    op->in = g->in;
    op->n_out = g->n_out;
    op->out = NEW_ARRAY(arena, struct value *, g->n_out);
    for (int i = 0; i < g->n_out; i++) {
        op->out[i] = NEW(arena, struct value);
        *op->out[i] = *g->out[i];
        op->out[i]->name = arena_text(arena, "%s_out", g->out[i]->name);
        op->out[i]->op = op;
        op->out[i]->index = i;
    }
    op->n_regions = 1;
    op->regions = NEW_ARRAY(arena, struct graph *, 1);
    op->regions[0] = g;
    return op;
}

static inline void trial_open(struct trial *t, const struct group *group, int which, uint64_t seed) {
    *t = (struct trial){.group = group, .arena = arena_open()};
    if (graph_parse(t->arena, group->text, group->name, &t->g) != YJ_OK)
        fail_msg("%s: %s", group->name, yj_error_text());
    for (int i = 0; i < 6 && group->dims[which][i] >= 0; i++)
        t->value[i] = group->dims[which][i];
    for (int i = 0; i < t->g->n_in; i++) {
        int64_t shape[GRAPH_MAX_RANK];
        const struct type *type = &t->g->in[i]->type;
        for (int d = 0; d < type->rank; d++)
            shape[d] = trial_number(t, type->shape[d]);
        assert_int_equal(tensor_new(type->dtype, type->rank, shape, &t->in[i]), YJ_OK);
        trial_fill(group, &t->in[i], &seed);
    }
    if (graph_eval(t->g, t->in, t->out, NULL, NULL) != YJ_OK) fail_msg("%s: %s", group->name, yj_error_text());
    t->fused = fused_of(t->arena, t->g);
}

static inline void trial_close(struct trial *t) {
    for (int i = 0; i < t->g->n_in; i++)
        tensor_free(&t->in[i]);
    for (int i = 0; i < t->g->n_out; i++)
        tensor_free(&t->out[i]);
    arena_close(t->arena);
}

/* One run of a kernel: arguments as their layouts want them, 64 guard bytes behind each. */
struct launch {
    const struct kernel *k;
    int64_t scalar[8], tiles, scratch_bytes;
    void *buffer[16], *scratch;
    size_t bytes[16];
    struct yj_fault fault;
};

static inline struct type fixed_type(const struct trial *t, const struct value *v, struct dim_table *dims) {
    struct type type = v->type;
    for (int i = 0; i < type.rank; i++)
        type.shape[i] = dim_const(dims, trial_number(t, type.shape[i]));
    return type;
}

static inline void launch_open(struct launch *l, const struct trial *t, struct kernel *k) {
    *l = (struct launch){.k = k};
    for (int i = 0; i < k->n_dims; i++)
        l->scalar[i] = trial_number(t, k->dim_args[i]);
    l->tiles = trial_number(t, kernel_tile_count(k));
    l->scratch_bytes = trial_number(t, kernel_scratch_bytes(k));
    l->scratch = aligned_alloc(64, (size_t)(l->scratch_bytes + 127) & ~(size_t)63);
    for (int i = 0; i < k->n_args; i++) {
        bool in = i < t->fused->n_in;
        const struct value *v = in ? t->fused->in[i] : t->fused->out[i - t->fused->n_in];
        struct type type = fixed_type(t, v, t->g->dims);
        assert_int_equal(layout_bytes(&type, &v->layout, &l->bytes[i]), YJ_OK);
        size_t room = ((l->bytes[i] + 63) & ~(size_t)63) + 64;
        l->buffer[i] = aligned_alloc(64, room);
        memset(l->buffer[i], 0xA5, room);
        if (in) assert_int_equal(layout_pack(&type, &v->layout, t->in[i].bytes, l->buffer[i]), YJ_OK);
    }
}

static inline void launch_close(struct launch *l) {
    for (int i = 0; i < l->k->n_args; i++) {
        const unsigned char *end = (const unsigned char *)l->buffer[i] + l->bytes[i];
        for (int j = 0; j < 64; j++)
            assert_int_equal(end[j], 0xA5);
        free(l->buffer[i]);
    }
    free(l->scratch);
}

static inline bool is_nan_bits(enum yj_dtype dtype, uint64_t wide) {
    if (dtype_kind(dtype) != 'f') return false;
    uint64_t d = scalar_cast(YJ_F64, dtype, wide);
    double v;
    memcpy(&v, &d, sizeof v);
    return isnan(v);
}

static inline double as_double(enum yj_dtype dtype, uint64_t bits) {
    uint64_t d = scalar_cast(YJ_F64, dtype, bits);
    double v;
    memcpy(&v, &d, sizeof v);
    return v;
}

/* The first element in which TO differs from FROM by more than SLACK; -1: none. NaN equals NaN. */
static inline int64_t first_difference(enum yj_dtype dtype, const void *from, const void *to, size_t n, double slack) {
    size_t each = yj_dtype_bytes(dtype);
    for (size_t i = 0; i < n; i++) {
        uint64_t a = 0, b = 0;
        memcpy(&a, (const char *)from + i * each, each);
        memcpy(&b, (const char *)to + i * each, each);
        if (a == b || (is_nan_bits(dtype, a) && is_nan_bits(dtype, b))) continue;
        if (slack == 0 || dtype_kind(dtype) != 'f') return (int64_t)i;
        double x = as_double(dtype, a), y = as_double(dtype, b);
        if (!(fabs(x - y) <= slack * fabs(x) + slack)) return (int64_t)i;
    }
    return -1;
}

/* What a launch wrote against graph_eval, through the layouts of the results. */
static inline void check_results(const struct trial *t, const struct launch *l, const char *what) {
    for (int i = 0; i < t->fused->n_out; i++) {
        const struct value *v = t->fused->out[i];
        struct type type = fixed_type(t, v, t->g->dims);
        size_t bytes;
        assert_int_equal(layout_bytes(&type, &v->layout, &bytes), YJ_OK);
        void *want = malloc(bytes + 1);
        assert_int_equal(layout_pack(&type, &v->layout, t->out[i].bytes, want), YJ_OK);
        int64_t at = first_difference(type.dtype, want, l->buffer[t->fused->n_in + i],
                                      bytes / yj_dtype_bytes(type.dtype), t->group->slack);
        if (at >= 0) {
            uint64_t a = 0, b = 0;
            size_t each = yj_dtype_bytes(type.dtype);
            memcpy(&a, (char *)want + (size_t)at * each, each);
            memcpy(&b, (char *)l->buffer[t->fused->n_in + i] + (size_t)at * each, each);
            struct text text = {0};
            kernel_print(&text, l->k);
            fail_msg("%s, %s: result %d, element %lld is %.9g (%llx) and should be %.9g (%llx)\n%s", t->group->name,
                     what, i, (long long)at, as_double(type.dtype, b), (unsigned long long)b, as_double(type.dtype, a),
                     (unsigned long long)a, text.data);
        }
        free(want);
    }
}

#endif

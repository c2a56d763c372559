/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin test target NAME`: compiles kernels that try a chip (check.h), runs them here or under the chip's emulator at
 * every vector length that the target lists, and compares every byte with the interpreter. Without a machine or
 * emulator it says "assembled": the code was made and linked, and nothing more is claimed.
 */
#include "compiler/check.h"
#include "compiler/link.h"
#include "compiler/worker.h"
#include <yunjin/compiler.h>

#include <stdio.h>
#include <stdlib.h>

struct check {
    struct kernel *k;
    int index_dim, n_sizes; /* i64 inputs are below this dim; -1: any bits */
    bool wild;              /* inputs of all sizes and special numbers */
    int64_t dims[4][4];
    bool made; /* its code is in the library */
    const char *note;
};

struct checks {
    struct arena *arena;
    const struct yj_target *target;
    yj_test_fn *fn;
    void *user;
    int n, room;
    struct check *check;
};

static struct check *add(struct checks *all, struct kernel *k) {
    if (all->n == all->room) {
        int room = all->room ? all->room * 2 : 64;
        struct check *bigger = NEW_ARRAY(all->arena, struct check, room);
        if (all->n) memcpy(bigger, all->check, (size_t)all->n * sizeof *bigger);
        all->check = bigger;
        all->room = room;
    }
    struct check *c = &all->check[all->n++];
    *c = (struct check){.k = k, .index_dim = -1};
    return c;
}

/* --- what is tried --- */

static void add_wild(struct checks *all, struct kernel *k) {
    struct check *c = add(all, k);
    c->wild = true;
    c->n_sizes = 1;
    c->dims[0][0] = 205;
}

static enum yj_status add_tables(struct checks *all) {
    for (int i = 0; i < CHECK_OPS; i++)
        add_wild(all, check_ops(all->arena, check_op_dtypes[i], AXIS_VECTOR));
    for (int i = 0; i < CHECK_CASTS; i++)
        add_wild(all, check_casts(all->arena, check_cast_dtypes[i], AXIS_VECTOR));
    add_wild(all, check_math(all->arena, YJ_F32));
    add_wild(all, check_math(all->arena, YJ_F64));
    for (size_t i = 0; i < COUNT(all->target->tiles) && all->target->tiles[i].rows; i++) {
        static const int64_t dims[4][4] = {{32, 16, 48}, {1, 1, 1}, {7, 5, 17}, {13, 0, 50}};
        struct kernel *k;
        TRY(check_gemm(all->arena, &all->target->tiles[i], &k));
        struct check *c = add(all, k);
        c->n_sizes = 4;
        memcpy(c->dims, dims, sizeof dims);
    }
    return YJ_OK;
}

#define CHECK_LOOP(axis, body) "tile t = 0 .. (N + 31) / 32 { vector " axis " { " body " } }\n"
#define DIMS(...)                                                                                                      \
    { __VA_ARGS__ }
static const struct {
    const char *name;
    int index_dim;
    int64_t dims[4][4];
    const char *text;
} forms[] = {
#define FORM(name, index_dim, dims, text) {#name, index_dim, dims, text},
#include "compiler/check_forms.def"
#undef FORM
};

static enum yj_status add_forms(struct checks *all) {
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct kernel *k;
        TRY(kernel_parse(all->arena, forms[i].text, forms[i].name, &k));
        struct check *c = add(all, k);
        c->index_dim = forms[i].index_dim;
        c->n_sizes = 4;
        memcpy(c->dims, forms[i].dims, sizeof c->dims);
    }
    return YJ_OK;
}

/* --- one launch --- */

struct launch {
    struct check *c;
    const int64_t *scalars;
    void *want[16], *have[16];
    size_t bytes[16];
};

static bool bind_dim(void *user, dim symbol, int64_t *value) {
    const struct launch *l = user;
    for (int i = 0; i < l->c->k->n_dims; i++) {
        if (l->c->k->dim_args[i] != symbol) continue;
        *value = l->scalars[i];
        return true;
    }
    return false;
}

static uint64_t element(const struct check *c, const struct buffer *b, int64_t i, int64_t below, uint64_t *random) {
    if (c->wild) return check_wild(b->dtype, b->index ? i * 7 + b->index * 13 : i, random);
    uint64_t r = check_wild(YJ_U64, 2, random);
    float f = (float)((double)(r >> 40) / 16777216.0 * 4 - 2);
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    if (dtype_kind(b->dtype) == 'f') return scalar_cast(b->dtype, YJ_F32, word);
    if (b->dtype == YJ_I64 && below > 0) return r % (uint64_t)below;
    return b->dtype == YJ_BOOL ? r & 1 : r;
}

static enum yj_status make_buffers(struct launch *l, int which) {
    struct check *c = l->c;
    uint64_t random = 11 + (uint64_t)which;
    for (const struct buffer *b = c->k->args; b; b = b->next) {
        int64_t n = 1, extent;
        size_t each = yj_dtype_bytes(b->dtype);
        for (int i = 0; i < b->rank; i++) {
            TRY(dim_eval(b->shape[i], bind_dim, l, &extent));
            n *= extent;
        }
        l->bytes[b->index] = (size_t)n * each;
        l->want[b->index] = aligned_alloc(64, ((size_t)n * each + 127) & ~(size_t)63);
        l->have[b->index] = malloc((size_t)n * each + 1);
        if (!l->want[b->index] || !l->have[b->index]) return report(YJ_ERR_MEMORY, "out of memory for a check");
        for (int64_t i = 0; i < n; i++) {
            uint64_t bits = b->role == ROLE_OUT
                                ? UINT64_C(0xa5a5a5a5a5a5a5a5)
                                : element(c, b, i, c->index_dim >= 0 ? l->scalars[c->index_dim] : 0, &random);
            if (b->dtype == YJ_BOOL) bits &= 1;
            memcpy((char *)l->want[b->index] + (size_t)i * each, &bits, each);
        }
        memcpy(l->have[b->index], l->want[b->index], l->bytes[b->index]);
    }
    return YJ_OK;
}

static bool is_nan(enum yj_dtype dtype, uint64_t bits) {
    uint64_t args[2] = {bits, bits};
    return dtype_kind(dtype) == 'f' && scalar_eval(SCALAR_ne, dtype, args);
}

static enum yj_status compare(const struct launch *l) {
    for (const struct buffer *b = l->c->k->args; b; b = b->next) {
        size_t each = yj_dtype_bytes(b->dtype);
        for (size_t i = 0; i < l->bytes[b->index]; i += each) {
            uint64_t want = 0, have = 0;
            memcpy(&want, (char *)l->want[b->index] + i, each);
            memcpy(&have, (char *)l->have[b->index] + i, each);
            if (want == have || (is_nan(b->dtype, want) && is_nan(b->dtype, have))) continue;
            return report(YJ_ERR_INTERNAL, "%s[%zu] should be %llx, is %llx", b->name, i / each,
                          (unsigned long long)want, (unsigned long long)have);
        }
    }
    return YJ_OK;
}

static enum yj_status launch(struct launch *l, struct emulator *e, int which) {
    struct kernel *k = l->c->k;
    struct emulate_buffer buffers[16];
    struct yj_fault want = {0, 0, 0}, have = {0, 0, 0};
    int64_t tiles, scratch;
    TRY(make_buffers(l, which));
    TRY(dim_eval(kernel_tile_count(k), bind_dim, l, &tiles));
    TRY(dim_eval(kernel_scratch_bytes(k), bind_dim, l, &scratch));
    for (int i = 0; i < k->n_args; i++)
        buffers[i] = (struct emulate_buffer){l->have[i], l->bytes[i], true, true};
    TRY(kernel_eval(k, l->want, l->scalars, 0, tiles, 1, &want));
    TRY(emulate_run(e, k->name, k->n_args, buffers, k->n_dims, l->scalars, 0, tiles, (size_t)scratch, &have));
    if (want.code != have.code || want.value != have.value)
        return report(YJ_ERR_INTERNAL, "fault %d %lld should be %d %lld", have.code, (long long)have.value, want.code,
                      (long long)want.value);
    return compare(l);
}

static enum yj_status run_check(struct check *c, struct emulator *e) {
    for (int which = 0; which < c->n_sizes; which++) {
        struct launch l = {.c = c, .scalars = c->dims[which]};
        enum yj_status status = launch(&l, e, which);
        for (int i = 0; i < c->k->n_args; i++) {
            free(l.want[i]);
            free(l.have[i]);
        }
        TRY(status);
    }
    return YJ_OK;
}

/* --- one vector length --- */

static void say(const struct checks *all, const struct check *c, int bits, enum yj_test_outcome outcome,
                const char *detail) {
    char name[128];
    if (all->target->vector_lengths[0])
        snprintf(name, sizeof name, "%s %d", c->k->name, bits);
    else
        snprintf(name, sizeof name, "%s", c->k->name);
    all->fn(all->user, name, outcome, detail ? detail : c->note);
}

/* Each kernel by itself, so that one that cannot be compiled is named and the others are still tried. */
static enum yj_status make_library(struct checks *all, int bits, char **library, size_t *bytes) {
    struct compile_options options = {.target = all->target, .vector_bits = bits, .workers = 1, .no_cache = true};
    struct compiled *made = NEW_ARRAY(all->arena, struct compiled, all->n);
    struct link_object *objects = NEW_ARRAY(all->arena, struct link_object, all->n);
    int n = 0;
    for (int i = 0; i < all->n; i++) {
        struct check *c = &all->check[i];
        const struct kernel *k = c->k;
        enum yj_status status = compile_kernels(&options, &k, 1, &made[i]);
        c->made = status == YJ_OK;
        c->note = made[i].scalar ? "only as scalar code" : NULL;
        if (status != YJ_OK) say(all, c, bits, YJ_TEST_FAILED, yj_error_text());
        if (status == YJ_ERR_INPUT) return status; /* the target itself is wrong */
        if (c->made) objects[n++] = (struct link_object){made[i].object, made[i].bytes};
    }
    enum yj_status status = n ? link_objects(n, objects, library, bytes)
                              : report(YJ_ERR_INTERNAL, "no kernel could be compiled for %s", all->target->name);
    compiled_free(made, all->n);
    return status;
}

static enum yj_status run_length(struct checks *all, int bits) {
    struct emulator *e = NULL;
    char *library, why[512] = "";
    size_t bytes;
    TRY(make_library(all, bits, &library, &bytes));
    enum yj_status status = emulate_open(all->target, bits, library, bytes, &e);
    free(library);
    if (status != YJ_OK) snprintf(why, sizeof why, "%s", yj_error_text());
    if (status != YJ_OK && status != YJ_ERR_UNSUPPORTED) return status;
    for (int i = 0; i < all->n; i++) {
        struct check *c = &all->check[i];
        if (!c->made) continue;
        if (!e)
            say(all, c, bits, YJ_TEST_ASSEMBLED, i == 0 ? why : NULL);
        else if (run_check(c, e) == YJ_OK)
            say(all, c, bits, YJ_TEST_RAN, NULL);
        else
            say(all, c, bits, YJ_TEST_FAILED, yj_error_text());
    }
    emulate_close(e);
    return YJ_OK;
}

static enum yj_status test_guarded(void *argument) {
    struct checks *all = argument;
    const struct yj_target *t = all->target;
    TRY(add_tables(all));
    TRY(add_forms(all));
    for (int i = 0; i < all->n; i++)
        TRY(kernel_verify(all->check[i].k));
    if (!t->vector_lengths[0]) return run_length(all, t->vector_bits);
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        TRY(run_length(all, t->vector_lengths[i]));
    return YJ_OK;
}

enum yj_status yj_test_target(const char *name, yj_test_fn *fn, void *user) {
    struct checks all = {.fn = fn, .user = user};
    TRY(yj_target_find(name, &all.target));
    if (strcmp(all.target->emitter, "llvm") != 0)
        return report(YJ_ERR_UNSUPPORTED,
                      "target %s is for the emitter %s: its source is compiled by others and is not tried here", name,
                      all.target->emitter);
    all.arena = arena_open();
    if (!all.arena) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = arena_guard(test_guarded, &all);
    arena_close(all.arena);
    return status;
}

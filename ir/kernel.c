/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds kernels and answers questions about them: names, axes, expressions, statements, trip counts, scratch layout,
 * walks. The one idea: a name means one thing in the whole kernel, so emitters and rewrites never need scopes. Copies
 * are in kernel_clone.c.
 */
#include "ir/kernel.h"

#include <ctype.h>
#include <math.h>

/* --- names --- */

/* NEXT: the number to try when the name is asked for again. */
struct name_slot {
    const char *name;
    int next;
};
struct name_set {
    size_t n, room;
    struct name_slot *slot;
};

static const char *const keywords[] = {
    "kernel", "tile",  "lane", "serial", "unroll", "vector", "if",    "reg",      "scratch",  "shared",  "let",
    "reduce", "lanes", "in",   "inout",  "out",    "step",   "copy",  "prefetch", "fma_tile", "barrier", "wait",
    "check",  "guard", "inf",  "nan",    "fault",  "true",   "false", "min",      "max"};

static struct name_slot *name_slot(const struct name_set *set, const char *name) {
    size_t i = hash_bytes(name, strlen(name), 0) & (set->room - 1);
    while (set->slot[i].name && strcmp(set->slot[i].name, name) != 0)
        i = (i + 1) & (set->room - 1);
    return &set->slot[i];
}

static void name_add(struct arena *arena, struct name_set *set, const char *name) {
    if (set->n * 2 >= set->room) {
        struct name_set bigger = {set->n, set->room ? set->room * 2 : 64, NULL};
        bigger.slot = NEW_ARRAY(arena, struct name_slot, bigger.room);
        for (size_t i = 0; i < set->room; i++)
            if (set->slot[i].name) *name_slot(&bigger, set->slot[i].name) = set->slot[i];
        *set = bigger;
    }
    *name_slot(set, name) = (struct name_slot){name, 2};
    set->n++;
}

bool kernel_has_name(const struct kernel *k, const char *name) {
    return name_slot(k->names, name)->name != NULL;
}

void kernel_claim_name(struct kernel *k, const char *name) {
    if (!kernel_has_name(k, name)) name_add(k->arena, k->names, name);
}

static char *clean_name(struct arena *arena, const char *hint) {
    bool starts = hint && (isalpha((unsigned char)*hint) || *hint == '_');
    char *clean = arena_text(arena, "%s%.*s", starts ? "" : "v", KERNEL_MAX_NAME - 1, hint ? hint : "");
    for (char *c = clean; *c; c++) {
        bool dot = *c == '.' && (isalnum((unsigned char)c[1]) || c[1] == '_');
        if (!isalnum((unsigned char)*c) && !dot) *c = '_';
    }
    return clean;
}

/* HINT with odd characters replaced and, if it is taken, a number behind it. */
static const char *fresh_name(struct kernel *k, const char *hint) {
    const char *clean = clean_name(k->arena, hint), *name = clean;
    if (kernel_has_name(k, clean)) {
        int n = name_slot(k->names, clean)->next;
        do
            name = arena_text(k->arena, "%.*s_%d", KERNEL_MAX_NAME - 12, clean, n++);
        while (kernel_has_name(k, name));
        name_slot(k->names, clean)->next = n;
    }
    name_add(k->arena, k->names, name);
    return name;
}

/* --- kernel, dims, buffers --- */

struct kernel *kernel_new(struct arena *arena, const char *name) {
    struct kernel *k = NEW(arena, struct kernel);
    k->arena = arena;
    k->dims = dim_table_open(arena);
    k->names = NEW(arena, struct name_set);
    for (size_t i = 0; i < COUNT(keywords); i++)
        name_add(arena, k->names, keywords[i]);
    k->name = clean_name(arena, name);
    return k;
}

dim kernel_dim(struct kernel *k, const char *name, int64_t low, int64_t high) {
    name = clean_name(k->arena, name);
    for (int i = 0; i < k->n_dims; i++)
        if (strcmp(k->dim_args[i]->name, name) == 0) return k->dim_args[i];
    dim *args = NEW_ARRAY(k->arena, dim, k->n_dims + 1);
    if (k->n_dims) memcpy(args, k->dim_args, (size_t)k->n_dims * sizeof *args);
    k->dim_args = args;
    return args[k->n_dims++] = dim_symbol(k->dims, fresh_name(k, name), low, high);
}

static struct buffer *new_buffer(struct kernel *k, enum space space, enum role role, const char *name,
                                 enum yj_dtype dtype, int rank, const dim *shape) {
    struct buffer *b = NEW(k->arena, struct buffer);
    *b = (struct buffer){.name = fresh_name(k, name), .dtype = dtype, .space = space, .role = role, .rank = rank};
    for (int i = 0; i < rank && i < KERNEL_MAX_RANK; i++)
        b->shape[i] = shape[i];
    return b;
}

struct buffer *kernel_arg(struct kernel *k, enum role role, const char *name, enum yj_dtype dtype, int rank,
                          const dim *shape) {
    struct buffer **end = &k->args, *b = new_buffer(k, SPACE_GLOBAL, role, name, dtype, rank, shape);
    while (*end)
        end = &(*end)->next;
    b->index = k->n_args++;
    return *end = b;
}

dim kernel_axis(struct kernel *k, const char *hint, dim from, dim to) {
    return dim_symbol_below(k->dims, fresh_name(k, hint), from, to);
}

/* --- expressions --- */

static struct expr *new_expr(struct kernel *k, enum expr_kind kind, enum yj_dtype dtype, int n,
                             struct expr *const *arg) {
    struct expr *e = arena_new(k->arena, sizeof *e + (size_t)n * sizeof e->arg[0]);
    e->kind = kind;
    e->dtype = dtype;
    e->n = n;
    for (int i = 0; i < n; i++)
        e->arg[i] = arg[i];
    return e;
}

struct expr *expr_const_f(struct kernel *k, enum yj_dtype dtype, double value) {
    struct expr *e = new_expr(k, EXPR_CONST, dtype, 0, NULL);
    e->constant.f = value;
    return e;
}

struct expr *expr_const_i(struct kernel *k, enum yj_dtype dtype, int64_t value) {
    if (dtype == YJ_I64) return expr_dim(k, dim_const(k->dims, value));
    struct expr *e = new_expr(k, EXPR_CONST, dtype, 0, NULL);
    e->constant.i = value;
    return e;
}

struct expr *expr_dim(struct kernel *k, dim d) {
    struct expr *e = new_expr(k, EXPR_DIM, YJ_I64, 0, NULL);
    e->dim = d;
    return e;
}

struct expr *expr_load(struct kernel *k, struct buffer *b, int n, struct expr *const *subs) {
    struct expr *e = new_expr(k, EXPR_LOAD, b->dtype, n, subs);
    e->buffer = b;
    return e;
}

struct expr *expr_load_dims(struct kernel *k, struct buffer *b, int n, const dim *subs) {
    struct expr *e = expr_load(k, b, 0, NULL);
    if (n == 0) return e;
    struct expr **args = NEW_ARRAY(k->arena, struct expr *, n);
    for (int i = 0; i < n; i++)
        args[i] = expr_dim(k, subs[i]);
    return expr_load(k, b, n, args);
}

/* min and max of two dims are a dim: the text has one form for both. */
static struct expr *dim_min_max(struct kernel *k, enum scalar_op op, const struct expr *a, const struct expr *b) {
    if (!a || !b || a->kind != EXPR_DIM || b->kind != EXPR_DIM) return NULL;
    if (op == SCALAR_min) return expr_dim(k, dim_min(k->dims, a->dim, b->dim));
    if (op == SCALAR_max) return expr_dim(k, dim_max(k->dims, a->dim, b->dim));
    return NULL;
}

struct expr *expr_op(struct kernel *k, enum scalar_op op, struct expr *a, struct expr *b, struct expr *c) {
    struct expr *folded = dim_min_max(k, op, a, b), *args[3] = {a, b, c};
    if (folded) return folded;
    int n = scalar_info[op].arity;
    char result = scalar_info[op].result;
    enum yj_dtype dtype = result == 'b' ? YJ_BOOL : result == '1' ? b->dtype : a->dtype;
    struct expr *e = new_expr(k, EXPR_OP, dtype, n, args);
    e->op = op;
    return e;
}

struct expr *expr_cast(struct kernel *k, enum yj_dtype to, struct expr *a) {
    return new_expr(k, EXPR_CAST, to, 1, &a);
}

struct expr *expr_bitcast(struct kernel *k, enum yj_dtype to, struct expr *a) {
    return new_expr(k, EXPR_BITCAST, to, 1, &a);
}

struct expr *expr_let(struct kernel *k, struct stmt *let) {
    struct expr *e = new_expr(k, EXPR_LET, let->value->dtype, 0, NULL);
    e->let = let;
    return e;
}

static struct expr *neutral_number(struct kernel *k, enum yj_dtype dtype, double f, int64_t i) {
    return dtype_kind(dtype) == 'f' ? expr_const_f(k, dtype, f) : expr_const_i(k, dtype, i);
}

struct expr *expr_neutral(struct kernel *k, enum scalar_op op, enum yj_dtype dtype) {
    int bits = dtype == YJ_BOOL ? 1 : (int)yj_dtype_bytes(dtype) * 8;
    bool is_signed = dtype_kind(dtype) == 'i';
    uint64_t ones = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    int64_t most = (int64_t)(is_signed ? ones >> 1 : ones), least = is_signed ? -most - 1 : 0;
    switch (op) {
    case SCALAR_mul:
        return neutral_number(k, dtype, 1, 1);
    case SCALAR_min:
        return neutral_number(k, dtype, INFINITY, most);
    case SCALAR_max:
        return neutral_number(k, dtype, -INFINITY, least);
    case SCALAR_and:
        return neutral_number(k, dtype, 0, is_signed ? -1 : (int64_t)ones);
    default:
        return neutral_number(k, dtype, 0, 0);
    }
}

/* --- statements --- */

struct cursor kernel_at(struct stmt **body) {
    while (*body)
        body = &(*body)->next;
    return (struct cursor){body};
}

static struct stmt *append(struct kernel *k, struct cursor *at, enum stmt_kind kind) {
    struct stmt *s = NEW(k->arena, struct stmt);
    s->kind = kind;
    *at->end = s;
    at->end = &s->next;
    return s;
}

static void set_subs(struct kernel *k, struct stmt *s, struct buffer *b, int n, struct expr *const *subs) {
    s->buffer = b;
    s->n_subs = n;
    s->subs = NEW_ARRAY(k->arena, struct expr *, n ? n : 1);
    for (int i = 0; i < n; i++)
        s->subs[i] = subs[i];
}

struct stmt *stmt_loop(struct kernel *k, struct cursor *at, enum axis_kind kind, dim axis, dim from, dim to,
                       int64_t step) {
    struct stmt *s = append(k, at, STMT_LOOP);
    s->axis_kind = kind;
    s->axis = axis;
    s->from = from;
    s->to = to;
    s->step = step;
    return s;
}

struct stmt *stmt_if(struct kernel *k, struct cursor *at, struct expr *condition) {
    struct stmt *s = append(k, at, STMT_IF);
    s->value = condition;
    return s;
}

struct buffer *stmt_buffer(struct kernel *k, struct cursor *at, enum space space, const char *name, enum yj_dtype dtype,
                           int rank, const dim *shape) {
    struct buffer *b = new_buffer(k, space, ROLE_LOCAL, name, dtype, rank, shape);
    append(k, at, STMT_BUFFER)->buffer = b;
    return b;
}

struct expr *stmt_let(struct kernel *k, struct cursor *at, const char *hint, struct expr *value) {
    struct stmt *s = append(k, at, STMT_LET);
    s->name = fresh_name(k, hint);
    s->value = value;
    return expr_let(k, s);
}

void stmt_store(struct kernel *k, struct cursor *at, struct buffer *b, int n, struct expr *const *subs,
                struct expr *value) {
    struct stmt *s = append(k, at, STMT_STORE);
    set_subs(k, s, b, n, subs);
    s->value = value;
}

static struct expr **dims_as_exprs(struct kernel *k, int n, const dim *dims) {
    struct expr **e = NEW_ARRAY(k->arena, struct expr *, n ? n : 1);
    for (int i = 0; i < n; i++)
        e[i] = expr_dim(k, dims[i]);
    return e;
}

void stmt_store_dims(struct kernel *k, struct cursor *at, struct buffer *b, int n, const dim *subs,
                     struct expr *value) {
    stmt_store(k, at, b, n, dims_as_exprs(k, n, subs), value);
}

struct expr *stmt_reduce(struct kernel *k, struct cursor *at, const char *hint, enum scalar_op op, int lanes, dim axis,
                         dim from, dim to, struct expr *value) {
    struct stmt *s = append(k, at, STMT_REDUCE);
    s->name = fresh_name(k, hint);
    s->op = op;
    s->lanes = lanes;
    s->axis = axis;
    s->from = from;
    s->to = to;
    s->step = 1;
    s->value = value;
    return expr_let(k, s);
}

void stmt_fma_tile(struct kernel *k, struct cursor *at, const dim axis[3], const int extent[3], struct expr *c,
                   struct expr *a, struct expr *b) {
    struct stmt *s = append(k, at, STMT_FMA_TILE);
    for (int i = 0; i < 3; i++) {
        s->tile_axis[i] = axis[i];
        s->tile_extent[i] = extent[i];
    }
    s->c = c;
    s->a = a;
    s->b = b;
}

void stmt_barrier(struct kernel *k, struct cursor *at) {
    append(k, at, STMT_BARRIER);
}

void stmt_copy(struct kernel *k, struct cursor *at, int tag, struct buffer *to, const dim *to_subs,
               struct expr *from_load, const dim *extents) {
    struct stmt *s = append(k, at, STMT_COPY);
    set_subs(k, s, to, to->rank, dims_as_exprs(k, to->rank, to_subs));
    s->tag = tag;
    s->value = from_load;
    s->extents = NEW_ARRAY(k->arena, dim, to->rank ? to->rank : 1);
    for (int i = 0; i < to->rank; i++)
        s->extents[i] = extents[i];
}

void stmt_wait(struct kernel *k, struct cursor *at, int tag) {
    append(k, at, STMT_WAIT)->tag = tag;
}

void stmt_prefetch(struct kernel *k, struct cursor *at, struct expr *load) {
    append(k, at, STMT_PREFETCH)->value = load;
}

void stmt_check(struct kernel *k, struct cursor *at, struct expr *condition, int fault_code, struct expr *fault_value) {
    struct stmt *s = append(k, at, STMT_CHECK);
    s->value = condition;
    s->fault_code = fault_code;
    s->fault_value = fault_value;
}

/* --- facts --- */

dim stmt_trips(struct kernel *k, const struct stmt *loop) {
    dim trips = dim_ceil_div(k->dims, dim_sub(k->dims, loop->to, loop->from), dim_const(k->dims, loop->step));
    return dim_max(k->dims, dim_const(k->dims, 0), trips);
}

dim kernel_tile_count(struct kernel *k) {
    dim n = dim_const(k->dims, 1);
    for (struct stmt *s = k->body; s && s->kind == STMT_LOOP && s->axis_kind == AXIS_TILE; s = s->body)
        n = dim_mul(k->dims, n, stmt_trips(k, s));
    return n;
}

struct scratch {
    struct kernel *k;
    dim bytes;
    const struct buffer *until;
    bool found;
};

static void add_scratch(void *user, struct stmt *s) {
    struct scratch *sum = user;
    if (s->kind != STMT_BUFFER || s->buffer->space == SPACE_REG || sum->found) return;
    if (s->buffer == sum->until) {
        sum->found = true;
        return;
    }
    struct dim_table *t = sum->k->dims;
    dim bytes = dim_const(t, (int64_t)yj_dtype_bytes(s->buffer->dtype));
    for (int i = 0; i < s->buffer->rank; i++)
        bytes = dim_mul(t, bytes, s->buffer->shape[i]);
    dim line = dim_const(t, 64);
    sum->bytes = dim_add(t, sum->bytes, dim_mul(t, dim_ceil_div(t, bytes, line), line));
}

dim kernel_scratch_offset(struct kernel *k, const struct buffer *b) {
    struct scratch sum = {k, dim_const(k->dims, 0), b, false};
    kernel_walk(k->body, add_scratch, &sum);
    return sum.bytes;
}

dim kernel_scratch_bytes(struct kernel *k) {
    return kernel_scratch_offset(k, NULL);
}

/* --- walks --- */

void kernel_walk(struct stmt *body, void (*fn)(void *user, struct stmt *s), void *user) {
    for (struct stmt *s = body; s; s = s->next) {
        fn(user, s);
        if (s->body) kernel_walk(s->body, fn, user);
    }
}

static void walk_expr(struct expr *e, void (*fn)(void *user, struct expr *e), void *user) {
    if (!e) return;
    fn(user, e);
    for (int i = 0; i < e->n; i++)
        walk_expr(e->arg[i], fn, user);
}

void stmt_exprs(struct stmt *s, void (*fn)(void *user, struct expr *e), void *user) {
    for (int i = 0; i < s->n_subs; i++)
        walk_expr(s->subs[i], fn, user);
    walk_expr(s->c, fn, user);
    walk_expr(s->a, fn, user);
    walk_expr(s->b, fn, user);
    walk_expr(s->value, fn, user);
    walk_expr(s->fault_value, fn, user);
}

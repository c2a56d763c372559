/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of every kernel: types, scopes, where each kind of loop and buffer may stand, and races that can be
 * seen in the text. The one idea for races: every enclosing loop has a bit, and a store must depend, by a subscript or
 * by an enclosing condition, on each parallel loop between it and the declaration of its buffer.
 */
#include "ir/kernel.h"
#include "ir/map.h"

#include <stdarg.h>
#include <stdio.h>

enum { MAX_EXTENT = 4096, MAX_LANES = 1024, MAX_REG_BYTES = 1 << 20, MAX_SHARED_BYTES = 1 << 26 };

/* The loops and ifs around a statement, innermost first; depth 0 is the outermost. */
struct frame {
    const struct stmt *s;
    int depth;
    uint64_t depends;
    struct frame *outer;
};

struct verify {
    struct kernel *k;
    const struct stmt *at; /* for messages */
    struct frame *frames;
    struct map bound;    /* buffer, let, symbol -> 1 + depth at which it was declared; NULL out of scope */
    struct map depends;  /* let -> mask of frames */
    struct map from, to; /* axis -> its range */
};

__attribute__((format(printf, 2, 3))) static enum yj_status wrong(struct verify *v, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct text line = {0};
    if (v->at) stmt_print(&line, v->at);
    enum yj_status status = report(YJ_ERR_INPUT, "kernel %s: %.300s%s%s", v->k->name, line.data ? line.data : "",
                                   v->at ? ": " : "", message);
    text_free(&line);
    return status;
}

static void bind(struct verify *v, const void *what) {
    map_set(&v->bound, what, (void *)(intptr_t)(1 + (v->frames ? v->frames->depth + 1 : 0)));
}

static int depth_of(struct verify *v, const void *what) { /* -1 out of scope */
    return (int)(intptr_t)map_get(&v->bound, what) - 1;
}

static uint64_t bit(int depth) {
    return depth < 64 ? UINT64_C(1) << depth : 0;
}

static const struct frame *inside(const struct verify *v, enum axis_kind kind) {
    for (const struct frame *f = v->frames; f; f = f->outer)
        if (f->s->kind == STMT_LOOP && f->s->axis_kind == kind) return f;
    return NULL;
}

/* --- dims and expressions --- */

struct symbols {
    struct verify *v;
    dim unknown, local;
};

static void check_symbol(void *user, dim symbol) {
    struct symbols *s = user;
    int depth = depth_of(s->v, symbol);
    if (depth < 0) s->unknown = symbol;
    if (depth > 0) s->local = symbol;
}

static enum yj_status check_dim(struct verify *v, dim d) {
    struct symbols s = {.v = v};
    if (!d) return wrong(v, "a dim is missing");
    dim_symbols(d, check_symbol, &s);
    return s.unknown ? wrong(v, "%s is not an axis or dim in scope", s.unknown->name) : YJ_OK;
}

static enum yj_status check_launch_dim(struct verify *v, dim d, const char *what) {
    struct symbols s = {.v = v};
    TRY(check_dim(v, d));
    dim_symbols(d, check_symbol, &s);
    return s.local ? wrong(v, "%s may hold dims of the kernel only, not the axis %s", what, s.local->name) : YJ_OK;
}

static uint64_t dim_depends(const struct verify *v, dim d) {
    uint64_t mask = 0;
    for (const struct frame *f = v->frames; f; f = f->outer)
        if (f->s->kind == STMT_LOOP && dim_contains(d, f->s->axis)) mask |= bit(f->depth);
    return mask;
}

/* Which enclosing loops the value of E may depend on. What lies in local memory may depend on all of them. */
static uint64_t expr_depends(const struct verify *v, const struct expr *e) {
    uint64_t mask = 0;
    if (e->kind == EXPR_DIM) return dim_depends(v, e->dim);
    if (e->kind == EXPR_LET) return (uint64_t)(uintptr_t)map_get(&v->depends, e->let);
    if (e->kind == EXPR_LOAD && e->buffer->space != SPACE_GLOBAL) return UINT64_MAX;
    for (int i = 0; i < e->n; i++)
        mask |= expr_depends(v, e->arg[i]);
    return mask;
}

static bool allowed(const char *types, enum yj_dtype dtype, bool narrow) {
    char kind = dtype_kind(dtype);
    if (kind == 0 || !strchr(types, kind)) return false;
    return kind != 'f' || narrow || dtype == YJ_F32 || dtype == YJ_F64;
}

static enum yj_status check_op(struct verify *v, const struct expr *e) {
    const struct scalar_info *info = &scalar_info[e->op];
    bool select = info->result == '1';
    for (int i = 0; i < e->n; i++)
        if (!e->arg[i]) return wrong(v, "%s takes %d operands", info->name, info->arity);
    if (e->n != info->arity) return wrong(v, "%s takes %d operands", info->name, info->arity);
    if (select && e->arg[0]->dtype != YJ_BOOL) return wrong(v, "select takes a bool first");
    enum yj_dtype dtype = e->arg[select]->dtype;
    for (int i = select; i < e->n; i++)
        if (e->arg[i]->dtype != dtype)
            return wrong(v, "%s takes operands of one type, not %s and %s", info->name, yj_dtype_name(dtype),
                         yj_dtype_name(e->arg[i]->dtype));
    if (!allowed(info->types, dtype, select))
        return wrong(v, "%s does not work on %s", info->name, yj_dtype_name(dtype));
    enum yj_dtype result = info->result == 'b' ? YJ_BOOL : dtype;
    return e->dtype == result ? YJ_OK : wrong(v, "%s gives %s", info->name, yj_dtype_name(result));
}

static enum yj_status check_expr(struct verify *v, const struct expr *e);

static enum yj_status check_subscripts(struct verify *v, const struct buffer *b, int n, struct expr *const *subs) {
    int depth = depth_of(v, b);
    if (depth < 0) return wrong(v, "%s is not a buffer in scope", b->name);
    if (n != b->rank) return wrong(v, "%s has %d dimensions, not %d", b->name, b->rank, n);
    const struct frame *vector = inside(v, AXIS_VECTOR);
    for (int i = 0; i < n; i++) {
        TRY(check_expr(v, subs[i]));
        if (subs[i]->dtype != YJ_I64)
            return wrong(v, "a subscript of %s is %s, not i64", b->name, yj_dtype_name(subs[i]->dtype));
        if (vector && depth > vector->depth && (expr_depends(v, subs[i]) & bit(vector->depth)))
            return wrong(v, "a subscript of %s depends on the vector axis that it is declared under", b->name);
    }
    return YJ_OK;
}

static enum yj_status check_expr(struct verify *v, const struct expr *e) {
    if (!e) return wrong(v, "an expression is missing");
    if (e->kind == EXPR_DIM) return e->dtype == YJ_I64 ? check_dim(v, e->dim) : wrong(v, "a dim is i64");
    if (e->kind == EXPR_LET) {
        if (depth_of(v, e->let) < 0) return wrong(v, "%s is not in scope", e->let->name);
        return e->dtype == e->let->value->dtype
                   ? YJ_OK
                   : wrong(v, "%s is %s", e->let->name, yj_dtype_name(e->let->value->dtype));
    }
    if (e->kind == EXPR_LOAD) {
        TRY(check_subscripts(v, e->buffer, e->n, e->arg));
        return e->dtype == e->buffer->dtype ? YJ_OK
                                            : wrong(v, "%s holds %s", e->buffer->name, yj_dtype_name(e->buffer->dtype));
    }
    for (int i = 0; i < e->n; i++)
        TRY(check_expr(v, e->arg[i]));
    if (yj_dtype_bytes(e->dtype) == 0) return wrong(v, "an expression has no type");
    if (e->kind == EXPR_CONST && e->dtype == YJ_I64) return wrong(v, "an i64 constant must be a dim");
    if (e->kind == EXPR_OP) return check_op(v, e);
    if (e->kind == EXPR_BITCAST) {
        enum yj_dtype from = e->arg[0]->dtype;
        if (from == YJ_BOOL || e->dtype == YJ_BOOL || yj_dtype_bytes(from) != yj_dtype_bytes(e->dtype))
            return wrong(v, "bitcast from %s to %s: the sizes differ", yj_dtype_name(from), yj_dtype_name(e->dtype));
    }
    return YJ_OK;
}

/* --- races --- */

static bool parallel(const struct stmt *s) {
    return s->kind == STMT_LOOP &&
           (s->axis_kind == AXIS_TILE || s->axis_kind == AXIS_LANE || s->axis_kind == AXIS_VECTOR);
}

static enum yj_status check_write(struct verify *v, const struct buffer *b, int n, struct expr *const *subs) {
    uint64_t depends = 0;
    if (b->role == ROLE_IN) return wrong(v, "%s is an input", b->name);
    for (int i = 0; i < n; i++)
        depends |= expr_depends(v, subs[i]);
    for (const struct frame *f = v->frames; f && f->depth >= depth_of(v, b); f = f->outer) {
        if (f->s->kind == STMT_IF) depends |= f->depends;
        if (!parallel(f->s) || f->depth >= 64 || (depends & bit(f->depth)) || dim_is(stmt_trips(v->k, f->s), 1))
            continue;
        return wrong(v, "all iterations of %s write the same element of %s", f->s->axis->name, b->name);
    }
    return YJ_OK;
}

/* --- statements --- */

static enum yj_status check_body(struct verify *v, struct stmt *body);

static enum yj_status bind_axis(struct verify *v, dim axis, dim from, dim to) {
    if (!axis || axis->op != DIM_SYMBOL) return wrong(v, "an axis must be a symbol");
    if (depth_of(v, axis) >= 0) return wrong(v, "the axis %s is bound already", axis->name);
    dim old = map_get(&v->from, axis);
    if (old && (old != from || map_get(&v->to, axis) != to))
        return wrong(v, "the axis %s has another range elsewhere", axis->name);
    map_set(&v->from, axis, (void *)from);
    map_set(&v->to, axis, (void *)to);
    bind(v, axis);
    return YJ_OK;
}

static void unbind(struct verify *v, const void *what) {
    map_set(&v->bound, what, NULL);
}

/* Under a vector loop, bounds are the same for all its iterations. */
static enum yj_status check_range(struct verify *v, const struct stmt *s) {
    TRY(check_dim(v, s->from));
    TRY(check_dim(v, s->to));
    const struct frame *vector = inside(v, AXIS_VECTOR);
    if (vector && ((dim_depends(v, s->from) | dim_depends(v, s->to)) & bit(vector->depth)))
        return wrong(v, "the bounds depend on the vector axis %s", vector->s->axis->name);
    return YJ_OK;
}

static enum yj_status check_tile_loop(struct verify *v, const struct stmt *s) {
    const struct stmt *outer = v->frames ? v->frames->s : NULL;
    bool nested =
        outer ? outer->kind == STMT_LOOP && outer->axis_kind == AXIS_TILE && outer->body == s : v->k->body == s;
    if (!nested || s->next) return wrong(v, "tile loops are outermost and perfectly nested");
    TRY(check_launch_dim(v, s->from, "the bounds of a tile loop"));
    return check_launch_dim(v, s->to, "the bounds of a tile loop");
}

static enum yj_status check_lane_loop(struct verify *v, const struct stmt *s, int64_t extent) {
    const struct stmt *outer = v->frames ? v->frames->s : NULL;
    bool in_lane = outer && outer->axis_kind == AXIS_LANE, in_tile = !outer || outer->axis_kind == AXIS_TILE;
    if (outer && outer->kind != STMT_LOOP) in_lane = in_tile = false;
    if (!in_lane && !in_tile) return wrong(v, "lane loops stand directly in a tile or in a lane loop");
    for (const struct stmt *o = outer ? outer->body : v->k->body; o; o = o->next) {
        bool shared = o->kind == STMT_BUFFER && o->buffer->space != SPACE_REG;
        if (o != s && (in_lane || !(shared || o->kind == STMT_LET)))
            return wrong(v, "beside the lane loop only shared and scratch buffers and lets may stand");
    }
    for (const struct frame *f = v->frames; f && f->s->axis_kind == AXIS_LANE; f = f->outer) {
        int64_t n = 1;
        dim_is_const(stmt_trips(v->k, f->s), &n);
        extent *= n;
    }
    return extent <= MAX_LANES ? YJ_OK : wrong(v, "more than %d lanes", MAX_LANES);
}

static enum yj_status check_loop(struct verify *v, struct stmt *s) {
    TRY(check_range(v, s));
    if (s->step < 1) return wrong(v, "the step must be 1 or more");
    int64_t extent = 0;
    bool constant = dim_is_const(dim_sub(v->k->dims, s->to, s->from), &extent);
    if (s->axis_kind == AXIS_TILE) TRY(check_tile_loop(v, s));
    if (s->axis_kind == AXIS_LANE || s->axis_kind == AXIS_UNROLL || s->axis_kind == AXIS_VECTOR) {
        if (!constant || extent < 0 || extent > MAX_EXTENT)
            return wrong(v, "lane, unroll and vector loops need a constant extent of 0 to %d", MAX_EXTENT);
    }
    if (s->axis_kind == AXIS_LANE) TRY(check_lane_loop(v, s, extent));
    if ((s->axis_kind == AXIS_VECTOR || s->axis_kind == AXIS_LANE) && s->step != 1)
        return wrong(v, "the step must be 1");
    if (s->axis_kind == AXIS_VECTOR && inside(v, AXIS_VECTOR)) return wrong(v, "a vector loop inside a vector loop");
    struct frame frame = {s, v->frames ? v->frames->depth + 1 : 0, 0, v->frames};
    v->frames = &frame;
    TRY(bind_axis(v, s->axis, s->from, s->to));
    TRY(check_body(v, s->body));
    unbind(v, s->axis);
    v->frames = frame.outer;
    return YJ_OK;
}

static enum yj_status check_if(struct verify *v, struct stmt *s) {
    TRY(check_expr(v, s->value));
    if (s->value->dtype != YJ_BOOL) return wrong(v, "the condition is %s, not bool", yj_dtype_name(s->value->dtype));
    struct frame frame = {s, v->frames ? v->frames->depth + 1 : 0, expr_depends(v, s->value), v->frames};
    v->frames = &frame;
    TRY(check_body(v, s->body));
    v->frames = frame.outer;
    return YJ_OK;
}

static enum yj_status check_shape(struct verify *v, const struct buffer *b) {
    int64_t bytes = (int64_t)yj_dtype_bytes(b->dtype), n,
            most = b->space == SPACE_REG ? MAX_REG_BYTES : MAX_SHARED_BYTES;
    if (bytes == 0) return wrong(v, "%s has no element type", b->name);
    if (b->rank < 0 || b->rank > KERNEL_MAX_RANK)
        return wrong(v, "%s has more than %d dimensions", b->name, KERNEL_MAX_RANK);
    for (int i = 0; i < b->rank; i++) {
        TRY(check_launch_dim(v, b->shape[i], "a shape"));
        if (b->space == SPACE_GLOBAL || b->space == SPACE_SCRATCH) continue;
        if (!dim_is_const(b->shape[i], &n) || n < 1) return wrong(v, "%s needs a constant shape", b->name);
        if (__builtin_mul_overflow(bytes, n, &bytes) || bytes > most)
            return wrong(v, "%s is larger than %lld bytes", b->name, (long long)most);
    }
    return YJ_OK;
}

static enum yj_status check_buffer(struct verify *v, struct stmt *s) {
    const struct buffer *b = s->buffer;
    if (b->space == SPACE_GLOBAL || b->role != ROLE_LOCAL) return wrong(v, "%s is an argument", b->name);
    if (b->space != SPACE_REG && (inside(v, AXIS_LANE) || inside(v, AXIS_VECTOR)))
        return wrong(v, "shared and scratch buffers are declared outside lane and vector loops");
    TRY(check_shape(v, b));
    bind(v, b);
    return YJ_OK;
}

static enum yj_status check_reduce(struct verify *v, struct stmt *s) {
    static const enum scalar_op ops[] = {SCALAR_add, SCALAR_mul, SCALAR_min, SCALAR_max, SCALAR_and, SCALAR_or};
    bool known = false;
    for (size_t i = 0; i < COUNT(ops); i++)
        known |= s->op == ops[i];
    if (!known) return wrong(v, "%s does not reduce", scalar_info[s->op].name);
    if (s->lanes < 1 || s->lanes > 64 || (s->lanes & (s->lanes - 1)))
        return wrong(v, "lanes must be a power of two up to 64");
    TRY(check_range(v, s));
    TRY(bind_axis(v, s->axis, s->from, s->to));
    TRY(check_expr(v, s->value));
    if (!allowed(scalar_info[s->op].types, s->value->dtype, false))
        return wrong(v, "%s does not work on %s", scalar_info[s->op].name, yj_dtype_name(s->value->dtype));
    unbind(v, s->axis);
    return YJ_OK;
}

/* Which of the three axes of an fma_tile the subscripts of a load hold. */
static int tile_axes(const struct stmt *s, const struct expr *load) {
    int mask = 0;
    for (int i = 0; i < load->n; i++)
        for (int a = 0; a < 3; a++)
            if (load->arg[i]->kind == EXPR_DIM && dim_contains(load->arg[i]->dim, s->tile_axis[a])) mask |= 1 << a;
    return mask;
}

static bool tile_types(enum yj_dtype c, enum yj_dtype a, enum yj_dtype b) {
    if (c == YJ_F64) return a == YJ_F64 && b == YJ_F64;
    if (c == YJ_F32) return a == b && (a == YJ_F32 || a == YJ_BF16 || a == YJ_F16);
    return c == YJ_I32 && (a == YJ_I8 || a == YJ_U8) && (b == YJ_I8 || b == YJ_U8);
}

static enum yj_status check_fma_tile(struct verify *v, struct stmt *s) {
    struct expr *load[3] = {s->c, s->a, s->b};
    if (inside(v, AXIS_VECTOR)) return wrong(v, "fma_tile inside a vector loop");
    for (int i = 0; i < 3; i++) {
        if (s->tile_extent[i] < 1 || s->tile_extent[i] > 256) return wrong(v, "the extents are 1 to 256");
        TRY(bind_axis(v, s->tile_axis[i], dim_const(v->k->dims, 0), dim_const(v->k->dims, s->tile_extent[i])));
    }
    for (int i = 0; i < 3; i++) {
        TRY(check_expr(v, load[i]));
        if (load[i]->kind != EXPR_LOAD) return wrong(v, "fma_tile takes elements of buffers");
        for (int d = 0; d < load[i]->n; d++)
            if (load[i]->arg[d]->kind != EXPR_DIM) return wrong(v, "subscripts in fma_tile are axes and dims");
    }
    if (!tile_types(s->c->dtype, s->a->dtype, s->b->dtype))
        return wrong(v, "fma_tile has no form %s += %s * %s", yj_dtype_name(s->c->dtype), yj_dtype_name(s->a->dtype),
                     yj_dtype_name(s->b->dtype));
    int c = tile_axes(s, s->c), one = (s->tile_extent[0] == 1) | (s->tile_extent[1] == 1) << 1;
    if ((c & 4) || ((c | one) & 3) != 3) return wrong(v, "c must be subscripted by i and j and not by k");
    if (tile_axes(s, s->a) & 2) return wrong(v, "a must not be subscripted by j");
    if (tile_axes(s, s->b) & 1) return wrong(v, "b must not be subscripted by i");
    if (s->c->buffer == s->a->buffer || s->c->buffer == s->b->buffer) return wrong(v, "c is also an operand");
    TRY(check_write(v, s->c->buffer, s->c->n, s->c->arg));
    for (int i = 0; i < 3; i++)
        unbind(v, s->tile_axis[i]);
    return YJ_OK;
}

static enum yj_status check_barrier(struct verify *v) {
    uint64_t lanes = 0, depends = 0;
    for (const struct frame *f = v->frames; f; f = f->outer) {
        if (f->s->kind == STMT_IF)
            depends |= f->depends;
        else if (f->s->axis_kind == AXIS_LANE)
            lanes |= bit(f->depth);
        else
            depends |= dim_depends(v, f->s->from) | dim_depends(v, f->s->to);
    }
    if (!lanes) return wrong(v, "a barrier outside lane loops");
    if (inside(v, AXIS_VECTOR)) return wrong(v, "a barrier inside a vector loop");
    return depends & lanes ? wrong(v, "not every lane may reach this barrier") : YJ_OK;
}

static enum yj_status check_copy(struct verify *v, struct stmt *s) {
    if (inside(v, AXIS_LANE) || inside(v, AXIS_VECTOR)) return wrong(v, "copy inside a lane or vector loop");
    TRY(check_subscripts(v, s->buffer, s->n_subs, s->subs));
    TRY(check_expr(v, s->value));
    if (s->value->kind != EXPR_LOAD) return wrong(v, "copy takes an element of a buffer");
    if (s->value->n != s->n_subs || s->value->dtype != s->buffer->dtype)
        return wrong(v, "copy between different ranks or types");
    if (s->value->buffer == s->buffer) return wrong(v, "copy within one buffer");
    for (int i = 0; i < s->n_subs; i++) {
        if (s->subs[i]->kind != EXPR_DIM || s->value->arg[i]->kind != EXPR_DIM)
            return wrong(v, "subscripts in copy are axes and dims");
        TRY(check_dim(v, s->extents[i]));
    }
    return check_write(v, s->buffer, s->n_subs, s->subs);
}

static enum yj_status check_prefetch(struct verify *v, struct stmt *s) {
    if (inside(v, AXIS_LANE) || inside(v, AXIS_VECTOR)) return wrong(v, "prefetch inside a lane or vector loop");
    TRY(check_expr(v, s->value));
    if (s->value->kind != EXPR_LOAD) return wrong(v, "prefetch takes an element of a buffer");
    if (s->value->buffer->space == SPACE_REG) return wrong(v, "prefetch of registers");
    for (int i = 0; i < s->value->n; i++)
        if (s->value->arg[i]->kind != EXPR_DIM) return wrong(v, "subscripts in prefetch are axes and dims");
    return YJ_OK;
}

static enum yj_status check_check(struct verify *v, struct stmt *s) {
    TRY(check_expr(v, s->value));
    TRY(check_expr(v, s->fault_value));
    if (s->value->dtype != YJ_BOOL || s->fault_value->dtype != YJ_I64) return wrong(v, "check takes a bool and an i64");
    return s->fault_code > 0 ? YJ_OK : wrong(v, "the fault code must be 1 or more");
}

static enum yj_status check_named(struct verify *v, struct stmt *s) {
    TRY(s->kind == STMT_LET ? check_expr(v, s->value) : check_reduce(v, s));
    map_set(&v->depends, s, (void *)(uintptr_t)expr_depends(v, s->value));
    bind(v, s);
    return YJ_OK;
}

static enum yj_status check_stmt(struct verify *v, struct stmt *s) {
    switch (s->kind) {
    case STMT_LOOP:
        return check_loop(v, s);
    case STMT_IF:
        return check_if(v, s);
    case STMT_BUFFER:
        return check_buffer(v, s);
    case STMT_LET:
    case STMT_REDUCE:
        return check_named(v, s);
    case STMT_STORE:
        TRY(check_subscripts(v, s->buffer, s->n_subs, s->subs));
        TRY(check_expr(v, s->value));
        if (s->value->dtype != s->buffer->dtype)
            return wrong(v, "stores %s into %s", yj_dtype_name(s->value->dtype), yj_dtype_name(s->buffer->dtype));
        return check_write(v, s->buffer, s->n_subs, s->subs);
    case STMT_FMA_TILE:
        return check_fma_tile(v, s);
    case STMT_BARRIER:
        return check_barrier(v);
    case STMT_COPY:
        return check_copy(v, s);
    case STMT_WAIT:
        return inside(v, AXIS_LANE) || inside(v, AXIS_VECTOR) ? wrong(v, "wait inside a lane or vector loop") : YJ_OK;
    case STMT_PREFETCH:
        return check_prefetch(v, s);
    case STMT_CHECK:
        return check_check(v, s);
    }
    return wrong(v, "an unknown statement");
}

static enum yj_status check_body(struct verify *v, struct stmt *body) {
    for (struct stmt *s = body; s; s = s->next) {
        v->at = s;
        TRY(check_stmt(v, s));
    }
    for (struct stmt *s = body; s; s = s->next) {
        if (s->kind == STMT_BUFFER) unbind(v, s->buffer);
        if (s->kind == STMT_LET || s->kind == STMT_REDUCE) unbind(v, s);
    }
    return YJ_OK;
}

static enum yj_status check_kernel(struct verify *v) {
    struct kernel *k = v->k;
    int n = 0;
    for (int i = 0; i < k->n_dims; i++)
        bind(v, k->dim_args[i]);
    for (struct buffer *b = k->args; b; b = b->next, n++) {
        if (b->space != SPACE_GLOBAL || b->role == ROLE_LOCAL || b->index != n)
            return wrong(v, "%s is no proper argument", b->name);
        TRY(check_shape(v, b));
        bind(v, b);
    }
    if (n != k->n_args) return wrong(v, "%d arguments, not %d", n, k->n_args);
    for (int i = 0; i < k->n_guards; i++) {
        TRY(check_launch_dim(v, k->guards[i].low, "a guard"));
        TRY(check_launch_dim(v, k->guards[i].value, "a guard"));
        TRY(check_launch_dim(v, k->guards[i].high, "a guard"));
    }
    return check_body(v, k->body);
}

static enum yj_status guarded(void *argument) {
    return check_kernel(argument);
}

enum yj_status kernel_verify(struct kernel *k) {
    struct arena *arena = arena_open();
    if (!arena) return report(YJ_ERR_MEMORY, "out of memory in kernel_verify");
    struct verify v = {.k = k, .bound.arena = arena, .depends.arena = arena, .from.arena = arena, .to.arena = arena};
    enum yj_status status = arena_guard(guarded, &v);
    arena_close(arena);
    return status;
}

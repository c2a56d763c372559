/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels as source text: C for any chip with gcc or clang, OpenCL C for accelerators. The one idea: the body is the
 * same text in both dialects; they differ in the head, in how a tile and a lane learn their number, and in where memory
 * is declared.
 */
#include "compiler/emit_source_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void begin_line(struct source *s) {
    text_add(&s->body, "%*s", s->indent * 4, "");
}

static void open_block(struct source *s) {
    text_add(&s->body, " {\n");
    s->indent++;
}

static void close_block(struct source *s) {
    s->indent--;
    begin_line(s);
    text_add(&s->body, "}\n");
}

static void dim_text(struct source *s, dim d) {
    source_dim(s, &s->body, d);
}

static void expr_text(struct source *s, const struct expr *e) {
    source_expr(s, &s->body, e);
}

__attribute__((format(printf, 2, 3))) static void unsupported(struct source *s, const char *format, ...) {
    char message[300];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (s->status == YJ_OK) s->status = report(YJ_ERR_UNSUPPORTED, "kernel %s: %s", s->k->name, message);
}

/* --- statements --- */

static void emit_body(struct source *s, const struct stmt *body);

static void emit_for(struct source *s, const struct stmt *loop) {
    const char *name = source_name(s, loop->axis, loop->axis->name);
    begin_line(s);
    text_add(&s->body, "for (i64 %s = ", name);
    dim_text(s, loop->from);
    text_add(&s->body, "; %s < ", name);
    dim_text(s, loop->to);
    text_add(&s->body, "; %s += %" PRId64 ")", name, loop->step);
    open_block(s);
    emit_body(s, loop->body);
    close_block(s);
}

/* A loop whose iterations are spread over tiles or lanes: its axis is a part of NUMBER, which loses it. */
static void emit_axis_of(struct source *s, const struct stmt *loop, const char *number) {
    begin_line(s);
    text_add(&s->body, "const i64 %s = ", source_name(s, loop->axis, loop->axis->name));
    dim_text(s, loop->from);
    text_add(&s->body, " + %s %% ", number);
    dim_text(s, stmt_trips(s->k, loop));
    text_add(&s->body, " * %" PRId64 ";\n", loop->step);
    begin_line(s);
    text_add(&s->body, "%s /= ", number);
    dim_text(s, stmt_trips(s->k, loop));
    text_add(&s->body, ";\n");
}

/* Row-major: the innermost axis is the lowest part, so it is taken off first. Gives the body inside the nest. */
static const struct stmt *emit_axes(struct source *s, const struct stmt *nest, enum axis_kind kind,
                                    const char *number) {
    const struct stmt *loops[64], *body = nest;
    int n = 0;
    while (n < 64 && body && body->kind == STMT_LOOP && body->axis_kind == kind) {
        loops[n++] = body;
        body = body->body;
    }
    while (n-- > 0)
        emit_axis_of(s, loops[n], number);
    return body;
}

static void emit_lanes(struct source *s, const struct stmt *nest) {
    begin_line(s);
    text_add(&s->body, "{\n");
    s->indent++;
    begin_line(s);
    text_add(&s->body, "i64 lane = (i64)get_local_id(0);\n");
    emit_body(s, emit_axes(s, nest, AXIS_LANE, "lane"));
    close_block(s);
}

static void emit_array(struct source *s, const struct buffer *b, const char *space) {
    begin_line(s);
    text_add(&s->body, "%s%s %s[", space, source_type(s, b->dtype), source_name(s, b, b->name));
    for (int i = 0; i < b->rank; i++) {
        if (i) text_add(&s->body, " * ");
        dim_text(s, b->shape[i]);
    }
    text_add(&s->body, b->rank ? "];\n" : "1];\n");
}

/* SCRATCH, and in C also SHARED: a part of the scratch memory of this tile. */
static void emit_scratch(struct source *s, const struct buffer *b) {
    const char *type = source_type(s, b->dtype), *name = source_name(s, b, b->name);
    bool opencl = s->dialect == SOURCE_OPENCL;
    begin_line(s);
    if (opencl)
        text_add(&s->body, "__global %s *const %s = (__global %s *)(scratch + (i64)get_group_id(0) * ", type, name,
                 type);
    else
        text_add(&s->body, "%s *const %s = (%s *)((u8 *)scratch", type, name, type);
    if (opencl) dim_text(s, kernel_scratch_bytes(s->k));
    text_add(&s->body, " + ");
    dim_text(s, kernel_scratch_offset(s->k, b));
    text_add(&s->body, ");\n");
}

static void emit_buffer(struct source *s, const struct buffer *b) {
    if (b->space == SPACE_REG)
        emit_array(s, b, "");
    else if (s->dialect == SOURCE_C || b->space == SPACE_SCRATCH)
        emit_scratch(s, b);
    /* else SHARED, which OpenCL C wants declared at the top */
}

static void emit_store(struct source *s, const struct buffer *b, int n, struct expr *const *subs,
                       const struct expr *value) {
    begin_line(s);
    source_element(s, &s->body, b, n, subs);
    text_add(&s->body, " = ");
    expr_text(s, value);
    text_add(&s->body, ";\n");
}

static struct expr *operand(struct source *s, const struct stmt *tile, struct expr *e) {
    return e->dtype == tile->c->dtype ? e : expr_cast(s->k, tile->c->dtype, e);
}

static void emit_fma_tile(struct source *s, const struct stmt *tile) {
    static const int order[] = {2, 0, 1};
    struct kernel *k = s->k;
    struct expr *a = operand(s, tile, tile->a), *b = operand(s, tile, tile->b);
    bool is_float = dtype_kind(tile->c->dtype) == 'f';
    struct expr *sum = is_float ? expr_op(k, SCALAR_fma, a, b, tile->c)
                                : expr_op(k, SCALAR_add, tile->c, expr_op(k, SCALAR_mul, a, b, NULL), NULL);
    for (int i = 0; i < 3; i++) {
        const char *name = source_name(s, tile->tile_axis[order[i]], tile->tile_axis[order[i]]->name);
        begin_line(s);
        text_add(&s->body, "for (i64 %s = 0; %s < %d; %s++)%s", name, name, tile->tile_extent[order[i]], name,
                 i == 2 ? "\n" : "");
        if (i < 2) open_block(s);
    }
    s->indent++;
    emit_store(s, tile->c->buffer, tile->c->n, tile->c->arg, sum);
    s->indent--;
    close_block(s);
    close_block(s);
}

static struct expr *moved(struct source *s, struct expr *base, dim by) {
    return expr_dim(s->k, dim_add(s->k->dims, base->dim, by));
}

/* The copy happens at once. Outside the source zeros are written. */
static void emit_copy(struct source *s, const struct stmt *copy) {
    struct kernel *k = s->k;
    struct expr *to[KERNEL_MAX_RANK], *from[KERNEL_MAX_RANK];
    const struct buffer *source = copy->value->buffer;
    int n = copy->n_subs;
    for (int i = 0; i < n; i++) {
        dim step = kernel_axis(k, "step", dim_const(k->dims, 0), copy->extents[i]);
        const char *name = source_name(s, step, step->name);
        to[i] = moved(s, copy->subs[i], step);
        from[i] = moved(s, copy->value->arg[i], step);
        begin_line(s);
        text_add(&s->body, "for (i64 %s = 0; %s < ", name, name);
        dim_text(s, copy->extents[i]);
        text_add(&s->body, "; %s++)\n", name);
        s->indent++;
    }
    begin_line(s);
    source_element(s, &s->body, copy->buffer, n, to);
    text_add(&s->body, " = ");
    for (int i = 0; i < n; i++) {
        text_add(&s->body, i ? " && " : "");
        expr_text(s, from[i]);
        text_add(&s->body, " >= 0 && ");
        expr_text(s, from[i]);
        text_add(&s->body, " < ");
        dim_text(s, source->shape[i]);
    }
    if (n) text_add(&s->body, " ? ");
    source_element(s, &s->body, source, n, from);
    text_add(&s->body, n ? " : (%s)0;\n" : ";\n", source_type(s, source->dtype));
    s->indent -= n;
}

static void emit_check(struct source *s, const struct stmt *check) {
    begin_line(s);
    text_add(&s->body, "if (!");
    expr_text(s, check->value);
    text_add(&s->body, ") %s(fault, %d, ", source_set_fault(s), check->fault_code);
    expr_text(s, check->fault_value);
    text_add(&s->body, ");\n");
}

static void emit_barrier(struct source *s) {
    if (s->dialect == SOURCE_C) unsupported(s, "barriers need a dialect with threads, C has none");
    begin_line(s);
    text_add(&s->body, "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);\n");
}

static void emit_stmt(struct source *s, const struct stmt *st) {
    switch (st->kind) {
    case STMT_LOOP:
        if (st->axis_kind == AXIS_LANE && s->dialect == SOURCE_OPENCL)
            emit_lanes(s, st);
        else
            emit_for(s, st);
        return;
    case STMT_IF:
        begin_line(s);
        text_add(&s->body, "if (");
        expr_text(s, st->value);
        text_add(&s->body, ")");
        open_block(s);
        emit_body(s, st->body);
        close_block(s);
        return;
    case STMT_BUFFER:
        emit_buffer(s, st->buffer);
        return;
    case STMT_LET:
        begin_line(s);
        text_add(&s->body, "const %s %s = ", source_type(s, st->value->dtype), source_name(s, st, st->name));
        expr_text(s, st->value);
        text_add(&s->body, ";\n");
        return;
    case STMT_STORE:
        emit_store(s, st->buffer, st->n_subs, st->subs, st->value);
        return;
    case STMT_FMA_TILE:
        emit_fma_tile(s, st);
        return;
    case STMT_BARRIER:
        emit_barrier(s);
        return;
    case STMT_COPY:
        emit_copy(s, st);
        return;
    case STMT_CHECK:
        emit_check(s, st);
        return;
    case STMT_REDUCE: /* expanded before */
    case STMT_WAIT:
    case STMT_PREFETCH: /* a hint that the source languages cannot all give */
        return;
    }
}

static void emit_body(struct source *s, const struct stmt *body) {
    for (const struct stmt *st = body; st; st = st->next)
        emit_stmt(s, st);
}

/* --- heads --- */

static void emit_head_c(struct source *s) {
    text_add(&s->body,
             "void %s(void *const *buffer, const i64 *scalar, i64 tile_begin, i64 tile_end, void *scratch, struct "
             "yj_fault *fault) {\n",
             s->k->name);
    s->indent = 1;
    for (const struct buffer *b = s->k->args; b; b = b->next) {
        const char *type = source_type(s, b->dtype), *constant = b->role == ROLE_IN ? "const " : "";
        begin_line(s);
        text_add(&s->body, "%s%s *const %s = (%s%s *)buffer[%d];\n", constant, type, source_name(s, b, b->name),
                 constant, type, b->index);
    }
    for (int i = 0; i < s->k->n_dims; i++) {
        begin_line(s);
        text_add(&s->body, "const i64 %s = scalar[%d];\n", source_name(s, s->k->dim_args[i], s->k->dim_args[i]->name),
                 i);
    }
    begin_line(s);
    text_add(&s->body, "for (i64 number = tile_begin; number < tile_end; number++)");
    open_block(s);
    begin_line(s);
    text_add(&s->body, "i64 tile = number;\n");
}

static void add_shared(void *user, struct stmt *st) {
    struct source *s = user;
    if (st->kind == STMT_BUFFER && st->buffer->space == SPACE_SHARED) emit_array(s, st->buffer, "__local ");
}

static void emit_head_opencl(struct source *s) {
    text_add(&s->body, "__kernel __attribute__((reqd_work_group_size(%" PRId64 ", 1, 1)))\nvoid %s(",
             emit_source_lanes(s->k), s->k->name);
    for (const struct buffer *b = s->k->args; b; b = b->next)
        text_add(&s->body, "__global %s%s *%s, ", b->role == ROLE_IN ? "const " : "", source_type(s, b->dtype),
                 source_name(s, b, b->name));
    for (int i = 0; i < s->k->n_dims; i++)
        text_add(&s->body, "i64 %s, ", source_name(s, s->k->dim_args[i], s->k->dim_args[i]->name));
    text_add(&s->body, "i64 first_tile, __global u8 *scratch, __global struct yj_fault *fault) {\n");
    s->indent = 1;
    kernel_walk(s->k->body, add_shared, s);
    begin_line(s);
    text_add(&s->body, "i64 tile = first_tile + (i64)get_group_id(0);\n");
}

/* The text of the kernel before it was expanded, as a comment. */
static void emit_comment(struct source *s, const struct kernel *k) {
    struct text text = {0};
    kernel_print(&text, k);
    text_add(&s->body, "\n/*\n%s*/\n", text.data ? text.data : "");
    s->body.failed |= text.failed;
    text_free(&text);
}

static enum yj_status emit_kernel(struct source *s, const struct kernel *k) {
    s->k = kernel_copy(s->arena, k);
    s->names = (struct map){.arena = s->arena};
    kernel_expand_math(s->k);
    kernel_expand_reduce(s->k);
    emit_comment(s, k);
    if (s->dialect == SOURCE_C)
        emit_head_c(s);
    else
        emit_head_opencl(s);
    emit_body(s, emit_axes(s, s->k->body, AXIS_TILE, "tile"));
    while (s->indent)
        close_block(s);
    return s->status;
}

/* --- the whole source --- */

static const char head_c[] =
    "#if defined(__GNUC__) && !defined(__clang__)\n"
    "#pragma GCC optimize(\"fp-contract=off\")\n"
    "#else\n"
    "#pragma STDC FP_CONTRACT OFF\n"
    "#endif\n"
    "typedef __UINT8_TYPE__ u8;\ntypedef __UINT16_TYPE__ u16;\ntypedef __UINT32_TYPE__ u32;\ntypedef __UINT64_TYPE__ "
    "u64;\n"
    "typedef __INT8_TYPE__ i8;\ntypedef __INT16_TYPE__ i16;\ntypedef __INT32_TYPE__ i32;\ntypedef __INT64_TYPE__ i64;\n"
    "typedef float f32;\ntypedef double f64;\n";
static const char head_opencl[] =
    "#pragma OPENCL FP_CONTRACT OFF\n"
    "typedef uchar u8;\ntypedef ushort u16;\ntypedef uint u32;\ntypedef ulong u64;\n"
    "typedef char i8;\ntypedef short i16;\ntypedef int i32;\ntypedef long i64;\ntypedef float f32;\n";
static const char head_both[] =
    "typedef u16 f16;\ntypedef u16 bf16;\ntypedef u8 e4m3;\ntypedef u8 e5m2;\ntypedef u8 b8;\n"
    "struct yj_fault { i32 code; i32 reserved; i64 value; };\n";

struct emission {
    struct source source;
    const struct kernel *const *kernels;
    int n;
};

static enum yj_status emit_all(void *argument) {
    struct emission *e = argument;
    for (int i = 0; i < e->n; i++)
        TRY(emit_kernel(&e->source, e->kernels[i]));
    return YJ_OK;
}

enum yj_status emit_source(const struct kernel *const *kernels, int n, enum source_dialect dialect, struct text *out) {
    struct emission e = {.source = {.dialect = dialect, .arena = arena_open()}, .kernels = kernels, .n = n};
    struct source *s = &e.source;
    if (!s->arena) return report(YJ_ERR_MEMORY, "out of memory in emit_source");
    enum yj_status status = arena_guard(emit_all, &e);
    if (status == YJ_OK) {
        text_add(out, "%s", dialect == SOURCE_C ? head_c : head_opencl);
        if (s->f64 && dialect == SOURCE_OPENCL)
            text_add(out, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\ntypedef double f64;\n");
        text_add(out, "%s%s%s", head_both, s->functions.data ? s->functions.data : "",
                 s->body.data ? s->body.data : "");
        if (out->failed || s->functions.failed || s->body.failed)
            status = report(YJ_ERR_MEMORY, "out of memory in emit_source");
    }
    text_free(&s->functions);
    text_free(&s->body);
    arena_close(s->arena);
    return status;
}

const char *emit_source_options(enum source_dialect dialect) {
    return dialect == SOURCE_C ? "-std=gnu11 -ffp-contract=off"
                               : "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt";
}

struct lanes {
    const struct kernel *k;
    int64_t n;
};

static void count_lanes(void *user, struct stmt *s) {
    struct lanes *lanes = user;
    int64_t extent;
    if (s->kind != STMT_LOOP || s->axis_kind != AXIS_LANE) return;
    if (dim_is_const(dim_sub(lanes->k->dims, s->to, s->from), &extent)) lanes->n *= extent;
}

int64_t emit_source_lanes(const struct kernel *k) {
    struct lanes lanes = {k, 1};
    kernel_walk(k->body, count_lanes, &lanes);
    return lanes.n;
}

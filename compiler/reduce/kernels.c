/* SPDX-License-Identifier: Apache-2.0
 *
 * The reduction kernels of the collective library as texts: one for each accumulator, operator and form. The one idea:
 * every kernel is the same three loops (four registers at a time, one register, one element) around one line, so the
 * head, middle and tail of a buffer have the same arithmetic by construction. f16, bf16 and fp8 are widened to f32,
 * joined, and rounded once; a NaN is written with its canonical bits. A destination may be the memory of a source,
 * hence `inout`. What wraps, and what looks at bits or at zero only, is one kernel for signed and unsigned types.
 */
#include "compiler/reduce/kernels.h"

#include <stdio.h>

const char *const reduce_form_names[REDUCE_FORMS] = {"two_one", "two_two", "many"};

enum { REGISTERS = 4 };

const char *reduce_op_text(enum yj_op op) {
    static const char *const names[] = {[YJ_SUM] = "sum",   [YJ_PROD] = "prod", [YJ_MIN] = "min",  [YJ_MAX] = "max",
                                        [YJ_AVG] = "avg",   [YJ_BAND] = "band", [YJ_BOR] = "bor",  [YJ_BXOR] = "bxor",
                                        [YJ_LAND] = "land", [YJ_LOR] = "lor",   [YJ_LXOR] = "lxor"};
    return names[op];
}

static bool is_bitwise(enum yj_op op) {
    return op == YJ_BAND || op == YJ_BOR || op == YJ_BXOR;
}

static bool is_logical(enum yj_op op) {
    return op == YJ_LAND || op == YJ_LOR || op == YJ_LXOR;
}

static enum yj_dtype unsigned_of(size_t bytes) {
    return bytes == 1 ? YJ_U8 : bytes == 2 ? YJ_U16 : bytes == 4 ? YJ_U32 : YJ_U64;
}

/* On 0 and 1: min is and, max is or. */
static bool bool_join(enum yj_op op, struct reduce_join *join) {
    static const enum yj_op as[] = {[YJ_MIN] = YJ_LAND, [YJ_BAND] = YJ_LAND, [YJ_LAND] = YJ_LAND, [YJ_MAX] = YJ_LOR,
                                    [YJ_BOR] = YJ_LOR,  [YJ_LOR] = YJ_LOR,   [YJ_BXOR] = YJ_LXOR, [YJ_LXOR] = YJ_LXOR};
    if (!as[op]) return false;
    *join = (struct reduce_join){YJ_U8, as[op], 1};
    return true;
}

bool reduce_join_of(enum yj_dtype dtype, enum yj_op op, struct reduce_join *join) {
    size_t bytes = yj_dtype_bytes(dtype);
    if (dtype == YJ_BOOL) return bool_join(op, join);
    if (dtype_kind(dtype) == 'f' && is_bitwise(op)) return false;
    if (op == YJ_AVG) op = YJ_SUM;
    *join = (struct reduce_join){dtype, op, 1};
    if (dtype_kind(dtype) == 'f' || op == YJ_MIN || op == YJ_MAX) return true;
    join->type = unsigned_of(bytes);
    if (!is_bitwise(op)) return true;
    join->type = bytes >= 4 ? YJ_U32 : YJ_U8;
    join->words = (int)(bytes / yj_dtype_bytes(join->type));
    return true;
}

bool reduce_join_exists(enum yj_dtype type, enum yj_op op) {
    struct reduce_join join;
    for (int t = YJ_F32; t <= YJ_BOOL; t++)
        for (int o = YJ_SUM; o <= YJ_LXOR; o++)
            if (reduce_join_of((enum yj_dtype)t, (enum yj_op)o, &join) && join.type == type && join.op == op)
                return true;
    return false;
}

bool reduce_scale_exists(enum yj_dtype type) {
    return dtype_kind(type) == 'f';
}

/* --- text --- */

struct writer {
    struct text *out;
    enum yj_dtype type, sum; /* in memory, and of the accumulator */
    enum yj_op op;
    enum reduce_form form;
    bool scale;
    int lanes; /* of one register of accumulators */
};

static bool is_narrow(enum yj_dtype type) {
    return dtype_kind(type) == 'f' && yj_dtype_bytes(type) < 4;
}

/* The value at PLACE, as wide as the accumulator. */
static void get(struct writer *w, const char *place) {
    text_add(w->out, is_narrow(w->type) ? "cast.f32(%s)" : "%s", place);
}

/* 0 or 1 in the accumulator's type. */
static void number(char text[16], enum yj_dtype type, int value) {
    if (dtype_kind(type) == 'f')
        snprintf(text, 16, type == YJ_F64 ? "%d.0:f64" : "%d.0", value);
    else
        snprintf(text, 16, "%d:%s", value, yj_dtype_name(type));
}

/* let NAME = A op the value at PLACE */
static void join(struct writer *w, const char *name, const char *a, const char *place) {
    static const char *const ops[] = {
        [YJ_SUM] = "add", [YJ_PROD] = "mul", [YJ_MIN] = "min",  [YJ_MAX] = "max", [YJ_BAND] = "and",
        [YJ_BOR] = "or",  [YJ_BXOR] = "xor", [YJ_LAND] = "and", [YJ_LOR] = "or",  [YJ_LXOR] = "xor"};
    char zero[16], one[16];
    number(zero, w->sum, 0), number(one, w->sum, 1);
    text_add(w->out, "let %s = ", name);
    if (!is_logical(w->op)) {
        text_add(w->out, "%s(%s, ", ops[w->op], a);
        get(w, place);
        text_add(w->out, ")\n");
        return;
    }
    text_add(w->out, "select(%s(ne(%s, %s), ne(", ops[w->op], a, zero);
    get(w, place);
    text_add(w->out, ", %s)), %s, %s)\n", zero, one, zero);
}

/* Rounds the accumulator NAME and writes it. The conversions to bf16 and fp8 make NaN canonical themselves. */
static void put(struct writer *w, const char *name, const char *place) {
    bool nan =
        dtype_kind(w->type) == 'f' && (w->scale || !is_logical(w->op)) && (w->type == YJ_F16 || !is_narrow(w->type));
    const char *cast = is_narrow(w->type) ? yj_dtype_name(w->type) : NULL;
    text_add(w->out, "let %s_out = %s%s%s", name, cast ? "cast." : "", cast ? cast : "", cast ? "(" : "");
    if (nan)
        text_add(w->out, "select(eq(%s, %s), %s, %s)", name, name, name, w->sum == YJ_F64 ? "nan:f64" : "nan");
    else
        text_add(w->out, "%s", name);
    text_add(w->out, "%s\nd[%s] = %s_out\n", cast ? ")" : "", place, name);
    if (w->form == REDUCE_TWO_TWO) text_add(w->out, "e[%s] = %s_out\n", place, name);
}

/* vector AXIS = 0 .. LANES { let what follows } */
static void open_lanes(struct writer *w, const char *axis, int lanes) {
    if (lanes > 1) text_add(w->out, "vector %s = 0 .. %d {\n", axis, lanes);
}

static void close_lanes(struct writer *w, int lanes) {
    if (lanes > 1) text_add(w->out, "}\n");
}

static void body_two(struct writer *w, char loop, const char *place, int lanes) {
    char axis[8], value[8], first[8], a[48], b[48];
    snprintf(axis, sizeof axis, "%cl", loop), snprintf(value, sizeof value, "%cv", loop);
    snprintf(first, sizeof first, "%ca", loop);
    snprintf(a, sizeof a, "a[%s]", place), snprintf(b, sizeof b, "b[%s]", place);
    open_lanes(w, axis, lanes);
    text_add(w->out, "let %s = ", first);
    get(w, a);
    text_add(w->out, "\n");
    join(w, value, first, b);
    put(w, value, place);
    close_lanes(w, lanes);
}

/* Source k begins AT[k] elements from the first. */
static void body_many(struct writer *w, char loop, const char *place, int lanes) {
    char axis[8], value[8], s[24], from[64];
    snprintf(axis, sizeof axis, "%cl", loop), snprintf(value, sizeof value, "%cv", loop);
    if (lanes > 1)
        snprintf(s, sizeof s, "%cs[%s]", loop, axis);
    else
        snprintf(s, sizeof s, "%cs[0]", loop);
    text_add(w->out, "reg %cs %s [%d]\n", loop, yj_dtype_name(w->sum), lanes);
    open_lanes(w, axis, lanes);
    text_add(w->out, "%s = ", s);
    snprintf(from, sizeof from, "x[add(at[0], %s)]", place);
    get(w, from);
    text_add(w->out, "\n");
    close_lanes(w, lanes);
    text_add(w->out, "serial %ck = 1 .. K {\n", loop);
    open_lanes(w, axis, lanes);
    snprintf(from, sizeof from, "x[add(at[%ck], %s)]", loop, place);
    join(w, value, s, from);
    text_add(w->out, "%s = %s\n", s, value);
    close_lanes(w, lanes);
    text_add(w->out, "}\n");
    snprintf(value, sizeof value, "%cw", loop);
    open_lanes(w, axis, lanes);
    text_add(w->out, "let %s = %s\n", value, s);
    put(w, value, place);
    close_lanes(w, lanes);
}

static void body_scale(struct writer *w, char loop, const char *place, int lanes) {
    char axis[8], value[8], d[48];
    snprintf(axis, sizeof axis, "%cl", loop), snprintf(value, sizeof value, "%cv", loop);
    snprintf(d, sizeof d, "d[%s]", place);
    open_lanes(w, axis, lanes);
    text_add(w->out, "let %s = div(", value);
    get(w, d);
    text_add(w->out, ", cast.%s(R))\n", yj_dtype_name(w->sum));
    put(w, value, place);
    close_lanes(w, lanes);
}

static void body(struct writer *w, char loop, int lanes) {
    char place[24];
    snprintf(place, sizeof place, lanes > 1 ? "%c + %cl" : "%c", loop, loop);
    if (w->scale)
        body_scale(w, loop, place, lanes);
    else if (w->form == REDUCE_MANY)
        body_many(w, loop, place, lanes);
    else
        body_two(w, loop, place, lanes);
}

/* Where a register of elements is much work, four of them at a time are no quicker. */
static bool is_long(const struct writer *w) {
    return yj_dtype_bytes(w->type) < yj_dtype_bytes(w->sum) / 2 || (!w->scale && is_logical(w->op));
}

static void loops(struct writer *w) {
    int one = w->lanes, four = one * REGISTERS;
    text_add(w->out, "{\n");
    if (!is_long(w)) {
        text_add(w->out, "serial i = 0 .. N / %d * %d step %d {\n", four, four, four);
        body(w, 'i', four);
        text_add(w->out, "}\nserial m = N / %d * %d .. N / %d * %d step %d {\n", four, four, one, one, one);
    } else {
        text_add(w->out, "serial m = 0 .. N / %d * %d step %d {\n", one, one, one);
    }
    body(w, 'm', one);
    text_add(w->out, "}\nserial t = N / %d * %d .. N {\n", one, one);
    body(w, 't', 1);
    text_add(w->out, "}\n}\n");
}

static struct writer writer(struct text *out, int vector_bits, enum yj_dtype type) {
    enum yj_dtype sum = is_narrow(type) ? YJ_F32 : type;
    return (struct writer){.out = out, .type = type, .sum = sum, .lanes = vector_bits / 8 / (int)yj_dtype_bytes(sum)};
}

void reduce_join_text(struct text *out, const char *prefix, int vector_bits, enum yj_dtype type, enum yj_op op,
                      enum reduce_form form) {
    struct writer w = writer(out, vector_bits, type);
    const char *t = yj_dtype_name(type);
    w.op = op, w.form = form;
    text_add(out, "kernel %s_%s_%s_%s", prefix, t, reduce_op_text(op), reduce_form_names[form]);
    if (form == REDUCE_MANY)
        text_add(out, "(K in 1.., N in 0.., P in 0..)\nin at i64 [K]\nin x %s [P]\n", t);
    else
        text_add(out, "(N in 0..)\nin a %s [N]\nin b %s [N]\n", t, t);
    text_add(out, "inout d %s [N]\n", t);
    if (form == REDUCE_TWO_TWO) text_add(out, "inout e %s [N]\n", t);
    loops(&w);
}

void reduce_scale_text(struct text *out, const char *prefix, int vector_bits, enum yj_dtype type) {
    struct writer w = writer(out, vector_bits, type);
    const char *t = yj_dtype_name(type);
    w.scale = true;
    text_add(out, "kernel %s_%s_scale(N in 0.., R in 1..)\ninout d %s [N]\n", prefix, t, t);
    loops(&w);
}

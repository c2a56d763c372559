/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to a plan. The parser trusts nothing: numbers are checked for overflow, counts for reason, and plan_verify has
 * the last word. Arrays double inside the arena, so that a hostile text costs what it is long.
 */
#include "runtime/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { MOST_ITEMS = 1 << 22, MOST_LIST = 4096 };

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

struct parser {
    struct plan *plan;
    struct arena *arena;
    const char *file, *at;
    int line;
    bool plain;                    /* expressions as they stand */
    int *kernel_hash, kernel_room; /* names of kernels -> number + 1 */
};

static enum yj_status bad(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum yj_status bad(struct parser *p, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return report(YJ_ERR_INPUT, "%s:%d: %s", p->file, p->line, message);
}

/* Blanks, and comments (# and then no digit: #1 is a block). Newlines end nothing, so they are blanks too. */
static void skip(struct parser *p) {
    for (;; p->at++) {
        if (*p->at == '\n')
            p->line++;
        else if (*p->at == '#' && !is_digit(p->at[1])) {
            while (p->at[1] && p->at[1] != '\n')
                p->at++;
        } else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r') {
            return;
        }
    }
}

/* Takes TOKEN if it is next; a word only as a whole. */
static bool take(struct parser *p, const char *token) {
    skip(p);
    size_t n = strlen(token);
    if (strncmp(p->at, token, n) != 0) return false;
    if (is_letter(token[n - 1]) && token[n - 1] != '.' && (is_letter(p->at[n]) || is_digit(p->at[n]))) return false;
    p->at += n;
    return true;
}

static enum yj_status expect(struct parser *p, const char *token) {
    if (take(p, token)) return YJ_OK;
    int n = 0;
    while (n < 20 && p->at[n] > ' ')
        n++;
    return bad(p, "'%s' was expected before '%.*s'", token, n, p->at);
}

static enum yj_status parse_int64(struct parser *p, int64_t *value) {
    skip(p);
    bool minus = *p->at == '-';
    const char *digits = p->at + minus;
    if (!is_digit(*digits)) return bad(p, "a number was expected");
    int64_t v = 0;
    for (; is_digit(*digits); digits++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *digits - '0', &v)) {
            return bad(p, "a number of more than 63 bits");
        }
    }
    if (!minus && v == INT64_MIN) return bad(p, "a number of more than 63 bits");
    p->at = digits;
    *value = minus ? v : -v;
    return YJ_OK;
}

/* A number in 0..below-1. */
static enum yj_status parse_index(struct parser *p, int64_t below, int *value) {
    int64_t v = 0;
    TRY(parse_int64(p, &v));
    if (v < 0 || v >= below) return bad(p, "%" PRId64 " is not in 0..%" PRId64, v, below - 1);
    *value = (int)v;
    return YJ_OK;
}

static int hex(char c) {
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum yj_status parse_string(struct parser *p, const char **s) {
    TRY(expect(p, "\""));
    const char *end = p->at;
    while (*end && *end != '"' && *end != '\n')
        end += end[0] == '\\' && end[1] && end[1] != '\n' ? 2 : 1;
    if (*end != '"') return bad(p, "a string that does not end");
    char *out = arena_new(p->arena, (size_t)(end - p->at) + 1), *to = out;
    for (const char *c = p->at; c < end; c++) {
        if (*c != '\\') {
            *to++ = *c;
        } else if (c[1] == '"' || c[1] == '\\') {
            *to++ = *++c;
        } else if (c[1] == 'x' && hex(c[2]) >= 0 && hex(c[3]) >= 0 && hex(c[2]) + hex(c[3]) > 0) {
            *to++ = (char)(hex(c[2]) * 16 + hex(c[3]));
            c += 3;
        } else {
            return bad(p, "\\%c is no escape: \\\" \\\\ \\xHH are", c[1]);
        }
    }
    p->at = end + 1;
    *s = out;
    return YJ_OK;
}

static enum yj_status parse_word(struct parser *p, const char **s) {
    skip(p);
    size_t n = 0;
    if (is_letter(*p->at)) {
        while (is_letter(p->at[n]) || is_digit(p->at[n]))
            n++;
    }
    if (!n) return bad(p, "a name was expected");
    char *out = arena_new(p->arena, n + 1);
    memcpy(out, p->at, n);
    p->at += n;
    *s = out;
    return YJ_OK;
}

static enum yj_status parse_name(struct parser *p, const char **s) {
    skip(p);
    return *p->at == '"' ? parse_string(p, s) : parse_word(p, s);
}

static enum yj_status parse_choice(struct parser *p, int n, const char *const *names, const char *what, int *choice) {
    for (int i = 0; i < n; i++) {
        if (take(p, names[i])) {
            *choice = i;
            return YJ_OK;
        }
    }
    return bad(p, "an unknown %s", what);
}

static enum yj_status parse_dtype(struct parser *p, enum yj_dtype *dtype) {
    const char *name;
    TRY(parse_word(p, &name));
    return dtype_parse(name, dtype) ? YJ_OK : bad(p, "%s is no element type", name);
}

static enum yj_status parse_dim(struct parser *p, struct dim_table *t, dim *d) {
    skip(p);
    const char *before = p->at;
    enum yj_status status = (p->plain ? dim_parse_plain : dim_parse)(t, &p->at, d);
    if (status != YJ_OK) return report_in(status, "%s:%d", p->file, p->line);
    for (; before < p->at; before++)
        p->line += *before == '\n';
    return YJ_OK;
}

static enum yj_status parse_named_dim(struct parser *p, const char *word, struct dim_table *t, dim *d) {
    TRY(expect(p, word));
    return parse_dim(p, t, d);
}

/* Arrays grow by doubling inside the arena: a new one is needed when the count is a power of two. */
static void *grown(struct parser *p, void *array, int n, size_t each) {
    if (n & (n - 1)) return array;
    void *larger = arena_new(p->arena, (size_t)(n ? 2 * n : 1) * each);
    if (n) memcpy(larger, array, (size_t)n * each);
    return larger;
}
#define PUSH(p, array, n) ((array) = grown((p), (array), (n), sizeof *(array)), &(array)[(n)++])
#define ROOM(p, n)                                                                                                     \
    do {                                                                                                               \
        if ((n) >= MOST_ITEMS) return bad((p), "more than %d of one thing", MOST_ITEMS);                               \
    } while (0)

static enum yj_status parse_shape(struct parser *p, struct dim_table *t, int most, int *n, dim *shape) {
    TRY(expect(p, "["));
    int rank = 0;
    if (!take(p, "]")) {
        do {
            if (rank == most) return bad(p, "more than %d dimensions", most);
            TRY(parse_dim(p, t, &shape[rank++]));
        } while (take(p, ","));
        TRY(expect(p, "]"));
    }
    *n = rank;
    return YJ_OK;
}

static enum yj_status parse_ints(struct parser *p, int *n, int **list) {
    do {
        if (*n == MOST_LIST) return bad(p, "a list of more than %d", MOST_LIST);
        int64_t v = 0;
        TRY(parse_int64(p, &v));
        if (v < 0 || v > INT32_MAX) return bad(p, "%" PRId64 " is out of range", v);
        *PUSH(p, *list, *n) = (int)v;
    } while (take(p, ","));
    return YJ_OK;
}

static enum yj_status parse_mesh(struct parser *p) {
    struct plan_mesh *m = &p->plan->mesh;
    do {
        if (m->n == 4) return bad(p, "a mesh of more than 4 axes");
        TRY(parse_word(p, &m->name[m->n]));
        TRY(expect(p, "="));
        TRY(parse_index(p, 1 << 20, &m->size[m->n]));
        m->n++;
    } while (take(p, ","));
    return expect(p, ")");
}

static enum yj_status parse_node(struct parser *p) {
    struct plan *plan = p->plan;
    int number = 0;
    const char *name;
    TRY(parse_index(p, INT32_MAX, &number));
    TRY(parse_string(p, &name));
    ROOM(p, plan->n_nodes);
    if (plan->n_nodes && plan->node[plan->n_nodes - 1] >= number) return bad(p, "nodes must be in ascending order");
    int n = plan->n_nodes;
    *PUSH(p, plan->node, n) = number;
    *PUSH(p, plan->node_names, plan->n_nodes) = name;
    return YJ_OK;
}

static enum yj_status parse_bound(struct parser *p, int64_t *v) {
    if (take(p, "inf")) {
        *v = DIM_UNBOUNDED;
        return YJ_OK;
    }
    return parse_int64(p, v);
}

/* 1..64 or 0..inf */
static enum yj_status parse_bounds(struct parser *p, const char *name, int64_t *low, int64_t *high) {
    TRY(parse_bound(p, low));
    TRY(expect(p, ".."));
    TRY(parse_bound(p, high));
    return *low <= *high ? YJ_OK : bad(p, "dim %s has no value: %" PRId64 "..%" PRId64, name, *low, *high);
}

static enum yj_status parse_dim_line(struct parser *p) {
    struct plan *plan = p->plan;
    struct plan_dim d = {0};
    const char *name;
    int kind = 0;
    TRY(parse_word(p, &name));
    TRY(parse_bounds(p, name, &d.low, &d.high));
    TRY(parse_choice(p, 4, plan_dim_kind_names, "kind of dim", &kind));
    if (dim_find(plan->dims, name)) return bad(p, "dim %s is declared twice, or after its use", name);
    d.kind = (enum plan_dim_kind)kind;
    d.symbol = dim_symbol(plan->dims, name, d.low, d.high);
    ROOM(p, plan->n_dims);
    *PUSH(p, plan->dim, plan->n_dims) = d;
    return YJ_OK;
}

static enum yj_status parse_variant(struct parser *p, struct plan_kernel *k) {
    if (k->n_variants == PLAN_MAX_VARIANTS) return bad(p, "more than %d variants of a kernel", PLAN_MAX_VARIANTS);
    struct plan_variant *v = &k->variants[k->n_variants++];
    TRY(parse_name(p, &v->symbol));
    TRY(parse_named_dim(p, "tiles", k->dims, &v->tiles));
    TRY(parse_named_dim(p, "scratch", k->dims, &v->scratch));
    TRY(parse_named_dim(p, "ns", k->dims, &v->ns));
    if (!take(p, "when")) return YJ_OK;
    do {
        if (v->n_guards == 16) return bad(p, "more than 16 guards");
        struct plan_guard g;
        TRY(parse_dim(p, k->dims, &g.low));
        TRY(parse_named_dim(p, "<=", k->dims, &g.value));
        TRY(parse_named_dim(p, "<=", k->dims, &g.high));
        *PUSH(p, v->guards, v->n_guards) = g;
    } while (take(p, ","));
    return YJ_OK;
}

/* The number of the kernel NAME, or -1; with ADD >= 0 it is entered under that number. */
static int kernel_number(struct parser *p, const char *name, int add) {
    if (2 * (p->plan->n_kernels + 1) > p->kernel_room) {
        p->kernel_room = p->kernel_room ? 2 * p->kernel_room : 64;
        p->kernel_hash = NEW_ARRAY(p->arena, int, p->kernel_room);
        for (int i = 0; i < p->plan->n_kernels; i++) {
            const char *s = p->plan->kernels[i].name;
            size_t at = hash_bytes(s, strlen(s), 0) & (size_t)(p->kernel_room - 1);
            while (p->kernel_hash[at])
                at = (at + 1) & (size_t)(p->kernel_room - 1);
            p->kernel_hash[at] = i + 1;
        }
    }
    size_t at = hash_bytes(name, strlen(name), 0) & (size_t)(p->kernel_room - 1);
    for (; p->kernel_hash[at]; at = (at + 1) & (size_t)(p->kernel_room - 1)) {
        if (strcmp(p->plan->kernels[p->kernel_hash[at] - 1].name, name) == 0) return p->kernel_hash[at] - 1;
    }
    if (add >= 0) p->kernel_hash[at] = add + 1;
    return -1;
}

static enum yj_status parse_kernel(struct parser *p) {
    struct plan *plan = p->plan;
    struct plan_kernel k = {.dims = dim_table_open(p->arena)};
    int role = 0;
    TRY(parse_name(p, &k.name));
    TRY(expect(p, "("));
    if (!take(p, ")")) {
        do {
            const char *name;
            int64_t low = 0, high = 0;
            TRY(parse_word(p, &name));
            TRY(parse_bounds(p, name, &low, &high));
            if (k.n_dims == MOST_LIST) return bad(p, "more than %d dims", MOST_LIST);
            if (dim_find(k.dims, name)) return bad(p, "two dims of one kernel are called %s", name);
            dim_symbol(k.dims, name, low, high);
            *PUSH(p, k.dim_names, k.n_dims) = name;
        } while (take(p, ","));
        TRY(expect(p, ")"));
    }
    while (!take(p, "{")) {
        if (k.n_args == MOST_LIST) return bad(p, "more than %d arguments", MOST_LIST);
        TRY(parse_choice(p, 3, plan_role_names, "role of an argument", &role));
        *PUSH(p, k.args, k.n_args) = (enum plan_role)role;
    }
    while (!take(p, "}"))
        TRY(parse_variant(p, &k));
    if (kernel_number(p, k.name, plan->n_kernels) >= 0) return bad(p, "two kernels are called %s", k.name);
    ROOM(p, plan->n_kernels);
    *PUSH(p, plan->kernels, plan->n_kernels) = k;
    return YJ_OK;
}

static enum yj_status parse_buffer(struct parser *p) {
    struct plan *plan = p->plan;
    struct plan_buffer b = {0};
    int number = 0, space = 0, kind = 0;
    TRY(parse_index(p, MOST_ITEMS, &number));
    if (number != plan->n_buffers) return bad(p, "%%%d was expected: buffers are numbered in order", plan->n_buffers);
    TRY(parse_string(p, &b.name));
    TRY(parse_dtype(p, &b.dtype));
    TRY(parse_choice(p, 3, plan_space_names, "space", &space));
    b.space = (enum plan_space)space;
    if (b.space == PLAN_DEVICE) TRY(parse_index(p, 1 << 16, &b.device));
    TRY(parse_choice(p, 5, plan_kind_names, "kind of buffer", &kind));
    b.kind = (enum plan_kind)kind;
    if (b.kind == PLAN_ALIAS) {
        TRY(expect(p, "%"));
        TRY(parse_index(p, MOST_ITEMS, &b.of));
        TRY(parse_named_dim(p, "at", plan->dims, &b.at));
    }
    TRY(parse_named_dim(p, "bytes", plan->dims, &b.bytes));
    if (b.kind == PLAN_WEIGHT) {
        TRY(expect(p, "file"));
        TRY(parse_index(p, 1 << 16, &b.file));
        TRY(parse_named_dim(p, "at", plan->dims, &b.at));
    }
    if (b.kind == PLAN_TEMP) {
        TRY(expect(p, "live"));
        TRY(expect(p, "#"));
        TRY(parse_index(p, MOST_ITEMS, &b.block));
        TRY(parse_index(p, MOST_ITEMS, &b.first));
        TRY(expect(p, ".."));
        TRY(parse_index(p, MOST_ITEMS, &b.last));
    }
    *PUSH(p, plan->buffers, plan->n_buffers) = b;
    return YJ_OK;
}

static enum yj_status parse_buffer_number(struct parser *p, int *number) {
    TRY(expect(p, "%"));
    return parse_index(p, MOST_ITEMS, number);
}

static enum yj_status parse_port(struct parser *p, struct plan_port **ports, int *n) {
    struct plan_port port = {0};
    TRY(parse_string(p, &port.name));
    TRY(parse_buffer_number(p, &port.buffer));
    TRY(parse_dtype(p, &port.dtype));
    TRY(parse_shape(p, p->plan->dims, PLAN_MAX_RANK, &port.rank, port.shape));
    ROOM(p, *n);
    *PUSH(p, *ports, *n) = port;
    return YJ_OK;
}

static enum yj_status parse_state(struct parser *p) {
    struct plan *plan = p->plan;
    struct plan_state s = {0};
    int out = 0, storage = 0;
    TRY(parse_string(p, &s.name_in));
    TRY(parse_string(p, &s.name_out));
    TRY(parse_buffer_number(p, &s.buffer));
    TRY(parse_dtype(p, &s.dtype));
    TRY(parse_shape(p, plan->dims, PLAN_MAX_RANK, &s.rank, s.in));
    TRY(expect(p, "->"));
    TRY(parse_shape(p, plan->dims, PLAN_MAX_RANK, &out, s.out));
    TRY(expect(p, "in"));
    TRY(parse_shape(p, plan->dims, PLAN_MAX_RANK, &storage, s.storage));
    if (out != s.rank || storage != s.rank) return bad(p, "the three shapes of a state differ in rank");
    ROOM(p, plan->n_states);
    *PUSH(p, plan->states, plan->n_states) = s;
    return YJ_OK;
}

static enum yj_status parse_launch(struct parser *p, struct plan_step *s) {
    const char *name;
    TRY(parse_name(p, &name));
    s->kernel = kernel_number(p, name, -1);
    if (s->kernel < 0) return bad(p, "no kernel is called %s", name);
    TRY(expect(p, "("));
    if (!take(p, ")")) {
        do {
            int number = 0;
            TRY(parse_buffer_number(p, &number));
            if (s->n_buffers == MOST_LIST) return bad(p, "more than %d arguments", MOST_LIST);
            *PUSH(p, s->buffers, s->n_buffers) = number;
        } while (take(p, ","));
        TRY(expect(p, ")"));
    }
    TRY(expect(p, "["));
    if (take(p, "]")) return YJ_OK;
    do {
        dim d = NULL;
        TRY(parse_dim(p, p->plan->dims, &d));
        if (s->n_dims == MOST_LIST) return bad(p, "more than %d dims", MOST_LIST);
        *PUSH(p, s->dims, s->n_dims) = d;
    } while (take(p, ","));
    return expect(p, "]");
}

static enum yj_status parse_copy(struct parser *p, struct plan_step *s) {
    struct dim_table *t = p->plan->dims;
    s->n_buffers = 2;
    s->buffers = NEW_ARRAY(p->arena, int, 2);
    TRY(parse_buffer_number(p, &s->buffers[0]));
    TRY(parse_named_dim(p, "at", t, &s->at));
    TRY(expect(p, "="));
    TRY(parse_buffer_number(p, &s->buffers[1]));
    TRY(parse_named_dim(p, "at", t, &s->from));
    return parse_named_dim(p, "bytes", t, &s->count);
}

static enum yj_status parse_start(struct parser *p, struct plan_step *s) {
    int collective = 0, reduce = 0;
    const char *axis;
    s->n_buffers = 2;
    s->buffers = NEW_ARRAY(p->arena, int, 2);
    TRY(expect(p, "!"));
    TRY(parse_index(p, MOST_ITEMS, &s->request));
    TRY(parse_choice(p, PLAN_COLLECTIVES, plan_collective_names, "collective", &collective));
    TRY(parse_choice(p, PLAN_REDUCES, plan_reduce_names, "reduction", &reduce));
    s->collective = (enum plan_collective)collective;
    s->reduce = (enum plan_reduce)reduce;
    TRY(parse_dtype(p, &s->dtype));
    TRY(parse_buffer_number(p, &s->buffers[1]));
    TRY(expect(p, "->"));
    TRY(parse_buffer_number(p, &s->buffers[0]));
    TRY(parse_named_dim(p, "count", p->plan->dims, &s->count));
    TRY(expect(p, "axis"));
    TRY(parse_word(p, &axis));
    s->axis = plan_axis(p->plan, axis);
    return s->axis >= 0 ? YJ_OK : bad(p, "the mesh has no axis %s", axis);
}

static enum yj_status parse_bind(struct parser *p, struct plan_step *s) {
    s->n_buffers = 1;
    s->buffers = NEW_ARRAY(p->arena, int, 1);
    TRY(parse_buffer_number(p, &s->buffers[0]));
    TRY(parse_dtype(p, &s->dtype));
    do {
        dim d = NULL;
        TRY(parse_dim(p, p->plan->dims, &d));
        if (s->n_dims == MOST_LIST) return bad(p, "more than %d dims", MOST_LIST);
        *PUSH(p, s->dims, s->n_dims) = d;
    } while (take(p, ","));
    return YJ_OK;
}

static enum yj_status parse_block_number(struct parser *p, int *number) {
    TRY(expect(p, "#"));
    return parse_index(p, MOST_ITEMS, number);
}

static enum yj_status parse_branch(struct parser *p, struct plan_step *s) {
    TRY(parse_dim(p, p->plan->dims, &s->condition));
    s->block = s->otherwise = -1;
    if (!take(p, "none")) TRY(parse_block_number(p, &s->block));
    return take(p, "none") ? YJ_OK : parse_block_number(p, &s->otherwise);
}

static enum yj_status parse_call(struct parser *p, struct plan_step *s) {
    struct dim_table *t = p->plan->dims;
    TRY(parse_block_number(p, &s->block));
    if (take(p, "index")) TRY(parse_dim(p, t, &s->index));
    if (take(p, "turns")) TRY(parse_dim(p, t, &s->turns));
    if (take(p, "trips")) TRY(parse_dim(p, t, &s->trips));
    return take(p, "while") ? parse_dim(p, t, &s->condition) : YJ_OK;
}

static enum yj_status parse_check(struct parser *p, struct plan_step *s) {
    return parse_dim(p, p->plan->dims, &s->condition);
}

static enum yj_status parse_step(struct parser *p, struct plan_block *b) {
    static enum yj_status (*const body[])(struct parser *, struct plan_step *) = {
        parse_launch, parse_copy, parse_start, NULL, parse_bind, parse_branch, parse_call, parse_check};
    struct plan_step s = {0};
    int number = 0, kind = 0;
    TRY(parse_index(p, MOST_ITEMS, &number));
    if (number != b->n_steps) return bad(p, "step %d was expected: steps are numbered in order", b->n_steps);
    skip(p);
    if (*p->at++ != 'q') return p->at--, expect(p, "q");
    TRY(parse_index(p, 1 << 16, &s.queue));
    if (take(p, "after")) TRY(parse_ints(p, &s.n_after, &s.after));
    TRY(parse_choice(p, PLAN_STEPS, plan_step_names, "kind of step", &kind));
    s.kind = (enum plan_step_kind)kind;
    if (s.kind == PLAN_WAIT) {
        TRY(expect(p, "!"));
        TRY(parse_index(p, MOST_ITEMS, &s.request));
    } else {
        TRY(body[kind](p, &s));
    }
    if (take(p, "@")) TRY(parse_ints(p, &s.n_origin, &s.origin));
    if ((s.kind == PLAN_START || s.kind == PLAN_WAIT) && s.request >= p->plan->n_requests) {
        p->plan->n_requests = s.request + 1;
    }
    *PUSH(p, b->steps, b->n_steps) = s;
    return YJ_OK;
}

static enum yj_status parse_block(struct parser *p) {
    struct plan *plan = p->plan;
    struct plan_block b = {0};
    int number = 0;
    TRY(parse_block_number(p, &number));
    if (number != plan->n_blocks) return bad(p, "#%d was expected: blocks are numbered in order", plan->n_blocks);
    TRY(parse_string(p, &b.name));
    TRY(expect(p, "{"));
    while (!take(p, "}"))
        TRY(parse_step(p, &b));
    *PUSH(p, plan->blocks, plan->n_blocks) = b;
    return YJ_OK;
}

static enum yj_status parse_lines(struct parser *p) {
    struct plan *plan = p->plan;
    int64_t version = 0;
    TRY(expect(p, "plan"));
    TRY(parse_int64(p, &version));
    if (version != PLAN_VERSION) {
        return report(YJ_ERR_UNSUPPORTED,
                      "%s: plan version %" PRId64 "; this program reads version %d: compile the model again", p->file,
                      version, PLAN_VERSION);
    }
    if (take(p, "mesh(")) TRY(parse_mesh(p));
    for (;;) {
        if (take(p, "node"))
            TRY(parse_node(p));
        else if (take(p, "dim"))
            TRY(parse_dim_line(p));
        else if (take(p, "kernel"))
            TRY(parse_kernel(p));
        else if (take(p, "%"))
            TRY(parse_buffer(p));
        else if (take(p, "input"))
            TRY(parse_port(p, &plan->inputs, &plan->n_inputs));
        else if (take(p, "output"))
            TRY(parse_port(p, &plan->outputs, &plan->n_outputs));
        else if (take(p, "state"))
            TRY(parse_state(p));
        else if (take(p, "block"))
            TRY(parse_block(p));
        else
            break;
    }
    return *p->at ? expect(p, "the end of the plan") : YJ_OK;
}

static enum yj_status parse_guarded(void *argument) {
    struct parser *p = argument;
    p->plan = plan_new(p->arena);
    if (!p->plan) return YJ_ERR_MEMORY;
    TRY(parse_lines(p));
    enum yj_status status = plan_verify(p->plan);
    return status == YJ_OK ? YJ_OK : report_in(status, "%s", p->file);
}

static enum yj_status parse_text(struct arena *arena, const char *text, const char *file, bool plain,
                                 struct plan **plan) {
    struct parser p = {.arena = arena, .file = file, .at = text, .line = 1, .plain = plain};
    TRY(arena_guard(parse_guarded, &p));
    *plan = p.plan;
    return YJ_OK;
}

enum yj_status plan_parse(struct arena *arena, const char *text, const char *file, struct plan **plan) {
    return parse_text(arena, text, file, false, plan);
}

enum yj_status plan_load(struct arena *arena, const char *text, const char *file, struct plan **plan) {
    return parse_text(arena, text, file, true, plan);
}

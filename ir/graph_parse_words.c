/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of the text form: names, numbers, lists, and errors that carry line and column.
 */
#include "ir/graph_parse.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void place(const struct graph_parser *s, int *line, int *column) {
    *line = *column = 1;
    for (const char *q = s->start; q < s->p; q++) {
        if (*q == '\n')
            *line += 1, *column = 1;
        else
            *column += 1;
    }
}

enum yj_status graph_parse_bad(struct graph_parser *s, const char *format, ...) {
    char text[256];
    int line, column;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    place(s, &line, &column);
    return report(YJ_ERR_INPUT, "%s:%d:%d: %s", s->file, line, column, text);
}

enum yj_status graph_parse_located(struct graph_parser *s, enum yj_status status) {
    int line, column;
    if (status == YJ_OK) return YJ_OK;
    place(s, &line, &column);
    return report_in(status, "%s:%d:%d", s->file, line, column);
}

/* --- tokens --- */

void graph_parse_skip(struct graph_parser *s) {
    for (;;) {
        while (isspace((unsigned char)*s->p))
            s->p++;
        if (*s->p != '#') return;
        while (*s->p && *s->p != '\n')
            s->p++;
    }
}

bool graph_parse_take(struct graph_parser *s, const char *token) {
    graph_parse_skip(s);
    size_t n = strlen(token);
    if (strncmp(s->p, token, n) != 0) return false;
    if (isalpha((unsigned char)token[n - 1]) && (isalnum((unsigned char)s->p[n]) || s->p[n] == '_')) return false;
    s->p += n;
    return true;
}

enum yj_status graph_parse_need(struct graph_parser *s, const char *token) {
    if (graph_parse_take(s, token)) return YJ_OK;
    if (!*s->p) return graph_parse_bad(s, "'%s' is missing: the text ends", token);
    return graph_parse_bad(s, "'%s' is missing before '%.12s'", token, s->p);
}

static enum yj_status parse_quoted(struct graph_parser *s, const char **text) {
    struct text t = {0};
    enum yj_status status = YJ_OK;
    text_add(&t, "%s", "");
    for (s->p++; *s->p && *s->p != '"'; s->p++) {
        if (*s->p != '\\') {
            text_add(&t, "%c", *s->p);
        } else if (s->p[1] == 'x' && isxdigit((unsigned char)s->p[2]) && isxdigit((unsigned char)s->p[3])) {
            char hex[3] = {s->p[2], s->p[3], 0};
            text_add(&t, "%c", (int)strtol(hex, NULL, 16));
            s->p += 3;
        } else if (s->p[1]) {
            text_add(&t, "%c", *++s->p);
        }
    }
    if (t.failed)
        status = report(YJ_ERR_MEMORY, "out of memory");
    else if (*s->p != '"')
        status = graph_parse_bad(s, "a text does not end");
    else
        *text = arena_text(s->arena, "%s", t.data);
    text_free(&t);
    if (status == YJ_OK) s->p++;
    return status;
}

enum yj_status graph_parse_name(struct graph_parser *s, const char **name) {
    graph_parse_skip(s);
    if (*s->p == '"') return parse_quoted(s, name);
    const char *p = s->p;
    while (isalnum((unsigned char)*p) || (*p && strchr("_./$-", *p)))
        p++;
    if (p == s->p) return graph_parse_bad(s, "a name is missing before '%.12s'", s->p);
    *name = arena_text(s->arena, "%.*s", (int)min64(p - s->p, 4096), s->p);
    s->p = p;
    return YJ_OK;
}

enum yj_status graph_parse_int(struct graph_parser *s, int64_t *value) {
    graph_parse_skip(s);
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*s->p) && *s->p != '-')
        return graph_parse_bad(s, "a number is missing before '%.12s'", s->p);
    long long v = strtoll(s->p, &end, 10);
    if (end == s->p || errno) return graph_parse_bad(s, "'%.12s' is not a 64-bit number", s->p);
    s->p = end;
    *value = v;
    return YJ_OK;
}

enum yj_status graph_parse_small(struct graph_parser *s, int64_t low, int64_t high, int *value) {
    int64_t v;
    TRY(graph_parse_int(s, &v));
    if (v < low || v > high)
        return graph_parse_bad(s, "%lld is not in %lld..%lld", (long long)v, (long long)low, (long long)high);
    *value = (int)v;
    return YJ_OK;
}

enum yj_status graph_parse_dim(struct graph_parser *s, dim *d) {
    graph_parse_skip(s);
    return graph_parse_located(s, dim_parse(s->root->dims, &s->p, d));
}

enum yj_status graph_parse_list(struct graph_parser *s, int64_t **ints, dim **dims, int *n) {
    void *all = NULL;
    *n = 0;
    while (!graph_parse_take(s, "]")) {
        if (*n > 0) TRY(graph_parse_need(s, ","));
        if (ints) {
            int64_t *list = graph_grow(s->arena, all, *n); /* pointers and int64_t are of one size */
            TRY(graph_parse_int(s, &list[*n]));
            all = list;
        } else {
            dim *list = graph_grow(s->arena, all, *n);
            TRY(graph_parse_dim(s, &list[*n]));
            all = list;
        }
        *n += 1;
    }
    if (ints)
        *ints = all;
    else
        *dims = all;
    return YJ_OK;
}

enum yj_status graph_parse_float(struct graph_parser *s, double *value) {
    char *end;
    graph_parse_skip(s);
    *value = strtod(s->p, &end);
    if (end == s->p) return graph_parse_bad(s, "a number is missing before '%.12s'", s->p);
    s->p = end;
    return YJ_OK;
}

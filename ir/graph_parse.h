/* SPDX-License-Identifier: Apache-2.0
 *
 * Words of the text form, shared by graph_parse_words.c, which reads them, and graph_parse.c, which knows the grammar.
 */
#ifndef IR_GRAPH_PARSE_H
#define IR_GRAPH_PARSE_H

#include "ir/graph_inside.h"

struct graph_parser {
    const char *start, *p, *file;
    struct graph *root;
    struct arena *arena;
    int depth; /* of regions */
};

/* Reports file:line:column: FORMAT... */
enum yj_status graph_parse_bad(struct graph_parser *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts the place before an error that somebody else reported. */
enum yj_status graph_parse_located(struct graph_parser *s, enum yj_status status);

void graph_parse_skip(struct graph_parser *s);                    /* white space and comments */
bool graph_parse_take(struct graph_parser *s, const char *token); /* a whole word, if it stands here */
enum yj_status graph_parse_need(struct graph_parser *s, const char *token);
enum yj_status graph_parse_name(struct graph_parser *s, const char **name); /* bare or quoted */
enum yj_status graph_parse_int(struct graph_parser *s, int64_t *value);
enum yj_status graph_parse_small(struct graph_parser *s, int64_t low, int64_t high, int *value);
enum yj_status graph_parse_float(struct graph_parser *s, double *value);
enum yj_status graph_parse_dim(struct graph_parser *s, dim *d);
/* `[a, b]` of dims or ints, whose '[' was taken. Exactly one of INTS and DIMS is wanted. */
enum yj_status graph_parse_list(struct graph_parser *s, int64_t **ints, dim **dims, int *n);

#endif

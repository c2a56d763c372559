/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to kernel_parse.c (statements, the head) and kernel_parse_expr.c (words, errors, expressions): the parser of
 * the kernel form, kp for short.
 */
#ifndef IR_KERNEL_PARSE_H
#define IR_KERNEL_PARSE_H

#include "ir/kernel.h"

enum { MAX_NEST = 100, MAX_WORD = KERNEL_MAX_NAME + 1 };

/* What a name in scope stands for: exactly one of the pointers is set. */
struct entity {
    const char *name;
    struct buffer *buffer;
    struct stmt *let;
    dim symbol;
    struct entity *outer;
};
struct bound_axis {
    dim axis, from, to;
    struct bound_axis *next;
};

struct parser {
    struct kernel *k;
    const char *file, *text, *at;
    int nest;
    struct entity *scope;
    struct bound_axis *axes; /* all axes so far: loops that stand side by side may share one */
};

/* "FILE:LINE:COLUMN: message", with the place of WHERE, a pointer into the text. */
enum yj_status kp_error(struct parser *p, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum yj_status kp_expected(struct parser *p, const char *what); /* ... expected WHAT, found what stands there */

void kp_skip_space(struct parser *p); /* and comments */
bool kp_starts_word(char c);
bool kp_accept(struct parser *p, const char *mark); /* takes MARK if it comes next: a word or punctuation */
enum yj_status kp_need(struct parser *p, const char *mark);
enum yj_status kp_word(struct parser *p, const char *what, char out[MAX_WORD]);
enum yj_status kp_new_name(struct parser *p, const char *what, char out[MAX_WORD]); /* a name that is declared here */
enum yj_status kp_integer(struct parser *p, const char *what, int64_t low, int64_t high, int64_t *value);
enum yj_status kp_enter(struct parser *p); /* one level deeper; the caller goes up again by p->nest-- */
void kp_declare(struct parser *p, struct entity what);

enum yj_status kp_dtype(struct parser *p, enum yj_dtype *dtype);
enum yj_status kp_expr(struct parser *p, struct expr **out);
enum yj_status kp_primary(struct parser *p, struct expr **out); /* without infix operators */
enum yj_status kp_subscripts(struct parser *p, struct buffer *b, struct expr **subs);
enum yj_status kp_as_dim(struct parser *p, const char *where, struct expr *e, dim *d);
enum yj_status kp_dim(struct parser *p, dim *d);

#endif

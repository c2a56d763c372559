/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of `yunjin comm` share: reading options, exit codes, the JSON frame.
 */
#ifndef COMMAND_COMM_H
#define COMMAND_COMM_H

#include <yunjin/base.h>

#include <jansson.h>

int command_comm(int argc, char **argv); /* argv[0] is "comm" */
int command_comm_verify(int argc, char **argv);
int command_comm_explain(int argc, char **argv);
int command_comm_simulate(int argc, char **argv);
int command_comm_bench(int argc, char **argv);

enum { EXIT_DONE, EXIT_INPUT, EXIT_COMMAND_LINE, EXIT_MACHINE };
int comm_exit_code(enum yj_status status);

/* Prints "yunjin comm COMMAND: ..." and the way to --help on stderr; returns EXIT_COMMAND_LINE. */
int comm_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints this thread's error line; returns its exit code. */
int comm_failed(const char *command, enum yj_status status);

/* If argv[*i] is NAME VALUE or NAME=VALUE: moves *I to its last word and gives the value; *BAD: the value is missing.
 */
bool comm_option(int argc, char **argv, int *i, const char *name, const char **value, bool *bad);
bool comm_parse_int(const char *text, int low, int high, int *value);
bool comm_parse_bytes(const char *text, uint64_t *bytes);     /* 8, 64K, 1M, 2G: powers of 1024 */
bool comm_parse_ranks(const char *text, int **ranks, int *n); /* 4   1..64   2,4,100..103; malloc'ed */
enum yj_status comm_read_text(const char *path, char **text); /* malloc'ed; refuses a file with zero bytes */
void comm_print_time(double seconds, char text[static 24]);   /* "12.3 us" */

/* Writes {"yunjin":VERSION,"command":COMMAND,"summary":SUMMARY,"cases":CASES} and a newline; frees both. */
int comm_write_json(const char *command, json_t *summary, json_t *cases);

#endif

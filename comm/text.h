/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules as text: what all ranks do, round by round. Printing and parsing are inverse.
 *     schedule all_reduce ring ranks 2 root 0 blocks 2 tmp 0
 *     round 0
 *       rank 0
 *         send in[1] to 1
 *         reduce out[0] = in[0] + from 1
 *       ...
 * A range is space[first], space[first:count] or space[first:count:stride]; other steps are `recv out[0] from 1` and
 * `copy out[0] = in[0]`. `#` begins a comment. A message without blocks is `send nothing to 1`, `recv nothing from 1`.
 */
#ifndef COMM_TEXT_H
#define COMM_TEXT_H

#include "comm/schedule.h"
#include "runtime/base/base.h"

struct schedule_text {
    struct algorithm row; /* its collective, name, flags (of the row of that name, if there is one); emits nothing */
    char name[48];
    struct schedule *rank; /* .size of them, all rounds */
    int size;
};

/* RANKS: .size schedules that schedule_build has filled. */
void schedule_print(const struct schedule *ranks, struct text *text);
/* Builds all ranks of a row and prints them. */
enum yj_status schedule_print_row(const struct algorithm *row, int size, int node, int root, struct text *text);
/* NAME is for messages ("FILE:12: ..."). At most 4096 ranks and 16 Mi steps. *SCHEDULE must
 * stay where it is: its ranks point into it. */
enum yj_status schedule_parse(const char *name, const char *source, struct schedule_text *schedule);
void schedule_text_close(struct schedule_text *schedule);

#endif

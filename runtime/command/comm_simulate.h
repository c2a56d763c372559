/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of `yunjin comm simulate` on a platform: reading it, running, drawing.
 */
#ifndef COMMAND_COMM_SIMULATE_H
#define COMMAND_COMM_SIMULATE_H

#include "runtime/command/comm.h"

#include <yunjin/comm_simulate.h>

enum { TROUBLES = 64 };
struct simulate_words {
    const char *platform, *svg; /* files, or NULL */
    int32_t routing;            /* -1: the platform's */
    struct yj_trouble trouble[TROUBLES];
    int troubles;
};

/* Takes an option that only a platform understands; *BAD: its value is not understood. */
bool comm_simulate_option(int argc, char **argv, int *i, struct simulate_words *words, bool *bad);
int comm_simulate_platform(struct yj_simulation *simulation, struct simulate_words *words, bool json);

bool comm_routing(const char *text, int32_t *routing);
/* Says on stderr what is wrong with the file. */
bool comm_read_platform(const char *path, struct yj_platform *platform);

/* Messages of a run, for the picture. */
struct recording {
    struct yj_message *message;
    int n, room;
    bool failed;
};
enum { DRAWN_RANKS = 64, DRAWN_MESSAGES = 20000 };
void comm_record(void *recording, const struct yj_message *message);
/* Who sends when, who waits for whom, and what the last arrival waited for. */
bool comm_draw(const char *path, const struct yj_simulation *simulation, const struct yj_simulated *result,
               const struct recording *recording);

#endif

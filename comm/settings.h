/* SPDX-License-Identifier: Apache-2.0
 *
 * The settings of a job: one text, YUNJIN_COMM=key=value,..., with a row a key in settings.c. A key that is not known
 * is refused, so that a typing error never runs unnoticed. The slot sizes must be equal on all ranks: rank 0's are
 * used.
 */
#ifndef COMM_SETTINGS_H
#define COMM_SETTINGS_H

#include "runtime/base/base.h"

struct settings {
    char transport[16]; /* "" (best), "shm", "tcp" */
    char address[128];  /* where rank 0 listens */
    char key[128];      /* secret of the job */
    char host[64];      /* name of this machine: ranks with different names share no memory */
    char algorithm[32]; /* row of algorithms.def to use where it applies */
    char tuning[192];   /* file of rules (tuning.h); rank 0 reads it */
    char record[128];   /* on failure the flight recorder goes to RECORD.RANK.json */
    int64_t rank, ranks;
    int64_t cell;    /* bytes of a message, at most, in the lanes for large calls */
    int64_t stream;  /* receive buffers from this size on are written past the cache */
    int64_t spin;    /* microseconds of waiting before the core is given to others */
    int64_t silence; /* milliseconds without progress after which ranks compare what they are in */
    double deadline; /* seconds for open, split and close */
};

/* The defaults, then what TEXT says (may be NULL). SOURCE names it in messages. */
void settings_default(struct settings *settings);
enum yj_status settings_parse(const char *text, const char *source, struct settings *settings);
/* "cell=65536,spin=..." of all that differs from the defaults; the key is not shown. */
void settings_print(const struct settings *settings, struct text *text);

#endif

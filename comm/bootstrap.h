/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rank is this process, of how many, and where does rank 0 listen?
 */
#ifndef COMM_BOOTSTRAP_H
#define COMM_BOOTSTRAP_H

#include "comm/settings.h"

#include <yunjin/comm.h>

struct rendezvous {
    int rank, size;
    char address[512];                          /* see socket_listen and socket_connect */
    int listener;                               /* rank 0: opened already, or -1 */
    int (*pmix_finalize)(const void *, size_t); /* NULL: PMIx was not used */
    uint8_t key[32];
    const char *launcher;
};

/* From OPTIONS, SETTINGS or the launcher's environment, in this order; without any the job has one rank. */
enum yj_status bootstrap_find(const struct yj_comm_options *options, const struct settings *settings,
                              struct rendezvous *rendezvous);

/* pmix.c: fills address, key and listener of R through the launcher's PMIx server. Collective. */
enum yj_status pmix_meet(struct rendezvous *rendezvous);

#endif

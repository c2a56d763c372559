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
    char address[160]; /* see socket_listen */
    uint8_t key[32];
    const char *launcher;
};

/* From OPTIONS, SETTINGS or the launcher's environment, in this order; without any the job has one rank. */
enum yj_status bootstrap_find(const struct yj_comm_options *options, const struct settings *settings,
                              struct rendezvous *rendezvous);

#endif

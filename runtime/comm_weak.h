/* SPDX-License-Identifier: Apache-2.0
 *
 * A model of one rank needs no comm: its symbols are weak here, so a small host may leave the library out.
 */
#ifndef RUNTIME_COMM_WEAK_H
#define RUNTIME_COMM_WEAK_H

#include <yunjin/comm.h>

#pragma weak yj_comm_size
#pragma weak yj_comm_rank
#pragma weak yj_comm_split
#pragma weak yj_comm_close
#pragma weak yj_comm_start
#pragma weak yj_comm_wait
#pragma weak yj_comm_abort
#pragma weak yj_comm_progress
#pragma weak yj_comm_alloc
#pragma weak yj_comm_free

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A tuning file overrules the choice by cost, rule by rule:
 *     # collective  bytes       ranks    algorithm
 *     all_reduce    0..64K      2..16    doubling
 *     all_reduce    1M..        *        rails
 * Bytes are those of the whole vector (all blocks); K, M, G are powers of 1024. The first rule that matches, and whose
 * row serves the call, is taken. Rank 0 reads the file; the rules go to all ranks when the job opens.
 */
#ifndef COMM_TUNING_H
#define COMM_TUNING_H

#include "comm/schedule.h"

struct tuning_rule {
    uint64_t low, high;              /* bytes, both included */
    int32_t fewest, most, row, line; /* ranks, both included; index of the algorithm */
};
enum { TUNING_RULES = 64 };
struct tuning {
    int32_t n;
    struct tuning_rule rule[TUNING_RULES];
};

/* NAME is for messages ("FILE:3: ..."). Names that are not known, and rules of no collective that has the row, are
 * refused. */
enum yj_status tuning_parse(const char *name, const char *source, struct tuning *tuning);
enum yj_status tuning_read(const char *path, struct tuning *tuning);
bool tuning_matches(const struct tuning_rule *rule, int collective, uint64_t bytes, int ranks);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Costs from the target's facts; collectives by the walker of the comm room.
 */
#include "compiler/cost.h"
#include "runtime/base/base.h"
#include <yunjin/comm_schedule.h>

static _Thread_local double flops_per_second = 50e9, bytes_per_second = 10e9;

void cost_target(const struct yj_target *target) {
    flops_per_second = target && target->gflops_core > 0 ? target->gflops_core * 1e9 : 50e9;
    bytes_per_second = target && target->gbytes_s > 0 ? target->gbytes_s * 1e9 : 10e9;
}

double cost_flops_seconds(double flops) {
    return flops / flops_per_second;
}
double cost_memory_seconds(double bytes) {
    return bytes / bytes_per_second;
}

static double walk(enum cost_collective kind, int ranks, double bytes) {
    static const char *const names[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"};
    struct yj_schedule_option options[32];
    struct yj_schedule_query query = {
        .size = sizeof query, .ranks = ranks, .collective = names[kind], .bytes = bytes < 1 ? 1 : (uint64_t)bytes};
    int n = 0, best = -1;
    if (yj_schedule_explain(&query, options, 32, &n, &best) != YJ_OK || best < 0 ||
        best >= n) /* no such row: a plain guess */
        return 1e-6 * ranks + 2 * bytes / bytes_per_second;
    return options[best].time_s;
}

/* The walk takes up to a millisecond, and a search asks for few different sizes very often. */
double cost_collective_seconds(enum cost_collective kind, int ranks, double bytes) {
    static _Thread_local struct {
        enum cost_collective kind;
        int ranks;
        double bytes, seconds;
    } known[256];
    uint64_t key[3] = {(uint64_t)kind, (uint64_t)ranks, (uint64_t)bytes};
    uint64_t at = hash_bytes(key, sizeof key, 3) % COUNT(known);
    if (known[at].ranks != ranks || known[at].kind != kind || known[at].bytes != bytes) {
        known[at].seconds = walk(kind, ranks, bytes);
        known[at].kind = kind;
        known[at].ranks = ranks;
        known[at].bytes = bytes;
    }
    return known[at].seconds;
}

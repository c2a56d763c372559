/* SPDX-License-Identifier: Apache-2.0
 *
 * Costs from the target's facts; collectives by the walker of the comm room.
 */
#include "compiler/cost.h"

static _Thread_local double flops_per_second = 50e9, bytes_per_second = 10e9;

void cost_target(const struct yj_target *target) {
    flops_per_second = target && target->gflops_core > 0 ? target->gflops_core * 1e9 : 50e9;
    bytes_per_second = target && target->gbytes_s > 0 ? target->gbytes_s * 1e9 : 10e9;
}

double cost_flops_seconds(double flops) { return flops / flops_per_second; }
double cost_memory_seconds(double bytes) { return bytes / bytes_per_second; }

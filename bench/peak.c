/* SPDX-License-Identifier: Apache-2.0
 *
 * peak.h as a library, for the benchmarks in Python.
 */
#include "peak.h"

__attribute__((visibility("default"))) double bench_peak(double ms);

double bench_peak(double ms) {
    return peak_measure(512, ms);
}

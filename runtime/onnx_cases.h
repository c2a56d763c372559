/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX's own node cases whose data are not what their operator says, and how many times the usual error they are
 * therefore allowed. The windows were made with 3.1415 for pi (they agree with that to 1e-7). Near the end of a window
 * of 10 this is 7e-5 of its largest value 1, where 1e-5 and a little are allowed: 2.5 times as much was measured.
 */
#ifndef RUNTIME_ONNX_CASES_H
#define RUNTIME_ONNX_CASES_H

#include <stddef.h>
#include <string.h>

static inline double onnx_case_allows(const char *folder) {
    static const struct {
        const char *name;
        double times;
    } cases[] = {
        {"test_blackmanwindow", 2.6}, {"test_blackmanwindow_symmetric", 2.6},
        {"test_hammingwindow", 2.6},  {"test_hammingwindow_symmetric", 2.6},
        {"test_hannwindow", 2.6},     {"test_hannwindow_symmetric", 2.6},
    };
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(name, cases[i].name) == 0) return cases[i].times;
    return 1;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin test`.
 */
#ifndef COMMAND_TEST_H
#define COMMAND_TEST_H

#include "runtime/command/command.h"

int command_test_onnx(int argc, char **argv, const char *help); /* argv[0] is "onnx" */

#endif

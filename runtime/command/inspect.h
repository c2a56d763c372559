/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of `yunjin inspect` for people.
 */
#ifndef COMMAND_INSPECT_H
#define COMMAND_INSPECT_H

#include "runtime/command/command.h"

/* SUMMARY and CASES as they stand in the JSON frame; keys that are not there are not spoken of. */
void inspect_text(const json_t *summary, const json_t *cases, bool all);

#endif

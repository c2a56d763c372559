/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of scalar ops, out of scalar.def.
 */
#include "ir/kernel.h"

const struct scalar_info scalar_info[SCALAR_COUNT] = {
#define SCALAR(name, arity, result, types, doc) {#name, arity, result, types, doc},
#include "ir/scalar.def"
#undef SCALAR
};

bool scalar_find(const char *name, enum scalar_op *op) {
    for (int i = 0; i < SCALAR_COUNT; i++) {
        if (strcmp(scalar_info[i].name, name) != 0) continue;
        *op = (enum scalar_op)i;
        return true;
    }
    return false;
}

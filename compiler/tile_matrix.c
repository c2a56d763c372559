/* SPDX-License-Identifier: Apache-2.0
 *
 * Contractions. Not yet: they go the way of tile_map.c, vectors along the last axis.
 */
#include "compiler/tiling.h"

bool tile_matrix(struct tiler *t, int64_t most_rows) {
    return false;
}

dim matrix_rows(struct tiler *t) {
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader (manifest.c) and the writer (model_write.c) of model.yj share.
 */
#ifndef RUNTIME_MANIFEST_HASH_H
#define RUNTIME_MANIFEST_HASH_H

#include "runtime/manifest.h"

void manifest_hash(const void *bytes, size_t n, char hex[MANIFEST_HASH_CHARS + 1]);
bool manifest_path_ok(const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights on the disk: the safetensors format, every tensor at a multiple of 64 bytes of the file, gaps filled by
 * explicit entries pad.N, so that any reader of the format reads the file and ours maps it.
 */
#ifndef RUNTIME_SAFETENSORS_H
#define RUNTIME_SAFETENSORS_H

#include "runtime/base/base.h"
#include "runtime/names.h"

#define SAFETENSORS_MAX_RANK 8

#pragma GCC visibility push(default) /* the compiler library writes weights */

struct safetensor {
    const char *name;
    enum yj_dtype dtype;
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    int64_t at, bytes; /* in the file, header included: what a plan's weight states */
};

/* --- read: the file is mapped, nothing is copied --- */
struct safetensors {
    const char *base; /* of the mapping */
    int64_t bytes;
    int n;
    struct safetensor *tensors; /* in order of offset, pads left out */
    struct arena *arena;
};
enum yj_status safetensors_open(const char *path, struct safetensors *st);
enum yj_status safetensors_parse(const void *bytes, size_t n, const char *path, struct arena *arena,
                                 struct safetensors *st);
const struct safetensor *safetensors_find(const struct safetensors *st, const char *name); /* NULL: there is none */
void safetensors_close(struct safetensors *st);

/* --- write: all names and shapes first, since they decide every offset; then the data in the same order --- */
/* Fills AT and BYTES of the N tensors; *HEADER (malloc'ed) is what the file starts with, *TOTAL its size. The same
 * tensors give the same bytes. */
enum yj_status safetensors_layout(struct safetensor *tensors, int n, char **header, size_t *header_bytes,
                                  int64_t *total);

#pragma GCC visibility pop

#endif

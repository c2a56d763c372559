/* SPDX-License-Identifier: Apache-2.0
 *
 * Linking kernels, and running them where they do not run by themselves. See link.c and emulate.c.
 */
#ifndef COMPILER_LINK_H
#define COMPILER_LINK_H

#include "runtime/base/base.h"
#include <yunjin/target.h>

struct link_object {
    const char *data;
    size_t bytes;
};

/* One shared object with all symbols of the objects; *LIBRARY is malloc'ed. An undefined symbol, or no linker, is an
 * error. */
enum yj_status link_objects(int n, const struct link_object *objects, char **library, size_t *bytes);

/* Kernels of TARGET running under its emulator (or, without one, here) in a process of their own: a kernel that crashes
 * is an error line, not a crash. */
struct emulator;
struct emulate_buffer {
    void *data;
    size_t bytes;
    bool in, out;
};

/* YJ_ERR_UNSUPPORTED, saying what is missing: the harness, the emulator, or, where the target names none, what this
 * processor lacks; also when the emulated machine has vectors of another length than VECTOR_BITS. LIBRARY is a shared
 * object from link_objects. */
enum yj_status emulate_open(const struct yj_target *target, int vector_bits, const void *library, size_t bytes,
                            struct emulator **e);
/* Tiles [begin, end) of one kernel. A write beside a buffer, and a fault signal, are YJ_ERR_INTERNAL. */
enum yj_status emulate_run(struct emulator *e, const char *kernel, int n, const struct emulate_buffer *buffers,
                           int n_scalars, const int64_t *scalars, int64_t begin, int64_t end, size_t scratch_bytes,
                           struct yj_fault *fault);
void emulate_close(struct emulator *e);

#endif

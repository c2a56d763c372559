/* SPDX-License-Identifier: Apache-2.0
 *
 * The door through which kernels become objects: the cache, and worker processes that may die. See worker.c and
 * cache.c.
 */
#ifndef COMPILER_WORKER_H
#define COMPILER_WORKER_H

#include "compiler/emit.h"

struct compiled {
    char *object; /* malloc'ed; free each with free() */
    size_t bytes;
    bool scalar; /* the vector code could not be made; a warning said why */
    bool cached; /* found in the cache */
};

struct compile_options {
    const struct yj_target *target; /* with the emitter "llvm" */
    int vector_bits;                /* as in emit_options */
    int workers;                    /* processes; 0: one for each core, at most one for each kernel */
    bool no_cache;
    const char *text; /* as in emit_options */
};

/* One object for each kernel, in OUT[n]. Call it before the process has threads. A kernel that kills its worker, or
 * that the emitter refuses, is compiled again as scalar code; only when that fails too is it an error, which names the
 * kernel. */
enum yj_status compile_kernels(const struct compile_options *options, const struct kernel *const *kernels, int n,
                               struct compiled *out);
void compiled_free(struct compiled *all, int n);

/* --- the cache (cache.c): object files by a key over all that decides their bytes --- */
struct cache_key {
    uint8_t bytes[32];
};
/* Of what LLVM version, this build of Yunjin, the target's facts, the length and the kernel's text decide. */
enum yj_status cache_key_of(const struct emit_options *options, const struct kernel *k, struct cache_key *key);
/* False: not there, no cache folder, or an entry that is not whole (which is removed). */
bool cache_get(const struct cache_key *key, char **object, size_t *bytes);
/* A cache that cannot be written is not an error. */
void cache_put(const struct cache_key *key, const char *object, size_t bytes);

#endif

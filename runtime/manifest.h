/* SPDX-License-Identifier: Apache-2.0
 *
 * model.yj: a folder that is written beside its place and renamed, so a half-written one never looks whole.
 *   manifest.json            what is there, with the hash of every file and, last, of itself
 *   NAME.plan                one a program: the plan as text         NAME.so   its kernels
 *   NAME.kernels             the kernels as text, for people and gdb (optional)
 *   weights.safetensors ...  shared by the programs that pack them the same way
 * The same input gives the same bytes: nothing of time, place or machine is written.
 */
#ifndef RUNTIME_MANIFEST_H
#define RUNTIME_MANIFEST_H

#include "runtime/base/base.h"
#include "runtime/names.h"
#include "runtime/plan.h"
#include "runtime/safetensors.h"

#pragma GCC visibility push(default) /* the compiler library writes model.yj */

#define MANIFEST_FORMAT 1
#define MANIFEST_NAME "manifest.json"
#define MANIFEST_HASH_CHARS 64 /* BLAKE2b-256 in hex */

struct manifest_file {
    const char *path;
    int64_t bytes;
    char hash[MANIFEST_HASH_CHARS + 1];
};

/* One program: what one chip runs, on so many ranks. Paths are files of the folder. */
struct manifest_program {
    const char *name;            /* "host", "kunpeng920.tp2": names its files */
    const char *target, *triple; /* of the target that it was compiled for */
    const char *minimum;         /* features without which it is refused: "avx2 fma f16c" */
    int vector_bits;             /* scalable vectors: the one length it runs on; else 0 */
    int ranks;
    const char *plan, *kernels, *text; /* TEXT may be NULL */
    int n_weights;
    const char **weights; /* in the order of the plan's file numbers */
};

struct manifest {
    int format, kernel_abi;
    const char *version; /* of Yunjin */
    const char *name;    /* of the model */
    int n_programs;
    struct manifest_program *programs;
    int n_files;
    struct manifest_file *files; /* all but the manifest, in order of path */
    const struct plan *plan; /* when writing: whose inputs, outputs, states and dims are stated, for people and tools */
};

/* --- read --- */
/* Reads FOLDER/manifest.json; versions, its own hash and all paths are checked. Arena memory. */
enum yj_status manifest_read(struct arena *arena, const char *folder, struct manifest *m);
const struct manifest_file *manifest_file(const struct manifest *m, const char *path); /* NULL: it is not listed */
/* Compares size and hash of BYTES with what the manifest says of PATH. */
enum yj_status manifest_check(const struct manifest *m, const char *folder, const char *path, const void *bytes,
                              size_t n);
/* Reads every file of FOLDER, weights too, and compares it with the manifest. */
enum yj_status manifest_verify(const char *folder);

/* --- write --- */
struct model_writer;
/* Starts a folder beside PATH. PATH may exist if it is a model.yj, or an empty folder. */
enum yj_status model_create(const char *path, struct model_writer **w);
enum yj_status model_add(struct model_writer *w, const char *name, const void *bytes, size_t n);
/* A file of weights: the tensors' AT and BYTES are filled, then each one's bytes are asked for in order, in pieces.
 * FILL writes BYTES bytes from position FROM of tensor number INDEX to OUT. */
typedef enum yj_status weight_fill_fn(void *user, int index, int64_t from, int64_t bytes, void *out);
enum yj_status model_add_weights(struct model_writer *w, const char *name, struct safetensor *tensors, int n,
                                 weight_fill_fn *fill, void *user);
/* Writes the manifest (FILES are filled in here), syncs, and puts the folder in its place. Frees W, whatever happens.
 */
enum yj_status model_finish(struct model_writer *w, const struct manifest *m);
void model_abandon(struct model_writer *w);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Every LLVM target at every vector length it lists, and kernels compiled for one of them and run, here or under its
 * emulator. Shared by the tests that compare bits between chips.
 */
#ifndef CHIPS_H
#define CHIPS_H

#include "compiler/link.h"
#include "compiler/worker.h"
#include "tests/ir/kernel_cases.h"
#include <yunjin/compiler.h>

struct chip {
    const struct yj_target *target;
    int bits;
    bool absent;
};
struct chips {
    int n;
    struct chip chip[32];
};

static inline void chips_add(void *user, const struct yj_target *t, const char *from) {
    struct chips *all = user;
    if (strcmp(t->emitter, "llvm") != 0) return;
    for (int i = 0; i < 8 && all->n < 32; i++) {
        if (i > 0 && !t->vector_lengths[i]) return;
        all->chip[all->n++] = (struct chip){t, t->vector_lengths[0] ? t->vector_lengths[i] : t->vector_bits, false};
    }
}

/* The emulators, fetched into the cache folder if need be; where they cannot be had the script says why on stderr. */
static inline void chips_emulators(void) {
    char folder[4096] = "";
    FILE *script = popen("bash " SOURCE_DIR "/tests/get_qemu.sh", "r");
    if (script && fgets(folder, sizeof folder, script)) folder[strcspn(folder, "\n")] = 0;
    if (script && pclose(script) == 0 && *folder) setenv("YUNJIN_QEMU", folder, 0);
}

/* BITS_TARGET=NAME leaves all others out. */
static inline void chips_list(struct chips *all) {
    const char *only = getenv("BITS_TARGET");
    *all = (struct chips){0};
    chips_emulators();
    if (yj_targets_each(chips_add, all) != YJ_OK) abort();
    for (int i = 0; i < all->n; i++)
        all->chip[i].absent = only && strcmp(only, all->chip[i].target->name) != 0;
}

/* Kernels compiled, linked and loaded on CHIP. A machine or emulator that is missing makes the chip absent, aloud. */
static inline enum yj_status chip_open(struct chip *chip, const struct kernel *const *kernels, int n,
                                       struct emulator **e) {
    struct compile_options options = {.target = chip->target, .vector_bits = chip->bits, .no_cache = true};
    struct compiled *objects = calloc((size_t)n, sizeof *objects);
    struct link_object *parts = calloc((size_t)n, sizeof *parts);
    char *library = NULL;
    size_t bytes;
    enum yj_status status = compile_kernels(&options, kernels, n, objects);
    for (int i = 0; i < n && status == YJ_OK; i++) {
        parts[i] = (struct link_object){objects[i].object, objects[i].bytes};
        if (objects[i].scalar)
            fprintf(stderr, "%s %d: %s became scalar code\n", chip->target->name, chip->bits, kernels[i]->name);
    }
    if (status == YJ_OK) status = link_objects(n, parts, &library, &bytes);
    if (status == YJ_OK) {
        status = emulate_open(chip->target, chip->bits, library, bytes, e);
        chip->absent = status == YJ_ERR_UNSUPPORTED;
        if (chip->absent) fprintf(stderr, "left out: %s\n", yj_error_text());
    }
    compiled_free(objects, n);
    free(objects);
    free(parts);
    free(library);
    return status;
}

/* One launch on the chip against the interpreter; false, and a line on stderr, where they differ. */
static inline bool chip_agrees(const struct chip *chip, struct emulator *e, const struct kernel_case *c,
                               struct kernel *k, int which) {
    struct launch want, have;
    char where[200] = "";
    struct emulate_buffer buffers[16];
    launch_open(&want, c, k, which, 7 + (uint64_t)which);
    launch_open(&have, c, k, which, 7 + (uint64_t)which);
    for (const struct buffer *b = k->args; b; b = b->next)
        buffers[b->index] = (struct emulate_buffer){have.buffer[b->index],
                                                    (size_t)have.n[b->index] * yj_dtype_bytes(b->dtype), true, true};
    size_t scratch = (size_t)case_number(&have, kernel_scratch_bytes(k));
    bool good = kernel_eval(k, want.buffer, want.scalar, 0, want.tiles, 1, &want.fault) == YJ_OK &&
                emulate_run(e, k->name, k->n_args, buffers, k->n_dims, have.scalar, 0, have.tiles, scratch,
                            &have.fault) == YJ_OK;
    if (!good)
        snprintf(where, sizeof where, "%s", yj_error_text());
    else if (launch_differs(&want, &have, where, sizeof where))
        good = false;
    else if (want.fault.code != have.fault.code || want.fault.value != have.fault.value)
        good = false;
    if (!good)
        fprintf(stderr, "%s %d, %s, sizes %d: %s\n", chip->target->name, chip->bits, k->name, which,
                *where ? where : "another fault");
    launch_close(&want);
    launch_close(&have);
    return good;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator as a launcher of the runtime: the plan is walked on this machine, and each launch is a request to the
 * harness with the bytes of its buffers. There is one emulator process a core; the tiles of a launch are shared among
 * them, each on a copy of what the kernel writes, and the bytes that a share has changed are its result.
 */
#include "compiler/link.h"
#include "runtime/program.h" /* pool_default_threads */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <yunjin/compiler.h>
#include <yunjin/runtime.h>

enum { MOST_BUFFERS = 255, MOST_PARTS = 8 };

struct emulators {
    int n;
    struct emulator *each[MOST_PARTS];
};

struct part {
    struct emulator *emulator;
    const struct yj_launch *launch;
    int64_t begin, end;
    struct emulate_buffer buffers[MOST_BUFFERS]; /* those that are written are ours */
    struct yj_fault fault;
    enum yj_status status;
    char error[1024];
    pthread_t thread;
    bool has_thread;
};

static void close_kernels(void *kernels) {
    struct emulators *all = kernels;
    for (int i = 0; i < all->n; i++)
        emulate_close(all->each[i]);
    free(all);
}

static enum yj_status open_kernels(const char *name, int32_t bits, const void *library, uint64_t bytes,
                                   void **kernels) {
    const struct yj_target *target;
    TRY(yj_target_find(name, &target));
    struct emulators *all = calloc(1, sizeof *all);
    if (!all) return report(YJ_ERR_MEMORY, "out of memory");
    int n = (int)min64(pool_default_threads(), MOST_PARTS);
    enum yj_status status = YJ_OK;
    while (all->n < n && status == YJ_OK) {
        status = emulate_open(target, bits ? bits : target->vector_bits, library, (size_t)bytes, &all->each[all->n]);
        if (status == YJ_OK) all->n++;
    }
    if (status == YJ_OK)
        *kernels = all;
    else
        close_kernels(all);
    return status;
}

static void *run_part(void *argument) {
    struct part *p = argument;
    const struct yj_launch *l = p->launch;
    p->status = emulate_run(p->emulator, l->kernel, l->n_buffers, p->buffers, l->n_scalars, l->scalars, p->begin,
                            p->end, (size_t)l->scratch_bytes, &p->fault);
    if (p->status != YJ_OK) snprintf(p->error, sizeof p->error, "%s", yj_error_text());
    return NULL;
}

static enum yj_status copy_buffers(struct part *p) {
    for (int i = 0; i < p->launch->n_buffers; i++) {
        const struct yj_launch_buffer *b = &p->launch->buffers[i];
        p->buffers[i] = (struct emulate_buffer){b->data, (size_t)b->bytes, b->in, b->out};
        if (!b->out) continue;
        p->buffers[i].data = malloc((size_t)b->bytes + 1);
        if (!p->buffers[i].data) return report(YJ_ERR_MEMORY, "no memory for a copy of %zu bytes", (size_t)b->bytes);
        memcpy(p->buffers[i].data, b->data, (size_t)b->bytes);
    }
    return YJ_OK;
}

/* What the others have changed goes into the first part's copy, which becomes the buffer. */
static void merge(const struct yj_launch *l, struct part *parts, int n) {
    for (int i = 0; i < l->n_buffers; i++) {
        if (!l->buffers[i].out) continue;
        const unsigned char *before = l->buffers[i].data;
        unsigned char *all = parts[0].buffers[i].data;
        for (int p = 1; p < n; p++) {
            const unsigned char *after = parts[p].buffers[i].data;
            for (uint64_t at = 0; at < l->buffers[i].bytes; at++) {
                if (after[at] != before[at]) all[at] = after[at];
            }
        }
    }
    for (int i = 0; i < l->n_buffers; i++) {
        if (l->buffers[i].out) memcpy(l->buffers[i].data, parts[0].buffers[i].data, (size_t)l->buffers[i].bytes);
    }
}

static enum yj_status run_parts(const struct yj_launch *l, struct part *parts, int n, struct yj_fault *fault) {
    for (int i = 0; i < n; i++)
        TRY(copy_buffers(&parts[i]));
    for (int i = 1; i < n; i++)
        parts[i].has_thread = pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) == 0;
    for (int i = 0; i < n; i++) {
        if (!parts[i].has_thread) run_part(&parts[i]);
    }
    for (int i = 1; i < n; i++) {
        if (parts[i].has_thread) pthread_join(parts[i].thread, NULL);
    }
    for (int i = 0; i < n; i++) {
        if (parts[i].status != YJ_OK) return report(parts[i].status, "%s", parts[i].error);
        if (parts[i].fault.code && !fault->code) *fault = parts[i].fault;
    }
    merge(l, parts, n);
    return YJ_OK;
}

static enum yj_status launch(void *kernels, const struct yj_launch *l, struct yj_fault *fault) {
    const struct emulators *all = kernels;
    int64_t tiles = l->tile_end - l->tile_begin;
    int n = (int)min64(all->n, tiles);
    if (l->n_buffers > MOST_BUFFERS)
        return report(YJ_ERR_UNSUPPORTED, "kernel %s: %d buffers; %d are possible under an emulator", l->kernel,
                      l->n_buffers, (int)MOST_BUFFERS);
    struct part *parts = calloc((size_t)n, sizeof *parts);
    if (!parts) return report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        parts[i].emulator = all->each[i];
        parts[i].launch = l;
        parts[i].begin = l->tile_begin + tiles / n * i + min64(tiles % n, i);
        parts[i].end = parts[i].begin + tiles / n + (i < tiles % n);
    }
    enum yj_status status = run_parts(l, parts, n, fault);
    for (int i = 0; i < n; i++) {
        for (int b = 0; b < l->n_buffers; b++) {
            if (parts[i].buffers[b].out) free(parts[i].buffers[b].data);
        }
    }
    free(parts);
    return status;
}

const struct yj_launcher *yj_emulator_launcher(void) {
    static const struct yj_launcher launcher = {sizeof launcher, open_kernels, launch, close_kernels};
    return &launcher;
}

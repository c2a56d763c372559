/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator as a launcher of the runtime: the plan is walked on this machine, and each launch is one request to the
 * harness with the bytes of its buffers. Slow and simple: it is how a program for another chip is checked bit by bit.
 */
#include "compiler/link.h"

#include <stdlib.h>
#include <yunjin/compiler.h>
#include <yunjin/runtime.h>

#define MOST_BUFFERS 255

static enum yj_status open_kernels(const char *name, int32_t vector_bits, const void *library, uint64_t bytes, void **kernels) {
    const struct yj_target *target;
    struct emulator *e;
    TRY(yj_target_find(name, &target));
    TRY(emulate_open(target, vector_bits ? vector_bits : target->vector_bits, library, (size_t)bytes, &e));
    *kernels = e;
    return YJ_OK;
}

static enum yj_status launch(void *kernels, const struct yj_launch *l, struct yj_fault *fault) {
    struct emulate_buffer buffers[MOST_BUFFERS];
    if (l->n_buffers > MOST_BUFFERS)
        return report(YJ_ERR_UNSUPPORTED, "kernel %s: %d buffers; %d are possible under an emulator", l->kernel, l->n_buffers, MOST_BUFFERS);
    for (int i = 0; i < l->n_buffers; i++) {
        const struct yj_launch_buffer *b = &l->buffers[i];
        buffers[i] = (struct emulate_buffer){b->data, (size_t)b->bytes, b->in, b->out};
    }
    return emulate_run(kernels, l->kernel, l->n_buffers, buffers, l->n_scalars, l->scalars, l->tile_begin, l->tile_end,
                       (size_t)l->scratch_bytes, fault);
}

static void close_kernels(void *kernels) {
    emulate_close(kernels);
}

const struct yj_launcher *yj_emulator_launcher(void) {
    static const struct yj_launcher launcher = {sizeof launcher, open_kernels, launch, close_kernels};
    return &launcher;
}

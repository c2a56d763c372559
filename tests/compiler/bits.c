/* SPDX-License-Identifier: Apache-2.0
 *
 * The same bits everywhere: every kernel of tests/ir/kernels, at several sizes, compiled for every LLVM target and every
 * vector length, run here or under the target's emulator, against kernel_eval. Prints a table kernel by chip; with
 * BITS_TABLE=FILE also writes it there (docs/bits.md is made so). A chip whose emulator is missing is said aloud and left out.
 */
#include "compiler/link.h"
#include "compiler/worker.h"
#include "tests/ir/kernel_cases.h"
#include <yunjin/compiler.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_CHIPS 32
#define MAX_KERNELS 64

enum outcome { NOT_RUN, SAME, DIFFERS, REFUSED };
struct chip { const struct yj_target *target; int bits; bool absent; enum outcome cell[MAX_KERNELS]; int launches; };

static struct chip chips[MAX_CHIPS];
static int n_chips;

static void add_chip(void *user, const struct yj_target *t, const char *from) {
    if (strcmp(t->emitter, "llvm") != 0) return;
    for (int i = 0; i < 8 && n_chips < MAX_CHIPS; i++) {
        if (i > 0 && !t->vector_lengths[i]) return;
        chips[n_chips++] = (struct chip){.target = t, .bits = t->vector_lengths[0] ? t->vector_lengths[i] : t->vector_bits};
    }
}

static enum yj_status open_kernel(const struct chip *chip, const struct kernel *k, struct emulator **e) {
    struct compile_options options = {.target = chip->target, .vector_bits = chip->bits, .workers = 1, .no_cache = true};
    struct compiled object;
    char *library;
    size_t bytes;
    TRY(compile_kernels(&options, &k, 1, &object));
    if (object.scalar) fprintf(stderr, "%s %d: %s was compiled as scalar code\n", chip->target->name, chip->bits, k->name);
    struct link_object part = {object.object, object.bytes};
    enum yj_status status = link_objects(1, &part, &library, &bytes);
    compiled_free(&object, 1);
    TRY(status);
    status = emulate_open(chip->target, chip->bits, library, bytes, e);
    free(library);
    return status;
}

/* All launches of one kernel on one chip. */
static enum outcome run_case(struct chip *chip, const struct kernel_case *c, struct kernel *k, struct emulator *e) {
    for (int which = 0; which < 4; which++) {
        struct launch want, have;
        char where[200];
        struct emulate_buffer buffers[16];
        launch_open(&want, c, k, which, 7 + (uint64_t)which);
        launch_open(&have, c, k, which, 7 + (uint64_t)which);
        for (const struct buffer *b = k->args; b; b = b->next)
            buffers[b->index] = (struct emulate_buffer){have.buffer[b->index], (size_t)have.n[b->index] * yj_dtype_bytes(b->dtype), true, true};
        int64_t scratch = case_number(&have, kernel_scratch_bytes(k));
        bool good = kernel_eval(k, want.buffer, want.scalar, 0, want.tiles, 1, &want.fault) == YJ_OK &&
                    emulate_run(e, k->name, k->n_args, buffers, k->n_dims, have.scalar, 0, have.tiles, (size_t)scratch, &have.fault) == YJ_OK;
        if (!good) fprintf(stderr, "%s %d, %s, sizes %d: %s\n", chip->target->name, chip->bits, c->name, which, yj_error_text());
        bool differs = good && launch_differs(&want, &have, where, sizeof where);
        if (differs) fprintf(stderr, "%s %d, %s, sizes %d: %s\n", chip->target->name, chip->bits, c->name, which, where);
        if (good && (want.fault.code != have.fault.code || want.fault.value != have.fault.value)) {
            fprintf(stderr, "%s %d, %s, sizes %d: another fault\n", chip->target->name, chip->bits, c->name, which);
            good = false;
        }
        launch_close(&want);
        launch_close(&have);
        chip->launches++;
        if (!good || differs) return DIFFERS;
    }
    return SAME;
}

static void run_chip(struct chip *chip, struct kernel *const *kernels) {
    for (size_t i = 0; i < COUNT(kernel_cases) && !chip->absent; i++) {
        struct emulator *e = NULL;
        enum yj_status status = open_kernel(chip, kernels[i], &e);
        if (status == YJ_OK) {
            chip->cell[i] = run_case(chip, &kernel_cases[i], kernels[i], e);
            emulate_close(e);
        } else if (status == YJ_ERR_UNSUPPORTED && strstr(yj_error_text(), "barrier")) {
            chip->cell[i] = REFUSED;
        } else if (status == YJ_ERR_UNSUPPORTED) {
            fprintf(stderr, "left out: %s\n", yj_error_text());
            chip->absent = true;
        } else {
            fprintf(stderr, "%s %d, %s: %s\n", chip->target->name, chip->bits, kernel_cases[i].name, yj_error_text());
            chip->cell[i] = DIFFERS;
        }
    }
}

static void print_table(FILE *out) {
    static const char *const words[] = {"-", "same", "DIFFERS", "GPU only"};
    fprintf(out, "| kernel |");
    for (int c = 0; c < n_chips; c++)
        if (!chips[c].absent) fprintf(out, " %s %d |", chips[c].target->name, chips[c].bits);
    fprintf(out, "\n|---|");
    for (int c = 0; c < n_chips; c++)
        if (!chips[c].absent) fprintf(out, "---|");
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        fprintf(out, "\n| %s |", kernel_cases[i].name);
        for (int c = 0; c < n_chips; c++)
            if (!chips[c].absent) fprintf(out, " %s |", words[chips[c].cell[i]]);
    }
    fprintf(out, "\n");
}

static void write_document(const char *path) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    char llvm[32];
    emit_llvm_version(llvm);
    fprintf(out, "# The same bits\n\nEvery kernel of `tests/ir/kernels`, at four sets of sizes, with random data and special numbers,\n"
                 "compiled by LLVM %s for each chip and vector length, and run: x86-64 here, the others under qemu. *same*: every\n"
                 "byte of every buffer equals what the interpreter (`ir/kernel_eval.c`) computes; a NaN equals a NaN.\n"
                 "Made by `BITS_TABLE=docs/bits.md build/tests/test-compiler-bits`.\n\n", llvm);
    print_table(out);
    fclose(out);
}

static void same_bits_on_every_chip(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[COUNT(kernel_cases)];
    int differ = 0, ran = 0;
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        char *text = case_text(kernel_cases[i].name);
        if (kernel_parse(arena, text, kernel_cases[i].name, &kernels[i]) != YJ_OK) fail_msg("%s", yj_error_text());
        free(text);
    }
    assert_int_equal(yj_targets_each(add_chip, NULL), YJ_OK);
    const char *only = getenv("BITS_TARGET");
    for (int c = 0; c < n_chips; c++) {
        if (only && strcmp(only, chips[c].target->name) != 0) chips[c].absent = true;
        run_chip(&chips[c], kernels);
        for (size_t i = 0; i < COUNT(kernel_cases); i++) differ += chips[c].cell[i] == DIFFERS;
        ran += !chips[c].absent;
    }
    print_table(stdout);
    if (getenv("BITS_TABLE")) write_document(getenv("BITS_TABLE"));
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(differ, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_on_every_chip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The same bits everywhere: every kernel of tests/ir/kernels, at several sizes, compiled for every LLVM target and
 * every vector length, run here or under the target's emulator, against kernel_eval. Prints a table kernel by chip;
 * with BITS_TABLE=FILE also writes it there (docs/bits.md is made so). A chip whose emulator is missing is said aloud
 * and left out.
 * label: release-only (the time goes into emulated machine code, which no sanitizer sees)
 */
#include "runtime/base/cpu.h"
#include "tests/compiler/chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define KERNELS ((int)COUNT(kernel_cases))

enum outcome { NOT_RUN, SAME, DIFFERS, REFUSED };
typedef enum outcome column[COUNT(kernel_cases)];

static bool has_barrier(const struct stmt *body) {
    for (const struct stmt *s = body; s; s = s->next)
        if (s->kind == STMT_BARRIER || has_barrier(s->body)) return true;
    return false;
}

static void run_chip(struct chip *chip, struct kernel *const *kernels, enum outcome *cell) {
    const struct kernel *some[KERNELS];
    struct emulator *e = NULL;
    int n = 0;
    for (int i = 0; i < KERNELS; i++) {
        cell[i] = has_barrier(kernels[i]->body) ? REFUSED : NOT_RUN;
        if (cell[i] == NOT_RUN) some[n++] = kernels[i];
    }
    if (chip_open(chip, some, n, &e) != YJ_OK && !chip->absent) fail_msg("%s", yj_error_text());
    for (int i = 0; i < KERNELS && !chip->absent; i++) {
        if (cell[i] == REFUSED) continue;
        cell[i] = SAME;
        for (int which = 0; which < 4 && cell[i] == SAME; which++)
            if (!chip_agrees(chip, e, &kernel_cases[i], kernels[i], which)) cell[i] = DIFFERS;
    }
    emulate_close(e);
}

static void print_table(FILE *out, const struct chips *chips, const column *cells) {
    static const char *const words[] = {"-", "same", "DIFFERS", "GPU only"};
    fprintf(out, "| kernel |");
    for (int c = 0; c < chips->n; c++)
        if (!chips->chip[c].absent) fprintf(out, " %s %d |", chips->chip[c].target->name, chips->chip[c].bits);
    fprintf(out, "\n|---|");
    for (int c = 0; c < chips->n; c++)
        if (!chips->chip[c].absent) fprintf(out, "---|");
    for (int i = 0; i < KERNELS; i++) {
        fprintf(out, "\n| %s |", kernel_cases[i].name);
        for (int c = 0; c < chips->n; c++)
            if (!chips->chip[c].absent) fprintf(out, " %s |", words[cells[c][i]]);
    }
    fprintf(out, "\n");
}

/* Chips that neither run on this machine nor have an emulator here are named: a table says nothing about them. */
static void print_left_out(FILE *out, const struct chips *chips) {
    int n = 0;
    for (int c = 0; c < chips->n; c++)
        if (chips->chip[c].absent)
            fprintf(out, "%s %s %d",
                    n++ ? "," : "\nLeft out on the machine that made this table:", chips->chip[c].target->name,
                    chips->chip[c].bits);
    if (n) fprintf(out, ".\n");
}

static void write_document(const char *path, const struct chips *chips, const column *cells) {
    FILE *out = fopen(path, "w");
    char llvm[32];
    assert_non_null(out);
    emit_llvm_version(llvm);
    fprintf(
        out,
        "# The same bits\n\nEvery kernel of `tests/ir/kernels`, at four sets of sizes, with random data and "
        "special numbers,\n"
        "compiled by LLVM %s for each chip and vector length, and run: x86-64 code here, the others under qemu. "
        "*same*:\n"
        "every byte of every buffer equals what the interpreter (`ir/kernel_eval.c`) computes; a NaN equals a NaN. "
        "*GPU\n"
        "only*: lanes that meet at barriers, which CPUs are not asked to run.\n"
        "Made by `BITS_TABLE=docs/bits.md build/tests/test-compiler-bits` on a machine %s AVX-512; a chip that neither "
        "runs nor has\nan emulator there is left out, and named below the table.\n\n",
        llvm, cpu_has("avx512f") ? "with" : "without");
    print_table(out, chips, cells);
    print_left_out(out, chips);
    fclose(out);
}

static void same_bits_on_every_chip(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[COUNT(kernel_cases)];
    struct chips chips;
    column cells[32];
    int differ = 0, ran = 0;
    for (int i = 0; i < KERNELS; i++) {
        char *text = case_text(kernel_cases[i].name);
        if (kernel_parse(arena, text, kernel_cases[i].name, &kernels[i]) != YJ_OK) fail_msg("%s", yj_error_text());
        free(text);
    }
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        if (chips.chip[c].absent) continue;
        run_chip(&chips.chip[c], kernels, cells[c]);
        if (chips.chip[c].absent) continue;
        ran++;
        for (int i = 0; i < KERNELS; i++)
            differ += cells[c][i] == DIFFERS;
    }
    print_table(stdout, &chips, (const column *)cells);
    if (getenv("BITS_TABLE")) write_document(getenv("BITS_TABLE"), &chips, (const column *)cells);
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(differ, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_on_every_chip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

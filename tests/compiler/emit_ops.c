/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of scalar ops and all pairs of conversions, as vector code and as scalar code, on every chip: the bits of
 * kernel_eval, on random numbers, special ones and bit patterns of every size.
 * label: release-only (the time goes into emulated machine code, which no sanitizer sees)
 */
#include "compiler/check.h"
#include "tests/compiler/chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define N 205 /* elements: whole vectors and a rest */

static void fill(struct launch *l, uint64_t seed) {
    for (const struct buffer *b = l->k->args; b; b = b->next) {
        if (b->role == ROLE_OUT) continue;
        size_t each = yj_dtype_bytes(b->dtype);
        for (int64_t i = 0; i < l->n[b->index]; i++) {
            uint64_t bits = check_wild(b->dtype, b->index ? (i * 7 + b->index * 13) % N : i, &seed);
            memcpy((char *)l->buffer[b->index] + (size_t)i * each, &bits, each);
        }
    }
}

static bool agrees(const struct chip *chip, struct emulator *e, struct kernel *k) {
    static const struct kernel_case sizes = {"ops", -1, {{N}}};
    struct launch want, have;
    struct emulate_buffer buffers[16];
    char where[200] = "";
    launch_open(&want, &sizes, k, 0, 1);
    launch_open(&have, &sizes, k, 0, 1);
    fill(&want, 99);
    fill(&have, 99);
    for (const struct buffer *b = k->args; b; b = b->next)
        buffers[b->index] = (struct emulate_buffer){have.buffer[b->index],
                                                    (size_t)have.n[b->index] * yj_dtype_bytes(b->dtype), true, true};
    bool good = kernel_eval(k, want.buffer, want.scalar, 0, want.tiles, 1, &want.fault) == YJ_OK &&
                emulate_run(e, k->name, k->n_args, buffers, 1, have.scalar, 0, have.tiles, 0, &have.fault) == YJ_OK;
    if (!good)
        snprintf(where, sizeof where, "%s", yj_error_text());
    else
        good = !launch_differs(&want, &have, where, sizeof where);
    if (!good) fprintf(stderr, "%s %d, %s: %s\n", chip->target->name, chip->bits, k->name, where);
    launch_close(&want);
    launch_close(&have);
    return good;
}

/* Each instruction set and vector length once: the other targets differ in scheduling. */
static bool wanted(const struct chip *chip) {
    static const char *const some[] = {"x86-64-v3",   "x86-64-v4",       "kunpeng920",     "aarch64-sve",
                                       "riscv64-rvv", "loongson-2k3000", "loongson-3a6000"};
    for (size_t i = 0; i < COUNT(some); i++)
        if (strcmp(chip->target->name, some[i]) == 0) return strcmp(some[i], "aarch64-sve") != 0 || chip->bits == 256;
    return false;
}

static void ops_and_casts(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[2 * (COUNT(check_op_dtypes) + COUNT(check_cast_dtypes))];
    struct chips chips;
    int n = 0, bad = 0, ran = 0;
    for (size_t i = 0; i < COUNT(check_op_dtypes); i++)
        kernels[n++] = check_ops(arena, check_op_dtypes[i], AXIS_VECTOR);
    for (size_t i = 0; i < COUNT(check_cast_dtypes); i++)
        kernels[n++] = check_casts(arena, check_cast_dtypes[i], AXIS_VECTOR);
    for (size_t i = 0; i < COUNT(check_op_dtypes); i += 3)
        kernels[n++] = check_ops(arena, check_op_dtypes[i], AXIS_SERIAL);
    for (size_t i = 0; i < COUNT(check_cast_dtypes); i += 4)
        kernels[n++] = check_casts(arena, check_cast_dtypes[i], AXIS_SERIAL);
    for (int i = 0; i < n; i++)
        if (kernel_verify(kernels[i]) != YJ_OK) fail_msg("%s", yj_error_text());
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct emulator *e = NULL;
        struct chip *chip = &chips.chip[c];
        if (chip->absent || !wanted(chip)) continue;
        if (chip_open(chip, (const struct kernel *const *)kernels, n, &e) != YJ_OK && !chip->absent)
            fail_msg("%s", yj_error_text());
        for (int i = 0; i < n && !chip->absent; i++)
            bad += !agrees(chip, e, kernels[i]);
        ran += !chip->absent;
        emulate_close(e);
    }
    printf("%d kernels on %d chips\n", n, ran);
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ops_and_casts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

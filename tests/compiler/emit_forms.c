/* SPDX-License-Identifier: Apache-2.0
 *
 * The forms of statements that vectors make difficult: strides, gathers, steps, edges of every shape, masks from data,
 * private registers, checks, reductions, tiles of odd sizes and all operand types. On every chip, as vector code and as
 * the scalar fall-back, against kernel_eval.
 * label: release-only (the time goes into emulated machine code, which no sanitizer sees)
 */
#include "tests/compiler/chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CHECK_LOOP(axis, body) "tile t = 0 .. (N + 31) / 32 { vector " axis " { " body " } }\n"
#define DIMS(...)                                                                                                      \
    { __VA_ARGS__ }
static const struct {
    struct kernel_case c;
    const char *text;
} forms[] = {
#define FORM(name, index_dim, dims, text) {{#name, index_dim, dims}, text},
#include "compiler/check_forms.def"
#undef FORM
};

static struct kernel *parse(struct arena *arena, int i) {
    struct kernel *k;
    if (kernel_parse(arena, forms[i].text, forms[i].c.name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
    return k;
}

static void forms_on_every_chip(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[COUNT(forms)];
    struct chips chips;
    int bad = 0, ran = 0, n = (int)COUNT(forms);
    for (int i = 0; i < n; i++)
        kernels[i] = parse(arena, i);
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct emulator *e = NULL;
        struct chip *chip = &chips.chip[c];
        if (chip->absent) continue;
        if (chip_open(chip, (const struct kernel *const *)kernels, n, &e) != YJ_OK && !chip->absent)
            fail_msg("%s", yj_error_text());
        for (int i = 0; i < n && !chip->absent; i++)
            for (int which = 0; which < 4; which++)
                bad += !chip_agrees(chip, e, &forms[i].c, kernels[i], which);
        ran += !chip->absent;
        emulate_close(e);
    }
    printf("%d kernels on %d chips\n", n, ran);
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(bad, 0);
}

/* What remains when no vector code can be made. */
static void scalar_code(void **state) {
    struct arena *arena = arena_open();
    struct chips chips;
    int bad = 0;
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct chip *chip = &chips.chip[c];
        struct emit_options options = {.target = chip->target, .vector_bits = chip->bits, .scalar = true};
        if (strcmp(chip->target->name, "x86-64-v3") != 0 || chip->absent) continue;
        for (int i = 0; i < (int)COUNT(forms); i++) {
            struct kernel *k = parse(arena, i);
            struct link_object object;
            struct emulator *e;
            char *data, *library;
            size_t bytes;
            if (emit_llvm(&options, (const struct kernel *const *)&k, 1, EMIT_OBJECT, &data, &object.bytes) != YJ_OK)
                fail_msg("%s", yj_error_text());
            object.data = data;
            if (link_objects(1, &object, &library, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
            free(data);
            enum yj_status status = emulate_open(chip->target, chip->bits, library, bytes, &e);
            free(library);
            if (status != YJ_OK) {
                fprintf(stderr, "left out: %s\n", yj_error_text());
                break;
            }
            for (int which = 0; which < 4; which++)
                bad += !chip_agrees(chip, e, &forms[i].c, k, which);
            emulate_close(e);
        }
    }
    arena_close(arena);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms_on_every_chip), cmocka_unit_test(scalar_code)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts of the reduction kernels mean the same to the interpreter, which also looks at bounds and races, and as
 * machine code: all of them on this machine, one of each kind on every other chip that can be emulated. (What they
 * compute is compared with plain C, and with one element at a time, in tests/comm/reduce.c.)
 */
#include "compiler/reduce/kernels.h"
#include "tests/compiler/chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MOST = 512 };

/* Sources begin at 0 .. K-1 of an array that holds what the last of them needs. */
static const struct kernel_case two = {"two", -1, {{300}, {1}, {0}, {77}}},
                                many = {"many", 0, {{4, 300, 304}, {1, 1, 2}, {3, 0, 3}, {5, 77, 82}}},
                                scale = {"scale", -1, {{300, 3}, {1, 1}, {0, 7}, {77, 200}}};

struct texts {
    struct arena *arena;
    const struct kernel *kernel[MOST];
    const struct kernel_case *of[MOST];
    int n;
};

static void add(struct texts *t, struct text *text, const struct kernel_case *of) {
    struct kernel *k;
    assert_false(text->failed);
    if (kernel_parse(t->arena, text->data, "reduce", &k) != YJ_OK) fail_msg("%s\n%s", yj_error_text(), text->data);
    text_free(text);
    assert_true(t->n < MOST);
    t->kernel[t->n] = k;
    t->of[t->n++] = of;
}

/* One of each kind of accumulator, order and result. */
static bool is_sample(enum yj_dtype type, enum yj_op op) {
    if (type == YJ_F16) return op == YJ_SUM || op == YJ_MIN;
    if (type == YJ_I64 || type == YJ_F32) return op == YJ_MAX;
    if (type == YJ_U8) return op == YJ_SUM || op == YJ_LXOR;
    return (type == YJ_BF16 && op == YJ_LAND) || (type == YJ_E4M3 && op == YJ_PROD) || (type == YJ_F64 && op == YJ_MIN);
}

static void collect(struct texts *t, int bits, bool all) {
    for (int type = YJ_F32; type <= YJ_BOOL; type++) {
        for (int op = YJ_SUM; op <= YJ_LXOR; op++) {
            if (!reduce_join_exists((enum yj_dtype)type, (enum yj_op)op)) continue;
            for (int form = 0; form < REDUCE_FORMS; form++) {
                struct text text = {0};
                if (!all && (form == REDUCE_TWO_ONE || !is_sample((enum yj_dtype)type, (enum yj_op)op))) continue;
                reduce_join_text(&text, "r", bits, (enum yj_dtype)type, (enum yj_op)op, (enum reduce_form)form);
                add(t, &text, form == REDUCE_MANY ? &many : &two);
            }
        }
        if (!reduce_scale_exists((enum yj_dtype)type) || (!all && type != YJ_F16 && type != YJ_F32)) continue;
        struct text text = {0};
        reduce_scale_text(&text, "r", bits, (enum yj_dtype)type);
        add(t, &text, &scale);
    }
}

static bool is_host(const struct chip *chip) {
    const struct yj_target *host;
    return yj_target_find("host", &host) == YJ_OK && strcmp(chip->target->name, host->name) == 0;
}

static void run_chip(struct chip *chip) {
    struct texts t = {.arena = arena_open()};
    struct emulator *e = NULL;
    int differ = 0;
    collect(&t, chip->bits, is_host(chip));
    if (chip_open(chip, t.kernel, t.n, &e) != YJ_OK && !chip->absent) fail_msg("%s", yj_error_text());
    for (int i = 0; i < t.n && !chip->absent; i++)
        for (int which = 0; which < 4; which++)
            differ += !chip_agrees(chip, e, t.of[i], (struct kernel *)t.kernel[i], which);
    if (!chip->absent) print_message("%s %d: %d kernels, %d differ\n", chip->target->name, chip->bits, t.n, differ);
    emulate_close(e);
    arena_close(t.arena);
    assert_int_equal(differ, 0);
}

static void texts_agree_on_every_chip(void **state) {
    struct chips chips;
    int ran = 0;
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        if (!chips.chip[c].absent) run_chip(&chips.chip[c]);
        ran += !chips.chip[c].absent;
    }
    if (ran == 0) skip();
}

/* What is legal is legal by type and operator alone, and every pair is served by a kernel that exists. */
static void pairs(void **state) {
    struct reduce_join join;
    int n = 0;
    for (int t = YJ_F32; t <= YJ_BOOL; t++)
        for (int op = YJ_SUM; op <= YJ_LXOR; op++) {
            bool bits = op == YJ_BAND || op == YJ_BOR || op == YJ_BXOR;
            bool adds = op == YJ_SUM || op == YJ_PROD || op == YJ_AVG;
            bool legal = t == YJ_BOOL ? !adds : dtype_kind((enum yj_dtype)t) != 'f' || !bits;
            assert_true(reduce_join_of((enum yj_dtype)t, (enum yj_op)op, &join) == legal);
            if (!legal) continue;
            assert_true(reduce_join_exists(join.type, join.op));
            assert_int_equal(yj_dtype_bytes(join.type) * (size_t)join.words, yj_dtype_bytes((enum yj_dtype)t));
            n++;
        }
    assert_int_equal(n, 6 * 8 + 8 * 11 + 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs), cmocka_unit_test(texts_agree_on_every_chip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Line tables: kernels for every chip have the same code and constants with them as without them; their lines move to
 * any place of a text, and one that is damaged is an error, not a crash. What a debugger makes of them: debugger.sh.
 * label: release-only (the time goes into emulated machine code, which no sanitizer sees)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "chips.h"
#include "compiler/lines.h"

#include <elf.h>

struct object {
    char *data;
    size_t bytes;
};

static struct object emit(const struct chip *chip, const struct kernel *k, const char *text) {
    struct emit_options options = {.target = chip->target, .vector_bits = chip->bits, .text = text};
    struct object o = {NULL, 0};
    enum yj_status status = emit_llvm(&options, &k, 1, EMIT_OBJECT, &o.data, &o.bytes);
    if (status != YJ_OK && status != YJ_ERR_UNSUPPORTED) fail_msg("%s", yj_error_text());
    return o;
}

static const Elf64_Shdr *section(const struct object *o, int i, const char **name) {
    const Elf64_Ehdr *head = (const void *)o->data;
    const Elf64_Shdr *all = (const void *)(o->data + head->e_shoff);
    if (i >= head->e_shnum) return NULL;
    *name = o->data + all[head->e_shstrndx].sh_offset + all[i].sh_name;
    return &all[i];
}

static const Elf64_Shdr *find(const struct object *o, const char *name) {
    const char *is;
    const Elf64_Shdr *s;
    for (int i = 0; (s = section(o, i, &is)); i++)
        if (!strcmp(is, name)) return s;
    return NULL;
}

/* What is loaded into memory, but unwinding tables. */
static void compare_code(const struct chip *chip, const struct kernel *k, const struct object *a,
                         const struct object *b) {
    const char *name;
    const Elf64_Shdr *s, *other;
    int compared = 0;
    for (int i = 0; (s = section(a, i, &name)); i++) {
        if (!(s->sh_flags & SHF_ALLOC) || !strcmp(name, ".eh_frame")) continue;
        other = find(b, name);
        if (!other || s->sh_size != other->sh_size ||
            memcmp(a->data + s->sh_offset, b->data + other->sh_offset, s->sh_size))
            fail_msg("%s for %s: %s differs with line tables", k->name, chip->target->name, name);
        compared += s->sh_size > 0;
    }
    assert_true(compared > 0);
}

static struct kernel *read_kernel(struct arena *arena, const char *name) {
    char path[4096], *text;
    size_t n;
    struct kernel *k;
    snprintf(path, sizeof path, SOURCE_DIR "/tests/ir/kernels/%s.k", name);
    if (file_read(path, &text, &n) != YJ_OK || kernel_parse(arena, text, path, &k) != YJ_OK)
        fail_msg("%s", yj_error_text());
    free(text);
    return k;
}

static void test_same_code(void **state) {
    struct chips chips = {0};
    struct arena *arena = arena_open();
    if (yj_targets_each(chips_add, &chips) != YJ_OK) fail_msg("%s", yj_error_text());
    assert_true(chips.n > 8);
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        const struct kernel *k = read_kernel(arena, kernel_cases[i].name);
        for (int c = (int)i % 3; c < chips.n; c += 3) { /* each kernel on a third of the chips */
            struct object with = emit(&chips.chip[c], k, "text"), without = emit(&chips.chip[c], k, NULL);
            assert_true(!with.data == !without.data);
            if (!with.data) continue; /* lanes that meet at a barrier */
            assert_non_null(find(&with, ".debug_line"));
            assert_null(find(&without, ".debug_line"));
            compare_code(&chips.chip[c], k, &without, &with);
            free(with.data);
            free(without.data);
        }
    }
    arena_close(arena);
}

static void test_move(void **state) {
    struct chips chips = {0};
    struct arena *arena = arena_open();
    if (yj_targets_each(chips_add, &chips) != YJ_OK) fail_msg("%s", yj_error_text());
    const struct kernel *k = read_kernel(arena, "softmax");
    struct object o = emit(&chips.chip[0], k, "text");
    char *copy = malloc(o.bytes);
    memcpy(copy, o.data, o.bytes);
    for (int64_t first = 1; first < LINES_MOST; first = first * 3 + 1) {
        memcpy(o.data, copy, o.bytes);
        assert_int_equal(lines_move(o.data, o.bytes, first), YJ_OK);
        assert_int_equal(memcmp(o.data, copy, o.bytes) == 0, first == LINES_BASE + 1);
    }
    memcpy(o.data, copy, o.bytes);
    assert_int_equal(lines_move(o.data, o.bytes, LINES_MOST), YJ_ERR_INTERNAL); /* its other lines are beyond */
    assert_int_equal(lines_move("no object", 9, 1), YJ_OK);
    const Elf64_Shdr *s = find(&o, ".debug_line");
    uint64_t seed = 11, refused = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(o.data, copy, o.bytes);
        for (int n = 0; n < 3; n++)
            o.data[s->sh_offset + case_random(&seed) % s->sh_size] = (char)case_random(&seed);
        refused += lines_move(o.data, o.bytes, 7) != YJ_OK;
    }
    assert_true(refused > 100);
    free(copy);
    free(o.data);
    arena_close(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_code), cmocka_unit_test(test_move)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A tool of the build: reduce-kernels FOLDER makes the reduction kernels of the collective library for each
 * instruction-set level of this machine's architecture: FOLDER/reduce-LEVEL.o, reduce_levels.c with the tables, and
 * reduce.link with the names of the objects for the linker. The one idea: each level is made in a process of its own,
 * and a level that cannot be made (LLVM may abort) is left out with a warning; plain C stands in for it, in the same
 * bits. `reduce-kernels --text LEVEL` prints the kernels.
 */
#include "compiler/emit.h"
#include "compiler/reduce/kernels.h"
#include "runtime/base/cpu.h"
#include <yunjin/compiler.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* x86-64 before AVX2. */
static const struct yj_target x86_64_v2 = {
    .size = sizeof(struct yj_target),
    .version = YJ_TARGET_VERSION,
    .name = "x86-64-v2",
    .chip = "any x86-64 with SSE 4.2",
    .emitter = "llvm",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "x86-64-v2",
    .features = "",
    .vector_bits = 128,
    .vector_registers = 16,
    .minimum = "sse4.2",
};

/* Best first; BITS where the length of registers is not fixed. */
static const struct level {
    const char *arch, *symbol, *target;
    int bits;
} levels[] = {
    {"x86_64", "x86_64_v4", "x86-64-v4", 0},
    {"x86_64", "x86_64_v3", "x86-64-v3", 0},
    {"x86_64", "x86_64_v2", "x86-64-v2", 0},
    {"aarch64", "aarch64_sve_512", "aarch64-sve", 512},
    {"aarch64", "aarch64_sve_256", "aarch64-sve", 256},
    {"aarch64", "aarch64", "phytium", 0},
    {"riscv64", "riscv64_rvv_256", "riscv64-rvv", 256},
    {"riscv64", "riscv64_rvv_128", "riscv64-rvv", 128},
    {"loongarch64", "loongarch64_lasx", "loongson-3a6000", 0},
    {"loongarch64", "loongarch64_lsx", "loongson-2k3000", 0},
};

static enum yj_status find_target(const struct level *l, struct emit_options *options) {
    *options = (struct emit_options){.vector_bits = l->bits, .own_alignment = true, .hidden = true};
    options->target = &x86_64_v2;
    if (strcmp(l->target, x86_64_v2.name) != 0) TRY(yj_target_find(l->target, &options->target));
    return YJ_OK;
}

/* --- kernels of a level --- */

enum { MOST_KERNELS = 512 };
struct set {
    const struct level *level;
    struct emit_options options;
    struct arena *arena;
    const struct kernel *kernel[MOST_KERNELS];
    int n;
};

static enum yj_status add(struct set *set, struct text *text) {
    struct kernel *k = NULL;
    enum yj_status status = text->failed ? report(YJ_ERR_MEMORY, "out of memory") : YJ_OK;
    if (status == YJ_OK) status = kernel_parse(set->arena, text->data, set->level->symbol, &k);
    text_free(text);
    TRY(status);
    if (set->n == MOST_KERNELS) return report(YJ_ERR_INTERNAL, "more than %d reduction kernels", MOST_KERNELS);
    set->kernel[set->n++] = k;
    return YJ_OK;
}

static enum yj_status add_kernels(void *argument) {
    struct set *set = argument;
    int bits;
    TRY(emit_vector_bits(&set->options, &bits));
    for (int t = YJ_F32; t <= YJ_BOOL; t++) {
        for (int op = YJ_SUM; op <= YJ_LXOR; op++)
            for (int form = 0; form < REDUCE_FORMS && reduce_join_exists((enum yj_dtype)t, (enum yj_op)op); form++) {
                struct text text = {0};
                reduce_join_text(&text, set->level->symbol, bits, (enum yj_dtype)t, (enum yj_op)op,
                                 (enum reduce_form)form);
                TRY(add(set, &text));
            }
        if (!reduce_scale_exists((enum yj_dtype)t)) continue;
        struct text text = {0};
        reduce_scale_text(&text, set->level->symbol, bits, (enum yj_dtype)t);
        TRY(add(set, &text));
    }
    return YJ_OK;
}

static enum yj_status open_set(const struct level *level, struct set *set) {
    *set = (struct set){.level = level, .arena = arena_open()};
    if (!set->arena) return report(YJ_ERR_MEMORY, "out of memory");
    TRY(find_target(level, &set->options));
    return arena_guard(add_kernels, set);
}

static enum yj_status make_object(const struct level *level, const char *path) {
    struct set set;
    char *data;
    size_t bytes;
    enum yj_status status = open_set(level, &set);
    if (status == YJ_OK) status = emit_llvm(&set.options, set.kernel, set.n, EMIT_OBJECT, &data, &bytes);
    arena_close(set.arena);
    TRY(status);
    status = file_write_atomic(path, data, bytes);
    free(data);
    return status;
}

/* --- the tables --- */

static void add_stubs(struct text *c, const char *level) {
    for (int t = YJ_F32; t <= YJ_BOOL; t++) {
        const char *name = yj_dtype_name((enum yj_dtype)t);
        for (int op = YJ_SUM; op <= YJ_LXOR; op++)
            if (reduce_join_exists((enum yj_dtype)t, (enum yj_op)op))
                text_add(c, "COMPILED(%s, %s, %s, %d, %d, %zu)\n", level, name, reduce_op_text((enum yj_op)op), t, op,
                         yj_dtype_bytes((enum yj_dtype)t));
        if (reduce_scale_exists((enum yj_dtype)t))
            text_add(c, "COMPILED_SCALE(%s, %s)\n", level, name);
        else if (t != YJ_BOOL)
            text_add(c, "PLAIN_SCALE(%s, %s, %d)\n", level, name, t);
    }
}

static void add_table(struct text *c, const struct level *l) {
    struct reduce_join join;
    text_add(c, "static const struct reduce_table %s_table = {\n", l->symbol);
    text_add(c, "sizeof(struct reduce_table), REDUCE_VERSION, \"yunjin %s\",\n{\n", l->symbol);
    for (int t = YJ_F32; t <= YJ_BOOL; t++)
        for (int op = YJ_SUM; op <= YJ_LXOR; op++)
            if (reduce_join_of((enum yj_dtype)t, (enum yj_op)op, &join))
                text_add(c, "[%d][%d] = %s_%s_%s_%d,\n", t, op, l->symbol, yj_dtype_name(join.type),
                         reduce_op_text(join.op), join.words);
    text_add(c, "},\n{\n");
    for (int t = YJ_F32; t < YJ_BOOL; t++)
        text_add(c, "[%d] = %s_%s_scale_all,\n", t, l->symbol, yj_dtype_name((enum yj_dtype)t));
    text_add(c, "}};\n");
}

static enum yj_status write_tables(const char *folder, int n, const struct level *const *made) {
    struct text c = {0}, link = {0};
    struct emit_options options;
    char path[4096];
    text_add(&c, "/* Made by reduce-kernels. */\n#include \"comm/reduce_compiled.h\"\n");
    for (int i = 0; i < n; i++) {
        add_stubs(&c, made[i]->symbol);
        add_table(&c, made[i]);
        text_add(&link, "\"%s/reduce-%s.o\"\n", folder, made[i]->symbol);
    }
    text_add(&c, "const struct reduce_level reduce_levels[] = {\n");
    for (int i = 0; i < n; i++) {
        TRY(find_target(made[i], &options));
        text_add(&c, "{\"%s\", %d, &%s_table},\n", options.target->minimum, made[i]->bits, made[i]->symbol);
    }
    text_add(&c, "{NULL, 0, NULL}};\n");
    if (c.failed || link.failed) return report(YJ_ERR_MEMORY, "out of memory");
    snprintf(path, sizeof path, "%s/reduce_levels.c", folder);
    TRY(file_write_atomic(path, c.data, c.n));
    snprintf(path, sizeof path, "%s/reduce.link", folder);
    return file_write_atomic(path, n ? link.data : "", link.n);
}

/* --- the command --- */

static void complain(const struct level *l, const char *why) {
    fprintf(stderr, "reduce-kernels: warning: no kernels for %s, plain C is used there: %s\n", l->target, why);
}

static pid_t start(const struct level *l, const char *folder) {
    char path[4096];
    pid_t child = fork();
    if (child) return child;
    snprintf(path, sizeof path, "%s/reduce-%s.o", folder, l->symbol);
    if (make_object(l, path) == YJ_OK) _exit(0);
    complain(l, yj_error_text());
    _exit(1);
}

static enum yj_status make_all(const char *folder) {
    const struct level *made[COUNT(levels)];
    pid_t child[COUNT(levels)];
    int n = 0;
    for (size_t i = 0; i < COUNT(levels); i++)
        child[i] = strcmp(levels[i].arch, cpu_arch()) == 0 ? start(&levels[i], folder) : 0;
    for (size_t i = 0; i < COUNT(levels); i++) {
        int status = 0;
        if (child[i] == 0) continue;
        if (child[i] < 0 || waitpid(child[i], &status, 0) < 0)
            complain(&levels[i], "no process for it");
        else if (WIFSIGNALED(status))
            complain(&levels[i], "LLVM gave up");
        else if (WEXITSTATUS(status) == 0)
            made[n++] = &levels[i];
    }
    return write_tables(folder, n, made);
}

static enum yj_status print_level(const char *name) {
    struct text text = {0};
    struct set set = {0};
    for (size_t i = 0; i < COUNT(levels); i++) {
        if (strcmp(levels[i].symbol, name) != 0) continue;
        TRY(open_set(&levels[i], &set));
        for (int k = 0; k < set.n; k++)
            kernel_print(&text, set.kernel[k]);
        arena_close(set.arena);
        fputs(text.data ? text.data : "", stdout);
        text_free(&text);
        return YJ_OK;
    }
    return report(YJ_ERR_INPUT, "no level %s", name);
}

int main(int argc, char **argv) {
    enum yj_status status;
    if (argc == 3 && strcmp(argv[1], "--text") == 0) {
        status = print_level(argv[2]);
    } else if (argc == 2 && argv[1][0] != '-') {
        status = make_all(argv[1]);
    } else {
        fprintf(stderr, "usage: reduce-kernels FOLDER | --text LEVEL\n");
        return 2;
    }
    if (status != YJ_OK) fprintf(stderr, "reduce-kernels: %s\n", yj_error_text());
    return status == YJ_OK ? 0 : 1;
}

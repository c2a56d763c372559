/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin targets [NAME] [--json]`: the chips that models can be compiled for, and how far each claim goes. The facts
 * come from the compiler library, so that what is listed is what the compiler uses.
 */
#include "runtime/command/compiler_library.h"

#include <yunjin/compiler.h>

#include <jansson.h>
#include <stdio.h>

enum { DONE, INPUT, COMMAND_LINE, MACHINE };

struct library {
    enum yj_status (*each)(yj_target_fn *fn, void *user);
    enum yj_status (*find)(const char *name, const struct yj_target **target);
    const char *(*support)(enum yj_support support);
};

struct listing {
    const struct library *library;
    const struct yj_target *host;
    json_t *cases;
    bool json;
};

static int failed(enum yj_status status) {
    fprintf(stderr, "yunjin targets: %s\n", yj_error_text());
    return status == YJ_ERR_INPUT ? INPUT : MACHINE;
}

/* "128, 256" or "256" */
static void vector_text(const struct yj_target *t, char *text, size_t room) {
    size_t n = (size_t)snprintf(text, room, "%d", t->vector_lengths[0] ? t->vector_lengths[0] : t->vector_bits);
    for (size_t i = 1; i < COUNT(t->vector_lengths) && t->vector_lengths[i] && n < room; i++)
        n += (size_t)snprintf(text + n, room - n, ",%d", t->vector_lengths[i]);
}

static json_t *target_json(const struct library *library, const struct yj_target *t, const char *from, bool host) {
    json_t *lengths = json_array(), *tiles = json_array();
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        json_array_append_new(lengths, json_integer(t->vector_lengths[i]));
    for (size_t i = 0; i < COUNT(t->tiles) && t->tiles[i].rows; i++)
        json_array_append_new(tiles, json_pack("{s:s,s:i,s:i,s:i}", "dtype", yj_dtype_name(t->tiles[i].dtype), "rows",
                                               t->tiles[i].rows, "columns", t->tiles[i].columns, "k_group",
                                               t->tiles[i].k_group));
    return json_pack(
        "{s:s,s:s,s:s,s:b,s:s?,s:s,s:s,s:s,s:s,s:s?,s:i,s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:b,s:o,s:s?,s:s?}", "name",
        t->name, "chip", t->chip, "support", library->support(t->support), "host", host, "from", from, "emitter",
        t->emitter, "triple", t->triple, "cpu", t->cpu, "features", t->features, "abi", t->abi, "vector_bits",
        t->vector_bits, "vector_lengths", lengths, "vector_registers", t->vector_registers, "line_bytes", t->line_bytes,
        "l1_bytes", t->l1_bytes, "l2_bytes", t->l2_bytes, "l3_bytes", t->l3_bytes, "cores", t->cores, "gflops_core",
        t->gflops_core, "gbytes_s", t->gbytes_s, "has_f16", t->has_f16, "tiles", tiles, "emulator", t->emulator,
        "minimum", t->minimum);
}

/* The host is its row with the cores of this machine. */
static bool is_host(const struct listing *l, const struct yj_target *t) {
    return l->host && strcmp(t->name, l->host->name) == 0;
}

static void list_one(void *user, const struct yj_target *t, const char *from) {
    struct listing *l = user;
    if (l->json) {
        json_array_append_new(l->cases, target_json(l->library, t, from, is_host(l, t)));
        return;
    }
    char bits[64];
    vector_text(t, bits, sizeof bits);
    bool source = strcmp(t->emitter, "llvm") != 0;
    printf("%-18s %-15s %-12s %s%s%s%s%s\n", t->name, l->library->support(t->support), t->vector_bits ? bits : "-",
           t->chip, is_host(l, t) ? "  <- this machine" : "",
           source ? "; source text for tests, --target does not take it" : "", from ? "  from " : "", from ? from : "");
}

static void print_json(json_t *cases) {
    json_t *frame = json_pack("{s:s,s:s,s:{s:I},s:o}", "yunjin", YJ_VERSION, "command", "targets", "summary", "total",
                              (json_int_t)json_array_size(cases), "cases", cases);
    json_dumpf(frame, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(frame);
}

static void print_one(const struct library *library, const struct yj_target *t) {
    char bits[64];
    vector_text(t, bits, sizeof bits);
    printf("%s: %s\n  support      %s\n  emitter      %s\n", t->name, t->chip, library->support(t->support),
           t->emitter);
    printf("  triple       %s\n  cpu          %s\n  features     %s\n  abi          %s\n", *t->triple ? t->triple : "-",
           *t->cpu ? t->cpu : "-", *t->features ? t->features : "-", t->abi ? t->abi : "-");
    printf("  vectors      %d registers of %s bits%s\n", t->vector_registers, bits,
           t->vector_lengths[0] ? ", one object for each length" : "");
    printf("  caches       line %d, %d KiB, %d KiB, %d KiB\n", t->line_bytes, t->l1_bytes >> 10, t->l2_bytes >> 10,
           t->l3_bytes >> 10);
    printf("  cores        %d, %.0f GFLOP/s each, %.0f GB/s memory (for cost only)\n", t->cores, t->gflops_core,
           t->gbytes_s);
    printf("  f16          %s\n", t->has_f16 ? "converted by hardware" : "converted by integer code");
    for (size_t i = 0; i < COUNT(t->tiles) && t->tiles[i].rows; i++)
        printf("  tile %-5s   %d x %d, k by %d\n", yj_dtype_name(t->tiles[i].dtype), t->tiles[i].rows,
               t->tiles[i].columns, t->tiles[i].k_group);
    printf("  minimum      %s\n  emulator     %s\n", t->minimum && *t->minimum ? t->minimum : "-",
           t->emulator ? t->emulator : "none: runs on its own machine");
}

static void usage(FILE *out) {
    fprintf(out, "usage: yunjin targets [NAME] [--json]\n"
                 "Lists the chips that models can be compiled for; with NAME (or host) the facts of one.\n"
                 "support: ran on silicon, emulated (the bits were compared under an emulator), assembled (accepted, "
                 "never run).\n"
                 "A target whose emitter is not llvm is source text of kernels: it serves tests, no command compiles "
                 "for it.\n"
                 "YUNJIN_TARGET_PATH: folders with targets of others, as shared objects.\n");
}

static enum yj_status open_library(struct library *l) {
    TRY(compiler_function("yj_targets_each", &l->each));
    TRY(compiler_function("yj_target_find", &l->find));
    return compiler_function("yj_support_name", &l->support);
}

static enum yj_status show(const struct library *library, const char *name, bool json) {
    struct listing l = {library, NULL, json ? json_array() : NULL, json};
    const struct yj_target *one;
    if (library->find("host", &l.host) != YJ_OK) l.host = NULL; /* none fits: the list marks none */
    enum yj_status status = name ? library->find(name, &one) : library->each(list_one, &l);
    if (status == YJ_OK && name && json)
        list_one(&l, one, NULL);
    else if (status == YJ_OK && name)
        print_one(library, one);
    if (status == YJ_OK && json)
        print_json(l.cases);
    else
        json_decref(l.cases);
    return status;
}

int command_targets(int argc, char **argv) {
    struct library library;
    const char *name = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            return DONE;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (argv[i][0] == '-' || name) {
            fprintf(stderr, "yunjin targets: unexpected %s\n", argv[i]);
            usage(stderr);
            return COMMAND_LINE;
        } else {
            name = argv[i];
        }
    }
    enum yj_status status = open_library(&library);
    if (status == YJ_OK) status = show(&library, name, json);
    return status == YJ_OK ? DONE : failed(status);
}

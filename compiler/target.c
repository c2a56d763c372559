/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of targets: one for each folder of targets/, and those that shared objects bring. `host` is the built-in
 * target with the widest vectors among those whose minimum this machine has, with the number of cores that this process
 * may use when it first asks. Nothing is registered: the list is made anew whenever it is asked for.
 */
#include "runtime/base/cpu.h"
#include <yunjin/compiler.h>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#define TARGET(folder) extern const struct yj_target target_##folder;
#include "targets.def"
#undef TARGET

static const struct yj_target *const built_in[] = {
#define TARGET(folder) &target_##folder,
#include "targets.def"
#undef TARGET
};

const char *yj_support_name(enum yj_support support) {
    switch (support) {
    case YJ_ASSEMBLED:
        return "assembled";
    case YJ_EMULATED:
        return "emulated";
    case YJ_RAN:
        return "ran on silicon";
    }
    return "unknown";
}

/* --- facts --- */

static bool is_one_of(const char *word, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

static bool is_width(int bits) {
    return bits >= 64 && bits <= 65536 && (bits & (bits - 1)) == 0;
}

static enum yj_status check_vectors(const struct yj_target *t) {
    bool none = t->vector_bits == 0 && strcmp(t->emitter, "llvm") != 0; /* source text leaves vectors to others */
    if (!none && !is_width(t->vector_bits))
        return report(YJ_ERR_INPUT, "vector_bits is %d; allowed: a power of two from 64 to 65536", t->vector_bits);
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        if (!is_width(t->vector_lengths[i]))
            return report(YJ_ERR_INPUT, "vector_lengths[%zu] is %d; allowed: powers of two from 64 to 65536, then 0", i,
                          t->vector_lengths[i]);
    return YJ_OK;
}

/* Accumulators are of 64 bits for f64, else of 32: a row of them fills whole registers. */
static enum yj_status check_tile(const struct yj_tile_shape *tile, int i, int bits) {
    enum yj_dtype dtype = tile->dtype;
    if (dtype != YJ_F32 && dtype != YJ_F64 && dtype != YJ_F16 && dtype != YJ_BF16 && dtype != YJ_I8)
        return report(YJ_ERR_INPUT, "tiles[%d].dtype is %d; allowed: YJ_F32, YJ_F64, YJ_F16, YJ_BF16, YJ_I8", i, dtype);
    int group = dtype == YJ_I8 ? 4 : yj_dtype_bytes(dtype) == 2 ? 2 : 1;
    int lanes = (int)max64(bits / (dtype == YJ_F64 ? 64 : 32), 1);
    if (tile->rows < 1 || tile->rows > 64)
        return report(YJ_ERR_INPUT, "tiles[%d] (%s): rows is %d; allowed: 1 to 64", i, yj_dtype_name(dtype),
                      tile->rows);
    if (tile->columns < 1 || tile->columns > 4096 || tile->columns % lanes)
        return report(YJ_ERR_INPUT, "tiles[%d] (%s): columns is %d; allowed: multiples of %d (a register of %d bits)",
                      i, yj_dtype_name(dtype), tile->columns, lanes, bits);
    if (tile->k_group != group)
        return report(YJ_ERR_INPUT, "tiles[%d] (%s): k_group is %d; allowed: %d", i, yj_dtype_name(dtype),
                      tile->k_group, group);
    return YJ_OK;
}

static enum yj_status check_tiles(const struct yj_target *t) {
    int bits = t->vector_bits;
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        bits = (int)max64(bits, t->vector_lengths[i]);
    for (size_t i = 0; i < COUNT(t->tiles) && t->tiles[i].rows; i++)
        TRY(check_tile(&t->tiles[i], (int)i, bits));
    return YJ_OK;
}

/* What only people can get wrong; LLVM's names are LLVM's to refuse. */
static enum yj_status check_facts(const struct yj_target *t) {
    static const char *const emitters[] = {"llvm", "c", "opencl"};
    if (!is_one_of(t->emitter, emitters, COUNT(emitters)))
        return report(YJ_ERR_INPUT, "emitter is \"%s\"; allowed: \"llvm\", \"c\", \"opencl\"", t->emitter);
    if (t->support < YJ_ASSEMBLED || t->support > YJ_RAN)
        return report(YJ_ERR_INPUT, "support is %d; allowed: YJ_ASSEMBLED, YJ_EMULATED, YJ_RAN", (int)t->support);
    TRY(check_vectors(t));
    TRY(check_tiles(t));
    return cpu_check_words(t->triple, t->minimum);
}

/* --- shared objects --- */

static enum yj_status check_target(const struct yj_target *t, const char *path) {
    if (t->size < sizeof *t || t->version != YJ_TARGET_VERSION)
        return report(YJ_ERR_INPUT, "%s: a target of version %u (%u bytes); this compiler knows version %d (%zu bytes)",
                      path, t->version, t->size, YJ_TARGET_VERSION, sizeof *t);
    if (!t->name || !*t->name || !t->chip || !t->emitter || !t->triple || !t->cpu || !t->features)
        return report(YJ_ERR_INPUT, "%s: a target needs name, chip, emitter, triple, cpu and features", path);
    if (strcmp(t->name, "host") == 0) return report(YJ_ERR_INPUT, "%s: no target may be called host", path);
    for (size_t i = 0; i < COUNT(built_in); i++)
        if (strcmp(t->name, built_in[i]->name) == 0)
            return report(YJ_ERR_INPUT, "%s: target %s is built in already", path, t->name);
    enum yj_status status = check_facts(t);
    return status == YJ_OK ? YJ_OK : report_in(status, "%s: target %s", path, t->name);
}

/* The object stays open for the life of the process, so that what it holds stays valid. */
static enum yj_status open_target(const char *path, const struct yj_target **target) {
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) return report(YJ_ERR_INPUT, "%s", dlerror());
    const struct yj_target *t = dlsym(object, "yj_target");
    enum yj_status status = t ? check_target(t, path) : report(YJ_ERR_INPUT, "%s: no symbol yj_target", path);
    if (status == YJ_OK)
        *target = t;
    else
        dlclose(object);
    return status;
}

static int is_object(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return n > 3 && strcmp(entry->d_name + n - 3, ".so") == 0;
}

static enum yj_status each_in(const char *folder, yj_target_fn *fn, void *user) {
    struct dirent **entries;
    int n = scandir(folder, &entries, is_object, alphasort);
    if (n < 0) return report(YJ_ERR_INPUT, "YUNJIN_TARGET_PATH: cannot read the folder %s", folder);
    enum yj_status status = YJ_OK;
    for (int i = 0; i < n; i++) {
        struct text path = {0};
        const struct yj_target *t = NULL;
        text_add(&path, "%s/%s", folder, entries[i]->d_name);
        if (path.failed) status = report(YJ_ERR_MEMORY, "out of memory");
        if (status == YJ_OK) status = open_target(path.data, &t);
        if (status == YJ_OK) fn(user, t, path.data);
        text_free(&path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

enum yj_status yj_targets_each(yj_target_fn *fn, void *user) {
    for (size_t i = 0; i < COUNT(built_in); i++) {
        enum yj_status status = check_facts(built_in[i]);
        if (status != YJ_OK) return report_in(status, "target %s", built_in[i]->name);
        fn(user, built_in[i], NULL);
    }
    const char *path = getenv("YUNJIN_TARGET_PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        struct text folder = {0};
        text_add(&folder, "%.*s", (int)n, path);
        enum yj_status status = folder.failed ? report(YJ_ERR_MEMORY, "out of memory")
                                : n           ? each_in(folder.data, fn, user)
                                              : YJ_OK;
        text_free(&folder);
        TRY(status);
        path += n + (path[n] == ':');
    }
    return YJ_OK;
}

/* --- by name --- */

/* Wider is better, then what needs more, then what names no processor model. */
static bool better(const struct yj_target *a, const struct yj_target *b) {
    if (!b || a->vector_bits != b->vector_bits) return !b || a->vector_bits > b->vector_bits;
    if (strlen(a->minimum) != strlen(b->minimum)) return strlen(a->minimum) > strlen(b->minimum);
    bool plain_a = strstr(a->cpu, "generic") || strstr(a->cpu, "x86-64"),
         plain_b = strstr(b->cpu, "generic") || strstr(b->cpu, "x86-64");
    return plain_a && !plain_b;
}

static bool runs_here(const struct yj_target *t) {
    if (strncmp(t->triple, cpu_arch(), strlen(cpu_arch())) != 0 || !cpu_has(t->minimum)) return false;
    if (!t->vector_lengths[0]) return true;
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        if (t->vector_lengths[i] == cpu_vector_bits()) return true;
    return false;
}

/* Made once and constant from then on: its address is kept by those who asked. No name: nothing fits. */
static struct yj_target host;

static void make_host(void) {
    const struct yj_target *best = NULL;
    for (size_t i = 0; i < COUNT(built_in); i++)
        if (strcmp(built_in[i]->emitter, "llvm") == 0 && runs_here(built_in[i]) && better(built_in[i], best))
            best = built_in[i];
    if (!best) return;
    host = *best;
    host.cores = cpu_cores();
}

static enum yj_status find_host(const struct yj_target **target) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_host);
    if (!host.name)
        return report(YJ_ERR_UNSUPPORTED,
                      "no built-in target fits this %s machine; `yunjin targets` lists what each needs", cpu_arch());
    *target = &host;
    return YJ_OK;
}

struct search {
    const char *name;
    const struct yj_target *found;
    struct text names;
};

static void compare_name(void *user, const struct yj_target *t, const char *from) {
    struct search *search = user;
    if (cpu_name_same(t->name, search->name) && !search->found) search->found = t;
    if (strcmp(t->emitter, "llvm") == 0) text_add(&search->names, ", %s", t->name); /* what can be compiled for */
}

enum yj_status yj_target_find(const char *name, const struct yj_target **target) {
    if (strcmp(name, "host") == 0) return find_host(target);
    struct search search = {name, NULL, {0}};
    text_add(&search.names, "host");
    enum yj_status status = yj_targets_each(compare_name, &search);
    if (status == YJ_OK && search.found)
        *target = search.found;
    else if (status == YJ_OK)
        status = report(YJ_ERR_INPUT, "unknown target %.64s; known: %s", name,
                        search.names.failed ? "?" : search.names.data);
    text_free(&search.names);
    return status;
}

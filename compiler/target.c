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
    return YJ_OK;
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
    for (size_t i = 0; i < COUNT(built_in); i++)
        fn(user, built_in[i], NULL);
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
    text_add(&search->names, ", %s", t->name);
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

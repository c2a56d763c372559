/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of compiled kernels: one file for each, named by a hash of everything that decides its bytes: the kernel's
 * text, all facts of the target, the vector length, the versions of LLVM and of Yunjin, and the build of this library.
 * A file holds its own key and a hash of its contents: what is stale or damaged is compiled again, never used. Writes
 * are atomic.
 */
#include "compiler/worker.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAGIC "YJOBJ001"

struct head {
    char magic[8];
    uint8_t key[32], hash[32];
    uint64_t bytes;
};

/* --- the key --- */

struct self {
    const void *code;
    uint8_t id[64];
    size_t n;
};

static bool holds(const struct dl_phdr_info *info, const void *code) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (uintptr_t)code >= begin && (uintptr_t)code < begin + p->p_memsz) return true;
    }
    return false;
}

static void read_notes(struct self *self, const char *at, size_t bytes) {
    while (bytes >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        size_t name = (note->n_namesz + 3u) & ~3u, all = sizeof *note + name + ((note->n_descsz + 3u) & ~3u);
        if (all > bytes) return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= sizeof self->id) {
            memcpy(self->id, at + sizeof *note + name, note->n_descsz);
            self->n = note->n_descsz;
        }
        at += all;
        bytes -= all;
    }
}

static int find_self(struct dl_phdr_info *info, size_t size, void *user) {
    struct self *self = user;
    if (!holds(info, self->code)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes(self, (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, info->dlpi_phdr[i].p_memsz);
    return 1;
}

/* The build id of the code that emits; without one, the size and time of its file. */
static void add_build(struct text *text) {
    struct self self = {.code = (const void *)cache_key_of};
    dl_iterate_phdr(find_self, &self);
    for (size_t i = 0; i < self.n; i++)
        text_add(text, "%02x", self.id[i]);
    Dl_info info;
    struct stat stat;
    if (self.n == 0 && dladdr(self.code, &info) && lstat(info.dli_fname, &stat) == 0)
        text_add(text, "%lld.%lld", (long long)stat.st_size, (long long)stat.st_mtime);
    text_add(text, "\n");
}

static void add_target(struct text *text, const struct yj_target *t) {
    text_add(text, "%s|%s|%s|%s|%s|%s|%d|%d\n", t->name, t->emitter, t->triple, t->cpu, t->features,
             t->abi ? t->abi : "", t->vector_registers, t->has_f16);
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++)
        text_add(text, "%d ", t->vector_lengths[i]);
    text_add(text, "\n");
}

enum yj_status cache_key_of(const struct emit_options *options, const struct kernel *k, struct cache_key *key) {
    struct text text = {0};
    char llvm[32];
    int bits;
    TRY(emit_vector_bits(options, &bits));
    emit_llvm_version(llvm);
    text_add(&text, "yunjin %s llvm %s build ", YJ_VERSION, llvm);
    add_build(&text);
    add_target(&text, options->target);
    text_add(&text, "%d %d %d %d %s\n", bits, options->scalar, options->own_alignment, options->hidden,
             options->text ? options->text : "");
    kernel_print(&text, k);
    bool failed = text.failed;
    if (!failed) crypto_generichash(key->bytes, sizeof key->bytes, (const uint8_t *)text.data, text.n, NULL, 0);
    text_free(&text);
    return failed ? report(YJ_ERR_MEMORY, "out of memory") : YJ_OK;
}

/* --- files --- */

/* The cache folder (made if need be), then the file of KEY in it. */
static bool cache_path(const struct cache_key *key, char path[4096]) {
    const char *own = getenv("YUNJIN_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char hex[65];
    int n;
    if (own) {
        if (!*own) return false; /* set and empty: no cache */
        n = snprintf(path, 3800, "%s", own);
    } else if (cache && *cache) {
        n = snprintf(path, 3800, "%s/yunjin", cache);
    } else if (home && *home) {
        n = snprintf(path, 3800, "%s/.cache/yunjin", home);
    } else {
        return false;
    }
    if (n >= 3800) return false;
    strcat(path, "/kernels");
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    sodium_bin2hex(hex, sizeof hex, key->bytes, sizeof key->bytes);
    strcat(path, "/");
    strcat(path, hex);
    return true;
}

bool cache_get(const struct cache_key *key, char **object, size_t *bytes) {
    char path[4096], *data = NULL;
    size_t n = 0;
    struct head head;
    uint8_t hash[sizeof head.hash];
    if (!cache_path(key, path) || access(path, R_OK) || file_read(path, &data, &n) != YJ_OK) return false;
    bool good = n > sizeof head;
    if (good) {
        memcpy(&head, data, sizeof head);
        crypto_generichash(hash, sizeof hash, (const uint8_t *)data + sizeof head, n - sizeof head, NULL, 0);
        good = memcmp(head.magic, HEAD_MAGIC, 8) == 0 && head.bytes == n - sizeof head &&
               memcmp(head.key, key->bytes, sizeof head.key) == 0 && memcmp(head.hash, hash, sizeof hash) == 0;
    }
    if (!good) {
        log_line(YJ_LOG_WARN, "%s is damaged: compiled again", path);
        unlink(path);
        free(data);
        return false;
    }
    memmove(data, data + sizeof head, n - sizeof head);
    *object = data;
    *bytes = n - sizeof head;
    return true;
}

/* Renamed into place without a sync: the hash finds what a crash left half-written. */
static bool write_file(const char *path, const struct head *head, const char *object, size_t bytes) {
    char beside[4200];
    snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    FILE *file = fopen(beside, "wbe");
    if (!file) return false;
    bool good = fwrite(head, sizeof *head, 1, file) == 1 && fwrite(object, 1, bytes, file) == bytes;
    good = fclose(file) == 0 && good && rename(beside, path) == 0;
    if (!good) unlink(beside);
    return good;
}

void cache_put(const struct cache_key *key, const char *object, size_t bytes) {
    char path[4096];
    if (!cache_path(key, path)) return;
    struct head head = {.bytes = bytes};
    memcpy(head.magic, HEAD_MAGIC, 8);
    memcpy(head.key, key->bytes, sizeof head.key);
    crypto_generichash(head.hash, sizeof head.hash, (const uint8_t *)object, bytes, NULL, 0);
    if (!write_file(path, &head, object, bytes)) log_line(YJ_LOG_INFO, "the kernel cache cannot be written: %s", path);
}

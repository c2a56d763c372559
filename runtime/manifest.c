/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading manifest.json. Its last key is its own hash, taken with that hash written as zeros: so a changed byte
 * anywhere in the folder is found by a hash, and what is parsed is what was written.
 */
#include "runtime/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yunjin/target.h>

#include "runtime/manifest_hash.h"

enum { MOST_PROGRAMS = 256, MOST_FILES = 4096 };

void manifest_hash(const void *bytes, size_t n, char hex[MANIFEST_HASH_CHARS + 1]) {
    unsigned char hash[MANIFEST_HASH_CHARS / 2];
    crypto_generichash(hash, sizeof hash, bytes, n, NULL, 0);
    sodium_bin2hex(hex, MANIFEST_HASH_CHARS + 1, hash, sizeof hash);
}

/* A name in the folder: no way out of it, nothing hidden. */
bool manifest_path_ok(const char *path) {
    size_t n = strlen(path);
    if (n == 0 || n > 200 || path[0] == '.' || strcmp(path, MANIFEST_NAME) == 0) return false;
    for (size_t i = 0; i < n; i++) {
        char c = path[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-+", c);
        if (!word) return false;
    }
    return true;
}

struct reading {
    struct arena *arena;
    const char *folder;
    struct manifest m;
};

static enum yj_status wrong(const struct reading *r, const char *what) {
    return report(YJ_ERR_INPUT, "%s/" MANIFEST_NAME ": %s is missing or wrong", r->folder, what);
}

static enum yj_status get_text(struct reading *r, json_t *object, const char *key, const char **text) {
    const char *s = json_string_value(json_object_get(object, key));
    if (!s) return wrong(r, key);
    *text = arena_text(r->arena, "%s", s);
    return *text ? YJ_OK : YJ_ERR_MEMORY;
}

static enum yj_status get_int(struct reading *r, json_t *object, const char *key, int64_t low, int64_t high,
                              int *value) {
    json_t *n = json_object_get(object, key);
    if (!json_is_integer(n) || json_integer_value(n) < low || json_integer_value(n) > high) return wrong(r, key);
    *value = (int)json_integer_value(n);
    return YJ_OK;
}

static enum yj_status get_path(struct reading *r, json_t *object, const char *key, const char **path) {
    TRY(get_text(r, object, key, path));
    if (manifest_path_ok(*path) && manifest_file(&r->m, *path)) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s/" MANIFEST_NAME ": %s '%s' is no file of the model", r->folder, key, *path);
}

static enum yj_status read_file_row(struct reading *r, json_t *row, struct manifest_file *f) {
    const char *hash;
    json_t *bytes = json_object_get(row, "bytes");
    TRY(get_text(r, row, "path", &f->path));
    TRY(get_text(r, row, "blake2b", &hash));
    if (!manifest_path_ok(f->path) || strlen(hash) != MANIFEST_HASH_CHARS || !json_is_integer(bytes) ||
        json_integer_value(bytes) < 0) {
        return wrong(r, "a row of files");
    }
    f->bytes = json_integer_value(bytes);
    memcpy(f->hash, hash, sizeof f->hash);
    return YJ_OK;
}

static enum yj_status read_program(struct reading *r, json_t *row, struct manifest_program *p) {
    TRY(get_text(r, row, "name", &p->name));
    TRY(get_text(r, row, "target", &p->target));
    TRY(get_text(r, row, "triple", &p->triple));
    TRY(get_text(r, row, "minimum", &p->minimum));
    TRY(get_int(r, row, "vector_bits", 0, 1 << 16, &p->vector_bits));
    TRY(get_int(r, row, "ranks", 1, 1 << 20, &p->ranks));
    TRY(get_path(r, row, "plan", &p->plan));
    TRY(get_path(r, row, "kernels", &p->kernels));
    if (json_object_get(row, "text")) TRY(get_path(r, row, "text", &p->text));
    json_t *weights = json_object_get(row, "weights");
    if (!json_is_array(weights) || json_array_size(weights) > MOST_FILES) return wrong(r, "weights");
    p->weights = NEW_ARRAY(r->arena, const char *, json_array_size(weights));
    for (size_t i = 0; i < json_array_size(weights); i++) {
        const char *path = json_string_value(json_array_get(weights, i));
        const struct manifest_file *f = path ? manifest_file(&r->m, path) : NULL;
        if (!f) return wrong(r, "a name in weights");
        p->weights[p->n_weights++] = f->path;
    }
    return YJ_OK;
}

static enum yj_status read_root(struct reading *r, json_t *root) {
    TRY(get_int(r, root, "format", 0, 1 << 20, &r->m.format));
    TRY(get_int(r, root, "kernel_abi", 0, 1 << 20, &r->m.kernel_abi));
    TRY(get_text(r, root, "yunjin", &r->m.version));
    if (r->m.format != MANIFEST_FORMAT || r->m.kernel_abi != YJ_KERNEL_ABI) {
        return report(YJ_ERR_UNSUPPORTED,
                      "%s: format %d and kernel ABI %d (written by Yunjin %s); this is Yunjin " YJ_VERSION
                      " with format %d and kernel ABI %d: compile the model again",
                      r->folder, r->m.format, r->m.kernel_abi, r->m.version, MANIFEST_FORMAT, YJ_KERNEL_ABI);
    }
    TRY(get_text(r, root, "name", &r->m.name));
    json_t *files = json_object_get(root, "files"), *programs = json_object_get(root, "programs");
    if (!json_is_array(files) || json_array_size(files) > MOST_FILES) return wrong(r, "files");
    if (!json_is_array(programs) || json_array_size(programs) > MOST_PROGRAMS || !json_array_size(programs)) {
        return wrong(r, "programs");
    }
    r->m.files = NEW_ARRAY(r->arena, struct manifest_file, json_array_size(files));
    r->m.programs = NEW_ARRAY(r->arena, struct manifest_program, json_array_size(programs));
    for (size_t i = 0; i < json_array_size(files); i++) {
        TRY(read_file_row(r, json_array_get(files, i), &r->m.files[i]));
        if (i && strcmp(r->m.files[i - 1].path, r->m.files[i].path) >= 0) return wrong(r, "the order of files");
        r->m.n_files++;
    }
    for (size_t i = 0; i < json_array_size(programs); i++) {
        TRY(read_program(r, json_array_get(programs, i), &r->m.programs[i]));
        r->m.n_programs++;
    }
    return YJ_OK;
}

/* The text ends with the key "self" and its hash: MANIFEST_TAIL chars from the end. */
static enum yj_status check_self(const char *folder, char *text, size_t n) {
    static const char key[] = "\"self\": \"";
    char *at = n > MANIFEST_HASH_CHARS + sizeof key + 3 ? text + n - 4 - MANIFEST_HASH_CHARS : NULL;
    if (!at || memcmp(at - (sizeof key - 1), key, sizeof key - 1) != 0 ||
        memcmp(at + MANIFEST_HASH_CHARS, "\"\n}\n", 4) != 0) {
        return report(YJ_ERR_INPUT,
                      "%s/" MANIFEST_NAME ": it does not end with its hash: it is cut short or was edited", folder);
    }
    char said[MANIFEST_HASH_CHARS], is[MANIFEST_HASH_CHARS + 1];
    memcpy(said, at, sizeof said);
    memset(at, '0', MANIFEST_HASH_CHARS);
    manifest_hash(text, n, is);
    if (memcmp(said, is, sizeof said) == 0) return YJ_OK;
    return report(YJ_ERR_INPUT,
                  "%s/" MANIFEST_NAME ": its hash does not fit: it is damaged or was edited; compile the model again",
                  folder);
}

static enum yj_status read_text(struct reading *r, char *text, size_t n) {
    TRY(check_self(r->folder, text, n));
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!root) return report(YJ_ERR_INPUT, "%s/" MANIFEST_NAME ":%d: %s", r->folder, error.line, error.text);
    enum yj_status status = read_root(r, root);
    json_decref(root);
    return status;
}

enum yj_status manifest_read(struct arena *arena, const char *folder, struct manifest *m) {
    struct reading r = {.arena = arena, .folder = folder};
    char path[4096], *text;
    size_t n;
    if (sodium_init() < 0) return report(YJ_ERR_INTERNAL, "libsodium does not start");
    if (snprintf(path, sizeof path, "%s/" MANIFEST_NAME, folder) >= (int)sizeof path) {
        return report(YJ_ERR_INPUT, "%s: the name is too long", folder);
    }
    if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return report(YJ_ERR_INPUT, "%s is no compiled model: there is no %s", folder, path);
    }
    enum yj_status status = file_read(path, &text, &n);
    if (status != YJ_OK) return report_in(status, "%s is no compiled model", folder);
    status = read_text(&r, text, n);
    free(text);
    if (status == YJ_OK) *m = r.m;
    return status;
}

const struct manifest_file *manifest_file(const struct manifest *m, const char *path) {
    for (int low = 0, high = m->n_files; low < high;) {
        int middle = low + (high - low) / 2, order = strcmp(m->files[middle].path, path);
        if (order == 0) return &m->files[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

enum yj_status manifest_check(const struct manifest *m, const char *folder, const char *path, const void *bytes,
                              size_t n) {
    const struct manifest_file *f = manifest_file(m, path);
    if (!f) return report(YJ_ERR_INPUT, "%s/%s is not listed in the manifest", folder, path);
    if (f->bytes != (int64_t)n) {
        return report(YJ_ERR_INPUT,
                      "%s/%s has %zu bytes; %" PRId64 " were written: copy the model again, or compile it again",
                      folder, path, n, f->bytes);
    }
    char hash[MANIFEST_HASH_CHARS + 1];
    manifest_hash(bytes, n, hash);
    if (strcmp(hash, f->hash) == 0) return YJ_OK;
    return report(YJ_ERR_INPUT,
                  "%s/%s is damaged: its hash is %.16s..., not %.16s...: copy the model again, or compile it again",
                  folder, path, hash, f->hash);
}

static enum yj_status verify_file(const struct manifest *m, const char *folder, const char *name) {
    char path[PATH_MAX];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) < 0) {
        enum yj_status status = report(YJ_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return status;
    }
    void *base = s.st_size > 0 ? mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : "";
    close(fd);
    if (base == MAP_FAILED) return report(YJ_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    enum yj_status status = manifest_check(m, folder, name, base, (size_t)s.st_size);
    if (s.st_size > 0) munmap(base, (size_t)s.st_size);
    return status;
}

enum yj_status manifest_verify(const char *folder) {
    struct manifest m;
    struct arena *arena = arena_open();
    enum yj_status status = arena ? manifest_read(arena, folder, &m) : report(YJ_ERR_MEMORY, "out of memory");
    for (int i = 0; status == YJ_OK && i < m.n_files; i++)
        status = verify_file(&m, folder, m.files[i].path);
    arena_close(arena);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing model.yj: a folder beside its place, file by file with their hashes, the manifest last, everything synced,
 * then one rename. Whoever looks sees the old model, or the new one, or none.
 */
#include "runtime/manifest_hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <yunjin/target.h>

enum { PIECE = 1 << 20 };
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

struct model_writer {
    char path[PATH_MAX - 64], temporary[PATH_MAX];
    int folder; /* of the temporary one */
    int n_files, room;
    struct manifest_file *files; /* paths are malloc'ed */
};

static enum yj_status io(const struct model_writer *w, const char *name, int error) {
    const char *advice =
        error == ENOSPC || error == EDQUOT ? ": the disk is full; free some space or choose another folder"
        : error == EFBIG ? ": the file is larger than the file system or the limit of this process allows"
                         : "";
    return report(YJ_ERR_IO, "cannot write %s%s%s: %s%s", w->path, *name ? "/" : "", name, strerror(error), advice);
}

/* Removes a folder of files; deeper ones are not ours and stop it. */
static void remove_folder(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    rmdir(path);
}

/* What stands at PATH may be replaced: nothing, a model, or an empty folder. */
static enum yj_status check_place(const char *path) {
    struct stat s;
    if (lstat(path, &s) < 0)
        return errno == ENOENT ? YJ_OK : report(YJ_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (!S_ISDIR(s.st_mode)) return report(YJ_ERR_INPUT, "%s exists and is no folder: choose another name", path);
    DIR *d = opendir(path);
    if (!d) return report(YJ_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    bool empty = true, model = false;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        empty = false;
        model = model || strcmp(e->d_name, MANIFEST_NAME) == 0;
    }
    closedir(d);
    return empty || model ? YJ_OK
                          : report(YJ_ERR_INPUT, "%s exists and is no compiled model: choose another name", path);
}

enum yj_status model_create(const char *path, struct model_writer **out) {
    struct model_writer *w = calloc(1, sizeof *w);
    if (!w) return report(YJ_ERR_MEMORY, "out of memory");
    w->folder = -1;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    enum yj_status status = YJ_OK;
    if (sodium_init() < 0)
        status = report(YJ_ERR_INTERNAL, "libsodium does not start");
    else if (n == 0 || n >= sizeof w->path)
        status = report(YJ_ERR_INPUT, "'%s' is no name for a model", path);
    if (status == YJ_OK) {
        memcpy(w->path, path, n);
        status = check_place(w->path);
    }
    for (unsigned try = 0; status == YJ_OK && w->folder < 0; try++) {
        snprintf(w->temporary, sizeof w->temporary, "%s.tmp%ld.%u", w->path, (long)getpid(), try);
        if (mkdir(w->temporary, 0777) == 0) {
            w->folder = open(w->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (w->folder < 0) status = io(w, "", errno);
        } else if (errno != EEXIST || try > 1000) {
            status = io(w, "", errno);
            w->temporary[0] = 0;
        }
    }
    if (status != YJ_OK) {
        model_abandon(w);
        return status;
    }
    *out = w;
    return YJ_OK;
}

void model_abandon(struct model_writer *w) {
    if (!w) return;
    if (w->folder >= 0) close(w->folder);
    if (*w->temporary) remove_folder(w->temporary);
    for (int i = 0; i < w->n_files; i++)
        free((char *)w->files[i].path);
    free(w->files);
    free(w);
}

/* --- files --- */

struct output {
    int fd;
    crypto_generichash_state hash;
    int64_t bytes;
    const char *name;
};

static enum yj_status output_open(struct model_writer *w, const char *name, struct output *o) {
    if (!manifest_path_ok(name) && strcmp(name, MANIFEST_NAME) != 0) {
        return report(YJ_ERR_INPUT, "'%s' is no name for a file of a model", name);
    }
    *o = (struct output){.name = name};
    o->fd = openat(w->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (o->fd < 0) return io(w, name, errno);
    crypto_generichash_init(&o->hash, NULL, 0, MANIFEST_HASH_CHARS / 2);
    return YJ_OK;
}

static enum yj_status output_write(struct model_writer *w, struct output *o, const void *bytes, size_t n) {
    crypto_generichash_update(&o->hash, bytes, n);
    o->bytes += (int64_t)n;
    for (const char *p = bytes; n > 0;) {
        ssize_t put = write(o->fd, p, n < 1 << 30 ? n : 1 << 30);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return io(w, o->name, errno);
        p += put;
        n -= (size_t)put;
    }
    return YJ_OK;
}

static enum yj_status note_file(struct model_writer *w, struct output *o) {
    unsigned char hash[MANIFEST_HASH_CHARS / 2];
    crypto_generichash_final(&o->hash, hash, sizeof hash);
    if (w->n_files == w->room) {
        int room = w->room ? 2 * w->room : 8;
        struct manifest_file *files = realloc(w->files, (size_t)room * sizeof *files);
        if (!files) return report(YJ_ERR_MEMORY, "out of memory");
        w->files = files;
        w->room = room;
    }
    char *path = strdup(o->name);
    if (!path) return report(YJ_ERR_MEMORY, "out of memory");
    struct manifest_file *f = &w->files[w->n_files++];
    *f = (struct manifest_file){.path = path, .bytes = o->bytes};
    sodium_bin2hex(f->hash, sizeof f->hash, hash, sizeof hash);
    return YJ_OK;
}

static enum yj_status output_close(struct model_writer *w, struct output *o, enum yj_status status) {
    if (status == YJ_OK && fsync(o->fd) < 0) status = io(w, o->name, errno);
    if (close(o->fd) < 0 && status == YJ_OK) status = io(w, o->name, errno);
    return status == YJ_OK && strcmp(o->name, MANIFEST_NAME) != 0 ? note_file(w, o) : status;
}

enum yj_status model_add(struct model_writer *w, const char *name, const void *bytes, size_t n) {
    struct output o;
    TRY(output_open(w, name, &o));
    return output_close(w, &o, output_write(w, &o, bytes, n));
}

static enum yj_status write_weights(struct model_writer *w, struct output *o, const struct safetensor *tensors, int n,
                                    weight_fill_fn *fill, void *user, char *piece) {
    static const char zeros[64];
    for (int i = 0; i < n; i++) {
        TRY(output_write(w, o, zeros, (size_t)(tensors[i].at - o->bytes))); /* the pad entry before it */
        for (int64_t from = 0; from < tensors[i].bytes; from += PIECE) {
            int64_t bytes = min64(PIECE, tensors[i].bytes - from);
            enum yj_status status = fill(user, i, from, bytes, piece);
            if (status != YJ_OK) return report_in(status, "weight '%s'", tensors[i].name);
            TRY(output_write(w, o, piece, (size_t)bytes));
        }
    }
    return YJ_OK;
}

enum yj_status model_add_weights(struct model_writer *w, const char *name, struct safetensor *tensors, int n,
                                 weight_fill_fn *fill, void *user) {
    char *header, *piece = malloc(PIECE);
    size_t header_bytes;
    int64_t total;
    struct output o;
    if (!piece) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = safetensors_layout(tensors, n, &header, &header_bytes, &total);
    if (status == YJ_OK) {
        status = output_open(w, name, &o);
        if (status == YJ_OK) {
            status = output_write(w, &o, header, header_bytes);
            if (status == YJ_OK) status = write_weights(w, &o, tensors, n, fill, user, piece);
            status = output_close(w, &o, status);
        }
        free(header);
    }
    free(piece);
    return status;
}

/* --- manifest --- */

static json_t *shape_json(int rank, const dim *shape) {
    json_t *list = json_array();
    for (int i = 0; i < rank; i++) {
        int64_t fixed;
        struct text t = {0};
        dim_print(&t, shape[i]);
        json_array_append_new(list, dim_is_const(shape[i], &fixed) ? json_integer(fixed)
                                                                   : json_string(t.data ? t.data : "?"));
        text_free(&t);
    }
    return list;
}

static json_t *ports_json(const struct plan_port *ports, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:o}", "name", ports[i].name, "dtype", yj_dtype_name(ports[i].dtype),
                                        "shape", shape_json(ports[i].rank, ports[i].shape)));
    }
    return list;
}

static void add_plan(json_t *root, const struct plan *p) {
    json_t *dims = json_array(), *states = json_array();
    for (int i = 0; i < p->n_dims; i++) {
        const struct plan_dim *d = &p->dim[i];
        if (d->kind == PLAN_DIM_RANK) continue;
        json_t *row = json_pack("{s:s,s:s,s:I}", "name", d->symbol->name, "kind", plan_dim_kind_names[d->kind], "low",
                                (json_int_t)d->low);
        json_object_set_new(row, "high", d->high == DIM_UNBOUNDED ? json_null() : json_integer(d->high));
        json_array_append_new(dims, row);
    }
    for (int i = 0; i < p->n_states; i++) {
        const struct plan_state *s = &p->states[i];
        json_array_append_new(states, json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "input", s->name_in, "output", s->name_out,
                                                "dtype", yj_dtype_name(s->dtype), "shape", shape_json(s->rank, s->in),
                                                "becomes", shape_json(s->rank, s->out), "storage",
                                                shape_json(s->rank, s->storage)));
    }
    json_object_set_new(root, "inputs", ports_json(p->inputs, p->n_inputs));
    json_object_set_new(root, "outputs", ports_json(p->outputs, p->n_outputs));
    json_object_set_new(root, "states", states);
    json_object_set_new(root, "dims", dims);
}

static json_t *programs_json(const struct manifest *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_programs; i++) {
        const struct manifest_program *p = &m->programs[i];
        json_t *weights = json_array();
        for (int j = 0; j < p->n_weights; j++)
            json_array_append_new(weights, json_string(p->weights[j]));
        json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:s}", "name", p->name, "target", p->target, "triple",
                                p->triple, "minimum", p->minimum, "vector_bits", p->vector_bits, "ranks", p->ranks,
                                "plan", p->plan, "kernels", p->kernels);
        if (p->text) json_object_set_new(row, "text", json_string(p->text));
        json_object_set_new(row, "weights", weights);
        json_array_append_new(list, row);
    }
    return list;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct manifest_file *)a)->path, ((const struct manifest_file *)b)->path);
}

static enum yj_status manifest_text(struct model_writer *w, const struct manifest *m, struct text *out) {
    char zeros[MANIFEST_HASH_CHARS + 1], hash[MANIFEST_HASH_CHARS + 1];
    memset(zeros, '0', MANIFEST_HASH_CHARS);
    zeros[MANIFEST_HASH_CHARS] = 0;
    if (w->n_files) qsort(w->files, (size_t)w->n_files, sizeof *w->files, by_path);
    json_t *files = json_array();
    for (int i = 0; i < w->n_files; i++) {
        json_array_append_new(files, json_pack("{s:s,s:I,s:s}", "path", w->files[i].path, "bytes",
                                               (json_int_t)w->files[i].bytes, "blake2b", w->files[i].hash));
    }
    json_t *root = json_pack("{s:i,s:i,s:s,s:s,s:o}", "format", MANIFEST_FORMAT, "kernel_abi", YJ_KERNEL_ABI, "yunjin",
                             YJ_VERSION, "name", m->name ? m->name : "", "programs", programs_json(m));
    if (root && m->plan) add_plan(root, m->plan);
    json_object_set_new(root, "files", files);
    json_object_set_new(root, "self", json_string(zeros));
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL; /* keys in the order in which they were set */
    json_decref(root);
    if (!text)
        return report(YJ_ERR_INPUT, "a name in the model is not UTF-8, or memory is short: no manifest can be written");
    text_add(out, "%s\n", text);
    free(text);
    char *at = out->failed ? NULL : strstr(out->data + out->n - MANIFEST_HASH_CHARS - 8, zeros);
    if (!at) return report(YJ_ERR_MEMORY, "out of memory");
    manifest_hash(out->data, out->n, hash);
    memcpy(at, hash, MANIFEST_HASH_CHARS);
    return YJ_OK;
}

/* A folder cannot be renamed over a full one: the two change places, or the old one steps aside. */
static enum yj_status put_in_place(struct model_writer *w) {
    if (rename(w->temporary, w->path) == 0) {
        *w->temporary = 0;
    } else if (errno != EEXIST && errno != ENOTEMPTY) {
        return io(w, "", errno);
    } else if (syscall(SYS_renameat2, AT_FDCWD, w->temporary, AT_FDCWD, w->path, RENAME_EXCHANGE) < 0) {
        char old[PATH_MAX + 8];
        snprintf(old, sizeof old, "%s.old", w->temporary);
        if (rename(w->path, old) < 0 || rename(w->temporary, w->path) < 0) return io(w, "", errno);
        memcpy(w->temporary, old, strlen(old) < sizeof w->temporary ? strlen(old) + 1 : 0);
    }
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", w->path);
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    return YJ_OK; /* what is left in TEMPORARY is the old model: model_abandon removes it */
}

enum yj_status model_finish(struct model_writer *w, const struct manifest *m) {
    struct text text = {0};
    enum yj_status status = manifest_text(w, m, &text);
    if (status == YJ_OK) status = model_add(w, MANIFEST_NAME, text.data, text.n);
    if (status == YJ_OK && fsync(w->folder) < 0 && errno != EINVAL) status = io(w, "", errno);
    if (status == YJ_OK) status = put_in_place(w);
    text_free(&text);
    model_abandon(w);
    return status;
}

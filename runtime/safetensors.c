/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors format, both directions: 8 bytes of header length, a JSON object from names to {dtype, shape,
 * data_offsets}, then the data without holes. A reader believes nothing: every offset must follow from the one before.
 */
#include "runtime/safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGN = 64, MOST_HEADER = 100 << 20 };

static const struct {
    enum yj_dtype dtype;
    const char *name;
} dtypes[] = {
    {YJ_F32, "F32"},      {YJ_F64, "F64"}, {YJ_F16, "F16"}, {YJ_BF16, "BF16"}, {YJ_E4M3, "F8_E4M3"},
    {YJ_E5M2, "F8_E5M2"}, {YJ_I8, "I8"},   {YJ_I16, "I16"}, {YJ_I32, "I32"},   {YJ_I64, "I64"},
    {YJ_U8, "U8"},        {YJ_U16, "U16"}, {YJ_U32, "U32"}, {YJ_U64, "U64"},   {YJ_BOOL, "BOOL"},
};

static const char *dtype_word(enum yj_dtype dtype) {
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    }
    return NULL;
}

static enum yj_status tensor_bytes(const struct safetensor *t, int64_t *bytes) {
    int64_t n = (int64_t)yj_dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0) return report(YJ_ERR_INPUT, "tensor '%s': a dimension of %" PRId64, t->name, t->shape[i]);
        if (__builtin_mul_overflow(n, t->shape[i], &n))
            return report(YJ_ERR_INPUT, "tensor '%s': too many elements", t->name);
    }
    *bytes = n;
    return YJ_OK;
}

/* --- read --- */

static enum yj_status parse_entry(const char *path, const char *name, json_t *entry, int64_t data_at, int64_t *end,
                                  struct safetensor *t) {
    json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    t->dtype = 0;
    for (size_t i = 0; dtype && i < COUNT(dtypes); i++) {
        if (strcmp(dtypes[i].name, dtype) == 0) t->dtype = dtypes[i].dtype;
    }
    if (!t->dtype || !json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_RANK ||
        json_array_size(offsets) != 2) {
        return report(YJ_ERR_INPUT, "%s: tensor '%s' has no proper dtype, shape and data_offsets", path, name);
    }
    t->rank = (int)json_array_size(shape);
    for (int i = 0; i < t->rank; i++) {
        json_t *d = json_array_get(shape, (size_t)i);
        t->shape[i] = json_is_integer(d) ? json_integer_value(d) : -1;
    }
    int64_t bytes, begin = -1, stop = -1;
    if (json_is_integer(json_array_get(offsets, 0))) begin = json_integer_value(json_array_get(offsets, 0));
    if (json_is_integer(json_array_get(offsets, 1))) stop = json_integer_value(json_array_get(offsets, 1));
    TRY(tensor_bytes(t, &bytes));
    if (begin < 0 || stop < begin || stop - begin != bytes) {
        return report(YJ_ERR_INPUT, "%s: tensor '%s' of %" PRId64 " bytes lies from %" PRId64 " to %" PRId64, path,
                      name, bytes, begin, stop);
    }
    t->at = data_at + begin; /* begin <= file size is checked by the caller, in order of offset */
    t->bytes = bytes;
    if (begin > INT64_MAX - data_at) return report(YJ_ERR_INPUT, "%s: tensor '%s' lies beyond the file", path, name);
    *end = stop;
    return YJ_OK;
}

static int by_offset(const void *a, const void *b) {
    const struct safetensor *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static enum yj_status parse_header(json_t *root, const char *path, int64_t data_at, int64_t file_bytes,
                                   struct arena *arena, struct safetensors *st) {
    if (!json_is_object(root)) return report(YJ_ERR_INPUT, "%s: the header is no JSON object", path);
    int n = 0, kept = 0;
    struct safetensor *tensors = arena_new(arena, (json_object_size(root) + 1) * sizeof *tensors);
    if (!tensors) return report(YJ_ERR_MEMORY, "out of memory");
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        struct safetensor *t = &tensors[n++];
        int64_t end;
        t->name = arena_text(arena, "%s", name);
        if (!t->name) return report(YJ_ERR_MEMORY, "out of memory");
        TRY(parse_entry(path, name, entry, data_at, &end, t));
    }
    qsort(tensors, (size_t)n, sizeof *tensors, by_offset);
    int64_t at = data_at;
    for (int i = 0; i < n; i++) {
        if (tensors[i].at != at || tensors[i].bytes > file_bytes - at) {
            return report(YJ_ERR_INPUT,
                          "%s: tensor '%s' begins at byte %" PRId64 "; %" PRId64 " was expected in a file of %" PRId64,
                          path, tensors[i].name, tensors[i].at, at, file_bytes);
        }
        at += tensors[i].bytes;
    }
    if (at != file_bytes)
        return report(YJ_ERR_INPUT, "%s: %" PRId64 " bytes behind the last tensor", path, file_bytes - at);
    for (int i = 0; i < n; i++) {
        if (strncmp(tensors[i].name, "pad.", 4) != 0) tensors[kept++] = tensors[i];
    }
    st->n = kept;
    st->tensors = tensors;
    return YJ_OK;
}

enum yj_status safetensors_parse(const void *bytes, size_t n, const char *path, struct arena *arena,
                                 struct safetensors *st) {
    uint64_t header = 0;
    if (n < 8) return report(YJ_ERR_INPUT, "%s: %zu bytes are no safetensors file", path, n);
    for (int i = 0; i < 8; i++)
        header |= (uint64_t)((const unsigned char *)bytes)[i] << (8 * i);
    if (header > n - 8 || header > MOST_HEADER) {
        return report(YJ_ERR_INPUT, "%s: a header of %" PRIu64 " bytes in a file of %zu", path, header, n);
    }
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes + 8, (size_t)header, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return report(YJ_ERR_INPUT, "%s: the header is no JSON: %s (byte %d)", path, error.text, 8 + error.position);
    enum yj_status status = parse_header(root, path, 8 + (int64_t)header, (int64_t)n, arena, st);
    json_decref(root);
    if (status != YJ_OK) return status;
    st->base = bytes;
    st->bytes = (int64_t)n;
    return YJ_OK;
}

enum yj_status safetensors_open(const char *path, struct safetensors *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) < 0) {
        enum yj_status status = report(YJ_ERR_IO, "cannot read %s: %m", path);
        if (fd >= 0) close(fd);
        return status;
    }
    void *base = s.st_size > 0 ? mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (base == MAP_FAILED) return report(YJ_ERR_IO, "cannot map %s of %lld bytes", path, (long long)s.st_size);
    struct safetensors st = {.arena = arena_open()};
    enum yj_status status = st.arena ? safetensors_parse(base, (size_t)s.st_size, path, st.arena, &st)
                                     : report(YJ_ERR_MEMORY, "out of memory");
    if (status == YJ_OK) {
        *out = st;
        return YJ_OK;
    }
    munmap(base, (size_t)s.st_size);
    arena_close(st.arena);
    return status;
}

const struct safetensor *safetensors_find(const struct safetensors *st, const char *name) {
    for (int i = 0; i < st->n; i++) {
        if (strcmp(st->tensors[i].name, name) == 0) return &st->tensors[i];
    }
    return NULL;
}

void safetensors_close(struct safetensors *st) {
    if (st->base) munmap((void *)st->base, (size_t)st->bytes);
    arena_close(st->arena);
    *st = (struct safetensors){0};
}

/* --- write --- */

static void add_entry(struct text *out, const char *name, const char *dtype, int rank, const int64_t *shape, int64_t at,
                      int64_t bytes) {
    json_t *quoted = json_string(name);
    char *text = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;
    if (!text) out->failed = true;
    text_add(out, "%s%s:{\"dtype\":\"%s\",\"shape\":[", out->n > 8 + 1 ? "," : "", text ? text : "", dtype);
    for (int i = 0; i < rank; i++)
        text_add(out, "%s%" PRId64, i ? "," : "", shape[i]);
    text_add(out, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", at, at + bytes);
    free(text);
    json_decref(quoted);
}

enum yj_status safetensors_layout(struct safetensor *tensors, int n, char **header, size_t *header_bytes,
                                  int64_t *total) {
    struct text out = {0};
    text_add(&out, "........{"); /* room for the length */
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        struct safetensor *t = &tensors[i];
        enum yj_status status =
            dtype_word(t->dtype) && strncmp(t->name, "pad.", 4) != 0
                ? tensor_bytes(t, &t->bytes)
                : report(YJ_ERR_UNSUPPORTED, "tensor '%s' cannot be written as safetensors", t->name);
        int64_t gap = (ALIGN - at % ALIGN) % ALIGN;
        if (status == YJ_OK && t->bytes > INT64_MAX / 2 - at - gap)
            status = report(YJ_ERR_INPUT, "weights of more than 62 bits");
        if (status != YJ_OK) {
            text_free(&out);
            return status;
        }
        if (gap) {
            char name[32];
            snprintf(name, sizeof name, "pad.%d", i);
            add_entry(&out, name, "U8", 1, &gap, at, gap);
        }
        t->at = at += gap;
        add_entry(&out, t->name, dtype_word(t->dtype), t->rank, t->shape, at, t->bytes);
        at += t->bytes;
    }
    text_add(&out, "}");
    while (out.n % ALIGN && !out.failed)
        text_add(&out, " "); /* the format allows blanks at the end: data begin aligned */
    if (out.failed) {
        text_free(&out);
        return report(YJ_ERR_MEMORY, "no memory for the names of %d weights", n);
    }
    uint64_t length = out.n - 8;
    for (int i = 0; i < 8; i++)
        out.data[i] = (char)(length >> (8 * i) & 0xff);
    for (int i = 0; i < n; i++)
        tensors[i].at += (int64_t)out.n;
    *header = out.data;
    *header_bytes = out.n;
    *total = at + (int64_t)out.n;
    return YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A TensorProto becomes data: raw bytes stay where they are in the model file, typed fields are narrowed into the
 * arena, external data are mapped. Every count is checked against the shape before a byte is read.
 */
#include "compiler/onnx.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *name_of(const Onnx__TensorProto *t) {
    return t->name ? t->name : "";
}

static enum yj_status shape_of(struct import *im, const Onnx__TensorProto *t, struct type *type, int64_t *elements) {
    if (t->n_dims > GRAPH_MAX_RANK)
        return report(YJ_ERR_UNSUPPORTED, "tensor '%s' has rank %zu; at most %d", name_of(t), t->n_dims,
                      GRAPH_MAX_RANK);
    if (!dtype_from_onnx(t->data_type, &type->dtype))
        return report(YJ_ERR_UNSUPPORTED, "tensor '%s' has element type %d, which Yunjin does not have", name_of(t),
                      t->data_type);
    *elements = 1;
    type->rank = (int)t->n_dims;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0 || __builtin_mul_overflow(*elements, t->dims[i], elements) || *elements > (INT64_C(1) << 40))
            return report(YJ_ERR_INPUT, "tensor '%s': dimension %zu is %lld: absurd", name_of(t), i,
                          (long long)t->dims[i]);
        type->shape[i] = dim_const(import_dims(im), t->dims[i]);
    }
    return YJ_OK;
}

/* external_data: location (beside the model), offset, length. The mapping stays for the life of the process' import. */
static enum yj_status external(struct import *im, const Onnx__TensorProto *t, size_t bytes, struct data *data) {
    const char *location = NULL;
    int64_t offset = 0, length = (int64_t)bytes;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value) continue;
        if (!strcmp(key, "location")) location = value;
        if (!strcmp(key, "offset")) offset = strtoll(value, NULL, 10);
        if (!strcmp(key, "length")) length = strtoll(value, NULL, 10);
    }
    if (!location || location[0] == '/' || strstr(location, ".."))
        return report(YJ_ERR_INPUT, "tensor '%s': external data '%s' must lie beside the model", name_of(t),
                      location ? location : "");
    char *path = arena_text(import_arena(im), "%s/%s", import_folder(im), location);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int error = errno;
        if (fd >= 0) close(fd);
        return report(error == ENOENT ? YJ_ERR_INPUT : YJ_ERR_IO,
                      "tensor '%s': cannot open external data %s: %s; it belongs beside the model", name_of(t), path,
                      strerror(error));
    }
    if (offset < 0 || length != (int64_t)bytes || offset > st.st_size || length > st.st_size - offset) {
        close(fd);
        return report(YJ_ERR_INPUT, "tensor '%s' needs %zu bytes at %lld of %s, which has %lld (length says %lld)",
                      name_of(t), bytes, (long long)offset, path, (long long)st.st_size, (long long)length);
    }
    int64_t page = offset & ~INT64_C(0xffff);
    char *map = bytes ? mmap(NULL, bytes + (size_t)(offset - page), PROT_READ, MAP_PRIVATE, fd, page) : "";
    close(fd);
    if (map == MAP_FAILED) return report(YJ_ERR_IO, "tensor '%s': cannot map %s", name_of(t), path);
    data->bytes = map + (offset - page);
    return YJ_OK;
}

static enum yj_status count_is(const Onnx__TensorProto *t, size_t have, int64_t want) {
    if ((int64_t)have == want) return YJ_OK;
    return report(YJ_ERR_INPUT, "tensor '%s' has %zu elements of data, its shape needs %lld", name_of(t), have,
                  (long long)want);
}

/* The typed fields: int32_data holds everything of at most 32 bits but f32. */
static enum yj_status typed(struct import *im, const Onnx__TensorProto *t, enum yj_dtype dtype, int64_t n,
                            struct data *data) {
    size_t each = yj_dtype_bytes(dtype);
    if (dtype == YJ_F32) {
        data->bytes = t->float_data;
        return count_is(t, t->n_float_data, n);
    }
    if (dtype == YJ_F64) {
        data->bytes = t->double_data;
        return count_is(t, t->n_double_data, n);
    }
    if (dtype == YJ_I64) {
        data->bytes = t->int64_data;
        return count_is(t, t->n_int64_data, n);
    }
    if (dtype == YJ_U64 || dtype == YJ_U32) {
        TRY(count_is(t, t->n_uint64_data, n));
        if (dtype == YJ_U64) {
            data->bytes = t->uint64_data;
            return YJ_OK;
        }
        uint32_t *narrow = arena_new(import_arena(im), (size_t)n * 4);
        for (int64_t i = 0; i < n; i++)
            narrow[i] = (uint32_t)t->uint64_data[i];
        data->bytes = narrow;
        return YJ_OK;
    }
    TRY(count_is(t, t->n_int32_data, n));
    char *narrow = arena_new(import_arena(im), (size_t)n * each);
    for (int64_t i = 0; i < n; i++)
        memcpy(narrow + (size_t)i * each, &t->int32_data[i], each); /* little-endian */
    data->bytes = narrow;
    return YJ_OK;
}

enum yj_status onnx_tensor(struct import *im, const Onnx__TensorProto *t, struct type *type, struct data *data) {
    int64_t n = 0;
    TRY(shape_of(im, t, type, &n));
    size_t bytes = (size_t)n * yj_dtype_bytes(type->dtype);
    *data = (struct data){"", bytes, t->name, -1};
    if (t->data_location == 1) return external(im, t, bytes, data);
    if (t->has_raw_data) {
        if (t->raw_data.len != bytes)
            return report(YJ_ERR_INPUT, "tensor '%s' has %zu bytes of raw data, its shape needs %zu", name_of(t),
                          t->raw_data.len, bytes);
        if (bytes) data->bytes = t->raw_data.data;
        return YJ_OK;
    }
    return n ? typed(im, t, type->dtype, n, data) : YJ_OK;
}

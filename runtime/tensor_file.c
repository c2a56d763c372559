/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors in files: NumPy's .npy (versions 1 to 3) and ONNX's TensorProto (.pb), read by a small reader of protobuf's
 * wire format. A file is a claim: its shape must fit its bytes before any memory is asked for.
 */
#include "runtime/tensor_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- tensors --- */

enum yj_status yj_tensor_bytes(const struct yj_tensor *t, size_t *bytes) {
    int64_t n = (int64_t)yj_dtype_bytes(t->dtype);
    if (!n) return report(YJ_ERR_INPUT, "element type %d is unknown", (int)t->dtype);
    if (t->rank < 0 || t->rank > YJ_MAX_RANK)
        return report(YJ_ERR_INPUT, "rank %d is not in 0..%d", t->rank, YJ_MAX_RANK);
    bool empty = false, large = false;
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0) return report(YJ_ERR_INPUT, "dimension %d is %" PRId64, i, t->shape[i]);
        empty = empty || t->shape[i] == 0;
        large = large || __builtin_mul_overflow(n, t->shape[i], &n) || n > INT64_C(1) << 62;
        if (large) n = 1;
    }
    if (large && !empty) return report(YJ_ERR_INPUT, "a tensor of more than 2^62 bytes");
    *bytes = empty ? 0 : (size_t)n;
    return YJ_OK;
}

enum yj_status yj_tensor_new(struct yj_tensor *t) {
    size_t bytes;
    TRY(yj_tensor_bytes(t, &bytes));
    if (bytes > tensor_most_bytes()) {
        return report(YJ_ERR_MEMORY, "a tensor of %.1f GB is more than this machine has memory", (double)bytes / 1e9);
    }
    void *data = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!data) return report(YJ_ERR_MEMORY, "no memory for a tensor of %zu bytes", bytes);
    memset(data, 0, bytes);
    t->data = data;
    return YJ_OK;
}

void yj_tensor_free(struct yj_tensor *t) {
    free(t->data);
    t->data = NULL;
}

/* --- npy --- */

static const struct {
    enum yj_dtype dtype;
    const char *descr;
} npy_types[] = {
    {YJ_F32, "<f4"}, {YJ_F64, "<f8"}, {YJ_F16, "<f2"}, {YJ_I8, "|i1"},  {YJ_I16, "<i2"}, {YJ_I32, "<i4"},
    {YJ_I64, "<i8"}, {YJ_U8, "|u1"},  {YJ_U16, "<u2"}, {YJ_U32, "<u4"}, {YJ_U64, "<u8"}, {YJ_BOOL, "|b1"},
};

/* The text after 'KEY': in the header, which is a Python dictionary. */
static const char *npy_value(const char *header, const char *key) {
    char quoted[32];
    for (int i = 0; i < 2; i++) {
        snprintf(quoted, sizeof quoted, i ? "\"%s\"" : "'%s'", key);
        const char *at = strstr(header, quoted);
        if (!at) continue;
        at += strlen(quoted);
        at += strspn(at, " ");
        if (*at++ != ':') continue;
        return at + strspn(at, " ");
    }
    return NULL;
}

static enum yj_status npy_descr(const char *at, enum yj_dtype *dtype) {
    if (!at || (*at != '\'' && *at != '"')) return report(YJ_ERR_INPUT, "its element type is no plain one");
    char word[8] = {0};
    size_t n = strcspn(at + 1, "'\"");
    if (n < sizeof word) memcpy(word, at + 1, n);
    for (size_t i = 0; i < COUNT(npy_types); i++) {
        const char *descr = npy_types[i].descr;
        bool one = descr[0] == '|';
        if (strcmp(word + 1, descr + 1) == 0 && word[0] && strchr(one ? "|<>=" : "<=", word[0])) {
            *dtype = npy_types[i].dtype;
            return YJ_OK;
        }
    }
    return report(YJ_ERR_UNSUPPORTED,
                  "its element type is '%.*s': little-endian f2 f4 f8, i1..i8, u1..u8 and b1 can be read",
                  (int)(n < 32 ? n : 32), at + 1);
}

static enum yj_status npy_shape(const char *at, struct yj_tensor *t) {
    if (!at || *at++ != '(') return report(YJ_ERR_INPUT, "it has no shape");
    t->rank = 0;
    for (;;) {
        at += strspn(at, " ,");
        if (*at == ')') return YJ_OK;
        if (*at < '0' || *at > '9') return report(YJ_ERR_INPUT, "its shape is damaged");
        if (t->rank == YJ_MAX_RANK) return report(YJ_ERR_UNSUPPORTED, "it has more than %d dimensions", YJ_MAX_RANK);
        int64_t v = 0;
        for (; *at >= '0' && *at <= '9'; at++) {
            if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at - '0', &v)) {
                return report(YJ_ERR_INPUT, "a dimension has more than 63 bits");
            }
        }
        at += strspn(at, "L");
        t->shape[t->rank++] = v;
    }
}

/* Copies column-major elements in row-major order. */
static void from_fortran(const struct yj_tensor *t, const char *from, size_t bytes) {
    size_t each = yj_dtype_bytes(t->dtype);
    char *to = t->data;
    for (size_t i = 0; i < bytes / each; i++) {
        size_t rest = i, at = 0, stride = bytes / each;
        for (int j = t->rank - 1; j >= 0; j--) {
            stride /= (size_t)t->shape[j];
            at += rest % (size_t)t->shape[j] * stride;
            rest /= (size_t)t->shape[j];
        }
        memcpy(to + i * each, from + at * each, each);
    }
}

enum yj_status tensor_parse_npy(const void *bytes, size_t n, struct yj_tensor *out) {
    const unsigned char *b = bytes;
    if (n < 10 || memcmp(b, "\x93NUMPY", 6) != 0) return report(YJ_ERR_INPUT, "it is no .npy file");
    size_t at = b[6] == 1 ? 10 : 12, length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] < 1 || b[6] > 3) return report(YJ_ERR_UNSUPPORTED, ".npy version %d", b[6]);
    if (b[6] > 1) {
        if (n < 12) return report(YJ_ERR_INPUT, "its header is cut short");
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    }
    if (length > n - at || length > 1 << 20) return report(YJ_ERR_INPUT, "its header is cut short");
    char *header = malloc(length + 1);
    if (!header) return report(YJ_ERR_MEMORY, "out of memory");
    memcpy(header, b + at, length);
    header[length] = 0;
    struct yj_tensor t = {.size = sizeof t};
    enum yj_status status = npy_descr(npy_value(header, "descr"), &t.dtype);
    if (status == YJ_OK) status = npy_shape(npy_value(header, "shape"), &t);
    const char *order = npy_value(header, "fortran_order");
    bool fortran = order && strncmp(order, "True", 4) == 0;
    free(header);
    size_t size = 0;
    if (status == YJ_OK) status = yj_tensor_bytes(&t, &size);
    if (status != YJ_OK) return status;
    if (size != n - at - length) {
        return report(YJ_ERR_INPUT, "its shape needs %zu bytes; %zu are there", size, n - at - length);
    }
    TRY(yj_tensor_new(&t));
    if (fortran && t.rank > 1)
        from_fortran(&t, (const char *)b + at + length, size);
    else
        memcpy(t.data, b + at + length, size);
    *out = t;
    return YJ_OK;
}

enum yj_status tensor_print_npy(const struct yj_tensor *t, struct text *head) {
    const char *descr = NULL;
    for (size_t i = 0; i < COUNT(npy_types); i++) {
        if (npy_types[i].dtype == t->dtype) descr = npy_types[i].descr;
    }
    if (!descr) return report(YJ_ERR_UNSUPPORTED, "NumPy has no %s: write a .pb file", yj_dtype_name(t->dtype));
    text_add(head, "%cNUMPY%c...{'descr': '%s', 'fortran_order': False, 'shape': (", 0x93, 1, descr);
    for (int i = 0; i < t->rank; i++)
        text_add(head, i ? ", %" PRId64 : "%" PRId64, t->shape[i]);
    text_add(head, t->rank == 1 ? ",), }" : "), }");
    while (head->n % 64 != 63 && !head->failed)
        text_add(head, " ");
    text_add(head, "\n");
    if (head->failed) return report(YJ_ERR_MEMORY, "out of memory");
    head->data[7] = 0;
    head->data[8] = (char)((head->n - 10) & 0xff);
    head->data[9] = (char)((head->n - 10) >> 8);
    return YJ_OK;
}

/* --- both --- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

enum yj_status yj_tensor_read(const char *path, struct yj_tensor *tensor, char *name, size_t room) {
    char *data;
    size_t n;
    if (name && room) *name = 0;
    TRY(file_read(path, &data, &n));
    bool npy = n >= 6 && memcmp(data, "\x93NUMPY", 6) == 0;
    enum yj_status status = npy || ends_with(path, ".npy") ? tensor_parse_npy(data, n, tensor)
                                                           : tensor_parse_pb(data, n, tensor, name, room);
    free(data);
    return status == YJ_OK ? YJ_OK : report_in(status, "%s", path);
}

enum yj_status yj_tensor_write(const char *path, const struct yj_tensor *tensor, const char *name) {
    struct text head = {0};
    size_t bytes;
    enum yj_status status = yj_tensor_bytes(tensor, &bytes);
    if (status == YJ_OK) {
        status = ends_with(path, ".pb") ? tensor_print_pb(tensor, bytes, name, &head) : tensor_print_npy(tensor, &head);
    }
    char *all = status == YJ_OK ? malloc(head.n + bytes + 1) : NULL;
    if (all) {
        memcpy(all, head.data, head.n);
        if (bytes) memcpy(all + head.n, tensor->data, bytes);
        status = file_write_atomic(path, all, head.n + bytes);
    } else if (status == YJ_OK) {
        status = report(YJ_ERR_MEMORY, "no memory for %zu bytes", bytes);
    }
    free(all);
    text_free(&head);
    return status;
}

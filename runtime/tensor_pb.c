/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX's TensorProto. Protobuf's wire format is a list of (field, wire type, value); what is not known is skipped.
 * Elements stand in raw_data, or in a field by type: float_data, int32_data (also for f16, bf16, fp8, bool and small
 * integers), int64_data, double_data, uint64_data, packed or one by one.
 */
#include "runtime/tensor_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
    DIMS = 1,
    DATA_TYPE = 2,
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    INT64_DATA = 7,
    NAME = 8,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11,
    DATA_LOCATION = 14
};
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

size_t tensor_most_bytes(void) {
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), bytes;
    return pages > 0 && page > 0 && !__builtin_mul_overflow(pages, page, &bytes) ? (size_t)bytes : SIZE_MAX / 2;
}

struct wire {
    const unsigned char *at, *end;
};
struct field {
    int number, type;
    uint64_t value;
    struct wire bytes;
};

static bool varint(struct wire *w, uint64_t *value) {
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        unsigned char c = *w->at++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *value = v;
            return true;
        }
    }
    return false;
}

static bool fixed(struct wire *w, int n, uint64_t *value) {
    uint64_t v = 0;
    if (w->end - w->at < n) return false;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)*w->at++ << (8 * i);
    *value = v;
    return true;
}

static bool field(struct wire *w, struct field *f) {
    uint64_t key, n;
    if (!varint(w, &key) || key >> 3 == 0 || key >> 3 > 1 << 29) return false;
    f->number = (int)(key >> 3);
    f->type = (int)(key & 7);
    if (f->type == VARINT) return varint(w, &f->value);
    if (f->type == FIXED64) return fixed(w, 8, &f->value);
    if (f->type == FIXED32) return fixed(w, 4, &f->value);
    if (f->type != BYTES || !varint(w, &n) || n > (uint64_t)(w->end - w->at)) return false;
    f->bytes = (struct wire){w->at, w->at + n};
    w->at += n;
    return true;
}

static enum yj_status damaged(void) {
    return report(YJ_ERR_INPUT, "it is no TensorProto, or damaged");
}

/* Which field holds the elements of DTYPE when they are not raw, and how wide they are there (0: varint). */
static int data_field(enum yj_dtype dtype, int *width) {
    *width = 0;
    switch (dtype) {
    case YJ_F32:
        *width = 4;
        return FLOAT_DATA;
    case YJ_F64:
        *width = 8;
        return DOUBLE_DATA;
    case YJ_I64:
        return INT64_DATA;
    case YJ_U32:
    case YJ_U64:
        return UINT64_DATA;
    default:
        return INT32_DATA;
    }
}

struct reading {
    struct yj_tensor t;
    struct wire raw;
    bool has_raw;
    int64_t data_type;
    size_t n_name;
    const unsigned char *name;
};

static enum yj_status add_dim(struct yj_tensor *t, uint64_t v) {
    if (t->rank == YJ_MAX_RANK) return report(YJ_ERR_UNSUPPORTED, "it has more than %d dimensions", YJ_MAX_RANK);
    if (v > INT64_MAX) return report(YJ_ERR_INPUT, "dimension %d is negative", t->rank);
    t->shape[t->rank++] = (int64_t)v;
    return YJ_OK;
}

static enum yj_status read_head(struct wire w, struct reading *r) {
    struct field f;
    while (w.at < w.end) {
        if (!field(&w, &f)) return damaged();
        if (f.number == DIMS && f.type == VARINT) TRY(add_dim(&r->t, f.value));
        if (f.number == DIMS && f.type == BYTES) {
            for (uint64_t v; f.bytes.at < f.bytes.end;) {
                if (!varint(&f.bytes, &v)) return damaged();
                TRY(add_dim(&r->t, v));
            }
        }
        if (f.number == DATA_TYPE && f.type == VARINT) r->data_type = (int64_t)f.value;
        if (f.number == NAME && f.type == BYTES) r->name = f.bytes.at, r->n_name = (size_t)(f.bytes.end - f.bytes.at);
        if (f.number == RAW_DATA && f.type == BYTES) r->raw = f.bytes, r->has_raw = true;
        if (f.number == DATA_LOCATION && f.type == VARINT && f.value == 1) {
            return report(YJ_ERR_UNSUPPORTED, "its elements lie in another file (external data)");
        }
    }
    return YJ_OK;
}

/* Puts element values, however they are packed, one after the other into OUT; counts those that would not fit too. */
static enum yj_status read_elements(struct wire w, int number, int width, size_t each, size_t room, char *out,
                                    size_t *n) {
    struct field f;
    while (w.at < w.end) {
        if (!field(&w, &f)) return damaged();
        if (f.number != number) continue;
        struct wire values = f.bytes;
        bool packed = f.type == BYTES;
        do {
            uint64_t v = f.value;
            if (packed && values.at == values.end) break;
            if (packed && !(width ? fixed(&values, width, &v) : varint(&values, &v))) return damaged();
            if (*n < room) memcpy(out + *n * each, &v, each); /* little-endian: the low bytes */
            ++*n;
        } while (packed);
    }
    return YJ_OK;
}

static enum yj_status fill(struct wire all, struct reading *r, size_t bytes) {
    struct yj_tensor *t = &r->t;
    size_t each = yj_dtype_bytes(t->dtype), n = 0;
    int width, number = data_field(t->dtype, &width);
    if (r->has_raw) {
        if ((size_t)(r->raw.end - r->raw.at) != bytes) {
            return report(YJ_ERR_INPUT, "its shape needs %zu bytes; %zu are there", bytes,
                          (size_t)(r->raw.end - r->raw.at));
        }
        TRY(yj_tensor_new(t));
        memcpy(t->data, r->raw.at, bytes);
        return YJ_OK;
    }
    TRY(read_elements(all, number, width, each, 0, NULL, &n)); /* count before asking for memory */
    if (n != bytes / each) return report(YJ_ERR_INPUT, "its shape needs %zu elements; %zu are there", bytes / each, n);
    TRY(yj_tensor_new(t));
    size_t again = 0;
    enum yj_status status = read_elements(all, number, width, each, n, t->data, &again);
    if (status != YJ_OK) yj_tensor_free(t);
    return status;
}

enum yj_status tensor_parse_pb(const void *bytes, size_t n, struct yj_tensor *out, char *name, size_t room) {
    struct wire all = {bytes, (const unsigned char *)bytes + n};
    struct reading r = {.t = {.size = sizeof r.t}};
    size_t size;
    TRY(read_head(all, &r));
    if (r.data_type < 0 || r.data_type > 1000 || !dtype_from_onnx((int)r.data_type, &r.t.dtype)) {
        return report(r.data_type ? YJ_ERR_UNSUPPORTED : YJ_ERR_INPUT,
                      r.data_type ? "its ONNX element type is %" PRId64 ", which Yunjin does not have"
                                  : "it has no element type: it is no TensorProto",
                      r.data_type);
    }
    TRY(yj_tensor_bytes(&r.t, &size));
    TRY(fill(all, &r, size));
    if (name && room) {
        size_t length = r.n_name < room - 1 ? r.n_name : room - 1;
        if (length) memcpy(name, r.name, length);
        name[length] = 0;
    }
    *out = r.t;
    return YJ_OK;
}

/* --- write --- */

static void put_varint(struct text *out, uint64_t v) {
    for (; v > 0x7f; v >>= 7)
        text_add(out, "%c", (int)(v & 0x7f) | 0x80);
    text_add(out, "%c", (int)v);
    if (v == 0 && !out->failed) out->data[out->n - 1] = 0;
}

enum yj_status tensor_print_pb(const struct yj_tensor *t, size_t bytes, const char *name, struct text *head) {
    for (int i = 0; i < t->rank; i++) {
        put_varint(head, DIMS << 3 | VARINT);
        put_varint(head, (uint64_t)t->shape[i]);
    }
    put_varint(head, DATA_TYPE << 3 | VARINT);
    put_varint(head, (uint64_t)dtype_onnx(t->dtype));
    if (name && *name) {
        put_varint(head, NAME << 3 | BYTES);
        put_varint(head, strlen(name));
        text_add(head, "%s", name);
    }
    put_varint(head, RAW_DATA << 3 | BYTES);
    put_varint(head, bytes);
    return head->failed ? report(YJ_ERR_MEMORY, "out of memory") : YJ_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor files: round trips of every type, files made by others (NumPy's versions and column order, TensorProtos with
 * each kind of data field), and damage.
 */
#include "runtime/tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static const enum yj_dtype all[] = {YJ_F32, YJ_F64, YJ_F16, YJ_BF16, YJ_E4M3, YJ_E5M2, YJ_I8,  YJ_I16,
                                    YJ_I32, YJ_I64, YJ_U8,  YJ_U16,  YJ_U32,  YJ_U64,  YJ_BOOL};

static struct yj_tensor make(enum yj_dtype dtype, int rank, const int64_t *shape) {
    struct yj_tensor t = {.size = sizeof t, .dtype = dtype, .rank = rank};
    size_t bytes;
    memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    assert_int_equal(yj_tensor_new(&t), YJ_OK);
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_OK);
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)t.data)[i] = dtype == YJ_BOOL ? i & 1 : (unsigned char)(i * 37 + 1);
    return t;
}

static void round_trip(const char *path, const struct yj_tensor *t, enum yj_status want) {
    struct yj_tensor got;
    char name[8];
    size_t bytes;
    enum yj_status status = yj_tensor_write(path, t, "a long name");
    assert_int_equal(status, want);
    if (status != YJ_OK) return;
    assert_int_equal(yj_tensor_read(path, &got, name, sizeof name), YJ_OK);
    assert_int_equal(got.dtype, t->dtype);
    assert_int_equal(got.rank, t->rank);
    assert_memory_equal(got.shape, t->shape, (size_t)t->rank * 8);
    assert_int_equal(yj_tensor_bytes(t, &bytes), YJ_OK);
    if (bytes) assert_memory_equal(got.data, t->data, bytes);
    assert_int_equal((uintptr_t)got.data % 64, 0);
    assert_string_equal(name, strstr(path, ".pb") ? "a long " : "");
    yj_tensor_free(&got);
}

static void test_round_trips(void **state) {
    static const int64_t shapes[][8] = {{0}, {5}, {3, 4}, {2, 0, 3}, {1, 2, 1, 2, 1, 2, 1, 2}, {130, 1}};
    static const int ranks[] = {0, 1, 2, 3, 8, 2};
    char folder[] = "/tmp/yunjin-tensor-XXXXXX", npy[64], pb[64];
    assert_non_null(mkdtemp(folder));
    snprintf(npy, sizeof npy, "%s/a.npy", folder);
    snprintf(pb, sizeof pb, "%s/a.pb", folder);
    for (size_t d = 0; d < COUNT(all); d++) {
        bool numpy = all[d] != YJ_BF16 && all[d] != YJ_E4M3 && all[d] != YJ_E5M2;
        for (size_t s = 0; s < COUNT(ranks); s++) {
            struct yj_tensor t = make(all[d], ranks[s], shapes[s]);
            round_trip(pb, &t, YJ_OK);
            round_trip(npy, &t, numpy ? YJ_OK : YJ_ERR_UNSUPPORTED);
            yj_tensor_free(&t);
        }
    }
    unlink(npy), unlink(pb), rmdir(folder);
}

static enum yj_status npy(int version, const char *header, const void *data, size_t n, struct yj_tensor *t) {
    unsigned char bytes[1024] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0};
    size_t at = version == 1 ? 10 : 12, length = strlen(header);
    bytes[8] = (unsigned char)(length & 0xff), bytes[9] = (unsigned char)(length >> 8);
    memcpy(bytes + at, header, length);
    memcpy(bytes + at + length, data, n);
    return tensor_parse_npy(bytes, at + length + n, t);
}

static void test_npy_of_others(void **state) {
    static const int32_t values[6] = {1, 2, 3, 4, 5, 6};
    struct yj_tensor t;
    for (int version = 1; version <= 3; version++) {
        assert_int_equal(npy(version, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }\n", values, 24, &t),
                         YJ_OK);
        assert_memory_equal(t.data, values, 24);
        yj_tensor_free(&t);
    }
    assert_int_equal(npy(1, "{\"shape\": (2, 3), \"fortran_order\": True, \"descr\": \"<i4\"}", values, 24, &t), YJ_OK);
    assert_int_equal(((int32_t *)t.data)[1], 3); /* columns first */
    assert_int_equal(((int32_t *)t.data)[3], 2);
    yj_tensor_free(&t);
    assert_int_equal(npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (), }", values, 4, &t), YJ_OK);
    assert_int_equal(t.rank, 0);
    yj_tensor_free(&t);
    static const struct {
        const char *header;
        enum yj_status status;
    } bad[] = {
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (2, 3), }", YJ_ERR_UNSUPPORTED},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (2, 3), }", YJ_ERR_UNSUPPORTED},
        {"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2, 3), }", YJ_ERR_INPUT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 4), }", YJ_ERR_INPUT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }", YJ_ERR_INPUT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999999999999, 3), }", YJ_ERR_INPUT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", YJ_ERR_UNSUPPORTED},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, -3), }", YJ_ERR_INPUT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3", YJ_ERR_INPUT},
        {"{'descr': '<i4'", YJ_ERR_INPUT},
        {"", YJ_ERR_INPUT},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(npy(1, bad[i].header, values, 24, &t), bad[i].status);
    assert_int_equal(npy(4, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", values, 24, &t),
                     YJ_ERR_UNSUPPORTED);
}

#define PB(...) ((const unsigned char[]){__VA_ARGS__}), sizeof((const unsigned char[]){__VA_ARGS__})
static void pb_is(const unsigned char *bytes, size_t n, enum yj_dtype dtype, const void *data, size_t size) {
    struct yj_tensor t;
    enum yj_status status = tensor_parse_pb(bytes, n, &t, NULL, 0);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    assert_int_equal(status, YJ_OK);
    assert_int_equal(t.dtype, dtype);
    size_t got;
    assert_int_equal(yj_tensor_bytes(&t, &got), YJ_OK);
    assert_int_equal(got, size);
    assert_memory_equal(t.data, data, size);
    yj_tensor_free(&t);
}

static void test_pb_of_others(void **state) {
    struct yj_tensor t;
    pb_is(PB(8, 2, 16, 1, 0x22, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40), YJ_F32, (float[]){1, 2}, 8); /* packed floats */
    pb_is(PB(10, 1, 2, 16, 1, 0x25, 0, 0, 0x80, 0x3f, 0x25, 0, 0, 0, 0x40), YJ_F32, (float[]){1, 2},
          8); /* one by one */
    pb_is(PB(8, 2, 16, 7, 0x3a, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5), YJ_I64,
          (int64_t[]){-1, 5}, 16);
    pb_is(PB(8, 3, 16, 9, 0x2a, 3, 1, 0, 1), YJ_BOOL, (uint8_t[]){1, 0, 1}, 3);
    pb_is(PB(8, 1, 16, 10, 0x2a, 2, 0x80, 0x78), YJ_F16, (uint16_t[]){0x3c00}, 2);      /* f16 as a varint */
    pb_is(PB(16, 11, 0x52, 8, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f), YJ_F64, (double[]){1}, 8); /* no dims: a scalar */
    pb_is(PB(8, 2, 16, 12, 0x5a, 2, 7, 9), YJ_U32, (uint32_t[]){7, 9}, 8);
    pb_is(PB(8, 2, 16, 3, 0x2a, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5), YJ_I8,
          (int8_t[]){-1, 5}, 2);
    pb_is(PB(8, 2, 16, 2, 0x4a, 2, 3, 4, 0x7a, 1, 0, 0x90, 0x3f, 1), YJ_U8, (uint8_t[]){3, 4}, 2); /* unknown fields */
    assert_int_equal(tensor_parse_pb(PB(8, 2, 16, 1, 0x4a, 4, 0, 0, 0, 0), &t, NULL, 0), YJ_ERR_INPUT);
    assert_int_equal(tensor_parse_pb(PB(8, 2, 16, 8, 0x32, 1, 'a'), &t, NULL, 0), YJ_ERR_UNSUPPORTED); /* strings */
    assert_int_equal(tensor_parse_pb(PB(8, 2, 16, 1, 0x70, 1), &t, NULL, 0), YJ_ERR_UNSUPPORTED);      /* external */
    assert_int_equal(
        tensor_parse_pb(PB(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 16, 1), &t, NULL, 0),
        YJ_ERR_INPUT);
    assert_int_equal(tensor_parse_pb(PB(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 16, 1), &t, NULL, 0),
                     YJ_ERR_INPUT);
    assert_int_equal(tensor_parse_pb("", 0, &t, NULL, 0), YJ_ERR_INPUT);
}

static uint64_t seed;
static uint32_t next(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static void test_fuzz(void **state) {
    struct text head = {0};
    int accepted = 0;
    for (uint64_t this = 1; this <= 4000; this ++) {
        seed = this;
        struct yj_tensor t = make(all[next() % COUNT(all)], 2, (int64_t[]){1 + next() % 4, 1 + next() % 4}), got;
        size_t bytes, n;
        bool pb = this & 1;
        assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_OK);
        head.n = 0;
        if ((pb ? tensor_print_pb(&t, bytes, "name", &head) : tensor_print_npy(&t, &head)) == YJ_OK) {
            n = head.n + bytes;
            unsigned char *all_bytes = malloc(n + 1); /* exactly as long: a read beyond it is seen by ASan */
            memcpy(all_bytes, head.data, head.n);
            memcpy(all_bytes + head.n, t.data, bytes);
            for (uint32_t edits = 1 + next() % 4; edits; edits--)
                all_bytes[next() % n] = (unsigned char)next();
            if (next() % 4 == 0) n = next() % n;
            unsigned char *exact = malloc(n ? n : 1);
            memcpy(exact, all_bytes, n);
            if ((pb ? tensor_parse_pb(exact, n, &got, NULL, 0) : tensor_parse_npy(exact, n, &got)) == YJ_OK) {
                accepted++;
                yj_tensor_free(&got);
            }
            free(exact);
            free(all_bytes);
        }
        yj_tensor_free(&t);
    }
    print_message("%d of 4000 damaged files could still be read\n", accepted);
    text_free(&head);
}

static void test_compare(void **state) {
    float a[4] = {1, 100, NAN, -0.0f}, b[4] = {1, 100.01f, NAN, 0};
    struct yj_tensor x = {.size = sizeof x, .dtype = YJ_F32, .rank = 1, .shape = {4}, .data = a}, y = x;
    double error;
    y.data = b;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(error > 0.8 && error < 1); /* 0.01 / (0.010001 + 0.0010001) */
    b[1] = 102;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(error > 100);
    b[1] = 100, b[0] = INFINITY;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(isinf(error));
    a[0] = INFINITY;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(error == 0);
    b[2] = 5;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(isinf(error));
    y.shape[0] = 3;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_ERR_INPUT);
    int64_t i[2] = {1, 2}, j[2] = {1, 3};
    x = (struct yj_tensor){.size = sizeof x, .dtype = YJ_I64, .rank = 1, .shape = {2}, .data = i}, y = x, y.data = j;
    assert_int_equal(yj_tensor_compare(&x, &y, &error), YJ_OK);
    assert_true(isinf(error));
}

static void test_sizes(void **state) {
    struct yj_tensor t = {.size = sizeof t, .dtype = YJ_F32, .rank = 2, .shape = {INT64_C(1) << 40, 1}};
    size_t bytes;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_OK);
    assert_int_equal(yj_tensor_new(&t), YJ_ERR_MEMORY);
    t.shape[1] = INT64_C(1) << 40;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_ERR_INPUT);
    t.shape[1] = 0;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_OK);
    assert_int_equal(bytes, 0);
    t.shape[1] = -1;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_ERR_INPUT);
    t.rank = 9;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_ERR_INPUT);
    t.rank = 0, t.dtype = 77;
    assert_int_equal(yj_tensor_bytes(&t, &bytes), YJ_ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_npy_of_others), cmocka_unit_test(test_pb_of_others),
        cmocka_unit_test(test_fuzz),        cmocka_unit_test(test_compare),       cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Elements of host tensors as scalar bits: f16, bf16 and fp8 are widened to f32 when read and rounded when written, so
 * that whoever computes sees only the types that kernels compute in.
 */
#include "ir/graph_inside.h"

enum yj_dtype dtype_wide(enum yj_dtype dtype) {
    return dtype_kind(dtype) == 'f' && yj_dtype_bytes(dtype) < 4 ? YJ_F32 : dtype;
}

uint64_t element_load(const void *bytes, enum yj_dtype dtype, int64_t i) {
    const char *p = (const char *)bytes + (size_t)i * yj_dtype_bytes(dtype);
    uint8_t b = 0;
    uint16_t h = 0;
    uint32_t w = 0;
    uint64_t d = 0;
    switch (yj_dtype_bytes(dtype)) {
    case 1:
        memcpy(&b, p, 1);
        break;
    case 2:
        memcpy(&h, p, 2);
        break;
    case 4:
        memcpy(&w, p, 4);
        break;
    default:
        memcpy(&d, p, 8);
        break;
    }
    switch (dtype) {
    case YJ_F16:
        return f32_bits(f16_to_f32(h));
    case YJ_BF16:
        return f32_bits(bf16_to_f32(h));
    case YJ_E4M3:
        return f32_bits(e4m3_to_f32(b));
    case YJ_E5M2:
        return f32_bits(e5m2_to_f32(b));
    case YJ_I8:
        return (uint64_t)(int64_t)(int8_t)b;
    case YJ_I16:
        return (uint64_t)(int64_t)(int16_t)h;
    case YJ_I32:
        return (uint64_t)(int64_t)(int32_t)w;
    case YJ_BOOL:
        return b != 0;
    default:
        return yj_dtype_bytes(dtype) == 8 ? d : yj_dtype_bytes(dtype) == 4 ? w : (uint64_t)b + h;
    }
}

void element_store(void *bytes, enum yj_dtype dtype, int64_t i, uint64_t wide) {
    char *p = (char *)bytes + (size_t)i * yj_dtype_bytes(dtype);
    uint16_t h = (uint16_t)wide;
    uint8_t b = (uint8_t)wide;
    uint32_t w = (uint32_t)wide;
    switch (dtype) {
    case YJ_F16:
        h = f32_to_f16(bits_f32(wide));
        break;
    case YJ_BF16:
        h = f32_to_bf16(bits_f32(wide));
        break;
    case YJ_E4M3:
        b = f32_to_e4m3(bits_f32(wide));
        break;
    case YJ_E5M2:
        b = f32_to_e5m2(bits_f32(wide));
        break;
    case YJ_BOOL:
        b = wide != 0;
        break;
    default:
        break;
    }
    switch (yj_dtype_bytes(dtype)) {
    case 1:
        memcpy(p, &b, 1);
        break;
    case 2:
        memcpy(p, &h, 2);
        break;
    case 4:
        memcpy(p, &w, 4);
        break;
    default:
        memcpy(p, &wide, 8);
        break;
    }
}

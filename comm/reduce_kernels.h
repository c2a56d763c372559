/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of reduce.c, included once for each instruction set (ISA(name) makes the names differ). Loops are plain
 * and branch-free, so that compilers vectorise them; SAFE_LOOP says that iterations do not depend on each other,
 * although a destination may be a source.
 */
enum { ISA(chunk) = 512 };

/* One type: T in memory, A in the accumulator, GET and PUT between them. */
#define JOIN(name, T, A, GET, PUT, OP)                                                                                 \
    static void ISA(name)(int ndst, void *const *dst, int nsrc, const void *const *src, size_t count) {                \
        const T *a = src[0], *b = src[nsrc > 1];                                                                       \
        T *d = dst[0], *e = dst[ndst > 1];                                                                             \
        if (nsrc == 2 && ndst == 1) {                                                                                  \
            SAFE_LOOP                                                                                                  \
            for (size_t i = 0; i < count; i++)                                                                         \
                d[i] = PUT(OP(GET(a[i]), GET(b[i])));                                                                  \
            return;                                                                                                    \
        }                                                                                                              \
        if (nsrc == 2 && ndst == 2) {                                                                                  \
            SAFE_LOOP                                                                                                  \
            for (size_t i = 0; i < count; i++) {                                                                       \
                T v = PUT(OP(GET(a[i]), GET(b[i])));                                                                   \
                d[i] = v;                                                                                              \
                e[i] = v;                                                                                              \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        A sum[ISA(chunk)];                                                                                             \
        T out[ISA(chunk)];                                                                                             \
        for (size_t at = 0; at < count; at += ISA(chunk)) {                                                            \
            size_t n = count - at < ISA(chunk) ? count - at : ISA(chunk);                                              \
            for (size_t i = 0; i < n; i++)                                                                             \
                sum[i] = GET(a[at + i]);                                                                               \
            for (int s = 1; s < nsrc; s++) {                                                                           \
                const T *p = (const T *)src[s] + at;                                                                   \
                for (size_t i = 0; i < n; i++)                                                                         \
                    sum[i] = OP(sum[i], GET(p[i]));                                                                    \
            }                                                                                                          \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i] = PUT(sum[i]);                                                                                  \
            for (int k = 0; k < ndst; k++)                                                                             \
                memcpy((T *)dst[k] + at, out, n * sizeof(T));                                                          \
        }                                                                                                              \
    }

/* A: in which it is divided; ranks may be more than T holds. */
#define SCALE(name, T, A, GET, PUT)                                                                                    \
    static void ISA(name##_scale)(void *dst, size_t count, int ranks) {                                                \
        T *d = dst;                                                                                                    \
        for (size_t i = 0; i < count; i++)                                                                             \
            d[i] = PUT((A)(GET(d[i]) / (A)ranks));                                                                     \
    }

#define FLOAT(name, T, A, GET, PUT)                                                                                    \
    JOIN(name##_sum, T, A, GET, PUT, ADD)                                                                              \
    JOIN(name##_prod, T, A, GET, PUT, MUL)                                                                             \
    JOIN(name##_min, T, A, GET, PUT, A##_min)                                                                          \
    JOIN(name##_max, T, A, GET, PUT, A##_max)                                                                          \
    JOIN(name##_land, T, A, GET, PUT, LAND)                                                                            \
    JOIN(name##_lor, T, A, GET, PUT, LOR)                                                                              \
    JOIN(name##_lxor, T, A, GET, PUT, LXOR)                                                                            \
    SCALE(name, T, A, GET, PUT)

#define INTEGER(name, T, A, W, D)                                                                                      \
    JOIN(name##_sum, T, A, SAME, (T), WRAP_ADD(W))                                                                     \
    JOIN(name##_prod, T, A, SAME, (T), WRAP_MUL(W))                                                                    \
    JOIN(name##_min, T, A, SAME, (T), LESSER)                                                                          \
    JOIN(name##_max, T, A, SAME, (T), GREATER)                                                                         \
    JOIN(name##_band, T, A, SAME, (T), BAND)                                                                           \
    JOIN(name##_bor, T, A, SAME, (T), BOR)                                                                             \
    JOIN(name##_bxor, T, A, SAME, (T), BXOR)                                                                           \
    JOIN(name##_land, T, A, SAME, (T), LAND)                                                                           \
    JOIN(name##_lor, T, A, SAME, (T), LOR)                                                                             \
    JOIN(name##_lxor, T, A, SAME, (T), LXOR)                                                                           \
    SCALE(name, T, D, SAME, (T))

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define WRAP_ADD(W) W##_add
#define WRAP_MUL(W) W##_mul
#define LESSER(a, b) ((a) < (b) ? (a) : (b))
#define GREATER(a, b) ((a) > (b) ? (a) : (b))
#define BAND(a, b) ((a) & (b))
#define BOR(a, b) ((a) | (b))
#define BXOR(a, b) ((a) ^ (b))
#define LAND(a, b) (((a) != 0) & ((b) != 0))
#define LOR(a, b) (((a) != 0) | ((b) != 0))
#define LXOR(a, b) (((a) != 0) ^ ((b) != 0))
#define SAME(a) (a)

FLOAT(f32, float, float, SAME, f32_put)
FLOAT(f64, double, double, SAME, f64_put)
FLOAT(f16, uint16_t, float, f16_get, f16_put)
FLOAT(bf16, uint16_t, float, bf16_get, bf16_put)
FLOAT(e4m3, uint8_t, float, e4m3_to_f32, f32_to_e4m3)
FLOAT(e5m2, uint8_t, float, e5m2_to_f32, f32_to_e5m2)
INTEGER(i8, int8_t, int8_t, u8, int32_t)
INTEGER(i16, int16_t, int16_t, u16, int32_t)
INTEGER(i32, int32_t, int32_t, u32, int32_t)
INTEGER(i64, int64_t, int64_t, u64, int64_t)
INTEGER(u8, uint8_t, uint8_t, u8, uint32_t)
INTEGER(u16, uint16_t, uint16_t, u16, uint32_t)
INTEGER(u32, uint32_t, uint32_t, u32, uint32_t)
INTEGER(u64, uint64_t, uint64_t, u64, uint64_t)
JOIN(bool_land, uint8_t, uint8_t, SAME, (uint8_t), LAND)
JOIN(bool_lor, uint8_t, uint8_t, SAME, (uint8_t), LOR)
JOIN(bool_lxor, uint8_t, uint8_t, SAME, (uint8_t), LXOR)

#define ROW(NAME, name, T)                                                                                             \
    [YJ_##NAME] = {[YJ_SUM] = ISA(name##_sum), [YJ_PROD] = ISA(name##_prod), [YJ_MIN] = ISA(name##_min),               \
                   [YJ_MAX] = ISA(name##_max), [YJ_AVG] = ISA(name##_sum),   [YJ_LAND] = ISA(name##_land),             \
                   [YJ_LOR] = ISA(name##_lor), [YJ_LXOR] = ISA(name##_lxor), T}
#define BITS(name) [YJ_BAND] = ISA(name##_band), [YJ_BOR] = ISA(name##_bor), [YJ_BXOR] = ISA(name##_bxor)
#define SCALES(NAME, name) [YJ_##NAME] = ISA(name##_scale)

static const struct reduce_table ISA(table) = {
    sizeof(struct reduce_table),
    REDUCE_VERSION,
    ISA_NAME,
    {ROW(F32, f32, ), ROW(F64, f64, ), ROW(F16, f16, ), ROW(BF16, bf16, ), ROW(E4M3, e4m3, ), ROW(E5M2, e5m2, ),
     ROW(I8, i8, BITS(i8)), ROW(I16, i16, BITS(i16)), ROW(I32, i32, BITS(i32)), ROW(I64, i64, BITS(i64)),
     ROW(U8, u8, BITS(u8)), ROW(U16, u16, BITS(u16)), ROW(U32, u32, BITS(u32)), ROW(U64, u64, BITS(u64)),
     [YJ_BOOL] = {[YJ_MIN] = ISA(bool_land),
                  [YJ_MAX] = ISA(bool_lor),
                  [YJ_BAND] = ISA(bool_land),
                  [YJ_BOR] = ISA(bool_lor),
                  [YJ_BXOR] = ISA(bool_lxor),
                  [YJ_LAND] = ISA(bool_land),
                  [YJ_LOR] = ISA(bool_lor),
                  [YJ_LXOR] = ISA(bool_lxor)}},
    {SCALES(F32, f32), SCALES(F64, f64), SCALES(F16, f16), SCALES(BF16, bf16), SCALES(E4M3, e4m3), SCALES(E5M2, e5m2),
     SCALES(I8, i8), SCALES(I16, i16), SCALES(I32, i32), SCALES(I64, i64), SCALES(U8, u8), SCALES(U16, u16),
     SCALES(U32, u32), SCALES(U64, u64)},
};

#undef JOIN
#undef SCALE
#undef FLOAT
#undef INTEGER
#undef ADD
#undef MUL
#undef WRAP_ADD
#undef WRAP_MUL
#undef LESSER
#undef GREATER
#undef BAND
#undef BOR
#undef BXOR
#undef LAND
#undef LOR
#undef LXOR
#undef SAME
#undef ROW
#undef BITS
#undef SCALES

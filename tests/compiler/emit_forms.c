/* SPDX-License-Identifier: Apache-2.0
 *
 * The forms of statements that vectors make difficult: strides, gathers, steps, edges of every shape, masks from data,
 * private registers, checks, reductions, tiles of odd sizes and all operand types. On every chip, as vector code and as
 * the scalar fall-back, against kernel_eval.
 */
#include "tests/compiler/chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LOOP(axis, body) "tile t = 0 .. (N + 31) / 32 { vector " axis " { " body " } }\n"

static const struct {
    struct kernel_case c;
    const char *text;
} forms[] = {
    {{"strides", -1, {{40, 37}, {1, 1}, {5, 64}, {33, 3}}},
     "kernel strides(M in 1.., N in 1..)\n in x f32 [M, N]\n out y f32 [N, M]\n out z f32 [M, N]\n{\n"
     " tile t = 0 .. (N + 31) / 32 { serial i = 0 .. M { vector j = 0 .. 32 { if lt(t * 32 + j, N) {\n"
     "  y[t * 32 + j, i] = x[i, t * 32 + j]\n  z[M - 1 - i, N - 1 - (t * 32 + j)] = mul(x[i, t * 32 + j], 2.0)\n } } } "
     "} }\n"},
    {{"modulo", -1, {{100}, {1}, {64}, {31}}},
     "kernel modulo(N in 1..)\n in x f32 [N]\n out y f32 [N]\n out w i64 [N]\n{\n" LOOP(
         "j = 0 .. 32", "if lt(t * 32 + j, N) { y[t * 32 + j] = x[(t * 32 + j) * 7 % N]\n w[t * 32 + j] = (t * 32 + j) "
                        "/ 3 - max(j, t) }") "}\n"},
    {{"steps", -1, {{100}, {1}, {64}, {63}}},
     "kernel steps(N in 1..)\n in x i32 [N]\n inout y i32 [N]\n{\n" LOOP(
         "j = 1 .. 11", "if lt(t * 32 + 3 * j, N) { y[t * 32 + 3 * j] = add(x[t * 32 + 3 * j], 5:i32) }") "}\n"},
    {{"long", -1, {{3000}, {1}, {4096}, {31}}},
     "kernel long(N in 1..)\n in x f64 [N]\n inout y f64 [N]\n{\n tile t = 0 .. (N + 999) / 1000 { vector j = 0 .. "
     "1000 {\n"
     "  if lt(t * 1000 + j, N) { y[t * 1000 + j] = fma(x[t * 1000 + j], y[t * 1000 + j], 1.0:f64) } } }\n}\n"},
    {{"window", -1, {{100, 5}, {1, 1}, {64, 40}, {31, 2}}},
     "kernel window(N in 1.., P in 0..)\n in x f32 [N]\n inout y f32 [N + 2*P]\n{\n tile t = 0 .. (N + 2 * P + 15) / "
     "16 {\n"
     "  vector j = 0 .. 16 { if lt(t * 16 + j, N + 2 * P) {\n   let a = ge(t * 16 + j, P)\n   y[t * 16 + j] = add(y[t "
     "* 16 + j], 1.0)\n"
     "   if and(ge(t * 16 + j, P), lt(t * 16 + j, N + P)) { y[t * 16 + j] = select(a, x[t * 16 + j - P], 7.0) } } } "
     "}\n}\n"},
    {{"conditions", -1, {{100, 3}, {1, 0}, {64, 64}, {31, 40}}},
     "kernel conditions(N in 1.., Q in 0..)\n in x f32 [N]\n in s i8 [N]\n inout y f32 [N]\n inout b bool [N]\n{\n"
     " tile t = 0 .. (N + 31) / 32 { vector j = 0 .. 32 { if lt(t * 32 + j, N) {\n"
     "  if gt(x[t * 32 + j], 0.0) { y[t * 32 + j] = sqrt(x[t * 32 + j])\n   if and(lt(s[t * 32 + j], 0:i8), lt(j, Q)) "
     "{\n"
     "    y[t * 32 + j] = x[0]\n    b[t * 32 + j] = not(b[t * 32 + j]) } }\n  if lt(Q, t) { b[t * 32 + j] = true } } } "
     "}\n}\n"},
    {{"indirect", 1, {{100, 17}, {1, 1}, {64, 64}, {31, 3}}},
     "kernel indirect(N in 1.., V in 1..)\n in i i64 [N]\n in x f32 [V, 3]\n inout y f32 [N, 2]\n{\n" LOOP(
         "j = 0 .. 32", "if lt(t * 32 + j, N) { let k = i[t * 32 + j]\n y[t * 32 + j, 1] = add(x[k, 2], x[min(V - 1, "
                        "j), 0]) }") "}\n"},
    {{"rows", 1, {{10, 7, 37}, {1, 1, 1}, {3, 100, 64}, {4, 2, 31}}},
     "kernel rows(N in 1.., V in 1.., D in 1..)\n in i i64 [N]\n in x f32 [V, 2, D]\n inout y f32 [N, D]\n{\n"
     " tile n = 0 .. N { let row = i[n]\n serial d = 0 .. (D + 31) / 32 { vector j = 0 .. 32 { if lt(d * 32 + j, D) {\n"
     "  y[n, d * 32 + j] = add(x[row, 1, d * 32 + j], x[sub(sub(V, 1), row), 0, D - 1 - d * 32 - j]) } } } }\n}\n"},
    {{"private", -1, {{100}, {1}, {64}, {31}}},
     "kernel private(N in 1..)\n in x f32 [N]\n out y f32 [N]\n{\n"
     " tile t = 0 .. (N + 31) / 32 { vector j = 0 .. 32 { if lt(t * 32 + j, N) {\n  reg p f32 [4, 2]\n"
     "  serial k = 0 .. 4 { unroll q = 0 .. 2 { p[k, q] = mul(x[t * 32 + j], cast.f32(k + q)) } }\n"
     "  let n = cast.i64(abs(mul(x[t * 32 + j], 1.9)))\n  y[t * 32 + j] = add(p[3, 1], p[max(0, 2 - t % 3), (t + 1) % "
     "2]) } } }\n}\n"},
    {{"checks", -1, {{100}, {1}, {64}, {31}}},
     "kernel checks(N in 1..)\n in x i32 [N]\n out y i32 [N]\n{\n" LOOP(
         "j = 0 .. 32",
         "if lt(t * 32 + j, N) { y[t * 32 + j] = x[t * 32 + j]\n check lt(t * 32 + j, 70) fault 1 70\n } ") "}\n"},
    {{"check_once", -1, {{100}, {1}, {64}, {31}}},
     "kernel check_once(N in 1..)\n in x i32 [N]\n out y i32 [N]\n{\n" LOOP(
         "j = 0 .. 32", "if lt(t * 32 + j, N) { y[t * 32 + j] = x[t * 32 + j]\n check ne(t * 32 + j, 67) fault 2 t * "
                        "1000 + j\n } ") "}\n"},
    {{"reduces", -1, {{100, 3}, {1, 1}, {64, 0}, {31, 33}}},
     "kernel reduces(N in 1.., M in 0..)\n in x f32 [N, M]\n in h i16 [N, M]\n out y f32 [4, N]\n out w i16 [5, N]\n "
     "out b bool [N]\n{\n"
     " tile n = 0 .. N {\n  reduce s = add(i = 0 .. M lanes 32) x[n, i]\n  reduce p = mul(i = 0 .. M lanes 1) x[n, i]\n"
     "  reduce a = min(i = 0 .. M lanes 32) x[n, i]\n  reduce z = max(i = 0 .. M lanes 32) abs(x[n, i])\n"
     "  reduce hs = add(i = 0 .. M lanes 32) h[n, i]\n  reduce hp = mul(i = 0 .. M lanes 32) h[n, i]\n  reduce ha = "
     "min(i = 0 .. M lanes 1) h[n, i]\n"
     "  reduce hz = max(i = 0 .. M lanes 32) h[n, i]\n  reduce ho = or(i = 0 .. M lanes 32) h[n, i]\n  reduce q = "
     "and(i = 0 .. M lanes 32) gt(x[n, i], -1.5)\n"
     "  y[0, n] = s\n  y[1, n] = p\n  y[2, n] = a\n  y[3, n] = z\n  w[0, n] = hs\n  w[1, n] = hp\n  w[2, n] = ha\n  "
     "w[3, n] = hz\n  w[4, n] = ho\n  b[n] = q\n } }\n"},
    {{"columns", -1, {{100, 3}, {1, 1}, {64, 0}, {31, 40}}},
     "kernel columns(N in 1.., M in 0..)\n in x f32 [M, N]\n out y f32 [N]\n out m f32 [N]\n{\n" LOOP(
         "j = 0 .. 32", "if lt(t * 32 + j, N) { reduce s = add(i = 0 .. M lanes 32) x[i, t * 32 + j]\n reduce r = "
                        "max(i = 0 .. M lanes 1) x[i, t * 32 + j]\n"
                        " y[t * 32 + j] = s\n m[t * 32 + j] = r }") "}\n"},
    {{"boxes", -1, {{20, 33}, {1, 1}, {16, 64}, {3, 100}}},
     "kernel boxes(M in 1.., N in 1..)\n in x u8 [M, N]\n inout y u8 [M, N]\n{\n tile m = 0 .. (M + 3) / 4 { tile n = "
     "0 .. (N + 39) / 40 {\n"
     "  shared s u8 [6, 42]\n  copy 3 s[0, 0] = x[m * 4 - 1, n * 40 - 1] [6, 42]\n  wait 3\n"
     "  serial i = 0 .. 4 { serial j = 0 .. 40 { if and(lt(m * 4 + i, M), lt(n * 40 + j, N)) {\n"
     "   y[m * 4 + i, n * 40 + j] = add(add(s[i, j + 1], s[i + 2, j + 1]), add(s[i + 1, j], s[i + 1, j + 2])) } } } } "
     "}\n}\n"},
    {{"tile_memory", -1, {{5}, {1}, {64}, {3}}},
     "kernel tile_memory(K in 1..)\n in a f64 [5, K]\n in b f64 [K, 13]\n inout c f64 [5, 13]\n{\n"
     " serial k = 0 .. K { fma_tile i:5 j:13 k0:1 c[i, j] += a[i, k + k0] * b[k + k0, j] }\n}\n"},
    {{"tile_across", -1, {{5}, {1}, {64}, {3}}},
     "kernel tile_across(K in 1..)\n in a f32 [K, 24]\n in b f32 [K, 3]\n inout c f32 [3, 24]\n{\n"
     " serial k = 0 .. K { fma_tile i:24 j:3 k0:1 c[j, i] += a[k + k0, i] * b[k + k0, j] }\n}\n"},
    {{"tile_odd", -1, {{5}, {1}, {64}, {3}}},
     "kernel tile_odd(K in 1..)\n in a f32 [7, 3, K]\n in b f32 [12, K, 3]\n inout c f32 [7, 12, 2]\n{\n"
     " serial k = 0 .. K { fma_tile i:7 j:12 k0:3 c[i, j, 1] += a[i, k0, k] * b[j, k, k0] }\n}\n"},
    {{"tile_long", -1, {{2}, {1}, {2}, {1}}},
     "kernel tile_long(B in 1..)\n in a f32 [B, 40, 90]\n in b f32 [B, 90, 33]\n inout c f32 [B, 40, 33]\n{\n"
     " tile t = 0 .. B { fma_tile i:40 j:33 k:90 c[t, i, j] += a[t, i, k] * b[t, k, j] }\n}\n"},
    {{"tile_i8", -1, {{5}, {1}, {64}, {3}}},
     "kernel tile_i8(K in 1..)\n in a i8 [6, K * 4]\n in b i8 [K, 24, 4]\n in u u8 [K, 24, 4]\n inout c i32 [6, 24]\n "
     "inout d i32 [6, 24]\n{\n"
     " reg p i32 [6, 24]\n reg q i32 [6, 24]\n unroll i = 0 .. 6 { vector j = 0 .. 24 { p[i, j] = c[i, j]\n q[i, j] = "
     "d[i, j] } }\n"
     " serial k = 0 .. K { fma_tile i:6 j:24 k0:4 p[i, j] += a[i, k * 4 + k0] * b[k, j, k0]\n"
     "  fma_tile i:6 j:24 k0:4 q[i, j] += a[i, k * 4 + k0] * u[k, j, k0] }\n"
     " unroll i = 0 .. 6 { vector j = 0 .. 24 { c[i, j] = p[i, j]\n d[i, j] = q[i, j] } }\n}\n"},
    {{"tile_u8", -1, {{5}, {1}, {64}, {3}}},
     "kernel tile_u8(K in 1..)\n in a u8 [3, K, 4]\n in b u8 [K, 16, 4]\n in h f16 [K, 16, 2]\n in g f16 [3, K, 2]\n "
     "inout c i32 [3, 16]\n inout d f32 [3, 16]\n{\n"
     " serial k = 0 .. K { fma_tile i:3 j:16 k0:4 c[i, j] += a[i, k, k0] * b[k, j, k0]\n"
     "  fma_tile i:3 j:16 k1:2 d[i, j] += g[i, k, k1] * h[k, j, k1] }\n}\n"},
    {{"unrolled", -1, {{7}, {1}, {64}, {3}}},
     "kernel unrolled(N in 1..)\n in x f32 [N, 100]\n out y f32 [N, 100]\n{\n tile n = 0 .. N { reg r f32 [100]\n"
     "  unroll i = 0 .. 100 { r[i] = x[n, 99 - i] }\n  unroll p = 0 .. 10 { unroll q = 0 .. 10 { y[n, p * 10 + q] = "
     "r[p + 10 * q] } } }\n}\n"},
    {{"tiles3", -1, {{3, 4, 5}, {1, 1, 1}, {2, 0, 3}, {1, 7, 2}}},
     "kernel tiles3(A in 0.., B in 0.., C in 0..)\n in x i64 [A + 3, B, C]\n out y i64 [A + 3, B, C]\n{\n"
     " tile a = 2 .. A + 3 step 2 { tile b = 0 .. B { tile c = 0 .. C step 3 { serial i = 0 .. min(3, C - c) {\n"
     "  y[a, b, c + i] = add(x[a, b, c + i], a * 100 + b * 10 + i) } } } }\n}\n"},
};

static struct kernel *parse(struct arena *arena, int i) {
    struct kernel *k;
    if (kernel_parse(arena, forms[i].text, forms[i].c.name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
    return k;
}

static void forms_on_every_chip(void **state) {
    struct arena *arena = arena_open();
    struct kernel *kernels[COUNT(forms)];
    struct chips chips;
    int bad = 0, ran = 0, n = (int)COUNT(forms);
    for (int i = 0; i < n; i++)
        kernels[i] = parse(arena, i);
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct emulator *e = NULL;
        struct chip *chip = &chips.chip[c];
        if (chip->absent) continue;
        if (chip_open(chip, (const struct kernel *const *)kernels, n, &e) != YJ_OK && !chip->absent)
            fail_msg("%s", yj_error_text());
        for (int i = 0; i < n && !chip->absent; i++)
            for (int which = 0; which < 4; which++)
                bad += !chip_agrees(chip, e, &forms[i].c, kernels[i], which);
        ran += !chip->absent;
        emulate_close(e);
    }
    printf("%d kernels on %d chips\n", n, ran);
    arena_close(arena);
    if (ran == 0) skip();
    assert_int_equal(bad, 0);
}

/* What remains when no vector code can be made. */
static void scalar_code(void **state) {
    struct arena *arena = arena_open();
    struct chips chips;
    int bad = 0;
    chips_list(&chips);
    for (int c = 0; c < chips.n; c++) {
        struct chip *chip = &chips.chip[c];
        struct emit_options options = {.target = chip->target, .vector_bits = chip->bits, .scalar = true};
        if (strcmp(chip->target->name, "x86-64-v3") != 0 || chip->absent) continue;
        for (int i = 0; i < (int)COUNT(forms); i++) {
            struct kernel *k = parse(arena, i);
            struct link_object object;
            struct emulator *e;
            char *data, *library;
            size_t bytes;
            if (emit_llvm(&options, (const struct kernel *const *)&k, 1, EMIT_OBJECT, &data, &object.bytes) != YJ_OK)
                fail_msg("%s", yj_error_text());
            object.data = data;
            if (link_objects(1, &object, &library, &bytes) != YJ_OK) fail_msg("%s", yj_error_text());
            free(data);
            enum yj_status status = emulate_open(chip->target, chip->bits, library, bytes, &e);
            free(library);
            if (status != YJ_OK) {
                fprintf(stderr, "left out: %s\n", yj_error_text());
                break;
            }
            for (int which = 0; which < 4; which++)
                bad += !chip_agrees(chip, e, &forms[i].c, k, which);
            emulate_close(e);
        }
    }
    arena_close(arena);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms_on_every_chip), cmocka_unit_test(scalar_code)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A model.yj made by hand: kernels in C, compiled by the machine's compiler when the test runs, and plans in text. It
 * has a variant, scratch, weights, an index that may be out of range, a branch, a loop and a state that grows in place.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "runtime/base/cpu.h"
#include "runtime/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char sample_kernels[] =
    "typedef long long i64; typedef int i32;\n"
    "struct fault { i32 code, reserved; i64 value; };\n"
    "#define K(name) void name(void *const *b, const i64 *s, i64 t0, i64 t1, void *scratch, struct fault *f)\n"
    "static void blame(struct fault *f, i32 code, i64 value) {\n"
    "  i32 none = 0;\n"
    "  if (__atomic_compare_exchange_n(&f->code, &none, code, 0, 5, 5)) f->value = value;\n"
    "}\n"
    /* out[n, d] = x[n, d] * w[d] through scratch, a tile a row */
    "K(scale_n) { const float *x = b[0], *w = b[1]; float *o = b[2], *t = scratch; i64 D = s[1];\n"
    "  for (i64 n = t0; n < t1; n++) {\n"
    "    for (i64 d = 0; d < D; d++) t[d] = x[n * D + d];\n"
    "    for (i64 d = 0; d < D; d++) o[n * D + d] = t[d] * w[d];\n"
    "  } }\n"
    /* the same for one row, and a mark of 1000 that shows which variant ran */
    "K(scale_1) { const float *x = b[0], *w = b[1]; float *o = b[2];\n"
    "  for (i64 d = 0; d < s[1]; d++) o[d] = x[d] * w[d] + 1000; }\n"
    /* out[d] = sum over rows of x[index[n], d] */
    "K(pick) { const float *x = b[0]; const i64 *at = b[1]; float *o = b[2]; i64 N = s[0], D = s[1];\n"
    "  for (i64 d = t0; d < t1; d++) { o[d] = 0; for (i64 n = 0; n < N; n++) {\n"
    "    if (at[n] < 0 || at[n] >= N) { blame(f, 1, at[n]); return; }\n"
    "    o[d] += x[at[n] * D + d]; } } }\n"
    "K(add_one) { float *o = b[0]; for (i64 i = t0; i < t1; i++) o[i] += 1; }\n"
    "K(divide) { i64 *o = b[0]; if (s[0] == 0) { blame(f, 2, 7); return; } o[0] /= s[0]; }\n"
    /* kv[past + n, d] = x[n, d]; out[d] = sum over kv[0 .. past + N) */
    "K(append) { float *kv = b[0]; const float *x = b[1]; i64 P = s[0], N = s[1];\n"
    "  for (i64 i = 0; i < N * 4; i++) kv[P * 4 + i] = x[i]; }\n"
    "K(total) { const float *kv = b[0]; float *o = b[1]; i64 n = s[0];\n"
    "  for (i64 d = t0; d < t1; d++) { o[d] = 0; for (i64 i = 0; i < n; i++) o[d] += kv[i * 4 + d]; } }\n";

/* y = x * w; picked = sum of chosen rows of y, plus 1 added `times[0]` times if times[1]; both weights lie in one file.
 */
static const char sample_plan[] = "plan 1\n"
                                  "node 1 \"Scale_1 (Mul)\"\n"
                                  "node 2 \"Gather_2 (Gather)\"\n"
                                  "node 5 \"Loop_5 (Loop)\"\n"
                                  "dim N 1..100000 input\n"
                                  "dim D 1..64 input\n"
                                  "dim k 0..50 born\n"
                                  "dim on 0..1 born\n"
                                  "dim i 0..50 born\n"
                                  "kernel scale(N 1..inf, D 1..inf) in in out {\n"
                                  "  scale_1 tiles 1 scratch 0 ns 100 when 1 <= N <= 1\n"
                                  "  scale_n tiles N scratch D*4 ns 0\n"
                                  "}\n"
                                  "kernel pick(N 1..inf, D 1..inf) in in out {\n"
                                  "  pick tiles D scratch 0 ns 0\n"
                                  "}\n"
                                  "kernel add_one(D 0..inf) inout {\n"
                                  "  add_one tiles D scratch 0 ns D*2\n"
                                  "}\n"
                                  "%0 \"x\" f32 host input bytes D*N*4\n"
                                  "%1 \"index\" i64 host input bytes N*8\n"
                                  "%2 \"times\" i64 host input bytes 16\n"
                                  "%3 \"w\" f32 host weight bytes 256 file 0 at AT_W\n"
                                  "%4 \"y\" f32 host temp bytes D*N*4 live #0 0..4\n"
                                  "%5 \"picked\" f32 host temp bytes D*4 live #0 1..4\n"
                                  "%6 \"y2\" f32 host alias %4 at 0 bytes D*N*4\n"
                                  "%7 \"tail\" f32 host temp bytes D*4 live #0 4..4\n"
                                  "input \"x\" %0 f32 [N, D]\n"
                                  "input \"index\" %1 i64 [N]\n"
                                  "input \"times\" %2 i64 [2]\n"
                                  "output \"y\" %6 f32 [N, D]\n"
                                  "output \"picked\" %5 f32 [D]\n"
                                  "output \"w\" %3 f32 [64]\n"
                                  "output \"k\" %2 i64 [k + 1]\n"
                                  "block #0 \"main\" {\n"
                                  "  0 q0 launch scale(%0, %3, %4)[N, D] @1\n"
                                  "  1 q0 launch pick(%4, %1, %5)[N, D] @2\n"
                                  "  2 q0 bind %2 i64 k, on @5\n"
                                  "  3 q0 branch on #1 none\n"
                                  "  4 q0 copy %7 at 0 = %5 at 0 bytes D*4\n"
                                  "}\n"
                                  "block #1 \"then\" {\n"
                                  "  0 q0 call #2 index i trips k while 1 - i / 40 @5\n"
                                  "}\n"
                                  "block #2 \"body\" {\n"
                                  "  0 q0 launch add_one(%5)[D]\n"
                                  "}\n";

static const char sample_decoder[] = "plan 1\n"
                                     "node 9 \"Attention_9 (GroupQueryAttention)\"\n"
                                     "dim S 1..16 input\n"
                                     "dim past 0..64 state\n"
                                     "kernel append(P 0..inf, S 0..inf) inout in {\n"
                                     "  append tiles 1 scratch 0 ns 100\n"
                                     "}\n"
                                     "kernel total(n 0..inf) in out {\n"
                                     "  total tiles 4 scratch 0 ns n*100000\n"
                                     "}\n"
                                     "%0 \"x\" f32 host input bytes S*16\n"
                                     "%1 \"kv\" f32 host state bytes 1024\n"
                                     "%2 \"sum\" f32 host temp bytes 16 live #0 1..1\n"
                                     "input \"x\" %0 f32 [S, 4]\n"
                                     "output \"sum\" %2 f32 [4]\n"
                                     "state \"past.0\" \"present.0\" %1 f32 [past, 4] -> [S + past, 4] in [64, 4]\n"
                                     "block #0 \"main\" {\n"
                                     "  0 q0 launch append(%1, %0)[past, S] @9\n"
                                     "  1 q0 launch total(%1, %2)[S + past] @9\n"
                                     "}\n";

static inline bool sample_compile(const char *folder, const char *source, char *so, size_t room) {
    char path[512], command[1600];
    snprintf(path, sizeof path, "%s/kernels.c", folder);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fputs(source, f);
    fclose(f);
    snprintf(so, room, "%s/kernels.so", folder);
    snprintf(command, sizeof command, "cc -O1 -w -shared -fPIC -ffreestanding -ffp-contract=off -o %s %s", so, path);
    return system(command) == 0;
}

static inline enum yj_status sample_fill(void *user, int index, int64_t from, int64_t bytes, void *out) {
    float *to = out; /* tensor 0: w[i] = i + 0.5, tensor 1: ten bytes of 7 */
    if (index == 1) memset(out, 7, (size_t)bytes);
    for (int64_t i = 0; index == 0 && i < bytes / 4; i++)
        to[i] = (float)(from / 4 + i) + 0.5f;
    return YJ_OK;
}

static const char *sample_arch; /* what the program says it is for; NULL: this machine */

/* Writes PATH with a program of PLAN (AT_W is replaced) whose kernels are the file SO. */
static inline enum yj_status sample_write(const char *path, const char *plan, const char *so) {
    struct safetensor tensors[] = {{.name = "odd", .dtype = YJ_U8, .rank = 1, .shape = {10}},
                                   {.name = "w", .dtype = YJ_F32, .rank = 1, .shape = {64}}};
    struct safetensor order[] = {
        tensors[1], tensors[0], {.name = "w.again", .dtype = YJ_F32, .rank = 2, .shape = {8, 8}}};
    const char *weights[] = {"weights.safetensors"};
    struct manifest_program program = {.name = "host",
                                       .target = "host",
                                       .minimum = "",
                                       .ranks = 1,
                                       .plan = "host.plan",
                                       .kernels = "host.so",
                                       .n_weights = 1,
                                       .weights = weights};
    struct manifest m = {.name = "sample", .n_programs = 1, .programs = &program};
    char triple[64], *kernels, text[8192], at[32];
    size_t n;
    snprintf(triple, sizeof triple, "%s-unknown-linux-gnu", sample_arch ? sample_arch : cpu_arch());
    program.triple = triple;
    struct model_writer *w;
    TRY(file_read(so, &kernels, &n));
    enum yj_status status = model_create(path, &w);
    if (status != YJ_OK) {
        free(kernels);
        return status;
    }
    status = model_add_weights(w, "weights.safetensors", order, 3, sample_fill, NULL);
    if (status == YJ_OK) status = model_add(w, "host.so", kernels, n);
    free(kernels);
    const char *mark = strstr(plan, "AT_W");
    snprintf(at, sizeof at, "%lld", (long long)order[0].at);
    if (mark)
        snprintf(text, sizeof text, "%.*s%s%s", (int)(mark - plan), plan, at, mark + 4);
    else
        snprintf(text, sizeof text, "%s", plan);
    if (status == YJ_OK) status = model_add(w, "host.plan", text, strlen(text));
    if (status != YJ_OK) {
        model_abandon(w);
        return status;
    }
    struct arena *arena = arena_open();
    struct plan *p;
    status = plan_parse(arena, text, "sample", &p);
    if (status == YJ_OK) {
        m.plan = p;
        status = model_finish(w, &m);
    } else {
        model_abandon(w);
    }
    arena_close(arena);
    return status;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Times one group of ops as the compiler makes it: lowered, tiled, emitted by LLVM, linked, run by THREADS threads that
 * take tiles from a counter. Beside it, in turn: OpenBLAS for matrix products, and the peak of fused multiply-adds of
 * this core. bench-group [-t THREADS] [-a TARGET] [-r RUNS] [-p] [CASE..]      -p prints the tiled kernel, -s its
 * assembly
 */
#include "compiler/emit.h"
#include "compiler/link.h"
#include "compiler/lower.h"
#include "ir/graph.h"
#include <yunjin/compiler.h>

#include "bench/peak.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct bench {
    const char *name, *text;
    double flops, bytes;
    int m, n, k;
};

#define GEMM(n)                                                                                                        \
    "graph g(a f32 [" #n ", " #n "], b f32 [" #n ", " #n                                                               \
    "] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] return %y }"
#define GEMM_PLAIN(n)                                                                                                  \
    "graph g(a f32 [" #n ", " #n "], b f32 [" #n ", " #n                                                               \
    "]) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] return %y }"
#define GEMM3(m, n, k)                                                                                                 \
    "graph g(a f32 [" #m ", " #k "], b f32 [" #k ", " #n                                                               \
    "] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] return %y }",                \
        2.0 * m *n *k, 0, m, n, k
static const struct bench benches[] = {
    {"shallow", GEMM3(1024, 1024, 256)},
    {"narrow", GEMM3(1024, 256, 1024)},
    {"flat", GEMM3(264, 1024, 1024)},
    {"gemm512", GEMM(512), 2.0 * 512 * 512 * 512, 0, 512, 512, 512},
    {"gemm1024", GEMM(1024), 2.0 * 1024 * 1024 * 1024, 0, 1024, 1024, 1024},
    {"gemm2048", GEMM(2048), 2.0 * 2048 * 2048 * 2048, 0, 2048, 2048, 2048},
    {"small",
     "graph g(a f32 [96, 256], b f32 [256, 128] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] return %y }",
     2.0 * 96 * 256 * 128, 0, 96, 128, 256},
    {"middle",
     "graph g(a f32 [240, 256], b f32 [256, 256] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] return %y }",
     2.0 * 240 * 256 * 256, 0, 240, 256, 256},
    {"plain512", GEMM_PLAIN(512), 2.0 * 512 * 512 * 512, 0, 512, 512, 512},
    {"plain1024", GEMM_PLAIN(1024), 2.0 * 1024 * 1024 * 1024, 0, 1024, 1024, 1024},
    {"symbolic1024",
     "graph g(M in 1.., a f32 [M, 1024], b f32 [1024, 1024] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] "
     "contract_a=[1] contract_b=[0] return %y }",
     2.0 * 1024 * 1024 * 1024, 0, 1024, 1024, 1024},
    {"mlp128",
     "graph g(a f32 [128, 1024], b f32 [1024, 3072] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] "
     "contract_a=[1] contract_b=[0] return %y }",
     2.0 * 128 * 1024 * 3072, 0, 128, 3072, 1024},
    {"gemv1024",
     "graph g(a f32 [1, 1024], b f32 [1024, 1024] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] return %y }",
     2.0 * 1024 * 1024, 4.0 * 1024 * 1024, 1, 1024, 1024},
    {"gemv3072",
     "graph g(a f32 [1, 1024], b f32 [1024, 30720] format(@P)) { %y = dot(%a, %b) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[0] return %y }",
     2.0 * 1024 * 30720, 4.0 * 1024 * 30720, 1, 30720, 1024},
    {"conv3x3",
     "graph g(x f32 [1, 64, 56, 56] layout(0,2,3,1), w f32 [64, 64, 3, 3] layout(2,3,1,0) format(@P)) { %y = "
     "convolution(%x, %w) strides=[1, 1] low=[1, 1] high=[1, 1] dilation=[1, 1] groups=1 : f32 [1, 64, 56, 56] "
     "layout(0,2,3,1) return %y }",
     2.0 * 64 * 64 * 9 * 56 * 56, 0, 0, 0, 0},
    {"conv3x3_nchw",
     "graph g(x f32 [1, 64, 56, 56], w f32 [64, 64, 3, 3]) { %y = convolution(%x, %w) strides=[1, 1] low=[1, 1] "
     "high=[1, 1] dilation=[1, 1] groups=1 return %y }",
     2.0 * 64 * 64 * 9 * 56 * 56, 0, 0, 0, 0},
    {"conv3x3_7",
     "graph g(x f32 [1, 512, 7, 7] layout(0,2,3,1), w f32 [512, 512, 3, 3] layout(2,3,1,0) format(@P)) { %y = "
     "convolution(%x, %w) strides=[1, 1] low=[1, 1] high=[1, 1] dilation=[1, 1] groups=1 : f32 [1, 512, 7, 7] "
     "layout(0,2,3,1) return %y }",
     2.0 * 512 * 512 * 9 * 49, 0, 0, 0, 0},
    {"conv1x1",
     "graph g(x f32 [1, 64, 56, 56] layout(0,2,3,1), w f32 [256, 64, 1, 1] layout(2,3,1,0) format(@P)) { %y = "
     "convolution(%x, %w) strides=[1, 1] low=[0, 0] high=[0, 0] dilation=[1, 1] groups=1 : f32 [1, 256, 56, 56] "
     "layout(0,2,3,1) return %y }",
     2.0 * 64 * 256 * 56 * 56, 0, 0, 0, 0},
    {"conv1x1s2",
     "graph g(x f32 [1, 256, 56, 56] layout(0,2,3,1), w f32 [128, 256, 1, 1] layout(2,3,1,0) format(@P)) { %y = "
     "convolution(%x, %w) strides=[2, 2] low=[0, 0] high=[0, 0] dilation=[1, 1] groups=1 : f32 [1, 128, 28, 28] "
     "layout(0,2,3,1) return %y }",
     2.0 * 256 * 128 * 28 * 28, 0, 0, 0, 0},
    {"conv7x7",
     "graph g(x f32 [1, 3, 224, 224] layout(0,2,3,1), w f32 [64, 3, 7, 7] layout(2,3,1,0) format(@P)) { %y = "
     "convolution(%x, %w) strides=[2, 2] low=[3, 3] high=[3, 3] dilation=[1, 1] groups=1 : f32 [1, 64, 112, 112] "
     "layout(0,2,3,1) return %y }",
     2.0 * 3 * 49 * 64 * 112 * 112, 0, 0, 0, 0},
    {"depthwise",
     "graph g(x f32 [1, 192, 56, 56] layout(0,2,3,1), w f32 [192, 1, 3, 3] layout(2,3,1,0)) { %y = convolution(%x, %w) "
     "strides=[1, 1] low=[1, 1] high=[1, 1] dilation=[1, 1] groups=192 : f32 [1, 192, 56, 56] layout(0,2,3,1) return "
     "%y }",
     2.0 * 192 * 9 * 56 * 56, 2.0 * 4 * 192 * 56 * 56, 0, 0, 0},
    {"depthwise_nchw",
     "graph g(x f32 [1, 192, 56, 56], w f32 [192, 1, 3, 3]) { %y = convolution(%x, %w) strides=[1, 1] low=[1, 1] "
     "high=[1, 1] dilation=[1, 1] groups=192 return %y }",
     2.0 * 192 * 9 * 56 * 56, 2.0 * 4 * 192 * 56 * 56, 0, 0, 0},
    {"maxpool",
     "graph g(x f32 [1, 64, 112, 112] layout(0,2,3,1)) { %y = reduce_window(%x) window=[1, 1, 3, 3] strides=[1, 1, 2, "
     "2] low=[0, 0, 1, 1] high=[0, 0, 1, 1] dilation=[1, 1, 1, 1] kind=max : f32 [1, 64, 56, 56] layout(0,2,3,1) "
     "return %y }",
     0, 4.0 * 64 * 112 * 112, 0, 0, 0},
    {"average", "graph g(x f32 [1, 2048, 7, 7] layout(0,2,3,1)) { %y = reduce(%x) axes=[2, 3] kind=add return %y }", 0,
     4.0 * 2048 * 49, 0, 0, 0},
    {"softmax",
     "graph g(x f32 [1024, 1024]) { %m = reduce(%x) axes=[1] kind=max %b = broadcast(%m) shape=[1024, 1024] axes=[0] "
     "%d = sub(%x, %b) %e = exp(%d)\n"
     " %s = reduce(%e) axes=[1] kind=add %t = broadcast(%s) shape=[1024, 1024] axes=[0] %y = div(%e, %t) return %y }",
     0, 8.0 * 1024 * 1024, 0, 0, 0},
    {"softmax_n",
     "graph g(N in 1.., M in 1.., x f32 [N, M]) { %m = reduce(%x) axes=[1] kind=max %b = broadcast(%m) shape=[N, M] "
     "axes=[0] %d = sub(%x, %b) %e = exp(%d)\n"
     " %s = reduce(%e) axes=[1] kind=add %o = constant f32 [] {1} %ob = broadcast(%o) shape=[N] axes=[] %q = div(%ob, "
     "%s) %t = broadcast(%q) shape=[N, M] axes=[0] %y = mul(%e, %t) return %y }",
     0, 8.0 * 1024 * 1024, 0, 0, 0},
    {"layernorm",
     "graph g(x f32 [1024, 1024], w f32 [1024], b f32 [1024]) { %n0 = constant f32 [] {1024} %n = broadcast(%n0) "
     "shape=[1024] axes=[] %s = reduce(%x) axes=[1] kind=add %u = div(%s, %n) %ub = broadcast(%u) shape=[1024, 1024] "
     "axes=[0]\n"
     " %d = sub(%x, %ub) %q = mul(%d, %d) %v = reduce(%q) axes=[1] kind=add %vn = div(%v, %n) %e0 = constant f32 [] "
     "{1e-5} %e = broadcast(%e0) shape=[1024] axes=[] %ve = add(%vn, %e) %r = sqrt(%ve)\n"
     " %rb = broadcast(%r) shape=[1024, 1024] axes=[0] %z = div(%d, %rb) %wb = broadcast(%w) shape=[1024, 1024] "
     "axes=[1] %bb = broadcast(%b) shape=[1024, 1024] axes=[1] %zw = mul(%z, %wb) %y = add(%zw, %bb) return %y }",
     0, 8.0 * 1024 * 1024, 0, 0, 0},
    {"add", "graph g(x f32 [1024, 1024], y f32 [1024, 1024]) { %z = add(%x, %y) return %z }", 0, 12.0 * 1024 * 1024, 0,
     0, 0},
    {"gelu",
     "graph g(x f32 [1024, 1024]) { %r0 = constant f32 [] {0.70710677} %r = broadcast(%r0) shape=[1024, 1024] axes=[] "
     "%h0 = constant f32 [] {0.5} %h = broadcast(%h0) shape=[1024, 1024] axes=[] %o0 = constant f32 [] {1} %o = "
     "broadcast(%o0) shape=[1024, 1024] axes=[]\n"
     " %a = mul(%x, %r) %e = erf(%a) %p = add(%e, %o) %m = mul(%x, %p) %y = mul(%m, %h) return %y }",
     0, 8.0 * 1024 * 1024, 0, 0, 0},
    {"transpose", "graph g(x f32 [1024, 1024]) { %y = transpose(%x) permutation=[1, 0] %n = neg(%y) return %n }", 0,
     8.0 * 1024 * 1024, 0, 0, 0},
    {"heads",
     "graph g(x f32 [1, 512, 1024]) { %r = reshape(%x) shape=[1, 512, 16, 64] %t = transpose(%r) permutation=[0, 2, 1, "
     "3] %n = neg(%t) return %n }",
     0, 8.0 * 512 * 1024, 0, 0, 0},
    {"rope",
     "graph g(x f32 [16, 128, 128], c f32 [128, 128], s f32 [128, 128]) { %a = slice(%x) start=[0, 0, 0] limit=[16, "
     "128, 64] stride=[1, 1, 1] %b = slice(%x) start=[0, 0, 64] limit=[16, 128, 128] stride=[1, 1, 1]\n"
     " %n = neg(%b) %r = concat(%n, %a) axis=2 %cb = broadcast(%c) shape=[16, 128, 128] axes=[1, 2] %sb = "
     "broadcast(%s) shape=[16, 128, 128] axes=[1, 2] %p = mul(%x, %cb) %q = mul(%r, %sb) %y = add(%p, %q) return %y }",
     0, 8.0 * 16 * 128 * 128, 0, 0, 0},
    {"scores",
     "graph g(q f32 [16, 128, 128], k f32 [8, 128, 128]) { %r = reshape(%k) shape=[8, 1, 128, 128] %e = broadcast(%r) "
     "shape=[8, 2, 128, 128] axes=[0, 1, 2, 3] %f = reshape(%e) shape=[16, 128, 128] %t = transpose(%f) "
     "permutation=[0, 2, 1]\n"
     " %y = dot(%q, %t) batch_a=[0] batch_b=[0] contract_a=[2] contract_b=[1] return %y }",
     2.0 * 16 * 128 * 128 * 128, 0, 0, 0, 0},
    {"values",
     "graph g(p f32 [16, 128, 128], v f32 [16, 128, 128]) { %y = dot(%p, %v) batch_a=[0] batch_b=[0] contract_a=[2] "
     "contract_b=[1] return %y }",
     2.0 * 16 * 128 * 128 * 128, 0, 0, 0, 0},
    {"decode_scores",
     "graph g(q f32 [16, 1, 128], k f32 [8, 513, 128]) { %r = reshape(%k) shape=[8, 1, 513, 128] %e = broadcast(%r) "
     "shape=[8, 2, 513, 128] axes=[0, 1, 2, 3] %f = reshape(%e) shape=[16, 513, 128] %t = transpose(%f) "
     "permutation=[0, 2, 1]\n"
     " %y = dot(%q, %t) batch_a=[0] batch_b=[0] contract_a=[2] contract_b=[1] return %y }",
     2.0 * 16 * 513 * 128, 4.0 * 8 * 513 * 128, 0, 0, 0},
    {"decode_values",
     "graph g(p f32 [16, 1, 513], v f32 [16, 513, 128]) { %y = dot(%p, %v) batch_a=[0] batch_b=[0] contract_a=[2] "
     "contract_b=[1] return %y }",
     2.0 * 16 * 513 * 128, 4.0 * 16 * 513 * 128, 0, 0, 0},
};

struct job {
    yj_kernel_fn *fn;
    void *buffer[8], *scratch[64];
    int64_t scalar[8], tiles;
    atomic_llong next;
    struct yj_fault fault;
};

static void *work(void *user) {
    struct job *j = ((void **)user)[0];
    void *scratch = ((void **)user)[1];
    for (long long t; (t = atomic_fetch_add(&j->next, 1)) < j->tiles;)
        j->fn(j->buffer, j->scalar, t, t + 1, scratch, &j->fault);
    return NULL;
}

static void run_once(struct job *j, int threads) {
    pthread_t id[64];
    void *args[64][2];
    atomic_store(&j->next, 0);
    if (threads == 1) {
        j->fn(j->buffer, j->scalar, 0, j->tiles, j->scratch[0], &j->fault);
        return;
    }
    for (int i = 0; i < threads; i++) {
        args[i][0] = j;
        args[i][1] = j->scratch[i];
        if (i) pthread_create(&id[i], NULL, work, args[i]);
    }
    work(args[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(id[i], NULL);
}

static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* --- what this core can do --- */

/* What one core reads from memory far beyond its caches. */
static double read_rate(void) {
    size_t n = (size_t)64 << 20;
    typedef float v8 __attribute__((vector_size(32)));
    v8 *data = aligned_alloc(64, n), sum = {0};
    memset(data, 1, n);
    double best = 0;
    for (int r = 0; r < 3; r++) {
        double from = cpu_now();
        for (size_t i = 0; i < n / sizeof *data; i += 4)
            sum += data[i] + data[i + 1] + data[i + 2] + data[i + 3];
        __asm__ volatile("" ::"m"(sum));
        double rate = (double)n / (cpu_now() - from);
        if (rate > best) best = rate;
    }
    free(data);
    return best / 1e9;
}

/* --- one case --- */

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, yj_error_text());
    exit(1);
}

static bool bind_dim(void *user, dim symbol, int64_t *value) {
    *value = 1024;
    return true;
}

static int64_t value_of(dim d) {
    int64_t v;
    if (dim_eval(d, bind_dim, NULL, &v) != YJ_OK) die("dim");
    return v;
}

static struct kernel *choose(struct kernel **variants, int n) {
    for (int i = 0; i < n - 1; i++) {
        bool holds = true;
        for (int g = 0; g < variants[i]->n_guards; g++) {
            const struct guard *q = &variants[i]->guards[g];
            int64_t v = value_of(q->value);
            holds &= v >= value_of(q->low) && v <= value_of(q->high);
        }
        if (holds) return variants[i];
    }
    return variants[n - 1];
}

static struct op *fused_of(struct arena *arena, struct graph *g) {
    struct op *op = NEW(arena, struct op);
    *op = (struct op){.kind = OP_fused, .graph = g, .n_in = g->n_in, .in = g->in, .n_out = g->n_out, .n_regions = 1};
    op->out = NEW_ARRAY(arena, struct value *, g->n_out);
    for (int i = 0; i < g->n_out; i++) {
        op->out[i] = NEW(arena, struct value);
        *op->out[i] = *g->out[i];
        op->out[i]->name = arena_text(arena, "%s_out", g->out[i]->name);
    }
    op->regions = NEW_ARRAY(arena, struct graph *, 1);
    op->regions[0] = g;
    return op;
}

typedef void sgemm_fn(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static yj_kernel_fn *load(const char *name, const char *object, size_t bytes) {
    char *library, path[] = "/tmp/bench-group-XXXXXX";
    size_t n;
    struct link_object o = {object, bytes};
    if (link_objects(1, &o, &library, &n) != YJ_OK) die("link");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, library, n) != (ssize_t)n) exit(1);
    close(fd);
    void *so = dlopen(path, RTLD_NOW);
    unlink(path);
    if (!so) die(dlerror());
    free(library);
    return (yj_kernel_fn *)dlsym(so, name);
}

struct settings {
    int threads, runs;
    bool print, assembly;
    const struct yj_target *target;
    sgemm_fn *sgemm;
    double peak;
};

static void time_case(const struct bench *b, const struct settings *set) {
    struct arena *arena = arena_open();
    struct graph *g;
    char *text = arena_text(arena, "%s", b->text), *at = strstr(text, "@P");
    if (at) {
        const char *format = format_of_target(set->target, YJ_F32);
        text = arena_text(arena, "%.*s%s%s", (int)(at - text), text, format ? format : "panel64", at + 2);
    }
    if (graph_parse(arena, text, b->name, &g) != YJ_OK) die(b->name);
    struct kernel *plain, *variants[TILE_MAX_VARIANTS];
    int n;
    if (lower_op(arena, fused_of(arena, g), b->name, NULL, &plain) != YJ_OK) die(b->name);
    if (tile_kernel(arena, plain, set->target, &n, variants) != YJ_OK) die(b->name);
    struct kernel *k = choose(variants, n);
    if (set->print) {
        struct text out = {0};
        kernel_print(&out, k);
        puts(out.data);
    }
    char *object;
    size_t bytes;
    struct emit_options options = {.target = set->target};
    const struct kernel *one = k;
    if (set->assembly) {
        if (emit_llvm(&options, &one, 1, EMIT_ASSEMBLY, &object, &bytes) != YJ_OK) die(b->name);
        puts(object);
    }
    double compile = time_now();
    if (emit_llvm(&options, &one, 1, EMIT_OBJECT, &object, &bytes) != YJ_OK) die(b->name);
    compile = time_now() - compile;
    struct job j = {.fn = load(k->name, object, bytes), .tiles = value_of(kernel_tile_count(k))};
    for (int i = 0; i < k->n_dims; i++)
        j.scalar[i] = 1024;
    for (int i = 0; i < set->threads; i++)
        j.scratch[i] = aligned_alloc(64, ((size_t)value_of(kernel_scratch_bytes(k)) + 127) & ~(size_t)63);
    for (struct buffer *a = k->args; a; a = a->next) {
        int64_t size = 1;
        for (int i = 0; i < a->rank; i++)
            size *= value_of(a->shape[i]);
        float *f = j.buffer[a->index] =
            aligned_alloc(2 << 20, ((size_t)size * 4 + 4096 + (2 << 20)) & ~(size_t)((2 << 20) - 1));
        if (getenv("YJ_HUGE")) madvise(f, (size_t)size * 4, MADV_HUGEPAGE);
        for (int64_t i = 0; i < size; i++)
            f[i] = (float)((i * 7919) % 1000) / 500 - 1;
    }
    double ours[1000], theirs[1000] = {0};
    for (int r = -2; r < set->runs; r++) {
        bool alone = set->threads == 1;
        double from = alone ? cpu_now() : time_now();
        run_once(&j, set->threads);
        double s = (alone ? cpu_now() : time_now()) - from;
        if (r >= 0) ours[r] = s;
        if (!b->m || !set->sgemm) continue;
        from = alone ? cpu_now() : time_now();
        set->sgemm(101, 111, 111, b->m, b->n, b->k, 1, j.buffer[0], b->k, j.buffer[1], b->n, 0, j.buffer[2], b->n);
        s = (alone ? cpu_now() : time_now()) - from;
        if (r >= 0) theirs[r] = s;
    }
    double ratio[1000];
    for (int r = 0; r < set->runs; r++)
        ratio[r] = theirs[r] / ours[r];
    qsort(ours, (size_t)set->runs, sizeof *ours, compare);
    qsort(theirs, (size_t)set->runs, sizeof *theirs, compare);
    qsort(ratio, (size_t)set->runs, sizeof *ratio, compare);
    double t = ours[set->runs / 2], u = theirs[set->runs / 2];
    printf("%-15s %9.4f ms (min %9.4f) %6lld tiles, compiled in %4.0f ms", b->name, t * 1e3, ours[0] * 1e3,
           (long long)j.tiles, compile * 1e3);
    if (b->flops > 0)
        printf("  %7.1f GF/s, %3.0f %% of peak", b->flops / t / 1e9,
               100 * b->flops / t / 1e9 / set->peak / set->threads);
    if (b->bytes > 0) printf("  %6.1f GB/s", b->bytes / t / 1e9);
    if (b->m && set->sgemm) printf("  OpenBLAS %9.4f ms: %.2f", u * 1e3, ratio[set->runs / 2]);
    printf("\n");
    fflush(stdout);
    arena_close(arena);
}

int main(int argc, char **argv) {
    struct settings set = {.threads = 1, .runs = 21};
    const char *target = "host";
    for (int c; (c = getopt(argc, argv, "t:a:r:ps")) != -1;) {
        if (c == 't')
            set.threads = atoi(optarg);
        else if (c == 'r')
            set.runs = atoi(optarg);
        else if (c == 'a')
            target = optarg;
        else if (c == 'p')
            set.print = true;
        else if (c == 's')
            set.assembly = true;
        else
            return 2;
    }
    if (set.threads < 1 || set.threads > 64 || set.runs < 1 || set.runs > 1000) return 2;
    if (yj_target_find(target, &set.target) != YJ_OK) die(target);
    char number[16];
    snprintf(number, sizeof number, "%d", set.threads);
    setenv("OPENBLAS_NUM_THREADS", number, 1);
    void *blas = dlopen("libopenblas.so.0", RTLD_NOW);
    set.sgemm = blas ? (sgemm_fn *)dlsym(blas, "cblas_sgemm") : NULL;
    set.peak = peak_measure(set.target->vector_bits, 50);
    printf("target %s, %d threads, one core: peak %.1f GF/s, reads %.1f GB/s\n", set.target->name, set.threads,
           set.peak, read_rate());
    for (size_t i = 0; i < COUNT(benches); i++) {
        bool wanted = optind == argc;
        for (int a = optind; a < argc; a++)
            wanted |= strcmp(argv[a], benches[i].name) == 0;
        if (wanted) time_case(&benches[i], &set);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Times one kernel text on this machine: bench-kernel FILE.k M=512 N=512 K=512 --flops '2*M*N*K' [--target x86-64-v3].
 * One thread, its CPU time, the median of many runs, with the share of the multiply-add peak that is measured beside it
 * by a kernel of the same target. For tuning tile shapes: edit the text, run again. --show asm or ir prints the code
 * instead.
 */
#include "compiler/link.h"
#include "compiler/worker.h"
#include <yunjin/compiler.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_DIMS 16
#define MAX_RUNS 2000

struct bench {
    const char *file, *target, *flops, *show;
    int bits, n_dims;
    double seconds;
    bool scalar;
    struct {
        char name[64];
        int64_t value;
    } dims[MAX_DIMS];
};

static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool bind_dim(void *user, dim symbol, int64_t *value) {
    const struct bench *b = user;
    for (int i = 0; i < b->n_dims; i++) {
        if (strcmp(b->dims[i].name, symbol->name) != 0) continue;
        *value = b->dims[i].value;
        return true;
    }
    return false;
}

static enum yj_status number(struct bench *b, dim d, int64_t *value) {
    return dim_eval(d, bind_dim, b, value);
}

/* --- code --- */

static enum yj_status load_kernel(const struct bench *b, const struct yj_target *target, const struct kernel *k,
                                  yj_kernel_fn **fn) {
    struct emit_options options = {target, b->bits, b->scalar};
    struct link_object object;
    char *data, *library, path[64];
    size_t bytes;
    double start = time_now();
    TRY(emit_llvm(&options, &k, 1, EMIT_OBJECT, &data, &object.bytes));
    printf("compiled in %.1f ms, object of %zu bytes\n", (time_now() - start) * 1e3, object.bytes);
    object.data = data;
    enum yj_status status = link_objects(1, &object, &library, &bytes);
    free(data);
    TRY(status);
    int file = memfd_create("kernel.so", 0);
    bool good = file >= 0 && write(file, library, bytes) == (ssize_t)bytes;
    free(library);
    if (!good) return report(YJ_ERR_IO, "memory file for the code");
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return report(YJ_ERR_INTERNAL, "%s", dlerror());
    *(void **)fn = dlsym(handle, k->name);
    return *fn ? YJ_OK : report(YJ_ERR_INTERNAL, "no symbol %s", k->name);
}

/* --- data and time --- */

static void fill(const struct buffer *buffer, char *data, int64_t n) {
    uint32_t r = 12345;
    int64_t each = (int64_t)yj_dtype_bytes(buffer->dtype);
    for (int64_t i = 0; i < n; i++) {
        r = r * 1664525u + 1013904223u;
        float f = (float)(r >> 8) / 16777216.0f - 0.5f;
        uint32_t word;
        memcpy(&word, &f, sizeof word);
        uint64_t bits =
            dtype_kind(buffer->dtype) == 'f' ? scalar_cast(buffer->dtype, YJ_F32, word) : (uint64_t)(r >> 24 & 1);
        memcpy(data + i * each, &bits, (size_t)each);
    }
}

struct timing {
    double median, best;
    int runs;
};

static struct timing time_calls(yj_kernel_fn *fn, void *const *buffers, const int64_t *scalars, int64_t tiles,
                                void *scratch, double seconds) {
    static double times[MAX_RUNS];
    struct yj_fault fault = {0, 0, 0};
    struct timing t = {0, 0, 0};
    int batch = 1;
    fn(buffers, scalars, 0, tiles, scratch, &fault);
    for (double took = 0; took < 0.002 && batch < 1 << 24; batch *= 2) { /* long enough for the clock */
        double start = cpu_now();
        for (int i = 0; i < batch; i++)
            fn(buffers, scalars, 0, tiles, scratch, &fault);
        took = cpu_now() - start;
        if (took >= 0.002) break;
    }
    for (double start = cpu_now(); t.runs < MAX_RUNS && (t.runs < 5 || cpu_now() - start < seconds); t.runs++) {
        double begin = cpu_now();
        for (int i = 0; i < batch; i++)
            fn(buffers, scalars, 0, tiles, scratch, &fault);
        times[t.runs] = (cpu_now() - begin) / batch;
    }
    qsort(times, (size_t)t.runs, sizeof *times, compare_doubles);
    t.median = times[t.runs / 2];
    t.best = times[0];
    if (fault.code) printf("the kernel reports fault %d, value %lld\n", fault.code, (long long)fault.value);
    return t;
}

static enum yj_status time_kernel(struct bench *b, const struct yj_target *target, struct kernel *k, struct timing *t) {
    void *buffers[64], *scratch;
    int64_t scalars[64], tiles, bytes;
    yj_kernel_fn *fn;
    if (k->n_args > 64 || k->n_dims > 64) return report(YJ_ERR_UNSUPPORTED, "more than 64 arguments");
    for (int i = 0; i < k->n_dims; i++)
        TRY(number(b, k->dim_args[i], &scalars[i]));
    TRY(number(b, kernel_tile_count(k), &tiles));
    TRY(number(b, kernel_scratch_bytes(k), &bytes));
    scratch = aligned_alloc(64, (size_t)(bytes + 127) & ~(size_t)63);
    for (const struct buffer *p = k->args; p; p = p->next) {
        int64_t n = 1, extent;
        for (int i = 0; i < p->rank; i++) {
            TRY(number(b, p->shape[i], &extent));
            n *= extent;
        }
        buffers[p->index] = aligned_alloc(64, ((size_t)n * yj_dtype_bytes(p->dtype) + 127) & ~(size_t)63);
        if (!buffers[p->index]) return report(YJ_ERR_MEMORY, "out of memory for %s", p->name);
        fill(p, buffers[p->index], n);
    }
    TRY(load_kernel(b, target, k, &fn));
    *t = time_calls(fn, buffers, scalars, tiles, scratch, b->seconds);
    for (int i = 0; i < k->n_args; i++)
        free(buffers[i]);
    free(scratch);
    return YJ_OK;
}

/* Register-only multiply-adds in 12 independent chains (24 where there are 32 registers): what the chip can do at most.
 */
static enum yj_status measure_peak(struct bench *b, const struct yj_target *target, struct arena *arena,
                                   double *gflops) {
    char text[800];
    struct kernel *k;
    struct timing t;
    struct bench own = *b;
    int bits, rows = target->vector_registers >= 32 ? 24 : 12;
    struct emit_options options = {target, b->bits, false};
    TRY(emit_vector_bits(&options, &bits));
    int lanes = bits >= 64 ? bits / 32 : 1;
    snprintf(
        text, sizeof text,
        "kernel peak(N in 0..)\n in x f32 [%d]\n inout y f32 [%d, %d]\n{\n reg acc f32 [%d, %d]\n reg p f32 [%d]\n"
        " vector v = 0 .. %d { p[v] = x[v] }\n unroll r = 0 .. %d { vector v = 0 .. %d { acc[r, v] = y[r, v] } }\n"
        " serial n = 0 .. N { unroll r = 0 .. %d { vector v = 0 .. %d { acc[r, v] = fma(acc[r, v], p[v], p[v]) } } }\n"
        " unroll r = 0 .. %d { vector v = 0 .. %d { y[r, v] = acc[r, v] } }\n}\n",
        lanes, rows, lanes, rows, lanes, lanes, lanes, rows, lanes, rows, lanes, rows, lanes);
    TRY(kernel_parse(arena, text, "peak", &k));
    own.n_dims = 1;
    strcpy(own.dims[0].name, "N");
    own.dims[0].value = 100000;
    own.scalar = false;
    own.seconds = 0.3;
    TRY(time_kernel(&own, target, k, &t));
    *gflops = 2.0 * rows * lanes * 100000 / t.median * 1e-9;
    return YJ_OK;
}

static enum yj_status show(const struct bench *b, const struct yj_target *target, const struct kernel *k) {
    struct emit_options options = {target, b->bits, b->scalar};
    enum emit_form form = strcmp(b->show, "ir") == 0    ? EMIT_IR
                          : strcmp(b->show, "raw") == 0 ? EMIT_RAW_IR
                                                        : EMIT_ASSEMBLY;
    char *text;
    size_t bytes;
    TRY(emit_llvm(&options, &k, 1, form, &text, &bytes));
    fwrite(text, 1, bytes, stdout);
    free(text);
    return YJ_OK;
}

static enum yj_status run(struct bench *b, struct arena *arena) {
    const struct yj_target *target;
    struct kernel *k;
    struct timing t;
    char *text;
    size_t bytes;
    double peak = 0;
    int64_t flops = 0;
    TRY(yj_target_find(b->target, &target));
    TRY(file_read(b->file, &text, &bytes));
    enum yj_status status = kernel_parse(arena, text, b->file, &k);
    free(text);
    TRY(status);
    if (b->show) return show(b, target, k);
    if (b->flops) {
        const char *at = b->flops;
        dim d;
        TRY(dim_parse(k->dims, &at, &d));
        TRY(number(b, d, &flops));
    }
    TRY(time_kernel(b, target, k, &t));
    printf("%s on %s: median %.3f us, best %.3f us, %d runs\n", k->name, target->name, t.median * 1e6, t.best * 1e6,
           t.runs);
    if (!flops) return YJ_OK;
    TRY(measure_peak(b, target, arena, &peak));
    double rate = (double)flops / t.median * 1e-9;
    printf("%.2f GFLOP/s, %.1f %% of the measured peak of %.1f (best run %.2f)\n", rate, 100 * rate / peak, peak,
           (double)flops / t.best * 1e-9);
    return YJ_OK;
}

static int usage(void) {
    fprintf(stderr,
            "usage: bench-kernel FILE.k [NAME=VALUE]... [--flops EXPRESSION] [--target NAME] [--bits N] [--scalar]\n"
            "                    [--seconds S] [--show asm|ir|raw]\n");
    return 2;
}

int main(int argc, char **argv) {
    struct bench b = {.target = "host", .seconds = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL, *equals = strchr(argv[i], '=');
        if (strcmp(argv[i], "--scalar") == 0) {
            b.scalar = true;
        } else if (argv[i][0] == '-') {
            if (!value) return usage();
            if (strcmp(argv[i], "--flops") == 0)
                b.flops = value;
            else if (strcmp(argv[i], "--target") == 0)
                b.target = value;
            else if (strcmp(argv[i], "--bits") == 0)
                b.bits = atoi(value);
            else if (strcmp(argv[i], "--seconds") == 0)
                b.seconds = atof(value);
            else if (strcmp(argv[i], "--show") == 0)
                b.show = value;
            else
                return usage();
            i++;
        } else if (equals && b.n_dims < MAX_DIMS) {
            snprintf(b.dims[b.n_dims].name, sizeof b.dims[0].name, "%.*s", (int)(equals - argv[i]), argv[i]);
            b.dims[b.n_dims++].value = strtoll(equals + 1, NULL, 0);
        } else if (!b.file) {
            b.file = argv[i];
        } else {
            return usage();
        }
    }
    if (!b.file) return usage();
    struct arena *arena = arena_open();
    enum yj_status status = arena ? run(&b, arena) : report(YJ_ERR_MEMORY, "out of memory");
    if (arena) arena_close(arena);
    if (status == YJ_OK) return 0;
    fprintf(stderr, "bench-kernel: %s\n", yj_error_text());
    return status == YJ_ERR_INPUT ? 1 : 3;
}

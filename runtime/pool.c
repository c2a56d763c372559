/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads and tiles. A job is published in one word: {generation, open, how many helpers are inside}. A helper enters
 * by compare-and-swap while the word is open, so the caller waits only for helpers that took part, never for one that
 * still wakes up. Each thread has its own run of neighbouring tiles, the same part of every job, so that it finds in
 * its cache what it wrote in the job before; who is done takes chunks from the far ends of the others' runs. Helpers
 * spin a while, then sleep on a futex.
 */
#include "runtime/base/cpu.h"
#include "runtime/program.h"

#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPEN 0x8000u
#define INSIDE 0x7fffu
#define GENERATION 0x10000u
enum { MOST_THREADS = 1024, SPIN_NS = 200000 };

/* Chunks that nobody has taken yet: the first in the high half, the one behind the last in the low half. */
struct part {
    _Alignas(64) _Atomic uint64_t left;
};

struct pool {
    int threads; /* with the caller */
    pthread_t *helpers;
    int n_helpers;
    char *scratch; /* threads * scratch_bytes */
    int64_t scratch_bytes;
    struct job job;     /* written while the word is closed and nobody is inside */
    struct part *parts; /* one a thread, those of the present job first */
    int n_parts;        /* of the job */
    bool spin;          /* there is a core for each thread */
    _Alignas(64) _Atomic uint64_t word;
    _Alignas(64) _Atomic uint32_t wake; /* the futex: counts jobs */
    _Atomic int sleepers, want;         /* want: helpers that the present job may use */
    _Atomic bool stop;
};

struct helper {
    struct pool *pool;
    int number;
};

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* The next chunk of a part: its owner's from the front, anyone else's from the back. -1: none is left. */
static int64_t take(struct part *part, bool own) {
    uint64_t left = atomic_load_explicit(&part->left, memory_order_relaxed);
    for (;;) {
        uint64_t first = left >> 32, end = left & UINT32_MAX;
        if (first >= end) return -1;
        uint64_t rest = own ? (first + 1) << 32 | end : first << 32 | (end - 1);
        if (atomic_compare_exchange_weak_explicit(&part->left, &left, rest, memory_order_relaxed, memory_order_relaxed))
            return (int64_t)(own ? first : end - 1);
    }
}

/* Takes chunks of tiles until none is left, in this thread's part and then in the others'. */
static void work(struct pool *pool, const struct job *job, int thread) {
    void *scratch = pool->scratch + (int64_t)thread * pool->scratch_bytes;
    for (int i = 0; i < pool->n_parts; i++) {
        int part = (thread + i) % pool->n_parts;
        for (int64_t c; (c = take(&pool->parts[part], part == thread)) >= 0;) {
            int64_t begin = c * job->chunk;
            job->fn(job->buffers, job->scalars, begin, min64(begin + job->chunk, job->tiles), scratch, job->fault);
            if (job->progress && thread == 0) job->progress(job->user);
        }
    }
}

static void deal(struct pool *pool, const struct job *job, int64_t chunks, int parts) {
    pool->job = *job;
    pool->n_parts = parts;
    for (int64_t i = 0; i < parts; i++) {
        uint64_t first = (uint64_t)(chunks * i / parts), end = (uint64_t)(chunks * (i + 1) / parts);
        atomic_store_explicit(&pool->parts[i].left, first << 32 | end, memory_order_relaxed);
    }
}

/* Enters the job at hand if it is open, newer than SEEN and not yet full. */
static bool enter(struct pool *pool, uint64_t *seen) {
    uint64_t word = atomic_load_explicit(&pool->word, memory_order_acquire);
    while ((word & OPEN) && word / GENERATION != *seen) {
        if ((int)(word & INSIDE) >= atomic_load_explicit(&pool->want, memory_order_relaxed)) return false;
        if (atomic_compare_exchange_weak_explicit(&pool->word, &word, word + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *seen = word / GENERATION;
            return true;
        }
    }
    return false;
}

static void *help(void *argument) {
    struct helper *me = argument;
    struct pool *pool = me->pool;
    int number = me->number;
    free(me);
    fesetenv(FE_DFL_ENV); /* denormals and rounding as everywhere */
    uint64_t seen = 0;
    for (;;) {
        uint32_t woken = atomic_load(&pool->wake);
        bool in = enter(pool, &seen);
        for (double until = 0; !in && pool->spin;) {
            for (int i = 0; i < 64 && !in; i++) {
                pause_cpu();
                in = (atomic_load_explicit(&pool->word, memory_order_relaxed) & OPEN) && enter(pool, &seen);
            }
            double now = time_now();
            if (until == 0) until = now + SPIN_NS * 1e-9;
            if (now > until) break;
        }
        if (in) {
            work(pool, &pool->job, number);
            atomic_fetch_sub_explicit(&pool->word, 1, memory_order_release);
            continue;
        }
        atomic_fetch_add(&pool->sleepers, 1);
        if (!atomic_load(&pool->stop)) futex_wait(&pool->wake, woken);
        atomic_fetch_sub(&pool->sleepers, 1);
        if (atomic_load(&pool->stop)) return NULL;
    }
}

void pool_run(struct pool *pool, const struct job *job, int threads) {
    int64_t chunks = (job->tiles + job->chunk - 1) / job->chunk;
    int helpers = (int)min64(min64(threads, pool->threads), chunks) - 1;
    if (helpers <= 0 || chunks > INT32_MAX) {
        for (int64_t i = 0; i < job->tiles; i += job->chunk) {
            job->fn(job->buffers, job->scalars, i, min64(i + job->chunk, job->tiles), pool->scratch, job->fault);
            if (job->progress) job->progress(job->user);
        }
        return;
    }
    deal(pool, job, chunks, helpers + 1);
    atomic_store_explicit(&pool->want, helpers, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&pool->word, memory_order_relaxed);
    atomic_store(&pool->word, ((word / GENERATION) + 1) * GENERATION | OPEN);
    atomic_fetch_add(&pool->wake, 1);
    if (atomic_load(&pool->sleepers) > 0) futex_wake(&pool->wake, helpers);
    work(pool, &pool->job, 0);
    word = atomic_fetch_and_explicit(&pool->word, ~(uint64_t)OPEN, memory_order_acq_rel) & ~(uint64_t)OPEN;
    for (int turn = 0; word & INSIDE; turn++) {
        if (turn < 1000)
            pause_cpu();
        else
            sched_yield();
        if (job->progress && turn % 64 == 63) job->progress(job->user);
        word = atomic_load_explicit(&pool->word, memory_order_acquire);
    }
}

int pool_threads(const struct pool *pool) {
    return pool->threads;
}

int64_t pool_scratch(const struct pool *pool) {
    return pool->scratch_bytes;
}

enum yj_status pool_reserve(struct pool *pool, int64_t bytes) {
    if (bytes <= pool->scratch_bytes) return YJ_OK;
    int64_t each, all;
    bool large = __builtin_add_overflow(bytes, 4095, &each);
    each = large ? 0 : each / 4096 * 4096;
    if (large || __builtin_mul_overflow(each, pool->threads, &all)) {
        return report(YJ_ERR_MEMORY, "scratch memory of %lld bytes for each of %d threads", (long long)bytes,
                      pool->threads);
    }
    void *memory = mmap(NULL, (size_t)all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return report(YJ_ERR_MEMORY, "no memory for %lld bytes of scratch for each of %d threads", (long long)bytes,
                      pool->threads);
    }
    if (pool->scratch) munmap(pool->scratch, (size_t)(pool->scratch_bytes * pool->threads));
    pool->scratch = memory;
    pool->scratch_bytes = each;
    return YJ_OK;
}

int pool_default_threads(void) {
    const char *text = getenv("YUNJIN_THREADS");
    if (text && *text) {
        char *end;
        long n = strtol(text, &end, 10);
        if (!*end && n >= 1 && n <= MOST_THREADS) return (int)n;
        log_line(YJ_LOG_WARN, "YUNJIN_THREADS=%s is not a number from 1 to %d: it is ignored", text, MOST_THREADS);
    }
    int cores = cpu_cores();
    return cores < MOST_THREADS ? cores : MOST_THREADS;
}

static enum yj_status start_helper(struct pool *pool) {
    struct helper *h = malloc(sizeof *h);
    if (!h) return report(YJ_ERR_MEMORY, "out of memory");
    *h = (struct helper){pool, pool->n_helpers + 1};
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the program's own threads */
    int error = pthread_create(&pool->helpers[pool->n_helpers], NULL, help, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        free(h);
        return report(YJ_ERR_IO, "cannot start thread %d of %d: %s", pool->n_helpers + 2, pool->threads,
                      strerror(error));
    }
    pool->n_helpers++;
    return YJ_OK;
}

enum yj_status pool_open(int threads, struct pool **out) {
    if (threads == 0) threads = pool_default_threads();
    if (threads < 1 || threads > MOST_THREADS) {
        return report(YJ_ERR_INPUT, "%d threads were asked for; 1 to %d are possible", threads, MOST_THREADS);
    }
    struct pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool) return report(YJ_ERR_MEMORY, "out of memory");
    memset(pool, 0, sizeof *pool);
    pool->threads = threads;
    pool->spin = threads <= cpu_cores();
    pool->helpers = calloc((size_t)threads, sizeof *pool->helpers);
    pool->parts = aligned_alloc(64, (size_t)threads * sizeof *pool->parts);
    enum yj_status status =
        pool->helpers && pool->parts ? pool_reserve(pool, 4096) : report(YJ_ERR_MEMORY, "out of memory");
    while (status == YJ_OK && pool->n_helpers < threads - 1)
        status = start_helper(pool);
    if (status != YJ_OK) {
        pool_close(pool);
        return status;
    }
    *out = pool;
    return YJ_OK;
}

void pool_close(struct pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->wake, 1);
    futex_wake(&pool->wake, INT_MAX);
    for (int i = 0; i < pool->n_helpers; i++)
        pthread_join(pool->helpers[i], NULL);
    if (pool->scratch) munmap(pool->scratch, (size_t)(pool->scratch_bytes * pool->threads));
    free(pool->helpers);
    free(pool->parts);
    free(pool);
}

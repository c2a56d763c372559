/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors, the log, the arena, growing text, files. The one idea: an error is a status plus one line that belongs to the
 * thread; out of memory in an arena leaves by longjmp to the guard at the compiler's door, so code inside it never
 * checks.
 */
#include "runtime/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(address, bytes) ASAN_POISON_MEMORY_REGION((address), (bytes))
#define UNPOISON(address, bytes) ASAN_UNPOISON_MEMORY_REGION((address), (bytes))
#define REDZONE 16u
#else
#define POISON(address, bytes) ((void)0)
#define UNPOISON(address, bytes) ((void)0)
#define REDZONE 0u
#endif

/* --- errors --- */

static _Thread_local char error_line[ERROR_ROOM];

const char *yj_error_text(void) {
    return error_line;
}

/* Cuts at the end of the buffer, but never inside a UTF-8 character. */
static void error_set(const char *line) {
    size_t n = strnlen(line, sizeof error_line);
    if (n == sizeof error_line) {
        n--;
        while (n > 0 && ((unsigned char)line[n] & 0xC0) == 0x80)
            n--;
    }
    memmove(error_line, line, n);
    error_line[n] = 0;
}

enum yj_status report(enum yj_status status, const char *format, ...) {
    char line[sizeof error_line + 8]; /* the arguments may point into error_line */
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    error_set(line);
    return status;
}

enum yj_status report_in(enum yj_status status, const char *format, ...) {
    char line[sizeof error_line + 8];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof line) snprintf(line + n, sizeof line - (size_t)n, ": %s", error_line);
    error_set(line);
    return status;
}

const char *yj_status_name(enum yj_status status) {
    switch (status) {
    case YJ_OK:
        return "ok";
    case YJ_ERR_INPUT:
        return "input error";
    case YJ_ERR_UNSUPPORTED:
        return "unsupported";
    case YJ_ERR_MEMORY:
        return "out of memory";
    case YJ_ERR_IO:
        return "input/output error";
    case YJ_ERR_PEER:
        return "peer died";
    case YJ_ERR_TIMEOUT:
        return "timeout";
    case YJ_ERR_ABORTED:
        return "aborted";
    case YJ_ERR_EXCLUDED:
        return "excluded";
    case YJ_ERR_MISMATCH:
        return "collectives do not match";
    case YJ_ERR_INTERNAL:
        return "internal error";
    }
    return "unknown status";
}

/* --- log --- */

static const char *const level_names[] = {"error", "warn", "info", "trace"};
static struct {
    yj_log_fn *fn; /* NULL: standard error */
    void *user;
    enum yj_log_level level;
} sink = {NULL, NULL, YJ_LOG_WARN};
static pthread_once_t sink_once = PTHREAD_ONCE_INIT;

static void sink_init(void) {
    const char *wanted = getenv("YUNJIN_LOG");
    if (!wanted || !*wanted) return;
    for (size_t i = 0; i < COUNT(level_names); i++) {
        if (strcmp(wanted, level_names[i]) == 0) {
            sink.level = (enum yj_log_level)i;
            return;
        }
    }
    fprintf(stderr, "yunjin: warn: YUNJIN_LOG=%s is not one of error, warn, info, trace; using warn\n", wanted);
}

void yj_log_set(yj_log_fn *fn, void *user, enum yj_log_level level) {
    pthread_once(&sink_once, sink_init);
    sink.fn = fn;
    sink.user = user;
    sink.level = level;
}

bool log_wants(enum yj_log_level level) {
    pthread_once(&sink_once, sink_init);
    return level <= sink.level;
}

void log_line(enum yj_log_level level, const char *format, ...) {
    if (!log_wants(level)) return;
    char line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (sink.fn)
        sink.fn(sink.user, level, line);
    else
        fprintf(stderr, "yunjin: %s: %s\n", (size_t)level < COUNT(level_names) ? level_names[level] : "?", line);
}

/* --- arena --- */

enum { BLOCK_FIRST_BYTES = 4096, BLOCK_MOST_BYTES = 1 << 20 };

struct block {
    struct block *next;
    size_t bytes, used; /* of the data that follows */
};
#define BLOCK_HEAD ((sizeof(struct block) + 15) & ~(size_t)15)

struct arena {
    struct block *blocks; /* the first one is being filled */
    size_t bytes;         /* of all blocks, heads included */
    size_t next_bytes;
};

struct guard {
    jmp_buf jump;
    struct guard *outer;
};
static _Thread_local struct guard *guard;
static _Thread_local long fail_at;

void arena_fail_at(long n) {
    fail_at = n;
}

static struct block *block_new(size_t data_bytes) {
    if (fail_at > 0 && --fail_at == 0) return NULL;
    struct block *b = data_bytes > SIZE_MAX - BLOCK_HEAD ? NULL : calloc(1, BLOCK_HEAD + data_bytes);
    if (!b) return NULL;
    b->bytes = data_bytes;
    POISON((char *)b + BLOCK_HEAD, data_bytes);
    return b;
}

struct arena *arena_open(void) {
    struct block *b = block_new(BLOCK_FIRST_BYTES - BLOCK_HEAD);
    struct arena *arena = b ? malloc(sizeof *arena) : NULL;
    if (!arena) {
        free(b);
        return NULL;
    }
    *arena = (struct arena){.blocks = b, .bytes = BLOCK_FIRST_BYTES, .next_bytes = 2 * BLOCK_FIRST_BYTES};
    return arena;
}

void arena_close(struct arena *arena) {
    if (!arena) return;
    for (struct block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        UNPOISON((char *)b + BLOCK_HEAD, b->bytes);
        free(b);
    }
    free(arena);
}

static void *out_of_memory(struct arena *arena, size_t bytes) {
    report(YJ_ERR_MEMORY, "out of memory: %zu bytes more were needed, the arena holds %zu", bytes, arena->bytes);
    arena_leave(YJ_ERR_MEMORY);
    return NULL;
}

/* A large object gets a block of its own behind the one being filled. */
static struct block *arena_grow(struct arena *arena, size_t need) {
    bool alone = need > arena->next_bytes / 4;
    struct block *b = block_new(alone ? need : arena->next_bytes - BLOCK_HEAD);
    if (!b) return NULL;
    arena->bytes += BLOCK_HEAD + b->bytes;
    if (alone) {
        b->next = arena->blocks->next;
        arena->blocks->next = b;
    } else {
        b->next = arena->blocks;
        arena->blocks = b;
        if (arena->next_bytes < BLOCK_MOST_BYTES) arena->next_bytes *= 2;
    }
    return b;
}

void *arena_new(struct arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return out_of_memory(arena, bytes);
    size_t need = ((bytes ? bytes : 1) + REDZONE + 15) & ~(size_t)15;
    struct block *b = arena->blocks;
    if (need > b->bytes - b->used) b = arena_grow(arena, need);
    if (!b) return out_of_memory(arena, bytes);
    void *object = (char *)b + BLOCK_HEAD + b->used;
    b->used += need;
    UNPOISON(object, bytes);
    return object;
}

void *arena_new_array(struct arena *arena, size_t n, size_t each_bytes) {
    size_t bytes;
    if (__builtin_mul_overflow(n, each_bytes, &bytes)) return out_of_memory(arena, SIZE_MAX);
    return arena_new(arena, bytes);
}

char *arena_text(struct arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *s = arena_new(arena, n < 0 ? 1 : (size_t)n + 1);
    if (s && n > 0) vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    return s;
}

size_t arena_bytes(const struct arena *arena) {
    return arena->bytes;
}

enum yj_status arena_guard(enum yj_status (*body)(void *argument), void *argument) {
    struct guard here = {.outer = guard};
    int left = setjmp(here.jump);
    if (left) {
        guard = here.outer;
        return (enum yj_status)left;
    }
    guard = &here;
    enum yj_status status = body(argument);
    guard = here.outer;
    return status;
}

void arena_leave(enum yj_status status) {
    if (guard) longjmp(guard->jump, (int)status);
}

/* --- growing text --- */

static bool text_reserve(struct text *text, size_t more) {
    if (more < text->room - text->n) return true;
    size_t room = text->room ? text->room : 64;
    while (room - text->n <= more) {
        if (room > SIZE_MAX / 2) return false;
        room *= 2;
    }
    char *data = realloc(text->data, room);
    if (!data) return false;
    text->data = data;
    text->room = room;
    return true;
}

void text_add(struct text *text, const char *format, ...) {
    if (text->failed) return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(text->data ? text->data + text->n : NULL, text->room - text->n, format, args);
    va_end(args);
    if (n < 0) {
        text->failed = true;
    } else if ((size_t)n < text->room - text->n) {
        text->n += (size_t)n;
    } else if (text_reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->n, text->room - text->n, format, again);
        text->n += (size_t)n;
    } else {
        text->failed = true;
    }
    if (text->failed && text->data) text->data[text->n] = 0;
    va_end(again);
}

void text_add_json(struct text *text, const char *s) {
    text_add(text, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_add(text, "\\%c", c);
        else if (c < 32 || c == 127)
            text_add(text, "\\u%04x", c);
        else
            text_add(text, "%c", c);
    }
    text_add(text, "\"");
}

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}

/* --- small things --- */

uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = seed ^ (0x9E3779B97F4A7C15u * ((uint64_t)bytes + 1));
    while (bytes > 0) {
        uint64_t word = 0;
        size_t n = bytes < 8 ? bytes : 8;
        if (n == 8) {
            memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            word = __builtin_bswap64(word);
#endif
        } else {
            for (size_t i = 0; i < n; i++)
                word |= (uint64_t)p[i] << (8 * i);
        }
        h = (h ^ word) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
        p += n;
        bytes -= n;
    }
    h = (h ^ h >> 29) * 0xBF58476D1CE4E5B9u;
    return h ^ h >> 32;
}

double time_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

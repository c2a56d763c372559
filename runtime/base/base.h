/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground all rooms stand on (libc only): errors, the log, the arena, element types.
 *   base.h  base.c    report/TRY, log, arena
 *   file.c            whole files, read and written atomically
 *   dtype.c           f16, bf16, fp8 conversions; names and ONNX numbers of element types
 *   dim.h             integer expressions for shapes, sizes, grids and offsets
 *   dim.c dim_sum.c dim_div.c dim_prove.c dim_walk.c dim_text.c dim_impl.h
 */
#ifndef BASE_H
#define BASE_H

#include "runtime/base/names.h"

#include <string.h>
#include <yunjin/base.h>

/* --- errors: who detects one says it once, with report(); callers only pass it on, with TRY(). --- */
#define ERROR_ROOM 32768 /* bytes of the error line, its end among them: enough for a list of what a model needs */

/* Writes this thread's error line (yj_error_text) and returns STATUS: return report(YJ_ERR_INPUT, "..."). */
enum yj_status report(enum yj_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "CONTEXT: " before the error line and returns STATUS; for the few places that know a file or a node name. */
enum yj_status report_in(enum yj_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define TRY(x)                                                                                                         \
    do {                                                                                                               \
        enum yj_status try_status = (x);                                                                               \
        if (try_status != YJ_OK) return try_status;                                                                    \
    } while (0)

void log_line(enum yj_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool log_wants(enum yj_log_level level);

/* --- memory: an arena is linked blocks, freed at once. Inside the compiler arena_new never returns NULL: out of memory
 * longjmps to the innermost arena_guard of this thread, which is at the compiler's door. With no guard: NULL. --- */

struct arena;                   /* not thread-safe */
struct arena *arena_open(void); /* NULL when out of memory */
void arena_close(struct arena *arena);
void *arena_new(struct arena *arena, size_t bytes); /* zeroed, aligned to 16 */
char *arena_text(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t arena_bytes(const struct arena *arena);
#define NEW(arena, type) ((type *)arena_new((arena), sizeof(type)))
void *arena_new_array(struct arena *arena, size_t n, size_t each_bytes); /* n * each_bytes overflows: out of memory */
#define NEW_ARRAY(arena, type, n) ((type *)arena_new_array((arena), (size_t)(n), sizeof(type)))

/* Runs BODY(argument); if an arena_new below it runs out of memory, returns YJ_ERR_MEMORY with an error line. */
enum yj_status arena_guard(enum yj_status (*body)(void *argument), void *argument);
/* Leaves to the innermost guard, which returns STATUS (the error line is written already); returns if there is none. */
void arena_leave(enum yj_status status);
/* For tests: the n-th allocation of an arena block from now on fails (0 = never). */
void arena_fail_at(long n);

/* A growing text buffer in malloc'ed memory; TEXT.data is always terminated. Out of memory sets .failed. */
struct text {
    char *data;
    size_t n, room;
    bool failed;
};
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_json(struct text *text, const char *s); /* as a string of JSON, in its quotes */
void text_free(struct text *text);

/* --- element types --- */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f); /* round to nearest even; NaN -> 0x7e00 */
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f); /* round to nearest even; NaN -> 0x7fc0 */
float e4m3_to_f32(uint8_t v);  /* OCP 8-bit E4M3 (FN: no infinity) */
uint8_t f32_to_e4m3(float f);  /* round to nearest even; beyond 448 and infinity -> 448 (saturating); NaN -> 0x7f */
float e5m2_to_f32(uint8_t v);
uint8_t f32_to_e5m2(float f); /* round to nearest even; beyond 57344 and infinity -> 57344; NaN -> 0x7e */
bool dtype_parse(const char *name, enum yj_dtype *dtype);
bool dtype_from_onnx(int onnx, enum yj_dtype *dtype);
int dtype_onnx(enum yj_dtype dtype);
char dtype_kind(enum yj_dtype dtype); /* 'f' 'i' 'u' 'b' */

/* --- small things every room needs --- */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed);     /* 64-bit, the same on every machine */
enum yj_status file_read(const char *path, char **data, size_t *bytes); /* malloc'ed, terminated by a 0 byte */
enum yj_status file_write_atomic(const char *path, const void *data, size_t bytes); /* beside it, fsync, rename */
double time_now(void);                                                              /* seconds, monotonic */

#endif

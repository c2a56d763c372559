/* SPDX-License-Identifier: Apache-2.0
 *
 * What every public header of Yunjin shares: status codes, the error text, element types, the log callback.
 * Numbers in the enums are part of the ABI and of the wire: they are never reused and never renumbered.
 */
#ifndef YUNJIN_BASE_H
#define YUNJIN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YJ_EXPORT __attribute__((visibility("default")))
#define YJ_VERSION "0.1.0"

enum yj_status {
    YJ_OK = 0,
    YJ_ERR_INPUT = 1,       /* what the caller gave is wrong: a file, a shape, an argument */
    YJ_ERR_UNSUPPORTED = 2, /* understood, but not possible here */
    YJ_ERR_MEMORY = 3,      /* out of memory */
    YJ_ERR_IO = 4,          /* a file or the operating system failed */
    YJ_ERR_PEER = 5,        /* a rank is dead: proven */
    YJ_ERR_TIMEOUT = 6,     /* a deadline passed; the late rank is named */
    YJ_ERR_ABORTED = 7,     /* yj_comm_abort was called, here or there */
    YJ_ERR_EXCLUDED = 8,    /* the survivors went on without this rank */
    YJ_ERR_MISMATCH = 9,    /* ranks called different collectives */
    YJ_ERR_INTERNAL = 10,   /* a bug in Yunjin */
};

/* The line that the last failing call of this thread wrote: what is wrong, where, what to do. Never NULL. */
YJ_EXPORT const char *yj_error_text(void);
/* "input error", "out of memory", ... */
YJ_EXPORT const char *yj_status_name(enum yj_status status);

/* Element types: number, name, bytes per element (one row each in runtime/base/dtype.def). */
enum yj_dtype {
#define DTYPE(number, NAME, name, bytes, kind, onnx) YJ_##NAME = number,
#include <yunjin/dtype.def>
#undef DTYPE
};

YJ_EXPORT size_t yj_dtype_bytes(enum yj_dtype dtype);     /* 0 for an unknown number */
YJ_EXPORT const char *yj_dtype_name(enum yj_dtype dtype); /* "?" for an unknown number */

enum yj_log_level { YJ_LOG_ERROR, YJ_LOG_WARN, YJ_LOG_INFO, YJ_LOG_TRACE };
typedef void yj_log_fn(void *user, enum yj_log_level level, const char *line);
/* Libraries never print: they hand lines to this callback. The default writes to stderr what YUNJIN_LOG
 * (error, warn, info, trace; default warn) lets through. Set it before other threads use Yunjin. */
YJ_EXPORT void yj_log_set(yj_log_fn *fn, void *user, enum yj_log_level level);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a compiled model. The folder runtime/, read in this order:
 *   plan.h              the form of a program: blocks of steps       plan_*.c      its text and verifier
 *   run.c               walks it: one page                           bind.c        shapes to sizes, offsets, addresses
 *   pool.c              threads and tiles                            exprs.c       dim expressions, evaluated together
 *   manifest.c          model.yj on the disk, both directions        safetensors.c weights, both directions
 *   model.c             this header                                  cpu.c         what this machine has
 *   tensor_file.c       .npy and TensorProto files                   profile.c     Chrome traces
 *   command/            the program `yunjin`
 *
 *   yj_model_open("model.yj", NULL, &m);
 *   yj_model_bind(m, yj_model_find(m, YJ_PORT_INPUT, "x"), &x);     for every input
 *   yj_model_run(m);
 *   yj_model_output(m, 0, &y);                                      y.data is valid until the next bind, start or run
 *   yj_model_close(m);
 *
 * A model belongs to one thread at a time; different models run concurrently. After an error yj_error_text() says what
 * was wrong and where; the model may be bound and run again. Structs that a caller fills begin with their size.
 */
#ifndef YUNJIN_RUNTIME_H
#define YUNJIN_RUNTIME_H

#include <yunjin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YJ_MAX_RANK 8

struct yj_model;
struct yj_comm; /* <yunjin/comm.h> */
struct yj_launcher;

/* --- open and close --- */

struct yj_model_options {
    uint32_t size;        /* sizeof(struct yj_model_options); fields beyond it are 0 */
    int32_t threads;      /* 0: YUNJIN_THREADS, else one for each core this process may use */
    const char *target;   /* the program for this chip ("riscv64-rvv", or one length of its vectors: "riscv64-rvv.256");
                             NULL: the first that this machine can run, or with a launcher the first */
    struct yj_comm *comm; /* the job of a model compiled for several ranks; borrowed until close; NULL: one rank */
    uint32_t flags;       /* YJ_OPEN_... */
    const struct yj_launcher *launcher; /* kernels run there, for any chip; NULL: they are loaded and run here */
};
enum {
    YJ_OPEN_VERIFY = 1, /* read all weights now and compare their hash; without it their size is checked and the rest is
                           not (plan, kernels and manifest always are) */
};

/* Opens the folder PATH. Weights are mapped, not read. With a communicator it is collective. OPTIONS may be NULL. */
YJ_EXPORT enum yj_status yj_model_open(const char *path, const struct yj_model_options *options,
                                       struct yj_model **model);
YJ_EXPORT void yj_model_close(struct yj_model *model); /* a run that was started is waited for */

/* --- what goes in and out --- */

enum yj_port { YJ_PORT_INPUT = 1, YJ_PORT_OUTPUT = 2, YJ_PORT_STATE = 3 };

struct yj_port_info {
    uint32_t size; /* sizeof(struct yj_port_info) */
    enum yj_dtype dtype;
    int32_t rank;
    const char *name;        /* of a state: the input's */
    const char *output_name; /* of a state: the output that updates it; else NULL */
    const char
        *dim[YJ_MAX_RANK]; /* each dimension as text: "3", "N", "N*2": the same name is the same size everywhere */
    int64_t low[YJ_MAX_RANK], high[YJ_MAX_RANK]; /* what it may be; INT64_MAX: no bound */
};

YJ_EXPORT int yj_model_count(const struct yj_model *model, enum yj_port port);
/* Texts live as long as the model. */
YJ_EXPORT enum yj_status yj_model_info(const struct yj_model *model, enum yj_port port, int index,
                                       struct yj_port_info *info);
YJ_EXPORT int yj_model_find(const struct yj_model *model, enum yj_port port, const char *name); /* -1: there is none */

/* Elements row-major without gaps, in the order of the machine (little-endian everywhere Yunjin runs). */
struct yj_tensor {
    uint32_t size; /* sizeof(struct yj_tensor) */
    enum yj_dtype dtype;
    int32_t rank;
    int64_t shape[YJ_MAX_RANK];
    void *data;
};
/* Bytes of a tensor of this type and shape; YJ_ERR_INPUT for a negative dimension, or more than 2^62. */
YJ_EXPORT enum yj_status yj_tensor_bytes(const struct yj_tensor *tensor, size_t *bytes);

/* --- run --- */

/* Input INDEX is TENSOR from now on. Memory aligned to 64 bytes is used where it lies and must stay until wait; other
 * memory is copied by this call. Dtype and rank are checked here, the shapes against each other at start. */
YJ_EXPORT enum yj_status yj_model_bind(struct yj_model *model, int index, const struct yj_tensor *tensor);

/* Runs. Nothing is allocated between start and wait. An index out of range, or a division by zero, inside a kernel is
 * YJ_ERR_INPUT naming the ONNX node, the op and the index. */
YJ_EXPORT enum yj_status yj_model_run(struct yj_model *model);
YJ_EXPORT enum yj_status yj_model_start(struct yj_model *model); /* on a thread of the model: returns at once */
YJ_EXPORT enum yj_status yj_model_wait(struct yj_model *model);  /* the status of the run */

/* A view of output INDEX of the last run. */
YJ_EXPORT enum yj_status yj_model_output(struct yj_model *model, int index, struct yj_tensor *tensor);

/* --- state: memory that a run updates in place and the next run finds (a KV cache, an optimiser) --- */

/* Zeroes all states; their free dimensions go back to their lower bound (an empty cache). */
YJ_EXPORT enum yj_status yj_model_state_reset(struct yj_model *model);
/* TENSOR's shape and dtype are filled; with DATA NULL only they are, else ROOM bytes at DATA receive the elements. */
YJ_EXPORT enum yj_status yj_model_state_get(struct yj_model *model, int index, struct yj_tensor *tensor, size_t room);
YJ_EXPORT enum yj_status yj_model_state_set(struct yj_model *model, int index, const struct yj_tensor *tensor);

/* --- looking at it --- */

struct yj_model_stats {
    uint32_t size; /* sizeof(struct yj_model_stats) */
    int32_t threads, rank, ranks, steps;
    const char *target;         /* of the program that was chosen */
    uint64_t weight_bytes;      /* mapped */
    uint64_t planned_bytes;     /* temporaries, states and scratch at the present shapes */
    double run_s, collective_s; /* of the last run: all of it, and the time spent in starts and waits of collectives */
};
YJ_EXPORT enum yj_status yj_model_stats(const struct yj_model *model, struct yj_model_stats *stats);

/* Records one event a launch, copy and collective from the next run on (OFF: stops and forgets). */
YJ_EXPORT enum yj_status yj_model_profile(struct yj_model *model, bool on);
/* Writes them as a Chrome trace (JSON): times on one clock for all ranks, process = rank, names = ONNX nodes. */
YJ_EXPORT enum yj_status yj_model_profile_write(struct yj_model *model, const char *path);

/* --- kernels elsewhere: the plan is walked here and every launch goes to a launcher, such as the emulator of the
 * compiler library (yj_emulator_launcher). It is called by one thread at a time; its errors end the run. --- */

struct yj_fault; /* <yunjin/target.h> */
struct yj_launch_buffer {
    void *data;
    uint64_t bytes;
    uint32_t in, out;
}; /* what the kernel reads, what it writes */
struct yj_launch {
    uint32_t size;
    const char *kernel; /* its symbol in the library */
    int32_t n_buffers, n_scalars;
    const struct yj_launch_buffer *buffers;
    const int64_t *scalars;
    int64_t tile_begin, tile_end, scratch_bytes;
};
struct yj_launcher {
    uint32_t size; /* sizeof(struct yj_launcher) */
    /* LIBRARY holds the shared object with the kernels of TARGET; VECTOR_BITS is 0 where registers have one length. */
    enum yj_status (*open)(const char *target, int32_t vector_bits, const void *library, uint64_t bytes,
                           void **kernels);
    enum yj_status (*launch)(void *kernels, const struct yj_launch *launch, struct yj_fault *fault);
    void (*close)(void *kernels);
};

/* --- tensor files --- */

/* Reads PATH: .npy (versions 1 to 3) or an ONNX TensorProto (.pb). Free TENSOR->data with yj_tensor_free. It is aligned
 * to 64 bytes. NAME, if not NULL, receives the name in a TensorProto ("" if none), cut to ROOM bytes. */
YJ_EXPORT enum yj_status yj_tensor_read(const char *path, struct yj_tensor *tensor, char *name, size_t room);
/* Writes a .pb file if PATH ends so, else .npy; a NumPy type that does not exist (bf16, fp8) is YJ_ERR_UNSUPPORTED. */
YJ_EXPORT enum yj_status yj_tensor_write(const char *path, const struct yj_tensor *tensor, const char *name);
/* Memory for TENSOR's dtype and shape, zeroed, aligned to 64 bytes; sets DATA. */
YJ_EXPORT enum yj_status yj_tensor_new(struct yj_tensor *tensor);
YJ_EXPORT void yj_tensor_free(struct yj_tensor *tensor);
/* The largest error of GOT against WANT by Yunjin's measure, |got - want| / (1e-4 |want| + 1e-5 max|want|): up to 1 is
 * equal (f16, bf16 and fp8: one step of the type instead of 1e-4). Integers and bools must be equal. A NaN equals a
 * NaN. Dtypes and shapes must agree (YJ_ERR_INPUT). */
YJ_EXPORT enum yj_status yj_tensor_compare(const struct yj_tensor *got, const struct yj_tensor *want, double *error);

#ifdef __cplusplus
}
#endif
#endif

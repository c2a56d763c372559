/* SPDX-License-Identifier: Apache-2.0
 *
 * A loaded program: a plan, its kernels and weights, and what binding made of them. Needs libc, threads and comm, no
 * folder on a disk: model.c brings the files, tests and small hosts bring pointers.
 *   exprs.c   all dim expressions of a plan as one list, evaluated front to back
 *   pool.c    threads and tiles       bind.c   shapes -> sizes -> offsets -> addresses       run.c   the interpreter
 */
#ifndef RUNTIME_PROGRAM_H
#define RUNTIME_PROGRAM_H

#include "runtime/names.h"
#include "runtime/plan.h"
#include <yunjin/runtime.h>
#include <yunjin/target.h>

struct yj_comm;

/* --- exprs.c: expressions as slots. A slot follows its operands, so one pass evaluates all. --- */

struct slot {
    unsigned char op;
    unsigned char bad;
    int a, b;
    int64_t value;
};

struct exprs {
    struct slot *slots;
    int n;
    int *dim_slot;         /* of each plan dim */
    int *n_users, **users; /* of each BORN dim: slots that depend on it, in order */
    dim *text;             /* of each slot: an expression that it stands for, for messages */
};
struct expr_builder;
/* Builds: open, add every expression (a plan's own, or a kernel's with the slots of its scalars), close. The result
 * lies in ARENA; WORK is no longer needed then. Inside arena_guard. */
struct expr_builder *exprs_open(struct arena *arena, struct arena *work, const struct plan *plan);
enum yj_status exprs_add(struct expr_builder *b, dim d, int *slot);
/* D is over the dims of kernel K, whose values are SCALARS (slots). */
enum yj_status exprs_add_kernel(struct expr_builder *b, const struct plan_kernel *k, const int *scalars, dim d,
                                int *slot);
void exprs_close(struct expr_builder *b, struct exprs *e);
void exprs_set(struct exprs *e, int dim_number, int64_t value); /* then exprs_eval, or for a BORN dim exprs_update */
void exprs_eval(struct exprs *e);
void exprs_update(struct exprs *e, int dim_number);
/* The value, or YJ_ERR_INPUT with the expression: overflow or division by zero. */
enum yj_status exprs_get(const struct exprs *e, int slot, int64_t *value);

/* --- pool.c --- */

struct pool;
struct job {
    yj_kernel_fn *fn;
    void *const *buffers;
    const int64_t *scalars;
    int64_t tiles, chunk; /* tiles handed out at once */
    struct yj_fault *fault;
    void (*progress)(void *user); /* called by the caller's thread between chunks; NULL: nothing is in flight */
    void *user;
};
/* THREADS counts the caller. */
enum yj_status pool_open(int threads, struct pool **pool);
void pool_close(struct pool *pool);
int pool_threads(const struct pool *pool);
/* At least BYTES of scratch for every thread; not while a job runs. */
enum yj_status pool_reserve(struct pool *pool, int64_t bytes);
int64_t pool_scratch(const struct pool *pool);
/* Runs all tiles on up to THREADS threads, the caller's among them; returns when all are done. */
void pool_run(struct pool *pool, const struct job *job, int threads);
__attribute__((visibility("default"))) int
pool_default_threads(void); /* YUNJIN_THREADS, else the cores of the affinity mask */

/* --- profile.c --- */

struct event {
    double start, end;
    int block, step;
    int threads; /* LAUNCH: how many, for how many tiles, and what it was estimated to cost one of them */
    int64_t tiles, ns;
}; /* of a step */
struct profile {
    struct event *events;
    size_t n, room, dropped;
    bool on;
    double offset;
};
enum yj_status profile_reserve(struct profile *p, size_t more);
void profile_add(struct profile *p, const struct event *event);
struct program;
enum yj_status profile_write(const struct program *r, const char *path);
/* Joins the traces of several ranks into PATH. */
__attribute__((visibility("default"))) enum yj_status profile_merge(const char *path, int n, char *const *parts);

/* --- a program --- */

struct run_variant {
    yj_kernel_fn *fn;
    const char *symbol;
    int tiles, scratch, ns;
    int n_guards;
    int (*guards)[3];
}; /* slots */
struct run_step {
    int *dims; /* slots: LAUNCH scalars */
    int n_variants;
    struct run_variant variants[PLAN_MAX_VARIANTS];
    int at, from, count, condition, trips, index, turns; /* slots (index, turns: dim numbers), -1: none */
    int *born;                                           /* BIND: dim numbers */
};

struct run_port {
    int rank;
    int slots[PLAN_MAX_RANK];
};

struct run_input {
    bool bound;
    struct yj_tensor tensor; /* data: 64-byte aligned, the caller's or STAGING */
    void *staging;
    size_t staging_bytes;
};

struct run_state {
    void *memory;
    int64_t bytes, mapped; /* of the storage; of the mapping behind it */
    bool fresh;            /* reset: the shape is what the lower bounds say */
    int64_t shape[PLAN_MAX_RANK], storage[PLAN_MAX_RANK];
    int in[PLAN_MAX_RANK], out[PLAN_MAX_RANK], store[PLAN_MAX_RANK]; /* slots */
};

struct space_memory {
    char *base;
    int64_t bytes;
    bool shared;
}; /* one arena of temporaries for each space */

/* The offsets that one set of INPUT dims leads to. */
#define PROGRAM_BINDINGS 8
struct binding {
    bool used;
    uint64_t age;
    int64_t *key, *offsets;
    int64_t total[2];
};

struct weight_file {
    const char *base;
    int64_t bytes;
};

/* Where kernels run: functions of this process, found with FIND (dlsym's meaning), or a launcher's if there is one. */
typedef yj_kernel_fn *kernel_find_fn(void *user, const char *symbol);
struct kernel_source {
    kernel_find_fn *find;
    const struct yj_launcher *launcher;
    void *user;
};

struct program {
    struct arena *arena;
    struct plan *plan;
    struct exprs exprs;
    struct pool *pool;
    struct run_step **steps;       /* [block][step] */
    int *buffer_bytes, *buffer_at; /* slots */
    struct run_port *inputs, *outputs;
    struct run_input *input;
    struct run_state *state;
    int n_weights;
    const struct weight_file *weights;
    int rank;                     /* of this process in the mesh */
    struct yj_comm *job_comm;     /* NULL: one rank */
    struct yj_comm *axis_comm[4]; /* NULL: one rank */
    bool split;                   /* they are this program's to close */
    /* binding */
    int n_temps, n_host_temps; /* the host's come first */
    int *temp;                 /* their buffers */
    uint64_t *work;
    struct memory_item *items; /* first, last: filled at open */
    int n_key, *key_dims;      /* the INPUT dims; key: their values */
    int64_t *key;
    int *seen, *input_keys;     /* which input gave a key its value; [input][axis] -> number of the key, -1 */
    int *state_of, *state_dims; /* the same for STATE dims: by number of the dim; [state][axis] -> dim, -1 */
    int64_t *state_values;
    bool evaluated;      /* the slots are those of the last prepare */
    int n_steps, n_born; /* steps of all blocks, BORN dims */
    struct binding bindings[PROGRAM_BINDINGS], *binding;
    uint64_t age;
    struct space_memory memory[2]; /* host, comm */
    void **address;                /* of each buffer; NULL before it is bound */
    int64_t *bytes;                /* of each buffer */
    bool ready;                    /* outputs may be read */
    /* running */
    struct kernel_source kernels;
    void **args;
    int64_t *scalars;                 /* room for the widest launch */
    struct yj_launch_buffer *parcels; /* the same for a launcher */
    void **requests;
    int in_flight;
    struct event event; /* of the step at hand */
    struct profile profile;
    double run_s, collective_s;
};

/* Weights and the pool are borrowed. COMM joins the ranks of the mesh. */
enum yj_status program_open(struct arena *arena, struct plan *plan, const struct kernel_source *kernels, int n_weights,
                            const struct weight_file *weights, struct pool *pool, struct yj_comm *comm,
                            struct program **out);
void program_close(struct program *r); /* the arena is closed by its owner, after */

/* bind.c */
enum yj_status program_bind_input(struct program *r, int index, const struct yj_tensor *tensor);
enum yj_status program_prepare(struct program *r); /* shapes are checked, memory lies ready: everything before a run */
enum yj_status program_output(struct program *r, int index, struct yj_tensor *tensor);
void program_state_reset(struct program *r);
enum yj_status program_state_get(struct program *r, int index, struct yj_tensor *tensor, size_t room);
enum yj_status program_state_set(struct program *r, int index, const struct yj_tensor *tensor);
int64_t program_planned_bytes(const struct program *r);
void program_drop_memory(struct program *r, int space);
const struct run_variant *program_variant(const struct program *r, const struct run_step *x); /* NULL: no guard holds */
enum yj_status program_finish(struct program *r); /* after a run: states have their new shapes, outputs may be read */

/* run.c */
enum yj_status program_run(struct program *r); /* after program_prepare */

#endif

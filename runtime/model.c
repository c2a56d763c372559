/* SPDX-License-Identifier: Apache-2.0
 *
 * The public face: model.yj is opened, the program for this machine and this number of ranks is chosen, its files are
 * checked and mapped; everything else is handed to the program. A run that is started, not run, has a thread of its
 * own.
 */
#include <yunjin/runtime.h>

#include "runtime/comm_weak.h"
#include "runtime/base/cpu.h"
#include "runtime/manifest.h"
#include "runtime/program.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct port_text {
    const char *dim[YJ_MAX_RANK];
    int64_t low[YJ_MAX_RANK], high[YJ_MAX_RANK];
};

struct yj_model {
    struct arena *arena;
    char *folder;
    struct manifest manifest;
    const struct manifest_program *chosen;
    struct plan *plan;
    struct pool *pool;
    struct program *program;
    const struct yj_launcher *launcher; /* NULL: kernels run here */
    void *kernels;                      /* of dlopen, or of the launcher */
    int n_weights;
    struct weight_file *weights;
    uint64_t weight_bytes;
    struct port_text *texts[4]; /* by enum yj_port */
    struct dim_table *bounds;   /* where shapes are simplified: the plan's are not */
    /* a run on the model's own thread */
    bool has_thread, busy; /* busy: started and not waited for; only the caller's thread looks */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum { IDLE, ASKED, DONE, STOP } turn;
    enum yj_status status;
    char error[2048];
};

/* --- files --- */

static enum yj_status map_file(const struct yj_model *m, const char *name, const void **base, int64_t *bytes) {
    char path[PATH_MAX];
    struct stat s;
    if (snprintf(path, sizeof path, "%s/%s", m->folder, name) >= (int)sizeof path) {
        return report(YJ_ERR_INPUT, "%s: the name is too long", m->folder);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return report(YJ_ERR_IO, "cannot read %s: %m", path);
    if (fstat(fd, &s) < 0 || !S_ISREG(s.st_mode)) {
        close(fd);
        return report(YJ_ERR_IO, "cannot read %s: it is no file", path);
    }
    void *memory = s.st_size ? mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (memory == MAP_FAILED) return report(YJ_ERR_IO, "cannot map %s: %m", path);
    *base = memory;
    *bytes = s.st_size;
    return YJ_OK;
}

static void unmap(const void *base, int64_t bytes) {
    if (base) munmap((void *)base, (size_t)bytes);
}

/* Small files are checked as a whole; the hash of weights only if VERIFY: reading gigabytes is the caller's choice. */
static enum yj_status map_weights(struct yj_model *m, bool verify) {
    const struct manifest_program *p = m->chosen;
    m->weights = NEW_ARRAY(m->arena, struct weight_file, p->n_weights);
    for (int i = 0; i < p->n_weights; i++) {
        const struct manifest_file *f = manifest_file(&m->manifest, p->weights[i]);
        const void *base;
        int64_t bytes;
        TRY(map_file(m, p->weights[i], &base, &bytes));
        m->weights[m->n_weights++] = (struct weight_file){base, bytes};
        if (verify) TRY(manifest_check(&m->manifest, m->folder, p->weights[i], base, (size_t)bytes));
        if (bytes != f->bytes) {
            return report(YJ_ERR_INPUT,
                          "%s/%s has %" PRId64 " bytes; %" PRId64
                          " were written: copy the model again, or compile it again",
                          m->folder, p->weights[i], bytes, f->bytes);
        }
        m->weight_bytes += (uint64_t)bytes;
    }
    return YJ_OK;
}

static enum yj_status load_plan(struct yj_model *m) {
    const void *base;
    int64_t bytes;
    char *text = NULL;
    TRY(map_file(m, m->chosen->plan, &base, &bytes));
    enum yj_status status = manifest_check(&m->manifest, m->folder, m->chosen->plan, base, (size_t)bytes);
    if (status == YJ_OK && !(text = malloc((size_t)bytes + 1))) status = report(YJ_ERR_MEMORY, "out of memory");
    if (status == YJ_OK) {
        memcpy(text, base, (size_t)bytes);
        text[bytes] = 0;
        status = plan_load(m->arena, text, m->chosen->plan, &m->plan);
        if (status != YJ_OK) status = report_in(status, "%s", m->folder);
    }
    free(text);
    unmap(base, bytes);
    return status;
}

static enum yj_status load_kernels(struct yj_model *m) {
    const void *base;
    int64_t bytes;
    char path[PATH_MAX];
    TRY(map_file(m, m->chosen->kernels, &base, &bytes));
    enum yj_status status = manifest_check(&m->manifest, m->folder, m->chosen->kernels, base, (size_t)bytes);
    bool any = m->plan->n_kernels > 0; /* a model that only moves data has none: the file may be empty */
    if (status == YJ_OK && m->launcher && any) {
        status = m->launcher->open(m->chosen->target, m->chosen->vector_bits, base, (uint64_t)bytes, &m->kernels);
    }
    unmap(base, bytes);
    if (status != YJ_OK || m->launcher || !any) return status;
    snprintf(path, sizeof path, "%s%s/%s", strchr(m->folder, '/') ? "" : "./", m->folder, m->chosen->kernels);
    m->kernels = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return m->kernels ? YJ_OK : report(YJ_ERR_INPUT, "the kernels of %s cannot be loaded: %s", m->folder, dlerror());
}

static yj_kernel_fn *find_kernel(void *library, const char *symbol) {
    yj_kernel_fn *fn;
    void *found = dlsym(library, symbol);
    memcpy(&fn, &found, sizeof fn);
    return fn;
}

/* --- which program --- */

static enum yj_status fits_ranks(const struct manifest_program *p, int ranks) {
    if (p->ranks == ranks) return YJ_OK;
    return report(YJ_ERR_INPUT, "it is for %d rank%s; this job has %d (mpirun -n %d, or --ranks %d)", p->ranks,
                  p->ranks > 1 ? "s" : "", ranks, p->ranks, p->ranks);
}

static bool asked_for(const struct manifest_program *p, const char *target) {
    return !target || cpu_name_same(target, p->target) || cpu_name_same(target, p->name);
}

/* YJ_OK if P can run here, else why not. */
static enum yj_status fits(const struct manifest_program *p, const struct yj_model_options *o, int ranks) {
    size_t n = strlen(cpu_arch());
    if (o->launcher) return fits_ranks(p, ranks);
    if (strncmp(p->triple, cpu_arch(), n) != 0 || (p->triple[n] && p->triple[n] != '-')) {
        return report(YJ_ERR_UNSUPPORTED, "it is for %.*s; this machine is %s", (int)strcspn(p->triple, "-"), p->triple,
                      cpu_arch());
    }
    TRY(cpu_require(p->minimum, p->vector_bits));
    return fits_ranks(p, ranks);
}

static enum yj_status check_target(const struct yj_model *m, const char *target) {
    struct text names = {0};
    for (int i = 0; i < m->manifest.n_programs; i++) {
        if (asked_for(&m->manifest.programs[i], target)) {
            text_free(&names);
            return YJ_OK;
        }
        text_add(&names, "%s%s", i ? ", " : "", m->manifest.programs[i].name);
    }
    enum yj_status status = target ? report(YJ_ERR_INPUT, "%s: it has no program for the target %s; it has: %s",
                                            m->folder, target, names.data ? names.data : "none")
                                   : YJ_OK;
    text_free(&names);
    return status;
}

static enum yj_status choose(struct yj_model *m, const struct yj_model_options *o) {
    int ranks = o->comm ? yj_comm_size(o->comm) : 1;
    struct text why = {0};
    enum yj_status status = YJ_ERR_UNSUPPORTED;
    TRY(check_target(m, o->target));
    for (int i = 0; i < m->manifest.n_programs && !m->chosen; i++) {
        const struct manifest_program *p = &m->manifest.programs[i];
        if (!asked_for(p, o->target)) continue;
        status = fits(p, o, ranks);
        if (status == YJ_OK)
            m->chosen = p;
        else
            text_add(&why, "; %s: %s", p->name, yj_error_text());
    }
    if (!m->chosen) status = report(status, "%s has no program that runs here%s", m->folder, why.data ? why.data : "");
    text_free(&why);
    return status;
}

/* --- open --- */

static void print_dims(struct yj_model *m, struct port_text *text, int rank, const dim *shape) {
    for (int i = 0; i < rank; i++) {
        struct text t = {0};
        dim_print(&t, shape[i]);
        text->dim[i] = arena_text(m->arena, "%s", t.data ? t.data : "?");
        text_free(&t);
        dim simple = dim_copy(m->bounds, shape[i]);
        text->low[i] = max64(0, simple->low);
        text->high[i] = simple->high;
    }
}

static void print_ports(struct yj_model *m) {
    const struct plan *p = m->plan;
    m->bounds = dim_table_open(m->arena);
    m->texts[YJ_PORT_INPUT] = NEW_ARRAY(m->arena, struct port_text, p->n_inputs);
    m->texts[YJ_PORT_OUTPUT] = NEW_ARRAY(m->arena, struct port_text, p->n_outputs);
    m->texts[YJ_PORT_STATE] = NEW_ARRAY(m->arena, struct port_text, p->n_states);
    for (int i = 0; i < p->n_inputs; i++)
        print_dims(m, &m->texts[YJ_PORT_INPUT][i], p->inputs[i].rank, p->inputs[i].shape);
    for (int i = 0; i < p->n_outputs; i++)
        print_dims(m, &m->texts[YJ_PORT_OUTPUT][i], p->outputs[i].rank, p->outputs[i].shape);
    for (int i = 0; i < p->n_states; i++)
        print_dims(m, &m->texts[YJ_PORT_STATE][i], p->states[i].rank, p->states[i].in);
}

struct opening {
    struct yj_model *m;
    struct yj_model_options o;
};

static enum yj_status open_guarded(void *argument) {
    struct opening *a = argument;
    struct yj_model *m = a->m;
    TRY(manifest_read(m->arena, m->folder, &m->manifest));
    TRY(choose(m, &a->o));
    TRY(load_plan(m));
    TRY(map_weights(m, a->o.flags & YJ_OPEN_VERIFY));
    TRY(load_kernels(m));
    print_ports(m);
    TRY(pool_open(m->launcher ? 1 : a->o.threads, &m->pool));
    struct kernel_source kernels = {find_kernel, m->launcher, m->kernels};
    enum yj_status status =
        program_open(m->arena, m->plan, &kernels, m->n_weights, m->weights, m->pool, a->o.comm, &m->program);
    return status == YJ_OK ? YJ_OK : report_in(status, "%s", m->folder);
}

static enum yj_status read_options(const struct yj_model_options *given, struct yj_model_options *o) {
    memset(o, 0, sizeof *o);
    if (!given) return YJ_OK;
    if (given->size < sizeof(uint32_t) || given->size > 4096) {
        return report(YJ_ERR_INPUT, "yj_model_options.size is %u: set it to sizeof(struct yj_model_options)",
                      given->size);
    }
    memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    if (o->launcher && o->launcher->size < sizeof *o->launcher) {
        return report(YJ_ERR_INPUT, "yj_launcher.size is %u: set it to sizeof(struct yj_launcher)", o->launcher->size);
    }
    return YJ_OK;
}

enum yj_status yj_model_open(const char *path, const struct yj_model_options *options, struct yj_model **model) {
    struct opening a;
    TRY(read_options(options, &a.o));
    struct yj_model *m = a.m = calloc(1, sizeof *m);
    if (!m) return report(YJ_ERR_MEMORY, "out of memory");
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->launcher = a.o.launcher;
    m->arena = arena_open();
    m->folder = strdup(path);
    enum yj_status status = m->arena && m->folder ? YJ_OK : report(YJ_ERR_MEMORY, "out of memory");
    for (size_t n = m->folder ? strlen(m->folder) : 0; n > 1 && m->folder[n - 1] == '/';)
        m->folder[--n] = 0;
    if (status == YJ_OK) status = arena_guard(open_guarded, &a);
    if (status != YJ_OK) {
        yj_model_close(m);
        return status;
    }
    *model = m;
    return YJ_OK;
}

void yj_model_close(struct yj_model *m) {
    if (!m) return;
    if (m->has_thread) {
        yj_model_wait(m);
        pthread_mutex_lock(&m->lock);
        m->turn = STOP;
        pthread_cond_broadcast(&m->changed);
        pthread_mutex_unlock(&m->lock);
        pthread_join(m->thread, NULL);
    }
    program_close(m->program);
    pool_close(m->pool);
    if (m->kernels && m->launcher)
        m->launcher->close(m->kernels);
    else if (m->kernels)
        dlclose(m->kernels);
    for (int i = 0; i < m->n_weights; i++)
        unmap(m->weights[i].base, m->weights[i].bytes);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    arena_close(m->arena);
    free(m->folder);
    free(m);
}

/* --- ports --- */

int yj_model_count(const struct yj_model *m, enum yj_port port) {
    return port == YJ_PORT_INPUT    ? m->plan->n_inputs
           : port == YJ_PORT_OUTPUT ? m->plan->n_outputs
           : port == YJ_PORT_STATE  ? m->plan->n_states
                                    : 0;
}

static enum yj_status check_size(uint32_t size, uint32_t want, const char *what) {
    if (size >= want) return YJ_OK;
    return report(YJ_ERR_INPUT, "%s.size is %u: set it to sizeof(struct %s)", what, size, what);
}

enum yj_status yj_model_info(const struct yj_model *m, enum yj_port port, int index, struct yj_port_info *info) {
    TRY(check_size(info->size, sizeof *info, "yj_port_info"));
    if (index < 0 || index >= yj_model_count(m, port)) {
        return report(YJ_ERR_INPUT, "there is no port %d of kind %d: there are %d", index, (int)port,
                      yj_model_count(m, port));
    }
    struct yj_port_info r = {.size = info->size};
    if (port == YJ_PORT_STATE) {
        const struct plan_state *s = &m->plan->states[index];
        r.dtype = s->dtype, r.rank = s->rank, r.name = s->name_in, r.output_name = s->name_out;
    } else {
        const struct plan_port *p = &(port == YJ_PORT_INPUT ? m->plan->inputs : m->plan->outputs)[index];
        r.dtype = p->dtype, r.rank = p->rank, r.name = p->name;
    }
    for (int i = 0; i < r.rank; i++) {
        r.dim[i] = m->texts[port][index].dim[i];
        r.low[i] = m->texts[port][index].low[i];
        r.high[i] = m->texts[port][index].high[i];
    }
    *info = r;
    return YJ_OK;
}

int yj_model_find(const struct yj_model *m, enum yj_port port, const char *name) {
    for (int i = 0; i < yj_model_count(m, port); i++) {
        const char *is = port == YJ_PORT_STATE ? m->plan->states[i].name_in
                                               : (port == YJ_PORT_INPUT ? m->plan->inputs : m->plan->outputs)[i].name;
        if (strcmp(is, name) == 0) return i;
    }
    return -1;
}

/* --- run --- */

static enum yj_status not_busy(const struct yj_model *m) {
    return m->busy ? report(YJ_ERR_INPUT, "a run of this model was started: call yj_model_wait first") : YJ_OK;
}

enum yj_status yj_model_bind(struct yj_model *m, int index, const struct yj_tensor *tensor) {
    TRY(not_busy(m));
    TRY(check_size(tensor->size, sizeof *tensor, "yj_tensor"));
    return program_bind_input(m->program, index, tensor);
}

enum yj_status yj_model_run(struct yj_model *m) {
    TRY(not_busy(m));
    TRY(program_prepare(m->program));
    return program_run(m->program);
}

static void *run_when_asked(void *model) {
    struct yj_model *m = model;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        while (m->turn != ASKED && m->turn != STOP)
            pthread_cond_wait(&m->changed, &m->lock);
        if (m->turn == STOP) break;
        pthread_mutex_unlock(&m->lock);
        enum yj_status status = program_run(m->program);
        pthread_mutex_lock(&m->lock);
        m->status = status;
        if (status != YJ_OK) snprintf(m->error, sizeof m->error, "%s", yj_error_text());
        m->turn = DONE;
        pthread_cond_broadcast(&m->changed);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

enum yj_status yj_model_start(struct yj_model *m) {
    TRY(not_busy(m));
    TRY(program_prepare(m->program));
    if (!m->has_thread) {
        int error = pthread_create(&m->thread, NULL, run_when_asked, m);
        if (error) return report(YJ_ERR_IO, "cannot start a thread: %s", strerror(error));
        m->has_thread = true;
    }
    pthread_mutex_lock(&m->lock);
    m->turn = ASKED;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    m->busy = true;
    return YJ_OK;
}

enum yj_status yj_model_wait(struct yj_model *m) {
    if (!m->busy) return report(YJ_ERR_INPUT, "no run of this model was started");
    pthread_mutex_lock(&m->lock);
    while (m->turn == ASKED)
        pthread_cond_wait(&m->changed, &m->lock);
    enum yj_status status = m->status;
    m->turn = IDLE;
    pthread_mutex_unlock(&m->lock);
    m->busy = false;
    return status == YJ_OK ? YJ_OK : report(status, "%s", m->error);
}

enum yj_status yj_model_output(struct yj_model *m, int index, struct yj_tensor *tensor) {
    TRY(not_busy(m));
    TRY(check_size(tensor->size, sizeof *tensor, "yj_tensor"));
    return program_output(m->program, index, tensor);
}

/* --- state --- */

enum yj_status yj_model_state_reset(struct yj_model *m) {
    TRY(not_busy(m));
    program_state_reset(m->program);
    return YJ_OK;
}

enum yj_status yj_model_state_get(struct yj_model *m, int index, struct yj_tensor *tensor, size_t room) {
    TRY(not_busy(m));
    TRY(check_size(tensor->size, sizeof *tensor, "yj_tensor"));
    return program_state_get(m->program, index, tensor, room);
}

enum yj_status yj_model_state_set(struct yj_model *m, int index, const struct yj_tensor *tensor) {
    TRY(not_busy(m));
    TRY(check_size(tensor->size, sizeof *tensor, "yj_tensor"));
    return program_state_set(m->program, index, tensor);
}

/* --- looking at it --- */

enum yj_status yj_model_stats(const struct yj_model *m, struct yj_model_stats *stats) {
    TRY(not_busy(m));
    TRY(check_size(stats->size, sizeof *stats, "yj_model_stats"));
    const struct program *p = m->program;
    *stats = (struct yj_model_stats){.size = stats->size,
                                     .threads = pool_threads(m->pool),
                                     .rank = p->rank,
                                     .ranks = m->chosen->ranks,
                                     .steps = p->n_steps,
                                     .target = m->chosen->target,
                                     .weight_bytes = m->weight_bytes,
                                     .planned_bytes = (uint64_t)program_planned_bytes(p),
                                     .run_s = p->run_s,
                                     .collective_s = p->collective_s};
    return YJ_OK;
}

enum yj_status yj_model_profile(struct yj_model *m, bool on) {
    TRY(not_busy(m));
    m->program->profile.on = on;
    m->program->profile.n = m->program->profile.dropped = 0;
    return YJ_OK;
}

enum yj_status yj_model_profile_write(struct yj_model *m, const char *path) {
    TRY(not_busy(m));
    return profile_write(m->program, path);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What one rank of `yunjin run` does: open, bind files or random numbers, run, write and compare outputs, say how long
 * it took. States are ports like the others: a file sets what a run starts from, and what it leaves is an output.
 */
#include "runtime/command/run.h"

#include "runtime/command/compiler_library.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* --- inputs --- */

void held_free(struct held *held) {
    while (held->n > 0)
        yj_tensor_free(&held->tensor[--held->n]);
    held->n_named = 0;
}

static void hold(struct held *held, const struct yj_tensor *t) {
    if (held->n < (int)COUNT(held->tensor))
        held->tensor[held->n++] = *t; /* a model of more inputs keeps the rest to the end */
}

static int ports(const struct yj_model *m, enum yj_port port) {
    return yj_model_count(m, port);
}

static void known_inputs(const struct yj_model *m, struct text *names) {
    for (enum yj_port port = YJ_PORT_INPUT; port <= YJ_PORT_STATE; port += YJ_PORT_STATE - YJ_PORT_INPUT) {
        for (int i = 0; i < ports(m, port); i++) {
            struct yj_port_info info = {.size = sizeof info};
            if (yj_model_info(m, port, i, &info) == YJ_OK) text_add(names, "%s%s", names->n ? ", " : "", info.name);
        }
    }
}

/* NumPy has no bf16, so files of it come as u16: the bits are what is meant. */
static void retag(struct yj_tensor *t, enum yj_dtype want) {
    if (want == YJ_BF16 && t->dtype == YJ_U16) t->dtype = YJ_BF16;
}

/* Binds T to the input or state called NAME, or to input number INDEX if NAME is empty. */
static enum yj_status bind_one(struct yj_model *m, const char *name, int index, struct yj_tensor *t) {
    int state = *name ? yj_model_find(m, YJ_PORT_STATE, name) : -1,
        input = *name ? yj_model_find(m, YJ_PORT_INPUT, name) : index;
    struct yj_port_info info = {.size = sizeof info};
    if (state >= 0 || input >= 0) {
        TRY(yj_model_info(m, state >= 0 ? YJ_PORT_STATE : YJ_PORT_INPUT, state >= 0 ? state : input, &info));
        retag(t, info.dtype);
        return state >= 0 ? yj_model_state_set(m, state, t) : yj_model_bind(m, input, t);
    }
    struct text names = {0};
    known_inputs(m, &names);
    enum yj_status status =
        report(YJ_ERR_INPUT,
               "no input is called '%s'; there are: %s (an input that --dim NAME=N fixed when compiling is gone)", name,
               names.data ? names.data : "none");
    text_free(&names);
    return status;
}

/* A second word for the same port is a mistake: one of the two would be ignored. */
static enum yj_status name_once(const struct yj_model *m, struct held *held, const char *name, int index) {
    int state = *name ? yj_model_find(m, YJ_PORT_STATE, name) : -1, port = state >= 0 ? ports(m, YJ_PORT_INPUT) + state
                                                                           : *name
                                                                               ? yj_model_find(m, YJ_PORT_INPUT, name)
                                                                               : index;
    struct yj_port_info info = {.size = sizeof info};
    for (int i = 0; i < held->n_named; i++) {
        if (held->named[i] != port) continue;
        TRY(yj_model_info(m, state >= 0 ? YJ_PORT_STATE : YJ_PORT_INPUT, state >= 0 ? state : port, &info));
        return report(YJ_ERR_INPUT, "--input: %s is given twice", info.name);
    }
    if (held->n_named < (int)COUNT(held->named)) held->named[held->n_named++] = port;
    return YJ_OK;
}

/* Reads FILE and binds it. FOLDER: it is one of a folder's, which a word of its own may replace. */
static enum yj_status bind_file(struct yj_model *m, struct held *held, const char *name, int index, const char *file,
                                bool folder) {
    struct yj_tensor t = {.size = sizeof t};
    char inside[512];
    TRY(check_there(file));
    TRY(yj_tensor_read(file, &t, inside, sizeof inside));
    if (!*name && *inside &&
        (yj_model_find(m, YJ_PORT_INPUT, inside) >= 0 || yj_model_find(m, YJ_PORT_STATE, inside) >= 0))
        name = inside;
    if (!folder) {
        enum yj_status once = name_once(m, held, name, index);
        if (once != YJ_OK) yj_tensor_free(&t);
        TRY(once);
    }
    enum yj_status status = bind_one(m, name, index, &t);
    hold(held, &t);
    return status == YJ_OK ? YJ_OK : report_in(status, "%s", file);
}

static enum yj_status bind_folder(struct yj_model *m, struct held *held, const char *folder) {
    int n = ports(m, YJ_PORT_INPUT) + ports(m, YJ_PORT_STATE);
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat s;
        snprintf(path, sizeof path, "%s/input_%d.pb", folder, i);
        if (stat(path, &s) < 0) break; /* optional inputs have no file */
        TRY(bind_file(m, held, "", i, path, true));
    }
    return YJ_OK;
}

/* NAME=FILE where NAME may hold '=' too: the longest known name wins. */
static enum yj_status bind_word(struct yj_model *m, struct held *held, const char *word) {
    char name[1024];
    for (const char *equal = strrchr(word, '='); equal;) {
        snprintf(name, sizeof name, "%.*s", (int)(equal - word), word);
        if (yj_model_find(m, YJ_PORT_INPUT, name) >= 0 || yj_model_find(m, YJ_PORT_STATE, name) >= 0) {
            return bind_file(m, held, name, -1, equal + 1, false);
        }
        const char *earlier = NULL;
        for (const char *c = word; c < equal; c++)
            earlier = *c == '=' ? c : earlier;
        if (!earlier) {
            struct yj_tensor none = {.size = sizeof none};
            return bind_one(m, name, -1, &none); /* says which names there are */
        }
        equal = earlier;
    }
    if (is_folder(word)) return bind_folder(m, held, word);
    if (ports(m, YJ_PORT_INPUT) == 1) return bind_file(m, held, "", 0, word, false);
    return report(YJ_ERR_INPUT, "--input %s: the model has %d inputs: write NAME=FILE", word, ports(m, YJ_PORT_INPUT));
}

static uint64_t mix(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Floats in -1 .. 1, integers and bools 0 or 1: what fits an index too. */
static void fill_random(struct yj_tensor *t, size_t bytes, uint64_t seed) {
    size_t each = yj_dtype_bytes(t->dtype);
    for (size_t i = 0; i < bytes / each; i++) {
        uint64_t r = mix(&seed), bits = r & 1;
        float f = (float)(r >> 40) / 8388608.0f - 1.0f;
        double d = f;
        switch (t->dtype) {
        case YJ_F32:
            memcpy(&bits, &f, sizeof f);
            break;
        case YJ_F64:
            memcpy(&bits, &d, sizeof d);
            break;
        case YJ_F16:
            bits = f32_to_f16(f);
            break;
        case YJ_BF16:
            bits = f32_to_bf16(f);
            break;
        case YJ_E4M3:
            bits = f32_to_e4m3(f);
            break;
        case YJ_E5M2:
            bits = f32_to_e5m2(f);
            break;
        default:
            break;
        }
        memcpy((char *)t->data + i * each, &bits, each);
    }
}

/* The size of a dimension that random inputs get: --dim NAME=N, else the smallest that is not empty. */
static enum yj_status choose_dim(const struct run_job *job, const struct yj_port_info *info, int axis, int64_t *size) {
    for (int i = 0; i < job->dims.n; i++) {
        const char *word = job->dims.word[i], *equal = strchr(word, '=');
        if (!equal || strlen(info->dim[axis]) != (size_t)(equal - word) ||
            strncmp(word, info->dim[axis], (size_t)(equal - word)) != 0)
            continue;
        char *end;
        errno = 0;
        *size = strtoll(equal + 1, &end, 10);
        if (end == equal + 1 || errno || (*end && strncmp(end, "..", 2) != 0))
            return report(YJ_ERR_INPUT, "--dim %s: write NAME=N", word);
        return YJ_OK;
    }
    *size = max64(1, info->low[axis]);
    return *size <= info->high[axis] ? YJ_OK
                                     : report(YJ_ERR_INPUT, "input '%s': give --dim %s=N", info->name, info->dim[axis]);
}

static enum yj_status bind_random(struct yj_model *m, const struct run_job *job, int index) {
    struct yj_port_info info = {.size = sizeof info};
    TRY(yj_model_info(m, YJ_PORT_INPUT, index, &info));
    struct yj_tensor t = {.size = sizeof t, .dtype = info.dtype, .rank = info.rank};
    size_t bytes;
    for (int i = 0; i < info.rank; i++)
        TRY(choose_dim(job, &info, i, &t.shape[i]));
    enum yj_status status = yj_tensor_bytes(&t, &bytes);
    if (status == YJ_OK) status = yj_tensor_new(&t);
    if (status != YJ_OK) return report_in(status, "input '%s'", info.name);
    fill_random(&t, bytes, (uint64_t)job->seed * 1000003 + (uint64_t)index);
    hold(job->held, &t);
    return yj_model_bind(m, index, &t);
}

/* NAME stands by itself in TEXT, a dimension such as "N" or "P + S". */
static bool names_dim(const char *text, const char *name, size_t n) {
    static const char inside[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    for (const char *at = text; *(at += strcspn(at, inside)); at += strspn(at, inside))
        if (strspn(at, inside) == n && strncmp(at, name, n) == 0) return true;
    return false;
}

/* --dim of a compiled model chooses sizes: a name that no input has is a mistake. (A .onnx was compiled with it.) */
static enum yj_status check_dims(struct yj_model *m, const struct run_job *job) {
    for (int k = 0; k < job->dims.n && strcmp(job->model, job->folder) == 0; k++) {
        const char *word = job->dims.word[k];
        bool found = false;
        char names[400] = "";
        for (int i = 0; i < ports(m, YJ_PORT_INPUT) + ports(m, YJ_PORT_STATE); i++) {
            int state = i - ports(m, YJ_PORT_INPUT);
            struct yj_port_info info = {.size = sizeof info};
            TRY(yj_model_info(m, state < 0 ? YJ_PORT_INPUT : YJ_PORT_STATE, state < 0 ? i : state, &info));
            for (int a = 0; a < info.rank; a++) {
                found |= names_dim(info.dim[a], word, strcspn(word, "="));
                size_t used = strlen(names);
                if (info.dim[a][strspn(info.dim[a], "0123456789")] &&
                    !names_dim(names, info.dim[a], strlen(info.dim[a])))
                    snprintf(names + used, sizeof names - used, " %s", info.dim[a]);
            }
        }
        if (!found)
            return report(YJ_ERR_INPUT, "--dim %s: no input has such a dimension; those that may be chosen:%s", word,
                          *names ? names : " none");
    }
    return YJ_OK;
}

enum yj_status run_bind_inputs(struct yj_model *m, const struct run_job *job) {
    held_free(job->held); /* of the repeat before */
    TRY(check_dims(m, job));
    for (int i = 0; job->random && i < ports(m, YJ_PORT_INPUT); i++)
        TRY(bind_random(m, job, i));
    for (int i = 0; i < job->inputs.n; i++)
        TRY(bind_word(m, job->held, job->inputs.word[i]));
    return YJ_OK;
}

/* --- outputs: those of the model, then what the states have become --- */

struct output {
    const char *name;
    struct yj_tensor tensor;
    bool ours;
};

static enum yj_status get_output(struct yj_model *m, int index, struct output *o) {
    int n = ports(m, YJ_PORT_OUTPUT);
    struct yj_port_info info = {.size = sizeof info};
    *o = (struct output){.tensor.size = sizeof o->tensor, .ours = index >= n};
    TRY(yj_model_info(m, o->ours ? YJ_PORT_STATE : YJ_PORT_OUTPUT, o->ours ? index - n : index, &info));
    o->name = o->ours ? info.output_name : info.name;
    if (!o->ours) return yj_model_output(m, index, &o->tensor);
    size_t bytes;
    TRY(yj_model_state_get(m, index - n, &o->tensor, 0));
    TRY(yj_tensor_bytes(&o->tensor, &bytes));
    TRY(yj_tensor_new(&o->tensor));
    enum yj_status status = yj_model_state_get(m, index - n, &o->tensor, bytes);
    if (status != YJ_OK) yj_tensor_free(&o->tensor);
    return status;
}

static void drop_output(struct output *o) {
    if (o->ours) yj_tensor_free(&o->tensor);
}

static int output_count(const struct yj_model *m) {
    return ports(m, YJ_PORT_OUTPUT) + ports(m, YJ_PORT_STATE);
}

/* FOLDER/NAME.EXTENSION with a name that is one file name. */
static void output_path(const char *folder, const char *name, const char *extension, char *path, size_t room) {
    int n = snprintf(path, room, "%s/", folder);
    for (; *name && (size_t)n + 8 < room; name++)
        path[n++] = *name == '/' || (unsigned char)*name < 32 ? '_' : *name;
    snprintf(path + n, room - (size_t)n, "%s", extension);
}

static enum yj_status write_outputs(struct yj_model *m, const char *folder) {
    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        return report(YJ_ERR_IO, "cannot make %s: %s", folder, strerror(errno));
    for (int i = 0; i < output_count(m); i++) {
        struct output o;
        char path[4096];
        TRY(get_output(m, i, &o));
        bool numpy = o.tensor.dtype != YJ_BF16 && o.tensor.dtype != YJ_E4M3 && o.tensor.dtype != YJ_E5M2;
        output_path(folder, o.name, numpy ? ".npy" : ".pb", path, sizeof path);
        enum yj_status status = yj_tensor_write(path, &o.tensor, o.name);
        drop_output(&o);
        TRY(status);
    }
    return YJ_OK;
}

/* output_I.pb where there is an output_0.pb (the way of ONNX's tests), else NAME.npy or NAME.pb. */
static enum yj_status find_wanted(const char *folder, const char *name, int index, char *path, size_t room) {
    char number[32];
    struct stat s;
    snprintf(path, room, "%s/output_0.pb", folder);
    bool numbered = stat(path, &s) == 0;
    snprintf(number, sizeof number, "output_%d", index);
    for (int i = 0; i < 2; i++) {
        output_path(folder, numbered ? number : name, (i == 0) == numbered ? ".pb" : ".npy", path, room);
        if (stat(path, &s) == 0) return YJ_OK;
    }
    return report(YJ_ERR_INPUT, "%s has no file for output '%s' (number %d)", folder, name, index);
}

enum yj_status run_compare(struct yj_model *m, const char *folder, double *worst, json_t *cases) {
    *worst = 0;
    for (int i = 0; i < output_count(m); i++) {
        struct output o;
        struct yj_tensor want;
        char path[4096];
        double error = 0;
        TRY(get_output(m, i, &o));
        enum yj_status status = find_wanted(folder, o.name, i, path, sizeof path);
        if (status == YJ_OK) status = yj_tensor_read(path, &want, NULL, 0);
        if (status == YJ_OK) {
            retag(&want, o.tensor.dtype);
            status = yj_tensor_compare(&o.tensor, &want, &error);
            if (status != YJ_OK) status = report_in(status, "output '%s'", o.name);
            yj_tensor_free(&want);
        }
        drop_output(&o);
        TRY(status);
        if (cases) {
            json_array_append_new(cases, json_pack("{s:s,s:o,s:b}", "output", o.name, "error",
                                                   isfinite(error) ? json_real(error) : json_string("infinite"),
                                                   "equal", error <= 1));
        }
        if (error > *worst) *worst = error;
    }
    return YJ_OK;
}

/* --- what is said --- */

static void print_value(const struct yj_tensor *t, size_t i) {
    const char *p = (const char *)t->data + i * yj_dtype_bytes(t->dtype);
    int64_t v = 0;
    float f;
    double d;
    memcpy(&v, p, yj_dtype_bytes(t->dtype));
    switch (t->dtype) {
    case YJ_F32:
        memcpy(&f, p, sizeof f), printf(" %g", (double)f);
        break;
    case YJ_F64:
        memcpy(&d, p, sizeof d), printf(" %g", d);
        break;
    case YJ_F16:
        printf(" %g", (double)f16_to_f32((uint16_t)v));
        break;
    case YJ_BF16:
        printf(" %g", (double)bf16_to_f32((uint16_t)v));
        break;
    case YJ_I8:
        printf(" %d", (int8_t)v);
        break;
    case YJ_I16:
        printf(" %d", (int16_t)v);
        break;
    case YJ_I32:
        printf(" %d", (int32_t)v);
        break;
    default:
        printf(" %" PRId64, v);
        break;
    }
}

static void print_outputs(struct yj_model *m) {
    for (int i = 0; i < output_count(m); i++) {
        struct output o;
        size_t bytes;
        if (get_output(m, i, &o) != YJ_OK || yj_tensor_bytes(&o.tensor, &bytes) != YJ_OK) continue;
        printf("  %s %s [", o.name, yj_dtype_name(o.tensor.dtype));
        for (int j = 0; j < o.tensor.rank; j++)
            printf("%s%" PRId64, j ? ", " : "", o.tensor.shape[j]);
        printf("]");
        size_t n = bytes / yj_dtype_bytes(o.tensor.dtype);
        for (size_t j = 0; j < n && j < 4; j++)
            print_value(&o.tensor, j);
        printf("%s\n", n > 4 ? " ..." : "");
        drop_output(&o);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct timing {
    double load_s, first_s, median_s, best_s, collective;
};

static json_t *summary_json(const struct yj_model_stats *s, const struct timing *t, int64_t repeat, bool compared,
                            double worst) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    json_t *j =
        json_pack("{s:s,s:i,s:i,s:i,s:I,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:I}", "target", s->target, "ranks", s->ranks,
                  "threads", s->threads, "steps", s->steps, "repeat", (json_int_t)repeat, "load_s", t->load_s,
                  "first_s", t->first_s, "median_s", t->median_s, "best_s", t->best_s, "collective_share",
                  t->collective, "weight_bytes", (json_int_t)s->weight_bytes, "planned_bytes",
                  (json_int_t)s->planned_bytes, "peak_rss_bytes", (json_int_t)use.ru_maxrss * 1024);
    if (compared) json_object_set_new(j, "worst_error", isfinite(worst) ? json_real(worst) : json_string("infinite"));
    return j;
}

/* Repeats start from the same states: what the files say, or zeros. */
static enum yj_status repeat(struct yj_model *m, const struct run_job *job, struct timing *t) {
    double *times = calloc((size_t)job->repeat, sizeof *times), share = 0;
    if (!times) return report(YJ_ERR_MEMORY, "out of memory");
    enum yj_status status = YJ_OK;
    for (int64_t i = 0; i < job->repeat && status == YJ_OK; i++) {
        struct yj_model_stats s = {.size = sizeof s};
        if (i && ports(m, YJ_PORT_STATE)) {
            status = yj_model_state_reset(m);
            if (status == YJ_OK) status = run_bind_inputs(m, job);
            if (status != YJ_OK) break;
        }
        double begin = time_now();
        status = yj_model_run(m);
        times[i] = time_now() - begin;
        if (i == 0) t->first_s = times[0];
        if (status == YJ_OK && yj_model_stats(m, &s) == YJ_OK && s.run_s > 0) share += s.collective_s / s.run_s;
    }
    qsort(times, (size_t)job->repeat, sizeof *times, by_value);
    t->median_s = times[job->repeat / 2];
    t->best_s = times[0];
    t->collective = share / (double)job->repeat;
    free(times);
    return status;
}

static enum yj_status work(const struct run_job *job, struct yj_model *m, struct timing *t, double *worst,
                           json_t *cases) {
    TRY(run_bind_inputs(m, job));
    if (job->profile) TRY(yj_model_profile(m, true));
    TRY(repeat(m, job, t));
    if (job->profile) TRY(yj_model_profile_write(m, job->profile));
    if (job->quiet) return YJ_OK;
    if (job->output) TRY(write_outputs(m, job->output));
    return job->compare ? run_compare(m, job->compare, worst, cases) : YJ_OK;
}

static int say(const struct run_job *job, struct yj_model *m, const struct timing *t, double worst, json_t *cases) {
    struct yj_model_stats s = {.size = sizeof s};
    if (yj_model_stats(m, &s) != YJ_OK) return command_failed(job->command, YJ_ERR_INTERNAL);
    if (job->json) {
        int code = command_json("run", summary_json(&s, t, job->repeat, job->compare, worst), json_incref(cases));
        return code ? code : worst <= 1 ? DONE : INPUT;
    }
    printf("%s: %s, %d rank%s, %d thread%s; load %.2f ms, run %.3f ms", job->model, s.target, s.ranks,
           s.ranks > 1 ? "s" : "", s.threads, s.threads > 1 ? "s" : "", 1e3 * t->load_s, 1e3 * t->median_s);
    if (job->repeat > 1) printf(" (median of %" PRId64 "; best %.3f)", job->repeat, 1e3 * t->best_s);
    if (s.ranks > 1) printf(", %.0f %% of it in collectives", 100 * t->collective);
    printf("\n");
    print_outputs(m);
    if (job->compare) printf("%s: largest error %.3g of what is allowed\n", worst <= 1 ? "equal" : "DIFFERENT", worst);
    return worst <= 1 ? DONE : INPUT;
}

static enum yj_status find_launcher(const struct yj_launcher **launcher) {
    const struct yj_launcher *(*emulator)(void);
    TRY(compiler_function("yj_emulator_launcher", &emulator));
    *launcher = emulator();
    return YJ_OK;
}

int run_model(const struct run_job *given) {
    static struct held held;
    struct run_job with = *given, *job = &with;
    job->held = &held;
    struct yj_model_options o = {
        .size = sizeof o, .threads = (int32_t)job->threads, .target = job->target, .comm = job->comm};
    struct yj_model *m = NULL;
    struct timing t = {0};
    double worst = 0, begin = time_now();
    json_t *cases = json_array();
    enum yj_status status = job->emulate ? find_launcher(&o.launcher) : YJ_OK;
    if (status == YJ_OK) status = yj_model_open(job->folder, &o, &m);
    t.load_s = time_now() - begin;
    if (status == YJ_OK) status = work(job, m, &t, &worst, cases);
    int code = status != YJ_OK ? command_failed(job->command, status)
               : job->quiet    ? DONE
                               : say(job, m, &t, worst, cases);
    json_decref(cases);
    yj_model_close(m);
    held_free(&held);
    return code;
}

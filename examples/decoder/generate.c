/* SPDX-License-Identifier: Apache-2.0
 *
 * Generates tokens greedily with a decoder compiled by Yunjin, on one rank or several: a program on the public headers
 * alone. The key/value cache is the model's state: a step copies none of it. Each rank prints nothing but rank 0; all
 * ranks compare the bits of their logits.
 *
 * usage: generate MODEL.yj [--prompt 1,2,3] [--tokens N] [--ranks N]
 * One rank, or those of mpirun, or N processes started by itself. The model is what make_decoder.py --style gqa writes.
 */
#include <yunjin/comm.h>
#include <yunjin/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_TOKENS = 4096 };
struct options {
    const char *model;
    int64_t prompt[MOST_TOKENS];
    int n_prompt, tokens, ranks;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int failed(const char *what) {
    fprintf(stderr, "generate: %s: %s\n", what, yj_error_text());
    return 1;
}

struct decoder {
    struct yj_model *m;
    int ids, lengths, total, logits;
};

/* One pass over N tokens at positions PAST...; *NEXT is the most likely next token, *BITS mixes the bits of the logits.
 */
static int step(struct decoder *d, const int64_t *tokens, int64_t n, int64_t past, int64_t *next, uint64_t *bits) {
    static _Alignas(64) int64_t ids[MOST_TOKENS];
    static _Alignas(64) int32_t length, total;
    memcpy(ids, tokens, sizeof *ids * (size_t)n);
    total = (int32_t)(past + n);
    length = total - 1;
    struct yj_tensor x = {sizeof x, YJ_I64, 2, {1, n}, ids}, l = {sizeof l, YJ_I32, 1, {1}, &length},
                     t = {sizeof t, YJ_I32, 0, {0}, &total};
    struct yj_tensor y = {.size = sizeof y};
    if (yj_model_bind(d->m, d->ids, &x) || yj_model_bind(d->m, d->lengths, &l)) return failed("bind");
    if (d->total >= 0 && yj_model_bind(d->m, d->total, &t)) return failed("bind");
    if (yj_model_run(d->m) || yj_model_output(d->m, d->logits, &y)) return failed("run");
    int64_t vocabulary = y.shape[2], best = 0;
    const float *p = (const float *)y.data + (n - 1) * vocabulary;
    for (int64_t i = 0; i < vocabulary; i++) {
        uint32_t word;
        memcpy(&word, &p[i], 4);
        *bits = (*bits ^ word) * UINT64_C(0x100000001b3);
        if (p[i] > p[best]) best = i;
    }
    *next = best;
    return 0;
}

/* Every rank's hash is the same if the largest and the smallest are. */
static int ranks_agree(struct yj_comm *comm, uint64_t bits) {
    uint64_t in[2] = {bits >> 1, ~bits >> 1}, out[2];
    if (yj_all_reduce(comm, in, out, 2, YJ_U64, YJ_MAX)) return failed("comparing ranks") - 1;
    return out[0] == in[0] && out[1] == in[1];
}

static int generate(const struct options *o, struct yj_comm *comm) {
    struct yj_model_options options = {.size = sizeof options, .comm = comm};
    struct decoder d;
    if (yj_model_open(o->model, &options, &d.m)) return failed(o->model);
    d.ids = yj_model_find(d.m, YJ_PORT_INPUT, "input_ids");
    d.lengths = yj_model_find(d.m, YJ_PORT_INPUT, "seqlens_k");
    d.total = yj_model_find(d.m, YJ_PORT_INPUT, "total_sequence_length");
    d.logits = yj_model_find(d.m, YJ_PORT_OUTPUT, "logits");
    if (d.ids < 0 || d.lengths < 0 || d.logits < 0) {
        fprintf(stderr, "generate: %s has no input_ids, seqlens_k and logits\n", o->model);
        yj_model_close(d.m);
        return 1;
    }
    int64_t token, past = o->n_prompt;
    uint64_t bits = UINT64_C(0xcbf29ce484222325);
    int rank = comm ? yj_comm_rank(comm) : 0, ranks = comm ? yj_comm_size(comm) : 1, bad;
    double start = now(), collectives = 0, running = 0;
    struct yj_model_stats stats = {.size = sizeof stats};
    bad = step(&d, o->prompt, o->n_prompt, 0, &token, &bits);
    double first = now() - start;
    start = now();
    if (rank == 0) printf("tokens:");
    for (int i = 0; i < o->tokens && !bad; i++) {
        if (rank == 0) printf(" %lld", (long long)token);
        if (i + 1 == o->tokens) break;
        bad = step(&d, &token, 1, past++, &token, &bits);
        if (!bad && yj_model_stats(d.m, &stats) == YJ_OK) collectives += stats.collective_s, running += stats.run_s;
    }
    double took = now() - start;
    if (rank == 0) printf("\n");
    if (!bad && comm) {
        int agree = ranks_agree(comm, bits);
        bad = agree != 1;
        if (bad)
            fprintf(stderr, "generate: rank %d: the ranks' logits differ\n", rank);
        else if (rank == 0)
            printf("all %d ranks agree to the bit (%016llx)\n", ranks, (unsigned long long)bits);
    }
    if (!bad && rank == 0)
        printf("%d ranks: first token %.1f ms, then %.1f tokens/s, %.1f %% of the time in collectives; planned memory "
               "%.1f MB, weights %.1f MB\n",
               ranks, 1e3 * first, o->tokens > 1 ? (o->tokens - 1) / took : 0,
               running > 0 ? 100 * collectives / running : 0, 1e-6 * (double)stats.planned_bytes,
               1e-6 * (double)stats.weight_bytes);
    yj_model_close(d.m);
    return bad;
}

static int one_rank(const struct options *o, const struct yj_comm_options *where) {
    struct yj_comm *comm;
    if (yj_comm_open(where, &comm)) return failed("joining the job");
    int bad = generate(o, yj_comm_size(comm) > 1 ? comm : NULL);
    yj_comm_close(comm);
    return bad;
}

static int local_ranks(const struct options *o) {
    struct yj_comm_local local = {{.size = sizeof local.options}, "", ""};
    int bad = 0, status;
    if (yj_comm_local(o->ranks, &local)) return failed("preparing ranks");
    for (int r = 0; r < o->ranks; r++)
        if (fork() == 0) {
            local.options.rank = r;
            int result = one_rank(o, &local.options);
            fflush(NULL);
            _exit(result);
        }
    while (wait(&status) > 0)
        bad |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return bad;
}

int main(int argc, char **argv) {
    static struct options o = {.prompt = {1, 2, 3}, .n_prompt = 3, .tokens = 16};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--tokens") && i + 1 < argc)
            o.tokens = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--ranks") && i + 1 < argc)
            o.ranks = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--prompt") && i + 1 < argc) {
            char *p = argv[++i];
            for (o.n_prompt = 0; *p && o.n_prompt < MOST_TOKENS; p += *p == ',')
                o.prompt[o.n_prompt++] = strtoll(p, &p, 10);
        } else if (!o.model && argv[i][0] != '-')
            o.model = argv[i];
        else
            o.model = NULL, argc = 0;
    }
    if (!o.model || o.tokens < 1 || o.n_prompt < 1) {
        fprintf(stderr, "usage: generate MODEL.yj [--prompt 1,2,3] [--tokens N] [--ranks N]\n");
        return 2;
    }
    if (o.ranks > 1) return local_ranks(&o);
    return one_rank(&o, NULL);
}

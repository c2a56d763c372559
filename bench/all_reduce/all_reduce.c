/* SPDX-License-Identifier: Apache-2.0
 *
 * all_reduce of f32, this library and the MPI that launched it, in one process and in turn: for each size, blocks of
 * calls of the one and of the other alternate, so that what else the machine does meets both. A block's time is its
 * slowest rank's; printed is the median over blocks. The first result of each is compared with the sum. all_reduce
 * SIZES BLOCKS [cold|alloc]    cold: a new pair of buffers in each call, from a pool larger than the caches; alloc:
 * this library gets buffers of yj_comm_alloc
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yunjin/comm.h>

static struct yj_comm *comm;
static int rank, size;

static void stop(const char *what) {
    fprintf(stderr, "all_reduce: rank %d: %s: %s\n", rank, what, yj_error_text());
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(3);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void reduce(int ours, const float *send, float *recv, size_t count) {
    if (!ours)
        MPI_Allreduce(send, recv, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    else if (yj_all_reduce(comm, send, recv, count, YJ_F32, YJ_SUM) != YJ_OK)
        stop("yj_all_reduce");
}

struct pool {
    float *send, *recv;
    size_t count, pairs, next;
};

static double block(int ours, struct pool *pool, int calls) {
    double mine, slowest;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < calls; i++) {
        size_t at = pool->next++ % pool->pairs * pool->count;
        reduce(ours, pool->send + at, pool->recv + at, pool->count);
    }
    mine = (MPI_Wtime() - start) / calls;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

static int wrong(int ours, struct pool *pool) {
    int bad = 0, all;
    memset(pool->recv, 0, pool->count * sizeof(float));
    reduce(ours, pool->send, pool->recv, pool->count);
    for (size_t i = 0; i < pool->count; i++)
        bad |= pool->recv[i] != (float)size * (float)(i % 17) + (float)(size * (size - 1) / 2);
    MPI_Allreduce(&bad, &all, 1, MPI_INT, MPI_LOR, MPI_COMM_WORLD);
    return all;
}

static void measure(size_t bytes, int blocks, int cold, int alloc) {
    size_t count = bytes / sizeof(float), room = (count + 1023) / 1024 * 1024;
    struct pool pool = {.count = count, .pairs = 1};
    if (cold) pool.pairs = ((size_t)512 << 20) / (2 * room * sizeof(float));
    if (pool.pairs < 1) pool.pairs = 1;
    if (cold && bytes < 4096) pool.pairs = 4096;
    pool.count = count;
    size_t total = pool.pairs * room;
    pool.send = aligned_alloc(4096, total * sizeof(float));
    pool.recv = aligned_alloc(4096, total * sizeof(float));
    if (!pool.send || !pool.recv) stop("out of memory");
    for (size_t i = 0; i < total; i++)
        pool.send[i] = (float)(i % count % 17) + (float)rank, pool.recv[i] = 0;
    struct pool own = pool, *of[2] = {&pool, alloc ? &own : &pool};
    if (alloc) {
        if (yj_comm_alloc(comm, total * sizeof(float), (void **)&own.send) != YJ_OK) stop("yj_comm_alloc");
        if (yj_comm_alloc(comm, total * sizeof(float), (void **)&own.recv) != YJ_OK) stop("yj_comm_alloc");
        memcpy(own.send, pool.send, total * sizeof(float));
    }
    int bad[2] = {wrong(0, of[0]), wrong(1, of[1])};
    double time[2][64];
    double target = bytes <= 65536 ? 0.02 : bytes <= (1 << 20) ? 0.04 : 0.12;
    int calls[2];
    for (int who = 0; who < 2; who++) {
        block(who, of[who], bytes >= (16 << 20) ? 2 : 20);
        double once = block(who, of[who], bytes >= (16 << 20) ? 2 : 20);
        calls[who] = (int)(target / (once + 1e-9));
        if (calls[who] < 3) calls[who] = 3;
        if (calls[who] > 20000) calls[who] = 20000;
    }
    for (int b = 0; b < blocks; b++)
        for (int who = 0; who < 2; who++)
            time[who][b] = block(who, of[who], calls[who]);
    for (int who = 0; who < 2; who++)
        qsort(time[who], (size_t)blocks, sizeof **time, by_value);
    double mpi = time[0][blocks / 2] * 1e6, our = time[1][blocks / 2] * 1e6;
    if (rank == 0)
        printf("%10zu %12.2f %12.2f %12.2f %12.2f %8.2f%s%s\n", bytes, mpi, time[0][0] * 1e6, our, time[1][0] * 1e6,
               mpi / our, bad[0] ? "  MPI WRONG" : "", bad[1] ? "  YUNJIN WRONG" : "");
    fflush(stdout);
    if (alloc) yj_comm_free(comm, own.send), yj_comm_free(comm, own.recv);
    free(pool.send), free(pool.recv);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    char sizes[512];
    snprintf(sizes, sizeof sizes, "%s",
             argc > 1 ? argv[1] : "8,64,1024,8192,65536,262144,1048576,4194304,16777216,67108864");
    int blocks = argc > 2 ? atoi(argv[2]) : 9, cold = argc > 3 && !strcmp(argv[3], "cold");
    int alloc = argc > 3 && !strcmp(argv[3], "alloc");
    if (blocks < 1 || blocks > 64) blocks = 9;
    if (yj_comm_open(NULL, &comm) != YJ_OK) stop("yj_comm_open");
    if (rank == 0) printf("%10s %12s %12s %12s %12s %8s\n", "bytes", "MPI us", "best", "Yunjin us", "best", "MPI/ours");
    char *save;
    for (char *s = strtok_r(sizes, ",", &save); s; s = strtok_r(NULL, ",", &save))
        measure(strtoull(s, NULL, 0), blocks, cold, alloc);
    yj_comm_close(comm);
    MPI_Finalize();
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The transport between processes of one host. One idea: a rank writes only its own memory and cells of its own areas,
 * so a dead peer can never write where a caller's buffer was.
 */
#include "comm/shm.h"
#include "comm/cells.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct head {
    char magic[8];
    uint8_t job[16];
    _Atomic uint64_t end;   /* of what is given away */
    _Atomic uint8_t left[]; /* [ranks of the job] */
};

struct block { /* of shm_alloc */
    struct block *next;
    char *at;
    uint64_t offset;
    size_t bytes;
};

struct shm {
    int fd;
    bool mine;
    struct head *head;
    size_t head_bytes;
    struct cells_shape shape;
    struct block *blocks;
    pthread_mutex_t lock; /* of blocks */
};

static const char magic[8] = "YJSHM01";
enum { GRAIN = 65536 };

static size_t up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

static uint64_t inode_of(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_ino : 0;
}

/* Equal for processes that see each other's /proc and can share a file: same boot, same name spaces, same user. */
static uint64_t host_id(const struct world *world) {
    struct {
        char boot[40], name[64];
        uint64_t pid_space, net_space, user;
    } id = {.user = geteuid()};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, id.boot, 36) != 36) id.boot[0] = 0;
        close(fd);
    }
    memcpy(id.name, world->settings.host, sizeof id.name);
    id.pid_space = inode_of("/proc/self/ns/pid");
    id.net_space = inode_of("/proc/self/ns/net");
    return hash_bytes(&id, sizeof id, 7);
}

static void job_of(const uint8_t *key, uint8_t *job) {
    crypto_generichash(job, 16, (const uint8_t *)"yunjin shared memory", 20, key, 32);
}

/* Makes the file reach to END without ever making it shorter; the last byte of a region is never used. */
static bool grow(int fd, uint64_t end) {
    struct stat s;
    if (fstat(fd, &s) == 0 && (uint64_t)s.st_size >= end) return true;
    return pwrite(fd, "", 1, (off_t)end - 1) == 1;
}

enum yj_status shm_prepare(struct world *world, const uint8_t *key, struct member *member) {
    struct shm *shm = calloc(1, sizeof *shm);
    if (!shm) return report(YJ_ERR_MEMORY, "open: out of memory");
    pthread_mutex_init(&shm->lock, NULL);
    cells_shape_make((size_t)world->settings.cell, &shm->shape);
    shm->head_bytes = up(sizeof(struct head) + (size_t)world->size, GRAIN);
    shm->mine = true;
    shm->fd = memfd_create("yunjin", MFD_CLOEXEC);
    world->shm = shm;
    member->host = host_id(world);
    member->pid = getpid();
    member->memory = shm->fd;
    if (shm->fd < 0 || !grow(shm->fd, shm->head_bytes)) return report(YJ_ERR_IO, "open: memfd: %s", strerror(errno));
    shm->head = mmap(NULL, shm->head_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, 0);
    if (shm->head == MAP_FAILED) {
        shm->head = NULL;
        return report(YJ_ERR_IO, "open: mapping shared memory: %s", strerror(errno));
    }
    memcpy(shm->head->magic, magic, sizeof magic);
    job_of(key, shm->head->job);
    return YJ_OK;
}

static int lowest_of_host(const struct world *world, int rank) {
    for (int r = 0; r < rank; r++)
        if (world->member[r].host == world->member[rank].host) return r;
    return rank;
}

bool shm_share(struct world *world) {
    struct shm *shm = world->shm;
    if (!shm || !shm->head || !strcmp(world->settings.transport, "tcp")) return false;
    cells_shape_make((size_t)world->settings.cell, &shm->shape); /* rank 0's setting is known now */
    const struct member *first = &world->member[lowest_of_host(world, world->rank)];
    if (first == &world->member[world->rank]) return true;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", first->pid, first->memory);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        log_line(YJ_LOG_WARN, "comm: rank %d cannot open shared memory of pid %d (%s): it uses tcp", world->rank,
                 first->pid, strerror(errno));
        return false;
    }
    struct stat s;
    struct head *head = MAP_FAILED;
    if (fstat(fd, &s) == 0 && (size_t)s.st_size >= shm->head_bytes)
        head = mmap(NULL, shm->head_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (head != MAP_FAILED && !memcmp(head->magic, magic, sizeof magic) && !memcmp(head->job, shm->head->job, 16)) {
        munmap(shm->head, shm->head_bytes);
        close(shm->fd);
        shm->head = head, shm->fd = fd, shm->mine = false;
        return true;
    }
    if (head != MAP_FAILED) munmap(head, shm->head_bytes);
    close(fd);
    return false;
}

void shm_close(struct world *world) {
    struct shm *shm = world->shm;
    if (!shm) return;
    while (shm->blocks)
        shm_free(world, shm->blocks->at);
    if (shm->head) munmap(shm->head, shm->head_bytes);
    if (shm->fd >= 0) close(shm->fd);
    pthread_mutex_destroy(&shm->lock);
    free(shm);
    world->shm = NULL;
}

void shm_leave(struct world *world) {
    if (world->shm && world->shm->head) atomic_store(&world->shm->head->left[world->rank], 1);
}

bool shm_has_left(const struct world *world, int member) {
    return world->shm && world->shm->head && atomic_load(&world->shm->head->left[member]);
}

bool shm_between(const struct world *world, int a, int b) {
    return world->member[a].shares && world->member[b].shares && world->member[a].host == world->member[b].host;
}

/* --- regions: [users gone][area of (from, to) for all from, to] --- */

static uint64_t region_bytes(const struct shm *shm, int local) {
    return GRAIN + (uint64_t)local * (uint64_t)local * shm->shape.bytes;
}

uint64_t shm_region_first(const struct world *world) {
    return world->shm->head_bytes;
}

static uint64_t give(struct world *world, uint64_t bytes) {
    struct shm *shm = world->shm;
    uint64_t start = shm->head_bytes + region_bytes(shm, world->local_ranks), zero = 0;
    atomic_compare_exchange_strong(&shm->head->end, &zero, start);
    return atomic_fetch_add(&shm->head->end, up(bytes, GRAIN));
}

uint64_t shm_region(struct world *world, int local) {
    return give(world, region_bytes(world->shm, local));
}

static int local_index(const struct yj_comm *comm, int rank, int *n) {
    int index = -1;
    *n = 0;
    for (int r = 0; r < comm->size; r++) {
        if (!shm_between(comm->world, comm->member[rank], comm->member[r])) continue;
        if (r == rank) index = *n;
        ++*n;
    }
    return index;
}

static char *map(struct world *world, uint64_t at, size_t bytes) {
    struct shm *shm = world->shm;
    if (!grow(shm->fd, at + bytes)) return NULL;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, (off_t)at);
    return p == MAP_FAILED ? NULL : p;
}

void shm_region_leave(struct yj_comm *comm) {
    int n;
    if (!comm->region_at || local_index(comm, comm->rank, &n) < 0) return;
    _Atomic uint32_t *gone = (_Atomic uint32_t *)map(comm->world, comm->region_at, GRAIN);
    if (!gone) return;
    bool last = atomic_fetch_add(gone, 1) + 1 == (uint32_t)n;
    munmap((void *)gone, GRAIN);
    if (last) /* nobody will look there again */
        fallocate(comm->world->shm->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)comm->region_at,
                  (off_t)region_bytes(comm->world->shm, n));
}

/* --- channels --- */

enum { MOST_VIEWS = 32 };

/* What the line of a cell holds whose message was lent. */
struct loan {
    uint64_t offset, bytes; /* of the lender's block in the file */
    uint64_t at;            /* of the message in the block */
};
_Static_assert(sizeof(struct loan) <= INLINE_BYTES, "a loan lies in one cache line");

struct view {
    uint64_t offset;
    size_t bytes;
    char *at;
};

struct shm_channel {
    struct cells cells;
    struct view view[MOST_VIEWS]; /* blocks of the peer, as seen here */
    int nviews, oldest;
};

static void disconnect(struct channel *channel) {
    struct shm_channel *c = (struct shm_channel *)channel;
    for (int i = 0; i < c->nviews; i++)
        munmap(c->view[i].at, c->view[i].bytes);
    if (c->cells.out) munmap(c->cells.out, c->cells.shape->bytes);
    if (c->cells.in) munmap(c->cells.in, c->cells.shape->bytes);
    free(c);
}

static enum yj_status connect(struct yj_comm *comm, int peer, struct channel **channel) {
    const struct shm *shm = comm->world->shm;
    struct shm_channel *made = calloc(1, sizeof *made);
    if (!made) return report(YJ_ERR_MEMORY, "out of memory for a channel");
    struct cells *c = &made->cells;
    c->channel = (struct channel){&transport_shm, comm, peer};
    c->shape = &shm->shape;
    int n, mine = local_index(comm, comm->rank, &n), theirs = local_index(comm, peer, &n);
    uint64_t areas = comm->region_at + GRAIN;
    c->out = map(comm->world, areas + ((uint64_t)mine * (uint64_t)n + (uint64_t)theirs) * shm->shape.bytes,
                 shm->shape.bytes);
    c->in = map(comm->world, areas + ((uint64_t)theirs * (uint64_t)n + (uint64_t)mine) * shm->shape.bytes,
                shm->shape.bytes);
    if (!c->out || !c->in) {
        int e = errno;
        disconnect(&c->channel);
        return report(YJ_ERR_IO, "mapping %zu bytes shared with rank %d: %s", shm->shape.bytes, comm->member[peer],
                      strerror(e));
    }
    *channel = &c->channel;
    return YJ_OK;
}

/* --- pull --- */

static const struct block *block_of(struct shm *shm, const void *memory, size_t bytes) {
    pthread_mutex_lock(&shm->lock);
    const struct block *b = shm->blocks;
    const char *at = memory;
    while (b && !(at >= b->at && at <= b->at + b->bytes && bytes <= (size_t)(b->at + b->bytes - at)))
        b = b->next;
    pthread_mutex_unlock(&shm->lock);
    return b;
}

bool shm_holds(struct world *world, const void *memory, size_t bytes) {
    return world->shm && world->shm->blocks && block_of(world->shm, memory, bytes);
}

static bool lend(struct channel *channel, int lane, const struct envelope *envelope, const void *memory) {
    const struct block *b = block_of(channel->comm->world->shm, memory, envelope->bytes);
    struct loan *loan = b ? cells_reserve(channel, lane, sizeof *loan) : NULL;
    if (!loan) return false;
    *loan = (struct loan){b->offset, b->bytes, (uint64_t)((const char *)memory - b->at)};
    struct envelope e = *envelope;
    e.bytes |= CELL_LENT;
    cells_post(channel, lane, &e);
    return true;
}

/* Where the peer's block is mapped here; mapped at its first loan. Offsets are never given twice. */
static const char *view_of(struct shm_channel *c, const struct loan *loan) {
    for (int i = 0; i < c->nviews; i++)
        if (c->view[i].offset == loan->offset && c->view[i].bytes == loan->bytes) return c->view[i].at;
    int fd = c->cells.channel.comm->world->shm->fd;
    struct stat s;
    if (fstat(fd, &s) || loan->bytes > (uint64_t)s.st_size || loan->offset > (uint64_t)s.st_size - loan->bytes)
        return NULL;
    char *at = mmap(NULL, loan->bytes, PROT_READ, MAP_SHARED, fd, (off_t)loan->offset);
    if (at == MAP_FAILED) return NULL;
    struct view *v = &c->view[c->nviews];
    if (c->nviews < MOST_VIEWS) {
        c->nviews++;
    } else { /* nobody reads the oldest now: as many loans are never out at once */
        v = &c->view[c->oldest++ % MOST_VIEWS];
        munmap(v->at, v->bytes);
    }
    *v = (struct view){loan->offset, loan->bytes, at};
    return at;
}

static const void *arrived(struct channel *channel, int lane, struct envelope *envelope) {
    const void *data = cells_arrived(channel, lane, envelope);
    if (!data || !(envelope->bytes & CELL_LENT)) return data;
    struct loan loan;
    memcpy(&loan, data, sizeof loan);
    envelope->bytes &= ~(uint32_t)CELL_LENT;
    const char *at = view_of((struct shm_channel *)channel, &loan);
    if (at && loan.at <= loan.bytes && envelope->bytes <= loan.bytes - loan.at) return at + loan.at;
    struct yj_comm *comm = channel->comm;
    comm_fail(comm, YJ_ERR_IO, "memory that rank %d lends cannot be mapped (%s)", comm->member[channel->peer],
              strerror(errno));
    comm_tell(comm, YJ_ERR_IO, comm->failure_text);
    return NULL;
}

const struct transport transport_shm = {
    .name = "shm",
    .connect = connect,
    .disconnect = disconnect,
    .reserve = cells_reserve,
    .post = cells_post,
    .arrived = arrived,
    .release = cells_release,
    .lend = lend,
    .settled = cells_settled,
    .posted = cells_posted,
    .taken = cells_taken,
    .warm = cells_warm,
};

/* --- memory of callers --- */

enum yj_status shm_alloc(struct world *world, size_t bytes, void **memory) {
    struct shm *shm = world->shm;
    struct block *b = calloc(1, sizeof *b);
    if (!b) return report(YJ_ERR_MEMORY, "alloc: out of memory");
    b->bytes = up(bytes + 1, GRAIN);
    b->offset = give(world, b->bytes);
    b->at = map(world, b->offset, b->bytes);
    if (!b->at) {
        free(b);
        return report(YJ_ERR_MEMORY, "alloc: %zu bytes of shared memory: %s", bytes, strerror(errno));
    }
    pthread_mutex_lock(&shm->lock);
    b->next = shm->blocks;
    shm->blocks = b;
    pthread_mutex_unlock(&shm->lock);
    *memory = b->at;
    return YJ_OK;
}

bool shm_free(struct world *world, void *memory) {
    struct shm *shm = world->shm;
    pthread_mutex_lock(&shm->lock);
    struct block **at = &shm->blocks;
    while (*at && (*at)->at != memory)
        at = &(*at)->next;
    struct block *b = *at;
    if (b) *at = b->next;
    pthread_mutex_unlock(&shm->lock);
    if (!b) return false;
    munmap(b->at, b->bytes);
    fallocate(shm->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b->offset, (off_t)b->bytes);
    free(b);
    return true;
}

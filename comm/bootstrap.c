/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what launchers leave in the environment: torchrun (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), Open MPI's
 * mpirun and other PMIx launchers, MPICH's hydra. One idea: on one machine no address is needed, since all ranks can
 * derive one name in the abstract socket name space from the job's number.
 */
#include "comm/bootstrap.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum yj_status number(const char *name, int least, int *value) {
    const char *text = getenv(name);
    char *end = NULL;
    errno = 0;
    long n = text ? strtol(text, &end, 10) : 0;
    if (!text || !*text || *end || errno || n < least || n > INT_MAX)
        return report(YJ_ERR_INPUT, "the launcher's %s is '%s': a number was expected", name,
                      text ? text : "(not set)");
    *value = (int)n;
    return YJ_OK;
}

static void key_of(const char *secret, uint8_t *key) {
    crypto_generichash(key, 32, (const uint8_t *)secret, strlen(secret), (const uint8_t *)"yunjin job key", 14);
}

/* The name of a job on this machine; the same on its ranks, and no other job's. */
static void local_address(const char *job, char *address, size_t room) {
    snprintf(address, room, "unix:yunjin-%u-%016llx", (unsigned)geteuid(),
             (unsigned long long)hash_bytes(job, strlen(job), 3));
}

static enum yj_status torchrun(struct rendezvous *r) {
    TRY(number("RANK", 0, &r->rank));
    TRY(number("WORLD_SIZE", 1, &r->size));
    int port = 29500;
    if (getenv("MASTER_PORT")) TRY(number("MASTER_PORT", 1, &port));
    /* the port itself is the store's: the first free one of the 16 above it */
    snprintf(r->address, sizeof r->address, "%.127s:%d/16", getenv("MASTER_ADDR"), port + 1 < 65520 ? port + 1 : 49152);
    char secret[512];
    const char *run = getenv("TORCHELASTIC_RUN_ID");
    snprintf(secret, sizeof secret, "torchrun %.128s %d %.256s", getenv("MASTER_ADDR"), port, run ? run : "");
    key_of(secret, r->key);
    r->launcher = "torchrun";
    return YJ_OK;
}

/* On several machines no address can be derived: PMIx is asked. */
static enum yj_status launched(const char *launcher, const char *rank, const char *size, const char *local_size,
                               const char *job, struct rendezvous *r) {
    int local = 0;
    r->launcher = launcher;
    TRY(number(rank, 0, &r->rank));
    TRY(number(size, 1, &r->size));
    if (getenv(local_size)) TRY(number(local_size, 1, &local));
    key_of(job, r->key);
    if (local == r->size) local_address(job, r->address, sizeof r->address);
    return YJ_OK;
}

static enum yj_status mpirun(struct rendezvous *r) {
    char job[512];
    const char *secret = getenv("OMPI_MCA_orte_precondition_transports"), *space = getenv("PMIX_NAMESPACE");
    const char *server = getenv("PMIX_SERVER_URI2");
    snprintf(job, sizeof job, "pmix %.128s %.128s %.200s", secret ? secret : "", space ? space : "",
             secret || !server ? "" : server);
    return launched("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", job, r);
}

static enum yj_status hydra(struct rendezvous *r) {
    char job[128];
    snprintf(job, sizeof job, "hydra %d", (int)getppid()); /* its proxy starts all ranks of a machine */
    return launched("mpiexec", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS", job, r);
}

static bool both(const char *a, const char *b) {
    return getenv(a) && getenv(b);
}

static enum yj_status environment(struct rendezvous *r) {
    if (both("RANK", "WORLD_SIZE") && getenv("MASTER_ADDR")) return torchrun(r);
    if (both("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")) return mpirun(r);
    if (both("PMI_RANK", "PMI_SIZE")) return hydra(r);
    *r = (struct rendezvous){.rank = 0, .size = 1, .listener = -1, .launcher = "none"};
    return YJ_OK;
}

enum yj_status bootstrap_find(const struct yj_comm_options *options, const struct settings *settings,
                              struct rendezvous *rendezvous) {
    struct rendezvous r = {.listener = -1};
    const char *address = options && options->address ? options->address : settings->address;
    const char *key = options && options->key ? options->key : settings->key;
    bool have_key = false;
    if (options && options->ranks > 0) {
        r.rank = options->rank, r.size = options->ranks, r.launcher = "options";
    } else if (settings->ranks > 0) {
        r.rank = (int)settings->rank, r.size = (int)settings->ranks, r.launcher = "YUNJIN_COMM";
    } else {
        TRY(environment(&r));
        have_key = true;
    }
    if (r.rank < 0 || r.rank >= r.size)
        return report(YJ_ERR_INPUT, "open: rank %d is not one of %d (%s)", r.rank, r.size, r.launcher);
    if (address && *address) {
        if (strlen(address) >= sizeof r.address) return report(YJ_ERR_INPUT, "open: the address is too long");
        strcpy(r.address, address);
    }
    if (key && *key) {
        key_of(key, r.key);
        have_key = true;
    }
    if (r.size > 1 && (!*r.address || !strcmp(r.address, "pmix")) && getenv("PMIX_NAMESPACE")) {
        TRY(pmix_meet(&r));
        have_key = true;
    }
    if (r.size > 1 && !*r.address)
        return report(YJ_ERR_INPUT,
                      "open: the ranks are on several machines and %s does not say where rank 0 is: set "
                      "YUNJIN_COMM=address=HOST:PORT,key=SECRET on all ranks",
                      r.launcher);
    if (r.size > 1 && !have_key)
        return report(YJ_ERR_INPUT, "open: a key is needed beside the address: YUNJIN_COMM=key=SECRET on all ranks");
    *rendezvous = r;
    return YJ_OK;
}

enum yj_status yj_comm_local(int ranks, struct yj_comm_local *local) {
    if (ranks < 1) return report(YJ_ERR_INPUT, "%d ranks", ranks);
    if (sodium_init() < 0) return report(YJ_ERR_IO, "libsodium finds no random numbers");
    uint8_t random[40];
    memset(local, 0, sizeof *local);
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(local->key, sizeof local->key, random, 32);
    char name[32];
    sodium_bin2hex(name, sizeof name, random + 32, 8);
    snprintf(local->address, sizeof local->address, "unix:yunjin-%s", name);
    local->options = (struct yj_comm_options){
        .size = sizeof local->options, .rank = -1, .ranks = ranks, .address = local->address, .key = local->key};
    return YJ_OK;
}

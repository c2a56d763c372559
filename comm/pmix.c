/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks on several machines under a PMIx launcher (mpirun, srun): rank 0 opens a listener and publishes its addresses
 * and a fresh key, the others fetch them. libpmix is opened at run time, only here; the few structs of its stable ABI
 * (PMIx Standard 4) are declared below, so that nothing of it is needed to build.
 */
#include "comm/bootstrap.h"
#include "comm/links.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

struct pmix_proc {
    char space[256];
    uint32_t rank;
};
struct pmix_value {
    uint16_t type;
    union {
        char *string;
        char room[64]; /* at least as large as theirs */
    } data;
};
enum { PMIX_OK = 0, PMIX_TYPE_STRING = 3, PMIX_SCOPE_GLOBAL = 3 };

struct pmix {
    void *library;
    int (*init)(struct pmix_proc *, void *, size_t);
    int (*finalize)(const void *, size_t);
    int (*put)(uint8_t, const char *, struct pmix_value *);
    int (*commit)(void);
    int (*fence)(const struct pmix_proc *, size_t, const void *, size_t);
    int (*get)(const struct pmix_proc *, const char *, const void *, size_t, struct pmix_value **);
};

static enum yj_status load(struct pmix *p) {
    p->library = dlopen("libpmix.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!p->library)
        return report(YJ_ERR_UNSUPPORTED,
                      "open: the ranks are on several machines and libpmix.so.2 is not found (%s): "
                      "install it, or set YUNJIN_COMM=address=HOST:PORT,key=SECRET",
                      dlerror());
    const char *const names[] = {"PMIx_Init", "PMIx_Finalize", "PMIx_Put", "PMIx_Commit", "PMIx_Fence", "PMIx_Get"};
    void **const to[] = {(void **)&p->init,   (void **)&p->finalize, (void **)&p->put,
                         (void **)&p->commit, (void **)&p->fence,    (void **)&p->get};
    for (size_t i = 0; i < COUNT(names); i++)
        if (!(*to[i] = dlsym(p->library, names[i])))
            return report(YJ_ERR_UNSUPPORTED, "open: libpmix.so.2 has no %s", names[i]);
    return YJ_OK;
}

/* "IP:PORT;IP:PORT;..." of all interfaces that are up. */
static enum yj_status own_addresses(int port, char *text, size_t room) {
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all)) return report(YJ_ERR_IO, "open: the network interfaces cannot be listed");
    for (int family = AF_INET; n < room; family = AF_INET6) {
        for (struct ifaddrs *a = all; a; a = a->ifa_next) {
            char ip[64];
            if (!a->ifa_addr || a->ifa_addr->sa_family != family || !(a->ifa_flags & IFF_UP) ||
                a->ifa_flags & IFF_LOOPBACK)
                continue;
            const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a->ifa_addr;
            if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)) continue;
            const void *address =
                family == AF_INET ? (void *)&((struct sockaddr_in *)a->ifa_addr)->sin_addr : (void *)&six->sin6_addr;
            if (!inet_ntop(family, address, ip, sizeof ip)) continue;
            int more =
                snprintf(text + n, room - n, family == AF_INET ? "%s%s:%d" : "%s[%s]:%d", n ? ";" : "", ip, port);
            if (more < 0 || n + (size_t)more >= room) break;
            n += (size_t)more;
        }
        if (family == AF_INET6) break;
    }
    freeifaddrs(all);
    text[n] = 0;
    if (!n) snprintf(text, room, "127.0.0.1:%d", port);
    return YJ_OK;
}

static enum yj_status publish(struct pmix *p, const char *name, struct rendezvous *r) {
    int port;
    char text[sizeof r->address + 80], hex[65];
    TRY(socket_listen_any(&r->listener, &port));
    TRY(own_addresses(port, r->address, sizeof r->address));
    randombytes_buf(r->key, sizeof r->key);
    sodium_bin2hex(hex, sizeof hex, r->key, sizeof r->key);
    snprintf(text, sizeof text, "%s %s", hex, r->address);
    struct pmix_value value = {.type = PMIX_TYPE_STRING, .data.string = text};
    int e = p->put(PMIX_SCOPE_GLOBAL, name, &value);
    if (e == PMIX_OK) e = p->commit();
    sodium_memzero(text, sizeof text);
    return e == PMIX_OK ? YJ_OK : report(YJ_ERR_IO, "open: PMIx does not take rank 0's address (code %d)", e);
}

static enum yj_status look_up(struct pmix *p, const char *name, struct pmix_proc *self, struct rendezvous *r) {
    struct pmix_proc zero = *self;
    struct pmix_value *value = NULL;
    zero.rank = 0;
    int e = p->get(&zero, name, NULL, 0, &value);
    if (e != PMIX_OK || !value || value->type != PMIX_TYPE_STRING || !value->data.string)
        return report(YJ_ERR_IO, "open: PMIx does not give rank 0's address (code %d)", e);
    const char *text = value->data.string, *space = strchr(text, ' ');
    size_t n;
    if (!space || strlen(space + 1) >= sizeof r->address ||
        sodium_hex2bin(r->key, sizeof r->key, text, (size_t)(space - text), NULL, &n, NULL) || n != sizeof r->key)
        return report(YJ_ERR_IO, "open: what PMIx gives as rank 0's address is not one");
    strcpy(r->address, space + 1);
    free(value->data.string);
    free(value);
    return YJ_OK;
}

enum yj_status pmix_meet(struct rendezvous *r) {
    static _Atomic unsigned opens; /* the one thing that all processes count alike: how often they have opened a job */
    struct pmix p = {0};
    struct pmix_proc self;
    char name[32];
    TRY(load(&p));
    int e = p.init(&self, NULL, 0);
    if (e != PMIX_OK)
        return report(YJ_ERR_IO, "open: no PMIx server answers (code %d): was this process started by a launcher?", e);
    snprintf(name, sizeof name, "yunjin.%u", opens++);
    enum yj_status status = r->rank ? YJ_OK : publish(&p, name, r);
    if ((e = p.fence(NULL, 0, NULL, 0)) != PMIX_OK && status == YJ_OK)
        status = report(YJ_ERR_IO, "open: the PMIx fence fails (code %d)", e);
    if (status == YJ_OK && r->rank) status = look_up(&p, name, &self, r);
    r->pmix_finalize = p.finalize; /* at close: a process that ends without it counts as failed */
    if (status != YJ_OK) p.finalize(NULL, 0);
    return status;
}

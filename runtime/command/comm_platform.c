/* SPDX-License-Identifier: Apache-2.0
 *
 * Platforms as JSON (docs/simulation.md): every key is a row below, all are needed, no others are taken.
 */
#include "runtime/command/comm_simulate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const routings[] = {"hash", "destination", "spray"};

bool comm_routing(const char *text, int32_t *routing) {
    for (size_t i = 0; i < sizeof routings / sizeof *routings; i++)
        if (!strcmp(text, routings[i])) return *routing = (int32_t)i, true;
    return false;
}

enum kind { WHOLE, FLAG, ROUTING, TIME, RATE, PORT };
struct key {
    const char *name;
    enum kind kind;
    size_t offset;
};
#define KEY(type, name, kind, field)                                                                                   \
    { name, kind, offsetof(struct type, field) }
static const struct key port_keys[] = {
    KEY(yj_port, "overhead_ns", TIME, overhead_ps),
    KEY(yj_port, "latency_ns", TIME, latency_ps),
    KEY(yj_port, "gbits_per_s", RATE, mb_per_s),
    {0},
};
static const struct key platform_keys[] = {
    KEY(yj_platform, "nodes", WHOLE, nodes),
    KEY(yj_platform, "ranks_per_node", WHOLE, ranks_per_node),
    KEY(yj_platform, "nics_per_node", WHOLE, nics_per_node),
    KEY(yj_platform, "nodes_per_leaf", WHOLE, nodes_per_leaf),
    KEY(yj_platform, "rails", FLAG, rails),
    KEY(yj_platform, "uplinks", WHOLE, uplinks),
    KEY(yj_platform, "routing", ROUTING, routing),
    KEY(yj_platform, "fabric", PORT, fabric),
    KEY(yj_platform, "nic", PORT, nic),
    KEY(yj_platform, "uplink", PORT, uplink),
    KEY(yj_platform, "reduce_gbits_per_s", RATE, reduce_mb_per_s),
    KEY(yj_platform, "copy_gbits_per_s", RATE, copy_mb_per_s),
    KEY(yj_platform, "round_ns", TIME, round_ps),
    {0},
};

static bool read_keys(const char *file, const char *where, const json_t *object, const struct key *keys, char *to);

static bool bad(const char *file, const char *where, const char *key, const char *what) {
    fprintf(stderr, "yunjin comm simulate: %s: %s%s: %s\n", file, where, key, what);
    return false;
}

static bool read_value(const char *file, const char *where, const json_t *value, const struct key *key, char *to) {
    double number = json_number_value(value);
    char *field = to + key->offset, inner[64];
    bool counted = json_is_number(value) && number >= 0 && number < 1e15;
    switch (key->kind) {
    case WHOLE:
        if (!json_is_integer(value) || !counted || number > INT32_MAX)
            return bad(file, where, key->name, "a whole number is needed");
        *(int32_t *)field = (int32_t)number;
        return true;
    case FLAG:
        if (!json_is_boolean(value)) return bad(file, where, key->name, "true or false is needed");
        *(int32_t *)field = json_is_true(value);
        return true;
    case ROUTING:
        if (!json_is_string(value) || !comm_routing(json_string_value(value), (int32_t *)field))
            return bad(file, where, key->name, "hash, destination or spray is needed");
        return true;
    case TIME:
        if (!counted) return bad(file, where, key->name, "nanoseconds are needed");
        *(int64_t *)field = llround(number * 1000);
        return true;
    case RATE:
        if (!counted || number < 0.008 || number > 1e9) return bad(file, where, key->name, "Gbit/s are needed");
        *(int64_t *)field = llround(number * 125);
        return true;
    default:
        snprintf(inner, sizeof inner, "%s.", key->name);
        return json_is_object(value) ? read_keys(file, inner, value, port_keys, field)
                                     : bad(file, where, key->name, "an object is needed");
    }
}

static bool read_keys(const char *file, const char *where, const json_t *object, const struct key *keys, char *to) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) {
        const struct key *key = keys;
        while (key->name && strcmp(key->name, name))
            key++;
        if (!key->name && strcmp(name, "name")) return bad(file, where, name, "this key is unknown");
    }
    for (const struct key *key = keys; key->name; key++) {
        value = json_object_get(object, key->name);
        if (!value) return bad(file, where, key->name, "it is missing");
        if (!read_value(file, where, value, key, to)) return false;
    }
    return true;
}

bool comm_read_platform(const char *path, struct yj_platform *platform) {
    json_error_t error;
    json_t *all = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!all) {
        fprintf(stderr, "yunjin comm simulate: %s:%d: %s\n", path, error.line, error.text);
        return false;
    }
    *platform = (struct yj_platform){.size = sizeof *platform};
    bool ok = json_is_object(all) ? read_keys(path, "", all, platform_keys, (char *)platform)
                                  : bad(path, "", "", "it is no JSON object");
    json_decref(all);
    return ok;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin comm simulate --platform FILE`: a collective by events on a described cluster.
 */
#include "runtime/command/comm_simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RANK:US */
static bool parse_late(const char *text, struct yj_trouble *trouble) {
    double us;
    int n = 0;
    if (sscanf(text, "%d:%lf%n", &trouble->a, &us, &n) != 2 || text[n] || !(us >= 0) || us > 1e9) return false;
    trouble->kind = YJ_TROUBLE_LATE, trouble->late_ps = (int64_t)(us * 1e6);
    return true;
}

/* nic:NODE:NUMBER or uplink:LEAF:NUMBER */
static bool parse_failed(const char *text, struct yj_trouble *trouble) {
    int n = 0;
    bool nic = !strncmp(text, "nic:", 4);
    if (!nic && strncmp(text, "uplink:", 7)) return false;
    text += nic ? 4 : 7;
    trouble->kind = nic ? YJ_TROUBLE_NIC : YJ_TROUBLE_UPLINK;
    return sscanf(text, "%d:%d%n", &trouble->a, &trouble->b, &n) == 2 && !text[n];
}

bool comm_simulate_option(int argc, char **argv, int *i, struct simulate_words *words, bool *bad) {
    const char *value = "";
    struct yj_trouble trouble = {0};
    if (comm_option(argc, argv, i, "--platform", &words->platform, bad)) return true;
    if (comm_option(argc, argv, i, "--svg", &words->svg, bad)) return true;
    if (comm_option(argc, argv, i, "--routing", &value, bad)) {
        *bad = *bad || !comm_routing(value, &words->routing);
        return true;
    }
    bool late = comm_option(argc, argv, i, "--late", &value, bad);
    if (!late && !comm_option(argc, argv, i, "--fail", &value, bad)) return false;
    *bad = *bad || words->troubles == TROUBLES || !(late ? parse_late(value, &trouble) : parse_failed(value, &trouble));
    if (!*bad) words->trouble[words->troubles++] = trouble;
    return true;
}

static int print(const struct yj_simulation *s, const struct yj_simulated *r) {
    char time[24], cost[24];
    comm_print_time(r->cost_s, cost);
    printf("%s %s, %d ranks, %llu bytes, %d slices, %d rounds\n", s->collective, r->algorithm, s->ranks,
           (unsigned long long)s->bytes, r->slices, r->rounds);
    if (r->time_ps < 0) {
        printf("  by max-plus cost  %s; too many messages for events\n", cost);
        return EXIT_DONE;
    }
    comm_print_time((double)r->time_ps * 1e-12, time);
    printf("  by events         %s, rank %d last; %llu messages\n", time, r->last_rank,
           (unsigned long long)r->messages);
    printf("  by max-plus cost  %s, nobody in another's way\n", cost);
    printf("  busiest port      fabric %.0f %%, NIC %.0f %%, uplink %.0f %% of the time\n", 100 * r->fabric_busy,
           100 * r->nic_busy, 100 * r->uplink_busy);
    return EXIT_DONE;
}

static int print_json(const struct yj_simulation *s, const struct yj_simulated *r) {
    json_t *one = json_pack("{s:s, s:s, s:i, s:I, s:i, s:i, s:f, s:b}", "collective", s->collective, "algorithm",
                            r->algorithm, "ranks", s->ranks, "bytes", (json_int_t)s->bytes, "slices", r->slices,
                            "rounds", r->rounds, "cost_s", r->cost_s, "events_run", r->time_ps >= 0);
    double time = r->time_ps >= 0 ? (double)r->time_ps * 1e-12 : r->cost_s;
    if (r->time_ps >= 0)
        json_object_update_new(one, json_pack("{s:I, s:I, s:I, s:i, s:f, s:f, s:f}", "time_ps", (json_int_t)r->time_ps,
                                              "messages", (json_int_t)r->messages, "events", (json_int_t)r->events,
                                              "last_rank", r->last_rank, "fabric_busy", r->fabric_busy, "nic_busy",
                                              r->nic_busy, "uplink_busy", r->uplink_busy));
    return comm_write_json("comm simulate", json_pack("{s:f}", "time_s", time), json_pack("[o]", one));
}

int comm_simulate_platform(struct yj_simulation *s, struct simulate_words *words, bool json) {
    struct yj_platform platform;
    struct yj_simulated result;
    struct recording recording = {0};
    if (!comm_read_platform(words->platform, &platform)) return EXIT_INPUT;
    if (words->routing >= 0) platform.routing = words->routing;
    s->platform = &platform, s->trouble = words->trouble, s->troubles = words->troubles;
    if (words->svg && s->ranks > DRAWN_RANKS)
        return comm_usage_error("simulate", "--svg draws at most %d ranks", DRAWN_RANKS);
    if (words->svg) s->fn = comm_record, s->user = &recording;
    enum yj_status status = yj_simulate(s, &result);
    int code = EXIT_DONE;
    if (status != YJ_OK)
        code = comm_failed("simulate", status);
    else if (words->svg && result.time_ps < 0)
        code = comm_usage_error("simulate", "--svg: %s has too many messages for events", result.algorithm);
    else if (words->svg && !comm_draw(words->svg, s, &result, &recording))
        code = EXIT_INPUT;
    else
        code = json ? print_json(s, &result) : print(s, &result);
    free(recording.message);
    return code;
}

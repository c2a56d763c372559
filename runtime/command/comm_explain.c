/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin comm explain` and `yunjin comm simulate`: what a collective costs on a described machine, why an algorithm is
 * taken, and the schedule itself as text.
 */
#include "runtime/command/comm_simulate.h"

#include <yunjin/comm_schedule.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char explain_help[] =
    "usage: yunjin comm explain                                   lists collectives and algorithms\n"
    "       yunjin comm explain COLLECTIVE --ranks N [--bytes SIZE] [OPTION]...\n"
    "       yunjin comm explain COLLECTIVE ALGORITHM --ranks N --print [--root R]\n"
    "The first form with --ranks says which algorithm would be taken and what the others would cost; without --bytes, "
    "for\n"
    "8 bytes to 1 GiB. --print writes what each rank does in each round.\n";
static const char simulate_help[] =
    "usage: yunjin comm simulate COLLECTIVE [ALGORITHM] --ranks N --bytes SIZE [OPTION]...\n"
    "       yunjin comm simulate --schedule FILE --bytes SIZE [OPTION]...\n"
    "       yunjin comm simulate --platform FILE --collective NAME [--algorithm NAME] --ranks N --bytes SIZE "
    "[OPTION]...\n"
    "Walks all ranks, rounds and slices and says when the last rank is done. Without ALGORITHM: the one that would be "
    "taken.\n"
    "With a platform (docs/simulation.md) message by message, with the occupancy of every port and link:\n"
    "  --routing HOW          hash, destination or spray, instead of the platform's\n"
    "  --late RANK:US         this rank starts late (may be given again)\n"
    "  --fail nic:NODE:N      a NIC, or uplink:LEAF:N, has failed (may be given again)\n"
    "  --svg FILE             a picture of who waits for whom, up to 64 ranks\n";
static const char option_help[] =
    "  --bytes SIZE           of the whole vector, all blocks together: 8, 64K, 16M, 1G\n"
    "  --slices N             at most N slices (explain); N slices (simulate)\n"
    "  --ranks-per-node N     consecutive ranks share a node (default: all on one)\n"
    "  --node O,L,G           a message between ranks of one node: O us overhead, L us latency, G GB/s\n"
    "  --net O,L,G            the same between nodes\n"
    "  --reduce G             reduction, GB/s\n"
    "  --tuning FILE          rules that overrule the cost (docs/comm.md)\n"
    "  --ordered --canonical --in-place   what the algorithm must be able to do\n"
    "  --json                 {\"yunjin\",\"command\",\"summary\",\"cases\"}; for simulate the summary holds time_s\n"
    "Without figures those of a common node and a 100 Gbit/s network are taken; they are not measured here.\n"
    "Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

struct options {
    const char *command, *name[2], *bytes, *file;
    int names, ranks, root, slices; /* slices: 0 not given */
    bool json, print;
    struct yj_machine machine;
    struct yj_schedule_query query;
    struct simulate_words words;
};

static bool parse_gbps(const char *text, double *byte_s) {
    char *end;
    double rate = strtod(text, &end);
    if (end == text || *end || !(rate > 0) || !isfinite(rate)) return false;
    *byte_s = 1e-9 / rate;
    return true;
}

static bool parse_link(const char *text, struct yj_link *link) {
    double overhead, latency, byte_s;
    int n = 0;
    if (sscanf(text, "%lf,%lf,%n", &overhead, &latency, &n) != 2 || !n || !parse_gbps(text + n, &byte_s)) return false;
    if (!(overhead >= 0) || !(latency >= 0) || !isfinite(overhead) || !isfinite(latency)) return false;
    link->overhead_s = overhead * 1e-6, link->latency_s = latency * 1e-6, link->byte_s = byte_s;
    return true;
}

static bool flag(struct options *o, const char *word) {
    static const char *const names[] = {"--ordered", "--canonical", "--in-place"};
    for (unsigned i = 0; i < 3; i++)
        if (!strcmp(word, names[i])) return o->query.flags |= 1u << i, true;
    if (!strcmp(word, "--json")) return o->json = true;
    if (!strcmp(word, "--print")) return o->print = true;
    return false;
}

/* An exit code, or -1: go on. */
static int parse(int argc, char **argv, const char *help, struct options *o) {
    yj_machine_default(&o->machine);
    o->words.routing = -1;
    o->query = (struct yj_schedule_query){.size = sizeof o->query, .machine = &o->machine, .max_slices = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = "", *word = argv[i];
        bool bad = false;
        if (!strcmp(word, "--help") || !strcmp(word, "-h"))
            return fputs(help, stdout) < 0 || fputs(option_help, stdout) < 0 ? EXIT_MACHINE : EXIT_DONE;
        if (flag(o, word)) continue;
        bool simulates = !strcmp(o->command, "simulate");
        if (comm_option(argc, argv, &i, "--ranks", &value, &bad))
            bad = bad || !comm_parse_int(value, 1, 1 << 24, &o->ranks);
        else if (comm_option(argc, argv, &i, "--root", &value, &bad))
            bad = bad || !comm_parse_int(value, 0, 1 << 24, &o->root);
        else if (comm_option(argc, argv, &i, "--bytes", &o->bytes, &bad))
            bad = bad || !comm_parse_bytes(o->bytes, &o->query.bytes);
        else if (comm_option(argc, argv, &i, "--schedule", &o->file, &bad))
            bad = bad || !*o->file;
        else if (comm_option(argc, argv, &i, "--slices", &value, &bad))
            bad = bad || !comm_parse_int(value, 1, 64, &o->slices);
        else if (comm_option(argc, argv, &i, "--ranks-per-node", &value, &bad))
            bad = bad || !comm_parse_int(value, 1, 1 << 24, &o->machine.ranks_per_node);
        else if (comm_option(argc, argv, &i, "--collective", &o->name[0], &bad))
            o->names += !o->names;
        else if (comm_option(argc, argv, &i, "--algorithm", &o->name[1], &bad))
            o->names = 2;
        else if (simulates && comm_simulate_option(argc, argv, &i, &o->words, &bad))
            ;
        else if (comm_option(argc, argv, &i, "--tuning", &o->query.tuning, &bad))
            ;
        else if (comm_option(argc, argv, &i, "--node", &value, &bad))
            bad = bad || !parse_link(value, &o->machine.node);
        else if (comm_option(argc, argv, &i, "--net", &value, &bad))
            bad = bad || !parse_link(value, &o->machine.net);
        else if (comm_option(argc, argv, &i, "--reduce", &value, &bad))
            bad = bad || !parse_gbps(value, &o->machine.reduce_byte_s);
        else if (*word == '-' || o->names == 2)
            return comm_usage_error(o->command, "%s is not understood", word);
        else
            o->name[o->names++] = word;
        if (bad) return comm_usage_error(o->command, "%s: its value is missing or not understood", word);
    }
    o->query.collective = o->name[0], o->query.ranks = o->ranks;
    if (o->slices) o->query.max_slices = o->slices;
    return -1;
}

/* --- explain --- */

static int list_rows(const struct options *o) {
    struct yj_schedule_name row;
    json_t *cases = json_array();
    int n = 0;
    for (; yj_schedule_row(n, &row); n++) {
        if (o->json)
            json_array_append_new(cases, json_pack("{s:s, s:s, s:s}", "collective", row.collective, "algorithm",
                                                   row.algorithm, "text", row.doc));
        else
            printf("%-15s %-20s %s\n", row.collective, row.algorithm, row.doc);
    }
    if (o->json) return comm_write_json("comm explain", json_pack("{s:i}", "algorithms", n), cases);
    json_decref(cases);
    return EXIT_DONE;
}

static int print_schedule(const struct options *o) {
    char *text;
    enum yj_status status =
        yj_schedule_print(o->name[0], o->name[1], o->ranks, o->machine.ranks_per_node, o->root, &text);
    if (status != YJ_OK) return comm_failed("explain", status);
    int code = EXIT_DONE;
    if (o->json)
        code = comm_write_json(
            "comm explain", json_pack("{s:i}", "ranks", o->ranks),
            json_pack("[{s:s, s:s, s:s}]", "collective", o->name[0], "algorithm", o->name[1], "schedule", text));
    else if (fputs(text, stdout) < 0)
        code = EXIT_MACHINE;
    free(text);
    return code;
}

enum { OPTIONS = 64 };

static void text_case(const struct options *o, const struct yj_schedule_option *option, int n, int best, bool all) {
    char time[24], size[24];
    snprintf(size, sizeof size, "%llu", (unsigned long long)o->query.bytes);
    comm_print_time(option[best].time_s, time);
    if (!all) {
        printf("%12s bytes  %-20s %12s  %d rounds, %d slices\n", size, option[best].algorithm, time,
               option[best].rounds, option[best].slices);
        return;
    }
    printf("%s, %d ranks, %s bytes: %s", o->name[0], o->ranks, size, option[best].algorithm);
    if (option[best].line)
        printf(", by %s:%d\n", o->query.tuning, option[best].line);
    else
        printf(", the cheapest\n");
    for (int i = 0; i < n; i++) {
        comm_print_time(option[i].time_s, time);
        if (option[i].refused)
            printf("  %-20s %16s  %s\n", option[i].algorithm, "refused", option[i].refused);
        else if (option[i].at_least)
            printf("  %-20s %4s%12s  given up after %d rounds\n", option[i].algorithm, ">", time, option[i].rounds);
        else
            printf("%s %-20s %16s  %d rounds, %d slices; %s\n", i == best ? " *" : "  ", option[i].algorithm, time,
                   option[i].rounds, option[i].slices, option[i].doc);
    }
}

static void json_case(const struct options *o, const struct yj_schedule_option *option, int n, int best,
                      json_t *cases) {
    for (int i = 0; i < n; i++) {
        json_t *c = json_pack("{s:s, s:s, s:i, s:I, s:b}", "collective", o->name[0], "algorithm", option[i].algorithm,
                              "ranks", o->ranks, "bytes", (json_int_t)o->query.bytes, "chosen", i == best);
        if (option[i].refused)
            json_object_set_new(c, "refused", json_string(option[i].refused));
        else
            json_object_update_new(c, json_pack("{s:f, s:b, s:i, s:i}", "time_s", option[i].time_s, "at_least",
                                                option[i].at_least, "rounds", option[i].rounds, "slices",
                                                option[i].slices));
        json_array_append_new(cases, c);
    }
}

int command_comm_explain(int argc, char **argv) {
    struct options o = {.command = "explain"};
    struct yj_schedule_option option[OPTIONS];
    int n, best, done = parse(argc, argv, explain_help, &o);
    if (done >= 0) return done;
    if (o.file) return comm_usage_error("explain", "--schedule belongs to verify and simulate");
    if (!o.names && !o.ranks) return list_rows(&o);
    if (!o.name[0]) return comm_usage_error("explain", "a collective is needed, as in: explain all_reduce --ranks 8");
    if (!o.ranks) return comm_usage_error("explain", "--ranks is needed, as in: explain %s --ranks 8", o.name[0]);
    if (o.print != (o.names == 2)) return comm_usage_error("explain", "--print and an algorithm go together");
    if (o.print) return print_schedule(&o);
    json_t *cases = json_array();
    uint64_t last = o.bytes ? o.query.bytes : (uint64_t)1 << 30;
    if (!o.bytes) o.query.bytes = 8;
    for (;; o.query.bytes *= 8) {
        enum yj_status status = yj_schedule_explain(&o.query, option, OPTIONS, &n, &best);
        if (status != YJ_OK) {
            json_decref(cases);
            return comm_failed("explain", status);
        }
        if (o.json)
            json_case(&o, option, n, best, cases);
        else
            text_case(&o, option, n, best, o.bytes != NULL);
        if (o.query.bytes >= last) break;
    }
    if (o.json)
        return comm_write_json("comm explain",
                               json_pack("{s:i, s:s, s:f}", "ranks", o.ranks, "algorithm", option[best].algorithm,
                                         "time_s", option[best].time_s),
                               cases);
    json_decref(cases);
    return EXIT_DONE;
}

/* --- simulate --- */

static enum yj_status simulate(const struct options *o, struct yj_schedule_option *option) {
    char *text;
    if (!o->file) return yj_schedule_simulate(&o->query, o->name[1], option);
    *option = (struct yj_schedule_option){.algorithm = o->file, .slices = o->query.max_slices};
    if (comm_read_text(o->file, &text) != YJ_OK) return YJ_ERR_INPUT;
    enum yj_status status = yj_schedule_simulate_text(&o->query, o->file, text, &option->time_s);
    free(text);
    if (status != YJ_OK) comm_failed("simulate", status);
    return status;
}

int command_comm_simulate(int argc, char **argv) {
    struct options o = {.command = "simulate"};
    struct yj_schedule_option option;
    int done = parse(argc, argv, simulate_help, &o);
    if (done >= 0) return done;
    bool platform = o.words.platform != NULL;
    if (o.print || (o.root && !platform)) return comm_usage_error("simulate", "--print and --root belong to explain");
    if (!platform && (o.words.svg || o.words.troubles || o.words.routing >= 0))
        return comm_usage_error("simulate", "--svg, --late, --fail and --routing need --platform");
    if (platform && o.file) return comm_usage_error("simulate", "either --platform or --schedule");
    if (o.file ? o.names || o.ranks : !o.name[0] || !o.ranks)
        return comm_usage_error("simulate", "either a collective and --ranks, or --schedule FILE");
    if (!o.bytes) return comm_usage_error("simulate", "--bytes is needed");
    if (platform) {
        struct yj_simulation simulation = {.size = sizeof simulation,
                                           .ranks = o.ranks,
                                           .root = o.root,
                                           .slices = o.slices,
                                           .collective = o.name[0],
                                           .algorithm = o.name[1],
                                           .bytes = o.query.bytes};
        return comm_simulate_platform(&simulation, &o.words, o.json);
    }
    enum yj_status status = simulate(&o, &option);
    if (status != YJ_OK) return o.file ? comm_exit_code(status) : comm_failed("simulate", status);
    const char *what = o.file ? "schedule" : o.name[0];
    if (!o.json) {
        char time[24];
        comm_print_time(option.time_s, time);
        printf("%s %s, %llu bytes, %d slices: %s\n", what, option.algorithm, (unsigned long long)o.query.bytes,
               option.slices, time);
        return EXIT_DONE;
    }
    return comm_write_json("comm simulate", json_pack("{s:f}", "time_s", option.time_s),
                           json_pack("[{s:s, s:s, s:i, s:I, s:i, s:i, s:f}]", "collective", what, "algorithm",
                                     option.algorithm, "ranks", o.ranks, "bytes", (json_int_t)o.query.bytes, "slices",
                                     option.slices, "rounds", option.rounds, "time_s", option.time_s));
}

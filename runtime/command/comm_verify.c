/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin comm verify`: proves algorithms, or a schedule in a file, for chosen numbers of ranks.
 */
#include "runtime/command/comm.h"

#include <yunjin/comm_schedule.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: yunjin comm verify [COLLECTIVE [ALGORITHM]] [--ranks LIST] [--json]\n"
    "       yunjin comm verify --schedule FILE [--json]\n"
    "Runs the schedules of all ranks on symbols in one process: eager, rendezvous and put, apart and in place, "
    "several\n"
    "roots. Proves that every rank ends with every contribution exactly once and with the same bits as all others.\n"
    "  --ranks LIST     numbers of ranks, such as 4 or 1..64 or 2,100..128 (default 1..64)\n"
    "  --schedule FILE  a schedule in text, as `yunjin comm explain --print` writes it\n"
    "  --json           "
    "{\"yunjin\",\"command\",\"summary\":{\"pass\",\"fail\",\"unsupported\",\"crash\",\"total\"},\"cases\"}\n"
    "Exit: 0 all proven, 1 something is wrong, 2 command line, 3 machine.\n";

struct tally {
    int pass, fail, unsupported, crash;
    bool json;
    json_t *cases;
    char row[96]; /* text: the row whose line is being counted */
    int first, last, passed;
};

static void end_line(struct tally *t) {
    if (!t->json && t->passed) printf("%-36s %d proven, %d..%d ranks\n", t->row, t->passed, t->first, t->last);
    t->passed = 0;
}

static void count(void *user, const struct yj_schedule_case *c) {
    struct tally *t = user;
    const char *outcome = "pass";
    if (c->status == YJ_OK)
        t->pass++;
    else if (c->status == YJ_ERR_UNSUPPORTED)
        t->unsupported++, outcome = "unsupported";
    else if (c->status == YJ_ERR_INPUT)
        t->fail++, outcome = "fail";
    else
        t->crash++, outcome = "crash";
    if (t->json) {
        json_array_append_new(t->cases,
                              json_pack("{s:s, s:s, s:i, s:s, s:s, s:i, s:I, s:I, s:f}", "collective", c->collective,
                                        "algorithm", c->algorithm, "ranks", c->ranks, "outcome", outcome, "text",
                                        c->text, "rounds", c->rounds, "messages", (json_int_t)c->messages, "blocks",
                                        (json_int_t)c->blocks, "seconds", c->seconds));
        return;
    }
    if (c->status != YJ_OK) {
        end_line(t);
        printf("%s %s, %d ranks: %s: %s\n", c->collective, c->algorithm, c->ranks, outcome, c->text);
        return;
    }
    snprintf(t->row, sizeof t->row, "%s %s", c->collective, c->algorithm);
    if (!t->passed++) t->first = c->ranks;
    t->last = c->ranks;
}

static int finish(struct tally *t) {
    int total = t->pass + t->fail + t->unsupported + t->crash, code = t->crash  ? EXIT_MACHINE
                                                                      : t->fail ? EXIT_INPUT
                                                                                : EXIT_DONE;
    end_line(t);
    if (!t->json)
        printf("%d proven, %d wrong, %d unsupported, %d failed to run, %d in all\n", t->pass, t->fail, t->unsupported,
               t->crash, total);
    if (!t->json) return code;
    int written = comm_write_json("comm verify",
                                  json_pack("{s:i, s:i, s:i, s:i, s:i}", "pass", t->pass, "fail", t->fail,
                                            "unsupported", t->unsupported, "crash", t->crash, "total", total),
                                  t->cases);
    t->cases = NULL;
    return written ? written : code;
}

static int verify_file(const char *path, struct tally *t) {
    char *text;
    if (comm_read_text(path, &text) != YJ_OK) return EXIT_INPUT;
    enum yj_status status = yj_schedule_verify_text(path, text, count, t);
    free(text);
    return status == YJ_OK ? finish(t) : comm_failed("verify", status);
}

/* Row by row, so that the text has one line a row. */
static int verify_rows(const char *collective, const char *algorithm, const int *ranks, int n, struct tally *t) {
    struct yj_schedule_name row;
    int found = 0;
    for (int i = 0; yj_schedule_row(i, &row); i++) {
        if ((collective && strcmp(collective, row.collective)) || (algorithm && strcmp(algorithm, row.algorithm)))
            continue;
        found++;
        for (int k = 0; k < n; k++) {
            enum yj_status status = yj_schedule_verify(row.collective, row.algorithm, ranks[k], count, t);
            if (status != YJ_OK) return comm_failed("verify", status);
        }
        end_line(t);
        if (!t->json) fflush(stdout);
    }
    if (found) return finish(t);
    bool known = false;
    for (int i = 0; yj_schedule_row(i, &row); i++)
        known |= !strcmp(collective, row.collective);
    if (known)
        fprintf(stderr, "yunjin comm verify: %s has no algorithm '%s'", collective, algorithm);
    else
        fprintf(stderr, "yunjin comm verify: there is no collective '%s'", collective);
    fputs("; yunjin comm explain lists collectives and algorithms\n", stderr);
    return EXIT_INPUT;
}

int command_comm_verify(int argc, char **argv) {
    const char *name[2] = {NULL, NULL}, *list = "1..64", *file = NULL;
    struct tally t = {0};
    int names = 0, n = 0, *ranks = NULL;
    bool bad = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return fputs(help, stdout) < 0 ? EXIT_MACHINE : EXIT_DONE;
        if (!strcmp(argv[i], "--json"))
            t.json = true;
        else if (comm_option(argc, argv, &i, "--ranks", &list, &bad))
            continue;
        else if (comm_option(argc, argv, &i, "--schedule", &file, &bad))
            continue;
        else if (*argv[i] == '-' || names == 2)
            return comm_usage_error("verify", "%s is not understood", argv[i]);
        else
            name[names++] = argv[i];
    }
    if (bad) return comm_usage_error("verify", "an option lacks its value");
    if (file && names) return comm_usage_error("verify", "either names or --schedule");
    if (!file && !comm_parse_ranks(list, &ranks, &n))
        return comm_usage_error("verify", "--ranks %s is no list such as 2,4..8", list);
    t.cases = json_array();
    int code = file ? verify_file(file, &t) : verify_rows(name[0], name[1], ranks, n, &t);
    json_decref(t.cases);
    free(ranks);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `yunjin comm`: hands over to its parts, and holds what they share.
 */
#include "runtime/command/comm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: yunjin comm COMMAND [OPTION]...\n"
    "  verify    prove that the collective algorithms are right, for chosen numbers of ranks\n"
    "  explain   which algorithm a call would take, and what the others would cost; print schedules\n"
    "  simulate  time of a collective on a described machine, all ranks\n"
    "  bench     time of collectives on this machine\n"
    "yunjin comm COMMAND --help says more. Exit: 0 done, 1 input, 2 command line, 3 machine.\n";

#pragma weak command_comm_bench /* it measures communicators: a build without them goes without it */

int command_comm(int argc, char **argv) {
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "verify")) return command_comm_verify(argc - 1, argv + 1);
    if (!strcmp(command, "explain")) return command_comm_explain(argc - 1, argv + 1);
    if (!strcmp(command, "simulate")) return command_comm_simulate(argc - 1, argv + 1);
    if (!strcmp(command, "bench") && command_comm_bench) return command_comm_bench(argc - 1, argv + 1);
    if (!strcmp(command, "--help") || !strcmp(command, "-h")) return fputs(help, stdout) < 0 ? EXIT_MACHINE : EXIT_DONE;
    if (!strcmp(command, "autopsy"))
        fprintf(stderr,
                "yunjin comm autopsy: not supported yet: no records of a failed job are written that it could read\n");
    else if (!strcmp(command, "bench"))
        fprintf(stderr, "yunjin comm bench: not in this build\n");
    else if (*command)
        fprintf(stderr, "yunjin comm: no command is called %s; yunjin comm --help lists them\n", command);
    else
        fputs(help, stderr);
    return EXIT_COMMAND_LINE;
}

/* What does not serve the question is input; what fails below us is the machine. */
int comm_exit_code(enum yj_status status) {
    switch (status) {
    case YJ_OK:
        return EXIT_DONE;
    case YJ_ERR_INPUT:
    case YJ_ERR_UNSUPPORTED:
    case YJ_ERR_MISMATCH:
        return EXIT_INPUT;
    default:
        return EXIT_MACHINE;
    }
}

int comm_usage_error(const char *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "yunjin comm %s: ", command);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "; yunjin comm %s --help says more\n", command);
    va_end(arguments);
    return EXIT_COMMAND_LINE;
}

int comm_failed(const char *command, enum yj_status status) {
    fprintf(stderr, "yunjin comm %s: %s: %s\n", command, yj_status_name(status), yj_error_text());
    return comm_exit_code(status);
}

bool comm_option(int argc, char **argv, int *i, const char *name, const char **value, bool *bad) {
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) || (argv[*i][n] && argv[*i][n] != '=')) return false;
    *value = argv[*i][n] ? argv[*i] + n + 1 : *i + 1 < argc ? argv[++*i] : NULL;
    if (!*value || !**value) *bad = true;
    return true;
}

bool comm_parse_int(const char *text, int low, int high, int *value) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < low || n > high) return false;
    *value = (int)n;
    return true;
}

bool comm_parse_bytes(const char *text, uint64_t *bytes) {
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9') return false;
    unsigned long long n = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
    if (errno || *(end + (shift > 0)) || (shift && n > UINT64_MAX >> 1 >> shift)) return false;
    *bytes = (uint64_t)n << shift;
    return *bytes <= UINT64_MAX >> 1;
}

bool comm_parse_ranks(const char *text, int **ranks, int *n) {
    enum { MOST = 1 << 20 };
    int *list = NULL, count = 0;
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *end;
        long low = strtol(at, &end, 10), high = low;
        if (end == at) break;
        if (!strncmp(end, "..", 2)) at = end + 2, high = strtol(at, &end, 10);
        int *more = NULL;
        if (end != at && (*end == ',' || !*end) && low >= 1 && high >= low && high <= MOST && high - low < MOST - count)
            more = realloc(list, (size_t)(count + (int)(high - low) + 1) * sizeof *list);
        if (!more) break;
        for (list = more; low <= high; low++)
            list[count++] = (int)low;
        if (!*end) {
            *ranks = list, *n = count;
            return true;
        }
    }
    free(list);
    return false;
}

enum yj_status comm_read_text(const char *path, char **text) {
    FILE *file = fopen(path, "rb");
    size_t n = 0, room = 0;
    char *data = NULL;
    bool ok = file != NULL;
    while (ok) {
        if (n + 4096 > room) {
            char *more = realloc(data, room = 2 * room + 8192);
            if (!more) break;
            data = more;
        }
        size_t got = fread(data + n, 1, 4096, file);
        n += got;
        if (got) continue;
        data[n] = 0;
        ok = !ferror(file) && !memchr(data, 0, n);
        break;
    }
    if (file) fclose(file);
    if (ok && data)
        *text = data;
    else
        fprintf(stderr, "yunjin comm: %s: %s\n", path, file ? "cannot be read as text" : strerror(errno)), free(data);
    return ok && data ? YJ_OK : YJ_ERR_INPUT;
}

void comm_print_time(double seconds, char text[static 24]) {
    if (seconds < 1e-3)
        snprintf(text, 24, "%.2f us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(text, 24, "%.2f ms", seconds * 1e3);
    else
        snprintf(text, 24, "%.2f s", seconds);
}

int comm_write_json(const char *command, json_t *summary, json_t *cases) {
    json_t *all =
        json_pack("{s:s, s:s, s:o, s:o}", "yunjin", YJ_VERSION, "command", command, "summary", summary, "cases", cases);
    int failed = !all || json_dumpf(all, stdout, JSON_COMPACT) || putchar('\n') == EOF || fflush(stdout);
    json_decref(all);
    if (failed) fprintf(stderr, "yunjin comm: cannot write JSON\n");
    return failed ? EXIT_MACHINE : EXIT_DONE;
}

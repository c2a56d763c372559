/* SPDX-License-Identifier: Apache-2.0
 *
 * The program `yunjin`: one table of commands. A command is one function in its own file; it gets the words from its
 * name on and returns the exit code: 0 done, 1 input, 2 command line, 3 machine.
 */
#include <yunjin/base.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Weak: a build without a command's file says so instead of failing. */
#define COMMAND(name, words, doc) int command_##name(int argc, char **argv) __attribute__((weak));
#define COMMANDS                                                                                                       \
    COMMAND(compile, "MODEL", "compile a model for one or more chips and ranks")                                       \
    COMMAND(run, "MODEL|OUT.yj", "run a model")                                                                        \
    COMMAND(inspect, "MODEL|OUT.yj", "show ops, memory, cost, fusion, collectives, and what is unsupported")           \
    COMMAND(targets, "[NAME]", "list chips and what is known of them")                                                 \
    COMMAND(test, "onnx|target|device", "check models, a chip, a device")                                              \
    COMMAND(comm, "verify|explain|bench|simulate", "work with collectives")
COMMANDS
#undef COMMAND

static const struct command {
    const char *name, *words, *doc;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, words, doc) {#name, words, doc, command_##name},
    COMMANDS
#undef COMMAND
};

static void usage(FILE *out) {
    fprintf(out, "usage: yunjin COMMAND ...   (yunjin COMMAND --help says more)\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-8s %-30s %s\n", commands[i].name, commands[i].words, commands[i].doc);
    fprintf(out, "version %s\n", YJ_VERSION);
}

/* What was said must have arrived: `> FILE` on a full disk is no success. */
static int finish(int code) {
    bool lost = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !lost) return code;
    fprintf(stderr, "yunjin: what was to be said could not be written: %s\n", strerror(errno));
    return 3;
}

static int run_command(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) return printf("yunjin %s\n", YJ_VERSION) < 0 ? 3 : 0;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        if (commands[i].run) return commands[i].run(argc - 1, argv + 1);
        fprintf(stderr, "yunjin: this build has no command %s\n", argv[1]);
        return 3;
    }
    fprintf(stderr, "yunjin: unknown command %s\n", argv[1]);
    usage(stderr);
    return 2;
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is an error of write(), with a message */
    return finish(run_command(argc, argv));
}

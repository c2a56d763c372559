/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of `yunjin inspect` as text: from the JSON object, so that both say the same.
 */
#include "runtime/command/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SHORT 12 /* kernels and edges without --all */

static const char *text_of(const json_t *j, const char *key) {
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "";
}

static double number_of(const json_t *j, const char *key) {
    return json_number_value(json_object_get(j, key));
}
static int count_of(const json_t *j, const char *key) {
    return (int)json_integer_value(json_object_get(j, key));
}

/* A list of texts or numbers, with ", " between. */
static void print_list(const json_t *list) {
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) {
        if (json_is_string(item))
            printf("%s%s", i ? ", " : "", json_string_value(item));
        else
            printf("%s%" JSON_INTEGER_FORMAT, i ? ", " : "", json_integer_value(item));
    }
}

static void print_bytes(double bytes) {
    if (bytes < 1e4)
        printf("%.0f B", bytes);
    else if (bytes < 1e6)
        printf("%.1f kB", bytes / 1e3);
    else
        printf("%.1f MB", bytes / 1e6);
}

/* Names with counts, the most frequent first. */
struct counted {
    const char *name;
    json_int_t n;
};

static int by_count(const void *a, const void *b) {
    const struct counted *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? 1 : -1) : strcmp(x->name, y->name);
}

static void print_counts(const char *title, json_t *counts) {
    size_t n = json_object_size(counts), at = 0;
    struct counted *list = calloc(n + 1, sizeof *list);
    const char *name;
    json_t *value;
    if (!list) return;
    json_object_foreach(counts, name, value) list[at++] = (struct counted){name, json_integer_value(value)};
    qsort(list, n, sizeof *list, by_count);
    printf("  %-12s", title);
    for (size_t i = 0; i < n; i++)
        printf("%s%s %" JSON_INTEGER_FORMAT, i ? ", " : "", list[i].name, list[i].n);
    printf("%s\n", n ? "" : "none");
    free(list);
}

static void print_ports(const char *title, const json_t *ports) {
    size_t i;
    json_t *port;
    json_array_foreach(ports, i, port) {
        printf("  %-7s %s %s [", title, text_of(port, "name"), text_of(port, "dtype"));
        print_list(json_object_get(port, "dims"));
        printf("]\n");
    }
}

static void print_states(const json_t *states) {
    size_t i;
    json_t *s;
    json_array_foreach(states, i, s) {
        printf("  state   %s %s [", text_of(s, "name"), text_of(s, "dtype"));
        print_list(json_object_get(s, "before"));
        printf("] -> %s [", text_of(s, "output"));
        print_list(json_object_get(s, "after"));
        printf("], in place in ");
        print_bytes(number_of(s, "bytes"));
        printf("\n");
    }
}

static void print_at(json_t *at) {
    const char *name;
    json_t *value;
    printf("  %-12s", "figures at");
    if (json_object_size(at) == 0) printf(" one shape");
    json_object_foreach(at, name, value) printf(" %s=%" JSON_INTEGER_FORMAT, name, json_integer_value(value));
    printf("\n");
}

static int by_us(const void *a, const void *b) {
    double x = number_of(*(json_t *const *)a, "us"), y = number_of(*(json_t *const *)b, "us");
    return x != y ? (x < y ? 1 : -1)
                  : strcmp(text_of(*(json_t *const *)a, "name"), text_of(*(json_t *const *)b, "name"));
}

static void print_kernels(const json_t *kernels, double total, bool all) {
    size_t n = json_array_size(kernels), i;
    json_t **list = calloc(n + 1, sizeof *list), *k;
    if (!list) return;
    json_array_foreach(kernels, i, k) list[i] = k;
    qsort(list, n, sizeof *list, by_us);
    printf("  kernels      %zu, %.1f us of one core by estimate:\n", n, total);
    for (i = 0; i < n && (all || i < SHORT); i++) {
        const json_t *variants = json_object_get(list[i], "variants"), *nodes = json_object_get(list[i], "nodes");
        printf("    %5.1f %% %9.1f us  %3d x %s: %d tiles", total > 0 ? 100 * number_of(list[i], "us") / total : 0,
               number_of(list[i], "us"), count_of(list[i], "launches"), text_of(list[i], "name"),
               count_of(list[i], "tiles"));
        if (number_of(list[i], "scratch_bytes") > 0) {
            printf(", scratch ");
            print_bytes(number_of(list[i], "scratch_bytes"));
        }
        if (json_array_size(variants) > 1) printf(", %zu variants", json_array_size(variants));
        size_t n_nodes = json_array_size(nodes);
        if (n_nodes) printf(" <- node %s%s", json_string_value(json_array_get(nodes, 0)), n_nodes > 1 ? " .." : "");
        printf("\n");
        size_t v;
        json_t *item;
        if (!all) continue;
        json_array_foreach(nodes, v, item) if (v) printf("                  node %s\n", json_string_value(item));
        json_array_foreach(variants, v, item)
            printf("                  %s tiles %s scratch %s%s%s\n", text_of(item, "symbol"), text_of(item, "tiles"),
                   text_of(item, "scratch_bytes"), *text_of(item, "when") ? " when " : "", text_of(item, "when"));
    }
    if (!all && n > SHORT) printf("    .. %zu more (--all)\n", n - SHORT);
    free(list);
}

static void print_fusion(const json_t *fusion, bool all) {
    size_t i, e;
    json_t *reason, *edge;
    if (!fusion) return;
    printf("  fusion       %d groups; %d edges were not fused:\n", count_of(fusion, "groups"),
           count_of(fusion, "not_fused"));
    json_array_foreach(json_object_get(fusion, "reasons"), i, reason) {
        printf("    %4d  %s\n", count_of(reason, "count"), text_of(reason, "why"));
        json_array_foreach(json_object_get(reason, "edges"), e, edge) if (all)
            printf("          %%%s (%s) -> %s\n", text_of(edge, "value"), text_of(edge, "producer"),
                   text_of(edge, "consumer"));
    }
}

static double bytes_of(const json_t *weights) {
    size_t i;
    json_t *w;
    double bytes = 0;
    json_array_foreach(weights, i, w) bytes += number_of(w, "bytes");
    return bytes;
}

static void print_sharding(const json_t *sharding, bool all) {
    const json_t *split = json_object_get(sharding, "split"), *whole = json_object_get(sharding, "replicated");
    size_t i;
    json_t *w;
    if (!sharding) return;
    printf("  sharding     %zu constants are split (", json_array_size(split));
    print_bytes(bytes_of(split));
    printf("), every rank holds %zu whole (", json_array_size(whole));
    print_bytes(bytes_of(whole));
    printf(")\n");
    if (json_array_size(split) == 0)
        printf("    nothing is shared: sizes do not divide, or collectives would cost more than they save\n");
    json_array_foreach(split, i, w) if (all) printf("    split %s\n", text_of(w, "name"));
    json_array_foreach(whole, i, w) if (all) printf("    whole %s\n", text_of(w, "name"));
}

/* What runs only if, or again and again. */
static void print_blocks(const json_t *blocks) {
    size_t i;
    json_t *b;
    if (json_array_size(blocks) < 2) return;
    printf("  blocks       %zu; kernel times count each once:\n", json_array_size(blocks));
    json_array_foreach(blocks, i, b) {
        const json_t *by = json_object_get(b, "run_by"), *node = json_array_get(json_object_get(by, "nodes"), 0);
        printf("    #%zu %s: %d steps, %d launches, %.1f us", i, text_of(b, "name"), (int)number_of(b, "steps"),
               (int)number_of(b, "launches"), number_of(b, "us"));
        if (json_is_object(by))
            printf("; #%d step %d: %s%s%s", (int)number_of(by, "block"), (int)number_of(by, "step"), text_of(by, "how"),
                   node ? " <- node " : "", node ? json_string_value(node) : "");
        printf("\n");
    }
}

static void print_collectives(const json_t *collectives, double open_us) {
    size_t i;
    json_t *c;
    if (json_array_size(collectives))
        printf("  collectives  %zu, %.1f us not hidden:\n", json_array_size(collectives), open_us);
    json_array_foreach(collectives, i, c) {
        printf("    step %d %s %s%sover %s: ", count_of(c, "step"), text_of(c, "kind"), text_of(c, "op"),
               *text_of(c, "op") ? " " : "", text_of(c, "axis"));
        print_bytes(number_of(c, "bytes"));
        if (json_is_number(json_object_get(c, "us")))
            printf(", %.1f us, %.1f hidden", number_of(c, "us"), number_of(c, "hidden_us"));
        const char *where = json_string_value(json_array_get(json_object_get(c, "nodes"), 0));
        if (where) printf(" <- node %s", where);
        printf("\n");
        if (*text_of(c, "overlap"))
            printf("      overlap (decided at bounds, at most 128): %s\n", text_of(c, "overlap"));
        else
            printf("      %d kernels run between start and wait\n", count_of(c, "kernels_between"));
    }
}

static void print_arithmetic(double gflop) {
    double scale = gflop < 1e-3 ? 1e6 : gflop < 1 ? 1e3 : 1;
    printf("  arithmetic   %.4g %sFLOP\n", gflop * scale, scale == 1e6 ? "k" : scale == 1e3 ? "M" : "G");
}

static void print_program(const json_t *p, bool all) {
    const json_t *memory = json_object_get(p, "memory"), *onnx = json_object_get(p, "onnx");
    printf("program for %s, %d rank%s%s%s\n", text_of(p, "target"), count_of(p, "ranks"),
           count_of(p, "ranks") > 1 ? "s" : "", *text_of(p, "minimum") ? ", needs " : "", text_of(p, "minimum"));
    print_ports("input", json_object_get(p, "inputs"));
    print_ports("output", json_object_get(p, "outputs"));
    print_states(json_object_get(p, "states"));
    if (onnx) {
        printf("  %-12s %d nodes\n", "onnx", count_of(onnx, "nodes"));
        print_counts("", json_object_get(onnx, "ops"));
    }
    if (json_object_get(p, "ops")) print_counts("ops", json_object_get(p, "ops"));
    print_counts("steps", json_object_get(p, "steps"));
    print_blocks(json_object_get(p, "blocks"));
    print_at(json_object_get(p, "at"));
    if (json_object_get(p, "gflop")) print_arithmetic(number_of(p, "gflop"));
    printf("  memory       weights ");
    print_bytes(number_of(memory, "weight_bytes"));
    printf(", states ");
    print_bytes(number_of(memory, "state_bytes"));
    printf(", temporaries ");
    print_bytes(number_of(memory, "temporary_bytes"));
    printf(", scratch of a thread ");
    print_bytes(number_of(memory, "scratch_bytes_thread"));
    printf("%s\n", count_of(p, "ranks") > 1 ? " (of one rank)" : "");
    print_kernels(json_object_get(p, "kernels"), number_of(p, "kernel_us"), all);
    print_fusion(json_object_get(p, "fusion"), all);
    print_sharding(json_object_get(p, "sharding"), all);
    print_collectives(json_object_get(p, "collectives"), number_of(p, "collective_us_not_hidden"));
    if (json_object_get(p, "inexact"))
        printf("  inexact      %s\n", json_array_size(json_object_get(p, "inexact")) ? "" : "nothing");
}

void inspect_text(const json_t *summary, const json_t *cases, bool all) {
    size_t i;
    json_t *item;
    printf("%s%s%s\n", text_of(summary, "model"), *text_of(summary, "written_by") ? ", written by Yunjin " : "",
           text_of(summary, "written_by"));
    json_array_foreach(cases, i, item) print_program(item, all);
    json_array_foreach(json_object_get(summary, "files"), i, item) printf(
        "file %-28s %12.0f bytes  %.16s...\n", text_of(item, "path"), number_of(item, "bytes"), text_of(item, "hash"));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes, in the order in which they run: read this first. Each is a file of its name.
 */
#include "compiler/pass.h"
#include "compiler/shard.h"

static enum yj_status pass_shard(struct graph *g, const struct pass_options *o) {
    TRY(shard_graph(g));
    return collectives_outermost(g);
}

static enum yj_status pass_fuse(struct graph *g, const struct pass_options *o) {
    TRY(fuse_graph(g, o->fuse_log));
    graph_sweep(g); /* numbers that now stand in kernels */
    return YJ_OK;
}

static enum yj_status pass_overlap(struct graph *g, const struct pass_options *o) {
    return overlap_graph(g, o->overlap_log);
}

static const struct pass {
    const char *name;
    pass_fn *run;
    const char *doc;
} passes[] = {
    {"fold", pass_fold, "compute what depends on no input, take the branch that is known, remove what nobody uses"},
    {"simplify", pass_simplify, "ops that change nothing, views of views, equal ops: each becomes one or none"},
    {"shard", pass_shard, "share the work among the ranks of the mesh, with collectives where values must meet"},
    {"fuse", pass_fuse, "join ops that one kernel can compute"},
    {"layout", pass_layout, "weights in the panels of the target's tiles, images with channels last"},
    {"overlap", pass_overlap, "run kernels between the start of a collective and the wait for it"},
};

/* Is NAME one of the comma-separated LIST? */
static bool listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == n && !strncmp(list, name, n)) return true;
    return false;
}

static enum yj_status check_names(const char *list) {
    while (list && *list) {
        size_t n = strcspn(list, ",");
        bool known = (n == 7 && !strncmp(list, "kernels", n)) || (n == 3 && !strncmp(list, "all", n));
        for (size_t i = 0; i < COUNT(passes); i++)
            known |= strlen(passes[i].name) == n && !strncmp(list, passes[i].name, n);
        if (!known) {
            struct text names = {0};
            for (size_t i = 0; i < COUNT(passes); i++)
                text_add(&names, " %s", passes[i].name);
            report(YJ_ERR_INPUT, "there is no pass '%.*s'; the passes are:%s", (int)n, list,
                   names.data ? names.data : "");
            text_free(&names);
            return YJ_ERR_INPUT;
        }
        list += n + (list[n] == ',');
    }
    return YJ_OK;
}

enum yj_status pipeline_run(struct graph *g, const struct pass_options *o) {
    TRY(check_names(o->only));
    TRY(check_names(o->print_after));
    TRY(graph_verify(g));
    for (size_t i = 0; i < COUNT(passes); i++) {
        if (o->only && !listed(o->only, passes[i].name)) continue;
        enum yj_status status = passes[i].run(g, o);
        if (status != YJ_OK) return report_in(status, "pass %s", passes[i].name);
        status = graph_verify(g);
        if (status != YJ_OK) return report_in(YJ_ERR_INTERNAL, "after pass %s", passes[i].name);
        if (!o->print || !o->print_after || (!listed(o->print_after, passes[i].name) && !listed(o->print_after, "all")))
            continue;
        struct text text = {0};
        graph_print(&text, g);
        if (!text.failed && text.data) o->print(o->user, text.data);
        text_free(&text);
    }
    return YJ_OK;
}

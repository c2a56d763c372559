/* SPDX-License-Identifier: Apache-2.0
 *
 * The event queue against closed forms, to the picosecond; against the max-plus cost where nobody is in another's way;
 * contention, late ranks, failed NICs and uplinks by hand; and that every row comes to its end.
 */
#include "comm/generate.h"

#include <yunjin/comm_simulate.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* A byte takes 1 ps within a node, 4 ps between nodes, 2 ps to add, 1 ps to copy: all figures are whole. */
enum { INSIDE = 1000, ACROSS = 8000 };
static struct yj_platform cluster(int nodes, int ranks_per_node) {
    return (struct yj_platform){.size = sizeof(struct yj_platform),
                                .nodes = nodes,
                                .ranks_per_node = ranks_per_node,
                                .nics_per_node = ranks_per_node,
                                .nodes_per_leaf = nodes,
                                .routing = YJ_ROUTE_DESTINATION,
                                .fabric = {0, INSIDE, 1000000},
                                .nic = {0, ACROSS, 250000},
                                .uplink = {0, 0, 250000},
                                .reduce_mb_per_s = 500000,
                                .copy_mb_per_s = 1000000};
}

static struct yj_simulated result;
static enum yj_status simulate(const struct yj_platform *p, const char *collective, const char *algorithm,
                               uint64_t bytes, const struct yj_trouble *trouble, int n) {
    struct yj_simulation s = {.size = sizeof s,
                              .ranks = p->nodes * p->ranks_per_node,
                              .slices = 1,
                              .collective = collective,
                              .algorithm = algorithm,
                              .bytes = bytes,
                              .platform = p,
                              .trouble = trouble,
                              .troubles = n};
    return yj_simulate(&s, &result);
}

static int64_t time_of(const struct yj_platform *p, const char *collective, const char *algorithm, int64_t bytes) {
    enum yj_status status = simulate(p, collective, algorithm, (uint64_t)bytes, NULL, 0);
    if (status != YJ_OK) print_error("%s\n", yj_error_text());
    assert_int_equal(status, YJ_OK);
    return result.time_ps;
}

static void closed_forms(void **state) {
    for (int p = 2; p <= 33; p++) {
        struct yj_platform one = cluster(1, p);
        int64_t n = 1024 * p, part = 1024 * (p - 1), q = ceil_log2(p);
        assert_int_equal(time_of(&one, "all_reduce", "ring", n), 2 * (p - 1) * INSIDE + 2 * part + 2 * part);
        assert_int_equal(time_of(&one, "all_reduce", "circulant", n), 2 * q * INSIDE + 2 * part + 2 * part);
        assert_int_equal(time_of(&one, "all_reduce", "pat", n), 2 * q * INSIDE + 2 * part + 2 * part);
        assert_int_equal(time_of(&one, "reduce_scatter", "pairwise", n), (p - 1) * INSIDE + part + 2 * part);
        assert_int_equal(time_of(&one, "all_gather", "bruck", n), q * INSIDE + part + 1024);
        assert_int_equal(time_of(&one, "broadcast", "binomial", n), q * (INSIDE + n) + n);
        assert_int_equal(time_of(&one, "barrier", "dissemination", 0), q * INSIDE);
    }
    struct yj_platform eight = cluster(1, 8), many = cluster(1, 64);
    assert_int_equal(time_of(&eight, "all_reduce", "doubling", 4096), 3 * (INSIDE + 3 * 4096));
    assert_int_equal(time_of(&many, "all_reduce", "multiplying", 4096), 2 * (INSIDE + 7 * 3 * 4096));
    assert_int_equal(time_of(&many, "broadcast", "knomial4", 4096), 3 * (INSIDE + 3 * 4096) + 4096);
    assert_int_equal(time_of(&many, "gather", "knomial4", 4096), 3 * INSIDE + 64 * 63 + 64);
    assert_int_equal(time_of(&many, "all_to_all", "bruck", 4096), 6 * (INSIDE + 2048) + 64);
}

static void closed_form_of_rails(void **state) {
    for (int nodes = 2; nodes <= 9; nodes++) {
        struct yj_platform p = cluster(nodes, 4);
        int64_t n = 4096 * nodes, q = ceil_log2(nodes), inside = n / 4 * 3, across = n / 4 / nodes * (nodes - 1);
        assert_int_equal(time_of(&p, "all_reduce", "rails", n),
                         2 * INSIDE + 2 * inside + 2 * inside + 2 * q * ACROSS + 8 * across + 2 * across);
    }
}

/* Where all ranks do the same, on ports of their own, nobody is in another's way: both models say the same. */
static void agrees_with_the_cost(void **state) {
    struct yj_platform p = cluster(6, 4);
    for (int i = 0; i < algorithm_count(); i++) {
        const struct algorithm *row = algorithm_at(i);
        if (!(row->flags & ROW_SYMMETRIC) || !algorithm_serves(row, 24, false)) continue;
        int64_t time = time_of(&p, collective_find(row->collective)->name, row->name, 24 * 1024);
        double cost = result.cost_s * 1e12;
        bool alike =
            row->flags & ROW_NODES; /* the others cross nodes on some ranks only: slower ports meet idle ones */
        if (alike ? time != (int64_t)(cost + 0.5) : (double)time > 1.3 * cost || (double)time < 0.6 * cost)
            print_error("%s: events %lld ps, cost %.1f ps\n", row->name, (long long)time, cost);
        assert_true(alike ? time == (int64_t)(cost + 0.5) : (double)time <= 1.3 * cost && (double)time >= 0.6 * cost);
    }
}

static void every_row_ends(void **state) {
    struct yj_platform p = cluster(5, 8);
    p.nodes_per_leaf = 2, p.uplinks = 2, p.nics_per_node = 2;
    for (int routing = YJ_ROUTE_HASH; routing <= YJ_ROUTE_SPRAY; routing++)
        for (int i = 0; i < algorithm_count(); i++) {
            const struct algorithm *row = algorithm_at(i);
            if (row->collective == YJ_SEND || row->collective == YJ_RECV) continue;
            p.routing = routing;
            int64_t time = time_of(&p, collective_find(row->collective)->name, row->name, 40 * 100);
            uint64_t messages = result.messages;
            assert_true(time > 0 && messages > 0);
            assert_int_equal(time_of(&p, collective_find(row->collective)->name, row->name, 40 * 100), time);
            assert_int_equal(result.messages, messages);
        }
}

/* Two ranks of each of two nodes give their vector to the other node: alone, by one NIC, by one uplink. */
static void links_are_shared(void **state) {
    struct yj_platform p = cluster(2, 2);
    int64_t n = 1 << 20, alone = time_of(&p, "all_to_all", "rails", 4 * n);
    p.nics_per_node = 1;
    assert_int_equal(time_of(&p, "all_to_all", "rails", 4 * n), alone + 2 * n * 4); /* each sends two blocks across */
    p.nics_per_node = 2, p.nodes_per_leaf = 1, p.uplinks = 1, p.rails = 1;
    assert_int_equal(time_of(&p, "all_to_all", "rails", 4 * n), alone); /* an uplink for each rail */
    p.rails = 0;
    assert_int_equal(time_of(&p, "all_to_all", "rails", 4 * n), alone + 2 * n * 4);
    p.uplinks = 2; /* by destination: NICs 2 and 3 take different uplinks */
    assert_int_equal(time_of(&p, "all_to_all", "rails", 4 * n), alone);
    p.routing = YJ_ROUTE_SPRAY;
    assert_int_equal(time_of(&p, "all_to_all", "rails", 4 * n),
                     alone + n * 4); /* the second waits for half a message */
}

static void troubles(void **state) {
    struct yj_platform p = cluster(2, 2);
    int64_t n = 1 << 20, well = time_of(&p, "all_reduce", "rails", n);
    struct yj_trouble late = {.kind = YJ_TROUBLE_LATE, .a = 1, .late_ps = 12345},
                      nic = {.kind = YJ_TROUBLE_NIC, .b = 1};
    assert_int_equal(simulate(&p, "all_reduce", "rails", (uint64_t)n, &late, 1), YJ_OK);
    assert_int_equal(result.time_ps, well + 12345);
    assert_int_equal(simulate(&p, "all_reduce", "rails", (uint64_t)n, &nic, 1), YJ_OK);
    assert_true(result.time_ps > well); /* both ranks of node 0 on one NIC */
    struct yj_trouble both[] = {{.kind = YJ_TROUBLE_NIC}, {.kind = YJ_TROUBLE_NIC, .b = 1}};
    assert_int_equal(simulate(&p, "all_reduce", "rails", (uint64_t)n, both, 2), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "node 0 has no NIC left"));
    p.nodes_per_leaf = 1, p.uplinks = 2;
    p.rails = 1; /* a leaf for each rail of each node: the other uplink does */
    struct yj_trouble uplink[] = {{.kind = YJ_TROUBLE_UPLINK}, {.kind = YJ_TROUBLE_UPLINK, .b = 1}};
    assert_int_equal(simulate(&p, "all_reduce", "rails", (uint64_t)n, uplink, 1), YJ_OK);
    assert_int_equal(result.time_ps, well);
    assert_int_equal(simulate(&p, "all_reduce", "rails", (uint64_t)n, uplink, 2), YJ_ERR_INPUT);
    assert_non_null(strstr(yj_error_text(), "no way is left from leaf"));
}

static void refused(void **state) {
    struct yj_platform p = cluster(2, 2), bad = p;
    struct yj_trouble nowhere = {.kind = YJ_TROUBLE_NIC, .a = 2};
    assert_int_equal(simulate(&p, "all_reduse", NULL, 8, NULL, 0), YJ_ERR_INPUT);
    assert_int_equal(simulate(&p, "all_reduce", "rong", 8, NULL, 0), YJ_ERR_INPUT);
    assert_int_equal(simulate(&p, "send", NULL, 8, NULL, 0), YJ_ERR_UNSUPPORTED);
    assert_int_equal(simulate(&p, "all_reduce", NULL, 8, &nowhere, 1), YJ_ERR_INPUT);
    nowhere = (struct yj_trouble){.kind = YJ_TROUBLE_LATE, .a = 4};
    assert_int_equal(simulate(&p, "all_reduce", NULL, 8, &nowhere, 1), YJ_ERR_INPUT);
    bad.nodes_per_leaf = 1; /* two groups, and no uplinks */
    assert_int_equal(simulate(&bad, "all_reduce", NULL, 8, NULL, 0), YJ_ERR_INPUT);
    bad = p, bad.nic.mb_per_s = 0;
    assert_int_equal(simulate(&bad, "all_reduce", NULL, 8, NULL, 0), YJ_ERR_INPUT);
    bad = p, bad.nodes = 0;
    assert_int_equal(simulate(&bad, "all_reduce", NULL, 8, NULL, 0), YJ_ERR_INPUT);
    struct yj_simulation s = {.size = sizeof s, .ranks = 5, .collective = "barrier", .platform = &p};
    assert_int_equal(yj_simulate(&s, &result), YJ_ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(closed_form_of_rails),
        cmocka_unit_test(agrees_with_the_cost),
        cmocka_unit_test(every_row_ends),
        cmocka_unit_test(links_are_shared),
        cmocka_unit_test(troubles),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An algorithm is one generator and one row: in a scratch copy a file with a generator and a row of algorithms.def are added,
# nothing else is edited, and the verifier proves the right one and refuses the wrong one (comm/HOWTO.md).
# label: release-only (it makes a build of its own)
set -eu
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cp -r "$SOURCE/CMakeLists.txt" "$SOURCE/bench" "$SOURCE/comm" "$SOURCE/include" "$work"
mkdir "$work/runtime" && cp -r "$SOURCE/runtime/base" "$work/runtime"
cat >"$work/comm/star.c" <<'C'
#include "comm/generate.h"
/* Everything to the root's neighbour-to-be 0, and back. */
bool all_reduce_star(struct schedule *s, int rank, int size, int round) {
    for (int peer = 1; peer < size && rank == 0; peer++)
        if (round == 0) reduce_from(s, peer, in(0, 1), out(0, 1));
        else if (round == 1) send_to(s, peer, out(0, 1));
    if (rank > 0 && round == 0) send_to(s, 0, in(0, 1));
    if (rank > 0 && round == 1) recv_from(s, 0, out(0, 1));
    return round < 2;
}
/* The last rank is forgotten. */
bool all_reduce_rude(struct schedule *s, int rank, int size, int round) {
    for (int peer = 1; peer < size - 1 && rank == 0; peer++)
        if (round == 0) reduce_from(s, peer, in(0, 1), out(0, 1));
        else if (round == 1) send_to(s, peer, out(0, 1));
    if (rank > 0 && rank < size - 1 && round == 0) send_to(s, 0, in(0, 1));
    if (rank > 0 && rank < size - 1 && round == 1) recv_from(s, 0, out(0, 1));
    return round < 2;
}
C
cat >>"$work/comm/algorithms.def" <<'C'
ALGORITHM(ALL_REDUCE, star, all_reduce_star, 1, 0, 0, INT_MAX, ORDERED | CANONICAL, "all through rank 0")
ALGORITHM(ALL_REDUCE, rude, all_reduce_rude, 1, 0, 0, INT_MAX, 0, "wrong")
C
cat >"$work/prove.c" <<'C'
#include <yunjin/comm_schedule.h>
#include <stdio.h>
#include <string.h>
static int proven, refused;
static void count(void *user, const struct yj_schedule_case *c) {
    if (c->status == YJ_OK) proven++;
    else refused++, puts(c->text);
}
int main(void) {
    for (int ranks = 1; ranks <= 16; ranks++)
        if (yj_schedule_verify("all_reduce", "star", ranks, count, 0) != YJ_OK) return 1;
    if (proven != 16 || refused) return 2;
    if (yj_schedule_verify("all_reduce", "rude", 4, count, 0) != YJ_OK) return 3;
    return refused == 1 ? 0 : 4;
}
C
cmake -G Ninja -S "$work" -B "$work/build" -DCMAKE_BUILD_TYPE=Debug -DYUNJIN_COMM_ONLY=ON -DYUNJIN_TESTS=OFF >"$work/log" 2>&1 &&
    cmake --build "$work/build" -j2 >>"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cc -I"$work/include" "$work/prove.c" -o "$work/prove" -L"$work/build" -lyunjin-comm -lyunjin-base -Wl,-rpath,"$work/build"
"$work/prove"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hierarchical rows on several hosts (by name only: processes of this one that share no memory): four ranks, two a host, and a
# tuning file that rank 0 alone has (ranks that took different rows would not meet). Every result is checked by the bench.
set -u
yunjin=$BUILD/yunjin
[ -x "$yunjin" ] || { echo "skipped: $yunjin is not built (comm only)"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; head -5 "$work"/err*; exit 1; }
job() { # settings of rank 0, arguments
    local r pid=() name=rails-$$-$RANDOM
    for r in 3 2 1 0; do
        YUNJIN_COMM=address=unix:$name,key=secret,rank=$r,ranks=4,deadline=30,host=h$((r / 2))$([ $r = 0 ] && echo ",$1") YUNJIN_LOG=info \
            timeout 60 "$yunjin" comm bench "${@:2}" >"$work/out$r" 2>"$work/err$r" &
        pid[r]=$!
    done
    for r in 0 1 2 3; do wait "${pid[r]}" || fail "$*: rank $r exits with $?"; done
}
for c in all_reduce reduce_scatter all_gather broadcast reduce all_to_all barrier; do
    job algorithm=rails --blocks 1 --bytes 8,1000,100K $c --json
    grep -q '"ranks":4.*"wrong":0' "$work/out0" || fail "$c on rails: $(head -c 300 "$work/out0")"
done
echo 'all_reduce * * rails' >"$work/tuning"
job "tuning=$work/tuning" --blocks 1 --bytes 1000 all_reduce --json
grep -q '"wrong":0' "$work/out0" || fail "by tuning file: $(head -c 300 "$work/out0")"

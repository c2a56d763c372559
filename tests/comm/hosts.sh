#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two machines, acted by two network name spaces: ranks share memory inside each and use tcp between them; a rank killed on
# the one is named on the other. Needs root (ip netns).
set -u
yunjin=${BUILD:?}/yunjin
[ -x "$yunjin" ] || { echo "skipped: no $yunjin in this build"; exit 77; }
tag=yj$$
clean() { for h in a b; do ip netns pids $tag$h 2>/dev/null | xargs -r kill -9; ip netns del $tag$h 2>/dev/null; done; rm -f /tmp/$tag.*; }
trap clean EXIT
{ ip netns add ${tag}a && ip netns add ${tag}b &&
  ip link add v0 netns ${tag}a type veth peer name v0 netns ${tag}b &&
  ip -n ${tag}a addr add 10.99.7.1/24 dev v0 && ip -n ${tag}b addr add 10.99.7.2/24 dev v0 &&
  ip -n ${tag}a link set v0 up && ip -n ${tag}b link set v0 up &&
  ip -n ${tag}a link set lo up && ip -n ${tag}b link set lo up; } 2>/dev/null ||
    { echo "skipped: network name spaces cannot be made here"; exit 77; }
fail() { echo "FAILED: $*"; head -5 /tmp/$tag.*; exit 1; }
rank() { # rank, arguments
    local h=a; [ "$1" -lt 2 ] || h=b
    YUNJIN_COMM=address=10.99.7.1:7001,key=secret,rank=$1,ranks=4,deadline=20 YUNJIN_LOG=info \
        timeout 60 ip netns exec $tag$h "$yunjin" comm bench "${@:2}" >/tmp/$tag.out$1 2>/tmp/$tag.err$1
}
# The bench of four ranks
for r in 3 2 1 0; do rank $r --blocks 1 --bytes 8,100K,1M all_reduce all_gather --json & pid[r]=$!; done
for r in 0 1 2 3; do wait ${pid[r]} || fail "rank $r exits with $?"; done
grep -q '"ranks":4,"cases":12,"wrong":0' /tmp/$tag.out0 || fail "wrong result"
grep -q '2 on this host share memory' /tmp/$tag.err0 || fail "ranks of one host should share memory"
# A death on the other machine
for r in 3 2 1 0; do rank $r --blocks 101 --bytes 8,16M & pid[r]=$!; done
sleep 1.5
start=$(date +%s%N)
victim=$(for p in $(ip netns pids ${tag}b); do tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -q 'rank=3,' &&
    [ "$(readlink -f "/proc/$p/exe")" = "$(readlink -f "$yunjin")" ] && echo "$p"; done | head -1)
if [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null; then
    for r in 0 1 2; do wait ${pid[r]}; [ $? = 3 ] || fail "rank $r should exit with 3"; done
    ms=$((($(date +%s%N) - start) / 1000000))
    [ $ms -lt 3000 ] || fail "the others needed $ms ms to learn of a death"
    grep -q 'rank 3 .*dead' /tmp/$tag.err0 || fail "rank 0 does not name the dead rank"
else
    fail "no process of rank 3 to kill"
fi
echo "two hosts: passed"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `yunjin comm verify | explain | simulate`: outcomes, exit codes, JSON that adds up.
set -u
yunjin=$BUILD/yunjin
[ -x "$yunjin" ] || { echo "skipped: $yunjin is not built (comm only)"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
bad=0
# expect CODE PATTERN ARGUMENT...: the exit code, and a pattern somewhere in the output
expect() {
    local code=$1 pattern=$2 got; shift 2
    timeout 60 "$yunjin" comm "$@" >"$work/out" 2>&1; got=$?
    if [ $got != "$code" ] || ! grep -qE -- "$pattern" "$work/out"; then
        echo "FAILED: yunjin comm $*: exit $got, expected $code and /$pattern/"; head -5 "$work/out"; bad=1
    fi
}
expect 0 'usage' --help
expect 2 'usage'
expect 2 'no command is called frob' frob
expect 2 'not supported yet' autopsy
for c in verify explain simulate; do expect 0 "usage: yunjin comm $c" $c --help; expect 2 -- $c --frob; done

expect 0 '^[0-9]+ proven, 0 wrong, 0 unsupported, 0 failed to run' verify --ranks 1..16
expect 0 'all_reduce ring +3 proven' verify all_reduce ring --ranks 2,7,33
expect 0 '1 unsupported' verify all_reduce direct --ranks 2049
expect 1 'no algorithm' verify all_reduce mistake
expect 2 'no list' verify --ranks 4..2
expect 2 'no list' verify --ranks 99999999999
expect 1 'No such file' verify --schedule "$work/none"
for json in "" 1; do
    "$yunjin" comm verify --ranks 1..8 ${json:+--json} >"$work/all$json" || bad=1
done
pass=$(grep -o '"outcome":"pass"' "$work/all1" | wc -l)
grep -q "\"pass\":$pass,\"fail\":0,\"unsupported\":0,\"crash\":0,\"total\":$pass}" "$work/all1" || { echo "FAILED: the cases do not add up"; bad=1; }
[ "$pass" -gt 100 ] || { echo "FAILED: only $pass cases"; bad=1; }

# A schedule goes out as text, comes back, is proven; damaged, it is refused, and the message says where.
expect 0 'schedule all_reduce circulant ranks 5' explain all_reduce circulant --ranks 5 --print
cp "$work/out" "$work/good"
expect 0 '1 proven' verify --schedule "$work/good"
sed '0,/reduce out\[1\]/s//reduce out[2]/' "$work/good" >"$work/damaged"
expect 1 'circulant, 5 ranks.*(round|rank) [0-9]' verify --schedule "$work/damaged"
sed '0,/ to 3/s// to 2/' "$work/good" >"$work/damaged"
expect 1 'round 0, rank [0-9]' verify --schedule "$work/damaged"
echo 'schedule all_reduce x ranks 2' >"$work/damaged"
expect 1 'damaged:1: expected `root`' verify --schedule "$work/damaged"
head -c 20000 /dev/urandom >"$work/damaged"
expect 1 'damaged' verify --schedule "$work/damaged"

expect 0 'all_reduce +ring' explain
expect 0 '1073741824 bytes' explain all_reduce --ranks 16
expect 0 'ring +refused +operands not in rank order' explain all_reduce --ranks 16 --bytes 1M --ordered
expect 0 '"chosen":true' explain all_reduce --ranks 16 --bytes 1M --json
expect 2 'are needed' explain all_reduce
expect 2 '--bytes: its value' explain all_reduce --ranks 4 --bytes 1Q
expect 1 'does not serve' explain all_reduce direct --ranks 5000 --print
expect 0 '"summary":\{"time_s":[0-9]' simulate all_reduce ring --ranks 64 --bytes 64M --ranks-per-node 8 --json
expect 0 'us$' simulate --schedule "$work/good" --bytes 1K
expect 2 'is needed' simulate all_reduce --ranks 4
expect 2 'its value' simulate all_reduce --ranks 4 --bytes 8 --net 1,2,-3
expect 1 'no collective' simulate all_reduse --ranks 4 --bytes 8
exit $bad

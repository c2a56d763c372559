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
expect 1 "all_reduce has no algorithm 'mistake'; yunjin comm explain" verify all_reduce mistake
expect 1 "there is no collective 'nope'; yunjin comm explain" verify nope
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
expect 2 '--ranks is needed, as in: explain all_reduce' explain all_reduce
expect 2 'a collective is needed' explain --ranks 4
expect 2 '--bytes: its value' explain all_reduce --ranks 4 --bytes 1Q
expect 1 'does not serve' explain all_reduce direct --ranks 5000 --print
expect 0 '"summary":\{"time_s":[0-9]' simulate all_reduce ring --ranks 64 --bytes 64M --ranks-per-node 8 --json
expect 0 'us$' simulate --schedule "$work/good" --bytes 1K
expect 2 'is needed' simulate all_reduce --ranks 4
expect 2 'its value' simulate all_reduce --ranks 4 --bytes 8 --net 1,2,-3
expect 1 'no collective' simulate all_reduse --ranks 4 --bytes 8

# Tuning files: followed, and refused with file and line.
printf '# small\nall_reduce 0..1M * ring\n' >"$work/tuning"
expect 0 "all_reduce, 16 ranks, 8 bytes: ring, by $work/tuning:2" explain all_reduce --ranks 16 --bytes 8 --tuning "$work/tuning"
expect 0 'the cheapest' explain all_reduce --ranks 16 --bytes 2M --tuning "$work/tuning"
echo 'all_reduce * * rong' >>"$work/tuning"
expect 1 "$work/tuning:3: all_reduce has no algorithm called 'rong'" explain all_reduce --ranks 16 --bytes 8 --tuning "$work/tuning"
expect 0 'send .* to 4' explain all_reduce rails --ranks 8 --ranks-per-node 4 --print

# Platforms: the shipped one, ten thousand ranks, pictures, troubles; damaged ones are refused by key.
pod=$SOURCE/examples/platforms/pod10000.json
on() { local code=$1 pattern=$2; shift 2; expect "$code" "$pattern" simulate --platform "$pod" --bytes 64K "$@"; }
on 0 'all_reduce circulant, 10000 ranks' --collective all_reduce --algorithm circulant --ranks 10000 --slices 1
on 0 'too many messages for events' --collective all_reduce --algorithm ring --ranks 10000
on 0 '"time_ps":[0-9]+' --collective all_gather --ranks 64 --json
on 0 'by events' --collective all_reduce --ranks 16 --svg "$work/picture.svg" --late 3:5 --fail nic:1:2 --routing hash
grep -q '<svg ' "$work/picture.svg" && grep -q '>rank 15<' "$work/picture.svg" && grep -q '#d0021b' "$work/picture.svg" &&
    [ "$(tail -c 7 "$work/picture.svg")" = "</svg>" ] || { echo "FAILED: no picture"; bad=1; }
on 2 'at most 64 ranks' --collective all_reduce --ranks 65 --svg "$work/picture.svg"
on 1 'do not hold 10001 ranks' --collective all_reduce --ranks 10001
on 1 'no NIC 9' --collective all_reduce --ranks 16 --fail nic:1:9
on 2 'its value' --collective all_reduce --ranks 16 --fail nic:1
on 2 'its value' --collective all_reduce --ranks 16 --routing random
on 2 'a collective and --ranks' --algorithm ring --ranks 16
expect 2 'need --platform' simulate all_reduce --ranks 4 --bytes 8 --late 1:1
pod=$work/pod.json
damaged() { # an edit of the file, what is said
    sed "$1" "$SOURCE/examples/platforms/pod10000.json" >"$pod"
    on 1 "$pod.*$2" --collective all_reduce --ranks 16
}
damaged 's/"nodes"/"node"/' ': node: this key is unknown'
damaged 's/"nodes": 1250/"nodes": 12.5/' 'nodes: a whole number'
damaged '/"uplinks"/d' 'uplinks: it is missing'
damaged 's/"latency_ns": 2000/"latency_ns": "long"/' 'nic.latency_ns: nanoseconds'
damaged 's/"destination"/"random"/' 'routing: hash, destination or spray'
damaged '2,$d' ':[0-9]+: '
exit $bad

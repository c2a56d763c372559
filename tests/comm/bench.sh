#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `yunjin comm bench`: starts its own ranks, joins mpirun's, writes JSON, refuses nonsense with exit code 2.
set -u
yunjin=${BUILD:?}/yunjin
[ -x "$yunjin" ] || { echo "skipped: no $yunjin in this build"; exit 77; }
fail() { echo "FAILED: $*"; exit 1; }
run() { timeout 60 "$yunjin" comm bench "$@"; }
for transport in shm tcp; do
    out=$(run --ranks 3 --blocks 1 --bytes 8,20K --transport $transport --json all_reduce reduce_scatter all_gather \
        broadcast all_to_all barrier) || fail "$transport: exit $?"
    echo "$out" | grep -q '"summary":{"ranks":3,"cases":22,"wrong":0}' || fail "$transport: $out"
done
run --ranks 2 --blocks 1 --bytes 8..64 --dtype i32 | grep -Eq '^ +64 +16 +i32 +sum +-1( +[0-9.]+){3} +0( +[0-9.]+){3} +0$' || fail "table"
for dtype in f64 f16 bf16 e4m3 e5m2 i8 u64; do
    for op in sum prod min max avg; do
        out=$(run --ranks 2 --blocks 1 --bytes 64 --dtype $dtype --op $op) || fail "$dtype $op: exit $?"
        echo "$out" | grep -q '^# Out of bounds values : 0 OK$' || fail "$dtype $op: $out"
    done
done
run --ranks 8 --blocks 1 --bytes 64 --dtype e5m2 --op prod |
    grep -q '^# Out of bounds values : N/A (2 of 2 results not looked at: the prod of 8 ranks may round in e5m2)$' ||
    fail "what may round is not looked at, and that is said"
refused() { # what is said, option, value
    local said; said=$(run "$2" "$3" 2>&1); [ $? = 2 ] || fail "bad $2 must exit 2"
    [[ $said == *"$2 $3: it must be $1"* ]] || fail "$2 $3: $said"
}
refused "sizes such as" --bytes x
refused "sizes such as 8,64K,1M, or LOW..HIGH" --bytes 64..8
refused "one of f32 f64 f16 bf16" --dtype f31
refused "one of sum prod min max avg" --op land
refused "a number from 1 to 4096" --ranks 0
run nonsense 2>/dev/null; [ $? = 2 ] || fail "an unknown collective must exit 2"
YUNJIN_COMM=colour=blue run --ranks 2 2>/dev/null; [ $? = 1 ] || fail "unknown keys of YUNJIN_COMM must exit 1"
if command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    timeout 60 mpirun --oversubscribe -n 2 "$yunjin" comm bench --blocks 1 --bytes 8 --json |
        grep -q '"ranks":2,"cases":2,"wrong":0' || fail "under mpirun"
    if ldconfig -p | grep -q 'libpmix\.so\.2'; then # as with several machines: the address goes through PMIx
        YUNJIN_COMM=address=pmix timeout 60 mpirun --oversubscribe -n 3 "$yunjin" comm bench --blocks 1 --bytes 8 --json |
            grep -q '"ranks":3,"cases":2,"wrong":0' || fail "through PMIx"
    else
        echo "no libpmix: jobs on several machines are not tested"
    fi
else
    echo "no mpirun: joining a launcher is not tested"
fi
# torchrun's environment, on this machine
port=$((20000 + RANDOM % 20000))
for rank in 1 0; do
    RANK=$rank WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port run --blocks 1 --bytes 8 --json >"/tmp/yunjin-bench.$$.$rank" &
done
wait
grep -q '"ranks":2,"cases":2,"wrong":0' "/tmp/yunjin-bench.$$.0" || fail "torchrun's environment"
rm -f /tmp/yunjin-bench.$$.*
echo "comm bench: passed"

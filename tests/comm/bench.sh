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
run --bytes x 2>/dev/null; [ $? = 2 ] || fail "bad --bytes must exit 2"
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

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# all_reduce against Open MPI, interleaved in one process: with its own shared memory (ob1/vader) and, where it is built in,
# UCX. `chrt -r 1` keeps other work off the cores (needs the right to). BUILD=build folder; SIZES, BLOCKS, RANKS, MODE=cold|alloc.
set -e
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-$here/../../build}" && pwd)
ranks=${RANKS:-2}
sizes=${SIZES:-8,64,256,1024,4096,8192,16384,32768,65536,131072,262144,524288,1048576,2097152,4194304,16777216,67108864}
if ! command -v mpicc >/dev/null; then echo "skipped: no mpicc"; exit 77; fi
mpicc -O2 -I"$here/../../include" -o "$build/bench-all-reduce" "$here/all_reduce.c" -L"$build" -lyunjin-comm -lyunjin-base \
    -Wl,-rpath,"$build"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 UCX_WARN_UNUSED_ENV_VARS=n
real=""; chrt -r 1 true 2>/dev/null && real="chrt -r 1"
bind="--bind-to core"; [ "$ranks" -le "$(nproc)" ] || bind="--oversubscribe --bind-to none"
go() {
    echo "# $ranks ranks, peer: $1 ${MODE:+($MODE buffers)} ${real:-(no chrt)} load $(cut -d' ' -f1 /proc/loadavg)"; shift
    timeout 300 $real mpirun -n "$ranks" $bind --mca btl_base_warn_component_unused 0 "$@" \
        "$build/bench-all-reduce" "$sizes" "${BLOCKS:-9}" $MODE
}
go "Open MPI ob1/vader" --mca pml ob1 --mca btl vader,self
go "Open MPI UCX" --mca pml ucx --mca pml_ucx_tls any --mca pml_ucx_devices any || echo "no UCX in this Open MPI"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A sharded decoder on two ranks started by the command, and by mpirun where it is: the outputs of one rank, one trace of
# both ranks, one rank per NUMA node; and a rank killed in the middle of a run ends the command soon, saying which.
set -u
yunjin=$BUILD/yunjin
python=/usr/bin/python3
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
skip() { echo "skipped: $*"; exit 77; }
die() { echo "FAILED: $*"; [ -e "$here/said" ] && sed 's/^/    /' "$here/said"; exit 1; }
$python -c 'import onnx, numpy' 2>/dev/null || skip "no python3-onnx to write the model"
[ -e "$BUILD/libyunjin-compiler.so" ] || skip "the compiler library is not built"

$python "$SOURCE/examples/decoder/make_decoder.py" "$here/d.onnx" --layers 2 --hidden 256 --heads 4 --kv 2 --head 64 --ffn 512 \
    --vocab 64 --capacity 32 >/dev/null || skip "the decoder cannot be written"
$python - "$here" <<'PY'
import numpy as np, sys
d = sys.argv[1]
np.save(d + '/input_ids.npy', (np.arange(5) * 7 % 64).astype(np.int64).reshape(1, 5))
np.save(d + '/seqlens_k.npy', np.array([4], np.int32))
np.save(d + '/total_sequence_length.npy', np.array(5, np.int32))
PY
inputs=()
for i in input_ids seqlens_k total_sequence_length; do inputs+=(--input "$i=$here/$i.npy"); done
for n in 1 2; do
    shard=()
    [ $n = 2 ] && shard=(--shard tp=2)
    timeout 120 "$yunjin" compile "$here/d.onnx" -o "$here/d$n.yj" --state 'past_*=present_*' "${shard[@]}" >"$here/said" 2>&1 || die "compile for $n"
done

timeout 60 "$yunjin" run "$here/d1.yj" "${inputs[@]}" --output "$here/out" >"$here/said" 2>&1 || die "one rank"
timeout 60 "$yunjin" run "$here/d2.yj" --ranks 2 "${inputs[@]}" --compare "$here/out" --profile "$here/trace.json" >"$here/said" 2>&1 ||
    die "two ranks"
grep -q "equal" "$here/said" || die "two ranks differ from one"
grep -q "2 ranks" "$here/said" || die "two ranks were not said"
[ "$($python -c 'import json, sys; print(sorted({e["pid"] for e in json.load(open(sys.argv[1]))["traceEvents"]}))' "$here/trace.json")" = "[0, 1]" ] ||
    die "the trace does not hold both ranks"
ls "$here"/trace.json.rank* >/dev/null 2>&1 && die "parts of the trace were left"
timeout 60 "$yunjin" run "$here/d1.yj" --ranks 1 "${inputs[@]}" --compare "$here/out" >"$here/said" 2>&1 || die "--ranks 1"
if [ "$(ls -d /sys/devices/system/node/node[0-9]* 2>/dev/null | wc -l)" = 1 ]; then
    timeout 60 "$yunjin" run "$here/d1.yj" --ranks numa "${inputs[@]}" --compare "$here/out" >"$here/said" 2>&1 || die "--ranks numa"
fi
timeout 60 "$yunjin" run "$here/d2.yj" --ranks 3 "${inputs[@]}" >"$here/said" 2>&1
[ $? = 1 ] || die "three ranks for a model of two"
if command -v mpirun >/dev/null; then
    timeout 60 env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 2 "$yunjin" run "$here/d2.yj" \
        "${inputs[@]}" --compare "$here/out" >"$here/said" 2>&1 || die "mpirun"
    grep -q "equal" "$here/said" || die "mpirun: outputs differ"
else
    echo "mpirun is not here: that part is left out"
fi

"$yunjin" inspect "$here/d2.yj" --plan | grep -q " start " || die "the model for two ranks has no collective"

# --- a rank dies
"$yunjin" run "$here/d2.yj" --ranks 2 "${inputs[@]}" --repeat 1000000 >"$here/said" 2>&1 &
command=$!
for _ in $(seq 100); do
    child=$(pgrep -P $command | tail -n 1)
    [ -n "$child" ] && break
    sleep 0.1
done
[ -n "$child" ] || die "no rank was started"
sleep 1
start=$(date +%s)
kill -KILL "$child"
wait $command
code=$?
took=$(($(date +%s) - start))
[ $code = 3 ] || die "a killed rank: exit code $code, not 3"
[ $took -le 15 ] || die "a killed rank was noticed after $took s"
grep -q "was killed by signal 9" "$here/said" || die "a killed rank is not named"
grep -q "peer died\|is dead\|died" "$here/said" || die "the other rank does not say that its peer died"
[ -z "$(pgrep -P $command)" ] || die "a rank was left behind"
echo "ranks agree; a dead rank was noticed after $took s"

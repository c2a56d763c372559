#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The command where the machine lets it down: disks that fill up and files that may not grow while it compiles, writes
# outputs, a trace or its own words; outputs that cannot be written; kernels and compilations killed half way. Always exit
# code 3 with the reason, never a file that looks whole. Then what a user may get wrong: exit codes 1 and 2.
. "$SOURCE/tests/start.sh"
limited() { # BLOCKS-OF-1024 TEXT COMMAND...: no file may become larger, and the command says so
    local most=$1 text=$2
    shift 2
    expect 3 "$text" bash -c 'ulimit -f '"$most"' && exec "$@"' - "$@"
}

"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, random = sys.argv[1], np.random.default_rng(5)
f32 = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
w = numpy_helper.from_array(random.standard_normal((256, 512)).astype(np.float32), "w")
g = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])], "g", [f32("x", "N", 256)], [f32("y", "N", 512)], [w])
save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)]), here + "/net.onnx")
PY
net=$here/net.onnx m=$here/net.yj
expect 0 "of weights" "$yunjin" compile "$net" -o "$m"
mkdir "$here/out"

# --- files that may not grow: everywhere, without the rights to mount
limited 100 "larger than" "$yunjin" compile "$net" -o "$here/out/net.yj"
[ -z "$(ls -A "$here/out")" ] || fail "a compilation that failed left $(ls -A "$here/out")"
limited 100 "larger than" "$yunjin" run "$m" --random 1 --dim N=200 --output "$here/out"
[ -z "$(ls -A "$here/out")" ] || fail "an output that could not be written left $(ls -A "$here/out")"
limited 1 "larger than" "$yunjin" run "$m" --random 1 --dim N=2 --repeat 200 --profile "$here/out/trace.json"
[ -z "$(ls -A "$here/out")" ] || fail "a trace that could not be written left $(ls -A "$here/out")"
# a cache that cannot grow costs time, not the compilation
expect 0 "of weights" env YUNJIN_CACHE="$here/cache2" bash -c 'ulimit -f 700; exec "$@"' - "$yunjin" compile "$net" -o "$here/again.yj"
diff -r "$m" "$here/again.yj" >/dev/null || fail "a limit on files changed the model"

# --- a full disk
mkdir "$here/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k none "$here/small" 2>/dev/null; then
    expect 3 "the disk is full" "$yunjin" compile "$net" -o "$here/small/net.yj"
    expect 3 "the disk is full" "$yunjin" run "$m" --random 1 --dim N=100 --output "$here/small/o"
    expect 3 "the disk is full" "$yunjin" run "$m" --random 1 --dim N=2 --repeat 1000 --profile "$here/small/trace.json"
    [ -z "$(find "$here/small" -type f)" ] || fail "a full disk: left $(find "$here/small" -type f)"
    umount "$here/small"
else
    echo "left out: a small tmpfs cannot be mounted here; limits on the size of files were tried instead"
fi
for words in "run $m --random 1 --dim N=2" "run $m --random 1 --dim N=2 --json" "inspect $m" "targets" "targets --json" "--version" "--help" "run --help"; do
    timeout 60 "$yunjin" $words >/dev/full 2>"$here/said"
    [ $? = 3 ] && [ -s "$here/said" ] || fail "$words > /dev/full was called a success"
done

# --- a compilation that is killed leaves nothing that looks whole, and the next one is not disturbed
YUNJIN_CACHE='' "$yunjin" compile "$net" -o "$here/out/killed.yj" >/dev/null 2>&1 &
sleep 0.05
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
if [ -e "$here/out/killed.yj" ]; then expect 0 "as it was written" "$yunjin" inspect "$here/out/killed.yj" --verify; fi
expect 0 "of weights" "$yunjin" compile "$net" -o "$here/out/killed.yj"
expect 0 "as it was written" "$yunjin" inspect "$here/out/killed.yj" --verify

# --- programs read what is said: every --json parses, and its counts add up
for words in "run $m --random 1 --dim N=2" "inspect $m" "inspect $net" "targets" "targets kunpeng920" "compile $net -o $here/json.yj" "comm verify --ranks 2..5" \
    "comm explain all_reduce --ranks 4"; do
    timeout 300 "$yunjin" $words --json >"$here/json" 2>"$here/said" || fail "$words --json: $(head -3 "$here/said")"
    "$python" - "$here/json" $words <<'PY' || failed=1
import json, sys
j = json.load(open(sys.argv[1]))
if not {"yunjin", "command", "summary", "cases"} <= set(j) or not isinstance(j["cases"], list) or j["command"].split()[0] != sys.argv[2]:
    sys.exit(f"FAILED: {sys.argv[2:]} --json: {list(j)} {j.get('command')}")
total = j["summary"].get("total")
if total is not None and j["cases"] and total != len(j["cases"]):
    sys.exit(f"FAILED: {sys.argv[2:]} --json: total {total} of {len(j['cases'])} cases")
PY
done
[ $failed = 0 ] && echo "all as expected"
exit $failed

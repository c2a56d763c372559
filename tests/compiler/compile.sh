#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a model to model.yj with the built command: what goes wrong is said with the right exit code and leaves nothing behind;
# the same input gives the same bytes, cold, cached and without a cache; weights are in the weights file alone; one artefact
# serves all shapes.
. "$SOURCE/tests/start.sh"

# nothing NAME: a failed compilation leaves no folder, whole or half
nothing() { [ -z "$(ls -A "$here/out")" ] || { fail "$1 left $(ls -A "$here/out")"; rm -rf "${here:?}/out"; mkdir "$here/out"; }; }

"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, random = sys.argv[1], np.random.default_rng(5)
f32 = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

def write(name, nodes, inputs, outputs, weights=()):
    g = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(w, n) for n, w in weights])
    save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)]), f"{here}/{name}.onnx")

node = helper.make_node
a, b = (random.standard_normal(s).astype(np.float32) for s in ((300, 500), (500, 200)))
write("net", [node("MatMul", ["x", "a"], ["h"]), node("Sigmoid", ["h"], ["s"]), node("MatMul", ["s", "b"], ["t"]),
              node("Softmax", ["t"], ["y"], axis=-1)], [f32("x", "N", 300)], [f32("y", "N", 200)], [("a", a), ("b", b)])
a.tofile(here + "/a.bin")
write("empty", [], [], [])
write("cycle", [node("Add", ["x", "q"], ["p"]), node("Relu", ["p"], ["q"])], [f32("x", 4)], [f32("q", 4)])
write("huge", [node("Relu", ["x"], ["y"])], [f32("x", 2**40, 2**40)], [f32("y", 2**40, 2**40)])
write("wide", [node("Relu", ["x"], ["y"])], [f32("x", 2**40)], [f32("y", 2**40)])
for n in (1, 4, 33):
    x = random.standard_normal((n, 300)).astype(np.float32)
    np.save(f"{here}/x{n}.npy", x)
    s = 1 / (1 + np.exp(-(x.astype(np.float64) @ a)))
    t = s @ b
    e = np.exp(t - t.max(axis=1, keepdims=True))
    import os
    os.makedirs(f"{here}/want{n}")
    np.save(f"{here}/want{n}/y.npy", (e / e.sum(axis=1, keepdims=True)).astype(np.float32))
np.save(f"{here}/xwrong.npy", np.zeros((4, 299), np.float32))
np.save(f"{here}/xtype.npy", np.zeros((4, 300), np.float64))
PY
mkdir "$here/out"
net=$here/net.onnx
out=$here/out/net.yj

# --- words of the options
expect 2 "unknown target abacus; known: host" "$yunjin" compile "$net" -o "$out" --target abacus
expect 1 "twice" "$yunjin" compile "$net" -o "$out" --target host,host
expect 1 "there is no pass 'polish'; the passes are: fold" "$yunjin" compile "$net" -o "$out" --passes fold,polish
expect 1 "there is no pass 'polish'" "$yunjin" compile "$net" -o "$out" --print-after polish
for bad in N N= N=x N=-1 N=1..x =4 N=4.. N=4x N=99999999999999999999 N=0..2000000000000; do
    expect 2 "--dim $bad: write NAME=LOW..HIGH" "$yunjin" compile "$net" -o "$out" --dim "$bad"
done
expect 2 "--dim N=4..2: the bounds are reversed; write N=2..4" "$yunjin" compile "$net" -o "$out" --dim N=4..2
expect 1 "no input has a dimension 'Q'; those without a bound: N" "$yunjin" compile "$net" -o "$out" --dim Q=4
for bad in x =y x= ; do expect 1 "--state $bad: write INPUT=OUTPUT" "$yunjin" compile "$net" -o "$out" --state "$bad"; done
expect 1 "nosuch" "$yunjin" compile "$net" -o "$out" --state nosuch=y
for bad in tp tp= tp=0 tp=x tp=-2 tp=2x tp=99999 =2 tp=2,,tp=2; do expect 1 "--shard $bad: " "$yunjin" compile "$net" -o "$out" --shard "$bad"; done
expect 2 "a value is missing" "$yunjin" compile "$net" -o
nothing "a bad option"

# --- models
expect 1 "no output" "$yunjin" compile "$here/empty.onnx" -o "$out"
expect 1 "cycle" "$yunjin" compile "$here/cycle.onnx" -o "$out"
expect 1 "more than 2^62 bytes" "$yunjin" compile "$here/huge.onnx" -o "$out"
head -c 1000 "$net" >"$here/cut.onnx"
expect 1 "cut.onnx" "$yunjin" compile "$here/cut.onnx" -o "$out"
expect 1 "not a file" "$yunjin" compile "$here" -o "$out"
: >"$here/nothing.onnx"
expect 1 "nothing.onnx" "$yunjin" compile "$here/nothing.onnx" -o "$out"
nothing "a bad model"
expect 0 "wide.yj" "$yunjin" compile "$here/wide.onnx" -o "$here/wide.yj"
expect 1 "is not bound" "$yunjin" run "$here/wide.yj"

# --- the output
expect 3 "cannot write" "$yunjin" compile "$net" -o /proc/none/net.yj
echo mine >"$here/out/file"
expect 1 "$here/out/file" "$yunjin" compile "$net" -o "$here/out/file"
[ "$(cat "$here/out/file")" = mine ] || fail "a file was overwritten"
mkdir "$here/out/folder" && echo mine >"$here/out/folder/letter"
expect 1 "$here/out/folder" "$yunjin" compile "$net" -o "$here/out/folder"
[ "$(cat "$here/out/folder/letter")" = mine ] || fail "a folder was overwritten"
rm -r "$here/out/file" "$here/out/folder"
nothing "an output that is something else"
mkdir "$here/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=300k none "$here/small" 2>/dev/null; then
    expect 3 "the disk is full" "$yunjin" compile "$net" -o "$here/small/net.yj"
    [ -z "$(ls -A "$here/small")" ] || fail "a full disk: left $(ls -A "$here/small")"
    umount "$here/small"
else
    echo "skipped: a small tmpfs cannot be mounted here: the part with a full disk"
fi

# --- the same bytes, whatever was in the cache
export YUNJIN_CACHE=$here/cache2
expect 0 "(0 from the cache)" "$yunjin" compile "$net" -o "$here/cold.yj" --verify
expect 0 "of weights" "$yunjin" compile "$net" -o "$here/warm.yj"
grep -q "(0 from the cache)" "$here/said" && fail "nothing came from the cache"
expect 0 "(0 from the cache)" "$yunjin" compile "$net" -o "$here/none.yj" --no-cache
expect 0 "of weights" "$yunjin" compile "$net" -o "$here/cold.yj" # in place of a model.yj
for other in warm none; do diff -r "$here/cold.yj" "$here/$other.yj" >/dev/null || fail "cold and $other differ"; done
cp "$net" "$here/elsewhere.onnx" # another name, another folder
(cd "$here" && expect 0 "of weights" "$yunjin" compile elsewhere.onnx -o again.yj)
diff "$here/cold.yj" "$here/again.yj" >"$here/said" 2>&1
# only the manifest, which names the model
[ "$(grep -c '^diff\|^Only' "$here/said")" -le 1 ] || { fail "another name gives other code"; cat "$here/said"; }

# --- entries of the cache that are damaged: a byte changed, cut short, empty, of another kernel
entries=("$here"/cache2/kernels/*)
[ ${#entries[@]} -ge 4 ] || fail "only ${#entries[@]} entries in the cache"
printf '\xff' | dd of="${entries[0]}" bs=1 seek=200 conv=notrunc 2>/dev/null
head -c 100 "${entries[1]}" >"$here/cut" && cp "$here/cut" "${entries[1]}"
: >"${entries[2]}"
cp "${entries[0]}" "${entries[3]}"
expect 0 "is damaged: compiled again" "$yunjin" compile "$net" -o "$here/mended.yj"
diff -r "$here/cold.yj" "$here/mended.yj" >/dev/null || fail "a damaged cache changed the code"
expect 0 "of weights" "$yunjin" compile "$net" -o "$here/mended.yj"
grep -q damaged "$here/said" && fail "damaged entries were not replaced"
expect 0 "of weights" env YUNJIN_CACHE=/proc/none "$yunjin" compile "$net" -o "$here/uncached.yj"
diff -r "$here/cold.yj" "$here/uncached.yj" >/dev/null || fail "a cache that cannot be written changed the code"

# --- a worker that dies
kernel=$(sed -n 's/^kernel \([A-Za-z0-9_]*\)(.*/\1/p' "$here"/cold.yj/*.kernels | head -1)
expect 0 "$kernel" env YUNJIN_CACHE= YUNJIN_KILL_WORKER="$kernel" "$yunjin" compile "$net" -o "$here/killed.yj"
expect 0 "equal" "$yunjin" run "$here/killed.yj" --input x="$here/x33.npy" --compare "$here/want33"
[ -n "$kernel" ] || fail "no kernel found to kill"
"$yunjin" compile "$net" -o "$here/out/x.yj" >/dev/null 2>&1 && rm -r "$here/out/x.yj"
YUNJIN_CACHE='' YUNJIN_KILL_WORKER="$kernel!" timeout 120 "$yunjin" compile "$net" -o "$out" >"$here/said" 2>&1
[ $? -ne 0 ] && grep -q "$kernel" "$here/said" || fail "a kernel that always dies: $(cat "$here/said")"
nothing "a kernel that cannot be compiled"

# --- weights: 1 MB, in their file alone
so=$(ls "$here"/cold.yj/*.so)
[ "$(stat -c %s "$so")" -lt 400000 ] || fail "$so is $(stat -c %s "$so") bytes: weights in it?"
[ "$(stat -c %s "$here/cold.yj/weights.safetensors")" -lt 1300000 ] || fail "weights take more than their size"
"$python" - "$here" <<'PY' || fail "weights beside the weights file"
import glob, sys
here = sys.argv[1]
a = open(here + "/a.bin", "rb").read()
pieces = [a[i:i + 16] for i in range(0, len(a), 4096)]
for path in glob.glob(here + "/cold.yj/*"):
    data = open(path, "rb").read()
    found = sum(p in data for p in pieces)
    if path.endswith(".safetensors") != (found > 0):
        sys.exit(f"{path}: {found} of {len(pieces)} pieces")
PY

# --- one artefact for all shapes, in a process that has no compiler library
mkdir "$here/alone"
cp "$yunjin" "$here/alone/"
cp -P "$BUILD"/libyunjin-base.so* "$BUILD"/libyunjin-runtime.so* "$BUILD"/libyunjin-comm.so* "$here/alone/"
for n in 1 4 33; do expect 0 "equal" "$here/alone/yunjin" run "$here/cold.yj" --input x="$here/x$n.npy" --compare "$here/want$n"; done
expect 1 "x" "$here/alone/yunjin" run "$here/cold.yj" --input x="$here/xwrong.npy"
expect 1 "f64" "$here/alone/yunjin" run "$here/cold.yj" --input x="$here/xtype.npy"
expect 0 "four.yj" "$yunjin" compile "$net" -o "$here/four.yj" --dim N=4
expect 0 "equal" "$yunjin" run "$here/four.yj" --input x="$here/x4.npy" --compare "$here/want4"
expect 1 "33" "$yunjin" run "$here/four.yj" --input x="$here/x33.npy"

[ $failed = 0 ] && echo "all as expected"
exit $failed

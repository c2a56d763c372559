#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Control flow, from ONNX to machine code. ONNX's own cases of If, Loop and Scan, where they are installed. Recurrent layers
# whose steps are the turns of a loop give the bits of those that are written out, for any number of steps. An If on an
# input is a branch, or with --dim NAME=N one of its sides; what cannot be done names the node and the property. Silero's
# voice detectors, where they lie in $YUNJIN_MODELS or .cache/models, give what ONNX Runtime gave.
. "$SOURCE/tests/start.sh"

data=/usr/share/libonnx-testdata/data/node
if [ -d "$data" ]; then
    for name in if loop11 scan9_sum range_float_type_positive_delta_expanded range_int32_type_negative_delta_expanded; do
        "$yunjin" test onnx "$data/test_$name" >"$here/log" 2>&1 && grep -q "1 pass" "$here/log" || fail "test_$name: $(cat "$here/log")"
    done
else
    echo "skipped in part: ONNX's test data (package libonnx-testdata) are not installed"
fi

"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper as nh, save
here = sys.argv[1]
rng = np.random.default_rng(3)
f = lambda *shape: (0.4 * rng.standard_normal(shape)).astype(np.float32)

def model(name, nodes, inputs, outputs, weights=()):
    value = lambda v: h.make_tensor_value_info(*v)
    g = h.make_graph(nodes, name, [value(v) for v in inputs], [value(v) for v in outputs],
                     [nh.from_array(a, n) for n, a in weights])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", 14)])
    m.ir_version = 8
    save(m, f"{here}/{name}.onnx")

for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    weights = [("W", f(2, gates * 4, 3)), ("R", f(2, gates * 4, 4)), ("B", f(2, gates * 8))]
    node = h.make_node(op, ["x", "W", "R", "B", "n"], ["y", "last"], hidden_size=4, direction="bidirectional")
    for steps in ("S", 6):
        model(f"{op}_{steps}", [node], [("x", T.FLOAT, [steps, 2, 3]), ("n", T.INT32, [2])],
              [("y", T.FLOAT, [steps, 2, 2, 4]), ("last", T.FLOAT, [2, 2, 4])], weights)
np.save(f"{here}/x.npy", f(6, 2, 3))
np.save(f"{here}/n.npy", np.array([6, 4], np.int32))

def side(name, op):
    return h.make_graph([h.make_node(op, ["x"], [name])], name, [], [h.make_tensor_value_info(name, T.FLOAT, [3])])
nodes = [h.make_node("Equal", ["rate", "k"], ["c"]),
         h.make_node("If", ["c"], ["y"], then_branch=side("a", "Neg"), else_branch=side("b", "Abs"))]
model("side", nodes, [("x", T.FLOAT, [3]), ("rate", T.INT64, [])], [("y", T.FLOAT, [3])],
      [("k", np.array(16000, np.int64))])
np.save(f"{here}/v.npy", np.array([1, -2, 3], np.float32))
np.save(f"{here}/hit.npy", np.array(16000, np.int64))
np.save(f"{here}/miss.npy", np.array(8000, np.int64))

# a loop whose rows have no bound, and sides of different shapes
body = h.make_graph([h.make_node("Identity", ["go"], ["on"]), h.make_node("Identity", ["x"], ["row"])], "body",
                    [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, [])],
                    [h.make_tensor_value_info("on", T.BOOL, []), h.make_tensor_value_info("row", T.FLOAT, [3])])
model("unbounded", [h.make_node("Loop", ["n", "go"], ["rows"], body=body, name="endless")],
      [("x", T.FLOAT, [3]), ("n", T.INT64, []), ("go", T.BOOL, [])], [("rows", T.FLOAT, ["L", 3])])
wide = h.make_graph([h.make_node("Concat", ["x", "x"], ["b"], axis=0)], "b", [],
                    [h.make_tensor_value_info("b", T.FLOAT, [6])])
model("ragged", [h.make_node("If", ["c"], ["y"], name="ragged", then_branch=side("a", "Neg"), else_branch=wide)],
      [("x", T.FLOAT, [3]), ("c", T.BOOL, [])], [("y", T.FLOAT, ["L"])])

# sides whose shapes differ until a flag or a size is fixed, and a node without a name
row = h.make_graph([h.make_node("Neg", ["x"], ["a"])], "a", [], [h.make_tensor_value_info("a", T.FLOAT, [None])])
sums = h.make_graph([h.make_node("ReduceSum", ["x"], ["b"], keepdims=1)], "b", [],
                    [h.make_tensor_value_info("b", T.FLOAT, [None])])
model("sized", [h.make_node("Equal", ["rate", "k"], ["c"]),
                h.make_node("If", ["c"], ["y"], name="sized", then_branch=row, else_branch=sums)],
      [("x", T.FLOAT, [None]), ("rate", T.INT64, [])], [("y", T.FLOAT, [None])], [("k", np.array(16000, np.int64))])
model("nameless", [h.make_node("Gather", ["x", "i"], ["picked"])], [("x", T.FLOAT, [3]), ("i", T.INT64, [1])],
      [("picked", T.FLOAT, [1])])
model("tail", [h.make_node("Slice", ["x", "from", "end"], ["y"])], [("x", T.FLOAT, [None])], [("y", T.FLOAT, [None])],
      [("from", np.array([1], np.int64)), ("end", np.array([2**63 - 1], np.int64))])
np.save(f"{here}/far.npy", np.array([100], np.int64))
PY

run() { # MODEL OUT ARGUMENTS
    local model=$1 out=$2
    shift 2
    "$yunjin" run "$model" --output "$here/$out" "$@" >"$here/log" 2>&1 || fail "run $model: $(cat "$here/log")"
}
for op in LSTM GRU RNN; do
    for steps in S 6; do
        "$yunjin" compile "$here/${op}_$steps.onnx" -o "$here/${op}_$steps.yj" >"$here/log" 2>&1 || fail "$op $steps: $(cat "$here/log")"
        run "$here/${op}_$steps.yj" "$op$steps" --input x="$here/x.npy" --input n="$here/n.npy"
    done
    for out in y last; do cmp "$here/${op}S/$out.npy" "$here/${op}6/$out.npy" || fail "$op: the loop gives other bits for $out"; done
    "$yunjin" inspect "$here/${op}_S.yj" | grep -q "call index i0_0" || fail "$op: inspect shows no loop"
done

"$yunjin" compile "$here/side.onnx" -o "$here/side.yj" >/dev/null || fail "side"
"$yunjin" compile "$here/side.onnx" --dim rate=16000 -o "$here/fixed.yj" >/dev/null || fail "side, fixed"
run "$here/side.yj" hit --input x="$here/v.npy" --input rate="$here/hit.npy"
run "$here/side.yj" miss --input x="$here/v.npy" --input rate="$here/miss.npy"
run "$here/fixed.yj" fixed --input x="$here/v.npy"
"$yunjin" inspect "$here/fixed.yj" | grep -q "branch 0" || fail "--dim rate=16000 leaves a branch"
"$yunjin" compile "$here/side.onnx" --dim rate=1..2 -o "$here/no.yj" 2>&1 | grep -q "an input of one integer: write rate=N" || fail "--dim rate=1..2"
"$python" - "$here" <<'PY' || failed=1
import sys
import numpy as np
load = lambda name: np.load(f"{sys.argv[1]}/{name}/y.npy").tolist()
want = {"hit": [-1, 2, -3], "miss": [1, 2, 3], "fixed": [-1, 2, -3]}
for name, y in want.items():
    if load(name) != y:
        sys.exit(f"FAILED: {name} gives {load(name)}, not {y}")
PY

# a loop that would give more rows than the model declares
"$python" - "$here" "$data" <<'PY'
import sys
import numpy as np
np.save(f"{sys.argv[1]}/trips.npy", np.array(6, np.int64))
np.save(f"{sys.argv[1]}/cond.npy", np.array(True))
np.save(f"{sys.argv[1]}/y.npy", np.array([-2], np.float32))
PY
if [ -d "$data" ]; then
    "$yunjin" compile "$data/test_loop11/model.onnx" -o "$here/loop.yj" >/dev/null 2>&1 || fail "test_loop11"
    "$yunjin" run "$here/loop.yj" --input trip_count="$here/trips.npy" --input cond="$here/cond.npy" --input y="$here/y.npy" >"$here/log" 2>&1 && fail "six turns of five"
    grep -q "node 0.*(Loop).*: the loop turns more often than the 5 times" "$here/log" || fail "six turns: $(cat "$here/log")"
fi

refused() { # MODEL TEXT
    "$yunjin" compile "$here/$1.onnx" -o "$here/no.yj" >"$here/log" 2>&1 && fail "$1 was compiled"
    grep -q "$2" "$here/log" || fail "$1: $(cat "$here/log")"
}
refused sized "node 1 'sized'.*in one region.*try --dim rate=N --dim x.0=N$"
for way in rate=16000 x.0=1; do
    "$yunjin" compile "$here/sized.onnx" --dim $way -o "$here/sized.yj" >"$here/log" 2>&1 || fail "sized, $way: $(cat "$here/log")"
done
"$yunjin" compile "$here/tail.onnx" -o "$here/tail.yj" >"$here/log" 2>&1 || fail "tail: $(cat "$here/log")"
"$yunjin" inspect "$here/tail.yj" --plan | grep -q "x.0" || fail "inspect --plan does not show the size of tail"
"$yunjin" inspect "$here/tail.yj" --plan | grep 9223372036854775807 && fail "a slice to the end has a bound"
"$yunjin" compile "$here/nameless.onnx" -o "$here/nameless.yj" >"$here/log" 2>&1 || fail "nameless: $(cat "$here/log")"
"$yunjin" run "$here/nameless.yj" --input x="$here/v.npy" --input i="$here/far.npy" >"$here/log" 2>&1
grep -q "node 0 'picked (Gather)': index 100 is out of range" "$here/log" || fail "nameless: $(cat "$here/log")"
"$yunjin" run "$here/fixed.yj" --input x="$here/v.npy" --input rate="$here/hit.npy" >"$here/log" 2>&1 && fail "a fixed input was bound"
grep -q "no input is called 'rate'; there are: x.*--dim NAME=N" "$here/log" || fail "a fixed input: $(cat "$here/log")"
refused unbounded "node 0 endless (Loop)): dimension 0 is known only during a run and has no bound"
refused ragged "result 0 is f32 \[3\] in one region and f32 \[6\] in the other"

models=${YUNJIN_MODELS:-$SOURCE/.cache/models}
silero() { # MODEL STATES.. : a chunk of a tone, twice, with the states fed back; ONNX Runtime's probabilities
    "$python" - "$yunjin" "$here" "$models" "$@" <<'PY' || failed=1
import subprocess, sys
import numpy as np
yunjin, here, models, name, rate, n, *rest = sys.argv[1:]
rate, n, want, states = int(rate), int(n), [float(x) for x in rest[0].split(",")], dict(s.split("=") for s in rest[1:])
shape = {"h": (2, 1, 64), "c": (2, 1, 64), "state": (2, 1, 128)}
values = {k: np.zeros(shape[k], np.float32) for k in states}
fixed = name.endswith("v6")
options = ["--dim", f"sr={rate}", "--dim", "input.0=1", "--dim", f"input.1={n}", "--dim", "state.1=1"] if fixed else []
subprocess.run([yunjin, "compile", f"{models}/{name}.onnx", "-o", f"{here}/v.yj", *options], check=True, stdout=subprocess.DEVNULL)
for k, p in enumerate(want):
    t = np.arange(k * n, (k + 1) * n) / rate
    x = (0.3 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 31 * t))).astype(np.float32)
    given = {"input": x[None], **values, **({} if fixed else {"sr": np.array(rate, np.int64)})}
    args = []
    for key, v in given.items():
        np.save(f"{here}/in_{key}.npy", v)
        args += ["--input", f"{key}={here}/in_{key}.npy"]
    subprocess.run([yunjin, "run", f"{here}/v.yj", *args, "--output", f"{here}/vad"], check=True, stdout=subprocess.DEVNULL)
    got = float(np.load(f"{here}/vad/output.npy").ravel()[0])
    if not abs(got - p) < 1e-4:
        sys.exit(f"FAILED: {name} at {rate}: chunk {k} has probability {got}, ONNX Runtime says {p}")
    values = {a: np.load(f"{here}/vad/{b}.npy") for a, b in states.items()}
PY
}
for name in silero_vad_legacy silero_vad_v6; do
    [ -r "$models/$name.onnx" ] || { echo "skipped in part: there is no $models/$name.onnx"; continue; }
    case $name in
    silero_vad_legacy)
        silero $name 16000 512 0.007622,0.001773,0.001309 h=hn c=cn
        silero $name 8000 768 0.028565,0.160214,0.278688 h=hn c=cn
        ;;
    silero_vad_v6) silero $name 16000 576 0.042915,0.014833,0.013555 state=stateN ;;
    esac
done
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sharded models on two ranks give what the unsharded ones give on one: a decoder (two all_reduce a layer, a head gathered
# along its last dimension, a cache that each rank holds half of), and two branches of which one runs while the other is summed.
. "$SOURCE/tests/start.sh"
fail() { echo "FAILED: $*"; exit 1; }

"$python" "$SOURCE/examples/decoder/make_decoder.py" "$here/decoder.onnx" --layers 1 --hidden 512 --heads 8 --kv 4 --head 64 \
    --ffn 1024 --vocab 512 --capacity 32 || exit 1
"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, random, n = sys.argv[1], np.random.default_rng(3), 512
np.save(f"{here}/ids.npy", np.array([[3, 5, 7]], np.int64))
np.save(f"{here}/seqlens.npy", np.array([2], np.int32))
np.save(f"{here}/total.npy", np.array(3, np.int32))
f32 = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n])
weights = [numpy_helper.from_array((random.standard_normal((n, n)) / 24).astype(np.float32), k) for k in "abcd"]
branch = lambda x, v, w, out: [helper.make_node("MatMul", [x, v], [out + "h"]), helper.make_node("Relu", [out + "h"], [out + "s"]),
                               helper.make_node("MatMul", [out + "s", w], [out + "t"]), helper.make_node("Softmax", [out + "t"], [out])]
g = helper.make_graph(branch("x", "a", "b", "y") + branch("x", "c", "d", "z"), "g", [f32("x")], [f32("y"), f32("z")], weights)
save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)]), f"{here}/branches.onnx")
PY

state=(--state 'past_*=present_*')
inputs=(--input input_ids="$here/ids.npy" --input seqlens_k="$here/seqlens.npy" --input total_sequence_length="$here/total.npy")
for n in 1 2; do
    "$yunjin" compile "$here/decoder.onnx" "${state[@]}" --shard tp=$n -o "$here/decoder$n.yj" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
    "$yunjin" compile "$here/branches.onnx" --shard tp=$n -o "$here/branches$n.yj" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
done
# other names for everything: the same kernels and the same steps, but for the names
"$python" "$SOURCE/tests/compiler/shuffle_onnx.py" "$here/decoder.onnx" "$here/renamed.onnx" 0 "${state[@]}" || exit 1
"$yunjin" compile "$here/renamed.onnx" --state 'keep_*_old=keep_*_new' --shard tp=2 -o "$here/renamed.yj" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
code() { objcopy -O binary --only-section=.text --only-section=.rodata "$here/$1.yj"/*.so "$here/$1.code" && cat "$here/$1.code"; }
kernels() { sed 's/^kernel [a-zA-Z0-9_]*/kernel/' "$here/$1.yj"/*.kernels; } # symbols hold the first node's name
[ "$(code decoder2 | wc -c)" -gt 10000 ] && cmp <(code decoder2) <(code renamed) || fail "names change the code"
[ "$(kernels decoder2 | wc -l)" -gt 100 ] && cmp <(kernels decoder2) <(kernels renamed) || fail "names change the kernels"
steps() { sed -nE 's/"[^"]*"//g;s/launch ([a-z_]+[0-9]+)_[^(]*/launch \1/;/^ *[0-9]+ q[0-9]/p' "$here/$1.yj"/*.plan; }
[ "$(steps decoder2 | wc -l)" -gt 20 ] && [ "$(steps decoder2)" = "$(steps renamed)" ] || fail "names change the plan"
grep -q " start .* all_reduce" "$here"/decoder2.yj/*.plan || fail "the decoder is not shared"
timeout 60 "$yunjin" run "$here/decoder1.yj" "${inputs[@]}" --output "$here/one" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
timeout 60 "$yunjin" run "$here/decoder2.yj" --ranks 2 "${inputs[@]}" --output "$here/two" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
timeout 60 "$yunjin" run "$here/branches1.yj" --random 3 --dim N=16 --output "$here/branches" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
timeout 60 "$yunjin" run "$here/branches2.yj" --ranks 2 --random 3 --dim N=16 --compare "$here/branches" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
grep -q "equal" "$here/said" || fail "$(cat "$here/said")"
timeout 60 "$yunjin" run "$here/decoder2.yj" --ranks 3 "${inputs[@]}" >"$here/said" 2>&1 && fail "3 ranks ran a model for 2"
grep -q "it is for 2 ranks" "$here/said" || fail "$(cat "$here/said")"
"$yunjin" inspect "$here/branches.onnx" --shard tp=2 --at N=16 --json >"$here/branches.json" || fail "inspect"

"$python" - "$here" <<'PY'
import json, re, sys, glob
import numpy as np
here = sys.argv[1]
one, two = (np.load(f"{here}/{n}/logits.npy") for n in ("one", "two"))
if not (np.abs(one - two) <= 1e-4 * np.abs(one) + 1e-5 * np.abs(one).max()).all():
    sys.exit(f"FAILED: logits differ by {np.abs(one - two).max()}")
heads = np.load(f"{here}/two/present_key.0.npy")
if not np.allclose(heads, np.load(f"{here}/one/present_key.0.npy")[:, :2], 1e-4, 1e-5) or not heads.any():
    sys.exit("FAILED: rank 0 does not hold the first half of the heads")
# the second branch's first product stands between the start of the first sum and the wait for it
steps = re.findall(r"^  \d+ q\d.*?(launch|start|wait)", open(glob.glob(f"{here}/branches2.yj/*.plan")[0]).read(), re.M)
if "start" not in steps or steps[steps.index("start") + 1] != "launch":
    sys.exit(f"FAILED: nothing runs beside the first collective: {steps}")
first = json.load(open(f"{here}/branches.json"))["cases"][0]["collectives"][0]
if not (first["hidden_us"] > 0 and first["kernels_moved"] > 0 and first["kernels_between"] > 0 and "moved there" in first["overlap"]):
    sys.exit(f"FAILED: inspect says {first}")
PY

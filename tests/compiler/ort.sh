#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The com.microsoft operators of language models against numbers that ONNX Runtime gave (ort/cases.py makes the models, and
# made the numbers): attention with and without a past, rotary embedding, norms with a residual, products with 4-bit weights.
# Weights of few bits stay so, on disk and in memory; an operand or attribute that is not understood is refused.
. "$SOURCE/tests/start.sh"

"$python" "$SOURCE/tests/compiler/ort/cases.py" make "$here/cases" || exit 1
"$yunjin" test onnx "$here/cases/close" --verbose >"$here/said" 2>"$here/warned"
grep -E "^(fail|unsupported|crash)" "$here/said" && fail "against ONNX Runtime"
n=$(ls "$here/cases/close" | wc -l)
[ "$n" -ge 46 ] && grep -q "$n pass, 0 fail, 0 unsupported, 0 crash of $n" "$here/said" || fail "$(tail -1 "$here/said")"

# f16 attention: each side rounds in other places
for c in "$here"/cases/loose/*; do
    "$yunjin" run "$c/model.onnx" --input "$c/test_data_set_0" --output "$here/out" >"$here/said" 2>&1 || fail "$c: $(cat "$here/said")"
    for i in 0:y 1:present_k 2:present_v; do
        "$python" "$SOURCE/tests/compiler/ort/cases.py" compare "$here/out/${i#*:}.npy" "$c/test_data_set_0/output_${i%:*}.pb" >"$here/said" ||
            fail "$(cat "$here/said")"
    done
    rm -r "$here/out"
done

# --- 4-bit weights of 8 million numbers are 4 MB and 1 MB of scales, not 32 MB; what is not understood is refused
"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, save, TensorProto
here, random, K, N = sys.argv[1], np.random.default_rng(1), 2048, 4096
f32 = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

def write(name, nodes, inputs, outputs, weights=()):
    g = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(w, n) for n, w in weights])
    save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]), f"{here}/{name}.onnx")

w, scale = random.integers(0, 256, (N, K // 32, 16), dtype=np.uint8), (random.random(N * K // 32) / 100).astype(np.float32)
numbers = np.stack([w & 15, w >> 4], -1).reshape(N, K // 32, 32)
plain = ((numbers.astype(np.float32) - 8) * scale.reshape(N, K // 32, 1)).reshape(N, K)
nbits = dict(domain="com.microsoft", K=K, N=N, bits=4, block_size=32)
write("packed", [helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], **nbits)], [f32("x", "M", K)], [f32("y", "M", N)], [("w", w), ("s", scale)])
write("plain", [helper.make_node("MatMul", ["x", "w"], ["y"])], [f32("x", "M", K)], [f32("y", "M", N)], [("w", np.ascontiguousarray(plain.T))])
write("order", [helper.make_node("MatMulNBits", ["x", "w", "s", "", "g"], ["y"], name="first", **nbits)], [f32("x", "M", K)], [f32("y", "M", N)],
      [("w", w), ("s", scale), ("g", np.zeros(K, np.int32))])
write("later", [helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], name="first", new_option=1, **nbits)], [f32("x", "M", K)], [f32("y", "M", N)],
      [("w", w), ("s", scale)])
write("many", [helper.make_node("Relu", ["x", "x"], ["y"], name="first")], [f32("x", "M", K)], [f32("y", "M", K)])
PY
for m in packed plain; do
    "$yunjin" compile "$here/$m.onnx" -o "$here/$m.yj" >"$here/said" 2>&1 || fail "$m: $(cat "$here/said")"
done
bytes=$(stat -c %s "$here/packed.yj/weights.safetensors")
[ "$bytes" -lt 5400000 ] || fail "4-bit weights take $bytes bytes"
for M in 1 3 40; do
    "$yunjin" run "$here/plain.yj" --random 4 --dim M=$M --output "$here/out" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
    "$yunjin" run "$here/packed.yj" --random 4 --dim M=$M --compare "$here/out" >"$here/said" 2>&1 || fail "$(cat "$here/said")"
done
for M in 1 3 40; do
    "$yunjin" run "$here/packed.yj" --random 4 --dim M=$M --threads 1 --json >"$here/packed.json" 2>"$here/said" || fail "$(cat "$here/said")"
    "$python" - "$here" $M <<'PY' || failed=1
import json, sys
planned = json.load(open(sys.argv[1] + "/packed.json"))["summary"]["planned_bytes"]
if planned > 3e6:
    sys.exit(f"FAILED: {sys.argv[2]} rows: {planned} bytes besides the weights: they are written out")
PY
done
refused() { # MODEL TEXT
    "$yunjin" compile "$here/$1.onnx" -o "$here/no.yj" >"$here/said" 2>&1
    [ $? = 1 ] && grep -q "node 0 'first'.*$2" "$here/said" && [ ! -e "$here/no.yj" ] || fail "$1: $(cat "$here/said")"
}
refused order "g_idx"
refused later "attribute new_option is not supported"
refused many "operand 1 is not supported"
[ $failed = 0 ] && echo "$n cases agree with ONNX Runtime"
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Weights in f16 stay f16: a model of four products needs about half of the memory that its f32 twin needs, as the kernel
# counts it for the process, and gives the same numbers within f16. By model.yj and straight from the .onnx.
# label: release-only (it measures memory)
. "$SOURCE/tests/start.sh"
ldd "$yunjin" | grep -q 'lib[at]san' && { echo "skipped: a sanitizer's own memory would be counted"; exit 77; }
"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, save, TensorProto
here, random, n = sys.argv[1], np.random.default_rng(3), 2048
weights = [random.standard_normal((n, n), dtype=np.float32) / 45 for _ in range(4)]
for name, t, dtype in ("f32", TensorProto.FLOAT, np.float32), ("f16", TensorProto.FLOAT16, np.float16):
    nodes, x = [], "x"
    for i in range(4):
        nodes += [helper.make_node("MatMul", [x, f"w{i}"], [f"h{i}"]), helper.make_node("Relu", [f"h{i}"], [f"y{i}"])]
        x = f"y{i}"
    value = lambda s: helper.make_tensor_value_info(s, t, ["M", n])
    tensors = [numpy_helper.from_array(w.astype(dtype), f"w{i}") for i, w in enumerate(weights)]
    save(helper.make_model(helper.make_graph(nodes, "g", [value("x")], [value(x)], tensors), opset_imports=[helper.make_opsetid("", 17)]), f"{here}/{name}.onnx")
    for m in 1, 4, 32:
        np.save(f"{here}/{name}.{m}.npy", np.random.default_rng(m).standard_normal((m, n)).astype(dtype))
PY
for m in f32 f16; do
    "$yunjin" compile "$here/$m.onnx" -o "$here/$m.yj" >"$here/said" 2>&1 || { cat "$here/said"; exit 1; }
done
"$python" - "$here" "$yunjin" <<'PY'
import os, subprocess, sys
import numpy as np
here, yunjin = sys.argv[1:]

def peak(kind, m):
    """kB at most in memory, by the kernel's count for this one process; its output"""
    child = subprocess.Popen([yunjin, "run", f"{here}/{kind}.yj", "--threads", "2", "--input", f"x={here}/{kind}.{m}.npy", "--output", f"{here}/{kind}"],
                             stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"FAILED: {kind} of {m} rows: status {status}")
    return usage.ru_maxrss, np.load(f"{here}/{kind}/y3.npy")

for m in 1, 4, 32:
    (wide, a), (narrow, b) = peak("f32", m), peak("f16", m)
    error = np.abs(a - b.astype(np.float32)).max() / np.abs(a).max()
    if b.dtype != np.float16 or error > 4e-3:
        sys.exit(f"FAILED: {m} rows: f16 differs by {error} of the largest")
    if narrow > 0.6 * wide:
        sys.exit(f"FAILED: {m} rows: {narrow} kB with weights in f16, {wide} kB with the same in f32")
    print(f"{m} rows: {narrow} kB in f16, {wide} kB in f32; error {error:.1g}")
PY

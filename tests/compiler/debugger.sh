#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a debugger and a profiler see of a model: symbols name ops and ONNX nodes, rows of the line tables point into the
# text that ships beside the code, for each target; layers that are the same share a kernel; no path of this machine is
# in the model; gdb stops at a line of a kernel and shows it.
. "$SOURCE/tests/start.sh"

"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, random = sys.argv[1], np.random.default_rng(5)
node, weights = helper.make_node, []
def linear(name, x, y):
    weights.append(numpy_helper.from_array(random.standard_normal((48, 48)).astype(np.float32), name + ".w"))
    return [node("MatMul", [x, name + ".w"], [y + ".h"], name=f"/{name}/MatMul"), node("Relu", [y + ".h"], [y], name=f"/{name}/Relu")]
nodes = linear("layers.0", "x", "a") + linear("layers.1", "a", "b") + [node("Softmax", ["b"], ["y"], name="/头/Softmax (last)", axis=-1)]
f32 = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 48])
save(helper.make_model(helper.make_graph(nodes, "g", [f32("x")], [f32("y")], weights),
                       opset_imports=[helper.make_opsetid("", 17)]), f"{here}/net.onnx")
np.save(f"{here}/x.npy", random.standard_normal((7, 48)).astype(np.float32))
PY

targets=host,kunpeng920,loongson-3a6000,riscv64-rvv
cd "$here" || exit 1
"$yunjin" compile net.onnx -o net.yj --target $targets >said 2>&1 || { fail "compile: $(cat said)"; exit 1; }
"$yunjin" compile "$here/net.onnx" -o "$here/again.yj" --target $targets >said 2>&1 # from the cache
grep -q "(0 from the cache)" said && fail "the cache was not used"
diff -r net.yj again.yj >/dev/null || fail "another run gives other bytes"
grep -rlaF "$here" net.yj && fail "a path of this machine is in the model"

# --- every symbol and every row of the line tables, against the text
dwarfdump=$(command -v "${YUNJIN_LLVM_BINDIR:-/usr/lib/llvm-19/bin}/llvm-dwarfdump" llvm-dwarfdump-19 | head -1)
nm=$(command -v "${YUNJIN_LLVM_BINDIR:-/usr/lib/llvm-19/bin}/llvm-nm" llvm-nm-19 | head -1)
if [ -n "$dwarfdump" ] && [ -n "$nm" ]; then
    for so in net.yj/*.so; do
        "$dwarfdump" --verify "$so" >said 2>&1 || fail "$so: $(grep -m3 error said)"
        "$dwarfdump" --debug-line "$so" >lines
        "$nm" -S "$so" >symbols
        "$python" - "${so%.so}.kernels" <<'PY' || fail "$so"
import re, sys
text = open(sys.argv[1]).read().split("\n")
heads = {re.match(r"kernel (\w+)\(", t)[1]: i + 1 for i, t in enumerate(text) if t.startswith("kernel ")}
ends = {name: text.index("}", line) + 1 for name, line in heads.items()}
rows = []
for l in open("lines"):
    m = re.match(r"0x([0-9a-f]{16}) +(\d+) ", l)
    if m and "end_sequence" not in l: rows.append((int(m[1], 16), int(m[2])))
symbols = [l.split() for l in open("symbols")]
symbols = {s[3]: (int(s[0], 16), int(s[1], 16)) for s in symbols if len(s) == 4}
assert 2 <= len(heads) < 20, "layers that are the same do not share a kernel"
assert not any("layers_1" in h for h in heads), heads
assert any(h.startswith("dot_max_0_layers_0_MatMul") for h in heads) and any("Softmax_last" in h for h in heads), heads
assert {re.search(r'file_names|name: "(.*)"', l)[1] for l in open("lines") if 'name: "' in l} == {sys.argv[1].split("/")[1]}
seen = set()
for name, line in heads.items():
    for symbol in (name, name + ".tiles"):
        at, size = symbols[symbol]
        own = {n for address, n in rows if at <= address < at + size}
        bad = [n for n in own if n and not line <= n <= ends[name]]
        assert own - {0} and not bad, (symbol, bad, line, ends[name])
        seen |= own
for what in ("fma_tile", " = exp(", "reduce "): # statements that do the work have rows
    assert any(what in text[n - 1] for n in seen if n), what
PY
    done
else
    echo "left out: no llvm-dwarfdump and llvm-nm of LLVM 19"
fi

# --- gdb on this machine
text=$(ls net.yj/"$("$python" -c 'import json; print(json.load(open("net.yj/manifest.json"))["programs"][0]["text"])')")
line=$(grep -n ' = exp(' "$text" | head -1 | cut -d: -f1)
if ! command -v gdb >/dev/null; then
    echo "left out: no gdb"
elif ! gdb -nx -batch -ex run /bin/true 2>&1 | grep -q 'exited normally'; then
    echo "left out: gdb cannot run programs here"
else
    ASAN_OPTIONS=detect_leaks=0 timeout 120 gdb -nx -batch -d net.yj -ex 'set breakpoint pending on' -ex "break $(basename "$text"):$line" \
        -ex run -ex bt --args "$yunjin" run net.yj --input x=x.npy >said 2>&1 </dev/null
    grep -q "hit Breakpoint.*Softmax_last.*$(basename "$text"):$line" said || fail "gdb does not stop at $text:$line"
    grep -qF "$line	$(sed -n "${line}p" "$text")" said || fail "gdb does not show line $line"
    grep -q '#1 .*Softmax_last' said || fail "gdb does not find the caller"
    [ $failed = 0 ] || tail -20 said
fi
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `yunjin inspect` on a small decoder: what it says of the model and of what was compiled from it agrees with itself, with the
# model's own sizes, and between text and JSON; a model with unsupported nodes has all of them listed.
. "$SOURCE/tests/start.sh"
big=(--layers 1 --hidden 1024 --heads 16 --kv 8 --head 64 --ffn 2048 --vocab 128 --capacity 32)
decoder=(--layers 2 --hidden 64 --heads 4 --kv 2 --head 16 --ffn 96 --vocab 128 --capacity 32)
"$python" "$SOURCE/examples/decoder/make_decoder.py" "$here/d.onnx" "${decoder[@]}" || exit 1
"$python" "$SOURCE/examples/decoder/make_decoder.py" "$here/big.onnx" "${big[@]}" || exit 1
state=(--state 'past_*=present_*')

"$yunjin" inspect "$here/d.onnx" "${state[@]}" --at S=4 --json >"$here/model.json" || exit 1
"$yunjin" inspect "$here/d.onnx" "${state[@]}" --at S=4 --all >"$here/model.txt" || exit 1
"$yunjin" inspect "$here/big.onnx" "${state[@]}" --at S=4 --shard tp=2 --json >"$here/sharded.json" || exit 1
"$yunjin" inspect "$here/d.onnx" "${state[@]}" --target kunpeng920,loongson-3a6000 --json >"$here/two.json" || exit 1
"$yunjin" compile "$here/d.onnx" "${state[@]}" -o "$here/d.yj" >/dev/null || exit 1
"$yunjin" inspect "$here/d.yj" --at S=4 --json >"$here/made.json" || exit 1
"$yunjin" inspect "$here/d.onnx" --at T=4 2>"$here/wrong.txt" && { echo "--at T=4: there is no T, and it was accepted"; exit 1; }
grep -q "no such dimension; there are: S" "$here/wrong.txt" || { cat "$here/wrong.txt"; exit 1; }
"$yunjin" inspect "$here/d.onnx" --dim S=1..8 --at S=9 2>"$here/wrong.txt" && { echo "--at S=9 is out of bounds"; exit 1; }
grep -q "1 to 8" "$here/wrong.txt" || { cat "$here/wrong.txt"; exit 1; }

"$python" - "$here" <<'PY' || exit 1
import sys
from onnx import helper, TensorProto, save
nodes = [helper.make_node("Relu", ["x"], ["a"])]
nodes += [helper.make_node("Det", ["a"], [f"y{i}"], name=f"det_{i}") for i in range(60)]
g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 3])],
                      [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [2]) for i in range(60)])
save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)]), sys.argv[1] + "/bad.onnx")
PY
"$yunjin" inspect "$here/bad.onnx" --json >"$here/bad.json"
[ $? = 1 ] || { echo "unsupported nodes: exit code"; exit 1; }
"$yunjin" inspect "$here/bad.onnx" >/dev/null 2>"$here/bad.txt"
[ "$(grep -c "det_" "$here/bad.txt")" = 60 ] || { echo "not all unsupported nodes are named:"; cat "$here/bad.txt"; exit 1; }

"$python" - "$here" <<'PY'
import json, sys
here = sys.argv[1]
load = lambda name: json.load(open(f"{here}/{name}.json"))
model, made, sharded, two, bad = load("model"), load("made"), load("sharded"), load("two"), load("bad")
m, c, s = model["cases"][0], made["cases"][0], sharded["cases"][0]

def check(ok, what):
    if not ok:
        sys.exit(f"FAILED: {what}")

# a compiled model says what the compiler said of it
for key in ("at", "inputs", "outputs", "states", "kernels", "memory", "steps", "collectives", "kernel_us"):
    check(m[key] == c[key], f"{key}: {m[key]} and {c[key]}")
check(m["at"]["S"] == 4, "S")
check([i["name"] for i in m["inputs"]] == ["input_ids", "seqlens_k", "total_sequence_length"], "inputs")
check(m["outputs"][0]["dims"] == ["1", "S", "128"] and m["outputs"][0]["shape"] == [1, 4, 128], "outputs")
check(len(m["states"]) == 4 and m["states"][0]["bytes"] == 2 * 32 * 16 * 4, "states")
check(m["onnx"]["ops"]["MatMul"] == 15 and sum(m["onnx"]["ops"].values()) == m["onnx"]["nodes"], "onnx")
check(sum(k["launches"] for k in m["kernels"]) == m["steps"]["launch"], "launches")
check(abs(sum(k["us"] for k in m["kernels"]) - m["kernel_us"]) < 1e-6 * m["kernel_us"], "time")
# the products of one layer: q, k, v, o, gate, up, down; attention besides, so the arithmetic is a little more
weights = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 64 * 96 * 3) + 64 * 128
check(2 * 4 * weights <= m["gflop"] * 1e9 <= 3 * 4 * weights, f"arithmetic {m['gflop']}")
check(4 * (weights + 64 * 128) <= m["memory"]["weight_bytes"] <= 4 * (weights + 64 * 128) * 1.2, "weights")
check(m["memory"]["temporary_bytes"] > 0, "temporaries")
f = m["fusion"]
check(f["groups"] == m["steps"]["launch"] and f["not_fused"] == sum(r["count"] for r in f["reasons"]) > 0, "fusion")
check(all(r["count"] == len(r["edges"]) and r["why"] for r in f["reasons"]), "reasons")
check(m["inexact"] == [] and m["ranks"] == 1 and not m["collectives"], "one rank")
check(s["ranks"] == 2 and [x["kind"] for x in s["collectives"]].count("all_reduce") == 2, "two ranks")
split = {w["name"] for w in s["sharding"]["split"]}
check(len([w for w in s["sharding"]["split"] if w["bytes"] >= 1 << 20]) >= 7, f"split: {split}")
for x in s["collectives"]:
    check(x["us"] > 0 and x["bytes"] > 0 and x["axis"] == "tp" and x["nodes"] and "hidden" in x["overlap"], f"collective {x}")
check([p["target"] for p in two["cases"]] == ["kunpeng920", "loongson-3a6000"], "targets")
check(len(bad["cases"]) == 60 and all("det_" in line and "Det" in line for line in bad["cases"]), "unsupported")
text = open(f"{here}/model.txt").read()
for k in m["kernels"]:
    check(k["name"] in text, f"{k['name']} is not in the text")
for r in f["reasons"]:
    check(r["why"] in text, f"'{r['why']}' is not in the text")
PY

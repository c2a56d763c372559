#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sizes that are known only at run time and must be equal (what a product sums over, what is joined, channels and their
# parameters): with sizes that fit a model runs; with others it is refused before anything is read, naming the node.
. "$SOURCE/tests/start.sh"

"$python" - "$here" <<'PY' || exit 1
import sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, f32 = sys.argv[1], np.float32
cases = open(f"{here}/cases", "w")
def case(name, op, inputs, right, wrong, weights={}, **attributes):
    """INPUTS: name to symbolic shape; RIGHT, WRONG: their sizes, one list an input."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    node = helper.make_node(op, [*inputs, *weights], ["y"], name=f"the {name}", **attributes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    w = [numpy_helper.from_array(np.asarray(v, f32), k) for k, v in weights.items()]
    model = helper.make_model(helper.make_graph([node], "g", ports, [y], w), opset_imports=[helper.make_opsetid("", 17)])
    save(model, f"{here}/{name}.onnx")
    for kind, shapes in (("right", right), ("wrong", wrong)):
        for n, s in zip(inputs, shapes):
            np.save(f"{here}/{name}.{kind}.{n}.npy", np.ones(s, f32))
    cases.write(name + " " + " ".join(inputs) + "\n")
two = {"x": ["a", "b"], "p": ["c", "d"]}
case("MatMul", "MatMul", two, [(2, 4), (4, 3)], [(2, 90000), (4, 3)])
case("Gemm", "Gemm", two, [(2, 4), (4, 3)], [(2, 4), (5, 3)])
case("Weight", "MatMul", {"x": ["a", "b"]}, [(2, 4)], [(2, 5)], {"w": np.arange(12).reshape(4, 3)})
case("Concat", "Concat", two, [(2, 4), (3, 4)], [(2, 90000), (1, 4)], axis=0)
case("Conv", "Conv", {"x": ["n", "c", "h", "w"]}, [(1, 3, 4, 4)], [(1, 5, 4, 4)], {"k": np.ones((2, 3, 1, 1))})
case("PRelu", "PRelu", {"x": ["n", "c"], "s": ["k"]}, [(2, 5), (5,)], [(2, 5), (2,)])
case("Spread", "PRelu", {"x": ["n", "c"], "s": ["k"]}, [(2, 5), (1,)], [(2, 5), (4,)])
case("Norm", "LayerNormalization", {"x": ["n", "c"]}, [(3, 2)], [(3, 6)], {"s": [1.5, 2], "b": [0.5, 1]})
case("Batch", "BatchNormalization", {"x": ["n", "c", "w"]}, [(3, 2, 4)], [(3, 5, 4)],
     {"s": [1.5, 2], "b": [0.5, 1], "m": [0.25, 1], "v": [2, 3]})
case("Einsum", "Einsum", two, [(2, 4), (4, 3)], [(2, 5), (4, 3)], equation="ij,jk->ik")
PY

while read -r name inputs; do
    "$yunjin" compile "$here/$name.onnx" -o "$here/$name.yj" >"$here/said" 2>&1 || { fail "$name: $(cat "$here/said")"; continue; }
    for kind in right wrong; do
        given=()
        for i in $inputs; do given+=(--input "$i=$here/$name.$kind.$i.npy"); done
        timeout 60 "$yunjin" run "$here/$name.yj" "${given[@]}" >"$here/said" 2>&1
        code=$?
        [ $kind = right ] && [ $code != 0 ] && fail "$name with sizes that fit: exit $code: $(cat "$here/said")"
        [ $kind = wrong ] && [ $code != 1 ] && fail "$name with sizes that do not fit: exit $code: $(cat "$here/said")"
        [ $kind = wrong ] && { grep -q "the $name.*the shapes given do not fit" "$here/said" || fail "$name: $(cat "$here/said")"; }
    done
done <"$here/cases"
[ "$(wc -l <"$here/cases")" = 10 ] || fail "not all cases ran"
[ $failed = 0 ] || exit 1
echo "10 models refuse sizes that do not fit"

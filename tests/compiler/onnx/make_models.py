#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small models of tests/compiler/onnx_import.c and onnx_fuzz.c beside itself; the .txt of each is what it is
imported as. Run it with Debian's python3-onnx after a change, then the test with YUNJIN_UPDATE=1, and look at the difference."""
import os
import numpy as np
from onnx import helper, numpy_helper, save, TensorProto as T

here = os.path.dirname(os.path.abspath(__file__))
node, const = helper.make_node, lambda name, a: numpy_helper.from_array(np.asarray(a), name)
i64 = lambda name, *a: const(name, np.array(a, np.int64))


def value(name, *shape, dtype=T.FLOAT):
    return helper.make_tensor_value_info(name, dtype, list(shape))


def write(name, opset, nodes, inputs, outputs, weights=(), functions=(), domains=(), **more):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(weights), **more)
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    model.producer_name, model.ir_version = "", 8
    save(model, os.path.join(here, name + ".onnx"))
    return model


f32 = lambda name, *shape: const(name, (np.arange(np.prod(shape), dtype=np.float32) / 8 - 1).reshape(shape))

# a shape is computed from a shape and folds to dims
write("shape_chain", 13, [
    node("Shape", ["x"], ["s"]), node("Gather", ["s", "first"], ["n"], axis=0), node("Unsqueeze", ["n", "axes"], ["n1"]),
    node("Mul", ["h", "two"], ["h2"]), node("Shape", ["x"], ["t"]), node("Slice", ["t", "two1", "three1"], ["h"]),
    node("Concat", ["n1", "minus", "h2"], ["want"], axis=0), node("Reshape", ["x", "want"], ["y"])],
    [value("x", "N", 4, "H")], [value("y", "N", 2, "H2")],
    [const("first", np.int64(0)), i64("axes", 0), i64("minus", -1), i64("two", 2), i64("two1", 2), i64("three1", 3)])

write("constant_weights", 13, [
    node("Constant", [], ["w"], value=f32("", 3, 2)), node("Constant", [], ["b"], value_floats=[0.5, -0.5]),
    node("MatMul", ["x", "w"], ["p"], name="product"), node("Add", ["p", "b"], ["q"], name="bias"), node("Relu", ["q"], ["y"])],
    [value("x", "batch", 3)], [value("y", "batch", 2)])

write("opset_7", 7, [
    node("BatchNormalization", ["x", "g", "b", "m", "v"], ["a"], epsilon=1e-3), node("Clip", ["a"], ["c"], min=-1.0, max=1.0),
    node("Dropout", ["c"], ["d"], ratio=0.5), node("ReduceSum", ["d"], ["e"], axes=[2], keepdims=0),
    node("Unsqueeze", ["e"], ["f"], axes=[0]), node("Squeeze", ["f"], ["h"], axes=[0]), node("Softmax", ["h"], ["y"])],
    [value("x", 2, 3, 4)], [value("y", 2, 3)],
    [f32("g", 3), f32("b", 3), f32("m", 3), const("v", np.array([1, 2, 3], np.float32))])

write("opset_11", 11, [
    node("Clip", ["x", "low", ""], ["a"]), node("Pad", ["a", "pads"], ["b"], mode="constant"),
    node("Slice", ["b", "from", "to", "axis", "step"], ["c"]), node("Split", ["c"], ["d", "e"], axis=0, split=[1, 1]),
    node("ReduceSum", ["d"], ["f"], axes=[-1]), node("Softmax", ["e"], ["g"], axis=1)],
    [value("x", 2, 3)], [value("f", 1, 1), value("g", 1, 3)],
    [const("low", np.float32(0)), i64("pads", 0, 1, 0, 1), i64("from", -1), i64("to", -100), i64("axis", 1), i64("step", -2)])

write("opset_13", 13, [
    node("Split", ["x", "sizes"], ["a", "b"], axis=1), node("ReduceSum", ["a", "one"], ["c"], keepdims=0),
    node("Squeeze", ["b", "one"], ["d"]), node("Softmax", ["x"], ["e"]), node("Max", ["c", "d"], ["y"])],
    [value("x", 2, 3)], [value("y", 2), value("e", 2, 3)], [i64("sizes", 2, 1), i64("one", 1)])

# num_outputs and axes as operands, which opset 18 brought
write("opset_18", 18, [
    node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), node("ReduceMean", ["a", "one"], ["c"], keepdims=1),
    node("Pad", ["b", "pads", "", "one"], ["d"]), node("Add", ["c", "d"], ["y"])],
    [value("x", 2, 5)], [value("y", 2, 3)], [i64("one", 1), i64("pads", 0, 1)])

write("run_time_shape", 13, [node("Reshape", ["x", "shape"], ["y"]), node("Expand", ["v", "to"], ["z"])],
      [value("x", 2, 6), value("shape", 2, dtype=T.INT64), value("v", 1, 3), value("to", 2, dtype=T.INT64)],
      [value("y", "a", "b"), value("z", "c", "d")])

# the same, but the model says what comes out
write("declared_shape", 13, [node("Reshape", ["x", "shape"], ["y"]), node("Unsqueeze", ["x", "axes"], ["z"])],
      [value("x", 2, 6), value("shape", 2, dtype=T.INT64), value("axes", 1, dtype=T.INT64)],
      [value("y", 4, 3), value("z", 2, 1, 6)])

write("out_of_order", 13, [node("Neg", ["b"], ["y"], name="third"), node("Exp", ["a"], ["b"], name="second"),
                           node("Abs", ["x"], ["a"], name="first")], [value("x", 2)], [value("y", 2)])

write("top_k_compress", 13, [node("TopK", ["x", "k"], ["a", "i"]), node("Compress", ["a", "c"], ["y"], axis=0)],
      [value("x", 3, 5), value("c", 3, dtype=T.BOOL)], [value("y", "n", 2), value("i", 3, 2, dtype=T.INT64)], [i64("k", 2)])

# what is refused, all in one list
write("unsupported", 13, [
    node("RandomNormal", [], ["r"], shape=[2], name="noise"), node("Add", ["x", "r"], ["a"], name="user"),
    node("NonMaxSuppression", ["boxes", "scores"], ["b"], name="boxes"), node("Frobnicate", ["x"], ["c"], name="odd", domain="org.example"),
    node("Abs", ["x"], ["d"])],
    [value("x", 2), value("boxes", 1, "n", 4), value("scores", 1, 1, "n")],
    [value("a", 2), value("b", "m", 3, dtype=T.INT64), value("c", 2), value("d", 2)], domains=["org.example"])

write("cycle", 13, [node("Add", ["x", "b"], ["a"]), node("Abs", ["a"], ["b"])], [value("x", 2)], [value("b", 2)])
write("missing_operand", 13, [node("Add", ["x", "nowhere"], ["y"], name="sum")], [value("x", 2)], [value("y", 2)])
write("missing_output", 13, [node("Abs", ["x"], ["y"])], [value("x", 2)], [value("z", 2)])
write("no_output", 13, [node("Abs", ["x"], ["y"])], [value("x", 2)], [])
write("empty_graph", 13, [], [], [])
write("straight_through", 13, [], [value("x", 2)], [value("x", 2)])
write("too_large", 13, [node("Abs", ["x"], ["y"])], [value("x", 1 << 41)], [value("y", 1 << 41)])
write("twice", 13, [node("Abs", ["x"], ["y"], name="one"), node("Neg", ["x"], ["y"], name="two")], [value("x", 2)], [value("y", 2)])
write("string_input", 13, [node("Identity", ["x"], ["y"])], [value("x", 2, dtype=T.STRING)], [value("y", 2, dtype=T.STRING)])
w = helper.make_tensor("w", T.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
del w.float_data[3]
write("short_weight", 13, [node("Add", ["x", "w"], ["y"])], [value("x", 4)], [value("y", 4)], [w])

for name, location, offset in (("external_missing", "nowhere.bin", 0), ("external_outside", "../make_models.py", 0),
                               ("external_short", "weights.bin", 4), ("external", "weights.bin", 0)):
    w = T()
    w.name, w.data_type, w.data_location = "w", T.FLOAT, T.EXTERNAL
    w.dims.append(4)
    for k, v in (("location", location), ("offset", str(offset)), ("length", "16")):
        entry = w.external_data.add()
        entry.key, entry.value = k, v
    write(name, 13, [node("Add", ["x", "w"], ["y"])], [value("x", 4)], [value("y", 4)], [w])
open(os.path.join(here, "weights.bin"), "wb").write(np.array([1, 2, 3, 4], np.float32).tobytes())

# If on a constant: only the branch taken is imported; the other one would be refused
branch = lambda name, op: helper.make_graph([node(op, ["x"], [name])], name, [], [value(name, 2)])
write("if_constant", 13, [node("If", ["no"], ["y"], then_branch=branch("bad", "Frobnicate"), else_branch=branch("good", "Abs"))],
      [value("x", 2)], [value("y", 2)], [const("no", np.array(False))])

swish = helper.make_function("local", "Swish", ["v"], ["r"], [node("Mul", ["v", "scale"], ["s"]), node("Sigmoid", ["s"], ["g"]),
                             node("Mul", ["v", "g"], ["r"]), ], [helper.make_opsetid("", 13)], ["beta"])
ref = node("Constant", [], ["scale"])
a = ref.attribute.add()
a.name, a.ref_attr_name, a.type = "value_float", "beta", 1
swish.node.insert(0, ref)
write("function", 13, [node("Swish", ["x"], ["a"], domain="local", beta=2.0), node("Swish", ["a"], ["y"], domain="local", beta=0.5)],
      [value("x", 2)], [value("y", 2)], functions=[swish], domains=["local"])

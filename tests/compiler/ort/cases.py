#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The com.microsoft operators of language models, as small seeded models with the outputs that ONNX Runtime gives them.

usage: cases.py make DIR     every case as DIR/close/NAME/model.onnx and test_data_set_0, outputs taken from outputs.npz beside
                             this script (needs onnx and numpy); in DIR/loose those where ONNX Runtime's own error is large
       cases.py compare OURS THEIRS    two .pb or .npy files: exit 1 if they differ by more than a step of f16 of the largest
       cases.py compute      writes outputs.npz anew (needs onnxruntime besides); keep the names and numbers of old cases
Numbers come from a generator of our own, so that every version of numpy makes the same models. What a case leaves
undefined (rows of a cache behind the last token) is zero in the outputs that are kept, and in the past that is given."""
import os
import sys
import numpy as np
from onnx import helper, numpy_helper, save, TensorProto

here = os.path.dirname(os.path.abspath(__file__))


class Random:
    def __init__(self, name):
        self.state = np.uint64(0)
        for c in name.encode():
            self.state = self.state * np.uint64(31) + np.uint64(c)

    def bits(self, n):  # splitmix64
        z = self.state + np.uint64(0x9e3779b97f4a7c15) * np.arange(1, n + 1, dtype=np.uint64)
        self.state = z[-1]
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94d049bb133111eb)
        return z ^ z >> np.uint64(31)

    def floats(self, *shape, dtype=np.float32, scale=1.0):
        n = int(np.prod(shape))
        return ((self.bits(n) >> np.uint64(40)).astype(np.float64) / 2**23 - 1).reshape(shape).astype(np.float32).__mul__(np.float32(scale)).astype(dtype)

    def bytes(self, *shape):
        return (self.bits(int(np.prod(shape))) >> np.uint64(56)).astype(np.uint8).reshape(shape)


class Case:
    """Nodes, weights (initializers), inputs (name -> array), outputs (name -> element type), and where outputs count."""

    def __init__(self, name):
        self.name, self.random = name, Random(name)
        self.nodes, self.weights, self.inputs, self.outputs, self.dims, self.rows = [], {}, {}, {}, {}, {}

    def model(self):
        value = lambda n, a: helper.make_tensor_value_info(n, numpy_helper.from_array(a).data_type, self.dims.get(n, a.shape))
        inputs = [value(n, a) for n, a in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(n, t, None) for n, t in self.outputs.items()]
        weights = [numpy_helper.from_array(a, n) for n, a in self.weights.items()]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def onnx_type(dtype):
    return TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT


cases = []


def case(name):
    cases.append(Case(name))
    return cases[-1]


# ---- norms
def norms():
    for i, (shape, dtype) in enumerate([((1, 5, 16), np.float32), ((2, 3, 33), np.float32), ((7, 48), np.float32), ((1, 4, 24), np.float16)]):
        c = case(f"simplified_norm_{i}")
        c.inputs = {"x": c.random.floats(*shape, dtype=dtype, scale=3)}
        c.weights = {"gain": c.random.floats(shape[-1], dtype=dtype)}
        c.outputs = {"y": onnx_type(dtype)}
        c.nodes = [helper.make_node("SimplifiedLayerNormalization", ["x", "gain"], ["y"], axis=-1, epsilon=1e-6, stash_type=1)]
    for i, (shape, bias, whole, total, dtype) in enumerate([
            ((1, 5, 16), False, True, True, np.float32), ((2, 3, 33), True, True, True, np.float32), ((2, 4, 24), False, False, True, np.float32),
            ((1, 6, 40), True, True, False, np.float32), ((1, 4, 24), False, True, True, np.float16)]):
        c = case(f"skip_norm_{i}")
        c.inputs = {"x": c.random.floats(*shape, dtype=dtype), "skip": c.random.floats(*(shape if whole else shape[1:]), dtype=dtype, scale=2)}
        c.weights = {"gain": c.random.floats(shape[-1], dtype=dtype)}
        operands = ["x", "skip", "gain"]
        if bias:
            c.weights["bias"] = c.random.floats(shape[-1], dtype=dtype)
            operands.append("bias")
        c.outputs = {"y": onnx_type(dtype), **({"sum": onnx_type(dtype)} if total else {})}
        c.nodes = [helper.make_node("SkipSimplifiedLayerNormalization", operands, ["y", "", "", "sum"] if total else ["y"],
                                    domain="com.microsoft", epsilon=1e-5)]


# ---- rotary embedding
def tables(rows, half, dtype):
    angle = np.arange(rows)[:, None] / (1e4 ** (np.arange(half) / half))[None]
    return {"cos": np.cos(angle).astype(dtype), "sin": np.sin(angle).astype(dtype)}


def rotary():
    # rank, batch, length, heads, head, rotated elements (0: all), neighbours, positions ("offset" or "each"), type
    for i, (rank, b, s, heads, head, part, neighbours, ids, dtype) in enumerate([
            (3, 1, 5, 2, 16, 0, 0, "offset", np.float32), (3, 2, 4, 3, 8, 0, 1, "each", np.float32), (4, 2, 3, 2, 16, 0, 0, "each", np.float32),
            (4, 1, 6, 2, 16, 0, 1, "offset", np.float32), (3, 1, 4, 2, 16, 8, 0, "each", np.float32), (4, 1, 4, 2, 24, 8, 1, "each", np.float32),
            (3, 1, 3, 2, 16, 0, 0, "each", np.float16)]):
        c = case(f"rotary_{i}")
        shape = (b, s, heads * head) if rank == 3 else (b, heads, s, head)
        c.inputs = {"x": c.random.floats(*shape, dtype=dtype)}
        c.inputs["ids"] = np.array([3], np.int64) if ids == "offset" else (c.random.bytes(b, s) % 12).astype(np.int64)
        c.weights = tables(12, (part or head) // 2, dtype)
        c.outputs = {"y": onnx_type(dtype)}
        more = {"num_heads": heads, "rotary_embedding_dim": part} if part else {}
        c.nodes = [helper.make_node("RotaryEmbedding", ["x", "ids", "cos", "sin"], ["y"], domain="com.microsoft", interleaved=neighbours, **more)]


# ---- attention
def attention():
    # heads, kv, head, tokens, past, capacity (0: the past has exactly its rows), packed, rotary, options, type
    f32, f16 = np.float32, np.float16
    for i, (heads, kv, head, s, past, capacity, packed, rotate, options, dtype) in enumerate([
            (4, 2, 16, 5, 0, 8, False, True, {}, f32), (4, 2, 16, 1, 5, 8, False, True, {}, f32), (4, 2, 16, 5, 0, 8, True, True, {}, f32),
            (4, 2, 16, 1, 5, 8, True, True, {}, f32), (4, 4, 16, 3, 4, 12, True, False, {}, f32), (6, 1, 16, 4, 0, 6, False, False, {}, f32),
            (4, 2, 16, 1, 7, 8, True, True, {"rotary_interleaved": 1}, f32), (4, 2, 16, 6, 0, 8, False, True, {"local_window_size": 3}, f32),
            (4, 2, 16, 1, 6, 8, False, False, {"local_window_size": 3}, f32), (4, 2, 16, 4, 0, 8, False, True, {"softcap": 5.0}, f32),
            (4, 2, 16, 4, 2, 8, False, True, {"scale": 0.5}, f32), (4, 2, 32, 4, 0, 8, True, True, {}, f16), (4, 2, 32, 1, 4, 8, True, True, {}, f16),
            (4, 2, 16, 5, 0, 0, False, True, {}, f32), (4, 2, 16, 1, 5, 0, False, True, {}, f32), (4, 2, 16, 3, 5, 0, True, True, {}, f32),
            (4, 2, 16, 5, 0, None, False, True, {}, f32), (4, 2, 16, 5, 0, None, True, False, {}, f32)]):
        c = case(f"attention_{i}")
        total, rows = past + s, past if capacity == 0 else capacity or 0
        width = (heads + 2 * kv) * head if packed else heads * head
        c.inputs = {"q": c.random.floats(1, s, width, dtype=dtype)}
        if not packed:
            c.inputs.update(k=c.random.floats(1, s, kv * head, dtype=dtype), v=c.random.floats(1, s, kv * head, dtype=dtype))
        if capacity is not None:
            for n in ("past_k", "past_v"):
                c.inputs[n] = c.random.floats(1, kv, max(rows, 1), head, dtype=dtype)[:, :, :rows]
                c.inputs[n][:, :, past:] = 0
                if capacity == 0:
                    c.dims[n] = [1, kv, "P", head]
        c.inputs["last"], c.inputs["total"] = np.array([total - 1], np.int32), np.array(total, np.int32)
        if capacity is None:  # a prompt without any cache: both lengths are constants of the model
            c.weights = {n: c.inputs.pop(n) for n in ("last", "total")}
        c.outputs = {n: onnx_type(dtype) for n in ("y", "present_k", "present_v")}
        c.rows = {"present_k": total, "present_v": total}
        operands = [n if n in c.inputs or n in c.weights else "" for n in ("q", "k", "v", "past_k", "past_v", "last", "total")]
        if rotate:
            c.weights.update(tables(16, head // 2, dtype))
            operands += ["cos", "sin"]
        c.nodes = [helper.make_node("GroupQueryAttention", operands, list(c.outputs), domain="com.microsoft", num_heads=heads, kv_num_heads=kv,
                                    do_rotary=int(rotate), **options)]


# ---- products with weights of few bits
def products():
    # rows of x, K, N, block, bits, zero points (None, "packed", "float"), bias, type
    for i, (shape, K, N, block, bits, zero, bias, dtype) in enumerate([
            ((1, 32), 32, 8, 32, 4, None, False, np.float32), ((5, 64), 64, 24, 32, 4, "packed", False, np.float32), ((1, 3, 96), 96, 17, 32, 4, "packed", False, np.float32),
            ((2, 100), 100, 9, 32, 4, "packed", False, np.float32), ((4, 70), 70, 16, 16, 4, None, False, np.float32), ((3, 256), 256, 12, 128, 4, "packed", True, np.float32),
            ((2, 200), 200, 8, 64, 4, "packed", False, np.float32), ((2, 64), 64, 11, 16, 4, "float", False, np.float32), ((3, 64), 64, 16, 32, 8, None, False, np.float32),
            ((2, 96), 96, 7, 32, 8, "packed", False, np.float32), ((1, 300), 300, 20, 128, 8, "packed", False, np.float32), ((2, 64), 64, 16, 32, 4, "packed", False, np.float16),
            ((1, 1, 1024), 1024, 40, 32, 4, None, False, np.float32), ((9, 160), 160, 33, 32, 4, "packed", False, np.float32)]):
        c = case(f"nbits_{i}")
        blocks = -(-K // block)
        c.inputs = {"x": c.random.floats(*shape, dtype=dtype)}
        c.weights = {"w": c.random.bytes(N, blocks, block * bits // 8), "scale": (0.05 * (1.5 + c.random.floats(N * blocks))).astype(dtype)}
        operands = ["x", "w", "scale"]
        if zero == "packed":
            c.weights["zero"] = c.random.bytes(N * -(-blocks * bits // 8))
        elif zero:
            c.weights["zero"] = c.random.floats(N * blocks, dtype=dtype, scale=8) + np.float32(8)
        operands += ["zero"] if zero else [""] if bias else []
        if bias:
            c.weights["bias"] = c.random.floats(N, dtype=dtype)
            operands += ["", "bias"]
        c.outputs = {"y": onnx_type(dtype)}
        c.nodes = [helper.make_node("MatMulNBits", operands, ["y"], domain="com.microsoft", K=K, N=N, bits=bits, block_size=block)]


def compute():
    import onnxruntime as ort
    options, kept = ort.SessionOptions(), {}
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    for c in cases:
        try:
            session = ort.InferenceSession(c.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
            for name, a in zip(c.outputs, session.run(list(c.outputs), c.inputs)):
                a = a.copy()
                if name in c.rows:
                    a[:, :, c.rows[name]:] = 0
                kept[f"{c.name}.{name}"] = a
        except Exception as e:
            print(f"{c.name}: ONNX Runtime says {str(e)[:300]}")
    np.savez_compressed(here + "/outputs.npz", **kept)
    print(f"{len(cases)} cases with ONNX Runtime {ort.__version__}: {os.path.getsize(here + '/outputs.npz')} bytes")


def make(folder):
    kept = np.load(here + "/outputs.npz")
    for c in cases:
        loose = c.name.startswith("attention") and TensorProto.FLOAT16 in c.outputs.values()
        home = f"{folder}/{'loose' if loose else 'close'}/{c.name}"
        data = home + "/test_data_set_0"
        os.makedirs(data)
        save(c.model(), home + "/model.onnx")
        for i, (n, a) in enumerate(c.inputs.items()):
            open(f"{data}/input_{i}.pb", "wb").write(numpy_helper.from_array(a, n).SerializeToString())
        for i, n in enumerate(c.outputs):
            open(f"{data}/output_{i}.pb", "wb").write(numpy_helper.from_array(kept[f"{c.name}.{n}"], n).SerializeToString())


def compare(*paths):
    ours, theirs = (np.load(p) if p.endswith(".npy") else numpy_helper.to_array(TensorProto.FromString(open(p, "rb").read())) for p in paths)
    error = np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs.astype(np.float64)).max()
    print(f"{paths[0]}: {error:.2g} of the largest")
    sys.exit(not (ours.shape == theirs.shape and error <= 2**-10))


np.seterr(over="ignore")
norms(), rotary(), attention(), products()
if len(sys.argv) == 2 and sys.argv[1] == "compute":
    compute()
elif len(sys.argv) == 3 and sys.argv[1] == "make":
    make(sys.argv[2])
elif len(sys.argv) == 4 and sys.argv[1] == "compare":
    compare(*sys.argv[2:])
else:
    sys.exit(__doc__)

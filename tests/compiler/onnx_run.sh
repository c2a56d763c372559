#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Operators in ways that ONNX's node data do not try: STFT of a signal of any length, DFT cut and padded, transcendentals
# of f64 to the last digits, rows of old opsets, f16 whose
# sums and squares are no f16, f32 near 0 and near overflow. numpy computes what is expected.
. "$SOURCE/tests/start.sh"
"$python" - "$here" "$BUILD/yunjin" <<'PY'
import math, subprocess, sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save
here, yunjin = sys.argv[1:]
random, fails, tried = np.random.default_rng(8), 0, 0

kinds = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}

# want: an array, or what a refusal says
def run(node, x, want, tolerance, shape=None, more={}, options=(), opset=17):
    global fails, tried
    kind = kinds[str(x.dtype)]
    nodes = node if isinstance(node, list) else [node]
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape or x.shape)],
                          [helper.make_tensor_value_info("y", kind, None)],
                          [numpy_helper.from_array(v, k) for k, v in more.items()])
    save(helper.make_model(g, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]), here + "/m.onnx")
    np.save(here + "/x.npy", x)
    r = subprocess.run([yunjin, "run", here + "/m.onnx", *options, "--input", f"x={here}/x.npy", "--output", here],
                       capture_output=True, text=True)
    got = np.load(here + "/y.npy") if r.returncode == 0 else None
    tried += 1
    if isinstance(want, str):
        if r.returncode == 0 or want not in r.stderr:
            fails += 1
            print("FAILED:", nodes[0].op_type, "is not refused:", r.stderr[-300:])
        return
    good = got is not None and got.shape == want.shape and got.dtype == x.dtype
    with np.errstate(invalid="ignore"):
        off = np.abs(got - want)[np.isfinite(want)].max() if good else np.inf
        if good and np.array_equal(got[~np.isfinite(want)], want[~np.isfinite(want)], equal_nan=True) and off <= tolerance:
            return
    fails += 1
    print("FAILED:", nodes[0].op_type, x.shape, nodes[0].attribute, off, r.stderr[-300:])

def pair(c):
    return np.stack([c.real, c.imag], -1)

window = np.hanning(50).astype(np.float32)
for length in (64, 401):
    x = random.standard_normal((2, length, 1)).astype(np.float32)
    frames = np.stack([x[:, i:i + 50, 0] for i in range(0, length - 49, 20)], 1)
    more = {"step": np.array(20), "length": np.array(50), "window": window}
    for name, f in ("", frames), ("window", frames * window):
        for one in 0, 1:
            want = pair((np.fft.rfft if one else np.fft.fft)(f.astype(np.float64)))
            run(helper.make_node("STFT", ["x", "step", name, "length"], ["y"], onesided=one), x, want, 2e-4,
                ["b", "t", 1], {k: v for k, v in more.items() if k != "window" or name}, ["--dim", "t=50..100000"])
for parts in 1, 2:
    for axis in 1, -2:
        for length in 7, 9, 20:
            x = random.standard_normal((2, 9, 12, parts))
            c = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
            for inverse in range(parts):
                want = pair((np.fft.ifft if inverse else np.fft.fft)(c, length, axis=1 if axis == 1 else 2))
                run(helper.make_node("DFT", ["x", "n"], ["y"], axis=axis, inverse=inverse), x, want, 1e-12,
                    more={"n": np.array(length)})
x = np.concatenate([random.standard_normal(500) * 3, random.standard_normal(100) * 1e5,
                    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e308, -1e308]])
with np.errstate(all="ignore"):
    small = np.clip(x, -700, 700)
    for op, f in (("Exp", np.exp), ("Log", np.log), ("Tanh", np.tanh), ("Sin", np.sin), ("Cos", np.cos)):
        y = small if op == "Exp" else x
        want = f(y)
        if op == "Exp": y, want = y[np.abs(want) < 1e3], want[np.abs(want) < 1e3]
        run(helper.make_node(op, ["x"], ["y"]), y, want, 1e-12)
    run(helper.make_node("Softmax", ["x"], ["y"]), x[:500], np.exp(x[:500]) / np.exp(x[:500]).sum(), 1e-15)
    run(helper.make_node("Mod", ["x", "m"], ["y"], fmod=1), x, np.fmod(x, 0.7), 0, more={"m": np.full(x.shape, 0.7)})
    run(helper.make_node("Pow", ["x", "p"], ["y"]), np.abs(x[:500]), np.abs(x[:500]) ** 2.3, 1e-12, more={"p": np.array(2.3)})
# before opset 13 the axes from AXIS on are one row, and the shape stays
for shape, dims in ((3, 5), None), ((3, 5), ("a", "b")), ((2, 3, 4), None):
    x = random.standard_normal(shape).astype(np.float32)
    for axis in range(len(shape)):
        row = x.astype(np.float64).reshape(int(np.prod(shape[:axis])), -1)
        soft = np.exp(row) / np.exp(row).sum(1, keepdims=True)
        hard = (np.arange(row.shape[1]) == row.argmax(1)[:, None]).astype(float)
        for op, want in ("Softmax", soft), ("LogSoftmax", np.log(soft)), ("Hardmax", hard):
            run(helper.make_node(op, ["x"], ["y"], axis=axis), x, want.reshape(shape), 1e-6, dims, opset=11)
# integers are not multiplied by fractions
x, w = np.full((2, 3), 4, np.int32), {"w": np.full((3, 2), 5, np.int32), "c": np.full(2, 7, np.int32)}
gemm = lambda **a: helper.make_node("Gemm", ["x", "w", "c"], ["y"], **a)
fused = lambda **a: helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", **a)
run(gemm(alpha=2.0, beta=-3.0), x, np.full((2, 2), 99, np.int32), 0, more=w)
run(gemm(alpha=0.5), x, "alpha 0.5 of i32", 0, more=w)
run(gemm(beta=1.5), x, "beta 1.5 of i32", 0, more=w)
run(fused(alpha=3.0), x, np.full((2, 2), 180, np.int32), 0, more=w)
run(fused(alpha=0.5), x, "alpha 0.5 of i32", 0, more=w)
run(helper.make_node("Shrink", ["x"], ["y"], lambd=1.5, bias=1.0), x - 2, x - 3, 0)
run(helper.make_node("Shrink", ["x"], ["y"], bias=0.5), x, "bias 0.5 of i32", 0)
# f16 is rounded once: sums, squares and exponentials between may be larger or finer than f16 can hold
half = lambda *shape, by=1: (random.standard_normal(shape) * by).astype(np.float16)
node, ones = helper.make_node, lambda n: {"s": np.ones(n, np.float16), "b": np.zeros(n, np.float16)}
def check(name, x, f, more={}, opset=18, inputs=(), **a):
    want = f(x.astype(np.float64)).astype(np.float16)
    run(node(name, ["x", *inputs], ["y"], **a), x, want, np.abs(want.astype(np.float64)).max() * 1e-3, more=more, opset=opset)
whole = np.full((1, 2, 64, 64), 100, np.float16)
check("GlobalAveragePool", whole, lambda x: x.mean((2, 3), keepdims=True))
check("AveragePool", whole, lambda x: x[:, :, :35, :35], kernel_shape=[30, 30])
check("AveragePool", whole, lambda x: x[:, :, ::8, ::8], kernel_shape=[30, 30], strides=[8, 8], pads=[14, 14, 14, 14], auto_pad="NOTSET")
norm = lambda x, axes: (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
x = half(1, 2, 64, 64, by=100) + np.float16(50)
check("InstanceNormalization", x, lambda x: norm(x, (2, 3)), ones(2), inputs=("s", "b"))
check("MeanVarianceNormalization", x, lambda x: norm(x, (0, 2, 3)))
check("GroupNormalization", x, lambda x: norm(x, (1, 2, 3)), ones(1), inputs=("s", "b"), num_groups=1)
check("LpNormalization", x, lambda x: x / np.sqrt((x * x).sum(3, keepdims=True)), axis=3)
check("LRN", x, lambda x: x / (1 + 0.01 * (x * x)) ** 0.75, size=1, alpha=0.01)
for op, x, f in (("Mean", whole, np.mean), ("L2", np.full(50, 600, np.float16), lambda x, keepdims: np.sqrt((x * x).sum(keepdims=True))),
                 ("SumSquare", np.full(5000, 1e-4, np.float16), lambda x, keepdims: (x * x).sum(keepdims=True)),
                 ("L1", np.full(50, 600, np.float16), lambda x, keepdims: np.abs(x).sum(keepdims=True)),
                 ("LogSum", np.full(5000, 600, np.float16), lambda x, keepdims: np.log(x.sum(keepdims=True))),
                 ("LogSumExp", np.zeros(100000, np.float16), lambda x, keepdims: np.log(np.exp(x).sum(keepdims=True)))):
    check("Reduce" + op, x, lambda x: f(x, keepdims=True))
x = half(3, 3000)
soft = lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)
check("Softmax", x, soft)
check("LogSoftmax", x, lambda x: np.log(soft(x)))
check("Mean", np.full(9, 60000, np.float16), lambda x: x, inputs=("x", "x"))
for x in -8.0, -4.0, -3.0, -1e-3, 9.0: # one by one: each by its own measure
    x = np.array([x], np.float16)
    check("Gelu", x, lambda x: x / 2 * math.erfc(-x[0] / math.sqrt(2)), opset=20) if x > -5 else None
    check("Softplus", x, lambda x: np.log1p(np.exp(x)))
    check("Mish", x, lambda x: x * np.tanh(np.log1p(np.exp(x))))
# f32: each number by its own measure, near 0, far below it and near overflow
def each(op, xs, f, ulps=8, dtype=np.float32, opset=18, **a):
    x = np.array(xs, dtype)
    with np.errstate(all="ignore"): want = f(x.astype(np.longdouble))
    scale = np.where(np.isfinite(want) & (want != 0), np.abs(want), 1)
    m = [node(op, ["x"], ["z"], **a), node("Div", ["z", "s"], ["y"])]
    run(m, x, (want / scale).astype(dtype), ulps * np.finfo(dtype).eps, more={"s": scale.astype(dtype)}, opset=opset)
near = [1e-8, -1e-6, 1e-5, 1e-4, -1e-3, 0.01, 0.1, -0.3, 0.7, 0.0, np.nan]
for dtype in np.float32, np.float64:
    far = [1, -3, 20, 88, 88.9, -89.2, np.inf, -np.inf]
    each("Sinh", near + far, np.sinh, dtype=dtype)
    each("Cosh", near + far, np.cosh, dtype=dtype)
    each("Asinh", near + [1, -3, 1e4, -1e7, 1e20, np.inf], np.arcsinh, 12, dtype)
    each("Acosh", [1, 1 + 2.0**-22, 1.00001, 1.001, 1.3, 7, 1e4, 1e20, np.inf, 0.5], np.arccosh, 12, dtype)
    each("Atanh", near + [0.95, 1, -1, 2], np.arctanh, 12, dtype)
    each("Softplus", near + [-1, -15, -20, -30, -80, 3, 50, np.inf, -np.inf],
         lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), dtype=dtype)
    each("Mish", near + [-1, -15, -20, -30, 3, 50], lambda x: x * np.tanh(np.log1p(np.exp(x))), 12, dtype)
    elu = lambda x, by=1: np.where(x > 0, x, by * np.expm1(x / by)) + 0 * x
    each("Elu", near + [-1, -20, -200, 3, 1e30], elu, dtype=dtype)
    if dtype == np.float32: each("Celu", near + [-1, -20, -200, 3, 1e30], lambda x: elu(x, 2), dtype=dtype, alpha=2.0)
    each("Selu", near + [-1, -20], lambda x: 2.0 * np.where(x > 0, x, np.expm1(x)), dtype=dtype, alpha=1.0, gamma=2.0)
    x = np.array([-np.inf, np.inf, -0.0, 0.0, 4, -4, 1e-30, 3e38, np.nan], dtype)
    root = [node("Pow", ["x", "p"], ["z"]), node("Div", ["one", "z"], ["w"]), node("Concat", ["z", "w"], ["y"], axis=0)]
    with np.errstate(all="ignore"):
        want = np.sqrt(np.where(np.isinf(x) | (x == 0), np.abs(x), x))
        run(root, x, np.concatenate([want, 1 / want]), 0, more={"p": dtype(0.5), "one": dtype(1)})
# no axes, by request: nothing is summed, what comes before and after the sum stays
x = random.standard_normal((2, 3)).astype(np.float32)
for op, f in (("L1", np.abs), ("L2", np.abs), ("SumSquare", np.square), ("LogSum", np.log), ("LogSumExp", lambda x: x), ("Mean", lambda x: x),
              ("Sum", lambda x: x), ("Max", lambda x: x)):
    with np.errstate(invalid="ignore"): run(node("Reduce" + op, ["x"], ["y"], noop_with_empty_axes=1), x, f(x), 1e-6, opset=18)
print(tried, "models,", fails, "failed")
sys.exit(fails > 0)
PY

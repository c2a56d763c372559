#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a Qwen3-shaped decoder as ONNX, with seeded random weights: grouped-query attention with q/k norms and rotary
embedding, SwiGLU, a key/value cache.

Two styles of the same network, as exporters write them:
  gqa    com.microsoft GroupQueryAttention and SkipSimplifiedLayerNormalization; the cache has a fixed capacity and is
         updated in place: inputs  input_ids [1, S] i64, seqlens_k [1] i32, total_sequence_length [] i32,
                                   past_key.L, past_value.L [1, KV, CAPACITY, HEAD]
                           outputs logits [1, S, VOCAB], present_key.L, present_value.L (same shape as past)
  plain  only ai.onnx operators; the cache grows by Concat: past [1, KV, P, HEAD] -> present [1, KV, P + S, HEAD]

usage: make_decoder.py OUT.onnx [--style gqa|plain] [--layers 4] [--hidden 1024] [--heads 16] [--kv 8] [--head 128]
                       [--ffn 3072] [--vocab 4096] [--capacity 1024] [--dtype f32|f16] [--seed 7]
Needs Debian's python3-onnx and python3-numpy."""
import argparse
import numpy as np
from onnx import helper, numpy_helper, TensorProto, save


class Model:
    """Collects nodes and weights; every call of op() appends one node and returns its output's name."""

    def __init__(self, dtype, seed):
        self.nodes, self.weights, self.count = [], [], 0
        self.dtype = np.float16 if dtype == "f16" else np.float32
        self.onnx_dtype = TensorProto.FLOAT16 if dtype == "f16" else TensorProto.FLOAT
        self.random = np.random.default_rng(seed)

    def constant(self, array, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name, *shape, scale=None):
        scale = scale if scale is not None else shape[0] ** -0.5
        return self.constant((self.random.standard_normal(shape, dtype=np.float32) * scale).astype(self.dtype), name)

    def near_one(self, name, n):
        return self.constant((1 + 0.1 * self.random.standard_normal(n, dtype=np.float32)).astype(self.dtype), name)

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def op(self, kind, *inputs, outputs=1, name=None, out=None, **attributes):
        self.count += 1
        names = out or ([f"t{self.count}"] if outputs == 1 else [f"t{self.count}_{i}" for i in range(outputs)])
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name or f"{kind}_{self.count}", **attributes))
        return names[0] if len(names) == 1 else names


def rms_norm(m, a, x, gain, name):
    if a.style == "gqa":
        return m.op("SimplifiedLayerNormalization", x, gain, axis=-1, epsilon=1e-6, stash_type=1, name=name)
    one = m.constant(np.array(1e-6, m.dtype))
    mean = m.op("ReduceMean", m.op("Mul", x, x), axes=[-1], keepdims=1)
    return m.op("Mul", m.op("Div", x, m.op("Sqrt", m.op("Add", mean, one))), gain, name=name)


def rotary_tables(a):
    angle = np.arange(a.capacity)[:, None] / (1e6 ** (np.arange(0, a.head, 2) / a.head))[None]
    return np.cos(angle), np.sin(angle)


def attention_gqa(m, a, i, q, k, v, tables):
    return m.op("GroupQueryAttention", q, k, v, f"past_key.{i}", f"past_value.{i}", "seqlens_k", "total_sequence_length",
                *tables, out=[f"attn{i}", f"present_key.{i}", f"present_value.{i}"], name=f"layer{i}.attention",
                domain="com.microsoft", num_heads=a.heads, kv_num_heads=a.kv, do_rotary=1, rotary_interleaved=0)[0]


def attention_plain(m, a, i, q, k, v, tables):
    """q, k: [1, S, n*HEAD] already normed; masks and positions come from the shapes of input_ids and the cache."""
    def split(t, n):
        return m.op("Transpose", m.op("Reshape", t, m.ints(0, 0, n, a.head)), perm=[0, 2, 1, 3])

    def rotate(t):
        half = a.head // 2
        low = m.op("Slice", t, m.ints(0), m.ints(half), m.ints(3))
        high = m.op("Slice", t, m.ints(half), m.ints(a.head), m.ints(3))
        turned = m.op("Concat", m.op("Neg", high), low, axis=-1)
        return m.op("Add", m.op("Mul", t, tables[0]), m.op("Mul", turned, tables[1]))
    q, k, v = rotate(split(q, a.heads)), rotate(split(k, a.kv)), split(v, a.kv)
    k = m.op("Concat", f"past_key.{i}", k, axis=2, out=[f"present_key.{i}"])
    v = m.op("Concat", f"past_value.{i}", v, axis=2, out=[f"present_value.{i}"])
    group = a.heads // a.kv

    def repeat(t):
        shape = m.op("Shape", t)
        length = m.op("Gather", shape, m.ints(2), axis=0)
        wide = m.op("Concat", m.ints(1, a.kv, group), length, m.ints(a.head), axis=0)
        full = m.op("Concat", m.ints(1, a.heads), length, m.ints(a.head), axis=0)
        return m.op("Reshape", m.op("Expand", m.op("Unsqueeze", t, m.ints(2)), wide), full)
    score = m.op("MatMul", q, m.op("Transpose", repeat(k), perm=[0, 1, 3, 2]))
    score = m.op("Mul", score, m.constant(np.array(a.head ** -0.5, m.dtype)))
    weights = m.op("Softmax", m.op("Add", score, "mask"), axis=-1, name=f"layer{i}.softmax")
    mixed = m.op("Transpose", m.op("MatMul", weights, repeat(v)), perm=[0, 2, 1, 3])
    return m.op("Reshape", mixed, m.ints(0, 0, a.heads * a.head))


def positions_plain(m, a):
    """cos/sin rows [S, HEAD] and the causal mask [S, P + S], from Shape -> Gather chains."""
    s = m.op("Gather", m.op("Shape", "input_ids"), m.ints(1), axis=0)
    past = m.op("Gather", m.op("Shape", "past_key.0"), m.ints(2), axis=0)
    total = m.op("Add", past, s)
    cos, sin = rotary_tables(a)
    tables = [m.op("Slice", m.constant(np.concatenate([t, t], -1).astype(m.dtype)), past, total, m.ints(0)) for t in (cos, sin)]
    scalar = lambda t: m.op("Squeeze", t, m.ints(0))
    zero, one = m.constant(np.array(0, np.int64)), m.constant(np.array(1, np.int64))
    rows = m.op("Unsqueeze", m.op("Range", scalar(past), scalar(total), one), m.ints(1))
    columns = m.op("Unsqueeze", m.op("Range", zero, scalar(total), one), m.ints(0))
    hidden = m.op("Greater", columns, rows)
    m.op("Where", hidden, m.constant(np.array(-1e4, m.dtype)), m.constant(np.array(0, m.dtype)), out=["mask"])
    return tables


def build(a):
    m = Model(a.dtype, a.seed)
    float_input = lambda name, *shape: helper.make_tensor_value_info(name, m.onnx_dtype, shape)
    past, present = ([a.capacity, a.capacity] if a.style == "gqa" else ["P", "P + S"])
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "S"])]
    outputs = [float_input("logits", 1, "S", a.vocab)]
    if a.style == "gqa":
        inputs += [helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, [1]),
                   helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, [])]
        tables = [m.constant(t.astype(m.dtype)) for t in rotary_tables(a)]
    else:
        tables = positions_plain(m, a)
    x = m.op("Gather", m.weight("embedding", a.vocab, a.hidden, scale=1.0), "input_ids", axis=0, name="embedding")
    h = rms_norm(m, a, x, m.near_one("layer0.norm1", a.hidden), "layer0.norm1")
    for i in range(a.layers):
        n = lambda part: f"layer{i}.{part}"
        inputs += [float_input(f"past_{w}.{i}", 1, a.kv, past, a.head) for w in ("key", "value")]
        outputs += [float_input(f"present_{w}.{i}", 1, a.kv, present, a.head) for w in ("key", "value")]

        def heads(part, count, norm):
            t = m.op("MatMul", h, m.weight(n(part), a.hidden, count * a.head), name=n(part))
            if not norm:
                return t
            t = rms_norm(m, a, m.op("Reshape", t, m.ints(0, 0, count, a.head)), m.near_one(n(part + "_norm"), a.head), n(part + "_norm"))
            return m.op("Reshape", t, m.ints(0, 0, count * a.head))
        q, k, v = heads("q", a.heads, True), heads("k", a.kv, True), heads("v", a.kv, False)
        mixed = (attention_gqa if a.style == "gqa" else attention_plain)(m, a, i, q, k, v, tables)
        o = m.op("MatMul", mixed, m.weight(n("o"), a.heads * a.head, a.hidden), name=n("o"))

        def add_norm(x, y, gain, name):
            if a.style == "gqa":
                h, _, _, total = m.op("SkipSimplifiedLayerNormalization", x, y, gain, epsilon=1e-6, name=name,
                                      domain="com.microsoft", out=[f"{name}.h", "", "", f"{name}.x"])
                return h, total
            total = m.op("Add", x, y)
            return rms_norm(m, a, total, gain, name), total
        h, x = add_norm(x, o, m.near_one(n("norm2"), a.hidden), n("norm2"))
        gate = m.op("MatMul", h, m.weight(n("gate"), a.hidden, a.ffn), name=n("gate"))
        up = m.op("MatMul", h, m.weight(n("up"), a.hidden, a.ffn), name=n("up"))
        act = m.op("Mul", m.op("Mul", gate, m.op("Sigmoid", gate)), up)
        down = m.op("MatMul", act, m.weight(n("down"), a.ffn, a.hidden), name=n("down"))
        last = i + 1 == a.layers
        name = "norm" if last else f"layer{i + 1}.norm1"
        h, x = add_norm(x, down, m.near_one(name, a.hidden), name)
    m.op("MatMul", h, m.weight("lm_head", a.hidden, a.vocab), out=["logits"], name="lm_head")
    graph = helper.make_graph(m.nodes, "decoder", inputs, outputs, m.weights)
    model = helper.make_model(graph, producer_name="yunjin make_decoder",
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 8
    save(model, a.out)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--style", choices=["gqa", "plain"], default="gqa")
    p.add_argument("--dtype", choices=["f32", "f16"], default="f32")
    for name, value in dict(layers=4, hidden=1024, heads=16, kv=8, head=128, ffn=3072, vocab=4096, capacity=1024, seed=7).items():
        p.add_argument("--" + name, type=int, default=value)
    build(p.parse_args())

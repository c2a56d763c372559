#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Models that were damaged, through the whole command: compiled, and run where that succeeds. Each ends with an exit code of
0, 1 or 3 and with words; none dies of a signal, hangs, or ends in an internal error.
usage: mutate_onnx.py YUNJIN FIRST COUNT MODEL.onnx...   (mutation number FIRST + i is the same every time)"""
import os
import random
import subprocess
import sys
import tempfile
import onnx

yunjin, first, count, models = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
ODD = [0, 1, -1, 2, 3, 7, 255, 1 << 20, 1 << 31, 1 << 40, (1 << 62), (1 << 63) - 1, -(1 << 63), -2, -100]


def attribute(a, chance):
    if a.ints:
        a.ints[chance.randrange(len(a.ints))] = chance.choice(ODD)
    elif a.HasField("t") and a.t.dims:
        a.t.dims[chance.randrange(len(a.t.dims))] = chance.choice(ODD)
    elif a.type == onnx.AttributeProto.FLOAT:
        a.f = chance.choice([0.0, -1.0, 1e30, float("nan"), float("inf")])
    else:
        a.i = chance.choice(ODD)


def node(g, chance):
    n = chance.choice(g.node)
    names = [o for m in g.node for o in m.output] + [i.name for i in g.input] + [w.name for w in g.initializer]
    what = chance.randrange(6)
    if what == 0 and n.input:
        n.input[chance.randrange(len(n.input))] = chance.choice(names)
    elif what == 1 and n.input:
        del n.input[chance.randrange(len(n.input))]
    elif what == 2:
        n.op_type = chance.choice(g.node).op_type
    elif what == 3:
        n.input.append(chance.choice(names))
    elif n.attribute:
        attribute(chance.choice(n.attribute), chance)


def shape(v, chance):
    dims = v.type.tensor_type.shape.dim
    if not dims or chance.random() < 0.2:
        v.type.tensor_type.elem_type = chance.randrange(20)
    elif chance.random() < 0.3:
        del dims[chance.randrange(len(dims))]
    else:
        d = dims[chance.randrange(len(dims))]
        if chance.random() < 0.4:
            d.dim_param = chance.choice(["N", "M", "N*2", "", "?", "N - 5"])
        else:
            d.dim_value = chance.choice(ODD)


def weight(w, chance):
    what = chance.randrange(4)
    if what == 0 and w.dims:
        w.dims[chance.randrange(len(w.dims))] = chance.choice(ODD)
    elif what == 1:
        w.data_type = chance.randrange(20)
    elif what == 2 and w.raw_data:
        w.raw_data = w.raw_data[:-1]
    elif w.raw_data:
        data = bytearray(w.raw_data)
        for _ in range(4):
            data[chance.randrange(len(data))] = chance.choice([0, 255, 127, 128])
        w.raw_data = bytes(data)


def damage(path, chance):
    data = bytearray(open(path, "rb").read())
    if chance.random() < 0.25:
        for _ in range(1 + chance.randrange(4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data[:chance.randrange(len(data))] if chance.random() < 0.2 else data)
    model = onnx.ModelProto.FromString(bytes(data))
    for _ in range(1 + chance.randrange(3)):
        what = chance.randrange(8)
        if what == 0 and model.graph.input:
            shape(chance.choice(model.graph.input), chance)
        elif what == 1 and model.graph.output:
            shape(chance.choice(model.graph.output), chance)
        elif what == 2 and model.graph.initializer:
            weight(chance.choice(model.graph.initializer), chance)
        elif what == 3 and model.opset_import:
            chance.choice(model.opset_import).version = chance.choice(ODD + list(range(1, 24)))
        elif model.graph.node:
            node(model.graph, chance)
    return model.SerializeToString()


def run(words, number):
    try:
        done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"mutation {number}: {' '.join(words)} hangs"
    said = done.stderr.decode(errors="replace").replace("\n", " ")
    if done.returncode not in (0, 1, 3) or "internal error" in said or (done.returncode and not said):
        return f"mutation {number}: exit {done.returncode}: {said[-400:]}"
    return done.returncode


bad, ran, codes = [], {}, {}
with tempfile.TemporaryDirectory() as folder:
    for number in range(first, first + count):
        chance = random.Random(number)
        path, made = folder + "/m.onnx", folder + "/m.yj"
        open(path, "wb").write(damage(chance.choice(models), chance))
        code = run([yunjin, "compile", path, "-o", made], number)
        codes[code] = codes.get(code, 0) + 1
        if code == 0:
            code = run([yunjin, "run", made, "--random", "1"], number)
            ran[code] = ran.get(code, 0) + 1
            subprocess.run(["rm", "-rf", made])
        elif os.path.exists(made):
            code = f"mutation {number}: a failed compilation left a model"
        if isinstance(code, str):
            bad.append(code)
            print(code, flush=True)
print(f"{count} mutations: compile {codes}, run {ran}".replace("{", "").replace("}", "")[:300])
sys.exit(bool(bad) or not (codes.get(1, 0) > count / 10 and ran.get(0, 0) > count / 20))

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Says the same model with other words: every node and value gets a new name, independent nodes change places.
SEED 0: names only, the order stays.
usage: shuffle_onnx.py IN.onnx OUT.onnx SEED [--state PAST=PRESENT]   (a * in both; the pair becomes keep_N_old, keep_N_new)"""
import random
import sys
from onnx import load, save

model, seed = load(sys.argv[1]), int(sys.argv[3])
past, present = sys.argv[5].split("=") if len(sys.argv) > 5 else (None, None)
graph, chance = model.graph, random.Random(seed)

values = [v.name for v in graph.input] + [w.name for w in graph.initializer] + [o for n in graph.node for o in n.output if o]
names = list(dict.fromkeys(values))
numbers = list(range(len(names)))
chance.shuffle(numbers)
new = {"": ""}
for name, number in zip(names, numbers):
    new[name] = f"v{number}"
if past:
    before, after = past.split("*")
    for i, v in enumerate(graph.input):
        if v.name.startswith(before) and v.name.endswith(after):
            middle = v.name[len(before):len(v.name) - len(after)]
            new[v.name] = f"keep_{i}_old"
            new[present.replace("*", middle)] = f"keep_{i}_new"

waiting, made, order = list(graph.node), {v.name for v in graph.input} | {w.name for w in graph.initializer} | {""}, []
while waiting:
    ready = [n for n in waiting if all(i in made for i in n.input)]
    node = chance.choice(ready) if seed else ready[0]
    waiting.remove(node)
    made.update(node.output)
    order.append(node)

for i, node in enumerate(order):
    node.name = f"n{chance.randrange(10 ** 6)}_{i}"
    node.input[:] = [new[x] for x in node.input]
    node.output[:] = [new[x] for x in node.output]
weights = list(graph.initializer)
if seed:
    chance.shuffle(weights)
for w in weights:
    w.name = new[w.name]
for v in list(graph.input) + list(graph.output):
    v.name = new[v.name]
copies = [type(n).FromString(n.SerializeToString()) for n in order]
weights = [type(w).FromString(w.SerializeToString()) for w in weights]
del graph.node[:], graph.initializer[:], graph.value_info[:]
graph.node.extend(copies)
graph.initializer.extend(weights)
save(model, sys.argv[2])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models against other engines: largest error against ONNX Runtime (up to 1 is equal), median time, ratio (the engine's
time / ours: more than 1 says that we are faster), at 1 and 2 threads. Each engine is a process of its own that is stopped
while another runs (engines.py); they take turns, a short burst of runs each.
usage: models.py [--build build] [--models FOLDER] [--engines onnxruntime,openvino,iree,tvm] [--threads 1,2] [--json]
FOLDER: PP-OCR (examples/ocr/fetch_model.sh FOLDER). Needs numpy and onnxruntime (PyPI), and Debian's python3-onnx for the
decoder; of the other engines those whose packages are there (openvino; iree-base-compiler[onnx] and iree-base-runtime;
apache-tvm and onnx)."""
import argparse, json, os, subprocess, sys, tempfile
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import engines, yunjin

LAYERS, KV, HEAD, CAPACITY, VOCAB = 4, 8, 128, 1024, 4096
PICTURES = (("PP-OCR cls", "ch_ppocr_mobile_v2.0_cls_infer.onnx", [(1, 3, 48, 192), (2, 3, 48, 100), (1, 3, 48, 320)]),
            ("PP-OCR rec", "ch_PP-OCRv4_rec_infer.onnx", [(1, 3, 48, 320), (1, 3, 48, 101), (2, 3, 48, 160)]))
BURST_S, ROUNDS = 0.06, 7


class Model:
    """FEEDS: case -> {input: array}; of the outputs the first is compared."""

    def __init__(self, path, feeds, states=()):
        import onnxruntime
        self.path, self.feeds, self.states = path, feeds, list(states)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs, self.output = [i.name for i in self.session.get_inputs()], self.session.get_outputs()[0].name


def pictures(folder):
    for name, file, shapes in PICTURES:
        random = np.random.default_rng(1)
        feeds = {f"{name} {'x'.join(map(str, s))}": {"x": random.standard_normal(s, np.float32)} for s in shapes}
        yield Model(f"{folder}/{file}", feeds)


def decoder(work):
    path, script = f"{work}/decoder.onnx", os.path.join(os.path.dirname(__file__), "../examples/decoder/make_decoder.py")
    subprocess.run(["/usr/bin/python3", script, path, "--layers", str(LAYERS)], check=True)
    model, random = Model(path, {}, ["past_*=present_*"]), np.random.default_rng(0)
    names = [f"past_{part}.{i}" for i in range(LAYERS) for part in ("key", "value")]
    past = [np.zeros((1, KV, CAPACITY, HEAD), np.float32) for _ in names]
    for at in range(0, 640, 128):
        ids = random.integers(0, VOCAB, (1, 128)) if at < 512 else np.array([[7]])
        end = at + ids.shape[1]
        feeds = {"input_ids": ids, "seqlens_k": np.array([end - 1], np.int32),
                 "total_sequence_length": np.array(end, np.int32), **dict(zip(names, past))}
        if at >= 384:
            model.feeds["decoder prefill 128 at 384" if at == 384 else "decoder decode 1 at 512"] = feeds
        past = model.session.run(None, feeds)[1:]
    yield model


def start(model, threads, names, build, work):
    """Workers that loaded the model, and why others did not."""
    workers, refused = {}, {}
    for name in names:
        worker = workers[name] = engines.Worker(name)
        try:
            worker.ask(model=model.path, threads=threads, states=model.states, inputs=model.inputs, build=build, work=work)
        except RuntimeError as e:
            refused[name] = str(e)
            workers.pop(name).close()
    return workers, refused


def race(workers):
    """Medians in ms, and the medians over the rounds of every engine's time / ours."""
    bursts = {name: [] for name in workers}
    for i in range(ROUNDS + 1):
        for name, worker in workers.items():
            runs = 2 if i == 0 else max(2, min(40, int(BURST_S / bursts[name][0])))
            bursts[name].append(float(np.median(worker.ask(runs=runs + 1)["times"][1:])))  # the first one wakes threads
    ms = {name: 1e3 * float(np.median(b[1:])) for name, b in bursts.items()}
    ratio = {name: float(np.median(np.array(b[1:]) / np.array(bursts["yunjin"][1:]))) for name, b in bursts.items()}
    return ms, ratio


def run_case(model, case, workers, refused, work):
    """One row of the table: engine -> error, ms, ratio, or why there are none."""
    feed, saved, want = f"{work}/feed.npz", f"{work}/output.npy", model.session.run([model.output], model.feeds[case])[0]
    np.savez(feed, **model.feeds[case])
    row = {name: {"refused": why} for name, why in refused.items()}
    able = {}
    for name, worker in workers.items():
        try:
            worker.ask(feed=feed, output=model.output, save=saved)
            row[name], able[name] = {"error": yunjin.error(np.load(saved), want)}, worker
        except (RuntimeError, ValueError) as e:
            row[name] = {"refused": str(e)}
    if "yunjin" not in able:
        sys.exit(f"{case}: {row['yunjin']['refused']}")
    ms, ratio = race(able)
    for name in able:
        row[name].update(ms=ms[name], ratio=ratio[name])
    return row


def print_row(case, threads, row):
    ours = row["yunjin"]
    print(f"{case} at {threads} thread{'s' if threads > 1 else ''}: {ours['ms']:.2f} ms, error {ours['error']:.3f}")
    for name, r in row.items():
        if name == "yunjin":
            continue
        said = f"{r.get('ms', 0):8.2f} ms  ratio {r.get('ratio', 0):5.2f}  error {r.get('error', 0):.3f}"
        print(f"    {name:12} " + (f"cannot: {r['refused']}" if "refused" in r else said), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build")
    p.add_argument("--models")
    p.add_argument("--engines", default="onnxruntime,openvino,iree,tvm")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    names = ["yunjin"] + [name for name in a.engines.split(",") if name]
    if any(name not in engines.ENGINES for name in names):
        p.error(f"engines are {', '.join(engines.ENGINES)}")
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for model in [*(pictures(a.models) if a.models else ()), *decoder(work)]:
            for threads in map(int, a.threads.split(",")):
                workers, refused = start(model, threads, names, os.path.abspath(a.build), work)
                for case in model.feeds:
                    row = run_case(model, case, workers, refused, work)
                    rows.append({"case": case, "threads": threads, "engines": row})
                    if not a.json:
                        print_row(case, threads, row)
                for worker in workers.values():
                    worker.close()
    if a.json:
        print(json.dumps({"bench": "models", "cases": rows}, indent=1))


if __name__ == "__main__":
    main()

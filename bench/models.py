#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models against ONNX Runtime, interleaved in one process: error, median time, ratio (ONNX Runtime's time / ours: more than 1
is faster), at 1 and 2 threads.
usage: models.py [--build build] [--models FOLDER] [--json]
FOLDER: PP-OCR (examples/ocr/fetch_model.sh FOLDER). Needs numpy and onnxruntime (PyPI), and python3-onnx for the decoder."""
import argparse, json, os, subprocess, sys, tempfile, time
import numpy as np
import onnxruntime as ort

sys.path.insert(0, os.path.dirname(__file__))
import yunjin

LAYERS, KV, HEAD, CAPACITY, VOCAB = 4, 8, 128, 1024, 4096


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(path, options)


def race(ours, theirs, rounds):
    """Alternating pairs; medians in ms and the median of the pairs' ratios."""
    a, b = [], []
    for _ in range(rounds):
        start = time.perf_counter(); ours(); a.append(time.perf_counter() - start)
        start = time.perf_counter(); theirs(); b.append(time.perf_counter() - start)
    return 1e3 * float(np.median(a)), 1e3 * float(np.median(b)), float(np.median(np.array(b) / np.array(a)))


def compile_model(build, model, out, *options):
    subprocess.run([f"{build}/yunjin", "compile", model, "-o", out, *options], check=True, stdout=subprocess.DEVNULL)


def pictures(library, build, folder, work, rows):
    for name, file, shapes in (("PP-OCR cls", "ch_ppocr_mobile_v2.0_cls_infer.onnx", [(1, 3, 48, 192), (2, 3, 48, 100), (1, 3, 48, 320)]),
                               ("PP-OCR rec", "ch_PP-OCRv4_rec_infer.onnx", [(1, 3, 48, 320), (1, 3, 48, 101), (2, 3, 48, 160)])):
        model, out = f"{folder}/{file}", f"{work}/{file}.yj"
        compile_model(build, model, out)
        for threads in (1, 2):
            m, g = yunjin.Model(library, out, threads), session(model, threads)
            for shape in shapes:
                x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
                m.run({"x": x})
                err = yunjin.error(next(iter(m.outputs().values())), g.run(None, {"x": x})[0])
                rows.append((f"{name} {'x'.join(map(str, shape))}", threads, err, *race(m.run, lambda: g.run(None, {"x": x}), 15)))
            m.close()


def decoder(library, build, work, rows):
    model, out = f"{work}/decoder.onnx", f"{work}/decoder.yj"
    script = os.path.join(os.path.dirname(__file__), "../examples/decoder/make_decoder.py")
    subprocess.run(["/usr/bin/python3", script, model, "--layers", str(LAYERS)], check=True)
    compile_model(build, model, out, "--state", "past_*=present_*")
    for threads in (1, 2):
        m, g = yunjin.Model(library, out, threads), session(model, threads)
        past = [np.zeros((1, KV, CAPACITY, HEAD), np.float32) for _ in range(2 * LAYERS)]

        def feeds(ids, at):
            n = ids.shape[1]
            return {"input_ids": ids, "seqlens_k": np.array([at + n - 1], np.int32), "total_sequence_length": np.array(at + n, np.int32)}

        def theirs(ids, at):
            f = feeds(ids, at)
            for i in range(LAYERS):
                f[f"past_key.{i}"], f[f"past_value.{i}"] = past[2 * i], past[2 * i + 1]
            return g.run(None, f)
        rng = np.random.default_rng(0)
        for at in range(0, 512, 128):
            ids = rng.integers(0, VOCAB, (1, 128))
            m.run(feeds(ids, at))
            want = theirs(ids, at)
            err, past = yunjin.error(m.outputs()["logits"], want[0]), want[1:]
        rows.append(("decoder prefill 128 at 384", threads, err, *race(lambda: m.run(feeds(ids, 384)), lambda: theirs(ids, 384), 7)))
        one = np.array([[7]])
        m.run(feeds(one, 512))
        err = yunjin.error(m.outputs()["logits"], theirs(one, 512)[0])
        rows.append(("decoder decode 1 at 512", threads, err, *race(lambda: m.run(feeds(one, 512)), lambda: theirs(one, 512), 15)))
        m.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build")
    p.add_argument("--models")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    library, rows = yunjin.Library(os.path.abspath(a.build)), []
    with tempfile.TemporaryDirectory() as work:
        if a.models:
            pictures(library, a.build, a.models, work, rows)
        decoder(library, a.build, work, rows)
    names = ("case", "threads", "error", "ours_ms", "onnxruntime_ms", "ratio")
    if a.json:
        print(json.dumps({"bench": "models", "cases": [dict(zip(names, row)) for row in rows]}, indent=1))
        return
    print(f"{'case':32} threads   error  ours ms   ORT ms  ratio   (error <= 1 is equal; ratio > 1: we are faster)")
    for name, threads, err, ours, theirs, ratio in rows:
        print(f"{name:32} {threads:7} {err:7.3f} {ours:8.2f} {theirs:8.2f} {ratio:6.2f}")


if __name__ == "__main__":
    main()

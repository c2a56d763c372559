#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""f32 matrix products as a user runs them: a MatMul compiled into a model.yj and run by the runtime with its own threads,
in turn with OpenBLAS (the same number of threads) and ONNX Runtime where it is installed. Two kinds of B:
  given     both operands come at run time; everybody packs B in every run
  constant  B is a weight; the compilers may pack it ahead, OpenBLAS cannot
Each ratio is the median over rounds of theirs / ours (more than 1: we are faster). The share is of the fused
multiply-adds that as many threads reach out of registers, measured in the same rounds.
usage: gemm.py [--build build] [--sizes 512,1024,2048] [--threads 1,2] [--rounds 11] [--json]
Needs numpy, python3-onnx and libopenblas0-pthread; onnxruntime (PyPI) if it is to take part."""
import argparse, concurrent.futures, ctypes as c, json, os, subprocess, sys, tempfile, time
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

sys.path.insert(0, os.path.dirname(__file__))
import yunjin

REST = 0.05  # seconds in which the spinning threads of the one before go to sleep


def write_model(path, n, constant, b):
    a_info, b_info, y_info = (helper.make_tensor_value_info(x, TensorProto.FLOAT, [n, n]) for x in "aby")
    weights = [numpy_helper.from_array(b, "b")] if constant else []
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["y"])], "gemm", [a_info] if constant else [a_info, b_info], [y_info], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def openblas():
    blas = c.CDLL("libopenblas.so.0")
    f, i, p = c.c_float, c.c_int, c.c_void_p
    blas.cblas_sgemm.argtypes = [i, i, i, i, i, i, f, p, i, p, i, f, p, i]
    blas.cblas_sgemm.restype = None
    return blas


def peak_of(library, threads, pool):
    """GF/s of THREADS threads at once, out of registers."""
    return sum(pool.map(lambda _: library.bench_peak(2.0), range(threads)))


def timed(run):
    time.sleep(REST)
    run()  # wakes its threads
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(case, work, libraries, rounds, pool):
    n, constant, threads = case
    runtime, blas, peak = libraries
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((2, n, n), dtype=np.float32)
    y = np.empty((n, n), np.float32)
    model = f"{work}/gemm_{n}_{'constant' if constant else 'given'}"
    feeds = {"a": a} if constant else {"a": a, "b": b}
    ours = yunjin.Model(runtime, model + ".yj", threads)
    ours.bind(feeds)
    blas.openblas_set_num_threads(threads)
    runs = {"yunjin": ours.run, "openblas": lambda: blas.cblas_sgemm(101, 111, 111, n, n, n, 1, a.ctypes.data, n, b.ctypes.data, n, 0, y.ctypes.data, n)}
    if onnxruntime:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model + ".onnx", options, providers=["CPUExecutionProvider"])
        runs["onnxruntime"] = lambda: session.run(None, feeds)
    for run in runs.values():
        run()
    error = yunjin.error(ours.outputs()["y"], y)
    seconds, top = {name: [] for name in runs}, []
    for _ in range(rounds):
        top.append(peak_of(peak, threads, pool))
        for name, run in runs.items():
            seconds[name].append(timed(run))
    ours.close()
    flops, best = 2.0 * n**3 / 1e9, max(top)
    row = {"n": n, "b": "constant" if constant else "given", "threads": threads, "error": error, "peak_gflops": best}
    for name, s in seconds.items():
        rate = flops / float(np.median(s))
        row[name] = {"gflops": rate, "share": rate / best, "best_gflops": flops / min(s)}
        if name != "yunjin":
            row[name]["ratio"] = float(np.median(np.array(s) / np.array(seconds["yunjin"])))
    return row


def print_rows(rows):
    print("     n  B         threads   peak |   yunjin  share |  OpenBLAS share ratio | ONNX Runtime share ratio")
    for r in rows:
        line = f"{r['n']:6}  {r['b']:9} {r['threads']:6} {r['peak_gflops']:7.1f} | {r['yunjin']['gflops']:7.1f} {100 * r['yunjin']['share']:5.0f} % |"
        for name, width in (("openblas", 8), ("onnxruntime", 11)):
            if name in r:
                line += f" {r[name]['gflops']:{width}.1f} {100 * r[name]['share']:4.0f} % {r[name]['ratio']:5.2f} |"
        print(line)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build")
    p.add_argument("--sizes", default="512,1024,2048")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--kinds", default="given,constant")
    p.add_argument("--rounds", type=int, default=11)
    p.add_argument("--json", action="store_true")
    o = p.parse_args()
    build = os.path.abspath(o.build)
    peak = c.CDLL(f"{build}/libbench-peak.so")
    peak.bench_peak.restype, peak.bench_peak.argtypes = c.c_double, [c.c_double]
    libraries, rows = (yunjin.Library(build), openblas(), peak), []
    with tempfile.TemporaryDirectory() as work, concurrent.futures.ThreadPoolExecutor(64) as pool:
        for n in map(int, o.sizes.split(",")):
            b = np.random.default_rng(n).standard_normal((2, n, n), dtype=np.float32)[1]
            for kind in o.kinds.split(","):
                model = f"{work}/gemm_{n}_{kind}"
                write_model(model + ".onnx", n, kind == "constant", b)
                subprocess.run([f"{build}/yunjin", "compile", model + ".onnx", "-o", model + ".yj"], check=True, stdout=subprocess.DEVNULL)
                for threads in map(int, o.threads.split(",")):
                    rows.append(measure((n, kind == "constant", threads), work, libraries, o.rounds, pool))
    wrong = [r for r in rows if not r["error"] <= 1]
    if o.json:
        print(json.dumps({"bench": "gemm", "cases": rows}, indent=1))
    else:
        print_rows(rows)
    for r in wrong:
        print(f"gemm.py: n = {r['n']}, B {r['b']}, {r['threads']} threads: {r['error']:.3g} times the allowed error", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

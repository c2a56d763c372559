#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a model costs beside its run: seconds to compile it with an empty kernel cache and with a full one, milliseconds to
load it, and the largest resident memory of `yunjin run` against weights + planned memory + 20 MB. Medians of processes of
their own.
usage: footprint.py MODEL.onnx [NAME=N].. [--build build] [--repeat 5] [--json]
exit: 1 if the memory is more than that, or the load takes longer than 5 ms (--load-ms)."""
import argparse, json, os, statistics, subprocess, sys, tempfile, time


def timed(words, **environment):
    start = time.perf_counter()
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return time.perf_counter() - start, done.stdout


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("dims", nargs="*", metavar="NAME=N")
    p.add_argument("--build", default="build")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--load-ms", type=float, default=5)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    program, dims = f"{a.build}/yunjin", [word for d in a.dims for word in ("--dim", d)]
    cold, cached, runs = [], [], []
    with tempfile.TemporaryDirectory() as work:
        for i in range(a.repeat):
            words = [program, "compile", a.model, "-o", f"{work}/model.yj"]
            for times in (cold, cached):
                times.append(timed(words, YUNJIN_CACHE=f"{work}/cache{i}")[0])
        for _ in range(a.repeat):
            words = [program, "run", f"{work}/model.yj", "--random", "1", *dims, "--repeat", "3", "--json"]
            runs.append(json.loads(timed(words)[1])["summary"])
    median = lambda name: statistics.median(r[name] for r in runs)
    allowed = median("weight_bytes") + median("planned_bytes") + 20e6
    r = {"bench": "footprint", "model": os.path.basename(a.model), "dims": a.dims,
         "compile_cold_s": statistics.median(cold), "compile_cached_s": statistics.median(cached),
         "load_ms": 1e3 * median("load_s"), "peak_rss_bytes": median("peak_rss_bytes"), "allowed_rss_bytes": allowed}
    if a.json:
        print(json.dumps(r, indent=1))
    else:
        print(f"{r['model']} {' '.join(a.dims)}: compiled in {r['compile_cold_s']:.2f} s, from the cache in "
              f"{r['compile_cached_s']:.2f} s; load {r['load_ms']:.2f} ms; peak {1e-6 * r['peak_rss_bytes']:.1f} MB of "
              f"{1e-6 * allowed:.1f} MB allowed")
    sys.exit(r["peak_rss_bytes"] > allowed or r["load_ms"] > a.load_ms)


if __name__ == "__main__":
    main()

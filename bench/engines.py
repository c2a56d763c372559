#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Engines that run one ONNX model, each in a process of its own: threads of one, which keep spinning for a while after a run,
must not take the core of another. A Worker is such a process; it is stopped (SIGSTOP) whenever it is not asked something.
Run as a program this file is the process: commands on standard input, answers on standard output, one line of JSON each."""
import atexit, json, os, signal, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))


class Yunjin:
    """States are set once: a run at the same place of the cache writes the same rows again."""

    def __init__(self, job):
        import yunjin
        options = [word for pattern in job["states"] for word in ("--state", pattern)]
        out = f"{job['work']}/{os.path.basename(job['model'])}.yj"
        if not os.path.exists(out):
            subprocess.run([f"{job['build']}/yunjin", "compile", job["model"], "-o", out, *options], check=True,
                           capture_output=True, text=True)
        self.model = yunjin.Model(yunjin.Library(job["build"]), out, job["threads"])

    def feed(self, feeds):
        self.model.bind(feeds)
        self.run = self.model.run

    def output(self, name):
        return self.model.outputs()[name]


class OnnxRuntime:
    def __init__(self, job):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job["threads"]
        self.session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])

    def feed(self, feeds):
        def run():
            self.results = self.session.run(None, feeds)
        self.run = run

    def output(self, name):
        return self.results[[o.name for o in self.session.get_outputs()].index(name)]


class OpenVino:
    def __init__(self, job):
        import openvino
        options = {"INFERENCE_NUM_THREADS": job["threads"], "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled = openvino.Core().compile_model(job["model"], "CPU", options)

    def feed(self, feeds):
        request = self.compiled.create_infer_request()

        def run():
            self.results = request.infer(feeds, share_inputs=True, share_outputs=True)
        self.run = run

    def output(self, name):
        return self.results[name]


class Iree:
    """Through torch-mlir's importer, compiled for this very processor."""

    def __init__(self, job):
        text, code = f"{job['work']}/iree.mlir", f"{job['work']}/iree.vmfb"
        import iree.compiler.tools.import_onnx, iree.runtime
        run = lambda *words: subprocess.run(words, check=True, capture_output=True, text=True)
        run(sys.executable, "-m", "iree.compiler.tools.import_onnx", job["model"], "-o", text, "--opset-version", "17")
        tool = os.path.join(os.path.dirname(sys.executable), "iree-compile")
        run(tool, text, "-o", code, "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host")
        iree.runtime.flags.parse_flags(f"--task_topology_group_count={job['threads']}")
        config = iree.runtime.Config("local-task" if job["threads"] > 1 else "local-sync")
        module = iree.runtime.VmModule.mmap(config.vm_instance, code)
        entry = [name for name in module.function_names if not name.startswith("__") and not name.endswith("$async")][0]
        self.function = iree.runtime.load_vm_module(module, config)[entry]
        self.config, self.names = config, job["inputs"]

    def feed(self, feeds):
        import iree.runtime
        arguments = [iree.runtime.asdevicearray(self.config.device, feeds[name]) for name in self.names]

        def run():
            self.results = self.function(*arguments)
        self.run = run

    def output(self, name):
        first = self.results[0] if isinstance(self.results, (list, tuple)) else self.results
        return first.to_host()


class Tvm:
    """Relax, its default pipeline, shapes fixed by the first feed; without tuning."""

    def __init__(self, job):
        os.environ["TVM_NUM_THREADS"] = str(job["threads"])
        import tvm.relax.frontend.onnx
        self.job, self.tvm = job, tvm

    def feed(self, feeds):
        import onnx
        tvm, model = self.tvm, onnx.load(self.job["model"])
        shapes = {name: list(array.shape) for name, array in feeds.items()}
        module = tvm.relax.frontend.onnx.from_onnx(model, shapes, keep_params_in_input=False)
        machine = tvm.relax.VirtualMachine(tvm.compile(module, tvm.target.Target("llvm -mcpu=" + self.cpu())), tvm.cpu())
        arguments = [tvm.runtime.tensor(feeds[name]) for name in self.job["inputs"]]

        def run():
            self.results = machine["main"](*arguments)
        self.run = run

    @staticmethod
    def cpu():
        with open("/proc/cpuinfo") as f:
            flags = next(line for line in f if line.startswith("flags"))
        return "x86-64-v4" if "avx512bw" in flags else "x86-64-v3"

    def output(self, name):
        first = self.results[0] if hasattr(self.results, "__len__") and not hasattr(self.results, "numpy") else self.results
        return first.numpy()


ENGINES = {"yunjin": Yunjin, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "iree": Iree, "tvm": Tvm}


class Worker:
    """ask() raises RuntimeError with the engine's own words, or when it takes longer than LIMIT seconds."""

    def __init__(self, name, limit=300):
        self.limit, self.broken = limit, None
        self.process = subprocess.Popen([sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        atexit.register(self.close)  # a stopped process would outlive us

    def ask(self, **command):
        import select
        if self.broken:
            raise RuntimeError(self.broken)
        os.killpg(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], self.limit)
        line = self.process.stdout.readline() if ready else ""
        answer = json.loads(line) if line else {"error": "died" if ready else f"no answer in {self.limit} s"}
        if line:
            os.killpg(self.process.pid, signal.SIGSTOP)
        else:
            self.close()
        self.broken = answer.get("error")
        if self.broken:
            raise RuntimeError(self.broken)
        return answer

    def close(self):
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # and a compiler that it has started
            self.process.communicate()


def answer(engine, command):
    import numpy as np
    if "feed" in command:
        with np.load(command["feed"]) as file:
            engine.feed({name: file[name] for name in file.files})
        engine.run()
    if "output" in command:
        np.save(command["save"], engine.output(command["output"]))
    times = []
    for _ in range(command.get("runs", 0)):
        start = time.perf_counter()
        engine.run()
        times.append(time.perf_counter() - start)
    return {"times": times}


def main():
    out, sys.stdout = sys.stdout, sys.stderr  # engines that print do not print into the answers
    sys.path.insert(0, HERE)
    engine = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if "model" in command:
                engine, reply = ENGINES[sys.argv[1]](command), {}
            else:
                reply = answer(engine, command)
        except BaseException as e:  # whatever an engine does, it is said in the table
            words = getattr(e, "stderr", None) or str(e) or type(e).__name__
            lines = [w.strip() for w in str(words).splitlines() if w.strip()]
            reply = {"error": next((w for w in lines if "error" in w.lower()), lines[0] if lines else "?")[:200]}
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The C API of <yunjin/runtime.h> through ctypes: just what the benchmarks and comparisons in Python need."""
import ctypes as c
import numpy as np

DTYPES = {"float32": 1, "float64": 2, "float16": 3, "int8": 7, "int16": 8, "int32": 9, "int64": 10, "uint8": 11, "bool": 15}
NAMES = {number: name for name, number in DTYPES.items()}
INPUT, OUTPUT, STATE = 1, 2, 3


class Tensor(c.Structure):
    _fields_ = [("size", c.c_uint32), ("dtype", c.c_int), ("rank", c.c_int32), ("shape", c.c_int64 * 8), ("data", c.c_void_p)]


class Options(c.Structure):
    _fields_ = [("size", c.c_uint32), ("threads", c.c_int32), ("target", c.c_char_p), ("comm", c.c_void_p), ("flags", c.c_uint32)]


class Info(c.Structure):
    _fields_ = [("size", c.c_uint32), ("dtype", c.c_int), ("rank", c.c_int32), ("name", c.c_char_p), ("output_name", c.c_char_p),
                ("dim", c.c_char_p * 8), ("low", c.c_int64 * 8), ("high", c.c_int64 * 8)]


class Library:
    def __init__(self, build):
        self.base, self.comm, self.runtime = (c.CDLL(f"{build}/libyunjin-{name}.so", mode=c.RTLD_GLOBAL) for name in ("base", "comm", "runtime"))
        self.base.yj_error_text.restype = c.c_char_p

    def check(self, status):
        if status:
            raise RuntimeError(self.base.yj_error_text().decode())


class Model:
    def __init__(self, library, path, threads=1):
        self.library, self.handle, self.kept = library, c.c_void_p(), []
        options = Options(size=c.sizeof(Options), threads=threads)
        library.check(library.runtime.yj_model_open(path.encode(), c.byref(options), c.byref(self.handle)))

    def bind(self, feeds):
        """Inputs are borrowed, states copied; names of neither are left out."""
        self.kept, runtime = [], self.library.runtime
        for name, array in feeds.items():
            index, state = (runtime.yj_model_find(self.handle, kind, name.encode()) for kind in (INPUT, STATE))
            if index < 0 and state < 0:
                continue
            array = array if array.ndim == 0 else np.ascontiguousarray(array)
            t = Tensor(c.sizeof(Tensor), DTYPES[str(array.dtype)], array.ndim, (c.c_int64 * 8)(*array.shape), array.ctypes.data)
            if index < 0:
                self.library.check(runtime.yj_model_state_set(self.handle, state, c.byref(t)))
            else:
                self.kept.append(array)
                self.library.check(runtime.yj_model_bind(self.handle, index, c.byref(t)))

    def run(self, feeds=None):
        if feeds is not None:
            self.bind(feeds)
        self.library.check(self.library.runtime.yj_model_run(self.handle))

    def outputs(self):
        out = {}
        for i in range(self.library.runtime.yj_model_count(self.handle, OUTPUT)):
            info, t = Info(size=c.sizeof(Info)), Tensor(size=c.sizeof(Tensor))
            self.library.check(self.library.runtime.yj_model_info(self.handle, OUTPUT, i, c.byref(info)))
            self.library.check(self.library.runtime.yj_model_output(self.handle, i, c.byref(t)))
            shape = list(t.shape[: t.rank])
            n = int(np.prod(shape)) if shape else 1
            dtype = np.dtype(NAMES[t.dtype])
            raw = (c.c_char * (n * dtype.itemsize)).from_address(t.data) if n else b""
            out[info.name.decode()] = np.frombuffer(raw, dtype).reshape(shape).copy()
        return out

    def close(self):
        self.library.runtime.yj_model_close(self.handle)


def error(got, want):
    """Largest |got - want| / (1e-4 |want| + 1e-5 max |want|): up to 1 is equal."""
    return float((np.abs(got - want) / (1e-4 * np.abs(want) + 1e-5 * np.abs(want).max())).max())

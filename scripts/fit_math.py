#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The constants of ir/math_expand64.h, made again: minimax polynomials by the exchange algorithm of Remez on weighted
errors, coefficients rounded to f64; constants split into sums of floats; the bits of 2/pi. Needs mpmath (python3-mpmath).
usage: fit_math.py [NAME...]"""
import sys
from mpmath import mp, mpf, matrix, lu_solve, exp, log, tanh, erf, erfc, sin, cos, sqrt, pi, atanh, floor

mp.prec = 320


def hex_of(x):
    return float(x).hex()


def weighted(f, weight, a, b, degree, points):
    """Solves f(x_i) - p(x_i) = (-1)^i E / weight(x_i) for the coefficients of p."""
    n = degree + 2
    m, y = matrix(n, n), matrix(n, 1)
    for i, x in enumerate(points):
        for j in range(degree + 1):
            m[i, j] = x ** j
        m[i, degree + 1] = (-1) ** i / weight(x)
        y[i] = f(x)
    s = lu_solve(m, y)
    return [s[i] for i in range(degree + 1)]


def value(c, x):
    y = mpf(0)
    for k in reversed(c):
        y = y * x + k
    return y


def remez(f, weight, a, b, degree, rounds=9, grid=600):
    a, b = mpf(a), mpf(b)
    points = [(a + b) / 2 + (b - a) / 2 * cos(pi * (degree + 1 - i) / (degree + 1)) for i in range(degree + 2)]
    xs = [(a + b) / 2 - (b - a) / 2 * cos(pi * i / grid) for i in range(grid + 1)]
    table = [(x, f(x), weight(x)) for x in xs]
    for _ in range(rounds):
        c = weighted(f, weight, a, b, degree, points)
        errors = [(fx - value(c, x)) * w for x, fx, w in table]
        extremes = []
        for i, e in enumerate(errors):  # the largest of each run of one sign
            if extremes and (errors[extremes[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[extremes[-1]]):
                    extremes[-1] = i
            else:
                extremes.append(i)
        while len(extremes) > degree + 2:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < degree + 2:
            break
        points = [xs[i] for i in extremes]
    rounded = [mpf(float(k)) for k in c]
    worst = max(abs((fx - value(rounded, x)) * w) for x, fx, w in table)
    return rounded, worst


def show(name, c, worst):
    print(f"{name}: degree {len(c) - 1}, error 2^{float(log(worst, 2)):.1f}")
    print("   " + ", ".join(hex_of(k) for k in c))


def split(name, x, *bits):
    """Parts of X: each but the last with so many bits, rounded to nearest."""
    parts = []
    for b in bits:
        e = floor(log(abs(x), 2)) + 1
        part = floor(x * mpf(2) ** (b - e) + mpf(1) / 2) / mpf(2) ** (b - e)
        parts.append(hex_of(part))
        x -= part
    print(f"{name}: " + ", ".join(parts + [hex_of(x)]))


EPS = mpf(2) ** -30
QUARTER = (pi / 4) ** 2 * (1 + EPS)
S2 = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * (1 + EPS)


def tiny(t):
    return t if t > 0 else mpf(2) ** -80


def fits():
    yield "exp", lambda: remez(lambda r: (exp(r) - 1 - r) / r ** 2 if abs(r) > mpf(2) ** -60 else mpf(1) / 2 + r / 6,
                               lambda r: r ** 2 / exp(r) + mpf(2) ** -30, -log(2) / 2 * (1 + EPS), log(2) / 2 * (1 + EPS), 10)
    yield "log", lambda: remez(lambda t: (2 * atanh(sqrt(tiny(t))) / sqrt(tiny(t)) - 2) / tiny(t), lambda t: t / 2 + EPS, 0, S2, 6)
    yield "pow", lambda: remez(lambda t: ((2 * atanh(sqrt(tiny(t))) / sqrt(tiny(t)) - 2) / tiny(t) - mpf(2) / 3) / tiny(t),
                               lambda t: t ** 2 / 2 + EPS, 0, S2, 8)
    yield "tanh", lambda: remez(lambda t: (tanh(sqrt(tiny(t))) / sqrt(tiny(t)) - 1) / tiny(t), lambda t: t + EPS, 0, mpf("0.390626"), 11)
    yield "erf near", lambda: remez(lambda t: erf(sqrt(tiny(t))) / sqrt(tiny(t)) - 1, lambda t: mpf(1), 0, mpf("1.0001"), 12)
    yield "erf far", lambda: remez(lambda a: -log(erfc(a + FAR)), lambda a: erfc(a + FAR) / erf(a + FAR), 1 - FAR, 6 - FAR, FAR_DEGREE)
    yield "sin", lambda: remez(lambda t: (sin(sqrt(tiny(t))) / sqrt(tiny(t)) - 1) / tiny(t), lambda t: t + EPS, 0, QUARTER, 6)
    yield "cos", lambda: remez(lambda t: (cos(sqrt(tiny(t))) - 1 + tiny(t) / 2) / tiny(t) ** 2, lambda t: t ** 2 + EPS, 0, QUARTER, 6)


FAR, FAR_DEGREE = mpf(1), 20  # erf far: a polynomial in |x| - 1, for |x| to 6


def main():
    wanted = sys.argv[1:]
    for name, fit in fits():
        if not wanted or name.split()[0] in wanted:
            show(name, *fit())
    if wanted and "constants" not in wanted:
        return
    split("ln 2 (42 bits, rest)", log(2), 42)
    split("1 / ln 2", 1 / log(2), 53)
    split("2 / 3", mpf(2) / 3, 53)
    split("pi/2 * 2^-64", pi / 2 / mpf(2) ** 64, 53)
    mp.prec = 1400
    bits = int(floor(2 / mp.pi * mpf(2) ** 1216))
    print("2/pi: " + ", ".join(f"{bits >> 64 * (18 - i) & (1 << 64) - 1:#018x}" for i in range(19)))


if __name__ == "__main__":
    main()

"""A second reading of docs/spec/inference.md in unbounded integers, sharing no code with the package.

Tensors are nested lists, one image at a time. Slow on purpose: each formula is written as the page has it.
Run as a module (`python -m tests.vm.inference.bigint_oracle`) it prints tests/vectors/inference/ops.json.
"""

import json
import random
import sys


def round_shift(x, s):
    """Shift right, rounding half up."""
    return (x + 2 ** (s - 1)) // 2**s


def round_divide(n, d):
    """Divide, rounding half up."""
    return (2 * n + d) // (2 * d)


def extent(n, k, s, before, after):
    """Count the windows along an axis."""
    return (n + before + after - k) // s + 1


def pixel(x, i, j, c):
    """Read an element, 0 outside the image."""
    inside = 0 <= i < len(x) and 0 <= j < len(x[0])
    return x[i][j][c] if inside else 0


def conv2d(x, weights, bias, attributes):
    """CONV2D."""
    sh, sw, dh, dw, top, bottom, left, right = attributes
    kh, kw = len(weights[0]), len(weights[0][0])
    height = extent(len(x), dh * (kh - 1) + 1, sh, top, bottom)
    width = extent(len(x[0]), dw * (kw - 1) + 1, sw, left, right)
    return [
        [
            [
                bias[o]
                + sum(
                    pixel(x, i * sh + r * dh - top, j * sw + s * dw - left, c) * weights[o][r][s][c]
                    for r in range(kh)
                    for s in range(kw)
                    for c in range(len(x[0][0]))
                )
                for o in range(len(weights))
            ]
            for j in range(width)
        ]
        for i in range(height)
    ]


def depthwise_conv2d(x, weights, bias, attributes):
    """DEPTHWISE_CONV2D."""
    sh, sw, dh, dw, top, bottom, left, right = attributes
    kh, kw = len(weights[0]), len(weights[0][0])
    height = extent(len(x), dh * (kh - 1) + 1, sh, top, bottom)
    width = extent(len(x[0]), dw * (kw - 1) + 1, sw, left, right)
    return [
        [
            [
                bias[c]
                + sum(
                    pixel(x, i * sh + r * dh - top, j * sw + s * dw - left, c) * weights[c][r][s]
                    for r in range(kh)
                    for s in range(kw)
                )
                for c in range(len(weights))
            ]
            for j in range(width)
        ]
        for i in range(height)
    ]


def dense(x, weights, bias, _attributes):
    """DENSE."""
    return [b + sum(a * w for a, w in zip(x, row, strict=True)) for row, b in zip(weights, bias, strict=True)]


def requant(x, multiplier, shift, attributes):
    """REQUANT over the last axis."""
    _, low, high = attributes
    if isinstance(x[0], list):
        return [requant(row, multiplier, shift, attributes) for row in x]
    out = []
    for channel, value in enumerate(x):
        index = channel if len(multiplier) > 1 else 0
        out.append(min(max(round_shift(value * multiplier[index], shift[index]), low), high))
    return out


def windows(x, attributes):
    """Yield, line by line, each window's elements per channel."""
    kh, kw, sh, sw, top, bottom, left, right = attributes
    for i in range(extent(len(x), kh, sh, top, bottom)):
        line = []
        for j in range(extent(len(x[0]), kw, sw, left, right)):
            rows = [r for r in range(i * sh - top, i * sh - top + kh) if 0 <= r < len(x)]
            columns = [s for s in range(j * sw - left, j * sw - left + kw) if 0 <= s < len(x[0])]
            line.append([[x[r][s][c] for r in rows for s in columns] for c in range(len(x[0][0]))])
        yield line


def max_pool2d(x, attributes):
    """MAX_POOL2D."""
    return [[[max(cells) for cells in channels] for channels in line] for line in windows(x, attributes)]


def average_pool2d(x, attributes):
    """AVERAGE_POOL2D."""
    return [
        [[round_divide(sum(cells), len(cells)) for cells in channels] for channels in line]
        for line in windows(x, attributes)
    ]


def relu(x, _attributes):
    """RELU."""
    return [relu(item, ()) for item in x] if isinstance(x, list) else max(x, 0)


def flatten(x, _attributes):
    """FLATTEN."""
    return [leaf for item in x for leaf in flatten(item, ())] if isinstance(x, list) else [x]


def softmax(x, table, _attributes):
    """SOFTMAX."""
    e = []
    for value in x:
        d = max(x) - value
        e.append(round_shift(table[d % 1024], 15 + min(d // 1024, 40)))
    return [round_divide(item * 2**15, sum(e)) for item in e]


def argmax(x, _attributes):
    """ARGMAX."""
    return [x.index(max(x))]


OPS = {
    "CONV2D": conv2d,
    "DEPTHWISE_CONV2D": depthwise_conv2d,
    "DENSE": dense,
    "REQUANT": requant,
    "MAX_POOL2D": max_pool2d,
    "AVERAGE_POOL2D": average_pool2d,
    "RELU": relu,
    "FLATTEN": flatten,
    "SOFTMAX": softmax,
    "ARGMAX": argmax,
}


def shape_of(x):
    """Return the shape of a nested list."""
    return [len(x), *shape_of(x[0])] if isinstance(x, list) else []


def tensor(rng, shape, low, high):
    """Values with the extremes well represented: every bound is a place where an engine may saturate."""
    if shape:
        return [tensor(rng, shape[1:], low, high) for _ in range(shape[0])]
    return rng.choice((low, high)) if rng.random() < 0.4 else rng.randint(low, high)


def case(op, source, constants, attributes=(), name=""):
    """One vector; `source` and constants are (dtype, low, high, values)."""
    result = OPS[op](source[3], *(constant[3] for constant in constants), list(attributes))
    described = [
        {"dtype": dtype, "low": low, "high": high, "shape": shape_of(values), "values": flatten(values, ())}
        for dtype, low, high, values in (source, *constants)
    ]
    return {
        "name": name or op.lower(),
        "op": op,
        "source": described[0],
        "constants": described[1:],
        "attributes": list(attributes),
        "result": {"shape": shape_of(result), "values": flatten(result, ())},
    }


def products(rng):
    """Yield vectors of the three products."""
    wide = ("I32", -(2**30), 2**30)
    for name, low, high, dtype in (
        ("signed", -128, 127, "I8"),
        ("unsigned", 0, 255, "U8"),
        ("narrow", 0, 16, "U8"),
    ):
        for attributes in ((1, 1, 1, 1, 1, 1, 1, 1), (2, 3, 1, 2, 0, 2, 1, 0), (1, 2, 2, 1, 3, 0, 0, 2)):
            image = (dtype, low, high, tensor(rng, (6, 7, 3), low, high))
            weights = ("I8", -127, 127, tensor(rng, (4, 3, 2, 3), -127, 127))
            planes = ("I8", -127, 127, tensor(rng, (3, 3, 2), -127, 127))
            yield case(
                "CONV2D",
                image,
                (weights, (*wide, tensor(rng, (4,), *wide[1:]))),
                attributes,
                f"conv2d {name}",
            )
            bias = (*wide, tensor(rng, (3,), *wide[1:]))
            yield case("DEPTHWISE_CONV2D", image, (planes, bias), attributes, f"depthwise {name}")
        for length in (1, 7, 64, 129):
            row = (dtype, low, high, tensor(rng, (length,), low, high))
            weights = ("I8", -127, 127, tensor(rng, (5, length), -127, 127))
            bias = (*wide, tensor(rng, (5,), *wide[1:]))
            yield case("DENSE", row, (weights, bias), (), f"dense {name} {length}")


def requants(rng):
    """Yield vectors of REQUANT."""
    limits = ("I32", -(2**31), 2**31 - 1)
    edges = [-(2**31), 2**31 - 1, -1, 0, 1, -3, 3, 5]
    for shift in (1, 2, 31, 32, 61, 62):
        for multiplier in (0, 1, 3, 2**30, 2**31 - 1):
            scale = ("I32", 0, 2**31 - 1, [multiplier]), ("U8", 1, 62, [shift])
            clamp = (2, -128, 127) if shift > 8 else (5, -(2**31), 2**31 - 1)
            yield case("REQUANT", (*limits, edges), scale, clamp, f"requant {multiplier} >> {shift}")
    for bounds in ((2, -127, 127), (1, 0, 255), (4, -32768, 32767), (5, -(2**24), 2**24)):
        image = (*limits, tensor(rng, (3, 2, 4), *limits[1:]))
        scale = (
            ("I32", 0, 2**31 - 1, tensor(rng, (4,), 0, 2**31 - 1)),
            ("U8", 1, 62, tensor(rng, (4,), 20, 50)),
        )
        yield case("REQUANT", image, scale, bounds, "requant per channel")


def pools_and_rest(rng):
    """Yield vectors of everything else."""
    for op in ("MAX_POOL2D", "AVERAGE_POOL2D"):
        for attributes in ((2, 2, 2, 2, 0, 0, 0, 0), (3, 3, 1, 2, 2, 1, 0, 2), (1, 4, 3, 1, 0, 0, 3, 3)):
            image = ("I8", -128, 127, tensor(rng, (5, 6, 3), -128, 127))
            yield case(op, image, (), attributes)
    yield case("RELU", ("I16", -32768, 32767, tensor(rng, (2, 3, 4), -32768, 32767)), ())
    yield case("FLATTEN", ("U16", 0, 65535, tensor(rng, (2, 3, 4), 0, 65535)), ())
    table = ("I32", 2**29, 2**30, exp2_table())
    limit = 2**24
    rows = [tensor(rng, (10,), -8000, 8000), [0] * 7, [limit, -limit, 0, limit - 1023, limit - 1024], [5]]
    rows += [[0, -1024 * 14, -1024 * 15, -1024 * 16, -1024 * 17], tensor(rng, (300,), -limit, limit)]
    for row in rows:
        yield case("SOFTMAX", ("I32", -limit, limit, row), (table,))
    for row in ([3, 9, 9, 2], [0] * 5, [-5], tensor(rng, (300,), 0, 3)):
        yield case("ARGMAX", ("I32", -limit, limit, row), ())


def exp2_table():
    """round(2^30 * 2^(-i/1024)), by the exact integer test (2y)^1024 against 2^(31*1024 - i)."""
    table = []
    for i in range(1024):
        low, high = 2**29, 2**30
        while low < high:
            middle = (low + high + 1) // 2
            below = (2 * middle - 1) ** 1024 <= 2 ** (31 * 1024 - i)
            low, high = (middle, high) if below else (low, middle - 1)
        table.append(low)
    return table


def main():
    """Print the vectors."""
    rng = random.Random("BitAI op vectors")
    vectors = [*products(rng), *requants(rng), *pools_and_rest(rng)]
    text = ",\n".join(json.dumps(vector, separators=(",", ":")) for vector in vectors)
    sys.stdout.write(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()

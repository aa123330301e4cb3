"""What a kernel may and may not do, one function each: the rows of the table in the docs.

The line that is refused ends with a comment, ``# <-``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import multiply

from audiostream import kernel
from tests.kernels import shapes_of_waves

TABLE = np.sin(np.arange(64) / 64 * 2 * np.pi).astype(np.float32)
HALF = 0.5
COUNTER = 0


def soft(x):
    return math.tanh(x)


def twice(x):
    return soft(x) + soft(x)


# --- these work --------------------------------------------------------------------


def shapes(block):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] *= 0.5


def column(block):
    left = block[:, 0]
    for i in range(len(left)):
        left[i] = 0.25


def row(block):
    for i in range(block.shape[0]):
        frame = block[i]
        frame[0] = 0.25


def transposed(block):
    turned = block.T
    for c in range(turned.shape[0]):
        for i in range(turned.shape[1]):
            turned[c, i] *= 0.5


def fill(block):
    block[:, 0] = 0.5
    block[2:] = 0.25


def whole(block):
    block *= 0.5
    block += 0.125


def last_argument(block):
    np.tanh(block, block)
    np.multiply(block, np.float32(0.5), block)


def out_keyword(block):
    np.tanh(block, out=block)
    multiply(block, np.float32(0.5), out=block)


def maths(block):
    for i in range(block.shape[0]):
        x = block[i, 0]
        block[i, 0] = math.sin(x) + math.exp(-abs(x)) * math.sqrt(abs(x)) + math.atan2(x, 2.0)


def numpy_scalars(block):
    for i in range(block.shape[0]):
        block[i, 0] = np.sin(block[i, 0]) + np.float32(0.5)


def whole_division(block):
    n = block.shape[0]
    for i in range(n):
        block[i, 0] = (i // 3) % 5 + i % 7 - (-i) // 2


def division_by_zero(block):
    zero = block.shape[0] - block.shape[0]
    block[0, 0] = 7 // (zero + 0) + 7 % zero


def choices(block):
    for i in range(block.shape[0]):
        block[i, 0] = min(max(block[i, 0], -0.5), 0.5) if i > 2 else 0.0


def tuples(block):
    weights = (0.25, 0.5, 0.25)
    a, b = 0.5, weights[1]
    for i in range(block.shape[0]):
        block[i, 0] = a * weights[0] + b


def loops(block):
    i = 0
    while i < block.shape[0]:
        block[i, 0] = i
        i += 1
        if i > 5:
            break


def inner(block):
    def louder(x):
        return x * 2.0

    for i in range(block.shape[0]):
        block[i, 0] = louder(block[i, 0])


def constants(block):
    for i in range(block.shape[0]):
        block[i, 0] = TABLE[i % 64] * HALF


def helpers(block):
    for i in range(block.shape[0]):
        block[i, 0] = twice(block[i, 0])


def modules_helper(block):
    for i in range(block.shape[0]):
        block[i, 0] = shapes_of_waves.folded(block[i, 0]) * shapes_of_waves.LEVEL


def shifts(block):
    seed = 12345
    for i in range(block.shape[0]):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        block[i, 0] = seed / 1073741824.0 - 1.0


def asserts(block):
    assert block.shape[0] > 0, "no frames"
    for i in range(block.shape[0]):
        if block[i, 0] > 1e9:
            raise ValueError("too loud")
        block[i, 0] = 0.5


WORK = (
    shapes,
    column,
    row,
    transposed,
    fill,
    whole,
    last_argument,
    out_keyword,
    maths,
    numpy_scalars,
    whole_division,
    division_by_zero,
    choices,
    tuples,
    loops,
    inner,
    constants,
    helpers,
    modules_helper,
    shifts,
    asserts,
)


# --- these are refused -------------------------------------------------------------


def new_zeros(block):
    memory = np.zeros(4)  # <-
    block[0, 0] = memory[0]


def new_array(block):
    weights = np.array((0.5, 0.25))  # <-
    block[0, 0] = weights[0]


def a_list(block):
    weights = [0.5, 0.25]  # <-
    block[0, 0] = weights[0]


def a_dict(block):
    weights = {1: 0.5}  # <-
    block[0, 0] = weights[1]


def a_text(block):
    if block[0, 0] > 1:
        raise ValueError(f"too loud: {block[0, 0]}")  # <-


def column_to_column(block):
    block[:, 0] = block[:, 1]  # <-


def scaled_column(block, amount=0.5):
    left = block[:, 0] * amount  # <-
    block[0, 0] = left[0]


def whole_from_function(block):
    block[:] = np.tanh(block)  # <-


def flat(block):
    block.flat[0] = 0.0  # <-


def iterator(block):
    for x in np.nditer(block):  # <-
        block[0, 0] = x


def reshaped(block):
    flat = block.reshape(-1)  # <-
    flat[0] = 0.0


def numpy_sum(block):
    block[0, 0] = np.sum(block)  # <-


def numpy_clip(block):
    block[:] = np.clip(block, -1.0, 1.0)  # <-


def numpy_random(block):
    block[0, 0] = np.random.random()  # <-


def prints(block):
    print(block[0, 0])  # <-


def run_time_value(block):
    if block[0, 0] > 1:
        raise ValueError("too loud", block[0, 0])  # <-


def catches(block):
    try:  # <-
        block[0, 0] = 0.5
    except ValueError:
        block[0, 0] = 0.0


def writes_parameter(block, amount=0.5):
    amount[0] = 1.0  # <-


def unknown_name(block):
    block[0, 0] = no_such_thing  # noqa: F821  # <-


def row_in_place(block):
    for i in range(block.shape[0]):
        block[i] *= 0.5  # <-


def parameter_as_number(block, amount=0.5):
    for i in range(block.shape[0]):
        block[i, 0] *= amount  # <-


def unknown_attribute(block):
    block[0, 0] = math.tanhh(block[0, 0])  # <-


def wrong_arguments(block):
    block[0, 0] = math.sin(block)  # <-


def two_types(block):
    x = 0.5
    if block[0, 0] > 0:
        x = (1, 2)
    block[0, 0] = x[0]  # <-


def a_global(block):
    global COUNTER  # <-
    COUNTER += 1


def returns_float(block):
    return 0.5  # <-


def c_function(block):
    for i in range(block.shape[0]):
        block[i, 0] = math.frexp(block[i, 0])[0]  # <-


def several_arrays(block, amount=0.5):
    np.multiply(block[:, 0], amount, block[:, 0])  # <-


def array_in_place(block, amount=0.5):
    left = block[:, 0]
    left *= amount  # <-


def sorts(block):
    block.sort()  # <-


REFUSED = (
    new_zeros,
    new_array,
    a_list,
    a_dict,
    a_text,
    column_to_column,
    scaled_column,
    whole_from_function,
    flat,
    iterator,
    reshaped,
    numpy_sum,
    numpy_clip,
    numpy_random,
    prints,
    run_time_value,
    catches,
    writes_parameter,
    unknown_name,
    row_in_place,
    parameter_as_number,
    unknown_attribute,
    wrong_arguments,
    two_types,
    a_global,
    returns_float,
    c_function,
    several_arrays,
    array_in_place,
    sorts,
)


# --- these fail while they run; here, since pytest rewrites the asserts of test files ------


@kernel(state={"n": "i8"})
def late(block, state):
    for i in range(block.shape[0]):
        state.n += 1
        assert state.n < 200000, "too many frames"
        block[i, 0] = 0.5


@kernel(limits={"x": (0.0, 1.0)})
def picky(block, x=0.5):
    for i in range(block.shape[0]):
        assert x[i] < 1.0, "too much"
        block[i, 0] = x[i]

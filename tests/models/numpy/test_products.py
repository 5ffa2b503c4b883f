"""Products in pieces, against products in float64."""

import itertools

import numpy as np
import pytest

from rnneval.models.numpy import layers
from rnneval.models.numpy.layers import Matrix, aligned, aligned_empty


@pytest.fixture(params=["AVX-512", "another processor"])
def processor(request, monkeypatch) -> bool:
    small_is_fast = request.param == "AVX-512"
    monkeypatch.setattr(layers, "_small_is_fast", lambda: small_is_fast)
    return small_is_fast


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 129, 300])
@pytest.mark.parametrize(
    "shape", [(128, 65), (128, 128), (3, 128, 128), (4, 256, 256), (3, 96, 96), (2, 7, 5), (600, 50)]
)
def test_a_product_in_pieces_is_the_product(processor, shape, rows) -> None:
    weights, given = numbers(*shape), numbers(rows, shape[-2])
    matrix = Matrix(weights)
    wanted = given.astype(np.float64) @ weights
    np.testing.assert_allclose(matrix.times(given), wanted, atol=1e-4)
    out = np.full(wanted.shape, np.nan, np.float32)
    assert matrix.times(given, out) is out
    np.testing.assert_allclose(out, wanted, atol=1e-4)


def test_a_product_into_a_part_of_an_array(processor) -> None:
    weights, given = numbers(2, 128, 128), numbers(70, 128)
    work = np.full((3, 70, 128), np.nan, np.float32)
    Matrix(weights).into(work[:2])(given)
    np.testing.assert_allclose(work[:2], given.astype(np.float64) @ weights, atol=1e-4)
    assert np.isnan(work[2]).all()


def test_the_product_of_every_one_hot_row_is_a_copy_of_the_weights() -> None:
    weights = numbers(5, 4)
    matrix = Matrix(weights)
    matrix.times(None)[:] = 0
    np.testing.assert_array_equal(matrix.times(None), weights)


@pytest.mark.parametrize(
    ("shape", "width"), [((3, 128, 128), 64), ((4, 256, 256), 64), ((4, 512, 512), 32), ((128, 65), 65)]
)
def test_pieces_are_small_on_avx512(monkeypatch, shape, width) -> None:
    monkeypatch.setattr(layers, "_small_is_fast", lambda: True)
    made, matmul = [], np.matmul
    monkeypatch.setattr(layers.np, "matmul", lambda a, b, out: made.append((len(a), *b.shape)) or matmul(a, b, out=out))
    Matrix(numbers(*shape)).times(numbers(64, shape[-2]))
    assert {piece[-1] for piece in made} == {width}
    assert all(rows * inputs * width <= 10**6 for rows, *_, inputs, width in made)
    assert sum(rows for rows, *_ in made) == 64


def test_a_wide_matrix_is_not_cut(monkeypatch) -> None:
    monkeypatch.setattr(layers, "_small_is_fast", lambda: True)
    assert Matrix(numbers(1, 1024, 64))._panels is None


def test_one_row_reads_many_weights_forwards_and_backwards_in_turn(monkeypatch) -> None:
    matrix, row, orders = Matrix(numbers(3, 8, 8)), numbers(1, 8), []
    wanted = matrix.times(row)
    monkeypatch.setattr(layers, "_LARGE", 0)
    monkeypatch.setattr(layers, "cycle", lambda given: orders.extend(map(list, given)) or itertools.cycle(given))
    found = np.empty((3, 1, 8), np.float32)
    multiply = matrix.into(found)
    for _ in range(3):
        found[:] = np.nan
        multiply(row)
        assert found.tolist() == wanted.tolist()
    assert orders == [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_begin_at_a_cache_line(dtype) -> None:
    made = [aligned_empty((3, 5), dtype), aligned_empty(7, dtype), aligned(np.ones((4, 3), dtype).T)]
    assert all(array.ctypes.data % 64 == 0 and array.dtype == dtype for array in made)
    assert made[2].tolist() == np.ones((3, 4)).tolist()
    assert made[2].flags.c_contiguous

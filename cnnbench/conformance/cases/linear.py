"""Matrix products: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import ROW, LayerCase
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul

CASES = {
    "matmul/matrices": LayerCase(MatMul(), ((4, 5), (5, 6)), batched=(False, False)),
    "matmul/batched": LayerCase(MatMul(), ((3, 4, 5), (3, 5, 6))),
    "matmul/first_transposed": LayerCase(MatMul(transpose_a=True), ((3, 5, 4), (3, 5, 6))),
    "matmul/second_transposed": LayerCase(MatMul(transpose_b=True), ((3, 4, 5), (3, 6, 5))),
    "matmul/both_transposed": LayerCase(MatMul(transpose_a=True, transpose_b=True), ((5, 4), (6, 5))),
    "matmul/repeated": LayerCase(MatMul(), ((1, 4, 5), (3, 5, 6))),
    "matmul/each_repeated": LayerCase(MatMul(), ((1, 2, 4, 5), (3, 1, 5, 6))),
    "matmul/fewer_axes": LayerCase(MatMul(), ((3, 4, 5), (5, 6)), batched=(True, False)),
    "matmul/fewer_axes_first": LayerCase(MatMul(), ((4, 5), (3, 5, 6)), batched=(False, True)),
    "matmul/long": LayerCase(MatMul(transpose_b=True), ((2, 3, 700), (2, 4, 700))),
    "matmul/positive": LayerCase(MatMul(), ((2, 3, 500), (2, 500, 4)), positive=True),
    "matmul/one_image": LayerCase(MatMul(), ((3, 4, 5), (3, 5, 6)), batch=1),
    "linear/plain": LayerCase(Linear(out_features=7), ROW, batch=4),
    "linear/no_bias": LayerCase(Linear(out_features=7, bias=False), ((300,),)),
    "radial_basis/distance": LayerCase(RadialBasis(out_features=5), ROW),
    "radial_basis/trained_logit": LayerCase(RadialBasis(out_features=5, output="logit", trainable=True), ROW),
}

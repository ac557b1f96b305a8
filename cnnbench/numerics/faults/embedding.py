"""Faults of embeddings: rows, orders, frequencies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault, other_array, other_layer, other_weights, zeros
from cnnbench.numerics.faults.engine.configurations import SUSPECT, SuspectNetwork, surrounded
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions, SinusoidalPositions
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding
from cnnbench.spec.layers.linear import Linear
from cnnbench.spec.streams import stream

_TOKENS = SuspectNetwork((5, 6))
_TIME = SuspectNetwork((1,), batch=4)


def _words(options: ProgramOptions, seed: int) -> Case:
    """Tokens, the suspect, a linear layer."""
    builder = Builder("suspect network")
    tokens = builder.input("tokens", (5,), dtype="int")
    x = builder.add(SUSPECT, TokenEmbedding(num_embeddings=7, embedding_dim=4), tokens)
    graph = builder.build(builder.add("after", Linear(out_features=3), x))
    arrays = {
        spec.name: stream(seed, "fault weights", spec.name).normal(size=spec.shape).astype(np.float32)
        for spec in graph.named_weights()
    }
    batch = {"tokens": stream(seed, "fault inputs").integers(0, 7, (2, 5))}
    return Case(graph, arrays, batch, options, seed=seed)


FAULTS = (
    Fault(
        "token_embedding.off_by_one",
        "token_embedding",
        "a vocabulary that counts from 1 read with rows that count from 0",
        _words,
        operation=other_weights(lambda layer, name, a: np.roll(a, 1, axis=0)),
    ),
    Fault(
        "sinusoidal_positions.halves",
        "sinusoid_table",
        "all sines, then all cosines where they alternate",
        surrounded(SinusoidalPositions(), _TOKENS),
        node="suspect.positions",
        operation=other_layer(lambda layer: replace(layer, arrangement="halves")),
    ),
    Fault(
        "timestep_embedding.order",
        "timestep_embedding",
        "cosines before sines (ADM) where sines come first (DDPM)",
        surrounded(TimestepEmbedding(features=8), _TIME),
        operation=other_layer(lambda layer: replace(layer, order="cos_sin")),
    ),
    Fault(
        "timestep_embedding.frequencies",
        "timestep_embedding",
        "frequencies of the transformer, i / n, where DDPM has i / (n - 1)",
        surrounded(TimestepEmbedding(features=8), _TIME),
        operation=other_layer(lambda layer: replace(layer, shift=0)),
    ),
    Fault(
        "class_token.zeros",
        "parameter",
        "a class token of zeros, as a fresh one is",
        surrounded(ClassToken(), _TOKENS),
        node="suspect.token",
        operation=other_array("value", zeros),
    ),
    Fault(
        "learned_positions.not_added",
        "parameter",
        "the positions' vectors left out",
        surrounded(LearnedPositions(), _TOKENS),
        node="suspect.positions",
        operation=other_array("value", zeros),
    ),
    Fault(
        "class_token.last",
        "class_token",
        "the class token put after the patches and not before them",
        surrounded(ClassToken(), _TOKENS),
        operation=other_layer(lambda layer: replace(layer, position="last")),
    ),
)

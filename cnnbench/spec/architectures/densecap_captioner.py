"""The captioner of DenseCap: an LSTM that reads a region's vector first, then the words of its caption."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Concat, Linear, ReLU, Shape
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.recurrent import LSTM
from cnnbench.spec.layers.shape import Unsqueeze

SOURCE = "arXiv:1511.07571, section 3.2 (RNN language model), as the authors' LanguageModel"


class Captioner(NamedTuple):
    """Section 3.2.

    Args:
        name: Of the network that it belongs to.
        code: The length of the vector that is made of a region.
        hidden: Of the LSTM, and the length of a word's vector.
        steps: T, words of a caption, the one that starts it included.
        words: V, the size of the vocabulary.
    """

    name: str
    code: int
    hidden: int
    steps: int
    words: int


FULL = Captioner("densecap", code=4096, hidden=512, steps=16, words=10_497)
TINY = Captioner("densecap_tiny", code=128, hidden=64, steps=7, words=10)


def build_captioner(captioner: Captioner, code: Shape, num_classes: int) -> Graph:
    """The part that writes captions, with the words so far given: teacher forcing.

    Word 0 starts and ends a caption, V + 1 is padding, which is never predicted: logits[t] say what
    follows words[t].

    Args:
        captioner: Its sizes.
        code: (code,), the shape of one region's vector.
        num_classes: V, words of the vocabulary.

    Shapes:
        codes (M, code), words (M, T) integers -> logits (M, T, V + 1).
    """
    b = Builder(f"{captioner.name}_captioner")
    codes = b.input("codes", code)
    words = b.input("words", (captioner.steps,), dtype="int")
    return b.build({"logits": captions(b, captioner, codes, words, num_classes)})


def build_step(captioner: Captioner, state: Shape, num_classes: int) -> Graph:
    """One word of a caption: decoders call it again and again, from the state in which the region leaves the LSTM.

    Args:
        captioner: Its sizes.
        state: (hidden,), the shape of one h, and of one c.
        num_classes: V, words of the vocabulary.

    Shapes:
        h (M, hidden), c (M, hidden), words (M,) integers -> logits (M, V + 1), h (M, hidden), c (M, hidden).
    """
    b = Builder(f"{captioner.name}_step")
    h, c = b.input("h", state), b.input("c", state)
    x = _embedded(b, captioner, b.input("words", (), dtype="int"), num_classes)
    x = b.add("captioner.step", Unsqueeze(axes=(1,)), x)
    _, h, c = b.add_all("captioner.lstm", _lstm(captioner), x, h, c)
    return b.build({"logits": b.add("captioner.words", Linear(out_features=num_classes + 1), h), "h": h, "c": c})


def captions(b: Builder, captioner: Captioner, codes: Value, words: Value, vocabulary: int) -> Value:
    """Logits of each next word. The region is the first that the LSTM reads; what it says then is not looked at.

    Args:
        b: Where the nodes go.
        captioner: Its sizes.
        codes: (M, code).
        words: (M, T) integers.
        vocabulary: V.
    """
    x = b.add(
        "captioner.sequence", Concat(axis=1), _encoded(b, captioner, codes), _embedded(b, captioner, words, vocabulary)
    )
    x = b.add("captioner.lstm", _lstm(captioner), x)
    x = b.add("captioner.after_region", Slice(starts=(1,), ends=(None,)), x)
    return b.add("captioner.words", Linear(out_features=vocabulary + 1), x)


def first_state(b: Builder, captioner: Captioner, codes: Value) -> tuple[Value, ...]:
    """h and c, both (M, hidden), after the region's vector has been read.

    Args:
        b: Where the nodes go.
        captioner: Its sizes.
        codes: (M, code).
    """
    return b.add_all("captioner.lstm", _lstm(captioner), _encoded(b, captioner, codes))[1:]


def _encoded(b: Builder, captioner: Captioner, codes: Value) -> Value:
    x = b.add("captioner.encoder", Linear(out_features=captioner.hidden), codes)
    return b.add("captioner.first", Unsqueeze(axes=(1,)), b.add("captioner.relu", ReLU(), x))


def _embedded(b: Builder, captioner: Captioner, words: Value, vocabulary: int) -> Value:
    table = TokenEmbedding(num_embeddings=vocabulary + 2, embedding_dim=captioner.hidden)
    return b.add("captioner.embedding", table, words)


def _lstm(captioner: Captioner) -> LSTM:
    return LSTM(hidden_size=captioner.hidden, biases="one")


def _pieces(captioner: Captioner, whole: tuple[int, int], step: tuple[int, int]) -> tuple[Architecture, Architecture]:
    """The captioner and its step.

    Args:
        captioner: Their sizes.
        whole: Parameters and multiply-accumulates of the captioner.
        step: The same of the step.
    """
    return (
        Architecture(
            name=f"{captioner.name}_captioner",
            family="densecap",
            task="captioning",
            year=2015,
            source=SOURCE,
            build=partial(build_captioner, captioner),
            facts=Facts(parameters=whole[0], macs=whole[1], input=(captioner.code,)),
            num_classes=captioner.words,
        ),
        Architecture(
            name=f"{captioner.name}_step",
            family="densecap",
            task="captioning",
            year=2015,
            source=SOURCE + ", one step",
            build=partial(build_step, captioner),
            facts=Facts(parameters=step[0], macs=step[1], input=(captioner.hidden,)),
            num_classes=captioner.words,
        ),
    )


# With code D, hidden H, T words of V: encoder D H + H, embedding (V + 2) H, LSTM 8 H^2 + 4 H, words (H + 1) (V + 1).
# Multiply-accumulates: D H + 8 H^2 (T + 1) + T H (V + 1), and of a step 8 H^2 + H (V + 1).
ARCHITECTURES = (
    *_pieces(FULL, (14_957_826, 123_748_352), (12_860_162, 7_472_128)),
    *_pieces(TINY, (42_763, 275_264), (34_507, 33_472)),
)

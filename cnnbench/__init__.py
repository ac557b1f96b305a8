"""cnnbench: the same convolutional network on every framework, proven equal first, then timed.

``import cnnbench`` loads nothing but this list; a name imports its module, and that what it needs, when it is first
asked for. `docs/python.md` shows what each is for.
"""

from typing import TYPE_CHECKING, Any

from cnnbench.version import __version__ as __version__

if TYPE_CHECKING:
    from cnnbench.errors import CnnbenchError as CnnbenchError
    from cnnbench.face.bundles import BundleResult as BundleResult
    from cnnbench.face.bundles import bundle as bundle
    from cnnbench.face.bundles import verify_bundle as verify_bundle
    from cnnbench.face.claiming import ClaimFindings as ClaimFindings
    from cnnbench.face.claiming import examine_claims as examine_claims
    from cnnbench.face.converting import convert_weights as convert_weights
    from cnnbench.face.exporting import Exported as Exported
    from cnnbench.face.exporting import export as export
    from cnnbench.face.fault_scoring import fault_score as fault_score
    from cnnbench.face.fuzzing import FuzzResult as FuzzResult
    from cnnbench.face.fuzzing import fuzz as fuzz
    from cnnbench.face.judging import compare as compare
    from cnnbench.face.judging import gate as gate
    from cnnbench.face.networks import Model as Model
    from cnnbench.face.networks import build as build
    from cnnbench.face.networks import load as load
    from cnnbench.face.porting import port as port
    from cnnbench.face.prediction import Prediction as Prediction
    from cnnbench.face.prediction import predict as predict
    from cnnbench.face.profiling import NetworkProfile as NetworkProfile
    from cnnbench.face.profiling import profile as profile
    from cnnbench.face.recording import log as log
    from cnnbench.face.reducing import Reduced as Reduced
    from cnnbench.face.reducing import reduce as reduce
    from cnnbench.face.running import plan as plan
    from cnnbench.face.running import run as run
    from cnnbench.face.two_sides import ABResult as ABResult
    from cnnbench.face.two_sides import ab as ab
    from cnnbench.face.verification import replay as replay
    from cnnbench.face.verification import verify as verify
    from cnnbench.face.verify_result import VerifyResult as VerifyResult
    from cnnbench.face.viewing import ViewFindings as ViewFindings
    from cnnbench.face.viewing import view as view
    from cnnbench.harness.run.runner import RunResult as RunResult
    from cnnbench.output.frames import agreements as agreements
    from cnnbench.output.frames import checks as checks
    from cnnbench.output.frames import history as history
    from cnnbench.output.frames import node_budgets as node_budgets
    from cnnbench.output.frames import results as results
    from cnnbench.output.frames import samples as samples
    from cnnbench.output.frames import verdicts as verdicts
    from cnnbench.porting.port import PortResult as PortResult

_HOMES = {
    "cnnbench.errors": ("CnnbenchError",),
    "cnnbench.face.bundles": ("BundleResult", "bundle", "verify_bundle"),
    "cnnbench.face.claiming": ("ClaimFindings", "examine_claims"),
    "cnnbench.face.fuzzing": ("FuzzResult", "fuzz"),
    "cnnbench.face.converting": ("convert_weights",),
    "cnnbench.face.exporting": ("Exported", "export"),
    "cnnbench.face.fault_scoring": ("fault_score",),
    "cnnbench.face.judging": ("compare", "gate"),
    "cnnbench.face.networks": ("Model", "build", "load"),
    "cnnbench.face.porting": ("port",),
    "cnnbench.face.prediction": ("Prediction", "predict"),
    "cnnbench.face.profiling": ("NetworkProfile", "profile"),
    "cnnbench.face.recording": ("log",),
    "cnnbench.face.reducing": ("Reduced", "reduce"),
    "cnnbench.face.running": ("plan", "run"),
    "cnnbench.face.two_sides": ("ABResult", "ab"),
    "cnnbench.face.verification": ("replay", "verify"),
    "cnnbench.face.verify_result": ("VerifyResult",),
    "cnnbench.face.viewing": ("ViewFindings", "view"),
    "cnnbench.harness.run.runner": ("RunResult",),
    "cnnbench.porting.port": ("PortResult",),
    "cnnbench.output.frames": (
        "agreements",
        "checks",
        "history",
        "node_budgets",
        "results",
        "samples",
        "verdicts",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker sees the imports above, and that there is nothing else

    def __getattr__(name: str) -> Any:
        """The module's attributes that are imported when they are first asked for (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module 'cnnbench' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])

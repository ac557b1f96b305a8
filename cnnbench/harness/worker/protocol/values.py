"""Values of other rooms as messages carry them: as plain data, checked where they leave and where they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from cnnbench.errors import CnnbenchError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.own_program import OwnProgram
from cnnbench.execution.precision import precision
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.sampling import SampleSettings, WarmUp
from cnnbench.measurement.synchronization import FreshnessCheck, SynchronizationCheck
from cnnbench.measurement.turns import Turn
from cnnbench.spec.fields import checked, construct
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss, loss_from_fields
from cnnbench.spec.optimizers import Optimizer, optimizer_from_fields
from cnnbench.spec.serialization import graph_from_json
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.schedules import Schedule, schedule_from_fields
from cnnbench.training.settings import TrainSettings
from cnnbench.training.steps import TrainingSteps

if TYPE_CHECKING:
    from cnnbench.training.programs.program import TrainingProgram
    from cnnbench.training.programs.runner import RoundSettings
    from cnnbench.training.programs.sampling import Sampling


@dataclass(frozen=True)
class Carried:
    """How a value travels.

    Args:
        kind: Its class.
        dump: Makes plain data of it.
        load: Makes the value of plain data again; raises where the data are not valid.
        check: Checks a value before it is sent; raises where a field has not its declared type.
    """

    kind: type
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    check: Callable[[Any], Any] = checked

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validated, serialization=core_schema.plain_serializer_function_ser_schema(self.dump)
        )

    def validated(self, value: Any) -> Any:
        """The value, from itself or from plain data; raises ValueError."""
        try:
            return self.check(value) if isinstance(value, self.kind) else self.load(value)
        except (CnnbenchError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.kind.__name__}: {error}") from None


def _record(kind: type) -> Carried:
    """A dataclass of plain fields."""
    return Carried(kind, asdict, lambda data: construct(kind, kind.__name__, data))


@dataclass(frozen=True)
class Deferred:
    """How a value travels whose class needs NumPy, which a worker must not import before a backend does.

    Args:
        make: Imports the class, and says how its values travel.
    """

    make: Callable[[], Carried]

    @cached_property
    def carried(self) -> Carried:
        """How, from the first value on."""
        return self.make()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: self.carried.validated(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: self.carried.dump(value)),
        )


def _component(kind: type, load: Callable[[str, dict[str, Any]], Any]) -> Carried:
    """A dataclass that is registered by its ``kind``."""
    return Carried(kind, _component_to_json, lambda data: load(data["kind"], data["fields"]))


def _component_to_json(component: Any) -> dict[str, Any]:
    return {"kind": component.kind, "fields": asdict(component)}


def _options_to_json(options: ProgramOptions) -> dict[str, Any]:
    return asdict(options) | {"precision": options.precision.name}


def _options_from_json(data: Mapping[str, Any]) -> ProgramOptions:
    own = data.get("own")
    found = None if own is None else construct(OwnProgram, "OwnProgram", own)
    return construct(
        ProgramOptions, "ProgramOptions", {**data, "precision": precision(data["precision"]), "own": found}
    )


_COMPONENTS: dict[str, Carried] = {
    "loss": _component(Loss, loss_from_fields),
    "optimizer": _component(Optimizer, optimizer_from_fields),
    "schedule": _component(Schedule, schedule_from_fields),
    "augmentation": _record(Augmentation),
}


def _settings_to_json(settings: TrainSettings) -> dict[str, Any]:
    plain = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return plain | {name: part.dump(plain[name]) for name, part in _COMPONENTS.items()}


def _settings_from_json(data: Mapping[str, Any]) -> TrainSettings:
    parts = {name: part.load(data[name]) for name, part in _COMPONENTS.items()}
    return construct(TrainSettings, "TrainSettings", {**data, **parts})


def _steps_to_json(steps: TrainingSteps) -> dict[str, Any]:
    loss = None if steps.loss is None else _component_to_json(steps.loss)
    return asdict(steps) | {"optimizer": _component_to_json(steps.optimizer), "loss": loss}


def _steps_from_json(data: Mapping[str, Any]) -> TrainingSteps:
    parts = {name: data[name] and _COMPONENTS[name].load(data[name]) for name in ("optimizer", "loss")}
    return construct(TrainingSteps, "TrainingSteps", {**data, **parts})


def _same(value: Any) -> Any:
    return value


def _program() -> Carried:
    from cnnbench.training.programs.program import TrainingProgram
    from cnnbench.training.programs.serialization import program_from_json, program_to_json

    return Carried(TrainingProgram, program_to_json, program_from_json, _same)


def _sampling() -> Carried:
    from cnnbench.training.programs.sampling import Sampling, sampling_from_json, sampling_to_json

    return Carried(Sampling, sampling_to_json, sampling_from_json, _same)


def _round_settings() -> Carried:
    from cnnbench.training.programs.runner import RoundSettings

    return _record(RoundSettings)


GraphValue = Annotated[Graph, Carried(Graph, Graph.to_json, graph_from_json, _same)]
if TYPE_CHECKING:
    ProgramValue = TrainingProgram
    SamplingValue = Sampling
    RoundSettingsValue = RoundSettings
else:
    ProgramValue = Annotated[Any, Deferred(_program)]
    SamplingValue = Annotated[Any, Deferred(_sampling)]
    RoundSettingsValue = Annotated[Any, Deferred(_round_settings)]
LossValue = Annotated[Loss, _COMPONENTS["loss"]]
OptimizerValue = Annotated[Optimizer, _COMPONENTS["optimizer"]]
OptionsValue = Annotated[ProgramOptions, Carried(ProgramOptions, _options_to_json, _options_from_json)]
TrainSettingsValue = Annotated[TrainSettings, Carried(TrainSettings, _settings_to_json, _settings_from_json)]
TrainingStepsValue = Annotated[TrainingSteps, Carried(TrainingSteps, _steps_to_json, _steps_from_json)]
ProcessSettingsValue = Annotated[ProcessSettings, _record(ProcessSettings)]
SampleSettingsValue = Annotated[SampleSettings, _record(SampleSettings)]
WarmUpValue = Annotated[WarmUp, _record(WarmUp)]
FreshnessValue = Annotated[FreshnessCheck, _record(FreshnessCheck)]
SynchronizationValue = Annotated[SynchronizationCheck, _record(SynchronizationCheck)]
ObservationValue = Annotated[Observation, _record(Observation)]
TurnValue = Annotated[Turn, _record(Turn)]

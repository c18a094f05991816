"""Settings of runs by their dotted keys: those that differ, and all; recipe and networks too."""

import json
from collections.abc import Callable, Mapping, Sequence

from cache_schema.parsing import flattened, to_mapping
from train.checkpoints.record import Checkpoint
from train.config import TrainConfig
from train.pages.run_facts import RunFacts

__all__ = ["KeyedTable", "all_settings", "changed_settings", "features_and_networks"]

Values = Mapping[str, object]


class KeyedTable:
    """One line for each key, one column for each run."""

    def __init__(self, columns: Sequence[str], values: Sequence[Values]) -> None:
        """Lay values side by side.

        Args:
            columns: Name of each column.
            values: Of each column by key; a key that it lacks is shown as a dash.
        """
        self.columns = list(columns)
        keys = dict.fromkeys(key for own in values for key in own)
        self.lines: list[tuple[str, ...]] = [
            (key, *(_text(own, key) for own in values)) for key in keys
        ]

    @property
    def shared(self) -> list[tuple[str, ...]]:
        """Key and value of the lines whose columns are all the same."""
        return [line[:2] for line in self.lines if len(set(line[1:])) == 1]

    @property
    def differing(self) -> list[tuple[str, ...]]:
        """Lines whose columns are not all the same."""
        return [line for line in self.lines if len(set(line[1:])) > 1]


def changed_settings(runs: Sequence[RunFacts]) -> KeyedTable:
    """Return the settings in which runs differ; of one run those that are not the default."""
    table = all_settings(runs)
    if len(runs) == 1:
        default = _settings(TrainConfig())
        table = KeyedTable(
            ["default", *table.columns], [default, *(_of(one, _own) for one in runs)]
        )
    table.lines = table.differing
    return table


def all_settings(runs: Sequence[RunFacts]) -> KeyedTable:
    """Return every setting of every run."""
    return KeyedTable([run.name for run in runs], [_of(run, _own) for run in runs])


def features_and_networks(runs: Sequence[RunFacts]) -> KeyedTable:
    """Return the recipe of the rows, their stream and the networks that are not trained."""
    return KeyedTable([run.name for run in runs], [_of(run, _features) for run in runs])


def _of(run: RunFacts, read: Callable[[Checkpoint], Values]) -> Values:
    return read(run.checkpoint) if run.checkpoint is not None else {}


def _own(checkpoint: Checkpoint) -> Values:
    return _settings(checkpoint.config)


def _settings(config: TrainConfig) -> Values:
    return {f"train.{key}": value for key, value in flattened(to_mapping(config)).items()}


def _features(checkpoint: Checkpoint) -> Values:
    values: dict[str, object] = {
        "stream": checkpoint.stream,
        "row shape": checkpoint.row_shape,
        "encoder loaded from": checkpoint.encoder_source or None,
        "recipe fingerprint": checkpoint.recipe.fingerprint,
    }
    values |= flattened({"recipe": to_mapping(checkpoint.recipe)})
    for path, network in checkpoint.pretrained.items():
        values |= flattened({path: to_mapping(network)})
    return values


def _text(values: Values, key: str) -> str:
    value = values.get(key)
    if value in (None, "", [], ()):
        return "–"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

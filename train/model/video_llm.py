"""VideoLLM: translator -> LLM -> head of a task (arXiv 2305.13292, figure 2).

Beside the LLM a small network may read the rows, too (``train.model.side``).

Shapes: B windows, Q outputs (one for each window, or for each query about one), T rows of a window,
L tokens of a query, S appended tokens, N all tokens, D feature width, E LLM width.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_schema.errors import ConfigError
from train.config import TrainConfig
from train.data.window_draws import WindowDraws
from train.model.augment import FeatureAugment
from train.model.branches import BranchLayout
from train.model.llm import LanguageModel, load_llm
from train.model.side import SideNetwork
from train.model.small import SMALL, SmallNetwork, make_small
from train.model.text import EncodedText, LlmText, load_text
from train.model.translator import SemanticTranslator
from train.task import Answers, HeadContext, QueryPlace, Sample, States

__all__ = [
    "VideoLLM",
    "build_model",
    "parameter_counts",
]

WIDTH_WITHOUT_LLM = 576
"""Width between translator and head for ``llm.name = none``: that of SmolLM2."""

Reasoner = LanguageModel | SmallNetwork
"""What reads the tokens."""

Part = tuple[Tensor, Tensor]
"""tokens (B, n, E) and valid (B, n)."""
Parts = dict[str, Part]
"""``rows``, ``query`` and ``appended`` tokens, in the order in which they stand."""


class VideoLLM(nn.Module):
    """One translator, one LLM (or none), one head per task."""

    def __init__(
        self,
        *,
        translator: SemanticTranslator,
        llm: Reasoner | None,
        heads: Mapping[str, nn.Module],
        side: SideNetwork | None = None,
        side_tasks: Collection[str] = (),
        text: LlmText | EncodedText | None = None,
        query_places: Mapping[str, QueryPlace] | None = None,
        appended: Mapping[str, nn.Parameter] | None = None,
        state_dropout: float = 0.0,
    ) -> None:
        """Put the parts together.

        Args:
            translator: Stored rows -> tokens.
            llm: Tokens -> states, a language model or what stands in its place; None lets the head
                see the tokens.
            heads: Task name -> states -> outputs.
            side: Reads the rows beside the LLM.
            side_tasks: Whose heads see what it says, too.
            text: Queries -> tokens, if a task has queries.
            query_places: Task name -> where its query stands.
            appended: Task name -> learned tokens (S, E) behind everything, for tasks that have any.
            state_dropout: Probability that a value of a state is zeroed in training.
        """
        super().__init__()
        self.translator = translator
        self.llm = llm
        self.side = side
        self.heads = nn.ModuleDict(heads)
        self.text = text
        self.appended = nn.ParameterDict(appended or {})
        self._side_tasks = frozenset(side_tasks)
        self._query_places = dict(query_places or {})
        self._state_dropout = state_dropout

    def query_place(self, task: str) -> QueryPlace:
        """Return where a task's query stands."""
        return self._query_places.get(task, "none")

    def side_of(self, task: str) -> SideNetwork | None:
        """Return what reads the rows of a task beside the LLM, if anything does."""
        return self.side if task in self._side_tasks else None

    def name_queries(self, samples: Iterable[Sample]) -> None:
        """Tell which queries of a release of text features these are (``text.features``).

        Args:
            samples: Whose queries will be asked; those without an id are of no release.

        Raises:
            AnnotationError: if the release lacks one of them.
        """
        if isinstance(self.text, EncodedText):
            self.text.name_queries({one.query: one.query_id for one in samples if one.query_id})

    def forward(
        self,
        features_BTD: Tensor,
        valid_BT: Tensor,
        task: str,
        queries: Sequence[str] = (),
        targets: Mapping[str, Tensor] | None = None,
        draws: WindowDraws | None = None,
        window_of_Q: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return output name -> tensor (Q, ...) of one task's head.

        Args:
            features_BTD: Stored rows in float32, or BTND for rows that are grids of N tokens.
            valid_BT: True for rows, False for padding, which lies behind them.
            task: Name of the head to use.
            queries: Q texts, for tasks that have one.
            targets: Of the batch, for heads that take them as input.
            draws: Of the windows, for noise and dropout in training.
            window_of_Q: The window that each output is about, those of a window one after the
                other; None where there is one output for each window.
        """
        standard_BTD = self.translator.standardised(features_BTD, draws)
        rows = self.translator.tokens(standard_BTD), valid_BT
        size = len(valid_BT) if window_of_Q is None else len(window_of_Q)
        before, behind = self._around(task, queries, size, features_BTD.device)
        if window_of_Q is None or size == len(valid_BT):
            states_BTE, final = self._read({**before, "rows": rows, **behind}, draws)
        elif not before and isinstance(self.llm, LanguageModel) and self.llm.reads_branches:
            states_BTE, final = self._read_branches(rows, behind, window_of_Q, draws)
            states_BTE, valid_BT = states_BTE[window_of_Q], valid_BT[window_of_Q]
        else:
            rows = rows[0][window_of_Q], rows[1][window_of_Q]
            repeated = draws and draws.repeated(window_of_Q.tolist())
            states_BTE, final = self._read({**before, "rows": rows, **behind}, repeated)
            valid_BT = rows[1]
        if (side := self.side_of(task)) is not None:
            states_BTE = side(standard_BTD, states_BTE, draws)
        outputs: dict[str, Tensor] = self.heads[task](
            States(rows_BTE=states_BTE, valid_BT=valid_BT, final_BSE=final, targets=targets or {})
        )
        return outputs

    def _around(
        self, task: str, queries: Sequence[str], size: int, device: torch.device
    ) -> tuple[Parts, Parts]:
        """Return what stands before and behind the rows, for each of ``size`` outputs."""
        before: Parts = {}
        behind: Parts = {}
        if (place := self.query_place(task)) != "none":
            assert self.text is not None, "a task with queries was built without text"
            (before if place == "before" else behind)["query"] = self.text(queries, device)
        if task in self.appended:
            behind["appended"] = _repeated(self.appended[task], size)
        return before, behind

    def _read(self, parts: Parts, draws: WindowDraws | None) -> tuple[Tensor, Tensor]:
        """Return the states of the rows, and those that stand for the whole sequence.

        The LLM gets them without holes: padding between parts would count as positions in some
        families, and would be read by a bidirectional one.
        """
        tokens_BNE, valid_BN = _joined(parts)
        if len(parts) == 1:
            states_BNE = self._states(tokens_BNE, valid_BN, draws)
        else:
            order_BN = (~valid_BN).int().argsort(dim=1, stable=True)
            packed_BNE = _take(tokens_BNE, order_BN)
            packed_BNE = self._states(packed_BNE, valid_BN.gather(1, order_BN), draws)
            states_BNE = _take(packed_BNE, order_BN.argsort(dim=1))
        return _split(states_BNE, parts)["rows"], _final(states_BNE, valid_BN, parts)

    def _read_branches(
        self, rows: Part, behind: Parts, window_of_Q: Tensor, draws: WindowDraws | None
    ) -> tuple[Tensor, Tensor]:
        """Do as ``_read``, for the rows of each window once, whatever is asked about it."""
        tokens_QSE, valid_QS = _joined(behind)
        layout = BranchLayout.of(rows[1], valid_QS, window_of_Q)
        tokens_BNE = layout.join(rows[0], tokens_QSE)
        states_BNE = self._states(tokens_BNE, layout.valid_BN, draws, layout)
        states_QSE = layout.branches(states_BNE)
        return states_BNE[:, : rows[1].shape[1]], _final(states_QSE, valid_QS, behind)

    def _states(
        self,
        tokens_BNE: Tensor,
        valid_BN: Tensor,
        draws: WindowDraws | None,
        layout: BranchLayout | None = None,
    ) -> Tensor:
        """Return the states of tokens behind which padding lies; some values are 0 in training."""
        if self.llm is None:
            states_BNE = tokens_BNE
        elif layout is not None and isinstance(self.llm, LanguageModel):
            states_BNE = self.llm.forward_branches(tokens_BNE, layout)
        else:
            states_BNE = self.llm(tokens_BNE, valid_BN)
        if draws is None or not self._state_dropout:
            return states_BNE
        counts_B = valid_BN.sum(dim=1).tolist()
        kept_BnE = draws.kept(counts_B, states_BNE.shape[-1], self._state_dropout)
        padding = states_BNE.shape[1] - kept_BnE.shape[1]
        return states_BNE * functional.pad(kept_BnE, (0, 0, 0, padding))


def _take(values_BNE: Tensor, order_BN: Tensor) -> Tensor:
    return values_BNE.gather(1, order_BN[..., None].expand(-1, -1, values_BNE.shape[-1]))


def _repeated(tokens_SE: Tensor, size: int) -> Part:
    tokens_BSE = tokens_SE.expand(size, -1, -1)
    return tokens_BSE, torch.ones(tokens_BSE.shape[:2], dtype=torch.bool, device=tokens_SE.device)


def _joined(parts: Parts) -> Part:
    tokens, valid = zip(*parts.values(), strict=True)
    return torch.cat(tokens, dim=1), torch.cat(valid, dim=1)


def _split(states_BNE: Tensor, parts: Parts) -> dict[str, Tensor]:
    lengths = [valid.shape[1] for _, valid in parts.values()]
    return dict(zip(parts, torch.split(states_BNE, lengths, dim=1), strict=True))


def _final(states_BNE: Tensor, valid_BN: Tensor, parts: Parts) -> Tensor:
    """Return the states (B, S, E) of the appended tokens; without any, of the last token."""
    if "appended" in parts:
        return _split(states_BNE, parts)["appended"]
    places_N = torch.arange(valid_BN.shape[1], device=valid_BN.device)
    last_B1 = (valid_BN * places_N).argmax(dim=1, keepdim=True)
    return _take(states_BNE, last_B1)


def build_model(
    config: TrainConfig,
    row_shape: tuple[int, ...],
    tasks: Mapping[str, Answers[Any, Any]],
    device: torch.device,
    *,
    widths: Sequence[int] = (),
) -> VideoLLM:
    """Build the model of a run on the CPU; the same seed gives the same weights.

    Args:
        config: Settings of the run.
        row_shape: Shape of a stored row: (D,) or (tokens, D).
        tasks: Task name -> what its head says; each gets a head.
        device: Where it will run.
        widths: Of each stream that is a part of the rows; empty where there is one.

    Raises:
        ConfigError: if the LLM cannot be loaded, has too few positions or does not suit a task.
    """
    llm = _reasoner(config, device)
    for task in tasks.values():
        _check_suits(config, llm, task)
    torch.manual_seed(config.seed)
    start_rms = 1.0 if llm is None else llm.embedding_rms
    width_in = WIDTH_WITHOUT_LLM if llm is None else llm.width_in
    translator = SemanticTranslator(
        row_shape[-1],
        width_in,
        config.translator,
        start_rms=start_rms,
        augment=FeatureAugment(config.augment, widths),
    )
    language = llm if isinstance(llm, LanguageModel) else None
    context = HeadContext(
        width=WIDTH_WITHOUT_LLM if llm is None else llm.width_out,
        llm=language,
        device=device,
        seed=config.seed,
    )
    with_query = any(task.facts.query_place != "none" for task in tasks.values())
    heads = {name: task.build_head(context) for name, task in tasks.items()}
    appended = {
        name: nn.Parameter(torch.randn(task.appended_tokens, width_in) * start_rms)
        for name, task in tasks.items()
        if task.appended_tokens
    }
    side_tasks = [name for name, task in tasks.items() if _names_rows(task)] if language else []
    return VideoLLM(
        translator=translator,
        llm=llm,
        heads=heads,
        side=_side(config, row_shape[-1], context.width) if side_tasks else None,
        side_tasks=side_tasks,
        text=load_text(config.text, language) if with_query and language is not None else None,
        query_places={name: task.facts.query_place for name, task in tasks.items()},
        appended=appended,
        state_dropout=config.augment.state_dropout,
    )


def _reasoner(config: TrainConfig, device: torch.device) -> Reasoner | None:
    if config.llm.name == "none":
        return None
    if config.llm.name in SMALL:
        return make_small(config.llm, config.seed, config.tuning)
    return load_llm(config.llm, device, config.seed, config.tuning)


def _names_rows(task: Answers[Any, Any]) -> bool:
    return task.facts.entries == "rows" and task.facts.query_place == "none"


def _side(config: TrainConfig, dim: int, width_out: int) -> SideNetwork | None:
    if not config.side.width:
        return None
    return SideNetwork(dim, width_out, config.side, dropout=config.augment.state_dropout)


def _check_suits(config: TrainConfig, llm: Reasoner | None, task: Answers[Any, Any]) -> None:
    """Check that the LLM can do a task: a query needs one, the future must stay hidden."""
    facts = task.facts
    has_query = facts.query_place != "none"
    if not isinstance(llm, LanguageModel):
        if has_query:
            raise ConfigError(
                f"task {facts.name} has queries, which only an LLM can read: llm.name is "
                f"'{config.llm.name}'."
            )
        return
    if facts.online and not llm.is_causal:
        raise ConfigError(
            f"task {facts.name} predicts from the past only; llm.stack = 'encoder' would show it "
            "the future. Use llm.stack = 'decoder'."
        )
    rows = config.data.window_rows
    others = task.appended_tokens + (config.text.max_tokens if has_query else 0)
    if llm.max_positions is not None and rows + others > llm.max_positions:
        raise ConfigError(
            f"llm '{config.llm.name}' has {llm.max_positions} positions, but data.window_rows is "
            f"{rows} ({config.data.context_rows} of them data.context_rows at evaluation) and "
            f"{facts.name} needs up to {others} more. Set data.window_rows to "
            f"{llm.max_positions - others} at most."
        )


def parameter_counts(model: VideoLLM) -> dict[str, int]:
    """Count the parameters that are trained, per part of the model.

    Learned tokens and the projection of a text encoder count as translator: they make input.
    """
    counts = {"llm": 0, "side": 0, "translator": 0, "heads": 0}
    for name, value in model.named_parameters():
        if value.requires_grad:
            part = name.partition(".")[0]
            counts[part if part in counts else "translator"] += value.numel()
    return counts

"""Captions from the states of single rows, by a generative language model.

Each causal state is handed to an LM that writes the caption (Online Reasoning of arXiv 2305.13292).
Here it becomes, through one linear layer, the first input embeddings of that LM.

Shapes: B batch, T rows, C captions of a window, N captions of a batch, L tokens of a caption, E LLM
width, P prefix tokens, G width of the generator's embeddings, M tokens that count, V vocabulary.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, GenerationConfig

from cache_schema.errors import ConfigError
from train.model.identity import LlmIdentity
from train.model.llm import LanguageModel
from train.model.pretrained import llm_source, read_lm_head, weights_sha256
from train.model.quiet_loading import quiet_loading
from train.task import IGNORED, States

__all__ = ["CaptionHead", "CaptionWriter", "OwnLmHead"]

TOKENS_AT_ONCE = 512
"""Tokens whose V logits exist at the same time: 100 MB with a vocabulary of 50,000."""


class CaptionWriter:
    """A language model with its LM head that continues a prefix of embeddings. Owns no weights."""

    def __init__(self, language: LanguageModel, *, end_id: int) -> None:
        """Build the LM head around a stack.

        Args:
            language: The stack; whoever holds it moves, trains and saves it.
            end_id: Token that ends a caption.

        Raises:
            ConfigError: if its logits are more than the product of LM head and state, or its LM
                head cannot be had.
        """
        self.language = language
        self.own_lm_head = None if _ties_head(language) else _read_own_head(language)
        """Whoever holds the stack holds this, too; None where the token embeddings serve."""
        self._end_id = end_id
        self._model = _causal_model(language, self.own_lm_head)
        self._check_logits()

    def log_likelihood(self, prefix_NPG: Tensor, tokens_NL: Tensor) -> Tensor:
        """Return the log-probability (N, L) of each token after those before it, 0 for padding.

        Args:
            prefix_NPG: What comes before the first token.
            tokens_NL: Ids; ``IGNORED`` behind the last.
        """
        valid_NL = tokens_NL != IGNORED
        ids_NL = tokens_NL.where(valid_NL, self._end_id)
        inputs_NTG = torch.cat([prefix_NPG, self.language.embed(ids_NL[:, :-1]).float()], dim=1)
        seen_NT = functional.pad(valid_NL[:, :-1], (prefix_NPG.shape[1], 0), value=True)
        states_NLG = self._states(inputs_NTG, seen_NT)[:, prefix_NPG.shape[1] - 1 :]
        log_p_M = _FrozenLogP.apply(states_NLG[valid_NL], self._head_VG, ids_NL[valid_NL])  # type: ignore[no-untyped-call]
        zeros_NL = torch.zeros(valid_NL.shape, device=states_NLG.device)
        return zeros_NL.masked_scatter(valid_NL, log_p_M)

    def _states(self, inputs_NTG: Tensor, seen_NT: Tensor) -> Tensor:
        """Return what the LM head reads, in float32.

        The stack is asked without the prompt or prefix that may have been learned for the rows, as
        it is when it generates.
        """
        with self.language.arithmetic():
            output = self.language.stack(
                inputs_embeds=inputs_NTG.to(self._head_VG.dtype),
                attention_mask=seen_NT.long(),
                use_cache=False,
            )
        states_NTG: Tensor = output.last_hidden_state.float()
        return states_NTG

    @property
    def _head_VG(self) -> Tensor:
        weight_VG: Tensor = self._model.get_output_embeddings().weight
        return weight_VG

    def generate(self, prefix_NPG: Tensor, max_tokens: int) -> Tensor:
        """Return the ids (N, max_tokens) of greedy captions, ``IGNORED`` from their end on."""
        greedy = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=self._end_id,
            eos_token_id=self._end_id,
        )
        with self.language.arithmetic():
            ids_NL: Tensor = self._model.generate(
                inputs_embeds=prefix_NPG.to(self._head_VG.dtype),
                attention_mask=torch.ones_like(prefix_NPG[..., 0], dtype=torch.long),
                generation_config=greedy,
            )
        is_end_NL = ids_NL == self._end_id
        ids_NL = ids_NL.masked_fill(is_end_NL.cumsum(dim=1) > 0, IGNORED)
        return functional.pad(ids_NL, (0, max_tokens - ids_NL.shape[1]), value=IGNORED)

    @torch.no_grad()
    def _check_logits(self) -> None:
        """Some families scale or bend their logits; a silent difference would train wrongly."""
        embeddings_11G = self.language.embed(torch.tensor([[self._end_id]]))
        with self.language.arithmetic():
            own_11V = self._model(inputs_embeds=embeddings_11G).logits.float()
        states_11G = self._states(embeddings_11G, torch.ones(1, 1, dtype=torch.bool))
        if not torch.allclose(_logits(states_11G, self._head_VG), own_11V, rtol=1e-2, atol=1e-2):
            raise ConfigError(
                f"generator '{self.language.identity.name}' changes its logits after the LM head; "
                "that is not supported. Use smollm2, gpt2 or facebook/opt-125m."
            )


class OwnLmHead(nn.Module):
    """The LM head of an LLM that does not use its token embeddings for it. Frozen."""

    def __init__(self, linear: nn.Module, identity: LlmIdentity) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.identity = identity


class _FrozenLogP(torch.autograd.Function):
    """Log-probability of one token per state, for a frozen LM head.

    The logits of all tokens would be most of the memory, so their part of the gradient is taken
    while they exist: d log p(id) / d state = W[id] - sum over v of p(v) W[v].
    """

    @staticmethod
    def forward(ctx: Any, states_MG: Tensor, head_VG: Tensor, ids_M: Tensor) -> Tensor:  # noqa: ANN401 - autograd's
        log_p_M = states_MG.new_empty(len(ids_M))
        gradient_MG = torch.empty_like(states_MG) if ctx.needs_input_grad[0] else None
        for first in range(0, len(ids_M), TOKENS_AT_ONCE):
            part = slice(first, first + TOKENS_AT_ONCE)
            log_p_MV = _logits(states_MG[part], head_VG).log_softmax(dim=-1)
            log_p_M[part] = log_p_MV.gather(1, ids_M[part, None])[:, 0]
            if gradient_MG is not None:
                mean_MG = log_p_MV.exp_().to(head_VG.dtype) @ head_VG
                gradient_MG[part] = (head_VG[ids_M[part]] - mean_MG).float()
        ctx.save_for_backward(gradient_MG)
        return log_p_M

    @staticmethod
    def backward(ctx: Any, *gradients_M: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 - autograd's
        (gradient_MG,) = ctx.saved_tensors
        return gradients_M[0][:, None] * gradient_MG, None, None


def _logits(states_MG: Tensor, head_VG: Tensor) -> Tensor:
    return functional.linear(states_MG.to(head_VG.dtype), head_VG).float()


class CaptionHead(nn.Module):
    """State of a caption's row -> its likelihood and, in evaluation mode, a caption."""

    def __init__(
        self,
        width: int,
        writer: CaptionWriter,
        *,
        owns_generator: bool,
        prefix_tokens: int,
        max_tokens: int,
    ) -> None:
        """Make the linear layer.

        Args:
            width: E, width of the states.
            writer: The generator.
            owns_generator: Whether it is the head's own and not the run's LLM.
            prefix_tokens: P, embeddings that one state becomes.
            max_tokens: Longest caption that is generated.
        """
        super().__init__()
        language = writer.language
        # The run's LLM is moved, saved and counted by the model: here it must not be a submodule.
        self.generator = language if owns_generator else None
        self.lm_head = writer.own_lm_head
        self._writer = writer
        self._prefix_shape = (prefix_tokens, language.width_in)
        self._max_tokens = max_tokens
        self.prefix = nn.Linear(width, prefix_tokens * language.width_in)
        nn.init.normal_(self.prefix.weight, std=language.embedding_rms / width**0.5)
        nn.init.zeros_(self.prefix.bias)

    def forward(self, states: States) -> dict[str, Tensor]:
        """Return ``log_likelihood`` (B, C, L) and, when not training, ``generated`` (B, C, L') ids.

        Args:
            states: Its targets are ``rows`` (B, C), the row of the window that each caption is
                made from, and ``tokens`` (B, C, L); without these no likelihood is returned.
        """
        rows_BC = states.targets["rows"]
        valid_BC = rows_BC != IGNORED
        batch_B1 = torch.arange(len(rows_BC), device=rows_BC.device)[:, None]
        states_NE = states.rows_BTE[batch_B1, rows_BC.clamp(min=0)][valid_BC]
        prefix_NPG = self._prefixes(states_NE)
        outputs: dict[str, Tensor] = {}
        if "tokens" in states.targets:
            # A batch without a caption must still have a graph to all that is trained.
            graph = 0 * self._prefixes(states.rows_BTE[:, 0]).sum()
            tokens_BCL = states.targets["tokens"]
            outputs["log_likelihood"] = self._likelihood(prefix_NPG, tokens_BCL, valid_BC, graph)
        if not self.training:
            outputs["generated"] = self._generated(prefix_NPG, valid_BC)
        return outputs

    def _likelihood(
        self, prefix_NPG: Tensor, tokens_BCL: Tensor, valid_BC: Tensor, zero: Tensor
    ) -> Tensor:
        likelihood_BCL = zero.expand(tokens_BCL.shape)
        if len(prefix_NPG):
            likelihood_NL = self._writer.log_likelihood(prefix_NPG, tokens_BCL[valid_BC])
            likelihood_BCL = likelihood_BCL.masked_scatter(valid_BC[..., None], likelihood_NL)
        return likelihood_BCL

    def _prefixes(self, states_NE: Tensor) -> Tensor:
        normed_NE = functional.rms_norm(states_NE, states_NE.shape[-1:])
        prefix_NPG: Tensor = self.prefix(normed_NE).view(-1, *self._prefix_shape)
        return prefix_NPG

    def _generated(self, prefix_NPG: Tensor, valid_BC: Tensor) -> Tensor:
        shape = (*valid_BC.shape, self._max_tokens)
        ids_BCL = torch.full(shape, IGNORED, device=prefix_NPG.device)
        if len(prefix_NPG):
            ids_BCL[valid_BC] = self._writer.generate(prefix_NPG, self._max_tokens)
        return ids_BCL


def _ties_head(language: LanguageModel) -> bool:
    settings: Any = language.stack.config
    return bool(settings.tie_word_embeddings)


def _read_own_head(language: LanguageModel) -> OwnLmHead:
    """Read what the stack was loaded without."""
    identity = language.identity
    if identity.weights == "random":
        raise ConfigError(
            f"generator '{identity.name}' has an LM head of its own, which random weights do not "
            "give. Use one that ties it to its token embeddings, such as smollm2 or gpt2."
        )
    stack: Any = language.stack
    dtype = stack.get_input_embeddings().weight.dtype
    with quiet_loading():
        linear = read_lm_head(llm_source(identity.name), stack.config, dtype)
    return OwnLmHead(linear, replace(identity, num_layers=0, weights_sha256=weights_sha256(linear)))


def _causal_model(language: LanguageModel, own_head: OwnLmHead | None) -> Any:  # noqa: ANN401 - transformers has no types
    """Return the LM of a stack, whose LM head is the stack's own token embedding or given."""
    settings: Any = language.stack.config
    with torch.device("meta"):  # nothing of it is kept but the wiring
        model: Any = AutoModelForCausalLM.from_config(settings)  # type: ignore[no-untyped-call]
    setattr(model, model.base_model_prefix, language.stack)
    if own_head is None:
        model.tie_weights()
    else:
        model.set_output_embeddings(own_head.linear)
    model.get_output_embeddings().register_forward_pre_hook(_side_by_side)
    return model.eval()


def _side_by_side(module: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copy last states together: else torch gives each caption an LM head of its own, 57 MB."""
    return tuple(one.contiguous() for one in states)

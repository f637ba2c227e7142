"""A transformer in plain PyTorch, in the layouts of GPT-2 (norm before each part) and BERT (norm after it).

With h_0 = Dropout(x + p) before the blocks of GPT-2, and h_0 = Dropout(LayerNorm(x + p + s)) before those of BERT, for
inputs x, learnt positions p and token types s, a block is

    pre:   a = h + Dropout(Attention(LayerNorm(h)))      h' = a + Dropout(FeedForward(LayerNorm(a)))
    post:  a = LayerNorm(h + Dropout(Attention(h)))      h' = LayerNorm(a + Dropout(FeedForward(a)))

and "pre" ends with one more LayerNorm. Padding stands on the right. A causal model needs no mask for it: real samples
never look to the right. Otherwise padding is hidden as a key, and never read. Samples that were not observed are hidden
as keys from all others; they look at themselves, too, so that there is always something to look at.

Shapes: B windows, T tokens, d embedding dimension, N heads.

References: Vaswani et al. 2017, "Attention is all you need", NeurIPS 30, eq. 1; Radford et al. 2019, "Language models
are unsupervised multitask learners"; Devlin et al. 2019, "BERT", NAACL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.embedding import INITIAL_STANDARD_DEVIATION, initialize_weights

LONGEST_PERIOD = 1000.0
"""Of the sinusoids that positions start from, in 2 pi samples."""
NORMALIZATION_EPSILON = {"pre": 1e-5, "post": 1e-12}
"""Of GPT-2 and of BERT."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}
"""Of feed-forward layers; GPT-2's is the approximation of the Gaussian error linear unit by tanh."""


def sinusoids(n_positions: int, embedding_dim: int) -> Tensor:
    """Sines and cosines of a position at many frequencies (Vaswani et al. 2017, section 3.5).

    As a start of learnt positions they let a head find samples at a distance by a linear map. From the faint noise that
    GPT-2 and BERT start with, a hidden sample finds its neighbours only after many times as many steps.

    Returns
    -------
    Tensor, (n_positions, embedding_dim)
    """
    position_T = torch.arange(n_positions)[:, None]
    column_d = torch.arange(embedding_dim)
    angle_Td = position_T * LONGEST_PERIOD ** (-2.0 * (column_d // 2) / embedding_dim)
    return torch.where(column_d % 2 == 0, angle_Td.sin(), angle_Td.cos())


class Transformer(nn.Module):
    """Blocks of self-attention and feed-forward layers over embedded tokens.

    Parameters
    ----------
    embedding_dim : int
        Width d; a multiple of `n_heads`.
    n_layers : int
        Blocks.
    n_heads : int
        Heads N of each block, of width d / N.
    feed_forward_factor : int
        Width of the feed-forward layers, in multiples of d.
    dropout : float
        Share of units left out in training: of embeddings, attention weights and the output of each part of a block.
    activation : {"gelu_tanh", "gelu", "relu", "silu"}
    n_positions : int
        Longest sequence of tokens, special ones among them.
    norm : {"pre", "post"}
        GPT-2's blocks with a final LayerNorm, or BERT's with a LayerNorm of the embeddings.
    n_token_types : int
        0: none.
    activation_checkpointing : bool
        Compute each block once more in the backward pass instead of keeping what it computed: less memory, about a
        third more work, the same gradients.

    Notes
    -----
    Weights start as N(0, 0.02^2), biases as 0. With "pre", maps that add to the residual stream start with the
    standard deviation 0.02 / sqrt(2 n_layers) (Radford et al. 2019, section 2.3).
    """

    def __init__(
        self,
        embedding_dim: int,
        n_layers: int,
        n_heads: int,
        *,
        feed_forward_factor: int = 4,
        dropout: float = 0.1,
        activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = "gelu_tanh",
        n_positions: int = 512,
        norm: Literal["pre", "post"] = "pre",
        n_token_types: int = 0,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        assert embedding_dim % n_heads == 0
        self.embedding_dim, self.n_positions, self.norm = embedding_dim, n_positions, norm
        self.activation_checkpointing = activation_checkpointing
        self.positions = nn.Embedding(n_positions, embedding_dim)
        self.token_types = nn.Embedding(n_token_types, embedding_dim) if n_token_types else None
        self.embedding_norm = _normalization(embedding_dim, norm) if norm == "post" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(embedding_dim, n_heads, feed_forward_factor * embedding_dim, dropout, activation, norm)
            for _ in range(n_layers)
        )
        self.final_norm = _normalization(embedding_dim, norm) if norm == "pre" else nn.Identity()
        initialize_weights(self)
        with torch.no_grad():
            self.positions.weight.copy_(sinusoids(n_positions, embedding_dim))
        if norm == "pre":
            for block in self._typed_blocks():
                for linear in (block.attention.output, block.feed_forward.contract):
                    nn.init.normal_(linear.weight, std=INITIAL_STANDARD_DEVIATION / math.sqrt(2 * n_layers))

    def forward(
        self,
        inputs_BTd: Tensor,
        mask_BT: Tensor | None,
        *,
        causal: bool,
        token_types_BT: Tensor | None = None,
        observed_BT: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of all tokens.

        Parameters
        ----------
        inputs_BTd : Tensor, (B, T, d)
            Embedded tokens; finite in padding too.
        mask_BT : Tensor, (B, T) bool, or None
            True for real tokens, which come first; None where nothing is padded. No mask is built for a causal model,
            for None, or (where it can be seen without waiting for a device) if all is True.
        causal : bool
            Each token sees itself and those before it.
        token_types_BT : Tensor, (B, T) int64, optional
            Only with `n_token_types`; left out, all tokens are of type 0.
        observed_BT : Tensor, (B, T) bool, optional
            False for padding and for samples that were not observed; takes memory of T^2 for each window. Left out:
            all samples were.

        Returns
        -------
        Tensor, (B, T, d); in padding without meaning, but finite.

        Raises
        ------
        ConfigurationError
            For more tokens than positions.
        """
        hidden = self._embedded(inputs_BTd, token_types_BT)
        seen, causal = _seen_keys(mask_BT, observed_BT, causal=causal)
        for block in self.blocks:
            if self.activation_checkpointing and torch.is_grad_enabled():
                hidden = cast(Tensor, checkpoint(block, hidden, seen, causal, use_reentrant=False))
            else:
                hidden = block(hidden, seen, causal)
        states: Tensor = self.final_norm(hidden)
        return states

    def attention(
        self,
        inputs_BTd: Tensor,
        mask_BT: Tensor | None,
        *,
        causal: bool,
        token_types_BT: Tensor | None = None,
        observed_BT: Tensor | None = None,
    ) -> list[Tensor]:
        """Attention weights of every block, for maps: takes memory of T^2, which `forward` avoids.

        Arguments are those of `forward`; dropout is left out of the maps, but acts between blocks unless the model is
        in evaluation mode.

        Returns
        -------
        list of Tensor, (B, N, T, T)
            [b, n, t, s] is how much token t takes from token s; every row sums to 1, and padding and what was not
            observed give nothing to others.
        """
        hidden = self._embedded(inputs_BTd, token_types_BT)
        n_tokens = inputs_BTd.shape[1]
        allowed = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=inputs_BTd.device)
        allowed = (allowed.tril() if causal else allowed)[None, None]
        padding = _seen_keys(mask_BT, observed_BT, causal=False)[0]
        allowed = allowed if padding is None else allowed & padding
        seen, causal = _seen_keys(mask_BT, observed_BT, causal=causal)
        maps = []
        for block in self._typed_blocks():
            maps.append(block.attention_map(hidden, allowed))
            hidden = block(hidden, seen, causal)
        return maps

    def _embedded(self, inputs_BTd: Tensor, token_types_BT: Tensor | None) -> Tensor:
        n_tokens = inputs_BTd.shape[1]
        if n_tokens > self.n_positions:
            raise ConfigurationError(
                "model.n_positions", self.n_positions, f"at least {n_tokens}, the tokens of the longest window"
            )
        hidden = inputs_BTd + self.positions.weight[:n_tokens]
        if self.token_types is not None:
            types = self.token_types.weight
            hidden = hidden + (types[0] if token_types_BT is None else self.token_types(token_types_BT))
        else:
            assert token_types_BT is None
        embedded: Tensor = self.dropout(self.embedding_norm(hidden))
        return embedded

    def _typed_blocks(self) -> list[Block]:
        return [cast(Block, block) for block in self.blocks]


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each added to what came in; see the top of the file."""

    def __init__(
        self, embedding_dim: int, n_heads: int, n_hidden: int, dropout: float, activation: str, norm: str
    ) -> None:
        super().__init__()
        self.norm = norm
        self.attention_norm = _normalization(embedding_dim, norm)
        self.attention = SelfAttention(embedding_dim, n_heads, dropout)
        self.feed_forward_norm = _normalization(embedding_dim, norm)
        self.feed_forward = FeedForward(embedding_dim, n_hidden, activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BTd: Tensor, seen: Tensor | None, causal: bool) -> Tensor:
        """The next hidden states, (B, T, d); `seen` and `causal` are those of `_seen_keys`."""
        if self.norm == "pre":
            hidden = hidden_BTd + self.dropout(self.attention(self.attention_norm(hidden_BTd), seen, causal))
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        hidden = self.attention_norm(hidden_BTd + self.dropout(self.attention(hidden_BTd, seen, causal)))
        states: Tensor = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))
        return states

    def attention_map(self, hidden_BTd: Tensor, allowed: Tensor) -> Tensor:
        """Attention weights (B, N, T, T) of what comes in."""
        return self.attention.weights(self.attention_norm(hidden_BTd) if self.norm == "pre" else hidden_BTd, allowed)


class SelfAttention(nn.Module):
    """Attention of N heads; queries, keys and values come from one map, in this order."""

    def __init__(self, embedding_dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.queries_keys_values = nn.Linear(embedding_dim, 3 * embedding_dim)
        self.output = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, hidden_BTd: Tensor, seen: Tensor | None, causal: bool) -> Tensor:
        """What every token takes from the others, (B, T, d)."""
        queries, keys, values = self._heads(hidden_BTd)
        dropout = self.dropout if self.training else 0.0
        taken = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=seen, dropout_p=dropout, is_causal=causal
        )
        mixed: Tensor = self.output(taken.transpose(1, 2).flatten(2))
        return mixed

    def weights(self, hidden_BTd: Tensor, allowed: Tensor) -> Tensor:
        """softmax(Q K' / sqrt(d / N)) over the keys that are allowed, (B, N, T, T)."""
        queries, keys, _ = self._heads(hidden_BTd)
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)

    def _heads(self, hidden_BTd: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each (B, N, T, d / N)."""
        joined = self.queries_keys_values(hidden_BTd).unflatten(-1, (3, self.n_heads, -1))
        heads: tuple[Tensor, ...] = joined.permute(2, 0, 3, 1, 4).unbind(0)
        return heads


class FeedForward(nn.Module):
    """Linear, activation, linear, for every token by itself."""

    def __init__(self, embedding_dim: int, n_hidden: int, activation: str) -> None:
        super().__init__()
        self.expand = nn.Linear(embedding_dim, n_hidden)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(n_hidden, embedding_dim)

    def forward(self, hidden_BTd: Tensor) -> Tensor:
        """(B, T, d)."""
        outputs: Tensor = self.contract(self.activation(self.expand(hidden_BTd)))
        return outputs


class Pooler(nn.Module):
    """One vector per window from the hidden state of one token: Dropout(tanh(W h + b)).

    Parameters
    ----------
    embedding_dim : int
    dropout : float
    """

    def __init__(self, embedding_dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        initialize_weights(self)

    def forward(self, hidden_Bd: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        pooled: Tensor = self.dropout(torch.tanh(self.linear(hidden_Bd)))
        return pooled


def _normalization(embedding_dim: int, norm: str) -> nn.LayerNorm:
    return nn.LayerNorm(embedding_dim, eps=NORMALIZATION_EPSILON[norm])


def _seen_keys(mask_BT: Tensor | None, observed_BT: Tensor | None, *, causal: bool) -> tuple[Tensor | None, bool]:
    """Which keys may be looked at, (B, 1, 1 or T, T), or None for all; and whether later ones are hidden besides.

    Whether a mask is True everywhere is only asked where the answer costs no wait for a device and no break of a
    compiled graph.
    """
    if observed_BT is not None:
        itself_TT = torch.eye(observed_BT.shape[1], dtype=torch.bool, device=observed_BT.device)
        seen = observed_BT[:, None, None, :] | itself_TT
        return (seen.tril() if causal else seen), False
    if mask_BT is None or causal:
        return None, causal
    if mask_BT.device.type == "cpu" and not torch.compiler.is_compiling() and bool(mask_BT.all()):
        return None, False
    return mask_BT[:, None, None, :], False

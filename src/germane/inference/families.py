"""Encoders of transformers by family, as layers of weights: what the packed forward needs of an ordinary checkpoint.

The weights are the model's own (query, key and value side by side, so that one product makes all three); its head is called
as it stands. A model that is not exactly of a known family, or that was changed (adapters), is not read: None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


Head = Callable[["torch.Tensor"], "torch.Tensor"]


class Shape(NamedTuple):
    """What all layers of a model have in common. before: norms stand before attention and feed-forward, which is gated.

    bias: what scores get besides query times key: "" nothing, "distance" (MPNet), "disentangled" (DeBERTa).
    """

    heads: int
    act: str
    eps: float
    before: bool = False
    bias: str = ""
    scale: float | None = None


class Layer(NamedTuple):
    """The weights of a layer. norm, norm2: in the order in which they come. window: tokens to either side, -1 all.

    cos, sin: (positions, d) of rotary positions. keys, queries: (heads, 2 span, d) of DeBERTa's places. distance: (heads,
    2 M - 1) what MPNet adds to scores. ask, answer: the query's part of qkv, and the others', where it cannot be cut.
    """

    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    out: torch.Tensor
    out_bias: torch.Tensor | None
    up: torch.Tensor
    up_bias: torch.Tensor | None
    down: torch.Tensor
    down_bias: torch.Tensor | None
    norm: torch.Tensor | None
    norm_bias: torch.Tensor | None
    norm2: torch.Tensor
    norm2_bias: torch.Tensor | None
    window: int = -1
    cos: torch.Tensor | None = None
    sin: torch.Tensor | None = None
    keys: torch.Tensor | None = None
    queries: torch.Tensor | None = None
    places: torch.Tensor | None = None
    distance: torch.Tensor | None = None
    ask: torch.Tensor | None = None
    answer: torch.Tensor | None = None


class Embedding(NamedTuple):
    """Tables that are added up, then normed. offset: the position of a row's first token."""

    words: torch.Tensor
    positions: torch.Tensor | None
    kinds: torch.Tensor | None
    project: torch.Tensor | None
    norm: torch.Tensor
    norm_bias: torch.Tensor | None
    offset: int


@dataclass(frozen=True)
class Encoder:
    """A model as the packed forward computes it. most: tokens of a row. head: (n, width) of rows to logits (n, grades).

    final: the norm after the last layer, of models with norms before. mean: the head reads the mean of a row's tokens, not
    its first.
    """

    shape: Shape
    embedding: Embedding
    layers: tuple[Layer, ...]
    head: Head
    most: int
    grades: int
    final: tuple[torch.Tensor, torch.Tensor | None] | None = None
    mean: bool = False

    @property
    def weights(self) -> int:
        """Numbers that a token is multiplied with: of all layers, without embeddings and head."""
        return sum(part.numel() for layer in self.layers for part in (layer.qkv, layer.out, layer.up, layer.down))


def known(config: Any) -> bool:
    """True for a family of which models can be read, if they are not changed."""
    return getattr(config, "model_type", "") in _FAMILIES


def emptied(model: Any) -> Any:
    """The model that was read, with what its encoder holds now taken out of memory: its head and its configuration stay."""
    for name, part in getattr(model, model.base_model_prefix).named_children():
        if name != "pooler":
            part.to("meta")
    return model


class _UnknownError(Exception):
    """A model is not what it is called."""


def read(model: Any, dtype: torch.dtype | None = None) -> Encoder | None:
    """The encoder of a sequence classification model of transformers, on its device; None for a family that is not known.

    dtype: of its weights, the model's own by default. The head stays as it is, so that logits are not rounded to 8 bits.
    """
    found = _FAMILIES.get(getattr(getattr(model, "config", None), "model_type", ""))
    if found is None or type(model).__name__ not in found[0] or not type(model).__module__.startswith("transformers."):
        return None
    import torch

    try:
        with torch.no_grad():
            return found[1](model, dtype or next(model.parameters()).dtype)
    except (_UnknownError, AttributeError):
        return None


def read_body(model: Any) -> Encoder | None:
    """The encoder of a bare model of BERT's family, whose head is not to be called; None for any other."""
    import torch

    if type(model).__name__ not in _BODIES or not type(model).__module__.startswith("transformers."):
        return None
    try:
        with torch.no_grad():
            return _bert(model, next(model.parameters()).dtype)
    except (_UnknownError, AttributeError):
        return None


class _Reading:
    """Takes modules apart, each of exactly the class that is expected."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def linear(self, *modules: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weights and bias of linear layers that read the same, side by side."""
        import torch

        if any(type(module) is not torch.nn.Linear for module in modules):
            raise _UnknownError
        weight = torch.cat([m.weight for m in modules]) if len(modules) > 1 else modules[0].weight
        if modules[0].bias is None:
            return self.to(weight), None
        return self.to(weight), self.to(torch.cat([m.bias for m in modules]) if len(modules) > 1 else modules[0].bias)

    def norm(self, module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        if type(module) is not torch.nn.LayerNorm:
            raise _UnknownError
        return self.to(module.weight), None if module.bias is None else self.to(module.bias)

    def table(self, module: Any) -> torch.Tensor:
        import torch

        if type(module) is not torch.nn.Embedding:
            raise _UnknownError
        return self.to(module.weight)

    def to(self, tensor: Any) -> torch.Tensor:
        found: torch.Tensor = tensor.detach().to(self.dtype)
        return found.contiguous()

    def after(self, layer: Any, inner: tuple[Any, Any, Any, Any, Any], **more: Any) -> Layer:
        """A layer with norms after attention and feed-forward. inner: its query, key, value, output, and first norm."""
        return Layer(
            *self.linear(*inner[:3]),
            *self.linear(inner[3]),
            *self.linear(layer.intermediate.dense),
            *self.linear(layer.output.dense),
            *self.norm(inner[4]),
            *self.norm(layer.output.LayerNorm),
            **more,
        )


# --- BERT, and RoBERTa with its other languages ---------------------------------------------------------------------


def _bert(model: Any, dtype: torch.dtype) -> Encoder:
    reading, config, body = _Reading(dtype), model.config, model.base_model
    if config.is_decoder or getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise _UnknownError
    offset = config.pad_token_id + 1 if model.base_model_prefix == "roberta" else 0
    layers = tuple(
        reading.after(
            layer,
            (*_three(layer.attention.self, ""), layer.attention.output.dense, layer.attention.output.LayerNorm),
        )
        for layer in body.encoder.layer
    )
    shape = Shape(config.num_attention_heads, config.hidden_act, config.layer_norm_eps)
    head = _pooled_head(model) if model.base_model_prefix == "bert" else _first_head(model)
    return Encoder(shape, _embedding(reading, body, offset), layers, head, _most(config, offset), int(config.num_labels))


def _first_head(model: Any) -> Head:
    """The head of models whose classifier itself takes the first token."""
    return lambda x: model.classifier(x[:, None])


def _pooled_head(model: Any) -> Head:
    return lambda x: model.classifier(model.bert.pooler(x[:, None]))


def _three(attention: Any, ending: str) -> tuple[Any, Any, Any]:
    query, key, value = (getattr(attention, f"{name}{ending}") for name in ("query", "key", "value"))
    return query, key, value


def _embedding(reading: _Reading, body: Any, offset: int) -> Embedding:
    of = body.embeddings
    kinds, places = getattr(of, "token_type_embeddings", None), getattr(of, "position_embeddings", None)
    project = getattr(of, "embed_proj", None)
    return Embedding(
        reading.table(of.word_embeddings),
        None if places is None else reading.table(places),
        None if kinds is None else reading.table(kinds),
        None if project is None else reading.linear(project)[0],
        *reading.norm(of.LayerNorm),
        offset,
    )


def _most(config: Any, offset: int) -> int:
    return int(config.max_position_embeddings) - offset


# --- MPNet: a number for each distance, the same in all layers -------------------------------------------------------


def _mpnet(model: Any, dtype: torch.dtype) -> Encoder:
    import torch

    reading, config, body = _Reading(dtype), model.config, model.mpnet
    offset = body.embeddings.padding_idx + 1
    most = _most(config, offset)
    distances = torch.arange(1 - most, most, device=model.device)
    bucket = body.encoder.relative_position_bucket(distances)
    added = reading.to(body.encoder.relative_attention_bias(bucket).T)
    layers = []
    for layer in body.encoder.layer:
        of = layer.attention.attn
        layers.append(reading.after(layer, (of.q, of.k, of.v, of.o, layer.attention.LayerNorm), distance=added))
    shape = Shape(config.num_attention_heads, config.hidden_act, config.layer_norm_eps, bias="distance")
    return Encoder(shape, _embedding(reading, body, offset), tuple(layers), _first_head(model), most, int(config.num_labels))


# --- DeBERTa: scores of content and place ---------------------------------------------------------------------------


def _deberta(model: Any, dtype: torch.dtype) -> Encoder:
    reading, config, body = _Reading(dtype), model.config, model.deberta
    encoder, most = body.encoder, int(config.max_position_embeddings)
    kinds = tuple(config.pos_att_type or ())
    if encoder.conv is not None or getattr(body, "z_steps", 0) > 1 or not set(kinds) <= {"c2p", "p2c"}:
        raise _UnknownError
    if not encoder.relative_attention and kinds:
        raise _UnknownError
    extra = _Places(encoder, kinds, most) if encoder.relative_attention and kinds else None
    layers = []
    for layer in encoder.layer:
        of = layer.attention.self
        inner = (*_three(of, "_proj"), layer.attention.output.dense, layer.attention.output.LayerNorm)
        layers.append(reading.after(layer, inner, **({} if extra is None else extra.of(of, reading))))
    width = encoder.layer[0].attention.self.attention_head_size
    scale = (width * (1 + len(kinds))) ** -0.5
    shape = Shape(config.num_attention_heads, config.hidden_act, config.layer_norm_eps, False, "", scale)
    shape = shape if extra is None else shape._replace(bias="disentangled")
    head: Head = lambda x: model.classifier(model.pooler(x[:, None]))  # noqa: E731
    return Encoder(shape, _embedding(reading, body, 0), tuple(layers), head, most, int(config.num_labels))


class _Places:
    """What DeBERTa's layers know of places: a vector for each bucket of distances, once for keys and once for queries."""

    def __init__(self, encoder: Any, kinds: tuple[str, ...], most: int) -> None:
        import torch
        from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

        self.kinds = kinds
        buckets, furthest = encoder.position_buckets, encoder.max_relative_positions
        self.span = buckets if buckets > 0 else furthest
        self.table = encoder.get_rel_embedding()[: 2 * self.span]
        place = torch.arange(1 - most, most, device=self.table.device)  # query's less key's
        if buckets > 0 and furthest > 0:
            place = make_log_bucket_position(place, buckets, furthest).long()
        self.place = torch.clamp(place + self.span, 0, 2 * self.span - 1)

    def of(self, attention: Any, reading: _Reading) -> dict[str, Any]:
        shared = attention.share_att_key
        keys = attention.key_proj if shared else getattr(attention, "pos_key_proj", None)
        queries = attention.query_proj if shared else getattr(attention, "pos_query_proj", None)
        return {
            "keys": self._heads(keys, attention, reading) if "c2p" in self.kinds else None,
            "queries": self._heads(queries, attention, reading) if "p2c" in self.kinds else None,
            "places": self.place,
        }

    def _heads(self, project: Any, attention: Any, reading: _Reading) -> torch.Tensor:
        found = project(self.table)
        return reading.to(found.view(len(found), attention.num_attention_heads, -1).transpose(0, 1))


# --- ModernBERT: norms before, turned positions, near and far layers ------------------------------------------------


def _modern(model: Any, dtype: torch.dtype) -> Encoder:
    import torch

    reading, config, body = _Reading(dtype), model.config, model.model
    most = int(config.max_position_embeddings)
    places = torch.arange(most, device=model.device)[None]
    sample = torch.zeros(1, device=model.device)
    turns = {kind: tuple(part[0] for part in body.rotary_emb(sample, places, kind)) for kind in set(config.layer_types)}
    layers = []
    for layer in body.layers:
        of, near = layer.attn, layer.attention_type == "sliding_attention"
        cos, sin = turns[layer.attention_type]
        first: tuple[Any, Any] = (None, None) if type(layer.attn_norm) is torch.nn.Identity else reading.norm(layer.attn_norm)
        layers.append(
            Layer(
                *reading.linear(of.Wqkv),
                *reading.linear(of.Wo),
                *reading.linear(layer.mlp.Wi),
                *reading.linear(layer.mlp.Wo),
                *first,
                *reading.norm(layer.mlp_norm),
            )._replace(window=int(config.sliding_window) if near else -1, cos=cos, sin=sin)
        )
    shape = Shape(config.num_attention_heads, config.hidden_activation, config.norm_eps, before=True)
    words = body.embeddings
    embedding = Embedding(reading.table(words.tok_embeddings), None, None, None, *reading.norm(words.norm), 0)
    head: Head = lambda x: model.classifier(model.head(x))  # noqa: E731
    mean = config.classifier_pooling == "mean"
    return Encoder(shape, embedding, tuple(layers), head, most, int(config.num_labels), reading.norm(body.final_norm), mean)


_FAMILIES: dict[str, tuple[tuple[str, ...], Callable[[Any, Any], Encoder]]] = {
    "bert": (("BertForSequenceClassification",), _bert),
    "roberta": (("RobertaForSequenceClassification",), _bert),
    "xlm-roberta": (("XLMRobertaForSequenceClassification",), _bert),
    "camembert": (("CamembertForSequenceClassification",), _bert),
    "mpnet": (("MPNetForSequenceClassification",), _mpnet),
    "deberta-v2": (("DebertaV2ForSequenceClassification",), _deberta),
    "modernbert": (("ModernBertForSequenceClassification",), _modern),
}

_BODIES = ("BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel")

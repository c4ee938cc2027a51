"""The study's transformer, trained from scratch on the documents: its own vocabulary, random weights, a rating.

A ModernBERT of 12 layers, width 128, 8 heads, local window 16, a byte-level BPE vocabulary of 5,000 learnt from the
training documents alone. On a CPU a smaller one, which says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.encoder import tokenize
from imdb_pipeline.models.reader import DocumentModel, build_network, documents_of
from imdb_pipeline.models.reader_training import Recipe, fit_reader

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from transformers import ModernBertConfig

    from imdb_pipeline.models.examples import Examples

VOCABULARY = 5_000
PATIENCE = 2
"""Epochs without a better one, after which training ends."""
VOCABULARY_DOCUMENTS = 50_000
"""Documents that it is learnt from, evenly spaced where there are more: the counts of its pieces hardly change."""
PADDING, START, END = "[PAD]", "[CLS]", "[SEP]"
PIECES = r" ?[\p{L}_]+| ?\p{N}+|[^\p{L}\p{N}_]+?(?= ?[\p{L}\p{N}_]|\z)"
"""Words, numbers, and what stands between them: the JSON's quotes, commas and indents can become one token."""


@dataclass(frozen=True)
class Size:
    """The shape of the network, the documents' length in tokens, and how it is trained."""

    layers: int
    width: int
    heads: int
    intermediate: int
    window: int
    max_length: int
    epochs: int
    batch_documents: int
    learning_rate: float
    weight_decay: float
    pooling: str
    dropout: float
    """Of embeddings, between the layers' products, and before the answer."""


STUDY = Size(12, 128, 8, 768, 16, 1_024, 10, 128, 2e-4, 0.01, "mean", 0.0)
REDUCED = Size(2, 128, 4, 256, 16, 512, 6, 32, 5e-4, 0.01, "mean", 0.3)
"""For a CPU: length and epochs are cut further to what the work allows."""
CPU_WORK_PER_DOCUMENT = 4e8
"""Floating-point operations of a fit on a CPU: about 8 ms a document on two cores."""
CPU_LEAST_WORK, CPU_MOST_WORK = 2e11, 8.5e12
CPU_LENGTHS = 512, 256, 128, 96, 64
CPU_FEWEST_EPOCHS = 3
"""Documents are cut shorter rather than read fewer times."""


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    size: Size | None = None,
    checkpoints: Path | None = None,
) -> DocumentModel:
    """Learn a vocabulary and train; keep the weights of the best epoch on validation, and end two epochs after it.

    Parameters
    ----------
    size
        None: the study's on CUDA; on a CPU a smaller one, for which the number of tokens decides length and epochs.
    checkpoints
        A folder in which the state after each epoch is held until the end.

    Raises
    ------
    PipelineError
        A movie has no document, the loss is no number, or memory is too short.
    """
    return _fit(train, validation, size, None, seed=seed, device=device, checkpoints=checkpoints)


def refit(
    model: DocumentModel, rated: Examples, *, seed: int, device: str, checkpoints: Path | None = None
) -> DocumentModel:
    """Train anew on ``rated``, with a vocabulary of its own, for as many epochs as were best for ``model``."""
    size = Size(**model.settings["size"])
    return _fit(rated, None, size, model.settings["best_epoch"], seed=seed, device=device, checkpoints=checkpoints)


def learn_vocabulary(documents: list[str], *, max_length: int, size: int = VOCABULARY) -> Any:
    """Learn a byte-level BPE vocabulary (Sennrich et al. 2016) of at most ``size`` tokens.

    Returns
    -------
    tokenizers.Tokenizer
        It puts a start and an end around each document, and cuts it at ``max_length`` tokens.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PIECES), "isolated"), as_bytes])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PADDING, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    apart = -(-len(documents) // VOCABULARY_DOCUMENTS)
    tokenizer.train_from_iterator(documents[::apart], trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    tokenizer.enable_truncation(max_length)
    return tokenizer


def reduced_size(lengths: np.ndarray) -> Size:
    """Return what a CPU can train on documents of these lengths in tokens."""
    import numpy as np

    work = min(max(CPU_WORK_PER_DOCUMENT * len(lengths), CPU_LEAST_WORK), CPU_MOST_WORK)
    weights = REDUCED.layers * (4 * REDUCED.width**2 + 3 * REDUCED.width * REDUCED.intermediate)
    epochs, length = 0, 0
    for length in CPU_LENGTHS:
        tokens = int(np.minimum(lengths, length).sum())
        epochs = int(work / (6 * weights * tokens))
        if epochs >= CPU_FEWEST_EPOCHS:
            break
    return replace(REDUCED, max_length=length, epochs=min(max(epochs, 1), REDUCED.epochs))


def _fit(
    train: Examples,
    validation: Examples | None,
    size: Size | None,
    last_epoch: int | None,
    *,
    seed: int,
    device: str,
    checkpoints: Path | None,
) -> DocumentModel:
    documents = documents_of(train.inputs)
    tokenizer = learn_vocabulary(documents, max_length=STUDY.max_length)
    if size is None:
        size = reduced_size(tokenize(tokenizer, documents).lengths) if device == "cpu" else STUDY
    tokenizer.enable_truncation(size.max_length)
    method = "transformer from scratch"
    if (size.layers, size.max_length) != (STUDY.layers, STUDY.max_length):
        method += f", reduced for a CPU ({size.layers} layers, {size.max_length} tokens)"
    settings = {
        "method": method,
        "size": asdict(size),
        "vocabulary": tokenizer.get_vocab_size(),
        "pooling": size.pooling,
        "max_length": size.max_length,
        "prompt": "",
        "lower": False,
        "schedule": "cosine, after a rise over a twentieth of the steps",
        "precision": "bfloat16 by autocast" if device == "cuda" else "float32",
        "chosen_on": "validation",
    }
    recipe = Recipe(size.epochs, size.batch_documents, size.weight_decay, patience=PATIENCE, last_epoch=last_epoch)

    def build() -> tuple[torch.nn.ModuleDict, list[dict[str, Any]]]:
        network = build_network(configuration(size, tokenizer), dropout=size.dropout)
        return network, [{"params": list(network.parameters()), "lr": size.learning_rate}]

    return fit_reader(
        build,
        tokenizer,
        train,
        validation,
        recipe,
        settings,
        name="transformer",
        seed=seed,
        device=device,
        checkpoints=checkpoints,
    )


def configuration(size: Size, tokenizer: Any) -> ModernBertConfig:
    """Return the configuration of a network of that size, for a tokenizer of ``learn_vocabulary``."""
    from transformers import ModernBertConfig

    padding, start, end = (tokenizer.token_to_id(token) for token in (PADDING, START, END))
    return ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.width,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        local_attention=size.window,
        max_position_embeddings=size.max_length,
        pad_token_id=padding,
        bos_token_id=start,
        cls_token_id=start,
        eos_token_id=end,
        sep_token_id=end,
        embedding_dropout=size.dropout,
        mlp_dropout=size.dropout,
    )

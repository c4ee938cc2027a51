"""The home's pretrained encoder, fine-tuned end to end on the documents with a head that answers the rating.

Worth it on a GPU. Pooling, prompt and how many tokens it takes are those of the encoder's own files. What is saved
holds all weights and the tokenizer: predicting asks for no encoder, but fitting again does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.encoder import layers_of, load_model, load_tokenizer
from imdb_pipeline.embeddings.model_files import EncoderChoice, identify, local_folder, read_text_form
from imdb_pipeline.models.reader import DocumentModel, build_network
from imdb_pipeline.models.reader_training import Recipe, fit_reader

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from imdb_pipeline.models.examples import Examples

MAX_LENGTH = {"cpu": 128, "cuda": 1_024}
"""Tokens of a document that are read, where the encoder takes as many."""
EPOCHS = 3
PATIENCE = 1
HEAD_DROPOUT = 0.1


def fit(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    device: str,
    encoder: EncoderChoice,
    max_length: int | None = None,
    epochs: int = EPOCHS,
    batch_documents: int = 32,
    learning_rate: float = 5e-5,
    head_rate: float = 1e-3,
    layer_decay: float = 0.9,
    weight_decay: float = 0.01,
    checkpoints: Path | None = None,
) -> DocumentModel:
    """Train encoder and head, and keep the weights of the best epoch on validation; a worse one is the last.

    Parameters
    ----------
    encoder
        As from ``choose_encoder``. Its files are fetched where they are not there.
    max_length
        Tokens of a document; None: 1,024 on CUDA, 128 on a CPU, at most what the encoder takes.
    learning_rate, layer_decay, head_rate
        The rate of the encoder's last layer; by what it is multiplied from each layer to the one below (Howard and
        Ruder 2018, ULMFiT, there .38), down to the embedding tables; and that of the head.
    checkpoints
        A folder in which the state after each epoch is held until the end.

    Raises
    ------
    InputError
        The encoder cannot be had or loaded.
    PipelineError
        A movie has no document, the loss is no number, or memory is too short.
    """
    takes = identify(encoder, dtype="float32").max_length
    settings = {
        "method": "pretrained encoder, fine-tuned",
        "encoder": encoder.name,
        "encoder_revision": encoder.revision,
        "max_length": min(max_length or MAX_LENGTH[device], takes),
        "planned_epochs": epochs,
        "batch_documents": batch_documents,
        "learning_rate": learning_rate,
        "head_rate": head_rate,
        "layer_decay": layer_decay,
        "weight_decay": weight_decay,
        "schedule": "cosine, after a rise over a twentieth of the steps",
        "precision": "bfloat16 by autocast" if device == "cuda" else "float32",
        "chosen_on": "validation",
    }
    return _fit(train, validation, settings, None, seed=seed, device=device, checkpoints=checkpoints)


def refit(
    model: DocumentModel, rated: Examples, *, seed: int, device: str, checkpoints: Path | None = None
) -> DocumentModel:
    """Train anew on ``rated``, from the same pretrained weights, for as many epochs as were best for ``model``."""
    last_epoch = model.settings["best_epoch"]
    return _fit(rated, None, model.settings, last_epoch, seed=seed, device=device, checkpoints=checkpoints)


def _fit(
    train: Examples,
    validation: Examples | None,
    settings: dict[str, Any],
    last_epoch: int | None,
    *,
    seed: int,
    device: str,
    checkpoints: Path | None,
) -> DocumentModel:
    choice = EncoderChoice(settings["encoder"], settings["encoder_revision"])
    folder = local_folder(choice)
    prompt, lower = read_text_form(folder)
    pooling = identify(choice, dtype="float32").pooling
    settings = {**settings, "pooling": pooling, "prompt": prompt, "lower": lower}
    recipe = Recipe(
        epochs=settings["planned_epochs"],
        batch_documents=settings["batch_documents"],
        weight_decay=settings["weight_decay"],
        patience=PATIENCE,
        last_epoch=last_epoch,
    )

    def build() -> tuple[torch.nn.ModuleDict, list[dict[str, Any]]]:
        pretrained = load_model(folder, dtype="float32")
        network = build_network(pretrained.config, pretrained, dropout=HEAD_DROPOUT)
        return network, _groups(network, settings)

    return fit_reader(
        build,
        load_tokenizer(folder, settings["max_length"]),
        train,
        validation,
        recipe,
        settings,
        name="finetuned",
        seed=seed,
        device=device,
        checkpoints=checkpoints,
    )


def _groups(network: torch.nn.ModuleDict, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters in groups with their rates: the head, each layer, and what is below the layers."""
    layers = layers_of(network["encoder"])
    depth = {id(weight): number for number, layer in enumerate(layers, 1) for weight in layer.parameters()}
    top = {name for name, _ in network["encoder"].named_parameters() if name.startswith(("final_norm", "pooler"))}
    groups: dict[float, list[torch.nn.Parameter]] = {settings["head_rate"]: list(network["head"].parameters())}
    for name, weight in network["encoder"].named_parameters():
        below = 0 if name in top else len(layers) - depth.get(id(weight), 0)
        groups.setdefault(settings["learning_rate"] * settings["layer_decay"] ** below, []).append(weight)
    return [{"params": weights, "lr": rate} for rate, weights in groups.items()]

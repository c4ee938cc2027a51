"""Write an encoder of half the layers of another, in the layout that every encoder has.

python half_encoder.py FOLDER_OF_AN_ENCODER NEW_FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Keep every second layer of the encoder in ``source``; whether that is good enough, the leaderboard says."""
    from torch import nn
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(source, local_files_only=True)
    model.encoder.layer = nn.ModuleList(model.encoder.layer[1::2])
    model.config.num_hidden_layers = len(model.encoder.layer)
    model.save_pretrained(target)  # config.json and model.safetensors
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(target)
    for name in ("modules.json", "sentence_bert_config.json", "1_Pooling"):  # how it pools, and what it cuts at
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        elif (source / name).exists():
            shutil.copy(source / name, target / name)
    print(f"{target}: {model.config.num_hidden_layers} layers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

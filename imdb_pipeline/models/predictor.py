"""What the list of predictors says of one, and the predictors of your own: each a module in ``models/own``."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Predictor:
    """Where a predictor is written, and what it asks for.

    Attributes
    ----------
    module
        Imported when it is used. Its ``fit`` and ``refit`` return the class.
    kind
        The class's name.
    reads_embeddings
        Whether it needs ``Inputs.embeddings``; where nobody does, no encoder has to be loaded for a prediction.
    reads_documents
        Whether it needs ``Inputs.documents``.
    resumes
        Whether ``fit`` and ``refit`` take ``checkpoints``, a folder from which a killed training goes on.
    needs_gpu
        Whether it is fitted on CUDA alone: elsewhere it would take days.
    takes_encoder
        Whether ``fit`` takes ``encoder``, the home's.
    uses_gpu
        Whether it takes the GPU where there is one.
    """

    module: str
    kind: str
    reads_embeddings: bool = True
    reads_documents: bool = False
    resumes: bool = False
    needs_gpu: bool = False
    takes_encoder: bool = False
    uses_gpu: bool = False


def own_predictors(*, taken: Collection[str]) -> dict[str, Predictor]:
    """Return what the modules of ``models/own`` say of themselves, by their names.

    Parameters
    ----------
    taken
        Names of other predictors.

    Raises
    ------
    InputError
        A module cannot be imported, has a name that is taken or not of small letters, figures and ``_``, has no
        ``PREDICTOR``, or its ``PREDICTOR`` is of another module.
    """
    from imdb_pipeline.models import own

    found = {}
    for each in pkgutil.iter_modules(own.__path__):
        path = Path(own.__path__[0]) / f"{each.name}.py"
        if each.name in taken or not re.fullmatch("[a-z][a-z0-9_]*", each.name):
            raise InputError(
                f"{path}: no name for a predictor; call the file by small letters, figures and _, and by none of "
                f"{', '.join(taken)}"
            )
        try:
            module = import_module(f"{own.__name__}.{each.name}")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{path}: cannot be imported ({reason}); correct it, or move it away") from None
        predictor = getattr(module, "PREDICTOR", None)
        if not isinstance(predictor, Predictor) or predictor.module != module.__name__:
            raise InputError(
                f"{path}: no predictor; write PREDICTOR = Predictor(__name__, ...), as docs/extending.md "
                "says, or move the file out of models/own"
            )
        found[each.name] = predictor
    return found


def code_version(predictor: Predictor) -> str:
    """Return a version of a predictor of your own that changes with its file."""
    file = import_module(predictor.module).__file__
    assert file is not None
    return sha256(Path(file).read_bytes()).hexdigest()[:12]

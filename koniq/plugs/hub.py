"""A folder of the Hugging Face hub's layout, written and read: config.json, model.safetensors, and a card.

config.json is the record of the weights, as it stands beside them elsewhere: which network, at what size, by which
rules, and what is kept for these weights alone. Such a folder is weights by its name wherever weights are asked for.
"""

import re
import shutil
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from koniq import __version__
from koniq.ground import InputError, RunStopped
from koniq.ground.built import install
from koniq.ground.files import file_hash, write_json
from koniq.ground.text import markdown_table
from koniq.measure import keeping
from koniq.network import find_or_default, network_of, read_state, sidecar, write_state
from koniq.network.finding import HUB_RECORD, HUB_WEIGHTS
from koniq.plugs.metrics import metric
from ku.files import atomic_path

if TYPE_CHECKING:
    from koniq.plugs.in_torch import QualityMetric

CARD = "README.md"
REPO = re.compile(r"[\w.-]+/[\w.-]+")  # owner/name
PICTURE = re.compile(r"^!\[[^\]]*\]\(([^)]+)\)\n?", re.MULTILINE)
HEAD = """---
library_name: koniq
license: {license}
{link}pipeline_tag: image-classification
tags:
- image-quality-assessment
- no-reference
- mean-opinion-score
- {network}
---

```python
from koniq import plugs

metric = plugs.from_pretrained("{name}")  # a folder, or owner/name of the hub
print(metric("photo.jpg"))  # or pictures (batch, 3, height, width) in [0, 1]
```

"""


def save_pretrained(
    weights: str | PathLike[str], folder: str | PathLike[str], *, license: str = "", overwrite: bool = False
) -> Path:
    """Write weights into `folder` as the hub has them, with what the card beside them says; returns the folder.

    Numbers in .safetensors go as they are, byte for byte, so that what is kept for them holds on. license: as the hub
    calls it, such as "mit"; "": other, if files of licences lie beside the weights, which are taken along, else
    unknown. Raises InputError if there are no such weights, or others are in the folder and not to be overwritten.
    """
    source, folder = find_or_default(fspath(weights)), Path(folder)
    target = folder / HUB_WEIGHTS
    if target.exists() and (target.samefile(source) or not overwrite):
        raise InputError(f"{target} is there already. Give overwrite=True to replace it, or another folder.")
    network = network_of(source)
    folder.mkdir(parents=True, exist_ok=True)
    if source.suffix == target.suffix:
        read_state(source, network)  # raises unless it is whole
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    else:
        write_state(read_state(source, network), target, network)
    record = keeping.converted(network.record() | sidecar.record(source), file_hash(source), file_hash(target))
    name = sidecar.title(source)
    write_json({"name": name, **record, "koniq_version": __version__}, folder / HUB_RECORD)
    licences = sorted(source.parent.glob("LICENSE*"))
    text, pictures = _card(source, name, record)
    link = f"license_link: {licences[0].name}\n" if licences and not license else ""
    license = license or ("other" if licences else "unknown")
    head = HEAD.format(license=license, link=link, network=network.name, name=name)
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
    for path in (*licences, *pictures):
        shutil.copyfile(path, folder / path.name)
    return folder


def _card(source: Path, name: str, record: dict) -> tuple[str, list[Path]]:
    """The text of a card, and the pictures in it: of the card beside the weights, or else of their record."""
    own, pictures = source.with_name("card.md"), []
    if not own.is_file():
        plain = [(key.replace("_", " "), str(said)) for key, said in record.items() if not isinstance(said, dict)]
        return f"# {name}\n\n{markdown_table(('', ''), plain)}\n", pictures

    def kept(found: re.Match) -> str:
        path = source.parent / found[1]
        if path.parent != source.parent or not path.is_file():  # what lies elsewhere the hub would not show
            return ""
        pictures.append(path)
        return found[0]

    return PICTURE.sub(kept, own.read_text(encoding="utf-8")), pictures


def from_pretrained(
    name: str | PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    **how: object,
) -> "QualityMetric":
    """The metric, see `koniq.plugs.metric`, of a folder as `save_pretrained` writes it, or of a repository of the hub.

    name: a folder; or owner/name, where there is no such folder. revision, token, cache_dir, local_files_only: as
    huggingface_hub takes them. how: as `koniq.plugs.metric` takes it. Weights are loaded entirely or not at all: a
    missing array, one too many and another shape raise InputError, as does a folder without weights or record, and, of
    a repository, the absence of huggingface_hub. RunStopped where the hub does not answer.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _fetched(fspath(name), revision, token, cache_dir, local_files_only)
    if lacking := [each for each in (HUB_WEIGHTS, HUB_RECORD) if not (folder / each).is_file()]:
        raise InputError(
            f"{folder} should have {HUB_RECORD} and {HUB_WEIGHTS}. Received: no {' and no '.join(lacking)}"
        )
    return metric(folder / HUB_WEIGHTS, **how)


def _fetched(name: str, revision: str | None, token: str | None, cache_dir: object, local_files_only: bool) -> Path:
    if not REPO.fullmatch(name):
        raise InputError(f"name should be a folder, or owner/name of the hub. Received: {name!r}")
    needs_hub()
    from huggingface_hub import errors, hf_hub_download

    asked = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    try:
        paths = [Path(hf_hub_download(name, each, **asked)) for each in (HUB_RECORD, HUB_WEIGHTS)]
    except errors.LocalEntryNotFoundError as error:  # it does not answer, and nothing was kept
        raise RunStopped(f"The hub did not give {name}: {_first_line(error)}") from error
    except (
        *(errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError),
        errors.HFValidationError,
    ) as error:
        raise InputError(
            f"{name} should be a folder, or on the hub with {HUB_RECORD} and {HUB_WEIGHTS}. "
            f"Received: {_first_line(error)}"
        ) from error
    except OSError as error:
        raise RunStopped(f"The hub did not give {name}: {_first_line(error)}") from error
    return paths[0].parent


def push(
    weights: str | PathLike[str],
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    license: str = "",
    message: str = "Weights, their record and their card",
) -> str:
    """Put weights on the hub as `repository`, owner/name, made if it is not there; returns the commit's address.

    What `save_pretrained` writes is uploaded in one commit. Raises InputError where huggingface_hub is not installed,
    and whatever that does where the hub refuses.
    """
    if not REPO.fullmatch(repository):
        raise InputError(f"repository should be owner/name. Received: {repository!r}")
    needs_hub()
    from huggingface_hub import HfApi

    with TemporaryDirectory() as temporary:
        folder = save_pretrained(weights, Path(temporary, repository.partition("/")[2]), license=license)
        api = HfApi(token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, revision=revision, repo_type="model"
        )
    return str(done)


def needs_hub() -> None:
    """Raise InputError where huggingface_hub is not installed."""
    if not find_spec("huggingface_hub"):
        raise InputError(f"huggingface_hub should be installed for this: {install('hub')}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

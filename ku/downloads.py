"""Archives from the network, unpacked into one folder and nowhere else."""

import re
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from tqdm import tqdm

from ku.files import atomic_path


def download_archive(
    data_url: str,
    data_root: str | Path,
    cache_root: str | Path | None = None,
    delete_archive: bool = True,
    verbose: bool = False,
    archive_type: str | None = None,
) -> Path:
    """Download the zip or tar archive at `data_url`, extract it into `data_root` and return that folder.

    The archive is kept in `cache_root` (default: data_root), where one downloaded before is used again, until
    delete_archive. archive_type: 'zip' or 'tar' (any compression); None tells by the name. Raises ValueError
    for another type and for a member that would leave `data_root`, OSError for a failed or short download.
    """
    name = unquote(urlsplit(data_url).path).rpartition("/")[2]
    ending = re.search(r"(^|\.)(?:(zip)|tar(\.\w+)?|t(gz|bz2?|xz))$", (archive_type or name).lower())
    if not name or not ending:
        raise ValueError(
            "data_url should end in the name of a zip or tar archive, or archive_type be 'zip' or 'tar'. "
            f"Received: data_url={data_url!r}, archive_type={archive_type!r}"
        )
    data_root = Path(data_root)
    data_root.mkdir(parents=True, exist_ok=True)
    archive = Path(cache_root or data_root) / name
    if not archive.exists():
        _download(data_url, archive, verbose)
    try:
        (_extract_zip if ending[2] else _extract_tar)(archive, data_root)
    except (zipfile.BadZipFile, tarfile.ReadError) as error:
        archive.unlink()
        raise ValueError(
            f"data_url should lead to a zip or tar archive ({error}). Received: data_url={data_url!r}"
        ) from error
    if delete_archive:
        archive.unlink()
    return data_root


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.namelist():
            if not (folder / member).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"Archive members should stay in {folder}. Received: member={member!r}")
        file.extractall(folder)


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        try:
            file.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise ValueError(
                f"Archive members should stay in {folder}. Received: member={error.tarinfo.name!r}"
            ) from error


def _download(url: str, path: Path, verbose: bool) -> None:
    with urlopen(url, timeout=60) as response, atomic_path(path) as temporary:
        expected = int(response.headers.get("Content-Length") or 0)
        bar = tqdm(total=expected or None, unit="B", unit_scale=True, desc=path.name, disable=not verbose)
        with temporary.open("wb") as file, bar:
            while block := response.read(1 << 20):
                file.write(block)
                bar.update(len(block))
        if expected and (size := temporary.stat().st_size) != expected:
            raise OSError(f"{url} should have {expected} bytes. Received: {size} bytes")

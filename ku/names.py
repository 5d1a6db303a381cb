"""File names that say by which parameters a file was made, legal on every system."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from ku.containers import check_keys_exist, force_list


class ShortNameBuilder(dict):
    """A dict of parameters that, called, builds a file name: the prefix, then each key with its value.

    Keys are sorted. The name is legal on Linux, macOS and Windows and at most 200 bytes long.
    sep: what stands between key and value, and between parts.
    max_len: bytes of the longest value; of a longer one the end becomes a digest of the whole.

    >>> ShortNameBuilder("koncept", loss="mse", bsz=8)(lr=0.1)
    'koncept_bsz8_lossmse_lr0.1'
    """

    def __init__(self, prefix: str = "", sep: Sequence[str] = ("", "_"), max_len: int = 32, **parts):
        super().__init__(parts)
        self.prefix = prefix
        self.sep = tuple(sep)
        self.max_len = max_len

    def __call__(self, **updates) -> str:
        """Return the name, with `updates` put in for this once."""
        between, after = self.sep
        parts = {**self, **updates}
        texts = [f"{key}{between}{_shortened(_text(parts[key]), self.max_len)}" for key in sorted(parts)]
        return _legal_name(after.join([self.prefix, *texts] if self.prefix else texts))

    def subset(self, keys: str | Sequence[str]) -> "ShortNameBuilder":
        """Return a builder of the same form with only these keys."""
        keys = force_list(keys)
        check_keys_exist(keys, self)
        return ShortNameBuilder(self.prefix, self.sep, self.max_len, **{key: self[key] for key in keys})


def _text(value: Any) -> str:
    """A text for `value` that is the same in every process, so without addresses."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if hasattr(value, "__name__"):
        return value.__name__
    return type(value).__name__ if type(value).__repr__ is object.__repr__ else str(value)


def _shortened(text: str, max_len: int) -> str:
    data = text.encode()
    if len(data) <= max_len:
        return text
    digest = hashlib.sha256(data).hexdigest()[:8]
    return (data[: max(max_len - 9, 0)].decode(errors="ignore") + "-" + digest)[-max_len:]


def _legal_name(text: str) -> str:
    text = _shortened(re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "-", text), 200).rstrip(". ")
    reserved = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", text, re.IGNORECASE)
    return f"_{text}" if reserved else text

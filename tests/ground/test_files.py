import hashlib
import json

import pandas as pd
import pytest

from koniq.ground.files import digest_of, file_hash, write_csv, write_json


def test_hashes_are_those_of_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"some bytes")
    assert file_hash(path) == hashlib.sha256(b"some bytes").hexdigest()
    assert digest_of(path, "md5:") == "md5:" + hashlib.md5(b"some bytes").hexdigest()


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json({"b": 1, "a": 2}, path, sort_keys=True)
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 2, "b": 1}
    table = tmp_path / "a.csv"
    write_csv(pd.DataFrame({"x": [1, 2]}), table)
    assert table.read_text() == "x\n1\n2\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.json"]

"""Addresses in stores: joined and shown, without what opens them."""

import os
import pickle

import pytest

from koniq.ground.urls import Known, Remote, is_url, place_of, public


@pytest.mark.parametrize("text", ["s3://bucket/a", "gs://bucket", "https://host/list.csv", "memory://a", "s3a://b/c"])
def test_an_address_is_no_path(text):
    assert is_url(text)
    assert isinstance(place_of(text), Remote)


@pytest.mark.parametrize("text", ["C:/photos", "C:\\photos", "C://photos", "photos", "/a/s3://b", "s3:/b", "", "://"])
def test_a_path_is_no_address(text):
    assert not is_url(text)
    assert not isinstance(place_of(text), Remote)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a@b/c?d.jpg", "s3://bucket/a@b/c?d.jpg"),
        ("https://me:pass@host/a.jpg", "https://host/a.jpg"),
        ("ftp://me@host/a.jpg", "ftp://host/a.jpg"),
        ("https://h/a?X-Amz-Signature=1&X-Amz-Date=2", "https://h/a"),
        ("https://h/a?id=5&token=abc&w=2", "https://h/a?id=5&w=2"),
        ("https://h/a?api_key=abc&w=2", "https://h/a?w=2"),
        ("https://h/a?sv=1&se=2&sr=b&sp=r&sig=abc", "https://h/a"),
        ("GET https://me:pass@h/a?sig=b failed, twice", "GET https://h/a failed, twice"),
        ("no address at all?token=1", "no address at all?token=1"),
    ],
)
def test_what_opens_a_store_is_not_shown(text, shown):
    assert public(text) == shown


def test_names_are_joined_as_paths_are():
    root = Remote("s3://bucket/life")
    assert (root / "2016/a.jpg").url == "s3://bucket/life/2016/a.jpg"
    assert (root / "../b.jpg").url == "s3://bucket/b.jpg"
    assert (root / "what? #1.jpg").url == "s3://bucket/life/what? #1.jpg"
    assert (root / "https://host/a.jpg").url == "https://host/a.jpg"
    assert (root / "/a.jpg").url == "s3://bucket/life//a.jpg"  # a key may begin with a slash
    assert (root.name, root.parent.url, (root / "a.JPG").suffix) == ("life", "s3://bucket", ".JPG")
    assert root.parent.parent == root.parent
    signed = Remote("https://me:pass@host/a/list.csv?sig=1")
    assert (signed.name, signed.suffix) == ("list.csv", ".csv")
    assert (signed.parent / "what?.jpg").url == "https://me:pass@host/a/what%3F.jpg?sig=1"
    assert str(signed.parent / "b.jpg") == "https://host/a/b.jpg"
    assert "pass" not in repr(signed)
    assert os.fspath(signed) == signed.url
    assert root.resolve() is root
    assert place_of("memory://").url == "memory://"
    assert (place_of("memory://") / "a.jpg").url == "memory://a.jpg"


def test_what_a_list_has_told_goes_with_the_file():
    root = Remote("s3://bucket/life", listed={"a.jpg": Known(5, 7)})
    assert (root / "a.jpg").known == Known(5, 7)
    assert (root / "b.jpg").known is None
    assert pickle.loads(pickle.dumps(root / "a.jpg")).known == Known(5, 7)
    assert root == Remote("s3://bucket/life")

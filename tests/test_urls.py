"""Which texts are absolute URLs, and which hosts exist only on the caller's own network."""

from __future__ import annotations

import pytest

from fetch_hive_sdk.urls import absolute_url, is_private


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example/v1",
        "http://localhost:8787",
        "https://[::1]:1/x",
        "https://bücher.example",
        "https://a.b./x",
    ],
)
def test_absolute(text: str) -> None:
    """An absolute URL of any host form is parsed."""
    assert absolute_url(text).host


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "this is not an absolute URL, with https:// in front"),
        ("/path?key=s3cret", "this is not an absolute URL, with https:// in front"),
        ("https://", "this is not an absolute URL, with https:// in front"),
        ("https://h:port/s3cret", "this is not a URL"),
        ("https://h\ns3cret", "this is not a URL"),
        ("http://xn--/s3cret", "this is not a URL"),
        ("http://a b/s3cret", "it has a space in it"),
        ("http://a..b/s3cret", "its host is not a host name"),
        (f"http://{'a' * 64}.com/s3cret", "its host is not a host name"),
        ("http://h:0/s3cret", "its port is not between 1 and 65535"),
        ("http://h:99999/s3cret", "its port is not between 1 and 65535"),
    ],
)
def test_not_absolute(text: str, problem: str) -> None:
    """What cannot be reached is refused with the reason, and never quoted."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        absolute_url(text)


@pytest.mark.parametrize(
    ("host", "private"),
    [("localhost", True), ("127.0.0.1", True), ("10.1.2.3", True), ("app", True), ("x.internal", True), ("::1", True),
     ("example.com", False), ("8.8.8.8", False)],
)  # fmt: skip
def test_private(host: str, private: bool) -> None:
    """Loopback, private addresses and local names are private."""
    assert private is is_private(host)

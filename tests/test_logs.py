"""The SDK's logger, and what `FETCH_HIVE_LOG` makes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fetch_hive_sdk.logs import logger, setup_from_environment


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    handlers, level = logger.handlers[:], logger.level
    logger.handlers[:] = [handler for handler in handlers if isinstance(handler, logging.NullHandler)]
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def stream_handlers() -> list[logging.StreamHandler[object]]:
    return [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]


def test_quiet_by_default(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the variable nothing is printed, not even a warning."""
    monkeypatch.delenv("FETCH_HIVE_LOG", raising=False)

    setup_from_environment()
    logger.propagate = False
    try:
        logger.warning("a warning")
    finally:
        logger.propagate = True

    assert "fetch_hive_sdk" == logger.name
    assert [] == stream_handlers()
    assert ("", "") == capsys.readouterr()


@pytest.mark.parametrize("word", ["", " "])
def test_blank(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """A blank variable is none."""
    monkeypatch.setenv("FETCH_HIVE_LOG", word)

    setup_from_environment()

    assert [] == stream_handlers()


@pytest.mark.parametrize(
    ("word", "printed"),
    [
        ("debug", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        (" info ", ["INFO", "WARNING", "ERROR"]),
        ("Warning", ["WARNING", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
def test_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, printed: list[str]
) -> None:
    """The variable prints the log to standard error from its level on, with the logger's name."""
    monkeypatch.setenv("FETCH_HIVE_LOG", word)

    setup_from_environment()
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        logger.log(getattr(logging, level), "at %s", level)

    output = capsys.readouterr()
    assert "" == output.out
    assert [f"{level} fetch_hive_sdk: at {level}" for level in printed] == [
        line.split(maxsplit=2)[2] for line in output.err.splitlines()
    ]


def test_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """However many clients are made, each line is printed once."""
    monkeypatch.setenv("FETCH_HIVE_LOG", "info")

    for _ in range(3):
        setup_from_environment()
    logger.info("once")

    assert 1 == len(capsys.readouterr().err.splitlines())
    assert 1 == len(stream_handlers())


def test_unknown_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown word is said in one warning that names the known ones, and changes no level."""
    monkeypatch.setenv("FETCH_HIVE_LOG", "Verbose")
    level = logger.level

    for _ in range(2):
        setup_from_environment()

    lines = capsys.readouterr().err.splitlines()
    assert 1 == len(lines)
    assert lines[0].endswith(
        "WARNING fetch_hive_sdk: FETCH_HIVE_LOG is 'verbose'; it can be debug, info, warning or error"
    )
    assert level == logger.level


def test_other_loggers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loggers of httpx and of the application are left alone."""
    others = [logging.getLogger(), logging.getLogger("httpx"), logging.getLogger("httpcore")]
    before = [(other.handlers[:], other.level, other.propagate) for other in others]
    monkeypatch.setenv("FETCH_HIVE_LOG", "debug")

    setup_from_environment()

    assert before == [(other.handlers[:], other.level, other.propagate) for other in others]

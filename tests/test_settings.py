"""The settings of a client: argument, then environment, then default; each refused with its fix if it is wrong."""

from __future__ import annotations

import copy
import pickle
import types
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import RetryPolicy
from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.settings import DEFAULT_BASE_URL, Settings

INFINITY = float("inf")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FETCH_HIVE_API_KEY", raising=False)
    monkeypatch.delenv("FETCH_HIVE_BASE_URL", raising=False)


def resolve(**given: Any) -> Settings:
    return Settings.resolve(**{"api_key": "fhk_test", "base_url": None, **given})


def refusal(**given: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        resolve(**given)
    assert isinstance(caught.value, ValueError)
    assert caught.value.hint
    return caught.value


# --- where a setting comes from -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "environment", "key"),
    [
        ("fhk_a", "fhk_e", "fhk_a"),
        (None, "fhk_e", "fhk_e"),
        ("fhk_a", None, "fhk_a"),
        (" fhk_a\n", None, "fhk_a"),
        (None, "fhk_e\r\n", "fhk_e"),
    ],
)
def test_api_key(monkeypatch: pytest.MonkeyPatch, argument: str | None, environment: str | None, key: str) -> None:
    """The key is the argument's, else the environment's, without the white space that copying leaves around it."""
    if environment is not None:
        monkeypatch.setenv("FETCH_HIVE_API_KEY", environment)

    assert key == resolve(api_key=argument).api_key


@pytest.mark.parametrize(
    ("argument", "environment", "base_url"),
    [
        (None, None, "https://api.fetchhive.com/v1"),
        (None, "http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://proxy.example/v1", "http://localhost:8000/v1", "https://proxy.example/v1"),
        ("https://proxy.example/v1/", None, "https://proxy.example/v1"),
        (" https://proxy.example/v1\n", None, "https://proxy.example/v1"),
        ("HTTPS://PROXY.example/v1", None, "https://proxy.example/v1"),
        ("http://[::1]:8000", None, "http://[::1]:8000"),
        (None, "", "https://api.fetchhive.com/v1"),
    ],
)
def test_base_url(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, environment: str | None, base_url: str
) -> None:
    """The address is the argument's, else the environment's, else the service's, without a slash at its end."""
    if environment is not None:
        monkeypatch.setenv("FETCH_HIVE_BASE_URL", environment)

    assert base_url == resolve(base_url=argument).base_url


def test_defaults() -> None:
    """Without arguments the settings are those of the documentation."""
    settings = resolve()

    assert (DEFAULT_BASE_URL, 300.0, 60.0) == (settings.base_url, settings.timeout, settings.idle_timeout)
    assert RetryPolicy() == settings.retry_policy
    assert ({}, {}) == (settings.default_headers, settings.default_metadata)


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [None, "fhk_e"])
def test_empty_api_key(monkeypatch: pytest.MonkeyPatch, environment: str | None) -> None:
    """An empty key is refused, and does not silently become the environment's."""
    if environment is not None:
        monkeypatch.setenv("FETCH_HIVE_API_KEY", environment)

    assert "api_key: it is empty." == refusal(api_key="").message


@pytest.mark.parametrize("environment", [None, ""])
def test_no_api_key(monkeypatch: pytest.MonkeyPatch, environment: str | None) -> None:
    """A missing key is refused with both places it can stand in, and the way to work without one."""
    if environment is not None:
        monkeypatch.setenv("FETCH_HIVE_API_KEY", environment)
    error = refusal(api_key=None)

    assert "No API key: neither api_key= nor the environment variable FETCH_HIVE_API_KEY is set." == error.message
    assert "Sandbox().client()" in error.hint


@pytest.mark.parametrize(
    "key", [" ", "\n", "fhk s3cret", "fhk_s3cret\nX: y", "fhk_s3cr\u00e9t", "fhk_s3cret\0", "\u200bfhk_s3cret"]
)
def test_bad_api_key(key: str) -> None:
    """A key that cannot be one is refused without being shown."""
    error = refusal(api_key=key)

    assert error.message.startswith("api_key: the key is blank, or has a space, a line break or a character outside")
    assert "s3cr" not in str(error)


@pytest.mark.parametrize(("key", "kind"), [(5, "an int"), (b"fhk_s3cret", "a bytes"), (["fhk_s3cret"], "a list")])
def test_api_key_of_another_type(key: object, kind: str) -> None:
    """A key of another type is refused by its type alone."""
    assert f"api_key: {kind} is not allowed." == refusal(api_key=key).message


def test_empty_base_url() -> None:
    """An empty address, as of a variable that is not set, never means the service, where calls are billed."""
    error = refusal(base_url="")

    assert "base_url: it is empty." == error.message
    assert "leave base_url= out" in error.hint


@pytest.mark.parametrize(
    "base_url",
    [
        "api.fetchhive.com/v1",
        "/v1",
        "//api.fetchhive.com/v1",
        "https://",
        "https:///v1",
        "ftp://api.fetchhive.com/v1",
        "file:///etc",
        "localhost:8000",
        " ",
        "https://host:port/v1",
        "https://ho\0st/v1",
        "https://[::1/v1",
        "https://host/\ud800",
    ],
)
def test_bad_base_url(base_url: str) -> None:
    """An address that is not an absolute http(s) URL is refused with an example of one."""
    error = refusal(base_url=base_url)

    assert error.message.startswith("base_url: ")
    assert f"Pass an absolute http(s) address such as {DEFAULT_BASE_URL}." == error.hint


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        (5, "an int"),
        (b"https://h", "a bytes"),
        (0, "an int"),
        (False, "a bool"),
        (b"", "a bytes"),
        (httpx.URL("https://h"), "an URL"),
    ],
)
def test_base_url_of_another_type(base_url: object, kind: str) -> None:
    """An address of another type is refused by its type."""
    assert f"base_url: {kind} is not allowed." == refusal(base_url=base_url).message


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:s3cret@api.example/v1",
        "https://s3cret@api.example/v1",
        "https://api.example/v1?key=s3cret",
        "https://api.example/v1#s3cret",
        "https://api.example/v1?",
        "https://api.example/v1#",
        "user:s3cret@api.example/v1",
        "ftp://user:s3cret@api.example/v1",
        "api.example/v1?key=s3cret",
    ],
)
def test_base_url_with_more(base_url: str) -> None:
    """An address with a user, a query or a fragment, even an empty one, is refused without being shown."""
    error = refusal(base_url=base_url)

    assert error.message.startswith("base_url: ")
    assert "s3cret" not in f"{error}{error!r}"


@pytest.mark.parametrize("name", ["timeout", "idle_timeout"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (float("nan"), "nan"),
        (-INFINITY, "-inf"),
        (True, "True"),
        (False, "False"),
        ("30", "a str"),
        ([30], "a list"),
    ],
)
def test_bad_seconds(name: str, value: object, shown: str) -> None:
    """Seconds that are no number above 0 are refused by name."""
    error = refusal(**{name: value})

    assert f"{name}: {shown} is not allowed." == error.message
    assert 'float("inf") means no limit' in error.hint


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (-1, "-1"), (1.5, "1.5"), (INFINITY, "inf"), (True, "True"), ("30", "a str"), ([30], "a list")],
)
def test_bad_max_event_size(value: object, shown: str) -> None:
    """A size that is no whole number above 0 is refused by name."""
    error = refusal(max_event_size=value)

    assert f"max_event_size: {shown} is not allowed." == error.message
    assert "bytes as a whole number above 0" in error.hint


def test_max_event_size() -> None:
    """The largest event of a stream is 16 MiB unless another size is set, and can be changed."""
    settings = resolve(max_event_size=1)

    assert (16 * 1024 * 1024, 1, 5) == (
        resolve().max_event_size,
        settings.changed().max_event_size,
        settings.changed(max_event_size=5).max_event_size,
    )


def test_idle_timeout_has_no_phases() -> None:
    """An httpx.Timeout sets the phases of a call; for the idle time of a stream it is refused."""
    assert "idle_timeout: a Timeout is not allowed." == refusal(idle_timeout=httpx.Timeout(5)).message


@pytest.mark.parametrize("value", [3, "safe", {"max_retries": 3}])
def test_bad_retry_policy(value: object) -> None:
    """A retry policy of another type is refused."""
    error = refusal(retry_policy=value)

    assert error.message.startswith("retry_policy: ")
    assert "Pass a RetryPolicy(...)." == error.hint


@pytest.mark.parametrize("value", [-1, True, 1.5, "2"])
def test_bad_max_retries(value: object) -> None:
    """A number of retries that is no whole number from 0 is refused."""
    assert f"max_retries: {value!r} is not allowed." == refusal(max_retries=value).message


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("X-A", "1")], "default_headers: a list is not allowed."),
        ("X-A: 1", "default_headers: a str is not allowed."),
        ({"": "1"}, "default_headers: '' is not a header name."),
        ({"X A": "1"}, "default_headers: 'X A' is not a header name."),
        ({"X-A:": "1"}, "default_headers: 'X-A:' is not a header name."),
        ({"X-\u00e4": "1"}, "default_headers: 'X-\u00e4' is not a header name."),
        ({"X-A\n": "1"}, "default_headers: 'X-A\\n' is not a header name."),
        ({5: "1"}, "default_headers: 5 is not a header name."),
        ({b"X-A": "1"}, "default_headers: b'X-A' is not a header name."),
        ({"X-A": "s3cret\r\nX-B: 2"}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
        ({"X-A": "s3cr\u00e9t"}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
        ({"X-A": " s3cret"}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
        ({"X-A": 5}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
        ({"X-A": None}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
        ({"X-A": b"s3cret"}, "default_headers['X-A']: the value has to be a str of printable ASCII."),
    ],
)
def test_bad_headers(headers: object, message: str) -> None:
    """Headers that cannot be sent are refused by name, and no value is shown."""
    error = refusal(default_headers=headers)

    assert message == error.message
    assert "s3cr" not in str(error)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"tags": []},
            "default_metadata.tags: a list is not allowed; metadata is flat: str, int, float, bool or None.",
        ),
        ({"": 1}, "default_metadata: the key '' is not allowed."),
        ({"f": float("nan")}, "default_metadata.f: nan is not a number of JSON."),
        ([("a", 1)], "default_metadata: a list is not allowed."),
    ],
)
def test_bad_metadata(metadata: object, message: str) -> None:
    """Default metadata that is not flat is refused when the client is made, as a setting that is wrong."""
    assert message == refusal(default_metadata=metadata).message


@pytest.mark.parametrize("name", ["default_headers", "default_metadata"])
@pytest.mark.parametrize(("value", "kind"), [([], "a list"), ("", "a str"), (0, "an int"), (False, "a bool")])
def test_empty_values_of_another_type(name: str, value: object, kind: str) -> None:
    """An empty list or another empty value is no dict either."""
    assert f"{name}: {kind} is not allowed." == refusal(**{name: value}).message


# --- changing -----------------------------------------------------------------------------------------


def test_changed() -> None:
    """A change gives new settings with all the rest as it was, and leaves the old ones alone."""
    settings = resolve(timeout=10, max_retries=1)
    changed = settings.changed(timeout=20.5, idle_timeout=INFINITY)

    assert (20.5, INFINITY, 1) == (changed.timeout, changed.idle_timeout, changed.retry_policy.max_retries)
    assert (10.0, 60.0) == (settings.timeout, settings.idle_timeout)
    assert settings == settings.changed()


def test_headers_and_metadata_add_up() -> None:
    """Headers and metadata are added to those already set, and the later ones win."""
    settings = resolve(default_headers={"X-A": "1", "X-B": "1"}, default_metadata={"a": 1, "b": 1})
    changed = settings.changed(default_headers={"X-B": "2", "X-C": ""}, default_metadata={"b": None})

    assert {"X-A": "1", "X-B": "2", "X-C": ""} == changed.default_headers
    assert {"a": 1, "b": None} == changed.default_metadata
    assert {"X-A": "1", "X-B": "1"} == settings.default_headers


def test_callers_dicts_stay_theirs() -> None:
    """What the caller changes in its dicts afterwards changes no settings."""
    headers, metadata = {"X-A": "1"}, {"a": 1}
    settings = resolve(default_headers=headers, default_metadata=metadata)
    headers["X-A"], metadata["a"] = "2", 2

    assert ({"X-A": "1"}, {"a": 1}) == (settings.default_headers, settings.default_metadata)


def test_read_only_headers() -> None:
    """Any mapping of headers is accepted."""
    assert {"X-A": "1"} == resolve(default_headers=types.MappingProxyType({"X-A": "1"})).default_headers
    assert {"x-a": "1"} == resolve(default_headers=httpx.Headers({"X-A": "1"})).default_headers


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, RetryPolicy(max_retries=4)),
        ({"max_retries": 0}, RetryPolicy(max_retries=0)),
        ({"retry_policy": RetryPolicy(invokes="always")}, RetryPolicy(invokes="always")),
        (
            {"retry_policy": RetryPolicy(invokes="always"), "max_retries": 7},
            RetryPolicy(max_retries=7, invokes="always"),
        ),
    ],
)
def test_policy(given: dict[str, Any], policy: RetryPolicy) -> None:
    """`max_retries` is the short form of the policy and goes on top of it."""
    assert policy == resolve(max_retries=4).changed(**given).retry_policy


def test_frozen() -> None:
    """Settings cannot be changed in place."""
    with pytest.raises(AttributeError):
        resolve().timeout = 5  # type: ignore[misc]


def test_copies() -> None:
    """Settings survive pickle and copies, so that a client can travel."""
    settings = resolve(timeout=httpx.Timeout(5, read=7), default_headers={"X-A": "1"}, default_metadata={"a": 1})

    assert settings == pickle.loads(pickle.dumps(settings)) == copy.deepcopy(settings) == copy.copy(settings)


def test_repr() -> None:
    """The repr of settings shows where they lead, and neither the key nor a value of a header."""
    shown = repr(resolve(api_key="fhk_s3cret", default_headers={"X-Token": "s3cret"}, default_metadata={"a": "s3cret"}))

    assert "s3cret" not in shown
    assert DEFAULT_BASE_URL in shown


# --- timeouts -----------------------------------------------------------------------------------------


def phases(settings: Settings, *, streaming: bool) -> tuple[float | None, ...]:
    timeout = settings.phases(streaming=streaming)
    return timeout.connect, timeout.read, timeout.write, timeout.pool


@pytest.mark.parametrize(
    ("given", "whole", "plain", "streaming"),
    [
        ({}, 300.0, (5.0, 300.0, 300.0, 270.0), (5.0, 60.0, 300.0, 270.0)),
        ({"timeout": 2}, 2.0, (1.8, 2.0, 2.0, 1.8), (1.8, 60.0, 2.0, 1.8)),
        ({"timeout": 10**400}, INFINITY, (5.0, None, None, None), (5.0, 60.0, None, None)),
        ({"timeout": INFINITY}, INFINITY, (5.0, None, None, None), (5.0, 60.0, None, None)),
        ({"idle_timeout": INFINITY}, 300.0, (5.0, 300.0, 300.0, 270.0), (5.0, None, 300.0, 270.0)),
        (
            {"timeout": httpx.Timeout(9, connect=1, read=None), "idle_timeout": 3},
            INFINITY,
            (1.0, None, 9.0, 9.0),
            (1.0, 3.0, 9.0, 9.0),
        ),
    ],
)
def test_phases(
    given: dict[str, Any],
    whole: float,
    plain: tuple[float | None, ...],
    streaming: tuple[float | None, ...],
) -> None:
    """A number bounds the whole attempt, connecting at most 5 s; an httpx.Timeout sets the phases; streams idle."""
    settings = resolve(**given)

    assert whole == settings.attempt_limit
    assert plain == phases(settings, streaming=False)
    assert streaming == phases(settings, streaming=True)


@pytest.mark.parametrize("name", ["Authorization", "content-type", "ACCEPT", "Host", "Content-Length"])
def test_headers_of_the_sdk(name: str) -> None:
    """A default header that the SDK sets itself is refused rather than ignored."""
    assert f"default_headers: {name} is set by the SDK." == refusal(default_headers={name: "x"}).message

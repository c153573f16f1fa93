"""Published signatures: each is accepted or refused as its source says, and no forgery is accepted."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest

from fetch_hive_sdk import SIGNATURE_HEADER, CallbackVerificationError, CallbackVerifier
from trust.callback_vectors import VECTORS, Vector
from trust.callbacks import SECRET, agrees, forgeries, is_accepted, right_ones

EACH = pytest.mark.parametrize("vector", VECTORS, ids=[vector.source.split(": ")[0] for vector in VECTORS])


def mac_in(signature: str) -> bytes:
    """The bytes of a signature as its source writes it: hex, hex after `sha256=`, or base64 of either alphabet."""
    value = signature.removeprefix("sha256=")
    if all(digit in "0123456789abcdef" for digit in value):
        return bytes.fromhex(value)
    return base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_") + "=" * (-len(value) % 4))


@EACH
def test_published_value(vector: Vector) -> None:
    """A published value is accepted if it is a whole HMAC with SHA-256, and refused if it is a part or was changed."""
    assert agrees(vector)


@EACH
def test_published_value_is_copied_well(vector: Vector) -> None:
    """Python's own HMAC gives the published value: whole, or its beginning, or another where the source changed it."""
    mac, published = hmac.digest(vector.key, vector.message, "sha256"), mac_in(vector.signature)

    assert (mac == published) is vector.right
    if len(published) < 32:
        assert mac.startswith(published)
    elif vector.right:
        assert mac.hex() == CallbackVerifier(vector.key).sign(vector.message)


def test_all_of_rfc_4231() -> None:
    """All seven cases of RFC 4231 are tried, the truncated one among them."""
    cases = [vector for vector in VECTORS if vector.source.startswith("RFC 4231")]

    assert [True, True, True, True, False, True, True] == [vector.right for vector in cases]


def test_truncated_signature_is_malformed() -> None:
    """A MAC of 128 bits, as RFC 4231 has one, is told as malformed: it is no signature of this kind."""
    vector = next(vector for vector in VECTORS if not vector.right)

    with pytest.raises(CallbackVerificationError) as caught:
        CallbackVerifier(vector.key).verify(vector.message, {SIGNATURE_HEADER: vector.signature})
    assert "malformed_signature" == caught.value.reason


def test_no_forgery_is_accepted() -> None:
    """Flipped, cut, filled up, signed with another key or algorithm: nothing but the right signature is accepted."""
    verifier = CallbackVerifier(SECRET)
    tried: list[tuple[str, bytes, Any]] = list(forgeries(seed=0, count=200))

    assert len(tried) > 1_500
    assert [] == [why for why, body, signature in tried if is_accepted(verifier, body, signature)]


def test_right_ones_are_accepted() -> None:
    """A right signature is accepted on an empty body, a long one, one that is no text, and with blanks at its ends."""
    verifier = CallbackVerifier(SECRET)
    signed = [(what, body, hmac.digest(SECRET.encode(), body, "sha256").hex()) for what, body in right_ones()]

    assert [] == [what for what, body, signature in signed if not is_accepted(verifier, body, signature)]

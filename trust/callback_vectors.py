"""Published HMAC-SHA-256 values: what each says about a key, a message and a signature, and where it stands.

They are numbers of others, copied from their pages; the tests compute each once more with Python's `hmac`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

__all__ = ["VECTORS", "Vector"]


@dataclass(frozen=True)
class Vector:
    """A published value.

    Attributes:
        source: Where it stands.
        key: The secret.
        message: What is signed.
        signature: The signature as the source writes it.
        right: Whether it has to be accepted; a truncated or changed one must not.
    """

    source: str
    key: bytes
    message: bytes
    signature: str
    right: bool = True


def _url_safe(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_LARGER = b"This is a test using a larger than block-size key and a larger than block-size data. "
_LARGER += b"The key needs to be hashed before being used by the HMAC algorithm."

# https://www.rfc-editor.org/rfc/rfc4231#section-4
_RFC_4231: list[tuple[bytes, bytes, str]] = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (b"\xaa" * 131, _LARGER, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
]

# https://github.com/C2SP/wycheproof, testvectors_v1/hmac_sha256_test.json (Apache License 2.0): number of the case,
# key, message, tag.
_WYCHEPROOF: list[tuple[int, str, str, str]] = [
    (
        1,
        "1e225cafb90339bba1b24076d4206c3e79c355805d851682bc818baa4f5a7779",
        "",
        "b175b57d89ea6cb606fb3363f2538abd73a4c00b4a1386905bac809004cf1933",
    ),
    (
        2,
        "8159fd15133cd964c9a6964c94f0ea269a806fd9f43f0da58b6cd1b33d189b2a",
        "77",
        "dfc5105d5eecf7ae7b8b8de3930e7659e84c4172f2555142f1e568fc1872ad93",
    ),
    (
        8,
        "32fdeda39f98b4f4426c2d2ac00ab5dd4bfabb68f311447256ed6d3d3a51b154",
        "4163a9f77e41f5",
        "1b0103729f48c2772bb132aef9ebd6dd6aafc9145df6d5c514b233ee92ef4a00",
    ),
    (
        16,
        "9f3fd61a105202648ecff6074c95e502c1c51acd32ec538a5cce89ef841f7989",
        "2a76f2acdace42e3b779724946912c",
        "0226ee13cc05e2340135b3f4b27a9da1a160f6170fe805dadd98a3711ec9c421",
    ),
    (
        17,
        "6fa353868c82e5deeedac7f09471a61bf749ab5498239e947e012eee3c82d7c4",
        "aeed3e4d4cb9bbb60d482e98c126c0f5",
        "9ed7f0e73812a27a87a3808ee0c89a6456499e835974ba57c5aab2a0d8c69e93",
    ),
    (
        20,
        "186e248ad824e1eb93329a7fdcd565b6cb4eaf3f85b90b910777128d8c538d27",
        "92ef9ff52f46eccc7e38b9ee19fd2de3b37726c8e6ce9e1b96db5dda4c317902",
        "3fc1d73dd4a8858c1fc3d8c4a3f33ed5ad0c70210038394a5902cb26fe287348",
    ),
    (163, "a349ac0a9f9f74e48e099cc3dbf9a9c9", "", "3a8437b877b75cc08a4d8d7559a8fc6869a58c713da63d1d4b350d59b597e30c"),
    (
        164,
        "ac686ba0f1a51b4ec4f0b30492b7f556",
        "2fa43a14ae500507deb95ab5bd32b0fe",
        "008532a53d0c0ab22027ae249023375374e2239b959609e8339b05a15742a675",
    ),
    (
        165,
        "73ef9ef1a4225e51e3c1db3ace1fa24f",
        "ffad380d9aabb0acede5c1bf112925cdfc3d379fc2376a4fe2644490d0430ac3",
        "9c7cb9f7c207ec46d1e3c55764731c4ab5ddbae4e1401e52a895df0cff4787c9",
    ),
    (
        169,
        "8a0c46eb8a2959e39865330079763341e7439dab149694ee57e0d61ec73d947e1d5301cd974e18a5e0d1cf0d2c37e8aadd9fd589d57ef32e47024a99bc3f70c077",
        "",
        "f5bfb940561fb4db73ebba49bf2e4893bb0cca618a71b7ecf6aca38231e167ea",
    ),
    (
        170,
        "2877ebb81f80334fd00516337446c5cf5ad4a3a2e197269e5b0ad1889dfe2b4b0aaa676fac55b36ce3affc7f1092ab89c53273a837bd5bc94d1a9d9e5b02e9856f",
        "ba448db88f154f775028fdecf9e6752d",
        "1690ed4180642899e0deb9ec2270374e8b0a484217f5a682c524316eca219b64",
    ),
    (
        171,
        "21178e26bc28ffc27c06f762ba190a627075856d7ca6feab79ac63149b17126e34fd9e5590e0e90aac801df09505d8af2dd0a2703b352c573ac9d2cb063927f2af",
        "7d5f1d6b993452b1b53a4375760d10a20d46a0ab9ec3943fc4b07a2ce735e731",
        "e542ac8ac8f364bae4b7da8b7a0777df350f001de4e8cfa2d9ef0b15019496ec",
    ),
    # tags of 128 bits
    (166, "e34f15c7bd819930fe9d66e0c166e61c", "", "1d765ab9e29892f7bfec2975ad4bc2dc"),
    (
        172,
        "813e0c078c221375e80590ace6774eafd2d2c242350988d02efa550e05aecbe100c1b8bf154c932cf9e57177015c816c42bc7fbc71ceaa5328c7316b7f0f30330f",
        "",
        "bb6ab66f51e53fa086c9c61a26ca27e0",
    ),
]
_WYCHEPROOF_KEY = bytes(range(32))
_WYCHEPROOF_MODIFIED = [  # cases 28, 30 … 80: the empty message under the key 00 01 … 1f, and a tag that was changed
    "d28b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 28: flipped bit 0 in tag
    "d18b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 30: flipped bit 1 in tag
    "538b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 32: flipped bit 7 in tag
    "d38a42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 34: flipped bit 8 in tag
    "d38b42896d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 36: flipped bit 31 in tag
    "d38b42096c80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 38: flipped bit 32 in tag
    "d38b42096f80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 40: flipped bit 33 in tag
    "d38b42096d80f4df826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 42: flipped bit 63 in tag
    "d38b42096d80f45f836b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 44: flipped bit 64 in tag
    "d38b42096d80f45f026b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 46: flipped bit 71 in tag
    "d38b42096d80f45f824b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 48: flipped bit 77 in tag
    "d38b42096d80f45f826b45a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 50: flipped bit 80 in tag
    "d38b42096d80f45f826b44a9d4607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 52: flipped bit 96 in tag
    "d38b42096d80f45f826b44a9d7607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 54: flipped bit 97 in tag
    "d38b42096d80f45f826b44a955607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 56: flipped bit 103 in tag
    "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1ca",  # 58: flipped bit 248 in tag
    "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1c9",  # 60: flipped bit 249 in tag
    "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc18b",  # 62: flipped bit 254 in tag
    "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc14b",  # 64: flipped bit 255 in tag
    "d28b42096d80f45f836b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 66: flipped bits 0 and 64 in tag
    "d38b42896d80f4df826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb",  # 68: flipped bits 31 and 63 in tag
    "d38b42096d80f4df826b44a9d5607d672496a415d3f4a1a8c88e3bb9da8dc1cb",  # 70: flipped bits 63 and 127 in tag
    "2c74bdf6927f0ba07d94bb562a9f8218db695bea2c0b5e573771c44625723e34",  # 72: all bits of tag flipped
    "0000000000000000000000000000000000000000000000000000000000000000",  # 74: tag changed to all zero
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",  # 76: tag changed to all 1
    "530bc289ed0074df02ebc42955e0fd67a416249553742128480ebb395a0d414b",  # 78: msbs changed in tag
    "d28a43086c81f55e836a45a8d4617ce62597a514d2f5a0a9c98f3ab8db8cc0ca",  # 80: lsbs changed in tag
]

_SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

_OF_SERVICES = [
    Vector(
        "GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        b"It's a Secret to Everybody",
        b"Hello, World!",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    ),
    Vector(
        "Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack",
        b"8f742231b10e8888abcd99yyyzzz85a5",
        b"v0:1531420618:" + _SLACK_BODY,
        "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    ),
    Vector(
        "Svix, as of Standard Webhooks: https://docs.svix.com/receiving/verifying-payloads/how-manual",
        base64.b64decode("plJ3nmyCDGBKInavdOK15jsl"),
        b'msg_loFOjxBNrRLzqYUf.1731705121.{"event_type":"ping","data":{"success":true}}',
        "rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
    Vector(
        "JSON Web Signature: https://www.rfc-editor.org/rfc/rfc7515#appendix-A.1",
        _url_safe("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
]

VECTORS = [
    *(
        Vector(f"RFC 4231, case {number}", key, message, signature, right=len(signature) == 64)
        for number, (key, message, signature) in enumerate(_RFC_4231, 1)
    ),
    *_OF_SERVICES,
    *(
        Vector(f"Wycheproof, case {number}", bytes.fromhex(key), bytes.fromhex(message), tag, right=len(tag) == 64)
        for number, key, message, tag in _WYCHEPROOF
    ),
    *(
        Vector(f"Wycheproof, case {number}", _WYCHEPROOF_KEY, b"", tag, right=False)
        for number, tag in zip(range(28, 82, 2), _WYCHEPROOF_MODIFIED, strict=True)
    ),
]

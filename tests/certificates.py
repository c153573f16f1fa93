"""Certificates for the tests, and the TLS contexts made of them. They were made once, for tests alone."""

from __future__ import annotations

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

__all__ = ["CERTIFICATES", "client_context", "server_context"]

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBZTCCAQygAwIBAgICEAEwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
dXRob3JpdHkwIBcNMDAwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMBkxFzAV
BgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
Qe+KTZEQSWOcWPmQYdQuqo98sXtl7UKyK0ZbjzCR69sNXuYJeQtNeu4gg+dsKqNM
AHgkkwIcMF8o7HroR3fU8qNCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8E
BAMCAQYwHQYDVR0OBBYEFHJpLzaLH4HfS3DqkF6T51y3tCd4MAoGCCqGSM49BAMC
A0cAMEQCIFoGPQkjwmCe1G+gPcs9A6+LlVFR5tSKG3HFrEPQl0bjAiBEqfN1ODeF
3m2VY4CaFL52Y9DjNJUDFPIkGCNrPfoCCQ==
-----END CERTIFICATE-----
"""

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMM/6hazpF6CxHB6r
ofv4pRT3N7MN4OgDa+y7fV5Mxj2hRANCAAR70Qxp9yG4+zNB/qess0lztmtZE8RN
LJFCLN/KBvKPfGTrSSyC9e3YbFHwYiM3Kw0+VAsjWG6kj7+Sm5b756DD
-----END PRIVATE KEY-----
"""

# Of the authority above, but for the one that nobody vouches for.
CERTIFICATES = {
    "trusted": """\
-----BEGIN CERTIFICATE-----
MIIBhDCCASugAwIBAgICEAIwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
dXRob3JpdHkwIBcNMDAwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMBQxEjAQ
BgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHvRDGn3
Ibj7M0H+p6yzSXO2a1kTxE0skUIs38oG8o98ZOtJLIL17dhsUfBiIzcrDT5UCyNY
bqSPv5KblvvnoMOjZjBkMAwGA1UdEwEB/wQCMAAwFAYDVR0RBA0wC4IJbG9jYWxo
b3N0MB8GA1UdIwQYMBaAFHJpLzaLH4HfS3DqkF6T51y3tCd4MB0GA1UdDgQWBBRC
AMg16x7un/PL/rSAOUVlJtCojzAKBggqhkjOPQQDAgNHADBEAiBZdtLlld00EGXL
knNXR7uaVwUqz5peV586jfFXcHezqQIgEg/iZU7i4Mo4bbJ4ynntHBZpnWz906sw
vsObF8MJHT0=
-----END CERTIFICATE-----
""",
    "expired": """\
-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgICEAMwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
dXRob3JpdHkwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAUMRIwEAYD
VQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR70Qxp9yG4
+zNB/qess0lztmtZE8RNLJFCLN/KBvKPfGTrSSyC9e3YbFHwYiM3Kw0+VAsjWG6k
j7+Sm5b756DDo2YwZDAMBgNVHRMBAf8EAjAAMBQGA1UdEQQNMAuCCWxvY2FsaG9z
dDAfBgNVHSMEGDAWgBRyaS82ix+B30tw6pBek+dct7QneDAdBgNVHQ4EFgQUQgDI
Nese7p/zy/60gDlFZSbQqI8wCgYIKoZIzj0EAwIDSQAwRgIhAO0sIbVHXLKxSNMX
zgn4E01uLv7Vf3uug8GpPCVXZNFQAiEAkwCR0Hw+MRAAbGgKdxTVadlyXs/B/o4r
QFamfkGoCx4=
-----END CERTIFICATE-----
""",
    "wrong host": """\
-----BEGIN CERTIFICATE-----
MIIBljCCATugAwIBAgICEAQwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
dXRob3JpdHkwIBcNMDAwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMBwxGjAY
BgNVBAMMEWVsc2V3aGVyZS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEe9EMafchuPszQf6nrLNJc7ZrWRPETSyRQizfygbyj3xk60ksgvXt2GxR8GIj
NysNPlQLI1hupI+/kpuW++egw6NuMGwwDAYDVR0TAQH/BAIwADAcBgNVHREEFTAT
ghFlbHNld2hlcmUuZXhhbXBsZTAfBgNVHSMEGDAWgBRyaS82ix+B30tw6pBek+dc
t7QneDAdBgNVHQ4EFgQUQgDINese7p/zy/60gDlFZSbQqI8wCgYIKoZIzj0EAwID
SQAwRgIhALPaWDcteLfNSHulM1mTby4/6kIQt/b4HFGW9/lD2SDkAiEA/ydYMbv6
7vPuigkBoS1eArAyckv+eR3SzWJG3ia51vc=
-----END CERTIFICATE-----
""",
    "self-signed": """\
-----BEGIN CERTIFICATE-----
MIIBXzCCAQWgAwIBAgICEAUwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxo
b3N0MCAXDTAwMDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjAUMRIwEAYDVQQD
DAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR70Qxp9yG4+zNB
/qess0lztmtZE8RNLJFCLN/KBvKPfGTrSSyC9e3YbFHwYiM3Kw0+VAsjWG6kj7+S
m5b756DDo0UwQzAMBgNVHRMBAf8EAjAAMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAd
BgNVHQ4EFgQUQgDINese7p/zy/60gDlFZSbQqI8wCgYIKoZIzj0EAwIDSAAwRQIh
ALs4RTEQ+GeP4BJts+Y6WismY+4b00XpKYqrihddhMx+AiAQOpSeAqIHTyzE2pbD
RM6wrAQKIZUvjDjQxQQERuT6nQ==
-----END CERTIFICATE-----
""",
}


def server_context(certificate: str = "trusted") -> ssl.SSLContext:
    """The TLS context of a server on localhost that shows this one of the certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "certificate.pem")
        file.write_text(_KEY + CERTIFICATES[certificate], encoding="ascii")
        context.load_cert_chain(file)
    return context


@lru_cache(maxsize=1)
def client_context() -> ssl.SSLContext:
    """The TLS context of a client that trusts the authority, and nobody else."""
    return ssl.create_default_context(cadata=AUTHORITY)

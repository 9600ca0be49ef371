"""Signatures of Standard Webhooks 1.0 (github.com/standard-webhooks, spec/standard-webhooks.md): symmetric, `v1`.

Signed is `id.timestamp.body`, with HMAC-SHA256 under each secret: while secrets are rotated both are valid, and the
receiver takes what either one signed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from sinks.webhooks.secret_values import Secret

PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def signing_key(secret: Secret) -> bytes:
    """The key that a `whsec_` secret holds.

    Raises:
        ValueError: it is none: 24 to 64 bytes as base64 behind `whsec_`.
    """
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"must hold {PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes as base64")
    return key


def signature_headers(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a signed message; one signature for each key."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }

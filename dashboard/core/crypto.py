"""Encryption of stored secrets, with a key derived from SECRET_KEY."""

import base64

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def fernet(secret_keys: list[str]) -> MultiFernet:
    """Return a cipher that encrypts with the first key and decrypts with any."""
    keys = [
        HKDF(SHA256(), 32, salt=None, info=b"partner console: tokens").derive(key.encode())
        for key in secret_keys
    ]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

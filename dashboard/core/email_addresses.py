"""E-mail addresses: one canonical form for all spellings of an address."""

from unicodedata import normalize

import idna

from dashboard.core.text import casefolded

LONGEST = 254


def canonical(address: str) -> str:
    """Return the canonical form of an address, by which people and login attempts are found.

    The part before the @ is casefolded. The domain has the Unicode form of IDNA (UTS 46):
    bücher.example equals xn--bcher-kva.example; straße.example differs from strasse.example.
    A text that is not an address is casefolded, since login attempts with it count too.
    At most 254 characters (RFC 5321). Idempotent. Never raises.
    """
    local, at, domain = normalize(
        "NFKC", address[: 4 * LONGEST].encode("utf-8", "replace").decode()
    ).rpartition("@")
    if not at:
        return casefolded(address)[:LONGEST].strip()
    # A domain with invisible characters may be valid once these are removed.
    domain = (
        _unicode_domain(domain.strip()) or _unicode_domain(casefolded(domain)) or casefolded(domain)
    )
    return f"{casefolded(local)}@{domain}"[:LONGEST].strip()


def _unicode_domain(domain: str) -> str:
    """Return the IDNA form of a domain; empty if it is not valid."""
    try:
        return idna.decode(domain, uts46=True)
    except UnicodeError:
        # idna.IDNAError is a subclass.
        return ""

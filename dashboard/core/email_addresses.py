"""E-mail addresses: one form for all spellings of one address."""

from unicodedata import normalize

import idna

from dashboard.core.text import casefolded

LONGEST = 254


def canonical(address: str) -> str:
    """Give the one form by which a person is known, looked up, and by which attempts in their name are counted.

    The part before the @ is casefolded. The domain is as IDNA has it (UTS 46), in Unicode: bücher.example and
    xn--bcher-kva.example are one, straße.example and strasse.example are two. What is no address comes back casefolded, since
    what somebody typed is counted all the same. At most 254 characters (RFC 5321). Applied twice it changes nothing
    more. Never raises.
    """
    local, at, domain = normalize(
        "NFKC", address[: 4 * LONGEST].encode("utf-8", "replace").decode()
    ).rpartition("@")
    if not at:
        return casefolded(address)[:LONGEST].strip()
    # What cannot be read as it stands may be readable once characters that nobody sees are gone.
    domain = (
        _unicode_domain(domain.strip()) or _unicode_domain(casefolded(domain)) or casefolded(domain)
    )
    return f"{casefolded(local)}@{domain}"[:LONGEST].strip()


def _unicode_domain(domain: str) -> str:
    """Return a domain as IDNA has it; empty where it is none."""
    try:
        return idna.decode(domain, uts46=True)
    except UnicodeError:
        # idna.IDNAError is one.
        return ""

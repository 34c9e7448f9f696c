"""E-mail addresses: one form for all spellings of one address."""

from unicodedata import normalize

import idna

from dashboard.store.text import casefolded

LONGEST = 254


def canonical(address: str) -> str:
    """Give the one form by which a person is known, looked up, and by which attempts in their name are counted.

    The part before the @ is casefolded. The domain is as IDNA has it (UTS 46), in Unicode: bücher.example and
    xn--bcher-kva.example are one, straße.example and strasse.example are two. What is no address comes back casefolded, since
    what somebody typed is counted all the same. At most 254 characters (RFC 5321). Never raises.
    """
    local, at, domain = normalize("NFKC", address[: 4 * LONGEST].encode("utf-8", "replace").decode()).rpartition("@")
    if not at:
        return casefolded(address)[:LONGEST]
    try:
        domain = idna.decode(domain.strip(), uts46=True)
    except UnicodeError:
        # idna.IDNAError is one.
        domain = casefolded(domain)
    return f"{casefolded(local)}@{domain}"[:LONGEST]

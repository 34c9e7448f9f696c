"""Search the files that git knows for secrets (`make secrets`).

Exit code 1 if something looks like a secret. Uses detect-secrets: detectors of keys with a known
format for all files, and detectors of random text and variable names for files without examples. A
line that contains no secret ends with: pragma: allowlist secret
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parent.parent
SHAPES = (
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)
GUESSES = (
    {"name": "Base64HighEntropyString", "limit": 4.8},
    {"name": "HexHighEntropyString", "limit": 3.2},
    {"name": "KeywordDetector"},
    {"name": "BasicAuthDetector"},
)
# Not searched: checksums, vendored files, and examples that tests of redaction use.
NEVER = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-extras.txt",
    "static/vendor/",
    "tests/vendor/",
    "tests/data/",
)
PICTURES = (".png", ".svg")
EXAMPLES = ("tests/", "bench/", "dashboard/sandbox/", "examples/", "README.md", "docs/")
# Passwords of example addresses.
PLACEHOLDERS = {"password"}
FILTERS = (
    "detect_secrets.filters.allowlist.is_line_allowlisted",
    "detect_secrets.filters.heuristic.is_likely_id_string",
    "detect_secrets.filters.heuristic.is_templated_secret",
    "detect_secrets.filters.heuristic.is_indirect_reference",
    "detect_secrets.filters.heuristic.is_not_alphanumeric_string",
    "detect_secrets.filters.heuristic.is_sequential_string",
)


def scan(root: Path, names: Sequence[str]) -> list[str]:
    """Return what looks like a secret as file, line and kind, without its value."""
    shapes = [{"name": name} for name in SHAPES]
    examples = [name for name in names if name.startswith(EXAMPLES)]
    others = [name for name in names if not name.startswith(EXAMPLES)]
    found: set[str] = set()
    for plugins, chosen in ((shapes, examples), ([*shapes, *GUESSES], others)):
        with transient_settings(
            {"plugins_used": plugins, "filters_used": [{"path": path} for path in FILTERS]}
        ):
            secrets = SecretsCollection(root=str(root))
            for name in chosen:
                secrets.scan_file(name)
        found |= {
            f"{name}:{each.line_number}: {each.type}"
            for name, each in secrets
            if each.secret_value not in PLACEHOLDERS
        }
    return sorted(found)


def main() -> int:
    """Search the files and print the result; return the exit code."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    names = [
        name
        for name in listed.split("\0")
        if name and not name.startswith(NEVER) and not name.endswith(PICTURES)
    ]
    found = scan(ROOT, names)
    for each in found:
        print(each)
    print(f"{len(names)} files searched, {len(found)} possible secrets.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""The error of people who are managed: an invalid address, role, password or name."""


class PeopleError(ValueError):
    """An address, role, password or token name is invalid; the text says why."""

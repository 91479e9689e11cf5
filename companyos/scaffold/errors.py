"""What can go wrong while a repository is born or updated."""

from __future__ import annotations

from companyos.errors import IntegrityError, RefusedError, UnverifiableError, UserError

__all__ = ("AnswersError", "DestinationError", "PinError", "ScaffoldError", "TemplateError", "UpdateRefusedError")


class ScaffoldError(UserError):
    """A repository could not be rendered; nothing was left behind."""

    code = "scaffold"


class AnswersError(ScaffoldError, ValueError):
    """An answer is unknown to the template or does not validate."""

    code = "scaffold.answers"


class DestinationError(ScaffoldError, OSError):
    """The place to write to is taken, missing or not writable."""

    code = "scaffold.destination"


class TemplateError(IntegrityError):
    """The template that this installation carries is not what it was built with."""

    code = "scaffold.template"


class PinError(UnverifiableError):
    """There is no companyos wheel whose digest could be pinned in the new repository."""

    code = "scaffold.pin"


class UpdateRefusedError(RefusedError):
    """An update was not handed over; the repository is as it was."""

    code = "scaffold.update"

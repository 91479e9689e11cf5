"""One guarded call on trial: what was called, what left, and what is on record."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.authz.enforcement import with_obligations
from companyos.decision import Decision
from companyos.errors import CompanyOSError
from companyos.ports import Receipt

if TYPE_CHECKING:
    from companyos.decision import Obligation
    from companyos.ports import ObligationHandler, Personal

__all__ = ("Notebook", "Outcome", "Wiring", "allowed", "attempt")

CALLED = "called"
"""What stands in the notebook where the guarded call was made."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a service guards its calls with."""

    handlers: tuple[ObligationHandler, ...]
    """Who carries out which obligation."""
    enforce: Callable[..., Any] = with_obligations
    """What makes the call; it has the signature of `with_obligations`."""


class Notebook:
    """A ledger that keeps what it is given in memory, in order, and may be out of order itself."""

    def __init__(self, *, broken: bool = False) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self._broken = broken

    def append(
        self,
        type: str,  # noqa: A002 - the port's
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the port's
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
    ) -> Receipt:
        """Keep one entry."""
        del source, stream, subject
        if self._broken:
            raise OSError("the ledger is out of reach")
        self.entries.append((type, data))
        return Receipt(id or "", len(self.entries) - 1, b"", len(self.entries))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    calls: int
    """How often the guarded call was made."""
    left: Any
    """What left; None where nothing did."""
    error: BaseException | None
    """What was raised."""
    entries: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """What is on record, with a `called` where the guarded call was made."""

    @property
    def refused(self) -> bool:
        """Whether nothing was called and nothing left."""
        return self.calls == 0 and self.left is None and isinstance(self.error, CompanyOSError)

    def receipts(self, decision: Decision) -> list[tuple[str, str]]:
        """The obligations of the decision that have a receipt, each with its outcome."""
        return [
            (data["obligation"]["id"], data["outcome"])
            for _, data in self.entries
            if "obligation" in data and data.get("decision_id") == decision.audit_id
        ]


def allowed(*obligations: Obligation) -> Decision:
    """An allow on record, of now, that demands something."""
    return Decision.allowed("policy.trial", obligations=obligations).recorded(str(uuid.uuid4()))


def attempt(
    wiring: Wiring,
    decision: Decision,
    give: Callable[[], Any] = dict,
    *,
    context: Mapping[str, Any] | None = None,
    broken: bool = False,
) -> Outcome:
    """Make a guarded call, `give`, under a decision, and read what leaves to its end."""
    notebook, calls = Notebook(broken=broken), []

    def guarded() -> Any:
        calls.append(1)
        notebook.entries.append((CALLED, {}))
        return give()

    try:
        left = wiring.enforce(guarded, decision, handlers=wiring.handlers, ledger=notebook, context=context)
        left = b"".join(_bytes(left)).decode() if isinstance(left, Iterable) and _is_lines(left) else left
    except Exception as error:  # noqa: BLE001 - whatever it raises, nothing left
        return Outcome(len(calls), None, error, notebook.entries)
    return Outcome(len(calls), left, None, notebook.entries)


def _is_lines(value: object) -> bool:
    from companyos.authz.obligations.mask_lines import JsonLines

    return isinstance(value, JsonLines)


def _bytes(lines: Iterable[bytes | str]) -> Iterator[bytes]:
    for line in lines:
        yield line.encode() if isinstance(line, str) else bytes(line)

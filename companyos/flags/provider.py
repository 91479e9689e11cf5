"""Flags at run time: an OpenFeature provider over our file, which refuses what nobody owns and what is past its date.

Evaluation is flagd's (`openfeature-flagd-core`, in process): targeting by JsonLogic, `fractional`, `sem_ver`,
`starts_with`, `ends_with`.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos._extras import require

require("openfeature.contrib.tools.flagd.core", extra="flags")

from openfeature import api  # noqa: E402 - the line above says what to install when these are missing
from openfeature.contrib.tools.flagd.core import FlagdCore  # noqa: E402
from openfeature.event import ProviderEventDetails  # noqa: E402
from openfeature.exception import ErrorCode, FlagNotFoundError  # noqa: E402
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason  # noqa: E402
from openfeature.provider import AbstractProvider, Metadata  # noqa: E402

from companyos.flags.checks import utc_today  # noqa: E402
from companyos.flags.errors import FlagFileError  # noqa: E402
from companyos.flags.reading import DEFAULT_PATH, FlagFile, load  # noqa: E402
from companyos.flags.telemetry import EvaluationHook  # noqa: E402

if TYPE_CHECKING:
    from datetime import date

    from openfeature.client import OpenFeatureClient
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.hook import Hook

    from companyos.decision import Finding
    from companyos.flags.definition import Flag

__all__ = ("FileProvider", "client")

PROVIDER = "companyos-file"
RACY_SECONDS = 0.1
"""File times are coarse: a file this young may change again without its time changing, so it is read again."""
_log = logging.getLogger("companyos.flags")

ObjectValue = Sequence[FlagValueType] | Mapping[str, FlagValueType]
Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Loaded:
    flags: dict[str, Flag]
    core: FlagdCore
    signature: Signature | None
    """None while the file is too young for its time to be trusted."""


class FileProvider(AbstractProvider):
    """Evaluates the flags of one file; a change of the file counts from the next evaluation on.

    A flag without owner, without a date, past its date or malformed is *refused*: the caller gets the default that
    stands in the code, with reason ERROR and the finding as its message, and `on_violation` and the log
    `companyos.flags` hear of it once a day for each flag and rule. If a changed file cannot be read, the last good
    one stays in force with reason STALE, and the log says so.
    """

    def __init__(
        self,
        path: Path | str = DEFAULT_PATH,
        *,
        on_violation: Callable[[Finding], None] | None = None,
        today: Callable[[], date] = utc_today,
    ) -> None:
        super().__init__()
        self.path: Path = Path(path).absolute()
        """The file of flags."""
        self._on_violation = on_violation
        self._today = today
        self._lock = threading.Lock()
        self._told: set[tuple[str, str, date]] = set()
        self._failed: Signature | None = None
        self._stale = False
        self._loaded: _Loaded | None = None

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - OpenFeature's signature
        """Read the file for the first time.

        Raises:
            FlagFileError: it cannot be read.
        """
        self._loaded = self._read()

    def get_metadata(self) -> Metadata:
        """Name of the provider."""
        return Metadata(name=PROVIDER)

    def get_provider_hooks(self) -> list[Hook]:
        """A hook that notes every evaluation on the span in hand."""
        return [EvaluationHook()]

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Evaluate a flag whose variants are booleans."""
        return self._resolve("resolve_boolean_value", flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Evaluate a flag whose variants are texts."""
        return self._resolve("resolve_string_value", flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Evaluate a flag whose variants are whole numbers."""
        return self._resolve("resolve_integer_value", flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Evaluate a flag whose variants are numbers."""
        return self._resolve("resolve_float_value", flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: ObjectValue, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[ObjectValue]:
        """Evaluate a flag whose variants are lists or mappings."""
        return self._resolve("resolve_object_value", flag_key, default_value, evaluation_context)

    def _resolve(
        self, method: str, key: str, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        loaded = self._fresh()
        flag = loaded.flags.get(key)
        if flag is None:
            raise FlagNotFoundError(f"no flag {key!r} in {self.path.name}")
        today = self._today()
        refusal = flag.refusal(today)
        if refusal is not None:
            self._tell(key, refusal, today)
            return FlagResolutionDetails(
                default, error_code=ErrorCode.GENERAL, error_message=refusal.message, reason=Reason.ERROR
            )
        details: FlagResolutionDetails[Any] = getattr(loaded.core, method)(key, default, context)
        if self._stale:
            details.reason = Reason.STALE
        return details

    def _tell(self, key: str, refusal: Finding, today: date) -> None:
        told = (key, refusal.rule, today)
        with self._lock:
            if told in self._told:
                return
            self._told = {other for other in self._told if other[2] == today} | {told}
        _log.warning("flag refused: %s (%s)", refusal.message, refusal.rule)
        if self._on_violation is not None:
            self._on_violation(refusal)

    def _fresh(self) -> _Loaded:
        with self._lock:
            loaded = self._loaded
            signature = _signature(self.path)
            if loaded is not None and signature is not None and signature == loaded.signature:
                self._stale = False
                return loaded
            if loaded is None or signature is None or signature != self._failed:
                return self._reload(loaded, signature)
            return loaded

    def _reload(self, loaded: _Loaded | None, signature: Signature | None) -> _Loaded:
        try:
            self._loaded = self._read()
        except FlagFileError as error:
            if loaded is None:
                raise
            if not self._stale:
                _log.error("flags are stale: %s", error)
                self.emit_provider_stale(ProviderEventDetails(message=str(error)))
            self._stale, self._failed = True, signature
            return loaded
        changed = loaded is None or _definitions(loaded) != _definitions(self._loaded)
        self._stale, self._failed = False, None
        if changed:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(self._loaded.flags)))
        return self._loaded

    def _read(self) -> _Loaded:
        signature = _signature(self.path)
        file = load(self.path)
        young = signature is not None and time.time() - signature[0] / 1e9 < RACY_SECONDS
        return _Loaded({flag.key: flag for flag in file.flags}, _core(file), None if young else signature)


def client(
    path: Path | str = DEFAULT_PATH,
    *,
    domain: str | None = None,
    on_violation: Callable[[Finding], None] | None = None,
    today: Callable[[], date] = utc_today,
) -> OpenFeatureClient:
    """An OpenFeature client for the flags in `path`: `client().get_boolean_value("new-checkout", False)`.

    Asked again for the same file it gives a client of the same provider, unless other arguments are given too.
    `domain` is OpenFeature's name for the pairing of clients and provider; by default it is made of the path.

    Raises:
        FlagFileError: the file cannot be read.
        MissingExtraError: the extra `[flags]` is not installed.
    """
    file = Path(path).absolute()
    name = domain or f"companyos:{file}"
    plain = on_violation is None and today is utc_today
    known = api.get_client(name)
    if plain and isinstance(known.provider, FileProvider) and known.provider.path == file:
        return known
    api.set_provider_and_wait(FileProvider(file, on_violation=on_violation, today=today), name)
    return api.get_client(name)


def _core(file: FlagFile) -> FlagdCore:
    # flagd takes a file whole or not at all, and alters what it is given: hand it a copy of what is sound.
    sound = {
        flag.key: copy.deepcopy(dict(flag.definition))
        for flag in file.flags
        if not any(problem.rule.endswith((".shape", ".duplicate")) for problem in flag.problems)
    }
    core = FlagdCore()
    try:
        core.set_flags({"flags": sound, "$evaluators": copy.deepcopy(dict(file.evaluators))})
    except Exception as error:  # flagd raises errors of several kinds for a file that it cannot take
        raise FlagFileError(f"{file.path} cannot be evaluated", got=error) from error
    return core


def _definitions(loaded: _Loaded) -> dict[str, Mapping[str, Any]]:
    return {key: flag.definition for key, flag in loaded.flags.items()}


def _signature(path: Path) -> Signature | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns

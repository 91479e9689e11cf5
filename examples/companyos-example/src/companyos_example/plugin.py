"""What CompanyOS finds through the entry point `example`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos import hookimpl
from companyos.ports import Command
from companyos_example.channel import Spool
from companyos_example.control import CONTROL
from companyos_example.engine import OfficeHours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos import Control
    from companyos.ports import Channel, DecisionEngine

__all__ = ("companyos_channels", "companyos_commands", "companyos_controls", "companyos_engines")


@hookimpl
def companyos_engines() -> Sequence[DecisionEngine]:
    """The engine `office-hours`."""
    return (OfficeHours(),)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The control EX01."""
    return (CONTROL,)


@hookimpl
def companyos_channels(settings: Mapping[str, Any]) -> Sequence[Channel]:
    """The channel `spool`, in the directory `notify.options.spool.directory`."""
    directory = settings["options"].get("spool", {}).get("directory", "spool")
    return (Spool(Path(settings["root"]) / directory),)


@hookimpl
def companyos_commands() -> Sequence[Command]:
    """The command `companyos ledger-types`."""
    return (Command("ledger-types", "Count ledger entries by type.", "companyos_example.command:ledger_types"),)

"""What the processes do that write to one key store at once, erase from it, and get killed at it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.errors import UserError
from companyos.ledger import people as rooms
from companyos.ledger.people import People
from companyos.ports import Personal
from companyos.signing import files
from tests.ledger.ledger_workers import PROCESSES, Descriptor

if TYPE_CHECKING:
    from types import FrameType

CONTEXT = ("test.example/log", "/s", "1", "/x")
ROOM = str(Path(rooms.__file__).parent)


def act(people: People, action: str, name: str) -> None:
    """Make somebody be gone, in one of the two ways."""
    if action == "erase":
        people.erase(name)
    else:
        people.bury([name])


def die_at_line(path: Path, action: str, name: str, number: int, report: int) -> None:
    """Do it, and be killed before the `number`th line of the key store's code; write `>` if there are fewer."""
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if not (frame.f_code.co_filename.startswith(ROOM) or frame.f_code.co_filename == files.__file__):
            return None
        if event == "line":
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if action == "open":
        sys.settrace(trace)
        People(path, create=False)
    else:
        people = People(path, create=False)
        sys.settrace(trace)
        act(people, action, name)
    sys.settrace(None)
    os.write(report, b">")


def erase_until_killed(path: Path, report: int) -> None:
    """Name people and erase them for ever; write `+ name`, `- name` before erasing and `. name` after it."""
    people = People(path, create=False)
    number = 0
    while True:
        name = f"{os.getpid()}-{number}"
        os.write(report, f"+ {name} {people.pseudonym(name)}\n".encode())
        os.write(report, f"- {name} {people.pseudonym(name)}\n".encode())
        people.erase(name)
        os.write(report, f". {name} -\n".encode())
        number += 1


def seal_many(path: Path, name: str, count: int, results: Any) -> None:
    """Name many people, write about each and about somebody who is erased all the time; report what was sealed."""
    people = People(path, create=False)
    sealed = []
    for number in range(count):
        person = f"{name}-{number}"
        sealed.append((person, people.seal(Personal(person, person), CONTEXT)["$personal"]))
        people.seal(Personal("again", "victim"), CONTEXT)
        people.seal(Personal("known", f"{name}-0"), CONTEXT)
    results.put(sealed)


def erase_many(path: Path, count: int, results: Any) -> None:
    """Erase one person again and again; report the epochs."""
    people = People(path, create=False)
    epochs = []
    while len(epochs) < count:
        people.pseudonym("victim")
        epochs.append(people.erase("victim").epoch)
    results.put(epochs)


def erase_on_a_full_disk(path: Path, results: Any) -> None:
    """Erase where no file may grow beyond a few bytes; report the error's code."""
    people = People(path, create=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        people.erase("ann")
        code = "none"
    except UserError as error:
        code = error.code
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    results.put((code, people.pseudonym_of("ann"), people.epoch, sorted(file.name for file in path.parent.iterdir())))


def killed_at(directory: Path, number: int, action: str, name: str) -> bool:
    """Be killed at that line in a store of its own; whether that was before the end."""
    read, write = os.pipe()
    worker = PROCESSES.Process(
        target=die_at_line, args=(directory / "people.db", action, name, number, Descriptor(write))
    )
    worker.start()
    os.close(write)
    worker.join()
    with os.fdopen(read, "rb") as pipe:
        finished = pipe.read() == b">"
    assert worker.exitcode == (0 if finished else -signal.SIGKILL)
    return not finished

"""A real server in a process of its own, for each company that a test writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.server.conformance import check_response

ROOT = Path(__file__).resolve().parents[2]
POLICY = """package companyos.access

import rego.v1

allow contains {"id": "cert.read", "message": "anyone reads"} if input.action == "read"

allow contains {"id": "cert.write", "message": "alice writes"} if {
	input.action == "write"
	input.subject.id == "alice"
	not input.resource.status == "archived"
}

allow contains {"id": "cert.admin", "message": "admins write what is archived"} if {
	input.action == "write"
	input.subject.attributes.role == "admin"
	input.resource.status == "archived"
}

allow contains {"id": "cert.delete", "message": "deletion that can be undone"} if {
	input.action == "delete"
	input.environment.action_properties.soft == true
}
"""
"""The fixture of the certification scenario, rules 1 to 8."""


class Running:
    """One server and how to ask it."""

    def __init__(self, directory: Path, *options: str, key: str | None = None, verify: object = True) -> None:
        self.directory = directory
        command = [sys.executable, "-m", "companyos", "serve", "--pdp", "--port", "0", "--config", str(directory)]
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (directory / "server.log").open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*command, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        line = self.process.stdout.readline()
        if "serving decisions on " not in line:
            self.process.wait(60)
            self.process.stdout.close()
            raise AssertionError(self.log())
        self.url = line.rpartition(" ")[2].strip()
        headers = {} if key is None else {"x-api-key": key}
        # Whatever a test asks: each answered evaluation is held against the schemas of the specification.
        hooks = {"response": [check_response]}
        self.http = httpx.Client(
            base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=verify, event_hooks=hooks
        )

    def log(self) -> str:
        """What it wrote to standard error."""
        return (self.directory / "server.log").read_text(encoding="utf-8")

    def ask(self, body: object, path: str = "/access/v1/evaluation", **headers: str) -> httpx.Response:
        """Post a JSON value."""
        return self.http.post(path, json=body, headers=headers)

    def alive(self) -> bool:
        """Whether it still answers."""
        return self.process.poll() is None and self.http.get("/health").json() == {"status": "alive"}

    def stop(self) -> int:
        """End it in order, and say its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def write_company(directory: Path, settings: dict | None = None, policies: dict[str, str] | None = None) -> Path:
    """A company's directory: its settings, and its policies if they are given."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {"company": {"name": "acme"}, **(settings or {})}
    if policies is not None:
        write_policies(directory / "policies", policies)
        values["authz"] = {"policies": ["policies"], **values.get("authz", {})}
    (directory / "companyos.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return directory


def write_policies(directory: Path, policies: dict[str, str]) -> None:
    """A policy directory."""
    directory.mkdir(exist_ok=True)
    (directory / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\n", encoding="utf-8")
    for name, text in policies.items():
        (directory / name).write_text(text, encoding="utf-8")


def request(subject="alice", action="read", resource="record-1", **more):
    """An Access Evaluation request."""
    return {
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
        **more,
    }


def entries(directory: Path, kind: str | None = None) -> list:
    """The entries of a company's ledger, in order, of a type if it is named."""
    from companyos.company import Company

    with Company.open(directory) as company:
        return [entry for entry in company.ledger.read() if kind is None or entry.type == kind]


@pytest.fixture
def start(tmp_path):
    """Start servers over companies in directories of their own; they end with the test."""
    from companyos.server import add_key

    running = []

    def begin(settings=None, policies=None, *options, name="company", key="orders", verify=True):
        directory = write_company(tmp_path / name, settings, policies)
        secret = None
        if key is not None:
            secret = add_key(directory / "keys.yaml", key)
            values = yaml.safe_load((directory / "companyos.yaml").read_text(encoding="utf-8"))
            values.setdefault("server", {})["api_keys"] = "keys.yaml"
            (directory / "companyos.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        server = Running(directory, *options, key=secret, verify=verify)
        server.key = secret
        running.append(server)
        return server

    yield begin
    for server in running:
        server.stop()

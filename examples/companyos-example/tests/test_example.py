"""The plugin's own tests, on the kit that comes with CompanyOS."""

import json

from companyos_example.channel import Spool
from companyos_example.control import CONTROL
from companyos_example.engine import OfficeHours

from companyos.ports import AccessRequest
from companyos.testing import ChannelContract, EngineContract, assert_proves


def _request(time):
    return AccessRequest({"id": "u1"}, "read", {"id": "d1"}, {"time": time})


def test_the_control_proves_itself():
    """EX01 catches what is planted and lets clean code through."""
    assert_proves(CONTROL)


class TestOfficeHours(EngineContract):
    """The engine keeps the contract of engines."""

    allowed = _request("2026-11-20T10:00:00+00:00")
    denied = _request("2026-11-21T10:00:00+00:00")

    def make_engine(self):
        return OfficeHours()


class TestSpool(ChannelContract):
    """The channel keeps the contract of channels."""

    def make_channel(self, tmp_path):
        return Spool(tmp_path / "spool")

    def arrived(self, tmp_path):
        return [json.loads(path.read_text())["text"] for path in sorted((tmp_path / "spool").glob("*.json"))]

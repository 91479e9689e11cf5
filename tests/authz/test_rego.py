from __future__ import annotations

import gc
import platform
import re
import sys
import threading

import pytest

from companyos.authz import EngineError, PolicyError, RegoEngine, build_request
from companyos.authz.engines._regorus import guarded, prepare
from companyos.authz.policyset import PLAYBOOK, load_policies
from companyos.errors import MissingExtraError
from tests.authz.requests import MASKED, READ

PACKAGE = "package companyos.access\n\nimport rego.v1\n\n"
ALLOW = PACKAGE + 'allow contains {"id": "policy.mine", "message": "mine"} if { input.action == "read" }\n'


class TestDirectories:
    def test_a_directory_replaces_the_playbook(self, policies):
        """Policies of one's own decide alone."""
        engine = RegoEngine([policies(mine__rego=ALLOW)])

        assert engine.decide(READ).reason == "policy.mine"
        assert engine.decide(MASKED).obligations == ()

    def test_a_directory_extends_the_playbook(self, policies):
        """With `extends: playbook` the built-in policies decide as well, and deny wins."""
        rule = PACKAGE + 'deny contains {"id": "policy.mine", "message": "no"} if { input.resource.id == "d-1" }\n'
        metadata = "owner: team\nversion: 1.0.0\nextends: playbook\n"
        engine = RegoEngine([policies(mine__rego=rule, metadata__yaml=metadata)])
        opinion = engine.decide(MASKED)

        assert (opinion.allow, opinion.reason) == (False, "policy.mine")
        assert [obligation.id for obligation in opinion.obligations] == ["mask_fields"]

    def test_only_the_rego_file_changes(self, policies):
        """Changing a rule's text changes both the opinion and the version."""
        directory = policies(mine__rego=ALLOW)
        before = RegoEngine([directory])
        assert before.decide(READ).allow
        (directory / "mine.rego").write_text(ALLOW.replace('"read"', '"write"'))
        after = RegoEngine([directory])

        assert not after.decide(READ).allow
        assert before.version != after.version

    @pytest.mark.parametrize("name", ["metadata__yaml", "data__json"])
    def test_version_covers_metadata_and_data(self, policies, name):
        """Owner and data are part of what a decision names."""
        text = {"metadata__yaml": "owner: other\nversion: 1.0.0\n", "data__json": '{"limit": 3}'}[name]

        assert RegoEngine([policies("a", mine__rego=ALLOW)]).version != (
            RegoEngine([policies("b", **{"mine__rego": ALLOW, name: text})]).version
        )

    def test_version_does_not_depend_on_the_place(self, policies):
        """The same files in another directory have the same version."""
        here, there = policies("a", mine__rego=ALLOW), policies("b", mine__rego=ALLOW)

        assert RegoEngine([here]).version == RegoEngine([there]).version

    def test_data_reaches_the_policies(self, policies):
        """`data.json` is there as `data`."""
        rule = PACKAGE + 'allow contains {"id": "policy.mine"} if { input.action in data.mine.actions }\n'

        assert RegoEngine([policies(mine__rego=rule, data__json='{"mine": {"actions": ["read"]}}')]).decide(READ).allow

    def test_helpers_in_a_package_of_their_own(self, policies):
        """Functions of another package of `companyos` may be called, also under another name."""
        helper = 'package companyos.helpers\n\nimport rego.v1\n\nis_read(action) if { action == lower("READ") }\n'
        rule = (
            "package companyos.access\n\nimport rego.v1\nimport data.companyos.helpers as tools\n\n"
            'allow contains {"id": "policy.mine"} if { tools.is_read(input.action) }\n'
        )

        assert RegoEngine([policies(helper__rego=helper, mine__rego=rule)]).decide(READ).allow

    @pytest.mark.parametrize(
        "use",
        [
            "data.companyos.tools.helpers.names",
            'data["companyos"].tools["helpers"]',
            "data.companyos.tools[input.action].names",
        ],
        ids=["by its path", "by a quoted path", "by a computed path"],
    )
    def test_a_package_that_is_referred_to(self, policies, use):
        """Another package is loaded when a policy refers to it, however that is written."""
        helper = 'package companyos.tools.helpers\n\nimport rego.v1\n\nnames := {"helpers"}\n'
        rule = PACKAGE + f'allow contains {{"id": "policy.mine"}} if {{ {use} }}\n'
        request = build_request({"id": "u", "type": "user"}, "helpers", {"id": "d", "type": "t"})

        assert RegoEngine([policies(helper__rego=helper, mine__rego=rule)]).decide(request).allow

    def test_packages_that_refer_only_to_each_other(self, policies):
        """Two packages that no policy reaches are dead, though each refers to the other."""
        one = "package companyos.one\n\nimport rego.v1\n\nx := data.companyos.two.y\nz := 1\n"
        two = "package companyos.two\n\nimport rego.v1\n\ny := data.companyos.one.z\n"

        with pytest.raises(PolicyError, match="no policy refers to"):
            RegoEngine([policies(mine__rego=ALLOW, one__rego=one, two__rego=two)]).decide(READ)

    @pytest.mark.parametrize(("name", "meant"), [("denny", "deny"), ("allows", "allow"), ("obligaton", "obligation")])
    def test_a_misspelt_opinion(self, policies, name, meant):
        """A set that is almost called as one that counts, and that nothing reads, would never decide: it is refused."""
        misspelt = f'{name} contains {{"id": "policy.freeze"}} if {{ input.action == "read" }}\n'

        with pytest.raises(PolicyError, match=rf"adds to {name}, (?s:.*)did you mean {meant}\?"):
            RegoEngine([policies(mine__rego=ALLOW + misspelt)]).decide(READ)

    def test_a_helper_whose_name_is_near(self, policies):
        """The same name is a helper's where an opinion refers to it."""
        helper = 'allows contains "read" if { true }\n'
        rule = 'allow contains {"id": "policy.helped"} if { input.action in allows }\n'

        assert RegoEngine([policies(mine__rego=PACKAGE + helper + rule)]).decide(READ).reason == "policy.helped"

    @pytest.mark.parametrize("name", ["freeze.REGO", "freeze.rego.bak", "freeze.reg", "Data.json", "freeze", ".x.Rego"])
    def test_a_file_that_would_be_passed_over(self, policies, name):
        """A file that is none of a policy directory's is refused, because its author believes that it counts."""
        directory = policies(mine__rego=ALLOW)
        (directory / name).write_text(ALLOW)

        with pytest.raises(PolicyError, match=f"{re.escape(name)} is not read as a policy"):
            load_policies([directory])

    def test_files_about_policies(self, policies):
        """Texts and hidden files beside the policies change nothing."""
        directory = policies(mine__rego=ALLOW)
        before = load_policies([directory]).digest
        for name in ("README", "README.txt", "CHANGES.md", ".gitkeep"):
            (directory / name).write_text("text")

        assert before == load_policies([directory]).digest

    def test_the_playbook_has_an_owner(self):
        """The built-in policies keep the layout that is asked of others."""
        assert load_policies([PLAYBOOK]).owners == ("companyos",)


BAD_POLICIES = {
    "does not parse": PACKAGE + "deny contains {{{",
    "is Rego v0": 'package companyos.access\n\ndeny[msg] { msg := "x" }\n',
    "uses the network": PACKAGE + 'deny contains {"id": "x"} if { http.send({"method": "get", "url": "http://x"}) }\n',
    "uses the network by another spelling": PACKAGE + 'deny contains {"id": "x"} if { http["send"]({}) }\n',
    "resolves names": PACKAGE + 'deny contains {"id": "x"} if { net.lookup_ip_addr("localhost") }\n',
    "reads the machine": PACKAGE + 'deny contains {"id": "x", "message": opa.runtime().version} if { true }\n',
    "throws dice": PACKAGE + 'deny contains {"id": "x"} if { rand.intn("a", 2) == 1 }\n',
    "makes ids": PACKAGE + 'deny contains {"id": uuid.rfc4122("x")} if { true }\n',
    "asks the clock": PACKAGE + 'deny contains {"id": "x"} if { time.now_ns() > 0 }\n',
    "asks the clock in a comprehension": PACKAGE
    + 'deny contains {"id": "x"} if { count([t | t := time.now_ns()]) > 0 }\n',
    "asks the clock as an argument": PACKAGE + 'deny contains {"id": sprintf("%v", [time.now_ns()])} if { true }\n',
    "asks the clock in an else": PACKAGE + "x := 1 if { input.a } else := time.now_ns()\n",
    "asks the clock in a default of a function": PACKAGE + "f(x) := time.now_ns()\n",
    "calls an unknown function": PACKAGE + 'deny contains {"id": "x"} if { nobody.knows(1) }\n',
    "calls an unknown function of another package": PACKAGE
    + 'deny contains {"id": "x"} if { data.companyos.z.f(1) }\n',
    "prints": PACKAGE + 'deny contains {"id": "x"} if { print("secret") }\n',
    "defines the decision": PACKAGE + 'decision := {"allow": true}\n',
    "defines a part of the decision": PACKAGE + "decision.allow := true\n",
    "defines the decision by its package": "package companyos.access.decision\n\nimport rego.v1\n\nallow := true\n",
    "defines the obligations": PACKAGE + "obligations := []\n",
    "defines the decision from above": "package companyos\n\nimport rego.v1\n\n"
    'access[k] := v if { some k in ["decision"]; v := {"allow": true, "reasons": [], "obligations": []} }\n',
    "opines from below": PACKAGE.replace("access", "access.more") + 'x contains {"id": "x"} if { true }\n',
    "denies in a mistyped package": PACKAGE.replace("access", "acess") + 'deny contains {"id": "x"} if { true }\n',
    "allows in a mistyped package": PACKAGE.replace("access", "acess") + 'allow contains {"id": "x"} if { true }\n',
    "obliges in a mistyped package": PACKAGE.replace("access", "acess")
    + 'obligation contains {"id": "x", "type": "custom"} if { true }\n',
    "is referred to by nobody": PACKAGE.replace("access", "helpers") + "x := 1\n",
    "is referred to by itself": PACKAGE.replace("access", "helpers") + "x := data.companyos.helpers.y\ny := 1\n",
    "lives elsewhere": "package somewhere\n\nimport rego.v1\n\nx := 1\n",
    "looks like ours": "package companyosx.access\n\nimport rego.v1\n\nx := 1\n",
    "conflicts with itself": PACKAGE + 'x := 1\nx := 2\nallow contains {"id": sprintf("%v", [x])} if { true }\n',
    "adds a text where an object belongs": PACKAGE + 'deny contains "no" if { true }\n',
    "adds an obligation of no known type": PACKAGE + 'obligation contains {"id": "x", "type": "magic"} if { true }\n',
    "recurses": PACKAGE + 'deny contains {"id": "x"} if { not allow }\nallow contains {"id": "x"} if { not deny }\n',
}


class TestRefusedPolicies:
    @pytest.mark.parametrize("text", BAD_POLICIES.values(), ids=BAD_POLICIES.keys())
    def test_bad_policy(self, policies, text):
        """A policy that cannot or may not be used is refused at load, by name, before it decides anything."""
        engine = RegoEngine([policies(bad__rego=text)])

        with pytest.raises(PolicyError) as caught:
            _ = engine.version

        assert caught.value.code == "authz.policy"
        assert "Stack backtrace" not in caught.value.message

    def test_the_place_is_named(self, policies):
        """The message holds file, line, function and the reason."""
        engine = RegoEngine([policies(bad__rego=BAD_POLICIES["asks the clock"])])

        with pytest.raises(PolicyError, match=r"0/bad\.rego:5 calls time\.now_ns(.|\n)*input\.environment\.time"):
            engine.decide(READ)

    @pytest.mark.parametrize(
        ("files", "match"),
        [
            ({}, "no policies found"),
            ({"mine__rego": ALLOW, "metadata__yaml": "owner: a\n"}, "names no version"),
            ({"mine__rego": ALLOW, "metadata__yaml": "version: 1.0.0\n"}, "names no owner"),
            ({"mine__rego": ALLOW, "metadata__yaml": "- a\n"}, "not a mapping"),
            ({"mine__rego": ALLOW, "metadata__yaml": "owner: a\nversion: 1.0.0\nownr: b\n"}, "ownr is not valid"),
            ({"mine__rego": ALLOW, "metadata__yaml": "owner: a\nversion: 1.0.0\nextends: x\n"}, "extends something"),
            ({"mine__rego": ALLOW, "data__json": "{"}, "not JSON"),
            ({"mine__rego": ALLOW, "data__json": "[]"}, "must be an object"),
            ({"mine__rego": ALLOW, "data__json": '{"companyos": {"access": {"decision": 1}}}'}, "must be an object"),
        ],
    )
    def test_bad_directory(self, policies, files, match):
        """A directory that lacks something says what."""
        with pytest.raises(PolicyError, match=match):
            load_policies([policies(**files)])

    def test_no_directory(self, tmp_path):
        """A directory that is not there is named, with the setting to mend."""
        with pytest.raises(PolicyError, match=r"not found(.|\n)*authz\.policies"):
            load_policies([tmp_path / "nowhere"])

    def test_no_metadata(self, policies):
        """Policies without an owner are refused."""
        directory = policies(mine__rego=ALLOW)
        (directory / "metadata.yaml").unlink()

        with pytest.raises(PolicyError, match=r"has no metadata\.yaml"):
            load_policies([directory])

    def test_a_link_out_of_the_directory(self, policies, tmp_path):
        """A policy that is a link to another place is refused."""
        directory = policies(mine__rego=ALLOW)
        outside = tmp_path / "outside.rego"
        outside.write_text(ALLOW)
        (directory / "link.rego").symlink_to(outside)

        with pytest.raises(PolicyError, match="points out of its directory"):
            load_policies([directory])

    def test_two_directories_disagree_on_data(self, policies):
        """A later directory may add data and never change it."""
        one = policies("one", mine__rego=ALLOW, data__json='{"a": {"b": 1}}')
        two = policies("two", data__json='{"a": {"b": 2}}')

        with pytest.raises(PolicyError, match="changes data"):
            load_policies([one, two])

    def test_an_error_for_one_request_is_no_opinion(self, policies):
        """A rule that fails for some requests makes those undecidable, and only those."""
        rule = ALLOW + 'deny contains {"id": "x"} if { to_number(input.resource.size) > 3 }\n'
        engine = RegoEngine([policies(mine__rego=rule)])
        sized = build_request({"id": "u", "type": "user"}, "read", {"id": "d", "type": "t", "size": "big"})

        assert engine.decide(READ).allow
        with pytest.raises(EngineError, match="could not be evaluated"):
            engine.decide(sized)


class TestWithoutTheLibrary:
    @pytest.mark.parametrize("machine", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")])
    def test_what_to_do_is_said(self, monkeypatch, machine):
        """Wherever regorus cannot be imported the first use says what to install, and which built-in engines remain."""
        system, processor = machine
        monkeypatch.setitem(sys.modules, "regorus", None)
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(platform, "machine", lambda: processor)

        with pytest.raises(MissingExtraError) as caught:
            _ = RegoEngine().version

        assert f"on {system} {processor}" in caught.value.got
        for hint in ("pip install 'companyos[authz]", "authz.engine: opa", "authz.engine: cedar"):
            assert hint in caught.value.hint

    def test_a_library_that_this_machine_cannot_load(self, monkeypatch, tmp_path):
        """A wheel for a newer C library is there and does not load: its own complaint is shown, with the way out."""
        (tmp_path / "regorus.py").write_text("raise ImportError('version `GLIBC_2.34 not found')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "regorus")

        with pytest.raises(MissingExtraError) as caught:
            _ = RegoEngine().version

        assert "GLIBC_2.34 not found" in caught.value.got
        assert "authz.engine: opa" in caught.value.hint


class TestThreads:
    def test_a_panic_is_an_engine_error(self):
        """What regorus answers to misuse across threads is no ordinary exception, and still becomes an engine error."""
        made, done = threading.Event(), threading.Event()
        engines = []

        def owner():
            engines.append(prepare({}, {}))
            made.set()
            done.wait(10)
            engines.clear()

        thread = threading.Thread(target=owner)
        thread.start()
        try:
            assert made.wait(10)
            with pytest.raises(EngineError, match="broke down"):
                guarded(lambda: engines[0].eval_query_as_json("1"))
        finally:
            done.set()
            thread.join(10)

    def test_an_engine_may_be_dropped_while_threads_live(self):
        """Freeing an engine that other threads have used disturbs nobody, though regorus panics across threads."""
        used, finish = threading.Event(), threading.Event()
        problems = []

        def work(engine_box):
            try:
                engine_box.pop().decide(READ)
                used.set()
                finish.wait(10)
                RegoEngine().decide(READ)
            except BaseException as error:  # noqa: BLE001 - a panic is no Exception
                problems.append(error)

        box = [RegoEngine()]
        box[0].decide(READ)
        thread = threading.Thread(target=work, args=(box,))
        thread.start()
        assert used.wait(10)
        gc.collect()
        finish.set()
        thread.join(10)
        gc.collect()

        assert problems == []

"""The Cedar engine: annotations, what is refused at load, what fails closed, and what Cedar has no value for."""

from __future__ import annotations

import re
import shutil

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.authz import EngineError, PolicyError, build_request, playbook_control
from companyos.authz.engines import cedar
from companyos.authz.engines._cedar_policies import CEDAR_PLAYBOOK
from companyos.authz.engines._cedar_text import MAX_DEPTH, statements
from companyos.authz.engines.cedar import CedarEngine
from companyos.controls import prove
from companyos.ports import AccessRequest, Opinion
from tests.authz.requests import MASKED, READ, UNKNOWN

ANY = '@id("policy.mine") permit (principal, action, resource);\n'
EXTENDS = "owner: team\nversion: 1.0.0\nextends: playbook\n"


def _obliging(identity, obligations, rest="forbid (principal, action, resource);"):
    escaped = obligations.replace('"', '\\"')
    return f'@id("{identity}") @obligations("{escaped}") {rest}\n'


def _request(subject=None, action="read", resource=None, environment=None):
    return AccessRequest(
        {"id": "u-1", "type": "user", **(subject or {})},
        action,
        {"id": "d-1", "type": "document", **(resource or {})},
        environment or {},
    )


@pytest.fixture
def engine(policies):
    """An engine over one file of Cedar, and what else the directory holds."""
    count = iter(range(100))

    def make(text, **files):
        return CedarEngine([policies(f"p{next(count)}", policy__cedar=text, **files)])

    return make


class TestDirectories:
    def test_a_directory_extends_the_playbook(self, engine):
        """With `extends: playbook` the built-in policies, in Cedar, decide as well, and forbid wins."""
        rule = '@id("policy.mine") @message("no") forbid (principal, action, resource) when { resource.id == "d-1" };'
        extended = engine(rule, metadata__yaml=EXTENDS)
        opinion = extended.decide(MASKED)

        assert (opinion.allow, opinion.reason, opinion.message) == (False, "policy.mine", "no")
        assert [obligation.id for obligation in opinion.obligations] == ["mask_fields"]
        assert (extended.extends_playbook, engine(ANY).extends_playbook) == (True, False)

    def test_version_covers_metadata_and_not_the_place(self, engine):
        """Owner and policies are part of the version; where the directory lies is not."""
        first, again, other = engine(ANY), engine(ANY), engine(ANY, metadata__yaml="owner: other\nversion: 1.0.0\n")

        assert first.version == again.version != other.version

    @pytest.mark.parametrize("name", ["more.rego", "data.json", "policy.Cedar", ".policy.cedar.swp", "notes.txt"])
    def test_other_files(self, engine, policies, name):
        """What looks as if it counted is refused instead of passed over."""
        with pytest.raises(PolicyError, match="not read as a policy"):
            CedarEngine([policies("other", **{"policy__cedar": ANY, name.replace(".", "__"): "{}"})]).decide(READ)

    def test_a_link_that_leads_out(self, policies, tmp_path):
        """A policy does not come from outside of its directory."""
        directory = policies(policy__cedar=ANY)
        (tmp_path / "outside.cedar").write_text(ANY)
        (directory / "link.cedar").symlink_to(tmp_path / "outside.cedar")

        with pytest.raises(PolicyError, match="points out"):
            CedarEngine([directory]).decide(READ)

    def test_nothing(self, policies):
        """A directory without policies decides nothing."""
        with pytest.raises(PolicyError, match="no policies"):
            CedarEngine([policies()]).decide(READ)

    def test_stages(self, tmp_path):
        """Of a layout by stage the chosen one counts, and policies of a service speak about that service alone."""
        for stage, action in (("dev", "write"), ("prod", "read")):
            for service in ("crm", "billing"):
                place = tmp_path / "sales" / service / stage / "1.0.0"
                place.mkdir(parents=True)
                (place / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\n")
                rule = f'@id("{service}") permit (principal, action == Action::"{action}", resource);'
                (place / "policy.cedar").write_text(rule)
        at_crm = _request(resource={"domain": "sales", "service": "crm"})
        elsewhere = _request(resource={"domain": "hr", "service": "crm"})
        engine = CedarEngine([tmp_path])

        assert [engine.decide(one).reason for one in (at_crm, elsewhere)] == ["crm", "policy.default_deny"]
        assert not CedarEngine([tmp_path], stage="dev").decide(at_crm).allow
        unstated = engine.decide(_request(resource={"domain": "sales"}))
        assert (unstated.allow, unstated.reason) == (False, "policy.scope_unstated")


REFUSED = {
    "no id": ("permit (principal, action, resource);", "no @id"),
    "an empty id": ('@id("") permit (principal, action, resource);', "no @id"),
    "a bare id": ("@id permit (principal, action, resource);", "no @id"),
    "an empty reason": ('@id("a") @reason(" ") permit (principal, action, resource);', "no @reason"),
    "the same id twice": (ANY + ANY, "the same @id"),
    "two annotations of one name": ('@id("a") @id("b") permit (principal, action, resource);', "duplicate annotation"),
    "a misspelt annotation": (_obliging("a", '[{"id": "x"}]').replace("@obligations", "@obligation"), "@obligations?"),
    "a template": ('@id("a") permit (principal == ?principal, action, resource);', "template"),
    "no semicolon": ('@id("a") permit (principal, action, resource)', "does not end"),
    "no Cedar": ("package companyos.access;", "does not parse"),
    "an unknown function": (
        '@id("a") permit (principal, action, resource) when { nosuch(1) };',
        "not a valid function",
    ),
    "obligations that are no JSON": (_obliging("a", "[{"), "obligations of a policy"),
    "obligations that are no list": (_obliging("a", '{"id": "x"}'), "no list of obligations"),
    "no obligations": (_obliging("a", "[]"), "no list of obligations"),
    "an obligation without id": (_obliging("a", '[{"type": "custom"}]'), "obligations of a policy"),
    "an obligation of an unknown type": (_obliging("a", '[{"id": "x", "type": "y"}]'), "obligations of a policy"),
    "an obligation with more": (_obliging("a", '[{"id": "x", "when": "now"}]'), "no when"),
    "an obligation with a key twice": (_obliging("a", '[{"id": "x", "id": "y"}]'), "twice"),
    "an obligation with NaN": (_obliging("a", '[{"id": "x", "properties": {"n": NaN}}]'), "NaN"),
    "a place that no request has": (
        _obliging("a", '[{"id": "x", "properties": {"a": {"$from": "user.id"}}}]'),
        "no place",
    ),
    "a place without a name": (_obliging("a", '[{"id": "x", "properties": {"a": {"$from": "subject."}}}]'), "no place"),
    "a place that is no text": (_obliging("a", '[{"id": "x", "properties": {"a": {"$from": 1}}}]'), "no place"),
    "a place with more": (
        _obliging("a", '[{"id": "x", "properties": {"a": {"$from": "action", "b": 1}}}]'),
        "no place",
    ),
    "a default alone": (_obliging("a", '[{"id": "x", "properties": {"a": {"$default": 1}}}]'), "means nothing"),
    "all properties from a place": (
        _obliging("a", '[{"id": "x", "properties": {"$from": "resource"}}]'),
        "obligations",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_load(engine, name):
    """What would be lost, or mean something else, is refused before anything is decided; the text names the place."""
    text, message = REFUSED[name]

    with pytest.raises(PolicyError, match=re.escape(message)):
        _ = engine(text).version


class TestNesting:
    """Cedar's parser ends the process on what nests deeply; nothing of the kind reaches it."""

    @pytest.mark.parametrize(
        "body",
        ["(" * 50_000, "[" * 5000 + "]" * 5000, '{"a": ' * 5000, "// \r" + "(" * 50_000, "true || " * 50_000 + "true"],
        ids=["brackets", "lists", "records", "behind a comment that a carriage return ends", "length"],
    )
    def test_too_deep(self, engine, body):
        """Refused by name, with file and line."""
        text = f'// one\n@id("a") permit (principal, action, resource) when {{ {body} }};'

        with pytest.raises(PolicyError, match=r"policy\.cedar:2"):
            engine(text).decide(READ)

    def test_as_deep_as_allowed(self, engine):
        """What is allowed does not hurt the parser; signs in texts and comments do not count."""
        depth = MAX_DEPTH - 1
        nested = "(" * depth + '"((((" == "(((("' + ")" * depth
        text = f'// {"(" * 500}\n@id("a") permit (principal, action, resource) when {{ {nested} }};'

        assert engine(text).decide(READ).reason == "a"

    def test_a_schema_that_nests(self, engine):
        """The schema's parser is guarded, too."""
        nested = "Set<" * 5000 + "Long" + ">" * 5000

        with pytest.raises(PolicyError, match="nests too deeply"):
            engine(ANY, schema__cedarschema=f"entity A {{ a: {nested} }};").decide(READ)

    @given(st.text(alphabet='permit(){};"\\/ \n\r@id=', max_size=60))
    def test_any_text(self, text):
        """Any text is taken apart into pieces that are all there in order, or refused by name."""
        try:
            found = [statement.text for statement in statements("x", text)]
        except PolicyError:
            return
        place = 0
        for piece in found:
            place = text.index(piece, place) + len(piece)
        assert all(piece.endswith(";") for piece in found)


class TestFailingClosed:
    FORBID = '@id("policy.no") forbid (principal, action, resource) when { context.environment.embargo };\n'

    def test_a_forbid_that_fails(self, engine):
        """Cedar passes over a forbid that fails and allows; the engine does not decide, and names the policy."""
        bare = cedarpy.is_authorized(
            {"principal": 'U::"u"', "action": 'Action::"read"', "resource": 'D::"d"', "context": {"environment": {}}},
            cedarpy.PolicySet.from_str(ANY + self.FORBID),
            [],
        )
        assert bare.allowed

        with pytest.raises(EngineError, match=r"`policy\.no`.*embargo"):
            engine(ANY + self.FORBID).decide(READ)

    def test_a_guarded_forbid(self, engine):
        """With `has` it says nothing where the attribute is missing, and forbids where it is true."""
        guarded = self.FORBID.replace("{ ", "{ context.environment has embargo && ")
        decide = engine(ANY + guarded).decide

        assert [decide(_request(environment=env)).allow for env in ({}, {"embargo": True}, {"embargo": False})] == [
            True,
            False,
            True,
        ]

    def test_a_forbid_of_the_wrong_type(self, engine):
        """An attribute of another type than a policy expects is no pass."""
        with pytest.raises(EngineError, match="type error"):
            engine(ANY + self.FORBID).decide(_request(environment={"embargo": "yes"}))

    def test_a_permit_that_fails_beside_an_obligation(self, engine):
        """A permit that fails when it is asked for alone is no pass either."""
        text = ANY + _obliging("policy.log", '[{"id": "log_event"}]')
        text += '@id("policy.odd") permit (principal, action, resource) when { principal.missing };'

        with pytest.raises(EngineError, match=r"policy\.odd"):
            engine(text).decide(READ)

    def test_a_panic(self):
        """What Rust throws is no exception of Python's, and becomes an error; an interrupt stays one."""

        class PanicException(BaseException):
            pass

        def panic():
            raise PanicException("boom")

        def interrupt():
            raise KeyboardInterrupt

        with pytest.raises(EngineError, match="boom"):
            cedar._guarded(panic)
        with pytest.raises(KeyboardInterrupt):
            cedar._guarded(interrupt)


class TestObligations:
    LOG = _obliging("policy.log", '[{"id": "log_event", "type": "notification", "properties": {"event": "x"}}]')

    def test_a_forbid_that_obliges_grants_nothing(self, engine):
        """It lifts itself when it is carried out; what nobody permits stays denied, and says what it would take."""
        opinion = engine(self.LOG).decide(READ)

        assert (opinion.allow, opinion.reason) == (False, "policy.default_deny")
        assert [item.id for item in opinion.obligations] == ["log_event"]

    def test_another_tool_refuses(self):
        """For a tool that knows nothing of the annotation it is a plain forbid."""
        bare = cedarpy.is_authorized(
            {"principal": 'U::"u"', "action": 'Action::"read"', "resource": 'D::"d"'},
            cedarpy.PolicySet.from_str(ANY + self.LOG),
            [],
        )

        assert not bare.allowed

    def test_a_permit_that_obliges(self, engine):
        """What a permit obliges to comes with what it grants, and only then."""
        text = _obliging(
            "policy.mine", '[{"id": "log_event"}]', 'permit (principal, action == Action::"read", resource);'
        )
        decide = engine(text).decide

        assert [item.to_dict() for item in decide(READ).obligations] == [
            {"id": "log_event", "type": "custom", "properties": {}}
        ]
        assert decide(UNKNOWN).obligations == ()

    def test_a_plain_forbid_beside_it(self, engine):
        """What is refused says also what it would have taken."""
        text = ANY + self.LOG + '@id("policy.no") forbid (principal, action, resource);'
        opinion = engine(text).decide(READ)

        assert (opinion.allow, opinion.reason, len(opinion.obligations)) == (False, "policy.no", 1)

    def test_the_same_obligation_twice(self, engine):
        """Two policies that oblige to the same oblige to it once; the order is that of the ids."""
        text = ANY + self.LOG + self.LOG.replace("policy.log", "policy.again") + _obliging("policy.a", '[{"id": "a"}]')

        assert [item.id for item in engine(text).decide(READ).obligations] == ["a", "log_event"]

    def test_values_of_the_request(self, engine):
        """Places are filled from the request and its derived facts; what is not there is its default, or left out."""
        properties = (
            '{"who": {"$from": "subject.id"}, "what": [{"$from": "action"}, {"$from": "resource.none"}, "x"], '
            '"rank": {"$from": "derived.subject.clearance"}, "none": {"$from": "resource.a.b"}, '
            '"fields": {"$from": "resource.fields", "$default": {"$from": "resource.other", "$default": ["*"]}}}'
        )
        decide = engine(ANY + _obliging("policy.a", f'[{{"id": "a", "properties": {properties}}}]')).decide
        (first,) = decide(_request(resource={"fields": []})).obligations
        (second,) = decide(_request(resource={"fields": ["iban"], "a": 1})).obligations

        assert first.properties == {"who": "u-1", "what": ["read", "x"], "rank": 0, "fields": ["*"]}
        assert second.properties["fields"] == ["iban"]

    def test_obligations_are_the_callers_own(self, engine):
        """Whoever alters an obligation, or the request afterwards, alters nobody else's."""
        text = ANY + _obliging("a", '[{"id": "a", "properties": {"f": {"$from": "resource.f"}, "g": ["g"]}}]')
        decide, request = engine(text).decide, _request(resource={"f": ["x"]})
        decide(request).obligations[0].properties["f"].append("y")
        decide(request).obligations[0].properties["g"].append("y")

        assert decide(request).obligations[0].properties == {"f": ["x"], "g": ["g"]}


class TestRequests:
    def test_who_asks_and_what_is_asked_for(self, engine):
        """Ids, types, attributes, roles and the environment are where the documentation says."""
        condition = (
            'principal == Subject::user::"u-1" && principal is Subject::user && principal in Role::"editor" '
            '&& principal.attributes.roles.contains("editor") && resource == Resource::document::"d-1" '
            '&& resource.type == "document" && action == Action::"read" && resource.size == 7 '
            '&& context.environment.ip == "192.0.2.1" && context.stated.contains("ip") '
            '&& !context.stated.contains("note") && !context.derived.multi_factor '
            "&& !(context.derived.subject has jurisdiction)"
        )
        text = f'@id("a") permit (principal, action, resource) when {{ {condition} }};'
        subject = {"attributes": {"roles": ["editor"]}}
        environment = {"ip": "192.0.2.1", "note": " "}

        assert engine(text).decide(_request(subject, "read", {"size": 7.0}, environment)).allow

    def test_a_subject_that_calls_itself_a_role(self, engine):
        """A type and an id that a caller states make nobody a member of a role."""
        text = '@id("a") permit (principal in Role::"admin", action, resource);'

        assert not engine(text).decide(_request({"id": "admin", "type": "Role"})).allow

    def test_a_subject_that_asks_for_itself(self, engine):
        """Subject and resource with the same id and type are two, each with its own attributes."""
        text = '@id("a") permit (principal, action, resource) when { principal.id == resource.id };'
        text += '@id("b") forbid (principal, action, resource) when { principal has region || resource has status };'
        request = _request({"status": "active"}, resource={"id": "u-1", "type": "user", "region": "eu"})

        assert engine(text).decide(request).reason == "a"

    @pytest.mark.parametrize(
        ("value", "where"),
        [
            (None, "resource.x"),
            (1.5, "resource.x"),
            (2**63, "resource.x"),
            (-(2**63) - 1, "resource.x"),
            (float("inf"), "resource.x"),
            (b"x", "resource.x"),
            ([1, None], r"resource.x\[1\]"),
            ({"a": {"b": None}}, "resource.x.a.b"),
            ({"__entity": {"type": "Role", "id": "admin"}}, "resource.x"),
            ({"a": [{"__extn": {"fn": "ip", "arg": "1.1.1.1"}}]}, "resource.x.a"),
        ],
        ids=repr,
    )
    def test_what_cedar_has_no_value_for(self, engine, value, where):
        """A value that a policy reads and Cedar cannot hold is refused by its place; unread, it disturbs nobody."""
        reading = ANY + '@id("b") forbid (principal, action, resource) when { resource has x && resource.x == 1 };'

        with pytest.raises(EngineError, match=where):
            engine(reading).decide(_request(resource={"x": value}))
        assert engine(ANY).decide(_request(resource={"x": value})).allow

    @pytest.mark.parametrize(
        "value", [0, -1, 2**63 - 1, -(2**63), 3.0, True, "", "\u202e", [], [[1], "a", {}], {"a": {}}]
    )
    def test_what_cedar_can_hold(self, engine, value):
        """Everything else arrives."""
        text = '@id("a") permit (principal, action, resource) when { resource.x == resource.y };'

        assert engine(text).decide(_request(resource={"x": value, "y": value})).allow

    @pytest.mark.parametrize("name", ["service-account", "in", "A::is", "", "a b", "\u00fc", "__cedar", "a::", None, 7])
    @pytest.mark.parametrize("part", ["subject", "resource"])
    def test_types_that_are_no_names(self, engine, part, name):
        """A type that Cedar cannot name is refused by its place."""
        with pytest.raises(EngineError, match=rf"{part}\.type"):
            engine(ANY).decide(_request(**{part: {"type": name}}))

    @pytest.mark.parametrize("roles", ["admin", [1], {"admin": True}])
    def test_roles_that_are_none(self, engine, roles):
        """Roles are a list of texts."""
        with pytest.raises(EngineError, match="roles"):
            engine(ANY).decide(_request({"attributes": {"roles": roles}}))

    def test_a_request_that_refers_to_itself(self, engine):
        """Nesting without end is refused."""
        endless = []
        endless.append(endless)
        text = ANY + '@id("b") forbid (principal, action, resource) when { resource.x == 1 };'

        with pytest.raises(EngineError, match="resource.x"):
            engine(text).decide(_request(resource={"x": endless}))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["a", "__entity", "type", "id", ""]), inner)
            ),
            max_leaves=8,
        )
    )
    def test_any_value(self, value):
        """Any value gives an opinion or an `EngineError`, and nothing else."""
        try:
            opinion = WHOLE.decide(
                _request({"attributes": {"z": value}}, resource={"x": value}, environment={"y": value})
            )
        except EngineError:
            return
        assert type(opinion) is Opinion


WHOLE = CedarEngine(pruned=False)


class TestSchema:
    SCHEMA = (
        "namespace Subject { entity user { id: String, type: String }; }\n"
        "namespace Resource { entity document { id: String, type: String, size?: Long }; }\n"
        "type Facts = { stated: Set<String>, environment: {} };\n"
    )

    def _schema(self, context):
        return self.SCHEMA + (
            'action "read" appliesTo { principal: [Subject::user], resource: [Resource::document], '
            f"context: {context} }};"
        )

    def test_policies_are_held_against_it(self, engine):
        """A policy that reads an attribute without asking whether it is there is refused at load."""
        text = '@id("a") permit (principal, action == Action::"read", resource) when { resource.size < 7 };'

        with pytest.raises(PolicyError, match="a does not agree with the schema"):
            engine(text, schema__cedarschema=self._schema("{}")).decide(READ)

    def test_requests_are_held_against_it(self, engine):
        """A request with attributes that the schema does not know is not decided."""
        with pytest.raises(EngineError):
            engine(ANY, schema__cedarschema=self._schema("{}")).decide(_request(resource={"other": 1}))

    def test_one_that_fits(self, engine):
        """With a schema of the derived facts everything is decided as without."""
        places = "{stated: Bool, in_eea: Bool, jurisdiction?: String"
        resource = f"{places}, personal: Bool, required_clearance: Long, high_sensitivity: Bool}}"
        subject = f"{places}, clearance: Long}}"
        derived = f"{{resource: {resource}, destination: {places}}}, subject: {subject}, multi_factor: Bool}}"
        schema = self._schema(f"{{environment: {{}}, stated: Set<String>, derived: {derived}}}")

        assert engine(ANY, schema__cedarschema=schema).decide(READ).reason == "policy.mine"

    def test_none(self, engine):
        """What is no schema is refused."""
        with pytest.raises(PolicyError, match="not a Cedar schema"):
            engine(ANY, schema__cedarschema="entity").decide(READ)


class TestPlaybook:
    """The playbook in Cedar is as well guarded as that in Rego."""

    STATEMENTS = tuple(
        (path.name, statement.text)
        for path in sorted(CEDAR_PLAYBOOK.glob("*.cedar"))
        for statement in statements(path.name, path.read_text(encoding="utf-8"))
    )

    def _proof(self, tmp_path, name, change):
        copy = tmp_path / "policies"
        shutil.copytree(CEDAR_PLAYBOOK, copy)
        before = (copy / name).read_text(encoding="utf-8")
        after = change(before)
        assert before != after
        (copy / name).write_text(after, encoding="utf-8")
        return prove(playbook_control(CedarEngine([copy])))

    @pytest.mark.parametrize(("name", "text"), STATEMENTS, ids=[re.search('"(.*?)"', s[1])[1] for s in STATEMENTS])
    def test_a_lost_policy_is_noticed(self, tmp_path, name, text):
        """Deleting any one policy makes the proof fail."""
        assert not self._proof(tmp_path, name, lambda whole: whole.replace(text, "")).holds

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("dlp_redaction.cedar", "clearance < context", "clearance <= context"),
            ("eu_residency.cedar", "!context.derived.resource.in_eea", 'resource.region != "eu"'),
            ("eu_residency.cedar", "!context.derived.destination.in_eea", "false"),
            (
                "export_approval.cedar",
                'context.stated.contains("approval_ticket")',
                "context.environment has approval_ticket",
            ),
            ("step_up.cedar", "context.derived.multi_factor", "context.environment has auth_strength"),
            ("baseline.cedar", "&& resource.owner == principal.id", ""),
            ("baseline.cedar", 'principal in Role::"admin"', "principal"),
            ("baseline.cedar", 'principal.status != "active"', 'principal.status == "suspended_"'),
            ("baseline.cedar", "principal.org_id == resource.org_id", "true"),
        ],
    )
    def test_a_weakened_policy_is_noticed(self, tmp_path, name, old, new):
        """Typical mistakes make the proof fail."""
        assert not self._proof(tmp_path, name, lambda whole: whole.replace(old, new)).holds


_ROOTS = ("principal", "resource", "context.environment", "context.derived.subject", "context")
_NAMES = ("a", "b", "id", "clearance", "environment", '"x y"')
_LITERALS = st.sampled_from(['"v"', "1", "true", '["v", 1]', '{"a": 1}', 'Subject::user::"u-1"'])


def _named(base, name):
    return f"{base}[{name}]" if name.startswith('"') else f"{base}.{name}"


def _join(root, names):
    for name in names:
        root = _named(root, name)
    return root


_PATHS = st.builds(_join, st.sampled_from(_ROOTS), st.lists(st.sampled_from(_NAMES), max_size=2))
_TERMS = st.one_of(
    _PATHS,
    _LITERALS,
    st.builds(lambda a, b: f"(if true then {a} else {b})", _PATHS, _PATHS),
    st.builds(lambda a: f'{{"k": {a}}}.k', _PATHS),
    st.just('Subject::user::"u-1".a'),
)
_CONDITIONS = st.recursive(
    st.one_of(
        st.builds(lambda a, op, b: f"{a} {op} {b}", _TERMS, st.sampled_from(["==", "!="]), _TERMS),
        st.builds(lambda a, b: f"{a} has {b}", _PATHS, st.sampled_from(_NAMES)),
        st.builds(lambda a, b: f"{a} has {b} && {_named(a, b)} == {a}", _PATHS, st.sampled_from(_NAMES)),
        st.builds(lambda a, b: f"[{a}, {b}].contains({b})", _TERMS, _TERMS),
        st.just('principal in [resource, Role::"r"]'),
        st.just("principal is Subject::user"),
    ),
    lambda inner: st.builds(lambda a, op, b: f"({a}) {op} ({b})", inner, st.sampled_from(["&&", "||"]), inner),
    max_leaves=4,
)
_VALUES = st.recursive(
    st.sampled_from(["v", 1, True, "u-1"]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "x y"]), inner, max_size=2),
    max_leaves=4,
)
_HELD = st.dictionaries(st.sampled_from(["a", "b", "x y", "other"]), _VALUES, max_size=3)


def _answer(engine, request):
    try:
        return engine.decide(request)
    except EngineError:
        return "undecided"


@settings(max_examples=400, deadline=None)
@given(st.lists(_CONDITIONS, min_size=1, max_size=3), _HELD, _HELD, _HELD)
def test_what_policies_cannot_read_changes_nothing(tmp_path_factory, conditions, subject, resource, environment):
    """With and without what they do not name, random policies give the same answer, or both fail."""
    directory = tmp_path_factory.mktemp("random")
    kinds = ("permit", "forbid", "permit")
    text = "\n".join(
        f'@id("p{number}") {kinds[number]} (principal, action, resource) when {{ {condition} }};'
        for number, condition in enumerate(conditions)
    )
    (directory / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\n")
    (directory / "policy.cedar").write_text(text)
    request = build_request(
        {"id": "u-1", "type": "user", **subject}, "read", {"id": "d", "type": "t", **resource}, environment
    )

    assert _answer(CedarEngine([directory]), request) == _answer(CedarEngine([directory], pruned=False), request)

"""The middleware over real HTTP: what is not allowed is not called, what is to be masked does not leave."""

from __future__ import annotations

import asyncio
import gzip
import posixpath
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from companyos.authz import AccessMiddleware, Authorizer, LogEvent, MaskFields, Notification, RequireMfa, Route, StepUp
from companyos.authz.interface import Phase
from companyos.authz.problem import Refusal
from companyos.authz.routes import RouteTable, path_of
from companyos.decision import Obligation
from companyos.errors import ConfigError
from companyos.ports import Opinion
from tests.authz.served import JSON, SECRET, Sloppy, ask, guard, serving

LINES = ((b"content-type", b"application/x-ndjson"), (b"content-length", b"9999"))
ROW = b'{"iban":"%s","n":1e400,"id":7}' % SECRET.encode()


@pytest.fixture(scope="module")
def served_ledger(tmp_path_factory):
    from companyos.ledger import Ledger

    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('served') / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(playbook, served_ledger):
    """One application for all tests that change nothing: the address, and what reached it."""
    handlers = (LogEvent(), MaskFields(), RequireMfa(), StepUp())
    app = Sloppy()
    with serving(guard(app, Authorizer(playbook, served_ledger, handlers=handlers))) as address:
        yield address, app


@pytest.fixture
def site(shared):
    """The address, and a list of what reaches the application from now on."""
    address, app = shared
    app.reached.clear()
    return address, app.reached


class Demanding:
    """An engine that allows everything and demands what it was made with."""

    name = "demanding"
    version = "sha256:demanding"

    def __init__(self, *obligations, allow=True):
        self._obligations = obligations
        self._allow = allow

    def decide(self, request):
        return Opinion(self._allow, "policy.demanding", "internal words", self._obligations)


def _entries(ledger):
    return [(e.data["obligation"]["id"], e.data["outcome"]) for e in ledger.read() if "obligation" in e.data]


class TestDecisions:
    def test_allowed(self, site):
        """An allowed call reaches the application, and its answer leaves."""
        address, reached = site
        answer = ask(address, "/documents/d-1")

        assert (answer.status, answer.json) == (200, {"iban": SECRET})
        assert reached == [("GET", "/documents/d-1")]

    def test_a_subject_alone(self, site):
        """An authentication may give the subject and nothing else."""
        assert ask(site[0], "/documents/d-1", token="plain").status == 200

    @pytest.mark.parametrize(
        ("path", "token", "status", "reason", "recorded"),
        [
            ("/documents/d-1", "id", 403, "request.invalid", True),
            ("/documents/us", "alice", 403, "policy.tenant", True),
            ("/admin/users", "alice", 403, "policy.default_deny", True),
            ("/documents/d-1", "suspended", 403, "policy.inactive_subject", True),
            ("/documents/%20d", "alice", 403, "request.invalid", True),
            ("/documents/none", "alice", 403, "resource.unknown", False),
            ("/documents/broken", "alice", 503, "resource.unavailable", False),
            ("/documents/d-1", "broken", 503, "authentication.unavailable", False),
            ("/documents/d-1", "nonsense", 503, "authentication.unavailable", False),
            ("/documents/d-1", "nobody", 401, "authentication.required", False),
            ("/documents/d-1", None, 401, "authentication.required", False),
            ("/nowhere", "alice", 403, "route.undeclared", False),
            ("/", "alice", 403, "route.undeclared", False),
        ],
    )
    def test_refused(self, site, path, token, status, reason, recorded):
        """A refusal is a problem detail with reason and audit id, and the application is not called."""
        address, reached = site
        answer = ask(address, path, token=token)
        problem = answer.json

        assert (answer.status, problem["reason"], reached) == (status, reason, [])
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert set(problem) == {"type", "title", "status", "reason", "audit_id"}
        assert (problem["status"], problem["audit_id"] is not None) == (status, recorded)
        assert ("www-authenticate" in answer.headers) == (status == 401)

    def test_the_audit_id_is_an_entry(self, site, served_ledger):
        """The id that the client is told is that of the decision on the ledger."""
        audit_id = ask(site[0], "/documents/us").json["audit_id"]

        assert audit_id in {entry.id for entry in served_ledger.read()}

    def test_an_engine_that_fails(self, ledger):
        """What could not be decided about is 503, and says nothing of why."""

        class Failing(Demanding):
            def decide(self, request):
                raise ConnectionError("internal words")

        app = Sloppy()
        with serving(guard(app, Authorizer(Failing(), ledger))) as address:
            answer = ask(address, "/documents/d-1")

        assert (answer.status, answer.json["reason"], app.reached) == (503, "policy.unavailable", [])
        assert b"internal" not in answer.body

    def test_public_paths(self, site):
        """Public paths can be read by anybody, and written by nobody."""
        address, reached = site
        statuses = [ask(address, path, token=None).status for path in ("/health", "/static/a/b.css")]
        statuses += [ask(address, "/health", token=None, method=method).status for method in ("POST", "OPTIONS")]

        assert statuses == [200, 200, 403, 403]
        assert len(reached) == 2

    def test_what_a_client_says_of_itself(self, site):
        """Headers that name a subject, a strength or an address are believed by nobody."""
        names = ("X-User", "X-Subject", "X-Forwarded-User", "X-Auth-Strength", "X-Forwarded-For", "X-Original-URL")
        answer = ask(site[0], "/admin/users", headers=[(name, "admin") for name in names])

        assert answer.status == 403


class TestStepUp:
    def test_more_factors(self, site):
        """A deletion by one factor is answered with the challenge of RFC 9470, by two it is made."""
        address, reached = site
        weak = ask(address, "/documents/d-1", method="DELETE")
        strong = ask(address, "/documents/d-1", method="DELETE", token="strong")

        assert (weak.status, weak.json["reason"]) == (401, "authentication.insufficient")
        assert weak.headers["www-authenticate"].startswith('Bearer error="insufficient_user_authentication"')
        assert (strong.status, reached) == (200, [("DELETE", "/documents/d-1")])

    @pytest.mark.parametrize("allow", [True, False])
    def test_a_class_of_authentication(self, ledger, allow):
        """The class that the profile's step-up demands is named in the challenge, by an allow and by a denial."""
        demand = Obligation("obl-1", "step-up", {"acr_value": "urn:loa:4", "amr_values": ["hwk"]})
        authorizer = Authorizer(Demanding(demand, allow=allow), ledger, handlers=[StepUp()])
        with serving(guard(Sloppy(), authorizer)) as address:
            answer = ask(address, "/documents/d-1", token="strong")

        assert answer.status == 401
        assert 'acr_values="urn:loa:4"' in answer.headers["www-authenticate"]

    def test_a_denial_that_no_factor_mends(self, ledger):
        """A denial stays one for a subject that has stepped up already, or where no class is named."""
        reached = Obligation("obl-1", "step-up", {"acr_value": "loa3"})
        for demand in (reached, Obligation("require_mfa", "step-up")):
            authorizer = Authorizer(Demanding(demand, allow=False), ledger, handlers=[StepUp(), RequireMfa()])
            with serving(guard(Sloppy(), authorizer)) as address:
                assert ask(address, "/documents/d-1", token="strong" if demand is reached else "alice").status == 403

    def test_a_class_that_would_end_the_header(self, ledger):
        """A class with quotes or line ends in it is left out of the header."""
        demand = Obligation("obl-1", "step-up", {"acr_value": 'x", realm="evil'})
        with serving(guard(Sloppy(), Authorizer(Demanding(demand), ledger, handlers=[StepUp()]))) as address:
            answer = ask(address, "/documents/d-1")

        assert (answer.status, "evil" in answer.headers["www-authenticate"]) == (401, False)

    def test_a_class_that_was_reached(self, ledger):
        """Class and methods from the authentication discharge it."""
        demand = Obligation("obl-1", "step-up", {"acr_value": "loa3", "amr_values": ["hwk"]})
        with serving(guard(Sloppy(), Authorizer(Demanding(demand), ledger, handlers=[StepUp()]))) as address:
            assert ask(address, "/documents/d-1", token="strong").status == 200
        assert _entries(ledger) == [("obl-1", "discharged")]


class TestWaysAround:
    """Each of these reaches `/admin/users` in some server or framework; here none does."""

    @pytest.mark.parametrize(
        "path",
        [
            "//admin/users",
            "/admin//users",
            "/admin/users/",
            "/admin/users//",
            "/./admin/users",
            "/static/../admin/users",
            "/static/a/../../admin/users",
            "/static/%2e%2e/admin/users",
            "/static/%2E%2E/admin/users",
            "/static/.%2e/admin/users",
            "/static/..%2fadmin/users",
            "/static/%252e%252e/admin/users",
            "/static/..;/admin/users",
            "/static/x%5c..%5c..%5cadmin/users",
            "/static/..\\..\\admin/users",
            "/admin;v=1/users",
            "/admin/users;.css",
            "/admin/users%3b.css",
            "/%61dmin/users",
            "/admin%2fusers",
            "/admin%2Fusers",
            "/Admin/users",
            "/ADMIN/USERS",
            "/admin/users%00",
            "/admin/users%0a",
            "/admin/users%20",
            "/admin/users.json",
            "/admin/users/.",
            "/admin/us%E2%80%8Bers",
            "/admin/users%3f",
            "/static/a?/../../admin/users",
            "/health/../admin/users",
            "/health/%2e%2e/admin/users",
            "/documents/../admin/users",
            "/documents/%2e%2e%2fadmin%2fusers",
            "/static/%c0%ae%c0%ae/admin/users",
            "/static/%ff",
            "/\uff41dmin/users".encode().decode("latin-1"),
            "http://other.example/admin/users",
            "admin/users",
            "*",
        ],
    )
    @pytest.mark.parametrize("token", ["alice", None])
    def test_spellings_of_a_path(self, site, path, token):
        """A path in another spelling is refused before anybody reads it, or is the one that it looks like."""
        address, reached = site
        answer = ask(address, path, token=token)

        assert answer.status in ({200} if "?" in path else {400, 401, 403})
        assert not [way for _, way in reached if "admin" in way]

    @pytest.mark.parametrize(
        "method", ["HEAD", "OPTIONS", "POST", "PUT", "PATCH", "TRACE", "PROPFIND", "get", "Delete"]
    )
    @pytest.mark.parametrize("path", ["/admin/users", "/documents/us"])
    def test_other_methods(self, site, method, path):
        """No method but the declared one passes; HEAD needs what GET needs."""
        address, reached = site
        answer = ask(address, path, method=method)

        assert answer.status in {400, 403}
        assert reached == []

    def test_head_of_what_may_be_read(self, site):
        """HEAD is allowed where GET is."""
        address, reached = site
        answer = ask(address, "/documents/d-1", method="HEAD")

        assert (answer.status, answer.body, reached) == (200, b"", [("HEAD", "/documents/d-1")])

    @pytest.mark.parametrize(
        "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x-http-method-override"]
    )
    def test_a_method_in_a_header(self, site, name):
        """A header that asks for another method is refused, on public paths too."""
        address, reached = site
        answers = [ask(address, path, headers=[(name, "DELETE")]) for path in ("/documents/d-1", "/health")]

        assert [(answer.status, answer.json["reason"]) for answer in answers] == [(400, "request.method_override")] * 2
        assert reached == []

    @pytest.mark.parametrize(
        "query", ["_method=DELETE", "a=1&_METHOD=put", "%5fmethod=DELETE", "_method", "a=1;_method=PUT"]
    )
    def test_a_method_in_the_query(self, site, query):
        """So is a parameter that does."""
        address, reached = site

        assert (ask(address, f"/documents/d-1?{query}").status, reached) == (400, [])

    def test_a_root(self, playbook, ledger):
        """Under a server's root path, routes are those below it."""
        app = Sloppy()
        with serving(guard(app, Authorizer(playbook, ledger)), root_path="/api") as address:
            statuses = [ask(address, path).status for path in ("/documents/d-1", "/admin/users")]

        assert (statuses, app.reached) == ([200, 403], [("GET", "/api/documents/d-1")])


class TestOtherConnections:
    def test_lifespan(self, playbook, ledger):
        """Start and end of the server reach the application."""
        app = Sloppy()
        with serving(guard(app, Authorizer(playbook, ledger))):
            pass

        assert app.started == ["lifespan.startup", "lifespan.shutdown"]

    @pytest.mark.parametrize(
        ("path", "token", "accepted"),
        [
            ("/live", b"Bearer alice", True),
            ("/live", b"", False),
            ("/live", b"Bearer suspended", False),
            ("/live/secret", b"Bearer alice", False),
            ("/live/d-1", b"Bearer alice", True),
            ("/documents/d-1", b"Bearer alice", False),
            ("/health", b"Bearer alice", False),
            ("//live", b"Bearer alice", False),
        ],
    )
    def test_websockets(self, playbook, ledger, handlers, path, token, accepted):
        """A websocket is accepted only where it is declared and allowed, and never where messages had to be masked."""
        sent = _connect(guard(Sloppy(), Authorizer(playbook, ledger, handlers=handlers)), "websocket", path, token)

        assert [message["type"] for message in sent] == ["websocket.accept"] * accepted + ["websocket.close"]
        assert sent[-1]["code"] == (1000 if accepted else 1008)

    def test_what_nobody_knows(self, playbook, ledger):
        """A kind of connection that is not known is not passed on."""
        app = Sloppy()
        with pytest.raises(ConfigError, match="kind of connection"):
            _connect(guard(app, Authorizer(playbook, ledger)), "telepathy", "/live", b"")

        assert app.reached == []


def _connect(app, kind, path, token):
    """Open a connection by messages, for which no client is at hand; what was sent back."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": f"{kind}.connect"}

    scope = {"type": kind, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    asyncio.run(app({**scope, "headers": [(b"authorization", token)]}, receive, send))
    return sent


class TestMasking:
    @pytest.fixture
    def served(self, playbook, ledger, handlers):
        """Answers given by an application to a reader whose view is masked: the answer, and the ledger's receipts."""

        def serve(status, headers, chunks, *, method="GET", **options):
            app = guard(
                Sloppy({"secret": (status, headers, chunks)}),
                Authorizer(playbook, ledger, handlers=handlers),
                **options,
            )
            with serving(app) as address:
                answer = ask(address, "/documents/secret", method=method)
            return answer, _entries(ledger)

        return serve

    def test_json(self, served):
        """A JSON body leaves masked, with its own length, other digits as they were, and a receipt."""
        headers = (*JSON, (b"content-length", b"%d" % len(ROW)), (b"etag", b'"abc"'), (b"x-kept", b"yes"))
        answer, receipts = served(200, headers, [ROW[:15], ROW[15:]])

        assert answer.body == b'{"iban":"***","n":1e400,"id":7}'
        assert answer.headers["content-length"] == str(len(answer.body))
        assert ("etag" in answer.headers, answer.headers["x-kept"]) == (False, "yes")
        assert receipts == [("mask_fields", "discharged")]

    @pytest.mark.parametrize("kind", [b"application/json; charset=UTF-8", b"Application/JSON", b"application/hal+json"])
    def test_kinds_of_json(self, served, kind):
        """JSON by any of its names is masked."""
        answer, _ = served(200, [(b"Content-Type", kind)], [ROW])

        assert (answer.status, answer.json["iban"]) == (200, "***")

    def test_lines(self, served):
        """JSON lines leave masked, each as it comes, without the length they had."""
        answer, receipts = served(200, LINES, [ROW[:9], ROW[9:] + b"\r", b"\n" + ROW])

        assert answer.body == b'{"iban":"***","n":1e400,"id":7}\r\n{"iban":"***","n":1e400,"id":7}'
        assert ("content-length" in answer.headers, receipts) == (False, [("mask_fields", "discharged")])

    def test_a_line_that_cannot_be_masked(self, served):
        """The connection is broken off behind the last good line, and the refusal is on record."""
        answer, receipts = served(200, LINES, [b'{"iban":"x"}\n', ROW + b"x\n", b'{"a":1}\n'])

        assert (answer.whole, answer.body) == (False, b'{"iban":"***"}\n')
        assert receipts == [("mask_fields", "discharged"), ("mask_fields", "refused")]

    @pytest.mark.parametrize(
        ("status", "headers", "chunks"),
        [
            (200, [(b"content-type", b"text/plain")], [ROW]),
            (200, [(b"content-type", b"text/html")], [ROW]),
            (200, [(b"content-type", b"text/event-stream")], [b"data: " + ROW]),
            (200, [(b"content-type", b"application/octet-stream")], [ROW]),
            (200, [(b"content-type", b"application/jsonp")], [ROW]),
            (200, [], [ROW]),
            (200, [*JSON, (b"content-encoding", b"gzip")], [gzip.compress(ROW)]),
            (200, [*JSON, (b"Content-Encoding", b"br")], [ROW]),
            (200, [*LINES, (b"content-encoding", b"gzip")], [gzip.compress(ROW)]),
            (200, [(b"content-type", b"application/json; charset=utf-16")], [ROW.decode().encode("utf-16")]),
            (200, [(b"content-type", b"application/json"), (b"content-type", b"text/plain")], [ROW]),
            (200, JSON, [gzip.compress(ROW)]),
            (200, JSON, [ROW + b"x"]),
            (200, JSON, [b'"%s"' % SECRET.encode()]),
            (200, JSON, [b"[" * 5000]),
            (200, JSON, [b'{"a":"', b"x" * 2000, b'"}']),
            (206, [*JSON, (b"content-range", b"bytes 0-20/30")], [ROW[:20]]),
        ],
    )
    def test_what_cannot_be_masked(self, served, status, headers, chunks):
        """A body that cannot be looked into is refused whole, with the obligation's refusal or loss on record."""
        answer, receipts = served(status, headers, chunks, max_body_bytes=1000)

        assert (answer.status, answer.json["reason"]) == (403, "obligation.failed")
        assert SECRET.encode() not in answer.body
        assert receipts in ([("mask_fields", "refused")], [("mask_fields", "moot")])

    def test_a_failure_of_the_application(self, served):
        """An error page that cannot be masked keeps its status, and loses its text."""
        answer, _ = served(500, [(b"content-type", b"text/plain")], [b"Traceback: " + ROW])

        assert (answer.status, answer.json["reason"]) == (500, "obligation.failed")
        assert SECRET.encode() not in answer.body

    @pytest.mark.parametrize(("status", "headers"), [(204, ()), (304, [(b"etag", b'"x"')])])
    def test_nothing_to_mask(self, served, status, headers):
        """An answer without a body leaves."""
        answer, receipts = served(status, headers, [])

        assert (answer.status, answer.body, receipts) == (status, b"", [("mask_fields", "discharged")])

    def test_head(self, served):
        """HEAD tells nothing of the length of what would be masked."""
        answer, _ = served(200, (*JSON, (b"content-length", b"9999")), [], method="HEAD")

        assert (answer.status, "content-length" in answer.headers) == (200, False)

    def test_an_application_that_breaks(self, served, ledger):
        """Nothing of a half body leaves, and the record says that the call failed."""
        answer, receipts = served(200, JSON, [ROW[:20], RuntimeError("broken")])
        (failed,) = [entry.data for entry in ledger.read() if entry.type == "companyos.authz.call"]

        assert (answer.status, receipts) == (500, [("mask_fields", "moot")])
        assert (failed["outcome"], failed["detail"]) == ("failed", "RuntimeError")
        assert SECRET.encode() not in answer.body

    def test_files_do_not_go_by_another_way(self, playbook, ledger, handlers):
        """An application is not offered ways to send a body that the middleware does not see."""
        seen = []

        async def app(scope, receive, send):
            seen.append(scope["extensions"])
            await send({"type": "http.response.start", "status": 200, "headers": list(JSON)})
            await send({"type": "http.response.pathsend", "path": "/etc/passwd"})

        guarded = guard(app, Authorizer(playbook, ledger, handlers=handlers))
        scope = {"type": "http", "method": "GET", "path": "/documents/secret", "query_string": b""}
        scope |= {"headers": [(b"authorization", b"Bearer alice")], "extensions": {"http.response.pathsend": {}}}
        sent = []

        async def send(message):
            sent.append(message)

        with pytest.raises(Exception, match="cannot be sent so"):
            asyncio.run(guarded(scope, None, send))

        assert (seen, sent) == ([{}], [])


class TestHandlers:
    @pytest.mark.parametrize(
        ("answer", "status"), [("as it was", 200), ({"b": 1}, 200), ("nonsense", 403), ("raise", 403)]
    )
    def test_a_handler_of_ones_own(self, ledger, answer, status):
        """A handler on the result may be asynchronous, is given JSON text, and gives back JSON or nothing leaves."""

        class Own:
            obligation = "own"

            async def discharge(self, obligation, value, context):
                await asyncio.sleep(0)
                if answer == "raise":
                    raise RuntimeError(value.text)
                return (
                    {"as it was": value, "nonsense": object()}.get(answer, answer)
                    if isinstance(answer, str)
                    else answer
                )

        authorizer = Authorizer(Demanding(Obligation("own")), ledger, handlers=[Own()])
        with serving(guard(Sloppy(), authorizer)) as address:
            got = ask(address, "/documents/d-1")

        assert got.status == status
        assert (SECRET.encode() in got.body) == (answer == "as it was")

    def test_a_stream_that_a_handler_cannot_take(self, ledger):
        """A handler that knows nothing of lines refuses a stream of them."""

        class Own:
            obligation = "own"
            phase = Phase.AFTER

            def discharge(self, obligation, value, context):
                return value

        authorizer = Authorizer(Demanding(Obligation("own")), ledger, handlers=[Own()])
        with serving(guard(Sloppy({"d-1": (200, LINES, [ROW])}), authorizer)) as address:
            assert ask(address, "/documents/d-1").status == 403

    def test_an_obligation_that_nobody_carries_out(self, ledger):
        """It is a denial, and the reason says so."""
        app = Sloppy()
        with serving(guard(app, Authorizer(Demanding(Obligation("watermark")), ledger))) as address:
            answer = ask(address, "/documents/d-1")

        assert (answer.status, answer.json["reason"], app.reached) == (403, "obligation.unhandled", [])

    def test_an_obligation_that_fails(self, ledger):
        """What comes before the call and fails leaves it unmade."""
        told = Obligation("n-1", "notification", {"to": "ops", "body": "read"})
        handler = Notification(lambda *_: False, destinations=["ops"])
        app = Sloppy()
        with serving(guard(app, Authorizer(Demanding(told), ledger, handlers=[handler]))) as address:
            answer = ask(address, "/documents/d-1")

        assert (answer.status, answer.json["reason"], app.reached) == (403, "obligation.failed", [])
        assert b"internal" not in answer.body

    def test_two_masks(self, ledger):
        """Two obligations to mask are both carried out, on streams too."""
        demands = [Obligation("mask_fields", properties={"fields": [name]}) for name in ("iban", "n")]
        authorizer = Authorizer(Demanding(*demands), ledger, handlers=[MaskFields()])
        with serving(guard(Sloppy({"d-1": (200, LINES, [ROW])}), authorizer)) as address:
            assert ask(address, "/documents/d-1").body == b'{"iban":"***","n":null,"id":7}'


_pieces = st.sampled_from(
    [
        "/",
        "a",
        "admin",
        ".",
        "..",
        "%2e",
        "%2F",
        "%5c",
        "%25",
        "%61",
        ";",
        "\\",
        "%00",
        "%20",
        "%3b",
        "\u00e9",
        "e\u0301",
        "//",
    ]
) | st.text(max_size=2)


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("get", "/a"),
            ("GET", "a"),
            ("GET", "/a//b"),
            ("GET", "/{a}/{a}"),
            ("GET", "/{rest*}/a"),
            ("GET", "/a{b}"),
            ("GET", "/a/../b"),
            ("GET", "/a;b"),
            ("GET", "/a*"),
            ("GET", "/\u200b"),
            ("GET", ""),
        ],
    )
    def test_what_is_no_route(self, method, path):
        """A route that cannot mean anything is refused when it is declared."""
        with pytest.raises(ConfigError):
            Route(method, path, "read")

    def test_a_websocket_is_decided_about_first(self):
        """What decides within the application comes too late for a websocket."""
        with pytest.raises(ConfigError, match="before it is accepted"):
            Route("WEBSOCKET", "/live", None)

    @pytest.mark.parametrize(
        "paths", [("/a/{x}", "/a/{y}"), ("/a", "/a"), ("/a/{x}", "/{y}/b"), ("/{x}/b/{r*}", "/a/{s*}")]
    )
    def test_two_routes_for_one_path(self, paths):
        """Two routes of which neither is the more literal one are refused."""
        with pytest.raises(ConfigError, match="two routes fit"):
            RouteTable([Route("GET", path, "read") for path in paths])

    @pytest.mark.parametrize(
        ("path", "route", "parameters"),
        [
            ("/a/b", "/a/b", {}),
            ("/a/c", "/a/{x}", {"x": "c"}),
            ("/a/c/d", "/a/{r*}", {"r": "c/d"}),
            ("/a/b/c", "/a/b/{x}", {"x": "c"}),
            ("/z/1", "/{r*}", {"r": "z/1"}),
            ("/a/b/", None, None),
        ],
    )
    def test_the_most_literal_one_holds(self, path, route, parameters):
        """Of several routes the most literal one holds, in whatever order they are declared."""
        paths = ["/{r*}", "/a/{r*}", "/a/{x}", "/a/b/{x}", "/a/b"]
        for order in (paths, paths[::-1]):
            table = RouteTable([Route("GET", declared, "read") for declared in order])
            if route is None:
                with pytest.raises(Exception, match="route.undeclared"):
                    table.find("GET", path)
            else:
                found, got = table.find("GET", path)
                assert (found.path, got) == (route, parameters)

    @pytest.mark.parametrize(("paths", "found"), [(("/a/{x}", "/{r*}"), "/a/{x}"), (("/{r*}", "/a/{x}"), "/a/{x}")])
    def test_head_is_no_wider_than_get(self, paths, found):
        """A wide route for HEAD is no way around a narrow one for GET."""
        table = RouteTable([Route("GET", paths[0], "read"), Route("HEAD", paths[1], "look")])

        assert table.find("HEAD", "/a/1")[0].path == found

    def test_a_server_that_gives_no_raw_path(self):
        """Without the bytes that were sent, the decoded path is judged alone."""
        assert path_of({"path": "/a/b"}) == "/a/b"
        with pytest.raises(Exception, match="request.path"):
            path_of({"path": "/a/../b"})

    @given(st.lists(_pieces, max_size=8).map("".join))
    @example("/a%2e")
    def test_an_accepted_path_is_read_alike_by_everybody(self, sent):
        """Whatever is accepted stays what it is under all that servers and frameworks do to paths."""
        path = unquote(sent)
        try:
            accepted = path_of({"path": path, "raw_path": quote(sent, safe="%/;\\.:~").encode()})
        except Refusal:
            return
        readings = (unquote(path), unquote(sent), unicodedata.normalize("NFC", path), path.replace("\\", "/"))
        readings += (path.partition(";")[0], path.partition("?")[0], path.partition("\0")[0], path.strip("\r\n\t"))

        assert set(readings) == {accepted}
        assert posixpath.normpath(path) == (path.rstrip("/") or "/")

    def test_a_path_that_was_rewritten(self):
        """A decoded path that is not what was sent is refused."""
        with pytest.raises(Exception, match="request.path"):
            path_of({"path": "/admin", "raw_path": b"/public"})

    @pytest.mark.parametrize("challenge", ["", " ", "Bearer\r\nX: y", "B\u00e4r"])
    def test_a_challenge_that_is_no_header(self, playbook, ledger, challenge):
        """The challenge is checked when the middleware is made."""
        with pytest.raises(ConfigError, match="challenge"):
            AccessMiddleware(Sloppy(), Authorizer(playbook, ledger), authenticate=lambda _: None, challenge=challenge)

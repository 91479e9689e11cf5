"""Declared packages are read from every supported file and held against real indexes over real sockets."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.decision import Verdict
from companyos.guardrails import IndexUnreachableError, SnapshotIndex, Tree, open_index, verify_packages
from companyos.guardrails.packages import ChainIndex, DirectoryIndex, HttpIndex, configured_index, take_snapshot
from companyos.guardrails.packages.interface import Answer
from companyos.guardrails.packages.manifests import read_manifest
from companyos.guardrails.packages.names import lookalike
from companyos.guardrails.packages.simple import ProjectFile, files_in, version_of

_DIGEST = "sha256:" + "ab" * 32
_PAGE = f"""<!DOCTYPE html><html><body>
<a href="../../f/click-8.1.7-py3-none-any.whl#{_DIGEST.replace(":", "=")}" data-requires-python="&gt;=3.7">x</a>
<a href="../../f/click-8.1.6.tar.gz#sha256={"cd" * 32}" data-yanked="broken">x</a>
</body></html>"""


@contextmanager
def _registry(pages, status=404, stumbles=0):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            page = pages.get(self.path)
            self.send_response(503 if len(asked) <= stumbles else 200 if page is not None else status)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *arguments):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_simple_page_over_http():
    """Existence, versions, digests and yanked marks are read from the page that pip reads."""
    with _registry({"/simple/click/": _PAGE}) as address:
        index = HttpIndex(f"{address}/simple")

        assert Answer(True, True, frozenset({_DIGEST}), False) == index.find("pypi", "Click", "8.1.7")
        assert index.find("pypi", "click", "8.1.6").yanked
        assert Answer(exists=True) == index.find("pypi", "click", "9.9")
        assert Answer(exists=False) == index.find("pypi", "clack", "1")


def test_the_npm_registry_over_http():
    """Versions and their integrity are read from the registry's version documents."""
    page = '{"dist": {"integrity": "sha512-xyz=="}}'
    with _registry({"/@types%2Fnode/1.0.0": page, "/@types%2Fnode/latest": page}) as address:
        index = HttpIndex(None, address)

        assert frozenset({"sha512-xyz=="}) == index.find("npm", "@types/node", "1.0.0").hashes
        assert Answer(exists=True) == index.find("npm", "@types/node", "9.9.9")
        assert Answer(exists=False) == index.find("npm", "no-such", "1.0.0")


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_registry_that_errs_is_no_answer(status):
    """Any status but 200 and 404 means that nothing was found out."""
    with _registry({}, status) as address, pytest.raises(IndexUnreachableError, match=str(status)):
        HttpIndex(address).find("pypi", "click", "8.1.7")


def test_a_registry_that_stumbles_is_asked_again():
    """A status that may be gone a moment later, or a lost connection, is no reason to find nothing out."""
    with _registry({"/simple/click/": _PAGE}, stumbles=2) as address:
        assert HttpIndex(f"{address}/simple").find("pypi", "click", "8.1.7").version_exists


def test_an_unreachable_registry_is_given_up_and_credentials_stay_hidden():
    """After three failures it is not asked again, and no message holds the password."""
    index = HttpIndex("http://bot:" + "hunter-9z@127.0.0.1:9/simple")
    for name in ("a", "b", "c", "d"):
        with pytest.raises(IndexUnreachableError) as caught:
            index.find("pypi", name, None)

        assert "hunter" not in str(caught.value)
    assert "cannot be reached" in str(caught.value)


def test_a_directory_of_wheels(tmp_path):
    """A folder of files is an index whose digests are computed."""
    (tmp_path / "my_pkg-1.0-py3-none-any.whl").write_bytes(b"wheel")
    index = open_index(str(tmp_path))

    assert index.find("pypi", "my-pkg", "1.0").version_exists
    assert not index.find("pypi", "my", "1.0").exists


def test_several_indexes_in_one(tmp_path):
    """A package of any part exists; a miss counts only when all parts answered."""
    (tmp_path / "a-1.0.tar.gz").write_bytes(b"a")
    dead = HttpIndex("http://127.0.0.1:9/simple")
    chain = ChainIndex([dead, DirectoryIndex(tmp_path)])

    assert chain.find("pypi", "a", "1.0").version_exists
    with pytest.raises(IndexUnreachableError):
        chain.find("pypi", "b", "1.0")


def test_pip_s_own_configuration_is_used(tmp_path):
    """Index and links come from the environment and the configuration file."""
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://u:p@pkg.corp/simple\nextra-index-url = https://more.corp/simple\n")
    name = configured_index({"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path)}).name

    assert "https://pkg.corp/simple" in name
    assert "https://more.corp/simple" in name
    assert "u:p" not in name


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "requirements.txt",
            "A_b[x]==1.0 ; python_version > '3' \\\n --hash=sha256:AA\n",
            ("a-b", "1.0", {"sha256:aa"}),
        ),
        ("requirements/dev.txt", "a @ https://x.corp/a.whl#sha256=aa\n", ("a", None, {"sha256:aa"})),
        ("poetry.lock", '[[package]]\nname="a"\nversion="1"\nfiles=[{hash="sha256:aa"}]\n', ("a", "1", {"sha256:aa"})),
        (
            "pylock.toml",
            '[[packages]]\nname="a"\nversion="1"\n[[packages.wheels]]\nhashes={sha256="aa"}\n',
            ("a", "1", {"sha256:aa"}),
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":2,"packages":{"node_modules/@s/a":{"version":"1.0.0","integrity":"sha512-a"}}}',
            ("@s/a", "1.0.0", {"sha512-a"}),
        ),
    ],
)
def test_a_locked_dependency_is_read(path, text, expected):
    """Name, version and digests come out of every kind of lock file."""
    [dependency] = read_manifest(path, text).dependencies

    assert expected == (dependency.name, dependency.version, set(dependency.hashes))


@given(st.text(max_size=300), st.sampled_from(["requirements.txt", "pyproject.toml", "uv.lock", "package-lock.json"]))
def test_no_text_crashes_a_reader(text, path):
    """What is no manifest is told as a problem."""
    manifest = read_manifest(path, text)

    assert manifest.problem or manifest.unsupported or isinstance(manifest.dependencies, list)


def test_links_are_read_however_they_are_written():
    """Quotes of both kinds, none, capital letters, escapes and a bare mark of withdrawal are understood."""
    page = (
        "<A HREF='../a-1.0.zip#sha256=AB'>x</A><a data-requires-python='>=3' href=a-2.0.zip data-yanked>x</a>"
        '<a\nhref = "a-3.0.zip?x=1&amp;y=2#md5=00" data-yanked=""\n>x</a><abbr href="b-1.zip">x</abbr><a>x</a>'
    )

    assert [
        ProjectFile("a-1.0.zip", "sha256:ab", yanked=False),
        ProjectFile("a-2.0.zip", None, yanked=True),
        ProjectFile("a-3.0.zip?x=1&y=2", None, yanked=True),
    ] == files_in(page)


@pytest.mark.parametrize(
    ("filename", "version"),
    [("a_b-1.0-py3-none-any.whl", "1"), ("a-b-1.0.post1.tar.gz", "1.post1"), ("a-2.zip", "2"), ("readme.txt", None)],
)
def test_the_version_in_a_filename(filename, version):
    """Versions of wheels and sdists are read from their names, canonical."""
    assert version == version_of(filename)


@pytest.mark.parametrize(
    ("name", "other"),
    [("reqeusts", "requests"), ("numpyy", "numpy"), ("pand-as", "pandas"), ("requests", None), ("orders", None)],
)
def test_names_one_slip_away(name, other):
    """Swapped, added and separated letters are seen; popular and distant names are not."""
    assert other == lookalike("pypi", name)


def test_a_snapshot_taken_from_one_index_answers_for_it(plant):
    """What was clean online is clean offline, from the snapshot alone."""
    root = plant({"requirements.txt": f"click==8.1.7 --hash={_DIGEST}\n"})
    with _registry({"/simple/click/": _PAGE}) as address:
        data = take_snapshot(Tree.open(root), HttpIndex(f"{address}/simple"))

    assert verify_packages(Tree.open(root), SnapshotIndex(data)).allow


def test_a_vendored_file_is_held_against_its_digest(plant):
    """A wheel in the tree must be the one that the requirement pins."""
    files = {
        "vendor/a-1.0-py3-none-any.whl": b"\0wheel",
        "requirements.txt": f"./vendor/a-1.0-py3-none-any.whl --hash={_DIGEST}\n",
    }
    decision = verify_packages(Tree.open(plant(files)), SnapshotIndex({"pypi": {}}))

    assert ["G03.hash-mismatch"] == [finding.rule for finding in decision.findings]


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "-r ../outside.txt\n"},
        {"requirements.txt": "-r https://x.corp/requirements.txt\n"},
        {"requirements.txt": "-c gone.txt\n"},
        {"setup.cfg": "[options]\ninstall_requires =\n  click\n"},
        {"setup.py": "from setuptools import setup\nsetup(install_requires=['click'])\n"},
        {"pyproject.toml": "[tool.hatch.envs.x]\ndependencies = ['click @ {root:uri}/click']\n"},
        {"bun.lockb": b"\0\1\2"},
    ],
    ids=["outside", "remote", "gone", "setup.cfg", "setup.py", "hatch", "binary lock"],
)
def test_what_is_declared_where_it_cannot_be_read_is_undetermined(plant, files):
    """A file that is drawn in and not here, and a kind that is not read, are gaps and not passes."""
    decision = verify_packages(Tree.open(plant({"a.py": "x = 1\n"} | files)), SnapshotIndex({"pypi": {"click": {}}}))

    assert (Verdict.UNDETERMINED, 1) == (decision.verdict, len(decision.facts["unchecked"]))


def test_a_manifest_behind_a_link_out_of_the_tree_is_undetermined(plant, tmp_path):
    """A link is not followed, so what the file behind it declares is not known."""
    (tmp_path / "elsewhere.txt").write_text("click==8.1.7\n")
    root = plant({"a.py": "x = 1\n"})
    (root / "requirements.txt").symlink_to(tmp_path / "elsewhere.txt")

    assert Verdict.UNDETERMINED is verify_packages(Tree.open(root), SnapshotIndex({"pypi": {}})).verdict


def test_single_files_draw_in_what_lies_beside_them(plant):
    """Of a tree of one file the files that it names are read as well."""
    root = plant({"requirements/dev.txt": "-r base.txt\n", "requirements/base.txt": f"ghost==1 --hash={_DIGEST}\n"})
    tree = Tree.open(root, only=["requirements/dev.txt"])
    decision = verify_packages(tree, SnapshotIndex({"pypi": {}}), only=tree.texts)

    assert [("G03.unknown-package", "requirements/base.txt")] == [(f.rule, f.path) for f in decision.findings]


def test_the_index_in_use_may_be_named_in_a_file(plant):
    """An index that is the configured one is not foreign."""
    with _registry({"/simple/click/": _PAGE}) as address:
        text = f"--index-url {address}/simple/\nclick==8.1.7 --hash={_DIGEST}\n"

        assert verify_packages(Tree.open(plant({"requirements.txt": text})), HttpIndex(f"{address}/simple")).allow


@pytest.mark.parametrize(("ecosystem", "name"), [("pypi", "cattrs"), ("pypi", "aredis"), ("npm", "tslint")])
def test_known_names_are_no_lookalikes(ecosystem, name):
    """Packages that are known themselves are not taken for slips."""
    assert lookalike(ecosystem, name) is None

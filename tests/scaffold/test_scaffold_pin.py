"""Which companyos a repository takes: the one that was pinned, from its place, and no other of that name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata

import pytest

from companyos._version import __version__
from companyos.scaffold import PinError, find_pin, new, pin_wheel
from companyos.scaffold.bundle import file_digest


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter with pip and nothing else."""
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    return place / "bin" / "python"


@pytest.fixture
def install(python, tmp_path):
    """Installs a repository's companyos with a hostile index of the same name at hand; gives pip's result."""
    target = tmp_path / "installed"

    def run(repository, hostile):
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--find-links", str(hostile)]
        command += ["--require-hashes", "--target", str(target), "-r", "requirements/companyos.txt"]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        environ["PIP_CONFIG_FILE"] = os.devnull
        return subprocess.run(command, cwd=repository, env=environ, capture_output=True, text=True, check=False)

    run.target = target
    return run


@pytest.fixture
def hostile(tmp_path, wheel_maker):
    """A place that offers packages called companyos, of the same version and of a higher one, made by somebody else."""
    place = tmp_path / "hostile"
    place.mkdir()
    wheel_maker(place, "somebody else")
    wheel_maker(place, "somebody else", version="99.0.0")
    return place


def test_the_pinned_wheel_is_taken(tmp_path, wheel, install, hostile):
    """With a higher version of the same name on offer, ours is installed."""
    made = new("api", tmp_path / "shop", companyos_wheel=wheel, use_git=False)
    done = install(made.path, hostile)
    assert done.returncode == 0, done.stderr
    assert (install.target / "companyos" / "__init__.py").read_text() == "MAKER = 'ours'\n"


def test_a_replaced_wheel_is_refused(tmp_path, wheel, install, hostile):
    """Another content under the same file name does not get in."""
    made = new("api", tmp_path / "shop", companyos_wheel=wheel, use_git=False)
    shutil.copyfile(hostile / wheel.name, made.path / "vendor" / wheel.name)
    done = install(made.path, hostile)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not install.target.exists()


def test_a_package_of_the_same_name_on_an_index_is_refused(tmp_path, wheel, install, hostile):
    """Asked for by name and version with our digest, the one on offer is refused."""
    made = new("api", tmp_path / "shop", companyos_wheel=wheel, use_git=False)
    (made.path / "requirements" / "companyos.txt").write_text(
        f"companyos==0.1.0 --hash=sha256:{made.pin.sha256}\n", encoding="utf-8"
    )
    done = install(made.path, hostile)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


@pytest.fixture
def unpinned(tmp_path, wheel):
    """A repository as plain `copier copy --defaults` makes it: nobody has said which companyos."""
    made = new("api", tmp_path / "plain", companyos_wheel=wheel, use_git=False)
    answers = made.path / ".copier-answers.yml"
    text = answers.read_text()
    url = f"https://github.com/companyos/companyos/releases/download/v{__version__}/{wheel.name}"
    answers.write_text(text.replace(made.pin.sha256, "''").replace(made.pin.source, url))
    (made.path / "vendor" / wheel.name).unlink()
    from companyos.scaffold import TemplateStore, cache_directory, carried_template
    from companyos.scaffold.render import render

    store = TemplateStore(cache_directory())
    template = carried_template(store)
    with store.published(template) as published:
        render(published, template.tag, tmp_path / "y", {}, suggested={}, ask=False)
    return tmp_path / "y"


def test_without_a_pin_nothing_is_installed(unpinned, install, hostile, wheel):
    """The requirement that says "not pinned yet" matches no file there can be."""
    requirement = unpinned / "requirements" / "companyos.txt"
    text = requirement.read_text()
    assert "Not pinned yet" in text
    url = text.splitlines()[-1].split(" @ ")[1].split(" ")[0]
    requirement.write_text(text.replace(url, wheel.as_uri()))
    done = install(unpinned, hostile)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_make_pin_pins(unpinned, install, hostile, wheel):
    """`make pin` vendors the wheel, writes requirement and answers, and then it installs."""
    subprocess.run(["make", "pin", f"WHEEL={wheel}"], cwd=unpinned, check=True, capture_output=True)
    assert install(unpinned, hostile).returncode == 0
    answers = (unpinned / ".copier-answers.yml").read_text()
    assert f"companyos_sha256: {file_digest(wheel)}" in answers
    assert f"companyos_source: ./vendor/{wheel.name}" in answers


@pytest.mark.parametrize("argument", ["", "missing.whl", "/etc/hostname"], ids=["none", "missing", "no wheel"])
def test_make_pin_refuses_what_is_no_wheel(unpinned, argument):
    """A wrong argument changes nothing and fails."""
    before = (unpinned / "requirements" / "companyos.txt").read_text()
    done = subprocess.run(["make", "pin", f"WHEEL={argument}"], cwd=unpinned, capture_output=True, check=False)
    assert done.returncode == 2
    assert before == (unpinned / "requirements" / "companyos.txt").read_text()


def test_the_same_extras_everywhere(unpinned):
    """The requirement, `make pin` and `make lock` agree on the extras."""
    names = "authz,flags,observability"
    assert f"[{names}]" in (unpinned / "requirements" / "companyos.txt").read_text()
    assert f'EXTRAS = "{names}"' in (unpinned / "scripts" / "pin.py").read_text()
    assert 'EXTRAS = ("authz", "flags", "observability")' in (unpinned / "scripts" / "lock.py").read_text()


def _record(monkeypatch, record):
    """Let the installed companyos say that it came from there (PEP 610)."""

    class Distribution:
        def read_text(self, name):
            assert name == "direct_url.json"
            return record

    monkeypatch.setattr(metadata, "distribution", lambda _: Distribution())


def test_an_installed_wheel_pins_itself(monkeypatch, wheel):
    """What pip recorded about a local wheel is the pin, when the file is still that one."""
    import json

    digest = file_digest(wheel)
    archive = {"hashes": {"sha256": digest}}
    _record(monkeypatch, json.dumps({"url": wheel.as_uri(), "archive_info": archive}))
    assert pin_wheel(wheel) == find_pin()
    _record(monkeypatch, json.dumps({"url": wheel.as_uri(), "archive_info": {}}))
    assert digest == find_pin().sha256


def test_a_wheel_that_changed_since_is_refused(monkeypatch, wheel):
    """A file that is no longer what was installed is not pinned."""
    import json

    archive = {"hashes": {"sha256": "0" * 64}}
    _record(monkeypatch, json.dumps({"url": wheel.as_uri(), "archive_info": archive}))
    with pytest.raises(PinError, match="changed since"):
        find_pin()


def test_a_wheel_from_a_url_is_pinned_there(monkeypatch):
    """The URL and the digest that the installer recorded are the pin."""
    import json

    url = "https://example.com/companyos-0.1.0-py3-none-any.whl"
    _record(monkeypatch, json.dumps({"url": url, "archive_info": {"hash": f"sha256={'b' * 64}"}}))
    pin = find_pin()
    assert (url, "b" * 64, None) == (pin.source, pin.sha256, pin.wheel)


def test_from_an_index_it_says_what_to_do(monkeypatch):
    """Installed by name there is no source to state, so it refuses and names the option."""
    from companyos.scaffold import pin

    _record(monkeypatch, None)
    monkeypatch.setattr(pin, "source_checkout", lambda: None)
    with pytest.raises(PinError, match="--companyos-wheel"):
        find_pin()


@pytest.mark.templates
def test_the_wheel_of_this_checkout_carries_the_template(tmp_path, python):
    """A wheel built here, installed elsewhere, makes a repository offline that pins that same wheel."""
    pin = find_pin()
    with zipfile.ZipFile(pin.wheel) as archive:
        names = set(archive.namelist())
    assert {"companyos/scaffold/template.bundle", "companyos/scaffold/template.json"} <= names
    assert not [name for name in names if name.endswith(".pyc") or name.startswith(("templates/", "tests/"))]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(pin.wheel)], check=True)
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    (site / "libraries.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")) + "\n")
    code = (
        "import json, sys; from pathlib import Path; import companyos; from companyos.scaffold import new;"
        "made = new('api', Path(sys.argv[1]));"
        "print(json.dumps([companyos.__file__, made.pin.sha256, made.template.tag]))"
    )
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, str(tmp_path / "orders")],
        env=environ | {"https_proxy": "http://127.0.0.1:9"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    import json

    file, digest, tag = json.loads(done.stdout)
    assert file.startswith(str(site))
    assert (pin.sha256, f"v{__version__}") == (digest, tag)

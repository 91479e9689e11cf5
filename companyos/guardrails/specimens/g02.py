"""Specimens of G02. Every secret is made from a digest when the specimen is built, so that this file holds none."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from typing import TYPE_CHECKING

from companyos.controls import Specimen, tree_specimen
from companyos.guardrails.secrets.control import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ("body", "specimens")

_ALNUM = string.ascii_letters + string.digits
_BASE32 = string.ascii_uppercase + "234567"
_SIGNS = _ALNUM + "!@%^*-_"


def body(seed: str, length: int, alphabet: str = _ALNUM) -> str:
    """Random-looking text that is always the same for a seed."""
    stream = b"".join(hashlib.sha256(f"{seed}:{block}".encode()).digest() for block in range(length // 32 + 1))
    return "".join(alphabet[byte % len(alphabet)] for byte in stream[:length])


def specimens(engines: Sequence[str]) -> tuple[Specimen, ...]:
    """The specimens for the engines that are installed."""
    found: list[Specimen] = []
    if "companyos" in engines:
        found += [_trial(f"{name}", files, "companyos", rule) for rule, name, files in _planted()]
        found += [_trial(name, files, "companyos", None) for name, files in _clean()]
    if "gitleaks" in engines:
        found += [_trial(f"gitleaks: {name}", files, "gitleaks", rule) for rule, name, files in _planted_for_gitleaks()]
        everything = {path: text for _, files in _clean() for path, text in files.items()}
        found.append(_trial("gitleaks: every clean case at once", everything, "gitleaks", None))
    return tuple(found)


def _trial(name: str, files: Mapping[str, str | bytes], engine: str, violates: str | None) -> Specimen:
    plain = tree_specimen(name, files, violates=violates)

    def build(scratch: Path) -> Trial:
        return Trial(plain.build(scratch), engine)

    return Specimen(name, build, violates)


def _jwt() -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'u-17', 'scope': 'admin'})}.{body('jwt', 43)}"


def _pem(kind: str) -> str:
    lines = "\n".join(body(f"pem{line}", 64) for line in range(6))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----\n"


def _planted() -> Iterable[tuple[str, str, dict[str, str | bytes]]]:
    aws = "AKIA" + body("aws", 16, _BASE32)
    github = "ghp_" + body("github", 36)
    password = body("pw", 14, _SIGNS) + "7a"
    key = body("key", 32)
    yield "G02.aws-key", "an access key in Python", {"src/s3.py": f'client = connect("{aws}")\n'}
    yield "G02.aws-key", "a secret key in Terraform", {"main.tf": f'aws_secret_access_key = "{body("awss", 40)}"\n'}
    yield "G02.aws-key", "an access key in a lock file", {"uv.lock": f"# {aws}\n"}
    yield "G02.git-host-token", "a GitHub token in a shell script", {"ci.sh": f"curl -H 'x: {github}' x\n"}
    yield "G02.git-host-token", "a GitLab token in YAML", {"ci.yaml": f"job:\n  k: glpat-{body('gl', 20)}\n"}
    yield "G02.git-host-token", "a GitHub token in a test", {"tests/test_x.py": f'T = "{github}"\n'}
    yield "G02.google-key", "an API key in TypeScript", {"src/map.ts": f'load("AIza{body("goog", 35)}");\n'}
    yield "G02.google-key", "a client secret in JSON", {"o.json": f'{{"x": "GOCSPX-{body("gocspx", 28)}"}}\n'}
    yield "G02.json-web-token", "a session in a comment", {"src/a.ts": f"// curl with {_jwt()}\n"}
    yield "G02.json-web-token", "a session in YAML", {"k8s.yaml": f"data:\n  v: {_jwt()}\n"}
    yield "G02.model-provider-key", "an sk-ant key", {"src/m.py": f'K = "sk-ant-api03-{body("ant", 90)}"\n'}
    yield "G02.model-provider-key", "an sk-proj key", {".env": f"X=sk-proj-{body('oai', 80)}\n"}
    yield "G02.package-registry-token", "npm, in .npmrc", {".npmrc": f"//r/:_x=npm_{body('npm', 36)}\n"}
    yield "G02.package-registry-token", "pypi, in .pypirc", {".pypirc": f"x: pypi-AgE{body('pypi', 80)}\n"}
    yield "G02.private-key", "an RSA key as a file", {"server.pem": _pem("RSA ")}
    yield "G02.private-key", "a key inside a string", {"src/k.py": f"K = {_pem('')!r}\n"}
    yield "G02.private-key", "an SSH key in YAML", {"a.yaml": "k: |\n  " + _pem("OPENSSH ").replace("\n", "\n  ")}
    slack = f"xoxb-{body('sl1', 12, string.digits)}-{body('sl2', 12, string.digits)}-{body('sl3', 24)}"
    hook = f"hooks.slack.com/services/T{body('t', 9, _BASE32)}/B{body('b', 9, _BASE32)}/{body('h', 24)}"
    yield "G02.slack-token", "a bot token", {"src/n.py": f'send("{slack}")\n'}
    yield "G02.slack-token", "a webhook", {"alert.yaml": f"url: https://{hook}\n"}
    yield "G02.stripe-key", "a live key", {"src/pay.ts": f'new Stripe("sk_live_{body("st", 24)}");\n'}
    yield "G02.stripe-key", "a restricted key", {"pay.env": f"A=rk_live_{body('rk', 24)}\n"}
    dsn = f"postgresql+psycopg://app:{body('dsn', 18)}@db.internal:5432/x"
    yield "G02.connection-string", "a database URL in Python", {"src/db.py": f'connect("{dsn}")\n'}
    yield "G02.connection-string", "a broker URL in YAML", {"c.yaml": f"u: amqp://app:{body('mq', 16)}@mq.corp/x\n"}
    ado = f"Server=sql.corp;Database=x;Password={body('ado', 14)};"
    yield "G02.connection-string", "an ADO string", {"src/c.ts": f'open("{ado}");\n'}
    yield "G02.url-credentials", "in a git remote", {"ci.sh": f"git clone https://bot:{body('u', 20)}@git.corp/x\n"}
    yield "G02.url-credentials", "in a package index", {"p.conf": f"x = https://u:{body('i', 16)}@pkg.corp/simple\n"}
    yield "G02.assigned-secret", "a password in Python", {"src/a.py": f'DB_PASSWORD = "{password}"\n'}
    yield "G02.assigned-secret", "a keyword argument", {"src/a.py": f'login(user="a", api_key="{key}")\n'}
    yield "G02.assigned-secret", "the default of a variable", {"a.py": f'os.environ.get("API_TOKEN", "{key}")\n'}
    yield "G02.assigned-secret", "a constant in TypeScript", {"src/a.ts": f'const apiKey: string = "{key}";\n'}
    yield "G02.assigned-secret", "a fallback in TypeScript", {"a.ts": f"x = process.env.API_KEY ?? '{key}';\n"}
    yield "G02.assigned-secret", "a line of .env", {".env.production": f"SESSION_SECRET={key}\n"}
    yield "G02.assigned-secret", "a value in YAML", {"values.yaml": f"auth:\n  adminPassword: {password}\n"}
    yield "G02.assigned-secret", "an ENV in a Dockerfile", {"Dockerfile": f"FROM x\nENV API_TOKEN={key}\n"}
    yield "G02.assigned-secret", "an attribute in Terraform", {"a.tf": f'  master_password = "{password}"\n'}
    yield from _planted_tokens()
    yield from _planted_shapes(password, key)
    yield "G02.assigned-secret", "a header", {"a.sh": f'curl -H "Authorization: Bearer {key}" https://x\n'}
    wide = f"SECRET_KEY={key}\n".encode("utf-16-le")
    yield "G02.assigned-secret", "UTF-16 without its mark", {"prod.env": wide}
    yield "G02.assigned-secret", "behind a NUL", {"prod.env": f"#\0\nSECRET_KEY={key}\n"}
    yield "G02.assigned-secret", "a file that is not UTF-8", {"src/b.py": f'# \N{EURO SIGN}\nSECRET_KEY = "{key}"\n'}


def _planted_tokens() -> Iterable[tuple[str, str, dict[str, str | bytes]]]:
    fine = f"github_pat_{body('pat1', 22)}_{body('pat2', 59)}"
    yield "G02.git-host-token", "a fine-grained GitHub token", {"src/g.py": f'T = "{fine}"\n'}
    older = f"sk-{body('old1', 20)}T3Blbk" + f"FJ{body('old2', 20)}"
    yield "G02.model-provider-key", "a key of the older shape", {"src/m.py": f'K = "{older}"\n'}
    hub = f"hf_{body('hub', 34, string.ascii_letters)}"
    yield "G02.model-provider-key", "a key of a model hub", {"src/m.py": f'K = "{hub}"\n'}
    yield "G02.stripe-key", "a webhook's key", {"pay.env": f"A=whsec_{body('wh', 32)}\n"}


def _planted_shapes(password: str, key: str) -> Iterable[tuple[str, str, dict[str, str | bytes]]]:
    written = {
        "Go": ("a.go", f'password := "{password}"\n'),
        "Rust": ("a.rs", f'const PASSWORD: &\'static str = "{password}";\n'),
        "a C macro": ("a.c", f'#define DB_PASSWORD "{password}"\n'),
        "an XML element": ("a.xml", f"<dbPassword>{password}</dbPassword>\n"),
        "triple quotes": ("a.py", f'PASSWORD = """{password}"""\n'),
        "brackets over lines": ("a.py", f'PASSWORD = (\n    "{password}"\n)\n'),
        "a dollar first": ("a.py", f'PASSWORD = "$up-{password}"\n'),
        "a percent sign first": ("a.py", f'PASSWORD = "%a!{password}"\n'),
        "brackets inside": ("a.py", f'PASSWORD = "{password}(&)3"\n'),
        "spaces inside": ("a.py", 'PASSWORD = "' + "Tr0ub4" + 'dor & 3 horses!"\n'),
        "Markdown": ("README.md", f'Call it with api_key = "{key}".\n'),
        "a signing key of a framework": ("a.py", f'FERNET_KEY = "{key}"\n'),
    }
    for name, (path, text) in written.items():
        yield "G02.assigned-secret", f"a password in {name}", {path: text}
    slash = f"postgresql://app:{body('sl', 9)}/{body('sh', 9)}@db.internal/x"
    yield "G02.connection-string", "a password with a slash", {"src/db.py": f'connect("{slash}")\n'}
    remote = f"https://bot:{body('u', 20)}@samples.corp/x"
    yield "G02.url-credentials", "a host that sounds like a sample", {"ci.sh": f"git clone {remote}\n"}


def _planted_for_gitleaks() -> Iterable[tuple[str, str, dict[str, str]]]:
    token = "ghp_" + body("github", 36)
    yield "G02.git-host-token", "a GitHub token", {"src/a.py": f'T = "{token}"\n'}
    yield "G02.git-host-token", "one excused by a comment", {"src/a.py": f'T = "{token}"  # gitleaks:' + "allow\n"}
    yield "G02.private-key", "a private key", {"server.pem": _pem("RSA ")}
    ignored = {".gitleaks.toml": '[allowlist]\npaths = [".*"]\n', "src/a.py": f'T = "{token}"\n'}
    yield "G02.git-host-token", "one excused by the tree's own settings", ignored


def _clean() -> Iterable[tuple[str, dict[str, str]]]:
    digest = hashlib.sha256(b"clean").hexdigest()
    yield (
        "secrets from the environment",
        {
            "src/env.py": 'import os\n\nAPI_KEY = os.environ["API_KEY"]\nDB_PASSWORD = os.getenv("DB_PASSWORD", "")\n'
            'token = settings.api_token\nsecret = f"{prefix}-{name}"\n'
        },
    )
    yield (
        "placeholders",
        {
            ".env.example": "API_KEY=your-api-key-here\nDB_PASSWORD=change-me\nSECRET_TOKEN=<your token>\n"
            "TOKEN=xxxxxxxxxxxx\n"
            "AWS_ACCESS_KEY_ID=AKIA" + "IOSFODNN7" + "EXAMPLE\n"
        },
    )
    yield (
        "digests and lock files",
        {
            "requirements.txt": f"click==8.1.7 --hash=sha256:{digest}\n",
            "package-lock.json": f'{{"packages": {{"node_modules/a": {{"integrity": "sha512-{digest}"}}}}}}\n',
            "src/pin.py": f'TOKEN_SHA256 = "{digest}"\nIMAGE = "x@sha256:{digest}"\n',
        },
    )
    yield (
        "names that only sound like secrets",
        {
            "src/names.py": "TOKEN_" + 'URL = "https://login.corp/oauth2/v2.0/token"\nmax_tokens = "4096-default1"\n'
            'password_field = "user_password_1"\nSECRET_' + 'NAME = "orders/prod/database-7"\n'
            'PUBLIC_KEY = "ssh-ed25519-abc123"\n'
        },
    )
    yield (
        "words, numbers and shapes",
        {
            "src/shapes.py": 'tokens = "color-primary-500"\nPASSWORD_RE = r"^[A-Z0-9]{8,}"\n'
            'token_namespace = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"\n'
            'password_message = "At least 8 characters, 1 of them a number!"\n'
            'password = "%(password)s"\nsecret = "$DB_SECRET_1"\npassword = make_password1("x")\n',
            "src/url.py": 'u = "redis://cache:6379/0?name=a@b"\nv = "https://bot:Zk3Qx9Lm2Pw7@git.example.com/x"\n',
            "a.xml": "<tokenCount>1234567</tokenCount>\n<password>${db.password}</password>\n",
        },
    )
    yield from _clean_elsewhere()


def _clean_elsewhere() -> Iterable[tuple[str, dict[str, str]]]:
    yield (
        "references to a store, YAML",
        {
            "deploy.yaml": "env:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef:\n        name: orders-db\n"
            "apiToken: ${API_TOKEN}\npassword: '{{ vault.password }}'\nkey: env:LEDGER_KEY\nsecret: !Ref DbSecret\n"
        },
    )
    yield (
        "references to a store, Terraform",
        {"main.tf": "password = var.db_password\napi_key = data.vault_secret.x.value\ntoken = local.token_value1\n"},
    )
    yield (
        "TypeScript without secrets",
        {
            "src/clean.ts": 'const token = process.env.TOKEN;\nconst passwordLabel = "Password (8 to 64 signs)";\n'
            'const tokenType = "Bearer";\nsetPassword(event.target.value);\n'
        },
    )
    yield (
        "local development databases",
        {
            "compose.yaml": "environment:\n  DATABASE_URL: postgresql://postgres:postgres@localhost:5432/dev\n"
            "  BROKER: amqp://guest:guest@localhost/\n"
        },
    )
    yield (
        "a header that is only mentioned",
        {
            "docs/keys.md": "Files that start with `-----BEGIN " + "PRIVATE KEY-----` are refused.\n"
            "See https://user:pass@host/ forms.\n",
            "src/pem.py": 'HEAD = "-----BEGIN ' + 'PRIVATE KEY-----"\n',
        },
    )
    yield (
        "a Dockerfile with build arguments",
        {"Dockerfile": "FROM x\nARG GITHUB_TOKEN\nENV TOKEN_FILE=/run/secrets/t\n"},
    )
    yield (
        "test passwords",
        {"tests/test_login.py": 'PASSWORD = "correct-horse-1"\nlogin("ada", password="wrong-one-2")\n'},
    )

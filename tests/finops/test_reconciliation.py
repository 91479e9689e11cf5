"""Invoices against the ledger: whatever is planted is named by its class, and the parts are the whole."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

import pytest

from companyos.cli import main
from companyos.errors import UnverifiableError
from companyos.finops import Rates
from companyos.finops.budgets import BudgetPolicy, Settlement
from companyos.finops.budgets.specimens import Scene
from companyos.finops.errors import InvoiceError, RateError
from companyos.finops.reconciliation import InvoiceLine, PriceList, read_invoice, reconcile, reconcile_ledger
from companyos.finops.reconciliation.prices import Price

FIRST = date(2026, 3, 2)
DAYS = 6
MODELS = ("gpt-4o", "gpt-4o-mini", "claude")
OLD, NEW = date(2026, 1, 1), date(2026, 2, 1)
PRICES = PriceList(
    {
        model: (Price(OLD, Decimal(number) / 100), Price(NEW, Decimal(number) / 125))
        for number, model in enumerate(MODELS, 1)
    }
)
PLACES = Decimal("0.000001")
CELLS = [(FIRST + timedelta(days=day), model) for day in range(DAYS) for model in MODELS]
PLANTED = (
    "credit",
    "day_shift",
    "not_on_ledger",
    "not_invoiced",
    "currency_rate",
    "price_list",
    "unexplained",
)


class World:
    """What really happened, as the ledger has it, and the invoice that follows from it, until something is planted."""

    def __init__(self, seed, *, with_ids, foreign):
        self.random = random.Random(seed)
        self.with_ids, self.currency = with_ids, "USD" if foreign else "EUR"
        days = [FIRST + timedelta(days=number) for number in range(-8, DAYS + 1)]
        table = [(day, Decimal("0.9") + Decimal(number) / 1000) for number, day in enumerate(days)]
        self.rates = Rates({("USD", "EUR"): table})
        self.offset, self.planted = 0, {}
        self.settled = [
            self.settlement(f"r-{day}-{hour}-{model}", day, hour, model)
            for day in days[7:]
            for hour in range(24)
            for model in (MODELS[hour % 3], MODELS[(hour + 1) % 3])
        ]
        self.lines = []

    def settlement(self, name, day, hour, model):
        at = datetime(day.year, day.month, day.day, hour, self.random.randrange(60), tzinfo=UTC)
        tokens = self.random.randrange(100, 5000)
        one = Settlement(name, at, "acme/a/b/c", "openai", model, 1, "EUR", Decimal(9), Decimal(0), tokens, {})
        return replace(one, amount=self.price(one, NEW, self.provider_day(one)))

    def price(self, one, since, day):
        """What the ledger has for it: at a price, converted at a rate, rounded up to 10^-8."""
        price = next(price for price in PRICES.of(one.model) if price.since == since)
        amount = price.of(Decimal(one.tokens)) * self.rates.rate(self.currency, "EUR", day)
        return amount.quantize(Decimal("1e-8"), ROUND_CEILING)

    def provider_day(self, one):
        return (one.at + timedelta(hours=self.offset)).date()

    def of(self, cell):
        return [one for one in self.settled if (self.provider_day(one), one.model) == cell]

    def bill(self):
        """The invoice: a line for each request, or for each day and model."""
        for cell in CELLS:
            own = self.of(cell)
            groups = [[one] for one in own] if self.with_ids else [own]
            for group in groups:
                tokens = Decimal(sum(one.tokens for one in group))
                amount = PRICES.of(cell[1])[1].of(tokens).quantize(PLACES, ROUND_HALF_UP)
                request = group[0].id if self.with_ids else None
                self.lines.append(InvoiceLine(*cell, tokens, amount, self.currency, request))

    def plant(self, kind, cell):
        """Make one difference; note by how much invoice minus ledger changes, in EUR."""
        rate = self.rates.rate(self.currency, "EUR", cell[0])
        own = self.of(cell)
        one = own[len(own) // 2]
        at = next(
            number
            for number, line in enumerate(self.lines)
            if (line.day, line.model) == cell and line.request in {None, one.id}
        )
        line = self.lines[at]
        if kind == "credit":
            self.lines.append(InvoiceLine(*cell, None, Decimal("-1.25"), self.currency, None, credit=True))
            change = Decimal("-1.25") * rate
        elif kind == "not_on_ledger":
            request = "r-unknown" if self.with_ids else None
            self.lines.append(InvoiceLine(*cell, Decimal(77_777), Decimal("3.5"), self.currency, request))
            change = Decimal("3.5") * rate
        elif kind == "not_invoiced":
            extra = replace(one, id=f"{one.id}-late", tokens=55_555, amount=Decimal("2.5"))
            self.settled.append(extra)
            change = -extra.amount
        elif kind == "unexplained":
            self.lines[at] = replace(line, amount=line.amount + Decimal("0.75"))
            change = Decimal("0.75") * rate
        else:
            touched = own if not self.with_ids else [one]
            day = cell[0] - timedelta(days=3) if kind == "currency_rate" else cell[0]
            since = OLD if kind == "price_list" else NEW
            altered = {each.id: replace(each, amount=self.price(each, since, day)) for each in touched}
            change = sum(each.amount for each in touched) - sum(each.amount for each in altered.values())
            self.settled = [altered.get(each.id, each) for each in self.settled]
        self.planted[kind] = change

    def reconcile(self):
        return reconcile(self.lines, self.settled, rates=self.rates, prices=PRICES)


def slack_of(world):
    """What rounding may hide: half of the last digit of each line, and the ledger's own."""
    return PLACES * len(world.lines) + Decimal("1e-8") * len(world.settled)


@pytest.mark.parametrize("with_ids", [True, False], ids=["requests", "sums"])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_planted_is_named_and_the_parts_are_the_whole(seed, with_ids):
    """In random worlds with a random choice of differences, each is found under its class, by its amount."""
    chosen = random.Random(seed)
    foreign = seed % 2 == 0
    world = World(seed, with_ids=with_ids, foreign=foreign)
    kinds = [kind for kind in PLANTED if chosen.random() < 0.6 and (foreign or kind != "currency_rate")]
    if "day_shift" in kinds:
        world.offset = chosen.choice((-8, -5, 2, 9))
        world.settled = [replace(one, amount=world.price(one, NEW, world.provider_day(one))) for one in world.settled]
    world.bill()
    cells = chosen.sample(CELLS, len(PLANTED))
    for kind, cell in zip(kinds, cells, strict=False):
        if kind != "day_shift":
            world.plant(kind, cell)
    found = world.reconcile()

    assert sum(one.amount for one in found.differences) == found.difference
    assert {one.kind for one in found.differences} - {"rounding"} == set(kinds)
    for kind, change in world.planted.items():
        assert abs(found.total(kind) - change) <= slack_of(world), kind
        cell = cells[kinds.index(kind)]
        assert {(one.day, one.model) for one in found.differences if one.kind == kind} == {cell}
    inside = {cell[0] for cell in CELLS}
    expected = sum(one.amount for one in world.settled if world.provider_day(one) in inside)
    assert found.total("day_shift") == expected - found.settled
    assert abs(found.total("rounding")) <= slack_of(world)


def test_a_clean_invoice_agrees(tmp_path):
    """Without anything planted all that is left is rounding, and the verdict allows."""
    world = World(1, with_ids=False, foreign=True)
    world.bill()
    found = world.reconcile()

    assert {one.kind for one in found.differences} <= {"rounding"}
    assert found.assess().reason == "reconcile.agreed"


def line(day=2, model="m", tokens=1000, amount="1.00", **more):
    """A line of an invoice in EUR."""
    return InvoiceLine(date(2026, 3, day), model, Decimal(tokens), Decimal(amount), "EUR", **more)


def settled(name="a", day=2, tokens=1000, amount="1.00", hour=12):
    """A settlement."""
    at = datetime(2026, 3, day, hour, tzinfo=UTC)
    return Settlement(name, at, "acme", "p", "m", None, "EUR", Decimal(2), Decimal(amount), tokens, {})


def test_another_price_without_a_list_is_unexplained():
    """The same tokens for more money is no explanation by itself: both unit prices are told, and it is refused."""
    (found,) = reconcile([line(amount="1.20")], [settled()]).differences

    assert (found.kind, found.amount) == ("unexplained", Decimal("0.20"))
    assert "1.200000 a thousand on the invoice and 1.000000 on the ledger" in found.detail


def test_two_mistakes_that_cancel_out_are_two_mistakes():
    """Unexplained amounts are counted without their sign."""
    made = reconcile([line(amount="1.20"), line(day=3, amount="0.80")], [settled(), settled("b", day=3)])

    assert (made.difference, made.assess().reason) == (0, "reconcile.unexplained")


def test_a_request_that_is_billed_twice_is_found():
    """The second line of a request is usage that the ledger does not know, and alone refuses."""
    made = reconcile([line(request="a"), line(request="a")], [settled()])

    assert [(one.kind, one.amount) for one in made.differences] == [("not_on_ledger", 1)]
    assert made.assess().reason == "reconcile.not_on_ledger"


def test_a_request_in_two_lines_is_one_request():
    """Prompt and answer as two lines of one request agree with its one settlement."""
    lines = [line(request="a", tokens=400, amount="0.40"), line(request="a", tokens=600, amount="0.60")]

    assert reconcile(lines, [settled()]).differences == ()


def test_a_missing_settlement_near_midnight_is_no_shift():
    """One settlement that the invoice lacks, late on its last day, is not explained away by another midnight."""
    own = [settled(str(hour), day, 100 * day + hour, "1.00", hour) for day in (2, 3) for hour in (1, 12, 23)]
    lines = [line(2, tokens=636, amount="3.00"), line(3, tokens=613, amount="2.00")]
    own = [replace(one, id=f"{one.id}-{one.at.day}") for one in own]
    made = reconcile(lines, own)

    assert [(one.kind, one.amount, one.day.day) for one in made.differences] == [("not_invoiced", -1, 3)]


def test_tokens_that_differ_without_a_request_of_that_many_are_unexplained():
    """Nothing is guessed: fewer tokens than any request or two had stay unexplained."""
    made = reconcile([line(tokens=2990, amount="2.99")], [settled(str(n)) for n in range(3)])

    assert [one.kind for one in made.differences] == ["unexplained"]


def test_currencies_are_never_mixed_without_a_rate():
    """An invoice in dollars and a ledger in euros need rates."""
    with pytest.raises(RateError):
        reconcile([replace(line(), currency="USD")], [settled()])
    with pytest.raises(InvoiceError, match="several currencies"):
        reconcile([line()], [settled(), replace(settled("b"), currency="USD")])


INVOICE = """day,model,tokens,amount,currency,request,kind
2026-03-02,gpt-4o,1200,0.90,EUR,job-1,usage
2026-03-02,gpt-4o,,-0.10,EUR,,refund
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "day,model,tokens,amount\n",
        INVOICE.replace("0.90", "0,90"),
        INVOICE.replace("0.90", "NaN"),
        INVOICE.replace("0.90", ""),
        INVOICE.replace("1200", "12.5"),
        INVOICE.replace("EUR", "XYZ"),
        INVOICE.replace("usage", "gift"),
        INVOICE.replace("2026-03-02", "02.03.2026"),
        INVOICE + "2026-03-02,gpt-4o,1\n",
        INVOICE + "2026-03-02,gpt-4o,1,1,EUR,,usage,more\n",
        "day,model,tokens,amount\n2026-03-02,m,1,1\n",
        INVOICE + '2026-03-02,"gpt-4o,1,1\n',
    ],
)
def test_an_invoice_that_is_not_right_in_every_line_is_not_reconciled(tmp_path, text):
    """It could not be read as a whole, so the answer is 3 and nothing is left out."""
    path = tmp_path / "invoice.csv"
    path.write_text(text)
    with pytest.raises(InvoiceError) as error:
        read_invoice(path)

    assert error.value.exit_status == 3


def test_a_focus_bill_is_an_invoice(focus_file):
    """Model, tokens and request out of custom columns and ConsumedUnit; corrections are credits; bad rows refuse."""
    usage = {"x_model": "gpt-4o", "ConsumedUnit": "1K Tokens", "ConsumedQuantity": "1.2", "x_request_id": "job-1"}
    path = focus_file(usage, {"ChargeCategory": "Credit", "BilledCost": "-1", "ConsumedUnit": "", "x_model": "gpt-4o"})
    first, second = read_invoice(path)

    assert (first.model, first.tokens, first.request, first.amount) == ("gpt-4o", 1200, "job-1", Decimal("1.50"))
    assert (first.day, second.credit, second.tokens) == (date(2024, 9, 3), True, None)
    with pytest.raises(InvoiceError, match="row 1"):
        read_invoice(focus_file(usage | {"BilledCost": "x"}, usage))


@pytest.fixture
def company(tmp_path):
    """A folder with a ledger that has two settlements of 2 March 2026."""
    levels = {"acme": [{"period": "day", "limit": 100}, {"period": "day", "limit": 9999, "unit": "tokens"}]}
    scene = Scene(tmp_path, BudgetPolicy.parse({"levels": levels}))
    for name, tokens, amount in (("job-1", 1200, "0.90"), ("job-2", 300, "0.25")):
        held = scene.budget.reserve(Decimal(2), tokens=2000, task="acme", id=name, provider="openai", model="gpt-4o")
        held.settle(Decimal(amount), tokens=tokens)
    scene.close()
    return tmp_path


def open_ledger(folder):
    """The ledger of the scene, as it was written."""
    from companyos.ledger import Ledger

    return Ledger.open(f"sqlite:///{folder / 'ledger.db'}")


def test_reconciling_with_a_real_ledger(company):
    """What was really reserved and settled is found on the ledger, verified, and held against the invoice."""
    path = company / "invoice.csv"
    path.write_text(INVOICE)
    with open_ledger(company) as ledger:
        made = reconcile_ledger(ledger, read_invoice(path), provider="openai")
        assert reconcile_ledger(ledger, read_invoice(path), provider="other").settled == 0

    assert [(one.kind, one.amount) for one in made.differences] == [
        ("credit", Decimal("-0.10")),
        ("not_invoiced", Decimal("-0.25")),
    ]
    assert (made.invoiced, made.settled, made.difference) == (Decimal("0.80"), Decimal("1.15"), Decimal("-0.35"))
    assert made.assess().allow


def test_a_request_that_is_billed_a_week_late_is_known(company):
    """The invoice names it, so it is found on whatever day the ledger has it: on another day, and not unknown."""
    path = company / "invoice.csv"
    path.write_text(INVOICE.replace("2026-03-02", "2026-03-09"))
    with open_ledger(company) as ledger:
        made = reconcile_ledger(ledger, read_invoice(path))

    assert {(one.kind, one.amount) for one in made.differences} == {
        ("credit", Decimal("-0.10")),
        ("day_shift", Decimal("0.90")),
    }


def test_a_ledger_that_was_altered_is_not_reconciled_with(company):
    """One amount changed in the database: it could not be checked, which is no agreement."""
    import sqlite3

    database = sqlite3.connect(company / "ledger.db")
    changed = database.execute(
        "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), '90000000', '10000000') AS BLOB)"
        " WHERE CAST(raw AS TEXT) LIKE '%budget.settled%' AND CAST(raw AS TEXT) LIKE '%90000000%'"
    ).rowcount
    database.commit()
    database.close()
    path = company / "invoice.csv"
    path.write_text(INVOICE)

    assert changed == 1
    with open_ledger(company) as ledger, pytest.raises(UnverifiableError, match="does not verify"):
        reconcile_ledger(ledger, read_invoice(path))


def test_a_ledger_without_a_budget_is_nothing_to_reconcile_with(tmp_path):
    """No settlements because there was no budget is another thing than nothing spent."""
    from companyos.ledger import Ledger

    with (
        Ledger.open(f"sqlite:///{tmp_path / 'empty.db'}") as ledger,
        pytest.raises(UnverifiableError, match="no budget"),
    ):
        reconcile_ledger(ledger, [line()])


def test_the_command(tmp_path, monkeypatch, capsys):
    """0 when every difference is explained, 1 when something is not, 3 when the invoice cannot be read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    (tmp_path / "finops.yaml").write_text(
        "levels: {acme: [{period: day, limit: 100}, {period: day, limit: 9999, unit: tokens}]}\n"
    )

    def run(*arguments):
        capsys.readouterr()
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    reconciling = ("finops", "reconcile", "invoice.csv")
    (tmp_path / "invoice.csv").write_text("day,model,tokens,amount,currency,request\n")
    assert run(*reconciling)[0] == 3
    run("budget", "reserve", "2", "--tokens", "2000", "--task", "acme", "--model", "m", "--provider", "p", "--id", "a")
    run("budget", "settle", "a", "1.004", "--tokens", "1500")
    today = datetime.now(UTC).date()
    invoice = f"day,model,tokens,amount,currency,request\n{today},m,1500,1.00,EUR,a\n"

    (tmp_path / "invoice.csv").write_text(invoice)
    status, out, _ = run(*reconciling, "--provider", "p")
    assert (status, "rounding" in out, "ALLOW  reconcile.agreed" in out) == (0, True, True)
    (tmp_path / "invoice.csv").write_text(f"{invoice}{today},m,10,0.50,EUR,b\n")
    status, out, _ = run(*reconciling, "--by", "model", "--json")
    assert (status, json.loads(out)["reason"]) == (1, "reconcile.not_on_ledger")
    (tmp_path / "invoice.csv").write_text(invoice.replace("1.00", "1.50"))
    status, out, _ = run(*reconciling, "--by", "day")
    assert (status, "reconcile.unexplained" in out, str(today) in out) == (1, True, True)
    assert run(*reconciling, "--tolerance", "0.5")[0] == 0
    assert run(*reconciling, "--tolerance", "some")[0] == 2
    assert run("finops", "reconcile", "nowhere.csv")[0] == 3


def test_a_price_list_that_cannot_be_read_is_refused(tmp_path):
    """So that a difference is never called one of price by a list that says nothing."""
    path = tmp_path / "prices.csv"
    for text in ("a,b\n1,2\n", "from,model,per_1k_tokens\n2026-01-01,m,x\n", "from,model,per_1k_tokens\nsoon,m,1\n"):
        path.write_text(text)
        with pytest.raises(InvoiceError):
            PriceList.load(path)
    path.write_text("from,model,per_1k_tokens\n2026-02-01,m,0.5\n2026-01-01,m,0.4\n")
    assert [price.per_1k for price in PriceList.load(path).of("m")] == [Decimal("0.4"), Decimal("0.5")]

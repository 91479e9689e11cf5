"""Every built-in command, with the module it is loaded from when it is called."""

from __future__ import annotations

from companyos.ports import Command

__all__ = ("COMMANDS",)

COMMANDS: tuple[Command, ...] = (
    Command("audit", "Look at the audit trail, and verify it.", "companyos.cli.audit:audit"),
    Command("authz", "Ask the policies who may do what.", "companyos.cli.authz:authz"),
    Command("budget", "Reserve from budgets that cannot be overspent.", "companyos.cli.budget:budget"),
    Command("bundle", "Build, sign, verify, compare and promote policy bundles.", "companyos.cli.bundle:bundle"),
    Command("check", "Run the controls over a source tree.", "companyos.cli.check:check"),
    Command("config", "Show the settings and their JSON Schema.", "companyos.cli.config:config"),
    Command("demo", "Run the main job from end to end, each step checked.", "companyos.cli.demo:demo"),
    Command("finops", "Ingest bills, report and forecast costs, judge budgets.", "companyos.cli.finops:finops"),
    Command("flags", "Check and list feature flags.", "companyos.cli.flags:flags"),
    Command("identity", "Import, export, show and verify who is who.", "companyos.cli.identity:identity"),
    Command("keys", "Make, show and rotate signing keys.", "companyos.cli.keys:keys"),
    Command("ledger", "Append to the ledger, read it, prove and verify it.", "companyos.cli.ledger:ledger"),
    Command("marker", "Mark releases, and compare before and after.", "companyos.cli.marker:marker"),
    Command("new", "Make a new repository from a golden template.", "companyos.cli.new:new"),
    Command("notify", "Tell people, and see what became of it.", "companyos.cli.notify:notify"),
    Command("observability", "Check the log lines that services write.", "companyos.cli.observability:observability"),
    Command("pack", "Build, verify and show evidence packs.", "companyos.cli.pack:pack"),
    Command("packages", "Check that dependencies are real, pinned and unmistaken.", "companyos.cli.packages:packages"),
    Command("plugins", "List plugins, and allow them to run.", "companyos.cli.plugins:plugins"),
    Command("prove", "Run every control over its planted violations.", "companyos.cli.prove:prove"),
    Command("serve", "Serve decisions over HTTP (AuthZEN).", "companyos.cli.serve:serve"),
    Command("slo", "Compile service level objectives, and ask how they stand.", "companyos.cli.slo:slo"),
    Command("state", "Read, save, delete and verify the states of sessions.", "companyos.cli.state:state"),
)

# An export needs a ticket that whoever carries the export out can verify, and every export asked for is logged.
package companyos.access

import rego.v1

deny contains {"id": "policy.export_approval", "message": "an export needs an approval ticket"} if {
	input.action == "export"
	not approval_ticket
}

obligation contains {"id": "require_approval", "type": "custom", "properties": approval} if {
	input.action == "export"
}

obligation contains {"id": "log_event", "type": "notification", "properties": export_notice} if {
	input.action == "export"
}

# As the AuthZEN Obligations Profile has it: to whom and what. Nothing of the request is in it, for it may be personal.
export_notice := {"to": "audit-log", "topic": "export", "body": "An export was asked for."}

approval_ticket if {
	trim_space(input.environment.approval_ticket) != ""
}

approval := object.union({"for": "export"}, object.filter(input.environment, ["approval_ticket"]))

# An export needs a ticket, and every export that is asked for is logged.
package companyos.access

import rego.v1

deny contains {"id": "policy.export_approval", "message": "an export needs an approval ticket"} if {
	input.action == "export"
	not approval_ticket
}

obligation contains {"id": "require_approval", "type": "custom", "properties": {"for": "export"}} if {
	input.action == "export"
	not approval_ticket
}

obligation contains {"id": "log_event", "type": "notification", "properties": {"event": "export"}} if {
	input.action == "export"
}

approval_ticket if {
	trim_space(input.environment.approval_ticket) != ""
}

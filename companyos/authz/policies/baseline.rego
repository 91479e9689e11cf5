# Who may do anything at all. What no policy allows is denied by the fixed rule in decision.rego, and so is
# everything that an inactive subject asks, for deny wins.
package companyos.access

import rego.v1

allow contains {"id": "policy.baseline", "message": "a subject reads within its organisation"} if {
	input.action in data.playbook.open_actions
}

allow contains {"id": "policy.baseline", "message": "the owner acts on what it owns"} if {
	input.action in data.playbook.owner_actions
	input.resource.owner == input.subject.id
}

allow contains {"id": "policy.baseline", "message": "a role of the subject grants the action"} if {
	some role in input.subject.attributes.roles
	some granted in data.playbook.roles[role]
	granted in {input.action, "*"}
}

deny contains {"id": "policy.inactive_subject", "message": "the subject is not active"} if {
	input.subject.status != "active"
}

deny contains {"id": "policy.tenant", "message": "the resource belongs to another organisation"} if {
	input.resource.org_id
	not same_organisation
}

same_organisation if {
	input.subject.org_id == input.resource.org_id
}

same_organisation if {
	not input.subject.org_id
	input.subject.attributes.org_id == input.resource.org_id
}

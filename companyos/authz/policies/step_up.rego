# What cannot be undone, and what is highly sensitive, asks for more than one factor.
package companyos.access

import rego.v1

obligation contains {"id": "require_mfa", "type": "step-up", "properties": {"auth_strength": "mfa"}} if {
	input.action in data.playbook.step_up_actions
	not input.derived.multi_factor
}

obligation contains {"id": "require_mfa", "type": "step-up", "properties": {"auth_strength": "mfa"}} if {
	input.derived.resource.high_sensitivity
	not input.derived.multi_factor
}

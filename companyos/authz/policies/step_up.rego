# What cannot be undone, and what is highly sensitive, asks for more than one factor.
package companyos.access

import rego.v1

obligation contains {"id": "require_mfa", "type": "step-up", "properties": multi_factor} if {
	input.action in data.playbook.step_up_actions
	not input.derived.multi_factor
}

obligation contains {"id": "require_mfa", "type": "step-up", "properties": multi_factor} if {
	input.derived.resource.high_sensitivity
	not input.derived.multi_factor
}

# As the AuthZEN Obligations Profile has it: the class to be reached, here OpenID's name for more than one factor.
multi_factor := {"acr_value": "http://schemas.openid.net/pape/policies/2007/06/multi-factor"}

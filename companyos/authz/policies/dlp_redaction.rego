# Below the clearance that a resource requires one may read it masked, and do nothing else with it.
package companyos.access

import rego.v1

obligation contains {"id": "mask_fields", "type": "custom", "properties": {"fields": masked_fields}} if {
	input.action == "read"
	below_clearance
}

deny contains {"id": "policy.dlp_redaction", "message": "the clearance is below what the resource requires"} if {
	input.action != "read"
	below_clearance
}

below_clearance if {
	input.derived.subject.clearance < input.derived.resource.required_clearance
}

masked_fields := input.resource.masked_fields if {
	count(input.resource.masked_fields) > 0
} else := ["*"]

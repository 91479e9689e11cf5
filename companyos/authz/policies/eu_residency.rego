# Personal data stays where the GDPR applies; a place that nobody can name is not such a place.
package companyos.access

import rego.v1

deny contains {"id": "policy.eu_residency", "message": "personal data is held outside the EU"} if {
	input.derived.resource.personal
	not input.derived.resource.in_eea
}

deny contains {"id": "policy.eu_residency", "message": "personal data would go to a place outside the EU"} if {
	input.derived.resource.personal
	input.derived.destination.stated
	not input.derived.destination.in_eea
}

deny contains {"id": "policy.eu_residency", "message": "personal data would be exported by a subject outside the EU"} if {
	input.derived.resource.personal
	input.action == "export"
	input.derived.subject.stated
	not input.derived.subject.in_eea
}

# The fixed rule by which opinions are combined: deny wins, then what is allowed; what nobody allows is denied.
# Policies add to `deny`, `allow` and `obligation`; nothing but this file may define `decision`.
package companyos.access

import rego.v1

# Some policies apply to parts of the company only. A request that does not say where its resource belongs would
# pass by them; `data.companyos_scope` names what must be said, as found in the policies when they were loaded.
deny contains {"id": "policy.scope_unstated", "message": message} if {
	some dimension in data.companyos_scope
	not input.resource[dimension]
	message := sprintf("resource.%s is not stated, and policies depend on it", [dimension])
}

allow contains entry if {
	some entry in []
}

obligation contains entry if {
	some entry in []
}

decision := {"allow": false, "reasons": deny, "obligations": obligation} if {
	deny != set()
} else := {"allow": allow != set(), "reasons": allow, "obligations": obligation}

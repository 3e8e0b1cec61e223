package compat

// wayOut says what to do about a finding.
func wayOut(d Level, rule string) string {
	if d == Forward {
		if out, ok := forwardWays[rule]; ok {
			return out
		}
		return "let the new version allow no more than the old one, or publish a new major version"
	}
	if out, ok := backwardWays[rule]; ok {
		return out
	}
	return "let the new version allow all that the old one allows, or publish a new major version"
}

var backwardWays = map[string]string{
	"required":              "leave the member optional and let readers take a default, or publish a new major version",
	"type":                  "keep the old type in the list of types, or add a member of another name",
	"enum":                  "keep the old values in the list, and refuse them later in the producer",
	"const":                 "make it an enum that has the old value too",
	"additionalProperties":  "keep the member, or keep the content model open",
	"properties":            "add the member under a name that no document can have, or compare without strict",
	"maximum":               "keep the bound as wide as it was",
	"minimum":               "keep the bound as wide as it was",
	"exclusiveMaximum":      "keep the bound as wide as it was",
	"exclusiveMinimum":      "keep the bound as wide as it was",
	"maxLength":             "keep the bound as wide as it was",
	"minLength":             "keep the bound as wide as it was",
	"maxItems":              "keep the bound as wide as it was",
	"minItems":              "keep the bound as wide as it was",
	"pattern":               "keep the pattern letter by letter, or drop it",
	"format":                "keep the format, or drop it",
	"oneOf":                 "keep the old branches as they are, and tell branches apart by a required const member",
	"anyOf":                 "keep the old branches as they are, and add new ones beside them",
	"unevaluatedProperties": "list the members in one place with additionalProperties, which can be compared",
}

var forwardWays = map[string]string{
	"required":             "keep the member required until no reader has the old version",
	"type":                 "keep the old type, and put the new one into a member of another name",
	"enum":                 "first let readers take the new values (a backward step), then send them",
	"const":                "first let readers take the new value (a backward step), then send it",
	"additionalProperties": "the old version is closed: readers must move before a member is added; or open the model first",
	"properties":           "add the member under another name",
	"pattern":              "keep the pattern letter by letter, or add one where there was none",
	"format":               "keep the format",
	"oneOf":                "readers of the old version know the old branches alone: let them move first",
	"anyOf":                "readers of the old version know the old branches alone: let them move first",
}

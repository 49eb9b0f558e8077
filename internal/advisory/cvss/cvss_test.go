package cvss

import (
	"testing"

	"albs/internal/albs"
)

// TestParse: scores as FIRST's calculators and examples give them.
func TestParse(t *testing.T) {
	t.Parallel()
	for vector, want := range map[string]Score{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":                 {"3.1", 9.8, "CRITICAL"},
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H":                 {"3.1", 10, "CRITICAL"},
		"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H":                 {"3.1", 8.1, "HIGH"},
		"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H":                 {"3.1", 5.5, "MEDIUM"},
		"CVSS:3.0/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N":                 {"3.0", 5.4, "MEDIUM"},
		"CVSS:3.0/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:L/A:N":                 {"3.0", 1.6, "LOW"},
		"CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:C/C:H/I:H/A:H/E:P/RL:O/RC:C":   {"3.1", 9.1, "CRITICAL"},
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N":                 {"3.1", 0, "NONE"},
		"CVSS:3.1/C:H/I:H/A:H/AV:N/AC:L/PR:N/UI:N/S:U/MAV:X/CR:H/MS:C": {"3.1", 9.8, "CRITICAL"},
		"AV:N/AC:L/Au:N/C:N/I:N/A:C":                                   {"2.0", 7.8, ""},
		"AV:N/AC:L/Au:N/C:C/I:C/A:C/E:F/RL:OF/RC:C":                    {"2.0", 10, ""},
		"AV:L/AC:H/Au:N/C:C/I:C/A:C":                                   {"2.0", 6.2, ""},
		"AV:N/AC:M/Au:S/C:N/I:N/A:N":                                   {"2.0", 0, ""},
	} {
		if got, err := Parse(vector); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", vector, got, err, want)
		}
	}
	for _, vector := range []string{
		"", "CVSS:3.1", "CVSS:3.1/", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/A:H", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:C",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/XX:Y", "CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "AV:N/AC:L/Au:N/C:N/I:N/A:C/",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
	} {
		if s, err := Parse(vector); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s is %+v, %v", vector, s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")
	f.Add("AV:N/AC:L/Au:N/C:N/I:N/A:C")
	f.Fuzz(func(t *testing.T, vector string) {
		if s, err := Parse(vector); err == nil && (s.Base < 0 || s.Base > 10) {
			t.Errorf("%q is %v", vector, s.Base)
		}
	})
}

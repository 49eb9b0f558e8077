package publish

import (
	"albs/internal/advisory"
	"albs/internal/advisory/csaf"
	"albs/internal/advisory/erratajson"
	"albs/internal/advisory/oval"
)

// Address is where readers find an advisory in one form.
type Address struct{ Form, URL string }

// Addresses returns where an advisory that is public is read, form by form, as its platform
// says of itself. In each repository's updateinfo it is beside that.
func Addresses(a advisory.Advisory, d advisory.Distribution) []Address {
	at := func(form, path string) Address { return Address{form, d.URL + "/" + path} }
	out := []Address{at("page", "html/"+advisory.FileName(a.ID)+".html"), at("OSV", "osv/"+advisory.FileName(a.ID)+".json")}
	if a.Type == advisory.Security || len(a.VEX) > 0 {
		out = append(out, at("CSAF, list of documents", csaf.Folder+"index.txt"))
	}
	if a.Type == advisory.Security {
		out = append(out, at("OVAL", "oval/"+oval.FileName(d)+".gz"))
	}
	return append(out, at(erratajson.Name, erratajson.Name), at(erratajson.FullName, erratajson.FullName), at("feed", "errata.rss"),
		at("the advisory itself", advisories+"/"+fileName(a.ID)))
}

package ui

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"albs/internal/advisory"
	"albs/internal/master/errata"
)

// TestAdvisoriesInBrowser corrects a wrong match as a person with a browser does: from the
// queue to the advisory, to another package, with a reason, and on to the plan of a release;
// the page keeps up with what others do to it.
func TestAdvisoriesInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a journey in a browser takes long: not with -short; TestAdvisories goes it without one")
	}
	t.Parallel()
	f := shipping(t)
	b := startBrowser(t)
	key := f.key()
	first, second := f.signed("1.0", key), f.signed("2.0", key)
	f.matched(first)
	f.matched(second)
	f.advise("ALSA-2024:1", "hello security update", helloNEVRA, docNEVRA)
	const keeps = "document.getElementById('link').textContent.includes('keeps up')"

	b.signIn(f, "maintainer", "/errata/queue")
	b.until("document.querySelector('#queue input[type=checkbox]') && " + keeps)
	b.picture("errata-queue")
	// What is ticked stays so while the list keeps up.
	b.click("#queue input[type=checkbox]")
	f.advise("ALSA-2024:2", "zsh security update", "zsh-1-1.x86_64")
	b.until("document.querySelectorAll('#queue input[type=checkbox]').length === 2")
	b.until("document.querySelector('#queue input[value^=\"ALSA-2024:1/\"]').checked")
	b.click("#queue a[href='/errata/el9/ALSA-2024:1']")
	b.until("location.pathname === '/errata/el9/ALSA-2024:1' && " + keeps)
	b.has("it in exactly this version")
	b.picture("errata-record")

	// The match is wrong: another package answers.
	b.click("#packages a[href$='choose?wanted=" + helloNEVRA + "']")
	b.until("location.pathname.endsWith('/choose')")
	b.picture("errata-choose")
	b.click(fmt.Sprintf("input[name=choice][value='%d hello-2.0-1.x86_64']", second))
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=reason]"), "2.0 has the fix"))
	b.click(".choice button")
	b.until("location.pathname === '/errata/el9/ALSA-2024:1' && document.body.innerText.includes('2.0 has the fix') && " + keeps)
	b.has("chosen by hand")

	// The rest is decided without leaving the page, by a button of several, with a reason that
	// is kept while somebody else changes the advisory.
	b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
	b.do(chromedp.SendKeys(chromedp.CSS("#packages li.match form input[name=reason]"), "words are fine"))
	low := advisory.Low
	_, err := f.Errata.Edit(f.as("contributor"), errata.Key{ID: "ALSA-2024:1", Platform: "el9"}, 0, errata.Edit{Severity: &low, Reason: "it is less"})
	must(t, err)
	b.until("document.querySelector('#head .meta').textContent.includes('low') && window.same")
	b.until("[...document.querySelectorAll('#packages li.match input[name=reason]')].some(i => i.value === 'words are fine')")
	b.click("#packages li.match form button[value=approve]")
	b.until("document.querySelector('h1').textContent.includes('ready') && document.body.innerText.includes('words are fine') && window.same")
	b.until("[...document.querySelectorAll('#packages input[name=reason]')].every(i => i.value === '')") // and goes to no other package
	b.picture("errata-ready")

	// And on to the plan.
	b.click("#actions a[href^='/errata/release']")
	b.until("location.pathname === '/errata/release'")
	b.until(fmt.Sprintf("document.querySelector('input[name=build][value=\"%d\"]').checked && document.querySelector('input[name=build][value=\"%d\"]').checked", first, second))
	b.picture("errata-release")
	b.click("form[method=post].choice > button")
	b.until("location.pathname === '/release/1' && " + keeps)
	b.has("What speaks against it") // nobody knows yet where the packages go
	b.until("document.querySelector('#refusals a[href=\"/errata/el9/ALSA-2024:1\"]')")
	b.picture("errata-plan")
	b.open(f.url + "/errata/el9/ALSA-2024:1")
	b.until("document.querySelector('#history') && " + keeps)
	b.click("#state summary")
	b.picture("errata-record2")
	b.calm()

	// Nothing is wider than a small screen.
	b.do(chromedp.EmulateViewport(360, 740))
	for i, path := range []string{
		"/errata", "/errata/queue", "/errata/monitor", "/errata/create", "/errata/import", "/errata/el9/ALSA-2024:1", "/errata/el9/ALSA-2024:1/edit", "/errata/el9/ALSA-2024:1/history", "/errata/el9/ALSA-2024:1/updateinfo",
		"/errata/el9/ALSA-2024:1/choose?wanted=" + helloNEVRA, "/errata/release?advisory=ALSA-2024:1/el9", "/release/1",
	} {
		b.open(f.url + path)
		b.until("document.readyState === 'complete'")
		w, err := chromedp.Run(b.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
		if err != nil || w > 0 {
			t.Errorf("%s is %d too wide, %v", path, w, err)
		}
		b.picture(fmt.Sprintf("errata-small-%02d", i))
	}
}

// The search of the index: rows that lack one of the words are hidden. Without it the page
// shows all rows.
const words = document.getElementById("words");
const found = document.getElementById("found");
const rows = Array.from(document.getElementById("rows").rows, (row) => [row, row.textContent.toLowerCase()]);

function search() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const [row, text] of rows) {
    row.hidden = !wanted.every((w) => text.includes(w));
    if (!row.hidden) n++;
  }
  found.textContent = String(n);
}

words.value = new URLSearchParams(location.search).get("q") ?? "";
words.addEventListener("input", search);
document.getElementById("search").hidden = false;
if (words.value) search();

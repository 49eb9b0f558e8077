package failure

// words finds many literals in a line at once, whatever the case of ASCII letters, by
// the automaton of Aho and Corasick: one step a byte, however many literals there are.
type words struct {
	class [256]byte // bytes that no literal has are alike
	width int       // number of classes
	next  []uint16  // state*width+class → state
	hits  [][]int   // state → the literals that end there

	// steps is next as it is walked: where the state's row begins, and in the highest
	// bit whether a literal ends there.
	steps []uint32
}

const ends = 1 << 31

// newWords makes the automaton of literals in lower case.
func newWords(literals []string) *words {
	w := &words{width: 1}
	for _, l := range literals {
		for _, c := range []byte(l) {
			if w.class[c] == 0 {
				w.class[c] = byte(w.width)
				w.width++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		w.class[c] = w.class[c+'a'-'A']
	}
	w.grow()
	for i, l := range literals {
		s := uint16(0)
		for _, c := range []byte(l) {
			at := int(s)*w.width + int(w.class[c])
			if w.next[at] == 0 {
				w.next[at] = w.grow()
			}
			s = w.next[at]
		}
		w.hits[s] = append(w.hits[s], i)
	}
	w.complete()
	return w
}

// grow adds a state.
func (w *words) grow() uint16 {
	w.next = append(w.next, make([]uint16, w.width)...)
	w.hits = append(w.hits, nil)
	return uint16(len(w.hits) - 1)
}

// complete makes the tree of literals, in which a state that is missing is 0, an
// automaton: where a literal doesn't go on, the longest end of it does that begins one.
func (w *words) complete() {
	fall := make([]uint16, len(w.hits))
	var queue []uint16
	for c := range w.width {
		if s := w.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		w.hits[s] = append(w.hits[s], w.hits[fall[s]]...)
		for c := range w.width {
			at, other := int(s)*w.width+c, w.next[int(fall[s])*w.width+c]
			if to := w.next[at]; to != 0 {
				fall[to] = other
				queue = append(queue, to)
			} else {
				w.next[at] = other
			}
		}
	}
	w.steps = make([]uint32, len(w.next))
	for i, s := range w.next {
		w.steps[i] = uint32(int(s) * w.width)
		if w.hits[s] != nil {
			w.steps[i] |= ends
		}
	}
}

// in gives every occurrence of a literal in b to f, by its number.
func (w *words) in(b []byte, f func(literal int)) {
	at := uint32(0)
	for _, c := range b {
		step := w.steps[at+uint32(w.class[c])]
		at = step &^ ends
		if step != at {
			for _, l := range w.hits[int(at)/w.width] {
				f(l)
			}
		}
	}
}

package page

// Extent is what is to be known of some consecutive pages of a tablespace.
type Extent struct {
	Pages   int     // how many there are
	MaxLSN  uint64  // the highest LSN of any page, corrupt ones excluded; 0 if all are Zero
	Zero    int     // pages that were never written
	Sealed  int     // pages that are Unverifiable
	Bad     int     // index of the first corrupt page, -1 for none
	Outcome Outcome // of page Bad
}

// VerifyExtent verifies all pages in b, of which the first has the number
// given. A tail shorter than a page is ignored, as a server does. For the
// pages that skip reports true for nothing is verified nor is their LSN
// counted; skip may be nil.
func (v *Verifier) VerifyExtent(b []byte, first uint32, skip func(number uint32) bool) Extent {
	e := Extent{Bad: -1}
	for ; len(b) >= v.size.Physical; b = b[v.size.Physical:] {
		number, p := first+uint32(e.Pages), b[:v.size.Physical]
		e.Pages++
		if skip != nil && skip(number) {
			continue
		}
		switch o := v.Verify(p, number); {
		case o == Zero:
			e.Zero++
			continue
		case o == Unverifiable:
			e.Sealed++
		case o.Corrupt():
			if e.Bad < 0 {
				e.Bad, e.Outcome = e.Pages-1, o
			}
			continue
		}
		e.MaxLSN = max(e.MaxLSN, LSN(p))
	}
	return e
}

package redo

// groupCheck compares the places where mini-transactions begin with what the headers of the blocks say. Positions are in the stream, which
// begins with the data of the parser's first block, so that block k covers [k*BlockData, (k+1)*BlockData).
type groupCheck struct {
	blocks []groupBlock // those that are not settled
	base   uint64       // position of blocks[0]
	next   uint64       // position of the first block in which no beginning was seen
}

type groupBlock struct {
	said, found uint16 // offset in the block, 0 for none
	full        bool
}

// add tells of a block or of more of it.
func (g *groupCheck) add(b Block, origin LSN) {
	k := uint64(b.LSN-origin.BlockStart())/BlockSize - g.base/BlockData
	if k == uint64(len(g.blocks)) {
		g.blocks = append(g.blocks, groupBlock{})
	}
	g.blocks[k].said, g.blocks[k].full = uint16(b.FirstRecGroup), b.Full()
}

// begins tells that a mini-transaction begins at pos, which is not before g.next. It returns false if the block of pos is not there yet.
func (g *groupCheck) begins(pos uint64) bool {
	k := (pos - g.base) / BlockData
	if k >= uint64(len(g.blocks)) {
		return false
	}
	start := g.base + k*BlockData
	g.blocks[k].found = uint16(pos - start + BlockHeader)
	g.next = start + BlockData
	return true
}

// settle compares the full blocks in which a beginning was found, or that are parsed to their end without one.
func (g *groupCheck) settle(parsed uint64, origin LSN) error {
	for len(g.blocks) > 0 && g.blocks[0].full && (g.blocks[0].found != 0 || parsed >= g.base+BlockData) {
		b := g.blocks[0]
		if b.said != b.found {
			return &GroupError{LSN: origin.BlockStart() + LSN(g.base/BlockData*BlockSize), Said: int(b.said), Found: int(b.found)}
		}
		n := copy(g.blocks, g.blocks[1:])
		g.blocks, g.base = g.blocks[:n], g.base+BlockData
	}
	return nil
}

package repo

import (
	"lukechampine.com/blake3"
	"lukechampine.com/blake3/guts"
)

const lanes = guts.MaxSIMD * guts.ChunkSize // bytes that one call of the vector code hashes

// digest is blake3.Sum256, but for an extent of the usual size without the goroutines that
// it starts for every 16 KiB: workers use all processors already.
func digest(b []byte) [32]byte {
	if n := len(b) / lanes; n < 2 || n > MaxExtent/lanes || n&(n-1) != 0 || len(b)%lanes != 0 {
		return blake3.Sum256(b)
	}
	top := subtree(b, 0)
	top.Flags |= guts.FlagRoot
	out := guts.WordsToBytes(guts.CompressNode(top))
	return [32]byte(out[:])
}

// subtree is the root of the hash tree over b, a power of two of lanes that begins at
// the given chunk.
func subtree(b []byte, chunk uint64) guts.Node {
	if len(b) == lanes {
		return guts.CompressBuffer((*[lanes]byte)(b), lanes, &guts.IV, chunk, 0)
	}
	half := len(b) / 2
	left := subtree(b[:half], chunk)
	right := subtree(b[half:], chunk+uint64(half/guts.ChunkSize))
	return guts.ParentNode(guts.ChainingValue(left), guts.ChainingValue(right), &guts.IV, 0)
}

package page

import "fmt"

// Type is a page's type (FIL_PAGE_TYPE: fil0fil.h, FIL_PAGE_INDEX and after).
type Type uint16

// The page types of MySQL 8.0 and later.
const (
	TypeAllocated           Type = 0 // allocated and not used yet
	TypeUnused              Type = 1
	TypeUndoLog             Type = 2
	TypeInode               Type = 3
	TypeIbufFreeList        Type = 4
	TypeIbufBitmap          Type = 5
	TypeSys                 Type = 6
	TypeTrxSys              Type = 7
	TypeFSPHeader           Type = 8 // the first page of a tablespace
	TypeXDES                Type = 9 // extent descriptors
	TypeBLOB                Type = 10
	TypeZBLOB               Type = 11
	TypeZBLOB2              Type = 12
	TypeUnknown             Type = 13
	TypeCompressed          Type = 14 // COMPRESSION='zlib' or 'lz4'
	TypeEncrypted           Type = 15
	TypeCompressedEncrypted Type = 16
	TypeEncryptedRTree      Type = 17
	TypeSDIBLOB             Type = 18
	TypeSDIZBLOB            Type = 19
	TypeLegacyDoublewrite   Type = 20
	TypeRsegArray           Type = 21
	TypeLOBIndex            Type = 22
	TypeLOBData             Type = 23
	TypeLOBFirst            Type = 24
	TypeZLOBFirst           Type = 25
	TypeZLOBData            Type = 26
	TypeZLOBIndex           Type = 27
	TypeZLOBFrag            Type = 28
	TypeZLOBFragEntry       Type = 29
	TypeSDI                 Type = 17853
	TypeRTree               Type = 17854
	TypeIndex               Type = 17855
)

func (t Type) String() string {
	names := [...]string{"ALLOCATED", "UNUSED", "UNDO_LOG", "INODE", "IBUF_FREE_LIST", "IBUF_BITMAP", "SYS",
		"TRX_SYS", "FSP_HDR", "XDES", "BLOB", "ZBLOB", "ZBLOB2", "UNKNOWN", "COMPRESSED", "ENCRYPTED",
		"COMPRESSED_AND_ENCRYPTED", "ENCRYPTED_RTREE", "SDI_BLOB", "SDI_ZBLOB", "LEGACY_DBLWR", "RSEG_ARRAY",
		"LOB_INDEX", "LOB_DATA", "LOB_FIRST", "ZLOB_FIRST", "ZLOB_DATA", "ZLOB_INDEX", "ZLOB_FRAG",
		"ZLOB_FRAG_ENTRY"}
	switch {
	case int(t) < len(names):
		return names[t]
	case t == TypeSDI:
		return "SDI"
	case t == TypeRTree:
		return "RTREE"
	case t == TypeIndex:
		return "INDEX"
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// Encrypted reports whether the data of such a page cannot be read without
// the tablespace's key.
func (t Type) Encrypted() bool {
	return t == TypeEncrypted || t == TypeCompressedEncrypted || t == TypeEncryptedRTree
}

// known reports whether a server of 8.0 or later writes such pages.
func (t Type) known() bool { return t <= TypeZLOBFragEntry || t >= TypeSDI && t <= TypeIndex }

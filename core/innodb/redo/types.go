package redo

import "strconv"

// Type is the type of a redo record.
type Type uint8

// The record types of format 6. Numbers that are missing were never used or are gone for good.
// Source: mtr0types.h, enum mlog_id_t.
const (
	Byte1                     Type = 1
	Bytes2                    Type = 2
	Bytes4                    Type = 4
	Bytes8                    Type = 8
	RecInsert8027             Type = 9
	RecClustDeleteMark8027    Type = 10
	RecSecDeleteMark          Type = 11
	RecUpdateInPlace8027      Type = 13
	RecDelete8027             Type = 14
	ListEndDelete8027         Type = 15
	ListStartDelete8027       Type = 16
	ListEndCopyCreated8027    Type = 17
	PageReorganize8027        Type = 18
	PageCreate                Type = 19
	UndoInsert                Type = 20
	UndoEraseEnd              Type = 21
	UndoInit                  Type = 22
	UndoHdrReuse              Type = 24
	UndoHdrCreate             Type = 25
	RecMinMark                Type = 26
	IbufBitmapInit            Type = 27
	InitFilePage              Type = 29
	WriteString               Type = 30
	MultiRecEnd               Type = 31
	DummyRecord               Type = 32
	FileCreate                Type = 33
	FileRename                Type = 34
	FileDelete                Type = 35
	CompRecMinMark            Type = 36
	CompPageCreate            Type = 37
	CompRecInsert8027         Type = 38
	CompClustDeleteMark8027   Type = 39
	CompRecSecDeleteMark      Type = 40
	CompRecUpdateInPlace8027  Type = 41
	CompRecDelete8027         Type = 42
	CompListEndDelete8027     Type = 43
	CompListStartDelete8027   Type = 44
	CompListEndCopyCreat8027  Type = 45
	CompPageReorganize8027    Type = 46
	ZipWriteNodePtr           Type = 48
	ZipWriteBlobPtr           Type = 49
	ZipWriteHeader            Type = 50
	ZipPageCompress           Type = 51
	ZipPageCompressNoData8027 Type = 52
	ZipPageReorganize8027     Type = 53
	PageCreateRTree           Type = 57
	CompPageCreateRTree       Type = 58
	InitFilePage2             Type = 59
	IndexLoad                 Type = 61
	TableDynamicMeta          Type = 62
	PageCreateSDI             Type = 63
	CompPageCreateSDI         Type = 64
	FileExtend                Type = 65
	Test                      Type = 66
	RecInsert                 Type = 67
	RecClustDeleteMark        Type = 68
	RecDelete                 Type = 69
	RecUpdateInPlace          Type = 70
	ListEndCopyCreated        Type = 71
	PageReorganize            Type = 72
	ZipPageReorganize         Type = 73
	ZipPageCompressNoData     Type = 74
	ListEndDelete             Type = 75
	ListStartDelete           Type = 76
)

// typeNames are the server's names without their MLOG_ prefix. It is never changed.
var typeNames = [...]string{
	Byte1:                     "1BYTE",
	Bytes2:                    "2BYTES",
	Bytes4:                    "4BYTES",
	Bytes8:                    "8BYTES",
	RecInsert8027:             "REC_INSERT_8027",
	RecClustDeleteMark8027:    "REC_CLUST_DELETE_MARK_8027",
	RecSecDeleteMark:          "REC_SEC_DELETE_MARK",
	RecUpdateInPlace8027:      "REC_UPDATE_IN_PLACE_8027",
	RecDelete8027:             "REC_DELETE_8027",
	ListEndDelete8027:         "LIST_END_DELETE_8027",
	ListStartDelete8027:       "LIST_START_DELETE_8027",
	ListEndCopyCreated8027:    "LIST_END_COPY_CREATED_8027",
	PageReorganize8027:        "PAGE_REORGANIZE_8027",
	PageCreate:                "PAGE_CREATE",
	UndoInsert:                "UNDO_INSERT",
	UndoEraseEnd:              "UNDO_ERASE_END",
	UndoInit:                  "UNDO_INIT",
	UndoHdrReuse:              "UNDO_HDR_REUSE",
	UndoHdrCreate:             "UNDO_HDR_CREATE",
	RecMinMark:                "REC_MIN_MARK",
	IbufBitmapInit:            "IBUF_BITMAP_INIT",
	InitFilePage:              "INIT_FILE_PAGE",
	WriteString:               "WRITE_STRING",
	MultiRecEnd:               "MULTI_REC_END",
	DummyRecord:               "DUMMY_RECORD",
	FileCreate:                "FILE_CREATE",
	FileRename:                "FILE_RENAME",
	FileDelete:                "FILE_DELETE",
	CompRecMinMark:            "COMP_REC_MIN_MARK",
	CompPageCreate:            "COMP_PAGE_CREATE",
	CompRecInsert8027:         "COMP_REC_INSERT_8027",
	CompClustDeleteMark8027:   "COMP_REC_CLUST_DELETE_MARK_8027",
	CompRecSecDeleteMark:      "COMP_REC_SEC_DELETE_MARK",
	CompRecUpdateInPlace8027:  "COMP_REC_UPDATE_IN_PLACE_8027",
	CompRecDelete8027:         "COMP_REC_DELETE_8027",
	CompListEndDelete8027:     "COMP_LIST_END_DELETE_8027",
	CompListStartDelete8027:   "COMP_LIST_START_DELETE_8027",
	CompListEndCopyCreat8027:  "COMP_LIST_END_COPY_CREATED_8027",
	CompPageReorganize8027:    "COMP_PAGE_REORGANIZE_8027",
	ZipWriteNodePtr:           "ZIP_WRITE_NODE_PTR",
	ZipWriteBlobPtr:           "ZIP_WRITE_BLOB_PTR",
	ZipWriteHeader:            "ZIP_WRITE_HEADER",
	ZipPageCompress:           "ZIP_PAGE_COMPRESS",
	ZipPageCompressNoData8027: "ZIP_PAGE_COMPRESS_NO_DATA_8027",
	ZipPageReorganize8027:     "ZIP_PAGE_REORGANIZE_8027",
	PageCreateRTree:           "PAGE_CREATE_RTREE",
	CompPageCreateRTree:       "COMP_PAGE_CREATE_RTREE",
	InitFilePage2:             "INIT_FILE_PAGE2",
	IndexLoad:                 "INDEX_LOAD",
	TableDynamicMeta:          "TABLE_DYNAMIC_META",
	PageCreateSDI:             "PAGE_CREATE_SDI",
	CompPageCreateSDI:         "COMP_PAGE_CREATE_SDI",
	FileExtend:                "FILE_EXTEND",
	Test:                      "TEST",
	RecInsert:                 "REC_INSERT",
	RecClustDeleteMark:        "REC_CLUST_DELETE_MARK",
	RecDelete:                 "REC_DELETE",
	RecUpdateInPlace:          "REC_UPDATE_IN_PLACE",
	ListEndCopyCreated:        "LIST_END_COPY_CREATED",
	PageReorganize:            "PAGE_REORGANIZE",
	ZipPageReorganize:         "ZIP_PAGE_REORGANIZE",
	ZipPageCompressNoData:     "ZIP_PAGE_COMPRESS_NO_DATA",
	ListEndDelete:             "LIST_END_DELETE",
	ListStartDelete:           "LIST_START_DELETE",
}

// String returns the server's name of the type without its MLOG_ prefix, or its number.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return strconv.Itoa(int(t))
}

// Package repo is the backups kept on a storage.
//
// Objects, by name:
//
//	remora.json                       what the whole repository agrees on; put by the first backup
//	backups/<id>/pack-000001 ...      extents one after the other, each a zstd frame or raw
//	backups/<id>/index-000001 ...     which extent lies where (see index.go); segments of one stream
//	backups/<id>/files                the files of the backup: JSON lines, zstd
//	backups/<id>/manifest.json        put last; a backup exists if and only if this does
//
// Everything in a backup is a file with extents. Each copy of a file has its own FileID;
// the table of files, written last, says which copies are part of the backup and what
// they are called in it. Extents of other copies are garbage that readers skip.
//
// What proves what: the manifest proves itself (sealed.go), the bytes of the index and of
// the table of files; the index proves every extent's plain bytes, stored bytes and
// place, and each pack's size. So no byte of any object can change unseen.
//
// Memory does not grow with the data: packs and index are streams on both sides. Only the
// table of files is held, about 120 bytes for each file.
package repo

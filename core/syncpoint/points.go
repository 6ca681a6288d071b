package syncpoint

// The points of a backup, then those of a restore. The first word is the phase's short
// name. A new point is a constant and a line in the list; a test of the list finds what
// is missing.
const (
	BackupStart        Point = "backup.start"
	BackupPreflighted  Point = "backup.preflighted"
	RedoFound          Point = "redo.checkpoint_found"
	RedoCaughtUp       Point = "redo.caught_up"
	RedoBlock          Point = "redo.block"
	CopyDiscovered     Point = "copy.discovered"
	CopyOpen           Point = "copy.open"
	CopyExtent         Point = "copy.extent"
	CopyFileDone       Point = "copy.file_done"
	CopyDone           Point = "copy.done"
	CatchUpRound       Point = "catchup.round"
	LockBefore         Point = "lock.before"
	LockHeld           Point = "lock.held"
	LockSyncPoint      Point = "lock.sync_point"
	LockRelease        Point = "lock.release"
	LockReleased       Point = "lock.released"
	TailRedo           Point = "tail.redo"
	TailBinlog         Point = "tail.binlog"
	StorePackPut       Point = "store.pack_put"
	StoreIndex         Point = "store.index"
	StoreManifest      Point = "store.manifest"
	StoreDone          Point = "store.done"
	RestoreStart       Point = "restore.start"
	RestoreManifest    Point = "restore.manifest_read"
	RestoreTargetReady Point = "restore.target_ready"
	FetchPack          Point = "fetch.pack"
	FetchExtent        Point = "fetch.extent"
	FetchDone          Point = "fetch.done"
	PrepareSpawn       Point = "prepare.spawn"
	PrepareProgress    Point = "prepare.progress"
	PrepareDone        Point = "prepare.done"
	PublishBefore      Point = "publish.before"
	PublishEntry       Point = "publish.entry"
	PublishRename      Point = "publish.rename"
	PublishDone        Point = "publish.done"
)

var points = []Point{
	BackupStart, BackupPreflighted, RedoFound, RedoCaughtUp, RedoBlock, CopyDiscovered, CopyOpen, CopyExtent, CopyFileDone, CopyDone,
	CatchUpRound, LockBefore, LockHeld, LockSyncPoint, LockRelease, LockReleased, TailRedo, TailBinlog,
	StorePackPut, StoreIndex, StoreManifest, StoreDone,
	RestoreStart, RestoreManifest, RestoreTargetReady, FetchPack, FetchExtent, FetchDone,
	PrepareSpawn, PrepareProgress, PrepareDone, PublishBefore, PublishEntry, PublishRename, PublishDone,
}

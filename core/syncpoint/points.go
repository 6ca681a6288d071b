package syncpoint

// The points of every operation before its first phase, those of a backup, of a restore, of
// an export, of the preparation of a directory, and of what comes after the last phase. The first word is the phase's short name. A new
// point is a constant and a line in a list; a test of the lists finds what is missing, and
// testscripts/stop fails for a point that no run comes to.
const (
	OperationBegin    Point = "operation.begin"
	OperationLocked   Point = "operation.locked"
	OperationRecorded Point = "operation.recorded"
	OperationHooks    Point = "operation.hooks"
	OperationStorage  Point = "operation.storage"
	OperationPlanned  Point = "operation.planned"
	OperationBegun    Point = "operation.begun"

	BackupStart       Point = "backup.start"
	BackupFacts       Point = "backup.facts"
	BackupChecked     Point = "backup.checked"
	BackupPreflighted Point = "backup.preflighted"
	RedoConsumer      Point = "redo.consumer"
	RedoFound         Point = "redo.checkpoint_found"
	RedoBlock         Point = "redo.block"
	RedoCaughtUp      Point = "redo.caught_up"
	CopyDiscovered    Point = "copy.discovered"
	CopyOpen          Point = "copy.open"
	CopyExtent        Point = "copy.extent"
	CopyFileDone      Point = "copy.file_done"
	CopyOthers        Point = "copy.others"
	CopyDone          Point = "copy.done"
	CatchUpRound      Point = "catchup.round"
	CatchUpLook       Point = "catchup.look"
	CatchUpSettle     Point = "catchup.settle"
	StorePackBegin    Point = "store.pack_begin"
	StorePackPut      Point = "store.pack_put"
	StorePackDone     Point = "store.pack_done"
	LockBefore        Point = "lock.before"
	LockHeld          Point = "lock.held"
	LockLook          Point = "lock.look"
	LockRest          Point = "lock.rest"
	LockOthers        Point = "lock.others"
	LockTables        Point = "lock.tables"
	LockPosition      Point = "lock.position"
	LockSyncPoint     Point = "lock.sync_point"
	LockRelease       Point = "lock.release"
	LockChecked       Point = "lock.checked"
	LockReleased      Point = "lock.released"
	TailRedo          Point = "tail.redo"
	TailRedoDone      Point = "tail.redo_done"
	TailBinlog        Point = "tail.binlog"
	TailDone          Point = "tail.done"
	StoreServer       Point = "store.same_server"
	StoreDescribed    Point = "store.described"
	StoreFiles        Point = "store.files"
	StoreIndex        Point = "store.index"
	StoreCheck        Point = "store.check"
	StoreManifest     Point = "store.manifest"
	StoreManifestPut  Point = "store.manifest_put"
	StoreDone         Point = "store.done"

	RestoreStart         Point = "restore.start"
	RestoreManifest      Point = "restore.manifest_read"
	RestoreVersion       Point = "restore.version"
	RestoreTarget        Point = "restore.target"
	RestorePlanned       Point = "restore.planned"
	RestoreChecked       Point = "restore.checked"
	RestoreTargetReady   Point = "restore.target_ready"
	FetchJournal         Point = "fetch.journal"
	FetchCreated         Point = "fetch.created"
	FetchPack            Point = "fetch.pack"
	FetchExtent          Point = "fetch.extent"
	FetchWritten         Point = "fetch.written"
	FetchPackDone        Point = "fetch.pack_done"
	FetchDone            Point = "fetch.done"
	PrepareBinlog        Point = "prepare.binlog"
	PrepareJournal       Point = "prepare.journal"
	PrepareSpawn         Point = "prepare.spawn"
	PrepareProgress      Point = "prepare.progress"
	PrepareRecovered     Point = "prepare.recovered"
	PrepareDropped       Point = "prepare.dropped"
	PrepareOwned         Point = "prepare.owned"
	PrepareSynced        Point = "prepare.synced"
	PrepareDone          Point = "prepare.done"
	PublishBefore        Point = "publish.before"
	PublishDestructive   Point = "publish.destructive"
	PublishHidden        Point = "publish.hidden"
	PublishEntry         Point = "publish.entry"
	PublishEntriesSynced Point = "publish.entries_synced"
	PublishRename        Point = "publish.rename"
	PublishRenamed       Point = "publish.renamed"
	PublishDone          Point = "publish.done"
	PublishRemoved       Point = "publish.removed"

	ExportSynced    Point = "export.synced"
	ExportFetched   Point = "export.fetched"
	ExportBinlog    Point = "export.binlog"
	ExportDescribed Point = "export.described"

	ReadingStart       Point = "reading.start"
	ReadingChecked     Point = "reading.checked"
	ApplyingBefore     Point = "applying.before"
	ApplyingBegun      Point = "applying.begun"
	ApplyingGroup      Point = "applying.group"
	ApplyingDone       Point = "applying.done"
	PrepareDestructive Point = "prepare.destructive"
	PrepareKept        Point = "prepare.kept"

	CleanupRelease   Point = "cleanup.release"
	CleanupRedo      Point = "cleanup.redo"
	CleanupConsumer  Point = "cleanup.consumer"
	CleanupAbort     Point = "cleanup.abort"
	CleanupManifest  Point = "cleanup.manifest"
	CleanupDelete    Point = "cleanup.delete"
	CleanupKept      Point = "cleanup.kept"
	CleanupJournal   Point = "cleanup.journal"
	CleanupDirectory Point = "cleanup.directory"
	CleanupHooks     Point = "cleanup.hooks"
	CleanupPlugins   Point = "cleanup.plugins"
	CleanupHistory   Point = "cleanup.history"
	CleanupLockFile  Point = "cleanup.lock_file"
)

var before = []Point{
	OperationBegin, OperationLocked, OperationRecorded, OperationHooks, OperationStorage, OperationPlanned, OperationBegun,
}

var ofBackup = []Point{
	BackupStart, BackupFacts, BackupChecked, BackupPreflighted,
	RedoConsumer, RedoFound, RedoBlock, RedoCaughtUp,
	CopyDiscovered, CopyOpen, CopyExtent, CopyFileDone, CopyOthers, CopyDone,
	CatchUpRound, CatchUpLook, CatchUpSettle, StorePackBegin, StorePackPut, StorePackDone,
	LockBefore, LockHeld, LockLook, LockRest, LockOthers, LockTables, LockPosition, LockSyncPoint, LockRelease, LockChecked, LockReleased,
	TailRedo, TailRedoDone, TailBinlog, TailDone,
	StoreServer, StoreDescribed, StoreFiles, StoreIndex, StoreCheck, StoreManifest, StoreManifestPut, StoreDone,
}

var ofRestore = []Point{
	RestoreStart, RestoreManifest, RestoreVersion, RestoreTarget, RestorePlanned, RestoreChecked, RestoreTargetReady,
	FetchJournal, FetchCreated, FetchPack, FetchExtent, FetchWritten, FetchPackDone, FetchDone,
	PrepareBinlog, PrepareJournal, PrepareSpawn, PrepareProgress, PrepareRecovered, PrepareDropped, PrepareOwned, PrepareSynced, PrepareDone,
	PublishBefore, PublishDestructive, PublishHidden, PublishEntry, PublishEntriesSynced, PublishRename, PublishRenamed, PublishDone, PublishRemoved,
}

// What an export has beside those of a restore that it comes to.
var ofExport = []Point{ExportSynced, ExportFetched, ExportBinlog, ExportDescribed}

// What a preparation in place has beside those of a restore that it comes to.
var ofPrepare = []Point{
	ReadingStart, ReadingChecked, ApplyingBefore, ApplyingBegun, ApplyingGroup, ApplyingDone,
	PrepareDestructive, PrepareKept,
}

// Those of a backup's clean-up, of a restore's, of a preparation's, and of what is given back
// after all of them.
var after = []Point{
	CleanupRelease, CleanupRedo, CleanupConsumer, CleanupAbort, CleanupManifest, CleanupDelete,
	CleanupKept, CleanupJournal, CleanupDirectory,
	CleanupHooks, CleanupPlugins, CleanupHistory, CleanupLockFile,
}

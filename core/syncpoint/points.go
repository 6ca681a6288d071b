package syncpoint

// The points in the order in which operations come to them; each operation comes to those that
// places gives it. The first word of a point is its phase's short name. A new point is a constant
// and a line in places: a test of the list finds what is missing, and testscripts/stop, which
// derives from it what it does where, fails for a point that no run comes to.
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

	RestoreStart       Point = "restore.start"
	RestoreManifest    Point = "restore.manifest_read"
	RestoreVersion     Point = "restore.version"
	RestoreTarget      Point = "restore.target"
	RestorePlanned     Point = "restore.planned"
	RestoreChecked     Point = "restore.checked"
	RestoreTargetReady Point = "restore.target_ready"
	FetchJournal       Point = "fetch.journal"
	FetchCreated       Point = "fetch.created"
	FetchPack          Point = "fetch.pack"
	FetchExtent        Point = "fetch.extent"
	FetchWritten       Point = "fetch.written"
	FetchPackDone      Point = "fetch.pack_done"
	FetchDone          Point = "fetch.done"

	ExportSynced    Point = "export.synced"
	ExportFetched   Point = "export.fetched"
	ExportBinlog    Point = "export.binlog"
	ExportDescribed Point = "export.described"

	ReadingStart   Point = "reading.start"
	ReadingChecked Point = "reading.checked"
	ApplyingBefore Point = "applying.before"
	ApplyingBegun  Point = "applying.begun"
	ApplyingGroup  Point = "applying.group"
	ApplyingDone   Point = "applying.done"

	PrepareBinlog      Point = "prepare.binlog"
	PrepareJournal     Point = "prepare.journal"
	PrepareDestructive Point = "prepare.destructive"
	PrepareSpawn       Point = "prepare.spawn"
	PrepareProgress    Point = "prepare.progress"
	PrepareRecovered   Point = "prepare.recovered"
	PrepareKept        Point = "prepare.kept"
	PrepareDropped     Point = "prepare.dropped"
	PrepareOwned       Point = "prepare.owned"
	PrepareSynced      Point = "prepare.synced"
	PrepareDone        Point = "prepare.done"

	PublishBefore        Point = "publish.before"
	PublishDestructive   Point = "publish.destructive"
	PublishHidden        Point = "publish.hidden"
	PublishEntry         Point = "publish.entry"
	PublishEntriesSynced Point = "publish.entries_synced"
	PublishRename        Point = "publish.rename"
	PublishRenamed       Point = "publish.renamed"
	PublishDone          Point = "publish.done"
	PublishRemoved       Point = "publish.removed"

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

// places says of each point what holds there. The operations before the first phase and after the
// last are the same for all.
var places = []Place{
	{Point: OperationBegin, In: anyOperation},
	{Point: OperationLocked, In: anyOperation},
	{Point: OperationRecorded, In: anyOperation},
	{Point: OperationHooks, In: anyOperation},
	{Point: OperationStorage, In: Backup | Restore | Export},
	{Point: OperationPlanned, In: anyOperation},
	{Point: OperationBegun, In: anyOperation},

	{Point: BackupStart, In: Backup},
	{Point: BackupFacts, In: Backup},
	{Point: BackupChecked, In: Backup},
	{Point: BackupPreflighted, In: Backup},
	{Point: RedoConsumer, In: Backup},
	{Point: RedoFound, In: Backup},
	{Point: RedoBlock, In: Backup},
	{Point: RedoCaughtUp, In: Backup},
	{Point: CopyDiscovered, In: Backup},
	{Point: CopyOpen, In: Backup},
	{Point: CopyExtent, In: Backup},
	{Point: CopyFileDone, In: Backup},
	{Point: CopyOthers, In: Backup},
	{Point: CopyDone, In: Backup},
	{Point: CatchUpRound, In: Backup},
	{Point: CatchUpLook, In: Backup},
	{Point: CatchUpSettle, In: Backup},
	{Point: StorePackBegin, In: Backup},
	{Point: StorePackPut, In: Backup},
	{Point: StorePackDone, In: Backup},
	{Point: LockBefore, In: Backup},
	{Point: LockHeld, In: Backup, Locks: true},
	{Point: LockLook, In: Backup},
	{Point: LockRest, In: Backup},
	{Point: LockOthers, In: Backup},
	{Point: LockTables, In: Backup},
	{Point: LockPosition, In: Backup},
	{Point: LockSyncPoint, In: Backup},
	{Point: LockRelease, In: Backup},
	{Point: LockChecked, In: Backup},
	{Point: LockReleased, In: Backup, Unlocks: true},
	{Point: TailRedo, In: Backup},
	{Point: TailRedoDone, In: Backup},
	{Point: TailBinlog, In: Backup},
	{Point: TailDone, In: Backup},
	{Point: StoreServer, In: Backup},
	{Point: StoreDescribed, In: Backup},
	{Point: StoreFiles, In: Backup},
	{Point: StoreIndex, In: Backup},
	{Point: StoreCheck, In: Backup},
	{Point: StoreManifest, In: Backup},
	{Point: StoreManifestPut, In: Backup},
	{Point: StoreDone, In: Backup, Commits: Backup},

	{Point: RestoreStart, In: Restore | Export},
	{Point: RestoreManifest, In: Restore | Export},
	{Point: RestoreVersion, In: Restore | Export},
	{Point: RestoreTarget, In: Restore | Export},
	{Point: RestorePlanned, In: Restore | Export},
	{Point: RestoreChecked, In: Restore | Export},
	{Point: RestoreTargetReady, In: Restore | Export},
	{Point: FetchJournal, In: Restore | Export},
	{Point: FetchCreated, In: Restore | Export},
	{Point: FetchPack, In: Restore | Export},
	{Point: FetchExtent, In: Restore | Export},
	{Point: FetchWritten, In: Restore | Export},
	{Point: FetchPackDone, In: Restore | Export},
	{Point: FetchDone, In: Restore | Export},

	{Point: ExportSynced, In: Export},
	{Point: ExportFetched, In: Export},
	{Point: ExportBinlog, In: Export},
	{Point: ExportDescribed, In: Export},

	{Point: ReadingStart, In: Prepare | Foreign},
	{Point: ReadingChecked, In: Prepare | Foreign, Differs: true},
	{Point: ApplyingBefore, In: Prepare | Foreign, Differs: true},
	{Point: ApplyingBegun, In: Prepare | Foreign, Differs: true},
	{Point: ApplyingGroup, In: Foreign, Differs: true},
	{Point: ApplyingDone, In: Prepare | Foreign, Differs: true},

	{Point: PrepareBinlog, In: Restore | Prepare | Foreign},
	{Point: PrepareJournal, In: Restore | Prepare | Foreign},
	{Point: PrepareDestructive, In: Prepare | Foreign, Differs: true, Changes: Prepare | Foreign},
	{Point: PrepareSpawn, In: Restore | Prepare | Foreign},
	{Point: PrepareProgress, In: Restore | Prepare | Foreign, Differs: true},
	{Point: PrepareRecovered, In: Restore | Prepare | Foreign, Differs: true},
	{Point: PrepareKept, In: Prepare | Foreign, Differs: true},
	{Point: PrepareDropped, In: Restore | Prepare | Foreign, Differs: true},
	{Point: PrepareOwned, In: Restore | Prepare | Foreign, Differs: true},
	{Point: PrepareSynced, In: Restore},
	{Point: PrepareDone, In: Restore | Prepare | Foreign, Differs: true, Commits: Prepare | Foreign},

	{Point: PublishBefore, In: Restore | Export},
	{Point: PublishDestructive, In: Restore | Export, Changes: Restore | Export},
	{Point: PublishHidden, In: Restore | Export},
	{Point: PublishEntry, In: Restore | Export},
	{Point: PublishEntriesSynced, In: Restore | Export},
	{Point: PublishRename, In: Restore | Export},
	{Point: PublishRenamed, In: Restore | Export, Commits: Restore | Export},
	{Point: PublishDone, In: Restore | Export},
	{Point: PublishRemoved, In: Restore | Export},

	{Point: CleanupRelease, In: Backup, After: LockSyncPoint},
	{Point: CleanupRedo, In: Backup, After: CopyDone},
	{Point: CleanupConsumer, In: Backup, After: CopyDone},
	{Point: CleanupAbort, In: Backup, After: TailDone},
	{Point: CleanupManifest, In: Backup, After: TailDone},
	{Point: CleanupDelete, In: Backup, After: TailDone},
	{Point: CleanupKept, In: Restore | Export, After: FetchDone},
	{Point: CleanupJournal, In: Restore | Export, After: FetchDone},
	{Point: CleanupDirectory, In: Prepare | Foreign, After: ApplyingDone},
	{Point: CleanupHooks, In: anyOperation},
	{Point: CleanupPlugins, In: anyOperation},
	{Point: CleanupHistory, In: anyOperation},
	{Point: CleanupLockFile, In: anyOperation},
}

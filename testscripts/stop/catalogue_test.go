package stop

import (
	"testing"

	"github.com/remora-backup/remora/core/syncpoint"
)

// runs makes runs of the matrix a scenario.
func runs(operation string, f fault, at ...syncpoint.Point) func(*testing.T, *bench) {
	return func(t *testing.T, b *bench) {
		for i, p := range at {
			o := one{operation, p, f, 1000 + i} // a number that is compared with nothing
			if !o.possible() {
				t.Fatalf("%s cannot be run", o)
			}
			b.run(t, o)
		}
	}
}

func both(all ...func(*testing.T, *bench)) func(*testing.T, *bench) {
	return func(t *testing.T, b *bench) {
		for _, f := range all {
			f(t, b)
		}
	}
}

func deaths() []scenario {
	return []scenario{
		{id: "A1", what: "kill -9 in a backup", run: runs("backup", killHost, syncpoint.CopyExtent, syncpoint.LockSyncPoint), elsewhere: []string{"testscripts backup_killed_under_lock.txtar"}},
		{id: "A2", what: "kill -9 in a restore", run: runs("restore", killHost, syncpoint.FetchWritten, syncpoint.PublishEntry), elsewhere: []string{"core/restore TestKilled"}},
		{id: "A3", what: "SIGINT", run: both(runs("backup", sigint, syncpoint.LockHeld), runs("restore", sigint, syncpoint.PrepareProgress))},
		{id: "A4", what: "SIGTERM", run: runs("backup", sigterm, syncpoint.LockSyncPoint)},
		{id: "A5", what: "SIGHUP of a lost terminal", run: hangup, partly: "the daemon is not there yet"},
		{id: "A6", what: "second SIGINT in a hanging clean-up", run: second},
		{id: "A7", what: "third SIGINT", run: third},
		{id: "A8", what: "SIGINT twice within 20 ms", run: twice},
		{id: "A9", what: "SIGINT to the process group", run: toTheGroup},
		{id: "A10", what: "SIGTERM to every process", run: toAll, partly: "as systemd does it by default, without systemd"},
		{id: "A11", what: "SIGTERM, then SIGKILL in the clean-up", run: killedWhileTidying},
		{id: "A12", what: "server stopped under a waiting backup", run: serverStops},
		{id: "A13", what: "SIGSTOP while the server is locked", run: stopped, waits: true},
		{id: "A14", what: "out of memory", run: outOfMemory},
		{id: "A15", what: "panic in a phase", elsewhere: []string{"core/run TestPanicsDoNotSkipTheCleanup"}},
		{id: "A16", what: "interrupted before the history exists", run: runs("backup", sigint, syncpoint.OperationBegin, syncpoint.OperationLocked)},
		{id: "A17", what: "interrupted after the commit", run: both(runs("backup", sigint, syncpoint.StoreDone), runs("restore", sigterm, syncpoint.PublishDone))},
		{id: "A18", what: "interrupted while an error unwinds", run: runs("backup", sigint, syncpoint.CleanupRelease, syncpoint.CleanupAbort), elsewhere: []string{"core/run TestFailOutranksALaterInterruptionA18"}},
	}
}

func servers() []scenario {
	return []scenario{
		{id: "B1", what: "mysqld killed", run: runs("backup", killMysqld, syncpoint.CopyExtent, syncpoint.LockHeld, syncpoint.TailRedo)},
		{id: "B2", what: "shutdown while locked", run: shutdownWhileLocked},
		{id: "B3", what: "KILL of the lock session", run: runs("backup", killConn, syncpoint.LockHeld, syncpoint.LockTables, syncpoint.LockChecked)},
		{id: "B4", what: "KILL QUERY of the lock session", run: killQuery, elsewhere: []string{"plugins/mysqllock TestOnServer"}},
		{id: "B5", what: "KILL of the consumer's session", run: runs("backup", killConn, syncpoint.CopyDiscovered)},
		{id: "B6", what: "lock wait behind DDL", run: blocked, elsewhere: []string{"plugins/mysqllock TestOnServer"}},
		{id: "B7", what: "FTWRL behind a long statement", run: behindAStatement, elsewhere: []string{"plugins/mysqllock TestOnServer"}},
		{id: "B8", what: "another tool holds LOCK INSTANCE", run: sharedLock},
		{id: "B9", what: "a privilege is missing", elsewhere: []string{"core/server TestLiveServer", "testscripts backup_missing_privilege.txtar"}},
		{id: "B10", what: "password changed in the middle", run: passwordChanged},
		{id: "B11", what: "half-open TCP connection", run: halfOpen, waits: true},
		{id: "B12", what: "redo overrun", elsewhere: []string{"core/backup TestOverrun"}},
		{id: "B13", what: "DDL storm", elsewhere: []string{"core/backup TestStorm", "core/backup TestScenarios"}},
		{id: "B14", what: "redo logging switched off, key rotated", run: keyRotated, elsewhere: []string{"core/backup TestFaults", "core/backup TestEncryption", "core/backup TestRedoEncryptionSwitchedOn"}},
		{id: "B15", what: "corrupt source page", elsewhere: []string{"core/backup TestFaults"}},
		{id: "B16", what: "torn page", run: torn, elsewhere: []string{"core/backup TestBackupUnderLoadIsExact"}},
		{id: "B17", what: "file vanishes, grows, is cut, has an odd name", elsewhere: []string{"core/backup TestFaults", "core/backup TestScenarios"}},
		{id: "B18", what: "version, page size or encryption that is not supported", run: sizesAndVersions, elsewhere: []string{"core/restore TestRefuseVersion", "core/version TestSupported", "core/backup TestEncryptedRedoIsRefusedWithoutItsKey"}, partly: "every page size is supported, so none is refused; an encrypted redo log without its keyring ends with 10 or 19, not 20"},
		{id: "B19", what: "super_read_only server", run: readOnly},
		{id: "B20", what: "server restarted before the lock", run: restarted},
	}
}

func plugins() []scenario {
	return []scenario{
		{id: "C1", what: "storage plugin dies in an object", run: runs("backup", killStore, syncpoint.StorePackPut), elsewhere: []string{"plugins/host TestKilledInPut"}},
		{id: "C2", what: "storage plugin hangs", elsewhere: []string{"plugins/host TestHangsAreBounded"}},
		{id: "C3", what: "slow storage", run: slowStorage, waits: true, partly: "of a storage that is slow nothing is said before nothing moves for a minute"},
		{id: "C4", what: "storage returns other bytes", run: otherBytes, elsewhere: []string{"core/repo TestDamageIsFound", "core/repo TestReadAgainC4"}},
		{id: "C5", what: "short write said to be whole", elsewhere: []string{"core/repo TestPutEndsEarly"}},
		{id: "C6", what: "no space at byte n", elsewhere: []string{"plugins/host TestNoSpace", "plugins/fs TestFull", "testscripts storage_full.txtar"}},
		{id: "C7", what: "object acknowledged and forgotten", elsewhere: []string{"core/repo TestForgottenObjectC7"}},
		{id: "C8", what: "acknowledgements none, double, of another object; extra bytes", elsewhere: []string{"plugins/host TestAcknowledgementsC8", "plugins/host TestGetBelievesNothing", "plugins/host TestHangsAreBounded"}},
		{id: "C9", what: "wrong protocol or handshake", elsewhere: []string{"plugins/host TestWillNotStart", "testscripts plugin_broken.txtar"}},
		{id: "C10", what: "no handshake", elsewhere: []string{"plugins/host TestWillNotStart"}},
		{id: "C11", what: "executable replaced", elsewhere: []string{"plugins/host TestDigest"}},
		{id: "C12", what: "replaced between check and start; bad directory", elsewhere: []string{"plugins/host TestReplacedWhileItIsStartedC12", "plugins/host TestWillNotStart"}},
		{id: "C13", what: "lock plugin dies while locked", run: runs("backup", killLock, syncpoint.LockHeld, syncpoint.LockPosition)},
		{id: "C14", what: "host dies, lock plugin lives", run: both(runs("backup", killHost, syncpoint.LockHeld, syncpoint.LockTables), orphanedLock)},
		{id: "C15", what: "lock plugin lies", elsewhere: []string{"core/backup TestFaults"}},
		{id: "C16", what: "lock plugin hangs in release", elsewhere: []string{"plugins/host TestStuckReleaseKillsThePlugin"}},
		{id: "C17", what: "notify plugin dies, hangs, floods", run: both(badNotifiers, runs("backup", killNotify, syncpoint.CopyExtent)), elsewhere: []string{"plugins/webhook TestNeverBlocks"}, partly: "wall time may differ by 4 s, not by 1 %, on a machine with other work", waits: true},
		{id: "C18", what: "two plugins of one name", run: sameName, partly: "they are allowed on purpose, as processes with settings of their own; a plugin of no name is refused (C9)"},
		{id: "C19", what: "plugin with a grandchild", elsewhere: []string{"plugins/host TestGrandchildDoesNotStall"}},
		{id: "C20", what: "plugin floods its log", elsewhere: []string{"plugins/host TestFloodOfLogs"}},
		{id: "C21", what: "endless hook", elsewhere: []string{"hooks TestEndlessLoopsC21"}},
		{id: "C22", what: "pathological pattern", elsewhere: []string{"hooks TestPathologicalPatternC22"}},
		{id: "C23", what: "memory bomb", elsewhere: []string{"hooks TestMemoryBombC23"}},
		{id: "C24", what: "broken hook", elsewhere: []string{"hooks TestScriptErrorsC24", "hooks TestBadScriptsAreRefusedC24"}},
		{id: "C25", what: "globals of a hook", elsewhere: []string{"hooks TestGlobalsC25"}},
		{id: "C26", what: "hostile values of a hook", elsewhere: []string{"hooks TestHostileValuesC26"}},
		{id: "C27", what: "a hook's veto", elsewhere: []string{"hooks TestVetoC27", "core/run TestVetoC27", "testscripts hooks_veto.txtar"}},
		{id: "C28", what: "no hook while locked", elsewhere: []string{"hooks TestNothingRunsWhileLockedC28"}},
	}
}

func ours14() []scenario {
	return []scenario{
		{id: "E1", what: "second operation", run: secondOperation, elsewhere: []string{"cmd TestSecondOperationIsBusy", "testscripts backup_busy.txtar"}},
		{id: "E2", what: "lock file of a dead process", run: runs("backup", killHost, syncpoint.BackupStart)},
		{id: "E3", what: "another host in the repository", run: twoHosts, elsewhere: []string{"core/repo TestTwoHostsE3"}, partly: "there is no lock in the repository that could go stale: both hosts go on, and that is run"},
		{id: "E4", what: "clock goes back", elsewhere: []string{"core/repo TestNewBackupRefuses"}},
		{id: "E5", what: "history torn", elsewhere: []string{"core/state TestOpenOfATornOrForeignFileSaysWhatToDo", "core/state TestOpenAfterAKill"}},
		{id: "E6", what: "history of another version", elsewhere: []string{"core/state TestOpenRefusesANewerSchema", "core/state TestOpenMigratesAnOlderSchemaAndKeepsACopy"}},
		{id: "E7", what: "state directory that cannot be written", elsewhere: []string{"core/state TestOpenWhereNothingCanBeWritten"}},
		{id: "E8", what: "target not empty", elsewhere: []string{"core/restore TestRefuseTarget", "testscripts restore_refuses_target.txtar"}},
		{id: "E9", what: "target in use", elsewhere: []string{"core/restore TestRefuseTargetInUse"}},
		{id: "E10", what: "target full", run: targetFull, elsewhere: []string{"core/restore TestNoSpace"}},
		{id: "E11", what: "wrong mysqld", elsewhere: []string{"core/restore TestRefuseVersion", "testscripts restore_wrong_server.txtar"}},
		{id: "E12", what: "prepare killed", run: both(runs("restore", killMysqld, syncpoint.PrepareProgress), runs("restore", killHost, syncpoint.PrepareProgress),
			runs("prepare", killMysqld, syncpoint.PrepareProgress), runs("prepare", killHost, syncpoint.PrepareProgress)), elsewhere: []string{"core/restore TestPrepareInterrupted"}},
		{id: "E13", what: "restored server does not start", run: wontStart, partly: "the start is that of the recovery, with the settings for it; one with the server's own my.cnf is left to the user"},
		{id: "E14", what: "owner and modes", elsewhere: []string{"core/restore TestOwner", "core/restore TestPlantedLinks"}},
	}
}

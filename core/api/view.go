package api

import (
	"slices"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// seen is an answer as somebody with that role sees it: without Operate there are no paths and
// no texts of errors in it. What has them is made anew from what is known to have none.
func seen(v any, role Role) any {
	if role >= Operate {
		return v
	}
	switch v := v.(type) {
	case Status:
		v.Target = ""
		return v
	case state.Operation:
		return plainOperation(v)
	case OperationList:
		v.Operations = slices.Clone(v.Operations)
		for i := range v.Operations {
			v.Operations[i] = plainOperation(v.Operations[i])
		}
		return v
	case BackupList:
		v.Backups = slices.Clone(v.Backups)
		for i := range v.Backups {
			v.Backups[i].Error = ""
		}
		return v
	case Backup:
		return Backup{Listed: plainListed(v.Listed)}
	case Event:
		return Event{Number: v.Number, Event: plainEvent(v.Event)}
	case Health, RestoreStatus, nil, sent:
		return v
	}
	return nil // of a type that nobody has looked at
}

func plainListed(l repo.Listed) repo.Listed {
	l.Error = ""
	return l
}

func plainOperation(o state.Operation) state.Operation {
	return state.Operation{
		ID: o.ID, Operation: o.Operation, State: o.State, Phase: o.Phase, Databases: o.Databases, Started: o.Started, VPTime: o.VPTime, Ended: o.Ended,
		BinlogFile: o.BinlogFile, BinlogPosition: o.BinlogPosition, GTIDExecuted: o.GTIDExecuted, LSN: o.LSN, Bytes: o.Bytes,
		LockMS: o.LockMS, LockWaitMS: o.LockWaitMS, Code: o.Code, InterruptedBy: o.InterruptedBy, Destructive: o.Destructive,
		BackupID: o.BackupID, RequestedBy: o.RequestedBy, RemoraVersion: o.RemoraVersion, ServerVersion: o.ServerVersion, ServerUUID: o.ServerUUID,
	}
}

func plainEvent(e run.Event) run.Event {
	return run.Event{
		Seq: e.Seq, Time: e.Time, Kind: e.Kind, Operation: e.Operation, ID: e.ID, Phase: e.Phase, Previous: e.Previous, Databases: e.Databases,
		Percent: e.Percent, LSN: e.LSN, TargetLSN: e.TargetLSN, ETASeconds: e.ETASeconds, IdleSeconds: e.IdleSeconds, State: e.State, Code: e.Code,
		Duration: e.Duration, RequestedBy: e.RequestedBy, InterruptedBy: e.InterruptedBy, Destructive: e.Destructive,
	}
}

package host

import (
	"context"

	"github.com/remora-backup/remora/core/plug"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

type notifier struct {
	p *Plugin
	c pb.NotifyClient
}

func (n *notifier) Send(ctx context.Context, m plug.Notice) error {
	return n.p.call(ctx, "send", n.p.opts.Call, func(ctx context.Context) error {
		_, err := n.c.Send(ctx, &pb.SendRequest{
			TimeUs:    m.Time.UnixMicro(),
			Severity:  m.Severity,
			Operation: m.Operation,
			Id:        m.ID,
			Text:      m.Text,
			EventJson: m.Event,
		})
		return err
	})
}

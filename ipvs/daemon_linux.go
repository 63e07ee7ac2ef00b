package ipvs

import "context"

// StartDaemon starts a sync daemon.
func (c *Client) StartDaemon(ctx context.Context, d Daemon) error {
	const op = "start sync daemon"
	if err := d.validate(); err != nil {
		return &OpError{Op: op, Object: d.State.String(), Err: err}
	}
	err := c.request(ctx, cmdNewDaemon, flagAck, func(e *encoder) { e.daemon(d) }, nil)
	return opError(op, d.State.String()+" on "+d.Interface, err, nil)
}

// StopDaemon stops the sync daemon of a state. The connections that it brought
// stay.
func (c *Client) StopDaemon(ctx context.Context, s DaemonState) error {
	err := c.request(ctx, cmdDelDaemon, flagAck, func(e *encoder) { e.daemon(Daemon{State: s}) }, nil)
	return opError("stop sync daemon", s.String(), err, nil)
}

// Daemons reads the sync daemons that run, none, one or both.
func (c *Client) Daemons(ctx context.Context) ([]Daemon, error) {
	var daemons []Daemon
	err := c.exchange(ctx, func(conn *conn) error {
		daemons = nil
		_, err := conn.dump(ctx, cmdGetDaemon, conn.begin(cmdGetDaemon, flagDump), func(b []byte) error {
			d, err := decodeDaemon(b)
			daemons = append(daemons, d)
			return err
		})
		return err
	})
	return daemons, opError("read sync daemons", "", err, nil)
}

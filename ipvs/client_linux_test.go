package ipvs

import (
	"context"
	"testing"
)

func TestAddedServiceIsListed(t *testing.T) {
	c, ns := kernel(t)
	ctx := context.Background()
	must(t, c.AddService(ctx, Service{ID: tcp("192.0.2.1:80"), Scheduler: RR}))
	must(t, c.AddDestination(ctx, tcp("192.0.2.1:80"), masq("10.0.0.1:8080", 3)))
	t.Logf("%+v", services(t, c))
	t.Log(ipvsadm(t, ns, "-Ln"))
}

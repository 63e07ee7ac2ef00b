package vrrp

// A Group is a sync group: its Routers are Active together or not at all. All of
// them must be run by one call of Run.
type Group struct{ name string }

// NewGroup makes a sync group; the name is for logs. Give it to the Configs of
// its members.
func NewGroup(name string) *Group { return &Group{name: name} }

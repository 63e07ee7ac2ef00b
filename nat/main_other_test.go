//go:build !linux

package nat

const victimPath = "NAT_TEST_VICTIM_PATH"

func victim(string) {}

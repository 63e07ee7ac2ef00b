//go:build !linux

package vip

const victimDir = "VIP_TEST_VICTIM_DIR"

func victim(string) {}

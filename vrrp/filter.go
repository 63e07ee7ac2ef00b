package vrrp

import "golang.org/x/net/bpf"

// filter is a receive filter for raw sockets of a protocol and family that lets
// the VRIDs of a set pass, and what is too short to have one. The kernel runs it
// before it copies a packet. A packet begins with the IP header in IPv4, and
// behind all headers of IPv6 (net/ipv4/raw.c, net/ipv6/raw.c).
func filter(p port, vrids *[256]bool) ([]bpf.RawInstruction, error) {
	var prog []bpf.Instruction
	off := uint32(vridOff)
	if p.protocol == protocolAH {
		off += ahHeader
	}
	if p.six {
		prog = append(prog, bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	} else {
		prog = append(prog, bpf.LoadMemShift{Off: 0}) // X = length of the header
	}
	// too short: len <= X + off
	prog = append(prog,
		bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: off}, bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadScratch{Dst: bpf.RegX, N: 0},
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIfX{Cond: bpf.JumpGreaterThan, SkipTrue: 1},
		bpf.RetConstant{Val: whole},
		bpf.LoadIndirect{Off: 0, Size: 1}, // A = VRID
		bpf.TAX{},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 5},
	)
	// a set of 256 bits: the word that VRID/32 names, shifted by VRID%32
	for n := range uint32(8) {
		word := uint32(0)
		for bit := range uint32(32) {
			if vrids[32*n+bit] {
				word |= 1 << bit
			}
		}
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: n, SkipTrue: 7},
			bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 31}, bpf.TAX{},
			bpf.LoadConstant{Dst: bpf.RegA, Val: word}, bpf.ALUOpX{Op: bpf.ALUOpShiftRight},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1},
			bpf.Jump{Skip: 8*(7-n) + 1},
		)
	}
	prog = append(prog,
		bpf.RetConstant{Val: 0}, // not reached
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: whole},
		bpf.RetConstant{Val: 0},
	)
	return bpf.Assemble(prog)
}

// whole lets all of a packet pass.
const whole = 1 << 18

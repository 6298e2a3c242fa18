package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strconv"
)

// slotState is what a slot holds.
type slotState int

const (
	slotFree slotState = iota
	slotTorn
	slotWhole
)

// readSlot reads the slot that data begins with; one without units is none.
func readSlot(data []byte) (f found, state slotState) {
	if len(data) < headLen || data[8] != ' ' || data[13] != ' ' || data[30] != ' ' {
		return f, slotTorn
	}
	units, err := strconv.ParseUint(string(data[9:13]), 16, 16)
	if err != nil || int(units)*unit > len(data) {
		return f, slotTorn
	}
	f.units = uint16(units)
	line, _, whole := bytes.Cut(data[:units*unit], []byte{'\n'})
	if bytes.HasPrefix(data, freeMark) {
		return f, slotFree
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], data[:8]); err != nil || !whole ||
		crc32.Checksum(line[9:], castagnoli) != binary.BigEndian.Uint32(sum[:]) {
		return f, slotTorn
	}
	f.seq, err = strconv.ParseUint(string(line[14:30]), 16, 64)
	name, data, found := bytes.Cut(line[headLen:], []byte{' '})
	var ok bool
	if f.name, ok = unescape(string(name)); err != nil || !found || !ok {
		return f, slotTorn
	}
	f.data = data
	return f, slotWhole
}

// freeMark is in place of the CRC of a slot that is free.
var freeMark = []byte("free0000 ")

// putHead fills in the first headLen bytes of a line.
func putHead(line []byte, units uint16, seq uint64) {
	head := line[:0]
	head = append(head, "00000000 "...)
	head = appendHex(head, uint64(units), 4)
	head = append(head, ' ')
	head = appendHex(head, seq, 16)
	_ = append(head, ' ')
	putSum(bytes.TrimSuffix(line, []byte{'\n'}))
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&0xf])
	}
	return b
}

// freeLine is the line of a slot that is free.
func freeLine(units uint16) []byte {
	return append(appendHex(bytes.Clone(freeMark), uint64(units), 4), " 0000000000000000 \n"...)
}

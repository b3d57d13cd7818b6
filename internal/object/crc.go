package object

// CombineCRC32 gives the CRC-32 (IEEE) of two byte strings joined, from the
// checksum of each and the length of the second. Parts of a transfer are
// checksummed as they pass, in any order, and the whole is known without
// reading anything twice.
func CombineCRC32(a, b uint32, lenB int64) uint32 {
	if lenB <= 0 {
		return a
	}
	// Appending lenB zero bytes to the first string is a linear map over
	// GF(2); it is applied by repeated squaring (as zlib's crc32_combine).
	var odd, even [32]uint32
	odd[0] = 0xedb88320
	for n := 1; n < 32; n++ {
		odd[n] = 1 << (n - 1)
	}
	square(&even, &odd) // two zero bits
	square(&odd, &even) // four
	src, dst := &odd, &even
	for ; lenB > 0; lenB >>= 1 {
		square(dst, src)
		if lenB&1 != 0 {
			a = times(dst, a)
		}
		src, dst = dst, src
	}
	return a ^ b
}

func times(m *[32]uint32, v uint32) (sum uint32) {
	for n := 0; v != 0; v, n = v>>1, n+1 {
		if v&1 != 0 {
			sum ^= m[n]
		}
	}
	return sum
}

func square(dst, src *[32]uint32) {
	for n := range dst {
		dst[n] = times(src, src[n])
	}
}

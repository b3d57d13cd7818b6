package main_test

import (
	"strings"
	"testing"
)

// The names are all that a user can give and S3 can keep.
func TestReadingAStubGivesItsData(t *testing.T) {
	g := newGround(t)
	paths := []string{
		"plain",
		"dir/with space/and  two",
		"100%25",
		"a+b=c&d",
		"what?#fragment",
		"ünï/コールド",
		"new\nline",
		"-dash",
		"quote\"'`$HOME\\",
		strings.Repeat("d/", 400) + strings.Repeat("n", 224), // 1024 bytes
	}
	for i, path := range paths {
		g.archive(path, path, random(uint64(i), 4096+i))
	}
	client := g.client()
	for i, path := range paths {
		g.mustRead(client, path, random(uint64(i), 4096+i))
		g.mustBeLocal(path, 4096+i)
	}
}

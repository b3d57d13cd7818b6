package volume

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// ext4 makes a file system with these sizes of blocks and inodes.
func ext4(t *testing.T, blockSize, inodeSize int) (dir string) {
	t.Helper()
	dir = filepath.Join(testkit.Dir(t), "fs")
	image := dir + ".image"
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-m", "0", "-b", fmt.Sprint(blockSize), "-I", fmt.Sprint(inodeSize), image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	return dir
}

// The rule is held against the file system itself: what it lets pass fits, and
// what it refuses would have to lie in the inode.
func TestWhatIsSaidToFitOnExt4Fits(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, fs := range []struct{ block, inode int }{{1024, 256}, {4096, 128}, {4096, 256}, {4096, 1024}} {
		t.Run(fmt.Sprintf("blocks of %d, inodes of %d", fs.block, fs.inode), func(t *testing.T) {
			dir := ext4(t, fs.block, fs.inode)
			var fitted, refused int
			for n := range 300 {
				f, err := os.Create(fmt.Sprintf("%s/f%d", dir, n))
				if err != nil {
					t.Fatal(err)
				}
				// Some lie there already, and some of those grow.
				own, more := attributes(r, fs.block-ext4BlockHeader-ext4End), attributes(r, fs.block+fs.inode)
				grown := 0
				for name, size := range own {
					if err := Set(f, name, make([]byte, size)); err != nil {
						t.Fatalf("%s of %d bytes: %v", name, size, err)
					}
					if grown < 2 {
						more[name] = size + r.IntN(100)
						grown++
					}
				}
				fits, err := AttributesFit(f, more)
				if err != nil {
					t.Fatal(err)
				}
				var room error
				for name, size := range more {
					if err := Set(f, name, make([]byte, size)); err != nil {
						room = err
					}
				}
				switch {
				case room != nil && !errors.Is(room, unix.ENOSPC):
					t.Fatal(room)
				case fits && room != nil:
					t.Errorf("said to fit: %v with %v", more, own)
				case fits:
					fitted++
				case room == nil:
					all := maps.Clone(own)
					maps.Copy(all, more)
					if over := ext4Need(all) - fs.block; over > fs.inode-128 {
						t.Errorf("%d bytes more than a block fit: the rule does not know why", over)
					}
				default:
					refused++
				}
				f.Close()
			}
			if fitted < 30 || refused < 30 {
				t.Errorf("%d fit, %d do not: the test is no test", fitted, refused)
			}
		})
	}
}

// attributes are some that take up to about most bytes.
func attributes(r *rand.Rand, most int) map[string]int {
	sizes := map[string]int{}
	for left := r.IntN(most); left > 0; {
		namespace := []string{"user.", "trusted.", "security."}[r.IntN(3)]
		size := r.IntN(min(left, 600) + 1)
		name := namespace + strings.Repeat("n", 1+r.IntN(40)) + fmt.Sprint(r.IntN(1000))
		sizes[name] = size
		left -= size + len(name) + 20
		if left < 0 {
			delete(sizes, name)
		}
	}
	return sizes
}

func TestDoctorKnowsABrickOnExt4(t *testing.T) {
	dir := ext4(t, 4096, 512)
	testkit.SetXattr(t, dir, gluster.XattrGFID, string(gluster.RootGFID[:]))
	b, err := OpenBrick(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := b.CheckAttributes()
	if c.Verdict != outcome.Warning || !strings.Contains(c.Reason, "inodes of 512 bytes") || !strings.Contains(c.Reason, "a block of 4096 bytes") {
		t.Errorf("%+v", c)
	}
}

//go:build e2e && capture

package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

var capture = flag.String("capture", "", "write real outputs of gluster to `directory`")

// secrets are the login that glusterd makes up for the clients of a volume.
var secrets = regexp.MustCompile(`(?m)^( *option (?:username|password|auth\.login\.\S*\.password)) .*$`)

// TestCaptureGlusterOutput writes what the parsers of internal/gluster are tested
// against:
//
//	go test -tags e2e,capture ./internal/e2e -run TestCaptureGlusterOutput -capture ../gluster/testdata
//
// It asserts nothing itself, and so is no part of the other tests.
func TestCaptureGlusterOutput(t *testing.T) {
	if *capture == "" {
		t.Fatal("write -capture directory")
	}
	c := cluster.New(t, 3)
	node := c.Nodes[0]
	write := func(name, content string) {
		t.Helper()
		content = secrets.ReplaceAllString(content, "$1 fake-secret")
		file := filepath.Join(*capture, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gluster := func(name string, args ...string) {
		t.Helper()
		// The error is part of what is captured: a missing volume exits with 1.
		out, err := node.Run("gluster", append([]string{"--mode=script", "--xml"}, args...)...)
		if out == "" {
			t.Fatalf("gluster %q: no output: %v", args, err)
		}
		write(name+".xml", out)
	}
	shell := func(n *cluster.Node, script string) string {
		t.Helper()
		out, err := n.Run("bash", "-euc", script)
		must(t, err)
		return out
	}

	s3 := []string{
		"features.s3plugin-hostname=https://s3.example.net:9000?region=eu-central-1", "features.s3plugin-bucketid=archive",
		"features.s3plugin-keyid=fake-key-id", "features.s3plugin-seckey=fake-secret-key",
	}
	archivable := append([]string{"features.cloudsync=on", "performance.quick-read=off"}, s3...)
	for _, v := range []struct {
		name    string
		layout  cluster.Layout
		bricks  int
		options []string
	}{
		{"distribute", cluster.Distribute, 3, archivable},
		{"replica3", cluster.Replica3, 3, archivable},
		{"arbiter", cluster.Arbiter, 3, archivable},
		{"2x3", cluster.Replica3, 6, archivable},
		{"disperse", cluster.Disperse, 3, nil},
		{"shard", cluster.Distribute, 2, []string{"features.shard=on", "features.ctime=off"}},
	} {
		volume, err := c.CreateVolume(v.name, v.layout, v.bricks, v.options...)
		must(t, err)
		gluster("volume-info-"+v.name, "volume", "info", v.name)
		spec, err := node.Run("gluster", "system::", "getspec", v.name)
		must(t, err)
		write("getspec-"+v.name+".vol", spec)

		dir, err := volume.Mount(node)
		must(t, err)
		for _, file := range strings.Fields(shell(node, "cd "+dir+"/.meta; shopt -s nullglob; echo version cmdline graphs/active/volfile graphs/active/*-{client,replicate,dht}*/private")) {
			write("meta-"+v.name+"/"+strings.ReplaceAll(strings.TrimPrefix(file, "graphs/active/"), "/", "."), shell(node, "cat "+dir+"/.meta/"+file))
		}
		switch v.name {
		case "distribute":
			gluster("volume-status-distribute", "volume", "status", v.name)
			gluster("heal-summary-not-replicated", "volume", "heal", v.name, "info", "summary")
			gluster("volume-get-all", "volume", "get", v.name, "all")
			gluster("volume-get-quick-read", "volume", "get", v.name, "performance.quick-read")
			gluster("rebalance-status-never", "volume", "rebalance", v.name, "status")
			shell(node, "mkdir "+dir+"/d; cd "+dir+"/d; seq 3000 | while read -r i; do echo \"$i\" >\"f$i\"; done")
			must(t, volume.AddBricks(c.NewBrick(volume)))
			_, err := volume.Gluster("rebalance", "start", "force")
			must(t, err)
			gluster("rebalance-status-running", "volume", "rebalance", v.name, "status")
			gluster("volume-status-rebalancing", "volume", "status", v.name)
			must(t, volume.WaitRebalanced())
			gluster("rebalance-status-completed", "volume", "rebalance", v.name, "status")
			gluster("volume-status-rebalanced", "volume", "status", v.name)
			gluster("volume-clients-distribute", "volume", "status", v.name, "clients")
			last := volume.Bricks[3].String()
			_, err = volume.Gluster("remove-brick", last, "start")
			must(t, err)
			gluster("remove-brick-status", "volume", "remove-brick", v.name, last, "status")
			gluster("volume-status-removing-brick", "volume", "status", v.name)
			gluster("volume-info-removing-brick", "volume", "info", v.name)
		case "replica3":
			gluster("volume-status-replica3", "volume", "status", v.name)
			gluster("volume-clients-replica3", "volume", "status", v.name, "clients")
			names, err := node.Run("bash", "-euc", `for name in "--process-name coldbrick" "--process-name coldbrick" ""; do
				at=$(mktemp -d); glusterfs $name --volfile-server=localhost --volfile-id=/`+v.name+` "$at"; stat "$at" >/dev/null
			done; gluster volume status `+v.name+` client-list; umount /tmp/tmp.*`)
			must(t, err)
			write("client-list-replica3.txt", names)
			gluster("heal-summary-healthy", "volume", "heal", v.name, "info", "summary")
			// Not healed again: what is to heal stays on the volume.
			must(t, volume.Set("cluster.self-heal-daemon=off"))
			must(t, volume.KillBrick(1))
			shell(node, "cd "+dir+"; for i in 1 2 3; do echo \"$i\" >\"f$i\"; done")
			gluster("heal-summary-brick-down", "volume", "heal", v.name, "info", "summary")
			gluster("heal-info-brick-down", "volume", "heal", v.name, "info")
			gluster("volume-status-brick-down", "volume", "status", v.name)
			write("meta-brick-down/client.private", shell(node, "cat "+dir+"/.meta/graphs/active/replica3-client-1/private"))
			write("meta-brick-down/replicate.private", shell(node, "cat "+dir+"/.meta/graphs/active/replica3-replicate-0/private"))
			must(t, volume.StartBricks())
			gluster("heal-summary-pending", "volume", "heal", v.name, "info", "summary")
			gluster("heal-info-pending", "volume", "heal", v.name, "info")
		}
		shell(node, "umount "+dir)
	}
	gluster("volume-info-all", "volume", "info")
	gluster("volume-list", "volume", "list")
	gluster("volume-info-missing", "volume", "info", "nosuch")
	gluster("volume-status-missing", "volume", "status", "nosuch")
	gluster("heal-summary-missing", "volume", "heal", "nosuch", "info", "summary")
	gluster("volume-get-missing", "volume", "get", "nosuch", "all")
	gluster("pool-list", "pool", "list")
	_, err := node.Gluster("volume", "stop", "shard")
	must(t, err)
	gluster("volume-info-stopped", "volume", "info", "shard")
	gluster("volume-status-stopped", "volume", "status", "shard")

	_, err = node.Run("gluster", "--mode=script", "volume", "geo-replication", "distribute", "node1::replica3", "create", "no-verify")
	must(t, err)
	gluster("geo-status-created", "volume", "geo-replication", "distribute", "status")
	gluster("geo-sync-xattrs", "volume", "geo-replication", "distribute", "node1::replica3", "config", "sync-xattrs")
	gluster("geo-sync-missing", "volume", "geo-replication", "distribute", "node1::nosuch", "config", "sync-xattrs")

	// The bricks of node2 are up, but nobody there answers for them.
	shell(c.Nodes[1], "pkill -x glusterd")
	time.Sleep(time.Second)
	gluster("pool-list-peer-down", "pool", "list")
	gluster("volume-status-peer-down", "volume", "status", "2x3")
	gluster("heal-summary-peer-down", "volume", "heal", "2x3", "info", "summary")
	gluster("rebalance-status-peer-down", "volume", "rebalance", "distribute", "status")
	shell(node, "pkill -x glusterd")
	out, err := node.Command("gluster", "--mode=script", "--xml", "volume", "info").CombinedOutput()
	t.Logf("without glusterd: %v", err)
	write("no-glusterd.txt", string(out))
}

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Store is an S3 server (versitygw over a directory) that all nodes reach.
type Store struct {
	Endpoint  string
	Region    string
	AccessKey string
	SecretKey string

	dir string // of its buckets, as the host sees it
}

const storeAddress = hubAddress + ":7070"

// StartStore runs program, a versitygw, until the end of the cluster.
func (c *Cluster) StartStore(program string) (*Store, error) {
	s := &Store{
		Endpoint:  "http://" + storeAddress,
		Region:    "us-east-1",
		AccessKey: "cluster-key",
		SecretKey: "cluster-secret",
		dir:       c.hub.Path("/srv/s3"),
	}
	if err := errors.Join(os.Mkdir(s.dir, 0o700), c.hub.Install(program)); err != nil {
		return nil, err
	}
	cmd := c.hub.Command(filepath.Base(program), "--port", storeAddress, "--keep-alive", "--quiet", "posix", "/srv/s3")
	cmd.Env = append(cmd.Env, "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return s, eventually(time.Minute, func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("the store ended: %w", errors.Join(err, errors.New("exited")))
		default:
		}
		_, err := c.hub.Run("bash", "-c", "</dev/tcp/"+strings.Replace(storeAddress, ":", "/", 1))
		return err
	})
}

// MakeBucket adds an empty bucket.
func (s *Store) MakeBucket(name string) error { return os.Mkdir(filepath.Join(s.dir, name), 0o755) }

// Put adds an object without metadata, as another tool would.
func (s *Store) Put(bucket, key string, data []byte) error {
	return os.WriteFile(filepath.Join(s.dir, bucket, key), data, 0o644)
}

// Objects lists the keys in a bucket.
func (s *Store) Objects(bucket string) ([]string, error) {
	var keys []string
	root := s.dir + "/" + bucket + "/"
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".sgwtmp" { // parts of uploads under way
			return fs.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			keys = append(keys, strings.TrimPrefix(name, root))
		}
		return err
	})
	return keys, err
}

// Age makes all objects of a bucket older, by the store's clock.
func (s *Store) Age(bucket string, by time.Duration) error {
	return filepath.WalkDir(filepath.Join(s.dir, bucket), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(name, time.Time{}, info.ModTime().Add(-by))
	})
}

// Options are the options of a volume that name the bucket and its credentials.
func (s *Store) Options(bucket string) []string {
	return []string{
		"features.s3plugin-hostname=" + s.Endpoint + "?region=" + s.Region,
		"features.s3plugin-bucketid=" + bucket,
		"features.s3plugin-keyid=" + s.AccessKey,
		"features.s3plugin-seckey=" + s.SecretKey,
	}
}

// Env gives the credentials to an S3 client.
func (s *Store) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"AWS_REGION=" + s.Region,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

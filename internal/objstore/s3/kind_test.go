package s3

import (
	"maps"
	"strings"
	"testing"
)

// What users have set wins over the options of the volume, and a pair of credentials
// comes from one place.
func TestOptionsOfAVolumeFillWhatNobodyHasSet(t *testing.T) {
	full := map[string]string{
		"s3plugin-hostname": "s3.eu-west-1.amazonaws.com?ca=/etc/ca.pem&path-style=false&jobs=2&guard=off", "s3plugin-bucketid": "theirs",
		"s3plugin-keyid": "id", "s3plugin-seckey": "SEKRIT",
	}
	for name, tt := range map[string]struct {
		volume, set, want map[string]string
	}{
		"all of it": {full, nil, map[string]string{
			"bucket": "theirs", "endpoint-url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1", "ca-bundle": "/etc/ca.pem",
			"path-style": "false", "access-key-id": "id", "secret-access-key": "SEKRIT",
		}},
		"a bucket of one's own": {full, map[string]string{"bucket": "mine", "region": ""}, map[string]string{
			"bucket": "mine", "region": "", "endpoint-url": "https://s3.eu-west-1.amazonaws.com", "ca-bundle": "/etc/ca.pem",
			"path-style": "false", "access-key-id": "id", "secret-access-key": "SEKRIT",
		}},
		"one half of the credentials": {full, map[string]string{"secret-access-key": "mine"}, map[string]string{
			"bucket": "theirs", "endpoint-url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1", "ca-bundle": "/etc/ca.pem",
			"path-style": "false", "secret-access-key": "mine",
		}},
		"a volume without": {nil, map[string]string{"bucket": "mine"}, map[string]string{"bucket": "mine"}},
		"a volume that makes no sense, and is not asked": {map[string]string{"s3plugin-hostname": "ftp://x", "s3plugin-bucketid": "b"},
			map[string]string{"bucket": "mine", "endpoint-url": "http://h"}, map[string]string{"bucket": "mine", "endpoint-url": "http://h"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := maps.Clone(tt.set)
			if got == nil {
				got = map[string]string{}
			}
			given := func(name string) bool { _, ok := tt.set[name]; return ok }
			if err := fromVolume(got, given, func(name string) string { return tt.volume[name] }); err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestOptionsOfAVolumeThatMakeNoSense(t *testing.T) {
	for _, hostname := range []string{
		"https://u:SEKRIT@host", "ftp://host", "https://", "ho st%SEKRIT", "http://host?a=%zz", "http://host?SEKRIT=1", "http://host#x", "",
	} {
		volume := map[string]string{"s3plugin-hostname": hostname, "s3plugin-bucketid": "b", "s3plugin-seckey": "SEKRIT"}
		options := map[string]string{}
		err := fromVolume(options, func(string) bool { return false }, func(name string) string { return volume[name] })
		if err == nil || !strings.Contains(err.Error(), "features.s3plugin-hostname") || strings.Contains(err.Error(), "\n") || len(options) != 0 {
			t.Errorf("%q: %v, %v", hostname, options, err)
		}
		if err != nil && strings.Contains(err.Error(), "SEKRIT") && !strings.Contains(hostname, "?SEKRIT") {
			t.Errorf("%q: the error holds a secret: %v", hostname, err)
		}
	}
}

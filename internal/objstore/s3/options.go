package s3

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

const (
	defaultPartSize = 8 << 20
	minPartSize     = 5 << 20 // S3's own lower bound
	maxPartSize     = 5 << 30 // S3's own upper bound
	defaultIdle     = time.Minute
)

// options are the values that Init understands, checked.
type options struct {
	bucket, endpoint, region, profile, caBundle, storageClass string
	accessKeyID, secretAccessKey, sessionToken                string
	keyPrefix                                                 string // of the probe's objects
	partSize                                                  int64
	jobs                                                      int
	idle                                                      time.Duration
	pathStyle                                                 *bool // nil: decided by the endpoint
}

// parseOptions reads the options of Init. Errors name the option; of the
// secrets they never show the value.
func parseOptions(in map[string]string) (options, error) {
	o := options{partSize: defaultPartSize, jobs: objstore.DefaultJobs, idle: defaultIdle}
	for name, value := range in {
		var err error
		switch name {
		case "bucket":
			o.bucket = value
		case "endpoint-url":
			o.endpoint, err = parseEndpoint(value)
		case "region":
			o.region = value
		case "profile":
			o.profile = value
		case "ca-bundle":
			o.caBundle = value
		case "storage-class":
			o.storageClass = value
		case "key-prefix":
			o.keyPrefix = value
		case "access-key-id":
			o.accessKeyID = value
		case "secret-access-key":
			o.secretAccessKey = value
		case "session-token":
			o.sessionToken = value
		case "part-size":
			o.partSize, err = parsePartSize(value)
		case "jobs":
			o.jobs, err = objstore.ParseJobs(value)
		case "idle-timeout":
			if o.idle, err = time.ParseDuration(value); err == nil && o.idle <= 0 {
				err = fmt.Errorf("%v is not positive", o.idle)
			}
		case "path-style":
			o.pathStyle, err = parsePathStyle(value)
		default:
			err = objstore.ErrNoOption
		}
		if err != nil {
			return options{}, fmt.Errorf("store option %s: %w", name, err)
		}
	}
	if (o.accessKeyID == "") != (o.secretAccessKey == "") {
		return options{}, fmt.Errorf("store options access-key-id and secret-access-key: one is given without the other")
	}
	return o, nil
}

// parsePathStyle is nil for an empty value.
func parsePathStyle(value string) (*bool, error) {
	if value == "" {
		return nil, nil //nolint:nilnil // neither is an error
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return nil, fmt.Errorf("%q is neither true nor false", value)
	}
	return &on, nil
}

func parseEndpoint(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil: // its text repeats the value, which may hold a password
		return "", errors.New("is not a URL")
	case u.User != nil:
		return "", fmt.Errorf("credentials do not belong into the URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("%q is not http://HOST or https://HOST", value)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("the URL has a query or a fragment")
	}
	return strings.TrimRight(value, "/"), nil
}

func parsePartSize(value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a size", value)
	case n < minPartSize || n > maxPartSize:
		return 0, fmt.Errorf("%s is not between 5MiB and 5GiB", value)
	}
	return int64(n), nil
}

// secrets are the values that no error text may repeat.
func (o options) secrets() []string {
	var s []string
	for _, v := range []string{o.secretAccessKey, o.sessionToken, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")} {
		if v != "" {
			s = append(s, v)
		}
	}
	return s
}

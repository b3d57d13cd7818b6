package gluster

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// StoreS3 is the storetype whose library cloudsync loads as cloudsyncs3.so.
const StoreS3 = "cloudsyncs3"

// S3Settings are the options features.s3plugin-* of a volume.
type S3Settings struct {
	Endpoint  string // URL of scheme, host and port
	Bucket    string
	Region    string // "" if not given
	CABundle  string // path of a PEM file on each client; "" if not given
	KeyID     Secret
	SecretKey Secret
}

// ErrS3Settings means that the S3 options of a volume make no sense.
var ErrS3Settings = errors.New("the volume's S3 settings cannot be used")

// S3 gives the settings that the options of a volume, or of its cloudsync
// translator, name; get looks up s3plugin-hostname and the like. ok is false if
// the volume has none.
//
// The hostname may be a host, HOST:PORT, or a URL, which may carry ?region= and
// ?ca=: Gluster has no option for those and passes any text on.
func S3(get func(key string) string) (settings S3Settings, ok bool, err error) {
	hostname, bucket := get("s3plugin-hostname"), get("s3plugin-bucketid")
	if hostname == "" && bucket == "" {
		return S3Settings{}, false, nil
	}
	bad := func(what string) (S3Settings, bool, error) {
		return S3Settings{}, false, fmt.Errorf("%w: %s", ErrS3Settings, what)
	}
	if hostname == "" || bucket == "" {
		return bad("features.s3plugin-hostname and features.s3plugin-bucketid belong together")
	}
	if !strings.Contains(hostname, "://") {
		hostname = "https://" + hostname
	}
	u, err := url.Parse(hostname)
	switch {
	case err != nil: // its text would quote the value
		return bad("features.s3plugin-hostname is no host and no URL")
	case u.User != nil:
		return bad("features.s3plugin-hostname holds a login; use features.s3plugin-keyid")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", strings.Trim(u.Path, "/") != "", u.Fragment != "":
		return bad("features.s3plugin-hostname is not of the form [http[s]://]HOST[:PORT][?region=REGION&ca=FILE]")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("features.s3plugin-hostname has an unreadable query")
	}
	return S3Settings{
		Endpoint: u.Scheme + "://" + u.Host,
		Bucket:   bucket,
		Region:   query.Get("region"),
		CABundle: query.Get("ca"),
		KeyID:    NewSecret(get("s3plugin-keyid")), SecretKey: NewSecret(get("s3plugin-seckey")),
	}, true, nil
}

// S3 gives the settings of the graph's cloudsync translator.
func (g Graph) S3() (settings S3Settings, ok bool, err error) {
	for _, x := range g.Of(TypeCloudsync) {
		return S3(x.Option)
	}
	return S3Settings{}, false, nil
}

// Storetype names the library that cloudsync asks for data, "" if none.
func (g Graph) Storetype() string {
	for _, x := range g.Of(TypeCloudsync) {
		return x.Option("cloudsync-storetype")
	}
	return ""
}

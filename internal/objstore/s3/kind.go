package s3

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Kind is the s3 store.
var Kind = objstore.Kind{
	Name: "s3", Library: "cloudsyncs3.so",
	Description: "a bucket on any server that speaks S3",
	Options: []objstore.Option{
		{Name: "bucket", Usage: "the `NAME` of the S3 bucket", Required: "bucket"},
		{Name: "endpoint-url", Usage: "the `URL` of the S3 server (default: AWS)"},
		{Name: "region", Usage: "the `NAME` of the S3 region"},
		{Name: "path-style", Usage: "whether (`BOOL`) the bucket stands in the path of URLs, not in the name of the host (default: true, with AWS false)"},
		{Name: "profile", Usage: "the `NAME` of the profile in the shared AWS files"},
		{Name: "ca-bundle", Usage: "trust the certificates in `FILE` beside those of the system"},
		{Name: "storage-class", Usage: "store objects in this S3 class `NAME`"},
		{Name: "access-key-id", Usage: "of the S3 store; without it the AWS chain is asked", Secret: true},
		{Name: "secret-access-key", Usage: "of the S3 store", Secret: true},
		{Name: "session-token", Usage: "of the S3 store, for temporary credentials", Secret: true},
	},
	FromVolume: fromVolume,
	FromHost:   fromHost,
	New: func(d objstore.Deps) objstore.Store {
		return &Store{Limiter: d.Limiter, OnUpload: d.OnUpload, OnThrottle: d.OnThrottle, OnAnswer: d.OnAnswer}
	},
}

// fromVolume takes what nobody has set from the options features.s3plugin-* of the
// volume.
func fromVolume(options map[string]string, given func(string) bool, volume func(string) string) error {
	hostname, bucket := volume("s3plugin-hostname"), volume("s3plugin-bucketid")
	if hostname == "" && bucket == "" {
		return nil
	}
	told, err := Endpoint(hostname)
	switch {
	case err != nil:
		err = fmt.Errorf("features.s3plugin-hostname: %w", err)
	case hostname == "" || bucket == "":
		err = errors.New("features.s3plugin-hostname and features.s3plugin-bucketid belong together")
	}
	if err != nil {
		if given("bucket") && given("endpoint-url") { // then the volume's are not needed
			return nil
		}
		return fmt.Errorf("the volume's S3 settings cannot be used: %w", err)
	}
	told["bucket"] = bucket
	for _, name := range objstore.Common { // said to the plugin, which works beside users
		delete(told, name)
	}
	if !given("access-key-id") && !given("secret-access-key") { // they belong together
		told["access-key-id"], told["secret-access-key"] = volume("s3plugin-keyid"), volume("s3plugin-seckey")
	}
	for name, value := range told {
		if !given(name) {
			options[name] = value
		}
	}
	return nil
}

// fromHost takes the credentials from the file that the plugin has too, unless somebody
// has set others: for this program, as options of the volume, or in the environment.
func fromHost(options map[string]string, given func(string) bool, volume string) error {
	if given("access-key-id") || given("secret-access-key") || given("profile") || options["secret-access-key"] != "" ||
		os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_PROFILE") != "" || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		return nil
	}
	keys, err := ReadKeys(KeysDir, volume)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	otherID := options["access-key-id"]
	delete(options, "access-key-id")
	keys.Into(options, otherID)
	return nil
}

// InHostname are the options of which Hostname makes its value.
var InHostname = []string{"endpoint-url", "region", "path-style", "ca-bundle"}

// Hostname is the value of features.s3plugin-hostname for options of Init: what
// Endpoint reads.
func Hostname(options map[string]string) (string, error) {
	endpoint := options["endpoint-url"]
	if endpoint == "" {
		if options["region"] == "" {
			return "", errors.New("without an endpoint-url, which is AWS, a region is needed")
		}
		endpoint = "https://s3." + options["region"] + ".amazonaws.com"
	}
	if _, err := parseEndpoint(endpoint); err != nil {
		return "", fmt.Errorf("endpoint-url: %w", err)
	}
	query := url.Values{}
	for name, option := range inQuery {
		if value := options[option]; value != "" && slices.Contains(InHostname, option) {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		endpoint = strings.TrimRight(endpoint, "/") + "?" + query.Encode()
	}
	return endpoint, nil
}

// inQuery are what the query of a hostname that is a URL may set, beside the option
// that it becomes. Gluster has no option for those and passes any text on.
var inQuery = map[string]string{
	"region":       "region",
	"ca":           "ca-bundle",
	"path-style":   "path-style",
	"profile":      "profile",
	"part-size":    "part-size",
	"jobs":         "jobs",
	"idle-timeout": "idle-timeout",
}

// OfPlugin are the names in the query that are the plugin's own, which reads their
// values.
var OfPlugin = []string{"guard", "read-block", "read-cache", "recall-limit"}

// Endpoint reads features.s3plugin-hostname: HOST, HOST:PORT or a URL, empty for AWS
// itself. It returns options of Init. A bare host is asked over https. Errors never
// repeat what may be a password.
func Endpoint(hostname string) (options map[string]string, err error) {
	if hostname == "" {
		return map[string]string{}, nil
	}
	if !strings.Contains(hostname, "://") {
		hostname = "https://" + hostname
	}
	u, err := url.Parse(hostname)
	if err != nil {
		return nil, errors.New("is neither a host nor a URL")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the query of the URL cannot be read")
	}
	u.RawQuery = ""
	endpoint, err := parseEndpoint(u.String())
	if err != nil {
		return nil, err
	}
	options = map[string]string{"endpoint-url": endpoint}
	if region := regionOf(u.Hostname()); region != "" {
		options["region"] = region
	}
	for name, values := range query {
		option, ok := inQuery[name]
		switch {
		case !ok && !slices.Contains(OfPlugin, name):
			known := slices.AppendSeq(slices.Clone(OfPlugin), maps.Keys(inQuery))
			slices.Sort(known)
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
		case len(values) > 1:
			return nil, fmt.Errorf("%q stands there twice", name)
		case ok:
			options[option] = values[0]
		}
	}
	return options, nil
}

// regionOf knows the names of AWS's own endpoints, s3.REGION.amazonaws.com: a
// signature for another region is refused there.
func regionOf(host string) string {
	rest, aws := strings.CutSuffix(host, ".amazonaws.com")
	region, s3 := strings.CutPrefix(rest, "s3.")
	if !aws || !s3 || strings.Contains(region, ".") {
		return ""
	}
	return region
}

package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Codes by which S3 servers refuse all that we send.
var refusedCodes = map[string]string{
	"InvalidAccessKeyId":                 "the access key is unknown",
	"SignatureDoesNotMatch":              "the secret key is wrong",
	"XAdminUserNotFound":                 "the access key is unknown", // versitygw
	"InvalidClientTokenId":               "the access key is unknown",
	"UnrecognizedClientException":        "the credentials are unknown",
	"ExpiredToken":                       "the session token has expired",
	"InvalidToken":                       "the session token is not valid",
	"TokenRefreshRequired":               "the session token has expired",
	"InvalidSecurity":                    "the credentials are not valid",
	"AccountProblem":                     "the account is not usable",
	"NotSignedUp":                        "the account is not usable",
	"RequestTimeTooSkewed":               "this host's clock differs too much from the store's",
	"AuthorizationHeaderMalformed":       "the region or the credentials are wrong",
	"PermanentRedirect":                  "the bucket is in another region",
	"IllegalLocationConstraintException": "the bucket is in another region",
	"InvalidBucketName":                  "the bucket's name is not valid",
}

// Codes by which servers refuse a key: S3's own, versitygw's and MinIO's.
var keyCodes = map[string]bool{
	"KeyTooLongError":               true,
	"KeyTooLong":                    true,
	"InvalidURI":                    true,
	"InvalidObjectName":             true,
	"ObjectParentIsFile":            true,
	"ExistingObjectIsDirectory":     true,
	"DirectoryObjectContainsData":   true,
	"XMinioInvalidObjectName":       true,
	"XMinioInvalidResourceName":     true,
	"XMinioParentIsObject":          true,
	"XMinioObjectExistsAsDirectory": true,
}

// codeOf is the S3 error code of an answer, empty if err is none.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// statusOf is the HTTP status of an answer, 0 if there was none.
func statusOf(err error) int {
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return resp.HTTPStatusCode()
	}
	return 0
}

// explain turns an error of the SDK into one line of a known kind.
func (n *session) explain(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, context.Cause(ctx))
	}
	e := &objstore.Error{Op: op}
	status, code := statusOf(err), codeOf(err)
	switch {
	case errors.Is(err, errCredentials):
		e.Kind, e.Text = object.ErrStore, "no credentials found (environment, shared files, instance role)"
	case code == "NoSuchBucket":
		e.Kind, e.Text = object.ErrStore, fmt.Sprintf("bucket %q does not exist at %s", n.bucket, n.where)
	case refusedCodes[code] != "":
		e.Kind, e.Text = object.ErrStore, fmt.Sprintf("%s refuses: %s (%s)", n.where, refusedCodes[code], code)
	case keyCodes[code], code == "InvalidArgument" && strings.Contains(strings.ToLower(err.Error()), "key"):
		e.Kind, e.Text = object.ErrKey, n.answer(err)
	case code == "InvalidObjectState":
		e.Kind, e.Text = object.ErrCold, n.answer(err)
	case status == http.StatusForbidden:
		e.Kind, e.Text = fs.ErrPermission, n.answer(err)
	case code == "NoSuchKey" || status == http.StatusNotFound && code == "NotFound":
		e.Kind = fs.ErrNotExist
	case status == http.StatusMovedPermanently:
		e.Kind, e.Text = object.ErrStore, refusedCodes["PermanentRedirect"]
	case status != 0:
		e.Text = n.answer(err)
	default:
		e.Kind, e.Text = n.transportError(err)
	}
	return e
}

// explainHead is explain for HEAD requests. Their answers have no body and so
// no code, so what they are about is asked once more. Of the object, if it is a 400:
// the key may be refused, or the session token have expired. Of the bucket, if it is
// a 403 or 404: a wrong bucket or key id must not look like a missing object.
func (n *session) explainHead(ctx context.Context, op, key string, err error) error {
	switch statusOf(err) {
	case http.StatusBadRequest:
		out, getErr := n.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &n.bucket, Key: &key, Range: rangeHeader(0, 1)})
		if getErr != nil {
			return n.explain(ctx, op, getErr)
		}
		out.Body.Close()
	case http.StatusForbidden, http.StatusNotFound:
		_, listErr := n.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: &n.bucket, MaxKeys: aws.Int32(1), Prefix: aws.String(object.ReservedPrefix),
		})
		if listErr != nil && !mayNotList(listErr) {
			return n.explain(ctx, op, listErr)
		}
	}
	return n.explain(ctx, op, err)
}

// mayNotList reports that a listing was forbidden by a bucket that exists to
// credentials that are known.
func mayNotList(err error) bool {
	return statusOf(err) == http.StatusForbidden && refusedCodes[codeOf(err)] == ""
}

// answer is what the store said: status, code and message.
func (n *session) answer(err error) string {
	line := fmt.Sprint(statusOf(err))
	var api smithy.APIError
	if errors.As(err, &api) {
		line += " " + api.ErrorCode()
		if m := api.ErrorMessage(); m != "" && m != api.ErrorCode() {
			line += ": " + m
		}
	}
	return objstore.OneLine(line, n.secrets())
}

// transportError is for requests that got no answer. Only where no request can
// get one is the store not usable; a connection that broke concerns one object.
func (n *session) transportError(err error) (kind error, text string) { //nolint:staticcheck // kind is a result, not a failure
	var (
		stall    stallError
		dns      *net.DNSError
		op       *net.OpError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		host     x509.HostnameError
		record   tls.RecordHeaderError
		errno    syscall.Errno
		canceled *aws.RequestCanceledError
	)
	switch {
	case errors.As(err, &stall):
		return stall, hostOf(n.where)
	case errors.As(err, &unknown):
		return object.ErrStore, fmt.Sprintf("the certificate of %s is signed by an unknown authority (see ca-bundle)", hostOf(n.where))
	case errors.As(err, &host), errors.As(err, &invalid):
		return object.ErrStore, fmt.Sprintf("the certificate of %s is not valid: %s", hostOf(n.where), objstore.OneLine(innermost(err).Error(), n.secrets()))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return object.ErrStore, fmt.Sprintf("%s does not speak TLS", hostOf(n.where))
	case errors.As(err, &dns):
		return object.ErrStore, fmt.Sprintf("host %q is not known", dns.Name)
	case errors.As(err, &op) && op.Op == "dial":
		text := "timeout"
		if errors.As(err, &errno) {
			text = errno.Error()
		}
		return object.ErrStore, fmt.Sprintf("cannot connect to %s: %s", hostOf(n.where), text)
	case errors.As(err, &canceled):
		return context.Canceled, ""
	}
	return nil, objstore.OneLine(innermost(err).Error(), n.secrets())
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// retryTransport makes every request that got no answer worth another try,
// except where the next would go the same way. Every request here may be sent
// twice: creating is conditional.
func retryTransport(err error) aws.Ternary {
	var (
		sent    *smithyhttp.RequestSendError
		resp    *awshttp.ResponseError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
	)
	switch {
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &host), codeOf(err) == noExpeditedRoom:
		return aws.FalseTernary
	case errors.As(err, &resp):
		return aws.UnknownTernary
	case errors.As(err, &sent):
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

package run

import (
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/recall"
)

// chain is all that ties a file to its object: what the file says, what the
// store says if it was asked, and what the records of the runs in a directory say.
func chain(e recall.Examined, records string) ([]report.Link, error) {
	links := []report.Link{{Name: "gfid", Text: e.GFID.String(), Value: e.GFID}}
	add := func(name, key string, value any, format string, args ...any) {
		links = append(links, report.Link{Name: name, Key: key, Value: value, Text: fmt.Sprintf(format, args...)})
	}
	if e.Remote != "" || e.State == outcome.StateRemote || e.State == outcome.StateThawing {
		add("cs.remote", e.Remote, nil, "%s", report.Quote(e.Remote))
	}
	if p := e.Pointer; p != nil {
		by := ""
		if p.Owner.Run != "" { // no longer there once the stamp is verified
			by = fmt.Sprintf(", %s, run %s of process %d on %s", moment(p.Time), p.Owner.Run, p.Owner.PID, p.Owner.Host)
		}
		add("pointer", "", p, "%s, attempt %s%s", report.Quote(p.Key), p.Attempt, by)
		if p.Proof != nil {
			add("proof", "", nil, "%d bytes, crc32 %08x, mtime %s", p.Proof.Size, p.Proof.CRC32, p.Proof.Mtime)
		}
	}
	if n := e.Notes; n != nil {
		add("recall", "", n, "%s, %d bytes, run %s on %s", report.Quote(n.Key), n.Size, n.Run, n.Host)
	}
	if o := e.Object; o != nil {
		add("object", "", objectValue(*o), "%s", describe(*o))
	}
	entries, err := record.Find(records, e.GFID)
	if err != nil {
		return nil, err
	}
	for _, r := range entries {
		text := fmt.Sprintf("%s %s %s", moment(r.Time), r.Phase, report.Quote(r.Key))
		if r.Phase == record.Proven {
			text += fmt.Sprintf(", attempt %s, %d bytes, crc32 %08x", r.Attempt, r.Size, r.CRC32)
		}
		if r.Adopted {
			text += ", adopted"
		}
		add("record", "", r, "%s", text)
	}
	return links, nil
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// describe says what the store says about an object, and what that says of the
// file it was made from.
func describe(o object.Info) string {
	text := fmt.Sprintf("%d bytes", o.Size)
	if o.HasCRC32 {
		text += fmt.Sprintf(", crc32 %08x", o.CRC32)
	}
	if o.Class != "" {
		text += ", class " + o.Class
	}
	text += ", stored " + moment(o.Modified)
	made, err := object.DecodeMetadata(o.Metadata)
	if err != nil {
		return text + "; " + err.Error()
	}
	return text + fmt.Sprintf("; made from %s, gfid %s, %d bytes, mtime %s, attempt %s",
		report.Quote(made.Path), made.GFID, made.Size, made.Mtime, made.Attempt)
}

// objectValue is an object in JSON.
func objectValue(o object.Info) any {
	v := map[string]any{"size": o.Size, "modified": o.Modified.UTC(), "metadata": o.Metadata}
	if o.HasCRC32 {
		v["crc32"] = o.CRC32
	}
	if o.ETag != "" {
		v["etag"] = o.ETag
	}
	if o.Class != "" {
		v["class"] = o.Class
	}
	return v
}

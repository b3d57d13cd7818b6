package outcome

import "github.com/coldbrick/coldbrick/internal/gluster"

// State is where the data of a file is, in the words of status.
type State string

// The states.
const (
	StateLocal     State = "local"     // on the volume
	StateCopied    State = "copied"    // on the volume, and a valid object exists
	StateRemote    State = "remote"    // in the store: the file is a stub
	StateThawing   State = "thawing"   // in the store, which is making it readable
	StateRecalling State = "recalling" // on its way back, or stopped there
	StateBroken    State = "broken"    // needs fsck
)

// Severity says what a finding means for the data.
type Severity string

// The severities. A run of fsck exits 14 for problems and 15 for grave ones.
const (
	Remark  Severity = "remark"  // worth knowing, nothing is wrong
	Problem Severity = "problem" // the data is safe, the file is not as it should be
	Grave   Severity = "at-risk" // the data may be lost
)

// Class is a kind of finding.
type Class string

// The classes of findings.
const (
	ClassObjectMissing  Class = "object-missing"
	ClassObjectSize     Class = "object-size"
	ClassObjectChecksum Class = "object-checksum"
	ClassObjectForeign  Class = "object-foreign"
	ClassObjectCold     Class = "object-cold"
	ClassKeyUnknown     Class = "key-unknown"
	ClassKeyEmpty       Class = "key-empty"
	ClassKeyDiffers     Class = "key-differs"
	ClassKeyShared      Class = "key-shared"
	ClassBytesInStub    Class = "bytes-in-stub"
	ClassInterrupted    Class = "recall-interrupted"
	ClassStaleSize      Class = "stale-size"
	ClassStaleNotes     Class = "stale-notes"
	ClassNoSize         Class = "no-size"
	ClassNoPointer      Class = "no-pointer"
	ClassCopiedMarks    Class = "copied-marks"
	ClassEmptyStub      Class = "empty-stub"
	ClassDebris         Class = "debris"
)

type classText struct {
	severity Severity
	meaning  string
}

// classes explains each class in one line of the manual.
var classes = map[Class]classText{
	ClassObjectMissing:  {Grave, "the store has no object under the stub's key"},
	ClassObjectSize:     {Grave, "the object has another size than the file had"},
	ClassObjectChecksum: {Grave, "the object has another checksum than the file had"},
	ClassObjectForeign:  {Grave, "the object was made from another file"},
	ClassObjectCold:     {Remark, "the object is in a storage class that must be thawed first: it was not read"},
	ClassKeyUnknown:     {Grave, "nothing shows which object is the file's"},
	ClassKeyEmpty:       {Problem, "cs.remote is empty; the pointer knows the key"},
	ClassKeyDiffers:     {Problem, "cs.remote and the pointer name different objects, one of which is the file's"},
	ClassKeyShared:      {Grave, "two files have the same key"},
	ClassBytesInStub:    {Problem, "a stub has bytes on the brick: readers get EIO"},
	ClassInterrupted:    {Problem, "a recall was cut short"},
	ClassStaleSize:      {Problem, "a local file carries the size of a previous stub: growth stays invisible"},
	ClassStaleNotes:     {Problem, "a recall has left its notes on the file"},
	ClassNoSize:         {Problem, "a stub does not tell the size of its data"},
	ClassNoPointer:      {Remark, "a stub that coldbrick did not make"},
	ClassCopiedMarks:    {Problem, "a copy of a stub, with the stub's marks: readers get an error"},
	ClassEmptyStub:      {Problem, "an empty file was made a stub: there is nothing to bring back"},
	ClassDebris:         {Remark, "cloudsync marks on something that is no file"},
}

// Severity of the class.
func (c Class) Severity() Severity { return classes[c].severity }

// Meaning of the class, one line.
func (c Class) Meaning() string { return classes[c].meaning }

// Classes lists all classes.
func Classes() []Class {
	list := make([]Class, 0, len(classes))
	for c := range classes {
		list = append(list, c)
	}
	return list
}

// Finding is one thing that fsck has to tell about a file.
type Finding struct {
	Class    Class
	Severity Severity
	Path     string
	GFID     gluster.GFID
	Key      string
	Detail   string // for people, may be empty
	Repaired bool
}

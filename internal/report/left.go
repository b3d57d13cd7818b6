package report

// Left is the error of a file that is left alone for a reason with a name.
type Left struct {
	Reason Reason
	Detail string // for people, may be empty
}

// Leave makes a Left.
func Leave(reason Reason, detail string) error { return &Left{reason, detail} }

func (e *Left) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

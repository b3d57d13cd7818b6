package outcome

// Left is the error of a file that is left alone for a reason with a name.
type Left struct {
	Outcome Outcome // Skipped or Failed
	Reason  Reason
	Detail  string // for people, may be empty
}

// Skip leaves a file alone with which all is well, or for which the next run will do.
func Skip(reason Reason, detail string) error { return &Left{Skipped, reason, detail} }

// Fail leaves a file alone that somebody should look at.
func Fail(reason Reason, detail string) error { return &Left{Failed, reason, detail} }

func (e *Left) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

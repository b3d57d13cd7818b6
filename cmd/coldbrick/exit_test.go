package main

import (
	"errors"
	"os"
	"syscall"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// codes are those of the manual, with errors that must lead to them. Where two
// things are wrong, the graver one decides.
var codes = map[int][]error{
	1:   {errors.New("anything"), errMaxErrors},
	2:   {usagef("no"), usageError{os.ErrNotExist}},
	3:   {errSomeFailed, errors.Join(errSomeFailed, errMaxFiles), errors.Join(errMaxTime, errSomeFailed)},
	8:   {errMaxFiles, errMaxBytes},
	10:  {errMaxTime},
	11:  {errLocked},
	12:  {object.ErrStore},
	13:  {errUnsafe, errNoVolume, volume.ErrNoBrick, volume.ErrNoMount, upload.ErrDegraded},
	14:  {errProblems, errors.Join(errProblems, errSomeFailed)},
	15:  {errAtRisk, errors.Join(errProblems, errAtRisk, errSomeFailed)},
	129: {signalError{syscall.SIGHUP}},
	130: {signalError{os.Interrupt}, errors.Join(errSomeFailed, signalError{os.Interrupt}), errors.Join(object.ErrStore, signalError{os.Interrupt})},
	141: {syscall.EPIPE},
	143: {signalError{syscall.SIGTERM}},
}

package volume

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Formerly tells from which volumes the one on this mount was rebuilt: their ids.
func (p *Private) Formerly() ([]string, error) {
	value, err := Get(p.fd, gluster.XattrFormerly)
	if errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	return strings.Fields(string(value)), err
}

// AddFormerly notes on the root of the volume that it is rebuilt from others.
func (p *Private) AddFormerly(ids ...string) error {
	all, err := p.Formerly()
	if err != nil {
		return err
	}
	known := len(all)
	for _, id := range ids {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	if len(all) == known {
		return nil
	}
	return Set(p.fd, gluster.XattrFormerly, []byte(strings.Join(all, " ")))
}

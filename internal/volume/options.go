package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Option is an option of a volume with a value.
type Option struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SetOptions sets options of a volume, all in one step: clients get one new graph.
func SetOptions(ctx context.Context, name string, options []Option) error {
	args := []string{"volume", "set", name}
	for _, o := range options {
		args = append(args, o.Name, o.Value)
	}
	return change(ctx, name, args)
}

// ResetOption gives an option of a volume its default again.
func ResetOption(ctx context.Context, name, option string) error {
	return change(ctx, name, []string{"volume", "reset", name, option})
}

func change(ctx context.Context, name string, args []string) error {
	if !volumeName.MatchString(name) {
		return ErrNoVolume
	}
	if _, err := askXML(ctx, gluster.ParseDone, args...); err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}

// Mounted tells which hosts have mounts of users, and how many private mounts of
// coldbrick there are, on whatever host. A *gluster.CLIError may mean that nothing at
// all is connected to some brick.
func (v *Volume) Mounted(ctx context.Context) (hosts []string, private int, err error) {
	c, err := v.clients(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	if c.names == nil {
		return nil, 0, errors.New("glusterd does not tell which programs are connected")
	}
	for _, h := range c.judge(time.Now()) {
		if !h.daemons {
			hosts = append(hosts, h.name)
		}
	}
	return hosts, c.names[gluster.ProcessColdbrick], nil
}

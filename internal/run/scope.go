package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// scope is what a run is about: bricks of this host, and the volume they are of.
type scope struct {
	wanted   Settings
	mount    *volume.Mount
	cluster  *volume.Volume // what glusterd knows; nil: it was not asked
	notAsked error          // why not
	bricks   []string       // directories, in volume order
	unfit    error          // of a replica set with bricks here, none can be active
}

// What runs wait for before their work begins.
const (
	askingGlusterd = "asking glusterd about the volume"
	mountingVolume = "mounting the volume"
	askingStore    = "asking the store what it can do"
)

// scopeOf finds out about the bricks named, or else about those of the volume that
// are this host's to work on.
func (s *Session) scopeOf(ctx context.Context, named []string) (*scope, error) {
	switch {
	case len(named) == 0 && s.Volume == "":
		return nil, Usagef("nothing named to work on: write BRICK --mount DIR, or --volume NAME")
	case s.Mount == "" && s.Volume == "":
		return nil, Usagef("no mount given: write --mount DIR, a directory where the brick's volume is mounted, or --volume NAME")
	}
	for _, dir := range named { // before anybody is asked
		brick, err := openBrick(dir)
		if err != nil {
			return nil, err
		}
		if err := brick.Close(); err != nil {
			return nil, err
		}
	}
	found, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		found.choose(s.UI)
		return found, nil
	}
	found.bricks = named
	return found, found.refuseArbiters()
}

// look finds out about the volume: through its mount if that is given.
func (s *Session) look(ctx context.Context) (found *scope, err error) {
	found = &scope{wanted: s.Settings}
	if s.Mount != "" {
		if found.mount, err = s.Target.inspect(s.Mount); err != nil {
			return nil, err
		}
		return found, found.ask(ctx, s.Volume)
	}
	var cluster *volume.Volume
	err = workers.AtOnce(ctx, func(ctx context.Context) (err error) {
		found.mount, err = fromVolume(ctx, s.Volume)
		return err
	}, func(ctx context.Context) (err error) {
		cluster, err = volume.Discover(ctx, s.Volume)
		return ofCluster(ctx, err)
	})
	if err != nil {
		return nil, err
	}
	return found, found.know(cluster, true)
}

// volumeID is the id of the volume: of its graph, of glusterd's, or of a brick; ""
// if none of them knows it.
func (s *scope) volumeID(bricks []*volume.Brick) string {
	id := s.mount.VolumeID() // none on a volume without replicas
	if s.cluster != nil {
		id = cmp.Or(id, s.cluster.ID)
	}
	for _, b := range bricks {
		id = cmp.Or(id, b.VolumeID)
	}
	return id
}

func fromVolume(ctx context.Context, name string) (*volume.Mount, error) {
	mount, err := volume.FromVolume(ctx, name)
	return mount, ofCluster(ctx, err)
}

// ofCluster sorts an error of glusterd's.
func ofCluster(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, volume.ErrNoVolume):
		return UsageError{err}
	}
	return fmt.Errorf("%w: %w", ErrNoVolume, err)
}

// ask asks glusterd about the volume, if it is there. Who names the volume needs
// the answer.
func (s *scope) ask(ctx context.Context, name string) error {
	required := name != ""
	if !required {
		name = s.mount.Volume
	}
	if name == "" {
		s.notAsked = errors.New("the mount does not tell the volume's name")
		return nil
	}
	cluster, err := volume.Discover(ctx, name)
	if !required && (errors.Is(err, volume.ErrNoCLI) || errors.Is(err, volume.ErrNoVolume)) {
		s.notAsked = err
		return nil
	}
	if err != nil {
		return ofCluster(ctx, err)
	}
	return s.know(cluster, required)
}

// know takes what glusterd has told, if it is of the volume that the mount is of.
func (s *scope) know(cluster *volume.Volume, required bool) error {
	if id := s.mount.VolumeID(); id != "" && id != cluster.ID {
		if required {
			return fmt.Errorf("%w: %s is a mount of another volume than the %s of this cluster", ErrUnsafe, s.mount.Dir, cluster.Name)
		}
		s.notAsked = fmt.Errorf("glusterd of this host knows another volume %s", cluster.Name)
		return nil
	}
	s.cluster = cluster
	return nil
}

// choose takes the active bricks of this host, and says of the others why they are
// left out.
func (s *scope) choose(ui UI) {
	places := s.cluster.Places()
	active := map[int]string{} // of each replica set
	for _, p := range places {
		if p.Role == volume.Active {
			active[p.Set] = p.Name()
		}
	}
	here := 0
	for _, p := range places {
		if !p.Here {
			continue
		}
		here++
		switch by := active[p.Set]; {
		case p.Role == volume.Active:
			s.bricks = append(s.bricks, p.Dir)
		case p.Role == volume.Arbiter:
			ui.Say(fmt.Sprintf("brick %s is an arbiter and has no data", p.Dir))
		case by != "":
			ui.Say(fmt.Sprintf("brick %s is %s: %s is the active one of its replica set", p.Dir, p.Role, by))
		default:
			// What keeps a brick from its role fails a check of the volume as well.
			s.unfit = fmt.Errorf("no brick of the replica set of %s is up and healed; this one is %s: %w",
				p.Dir, p.Role, volume.Unsafe(s.cluster.Checks()))
		}
	}
	if here == 0 {
		ui.Say(fmt.Sprintf("volume %s has no brick on this host", s.cluster.Name))
	}
}

// refuseArbiters refuses bricks that hold no data, whoever names them.
func (s *scope) refuseArbiters() error {
	if s.cluster == nil {
		return nil
	}
	for _, dir := range s.bricks {
		named, err := os.Stat(dir)
		if err != nil {
			return UsageError{err}
		}
		for _, p := range s.cluster.Places() {
			if !p.Here || p.Role != volume.Arbiter {
				continue
			}
			if at, err := os.Stat(p.Dir); err == nil && os.SameFile(named, at) {
				return fmt.Errorf("%w: brick %s is an arbiter and has no data", ErrUnsafe, dir)
			}
		}
	}
	return nil
}

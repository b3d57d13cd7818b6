package memory

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	place := t.Name()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s := Kind.New(objstore.Deps{})
		if err := s.Init(t.Context(), map[string]string{"memory-place": place}); err != nil {
			t.Fatal(err)
		}
		return s
	})
}

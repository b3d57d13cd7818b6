// Package stores lists the stores that coldbrick knows.
package stores

import (
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
)

// All are the stores, in the order of the manual. A new one is one line here.
var All = objstore.Kinds{
	s3.Kind,
	dir.Kind,
}

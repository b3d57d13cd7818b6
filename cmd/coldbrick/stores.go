package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/objstore/stores"
	"github.com/coldbrick/coldbrick/internal/report"
)

func newStores(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stores",
		Short: "List the store plugins",
		Long: `List the store plugins: the name for --store, the library that Gluster loads for
it, and what it is.`,
		Example: `  coldbrick stores`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			for _, s := range stores.All {
				if err := a.ui.Print(report.Store{Name: s.Name, Library: s.Library, Description: s.Description}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.uses(cmd, []string{"json"})
	return cmd
}

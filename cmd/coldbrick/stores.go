package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/report"
)

// plugin is one store plugin, in Gluster's sense: what recalls the data of a
// stub.
type plugin struct {
	report.Store
}

// plugins are all stores, in the order of the manual.
func plugins() []plugin {
	return []plugin{
		{report.Store{Name: "s3", Library: "cloudsyncs3.so", Description: "a bucket on any server that speaks S3"}},
		{report.Store{Name: "dir", Description: "files in a directory, for tape gateways and NFS; recalled by coldbrick recall only"}},
	}
}

func newStores(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stores",
		Short: "List the store plugins",
		Long: `List the store plugins: the name for --store, the library that Gluster loads for
it, and what it is.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd); err != nil {
				return err
			}
			for _, p := range plugins() {
				if err := a.out.Print(p.Store); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.uses(cmd, []string{"json"})
	return cmd
}

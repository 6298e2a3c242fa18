//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// upgradeCheckCommand has nothing to check where there is no server.
func (p *program) upgradeCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "upgrade-check", Hidden: true, Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("kita serve runs on Linux only")
		},
	}
}

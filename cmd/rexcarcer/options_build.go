package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/spec"
)

// buildOptions reads what bounds the steps of an image.
func (o *options) buildOptions(c *cli.Context, file fileConfig, text func(string, *string) string, number func(string, *int) int) (err error) {
	if size := text("build-memory", file.BuildMemory); size != "0" {
		if o.BuildLimits.MemoryBytes, err = spec.ParseSize(size); err != nil {
			return fmt.Errorf("build-memory: %w", err)
		}
		if n := o.BuildLimits.MemoryBytes; n != 0 && n < spec.MinMemoryBytes {
			return fmt.Errorf("build-memory %s: want at least %s, or 0 for no limit", size, spec.FormatSize(spec.MinMemoryBytes))
		}
	}
	o.BuildLimits.CPU = c.Float64("build-cpu")
	if !c.IsSet("build-cpu") && file.BuildCPU != nil {
		o.BuildLimits.CPU = *file.BuildCPU
	}
	if cpu := o.BuildLimits.CPU; cpu != 0 && (cpu < 0.01 || cpu > 1024) {
		return fmt.Errorf("build-cpu %g: want 0.01 to 1024 cores, or 0 for no limit", cpu)
	}
	o.BuildLimits.Processes = int64(number("build-processes", file.BuildProcesses))
	if o.BuildLimits.Processes < 0 {
		return fmt.Errorf("build-processes %d: want 0 or more", o.BuildLimits.Processes)
	}
	if size := text("build-min-free", file.BuildMinFree); size != "0" {
		if o.BuildMinFree, err = spec.ParseSize(size); err != nil {
			return fmt.Errorf("build-min-free: %w", err)
		}
	}
	life := text("build-timeout", file.BuildTimeout)
	if o.BuildTimeout, err = time.ParseDuration(life); err != nil || o.BuildTimeout <= 0 {
		return fmt.Errorf("build-timeout %q: want a time above 0, such as 30m", life)
	}
	return nil
}

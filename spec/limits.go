package spec

// Limits on what may be wished. They keep a hostile or mistaken file from
// exhausting the memory or the stack of who reads it (failures.md, case 33),
// and keep every number where drivers can honour it.
const (
	MaxFileBytes   = 16 << 20  // of one cluster file
	MaxRexBytes    = 1 << 20   // of one .rex file
	MaxWishBytes   = 256 << 20 // of all strings of one expanded Wish
	MaxJails       = 200_000   // replicas of one Wish
	MaxNetworks    = 4096
	MaxImages      = 4096
	MaxCount       = 100_000 // replicas of one group
	MaxNICs        = 8       // of one jail; one digit in interface names
	MaxServices    = 64      // of one jail
	MaxVolumes     = 64      // of one jail
	MaxEnv         = 1024    // variables of one jail or image
	MaxSteps       = 1000    // of one image
	MaxEnvBytes    = 128 << 10
	MaxArgs        = 1024      // words of one command
	MaxArgBytes    = 128 << 10 // execve(2): MAX_ARG_STRLEN on Linux
	MaxPathBytes   = 1024      // PATH_MAX on FreeBSD
	MaxConstraints = 64        // expressions of one placement

	MinMemoryBytes = 4 << 20
	MaxBytes       = 1 << 50 // memory, quotas
)

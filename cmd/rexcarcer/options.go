package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/jail"
)

// options are everything that the daemon can be told, by file, variable or flag.
type options struct {
	Dev     bool
	Runtime string // linux, jail, sim
	DataDir string // "" with Dev: a temporary directory
	RunDir  string
	LogDir  string
	Name    string
	Domain  string
	Labels  map[string]string
	Mirror  string
	Storage string // auto, overlay, zfs:POOL/DATASET

	ClusterBind string
	SyncRate    int64         // bytes per second; 0: no limit
	SyncMode    string        // chunks, spool or whole
	ClusterPort int           // 0: a cluster of one that no other host can join
	Advertise   string        // address by which other members reach this one
	GossipPort  int           // 0: nobody is asked who is alive
	Heartbeat   time.Duration // of raft; 0: the default
	Overlay     overlayOptions
	FenceAfter  time.Duration // without a leader for so long, jails that may start elsewhere are stopped here

	Bind        string // of the API over TLS
	APIPort     int
	MetricsBind string
	MetricsPort int
	DNSBind     string
	DNSPort     int
	Resolvers   []netip.AddrPort // empty: the host's
	DNS         dnsOptions

	CAPassphraseFile string // seals the CA's keys on this server's disk

	JailCertLife time.Duration // of jails' certificates; renewed at two thirds of it

	BuildLimits  jail.Limits   // of RUN steps
	BuildTimeout time.Duration // of one step
	BuildMinFree int64         // bytes that a build leaves free

	StrictLimits bool // refuse jails whose limits this host cannot keep

	Site siteOptions

	InetNIC string // of this host, on which routers have addresses of their own; "": none

	LogLevel slog.Level
	temp     bool // DataDir is ours to delete
	quiet    bool // nobody is told what to do next
}

// fileConfig is the HCL of -config. Flags and variables win over it.
type fileConfig struct {
	DataDir     *string           `hcl:"data_dir,optional"`
	RunDir      *string           `hcl:"run_dir,optional"`
	LogDir      *string           `hcl:"log_dir,optional"`
	Name        *string           `hcl:"name,optional"`
	Domain      *string           `hcl:"domain,optional"`
	Labels      map[string]string `hcl:"labels,optional"`
	Mirror      *string           `hcl:"mirror,optional"`
	Storage     *string           `hcl:"storage,optional"`
	Runtime     *string           `hcl:"runtime,optional"`
	ClusterBind *string           `hcl:"cluster_bind,optional"`
	ClusterPort *int              `hcl:"cluster_port,optional"`
	SyncRate    *int              `hcl:"sync_rate,optional"`
	SyncMode    *string           `hcl:"sync_mode,optional"`
	Advertise   *string           `hcl:"advertise,optional"`
	GossipPort  *int              `hcl:"gossip_port,optional"`
	FenceAfter  *string           `hcl:"fence_after,optional"`

	OverlayPort   *int    `hcl:"overlay_port,optional"`
	OverlayDevice *string `hcl:"overlay_device,optional"`
	OverlayMTU    *int    `hcl:"overlay_mtu,optional"`
	OverlayRekey  *string `hcl:"overlay_rekey,optional"`
	VLANNIC       *string `hcl:"vlan_nic,optional"`
	InetNIC       *string `hcl:"inet_nic,optional"`

	Bind        *string  `hcl:"bind,optional"`
	APIPort     *int     `hcl:"api_port,optional"`
	MetricsBind *string  `hcl:"metrics_bind,optional"`
	MetricsPort *int     `hcl:"metrics_port,optional"`
	DNSBind     *string  `hcl:"dns_bind,optional"`
	DNSPort     *int     `hcl:"dns_port,optional"`
	Resolvers   []string `hcl:"resolvers,optional"`
	DNSTransfer []string `hcl:"dns_transfer,optional"`
	DNSNotify   []string `hcl:"dns_notify,optional"`
	DNSKeys     *string  `hcl:"dns_keys,optional"`
	DNSSign     *string  `hcl:"dns_sign,optional"`
	DNSUnbound  *string  `hcl:"dns_unbound,optional"`
	LogLevel    *string  `hcl:"log_level,optional"`

	StrictLimits *bool `hcl:"strict_limits,optional"`

	BindAllow     []string `hcl:"bind_allow,optional"`
	SyslogForward *string  `hcl:"syslog_forward,optional"`
	DeployDir     *string  `hcl:"deploy_dir,optional"`
	ClockAlarm    *string  `hcl:"clock_alarm,optional"`

	CAPassphraseFile *string `hcl:"ca_passphrase_file,optional"`

	BuildMemory    *string  `hcl:"build_memory,optional"`
	BuildCPU       *float64 `hcl:"build_cpu,optional"`
	BuildProcesses *int     `hcl:"build_processes,optional"`
	BuildTimeout   *string  `hcl:"build_timeout,optional"`
	BuildMinFree   *string  `hcl:"build_min_free,optional"`
}

// clusterPort is the first of the two ports of a member; gossip has the next.
const clusterPort = 7370

func daemonFlags() []cli.Flag {
	env := func(name string) []string {
		return []string{"REXCARCER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
	}
	str := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage, EnvVars: env(name)}
	}
	num := func(name string, value int, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Value: value, Usage: usage, EnvVars: env(name)}
	}
	return append(slices.Concat(overlayFlags(str, num), inetFlags(str), siteFlags(env), dnsFlags(env)), []cli.Flag{
		&cli.BoolFlag{Name: "dev", Usage: "a whole cluster on this machine, gone when it ends", EnvVars: env("dev")},
		str("config", "", "`FILE` of settings in HCL"),
		str("config-dir", "", "`DIR` whose *.hcl files are read in order"),
		str("runtime", defaultRuntime(), "how jails are run: linux, jail (FreeBSD), or sim (simulated: no root, any system)"),
		str("data-dir", "", "log, images, volumes (default /var/db/rexcarcer; with -dev a temporary directory)"),
		str("run-dir", "/var/run/rexcarcer", "sockets"),
		str("log-dir", "", "output of jails (default /var/log/rexcarcer; with -dev below the data directory)"),
		str("name", "", "name of this host (default: its hostname)"),
		str("domain", "rex.internal", "DNS domain of a new cluster"),
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` for placement; may be repeated", EnvVars: env("label")},
		str("storage", storageAuto, "where images and volumes are kept: overlay, or `zfs:POOL/DATASET`; chosen at the first start"),
		str("mirror", "", "where debian:SUITE bases come from (default: the host's own apt source)"),
		str("cluster-bind", "", "address of the cluster port (default: all)"),
		num("cluster-port", clusterPort, "port on which members speak to each other; 0: a cluster of one (default with -dev)"),
		num("sync-rate", 0, "at most so many `MiB` per second for images and volumes between hosts, in each direction; 0: no limit"),
		str("sync-mode", "chunks", "how images come from other hosts: chunks (of directories only what no similar image here has), spool (the same, and through a file, so that a daemon that is killed goes on), or whole"),
		str("advertise", "", "`ADDRESS` by which other members reach this host (default: cluster-bind, or the first address of this machine)"),
		num("gossip-port", clusterPort+1, "port on which members see who is alive, TCP and UDP; 0 turns it off (default with -dev)"),
		str("fence-after", "5s", "without a leader for so `LONG`, jails that may start elsewhere are stopped here; the same on all hosts"),
		&cli.DurationFlag{Name: "heartbeat", Hidden: true, Usage: "raft's election timeout, for tests"},
		str("bind", "127.0.0.1", "address of the API over TLS"),
		num("api-port", 7372, "port of the API over TLS; 0 turns it off"),
		str("metrics-bind", "127.0.0.1", "address of /metrics, /healthz and /readyz"),
		num("metrics-port", 7373, "port of /metrics, /healthz and /readyz; 0 turns them off"),
		str("dns-bind", "127.0.0.1", "address of the DNS server for the host itself"),
		num("dns-port", 7374, "port of the DNS server for the host itself; 0 turns it off"),
		&cli.StringSliceFlag{Name: "resolver", Usage: "`ADDRESS[:PORT]` that answers what the cluster does not know (default: /etc/resolv.conf)", EnvVars: env("resolver")},
		str("build-memory", "0", "most memory of a RUN step of an image, such as 2G; 0 is no limit"),
		&cli.Float64Flag{Name: "build-cpu", Usage: "most `CORES` of a RUN step; 0 is no limit", EnvVars: env("build-cpu")},
		num("build-processes", 4096, "most processes and threads of a RUN step; 0 is no limit"),
		str("build-min-free", "256M", "a build is ended when it leaves less free in the data directory; 0 lets it fill the disk"),
		str("build-timeout", "1h", "longest time of one step of an image"),
		&cli.BoolFlag{Name: "strict-limits", Usage: "refuse jails whose limits this host cannot keep; otherwise that is only logged", EnvVars: env("strict-limits")},
		str("ca-passphrase-file", "", "`FILE` whose first line seals the CA's keys on this server's disk; without it sealed keys wait for rexctl ca unlock"),
		str("log-level", "info", "debug, info, warn or error"),
		&cli.DurationFlag{Name: "jail-cert-life", Value: jailCertLife, Hidden: true, Usage: "life of jails' certificates, for tests of their renewal"},
	}...)
}

const defaultDataDir = "/var/db/rexcarcer"

func defaultRuntime() string {
	switch runtime.GOOS {
	case "linux":
		return "linux"
	case "freebsd":
		return "jail"
	}
	return "sim"
}

func optionsFrom(c *cli.Context) (options, error) {
	file, err := readConfig(c.String("config"), c.String("config-dir"))
	if err != nil {
		return options{}, err
	}
	text := func(flag string, from *string) string {
		if !c.IsSet(flag) && from != nil {
			return *from
		}
		return c.String(flag)
	}
	number := func(flag string, from *int) int {
		if !c.IsSet(flag) && from != nil {
			return *from
		}
		return c.Int(flag)
	}
	o := options{
		Dev: c.Bool("dev"), Runtime: text("runtime", file.Runtime), DataDir: text("data-dir", file.DataDir), RunDir: text("run-dir", file.RunDir),
		LogDir: text("log-dir", file.LogDir), Name: text("name", file.Name), Domain: text("domain", file.Domain), Mirror: text("mirror", file.Mirror), Storage: text("storage", file.Storage),
		ClusterBind: text("cluster-bind", file.ClusterBind), ClusterPort: number("cluster-port", file.ClusterPort),
		Advertise: text("advertise", file.Advertise), GossipPort: number("gossip-port", file.GossipPort), Heartbeat: c.Duration("heartbeat"),
		SyncRate: int64(number("sync-rate", file.SyncRate)) << 20, SyncMode: text("sync-mode", file.SyncMode),
		Bind: text("bind", file.Bind), APIPort: number("api-port", file.APIPort),
		MetricsBind: text("metrics-bind", file.MetricsBind), MetricsPort: number("metrics-port", file.MetricsPort),
		DNSBind: text("dns-bind", file.DNSBind), DNSPort: number("dns-port", file.DNSPort), Labels: map[string]string{},
		InetNIC:          text("inet-nic", file.InetNIC),
		CAPassphraseFile: text("ca-passphrase-file", file.CAPassphraseFile),
		JailCertLife:     c.Duration("jail-cert-life"), StrictLimits: c.Bool("strict-limits") || !c.IsSet("strict-limits") && file.StrictLimits != nil && *file.StrictLimits,
	}
	if o.Dev && !c.IsSet("cluster-port") && file.ClusterPort == nil {
		o.ClusterPort = 0
	}
	if o.ClusterPort == 0 {
		o.GossipPort = 0
	}
	if o.FenceAfter, err = time.ParseDuration(text("fence-after", file.FenceAfter)); err != nil || o.FenceAfter < time.Second {
		return options{}, fmt.Errorf("fence-after: want at least 1s, as 5s: %w", errors.Join(err, errors.New("it is "+text("fence-after", file.FenceAfter))))
	}
	if err := o.LogLevel.UnmarshalText([]byte(text("log-level", file.LogLevel))); err != nil {
		return options{}, fmt.Errorf("log-level: want debug, info, warn or error: %w", err)
	}
	if !slices.Contains([]string{"chunks", "spool", "whole"}, o.SyncMode) {
		return options{}, fmt.Errorf("sync-mode %q: want chunks, spool or whole", o.SyncMode)
	}
	if err := o.overlayOptions(c, file, text, number); err != nil {
		return options{}, err
	}
	if err := o.buildOptions(c, file, text, number); err != nil {
		return options{}, err
	}
	if err := errors.Join(o.siteOptions(c, file, text), o.dnsOptions(c, file, text)); err != nil {
		return options{}, err
	}
	for k, v := range file.Labels {
		o.Labels[k] = v
	}
	for _, l := range c.StringSlice("label") {
		k, v, _ := strings.Cut(l, "=")
		o.Labels[k] = v
	}
	resolvers := file.Resolvers
	if c.IsSet("resolver") {
		resolvers = c.StringSlice("resolver")
	}
	if o.Resolvers, err = parseResolvers(resolvers); err != nil {
		return options{}, err
	}
	return o, nil
}

// complete fills in what depends on other options and on this machine.
func (o *options) complete() error {
	switch o.Runtime {
	case "sim":
	case "linux", "jail":
		if needs := map[string]string{"linux": "linux", "jail": "freebsd"}[o.Runtime]; runtime.GOOS != needs {
			return fmt.Errorf("runtime %s needs %s: use -runtime=sim here", o.Runtime, map[string]string{"linux": "Linux", "freebsd": "FreeBSD"}[needs])
		}
		if os.Geteuid() != 0 {
			return errors.New("not root: jails, networks and mounts need it. Run it as root, or look around with -dev -runtime=sim")
		}
	default:
		return usageError{fmt.Errorf("unknown runtime %q: want linux, jail or sim", o.Runtime)}
	}
	if o.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name of this host: %w: give -name", err)
		}
		o.Name = ownName(name)
	}
	var err error
	switch {
	case o.DataDir != "":
	case o.Dev:
		if o.DataDir, err = tempDir(tempPlaces(), "rexcarcer-dev-"); err != nil {
			return err
		}
		o.temp = true
	default:
		o.DataDir = defaultDataDir
	}
	if o.DataDir, err = filepath.Abs(o.DataDir); err != nil {
		return err
	}
	if o.RunDir, err = filepath.Abs(o.RunDir); err != nil {
		return err
	}
	if o.Advertise == "" {
		o.Advertise = o.ClusterBind
		if ip, err := netip.ParseAddr(o.ClusterBind); err != nil || ip.IsUnspecified() {
			o.Advertise = firstAddress()
		}
	}
	if o.LogDir == "" {
		o.LogDir = "/var/log/rexcarcer"
		if o.Dev {
			o.LogDir = filepath.Join(o.DataDir, "log")
		}
	}
	if len(o.Resolvers) == 0 {
		// A resolver on the host's own loopback cannot be reached from a router.
		o.Resolvers, err = dnsd.Resolvers(dnsd.ResolvConf, o.Runtime == "sim")
	}
	return err
}

func readConfig(file, dir string) (fileConfig, error) {
	var names []string
	if file != "" {
		names = append(names, file)
	}
	if dir != "" {
		found, err := filepath.Glob(filepath.Join(dir, "*.hcl"))
		if err != nil || len(found) == 0 {
			return fileConfig{}, fmt.Errorf("config-dir %s: no *.hcl file in it", dir)
		}
		names = append(names, found...)
	}
	var files []*hcl.File
	parser := hclparse.NewParser()
	for _, name := range names {
		f, diags := parser.ParseHCLFile(name)
		if diags.HasErrors() {
			return fileConfig{}, diags // names file, line and column
		}
		files = append(files, f)
	}
	var out fileConfig
	if len(files) == 0 {
		return out, nil
	}
	if diags := gohcl.DecodeBody(hcl.MergeFiles(files), nil, &out); diags.HasErrors() {
		return fileConfig{}, diags
	}
	return out, nil
}

func parseResolvers(list []string) (out []netip.AddrPort, err error) {
	for _, text := range list {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
			continue
		}
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, fmt.Errorf("resolver %q: want ADDRESS or ADDRESS:PORT", text)
		}
		out = append(out, ap)
	}
	return out, nil
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

package mesh

// backends are the ways to have a device here, the best first.
func backends(o Options, name string) []backend {
	h := bsdHost{runner: o.Runner, mark: "rexcarcer:" + o.Instance + ":mesh:device"}
	return []backend{&wgTool{name: name, os: h, runDir: o.RunDir}, &embedded{name: name, os: h, log: o.Log}}
}
